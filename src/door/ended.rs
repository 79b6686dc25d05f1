//! Requests that wait for a run to end: one task asks the store for all of them, and only when something was committed.
//! How a run ended is not read here; whoever waited looks for itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::Door;
use super::api::in_line::InLine;
use super::server::PARKED_MAX;
use crate::clock::{Clock, Monotonic};
use crate::store::Store;

/// Most requests that wait at once; one more is answered at once with what is known.
pub const WAITING_MAX: usize = PARKED_MAX;
/// How often the store is asked, after something was committed.
const LOOK_EVERY: Duration = Duration::from_millis(40);

/// Most requests that wait at once for something else: power, or a board.
pub const OTHERS_WAITING_MAX: usize = 64;

/// Most that follow a run at once.
pub const FOLLOWING_MAX: usize = 64;

/// Places for requests that wait for something else than the end of a run, or follow one.
#[derive(Clone)]
pub struct Waits {
    places: Arc<Semaphore>,
    follows: Arc<Semaphore>,
    in_line: Arc<InLine>,
}

impl Default for Waits {
    fn default() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Waits { places: places(OTHERS_WAITING_MAX), follows: places(FOLLOWING_MAX), in_line: Arc::default() }
    }
}

impl Waits {
    /// A place, for as long as it is kept; nothing where all are taken.
    pub fn enter(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// A place for who follows a run, likewise.
    pub fn follow(&self) -> Option<OwnedSemaphorePermit> {
        self.follows.clone().try_acquire_owned().ok()
    }

    /// Who waits for which board of their own.
    pub(super) fn in_line(&self) -> &Arc<InLine> {
        &self.in_line
    }

    /// Waits for `most`; where every place is taken, not at all.
    pub(super) fn patience(&self, door: &Door, most: Duration) -> Patience {
        let place = if most.is_zero() { None } else { self.enter() };
        let (store, clock) = (door.store.clone(), door.clock.clone());
        let (until, commits) = (clock.monotonic() + most, store.commits());
        Patience { place, store, clock, until, commits }
    }
}

/// One request's wait: it looks, and looks again when something was committed. Made before the first look.
pub(super) struct Patience {
    place: Option<OwnedSemaphorePermit>,
    store: Arc<dyn Store>,
    clock: Clock,
    until: Monotonic,
    commits: Option<u64>,
}

impl Patience {
    /// Waits until there may be something new to see; false when the time is over.
    pub(super) async fn again(&mut self) -> bool {
        while self.place.is_some() && self.clock.monotonic() < self.until {
            self.clock.sleep(LOOK_EVERY).await;
            let commits = self.store.commits();
            if commits.is_none() || commits != self.commits {
                self.commits = commits;
                return true;
            }
        }
        false
    }
}

/// Who waits for which run.
#[derive(Clone)]
pub struct Ended {
    store: Arc<dyn Store>,
    clock: Clock,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    runs: BTreeMap<i64, Vec<oneshot::Sender<()>>>,
    /// Whether a task looks after them.
    attended: bool,
    /// Whether somebody came since it looked: their run may have ended before they did.
    joined: bool,
}

impl Ended {
    /// Nobody waits.
    pub fn new(store: Arc<dyn Store>, clock: Clock) -> Self {
        Ended { store, clock, waiting: Arc::default() }
    }

    /// Waits until the run has ended, and no longer than `most`.
    pub async fn wait(&self, run: i64, most: Duration) {
        let Some(ended) = self.join(run) else { return };
        // The sender is dropped when the task ends; there is nothing more to wait for then either.
        let _ = self.clock.timeout(most, ended).await;
    }

    fn join(&self, run: i64) -> Option<oneshot::Receiver<()>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.forget_who_left();
        if waiting.count() >= WAITING_MAX {
            return None;
        }
        let (tell, told) = oneshot::channel();
        waiting.runs.entry(run).or_default().push(tell);
        waiting.joined = true;
        if !std::mem::replace(&mut waiting.attended, true) {
            tokio::spawn(self.clone().attend());
        }
        Some(told)
    }

    /// Tells everybody as their runs end, as long as anybody waits.
    async fn attend(self) {
        let mut seen = None;
        loop {
            let commits = self.store.commits();
            let (runs, joined): (Vec<i64>, bool) = {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.forget_who_left();
                if waiting.runs.is_empty() {
                    waiting.attended = false;
                    return;
                }
                (waiting.runs.keys().copied().collect(), std::mem::take(&mut waiting.joined))
            };
            if joined || commits.is_none() || commits != seen {
                match self.store.run_ended(&runs).await {
                    Ok(ended) => {
                        seen = commits;
                        self.tell(ended.into_iter().map(|(run, _)| run));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "whether runs have ended cannot be read; asking again")
                    }
                }
            }
            self.clock.sleep(LOOK_EVERY).await;
        }
    }

    fn tell(&self, ended: impl Iterator<Item = i64>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for run in ended {
            for tell in waiting.runs.remove(&run).into_iter().flatten() {
                // They may have left.
                let _ = tell.send(());
            }
        }
    }
}

impl Waiting {
    fn count(&self) -> usize {
        self.runs.values().map(Vec::len).sum()
    }

    fn forget_who_left(&mut self) {
        self.runs.retain(|_, tells| {
            tells.retain(|tell| !tell.is_closed());
            !tells.is_empty()
        });
    }
}
