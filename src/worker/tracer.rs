//! The tracer: the loop that gives the traces of runs to a collector, where one is named. A run is one trace, from the
//! delivery that asked for it to the last message that told its end, made of what the store keeps of it once it is over:
//! nothing waits for a collector, and one that is away costs nothing but traces.
//!
//! What is given is at most given again with the same ids, after a restart too; what waits is bounded, and the oldest goes.

mod spans;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::runner::Lab;
use super::steps::{Agent, LOOK_ANYWAY, LOOK_EVERY, Step};
use crate::board::BoardId;
use crate::clock::{Monotonic, Timestamp};
use crate::config::TraceSettings;
use crate::doorbell::Bell;
use crate::net::outward::{Outward, OutwardRequest};
use crate::net::{Method, NetError};
use crate::run::RunState;
use crate::store::{Happened, StoreError};

/// Most events of one look.
const EVENTS_MAX: u32 = 500;
/// Most runs that wait for the collector; beyond them the oldest are not traced.
pub const WAITING_MAX: usize = 1_000;
/// Most runs of one request.
const TOGETHER_MAX: usize = 20;
/// Most steps of one run that are looked at.
const STEPS_MAX: u32 = 1_000;
/// How long a run may wait for its messages to be told and its board to come to rest.
const COMPLETE_WITHIN: Duration = Duration::from_secs(60);
/// Longest wait for the collector's answer.
const WITHIN: Duration = Duration::from_secs(5);
/// The pause after it did not answer; twice as long each time, up to the second.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Gives traces to a collector.
pub struct Tracer {
    lab: Arc<Lab>,
    to: TraceSettings,
    outward: Outward,
    looked_to: Option<i64>,
    waiting: Waiting,
    /// Until when the collector is left alone, and how long the pause was.
    away: Option<(Monotonic, Duration)>,
}

/// Runs that are over and not given yet, the oldest first but for those that were looked at; [`WAITING_MAX`] of them.
#[derive(Debug, Default)]
struct Waiting(VecDeque<Ended>);

/// A run that is over, as its events tell of it.
#[derive(Debug, Clone)]
struct Ended {
    run: i64,
    at: Timestamp,
    /// The board that it was on.
    board: Option<BoardId>,
    /// When that was free again.
    freed: Option<Timestamp>,
}

impl Waiting {
    /// Takes in what happened; gives how many runs have no place any more.
    fn note(&mut self, events: &[Happened]) -> usize {
        for event in events {
            match (event.kind.as_str(), event.run) {
                ("settled" | "withdrawn", Some(run)) => {
                    self.0.retain(|ended| ended.run != run);
                    let board = event.board.clone();
                    self.0.push_back(Ended { run, at: event.at, board, freed: None });
                }
                ("released", _) if event.board.is_some() => {
                    let on_it = self.0.iter_mut().filter(|ended| ended.board == event.board);
                    on_it.for_each(|ended| ended.freed = ended.freed.or(Some(event.at)));
                }
                _ => {}
            }
        }
        let over = self.0.len().saturating_sub(WAITING_MAX);
        for _ in 0..over {
            // They stand in the order in which they were looked at.
            let oldest = self.0.iter().enumerate().min_by_key(|(_, ended)| ended.at).map(|(index, _)| index);
            oldest.map(|index| self.0.remove(index));
        }
        over
    }

    /// The next one: each has its turn, whoever else is not complete.
    fn next(&mut self) -> Option<Ended> {
        let next = self.0.pop_front()?;
        self.0.push_back(next.clone());
        Some(next)
    }
}

impl Tracer {
    /// A tracer of this lab.
    pub fn new(lab: Arc<Lab>, to: TraceSettings) -> Self {
        let outward = Outward::default();
        Tracer { lab, to, outward, looked_to: None, waiting: Waiting::default(), away: None }
    }

    /// Notes the runs that ended since the last look; gives whether there may be more.
    async fn gather(&mut self) -> Result<bool, StoreError> {
        let store = &self.lab.store;
        let from = match self.looked_to {
            Some(to) => to,
            // Where others who are told begin again after a restart: a few runs are given twice.
            None => store.call_read_to().await?,
        };
        let events = store.call_events(from, EVENTS_MAX).await?;
        self.looked_to = Some(events.last().map_or(from, |event| event.seq));
        let over = self.waiting.note(&events);
        if over > 0 {
            tracing::warn!(
                runs = over,
                "the collector of traces does not keep up: the oldest runs are not traced"
            );
        }
        Ok(events.len() >= EVENTS_MAX as usize)
    }

    /// The spans of those that are complete, and which these are: they wait no more once they are given.
    async fn complete(&mut self) -> Result<(Vec<Value>, Vec<i64>), StoreError> {
        let (mut all, mut done) = (vec![], vec![]);
        for _ in 0..TOGETHER_MAX.min(self.waiting.0.len()) {
            let Some(ended) = self.waiting.next() else { break };
            let run = ended.run;
            match self.spans(&ended).await {
                Ok(None) => {}
                Ok(Some(spans)) => {
                    all.extend(spans);
                    done.push(run);
                }
                Err(error) if error.is_lasting() => {
                    tracing::error!(%error, run.number = run, "this run is not traced");
                    done.push(run);
                }
                Err(error) => return Err(error),
            }
        }
        Ok((all, done))
    }

