//! What admins look through: decisions on record, and messages that were given up. Plain data.

use serde::Serialize;

use crate::chat::Place;
use crate::clock::Timestamp;

/// Most decisions that one look reads, whether they fit or not; the next look goes on behind them.
pub const AUDIT_LOOKED_AT_MAX: i64 = 50_000;
/// Most dead letters that one command sends again.
pub const LETTERS_RESENT_MAX: u32 = 100;
/// What stands for the message id of a card that could only be told through a delivery's own URL.
pub const TOLD_BY_URL: &str = "response_url";

/// Which decisions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only of these, as `slack:U0LEAD`.
    pub actors: Option<Vec<String>>,
    /// Only about this board or run; a target's first word counts.
    pub target: Option<String>,
    /// Only since then.
    pub since: Option<Timestamp>,
    /// Only those that refused.
    pub refused: bool,
    /// Only those before this one.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: u32,
}

/// Decisions, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decisions {
    /// Those that fit.
    pub decisions: Vec<Decision>,
    /// Where the next look begins ([`AuditFilter::before`]); `None` where there is nothing more.
    pub next: Option<i64>,
}

/// Who was allowed or refused what, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// Its place on record.
    pub position: i64,
    /// When.
    pub at: Timestamp,
    /// Who, as `slack:U0LEAD`.
    pub actor: String,
    /// The command's verb.
    pub verb: String,
    /// What it was about; may be empty.
    pub target: String,
    /// Whether they were allowed.
    pub allowed: bool,
    /// Why.
    pub reason: String,
    /// The address that it came from, for what came over the API.
    pub source: Option<String>,
}

/// A message that will never be sent by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its number.
    pub number: i64,
    /// What it was to be.
    pub kind: LetterKind,
    /// The run that it is about.
    pub run: Option<i64>,
    /// Where it was to stand.
    pub place: Place,
    /// The one person who was to see it.
    pub user: Option<String>,
    /// Why it was given up, in the platform's words or ours.
    pub error: String,
    /// When it became owed.
    pub owed_at: Timestamp,
    /// When it was given up.
    pub died_at: Timestamp,
}

/// What a dead letter was to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LetterKind {
    /// The card of a run, with its thread.
    Card,
    /// How a run ended, in its thread.
    Outcome,
    /// Progress, in a thread.
    Reply,
    /// An answer to one person.
    Answer,
    /// Something that nobody asked for: of a board, of somebody's time with one.
    News,
    /// What a program outside was to be told.
    Call,
}
