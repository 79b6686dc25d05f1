//! Files of builds that a CI told of with their SHA-256: fetched once for whoever needs them, and kept under their sum. A
//! file takes its place only when it is here whole and its sum is the one that was told; what stands there is proved again
//! after a restart. What nobody used for longest goes; what an attempt holds stays.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::sync::{OnceCell, Semaphore, watch};
use tokio::task::AbortHandle;

use super::digest::Digests;
use super::{Artifact, Version, tidy};
use crate::board::hosts::{self, Address, HostRule};
use crate::clock::Clock;
use crate::net::NetError;
use crate::net::outward::{Incoming, Outward};

/// Most files that are fetched at once, and of them from one host: a slow one leaves places to the others.
const COMING_MAX: usize = 4;
const COMING_FROM_ONE_MAX: usize = 2;
/// How often one is tried, and how long after the first time; twice as long after each more.
const TRIES_MAX: u32 = 4;
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long a host may take for its answer, and then for each piece.
const PIECE_WITHIN: Duration = Duration::from_secs(30);
/// How long a whole file may take, with the wait for a place and every try.
const FETCH_WITHIN: Duration = Duration::from_secs(3_600);
/// Most redirects of one request. Each leads to a listed host, or nowhere.
const REDIRECTS_MAX: u32 = 3;
/// In which steps room is made for a file of unknown size.
const ROOM_STEP: u64 = 64 << 20;

/// A file that is wanted, as its CI told of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// Where it is.
    pub url: String,
    /// Its SHA-256, in lower-case hex.
    pub sha256: String,
    /// How many bytes it has, where that was told.
    pub size: Option<u64>,
}

/// Why a file of a build is not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Its host, or where that sends us, is not listed.
    #[error("{0} is at no host that artifact_hosts in boards.yaml lists")]
    Unlisted(String),
    /// It sends us on for ever.
    #[error("it was redirected more than {REDIRECTS_MAX} times")]
    Redirects,
    /// No answer, or one that broke off.
    #[error("{0}")]
    Net(#[from] NetError),
    /// Another answer.
    #[error("its host answered {0}")]
    Status(u16),
    /// It ended too soon.
    #[error("{got} of {bytes} bytes came")]
    Short {
        /// What came.
        got: u64,
        /// What was announced.
        bytes: u64,
    },
    /// Another size than was told.
    #[error("it has {got} bytes, and {told} were told")]
    Size {
        /// What it has; one more than may be where nobody knows.
        got: u64,
        /// What was told.
        told: u64,
    },
    /// Another file than was told.
    #[error("its SHA-256 is {got}, and {told} was told")]
    Sum {
        /// Of what came.
        got: String,
        /// What was told.
        told: String,
    },
    /// It does not fit.
    #[error(
        "it has {0} bytes or more, and with what is in use here that is more than files of builds may take"
    )]
    NoRoom(u64),
    /// It cannot be kept.
    #[error("it cannot be kept: {0}")]
    File(String),
}

impl FetchError {
    /// Whether what came is another file than was told.
    pub fn is_another_file(&self) -> bool {
        matches!(self, FetchError::Sum { .. } | FetchError::Size { .. })
    }

    /// Whether it may go better in a while.
    pub fn passes(&self) -> bool {
        match self {
            FetchError::Net(NetError::Address(_) | NetError::TooLarge) => false,
            // A disk that is full is made room on, a folder that went away comes back.
            FetchError::Net(_) | FetchError::Short { .. } | FetchError::NoRoom(_) | FetchError::File(_) => {
                true
            }
            FetchError::Status(status) => matches!(status, 408 | 425 | 429 | 500..=599),
            _ => false,
        }
    }
}

impl From<std::io::Error> for FetchError {
    fn from(error: std::io::Error) -> Self {
        FetchError::File(error.to_string())
    }
}

/// How far a file is.
#[derive(Debug, Clone, Default)]
struct State {
    done: u64,
    bytes: u64,
    ended: Option<Result<(), FetchError>>,
}

/// A fetch that is under way. It ends when nobody waits for it any more.
struct Coming {
    state: watch::Receiver<State>,
    task: AbortHandle,
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Keeps a file where it is.
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "it is there as long as it is held")] Arc<()>);

