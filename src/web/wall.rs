//! The board wall and the queue: every board by site, with whoever has it and until when; every run that waits, and why.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use minijinja::{Value, context};

use super::live::{self, At, Topic};
use super::reader::Reader;
use super::words::Tongue;
use super::{fragment, html};
use crate::board::Board;
use crate::chat::Actor;
use crate::door::Door;
use crate::door::server::Parking;
use crate::lease::Holder;
use crate::message::Note;
use crate::run::{Run, RunState};
use crate::store::{BoardRow, Result, RunFilter};

/// Most unfinished runs that are looked at for the wall.
const RUNS_MAX: u32 = 2_000;
/// Most waiting runs that are shown, each with its reason.
const QUEUE_MAX: usize = 100;
/// Longest reason that stands on the wall.
const REASON_CHARS_MAX: usize = 80;
const STATES: [&str; 4] = ["free", "run", "held", "quarantined"];

/// Every board.
pub(super) async fn wall(State(door): State<Arc<Door>>, reader: Reader) -> Response {
    if reader.visitor.is_none() {
        return reader.to_sign_in();
    }
    match live::now(&door, Topic::Wall(reader.tongue)).await {
        Ok(html) => {
            let facts = context! { live => Value::from_safe_string(html), at => "boards" };
            reader.page(StatusCode::OK, "wall.html", facts)
        }
        Err(error) => reader.not_now(&error),
    }
}

/// The wall as it changes.
pub(super) async fn follow_wall(
    State(door): State<Arc<Door>>,
    reader: Reader,
    parking: Option<Extension<Parking>>,
    headers: HeaderMap,
) -> Response {
    follow(&door, &reader, Topic::Wall(reader.tongue), parking, &headers)
}

/// The queue as it changes.
pub(super) async fn follow_queue(
    State(door): State<Arc<Door>>,
    reader: Reader,
    parking: Option<Extension<Parking>>,
    headers: HeaderMap,
) -> Response {
    follow(&door, &reader, Topic::Queue(reader.tongue), parking, &headers)
}

