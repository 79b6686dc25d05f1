//! How fast whoever asks may ask: per token, per address, and much slower for an address whose requests prove nothing.
//! What proves itself is never held back by what others do, from the same address too: a proof is looked at first, and
//! only failures are counted against an address. Nothing of a request but where it came from is looked at here.
//!
//! A budget is one instant, the time at which it is whole again; what is remembered is bounded by [`KEYS_MAX`].

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Door;
use super::machine::Problem;
use super::server::{AskedAgain, Peer};
use crate::clock::{Clock, Monotonic};
use crate::net::proxies::Proxies;

/// Most addresses, and most tokens, that are remembered one by one; beyond it those that are new share one budget.
pub const KEYS_MAX: usize = 10_000;
/// How often whole budgets are forgotten, where there is no room.
const FORGET_EVERY: Duration = Duration::from_secs(1);
const FORWARDED_FOR: &str = "x-forwarded-for";

/// So many at once, and then one more each so often.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// So many at once.
    pub burst: u32,
    /// One more each so often.
    pub every: Duration,
}

/// Requests of one address that prove nothing: wrong signatures, unknown tokens.
pub const FAILURES: Rate = Rate { burst: 60, every: Duration::from_secs(1) };
/// Requests to the API of one address without a token: links.
pub const LINKS: Rate = Rate { burst: 10_000, every: Duration::from_millis(5) };
/// What one token reads.
pub const READS: Rate = Rate { burst: 10_000, every: Duration::from_millis(2) };
/// What one token changes.
pub const WRITES: Rate = Rate { burst: 200, every: Duration::from_millis(50) };
/// What one worker's token says: signs of life, reports, and pieces of consoles of as many boards as a rack has.
pub const WORKERS: Rate = Rate { burst: 4_000, every: Duration::from_millis(1) };

/// Proved posts of one address to `/webhooks/jenkins`.
pub const POSTS: Rate = Rate { burst: 500, every: Duration::from_millis(50) };

/// How fast whoever asks may ask.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// Requests of one address that prove nothing.
    pub failures: Rate,
    /// Requests to the API of one address without a token.
    pub links: Rate,
    /// What one token reads.
    pub reads: Rate,
    /// What one token changes.
    pub writes: Rate,
    /// Proved posts of one address to `/webhooks/jenkins`.
    pub posts: Rate,
}

impl Default for Rates {
    fn default() -> Self {
        Rates { failures: FAILURES, links: LINKS, reads: READS, writes: WRITES, posts: POSTS }
    }
}

/// Budgets by key.
pub struct Budgets<K> {
    rate: Rate,
    clock: Clock,
    state: Mutex<Kept<K>>,
}

struct Kept<K> {
    /// When each budget is whole again; one that is whole is not remembered for long.
    whole_at: HashMap<K, Monotonic>,
    /// The same of all for whom there is no room.
    others_whole_at: Monotonic,
    forgot_at: Option<Monotonic>,
}

impl<K: Hash + Eq> Budgets<K> {
    /// Whole budgets.
    pub fn new(rate: Rate, clock: Clock) -> Self {
        let state = Kept { whole_at: HashMap::new(), others_whole_at: Monotonic::default(), forgot_at: None };
        Budgets { rate, clock, state: Mutex::new(state) }
    }

    /// Takes one from a budget; after how long there is one again, where there is none.
    pub fn take(&self, key: K) -> Result<(), Duration> {
        let now = self.clock.monotonic();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.make_room(now);
        let full = state.whole_at.len() >= KEYS_MAX && !state.whole_at.contains_key(&key);
        let whole_at = match full {
            true => &mut state.others_whole_at,
            false => state.whole_at.entry(key).or_insert(now),
        };
        let next = (*whole_at).max(now) + self.rate.every;
        let ahead = next.since(now);
        let most = self.rate.every * self.rate.burst;
        if ahead > most {
            return Err(ahead - most);
        }
        *whole_at = next;
        Ok(())
    }

    /// How many are remembered.
    pub fn remembered(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).whole_at.len()
    }
}

impl<K: Hash + Eq> Kept<K> {
    fn make_room(&mut self, now: Monotonic) {
        let lately = self.forgot_at.is_some_and(|at| now.since(at) < FORGET_EVERY);
        if self.whole_at.len() >= KEYS_MAX && !lately {
            self.whole_at.retain(|_, whole_at| *whole_at > now);
            self.forgot_at = Some(now);
        }
    }
}

/// Every budget of a door.
pub struct Throttle {
    failures: Budgets<IpAddr>,
    links: Budgets<IpAddr>,
    reads: Budgets<String>,
    writes: Budgets<String>,
    posts: Budgets<IpAddr>,
    workers: Budgets<String>,
    proxies: Proxies,
}

impl Throttle {
    /// Whole budgets; addresses are those that `proxies` tell.
    pub fn new(rates: Rates, proxies: Proxies, clock: &Clock) -> Throttle {
        Throttle {
            failures: Budgets::new(rates.failures, clock.clone()),
            links: Budgets::new(rates.links, clock.clone()),
            reads: Budgets::new(rates.reads, clock.clone()),
            writes: Budgets::new(rates.writes, clock.clone()),
            posts: Budgets::new(rates.posts, clock.clone()),
            workers: Budgets::new(WORKERS, clock.clone()),
            proxies,
        }
    }

