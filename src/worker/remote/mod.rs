//! The desk of a worker beside a remote lab: everything that a runner reports goes over the line to the server, in order and
//! once. What cannot be sent waits, and is sent again under the same number; the console stands on the disk meanwhile. No
//! board is driven whose lease the server was not heard to renew within its time.

mod files;
pub mod life;
pub mod line;

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use tokio::sync::{Notify, watch};

use self::files::Files;
use self::line::{Failed, Line};
use super::desk::{Begun, Desk, Ending, Word};
use super::wire::{
    LeasesGiven, LeasesNamed, ReportSent, ReportTaken, RunSent, RunWanted, Said, StillHeld, SwitchDone,
    SwitchWanted, TRUSTED_FOR, Work,
};
use crate::board::{BoardId, Family};
use crate::build::Build;
use crate::clock::{Clock, Monotonic};
use crate::door::transcript_dir;
use crate::id::{InstanceId, LeaseId};
use crate::lease::{Holder, Lease, LeaseState, Trust};
use crate::outcome::Outcome;
use crate::outcome::redact::Redactor;
use crate::power::{Elsewhere, Outlet};
use crate::run::{LeaseRef, Progress, Request, RunState, Stage};
use crate::store::{AtRest, Fenced, Result, RunView, StoreError};

/// Pause before something is sent again that did not get through.
const AGAIN: Duration = Duration::from_secs(1);
/// How often what is new in an attempt's files is sent.
const FILES_EVERY: Duration = Duration::from_millis(500);
/// Of how many attempts at once.
const FILES_AT_ONCE: usize = 8;
/// Most leases that are remembered as over, so that word of them that was on its way begins nothing.
const ENDED_MAX: usize = 10_000;
/// Most builds that are remembered from the begin of their attempts.
const BUILDS_MAX: usize = 4_000;
/// Most bytes of test cases that go with the outcome itself.
const CASES_BYTES_MAX: usize = 64 * 1024;

/// The desk of a worker.
pub struct Remote {
    line: Line,
    clock: Clock,
    redactor: Arc<Redactor>,
    transcripts: PathBuf,
    work: watch::Sender<Arc<Work>>,
    held: Mutex<Held>,
    /// Rung when the server does not know this life any more.
    gone: Notify,
}

struct Held {
    instance: InstanceId,
    leases: HashMap<LeaseId, Arc<Under>>,
    ended: (HashSet<LeaseId>, VecDeque<LeaseId>),
    builds: HashMap<(Family, String), Option<Build>>,
    /// The attempt under each lease: its run and number.
    attempts: HashMap<LeaseId, (i64, u32)>,
    /// Under which lease each board is driven.
    on: HashMap<BoardId, LeaseRef>,
    /// When the last sign of life was begun that was heard.
    beat: Monotonic,
}

/// What is known of one lease.
struct Under {
    trust: Trust,
    known_at: Monotonic,
    /// The number of the last report. One report at a time is on its way.
    reports: tokio::sync::Mutex<u64>,
    files: tokio::sync::Mutex<Option<Files>>,
    state: Mutex<Option<LeaseState>>,
}

