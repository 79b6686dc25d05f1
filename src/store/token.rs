//! Tokens of the API as the store knows them: never the token itself. Plain data.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::command::standing::Standing;

/// Most names that tokens are kept under, with those that are revoked or over.
pub const TOKENS_MAX: u32 = 1_000;
/// How exactly it is kept when a token was used last: a write for each request would be one too many.
pub const USED_EVERY: Duration = Duration::from_secs(10 * 60);

/// A token on its way into the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// Its name, and that of whoever comes with it.
    pub name: String,
    /// The SHA-256 of the token.
    pub hash: [u8; 32],
    /// What it grants.
    pub standing: Standing,
    /// When it is over by itself.
    pub expires_at: Option<Timestamp>,
}

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// Its name.
    pub name: String,
    /// The SHA-256 of the token.
    pub hash: [u8; 32],
    /// What it grants.
    pub standing: Standing,
    /// Who made it ([`Actor::key`](crate::chat::Actor::key)).
    pub made_by: String,
    /// When.
    pub made_at: Timestamp,
    /// When it is over by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was used last; at most [`USED_EVERY`] too early.
    pub used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl TokenRow {
    /// Whether it opens anything at that time.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| now < at)
    }
}
