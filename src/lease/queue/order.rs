//! The order of waiting runs: classes of runs that may use the same boards, and requesters with their turn. Keeps
//! [`Queue::ready`], the one set that grants are taken from; never looks at runs that no free board could serve.
//!
//! A class has one key per requester (their best run), sorted in its `ranking`. A requester's keys change with every
//! grant, so a class that nobody could be served from does not keep its ranking: it is dropped once keeping it has
//! cost more than making it anew, and made when a board comes free.

use std::collections::{BTreeSet, HashMap};

use super::pool::PoolId;
use super::{Queue, QueuedRun};
use crate::board::BoardId;
use crate::id::RunId;
use crate::run::Priority;

/// Most requesters remembered although nothing of theirs waits or runs; the one served longest ago is forgotten
/// first, which changes nothing but ties with people who were never served.
pub const REQUESTERS_IDLE_MAX: usize = 10_000;

pub(super) type ClassId = u64;
pub(super) type RequesterId = u64;

/// What makes runs of one class: they may use the same boards and as many.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ClassKey {
    pool: PoolId,
    wants: usize,
    /// Sorted.
    avoid: Vec<BoardId>,
}

/// Waiting runs that may use the same boards and as many.
#[derive(Debug, Clone)]
pub(super) struct Class {
    pub(super) pool: PoolId,
    pub(super) wants: usize,
    pub(super) avoid: Vec<BoardId>,
    /// Its runs, proposed ones not among them; no requester without a run.
    pub(super) waiting: HashMap<RequesterId, BTreeSet<(Priority, i64, RunId)>>,
    /// How many waiting runs are of this class, proposed ones among them.
    members: usize,
    /// The best key of each requester, while it is kept.
    ranking: Option<BTreeSet<Key>>,
    /// Changes of the ranking since its best run was last ready.
    unused: usize,
    /// What stands in `ready`.
    offered: Option<Offer>,
}

impl Class {
    /// How many waiting runs are of this class, proposed ones among them.
    pub(super) fn members(&self) -> usize {
        self.members
    }
}

/// A person or machine, for fairness.
#[derive(Debug, Clone)]
pub(super) struct Requester {
    pub(super) name: String,
    /// Boards that its runs hold or are proposed for.
    pub(super) in_use: u32,
    /// When it was its turn last; 0 never.
    pub(super) served: u64,
    /// Most boards that it has at once.
    pub(super) most: Option<u32>,
    /// Its waiting runs.
    pub(super) queued: usize,
    /// Its waiting and running runs.
    holds: usize,
    /// Classes whose ranking has a key of it.
    ranked: BTreeSet<ClassId>,
}

impl Requester {
    /// Whether it may have so many boards more.
    pub(super) fn has_room(&self, wants: usize) -> bool {
        fits(self.most, self.in_use, wants)
    }
}

/// Whether somebody who has so many boards may have so many more.
pub(super) fn fits(most: Option<u32>, in_use: u32, wants: usize) -> bool {
    most.is_none_or(|most| wants <= most.saturating_sub(in_use) as usize)
}

/// Whether a run takes its usual turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    /// It has saved its boards: first in its priority.
    Saver,
    Usual,
}

/// The order of the queue: smaller is sooner. The fields' order is the order's definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) priority: Priority,
    pub(super) turn: Turn,
    pub(super) in_use: u32,
    pub(super) served: u64,
    pub(super) number: i64,
    pub(super) run: RunId,
    pub(super) requester: RequesterId,
}

/// A run that can be granted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Offer {
    pub(super) key: Key,
    pub(super) class: ClassId,
}

impl Queue {
    // ---- requesters ---------------------------------------------------------------------------------------

    pub(super) fn requester_of(&mut self, name: &str) -> RequesterId {
        if let Some(id) = self.requester_ids.get(name) {
            return *id;
        }
        let id = self.new_id();
        self.requester_ids.insert(name.to_owned(), id);
        let requester = Requester {
            name: name.to_owned(),
            in_use: 0,
            served: 0,
            most: None,
            queued: 0,
            holds: 0,
            ranked: BTreeSet::new(),
        };
        self.requesters.insert(id, requester);
        id
    }

    /// Notes that a requester has a run more or less. Those without any are remembered up to a bound.
    pub(super) fn requester_hold(&mut self, id: RequesterId, change: isize) {
        let requester = self.requesters.get_mut(&id).expect("a run names only requesters that are there");
        let before = requester.holds;
        requester.holds = requester.holds.saturating_add_signed(change);
        let turn = (requester.served, id);
        if requester.holds > 0 {
            if before == 0 {
                self.requesters_idle.remove(&turn);
            }
            return;
        }
        self.requesters_idle.insert(turn);
        if self.requesters_idle.len() > REQUESTERS_IDLE_MAX
            && let Some((_, id)) = self.requesters_idle.pop_first()
            && let Some(requester) = self.requesters.remove(&id)
        {
            self.requester_ids.remove(&requester.name);
        }
    }

