//! A run as programs read it: over the API, and in what they are told of it. Times are RFC 3339 in UTC.

use serde_json::{Value, json};

use super::Composer;
use crate::clock::Timestamp;
use crate::run::RunState;
use crate::store::RunView;

impl Composer {
    /// Everything about a run that a program may read.
    pub fn run_document(&self, view: &RunView) -> Value {
        let facts = self.run_facts(view);
        let run = &view.run;
        let outcome = match &run.state {
            RunState::Finished { outcome, at, .. } => Some((outcome, *at)),
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
                    "cause": ended.map(|outcome| outcome.cause.as_str()),
                    "started_at": attempt.started_at.rfc3339(),
                    "ended_at": attempt.ended_at.map(Timestamp::rfc3339),
                    "log_url": self.links.log(run.number, attempt.number),
                })
            })
            .collect();
        json!({
            "id": run.id,
            "number": run.number,
            "family": run.spec.family,
            "build": run.spec.build,
            "suite": run.spec.suite,
            "state": facts["state"],
            "verdict": facts["verdict"],
            "cause": outcome.map(|(outcome, _)| outcome.cause.as_str()).filter(|cause| !cause.is_empty()),
            "stage": outcome.map(|(outcome, _)| outcome.stage.as_str()),
            "detail": outcome.map(|(outcome, _)| outcome.detail.as_str()).filter(|detail| !detail.is_empty()),
            "board": facts["board"],
            "counts": facts["counts"],
            "queue": facts["why"],
            "attempts": attempts,
            "requested_by": run.requested_by.key(),
            "created_at": run.created_at.rfc3339(),
            "finished_at": outcome.map(|(_, at)| at.rfc3339()),
            "url": self.links.run(run.number),
            "junit_url": self.links.junit(run.number),
        })
    }
}
