//! Drains as the store knows them: boards and sites that take nothing new. What follows from them and from the lab file's
//! maintenance windows for one board stands here too, so that whoever asks is told the same. Plain data, and pure.

use std::collections::HashMap;

use crate::board::maintenance::Window;
use crate::board::{Board, BoardId, Inventory, Site};
use crate::chat::{Actor, AnswerVia};
use crate::clock::Timestamp;
use crate::message::Note;

/// What somebody said takes nothing new.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drained {
    /// One board.
    Board(BoardId),
    /// Every board of a site, those that come later too.
    Site(Site),
    /// A worker, by its name with [`OF_WORKER`] before it: boards of its site are for the site's other ones.
    Worker(String),
}

/// What stands before a worker's name, where it may be a board's or a site's too.
pub const OF_WORKER: &str = "worker:";

impl Drained {
    /// `board`, `site` or `worker`.
    pub fn kind(&self) -> &'static str {
        match self {
            Drained::Board(_) => "board",
            Drained::Site(_) => "site",
            Drained::Worker(_) => "worker",
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Drained::Board(board) => board.as_str(),
            Drained::Site(site) => site.as_str(),
            Drained::Worker(name) => name,
        }
    }

    /// The worker that is meant.
    pub fn worker(&self) -> Option<&str> {
        match self {
            Drained::Worker(name) => name.strip_prefix(OF_WORKER),
            Drained::Board(_) | Drained::Site(_) => None,
        }
    }

    /// From its words.
    pub fn from_words(kind: &str, name: &str) -> Option<Drained> {
        match kind {
            "board" => Some(Drained::Board(BoardId::new(name))),
            "site" => Some(Drained::Site(Site::new(name))),
            "worker" => Some(Drained::Worker(name.to_owned())),
            _ => None,
        }
    }

    /// Whether this board is meant.
    pub fn is_about(&self, board: &Board) -> bool {
        match self {
            Drained::Board(id) => *id == board.id,
            Drained::Site(site) => *site == board.site,
            // Which board it has is its leases' to say.
            Drained::Worker(_) => false,
        }
    }

    /// The boards that are meant.
    pub fn boards<'a>(&'a self, lab: &'a Inventory) -> impl Iterator<Item = &'a Board> {
        lab.boards.values().filter(|board| self.is_about(board))
    }
}

/// A drain.
#[derive(Debug, Clone, PartialEq)]
pub struct Drain {
    /// Rises with each.
    pub number: i64,
    /// What takes nothing new.
    pub of: Drained,
    /// Why, for people; may be empty.
    pub reason: String,
    /// Who said so.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
    /// Until when; until somebody says so where there is none.
    pub ends_at: Option<Timestamp>,
    /// Whether whoever asked knows that nothing is on it.
    pub told: bool,
}

/// A drain on its way into the store.
#[derive(Debug, Clone)]
pub struct NewDrain {
    /// What takes nothing new.
    pub of: Drained,
    /// Why.
    pub reason: String,
    /// Until when.
    pub ends_at: Option<Timestamp>,
    /// The boards that it is about now.
    pub boards: Vec<BoardId>,
    /// Whoever has one of them as their own, and what they are told.
    pub tell: Vec<(AnswerVia, Note)>,
}

/// Why one board takes nothing new, of all that say so the one that lasts longest.
#[derive(Debug, Clone, PartialEq)]
pub struct Closed {
    /// Why; may be empty.
    pub reason: String,
    /// Until when, where that is known.
    pub until: Option<Timestamp>,
    /// Who said so; a window of the lab file has nobody.
    pub by: Option<Actor>,
    /// `board`, `site` or `window`, and its name.
    pub of: (&'static str, String),
}

/// What takes nothing new at one time: looked up once, and asked for each board.
pub struct Closing<'a> {
    boards: HashMap<&'a str, &'a Drain>,
    sites: HashMap<&'a str, &'a Drain>,
    /// Windows that are open, each with its name and its end.
    windows: Vec<(&'a String, &'a Window, Timestamp)>,
}

