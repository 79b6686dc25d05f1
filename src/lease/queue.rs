//! The queue: which waiting run gets which board next, and what to tell those who wait. A pure state machine that
//! the scheduler feeds with events and asks for [`Queue::grants`]. It never reads a clock, never talks to the store
//! or a board: every grant is a proposal that the store checks again in its own transaction.
//!
//! **Order**, among runs that a free board could serve: priority; then the run that saves boards (see `saving`);
//! then the requester with the fewest boards in use; then the one served longest ago; then the lowest number. A run
//! takes the least recently used of its boards; several boards are of one site, all or nothing. Boards that failed a
//! run are avoided while the others in service could serve it.
//!
//! **Quotas.** Whoever has as many boards as they may is passed over, and nobody waits behind them; a run on a board that
//! they have is served all the same.
//!
//! **Drains.** A board that takes nothing new is nobody's next, whoever has it now; what is on it goes on, and whoever has
//! it as their own may still run on it.
//!
//! **Boards of people.** A board that somebody has is nobody else's; a run of their own that names it is served at once,
//! whatever waits, one at a time ([`own`]).
//!
//! **Cost.** Runs that may use the same boards form a class ([`order`]), classes of one selector share a pool of
//! boards ([`pool`]). Only classes that a free board could serve are looked at, through one ordered set of their
//! best runs, so a grant costs the same with ten runs waiting as with ten thousand.
//!
//! **Events** say what is, not what happened: applying one twice changes nothing, and a queue rebuilt from the store
//! and fed again from an earlier point ends in the same state.
//!
//! **Proposals.** What [`Queue::grants`] gives is set aside: neither the run nor its boards are proposed again until
//! the caller says how it ended: [`QueueEvent::RunStarted`] (granted), [`QueueEvent::RunLeft`] (it waits no more) or
//! [`QueueEvent::GrantRefused`] (both are as before; tell the board's true state first, or it is proposed again).

mod estimate;
mod explain;
mod order;
mod own;
mod pool;
mod saving;
mod serve;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use crate::board::{BoardId, Family, Site};
use crate::clock::Timestamp;
use crate::id::RunId;
use crate::lease::Holder;
use crate::run::{BOARDS_MAX, Priority, Selector};

pub use estimate::DURATIONS_MAX;
pub use explain::{AHEAD_MAX, CHOICES_MAX, Foreseen, Held, LISTED_MAX, Position, Why};
pub use order::REQUESTERS_IDLE_MAX;
pub use pool::POOLS_IDLE_MAX;
pub use saving::{SAVE_DOUBLINGS_MAX, SAVE_FOR, STARVED_AFTER};
pub use serve::{CouldServe, Misfit, NEAR_MAX, could_serve};

use estimate::Durations;
use order::{Class, ClassId, ClassKey, Offer, Requester, RequesterId, Turn};
use pool::{BoardState, FamilyState, Pool, PoolId};
use saving::Saving;

/// Most boards that a run avoids; of a longer list the last ones count.
pub const AVOID_MAX: usize = 16;

/// What the queue is told. Each says what is; applied twice it changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum QueueEvent {
    /// The lab has this board. New, it is free until [`QueueEvent::BoardChanged`] says otherwise.
    BoardAdded(BoardFacts),
    /// Whether a board may be granted.
    BoardChanged {
        /// The board; an unknown one changes nothing.
        board: BoardId,
        /// Whether it may be granted, and why not.
        availability: Availability,
        /// When its last lease ended; an earlier time than is known changes nothing.
        last_used: Option<Timestamp>,
    },
    /// Whether a board takes nothing new, whoever has it now.
    BoardDrained {
        /// The board; an unknown one changes nothing.
        board: BoardId,
        /// Why and until when; `None` where it takes new work again.
        draining: Option<Draining>,
    },
    /// The lab has this board no more.
    BoardRemoved {
        /// The board.
        board: BoardId,
    },
    /// A run waits.
    RunQueued(Box<QueuedRun>),
    /// A run waits no more: granted elsewhere, cancelled, finished.
    RunLeft {
        /// The run.
        run: RunId,
    },
    /// A proposed grant did not happen: the run waits as before.
    GrantRefused {
        /// The run.
        run: RunId,
    },
    /// A run has its boards: it waits no more, and they count for its requester.
    RunStarted {
        /// The run.
        run: RunId,
        /// Whose it is.
        requester: String,
        /// How many boards it holds.
        boards: u32,
    },
    /// A run's boards count for its requester no more.
    RunEnded {
        /// The run.
        run: RunId,
    },
    /// How long an attempt took, for estimates.
    DurationSeen {
        /// The run; with `attempt` it tells a repeat.
        run: RunId,
        /// Its attempt, from 1.
        attempt: u32,
        /// The kind of board.
        family: Family,
        /// The suite.
        suite: String,
        /// From grant to outcome.
        took: Duration,
    },
}

