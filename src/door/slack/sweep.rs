//! What was said while no socket stood: Slack keeps no event for an app that it cannot reach. The threads of runs that go on,
//! and of those that have ended meanwhile, are read once the app is heard again, and what was said there to the bot is
//! taken as its event would have been, under the same key: whatever comes twice is done once. A thread that cannot be read is
//! read again while what was said in it may still be carried out. What was said anywhere else is lost. Never two looks at
//! once, however often sockets come and go: a gap meanwhile is looked into by the next one.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::{Door, accept};
use crate::chat::slack::client::{SlackClient, SlackError, WhoAmI};
use crate::chat::slack::decode;
use crate::chat::slack::socket::Gap;
use crate::chat::{Place, Platform};
use crate::clock::Timestamp;
use crate::command::handle::STALE_AFTER;

/// Most threads that are read after a gap, the newest runs' first.
pub const THREADS_MAX: u32 = 50;
/// How long ago something may have been said that is answered still.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// How much earlier something may have been said than the time by our clock: Slack's differs.
const MARGIN: Duration = Duration::from_secs(60);
/// Threads that the first look reads without a pause, and the pause between all others: `conversations.replies` is tier 3, 50
/// a minute.
const AT_ONCE: usize = 10;
const EVERY: Duration = Duration::from_millis(1200);
/// So many threads in succession that cannot be read, and it is not the threads.
const FAILED_MAX: u32 = 3;
/// First pause before the next look, and the longest.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// What the keys of messages began with before they were of their channel and time.
const KEYS_OF_EVENTS: &str = "slack:Ev";

/// Looks after gaps, one after the other.
pub(super) struct Sweeps {
    /// What came before then was for another server, or for nobody.
    started_at: Timestamp,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    owed: Option<Owed>,
    is_looking: bool,
}

/// Gaps that were not looked into to the end, as one.
struct Owed {
    began: Gap,
    /// When Slack was heard again.
    heard_at: Timestamp,
    /// The threads that are left of a look; all where there was none.
    left: Option<Vec<Place>>,
}

/// What came of a look.
#[derive(Default)]
struct Looked {
    threads: usize,
    found: usize,
    /// The code with which the threads of some channel are not shown.
    unshown: Option<String>,
    /// Threads that are to be read again, why, and in how long at the earliest.
    left: Vec<Place>,
    reason: String,
    pause: Duration,
}

/// A thread that was not read.
enum Unread {
    /// Nor will it be: it is gone, or the bot left its channel.
    Hidden(String),
    /// Nor will it be before the app has the scope.
    Unshown(String),
    /// Not now.
    Failed(String),
    /// No thread is, for so long.
    Paused(Duration),
}

impl Sweeps {
    /// Of a server that starts now.
    pub(super) fn new(started_at: Timestamp) -> Sweeps {
        Sweeps { started_at, state: Mutex::default() }
    }

    /// Takes what was said since a gap began; whoever looks already does so for all.
    pub(super) async fn look(&self, door: &Door, gap: Gap) {
        if !self.owes(gap, door.clock.now()) {
            return;
        }
        let (mut pause, mut at_once) = (PAUSE_FIRST, AT_ONCE);
        while let Some(owed) = self.next() {
            let least = self.round(door, owed, at_once).await;
            if self.is_over() {
                return;
            }
            door.clock.sleep(pause.max(least)).await;
            (pause, at_once) = (PAUSE_MAX.min(pause * 2), 0);
        }
    }

    /// One look; gives how long to wait at least before the next.
    async fn round(&self, door: &Door, owed: Owed, at_once: usize) -> Duration {
        let since = match self.since(door, owed.began).await {
            Ok(since) => since,
            Err(reason) => return self.again(door, owed, &reason),
        };
        let Looked { threads, found, unshown, left, reason, pause } =
            match sweep(door, owed.left.as_deref(), since, at_once).await {
                Ok(looked) => looked,
                Err(reason) => return self.again(door, owed, &reason),
            };
        if threads > left.len() {
            let (threads, since) = (threads - left.len(), since.rfc3339());
            tracing::info!(threads, found, since, "looked for what was said meanwhile");
        }
        if let Some(code) = unshown {
            tracing::warn!(
                code,
                "what was said in threads while no socket stood may be lost: give the app channels:history and \
                 groups:history"
            );
        }
        if left.is_empty() {
            return Duration::ZERO;
        }
        pause.max(self.again(door, Owed { left: Some(left), ..owed }, &reason))
    }

    /// What is left is looked for again, or nobody waits for it any more.
    fn again(&self, door: &Door, owed: Owed, reason: &str) -> Duration {
        let threads = owed.left.as_ref().map(Vec::len);
        if door.clock.now().since(owed.heard_at) > STALE_AFTER {
            tracing::warn!(reason, threads, "what was said meanwhile may be lost");
        } else {
            tracing::info!(reason, threads, "what was said meanwhile is looked for again");
            self.state().owe(owed);
        }
        Duration::ZERO
    }

