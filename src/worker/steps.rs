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
    /// Nothing to do before `until`, a ring, or a commit that nobody rang for.
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
    /// How long rings gather after a look that found nothing more to do; in a storm of rings, longer.
    fn gathers(&self) -> Duration {
        Duration::ZERO
    }
    /// Does what there is to do now.
    async fn step(&mut self) -> Result<Step, StoreError>;
}

/// How often a loop looks that has something at hand, and how soon one looks after a commit whose ring was lost.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a loop looks that has nothing at hand, when nothing was committed.
pub const LOOK_ANYWAY: Duration = Duration::from_secs(10);

/// More rings than this from one look to the next are a storm: rings gather before the next look, and twice as long
/// each time until they are fewer. A look costs the same few statements whatever it finds, and in a storm they would
/// take the processor from those who ring.
const STORM_RINGS: usize = 2;
/// How long the rings of a storm gather at first.
const STORM_GATHERS: Duration = Duration::from_millis(2);
/// Longest time for which they gather: well under what a person or a board notices.
const STORM_GATHERS_MAX: Duration = Duration::from_millis(50);
/// How long a loop rests after its step failed: the store is not available, and hammering it does not help.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// Repeats an agent's step until `stop` says true, then gives the agent back for what it must end in order. `commits` rises
/// whenever something was committed that it may have to hear of ([`Store::commits`](crate::store::Store::commits)).
pub async fn drive<A: Agent>(
    mut agent: A,
    clock: Clock,
    doorbell: Doorbell,
    commits: impl Fn() -> Option<u64> + Send,
    mut stop: watch::Receiver<bool>,
) -> A {
    let mut gathers = agent.gathers();
    while !*stop.borrow_and_update() {
        let seen = commits();
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
            () = news(&clock, &commits, seen, until) => {}
            _ = stop.changed() => {}
        }
        let gathered_at = looked_at + gathers;
        if clock.monotonic() < gathered_at && !*stop.borrow() {
            tokio::select! {
                () = clock.sleep_until(gathered_at) => {}
                _ = stop.changed() => {}
            }
        }
        let rings = bell.map_or(0, |bell| doorbell.rings(bell));
        gathers = gathering(agent.gathers(), gathers, rings);
    }
    agent
}

/// Waits until `until`, and no longer than [`LOOK_EVERY`] once something was committed since `seen`: a look that can
/// find nothing new is a few statements for nothing, every second, in each loop.
async fn news(clock: &Clock, commits: &impl Fn() -> Option<u64>, seen: Option<u64>, until: Monotonic) {
    loop {
        let look = (clock.monotonic() + LOOK_EVERY).min(until);
        clock.sleep_until(look).await;
        if look == until || seen.is_none() || commits() != seen {
            return;
        }
    }
}

/// How long rings gather after the next look, when they gathered for `last` before this one and were so many.
fn gathering(quiet: Duration, last: Duration, rings: usize) -> Duration {
    if rings <= STORM_RINGS {
        return quiet;
    }
    (last * 2).clamp(STORM_GATHERS, STORM_GATHERS_MAX).max(quiet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(quiet: u64, last: u64, rings: usize, expect: u64) {
        let [quiet, last, expect] = [quiet, last, expect].map(Duration::from_millis);
        assert_eq!(gathering(quiet, last, rings), expect);
    }

    #[test]
    fn the_rings_of_a_storm_gather_longer_each_time_up_to_a_bound() {
        check(0, 0, STORM_RINGS + 1, 2);
        check(0, 2, 100, 4);
        check(0, 40, 100, 50);
        check(0, 50, 100, 50);
        check(30, 30, 100, 50);
        check(80, 80, 100, 80);
    }

    #[test]
    fn once_they_are_few_a_ring_is_answered_at_once_again() {
        check(0, 50, STORM_RINGS, 0);
        check(30, 50, 0, 30);
    }
}
