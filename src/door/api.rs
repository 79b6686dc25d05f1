//! The API's door, version 1: runs, as JSON and as JUnit XML, for programs. Who may is proved by a bearer token, or, for
//! reading one run, by the signed link that was given out when it was accepted; `wait` holds the answer back until the
//! run has ended. A wrong link and a missing run look the same. What is asked for here goes the way of every command.

pub(super) mod list;
pub(super) mod terminal;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::machine::Problem;
use super::server::Parking;
use super::{Door, machine};
use crate::chat::{api, token};
use crate::clock::Timestamp;
use crate::command::document::TEXT_BYTES_MAX;
use crate::command::{Command, RunRef, parse};
use crate::id::RunId;
use crate::outcome::junit;
use crate::run::RunState;
use crate::store::{RunView, StoreError};

/// Longest `wait`; a longer one is this.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// A request's query.
#[derive(Deserialize)]
pub(super) struct RunQuery {
    #[serde(default)]
    key: String,
    wait: Option<String>,
}

/// Starts a run: 202, or 200 where the same was asked for before under the same key.
pub(super) async fn start(
    State(door): State<Arc<Door>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    proved(&door, &headers)?;
    let now = door.clock.now();
    let key = headers.get("idempotency-key").map(|key| key.to_str().unwrap_or_default());
    if key.is_some_and(|key| key.is_empty() || key.len() > TEXT_BYTES_MAX) {
        return Err(Problem::invalid("Idempotency-Key must be a text of at most 1,000 characters"));
    }
    let key = key.map_or_else(|| fresh_key(&door), str::to_owned);
    let default = door.handler.inventory.now().channels.default.clone();
    let delivery =
        api::run(&body, &key, now, default.as_deref()).map_err(|problem| Problem::unread(&door, &problem))?;
    machine::start(&door, delivery).await.map_err(Problem::from)
}

/// Ends a run: 202, or 200 where it has ended before.
pub(super) async fn cancel(
    State(door): State<Arc<Door>>,
    Path(number): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    proved(&door, &headers)?;
    let number: i64 = number.parse().map_err(|_| missing())?;
    view(&door, number).await?.ok_or_else(missing)?;
    let command = Command::Cancel(RunRef::Number(number));
    let delivery = api::command(command, api::admin(String::new()), &fresh_key(&door), door.clock.now());
    machine::cancel(&door, delivery, number).await.map_err(Problem::from)
}

/// A key that nobody repeats.
fn fresh_key(door: &Door) -> String {
    RunId::new(&door.handler.ids, door.clock.now()).to_string()
}

/// Whether a request has the admin token.
fn proved(door: &Door, headers: &HeaderMap) -> Result<(), Problem> {
    let header = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let detail = match header.and_then(token::bearer) {
        Some(token) if door.api_tokens.know(token) => return Ok(()),
        Some(_) => "this token is not known",
        None => "a token is needed: Authorization: Bearer …",
    };
    Err(Problem::new(StatusCode::UNAUTHORIZED, "this is not allowed", detail))
}

fn missing() -> Problem {
    let detail = "or this link is not complete: the answer that accepted the run has it whole";
    Problem::new(StatusCode::NOT_FOUND, "there is no such run", detail)
}

/// One run.
pub(super) async fn run(
    State(door): State<Arc<Door>>,
    Path(number): Path<String>,
    Query(query): Query<RunQuery>,
    parking: Option<Extension<Parking>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let view = find(&door, &number, &query, parking, &headers).await?;
    Ok(Json(shown(&door, &view)).into_response())
}

/// Its test cases, once it has ended.
pub(super) async fn junit_xml(
    State(door): State<Arc<Door>>,
    Path(number): Path<String>,
    Query(query): Query<RunQuery>,
    parking: Option<Extension<Parking>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let view = find(&door, &number, &query, parking, &headers).await?;
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

/// The run that a link or a token opens, after it has ended where that was to be waited for.
async fn find(
    door: &Door,
    number: &str,
    query: &RunQuery,
    parking: Option<Extension<Parking>>,
    headers: &HeaderMap,
) -> Result<RunView, Problem> {
    if headers.contains_key(header::AUTHORIZATION) {
        proved(door, headers)?;
    }
    let number: i64 = number.parse().map_err(|_| missing())?;
    if !headers.contains_key(header::AUTHORIZATION) && !door.links.opens_run(number, &query.key) {
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
    // Where so many wait that there is no room, they are answered at once. A door without places has no such limit.
    let parked = parking.map(|Extension(parking)| parking.park());
    if parked.as_ref().is_none_or(Option::is_some) {
        door.ended.wait(number, wait).await;
    }
    drop(parked);
    Box::pin(self::view(door, number)).await?.ok_or_else(missing)
}

async fn view(door: &Door, number: i64) -> Result<Option<RunView>, Problem> {
    door.store.run_view(number).await.map_err(unreadable)
}

fn unreadable(error: StoreError) -> Problem {
    tracing::warn!(%error, "the store does not answer the API");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not now, try again", "the store does not answer")
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
