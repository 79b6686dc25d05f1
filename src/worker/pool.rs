//! The pool: the loop that puts a runner on every lease this process was granted, and hands runners what was asked of
//! their runs. It never grants and never touches a board itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::{self, JoinError, JoinSet};

use super::bench::Bench;
use super::runner::{self, Order};
use super::steps::{Agent, LOOK_ANYWAY, LOOK_EVERY, Step};
use crate::doorbell::Bell;
use crate::id::{LeaseId, RunId};
use crate::lease::{Holder, Lease, LeaseState};
use crate::store::StoreError;

/// Most boards that one process drives at once.
pub const RUNNERS_MAX: usize = 2_000;

/// Runs runners.
pub struct Pool {
    lab: Arc<Bench>,
    /// Orders of every runner at work, by each lease of its attempt.
    orders: HashMap<LeaseId, watch::Sender<Order>>,
    runners: JoinSet<()>,
    /// The leases that each runner drives under.
    driven: HashMap<task::Id, Vec<LeaseId>>,
    /// Leases of runners that died, to be taken away: their boards are fenced, their runs wait again.
    orphans: Vec<LeaseId>,
    /// Set when the server stops: no new runner starts.
    closing: watch::Receiver<bool>,
}

impl Pool {
    /// A pool for the leases of this process. When `closing` turns true it starts no runner any more.
    pub fn new(lab: Arc<Bench>, closing: watch::Receiver<bool>) -> Self {
        Pool {
            lab,
            orders: HashMap::new(),
            runners: JoinSet::new(),
            driven: HashMap::new(),
            orphans: vec![],
            closing,
        }
    }

    /// Waits up to `grace` for attempts to end by themselves, then orders the rest to hand back, and waits up to
    /// `rest` until every board is at rest. What is still not at rest then is left as by a crash: the next start
    /// takes those leases away, and their boards are fenced first.
    pub async fn drain(&mut self, grace: Duration, rest: Duration) {
        let clock = self.lab.clock.clone();
        self.drain_until(clock.sleep(grace), rest).await;
    }

    /// The same, until `grace` resolves. What is asked of runs meanwhile is handed to them still.
    pub async fn drain_until(&mut self, grace: impl Future<Output = ()>, rest: Duration) {
        let clock = self.lab.clock.clone();
        self.give_back(rest).await;
        // Word of what was granted before this process said that it stops may come later than that.
        {
            let mut grace = std::pin::pin!(grace);
            loop {
                tokio::select! {
                    biased;
                    ended = self.runners.join_next() => if ended.is_none() { break },
                    () = &mut grace => break,
                    () = clock.sleep(LOOK_EVERY) => {}
                }
                if let Err(error) = self.hand_over().await {
                    tracing::warn!(%error, "what is asked of runs is not known");
                }
                self.give_back(LOOK_EVERY).await;
            }
        }
        for orders in self.orders.values() {
            orders.send_replace(Order::HandBack);
        }
        let handed_back =
            clock.timeout(rest, async { while self.runners.join_next().await.is_some() {} }).await;
        if handed_back.is_err() {
            tracing::warn!(attempts = self.runners.len(), "not every board came to rest in time");
        }
        self.runners.shutdown().await;
        self.orders.clear();
    }

