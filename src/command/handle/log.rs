//! The console log of a run, shown as a file in its threads: once for each attempt, however often it is asked for.

use serde_json::json;

use super::{Handler, Reaction};
use crate::chat::Delivery;
use crate::command::policy::{Asked, Permission};
use crate::command::{Click, RunRef};
use crate::message::{Note, Phrase};
use crate::run::RunState;
use crate::store::{Audit, Effect, Result};

/// The note whose place in a thread is taken by a file.
pub(crate) const RUN_LOG: &str = "run-log";

impl Handler {
    /// Log on a card: of the last attempt. While the run is on its board it is not complete, and only linked to.
    pub(super) async fn click_log(&self, delivery: &Delivery, click: &Click) -> Result<Reaction> {
        let view = match self.find(delivery, RunRef::Number(click.run)).await? {
            Ok(view) => view,
            Err(refusal) => return Ok(*refusal),
        };
        let number = view.run.number;
        if let Permission::Denied(denial) = self.permission(Asked::Click(click.verb), delivery, (false, None))
        {
            return Ok(self.denied(delivery, click.verb.as_str(), format!("#{number}"), &denial));
        }
        let Some(attempt) = view.attempts.last() else {
            let reason = Phrase::new("never-on-board", json!({ "number": number }));
            return Ok(Reaction::refused(reason, &[], format!("/lab run {number}")));
        };
        let facts = self.composer.log_facts(&view, attempt);
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
