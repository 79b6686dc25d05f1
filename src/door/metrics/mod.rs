//! Metrics for Prometheus: what the parts of the server count by themselves, and what the store knows, asked once for
//! each reading. Nothing that a person typed, no name of a person, a build or a board stands in it, and how many series
//! there can be is bounded.
//!
//! Whoever reaches this server itself reads it without a token. A request that came through a proxy is from anywhere: it
//! needs a token of the API.

mod page;
mod series;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Mutex;

use self::page::Reading;
use super::Door;
use super::server::Peer;
use crate::chat::{Platform, token};
use crate::clock::Timestamp;
use crate::meter::{ANSWER_BUCKETS, Counter, Counts, RUN_BUCKETS, Times};
use crate::store::{Cursor, Endings, Result, Store, Tally};

/// Most pages of the change log counted for one reading: what is left is counted for the next one.
const PAGES_MAX: usize = 50;
/// How long the store may take to answer.
const READ_WITHIN: Duration = Duration::from_secs(8);
/// Headers that proxies add to what they pass on.
const PROXIED: [&str; 7] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-real-ip",
];
/// Whoever sends deliveries.
const SENDERS: [Platform; 4] = [Platform::Slack, Platform::Feishu, Platform::Jenkins, Platform::Api];
/// How a delivery may end: taken, taken before, not committed in time; not signed, not understood, not connected.
const DELIVERY_RESULTS: [&str; 6] = ["fresh", "repeat", "busy", "unsigned", "malformed", "not-connected"];

/// What the door counts, and how far the change log is counted.
pub struct Meter {
    started_at: Timestamp,
    deliveries: Counts,
    /// Requests to the shared path that nobody could tell a sender of.
    unknown: Counter,
    answers: Times,
    console_bytes: Counter,
    counted: Mutex<Counted>,
}

impl Meter {
    /// Nothing is counted yet; `console_bytes` is counted elsewhere.
    pub fn new(console_bytes: Counter, started_at: Timestamp) -> Meter {
        Meter {
            started_at,
            deliveries: Counts::new(&SENDERS, &DELIVERY_RESULTS),
            unknown: Counter::default(),
            answers: Times::new(ANSWER_BUCKETS),
            console_bytes,
            counted: Mutex::default(),
        }
    }

    /// A delivery was committed, for the first time or again, or could not be; after so long.
    pub(super) fn delivered(&self, platform: Platform, fresh: Option<bool>, took: Duration) {
        let result = match fresh {
            Some(true) => "fresh",
            Some(false) => "repeat",
            None => "busy",
        };
        self.deliveries.count(platform, result);
        self.answers.took(took);
    }

    /// Where counting begins, found at the first reading at the latest.
    pub(crate) async fn begin(&self, store: &dyn Store) -> Result<()> {
        self.counted.lock().await.read(store).await.map(drop)
    }
}

/// What was counted of the change log since the process began.
struct Counted {
    read_to: Option<Cursor>,
    runs: BTreeMap<[String; 3], u64>,
    attempts: BTreeMap<[String; 3], u64>,
    lapsed: u64,
    waited: Times,
    took: Times,
}

impl Default for Counted {
    fn default() -> Self {
        Counted {
            read_to: None,
            runs: BTreeMap::new(),
            attempts: BTreeMap::new(),
            lapsed: 0,
            waited: Times::new(RUN_BUCKETS),
            took: Times::new(RUN_BUCKETS),
        }
    }
}

impl Counted {
    /// Counts what has happened since; gives how things are now.
    async fn read(&mut self, store: &dyn Store) -> Result<Tally> {
        let mut tally = store.tally(self.read_to).await?;
        self.take_in(&tally);
        for _ in 1..PAGES_MAX {
            if !tally.more {
                break;
            }
            tally = store.tally(self.read_to).await?;
            self.take_in(&tally);
        }
        Ok(tally)
    }

    fn take_in(&mut self, tally: &Tally) {
        self.read_to = tally.cursor;
        series::add(&mut self.runs, tally.ended.iter().map(ending));
        series::add(&mut self.attempts, tally.attempts.iter().map(ending));
        self.lapsed += tally.lapsed;
        tally.waited.iter().for_each(|time| self.waited.took(*time));
        tally.took.iter().for_each(|time| self.took.took(*time));
    }
}

fn ending(endings: &Endings) -> ([String; 3], u64) {
    let Endings { kind, verdict, cause, count } = endings;
    ([kind.clone(), verdict.clone(), cause.clone()], *count)
}

/// Everything, as Prometheus reads it.
pub(super) async fn metrics(
    State(door): State<Arc<Door>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Response {
    if !may_read(&door, peer.map(|Extension(peer)| peer), &headers).await {
        let said = "this came through a proxy: a token is needed, Authorization: Bearer …\n";
        return (StatusCode::UNAUTHORIZED, said).into_response();
    }
    let reading = async {
        let mut counted = door.meter.counted.lock().await;
        let tally = counted.read(door.store.as_ref()).await?;
        let boards = door.store.board_list().await?;
        Result::Ok(Reading::new(&door, &counted, tally, boards).text())
    };
    match door.clock.timeout(READ_WITHIN, reading).await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, page::CONTENT_TYPE)], text).into_response(),
        Ok(Err(error)) => not_now(&error.to_string()),
        Err(_) => not_now("the database does not answer in time"),
    }
}

fn not_now(reason: &str) -> Response {
    tracing::warn!(reason, "no metrics");
    (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer; /readyz says why\n").into_response()
}

/// Whether whoever asks may read metrics: anybody who asks this server itself, and anybody with a token.
async fn may_read(door: &Door, peer: Option<Peer>, headers: &HeaderMap) -> bool {
    let header = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    match header.and_then(token::bearer) {
        Some(token) => super::api::who::proved(door, token).await.is_ok(),
        None => {
            let is_proxy = peer.is_some_and(|peer| door.throttle.is_proxy(peer.0));
            !is_proxy && PROXIED.iter().all(|name| !headers.contains_key(*name))
        }
    }
}

/// Counts deliveries that were refused before they came to anything.
pub(super) async fn count_refused(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let shared = path == "/webhook";
    let sender = path.strip_prefix("/webhooks/").and_then(Platform::from_word);
    let response = next.run(request).await;
    let result = match response.status() {
        StatusCode::UNAUTHORIZED => "unsigned",
        StatusCode::NOT_FOUND => "not-connected",
        status if status.is_client_error() => "malformed",
        _ => return response,
    };
    match sender {
        Some(platform) => door.meter.deliveries.count(platform, result),
        None if shared => door.meter.unknown.add(1),
        None => {}
    }
    response
}
