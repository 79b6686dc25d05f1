//! The housekeeper: the loop that removes what is older than it is kept, once an hour: rows that grow with every run,
//! and transcripts and artifacts, which are bounded in size too. It works in small batches with pauses between, so that nobody who
//! writes waits for it. It never touches what an unfinished run needs, and a run and its results stay for ever.

mod artifacts;

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::steps::{Agent, Step};
use crate::artifact::Artifacts;
use crate::artifact::tidy::Stored;
use crate::board::LiveInventory;
use crate::clock::{Clock, Monotonic, Timestamp};
use crate::config::Retention;
use crate::doorbell::Bell;
use crate::lease::held;
use crate::lease::scheduler::SharedQueue;
use crate::store::{Cursor, Going, Outdated, Store, StoreError, TidyFrom};

/// How often a round begins.
pub const ROUND_EVERY: Duration = Duration::from_secs(3600);
/// Most rows of each table that are looked at in one write.
pub const ROWS_MAX: u32 = 250;
/// Most folders of transcripts that are removed in one step.
pub const FOLDERS_MAX: usize = 20;
/// Most artifacts that are removed in one step.
pub const FILES_MAX: usize = 200;
/// The pause between batches of a round.
const BATCH_PAUSE: Duration = Duration::from_millis(100);
/// Most runs that the store is asked about at once.
const ASKED_MAX: usize = 500;
/// How long after its end a run's transcript is kept whatever the folder's size: its board may still be talking.
const SETTLED_AFTER: Duration = Duration::from_secs(600);

/// Removes what is older than it is kept.
pub struct Housekeeper {
    store: Arc<dyn Store>,
    queue: SharedQueue,
    clock: Clock,
    transcripts: PathBuf,
    retention: Retention,
    artifacts: Option<(Artifacts, LiveInventory)>,
    due_at: Monotonic,
    round: Option<Round>,
}

/// A round at work.
struct Round {
    /// Where the walk through the tables goes on; `None` when it is over.
    walk: Option<TidyFrom>,
    /// Folders that go; `None` before they were chosen.
    folders: Option<VecDeque<Folder>>,
    /// Bytes of transcripts that stay.
    transcripts: u64,
    /// Artifacts that go; `None` before they were chosen.
    artifacts: Option<VecDeque<Stored>>,
    removed: Removed,
}

/// What a round has removed.
#[derive(Debug, Default)]
struct Removed {
    events: u64,
    audit: u64,
    messages: u64,
    errands: u64,
    leases: u64,
    builds: u64,
    transcripts: u64,
    artifacts: u64,
    bytes: u64,
}

/// A run's folder of transcripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Folder {
    run: i64,
    bytes: u64,
}

impl Housekeeper {
    /// A housekeeper of these transcripts; the first round is due at once.
    pub fn new(store: Arc<dyn Store>, queue: SharedQueue, clock: Clock, transcripts: PathBuf) -> Self {
        let due_at = clock.monotonic();
        let retention = Retention::default();
        Housekeeper { store, queue, clock, transcripts, retention, artifacts: None, due_at, round: None }
    }

    /// The same, of these artifacts too, which the plans of this lab use.
    pub fn with_artifacts(mut self, artifacts: Artifacts, inventory: LiveInventory) -> Self {
        self.artifacts = Some((artifacts, inventory));
        self
    }

    /// Keeps things so long.
    pub fn keep(&mut self, retention: Retention) {
        self.retention = retention;
    }

    /// One batch; gives whether the round is over.
    async fn batch(&mut self, round: &mut Round) -> Result<bool, StoreError> {
        if let Some(from) = round.walk {
            round.walk = self.tidy(from, &mut round.removed).await?;
            return Ok(false);
        }
        let Some(folders) = &mut round.folders else {
            let (folders, left) = self.choose().await?;
            (round.folders, round.transcripts) = (Some(folders), left);
            return Ok(false);
        };
        if folders.is_empty() {
            return self.artifacts_too(round).await;
        }
        let batch: Vec<Folder> = folders.drain(..folders.len().min(FOLDERS_MAX)).collect();
        let root = self.transcripts.clone();
        let gone = tokio::task::spawn_blocking(move || remove(&root, batch)).await.unwrap_or_default();
        round.removed.transcripts += gone.len() as u64;
        round.removed.bytes += gone.iter().map(|folder| folder.bytes).sum::<u64>();
        Ok(false)
    }

    /// A batch of artifacts; gives whether that was the last one.
    async fn artifacts_too(&self, round: &mut Round) -> Result<bool, StoreError> {
        let Some((artifacts, inventory)) = &self.artifacts else { return Ok(true) };
        // Asked again for each batch: somebody may have asked for a run in between.
        let Some(needed) = artifacts::Needed::now(&*self.store, inventory).await? else {
            tracing::warn!("too many runs wait to say which artifacts they need: none is removed");
            return Ok(true);
        };
        let Some(files) = &mut round.artifacts else {
            let (retention, transcripts) = (&self.retention, round.transcripts);
            let gone = artifacts::choose(artifacts, &needed, retention, transcripts, &self.clock).await;
            round.artifacts = Some(gone.into());
            return Ok(false);
        };
        let batch = files.drain(..files.len().min(FILES_MAX)).collect();
        let (gone, bytes) = artifacts::remove(artifacts, &needed, batch).await;
        round.removed.artifacts += gone;
        round.removed.bytes += bytes;
        Ok(files.is_empty())
    }