/// What the queue knows of a board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoardFacts {
    /// Its name.
    pub id: BoardId,
    /// Its kind.
    pub family: Family,
    /// Its revision.
    pub revision: Option<String>,
    /// Where it stands.
    pub site: Site,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Whether it is driven by a worker of its site.
    pub remote: bool,
    /// When its last lease ended; `None` when it never had one.
    pub last_used: Option<Timestamp>,
}

/// Whether a board may be granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    /// Nobody has it.
    Free,
    /// Somebody has it.
    Busy {
        /// Who.
        holder: Holder,
        /// Until when, where that is known: a person's reservation.
        until: Option<Timestamp>,
        /// What for, where they said.
        reason: String,
        /// The run of a person's own that is on the board which they have.
        run: Option<i64>,
    },
    /// Nobody gets it.
    Unavailable(Unavailable),
}

/// Why nobody gets a board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unavailable {
    /// Taken out of service, by a person or by its own failures.
    Quarantined {
        /// Why, as it was given.
        reason: String,
    },
    /// It cannot be reached.
    Offline,
    /// It, or its site, takes nothing new.
    Draining(Draining),
    /// No worker is alive at its site.
    NoWorker,
    /// The worker of its site has as many boards as it takes.
    WorkerFull,
}

/// Why a board takes nothing new, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draining {
    /// Why, as it was given.
    pub reason: String,
    /// Until when, where that is known.
    pub until: Option<Timestamp>,
}

/// A run that waits.
#[derive(Debug, Clone, PartialEq)]
pub struct QueuedRun {
    /// Its id.
    pub run: RunId,
    /// Its number.
    pub number: i64,
    /// The attempt it waits for, from 1.
    pub attempt: u32,
    /// The kind of board.
    pub family: Family,
    /// The suite, for estimates.
    pub suite: String,
    /// Which boards of the family may serve.
    pub selector: Selector,
    /// Its place in the queue.
    pub priority: Priority,
    /// Whose it is ([`Actor::key`](crate::chat::Actor::key)).
    pub requester: String,
    /// How many boards at once, 1 to [`BOARDS_MAX`].
    pub boards: u32,
    /// Since when it waits.
    pub since: Timestamp,
    /// Boards that failed it; at most [`AVOID_MAX`] count.
    pub avoid: Vec<BoardId>,
    /// For how long it has its board, where that is known before: it is no run but a person's reservation.
    pub lasts: Option<Duration>,
    /// Most boards that its requester has at once; whoever has so many waits, whatever is free.
    pub most: Option<u32>,
}

/// Boards proposed for a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The run.
    pub run: RunId,
    /// The attempt it waits for.
    pub attempt: u32,
    /// As many boards as it asked for, of one site, least recently used first; its plan drives the first.
    pub boards: Vec<BoardId>,
}

/// Who waits, what for, and who is next. Holds as many runs as the store has waiting; see the module.
#[derive(Debug, Clone, Default)]
pub struct Queue {
    boards: HashMap<BoardId, BoardState>,
    families: HashMap<Family, FamilyState>,
    pools: HashMap<PoolId, Pool>,
    pool_ids: HashMap<(Family, Selector), PoolId>,
    /// Pools without a class, longest first.
    pools_idle: VecDeque<PoolId>,
    classes: HashMap<ClassId, Class>,
    class_ids: HashMap<ClassKey, ClassId>,
    /// The best run of every class that a free board could serve, and runs that have saved enough boards.
    ready: BTreeSet<Offer>,
    waiting: HashMap<RunId, Waiting>,
    /// Boards set aside for a proposal.
    proposed: HashMap<BoardId, RunId>,
    /// Boards on which a run of whoever has them may be due.
    own: BTreeSet<BoardId>,
    running: HashMap<RunId, Running>,
    requesters: HashMap<RequesterId, Requester>,
    requester_ids: HashMap<String, RequesterId>,
    /// Requesters with nothing waiting or running, longest served first: remembered for their turn.
    requesters_idle: BTreeSet<(u64, RequesterId)>,
    /// Families with runs that want several boards.
    gathering: BTreeSet<Family>,
    savings: HashMap<Family, Saving>,
    durations: Durations,
    /// Counts what was served; a requester's stamp says when it was its turn.
    served: u64,
    /// The last id given to a pool, class or requester.
    last_id: u64,
}

