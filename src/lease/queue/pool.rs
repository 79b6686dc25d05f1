//! Boards as the queue indexes them: a pool is every board that one selector of one family allows, by site, with
//! its free boards in order of last use. Decides which boards a class would take; never who takes them.

use std::collections::{BTreeMap, BTreeSet};

use super::order::{Class, ClassId, Offer, Turn};
use super::{Availability, BoardFacts, Draining, Queue};
use crate::board::{BoardId, Family, Site};
use crate::clock::Timestamp;
use crate::id::RunId;
use crate::run::{Priority, Selector};

/// Most pools that are kept although no run waits for them: runs of one kind come again and again.
pub const POOLS_IDLE_MAX: usize = 64;

pub(super) type PoolId = u64;

/// A board and where it is indexed.
#[derive(Debug, Clone)]
pub(super) struct BoardState {
    pub(super) facts: BoardFacts,
    pub(super) availability: Availability,
    /// Why it takes nothing new.
    pub(super) draining: Option<Draining>,
    /// Set aside for a proposal.
    pub(super) proposed: bool,
    pub(super) pools: Vec<PoolId>,
}

/// What a pool needs to know of a board's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Free(Option<Timestamp>),
    Busy,
    Unavailable,
}

impl BoardState {
    pub(super) fn standing(&self) -> Standing {
        match &self.availability {
            _ if self.draining.is_some() => Standing::Unavailable,
            Availability::Unavailable(_) => Standing::Unavailable,
            Availability::Busy { .. } => Standing::Busy,
            Availability::Free if self.proposed => Standing::Busy,
            Availability::Free => Standing::Free(self.facts.last_used),
        }
    }
}

/// What the queue keeps per family.
#[derive(Debug, Clone, Default)]
pub(super) struct FamilyState {
    pub(super) boards: BTreeSet<BoardId>,
    pub(super) pools: BTreeSet<PoolId>,
    /// Runs that wait for several boards, longest waiting first.
    pub(super) multi: BTreeSet<(Timestamp, i64, RunId)>,
    /// No run starts to save boards before.
    pub(super) rest_until: Timestamp,
    /// Nor before so many boards were granted in the usual order.
    pub(super) rest_boards: usize,
}

/// Every board that one selector of one family allows.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    pub(super) family: Family,
    pub(super) selector: Selector,
    pub(super) boards: BTreeSet<BoardId>,
    pub(super) sites: BTreeMap<Site, SiteBoards>,
    pub(super) classes: BTreeSet<ClassId>,
}

/// A pool's boards of one site.
#[derive(Debug, Clone, Default)]
pub(super) struct SiteBoards {
    /// Least recently used first; a board that was never used before all others.
    pub(super) free: BTreeSet<(Option<Timestamp>, BoardId)>,
    /// How many are not unavailable.
    pub(super) in_service: usize,
    pub(super) all: usize,
}

impl SiteBoards {
    fn enter(&mut self, board: &BoardId, standing: Standing) {
        if let Standing::Free(last_used) = standing {
            self.free.insert((last_used, board.clone()));
        }
        self.in_service += usize::from(standing != Standing::Unavailable);
    }

    fn leave(&mut self, board: &BoardId, standing: Standing) {
        if let Standing::Free(last_used) = standing {
            self.free.remove(&(last_used, board.clone()));
        }
        self.in_service -= usize::from(standing != Standing::Unavailable);
    }
}

impl Pool {
    fn add(&mut self, board: &BoardState) {
        self.boards.insert(board.facts.id.clone());
        let site = self.sites.entry(board.facts.site.clone()).or_default();
        site.all += 1;
        site.enter(&board.facts.id, board.standing());
    }

    fn remove(&mut self, board: &BoardState) {
        self.boards.remove(&board.facts.id);
        if let Some(site) = self.sites.get_mut(&board.facts.site) {
            site.leave(&board.facts.id, board.standing());
            site.all -= 1;
            if site.all == 0 {
                self.sites.remove(&board.facts.site);
            }
        }
    }
}

/// Whether the selector allows the board.
pub(super) fn allows(selector: &Selector, board: &BoardFacts) -> bool {
    selector.board.as_ref().is_none_or(|id| *id == board.id)
        && selector.revision.as_ref().is_none_or(|revision| board.revision.as_ref() == Some(revision))
        && !(selector.driven_here && board.remote)
        && selector.tags.iter().all(|(key, value)| board.tags.get(key) == Some(value))
}

