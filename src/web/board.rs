//! A board's page: what the chats say of it, its newest runs, and what can be done with it.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use minijinja::{Value, context};

use super::html;
use super::reader::Reader;
use crate::chat::plain::one_line;
use crate::command::Command;
use crate::door::{Door, Visitor};
use crate::lease::Holder;
use crate::store::{BoardRow, BoardRun, Result};

/// Most runs of a board that are shown.
const RUNS_MAX: u32 = 25;

/// The page.
pub(super) async fn board(State(door): State<Arc<Door>>, reader: Reader, Path(id): Path<String>) -> Response {
    let Some(visitor) = &reader.visitor else { return reader.to_sign_in() };
    match facts(&door, visitor, &reader, &id).await {
        Ok(Some(facts)) => reader.page(StatusCode::OK, "board.html", facts),
        Ok(None) => {
            let said = "There is no board of this name.";
            reader.told(StatusCode::NOT_FOUND, "No such board", said, "/")
        }
        Err(error) => reader.not_now(&error),
    }
}

async fn facts(door: &Door, visitor: &Visitor, reader: &Reader, id: &str) -> Result<Option<Value>> {
    let lab = door.handler.inventory.now();
    let Some(board) = lab.boards.values().find(|board| board.id.as_str().eq_ignore_ascii_case(id)) else {
        return Ok(None);
    };
    let answer = door.look(visitor, Command::Board { board: board.id.to_string() }).await?;
    let card = door.composer.page_note(&answer, reader.tongue.as_str());
    let rows = door.store.board_list().await?;
    let row = rows.iter().find(|row| row.id == board.id);
    let lease = row.and_then(|row| row.lease.as_ref());
    let runs = door.store.board_history(&board.id, RUNS_MAX).await?;
    let waits = door.store.reservation_list().await?;
    let waits = waits
        .iter()
        .any(|wish| wish.by.key() == visitor.counts_as.key() && wish.board.as_ref() == Some(&board.id));
    Ok(Some(context! {
        title => board.id.as_str(),
        state => BoardRow::word(row),
        card => Value::from_safe_string(html::card(&card, false)),
        runs => runs.iter().map(run_facts).collect::<Vec<_>>(),
        run => lease.and_then(|lease| match &lease.holder {
            Holder::Run { number, .. } => Some(*number),
            _ => lease.hold.as_ref()?.run.map(|(number, _)| number),
        }),
        held => lease.is_some_and(|lease| lease.hold.is_some()),
        theirs => lease.is_some_and(|lease| lease.is_held_by(&visitor.counts_as)),
        waits,
        out => row.is_some_and(|row| row.quarantine.is_some()),
        has_switch => board.power.has_switch(),
        at => "board",
    }))
}

fn run_facts(run: &BoardRun) -> Value {
    let ended = run.ended.as_ref();
    let took = ended.map(|(at, ..)| at.since(run.started_at).as_secs());
    context! {
        number => run.run.number,
        build => one_line(&run.run.build),
        suite => one_line(&run.suite),
        attempt => run.attempt,
        started => run.started_at.rfc3339(),
        started_said => run.started_at.to_minute(),
        took => took.map(|took| format!("{}:{:02}", took / 60, took % 60)),
        verdict => ended.map(|(_, verdict, _)| verdict.as_str()),
        cause => ended.map(|(.., cause)| one_line(cause)),
    }
}
