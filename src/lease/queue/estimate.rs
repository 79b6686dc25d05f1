//! When a run will probably begin, from how long runs of the same kind took. Pure; an estimate and no promise.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use super::explain::AHEAD_MAX;
use super::pool::BoardState;
use super::{Availability, Queue, QueuedRun};
use crate::board::Family;
use crate::clock::Timestamp;
use crate::id::RunId;
use crate::lease::Holder;

/// How many of the last attempts per family and suite are remembered.
pub const DURATIONS_MAX: usize = 20;
/// Most kinds of runs (family and suite) that are remembered; more are not estimated.
const KINDS_MAX: usize = 4_096;

/// How long the last attempts took, per family and suite.
#[derive(Debug, Clone, Default)]
pub(super) struct Durations(HashMap<(Family, String), VecDeque<Took>>);

/// How long one attempt took.
#[derive(Debug, Clone)]
struct Took {
    attempt: (RunId, u32),
    took: Duration,
}

impl Durations {
    /// Takes in how long an attempt took, once.
    pub(super) fn seen(&mut self, family: Family, suite: String, attempt: (RunId, u32), took: Duration) {
        let key = (family, suite);
        if self.0.len() >= KINDS_MAX && !self.0.contains_key(&key) {
            return;
        }
        let last = self.0.entry(key).or_default();
        if last.iter().any(|known| known.attempt == attempt) {
            return;
        }
        last.push_back(Took { attempt, took });
        if last.len() > DURATIONS_MAX {
            last.pop_front();
        }
    }

    /// The median of a kind of run; the lower one of two.
    fn median(&self, family: &Family, suite: &str) -> Option<Duration> {
        let last = self.0.get(&(family.clone(), suite.to_owned()))?;
        let mut sorted: Vec<Duration> = last.iter().map(|known| known.took).collect();
        sorted.sort();
        sorted.get(sorted.len().saturating_sub(1) / 2).copied()
    }

    /// The longest median of a family's suites, for a run whose suite is not known.
    fn longest(&self, family: &Family) -> Option<Duration> {
        self.0.keys().filter(|(of, _)| of == family).filter_map(|(of, suite)| self.median(of, suite)).max()
    }
}

impl Queue {
    /// In how long a run will probably begin: at the earliest, if boards held by runs come free at once and only runs
    /// of its own class are before it; at the latest, if those have just begun and every run before it takes a board
    /// it could use. `None` when it does not wait, more than [`AHEAD_MAX`] are before it, nothing is known of how
    /// long such runs take, or too few boards will come free.
    pub fn eta(&self, run: RunId, now: Timestamp) -> Option<(Duration, Duration)> {
        let waiting = self.waiting.get(&run)?;
        if waiting.proposal.is_some() || self.is_own_due(waiting) {
            return Some((Duration::ZERO, Duration::ZERO));
        }
        if self.own_line(waiting).is_some() {
            return None;
        }
        let class = self.classes.get(&waiting.class)?;
        // Nobody knows when somebody gives back what is theirs.
        if !self.requesters[&waiting.requester].has_room(class.wants) {
            return None;
        }
        let ahead = self.ahead(waiting);
        if ahead.len() >= AHEAD_MAX {
            return None;
        }
        let (mut low, mut high) = (BinaryHeap::new(), BinaryHeap::new());
        for (soonest, latest) in self.eligible(class).filter_map(|board| self.comes_free(board, now)) {
            low.push(Reverse(soonest));
            high.push(Reverse(latest?));
        }
        for before in ahead.iter().filter_map(|run| self.waiting.get(run)) {
            let took = self.takes(&before.run)?;
            let wants = before.run.boards as usize;
            if before.class == waiting.class {
                serve(&mut low, wants, took);
            }
            serve(&mut high, wants, took);
        }
        let low = serve(&mut low, class.wants, Duration::ZERO)?;
        let high = serve(&mut high, class.wants, Duration::ZERO)?;
        Some((low, high.max(low)))
    }

    /// How long a run will have its boards, as far as is known.
    fn takes(&self, run: &QueuedRun) -> Option<Duration> {
        run.lasts.or_else(|| self.durations.median(&run.family, &run.suite))
    }

    /// In how long a board comes free, at the earliest and at the latest: the latter `None` when nothing is known
    /// of its run. `None` when it does not, as far as is known.
    fn comes_free(&self, board: &BoardState, now: Timestamp) -> Option<(Duration, Option<Duration>)> {
        match &board.availability {
            // Not for anybody who waits.
            _ if board.draining.is_some() => None,
            Availability::Unavailable(_) => None,
            Availability::Busy { until: Some(until), .. } => {
                let left = until.since(now);
                Some((left, Some(left)))
            }
            Availability::Busy { holder: Holder::Run { run, .. }, until: None, .. } => {
                let kind = self.running.get(run).and_then(|running| running.kind.as_ref());
                let took = kind.and_then(|(family, suite)| self.durations.median(family, suite));
                Some((Duration::ZERO, took.or_else(|| self.durations.longest(&board.facts.family))))
            }
            Availability::Busy { holder: Holder::Person(_), until: None, .. } => None,
            Availability::Busy { holder: Holder::Check(_), until: None, .. } => {
                Some((Duration::ZERO, Some(Duration::ZERO)))
            }
            Availability::Free => {
                match self.proposed.get(&board.facts.id).and_then(|run| self.waiting.get(run)) {
                    None => Some((Duration::ZERO, Some(Duration::ZERO))),
                    Some(w) => Some((Duration::ZERO, self.takes(&w.run))),
                }
            }
        }
    }
}

/// Lets a run have the boards that come free first; gives when it begins. More boards than there are never come.
fn serve(boards: &mut BinaryHeap<Reverse<Duration>>, wants: usize, took: Duration) -> Option<Duration> {
    if boards.len() < wants {
        return None;
    }
    let mut begins = Duration::ZERO;
    for _ in 0..wants {
        begins = begins.max(boards.pop()?.0);
    }
    boards.extend(std::iter::repeat_n(Reverse(begins.saturating_add(took)), wants));
    Some(begins)
}
