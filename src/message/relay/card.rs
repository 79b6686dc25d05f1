//! Cards on their way: posted once, then edited to their newest state, or told through a delivery's own URL where the
//! bot is not in the channel. Which card is next is the relay's, what cannot go where it belongs is `rescue`'s.

use serde_json::json;

use super::{
    EDIT_PAUSE, PROBE_MARGIN, Shared, TRIES_MAX, Went, backoff, is_closed_channel, is_restricted,
    no_platform, rescue,
};
use crate::chat::{AnswerVia, ChatApi, Found, Place, Post, SendResult};
use crate::clock::Timestamp;
use crate::message::pace::Wait;
use crate::message::{Card, Note};
use crate::store::{End, Owed, OwedKind, StoreError, TOLD_BY_URL};

/// What is known of an earlier copy of a post.
enum Earlier {
    Sent(String),
    PostAgain,
    GiveUp(String),
    AskAgain(Timestamp),
}

impl Shared {
    /// Posts a card, or brings the one that stands in its channel up to date.
    pub(super) async fn card(&self, owed: &Owed) -> Result<Went, StoreError> {
        let OwedKind::Card { place, message, via, .. } = &owed.kind else {
            return Ok(Went::Ended(not_a_card()));
        };
        if place.thread.as_deref() == Some(TOLD_BY_URL) {
            // There is no thread; the batch's own card tells the outcomes.
            return Ok(Went::Ended(End::Sent { message: TOLD_BY_URL.into(), revision: wanted(owed) }));
        }
        let Some(api) = self.apis.get(&place.platform) else {
            return Ok(Went::Ended(no_platform(place.platform)));
        };
        if let Some(end) = self.untold(owed, place).await? {
            return Ok(Went::Ended(end));
        }
        if let Some(message) = message.as_deref().filter(|message| *message != TOLD_BY_URL)
            && let Err(wait) = self.pace(place.platform, |pacer| pacer.edit(message, self.clock.monotonic()))
        {
            let now = self.clock.now();
            return Ok(match wait {
                Wait::Card(wait) => Went::Ended(End::Later { at: now + wait, failed: false }),
                Wait::Workspace(wait) => Went::Paused { until: now + wait },
            });
        }
        let Some((card, revision)) = self.drawn(owed).await? else {
            return Ok(Went::Ended(End::Dead { error: "its run is gone".into() }));
        };
        let (api, drawn) = (api.as_ref(), (&card, revision));
        match message.as_deref() {
            Some(TOLD_BY_URL) => self.card_by_url(owed, api, drawn).await,
            Some(message) => self.card_again(owed, api, message, drawn).await,
            None => {
                // A post would call everybody on it, an edit calls nobody: mentions come with the first edit.
                let mut posted = card.clone();
                self.composer.names().uncall(&mut posted);
                let went = self.post(owed, api, place, &posted, revision, true).await?;
                match (&went, via) {
                    (Went::Ended(End::Dead { error }), Some(via)) if is_closed_channel(error) => {
                        Ok(Went::Ended(self.tell_by_url(owed, api, via, drawn, error).await))
                    }
                    _ => Ok(went),
                }
            }
        }
    }

    /// A card of a channel that the bot is not in. Only the outcome is worth one of the few uses of a delivery's own URL.
    async fn card_by_url(
        &self,
        owed: &Owed,
        api: &dyn ChatApi,
        (card, revision): (&Card, i64),
    ) -> Result<Went, StoreError> {
        let OwedKind::Card { run, place, via: Some(via), last: true, .. } = &owed.kind else {
            // Not what was drawn: a run that has ended since is still to be told.
            let revision = wanted(owed);
            return Ok(Went::Ended(End::Sent { message: TOLD_BY_URL.into(), revision }));
        };
        match self.told_by_url(owed, api.answer_in_channel(via, card).await, revision) {
            End::Dead { error } => {
                self.tell_requester(owed, api, (*run, place), (card, revision), error).await
            }
            end => Ok(Went::Ended(end)),
        }
    }

