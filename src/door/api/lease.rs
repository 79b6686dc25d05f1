//! Leases over the API: a program takes a board of its own, keeps it for longer and gives it back, as people do in chat:
//! in the same line, under the same rules and limits. Whoever waits here and goes away waits no more.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Door;
use super::super::machine::{self, Problem};
use super::board::document;
use super::list::{board_row, named};
use super::who::Caller;
use super::{WAIT_MAX, delivery, unreadable};
use crate::board::Inventory;
use crate::chat::plain;
use crate::clock::{Timestamp, shown_duration};
use crate::command::Command;
use crate::command::document::TEXT_BYTES_MAX;
use crate::id::LeaseId;
use crate::lease::scheduler::as_run;
use crate::lease::{Holder, Lease, LeaseState, Reservation};
use crate::message::waiting;
use crate::store::LeaseView;

/// How long a board is had where nobody says, in seconds.
const LASTS_S: u64 = 1_800;
/// When to ask again for a board that is not free, where nothing better is known, in seconds; and at most.
const AGAIN_S: u64 = 30;
const AGAIN_S_MAX: u64 = 3_600;
/// How often something is looked at again that changed while it was looked at.
const LOOKS_MAX: u32 = 3;

/// Which board, and how.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    board_family: Option<String>,
    board_id: Option<String>,
    /// For how long, in seconds.
    #[serde(default = "lasts_s")]
    timeout: u64,
    #[serde(default)]
    reason: String,
    /// What whoever asks calls itself; shown beside the name of its token.
    #[serde(default)]
    worker_id: String,
    /// A board there, where one is free.
    preferred_location: Option<String>,
    /// How long the answer waits for the board, in seconds.
    #[serde(default)]
    wait: u64,
    /// Whether to stay in line when that is over.
    #[serde(default)]
    queue: bool,
}

fn lasts_s() -> u64 {
    LASTS_S
}

/// How much longer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Longer {
    /// In seconds.
    #[serde(default = "lasts_s")]
    timeout: u64,
}

/// Which leases.
#[derive(Deserialize)]
pub(in crate::door) struct LeasesQuery {
    /// Only those of whoever asks.
    #[serde(default)]
    mine: bool,
}

/// Takes a board: 201 with it, 202 in line for it where that is wanted, 503 where it is not free.
pub(in crate::door) async fn take(
    State(door): State<Arc<Door>>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let wanted: Wanted = document(&body)?;
    let lab = door.handler.inventory.now();
    let target = wanted.target(&door, &lab).await?;
    let waits = wanted.queue || wanted.wait > 0;
    let command = Command::Reserve {
        target: target.clone(),
        lasts: Some(seconds(wanted.timeout)?),
        reason: line("reason", &wanted.reason)?,
        waits,
    };
    let mut delivery = delivery(&door, &caller, command, &headers)?;
    delivery.actor.name = line("worker_id", &wanted.worker_id)?;
    let committed = machine::carry_out(&door, delivery).await?;
    let facts = &committed.answer.facts;
    let word = facts.get("effected").and_then(Value::as_str).unwrap_or_default();
    if word == "too-many" {
        let most = facts.get("most").and_then(Value::as_u64).unwrap_or_default();
        let detail =
            format!("you have or wait for {most} boards, and nobody may for more; release one first");
        return Err(Problem::new(StatusCode::CONFLICT, "these are too many boards", detail));
    }
    let id = facts.get("lease").and_then(|id| id.as_str()?.parse::<LeaseId>().ok());
    let Some(id) = id.filter(|_| word != "not-theirs") else {
        return Err(not_free(&target, facts.get("eta")));
    };
    let wait = Duration::from_secs(wanted.wait).min(WAIT_MAX);
    let leaving = Leaving { door: door.clone(), caller: caller.clone(), id, stays: wanted.queue };
    let mut patience = door.waits.patience(&door, wait);
    let view = loop {
        let view = door.store.lease_view(id).await.map_err(unreadable)?;
        let still = matches!(view, Some(LeaseView::Waiting(_)));
        if !still || !patience.again().await {
            break view;
        }
    };
    let view = leaving.with(view).await?;
    Ok(match view {
        Some(LeaseView::Lease(lease, ended_at)) => {
            let new = committed.fresh && ended_at.is_none() && !facts.contains_key("already");
            let status = if new { StatusCode::CREATED } else { StatusCode::OK };
            (status, Json(shown(&door, &lease, ended_at).await?)).into_response()
        }
        Some(LeaseView::Waiting(wish)) => (StatusCode::ACCEPTED, Json(waiting(&door, &wish))).into_response(),
        None => return Err(not_free(&target, facts.get("eta"))),
    })
}

