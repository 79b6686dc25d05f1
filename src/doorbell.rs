//! The doorbell: wakes loops early. A ring carries no data; whoever wakes looks into the store, so a ring that is
//! lost costs latency and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Who can be woken. One loop waits on each bell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bell {
    /// Something changed that may let a run be granted.
    Scheduler,
    /// A lease was granted, or something was asked of a run.
    Pool,
    /// The same, or something about a worker, that workers are to hear of.
    Foreman,
    /// A power request is owed.
    Errands,
    /// Somebody's hold of a board began or ended.
    Keeper,
    /// A campaign began, or something was asked of one.
    Conductor,
    /// A call may be due.
    Herald,
    /// The lab file is to be read again.
    Reloader,
    /// A message is owed.
    Relay,
}

/// The bells of one process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Doorbell(Arc<Bells>);

#[derive(Default)]
struct Bells {
    scheduler: Rings,
    pool: Rings,
    foreman: Rings,
    errands: Rings,
    keeper: Rings,
    conductor: Rings,
    herald: Rings,
    reloader: Rings,
    relay: Rings,
}

#[derive(Default)]
struct Rings {
    notify: Notify,
    /// Since they were counted last.
    count: AtomicUsize,
}

impl Doorbell {
    /// Wakes the loop behind `bell`; if it is at work, it looks once more before it sleeps.
    pub fn ring(&self, bell: Bell) {
        if bell == Bell::Pool {
            // Whose pool it is, this process' or a worker's, is for the loops to say.
            self.ring(Bell::Foreman);
        }
        let rings = self.bell(bell);
        rings.count.fetch_add(1, Ordering::Relaxed);
        rings.notify.notify_one();
    }

    /// How often it was rung since this was asked last.
    pub fn rings(&self, bell: Bell) -> usize {
        self.bell(bell).count.swap(0, Ordering::Relaxed)
    }

    /// Waits for a ring since the last wait. One loop per bell.
    pub async fn wait(&self, bell: Bell) {
        self.bell(bell).notify.notified().await;
    }

    fn bell(&self, bell: Bell) -> &Rings {
        match bell {
            Bell::Scheduler => &self.0.scheduler,
            Bell::Pool => &self.0.pool,
            Bell::Foreman => &self.0.foreman,
            Bell::Errands => &self.0.errands,
            Bell::Keeper => &self.0.keeper,
            Bell::Conductor => &self.0.conductor,
            Bell::Herald => &self.0.herald,
            Bell::Reloader => &self.0.reloader,
            Bell::Relay => &self.0.relay,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ring_while_nobody_waits_is_kept() {
        let doorbell = Doorbell::default();
        doorbell.ring(Bell::Relay);
        doorbell.ring(Bell::Relay);
        doorbell.wait(Bell::Relay).await;
    }

    #[test]
    fn rings_are_counted_per_bell_since_they_were_counted_last() {
        let doorbell = Doorbell::default();
        (0..3).for_each(|_| doorbell.ring(Bell::Scheduler));
        doorbell.ring(Bell::Relay);
        assert_eq!((doorbell.rings(Bell::Scheduler), doorbell.rings(Bell::Scheduler)), (3, 0));
        assert_eq!(doorbell.rings(Bell::Relay), 1);
    }
}