    /// The spans of a run; none where it is tried again or is the lab's own, nothing where more of it is to come.
    async fn spans(&self, ended: &Ended) -> Result<Option<Vec<Value>>, StoreError> {
        let (store, number) = (&self.lab.store, ended.run);
        let Some(view) = store.run_view(number).await? else { return Ok(Some(vec![])) };
        if !view.run.spec.kind.is_test() || !matches!(view.run.state, RunState::Finished { .. }) {
            return Ok(Some(vec![]));
        }
        let told = store.run_told(number).await?;
        // A board that somebody keeps comes free when they give it back, which is no part of the run.
        let is_kept = view.is_own || view.keep.is_some();
        let is_at_rest = ended.board.is_none() || is_kept || ended.freed.is_some();
        let is_late = self.lab.clock.now().since(ended.at) >= COMPLETE_WITHIN;
        if !is_late && (told.owed || !is_at_rest) {
            return Ok(None);
        }
        let steps = store.run_steps(number, 0, STEPS_MAX).await?;
        Ok(Some(spans::of_run(&view, &steps, ended.freed.filter(|_| !is_kept), told.last)))
    }

    /// Gives spans to the collector; gives whether that is done with, also where it will never take them.
    async fn give(&self, spans: Vec<Value>) -> bool {
        let headers: Vec<(&str, String)> = self
            .to
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.expose_secret().into()))
            .collect();
        let request = OutwardRequest {
            method: Method::POST,
            url: &self.to.url,
            headers: &headers,
            body: Some(spans::request(&self.to.service, spans).to_string()),
            private: true,
            within: WITHIN,
        };
        match self.outward.send(request).await {
            Ok(reply) if (200..300).contains(&reply.status) => true,
            Ok(reply) => {
                let again = matches!(reply.status, 408 | 429 | 500..=599);
                tracing::warn!(status = reply.status, again, "the collector does not take traces");
                !again
            }
            Err(error) => {
                tracing::warn!(%error, "traces do not reach the collector");
                matches!(error, NetError::Address(_))
            }
        }
    }
}

#[async_trait]
impl Agent for Tracer {
    fn name(&self) -> &'static str {
        "tracer"
    }

    fn bell(&self) -> Option<Bell> {
        None
    }

    async fn step(&mut self) -> Result<Step, StoreError> {
        if self.gather().await? {
            return Ok(Step::Worked);
        }
        let now = self.lab.clock.monotonic();
        if let Some((until, _)) = self.away.filter(|(until, _)| now < *until) {
            return Ok(Step::Idle { until });
        }
        let (spans, done) = self.complete().await?;
        let is_given = spans.is_empty() || self.give(spans).await;
        if !is_given {
            let pause = self.away.map_or(PAUSES.0, |(_, last)| (last * 2).min(PAUSES.1));
            self.away = Some((self.lab.clock.monotonic() + pause, pause));
            return Ok(Step::Idle { until: self.lab.clock.monotonic() + pause });
        }
        self.away = None;
        self.waiting.0.retain(|ended| !done.contains(&ended.run));
        let pause = match (done.is_empty(), self.waiting.0.is_empty()) {
            (false, false) => return Ok(Step::Worked),
            (_, false) => LOOK_EVERY,
            (_, true) => LOOK_ANYWAY,
        };
        Ok(Step::Idle { until: self.lab.clock.monotonic() + pause })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: i64, kind: &str, run: Option<i64>, board: &str) -> Happened {
        let board = Some(board).filter(|board| !board.is_empty()).map(BoardId::new);
        let (at, kind, facts) = (Timestamp::from_micros(seq), kind.to_owned(), Value::Null);
        Happened { seq, at, kind, run, board, facts, callback: None }
    }

    #[test]
    fn so_many_runs_wait_and_the_oldest_has_no_place_then() {
        let mut waiting = Waiting::default();
        let most = i64::try_from(WAITING_MAX).expect("a number");
        let settled = |run| event(run, "settled", Some(run), "a");
        assert_eq!(waiting.note(&(1..=most).map(settled).collect::<Vec<_>>()), 0);
        assert_eq!(waiting.note(&[settled(most)]), 0, "it waits already");
        assert_eq!(waiting.next().map(|ended| ended.run), Some(1), "it is looked at, and waits on");
        assert_eq!(waiting.note(&[settled(most + 1)]), 1);
        assert_eq!(waiting.0.len(), WAITING_MAX);
        assert!(!waiting.0.iter().any(|ended| ended.run == 1), "the oldest went");
    }

    #[test]
    fn a_run_is_at_rest_once_its_board_is_free_and_each_has_its_turn() {
        let mut waiting = Waiting::default();
        waiting.note(&[
            event(1, "released", None, "a"),
            event(2, "settled", Some(1), "a"),
            event(3, "withdrawn", Some(2), ""),
            event(4, "released", None, "b"),
            event(5, "released", None, "a"),
            event(6, "released", None, "a"),
        ]);
        let [first, second, again] = [(); 3].map(|()| waiting.next().expect("one"));
        assert_eq!((first.run, first.freed), (1, Some(Timestamp::from_micros(5))));
        assert_eq!((second.run, second.freed, again.run), (2, None, 1));
    }
}
