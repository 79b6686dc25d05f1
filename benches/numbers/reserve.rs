//! From a run in the queue to its lease, through the real store and scheduler: 1,000 boards, 10,000 runs waiting.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use boardhand::board::{BoardId, Family, LiveInventory};
use boardhand::chat::{Actor, Place, Platform};
use boardhand::clock::Clock;
use boardhand::doorbell::{Bell, Doorbell};
use boardhand::id::{Ids, InstanceId, RunId};
use boardhand::lease::scheduler::{Scheduler, SharedQueue};
use boardhand::lease::{Holder, Lease, LeaseState};
use boardhand::message::Note;
use boardhand::outcome::{Counts, Outcome, Verdict};
use boardhand::run::{Decision, LeaseRef, Priority, RunKind, RunSpec, Selector, Stage};
use boardhand::store::sql::{SqlStore, SqliteOptions};
use boardhand::store::{AtRest, Audit, Effect, Fenced, Intake, NewRun, Settle, Store};
use boardhand::worker::steps::drive;
use serde_json::json;
use tokio::sync::watch;

use crate::lab;
use crate::machine::Spread;

/// Families of a hundred boards; nine are full and have runs waiting, the last has boards free.
const FAMILIES: usize = 10;
const BOARDS: usize = 100;
const WAITING: usize = 10_000;
const SAMPLES: usize = 1_000;

/// Measures it.
pub(crate) fn enqueue_to_lease() {
    lab::runtime().block_on(async {
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let bench = Bench::start(home.path()).await;
        println!("an empty queue, 1,000 boards free:  {}", bench.samples().await);
        bench.fill().await;
        println!("900 boards busy, 10,000 runs wait:  {}", bench.samples().await);
        let (runs, took) = bench.turn_over(5_000).await;
        println!("settle, release, grant, in turn: {runs} runs in {took:.1} s, {:.0}/s", runs as f64 / took);
    });
}

/// A store with a scheduler at work over it.
pub(crate) struct Bench {
    pub(crate) store: Arc<dyn Store>,
    doorbell: Doorbell,
    pub(crate) clock: Clock,
    ids: Ids,
    _stop: watch::Sender<bool>,
}

impl Bench {
    pub(crate) async fn start(data: &std::path::Path) -> Bench {
        let (clock, ids, doorbell) = (Clock::system(), Ids::system(), Doorbell::default());
        let inventory = LiveInventory::new(lab::inventory(&lab::yaml(FAMILIES, BOARDS)));
        let store = SqlStore::open(data, SqliteOptions::new(ids.clone())).await.expect("store");
        let store: Arc<dyn Store> = Arc::new(store);
        let boards: Vec<BoardId> = inventory.now().boards.keys().cloned().collect();
        store.board_register(&boards, clock.now()).await.expect("registered");
        let instance = InstanceId::new(&ids, clock.now());
        let queue = SharedQueue::new(&inventory.now());
        let (bell, ids2) = (doorbell.clone(), ids.clone());
        let scheduler = Scheduler::new(store.clone(), queue, inventory, clock.clone(), ids2, bell, instance);
        let (stop, stopping) = watch::channel(false);
        let commits = {
            let store = store.clone();
            move || store.commits()
        };
        tokio::spawn(drive(scheduler, clock.clone(), doorbell.clone(), commits, stopping));
        Bench { store, doorbell, clock, ids, _stop: stop }
    }

    /// Runs of the last family, one after the other; each is settled and its board released before the next.
    async fn samples(&self) -> Spread {
        let mut waits = Vec::with_capacity(SAMPLES);
        // What was rung before is nobody's grant.
        let _ = self.clock.timeout(Duration::from_millis(100), self.doorbell.wait(Bell::Pool)).await;
        for n in 0..SAMPLES {
            self.store.commit(self.intake(FAMILIES - 1, "free", n)).await.expect("commit");
            let queued = self.clock.monotonic();
            self.doorbell.ring(Bell::Scheduler);
            self.doorbell.wait(Bell::Pool).await;
            waits.push(self.clock.monotonic().since(queued));
            let mine = format!("soc-{}-", FAMILIES - 1);
            let leases = self.store.lease_list().await.expect("leases");
            for lease in leases.iter().filter(|lease| lease.board.as_str().starts_with(&mine)) {
                self.end(lease).await;
            }
        }
        Spread::of(waits)
    }

