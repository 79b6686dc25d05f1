//! The keeper: the loop that looks after boards which people have as their own. It warns them before their time is over,
//! ends it when it is, and brings to rest what they leave, under a lease of its own. It gives no board to anybody.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokio::task::{self, JoinError, JoinSet};

use super::finalize;
use super::runner::Lab;
use super::steps::{Agent, LOOK_ANYWAY, LOOK_EVERY, Step};
use super::used::Watch;
use crate::board::{Board, BoardId, Family, Inventory};
use crate::chat::{Actor, AnswerVia};
use crate::clock::Timestamp;
use crate::doorbell::Bell;
use crate::id::{InstanceId, LeaseId};
use crate::lease::{Grip, Hold, Holder, Lease, LeaseState};
use crate::message::Note;
use crate::message::compose::hold_facts;
use crate::run::LeaseRef;
use crate::store::{BoardRow, Closing, Effected, Health, StoreError};

/// How long before the end of their time people are warned; half of a shorter time.
pub const WARN_BEFORE: Duration = Duration::from_secs(5 * 60);
/// Most boards that are brought to rest at once.
pub const RESTS_MAX: usize = 64;
/// How long a board must have been free before somebody is told that it is: what waits for it has it by then.
const FREE_FOR: Duration = Duration::from_secs(2);
/// How long somebody has to use a board again that they have not used for as long as `reservations: {idle: …}` says.
pub const IDLE_GRACE: Duration = Duration::from_secs(10 * 60);

/// Looks after boards of people.
pub struct Keeper {
    lab: Arc<Lab>,
    instance: InstanceId,
    resting: JoinSet<()>,
    /// The lease under which each board is brought to rest.
    under: HashMap<task::Id, LeaseId>,
    watch: Watch,
}

impl Keeper {
    /// A keeper that brings boards to rest for `instance`.
    pub fn new(lab: Arc<Lab>, instance: InstanceId) -> Self {
        Keeper { lab, instance, resting: JoinSet::new(), under: HashMap::new(), watch: Watch::default() }
    }

    /// Waits up to `within` until every board that is brought to rest is; the next start goes on with the others.
    pub async fn drain(&mut self, within: Duration) {
        let clock = self.lab.clock.clone();
        let _ = clock.timeout(within, async { while self.resting.join_next().await.is_some() {} }).await;
        self.resting.shutdown().await;
    }

    fn reap(&mut self) {
        while let Some(end) = self.resting.try_join_next_with_id() {
            let id = end.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
            let lease = self.under.remove(&id);
            if let Err(error) = end {
                tracing::error!(?lease, %error, "bringing a board to rest died; it is tried again");
            }
        }
    }

    /// Warns, or ends the time of, somebody who holds a board.
    async fn look(
        &mut self,
        lease: &Lease,
        hold: &Hold,
        by: &Actor,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let used_at = self.watch.used_at(&self.lab.used, lease, hold, now);
        let store = &self.lab.store;
        // It was brought forward to so long after that moment. Also where that end has come: it was used before, or
        // nobody could look meanwhile.
        if hold.idle_until.is_some() && used_at > lease.expires_at - IDLE_GRACE {
            if store.hold_used(lease, now).await? {
                self.lab.doorbell.ring(Bell::Scheduler);
            }
            return Ok(());
        }
        if lease.expires_at <= now {
            let rest = LeaseId::new(&self.lab.ids, now);
            let told = self.told("hold-over", lease, hold, by);
            let named = LeaseRef { id: lease.id, board: lease.board.clone(), fence: lease.fence };
            let ended = store.hold_expire(&named, rest, &told, now).await?;
            if ended != Effected::NotTheirs {
                tracing::info!(board.id = %lease.board, ended = ended.as_str(), "somebody's time with a board is over");
                [Bell::Relay, Bell::Scheduler].iter().for_each(|bell| self.lab.doorbell.ring(*bell));
            }
        } else if !hold.warned && now >= warn_at(lease) {
            let told = self.told("hold-ends", lease, hold, by);
            if store.hold_warn(lease, &told, now).await? {
                self.lab.doorbell.ring(Bell::Relay);
            }
        } else {
            self.look_idle(lease, hold, (by, used_at), now).await?;
        }
        Ok(())
    }

