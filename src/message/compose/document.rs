//! A run as programs read it: over the API, and in what they are told of it. Times are RFC 3339 in UTC.

use serde_json::{Value, json};

use super::Composer;
use crate::clock::Timestamp;
use crate::outcome::CaseStatus;
use crate::run::{Run, RunState};
use crate::store::RunView;

/// Most names of test cases that a run is told with; its report has all.
const FAILED_CASES_MAX: usize = 50;

impl Composer {
    /// A run in a list.
    pub fn run_row(&self, run: &Run) -> Value {
        let (board, outcome) = match &run.state {
            RunState::Queued { .. } => (None, None),
            RunState::Active { lease, .. } => (Some(&lease.board), None),
            RunState::Finished { outcome, at, .. } => (None, Some((outcome, *at))),
        };
        json!({
            "id": run.id,
            "number": run.number,
            "family": run.spec.family,
            "build": run.spec.build,
            "suite": run.spec.suite,
            "state": run.state.word(),
            "verdict": outcome.map(|(outcome, _)| outcome.verdict.as_str()),
            "cause": outcome.map(|(outcome, _)| outcome.cause.as_str()).filter(|cause| !cause.is_empty()),
            "board": board,
            "requested_by": run.requested_by.key(),
            "created_at": run.created_at.rfc3339(),
            "finished_at": outcome.map(|(_, at)| at.rfc3339()),
            "url": self.links.run(run.number),
        })
    }

    /// Everything about a run that a program may read: its row in a list, and more.
    pub fn run_document(&self, view: &RunView) -> Value {
        let facts = self.run_facts(view);
        let run = &view.run;
        let outcome = match &run.state {
            RunState::Finished { outcome, .. } => Some(outcome),
            RunState::Queued { .. } | RunState::Active { .. } => None,
        };
        let attempts: Vec<Value> = view
            .attempts
            .iter()
            .map(|attempt| {
                let ended = attempt.outcome.as_ref();
                json!({
                    "number": attempt.number,
                    "board": attempt.board,
                    "verdict": ended.map(|outcome| outcome.verdict.as_str()),
                    "cause": ended.map(|outcome| outcome.cause.as_str()).filter(|cause| !cause.is_empty()),
                    "started_at": attempt.started_at.rfc3339(),
                    "ended_at": attempt.ended_at.map(Timestamp::rfc3339),
                    "log_url": self.links.log(run.number, attempt.number),
                })
            })
            .collect();
        let cases = view.attempts.last().and_then(|attempt| attempt.outcome.as_ref());
        let failed = cases.into_iter().flat_map(|outcome| &outcome.cases);
        let failed = failed.filter(|case| case.status == CaseStatus::Failed).map(|case| case.name.as_str());
        let spec = &run.spec;
        let mut document = self.run_row(run);
        let more = json!({
            "stage": outcome.map(|outcome| outcome.stage.as_str()),
            "detail": outcome.map(|outcome| outcome.detail.as_str()).filter(|detail| !detail.is_empty()),
            // One that has ended is told with the board that it was on last.
            "board": facts["board"],
            "counts": facts["counts"],
            "failed_cases": failed.take(FAILED_CASES_MAX).collect::<Vec<_>>(),
            "priority": spec.priority,
            "revision": spec.selector.revision,
            "tags": spec.selector.tags,
            "boards": spec.boards,
            "params": spec.params,
            "timeout": spec.timeout.map(|timeout| timeout.as_secs()),
            "retry_of": run.retry_of,
            "queue": facts["why"],
            "attempts": attempts,
            "junit_url": self.links.junit(run.number),
        });
        if let (Value::Object(document), Value::Object(more)) = (&mut document, more) {
            document.extend(more);
        }
        document
    }
}
