//! `boardhand console BOARD`: sits at the console of a board through the server. Where standard input is a terminal every key
//! goes to the board, Ctrl-C too, and Ctrl-] is the way out; otherwise what is read is typed as it is, and the command ends
//! once the board has had its say.
//!
//! Ends with 0 when whoever typed has left, 2 when there is no place, 3 when the board or the server went away.

use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::run::Server;
use crate::clock::Clock;
use crate::config;
use crate::net::ws::{Gone, Received, WebSocket};

/// Ctrl-], as telnet has it.
const ESCAPE: u8 = 0x1d;
/// Bytes of standard input read at once.
const READ_BYTES: usize = 4 * 1024;
/// How long the board may take to its first word after the end of what is piped in, and its silence after its last.
const FIRST_WORD: Duration = Duration::from_secs(10);
const HAD_ITS_SAY: Duration = Duration::from_secs(1);
const HELP: &str = "Ctrl-] and . leaves, b sends a break, Ctrl-] sends itself";

/// Which console.
#[derive(Debug, Args)]
pub(super) struct ConsoleArgs {
    /// A board that you have reserved.
    board: String,
    /// Watch whoever types there, and type nothing.
    #[arg(long)]
    watch: bool,
    /// The server's address. Its token is read from BOARDHAND_TOKEN.
    #[arg(long, env = "BOARDHAND_SERVER", default_value = "http://127.0.0.1:8080", value_parser = config::public_url)]
    server: String,
}

/// Sits there.
pub(super) async fn console(args: &ConsoleArgs) -> anyhow::Result<ExitCode> {
    let board: String = form_urlencoded::byte_serialize(args.board.as_bytes()).collect();
    let path = format!("/api/v1/boards/{board}/console?watch={}", args.watch);
    let socket = match Server::of(&args.server) {
        Ok(server) => server.web_socket(&path).await,
        Err(problem) => Err(problem),
    };
    let socket = match socket {
        Ok(socket) => socket,
        Err(problem) => {
            eprintln!("boardhand: {problem}");
            return Ok(ExitCode::from(2));
        }
    };
    let is_terminal = std::io::stdin().is_terminal();
    let raw = is_terminal.then(Raw::enter).transpose()?;
    let says = Says { raw: is_terminal };
    if is_terminal {
        says.aside(&format!("{} {}; {HELP}", if args.watch { "watching" } else { "at" }, args.board));
    }
    let ended = Box::pin(sit(socket, &says)).await;
    drop(raw);
    Ok(match ended {
        Ended::Left => ExitCode::SUCCESS,
        Ended::Lost(why) => {
            eprintln!("boardhand: {why}");
            ExitCode::from(3)
        }
    })
}

/// How it ended.
enum Ended {
    Left,
    Lost(String),
}

