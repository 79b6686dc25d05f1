//! Addresses of cards: asked for once a card stands in its channel, beside everything else. A card without one is named by
//! its run's number alone.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use crate::chat::{NotTold, Place};
use crate::id::MessageId;
use crate::store::{Owed, OwedKind, TOLD_BY_URL};

/// How often a platform is asked for an address, and the pause after it could not be.
const TRIES_MAX: u32 = 3;
const AGAIN_AFTER: Duration = Duration::from_secs(20);
/// Longest pause that a platform may ask for.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Where a message is about to be posted that is a run's card.
pub(super) fn new_card(owed: &Owed) -> Option<Place> {
    match &owed.kind {
        OwedKind::Card { place, message: None, batch: false, campaign: None, .. } => Some(place.clone()),
        OwedKind::Card { .. } | OwedKind::Reply { .. } | OwedKind::Answer { .. } => None,
    }
}

impl Shared {
    /// Asks for the address of a card; nobody waits for it.
    pub(super) fn link(self: &Arc<Self>, card: MessageId, place: Place, message: String) {
        let Some(api) = self.apis.get(&place.platform).cloned() else { return };
        if message.is_empty() || message == TOLD_BY_URL {
            return;
        }
        let shared = self.clone();
        tokio::spawn(async move {
            for _ in 0..TRIES_MAX {
                let pause = match api.link_of(&place, &message).await {
                    Ok(None) => return,
                    Ok(Some(url)) => match shared.store.card_link(card, &url).await {
                        Ok(()) => return,
                        Err(error) => {
                            tracing::warn!(%error, "the address of a card is not kept");
                            AGAIN_AFTER
                        }
                    },
                    Err(NotTold::Failed { code, .. }) => {
                        tracing::debug!(channel = place.channel, code, "a card has no address");
                        return;
                    }
                    Err(NotTold::NotNow(pause)) => pause.min(PAUSE_MAX),
                    Err(NotTold::Away(_)) => AGAIN_AFTER,
                };
                shared.clock.sleep(pause).await;
            }
        });
    }
}
