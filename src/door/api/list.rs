//! Lists of the API: `{items, next}`, where `next` is the address of what follows, or null. Read-only.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Door;
use super::super::machine::Problem;
use super::who::Caller;
use super::{builds, unreadable};
use crate::board::{Board, Inventory};
use crate::chat::Actor;
use crate::clock::Timestamp;
use crate::lease::{Holder, Lease};
use crate::run::RunState;
use crate::store::{BoardRow, Closed, Closing, Drain, RunFilter};

/// Most items of one answer, and how many there are when nobody says.
const ITEMS_MAX: u32 = 200;
const ITEMS: u32 = 50;

/// Which runs.
#[derive(Deserialize)]
pub(in crate::door) struct RunsQuery {
    limit: Option<u32>,
    /// Only those with smaller numbers.
    before: Option<i64>,
    /// `unfinished`: those on boards, then those that wait.
    state: Option<String>,
}

/// Runs, the newest first.
pub(in crate::door) async fn runs(
    State(door): State<Arc<Door>>,
    _: Caller,
    Query(query): Query<RunsQuery>,
) -> Result<Response, Problem> {
    let unfinished = match query.state.as_deref() {
        None => false,
        Some("unfinished") => true,
        Some(_) => return Err(bad("state", "unfinished, or left out")),
    };
    if query.before.is_some() && unfinished {
        return Err(bad("before", "left out with state=unfinished, which is one list"));
    }
    let limit = limit(query.limit)?;
    let filter = RunFilter { unfinished, limit, before: query.before, ..RunFilter::default() };
    let runs = door.store.run_list(&filter).await.map_err(unreadable)?;
    let full = u32::try_from(runs.len()).is_ok_and(|count| count == limit);
    let last = runs.last().map(|run| run.number).filter(|number| full && !unfinished && *number > 1);
    let next = last.map(|last| format!("/api/v1/runs?before={last}&limit={limit}"));
    let numbers: Vec<i64> = runs.iter().map(|run| run.number).collect();
    let boards = door.store.boards_last(&numbers).await.map_err(unreadable)?;
    let items = runs.iter().map(|run| {
        let mut row = door.composer.run_row(run);
        if matches!(run.state, RunState::Finished { .. }) {
            row["board"] = json!(boards.get(&run.number));
        }
        row
    });
    let items: Vec<Value> = items.collect();
    Ok(Json(json!({ "items": items, "next": next })).into_response())
}

/// Which boards.
#[derive(Deserialize)]
pub(in crate::door) struct BoardsQuery {
    /// Only of this family.
    family: Option<String>,
    /// Only at this site.
    site: Option<String>,
}

/// Boards, by name.
pub(in crate::door) async fn boards(
    State(door): State<Arc<Door>>,
    _: Caller,
    Query(query): Query<BoardsQuery>,
) -> Result<Response, Problem> {
    let (lab, known) = (door.handler.inventory.now(), Known::look(&door).await?);
    if let Some(name) = &query.family {
        builds::family(&door, name)?;
    }
    if let Some(name) = &query.site {
        site(&lab, name)?;
    }
    let is = |wanted: &Option<String>, name: &str| {
        wanted.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(name))
    };
    let chosen = lab
        .boards
        .values()
        .filter(|board| is(&query.family, board.family.as_str()) && is(&query.site, board.site.as_str()));
    let closing = known.closing(&lab);
    let items: Vec<Value> = chosen.map(|board| known.board_row(&closing, board)).collect();
    Ok(Json(json!({ "items": items, "next": null })).into_response())
}

/// One board.
pub(in crate::door) async fn board(
    State(door): State<Arc<Door>>,
    _: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let lab = door.handler.inventory.now();
    let board = named(&lab, &id)?;
    let known = Known::look(&door).await?;
    Ok(Json(known.board_row(&known.closing(&lab), board)).into_response())
}

/// What is known of the boards at one time.
pub(super) struct Known {
    rows: Vec<BoardRow>,
    drains: Vec<Drain>,
    now: Timestamp,
}

