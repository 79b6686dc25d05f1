//! Why a run waits and how many are before it: answers for people, from the same data and in the same order as
//! grants. Changes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::iter::Peekable;
use std::time::Duration;

use super::order::{Class, ClassId, RequesterId, fits};
use super::pool::{BoardState, Pool, PoolId, Standing, allows};
use super::saving::Saving;
use super::{Availability, Queue, QueuedRun, Unavailable, Waiting};
use crate::board::{BoardId, Family, Site};
use crate::clock::Timestamp;
use crate::id::RunId;
use crate::lease::Holder;
use crate::run::{Priority, Selector};

/// Up to how many runs before it a run's position is exact.
pub const AHEAD_MAX: usize = 1_000;
/// Most boards that one answer lists.
pub const LISTED_MAX: usize = 5;

/// Most boards of which somebody is given one at once.
pub const CHOICES_MAX: usize = 64;

/// A run's place among the waiting runs that want boards it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// From 1: the next of them to be granted when a board that it may use comes free. What is granted elsewhere
    /// meanwhile counts for its requester too, and may change whose turn it is.
    Exact(usize),
    /// More than so many are before it.
    MoreThan(usize),
}

/// A board that somebody has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The board.
    pub board: BoardId,
    /// Who has it.
    pub holder: Holder,
    /// Until when, where that is known and not over.
    pub until: Option<Timestamp>,
    /// What for, where they said.
    pub reason: String,
    /// The run of a person's own that is on the board which they have.
    pub run: Option<i64>,
}

/// What somebody who would ask for a board now meets.
#[derive(Debug, Clone, PartialEq)]
pub struct Foreseen {
    /// The boards that are theirs at once; none where they must wait.
    pub boards: Vec<BoardId>,
    /// Their place in line.
    pub position: Position,
    /// Why they wait.
    pub why: Why,
    /// In how long their turn comes, at the earliest and at the latest.
    pub eta: Option<(Duration, Duration)>,
}

/// Why a run waits. Lists name at most [`LISTED_MAX`] boards, `more` counts the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It does not wait.
    NotWaiting,
    /// It is being granted these boards.
    Granting {
        /// The boards.
        boards: Vec<BoardId>,
    },
    /// No board of the lab is what it asks for.
    NoBoards,
    /// No site has as many boards of what it asks for.
    TooFew {
        /// How many it wants.
        wanted: usize,
        /// The most that one site has.
        most: usize,
    },
    /// Boards that may serve it are there, too few of them in service.
    Unavailable {
        /// Those out of service, and why.
        boards: Vec<(BoardId, Unavailable)>,
        /// How many more.
        more: usize,
    },
    /// Whoever asked for it has as many boards as they may.
    Quota {
        /// How many they may have.
        most: u32,
        /// How many they have.
        in_use: u32,
    },
    /// Free boards that it may use are kept for a run that wants several, and no others are free.
    Kept {
        /// A board that is kept.
        board: BoardId,
        /// The run it is kept for.
        run: RunId,
        /// Its number.
        number: i64,
        /// The place of the run that waits.
        position: Position,
    },
    /// Others are before it.
    Behind {
        /// Its place.
        position: Position,
        /// The first of the others.
        ahead: RunId,
        /// Its number.
        number: i64,
        /// Its priority.
        priority: Priority,
        /// Whose it is.
        requester: String,
        /// Whether it is no run, but a person's reservation.
        reservation: bool,
        /// Who has boards that it may use; the first that is known to end first.
        held: Vec<Held>,
        /// How many more.
        more: usize,
    },
    /// It is next; the only board in service that may serve it is taken.
    OnlyBoard(Held),
    /// It is next; every board in service that may serve it is taken.
    AllBusy {
        /// Who has them; the first that is known to end first.
        held: Vec<Held>,
        /// How many more.
        more: usize,
    },
    /// It is next; it wants several boards of one site, and too few are free.
    Gathering {
        /// How many it wants.
        wanted: usize,
        /// How many are free for it at the best site.
        free: usize,
        /// That site.
        site: Site,
        /// Whether boards that come free are kept for it.
        saving: bool,
        /// Who has others; the first that is known to end first.
        held: Vec<Held>,
        /// How many more.
        more: usize,
    },
    /// It is next and its boards are free: the next grants serve it.
    Next,
}

