//! The drainer: the loop that tells whoever drains something that nothing is on it any more, and ends drains whose time is
//! over. It keeps nothing from boards: that is the scheduler's, which knows what drains.

use std::sync::Arc;

use async_trait::async_trait;

use super::runner::Lab;
use super::steps::{Agent, LOOK_ANYWAY, LOOK_EVERY, Step};
use crate::board::BoardId;
use crate::clock::Timestamp;
use crate::command::handle::drain_note;
use crate::doorbell::Bell;
use crate::lease::Lease;
use crate::store::{Drain, StoreError};

/// Looks after drains.
pub struct Drainer {
    lab: Arc<Lab>,
}

impl Drainer {
    /// A drainer of this lab.
    pub fn new(lab: Arc<Lab>) -> Self {
        Drainer { lab }
    }

    fn is_on(&self, drain: &Drain, boards: &[BoardId], lease: &Lease) -> bool {
        boards.contains(&lease.board)
            || drain.of.worker().is_some_and(|worker| self.lab.crew.has(worker, lease))
    }

    /// Ends a drain, or says that nothing is on it any more, where that is so.
    async fn look(&self, drain: &Drain, leases: &[Lease], now: Timestamp) -> Result<(), StoreError> {
        let inventory = self.lab.inventory.now();
        let boards: Vec<BoardId> = drain.of.boards(&inventory).map(|board| board.id.clone()).collect();
        if !drain.is_on(now) {
            let told = drain_note("drain-over", drain, now);
            if self.lab.store.drain_over(drain.number, &boards, &told, now).await? {
                tracing::info!(drains = drain.of.name(), "a drain is over");
                [Bell::Relay, Bell::Scheduler].iter().for_each(|bell| self.lab.doorbell.ring(*bell));
            }
        } else if !drain.told && !leases.iter().any(|lease| self.is_on(drain, &boards, lease)) {
            let told = drain_note("drained", drain, now);
            self.lab.store.drain_tell(drain.number, &told, now).await?;
            self.lab.doorbell.ring(Bell::Relay);
        }
        Ok(())
    }
}

#[async_trait]
impl Agent for Drainer {
    fn name(&self) -> &'static str {
        "drainer"
    }

    fn bell(&self) -> Option<Bell> {
        None
    }

    async fn step(&mut self) -> Result<Step, StoreError> {
        let now = self.lab.clock.now();
        let drains = self.lab.store.drain_list().await?;
        let wait = if drains.is_empty() { LOOK_ANYWAY } else { LOOK_EVERY };
        // The drains first: what was on one of them when it began is among the leases, or has ended.
        let leases = if drains.is_empty() { vec![] } else { self.lab.store.lease_list().await? };
        for drain in &drains {
            match self.look(drain, &leases, now).await {
                Err(error) if error.is_lasting() => {
                    tracing::error!(drains = drain.of.name(), %error, "a drain cannot be looked after");
                }
                looked => looked?,
            }
        }
        Ok(Step::Idle { until: self.lab.clock.monotonic() + wait })
    }
}
