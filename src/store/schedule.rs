//! Schedules as the store knows them. Plain data; when one is due is `board::schedule`'s.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::chat::Actor;
use crate::clock::Timestamp;

/// Most schedules that programs made.
pub const OWN_SCHEDULES_MAX: usize = 100;

/// A schedule as the store knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleRow {
    /// Its name.
    pub name: String,
    /// When it is due ([`Schedule::timing`](crate::board::schedule::Schedule::timing)).
    pub timing: String,
    /// Since when: what was due before does not count.
    pub since: Timestamp,
    /// The last due time that was dealt with, and what came of it.
    pub dealt: Option<(Timestamp, Dealt)>,
    /// Who paused it, and when.
    pub paused: Option<(Actor, Timestamp)>,
    /// What it is, where a program made it; `None` of one of boards.yaml.
    pub own: Option<OwnSchedule>,
}

/// A schedule that a program made.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnSchedule {
    /// Its keys, as boards.yaml has them.
    pub document: Map<String, Value>,
    /// Who made it.
    pub by: Actor,
}

/// What came of a due time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "how")]
pub enum Dealt {
    /// A run was started, or several; this is the first.
    Started {
        /// Its number.
        run: i64,
    },
    /// No server was there in time.
    TooLate,
    /// What it started before had not ended.
    Overlapped {
        /// The run that had not.
        run: i64,
    },
    /// What it asks for was refused.
    Refused {
        /// Why: a phrase.
        reason: Value,
    },
}

impl Dealt {
    /// The run that it is about.
    pub fn run(&self) -> Option<i64> {
        match self {
            Dealt::Started { run } | Dealt::Overlapped { run } => Some(*run),
            Dealt::TooLate | Dealt::Refused { .. } => None,
        }
    }
}
