//! Power: switches a board's outlet. Beside `console::dial` the only thing that touches hardware.
//!
//! A PDU has a weak processor and no patience: requests to one device stand in one queue, switching is set and then
//! read back, and a cycle is ours (off, a pause, on), so that a device without one serves as well. Switching needs a
//! live lease in hand; reading does not.

mod command;
mod simulated;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::board::plan::PowerAction;
use crate::board::{Board, PowerConfig, PowerDriver};
use crate::clock::Clock;
use crate::lease::InHand;

/// How often switching is tried before the PDU counts as unreachable.
pub const TRIES_MAX: u32 = 3;
/// Pause between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How long one request to a PDU may take, and how long it may wait in the device's queue.
pub const REQUEST_WITHIN: Duration = Duration::from_secs(10);
/// How long to wait for a place in a device's queue: a long queue is better than a lost board, an endless one is not.
const QUEUE_WITHIN: Duration = Duration::from_secs(120);
/// How often a state is read back before it counts as not reached, [`RETRY_PAUSE`] apart.
const READBACK_MAX: u32 = 20;

/// Why an outlet could not be switched or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PowerError {
    /// The board has no switch that this version drives.
    #[error("{0} has no power switch")]
    NoSwitch(String),
    /// The switch cannot be read.
    #[error("the power switch of {0} cannot be read")]
    NoReading(String),
    /// The PDU, or the program that speaks to it, does not answer as it should.
    #[error("the PDU of {board} did not do as it was told: {problem}")]
    Unreachable {
        /// The board.
        board: String,
        /// What happened; never holds a credential.
        problem: String,
    },
    /// The outlet does not show what it was set to.
    #[error("the outlet of {board} stays {state} after it was switched {wanted}")]
    NotReached {
        /// The board.
        board: String,
        /// What it shows.
        state: &'static str,
        /// What was asked for.
        wanted: &'static str,
    },
    /// The lease was over before the outlet was switched.
    #[error("the lease of {0} is over")]
    LeaseOver(String),
}

/// The state of an outlet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlet {
    /// Power flows.
    On,
    /// It does not.
    Off,
}

impl Outlet {
    /// The word in messages and in the simulated PDU's protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Outlet::On => "on",
            Outlet::Off => "off",
        }
    }
}

/// Switches outlets, one request at a time per PDU. Cheap to clone.
#[derive(Clone)]
pub struct Power {
    clock: Clock,
    queues: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
}

impl Power {
    /// A switchboard.
    pub fn new(clock: Clock) -> Self {
        Power { clock, queues: Arc::default() }
    }

    /// Does `action` under a lease. Gives the outlet's state afterwards, where it can be known.
    pub async fn act(
        &self,
        hand: &dyn InHand,
        board: &Board,
        action: PowerAction,
    ) -> Result<Option<Outlet>, PowerError> {
        match action {
            PowerAction::On => self.set(hand, board, Outlet::On).await.map(Some),
            PowerAction::Off => self.set(hand, board, Outlet::Off).await.map(Some),
            PowerAction::Cycle => {
                self.set(hand, board, Outlet::Off).await?;
                self.clock.sleep(board.power.off_for).await;
                self.set(hand, board, Outlet::On).await.map(Some)
            }
            PowerAction::Status => self.status(board).await.map(Some),
        }
    }

    /// Reads the outlet. Needs no lease: it changes nothing.
    pub async fn status(&self, board: &Board) -> Result<Outlet, PowerError> {
        self.read(board).await?.ok_or_else(|| PowerError::NoReading(board.id.to_string()))
    }

