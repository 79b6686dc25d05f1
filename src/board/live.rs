//! The inventory that is in force. The lab file may be read again while the server runs: every part holds this handle
//! and asks it anew, so that none can keep an old lab by accident. What must not change under somebody's hands (an
//! attempt, an answer) takes one inventory and stays with it to its end.

use std::collections::VecDeque;
use std::sync::{Arc, RwLock};

use super::{BoardId, Inventory};
use crate::clock::Timestamp;

/// How many inventories that were replaced are remembered: an attempt that was granted a moment before its board left
/// the lab file is still performed as it was promised.
pub const EARLIER_MAX: usize = 8;

/// The inventory in force, and the last ones before it. Cheap to clone; every clone is the same.
#[derive(Debug, Clone)]
pub struct LiveInventory(Arc<RwLock<Known>>);

/// How the inventory in force stands to the file and to the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The file was read again and has mistakes: since when, and which.
    pub refused: Option<(Timestamp, String)>,
    /// The database names another lab file: a process whose file is another one must not give boards to runs.
    pub differs: bool,
}

#[derive(Debug)]
struct Known {
    standing: Standing,
    now: Arc<Inventory>,
    /// Newest first.
    earlier: VecDeque<Arc<Inventory>>,
}

impl LiveInventory {
    /// The first inventory of a process.
    pub fn new(inventory: impl Into<Arc<Inventory>>) -> Self {
        LiveInventory(Arc::new(RwLock::new(Known {
            standing: Standing::default(),
            now: inventory.into(),
            earlier: VecDeque::new(),
        })))
    }

    /// The inventory in force. For one decision: the next one asks again.
    pub fn now(&self) -> Arc<Inventory> {
        self.0.read().expect("nothing panics under this lock").now.clone()
    }

    /// The newest inventory that has this board and of which `holds` is true; the one in force where none is.
    pub fn newest_with(&self, board: &BoardId, holds: impl Fn(&Inventory) -> bool) -> Arc<Inventory> {
        let known = self.0.read().expect("nothing panics under this lock");
        let has = |inventory: &&Arc<Inventory>| inventory.boards.contains_key(board) && holds(inventory);
        std::iter::once(&known.now).chain(&known.earlier).find(has).unwrap_or(&known.now).clone()
    }

    /// Puts another inventory in force.
    pub fn replace(&self, mut inventory: Inventory) {
        let mut known = self.0.write().expect("nothing panics under this lock");
        inventory.people = inventory.people.joined_to(&known.now.people);
        let before = std::mem::replace(&mut known.now, Arc::new(inventory));
        known.earlier.push_front(before);
        known.earlier.truncate(EARLIER_MAX);
        known.standing.refused = None;
    }

    /// How this inventory stands to the file and to the database.
    pub fn standing(&self) -> Standing {
        self.0.read().expect("nothing panics under this lock").standing.clone()
    }

    /// Notes that the file was read again and not taken.
    pub fn refuse(&self, at: Timestamp, mistakes: &str) {
        let mut known = self.0.write().expect("nothing panics under this lock");
        known.standing.refused = Some((at, mistakes.to_owned()));
    }

    /// Notes whether the database names another lab file than this one's.
    pub fn differ(&self, differs: bool) {
        self.0.write().expect("nothing panics under this lock").standing.differs = differs;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::lab_file;

    fn lab(board: &str) -> Inventory {
        let text =
            format!("boards: [{{board_id: {board}, soc_family: s, board_ip: 10.0.0.1, lab_location: L}}]\n");
        lab_file::parse("boards.yaml", &text, &|_| None).inventory.expect("a lab")
    }

    #[test]
    fn a_board_that_left_is_known_for_as_many_replacements_as_are_remembered() {
        let live = LiveInventory::new(lab("a"));
        let same = live.clone();
        let has_a =
            |live: &LiveInventory| live.newest_with(&BoardId::new("a"), |_| true).board("a").is_some();
        for n in 1..=EARLIER_MAX {
            live.replace(lab(&format!("b{n}")));
            assert!(same.now().board("a").is_none() && has_a(&same), "{n}");
        }
        live.replace(lab("c"));
        assert!(!has_a(&live));
        assert!(live.newest_with(&BoardId::new("c"), |_| false).board("c").is_some());
    }
}
