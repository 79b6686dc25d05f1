//! Boards: what the lab has, as the lab file describes it. Pure: nothing here reads a file, a clock or a socket.
//!
//! `lab_file` turns the text of boards.yaml into an [`Inventory`]; everybody else reads the inventory
//! that is in force from a [`LiveInventory`].

pub mod difference;
pub mod health;
pub mod hooks;
pub mod hosts;
pub mod inventory;
pub mod lab_file;
pub mod live;
pub mod maintenance;
pub mod mapping;
pub mod near;
pub mod groups;
pub mod people;
pub mod plan;
pub mod power;
pub mod quoting;
pub mod reach;
pub mod schedule;
pub mod selector;
pub mod volume;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

pub use inventory::Inventory;
pub use live::LiveInventory;
pub use power::{PowerConfig, PowerDriver, Rest};

/// Longest name of a board, family or site, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as it is written in boards.yaml. The caller has checked it (see [`is_name`]).
            pub fn new(name: impl Into<Arc<str>>) -> Self {
                Self(name.into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type! {
    /// A board's name, such as `soc-a-001`.
    BoardId
}
name_type! {
    /// A kind of board, such as `socA`.
    Family
}
name_type! {
    /// Where a board stands, such as `Lab Site A`.
    Site
}

/// Whether `name` may name a board or a family: 1 to [`NAME_BYTES_MAX`] of `A-Z a-z 0-9 . _ -`, starting with a
/// letter or digit, so that it stands in a command, a URL and a file name without quoting.
pub fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Longest piece of somebody's text that a message repeats, in characters.
const SHOWN_CHARS_MAX: usize = 60;

/// Somebody's text as a message shows it: quoted, escaped and cut.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{:?}", format!("{}…", &text[..end])),
        None => format!("{text:?}"),
    }
}

/// One board of the lab.
#[derive(Debug, Clone)]
pub struct Board {
    /// Its name.
    pub id: BoardId,
    /// Its kind.
    pub family: Family,
    /// Its revision within the family, such as `rev2`.
    pub revision: Option<String>,
    /// Where it stands.
    pub site: Site,
    /// Free key-value pairs that runs may ask for (`tag=ddr:8g`).
    pub tags: BTreeMap<String, String>,
    /// Who is told when it breaks: `slack:U0LEAD`.
    pub owner: Option<String>,
    /// How its console is reached.
    pub console: ConsoleConfig,
    /// How its power is switched.
    pub power: PowerConfig,
}

/// Where a console listens and how it is spoken to: the family's settings with the board's on top.
#[derive(Debug, Clone)]
pub struct ConsoleConfig {
    /// `telnet`, `tcp`, `rfc2217`, `ssh` or `serial`.
    pub kind: ConsoleKind,
    /// The speed of the serial port, where we set it (`rfc2217`, `serial`).
    pub baud: Option<u32>,
    /// The serial port of the worker's machine (`serial`).
    pub device: Option<String>,
    /// `board_ip`.
    pub host: String,
    /// `telnet_port`.
    pub port: u16,
    /// `telnet_username`.
    pub username: Option<String>,
    /// `telnet_password`. For a board of a remote site, `${NAME}` still stands in it: only the worker knows the value.
    pub password: Option<SecretString>,
    /// Regex of the login prompt, matched at the end of the output.
    pub login: String,
    /// Regex of the shell prompt, matched at the end of the output.
    pub prompt: String,
    /// Regex of the boot loader's prompt, matched at the end of the output.
    pub bootloader: String,
    /// What ends a line that we send.
    pub newline: String,
    /// Pause after each character sent, for boards that drop input.
    pub char_delay: Duration,
    /// Pause after each line sent, for boards that drop what comes while they work on it.
    pub line_delay: Duration,
    /// Whether a shell is told to keep the kernel's messages off the console.
    pub quiet_kernel: bool,
    /// How long to listen after connecting before the first byte is sent.
    pub settle: Duration,
}

/// How a console is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConsoleKind {
    /// Telnet (RFC 854).
    Telnet,
    /// Raw TCP.
    Tcp,
    /// Telnet with serial port control (RFC 2217).
    Rfc2217,
    /// A remote shell.
    Ssh,
    /// A serial port of this machine.
    Serial,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_without_quoting() {
        for good in ["soc-a-001", "socA", "rk3588_2.b", "0"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-a", "a b", "soc/a", "ä", "a;b", &"x".repeat(NAME_BYTES_MAX + 1)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
