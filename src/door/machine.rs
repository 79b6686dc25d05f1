//! What programs are answered: runs as JSON, and problems as `application/problem+json` (RFC 9457) with what to change.
//! Words of people's commands become answers in the same way; nothing is decided here.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Door, Refusal};
use crate::chat::jenkins::decode::DecodeProblem;
use crate::chat::{Delivery, plain};
use crate::clock::Timestamp;
use crate::doorbell::Bell;
use crate::lease::Holder;
use crate::message::Note;
use crate::store::{Committed, Effected, RunView};

/// A problem, for a program and for whoever reads its log.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    #[serde(skip)]
    status: StatusCode,
    title: &'static str,
    detail: String,
    /// Names that come near what was not found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    near: Vec<String>,
    /// In how many seconds to ask again.
    #[serde(skip)]
    again: Option<u64>,
}

impl Problem {
    /// A request that asks for nothing that could be.
    pub(super) fn invalid(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "this request cannot be carried out", detail)
    }

    pub(super) fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Problem {
        Problem { status, title, detail: detail.into(), near: vec![], again: None }
    }

    /// A key that asked for something else before.
    fn taken(view: &RunView) -> Problem {
        let (number, spec) = (view.run.number, &view.run.spec);
        let detail = format!(
            "#{number} was asked for under this key: {} {} {}; give this request a key of its own",
            spec.family, spec.build, spec.suite
        );
        Problem::new(StatusCode::CONFLICT, "this key asked for something else", detail)
    }

    /// The same with another status.
    pub(super) fn with(self, status: StatusCode) -> Problem {
        Problem { status, ..self }
    }

    /// The same, and what would be possible.
    pub(super) fn or(self, hint: &str) -> Problem {
        Problem { detail: format!("{}; {hint}", self.detail), ..self }
    }

    /// The same, worth to be asked again in so many seconds.
    pub(super) fn again(self, seconds: u64) -> Problem {
        Problem { again: Some(seconds), ..self }
    }

    /// The same with names that come near.
    pub(super) fn near(self, near: impl IntoIterator<Item = impl Into<String>>) -> Problem {
        Problem { near: near.into_iter().map(Into::into).collect(), ..self }
    }

    /// A document that asks for nothing.
    pub(super) fn unread(door: &Door, problem: &DecodeProblem) -> Problem {
        let phrase = problem.phrase().map(|phrase| door.composer.for_program(&json!(phrase)));
        let Some(phrase) = phrase else { return Problem::invalid(problem.to_string()) };
        let by = problem.mapping().map(|name| format!("as the mapping {name} of boards.yaml reads it, "));
        Problem::invalid(by.unwrap_or_default() + &phrase)
    }

    /// What a command was answered, when that was no acceptance.
    pub(super) fn of(door: &Door, answer: &Note) -> Problem {
        let text = |name: &str| {
            answer.facts.get(name).map(|said| door.composer.for_program(said)).unwrap_or_default()
        };
        match answer.template.as_str() {
            "denied" => Problem::new(StatusCode::FORBIDDEN, "this is not allowed", text("reason")),
            "power-refused" | "quarantine-refused" | "hold-refused" => {
                Problem::new(StatusCode::CONFLICT, "somebody has this board", why_not(door, answer))
            }
            "internal-error" => Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "this request cannot be handled",
                format!("the server's log says why, under {}", text("reference")),
            ),
            _ => {
                let near = answer.facts.get("near").and_then(Value::as_array).into_iter().flatten();
                let near = near.filter_map(Value::as_str).map(str::to_owned).collect();
                Problem { near, ..Problem::invalid(text("reason")) }
            }
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        tracing::warn!(reason = %refusal, "a request was refused");
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not now, try again",
            "the store did not take it in time",
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!(self);
        body["status"] = self.status.as_u16().into();
        let head = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut answer = (self.status, head, body.to_string()).into_response();
        if let Some(seconds) = self.again {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

/// Most of a refusal in plain words that is repeated.
const SAID_BYTES_MAX: usize = 1_024;

/// A refusal as a problem, also where the request was refused before anything here saw it: a query or a body that cannot
/// be read, a method that is not there.
pub(super) async fn told_as_problem(answer: Response) -> Response {
    let status = answer.status();
    let media = answer.headers().get(header::CONTENT_TYPE).and_then(|media| media.to_str().ok());
    if !(status.is_client_error() || status.is_server_error())
        || media.is_some_and(|media| media.contains("json"))
    {
        return answer;
    }
    let (mut parts, body) = answer.into_parts();
    let said = axum::body::to_bytes(body, SAID_BYTES_MAX).await.unwrap_or_default();
    let said = plain::one_line(&String::from_utf8_lossy(&said));
    let detail =
        if said.is_empty() { status.canonical_reason().unwrap_or_default().to_owned() } else { said };
    let problem = Problem::new(status, "this request is not understood", detail).into_response();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.extend(problem.headers().clone());
    Response::from_parts(parts, problem.into_body())
}

/// Answers that say that what was asked for is not done.
const NOT_DONE: [&str; 6] =
    ["denied", "refused", "internal-error", "power-refused", "quarantine-refused", "hold-refused"];

/// Why something was not done, in words for a program.
pub(super) fn why_not(door: &Door, note: &Note) -> String {
    let holder = note.facts.get("holder").and_then(|holder| serde_json::from_value(holder.clone()).ok());
    let board = note.facts.get("board").and_then(Value::as_str).unwrap_or("the board");
    let until = note.facts.get("until").and_then(|until| serde_json::from_value(until.clone()).ok());
    let until = until.map(|until: Timestamp| format!(" until {}", until.rfc3339())).unwrap_or_default();
    match holder {
        Some(Holder::Run { number, .. }) => format!("#{number} is on {board}"),
        Some(Holder::Person(who)) => format!("{board} is with {}{until}", who.shown()),
        Some(Holder::Check(_)) => {
            format!("{board} is being switched or brought to rest; try again in a moment")
        }
        None => note.facts.get("reason").map(|reason| door.composer.for_program(reason)).unwrap_or_default(),
    }
}

/// Carries out what a machine asks for with this body; a problem where that is not done.
pub(super) async fn carry_out(door: &Door, delivery: Delivery, body: &[u8]) -> Result<Committed, Problem> {
    let mark = mark(body);
    let committed = super::take_marked(door, delivery, Some(&mark)).await?;
    refusal(door, &committed, &mark).map_or(Ok(committed), Err)
}

/// The same to its end, and with what `then` makes of it: [`take_for`](super::take_for).
pub(super) async fn carry_out_for<T: Send + 'static>(
    door: &Arc<Door>,
    delivery: Delivery,
    body: &[u8],
    then: impl FnOnce(&Committed) -> T + Send + 'static,
) -> Result<(Committed, T), Problem> {
    let mark = mark(body);
    let asked = mark.clone();
    let taken = move |committed: &Committed| is_it(committed, &asked).then(|| then(committed));
    let (committed, made) = super::take_for(door, delivery, mark.clone(), taken).await?;
    match (refusal(door, &committed, &mark), made) {
        (None, Some(made)) => Ok((committed, made)),
        (problem, _) => Err(problem.unwrap_or_else(other_request)),
    }
}

/// What a body asks for, however it is written.
fn mark(body: &[u8]) -> String {
    let read = serde_json::from_slice::<BTreeMap<String, Value>>(body);
    let written = read.ok().and_then(|read| serde_json::to_vec(&read).ok());
    hex::encode(Sha256::digest(written.as_deref().unwrap_or(body)))
}

/// Whether what was committed is what is asked for now, and done.
fn is_it(committed: &Committed, mark: &str) -> bool {
    let answer = &committed.answer;
    let before = answer.facts.get(super::MARK).and_then(Value::as_str);
    let is_same = committed.fresh || before.is_none_or(|before| before == mark);
    is_same && !NOT_DONE.contains(&answer.template.as_str())
}

/// Why it is not.
fn refusal(door: &Door, committed: &Committed, mark: &str) -> Option<Problem> {
    let not_done = NOT_DONE.contains(&committed.answer.template.as_str());
    (!is_it(committed, mark))
        .then(|| if not_done { Problem::of(door, &committed.answer) } else { other_request() })
}

fn other_request() -> Problem {
    let detail = "the same Idempotency-Key came with another body before; give this request one of its own";
    Problem::new(StatusCode::CONFLICT, "this key asked for something else", detail)
}

/// Starts the run that a machine asks for, and tells it which one it is.
pub(super) async fn start(door: &Door, delivery: Delivery) -> Result<Response, Refusal> {
    let asked = delivery.clone();
    let committed = super::take(door, delivery).await?;
    let Some(number) = committed.answer.facts.get("number").and_then(Value::as_i64) else {
        return Ok(Problem::of(door, &committed.answer).into_response());
    };
    let view = door.store.run_view(number).await.map_err(|error| Refusal::Busy(error.to_string()))?;
    let Some(view) = view else {
        return Err(Refusal::Busy(format!("#{number} cannot be read")));
    };
    if !door.handler.is_request_of(&asked, &view.run.spec) {
        return Ok(Problem::taken(&view).into_response());
    }
    let before = committed.answer.facts.get("effected").and_then(Value::as_str)
        == Some(Effected::AlreadyStarted.as_str());
    let is_new = committed.fresh && !before;
    if !is_new && let Some(refused) = call_back(door, &asked, number).await? {
        return Ok(refused.into_response());
    }
    let status = if is_new { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(accepted(door, &view, &committed.answer))).into_response())
}

