//! Builds as they are asked for. Plain data.

use crate::board::Family;

/// Which builds, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildFilter {
    /// Of what.
    pub of: BuildsOf,
    /// Only those that everything was made of.
    pub good: bool,
    /// Only those that came before the one with this number.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: u32,
}

/// Of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildsOf {
    /// Every family.
    All,
    /// One family.
    Family(Family),
    /// One branch of a family.
    Branch(Family, String),
    /// One id, of whichever families.
    Id(String),
}
