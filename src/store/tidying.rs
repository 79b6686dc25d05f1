//! What is outdated, and what there is. Plain data.

use serde::Serialize;

use super::Cursor;
use crate::clock::Timestamp;

/// Since when rows are outdated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outdated {
    /// Events before this.
    pub events: Timestamp,
    /// Audit rows before this.
    pub audit: Timestamp,
    /// Messages that were owed before this, and sent or given up since.
    pub messages: Timestamp,
    /// Power requests that were done before this.
    pub errands: Timestamp,
    /// Leases that ended before this.
    pub leases: Timestamp,
    /// Builds that were registered before this, where a newer good one of their branch is there.
    pub builds: Timestamp,
    /// Campaigns that were over before this; their runs stay.
    pub campaigns: Timestamp,
    /// How far the scheduler has read; `None` keeps every event.
    pub read_to: Option<Cursor>,
}

/// Where a walk through the tables goes on. Only the store that made it can read it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TidyFrom {
    pub(crate) events: i64,
    pub(crate) audit: i64,
    pub(crate) messages: i64,
    pub(crate) errands: i64,
    pub(crate) leases: i64,
    pub(crate) builds: i64,
}

/// How many rows were removed, and where the walk goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Events.
    pub events: u64,
    /// Audit rows.
    pub audit: u64,
    /// Messages.
    pub messages: u64,
    /// Power requests.
    pub errands: u64,
    /// Leases that had ended.
    pub leases: u64,
    /// Builds.
    pub builds: u64,
    /// `None` when the walk is over.
    pub next: Option<TidyFrom>,
}

/// How much of a kind is outdated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Going {
    /// The kind.
    pub kind: &'static str,
    /// Rows, or folders.
    pub rows: u64,
    /// Bytes of what they say, about.
    pub bytes: u64,
    /// When the oldest is from.
    pub oldest: Option<Timestamp>,
}

impl Going {
    /// Nothing of this kind.
    pub fn none(kind: &'static str) -> Self {
        Going { kind, rows: 0, bytes: 0, oldest: None }
    }
}

/// How many rows wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Census {
    /// Runs waiting for a board.
    pub queued: u64,
    /// Runs on a board.
    pub active: u64,
    /// Live leases.
    pub leases: u64,
    /// Messages owed: cards, replies and answers.
    pub owed: u64,
    /// Messages that will never be sent.
    pub dead: u64,
    /// Power requests owed.
    pub errands: u64,
    /// Rows that were left out since the start because they cannot be read; the log names each.
    pub unreadable: u64,
}
