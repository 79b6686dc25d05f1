//! GoogleTest's console output, <https://google.github.io/googletest/>. A test is known as `Suite.Name`; what it
//! printed between its `[ RUN      ]` and `[  FAILED  ]` is its note.
//!
//! The end of a program is its `[  PASSED  ] n tests.`, which comes after the total, also when tests failed; the
//! lists of failed and skipped tests after the total repeat what was told. `--gtest_brief` leaves out the passing
//! tests, and the summary then says more than came.

use super::Reader;
use super::sheet::{Results, Sheet};
use super::text::{MILLISECOND, cut_number, cut_word, micros, plain, split, split_last};
use crate::outcome::CaseStatus;

const RUN: &[u8] = b"[ RUN      ] ";
const BAR: &[u8] = b"[==========] ";
const PASSED: &[u8] = b"[  PASSED  ] ";
const FAILED: &[u8] = b"[  FAILED  ] ";
const ENDS: [(&[u8], CaseStatus); 3] = [
    (b"[       OK ] ", CaseStatus::Passed),
    (FAILED, CaseStatus::Failed),
    (b"[  SKIPPED ] ", CaseStatus::Skipped),
];

/// An incremental reader.
#[derive(Debug, Default)]
pub(super) struct Gtest {
    sheet: Sheet,
    /// The test at work.
    running: Option<Vec<u8>>,
    program: Program,
    /// How many tests the program at work promised.
    promised: u32,
}

/// How far the program at work is.
#[derive(Debug, Default, PartialEq, Eq)]
enum Program {
    /// None began.
    #[default]
    None,
    Tests,
    /// Its total came; how many passed is still to come.
    Total,
    Ended,
}

