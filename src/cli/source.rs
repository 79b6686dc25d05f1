//! The lab file as the server reads it again: the same path, the same checks, and where the lab is simulated, the same
//! simulators.

use std::path::PathBuf;

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::serve::{MISTAKES, load_lab};
use crate::board::Inventory;
use crate::clock::Clock;
use crate::id::Ids;
use crate::sim::{SimLab, Speed};
use crate::worker::reloader::LabSource;

/// A lab file.
pub struct LabFile {
    path: PathBuf,
    simulated: Option<Simulated>,
}

/// What a simulated lab needs beside its file.
struct Simulated {
    lab: Mutex<SimLab>,
    speed: Speed,
    clock: Clock,
    ids: Ids,
}

impl LabFile {
    /// A real lab's.
    pub fn real(path: PathBuf) -> LabFile {
        LabFile { path, simulated: None }
    }

    /// A simulated one's, with the simulators that run already.
    pub fn simulated(path: PathBuf, lab: SimLab, speed: Speed, clock: Clock, ids: Ids) -> LabFile {
        LabFile { path, simulated: Some(Simulated { lab: Mutex::new(lab), speed, clock, ids }) }
    }
}

#[async_trait]
impl LabSource for LabFile {
    async fn read(&self) -> Result<Inventory, String> {
        let (path, simulated) = (self.path.clone(), self.simulated.is_some());
        let read = tokio::task::spawn_blocking(move || load_lab(&path, simulated)).await;
        let inventory = match read {
            Ok(Ok(inventory)) => inventory,
            Ok(Err(error)) => {
                let told = format!("{error:#}");
                return Err(told.strip_prefix(MISTAKES).unwrap_or(&told).trim_start().to_owned());
            }
            Err(error) => return Err(format!("reading it died: {error}")),
        };
        let Some(simulated) = &self.simulated else { return Ok(inventory) };
        let mut lab = simulated.lab.lock().await;
        let followed =
            lab.follow(&inventory, simulated.speed, simulated.clock.clone(), simulated.ids.clone()).await;
        followed.map_err(|error| format!("its simulators do not start: {error}"))
    }
}
