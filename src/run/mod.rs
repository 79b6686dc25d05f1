//! Runs: one request to test a build on a board family, and its whole life. Pure: [`Run::apply`] is the only
//! place that says which transition is legal; the store repeats the guard in its `WHERE`.

pub mod transition;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::board::plan::ParamValue;
use crate::board::{BoardId, Family};
use crate::chat::{Actor, Place};
use crate::clock::Timestamp;
use crate::id::{LeaseId, RunId};
use crate::lease::Fence;
use crate::outcome::{Counts, Outcome, Verdict};

pub use transition::{Decision, IllegalTransition, RunEvent};

/// One request to test a build.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// Its number, for people: `#42`.
    pub number: i64,
    /// What was asked for.
    pub spec: RunSpec,
    /// Who asked.
    pub requested_by: Actor,
    /// Where it was asked for, and where its card stands.
    pub origin: Place,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// The run that this one repeats.
    pub retry_of: Option<i64>,
    /// The batch that it belongs to, by the number of its first run: the runs of one command with `x3`.
    pub batch: Option<i64>,
    /// Where it is in its life.
    pub state: RunState,
    /// What somebody asked of it while it runs.
    pub request: Option<Request>,
}

/// What was asked for. Fixed when the run is accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// Whether it tests a build or its board.
    #[serde(default, skip_serializing_if = "RunKind::is_test")]
    pub kind: RunKind,
    /// The kind of board.
    pub family: Family,
    /// The build's id, such as `build-123`.
    pub build: String,
    /// The suite, such as `smoke`.
    pub suite: String,
    /// Which boards may serve.
    #[serde(default)]
    pub selector: Selector,
    /// Its place in the queue.
    pub priority: Priority,
    /// How many boards it holds at once, 1 to [`BOARDS_MAX`]; its plan drives the first.
    pub boards: u32,
    /// Whether nobody asked for the board that `selector` names: whoever repeated the run has it as their own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_own_board: bool,
    /// Overrides the plan's total limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Values of the plan's parameters that somebody set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, ParamValue>,
}

/// What a run is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunKind {
    /// Somebody wants to know about a build.
    #[default]
    Test,
    /// boardhand wants to know about a board: the family's health plan, on that board.
    Health,
}

impl RunKind {
    /// The word in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            RunKind::Test => "test",
            RunKind::Health => "health",
        }
    }

    /// Whether it is somebody's.
    pub fn is_test(&self) -> bool {
        *self == RunKind::Test
    }
}

/// The suite and the build of a health run, which has neither.
pub const HEALTH: &str = "health";

/// Most boards that one run may hold.
pub const BOARDS_MAX: u32 = 8;
/// Most runs that one command may start (`x3`).
pub const REPEAT_MAX: u32 = 20;

/// Which boards of the family may serve a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Selector {
    /// Only this board.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub board: Option<BoardId>,
    /// Only this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Only boards with all of these tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Only boards that this server drives itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub driven_here: bool,
}

/// A run's place in the queue; smaller is sooner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before everything else.
    High,
    /// What people get.
    #[default]
    Normal,
    /// After everything else that people want.
    Low,
    /// After everything else: what boardhand does of its own accord. Nobody can ask for it.
    Background,
}

impl Priority {
    /// 1 high, 2 normal, 3 low (4 background), as the API and the tables have it.
    pub fn rank(self) -> i64 {
        match self {
            Priority::High => 1,
            Priority::Normal => 2,
            Priority::Low => 3,
            Priority::Background => 4,
        }
    }

    /// The priority of a rank that people may ask for.
    pub fn from_rank(rank: i64) -> Option<Priority> {
        [Priority::High, Priority::Normal, Priority::Low].into_iter().find(|p| p.rank() == rank)
    }

    /// The word in commands and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Priority::High => "high",
            Priority::Normal => "normal",
            Priority::Low => "low",
            Priority::Background => "background",
        }
    }
}

