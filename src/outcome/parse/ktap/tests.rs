//! Real and broken test output, and what came of it.

use proptest::prelude::*;

use super::*;
use crate::outcome::parse::sheet::{NOTE_BYTES_MAX, NOTES_BYTES_MAX};
use crate::outcome::{CASES_MAX, Counts, TestCase};

fn read_all(text: &[u8]) -> Results {
    read_as(Dialect::Ktap, text)
}

fn read_as(dialect: Dialect, text: &[u8]) -> Results {
    let mut ktap = Box::new(Ktap::new(dialect));
    text.split(|b| *b == b'\n').for_each(|line| ktap.line(line));
    ktap.finish()
}

fn counts(passed: u32, failed: u32, skipped: u32) -> Counts {
    Counts { passed, failed, skipped }
}

#[track_caller]
fn check(text: &str, expect: Counts, incomplete: Option<&str>) -> Vec<TestCase> {
    let results = read_all(text.as_bytes());
    assert_eq!((results.counts, results.incomplete.as_deref()), (expect, incomplete), "{:#?}", results.cases);
    results.cases
}

fn names(cases: &[TestCase]) -> Vec<&str> {
    cases.iter().map(|case| case.name.as_str()).collect()
}

/// `grep -ac 'ok '` finds 217 results in it: 18 suites and one group of parameters are summaries, 198 are
/// cases, of which `grep -c SKIP` finds 7.
#[test]
fn a_booting_kunit_kernel_is_counted_without_its_summaries() {
    let text = include_bytes!("../../../../tests/transcripts/kunit-boot.raw");
    let results = read_all(text);
    assert_eq!((results.counts, results.incomplete), (counts(191, 0, 7), None));
    assert_eq!(results.cases[0].name, "sysctl_test.sysctl_test_api_dointvec_null_tbl_data");
    let nested = "rational.rational_test.Closest to zero";
    assert!(results.cases.iter().any(|case| case.name == nested));
    let skip = results.cases.iter().find(|case| case.name == "example.example_skip_test");
    assert_eq!(skip.map(|case| case.note.as_str()), Some("this test should be skipped"));
}

#[test]
fn a_kunit_log_that_is_cut_anywhere_is_incomplete() {
    let text = include_bytes!("../../../../tests/transcripts/kunit-boot.raw");
    let first = memchr::memmem::find(text, b"1..18").expect("the plan") + 6;
    let last = memchr::memmem::find(text, b"ok 18 stackinit").expect("the last result");
    for cut in (first..last).step_by(97) {
        assert!(read_all(&text[..cut]).incomplete.is_some(), "cut at {cut}");
    }
}

/// `grep -c ^ok` finds 28: two without a plan, one of one, and 25 of 89 of a program that was cut.
#[test]
fn three_programs_one_after_the_other_are_three_documents() {
    let results = read_all(include_bytes!("../../../../tests/transcripts/tap-glib.raw"));
    assert_eq!(results.counts, counts(28, 0, 0));
    assert_eq!(results.incomplete.as_deref(), Some("25 of 89 results came"));
    assert_eq!(results.cases[2].name, "/bitlock/performance/uncontended");
}

#[test]
fn the_plan_may_come_first_last_or_never() {
    check("1..2\nok 1 a\nok 2 b", counts(2, 0, 0), None);
    check("ok 1 a\nok 2 b\n1..2", counts(2, 0, 0), None);
    check("ok 1 a\nok 2 b\n1..2\nok 1 c\nok 2 d\n1..2", counts(4, 0, 0), None);
    check("ok 1 a\nnot ok 2 b", counts(1, 1, 0), None);
    check("TAP version 14\nok - a\nok\n1..2", counts(2, 0, 0), None);
}

#[test]
fn what_was_promised_and_did_not_come_is_missing() {
    check("1..3\nok 1 a\nok 2 b", counts(2, 0, 0), Some("2 of 3 results came"));
    check("ok 1 a\nok 3 c", counts(2, 0, 0), Some("2 results came, numbered up to 3"));
    check("1..1\nok 1 a\nok 2 b", counts(2, 0, 0), Some("2 results came where 1 were planned"));
    check("TAP version 13", counts(0, 0, 0), Some("no result came after the version line"));
    check("1..3\nok 1 a\nTAP version 13\n1..1\nok 1 a", counts(2, 0, 0), Some("1 of 3 results came"));
    check(
        "KTAP version 1\n1..1\n  1..1\n  ok 1 a",
        counts(1, 0, 0),
        Some("the result of a group of nested results is missing"),
    );
    check("nothing of the kind\nok", counts(0, 0, 0), None);
}

