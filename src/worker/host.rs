//! Programs beside the board (`host` steps): run without a shell, with nothing of our own environment, in a process
//! group of their own that dies with whoever waits for them. Which programs may run is the lab file's to say.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};

use crate::clock::Clock;
use crate::console::clean::Liner;

/// Where a program finds others.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long what a program left running may hold its output open after it ended.
const DRAIN: Duration = Duration::from_millis(200);
/// Most bytes of a program's output that the transcript keeps.
const SAID_BYTES_MAX: usize = 64 * 1024;
/// Bytes read at once.
const READ_BYTES_MAX: usize = 8 * 1024;

/// Kills a program and everything that it started.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // Nothing of it may be left, and then there is nothing to kill.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// Runs a program to its end and tells each cleaned line that it prints, complaints among them. Dropping this kills
/// it, with all that it started.
pub(super) async fn run(
    clock: &Clock,
    path: &str,
    arguments: &[String],
    on_line: &mut (dyn FnMut(&str) + Send),
) -> io::Result<ExitStatus> {
    let (output, mut child) = spawn(path, arguments)?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let _group = Group(pid);
    let mut output = Output { pipe: output, liner: Liner::default(), buffer: vec![0; READ_BYTES_MAX] };
    let status = loop {
        tokio::select! {
            biased;
            more = output.read(on_line) => if !more {
                break child.wait().await?;
            },
            status = child.wait() => {
                let rest = async { while output.read(on_line).await {} };
                let _ = clock.timeout(DRAIN, rest).await;
                break status?;
            }
        }
    };
    let open = output.liner.open();
    if !open.trim().is_empty() {
        on_line(&open);
    }
    Ok(status)
}

/// One pipe takes all that it says, so that the order is as it was.
fn spawn(path: &str, arguments: &[String]) -> io::Result<(Receiver, Child)> {
    let (output, input) = io::pipe()?;
    let child = Command::new(path)
        .args(arguments)
        .env_clear()
        .env("PATH", SEARCH_PATH)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(input.try_clone()?)
        .stderr(input)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    Ok((Receiver::from_owned_fd(OwnedFd::from(output))?, child))
}

/// What a program prints.
struct Output {
    pipe: Receiver,
    liner: Liner,
    buffer: Vec<u8>,
}

impl Output {
    /// Reads once; false at the end.
    async fn read(&mut self, on_line: &mut (dyn FnMut(&str) + Send)) -> bool {
        match self.pipe.read(&mut self.buffer).await {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.liner.feed(&self.buffer[..count], &mut |line| on_line(line));
                true
            }
        }
    }
}

/// What a program said, as the transcript keeps it: the beginning, and how much was left out.
pub(super) struct Said {
    name: String,
    lines: Vec<String>,
    bytes: usize,
    left_out: usize,
}

impl Said {
    pub(super) fn by(name: &str) -> Said {
        Said { name: name.to_owned(), lines: Vec::new(), bytes: 0, left_out: 0 }
    }

    /// Adds a line, while there is room.
    pub(super) fn push(&mut self, line: &str) {
        let line = format!("<{}> {line}", self.name);
        if self.bytes + line.len() > SAID_BYTES_MAX {
            self.left_out += 1;
            return;
        }
        self.bytes += line.len();
        self.lines.push(line);
    }

    /// The lines to keep.
    pub(super) fn into_lines(mut self) -> Vec<String> {
        if self.left_out > 0 {
            self.lines.push(format!("<{}> … {} more lines", self.name, self.left_out));
        }
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_talkative_program_is_bounded_and_says_so() {
        let mut said = Said::by("uuu");
        for _ in 0..SAID_BYTES_MAX {
            said.push("0123456789");
        }
        let lines = said.into_lines();
        assert!(lines.iter().map(String::len).sum::<usize>() <= SAID_BYTES_MAX + 100);
        let kept = lines.len() - 1;
        assert_eq!(lines[kept], format!("<uuu> … {} more lines", SAID_BYTES_MAX - kept));
    }

    async fn sh(script: &str) -> (io::Result<ExitStatus>, Vec<String>) {
        let mut lines = Vec::new();
        let arguments = ["-c", script].map(String::from);
        let clock = Clock::system();
        let ran = run(&clock, "/bin/sh", &arguments, &mut |line| lines.push(line.to_owned())).await;
        (ran, lines)
    }

    #[tokio::test]
    async fn what_a_program_says_is_told_in_its_order_with_its_status() {
        let (ran, lines) = sh("echo one; echo two >&2; printf three; exit 3").await;
        assert_eq!((ran.expect("it ran").code(), lines.join(" ").as_str()), (Some(3), "one two three"));
    }

    #[tokio::test]
    async fn nothing_of_our_environment_is_its() {
        let (_, lines) = sh("/usr/bin/env").await;
        assert!(lines.iter().any(|line| line.starts_with("PATH=/usr/local/sbin")), "{lines:?}");
        assert!(!lines.iter().any(|line| line.contains("CARGO")), "{lines:?}");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_told() {
        let missing = run(&Clock::system(), "/no/such/program", &[], &mut |_| {}).await;
        assert_eq!(missing.expect_err("none").kind(), io::ErrorKind::NotFound);
    }

    /// Whether a process is there and no mere leftover.
    fn lives(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    }

    #[tokio::test]
    async fn all_that_it_started_dies_with_whoever_waits_for_it() {
        for script in ["sleep 300 & echo $!; exit 0", "sleep 300 & echo $!; wait"] {
            let mut pid = String::new();
            let (arguments, clock) = (["-c", script].map(String::from), Clock::system());
            let mut keep = |line: &str| line.clone_into(&mut pid);
            let running = Box::pin(run(&clock, "/bin/sh", &arguments, &mut keep));
            drop(clock.timeout(Duration::from_secs(2), running).await);
            assert!(!pid.is_empty());
            let gone = async {
                while lives(&pid) {
                    clock.sleep(Duration::from_millis(5)).await;
                }
            };
            clock.timeout(Duration::from_secs(5), gone).await.expect("it died");
        }
    }
}
