//! Power by external programs: an argument list run without a shell, judged by its exit status.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::Outlet;
use crate::clock::Clock;

/// How much of a program's output is read, and how much of its complaints.
const OUTPUT_BYTES_MAX: u64 = 4096;

/// A program that speaks to a switch.
pub(super) struct Program {
    /// The program and its arguments.
    pub(super) argv: Vec<String>,
    /// Variables that it gets beside ours.
    pub(super) environment: Vec<(&'static str, String)>,
    /// Whether its complaints are listened to.
    pub(super) complaints: bool,
    /// It is killed when this time is over.
    pub(super) within: Duration,
}

/// How a program ended.
pub(super) struct Ended {
    /// Whether its exit status is 0.
    pub(super) good: bool,
    /// The exit status in words.
    pub(super) status: String,
    /// The beginning of what it printed.
    pub(super) said: String,
    /// The beginning of what it complained of. May hold what it was given: never shown.
    pub(super) complaint: String,
}

impl Program {
    pub(super) async fn run(&self, clock: &Clock) -> Result<Ended, String> {
        let Some((program, arguments)) = self.argv.split_first() else {
            return Err("its command is empty".into());
        };
        let mut child = Command::new(program)
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(if self.complaints { Stdio::piped() } else { Stdio::null() })
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{program}: {error}"))?;
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take();
        let whole = async {
            let complaint = async {
                match stderr {
                    Some(stderr) => head(stderr).await,
                    None => Ok(String::new()),
                }
            };
            let (said, complaint) = tokio::try_join!(head(stdout), complaint)?;
            Ok::<_, std::io::Error>((child.wait().await?, said, complaint))
        };
        let ended =
            clock.timeout(self.within, whole).await.map_err(|_| format!("{program} did not end in time"))?;
        let (status, said, complaint) = ended.map_err(|error| format!("{program}: {error}"))?;
        Ok(Ended { good: status.success(), status: status.to_string(), said, complaint })
    }
}

/// The beginning of a stream. The rest is read and dropped, so that a talkative program does not block on its pipe.
async fn head(stream: impl AsyncRead + Unpin) -> std::io::Result<String> {
    let mut said = Vec::new();
    let mut head = stream.take(OUTPUT_BYTES_MAX);
    head.read_to_end(&mut said).await?;
    tokio::io::copy(head.get_mut(), &mut tokio::io::sink()).await?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// Runs the program and gives the beginning of what it printed.
pub(super) async fn run(clock: &Clock, argv: &[String], within: Duration) -> Result<String, String> {
    let program = Program { argv: argv.to_vec(), environment: Vec::new(), complaints: false, within };
    let ended = program.run(clock).await?;
    if ended.good {
        Ok(ended.said)
    } else {
        Err(format!("{} ended with {}", argv.first().map_or("", String::as_str), ended.status))
    }
}

/// The state that a status program printed: `on` or `off` as its first word.
pub(super) fn read_state(said: &str) -> Result<Outlet, String> {
    match said.split_whitespace().next().map(str::to_ascii_lowercase).as_deref() {
        Some("on" | "1") => Ok(Outlet::On),
        Some("off" | "0") => Ok(Outlet::Off),
        _ => Err("its status command prints neither on nor off".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str) -> Result<String, String> {
        let argv = ["sh", "-c", script].map(String::from);
        run(&Clock::system(), &argv, Duration::from_millis(500)).await
    }

    #[tokio::test]
    async fn a_program_is_judged_by_its_exit_status() {
        assert_eq!(sh("echo on").await, Ok("on\n".into()));
        assert!(sh("exit 3").await.is_err_and(|e| e.contains("exit status: 3")));
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_is_killed_and_one_that_floods_is_bounded() {
        assert!(sh("sleep 30").await.is_err_and(|e| e.contains("did not end in time")));
        assert_eq!(sh("yes | head -c 100000").await.map(|said| said.len()), Ok(4096));
    }

    #[test]
    fn a_status_is_its_first_word() {
        assert_eq!(read_state("ON\n"), Ok(Outlet::On));
        assert_eq!(read_state("0 watts"), Ok(Outlet::Off));
        assert!(read_state("").is_err());
    }
}