impl Remote {
    /// A desk over this line. Nothing is trusted before the server was heard.
    pub fn new(
        line: Line,
        instance: InstanceId,
        redactor: Arc<Redactor>,
        transcripts: PathBuf,
        clock: Clock,
    ) -> Self {
        let held = Held {
            instance,
            leases: HashMap::new(),
            ended: Default::default(),
            builds: HashMap::new(),
            attempts: HashMap::new(),
            on: HashMap::new(),
            beat: Monotonic::default(),
        };
        let work = watch::Sender::new(Arc::default());
        Remote { line, clock, redactor, transcripts, work, held: Mutex::new(held), gone: Notify::new() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn instance(&self) -> InstanceId {
        self.held().instance
    }

    fn under(&self, lease: LeaseId) -> Arc<Under> {
        let mut held = self.held();
        let (beat, now) = (held.beat, self.clock.monotonic());
        let make = || {
            Arc::new(Under {
                trust: Trust::lasting_from(self.clock.clone(), TRUSTED_FOR, beat),
                known_at: now,
                reports: tokio::sync::Mutex::new(0),
                files: tokio::sync::Mutex::new(None),
                state: Mutex::new(None),
            })
        };
        if held.ended.0.contains(&lease) {
            let over = make();
            over.trust.end();
            return over;
        }
        held.leases.entry(lease).or_insert_with(make).clone()
    }

    /// A sign of life that began then was heard: these leases are renewed, and every other that it was about is lost.
    fn renewed(&self, began: Monotonic, still: &StillHeld) {
        let mut held = self.held();
        held.beat = began;
        for (lease, under) in &held.leases {
            if still.leases.contains(lease) {
                under.trust.renew(Some(began));
            } else if under.known_at <= began {
                under.trust.end();
            }
        }
    }

    /// Another life of this worker begins: what the one before drove is lost.
    fn begin_anew(&self, instance: InstanceId) {
        let mut held = self.held();
        held.leases.values().for_each(|under| under.trust.end());
        held.instance = instance;
        self.work.send_replace(Arc::default());
    }

    /// Nothing more is to be said of a lease. With the last one of an attempt go its files: the server has them, or takes
    /// them no more.
    fn over(&self, lease: LeaseId) {
        let mut held = self.held();
        held.leases.remove(&lease);
        let attempt = held.attempts.remove(&lease);
        if let Some((run, attempt)) = attempt.filter(|it| !held.attempts.values().any(|other| other == it)) {
            let dir = transcript_dir(&self.transcripts, run, attempt);
            tokio::spawn(async move {
                match tokio::fs::remove_dir_all(&dir).await {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        tracing::warn!(%error, path = %dir.display(), "files of an attempt stay behind");
                    }
                    Ok(()) | Err(_) => {}
                }
                // The folder of a run goes with its last attempt here.
                if let Some(of_run) = dir.parent() {
                    let _ = tokio::fs::remove_dir(of_run).await;
                }
            });
        }
        held.on.retain(|_, on| on.id != lease);
        let (known, order) = &mut held.ended;
        if known.insert(lease) {
            order.push_back(lease);
        }
        if order.len() > ENDED_MAX
            && let Some(oldest) = order.pop_front()
        {
            known.remove(&oldest);
        }
    }

    /// Reports under a lease until there is an answer, in the order of the reports and each once.
    async fn report(&self, lease: &LeaseRef, said: Said) -> Result<Fenced> {
        let under = self.under(lease.id);
        let mut last = under.reports.lock().await;
        *last += 1;
        let (number, whole) = (*last, matches!(said, Said::Settle { .. } | Said::Release { .. }));
        let is_droppable = matches!(said, Said::Progress { .. });
        let mut told = false;
        loop {
            let sent =
                ReportSent { instance: self.instance(), lease: lease.clone(), number, said: said.clone() };
            let files = if whole { self.send_files(&under, true).await } else { Ok(()) };
            let answer = match files {
                Err(Failed::Away(away)) => Err(Failed::Away(away)),
                _ => self.line.ask::<ReportTaken>("reports", &sent).await,
            };
            match answer {
                Ok(taken) => {
                    *under.state.lock().unwrap_or_else(PoisonError::into_inner) = taken.state;
                    return Ok(if taken.done { Fenced::Done } else { Fenced::Stale });
                }
                Err(Failed::Gone) => {
                    self.gone.notify_one();
                    return Ok(Fenced::Stale);
                }
                Err(Failed::Refused(problem)) => return Err(StoreError::Refused(problem)),
                Err(Failed::Away(problem)) if is_droppable => return Err(StoreError::Unavailable(problem)),
                Err(Failed::Away(problem)) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(problem, board.id = %lease.board, "a report waits for the server");
                    }
                    self.clock.sleep(AGAIN).await;
                }
            }
        }
    }

    async fn send_files(&self, under: &Under, whole: bool) -> std::result::Result<(), Failed> {
        let mut files = under.files.lock().await;
        match files.as_mut() {
            Some(files) => files.send(&self.line, self.instance(), whole).await,
            None => Ok(()),
        }
    }

    /// Sends what is new in the files of attempts, for as long as there are any.
    pub async fn carry_files(&self) {
        loop {
            self.clock.sleep(FILES_EVERY).await;
            let leases: Vec<Arc<Under>> = self.held().leases.values().cloned().collect();
            let send = async |under: Arc<Under>| match self.send_files(&under, false).await {
                // The next round goes on where this one ended.
                Ok(()) | Err(Failed::Refused(_) | Failed::Away(_)) => {}
                Err(Failed::Gone) => self.gone.notify_one(),
            };
            futures_util::stream::iter(leases).for_each_concurrent(FILES_AT_ONCE, send).await;
        }
    }

    async fn name(&self, what: &str, leases: &[LeaseId]) -> Result<Vec<LeaseId>> {
        let named = LeasesNamed { instance: self.instance(), leases: leases.to_vec() };
        let given = match self.line.ask::<LeasesGiven>(what, &named).await {
            Ok(LeasesGiven { leases }) => leases,
            Err(Failed::Gone) => {
                self.gone.notify_one();
                vec![]
            }
            Err(Failed::Refused(problem)) => return Err(StoreError::Refused(problem)),
            Err(Failed::Away(problem)) => return Err(StoreError::Unavailable(problem)),
        };
        Ok(given)
    }

    /// Where test cases are put that are too many to go with their outcome; an error where that cannot be.
    async fn put_aside(
        &self,
        lease: &LeaseRef,
        view: &RunView,
        outcome: &Outcome,
    ) -> std::result::Result<Option<String>, std::io::Error> {
        let cases = serde_json::to_vec(&outcome.cases).map_err(std::io::Error::other)?;
        let RunState::Active { attempt, .. } = view.run.state else { return Ok(None) };
        if cases.len() <= CASES_BYTES_MAX {
            return Ok(None);
        }
        let name = format!("cases-{}.json", lease.fence.0);
        let dir = transcript_dir(&self.transcripts, view.run.number, attempt);
        let kept = async {
            tokio::fs::create_dir_all(&dir).await?;
            tokio::fs::write(dir.join(&name), cases).await
        };
        kept.await.map(|()| Some(name))
    }
}

