//! The classic family: `PASS: name` of DejaGnu, automake's test driver and busybox. A case is known by what follows
//! the word. XPASS and KPASS are failures, as these tools have them.
//!
//! DejaGnu begins with `Test run by` and ends with its summary, automake ends with `Testsuite summary`; busybox has
//! neither, so that nothing can be missing. DejaGnu tells of passing tests with `runtest --all` only, and without it
//! the summary says more than came. A log that automake quotes (`VERBOSE=1`) is not read again.

use super::Reader;
use super::sheet::{Results, Sheet};
use super::text::{cut_number, cut_word, plain, split, split_last};
use crate::outcome::CaseStatus;

const UNEXPECTED: &[u8] = b"passed though it was expected to fail";

const WORDS: [(&[u8], CaseStatus); 12] = [
    (b"PASS", CaseStatus::Passed),
    (b"FAIL", CaseStatus::Failed),
    (b"XFAIL", CaseStatus::ExpectedFailure),
    (b"XPASS", CaseStatus::Failed),
    (b"KFAIL", CaseStatus::ExpectedFailure),
    (b"KPASS", CaseStatus::Failed),
    (b"UNRESOLVED", CaseStatus::Failed),
    (b"ERROR", CaseStatus::Failed),
    (b"SKIP", CaseStatus::Skipped),
    (b"SKIPPED", CaseStatus::Skipped),
    (b"UNTESTED", CaseStatus::Skipped),
    (b"UNSUPPORTED", CaseStatus::Skipped),
];

/// Lines of DejaGnu's summary, and what they count.
const SUMMARY: [(&[u8], CaseStatus); 9] = [
    (b"expected passes", CaseStatus::Passed),
    (b"unexpected failures", CaseStatus::Failed),
    (b"unexpected successes", CaseStatus::Failed),
    (b"expected failures", CaseStatus::ExpectedFailure),
    (b"unknown successes", CaseStatus::Failed),
    (b"known failures", CaseStatus::ExpectedFailure),
    (b"unresolved testcases", CaseStatus::Failed),
    (b"untested testcases", CaseStatus::Skipped),
    (b"unsupported tests", CaseStatus::Skipped),
];

/// An incremental reader.
#[derive(Debug, Default)]
pub(super) struct Dejagnu {
    sheet: Sheet,
    /// Whether results came that no summary has counted.
    open: bool,
    /// A summary was promised and has not come.
    promised: bool,
    /// Inside a log that automake quotes.
    quoting: bool,
    /// `ERROR: …` of the program; DejaGnu's summary leaves them out.
    errors: u32,
    /// The summary that is being read: passed, failed, skipped.
    said: Option<[u32; 3]>,
}

impl Reader for Dejagnu {
    fn line(&mut self, line: &[u8]) {
        let line = plain(line);
        if let Some(rest) = line.strip_prefix(b"# ") {
            self.counted(rest);
        } else if line.starts_with(b".. contents::") {
            self.quoting = true;
        } else if line.starts_with(b"Testsuite summary for ") {
            self.quoting = false;
            self.promised = true;
            self.said = Some([0; 3]);
        } else if line.starts_with(b"Test run by ") {
            self.summed_up();
            self.sheet.promise();
            self.promised = true;
        } else if line.ends_with(b" Summary ===") {
            self.said = Some([0; 3]);
        } else if !self.quoting && !self.result(line) {
            self.sheet.remember(line);
        }
    }

    fn results(&self) -> &Results {
        self.sheet.results()
    }

    fn finish(mut self: Box<Self>) -> Results {
        self.summed_up();
        if self.promised || self.quoting {
            self.sheet.missing(|| "the summary of the tests is missing".to_owned());
        }
        self.sheet.finish()
    }
}

impl Dejagnu {
    fn result(&mut self, line: &[u8]) -> bool {
        let Some((word, rest)) = split(line, b": ") else { return false };
        let Some((_, status)) = WORDS.iter().find(|(known, _)| *known == word) else { return false };
        if self.said.is_some() {
            self.summed_up();
        }
        if !self.open {
            self.sheet.begin_program();
            (self.open, self.errors) = (true, 0);
        }
        self.errors += u32::from(word == b"ERROR");
        // automake's TAP driver keeps the directive: `SKIP: a.test 2 - b # SKIP no device`.
        let (name, reason) =
            split(rest, b" # SKIP").or_else(|| split(rest, b" # TODO")).unwrap_or((rest, b""));
        let note = match word {
            b"XPASS" | b"KPASS" => UNEXPECTED,
            b"UNRESOLVED" | b"ERROR" => word,
            _ => reason.trim_ascii(),
        };
        self.sheet.case(name.trim_ascii(), *status, note);
        true
    }

    /// `TOTAL: 5`, `PASS:  3` of automake, `of expected passes\t\t12` of DejaGnu, behind `# `.
    fn counted(&mut self, rest: &[u8]) {
        if let Some(rest) = rest.strip_prefix(b"of ") {
            let Some((what, count)) = split_last(rest, b"\t").or_else(|| split_last(rest, b" ")) else {
                return;
            };
            let what = what.trim_ascii_end();
            let Some((_, status)) = SUMMARY.iter().find(|(known, _)| *known == what) else { return };
            self.add(*status, count);
        } else if let Some((word, count)) = split(rest, b":") {
            let count = count.trim_ascii();
            if word == b"TOTAL" && self.open && self.said.is_none() {
                self.said = Some([0; 3]);
            } else if let Some((_, status)) = WORDS.iter().find(|(known, _)| *known == word) {
                self.add(*status, count);
                if word == b"ERROR" && cut_word(count).1.is_empty() {
                    self.summed_up();
                }
            }
        }
    }

