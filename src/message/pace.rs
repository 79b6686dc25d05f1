//! Pacing: how fast a platform wants to be spoken to. Pure: time comes in as an argument.
//!
//! Token buckets per channel for posts, one per workspace for edits, and a shortest pause per card. They keep us
//! under the platform's limits; a 429 beyond them pauses only the lane that met it.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Monotonic;

/// Most channels and cards whose last use is remembered; beyond it those that may speak again are forgotten.
pub const REMEMBERED_MAX: usize = 10_000;

/// A platform's limits.
#[derive(Debug, Clone, Copy)]
pub struct Pacing {
    /// One post per channel this often, on average.
    pub post_every: Duration,
    /// Posts per channel that may come at once.
    pub post_burst: u32,
    /// One edit per workspace this often, on average.
    pub edit_every: Duration,
    /// Edits per workspace that may come at once.
    pub edit_burst: u32,
    /// The shortest pause between two edits of one card.
    pub card_every: Duration,
    /// One badge put on a message this often, and one taken off, on average; some may come at once.
    pub badge_every: (Duration, Duration),
}

/// Badges that may be put on messages at once, and taken off.
const BADGE_BURST: u32 = 5;

impl Pacing {
    /// Slack: chat.postMessage about 1 a second and channel with short bursts; chat.update is tier 3, 50 a minute
    /// and workspace at least, as reactions.add is; reactions.remove is tier 2, 20 a minute.
    pub const SLACK: Pacing = Pacing {
        post_every: Duration::from_secs(1),
        post_burst: 4,
        edit_every: Duration::from_millis(1200),
        edit_burst: 10,
        card_every: Duration::from_secs(1),
        badge_every: (Duration::from_millis(1200), Duration::from_secs(3)),
    };

    /// Feishu: five messages a second and chat, shared by every bot in it; 50 requests a second and app; five edits a
    /// second and card.
    pub const FEISHU: Pacing = Pacing {
        post_every: Duration::from_millis(250),
        post_burst: 4,
        edit_every: Duration::from_millis(25),
        edit_burst: 20,
        card_every: Duration::from_millis(300),
        badge_every: (Duration::from_millis(100), Duration::from_millis(100)),
    };

    /// A group's custom bot: a hundred posts a minute, which are finished runs alone.
    pub const FEISHU_HOOK: Pacing =
        Pacing { edit_every: Duration::from_millis(700), edit_burst: 4, ..Pacing::FEISHU };

    /// No limit of ours: for simulated platforms whose own limits are off, and for measurements.
    pub const NONE: Pacing = Pacing {
        post_every: Duration::ZERO,
        post_burst: u32::MAX,
        edit_every: Duration::ZERO,
        edit_burst: u32::MAX,
        card_every: Duration::ZERO,
        badge_every: (Duration::ZERO, Duration::ZERO),
    };
}

/// For what an edit waits, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// This card was edited a moment ago.
    Card(Duration),
    /// Many cards were: no card may be edited now.
    Workspace(Duration),
}

/// Remembers who spoke when.
#[derive(Debug)]
pub struct Pacer {
    pacing: Pacing,
    posts: HashMap<String, Bucket>,
    edits: Bucket,
    cards: HashMap<String, Monotonic>,
    badges: (Bucket, Bucket),
}

/// A token bucket by its "theoretical arrival time": the instant at which it would be full again.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    full_at: Monotonic,
}

impl Bucket {
    /// Takes a token, or says how long until there is one.
    fn take(&mut self, every: Duration, burst: u32, now: Monotonic) -> Result<(), Duration> {
        let slack = every.saturating_mul(burst.saturating_sub(1));
        let ahead = self.full_at.since(now);
        if ahead > slack {
            return Err(ahead - slack);
        }
        self.full_at = self.full_at.max(now) + every;
        Ok(())
    }
}

impl Pacer {
    /// A pacer under these limits.
    pub fn new(pacing: Pacing) -> Self {
        let badges = Default::default();
        Pacer { pacing, posts: HashMap::new(), edits: Bucket::default(), cards: HashMap::new(), badges }
    }

