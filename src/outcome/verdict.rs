//! Verdict: what happened on a board, weighed. The table of verdicts is [`classify`]; [`weigh`] combines everything
//! that happened in one attempt into its [`Outcome`]. Never talks to a board, never decides about retries
//! (`run::transition`).
//!
//! The promise behind the table is that red means red: `failed` says something about the build, `infra` about the
//! lab. While evidence is gathered (`collecting`), a step or console that fails changes no verdict: the tests have
//! spoken.

use crate::board::BoardId;
use crate::outcome::parse::Results;
use crate::outcome::{Counts, Outcome, TestCase, Verdict};
use crate::run::transition::{
    ARTIFACT_MISMATCH, ARTIFACT_MISSING, POWER_CYCLE_FAILED, POWER_CYCLED, WORKER_LOST,
};
use crate::run::{Attempt, Stage};

/// Causes, as they stand in tables, the API and templates.
pub mod cause {
    /// The same silent or reset board as before, on another board: the build does it.
    pub const BOARD_LOST: &str = "board-lost";
    /// The board fell silent during a test.
    pub const BOARD_SILENT: &str = "board-silent";
    /// The board restarted during a test, unasked.
    pub const BOARD_RESET: &str = "board-reset";
    /// Test cases failed.
    pub const TESTS_FAILED: &str = "tests-failed";
    /// Results were promised that did not come.
    pub const INCOMPLETE: &str = "incomplete";
    /// A step that was to give results gave none.
    pub const NO_RESULTS: &str = "no-results";
    /// Somebody ended the run.
    pub const CANCELLED: &str = "cancelled";
}

/// Something that happened during an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// Nobody answers at the console's address.
    ConsoleUnreachable,
    /// Somebody else has the console's port.
    ConsoleBusy,
    /// The console takes what is typed and never reacts.
    ConsoleWedged,
    /// The console's connection broke and did not come back, or what it says makes no sense.
    ConsoleLost,
    /// The switch did not do as it was told.
    PowerUnreachable,
    /// No login prompt and no shell came up, though the board was not silent.
    LoginNeverOffered,
    /// The board refused the user name or password.
    LoginRefused,
    /// The boot loader reported an error or offered no prompt.
    BootloaderError,
    /// Another board that the run holds was not released by its last holder and could not be made the run's.
    PartnerNotFenced,
    /// A file did not reach the board, or did not come back.
    TransferFailed,
    /// What was to be carried or booted is not where builds are: nobody put it there, or its name is another.
    ArtifactMissing,
    /// What stands there is another file than was told of.
    ArtifactMismatch,
    /// A step on boardhand's own machine failed.
    HostStepFailed,
    /// The board fell silent before it offered a login.
    SilentWhileBooting {
        /// Whether the kernel had said something.
        kernel_started: bool,
    },
    /// The kernel panicked before it offered a login.
    PanicWhileBooting,
    /// The board restarted after its kernel had started and before it offered a login.
    ResetWhileBooting,
    /// The board restarted again and again before it came to its kernel.
    ResetLoop,
    /// A `run` step ended with another status than 0.
    CommandFailed {
        /// Its exit status.
        status: i32,
    },
    /// A step outlasted its `within`.
    StepTimeout,
    /// The board was silent for longer than `no_output` allows.
    NoOutput,
    /// The attempt outlasted `total`.
    TotalTimeout,
    /// A watch pattern with a verdict matched, whether it ended the attempt or not. A `failed` one while booting counts as a boot that died.
    WatchFatal {
        /// The verdict that the plan gives it.
        verdict: Verdict,
        /// Its cause.
        cause: String,
    },
    /// During a test the board fell silent and left no trace.
    BoardSilentInTest,
    /// The board restarted unasked during deploy or test, and left no trace.
    BoardReset,
    /// Test cases failed.
    TestsFailed,
    /// Results were cut short.
    ResultsIncomplete,
    /// No test case at all.
    NoResults,
    /// Somebody asked for a power cycle of the board under the run, which ends its attempt.
    PowerCycledBy {
        /// Who: `slack:U1`.
        actor: String,
        /// Whether the switch did as it was told.
        done: bool,
    },
    /// Somebody cancelled the run.
    CancelledBy {
        /// Who: `slack:U1`.
        actor: String,
    },
    /// The lease could not be renewed in time.
    LeaseLost,
    /// The process that drove the attempt is gone.
    WorkerLost,
}

