//! What somebody at a page asks for: the same words and buttons as in a chat, with the permission, the audit row and the
//! effect of the same command, as the holder of the token that they signed in with. Nothing is decided here.

use std::net::IpAddr;

use super::api::who;
use super::{Door, Refusal, take};
use crate::chat::{Actor, Delivery, Intent, api};
use crate::command::Command;
use crate::command::policy::Who;
use crate::command::standing::Standing;
use crate::message::Note;
use crate::store::{Committed, StoreError};

/// Whoever signed in.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    /// By the name of their token.
    pub(crate) actor: Actor,
    /// What that grants; the admin token grants everything.
    pub(super) standing: Option<Box<Standing>>,
}

impl Visitor {
    /// The same for policy.
    pub(crate) fn who(&self) -> Who<'_> {
        Who { standing: self.standing.as_deref(), ..Who::from(&self.actor) }
    }
}

impl Door {
    /// Whose token of this digest it is that opens the API now.
    pub(crate) async fn visitor(&self, digest: &[u8; 32]) -> Option<Visitor> {
        who::of_digest(self, digest).await
    }

    /// Does what somebody at a page said or pressed, once for each `key`.
    pub(crate) async fn obey(
        &self,
        visitor: &Visitor,
        (intent, key): (Intent, &str),
        source: Option<IpAddr>,
    ) -> Result<Committed, NotNow> {
        self.throttle.token(&visitor.actor.id, true).map_err(|_| NotNow::Slower)?;
        let key = format!("page {} {key}", visitor.actor.id);
        let delivery = self.said(visitor, intent, &key, source);
        Ok(take(self, delivery).await?)
    }

    /// What somebody at a page looks at: the answer of a command that changes nothing. A refusal is kept on record.
    pub(crate) async fn look(&self, visitor: &Visitor, command: Command) -> Result<Note, StoreError> {
        let key = hex::encode(self.handler.ids.bytes::<16>());
        let key = format!("page {} {key}", visitor.actor.id);
        let delivery = self.said(visitor, Intent::Command(Box::new(command)), &key, None);
        let intake = self.handler.handle(delivery).await?;
        if intake.audit.verb.is_empty() {
            return Ok(intake.answer);
        }
        Ok(self.store.commit(intake).await?.answer)
    }

    fn said(&self, visitor: &Visitor, intent: Intent, key: &str, source: Option<IpAddr>) -> Delivery {
        let delivery = api::said(intent, visitor.actor.clone(), key, self.clock.now());
        let source = source.map(|source| source.to_string());
        Delivery { standing: visitor.standing.clone(), source, ..delivery }
    }
}

/// Why something was not done that may be done in a moment.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotNow {
    /// So much was asked for.
    #[error("you ask for more than this server takes at once; try again in a moment")]
    Slower,
    /// The store did not take it in time.
    #[error(transparent)]
    Busy(#[from] Refusal),
}
