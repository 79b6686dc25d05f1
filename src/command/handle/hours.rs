//! Hours that people have boards as their own: how much of their quota is used, whether more fits, and what is said where it
//! does not. Nothing is written here; whoever asks many times in one moment may have a little more.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Handler, Reaction};
use crate::chat::Delivery;
use crate::command::policy;
use crate::id::LeaseId;
use crate::lease::held::{WINDOW, fits_at, used};
use crate::message::Phrase;
use crate::run::Keep;
use crate::store::Result;

/// What was agreed before and is replaced by what is asked for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InsteadOf {
    Nothing,
    /// A place in line.
    Place(LeaseId),
    /// The board of this run, should it fail.
    Keep(i64),
}

impl Handler {
    /// What whoever asks has used of their hours once they have boards for `more`, as facts; null where nothing bounds them.
    /// A refusal where that is more than there is. What is asked for is `instead_of` something that was agreed before.
    pub(super) async fn hours_with(
        &self,
        delivery: &Delivery,
        more: Duration,
        instead_of: InsteadOf,
    ) -> Result<std::result::Result<Value, Box<Reaction>>> {
        let Some(hours) = policy::quota(&delivery.actor, &self.inventory.now()).held_hours else {
            return Ok(Ok(Value::Null));
        };
        let (now, most) = (self.clock.now(), Duration::from_secs(u64::from(hours) * 3600));
        // What they wait for is agreed as well, and so is the board of a run that may fail. Both become a lease between the
        // reads, and never the other way round.
        let wishes = self.wishes(delivery).await?;
        let keeps = self.store.keep_list().await?;
        let times = self.store.held_of(&delivery.actor.key(), now - WINDOW).await?;
        let wishes =
            wishes.iter().filter(|wish| instead_of != InsteadOf::Place(wish.id)).map(|wish| wish.lasts);
        let is_theirs = |(run, keep): &&(i64, Keep)| {
            self.is_same(&keep.by, delivery) && instead_of != InsteadOf::Keep(*run)
        };
        let keeps = keeps.iter().filter(is_theirs).map(|(_, keep)| keep.lasts);
        let waiting: Duration = wishes.chain(keeps).sum();
        let had = used(&times, now) + waiting;
        if had + more <= most {
            return Ok(Ok(json!({
                "used_s": (had + more).as_secs(), "most_s": most.as_secs(), "window_s": WINDOW.as_secs(),
            })));
        }
        let facts = json!({
            "used_s": had.as_secs(), "most_s": most.as_secs(), "window_s": WINDOW.as_secs(), "wanted_s": more.as_secs(),
            "free_at": fits_at(&times, more + waiting, most, now),
        });
        Ok(Err(Box::new(Reaction::refused(Phrase::new("too-many-hours", facts), &[], "/lab release"))))
    }
}
