//! The wire under a console: a TCP connection, a serial port of this machine, or a remote shell that the system's
//! `ssh` opens on a terminal of its own. Carries bytes both ways, and a break where there is hardware for one;
//! opened by [`dial`](super::dial) alone, read and written by the session's line alone.

use std::fs::File;
use std::io;

use pty_process::OwnedWritePty;
use serial2_tokio::SerialPort;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Child;

/// An open wire.
pub(super) enum Wire {
    /// A connection to a console server.
    Tcp(TcpStream),
    /// A port of this machine, and the lock that keeps other programs off it.
    Serial { port: SerialPort, _lock: File },
    /// `ssh`, which is killed with the wire.
    Ssh(Box<Remote>),
}

/// A running `ssh` and its terminal.
pub(super) struct Remote {
    pub(super) reads: pty_process::OwnedReadPty,
    pub(super) writes: OwnedWritePty,
    /// Killed when it is dropped.
    pub(super) child: Child,
}

impl Wire {
    /// Reads what is there, at least a byte; 0 once the other side has gone.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Tcp(stream) => stream.read(buffer).await,
            Wire::Serial { port, .. } => port.read(buffer).await,
            Wire::Ssh(remote) => remote.reads.read(buffer).await,
        }
    }

    /// Writes all of it.
    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Wire::Tcp(stream) => stream.write_all(bytes).await,
            Wire::Serial { port, .. } => port.write_all(bytes).await,
            Wire::Ssh(remote) => remote.writes.write_all(bytes).await,
        }
    }

    /// Starts or ends a break in hardware; `None` where the protocol above has to carry it.
    pub(super) fn set_break(&self, on: bool) -> Option<io::Result<()>> {
        match self {
            Wire::Serial { port, .. } => Some(port.set_break(on)),
            Wire::Tcp(_) | Wire::Ssh(_) => None,
        }
    }

    /// Says goodbye.
    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Wire::Tcp(stream) => stream.shutdown().await,
            Wire::Serial { .. } => Ok(()),
            Wire::Ssh(remote) => remote.child.kill().await,
        }
    }
}