fn follow(
    door: &Arc<Door>,
    reader: &Reader,
    topic: Topic,
    parking: Option<Extension<Parking>>,
    headers: &HeaderMap,
) -> Response {
    if reader.visitor.is_none() {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    live::follow(door, topic, At::of(headers, None), parking)
}

/// The part of the wall that changes.
pub(super) async fn wall_live(door: &Door, tongue: Tongue) -> Result<String> {
    Ok(fragment("wall_live.html", tongue, wall_facts(door).await?))
}

/// The part of the queue that changes.
pub(super) async fn queue_live(door: &Door, tongue: Tongue) -> Result<String> {
    Ok(fragment("queue_live.html", tongue, queue_facts(door, tongue).await?))
}

async fn wall_facts(door: &Door) -> Result<Value> {
    let rows = door.store.board_list().await?;
    // Those on boards come first: no more is read than there can be.
    let busy = u32::try_from(rows.iter().filter(|row| row.lease.is_some()).count()).unwrap_or(RUNS_MAX);
    let rows: BTreeMap<_, _> = rows.iter().map(|row| (&row.id, row)).collect();
    let filter = RunFilter { unfinished: true, limit: busy.min(RUNS_MAX), ..RunFilter::default() };
    let runs = if busy == 0 { vec![] } else { door.store.run_list(&filter).await? };
    let runs: BTreeMap<i64, &Run> = runs.iter().map(|run| (run.number, run)).collect();
    let lab = door.handler.inventory.now();
    let mut sites: BTreeMap<&str, BTreeMap<&str, Vec<Value>>> = BTreeMap::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for board in lab.boards.values() {
        let row = rows.get(&board.id).copied();
        *counts.entry(BoardRow::word(row)).or_default() += 1;
        let family = sites.entry(board.site.as_str()).or_default().entry(board.family.as_str()).or_default();
        family.push(tile(board, row, &runs));
    }
    let sites: Vec<Value> = sites
        .into_iter()
        .map(|(name, families)| {
            let families = families.into_iter();
            let families: Vec<Value> = families.map(|(name, boards)| context! { name, boards }).collect();
            context! { name, families }
        })
        .collect();
    let counts: Vec<Value> =
        STATES.map(|state| context! { state, count => counts.get(state).copied().unwrap_or(0) }).to_vec();
    Ok(context! { sites, counts })
}

fn tile(board: &Board, row: Option<&BoardRow>, runs: &BTreeMap<i64, &Run>) -> Value {
    let state = BoardRow::word(row);
    let lease = row.and_then(|row| row.lease.as_ref());
    let mut run = None;
    let mut by = None;
    match lease.map(|lease| &lease.holder) {
        Some(Holder::Run { number, .. }) => run = Some(*number),
        Some(Holder::Person(person) | Holder::Check(person)) => by = Some(called(person)),
        None => {}
    }
    // Somebody's own run on the board that they have.
    run = run.or_else(|| lease?.hold.as_ref()?.run.map(|(number, _)| number));
    let build = run.and_then(|number| runs.get(&number)).map(|run| run.spec.build.as_str());
    let stage = run.and_then(|number| runs.get(&number)).map(|run| run.state.word());
    let until = lease.filter(|lease| lease.hold.is_some()).map(|lease| lease.expires_at);
    let out = row.and_then(|row| row.quarantine.as_ref());
    let reason = row.map(|row| row.reason.as_str()).filter(|reason| !reason.is_empty() && lease.is_none());
    context! {
        id => board.id.as_str(),
        state,
        run,
        build,
        stage,
        by,
        until => until.map(|at| at.rfc3339()),
        until_said => until.map(|at| at.to_minute()),
        since => out.map(|out| out.at.to_minute()),
        reason => reason.map(|reason| crate::chat::plain::cut(&crate::chat::plain::one_line(reason), REASON_CHARS_MAX)),
    }
}

/// What somebody is called on a page.
pub(super) fn called(actor: &Actor) -> String {
    let name = if actor.name.is_empty() { &actor.id } else { &actor.name };
    crate::chat::plain::one_line(name)
}

/// Every run that waits, in the order of their numbers, with the reason.
pub(super) async fn queue(State(door): State<Arc<Door>>, reader: Reader) -> Response {
    if reader.visitor.is_none() {
        return reader.to_sign_in();
    }
    match live::now(&door, Topic::Queue(reader.tongue)).await {
        Ok(html) => {
            let facts = context! { live => Value::from_safe_string(html), at => "queue" };
            reader.page(StatusCode::OK, "queue.html", facts)
        }
        Err(error) => reader.not_now(&error),
    }
}

async fn queue_facts(door: &Door, tongue: Tongue) -> Result<Value> {
    let filter = RunFilter { unfinished: true, limit: RUNS_MAX, ..RunFilter::default() };
    let runs = door.store.run_list(&filter).await?;
    let (waiting, active): (Vec<&Run>, Vec<&Run>) =
        runs.iter().partition(|run| matches!(run.state, RunState::Queued { .. }));
    let mut shown = Vec::new();
    for run in waiting.iter().take(QUEUE_MAX) {
        let Some(view) = door.store.run_view(run.number).await? else { continue };
        let facts = door.composer.run_facts(&view);
        let position = facts["why"]["position"].as_str().map(str::to_owned);
        let card = door.composer.page_note(&Note::new("why", facts), tongue.as_str());
        shown.push(context! {
            number => run.number,
            family => run.spec.family.as_str(),
            build => run.spec.build.as_str(),
            suite => run.spec.suite.as_str(),
            by => called(&run.requested_by),
            priority => run.spec.priority.as_str(),
            position,
            why => Value::from_safe_string(html::card(&card, false)),
        });
    }
    let active: Vec<Value> = active
        .iter()
        .map(|run| {
            let board = match &run.state {
                RunState::Active { lease, .. } => Some(lease.board.as_str()),
                RunState::Queued { .. } | RunState::Finished { .. } => None,
            };
            context! {
                number => run.number,
                family => run.spec.family.as_str(),
                build => run.spec.build.as_str(),
                suite => run.spec.suite.as_str(),
                by => called(&run.requested_by),
                state => run.state.word(),
                board,
            }
        })
        .collect();
    let more = waiting.len().saturating_sub(QUEUE_MAX);
    Ok(context! { waiting => shown, more, active })
}