    /// Brings the end forward of what nobody uses.
    async fn look_idle(
        &self,
        lease: &Lease,
        hold: &Hold,
        (by, used_at): (&Actor, Timestamp),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let store = &self.lab.store;
        let Some(idle) = self.lab.inventory.now().reservations.idle else { return Ok(()) };
        let until = now + IDLE_GRACE;
        if hold.idle_until.is_some()
            || hold.run.is_some()
            || now.since(used_at) < idle
            || lease.expires_at <= until
        {
            return Ok(());
        }
        let shorter = Lease { expires_at: until, ..lease.clone() };
        let mut told = self.told("hold-idle", &shorter, hold, by);
        told.1.facts.insert("idle_s".into(), json!(now.since(used_at).as_secs_f64()));
        told.1.facts.insert("otherwise".into(), json!(lease.expires_at));
        if store.hold_idle(lease, until, &told, now).await? {
            tracing::info!(board.id = %lease.board, "nobody uses a board that somebody has");
            [Bell::Relay, Bell::Scheduler].iter().for_each(|bell| self.lab.doorbell.ring(*bell));
        }
        Ok(())
    }

    fn told(&self, template: &str, lease: &Lease, hold: &Hold, by: &Actor) -> (AnswerVia, Note) {
        let inventory = self.lab.inventory.newest_with(&lease.board, |_| true);
        let board = inventory.board(lease.board.as_str());
        let mut note =
            Note::new(template, hold_facts(&lease.board, board, by, lease.expires_at, &hold.reason));
        note.facts.insert("fence".into(), serde_json::json!(lease.fence));
        (AnswerVia::in_person(by), note)
    }

    /// Tells those who wait for word of it that a board is free: one that nobody took although it could be had.
    /// Gives whether anybody waits.
    async fn notify(&self, now: Timestamp) -> Result<bool, StoreError> {
        let notices = self.lab.store.notice_list().await?;
        if notices.is_empty() {
            return Ok(false);
        }
        let (inventory, rows) = (self.lab.inventory.now(), self.lab.store.board_list().await?);
        let drains = self.lab.store.drain_list().await?;
        let closing = Closing::at(&inventory, &drains, now);
        let is_free = |row: &&BoardRow| {
            let long = row.last_used_at.is_none_or(|at| now.since(at) >= FREE_FOR);
            row.lease.is_none() && row.health != Health::Quarantined && long
        };
        let takes_new = |board: &&Board| closing.of(board).is_none();
        let free: Vec<&Board> = rows
            .iter()
            .filter(is_free)
            .filter_map(|row| inventory.boards.get(&row.id))
            .filter(takes_new)
            .collect();
        for notice in notices {
            if let Some(told) = gone(&inventory, &notice.family, notice.board.as_ref(), &notice.by) {
                self.lab.store.notice_done(notice.id, &told, now).await?;
                self.lab.doorbell.ring(Bell::Relay);
                continue;
            }
            let fits = |board: &&&Board| match &notice.board {
                Some(id) => board.id == *id,
                None => board.family == notice.family,
            };
            if let Some(board) = free.iter().find(fits) {
                let told =
                    (AnswerVia::in_person(&notice.by), Note::new("board-free", json!({ "board": board.id })));
                self.lab.store.notice_done(notice.id, &told, now).await?;
                self.lab.doorbell.ring(Bell::Relay);
            }
        }
        Ok(true)
    }

    /// Those who wait for what has left the lab file wait no more.
    async fn give_up(&self, now: Timestamp) -> Result<(), StoreError> {
        let inventory = self.lab.inventory.now();
        for wish in self.lab.store.reservation_list().await? {
            if let Some(told) = gone(&inventory, &wish.family, wish.board.as_ref(), &wish.by) {
                self.lab.store.reservation_drop(wish.id, &told, now).await?;
                [Bell::Relay, Bell::Scheduler].iter().for_each(|bell| self.lab.doorbell.ring(*bell));
            }
        }
        Ok(())
    }

