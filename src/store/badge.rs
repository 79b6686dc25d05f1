//! Badges: the bot's reactions on messages that asked for runs, which say what became of those. Plain data.

use crate::chat::{Badge, Platform};
use crate::clock::Timestamp;

/// A message with a badge, or without one yet, whose runs say another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadgeRow {
    /// The platform.
    pub platform: Platform,
    /// The channel.
    pub channel: String,
    /// The message that asked.
    pub message: String,
    /// When it did.
    pub asked_at: Timestamp,
    /// What its runs say now.
    pub wanted: Badge,
    /// What is on it, and under which id of the platform.
    pub shown: Option<(Badge, String)>,
    /// What was on it before, and is still to be taken off.
    pub stale: Option<(Badge, String)>,
}