    /// A card that stands in its channel, and shows an older state.
    async fn card_again(
        &self,
        owed: &Owed,
        api: &dyn ChatApi,
        message: &str,
        (card, revision): (&Card, i64),
    ) -> Result<Went, StoreError> {
        let OwedKind::Card { run, place, last, .. } = &owed.kind else {
            return Ok(Went::Ended(not_a_card()));
        };
        Ok(match self.edit(api, place, message, card, revision).await {
            // A later state may fit again, and the outcome is told in any case. What came since is still owed.
            Went::Ended(End::Dead { error }) if !*last => {
                tracing::info!(run, channel = place.channel, error, "a card could not show a run's progress");
                Went::Ended(End::Sent { message: message.to_owned(), revision: wanted(owed) })
            }
            Went::Ended(End::Dead { error }) if rescue::is_message_gone(&error) => {
                let view = self.store.run_view(*run).await?;
                let gone = (message, view.map_or(owed.since, |view| view.run.created_at));
                self.post_anew(owed, api, place, (card, revision), gone).await
            }
            went => went,
        })
    }

    /// A card in its newest state, and that state's revision.
    async fn drawn(&self, owed: &Owed) -> Result<Option<(Card, i64)>, StoreError> {
        let OwedKind::Card { run, place, batch, campaign, .. } = &owed.kind else { return Ok(None) };
        let drawn = if let Some(number) = campaign {
            // What is read now is as new as what was owed, at least.
            let view = self.store.campaign_view(*number).await?;
            view.map(|view| (self.composer.campaign_card(&view, place), wanted(owed)))
        } else if *batch {
            let view = self.store.batch_view(*run).await?;
            view.map(|view| (self.composer.batch_card(&view, place), view.generation))
        } else {
            let view = self.store.run_view(*run).await?;
            view.map(|view| (self.composer.run_card(&view, place), view.generation))
        };
        Ok(match drawn {
            Some((card, revision)) => Some((self.named(card, place).await, revision)),
            None => None,
        })
    }

    /// How telling an outcome through a delivery's URL ended: it is not told before the platform says so.
    fn told_by_url(&self, owed: &Owed, told: SendResult, revision: i64) -> End {
        match told {
            SendResult::Sent(_) => End::Sent { message: TOLD_BY_URL.into(), revision },
            SendResult::Refused(error) => End::Dead { error },
            SendResult::Unknown(error) if owed.tries >= TRIES_MAX => End::Dead { error },
            // The URL asks for no token: what is out is the way there.
            SendResult::Out(_) if owed.tries >= TRIES_MAX => {
                End::Dead { error: "the delivery's URL is not reached".into() }
            }
            SendResult::Unknown(_) | SendResult::Out(_) => self.later(owed),
            SendResult::RetryAfter(_) if owed.tries >= TRIES_MAX => {
                End::Dead { error: "the delivery's URL is used up".into() }
            }
            SendResult::RetryAfter(wait) => {
                End::Later { at: self.clock.now() + wait.max(backoff(owed.tries)), failed: true }
            }
        }
    }

    async fn edit(
        &self,
        api: &dyn ChatApi,
        place: &Place,
        message: &str,
        card: &Card,
        revision: i64,
    ) -> Went {
        let (edited, now) = (api.edit(place, message, card).await, self.clock.now());
        self.lines.heard(place.platform, &edited, now);
        match edited {
            SendResult::Sent(_) => Went::Ended(End::Sent { message: message.to_owned(), revision }),
            SendResult::RetryAfter(wait) => Went::Paused { until: now + wait },
            // An edit is idempotent: what may have arrived can be sent again.
            SendResult::Unknown(_) => Went::Paused { until: now + EDIT_PAUSE },
            SendResult::Out(outage) => self.out(place.platform, &outage),
            SendResult::Refused(error) => Went::Ended(End::Dead { error }),
        }
    }

    /// Posts a card once.
    pub(super) async fn post(
        &self,
        owed: &Owed,
        api: &dyn ChatApi,
        place: &Place,
        card: &Card,
        revision: i64,
        at_least_once: bool,
    ) -> Result<Went, StoreError> {
        let key = owed.id.to_string();
        let posts = async || api.post(Post { place, card, key: &key, instead_of: None }).await;
        self.once(owed, api, (place, &key), revision, at_least_once, posts).await
    }

