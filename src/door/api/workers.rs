//! Workers of remote sites, at the server's door: who they are, what they have to do, and what they report. A worker is
//! whoever has a token for its site and has begun with it; what it says of a lease that is not its own changes nothing. What
//! becomes of a report is the desk's.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use serde_json::{Value, json};

use super::super::machine::Problem;
use super::super::server::Parking;
use super::super::{Door, transcript_dir};
use super::board::document;
use super::who::Caller;
use super::{RunQuery, unreadable, wait_of};
use crate::board::{Site, is_name};
use crate::clock::Timestamp;
use crate::doorbell::Bell;
use crate::id::InstanceId;
use crate::lease::{Holder, Lease, LeaseState};
use crate::store::{Fenced, NewWorker, Registered, WorkerRow};
use crate::worker::crew::Shown;
use crate::worker::desk::Desk;
use crate::worker::dispatch;
use crate::worker::foreman::take_back;
use crate::worker::pieces::PieceError;
use crate::worker::wire::{
    CAPACITY_MAX, Hello, LEASE_LASTS, LabSent, LeasesGiven, LeasesNamed, Leaving, Life, PIECE_BYTES_MAX,
    Piece, PieceTaken, ReportSent, ReportTaken, RunSent, RunWanted, Said, StillHeld, SwitchWanted, WAIT_MAX,
    Welcome, WorkWanted,
};

/// Longest text that a worker says of itself, in bytes.
const WORD_BYTES_MAX: usize = 100;

/// Every worker.
pub(in crate::door) async fn list(State(door): State<Arc<Door>>, _: Caller) -> Result<Response, Problem> {
    let items: Vec<Value> = door.crew.shown().iter().map(row).collect();
    Ok(Json(json!({ "items": items, "next": null })).into_response())
}

fn row(shown: &Shown) -> Value {
    let WorkerRow { worker, registered_at, seen_at, left_at } = &shown.row;
    json!({
        "worker_id": worker.id,
        "site": worker.site,
        "state": shown.standing.as_str(),
        "on_duty": shown.on_duty,
        "version": worker.version,
        "capacity": worker.capacity,
        "boards": shown.boards,
        "token": worker.token,
        "since": registered_at.rfc3339(),
        "seen_at": seen_at.rfc3339(),
        "left_at": left_at.map(Timestamp::rfc3339),
    })
}

/// A worker begins, or begins again.
pub(in crate::door) async fn register(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let hello: Hello = document(&body)?;
    let site = Site::new(hello.site.as_str());
    may_drive(&caller, &site)?;
    let lab = door.handler.inventory.now();
    let settings = lab.sites.get(&site).filter(|settings| settings.remote);
    if settings.is_none() {
        let remote = lab.sites.iter().filter(|(_, settings)| settings.remote).map(|(site, _)| site.as_str());
        let near = crate::board::near::nearest(site.as_str(), remote);
        let detail =
            "boards.yaml has it not, or has its boards driven by the server: sites: {NAME: {worker: remote}}";
        let problem = Problem::new(StatusCode::CONFLICT, "this site takes no worker", detail);
        return Err(problem.near(near));
    }
    let home = hex::decode(&hello.home).ok().and_then(|home| home.try_into().ok());
    let is_word = |word: &str| word.len() <= WORD_BYTES_MAX && !word.contains(|c: char| c.is_control());
    let is_said_well = is_word(&hello.version) && is_word(&hello.machine);
    let (Some(home), true, true) = (home, is_name(&id), is_said_well) else {
        return Err(Problem::invalid("a worker's name is of letters, digits, '.', '_' and '-'"));
    };
    let now = door.clock.now();
    let worker = NewWorker {
        id: id.clone(),
        instance: hello.instance,
        home,
        site,
        version: hello.version,
        capacity: hello.capacity.clamp(1, CAPACITY_MAX),
        token: caller.actor.id.clone(),
    };
    if door.crew.may_live_twice(&worker, &hello.machine) {
        let detail = "this worker's folder was in use on another machine a moment ago: it is taken once that one is silent, or stops";
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "another life of this worker is heard",
            detail,
        ));
    }
    // Before what it drove may be anybody's.
    door.crew.begins(&worker);
    match door.store.worker_register(&worker, now).await.map_err(unreadable)? {
        Registered::Done(lapsed) => {
            if !lapsed.is_empty() {
                tracing::warn!(
                    worker = id,
                    leases = lapsed.len(),
                    "what a worker's life before drove is taken away"
                );
            }
        }
        Registered::Taken => {
            let detail = format!(
                "{id} is another worker's, with another data folder; give this one a WORKER_ID of its own"
            );
            return Err(Problem::new(StatusCode::CONFLICT, "this name is taken", detail));
        }
        Registered::TooMany => {
            let detail = "so many names of workers are kept that there is no room for another";
            return Err(Problem::new(StatusCode::CONFLICT, "there is no room for another worker", detail));
        }
    }
    tracing::info!(worker = id, site = %worker.site, version = worker.version, "a worker begins");
    let welcome = Welcome { lab: lab_for(&door, &worker.site) };
    let registered_at = door.crew.row(worker.instance).map_or(now, |row| row.registered_at);
    door.crew.joined(WorkerRow { worker, registered_at, seen_at: now, left_at: None }, &hello.machine);
    [Bell::Scheduler, Bell::Foreman, Bell::Relay].iter().for_each(|bell| door.doorbell.ring(*bell));
    Ok(Json(welcome).into_response())
}

