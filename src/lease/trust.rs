//! Trust: how long a process may drive the boards that it has. With the data in a file that is for as long as it lives, since
//! nobody else gets the file before. With a database elsewhere, another server may have been started there while this one
//! is cut off: then it is for a while after the begin of its last write. Nothing is decided here about any one board.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::{Clock, Monotonic};

/// How long this process may drive the boards that it has. Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub struct Trust(Option<Arc<Window>>);

struct Window {
    clock: Clock,
    lasts: Duration,
    /// When the last write was begun that came through.
    from: watch::Sender<Monotonic>,
    /// Whether somebody said that it holds no more.
    ended: watch::Sender<bool>,
}

impl Trust {
    /// For as long as the process lives.
    pub fn always() -> Self {
        Trust(None)
    }

    /// For so long after the begin of each write; the first one begins now.
    pub fn lasting(clock: Clock, lasts: Duration) -> Self {
        let from = clock.monotonic();
        Trust::lasting_from(clock, lasts, from)
    }

    /// The same, the first one begun then.
    pub fn lasting_from(clock: Clock, lasts: Duration, from: Monotonic) -> Self {
        let (from, ended) = (watch::Sender::new(from), watch::Sender::new(false));
        Trust(Some(Arc::new(Window { clock, lasts, from, ended })))
    }

    /// It holds no more, whatever comes through from now on.
    pub fn end(&self) {
        if let Some(window) = &self.0 {
            window.ended.send_replace(true);
        }
    }

    /// A write that begins now: to be shown when it has come through, and not before.
    pub fn begin(&self) -> Option<Monotonic> {
        self.0.as_ref().map(|window| window.clock.monotonic())
    }

    /// The write that began then has come through: when it did, nobody else was at the database.
    pub fn renew(&self, began: Option<Monotonic>) {
        let (Some(window), Some(began)) = (&self.0, began) else { return };
        window.from.send_if_modified(|from| {
            let is_newer = began > *from;
            *from = (*from).max(began);
            is_newer
        });
    }

    /// Whether boards may be driven now.
    pub fn holds(&self) -> bool {
        let holds =
            |window: &Arc<Window>| !*window.ended.borrow() && window.clock.monotonic() < window.until();
        self.0.as_ref().is_none_or(holds)
    }

    /// Resolves once it holds no more.
    pub async fn over(&self) {
        let Some(window) = &self.0 else { return std::future::pending().await };
        let mut ended = window.ended.subscribe();
        while self.holds() {
            tokio::select! {
                () = window.clock.sleep_until(window.until()) => {}
                // The sender lives in the window.
                _ = ended.wait_for(|ended| *ended) => {}
            }
        }
    }
}

impl Window {
    fn until(&self) -> Monotonic {
        *self.from.borrow() + self.lasts
    }
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Trust").field(&self.0.as_ref().map(|window| window.until())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::BoardId;
    use crate::clock::Timestamp;
    use crate::id::{Ids, LeaseId};
    use crate::lease::{Fence, Grip, InHand};
    use crate::run::LeaseRef;

    fn lease() -> LeaseRef {
        let id = LeaseId::new(&Ids::seeded(1), Timestamp::default());
        LeaseRef { id, board: BoardId::new("soc-a-001"), fence: Fence(1) }
    }

    #[tokio::test]
    async fn a_board_is_driven_for_a_while_after_the_begin_of_the_last_write() {
        let second = Duration::from_secs(1);
        let (clock, hands) = Clock::manual(Timestamp::default());
        let trust = Trust::lasting(clock, second * 15);
        let grip = Grip::new(lease(), trust.clone());
        hands.advance(second * 10);
        let began = trust.begin();
        hands.advance(second * 4);
        assert!(grip.trusted());
        trust.renew(began);
        // One that took long counts from its begin, and an older one takes nothing back.
        trust.renew(Some(Monotonic::default()));
        hands.advance(second * 10);
        assert!(grip.trusted());
        hands.advance(second);
        assert!(!grip.trusted());
        grip.lost().await;
        // What comes through afterwards says that nobody else was there meanwhile.
        trust.renew(trust.begin());
        assert!(grip.trusted());
        grip.lose();
        assert!(!grip.trusted());
    }

    #[tokio::test]
    async fn what_was_ended_is_not_trusted_again() {
        let (clock, hands) = Clock::manual(Timestamp::default());
        let trust = Trust::lasting_from(clock, Duration::from_secs(48), Monotonic::default());
        assert!(trust.holds());
        let over = trust.over();
        trust.end();
        over.await;
        hands.advance(Duration::from_secs(1));
        trust.renew(trust.begin());
        assert!(!trust.holds());
    }

    #[tokio::test]
    async fn a_board_of_a_process_that_has_its_file_is_driven_until_its_lease_is_lost() {
        let grip = Grip::new(lease(), Trust::always());
        grip.lose();
        grip.lost().await;
        assert!(!grip.trusted());
    }
}
