//! A run as spans, in the JSON of OTLP: the whole of it, its waits, its attempts with their stages, what followed them, and
//! the telling. Pure. Ids come of the run's own, so that a run which is given twice is one trace; nothing that a board
//! printed is in it.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::outcome::Verdict;
use crate::run::{Attempt, RunState};
use crate::store::{RunStep, RunView};

/// Spans that begin and end inside a server.
const INTERNAL: u8 = 1;
/// The code of what went wrong.
const ERROR: u8 = 2;

/// The spans of a run that is over: its board was free again at `freed`, its messages had been told at `told`, where there
/// are any. Nothing as long as it is not over.
pub(super) fn of_run(
    view: &RunView,
    steps: &[RunStep],
    freed: Option<Timestamp>,
    told: Option<Timestamp>,
) -> Vec<Value> {
    let RunState::Finished { outcome, at, attempt: decided } = &view.run.state else { return vec![] };
    let (run, spec) = (&view.run, &view.run.spec);
    let made = Spans { trace: hex::encode(&digest(&[run.id.to_string().as_str()])[..16]) };
    let root = made.id(&["run"]);
    let told = told.filter(|told| told > at);
    let ended = told.unwrap_or(*at);
    let mut whole = made.span(
        &root,
        None,
        ("run", run.created_at, ended),
        vec![
            attribute("boardhand.run.number", run.number.into()),
            attribute("boardhand.family", spec.family.to_string().into()),
            attribute("boardhand.build", spec.build.clone().into()),
            attribute("boardhand.suite", spec.suite.clone().into()),
            attribute("boardhand.verdict", outcome.verdict.as_str().into()),
            attribute("boardhand.cause", outcome.cause.as_str().into()),
            attribute("boardhand.asked_on", run.requested_by.platform.as_str().into()),
        ],
    );
    if outcome.verdict != Verdict::Passed {
        whole["status"] = json!({ "code": ERROR, "message": outcome.cause.as_str() });
    }
    let mut spans = vec![whole];
    let mut since = run.created_at;
    for attempt in &view.attempts {
        let number = attempt.number.to_string();
        let waited = made.id(&["queued", &number]);
        spans.push(made.span(&waited, Some(&root), ("queued", since, attempt.started_at), vec![]));
        since = attempt.ended_at.unwrap_or(*at);
        spans.extend(made.attempt(&root, attempt, since, steps));
    }
    // It ended while it waited, at first or again.
    if *decided == 0 {
        spans.push(made.span(&made.id(&["queued"]), Some(&root), ("queued", since, *at), vec![]));
    }
    if let Some(freed) = freed {
        spans.push(made.span(&made.id(&["finalizing"]), Some(&root), ("finalizing", *at, freed), vec![]));
    }
    if let Some(told) = told {
        spans.push(made.span(&made.id(&["telling"]), Some(&root), ("telling", *at, told), vec![]));
    }
    spans
}

/// What one request tells.
pub(super) fn request(service: &str, spans: Vec<Value>) -> Value {
    let resource = vec![attribute("service.name", service.into())];
    let scope = json!({ "name": "boardhand", "version": env!("CARGO_PKG_VERSION") });
    json!({ "resourceSpans": [{
        "resource": { "attributes": resource },
        "scopeSpans": [{ "scope": scope, "spans": spans }],
    }] })
}

struct Spans {
    trace: String,
}

impl Spans {
    /// An attempt, and the stages that it reached.
    fn attempt(&self, root: &str, attempt: &Attempt, ended: Timestamp, steps: &[RunStep]) -> Vec<Value> {
        let number = attempt.number.to_string();
        let own = self.id(&["attempt", &number]);
        let of_it = vec![
            attribute("boardhand.attempt", attempt.number.into()),
            attribute("boardhand.board", attempt.board.to_string().into()),
        ];
        let mut spans = vec![self.span(&own, Some(root), ("attempt", attempt.started_at, ended), of_it)];
        let reached: Vec<(&str, Timestamp)> = steps
            .iter()
            .filter(|step| step.attempt == Some(attempt.number))
            .filter_map(|step| Some((step.stage.as_deref().filter(|_| step.kind == "advanced")?, step.at)))
            .collect();
        for (index, (stage, since)) in reached.iter().enumerate() {
            let until = reached.get(index + 1).map_or(ended, |(_, next)| *next);
            let id = self.id(&["stage", &number, &index.to_string()]);
            spans.push(self.span(&id, Some(&own), (stage, *since, until), vec![]));
        }
        spans
    }

    fn id(&self, of: &[&str]) -> String {
        let parts: Vec<&str> = [self.trace.as_str()].into_iter().chain(of.iter().copied()).collect();
        hex::encode(&digest(&parts)[..8])
    }

    fn span(
        &self,
        id: &str,
        parent: Option<&str>,
        (name, since, until): (&str, Timestamp, Timestamp),
        attributes: Vec<Value>,
    ) -> Value {
        // Clocks are set back now and then; no collector takes what ends before it began.
        let until = until.max(since);
        json!({
            "traceId": self.trace,
            "spanId": id,
            "parentSpanId": parent.unwrap_or_default(),
            "name": name,
            "kind": INTERNAL,
            "startTimeUnixNano": nanos(since),
            "endTimeUnixNano": nanos(until),
            "attributes": attributes,
        })
    }
}

fn nanos(at: Timestamp) -> String {
    (i128::from(at.as_micros()) * 1_000).to_string()
}

/// A fact of a span; numbers are texts, as 64 bits do not fit into JSON.
fn attribute(key: &str, value: Value) -> Value {
    let value = match value {
        Value::Number(number) => json!({ "intValue": number.to_string() }),
        text => json!({ "stringValue": text }),
    };
    json!({ "key": key, "value": value })
}

fn digest(parts: &[&str]) -> [u8; 32] {
    Sha256::digest(parts.join("/")).into()
}
