//! What the API does to boards: out of service, back, and their power. Each is the command that people type, with its
//! permission, its audit row and its lease; nothing is decided here, and nothing is switched here.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::machine::{self, Problem};
use super::super::{Door, Refusal};
use super::list::{Known, named};
use super::who::Caller;
use super::{delivery, unreadable, wait_of};
use crate::board::is_name;
use crate::board::plan::PowerAction;
use crate::chat::plain;
use crate::clock::Timestamp;
use crate::command::Command;
use crate::command::document::TEXT_BYTES_MAX;
use crate::id::MessageId;
use crate::store::{Effected, ErrandView};

/// Why a board leaves service.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reason {
    reason: String,
}

/// Whether the answer waits for the end.
#[derive(Deserialize)]
pub(in crate::door) struct WaitQuery {
    wait: Option<String>,
}

/// Takes a board out of service.
pub(in crate::door) async fn quarantine(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let board = named(&door.handler.inventory.now(), &id)?.id.to_string();
    let asked: Reason = document(&body)?;
    let reason = plain::one_line(&asked.reason);
    if reason.is_empty() || reason.len() > TEXT_BYTES_MAX {
        return Err(Problem::invalid("reason must be a text of 1 to 1,000 bytes"));
    }
    let command = Command::Quarantine { board: board.clone(), reason };
    let delivery = delivery(&door, &caller, command, &headers)?;
    changed(&door, (delivery, &body), &board, Effected::AlreadyQuarantined).await
}

/// Puts a board back into service.
pub(in crate::door) async fn put_back(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let board = named(&door.handler.inventory.now(), &id)?.id.to_string();
    let delivery = delivery(&door, &caller, Command::Return { board: board.clone() }, &headers)?;
    changed(&door, (delivery, &[]), &board, Effected::NotQuarantined).await
}

/// The board afterwards, and whether it was another before.
async fn changed(
    door: &Door,
    (delivery, body): (crate::chat::Delivery, &[u8]),
    board: &str,
    unchanged: Effected,
) -> Result<Response, Problem> {
    let committed = machine::carry_out(door, delivery, body).await?;
    let lab = door.handler.inventory.now();
    let known = Known::look(door).await?;
    let mut shown = known.board_row(&known.closing(&lab), named(&lab, board)?);
    shown["changed"] = json!(committed.answer.facts.get("effected") != Some(&json!(unchanged.as_str())));
    Ok(Json(shown).into_response())
}

/// Switches a board, or reads its outlet: 202 with where to follow it, 200 once it has ended.
pub(in crate::door) async fn power(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path((id, action)): Path<(String, String)>,
    Query(query): Query<WaitQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wait = wait_of(query.wait.as_deref())?;
    let board = named(&door.handler.inventory.now(), &id)?.id.to_string();
    if !is_name(&action) {
        return Err(Problem::invalid(
            "the action is on, off, cycle, status or a power sequence of the board",
        ));
    }
    let command = Command::Power { board, action: PowerAction::from(action) };
    let delivery = delivery(&door, &caller, command, &headers)?;
    let committed = machine::carry_out(&door, delivery, &[]).await?;
    let errand = committed.answer.facts.get("errand").and_then(|id| id.as_str()?.parse().ok());
    let errand: MessageId = errand
        .ok_or_else(|| Problem::from(Refusal::Busy("a power request was committed without its id".into())))?;
    let view = ended(&door, errand, wait).await?.ok_or_else(no_request)?;
    let over = view.done.is_some() || !committed.fresh;
    let status = if over { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(shown(&door, &view))).into_response())
}

/// One power request, and how it ended.
pub(in crate::door) async fn power_request(
    State(door): State<Arc<Door>>,
    _: Caller,
    Path(id): Path<String>,
    Query(query): Query<WaitQuery>,
) -> Result<Response, Problem> {
    let wait = wait_of(query.wait.as_deref())?;
    let id: MessageId = id.parse().map_err(|_| no_request())?;
    let view = ended(&door, id, wait).await?.ok_or_else(no_request)?;
    Ok(Json(shown(&door, &view)).into_response())
}

/// A power request after it has ended, or as it is once `wait` is over.
async fn ended(door: &Door, id: MessageId, wait: Duration) -> Result<Option<ErrandView>, Problem> {
    let mut patience = door.waits.patience(door, wait);
    loop {
        let view = door.store.errand_view(id).await.map_err(unreadable)?;
        if view.as_ref().is_none_or(|view| view.done.is_some()) || !patience.again().await {
            return Ok(view);
        }
    }
}

fn shown(door: &Door, view: &ErrandView) -> Value {
    let errand = &view.errand;
    let note = view.done.as_ref().and_then(|(_, note)| note.as_ref());
    let state = match (&view.done, note.map(|note| note.template.as_str())) {
        (None, _) if errand.begun => "begun",
        (None, _) => "asked",
        (Some(_), Some("power-done")) => "done",
        (Some(_), _) => "failed",
    };
    json!({
        "power_id": errand.id,
        "board_id": errand.board,
        "action": errand.action.as_str(),
        "state": state,
        "outlet": note.and_then(|note| note.facts.get("state")),
        "detail": note.filter(|_| state == "failed").map(|note| machine::why_not(door, note)),
        "requested_by": errand.by.key(),
        "created_at": errand.asked_at.rfc3339(),
        "finished_at": view.done.as_ref().map(|(at, _)| Timestamp::rfc3339(*at)),
        "url": format!("/api/v1/power/{}", errand.id),
    })
}

fn no_request() -> Problem {
    let detail = "POST /api/v1/power/{board}/{action} answers with the address of one";
    Problem::new(StatusCode::NOT_FOUND, "there is no such power request", detail)
}

/// A small JSON body.
pub(super) fn document<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body)
        .map_err(|error| Problem::invalid(format!("the body is not as it should be: {error}")))
}
