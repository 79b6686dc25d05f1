//! How runs that want several boards at once are kept from starving, and single runs from them. Pure.
//!
//! A run that waited [`STARVED_AFTER`] for its boards may *save*: at one site, boards that come free are kept for it,
//! and only more urgent runs may still take them. One run per family saves at a time, the longest waiting first, and
//! only at a site where enough boards are free, held by runs, or held by a person whose time ends in its window.
//!
//! It saves for [`SAVE_FOR`]; in vain, for twice as long the next time, so a window comes that outlasts every bounded
//! lease: it is never starved for ever. However a saving ends, the family then rests as long as it took and, if the
//! run was served, until as many boards as it got were granted in the usual order: single runs get at least half.

use std::time::Duration;

use super::order::{ClassId, Key, Offer, RequesterId, Turn};
use super::pool::{PoolId, Standing};
use super::{Availability, Queue, Waiting};
use crate::board::{BoardId, Family, Site};
use crate::clock::Timestamp;
use crate::id::RunId;
use crate::lease::Holder;
use crate::run::Priority;

/// How long a run waits for several boards before it may save them.
pub const STARVED_AFTER: Duration = Duration::from_secs(10 * 60);
/// How long it saves the first time.
pub const SAVE_FOR: Duration = Duration::from_secs(30 * 60);
/// How often the time is doubled at most: 32 hours.
pub const SAVE_DOUBLINGS_MAX: u32 = 6;
/// How many of the longest waiting runs of a family are considered.
const SAVERS_LOOKED_MAX: usize = 16;
/// How long after nobody could save it is looked again.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A run that saves boards.
#[derive(Debug, Clone)]
pub(super) struct Saving {
    pub(super) run: RunId,
    pub(super) number: i64,
    pub(super) priority: Priority,
    pub(super) site: Site,
    class: ClassId,
    pool: PoolId,
    since: Timestamp,
    until: Timestamp,
    /// What stands in `ready`.
    offered: Option<Offer>,
}

impl Queue {
    /// Ends savings that are over and begins new ones, in every family that has runs for several boards.
    pub(super) fn savings_step(&mut self, now: Timestamp) {
        if self.gathering.is_empty() {
            return;
        }
        for family in self.gathering.clone() {
            self.saving_settle(&family, now);
            self.saving_begin(&family, now);
            let waits = self.families.get(&family).is_some_and(|state| !state.multi.is_empty());
            if !waits && !self.savings.contains_key(&family) {
                self.gathering.remove(&family);
            }
        }
    }

    /// Ends a family's saving when its run waits no more, its time is over or its site cannot serve it any more.
    pub(super) fn saving_settle(&mut self, family: &Family, now: Timestamp) {
        let Some(saving) = self.savings.get(family) else {
            return;
        };
        let waits =
            self.waiting.get(&saving.run).is_some_and(|w| w.proposal.is_none() && w.class == saving.class);
        let over = now >= saving.until;
        if waits && !over && self.could_gather(saving.class, &saving.site) {
            return;
        }
        let saving = self.savings.remove(family).expect("read above");
        saving.offered.map(|offer| self.ready.remove(&offer));
        if waits
            && over
            && let Some(waiting) = self.waiting.get_mut(&saving.run)
        {
            waiting.saves = (waiting.saves + 1).min(SAVE_DOUBLINGS_MAX);
        }
        let served = self.waiting.get(&saving.run).and_then(|waiting| waiting.proposal.as_ref());
        let boards = served.map_or(0, Vec::len);
        if let Some(state) = self.families.get_mut(family) {
            state.rest_until = now + now.since(saving.since);
            state.rest_boards = boards;
        }
        self.family_refresh(family);
    }

    /// Lets the first run save that may.
    fn saving_begin(&mut self, family: &Family, now: Timestamp) {
        let Some(state) = self.families.get(family) else {
            return;
        };
        if self.savings.contains_key(family) || now < state.rest_until || state.rest_boards > 0 {
            return;
        }
        let mut starved = state
            .multi
            .iter()
            .take(SAVERS_LOOKED_MAX)
            .take_while(|(since, ..)| now.since(*since) >= STARVED_AFTER)
            .filter_map(|(_, _, run)| self.waiting.get(run))
            .peekable();
        if starved.peek().is_none() {
            return;
        }
        let saving = starved.find_map(|waiting| self.saving_of(waiting, now));
        let Some(saving) = saving else {
            if let Some(state) = self.families.get_mut(family) {
                state.rest_until = now + LOOK_EVERY;
            }
            return;
        };
        self.savings.insert(family.clone(), saving);
        self.family_refresh(family);
    }