    /// Counts boards for a requester, who holds at least one run; with `stamp`, it was their turn.
    pub(super) fn account(&mut self, id: RequesterId, boards: i64, stamp: bool) {
        self.served += u64::from(stamp);
        let served = self.served;
        self.requester_change(id, |requester| {
            requester.in_use = u32::try_from(i64::from(requester.in_use) + boards).unwrap_or(0);
            if stamp {
                requester.served = served;
            }
        });
    }

    /// Notes how many boards a requester has at most.
    pub(super) fn requester_limit(&mut self, id: RequesterId, most: Option<u32>) {
        if self.requesters[&id].most != most {
            self.requester_change(id, |requester| requester.most = most);
        }
    }

    /// Changes what a requester's rank depends on.
    fn requester_change(&mut self, id: RequesterId, change: impl FnOnce(&mut Requester)) {
        let ranked: Vec<ClassId> = self.requesters[&id].ranked.iter().copied().collect();
        let old: Vec<Option<Key>> = ranked.iter().map(|class| self.key(*class, id)).collect();
        change(self.requesters.get_mut(&id).expect("read above"));
        for (class_id, old) in ranked.into_iter().zip(old) {
            let new = self.key(class_id, id);
            // A ranking in which nothing moves costs nothing: one that somebody with all their boards is to be put into again
            // must not go for it.
            if old == new {
                continue;
            }
            let class =
                self.classes.get_mut(&class_id).expect("a requester is ranked only in classes there are");
            let Some(ranking) = &mut class.ranking else {
                continue;
            };
            old.map(|old| ranking.remove(&old));
            ranking.extend(new);
            // Who may have a board again may be offered the one that nobody could have.
            if class.offered.is_some() || old.is_none() && new.is_some() {
                self.refresh(class_id);
                continue;
            }
            class.unused += 1;
            if class.unused > class.waiting.len() {
                self.ranking_drop(class_id);
            }
        }
        self.savings_refresh_of(id);
    }

    // ---- classes ------------------------------------------------------------------------------------------

    /// The class of a run, made when it is not there; the run counts as its member.
    pub(super) fn class_of(&mut self, run: &QueuedRun) -> ClassId {
        let pool = self.pool_of(&run.family, &run.selector);
        let key = ClassKey { pool, wants: run.boards as usize, avoid: run.avoid.clone() };
        if let Some(id) = self.class_ids.get(&key).copied() {
            self.classes.get_mut(&id).expect("ids name only classes that are there").members += 1;
            return id;
        }
        let id = self.new_id();
        let class = Class {
            pool,
            wants: key.wants,
            avoid: key.avoid.clone(),
            waiting: HashMap::new(),
            members: 1,
            ranking: None,
            unused: 0,
            offered: None,
        };
        self.pools.get_mut(&pool).expect("made above").classes.insert(id);
        self.classes.insert(id, class);
        self.class_ids.insert(key, id);
        id
    }

    /// A member less; a class without members is forgotten.
    pub(super) fn class_release(&mut self, id: ClassId) {
        let class = self.classes.get_mut(&id).expect("a run names only classes that are there");
        class.members -= 1;
        if class.members > 0 {
            return;
        }
        self.ranking_drop(id);
        let class = self.classes.remove(&id).expect("read above");
        class.offered.map(|offer| self.ready.remove(&offer));
        self.class_ids.remove(&ClassKey { pool: class.pool, wants: class.wants, avoid: class.avoid });
        let pool = self.pools.get_mut(&class.pool).expect("a class names only pools that are there");
        pool.classes.remove(&id);
        if pool.classes.is_empty() {
            self.pool_idle(class.pool);
        }
    }

    /// Puts a known run into its class.
    pub(super) fn wait(&mut self, id: RunId) {
        let Some(waiting) = self.waiting.get(&id) else {
            return;
        };
        let entry = (waiting.run.priority, waiting.run.number, id);
        let (class, requester) = (waiting.class, waiting.requester);
        if let Some(board) = waiting.run.selector.board.clone() {
            self.own_refresh(&board);
        }
        let Some(waiting) = self.waiting.get(&id) else {
            return;
        };
        if waiting.run.boards > 1 {
            let place = (waiting.run.since, waiting.run.number, id);
            let family = waiting.run.family.clone();
            self.families.entry(family.clone()).or_default().multi.insert(place);
            self.gathering.insert(family);
        }
        self.rerank(class, requester, |runs| {
            runs.insert(entry);
        });
    }

