//! A lease for a moment: somebody beside this server, on the same machine, looks at a board. Nothing is done here to the
//! board; whoever has the lease in hand does that.

use super::finalize;
use super::runner::Lab;
use crate::board::BoardId;
use crate::chat::Actor;
use crate::doorbell::Bell;
use crate::id::{InstanceId, LeaseId};
use crate::lease::{Grip, Holder, Lease};
use crate::run::LeaseRef;
use crate::store::{AtRest, Granted, LeaseTerms, StoreError};

/// How long such a lease lasts where nobody renews it.
pub const MOMENT_LASTS: std::time::Duration = std::time::Duration::from_secs(10 * 60);

/// What became of the wish.
#[derive(Debug)]
pub enum Moment {
    /// The board is in hand.
    Lease(Box<Lease>),
    /// Somebody has it.
    Held(Box<Holder>),
    /// There is no such board.
    Unknown,
}

/// Takes a board for a moment.
pub async fn take(lab: &Lab, instance: InstanceId, board: &BoardId, by: Actor) -> Result<Moment, StoreError> {
    if !lab.inventory.now().boards.contains_key(board) {
        return Ok(Moment::Unknown);
    }
    let now = lab.clock.now();
    let terms = LeaseTerms { instance, now, expires_at: now + MOMENT_LASTS, drains_seen: None };
    let id = LeaseId::new(&lab.ids, now);
    Ok(match lab.store.lease_take(id, board, &Holder::Check(by), &terms).await? {
        Granted::Leases(leases) => match leases.into_iter().next() {
            Some(lease) => Moment::Lease(Box::new(lease)),
            None => Moment::Unknown,
        },
        Granted::Taken(lease) => Moment::Held(Box::new(lease.holder)),
        Granted::OutOfService { .. } | Granted::Outdated | Granted::Gone => Moment::Unknown,
    })
}

/// Gives it back as it was found.
pub async fn give_back(lab: &Lab, lease: &Lease) {
    let lease = LeaseRef { id: lease.id, board: lease.board.clone(), fence: lease.fence };
    finalize::give_back(lab, &Grip::new(lease, lab.store.trust()), &AtRest::Yes).await;
    lab.doorbell.ring(Bell::Scheduler);
}