#[test]
fn a_bail_out_is_told_and_is_incomplete() {
    let results = read_all(b"1..3\nok 1 a\nBail out! no memory\n");
    assert_eq!(results.bail_out.as_deref(), Some("no memory"));
    assert_eq!(results.incomplete.as_deref(), Some("1 of 3 results came"));
    assert_eq!(read_all(b"Bail out!").incomplete.as_deref(), Some("the test bailed out"));
}

#[test]
fn directives_decide_the_status() {
    let text = "ok 1 a # SKIP x\nnot ok 2 b # SKIP\nnot ok 3 c # TODO later\nok 4 d # TODO\nok 5 e # XFAIL\n\
                not ok 6 f # TIMEOUT 45 seconds\nok 7 g # ERROR lost\nnot ok 8 h # exit=1\n1..8";
    let cases = check(text, counts(1, 3, 4), None);
    let notes: Vec<_> = cases.iter().map(|case| case.note.as_str()).collect();
    assert_eq!(notes, ["x", "", "later", "", "", "TIMEOUT 45 seconds", "ERROR lost", "exit=1"]);
}

#[test]
fn nested_results_take_their_parents_name() {
    for pad in ["  ", "    "] {
        let text = format!(
            "KTAP version 1\n1..1\n{pad}KTAP version 1\n{pad}1..2\n{pad}ok 1 a\n{pad}not ok 2 b\nnot ok 1 suite"
        );
        assert_eq!(names(&check(&text, counts(1, 1, 0), None)), ["suite.a", "suite.b"]);
    }
    let subtest = "TAP version 14\n1..2\n# Subtest: foo\n    1..1\n    ok 1 - x\nok 1 - foo\nok 2 - bar";
    assert_eq!(names(&check(subtest, counts(2, 0, 0), None)), ["foo.x", "bar"]);
}

#[test]
fn a_parent_that_failed_alone_is_a_case() {
    let cases = check("1..1\n  1..1\n  ok 1 a\nnot ok 1 suite # exit=2", counts(1, 1, 0), None);
    assert_eq!(names(&cases), ["suite.a", "suite"]);
    // Its inner results were cut, and its own line says so.
    check("1..1\n  1..9\n  ok 1 a\nnot ok 1 suite # TIMEOUT 45 seconds", counts(1, 1, 0), None);
    check("1..1\n  1..9\n  ok 1 a\nok 1 suite", counts(1, 0, 0), Some("1 of 9 results came"));
}

#[test]
fn the_kselftest_runner_nests_behind_hashes() {
    let text = "TAP version 13\n1..2\n# selftests: size: get_size\n# TAP version 13\n\
                # # Testing system size.\n# 1..1\n[   20.1] kselftest: Running tests in size\n# ok 1 get_size\n\
                ok 1 selftests: size: get_size\n# selftests: futex: run.sh\n# ok 3 futexes are fine\n\
                not ok 2 selftests: futex: run.sh # exit=1\n";
    let cases = check(text, counts(1, 1, 0), None);
    assert_eq!(names(&cases), ["selftests: size: get_size.get_size", "selftests: futex: run.sh"]);
    assert_eq!(cases[1].note, "exit=1\nselftests: futex: run.sh\nok 3 futexes are fine");
}

#[test]
fn kselftests_are_called_as_people_call_them() {
    let text = "TAP version 13\n1..2\n# selftests: size: get_size\n# TAP version 13\n# 1..1\n# ok 1 get_size\n\
                ok 1 selftests: size: get_size\nnot ok 2 selftests: net: a.sh # TIMEOUT 45 seconds";
    let results = read_as(Dialect::Kselftest, text.as_bytes());
    assert_eq!(names(&results.cases), ["size:get_size.get_size", "net:a.sh"]);
    assert_eq!((results.counts, results.incomplete), (counts(1, 1, 0), None));
}

#[test]
fn what_is_said_to_be_tap_needs_no_numbers_and_no_version_line() {
    let text = "ok - a\nnot ok - b # TODO later\n  ok inside\nok\n1..3\n";
    let results = read_as(Dialect::Tap, text.as_bytes());
    assert_eq!(names(&results.cases), ["a", "b", "unnamed"]);
    assert_eq!((results.counts, results.incomplete), (counts(2, 0, 1), None));
    assert_eq!(read_all(text.as_bytes()).counts.total(), 0);
}

