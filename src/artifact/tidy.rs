//! Which artifacts go when they are kept only so long and may take only so much. What somebody needs stays, whatever
//! the limits say; an empty folder goes with its last file. Links are never followed, and never removed.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::clock::Timestamp;

/// Most files that one look at the folder lists; what is beyond them waits for the next look.
const FILES_MAX: usize = 200_000;
/// Deepest folder inside the artifacts that is looked into.
const DEPTH_MAX: usize = 32;
/// How long a file stays after somebody had to do with it, whatever the limits say: it may not be there as a whole yet.
pub const SETTLED_AFTER: Duration = Duration::from_secs(3600);

/// A file of the artifacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its path inside the folder.
    pub name: String,
    /// How many bytes it has.
    pub bytes: u64,
    /// When it was written or read last.
    pub used: Timestamp,
}

/// What goes, and what is left then.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// These go, the one that nobody used for longest first.
    pub gone: Vec<Stored>,
    /// How many bytes are left without them.
    pub left: u64,
}

/// Chooses what goes: what nobody used for `age`, and of the rest what nobody used for longest, until at most `bytes` are
/// left. What is needed stays.
pub fn choose(
    mut files: Vec<Stored>,
    is_needed: impl Fn(&str) -> bool,
    age: Duration,
    bytes: u64,
    now: Timestamp,
) -> Choice {
    let mut choice = Choice { gone: vec![], left: files.iter().map(|file| file.bytes).sum() };
    files.sort_by(|a, b| (a.used, &a.name).cmp(&(b.used, &b.name)));
    for file in files {
        let unused = now.since(file.used);
        let goes = unused > age || choice.left > bytes;
        if goes && unused > SETTLED_AFTER && !is_needed(&file.name) {
            choice.left -= file.bytes;
            choice.gone.push(file);
        }
    }
    choice
}

/// Every file of a folder, wherever in it.
pub(super) fn list(root: &Path) -> Vec<Stored> {
    let mut files = Vec::new();
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            // The type of the entry itself: a link is neither a folder nor a file.
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && depth < DEPTH_MAX {
                folders.push((entry.path(), depth + 1));
            } else if kind.is_file() {
                files.extend(stored(root, &entry.path()));
            }
            if files.len() >= FILES_MAX {
                return files;
            }
        }
    }
    files
}

fn stored(root: &Path, path: &Path) -> Option<Stored> {
    let data = path.symlink_metadata().ok()?;
    // A name that is no text is none that a plan can say.
    let name = path.strip_prefix(root).ok()?.to_str()?.to_owned();
    let times = [data.modified().ok(), data.accessed().ok(), data.created().ok()];
    let used = times.into_iter().flatten().max().map(timestamp)?;
    Some(Stored { name, bytes: data.len(), used })
}

/// Removes files, and the folders that they leave empty. Gives those that are gone, and what kept others. A file that
/// somebody had to do with since it was listed stays.
pub(super) fn remove(root: &Path, files: Vec<Stored>) -> (Vec<Stored>, Option<std::io::Error>) {
    let (mut gone, mut kept) = (Vec::new(), None);
    for file in files {
        let path = root.join(&file.name);
        if stored(root, &path).as_ref() != Some(&file) {
            continue;
        }
        match std::fs::remove_file(&path) {
            Ok(()) => {
                remove_empty(root, path);
                gone.push(file);
            }
            Err(error) => kept = Some(error),
        }
    }
    (gone, kept)
}

/// The folders above a path that are empty now, up to the root.
fn remove_empty(root: &Path, mut path: PathBuf) {
    while path.pop() && path != *root && std::fs::remove_dir(&path).is_ok() {}
}

fn timestamp(at: SystemTime) -> Timestamp {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// A time of the clock, as a file has it.
pub(super) fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(at.as_micros()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;
    const NOW: Timestamp = Timestamp::from_micros(1_760_000_000_000_000);

    /// Files of `(name, bytes, hours since somebody used it)`, kept for 10 days; `needed` ones are named so.
    #[track_caller]
    fn check(files: &[(&str, u64, u64)], bytes: u64, gone: &[&str], left: u64) {
        let stored = |(name, bytes, hours): &(&str, u64, u64)| Stored {
            name: (*name).to_owned(),
            bytes: *bytes,
            used: NOW - Duration::from_secs(hours * HOUR),
        };
        let files = files.iter().map(stored).collect();
        let age = Duration::from_secs(240 * HOUR);
        let choice = choose(files, |name| name.contains("needed"), age, bytes, NOW);
        let names: Vec<&str> = choice.gone.iter().map(|file| file.name.as_str()).collect();
        assert_eq!((names.as_slice(), choice.left), (gone, left));
    }

    #[test]
    fn what_nobody_used_for_longest_goes_until_the_rest_fits() {
        check(&[("a", 10, 240), ("b", 10, 241)], 100, &["b"], 10);
        check(&[("a", 60, 30), ("b", 60, 90), ("c", 60, 50)], 120, &["b"], 120);
        check(&[("a", 60, 30), ("b", 60, 90), ("c", 60, 50)], 119, &["b", "c"], 60);
    }

    #[test]
    fn what_is_needed_or_was_just_used_stays_however_much_it_is() {
        check(&[("needed/a", 60, 1000), ("b", 60, 90)], 100, &["b"], 60);
        check(&[("needed/a", 60, 1000), ("needed/b", 60, 90)], 100, &[], 120);
        check(&[("a", 60, 1), ("b", 60, 0)], 0, &[], 120);
        check(&[("a", 60, 2)], 0, &["a"], 0);
    }

    #[test]
    fn files_are_listed_wherever_they_are_and_links_are_none() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().join("artifacts");
        std::fs::create_dir_all(root.join("main/build@1")).expect("folders");
        std::fs::write(root.join("main/build@1/t"), "12345").expect("a file");
        std::fs::write(root.join("shared"), "123").expect("a file");
        std::fs::write(dir.path().join("mine"), "12").expect("a file");
        std::os::unix::fs::symlink(dir.path(), root.join("outside")).expect("a link");
        std::os::unix::fs::symlink(dir.path().join("mine"), root.join("link")).expect("a link");
        let mut files = list(&root);
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let shown: Vec<(&str, u64)> = files.iter().map(|file| (file.name.as_str(), file.bytes)).collect();
        assert_eq!(shown, [("main/build@1/t", 5), ("shared", 3)]);

        std::fs::write(root.join("shared"), "written again").expect("a file");
        let (gone, error) = remove(&root, files);
        assert_eq!(gone.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["main/build@1/t"]);
        assert!(error.is_none() && root.join("shared").exists() && !root.join("main").exists());
        assert!(dir.path().join("mine").exists() && root.join("link").exists());
    }
}
