//! Zephyr's ztest, as twister reads it: `START - test_a`, ` PASS - test_a in 0.011 seconds`, a summary per suite and
//! `PROJECT EXECUTION SUCCESSFUL` at the end. A test is known as `suite.test_a`.
//!
//! A watchdog or power test reboots in the middle of its suite, which then begins again: a test that runs twice in
//! one suite is one case, and its last result counts. The summary repeats every test, and one whose own line was
//! garbled is taken from there.

use std::collections::{BTreeSet, HashMap};

use super::Reader;
use super::sheet::{NAME_BYTES_MAX, Results, Sheet};
use super::text::{SECOND, cut_number, cut_word, micros, plain, split, text};
use crate::outcome::{CASES_MAX, CaseStatus};

const WORDS: [(&[u8], CaseStatus); 4] = [
    (b"PASS - ", CaseStatus::Passed),
    (b"FAIL - ", CaseStatus::Failed),
    (b"SKIP - ", CaseStatus::Skipped),
    (b"FLAKY - ", CaseStatus::Failed),
];

/// Most tests without an end that are waited for until the summary names them.
const LOST_MAX: usize = 100;

/// An incremental reader.
#[derive(Debug, Default)]
pub(super) struct Ztest {
    sheet: Sheet,
    suite: Vec<u8>,
    /// The project's cases by name, as many as are kept.
    places: HashMap<Vec<u8>, usize>,
    /// How many of them each suite has.
    suites: HashMap<Vec<u8>, u32>,
    running: Option<Vec<u8>>,
    /// Tests that began and did not end.
    lost: BTreeSet<Vec<u8>>,
    /// The suite whose summary is being read, and how many tests it says.
    summed: Option<(Vec<u8>, u32)>,
    /// Whether a project began and has not ended.
    open: bool,
}

impl Reader for Ztest {
    fn line(&mut self, line: &[u8]) {
        let line = plain(line).trim_ascii_start();
        if let Some(name) = after_any(line, &[b"Running TESTSUITE ", b"Running test suite "]) {
            self.suite(name);
        } else if let Some(name) = after_any(line, &[b"START - ", b"starting test - "]) {
            self.start(name);
        } else if line.starts_with(b"SUITE ") && self.open {
            self.sum(line);
        } else if let Some(rest) = line.strip_prefix(b"- ").filter(|_| self.summed.is_some()) {
            self.repeated(rest);
        } else if let Some((rest, status)) = worded(line).filter(|_| self.open) {
            self.result(rest, status);
        } else if let Some(word) = line.strip_prefix(b"PROJECT EXECUTION ") {
            self.end(word);
        } else if self.running.is_some() {
            self.sheet.remember(line);
        }
    }

    fn results(&self) -> &Results {
        self.sheet.results()
    }

    fn finish(mut self: Box<Self>) -> Results {
        self.lost_end();
        self.tell_lost();
        if self.open {
            self.sheet.missing(|| "the end of the project is missing".to_owned());
        }
        self.sheet.finish()
    }
}

impl Ztest {
    fn suite(&mut self, name: &[u8]) {
        let name = bounded(cut_word(name).0);
        if self.suite != name {
            self.lost_end();
            self.suite = name.to_owned();
        }
        // After a reboot the suite begins once more, and with it perhaps the test at work.
        self.running = None;
        self.summed = None;
        self.begin();
    }

    fn start(&mut self, name: &[u8]) {
        let name = bounded(cut_word(name).0);
        if self.running.as_deref() != Some(name) {
            self.lost_end();
        }
        self.begin();
        self.sheet.forget();
        self.running = Some(name.to_owned());
    }

    fn begin(&mut self) {
        if !self.open {
            self.sheet.begin_program();
            self.open = true;
        }
    }

    /// `test_a in 0.011 seconds`.
    fn result(&mut self, rest: &[u8], status: CaseStatus) {
        let (name, rest) = cut_word(rest);
        let Some((time, _)) = rest.strip_prefix(b"in ").and_then(|rest| split(rest, b" second")) else {
            return;
        };
        let name = bounded(name);
        if self.running.as_deref().is_some_and(|running| running != name) {
            self.lost_end();
        }
        self.running = None;
        let full = self.full(name);
        self.record(full, status, micros(time, SECOND));
    }

