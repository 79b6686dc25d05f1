//! The desk over the store, and what follows of an attempt's end: whether it is tried again, what its threads are told, and
//! what it says about its board. The same for boards that are driven here and for those that a worker elsewhere drives: what
//! a worker says is an outcome, and never what becomes of it.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;

use super::desk::{Begun, Desk, Ending, Word};
use crate::board::inventory::FamilySettings;
use crate::board::plan::RetryPolicy;
use crate::board::{Board, BoardId, Family};
use crate::build::Build;
use crate::chat::{AnswerVia, Place, Platform};
use crate::clock::Clock;
use crate::id::{InstanceId, LeaseId};
use crate::lease::{Lease, LeaseState, Trust};
use crate::message::Note;
use crate::message::compose::{Composer, hold_facts};
use crate::message::links::Links;
use crate::outcome::compare::{Marks, Past, RunOfBuild, compare};
use crate::outcome::redact::Redactor;
use crate::outcome::{Counts, Outcome, Verdict};
use crate::run::transition::{
    ARTIFACT_MISMATCH, ARTIFACT_MISSING, HANDED_BACK, POWER_CYCLED, WORKER_LOST, decide, is_interrupted,
};
use crate::run::{Decision, LeaseRef, Progress, Request, RunKind, Stage};
use crate::store::{AtRest, Fenced, Lookback, RUN_LOG, Result, RunView, Settle, Store, StoreError};

/// The first failure's place among what an attempt tells before its end.
pub(super) const FIRST_FAILURE: u32 = 1;

/// The desk of the process that has the store.
#[derive(Clone)]
pub struct Local {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// Makes messages.
    pub composer: Arc<Composer>,
    /// Takes secrets out of what a board printed.
    pub redactor: Arc<Redactor>,
    /// Where boards find artifacts.
    pub links: Links,
    /// Time.
    pub clock: Clock,
    /// The process whose leases these are.
    pub instance: InstanceId,
}

#[async_trait]
impl Desk for Local {
    async fn leases(&self) -> Result<Vec<Lease>> {
        let mut leases = self.store.lease_list().await?;
        leases.retain(|lease| lease.instance == self.instance);
        Ok(leases)
    }

    async fn requests(&self) -> Result<Vec<(LeaseRef, Request)>> {
        self.store.run_requests(self.instance).await
    }

    async fn begin(&self, run: i64) -> Result<Option<Begun>> {
        let Some(view) = self.store.run_view(run).await? else { return Ok(None) };
        let attempt = view.attempts.last().map_or(0, |attempt| attempt.number);
        Ok(Some(Begun { served: self.links.artifacts(run, attempt), view }))
    }

    async fn build(&self, family: &Family, build: &str) -> Result<Option<Build>> {
        self.store.build_find(family, build).await
    }

    async fn advance(
        &self,
        lease: &LeaseRef,
        view: &RunView,
        stage: Stage,
        word: Option<Word>,
    ) -> Result<Fenced> {
        let note = word.map(|word| Note::new(word.template(), self.composer.run_facts(view)));
        let notes: Vec<Note> = note.into_iter().collect();
        self.store.run_advance(lease, stage, &notes, self.clock.now()).await
    }

    async fn progress(&self, lease: &LeaseRef, progress: &Progress) -> Result<Fenced> {
        self.store.run_progress(lease, progress, self.clock.now()).await
    }

    async fn first_failure(
        &self,
        lease: &LeaseRef,
        view: &RunView,
        attempt: u32,
        outcome: &Outcome,
    ) -> Result<Fenced> {
        let note = self.composer.outcome_note("run-first-failure", view, attempt, outcome);
        self.store.run_tell(lease, FIRST_FAILURE, &note, self.clock.now()).await
    }

    async fn settle(&self, ending: &Ending<'_>) -> Result<Fenced> {
        let full = self.settled(ending).await?;
        match self.store.run_settle(&full).await {
            Err(error) if error.is_lasting() => self.store.run_settle(&self.not_kept(ending, &error)).await,
            settled => settled,
        }
    }

    async fn state(&self, lease: &LeaseRef) -> Result<Option<LeaseState>> {
        self.store.lease_state(lease).await
    }

    async fn fenced(&self, lease: &LeaseRef) -> Result<Fenced> {
        self.store.lease_fenced(lease, self.clock.now()).await
    }

    async fn release(&self, lease: &LeaseRef, rest: &AtRest) -> Result<Fenced> {
        self.store.lease_release(lease, rest, self.clock.now()).await
    }

    async fn give_back(&self, leases: &[LeaseId]) -> Result<Vec<LeaseId>> {
        self.store.lease_return(leases, self.clock.now()).await
    }

    async fn take_away(&self, leases: &[LeaseId]) -> Result<()> {
        self.store.lease_lapse(leases, self.clock.now()).await.map(drop)
    }

    fn trust(&self, _: &LeaseRef) -> Trust {
        self.store.trust()
    }
}

impl Local {
    /// The same for leases of another process.
    pub fn of(&self, instance: InstanceId) -> Local {
        Local { instance, ..self.clone() }
    }

    /// What the end of an attempt comes to, with what is new about it.
    pub(super) async fn settled(&self, ending: &Ending<'_>) -> Result<Settle> {
        let mut full = self.settlement(ending, ending.outcome.clone());
        self.look_back(ending, &mut full).await?;
        Ok(full)
    }

