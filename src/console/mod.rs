//! Consoles: a board's serial line, reached over the network. [`dial`](dial::dial) opens one for whoever holds the
//! board's lease, and the [`Session`] it returns logs in, runs commands and watches for trouble.
//!
//! ```text
//! socket ─▶ telnet ─▶ transcript             the record
//!                 ├─▶ clean ─▶ watch         panics and resets, on every line
//!                 ├─▶ expect                 prompts and awaited text
//!                 └─▶ printk ─▶ shell        a command's output and status
//! ```
//!
//! A [`Terminal`] is the same for a person: bytes both ways, and nothing that reads along.
//!
//! Everything but `dial`, `session`, `terminal` and `transcript` is pure: bytes in, values out, no socket and no clock.
//! Nothing here decides a verdict, and nothing else in the program opens a socket to a console.

pub mod bootloader;
pub mod boots;
pub mod builtin;
pub mod clean;
pub mod dial;
pub mod error;
pub mod expect;
pub mod line;
pub mod login;
pub mod printk;
pub mod session;
pub mod shell;
pub mod telnet;
pub mod terminal;
pub mod transcript;
pub mod watch;
mod wire;

use std::time::Duration;

pub use dial::{dial, dial_later};
pub use error::{ConsoleError, Retry};
pub use expect::{Match, Pattern};
pub use line::{Hits, Limits};
pub use login::LoginFailure;
pub use session::Session;
pub use shell::ShellResult;
pub use terminal::Terminal;
pub use transcript::Transcript;
pub use watch::{Hit, WatchList};

pub use crate::lease::InHand;

use crate::board::{ConsoleConfig, ConsoleKind};

/// Where a console listens and how it is spoken to.
#[derive(Debug, Clone)]
pub struct ConsoleTarget {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How it is spoken to.
    pub settings: ConsoleSettings,
}

/// How a console is spoken to. Patterns match at the end of the output.
#[derive(Debug, Clone)]
pub struct ConsoleSettings {
    /// What stands between us and the board.
    pub kind: ConsoleKind,
    /// The speed of the serial port, where we set it; `None` leaves a console server's port as it is.
    pub baud: Option<u32>,
    /// The serial port of this machine, such as `/dev/ttyUSB0`.
    pub device: Option<String>,
    /// Who logs in where the connection itself has to know.
    pub username: Option<String>,
    /// Regex of the login prompt.
    pub login: String,
    /// Regex of the shell's prompt.
    pub prompt: String,
    /// Regex of the boot loader's prompt.
    pub bootloader: String,
    /// What ends a line that is sent.
    pub newline: Vec<u8>,
    /// Pause after each chunk sent, for boards that drop input.
    pub char_delay: Duration,
    /// Pause after each line sent, beside that.
    pub line_delay: Duration,
    /// Bytes sent between two pauses.
    pub chunk: usize,
    /// How long to listen after connecting before the first byte is sent.
    pub settle: Duration,
    /// Whether a shell is told to keep the kernel's messages off the console.
    pub quiet_kernel: bool,
    /// How long connecting may take.
    pub connect_within: Duration,
    /// Terminal type told to a telnet server that asks.
    pub ttype: String,
}

impl Default for ConsoleSettings {
    fn default() -> Self {
        ConsoleSettings {
            kind: ConsoleKind::Telnet,
            baud: None,
            device: None,
            username: None,
            login: "login: ?$".into(),
            prompt: "[#$] $".into(),
            bootloader: "(^=> |U-Boot> |barebox@.*[:$#] |grub> |Shell> )$".into(),
            // Every endpoint and boot loader takes a lone carriage return; CR LF is two Enters to some.
            newline: b"\r".to_vec(),
            char_delay: Duration::ZERO,
            line_delay: Duration::ZERO,
            chunk: 1,
            settle: Duration::from_secs(2),
            quiet_kernel: true,
            connect_within: Duration::from_secs(10),
            // With `dumb`, shells scroll long lines sideways.
            ttype: "vt100".into(),
        }
    }
}

impl ConsoleTarget {
    /// Where it is, for people: `10.0.0.1:23`, or the device.
    pub fn address(&self) -> String {
        match &self.settings.device {
            Some(device) if self.settings.kind == ConsoleKind::Serial => device.clone(),
            Some(_) | None => format!("{}:{}", self.host, self.port),
        }
    }
}

impl From<&ConsoleConfig> for ConsoleTarget {
    fn from(config: &ConsoleConfig) -> Self {
        let settings = ConsoleSettings {
            kind: config.kind,
            baud: config.baud,
            device: config.device.clone(),
            username: config.username.clone(),
            login: config.login.clone(),
            prompt: config.prompt.clone(),
            bootloader: config.bootloader.clone(),
            newline: config.newline.clone().into_bytes(),
            char_delay: config.char_delay,
            line_delay: config.line_delay,
            quiet_kernel: config.quiet_kernel,
            settle: config.settle,
            ..ConsoleSettings::default()
        };
        ConsoleTarget { host: config.host.clone(), port: config.port, settings }
    }
}