impl Queue {
    pub(super) fn board_add(&mut self, mut facts: BoardFacts) {
        let (mut availability, mut draining) = (Availability::Free, None);
        if let Some(known) = self.boards.get(&facts.id) {
            facts.last_used = facts.last_used.max(known.facts.last_used);
            if known.facts == facts {
                return;
            }
            draining = known.draining.clone();
            availability = self.board_remove(&facts.id).unwrap_or(availability);
        }
        let id = facts.id.clone();
        let family = self.families.entry(facts.family.clone()).or_default();
        family.boards.insert(id.clone());
        let proposed = self.proposed.contains_key(&id);
        let mut board = BoardState { facts, availability, draining, proposed, pools: Vec::new() };
        for pool_id in &family.pools {
            let pool = self.pools.get_mut(pool_id).expect("a family names only pools that are there");
            if allows(&pool.selector, &board.facts) {
                pool.add(&board);
                board.pools.push(*pool_id);
            }
        }
        let (family, pools) = (board.facts.family.clone(), board.pools.clone());
        self.boards.insert(id.clone(), board);
        self.boards_refresh(&family, &pools);
        self.own_refresh(&id);
    }

    /// Forgets a board; gives what was known of it.
    pub(super) fn board_remove(&mut self, id: &BoardId) -> Option<Availability> {
        let board = self.boards.remove(id)?;
        for pool in &board.pools {
            self.pools.get_mut(pool).expect("a board names only pools that are there").remove(&board);
        }
        if let Some(family) = self.families.get_mut(&board.facts.family) {
            family.boards.remove(id);
        }
        self.boards_refresh(&board.facts.family, &board.pools);
        self.family_tidy(&board.facts.family);
        Some(board.availability)
    }

    /// Changes a board's state in every index. An unknown board changes nothing.
    pub(super) fn board_update(&mut self, id: &BoardId, change: impl FnOnce(&mut BoardState)) {
        let Some(board) = self.boards.get_mut(id) else {
            return;
        };
        let before = board.standing();
        change(board);
        let after = board.standing();
        if before == after {
            return;
        }
        let (family, pools) = (board.facts.family.clone(), board.pools.clone());
        for pool in &pools {
            let pool = self.pools.get_mut(pool).expect("a board names only pools that are there");
            if let Some(site) = pool.sites.get_mut(&board.facts.site) {
                site.leave(id, before);
                site.enter(id, after);
            }
        }
        self.boards_refresh(&family, &pools);
    }

    /// A board of these pools has changed.
    fn boards_refresh(&mut self, family: &Family, pools: &[PoolId]) {
        if self.savings.contains_key(family) {
            // What is kept may have changed for boards of other pools too.
            self.family_refresh(family);
        } else {
            self.pools_refresh(pools);
        }
    }

    pub(super) fn pools_refresh(&mut self, pools: &[PoolId]) {
        for pool in pools {
            let classes: Vec<ClassId> = self.pools[pool].classes.iter().copied().collect();
            for class in classes {
                self.refresh(class);
            }
        }
    }

    /// The pool of a family and selector, made when it is not there.
    pub(super) fn pool_of(&mut self, family: &Family, selector: &Selector) -> PoolId {
        let key = (family.clone(), selector.clone());
        if let Some(id) = self.pool_ids.get(&key).copied() {
            self.pools_idle.retain(|idle| *idle != id);
            return id;
        }
        let id = self.new_id();
        let mut pool = Pool {
            family: family.clone(),
            selector: selector.clone(),
            boards: BTreeSet::new(),
            sites: BTreeMap::new(),
            classes: BTreeSet::new(),
        };
        let state = self.families.entry(family.clone()).or_default();
        state.pools.insert(id);
        for board in &state.boards {
            let board = self.boards.get_mut(board).expect("a family names only boards that are there");
            if allows(selector, &board.facts) {
                pool.add(board);
                board.pools.push(id);
            }
        }
        self.pools.insert(id, pool);
        self.pool_ids.insert(key, id);
        id
    }

