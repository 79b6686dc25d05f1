//! What holds for every format: no input does harm, the same comes of a transcript however it arrives, and what
//! real programs print on this machine is read.

use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::console::clean;
use crate::console::printk::{Piece, PrintkFilter};
use crate::outcome::CaseStatus;

fn read(formats: &[Format], text: &[u8]) -> Results {
    let mut parse = Parse::new(formats);
    text.split(|b| *b == b'\n').for_each(|line| parse.line(line));
    parse.finish()
}

/// Reads `text` with LF and with CR LF, and expects so many cases that passed, failed and were skipped.
#[track_caller]
pub(super) fn check(
    format: Format,
    text: &str,
    (passed, failed, skipped): (u32, u32, u32),
    incomplete: Option<&str>,
) -> Results {
    let results = read(&[format], text.as_bytes());
    let counts = Counts { passed, failed, skipped };
    assert_eq!((results.counts, results.incomplete.as_deref()), (counts, incomplete), "{:#?}", results.cases);
    assert_eq!(read(&[format], text.replace('\n', "\r\n").as_bytes()), results);
    results
}

/// `+ name 11us 3 MB/s`, one line per case.
pub(super) fn told(results: &Results) -> Vec<String> {
    let line = |case: &TestCase| {
        let mark = match case.status {
            CaseStatus::Passed => '+',
            CaseStatus::Failed => '-',
            CaseStatus::Skipped => 's',
            CaseStatus::ExpectedFailure => 'x',
        };
        let took = case.took_us.map_or(String::new(), |took| format!(" {took}us"));
        let measured =
            case.measurement.as_ref().map_or(String::new(), |m| format!(" {} {}", m.value, m.unit));
        format!("{mark} {}{took}{measured}", case.name)
    };
    results.cases.iter().map(line).collect()
}

/// What a console hands over when these pieces arrive: kernel messages taken out of the lines they interrupt.
fn through_a_console<'a>(format: Format, pieces: impl Iterator<Item = &'a [u8]>) -> Results {
    let (mut filter, mut open, mut parse) = (PrintkFilter::default(), Vec::new(), Parse::new(&[format]));
    for piece in pieces {
        filter.feed(piece, &mut |piece| match piece {
            Piece::Kernel(message) => clean::line(message, &mut |line| parse.line(line.as_bytes())),
            Piece::User(text) => {
                for part in text.split_inclusive(|b| *b == b'\n') {
                    open.extend_from_slice(part);
                    if part.ends_with(b"\n") {
                        clean::line(&open, &mut |line| parse.line(line.as_bytes()));
                        open.clear();
                    }
                }
            }
        });
    }
    open.extend_from_slice(filter.held());
    clean::line(&open, &mut |line| parse.line(line.as_bytes()));
    parse.finish()
}

/// Lines of every format, whole and broken.
const LINES: &str = include_str!("../../../tests/samples/result-lines.txt");

#[test]
fn words_are_read_back() {
    for format in Format::ALL {
        assert_eq!(Format::from_word(format.as_str()), Some(format));
    }
    assert_eq!(Format::from_word("automake"), Some(Format::Dejagnu));
    assert_eq!(Format::from_word("junit"), None);
    assert!(Format::Ktap.overlaps(Format::Tap) && !Format::Ktap.overlaps(Format::Gtest));
}

#[test]
fn several_formats_read_the_same_output_and_those_that_do_not_occur_say_nothing() {
    let text = "KTAP version 1\n1..2\nok 1 a\nnot ok 2 b\n[==========] Running 1 test from 1 test suite.\n\
                [ RUN      ] S.t\n[       OK ] S.t (0 ms)\n[==========] 1 test from 1 test suite ran. (0 ms total)\n\
                [  PASSED  ] 1 test.\n";
    let results = read(&[Format::Gtest, Format::Ktap, Format::Unity], text.as_bytes());
    assert_eq!(told(&results), ["+ S.t 0us", "+ a", "- b"]);
    assert_eq!((results.counts.total(), results.incomplete), (3, None));
    let cut = &text[..text.find("[       OK").expect("a mark of the sample")];
    let incomplete = read(&[Format::Ktap, Format::Gtest], cut.as_bytes()).incomplete;
    assert_eq!(incomplete.as_deref(), Some("S.t began and did not end"));
}

#[test]
fn a_tool_that_finds_no_test_gives_no_result() {
    for (format, text) in [
        (
            Format::Gtest,
            "[==========] Running 0 tests from 0 test suites.\n[==========] 0 tests from 0 test suites ran. \
             (0 ms total)\n[  PASSED  ] 0 tests.",
        ),
        (Format::Pytest, "=== test session starts ===\ncollected 0 items\n=== no tests ran in 0.01s ==="),
        (Format::Unity, "0 Tests 0 Failures 0 Ignored\nOK"),
        (Format::Ctest, "Test project /root/build\n\n100% tests passed, 0 tests failed out of 0"),
        (Format::Lava, "<LAVA_SIGNAL_STARTRUN a 1>\n<LAVA_SIGNAL_ENDRUN a 1>"),
    ] {
        assert!(!check(format, text, (0, 0, 0), None).planned, "{format:?}");
    }
}