    async fn tidy(&self, from: TidyFrom, removed: &mut Removed) -> Result<Option<TidyFrom>, StoreError> {
        let outdated = rows_outdated(&self.retention, self.clock.now(), self.queue.read_to());
        let tidied = self.store.tidy(&outdated, from, ROWS_MAX).await?;
        removed.events += tidied.events;
        removed.audit += tidied.audit;
        removed.messages += tidied.messages;
        removed.errands += tidied.errands;
        removed.leases += tidied.leases;
        removed.builds += tidied.builds;
        Ok(tidied.next)
    }

    async fn choose(&self) -> Result<(VecDeque<Folder>, u64), StoreError> {
        let transcripts = Transcripts::of(&self.transcripts).await;
        let mut ended = HashMap::new();
        for runs in transcripts.runs() {
            ended.extend(self.store.run_ended(&runs).await?);
        }
        let gone = outdated(&transcripts.0, &ended, &self.retention, self.clock.now());
        let going: u64 = gone.iter().map(|(_, folder)| folder.bytes).sum();
        let left = transcripts.0.iter().map(|folder| folder.bytes).sum::<u64>().saturating_sub(going);
        Ok((gone.into_iter().map(|(_, folder)| folder).collect(), left))
    }
}

/// Since when rows are outdated.
pub fn rows_outdated(retention: &Retention, now: Timestamp, read_to: Option<Cursor>) -> Outdated {
    let history = now - retention.history;
    Outdated {
        events: history,
        audit: now - retention.audit,
        messages: history,
        errands: history,
        // Hours that people had boards count for a while.
        leases: now - retention.history.max(held::WINDOW),
        builds: history,
        campaigns: history,
        read_to,
    }
}

/// The transcripts that there are.
pub struct Transcripts(Vec<Folder>);

impl Transcripts {
    /// Those of this folder.
    pub async fn of(root: &Path) -> Self {
        let root = root.to_owned();
        Transcripts(tokio::task::spawn_blocking(move || list(&root)).await.unwrap_or_default())
    }

    /// Their runs, as many at a time as the store is asked about.
    pub fn runs(&self) -> impl Iterator<Item = Vec<i64>> {
        self.0.chunks(ASKED_MAX).map(|folders| folders.iter().map(|folder| folder.run).collect())
    }

    /// How many a round would remove now, given since when their runs are finished.
    pub fn going(&self, ended: &HashMap<i64, Timestamp>, retention: &Retention, now: Timestamp) -> Going {
        let gone = outdated(&self.0, ended, retention, now);
        Going {
            kind: "transcripts",
            rows: gone.len() as u64,
            bytes: gone.iter().map(|(_, folder)| folder.bytes).sum(),
            oldest: gone.iter().map(|(at, _)| *at).min(),
        }
    }
}

#[async_trait]
impl Agent for Housekeeper {
    fn name(&self) -> &'static str {
        "housekeeper"
    }

    fn bell(&self) -> Option<Bell> {
        None
    }

    async fn step(&mut self) -> Result<Step, StoreError> {
        let now = self.clock.monotonic();
        let begun = self.round.take();
        if begun.is_none() && now < self.due_at {
            return Ok(Step::Idle { until: self.due_at });
        }
        let fresh = || Round {
            walk: Some(TidyFrom::default()),
            folders: None,
            transcripts: 0,
            artifacts: None,
            removed: Removed::default(),
        };
        let mut round = begun.unwrap_or_else(fresh);
        let over = match self.batch(&mut round).await {
            Ok(over) => over,
            Err(error) if error.is_lasting() => {
                tracing::error!(%error, "not everything that is outdated can be removed");
                true
            }
            Err(error) => {
                self.round = Some(round);
                return Err(error);
            }
        };
        if !over {
            self.round = Some(round);
            return Ok(Step::Idle { until: now + BATCH_PAUSE });
        }
        self.due_at = now + ROUND_EVERY;
        let Removed { events, audit, messages, errands, leases, builds, transcripts, artifacts, bytes } =
            round.removed;
        if events + audit + messages + errands + leases + builds + transcripts + artifacts > 0 {
            tracing::info!(
                events,
                audit,
                messages,
                errands,
                leases,
                builds,
                transcripts,
                artifacts,
                bytes,
                "removed what is outdated"
            );
        }
        Ok(Step::Idle { until: self.due_at })
    }
}

