//! Instruments: what a part of the server counts about itself. Each is a few atomics, shared by its clones: counting
//! takes no lock and never fails. What is counted here begins anew with the process; what is in the store is counted
//! there. Names, labels and the page that shows them are the door's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::chat::Platform;

/// Upper bounds of how long an answer or a commit may take, in seconds; 3 s is what platforms wait for.
pub const ANSWER_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 3.0, 10.0];
/// Upper bounds of how long a run may wait, or an attempt take, in seconds.
pub const RUN_BUCKETS: &[f64] =
    &[0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_200.0, 3_600.0, 7_200.0, 21_600.0];

/// A number that only rises.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds so many.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters of the same thing, one for each platform and word. Which there are is said when they are made.
#[derive(Debug, Clone)]
pub struct Counts(Arc<[(Platform, &'static str, Counter)]>);

impl Counts {
    /// A counter for each of these platforms with each of these words.
    pub fn new(platforms: &[Platform], words: &[&'static str]) -> Counts {
        let of = |platform: &Platform| {
            let platform = *platform;
            words.iter().map(move |word| (platform, *word, Counter::default()))
        };
        Counts(platforms.iter().flat_map(of).collect())
    }

    /// One more; what no counter was made for is not counted.
    pub fn count(&self, platform: Platform, word: &str) {
        let mut each = self.0.iter();
        if let Some((_, _, counter)) = each.find(|(of, named, _)| *of == platform && *named == word) {
            counter.add(1);
        }
    }

    /// Every counter with what it stands for.
    pub fn each(&self) -> impl Iterator<Item = (Platform, &'static str, u64)> + '_ {
        self.0.iter().map(|(platform, word, counter)| (*platform, *word, counter.get()))
    }
}

/// How long something took, by upper bounds.
#[derive(Debug, Clone)]
pub struct Times(Arc<Buckets>);

#[derive(Debug)]
struct Buckets {
    bounds: &'static [f64],
    /// One more than bounds: the last is for what takes longer than any of them.
    counts: Vec<AtomicU64>,
    micros: AtomicU64,
}

/// What was seen of it so far.
#[derive(Debug, Clone, PartialEq)]
pub struct TimesSeen {
    /// Seconds in all.
    pub sum: f64,
    /// How often.
    pub count: u64,
    /// How often up to each bound and beyond the one before it; the last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
}

impl Times {
    /// Nothing seen yet, with these upper bounds in seconds, which rise.
    pub fn new(bounds: &'static [f64]) -> Times {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Times(Arc::new(Buckets { bounds, counts, micros: AtomicU64::new(0) }))
    }

    /// Something took so long.
    pub fn took(&self, time: Duration) {
        let bucket = self.0.bounds.partition_point(|bound| *bound < time.as_secs_f64());
        self.0.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.0.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// What was seen so far.
    pub fn seen(&self) -> TimesSeen {
        let bounds = self.0.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.0.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let sum = Duration::from_micros(self.0.micros.load(Ordering::Relaxed)).as_secs_f64();
        TimesSeen { sum, count: buckets.iter().map(|(_, count)| count).sum(), buckets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_counts_up_to_the_bound_that_it_reaches() {
        let times = Times::new(&[0.1, 1.0]);
        for millis in [0, 100, 101, 1_000, 1_001, 90_000] {
            times.clone().took(Duration::from_millis(millis));
        }
        let seen = times.seen();
        assert_eq!(seen.buckets, [(0.1, 2), (1.0, 2), (f64::INFINITY, 2)]);
        assert_eq!((seen.count, seen.sum), (6, 92.202));
    }

    #[test]
    fn only_what_a_counter_was_made_for_is_counted() {
        let counts = Counts::new(&Platform::CHATS, &["sent", "refused"]);
        counts.clone().count(Platform::Feishu, "sent");
        counts.count(Platform::Feishu, "eaten");
        counts.count(Platform::Api, "sent");
        let counted: Vec<_> = counts.each().filter(|(_, _, count)| *count > 0).collect();
        assert_eq!((counts.each().count(), counted), (4, vec![(Platform::Feishu, "sent", 1)]));
    }
}
