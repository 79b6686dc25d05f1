//! News of an attempt while its tests run: how far they are, for the card, and the first failure, for the thread.
//! Nothing here holds the console up or changes an outcome; what cannot be told in time is told by the outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::AbortHandle;

use super::results::Results;
use super::runner::Lab;
use crate::clock::Monotonic;
use crate::doorbell::Bell;
use crate::message::Note;
use crate::outcome::excerpt::{EndedBy, redacted_excerpt};
use crate::outcome::verdict::cause;
use crate::outcome::{Counts, Outcome, Verdict};
use crate::run::{LeaseRef, Stage};
use crate::store::{Fenced, RunView};

/// How often the card learns how far the tests are.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// How long the tests must go on after their first failure before the thread hears of it: an outcome that comes
/// sooner says the same, and more.
pub(super) const FIRST_FAILURE_AFTER: Duration = Duration::from_secs(2);

/// The first failure's place among what an attempt tells before its end.
const FIRST_FAILURE: u32 = 1;

/// What was told of an attempt so far.
pub(super) struct News {
    lab: Arc<Lab>,
    view: RunView,
    attempt: u32,
    lease: LeaseRef,
    /// When the card heard last, and what.
    progress: (Monotonic, Counts),
    /// Whether a report is still on its way to the store: a slow disk must not pile them up.
    reporting: Arc<AtomicBool>,
    first_failure: Option<AbortHandle>,
}

impl News {
    /// Nothing was told yet.
    pub(super) fn new(lab: Arc<Lab>, view: RunView, attempt: u32, lease: LeaseRef) -> Self {
        let progress = (lab.clock.monotonic(), Counts::default());
        News { lab, view, attempt, lease, progress, reporting: Arc::default(), first_failure: None }
    }

    /// Tells what is new. Called for every line of output, so it is cheap where nothing is.
    pub(super) fn tell(&mut self, results: &Results) {
        let counts = results.counts();
        if counts == self.progress.1 {
            return;
        }
        if counts.failed > 0 && self.first_failure.is_none() {
            self.tell_first_failure(results);
        }
        let now = self.lab.clock.monotonic();
        if now < self.progress.0 + PROGRESS_EVERY || self.reporting.swap(true, Ordering::AcqRel) {
            return;
        }
        self.progress = (now, counts);
        let (lab, lease, reporting) = (self.lab.clone(), self.lease.clone(), self.reporting.clone());
        tokio::spawn(async move {
            // Droppable: the next one, or the outcome, says more.
            let _ = lab.store.run_progress(&lease, counts, lab.clock.now()).await;
            reporting.store(false, Ordering::Release);
            lab.doorbell.ring(Bell::Relay);
        });
    }

    /// The tests are over: a first failure that was not told yet is the outcome's to tell.
    pub(super) fn over(&mut self) {
        if let Some(telling) = &self.first_failure {
            telling.abort();
        }
    }

    fn tell_first_failure(&mut self, results: &Results) {
        let note = self.first_failure_note(results);
        let (lab, lease) = (self.lab.clone(), self.lease.clone());
        let telling = tokio::spawn(async move {
            lab.clock.sleep(FIRST_FAILURE_AFTER).await;
            match lab.store.run_tell(&lease, FIRST_FAILURE, &note, lab.clock.now()).await {
                Ok(Fenced::Done) => lab.doorbell.ring(Bell::Relay),
                // The attempt has ended meanwhile.
                Ok(Fenced::Stale) => {}
                Err(error) => tracing::warn!(%error, "the first failure is told with the outcome only"),
            }
        });
        self.first_failure = Some(telling.abort_handle());
    }

    fn first_failure_note(&self, results: &Results) -> Note {
        let redactor = &self.lab.redactor;
        let cases: Vec<_> = results.first_failed().map(|case| case.redacted(redactor)).into_iter().collect();
        let outcome = Outcome {
            verdict: Verdict::Failed,
            cause: cause::TESTS_FAILED.to_owned(),
            stage: Stage::Testing,
            detail: String::new(),
            excerpt: redacted_excerpt(redactor, &results.tail(), &cases, EndedBy::Word),
            cases,
            counts: results.counts(),
        };
        self.lab.composer.outcome_note("run-first-failure", &self.view, self.attempt, &outcome)
    }
}

impl Drop for News {
    fn drop(&mut self) {
        self.over();
    }
}
