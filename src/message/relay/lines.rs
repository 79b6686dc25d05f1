//! The lines to the platforms, shared by every lane and the health page. What becomes of a line is told to the log
//! here, once when it goes down and once when it is back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::chat::{Outage, Platform, SendResult};
use crate::clock::Timestamp;
use crate::message::line::{Line, News, Trouble};

/// Every platform's line. Cheap to clone; clones share them.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<BTreeMap<Platform, Line>>>);

impl Lines {
    /// What is wrong with which platform.
    pub fn troubles(&self) -> Vec<(Platform, Trouble)> {
        let lines = self.lines();
        lines.iter().filter_map(|(platform, line)| Some((*platform, line.trouble()?.clone()))).collect()
    }

    /// Whether to try this platform now; otherwise, from when on.
    pub(super) fn may_try(&self, platform: Platform, now: Timestamp) -> Result<(), Timestamp> {
        self.lines().entry(platform).or_default().may_try(now)
    }

    /// Notes how a call ended in which the platform had to accept us.
    pub(super) fn heard(&self, platform: Platform, ended: &SendResult, now: Timestamp) {
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
        self.0.lock().expect("nobody panics with the lines' lock")
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
