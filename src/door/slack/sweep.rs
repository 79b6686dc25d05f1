//! What was said while no socket stood: Slack keeps no event for an app that it cannot reach. The threads of runs that go on,
//! and of those that have ended meanwhile, are read once the app is heard again, and what was said there to the bot is
//! taken as its event would have been, under the same key: whatever comes twice is done once. What was said anywhere else is
//! lost.

use std::time::Duration;

use tokio::sync::Mutex;

use super::{Door, accept};
use crate::chat::slack::client::{SlackClient, SlackError};
use crate::chat::slack::decode;
use crate::chat::slack::socket::Gap;
use crate::chat::{Place, Platform};
use crate::clock::Timestamp;

/// Most threads that are read after a gap, the newest runs' first.
pub const THREADS_MAX: u32 = 50;
/// How long ago something may have been said that is answered still.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Threads that are read without a pause, and the pause between those behind them: `conversations.replies` is tier 3, 50 a
/// minute.
const AT_ONCE: usize = 10;
const EVERY: Duration = Duration::from_millis(1200);

/// Looks after gaps, one after the other.
#[derive(Default)]
pub(super) struct Sweeps {
    /// Since when is still to be looked, where it was not looked to the end.
    owed: Mutex<Option<Timestamp>>,
}

/// What came of a look.
#[derive(Default)]
struct Looked {
    threads: usize,
    found: usize,
    /// The code with which the threads of some channel are not shown.
    unshown: Option<String>,
}

impl Sweeps {
    /// Takes what was said since a gap began.
    pub(super) async fn look(&self, door: &Door, gap: Gap) {
        let mut owed = self.owed.lock().await;
        let longest = door.clock.now() - LONGEST;
        let began = match gap {
            Gap::Since(at) => Some(at),
            // What was taken before then was heard.
            Gap::Start => match door.store.delivery_newest(Platform::Slack, longest).await {
                Ok(newest) => newest,
                Err(error) => return tracing::warn!(%error, "nobody looks for what was said meanwhile"),
            },
        };
        let Some(began) = began else { return };
        let since = owed.map_or(began, |owed| owed.min(began)).max(longest);
        *owed = Some(since);
        match sweep(door, since).await {
            Ok(Looked { threads, found, unshown }) => {
                *owed = None;
                if threads > 0 {
                    tracing::info!(
                        threads,
                        found,
                        since = since.rfc3339(),
                        "looked for what was said meanwhile"
                    );
                }
                if let Some(code) = unshown {
                    tracing::warn!(
                        code,
                        "what was said in threads while no socket stood may be lost: give the app channels:history and \
                         groups:history"
                    );
                }
            }
            Err(reason) => {
                tracing::warn!(
                    reason,
                    since = since.rfc3339(),
                    "what was said meanwhile is looked for after the next gap"
                );
            }
        }
    }
}

async fn sweep(door: &Door, since: Timestamp) -> Result<Looked, String> {
    let Some(slack) = door.slack_views.as_deref() else { return Ok(Looked::default()) };
    let threads = door.store.threads_live(Platform::Slack, since, THREADS_MAX).await;
    let threads = threads.map_err(|error| error.to_string())?;
    let mut looked = Looked { threads: threads.len(), ..Looked::default() };
    if threads.is_empty() {
        return Ok(looked);
    }
    let me = slack.whoami().await.map_err(|error| error.to_string())?;
    for (nth, thread) in threads.iter().enumerate() {
        if nth >= AT_ONCE {
            door.clock.sleep(EVERY).await;
        }
        let said = match replies(door, slack, thread, since).await {
            Ok(said) => said,
            // This thread alone: it is gone, or the bot left its channel.
            Err(SlackError::Refused(code)) => {
                tracing::debug!(channel = thread.channel, code, "a thread is not shown");
                continue;
            }
            Err(SlackError::NotAccepted { code, .. }) if code == "missing_scope" => {
                looked.unshown = Some(code);
                continue;
            }
            Err(error) => return Err(error.to_string()),
        };
        for said in &said {
            let now = door.clock.now();
            let us = (me.user_id.as_str(), me.team_id.as_str());
            let Some(delivery) = decode::found(said, &thread.channel, us, since, now) else { continue };
            looked.found += 1;
            accept(door, *delivery).await.map_err(|refusal| refusal.to_string())?;
        }
    }
    Ok(looked)
}

/// What was said in a thread; asked for a second time where Slack wants a pause first.
async fn replies(
    door: &Door,
    slack: &SlackClient,
    thread: &Place,
    since: Timestamp,
) -> Result<Vec<serde_json::Value>, SlackError> {
    match slack.replies(thread, since).await {
        Err(SlackError::RateLimited(pause)) => {
            door.clock.sleep(pause).await;
            slack.replies(thread, since).await
        }
        said => said,
    }
}
