//! Maintenance: windows of boards.yaml in which boards take nothing new, at their times and in the time zone that each
//! names. Pure: which boards, and from when to when. What somebody says with `/lab drain` is the store's.

use std::collections::BTreeSet;
use std::time::Duration;

use super::schedule::Times;
use super::{Board, BoardId, Site};
use crate::clock::Timestamp;

/// A window of the lab file, every time that it opens.
#[derive(Debug, Clone)]
pub struct Window {
    /// Its boards.
    pub boards: BTreeSet<BoardId>,
    /// All boards of these sites too.
    pub sites: BTreeSet<Site>,
    /// What for; people read it.
    pub reason: String,
    /// How long it is open.
    pub lasts: Duration,
    /// For how long before it opens nothing new begins.
    pub ahead: Duration,
    /// When it opens.
    pub times: Times,
}

impl Window {
    /// Whether it is about this board.
    pub fn is_about(&self, board: &Board) -> bool {
        self.boards.contains(&board.id) || self.sites.contains(&board.site)
    }

    /// Until when its boards take nothing new, where they take nothing new at `now`.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let opened = self.times.last(now + self.ahead, true)?;
        // Where it opens again before it is over, it is the later one that counts.
        let until = opened + self.lasts;
        (now < until).then_some(until)
    }

    /// When that changes next, after `now`, by time alone.
    pub fn changes(&self, now: Timestamp) -> Option<Timestamp> {
        let begins = self.times.next(now + self.ahead).map(|opens| opens - self.ahead);
        self.until(now).into_iter().chain(begins).min()
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;

    fn at(text: &str) -> Timestamp {
        let at: DateTime<Utc> = text.parse().expect("a time");
        Timestamp::from_micros(at.timestamp_micros())
    }

    fn window(cron: &str, lasts: u64, ahead: u64) -> Window {
        Window {
            boards: BTreeSet::new(),
            sites: BTreeSet::new(),
            reason: "the network".into(),
            lasts: Duration::from_secs(lasts * 60),
            ahead: Duration::from_secs(ahead * 60),
            times: Times::parse(cron, "Europe/Berlin".parse().expect("a zone")).expect("a cron line"),
        }
    }

    #[test]
    fn a_window_keeps_new_work_away_from_a_while_before_it_opens_until_it_closes() {
        let window = window("0 22 * * SUN", 120, 30);
        let check = |now: &str, until: Option<&str>, changes: &str| {
            assert_eq!(window.until(at(now)), until.map(at), "{now}");
            assert_eq!(window.changes(at(now)), Some(at(changes)), "{now}");
        };
        // 29 November 2026 is a Sunday; in Berlin it is an hour later.
        check("2026-11-29T20:29:59Z", None, "2026-11-29T20:30:00Z");
        check("2026-11-29T20:30:00Z", Some("2026-11-29T23:00:00Z"), "2026-11-29T23:00:00Z");
        check("2026-11-29T22:59:59Z", Some("2026-11-29T23:00:00Z"), "2026-11-29T23:00:00Z");
        check("2026-11-29T23:00:00Z", None, "2026-12-06T20:30:00Z");
    }

    #[test]
    fn a_window_that_opens_again_before_it_is_over_goes_on() {
        let window = window("0 * * * *", 90, 0);
        assert_eq!(window.until(at("2026-11-29T10:10:00Z")), Some(at("2026-11-29T11:30:00Z")));
        assert_eq!(window.changes(at("2026-11-29T10:10:00Z")), Some(at("2026-11-29T11:00:00Z")));
        assert_eq!(window.until(at("2026-11-29T11:10:00Z")), Some(at("2026-11-29T12:30:00Z")));
    }

    #[test]
    fn a_window_of_a_site_is_about_each_of_its_boards() {
        let lab = "boards: [{board_id: a, soc_family: s, board_ip: 10.0.0.1, lab_location: L},
                            {board_id: b, soc_family: s, board_ip: 10.0.0.2, lab_location: M}]\n";
        let lab = super::super::lab_file::parse("boards.yaml", lab, &|_| None).inventory.expect("a lab");
        let about = |window: &Window| {
            let chosen = lab.boards.values().filter(|board| window.is_about(board));
            chosen.map(|board| board.id.to_string()).collect::<Vec<_>>()
        };
        let mut window = window("0 22 * * *", 60, 0);
        window.sites.insert(Site::new("M"));
        assert_eq!(about(&window), ["b"]);
        window.boards.insert(BoardId::new("a"));
        assert_eq!(about(&window), ["a", "b"]);
    }
}