    /// One case per name, as long as cases are kept.
    fn record(&mut self, name: Vec<u8>, status: CaseStatus, took: Option<u64>) {
        self.lost.remove(&name);
        let known = self.places.get(&name).copied();
        if known.is_some() {
            self.sheet.change(known, status);
            self.sheet.took(known, took);
            return;
        }
        let case = self.sheet.case(&name, status, b"");
        self.sheet.took(case, took);
        if let Some(case) = case {
            if let Some((suite, _)) = split(&name, b".") {
                *self.suites.entry(suite.to_owned()).or_default() += 1;
            }
            self.places.insert(name, case);
        }
    }

    /// `SUITE PASS - 100.00% [gpio]: pass = 5, fail = 0, skip = 0, total = 5 duration = 0.011 seconds`.
    fn sum(&mut self, line: &[u8]) {
        let Some((name, rest)) = split(line, b" [").and_then(|(_, rest)| split(rest, b"]: ")) else { return };
        self.lost_end();
        self.summed_up();
        let total = split(rest, b"total = ").and_then(|(_, rest)| cut_number(rest));
        self.summed = total.map(|(total, _)| (bounded(name).to_owned(), total));
    }

    /// `PASS - [gpio.test_a] duration = 0.001 seconds` of a summary.
    fn repeated(&mut self, rest: &[u8]) {
        let Some((name, status)) = worded(rest) else { return };
        let Some((name, rest)) = name.strip_prefix(b"[").and_then(|rest| split(rest, b"]")) else { return };
        let name = bounded(name);
        let kept = self.sheet.results().cases.len() < CASES_MAX;
        let inside =
            split(name, b".").is_some_and(|(suite, _)| self.summed.as_ref().is_some_and(|s| s.0 == suite));
        if inside && kept && !self.places.contains_key(name) {
            let took = split(rest, b"= ").and_then(|(_, time)| micros(cut_word(time).0, SECOND));
            self.record(name.to_owned(), status, took);
        }
    }

    /// The summary of a suite is over.
    fn summed_up(&mut self) {
        let Some((suite, total)) = self.summed.take() else { return };
        if self.sheet.results().cases.len() < CASES_MAX {
            let came = self.suites.get(&suite).copied().unwrap_or(0);
            self.sheet.agree(&format!("tests of {}", text(&suite, NAME_BYTES_MAX)), total, came);
        }
    }

    fn end(&mut self, word: &[u8]) {
        self.lost_end();
        self.summed_up();
        self.tell_lost();
        if !self.open {
            self.sheet.begin_program();
            self.sheet.missing(|| "the project ended, and no test came".to_owned());
        }
        if !word.starts_with(b"SUCCESSFUL") && self.sheet.of_program().failed == 0 {
            self.sheet.missing(|| "the project failed, and no failing test came".to_owned());
        }
        self.open = false;
        self.suite.clear();
        self.places.clear();
        self.suites.clear();
    }

    fn full(&self, name: &[u8]) -> Vec<u8> {
        let mut full = self.suite.clone();
        if !full.is_empty() {
            full.push(b'.');
        }
        full.extend_from_slice(name);
        full.truncate(NAME_BYTES_MAX);
        full
    }

    fn lost_end(&mut self) {
        if let Some(name) = self.running.take() {
            let name = self.full(&name);
            if self.lost.len() < LOST_MAX {
                self.lost.insert(name);
            }
        }
    }

    fn tell_lost(&mut self) {
        if let Some(name) = std::mem::take(&mut self.lost).first() {
            self.sheet.missing(|| format!("{} began and did not end", text(name, NAME_BYTES_MAX)));
        }
    }
}

fn bounded(name: &[u8]) -> &[u8] {
    &name[..name.len().min(NAME_BYTES_MAX)]
}

fn after_any<'a>(line: &'a [u8], marks: &[&[u8]]) -> Option<&'a [u8]> {
    marks.iter().find_map(|mark| line.strip_prefix(*mark))
}

