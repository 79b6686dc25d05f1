//! Power sequences: a board's other outlets, and the ordered switching of several of them with pauses between, such as a
//! strap that makes it start in its recovery mode. Pure; `lab_file` reads them, `crate::power` performs them.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::PowerDriver;
use crate::clock::shown_duration;

/// The state of an outlet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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

    /// The other one.
    pub fn opposite(self) -> Outlet {
        match self {
            Outlet::On => Outlet::Off,
            Outlet::Off => Outlet::On,
        }
    }
}

/// An outlet beside the one that feeds the board: a strap, a button, a second supply.
#[derive(Debug, Clone)]
pub struct Relay {
    /// The driver and its settings.
    pub driver: PowerDriver,
    /// The device.
    pub host: Option<String>,
    /// Its outlet there.
    pub outlet: Option<String>,
    /// How it stands whenever no sequence is at work.
    pub rest: Outlet,
}

/// One step of a sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SequenceStep {
    /// Switches the board's own outlet.
    Board(Outlet),
    /// Switches one of its relays.
    Relay(String, Outlet),
    /// Lets the board settle.
    Wait(Duration),
}

impl fmt::Display for SequenceStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SequenceStep::Board(outlet) => f.write_str(outlet.as_str()),
            SequenceStep::Relay(name, outlet) => write!(f, "set {name} to {}", outlet.as_str()),
            SequenceStep::Wait(pause) => write!(f, "wait {}", shown_duration(*pause)),
        }
    }
}

/// How long the pauses of a sequence are in all.
pub fn waits(steps: &[SequenceStep]) -> Duration {
    let pause = |step: &SequenceStep| match step {
        SequenceStep::Wait(pause) => *pause,
        SequenceStep::Board(_) | SequenceStep::Relay(..) => Duration::ZERO,
    };
    steps.iter().map(pause).sum()
}
