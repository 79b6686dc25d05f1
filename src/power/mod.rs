//! Power: switches a board's outlet. Beside `console::dial` the only thing that touches hardware.
//!
//! A PDU has a weak processor and no patience: requests to one device stand in one queue, switching is set and then
//! read back, and a cycle is ours (off, a pause, on), so that a device without one serves as well. Switching needs a
//! live lease in hand; reading does not.

mod command;
mod fault;
mod http;
mod ipmi;
mod mqtt;
mod pdudaemon;
mod redfish;
mod simulated;
mod snmp;
mod telnet;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::board::plan::PowerAction;
use crate::board::{Board, PowerDriver};
use crate::clock::Clock;
use crate::lease::InHand;
use crate::net::DeviceHttp;
use secrecy::ExposeSecret;

use self::fault::Fault;

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
/// The same for management controllers, whose states were seen to follow after 1 to 11 s.
const READBACK_SLOW_MAX: u32 = 60;

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
    http: DeviceHttp,
    queues: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
}

impl Power {
    /// A switchboard.
    pub fn new(clock: Clock) -> Self {
        Power { clock, http: DeviceHttp::default(), queues: Arc::default() }
    }

    /// Does `action` under a lease. Gives the outlet's state afterwards, where it can be known.
    pub async fn act(
        &self,
        hand: &dyn InHand,
        board: &Board,
        action: PowerAction,
    ) -> Result<Option<Outlet>, PowerError> {
        match action {
            PowerAction::On => self.set(hand, board, Outlet::On).await,
            PowerAction::Off => self.set(hand, board, Outlet::Off).await,
            PowerAction::Cycle => {
                self.set(hand, board, Outlet::Off).await?;
                self.clock.sleep(board.power.off_for).await;
                self.set(hand, board, Outlet::On).await
            }
            PowerAction::Status => self.status(board).await.map(Some),
        }
    }

    /// Reads the outlet. Needs no lease: it changes nothing.
    pub async fn status(&self, board: &Board) -> Result<Outlet, PowerError> {
        self.tried(board, None).await?.ok_or_else(|| PowerError::NoReading(board.id.to_string()))
    }

    /// Sets the outlet and reads it back until it agrees.
    async fn set(
        &self,
        hand: &dyn InHand,
        board: &Board,
        wanted: Outlet,
    ) -> Result<Option<Outlet>, PowerError> {
        self.tried(board, Some((hand, wanted))).await?;
        let reads = match board.power.driver {
            PowerDriver::Redfish(_) | PowerDriver::Ipmi(_) => READBACK_SLOW_MAX,
            _ => READBACK_MAX,
        };
        for _ in 0..reads {
            match self.tried(board, None).await? {
                None => return Ok(None),
                Some(state) if state == wanted => return Ok(Some(wanted)),
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

    /// One request, again where that may help: sets with `Some`, reads with `None`.
    async fn tried(
        &self,
        board: &Board,
        set: Option<(&dyn InHand, Outlet)>,
    ) -> Result<Option<Outlet>, PowerError> {
        let mut tries = 0;
        loop {
            let problem = match self.request(board, set).await? {
                Ok(state) => return Ok(state),
                Err(Fault::Passing(problem)) => problem,
                Err(Fault::Lasting(problem)) => return Err(unreachable(board, problem)),
            };
            tries += 1;
            if tries == TRIES_MAX {
                return Err(unreachable(board, problem));
            }
            self.clock.sleep(RETRY_PAUSE).await;
        }
    }

    /// One request in the device's queue.
    async fn request(
        &self,
        board: &Board,
        set: Option<(&dyn InHand, Outlet)>,
    ) -> Result<Result<Option<Outlet>, Fault>, PowerError> {
        if !board.power.has_switch() {
            return Err(PowerError::NoSwitch(board.id.to_string()));
        }
        let queue = self.queue(&device(board));
        let turn = self.clock.timeout(QUEUE_WITHIN, queue.lock()).await;
        let _turn = turn.map_err(|_| unreachable(board, "its queue of requests does not move".into()))?;
        // Looked at only now: a lease may end while its request waits.
        if set.is_some_and(|(hand, _)| !hand.trusted()) {
            return Err(PowerError::LeaseOver(board.id.to_string()));
        }
        // On the heap: the state of ten drivers would otherwise stand in every future above, up to a whole attempt.
        Ok(Box::pin(self.drive(board, set.map(|(_, wanted)| wanted))).await)
    }

    /// The device's turn has come.
    async fn drive(&self, board: &Board, set: Option<Outlet>) -> Result<Option<Outlet>, Fault> {
        let (clock, http) = (&self.clock, &self.http);
        let host = board.power.host.as_deref().unwrap_or_default();
        let outlet = board.power.outlet.as_deref();
        match &board.power.driver {
            PowerDriver::None => Ok(None),
            PowerDriver::Simulated => {
                let request = simulated::request(host, outlet.unwrap_or("1"), set);
                let answer = clock.timeout(REQUEST_WITHIN, request).await;
                answer
                    .map_err(|_| Fault::passing("no answer in time"))?
                    .map(|state| set.is_none().then_some(state))
                    .map_err(Fault::Passing)
            }
            PowerDriver::Command { on, off, status, within } => {
                let argv = match (set, status) {
                    (Some(Outlet::On), _) => on,
                    (Some(Outlet::Off), _) => off,
                    (None, Some(argv)) => argv,
                    (None, None) => return Ok(None),
                };
                let said =
                    command::run(clock, &argv_for(argv, board), *within).await.map_err(Fault::Passing)?;
                match set {
                    Some(_) => Ok(None),
                    None => command::read_state(&said).map(Some).map_err(Fault::Passing),
                }
            }
            PowerDriver::Snmp(switch) => snmp::request(clock, host, switch, set).await,
            PowerDriver::Http(switch) => http::request(http, switch, set).await,
            PowerDriver::Pdudaemon(switch) => {
                pdudaemon::request(http, host, outlet.unwrap_or_default(), switch, set).await
            }
            PowerDriver::Redfish(switch) => redfish::request(http, host, outlet, switch, set).await,
            PowerDriver::Ipmi(switch) => ipmi::request(clock, host, switch, set).await,
            PowerDriver::Telnet(switch) => telnet::request(clock, host, switch, set).await,
            PowerDriver::Mqtt(switch) => mqtt::request(clock, host, switch, set).await,
        }
    }

    fn queue(&self, device: &str) -> Arc<tokio::sync::Mutex<()>> {
        self.queues.lock().expect("power queues lock").entry(device.to_owned()).or_default().clone()
    }
}

fn unreachable(board: &Board, problem: String) -> PowerError {
    PowerError::Unreachable { board: board.id.to_string(), problem }
}

/// The device that a board's requests queue at: whoever is dialled, so that a broker, a daemon or a bridge in front of
/// many outlets is one device.
fn device(board: &Board) -> String {
    let url = match &board.power.driver {
        PowerDriver::Http(switch) => Some(switch.on.url.expose_secret()),
        PowerDriver::Pdudaemon(switch) => Some(switch.url.as_str()),
        _ => None,
    };
    let authority = url.and_then(|url| url.split_once("://")).map(|(_, rest)| {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        // A user name and password may stand in front of the host.
        rest[..end].rsplit('@').next().unwrap_or_default()
    });
    let host = authority.or(board.power.host.as_deref()).unwrap_or(board.id.as_str());
    host.to_ascii_lowercase()
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
