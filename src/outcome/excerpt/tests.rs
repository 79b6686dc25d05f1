//! What is picked, at every bound; of whole logs, as a person may judge it.

use super::*;
use crate::outcome::parse::{Format, Parse, read_junit};

fn failed(name: &str) -> TestCase {
    TestCase::new(name, CaseStatus::Failed, "")
}

fn noise(n: usize) -> String {
    (0..n).map(|i| format!("noise {i}\n")).collect()
}

#[track_caller]
fn check(tail: &str, cases: &[TestCase], first: &str, last: &str) {
    let lines = excerpt(tail, cases, EndedBy::Word);
    let ends = (lines.first().map(String::as_str), lines.last().map(String::as_str));
    assert_eq!(ends, (Some(first), Some(last)), "{lines:#?}");
    assert!(lines.len() <= EXCERPT_LINES_MAX || tail.contains(TRACE_END));
    assert!(lines.len() <= EXCERPT_TRACE_LINES_MAX);
}

#[test]
fn a_panic_is_shown_with_its_trace() {
    let panic = "[ 2.4] Kernel panic - not syncing: dumptest\n[ 2.5] Call trace:\n";
    let tail = format!("{}not ok 1 a\n{panic}{}", noise(40), noise(40));
    check(&tail, &[failed("a")], "noise 39", "noise 10");
}

#[test]
fn a_trace_is_shown_to_its_end_up_to_a_bound() {
    let end = "[ 2.6] ---[ end Kernel panic - not syncing: dumptest ]---";
    let panic = |frames| format!("[ 2.4] Kernel panic - not syncing: dumptest\n{}{end}\n", noise(frames));
    let tail = |frames| format!("x\na\nb\n{}{}", panic(frames), noise(40));
    check(&tail(25), &[], "a", end);
    check(&tail(3), &[], "a", end);
    check(&tail(EXCERPT_TRACE_LINES_MAX - 4), &[], "a", end);
    check(&tail(EXCERPT_TRACE_LINES_MAX - 3), &[], "a", &format!("noise {}", EXCERPT_TRACE_LINES_MAX - 4));
    check(&format!("{}Segmentation fault\n{end}\n", noise(20)), &[], "noise 7", end);
}

#[test]
fn a_failing_case_is_shown_with_what_came_before_it() {
    let tail = format!("{}    not ok 3 - b # exit=1\n{}", noise(40), noise(40));
    check(&tail, &[failed("suite.b")], "noise 29", "noise 2");
    check(&format!("{}not ok 3 other\nnot ok 4 b\n", noise(20)), &[failed("b")], "noise 7", "not ok 4 b");
}

#[test]
fn a_failing_case_is_found_in_every_format() {
    for (line, name) in [
        ("[  FAILED  ] Clock.Runs (12 ms)", "Clock.Runs"),
        ("tests/test_gpio.py::test_reads FAILED   [ 28%]", "tests/test_gpio.py::test_reads"),
        ("test/test_gpio.c:31:test_Reads:FAIL: Expected 1 Was 0", "test_gpio.test_Reads"),
        (" FAIL - test_reads in 0.010 seconds", "gpio.test_reads"),
        ("2/6 Test #2: uart ...***Timeout 1.50 sec", "uart"),
        ("open01.c:61: TFAIL: open() failed: EPERM (1)", "open01.c:61"),
        ("<LAVA_SIGNAL_TESTCASE TEST_CASE_ID=write RESULT=fail>", "0_storage.speed.write"),
        ("XPASS: calc.exp: old bug", "calc.exp: old bug"),
    ] {
        check(&format!("{}{line}\n{}", noise(40), noise(40)), &[failed(name)], "noise 29", "noise 2");
    }
}

#[test]
fn without_a_panic_or_case_other_signs_count() {
    let tail = format!("{}prog: error: no such option\nSegmentation fault\n{}", noise(20), noise(20));
    check(&tail, &[], "noise 17", "noise 9");
    let tail = format!("{}sh: foo: not found\n{}", noise(20), noise(20));
    check(&tail, &[], "noise 13", "noise 6");
}

#[test]
fn without_any_sign_the_last_output_is_shown() {
    check(&format!("{}\n\n  \n", noise(20)), &[], "noise 5", "noise 19");
    check("only this", &[], "only this", "only this");
    assert!(excerpt("\n \n", &[failed("a")], EndedBy::Word).is_empty());
}

