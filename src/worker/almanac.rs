//! The almanac: the loop that starts what boards.yaml, or a program, has at its times. A due time is handed to `command::handle` as if
//! somebody had typed its line, so it starts, or is refused, in the same way; its key is made of schedule and time, so
//! that it starts once however often servers stop, wherever the clock is set, and whoever else looks. It knows no line
//! of its own.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::steps::{Agent, LOOK_ANYWAY, Step};
use crate::board::schedule::Schedule;
use crate::chat::{Actor, AnswerVia, Delivery, Intent, Place, Platform, key_of};
use crate::clock::Timestamp;
use crate::command::handle::Handler;
use crate::command::handle::schedules::{Entry, agenda};
use crate::command::policy::{ADMIN_ID, SCHEDULE_ID};
use crate::command::standing::Standing;
use crate::doorbell::{Bell, Doorbell};
use crate::message::{Note, Phrase};
use crate::run::RunState;
use crate::store::{Audit, Committed, Dealt, Effect, Intake, OwnSchedule, ScheduleRow, StoreError};

/// A run that starts later than this after its time says so.
pub const LATE_AFTER: Duration = Duration::from_secs(120);

/// Starts what is due.
pub struct Almanac {
    handler: Handler,
    doorbell: Doorbell,
}

/// A schedule whose time has come.
struct Due<'a> {
    name: &'a str,
    schedule: &'a Schedule,
    at: Timestamp,
    now: Timestamp,
    /// How often it was due since it was last looked at, and not this time.
    missed: u32,
    /// Who made it, where it is no one of boards.yaml.
    own: Option<&'a OwnSchedule>,
}

impl Almanac {
    /// An almanac whose lines this handler takes.
    pub fn new(handler: Handler, doorbell: Doorbell) -> Self {
        Almanac { handler, doorbell }
    }

    /// What the store knows of the lab's schedules, once it knows which those are.
    async fn rows(
        &self,
        wanted: &[(String, String)],
        now: Timestamp,
    ) -> Result<Vec<ScheduleRow>, StoreError> {
        let store = &self.handler.store;
        let rows = store.schedule_list().await?;
        let of_file = rows.iter().filter(|row| row.own.is_none());
        let known: Vec<(String, String)> =
            of_file.map(|row| (row.name.clone(), row.timing.clone())).collect();
        if known == wanted {
            return Ok(rows);
        }
        store.schedule_register(wanted, now).await?;
        store.schedule_list().await
    }

    /// Deals with a due time.
    async fn deal(&self, due: &Due<'_>, row: &ScheduleRow) -> Result<Dealt, StoreError> {
        if due.now.since(due.at) > due.schedule.start_within {
            // The process may have died between its start and the note that it was dealt with.
            return Ok(match self.tell(due, "schedule-missed", json!({})).await? {
                Some(run) => Dealt::Started { run },
                None => Dealt::TooLate,
            });
        }
        if let Some(run) = self.unfinished(row).await? {
            let before = row.dealt.as_ref().map(|(_, dealt)| dealt);
            // Told once, and not each time until it has ended.
            if !matches!(before, Some(Dealt::Overlapped { .. })) {
                self.tell(due, "schedule-overlaps", json!({ "number": run })).await?;
            }
            return Ok(Dealt::Overlapped { run });
        }
        let standing = match due.own {
            Some(own) => self.standing_of(own, due.now).await?,
            None => Some(None),
        };
        let Some(standing) = standing else {
            let by = due.own.map(|own| own.by.key());
            let reason = json!(Phrase::new("maker-gone", json!({ "by": by })));
            self.tell(due, "schedule-refused", json!({ "reason": reason })).await?;
            return Ok(Dealt::Refused { reason });
        };
        let mut intake = self.handler.handle(Delivery { standing, ..self.delivery(due) }).await?;
        match intake.effect {
            Effect::Start(_) if due.now.since(due.at) <= LATE_AFTER => intake.answer_via = None,
            Effect::Start(_) => intake.answer = self.note(due, "schedule-late", json!({})),
            // It is asked for again only when it is due again.
            _ => {
                let facts = &intake.answer.facts;
                let reason = facts.get("reason").or_else(|| facts.get("detail")).cloned();
                intake.answer = self.note(due, "schedule-refused", json!({ "reason": reason }));
                intake.remembered = true;
            }
        }
        if channel(self, due.schedule).is_none() {
            intake.answer_via = None;
        }
        let Committed { answer, .. } = self.commit(intake).await?;
        let run = answer.facts.get("number").and_then(Value::as_i64);
        Ok(match run {
            Some(run) => Dealt::Started { run },
            None => Dealt::Refused { reason: answer.facts.get("reason").cloned().unwrap_or_default() },
        })
    }

    /// What one that a program made may start: what the token of its maker grants now, nothing where that is over, and
    /// everything that a user may where the server's own token made it.
    async fn standing_of(
        &self,
        own: &OwnSchedule,
        now: Timestamp,
    ) -> Result<Option<Option<Box<Standing>>>, StoreError> {
        if own.by.id == ADMIN_ID {
            return Ok(Some(None));
        }
        let tokens = self.handler.store.token_list().await?;
        let live = tokens.into_iter().find(|token| token.name == own.by.id && token.is_live(now));
        Ok(live.map(|token| Some(Box::new(token.standing))))
    }

    /// The run that it started before, while that has not ended.
    async fn unfinished(&self, row: &ScheduleRow) -> Result<Option<i64>, StoreError> {
        let Some(run) = row.dealt.as_ref().and_then(|(_, dealt)| dealt.run()) else { return Ok(None) };
        let view = self.handler.store.run_view(run).await?;
        let goes_on = view.is_some_and(|view| !matches!(view.run.state, RunState::Finished { .. }));
        Ok(goes_on.then_some(run))
    }

