//! CTest's console output, <https://cmake.org/cmake/help/latest/manual/ctest.1.html>:
//! `1/4 Test #1: gpio ......   Passed    0.01 sec`. A test is known by its name.
//!
//! A session ends with `75% tests passed, 1 tests failed out of 4`. Tests that are disabled are not in that number.
//! A try that `--repeat` repeats has no `1/4` before it, and is no result.

use super::Reader;
use super::sheet::{Results, Sheet};
use super::text::{SECOND, cut_number, cut_word, micros, plain, split, split_last};
use crate::outcome::CaseStatus;

/// An incremental reader.
#[derive(Debug, Default)]
pub(super) struct Ctest {
    sheet: Sheet,
    /// Whether tests began that no summary has counted, and how many there are to be.
    open: Option<u32>,
    /// Tests of the session that are disabled.
    disabled: u32,
    /// The failed case whose output follows it (`--output-on-failure`).
    failed: Option<usize>,
}

impl Reader for Ctest {
    fn line(&mut self, line: &[u8]) {
        let line = plain(line);
        if line.starts_with(b"Test project ") {
            self.close();
            self.begin(0);
        } else if !self.result(line) && !self.summary(line) && self.open.is_some() {
            if line.trim_ascii_start().starts_with(b"Start ") {
                self.failed = None;
                self.sheet.forget();
            } else if self.failed.is_some() {
                self.sheet.add_note(self.failed, line);
            } else {
                self.sheet.remember(line);
            }
        }
    }

    fn results(&self) -> &Results {
        self.sheet.results()
    }

    fn finish(mut self: Box<Self>) -> Results {
        self.close();
        self.sheet.finish()
    }
}

impl Ctest {
    fn begin(&mut self, tests: u32) {
        if self.open.is_none() {
            self.sheet.begin_program();
            self.disabled = 0;
        }
        self.open = Some(tests);
    }

    /// ` 2/10 Test  #2: uart .....***Exception: SegFault  0.02 sec`.
    fn result(&mut self, line: &[u8]) -> bool {
        let Some((tests, rest)) = numbered(line) else { return false };
        let Some((name, said, failed)) = name_and_end(rest) else { return false };
        self.begin(tests);
        let (said, took) = timed(said.trim_ascii());
        let disabled = failed && said.starts_with(b"Not Run (Disabled)");
        let status = match failed {
            false => CaseStatus::Passed,
            true if disabled || said.starts_with(b"Skipped") => CaseStatus::Skipped,
            true => CaseStatus::Failed,
        };
        self.disabled += u32::from(disabled);
        // `Failed` alone says nothing more than the status.
        let plain_word = !failed || said == b"Failed" || said == b"Skipped";
        let case = self.sheet.case(name, status, if plain_word { b"" } else { said });
        self.sheet.took(case, took);
        self.failed = case.filter(|_| status == CaseStatus::Failed);
        true
    }

    fn summary(&mut self, line: &[u8]) -> bool {
        let Some((head, rest)) = split(line, b"% tests passed") else { return false };
        let Some((total, _)) = split(rest, b" out of ").and_then(|(_, rest)| cut_number(rest)) else {
            return false;
        };
        if head.is_empty() || !head.iter().all(u8::is_ascii_digit) {
            return false;
        }
        if self.open.is_none() {
            self.begin(total);
        }
        let came = self.sheet.of_program();
        self.sheet.agree("tests", total, came.total().saturating_sub(self.disabled));
        if let Some((failed, _)) = rest.strip_prefix(b", ").and_then(cut_number) {
            self.sheet.agree("failed", failed, came.failed);
        }
        (self.open, self.failed) = (None, None);
        self.sheet.forget();
        true
    }

    fn close(&mut self) {
        let Some(tests) = self.open.take() else { return };
        let came = self.sheet.of_program().total();
        self.sheet.missing(|| match came < tests {
            true => format!("{came} of {tests} tests came"),
            false => "the summary of the tests is missing".to_owned(),
        });
    }
}

/// The count of ` 2/10 Test  #2: `, and what follows.
fn numbered(line: &[u8]) -> Option<(u32, &[u8])> {
    let (_, rest) = cut_number(line.trim_ascii_start())?;
    let (tests, rest) = cut_number(rest.strip_prefix(b"/")?)?;
    let rest = rest.strip_prefix(b" Test ")?.trim_ascii_start().strip_prefix(b"#")?;
    Some((tests, cut_number(rest)?.1.strip_prefix(b": ")?))
}