/// What a run that would be asked for now meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// Boards that may serve it and are in service.
    pub serving: usize,
    /// Boards that may serve it and are free.
    pub free: usize,
    /// Boards that may serve it at all.
    pub boards: usize,
    /// Runs that wait for just these boards.
    pub waiting: usize,
}

/// A class's runs of one requester, in order.
type Line<'a> = Peekable<std::collections::btree_set::Iter<'a, (Priority, i64, RunId)>>;

/// A requester while the order is played ahead.
struct Player<'a> {
    in_use: u32,
    served: u64,
    most: Option<u32>,
    /// Each with how many boards its runs want.
    lines: Vec<(usize, Line<'a>)>,
}

impl Player<'_> {
    /// Its best run that it may have boards for, leaving out `saver`.
    fn head(&mut self, saver: Option<RunId>) -> Option<(Priority, i64, RunId)> {
        let mut best = None;
        let (most, in_use) = (self.most, self.in_use);
        for (_, line) in self.lines.iter_mut().filter(|(wants, _)| fits(most, in_use, *wants)) {
            if line.peek().is_some_and(|(.., run)| Some(*run) == saver) {
                line.next();
            }
            best = best.into_iter().chain(line.peek().copied().copied()).min();
        }
        best
    }

    /// Takes its best run away.
    fn pass(&mut self, head: (Priority, i64, RunId)) {
        for (_, line) in &mut self.lines {
            line.next_if(|next| **next == head);
        }
    }
}

impl Queue {
    /// What a run of this family and selector would meet now. Costs the same however many runs wait.
    pub fn outlook(&self, family: &Family, selector: &Selector) -> Outlook {
        let pool = self.pool_ids.get(&(family.clone(), selector.clone())).and_then(|id| self.pools.get(id));
        if let Some(pool) = pool {
            return Outlook {
                serving: pool.sites.values().map(|site| site.in_service).sum(),
                free: pool.sites.values().map(|site| site.free.len()).sum(),
                boards: pool.boards.len(),
                waiting: pool.classes.iter().filter_map(|id| self.classes.get(id)).map(Class::members).sum(),
            };
        }
        // Nobody waited for just these boards lately, so they are counted.
        let family = self.families.get(family).into_iter().flat_map(|family| &family.boards);
        let boards = family.filter_map(|id| self.boards.get(id)).filter(|b| allows(selector, &b.facts));
        boards.fold(Outlook { serving: 0, free: 0, boards: 0, waiting: 0 }, |mut outlook, board| {
            outlook.boards += 1;
            outlook.serving += usize::from(board.standing() != Standing::Unavailable);
            outlook.free += usize::from(matches!(board.standing(), Standing::Free(_)));
            outlook
        })
    }

    /// What `run` would meet, were it asked for now. It does not wait afterwards, and nothing else has changed.
    pub fn foresee(&mut self, run: QueuedRun, now: Timestamp) -> Foreseen {
        let id = run.run;
        self.run_queue(run);
        let foreseen = self.standing(id, now);
        self.run_leave(id);
        foreseen.expect("it waited just now")
    }

    /// The boards of which `run` could have any one at once, were it asked for now: first those at the site that is
    /// preferred, then the least recently used; at most [`CHOICES_MAX`], and none where it would have to wait. Nothing has
    /// changed afterwards.
    pub fn choices(&mut self, run: QueuedRun, preferred: Option<&Site>) -> Vec<BoardId> {
        let id = run.run;
        self.run_queue(run);
        let choices = self.choices_of(id, preferred).unwrap_or_default();
        self.run_leave(id);
        choices
    }

