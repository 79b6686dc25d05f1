//! The table of verdicts, row by row, and how rows combine.

use super::*;
use crate::clock::Timestamp;
use crate::lease::Fence;
use crate::outcome::CaseStatus;
use Happened as H;
use Stage::{Booting, Collecting, Deploying, Powering, Testing};
use Verdict::{Cancelled, Failed, Infra, Passed, TimedOut};

fn by() -> String {
    "slack:U1".into()
}

#[test]
fn the_table_of_verdicts() {
    let fatal = H::WatchFatal { verdict: Failed, cause: "panic".into() };
    let started = H::SilentWhileBooting { kernel_started: true };
    let status = H::CommandFailed { status: 1 };
    let table: &[(Stage, H, bool, Verdict, &str)] = &[
        (Powering, H::PowerUnreachable, false, Infra, "power-unreachable"),
        (Booting, H::ConsoleUnreachable, false, Infra, "console-unreachable"),
        (Booting, H::ConsoleBusy, false, Infra, "console-busy"),
        (Booting, H::ConsoleWedged, false, Infra, "console-wedged"),
        (Testing, H::ConsoleLost, false, Infra, "console-lost"),
        (Powering, H::PartnerNotFenced, false, Infra, "partner-not-fenced"),
        (Booting, H::LoginNeverOffered, false, Infra, "login-never-offered"),
        (Booting, H::LoginRefused, false, Infra, "login-refused"),
        (Booting, H::BootloaderError, false, Infra, "bootloader-error"),
        (Booting, H::ResetLoop, false, Infra, "reset-loop"),
        (Deploying, H::TransferFailed, false, Infra, "transfer-failed"),
        (Deploying, H::ArtifactMissing, false, Infra, "artifact-missing"),
        (Deploying, H::ArtifactMismatch, false, Infra, "artifact-mismatch"),
        (Deploying, H::HostStepFailed, false, Infra, "host-step-failed"),
        (Booting, H::SilentWhileBooting { kernel_started: false }, false, Infra, "boot-silent"),
        (Booting, started.clone(), false, Failed, "boot-silent"),
        (Booting, started, true, Infra, "boot-silent"),
        (Booting, H::PanicWhileBooting, false, Failed, "boot-panic"),
        (Booting, H::PanicWhileBooting, true, Infra, "boot-panic"),
        (Booting, H::ResetWhileBooting, false, Failed, "boot-reset"),
        (Booting, H::ResetWhileBooting, true, Infra, "boot-reset"),
        (Booting, status.clone(), false, Infra, "command-failed"),
        (Deploying, status.clone(), false, Infra, "command-failed"),
        (Testing, status, false, Failed, "exit-status"),
        (Testing, H::StepTimeout, false, Failed, "step-timeout"),
        (Deploying, H::StepTimeout, false, Infra, "step-timeout"),
        (Testing, H::NoOutput, false, TimedOut, "no-output"),
        (Booting, H::TotalTimeout, false, TimedOut, "total-timeout"),
        (Testing, fatal.clone(), false, Failed, "panic"),
        (Booting, fatal.clone(), false, Failed, "boot-panic"),
        (Booting, fatal.clone(), true, Infra, "boot-panic"),
        (Deploying, fatal.clone(), true, Failed, "panic"),
        (Collecting, fatal, false, Failed, "panic"),
        (Testing, H::BoardSilentInTest, false, Infra, "board-silent"),
        (Testing, H::BoardReset, false, Infra, "board-reset"),
        (Testing, H::TestsFailed, false, Failed, "tests-failed"),
        (Testing, H::ResultsIncomplete, false, Failed, "incomplete"),
        (Testing, H::NoResults, false, Failed, "no-results"),
        (Testing, H::PowerCycledBy { actor: by(), done: true }, false, Infra, "power-cycled"),
        (Testing, H::PowerCycledBy { actor: by(), done: false }, false, Infra, "power-cycle-failed"),
        (Booting, H::CancelledBy { actor: by() }, false, Cancelled, "cancelled"),
        (Testing, H::LeaseLost, false, Infra, "lease-lost"),
        (Testing, H::WorkerLost, false, Infra, "worker-lost"),
    ];
    let told = told();
    for (stage, happened, golden, verdict, cause) in table {
        let says = told.get(*cause).is_some_and(|says| says.contains(&format!("`{}`", verdict.as_str())));
        assert!(says || *cause == "panic", "docs/verdicts.md: {cause} {verdict:?}");
        let expect = Some((*verdict, (*cause).to_owned()));
        assert_eq!(classify(*stage, happened, *golden), expect, "{stage:?} {happened:?} golden: {golden}");
    }
}