    /// Notes that a pool has no class; forgets the pool that had none for longest when there are too many.
    pub(super) fn pool_idle(&mut self, id: PoolId) {
        self.pools_idle.push_back(id);
        if self.pools_idle.len() <= POOLS_IDLE_MAX {
            return;
        }
        let Some(id) = self.pools_idle.pop_front() else {
            return;
        };
        let Some(pool) = self.pools.remove(&id) else {
            return;
        };
        for board in &pool.boards {
            if let Some(board) = self.boards.get_mut(board) {
                board.pools.retain(|pool| *pool != id);
            }
        }
        if let Some(family) = self.families.get_mut(&pool.family) {
            family.pools.remove(&id);
        }
        self.pool_ids.remove(&(pool.family.clone(), pool.selector));
        self.family_tidy(&pool.family);
    }

    fn family_tidy(&mut self, family: &Family) {
        if self.families.get(family).is_some_and(|f| f.boards.is_empty() && f.pools.is_empty()) {
            self.families.remove(family);
        }
    }

    /// The boards that an offered run would take.
    pub(super) fn pick_for(&self, offer: &Offer) -> Option<Vec<BoardId>> {
        let class = self.classes.get(&offer.class)?;
        match offer.key.turn {
            Turn::Usual => self.pick(class, offer.key.priority, None),
            Turn::Saver => {
                let saving = self.savings.get(&self.pools.get(&class.pool)?.family)?;
                self.pick(class, offer.key.priority, Some(&saving.site))
            }
        }
    }

    /// The boards that a run of the class would take, or `None` while too few are free: of one site, least recently
    /// used first. With `only`, of that site, kept boards too; otherwise kept boards are passed over.
    pub(super) fn pick(
        &self,
        class: &Class,
        priority: Priority,
        only: Option<&Site>,
    ) -> Option<Vec<BoardId>> {
        let mut best: Option<Vec<&(Option<Timestamp>, BoardId)>> = None;
        for (_, free) in self.takeable(class, priority, only) {
            let found: Vec<_> = free.take(class.wants).collect();
            if found.len() == class.wants && best.as_ref().is_none_or(|best| found < *best) {
                best = Some(found);
            }
        }
        Some(best?.into_iter().map(|(_, board)| board.clone()).collect())
    }

    /// The boards that a run of the class may take now, least recently used first, of each site that has as many as it
    /// wants; `only` as in [`Queue::pick`].
    pub(super) fn takeable<'a>(
        &'a self,
        class: &'a Class,
        priority: Priority,
        only: Option<&'a Site>,
    ) -> impl Iterator<Item = (&'a Site, impl Iterator<Item = &'a (Option<Timestamp>, BoardId)>)> {
        let pool = self.pools.get(&class.pool);
        let avoid = self.avoided(class);
        let saving = match (only, pool) {
            (None, Some(pool)) => self.savings.get(&pool.family).filter(|saving| priority >= saving.priority),
            _ => None,
        };
        let sites = pool.into_iter().flat_map(|pool| &pool.sites);
        let sites = sites.filter(move |(site, boards)| {
            boards.free.len() >= class.wants && only.is_none_or(|only| only == *site)
        });
        sites.map(move |(site, boards)| {
            let kept = saving.filter(|saving| saving.site == *site);
            let may = move |board: &BoardId| {
                !avoid.contains(board) && !kept.is_some_and(|kept| self.keeps(kept, board))
            };
            (site, boards.free.iter().filter(move |(_, board)| may(board)))
        })
    }

    /// The boards that the class avoids now: none when the others in service could not serve it.
    pub(super) fn avoided<'a>(&self, class: &'a Class) -> &'a [BoardId] {
        let Some(pool) = self.pools.get(&class.pool).filter(|_| !class.avoid.is_empty()) else {
            return &[];
        };
        let others = |site: &Site, boards: &SiteBoards| {
            let avoided = class.avoid.iter().filter(|id| {
                pool.boards.contains(*id)
                    && self.boards.get(*id).is_some_and(|board| {
                        board.facts.site == *site && board.standing() != Standing::Unavailable
                    })
            });
            boards.in_service.saturating_sub(avoided.count())
        };
        let enough = pool.sites.iter().any(|(site, boards)| others(site, boards) >= class.wants);
        if enough { &class.avoid } else { &[] }
    }

    /// Whether any run of the class may take this board of its pool.
    pub(super) fn admits(&self, class: &Class, board: &BoardId) -> bool {
        !self.avoided(class).contains(board)
    }
}
