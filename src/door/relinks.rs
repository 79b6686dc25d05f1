//! Who is one person on two platforms, known again after each change of it: whoever asked for that may have gone, or may have
//! been told that it takes too long, and the change holds all the same. Never known in another order than it was committed,
//! and never given up while the database is away.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::board::live::LiveInventory;
use crate::clock::Clock;
use crate::command::handle;
use crate::store::{Committed, Intake, Result, Store, StoreError};

/// First pause before the database is asked again, and the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Asks for links, one after the other.
#[derive(Clone)]
pub struct Relinks {
    clock: Clock,
    /// Whoever holds it asks and makes known what they were told, with nobody in between. Whether somebody asks again until
    /// they are told: one does for all.
    turn: Arc<Mutex<bool>>,
}

impl Relinks {
    /// Pauses by this clock.
    pub fn new(clock: Clock) -> Relinks {
        Relinks { clock, turn: Arc::default() }
    }

    /// Commits a change of links, and makes it known; both to their end, whoever waits for them.
    pub(super) async fn commit(
        &self,
        store: &Arc<dyn Store>,
        inventory: &LiveInventory,
        intake: Intake,
    ) -> Result<Committed> {
        let (one, store, inventory) = (self.clone(), store.clone(), inventory.clone());
        let work = tokio::spawn(async move {
            let committed = store.commit(intake).await;
            // Also where that failed: it may be on disk.
            let mut is_asked = one.turn.lock().await;
            if let Err(error) = ask(&store, &inventory).await {
                tracing::warn!(%error, "who is one person on two platforms is asked for again");
                if !std::mem::replace(&mut *is_asked, true) {
                    let one = one.clone();
                    tokio::spawn(async move { one.ask_until_told(&store, &inventory).await });
                }
            }
            drop(is_asked);
            committed
        });
        work.await.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))
    }

    async fn ask_until_told(&self, store: &Arc<dyn Store>, inventory: &LiveInventory) {
        let mut pause = PAUSE_FIRST;
        loop {
            self.clock.sleep(pause).await;
            let mut is_asked = self.turn.lock().await;
            match ask(store, inventory).await {
                Ok(()) => {
                    *is_asked = false;
                    return;
                }
                Err(error) => tracing::debug!(%error, "who is one person on two platforms is not known yet"),
            }
            drop(is_asked);
            pause = PAUSE_MAX.min(pause * 2);
        }
    }
}

async fn ask(store: &Arc<dyn Store>, inventory: &LiveInventory) -> Result<()> {
    inventory.now().people.link(handle::linked(store.link_list().await?));
    Ok(())
}