/// The attempt under a lease: its run and number.
fn attempt_of(lease: &Lease) -> Option<(i64, u32)> {
    match &lease.holder {
        Holder::Run { number, attempt, .. } => Some((*number, *attempt)),
        Holder::Person(_) | Holder::Check(_) => lease.hold.as_ref().and_then(|hold| hold.run),
    }
}

#[async_trait]
impl Desk for Remote {
    async fn leases(&self) -> Result<Vec<Lease>> {
        let work = self.work.borrow().clone();
        let held = self.held();
        let is_on = |lease: &&Lease| !held.ended.0.contains(&lease.id);
        Ok(work.leases.iter().filter(is_on).cloned().collect())
    }

    async fn requests(&self) -> Result<Vec<(LeaseRef, Request)>> {
        Ok(self.work.borrow().requests.clone())
    }

    async fn begin(&self, run: i64) -> Result<Option<Begun>> {
        let wanted = RunWanted { instance: self.instance(), run };
        let sent = match self.line.ask::<RunSent>("begin", &wanted).await {
            Ok(sent) => sent,
            Err(Failed::Refused(problem)) => {
                tracing::warn!(run.number = run, problem, "the attempt does not begin");
                return Ok(None);
            }
            Err(Failed::Gone) => {
                self.gone.notify_one();
                return Ok(None);
            }
            Err(Failed::Away(problem)) => return Err(StoreError::Unavailable(problem)),
        };
        let (lease, attempt) = (sent.lease.clone(), sent.attempt);
        let key = (sent.spec.family.clone(), sent.spec.build.clone());
        let (begun, build) = sent.begun();
        let main = lease.id;
        let under = self.under(lease.id);
        let dir = transcript_dir(&self.transcripts, run, attempt);
        under.files.lock().await.get_or_insert_with(|| Files::new(dir, lease, self.redactor.clone()));
        let work = self.work.borrow().clone();
        let mut held = self.held();
        let of_attempt = work.leases.iter().filter(|lease| attempt_of(lease) == Some((run, attempt)));
        held.attempts.extend(of_attempt.map(|lease| (lease.id, (run, attempt))));
        held.attempts.insert(main, (run, attempt));
        if held.builds.len() >= BUILDS_MAX {
            held.builds.clear();
        }
        held.builds.insert(key, build);
        Ok(Some(begun))
    }

