//! What can go wrong on a console, each with what a person would want to see of it.

use std::time::Duration;

use crate::clock::shown_duration;

use super::login::LoginFailure;
use super::shell::ShellError;
use super::watch::Hit;

/// A console operation that did not succeed. `tail` holds the last cleaned lines; hostile text.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The console server does not run its port as the lab file wants.
    #[error("the console server {problem}")]
    Port {
        /// What it did instead.
        problem: String,
    },
    /// A pattern of the lab file is no regular expression.
    #[error(transparent)]
    Pattern(#[from] super::expect::PatternError),
    /// Nobody listens there.
    #[error("{address} refused the connection")]
    Refused {
        /// Where it was tried.
        address: String,
    },
    /// There is no way there, or no answer in time.
    #[error("{address} cannot be reached")]
    Unreachable {
        /// Where it was tried.
        address: String,
        /// Why; `None` when there was no answer in time.
        #[source]
        source: Option<std::io::Error>,
    },
    /// Somebody else holds the console, or its server cannot open it.
    #[error("the console is busy: {text}")]
    Busy {
        /// What the console server said.
        text: String,
    },
    /// Not a byte, although something was sent.
    #[error("the console stayed silent for {}", shown_duration(*.waited_for))]
    Silent {
        /// How long.
        waited_for: Duration,
        /// The last lines.
        tail: Vec<String>,
    },
    /// The connection ended.
    #[error("the console was closed")]
    Closed {
        /// The last lines.
        tail: Vec<String>,
    },
    /// The console, or its server, took nothing of what was sent for too long.
    #[error("the console took nothing of what was sent for {}", shown_duration(*.waited_for))]
    NotTaken {
        /// How long.
        waited_for: Duration,
        /// The last lines.
        tail: Vec<String>,
    },
    /// What was awaited did not come in time.
    #[error("{awaited} did not come within {}", shown_duration(*.waited_for))]
    Timeout {
        /// What was awaited.
        awaited: &'static str,
        /// How long.
        waited_for: Duration,
        /// The last lines.
        tail: Vec<String>,
        /// Whether the shell answers again, so that another command can be run.
        shell_back: bool,
    },
    /// The board printed nothing for longer than the plan allows.
    #[error("the board printed nothing for {}", shown_duration(*.silent_for))]
    NoOutput {
        /// How long.
        silent_for: Duration,
        /// The last lines.
        tail: Vec<String>,
    },
    /// The whole attempt has used up its time.
    #[error("the attempt has used up its time")]
    OutOfTime {
        /// The last lines.
        tail: Vec<String>,
    },
    /// A fatal watch pattern.
    #[error("{}", super::printk::unstamp(.0.line()))]
    Watch(Hit),
    /// The board started anew without being asked.
    #[error("the board started anew: {banner}")]
    Reset {
        /// The line that said so.
        banner: String,
        /// The last lines.
        tail: Vec<String>,
    },
    /// The lease may no longer be used; nothing was sent.
    #[error("the lease of {label} is over")]
    LeaseOver {
        /// Whose.
        label: String,
    },
    /// No shell could be had.
    #[error("login failed: {reason}")]
    LoginFailed {
        /// Why.
        reason: LoginFailure,
        /// The last lines.
        tail: Vec<String>,
    },
    /// No shell listens: a command ended at a login prompt, or nobody has logged in. Nothing more was sent.
    #[error("no shell listens")]
    LoggedOut {
        /// The last lines.
        tail: Vec<String>,
    },
    /// The boot loader said that it failed.
    #[error("the boot loader failed: {text}")]
    Bootloader {
        /// The line that said so.
        text: String,
        /// The last lines.
        tail: Vec<String>,
    },
    /// What came back is damaged: the command ended, and where its output began is unknown.
    #[error("the console garbled a command's output, its status was {status}")]
    Garbled {
        /// The command's exit status.
        status: i32,
        /// The last lines.
        tail: Vec<String>,
    },
    /// The command cannot be typed.
    #[error(transparent)]
    Command(#[from] ShellError),
    /// A line for the boot loader holds control characters, or is too long.
    #[error(
        "a line for the boot loader holds only printable characters, at most {BOOTLOADER_LINE_BYTES_MAX}"
    )]
    BootloaderLine,
}

/// Longest line for a boot loader (U-Boot's default is 256 to 2048, by configuration).
pub const BOOTLOADER_LINE_BYTES_MAX: usize = 1024;

/// What may help after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same again on the same console, a little later.
    Later,
    /// A new attempt, best on another board.
    OtherBoard,
    /// Nothing: the plan, the build or the lab file is at fault, or the lease is over.
    No,
}

impl ConsoleError {
    /// Whether, and how, trying again may help.
    pub fn retry(&self) -> Retry {
        use ConsoleError as E;
        match self {
            E::Busy { .. } | E::Refused { .. } => Retry::Later,
            E::Unreachable { .. } | E::Silent { .. } | E::Closed { .. } | E::LoggedOut { .. } => {
                Retry::OtherBoard
            }
            E::NotTaken { .. } => Retry::OtherBoard,
            E::NoOutput { .. } | E::Reset { .. } | E::Garbled { .. } | E::Bootloader { .. } => {
                Retry::OtherBoard
            }
            E::LoginFailed { reason, .. } => match reason {
                LoginFailure::NoUsername | LoginFailure::NoPassword | LoginFailure::Incorrect => Retry::No,
                LoginFailure::Silent
                | LoginFailure::Wedged
                | LoginFailure::AtBootloader
                | LoginFailure::NoShell => Retry::OtherBoard,
                LoginFailure::Panic => Retry::No,
            },
            E::Port { .. } | E::Pattern(_) | E::Timeout { .. } | E::OutOfTime { .. } => Retry::No,
            E::Watch(_) | E::LeaseOver { .. } | E::Command(_) | E::BootloaderLine => Retry::No,
        }
    }

    /// The last cleaned lines of the console, oldest first; hostile text.
    pub fn tail(&self) -> &[String] {
        use ConsoleError as E;
        match self {
            E::Silent { tail, .. }
            | E::Closed { tail }
            | E::Timeout { tail, .. }
            | E::NoOutput { tail, .. } => tail,
            E::NotTaken { tail, .. }
            | E::OutOfTime { tail }
            | E::Reset { tail, .. }
            | E::LoginFailed { tail, .. } => tail,
            E::LoggedOut { tail } | E::Bootloader { tail, .. } | E::Garbled { tail, .. } => tail,
            E::Watch(hit) => &hit.trace,
            E::Busy { text } => std::slice::from_ref(text),
            E::Port { .. } | E::Pattern(_) | E::Refused { .. } | E::Unreachable { .. } => &[],
            E::LeaseOver { .. } | E::Command(_) | E::BootloaderLine => &[],
        }
    }
}
