//! A whole simulated lab made from an inventory: a board per board, a PDU per PDU.
//!
//! Gives back the same inventory with every console and every switch pointing at a simulator, so that nothing in it
//! can reach real hardware any more, external power programs included.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use regex::Regex;
use secrecy::ExposeSecret;

use super::{SimBoard, SimBoardSpec, SimPdu, Speed};
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
#[derive(Clone)]
pub struct SimLab {
    boards: BTreeMap<BoardId, SimBoard>,
    pdus: BTreeMap<String, SimPdu>,
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
        let mut rewritten = inventory.clone();
        let mut boards = BTreeMap::new();
        let mut outlets: BTreeMap<String, BTreeMap<String, Vec<SimBoard>>> = BTreeMap::new();
        for (id, board) in &mut rewritten.boards {
            let sim = SimBoard::start(clock.clone(), ids.clone(), spec(board, speed)).await?;
            if is_switched(board) {
                let pdu = board.power.host.clone().unwrap_or_else(|| NAMELESS_PDU.to_owned());
                outlets.entry(pdu).or_default().entry(outlet(board)).or_default().push(sim.clone());
            }
            board.console.kind = if sim_is_raw(board) { ConsoleKind::Tcp } else { ConsoleKind::Telnet };
            board.console.host = sim.addr().ip().to_string();
            board.console.port = sim.addr().port();
            board.console.settle = Duration::ZERO;
            boards.insert(id.clone(), sim);
        }
        let mut pdus = BTreeMap::new();
        for (name, outlets) in outlets {
            pdus.insert(name, SimPdu::start(clock.clone(), outlets).await?);
        }
        for board in rewritten.boards.values_mut() {
            if !is_switched(board) {
                board.power.driver = PowerDriver::None;
                continue;
            }
            let pdu = &pdus[board.power.host.as_deref().unwrap_or(NAMELESS_PDU)];
            board.power.outlet = Some(outlet(board));
            board.power.host = Some(pdu.addr().to_string());
            board.power.driver = PowerDriver::Simulated;
            if speed != Speed::Real {
                board.power.off_for = speed.scaled(board.power.off_for);
            }
        }
        Ok((SimLab { boards, pdus }, rewritten))
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
