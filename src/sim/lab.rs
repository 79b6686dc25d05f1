//! A whole simulated lab made from an inventory: a board per board, a PDU per PDU.
//!
//! Gives back the same inventory with every console and every switch pointing at a simulator, so that nothing in it
//! can reach real hardware any more, external power programs included.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;
use secrecy::ExposeSecret;

use super::{SimBoard, SimBoardSpec, SimPdu, Speed};
use crate::board::power::SequenceStep;
use crate::board::{Board, BoardId, ConsoleKind, Inventory, PowerDriver};
use crate::clock::Clock;
use crate::id::Ids;

/// Shell prompts that a simulated board can have; the first that the board's settings recognise is taken.
const SHELL_PROMPTS: [&str; 6] = ["root@{}:~# ", "{}:~# ", "root@{}:/# ", "# ", "$ ", "/ # "];
/// Boot loader prompts that it can have.
const BOOTLOADER_PROMPTS: [&str; 6] = ["=> ", "U-Boot> ", "u-boot=> ", "{}=> ", "barebox@{}:/ ", "grub> "];
/// The PDU of boards that name a driver but no PDU.
const NAMELESS_PDU: &str = "";

/// A running simulated lab; its end stops every simulator.
#[derive(Clone, Default)]
pub struct SimLab {
    boards: BTreeMap<BoardId, SimBoard>,
    pdus: BTreeMap<String, SimPdu>,
    wires: BTreeMap<BoardId, Wire>,
    /// Every PDU, also the second one of a name: they end with the lab.
    more: Vec<SimPdu>,
}

/// Where a simulated board is reached.
#[derive(Clone)]
struct Wire {
    console: SocketAddr,
    kind: ConsoleKind,
    /// Address of its PDU and its outlet there.
    switch: Option<(SocketAddr, String)>,
    /// The PDU that has its relays.
    relays: Option<SimPdu>,
}

impl SimLab {
    /// Starts a simulator for every board and PDU of `inventory`, and points a copy of it at them.
    ///
    /// A board without any switch is on from the start; every other one is off.
    pub async fn start(
        inventory: &Inventory,
        speed: Speed,
        clock: Clock,
        ids: Ids,
    ) -> io::Result<(SimLab, Inventory)> {
        let mut lab = SimLab::default();
        let rewritten = lab.follow(inventory, speed, clock, ids).await?;
        Ok((lab, rewritten))
    }

    /// The same for another inventory: boards that have a simulator keep it as it is, new ones get one, at PDUs of
    /// their own. Those that left go on running for whoever still uses them.
    pub async fn follow(
        &mut self,
        inventory: &Inventory,
        speed: Speed,
        clock: Clock,
        ids: Ids,
    ) -> io::Result<Inventory> {
        let mut outlets: BTreeMap<String, BTreeMap<String, Vec<SimBoard>>> = BTreeMap::new();
        let mut switched = Vec::new();
        for (id, board) in &inventory.boards {
            if self.wires.contains_key(id) {
                continue;
            }
            let sim = SimBoard::start(clock.clone(), ids.clone(), spec(board, speed)).await?;
            if is_switched(board) {
                let pdu = board.power.host.clone().unwrap_or_else(|| NAMELESS_PDU.to_owned());
                outlets.entry(pdu.clone()).or_default().entry(outlet(board)).or_default().push(sim.clone());
                switched.push((id.clone(), pdu, outlet(board)));
            }
            let kind = if sim_is_raw(board) { ConsoleKind::Tcp } else { ConsoleKind::Telnet };
            self.wires.insert(id.clone(), Wire { console: sim.addr(), kind, switch: None, relays: None });
            self.boards.insert(id.clone(), sim);
        }
        let mut started = BTreeMap::new();
        for (name, outlets) in outlets {
            started.insert(name, SimPdu::start(clock.clone(), outlets).await?);
        }
        for (id, pdu, outlet) in switched {
            if let Some(wire) = self.wires.get_mut(&id) {
                wire.switch = Some((started[&pdu].addr(), outlet));
                wire.relays = Some(started[&pdu].clone());
            }
        }
        for (name, pdu) in started {
            // A second one of a name serves its boards as well; what tests break is the first.
            self.pdus.entry(name.clone()).or_insert_with(|| pdu.clone());
            self.more.push(pdu);
        }
        self.add_relays(inventory, &clock).await?;
        Ok(self.rewired(inventory, speed))
    }