    /// Sets the outlet and reads it back until it agrees.
    async fn set(&self, hand: &dyn InHand, board: &Board, wanted: Outlet) -> Result<Outlet, PowerError> {
        let mut last = None;
        for _ in 0..TRIES_MAX {
            if !hand.trusted() {
                return Err(PowerError::LeaseOver(board.id.to_string()));
            }
            match self.request(board, Some(wanted)).await {
                Ok(_) => return self.read_back(board, wanted).await,
                Err(error @ PowerError::Unreachable { .. }) => last = Some(error),
                Err(error) => return Err(error),
            }
            self.clock.sleep(RETRY_PAUSE).await;
        }
        Err(last.expect("every try that does not return sets an error"))
    }

    async fn read_back(&self, board: &Board, wanted: Outlet) -> Result<Outlet, PowerError> {
        for _ in 0..READBACK_MAX {
            match self.read(board).await? {
                None => return Ok(wanted),
                Some(state) if state == wanted => return Ok(wanted),
                Some(_) => self.clock.sleep(RETRY_PAUSE).await,
            }
        }
        let state = match wanted {
            Outlet::On => Outlet::Off,
            Outlet::Off => Outlet::On,
        };
        Err(PowerError::NotReached {
            board: board.id.to_string(),
            state: state.as_str(),
            wanted: wanted.as_str(),
        })
    }

    async fn read(&self, board: &Board) -> Result<Option<Outlet>, PowerError> {
        let mut last = None;
        for _ in 0..TRIES_MAX {
            match self.request(board, None).await {
                Err(error @ PowerError::Unreachable { .. }) => last = Some(error),
                answer => return answer,
            }
            self.clock.sleep(RETRY_PAUSE).await;
        }
        Err(last.expect("every try that does not return sets an error"))
    }

    /// One request in the device's queue: sets with `Some`, reads with `None`.
    async fn request(&self, board: &Board, set: Option<Outlet>) -> Result<Option<Outlet>, PowerError> {
        let PowerConfig { driver, host, outlet, .. } = &board.power;
        let unreachable = |problem: String| PowerError::Unreachable { board: board.id.to_string(), problem };
        let queue = self.queue(host.as_deref().unwrap_or(board.id.as_str()));
        let turn = self.clock.timeout(QUEUE_WITHIN, queue.lock()).await;
        let _turn = turn.map_err(|_| unreachable("its queue of requests does not move".into()))?;
        match driver {
            PowerDriver::None | PowerDriver::NotBuilt(_) => Err(PowerError::NoSwitch(board.id.to_string())),
            PowerDriver::Simulated => {
                let host = host.as_deref().unwrap_or_default();
                let outlet = outlet.as_deref().unwrap_or("1");
                let answer = self.clock.timeout(REQUEST_WITHIN, simulated::request(host, outlet, set)).await;
                answer.map_err(|_| unreachable("no answer in time".into()))?.map(Some).map_err(unreachable)
            }
            PowerDriver::Command { on, off, status, within } => {
                let argv = match set {
                    Some(Outlet::On) => on,
                    Some(Outlet::Off) => off,
                    None => match status {
                        Some(argv) => argv,
                        None => return Ok(None),
                    },
                };
                let said =
                    command::run(&self.clock, &argv_for(argv, board), *within).await.map_err(unreachable)?;
                if set.is_some() {
                    Ok(None)
                } else {
                    command::read_state(&said).map(Some).map_err(unreachable)
                }
            }
        }
    }

    fn queue(&self, device: &str) -> Arc<tokio::sync::Mutex<()>> {
        self.queues.lock().expect("power queues lock").entry(device.to_owned()).or_default().clone()
    }
}

/// Fills `{{ host }}`, `{{ outlet }}` and `{{ board }}` of a command's arguments. Values come from boards.yaml and
/// each stays inside its own argument: no shell is involved.
fn argv_for(argv: &[String], board: &Board) -> Vec<String> {
    let fill = |argument: &String| {
        argument
            .replace("{{ host }}", board.power.host.as_deref().unwrap_or_default())
            .replace("{{ outlet }}", board.power.outlet.as_deref().unwrap_or_default())
            .replace("{{ board }}", board.id.as_str())
    };
    argv.iter().map(fill).collect()
}
