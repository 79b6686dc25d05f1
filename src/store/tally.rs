//! What has happened since somebody counted last, and how much there is now: for metrics. Plain data.

use std::time::Duration;

use super::{Census, Cursor};
use crate::clock::Timestamp;

/// A page of what happened, and what there is.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Where to go on.
    pub cursor: Option<Cursor>,
    /// Whether more has happened already.
    pub more: bool,
    /// Runs that ended, by what they were and how they ended.
    pub ended: Vec<Endings>,
    /// Attempts that ended, by how.
    pub attempts: Vec<Endings>,
    /// How long each of those attempts took.
    pub took: Vec<Duration>,
    /// How long runs waited that were given a board.
    pub waited: Vec<Duration>,
    /// Leases that were taken away because nobody renewed them.
    pub lapsed: u64,
    /// Unfinished runs by state.
    pub runs: Vec<(String, u64)>,
    /// Runs that wait, by family.
    pub queue: Vec<Waits>,
    /// People who wait for a board of their own, by family.
    pub reservations: Vec<Waits>,
    /// Messages that are owed: cards, replies, answers.
    pub owed: Vec<Waits>,
    /// How many rows wait.
    pub census: Census,
}

/// How many ended alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endings {
    /// `test` or `health`.
    pub kind: String,
    /// How.
    pub verdict: String,
    /// Why; empty where there is nothing to say.
    pub cause: String,
    /// How many.
    pub count: u64,
}

/// How many wait for the same, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    /// For what.
    pub of: String,
    /// How many.
    pub count: u64,
    /// Since when the first of them does.
    pub oldest: Timestamp,
}
