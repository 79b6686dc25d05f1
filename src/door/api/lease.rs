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
use serde_json::{Map, Value, json};

use super::super::Door;
use super::super::machine::{self, Problem};
use super::board::document;
use super::in_line::{Ended, LOOKS_MAX, Waiter, Way};
use super::list::{Known, named};
use super::who::Caller;
use super::{WAIT_MAX, delivery, or_default, unreadable};
use crate::board::Inventory;
use crate::chat::plain;
use crate::clock::{Timestamp, shown_duration};
use crate::command::Command;
use crate::command::document::TEXT_BYTES_MAX;
use crate::id::LeaseId;
use crate::lease::scheduler::as_run;
use crate::lease::{Holder, Lease, Reservation};
use crate::message::waiting;
use crate::store::{Committed, LeaseView};

/// How long a board is had where nobody says, in seconds.
const LASTS_S: u64 = 1_800;
/// When to ask again for a board that is not free, where nothing better is known, in seconds; and at most.
const AGAIN_S: u64 = 30;
const AGAIN_S_MAX: u64 = 3_600;

/// Which board, and how.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    board_family: Option<String>,
    board_id: Option<String>,
    /// For how long, in seconds.
    timeout: Option<u64>,
    #[serde(default, deserialize_with = "or_default")]
    reason: String,
    /// What whoever asks calls itself; shown beside the name of its token.
    #[serde(default, deserialize_with = "or_default")]
    worker_id: String,
    /// A board there, where one is free.
    preferred_location: Option<String>,
    /// How long the answer waits for the board, in seconds.
    #[serde(default, deserialize_with = "or_default")]
    wait: u64,
    /// Whether to stay in line when that is over.
    #[serde(default, deserialize_with = "or_default")]
    queue: bool,
}

/// How much longer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Longer {
    /// In seconds.
    timeout: Option<u64>,
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
    let mut before = None;
    for _ in 0..LOOKS_MAX {
        match ask(&door, &caller, &headers, (&body, &wanted)).await? {
            Asked::Answered(answer) => return Ok(answer),
            // What it came to before is over: it is asked for anew, where that was forgotten with it.
            Asked::Over(id) if before != Some(id) => before = Some(id),
            Asked::Over(_) => break,
        }
    }
    let detail = "what was asked for under this Idempotency-Key is over; ask under another for a board anew";
    Err(Problem::new(StatusCode::CONFLICT, "this lease is over", detail))
}

/// What came of asking for a board.
enum Asked {
    Answered(Response),
    /// Of something that was asked for before, which is over.
    Over(LeaseId),
}

async fn ask(
    door: &Arc<Door>,
    caller: &Caller,
    headers: &HeaderMap,
    (body, wanted): (&[u8], &Wanted),
) -> Result<Asked, Problem> {
    let target = wanted.target(&door.handler.inventory.now())?;
    let mut delivery = delivery(door, caller, wanted.command(&target)?, headers)?;
    delivery.actor.name = line("worker_id", &wanted.worker_id)?;
    let (who, key, stays) = ((door.clone(), caller.clone()), delivery.key.clone(), wanted.queue);
    let enter = move |committed: &Committed| {
        // What was there before, and is nobody's here, is not given up with this request.
        let alone = committed.answer.facts.contains_key("already");
        let way = Way { stays, alone, first: committed.fresh && !alone };
        lease_of(committed).map(|id| (id, Waiter::enter(who, id, key, way)))
    };
    let (committed, entered) = machine::carry_out_for(door, delivery, body, enter).await?;
    let facts = &committed.answer.facts;
    let Some((id, entered)) = entered else { return Err(not_had(&target, facts)) };
    let waiter = match entered {
        Ok(waiter) => waiter,
        // It is being given up. Nothing is ever sent: this ends when that is done.
        Err(mut leaving) => {
            let _ = leaving.changed().await;
            return Ok(Asked::Over(id));
        }
    };
    let is_new = committed.fresh && !facts.contains_key("already");
    let wait = Duration::from_secs(wanted.wait).min(WAIT_MAX);
    let (waiter, view) = match waited(door, (id, waiter), wait).await? {
        (waiter, Some(LeaseView::Waiting(wish))) => match waiter.end().await? {
            Ended::Stays => {
                return Ok(Asked::Answered(
                    (StatusCode::ACCEPTED, Json(waiting(door, &wish))).into_response(),
                ));
            }
            Ended::Nothing => return Err(not_free(&target, facts.get("eta"))),
            Ended::Came(waiter, view) => (waiter, Some(view)),
        },
        other => other,
    };
    match view {
        Some(LeaseView::Lease(lease, None)) => {
            let answer = Json(shown(door, &lease, None).await?);
            waiter.told();
            let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
            Ok(Asked::Answered((status, answer).into_response()))
        }
        Some(LeaseView::Lease(lease, Some(_))) if is_new => Err(over(&lease)),
        None if is_new => {
            let detail = format!("nobody waits for {target} any more: somebody gave this place in line back");
            Err(Problem::new(StatusCode::CONFLICT, "this lease is over", detail))
        }
        Some(_) | None => Ok(Asked::Over(id)),
    }
}

/// The lease or place in line that a request came to.
fn lease_of(committed: &Committed) -> Option<LeaseId> {
    let facts = &committed.answer.facts;
    let in_vain = ["not-theirs", "too-many"].map(Value::from);
    let id = facts.get("lease").filter(|_| !facts.get("effected").is_some_and(|word| in_vain.contains(word)));
    id?.as_str()?.parse().ok()
}

