//! The reaper: the loop that renews this process' leases and takes away those whose time is over. A lapsed lease is
//! really freed: its run waits for its next attempt, and the board's next holder fences it physically first.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::{Clock, Monotonic};
use crate::doorbell::{Bell, Doorbell};
use crate::id::InstanceId;
use crate::store::{Store, StoreError};
use crate::worker::steps::{Agent, Step};

/// How long a lease of this process lasts without a renewal.
pub const LEASE_TTL: Duration = Duration::from_secs(10);
/// How often leases are renewed.
pub const RENEW_EVERY: Duration = Duration::from_secs(3);
/// How long after its end a lease is taken away: the holder stops well before (`LEASE_TTL` less a margin).
pub const FREE_AFTER: Duration = Duration::from_secs(2);
/// How often expired leases are looked for.
pub const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How long a delivery's key is kept, so that a repeat is recognised.
pub const DELIVERIES_KEPT: Duration = Duration::from_secs(48 * 3600);
/// How often old deliveries are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(600);

/// Renews and expires leases.
pub struct Reaper {
    store: Arc<dyn Store>,
    clock: Clock,
    doorbell: Doorbell,
    instance: InstanceId,
    renew_at: Monotonic,
    forget_at: Monotonic,
    /// When a sweep last succeeded. After a gap longer than a lease's life, nobody could have renewed: one more
    /// lease's life of grace.
    swept_at: Monotonic,
    grace_until: Monotonic,
}

impl Reaper {
    /// A reaper for the process `instance`. Leases that this process renews itself it never takes away: it holds the
    /// database's exclusive lock, so a slow disk delays its runs and does not end them.
    pub fn new(store: Arc<dyn Store>, clock: Clock, doorbell: Doorbell, instance: InstanceId) -> Self {
        let now = clock.monotonic();
        Reaper {
            store,
            clock,
            doorbell,
            instance,
            renew_at: now,
            forget_at: now,
            swept_at: now,
            grace_until: now,
        }
    }
}

#[async_trait]
impl Agent for Reaper {
    fn name(&self) -> &'static str {
        "reaper"
    }

    fn bell(&self) -> Option<Bell> {
        None
    }

    async fn step(&mut self) -> Result<Step, StoreError> {
        let tick = self.clock.monotonic();
        let now = self.clock.now();
        if tick >= self.renew_at {
            self.store.lease_renew(self.instance, now + LEASE_TTL).await?;
            self.renew_at = tick + RENEW_EVERY;
        }
        if tick >= self.forget_at {
            self.store.delivery_forget(now - DELIVERIES_KEPT).await?;
            self.forget_at = tick + FORGET_EVERY;
        }
        if tick.since(self.swept_at) > LEASE_TTL {
            self.grace_until = tick + LEASE_TTL;
        }
        if tick >= self.grace_until {
            let lapsed = self.store.lease_expire(self.instance, now - FREE_AFTER).await?;
            for lapsed in &lapsed {
                tracing::warn!(board.id = %lapsed.lease.board, lease.fence = lapsed.lease.fence.0, "a lease lapsed");
            }
            if !lapsed.is_empty() {
                self.doorbell.ring(Bell::Scheduler);
                self.doorbell.ring(Bell::Relay);
            }
        }
        self.swept_at = tick;
        Ok(Step::Idle { until: self.clock.monotonic() + SWEEP_EVERY })
    }
}