/// The verdicts of docs/verdicts.md by their causes.
fn told() -> std::collections::BTreeMap<&'static str, &'static str> {
    let page = include_str!("../../../docs/verdicts.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | "));
    let rows = rows.filter_map(|(causes, rest)| Some((causes, rest.split_once(" | ")?.0)));
    rows.flat_map(|(causes, says)| {
        causes.split('`').filter(|word| !word.contains([' ', ','])).map(move |c| (c, says))
    })
    .collect()
}

#[test]
fn every_cause_that_the_docs_tell_of_is_one() {
    let source = [
        include_str!("../verdict.rs"),
        include_str!("../../run/transition.rs"),
        include_str!("../../worker/local.rs"),
        include_str!("../../worker/runner.rs"),
        include_str!("../../worker/stranded.rs"),
        include_str!("../../store/sql/unreadable.rs"),
        include_str!("../../console/builtin.rs"),
    ]
    .concat();
    let causes: Vec<&str> =
        told().into_keys().filter(|word| word.contains('-') && !word.starts_with('/')).collect();
    assert!(causes.len() > 30, "{causes:?}");
    for cause in causes {
        let ours = cause == "boot-" || Verdict::from_word(cause).is_some();
        assert!(ours || source.contains(&format!("\"{cause}\"")), "{cause}");
    }
}

#[test]
fn trouble_while_gathering_evidence_changes_no_verdict() {
    for happened in
        [H::CommandFailed { status: 1 }, H::StepTimeout, H::NoOutput, H::ConsoleLost, H::TransferFailed]
    {
        assert_eq!(classify(Collecting, &happened, false), None, "{happened:?}");
    }
    assert!(classify(Collecting, &H::TotalTimeout, false).is_some());
}

fn event(stage: Stage, happened: H) -> Event {
    Event { stage, happened, detail: "detail".into() }
}

fn attempt(board: &str, cause: &str) -> Attempt {
    let (verdict, cause) = (Infra, cause.to_owned());
    let outcome = Outcome {
        verdict,
        cause,
        stage: Testing,
        detail: String::new(),
        excerpt: vec![],
        cases: vec![],
        counts: Counts::default(),
    };
    Attempt {
        number: 1,
        board: BoardId::new(board),
        others: vec![],
        fence: Fence(1),
        started_at: Timestamp::from_micros(0),
        ended_at: None,
        outcome: Some(outcome),
    }
}

/// Of these events the last one ended the attempt.
#[track_caller]
fn check(events: &[Event], failed: u32, before: &[Attempt], expect: (Verdict, &str)) -> Outcome {
    let (halted, events) = events.split_last().map_or((None, events), |(last, rest)| (Some(last), rest));
    check_all(events, halted, failed, before, expect)
}

#[track_caller]
fn check_all(
    events: &[Event],
    halted: Option<&Event>,
    failed: u32,
    before: &[Attempt],
    expect: (Verdict, &str),
) -> Outcome {
    let case = TestCase::new("t", CaseStatus::Failed, "");
    let outcome = weigh(Evidence {
        events,
        halted,
        stage: Collecting,
        cases: vec![case; failed as usize],
        counts: Counts { passed: 1, failed, skipped: 0 },
        excerpt: vec!["a line".into()],
        golden: false,
        board: &BoardId::new("b2"),
        before,
    });
    assert_eq!((outcome.verdict, outcome.cause.as_str()), expect);
    outcome
}