#[test]
fn cases_and_notes_are_bounded_in_every_format() {
    for (format, line) in [
        (Format::Gtest, "[ RUN      ] A.x\nnoise\n[  FAILED  ] A.x (1 ms)\n"),
        (Format::Unity, "a.c:1:test_x:FAIL: noise\n"),
        (Format::Ctest, "1/2 Test #1: x ...***Failed 0.01 sec\n"),
        (Format::Ltp, "a.c:1: TFAIL: noise\n"),
        (Format::Lava, "<LAVA_SIGNAL_TESTCASE TEST_CASE_ID=x RESULT=fail>\n"),
        (Format::Dejagnu, "FAIL: x\n"),
    ] {
        let noise = "é".repeat(5_000);
        let results = read(&[format], line.replace("noise", &noise).repeat(CASES_MAX + 5).as_bytes());
        assert_eq!(
            (results.cases.len(), results.counts.failed as usize),
            (CASES_MAX, CASES_MAX + 5),
            "{format:?}"
        );
        let notes: usize = results.cases.iter().map(|case| case.note.len()).sum();
        assert!(notes <= NOTES_BYTES_MAX, "{format:?}: {notes}");
        assert!(results.cases.iter().all(|case| case.note.len() <= NOTE_BYTES_MAX), "{format:?}");
    }
}

/// What the documentation shows of each format is read as it says.
#[test]
fn the_examples_of_the_documentation_are_whole() {
    let text = include_str!("../../../docs/results.md");
    for format in Format::ALL {
        let after = text.split_once(&format!("\n`{}`:", format.as_str())).expect("an example").1;
        let block = after.split("```").nth(1).and_then(|block| block.split_once('\n')).expect("a block").1;
        // The shell's own words around a signal.
        let block = block.replace("echo \"", "").replace(">\"", ">");
        let results = read(&[format], block.as_bytes());
        assert!(results.counts.total() > 0 && results.incomplete.is_none(), "{format:?}: {results:#?}");
        let row = format!("\n| `{}`", format.as_str());
        assert!(text.contains(&row), "{format:?} stands in no row");
    }
}

/// A C program's TAP, cut off by its own crash, and busybox's shell printing the classic family: real bytes.
#[test]
fn programs_of_this_machine_are_read() {
    let script = "printf 'PASS: a\\nFAIL: b c\\nSKIPPED: d\\n'";
    for shell in [["sh", "-c"].as_slice(), &["busybox", "sh", "-c"]] {
        // Not every machine has busybox.
        let Ok(ran) = Command::new(shell[0]).args(&shell[1..]).arg(script).output() else { continue };
        assert_eq!(told(&read(&[Format::Dejagnu], &ran.stdout)), ["+ a", "- b c", "s d"]);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (source, program) = (folder.path().join("t.c"), folder.path().join("t"));
    let code = "#include <stdio.h>\n#include <stdlib.h>\nint main(int n, char **v) { puts(\"TAP version 13\\n1..3\\nok 1 - a\");\n\
                puts(\"# got 3\\nnot ok 2 - b # TODO later\"); fflush(stdout); if (n > 1) abort();\n\
                puts(\"ok 3 - c\"); return 0; }\n";
    std::fs::write(&source, code).expect("a file in our own folder");
    // Nor has every machine a compiler.
    if !Command::new("cc").arg(&source).arg("-o").arg(&program).status().is_ok_and(|status| status.success())
    {
        return;
    }
    let whole = Command::new(&program).output().expect("our own program").stdout;
    let results = read(&[Format::Tap], &whole);
    assert_eq!((told(&results), results.incomplete), (vec!["+ a".into(), "x b".into(), "+ c".into()], None));
    let cut = Command::new(&program).arg("crash").output().expect("our own program").stdout;
    assert_eq!(read(&[Format::Tap], &cut).incomplete.as_deref(), Some("2 of 3 results came"));
}

fn any_format() -> impl Strategy<Value = Format> {
    proptest::sample::select(Format::ALL.to_vec())
}

fn any_line() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&str> = LINES.lines().collect();
    let known = proptest::sample::select(known);
    prop_oneof![
        1 => proptest::collection::vec(any::<u8>(), 0..40),
        8 => known.clone().prop_map(|line| line.as_bytes().to_vec()),
        2 => (known, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(line, at, byte)| {
            let mut line = line.as_bytes().to_vec();
            if !line.is_empty() {
                let at = at.index(line.len());
                if byte < 128 { line.truncate(at) } else { line[at] = byte }
            }
            line
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_are_read_without_harm(
        format in any_format(),
        lines in proptest::collection::vec(any_line(), 0..60),
    ) {
        let results = read(&[format], &lines.join(&b'\n'));
        prop_assert_eq!(results.counts.total() as usize, results.cases.len());
        let bounded = |case: &TestCase| case.note.len() <= NOTE_BYTES_MAX && case.name.len() <= NAME_BYTES_MAX;
        prop_assert!(results.cases.iter().all(bounded));
    }

    #[test]
    fn pieces_and_kernel_messages_between_them_change_no_result(
        format in any_format(),
        lines in proptest::collection::vec(proptest::sample::select(LINES.lines().collect::<Vec<_>>()), 0..40),
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..12),
    ) {
        let text = lines.join("\r\n");
        // What looks like a kernel's message itself is not cut into another one.
        prop_assume!(!text.contains("[ ") || !lines.iter().any(|line| line.contains("[   12.")));
        let whole = through_a_console(format, std::iter::once(text.as_bytes()));
        let mut cuts: Vec<_> = cuts.into_iter().map(|(at, kernel)| (at.index(text.len() + 1), kernel)).collect();
        cuts.sort_unstable();
        let (mut pieces, mut from) = (Vec::new(), 0);
        for (at, kernel) in cuts {
            pieces.push(&text.as_bytes()[from..at]);
            if kernel {
                pieces.push(b"[   12.345678] usb 1-1: new high-speed USB device\r\n");
            }
            from = at;
        }
        pieces.push(&text.as_bytes()[from..]);
        let pieced = through_a_console(format, pieces.into_iter());
        let facts = |results: &Results| (told(results), results.counts, results.incomplete.clone(), results.planned);
        prop_assert_eq!(facts(&pieced), facts(&whole));
    }
}
