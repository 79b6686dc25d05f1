//! What every loop is: an agent with a `step`, and the driver that repeats it. Tests call steps; production runs the
//! driver; no other code path exists.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::clock::{Clock, Monotonic};
use crate::doorbell::{Bell, Doorbell};
use crate::store::StoreError;

/// What a step found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It did something; there may be more.
    Worked,
    /// Nothing to do before `until`, or before a ring.
    Idle {
        /// When to look again at the latest.
        until: Monotonic,
    },
}

/// A loop of the server.
#[async_trait]
pub trait Agent: Send {
    /// Its name in logs.
    fn name(&self) -> &'static str;
    /// The bell that wakes it; `None` for an agent that only looks at the time.
    fn bell(&self) -> Option<Bell>;
    /// How long rings gather after a look that found nothing more to do: the first ring is answered at once, a storm
    /// of rings by a look now and then that takes them all.
    fn gathers(&self) -> Duration {
        GATHERS
    }
    /// Does what there is to do now.
    async fn step(&mut self) -> Result<Step, StoreError>;
}

/// How long most loops let rings gather: well under what a person or a board notices.
const GATHERS: Duration = Duration::from_millis(2);
/// How long a loop rests after its step failed: the store is not available, and hammering it does not help.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// Repeats an agent's step until `stop` says true, then gives the agent back for what it must end in order.
pub async fn drive<A: Agent>(
    mut agent: A,
    clock: Clock,
    doorbell: Doorbell,
    mut stop: watch::Receiver<bool>,
) -> A {
    while !*stop.borrow_and_update() {
        let until = match agent.step().await {
            Ok(Step::Worked) => {
                tokio::task::yield_now().await;
                continue;
            }
            Ok(Step::Idle { until }) => until,
            Err(error) => {
                tracing::error!(agent = agent.name(), %error, "a step failed; trying again");
                clock.monotonic() + FAILURE_PAUSE
            }
        };
        let bell = agent.bell();
        let rung = async {
            match bell {
                Some(bell) => doorbell.wait(bell).await,
                None => std::future::pending().await,
            }
        };
        let looked_at = clock.monotonic();
        tokio::select! {
            () = rung => {}
            () = clock.sleep_until(until) => {}
            _ = stop.changed() => {}
        }
        let gathered_at = looked_at + agent.gathers();
        if clock.monotonic() < gathered_at && !*stop.borrow() {
            tokio::select! {
                () = clock.sleep_until(gathered_at) => {}
                _ = stop.changed() => {}
            }
        }
    }
    agent
}
