//! Schedules over the API: what starts by itself and when, paused and resumed with the command that people type. Nothing is
//! decided here, and none is made: they stand in boards.yaml.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::Door;
use super::super::machine::{self, Problem};
use super::who::Caller;
use super::{delivery, unreadable};
use crate::board::schedule::Schedule;
use crate::clock::Timestamp;
use crate::command::{Command, grammar};
use crate::store::{Dealt, ScheduleRow};

/// Every schedule, by name.
pub(super) async fn list(State(door): State<Arc<Door>>, _: Caller) -> Result<Response, Problem> {
    let rows = door.store.schedule_list().await.map_err(unreadable)?;
    let (lab, now) = (door.handler.inventory.now(), door.clock.now());
    let items: Vec<Value> = lab
        .schedules
        .iter()
        .map(|(name, schedule)| shown(name, schedule, row_of(&rows, name), now))
        .collect();
    Ok(Json(json!({ "items": items, "next": null })).into_response())
}

/// Pauses one, or lets it go on.
pub(super) async fn steer(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path((name, action)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let lab = door.handler.inventory.now();
    let Some((name, schedule)) = lab.schedules.get_key_value(&name) else {
        let near = grammar::near(&name, lab.schedules.keys().map(String::as_str)).map(str::to_owned);
        return Err(missing().near(near.into_iter().collect()));
    };
    let paused = match action.as_str() {
        "pause" => true,
        "resume" => false,
        _ => return Err(Problem::invalid("the action is one of pause, resume")),
    };
    let command = Command::Schedules { name: Some(name.clone()), paused: Some(paused) };
    let delivery = delivery(&door, &caller, command, &headers)?;
    machine::carry_out(&door, delivery, &[]).await?;
    let rows = door.store.schedule_list().await.map_err(unreadable)?;
    Ok(Json(shown(name, schedule, row_of(&rows, name), door.clock.now())).into_response())
}

fn row_of<'r>(rows: &'r [ScheduleRow], name: &str) -> Option<&'r ScheduleRow> {
    rows.iter().find(|row| row.name == name)
}

fn missing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such schedule", "see GET /api/v1/schedules")
}

fn shown(name: &str, schedule: &Schedule, row: Option<&ScheduleRow>, now: Timestamp) -> Value {
    let paused = row.and_then(|row| row.paused.as_ref());
    let dealt = row.and_then(|row| row.dealt.as_ref());
    let run = dealt.and_then(|(_, dealt)| match dealt {
        Dealt::Started { run } => Some(*run),
        _ => None,
    });
    json!({
        "name": name,
        "cron": schedule.cron,
        "zone": schedule.zone,
        "run": schedule.run,
        "paused": paused.is_some(),
        "paused_by": paused.map(|(by, _)| by.key()),
        "next_at": schedule.next(now).filter(|_| paused.is_none()).map(Timestamp::rfc3339),
        "last_at": dealt.map(|(due, _)| due.rfc3339()),
        "last_run": run,
    })
}
