//! Schedules over the API: what starts by itself and when, paused and resumed with the command that people type; and made and
//! removed, where they are no ones of boards.yaml. Nothing is decided here.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::super::Door;
use super::super::machine::{self, Problem};
use super::board::document;
use super::who::Caller;
use super::{delivery, unreadable};
use crate::board::lab_file;
use crate::chat::{Delivery, Platform};
use crate::clock::{Timestamp, shown_duration};
use crate::command::handle::schedules::{Entry, agenda};
use crate::command::{Command, grammar};
use crate::store::{Dealt, OWN_SCHEDULES_MAX};

/// Every schedule, by name.
pub(super) async fn list(State(door): State<Arc<Door>>, _: Caller) -> Result<Response, Problem> {
    let (agenda, now) = (known(&door).await?, door.clock.now());
    let items: Vec<Value> = agenda.iter().map(|entry| shown(entry, now)).collect();
    Ok(Json(json!({ "items": items, "next": null })).into_response())
}

/// Pauses one, or lets it go on.
pub(super) async fn steer(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path((name, action)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = named(&door, &name).await?.name;
    let paused = match action.as_str() {
        "pause" => true,
        "resume" => false,
        _ => return Err(Problem::invalid("the action is one of pause, resume")),
    };
    let command = Command::Schedules { name: Some(name.clone()), paused: Some(paused) };
    let delivery = delivery(&door, &caller, command, &headers)?;
    machine::carry_out(&door, delivery, &[]).await?;
    Ok(Json(shown(&named(&door, &name).await?, door.clock.now())).into_response())
}

/// Makes one that is no one of boards.yaml, or makes it anew.
pub(super) async fn make(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let mut asked: Map<String, Value> = document(&body)?;
    asked.retain(|_, said| !said.is_null());
    let lab = door.handler.inventory.now();
    if lab.schedules.keys().any(|known| known.eq_ignore_ascii_case(&name)) {
        return Err(of_file());
    }
    let schedule = lab_file::schedule_of(&name, &asked).map_err(Problem::invalid)?;
    lab_file::starts(&schedule.run, &lab).map_err(Problem::invalid)?;
    let platform =
        schedule.channel.as_ref().and_then(|channel| Platform::from_word(channel.split_once(':')?.0));
    if platform.is_some_and(|platform| !door.handler.connected.contains(&platform)) {
        return Err(Problem::invalid("channel is of a platform that is not connected to this server"));
    }
    // One name is one schedule, however it is written.
    let agenda = known(&door).await?;
    let before = agenda.iter().find(|entry| entry.name.eq_ignore_ascii_case(&name));
    let name = before.map_or(name, |before| before.name.clone());
    let command = Command::OwnSchedule { name: name.clone(), document: Some(asked) };
    carry_out(&door, delivery(&door, &caller, command, &headers)?, &body).await?;
    let status = if before.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    let Ok(made) = named(&door, &name).await else {
        let detail =
            "it was made under this key, and has been removed since; give this request a key of its own";
        return Err(Problem::new(StatusCode::CONFLICT, "this key made something that is gone", detail));
    };
    Ok((status, Json(shown(&made, door.clock.now()))).into_response())
}

/// Removes one that is no one of boards.yaml.
pub(super) async fn remove(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // By its row: one that cannot be read any more is removed all the same.
    let rows = door.store.schedule_list().await.map_err(unreadable)?;
    let row = rows.iter().find(|row| row.name.eq_ignore_ascii_case(&name));
    let name = row.map_or(name, |row| row.name.clone());
    // The same under the same key again is answered as it was.
    let command = Command::OwnSchedule { name: name.clone(), document: None };
    match carry_out(&door, delivery(&door, &caller, command, &headers)?, &[]).await {
        Ok(()) => Ok(Json(json!({ "name": name, "state": "removed" })).into_response()),
        Err(_) if row.is_none() => named(&door, &name).await.and(Err(of_file())),
        Err(problem) => Err(problem),
    }
}

/// Carries out what is asked of schedules that are no ones of boards.yaml.
async fn carry_out(door: &Door, delivery: Delivery, body: &[u8]) -> Result<(), Problem> {
    let committed = machine::carry_out(door, delivery, body).await?;
    match committed.answer.facts.get("effected").and_then(Value::as_str) {
        Some("not-theirs") => Err(of_file()),
        Some("too-many") => {
            let detail = format!(
                "programs have made {OWN_SCHEDULES_MAX} schedules, and there may be no more; remove one first"
            );
            Err(Problem::new(StatusCode::CONFLICT, "these are too many schedules", detail))
        }
        _ => Ok(()),
    }
}

async fn known(door: &Door) -> Result<Vec<Entry>, Problem> {
    let rows = door.store.schedule_list().await.map_err(unreadable)?;
    Ok(agenda(&door.handler.inventory.now(), rows))
}

async fn named(door: &Door, name: &str) -> Result<Entry, Problem> {
    let mut all = known(door).await?;
    match all.iter().position(|entry| entry.name.eq_ignore_ascii_case(name)) {
        Some(at) => Ok(all.swap_remove(at)),
        None => {
            let near = grammar::near(name, all.iter().map(|entry| entry.name.as_str())).map(str::to_owned);
            Err(missing().near(near))
        }
    }
}

fn of_file() -> Problem {
    let detail = "this one stands in boards.yaml, and is changed there; pause it, or take another name";
    Problem::new(StatusCode::CONFLICT, "boards.yaml has this schedule", detail)
}

fn missing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such schedule", "see GET /api/v1/schedules")
}

fn shown(Entry { name, schedule, row }: &Entry, now: Timestamp) -> Value {
    let row = row.as_ref();
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
        "channel": schedule.channel,
        "start_within": shown_duration(schedule.start_within),
        "paused": paused.is_some(),
        "paused_by": paused.map(|(by, _)| by.key()),
        "next_at": schedule.next(now).filter(|_| paused.is_none()).map(Timestamp::rfc3339),
        "last_at": dealt.map(|(due, _)| due.rfc3339()),
        "last_run": run,
        "made_by": row.and_then(|row| row.own.as_ref()).map(|own| own.by.key()),
    })
}
