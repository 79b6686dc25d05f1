//! Socket Mode: deliveries of Slack over a connection that this server dials, for labs that nobody can call from outside.
//!
//! ```text
//! Slack ◀── apps.connections.open ── Opener           one address for each connection
//!       ◀── WebSocket ── Connection                   envelopes in, acknowledgements out
//!                           └─▶ Takes::take           the door: commits, and only then says what to acknowledge
//! ```
//!
//! Rules. An envelope is acknowledged only after it was taken; one that was not is sent again by Slack, and has no second
//! effect. Another connection is made before an old one ends (`refresh`), and the old one is still heard for a while: what
//! Slack sends on it is not lost. Slack gives every envelope to one connection of the app, whichever. What Slack sends while
//! there is no connection at all it does not keep: once there is one again, whoever takes envelopes is told since when
//! some may be missing ([`Takes::missed`]).
//!
//! Failures. A connection that is cut, silent or refused is made anew after a pause that doubles, has a longest, and
//! differs by chance, so that many servers do not come back at once. What somebody must mend stands on the health page
//! ([`SocketLine`]) and is tried again slowly: nobody has to restart anything.
//!
//! What never happens here: knowing what an envelope means, or waiting for Slack without an end.

mod connection;
pub mod frame;
mod open;

pub use connection::{ENVELOPES_MAX, PING_EVERY, RETIRED_LINGERS, SILENT_MAX};
pub use open::Opener;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::connection::{Connection, Life, Orders, Why, told};
use self::frame::{Envelope, Reason};
use self::open::NotOpened;
use crate::chat::Outage;
use crate::chat::socket_line::SocketLine;
use crate::clock::{Clock, Timestamp};
use crate::id::Ids;

/// How long dialling may take, and Slack's first word after it.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// First pause before another try; doubles with every failure.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// Longest pause while Slack is not reached.
pub const AWAY_PAUSE_MAX: Duration = Duration::from_secs(30);
/// Longest pause while Slack does not let us in: somebody has to act first.
pub const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(120);
/// A connection that ends sooner than this after it was ready was of no use: whoever cuts every connection at once is not
/// to be dialled without a pause.
const SETTLED: Duration = Duration::from_secs(10);
/// How much earlier than by our clock a gap may have begun: Slack's differs, and what it said last was on its way.
const GAP_MARGIN: Duration = Duration::from_secs(5);
/// How many such connections in succession make the pause longer.
const SHORT_LIVED_MAX: u32 = 3;

/// What becomes of an envelope.
#[derive(Debug, Clone, PartialEq)]
pub enum Ack {
    /// Its effect is on disk. With an answer where the envelope takes one.
    Taken(Option<Value>),
    /// It is not acknowledged: Slack sends it again, or tells the person.
    NotTaken,
}

/// Takes envelopes: the door.
#[async_trait]
pub trait Takes: Send + Sync {
    /// Takes one, in less than the 3 s that Slack waits.
    async fn take(&self, envelope: Envelope) -> Ack;
    /// One was taken whose acknowledgement, with the answer, did not get out: its connection is gone. Slack does not send a
    /// command again, so whoever typed it is answered in another way.
    async fn unheard(&self, envelope: Envelope);
    /// Slack is heard again: what it sent from then on may be lost.
    async fn missed(&self, gap: Gap);
}

/// Since when nothing was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gap {
    /// Since before the server was started; earlier than any other.
    Start,
    /// Since then, at the earliest.
    Since(Timestamp),
}

/// Keeps a connection to Slack.
pub struct SocketMode {
    opener: Opener,
    takes: Arc<dyn Takes>,
    line: SocketLine,
    clock: Clock,
    ids: Ids,
}

/// A connection that is being served.
struct Served {
    life: watch::Receiver<Life>,
    retire: watch::Sender<bool>,
    ready_at: Timestamp,
}

impl Served {
    /// Since when nothing was heard, where it ended and does not only have to be replaced.
    fn gap(&self) -> Option<Gap> {
        match *self.life.borrow() {
            Life::Leaves(Why::Gone { heard_at, .. }) => Some(Gap::Since(heard_at - GAP_MARGIN)),
            _ => None,
        }
    }
}

/// Why there is no connection now, and how long to wait at least.
struct Failed {
    outage: Outage,
    at_least: Duration,
}

impl SocketMode {
    /// Connections from `opener`, whose envelopes go to `takes`.
    pub fn new(opener: Opener, takes: Arc<dyn Takes>, line: SocketLine, clock: Clock, ids: Ids) -> Self {
        SocketMode { opener, takes, line, clock, ids }
    }

