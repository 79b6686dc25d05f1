//! Sessions of the pages as the store knows them: who signed in with a chat platform, never what opens their session.
//! Plain data.

use crate::chat::Actor;
use crate::clock::Timestamp;

/// Most sessions of one person that are kept; with one more the oldest goes.
pub const SESSIONS_MAX: u32 = 20;
/// Longest name of a person that is kept, in bytes.
pub const SESSION_NAME_BYTES_MAX: usize = 200;

/// A session on its way into the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// The SHA-256 of what opens it.
    pub hash: [u8; 32],
    /// The SHA-256 of what the sign-in went by.
    pub sign_in: [u8; 32],
    /// Who signed in.
    pub by: Actor,
    /// Whether they are of another workspace or tenant than the app.
    pub foreign: bool,
    /// When.
    pub made_at: Timestamp,
    /// When it is over by itself.
    pub expires_at: Timestamp,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// The SHA-256 of what opens it.
    pub hash: [u8; 32],
    /// Who signed in.
    pub by: Actor,
    /// Whether they are of another workspace or tenant than the app.
    pub foreign: bool,
    /// When.
    pub made_at: Timestamp,
    /// When it is over by itself.
    pub expires_at: Timestamp,
    /// When it was used last; at most [`USED_EVERY`](super::USED_EVERY) too early.
    pub used_at: Option<Timestamp>,
    /// When they signed out.
    pub ended_at: Option<Timestamp>,
}

impl SessionRow {
    /// Whether it opens anything at that time.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.ended_at.is_none() && now < self.expires_at
    }
}