    fn choices_of(&self, run: RunId, preferred: Option<&Site>) -> Option<Vec<BoardId>> {
        let waiting = self.waiting.get(&run)?;
        let class = &self.classes[&waiting.class];
        if !self.ahead(waiting).is_empty() || !self.requesters[&waiting.requester].has_room(class.wants) {
            return None;
        }
        let mut choices = BTreeSet::new();
        for (site, free) in self.takeable(class, waiting.run.priority, None) {
            let elsewhere = preferred.is_some_and(|preferred| preferred != site);
            choices.extend(free.take(CHOICES_MAX).map(|(used, board)| (elsewhere, used, board)));
        }
        Some(choices.into_iter().take(CHOICES_MAX).map(|(.., board)| board.clone()).collect())
    }

    /// What a run that waits meets; `None` when it does not wait.
    pub fn standing(&self, run: RunId, now: Timestamp) -> Option<Foreseen> {
        let waiting = self.waiting.get(&run)?;
        let class = &self.classes[&waiting.class];
        let has_room = self.requesters[&waiting.requester].has_room(class.wants);
        let first = has_room && self.ahead(waiting).is_empty();
        let boards = self.pick(class, waiting.run.priority, None).filter(|_| first).unwrap_or_default();
        let position = self.position(run).unwrap_or(Position::MoreThan(AHEAD_MAX));
        Some(Foreseen { boards, position, why: self.why(run, now), eta: self.eta(run, now) })
    }

    /// A run's place among the waiting runs that want boards it may use, were they served one after the other in the
    /// order of grants. `None` when it does not wait; a run that is being granted is first.
    pub fn position(&self, run: RunId) -> Option<Position> {
        let waiting = self.waiting.get(&run)?;
        if waiting.proposal.is_some() {
            return Some(Position::Exact(1));
        }
        if let Some((_, before)) = self.own_line(waiting) {
            return Some(position_after(before));
        }
        Some(position_after(self.ahead(waiting).len()))
    }

    /// Why a run waits: the first of the reasons, in the order of [`Why`], that is true.
    pub fn why(&self, run: RunId, now: Timestamp) -> Why {
        let Some(waiting) = self.waiting.get(&run) else {
            return Why::NotWaiting;
        };
        if let Some(boards) = &waiting.proposal {
            return Why::Granting { boards: boards.clone() };
        }
        if self.is_own_due(waiting) {
            return Why::Next;
        }
        if let Some(held) = self.own_line(waiting).and_then(|(board, _)| self.held_of(board, now)) {
            return Why::OnlyBoard(held);
        }
        let class = &self.classes[&waiting.class];
        let pool = &self.pools[&class.pool];
        let most = pool.sites.values().map(|site| site.all).max().unwrap_or(0);
        match most {
            0 => return Why::NoBoards,
            most if most < class.wants => {
                return Why::TooFew { wanted: class.wants, most };
            }
            _ => {}
        }
        if !pool.sites.values().any(|site| site.in_service >= class.wants) {
            return self.why_unavailable(pool);
        }
        let requester = &self.requesters[&waiting.requester];
        if let Some(most) = requester.most.filter(|_| !requester.has_room(class.wants)) {
            return Why::Quota { most, in_use: requester.in_use };
        }
        let ahead = self.ahead(waiting);
        if let Some((saving, board)) = self.kept_from(waiting, class, pool) {
            let position = position_after(ahead.len());
            return Why::Kept { board, run: saving.run, number: saving.number, position };
        }
        match ahead.first().and_then(|ahead| self.waiting.get(ahead)) {
            Some(first) => {
                let (held, more) = self.held(class, now);
                Why::Behind {
                    position: position_after(ahead.len()),
                    ahead: first.run.run,
                    number: first.run.number,
                    priority: first.run.priority,
                    requester: first.run.requester.clone(),
                    reservation: first.run.lasts.is_some(),
                    held,
                    more,
                }
            }
            None => self.why_next(waiting, class, pool, now),
        }
    }

    fn why_unavailable(&self, pool: &Pool) -> Why {
        let out = |id: &BoardId| {
            let board = self.boards.get(id)?;
            match (&board.availability, &board.draining) {
                (Availability::Unavailable(why), _) => Some((id.clone(), why.clone())),
                (_, Some(draining)) => Some((id.clone(), Unavailable::Draining(draining.clone()))),
                (Availability::Free | Availability::Busy { .. }, None) => None,
            }
        };
        let mut boards: Vec<_> = pool.boards.iter().filter_map(out).collect();
        let more = boards.len().saturating_sub(LISTED_MAX);
        boards.truncate(LISTED_MAX);
        Why::Unavailable { boards, more }
    }

