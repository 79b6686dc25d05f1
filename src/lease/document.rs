//! A lease as programs are told of it: over the API and in webhooks. Nothing is read or decided here.

use serde_json::{Value, json};

use super::{Holder, Lease, LeaseState};
use crate::clock::Timestamp;

impl Lease {
    /// It with what is known of it; `ended_at` is when it ended.
    pub fn document(&self, ended_at: Option<Timestamp>) -> Value {
        let (kind, holder, run) = match &self.holder {
            Holder::Run { number, .. } => ("run", format!("#{number}"), Some(*number)),
            Holder::Person(person) => ("person", person.key(), None),
            Holder::Check(person) => ("check", person.key(), None),
        };
        let status = match (self.state, ended_at) {
            (LeaseState::Active | LeaseState::Finalizing | LeaseState::Held, _) => "active",
            (LeaseState::Released, Some(at)) if at >= self.expires_at => "expired",
            (LeaseState::Released, _) => "released",
            (LeaseState::Lapsed, _) => "expired",
        };
        json!({
            "lease_id": self.id,
            "board_id": self.board,
            "holder": holder,
            "kind": kind,
            "run": run,
            "reason": self.hold.as_ref().map(|hold| hold.reason.as_str()).filter(|reason| !reason.is_empty()),
            "fence": self.fence.0,
            "acquired_at": self.granted_at.rfc3339(),
            "expires_at": self.expires_at.rfc3339(),
            "ended_at": ended_at.map(Timestamp::rfc3339),
            "status": status,
            "console": format!("/api/v1/boards/{}/console", self.board),
            "url": format!("/api/v1/lease/{}", self.id),
        })
    }
}
