//! The API's door, version 1. Read-only so far: a run, as JSON and as JUnit XML, to whoever holds the signed link that
//! was given out when it was accepted; `wait` holds the answer back until it has ended. A wrong link and a missing run
//! look the same.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Door;
use super::machine::Problem;
use crate::clock::Timestamp;
use crate::command::parse;
use crate::outcome::junit;
use crate::run::RunState;
use crate::store::RunView;

/// Longest `wait`; a longer one is this.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// A request's query.
#[derive(Deserialize)]
pub(super) struct RunQuery {
    #[serde(default)]
    key: String,
    wait: Option<String>,
}

/// One run.
pub(super) async fn run(
    State(door): State<Arc<Door>>,
    Path(number): Path<String>,
    Query(query): Query<RunQuery>,
) -> Result<Response, Problem> {
    let view = find(&door, &number, &query).await?;
    Ok(Json(shown(&door, &view)).into_response())
}

/// Its test cases, once it has ended.
pub(super) async fn junit_xml(
    State(door): State<Arc<Door>>,
    Path(number): Path<String>,
    Query(query): Query<RunQuery>,
) -> Result<Response, Problem> {
    let view = find(&door, &number, &query).await?;
    let report = junit::report(&view.run, &view.attempts).ok_or_else(|| {
        let detail = format!("#{} is {}; ask again with wait=60s", view.run.number, view.run.state.word());
        Problem::new(StatusCode::CONFLICT, "the run has not ended", detail)
    })?;
    let headers = [
        (header::CONTENT_TYPE, "application/xml; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, report).into_response())
}

/// The run that a link opens, after it has ended where that was to be waited for.
async fn find(door: &Door, number: &str, query: &RunQuery) -> Result<RunView, Problem> {
    let missing = || {
        let detail = "or this link is not complete: the answer that accepted the run has it whole";
        Problem::new(StatusCode::NOT_FOUND, "there is no such run", detail)
    };
    let number: i64 = number.parse().map_err(|_| missing())?;
    if !door.links.opens_run(number, &query.key) {
        return Err(missing());
    }
    let wait = match query.wait.as_deref() {
        None => Duration::ZERO,
        Some(text) => wait(text).ok_or_else(|| {
            Problem::new(StatusCode::BAD_REQUEST, "this wait is none", "write it as 60s or 2m, or as seconds")
        })?,
    };
    let view = view(door, number).await?.ok_or_else(missing)?;
    if wait.is_zero() || matches!(view.run.state, RunState::Finished { .. }) {
        return Ok(view);
    }
    door.ended.wait(number, wait).await;
    Box::pin(self::view(door, number)).await?.ok_or_else(missing)
}

async fn view(door: &Door, number: i64) -> Result<Option<RunView>, Problem> {
    door.store.run_view(number).await.map_err(|error| {
        tracing::warn!(%error, "a run cannot be read");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not now, try again", "the store does not answer")
    })
}

fn wait(text: &str) -> Option<Duration> {
    let seconds = || text.parse().ok().map(Duration::from_secs);
    parse::duration(text).or_else(seconds).map(|wait| wait.min(WAIT_MAX))
}

/// A run as the API shows it; times are RFC 3339 in UTC.
fn shown(door: &Door, view: &RunView) -> Value {
    let facts = door.composer.run_facts(view);
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
                "log_url": door.links.log(run.number, attempt.number),
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
        "url": door.links.run(run.number),
        "junit_url": door.links.junit(run.number),
    })
}
