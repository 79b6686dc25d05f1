//! Leases: the right to touch one board until a time. This module decides who may hold a board; it never talks
//! to one.

mod document;
pub mod held;
pub mod queue;
pub mod reaper;
pub mod scheduler;
mod trust;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::trust::Trust;

use crate::board::{BoardId, Family};
use crate::chat::{Actor, Platform};
use crate::clock::Timestamp;
use crate::id::{InstanceId, LeaseId, RunId};

/// How long the lease lasts, unless it is renewed, under which a board comes to rest that somebody had as their own.
pub const REST_LASTS: Duration = Duration::from_secs(10);

/// A number that rises with every grant of one board; a write that names an older one changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub i64);

/// A lease as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Its id.
    pub id: LeaseId,
    /// The board it is for.
    pub board: BoardId,
    /// Its generation.
    pub fence: Fence,
    /// Who holds it.
    pub holder: Holder,
    /// The process that drives the board for the holder.
    pub instance: InstanceId,
    /// When it was granted.
    pub granted_at: Timestamp,
    /// When it ends unless it is renewed.
    pub expires_at: Timestamp,
    /// Where it is in its life.
    pub state: LeaseState,
    /// Whether the board must be fenced physically before anything else: its last lease was not released.
    pub needs_fence: bool,
    /// More about one that is held for a person.
    pub hold: Option<Hold>,
}

impl Lease {
    /// Until when its holder has it who uses it: its end, before that was brought forward because nobody did.
    pub fn ends_at(&self) -> Timestamp {
        self.hold.as_ref().and_then(|hold| hold.idle_until).unwrap_or(self.expires_at)
    }

    /// Whether this person has the board as their own.
    pub fn is_held_by(&self, person: &Actor) -> bool {
        self.hold.is_some() && matches!(&self.holder, Holder::Person(holder) if holder.key() == person.key())
    }
}

/// What is known of a lease that is held for a person, beside whose it is and until when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// What for, as they said it; may be empty.
    pub reason: String,
    /// Whether they were told that the end which stands now comes soon.
    pub warned: bool,
    /// Until when it was theirs before its end was brought forward because nobody used it.
    pub idle_until: Option<Timestamp>,
    /// The run of theirs that is on the board, and its attempt.
    pub run: Option<(i64, u32)>,
}

/// Who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holder {
    /// A run's attempt.
    Run {
        /// The run.
        run: RunId,
        /// Its number, for people.
        number: i64,
        /// Its attempt, from 1.
        attempt: u32,
    },
    /// A person.
    Person(Actor),
    /// boardhand itself, for a moment: a power request or a check, on somebody's behalf.
    Check(Actor),
}

/// Where a lease is in its life. Only the first three are live: at most one of them per board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeaseState {
    /// The holder may drive the board.
    Active,
    /// The outcome is committed; the board is being brought to rest.
    Finalizing,
    /// Kept for a person.
    Held,
    /// Given back.
    Released,
    /// Taken away: expired, or its process died.
    Lapsed,
}

/// A wish for a board of one's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Its id, and that of the lease that it becomes.
    pub id: LeaseId,
    /// Who asks.
    pub by: Actor,
    /// The kind of board.
    pub family: Family,
    /// Only this one.
    pub board: Option<BoardId>,
    /// For how long, from when it is had.
    pub lasts: Duration,
    /// What for, as they said it; may be empty.
    pub reason: String,
    /// Since when.
    pub asked_at: Timestamp,
    /// The newest run when it was asked for: its place among runs. The store gives it.
    pub place: i64,
}

impl Reservation {
    /// Whether somebody who asks for this means the place in line that they have. People want one board of a kind, and so
    /// does each worker of a program that says which it is; any other request of a program wants one of its own, unless it
    /// names the board, which is one.
    pub fn is_the_same(&self, before: &Reservation) -> bool {
        let same = (&self.family, &self.board) == (&before.family, &before.board);
        let is_one = self.board.is_some() || self.by.platform != Platform::Api;
        let is_worker = !self.by.name.is_empty() && self.by.name == before.by.name;
        same && self.by.key() == before.by.key() && (is_one || is_worker)
    }
}

impl LeaseState {
    /// The word in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            LeaseState::Active => "active",
            LeaseState::Finalizing => "finalizing",
            LeaseState::Held => "held",
            LeaseState::Released => "released",
            LeaseState::Lapsed => "lapsed",
        }
    }

    /// The state of that word.
    pub fn from_word(word: &str) -> Option<LeaseState> {
        use LeaseState as S;
        [S::Active, S::Finalizing, S::Held, S::Released, S::Lapsed].into_iter().find(|s| s.as_str() == word)
    }
}

/// A live lease in somebody's hand: whatever can change a board asks for one and checks it before every write.
pub trait InHand: Send + Sync {
    /// Whether the holder may drive the board now.
    fn trusted(&self) -> bool;
    /// What it is, for logs: board and fence.
    fn label(&self) -> String;
}

/// The hand of a process that drives boards: trusts a lease until it is told that it is lost, and for as long as the process
/// may drive boards at all.
#[derive(Debug)]
pub struct Grip {
    lease: crate::run::LeaseRef,
    lost: tokio::sync::watch::Sender<bool>,
    trust: Trust,
}

impl Grip {
    /// Takes the lease in hand.
    pub fn new(lease: crate::run::LeaseRef, trust: Trust) -> Self {
        Grip { lease, lost: tokio::sync::watch::Sender::new(false), trust }
    }

    /// The lease.
    pub fn lease(&self) -> &crate::run::LeaseRef {
        &self.lease
    }

    /// Lets go: nothing is written to the board any more.
    pub fn lose(&self) {
        self.lost.send_replace(true);
    }

    /// Waits until the lease is lost, or may be.
    pub async fn lost(&self) {
        let mut lost = self.lost.subscribe();
        tokio::select! {
            // The sender lives in `self`, so waiting ends only with the value.
            _ = lost.wait_for(|lost| *lost) => {}
            () = self.trust.over() => {}
        }
    }
}

impl InHand for Grip {
    fn trusted(&self) -> bool {
        !*self.lost.borrow() && self.trust.holds()
    }

    fn label(&self) -> String {
        format!("{} fence {}", self.lease.board, self.lease.fence.0)
    }
}