impl<'a> Closing<'a> {
    /// What takes nothing new at `now`. A drain is on until its row goes, which is a moment after its end: with it goes what
    /// is known of how its boards were left.
    pub fn at(lab: &'a Inventory, drains: &'a [Drain], now: Timestamp) -> Closing<'a> {
        let (mut boards, mut sites) = (HashMap::new(), HashMap::new());
        for drain in drains {
            match &drain.of {
                Drained::Board(board) => drop(boards.insert(board.as_str(), drain)),
                Drained::Site(site) => drop(sites.insert(site.as_str(), drain)),
                Drained::Worker(_) => {}
            }
        }
        let windows = lab.maintenance.iter();
        let windows = windows.filter_map(|(name, window)| Some((name, window, window.until(now)?))).collect();
        Closing { boards, sites, windows }
    }

    /// Why a board takes nothing new, where it does not.
    pub fn of(&self, board: &Board) -> Option<Closed> {
        let said = self.boards.get(board.id.as_str()).into_iter().chain(self.sites.get(board.site.as_str()));
        let said = said.map(|drain| Closed {
            reason: drain.reason.clone(),
            until: drain.ends_at,
            by: Some(drain.by.clone()),
            of: (drain.of.kind(), drain.of.name().to_owned()),
        });
        let windows = self.windows.iter().filter(|(_, window, _)| window.is_about(board));
        let windows = windows.map(|(name, window, until)| Closed {
            reason: window.reason.clone(),
            until: Some(*until),
            by: None,
            of: ("window", (*name).clone()),
        });
        // Nobody knows when what has no end is over.
        said.chain(windows).max_by_key(|closed| (closed.until.is_none(), closed.until))
    }
}

/// When that changes for some board by time alone, after `now`.
pub fn changes(lab: &Inventory, now: Timestamp) -> Option<Timestamp> {
    lab.maintenance.values().filter_map(|window| window.changes(now)).min()
}

impl Drain {
    /// Whether its time is not over.
    pub fn is_on(&self, now: Timestamp) -> bool {
        self.ends_at.is_none_or(|ends_at| now < ends_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::lab_file;
    use crate::chat::Platform;

    const LAB: &str = "boards: [{board_id: a, soc_family: s, board_ip: 10.0.0.1, lab_location: L},
    {board_id: b, soc_family: s, board_ip: 10.0.0.2, lab_location: M}]
maintenance: {weekly: {boards: [b], cron: 0 0 * * *, lasts: 1h, reason: network}}
";

    fn at(seconds: u64) -> Timestamp {
        // Midnight.
        Timestamp::from_micros(1_796_083_200_000_000) + std::time::Duration::from_secs(seconds)
    }

    fn drain(kind: &str, name: &str, reason: &str, ends_at: Option<Timestamp>) -> Drain {
        let by =
            Actor { platform: Platform::Slack, id: "U0LI".into(), team: String::new(), name: "li".into() };
        let of = Drained::from_words(kind, name).expect("a kind");
        Drain { number: 1, of, reason: reason.into(), by, at: at(0), ends_at, told: false }
    }

    #[test]
    fn of_all_that_close_a_board_the_one_counts_that_lasts_longest() {
        let lab = lab_file::parse("boards.yaml", LAB, &|_| None);
        let lab = lab.inventory.unwrap_or_else(|| panic!("{:?}", lab.problems));
        let check =
            |drains: &[Drain], board: &str, now: Timestamp, expect: Option<(&str, Option<Timestamp>)>| {
                let found = Closing::at(&lab, drains, now).of(lab.board(board).expect("a board"));
                let found = found.as_ref().map(|closed| (closed.reason.as_str(), closed.until));
                assert_eq!(found, expect, "{board}");
            };
        check(&[], "a", at(0), None);
        check(&[], "b", at(0), Some(("network", Some(at(3600)))));
        check(&[], "b", at(3600), None);
        let drains = [drain("site", "M", "rack", Some(at(60))), drain("board", "a", "fan", None)];
        check(&drains, "a", at(0), Some(("fan", None)));
        check(&drains, "b", at(0), Some(("network", Some(at(3600)))));
        let drains = [drain("site", "M", "rack", Some(at(7200))), drain("board", "b", "fan", Some(at(60)))];
        check(&drains, "b", at(0), Some(("rack", Some(at(7200)))));
        check(&drains, "b", at(7201), Some(("rack", Some(at(7200)))));
        assert_eq!(changes(&lab, at(0)), Some(at(3600)));
        assert_eq!(changes(&lab, at(3600)), Some(at(24 * 3600)));
    }
}
