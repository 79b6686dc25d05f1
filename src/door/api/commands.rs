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

use super::super::Door;
use super::super::machine::{self, Problem};
use super::board::document;
use super::delivery;
use super::who::Caller;
use crate::chat::{Delivery, Place, api, words};
use crate::command::Command;
use crate::command::parse::{self, Surface};
use crate::message::Note;
use crate::store::Effected;

/// Answers that say that what was asked for is not possible now.
const NOT_NOW: [&str; 7] = [
    "campaign-in-the-way",
    "campaign-not-now",
    "hold-drains",
    "extend-drains",
    "hold-gone",
    "stale-click",
    "offer-busy",
];

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
    if let Some(instead) = has_its_own(&command) {
        return Err(Problem::invalid(instead));
    }
    let delivery = delivery(&door, &caller, command, &headers)?;
    let default = door.handler.inventory.now().channels.default.clone();
    let place = api::channel(typed.channel.as_deref(), default.as_deref());
    let place = place.map_err(|problem| Problem::unread(&door, &problem))?;
    let committed = machine::carry_out(&door, Delivery { place, ..delivery }, &body).await?;
    let answer = committed.answer;
    let text = said(&door, &answer);
    let fact = |name: &str| answer.facts.get(name);
    let in_vain = fact("effected").and_then(|word| Effected::from_word(word.as_str()?));
    if NOT_NOW.contains(&answer.template.as_str()) || in_vain.is_some_and(Effected::is_in_vain) {
        return Err(Problem::new(StatusCode::CONFLICT, "this is not possible now", text));
    }
    let shown = || ["campaign", "run"].into_iter().find_map(|name| fact(name)?.get("number"));
    let number = fact("number").or_else(shown).and_then(|number| number.as_i64());
    Ok(Json(json!({ "message": answer.template, "text": text, "number": number })).into_response())
}

/// What a chat is told later or elsewhere, which a program would not hear of: where it is asked for instead.
fn has_its_own(command: &Command) -> Option<&'static str> {
    match command {
        Command::Power { .. } => {
            Some("POST /api/v1/power/{board}/{action}, or `boardhand power`, does this and tells how it went")
        }
        Command::Reserve { .. } => {
            Some("POST /api/v1/lease, or `boardhand reserve`, does this and tells when the board is there")
        }
        Command::Reload => {
            Some("`boardhand reload` on the server's machine does this and tells what it found")
        }
        Command::Log { lines: None, .. } => Some(
            "the whole log goes to the run's thread; say how many lines, as /lab log 42 100, or read junit_url and log_url of the run",
        ),
        _ => None,
    }
}

/// What a chat would have said, in plain words.
fn said(door: &Door, answer: &Note) -> String {
    words::of(&door.composer.note(answer, &Place::nowhere()))
}

/// What is no command: what the chat would have said of it, and what was near.
fn not_read(door: &Door, answer: &Note) -> Problem {
    let near = answer.facts.get("near").and_then(|near| near.as_array()).into_iter().flatten();
    let near = near.filter_map(|near| near.as_str()).map(str::to_owned);
    Problem::invalid(said(door, answer)).near(near)
}