fn worded(line: &[u8]) -> Option<(&[u8], CaseStatus)> {
    WORDS.iter().find_map(|(word, status)| Some((line.strip_prefix(*word)?, *status)))
}

#[cfg(test)]
mod tests {
    use crate::outcome::parse::Format;
    use crate::outcome::parse::tests::{check, told};

    /// As Zephyr 3.7 prints it, shortened.
    const SAMPLE: &str = "\
*** Booting Zephyr OS build v3.7.0 ***
Running TESTSUITE gpio
===================================================================
START - test_toggle
 PASS - test_toggle in 0.011 seconds
===================================================================
START - test_reads
[00:00:00.010,000] <inf> gpio: pin 4

    Assertion failed at src/main.c:40: gpio_test_reads: (pin == 1 is false)
pin 4 is low
 FAIL - test_reads in 0.010 seconds
===================================================================
TESTSUITE gpio failed.
Running TESTSUITE wdt
===================================================================
START - test_bites
*** Booting Zephyr OS build v3.7.0 ***
Running TESTSUITE wdt
===================================================================
START - test_bites
 PASS - test_bites in 0.001 seconds
START - test_window
 SKIP - test_window in 0.000 seconds
TESTSUITE wdt succeeded

------ TESTSUITE SUMMARY START ------

SUITE FAIL -  50.00% [gpio]: pass = 1, fail = 1, skip = 0, total = 2 duration = 0.021 seconds
 - FAIL - [gpio.test_reads] duration = 0.010 seconds
 - PASS - [gpio.test_toggle] duration = 0.011 seconds

SUITE PASS - 100.00% [wdt]: pass = 1, fail = 0, skip = 1, total = 2 duration = 0.001 seconds
 - PASS - [wdt.test_bites] duration = 0.001 seconds
 - SKIP - [wdt.test_window] duration = 0.000 seconds

------ TESTSUITE SUMMARY END ------

===================================================================
PROJECT EXECUTION FAILED
";
    const TOLD: [&str; 4] = [
        "+ gpio.test_toggle 11000us",
        "- gpio.test_reads 10000us",
        "+ wdt.test_bites 1000us",
        "s wdt.test_window 0us",
    ];

    #[test]
    fn suites_are_read_also_across_a_reboot() {
        let results = check(Format::Ztest, SAMPLE, (2, 1, 1), None);
        assert_eq!(told(&results), TOLD);
        assert!(
            results.cases[1].note.ends_with("(pin == 1 is false)\npin 4 is low"),
            "{}",
            results.cases[1].note
        );
        check(Format::Ztest, &SAMPLE.repeat(2), (4, 2, 2), None);
    }

    #[test]
    fn a_garbled_line_is_made_good_by_the_summary() {
        let garbled = SAMPLE.replace(" PASS - test_toggle in", " PA- testgle");
        let results = check(Format::Ztest, &garbled, (2, 1, 1), None);
        let mut names = told(&results);
        names.sort();
        let mut expect = TOLD;
        expect.sort();
        assert_eq!(names, expect);
        let lost = garbled.replace(" - PASS - [gpio.test_toggle]", " - PASS - [gpi");
        check(Format::Ztest, &lost, (1, 1, 1), Some("the summary says 2 tests of gpio, 1 came"));
    }

    #[test]
    fn what_does_not_come_is_missing() {
        let upto = |mark: &str| &SAMPLE[..SAMPLE.find(mark).expect("a mark of the sample")];
        check(Format::Ztest, upto("PROJECT"), (2, 1, 1), Some("the end of the project is missing"));
        check(Format::Ztest, upto("pin 4 is low"), (1, 0, 0), Some("gpio.test_reads began and did not end"));
        let alone = "PROJECT EXECUTION FAILED";
        check(Format::Ztest, alone, (0, 0, 0), Some("the project ended, and no test came"));
        let odd =
            "Running TESTSUITE a\nSTART - test_x\n PASS - test_x in 0.1 seconds\nPROJECT EXECUTION FAILED";
        check(Format::Ztest, odd, (1, 0, 0), Some("the project failed, and no failing test came"));
        check(Format::Ztest, "PASS - x in 1 seconds\n - PASS - [a.b]", (0, 0, 0), None);
    }
}
