//! Time: the only file that reads the wall clock or the monotonic clock, and the only one that sleeps.
//!
//! Everything else is handed a [`Clock`] (loops, sessions) or a [`Timestamp`] (pure code, store operations).
//! Tests use [`Clock::manual`], whose time moves only when they say so.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// An instant in UTC, in microseconds since the Unix epoch. This is also how the store keeps instants.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, as Slack's signatures and dates count them.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Time from `earlier` to `self`; zero when `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0).max(0) as u64)
    }

    /// RFC 3339 in UTC with milliseconds: `2026-01-02T03:04:05.678Z`.
    pub fn rfc3339(self) -> String {
        chrono::DateTime::from_timestamp_micros(self.0)
            .unwrap_or_default()
            .to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    }

    /// `2027-01-15 08:00 UTC`, for people on platforms that know no other time zone of theirs.
    pub fn to_minute(self) -> String {
        let at = chrono::DateTime::<chrono::Utc>::from_timestamp_micros(self.0).unwrap_or_default();
        at.format("%Y-%m-%d %H:%M UTC").to_string()
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, d: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(d.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Timestamp;
    fn sub(self, d: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(i64::try_from(d.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl std::fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

/// A point on the monotonic clock: time since this process' clock was made. Never stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Monotonic(Duration);

impl Monotonic {
    /// Time from `earlier` to `self`; zero when `earlier` is later.
    pub fn since(self, earlier: Monotonic) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Monotonic {
    type Output = Monotonic;
    fn add(self, d: Duration) -> Monotonic {
        Monotonic(self.0.saturating_add(d))
    }
}

impl std::ops::Sub<Duration> for Monotonic {
    type Output = Monotonic;
    fn sub(self, d: Duration) -> Monotonic {
        Monotonic(self.0.saturating_sub(d))
    }
}

/// A deadline passed before the awaited thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("deadline passed")]
pub struct Elapsed;

/// A clock that can be read and slept on. Cheap to clone; clones share their time.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System { started: Duration },
    Manual(ManualClock),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Clock(Source::System { started: since_boot() })
    }

    /// A clock for tests, and the handle that moves it.
    pub fn manual(start: Timestamp) -> (Self, ManualClock) {
        let manual = ManualClock(Arc::new(ManualState {
            start,
            elapsed: Mutex::new(Duration::ZERO),
            moved: Notify::new(),
        }));
        (Clock(Source::Manual(manual.clone())), manual)
    }

    /// The instant in UTC. May jump; use it for what is stored or shown, not for deadlines.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clocks")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System { .. } => Timestamp::from_micros(chrono::Utc::now().timestamp_micros()),
            Source::Manual(manual) => manual.0.start + manual.elapsed(),
        }
    }

    /// The monotonic clock. Never set, and it goes on while the machine is suspended; use it for deadlines and for trust in
    /// a lease.
    pub fn monotonic(&self) -> Monotonic {
        match &self.0 {
            Source::System { started } => Monotonic(since_boot().saturating_sub(*started)),
            Source::Manual(manual) => Monotonic(manual.elapsed()),
        }
    }

    /// Sleeps until the monotonic clock reaches `at`; later by as long as the machine is suspended meanwhile.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that sleeps")]
    pub fn sleep_until(&self, at: Monotonic) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        match &self.0 {
            Source::System { .. } => {
                let remains = at.since(self.monotonic());
                Box::pin(tokio::time::sleep(remains.min(SLEEP_MAX)))
            }
            Source::Manual(manual) => {
                let manual = manual.clone();
                Box::pin(async move { manual.reached(at).await })
            }
        }
    }

    /// Sleeps for `d`.
    pub fn sleep(&self, d: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        self.sleep_until(self.monotonic() + d)
    }

    /// Awaits `work` until the monotonic clock reaches `at`.
    pub async fn deadline<F: Future>(&self, at: Monotonic, work: F) -> Result<F::Output, Elapsed> {
        tokio::select! {
            biased;
            output = work => Ok(output),
            () = self.sleep_until(at) => Err(Elapsed),
        }
    }

    /// Awaits `work` for at most `d`.
    pub async fn timeout<F: Future>(&self, d: Duration, work: F) -> Result<F::Output, Elapsed> {
        self.deadline(self.monotonic() + d, work).await
    }
}

/// Time since the machine was started. A clock that stands still in suspend would have a worker that wakes up drive boards
/// which were given away while it slept.
fn since_boot() -> Duration {
    #[cfg(target_os = "linux")]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(clock);
    Duration::new(now.tv_sec.try_into().unwrap_or_default(), now.tv_nsec.try_into().unwrap_or_default())
}

/// A duration as people read it: `300ms`, `2.5s`, `1m 23s`.
pub fn shown_duration(d: Duration) -> String {
    if d < Duration::from_secs(1) {
        return format!("{}ms", d.as_millis());
    }
    if d < Duration::from_secs(10) {
        let tenths = (d.as_millis() + 50) / 100;
        return match tenths % 10 {
            0 => format!("{}s", tenths / 10),
            tenth => format!("{}.{tenth}s", tenths / 10),
        };
    }
    shown_seconds(d.as_secs() + u64::from(d.subsec_millis() >= 500))
}

/// Whole seconds as people read them, by the two largest units: `83` is `1m 23s`.
pub fn shown_seconds(total: u64) -> String {
    let parts = [(total / 86_400, "d"), (total / 3_600 % 24, "h"), (total / 60 % 60, "m"), (total % 60, "s")];
    let first = parts.iter().position(|(n, _)| *n > 0).unwrap_or(3);
    let said: Vec<String> =
        parts[first..].iter().take(2).filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if said.is_empty() { "0s".to_owned() } else { said.join(" ") }
}

/// The longest sleep: a point farther ahead than this is slept towards in one go and found early, never overflowed.
const SLEEP_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Moves a manual clock.
#[derive(Clone)]
pub struct ManualClock(Arc<ManualState>);

struct ManualState {
    start: Timestamp,
    elapsed: Mutex<Duration>,
    moved: Notify,
}

impl ManualClock {
    /// Moves time forward and wakes every sleeper whose time has come.
    pub fn advance(&self, d: Duration) {
        *self.0.elapsed.lock().expect("clock lock") += d;
        self.0.moved.notify_waiters();
    }

    fn elapsed(&self) -> Duration {
        *self.0.elapsed.lock().expect("clock lock")
    }

    async fn reached(&self, at: Monotonic) {
        loop {
            // Register before looking, so that an advance between the two is not missed.
            let moved = self.0.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if self.elapsed() >= at.0 {
                return;
            }
            moved.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_prints_as_rfc3339_with_milliseconds() {
        assert_eq!(Timestamp::from_micros(1_531_420_618_123_456).rfc3339(), "2018-07-12T18:36:58.123Z");
    }

    #[test]
    fn a_duration_prints_as_people_read_it() {
        let check = |millis: u64, expect: &str| {
            assert_eq!(shown_duration(Duration::from_millis(millis)), expect, "{millis}");
        };
        check(0, "0ms");
        check(300, "300ms");
        check(2_000, "2s");
        check(2_003, "2s");
        check(2_480, "2.5s");
        check(9_960, "10s");
        check(59_600, "1m");
        check(83_000, "1m 23s");
        check(7_200_000, "2h");
        check(90_061_000, "1d 1h");
    }

    #[tokio::test]
    async fn a_manual_clock_wakes_a_sleeper_only_when_its_time_has_come() {
        let (clock, hand) = Clock::manual(Timestamp::from_micros(0));
        let sleeper = tokio::spawn(clock.sleep(Duration::from_secs(10)));
        hand.advance(Duration::from_secs(9));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        hand.advance(Duration::from_secs(1));
        sleeper.await.expect("sleeper");
        assert_eq!(clock.now(), Timestamp::from_micros(10_000_000));
    }

    #[tokio::test]
    async fn a_deadline_in_the_past_ends_work_that_is_not_ready() {
        let clock = Clock::system();
        let never = std::future::pending::<()>();
        assert_eq!(clock.timeout(Duration::ZERO, never).await, Err(Elapsed));
    }
}