    /// The saving that keeps free boards from a run which could have them otherwise, and one of those boards.
    fn kept_from(&self, waiting: &Waiting, class: &Class, pool: &Pool) -> Option<(&Saving, BoardId)> {
        let saving = self.savings.get(&pool.family).filter(|saving| saving.run != waiting.run.run)?;
        if self.pick(class, waiting.run.priority, None).is_some() {
            return None;
        }
        let boards = self.pick(class, waiting.run.priority, Some(&saving.site))?;
        boards.into_iter().find(|board| self.keeps(saving, board)).map(|board| (saving, board))
    }

    /// Why a run waits that nobody is before.
    fn why_next(&self, waiting: &Waiting, class: &Class, pool: &Pool, now: Timestamp) -> Why {
        let saving = self.savings.get(&pool.family);
        let saves = saving.is_some_and(|saving| saving.run == waiting.run.run);
        if self.pick(class, waiting.run.priority, None).is_some()
            || saves && self.pick(class, waiting.run.priority, saving.map(|s| &s.site)).is_some()
        {
            return Why::Next;
        }
        let avoid = self.avoided(class);
        let free = |site: &Site| {
            let boards = pool.sites.get(site).into_iter().flat_map(|boards| &boards.free);
            boards.map(|(_, board)| board).filter(|board| !avoid.contains(board))
        };
        let (mut held, more) = self.held(class, now);
        if class.wants > 1 {
            let at = |site: &&Site| (saves && saving.is_some_and(|s| s.site == **site), free(site).count());
            // The first by name of the best.
            let site = pool.sites.keys().rev().max_by_key(at).expect("a pool with boards has a site");
            let (wanted, free) = (class.wants, free(site).count());
            return Why::Gathering { wanted, free, site: site.clone(), saving: saves, held, more };
        }
        match held.len() {
            1 if more == 0 => Why::OnlyBoard(held.remove(0)),
            _ => Why::AllBusy { held, more },
        }
    }

    /// Who has boards that the class may use, the first that is known to end first, and how many more.
    fn held(&self, class: &Class, now: Timestamp) -> (Vec<Held>, usize) {
        // Whoever has a board that takes nothing new gives it to nobody.
        let serving = self.eligible(class).filter(|board| board.draining.is_none());
        let mut held: Vec<Held> = serving.filter_map(|board| self.held_of(board, now)).collect();
        held.sort_by(|a, b| {
            (a.until.is_none(), a.until, &a.board).cmp(&(b.until.is_none(), b.until, &b.board))
        });
        let more = held.len().saturating_sub(LISTED_MAX);
        held.truncate(LISTED_MAX);
        (held, more)
    }

    fn held_of(&self, board: &BoardState, now: Timestamp) -> Option<Held> {
        let id = &board.facts.id;
        match &board.availability {
            Availability::Busy { holder, until, reason, run } => {
                let until = until.filter(|until| *until > now);
                let (holder, reason) = (holder.clone(), reason.clone());
                Some(Held { board: id.clone(), holder, until, reason, run: *run })
            }
            Availability::Free => {
                let run = &self.waiting.get(self.proposed.get(id)?)?.run;
                let holder = Holder::Run { run: run.run, number: run.number, attempt: run.attempt };
                Some(Held { board: id.clone(), holder, until: None, reason: String::new(), run: None })
            }
            Availability::Unavailable(_) => None,
        }
    }

    /// The boards that a run of the class may use now, in or out of service.
    pub(super) fn eligible<'a>(&'a self, class: &'a Class) -> impl Iterator<Item = &'a BoardState> {
        let avoid = self.avoided(class);
        let boards = self.pools.get(&class.pool).into_iter().flat_map(|pool| &pool.boards);
        boards.filter(|id| !avoid.contains(id)).filter_map(|id| self.boards.get(id))
    }

