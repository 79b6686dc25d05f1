//! When boards that people have were used last through this process: typed at, switched, run on, asked for longer. It lives
//! and dies with the process: after a restart every board counts as used just then, which keeps it for its holder a little
//! longer and never takes it away early.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::board::BoardId;
use crate::clock::Timestamp;
use crate::id::LeaseId;
use crate::lease::{Hold, Lease};

/// When boards were used. Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub struct Used(Arc<Mutex<HashMap<BoardId, Timestamp>>>);

impl Used {
    /// A board is used now.
    pub fn note(&self, board: &BoardId, now: Timestamp) {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert(board.clone(), now);
    }

    fn last(&self, board: &BoardId) -> Option<Timestamp> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(board).copied()
    }
}

/// What was seen of the boards that people have, from one look to the next.
#[derive(Default)]
pub struct Watch {
    seen: HashMap<LeaseId, Seen>,
}

struct Seen {
    used_at: Timestamp,
    until: Timestamp,
}

impl Watch {
    /// When a board that somebody has was used last, as far as is known at `now`.
    pub fn used_at(&mut self, used: &Used, lease: &Lease, hold: &Hold, now: Timestamp) -> Timestamp {
        let until = hold.idle_until.unwrap_or(lease.expires_at);
        let seen = self.seen.entry(lease.id).or_insert(Seen { used_at: now, until });
        // Whoever asks for longer, or has a run on it, needs it.
        if until != seen.until || hold.run.is_some() {
            *seen = Seen { used_at: now, until };
        }
        seen.used_at = seen.used_at.max(used.last(&lease.board).unwrap_or_default());
        seen.used_at
    }

    /// Forgets leases that are not held any more.
    pub fn keep(&mut self, leases: &[Lease]) {
        self.seen.retain(|id, _| leases.iter().any(|lease| lease.id == *id && lease.hold.is_some()));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::chat::{Actor, Platform};
    use crate::id::{Ids, InstanceId};
    use crate::lease::{Fence, Holder, LeaseState};

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000) + Duration::from_secs(seconds)
    }

    #[test]
    fn a_board_is_used_by_whatever_its_holder_does_and_by_a_restart() {
        let ids = Ids::seeded(7);
        let by =
            Actor { platform: Platform::Slack, id: "U1".into(), team: String::new(), name: String::new() };
        let lease = |until: u64, hold: Hold| Lease {
            id: LeaseId::new(&Ids::seeded(8), at(0)),
            board: BoardId::new("soc-a-001"),
            fence: Fence(1),
            holder: Holder::Person(by.clone()),
            instance: InstanceId::new(&ids, at(0)),
            granted_at: at(0),
            expires_at: at(until),
            state: LeaseState::Held,
            needs_fence: false,
            hold: Some(hold),
        };
        let (used, mut watch) = (Used::default(), Watch::default());
        let mut look = |until: u64, hold: Hold, now: u64| {
            watch.used_at(&used, &lease(until, hold.clone()), &hold, at(now))
        };
        let idle = || Hold { idle_until: Some(at(900)), ..Hold::default() };
        assert_eq!(look(600, Hold::default(), 100), at(100), "a restart");
        assert_eq!(look(600, Hold::default(), 150), at(100));
        assert_eq!(look(900, Hold::default(), 200), at(200), "it was extended");
        assert_eq!(look(300, idle(), 250), at(200), "its end was brought forward, and put back");
        assert_eq!(look(900, Hold::default(), 260), at(200));
        assert_eq!(look(900, Hold { run: Some((1, 1)), ..Hold::default() }, 300), at(300), "a run is on it");
        used.note(&BoardId::new("soc-a-001"), at(310));
        used.note(&BoardId::new("soc-a-002"), at(330));
        assert_eq!(look(900, Hold::default(), 340), at(310), "somebody typed");
        watch.keep(&[]);
        assert!(watch.seen.is_empty());
    }
}
