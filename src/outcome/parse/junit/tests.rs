//! Files of real tools (`tests/samples/junit`, with how they were made), files that are cut at every byte, and files
//! that mean harm.

use proptest::prelude::*;

use super::*;
use crate::outcome::CASES_MAX;
use crate::outcome::parse::tests::told;
use crate::outcome::parse::{NAME_BYTES_MAX, NOTES_BYTES_MAX};

macro_rules! samples {
    ($($name:literal)*) => {
        [$(($name, include_str!(concat!("../../../../tests/samples/junit/", $name, ".xml")))),*]
    };
}

const SAMPLES: [(&str, &str); 14] = samples![
    "boost" "catch2" "ctest" "gtest" "node" "nunit" "phpunit" "prove" "pytest" "pytest-collect" "pytest-none" "surefire"
    "unittest" "xunit-net"
];

fn sample(name: &str) -> &'static str {
    SAMPLES.iter().find(|(known, _)| *known == name).expect("a sample").1
}

#[track_caller]
fn check(name: &str, expect: &[&str]) -> Results {
    let results = read(sample(name).as_bytes());
    assert_eq!((told(&results), results.incomplete.as_deref()), (strings(expect), None), "{results:#?}");
    results
}

fn strings(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

fn note<'r>(results: &'r Results, name: &str) -> &'r str {
    &results.cases.iter().find(|case| case.name.ends_with(name)).expect("a case").note
}

#[test]
fn pytest_is_read_with_its_errors_and_expected_failures() {
    let results = check(
        "pytest",
        &[
            "+ test_gpio.test_toggle 21000us 41.2 MB/s",
            "+ test_gpio.test_reads[3] 0us",
            "- test_gpio.test_reads[4] 0us",
            "- test_gpio.test_wired 0us",
            "- test_gpio.test_leaves_the_line 0us",
            "s test_gpio.test_camera 0us",
            "x test_gpio.test_slow 0us",
            "- test_gpio.test_wakes 0us",
        ],
    );
    assert_eq!(note(&results, "test_camera"), "no camera");
    let wired = note(&results, "test_wired");
    assert!(
        wired.starts_with("failed on setup with \"RuntimeError: no wire between 4 and 5\"\n@pytest"),
        "{wired}"
    );
    assert!(
        note(&results, "test_reads[4]").ends_with("E       assert 4 == 3\n\ntest_gpio.py:25: AssertionError")
    );
    let broken = check("pytest-collect", &["- pytest.test_broken 0us"]);
    assert!(note(&broken, "test_broken").ends_with("No module named 'nothing_like_it'"));
    assert!(!check("pytest-none", &[]).planned, "no test is no result");
}

#[test]
fn gtest_is_read_with_its_skips_and_its_disabled_tests() {
    let results = check(
        "gtest",
        &[
            "+ Clock.Sets 0us 24.0 MHz",
            "- Clock.Runs 0us",
            "s Clock.Skips 0us",
            "s Clock.DISABLED_Later 0us",
            "s Net.Sends 0us",
            "+ All/Rates.Works/0 0us",
            "+ All/Rates.Works/1 0us",
        ],
    );
    let runs = "gt/clock_test.cc:3\nExpected equality of these values:\n  rate\n    Which is: 3\n  24\nslow & <late>\n";
    assert!(note(&results, "Runs").starts_with(runs), "{:?}", note(&results, "Runs"));
    assert_eq!(note(&results, "Runs").matches("Value of: false").count(), 1);
}

/// What cannot be started has failed to CTest, which writes it down as skipped.
#[test]
fn ctest_is_read_with_what_its_tests_printed() {
    let results = check(
        "ctest",
        &[
            "+ toggle 1570us",
            "- reads 3800us",
            "- hangs 1002300us",
            "- crashes 1774us",
            "s camera 1259us",
            "s later 0us",
            "- gone 0us",
        ],
    );
    assert_eq!(note(&results, "reads"), "gpio.c:12: level 0");
    assert!(note(&results, "gone").starts_with("Unable to find executable"));
}

