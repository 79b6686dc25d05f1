//! Slack's rate limits as token buckets: posts per channel, everything else per method. Pure; the time comes in.

use std::collections::BTreeMap;

use crate::clock::Monotonic;

/// Buckets that are remembered at once; all start full again beyond that.
const BUCKETS_MAX: usize = 10_000;

/// Posts to one channel: one a second, with short bursts.
const POST: (f64, f64) = (4.0, 1.0);

/// Size and refill per second of a tier's bucket.
fn tier(method: &str) -> Option<(f64, f64)> {
    let per_minute = match method {
        "chat.postMessage" => return Some(POST),
        "chat.update" | "chat.delete" | "conversations.history" | "conversations.replies" => 50.0,
        "conversations.info" | "reactions.add" => 50.0,
        "reactions.remove" => 20.0,
        "chat.postEphemeral" | "users.info" => 100.0,
        _ => return None,
    };
    Some((per_minute, per_minute / 60.0))
}

pub(super) struct Rates {
    pub(super) enforced: bool,
    buckets: BTreeMap<(String, String), (f64, Monotonic)>,
}

impl Rates {
    pub(super) fn new(enforced: bool) -> Self {
        Rates { enforced, buckets: BTreeMap::new() }
    }

    /// Takes a token for a call; `Err` is the number of seconds to wait.
    pub(super) fn take(&mut self, method: &str, channel: &str, now: Monotonic) -> Result<(), u64> {
        let Some((size, per_second)) = tier(method).filter(|_| self.enforced) else {
            return Ok(());
        };
        if self.buckets.len() >= BUCKETS_MAX {
            self.buckets.clear();
        }
        let channel = if method == "chat.postMessage" { channel } else { "" };
        let (tokens, at) = self.buckets.entry((method.to_owned(), channel.to_owned())).or_insert((size, now));
        *tokens = (*tokens + now.since(*at).as_secs_f64() * per_second).min(size);
        *at = now;
        if *tokens >= 1.0 {
            *tokens -= 1.0;
            return Ok(());
        }
        Err((((1.0 - *tokens) / per_second).ceil() as u64).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_channel_takes_a_short_burst_then_one_a_second() {
        let mut rates = Rates::new(true);
        let start = Monotonic::default();
        for _ in 0..4 {
            assert_eq!(rates.take("chat.postMessage", "C1", start), Ok(()));
        }
        assert_eq!(rates.take("chat.postMessage", "C1", start), Err(1));
        assert_eq!(rates.take("chat.postMessage", "C2", start), Ok(()));
        assert_eq!(rates.take("chat.postMessage", "C1", start + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn the_number_of_buckets_is_bounded() {
        let mut rates = Rates::new(true);
        for n in 0..BUCKETS_MAX + 5 {
            rates.take("chat.postMessage", &n.to_string(), Monotonic::default()).expect("a fresh bucket");
        }
        assert_eq!(rates.buckets.len(), 5);
    }

    #[test]
    fn updates_are_counted_over_all_channels() {
        let mut rates = Rates::new(true);
        let start = Monotonic::default();
        for n in 0..50 {
            assert_eq!(rates.take("chat.update", &format!("C{n}"), start), Ok(()));
        }
        assert_eq!(rates.take("chat.update", "C1", start), Err(2));
        assert_eq!(rates.take("auth.test", "", start), Ok(()));
    }
}
