//! Boards that something in this process is busy with, whatever became of the lease that it began under: a runner that
//! lets go of its console, a power switch that is on its way. Who is next waits until they are left. It lives and dies with
//! the process, as what it speaks of does; leases say whose a board is, never this.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::board::BoardId;

/// Which boards are busy. Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub struct Occupied(Arc<Mutex<HashMap<BoardId, u32>>>);

/// Somebody is on these boards until this is dropped.
pub struct On {
    occupied: Occupied,
    boards: Vec<BoardId>,
}

impl Occupied {
    /// Enters boards.
    pub fn enter(&self, boards: impl IntoIterator<Item = BoardId>) -> On {
        let boards: Vec<BoardId> = boards.into_iter().collect();
        let mut busy = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for board in &boards {
            *busy.entry(board.clone()).or_default() += 1;
        }
        On { occupied: self.clone(), boards }
    }

    /// Whether anybody is on a board.
    pub fn is(&self, board: &BoardId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(board)
    }
}

impl Drop for On {
    fn drop(&mut self) {
        let mut busy = self.occupied.0.lock().unwrap_or_else(PoisonError::into_inner);
        for board in &self.boards {
            if let Some(count) = busy.get_mut(board) {
                *count -= 1;
                if *count == 0 {
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
        let first = occupied.enter([board.clone(), BoardId::new("soc-a-002")]);
        let second = occupied.enter([board.clone()]);
        drop(first);
        assert!(occupied.is(&board) && !occupied.is(&BoardId::new("soc-a-002")));
        drop(second);
        assert!(!occupied.is(&board));
    }
}