    /// A due time as if somebody had typed it.
    fn delivery(&self, due: &Due<'_>) -> Delivery {
        let place = channel(self, due.schedule);
        let place = place.unwrap_or_else(Place::nowhere);
        Delivery {
            key: key(due),
            received_at: due.now,
            sent_at: None,
            actor: actor(due.name, due.own),
            standing: None,
            source: None,
            foreign: false,
            direct: false,
            answer_via: AnswerVia::everybody(place.clone()),
            trigger: None,
            message: None,
            place,
            intent: Intent::Text(format!("/run-test {}", due.schedule.run)),
        }
    }

    /// Tells the channel of a due time that started nothing; where it did start a run before, gives that and tells nothing.
    async fn tell(&self, due: &Due<'_>, template: &str, facts: Value) -> Result<Option<i64>, StoreError> {
        let told = Intake {
            key: key(due),
            platform: Platform::Api,
            actor: actor(due.name, due.own),
            received_at: due.now,
            remembered: true,
            effect: Effect::None,
            answer: self.note(due, template, facts),
            instead: vec![],
            answer_via: channel(self, due.schedule).map(AnswerVia::everybody),
            shows: None,
            audit: Audit::default(),
            source: None,
        };
        let Committed { fresh, answer } = self.commit(told).await?;
        Ok(answer.facts.get("number").and_then(Value::as_i64).filter(|_| !fresh))
    }

    fn note(&self, due: &Due<'_>, template: &str, more: Value) -> Note {
        let mut note = Note::new(
            template,
            json!({
                "name": due.name,
                "line": due.schedule.run,
                "due": due.at,
                "late_s": due.now.since(due.at).as_secs_f64(),
                "missed": due.missed,
                "next": due.schedule.next(due.now),
            }),
        );
        note.facts.extend(more.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())));
        note
    }

    async fn commit(&self, intake: Intake) -> Result<Committed, StoreError> {
        let committed = self.handler.store.commit(intake).await?;
        self.doorbell.ring(Bell::Scheduler);
        self.doorbell.ring(Bell::Relay);
        Ok(committed)
    }

    /// Deals with a schedule that is due, and says when it is due again.
    async fn look(&self, name: &str, schedule: &Schedule, row: &ScheduleRow) -> Result<(), StoreError> {
        let now = self.handler.clock.now();
        let after = row.dealt.as_ref().map_or(row.since, |(due, _)| row.since.max(*due));
        let Some(at) = schedule.due(now).filter(|at| *at > after && row.paused.is_none()) else {
            return Ok(());
        };
        let due = Due { name, schedule, at, now, missed: schedule.missed(after, at), own: row.own.as_ref() };
        let dealt = match self.deal(&due, row).await {
            // Something that it needs cannot be read: it is no better in a second.
            Err(error) if error.is_lasting() => {
                tracing::error!(schedule = name, %error, "what is due cannot be started");
                Dealt::Refused { reason: json!(error.to_string()) }
            }
            dealt => dealt?,
        };
        tracing::info!(schedule = name, due = at.rfc3339(), ?dealt, "a schedule was due");
        self.handler.store.schedule_dealt(name, at, &dealt).await.map(drop)
    }
}

/// The key of a due time, for its delivery and for the run that it starts.
fn key(due: &Due<'_>) -> String {
    key_of(Platform::Api, &format!("{SCHEDULE_ID}{}:{}", due.name, due.at.as_micros()))
}

/// The schedule, as whoever asks for its runs.
fn actor(name: &str, own: Option<&OwnSchedule>) -> Actor {
    Actor {
        platform: Platform::Api,
        id: format!("{SCHEDULE_ID}{name}"),
        team: String::new(),
        name: own.map_or_else(|| format!("{name} (boards.yaml)"), |own| format!("{name} ({})", own.by.key())),
    }
}

/// Where a schedule's runs are told.
fn channel(almanac: &Almanac, schedule: &Schedule) -> Option<Place> {
    let lab = almanac.handler.inventory.now();
    let channel = schedule.channel.as_ref().or(lab.channels.default.as_ref())?;
    let (platform, channel) = channel.split_once(':')?;
    let platform =
        Platform::from_word(platform).filter(|platform| almanac.handler.connected.contains(platform))?;
    Some(Place { platform, channel: channel.to_owned(), thread: None })
}

#[async_trait]
impl Agent for Almanac {
    fn name(&self) -> &'static str {
        "almanac"
    }

    fn bell(&self) -> Option<Bell> {
        None
    }

    async fn step(&mut self) -> Result<Step, StoreError> {
        let lab = self.handler.inventory.now();
        let wanted: Vec<(String, String)> =
            lab.schedules.iter().map(|(name, schedule)| (name.clone(), schedule.timing())).collect();
        let rows = self.rows(&wanted, self.handler.clock.now()).await?;
        let agenda = agenda(&lab, rows);
        for Entry { name, schedule, row } in &agenda {
            if let Some(row) = row {
                Box::pin(self.look(name, schedule, row)).await?;
            }
        }
        // The clock may be set meanwhile: nobody sleeps through the night.
        let now = self.handler.clock.now();
        let next = agenda.iter().filter_map(|entry| entry.schedule.next(now)).min();
        let wait = next.map_or(LOOK_ANYWAY, |next| next.since(now).min(LOOK_ANYWAY));
        Ok(Step::Idle { until: self.handler.clock.monotonic() + wait })
    }
}
