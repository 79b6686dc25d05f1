//! A run's console as lines, piece by piece: a program asks again from where the last piece ended. What a board printed is
//! text, without secrets; nothing is sent to a board here.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::console::{self, Lines, PIECE_BYTES_MAX};
use super::super::machine::Problem;
use super::super::{Door, transcript_dir};
use super::who::Caller;
use super::{RunQuery, find};

/// Which piece.
#[derive(Deserialize)]
pub(super) struct ConsoleQuery {
    #[serde(default)]
    key: String,
    attempt: Option<u32>,
    #[serde(default)]
    from: u64,
}

/// The lines from a byte on.
pub(super) async fn console(
    State(door): State<Arc<Door>>,
    caller: Option<Caller>,
    Path(number): Path<String>,
    Query(query): Query<ConsoleQuery>,
) -> Result<Response, Problem> {
    let link = RunQuery { key: query.key, wait: None };
    let view = find(&door, &number, &link, None, caller.is_some()).await?;
    let last = view.attempts.last().map(|attempt| attempt.number);
    let attempt = query.attempt.or(last).ok_or_else(missing)?;
    let path = transcript_dir(&door.transcripts, view.run.number, attempt).join("console");
    let redactor = door.redactor.clone();
    let read = move || console::lines(&path, query.from, PIECE_BYTES_MAX, &redactor);
    let lines = tokio::task::spawn_blocking(read).await.ok().and_then(Result::ok).ok_or_else(missing)?;
    Ok(Json(shown(attempt, &lines)).into_response())
}

fn missing() -> Problem {
    let detail = "it has not come to a board yet, there is no such attempt, or its log is not kept any more";
    Problem::new(StatusCode::NOT_FOUND, "there is no console", detail)
}

fn shown(attempt: u32, lines: &Lines) -> Value {
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
