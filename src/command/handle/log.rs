//! The console log of a run: its last lines in an answer, or the whole of it as a file in the run's threads, once for each
//! attempt, however often it is asked for.

use serde_json::json;

use super::{Handler, Reaction};
use crate::chat::Delivery;
use crate::command::policy::{Asked, Permission};
use crate::command::{Click, RunRef};
use crate::message::{Note, Phrase};
use crate::run::RunState;
use crate::store::{Audit, Effect, RUN_LOG, Result, RunView};

impl Handler {
    /// Log on a card: of the last attempt.
    pub(super) async fn click_log(&self, delivery: &Delivery, click: &Click) -> Result<Reaction> {
        let view = match self.find(delivery, RunRef::Number(click.run)).await? {
            Ok(view) => view,
            Err(refusal) => return Ok(*refusal),
        };
        match self.permission(Asked::Click(click.verb), delivery, (false, None)) {
            Permission::Denied(denial) => {
                Ok(self.denied(delivery, click.verb.as_str(), format!("#{}", view.run.number), &denial))
            }
            Permission::Allowed { .. } => self.log(delivery, &view, None).await,
        }
    }

    /// The log of a run's last attempt: so many of its last lines in the answer, or the whole of it in the run's threads.
    /// While the run is on its board it is not complete, and only linked to.
    pub(super) async fn log(
        &self,
        delivery: &Delivery,
        view: &RunView,
        lines: Option<u32>,
    ) -> Result<Reaction> {
        let number = view.run.number;
        let Some(attempt) = view.attempts.last() else {
            let reason = Phrase::new("never-on-board", json!({ "number": number }));
            return Ok(Reaction::refused(reason, &[], format!("/lab run {number}")));
        };
        let facts = self.composer.log_facts(view, attempt);
        if let Some(lines) = lines {
            let tail = self.logs.tail(number, attempt.number, lines as usize).await;
            let mut note = Note::new("log-tail", &facts);
            note.facts.insert("text".into(), json!(tail));
            return Ok(Reaction::says(note));
        }
        let told = |how: &str| {
            let mut note = Note::new("log-told", &facts);
            note.facts.insert("how".into(), json!(how));
            note
        };
        let over = matches!(view.run.state, RunState::Finished { .. });
        if !over || self.lines.is_closed(&delivery.place) {
            return Ok(Reaction::says(told("link")));
        }
        Ok(Reaction {
            effect: Effect::Log { run: number, attempt: attempt.number, note: Note::new(RUN_LOG, &facts) },
            answer: told("coming"),
            instead: vec![("already-told", told("there"))],
            // It changes nothing of the lab.
            audit: Audit::default(),
        })
    }
}
