//! The runner: one attempt from its lease to its rest. Lease, attempt, outcome, finalize, release, on every path:
//! also when somebody cancels, a limit passes, or the server stops.
//!
//! The outcome and the lease's turn to `finalizing` are one transaction; the release is a second one, when the board
//! is at rest or when that has failed. A stale answer means the lease is gone: nothing more is touched or told.

use std::sync::Arc;

use tokio::sync::watch;
use tracing::Instrument;
use tracing::field::Empty;

use super::attempt::{Attempt, Ended};
use super::bench::Bench;
use super::crew::Crew;
use super::desk::{Begun, Desk, Ending};
use super::finalize;
use super::local::Local;
use super::occupied::Part;
use super::used::Used;
use crate::doorbell::Bell;
use crate::id::LeaseId;
use crate::lease::{Grip, Lease, LeaseState};
use crate::message::compose::Composer;
use crate::message::links::Links;
use crate::outcome::Outcome;
use crate::run::{LeaseRef, Request, RunState};
use crate::store::{Fenced, Store, StoreError};

/// What the loops of the server share that look after boards: the bench of its own runners, and what is behind its desk.
pub struct Lab {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// Makes messages.
    pub composer: Arc<Composer>,
    /// Where what is told of is found.
    pub links: Links,
    /// The workers of remote sites.
    pub crew: Crew,
    /// When boards that people have were used.
    pub used: Used,
    /// What its runners share.
    pub bench: Arc<Bench>,
}

impl Lab {
    /// What is behind this desk, and the bench that reports there.
    pub fn new(desk: Local, bench: impl FnOnce(Arc<dyn Desk>) -> Bench) -> Self {
        let (store, composer, links) = (desk.store.clone(), desk.composer.clone(), desk.links.clone());
        let crew = Crew::new(desk.clock.clone());
        Lab { store, composer, links, crew, used: Used::default(), bench: Arc::new(bench(Arc::new(desk))) }
    }
}

impl std::ops::Deref for Lab {
    type Target = Bench;

    fn deref(&self) -> &Bench {
        &self.bench
    }
}

/// What can end an attempt from outside.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Order {
    /// Nothing: go on.
    #[default]
    GoOn,
    /// Somebody asked something of the run.
    Asked(Request),
    /// The server stops: hand the run back.
    HandBack,
}

/// Drives one attempt under its leases until they are released. The plan drives the board of the run's own lease,
/// wherever that stands among them.
pub async fn drive(lab: Arc<Bench>, mut leases: Vec<Lease>, number: i64, orders: watch::Receiver<Order>) {
    // Until the console is let go of: the lease may be somebody else's sooner.
    let on = lab.occupied.enter(leases.iter().map(|lease| lease.board.clone()), Part::Console);
    let bells = lab.doorbell.clone();
    let span = tracing::info_span!("run", run.number = number, board.id = Empty, lease.fence = Empty);
    async move {
        let begun = match lab.persist(|| lab.desk.begin(number)).await {
            Ok(begun) => begun,
            Err(error) => {
                return Box::pin(abandon(&lab, None, &leases, &grips_on(&lab, &leases), &error)).await;
            }
        };
        let driven = begun.as_ref().and_then(|begun| match &begun.view.run.state {
            RunState::Active { attempt, lease, .. } => Some((*attempt, lease.id)),
            RunState::Queued { .. } | RunState::Finished { .. } => None,
        });
        leases.sort_by_key(|lease| driven.is_none_or(|(_, first)| lease.id != first));
        let is_driven = |(_, first): &(u32, LeaseId)| leases.first().is_some_and(|lease| lease.id == *first);
        let (Some(begun), Some((attempt, _))) = (begun, driven.filter(is_driven)) else {
            tracing::error!("leases stand for an attempt that their run is not in");
            return take_away(&lab, &leases).await;
        };
        tracing::Span::current()
            .record("board.id", leases[0].board.as_str())
            .record("lease.fence", leases[0].fence.0);
        Box::pin(run_attempt(&lab, &leases, &grips_on(&lab, &leases), begun, attempt, orders)).await;
    }
    .instrument(span)
    .await;
    drop(on);
    [Bell::Pool, Bell::Keeper].iter().for_each(|bell| bells.ring(*bell));
}

fn grips_on(lab: &Bench, leases: &[Lease]) -> Vec<Arc<Grip>> {
    let grip = |lease: &Lease| {
        let named = LeaseRef { id: lease.id, board: lease.board.clone(), fence: lease.fence };
        let trust = lab.desk.trust(&named);
        Grip::new(named, trust)
    };
    leases.iter().map(|lease| Arc::new(grip(lease))).collect()
}

