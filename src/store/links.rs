//! People who have linked themselves over two platforms by a code. Plain data; the code itself is kept nowhere here.

use std::time::Duration;

use crate::chat::{Actor, Platform};
use crate::clock::Timestamp;

/// How long a code is good.
pub const CODE_LASTS: Duration = Duration::from_secs(10 * 60);
/// How many wrong codes somebody may type within that time.
pub const CODES_WRONG_MAX: u32 = 5;

/// What somebody wants of their link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkAsked {
    /// A code, which takes the place of one that they were given before.
    Code {
        /// The SHA-256 of it.
        hash: [u8; 32],
        /// When it is over.
        until: Timestamp,
    },
    /// To be one with whoever was given this code. At first they are asked whether they are, naming whose it is, and nobody
    /// else may type it any more; they are once they say so.
    With {
        /// The SHA-256 of it.
        hash: [u8; 32],
        /// Whether they say so, which counts only after they were asked.
        sure: bool,
    },
    /// That this code opens nothing any more: others may have read it where it was typed in vain.
    Void {
        /// The SHA-256 of it.
        hash: [u8; 32],
    },
    /// That whoever has one of these ids, `slack:U0LEAD`, is two again.
    Undone {
        /// Any of them.
        ids: Vec<String>,
        /// On which platform they ask for it themselves, and are answered; whoever is parted otherwise is told.
        by_themselves_on: Option<Platform>,
    },
}

/// Somebody's ids: first that of whoever was given the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRow {
    /// As each platform knows them.
    pub ids: Vec<Actor>,
}