impl Wanted {
    /// The board or the family that is asked for; a free board of the family at the place that is preferred.
    async fn target(&self, door: &Door, lab: &Inventory) -> Result<String, Problem> {
        let family = match (&self.board_id, &self.board_family) {
            (Some(board), None) => return Ok(named(lab, board)?.id.to_string()),
            (None, Some(family)) => family,
            _ => return Err(Problem::invalid("one of board_id and board_family must be there")),
        };
        let Some(site) = &self.preferred_location else { return Ok(family.clone()) };
        let rows = door.store.board_list().await.map_err(unreadable)?;
        let is_free = |id: &crate::board::BoardId| {
            rows.iter().all(|row| row.id != *id || crate::store::BoardRow::word(Some(row)) == "free")
        };
        let there = lab.boards.values().find(|board| {
            board.family.as_str().eq_ignore_ascii_case(family)
                && board.site.as_str().eq_ignore_ascii_case(site)
                && is_free(&board.id)
        });
        Ok(there.map_or_else(|| family.clone(), |board| board.id.to_string()))
    }
}

/// Somebody who waits for their board: when they go away, or their time is over, they wait no more, unless they stay in
/// line.
struct Leaving {
    door: Arc<Door>,
    caller: Caller,
    id: LeaseId,
    stays: bool,
}

impl Leaving {
    /// What became of their wish when they wait no longer.
    async fn with(mut self, mut view: Option<LeaseView>) -> Result<Option<LeaseView>, Problem> {
        for _ in 0..LOOKS_MAX {
            match &view {
                Some(waits @ LeaseView::Waiting(_)) if !self.stays => {
                    give_back(&self.door, &self.caller, waits, &HeaderMap::new()).await?;
                    view = self.door.store.lease_view(self.id).await.map_err(unreadable)?;
                }
                _ => break,
            }
        }
        self.stays = true;
        Ok(view)
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        let (door, caller, id) = (self.door.clone(), self.caller.clone(), self.id);
        tokio::spawn(async move {
            let gone = async {
                match door.store.lease_view(id).await.map_err(unreadable)? {
                    // It may come as they go: nobody knows that they have it.
                    Some(view @ (LeaseView::Waiting(_) | LeaseView::Lease(_, None))) => {
                        give_back(&door, &caller, &view, &HeaderMap::new()).await
                    }
                    Some(LeaseView::Lease(_, Some(_))) | None => Ok(()),
                }
            };
            if gone.await.is_err() {
                tracing::warn!(lease.id = %id, "somebody who waited has gone, and may be given a board all the same");
            }
        });
    }
}

/// Every lease, and everybody who waits for a board of their own.
pub(in crate::door) async fn list(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Query(query): Query<LeasesQuery>,
) -> Result<Response, Problem> {
    let own = caller.actor.key();
    let mut items = Vec::new();
    for lease in door.store.lease_list().await.map_err(unreadable)? {
        if !query.mine || lease.is_held_by(&caller.actor) {
            items.push(row(&lease, None));
        }
    }
    let wishes = door.store.reservation_list().await.map_err(unreadable)?;
    items.extend(
        wishes.iter().filter(|wish| !query.mine || wish.by.key() == own).map(|wish| waiting(&door, wish)),
    );
    Ok(Json(json!({ "items": items, "next": null })).into_response())
}