    /// Gives back what was granted and has no runner: nobody will begin with it any more.
    async fn give_back(&self, within: Duration) {
        let giving = async {
            let leases = self.lab.desk.leases().await?;
            let mine = |lease: &&Lease| {
                let of_run = lease.state == LeaseState::Active && matches!(lease.holder, Holder::Run { .. });
                let on_hold = lease.hold.as_ref().is_some_and(|hold| hold.run.is_some());
                of_run || on_hold
            };
            let mine = leases.iter().filter(mine).map(|lease| lease.id);
            let idle: Vec<LeaseId> = mine.filter(|lease| !self.orders.contains_key(lease)).collect();
            if !idle.is_empty() {
                let given = self.lab.desk.give_back(&idle).await?;
                tracing::info!(boards = given.len(), "boards that nobody began with are given back");
                self.lab.doorbell.ring(Bell::Scheduler);
            }
            Ok::<_, StoreError>(())
        };
        // What is not given back is what a crash leaves: the next start takes it away.
        match self.lab.clock.timeout(within, giving).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "boards that nobody began with are not given back"),
            Err(_) => tracing::warn!("boards that nobody began with are not given back in time"),
        }
    }

    /// Forgets runners that ended. The board of one that died must not stay leased for as long as this process lives.
    async fn reap(&mut self) -> Result<(), StoreError> {
        while let Some(end) = self.runners.try_join_next_with_id() {
            let id = end.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
            let leases = self.driven.remove(&id).unwrap_or_default();
            for lease in &leases {
                self.orders.remove(lease);
            }
            if let Err(error) = end {
                tracing::error!(%error, "a runner died; its run waits for another attempt");
                self.orphans.extend(leases);
            }
        }
        if !self.orphans.is_empty() {
            match self.lab.desk.take_away(&self.orphans).await {
                // Asking again would keep this loop from everything else.
                Err(error) if error.is_lasting() => {
                    tracing::error!(%error, "leases cannot be taken away: the next start does it");
                }
                taken => taken?,
            }
            self.orphans.clear();
            self.lab.doorbell.ring(Bell::Scheduler);
            self.lab.doorbell.ring(Bell::Relay);
        }
        Ok(())
    }

    /// Hands runners what was asked of their runs.
    async fn hand_over(&self) -> Result<(), StoreError> {
        for (lease, request) in self.lab.desk.requests().await? {
            if let Some(orders) = self.orders.get(&lease.id) {
                let asked = Order::Asked(request);
                orders.send_if_modified(|order| std::mem::replace(order, asked.clone()) != asked);
            }
        }
        Ok(())
    }

    /// Starts runners for active leases that have none; an attempt with several boards has one runner.
    fn start(&mut self, leases: Vec<Lease>) {
        let held: Vec<(i64, Lease)> = leases
            .iter()
            .filter(|lease| !self.orders.contains_key(&lease.id))
            .filter_map(|lease| Some((lease.hold.as_ref()?.run?.0, lease.clone())))
            .collect();
        for (number, lease) in held {
            if !self.lab.occupied.is(&lease.board) {
                self.spawn(number, vec![lease]);
            }
        }
        let mut attempts: BTreeMap<(RunId, i64), Vec<Lease>> = BTreeMap::new();
        for lease in leases.into_iter().filter(|lease| lease.state == LeaseState::Active) {
            if let Holder::Run { run, number, .. } = lease.holder {
                attempts.entry((run, number)).or_default().push(lease);
            }
        }
        for ((_, number), leases) in attempts {
            // What is still done to a board for whoever had it comes first.
            let waits =
                |lease: &Lease| self.orders.contains_key(&lease.id) || self.lab.occupied.is(&lease.board);
            if !leases.iter().any(waits) {
                self.spawn(number, leases);
            }
        }
    }

    fn spawn(&mut self, number: i64, leases: Vec<Lease>) {
        if self.driven.len() >= RUNNERS_MAX {
            return;
        }
        let ids: Vec<LeaseId> = leases.iter().map(|lease| lease.id).collect();
        let (orders, ordered) = watch::channel(Order::GoOn);
        self.orders.extend(ids.iter().map(|id| (*id, orders.clone())));
        let runner = self.runners.spawn(runner::drive(self.lab.clone(), leases, number, ordered));
        self.driven.insert(runner.id(), ids);
    }
}

#[async_trait]
impl Agent for Pool {
    fn name(&self) -> &'static str {
        "pool"
    }

    fn bell(&self) -> Option<Bell> {
        Some(Bell::Pool)
    }

    async fn step(&mut self) -> Result<Step, StoreError> {
        self.reap().await?;
        if !*self.closing.borrow() {
            let leases = self.lab.desk.leases().await?;
            self.start(leases);
        }
        self.hand_over().await?;
        let wait = if self.driven.is_empty() { LOOK_ANYWAY } else { LOOK_EVERY };
        Ok(Step::Idle { until: self.lab.clock.monotonic() + wait })
    }
}