/// A run that waits, and where it is indexed.
#[derive(Debug, Clone)]
struct Waiting {
    run: QueuedRun,
    class: ClassId,
    requester: RequesterId,
    /// What it is proposed for; then it is in no class.
    proposal: Option<Vec<BoardId>>,
    /// How often it saved boards in vain.
    saves: u32,
}

/// A run that has its boards.
#[derive(Debug, Clone)]
struct Running {
    requester: RequesterId,
    boards: u32,
    /// Its family and suite, where it waited here before.
    kind: Option<(Family, String)>,
}

impl Queue {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many runs wait, those proposed among them.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no run waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whose a waiting run is.
    pub fn requester(&self, run: RunId) -> Option<&str> {
        self.waiting.get(&run).map(|waiting| waiting.run.requester.as_str())
    }

    /// How many runs and reservations of somebody wait.
    pub fn waiting_of(&self, requester: &str) -> usize {
        let requester = self.requester_ids.get(requester).and_then(|id| self.requesters.get(id));
        requester.map_or(0, |requester| requester.queued)
    }

    /// How many boards somebody has, or is being given.
    pub fn boards_of(&self, requester: &str) -> u32 {
        let requester = self.requester_ids.get(requester).and_then(|id| self.requesters.get(id));
        requester.map_or(0, |requester| requester.in_use)
    }

    /// Whether it is no run that waits, but a person's reservation.
    pub fn is_reservation(&self, run: RunId) -> bool {
        self.waiting.get(&run).is_some_and(|waiting| waiting.run.lasts.is_some())
    }

    /// Takes in what is.
    pub fn apply(&mut self, event: QueueEvent) {
        match event {
            QueueEvent::BoardAdded(facts) => self.board_add(facts),
            QueueEvent::BoardChanged { board, availability, last_used } => {
                self.board_update(&board, |state| {
                    state.availability = availability;
                    state.facts.last_used = state.facts.last_used.max(last_used);
                });
                self.own_refresh(&board);
            }
            QueueEvent::BoardDrained { board, draining } => {
                self.board_update(&board, |state| state.draining = draining);
            }
            QueueEvent::BoardRemoved { board } => {
                self.board_remove(&board);
            }
            QueueEvent::RunQueued(run) => self.run_queue(*run),
            QueueEvent::RunLeft { run } => {
                self.run_leave(run);
            }
            QueueEvent::GrantRefused { run } => {
                if self.proposal_drop(run).is_some() {
                    self.wait(run);
                }
            }
            QueueEvent::RunStarted { run, requester, boards } => self.run_start(run, &requester, boards),
            QueueEvent::RunEnded { run } => self.run_end(run),
            QueueEvent::DurationSeen { run, attempt, family, suite, took } => {
                self.durations.seen(family, suite, (run, attempt), took);
            }
        }
    }

    /// At most `limit` grants, best first, each set aside until the caller says how it ended.
    pub fn grants(&mut self, now: Timestamp, limit: usize) -> Vec<Grant> {
        self.savings_step(now);
        let mut grants = Vec::new();
        while grants.len() < limit {
            let Some(board) = self.own.pop_first() else { break };
            if let Some((run, board)) = self.own_due(&board).map(|run| (run, board)) {
                grants.push(self.propose(run, vec![board], now));
            }
        }
        while grants.len() < limit {
            let Some(offer) = self.ready.first().copied() else {
                break;
            };
            let Some(boards) = self.pick_for(&offer) else {
                debug_assert!(false, "a run is ready only while its boards are free");
                self.ready.remove(&offer);
                continue;
            };
            if offer.key.turn == Turn::Usual
                && let Some(waiting) = self.waiting.get(&offer.key.run)
                && let Some(state) = self.families.get_mut(&waiting.run.family)
            {
                state.rest_boards = state.rest_boards.saturating_sub(boards.len());
            }
            grants.push(self.propose(offer.key.run, boards, now));
        }
        grants
    }