impl Known {
    /// What is known now.
    pub(super) async fn look(door: &Door) -> Result<Known, Problem> {
        let rows = door.store.board_list().await.map_err(unreadable)?;
        let drains = door.store.drain_list().await.map_err(unreadable)?;
        Ok(Known { rows, drains, now: door.handler.clock.now() })
    }

    /// What takes nothing new.
    pub(super) fn closing<'a>(&'a self, lab: &'a Inventory) -> Closing<'a> {
        Closing::at(lab, &self.drains, self.now)
    }

    /// A board, without what is secret about it.
    pub(super) fn board_row(&self, closing: &Closing<'_>, board: &Board) -> Value {
        let row = self.rows.iter().find(|row| row.id == board.id);
        let mut shown = board_row(board, row);
        shown["draining"] = json!(closing.of(board).as_ref().map(closed_row));
        shown
    }
}

fn closed_row(closed: &Closed) -> Value {
    let (kind, name) = &closed.of;
    json!({
        "kind": kind,
        "name": name,
        "reason": closed.reason,
        "by": closed.by.as_ref().map(Actor::key),
        "until": closed.until.map(Timestamp::rfc3339),
    })
}

/// The board of this name, or those that come near.
pub(super) fn named<'a>(lab: &'a Inventory, id: &str) -> Result<&'a Board, Problem> {
    let board = lab.boards.values().find(|board| board.id.as_str().eq_ignore_ascii_case(id));
    board.ok_or_else(|| {
        let near = crate::board::near::nearest(id, lab.boards.keys().map(|id| id.as_str()));
        Problem::new(StatusCode::NOT_FOUND, "there is no such board", "GET /api/v1/boards has all of them")
            .near(near)
    })
}

/// Whether a site is known; the sites, where it is not.
fn site(lab: &Inventory, name: &str) -> Result<(), Problem> {
    let mut sites: Vec<&str> = lab.boards.values().map(|board| board.site.as_str()).collect();
    sites.sort_unstable();
    sites.dedup();
    if sites.iter().any(|site| site.eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    let near = crate::board::near::nearest(name, sites.iter().copied());
    let detail = format!("boards.yaml has boards at {}", sites.join(", "));
    let problem = Problem::new(StatusCode::NOT_FOUND, "there is no such site", detail);
    Err(problem.near(near))
}

fn board_row(board: &Board, row: Option<&BoardRow>) -> Value {
    let lease = row.and_then(|row| row.lease.as_ref());
    json!({
        "board_id": board.id,
        "soc_family": board.family,
        "soc_revision": board.revision,
        "lab_location": board.site,
        "board_ip": board.console.host,
        "telnet_port": board.console.port,
        "tags": board.tags,
        "state": BoardRow::word(row),
        "health_status": row.map_or("good", |row| row.health.as_str()),
        "failure_count": row.map_or(0, |row| row.failures),
        "last_used": row.and_then(|row| row.last_used_at).map(Timestamp::rfc3339),
        "lease": lease.map(lease_row),
        "reason": row.map(|row| row.reason.as_str()).filter(|reason| !reason.is_empty()),
    })
}

fn lease_row(lease: &Lease) -> Value {
    let (holder, run) = match &lease.holder {
        Holder::Run { number, .. } => (format!("#{number}"), Some(*number)),
        Holder::Person(person) | Holder::Check(person) => (person.key(), None),
    };
    json!({
        "lease_id": lease.id,
        "holder": holder,
        "run": run,
        "fence": lease.fence.0,
        "acquired_at": lease.granted_at.rfc3339(),
        "expires_at": lease.hold.as_ref().map(|_| lease.expires_at.rfc3339()),
    })
}

/// How many items are asked for.
pub(in crate::door) fn limit(asked: Option<u32>) -> Result<u32, Problem> {
    let limit = asked.unwrap_or(ITEMS);
    (1..=ITEMS_MAX).contains(&limit).then_some(limit).ok_or_else(|| bad("limit", "a number from 1 to 200"))
}

pub(in crate::door) fn bad(key: &str, must: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "this query is none", format!("{key} must be {must}"))
}
