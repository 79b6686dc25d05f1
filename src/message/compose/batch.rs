//! A batch's facts: the runs of one command with `x3`, for their common card and the answers about them. A line for
//! each run; what a run's own card tells stays there.

use serde_json::{Value, json};

use super::{Composer, counts_facts, named};
use crate::chat::Place;
use crate::clock::Timestamp;
use crate::message::{Card, Note};
use crate::outcome::Verdict;
use crate::run::{Request, Run, RunState, Stage};
use crate::store::{BatchRun, BatchView};

/// Verdicts in the order of a batch's totals.
const VERDICTS: [Verdict; 5] =
    [Verdict::Passed, Verdict::Failed, Verdict::TimedOut, Verdict::Infra, Verdict::Cancelled];
/// What decides how a batch looks, worst first: that somebody ended a run says less than that one broke.
const WORST: [Verdict; 5] =
    [Verdict::Failed, Verdict::TimedOut, Verdict::Infra, Verdict::Cancelled, Verdict::Passed];
/// Stages on a board, the farthest first.
const STAGES: [Stage; 6] =
    [Stage::Collecting, Stage::Testing, Stage::Deploying, Stage::Booting, Stage::Powering, Stage::Leased];

impl Composer {
    /// A batch's card in its newest state.
    pub fn batch_card(&self, view: &BatchView, place: &Place) -> Card {
        self.note(&Note::new("batch-card", self.batch_facts(view)), place)
    }

    /// Why the runs of a batch wait: its facts, and `why` of each that does.
    pub fn batch_why(&self, view: &BatchView) -> Note {
        let mut facts = self.batch_facts(view);
        for (row, of) in facts["runs"].as_array_mut().into_iter().flatten().zip(&view.runs) {
            row["why"] = self.why.why_waiting(&of.run);
        }
        Note::new("batch-why", facts)
    }

    /// Everything a message about a batch may say.
    pub fn batch_facts(&self, view: &BatchView) -> Value {
        let states = || view.runs.iter().map(|of| &of.run.state);
        let waiting = states().filter(|state| matches!(state, RunState::Queued { .. })).count();
        let active = states().filter(|state| matches!(state, RunState::Active { .. })).count();
        let finished = waiting + active == 0;
        let ended =
            |state: &RunState| if let RunState::Finished { at, .. } = state { Some(*at) } else { None };
        let last: Option<Timestamp> = states().filter_map(ended).max();
        let worst = WORST.into_iter().find(|verdict| states().any(|state| state.verdict() == Some(*verdict)));
        let numbers = || view.runs.iter().map(|of| of.run.number);
        json!({
            "run": view.runs.first().map(|of| named(&of.run)),
            "batch": {
                "first": numbers().next(),
                "last": numbers().next_back(),
                "count": view.runs.len(),
                "totals": totals(view),
                "waiting": waiting,
                "active": active,
                "finished": finished,
                "verdict": worst.map(|verdict| verdict.as_str()),
            },
            "runs": view.runs.iter().map(|of| self.batch_row(of)).collect::<Vec<_>>(),
            "created_at": view.runs.first().map(|of| of.run.created_at),
            "finished_at": last.filter(|_| finished),
            "generation": view.generation,
            "can": {
                "cancel_all": view.runs.iter().any(|of| is_endable(&of.run)),
                "why_all": waiting > 0,
            },
        })
    }

    fn batch_row(&self, of: &BatchRun) -> Value {
        let run = &of.run;
        let outcome = match &run.state {
            RunState::Finished { outcome, .. } => Some(outcome),
            RunState::Queued { .. } | RunState::Active { .. } => None,
        };
        let (attempt, board) = of.last.as_ref().map(|(attempt, board)| (*attempt, board)).unzip();
        json!({
            "number": run.number,
            "state": run.state.word(),
            "verdict": outcome.map(|o| o.verdict.as_str()),
            "cause": outcome.map(|o| o.cause.as_str()),
            // Where it waits again, the board is one that failed it.
            "board": board.filter(|_| !matches!(run.state, RunState::Queued { .. })),
            "counts": counts_facts(outcome.map_or(of.progress.counts, |o| o.counts)),
            "request": run.request,
            "log_url": attempt.map(|attempt| self.links.log(run.number, attempt)),
            "retried_as": of.retried_as,
        })
    }
}

/// Whether somebody can still ask to end it.
fn is_endable(run: &Run) -> bool {
    !matches!(run.state, RunState::Finished { .. }) && !matches!(run.request, Some(Request::Cancel { .. }))
}

/// How many runs ended how, are in which stage, and wait: `{word, count}` for each that there is.
fn totals(view: &BatchView) -> Vec<Value> {
    let words = VERDICTS.iter().map(|verdict| verdict.as_str()).chain(STAGES.iter().map(|s| s.as_str()));
    let word_of = |run: &Run| run.state.verdict().map_or_else(|| run.state.word(), |v| v.as_str());
    let count = |word: &str| view.runs.iter().filter(|of| word_of(&of.run) == word).count();
    words
        .chain(std::iter::once(Stage::Queued.as_str()))
        .map(|word| (word, count(word)))
        .filter(|(_, count)| *count > 0)
        .map(|(word, count)| json!({ "word": word, "count": count }))
        .collect()
}