/// A file that is not whole yet; gone with whoever writes it.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // Nothing is there any more where it took its place.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The files.
pub(super) struct Told {
    folder: PathBuf,
    digests: Arc<Digests>,
    parts: AtomicU64,
    bytes_max: u64,
    clock: Clock,
    outward: Outward,
    coming: Mutex<HashMap<Wanted, Weak<Coming>>>,
    held: Mutex<HashMap<String, Weak<()>>>,
    /// Bytes that room was made for and that did not take their place yet.
    taken: Mutex<u64>,
    /// Held by whoever makes room.
    making: tokio::sync::Mutex<()>,
    places: Semaphore,
    /// The places at each host that is asked, or waited for.
    places_at: Mutex<HashMap<String, Weak<Semaphore>>>,
    swept: OnceCell<()>,
}

impl Told {
    pub(super) fn new(folder: PathBuf, bytes_max: u64, clock: Clock, digests: Arc<Digests>) -> Told {
        Told {
            folder,
            digests,
            parts: AtomicU64::default(),
            bytes_max,
            clock,
            outward: Outward::default(),
            coming: Mutex::default(),
            held: Mutex::default(),
            taken: Mutex::default(),
            making: tokio::sync::Mutex::default(),
            places: Semaphore::new(COMING_MAX),
            places_at: Mutex::default(),
            swept: OnceCell::new(),
        }
    }

    /// Where the files stand that are whole.
    pub(super) fn whole(&self) -> PathBuf {
        self.folder.join("whole")
    }

    /// The file of a sum, and when it was read before. What was written to it since it was proved last is proved again.
    pub(super) async fn proved(&self, sha256: &str) -> Option<(Artifact, Option<SystemTime>)> {
        let path = self.whole().join(sha256);
        let (artifact, accessed) = opened(&path).await?;
        let version = artifact.version.clone();
        let digest = self.digests.of(artifact).await.ok()?;
        let (artifact, _) = opened(&path).await?;
        if hex::encode(digest) != sha256 || artifact.version != version {
            tracing::warn!(path = %path.display(), "a file of a build is not what it was when it came");
            return None;
        }
        Some((artifact, accessed))
    }

    /// Keeps a file, which need not be there yet, until the answer is dropped.
    pub(super) fn hold(&self, sha256: &str) -> Held {
        let mut held = self.held.lock().expect("nobody panics with this lock");
        held.retain(|_, holder| holder.strong_count() > 0);
        let holder = held.get(sha256).and_then(Weak::upgrade).unwrap_or_default();
        held.insert(sha256.to_owned(), Arc::downgrade(&holder));
        Held(holder)
    }

