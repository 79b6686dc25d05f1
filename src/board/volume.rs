//! How much a channel is told of runs, and the hours in which it hears nothing by itself. Pure.

use chrono::{DateTime, Days, NaiveDateTime, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;

use crate::clock::Timestamp;
use crate::outcome::Verdict;

/// How much a channel is told of a run; each tells what the ones before it tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// That it went wrong.
    Failures,
    /// How it ended.
    Final,
    /// What happened to it on the way, too.
    Milestones,
    /// How far it is, too.
    #[default]
    Verbose,
}

impl Verbosity {
    /// Every one, with its word in boards.yaml.
    pub const WORDS: [(&'static str, Verbosity); 4] = [
        ("verbose", Verbosity::Verbose),
        ("milestones", Verbosity::Milestones),
        ("final", Verbosity::Final),
        ("failures", Verbosity::Failures),
    ];

    /// How much a channel must be told for it to hear of an end.
    pub fn of_end(verdict: Verdict) -> Verbosity {
        match verdict {
            Verdict::Failed | Verdict::Infra | Verdict::TimedOut => Verbosity::Failures,
            Verdict::Passed | Verdict::Cancelled => Verbosity::Final,
        }
    }
}

/// Hours in which a channel hears nothing by itself, every day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietHours {
    from: NaiveTime,
    until: NaiveTime,
    zone: Tz,
}

impl QuietHours {
    /// From one time of day until another one, of the same day or of the next; `None` where both are the same.
    pub fn new(from: NaiveTime, until: NaiveTime, zone: Tz) -> Option<QuietHours> {
        (from != until).then_some(QuietHours { from, until, zone })
    }

    /// When they end, where it is such an hour now.
    pub fn end(&self, now: Timestamp) -> Option<Timestamp> {
        let local = DateTime::<Utc>::from_timestamp_micros(now.as_micros())?.with_timezone(&self.zone);
        let (day, time) = (local.date_naive(), local.time());
        let over_night = self.from > self.until;
        let begun = time >= self.from;
        let quiet = if over_night { begun || time < self.until } else { begun && time < self.until };
        let ends_on = if over_night && begun { day.checked_add_days(Days::new(1))? } else { day };
        let end = instant(self.zone, ends_on.and_time(self.until))?;
        (quiet && end > now).then_some(end)
    }
}

/// A time of day, every day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Daily {
    at: NaiveTime,
    zone: Tz,
}

impl Daily {
    /// Every day at that time of a zone.
    pub fn new(at: NaiveTime, zone: Tz) -> Daily {
        Daily { at, zone }
    }

    /// As people write it: `08:30 Europe/Berlin`.
    pub fn shown(&self) -> String {
        format!("{} {}", self.at.format("%H:%M"), self.zone.name())
    }

    /// The last time that it was that time of day, until now.
    pub fn last(&self, now: Timestamp) -> Option<Timestamp> {
        let local = DateTime::<Utc>::from_timestamp_micros(now.as_micros())?.with_timezone(&self.zone);
        let day = local.date_naive();
        let on = |day: chrono::NaiveDate| {
            let at = instant(self.zone, day.and_time(self.at))?;
            (at <= now).then_some(at)
        };
        on(day).or_else(|| on(day.checked_sub_days(Days::new(1))?))
    }
}

/// A time of a zone; where clocks go forward over it, an hour later, and where they go back over it, the second of the two.
fn instant(zone: Tz, at: NaiveDateTime) -> Option<Timestamp> {
    let later = || zone.from_local_datetime(&(at + chrono::TimeDelta::hours(1))).latest();
    let at = zone.from_local_datetime(&at).latest().or_else(later)?;
    Some(Timestamp::from_micros(at.timestamp_micros()))
}

/// Reads a time of day, `22:00`.
pub fn time_of_day(text: &str) -> Option<NaiveTime> {
    let (hour, minute) = text.split_once(':')?;
    let digits = |part: &str, most: usize| {
        (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !(digits(hour, 2) && digits(minute, 2) && minute.len() == 2) {
        return None;
    }
    NaiveTime::from_hms_opt(hour.parse().ok()?, minute.parse().ok()?, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        let at: DateTime<Utc> = text.parse().expect("a time");
        Timestamp::from_micros(at.timestamp_micros())
    }

    #[track_caller]
    fn check((from, until, zone): (&str, &str, &str), now: &str, expect: Option<&str>) {
        let time = |text| time_of_day(text).expect("a time of day");
        let hours = QuietHours::new(time(from), time(until), zone.parse().expect("a zone")).expect("hours");
        let end = hours.end(at(now)).map(|end| end.rfc3339()[..16].to_owned());
        assert_eq!(end.as_deref(), expect, "{now}");
    }

    #[test]
    fn hours_of_a_night_end_in_the_morning_of_their_zone() {
        let night = ("22:00", "7:00", "Europe/Berlin");
        check(night, "2026-11-28T20:59:00Z", None);
        check(night, "2026-11-28T21:00:00Z", Some("2026-11-29T06:00"));
        check(night, "2026-11-29T05:59:59Z", Some("2026-11-29T06:00"));
        check(night, "2026-11-29T06:00:00Z", None);
        let noon = ("12:00", "13:30", "Asia/Shanghai");
        check(noon, "2026-11-28T04:00:00Z", Some("2026-11-28T05:30"));
        check(noon, "2026-11-28T05:30:00Z", None);
        check(noon, "2026-11-28T03:59:00Z", None);
    }

    #[test]
    fn a_morning_that_has_no_such_time_ends_them_an_hour_later() {
        // 02:30 is no time on the 29th of March; and on the 25th of October it comes twice.
        let night = ("22:00", "2:30", "Europe/Berlin");
        check(night, "2026-03-29T00:30:00Z", Some("2026-03-29T01:30"));
        check(night, "2026-10-25T00:15:00Z", Some("2026-10-25T01:30"));
    }

    #[test]
    fn what_is_due_every_day_was_due_last_today_or_yesterday() {
        let zone: Tz = "Europe/Berlin".parse().expect("a zone");
        let daily = Daily::new(time_of_day("8:30").expect("a time of day"), zone);
        let last = |now: &str| daily.last(at(now)).map(|at| at.rfc3339()[..16].to_owned());
        assert_eq!(last("2026-11-28T07:29:59Z").as_deref(), Some("2026-11-27T07:30"));
        assert_eq!(last("2026-11-28T07:30:00Z").as_deref(), Some("2026-11-28T07:30"));
        assert_eq!(last("2026-11-28T23:30:00Z").as_deref(), Some("2026-11-28T07:30"), "it is the 29th there");
        assert_eq!(daily.shown(), "08:30 Europe/Berlin");
    }

    #[test]
    fn a_time_of_day_is_read_strictly_and_a_whole_day_is_no_hours() {
        for bad in ["", "22", "24:00", "22:60", "22:0", "+2:00", "2:00:00", "aa:bb"] {
            assert_eq!(time_of_day(bad), None, "{bad}");
        }
        let noon = time_of_day("12:00").expect("noon");
        assert_eq!(QuietHours::new(noon, noon, Tz::UTC), None);
    }

    #[test]
    fn each_verbosity_tells_what_the_one_below_it_tells() {
        assert!(Verbosity::Failures < Verbosity::Final && Verbosity::Final < Verbosity::Milestones);
        assert_eq!(Verbosity::default(), Verbosity::Verbose);
        assert_eq!(Verbosity::of_end(Verdict::Passed), Verbosity::Final);
        assert_eq!(Verbosity::of_end(Verdict::Infra), Verbosity::Failures);
    }
}
