//! Board health: when a board is checked, and how one that flaps is told from one that is unlucky. Pure: the store keeps
//! what is known of a board, the timekeeper starts the runs.

use std::time::Duration;

use super::BoardId;
use super::inventory::HealthSettings;
use crate::clock::Timestamp;

/// An outcome that a board served, in [`Condition`]'s and the store's record of the last ones.
pub const SERVED: char = 'o';
/// An outcome that speaks against the board.
pub const FAILED: char = 'x';
/// How many outcomes of a board are remembered.
pub const RECENT_MAX: usize = 12;
/// How often those must turn from good to bad or back for the board to count as one that flaps: infra outcomes in a row
/// never come to a quarantine on a board that serves every other run.
pub const FLAP_TURNS: usize = 5;

/// A check that is due by time comes later by up to this part of `every`, each board by its own: boards that came into
/// service together are not checked together for ever.
const JITTER_PART: u32 = 10;
/// Within how long after the start boards are checked that were never used, unless `every` is shorter.
const FIRST_WITHIN: Duration = Duration::from_secs(600);
/// How long after a failed check the next one waits at first; twice as long after each.
const PAUSE: Duration = Duration::from_secs(60);
/// How often that doubles at most: about an hour.
const PAUSE_DOUBLINGS_MAX: u32 = 6;
/// Of how many boards of a family one is checked at a time.
const BOARDS_PER_CHECK: usize = 4;

/// What is known of a board's health.
#[derive(Debug, Clone, Copy, Default)]
pub struct Condition {
    /// When its last lease ended.
    pub last_used_at: Option<Timestamp>,
    /// When its last health run ended.
    pub checked_at: Option<Timestamp>,
    /// Whether trouble on it, or its return to service, asks for a health run.
    pub check_wanted: bool,
    /// Outcomes in a row that speak against it.
    pub failures: u32,
}

/// When a board is to be checked; `None` never. `since` is when this process began to look.
pub fn check_due(
    board: &BoardId,
    settings: &HealthSettings,
    condition: Condition,
    since: Timestamp,
) -> Option<Timestamp> {
    let Condition { last_used_at, checked_at, check_wanted, failures } = condition;
    // A board that was returned is checked whatever the settings say of trouble.
    if check_wanted && (settings.after_infra || failures == 0) {
        return Some(match (failures, checked_at) {
            (0 | 1, _) | (_, None) => since,
            (failures, Some(at)) => at + PAUSE * (1 << (failures - 2).min(PAUSE_DOUBLINGS_MAX)),
        });
    }
    let every = settings.every?;
    Some(match last_used_at.max(checked_at) {
        Some(at) => at + every + spread(board, every / JITTER_PART),
        None => since + spread(board, every.min(FIRST_WITHIN)),
    })
}

/// How many boards of a family with so many may be checked at once.
pub fn checks_max(boards: usize) -> usize {
    (boards / BOARDS_PER_CHECK).max(1)
}

/// Whether a board with these last outcomes flaps.
pub fn is_flapping(recent: &str) -> bool {
    let recent: Vec<char> = recent.chars().take(RECENT_MAX).collect();
    recent.windows(2).filter(|pair| pair[0] != pair[1]).count() >= FLAP_TURNS
}

/// The last outcomes after one more.
pub fn remember(recent: &str, outcome: char) -> String {
    std::iter::once(outcome).chain(recent.chars()).take(RECENT_MAX).collect()
}

/// A board's own share of `within`: the same in every process, evenly spread over boards (FNV-1a).
fn spread(board: &BoardId, within: Duration) -> Duration {
    let hash = board.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // The high bits are the well mixed ones.
    within.mul_f64((hash >> 11) as f64 / (1_u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn settings(every: Option<Duration>, after_infra: bool) -> HealthSettings {
        HealthSettings { plan: "check".into(), every, after_infra }
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_micros(minutes * 60_000_000)
    }

    fn due(settings: &HealthSettings, condition: Condition) -> Option<i64> {
        let due = check_due(&BoardId::new("soc-a-001"), settings, condition, at(1000))?;
        Some(due.as_micros() / 60_000_000)
    }

    #[test]
    fn a_board_is_checked_after_its_last_use_and_each_at_its_own_time() {
        let hourly = settings(Some(HOUR), false);
        let used = Condition { last_used_at: Some(at(0)), ..Condition::default() };
        let board = |n: usize| {
            check_due(&BoardId::new(format!("b-{n}")), &hourly, used, at(1000)).expect("due").as_micros()
        };
        let mut times: Vec<i64> = (0..100).map(board).collect();
        assert!(times.iter().all(|time| (at(60).as_micros()..at(66).as_micros()).contains(time)));
        times.sort_unstable();
        times.dedup();
        assert_eq!(times.len(), 100);
        let checked = Condition { checked_at: Some(at(500)), ..used };
        assert!(due(&hourly, checked).is_some_and(|at| (560..566).contains(&at)));
        assert!(due(&hourly, Condition::default()).is_some_and(|at| (1000..1010).contains(&at)));
        assert_eq!(due(&settings(None, true), used), None);
    }

    #[test]
    fn trouble_asks_for_a_check_at_once_and_after_failed_checks_ever_more_seldom() {
        let wanted = |failures, checked_at| Condition {
            check_wanted: true,
            failures,
            checked_at,
            last_used_at: Some(at(999)),
        };
        let after = settings(None, true);
        assert_eq!(due(&after, wanted(1, Some(at(990)))), Some(1000));
        assert_eq!(due(&after, wanted(2, Some(at(2000)))), Some(2001));
        assert_eq!(due(&after, wanted(4, Some(at(2000)))), Some(2004));
        assert_eq!(due(&after, wanted(99, Some(at(2000)))), Some(2064));
        assert_eq!(due(&settings(None, false), wanted(1, None)), None);
        assert_eq!(due(&settings(None, false), wanted(0, None)), Some(1000), "it was returned");
    }

    #[test]
    fn few_boards_of_a_family_are_checked_at_once() {
        assert_eq!([1, 3, 4, 8, 100].map(checks_max), [1, 1, 1, 2, 25]);
    }

    #[test]
    fn a_board_flaps_that_turns_again_and_again_and_not_one_that_broke_or_was_repaired() {
        for (recent, flaps) in [
            ("", false),
            ("oooooooooooo", false),
            ("xxxxoooooooo", false),
            ("ooooxxxxoooo", false),
            ("oxoxo", false),
            ("oxoxox", true),
            ("xooxooxooxoo", true),
            ("oooooooooooooxoxoxox", false),
        ] {
            assert_eq!(is_flapping(recent), flaps, "{recent}");
        }
        let full = remember(&"o".repeat(RECENT_MAX), FAILED);
        assert_eq!((full.len(), full.starts_with("xoo")), (RECENT_MAX, true));
    }
}
