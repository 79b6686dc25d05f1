//! The runner: one attempt from its lease to its rest. Lease, attempt, outcome, finalize, release, on every path:
//! also when somebody cancels, a limit passes, or the server stops.
//!
//! The outcome and the lease's turn to `finalizing` are one transaction; the release is a second one, when the board
//! is at rest or when that has failed. A stale answer means the lease is gone: nothing more is touched or told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tracing::Instrument;
use tracing::field::Empty;

use super::attempt::{Attempt, Ended};
use super::finalize;
use super::occupied::{Occupied, Part};
use super::used::Used;
use crate::artifact::Artifacts;
use crate::board::inventory::FamilySettings;
use crate::board::plan::RetryPolicy;
use crate::board::{Board, BoardId, Inventory, LiveInventory};
use crate::chat::{AnswerVia, Place, Platform};
use crate::clock::Clock;
use crate::doorbell::{Bell, Doorbell};
use crate::id::{Ids, LeaseId};
use crate::lease::{Grip, Lease, LeaseState};
use crate::message::Note;
use crate::message::compose::{Composer, hold_facts};
use crate::message::links::Links;
use crate::meter::Counter;
use crate::outcome::compare::{Marks, Past, RunOfBuild, compare};
use crate::outcome::redact::Redactor;
use crate::outcome::{Counts, Outcome, Verdict};
use crate::power::Power;
use crate::run::transition::{
    ARTIFACT_MISMATCH, ARTIFACT_MISSING, HANDED_BACK, POWER_CYCLED, WORKER_LOST, decide, is_interrupted,
};
use crate::run::{Decision, LeaseRef, Request, RunKind, RunSpec, RunState};
use crate::store::{Fenced, Lookback, RUN_LOG, RunView, Settle, Store, StoreError};

/// What every runner of a worker shares.
pub struct Lab {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// The lab file.
    pub inventory: LiveInventory,
    /// The switchboard.
    pub power: Power,
    /// Makes messages.
    pub composer: Arc<Composer>,
    /// Takes secrets out of what a board printed.
    pub redactor: Arc<Redactor>,
    /// Wakes the loops behind.
    pub doorbell: Doorbell,
    /// Time.
    pub clock: Clock,
    /// Markers.
    pub ids: Ids,
    /// Folder of the transcripts.
    pub transcripts: PathBuf,
    /// The artifacts.
    pub artifacts: Artifacts,
    /// Where boards find them.
    pub links: Links,
    /// Boards that something here is busy with.
    pub occupied: Occupied,
    /// When boards that people have were used.
    pub used: Used,
    /// Bytes received from consoles.
    pub console_bytes: Counter,
}

/// What can end an attempt from outside.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Order {
    /// Nothing: go on.
    #[default]
    GoOn,
    /// Somebody asked something of the run.
    Asked(Request),
    /// The server stops: hand the run back.
    HandBack,
}

/// How often a write is tried while the store is not available. The board is not touched meanwhile, and a slow disk
/// delays runs, never ends them.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Drives one attempt under its leases until they are released. The plan drives the board of the run's own lease,
/// wherever that stands among them.
pub async fn drive(lab: Arc<Lab>, mut leases: Vec<Lease>, number: i64, orders: watch::Receiver<Order>) {
    // Until the console is let go of: the lease may be somebody else's sooner.
    let on = lab.occupied.enter(leases.iter().map(|lease| lease.board.clone()), Part::Console);
    let bells = lab.doorbell.clone();
    let span = tracing::info_span!("run", run.number = number, board.id = Empty, lease.fence = Empty);
    async move {
        let view = match lab.persist(|| lab.store.run_view(number)).await {
            Ok(view) => view,
            Err(error) => {
                return Box::pin(abandon(&lab, None, &leases, &grips_on(&lab, &leases), &error)).await;
            }
        };
        let driven = view.as_ref().and_then(|view| match &view.run.state {
            RunState::Active { attempt, lease, .. } => Some((*attempt, lease.id)),
            RunState::Queued { .. } | RunState::Finished { .. } => None,
        });
        leases.sort_by_key(|lease| driven.is_none_or(|(_, first)| lease.id != first));
        let is_driven = |(_, first): &(u32, LeaseId)| leases.first().is_some_and(|lease| lease.id == *first);
        let (Some(view), Some((attempt, _))) = (view, driven.filter(is_driven)) else {
            tracing::error!("leases stand for an attempt that their run is not in");
            return take_away(&lab, &leases).await;
        };
        tracing::Span::current()
            .record("board.id", leases[0].board.as_str())
            .record("lease.fence", leases[0].fence.0);
        Box::pin(run_attempt(&lab, &leases, &grips_on(&lab, &leases), view, attempt, orders)).await;
    }
    .instrument(span)
    .await;
    drop(on);
    [Bell::Pool, Bell::Keeper].iter().for_each(|bell| bells.ring(*bell));
}