    fn taken(&self) -> MutexGuard<'_, u64> {
        self.taken.lock().expect("nobody panics with this lock")
    }

    fn is_held(&self, name: &str) -> bool {
        let held = self.held.lock().expect("nobody panics with this lock");
        held.get(name).is_some_and(|holder| holder.strong_count() > 0)
    }

    /// Fetches a file, or waits for whoever does. `tell` hears how far it is: bytes that are here, and all of them, 0
    /// where nobody knows.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        wanted: &Wanted,
        hosts: &[HostRule],
        tell: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<(), FetchError> {
        let coming = self.join(wanted, hosts);
        let mut state = coming.state.clone();
        loop {
            let State { done, bytes, ended } = state.borrow_and_update().clone();
            if let Some(ended) = ended {
                return ended;
            }
            tell(done, bytes);
            if state.changed().await.is_err() {
                return Err(FetchError::File("the fetch was given up".into()));
            }
        }
    }

    /// The fetch of a file that is under way, or one that begins.
    fn join(self: &Arc<Self>, wanted: &Wanted, hosts: &[HostRule]) -> Arc<Coming> {
        let mut all = self.coming.lock().expect("nobody panics with this lock");
        all.retain(|_, coming| coming.strong_count() > 0);
        let is_under_way = |coming: &Arc<Coming>| coming.state.borrow().ended.is_none();
        if let Some(coming) = all.get(wanted).and_then(Weak::upgrade).filter(is_under_way) {
            return coming;
        }
        let (said, state) = watch::channel(State::default());
        let (told, file, hosts) = (self.clone(), wanted.clone(), hosts.to_vec());
        let task = tokio::spawn(async move {
            let fetched = told.clock.timeout(FETCH_WITHIN, told.fetch_with_tries(&file, &hosts, &said)).await;
            let fetched = fetched.unwrap_or(Err(FetchError::Net(NetError::Timeout)));
            said.send_modify(|state| state.ended = Some(fetched));
        });
        let coming = Arc::new(Coming { state, task: task.abort_handle() });
        all.insert(wanted.clone(), Arc::downgrade(&coming));
        coming
    }

    async fn fetch_with_tries(
        &self,
        wanted: &Wanted,
        hosts: &[HostRule],
        said: &watch::Sender<State>,
    ) -> Result<(), FetchError> {
        let at_host = self.places_at(&wanted.url);
        let _place_at_host = at_host.acquire().await.map_err(|_| stops())?;
        let _place = self.places.acquire().await.map_err(|_| stops())?;
        self.swept.get_or_init(|| self.sweep()).await;
        // Whoever gave up a moment ago may have fetched it, and may still be writing.
        if self.proved(&wanted.sha256).await.is_some() {
            return Ok(());
        }
        let number = self.parts.fetch_add(1, Ordering::Relaxed);
        let part = Part(self.folder.join("coming").join(format!("{}-{number}", wanted.sha256)));
        let (mut pause, mut tries) = (AGAIN_AFTER, 1);
        loop {
            let Err(error) = self.fetch_once(wanted, hosts, &part.0, said).await else { return Ok(()) };
            // Room comes when attempts end, which takes longer than these tries.
            if tries >= TRIES_MAX || !error.passes() || matches!(error, FetchError::NoRoom(_)) {
                return Err(error);
            }
            tracing::warn!(%error, tries, "a file of a build did not come; it is tried again");
            self.clock.sleep(pause).await;
            (pause, tries) = (pause * 2, tries + 1);
        }
    }

    /// The places at the host of an address.
    fn places_at(&self, url: &str) -> Arc<Semaphore> {
        let mut all = self.places_at.lock().expect("nobody panics with this lock");
        all.retain(|_, places| places.strong_count() > 0);
        let places = all.get(&shown(url)).and_then(Weak::upgrade);
        let places = places.unwrap_or_else(|| Arc::new(Semaphore::new(COMING_FROM_ONE_MAX)));
        all.insert(shown(url), Arc::downgrade(&places));
        places
    }

    /// Removes what fetches left behind that a dying process did not end.
    async fn sweep(&self) {
        let coming = self.folder.join("coming");
        let _ = tokio::fs::remove_dir_all(&coming).await;
        for folder in [coming, self.whole()] {
            if let Err(error) = tokio::fs::create_dir_all(&folder).await {
                tracing::warn!(%error, folder = %folder.display(), "files of builds cannot be kept");
            }
        }
    }

    async fn fetch_once(
        &self,
        wanted: &Wanted,
        hosts: &[HostRule],
        part: &Path,
        said: &watch::Sender<State>,
    ) -> Result<(), FetchError> {
        let mut answer = self.answer(&wanted.url, hosts).await?;
        let announced = answer.bytes();
        if let (Some(told), Some(got)) = (wanted.size, announced.filter(|got| Some(*got) != wanted.size)) {
            return Err(FetchError::Size { got, told });
        }
        let bytes = announced.or(wanted.size);
        let mut room = Room { told: self, bytes: 0 };
        // What a host announces makes no room of itself: it comes first.
        room.grow(wanted.size.unwrap_or(ROOM_STEP)).await?;
        for folder in [part.parent(), Some(self.whole().as_path())].into_iter().flatten() {
            tokio::fs::create_dir_all(folder).await?;
        }
        let mut file = tokio::fs::File::create(part).await?;
        let (mut got, mut sum) = (0, Sha256::new());
        while let Some(piece) = self.piece(&mut answer).await? {
            got += piece.len() as u64;
            if let Some(told) = wanted.size.filter(|told| got > *told) {
                return Err(FetchError::Size { got, told });
            }
            if got > room.bytes {
                room.grow(got - room.bytes + ROOM_STEP).await?;
            }
            sum.update(&piece);
            file.write_all(&piece).await?;
            said.send_modify(|state| (state.done, state.bytes) = (got, bytes.unwrap_or(0)));
        }
        file.flush().await?;
        if let Some(bytes) = announced.filter(|bytes| got != *bytes) {
            return Err(FetchError::Short { got, bytes });
        }
        if let Some(told) = wanted.size.filter(|told| got != *told) {
            return Err(FetchError::Size { got, told });
        }
        let sum = hex::encode(sum.finalize());
        if sum != wanted.sha256 {
            return Err(FetchError::Sum { got: sum, told: wanted.sha256.clone() });
        }
        file.sync_all().await?;
        drop(file);
        Ok(tokio::fs::rename(part, self.whole().join(&wanted.sha256)).await?)
    }

    async fn piece(&self, answer: &mut Incoming) -> Result<Option<bytes::Bytes>, FetchError> {
        let piece = self.clock.timeout(PIECE_WITHIN, answer.piece()).await;
        Ok(piece.unwrap_or(Err(NetError::Timeout))?)
    }

    /// The answer of a listed host, wherever listed hosts send us.
    async fn answer(&self, url: &str, hosts: &[HostRule]) -> Result<Incoming, FetchError> {
        let mut url = url.to_owned();
        for _ in 0..=REDIRECTS_MAX {
            let unlisted = || FetchError::Unlisted(shown(&url));
            let address = Address::parse(&url).map_err(|_| unlisted())?;
            if !hosts::lists(hosts, &address) {
                return Err(unlisted());
            }
            let opened = self.clock.timeout(PIECE_WITHIN, self.outward.open(&url, FETCH_WITHIN)).await;
            let answer = opened.unwrap_or(Err(NetError::Timeout))?;
            match (answer.status(), answer.leads_to()) {
                (200, _) => return Ok(answer),
                (301 | 302 | 303 | 307 | 308, Some(next)) => url = next,
                (status, _) => return Err(FetchError::Status(status)),
            }
        }
        Err(FetchError::Redirects)
    }
}

