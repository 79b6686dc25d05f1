//! What people are told of by direct message. Plain data.

use crate::board::Family;

/// The note that tells somebody directly how a run has ended that they watch.
pub const WATCHED: &str = "watched";
/// Most runs and families that one person watches at once.
pub const WATCHES_MAX: u32 = 20;

/// What somebody is told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// How this run ends, once.
    Run(i64),
    /// Every run of a family that goes wrong.
    Family(Family),
}
