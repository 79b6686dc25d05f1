//! The decorator: the loop that shows on a message which asked for a run what became of that, by a reaction of the bot: one
//! while it waits or runs, another one when it has ended. It converges, as cards do: what a badge should say is read when
//! it is put there. Nobody waits for a badge, and none is ever a dead letter.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::steps::{Agent, LOOK_ANYWAY, Step};
use crate::chat::{Badge, Badged, ChatApi, Place, Platform};
use crate::clock::{Clock, Monotonic};
use crate::doorbell::Bell;
use crate::message::pace::{Pacer, Pacing};
use crate::store::{BadgeRow, Store, StoreError};

/// Most messages of a platform looked at in one step.
const BATCH: u32 = 64;
/// How long a platform is left alone that was not reached.
pub const AGAIN_AFTER: Duration = Duration::from_secs(30);
/// How long after it was asked for a badge is given up that could not be put on.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Puts badges on messages.
pub struct Decorator {
    store: Arc<dyn Store>,
    apis: BTreeMap<Platform, (Arc<dyn ChatApi>, Pacer)>,
    clock: Clock,
    /// What is left alone until then.
    paused: BTreeMap<(Platform, Does), Monotonic>,
    /// Platforms that let us put on none, which was told.
    stopped: HashSet<Platform>,
}

/// What came of looking at a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looked {
    Nearer,
    /// Its platform does not take it now.
    Waits,
}

/// What is done to a message: a platform counts the two apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Does {
    Puts,
    Takes,
}

impl Decorator {
    /// A decorator of messages on these platforms.
    pub fn new(
        store: Arc<dyn Store>,
        apis: BTreeMap<Platform, (Arc<dyn ChatApi>, Pacing)>,
        clock: Clock,
    ) -> Self {
        let apis = apis.into_iter().map(|(platform, (api, pacing))| (platform, (api, Pacer::new(pacing))));
        let (paused, stopped) = (BTreeMap::new(), HashSet::new());
        Decorator { store, apis: apis.collect(), clock, paused, stopped }
    }

    /// Brings one message a step nearer to what it should show, where that may be now.
    async fn look(&mut self, row: BadgeRow) -> Result<Looked, StoreError> {
        let platform = row.platform;
        if self.stopped.contains(&platform) || !self.apis.contains_key(&platform) {
            self.store.badge_drop(&row).await?;
            return Ok(Looked::Nearer);
        }
        let (does, badge, id) = match (&row.shown, &row.stale) {
            // The new one first: nobody sees a moment without any.
            (Some((shown, _)), Some((stale, id))) if *shown == row.wanted => {
                (Does::Takes, *stale, id.clone())
            }
            (Some((shown, _)), None) if *shown == row.wanted => {
                self.is_so(row).await?;
                return Ok(Looked::Nearer);
            }
            (None, Some((stale, id))) => (Does::Takes, *stale, id.clone()),
            (Some(_) | None, _) => (Does::Puts, row.wanted, String::new()),
        };
        if !self.may(platform, does) {
            return Ok(Looked::Waits);
        }
        let Some((api, _)) = self.apis.get(&platform) else { return Ok(Looked::Waits) };
        let place = Place { platform, channel: row.channel.clone(), thread: None };
        let went = match does {
            Does::Puts => api.put_badge(&place, &row.message, badge).await,
            Does::Takes => api.take_badge(&place, &row.message, badge, &id).await,
        };
        self.went(row, (does, badge), went).await
    }

