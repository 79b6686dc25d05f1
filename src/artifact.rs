//! Artifacts: files of a folder on the server, or of a bucket elsewhere, that plans bring onto boards. Nothing is ever written to one, and what is
//! kept only so long is removed; beside it, files of builds that a CI told of with their sum; a name never leads out of the folder, and no file is in memory as a whole but a small one that somebody asked for whole.

pub mod bucket;
mod digest;
pub mod tidy;
mod told;

use std::fs::FileTimes;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::fs::File;
use tokio::io::AsyncReadExt;

use crate::board::hosts::HostRule;
use crate::build::told_sum;
use crate::clock::Clock;
use bucket::{Bucket, BucketSettings};
use digest::Digests;
use tidy::Stored;
use told::Told;

pub use told::{FetchError, Held, Wanted};

/// Most bytes that files of builds take, in their folder of the data folder, where no smaller limit is set.
pub const BUILD_FILES_BYTES_MAX: u64 = 100 << 30;
/// How often it is noted at a file that it is read.
const NOTED_EVERY: Duration = Duration::from_secs(3600);

/// Why there is no such artifact to be had.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The name leads out of the folder, or nowhere.
    #[error("{0:?} cannot name an artifact: it is a path inside the artifacts folder")]
    Name(String),
    /// There is no such file.
    #[error("there is no artifact {name:?} in {}", folder.display())]
    Missing {
        /// As it was asked for.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// It cannot be read.
    #[error("the artifact {name:?} cannot be read: {source}")]
    Unreadable {
        /// As it was asked for.
        name: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is larger than it may be.
    #[error("the artifact {name:?} has more than {max} bytes")]
    TooLarge {
        /// As it was asked for.
        name: String,
        /// The most.
        max: u64,
    },
}

/// The artifacts there are.
#[derive(Clone)]
pub struct Artifacts {
    folder: PathBuf,
    digests: Arc<Digests>,
    clock: Option<Clock>,
    /// Where the folder's files come from, if they do not come by themselves.
    bucket: Option<Arc<Bucket>>,
    /// Files that a CI told of with their sum.
    told: Option<Arc<Told>>,
    trouble: Arc<Mutex<Option<String>>>,
}

/// An artifact that was found, as it was then.
#[derive(Debug)]
pub struct Artifact {
    /// Its content, from its beginning.
    pub file: File,
    /// Which state of which file it is.
    pub version: Version,
}

/// One state of one file: what is written to it later is another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Where the file is.
    path: PathBuf,
    /// How many bytes it has.
    pub bytes: u64,
    /// When it was written last.
    modified: SystemTime,
}

impl Version {
    /// The version in a word, for whoever has a copy.
    pub fn tag(&self) -> String {
        let since = self.modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        format!("{:x}-{:x}", self.bytes, since.as_nanos())
    }
}

impl Artifacts {
    /// The files of a folder, which need not be there yet.
    pub fn folder(folder: impl Into<PathBuf>) -> Artifacts {
        Artifacts {
            folder: folder.into(),
            digests: Arc::default(),
            clock: None,
            bucket: None,
            told: None,
            trouble: Arc::default(),
        }
    }

    /// The objects of a bucket, which are brought to a folder in the data folder when somebody wants them, and take at most
    /// `bytes_max` bytes there.
    pub fn bucket(
        settings: &BucketSettings,
        data_dir: &Path,
        bytes_max: u64,
        clock: Clock,
    ) -> Result<Artifacts, String> {
        let here = data_dir.join("artifact-copies");
        let bucket = Bucket::new(settings, here.join("coming"), bytes_max)?;
        let bucket = Some(Arc::new(bucket));
        Ok(Artifacts { bucket, ..Artifacts::folder(here.join("whole")) }.noting(clock))
    }

    /// The same, with files of builds that a CI told of, which take at most `bytes_max` bytes in a folder of their own.
    pub fn with_builds(mut self, folder: impl Into<PathBuf>, bytes_max: u64, clock: Clock) -> Self {
        self.told = Some(Arc::new(Told::new(folder.into(), bytes_max, clock, self.digests.clone())));
        self
    }