/// One lease, also one that has ended, or a place in line.
pub(in crate::door) async fn lease(
    State(door): State<Arc<Door>>,
    _: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    Ok(Json(match find(&door, &id).await? {
        LeaseView::Lease(lease, ended_at) => shown(&door, &lease, ended_at).await?,
        LeaseView::Waiting(wish) => waiting(&door, &wish),
    })
    .into_response())
}

/// Keeps a board for longer.
pub(in crate::door) async fn renew(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let longer: Longer = if body.is_empty() { Longer { timeout: LASTS_S } } else { document(&body)? };
    let lease = match find(&door, &id).await? {
        LeaseView::Lease(lease, None) if lease.is_held_by(&caller.actor) => *lease,
        LeaseView::Lease(lease, None) => {
            let detail = format!("only whoever has {} keeps it for longer", lease.board);
            return Err(Problem::new(StatusCode::FORBIDDEN, "this is not allowed", detail));
        }
        LeaseView::Lease(lease, Some(_)) => return Err(over(&lease)),
        LeaseView::Waiting(wish) => {
            let detail = format!("{} is not there yet", wanted_name(&wish));
            return Err(Problem::new(StatusCode::CONFLICT, "this lease is waited for", detail));
        }
    };
    let command =
        Command::Extend { board: Some(lease.board.to_string()), by: Some(seconds(longer.timeout)?) };
    let delivery = delivery(&door, &caller, command, &headers)?;
    machine::carry_out(&door, delivery).await?;
    let LeaseView::Lease(lease, ended_at) = find(&door, &id).await? else { return Err(missing()) };
    Ok(Json(shown(&door, &lease, ended_at).await?).into_response())
}

/// Gives a board back, or a place in line; an operator, somebody else's.
pub(in crate::door) async fn release(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let view = find(&door, &id).await?;
    match &view {
        LeaseView::Lease(lease, Some(ended_at)) => {
            return Ok(Json(row(lease, Some(*ended_at))).into_response());
        }
        LeaseView::Lease(lease, None) if lease.hold.is_none() => {
            let detail = match &lease.holder {
                Holder::Run { number, .. } => format!("it is of #{number}; end that run"),
                Holder::Person(_) | Holder::Check(_) => "it ends by itself in a moment".to_owned(),
            };
            return Err(Problem::new(StatusCode::CONFLICT, "this lease is nobody's own", detail));
        }
        LeaseView::Lease(_, None) | LeaseView::Waiting(_) => {}
    }
    give_back(&door, &caller, &view, &headers).await?;
    Ok(Json(match (find(&door, &id).await, view) {
        (Ok(LeaseView::Lease(lease, ended_at)), _) => row(&lease, ended_at),
        // A place in line that is over is nowhere.
        (Err(_), LeaseView::Waiting(wish)) => {
            json!({ "lease_id": wish.id, "status": "released", "wanted": wanted_name(&wish) })
        }
        (Ok(LeaseView::Waiting(wish)), _) => waiting(&door, &wish),
        (Err(problem), LeaseView::Lease(..)) => return Err(problem),
    })
    .into_response())
}

/// Gives back just this lease, or leaves the line; whose it may be is decided by policy.
async fn give_back(
    door: &Door,
    caller: &Caller,
    view: &LeaseView,
    headers: &HeaderMap,
) -> Result<(), Problem> {
    let (target, lease) = match view {
        LeaseView::Waiting(wish) => (wanted_name(wish), wish.id),
        LeaseView::Lease(lease, _) => (lease.board.to_string(), lease.id),
    };
    let command = Command::Release { target: Some(target), lease: Some(lease) };
    let delivery = delivery(door, caller, command, headers)?;
    machine::carry_out(door, delivery).await.map(drop)
}

async fn find(door: &Door, id: &str) -> Result<LeaseView, Problem> {
    let id: LeaseId = id.parse().map_err(|_| missing())?;
    door.store.lease_view(id).await.map_err(unreadable)?.ok_or_else(missing)
}

