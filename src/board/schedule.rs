//! Schedules: lines of boards.yaml that start runs at their times, in the time zone that each names. Pure: when one is
//! due, and how often it was in between. Where clocks go forward over a time of day, that day's run starts as they
//! land; where they go back over it, it starts once.

use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};

use crate::clock::Timestamp;

/// Most times in between that are counted.
pub const MISSED_COUNTED_MAX: u32 = 100;
/// How late a run may still start that fell due while no server was there, where the file does not say.
pub const START_WITHIN: Duration = Duration::from_secs(3600);

/// A schedule of the lab file.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The cron line, as written.
    pub cron: String,
    /// The time zone's name.
    pub zone: String,
    /// What follows `/run-test`.
    pub run: String,
    /// Where its runs are told: `slack:C0SOCCI`; `None` in the default channel.
    pub channel: Option<String>,
    /// How late a run may still start.
    pub start_within: Duration,
    times: Times,
}

/// When a schedule is due.
#[derive(Debug, Clone)]
pub struct Times {
    cron: Box<Cron>,
    zone: Tz,
}

/// Fields of a cron line.
const FIELDS: usize = 5;

/// Why a cron line is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronProblem {
    /// It cannot be read.
    #[error("{0}")]
    Unread(String),
    /// It names a time that never comes, such as the 30th of February.
    #[error("this time never comes")]
    Never,
}

/// What is wrong with a line, without the words of whoever reads it.
fn unread(cron: &str, error: &CronError) -> CronProblem {
    use CronError::{ComponentError, IllegalCharacters, InvalidPattern};
    let fields = cron.split_whitespace().count();
    CronProblem::Unread(match error {
        _ if fields != FIELDS && !cron.trim_start().starts_with('@') => {
            format!("it has {fields} field{}", if fields == 1 { "" } else { "s" })
        }
        ComponentError(why) | IllegalCharacters(why) | InvalidPattern(why) => {
            let why = why.trim_end_matches('.');
            let mut letters = why.chars();
            letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
        }
        other => other.to_string(),
    })
}

impl Times {
    /// Reads a cron line of five fields for a time zone.
    pub fn parse(cron: &str, zone: Tz) -> Result<Times, CronProblem> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(cron).map_err(|error| unread(cron, &error))?;
        let times = Times { cron: Box::new(cron), zone };
        // Any leap year will do: what does not come within the eight years around it never does.
        let start = Timestamp::from_micros(946_684_800_000_000);
        times.next(start).map(|_| times.clone()).ok_or(CronProblem::Never)
    }

    fn local(&self, at: Timestamp) -> Option<DateTime<Tz>> {
        Some(DateTime::<Utc>::from_timestamp_micros(at.as_micros())?.with_timezone(&self.zone))
    }

    /// The next time after `at`.
    pub fn next(&self, at: Timestamp) -> Option<Timestamp> {
        let next = self.cron.find_next_occurrence(&self.local(at)?, false).ok()?;
        Some(Timestamp::from_micros(next.timestamp_micros()))
    }

    /// The last time before `at`, or, where that counts, at it.
    pub fn last(&self, at: Timestamp, inclusive: bool) -> Option<Timestamp> {
        let last = self.cron.find_previous_occurrence(&self.local(at)?, inclusive).ok()?;
        Some(Timestamp::from_micros(last.timestamp_micros()))
    }
}

impl Schedule {
    /// A schedule that starts `run` at these times.
    pub fn new(cron: &str, zone: &str, run: &str, times: Times) -> Schedule {
        Schedule {
            cron: cron.to_owned(),
            zone: zone.to_owned(),
            run: run.to_owned(),
            channel: None,
            start_within: START_WITHIN,
            times,
        }
    }

    /// When it is due, in one text: another text is another schedule, which begins anew.
    pub fn timing(&self) -> String {
        format!("{} {}", self.cron, self.zone)
    }

    /// The last time at which it was due, until now.
    pub fn due(&self, now: Timestamp) -> Option<Timestamp> {
        self.times.last(now, true)
    }

