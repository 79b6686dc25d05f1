//! Whatever can be typed in a chat, posted by a program: the same words, read by the same parser, with the permission, the
//! audit row and the effect of the same command, and answered with what the chat would have said. Nothing is decided
//! here.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::super::machine::{self, Problem};
use super::super::{Door, MARK};
use super::board::document;
use super::delivery;
use super::who::Caller;
use crate::chat::{Delivery, Place, api, words};
use crate::command::parse::{self, Surface};
use crate::message::Note;

/// Answers that say that what was asked for is not possible now.
const NOT_NOW: [&str; 3] = ["campaign-in-the-way", "campaign-not-now", "hold-drains"];

/// What is typed, and the channel that a run or a campaign is told in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    text: String,
    channel: Option<String>,
}

/// Does what is typed.
pub(super) async fn run(
    State(door): State<Arc<Door>>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let typed: Typed = document(&body)?;
    let surface = if typed.text.trim_start().starts_with('/') { Surface::Slash } else { Surface::Mention };
    let command = parse::parse(&typed.text, false, surface)
        .map_err(|problem| not_read(&door, &Note::new("unknown-command", problem.facts())))?;
    let delivery = delivery(&door, &caller, command, &headers)?;
    let default = door.handler.inventory.now().channels.default.clone();
    let place = api::channel(typed.channel.as_deref(), default.as_deref());
    let place = place.map_err(|problem| Problem::unread(&door, &problem))?;
    let committed = machine::carry_out(&door, Delivery { place, ..delivery }, &body).await?;
    let mut answer = committed.answer;
    answer.facts.remove(MARK);
    let text = said(&door, &answer);
    if NOT_NOW.contains(&answer.template.as_str()) {
        return Err(Problem::new(StatusCode::CONFLICT, "this is not possible now", text));
    }
    Ok(Json(json!({ "message": answer.template, "text": text, "facts": answer.facts })).into_response())
}

/// What a chat would have said, in plain words.
fn said(door: &Door, answer: &Note) -> String {
    words::of(&door.composer.note(answer, &Place::nowhere()))
}

/// What is no command: what the chat would have said of it, and what was near.
fn not_read(door: &Door, answer: &Note) -> Problem {
    let near = answer.facts.get("near").and_then(|near| near.as_array()).into_iter().flatten();
    let near = near.filter_map(|near| near.as_str()).map(str::to_owned).collect();
    Problem::invalid(said(door, answer)).near(near)
}
