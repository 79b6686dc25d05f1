//! Files of an attempt on their way from a worker to its server: consoles as they go on, and what steps kept. They stand on
//! the worker's disk first, so that an outage costs nothing but time; a piece that was sent before is not sent again. What
//! the worker knows to be a secret of its lab is covered on the way: the server never holds it.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::line::{Failed, Line};
use crate::id::InstanceId;
use crate::outcome::redact::Redactor;
use crate::run::LeaseRef;
use crate::worker::pieces::FILES_MAX;
use crate::worker::wire::{PIECE_BYTES_MAX, Piece};

/// Most pieces of one file that go in one round, so that no console waits for another's flood.
const ROUND_PIECES_MAX: usize = 32;

/// The files of one attempt.
pub(super) struct Files {
    dir: PathBuf,
    lease: LeaseRef,
    redactor: Arc<Redactor>,
    sent: HashMap<String, Sent>,
    /// Those that the server takes no more of.
    refused: HashSet<String>,
}

/// How far a file is sent.
#[derive(Debug, Clone, Copy, Default)]
struct Sent {
    /// Which file of that name.
    begun: i64,
    bytes: u64,
}

impl Files {
    /// Those in this folder, of the attempt under that lease; nothing is sent yet.
    pub(super) fn new(dir: PathBuf, lease: LeaseRef, redactor: Arc<Redactor>) -> Self {
        Files { dir, lease, redactor, sent: HashMap::new(), refused: HashSet::new() }
    }

    /// Sends what is new; `whole` to their very end, which nothing follows.
    pub(super) async fn send(
        &mut self,
        line: &Line,
        instance: InstanceId,
        whole: bool,
    ) -> Result<(), Failed> {
        let dir = self.dir.clone();
        let names = tokio::task::spawn_blocking(move || names(&dir)).await.unwrap_or_default();
        // What is no console stands there whole at the end; while it grows each look would find another file.
        for (name, begun, is_console) in names {
            if !(whole || is_console) || self.refused.contains(&name) {
                continue;
            }
            match self.send_file(line, instance, (&name, begun), whole).await {
                // A file that is too large, or is taken no more, keeps none of the others from its way.
                Err(Failed::Refused(problem)) => {
                    tracing::warn!(problem, file = name, "the server does not take a file of an attempt");
                    self.refused.insert(name);
                }
                sent => sent?,
            }
        }
        Ok(())
    }

    async fn send_file(
        &mut self,
        line: &Line,
        instance: InstanceId,
        (name, begun): (&str, i64),
        whole: bool,
    ) -> Result<(), Failed> {
        let mut sent = self.sent.get(name).copied().filter(|sent| sent.begun == begun);
        let mut rounds = 0;
        while whole || rounds < ROUND_PIECES_MAX {
            rounds += 1;
            let from = sent.map_or(0, |sent| sent.bytes);
            let (path, redactor) = (self.dir.join(name), self.redactor.clone());
            let read = tokio::task::spawn_blocking(move || read(&path, from, &redactor, whole)).await;
            let data = match read {
                Ok(Ok(data)) => data,
                // It gave way to another, which is looked at in the next round.
                Ok(Err(_)) | Err(_) => return Ok(()),
            };
            if data.is_empty() && sent.is_some() {
                return Ok(());
            }
            let piece = Piece {
                instance,
                lease: self.lease.id,
                fence: self.lease.fence.0,
                board: self.lease.board.clone(),
                name: name.to_owned(),
                begun,
                from,
            };
            let taken = line.piece(&piece, data).await?;
            let now = Sent { begun, bytes: taken.bytes };
            // A server that has less, since its disk was put back, is sent that again.
            sent = Some(now);
            self.sent.insert(name.to_owned(), now);
        }
        Ok(())
    }
}

/// The files of a folder, each with when it was begun and whether it is of a console.
fn names(dir: &Path) -> Vec<(String, i64, bool)> {
    let Ok(entries) = std::fs::read_dir(dir) else { return vec![] };
    let entry = |entry: io::Result<std::fs::DirEntry>| {
        let entry = entry.ok()?;
        let name = entry.file_name().into_string().ok()?;
        let (begun, is_console) = match name.rsplit_once('.') {
            Some((stem, "raw" | "idx")) if dir.join(format!("{stem}.idx")).exists() => {
                (record_began(&dir.join(format!("{stem}.idx")))?, true)
            }
            _ => {
                let modified = entry.metadata().ok()?.modified().ok()?;
                (i64::try_from(modified.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok()?, false)
            }
        };
        Some((name, begun, is_console))
    };
    let mut names: Vec<(String, i64, bool)> = entries.take(FILES_MAX).filter_map(entry).collect();
    names.sort();
    names
}

/// When a console's record was begun, as its first line says.
fn record_began(index: &Path) -> Option<i64> {
    let mut first = String::new();
    io::BufReader::new(std::fs::File::open(index).ok()?).take(64).read_line(&mut first).ok()?;
    first.strip_prefix("# ")?.trim().parse().ok()
}

/// What follows in a file, with secrets covered. What may be the beginning of one waits for what comes after it.
fn read(path: &Path, from: u64, redactor: &Redactor, whole: bool) -> io::Result<Vec<u8>> {
    let before = from.min(redactor.longest_known().saturating_sub(1) as u64);
    let mut file = std::fs::File::open(path)?;
    file.seek(SeekFrom::Start(from - before))?;
    let mut data = Vec::new();
    file.take(before + PIECE_BYTES_MAX as u64).read_to_end(&mut data)?;
    let full = data.len() as u64 == before + PIECE_BYTES_MAX as u64;
    redactor.cover(&mut data);
    let open = if whole && !full { 0 } else { redactor.open_end(&data) };
    data.truncate(data.len().saturating_sub(open).max(before as usize));
    Ok(data.split_off((before as usize).min(data.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::SecretString;

    #[test]
    fn a_secret_is_covered_wherever_a_piece_ends() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("console.raw");
        let redactor = Redactor::default();
        redactor.learn(&[SecretString::from("hunter2-hunter2")]).expect("a secret");
        let said = b"login: root\nPassword: hunter2-hunter2\n# echo hunter2-hunter2\nhunter2";
        for cut in 0..said.len() {
            std::fs::write(&path, &said[..cut]).expect("a file");
            let mut sent = read(&path, 0, &redactor, false).expect("read");
            std::fs::write(&path, said).expect("a file");
            sent.extend(read(&path, sent.len() as u64, &redactor, true).expect("read"));
            let text = String::from_utf8(sent).expect("text");
            assert_eq!(text.len(), said.len(), "{cut}");
            assert!(!text.contains("hunter2-hunter2") && text.ends_with("***\nhunter2"), "{cut}: {text}");
        }
    }
}