/// Tells the end of a run where a repeat of its request wants that: who repeats it may wait somewhere else by now, and for
/// a run that is over. Why it cannot be told there, where that is so.
async fn call_back(door: &Door, asked: &Delivery, number: i64) -> Result<Option<Problem>, Refusal> {
    let url = match door.handler.callback_of(asked) {
        None => return Ok(None),
        Some(Err(refused)) => return Ok(Some(Problem::of(door, &refused))),
        Some(Ok(url)) => url,
    };
    let moved = door.store.call_back(number, url, door.clock.now()).await;
    if moved.map_err(|error| Refusal::Busy(error.to_string()))? {
        door.doorbell.ring(Bell::Herald);
    }
    Ok(None)
}

/// Ends the run that a machine names.
pub(super) async fn cancel(door: &Door, delivery: Delivery, number: i64) -> Result<Response, Refusal> {
    let committed = super::take(door, delivery).await?;
    if NOT_DONE.contains(&committed.answer.template.as_str()) {
        return Ok(Problem::of(door, &committed.answer).into_response());
    }
    let view = door.store.run_view(number).await.map_err(|error| Refusal::Busy(error.to_string()))?;
    let view = view.ok_or_else(|| Refusal::Busy(format!("#{number} cannot be read")))?;
    // Not whether it has ended by now: this may have ended it.
    let before = committed.answer.template == "already-finished";
    let status = if before { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(accepted(door, &view, &committed.answer))).into_response())
}

/// `{run_id, number, state, position, url}`. The queue hears of a run a moment after the store: until then its place is
/// behind those that waited when it was accepted.
fn accepted(door: &Door, view: &RunView, answer: &Note) -> Value {
    let facts = door.composer.run_facts(view);
    let behind = || {
        let ahead = answer.facts.get("outlook")?.get("ahead")?.as_u64()?;
        (facts["state"] == "queued").then(|| Value::from(ahead + 1))
    };
    let known = match &facts["why"]["position"] {
        Value::Null => None,
        // `1000+` stays as it is.
        position => {
            Some(position.as_str().and_then(|n| n.parse::<u64>().ok()).map_or(position.clone(), Value::from))
        }
    };
    json!({
        "run_id": view.run.id,
        "number": view.run.number,
        "state": facts["state"],
        "position": known.or_else(behind),
        "url": door.links.run(view.run.number),
    })
}