fn lab_for(door: &Door, site: &Site) -> LabSent {
    dispatch::lab_for(&door.handler.inventory.now(), site)
}

/// A token that may drive boards of this site: its scope says `worker`, or it is an admin's.
fn may_drive(caller: &Caller, site: &Site) -> Result<(), Problem> {
    if caller.standing.as_ref().is_none_or(|standing| standing.drives(site.as_str())) {
        return Ok(());
    }
    let detail = format!(
        "{} is no token for workers of {site}: boardhand token create NAME --scope worker --scope 'site:{site}'",
        caller.actor.id
    );
    Err(Problem::new(StatusCode::FORBIDDEN, "this is not allowed", detail))
}

/// The worker whose life this is, with the token that it began with.
fn known(door: &Door, caller: &Caller, id: &str, instance: InstanceId) -> Result<WorkerRow, Problem> {
    let row =
        door.crew.row(instance).filter(|row| row.worker.id == id && row.worker.token == caller.actor.id);
    let row = row.ok_or_else(|| {
        let detail = "this life of the worker is not known, or is over: begin again";
        Problem::new(StatusCode::NOT_FOUND, "there is no such worker", detail)
    })?;
    may_drive(caller, &row.worker.site)?;
    door.crew.heard(instance);
    Ok(row)
}

/// A sign of life: every lease of the worker is renewed.
pub(in crate::door) async fn beat(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let Life { instance } = document(&body)?;
    known(&door, &caller, &id, instance)?;
    let now = door.clock.now();
    let leases = door.store.worker_beat(instance, now, now + LEASE_LASTS).await.map_err(unreadable)?;
    let leases = leases.ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, "there is no such worker", "this life of the worker is over")
    })?;
    door.crew.renewed(instance, now);
    let leases = leases.iter().map(|lease| lease.id).collect();
    Ok(Json(StillHeld { leases }).into_response())
}

/// The lab of a worker.
pub(in crate::door) async fn lab(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let Life { instance } = document(&body)?;
    let row = known(&door, &caller, &id, instance)?;
    Ok(Json(lab_for(&door, &row.worker.site)).into_response())
}

