//! The API's door, version 1: runs, as JSON and as JUnit XML, for programs. Who may is proved by a bearer token, or, for
//! reading one run, by the signed link that was given out when it was accepted; `wait` holds the answer back until the
//! run has ended. A wrong link and a missing run look the same. What is asked for here goes the way of every command.

pub(super) mod board;
pub(super) mod builds;
pub(super) mod campaigns;
mod commands;
pub(super) mod drains;
pub(super) mod lease;
pub(super) mod list;
pub(super) mod terminal;
pub(super) mod tokens;
pub(super) mod audit;
mod console;
mod events;
pub(super) mod in_line;
mod openapi;
mod query;
mod schedules;
pub(super) mod routes;
mod shapes;
mod tail;
mod templates;
mod unchanged;
pub(super) mod who;
pub(super) mod workers;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use self::who::Caller;
use super::machine::Problem;
use super::server::{AskedAgain, Later, Parking};
use super::{Door, machine};
use crate::chat::{Delivery, Platform, api, key_of};
use crate::command::document::TEXT_BYTES_MAX;
use crate::command::permits;
use crate::command::policy::{About, Asked, Permission};
use crate::command::{Command, RunRef, parse};
use crate::id::RunId;
use crate::message::Note;
use crate::outcome::junit;
use crate::run::RunState;
use crate::store::{Audit, Effect, Intake, RunView, StoreError};

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
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let now = door.clock.now();
    let key = key(&door, &headers)?;
    let default = door.handler.inventory.now().channels.default.clone();
    let delivery = api::run(&body, &caller.actor, &key, now, default.as_deref());
    let delivery = delivery.map_err(|problem| Problem::unread(&door, &problem))?;
    machine::start(&door, of(&caller, delivery)).await.map_err(Problem::from)
}

/// Ends a run: 202, or 200 where it has ended before.
pub(super) async fn cancel(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(number): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let number: i64 = number.parse().map_err(|_| missing())?;
    view(&door, number).await?.ok_or_else(missing)?;
    let command = Command::Cancel(RunRef::Number(number));
    let delivery = delivery(&door, &caller, command, &headers)?;
    machine::cancel(&door, delivery, number).await.map_err(Problem::from)
}

/// A command of whoever calls; a repeat under the same `Idempotency-Key` is answered as it was.
fn delivery(
    door: &Door,
    caller: &Caller,
    command: Command,
    headers: &HeaderMap,
) -> Result<Delivery, Problem> {
    let key = caller.key_of(&key(door, headers)?);
    Ok(of(caller, api::command(command, caller.actor.clone(), &key, door.clock.now())))
}

/// A delivery as whoever calls sent it.
fn of(caller: &Caller, delivery: Delivery) -> Delivery {
    Delivery { standing: caller.standing.clone(), source: caller.source.clone(), ..delivery }
}

/// What tells a repeat of this request.
fn key(door: &Door, headers: &HeaderMap) -> Result<String, Problem> {
    let key = headers.get("idempotency-key").map(|key| key.to_str().unwrap_or_default());
    if headers.get_all("idempotency-key").iter().count() > 1 {
        return Err(Problem::invalid("Idempotency-Key stands twice, and one request has one"));
    }
    if key.is_some_and(|key| key.is_empty() || key.len() > TEXT_BYTES_MAX) {
        return Err(Problem::invalid("Idempotency-Key must be a text of at most 1,000 characters"));
    }
    Ok(key.map_or_else(|| fresh_key(door), str::to_owned))
}

/// A key that nobody repeats.
fn fresh_key(door: &Door) -> String {
    RunId::new(&door.handler.ids, door.clock.now()).to_string()
}

/// Why whoever calls may do what they ask, where that is no command; a refusal is kept on record.
async fn permitted(
    door: &Door,
    caller: &Caller,
    asked: Asked<'_>,
    about: About<'_>,
    (verb, target): (&str, &str),
) -> Result<String, Problem> {
    let permission = permits::judged(asked, caller.who(), &door.handler.inventory.now(), about);
    let denial = match permission {
        Permission::Allowed { because } => return Ok(because),
        Permission::Denied(denial) => denial,
    };
    let (verb, target, reason) = (verb.to_owned(), target.to_owned(), denial.reason.clone());
    record(door, caller, Effect::None, Audit { verb, target, allowed: false, reason }).await?;
    Err(Problem::new(StatusCode::FORBIDDEN, "this is not allowed", denial.reason))
}

/// Commits what is no command, with its audit row; gives how it ended.
async fn record(door: &Door, caller: &Caller, effect: Effect, audit: Audit) -> Result<String, Problem> {
    record_as(door, caller, (fresh_key(door), false), effect, audit).await
}

/// The same once for each `Idempotency-Key`.
async fn record_once(
    door: &Door,
    caller: &Caller,
    headers: &HeaderMap,
    effect: Effect,
    audit: Audit,
) -> Result<String, Problem> {
    let key = caller.key_of(&key(door, headers)?);
    record_as(door, caller, (key, true), effect, audit).await
}

