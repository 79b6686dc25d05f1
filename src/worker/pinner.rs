//! The pinner: the loop that keeps the daily digest of each channel that has one. It is one message, pinned, and edited every
//! day: nobody is called by it, and nothing piles up. What it says is made elsewhere (`command::handle`).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::steps::{Agent, LOOK_ANYWAY, Step};
use crate::board::volume::Daily;
use crate::chat::{ChatApi, Found, NotTold, Place, Platform, Post, SendResult};
use crate::clock::{Clock, Monotonic};
use crate::command::handle::Handler;
use crate::doorbell::Bell;
use crate::id::MessageId;
use crate::message::Card;
use crate::store::{DigestRow, StoreError};

/// How soon it is tried again after a platform did not take it, where that does not say.
pub const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// How far back a lost post is looked for before the moment its sending began.
const PROBE_MARGIN: Duration = Duration::from_secs(5);

/// Keeps the digests.
pub struct Pinner {
    handler: Handler,
    apis: BTreeMap<Platform, Arc<dyn ChatApi>>,
    clock: Clock,
    /// Digests that are not tried before then.
    paused: HashMap<(Platform, String), Monotonic>,
    /// Platforms whose refusal to pin was told.
    unpinned: HashSet<Platform>,
}

/// How showing one went.
enum Shown {
    /// It stands there under this id.
    Yes(String),
    /// It does not any more: it is posted anew.
    Gone,
    /// Later.
    NotNow(Duration),
    /// Not today.
    Refused(String),
}

impl Pinner {
    /// A pinner that speaks through these platforms.
    pub fn new(handler: Handler, apis: BTreeMap<Platform, Arc<dyn ChatApi>>, clock: Clock) -> Self {
        Pinner { handler, apis, clock, paused: HashMap::new(), unpinned: HashSet::new() }
    }

    /// Shows the digest of one channel, if it is due.
    async fn look(&mut self, key: &str, daily: &Daily, rows: &[DigestRow]) -> Result<(), StoreError> {
        let now = self.clock.now();
        let Some((platform, channel)) = key.split_once(':') else { return Ok(()) };
        let (Some(platform), Some(due)) = (Platform::from_word(platform), daily.last(now)) else {
            return Ok(());
        };
        let Some(api) = self.apis.get(&platform).cloned() else { return Ok(()) };
        let known = rows.iter().find(|row| row.platform == platform && row.channel == channel);
        let mut row = known.cloned().unwrap_or_else(|| DigestRow {
            platform,
            channel: channel.to_owned(),
            id: MessageId::new(&self.handler.ids, now),
            message: None,
            pinned: false,
            shown_at: None,
            begun_at: None,
        });
        let paused = self.paused.get(&(platform, channel.to_owned()));
        if row.shown_at.is_some_and(|shown| shown >= due)
            || paused.is_some_and(|until| *until > self.clock.monotonic())
        {
            return Ok(());
        }
        let note = self.handler.digest_note(Some(&daily.shown())).await?;
        let place = Place { platform, channel: channel.to_owned(), thread: None };
        let card = self.handler.composer.note(&note, &place);
        match self.show(api.as_ref(), &place, &card, &mut row).await? {
            Shown::Yes(message) => {
                row = DigestRow { message: Some(message), shown_at: Some(due), begun_at: None, ..row };
                self.handler.store.digest_put(&row).await?;
                self.pin(api.as_ref(), &place, row).await?;
            }
            Shown::Gone => {
                let id = MessageId::new(&self.handler.ids, now);
                let row = DigestRow { id, message: None, pinned: false, begun_at: None, ..row };
                self.handler.store.digest_put(&row).await?;
            }
            Shown::NotNow(pause) => {
                self.paused.insert((platform, channel.to_owned()), self.clock.monotonic() + pause);
            }
            Shown::Refused(error) => {
                tracing::warn!(channel = key, error, "the digest of a channel is not shown today");
                let row = DigestRow { shown_at: Some(due), begun_at: None, ..row };
                self.handler.store.digest_put(&row).await?;
            }
        }
        Ok(())
    }

    /// Edits the message that is there, or posts it: once, also where the process died on the way.
    async fn show(
        &self,
        api: &dyn ChatApi,
        place: &Place,
        card: &Card,
        row: &mut DigestRow,
    ) -> Result<Shown, StoreError> {
        if let Some(message) = &row.message {
            return Ok(match api.edit(place, message, card).await {
                // It was deleted, or is too old to be changed.
                SendResult::Refused(_) => Shown::Gone,
                sent => shown(sent),
            });
        }
        let key = row.id.to_string();
        if let Some(begun_at) = row.begun_at {
            match api.find(place, &key, begun_at - PROBE_MARGIN).await {
                Found::Sent(message) => return Ok(Shown::Yes(message)),
                Found::NotNow(pause) => return Ok(Shown::NotNow(pause)),
                Found::Out(_) => return Ok(Shown::NotNow(AGAIN_AFTER)),
                // Twice is better than not at all.
                Found::Absent | Found::CannotTell(_) => {}
            }
        } else {
            row.begun_at = Some(self.clock.now());
            self.handler.store.digest_put(row).await?;
        }
        Ok(shown(api.post(Post { place, card, key: &key, instead_of: None }).await))
    }

    /// Pins it, once. Without that it is a message like others.
    async fn pin(&mut self, api: &dyn ChatApi, place: &Place, row: DigestRow) -> Result<(), StoreError> {
        let Some(message) = row.message.as_deref().filter(|_| !row.pinned) else { return Ok(()) };
        match api.pin(place, message).await {
            Ok(()) => self.handler.store.digest_put(&DigestRow { pinned: true, ..row }).await,
            // The next day's is pinned instead.
            Err(NotTold::NotNow(_) | NotTold::Away(_)) => Ok(()),
            Err(NotTold::Failed { code, remedy }) => {
                if self.unpinned.insert(place.platform) {
                    tracing::warn!(
                        channel = place.channel,
                        code,
                        remedy,
                        "the digest of a channel is not pinned"
                    );
                }
                Ok(())
            }
        }
    }
}

fn shown(sent: SendResult) -> Shown {
    match sent {
        SendResult::Sent(message) => Shown::Yes(message),
        SendResult::RetryAfter(pause) => Shown::NotNow(pause),
        SendResult::Refused(error) => Shown::Refused(error),
        SendResult::Out(_) | SendResult::Unknown(_) => Shown::NotNow(AGAIN_AFTER),
    }
}

#[async_trait]
impl Agent for Pinner {
    fn name(&self) -> &'static str {
        "pinner"
    }

    fn bell(&self) -> Option<Bell> {
        None
    }

    async fn step(&mut self) -> Result<Step, StoreError> {
        let lab = self.handler.inventory.now();
        if !lab.channels.digest.is_empty() {
            let now = self.clock.monotonic();
            self.paused.retain(|_, until| *until > now);
            let rows = self.handler.store.digest_list().await?;
            for (key, daily) in &lab.channels.digest {
                self.look(key, daily, &rows).await?;
            }
        }
        Ok(Step::Idle { until: self.clock.monotonic() + LOOK_ANYWAY })
    }
}