fn grips_on(lab: &Lab, leases: &[Lease]) -> Vec<Arc<Grip>> {
    let grip = |lease: &Lease| {
        let named = LeaseRef { id: lease.id, board: lease.board.clone(), fence: lease.fence };
        Grip::new(named, lab.store.trust())
    };
    leases.iter().map(|lease| Arc::new(grip(lease))).collect()
}

async fn run_attempt(
    lab: &Arc<Lab>,
    leases: &[Lease],
    grips: &[Arc<Grip>],
    view: RunView,
    number: u32,
    mut orders: watch::Receiver<Order>,
) {
    tracing::info!(attempt = number, "the attempt begins");
    let unfenced = leases.iter().zip(grips).filter(|(lease, _)| lease.needs_fence);
    let unfenced = unfenced.map(|(_, grip)| grip.clone()).collect();
    let mut attempt = Attempt::new(lab.clone(), view, number, grips[0].clone(), unfenced);
    let ended = tokio::select! {
        biased;
        () = grips[0].lost() => Ended::Stale,
        order = ordered(&mut orders) => {
            if order == Order::HandBack && attempt.is_untouched() && returned(lab, leases).await {
                tracing::info!("the server stops before the attempt began: the run waits for it again");
                lab.doorbell.ring(Bell::Relay);
                return;
            }
            attempt.interrupted(&order).await
        }
        ended = attempt.perform() => ended,
    };
    let Ended::Outcome(outcome) = ended else {
        tracing::warn!("the lease is gone: the attempt ends untold, the board is not touched");
        return lose(lab, leases, grips).await;
    };
    tracing::info!(verdict = outcome.verdict.as_str(), cause = outcome.cause, "the attempt ended");
    match settle(lab, &mut attempt, grips[0].lease(), *outcome).await {
        Ok(Fenced::Done) => {}
        Ok(Fenced::Stale) => {
            tracing::warn!("the lease was gone before the outcome was told: nothing is told");
            return Box::pin(lose(lab, leases, grips)).await;
        }
        Err(error) => {
            return Box::pin(abandon(lab, Some(attempt), leases, grips, &error)).await;
        }
    }
    lab.doorbell.ring(Bell::Relay);
    lab.doorbell.ring(Bell::Scheduler);
    match lab.persist(|| lab.store.lease_state(grips[0].lease())).await {
        Ok(Some(LeaseState::Held)) => {
            let was_held = leases[0].hold.is_some();
            Box::pin(finalize::keep(lab, attempt, was_held, &grips[1..])).await;
        }
        Ok(Some(LeaseState::Active | LeaseState::Finalizing)) => {
            Box::pin(finalize::bring_to_rest(lab, attempt, grips)).await;
        }
        // Whoever had the board gave it back meanwhile: it comes to rest under another lease, and is not touched here.
        Ok(Some(LeaseState::Released | LeaseState::Lapsed) | None) => {
            Box::pin(finalize::keep(lab, attempt, false, &grips[1..])).await;
        }
        Err(error) => {
            tracing::error!(%error, "whose the board is now cannot be read: it is left as it is");
            Box::pin(finalize::keep(lab, attempt, false, &grips[1..])).await;
        }
    }
    // The next run of whoever has the board waits for this one's end.
    lab.doorbell.ring(Bell::Pool);
    lab.doorbell.ring(Bell::Scheduler);
    lab.doorbell.ring(Bell::Relay);
}

/// Gives leases back whose boards were not touched; gives whether that could be done.
async fn returned(lab: &Lab, leases: &[Lease]) -> bool {
    let ids: Vec<LeaseId> = leases.iter().map(|lease| lease.id).collect();
    match lab.persist(|| lab.store.lease_return(&ids, lab.clock.now())).await {
        Ok(given) => given.len() == ids.len(),
        Err(error) => {
            tracing::warn!(%error, "the leases cannot be given back untouched");
            false
        }
    }
}

