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

use async_trait::async_trait;

use crate::board::plan::PowerAction;
pub use crate::board::power::Outlet;
use crate::board::power::{Relay, SequenceStep};
use crate::board::{Board, BoardId, PowerDriver};
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
    /// The board has no sequence of that name.
    #[error("{board} has no power sequence {name:?}")]
    NoSequence {
        /// The board.
        board: String,
        /// What was asked for.
        name: String,
    },
    /// A sequence stopped on its way: its first steps are done, the others are not.
    #[error("the sequence {name} stopped half done, at step {step} of {steps} ({doing}): {problem}")]
    HalfDone {
        /// The sequence.
        name: String,
        /// Which step did not succeed, from 1.
        step: usize,
        /// How many it has.
        steps: usize,
        /// What that step does.
        doing: String,
        /// What happened; never holds a credential.
        problem: String,
    },
    /// The lease was over before the outlet was switched.
    #[error("the lease of {0} is over")]
    LeaseOver(String),
}

/// One outlet of a board: its own, or a relay's.
#[derive(Clone, Copy)]
struct Switch<'b> {
    /// The board.
    board: &'b Board,
    /// Which of its relays; `None` for the outlet that feeds it.
    relay: Option<&'b str>,
    driver: &'b PowerDriver,
    host: Option<&'b str>,
    outlet: Option<&'b str>,
}

impl<'b> Switch<'b> {
    /// The outlet that feeds a board.
    fn of(board: &'b Board) -> Self {
        let power = &board.power;
        let (host, outlet) = (power.host.as_deref(), power.outlet.as_deref());
        Switch { board, relay: None, driver: &power.driver, host, outlet }
    }

    /// One of its relays.
    fn relay(board: &'b Board, name: &'b str, relay: &'b Relay) -> Self {
        let (host, outlet) = (relay.host.as_deref(), relay.outlet.as_deref());
        Switch { board, relay: Some(name), driver: &relay.driver, host, outlet }
    }

    /// Whose outlet it is, for messages.
    fn name(&self) -> String {
        match self.relay {
            None => self.board.id.to_string(),
            Some(relay) => format!("relay {relay} of {}", self.board.id),
        }
    }

    fn unreachable(&self, problem: String) -> PowerError {
        PowerError::Unreachable { board: self.name(), problem }
    }
}

/// Switches outlets, one request at a time per PDU. Cheap to clone.
#[derive(Clone)]
pub struct Power {
    clock: Clock,
    http: DeviceHttp,
    queues: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
    elsewhere: Option<Arc<dyn Elsewhere>>,
}

/// Another process that drives switches for this one.
#[async_trait]
pub trait Elsewhere: Send + Sync {
    /// One request to the outlet that feeds a board, or to one of its relays: sets it with `Some`, reads it with `None`. Not
    /// done, it gives why, and whether asking again changes nothing.
    async fn request(
        &self,
        board: &BoardId,
        relay: Option<&str>,
        set: Option<Outlet>,
    ) -> Result<Option<Outlet>, (String, bool)>;
}

impl Power {
    /// A switchboard.
    pub fn new(clock: Clock) -> Self {
        Power { clock, http: DeviceHttp::default(), queues: Arc::default(), elsewhere: None }
    }

    /// The same, with somebody who drives switches for this process.
    pub fn through(self, elsewhere: Arc<dyn Elsewhere>) -> Self {
        Power { elsewhere: Some(elsewhere), ..self }
    }

    /// One request for another process, which tries again by itself.
    pub async fn once(
        &self,
        hand: &dyn InHand,
        board: &Board,
        relay: Option<&str>,
        set: Option<Outlet>,
    ) -> Result<Result<Option<Outlet>, (String, bool)>, PowerError> {
        let switch = match relay {
            None => Switch::of(board),
            Some(name) => match board.power.relays.get_key_value(name) {
                Some((name, relay)) => Switch::relay(board, name, relay),
                None => return Err(PowerError::NoSwitch(format!("relay {name} of {}", board.id))),
            },
        };
        let done = self.request(switch, set.map(|wanted| (hand, wanted))).await?;
        Ok(done.map_err(|fault| match fault {
            Fault::Passing(problem) => (problem, false),
            Fault::Lasting(problem) => (problem, true),
        }))
    }