    /// Keeps what came of it.
    async fn went(
        &mut self,
        row: BadgeRow,
        (does, badge): (Does, Badge),
        went: Badged,
    ) -> Result<Looked, StoreError> {
        let platform = row.platform;
        match went {
            Badged::Done(id) => {
                let row = match does {
                    // One that may have arrived, of which nobody knows, may be beside it.
                    Does::Puts => BadgeRow {
                        stale: row
                            .shown
                            .or_else(|| (badge != Badge::Open).then(|| (Badge::Open, String::new()))),
                        shown: Some((badge, id)),
                        ..row
                    },
                    Does::Takes => BadgeRow { stale: None, ..row },
                };
                self.is_so(row).await?;
            }
            // It could not be taken off, and stays; anything else stays off.
            Badged::Never(code) => {
                tracing::debug!(
                    platform = platform.as_str(),
                    channel = row.channel,
                    code,
                    "a message takes no badge"
                );
                match does {
                    Does::Takes => self.is_so(BadgeRow { stale: None, ..row }).await?,
                    Does::Puts => self.store.badge_drop(&row).await?,
                }
            }
            Badged::NotNow(pause) => {
                self.paused.insert((platform, does), self.clock.monotonic() + pause);
                return Ok(Looked::Waits);
            }
            Badged::Away(reason) => {
                tracing::debug!(platform = platform.as_str(), reason, "badges wait");
                let until = self.clock.monotonic() + AGAIN_AFTER;
                self.paused.extend([Does::Puts, Does::Takes].map(|does| ((platform, does), until)));
                if self.clock.now().since(row.asked_at) > GIVE_UP_AFTER {
                    self.store.badge_drop(&row).await?;
                }
                return Ok(Looked::Waits);
            }
            Badged::Forbidden { code, remedy } => {
                tracing::warn!(
                    platform = platform.as_str(),
                    code,
                    remedy,
                    "messages that ask for runs get no reaction"
                );
                self.stopped.insert(platform);
                self.store.badge_drop(&row).await?;
            }
        }
        Ok(Looked::Nearer)
    }

    /// Whether nothing can be done on this platform now.
    fn is_away(&self, platform: Platform) -> bool {
        [Does::Puts, Does::Takes].iter().all(|does| self.paused.contains_key(&(platform, *does)))
    }

    /// Keeps what is on a message; one that says how its runs ended says nothing else ever.
    async fn is_so(&self, row: BadgeRow) -> Result<(), StoreError> {
        let shows_end = matches!(row.shown, Some((shown @ Badge::Ended(_), _)) if shown == row.wanted);
        match shows_end && row.stale.is_none() {
            true => self.store.badge_drop(&row).await,
            false => self.store.badge_put(&row).await,
        }
    }

    /// Whether the platform's pace allows it now.
    fn may(&mut self, platform: Platform, does: Does) -> bool {
        let now = self.clock.monotonic();
        if self.paused.get(&(platform, does)).is_some_and(|until| *until > now) {
            return false;
        }
        let Some((_, pacer)) = self.apis.get_mut(&platform) else { return false };
        let turn = match does {
            Does::Puts => pacer.put_badge(now),
            Does::Takes => pacer.take_badge(now),
        };
        match turn {
            Ok(()) => true,
            Err(wait) => {
                self.paused.insert((platform, does), now + wait);
                false
            }
        }
    }
}

#[async_trait]
impl Agent for Decorator {
    fn name(&self) -> &'static str {
        "decorator"
    }

    fn bell(&self) -> Option<Bell> {
        None
    }

    async fn step(&mut self) -> Result<Step, StoreError> {
        let now = self.clock.monotonic();
        self.paused.retain(|_, until| *until > now);
        let (mut nearer, mut waits) = (false, false);
        for platform in Platform::CHATS {
            if self.is_away(platform) {
                waits = true;
                continue;
            }
            for row in self.store.badge_due(platform, BATCH).await? {
                match self.look(row).await? {
                    Looked::Nearer => nearer = true,
                    Looked::Waits => waits = true,
                }
            }
        }
        let paused = self.paused.values().copied().min().filter(|_| waits);
        match (nearer, paused) {
            // What was put on may have to be taken off again, or was the first of many.
            (true, _) => Ok(Step::Worked),
            (false, paused) => Ok(Step::Idle { until: paused.unwrap_or(now + LOOK_ANYWAY) }),
        }
    }
}