    /// Takes a run out of its class; one that is in none stays so.
    pub(super) fn unwait(&mut self, id: RunId) {
        let Some(waiting) = self.waiting.get(&id) else {
            return;
        };
        let entry = (waiting.run.priority, waiting.run.number, id);
        let (class, requester) = (waiting.class, waiting.requester);
        if waiting.run.boards > 1
            && let Some(family) = self.families.get_mut(&waiting.run.family)
        {
            family.multi.remove(&(waiting.run.since, waiting.run.number, id));
        }
        self.rerank(class, requester, |runs| {
            runs.remove(&entry);
        });
    }

    /// Changes a requester's runs in a class, and their rank with them.
    fn rerank(
        &mut self,
        class_id: ClassId,
        id: RequesterId,
        change: impl FnOnce(&mut BTreeSet<(Priority, i64, RunId)>),
    ) {
        let old = self.key(class_id, id);
        let class = self.classes.get_mut(&class_id).expect("a run names only classes that are there");
        let runs = class.waiting.entry(id).or_default();
        change(runs);
        if runs.is_empty() {
            class.waiting.remove(&id);
        }
        let new = self.key(class_id, id);
        let class = self.classes.get_mut(&class_id).expect("read above");
        let waits = class.waiting.contains_key(&id);
        if let Some(ranking) = &mut class.ranking {
            if old != new {
                old.map(|old| ranking.remove(&old));
                ranking.extend(new);
            }
            // Who has no key because they have their boards has one again later.
            let ranked =
                &mut self.requesters.get_mut(&id).expect("a run names only requesters there are").ranked;
            match waits {
                true => ranked.insert(class_id),
                false => ranked.remove(&class_id),
            };
        }
        self.refresh(class_id);
    }

    /// The key of a requester's best run in a class, while they may have its boards.
    fn key(&self, class: ClassId, id: RequesterId) -> Option<Key> {
        let class = self.classes.get(&class)?;
        let (priority, number, run) = *class.waiting.get(&id)?.first()?;
        let requester = &self.requesters[&id];
        if !requester.has_room(class.wants) {
            return None;
        }
        let (in_use, served) = (requester.in_use, requester.served);
        Some(Key { priority, turn: Turn::Usual, in_use, served, number, run, requester: id })
    }

    /// Brings what a class offers, and what a run that saves boards offers, up to date.
    pub(super) fn refresh(&mut self, id: ClassId) {
        let offer = self.best(id);
        let Some(class) = self.classes.get_mut(&id) else {
            return;
        };
        if class.offered != offer {
            class.offered.map(|old| self.ready.remove(&old));
            self.ready.extend(offer);
            class.offered = offer;
        }
        if offer.is_some() {
            class.unused = 0;
        }
        if !self.savings.is_empty() {
            self.saving_refresh(id);
        }
    }

    /// The best run of a class, when boards for it are free.
    fn best(&mut self, id: ClassId) -> Option<Offer> {
        let class = self.classes.get(&id)?;
        let free: usize = self.pools.get(&class.pool)?.sites.values().map(|site| site.free.len()).sum();
        if class.waiting.is_empty() || free < class.wants {
            return None;
        }
        // What the most urgent run could not take, nobody can: not worth a ranking.
        self.pick(class, Priority::High, None)?;
        if class.ranking.is_none() {
            let requesters: Vec<RequesterId> = class.waiting.keys().copied().collect();
            let ranking = requesters.iter().filter_map(|requester| self.key(id, *requester)).collect();
            for requester in requesters {
                let requester =
                    self.requesters.get_mut(&requester).expect("a class names only requesters there are");
                requester.ranked.insert(id);
            }
            self.classes.get_mut(&id).expect("read above").ranking = Some(ranking);
        }
        let class = &self.classes[&id];
        let key = *class.ranking.as_ref()?.first()?;
        // The best run has the class' highest priority: if kept boards are not for it, they are for none of them.
        if !self.savings.is_empty() {
            self.pick(class, key.priority, None)?;
        }
        Some(Offer { key, class: id })
    }

    fn ranking_drop(&mut self, id: ClassId) {
        let Some(class) = self.classes.get_mut(&id) else {
            return;
        };
        class.unused = 0;
        if class.ranking.take().is_none() {
            return;
        }
        for requester in class.waiting.keys() {
            if let Some(requester) = self.requesters.get_mut(requester) {
                requester.ranked.remove(&id);
            }
        }
    }
}
