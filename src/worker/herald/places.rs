//! Places for lanes that are called at the same time. However many receivers keep their callers waiting, others have places.
//! Pure; nothing is called here.

use std::collections::HashSet;

/// Most lanes at once.
const LANES_MAX: usize = 64;
/// Most of them at once that kept their callers waiting the last time.
const SLOW_MAX: usize = 32;
/// Most lanes that are known to be slow; with one more all have a new chance.
const SLOW_KNOWN_MAX: usize = 1_000;

/// Who is called now, and who is known to be slow.
#[derive(Default)]
pub(super) struct Places {
    busy: HashSet<String>,
    slow: HashSet<String>,
}

impl Places {
    /// Takes a place for a lane; gives whether there was one.
    pub(super) fn take(&mut self, lane: &str) -> bool {
        let is_slow = self.slow.contains(lane);
        let has_room = self.busy.len() < LANES_MAX && !(is_slow && self.slow_ones() >= SLOW_MAX);
        has_room && self.busy.insert(lane.to_owned())
    }

    /// The lanes for which there is none now.
    pub(super) fn none_for(&self) -> Vec<String> {
        let is_full = self.slow_ones() >= SLOW_MAX;
        let slow = self.slow.iter().filter(|lane| is_full && !self.busy.contains(*lane));
        self.busy.iter().chain(slow).cloned().collect()
    }

    /// Gives one back.
    pub(super) fn give_back(&mut self, lane: String, was_slow: bool) {
        self.busy.remove(&lane);
        if !was_slow {
            self.slow.remove(&lane);
            return;
        }
        if self.slow.len() >= SLOW_KNOWN_MAX {
            self.slow.clear();
        }
        self.slow.insert(lane);
    }

    fn slow_ones(&self) -> usize {
        self.busy.iter().filter(|lane| self.slow.contains(*lane)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(n: usize) -> String {
        format!("host {n}")
    }

    #[test]
    fn those_who_keep_others_waiting_leave_places_for_the_rest() {
        let mut places = Places::default();
        let taken = |places: &mut Places| (0..500).filter(|n| places.take(&lane(*n))).count();
        assert_eq!(taken(&mut places), LANES_MAX);
        assert_eq!(taken(&mut places), 0, "each is called once at a time");
        (0..LANES_MAX).for_each(|n| places.give_back(lane(n), true));
        assert_eq!((0..LANES_MAX).filter(|n| places.take(&lane(*n))).count(), SLOW_MAX);
        assert_eq!(places.none_for().len(), LANES_MAX, "those that are called, and the other slow ones");
        assert!(places.take("host that answers"));
        places.give_back(lane(0), false);
        assert!(places.take(&lane(0)), "it answers again");
    }

    #[test]
    fn only_so_many_are_known_to_be_slow() {
        let mut places = Places::default();
        (0..=SLOW_KNOWN_MAX).for_each(|n| places.give_back(lane(n), true));
        assert_eq!(places.slow.len(), 1);
    }
}
