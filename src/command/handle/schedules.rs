//! Schedules: what starts by itself and when, and pausing it.

use serde_json::{Value, json};

use super::act::audit;
use super::{Handler, Reaction, put_right};
use crate::board::schedule::Schedule;
use crate::chat::Delivery;
use crate::clock::Timestamp;
use crate::command::grammar;
use crate::message::{Note, Phrase};
use crate::store::{Effect, Result, ScheduleRow};

/// Most schedules that one answer lists; the rest is counted.
const ROWS_MAX: usize = 40;

impl Handler {
    /// Every schedule, or one.
    pub(super) async fn schedules(&self, delivery: &Delivery, name: Option<&str>) -> Result<Reaction> {
        let lab = self.inventory.now();
        let rows = self.store.schedule_list().await?;
        let now = self.clock.now();
        let mut chosen: Vec<(&String, &Schedule)> = lab.schedules.iter().collect();
        if let Some(name) = name {
            let known = match self.schedule_named(delivery, name) {
                Ok(known) => known,
                Err(refusal) => return Ok(*refusal),
            };
            chosen.retain(|(name, _)| **name == known);
        }
        let facts: Vec<Value> = chosen
            .iter()
            .take(ROWS_MAX)
            .map(|(name, schedule)| facts(name, schedule, rows.iter().find(|row| row.name == **name), now))
            .collect();
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
        let name = match self.schedule_named(delivery, name) {
            Ok(name) => name,
            Err(refusal) => return Ok(*refusal),
        };
        let next = self.inventory.now().schedules.get(&name).and_then(|found| found.next(self.clock.now()));
        let facts = json!({ "name": name, "paused": paused, "next": next });
        let target = format!("{name} {}", if paused { "pause" } else { "resume" });
        Ok(Reaction {
            answer: Note::new("schedule-paused", &facts),
            instead: vec![("unchanged", Note::new("schedule-unchanged", &facts))],
            audit: audit("schedules", target),
            effect: Effect::Schedule { name, paused },
        })
    }

    /// The schedule that is meant, as the file writes it.
    fn schedule_named(&self, delivery: &Delivery, name: &str) -> std::result::Result<String, Box<Reaction>> {
        let lab = self.inventory.now();
        if let Some(known) = lab.schedules.keys().find(|known| known.eq_ignore_ascii_case(name)) {
            return Ok(known.clone());
        }
        let near = grammar::near(name, lab.schedules.keys().map(String::as_str)).map(str::to_owned);
        let next = near.as_ref().and_then(|near| put_right(delivery, &[(name.to_owned(), near.clone())]));
        let reason = Phrase::new("no-schedule", json!({ "name": name }));
        let next = next.unwrap_or_else(|| "/lab schedules".into());
        Err(Box::new(Reaction::refused(reason, &near.into_iter().collect::<Vec<_>>(), next)))
    }
}

fn facts(name: &str, schedule: &Schedule, row: Option<&ScheduleRow>, now: Timestamp) -> Value {
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
    })
}