async fn sit(mut socket: WebSocket, says: &Says) -> Ended {
    let clock = Clock::system();
    let mut typed = input();
    let mut keys = Keys { raw: says.raw, escaped: false };
    // Once nothing more comes in: when the board has had its say.
    let mut leaves_at = None;
    loop {
        let leaving = async {
            match leaves_at {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            got = socket.receive() => match got {
                Ok(Received::Binary(piece)) => {
                    if says.board(&piece).is_err() {
                        // Nobody reads any more.
                        return left(socket).await;
                    }
                    leaves_at = leaves_at.map(|_| clock.monotonic() + HAD_ITS_SAY);
                }
                Ok(Received::Text(text)) => {
                    let said: Value = serde_json::from_str(&text).unwrap_or_default();
                    says.aside(said["notice"].as_str().unwrap_or("the server says something new"));
                }
                Ok(Received::Ping | Received::Pong) => {}
                Err(Gone::Closed { reason, .. }) if !reason.is_empty() => return Ended::Lost(reason),
                Err(gone) => return Ended::Lost(gone.to_string()),
            },
            piece = typed.recv(), if leaves_at.is_none() => {
                let Some(piece) = piece else {
                    leaves_at = Some(clock.monotonic() + FIRST_WORD);
                    continue;
                };
                for deed in keys.press(&piece) {
                    let sent = match deed {
                        Deed::Type(bytes) => socket.send_binary(Bytes::from(bytes)).await,
                        Deed::Break => socket.send_text(json!({ "key": "break" }).to_string()).await,
                        Deed::Help => {
                            says.aside(HELP);
                            Ok(())
                        }
                        Deed::Leave => return left(socket).await,
                    };
                    if let Err(gone) = sent {
                        return Ended::Lost(gone.to_string());
                    }
                }
            }
            () = leaving => return left(socket).await,
        }
    }
}

async fn left(socket: WebSocket) -> Ended {
    socket.close().await;
    Ended::Left
}

/// Standard input, read on a thread of its own, which ends with the process.
fn input() -> mpsc::Receiver<Vec<u8>> {
    let (read, typed) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut buffer = [0; READ_BYTES];
        while let Ok(count @ 1..) = std::io::stdin().read(&mut buffer) {
            if read.blocking_send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    typed
}

/// What is shown.
struct Says {
    /// Whether the terminal hands on every key, and a line ends with a carriage return too.
    raw: bool,
}

impl Says {
    fn board(&self, piece: &[u8]) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        out.write_all(piece)?;
        out.flush()
    }

    fn aside(&self, words: &str) {
        if self.raw {
            eprint!("\r\n[boardhand: {words}]\r\n");
        } else {
            eprintln!("boardhand: {words}");
        }
    }
}

/// What somebody wants with their keys.
#[derive(Debug, PartialEq, Eq)]
enum Deed {
    Type(Vec<u8>),
    Break,
    Help,
    Leave,
}

/// Finds the escape key.
struct Keys {
    raw: bool,
    escaped: bool,
}

impl Keys {
    fn press(&mut self, piece: &[u8]) -> Vec<Deed> {
        if !self.raw {
            return vec![Deed::Type(piece.to_vec())];
        }
        let (mut deeds, mut plain) = (Vec::new(), Vec::new());
        for &byte in piece {
            match (std::mem::take(&mut self.escaped), byte) {
                (false, ESCAPE) => self.escaped = true,
                (false, byte) | (true, byte @ ESCAPE) => plain.push(byte),
                (true, other) => {
                    if !plain.is_empty() {
                        deeds.push(Deed::Type(std::mem::take(&mut plain)));
                    }
                    deeds.push(match other {
                        b'.' | b'q' => Deed::Leave,
                        b'b' => Deed::Break,
                        _ => Deed::Help,
                    });
                }
            }
        }
        if !plain.is_empty() {
            deeds.push(Deed::Type(plain));
        }
        deeds
    }
}

/// The terminal while it hands on every key; as it was when this is dropped.
struct Raw(Termios);

impl Raw {
    fn enter() -> anyhow::Result<Raw> {
        let before = tcgetattr(std::io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(std::io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Raw(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing put back.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pieces: &[&[u8]], expect: &[Deed]) {
        let mut keys = Keys { raw: true, escaped: false };
        let deeds: Vec<Deed> = pieces.iter().flat_map(|piece| keys.press(piece)).collect();
        assert_eq!(deeds, expect);
    }

    #[test]
    fn the_escape_key_is_found_wherever_it_comes() {
        let typed = |text: &[u8]| Deed::Type(text.to_vec());
        check(&[b"uname\r"], &[typed(b"uname\r")]);
        check(&[b"\x03", b"\x1d", b"."], &[typed(b"\x03"), Deed::Leave]);
        check(&[b"a\x1dbc\x1d?"], &[typed(b"a"), Deed::Break, typed(b"c"), Deed::Help]);
        check(&[b"\x1d\x1d", b"\x1dq"], &[typed(b"\x1d"), Deed::Leave]);
    }

    #[test]
    fn what_is_piped_in_is_typed_as_it_is() {
        let mut keys = Keys { raw: false, escaped: false };
        assert_eq!(keys.press(b"\x1d."), [Deed::Type(b"\x1d.".to_vec())]);
    }
}