/// Where a run is in its life. Each variant carries exactly what is true in that state.
#[derive(Debug, Clone, PartialEq)]
pub enum RunState {
    /// Waiting for a board.
    Queued {
        /// Since when.
        since: Timestamp,
        /// The attempt it waits for, from 1.
        attempt: u32,
        /// Boards that failed it: avoided while another one could serve.
        avoid: Vec<BoardId>,
    },
    /// On a board.
    Active {
        /// What it does there.
        stage: Stage,
        /// Its attempt, from 1.
        attempt: u32,
        /// The lease it runs under.
        lease: LeaseRef,
        /// When this attempt began.
        started_at: Timestamp,
    },
    /// Over: exactly one outcome, never changed again.
    Finished {
        /// How it ended.
        outcome: Outcome,
        /// The attempt that decided; 0 when it ended in the queue.
        attempt: u32,
        /// When.
        at: Timestamp,
    },
}

impl RunState {
    /// The word in tables, the API and messages: `queued leased powering booting deploying testing collecting
    /// finished`.
    pub fn word(&self) -> &'static str {
        match self {
            RunState::Queued { .. } => "queued",
            RunState::Active { stage, .. } => stage.as_str(),
            RunState::Finished { .. } => "finished",
        }
    }

    /// The verdict, once there is one.
    pub fn verdict(&self) -> Option<Verdict> {
        match self {
            RunState::Finished { outcome, .. } => Some(outcome.verdict),
            RunState::Queued { .. } | RunState::Active { .. } => None,
        }
    }
}

/// The lease an attempt runs under; every write of the attempt names its fence.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaseRef {
    /// The lease.
    pub id: LeaseId,
    /// The board.
    pub board: BoardId,
    /// The generation.
    pub fence: Fence,
}

/// How far an attempt is, while it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Test cases so far.
    #[serde(flatten)]
    pub counts: Counts,
    /// The file that is on its way over the console.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carrying: Option<Carrying>,
}

/// A file on its way: over a console, or to us before that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carrying {
    /// Its name, without its folder.
    pub name: String,
    /// Whether it goes to the board, or comes from there.
    pub to_board: bool,
    /// Whether it comes to us, from where its CI told that it is.
    #[serde(default)]
    pub to_us: bool,
    /// Bytes of it that are through.
    pub done: u64,
    /// Its size, in bytes; 0 where nobody knows it.
    pub bytes: u64,
}

/// What an attempt does on its board, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Waiting for a board: where a run that was cancelled in the queue ended.
    Queued,
    /// The lease is granted; nothing was touched yet.
    Leased,
    /// Power is being switched.
    Powering,
    /// The board boots.
    Booting,
    /// The build is brought onto the board.
    Deploying,
    /// The tests run.
    Testing,
    /// Evidence is gathered.
    Collecting,
}

impl Stage {
    /// The word in tables, the API and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Queued => "queued",
            Stage::Leased => "leased",
            Stage::Powering => "powering",
            Stage::Booting => "booting",
            Stage::Deploying => "deploying",
            Stage::Testing => "testing",
            Stage::Collecting => "collecting",
        }
    }

    /// The stage of that word.
    pub fn from_word(word: &str) -> Option<Stage> {
        use Stage as S;
        [S::Queued, S::Leased, S::Powering, S::Booting, S::Deploying, S::Testing, S::Collecting]
            .into_iter()
            .find(|s| s.as_str() == word)
    }
}

/// What somebody asked of a run on a board; its Runner acts on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "ask")]
pub enum Request {
    /// End it through finalize, verdict cancelled.
    Cancel {
        /// Who asked.
        by: Actor,
    },
    /// Power-cycle its board: ends the attempt (`infra`, cause `power-cycled`), not retried unasked.
    PowerCycle {
        /// Who asked.
        by: Actor,
    },
}

/// Whose the board of a run is, should the run fail: it is left as the failure left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// Whose.
    pub by: Actor,
    /// For how long, from the failure.
    pub lasts: Duration,
}

/// One attempt of a run on one board, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// The board that its plan drives.
    pub board: BoardId,
    /// The boards that it held beside that one, where the run wants several.
    pub others: Vec<BoardId>,
    /// The generation of its lease.
    pub fence: Fence,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; `None` while it runs.
    pub ended_at: Option<Timestamp>,
    /// How it ended; `None` while it runs.
    pub outcome: Option<Outcome>,
}
