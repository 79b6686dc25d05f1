//! What somebody at a page asks for: the same words and buttons as in a chat, with the permission, the audit row and the
//! effect of the same command, as the holder of the token that they signed in with, or as the person that they are in their
//! chat. Nothing is decided here.

use std::net::IpAddr;

use super::api::who;
use super::{Door, Refusal, take};
use crate::chat::{Actor, Delivery, Intent, Platform, api};
use crate::command::Command;
use crate::command::standing::Standing;
use crate::message::Note;
use crate::store::{Committed, StoreError};

/// Whoever signed in.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    /// By the name of their token, or as in their chat.
    pub(crate) actor: Actor,
    /// Whom they count as, who may be the same person on another platform.
    pub(crate) counts_as: Actor,
    /// What a token grants; the admin token grants everything.
    standing: Option<Box<Standing>>,
    /// Whether they are of another workspace or tenant than the app.
    foreign: bool,
}

impl Visitor {
    /// Whoever came with a token.
    pub(super) fn with_token(actor: Actor, standing: Option<Box<Standing>>) -> Visitor {
        Visitor { counts_as: actor.clone(), actor, standing, foreign: false }
    }

    /// Whether they came as a person of a chat.
    pub(crate) fn is_person(&self) -> bool {
        Platform::CHATS.contains(&self.actor.platform)
    }

    /// What budgets and deliveries count them as.
    fn key(&self) -> String {
        if self.is_person() { self.actor.key() } else { self.actor.id.clone() }
    }
}

impl Door {
    /// Whose token of this digest it is that opens the API now.
    pub(crate) async fn visitor(&self, digest: &[u8; 32]) -> Option<Visitor> {
        who::of_digest(self, digest).await
    }

    /// Somebody who proved with their chat who they are.
    pub(crate) fn person(&self, actor: Actor, foreign: bool) -> Visitor {
        let counts_as = self.handler.inventory.now().people.counts_as(&actor);
        Visitor { actor, counts_as, standing: None, foreign }
    }

    /// Whether they may do this, as everything stands now.
    pub(crate) async fn may(&self, visitor: &Visitor, command: &Command) -> bool {
        let asked = Intent::Command(Box::new(command.clone()));
        self.handler.may(self.said(visitor, asked, "", None), command).await
    }

    /// Does what somebody at a page said or pressed, once for each `key`.
    pub(crate) async fn obey(
        &self,
        visitor: &Visitor,
        (intent, key): (Intent, &str),
        source: Option<IpAddr>,
    ) -> Result<Committed, NotNow> {
        self.throttle.token(&visitor.key(), true).map_err(|_| NotNow::Slower)?;
        let key = format!("page {} {key}", visitor.key());
        let delivery = self.said(visitor, intent, &key, source);
        Ok(take(self, delivery).await?)
    }

    /// What somebody at a page looks at: the answer of a command that changes nothing. A refusal is kept on record.
    pub(crate) async fn look(&self, visitor: &Visitor, command: Command) -> Result<Note, StoreError> {
        let key = hex::encode(self.handler.ids.bytes::<16>());
        let key = format!("page {} {key}", visitor.key());
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
        // A page is between the two, as a direct message is.
        let (foreign, direct) = (visitor.foreign, visitor.is_person());
        Delivery { standing: visitor.standing.clone(), source, foreign, direct, ..delivery }
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
