//! The console log of an attempt as a file for a chat: redacted, and bounded. Of a longer one its beginning and its end
//! are kept, where the causes and the results are, and it says how much is missing between.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::console::transcript;
use crate::door::transcript_dir;
use crate::outcome::redact::Redactor;

/// Received bytes of a console that a file holds at most: of a longer log, so many of its beginning and of its end.
pub const HEAD_BYTES_MAX: usize = 512 * 1024;
/// See [`HEAD_BYTES_MAX`].
pub const TAIL_BYTES_MAX: usize = 1536 * 1024;

/// Received bytes of a console in which its last lines are looked for.
const LINES_BYTES_MAX: usize = 64 * 1024;

/// Where the logs are.
#[derive(Clone)]
pub struct LogFiles {
    /// Folder of the transcripts.
    pub transcripts: PathBuf,
    /// Takes secrets out.
    pub redactor: Arc<Redactor>,
}

impl LogFiles {
    /// The log of an attempt; nothing where there is none (any more), or it is empty.
    pub async fn read(&self, run: i64, attempt: u32) -> Option<String> {
        let path = transcript_dir(&self.transcripts, run, attempt).join("console");
        let redactor = self.redactor.clone();
        let read = tokio::task::spawn_blocking(move || bounded(&path, &redactor)).await;
        read.ok()?.ok().filter(|text| !text.trim().is_empty())
    }

    /// The last lines of the log of an attempt; nothing where there is none (any more), or it is empty.
    pub async fn tail(&self, run: i64, attempt: u32, lines: usize) -> Option<String> {
        let path = transcript_dir(&self.transcripts, run, attempt).join("console");
        let redactor = self.redactor.clone();
        let read = tokio::task::spawn_blocking(move || last(&path, &redactor, lines)).await;
        read.ok()?.ok().filter(|text| !text.trim().is_empty())
    }

    /// What such a file is called: one name for each attempt.
    pub fn name(run: i64, attempt: u32) -> String {
        format!("run-{run}-attempt-{attempt}.log")
    }
}

fn last(path: &Path, redactor: &Redactor, lines: usize) -> io::Result<String> {
    let text = redactor.redact_whole(&transcript::render_tail(path, LINES_BYTES_MAX)?);
    let all: Vec<&str> = text.trim_end().lines().collect();
    Ok(all[all.len().saturating_sub(lines)..].join("\n"))
}

fn bounded(path: &Path, redactor: &Redactor) -> io::Result<String> {
    let head = transcript::render(path, 0, HEAD_BYTES_MAX + TAIL_BYTES_MAX)?;
    if head.at_end {
        return Ok(redactor.redact_whole(&head.text));
    }
    // Cut at the end of a line; the tail says from where on it is.
    let head = transcript::render(path, 0, HEAD_BYTES_MAX)?;
    let tail = transcript::render_tail(path, TAIL_BYTES_MAX)?;
    Ok(format!("{}\n{}", redactor.redact_whole(&head.text), redactor.redact_whole(&tail)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::console::transcript::Transcript;

    fn log(lines: usize) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("console");
        let mut transcript = Transcript::create(&path, Timestamp::default(), None).expect("a transcript");
        for n in 0..lines {
            transcript.received(format!("line {n:06} of the log\r\n").as_bytes(), Timestamp::default());
        }
        drop(transcript);
        bounded(&path, &Redactor::new(&[]).expect("rules")).expect("a log")
    }

    #[test]
    fn the_last_lines_are_whole_and_no_more_than_were_asked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("console");
        let mut transcript = Transcript::create(&path, Timestamp::default(), None).expect("a transcript");
        for n in 0..10_000 {
            transcript.received(format!("line {n:06} of the log\r\n").as_bytes(), Timestamp::default());
        }
        drop(transcript);
        let tail = last(&path, &Redactor::new(&[]).expect("rules"), 3).expect("a log");
        let lines: Vec<&str> = tail.lines().collect();
        assert!(
            lines.len() == 3 && lines[0].contains("line 009997") && lines[2].contains("line 009999"),
            "{tail}"
        );
    }

    #[test]
    fn a_long_log_keeps_its_beginning_and_its_end_and_says_what_is_missing() {
        let whole = log(100);
        assert!(
            whole.contains("line 000000") && whole.contains("line 000099") && !whole.contains("not shown")
        );
        let long = log(150_000);
        assert!(long.contains("line 000000 of") && long.contains("line 149999 of"), "head and tail");
        assert!(
            long.contains("bytes are not shown") && !long.contains("line 075000 of"),
            "and what is missing"
        );
        assert!(long.len() < 2 * (HEAD_BYTES_MAX + TAIL_BYTES_MAX));
    }
}