    /// Since when something may be missing.
    async fn since(&self, door: &Door, began: Gap) -> Result<Timestamp, String> {
        let longest = door.clock.now() - LONGEST;
        let newest = async |keys, before| {
            let newest = door.store.delivery_newest(keys, longest, before).await;
            newest.map_err(|error| error.to_string())
        };
        let began = match began {
            Gap::Since(at) => at,
            // The newest may have come after one that was not taken, which was said a little before.
            Gap::Start => {
                let newest = newest(Platform::Slack.as_str(), self.started_at).await?;
                newest.unwrap_or(longest).min(self.started_at - STALE_AFTER - MARGIN)
            }
        };
        // What was heard by its event's id is not known again by the message's.
        let of_events = newest(KEYS_OF_EVENTS, door.clock.now()).await?;
        Ok(began.max(longest).max(of_events.map_or(longest, |at| at + MARGIN)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }

    /// Whether whoever saw this gap is who looks.
    fn owes(&self, began: Gap, heard_at: Timestamp) -> bool {
        let mut state = self.state();
        state.owe(Owed { began, heard_at, left: None });
        !std::mem::replace(&mut state.is_looking, true)
    }

    fn next(&self) -> Option<Owed> {
        self.state().owed.take()
    }

    /// Whether nothing is owed: whoever sees the next gap looks.
    fn is_over(&self) -> bool {
        let mut state = self.state();
        state.is_looking = state.owed.is_some();
        !state.is_looking
    }
}

impl State {
    fn owe(&mut self, more: Owed) {
        self.owed = Some(match self.owed.take() {
            Some(owed) => Owed {
                began: owed.began.min(more.began),
                heard_at: owed.heard_at.max(more.heard_at),
                left: None,
            },
            None => more,
        });
    }
}

/// Reads these threads, or those of runs that go on or have ended since then.
async fn sweep(
    door: &Door,
    threads: Option<&[Place]>,
    since: Timestamp,
    at_once: usize,
) -> Result<Looked, String> {
    let Some(slack) = door.slack_views.as_deref() else { return Ok(Looked::default()) };
    let threads = match threads {
        Some(threads) => threads.to_vec(),
        None => {
            let live = door.store.threads_live(Platform::Slack, since, THREADS_MAX).await;
            live.map_err(|error| error.to_string())?
        }
    };
    let mut looked = Looked { threads: threads.len(), ..Looked::default() };
    if threads.is_empty() {
        return Ok(looked);
    }
    let me = slack.whoami().await.map_err(|error| error.to_string())?;
    let mut failed = 0;
    for (nth, thread) in threads.iter().enumerate() {
        if nth >= at_once {
            door.clock.sleep(EVERY).await;
        }
        let (unread, reason) = match read(door, slack, &me, thread, since).await {
            Ok(found) => {
                looked.found += found;
                failed = 0;
                continue;
            }
            Err(Unread::Hidden(code)) => {
                tracing::debug!(channel = thread.channel, code, "a thread is not shown");
                continue;
            }
            Err(Unread::Unshown(code)) => {
                looked.unshown = Some(code);
                continue;
            }
            Err(Unread::Paused(pause)) => {
                looked.pause = pause;
                (&threads[nth..], "slack asks to wait".to_owned())
            }
            Err(Unread::Failed(reason)) => {
                failed += 1;
                let unread = if failed == FAILED_MAX { &threads[nth..] } else { &threads[nth..=nth] };
                (unread, reason)
            }
        };
        looked.left.extend_from_slice(unread);
        looked.reason = reason;
        if looked.left.last() == threads.last() {
            break;
        }
    }
    Ok(looked)
}

/// Takes what was said to us in a thread; gives how much that was.
async fn read(
    door: &Door,
    slack: &SlackClient,
    me: &WhoAmI,
    thread: &Place,
    since: Timestamp,
) -> Result<usize, Unread> {
    let said = match slack.replies(thread, since).await {
        // Once is waited out at once.
        Err(SlackError::RateLimited(pause)) => {
            door.clock.sleep(pause).await;
            slack.replies(thread, since).await
        }
        said => said,
    };
    let said = said.map_err(|error| match error {
        SlackError::RateLimited(pause) => Unread::Paused(pause),
        SlackError::Refused(code) => Unread::Hidden(code),
        SlackError::NotAccepted { code, .. } if code == "missing_scope" => Unread::Unshown(code),
        error => Unread::Failed(error.to_string()),
    })?;
    let mut found = 0;
    for said in &said {
        let (now, us) =
            (door.clock.now(), (me.user_id.as_str(), me.team_id.as_str(), me.enterprise_id.as_str()));
        let Some(delivery) = decode::found(said, &thread.channel, us, since, now) else { continue };
        // In their order: what comes behind one that is not taken has to wait.
        accept(door, *delivery).await.map_err(|refusal| Unread::Failed(refusal.to_string()))?;
        found += 1;
    }
    Ok(found)
}