#[test]
fn surefire_is_read_with_what_it_tried_again() {
    let results = check(
        "surefire",
        &[
            "s GpioTest.camera 0us",
            "+ GpioTest.toggles 19000us",
            "+ GpioTest.flaps 0us",
            "- GpioTest.reads 1000us",
            "- GpioTest.throwsUp 8000us",
        ],
    );
    assert_eq!(
        note(&results, "reads"),
        "java.lang.AssertionError: level expected:<1> but was:<0>\n at GpioTest.reads(GpioTest.java:5)"
    );
    // It counts every try: a suite that says a failure and has only a flaky case is whole.
    let flaky =
        "<testsuite tests=\"2\" failures=\"1\"><testcase name=\"a\"><flakyFailure/></testcase></testsuite>";
    assert_eq!(read(flaky.as_bytes()).incomplete, None);
}

#[test]
fn other_runners_are_read() {
    check(
        "catch2",
        &[
            "+ c.global.uart loops back/at 9600 0us",
            "- c.global.uart loops back/at 115200 0us",
            "+ c.global.uart closes 0us",
            "- c.global.uart throws 0us",
        ],
    );
    check("boost", &["+ bus.writes 46us", "- bus.reads 16us", "- bus.throws 100us", "s bus.later 0us"]);
    check(
        "node",
        &["+ gpio.toggles 533us", "- gpio.reads 962us", "s gpio.sleeps 87us", "+ alone 74us", "x later 62us"],
    );
    check(
        "phpunit",
        &[
            "+ CalcTest.testAdd 1105us",
            "+ CalcTest.testMore with data set #0 24us",
            "- CalcTest.testMore with data set #1 289us",
            "- CalcTest.testThrows 111us",
            "s CalcTest.testLater 50us",
        ],
    );
    check(
        "unittest",
        &[
            "+ test_x.Gpio.test_toggle 0us",
            "- test_x.Gpio.test_reads 0us",
            "- test_x.Gpio.test_throws 0us",
            "s test_x.Gpio.test_camera 1000us",
            "x test_x.Gpio.test_slow 0us",
            "- test_x.Gpio.test_wakes 0us",
        ],
    );
}

#[test]
fn a_suite_that_broke_itself_is_a_case() {
    let results =
        check("prove", &["+ g_t.1 - toggles", "- g_t.2 - reads", "+ g_t.3", "+ g_t.4 - wakes", "- g_t"]);
    assert_eq!(note(&results, "g_t"), "Dubious, test returned 1 (wstat 256, 0x100)");
}

/// As their documentation has them.
#[test]
fn the_dialects_of_xunit_net_and_nunit_are_read() {
    let results = check(
        "xunit-net",
        &[
            "- Lab.Net",
            "+ Lab.GpioTest.Toggles 20100us",
            "- Lab.GpioTest.Reads(pin: 4) 3000us",
            "s Lab.GpioTest.Camera 0us",
        ],
    );
    assert_eq!(
        note(&results, "Reads(pin: 4)"),
        "Xunit.Sdk.EqualException\nAssert.Equal() Failure\nat Lab.GpioTest.Reads(Int32 pin)"
    );
    assert_eq!(note(&results, "Camera"), "no camera");
    let results = check(
        "nunit",
        &["+ Lab.GpioTest.Toggles 20100us", "- Lab.GpioTest.Reads(4) 3000us", "s Lab.GpioTest.Camera 0us"],
    );
    assert_eq!(note(&results, "Reads(4)"), "Expected: 1\n  But was:  0\nat Lab.GpioTest.Reads(Int32 pin)");
    assert_eq!(note(&results, "Camera"), "no camera");
}

#[track_caller]
fn incomplete(file: &str, expect: &str) {
    let results = read(file.as_bytes());
    assert_eq!(results.incomplete.as_deref(), Some(expect), "{results:#?}");
    assert!(results.planned, "{file}");
}

#[test]
fn what_is_no_whole_file_of_results_is_incomplete() {
    incomplete("", "it holds no test results");
    incomplete("Segmentation fault\n", "it holds no test results");
    incomplete("<html><body>404</body></html>", "it holds no test results");
    incomplete("<testsuite><testcase name='a'/>", "it ends within <testsuite>; cases before that: 1");
    incomplete(
        "<testsuite><testcase name='a'/></testsuites>",
        "ill-formed document: expected `</testsuite>`, but `</testsuites>` was found, at byte 31; cases before that: 1",
    );
    incomplete("<testsuite tests='3'/>", "suite  says 3 tests, none came");
    let failures = "<testsuites name='all' failures='1'><testcase name='a'/></testsuites>";
    incomplete(failures, "suite all says 1 failures, none came");
    let deep = format!("<testsuite>{}", "<a>".repeat(1_000_000));
    incomplete(&deep, &format!("elements stand more than {DEPTH_MAX} deep; cases before that: 0"));
    let fits = format!("{}<testcase name='a'/>{}", "<testsuite>".repeat(63), "</testsuite>".repeat(63));
    assert_eq!(read(fits.as_bytes()).incomplete, None);
}

