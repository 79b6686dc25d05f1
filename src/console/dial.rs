//! Opening a console: the only place that connects to one, and only with a lease in hand. What is said over the
//! connection is the session's.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serial2_tokio::SerialPort;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::line::Line;
use super::wire::{Remote, Wire};
use super::{ConsoleError, ConsoleTarget, InHand, Session, Transcript, WatchList};
use crate::board::ConsoleKind;
use crate::clock::Clock;
use crate::id::Ids;

/// Silence on the network after which the kernel asks whether the console server is still there, and between asks.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Unanswered asks after which the connection is dead.
const KEEPALIVE_ASKS_MAX: u32 = 4;
/// How long a console server has to say that it is busy, before the board is touched. Never longer than `settle`.
const LISTEN: Duration = Duration::from_millis(500);
/// The speed of a serial port that names none.
pub const BAUD_DEFAULT: u32 = 115_200;
/// The terminal that `ssh` gets: rows and columns, so wide that shells do not wrap what they echo.
const TERMINAL: (u16, u16) = (50, 500);

/// Connects to a console and listens for a moment: a busy console is found before anything is sent or switched.
/// Sends nothing but answers to telnet requests and, where the lab file says so, the offer to control the port.
///
/// A remote shell lives on the board itself, which may be off now: it is dialled once something is awaited of it.
pub async fn dial(
    clock: &Clock,
    ids: &Ids,
    in_hand: Arc<dyn InHand>,
    target: &ConsoleTarget,
    watches: Arc<WatchList>,
    transcript: Transcript,
) -> Result<Session, ConsoleError> {
    if !in_hand.trusted() {
        return Err(ConsoleError::LeaseOver { label: in_hand.label() });
    }
    if target.settings.kind == ConsoleKind::Ssh {
        return dial_later(clock, ids, in_hand, target, watches, transcript);
    }
    let wire = connect(clock, target).await?;
    let line = Line::new(clock.clone(), in_hand, target.clone(), Some(wire), watches, transcript);
    let mut session = Session::new(ids.clone(), line, target.settings.clone())?;
    session.listen(LISTEN).await?;
    Ok(session)
}

/// A session with a console that may not be there before its board has power: it is dialled once something is awaited
/// of it, and until that wait is over.
pub fn dial_later(
    clock: &Clock,
    ids: &Ids,
    in_hand: Arc<dyn InHand>,
    target: &ConsoleTarget,
    watches: Arc<WatchList>,
    transcript: Transcript,
) -> Result<Session, ConsoleError> {
    let line = Line::new(clock.clone(), in_hand, target.clone(), None, watches, transcript);
    Session::new(ids.clone(), line, target.settings.clone())
}

/// Opens the wire to a console.
pub(super) async fn connect(clock: &Clock, target: &ConsoleTarget) -> Result<Wire, ConsoleError> {
    match target.settings.kind {
        ConsoleKind::Telnet | ConsoleKind::Tcp | ConsoleKind::Rfc2217 => {
            tcp(clock, target).await.map(Wire::Tcp)
        }
        ConsoleKind::Serial => serial(target),
        ConsoleKind::Ssh => ssh(target).map(|remote| Wire::Ssh(Box::new(remote))),
    }
}

async fn tcp(clock: &Clock, target: &ConsoleTarget) -> Result<TcpStream, ConsoleError> {
    let address = target.address();
    let connecting = TcpStream::connect((target.host.as_str(), target.port));
    let stream = match clock.timeout(target.settings.connect_within, connecting).await {
        Err(_) => {
            return Err(ConsoleError::Unreachable { address, source: None });
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            return Err(ConsoleError::Refused { address });
        }
        Ok(Err(source)) => {
            return Err(ConsoleError::Unreachable { address, source: Some(source) });
        }
        Ok(Ok(stream)) => stream,
    };
    // A telnet sequence must not wait for company, and a dead console server must be noticed without a word.
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE).with_retries(KEEPALIVE_ASKS_MAX);
    stream
        .set_nodelay(true)
        .and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&keepalive))
        .map_err(|source| ConsoleError::Unreachable { address, source: Some(source) })?;
    Ok(stream)
}

/// A port of this machine, for us alone: 8N1, no flow control.
fn serial(target: &ConsoleTarget) -> Result<Wire, ConsoleError> {
    let address = target.address();
    let baud = target.settings.baud.unwrap_or(BAUD_DEFAULT);
    let opened = SerialPort::open(&address, baud).and_then(|port| {
        // Somebody else's program on the port would steal what the board says; the lock goes with the port.
        let lock = File::open(&address)?;
        lock.try_lock()?;
        Ok(Wire::Serial { port, _lock: lock })
    });
    opened.map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::ResourceBusy => {
            ConsoleError::Busy { text: format!("{address} is in use by another program") }
        }
        _ => ConsoleError::Unreachable { address, source: Some(source) },
    })
}

/// The system's `ssh` on a terminal: it asks for the password there, as a board's own login does. What it says when
/// it cannot connect stands on that terminal too.
fn ssh(target: &ConsoleTarget) -> Result<Remote, ConsoleError> {
    let unreachable = |source| ConsoleError::Unreachable { address: target.address(), source: Some(source) };
    let terminal = || {
        let (terminal, child_side) = pty_process::open()?;
        terminal.resize(pty_process::Size::new(TERMINAL.0, TERMINAL.1))?;
        Ok::<_, pty_process::Error>((terminal, child_side))
    };
    let (terminal, child_side) = terminal().map_err(io::Error::other).map_err(unreachable)?;
    let command = pty_process::Command::new("ssh").args(ssh_arguments(target)).kill_on_drop(true);
    let child = command.spawn(child_side).map_err(io::Error::other).map_err(unreachable)?;
    let (reads, writes) = terminal.into_split();
    Ok(Remote { reads, writes, child })
}

/// Everything after `ssh`. Boards are flashed anew all day and make new host keys each time, so a known key that has
/// changed is accepted; who needs more than a lab's own network offers sets a console server before its boards.
fn ssh_arguments(target: &ConsoleTarget) -> Vec<String> {
    let within = target.settings.connect_within.as_secs().max(1);
    let mut arguments: Vec<String> = ["-tt", "-e", "none", "-p"].map(String::from).to_vec();
    arguments.push(target.port.to_string());
    for option in [
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "GlobalKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
        "NumberOfPasswordPrompts=1",
        "ServerAliveInterval=15",
        "ServerAliveCountMax=3",
    ] {
        arguments.extend(["-o".to_owned(), option.to_owned()]);
    }
    arguments.extend(["-o".to_owned(), format!("ConnectTimeout={within}")]);
    if let Some(user) = &target.settings.username {
        arguments.extend(["-l".to_owned(), user.clone()]);
    }
    arguments.extend(["--".to_owned(), target.host.clone()]);
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::ConsoleSettings;

    #[test]
    fn a_hostile_host_or_user_is_an_argument_of_its_own() {
        let settings = ConsoleSettings {
            kind: ConsoleKind::Ssh,
            username: Some("-oProxyCommand=x".into()),
            ..ConsoleSettings::default()
        };
        let target = ConsoleTarget { host: "-oProxyCommand=touch /x".into(), port: 22, settings };
        let arguments = ssh_arguments(&target);
        let tail: Vec<&str> = arguments.iter().rev().take(4).rev().map(String::as_str).collect();
        assert_eq!(tail, ["-l", "-oProxyCommand=x", "--", "-oProxyCommand=touch /x"]);
    }
}
