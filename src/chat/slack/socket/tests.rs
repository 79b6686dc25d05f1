//! The supervisor's arithmetic; connections as a whole are tested against the simulated Slack.

use super::*;

#[test]
fn pauses_double_up_to_a_longest() {
    let pauses = |longest| (0..10).map(|n| pause(n, longest).as_millis()).collect::<Vec<_>>();
    assert_eq!(pauses(AWAY_PAUSE_MAX), [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000, 30000]);
    assert_eq!(pauses(REFUSED_PAUSE_MAX)[6..], [32000, 64000, 120_000, 120_000]);
    assert_eq!(pause(u32::MAX, REFUSED_PAUSE_MAX), REFUSED_PAUSE_MAX);
}
