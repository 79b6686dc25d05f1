//! Runs on boards that their own requester has: they name the board, and are served at once under the lease that is there,
//! one at a time. Looks only at boards of which something has changed.

use super::pool::BoardState;
use super::{Availability, Queue, Waiting};
use crate::board::BoardId;
use crate::id::RunId;
use crate::lease::Holder;
use crate::run::Priority;

impl Queue {
    /// Something has changed about a board, or about a run that names it.
    pub(super) fn own_refresh(&mut self, board: &BoardId) {
        if self.own_requester(board).is_some() {
            self.own.insert(board.clone());
        }
    }

    /// The first run of whoever has this board that is to run on it, while nothing else of theirs does.
    pub(super) fn own_due(&self, board: &BoardId) -> Option<RunId> {
        let requester = self.own_requester(board)?;
        self.own_runs(board, &requester).min().map(|(.., run)| run)
    }

    /// Whether a run is the next on a board that its own requester has.
    pub(super) fn is_own_due(&self, waiting: &Waiting) -> bool {
        let board = waiting.run.selector.board.as_ref();
        board.and_then(|board| self.own_due(board)) == Some(waiting.run.run)
    }

    /// The board that a run waits for where its own requester has it, and how many of theirs are before it there.
    pub(super) fn own_line(&self, waiting: &Waiting) -> Option<(&BoardState, usize)> {
        let run = &waiting.run;
        let board = self.boards.get(run.selector.board.as_ref()?)?;
        let Availability::Busy { holder: Holder::Person(person), .. } = &board.availability else {
            return None;
        };
        let mine = (run.priority, run.number, run.run);
        let is_theirs = person.key() == run.requester && run.boards == 1 && run.lasts.is_none();
        let before = || self.own_runs(&board.facts.id, &run.requester).filter(|other| *other < mine).count();
        (is_theirs && board.pools.iter().any(|pool| self.pools[pool].classes.contains(&waiting.class)))
            .then(|| (board, before()))
    }

    /// The runs of somebody that name this board and nothing beside it, and wait.
    fn own_runs(&self, board: &BoardId, requester: &str) -> impl Iterator<Item = (Priority, i64, RunId)> {
        let requester = self.requester_ids.get(requester).copied();
        let pools = self.boards.get(board).into_iter().flat_map(|board| &board.pools);
        let pools = pools.filter_map(|pool| self.pools.get(pool));
        let named = pools.filter(move |pool| pool.selector.board.as_ref() == Some(board));
        let classes = named.flat_map(|pool| &pool.classes).filter_map(|class| self.classes.get(class));
        let of_one = classes.filter(|class| class.wants == 1);
        let runs = of_one.filter_map(move |class| class.waiting.get(&requester?)).flatten().copied();
        runs.filter(|(.., run)| self.waiting.get(run).is_some_and(|waiting| waiting.run.lasts.is_none()))
    }

    /// Whose the board is, while no run of theirs is on it or about to be.
    fn own_requester(&self, board: &BoardId) -> Option<String> {
        let board = self.boards.get(board).filter(|board| !board.proposed)?;
        match &board.availability {
            Availability::Busy { holder: Holder::Person(person), run: None, .. } => Some(person.key()),
            Availability::Busy { .. } | Availability::Free | Availability::Unavailable(_) => None,
        }
    }
}