    /// Has a file of a build here, from one of these hosts unless it is here already, until the answer is dropped. `tell`
    /// hears how far it is: bytes that are here, and all of them, 0 where nobody knows.
    pub async fn bring(
        &self,
        wanted: &Wanted,
        hosts: &[HostRule],
        tell: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Held, FetchError> {
        let told = self.told.as_ref().ok_or_else(|| FetchError::File("there is no folder for it".into()))?;
        let held = told.hold(&wanted.sha256);
        let mut file = self.told_file(told, &wanted.sha256).await;
        if file.is_none() {
            told.fetch(wanted, hosts, tell).await?;
            file = self.told_file(told, &wanted.sha256).await;
        }
        let file =
            file.ok_or_else(|| FetchError::File("it is gone, or another file stands in its place".into()))?;
        // It may have come for a build that was told of with another size.
        match wanted.size.filter(|told| *told != file.version.bytes) {
            Some(told) => Err(FetchError::Size { got: file.version.bytes, told }),
            None => Ok(held),
        }
    }

    /// A file of a build that is here and proved; it is noted that it is used.
    async fn told_file(&self, told: &Told, sha256: &str) -> Option<Artifact> {
        let (Artifact { file, version }, accessed) = told.proved(sha256).await?;
        Some(Artifact { file: self.noted(file, accessed).await, version })
    }

    /// The same, noting at each file when it was read last.
    pub fn noting(mut self, clock: Clock) -> Artifacts {
        self.clock = Some(clock);
        self
    }

    /// Finds an artifact and opens it.
    pub async fn open(&self, name: &str) -> Result<Artifact, ArtifactError> {
        if !is_inside(name) {
            return Err(ArtifactError::Name(name.to_owned()));
        }
        if let (Some(told), Some(sum)) = (&self.told, told_sum(name)) {
            let missing = || ArtifactError::Missing { name: name.to_owned(), folder: told.whole() };
            return self.told_file(told, sum).await.ok_or_else(missing);
        }
        if let (Some(bucket), Some(clock)) = (&self.bucket, &self.clock) {
            bucket.bring(&self.folder, name, clock.now()).await?;
        }
        let path = find(&self.folder, name).await?;
        let unreadable = |source| ArtifactError::Unreadable { name: name.to_owned(), source };
        let file = File::open(&path).await.map_err(unreadable)?;
        let data = file.metadata().await.map_err(unreadable)?;
        let modified = data.modified().map_err(unreadable)?;
        let file = self.noted(file, data.accessed().ok()).await;
        Ok(Artifact { file, version: Version { path, bytes: data.len(), modified } })
    }

    /// Reads an artifact whole, if it has at most `max` bytes.
    pub async fn read(&self, name: &str, max: u64) -> Result<Vec<u8>, ArtifactError> {
        let artifact = self.open(name).await?;
        let unreadable = |source| ArtifactError::Unreadable { name: name.to_owned(), source };
        let mut data = Vec::new();
        // What is appended meanwhile does not get past the bound either.
        artifact.file.take(max.saturating_add(1)).read_to_end(&mut data).await.map_err(unreadable)?;
        if data.len() as u64 > max {
            return Err(ArtifactError::TooLarge { name: name.to_owned(), max });
        }
        Ok(data)
    }

    /// Notes that a file is read now. Many file systems do that by themselves, once a day; some are told not to.
    async fn noted(&self, file: File, before: Option<SystemTime>) -> File {
        let Some(now) = self.clock.as_ref().map(|clock| tidy::system_time(clock.now())) else { return file };
        if before.is_some_and(|before| now.duration_since(before).unwrap_or_default() < NOTED_EVERY) {
            return file;
        }
        let file = file.into_std().await;
        // Somebody else's file cannot be noted at; then its file system's own note has to do.
        let _ = file.set_times(FileTimes::new().set_accessed(now));
        File::from_std(file)
    }

    /// Every file, and when somebody had to do with it last.
    pub async fn stored(&self) -> Vec<Stored> {
        let root = self.folder.clone();
        tokio::task::spawn_blocking(move || tidy::list(&root)).await.unwrap_or_default()
    }

    /// Removes files that nobody had to do with since they were listed; gives those that are gone, and what kept others.
    pub async fn remove(&self, files: Vec<Stored>) -> (Vec<Stored>, Option<std::io::Error>) {
        let root = self.folder.clone();
        tokio::task::spawn_blocking(move || tidy::remove(&root, files)).await.unwrap_or_default()
    }

    /// Says what is wrong with the artifacts, or that nothing is any more.
    pub fn tell(&self, trouble: Option<String>) {
        *self.trouble.lock().expect("nobody panics with this lock") = trouble;
    }

    /// What is wrong with the artifacts, if anything is.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().expect("nobody panics with this lock").clone()
    }