    /// Sets a run and its boards aside.
    fn propose(&mut self, run: RunId, boards: Vec<BoardId>, now: Timestamp) -> Grant {
        self.unwait(run);
        for board in &boards {
            self.proposed.insert(board.clone(), run);
            self.board_update(board, |state| state.proposed = true);
        }
        let waiting = self.waiting.get_mut(&run).expect("only waiting runs are offered");
        waiting.proposal = Some(boards.clone());
        let (requester, attempt) = (waiting.requester, waiting.run.attempt);
        let family = waiting.run.family.clone();
        self.account(requester, boards.len() as i64, true);
        self.saving_settle(&family, now);
        Grant { run, attempt, boards }
    }

    fn run_queue(&mut self, mut run: QueuedRun) {
        run.boards = run.boards.clamp(1, BOARDS_MAX);
        run.avoid.drain(..run.avoid.len().saturating_sub(AVOID_MAX));
        run.avoid.sort();
        run.avoid.dedup();
        if self.waiting.get(&run.run).is_some_and(|waiting| waiting.run == run) {
            return;
        }
        self.run_leave(run.run);
        self.run_end(run.run);
        let id = run.run;
        let class = self.class_of(&run);
        let requester = self.requester_of(&run.requester);
        self.requester_limit(requester, run.most);
        self.requester_hold(requester, 1);
        self.requesters.get_mut(&requester).expect("made above").queued += 1;
        self.waiting.insert(id, Waiting { run, class, requester, proposal: None, saves: 0 });
        self.wait(id);
    }

    /// Forgets a waiting run, and frees what was set aside for it.
    fn run_leave(&mut self, run: RunId) -> Option<Waiting> {
        if self.proposal_drop(run).is_none() {
            self.unwait(run);
        }
        let waiting = self.waiting.remove(&run)?;
        self.class_release(waiting.class);
        let requester = self.requesters.get_mut(&waiting.requester);
        requester.expect("a run names only requesters that are there").queued -= 1;
        self.requester_hold(waiting.requester, -1);
        Some(waiting)
    }

    fn run_start(&mut self, run: RunId, requester: &str, boards: u32) {
        let boards = boards.clamp(1, BOARDS_MAX);
        let proposal = self.waiting.get(&run).and_then(|waiting| waiting.proposal.clone());
        if let (Some(waiting), Some(proposal)) = (self.waiting.get(&run), &proposal) {
            let (number, attempt) = (waiting.run.number, waiting.run.attempt);
            for board in proposal {
                // The store will say so too; until then nobody else is offered what was just granted.
                let holder = Holder::Run { run, number, attempt };
                self.board_update(board, |state| {
                    if state.availability == Availability::Free {
                        state.availability =
                            Availability::Busy { holder, until: None, reason: String::new(), run: None };
                    }
                });
            }
        }
        let left = self.run_leave(run);
        let requester = self.requester_of(requester);
        let before = self.running.remove(&run);
        // A proposal was stamped when it was made; what another replica granted is stamped now.
        let stamp = before.is_none() && proposal.is_none();
        let kind = match (left, &before) {
            (Some(left), _) => Some((left.run.family, left.run.suite)),
            (None, Some(before)) => before.kind.clone(),
            (None, None) => None,
        };
        self.requester_hold(requester, 1);
        self.account(requester, i64::from(boards), stamp);
        if let Some(before) = before {
            self.account(before.requester, -i64::from(before.boards), false);
            self.requester_hold(before.requester, -1);
        }
        self.running.insert(run, Running { requester, boards, kind });
    }

    fn run_end(&mut self, run: RunId) {
        if let Some(running) = self.running.remove(&run) {
            self.account(running.requester, -i64::from(running.boards), false);
            self.requester_hold(running.requester, -1);
        }
    }

    /// Frees what was set aside for a run; the run is in no class afterwards. `None` when nothing was.
    fn proposal_drop(&mut self, run: RunId) -> Option<()> {
        let waiting = self.waiting.get_mut(&run)?;
        let boards = waiting.proposal.take()?;
        let requester = waiting.requester;
        for board in &boards {
            self.proposed.remove(board);
            self.board_update(board, |state| state.proposed = false);
            self.own_refresh(board);
        }
        self.account(requester, -(boards.len() as i64), false);
        Some(())
    }

    /// An id that was never given before.
    fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}