    async fn build(&self, family: &Family, build: &str) -> Result<Option<Build>> {
        Ok(self.held().builds.get(&(family.clone(), build.to_owned())).cloned().flatten())
    }

    async fn advance(
        &self,
        lease: &LeaseRef,
        _: &RunView,
        stage: Stage,
        word: Option<Word>,
    ) -> Result<Fenced> {
        self.report(lease, Said::Advance { stage, word }).await
    }

    async fn progress(&self, lease: &LeaseRef, progress: &Progress) -> Result<Fenced> {
        self.report(lease, Said::Progress { progress: progress.clone() }).await
    }

    async fn first_failure(
        &self,
        lease: &LeaseRef,
        _: &RunView,
        _: u32,
        outcome: &Outcome,
    ) -> Result<Fenced> {
        self.report(lease, Said::FirstFailure { outcome: outcome.clone() }).await
    }

    async fn settle(&self, ending: &Ending<'_>) -> Result<Fenced> {
        let without = Outcome { cases: vec![], ..ending.outcome.clone() };
        let (cases, outcome) = match self.put_aside(ending.lease, ending.view, ending.outcome).await {
            Ok(None) => (None, ending.outcome.clone()),
            Ok(cases) => (cases, without),
            // A verdict is worth more than what it stands on.
            Err(error) => {
                tracing::error!(%error, board.id = %ending.lease.board, "test cases cannot be put aside: the outcome goes without them");
                let lost = format!("its {} test cases are lost: {error}", ending.outcome.cases.len());
                let detail = match without.detail.as_str() {
                    "" => lost,
                    said => format!("{said}; {lost}"),
                };
                (None, Outcome { detail, ..without })
            }
        };
        // It may hold what a board said.
        let unfit = ending.unfit.map(|unfit| self.redactor.redact(unfit).into_owned());
        self.report(ending.lease, Said::Settle { outcome, cases, unfit }).await
    }

    async fn state(&self, lease: &LeaseRef) -> Result<Option<LeaseState>> {
        let under = self.under(lease.id);
        let state = *under.state.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(state)
    }

    async fn fenced(&self, lease: &LeaseRef) -> Result<Fenced> {
        self.report(lease, Said::Fenced).await
    }

    async fn release(&self, lease: &LeaseRef, rest: &AtRest) -> Result<Fenced> {
        let problem = match rest {
            AtRest::Yes => None,
            AtRest::No(problem) => Some(problem.clone()),
        };
        let released = self.report(lease, Said::Release { problem }).await?;
        self.over(lease.id);
        Ok(released)
    }

    async fn give_back(&self, leases: &[LeaseId]) -> Result<Vec<LeaseId>> {
        let given = self.name("return", leases).await?;
        given.iter().for_each(|lease| self.over(*lease));
        Ok(given)
    }

    async fn take_away(&self, leases: &[LeaseId]) -> Result<()> {
        self.name("lapse", leases).await?;
        leases.iter().for_each(|lease| self.over(*lease));
        Ok(())
    }

    fn trust(&self, lease: &LeaseRef) -> Trust {
        let trust = self.under(lease.id).trust.clone();
        self.held().on.insert(lease.board.clone(), lease.clone());
        trust
    }
}

/// Switches that the server drives.
#[async_trait]
impl Elsewhere for Remote {
    async fn request(
        &self,
        board: &BoardId,
        relay: Option<&str>,
        set: Option<Outlet>,
    ) -> std::result::Result<Option<Outlet>, (String, bool)> {
        let on = self.held().on.get(board).cloned();
        let Some(lease) = on else { return Err(("nothing is on this board".to_owned(), true)) };
        let wanted = SwitchWanted { instance: self.instance(), lease, relay: relay.map(str::to_owned), set };
        match self.line.ask_long::<SwitchDone>("switch", &wanted).await {
            Ok(SwitchDone { problem: Some(problem), lasting, .. }) => Err((problem, lasting)),
            Ok(SwitchDone { outlet, .. }) => Ok(outlet),
            Err(error @ Failed::Away(_)) => Err((format!("the server: {error}"), false)),
            Err(error) => Err((format!("the server: {error}"), true)),
        }
    }
}