    /// Gives every board the relays that boards.yaml has for it, also those that came with a reload.
    async fn add_relays(&mut self, inventory: &Inventory, clock: &Clock) -> io::Result<()> {
        for (id, board) in inventory.boards.iter().filter(|(_, board)| !board.power.relays.is_empty()) {
            let Some(wire) = self.wires.get_mut(id) else { continue };
            let pdu = match &wire.relays {
                Some(pdu) => pdu.clone(),
                // It has no switch of its own.
                None => SimPdu::start(clock.clone(), BTreeMap::new()).await?,
            };
            board.power.relays.keys().for_each(|name| pdu.add_relay(&relay_outlet(id, name)));
            wire.relays = Some(pdu);
        }
        Ok(())
    }

    /// The inventory with every console and switch pointing at its simulator.
    fn rewired(&self, inventory: &Inventory, speed: Speed) -> Inventory {
        let mut rewritten = inventory.clone();
        for (id, board) in &mut rewritten.boards {
            let wire = &self.wires[id];
            board.console.kind = wire.kind;
            board.console.host = wire.console.ip().to_string();
            board.console.port = wire.console.port();
            board.console.settle = Duration::ZERO;
            for (name, relay) in &mut board.power.relays {
                relay.driver = PowerDriver::Simulated;
                relay.host = wire.relays.as_ref().map(|pdu| pdu.addr().to_string());
                relay.outlet = Some(relay_outlet(id, name));
            }
            if speed != Speed::Real {
                board.power.off_for = speed.scaled(board.power.off_for);
                board.power.sequences.values_mut().for_each(|steps| *steps = scaled(steps, speed));
            }
            let Some((pdu, outlet)) = &wire.switch else {
                board.power.driver = PowerDriver::None;
                continue;
            };
            board.power.outlet = Some(outlet.clone());
            board.power.host = Some(pdu.to_string());
            board.power.driver = PowerDriver::Simulated;
        }
        rewritten
    }

    /// The simulator of a board.
    pub fn board(&self, id: &str) -> Option<&SimBoard> {
        self.boards.get(id)
    }

    /// Every board's simulator, by the board's name.
    pub fn boards(&self) -> impl Iterator<Item = (&BoardId, &SimBoard)> {
        self.boards.iter()
    }

    /// The simulator of a PDU, by its `pdu_host`; the empty name is the PDU of boards that name none.
    pub fn pdu(&self, host: &str) -> Option<&SimPdu> {
        self.pdus.get(host)
    }

    /// Every PDU's simulator, by `pdu_host`.
    pub fn pdus(&self) -> impl Iterator<Item = (&String, &SimPdu)> {
        self.pdus.iter()
    }
}

/// Whether the board has, or in a real lab could have, a switch.
fn is_switched(board: &Board) -> bool {
    board.power.host.is_some() || !matches!(board.power.driver, PowerDriver::None)
}

fn sim_is_raw(board: &Board) -> bool {
    board.console.kind == ConsoleKind::Tcp
}

/// The outlet of a board's relay on its simulated PDU.
fn relay_outlet(board: &BoardId, relay: &str) -> String {
    format!("{board}.{relay}")
}

/// A sequence whose pauses are as long as the simulated boards' times are.
fn scaled(steps: &[SequenceStep], speed: Speed) -> Arc<[SequenceStep]> {
    let scaled = |step: &SequenceStep| match step {
        SequenceStep::Wait(pause) => SequenceStep::Wait(speed.scaled(*pause)),
        SequenceStep::Board(_) | SequenceStep::Relay(..) => step.clone(),
    };
    steps.iter().map(scaled).collect()
}

/// The outlet's name in the PDU's protocol: one word.
fn outlet(board: &Board) -> String {
    let outlet = board.power.outlet.as_deref().unwrap_or(board.id.as_str());
    outlet.split_whitespace().collect::<Vec<_>>().join("-")
}

fn spec(board: &Board, speed: Speed) -> SimBoardSpec {
    let console = &board.console;
    let hostname = board.id.as_str();
    let mut spec = SimBoardSpec::new(hostname, board.family.as_str(), speed);
    spec.username.clone_from(&console.username);
    spec.password = console.password.as_ref().map(|password| password.expose_secret().to_owned());
    spec.prompt = pick(&SHELL_PROMPTS, &console.prompt, hostname);
    spec.bootloader_prompt = pick(&BOOTLOADER_PROMPTS, &console.bootloader, hostname);
    spec.raw = sim_is_raw(board);
    spec.powered = !is_switched(board);
    spec
}

/// The first prompt that a pattern of boards.yaml matches; `None` leaves the simulator its own.
fn pick(prompts: &[&str], pattern: &str, hostname: &str) -> Option<String> {
    let pattern = Regex::new(pattern).ok()?;
    prompts.iter().map(|prompt| prompt.replace("{}", hostname)).find(|prompt| pattern.is_match(prompt))
}
