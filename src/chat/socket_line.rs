//! The line from a platform that this server dials itself, instead of being called by it: how it is, for the log and the
//! health page. Who dials tells it; nothing is dialled here.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::chat::{Outage, Platform};
use crate::clock::Timestamp;
use crate::message::line::{Line, News, Trouble};

/// How a line that we dial is. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct SocketLine {
    platform: Platform,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    line: Line,
    up: Option<Up>,
}

/// A line that works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Up {
    /// Since when, whatever connections it had since.
    pub since: Timestamp,
    /// How many connections the platform counts for this app, those of other servers and of ones being replaced
    /// among them.
    pub connections: u64,
}

impl SocketLine {
    /// A line that is not up yet.
    pub fn new(platform: Platform) -> Self {
        SocketLine { platform, state: Arc::default() }
    }

    /// Whose line it is.
    pub fn platform(&self) -> Platform {
        self.platform
    }

    /// A connection is ready.
    pub fn works(&self, connections: u64, now: Timestamp) {
        let mut state = self.state();
        let since = state.up.map_or(now, |up| up.since);
        state.up = Some(Up { since, connections });
        let news = state.line.works(now);
        drop(state);
        self.tell(news);
    }

    /// No connection is ready any more; another one is being made. Short gaps are a network's daily bread.
    pub fn breaks(&self) {
        self.state().up = None;
    }

    /// A connection could not be made, or ended before it was of use.
    pub fn fails(&self, outage: &Outage, now: Timestamp) {
        let mut state = self.state();
        let news = match outage {
            Outage::NotAccepted { .. } => state.line.fails(outage, now).1,
            Outage::Away(reason) => state.line.silent(reason, now),
        };
        drop(state);
        self.tell(news);
    }

    /// The line while it works.
    pub fn up(&self) -> Option<Up> {
        self.state().up
    }

    /// What is wrong with it.
    pub fn trouble(&self) -> Option<Trouble> {
        self.state().line.trouble().cloned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with the line's lock")
    }

    fn tell(&self, news: Option<News>) {
        let platform = self.platform.as_str();
        match news {
            None => {}
            Some(News::Down(Trouble { error, remedy, .. })) => {
                tracing::error!(
                    platform,
                    error,
                    remedy,
                    "the platform is not heard: no socket to it can be kept"
                );
            }
            Some(News::StillDown(Trouble { error, remedy, since })) => {
                let since = since.rfc3339();
                tracing::error!(platform, error, remedy, since, "the platform is still not heard");
            }
            Some(News::Back(after)) => {
                tracing::info!(platform, seconds = after.as_secs(), "the platform is heard again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_up_from_its_first_connection_on_and_trouble_is_told_until_it_is_back() {
        let at = |secs: i64| Timestamp::from_micros(secs * 1_000_000);
        let line = SocketLine::new(Platform::Slack);
        assert_eq!((line.up(), line.trouble()), (None, None));
        line.works(1, at(1));
        line.works(2, at(5));
        assert_eq!(line.up(), Some(Up { since: at(1), connections: 2 }));
        line.breaks();
        let away = Outage::Away("no connection".into());
        line.fails(&away, at(6));
        line.fails(&away, at(7));
        assert_eq!((line.up(), line.trouble()), (None, None), "a short gap is no trouble");
        line.fails(&away, at(8));
        assert_eq!(line.trouble().map(|t| (t.since, t.error)), Some((at(8), "no connection".to_owned())));
        let refused = Outage::NotAccepted { code: "invalid_auth".into(), remedy: "set it" };
        line.fails(&refused, at(9));
        assert_eq!(line.trouble().map(|t| t.remedy), Some("set it"));
        line.works(1, at(10));
        assert_eq!((line.up().map(|up| up.since), line.trouble()), (Some(at(10)), None));
    }
}
