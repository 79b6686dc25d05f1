//! A run's console as lines, piece by piece: a program asks again from where the last piece ended, or takes server-sent
//! events and is told of each as it comes ([`tail`]). What a board printed is text, without secrets; nothing is sent to a
//! board here.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::console::{self, Lines, PIECE_BYTES_MAX};
use super::super::machine::Problem;
use super::super::server::Parking;
use super::super::{Door, transcript_dir};
use super::who::Caller;
use super::{RunQuery, find, tail};

/// Which piece.
#[derive(Deserialize)]
pub(super) struct ConsoleQuery {
    #[serde(default)]
    key: String,
    attempt: Option<u32>,
    #[serde(default)]
    from: u64,
}

/// The lines from a byte on; all that follow too, where events are asked for.
pub(super) async fn console(
    State(door): State<Arc<Door>>,
    caller: Option<Caller>,
    Path(number): Path<String>,
    Query(query): Query<ConsoleQuery>,
    parking: Option<Extension<Parking>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let link = RunQuery { key: query.key, wait: None };
    let view = find(&door, &number, &link, caller.is_some()).await?;
    if takes_events(&headers) {
        return tail::tail(door, &view, (query.attempt, query.from), parking, &headers);
    }
    let last = view.attempts.last().map(|attempt| attempt.number);
    let attempt = query.attempt.or(last).ok_or_else(missing)?;
    let lines = piece(&door, view.run.number, attempt, query.from).await.ok_or_else(missing)?;
    Ok(Json(shown(attempt, &lines)).into_response())
}

fn takes_events(headers: &HeaderMap) -> bool {
    let takes = headers.get_all(header::ACCEPT).iter().filter_map(|takes| takes.to_str().ok());
    takes.flat_map(|takes| takes.split(',')).any(|media| media.trim().starts_with("text/event-stream"))
}

/// What an attempt's console has from a byte on; `None` where it has none, or none any more.
pub(super) async fn piece(door: &Door, number: i64, attempt: u32, from: u64) -> Option<Lines> {
    let path = transcript_dir(&door.transcripts, number, attempt).join("console");
    let redactor = door.redactor.clone();
    let read = move || console::lines(&path, from, PIECE_BYTES_MAX, &redactor);
    tokio::task::spawn_blocking(read).await.ok().and_then(Result::ok)
}

fn missing() -> Problem {
    let detail = "it has not come to a board yet, there is no such attempt, or its log is not kept any more";
    Problem::new(StatusCode::NOT_FOUND, "there is no console", detail)
}

/// Lines as they are sent.
pub(super) fn shown(attempt: u32, lines: &Lines) -> Value {
    let rows: Vec<Value> = lines
        .shown
        .iter()
        .map(|shown| {
            let line = &lines.piece.lines[shown.index];
            json!({ "after_ms": line.micros / 1_000, "sent": line.sent, "text": shown.text })
        })
        .collect();
    json!({ "attempt": attempt, "lines": rows, "open": lines.open, "next": lines.piece.next })
}