/// Waits for an order that ends the attempt.
async fn ordered(orders: &mut watch::Receiver<Order>) -> Order {
    loop {
        let order = orders.borrow_and_update().clone();
        if order != Order::GoOn {
            return order;
        }
        if orders.changed().await.is_err() {
            // The pool is gone with its process; nothing will be ordered any more.
            std::future::pending::<()>().await;
        }
    }
}

/// Commits the outcome and what follows it. Where the store refuses that for good, a bare outcome that says so: the
/// run ends as lab trouble, since what it really came to cannot be kept.
async fn settle(
    lab: &Lab,
    attempt: &mut Attempt,
    lease: &LeaseRef,
    outcome: Outcome,
) -> Result<Fenced, StoreError> {
    let mut full = settlement(lab, attempt, lease, outcome);
    let (number, spec) = (attempt.view().run.number, attempt.view().run.spec.clone());
    look_back(lab, number, &spec, &mut full).await;
    let error = match lab.persist(|| lab.store.run_settle(&full)).await {
        Err(error) => error,
        settled => return settled,
    };
    tracing::error!(%error, "the outcome cannot be kept: the run ends as lab trouble");
    let bare = Outcome {
        verdict: Verdict::Infra,
        cause: NOT_KEPT.to_owned(),
        stage: full.outcome.stage,
        detail: format!("boardhand cannot keep its outcome: {error}"),
        excerpt: vec![],
        cases: vec![],
        counts: Counts::default(),
    };
    let bare = Settle { decision: Decision::Finish, ..settlement(lab, attempt, lease, bare) };
    lab.persist(|| lab.store.run_settle(&bare)).await
}

fn settlement(lab: &Lab, attempt: &Attempt, lease: &LeaseRef, outcome: Outcome) -> Settle {
    let view = attempt.view();
    let plan = attempt.plan();
    let is_infra = |o: &Outcome| o.verdict == Verdict::Infra && !is_interrupted(&o.cause);
    let earlier = view.attempts.iter().filter(|a| a.outcome.as_ref().is_some_and(is_infra));
    let mut failed_on: Vec<BoardId> = earlier.map(|a| a.board.clone()).collect();
    if is_infra(&outcome) {
        failed_on.push(lease.board.clone());
    }
    let kind = view.run.spec.kind;
    // A health run is about its board: another board is no answer.
    let retry = if kind.is_test() { plan.retry } else { RetryPolicy { infra: 0, other_board: false } };
    let decision = decide(&outcome, retry, &failed_on);
    let inventory = attempt.inventory();
    let settings = inventory.families.get(&view.run.spec.family);
    Settle {
        lease: lease.clone(),
        run: view.run.id,
        notes: notes(lab, (attempt, &lease.board), settings, &outcome, &decision),
        board_fault: attempt.unfit().is_some() || is_board_fault(kind, &outcome),
        unfit: attempt.unfit().map(|problem| lab.redactor.redact(problem).into_owned()),
        quarantine_after: settings.map_or(0, |settings| match kind {
            RunKind::Test => settings.quarantine_after,
            // A board that fails its check is out of service where nothing else is said.
            RunKind::Health => settings.quarantine_after.max(1),
        }),
        lookback: None,
        kept: Note::new(
            "kept",
            hold_facts(&lease.board, attempt.board(), &view.run.requested_by, lab.clock.now(), ""),
        ),
        told: attempt.board().and_then(|board| told(lab, &inventory, board, attempt, &outcome)),
        outcome,
        decision,
        now: lab.clock.now(),
    }
}

/// Where a run ends and says something about its build: what is new beside the runs before it, for its threads and for
/// the runs after it.
async fn look_back(lab: &Lab, number: i64, spec: &RunSpec, settle: &mut Settle) {
    let outcome = &settle.outcome;
    let of_the_build = matches!(outcome.verdict, Verdict::Passed | Verdict::Failed | Verdict::TimedOut);
    if !of_the_build || settle.decision != Decision::Finish || !spec.kind.is_test() {
        return;
    }
    let past = match lab.persist(|| lab.store.suite_past(&spec.family, &spec.suite)).await {
        Ok(past) => past,
        Err(error) => {
            tracing::error!(%error, "nobody can look back: what is new about this run is not told");
            return;
        }
    };
    let run = RunOfBuild { number, build: spec.build.clone() };
    let this = Past { run, marks: Marks::of(&outcome.cases) };
    let comparison = compare(&this, &outcome.cases, &past.runs, past.good);
    for note in &mut settle.notes {
        note.facts.insert("comparison".into(), json!(comparison));
    }
    settle.lookback = Some(Lookback { comparison, marks: this.marks });
}

