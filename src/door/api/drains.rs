//! What takes nothing new, for programs: begun and ended with the commands that people type, with their permissions and
//! their audit rows.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Door;
use super::super::machine::{self, Problem};
use super::board::document;
use super::who::Caller;
use super::{delivery, or_default, unreadable};
use crate::board::{BoardId, Inventory, Site};
use crate::chat::plain;
use crate::clock::Timestamp;
use crate::command::document::TEXT_BYTES_MAX;
use crate::command::{Command, parse};
use crate::lease::Lease;
use crate::store::{Drain, Drained, OF_WORKER};

/// What is to take nothing new.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    board: Option<String>,
    site: Option<String>,
    worker: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    reason: String,
    lasts: Option<String>,
}

/// Lets a board or a site take nothing new.
pub(in crate::door) async fn begin(
    State(door): State<Arc<Door>>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let wanted: Wanted = document(&body)?;
    let of = match (&wanted.board, &wanted.site, &wanted.worker) {
        (None, None, Some(worker)) => worker_meant(&door, worker)?,
        _ => meant(&door.handler.inventory.now(), &wanted)?,
    };
    let reason = plain::one_line(&wanted.reason);
    if reason.len() > TEXT_BYTES_MAX {
        return Err(Problem::invalid("reason must be a text of at most 1,000 bytes"));
    }
    let lasts = wanted.lasts.as_deref().map(|text| parse::duration(text).ok_or_else(no_time)).transpose()?;
    let command = Command::Drain { target: Some(of.name().to_owned()), lasts, reason };
    let delivery = delivery(&door, &caller, command, &headers)?;
    let committed = machine::carry_out(&door, delivery, &body).await?;
    let (drains, leases) = known(&door).await?;
    let lab = door.handler.inventory.now();
    // A repeat is about what it began, and not about what somebody else began after that.
    let began = committed.answer.facts.get("at").filter(|_| !committed.fresh);
    let is_it = |drain: &&Drain| drain.of == of && began.is_none_or(|at| *at == json!(drain.at));
    let drain = drains.iter().find(is_it).ok_or_else(|| if committed.fresh { missing() } else { over() })?;
    Ok((StatusCode::CREATED, Json(row(&door, &lab, drain, &leases))).into_response())
}

/// Everything that somebody said takes nothing new.
pub(in crate::door) async fn list(State(door): State<Arc<Door>>, _: Caller) -> Result<Response, Problem> {
    let (drains, leases) = known(&door).await?;
    let lab = door.handler.inventory.now();
    let items: Vec<Value> = drains.iter().map(|drain| row(&door, &lab, drain, &leases)).collect();
    Ok(Json(json!({ "items": items, "next": null })).into_response())
}

/// Lets it take new work again.
pub(in crate::door) async fn end(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(number): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (drains, leases) = known(&door).await?;
    let drain = drains.iter().find(|drain| drain.number.to_string() == number).ok_or_else(missing)?;
    let command = Command::Undrain { target: drain.of.name().to_owned() };
    let delivery = delivery(&door, &caller, command, &headers)?;
    machine::carry_out(&door, delivery, b"").await?;
    Ok(Json(row(&door, &door.handler.inventory.now(), drain, &leases)).into_response())
}

async fn known(door: &Door) -> Result<(Vec<Drain>, Vec<Lease>), Problem> {
    let drains = door.store.drain_list().await.map_err(unreadable)?;
    Ok((drains, door.store.lease_list().await.map_err(unreadable)?))
}

fn row(door: &Door, lab: &Inventory, drain: &Drain, leases: &[Lease]) -> Value {
    let boards: Vec<&BoardId> = drain.of.boards(lab).map(|board| &board.id).collect();
    let of_worker = |lease: &Lease| drain.of.worker().is_some_and(|worker| door.crew.has(worker, lease));
    let is_on = |lease: &&Lease| boards.contains(&&lease.board) || of_worker(lease);
    let on_it: Vec<&BoardId> = leases.iter().filter(is_on).map(|lease| &lease.board).collect();
    json!({
        "drain_id": drain.number,
        "kind": drain.of.kind(),
        "name": drain.of.name(),
        "reason": drain.reason,
        "by": drain.by.key(),
        "since": drain.at.rfc3339(),
        "until": drain.ends_at.map(Timestamp::rfc3339),
        "boards": boards,
        "on_it": on_it,
    })
}

/// The one board or site that is named.
fn meant(lab: &Inventory, wanted: &Wanted) -> Result<Drained, Problem> {
    let board_of = |name: &str| lab.boards.keys().find(|id| id.as_str().eq_ignore_ascii_case(name));
    match (&wanted.board, &wanted.site) {
        (Some(name), None) => match board_of(name) {
            Some(board) => Ok(Drained::Board(board.clone())),
            None => Err(nothing("board", name, lab.boards.keys().map(BoardId::as_str))),
        },
        (None, Some(name)) => {
            let site = lab.sites.keys().find(|site| site.as_str().to_lowercase() == name.to_lowercase());
            match site {
                // In a command, a board comes before a site of its name.
                Some(_) if board_of(name).is_some() => Err(Problem::invalid(
                    "there is a board of this name too; drain the site's boards one by one",
                )),
                Some(site) => Ok(Drained::Site(site.clone())),
                None => Err(nothing("site", name, lab.sites.keys().map(Site::as_str))),
            }
        }
        _ => Err(Problem::invalid("name a board, a site or a worker, and one alone")),
    }
}

/// The worker of this name.
fn worker_meant(door: &Door, name: &str) -> Result<Drained, Problem> {
    let shown = door.crew.shown();
    match shown.iter().find(|shown| shown.row.worker.id.eq_ignore_ascii_case(name)) {
        Some(shown) => Ok(Drained::Worker(format!("{OF_WORKER}{}", shown.row.worker.id))),
        None => {
            let names = shown.iter().map(|shown| shown.row.worker.id.as_str());
            let near = crate::board::near::nearest(name, names);
            let detail = "GET /api/v1/workers has all of them";
            Err(Problem::new(StatusCode::NOT_FOUND, "there is no such worker", detail).near(near))
        }
    }
}

fn nothing<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Problem {
    let near = crate::board::near::nearest(name, known);
    let title = if what == "board" { "there is no such board" } else { "there is no such site" };
    Problem::new(StatusCode::NOT_FOUND, title, "GET /api/v1/boards has all of them").near(near)
}

fn no_time() -> Problem {
    Problem::invalid("lasts must be a time such as 90m or 2h")
}

fn over() -> Problem {
    let detail = "what was asked for under this Idempotency-Key is over; ask under another to drain it anew";
    Problem::new(StatusCode::CONFLICT, "this drain is over", detail)
}

fn missing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such drain", "GET /api/v1/drains has all of them")
}
