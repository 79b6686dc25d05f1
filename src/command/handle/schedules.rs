//! Schedules: what starts by itself and when, and pausing it. Those of boards.yaml are made and removed there alone, and the
//! others by programs.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::act::audit;
use super::build::family_of_target;
use super::{Handler, Reaction, put_right};
use crate::board::schedule::Schedule;
use crate::board::{Inventory, lab_file};
use crate::chat::Delivery;
use crate::clock::Timestamp;
use crate::command::parse::{self, Surface};
use crate::command::{Command, grammar};
use crate::message::{Note, Phrase};
use crate::store::{Effect, Result, ScheduleRow};

/// Most schedules that one answer lists; the rest is counted.
const ROWS_MAX: usize = 40;

impl Handler {
    /// Every schedule, or one.
    pub(super) async fn schedules(&self, delivery: &Delivery, name: Option<&str>) -> Result<Reaction> {
        let mut chosen = agenda(&self.inventory.now(), self.store.schedule_list().await?);
        let now = self.clock.now();
        if let Some(name) = name {
            chosen = match named(delivery, name, chosen) {
                Ok(known) => vec![known],
                Err(refusal) => return Ok(*refusal),
            };
        }
        let facts: Vec<Value> = chosen.iter().take(ROWS_MAX).map(|entry| facts(entry, now)).collect();
        let more = chosen.len().saturating_sub(ROWS_MAX);
        Ok(Reaction::says(Note::new("schedules", json!({ "schedules": facts, "more": more }))))
    }

    /// Pauses a schedule, or lets it go on.
    pub(super) async fn pause_schedule(
        &self,
        delivery: &Delivery,
        name: &str,
        paused: bool,
    ) -> Result<Reaction> {
        let all = agenda(&self.inventory.now(), self.store.schedule_list().await?);
        let Entry { name, schedule, row } = match named(delivery, name, all) {
            Ok(known) => known,
            Err(refusal) => return Ok(*refusal),
        };
        if row.is_none() {
            // boards.yaml was read a moment ago, and the almanac has not looked yet.
            let lab = self.inventory.now();
            let all = lab.schedules.iter().map(|(name, schedule)| (name.clone(), schedule.timing()));
            self.store.schedule_register(&all.collect::<Vec<_>>(), self.clock.now()).await?;
        }
        let next = schedule.next(self.clock.now());
        let facts = json!({ "name": name, "paused": paused, "next": next });
        let target = format!("{name} {}", if paused { "pause" } else { "resume" });
        Ok(Reaction {
            answer: Note::new("schedule-paused", &facts),
            instead: vec![("unchanged", Note::new("schedule-unchanged", &facts))],
            audit: audit("schedules", target),
            effect: Effect::Schedule { name, paused },
        })
    }

    /// Makes a schedule, or removes one. Whoever asks has looked whether it can be read.
    pub(super) fn own_schedule(&self, name: String, document: Option<Map<String, Value>>) -> Reaction {
        let read = document.as_ref().map(|document| lab_file::schedule_of(&name, document));
        let made = match (document, read) {
            (Some(document), Some(Ok(schedule))) => Some((schedule, document)),
            (Some(_), Some(Err(problem))) => {
                let reason = Phrase::new("no-schedule", json!({ "name": problem }));
                return Reaction::refused(reason, &[], "/lab schedules");
            }
            _ => None,
        };
        let schedule = made.as_ref().map(|(schedule, _)| schedule);
        let facts = json!({
            "name": name,
            "line": schedule.map(|schedule| &schedule.run),
            "next": schedule.and_then(|schedule| schedule.next(self.clock.now())),
        });
        let verb = if made.is_some() { "make" } else { "remove" };
        let line = schedule.map(|schedule| format!(": {} {}", schedule.timing(), schedule.run));
        Reaction {
            answer: Note::new(if made.is_some() { "schedule-made" } else { "schedule-removed" }, &facts),
            instead: vec![],
            audit: audit("schedules", format!("{name} {verb}{}", line.unwrap_or_default())),
            effect: Effect::OwnSchedule {
                name,
                made: made.map(|(schedule, document)| (schedule.timing(), document)),
            },
        }
    }

    /// The family that a line of `/run-test` starts runs of, read as it is when it is due; where nobody knows, one that no
    /// token of some families reaches.
    pub(super) fn families_started(&self, run: Option<&str>) -> Vec<String> {
        let Some(run) = run else { return vec![] };
        let family = match parse::parse(&format!("/run-test {run}"), false, Surface::Slash) {
            Ok(Command::RunTest(asked)) => family_of_target(&self.inventory.now(), &asked.target),
            Ok(_) | Err(_) => None,
        };
        vec![family.map(|family| family.to_string()).unwrap_or_default()]
    }
}

/// A schedule as it is in force.
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it is.
    pub schedule: Schedule,
    /// What the store knows of it.
    pub row: Option<ScheduleRow>,
}

/// What starts by itself, by name: what boards.yaml has, and what programs made under other names.
pub fn agenda(lab: &Inventory, rows: Vec<ScheduleRow>) -> Vec<Entry> {
    let mut rows: BTreeMap<String, ScheduleRow> =
        rows.into_iter().map(|row| (row.name.clone(), row)).collect();
    let of_file = lab.schedules.iter().map(|(name, schedule)| {
        let row = rows.remove(name).filter(|row| row.own.is_none());
        Entry { name: name.clone(), schedule: schedule.clone(), row }
    });
    let mut all: Vec<Entry> = of_file.collect();
    for (name, row) in rows {
        let Some(own) = &row.own else { continue };
        // One name is one schedule, however it is written.
        if lab.schedules.keys().any(|known| known.eq_ignore_ascii_case(&name)) {
            continue;
        }
        match lab_file::schedule_of(&name, &own.document) {
            Ok(schedule) => all.push(Entry { name, schedule, row: Some(row) }),
            Err(problem) => tracing::warn!(schedule = name, problem, "a schedule cannot be read"),
        }
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

/// The schedule that is meant.
fn named(delivery: &Delivery, name: &str, all: Vec<Entry>) -> std::result::Result<Entry, Box<Reaction>> {
    if let Some(at) = all.iter().position(|entry| entry.name.eq_ignore_ascii_case(name)) {
        let mut all = all;
        return Ok(all.swap_remove(at));
    }
    let near = grammar::near(name, all.iter().map(|entry| entry.name.as_str())).map(str::to_owned);
    let next = near.as_ref().and_then(|near| put_right(delivery, &[(name.to_owned(), near.clone())]));
    let reason = Phrase::new("no-schedule", json!({ "name": name }));
    let next = next.unwrap_or_else(|| "/lab schedules".into());
    Err(Box::new(Reaction::refused(reason, &near.into_iter().collect::<Vec<_>>(), next)))
}

fn facts(Entry { name, schedule, row }: &Entry, now: Timestamp) -> Value {
    let row = row.as_ref();
    let paused = row.and_then(|row| row.paused.as_ref());
    let dealt = row.and_then(|row| row.dealt.as_ref());
    json!({
        "name": name,
        "cron": schedule.cron,
        "zone": schedule.zone,
        "line": schedule.run,
        "next": schedule.next(now),
        "paused_by": paused.map(|(by, _)| by),
        "paused_at": paused.map(|(_, at)| at),
        "last": dealt.map(|(due, dealt)| json!({ "due": due, "dealt": dealt })),
        "made_by": row.and_then(|row| row.own.as_ref()).map(|own| &own.by),
    })
}