    /// Posts once: looks for an earlier copy first where there may be one, notes the intent, posts.
    pub(super) async fn once(
        &self,
        owed: &Owed,
        api: &dyn ChatApi,
        (place, key): (&Place, &str),
        revision: i64,
        at_least_once: bool,
        posts: impl AsyncFnOnce() -> SendResult,
    ) -> Result<Went, StoreError> {
        let now = self.clock.now();
        if let Some(begun_at) = owed.begun_at {
            match self.earlier_copy(api, place, key, begun_at, at_least_once).await {
                // The copy shows an older revision: revision 0 leaves the newest one owed, as an edit.
                Earlier::Sent(message) => return Ok(Went::Ended(End::Sent { message, revision: 0 })),
                Earlier::GiveUp(error) => return Ok(Went::Ended(End::Dead { error })),
                Earlier::AskAgain(at) => return Ok(Went::Ended(End::Unsure { at })),
                Earlier::PostAgain => {}
            }
        }
        if let Err(wait) =
            self.pace(place.platform, |pacer| pacer.post(&place.channel, self.clock.monotonic()))
        {
            return Ok(Went::Paused { until: now + wait });
        }
        self.store.message_begin(&[owed.id], now).await?;
        let posted = posts().await;
        Ok(self.posted(owed, place, posted, revision, at_least_once))
    }

    /// How posting went.
    pub(super) fn posted(
        &self,
        owed: &Owed,
        place: &Place,
        posted: SendResult,
        revision: i64,
        at_least_once: bool,
    ) -> Went {
        let now = self.clock.now();
        self.lines.heard(place.platform, &posted, now);
        match &posted {
            SendResult::Sent(_) => self.lines.note_channel(place, true),
            SendResult::Refused(error) if is_closed_channel(error) => self.lines.note_channel(place, false),
            _ => {}
        }
        Went::Ended(match posted {
            // Asked a second time, a platform may answer with the copy that was there: the newest is owed as an edit.
            SendResult::Sent(message) => {
                End::Sent { message, revision: if owed.begun_at.is_some() { 0 } else { revision } }
            }
            // It may be there from before: that must not be forgotten.
            SendResult::RetryAfter(wait) if owed.begun_at.is_some() => End::Unsure { at: now + wait },
            SendResult::Out(outage) if owed.begun_at.is_some() => {
                End::Unsure { at: self.lines.fails(place.platform, &outage, now) }
            }
            SendResult::RetryAfter(wait) => return Went::Paused { until: now + wait },
            SendResult::Out(outage) => return self.out(place.platform, &outage),
            SendResult::Refused(error) => End::Dead { error },
            SendResult::Unknown(error) if owed.tries >= TRIES_MAX && !at_least_once => End::Dead { error },
            SendResult::Unknown(_) => End::Unsure { at: now + backoff(owed.tries) },
        })
    }

    /// Asks the platform for a copy of a post that may be there.
    async fn earlier_copy(
        &self,
        api: &dyn ChatApi,
        place: &Place,
        key: &str,
        begun_at: Timestamp,
        again: bool,
    ) -> Earlier {
        match api.find(place, key, begun_at - PROBE_MARGIN).await {
            Found::Sent(message) => Earlier::Sent(message),
            Found::Absent => Earlier::PostAgain,
            Found::NotNow(wait) => Earlier::AskAgain(self.clock.now() + wait),
            Found::Out(outage) => {
                Earlier::AskAgain(self.lines.fails(place.platform, &outage, self.clock.now()))
            }
            Found::CannotTell(_) if again => Earlier::PostAgain,
            Found::CannotTell(error) => Earlier::GiveUp(format!("it may have been posted, and {error}")),
        }
    }

    /// A channel that the bot is not in: the card goes through the delivery's own URL, once, and the person learns
    /// what to do.
    async fn tell_by_url(
        &self,
        owed: &Owed,
        api: &dyn ChatApi,
        via: &AnswerVia,
        (card, revision): (&Card, i64),
        closed: &str,
    ) -> End {
        let facts = json!({ "channel": via.place.channel, "restricted": is_restricted(closed) });
        let missing = Note::new("channel-missing", facts);
        let told = api.answer_in_channel(via, card).await;
        api.answer(via, &self.composer.note_to(&missing, &via.place, &via.user)).await;
        match told {
            SendResult::Sent(_) => End::Sent { message: TOLD_BY_URL.into(), revision },
            SendResult::RetryAfter(_) => End::Dead { error: "the delivery's URL is used up".into() },
            SendResult::Refused(error) | SendResult::Unknown(error) => End::Dead { error },
            SendResult::Out(_) => self.later(owed),
        }
    }
}

/// The revision of a card that was owed when it was looked for.
fn wanted(owed: &Owed) -> i64 {
    match &owed.kind {
        OwedKind::Card { revision, .. } => *revision,
        OwedKind::Reply { .. } | OwedKind::Answer { .. } => 0,
    }
}

fn not_a_card() -> End {
    End::Dead { error: "not a card".into() }
}