    /// The next time at which it is due.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        self.times.next(now)
    }

    /// How often it was due after `after` and before `due`; counted up to [`MISSED_COUNTED_MAX`].
    pub fn missed(&self, after: Timestamp, due: Timestamp) -> u32 {
        let mut missed = 0;
        let mut before = self.times.last(due, false);
        while let Some(at) = before.filter(|at| *at > after && missed < MISSED_COUNTED_MAX) {
            missed += 1;
            before = self.times.last(at, false);
        }
        missed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schedule(cron: &str, zone: &str) -> Schedule {
        let times = Times::parse(cron, zone.parse().expect("a zone")).expect("a cron line");
        Schedule::new(cron, zone, "socA build-1", times)
    }

    fn at(text: &str) -> Timestamp {
        let at: DateTime<Utc> = text.parse().expect("a time");
        Timestamp::from_micros(at.timestamp_micros())
    }

    /// The times from `from` on, as UTC without the date's year.
    fn times(schedule: &Schedule, from: &str, count: usize) -> Vec<String> {
        let mut now = at(from);
        let next = || {
            now = schedule.next(now).expect("it comes again");
            now.rfc3339()[5..16].to_owned()
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    #[test]
    fn a_night_that_has_no_such_hour_runs_as_the_clocks_land_and_one_that_has_it_twice_runs_once() {
        let nightly = schedule("30 2 * * *", "Europe/Berlin");
        assert_eq!(
            times(&nightly, "2026-03-28T00:00:00Z", 3),
            ["03-28T01:30", "03-29T01:00", "03-30T00:30"],
            "02:30 is no time on the 29th: it runs at 03:00"
        );
        assert_eq!(
            times(&nightly, "2026-10-24T00:00:00Z", 3),
            ["10-24T00:30", "10-25T00:30", "10-26T01:30"],
            "02:30 comes twice on the 25th"
        );
        assert_eq!(times(&nightly, "2026-10-25T00:30:00Z", 1), ["10-26T01:30"]);
    }

    #[test]
    fn what_runs_every_half_hour_runs_through_the_hour_that_comes_twice() {
        let often = schedule("*/30 * * * *", "Europe/Berlin");
        let expect = ["10-25T00:00", "10-25T00:30", "10-25T01:00", "10-25T01:30", "10-25T02:00"];
        assert_eq!(times(&often, "2026-10-24T23:45:00Z", 5), expect);
    }

    #[test]
    fn weekdays_are_those_of_the_zone() {
        let monday = schedule("0 2 * * MON", "Asia/Shanghai");
        assert_eq!(times(&monday, "2026-11-25T00:00:00Z", 2), ["11-29T18:00", "12-06T18:00"]);
    }

    #[test]
    fn times_in_between_are_counted_up_to_a_bound() {
        let hourly = schedule("0 * * * *", "UTC");
        let due = at("2026-11-28T05:00:00Z");
        assert_eq!(hourly.missed(at("2026-11-28T02:10:00Z"), due), 2);
        assert_eq!(hourly.missed(at("2026-11-28T04:00:00Z"), due), 0);
        assert_eq!(hourly.missed(at("2020-01-01T00:00:00Z"), due), MISSED_COUNTED_MAX);
    }

    #[test]
    fn a_line_that_is_none_says_why() {
        let problem = |cron: &str| Times::parse(cron, Tz::UTC).map(drop).expect_err("no cron line");
        assert_eq!(problem("0 2 30 2 *"), CronProblem::Never);
        for bad in ["", "0 2 * *", "* * * * * *", "61 * * * *", "nonsense"] {
            assert!(matches!(problem(bad), CronProblem::Unread(_)), "{bad}");
        }
        for (bad, why) in [
            ("* * * *", "it has 4 fields"),
            ("nightly", "it has 1 field"),
            ("0 25 * * *", "number out of bounds"),
        ] {
            assert_eq!(problem(bad).to_string(), why, "{bad}");
        }
        assert!(Times::parse("0 0 29 2 *", Tz::UTC).is_ok(), "it comes every four years");
    }

    proptest! {
        #[test]
        fn what_is_due_next_is_what_was_due_last_once_it_has_come(
            hour in 0..24_u32, minute in 0..60_u32, every in proptest::bool::ANY, from in 1_767_000_000_i64..1_830_000_000,
            after in 0..60_i64,
        ) {
            let cron = if every { format!("{minute} * * * *") } else { format!("{minute} {hour} * * *") };
            let schedule = schedule(&cron, "Europe/Berlin");
            let from = Timestamp::from_micros(from * 1_000_000);
            let next = schedule.next(from).expect("it comes");
            prop_assert!(next > from);
            let then = Timestamp::from_micros(next.as_micros() + after * 1_000_000);
            prop_assert_eq!(schedule.due(then), Some(next), "{}", then.rfc3339());
            prop_assert!(schedule.due(from).expect("it came") <= from);
        }
    }
}
