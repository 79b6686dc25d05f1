//! Hours that people have boards as their own, added up over the last days: how much is used, and when as much comes free
//! again. Pure; what counts is noted by the store, and how much there may be stands in boards.yaml.

use std::time::Duration;

use crate::clock::Timestamp;

/// How far back hours count.
pub const WINDOW: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most times of one person that are looked at, the newest first.
pub const TIMES_MAX: u32 = 5_000;

/// A time for which somebody had a board as their own, or has it still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldTime {
    /// From when on.
    pub from: Timestamp,
    /// Until when; as it is agreed, where it is not over.
    pub until: Timestamp,
}

/// How much of these counts at a time: what is agreed counts whole, and what is longer ago no more.
pub fn used(times: &[HeldTime], now: Timestamp) -> Duration {
    let since = now - WINDOW;
    times.iter().map(|time| time.until.since(time.from.max(since))).sum()
}

/// When `more` fits beside these; `None` where it never does.
pub fn fits_at(times: &[HeldTime], more: Duration, most: Duration, now: Timestamp) -> Option<Timestamp> {
    let fits = |at: Timestamp| used(times, at) + more <= most;
    if more > most {
        return None;
    }
    let last = times.iter().map(|time| time.until + WINDOW).max().unwrap_or(now);
    let (mut early, mut late) = (now, last.max(now));
    if fits(early) {
        return Some(early);
    }
    // The older a time, the less of it counts: what is used only falls.
    while late.since(early) > Duration::from_secs(1) {
        let middle = early + late.since(early) / 2;
        if fits(middle) { late = middle } else { early = middle }
    }
    Some(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(hours: u32) -> Timestamp {
        Timestamp::from_micros(1_760_000_000_000_000) + HOUR * hours
    }

    fn held(from: u32, until: u32) -> HeldTime {
        HeldTime { from: at(from), until: at(until) }
    }

    #[test]
    fn what_is_agreed_counts_whole_and_what_is_long_ago_no_more() {
        let week = 7 * 24;
        let times = [held(0, 4), held(week - 2, week + 6)];
        assert_eq!(used(&times, at(week)), 12 * HOUR);
        assert_eq!(used(&times, at(week + 3)), 9 * HOUR);
        assert_eq!(used(&times, at(week + 4)), 8 * HOUR);
        assert_eq!(used(&times, at(3 * week)), Duration::ZERO);
    }

    #[test]
    fn more_fits_as_soon_as_enough_is_long_ago() {
        let week = 7 * 24;
        let times = [held(0, 4), held(10, 20)];
        let fits = |more: u32, most: u32| fits_at(&times, HOUR * more, HOUR * most, at(30));
        assert_eq!(fits(6, 20), Some(at(30)), "at once");
        let near = |found: Option<Timestamp>, expect: u32| {
            let found = found.expect("it fits");
            assert!(found >= at(expect) && found.since(at(expect)) <= Duration::from_secs(1), "{found:?}");
        };
        near(fits(8, 20), week + 2);
        near(fits(12, 20), week + 12);
        near(fits(20, 20), week + 20);
        assert_eq!(fits(21, 20), None);
    }
}
