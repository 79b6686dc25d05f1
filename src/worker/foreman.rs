//! The foreman: the loop that lays out for each worker what it has to do, and takes away what a lost one had. Which board goes
//! to whom is the scheduler's; nothing here touches a board but the server's own switch of it, to bring to rest what a lost
//! worker left.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use super::crew::Crew;
use super::finalize;
use super::runner::Lab;
use super::steps::{Agent, LOOK_ANYWAY, LOOK_EVERY, Step};
use super::wire::{FREED_AFTER, REMEMBERED_FOR, Work};
use crate::board::plan::PowerAction;
use crate::board::{Board, BoardId, Rest};
use crate::chat::{Actor, Platform};
use crate::doorbell::Bell;
use crate::id::{InstanceId, LeaseId};
use crate::lease::{Grip, Holder, Lease};
use crate::run::{LeaseRef, Request};
use crate::store::{AtRest, Granted, LeaseTerms, StoreError, WorkerRow};

/// Most boards of lost workers that are switched off at once.
const RESTS_MAX: usize = 64;
/// How long switching one off may take.
const OFF_WITHIN: Duration = Duration::from_secs(90);

/// Lays out work, and takes it away.
pub struct Foreman {
    lab: Arc<Lab>,
    crew: Crew,
    instance: InstanceId,
    /// Boards of lost workers that are brought to rest.
    resting: JoinSet<()>,
    /// Lost workers of whom it was said.
    told: HashSet<InstanceId>,
}

impl Foreman {
    /// A foreman of the lab's workers, who brings boards to rest for `instance`.
    pub fn new(lab: Arc<Lab>, instance: InstanceId) -> Self {
        let crew = lab.crew.clone();
        Foreman { lab, crew, instance, resting: JoinSet::new(), told: HashSet::new() }
    }

    /// What each worker has to do; gives whether any has something.
    async fn lay_out(&self, leases: &[Lease]) -> Result<bool, StoreError> {
        let mut of: HashMap<InstanceId, Vec<Lease>> =
            self.crew.instances().iter().map(|instance| (*instance, vec![])).collect();
        for lease in leases {
            if let Some(leases) = of.get_mut(&lease.instance) {
                leases.push(lease.clone());
            }
        }
        let lab = self.lab.inventory.now().hash.clone();
        let has_any = of.values().any(|leases| !leases.is_empty());
        for (instance, leases) in of {
            let requests = match leases.is_empty() {
                true => vec![],
                false => self.lab.store.run_requests(instance).await?,
            };
            let version = version(&lab, &leases, &requests);
            self.crew.publish(instance, Work { version, lab: lab.clone(), leases, requests });
        }
        Ok(has_any)
    }

    /// Takes away what lost workers had; gives whether any had something.
    async fn muster(&mut self, leases: &[Lease]) -> Result<bool, StoreError> {
        let lost = self.crew.lost();
        self.told.retain(|instance| lost.iter().any(|row| row.worker.instance == *instance));
        let mut any = false;
        for row in &lost {
            let WorkerRow { worker, .. } = row;
            let now = self.lab.clock.now();
            let has_any = leases.iter().any(|lease| lease.instance == worker.instance);
            // Only what is over by the store's own account, which a sign of life that comes at this moment renews. One that
            // ends later than any that was ever given was given before the clock was put back.
            let lapsed = match has_any {
                true => self.lab.store.worker_expire(worker.instance, now, now + FREED_AFTER).await?,
                false => vec![],
            };
            if self.told.insert(worker.instance) || !lapsed.is_empty() {
                let boards: Vec<&str> = lapsed.iter().map(|lapsed| lapsed.lease.board.as_str()).collect();
                tracing::warn!(worker = worker.id, site = %worker.site, ?boards, "a worker is lost");
            }
            any |= !lapsed.is_empty();
            for lapsed in lapsed {
                self.rest(lapsed.lease.board);
            }
        }
        self.forget(&lost, leases).await?;
        any |= self.collect(leases).await?;
        if any {
            [Bell::Scheduler, Bell::Relay].iter().for_each(|bell| self.lab.doorbell.ring(*bell));
        }
        Ok(any)
    }

    /// Takes back what a worker was given while it said its last word.
    async fn collect(&self, leases: &[Lease]) -> Result<bool, StoreError> {
        let ended = self.crew.ended();
        let of = |lease: &&Lease| ended.contains(&lease.instance);
        let left: Vec<LeaseId> = leases.iter().filter(of).map(|lease| lease.id).collect();
        if !left.is_empty() {
            take_back(&self.lab, &left).await?;
        }
        Ok(!left.is_empty())
    }