    /// Does `action` under a lease. Gives the outlet's state afterwards, where it can be known.
    pub async fn act(
        &self,
        hand: &dyn InHand,
        board: &Board,
        action: &PowerAction,
    ) -> Result<Option<Outlet>, PowerError> {
        let own = Switch::of(board);
        match action {
            PowerAction::On => self.set(hand, own, Outlet::On).await,
            PowerAction::Off => self.set(hand, own, Outlet::Off).await,
            PowerAction::Cycle => {
                self.set(hand, own, Outlet::Off).await?;
                self.clock.sleep(board.power.off_for).await;
                self.set(hand, own, Outlet::On).await
            }
            PowerAction::Status => self.status(board).await.map(Some),
            PowerAction::Sequence(name) => self.sequence(hand, board, name).await,
        }
    }

    /// Reads the outlet. Needs no lease: it changes nothing.
    pub async fn status(&self, board: &Board) -> Result<Outlet, PowerError> {
        self.read(Switch::of(board)).await
    }

    /// Reads one of the board's relays.
    pub async fn relay_status(&self, board: &Board, name: &str) -> Result<Outlet, PowerError> {
        match board.power.relays.get_key_value(name) {
            Some((name, relay)) => self.read(Switch::relay(board, name, relay)).await,
            None => Err(PowerError::NoSwitch(format!("relay {name} of {}", board.id))),
        }
    }

    /// Puts every relay of a board as it stands when no sequence is at work.
    pub async fn relays_to_rest(&self, hand: &dyn InHand, board: &Board) -> Result<(), PowerError> {
        for (name, relay) in &board.power.relays {
            self.set(hand, Switch::relay(board, name, relay), relay.rest).await?;
        }
        Ok(())
    }

    /// Performs a sequence, step by step; the first one that does not succeed ends it.
    async fn sequence(
        &self,
        hand: &dyn InHand,
        board: &Board,
        name: &str,
    ) -> Result<Option<Outlet>, PowerError> {
        let Some(steps) = board.power.sequences.get(name) else {
            return Err(PowerError::NoSequence { board: board.id.to_string(), name: name.to_owned() });
        };
        let mut state = None;
        for (done, step) in steps.iter().enumerate() {
            match self.sequence_step(hand, board, step).await {
                Ok(Some(now)) => state = Some(now),
                Ok(None) => {}
                Err(error @ PowerError::LeaseOver(_)) => return Err(error),
                Err(error) => {
                    return Err(PowerError::HalfDone {
                        name: name.to_owned(),
                        step: done + 1,
                        steps: steps.len(),
                        doing: step.to_string(),
                        problem: error.to_string(),
                    });
                }
            }
        }
        Ok(state)
    }

    /// One step of a sequence; gives the state of the board's own outlet where the step tells it.
    async fn sequence_step(
        &self,
        hand: &dyn InHand,
        board: &Board,
        step: &SequenceStep,
    ) -> Result<Option<Outlet>, PowerError> {
        match step {
            SequenceStep::Board(wanted) => self.set(hand, Switch::of(board), *wanted).await,
            SequenceStep::Relay(name, wanted) => match board.power.relays.get_key_value(name) {
                Some((name, relay)) => {
                    self.set(hand, Switch::relay(board, name, relay), *wanted).await.map(|_| None)
                }
                None => Err(PowerError::NoSwitch(format!("relay {name} of {}", board.id))),
            },
            SequenceStep::Wait(pause) => {
                self.clock.sleep(*pause).await;
                Ok(None)
            }
        }
    }

    async fn read(&self, switch: Switch<'_>) -> Result<Outlet, PowerError> {
        self.tried(switch, None).await?.ok_or_else(|| PowerError::NoReading(switch.name()))
    }

    /// Sets the outlet and reads it back until it agrees.
    async fn set(
        &self,
        hand: &dyn InHand,
        switch: Switch<'_>,
        wanted: Outlet,
    ) -> Result<Option<Outlet>, PowerError> {
        self.tried(switch, Some((hand, wanted))).await?;
        let reads = match switch.driver {
            PowerDriver::Redfish(_) | PowerDriver::Ipmi(_) => READBACK_SLOW_MAX,
            _ => READBACK_MAX,
        };
        for _ in 0..reads {
            match self.tried(switch, None).await? {
                None => return Ok(None),
                Some(state) if state == wanted => return Ok(Some(wanted)),
                Some(_) => self.clock.sleep(RETRY_PAUSE).await,
            }
        }
        Err(PowerError::NotReached {
            board: switch.name(),
            state: wanted.opposite().as_str(),
            wanted: wanted.as_str(),
        })
    }