#[test]
fn times_are_read_from_yaml_and_from_remarks() {
    let text = "1..3\nok 1 a\n  ---\n  duration_ms: 12.5\n  ...\nok 2 b # time=4.05ms\nok 3 c";
    let took: Vec<_> = read_all(text.as_bytes()).cases.iter().map(|case| case.took_us).collect();
    assert_eq!(took, [Some(12_500), Some(4_050), None]);
}

#[test]
fn a_program_may_skip_itself() {
    let cases = check("1..0 # SKIP no can0", counts(0, 0, 1), None);
    assert_eq!((cases[0].name.as_str(), cases[0].note.as_str()), ("all", "no can0"));
}

#[test]
fn a_failure_keeps_what_was_said_about_it() {
    let kunit = "KTAP version 1\n1..2\n# a: EXPECTATION FAILED at lib/a.c:12\nExpected x == y\nnot ok 1 a\n\
                 # b: fine\nok 2 b";
    assert_eq!(
        check(kunit, counts(1, 1, 0), None)[0].note,
        "a: EXPECTATION FAILED at lib/a.c:12\nExpected x == y"
    );
    let perl = "1..2\nnot ok 1 a\n# Failed test at 3\nnot ok 2 b\n# Failed test at 4";
    let cases = check(perl, counts(0, 2, 0), None);
    assert_eq!((cases[0].note.as_str(), cases[1].note.as_str()), ("Failed test at 3", "Failed test at 4"));
}

#[test]
fn yaml_goes_into_the_note_and_its_results_do_not_count() {
    let text = "1..2\nnot ok 1 a\n  ---\n  message: boom\n  ok 9 quoted\n  ...\nok 2 b";
    assert_eq!(check(text, counts(1, 1, 0), None)[0].note, "message: boom");
    check("1..2\nok 1 a\n ---\n never: closed\nok 2 b", counts(2, 0, 0), None);
    let endless = format!("1..2\nok 1 a\n  ---\n{}  ok 1 nested\nok 2 b", "  x: y\n".repeat(YAML_LINES_MAX));
    assert_eq!(names(&check(&endless, counts(2, 0, 0), None)), ["a", "b.nested"]);
}

#[test]
fn cases_names_notes_and_nesting_are_bounded_and_counts_go_on() {
    let many: String = (1..=CASES_MAX + 5).map(|n| format!("not ok {n} t\n")).collect();
    let results = read_all(many.as_bytes());
    assert_eq!((results.cases.len(), results.counts.failed as usize), (CASES_MAX, CASES_MAX + 5));
    let noise = "é".repeat(5_000);
    let long = format!("{}not ok 1 {noise}\n", format!("# {noise}\n").repeat(10));
    let case = &read_all(long.as_bytes()).cases[0];
    assert!(case.name.len() <= NAME_BYTES_MAX && case.note.len() <= NOTE_BYTES_MAX, "{}", case.note.len());
    let wordy: String = (1..=500).map(|n| format!("# {noise}\nnot ok {n} t\n")).collect();
    let notes: usize = read_all(wordy.as_bytes()).cases.iter().map(|case| case.note.len()).sum();
    assert!((NOTES_BYTES_MAX - NOTE_BYTES_MAX..=NOTES_BYTES_MAX).contains(&notes), "{notes}");
    let deep: String = (0..NEST_MAX + 5).map(|n| format!("{}ok 1 x\n", " ".repeat(2 * n))).collect();
    assert_eq!(read_all(deep.as_bytes()).counts.passed as usize, NEST_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_bytes_are_read_without_harm(lines in proptest::collection::vec(
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40),
            "(\\[ *1\\.5\\] )? {0,9}(# ){0,2}((not )?ok|1\\.\\.|K?TAP version|Bail out!|---|\\.{3})? ?[0-9]{0,2} ?\\PC{0,9}"
                .prop_map(String::into_bytes),
        ], 0..60,
    )) {
        let results = read_all(&lines.join(&b'\n'));
        prop_assert_eq!(results.counts.total() as usize, results.cases.len());
        prop_assert!(results.cases.iter().all(|case| case.note.len() <= NOTE_BYTES_MAX));
    }
}
