//! The desk: where a runner reports. Each operation says what happened on a board, in the lab's language, and names its
//! lease; what follows of it (messages, retries, a board's health) is decided behind the desk. The desk of this process is
//! over the store ([`Local`](super::local::Local)); that of a worker elsewhere is over the network. A runner never knows which.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::board::plan::RetryPolicy;
use crate::board::{Family, Inventory};
use crate::build::Build;
use crate::id::LeaseId;
use crate::lease::{Lease, LeaseState, Trust};
use crate::outcome::Outcome;
use crate::run::{LeaseRef, Progress, Request, Stage};
use crate::store::{AtRest, Fenced, Result, RunView};

/// A run as its attempt begins.
pub struct Begun {
    /// The run.
    pub view: RunView,
    /// Where its board finds artifacts.
    pub served: String,
}

/// What a thread is told when a stage is reached, beside the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// The run has its board at last.
    HasItsBoard,
    /// The tests begin.
    Testing,
}

impl Word {
    /// The message that says it.
    pub fn template(self) -> &'static str {
        match self {
            Word::HasItsBoard => "run-leased",
            Word::Testing => "run-testing",
        }
    }
}

/// The end of an attempt, as whoever drove the board knows it.
pub struct Ending<'a> {
    /// The lease of the board that its plan drove.
    pub lease: &'a LeaseRef,
    /// The run when the attempt began, with what was asked of it since.
    pub view: &'a RunView,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// How often its plan has trouble with the lab tried again.
    pub retry: RetryPolicy,
    /// The lab that it went by.
    pub inventory: &'a Inventory,
    /// How it ended.
    pub outcome: &'a Outcome,
    /// Why nobody is to have the board before a person has looked at it.
    pub unfit: Option<&'a str>,
}

/// Where a runner reports. An answer of [`Fenced::Stale`] means that the lease is gone, and that nothing was changed.
#[async_trait]
pub trait Desk: Send + Sync {
    /// Live leases under which this process drives boards.
    async fn leases(&self) -> Result<Vec<Lease>>;
    /// What was asked of the runs that this process drives.
    async fn requests(&self) -> Result<Vec<(LeaseRef, Request)>>;
    /// A run whose attempt is to begin.
    async fn begin(&self, run: i64) -> Result<Option<Begun>>;
    /// The build that a run tests, where its CI told of it.
    async fn build(&self, family: &Family, build: &str) -> Result<Option<Build>>;
    /// The attempt reached a stage.
    async fn advance(
        &self,
        lease: &LeaseRef,
        view: &RunView,
        stage: Stage,
        word: Option<Word>,
    ) -> Result<Fenced>;
    /// The attempt got farther: droppable, only the card shows it.
    async fn progress(&self, lease: &LeaseRef, progress: &Progress) -> Result<Fenced>;
    /// The first failure of the attempt, as far as it is known.
    async fn first_failure(
        &self,
        lease: &LeaseRef,
        view: &RunView,
        attempt: u32,
        outcome: &Outcome,
    ) -> Result<Fenced>;
    /// The attempt ended.
    async fn settle(&self, ending: &Ending<'_>) -> Result<Fenced>;
    /// Where a lease is in its life.
    async fn state(&self, lease: &LeaseRef) -> Result<Option<LeaseState>>;
    /// The board was fenced physically.
    async fn fenced(&self, lease: &LeaseRef) -> Result<Fenced>;
    /// Gives a board back, at rest or not.
    async fn release(&self, lease: &LeaseRef, rest: &AtRest) -> Result<Fenced>;
    /// Gives back leases whose boards nobody has touched; gives those that were given back.
    async fn give_back(&self, leases: &[LeaseId]) -> Result<Vec<LeaseId>>;
    /// Takes leases away whose driver is no more.
    async fn take_away(&self, leases: &[LeaseId]) -> Result<()>;
    /// How long this process may drive the board of a lease.
    fn trust(&self, lease: &LeaseRef) -> Trust;
}
