//! Boards that something in this process is busy with, whatever became of the lease that it began under: a runner that
//! lets go of its console, a power switch that is on its way. Who is next waits until they are left, and one alone is at a
//! console. It lives and dies with
//! the process, as what it speaks of does; leases say whose a board is, never this.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::board::BoardId;

/// Which boards are busy. Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub struct Occupied(Arc<Mutex<HashMap<BoardId, Busy>>>);

/// How many are on a board.
#[derive(Default)]
struct Busy {
    at_console: u32,
    at_switch: u32,
}

impl Busy {
    fn at(&mut self, part: Part) -> &mut u32 {
        match part {
            Part::Console => &mut self.at_console,
            Part::Switch => &mut self.at_switch,
        }
    }
}

/// What of a board somebody is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Its console, and whatever else they need.
    Console,
    /// Its power alone.
    Switch,
}

/// Somebody is on these boards until this is dropped.
pub struct On {
    occupied: Occupied,
    boards: Vec<BoardId>,
    part: Part,
}

impl Occupied {
    /// Enters boards.
    pub fn enter(&self, boards: impl IntoIterator<Item = BoardId>, part: Part) -> On {
        let boards: Vec<BoardId> = boards.into_iter().collect();
        let mut busy = self.busy();
        for board in &boards {
            *busy.entry(board.clone()).or_default().at(part) += 1;
        }
        drop(busy);
        On { occupied: self.clone(), boards, part }
    }

    /// Enters a board for its console, unless somebody is at it.
    pub fn enter_console(&self, board: &BoardId) -> Option<On> {
        let mut busy = self.busy();
        let of_board = busy.entry(board.clone()).or_default();
        if of_board.at_console > 0 {
            return None;
        }
        of_board.at_console = 1;
        drop(busy);
        Some(On { occupied: self.clone(), boards: vec![board.clone()], part: Part::Console })
    }

    /// Whether anybody is on a board.
    pub fn is(&self, board: &BoardId) -> bool {
        self.busy().contains_key(board)
    }

    fn busy(&self) -> MutexGuard<'_, HashMap<BoardId, Busy>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for On {
    fn drop(&mut self) {
        let mut busy = self.occupied.busy();
        for board in &self.boards {
            if let Some(of_board) = busy.get_mut(board) {
                *of_board.at(self.part) -= 1;
                if (of_board.at_console, of_board.at_switch) == (0, 0) {
                    busy.remove(board);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_is_busy_until_the_last_one_has_left() {
        let (occupied, board) = (Occupied::default(), BoardId::new("soc-a-001"));
        let first = occupied.enter([board.clone(), BoardId::new("soc-a-002")], Part::Console);
        let second = occupied.enter([board.clone()], Part::Switch);
        drop(first);
        assert!(occupied.is(&board) && !occupied.is(&BoardId::new("soc-a-002")));
        drop(second);
        assert!(!occupied.is(&board));
    }

    #[test]
    fn one_alone_is_at_a_console_and_power_is_no_console() {
        let (occupied, board) = (Occupied::default(), BoardId::new("soc-a-001"));
        let switching = occupied.enter([board.clone()], Part::Switch);
        let sits = occupied.enter_console(&board).expect("nobody is at its console");
        assert!(occupied.enter_console(&board).is_none());
        drop((sits, switching));
        let drives = occupied.enter([board.clone()], Part::Console);
        assert!(occupied.enter_console(&board).is_none());
        drop(drives);
        assert!(occupied.enter_console(&board).is_some() && !occupied.is(&board));
    }
}