    /// Whether whoever is at the other end of a connection speaks for others.
    pub(super) fn is_proxy(&self, peer: IpAddr) -> bool {
        self.proxies.trusts(peer)
    }

    /// Whether whoever posts from there, and has proved itself, may go on.
    pub(super) fn poster(&self, source: IpAddr) -> Result<(), Problem> {
        self.posts.take(network(source)).map_err(slower)
    }

    /// Whether whoever has this token may go on.
    pub(super) fn token(&self, name: &str, changes: bool) -> Result<(), Problem> {
        let budgets = if changes { &self.writes } else { &self.reads };
        budgets.take(name.to_owned()).map_err(slower)
    }

    /// Whether a worker with this token may go on.
    pub(super) fn worker(&self, name: &str) -> Result<(), Problem> {
        self.workers.take(name.to_owned()).map_err(slower)
    }
}

/// In every request's extensions: the address that it came from, behind proxies that are trusted.
#[derive(Debug, Clone, Copy)]
pub struct Source(pub IpAddr);

/// In an answer's extensions: why a delivery was refused.
#[derive(Debug, Clone)]
pub(crate) struct Refused(pub(crate) String);

/// Holds an address back whose requests prove nothing; and tells the log of those that are not held back.
pub(super) async fn throttle(State(door): State<Arc<Door>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
    let source = peer.map(|peer| source(&door.throttle.proxies, peer, request.headers()));
    let key = source.map(network);
    if let Some(source) = source {
        request.extensions_mut().insert(Source(source));
    }
    let path = request.uri().path();
    let (webhook, api) = (path.starts_with("/webhook"), path.starts_with("/api/"));
    if api
        && request.extensions().get::<AskedAgain>().is_none()
        && !request.headers().contains_key(header::AUTHORIZATION)
        && let Some(Err(after)) = key.map(|key| door.throttle.links.take(key))
    {
        return slower(after).into_response();
    }
    let answer = next.run(request).await;
    // What is signed and makes no sense is its sender's trouble, and told them.
    let unknown = webhook && answer.status() == StatusCode::NOT_FOUND;
    let failed = unknown || answer.status() == StatusCode::UNAUTHORIZED;
    if failed && let Some(Err(after)) = key.map(|key| door.throttle.failures.take(key)) {
        return slower(after).into_response();
    }
    if let Some(Refused(reason)) = answer.extensions().get() {
        let source = source.map(|source| source.to_string());
        tracing::warn!(http.status = answer.status().as_u16(), source, reason, "a delivery was refused");
    }
    answer
}

/// Who sent a request, by what proxies add to it.
fn source(proxies: &Proxies, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let told = headers.get_all(FORWARDED_FOR).into_iter().filter_map(|value| value.to_str().ok());
    let told: Vec<&str> = told.flat_map(|value| value.split(',')).collect();
    proxies.source(peer, &told)
}

/// What whoever asks too fast is told.
fn slower(after: Duration) -> Problem {
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    let detail = format!("ask again in {seconds} s");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "these are too many requests", detail).again(seconds)
}

/// What counts as one address: whoever has an IPv6 network has more addresses than anybody remembers.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn so_many_at_once_and_then_one_at_a_time() {
        let (clock, manual) = Clock::manual(crate::clock::Timestamp::default());
        let budgets = Budgets::new(Rate { burst: 3, every: Duration::from_secs(2) }, clock);
        assert!((0..3).all(|_| budgets.take("a").is_ok()));
        assert_eq!(budgets.take("a"), Err(Duration::from_secs(2)));
        assert_eq!(budgets.take("b"), Ok(()), "somebody else's budget is theirs");
        manual.advance(Duration::from_millis(1_500));
        assert_eq!(budgets.take("a"), Err(Duration::from_millis(500)));
        manual.advance(Duration::from_millis(500));
        assert_eq!((budgets.take("a"), budgets.take("a").is_err()), (Ok(()), true));
    }

    #[test]
    fn so_many_are_remembered_and_those_beyond_share_one_budget() {
        let (clock, manual) = Clock::manual(crate::clock::Timestamp::default());
        let budgets = Budgets::new(Rate { burst: 2, every: Duration::from_secs(60) }, clock);
        for n in 0..KEYS_MAX {
            assert_eq!(budgets.take(n), Ok(()));
        }
        assert_eq!((budgets.take(KEYS_MAX), budgets.take(KEYS_MAX + 1)), (Ok(()), Ok(())));
        assert!(budgets.take(KEYS_MAX + 2).is_err(), "one budget for all");
        assert_eq!(budgets.take(7), Ok(()), "who is remembered has their own");
        assert_eq!(budgets.remembered(), KEYS_MAX);
        // Whole budgets are forgotten: there is room again.
        manual.advance(Duration::from_secs(60));
        assert_eq!(budgets.take(KEYS_MAX + 3), Ok(()));
        assert_eq!(budgets.remembered(), 2, "the one that took twice, and the new one");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        assert_eq!(network(address("2001:db8:1:2:3::4")), network(address("2001:db8:1:2:ffff::1")));
        assert_ne!(network(address("2001:db8:1:2::1")), network(address("2001:db8:1:3::1")));
        assert_eq!(network(address("::ffff:1.2.3.4")), address("1.2.3.4"));
    }
}