    /// How a run would save: at the site with the most boards free for it now, then by name. `None` when no site
    /// has enough boards that come free in its window.
    fn saving_of(&self, waiting: &Waiting, now: Timestamp) -> Option<Saving> {
        let class = self.classes.get(&waiting.class)?;
        // Boards would be kept for nobody.
        if !self.requesters[&waiting.requester].has_room(class.wants) {
            return None;
        }
        let pool = self.pools.get(&class.pool)?;
        let avoid = self.avoided(class);
        let until = now + SAVE_FOR * (1 << waiting.saves);
        let mut best: Option<(usize, &Site)> = None;
        for site in pool.sites.keys() {
            let boards = || {
                let boards = pool.boards.iter().filter(|id| !avoid.contains(id));
                boards.filter_map(|id| self.boards.get(id)).filter(|board| board.facts.site == *site)
            };
            let comes_free = boards().filter(|board| match &board.availability {
                _ if board.draining.is_some() => false,
                Availability::Free => true,
                Availability::Busy { holder: Holder::Person(_), until: end, .. } => {
                    end.is_some_and(|end| end <= until)
                }
                Availability::Busy { .. } => true,
                Availability::Unavailable(_) => false,
            });
            let free = boards().filter(|board| matches!(board.standing(), Standing::Free(_))).count();
            if comes_free.count() >= class.wants && best.is_none_or(|(most, _)| free > most) {
                best = Some((free, site));
            }
        }
        let (_, site) = best?;
        Some(Saving {
            run: waiting.run.run,
            number: waiting.run.number,
            priority: waiting.run.priority,
            site: site.clone(),
            class: waiting.class,
            pool: class.pool,
            since: now,
            until,
            offered: None,
        })
    }

    /// Whether enough boards of the site are in service for a run of the class.
    fn could_gather(&self, class: ClassId, site: &Site) -> bool {
        let Some(class) = self.classes.get(&class) else {
            return false;
        };
        let Some(pool) = self.pools.get(&class.pool) else {
            return false;
        };
        pool.sites.get(site).is_some_and(|boards| boards.in_service >= class.wants)
    }

    /// Whether a board of the saving's site is kept for it.
    pub(super) fn keeps(&self, saving: &Saving, board: &BoardId) -> bool {
        let Some(class) = self.classes.get(&saving.class) else {
            return false;
        };
        self.pools.get(&saving.pool).is_some_and(|pool| pool.boards.contains(board))
            && self.admits(class, board)
    }

    /// Offers the run that saves once its boards are there; `class` is what changed.
    pub(super) fn saving_refresh(&mut self, class: ClassId) {
        let Some((family, saving)) = self.savings.iter().find(|(_, saving)| saving.class == class) else {
            return;
        };
        let family = family.clone();
        let offer = self.saver_offer(saving);
        let saving = self.savings.get_mut(&family).expect("read above");
        if saving.offered != offer {
            saving.offered.map(|old| self.ready.remove(&old));
            self.ready.extend(offer);
            saving.offered = offer;
        }
    }

    /// A requester has boards more or less: what a run of theirs saves for may be theirs, or not.
    pub(super) fn savings_refresh_of(&mut self, requester: RequesterId) {
        if self.savings.is_empty() {
            return;
        }
        let is_theirs = |run: &RunId| self.waiting.get(run).is_some_and(|w| w.requester == requester);
        let savings = self.savings.values().filter(|saving| is_theirs(&saving.run));
        let classes: Vec<ClassId> = savings.map(|saving| saving.class).collect();
        classes.into_iter().for_each(|class| self.saving_refresh(class));
    }

    fn saver_offer(&self, saving: &Saving) -> Option<Offer> {
        let waiting = self.waiting.get(&saving.run).filter(|waiting| waiting.class == saving.class)?;
        let class = self.classes.get(&saving.class)?;
        if !self.requesters[&waiting.requester].has_room(class.wants) {
            return None;
        }
        let run = &waiting.run;
        if !class.waiting.get(&waiting.requester)?.contains(&(run.priority, run.number, run.run)) {
            return None;
        }
        self.pick(class, saving.priority, Some(&saving.site))?;
        let key = Key {
            priority: saving.priority,
            turn: Turn::Saver,
            in_use: 0,
            served: 0,
            number: saving.number,
            run: saving.run,
            requester: waiting.requester,
        };
        Some(Offer { key, class: saving.class })
    }

    /// What is kept in a family has changed.
    pub(super) fn family_refresh(&mut self, family: &Family) {
        let Some(state) = self.families.get(family) else {
            return;
        };
        let pools: Vec<PoolId> = state.pools.iter().copied().collect();
        self.pools_refresh(&pools);
    }
}