impl Reader for Gtest {
    fn line(&mut self, line: &[u8]) {
        let line = plain(line);
        if !line.contains(&b'[') {
            self.said(line);
        } else if let Some(rest) = line.strip_prefix(BAR) {
            self.bar(rest);
        } else if let Some(rest) = line.strip_prefix(PASSED).filter(|_| self.program != Program::None) {
            self.passed(rest);
        } else if let Some((before, name)) = split(line, RUN) {
            self.said(before);
            self.run(name);
        } else if !self.ended(line) {
            self.said(line);
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

impl Gtest {
    /// `Running 4 tests from 2 test suites.`, `4 tests from 2 test suites ran. (3 ms total)`.
    fn bar(&mut self, rest: &[u8]) {
        if let Some((count, _)) = rest.strip_prefix(b"Running ").and_then(cut_number) {
            self.close();
            self.sheet.begin_program();
            (self.program, self.promised) = (Program::Tests, count);
        } else if let Some((count, after)) = cut_number(rest)
            && memchr::memmem::find(after, b" ran.").is_some()
        {
            if self.program == Program::None {
                self.sheet.begin_program();
            }
            self.lost_end();
            self.program = Program::Total;
            self.sheet.agree("tests", count, self.sheet.of_program().total());
        }
    }

    fn passed(&mut self, rest: &[u8]) {
        if let (Program::Total, Some((count, _))) = (&self.program, cut_number(rest)) {
            self.program = Program::Ended;
            self.sheet.agree("passed", count, self.sheet.of_program().passed);
        }
    }

    fn run(&mut self, name: &[u8]) {
        self.lost_end();
        if matches!(self.program, Program::None | Program::Ended) {
            // Its first lines are lost.
            self.sheet.begin_program();
            (self.program, self.promised) = (Program::Tests, 0);
        }
        self.sheet.forget();
        self.running = Some(cut_word(name).0.to_owned());
    }

    /// Whether the line ends a test. What a test printed without a newline may stand before the mark.
    fn ended(&mut self, line: &[u8]) -> bool {
        let found =
            ENDS.iter().find_map(|(mark, status)| split_last(line, mark).map(|(b, rest)| (b, rest, *status)));
        let Some((before, rest, status)) = found else { return false };
        let (name, _) = cut_word(rest);
        let name = name.strip_suffix(b",").unwrap_or(name);
        let Some(running) = self.running.take_if(|running| running.as_slice() == name) else {
            return self.suite_failed(before, rest, status);
        };
        self.sheet.remember(before);
        let case = self.sheet.case(&running, status, b"");
        let took =
            split_last(rest, b" (").and_then(|(_, time)| micros(time.strip_suffix(b" ms)")?, MILLISECOND));
        self.sheet.took(case, took);
        true
    }

    /// `[  FAILED  ] Suite: SetUpTestSuite or TearDownTestSuite`, told once among the tests and again in the list.
    fn suite_failed(&mut self, before: &[u8], rest: &[u8], status: CaseStatus) -> bool {
        if !before.is_empty() {
            return false;
        }
        if let Some((suite, what)) = split(rest, b": ")
            && status == CaseStatus::Failed
            && what.starts_with(b"SetUpTestSuite")
            && self.program == Program::Ended
        {
            self.sheet.case(suite, status, what);
        }
        true
    }

    fn said(&mut self, line: &[u8]) {
        if self.running.is_some() {
            self.sheet.remember(line);
        }
    }

    /// The next thing begins, and the test at work has not ended.
    fn lost_end(&mut self) {
        if let Some(name) = self.running.take() {
            self.sheet.missing(|| format!("{} began and did not end", super::text::text(&name, 200)));
        }
    }

    fn close(&mut self) {
        self.lost_end();
        let (came, promised) = (self.sheet.of_program().total(), self.promised);
        match self.program {
            Program::None | Program::Ended => {}
            Program::Tests if came < promised => {
                self.sheet.missing(|| format!("{came} of {promised} tests came"));
            }
            Program::Tests | Program::Total => {
                self.sheet.missing(|| "the summary of the test program is missing".to_owned());
            }
        }
        self.program = Program::None;
    }
}

#[cfg(test)]
mod tests {
    use crate::outcome::parse::Format;
    use crate::outcome::parse::tests::{check, told};

    /// As googletest 1.12 prints it, shortened.
    const SAMPLE: &str = "\
Running main() from ./googletest/src/gtest_main.cc
[==========] Running 4 tests from 2 test suites.
[----------] Global test environment set-up.
[----------] 2 tests from Clock
[ RUN      ] Clock.Sets
[       OK ] Clock.Sets (0 ms)
[ RUN      ] Clock.Runs
[   12.345678] usb 1-1: new high-speed USB device
clock_test.cc:42: Failure
Expected equality of these values:
  rate
    Which is: 3
  24
[  FAILED  ] Clock.Runs (12 ms)
[----------] 2 tests from Clock (12 ms total)

[----------] 2 tests from All/Rates
[ RUN      ] All/Rates.Works/0
0 of 10 done[       OK ] All/Rates.Works/0 (3 ms)
[ RUN      ] All/Rates.Works/1
rates_test.cc:9: Skipped
no second clock
[  SKIPPED ] All/Rates.Works/1, where GetParam() = 7 (0 ms)
[----------] Global test environment tear-down
[==========] 4 tests from 2 test suites ran. (15 ms total)
[  PASSED  ] 2 tests.
[  SKIPPED ] 1 test, listed below:
[  SKIPPED ] All/Rates.Works/1
[  FAILED  ] 1 test, listed below:
[  FAILED  ] Clock.Runs

 1 FAILED TEST
  YOU HAVE 1 DISABLED TEST
";

    #[test]
    fn a_program_is_read_with_its_failures_and_times() {
        let results = check(Format::Gtest, SAMPLE, (2, 1, 1), None);
        assert_eq!(
            told(&results),
            [
                "+ Clock.Sets 0us",
                "- Clock.Runs 12000us",
                "+ All/Rates.Works/0 3000us",
                "s All/Rates.Works/1 0us"
            ]
        );
        assert!(results.cases[1].note.ends_with("Which is: 3\n  24"), "{}", results.cases[1].note);
        check(Format::Gtest, &SAMPLE.repeat(2), (4, 2, 2), None);
    }

    #[test]
    fn what_does_not_come_is_missing() {
        let upto = |mark: &str| &SAMPLE[..SAMPLE.find(mark).expect("a mark of the sample")];
        check(Format::Gtest, upto("[ RUN      ] Clock.Runs"), (1, 0, 0), Some("1 of 4 tests came"));
        check(Format::Gtest, upto("clock_test"), (1, 0, 0), Some("Clock.Runs began and did not end"));
        let no_end = Some("the summary of the test program is missing");
        check(Format::Gtest, upto("[  PASSED"), (2, 1, 1), no_end);
        check(Format::Gtest, upto("2 tests.\n"), (2, 1, 1), no_end);
        let lost = SAMPLE.replace("[       OK ] Clock.Sets", "[     x");
        check(Format::Gtest, &lost, (1, 1, 1), Some("Clock.Sets began and did not end"));
        let brief = "[==========] 9 tests from 2 test suites ran. (15 ms total)\n[  PASSED  ] 9 tests.";
        check(Format::Gtest, brief, (0, 0, 0), Some("the summary says 9 tests, 0 came"));
        check(Format::Gtest, "nothing [of] the kind [ RUN", (0, 0, 0), None);
    }

    #[test]
    fn a_suite_that_does_not_set_up_is_a_case() {
        let text = "[==========] Running 0 tests from 1 test suite.\n[  FAILED  ] Net: SetUpTestSuite or TearDownTestSuite\n\
                    [==========] 0 tests from 1 test suite ran. (0 ms total)\n[  PASSED  ] 0 tests.\n\
                    [  FAILED  ] Net: SetUpTestSuite or TearDownTestSuite\n\n 1 FAILED TEST SUITE";
        assert_eq!(told(&check(Format::Gtest, text, (0, 1, 0), None)), ["- Net"]);
    }
}