/// What the thread is told about the end of an attempt.
fn notes(
    lab: &Lab,
    (attempt, board): (&Attempt, &BoardId),
    settings: Option<&FamilySettings>,
    outcome: &Outcome,
    decision: &Decision,
) -> Vec<Note> {
    let view = attempt.view();
    let template = match (decision, outcome.verdict) {
        (Decision::TryAgain { .. }, _) if is_interrupted(&outcome.cause) => "run-requeued-after-restart",
        (Decision::TryAgain { .. }, _) => "run-infra-retry",
        (Decision::Finish, Verdict::Cancelled) => "run-cancelled",
        (Decision::Finish, _) => "run-finished",
    };
    let told = lab.composer.outcome_note(template, view, attempt.number(), outcome);
    let went_wrong = template == "run-finished" && outcome.verdict != Verdict::Passed;
    let log = (went_wrong && settings.is_some_and(|settings| settings.log_on_failure)).then(|| {
        let facts = lab.composer.log_facts_of(&view.run, attempt.number(), board);
        Note::new(RUN_LOG, facts)
    });
    std::iter::once(told).chain(log).collect()
}

/// Who is told, and what, if this outcome takes the board out of service: its owner, in the default channel where there
/// is one.
fn told(
    lab: &Lab,
    inventory: &Inventory,
    board: &Board,
    attempt: &Attempt,
    outcome: &Outcome,
) -> Option<(AnswerVia, Note)> {
    let open = inventory.channels.default.as_deref().and_then(place);
    let place = open.or_else(|| place(board.owner.as_deref()?))?;
    let mut note = lab.composer.outcome_note("board-broken", attempt.view(), attempt.number(), outcome);
    note.facts.insert("board".into(), json!(board.id));
    note.facts.insert("owner".into(), json!(board.owner));
    note.facts.insert("health".into(), json!(!attempt.view().run.spec.kind.is_test()));
    // What its button brings back: the attempt says which board is meant.
    note.facts.insert("generation".into(), json!(attempt.number()));
    Some((AnswerVia::everybody(place), note))
}

/// A place as boards.yaml writes it: `slack:C0SOCCI`, or a person for a direct message.
fn place(key: &str) -> Option<Place> {
    let (platform, channel) = key.split_once(':')?;
    Some(Place { platform: Platform::from_word(platform)?, channel: channel.to_owned(), thread: None })
}

/// Cause of a run whose outcome the store refused for good.
const NOT_KEPT: &str = "not-kept";

/// Causes of infra that say nothing about the board: somebody's doing, boardhand's own machine, or a step that the
/// board performed and that failed on the way to the build. A build that does not exist must not empty the lab.
const NOT_THE_BOARD: &[&str] = &[
    POWER_CYCLED,
    WORKER_LOST,
    HANDED_BACK,
    NOT_KEPT,
    "lease-lost",
    "host-step-failed",
    "partner-not-fenced",
    "command-failed",
    "step-timeout",
    "transfer-failed",
    ARTIFACT_MISSING,
    ARTIFACT_MISMATCH,
];

/// Of those, the ones that a plan of the lab's own can have, whose every step is to work on a healthy board.
const NOT_A_BUILD: &[&str] = &["command-failed", "step-timeout", "transfer-failed"];

/// Whether an outcome speaks against its board. A health run has no build that could be to blame.
fn is_board_fault(kind: RunKind, outcome: &Outcome) -> bool {
    let cause = outcome.cause.as_str();
    let elsewhere = NOT_THE_BOARD.contains(&cause);
    match (kind, outcome.verdict) {
        (RunKind::Test, verdict) => verdict == Verdict::Infra && !elsewhere,
        (RunKind::Health, Verdict::Passed | Verdict::Cancelled) => false,
        (RunKind::Health, Verdict::Failed | Verdict::Infra | Verdict::TimedOut) => {
            !elsewhere || NOT_A_BUILD.contains(&cause)
        }
    }
}