/// Cut at any byte, no file looks as if it were whole, and nothing is told that the whole one does not say.
#[test]
fn a_file_that_is_cut_anywhere_is_incomplete_and_says_nothing_new() {
    for (name, file) in SAMPLES {
        let file = file.trim_end();
        let whole = told(&read(file.as_bytes()));
        for at in 0..file.len() {
            let cut = read(&file.as_bytes()[..at]);
            assert!(cut.incomplete.is_some() && cut.planned, "{name} at {at}");
            let told = told(&cut);
            let known = |case: &String| whole.iter().any(|whole| whole.starts_with(case.as_str()));
            assert!(told.iter().all(known), "{name} at {at}: {told:?}");
        }
    }
}

#[test]
fn entities_of_a_document_are_not_resolved_and_nothing_is_read_for_it() {
    let file = "<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY a \"boom\"><!ENTITY b \"&a;&a;&a;\"><!ENTITY f SYSTEM \
                \"file:///etc/hostname\">]><testsuite><testcase name=\"n &b; &f; &#65;&lt;\"><failure>&b;&f;&amp;&#x42; & \
                so</failure></testcase></testsuite>";
    let results = read(file.as_bytes());
    assert_eq!(told(&results), ["- n &b; &f; &#65;&lt;"]);
    assert_eq!(results.cases[0].note, "&b;&f;&B & so");
    assert_eq!(results.incomplete, None);
}

#[test]
fn cases_names_and_notes_are_bounded() {
    let case = format!(
        "<testcase name=\"{0}\" classname=\"c\"><properties>{1}</properties><failure message=\"{0}\">{0}</failure>\
         <system-out>{0}</system-out></testcase>",
        "é".repeat(3_000),
        "<property name=\"measurement\" value=\"1 s\"/>".repeat(100),
    );
    let file = format!("<testsuite>{}</testsuite>", case.repeat(400));
    let results = read(file.as_bytes());
    assert_eq!(results.cases.len(), 400);
    assert!(results.cases.iter().all(|c| c.name.len() <= NAME_BYTES_MAX && c.note.len() <= NOTE_BYTES_MAX));
    assert!(results.cases.iter().map(|c| c.note.len()).sum::<usize>() <= NOTES_BYTES_MAX);
    let many = format!("<testsuite>{}</testsuite>", "<testcase name='a'/>".repeat(CASES_MAX + 5));
    let results = read(many.as_bytes());
    assert_eq!((results.cases.len(), results.counts.passed as usize), (CASES_MAX, CASES_MAX + 5));
    let attributes: String = (0..200_000).map(|n| format!(" a{n}='1'")).collect();
    let results = read(format!("<testsuite><testcase{attributes} name='a'/></testsuite>").as_bytes());
    assert_eq!(told(&results), ["+ a"]);
}

#[test]
fn times_with_commas_are_read() {
    for (time, micros) in [
        ("0.25", Some(250_000)),
        ("1,234.5", Some(1_234_500_000)),
        ("1,234", Some(1_234_000_000)),
        ("0,250", Some(250_000)),
        ("12,5", Some(12_500_000)),
        ("4.6e-05", Some(46)),
        ("soon", None),
        ("", None),
    ] {
        assert_eq!(took(time), micros, "{time}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_are_read_without_harm(
        pieces in proptest::collection::vec(prop_oneof![
            4 => proptest::sample::select(SAMPLES.iter().flat_map(|(_, file)| file.split_inclusive('>')).collect::<Vec<_>>())
                .prop_map(|piece| piece.as_bytes().to_vec()),
            1 => proptest::collection::vec(any::<u8>(), 0..20),
        ], 0..60),
    ) {
        let results = read(&pieces.concat());
        prop_assert_eq!(results.counts.total() as usize, results.cases.len());
        let bounded = |case: &crate::outcome::TestCase| case.note.len() <= NOTE_BYTES_MAX && case.name.len() <= NAME_BYTES_MAX;
        prop_assert!(results.cases.iter().all(bounded));
    }
}
