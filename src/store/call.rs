//! Calls: what programs outside are told of what happened. They are made of events, which were written with the change
//! itself, and owed until they were made or given up. Plain data.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::board::BoardId;
use crate::clock::Timestamp;
use crate::id::MessageId;
use crate::outcome::Verdict;

/// Most calls of one look at what is due, and most of one lane.
pub const CALLS_DUE_MAX: u32 = 512;
/// See [`CALLS_DUE_MAX`].
pub const LANE_HEADS_MAX: u32 = 8;
/// Most calls that are owed in one lane; what comes on top, but for what one look finds, is given up at once.
pub const LANE_OWED_MAX: u32 = 5_000;

/// Something that happened, in the order of the commits.
#[derive(Debug, Clone, PartialEq)]
pub struct Happened {
    /// Its place.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// What, in one word.
    pub kind: String,
    /// The run that it is about.
    pub run: Option<i64>,
    /// The board that it is about.
    pub board: Option<BoardId>,
    /// What else is known.
    pub facts: Value,
    /// Where the end of that run is still to be told.
    pub callback: Option<String>,
}

impl Happened {
    /// Whether nothing happened but that somebody wants to be told the end of a run which is over.
    pub fn is_only_called_back(&self) -> bool {
        self.kind == "registered" && self.run.is_some()
    }
}

/// A call on its way into the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCall {
    /// Its id, which is told with it: a repeat has the same.
    pub id: MessageId,
    /// Whose it is in the lab file; `None` for a run's callback.
    pub hook: Option<String>,
    /// Those of one lane go one after the other; one that stands still holds up no other.
    pub lane: String,
    /// What happened.
    pub event: i64,
    /// What it is called outside.
    pub kind: &'static str,
    /// The run that it is about.
    pub run: Option<i64>,
    /// Where a callback goes.
    pub url: Option<String>,
    /// What is told, byte for byte.
    pub body: String,
}

/// What follows from a look at what happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owing {
    /// The calls.
    pub calls: Vec<NewCall>,
    /// Runs that decide a status of a commit from now on.
    pub statuses: Vec<StatusOf>,
}

impl Owing {
    /// Whether nothing follows.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.statuses.is_empty()
    }
}

/// A run of whose end a commit has a status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusOf {
    /// The run.
    pub run: i64,
    /// The commit that its build was made of.
    pub commit: String,
    /// What is told apart: a commit has one status of each, which all of its runs decide.
    pub context: String,
}

/// Runs of one status that have ended in the same way; those that were repeated are none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusPart {
    /// How; `None` of those that have not ended.
    pub verdict: Option<Verdict>,
    /// How many.
    pub count: u32,
    /// The newest.
    pub newest: i64,
}

/// A call that is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its id.
    pub id: MessageId,
    /// Whose it is in the lab file; `None` for a run's callback.
    pub hook: Option<String>,
    /// Its lane.
    pub lane: String,
    /// What it is called outside.
    pub kind: String,
    /// Where a callback goes.
    pub url: Option<String>,
    /// What is told.
    pub body: String,
    /// How often it has failed.
    pub tries: u32,
}

/// How making a call went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallEnd {
    /// It was taken.
    Made,
    /// It failed: again from then on.
    Later {
        /// When.
        at: Timestamp,
        /// Why it failed.
        error: String,
    },
    /// It is given up.
    Dead {
        /// Why.
        error: String,
    },
}
