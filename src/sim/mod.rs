//! The lab without a lab: simulated boards, PDUs and a chat platform, all on loopback.
//!
//! `demo` and `serve --simulate` are built from these, and the tests drive the whole server through them, speaking as
//! a user. This is the other side of every wire: nothing here uses our console, telnet, command, store or worker
//! code, so that a mistake there cannot cancel itself out here.
//!
//! [`SimBoard`] speaks telnet and plays a board from its boot loader to a shell. [`SimPdu`] switches boards.
//! [`SimLab`] builds both from an inventory. [`slack::SimSlack`] is a workspace with people, channels and a page,
//! [`feishu::SimFeishu`] a tenant with a bot.

pub mod board;
pub mod faults;
pub mod feishu;
pub mod lab;
pub mod pdu;
pub mod slack;

mod machine;
mod script;
mod shell;
mod telnet;
mod tty;
mod web_socket;

#[cfg(test)]
mod tests;

pub use board::{ByteRecord, Counters, SimBoard, SimBoardSpec};
pub use faults::{BootStage, Faults};
pub use lab::SimLab;
pub use pdu::{PduFaults, SimPdu, Switch};

/// How fast simulated boards live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Speed {
    /// As a real board would: a boot takes some seconds.
    #[default]
    Real,
    /// Boots in moments, and then runs test programs as long as they take: for people who watch.
    Brisk,
    /// A hundred times faster, for tests; only the boot loader's countdown stays long enough to be stopped.
    Fast,
}

impl Speed {
    /// How long `real` lasts at this speed, while booting and at the shell.
    pub(crate) fn scaled(self, real: std::time::Duration) -> std::time::Duration {
        match self {
            Speed::Real => real,
            Speed::Brisk | Speed::Fast => real / 100,
        }
    }

    /// How long `real` lasts at this speed in a test program.
    pub(crate) fn scaled_test(self, real: std::time::Duration) -> std::time::Duration {
        match self {
            Speed::Real | Speed::Brisk => real,
            Speed::Fast => real / 100,
        }
    }
}
