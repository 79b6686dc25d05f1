//! `boardhand check --connect`: dials every console and reads every outlet, and says in one line a board what answered,
//! how long it took, what is wrong and what to do. Logs in where the board has power. Switches nothing. A board that
//! somebody has is not touched.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};

use super::borrow::{Lender, NotLent};
use crate::board::{Board, BoardId, ConsoleKind, Inventory, PowerDriver};
use crate::clock::Clock;
use crate::console::{self, ConsoleError, ConsoleTarget, LoginFailure, Transcript, WatchList};
use crate::id::Ids;
use crate::lease::Grip;
use crate::power::{Outlet, Power, PowerError};

/// Most boards that are looked at at once.
pub(super) const AT_ONCE_MAX: usize = 32;
/// How long a login may take: no board is booted for it.
const LOGIN_WITHIN: Duration = Duration::from_secs(20);
/// How long reading an outlet may take, with its turn at the PDU.
const POWER_WITHIN: Duration = Duration::from_secs(60);
/// How much of a board's words a line shows, in characters.
const SAID_CHARS_MAX: usize = 80;

/// What was found of one board.
struct Finding {
    board: BoardId,
    verdict: Verdict,
    /// What answered, and how long it took.
    seen: Vec<String>,
    /// What is wrong, and what to do.
    wrong: Vec<String>,
}

/// What a line begins with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Wrong,
    Skipped,
}

/// One check of a lab.
struct Check<'a> {
    inventory: &'a Inventory,
    lender: Lender,
    power: Power,
    clock: Clock,
    ids: Ids,
    /// Where what the boards say is kept while they are looked at.
    scratch: PathBuf,
}

/// Looks at every board; gives whether nothing is wrong.
pub(super) async fn connect(inventory: &Inventory, data_dir: &Path) -> anyhow::Result<bool> {
    let (clock, ids) = (Clock::system(), Ids::system());
    let boards: Vec<BoardId> = inventory.boards.keys().cloned().collect();
    let lender = Lender::find(data_dir, &boards, &clock, &ids).await?;
    let scratch = std::env::temp_dir().join(format!("boardhand-check-{}", hex::encode(ids.bytes::<8>())));
    std::fs::create_dir(&scratch)?;
    let check = Check { inventory, lender, power: Power::new(clock.clone()), clock, ids, scratch };
    let told = tokio::select! {
        told = check.all() => told,
        _ = tokio::signal::ctrl_c() => {
            sayln!("interrupted");
            false
        }
    };
    // Left behind, it is a few small files in the temporary folder.
    let _ = std::fs::remove_dir_all(&check.scratch);
    check.lender.close().await;
    Ok(told)
}

