//! Batches: the buttons of a batch's card, and commands in its thread that do not say which of its runs they mean. One
//! of its runs, named by its number, is a run like any other.

use serde_json::json;

use super::act::{audit, withdrawn};
use super::{Handler, Reaction, command_name, no_such_run};
use crate::chat::Delivery;
use crate::command::policy::{Asked, Permission};
use crate::command::{Command, Verb};
use crate::message::{Note, Phrase};
use crate::store::{BatchView, Effect, Result};

/// Most runs that are named one by one; of more only the first and the last are.
const NAMED_MAX: usize = 4;

impl Handler {
    /// What a button of a batch's card comes to.
    pub(super) async fn batch(&self, delivery: &Delivery, verb: Verb, first: i64) -> Result<Reaction> {
        let Some(view) = self.store.batch_view(first).await? else {
            return Ok(no_such_run(Some(first)));
        };
        // They have one requester.
        let own_run = view.runs.iter().all(|of| self.is_same(&of.run.requested_by, delivery));
        let family = view.runs.first().map(|of| &of.run.spec.family);
        let because = match self.permission(Asked::Click(verb), delivery, (own_run, family)) {
            Permission::Allowed { because } => because,
            Permission::Denied(denial) => {
                return Ok(self.denied(delivery, verb.as_str(), named(&view), &denial));
            }
        };
        if verb != Verb::CancelAll {
            return Ok(Reaction::says(self.composer.batch_why(&view)));
        }
        let mut reaction = self.cancel_all(delivery, &view).await?;
        reaction.audit.allowed = true;
        reaction.audit.reason = because;
        Ok(reaction)
    }

    /// What a command comes to that was said in a batch's thread without a number: `why` is about all of its runs,
    /// whatever else asks which one is meant.
    pub(super) async fn in_batch(
        &self,
        delivery: &Delivery,
        command: &Command,
        first: i64,
    ) -> Result<Reaction> {
        if matches!(command, Command::Why(_)) {
            return self.batch(delivery, Verb::WhyAll, first).await;
        }
        let Some(view) = self.store.batch_view(first).await? else {
            return Ok(no_such_run(None));
        };
        let numbers: Vec<i64> = view.runs.iter().map(|of| of.run.number).collect();
        let reason = Phrase::new("which-of-batch", json!({ "numbers": numbers }));
        Ok(Reaction::refused(reason, &[], format!("@boardhand {} {first}", command_name(command))))
    }

    async fn cancel_all(&self, delivery: &Delivery, view: &BatchView) -> Result<Reaction> {
        let outcome = withdrawn(delivery);
        let mut runs = Vec::with_capacity(view.runs.len());
        for of in view.runs.iter().filter(|of| of.run.state.verdict().is_none()) {
            // A note tells everything about its run, as if that had been cancelled alone.
            if let Some(run) = self.store.run_view(of.run.number).await? {
                runs.push((of.run.number, self.withdrawal(delivery, &run, &outcome)));
            }
        }
        let facts = self.composer.batch_facts(view);
        let mut answer = Note::new("batch-cancelled", &facts);
        answer.facts.insert("by".into(), json!(delivery.actor));
        Ok(Reaction {
            effect: Effect::CancelBatch {
                batch: view.runs[0].run.number,
                by: delivery.actor.clone(),
                outcome,
                runs,
            },
            answer,
            instead: vec![("already-finished", Note::new("batch-finished", &facts))],
            audit: audit("cancel", named(view)),
        })
    }
}

/// `#41, #42 and #43`, or `#41 to #60`.
fn named(view: &BatchView) -> String {
    let numbers: Vec<String> = view.runs.iter().map(|of| format!("#{}", of.run.number)).collect();
    match numbers.as_slice() {
        [first, .., last] if numbers.len() > NAMED_MAX => format!("{first} to {last}"),
        [others @ .., last] if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        few => few.join(", "),
    }
}