    /// Fills nine families, and ten thousand runs more.
    async fn fill(&self) {
        let busy = (FAMILIES - 1) * BOARDS;
        let mut commits = tokio::task::JoinSet::new();
        for n in 0..busy + WAITING {
            let (store, intake) = (self.store.clone(), self.intake(n % (FAMILIES - 1), "fill", n));
            commits.spawn(async move { store.commit(intake).await.expect("commit") });
        }
        commits.join_all().await;
        self.doorbell.ring(Bell::Scheduler);
        while self.store.census().await.expect("census").active < busy as u64 {
            self.clock.sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(self.store.census().await.expect("census").queued, WAITING as u64);
    }

    /// Ends what runs, as workers would, and lets the scheduler fill the boards again.
    async fn turn_over(&self, runs: usize) -> (usize, f64) {
        let begin = self.clock.monotonic();
        let mut ended = 0;
        while ended < runs {
            let leases = self.store.lease_list().await.expect("leases");
            let ends =
                leases.iter().filter(|lease| lease.state == LeaseState::Active).map(|lease| self.end(lease));
            ended += futures_util::future::join_all(ends).await.len();
            self.doorbell.ring(Bell::Scheduler);
            self.doorbell.wait(Bell::Pool).await;
        }
        (ended, self.clock.monotonic().since(begin).as_secs_f64())
    }

    /// What a worker does at the end of an attempt.
    async fn end(&self, lease: &Lease) {
        let Some(settle) = self.settle(lease) else { return };
        assert_eq!(self.store.run_settle(&settle).await.expect("settled"), Fenced::Done);
        self.release(&settle.lease).await;
    }

    pub(crate) async fn release(&self, held: &LeaseRef) {
        let released = self.store.lease_release(held, &AtRest::Yes, self.clock.now()).await;
        assert_eq!(released.expect("released"), Fenced::Done);
    }

    /// How the run under a lease ends: well, and without a test case.
    pub(crate) fn settle(&self, lease: &Lease) -> Option<Settle> {
        let Holder::Run { run, .. } = lease.holder else { return None };
        Some(Settle {
            lease: LeaseRef { id: lease.id, board: lease.board.clone(), fence: lease.fence },
            run,
            notes: vec![],
            board_fault: false,
            unfit: None,
            quarantine_after: 0,
            lookback: None,
            keepable: true,
            kept: Note::new("kept", json!({})),
            told: None,
            outcome: Outcome {
                verdict: Verdict::Passed,
                cause: "passed".into(),
                stage: Stage::Testing,
                detail: String::new(),
                excerpt: vec![],
                cases: vec![],
                counts: Counts::default(),
            },
            decision: Decision::Finish,
            now: self.clock.now(),
        })
    }

    /// A run of this family is asked for, and gets a board: its lease.
    pub(crate) async fn leased(&self, mut intake: Intake, kind: RunKind) -> Lease {
        if let Effect::Start(runs) = &mut intake.effect {
            runs[0].spec.kind = kind;
        }
        self.store.commit(intake).await.expect("commit");
        self.doorbell.ring(Bell::Scheduler);
        loop {
            self.doorbell.wait(Bell::Pool).await;
            let leases = self.store.lease_list().await.expect("leases");
            if let Some(lease) = leases.into_iter().find(|lease| lease.state == LeaseState::Active) {
                return lease;
            }
        }
    }

    pub(crate) fn intake(&self, family: usize, series: &str, n: usize) -> Intake {
        let now = self.clock.now();
        let actor = Actor {
            platform: Platform::Slack,
            id: format!("U{}", n % 20),
            team: "T0LAB".into(),
            name: "li".into(),
        };
        let place = Place { platform: Platform::Slack, channel: "C0SOCCI".into(), thread: None };
        let run = NewRun {
            id: RunId::new(&self.ids, now),
            spec: RunSpec {
                kind: RunKind::Test,
                family: Family::new(format!("soc{family}")),
                build: format!("build-{n}"),
                suite: "trivial".into(),
                selector: Selector::default(),
                priority: Priority::Normal,
                boards: 1,
                on_own_board: false,
                timeout: None,
                params: BTreeMap::new(),
            },
            requested_by: actor.clone(),
            origin: place.clone(),
            cards: vec![place],
            via: None,
            callback: None,
            created_at: now,
            retry_of: None,
            once: None,
            avoid: vec![],
            message: None,
        };
        Intake {
            key: format!("{series}-{n}-{}", now.as_micros()),
            platform: Platform::Slack,
            actor,
            received_at: now,
            remembered: true,
            effect: Effect::Start(vec![run]),
            answer: Note::new("run-accepted", json!({})),
            instead: vec![],
            answer_via: None,
            shows: None,
            audit: Audit::default(),
            source: None,
        }
    }
}
