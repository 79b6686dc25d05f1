//! The transition table of a run: the whole life on one screen. Anything not listed is a bug in the caller.

use super::{LeaseRef, Run, RunState, Stage};
use crate::board::BoardId;
use crate::board::plan::RetryPolicy;
use crate::clock::Timestamp;
use crate::outcome::{Outcome, Verdict};

/// Most attempts that end because the process that drove them died: a run that kills its server every time must
/// not live for ever.
pub const LOST_ATTEMPTS_MAX: u32 = 20;

/// What happens to a run.
#[derive(Debug, Clone, PartialEq)]
pub enum RunEvent {
    /// The scheduler gave it a board.
    Granted {
        /// The lease.
        lease: LeaseRef,
        /// When.
        at: Timestamp,
    },
    /// The grant was taken back before anybody began: the attempt never was.
    TakenBack {
        /// Since when it waits.
        since: Timestamp,
        /// Boards that failed it before.
        avoid: Vec<BoardId>,
    },
    /// Its attempt reached a stage.
    Advanced(Stage),
    /// Its attempt ended, and this is what follows.
    Settled {
        /// How the attempt ended.
        outcome: Outcome,
        /// What follows.
        decision: Decision,
        /// When.
        at: Timestamp,
    },
    /// It was ended before it had a board.
    Withdrawn {
        /// How.
        outcome: Outcome,
        /// When.
        at: Timestamp,
    },
}

/// What follows the end of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The run is over.
    Finish,
    /// Another attempt.
    TryAgain {
        /// Boards that failed the run so far: avoided while another one could serve.
        avoid: Vec<BoardId>,
    },
}

/// An event that a run in its state cannot take.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("a run that is {state} cannot take {event:?}")]
pub struct IllegalTransition {
    /// The state's word.
    pub state: &'static str,
    /// The event.
    pub event: Box<RunEvent>,
}

impl Run {
    /// The run after `event`.
    pub fn apply(self, event: RunEvent) -> Result<Run, IllegalTransition> {
        let Run { state, .. } = &self;
        let next = next_state(state, event)?;
        // A request was made of the attempt that ended; it never carries over to the next one.
        let request = if matches!(next, RunState::Active { .. }) { self.request.clone() } else { None };
        Ok(Run { state: next, request, ..self })
    }
}

fn next_state(state: &RunState, event: RunEvent) -> Result<RunState, IllegalTransition> {
    use RunEvent as E;
    use RunState as S;
    match (state, event) {
        (S::Queued { attempt, .. }, E::Granted { lease, at }) => {
            Ok(S::Active { stage: Stage::Leased, attempt: *attempt, lease, started_at: at })
        }
        (S::Queued { attempt, .. }, E::Withdrawn { outcome, at }) => {
            Ok(S::Finished { outcome, attempt: attempt - 1, at })
        }
        (S::Active { stage: Stage::Leased, attempt, .. }, E::TakenBack { since, avoid }) => {
            Ok(S::Queued { since, attempt: *attempt, avoid })
        }
        (S::Active { stage, attempt, lease, started_at }, E::Advanced(next)) if next > *stage => {
            Ok(S::Active { stage: next, attempt: *attempt, lease: lease.clone(), started_at: *started_at })
        }
        (S::Active { attempt, .. }, E::Settled { outcome, decision: Decision::Finish, at }) => {
            Ok(S::Finished { outcome, attempt: *attempt, at })
        }
        (S::Active { attempt, .. }, E::Settled { decision: Decision::TryAgain { avoid }, at, .. }) => {
            Ok(S::Queued { since: at, attempt: attempt + 1, avoid })
        }
        (state, event) => Err(IllegalTransition { state: state.word(), event: Box::new(event) }),
    }
}

/// Decides what follows an attempt, given the boards of those that ended `infra` so far, this one among them.
/// Everything but `infra` finishes: a test that failed is never tried again unasked.
pub fn decide(outcome: &Outcome, retry: RetryPolicy, failed_on: &[BoardId]) -> Decision {
    if is_interrupted(&outcome.cause) {
        return Decision::TryAgain { avoid: vec![] };
    }
    let for_good = [POWER_CYCLED, POWER_CYCLE_FAILED, ARTIFACT_MISSING, ARTIFACT_MISMATCH]
        .contains(&outcome.cause.as_str());
    let tries = u32::try_from(failed_on.len()).unwrap_or(u32::MAX);
    if outcome.verdict != Verdict::Infra || for_good || tries > retry.infra {
        return Decision::Finish;
    }
    Decision::TryAgain { avoid: if retry.other_board { failed_on.to_vec() } else { vec![] } }
}

/// Cause of an attempt that somebody ended with Power Cycle: not retried unasked.
pub const POWER_CYCLED: &str = "power-cycled";
/// The same where the switch did not do it.
pub const POWER_CYCLE_FAILED: &str = "power-cycle-failed";
/// Cause of an attempt that did not find its build: no other board finds it either, so it is not retried unasked.
pub const ARTIFACT_MISSING: &str = "artifact-missing";
/// The same where what stands there is another file than its CI told of.
pub const ARTIFACT_MISMATCH: &str = "artifact-mismatch";
/// Cause of an attempt whose process died under it: always tried again, up to [`LOST_ATTEMPTS_MAX`].
pub const WORKER_LOST: &str = "worker-lost";
/// Cause of an attempt that its process handed back when it was told to stop: always tried again. However often a
/// server is updated, that says nothing about the run.
pub const HANDED_BACK: &str = "handed-back";

/// Whether this cause is an end that came from boardhand's own process: it says nothing about board or build.
pub fn is_interrupted(cause: &str) -> bool {
    [WORKER_LOST, HANDED_BACK].contains(&cause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Counts;

    fn outcome(verdict: Verdict, cause: &str) -> Outcome {
        Outcome {
            verdict,
            cause: cause.into(),
            stage: Stage::Testing,
            detail: String::new(),
            excerpt: vec![],
            cases: vec![],
            counts: Counts::default(),
        }
    }

    #[track_caller]
    fn check(verdict: Verdict, cause: &str, failed_on: &[&str], avoids: Option<&[&str]>) {
        let boards = |names: &[&str]| names.iter().map(|name| BoardId::new(*name)).collect::<Vec<_>>();
        let retry = RetryPolicy { infra: 2, other_board: true };
        let expect = avoids.map_or(Decision::Finish, |avoid| Decision::TryAgain { avoid: boards(avoid) });
        assert_eq!(decide(&outcome(verdict, cause), retry, &boards(failed_on)), expect);
    }

    #[test]
    fn only_infra_is_tried_again_and_at_most_twice() {
        check(Verdict::Passed, "", &[], None);
        check(Verdict::Failed, "tests-failed", &[], None);
        check(Verdict::TimedOut, "total-timeout", &[], None);
        check(Verdict::Infra, "console-busy", &["a"], Some(&["a"]));
        check(Verdict::Infra, "console-busy", &["a", "b"], Some(&["a", "b"]));
        check(Verdict::Infra, "console-busy", &["a", "b", "c"], None);
    }

    #[test]
    fn a_power_cycle_somebody_asked_for_is_not_tried_again_and_a_lost_worker_always_is() {
        check(Verdict::Infra, POWER_CYCLED, &["a"], None);
        check(Verdict::Infra, POWER_CYCLE_FAILED, &["a"], None);
        check(Verdict::Infra, WORKER_LOST, &["a", "b", "c", "d"], Some(&[]));
        check(Verdict::Infra, HANDED_BACK, &["a", "b", "c", "d"], Some(&[]));
    }
}