async fn run_attempt(
    lab: &Arc<Bench>,
    leases: &[Lease],
    grips: &[Arc<Grip>],
    begun: Begun,
    number: u32,
    mut orders: watch::Receiver<Order>,
) {
    tracing::info!(attempt = number, "the attempt begins");
    let unfenced = leases.iter().zip(grips).filter(|(lease, _)| lease.needs_fence);
    let unfenced = unfenced.map(|(_, grip)| grip.clone()).collect();
    let mut attempt = Attempt::new(lab.clone(), begun, number, grips[0].clone(), unfenced);
    let ended = tokio::select! {
        biased;
        () = grips[0].lost() => Ended::Stale,
        order = ordered(&mut orders) => {
            if order == Order::HandBack && attempt.is_untouched() && returned(lab, leases).await {
                tracing::info!("the server stops before the attempt began: the run waits for it again");
                lab.doorbell.ring(Bell::Relay);
                return;
            }
            attempt.interrupted(&order).await
        }
        ended = attempt.perform() => ended,
    };
    let Ended::Outcome(outcome) = ended else {
        tracing::warn!("the lease is gone: the attempt ends untold, the board is not touched");
        return lose(lab, leases, grips).await;
    };
    tracing::info!(verdict = outcome.verdict.as_str(), cause = outcome.cause, "the attempt ended");
    match settle(lab, &mut attempt, &outcome).await {
        Ok(Fenced::Done) => {}
        Ok(Fenced::Stale) => {
            tracing::warn!("the lease was gone before the outcome was told: nothing is told");
            return Box::pin(lose(lab, leases, grips)).await;
        }
        Err(error) => {
            return Box::pin(abandon(lab, Some(attempt), leases, grips, &error)).await;
        }
    }
    lab.doorbell.ring(Bell::Relay);
    lab.doorbell.ring(Bell::Scheduler);
    match lab.persist(|| lab.desk.state(grips[0].lease())).await {
        Ok(Some(LeaseState::Held)) => {
            let was_held = leases[0].hold.is_some();
            Box::pin(finalize::keep(lab, attempt, was_held, &grips[1..])).await;
        }
        Ok(Some(LeaseState::Active | LeaseState::Finalizing)) => {
            Box::pin(finalize::bring_to_rest(lab, attempt, grips)).await;
        }
        // Whoever had the board gave it back meanwhile: it comes to rest under another lease, and is not touched here.
        Ok(Some(LeaseState::Released | LeaseState::Lapsed) | None) => {
            Box::pin(finalize::keep(lab, attempt, false, &grips[1..])).await;
        }
        Err(error) => {
            tracing::error!(%error, "whose the board is now cannot be read: it is left as it is");
            Box::pin(finalize::keep(lab, attempt, false, &grips[1..])).await;
        }
    }
    // The next run of whoever has the board waits for this one's end.
    lab.doorbell.ring(Bell::Pool);
    lab.doorbell.ring(Bell::Scheduler);
    lab.doorbell.ring(Bell::Relay);
}

/// Gives leases back whose boards were not touched; gives whether that could be done.
async fn returned(lab: &Bench, leases: &[Lease]) -> bool {
    let ids: Vec<LeaseId> = leases.iter().map(|lease| lease.id).collect();
    match lab.persist(|| lab.desk.give_back(&ids)).await {
        Ok(given) => given.len() == ids.len(),
        Err(error) => {
            tracing::warn!(%error, "the leases cannot be given back untouched");
            false
        }
    }
}

/// Waits for an order that ends the attempt.
async fn ordered(orders: &mut watch::Receiver<Order>) -> Order {
    loop {
        let order = orders.borrow_and_update().clone();
        if order != Order::GoOn {
            return order;
        }
        if orders.changed().await.is_err() {
            // The pool is gone with its process; nothing will be ordered any more.
            std::future::pending::<()>().await;
        }
    }
}

/// Tells how the attempt ended.
async fn settle(lab: &Bench, attempt: &mut Attempt, outcome: &Outcome) -> Result<Fenced, StoreError> {
    let inventory = attempt.inventory();
    let ending = Ending {
        lease: attempt.lease(),
        view: attempt.view(),
        attempt: attempt.number(),
        retry: attempt.plan().retry,
        inventory: &inventory,
        outcome,
        unfit: attempt.unfit(),
    };
    lab.persist(|| lab.desk.settle(&ending)).await
}

/// A run that cannot be read, or cannot be written: its boards are brought to rest all the same, and its leases are
/// taken away, which ends the run where that can be written.
async fn abandon(
    lab: &Arc<Bench>,
    attempt: Option<Attempt>,
    leases: &[Lease],
    grips: &[Arc<Grip>],
    error: &StoreError,
) {
    tracing::error!(%error, "the run cannot be kept: its boards are brought to rest and taken away from it");
    let is_held = leases.iter().any(|lease| lease.hold.is_some());
    match attempt {
        Some(attempt) if is_held => Box::pin(finalize::keep(lab, attempt, true, &[])).await,
        None if is_held => {}
        // The release that comes after it changes nothing: the lease was never turned to finalizing.
        Some(attempt) => Box::pin(finalize::bring_to_rest(lab, attempt, grips)).await,
        None => finalize::leave(lab, grips).await,
    }
    take_away(lab, leases).await;
}

/// Lets go of boards after the store said that a lease of theirs is stale: nothing more is written to any, and what is
/// live still is taken away, since no runner would ever release it.
async fn lose(lab: &Bench, leases: &[Lease], grips: &[Arc<Grip>]) {
    grips.iter().for_each(|grip| grip.lose());
    take_away(lab, leases).await;
}

/// Takes leases away: their boards are fenced next, and what is under them waits again or ends.
async fn take_away(lab: &Bench, leases: &[Lease]) {
    let ids: Vec<LeaseId> = leases.iter().map(|lease| lease.id).collect();
    if let Err(error) = lab.persist(|| lab.desk.take_away(&ids)).await {
        tracing::error!(%error, "leases cannot be taken away: the next start does it");
    }
    lab.doorbell.ring(Bell::Scheduler);
    lab.doorbell.ring(Bell::Relay);
}
