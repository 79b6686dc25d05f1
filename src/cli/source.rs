//! The lab file as the server reads it again: the same path, the same checks, and where the lab is simulated, the same
//! simulators.

use std::path::PathBuf;

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::serve::{MISTAKES, load_lab};
use crate::board::Inventory;
use crate::chat::Platform;
use crate::clock::Clock;
use crate::id::Ids;
use crate::sim::{SimLab, Speed};
use crate::worker::reloader::LabSource;

/// A lab file.
pub struct LabFile {
    path: PathBuf,
    /// Chat platforms that its channels may be on.
    connected: Vec<Platform>,
    /// Channels that tell the same story where the file says nothing of it.
    mirrors: Vec<(String, String)>,
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
        LabFile { path, connected: Platform::CHATS.to_vec(), mirrors: vec![], simulated: None }
    }

    /// A simulated one's, with the simulators that run already.
    pub fn simulated(path: PathBuf, lab: SimLab, speed: Speed, clock: Clock, ids: Ids) -> LabFile {
        let simulated = Some(Simulated { lab: Mutex::new(lab), speed, clock, ids });
        LabFile { simulated, ..LabFile::real(path) }
    }

    /// The same with these mirrors, where the file names none.
    pub fn mirroring(self, mirrors: Vec<(String, String)>) -> LabFile {
        LabFile { mirrors, ..self }
    }

    /// The same for a server to which only these chat platforms are connected.
    pub fn for_chats(self, connected: Vec<Platform>) -> LabFile {
        LabFile { connected, ..self }
    }
}

#[async_trait]
impl LabSource for LabFile {
    async fn read(&self) -> Result<Inventory, String> {
        let (path, simulated, connected) =
            (self.path.clone(), self.simulated.is_some(), self.connected.clone());
        let read = tokio::task::spawn_blocking(move || load_lab(&path, simulated, &connected)).await;
        let mut inventory = match read {
            Ok(Ok(inventory)) => inventory,
            Ok(Err(error)) => {
                let told = format!("{error:#}");
                return Err(told.strip_prefix(MISTAKES).unwrap_or(&told).trim_start().to_owned());
            }
            Err(error) => return Err(format!("reading it died: {error}")),
        };
        if inventory.channels.mirrors.is_empty() {
            inventory.channels.mirrors.clone_from(&self.mirrors);
        }
        let Some(simulated) = &self.simulated else { return Ok(inventory) };
        let mut lab = simulated.lab.lock().await;
        let followed =
            lab.follow(&inventory, simulated.speed, simulated.clock.clone(), simulated.ids.clone()).await;
        followed.map_err(|error| format!("its simulators do not start: {error}"))
    }
}