/// Splits `uart .....***Failed` into name, end and whether it is marked; a name may hold dots itself.
fn name_and_end(rest: &[u8]) -> Option<(&[u8], &[u8], bool)> {
    let (head, said, failed) = match split(rest, b".***") {
        Some((head, said)) => (head, said, true),
        None => {
            let (head, said) = split_last(rest, b" Passed ")?;
            (head, said, false)
        }
    };
    let dots = head.trim_ascii_end();
    let name = &dots[..dots.iter().rposition(|b| *b != b'.').map_or(0, |at| at + 1)];
    Some((name.trim_ascii(), said, failed))
}

/// Splits `Exception: SegFault  0.02 sec`.
fn timed(said: &[u8]) -> (&[u8], Option<u64>) {
    let cut = said.strip_suffix(b" sec").map(<[u8]>::trim_ascii_end).and_then(|rest| {
        let at = rest.iter().rposition(|b| *b == b' ').map_or(0, |at| at + 1);
        Some((rest[..at].trim_ascii_end(), micros(&rest[at..], SECOND)?))
    });
    match cut {
        Some((said, took)) => (said, Some(took)),
        None => {
            // What follows the time is why: `Failed  0.02 sec  Required regular expression not found.`.
            let (_, rest) = cut_word(said);
            let took = split(rest, b" sec").and_then(|(time, _)| micros(time.trim_ascii(), SECOND));
            (said, took)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::outcome::parse::Format;
    use crate::outcome::parse::tests::{check, told};

    /// As CTest 3.25 prints it with `--output-on-failure`.
    const SAMPLE: &str = "\
Test project /root/build
      Start  1: gpio.toggle
 1/6 Test  #1: gpio.toggle ......................   Passed    0.01 sec
      Start  2: uart
 2/6 Test  #2: uart .............................***Failed    0.02 sec
[   12.345678] ttyS1: overrun
expected 3, got 2

      Start  3: crash
 3/6 Test  #3: crash ............................***Exception: SegFault  0.03 sec
      Start  4: can
 4/6 Test  #4: can ..............................***Skipped   0.00 sec
      Start  5: flaky
    Test  #5: flaky ............................***Failed    0.01 sec
      Start  5: flaky
 5/6 Test  #5: flaky ............................   Passed    1.50 sec
      Start  6: old
 6/6 Test  #6: old ..............................***Not Run (Disabled)   0.00 sec

60% tests passed, 2 tests failed out of 5

Total Test time (real) =   1.57 sec

The following tests did not run:
\t  6 - old (Disabled)

The following tests FAILED:
\t  2 - uart (Failed)
\t  3 - crash (SEGFAULT)
Errors while running CTest
";

    #[test]
    fn a_session_is_read_with_times_and_reasons() {
        let results = check(Format::Ctest, SAMPLE, (2, 2, 2), None);
        let expect = [
            "+ gpio.toggle 10000us",
            "- uart 20000us",
            "- crash 30000us",
            "s can 0us",
            "+ flaky 1500000us",
            "s old 0us",
        ];
        assert_eq!(told(&results), expect);
        let notes: Vec<_> = results.cases.iter().map(|case| case.note.as_str()).collect();
        let uart = "ttyS1: overrun\nexpected 3, got 2";
        assert_eq!(notes, ["", uart, "Exception: SegFault", "", "", "Not Run (Disabled)"]);
        check(Format::Ctest, &SAMPLE.repeat(2), (4, 4, 4), None);
        let new = "1/1 Test #1: a ...   Passed    0.01 sec\n\n100% tests passed out of 1\n";
        check(Format::Ctest, new, (1, 0, 0), None);
    }

    #[test]
    fn what_does_not_come_is_missing() {
        let upto = |mark: &str| &SAMPLE[..SAMPLE.find(mark).expect("a mark of the sample")];
        check(Format::Ctest, upto("60%"), (2, 2, 2), Some("the summary of the tests is missing"));
        check(Format::Ctest, upto("***Exception"), (1, 1, 0), Some("2 of 6 tests came"));
        let lost = SAMPLE.replace("Test  #1: gpio", "Tes: gpio");
        check(Format::Ctest, &lost, (1, 2, 2), Some("the summary says 5 tests, 4 came"));
        check(Format::Ctest, "100% tests passed out of luck", (0, 0, 0), None);
    }
}