/// A run that cannot be read, or cannot be written: its boards are brought to rest all the same, and its leases are
/// taken away, which ends the run where that can be written.
async fn abandon(
    lab: &Arc<Lab>,
    attempt: Option<Attempt>,
    leases: &[Lease],
    grips: &[Arc<Grip>],
    error: &StoreError,
) {
    tracing::error!(%error, "the run cannot be kept: its boards are brought to rest and taken away from it");
    let is_held = leases.iter().any(|lease| lease.hold.is_some());
    match attempt {
        Some(attempt) if is_held => Box::pin(finalize::keep(lab, attempt, true, &[])).await,
        None if is_held => {}
        // The release that comes after it changes nothing: the lease was never turned to finalizing.
        Some(attempt) => Box::pin(finalize::bring_to_rest(lab, attempt, grips)).await,
        None => finalize::leave(lab, grips).await,
    }
    take_away(lab, leases).await;
}

/// Lets go of boards after the store said that a lease of theirs is stale: nothing more is written to any, and what is
/// live still is taken away, since no runner would ever release it.
async fn lose(lab: &Lab, leases: &[Lease], grips: &[Arc<Grip>]) {
    grips.iter().for_each(|grip| grip.lose());
    take_away(lab, leases).await;
}

/// Takes leases away: their boards are fenced next, and what is under them waits again or ends.
async fn take_away(lab: &Lab, leases: &[Lease]) {
    let ids: Vec<LeaseId> = leases.iter().map(|lease| lease.id).collect();
    if let Err(error) = lab.persist(|| lab.store.lease_lapse(&ids, lab.clock.now())).await {
        tracing::error!(%error, "leases cannot be taken away: the next start does it");
    }
    lab.doorbell.ring(Bell::Scheduler);
    lab.doorbell.ring(Bell::Relay);
}

impl Lab {
    /// Repeats a store operation until the store is available again; an error that is given back fails however often
    /// it is tried. Only for writes that name their fence, and reads: both are harmless to repeat.
    pub async fn persist<T, F>(&self, operation: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
        T: Send,
    {
        loop {
            match operation().await {
                Ok(value) => return Ok(value),
                Err(error) if error.is_lasting() => return Err(error),
                Err(error) => {
                    tracing::error!(%error, "the store did not take a write; the board waits");
                    self.clock.sleep(STORE_PAUSE).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Stage;

    #[track_caller]
    fn check(kind: RunKind, verdict: Verdict, cause: &str, speaks_against_the_board: bool) {
        let outcome = Outcome {
            verdict,
            cause: cause.into(),
            stage: Stage::Deploying,
            detail: String::new(),
            excerpt: vec![],
            cases: vec![],
            counts: Counts::default(),
        };
        assert_eq!(is_board_fault(kind, &outcome), speaks_against_the_board, "{cause}");
    }

    #[test]
    fn only_trouble_with_the_board_itself_speaks_against_it() {
        use RunKind::{Health, Test};
        check(Test, Verdict::Infra, "console-busy", true);
        check(Test, Verdict::Infra, "boot-silent", true);
        check(Test, Verdict::Infra, "command-failed", false);
        check(Test, Verdict::Infra, "host-step-failed", false);
        check(Test, Verdict::Infra, "power-cycled", false);
        check(Test, Verdict::Failed, "boot-panic", false);
        check(Health, Verdict::Failed, "tests-failed", true);
        check(Health, Verdict::Infra, "command-failed", true);
        check(Health, Verdict::TimedOut, "timed-out", true);
        check(Health, Verdict::Infra, "worker-lost", false);
        check(Health, Verdict::Infra, "host-step-failed", false);
        check(Health, Verdict::Cancelled, "cancelled", false);
        check(Health, Verdict::Passed, "", false);
    }

    #[test]
    fn the_manual_names_every_cause_that_is_not_the_boards() {
        let manual = include_str!("../../docs/lab.md");
        let missing = NOT_THE_BOARD.iter().filter(|cause| !manual.contains(&format!("`{cause}`")));
        assert_eq!(missing.collect::<Vec<_>>(), [&""; 0]);
    }
}