/// A lease with its board, and where its console is.
async fn shown(door: &Door, lease: &Lease, ended_at: Option<Timestamp>) -> Result<Value, Problem> {
    let rows = door.store.board_list().await.map_err(unreadable)?;
    let lab = door.handler.inventory.now();
    let mut shown = row(lease, ended_at);
    let board = lab.boards.get(&lease.board);
    shown["board"] = json!(board.map(|board| board_row(board, rows.iter().find(|row| row.id == board.id))));
    Ok(shown)
}

pub(super) fn row(lease: &Lease, ended_at: Option<Timestamp>) -> Value {
    let (holder, run) = match &lease.holder {
        Holder::Run { number, .. } => (format!("#{number}"), Some(*number)),
        Holder::Person(person) | Holder::Check(person) => (person.key(), None),
    };
    let status = match (lease.state, ended_at) {
        (LeaseState::Active | LeaseState::Finalizing | LeaseState::Held, _) => "active",
        (LeaseState::Released, Some(at)) if at >= lease.expires_at => "expired",
        (LeaseState::Released, _) => "released",
        (LeaseState::Lapsed, _) => "expired",
    };
    json!({
        "lease_id": lease.id,
        "board_id": lease.board,
        "holder": holder,
        "run": run,
        "reason": lease.hold.as_ref().map(|hold| hold.reason.as_str()).filter(|reason| !reason.is_empty()),
        "fence": lease.fence.0,
        "acquired_at": lease.granted_at.rfc3339(),
        "expires_at": lease.expires_at.rfc3339(),
        "ended_at": ended_at.map(Timestamp::rfc3339),
        "status": status,
        "console": format!("/api/v1/boards/{}/console", lease.board),
        "url": format!("/api/v1/lease/{}", lease.id),
    })
}

/// A place in line. The queue hears of it a moment after the store.
pub(super) fn waiting(door: &Door, wish: &Reservation) -> Value {
    let standing = door.handler.queue.lock().standing(as_run(wish.id), door.clock.now());
    json!({
        "lease_id": wish.id,
        "wanted": wanted_name(wish),
        "holder": wish.by.key(),
        "reason": Some(wish.reason.as_str()).filter(|reason| !reason.is_empty()),
        "timeout": wish.lasts.as_secs(),
        "asked_at": wish.asked_at.rfc3339(),
        "position": standing.as_ref().map(|foreseen| waiting::place(foreseen.position)),
        "eta_s": standing.and_then(|foreseen| foreseen.eta).map(|(_, high)| high.as_secs()),
        "status": "waiting",
        "url": format!("/api/v1/lease/{}", wish.id),
    })
}

fn wanted_name(wish: &Reservation) -> String {
    wish.board.as_ref().map_or_else(|| wish.family.to_string(), ToString::to_string)
}

/// The board is not free; when it may be.
fn not_free(target: &str, eta: Option<&Value>) -> Problem {
    let seconds = eta.and_then(|eta| eta["high"].as_f64()).map_or(AGAIN_S, |high| high.ceil() as u64);
    let seconds = seconds.clamp(1, AGAIN_S_MAX);
    let again = shown_duration(Duration::from_secs(seconds));
    let detail = format!("{target} is not free; ask again in {again}, or stay in line with \"queue\": true");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "this board is not free", detail).again(seconds)
}

fn over(lease: &Lease) -> Problem {
    let detail = format!("take {} again with POST /api/v1/lease", lease.board);
    Problem::new(StatusCode::CONFLICT, "this lease is over", detail)
}

fn missing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such lease", "GET /api/v1/lease has all that are live")
}

fn seconds(seconds: u64) -> Result<Duration, Problem> {
    let lasts = Some(Duration::from_secs(seconds)).filter(|_| (1..=365 * 86_400).contains(&seconds));
    lasts.ok_or_else(|| Problem::invalid("timeout must be a number of seconds from 1 to a year's"))
}

fn line(key: &str, text: &str) -> Result<String, Problem> {
    let text = plain::one_line(text);
    match text.len() > TEXT_BYTES_MAX {
        true => Err(Problem::invalid(format!("{key} must be a text of at most 1,000 bytes"))),
        false => Ok(text),
    }
}
