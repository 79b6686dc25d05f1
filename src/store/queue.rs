//! What the scheduler reads: what changed since it looked last. Plain data.

use std::time::Duration;

use super::{BoardRow, Drain};
use crate::board::{BoardId, Family};
use crate::chat::Actor;
use crate::clock::Timestamp;
use crate::id::RunId;
use crate::lease::Reservation;
use crate::run::{Priority, Selector};

/// How far the scheduler has read. Only the store that made it can read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(pub i64);

/// What changed for the scheduler.
#[derive(Debug, Clone)]
pub struct QueueChanges {
    /// Where to go on.
    pub cursor: Cursor,
    /// Whether more is there already.
    pub more: bool,
    /// Runs as they are now.
    pub runs: Vec<QueueRun>,
    /// Boards as they are now.
    pub boards: Vec<BoardRow>,
    /// Everybody who waits for a board of their own now.
    pub reservations: Vec<Reservation>,
    /// What takes nothing new now.
    pub drains: Vec<Drain>,
    /// The newest drain, whether it can be read or not.
    pub newest_drain: i64,
    /// How long attempts took that passed, failed or timed out, oldest first (only those since the cursor; at the
    /// start the last few).
    pub durations: Vec<Took>,
}

/// How long a finished attempt took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Took {
    /// The run.
    pub run: RunId,
    /// Its attempt.
    pub attempt: u32,
    /// The kind of board.
    pub family: Family,
    /// The suite.
    pub suite: String,
    /// From its grant to its outcome.
    pub took: Duration,
}

/// A run as the scheduler sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueRun {
    /// Its id.
    pub id: RunId,
    /// Its number.
    pub number: i64,
    /// What it waits for; `None` when it waits no more.
    pub waiting: Option<Waiting>,
    /// Whether it is finished.
    pub finished: bool,
    /// Whose it is.
    pub requested_by: Actor,
    /// How many boards it holds, or wants.
    pub boards: u32,
}

/// What a run waits for.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// The attempt.
    pub attempt: u32,
    /// Since when.
    pub since: Timestamp,
    /// Boards that failed it.
    pub avoid: Vec<BoardId>,
    /// The kind of board.
    pub family: Family,
    /// The suite, for estimates.
    pub suite: String,
    /// Which boards may serve.
    pub selector: Selector,
    /// Its place in the queue.
    pub priority: Priority,
    /// How many boards at once.
    pub boards: u32,
}