    /// Begins to bring a board to rest that somebody left.
    fn rest(&mut self, lease: Lease) {
        if self.under.len() >= RESTS_MAX || self.under.values().any(|id| *id == lease.id) {
            return;
        }
        let (lab, id) = (self.lab.clone(), lease.id);
        let task = self.resting.spawn(async move {
            let named = LeaseRef { id: lease.id, board: lease.board, fence: lease.fence };
            finalize::after_a_person(&lab, &Grip::new(named, lab.store.trust())).await;
            [Bell::Scheduler, Bell::Keeper].iter().for_each(|bell| lab.doorbell.ring(*bell));
        });
        self.under.insert(task.id(), id);
    }

    /// Boards on which power is being switched for somebody, whose word of it is owed.
    async fn switching(&self) -> Result<Vec<BoardId>, StoreError> {
        let errands = self.lab.store.errand_due(u32::MAX).await?;
        Ok(errands.into_iter().filter(|errand| errand.begun).map(|errand| errand.board).collect())
    }
}

/// What somebody is told who waits for a board or a family that is not in the lab file any more.
fn gone(
    inventory: &Inventory,
    family: &Family,
    board: Option<&BoardId>,
    by: &Actor,
) -> Option<(AnswerVia, Note)> {
    let is_there = match board {
        Some(board) => inventory.boards.contains_key(board),
        None => inventory.families.contains_key(family),
    };
    let wanted = board.map_or(family.as_str(), BoardId::as_str);
    (!is_there).then(|| (AnswerVia::in_person(by), Note::new("wanted-gone", json!({ "wanted": wanted }))))
}

/// When whoever holds a board is told that its end comes.
fn warn_at(lease: &Lease) -> Timestamp {
    lease.expires_at - WARN_BEFORE.min(lease.expires_at.since(lease.granted_at) / 2)
}

#[async_trait]
impl Agent for Keeper {
    fn name(&self) -> &'static str {
        "keeper"
    }

    fn bell(&self) -> Option<Bell> {
        Some(Bell::Keeper)
    }

    async fn step(&mut self) -> Result<Step, StoreError> {
        self.reap();
        let now = self.lab.clock.now();
        let leases = self.lab.store.lease_list().await?;
        for lease in &leases {
            if let (Some(hold), Holder::Person(by)) = (&lease.hold, &lease.holder) {
                match self.look(lease, hold, by, now).await {
                    // One that cannot be read keeps nobody else from their rest.
                    Err(error) if error.is_lasting() => {
                        tracing::error!(board.id = %lease.board, %error, "a board that somebody has cannot be looked after");
                    }
                    looked => looked?,
                }
            }
        }
        self.watch.keep(&leases);
        self.give_up(now).await?;
        let is_awaited = self.notify(now).await?;
        let left = |lease: &Lease| {
            lease.instance == self.instance
                && lease.state == LeaseState::Finalizing
                && matches!(lease.holder, Holder::Check(_))
        };
        let has_any = leases.iter().any(|lease| lease.hold.is_some());
        let left: Vec<Lease> = leases.into_iter().filter(left).collect();
        if !left.is_empty() {
            // What its holder asked for last is done first: else an outlet would be switched on after it was put to rest.
            let switching = self.switching().await?;
            // A runner that still lets go of its console comes before it too.
            let occupied = self.lab.occupied.clone();
            left.into_iter()
                .filter(|lease| !switching.contains(&lease.board) && !occupied.is(&lease.board))
                .for_each(|lease| self.rest(lease));
        }
        let wait = if has_any || is_awaited || !self.under.is_empty() { LOOK_EVERY } else { LOOK_ANYWAY };
        Ok(Step::Idle { until: self.lab.clock.monotonic() + wait })
    }
}
