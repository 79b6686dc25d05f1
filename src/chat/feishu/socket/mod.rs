//! The long connection: events of Feishu over a WebSocket that this server dials, for labs that nobody can call from
//! outside.
//!
//! ```text
//! Feishu ◀── POST /callback/ws/endpoint ── Endpoint    an address for one connection, and how to keep it
//!        ◀── WebSocket ── Connection                   frames: events in, answers out, keepalives both ways
//!                            └─▶ Takes::take           the door: commits, and only then says what to answer
//! ```
//!
//! Rules. An event is answered only after it was taken; one that was not is answered 500, comes again for hours, and has
//! no second effect. Nothing in it is signed or covered: we dialled, over TLS, with the app's own secret. Feishu gives every
//! event to one of an app's connections, whichever.
//!
//! Failures. A connection that is cut, silent or not to be had is made anew after a pause that grows to the one that Feishu
//! asks for and differs by chance, so that many servers do not come back at once. Where Feishu does not accept us, somebody
//! has to act: that stands on the health page ([`SocketLine`]) and is not tried again before [`REFUSED_PAUSE`].
//!
//! What never happens here: knowing what an event means, or waiting for Feishu without an end.

mod connection;
mod endpoint;
pub mod frame;

pub use connection::EVENTS_MAX;
pub use endpoint::{Endpoint, Pace};

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::watch;

use self::connection::{Connection, Over};
use crate::chat::Outage;
use crate::chat::socket_line::SocketLine;
use crate::clock::Clock;
use crate::id::Ids;

/// Pauses before the first tries, in seconds; afterwards it is as Feishu says ([`Pace`]).
const PAUSES: [u64; 5] = [1, 2, 5, 15, 30];
/// Pause after Feishu did not accept us.
pub const REFUSED_PAUSE: Duration = Duration::from_secs(30 * 60);
/// A connection that ends sooner than this counts as a failure: whoever cuts every connection at once is not to be
/// dialled without a pause.
const SETTLED: Duration = Duration::from_secs(10);

/// What becomes of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Ack {
    /// Its effect is on disk. With what a click is answered.
    Taken(Option<Value>),
    /// Not now: Feishu sends it again.
    NotTaken,
}

/// Takes events: the door.
#[async_trait]
pub trait Takes: Send + Sync {
    /// Takes one, in less than the 3 s that Feishu waits. It is what stands under a webhook's cover.
    async fn take(&self, event: Vec<u8>) -> Ack;
}

/// Keeps a connection to Feishu.
pub struct LongConnection {
    endpoint: Endpoint,
    takes: Arc<dyn Takes>,
    line: SocketLine,
    clock: Clock,
    ids: Ids,
}

impl LongConnection {
    /// Connections of `endpoint`, whose events go to `takes`.
    pub fn new(endpoint: Endpoint, takes: Arc<dyn Takes>, line: SocketLine, clock: Clock, ids: Ids) -> Self {
        LongConnection { endpoint, takes, line, clock, ids }
    }

    /// Keeps a connection until `stop` says true; then answers what is being taken, and closes.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let (mut failures, mut pace) = (0, Pace::default());
        while !*stop.borrow_and_update() {
            let dialling = tokio::select! {
                dialled = self.endpoint.dial(&self.clock, pace) => dialled,
                () = told(&mut stop) => return,
            };
            let outage = match dialling {
                Ok(dialled) => {
                    let began_at = self.clock.monotonic();
                    self.line.works(1, self.clock.now());
                    tracing::info!(ping_every = ?dialled.pace.ping_every, "Feishu is heard over a long connection");
                    let connection = Connection::new(dialled, self.takes.clone(), self.clock.clone());
                    let over;
                    (over, pace) = connection.serve(&mut stop).await;
                    let Over::Gone(reason) = over else { return };
                    tracing::info!(reason, "a long connection to Feishu ended");
                    self.line.breaks();
                    if self.clock.monotonic().since(began_at) >= SETTLED {
                        failures = 0;
                    }
                    Outage::Away(reason)
                }
                Err(outage) => outage,
            };
            self.line.fails(&outage, self.clock.now());
            let pause = self.pause(failures, &outage, pace);
            failures += 1;
            tokio::select! {
                () = self.clock.sleep(pause) => {}
                () = told(&mut stop) => return,
            }
        }
    }

    /// The pause after so many failures in succession, between half of it and all of it; at last Feishu's own, spread as
    /// it asks.
    fn pause(&self, failures: usize, outage: &Outage, pace: Pace) -> Duration {
        let by_chance = |most: Duration| {
            Duration::from_micros(self.ids.below(most.as_micros().try_into().unwrap_or(u64::MAX).max(1)))
        };
        match (outage, PAUSES.get(failures)) {
            (Outage::NotAccepted { .. }, _) => REFUSED_PAUSE + by_chance(pace.spread),
            (Outage::Away(_), Some(secs)) => {
                let pause = Duration::from_secs(*secs).min(pace.again_every);
                pause / 2 + by_chance(pause / 2)
            }
            (Outage::Away(_), None) => pace.again_every + by_chance(pace.spread),
        }
    }
}

/// Resolves when the server stops, also when nobody is left to say so.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Platform;
    use crate::clock::Timestamp;
    use crate::net::Http;

    struct Nobody;

    #[async_trait]
    impl Takes for Nobody {
        async fn take(&self, _event: Vec<u8>) -> Ack {
            Ack::NotTaken
        }
    }

    #[test]
    fn pauses_grow_to_the_one_that_feishu_asks_for_and_differ_by_chance() {
        let (clock, _) = Clock::manual(Timestamp::default());
        let endpoint = Endpoint::new(Http::new(&[]), "http://127.0.0.1:9", "cli_a".into(), "s".into());
        let line = SocketLine::new(Platform::Feishu);
        let connection = LongConnection::new(endpoint, Arc::new(Nobody), line, clock, Ids::seeded(1));
        let away = Outage::Away(String::new());
        let refused = Outage::NotAccepted { code: "514".into(), remedy: "" };
        let pace = Pace::default();
        let check = |failures: usize, outage: &Outage, pace: Pace, least: u64, most: u64| {
            let pauses: Vec<_> = (0..50).map(|_| connection.pause(failures, outage, pace)).collect();
            let (least, most) = (Duration::from_millis(least), Duration::from_millis(most));
            assert!(pauses.iter().all(|pause| (least..=most).contains(pause)), "{failures}: {pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]), "they differ");
        };
        check(0, &away, pace, 500, 1_000);
        check(1, &away, pace, 1_000, 2_000);
        check(4, &away, pace, 15_000, 30_000);
        check(5, &away, pace, 120_000, 150_000);
        check(9_999, &away, pace, 120_000, 150_000);
        check(4, &away, Pace { again_every: Duration::from_secs(5), ..pace }, 2_500, 5_000);
        check(0, &refused, pace, 1_800_000, 1_830_000);
    }
}