/// What `happened` in `stage` means; `None` when it changes no verdict. `golden`: the plan's image is known to be
/// good, so a boot that dies is the lab's fault.
pub fn classify(stage: Stage, happened: &Happened, golden: bool) -> Option<(Verdict, String)> {
    use Happened as H;
    use Verdict::{Cancelled, Failed, Infra, TimedOut};
    let collecting = stage == Stage::Collecting;
    let boot = if golden { Infra } else { Failed };
    let (verdict, cause) = match happened {
        H::CancelledBy { .. } => (Cancelled, cause::CANCELLED),
        H::PowerCycledBy { done: true, .. } => (Infra, POWER_CYCLED),
        H::PowerCycledBy { done: false, .. } => (Infra, POWER_CYCLE_FAILED),
        H::LeaseLost => (Infra, "lease-lost"),
        H::WorkerLost => (Infra, WORKER_LOST),
        H::TotalTimeout => (TimedOut, "total-timeout"),
        // A pattern that sees the boot die says no more than a panic that the boot itself noticed.
        H::WatchFatal { verdict: Failed, cause } if stage <= Stage::Booting => {
            return Some((boot, format!("boot-{cause}")));
        }
        H::WatchFatal { verdict, cause } => return Some((*verdict, cause.clone())),
        H::TestsFailed => (Failed, cause::TESTS_FAILED),
        H::ResultsIncomplete => (Failed, cause::INCOMPLETE),
        H::NoResults => (Failed, cause::NO_RESULTS),
        _ if collecting => return None,
        H::NoOutput => (TimedOut, "no-output"),
        H::ConsoleUnreachable => (Infra, "console-unreachable"),
        H::ConsoleBusy => (Infra, "console-busy"),
        H::ConsoleWedged => (Infra, "console-wedged"),
        H::ConsoleLost => (Infra, "console-lost"),
        H::PowerUnreachable => (Infra, "power-unreachable"),
        H::PartnerNotFenced => (Infra, "partner-not-fenced"),
        H::LoginNeverOffered => (Infra, "login-never-offered"),
        H::LoginRefused => (Infra, "login-refused"),
        H::BootloaderError => (Infra, "bootloader-error"),
        H::TransferFailed => (Infra, "transfer-failed"),
        H::ArtifactMissing => (Infra, ARTIFACT_MISSING),
        H::ArtifactMismatch => (Infra, ARTIFACT_MISMATCH),
        H::HostStepFailed => (Infra, "host-step-failed"),
        H::SilentWhileBooting { kernel_started: false } => (Infra, "boot-silent"),
        H::SilentWhileBooting { kernel_started: true } => (boot, "boot-silent"),
        H::PanicWhileBooting => (boot, "boot-panic"),
        H::ResetWhileBooting => (boot, "boot-reset"),
        H::ResetLoop => (Infra, "reset-loop"),
        H::CommandFailed { .. } if stage == Stage::Testing => (Failed, "exit-status"),
        H::CommandFailed { .. } => (Infra, "command-failed"),
        // Nothing of deploy speaks about the build: a server that swallows what a board asks of it is the lab's.
        H::StepTimeout if stage <= Stage::Deploying => (Infra, "step-timeout"),
        H::StepTimeout => (Failed, "step-timeout"),
        H::BoardSilentInTest => (Infra, cause::BOARD_SILENT),
        H::BoardReset => (Infra, cause::BOARD_RESET),
    };
    Some((verdict, cause.to_owned()))
}

impl Happened {
    /// Whether nothing more came of a board, or not in time.
    pub fn is_silence(&self) -> bool {
        use Happened as H;
        matches!(
            self,
            H::SilentWhileBooting { .. }
                | H::BoardSilentInTest
                | H::NoOutput
                | H::StepTimeout
                | H::TotalTimeout
                | H::ConsoleWedged
        )
    }

    /// Whether it ends tests from outside, so that results that did not come are its consequence.
    fn cuts_results(&self) -> bool {
        use Happened as H;
        match self {
            H::TestsFailed
            | H::ResultsIncomplete
            | H::NoResults
            | H::CommandFailed { .. }
            | H::LoginRefused
            | H::PartnerNotFenced
            | H::HostStepFailed
            | H::TransferFailed
            | H::ArtifactMissing
            | H::ArtifactMismatch => false,
            H::ConsoleUnreachable
            | H::ConsoleBusy
            | H::ConsoleWedged
            | H::ConsoleLost
            | H::PowerUnreachable
            | H::LoginNeverOffered
            | H::BootloaderError
            | H::SilentWhileBooting { .. }
            | H::PanicWhileBooting
            | H::ResetWhileBooting
            | H::ResetLoop
            | H::StepTimeout
            | H::NoOutput
            | H::TotalTimeout
            | H::WatchFatal { .. }
            | H::BoardSilentInTest
            | H::BoardReset
            | H::PowerCycledBy { .. }
            | H::CancelledBy { .. }
            | H::LeaseLost
            | H::WorkerLost => true,
        }
    }
}

/// One thing that happened, where, and what to tell about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Where.
    pub stage: Stage,
    /// What.
    pub happened: Happened,
    /// One sentence for people, without markup; may hold text from the board.
    pub detail: String,
}

