//! Boards as the store knows them, and what is to be done to their power. Plain data.

use serde::{Deserialize, Serialize};

use crate::board::BoardId;
use crate::board::plan::PowerAction;
use crate::chat::{Actor, AnswerVia};
use crate::clock::Timestamp;
use crate::id::{LeaseId, MessageId};
use crate::lease::{Fence, Holder, Lease};
use crate::message::Note;

/// A board as the store knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct BoardRow {
    /// The board.
    pub id: BoardId,
    /// Its live lease.
    pub lease: Option<Lease>,
    /// When its last lease ended.
    pub last_used_at: Option<Timestamp>,
    /// Whether it may be granted.
    pub health: Health,
    /// Infra outcomes in a row.
    pub failures: u32,
    /// Why it is not healthy.
    pub reason: String,
    /// Who took it out of service and when, while it is quarantined.
    pub quarantine: Option<Quarantine>,
    /// Its last outcomes, newest first: `o` for each that it served, `x` for each that it failed as a board.
    pub recent: String,
    /// When its last health run ended.
    pub checked_at: Option<Timestamp>,
    /// The last health run that ended on it: which, and how.
    pub checked: Option<(i64, String)>,
    /// Whether trouble on it, or its return to service, asks for a health run.
    pub check_wanted: bool,
}

impl BoardRow {
    /// `free`, `run`, `held` or `quarantined`; a board without a row is free.
    pub fn word(row: Option<&BoardRow>) -> &'static str {
        let holder = row.and_then(|row| row.lease.as_ref()).map(|lease| &lease.holder);
        match (holder, row.map_or(Health::Good, |row| row.health)) {
            (Some(Holder::Run { .. } | Holder::Check(_)), _) => "run",
            (Some(Holder::Person(_)), _) => "held",
            (None, Health::Quarantined) => "quarantined",
            (None, Health::Good | Health::Suspect) => "free",
        }
    }
}

/// How a board left service.
#[derive(Debug, Clone, PartialEq)]
pub struct Quarantine {
    /// Who did it; `None` for boardhand itself.
    pub by: Option<Actor>,
    /// When.
    pub at: Timestamp,
}

/// A board's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Nothing known against it.
    Good,
    /// Not brought to rest: granted, but fenced first.
    Suspect,
    /// Not granted.
    Quarantined,
}

impl Health {
    /// The word in tables and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Good => "good",
            Health::Suspect => "suspect",
            Health::Quarantined => "quarantined",
        }
    }
}

/// A power request of a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Errand {
    /// Its id.
    pub id: MessageId,
    /// The board.
    pub board: BoardId,
    /// What to do.
    pub action: PowerAction,
    /// Who asked.
    pub by: Actor,
    /// Who is told.
    pub via: AnswerVia,
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// Whether somebody had its board for it: power may have been switched.
    pub begun: bool,
    /// The lease of somebody else that it is done under.
    pub over: Option<Fence>,
}

/// A power request, and how it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrandView {
    /// The request.
    pub errand: Errand,
    /// When it ended, and what was answered; nothing for one that ended under a version that did not keep it.
    pub done: Option<(Timestamp, Option<Note>)>,
}

impl Errand {
    /// The id of the lease that it takes.
    pub fn lease(&self) -> LeaseId {
        LeaseId(self.id.0)
    }
}
