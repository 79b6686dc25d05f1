//! News of an attempt while it runs: how far its tests and its files are, for the card, and the first failure, for the
//! thread.
//! Nothing here holds the console up or changes an outcome; what cannot be told in time is told by the outcome.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinHandle};

use super::bench::Bench;
use super::results::Results;
use crate::clock::Monotonic;
use crate::doorbell::Bell;
use crate::outcome::excerpt::{EndedBy, redacted_excerpt};
use crate::outcome::verdict::cause;
use crate::outcome::{Outcome, Verdict};
use crate::run::{Carrying, LeaseRef, Progress, Stage};
use crate::store::{Fenced, RunView};

/// How often the card learns how far the attempt is.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// How long the tests must go on after their first failure before the thread hears of it: an outcome that comes
/// sooner says the same, and more.
pub(super) const FIRST_FAILURE_AFTER: Duration = Duration::from_secs(2);

/// What was told of an attempt so far.
pub(super) struct News {
    lab: Arc<Bench>,
    view: RunView,
    attempt: u32,
    lease: LeaseRef,
    /// When the card heard last, and what.
    progress: (Monotonic, Progress),
    /// The last report to the store. While it is on its way, no other is sent: a slow disk must not pile them up.
    report: Option<JoinHandle<()>>,
    first_failure: Option<AbortHandle>,
}

impl News {
    /// Nothing was told yet.
    pub(super) fn new(lab: Arc<Bench>, view: RunView, attempt: u32, lease: LeaseRef) -> Self {
        let progress = (lab.clock.monotonic(), Progress::default());
        News { lab, view, attempt, lease, progress, report: None, first_failure: None }
    }

    /// Tells what is new. Called for every line of output, so it is cheap where nothing is.
    pub(super) fn tell(&mut self, results: &Results) {
        let counts = results.counts();
        if counts == self.progress.1.counts {
            return;
        }
        if counts.failed > 0 && self.first_failure.is_none() {
            self.tell_first_failure(results);
        }
        self.report(Progress { counts, carrying: None });
    }

    /// Tells how far a file is that goes over the console; one that has got nowhere yet is not worth a word.
    pub(super) fn carry(&mut self, carrying: Carrying) {
        if carrying.done > 0 {
            let counts = self.progress.1.counts;
            self.report(Progress { counts, carrying: Some(carrying) });
        }
    }

    /// The file is through, or given up: the card says no more of it.
    pub(super) async fn carried(&mut self) {
        if self.progress.1.carrying.take().is_none() {
            return;
        }
        if let Some(report) = self.report.take() {
            // One that came later would show the file again.
            let _ = report.await;
        }
        let _ = self.lab.desk.progress(&self.lease, &self.progress.1).await;
        self.lab.doorbell.ring(Bell::Relay);
    }

    fn report(&mut self, progress: Progress) {
        let now = self.lab.clock.monotonic();
        let is_busy = self.report.as_ref().is_some_and(|report| !report.is_finished());
        if now < self.progress.0 + PROGRESS_EVERY || is_busy {
            return;
        }
        self.progress = (now, progress.clone());
        let (lab, lease) = (self.lab.clone(), self.lease.clone());
        self.report = Some(tokio::spawn(async move {
            // Droppable: the next one, or the outcome, says more.
            let _ = lab.desk.progress(&lease, &progress).await;
            lab.doorbell.ring(Bell::Relay);
        }));
    }

    /// The tests are over: a first failure that was not told yet is the outcome's to tell.
    pub(super) fn over(&mut self) {
        if let Some(telling) = &self.first_failure {
            telling.abort();
        }
    }

    fn tell_first_failure(&mut self, results: &Results) {
        let outcome = self.first_failure(results);
        let (lab, lease) = (self.lab.clone(), self.lease.clone());
        let (view, attempt) = (self.view.clone(), self.attempt);
        let telling = tokio::spawn(async move {
            lab.clock.sleep(FIRST_FAILURE_AFTER).await;
            match lab.desk.first_failure(&lease, &view, attempt, &outcome).await {
                Ok(Fenced::Done) => lab.doorbell.ring(Bell::Relay),
                // The attempt has ended meanwhile.
                Ok(Fenced::Stale) => {}
                Err(error) => tracing::warn!(%error, "the first failure is told with the outcome only"),
            }
        });
        self.first_failure = Some(telling.abort_handle());
    }

    fn first_failure(&self, results: &Results) -> Outcome {
        let redactor = &self.lab.redactor;
        let cases: Vec<_> = results.first_failed().map(|case| case.redacted(redactor)).into_iter().collect();
        Outcome {
            verdict: Verdict::Failed,
            cause: cause::TESTS_FAILED.to_owned(),
            stage: Stage::Testing,
            detail: String::new(),
            excerpt: redacted_excerpt(redactor, &results.tail(), &cases, EndedBy::Word),
            cases,
            counts: results.counts(),
        }
    }
}

impl Drop for News {
    fn drop(&mut self) {
        self.over();
    }
}
