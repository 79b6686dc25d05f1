//! The daily digest of a channel, and what has happened that it tells. Plain data.

use std::time::Duration;

use crate::board::{BoardId, Family};
use crate::chat::Platform;
use crate::clock::Timestamp;
use crate::id::MessageId;
use crate::outcome::Verdict;
use crate::outcome::compare::Flaky;

/// Most runs of a time whose flaky cases are looked at: the newest.
pub const FLAKY_RUNS_MAX: u32 = 200;

/// The digest of a channel as it stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestRow {
    /// The platform.
    pub platform: Platform,
    /// The channel.
    pub channel: String,
    /// What its post is known by to the platform.
    pub id: MessageId,
    /// The platform's id of the message.
    pub message: Option<String>,
    /// Whether it is pinned.
    pub pinned: bool,
    /// The due time that was dealt with.
    pub shown_at: Option<Timestamp>,
    /// Since when a post may be there of which nothing is known.
    pub begun_at: Option<Timestamp>,
}

/// What has happened in a time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimePast {
    /// How many test runs ended so.
    pub verdicts: Vec<(Verdict, u64)>,
    /// For how long each board was somebody's or a run's.
    pub used: Vec<(BoardId, Duration)>,
    /// Cases that come out as they like, the newest runs' first; the same case once for each run that shows it.
    pub flaky: Vec<(Family, String, Flaky)>,
}
