//! Outcomes that cannot go where they belong: the card was deleted, the thread is gone, the channel is closed. Somebody
//! waits for each, so it is told anew where it is possible, in the end to the person who asked for the run.

use super::{PROBE_MARGIN, Shared, Went};
use crate::chat::{ChatApi, Found, Place, Post, SendResult};
use crate::clock::Timestamp;
use crate::message::Card;
use crate::run::Run;
use crate::store::{End, Owed, StoreError};

/// Whether a refusal says that the message to change, or to reply to, is not there.
pub(super) fn is_message_gone(error: &str) -> bool {
    matches!(
        error,
        "message_not_found" | "thread_not_found" | "cannot_reply_to_message" | "parent_message_not_found"
        // Feishu: recalled, deleted.
        | "230011" | "231003"
    )
}

impl Shared {
    /// Posts a finished run's card again, whose message is gone. A copy from before a crash is taken instead.
    pub(super) async fn post_anew(
        &self,
        owed: &Owed,
        api: &dyn ChatApi,
        place: &Place,
        (card, revision): (&Card, i64),
        (gone, asked_at): (&str, Timestamp),
    ) -> Went {
        let (now, key) = (self.clock.now(), owed.id.to_string());
        match api.find(place, &key, asked_at - PROBE_MARGIN).await {
            Found::Sent(message) if message == gone => {
                return Went::Ended(End::Dead { error: "it is there and cannot be changed".into() });
            }
            // The copy shows an older revision: revision 0 leaves the newest one owed, as an edit.
            Found::Sent(message) => return Went::Ended(End::Sent { message, revision: 0 }),
            Found::NotNow(wait) => return Went::Paused { until: now + wait },
            Found::Out(outage) => return self.out(place.platform, &outage),
            Found::Absent | Found::CannotTell(_) => {}
        }
        if let Err(wait) =
            self.pace(place.platform, |pacer| pacer.post(&place.channel, self.clock.monotonic()))
        {
            return Went::Paused { until: now + wait };
        }
        let sent = api.post(Post { place, card, key: &key, instead_of: Some(gone) }).await;
        self.lines.heard(place.platform, &sent, now);
        match sent {
            SendResult::Sent(message) => Went::Ended(End::Sent { message, revision }),
            SendResult::RetryAfter(wait) => Went::Paused { until: now + wait },
            SendResult::Out(outage) => self.out(place.platform, &outage),
            SendResult::Refused(error) => Went::Ended(End::Dead { error }),
            SendResult::Unknown(_) => Went::Ended(self.later(owed)),
        }
    }

    /// Tells an outcome to the person who asked for the run, because its channel does not take it.
    pub(super) async fn tell_requester(
        &self,
        owed: &Owed,
        api: &dyn ChatApi,
        (run, place): (i64, &Place),
        (card, revision): (&Card, i64),
        refused: String,
    ) -> Result<Went, StoreError> {
        // A mirror that is closed keeps nothing from them: the channel where they asked tells it.
        let asked_here = |run: &Run| {
            let from = &run.origin;
            (from.platform, &from.channel) == (place.platform, &place.channel)
        };
        let run_here = self.store.run_view(run).await?.map(|view| view.run).filter(asked_here);
        let requester = run_here.map(|run| run.requested_by);
        let known = requester.and_then(|person| self.composer.on_platform(&person, place.platform));
        let Some(person) = known else {
            return Ok(Went::Ended(End::Dead { error: refused }));
        };
        tracing::warn!(
            run,
            channel = place.channel,
            error = refused,
            "an outcome is told to its requester alone"
        );
        let direct = Place { platform: place.platform, channel: person.id, thread: None };
        let key = owed.id.to_string();
        let sent = api.post(Post { place: &direct, card, key: &key, instead_of: None }).await;
        self.lines.heard(place.platform, &sent, self.clock.now());
        Ok(match sent {
            // No card lives there: it keeps the id that it has.
            SendResult::Sent(_) => Went::Ended(End::Sent { message: String::new(), revision }),
            SendResult::RetryAfter(wait) => Went::Paused { until: self.clock.now() + wait },
            SendResult::Out(outage) => self.out(place.platform, &outage),
            SendResult::Refused(error) => {
                Went::Ended(End::Dead { error: format!("{refused}, then {error}") })
            }
            SendResult::Unknown(error) if owed.tries >= super::TRIES_MAX => Went::Ended(End::Dead { error }),
            SendResult::Unknown(_) => Went::Ended(self.later(owed)),
        })
    }
}