    /// One request, again where that may help: sets with `Some`, reads with `None`.
    async fn tried(
        &self,
        switch: Switch<'_>,
        set: Option<(&dyn InHand, Outlet)>,
    ) -> Result<Option<Outlet>, PowerError> {
        let mut tries = 0;
        loop {
            let problem = match self.request(switch, set).await? {
                Ok(state) => return Ok(state),
                Err(Fault::Passing(problem)) => problem,
                Err(Fault::Lasting(problem)) => return Err(switch.unreachable(problem)),
            };
            tries += 1;
            if tries == TRIES_MAX {
                return Err(switch.unreachable(problem));
            }
            self.clock.sleep(RETRY_PAUSE).await;
        }
    }

    /// One request in the device's queue.
    async fn request(
        &self,
        switch: Switch<'_>,
        set: Option<(&dyn InHand, Outlet)>,
    ) -> Result<Result<Option<Outlet>, Fault>, PowerError> {
        if matches!(switch.driver, PowerDriver::None) {
            return Err(PowerError::NoSwitch(switch.name()));
        }
        let queue = self.queue(&device(switch));
        let turn = self.clock.timeout(QUEUE_WITHIN, queue.lock()).await;
        let _turn = turn.map_err(|_| switch.unreachable("its queue of requests does not move".into()))?;
        // Looked at only now: a lease may end while its request waits.
        if set.is_some_and(|(hand, _)| !hand.trusted()) {
            return Err(PowerError::LeaseOver(switch.board.id.to_string()));
        }
        // On the heap: the state of ten drivers would otherwise stand in every future above, up to a whole attempt.
        Ok(Box::pin(self.drive(switch, set.map(|(_, wanted)| wanted))).await)
    }

    /// The device's turn has come.
    async fn drive(&self, at: Switch<'_>, set: Option<Outlet>) -> Result<Option<Outlet>, Fault> {
        let (clock, http) = (&self.clock, &self.http);
        let host = at.host.unwrap_or_default();
        let outlet = at.outlet;
        match at.driver {
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
                let said = command::run(clock, &argv_for(argv, at), *within).await.map_err(Fault::Passing)?;
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
            PowerDriver::Elsewhere => match &self.elsewhere {
                Some(elsewhere) => {
                    let done = elsewhere.request(&at.board.id, at.relay, set).await;
                    done.map_err(|(problem, lasting)| match lasting {
                        true => Fault::Lasting(problem),
                        false => Fault::Passing(problem),
                    })
                }
                None => Err(Fault::lasting("nobody switches it for this process")),
            },
        }
    }

    fn queue(&self, device: &str) -> Arc<tokio::sync::Mutex<()>> {
        self.queues.lock().expect("power queues lock").entry(device.to_owned()).or_default().clone()
    }
}

/// The device that a board's requests queue at: whoever is dialled, so that a broker, a daemon or a bridge in front of
/// many outlets is one device.
fn device(at: Switch<'_>) -> String {
    let url = match at.driver {
        PowerDriver::Http(switch) => Some(switch.on.url.expose_secret()),
        PowerDriver::Pdudaemon(switch) => Some(switch.url.as_str()),
        _ => None,
    };
    let authority = url.and_then(|url| url.split_once("://")).map(|(_, rest)| {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        // A user name and password may stand in front of the host.
        rest[..end].rsplit('@').next().unwrap_or_default()
    });
    // Switches of another process queue there, each by itself.
    let host = authority.or(at.host).unwrap_or(at.board.id.as_str());
    host.to_ascii_lowercase()
}

/// Fills `{{ host }}`, `{{ outlet }}` and `{{ board }}` of a command's arguments. Values come from boards.yaml and
/// each stays inside its own argument: no shell is involved.
fn argv_for(argv: &[String], at: Switch<'_>) -> Vec<String> {
    let fill = |argument: &String| {
        argument
            .replace("{{ host }}", at.host.unwrap_or_default())
            .replace("{{ outlet }}", at.outlet.unwrap_or_default())
            .replace("{{ board }}", at.board.id.as_str())
    };
    argv.iter().map(fill).collect()
}
