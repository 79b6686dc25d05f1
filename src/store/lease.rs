//! Leases on their way into the store, from the grant to the outcome. Plain data.

use crate::board::BoardId;
use crate::chat::AnswerVia;
use crate::clock::Timestamp;
use crate::id::{InstanceId, LeaseId, RunId};
use crate::lease::{Lease, Reservation};
use crate::message::Note;
use crate::outcome::Outcome;
use crate::outcome::compare::{Comparison, Marks};
use crate::run::{Decision, LeaseRef};

/// A board for a waiting run.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// The run.
    pub run: RunId,
    /// The attempt it waits for.
    pub attempt: u32,
    /// One lease per board; the plan drives the first.
    pub leases: Vec<(LeaseId, BoardId)>,
}

/// What a lease is granted for.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaseTerms {
    /// The process that will drive the board.
    pub instance: InstanceId,
    /// When it is granted.
    pub now: Timestamp,
    /// When it ends unless renewed.
    pub expires_at: Timestamp,
    /// The newest drain that was known when the board was chosen; `None` where it is taken whatever drains.
    pub drains_seen: Option<i64>,
}

/// What stands under the id of a lease.
#[derive(Debug, Clone, PartialEq)]
pub enum LeaseView {
    /// A lease, and when it ended.
    Lease(Box<Lease>, Option<Timestamp>),
    /// Somebody who waits for it.
    Waiting(Box<Reservation>),
}

/// What became of a grant.
#[derive(Debug, Clone, PartialEq)]
pub enum Granted {
    /// The leases, in the order asked for.
    Leases(Vec<Lease>),
    /// A board has a live lease, and whose.
    Taken(Box<Lease>),
    /// A board is not in service, and why.
    OutOfService {
        /// The board.
        board: BoardId,
        /// Why.
        reason: String,
    },
    /// Something drains that was not known when the board was chosen.
    Outdated,
    /// The run does not wait for that attempt any more.
    Gone,
}

/// Whether a write under a lease changed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Fenced {
    /// It did.
    Done,
    /// The lease is not live any more, or its fence is old: nothing changed.
    Stale,
}

/// How a board is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AtRest {
    /// As its family wants it.
    Yes,
    /// Not: the board becomes suspect, with the reason, and its next holder fences it first.
    No(String),
}

/// A lease that was taken away.
#[derive(Debug, Clone, PartialEq)]
pub struct Lapsed {
    /// The lease as it was.
    pub lease: Lease,
    /// Whether a run was under it without an outcome: it waits for its next attempt now, or, after
    /// [`LOST_ATTEMPTS_MAX`](crate::run::transition::LOST_ATTEMPTS_MAX) of them, is finished as infra. A run that was
    /// asked to end is finished as cancelled.
    pub requeued: bool,
}

/// The end of an attempt.
#[derive(Debug, Clone)]
pub struct Settle {
    /// The lease it ran under.
    pub lease: LeaseRef,
    /// The run.
    pub run: RunId,
    /// How it ended.
    pub outcome: Outcome,
    /// What follows.
    pub decision: Decision,
    /// Owed to the run's threads, in order; where the run ends with a failure, the store adds how often it was `seen`.
    pub notes: Vec<Note>,
    /// Where the run says something about its build: what is kept for those that look back at it.
    pub lookback: Option<Lookback>,
    /// Whether the board is to blame: feeds its health.
    pub board_fault: bool,
    /// Faults in a row that quarantine the board; 0 never, however it behaves.
    pub quarantine_after: u32,
    /// Why the board is quarantined at once, however it did before.
    pub unfit: Option<String>,
    /// What whoever keeps the board is told, should somebody; the store adds whose it is, until when and what for.
    pub kept: Note,
    /// Whether somebody may keep the board: not one that is driven from elsewhere.
    pub keepable: bool,
    /// Who is told, and what, if this quarantines the board; the store adds the `reason`.
    pub told: Option<(AnswerVia, Note)>,
    /// When.
    pub now: Timestamp,
}

/// What of a run is kept for those that look back at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookback {
    /// What it is beside those before it.
    pub comparison: Comparison,
    /// How its test cases ended.
    pub marks: Marks,
}