/// Everything that is known when an attempt ends.
#[derive(Debug, Clone)]
pub struct Evidence<'a> {
    /// What happened and ended nothing, in its order. Failed cases need no event: [`weigh`] sees them in the results.
    pub events: &'a [Event],
    /// What ended the attempt before its plan was through: nothing else can have cut its results short.
    pub halted: Option<&'a Event>,
    /// The last stage that was reached.
    pub stage: Stage,
    /// Test cases of all steps together.
    pub cases: Vec<TestCase>,
    /// Their counts.
    pub counts: Counts,
    /// Console lines that a person would have picked.
    pub excerpt: Vec<String>,
    /// `boots: golden`.
    pub golden: bool,
    /// The board of this attempt.
    pub board: &'a BoardId,
    /// The attempts before this one.
    pub before: &'a [Attempt],
}

/// The outcome of an attempt: the worst of what happened decides; of equals, the first. Only somebody's Power Cycle
/// outweighs what failed before it, since the attempt was not let to its end; the cases seen are kept.
pub fn weigh(evidence: Evidence<'_>) -> Outcome {
    let cut = evidence.halted.is_some_and(|event| event.happened.cuts_results());
    let tests_failed = (evidence.counts.failed > 0).then(|| Event {
        stage: Stage::Testing,
        happened: Happened::TestsFailed,
        detail: tests_failed_detail(evidence.counts, &evidence.cases),
    });
    let happened = || evidence.events.iter().chain(evidence.halted);
    let cycled = happened().any(|event| matches!(event.happened, Happened::PowerCycledBy { .. }));
    let asked = |event: &Event| {
        matches!(event.happened, Happened::PowerCycledBy { .. } | Happened::CancelledBy { .. })
    };
    let mut worst: Option<(Verdict, String, &Event, Option<&Attempt>)> = None;
    // What failed outright is told before what merely ended with a status because of it.
    for event in tests_failed.iter().chain(happened()) {
        if cycled && !asked(event) {
            continue;
        }
        if cut && matches!(event.happened, Happened::ResultsIncomplete | Happened::NoResults) {
            continue;
        }
        let Some((verdict, cause)) = classify(event.stage, &event.happened, evidence.golden) else {
            continue;
        };
        let (verdict, cause, before) = board_lost(verdict, cause, &evidence);
        if verdict > worst.as_ref().map_or(Verdict::Passed, |(worst, ..)| *worst) {
            worst = Some((verdict, cause, event, before));
        }
    }
    let (verdict, cause, stage, detail) = match worst {
        Some((verdict, cause, event, before)) => {
            (verdict, cause, event.stage, lost_twice(event.detail.clone(), before, evidence.board))
        }
        None => (Verdict::Passed, String::new(), evidence.stage, String::new()),
    };
    // What somebody ended needs no explanation by its console.
    let asked_for = verdict == Verdict::Cancelled || cycled;
    let excerpt = if verdict == Verdict::Passed || asked_for { vec![] } else { evidence.excerpt };
    Outcome { verdict, cause, stage, detail, excerpt, cases: evidence.cases, counts: evidence.counts }
}

/// A board that falls silent or restarts during a test may be broken. Two boards that do so are not: the build is. Gives
/// the attempt on the other board, too.
fn board_lost<'a>(
    verdict: Verdict,
    cause: String,
    evidence: &Evidence<'a>,
) -> (Verdict, String, Option<&'a Attempt>) {
    let without_trace =
        verdict == Verdict::Infra && [cause::BOARD_SILENT, cause::BOARD_RESET].contains(&&*cause);
    let elsewhere = |attempt: &Attempt| {
        attempt.board != *evidence.board && attempt.outcome.as_ref().is_some_and(|o| o.cause == cause)
    };
    match evidence.before.iter().find(|attempt| without_trace && elsewhere(attempt)) {
        Some(before) => (Verdict::Failed, cause::BOARD_LOST.to_owned(), Some(before)),
        None => (verdict, cause, None),
    }
}

/// Why the second board that is lost in the same way is the build's doing.
fn lost_twice(detail: String, before: Option<&Attempt>, board: &BoardId) -> String {
    match before {
        None => detail,
        Some(Attempt { board: first, number, .. }) => {
            format!(
                "{detail}; {first} did the same in attempt {number}, so it is not {board} but what was tested"
            )
        }
    }
}

/// Events of one test step's parsed results, for [`Evidence::events`].
pub fn result_events(stage: Stage, results: &Results) -> Vec<Event> {
    if results.counts.total() == 0 && !results.planned && results.bail_out.is_none() {
        let detail = "the step gave no test case".to_owned();
        return vec![Event { stage, happened: Happened::NoResults, detail }];
    }
    if let Some(missing) = &results.incomplete {
        let detail = match results.bail_out.as_deref() {
            Some(reason) if !reason.is_empty() => format!("bailed out: {reason}"),
            _ => missing.clone(),
        };
        return vec![Event { stage, happened: Happened::ResultsIncomplete, detail }];
    }
    vec![]
}

fn tests_failed_detail(counts: Counts, cases: &[TestCase]) -> String {
    let first = cases.iter().find(|case| case.status == super::CaseStatus::Failed);
    match first {
        Some(case) => format!("{} of {} failed, first {}", counts.failed, counts.total(), case.name),
        None => format!("{} of {} failed", counts.failed, counts.total()),
    }
}

#[cfg(test)]
mod tests;