impl Check<'_> {
    /// Every board, in the order of their names, each line as soon as those before it are done.
    async fn all(&self) -> bool {
        let total = self.inventory.boards.len();
        let width = self.inventory.boards.keys().map(|id| id.as_str().len()).max().unwrap_or(0);
        let mut progress = Progress::new(total);
        let mut counts = [0_usize; 3];
        let mut findings =
            stream::iter(self.inventory.boards.values()).map(|board| self.board(board)).buffered(AT_ONCE_MAX);
        progress.show();
        while let Some(finding) = findings.next().await {
            counts[finding.verdict as usize] += 1;
            progress.line(&finding.line(width));
        }
        progress.end();
        let [ok, wrong, skipped] = counts;
        let skipped = if skipped > 0 { format!(", {skipped} not looked at") } else { String::new() };
        sayln!("{ok} of {total} boards answer as they should, {wrong} do not{skipped}");
        wrong == 0
    }

    /// One board, under a lease of its own.
    async fn board(&self, board: &Board) -> Finding {
        let mut finding =
            Finding { board: board.id.clone(), verdict: Verdict::Ok, seen: vec![], wrong: vec![] };
        if self.inventory.is_remote(board) {
            return finding.skipped(format!("the worker of {} drives it, not this machine", board.site));
        }
        let mut borrowed = match self.lender.borrow(&board.id).await {
            Ok(borrowed) => borrowed,
            Err(NotLent::Held(who)) => return finding.skipped(format!("{who} has it")),
            Err(NotLent::Failed(reason)) => {
                finding.wrong(format!("no lease: {reason}"), "");
                return finding;
            }
        };
        let grip = borrowed.grip.clone();
        let looking = async {
            let outlet = self.power(board, &mut finding).await;
            self.relays(board, &mut finding).await;
            self.console(board, grip, outlet, &mut finding).await;
        };
        let taken_back = tokio::select! {
            () = Box::pin(looking) => false,
            () = borrowed.taken_back() => true,
        };
        if taken_back {
            finding.wrong("the server took the board back while it was looked at".into(), "try again");
        }
        self.lender.give_back(borrowed).await;
        finding
    }

    /// Reads the outlet. Gives its state where it is known.
    async fn power(&self, board: &Board, finding: &mut Finding) -> Option<Outlet> {
        if !board.power.has_switch() {
            finding.seen.push(match board.power.host {
                Some(_) => "its PDU has no driver in boards.yaml".to_owned(),
                None => "no power switch".to_owned(),
            });
            return None;
        }
        let began = self.clock.monotonic();
        let status = self.clock.timeout(POWER_WITHIN, self.power.status(board)).await;
        let took = seconds(self.clock.monotonic().since(began));
        match status {
            Ok(Ok(outlet)) => {
                finding.seen.push(format!("power {} ({took})", outlet.as_str()));
                Some(outlet)
            }
            Ok(Err(PowerError::NoReading(_))) => {
                finding.seen.push("its switch cannot be read".to_owned());
                None
            }
            Ok(Err(error)) => {
                let advice = match board.power.driver {
                    PowerDriver::Simulated => {
                        "`simulated` is no real switch: docs/power.md has a line for each kind"
                    }
                    _ => "check pdu_host, pdu_outlet and the driver's credentials; docs/power.md",
                };
                // Nothing was told to do anything here.
                let problem = match error {
                    PowerError::Unreachable { problem, .. } => format!("cannot be read: {problem}"),
                    other => other.to_string(),
                };
                finding.wrong(format!("power: {problem} ({took})"), advice);
                None
            }
            Err(_) => {
                finding.wrong(format!("power: no answer ({took})"), "is the PDU reached from here?");
                None
            }
        }
    }

    /// Reads the relays.
    async fn relays(&self, board: &Board, finding: &mut Finding) {
        for name in board.power.relays.keys() {
            let began = self.clock.monotonic();
            let status = self.clock.timeout(POWER_WITHIN, self.power.relay_status(board, name)).await;
            let took = seconds(self.clock.monotonic().since(began));
            match status {
                Ok(Ok(outlet)) => finding.seen.push(format!("relay {name} {} ({took})", outlet.as_str())),
                Ok(Err(PowerError::NoReading(_))) => {
                    finding.seen.push(format!("relay {name} cannot be read"));
                }
                Ok(Err(error)) => {
                    finding.wrong(
                        format!("{error} ({took})"),
                        "check its host, outlet and driver; docs/power.md",
                    );
                }
                Err(_) => {
                    finding.wrong(format!("relay {name}: no answer ({took})"), "is it reached from here?");
                }
            }
        }
    }

    /// Dials the console, and logs in unless the board is off.
    async fn console(&self, board: &Board, grip: Arc<Grip>, outlet: Option<Outlet>, finding: &mut Finding) {
        let target = ConsoleTarget::from(&board.console);
        let off = outlet == Some(Outlet::Off);
        if off && board.console.kind == ConsoleKind::Ssh {
            finding.seen.push("ssh not tried: the board is off".to_owned());
            return;
        }
        let began = self.clock.monotonic();
        let tried = self.log_in(board, grip, &target, off).await;
        let took = seconds(self.clock.monotonic().since(began));
        let address = target.address();
        match tried {
            Ok(()) if off => {
                finding.seen.push(format!("console {address} answers ({took}); off, so not logged in"))
            }
            Ok(()) => finding.seen.push(format!("console {address} logged in ({took})")),
            Err(error) => {
                let what = plain(&error.to_string());
                let news = |line: &&String| !line.trim().is_empty() && !what.contains(line.trim());
                let said = error.tail().iter().rev().find(news);
                let said = said.map_or(String::new(), |line| format!(", last: {:?}", cut(&plain(line))));
                let at = if what.contains(&address) { String::new() } else { format!(" {address}:") };
                finding.wrong(format!("console{at} {what}{said} ({took})"), advice(&error));
            }
        }
    }

    async fn log_in(
        &self,
        board: &Board,
        grip: Arc<Grip>,
        target: &ConsoleTarget,
        off: bool,
    ) -> Result<(), ConsoleError> {
        let transcript = Transcript::create(&self.scratch.join(board.id.as_str()), self.clock.now(), Some(0));
        let transcript = transcript.map_err(|source| ConsoleError::Unreachable {
            address: self.scratch.display().to_string(),
            source: Some(source),
        })?;
        let watches = WatchList::new(&[]);
        let mut session = console::dial(&self.clock, &self.ids, grip, target, watches, transcript).await?;
        let shell = &board.console;
        let done = if off {
            Ok(())
        } else {
            session.login(shell.username.as_deref(), shell.password.as_ref(), LOGIN_WITHIN).await
        };
        session.close().await;
        done
    }
}

