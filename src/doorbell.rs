//! The doorbell: wakes loops early. A ring carries no data; whoever wakes looks into the store, so a ring that is
//! lost costs latency and nothing else.

use std::sync::Arc;

use tokio::sync::Notify;

/// Who can be woken. One loop waits on each bell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bell {
    /// Something changed that may let a run be granted.
    Scheduler,
    /// A lease was granted, or something was asked of a run.
    Pool,
    /// A power request is owed.
    Errands,
    /// A message is owed.
    Relay,
}

/// The bells of one process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Doorbell(Arc<Bells>);

#[derive(Default)]
struct Bells {
    scheduler: Notify,
    pool: Notify,
    errands: Notify,
    relay: Notify,
}

impl Doorbell {
    /// Wakes the loop behind `bell`; if it is at work, it looks once more before it sleeps.
    pub fn ring(&self, bell: Bell) {
        self.bell(bell).notify_one();
    }

    /// Waits for a ring since the last wait. One loop per bell.
    pub async fn wait(&self, bell: Bell) {
        self.bell(bell).notified().await;
    }

    fn bell(&self, bell: Bell) -> &Notify {
        match bell {
            Bell::Scheduler => &self.0.scheduler,
            Bell::Pool => &self.0.pool,
            Bell::Errands => &self.0.errands,
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
}
