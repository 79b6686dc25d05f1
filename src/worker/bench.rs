//! The bench: what every runner of a process shares, wherever that process is. Whatever is known of a run comes over its
//! [`Desk`]; nothing here reaches the store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::desk::Desk;
use super::occupied::Occupied;
use crate::artifact::Artifacts;
use crate::board::LiveInventory;
use crate::clock::Clock;
use crate::doorbell::Doorbell;
use crate::id::Ids;
use crate::meter::Counter;
use crate::outcome::redact::Redactor;
use crate::power::Power;
use crate::store::StoreError;

/// How often a write is tried while the store is not available. The board is not touched meanwhile, and a slow disk
/// delays runs, never ends them.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// What every runner of a process shares.
pub struct Bench {
    /// Where they report.
    pub desk: Arc<dyn Desk>,
    /// The lab file.
    pub inventory: LiveInventory,
    /// The switchboard.
    pub power: Power,
    /// Takes secrets out of what a board printed.
    pub redactor: Arc<Redactor>,
    /// Wakes the loops behind.
    pub doorbell: Doorbell,
    /// Time.
    pub clock: Clock,
    /// Markers.
    pub ids: Ids,
    /// Folder of the transcripts.
    pub transcripts: PathBuf,
    /// The artifacts.
    pub artifacts: Artifacts,
    /// Boards that something here is busy with.
    pub occupied: Occupied,
    /// Bytes received from consoles.
    pub console_bytes: Counter,
    /// Whether programs of this machine are run for plans.
    pub programs: bool,
}

impl Bench {
    /// Repeats an operation until the store is available again; an error that is given back fails however often
    /// it is tried. Only for writes that name their fence, and reads: both are harmless to repeat.
    pub async fn persist<T, F>(&self, operation: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
        T: Send,
    {
        loop {
            match operation().await {
                Ok(value) => return Ok(value),
                Err(error) if error.is_lasting() => return Err(error),
                Err(error) => {
                    tracing::error!(%error, "the store did not take a write; the board waits");
                    self.clock.sleep(STORE_PAUSE).await;
                }
            }
        }
    }
}
