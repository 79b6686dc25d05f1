//! Messages that are owed, and how sending them ended. Plain data.

use crate::chat::{AnswerVia, Place};
use crate::clock::Timestamp;
use crate::id::MessageId;
use crate::message::Note;

/// A message that is owed.
#[derive(Debug, Clone, PartialEq)]
pub struct Owed {
    /// The row's id; a card keeps its id for its whole life.
    pub id: MessageId,
    /// What it is.
    pub kind: OwedKind,
    /// Set when an earlier post may have reached the platform: since when to look for it.
    pub begun_at: Option<Timestamp>,
    /// How often sending has failed.
    pub tries: u32,
    /// When it became owed.
    pub since: Timestamp,
}

/// What is owed.
#[derive(Debug, Clone, PartialEq)]
pub enum OwedKind {
    /// A run's card, or a batch's: posted when `message` is `None`, edited otherwise. Rendered from the newest state.
    Card {
        /// The run's number.
        run: i64,
        /// Whether it is the card of the batch that begins with that run.
        batch: bool,
        /// The campaign whose card it is, where it is one's; then `run` is the first that it started.
        campaign: Option<i64>,
        /// Where it stands.
        place: Place,
        /// The platform's id of the posted card.
        message: Option<String>,
        /// The revision to send.
        revision: i64,
        /// For a channel that the bot is not in.
        via: Option<AnswerVia>,
        /// Whether the run, every run of the batch, or the campaign is finished: final results are never given up for progress.
        last: bool,
    },
    /// A reply in the thread of a run's card.
    Reply {
        /// The run's number.
        run: i64,
        /// The thread.
        place: Place,
        /// What it says.
        note: Note,
        /// Its place in the thread, for the platform's metadata.
        seq: i64,
        /// Whether it tells the outcome.
        last: bool,
    },
    /// An answer to one person.
    Answer {
        /// How to reach them.
        via: AnswerVia,
        /// What it says.
        note: Note,
    },
}

/// Where a run's card stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardLink {
    /// The run.
    pub run: i64,
    /// The channel.
    pub channel: String,
    /// The card's address, for people.
    pub url: String,
}

/// How sending a message ended.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageEnd {
    /// The row.
    pub id: MessageId,
    /// How.
    pub end: End,
}

/// The note whose place in a thread is taken by a file: a console log.
pub const RUN_LOG: &str = "run-log";

/// How sending ended, as the store keeps it.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// A card's revision, or a message, is there under this id.
    Sent {
        /// The platform's id.
        message: String,
        /// The revision that was rendered; 0 for anything but a card.
        revision: i64,
    },
    /// Not sent for certain: again from `at`. Counts as a try when `failed`.
    Later {
        /// When.
        at: Timestamp,
        /// Whether this was a failure and not just pacing.
        failed: bool,
    },
    /// It may be there: ask the platform from `at` on, then decide.
    Unsure {
        /// When.
        at: Timestamp,
    },
    /// A card that its channel is not told as it is now, and was not posted before; the next state is looked at anew.
    Untold {
        /// The revision that was looked at.
        revision: i64,
        /// Whether there will be no other: then what waits for its thread is not told either.
        last: bool,
    },
    /// It will never be sent.
    Dead {
        /// Why.
        error: String,
    },
}
