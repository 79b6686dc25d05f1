//! The lines to the platforms, shared by every lane and the health page. What becomes of a line is told to the log
//! here, once when it goes down and once when it is back.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::chat::{Outage, Place, Platform, SendResult};
use crate::clock::Timestamp;
use crate::message::line::{Line, News, Trouble};
use crate::meter::Counts;

/// Most channels that are remembered for having refused us; beyond it all are forgotten, and learnt anew.
const CLOSED_MAX: usize = 1_000;

/// Every platform's line, and the channels that the bot is not in. Cheap to clone; clones share them.
#[derive(Clone)]
pub struct Lines {
    lines: Arc<Mutex<BTreeMap<Platform, Line>>>,
    closed: Arc<Mutex<HashSet<(Platform, String)>>>,
    calls: Counts,
}

impl Default for Lines {
    fn default() -> Self {
        let calls = Counts::new(&Platform::CHATS, &["sent", "rate-limited", "refused", "out", "unknown"]);
        Lines { lines: Arc::default(), closed: Arc::default(), calls }
    }
}

impl Lines {
    /// What is wrong with which platform.
    pub fn troubles(&self) -> Vec<(Platform, Trouble)> {
        let lines = self.lines();
        lines.iter().filter_map(|(platform, line)| Some((*platform, line.trouble()?.clone()))).collect()
    }

    /// How calls ended, by platform.
    pub fn calls(&self) -> &Counts {
        &self.calls
    }

    /// Whether the last post in this channel was refused because the bot is not in it. Only a post can tell: a
    /// channel that nothing was posted in is open.
    pub fn is_closed(&self, place: &Place) -> bool {
        self.closed().contains(&(place.platform, place.channel.clone()))
    }

    /// Remembers whether a channel takes posts.
    pub(super) fn note_channel(&self, place: &Place, takes_posts: bool) {
        let (mut closed, channel) = (self.closed(), (place.platform, place.channel.clone()));
        if takes_posts {
            closed.remove(&channel);
            return;
        }
        if closed.len() >= CLOSED_MAX {
            closed.clear();
        }
        closed.insert(channel);
    }

    /// Whether to try this platform now; otherwise, from when on.
    pub(super) fn may_try(&self, platform: Platform, now: Timestamp) -> Result<(), Timestamp> {
        self.lines().entry(platform).or_default().may_try(now)
    }

    /// Notes how a call ended in which the platform had to accept us.
    pub(super) fn heard(&self, platform: Platform, ended: &SendResult, now: Timestamp) {
        let word = match ended {
            SendResult::Sent(_) => "sent",
            SendResult::RetryAfter(_) => "rate-limited",
            SendResult::Refused(_) => "refused",
            SendResult::Out(_) => "out",
            SendResult::Unknown(_) => "unknown",
        };
        self.calls.count(platform, word);
        let news = match ended {
            SendResult::Sent(_) | SendResult::Refused(_) => {
                self.lines().entry(platform).or_default().works(now)
            }
            SendResult::Unknown(reason) => self.lines().entry(platform).or_default().silent(reason, now),
            SendResult::RetryAfter(_) | SendResult::Out(_) => None,
        };
        tell(platform, news);
    }

    /// Notes that a platform takes nothing of ours; gives when to try again.
    pub(super) fn fails(&self, platform: Platform, outage: &Outage, now: Timestamp) -> Timestamp {
        let (until, news) = self.lines().entry(platform).or_default().fails(outage, now);
        tell(platform, news);
        until
    }

    fn lines(&self) -> MutexGuard<'_, BTreeMap<Platform, Line>> {
        self.lines.lock().expect("nobody panics with the lines' lock")
    }

    fn closed(&self) -> MutexGuard<'_, HashSet<(Platform, String)>> {
        self.closed.lock().expect("nobody panics with the channels' lock")
    }
}

fn tell(platform: Platform, news: Option<News>) {
    let platform = platform.as_str();
    match news {
        None => {}
        Some(News::Down(Trouble { error, remedy, .. })) => {
            tracing::error!(platform, error, remedy, "the platform takes no messages; what is owed is kept");
        }
        Some(News::StillDown(Trouble { error, remedy, since })) => {
            let since = since.rfc3339();
            tracing::error!(platform, error, remedy, since, "the platform still takes no messages");
        }
        Some(News::Back(after)) => {
            let seconds = after.as_secs();
            tracing::info!(platform, seconds, "the platform takes messages again; what is owed is sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_channels_are_remembered_until_they_open_and_never_too_many() {
        let lines = Lines::default();
        let place = |n: usize| Place { platform: Platform::Slack, channel: format!("C{n}"), thread: None };
        for n in 0..=CLOSED_MAX {
            lines.note_channel(&place(n), false);
        }
        assert!(lines.is_closed(&place(CLOSED_MAX)) && lines.closed().len() <= CLOSED_MAX);
        lines.note_channel(&place(CLOSED_MAX), true);
        assert!(!lines.is_closed(&place(CLOSED_MAX)));
    }
}