#[test]
fn no_half_of_a_secret_is_left_where_lines_are_picked_and_cut() {
    let secret = "hunter2+hunter2+hunter2";
    let redactor = Redactor::default().knowing(&[secret.into()]).expect("known");
    let lines = |tail: &str| redacted_excerpt(&redactor, tail, &[failed("b")], EndedBy::Word).join("\n");
    for before in [EXCERPT_LINE_BYTES_MAX - 8, EXCERPT_TAIL_BYTES_MAX] {
        let shown = lines(&format!("{} {secret}\nnot ok 1 b\n", "x".repeat(before)));
        assert!(shown.contains("not ok 1 b") && !shown.contains("hunter2"), "{shown}");
    }
    // The end that is looked at begins within the secret.
    let cut = format!("{secret} {}", "x ".repeat(EXCERPT_TAIL_BYTES_MAX / 2 - 5));
    assert!(!lines(&cut).contains("hunter2"));
    let key = format!("-----BEGIN {}-----\n{}", "PRIVATE KEY", "c2VjcmV0\n".repeat(20));
    let shown = lines(&format!("{key}-----END {}-----\nnot ok 1 b\n", "PRIVATE KEY"));
    assert_eq!(shown, "[redacted]\nnot ok 1 b");
}

#[test]
fn lines_and_tail_are_bounded() {
    let long = "é\u{1b}".repeat(10_000);
    let lines = excerpt(&long, &[], EndedBy::Word);
    assert!(lines[0].len() <= EXCERPT_LINE_BYTES_MAX && lines[0].ends_with('…'));
    let far = format!("Kernel panic - not syncing\n{}", "é\n".repeat(EXCERPT_TAIL_BYTES_MAX));
    assert_eq!(excerpt(&far, &[], EndedBy::Word).last().map(String::as_str), Some("é"));
    assert!(!excerpt(&far, &[], EndedBy::Word).iter().any(|line| line.contains("panic")));
}

/// A log of `tests/samples/excerpts`: how its failure came to be known, then its lines, of which those that are picked
/// stand behind `>`. What is picked of a case's own note stands at the end.
fn picked(text: &str) -> String {
    let (head, body) = text.split_once("----\n").expect("a log begins with what is known");
    let lines =
        || body.lines().filter(|line| !line.starts_with(NOTED)).map(|line| line.get(2..).unwrap_or_default());
    let log = lines().fold(String::new(), |log, line| log + line + "\n");
    let (mut cases, mut ended) = (Vec::new(), EndedBy::Word);
    for known in head.lines() {
        match known.trim_start_matches("! ").split(' ').collect::<Vec<_>>()[..] {
            ["silent"] => ended = EndedBy::Silence,
            ["status", name, status] => {
                let note = format!("{name} ended with status {status}");
                cases.push(TestCase::new(name, CaseStatus::Failed, note));
            }
            ["parse", format] => {
                let mut parse = Parse::new(&[Format::from_word(format).expect("a format")]);
                log.lines().for_each(|line| parse.line(line.as_bytes()));
                cases = parse.finish().cases;
            }
            ["junit"] => cases = read_junit(include_bytes!("../../../tests/samples/junit/pytest.xml")).cases,
            _ => panic!("{known:?} is not known"),
        }
    }
    let mut shown = excerpt(&log, &cases, ended).into_iter().peekable();
    let mut marked = format!("{head}----\n");
    for line in lines() {
        let mark = if !line.is_empty() && shown.next_if(|shown| *shown == cut(line)).is_some() {
            "> "
        } else {
            "  "
        };
        marked += format!("{mark}{line}").trim_end();
        marked += "\n";
    }
    shown.fold(marked, |marked, line| marked + NOTED + &line + "\n")
}

/// Before a line that is picked of a case's own note.
const NOTED: &str = ">>";

/// With `INSTA_UPDATE=always` the marks are written as they come, to be judged by whoever reads the difference.
#[test]
fn of_real_logs_those_lines_are_picked_that_a_person_would_pick() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/excerpts");
    let mut logs: Vec<_> =
        std::fs::read_dir(folder).expect("the logs").map(|log| log.expect("a log").path()).collect();
    logs.sort();
    assert!(logs.len() >= 25, "{logs:?}");
    let update = std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always");
    let mut wrong = Vec::new();
    for log in logs {
        let text = std::fs::read_to_string(&log).expect("text");
        let picked = picked(&text);
        if picked != text && update {
            std::fs::write(&log, &picked).expect("a log of ours");
        }
        let picks = picked.lines().filter(|line| line.starts_with('>')).count();
        assert!((1..=EXCERPT_TRACE_LINES_MAX).contains(&picks), "{}: {picked}", log.display());
        if picked != text && !update {
            wrong.push(format!("{}:\n{picked}", log.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
