//! `boardhand reload`: asks the running server on this data directory to read its boards.yaml again, and says what came
//! of it. Exit 0 when the file is in force, 1 when it was not taken or no server runs.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::clock::Clock;
use crate::door::control::{Answer, Ask, LINE_BYTES_MAX, SOCKET};
use crate::worker::reloader::{NAMED_MAX, Reloaded};

/// How long a server may take to take back what it lent.
const LET_GO_WITHIN: Duration = Duration::from_secs(10);

/// Asks, and prints the answer.
pub(super) async fn reload(data_dir: &Path) -> anyhow::Result<ExitCode> {
    let Some(mut server) = Server::of(data_dir).await? else {
        sayln!("no server runs on {}; it reads boards.yaml when it starts", data_dir.display());
        return Ok(ExitCode::FAILURE);
    };
    match server.ask(&Ask::Reload).await? {
        Answer::Reloaded(reloaded) => {
            say!("{}", said(&reloaded));
            Ok(if reloaded.refused.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        Answer::Failed { reason } => anyhow::bail!(reason),
        other => anyhow::bail!("the server answers something else: {other:?}"),
    }
}

/// What a reload came to, in lines.
fn said(reloaded: &Reloaded) -> String {
    if let Some(mistakes) = &reloaded.refused {
        return format!("{mistakes}\nboards.yaml was not taken, and nothing has changed\n");
    }
    let different = &reloaded.different;
    let boards = reloaded.boards;
    let mut lines = match (reloaded.same, different.is_nothing()) {
        (true, true) => "boards.yaml is the one that was in force; nothing is different\n".to_owned(),
        (true, false) => {
            "boards.yaml is the one that was in force; what its variables hold is different\n".to_owned()
        }
        (false, nothing) => {
            let told =
                format!("boards.yaml is in force: {boards} board{}", if boards == 1 { "" } else { "s" });
            told + if nothing { "; it reads otherwise and says the same\n" } else { "\n" }
        }
    };
    for (what, boards) in
        [("came", &different.added), ("left", &different.removed), ("changed", &different.changed)]
    {
        if !boards.is_empty() {
            let shown = boards.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
            let more = boards.len().saturating_sub(NAMED_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            // Writing to a String cannot fail.
            let _ = writeln!(lines, "{what}: {shown}{more}");
        }
    }
    for also in &different.also {
        let _ = writeln!(lines, "{}", also.line(NAMED_MAX));
    }
    if !reloaded.ended.is_empty() {
        let ended: Vec<String> = reloaded.ended.iter().map(|number| format!("#{number}")).collect();
        let _ = writeln!(lines, "ended, since nothing can serve them any more: {}", ended.join(", "));
    }
    lines
}

/// A connection to the server that runs on a data directory.
pub(super) struct Server(UnixStream);

impl Server {
    /// Connects; `None` when no server runs there.
    pub(super) async fn of(data_dir: &Path) -> std::io::Result<Option<Server>> {
        match UnixStream::connect(data_dir.join(SOCKET)).await {
            Ok(stream) => Ok(Some(Server(stream))),
            Err(error) if is_nobody(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks, and waits for the answer. The connection stays open, and what it holds is held.
    pub(super) async fn ask(&mut self, ask: &Ask) -> anyhow::Result<Answer> {
        self.0.write_all((serde_json::to_string(ask)? + "\n").as_bytes()).await?;
        let mut line = String::new();
        BufReader::new((&mut self.0).take(LINE_BYTES_MAX)).read_line(&mut line).await?;
        anyhow::ensure!(!line.is_empty(), "the server hung up");
        Ok(serde_json::from_str(&line)?)
    }

    /// Lets go of what the connection holds, and waits until the server has taken it back.
    pub(super) async fn let_go(mut self, clock: &Clock) {
        // A server that is gone, or too slow, takes back what it lent all the same.
        if self.0.shutdown().await.is_ok() {
            let _ = clock.timeout(LET_GO_WITHIN, self.hung_up()).await;
        }
    }

    /// Resolves when the server has closed the connection.
    pub(super) async fn hung_up(&mut self) {
        let mut nothing = [0];
        // It says nothing after its answer: whatever comes is the end.
        let _ = self.0.read(&mut nothing).await;
    }
}

/// Whether an error means that nobody listens.
fn is_nobody(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::difference::{Also, Difference, Part};

    #[test]
    fn what_came_left_and_changed_is_named_up_to_a_bound() {
        let many: Vec<String> = (0..NAMED_MAX + 2).map(|n| format!("b{n}")).collect();
        let roles = Also { part: Part::Roles, names: vec![] };
        let different = Difference { added: many, also: vec![roles], ..Difference::default() };
        let reloaded = Reloaded { boards: 12, different, ended: vec![4, 7], ..Reloaded::default() };
        assert_eq!(
            said(&reloaded),
            "boards.yaml is in force: 12 boards\ncame: b0, b1, b2, b3, b4, b5, b6, b7, b8, b9 and 2 more\n\
             roles changed\nended, since nothing can serve them any more: #4, #7\n"
        );
    }

    #[test]
    fn one_board_is_one_and_a_file_that_says_the_same_is_told_as_that() {
        let nothing = |same| Reloaded { boards: 1, same, ..Reloaded::default() };
        assert_eq!(
            said(&nothing(false)),
            "boards.yaml is in force: 1 board; it reads otherwise and says the same\n"
        );
        assert_eq!(said(&nothing(true)), "boards.yaml is the one that was in force; nothing is different\n");
        let roles = vec![Also { part: Part::Roles, names: vec![] }];
        let different = Difference { also: roles, ..Difference::default() };
        assert_eq!(
            said(&Reloaded { different, ..nothing(true) }),
            "boards.yaml is the one that was in force; what its variables hold is different\nroles changed\n"
        );
    }
}