    /// The SHA-256 of a version, if somebody has asked for it before.
    pub fn known_digest(&self, version: &Version) -> Option<[u8; 32]> {
        self.digests.known(version)
    }

    /// The SHA-256 of an artifact that was just opened. Reads it whole, a piece at a time; the next one who asks does not
    /// wait for that.
    pub async fn digest(&self, artifact: Artifact) -> std::io::Result<[u8; 32]> {
        self.digests.of(artifact).await
    }
}

/// Whether a name is a path that leads down, and somewhere.
fn is_inside(name: &str) -> bool {
    let down = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    !name.is_empty() && !name.contains('\0') && down
}

/// The file of a name that leads down. Links are followed first, so that none leads out.
async fn find(folder: &Path, name: &str) -> Result<PathBuf, ArtifactError> {
    let missing = || ArtifactError::Missing { name: name.to_owned(), folder: folder.to_owned() };
    let root = tokio::fs::canonicalize(folder).await.map_err(|_| missing())?;
    let path = tokio::fs::canonicalize(root.join(name)).await.map_err(|_| missing())?;
    if !path.starts_with(&root) {
        return Err(ArtifactError::Name(name.to_owned()));
    }
    let is_file = tokio::fs::metadata(&path).await.is_ok_and(|data| data.is_file());
    if is_file { Ok(path) } else { Err(missing()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_leads_to_a_file_inside_the_folder_and_nowhere_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().join("artifacts");
        std::fs::create_dir_all(root.join("build-1")).expect("folders");
        std::fs::write(root.join("build-1/test.bin"), b"data").expect("a file");
        std::fs::write(dir.path().join("secret"), b"secret").expect("a file");
        std::os::unix::fs::symlink(dir.path().join("secret"), root.join("link")).expect("a link");
        let artifacts = Artifacts::folder(&root);
        let check = async |name: &str, expected: &str| {
            let said = match artifacts.read(name, 4).await {
                Ok(data) => String::from_utf8_lossy(&data).into_owned(),
                Err(ArtifactError::Missing { .. }) => "missing".to_owned(),
                Err(error) => error.to_string(),
            };
            assert_eq!(said, expected, "{name:?}");
        };
        let no_name = |name: &str| {
            format!("{name:?} cannot name an artifact: it is a path inside the artifacts folder")
        };
        check("build-1/test.bin", "data").await;
        check("build-1", "missing").await;
        check("build-1/other.bin", "missing").await;
        let outside = format!("{}/secret", dir.path().display());
        for name in ["", "..", "../secret", "build-1/../../secret", "./link", &outside, "link", "a\0b"] {
            check(name, &no_name(name)).await;
        }
    }

    #[tokio::test]
    async fn an_artifact_is_read_up_to_its_bound() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("a"), b"12345").expect("a file");
        let artifacts = Artifacts::folder(dir.path());
        assert_eq!(artifacts.read("a", 5).await.expect("an artifact"), b"12345");
        let refused = artifacts.read("a", 4).await.expect_err("too large").to_string();
        assert_eq!(refused, "the artifact \"a\" has more than 4 bytes");
    }

    #[tokio::test]
    async fn a_file_that_was_written_again_is_another_version_with_another_digest() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a");
        let artifacts = Artifacts::folder(dir.path());
        let digest = async |text: &str| {
            std::fs::write(&path, text).expect("a file");
            let artifact = artifacts.open("a").await.expect("an artifact");
            let version = artifact.version.clone();
            let known = artifacts.known_digest(&version);
            let digest = artifacts.digest(artifact).await.expect("a digest");
            assert_eq!(artifacts.known_digest(&version), Some(digest), "it is asked for once");
            (version.tag(), known, hex::encode(digest))
        };
        let (first, known, sum) = digest("abc").await;
        assert_eq!((known, &sum[..8]), (None, "ba7816bf"));
        let (second, known, sum) = digest("abcd").await;
        assert_eq!((known, &sum[..8]), (None, "88d4266f"));
        assert_ne!(first, second);
    }
}