/// What a worker has to do, once that is something else than it knows.
pub(in crate::door) async fn work(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<RunQuery>,
    parking: Option<Extension<Parking>>,
    body: Bytes,
) -> Result<Response, Problem> {
    let WorkWanted { instance, seen } = document(&body)?;
    known(&door, &caller, &id, instance)?;
    let wait = wait_of(query.wait.as_deref())?.min(WAIT_MAX);
    let gone =
        || Problem::new(StatusCode::NOT_FOUND, "there is no such worker", "this life of the worker is over");
    let mut work = door.crew.work(instance).ok_or_else(gone)?;
    let parked = parking.map(|Extension(parking)| parking.park());
    if parked.as_ref().is_none_or(Option::is_some) && !wait.is_zero() {
        let news = work.wait_for(|work| !work.version.is_empty() && work.version != seen);
        let _ = door.clock.timeout(wait, news).await;
    }
    drop(parked);
    let work = work.borrow().clone();
    Ok(Json(&*work).into_response())
}

/// A run whose attempt is to begin.
pub(in crate::door) async fn begin(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let RunWanted { instance, run } = document(&body)?;
    known(&door, &caller, &id, instance)?;
    let desk = door.desk.of(instance);
    let nothing = || {
        let detail = "the run is on no board of this worker";
        Problem::new(StatusCode::CONFLICT, "there is no such attempt", detail)
    };
    let begun = desk.begin(run).await.map_err(unreadable)?.ok_or_else(nothing)?;
    let spec = begun.view.run.spec.clone();
    let build = desk.build(&spec.family, &spec.build).await.map_err(unreadable)?;
    let sent = RunSent::of(begun, build).ok_or_else(nothing)?;
    let leases = desk.leases().await.map_err(unreadable)?;
    if !leases.iter().any(|lease| lease.id == sent.lease.id) {
        return Err(nothing());
    }
    Ok(Json(sent).into_response())
}

/// A report under a lease.
pub(in crate::door) async fn report(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let sent: ReportSent = document(&body)?;
    known(&door, &caller, &id, sent.instance)?;
    let lease = sent.lease.clone();
    if matches!(sent.said, Said::Release { .. }) {
        door.crew.let_go(sent.instance, &[lease.id]);
    }
    let taken = dispatch::take(&door.desk, &door.handler.inventory, &door.transcripts, sent).await;
    let done = taken.map_err(|error| match error.is_lasting() {
        true => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "this cannot be kept", error.to_string()),
        false => unreadable(error),
    })?;
    let state = door.store.lease_state(&lease).await.map_err(unreadable)?;
    if done == Fenced::Stale {
        tracing::warn!(worker = id, board.id = %lease.board, lease.fence = lease.fence.0, "a report under a lease that is not the worker's any more");
    }
    [Bell::Relay, Bell::Scheduler, Bell::Foreman].iter().for_each(|bell| door.doorbell.ring(*bell));
    Ok(Json(ReportTaken { done: done == Fenced::Done, state }).into_response())
}

/// One request to a switch that the server drives.
pub(in crate::door) async fn switch(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let wanted: SwitchWanted = document(&body)?;
    known(&door, &caller, &id, wanted.instance)?;
    let done = dispatch::switch(&door.lab, &wanted).await.map_err(unreadable)?;
    let done = done.ok_or_else(|| {
        let detail = "the lease is not this worker's, or not any more";
        Problem::new(StatusCode::CONFLICT, "this lease is lost", detail)
    })?;
    Ok(Json(done).into_response())
}

/// Gives leases back that nobody began with.
pub(in crate::door) async fn give_back(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let (desk, named) = named(&door, &caller, &id, &body).await?;
    door.crew.let_go(desk.instance, &named);
    let leases = desk.give_back(&named).await.map_err(unreadable)?;
    [Bell::Relay, Bell::Scheduler, Bell::Foreman].iter().for_each(|bell| door.doorbell.ring(*bell));
    Ok(Json(LeasesGiven { leases }).into_response())
}

