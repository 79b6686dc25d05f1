//! Reports as another program counts them: read back with the reader of JUnit files, and by eye where that says nothing.

use super::*;
use crate::board::{BoardId, Family};
use crate::chat::{Actor, Place, Platform};
use crate::clock::Timestamp;
use crate::id::{Ids, RunId};
use crate::lease::Fence;
use crate::outcome::{Counts, Measurement};
use crate::run::{Priority, RunKind, RunSpec, Selector, Stage};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000 + seconds * 1_000_000)
}

fn outcome(verdict: Verdict, cause: &str, cases: Vec<TestCase>) -> Outcome {
    Outcome {
        verdict,
        cause: cause.into(),
        stage: Stage::Testing,
        detail: "the console said \u{1b}[31mno".into(),
        excerpt: vec!["<ttyS0> & \u{0}line".into()],
        counts: Counts::default(),
        cases,
    }
}

/// The report of a run that took 12.5 s and two attempts.
fn report_of(last: Outcome) -> String {
    let actor =
        Actor { platform: Platform::Jenkins, id: "j".into(), team: String::new(), name: String::new() };
    let attempt = |number, outcome: Outcome| Attempt {
        number,
        board: BoardId::new("soc-a-001"),
        others: vec![],
        fence: Fence(number.into()),
        started_at: at(1),
        ended_at: Some(at(12)),
        outcome: Some(outcome),
    };
    let attempts = [attempt(1, outcome(Verdict::Infra, "console-busy", vec![])), attempt(2, last.clone())];
    let run = Run {
        id: RunId::new(&Ids::seeded(1), at(0)),
        number: 42,
        spec: RunSpec {
            kind: RunKind::Test,
            family: Family::new("socA"),
            build: "build-1".into(),
            suite: "smoke".into(),
            selector: Selector::default(),
            priority: Priority::Normal,
            boards: 1,
            on_own_board: false,
            timeout: None,
            params: Default::default(),
        },
        requested_by: actor,
        origin: Place { platform: Platform::Jenkins, channel: String::new(), thread: None },
        created_at: at(0),
        retry_of: None,
        batch: None,
        state: RunState::Finished {
            outcome: last,
            attempt: 2,
            at: Timestamp::from_micros(at(12).as_micros() + 500_000),
        },
        request: None,
    };
    report(&run, &attempts).expect("it has ended")
}

#[test]
fn every_kind_of_case_stands_as_what_it_is_and_the_counts_are_theirs() {
    let case = |name: &str, status, note: &str| TestCase::new(name, status, note);
    let measured = TestCase {
        took_us: Some(1_500_000),
        measurement: Some(Measurement { value: "1.20".into(), unit: "MB/s".into() }),
        ..case("copy", CaseStatus::Passed, "")
    };
    let cases = vec![
        case("a \"quoted\" <name>", CaseStatus::Passed, ""),
        measured,
        case("b", CaseStatus::Failed, "expected 1\ngot 2"),
        case("c", CaseStatus::Skipped, "no GPU"),
        case("d", CaseStatus::ExpectedFailure, ""),
    ];
    insta::assert_snapshot!(report_of(outcome(Verdict::Failed, "tests-failed", cases)), @r#"
    <?xml version="1.0" encoding="UTF-8"?>
    <testsuites>
      <testsuite name="socA.smoke" timestamp="2027-01-15T08:00:01.000Z" time="12.500" tests="5" failures="1" errors="0" skipped="2">
        <properties>
          <property name="run" value="42"/>
          <property name="build" value="build-1"/>
          <property name="verdict" value="failed"/>
          <property name="attempt.1" value="soc-a-001 infra console-busy"/>
          <property name="attempt.2" value="soc-a-001 failed tests-failed"/>
        </properties>
        <testcase classname="socA.smoke" name="a &quot;quoted&quot; &lt;name&gt;"/>
        <testcase classname="socA.smoke" name="copy" time="1.500000">
          <system-out>measured 1.20 MB/s</system-out>
        </testcase>
        <testcase classname="socA.smoke" name="b">
          <failure message="expected 1">expected 1
    got 2</failure>
        </testcase>
        <testcase classname="socA.smoke" name="c">
          <skipped message="no GPU"/>
        </testcase>
        <testcase classname="socA.smoke" name="d">
          <skipped message="failed as expected"/>
        </testcase>
      </testsuite>
    </testsuites>
    "#);
}

#[track_caller]
fn own(verdict: Verdict, cause: &str, cases: Vec<TestCase>, counts: &str, says: &str) {
    let report = report_of(outcome(verdict, cause, cases));
    assert!(report.contains(counts) && report.contains(says), "{report}");
    assert!(!report.chars().any(|c| c.is_control() && !c.is_whitespace()), "{report:?}");
}

#[test]
fn what_the_lab_did_is_an_error_and_what_the_build_did_a_failure() {
    let passed = || vec![TestCase::new("a", CaseStatus::Passed, "")];
    let (failed, erred) = (r#"failures="1" errors="0""#, r#"failures="0" errors="1""#);
    own(Verdict::Infra, "console-busy", vec![], erred, r#"<error type="infra.console-busy""#);
    own(Verdict::TimedOut, "total", passed(), erred, r#"<error type="timed-out.total""#);
    own(Verdict::Cancelled, "cancelled", vec![], erred, r#"<error type="cancelled.cancelled""#);
    own(
        Verdict::Failed,
        "panic",
        passed(),
        failed,
        r#"<failure type="failed.panic" message="the console said [31mno">"#,
    );
    // A suite without a case would be dropped, and a green run with it.
    own(Verdict::Passed, "", vec![], r#"tests="1" failures="0" errors="0""#, r#"name="run"/>"#);
}

#[test]
fn characters_that_xml_cannot_hold_are_left_out_and_long_texts_cut() {
    assert_eq!(plain("a\u{0}\u{1b}[0m\u{fffe}\u{ffff}\tb\r\n\u{1f4a9}"), "a[0m\tb\r\n\u{1f4a9}");
    let long = plain(&"é".repeat(TEXT_BYTES_MAX));
    assert!(long.len() <= TEXT_BYTES_MAX + 16 && long.ends_with("\n… cut"));
}