async fn opened(path: &Path) -> Option<(Artifact, Option<SystemTime>)> {
    let file = tokio::fs::File::open(path).await.ok()?;
    let data = file.metadata().await.ok()?;
    let version = Version { path: path.to_owned(), bytes: data.len(), modified: data.modified().ok()? };
    Some((Artifact { file, version }, data.accessed().ok()))
}

fn stops() -> FetchError {
    FetchError::File("the server stops".into())
}

/// An address without what may be a secret in it.
fn shown(url: &str) -> String {
    let address = Address::parse(url).map(|address| address.to_string());
    address.unwrap_or_else(|_| "where it leads".to_owned())
}

/// Room for a file on its way; given back when that has its place, or has none.
struct Room<'t> {
    told: &'t Told,
    bytes: u64,
}

impl Room<'_> {
    /// Makes room for so many bytes more, by what nobody used for longest.
    async fn grow(&mut self, more: u64) -> Result<(), FetchError> {
        let _making = self.told.making.lock().await;
        let no_room = FetchError::NoRoom(self.bytes.saturating_add(more));
        let wanted = self.told.taken().saturating_add(more);
        let most = self.told.bytes_max.checked_sub(wanted).ok_or(no_room.clone())?;
        let (root, now) = (self.told.whole(), self.told.clock.now());
        let listing = root.clone();
        let files = tokio::task::spawn_blocking(move || tidy::list(&listing)).await.unwrap_or_default();
        let choice = tidy::choose(files, |name| self.told.is_held(name), Duration::MAX, most, now);
        if choice.left > most {
            return Err(no_room);
        }
        let gone = tokio::task::spawn_blocking(move || tidy::remove(&root, choice.gone)).await;
        if let Ok((_, Some(error))) = gone {
            return Err(error.into());
        }
        *self.told.taken() += more;
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let mut taken = self.told.taken();
        *taken = taken.saturating_sub(self.bytes);
    }
}

#[cfg(test)]
mod tests;
