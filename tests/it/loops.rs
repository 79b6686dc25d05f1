//! Loops between rings: one that has nothing at hand asks the database nothing as long as nobody commits anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use boardhand::clock::{Clock, Timestamp};
use boardhand::doorbell::{Bell, Doorbell};
use boardhand::id::{Ids, InstanceId};
use boardhand::store::sql::{SqlStore, SqliteOptions};
use boardhand::store::{Store, StoreError};
use boardhand::worker::steps::{Agent, LOOK_ANYWAY, LOOK_EVERY, Step, drive};
use tokio::sync::watch;

/// A loop that has nothing at hand, and counts its looks.
struct Counting {
    clock: Clock,
    looks: Arc<AtomicUsize>,
}

#[async_trait]
impl Agent for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn bell(&self) -> Option<Bell> {
        Some(Bell::Errands)
    }

    async fn step(&mut self) -> Result<Step, StoreError> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        Ok(Step::Idle { until: self.clock.monotonic() + LOOK_ANYWAY })
    }
}

/// Lets everything run that can: on one thread, under a clock that stands, that is soon over.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_loop_looks_after_a_ring_a_commit_or_a_while_and_else_rests() {
    let dir = tempfile::tempdir().expect("dir");
    let ids = Ids::seeded(7);
    let store = Arc::new(SqlStore::open(dir.path(), SqliteOptions::new(ids.clone())).await.expect("store"));
    let (clock, hand) = Clock::manual(Timestamp::from_micros(1_790_000_000_000_000));
    let (doorbell, looks) = (Doorbell::default(), Arc::new(AtomicUsize::new(0)));
    let (stop, stopping) = watch::channel(false);
    let agent = Counting { clock: clock.clone(), looks: looks.clone() };
    let commits = {
        let store = store.clone();
        move || store.commits()
    };
    let loops = tokio::spawn(drive(agent, clock.clone(), doorbell.clone(), commits, stopping));
    let looked = || looks.load(Ordering::SeqCst);
    settle().await;
    assert_eq!(looked(), 1, "at its start");

    hand.advance(LOOK_EVERY);
    settle().await;
    assert_eq!(looked(), 1, "nothing was committed");
    let instance = InstanceId::new(&ids, clock.now());
    store.lease_renew(instance, clock.now() + Duration::from_secs(10)).await.expect("renewed");
    hand.advance(LOOK_EVERY);
    settle().await;
    assert_eq!(looked(), 1, "leases that go on are no news");

    store.lab_put("another").await.expect("put");
    settle().await;
    assert_eq!(looked(), 1, "a commit alone wakes nobody: whoever commits rings");
    hand.advance(LOOK_EVERY);
    settle().await;
    assert_eq!(looked(), 2, "and what nobody rang for is seen a moment later");
    hand.advance(LOOK_EVERY);
    settle().await;
    assert_eq!(looked(), 2, "once");

    doorbell.ring(Bell::Errands);
    settle().await;
    assert_eq!(looked(), 3, "a ring");
    for _ in 0..10 {
        hand.advance(LOOK_EVERY);
        settle().await;
    }
    assert_eq!(looked(), 4, "whatever happens, after {LOOK_ANYWAY:?}");
    stop.send_replace(true);
    loops.await.expect("it ends");
}
