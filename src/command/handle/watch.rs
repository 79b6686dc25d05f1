//! Who is told of runs by direct message: of one until it has ended, or of a family's that go wrong.

use serde_json::{Value, json};

use super::act::audit;
use super::hold::Target;
use super::{Handler, Reaction};
use crate::chat::{Delivery, Platform};
use crate::command::WatchRef;
use crate::message::{Note, Phrase};
use crate::store::{Effect, Result, RunView, WATCHES_MAX, Watched};

/// The refusal to whoever no direct message reaches: a token.
pub(super) fn nobody_to_write_to(delivery: &Delivery) -> Option<Reaction> {
    let refusal = || Reaction::refused(Phrase::new("told-in-chat-only", json!({})), &[], "/lab help");
    (!Platform::CHATS.contains(&delivery.actor.platform)).then(refusal)
}

impl Handler {
    /// Tells, or does not any more; without a target, what somebody is told of.
    pub(super) async fn watch(
        &self,
        delivery: &Delivery,
        target: Option<&WatchRef>,
        view: Option<&RunView>,
        off: bool,
    ) -> Result<Reaction> {
        if target.is_some()
            && !off
            && let Some(refusal) = nobody_to_write_to(delivery)
        {
            return Ok(refusal);
        }
        let of = match (target, view) {
            (_, Some(view)) => Watched::Run(view.run.number),
            (Some(WatchRef::Family(name)), None) => match self.target_named(delivery, name) {
                Ok(Target::Family(family)) => Watched::Family(family),
                Ok(Target::Board(board)) => Watched::Family(board.family),
                Err(refusal) => return Ok(*refusal),
            },
            (Some(WatchRef::Run(_)) | None, None) => return self.watches(delivery).await,
        };
        let (number, family) = match &of {
            Watched::Run(number) => (Some(*number), None),
            Watched::Family(family) => (None, Some(family.to_string())),
        };
        let answer = |same: bool| {
            Note::new("watching", json!({ "number": number, "family": family, "off": off, "same": same }))
        };
        let wanted = number.map_or(family.clone().unwrap_or_default(), |number| format!("#{number}"));
        let full = Reaction::refused(
            Phrase::new("watches-too-many", json!({ "most": WATCHES_MAX })),
            &[],
            "/lab watch",
        );
        let over =
            Note::new("already-finished", view.map_or(Value::Null, |view| self.composer.run_facts(view)));
        let ids = self.inventory.now().people.keys(&delivery.actor);
        Ok(Reaction {
            answer: answer(false),
            instead: vec![("unchanged", answer(true)), ("too-many", full.answer), ("already-finished", over)],
            audit: audit(if off { "unwatch" } else { "watch" }, wanted),
            effect: if off { Effect::Unwatch { of, ids } } else { Effect::Watch { of, ids } },
        })
    }

    async fn watches(&self, delivery: &Delivery) -> Result<Reaction> {
        let watched = self.store.watch_list(&self.inventory.now().people.keys(&delivery.actor)).await?;
        let facts = |of: &Watched| match of {
            Watched::Run(number) => json!({ "number": number }),
            Watched::Family(family) => json!({ "family": family }),
        };
        let rows: Vec<Value> = watched.iter().map(facts).collect();
        Ok(Reaction::says(Note::new("watches", json!({ "rows": rows }))))
    }
}