#[test]
fn the_worst_decides_and_of_equals_the_first() {
    let passed = check(&[], 0, &[], (Passed, ""));
    assert!(passed.excerpt.is_empty() && passed.detail.is_empty());
    let failed = event(Testing, H::CommandFailed { status: 1 });
    let lost = event(Testing, H::ConsoleLost);
    let late = event(Testing, H::TotalTimeout);
    let cancelled = event(Testing, H::CancelledBy { actor: by() });
    check(std::slice::from_ref(&lost), 0, &[], (Infra, "console-lost"));
    check(&[lost.clone(), late.clone()], 0, &[], (TimedOut, "total-timeout"));
    check(&[late, failed.clone(), lost], 0, &[], (Failed, "exit-status"));
    check(&[failed.clone(), cancelled], 2, &[], (Cancelled, "cancelled"));
    check(&[failed.clone(), event(Testing, H::StepTimeout)], 0, &[], (Failed, "exit-status"));
    let told = check(&[failed], 2, &[], (Failed, "tests-failed"));
    assert_eq!((told.stage, told.detail.as_str()), (Testing, "2 of 3 failed, first t"));
}

#[test]
fn a_board_that_is_lost_is_infra_once_and_the_builds_fault_on_another_board() {
    let silent = [event(Testing, H::BoardSilentInTest)];
    check(&silent, 0, &[], (Infra, "board-silent"));
    check(&silent, 0, &[attempt("b2", "board-silent")], (Infra, "board-silent"));
    check(&silent, 0, &[attempt("b1", "board-reset")], (Infra, "board-silent"));
    check(&silent, 0, &[attempt("b1", "console-busy")], (Infra, "board-silent"));
    check(&silent, 0, &[attempt("b1", "board-silent")], (Failed, "board-lost"));
}

#[test]
fn results_that_a_lost_board_cut_do_not_make_it_red() {
    let incomplete = event(Testing, H::ResultsIncomplete);
    check(std::slice::from_ref(&incomplete), 0, &[], (Failed, "incomplete"));
    check(&[incomplete.clone(), event(Testing, H::BoardReset)], 0, &[], (Infra, "board-reset"));
    check(
        &[incomplete, event(Testing, H::PowerCycledBy { actor: by(), done: true })],
        0,
        &[],
        (Infra, "power-cycled"),
    );
    check(&[event(Testing, H::NoResults), event(Testing, H::LeaseLost)], 0, &[], (Infra, "lease-lost"));
}

#[test]
fn what_ended_nothing_excuses_no_missing_results() {
    let hung = event(Booting, H::WatchFatal { verdict: Infra, cause: "hung-task".into() });
    let incomplete = event(Testing, H::ResultsIncomplete);
    let none = event(Testing, H::NoResults);
    check_all(&[hung.clone(), incomplete], None, 0, &[], (Failed, "incomplete"));
    check_all(&[hung.clone(), none.clone()], None, 0, &[], (Failed, "no-results"));
    check_all(std::slice::from_ref(&none), Some(&hung), 0, &[], (Infra, "hung-task"));
    // What ended the attempt must itself be able to cut them.
    check_all(&[none], Some(&event(Testing, H::HostStepFailed)), 0, &[], (Failed, "no-results"));
    check_all(&[hung], None, 0, &[], (Infra, "hung-task"));
}

#[test]
fn a_power_cycle_that_somebody_asked_for_is_lab_trouble_whatever_failed_before() {
    let cycled = event(Testing, H::PowerCycledBy { actor: by(), done: true });
    let fatal = event(Testing, H::WatchFatal { verdict: Failed, cause: "oops".into() });
    let outcome = check(&[fatal.clone(), cycled.clone()], 2, &[], (Infra, "power-cycled"));
    assert_eq!((outcome.cases.len(), outcome.counts.failed, outcome.excerpt.len()), (2, 2, 0));
    check(&[cycled.clone(), event(Testing, H::TotalTimeout)], 1, &[], (Infra, "power-cycled"));
    // Whoever asked to end the run is told that it ended so.
    check(&[fatal, cycled, event(Testing, H::CancelledBy { actor: by() })], 2, &[], (Cancelled, "cancelled"));
}

#[test]
fn parsed_results_tell_what_is_missing() {
    let mut results = Results::default();
    assert_eq!(result_events(Testing, &results)[0].happened, H::NoResults);
    results.counts.passed = 1;
    assert_eq!(result_events(Testing, &results), vec![]);
    results.incomplete = Some("1 of 2 results came".into());
    results.bail_out = Some("no memory".into());
    assert_eq!(result_events(Testing, &results)[0].detail, "bailed out: no memory");
}