    /// Forgets workers that were not heard for long and have nothing.
    async fn forget(&self, lost: &[WorkerRow], leases: &[Lease]) -> Result<(), StoreError> {
        let before = self.lab.clock.now() - REMEMBERED_FOR;
        let has_none = |instance| !leases.iter().any(|lease| lease.instance == instance);
        let old = lost.iter().filter(|row| row.seen_at < before && has_none(row.worker.instance));
        for row in old {
            if self.lab.store.worker_forget(row.worker.instance).await? {
                tracing::info!(worker = row.worker.id, site = %row.worker.site, "a worker that was not heard for long is forgotten");
            }
            self.crew.forget(&[row.worker.instance]);
        }
        Ok(())
    }

    /// Begins to switch off a board that a lost worker left, where the server can: nobody may be there who does it soon.
    fn rest(&mut self, board: BoardId) {
        while self.resting.try_join_next().is_some() {}
        let inventory = self.lab.inventory.newest_with(&board, |_| true);
        let Some(found) = inventory.board(board.as_str()) else { return };
        let by_server = inventory.is_switched_here(found);
        if found.power.rest != Rest::Off || !found.power.has_switch() {
            return;
        }
        if !by_server || self.resting.len() >= RESTS_MAX {
            tracing::warn!(board.id = %board, "a lost worker's board stays as it was: its worker alone switches it");
            return;
        }
        let (lab, instance, found) = (self.lab.clone(), self.instance, found.clone());
        self.resting.spawn(async move { switch_off(&lab, instance, &found).await });
    }
}

/// Takes back what a worker has that drives nothing any more: what it did not begin with waits as before.
pub async fn take_back(lab: &Lab, leases: &[LeaseId]) -> Result<(), StoreError> {
    let given = lab.store.lease_return(leases, lab.clock.now()).await?;
    let rest: Vec<LeaseId> = leases.iter().filter(|lease| !given.contains(lease)).copied().collect();
    if !rest.is_empty() {
        lab.store.lease_lapse(&rest, lab.clock.now()).await?;
    }
    Ok(())
}

/// Switches off a board that nobody has, under a lease for a moment. Whoever has it next fences it all the same.
async fn switch_off(lab: &Lab, instance: InstanceId, board: &Board) {
    let now = lab.clock.now();
    let by = Actor {
        platform: Platform::Api,
        id: "boardhand".into(),
        team: String::new(),
        name: "boardhand".into(),
    };
    let terms = LeaseTerms { instance, now, expires_at: now + OFF_WITHIN * 2, drains_seen: None };
    let id = LeaseId::new(&lab.ids, now);
    let taken = lab.store.lease_take(id, &board.id, &Holder::Check(by), &terms).await;
    let lease = match taken {
        Ok(Granted::Leases(leases)) => leases.into_iter().next(),
        // Somebody has it already, who fences it.
        Ok(_) => None,
        Err(error) => {
            tracing::warn!(board.id = %board.id, %error, "a lost worker's board is not switched off");
            None
        }
    };
    let Some(lease) = lease else { return };
    let named = LeaseRef { id: lease.id, board: lease.board, fence: lease.fence };
    let grip = Grip::new(named, lab.store.trust());
    let switched =
        lab.clock.timeout(OFF_WITHIN, Box::pin(lab.power.act(&grip, board, &PowerAction::Off))).await;
    let rest = match switched {
        Ok(Ok(_)) => AtRest::Yes,
        Ok(Err(error)) => AtRest::No(error.to_string()),
        Err(_) => AtRest::No("its worker was lost, and switching it off took too long".to_owned()),
    };
    tracing::info!(board.id = %board.id, ?rest, "a lost worker's board was switched off by the server");
    finalize::give_back(lab, &grip, &rest).await;
    lab.doorbell.ring(Bell::Scheduler);
}

/// Names what a worker has to do. When a lease ends changes with each sign of life, and is none of it.
fn version(lab: &str, leases: &[Lease], requests: &[(LeaseRef, Request)]) -> String {
    let run = |lease: &Lease| lease.hold.as_ref().and_then(|hold| hold.run);
    let mut leases: Vec<_> = leases.iter().map(|lease| (lease.id, lease.state, run(lease))).collect();
    leases.sort_by_key(|(id, ..)| *id);
    let said = serde_json::to_vec(&(lab, leases, requests)).unwrap_or_default();
    hex::encode(&Sha256::digest(said)[..12])
}

#[async_trait]
impl Agent for Foreman {
    fn name(&self) -> &'static str {
        "foreman"
    }

    fn bell(&self) -> Option<Bell> {
        Some(Bell::Foreman)
    }

    async fn step(&mut self) -> Result<Step, StoreError> {
        if self.crew.instances().is_empty() {
            return Ok(Step::Idle { until: self.lab.clock.monotonic() + LOOK_ANYWAY });
        }
        let mut leases = self.lab.store.lease_list().await?;
        if self.muster(&leases).await? {
            leases = self.lab.store.lease_list().await?;
        }
        let has_any = self.lay_out(&leases).await?;
        let wait = if has_any { LOOK_EVERY } else { LOOK_ANYWAY };
        Ok(Step::Idle { until: self.lab.clock.monotonic() + wait })
    }
}
