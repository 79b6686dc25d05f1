//! Whose turn it is at a database: each server leaves its mark there, and takes it away when it ends in order. One that
//! finds another's mark takes nothing over before whoever left it has let go of its boards, cut off or not.
//!
//! A server that comes to the data folder of the one before need not wait: the folder's lock is its own now, so that one
//! is dead. Its folder says so with the same mark, unless the folder was copied or the machine was another.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::link::{self, Connection};
use super::super::row::{Reader, statements, unavailable};
use super::standby;
use crate::clock::Clock;
use crate::store::Result;

/// For how long after the begin of its last write a server drives boards.
pub const TRUSTED_FOR: Duration = Duration::from_secs(15);
/// How long after it got the lock a server waits for one before it that may be alive.
pub const LET_GO_AFTER: Duration = Duration::from_secs(20);
/// The name in `meta` of the mark of the server that came last.
const SERVER: &str = "server";
/// The file in the data folder that has the mark of the server that was there last.
const TURN_FILE: &str = "boardhand.turn";
/// Which start of this machine it is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

statements! {
    MARK_WRITE = "INSERT INTO meta (name, value)
        VALUES ($1, $2)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    MARK_READ = "SELECT name, value FROM meta WHERE name = $1";
    FAREWELL = "DELETE FROM meta WHERE name IN ('server', 'beat')";
}

/// The data folder of a server, which it has locked.
pub(super) struct Folder {
    file: PathBuf,
    /// What tells this folder from a copy of it, where that can be told.
    place: Option<String>,
}

impl Folder {
    /// A folder whose lock is held.
    pub(super) fn locked(dir: &Path, lock: &File) -> Self {
        let boot = std::fs::read_to_string(BOOT_ID).ok().map(|id| id.trim().to_owned());
        let place = boot.and_then(|boot| {
            let lock = lock.metadata().ok()?;
            Some(format!("{boot} {}:{}", lock.dev(), lock.ino()))
        });
        Folder { file: dir.join(TURN_FILE), place }
    }

    /// Whether whoever left this mark was a process on this folder, and so is dead.
    fn was_of(&self, mark: &str) -> bool {
        let Some(place) = &self.place else { return false };
        std::fs::read_to_string(&self.file).is_ok_and(|turn| turn == format!("{mark} {place}"))
    }

    /// From now on it is the folder of this server. Where that cannot be written, the next one waits.
    fn note(&self, mark: &str) {
        let Some(place) = &self.place else { return };
        if let Err(error) = std::fs::write(&self.file, format!("{mark} {place}")) {
            tracing::warn!(%error, "the next start has to wait: {} cannot be written", self.file.display());
        }
    }
}

/// Leaves this server's mark, once whoever had the database before has let go of its boards. `waited` says that this is
/// so already.
pub(super) async fn take(
    connection: &mut Connection,
    mark: &str,
    folder: Option<&Folder>,
    waited: bool,
) -> Result<()> {
    let before = mark_read(&mut *connection).await?;
    let is_dead = |before: &str| folder.is_some_and(|folder| folder.was_of(before));
    if before.is_some_and(|before| !waited && !is_dead(&before)) {
        tracing::info!(
            seconds = LET_GO_AFTER.as_secs(),
            "the server before did not end in order: waiting until it has let go of its boards for certain"
        );
        Clock::system().sleep(LET_GO_AFTER).await;
    }
    // First here, and then there: whoever dies in between leaves two that differ, and the next one waits.
    if let Some(folder) = folder {
        folder.note(mark);
    }
    // The word of one that stood by is nobody's any more.
    link::query(standby::BEAT_END).execute(&mut *connection).await.map_err(unavailable)?;
    link::query(MARK_WRITE).bind(SERVER).bind(mark).execute(connection).await.map(drop).map_err(unavailable)
}

/// The mark of the server that came last.
pub(super) async fn mark_read(connection: &mut Connection) -> Result<Option<String>> {
    let row = link::query(MARK_READ).bind(SERVER).fetch_optional(connection).await.map_err(unavailable)?;
    row.map(|row| Ok(Reader::new(&row, "meta", "name").text("value")?.to_owned())).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_had_this_very_folder_is_dead_and_whoever_had_a_copy_may_be_alive() {
        let folder = |dir: &Path| {
            let lock = File::create(dir.join("boardhand.lock")).expect("a lock");
            Folder::locked(dir, &lock)
        };
        let [home, copy] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let here = folder(home.path());
        assert!(here.place.is_some() && !here.was_of("one"), "nobody was here");
        here.note("one");
        assert!(here.was_of("one") && !here.was_of("two"));
        let there = folder(copy.path());
        std::fs::copy(&here.file, &there.file).expect("copied");
        assert!(!there.was_of("one"));
        here.note("two");
        assert!(here.was_of("two") && !here.was_of("one"));
        let unknown = Folder { file: here.file.clone(), place: None };
        assert!(!unknown.was_of("two"), "where it cannot be told, it is waited");
        assert!(TRUSTED_FOR < LET_GO_AFTER && super::standby::GIVE_UP_AFTER < LET_GO_AFTER);
    }
}
