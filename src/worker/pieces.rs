//! Files of attempts that come in pieces from workers: consoles as they go on, and what steps kept. A piece that comes twice
//! changes nothing, and none reaches outside its attempt's folder or beyond its bound.

use std::collections::HashMap;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::wire::Piece;
use crate::board::is_name;

/// Largest file of an attempt that is taken from a worker.
pub const FILE_BYTES_MAX: u64 = 320 << 20;
/// Most bytes of all files of one attempt.
pub const ATTEMPT_BYTES_MAX: u64 = 2 << 30;
/// Most files of one attempt.
pub const FILES_MAX: usize = 256;
/// Most files whose beginnings are remembered; beyond it all are forgotten, which costs a file its last beginning at most.
const REMEMBERED_MAX: usize = 20_000;

/// Why a piece is not taken.
#[derive(Debug, thiserror::Error)]
pub enum PieceError {
    /// No file of an attempt has such a name.
    #[error("a file's name is of letters, digits, '.', '_' and '-'")]
    Name,
    /// The file, or the number of files, is too large.
    #[error("the files of this attempt are too large, or too many")]
    TooLarge,
    /// The disk did not take it.
    #[error("the disk: {0}")]
    Disk(#[from] io::Error),
}

/// Takes pieces. Cheap to clone; clones share what is remembered.
#[derive(Clone, Default)]
pub struct Pieces(Arc<Mutex<HashMap<PathBuf, i64>>>);

impl Pieces {
    /// Puts a piece in its place; gives how many bytes of the file are here.
    pub async fn take(&self, dir: &Path, piece: &Piece, data: &[u8]) -> Result<u64, PieceError> {
        if !is_name(&piece.name) || piece.name.starts_with('.') {
            return Err(PieceError::Name);
        }
        if piece.from.saturating_add(data.len() as u64) > FILE_BYTES_MAX {
            return Err(PieceError::TooLarge);
        }
        let path = dir.join(&piece.name);
        let anew = match self.is_of(&path, piece.begun, piece.from) {
            Some(anew) => anew,
            // Of a file that gave way to a later one.
            None => return Ok(piece.from + data.len() as u64),
        };
        let (dir, from, data) = (dir.to_owned(), piece.from, data.to_owned());
        let written = tokio::task::spawn_blocking(move || write(&dir, &path, anew, from, &data)).await;
        written.map_err(io::Error::other)?
    }

    /// Whether a piece begins its file anew; `None` where a later file of that name has begun.
    fn is_of(&self, path: &Path, begun: i64, from: u64) -> Option<bool> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        match known.get(path).copied() {
            Some(before) if before > begun => None,
            Some(before) if before == begun => Some(false),
            // Which one stands there is not known after a restart: what goes on goes on.
            before => {
                known.insert(path.to_owned(), begun);
                Some(before.is_some() || from == 0)
            }
        }
    }
}

fn write(dir: &Path, path: &Path, anew: bool, from: u64, data: &[u8]) -> Result<u64, PieceError> {
    std::fs::create_dir_all(dir)?;
    let (mut files, mut bytes) = (0, from + data.len() as u64);
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.path() != path {
            files += 1;
            bytes += entry.metadata()?.len();
        }
    }
    if files >= FILES_MAX || bytes > ATTEMPT_BYTES_MAX {
        return Err(PieceError::TooLarge);
    }
    let mut file =
        std::fs::OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(path)?;
    if anew {
        file.set_len(0)?;
    }
    let there = file.metadata()?.len();
    // What came before is missing here: whoever sends goes back to where it ends.
    if from > there {
        return Ok(there);
    }
    file.seek(SeekFrom::Start(from))?;
    file.write_all(data)?;
    Ok(there.max(from + data.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::BoardId;
    use crate::clock::Timestamp;
    use crate::id::{Ids, InstanceId, LeaseId};

    fn piece(name: &str, begun: i64, from: u64) -> Piece {
        let ids = Ids::seeded(1);
        Piece {
            instance: InstanceId::new(&ids, Timestamp::default()),
            lease: LeaseId::new(&ids, Timestamp::default()),
            fence: 1,
            board: BoardId::new("a"),
            name: name.to_owned(),
            begun,
            from,
        }
    }

    #[tokio::test]
    async fn pieces_come_together_whatever_comes_twice_or_late() {
        let dir = tempfile::tempdir().expect("a folder");
        let dir = dir.path().join("1").join("1");
        let pieces = Pieces::default();
        let take = async |begun, from, data: &str| {
            pieces.take(&dir, &piece("console.raw", begun, from), data.as_bytes()).await.expect("taken")
        };
        let there = || std::fs::read_to_string(dir.join("console.raw")).expect("a file");
        assert_eq!(take(5, 0, "boot ").await, 5);
        assert_eq!(take(5, 5, "login").await, 10);
        assert_eq!((take(5, 0, "boot ").await, there()), (10, "boot login".to_owned()), "it came twice");
        assert_eq!((take(5, 12, "late").await, there().len()), (10, 10), "what is between is missing");
        assert_eq!((take(7, 0, "again").await, there()), (5, "again".to_owned()), "it was dialled again");
        assert_eq!((take(5, 10, ": ").await, there()), (12, "again".to_owned()), "of the one before");
        let after_a_restart = Pieces::default();
        let on = after_a_restart.take(&dir, &piece("console.raw", 7, 5), b"!").await.expect("taken");
        assert_eq!((on, there()), (6, "again!".to_owned()));
    }

    #[tokio::test]
    async fn no_piece_leads_out_of_its_folder_or_beyond_its_bound() {
        let dir = tempfile::tempdir().expect("a folder");
        let pieces = Pieces::default();
        for name in ["../x", "a/b", "", ".", "..", ".ssh", "a\0"] {
            let taken = pieces.take(dir.path(), &piece(name, 1, 0), b"x").await;
            assert!(matches!(taken, Err(PieceError::Name)), "{name:?}");
        }
        let far = pieces.take(dir.path(), &piece("a", 1, FILE_BYTES_MAX), b"x").await;
        assert!(matches!(far, Err(PieceError::TooLarge)));
        assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 0);
        // All files of an attempt together; these have no bytes on the disk.
        for n in 0..7 {
            let file = std::fs::File::create(dir.path().join(format!("f{n}"))).expect("a file");
            file.set_len(FILE_BYTES_MAX).expect("a length");
        }
        let full = pieces.take(dir.path(), &piece("a", 1, 0), b"x").await;
        assert!(matches!(full, Err(PieceError::TooLarge)));
        std::fs::remove_file(dir.path().join("f0")).expect("removed");
        assert_eq!(pieces.take(dir.path(), &piece("a", 1, 0), b"x").await.expect("there is room"), 1);
    }
}