    /// The runs before this one that want boards it may use, in the order they would be served if such boards came
    /// free one after the other and nothing ended meanwhile; at most [`AHEAD_MAX`].
    pub(super) fn ahead(&self, waiting: &Waiting) -> Vec<RunId> {
        let rivals = self.rivals(waiting.class);
        let me = waiting.run.run;
        let saver = self.savings.get(&waiting.run.family).filter(|saving| {
            self.waiting.get(&saving.run).is_some_and(|w| {
                let has_room = self.requesters[&w.requester].has_room(w.run.boards as usize);
                w.proposal.is_none() && rivals.contains(&w.class) && has_room
            })
        });
        let mut saver = saver.map(|saving| (saving.priority, saving.run));
        let saver_run = saver.map(|(_, run)| run);
        let mut players = self.players(&rivals);
        let mut turns = BTreeSet::new();
        for (id, player) in &mut players {
            turns.extend(player.head(saver_run).map(|head| turn(*id, player, head)));
        }
        let mut served = self.served;
        let mut ahead = Vec::new();
        while ahead.len() < AHEAD_MAX {
            let next = turns.first().copied();
            let saved = saver.take_if(|(priority, _)| next.is_none_or(|(first, ..)| first >= *priority));
            let Some(run) = saved.map(|(_, run)| run).or(next.map(|(.., run, _)| run)) else {
                break;
            };
            if run == me {
                break;
            }
            ahead.push(run);
            let Some(Waiting { requester, run: spec, .. }) = self.waiting.get(&run) else {
                break;
            };
            let Some(player) = players.get_mut(requester) else {
                break;
            };
            if let Some(head) = player.head(saver_run) {
                turns.remove(&turn(*requester, player, head));
                if saved.is_none() {
                    player.pass(head);
                }
            }
            served += 1;
            player.served = served;
            player.in_use += spec.boards;
            turns.extend(player.head(saver_run).map(|head| turn(*requester, player, head)));
        }
        ahead
    }

    fn players(&self, rivals: &HashSet<ClassId>) -> BTreeMap<RequesterId, Player<'_>> {
        let mut players: BTreeMap<RequesterId, Player<'_>> = BTreeMap::new();
        let of_class = |class: &ClassId| {
            let class = &self.classes[class];
            class.waiting.iter().map(move |(id, runs)| (&class.wants, id, runs))
        };
        for (wants, id, runs) in rivals.iter().flat_map(of_class) {
            let requester = &self.requesters[id];
            let player = players.entry(*id).or_insert_with(|| Player {
                in_use: requester.in_use,
                served: requester.served,
                most: requester.most,
                lines: Vec::new(),
            });
            player.lines.push((*wants, runs.iter().peekable()));
        }
        players
    }

    /// Classes whose runs may use a board that a run of this one may use, itself among them.
    fn rivals(&self, id: ClassId) -> HashSet<ClassId> {
        let mut rivals = HashSet::from([id]);
        // Whether a pool still has classes to find: those that avoid boards are asked board by board.
        let mut known: HashMap<PoolId, bool> = HashMap::new();
        for board in self.eligible(&self.classes[&id]) {
            for pool_id in &board.pools {
                let open = known.entry(*pool_id).or_insert(true);
                if !*open {
                    continue;
                }
                *open = false;
                for class_id in &self.pools[pool_id].classes {
                    if rivals.contains(class_id) {
                        continue;
                    }
                    if self.admits(&self.classes[class_id], &board.facts.id) {
                        rivals.insert(*class_id);
                    } else {
                        *open = true;
                    }
                }
            }
        }
        rivals
    }
}

fn turn(
    id: RequesterId,
    player: &Player<'_>,
    (priority, number, run): (Priority, i64, RunId),
) -> (Priority, u32, u64, i64, RunId, RequesterId) {
    (priority, player.in_use, player.served, number, run, id)
}

fn position_after(ahead: usize) -> Position {
    if ahead >= AHEAD_MAX { Position::MoreThan(AHEAD_MAX) } else { Position::Exact(ahead + 1) }
}