    fn add(&mut self, status: CaseStatus, count: &[u8]) {
        let (Some(said), Some((count, b""))) = (&mut self.said, cut_number(count)) else { return };
        let at = match status {
            CaseStatus::Passed => 0,
            CaseStatus::Failed => 1,
            CaseStatus::Skipped | CaseStatus::ExpectedFailure => 2,
        };
        said[at] = said[at].saturating_add(count);
    }

    /// The summary is over, if one began.
    fn summed_up(&mut self) {
        let Some([passed, failed, skipped]) = self.said.take() else { return };
        let came = self.sheet.of_program();
        self.sheet.agree("passed", passed, came.passed);
        if failed.saturating_add(self.errors) != came.failed {
            self.sheet.agree("failed", failed, came.failed);
        }
        self.sheet.agree("skipped or failed as expected", skipped, came.skipped);
        (self.open, self.promised) = (false, false);
        self.sheet.forget();
    }
}

#[cfg(test)]
mod tests {
    use crate::outcome::parse::Format;
    use crate::outcome::parse::tests::{check, told};

    /// As `runtest --all` of DejaGnu 1.6 prints it, shortened.
    const DEJAGNU: &str = "\
Test run by root on Thu Oct 10 10:10:10 2024
Native configuration is aarch64-unknown-linux-gnu

\t\t=== calc tests ===

Running ./testsuite/calc.exp ...
PASS: calc.exp: add 3 4
[   12.345678] random: crng init done
got 7
FAIL: calc.exp: subtract
XFAIL: calc.exp: divide by zero
XPASS: calc.exp: old bug
UNTESTED: calc.exp: root
ERROR: tcl error sourcing calc2.exp.

\t\t=== calc Summary ===

# of expected passes\t\t1
# of unexpected failures\t1
# of unexpected successes\t1
# of expected failures\t\t1
# of untested testcases\t\t1
calc version 1.0
";
    /// As automake 1.16 prints it with VERBOSE=1.
    const AUTOMAKE: &str = "\
PASS: t/a.sh
SKIP: t/b.test 2 - can # SKIP no can0
FAIL: t/c.sh
==================================
   demo 1.0: ./test-suite.log
==================================

# TOTAL: 3
# PASS:  1
# SKIP:  1
# XFAIL: 0
# FAIL:  1
# XPASS: 0
# ERROR: 0

.. contents:: :depth: 2

FAIL: t/c.sh
============

no such file
FAIL t/c.sh (exit status: 1)

============================================================================
Testsuite summary for demo 1.0
============================================================================
# TOTAL: 3
# PASS:  1
# SKIP:  1
# XFAIL: 0
# FAIL:  1
# XPASS: 0
# ERROR: 0
============================================================================
";

    #[test]
    fn the_family_is_read() {
        let results = check(Format::Dejagnu, DEJAGNU, (1, 3, 2), None);
        let expect = [
            "+ calc.exp: add 3 4",
            "- calc.exp: subtract",
            "x calc.exp: divide by zero",
            "- calc.exp: old bug",
            "s calc.exp: root",
            "- tcl error sourcing calc2.exp.",
        ];
        assert_eq!(told(&results), expect);
        assert_eq!(results.cases[1].note, "random: crng init done\ngot 7");
        assert_eq!(results.cases[3].note, "passed though it was expected to fail");
        let results = check(Format::Dejagnu, AUTOMAKE, (1, 1, 1), None);
        assert_eq!(told(&results), ["+ t/a.sh", "s t/b.test 2 - can", "- t/c.sh"]);
        assert_eq!(results.cases[1].note, "no can0");
        check(Format::Dejagnu, &format!("{AUTOMAKE}{DEJAGNU}{AUTOMAKE}"), (3, 5, 4), None);
        let busybox =
            "PASS: awk handles empty match\nSKIPPED: tar Symlinks and hardlinks coexist\nFAIL: du-k-works";
        check(Format::Dejagnu, busybox, (1, 1, 1), None);
    }

    #[test]
    fn what_does_not_come_is_missing() {
        let upto = |text: &'static str, mark: &str| &text[..text.find(mark).expect("a mark of the sample")];
        let no_end = Some("the summary of the tests is missing");
        check(Format::Dejagnu, upto(DEJAGNU, "\t\t=== calc S"), (1, 3, 2), no_end);
        check(Format::Dejagnu, upto(AUTOMAKE, "no such"), (1, 1, 1), no_end);
        check(Format::Dejagnu, upto(DEJAGNU, "PASS"), (0, 0, 0), no_end);
        let quiet = DEJAGNU.replace("PASS: calc.exp: add 3 4\n", "");
        check(Format::Dejagnu, &quiet, (0, 3, 2), Some("the summary says 1 passed, 0 came"));
        check(Format::Dejagnu, "PASSED: x\n# PASS: 3\nit says PASS: no", (0, 0, 0), None);
    }
}