/// What to do about a console that does not answer as it should.
fn advice(error: &ConsoleError) -> &'static str {
    match error {
        ConsoleError::Refused { .. } => "is the console server running, and is telnet_port its port?",
        ConsoleError::Unreachable { .. } => "is board_ip right, and is it reached from here?",
        ConsoleError::Busy { text } if text.contains("open failure") => {
            "the console server cannot open its device: is the cable in, and does its file name the device?"
        }
        ConsoleError::Busy { .. } => "end the other connection, or let the console server take more than one",
        ConsoleError::Silent { .. } | ConsoleError::NoOutput { .. } => SILENT,
        ConsoleError::LoginFailed { reason, .. } => match reason {
            LoginFailure::Silent => SILENT,
            LoginFailure::Incorrect => "set telnet_username and telnet_password to what the board takes",
            LoginFailure::NoUsername => "set telnet_username",
            LoginFailure::NoPassword => "set telnet_password",
            LoginFailure::AtBootloader => "the board did not boot by itself; cycle its power and look",
            LoginFailure::Panic => "cycle its power",
            LoginFailure::NoShell => PROMPTS,
            LoginFailure::Wedged => "restart the port at its console server",
        },
        ConsoleError::Timeout { .. } | ConsoleError::OutOfTime { .. } | ConsoleError::LoggedOut { .. } => {
            PROMPTS
        }
        ConsoleError::NotTaken { .. } => {
            "the console server takes nothing: does flow control hold its port, or does another client?"
        }
        ConsoleError::Closed { .. } => {
            "the console server hung up; does it have the device, and does its log say why?"
        }
        ConsoleError::Port { .. } => "set console.baud to what the console server can do, or leave it out",
        ConsoleError::Garbled { .. } => "characters get lost: set console.char_delay to 5ms or more",
        ConsoleError::Reset { .. } | ConsoleError::Watch(_) => {
            "the board restarts by itself; look at its power"
        }
        ConsoleError::Pattern(_)
        | ConsoleError::LeaseOver { .. }
        | ConsoleError::Bootloader { .. }
        | ConsoleError::Command(_)
        | ConsoleError::BootloaderLine => "",
    }
}

const SILENT: &str =
    "the port answers and the board does not: has it power, is the serial line in, is its speed right?";
const PROMPTS: &str = "do console.login and console.prompt match what the board prints?";

impl Finding {
    fn skipped(mut self, why: String) -> Finding {
        self.verdict = Verdict::Skipped;
        self.seen.push(format!("not looked at: {why}"));
        self
    }

    fn wrong(&mut self, what: String, advice: &str) {
        self.verdict = Verdict::Wrong;
        self.wrong.push(if advice.is_empty() { what } else { format!("{what}: {advice}") });
    }

    /// `soc-a-001  ok     power on (0.1 s); console 10.0.0.1:23 logged in (1.2 s)`.
    fn line(&self, width: usize) -> String {
        let word = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Wrong => "WRONG",
            Verdict::Skipped => "-",
        };
        let mut line = format!("{:width$}  {word:5}  ", self.board.as_str());
        let parts: Vec<&str> = self.wrong.iter().chain(&self.seen).map(String::as_str).collect();
        // Writing to a String cannot fail.
        let _ = write!(line, "{}", parts.join("; "));
        line
    }
}

/// How far the check is, below the lines: on a terminal only.
struct Progress {
    on: bool,
    done: usize,
    total: usize,
}

impl Progress {
    fn new(total: usize) -> Progress {
        Progress { on: std::io::stderr().is_terminal(), done: 0, total }
    }

    fn show(&self) {
        if self.on {
            eprint!("\r\x1b[K{} of {} boards", self.done, self.total);
            let _ = std::io::stderr().flush();
        }
    }

    fn line(&mut self, line: &str) {
        self.end();
        sayln!("{line}");
        self.done += 1;
        self.show();
    }

    fn end(&self) {
        if self.on {
            eprint!("\r\x1b[K");
        }
    }
}

/// What a board or a console server said, without what could drive a terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SAID_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}