/// Takes leases away whose driver is no more.
pub(in crate::door) async fn let_go(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let (desk, leases) = named(&door, &caller, &id, &body).await?;
    door.crew.let_go(desk.instance, &leases);
    desk.take_away(&leases).await.map_err(unreadable)?;
    [Bell::Relay, Bell::Scheduler, Bell::Foreman].iter().for_each(|bell| door.doorbell.ring(*bell));
    Ok(Json(LeasesGiven { leases }).into_response())
}

/// The desk of a worker, and of the leases that it names its own.
async fn named(
    door: &Door,
    caller: &Caller,
    id: &str,
    body: &Bytes,
) -> Result<(crate::worker::local::Local, Vec<crate::id::LeaseId>), Problem> {
    let LeasesNamed { instance, leases } = document(body)?;
    known(door, caller, id, instance)?;
    let desk = door.desk.of(instance);
    let own = desk.leases().await.map_err(unreadable)?;
    let is_own = |lease: &crate::id::LeaseId| own.iter().any(|own| own.id == *lease);
    Ok((desk, leases.into_iter().filter(is_own).collect()))
}

/// A worker takes nothing new any more.
pub(in crate::door) async fn leave(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let Leaving { instance, over } = document(&body)?;
    let row = known(&door, &caller, &id, instance)?;
    let now = door.clock.now();
    door.store.worker_leave(instance, now).await.map_err(unreadable)?;
    door.crew.left(instance, now);
    if over {
        door.crew.over(instance);
        let left = door.desk.of(instance).leases().await.map_err(unreadable)?;
        let left: Vec<_> = left.iter().map(|lease| lease.id).collect();
        if !left.is_empty() {
            take_back(&door.lab, &left).await.map_err(unreadable)?;
        }
        tracing::info!(worker = id, site = %row.worker.site, leases = left.len(), "a worker has stopped");
    } else {
        tracing::info!(worker = id, site = %row.worker.site, "a worker takes nothing new any more");
    }
    [Bell::Scheduler, Bell::Foreman, Bell::Relay].iter().for_each(|bell| door.doorbell.ring(*bell));
    let state = if over { "stopped" } else { "leaving" };
    Ok(Json(json!({ "worker_id": id, "state": state })).into_response())
}

/// A piece of a file of an attempt: its console, or what a step kept.
pub(in crate::door) async fn piece(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(piece): Query<Piece>,
    body: Bytes,
) -> Result<Response, Problem> {
    known(&door, &caller, &id, piece.instance)?;
    if body.len() > PIECE_BYTES_MAX {
        return Err(Problem::invalid("a piece of a file has at most 131072 bytes"));
    }
    let leases = door.desk.of(piece.instance).leases().await.map_err(unreadable)?;
    let attempt = leases.iter().find(|lease| is_of(lease, &piece)).and_then(attempt_on);
    let Some((run, attempt)) = attempt else {
        let detail = "the lease is not this worker's, or not any more";
        return Err(Problem::new(StatusCode::CONFLICT, "this lease is lost", detail));
    };
    let dir = transcript_dir(&door.transcripts, run, attempt);
    let taken = door.pieces.take(&dir, &piece, &body).await;
    let bytes = taken.map_err(|error| match error {
        PieceError::Name | PieceError::TooLarge => Problem::invalid(error.to_string()),
        PieceError::Disk(_) => {
            tracing::error!(%error, "a worker's file cannot be kept");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not now, try again", "the file cannot be kept")
        }
    })?;
    Ok(Json(PieceTaken { bytes }).into_response())
}

fn is_of(lease: &Lease, piece: &Piece) -> bool {
    lease.id == piece.lease
        && lease.fence.0 == piece.fence
        && lease.board == piece.board
        && matches!(lease.state, LeaseState::Active | LeaseState::Finalizing | LeaseState::Held)
}

fn attempt_on(lease: &Lease) -> Option<(i64, u32)> {
    match &lease.holder {
        Holder::Run { number, attempt, .. } => Some((*number, *attempt)),
        Holder::Person(_) | Holder::Check(_) => lease.hold.as_ref().and_then(|hold| hold.run),
    }
}