/// Which of these folders go, oldest end first. One whose run is not finished, or not known, stays.
fn outdated(
    folders: &[Folder],
    ended: &HashMap<i64, Timestamp>,
    retention: &Retention,
    now: Timestamp,
) -> VecDeque<(Timestamp, Folder)> {
    let mut bytes: u64 = folders.iter().map(|folder| folder.bytes).sum();
    let finished = folders.iter().filter_map(|folder| Some((*ended.get(&folder.run)?, *folder)));
    let mut finished: Vec<(Timestamp, Folder)> = finished.collect();
    finished.sort_by_key(|(at, folder)| (*at, folder.run));
    let mut gone = VecDeque::new();
    for (at, folder) in finished {
        let too_old = at < now - retention.transcripts;
        let too_much = bytes > retention.transcript_bytes && at < now - SETTLED_AFTER;
        if too_old || too_much {
            bytes = bytes.saturating_sub(folder.bytes);
            gone.push_back((at, folder));
        }
    }
    gone
}

/// Every run's folder of transcripts and its size; what is not named by a run's number is not ours.
fn list(root: &Path) -> Vec<Folder> {
    let Ok(entries) = std::fs::read_dir(root) else { return vec![] };
    let folder = |entry: std::fs::DirEntry| {
        let run = entry.file_name().to_str()?.parse().ok()?;
        // The type of the entry itself: a link is no folder.
        entry.file_type().ok()?.is_dir().then(|| Folder { run, bytes: size(&entry.path()) })
    };
    entries.flatten().filter_map(folder).collect()
}

/// How many bytes the attempts of a run take: a run's folder has one per attempt, and these have files.
fn size(run: &Path) -> u64 {
    let folders = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten();
    let files = folders(run).flat_map(|attempt| folders(&attempt.path()));
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

/// Removes folders; gives those that are gone.
fn remove(root: &Path, folders: Vec<Folder>) -> Vec<Folder> {
    let gone = |folder: &Folder| match std::fs::remove_dir_all(root.join(folder.run.to_string())) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(run.number = folder.run, %error, "transcripts cannot be removed");
            false
        }
    };
    folders.into_iter().filter(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600;

    fn at(days: u64) -> Timestamp {
        Timestamp::from_micros(1_760_000_000_000_000) + Duration::from_secs(days * DAY)
    }

    /// Folders of `(run, bytes, day it ended)`, looked at on day 100 and kept for 30 days.
    #[track_caller]
    fn check(folders: &[(i64, u64, Option<u64>)], bytes_max: u64, gone: &[i64]) {
        let ended = folders.iter().filter_map(|(run, _, day)| Some((*run, at((*day)?)))).collect();
        let folders: Vec<Folder> =
            folders.iter().map(|(run, bytes, _)| Folder { run: *run, bytes: *bytes }).collect();
        let retention = Retention {
            transcripts: Duration::from_secs(30 * DAY),
            transcript_bytes: bytes_max,
            ..Retention::default()
        };
        let found = outdated(&folders, &ended, &retention, at(100));
        assert_eq!(found.iter().map(|(_, folder)| folder.run).collect::<Vec<_>>(), gone);
    }

    #[test]
    fn transcripts_go_by_age_and_then_the_oldest_until_the_rest_fits() {
        check(&[(1, 10, Some(60)), (2, 10, Some(90))], 100, &[1]);
        check(&[(1, 60, Some(98)), (2, 60, Some(90)), (3, 60, Some(95))], 120, &[2]);
        check(&[(1, 60, Some(98)), (2, 60, Some(90)), (3, 60, Some(95))], 119, &[2, 3]);
        check(&[(1, 60, Some(98)), (2, 60, Some(90))], 120, &[]);
    }

    #[test]
    fn a_run_that_is_not_finished_or_not_known_or_just_ended_keeps_its_transcripts() {
        check(&[(1, 500, None), (2, 10, Some(99))], 100, &[2]);
        check(&[(1, 500, None)], 0, &[]);
        check(&[(1, 500, Some(100))], 0, &[]);
    }

    #[test]
    fn what_is_kept_for_ever_is_never_outdated() {
        let ended = HashMap::from([(1, at(0))]);
        let retention =
            Retention { transcripts: Duration::MAX, transcript_bytes: 100, ..Retention::default() };
        assert!(outdated(&[Folder { run: 1, bytes: 100 }], &ended, &retention, at(100_000)).is_empty());
    }

    #[test]
    fn only_folders_that_runs_have_made_are_listed() {
        let root = tempfile::tempdir().expect("dir");
        let made = |path: &str| std::fs::create_dir_all(root.path().join(path)).expect("folder");
        made("7/1");
        made("7/2");
        made("notes");
        std::fs::write(root.path().join("7/1/console.raw"), "12345").expect("file");
        std::fs::write(root.path().join("7/2/console.raw"), "123").expect("file");
        std::fs::write(root.path().join("8"), "a file").expect("file");
        std::os::unix::fs::symlink(root.path().join("7"), root.path().join("9")).expect("link");
        assert_eq!(list(root.path()), [Folder { run: 7, bytes: 8 }]);
        assert_eq!(remove(root.path(), list(root.path())), [Folder { run: 7, bytes: 8 }]);
        assert!(!root.path().join("7").exists() && root.path().join("notes").exists());
    }
}