    /// Asks to post in a channel now; otherwise, in how long.
    pub fn post(&mut self, channel: &str, now: Monotonic) -> Result<(), Duration> {
        if self.posts.len() >= REMEMBERED_MAX {
            self.posts.retain(|_, bucket| bucket.full_at > now);
        }
        let bucket = self.posts.entry(channel.to_owned()).or_default();
        bucket.take(self.pacing.post_every, self.pacing.post_burst, now)
    }

    /// Asks to put a badge on a message now; otherwise, in how long.
    pub fn put_badge(&mut self, now: Monotonic) -> Result<(), Duration> {
        self.badges.0.take(self.pacing.badge_every.0, BADGE_BURST, now)
    }

    /// Asks to take one off now; otherwise, in how long.
    pub fn take_badge(&mut self, now: Monotonic) -> Result<(), Duration> {
        self.badges.1.take(self.pacing.badge_every.1, BADGE_BURST, now)
    }

    /// How far apart the posts of a channel come when there are many.
    pub fn post_every(&self) -> Duration {
        self.pacing.post_every
    }

    /// Asks to edit a card now; otherwise, in how long.
    pub fn edit(&mut self, card: &str, now: Monotonic) -> Result<(), Wait> {
        let pause = self.pacing.card_every;
        if self.cards.len() >= REMEMBERED_MAX {
            self.cards.retain(|_, at| *at + pause > now);
        }
        if let Some(at) = self.cards.get(card).filter(|at| **at + pause > now) {
            return Err(Wait::Card((*at + pause).since(now)));
        }
        self.edits.take(self.pacing.edit_every, self.pacing.edit_burst, now).map_err(Wait::Workspace)?;
        self.cards.insert(card.to_owned(), now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::default() + Duration::from_millis(millis)
    }

    #[test]
    fn a_channel_takes_a_burst_and_then_one_a_second() {
        let mut pacer = Pacer::new(Pacing::SLACK);
        for _ in 0..4 {
            assert_eq!(pacer.post("C1", at(0)), Ok(()));
        }
        assert_eq!(pacer.post("C1", at(0)), Err(Duration::from_secs(1)));
        assert_eq!(pacer.post("C2", at(0)), Ok(()), "another channel is not held up");
        assert_eq!(pacer.post("C1", at(1000)), Ok(()));
        assert!(pacer.post("C1", at(1000)).is_err());
    }

    #[test]
    fn a_card_is_edited_at_most_every_pause() {
        let mut pacer = Pacer::new(Pacing::SLACK);
        assert_eq!(pacer.edit("a", at(0)), Ok(()));
        assert_eq!(pacer.edit("a", at(400)), Err(Wait::Card(Duration::from_millis(600))));
        assert_eq!(pacer.edit("a", at(1000)), Ok(()));
    }

    #[test]
    fn many_cards_wait_for_the_workspace() {
        let mut pacer = Pacer::new(Pacing::SLACK);
        for n in 0..Pacing::SLACK.edit_burst {
            assert_eq!(pacer.edit(&n.to_string(), at(0)), Ok(()));
        }
        assert_eq!(pacer.edit("x", at(0)), Err(Wait::Workspace(Pacing::SLACK.edit_every)));
        assert_eq!(pacer.edit("x", at(1200)), Ok(()));
    }

    #[test]
    fn no_pacing_never_waits_and_memory_is_bounded() {
        let mut pacer = Pacer::new(Pacing::NONE);
        for n in 0..3 * REMEMBERED_MAX {
            assert_eq!(pacer.post(&n.to_string(), at(n as u64)), Ok(()));
            assert_eq!(pacer.edit(&n.to_string(), at(n as u64)), Ok(()));
        }
        assert!(pacer.posts.len() <= REMEMBERED_MAX && pacer.cards.len() <= REMEMBERED_MAX);
    }
}