    /// Keeps a connection until `stop` says true; then acknowledges what is being taken, and closes.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        let orders = stop.clone();
        tokio::select! {
            () = self.keep(&mut connections, &orders) => {}
            () = told(&mut stop) => {}
        }
        // Each has heard the same, and ends by itself within seconds.
        while connections.join_next().await.is_some() {}
    }

    async fn keep(&self, connections: &mut JoinSet<()>, stop: &watch::Receiver<bool>) {
        // How many connections in succession could not be made, and how many were of no use.
        let (mut newest, mut failures, mut short_lived) = (None::<Served>, 0, 0);
        let mut gap = Some(Gap::Start);
        loop {
            while connections.try_join_next().is_some() {}
            let (failed, pause) = match self.connect(connections, stop).await {
                Ok(served) => {
                    failures = 0;
                    // Make before break: the old one may go now, where it was still there.
                    if let Some(old) = newest.replace(served) {
                        gap = gap.or_else(|| old.gap());
                        old.retire.send_replace(true);
                    }
                    if let Some(gap) = gap.take() {
                        let (takes, mut stop) = (self.takes.clone(), stop.clone());
                        connections.spawn(async move {
                            tokio::select! {
                                () = takes.missed(gap) => {}
                                () = told(&mut stop) => {}
                            }
                        });
                    }
                    let ready_at = self.clock.monotonic();
                    let why = leaves(newest.as_mut().expect("it was just put there")).await;
                    let settled = self.clock.monotonic().since(ready_at) >= SETTLED;
                    short_lived = if settled { 0 } else { SHORT_LIVED_MAX.min(short_lived + 1) };
                    // Slack gives some seconds to replace one; who wants every one replaced has to wait.
                    let at_once = settled && why == Why::Told(Reason::Refresh);
                    gap = self.gap(&why);
                    let left = self.left(why);
                    (left, if at_once { Duration::ZERO } else { pause(short_lived, AWAY_PAUSE_MAX) })
                }
                Err(failed) => {
                    if let Some(since) = newest.as_ref().and_then(Served::gap) {
                        self.line.breaks();
                        gap = gap.or(Some(since));
                    }
                    let longest = match &failed.outage {
                        Outage::NotAccepted { .. } => REFUSED_PAUSE_MAX,
                        Outage::Away(_) => AWAY_PAUSE_MAX,
                    };
                    let pause = pause(failures, longest).max(failed.at_least);
                    failures += 1;
                    (Some(failed), pause)
                }
            };
            if let Some(Failed { outage, .. }) = failed {
                self.line.fails(&outage, self.clock.now());
            }
            self.clock.sleep(self.jittered(pause)).await;
        }
    }

    /// Since when something may be missing, where a connection leaves for that reason; nothing while it is still heard.
    fn gap(&self, why: &Why) -> Option<Gap> {
        match why {
            Why::Told(Reason::Refresh) => None,
            Why::Told(_) => Some(Gap::Since(self.clock.now() - GAP_MARGIN)),
            Why::Gone { heard_at, .. } => Some(Gap::Since(*heard_at - GAP_MARGIN)),
        }
    }

    /// What it means that the newest connection leaves; nothing when Slack merely wants another one.
    fn left(&self, why: Why) -> Option<Failed> {
        let refused = |code: &str, remedy| {
            self.line.breaks();
            let outage = Outage::NotAccepted { code: code.to_owned(), remedy };
            Some(Failed { outage, at_least: Duration::ZERO })
        };
        match why {
            Why::Told(Reason::Refresh) => None,
            Why::Told(Reason::LinkDisabled) => refused(
                "link_disabled",
                "Socket Mode was turned off: turn it on at api.slack.com/apps (Settings, Socket Mode)",
            ),
            Why::Told(Reason::TooMany) => refused(
                "too_many_websockets",
                "ten sockets of this app are open already: stop the other programs that use its SLACK_APP_TOKEN",
            ),
            Why::Gone { reason, .. } => {
                self.line.breaks();
                Some(Failed { outage: Outage::Away(reason), at_least: Duration::ZERO })
            }
        }
    }

    /// A connection that is ready, and is being served.
    async fn connect(
        &self,
        connections: &mut JoinSet<()>,
        stop: &watch::Receiver<bool>,
    ) -> Result<Served, Failed> {
        let away = |reason: String| Failed { outage: Outage::Away(reason), at_least: Duration::ZERO };
        let url = self.opener.open().await.map_err(|not| match not {
            NotOpened::Out(outage) => Failed { outage, at_least: Duration::ZERO },
            NotOpened::Later(pause) => Failed { at_least: pause, ..away("ratelimited".to_owned()) },
        })?;
        let dialled = self.opener.http.web_socket(&url, HELLO_WITHIN, self.clock.clone()).await;
        let socket = dialled.map_err(|error| away(error.to_string()))?;
        let (life, mut lives) = watch::channel(Life::Begins);
        let (retire, retired) = watch::channel(false);
        let connection = Connection::new(socket, self.takes.clone(), self.clock.clone(), life);
        let serving = connections.spawn(connection.serve(Orders { retire: retired, stop: stop.clone() }));
        let begun = self.clock.timeout(HELLO_WITHIN, lives.wait_for(|life| *life != Life::Begins)).await;
        let begun = begun.map(|life| life.map(|life| life.clone()));
        match begun {
            Ok(Ok(Life::Ready { connections })) => {
                self.line.works(connections, self.clock.now());
                tracing::info!(connections, "Slack is heard over a socket");
                Ok(Served { life: lives, retire, ready_at: self.clock.now() })
            }
            Ok(Ok(Life::Leaves(why))) => Err(self
                .left(why)
                .unwrap_or_else(|| away("it was to be replaced before it was ready".into()))),
            Ok(Ok(Life::Begins) | Err(_)) => Err(away("it ended before it was ready".into())),
            Err(_) => {
                serving.abort();
                Err(away(format!("no hello within {} s", HELLO_WITHIN.as_secs())))
            }
        }
    }

    /// Between half of it and all of it.
    fn jittered(&self, pause: Duration) -> Duration {
        let half = pause / 2;
        half + Duration::from_micros(self.ids.below(half.as_micros().try_into().unwrap_or(u64::MAX)))
    }
}

/// Waits until another connection is needed; gives why.
async fn leaves(served: &mut Served) -> Why {
    match served.life.wait_for(|life| matches!(life, Life::Leaves(_))).await.as_deref() {
        Ok(Life::Leaves(why)) => why.clone(),
        Ok(_) | Err(_) => {
            Why::Gone { reason: "it ended without a word".to_owned(), heard_at: served.ready_at }
        }
    }
}

/// The pause after so many failures in succession.
fn pause(failures: u32, longest: Duration) -> Duration {
    PAUSE_FIRST.saturating_mul(1 << failures.min(16)).min(longest)
}

#[cfg(test)]
mod tests;