async fn record_as(
    door: &Door,
    caller: &Caller,
    (key, remembered): (String, bool),
    effect: Effect,
    audit: Audit,
) -> Result<String, Problem> {
    let intake = Intake {
        key: key_of(Platform::Api, &key),
        platform: Platform::Api,
        actor: caller.actor.clone(),
        received_at: door.clock.now(),
        remembered,
        effect,
        answer: Note::new("recorded", json!({})),
        instead: vec![],
        answer_via: None,
        shows: None,
        audit,
        source: caller.source.clone(),
    };
    let committed = door.store.commit(intake).await.map_err(unreadable)?;
    let effected = committed.answer.facts.get("effected").and_then(Value::as_str);
    Ok(effected.unwrap_or_default().to_owned())
}

fn missing() -> Problem {
    let detail = "or this link is not complete: the answer that accepted the run has it whole";
    Problem::new(StatusCode::NOT_FOUND, "there is no such run", detail)
}

/// One run.
pub(super) async fn run(
    State(door): State<Arc<Door>>,
    caller: Option<Caller>,
    Path(number): Path<String>,
    Query(query): Query<RunQuery>,
    parking: Option<Extension<Parking>>,
    again: Option<Extension<AskedAgain>>,
) -> Result<Response, Response> {
    let view = find_ended(&door, &number, &query, (parking, again.is_some()), caller.is_some()).await?;
    Ok(Json(door.composer.run_document(&view)).into_response())
}

/// Its test cases, once it has ended.
pub(super) async fn junit_xml(
    State(door): State<Arc<Door>>,
    caller: Option<Caller>,
    Path(number): Path<String>,
    Query(query): Query<RunQuery>,
    parking: Option<Extension<Parking>>,
    again: Option<Extension<AskedAgain>>,
) -> Result<Response, Response> {
    let view = find_ended(&door, &number, &query, (parking, again.is_some()), caller.is_some()).await?;
    let report = junit::report(&view.run, &view.attempts).ok_or_else(|| {
        let detail = format!("#{} is {}; ask again with wait=60s", view.run.number, view.run.state.word());
        Problem::new(StatusCode::CONFLICT, "the run has not ended", detail).into_response()
    })?;
    let headers = [
        (header::CONTENT_TYPE, "application/xml; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, report).into_response())
}

/// The run that a link or a token opens.
async fn find(door: &Door, number: &str, query: &RunQuery, is_proved: bool) -> Result<RunView, Problem> {
    let number: i64 = number.parse().map_err(|_| missing())?;
    if !is_proved && !door.links.opens_run(number, &query.key) {
        return Err(missing());
    }
    view(door, number).await?.ok_or_else(missing)
}

/// The same after it has ended, where that is to be waited for; or that the request is to be asked again then.
async fn find_ended(
    door: &Door,
    number: &str,
    query: &RunQuery,
    (parking, again): (Option<Extension<Parking>>, bool),
    is_proved: bool,
) -> Result<RunView, Response> {
    let wait = wait_of(query.wait.as_deref()).map_err(Problem::into_response)?;
    let look = async || Box::pin(find(door, number, query, is_proved)).await.map_err(Problem::into_response);
    let seen = look().await?;
    let number = seen.run.number;
    if again || wait.is_zero() || matches!(seen.run.state, RunState::Finished { .. }) {
        return Ok(seen);
    }
    // A door without places has no limit of those who wait, and nobody who would ask again.
    let Some(Extension(parking)) = parking else {
        door.ended.wait(number, wait).await;
        return look().await;
    };
    // Where so many wait that there is no room, they are answered at once.
    let Some(parked) = parking.park() else { return Ok(seen) };
    let ended = door.ended.clone();
    Err(Later::after(async move {
        ended.wait(number, wait).await;
        drop(parked);
    }))
}

async fn view(door: &Door, number: i64) -> Result<Option<RunView>, Problem> {
    door.store.run_view(number).await.map_err(unreadable)
}

pub(super) fn unreadable(error: StoreError) -> Problem {
    tracing::warn!(%error, "the store does not answer the API");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not now, try again", "the store does not answer")
}

/// What stands under a key that may be null, as if it were not there then.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(found: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(found)?.unwrap_or_default())
}

/// How long an answer is to be held back.
fn wait_of(text: Option<&str>) -> Result<Duration, Problem> {
    let Some(text) = text else { return Ok(Duration::ZERO) };
    let seconds = || text.parse().ok().map(Duration::from_secs);
    let wait = parse::duration(text).or_else(seconds).map(|wait| wait.min(WAIT_MAX));
    wait.ok_or_else(|| {
        Problem::new(StatusCode::BAD_REQUEST, "this wait is none", "write it as 60s or 2m, or as seconds")
    })
}