    /// What it comes to where the store refuses its outcome for good: what it really came to cannot be kept, and the run
    /// ends as lab trouble that says so.
    pub(super) fn not_kept(&self, ending: &Ending<'_>, error: &StoreError) -> Settle {
        tracing::error!(%error, "the outcome cannot be kept: the run ends as lab trouble");
        let bare = Outcome {
            verdict: Verdict::Infra,
            cause: NOT_KEPT.to_owned(),
            stage: ending.outcome.stage,
            detail: format!("boardhand cannot keep its outcome: {error}"),
            excerpt: vec![],
            cases: vec![],
            counts: Counts::default(),
        };
        Settle { decision: Decision::Finish, ..self.settlement(ending, bare) }
    }

    /// What the end of an attempt comes to.
    fn settlement(&self, ending: &Ending<'_>, outcome: Outcome) -> Settle {
        let Ending { lease, view, retry, inventory, unfit, .. } = ending;
        let is_infra = |o: &Outcome| o.verdict == Verdict::Infra && !is_interrupted(&o.cause);
        let earlier = view.attempts.iter().filter(|a| a.outcome.as_ref().is_some_and(is_infra));
        let mut failed_on: Vec<BoardId> = earlier.map(|a| a.board.clone()).collect();
        if is_infra(&outcome) {
            failed_on.push(lease.board.clone());
        }
        let kind = view.run.spec.kind;
        // A health run is about its board: another board is no answer.
        let retry = if kind.is_test() { *retry } else { RetryPolicy { infra: 0, other_board: false } };
        let decision = decide(&outcome, retry, &failed_on);
        let settings = inventory.families.get(&view.run.spec.family);
        let board = inventory.board(lease.board.as_str());
        let now = self.clock.now();
        Settle {
            lease: (*lease).clone(),
            run: view.run.id,
            notes: self.notes(ending, settings, &outcome, &decision),
            board_fault: unfit.is_some() || is_board_fault(kind, &outcome),
            unfit: unfit.map(|problem| self.redactor.redact(problem).into_owned()),
            quarantine_after: settings.map_or(0, |settings| match kind {
                RunKind::Test => settings.quarantine_after,
                // A board that fails its check is out of service where nothing else is said.
                RunKind::Health => settings.quarantine_after.max(1),
            }),
            lookback: None,
            keepable: board.is_none_or(|board| !inventory.is_remote(board)),
            kept: Note::new("kept", hold_facts(&lease.board, board, &view.run.requested_by, now, "")),
            told: board.and_then(|board| self.told(ending, board, &outcome)),
            outcome,
            decision,
            now,
        }
    }

    /// Where a run ends and says something about its build: what is new beside the runs before it, for its threads and
    /// for the runs after it.
    async fn look_back(&self, ending: &Ending<'_>, settle: &mut Settle) -> Result<()> {
        let spec = &ending.view.run.spec;
        let outcome = &settle.outcome;
        let of_the_build = matches!(outcome.verdict, Verdict::Passed | Verdict::Failed | Verdict::TimedOut);
        if !of_the_build || settle.decision != Decision::Finish || !spec.kind.is_test() {
            return Ok(());
        }
        let past = match self.store.suite_past(&spec.family, &spec.suite).await {
            Err(error) if error.is_lasting() => {
                tracing::error!(%error, "nobody can look back: what is new about this run is not told");
                return Ok(());
            }
            past => past?,
        };
        let run = RunOfBuild { number: ending.view.run.number, build: spec.build.clone() };
        let this = Past { run, marks: Marks::of(&outcome.cases) };
        let comparison = compare(&this, &outcome.cases, &past.runs, past.good);
        for note in &mut settle.notes {
            note.facts.insert("comparison".into(), json!(comparison));
        }
        settle.lookback = Some(Lookback { comparison, marks: this.marks });
        Ok(())
    }

    /// What the thread is told about the end of an attempt.
    fn notes(
        &self,
        ending: &Ending<'_>,
        settings: Option<&FamilySettings>,
        outcome: &Outcome,
        decision: &Decision,
    ) -> Vec<Note> {
        let (view, attempt) = (ending.view, ending.attempt);
        let template = match (decision, outcome.verdict) {
            (Decision::TryAgain { .. }, _) if is_interrupted(&outcome.cause) => "run-requeued-after-restart",
            (Decision::TryAgain { .. }, _) => "run-infra-retry",
            (Decision::Finish, Verdict::Cancelled) => "run-cancelled",
            (Decision::Finish, _) => "run-finished",
        };
        let told = self.composer.outcome_note(template, view, attempt, outcome);
        let went_wrong = template == "run-finished" && outcome.verdict != Verdict::Passed;
        let log = (went_wrong && settings.is_some_and(|settings| settings.log_on_failure)).then(|| {
            let facts = self.composer.log_facts_of(&view.run, attempt, &ending.lease.board);
            Note::new(RUN_LOG, facts)
        });
        std::iter::once(told).chain(log).collect()
    }

    /// Who is told, and what, if this outcome takes the board out of service: its owner, in the default channel where
    /// there is one.
    fn told(&self, ending: &Ending<'_>, board: &Board, outcome: &Outcome) -> Option<(AnswerVia, Note)> {
        let open = ending.inventory.channels.default.as_deref().and_then(place);
        let place = open.or_else(|| place(board.owner.as_deref()?))?;
        let mut note = self.composer.outcome_note("board-broken", ending.view, ending.attempt, outcome);
        note.facts.insert("board".into(), json!(board.id));
        note.facts.insert("owner".into(), json!(board.owner));
        note.facts.insert("health".into(), json!(!ending.view.run.spec.kind.is_test()));
        // What its button brings back: the attempt says which board is meant.
        note.facts.insert("generation".into(), json!(ending.attempt));
        Some((AnswerVia::everybody(place), note))
    }
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
