//! Runs as they are read: for cards, lists and comparisons. Plain data.

use std::time::Duration;

use serde::Serialize;

use crate::board::{BoardId, Family};
use crate::chat::Actor;
use crate::clock::Timestamp;
use crate::outcome::compare::{Comparison, Marks, Past, RunOfBuild};
use crate::outcome::{Counts, TestCase, Verdict};
use crate::run::{Attempt, Keep, Progress, Run, RunKind, Stage};

/// A run with everything its card shows.
#[derive(Debug, Clone, PartialEq)]
pub struct RunView {
    /// The run.
    pub run: Run,
    /// Its attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// How far its attempt is, while it runs.
    pub progress: Progress,
    /// Runs that repeat it: number and who asked.
    pub retried_as: Vec<(i64, Actor)>,
    /// How often its failure had been seen before, once it has failed.
    pub seen: Option<Seen>,
    /// What was new about it when it ended, where it says something about its build.
    pub comparison: Option<Comparison>,
    /// The newest revision of its cards.
    pub generation: i64,
    /// Whose its board is, should it fail; once it has, whose it was then.
    pub keep: Option<Keep>,
    /// Whether it is on a board that its requester has.
    pub is_own: bool,
}

/// Something that happened to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunStep {
    /// Its place among everything that ever happened.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// What: `accepted`, `granted`, `advanced`, `settled`, `withdrawn`, `asked`, `retried`.
    pub kind: String,
    /// In which attempt.
    pub attempt: Option<u32>,
    /// On which board.
    pub board: Option<BoardId>,
    /// The stage that it reached.
    pub stage: Option<String>,
}

/// How far the telling of a run is, in all its channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Telling {
    /// Whether some message is still to be sent.
    pub owed: bool,
    /// When one of its cards was last sent; nothing where it has none, or none came through.
    pub last: Option<Timestamp>,
}

/// How often runs of a family had ended with the same failure before a run did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// What is the same ([`signature`](crate::outcome::signature)).
    pub signature: String,
    /// How many; 0 for a new failure.
    pub before: u32,
    /// The first of them.
    pub first: Option<Sighting>,
    /// The last of them.
    pub last: Option<Sighting>,
}

/// A run that ended with a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sighting {
    /// Its number.
    pub number: i64,
    /// Its build.
    pub build: String,
    /// When it ended.
    pub at: Timestamp,
}

/// What a suite came to before, as far back as anybody looks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SuitePast {
    /// Its newest runs that had test cases and say something about their builds, the newest first; at most
    /// [`PAST_MAX`](crate::outcome::compare::PAST_MAX).
    pub runs: Vec<Past>,
    /// The newest run that passed.
    pub good: Option<RunOfBuild>,
}

/// A test run that ended on a board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its number.
    pub number: i64,
    /// The kind of board.
    pub family: Family,
    /// The suite.
    pub suite: String,
    /// How it ended.
    pub verdict: Verdict,
}

/// Most runs of a suite that its history goes back.
pub const HISTORY_RUNS_MAX: u32 = 60;

/// A test run of a suite that ended on a board, as a history shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct SuiteRun {
    /// Which.
    pub run: RunOfBuild,
    /// How it ended.
    pub verdict: Verdict,
    /// Why; empty where there is nothing to say.
    pub cause: String,
    /// When.
    pub finished_at: Timestamp,
    /// Where its last attempt was.
    pub board: Option<BoardId>,
    /// How long that took.
    pub took: Option<Duration>,
    /// How its test cases ended.
    pub counts: Counts,
    /// Each of them; only of the newest runs.
    pub marks: Option<Marks>,
    /// How long each stage of the last attempt took, as long as its events are kept.
    pub stages: Vec<(Stage, Duration)>,
}

/// A test case in one run of its suite.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseRun {
    /// The run.
    pub run: RunOfBuild,
    /// How the case ended there; `None` where it was not run.
    pub case: Option<TestCase>,
}

/// An attempt as the history of its board shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct BoardRun {
    /// The run.
    pub run: RunOfBuild,
    /// Which attempt of it.
    pub attempt: u32,
    /// What it tested, or checked.
    pub suite: String,
    /// When it began there.
    pub started_at: Timestamp,
    /// When it ended, how and why; `None` while it is there.
    pub ended: Option<(Timestamp, Verdict, String)>,
}

/// A batch with everything its card shows.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchView {
    /// Its runs, in order; never none.
    pub runs: Vec<BatchRun>,
    /// The newest revision of its card.
    pub generation: i64,
}

/// A run of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchRun {
    /// The run; a finished one without its test cases.
    pub run: Run,
    /// How far its attempt is, while it runs.
    pub progress: Progress,
    /// Its last attempt so far, and the board of that.
    pub last: Option<(u32, BoardId)>,
    /// Runs that repeat it.
    pub retried_as: Vec<i64>,
}

/// What a card or a thread tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// This run.
    Run(i64),
    /// This batch, by the number of its first run.
    Batch(i64),
    /// This campaign.
    Campaign(i64),
}

/// Which runs to list.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Tests, or boardhand's own health runs (of those, the unfinished ones only).
    pub kind: RunKind,
    /// Only of this person ([`Actor::key`]).
    pub requested_by: Option<String>,
    /// Only on a board or waiting: in this order, the oldest of each first. Otherwise the newest come first.
    pub unfinished: bool,
    /// At most so many.
    pub limit: u32,
    /// Only those with smaller numbers; not of the unfinished ones.
    pub before: Option<i64>,
}