/// What has become of it when it is no place in line any more, or the time is over.
async fn waited(
    door: &Door,
    (id, waiter): (LeaseId, Waiter),
    wait: Duration,
) -> Result<(Waiter, Option<LeaseView>), Problem> {
    let mut patience = door.waits.patience(door, wait);
    loop {
        let view = door.store.lease_view(id).await.map_err(unreadable)?;
        let still = matches!(view, Some(LeaseView::Waiting(_)));
        if still {
            waiter.waits();
        }
        if !still || !patience.again().await {
            return Ok((waiter, view));
        }
    }
}

impl Wanted {
    /// The board or the family that is asked for.
    fn target(&self, lab: &Inventory) -> Result<String, Problem> {
        match (&self.board_id, &self.board_family) {
            (Some(board), None) => Ok(named(lab, board)?.id.to_string()),
            (None, Some(family)) => Ok(family.clone()),
            _ => Err(Problem::invalid("one of board_id and board_family must be there")),
        }
    }

    fn command(&self, target: &str) -> Result<Command, Problem> {
        Ok(Command::Reserve {
            target: target.to_owned(),
            lasts: Some(seconds(self.timeout.unwrap_or(LASTS_S))?),
            reason: line("reason", &self.reason)?,
            waits: self.queue || self.wait > 0,
            site: self.preferred_location.clone(),
        })
    }
}

/// Every lease, and everybody who waits for a board of their own.
pub(in crate::door) async fn list(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Query(query): Query<LeasesQuery>,
) -> Result<Response, Problem> {
    let own = caller.actor.key();
    let (leases, wishes) = had_and_awaited(&door).await?;
    let leases = leases.iter().filter(|lease| !query.mine || lease.is_held_by(&caller.actor));
    let mut items: Vec<Value> = leases.map(|lease| lease.document(None)).collect();
    let wishes = wishes.iter().filter(|wish| !query.mine || wish.by.key() == own);
    items.extend(wishes.map(|wish| waiting(&door, wish)));
    Ok(Json(json!({ "items": items, "next": null })).into_response())
}

/// Every lease, and every place in line that is none yet.
pub(super) async fn had_and_awaited(door: &Door) -> Result<(Vec<Lease>, Vec<Reservation>), Problem> {
    // In this order: what becomes a lease between the two is among the leases.
    let mut wishes = door.store.reservation_list().await.map_err(unreadable)?;
    let leases = door.store.lease_list().await.map_err(unreadable)?;
    wishes.retain(|wish| leases.iter().all(|lease| lease.id != wish.id));
    Ok((leases, wishes))
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
    let longer: Longer = if body.is_empty() { Longer { timeout: None } } else { document(&body)? };
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
    let command = Command::Extend {
        board: Some(lease.board.to_string()),
        by: Some(seconds(longer.timeout.unwrap_or(LASTS_S))?),
    };
    let delivery = delivery(&door, &caller, command, &headers)?;
    machine::carry_out(&door, delivery, &body).await?;
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
            return Ok(Json(lease.document(Some(*ended_at))).into_response());
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
    give_back(&door, &caller, &view, (&headers, &[])).await?;
    Ok(Json(match (find(&door, &id).await, view) {
        (Ok(LeaseView::Lease(lease, ended_at)), _) => lease.document(ended_at),
        // A place in line that is over is nowhere.
        (Err(_), LeaseView::Waiting(wish)) => {
            json!({ "lease_id": wish.id, "status": "released", "wanted": wanted_name(&wish) })
        }
        (Ok(LeaseView::Waiting(wish)), _) => waiting(&door, &wish),
        (Err(problem), LeaseView::Lease(..)) => return Err(problem),
    })
    .into_response())
}

/// Gives back just this lease, or leaves the line; whose it may be is decided by policy. What was remembered under
/// `undoes` is forgotten with it.
pub(super) async fn give_back(
    door: &Door,
    caller: &Caller,
    view: &LeaseView,
    (headers, undoes): (&HeaderMap, &[String]),
) -> Result<(), Problem> {
    let (target, lease) = match view {
        LeaseView::Waiting(wish) => (wanted_name(wish), wish.id),
        LeaseView::Lease(lease, _) => (lease.board.to_string(), lease.id),
    };
    let command = Command::Release { target: Some(target), lease: Some(lease), undoes: undoes.to_vec() };
    let delivery = delivery(door, caller, command, headers)?;
    machine::carry_out(door, delivery, &[]).await.map(drop)
}

async fn find(door: &Door, id: &str) -> Result<LeaseView, Problem> {
    let id: LeaseId = id.parse().map_err(|_| missing())?;
    door.store.lease_view(id).await.map_err(unreadable)?.ok_or_else(missing)
}

/// A lease with its board, and where its console is.
async fn shown(door: &Door, lease: &Lease, ended_at: Option<Timestamp>) -> Result<Value, Problem> {
    let (lab, known) = (door.handler.inventory.now(), Known::look(door).await?);
    let mut shown = lease.document(ended_at);
    let board = lab.boards.get(&lease.board);
    shown["board"] = json!(board.map(|board| known.board_row(&known.closing(&lab), board)));
    Ok(shown)
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

/// Why there is neither a board nor a place in line.
fn not_had(target: &str, facts: &Map<String, Value>) -> Problem {
    if facts.get("effected").and_then(Value::as_str) != Some("too-many") {
        return not_free(target, facts.get("eta"));
    }
    let most = facts.get("most").and_then(Value::as_u64).unwrap_or_default();
    let detail = format!("you have or wait for {most} boards, and nobody may for more; release one first");
    Problem::new(StatusCode::CONFLICT, "these are too many boards", detail)
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
