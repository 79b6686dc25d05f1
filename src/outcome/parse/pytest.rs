//! `pytest -v`, <https://docs.pytest.org/>: `tests/test_gpio.py::test_toggle PASSED   [ 50%]`. A test is known by
//! its node id.
//!
//! A session begins with `test session starts` and ends with its counts, `== 1 failed, 2 passed in 0.12s ==`.
//! The short summary gives a failure its reason and the slowest durations give times. Without `-v` the names of
//! passing tests are not told, and the counts then say more than came. An XPASS that is not strict is a pass, as
//! pytest has it.

use std::collections::HashMap;

use super::Reader;
use super::sheet::{NAME_BYTES_MAX, Results, Sheet};
use super::text::{SECOND, cut_number, cut_word, micros, plain, split, split_last, text};
use crate::outcome::CaseStatus;

const WORDS: [(&[u8], CaseStatus); 6] = [
    (b"PASSED", CaseStatus::Passed),
    (b"FAILED", CaseStatus::Failed),
    (b"SKIPPED", CaseStatus::Skipped),
    (b"XFAIL", CaseStatus::ExpectedFailure),
    (b"XPASS", CaseStatus::Passed),
    (b"ERROR", CaseStatus::Failed),
];

/// How the titles of the sections begin that come when all tests have run.
const AFTER_TESTS: [&[u8]; 8] = [
    b"ERRORS",
    b"FAILURES",
    b"PASSES",
    b"XFAILURES",
    b"XPASSES",
    b"warnings summary",
    b"slowest ",
    b"short test summary",
];

/// Most places that are tried as the end of a node id.
const DASHES_MAX: usize = 8;

/// An incremental reader.
#[derive(Debug, Default)]
pub(super) struct Pytest {
    sheet: Sheet,
    session: Session,
    /// The node id that was printed without its result, when the test writes to the console itself.
    running: Option<Vec<u8>>,
    /// Where the session's cases stand, by node id; as many as are kept.
    places: HashMap<Vec<u8>, usize>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Session {
    /// None, or it ended.
    #[default]
    None,
    Tests,
    /// Failures are being explained: results do not come any more.
    Told,
}

impl Reader for Pytest {
    fn line(&mut self, line: &[u8]) {
        let line = plain(line);
        if let Some(title) = title(line) {
            self.section(title);
            return;
        }
        match self.session {
            Session::None => {}
            Session::Tests => {
                if !self.result(line) && !self.begins(line) {
                    self.sheet.remember(line);
                }
            }
            Session::Told => {
                if !self.explained(line) {
                    self.duration(line);
                }
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

impl Pytest {
    /// A line between two rows of `=`.
    fn section(&mut self, title: &[u8]) {
        if title == b"test session starts" {
            self.close();
            self.sheet.begin_program();
            self.session = Session::Tests;
        } else if let Some(counts) = final_counts(title).filter(|_| self.session != Session::None) {
            self.counts(counts);
        } else if self.session == Session::Tests && AFTER_TESTS.iter().any(|known| title.starts_with(known)) {
            self.session = Session::Told;
        }
    }

    /// `gpio.py::test_a PASSED [ 50%]`, `[gw0] [ 50%] PASSED gpio.py::test_a` of xdist, and `PASSED` alone for a
    /// test whose own output came between.
    fn result(&mut self, line: &[u8]) -> bool {
        if let Some((_, rest)) = line.strip_prefix(b"[gw").and_then(|rest| split(rest, b"%] ")) {
            let (word, id) = cut_word(rest);
            let Some((_, status)) = WORDS.iter().find(|(known, _)| *known == word) else { return false };
            self.case(id, word, *status, b"");
            return true;
        }
        let Some(Worded { id, word, status, rest }) = worded(line) else { return false };
        if id.is_empty() {
            let Some(running) = self.running.take() else { return false };
            self.case(&running, word, status, rest);
            return true;
        }
        // What came before the result may be the test's output; then its id began an earlier line.
        let id = if is_id(id) {
            id
        } else {
            match self.running.as_deref() {
                Some(_) if !id.contains(&b':') && !rest.is_empty() => {
                    &self.running.take().unwrap_or_default()
                }
                _ => return false,
            }
        };
        self.running = None;
        self.case(id, word, status, rest);
        true
    }

    fn case(&mut self, id: &[u8], word: &[u8], status: CaseStatus, rest: &[u8]) {
        let id = &id[..id.len().min(NAME_BYTES_MAX)];
        let reason =
            rest.strip_prefix(b"(").and_then(|rest| split_last(rest, b")")).map_or(&b""[..], |(r, _)| r);
        let unexpected = word == b"XPASS";
        let error_after = word == b"ERROR" && self.places.contains_key(id);
        let name = if error_after { [id, b" (teardown)"].concat() } else { id.to_owned() };
        let note = match (unexpected, reason) {
            (true, b"") => b"passed though it was expected to fail".to_vec(),
            (true, reason) => [b"passed though it was expected to fail: ", reason].concat(),
            (false, reason) => reason.to_vec(),
        };
        if let Some(case) = self.sheet.case(&name, status, &note) {
            self.places.insert(name, case);
        }
    }

    /// Whether the line is a node id whose result is still to come.
    fn begins(&mut self, line: &[u8]) -> bool {
        let (word, rest) = cut_word(line);
        let begins = is_id(word) && split(word, b".py::").is_some();
        if begins {
            self.running = Some(word.to_owned());
            self.sheet.remember(rest);
        }
        begins
    }

    /// `FAILED gpio.py::test_a - assert 1 == 2` of the short summary; an error while collecting is told only here.
    fn explained(&mut self, line: &[u8]) -> bool {
        let error = line.starts_with(b"ERROR ");
        let Some(rest) = line.strip_prefix(b"FAILED ").or_else(|| line.strip_prefix(b"ERROR ")) else {
            return false;
        };
        let (id, reason) = self.known_id(rest);
        let id = &id[..id.len().min(NAME_BYTES_MAX)];
        let teardown = error.then(|| self.places.get(&[id, b" (teardown)"].concat())).flatten();
        match teardown.or_else(|| self.places.get(id)) {
            Some(case) => self.sheet.add_note(Some(*case), reason),
            None if error || is_id(id) => self.case_of_summary(id, reason),
            None => {}
        }
        true
    }

    /// Splits `gpio.py::test_a[x - y] - assert 1 == 2`; an id may hold the dash itself.
    fn known_id<'a>(&self, rest: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let dashes = memchr::memmem::find_iter(rest, b" - ").take(DASHES_MAX);
        let mut parts = dashes.map(|at| (&rest[..at], &rest[at + 3..])).chain([(rest, b"".as_slice())]);
        let known = parts.find(|(id, _)| self.places.contains_key(*id));
        known.or_else(|| split(rest, b" - ")).unwrap_or((rest, b""))
    }

    fn case_of_summary(&mut self, id: &[u8], reason: &[u8]) {
        self.sheet.forget();
        if let Some(case) = self.sheet.case(id, CaseStatus::Failed, reason) {
            self.places.insert(id.to_owned(), case);
        }
    }

    /// `0.50s call     gpio.py::test_a` of the slowest durations.
    fn duration(&mut self, line: &[u8]) {
        let (time, rest) = cut_word(line);
        let (part, id) = cut_word(rest);
        if part == b"call"
            && let Some(time) = time.strip_suffix(b"s")
        {
            self.sheet.took(self.places.get(id).copied(), micros(time, SECOND));
        }
    }

    /// `1 failed, 2 passed, 1 xfailed, 3 warnings`: the end of the session.
    fn counts(&mut self, text: &[u8]) {
        let (mut passed, mut failed, mut skipped) = (0_u32, 0_u32, 0_u32);
        for part in text.split(|b| *b == b',') {
            let Some((count, word)) = cut_number(part.trim_ascii()) else { continue };
            let sum = match word.trim_ascii() {
                b"passed" | b"xpassed" => &mut passed,
                b"failed" | b"error" | b"errors" => &mut failed,
                b"skipped" | b"xfailed" => &mut skipped,
                _ => continue,
            };
            *sum = sum.saturating_add(count);
        }
        let came = self.sheet.of_program();
        if passed > 0 && came.passed == 0 && came.skipped == 0 {
            let told = format!("the summary says {passed} passed, 0 came: `pytest -v` names them");
            self.sheet.missing(|| told);
        }
        self.sheet.agree("passed", passed, came.passed);
        self.sheet.agree("failed or in error", failed, came.failed);
        self.sheet.agree("skipped or xfailed", skipped, came.skipped);
        self.ended();
    }

    fn close(&mut self) {
        if self.session == Session::None {
            return;
        }
        if let Some(id) = self.running.take() {
            self.sheet.missing(|| format!("{} began and did not end", text(&id, NAME_BYTES_MAX)));
        }
        self.sheet.missing(|| "the summary of the session is missing".to_owned());
        self.ended();
    }

    fn ended(&mut self) {
        self.session = Session::None;
        self.running = None;
        self.places.clear();
        self.sheet.forget();
    }
}

/// The counts of `1 failed, 2 passed in 0.12s` or `no tests ran in 0.01s`; a test may print a row of `=` itself.
fn final_counts(title: &[u8]) -> Option<&[u8]> {
    let (counts, time) = split_last(title, b" in ")?;
    let timed = time.first().is_some_and(u8::is_ascii_digit) && time.contains(&b's');
    let counted = counts == b"no tests ran" || counts.first().is_some_and(u8::is_ascii_digit);
    (timed && counted).then_some(counts)
}

/// What stands between two rows of `=`.
fn title(line: &[u8]) -> Option<&[u8]> {
    let inside = line.strip_prefix(b"=")?.strip_suffix(b"=")?;
    let from = inside.iter().position(|b| *b != b'=')?;
    let to = inside.iter().rposition(|b| *b != b'=')?;
    Some(inside[from..=to].trim_ascii())
}

/// A line that ends with how a test ended.
struct Worded<'a> {
    id: &'a [u8],
    word: &'static [u8],
    status: CaseStatus,
    rest: &'a [u8],
}

/// Splits `id WORD rest` at the last word that says how a test ended, where that word stands alone.
fn worded(line: &[u8]) -> Option<Worded<'_>> {
    let found = WORDS.iter().filter_map(|(word, status)| {
        let (id, rest) = split_last(line, word)?;
        let alone = id.last().is_none_or(|b| *b == b' ') && rest.first().is_none_or(|b| *b == b' ');
        let rest = rest.trim_ascii_start();
        let ends = rest.is_empty() || matches!(rest[0], b'[' | b'(');
        (alone && ends).then_some(Worded { id: id.trim_ascii(), word, status: *status, rest })
    });
    // A reason may hold such a word too: `a.py::b SKIPPED (was FAILED (once))`.
    found.min_by_key(|worded| worded.id.len())
}

/// Whether the text looks like a node id: `dir/test_gpio.py::TestPins::test_a[a b]`.
fn is_id(text: &[u8]) -> bool {
    split(text, b"::").is_some_and(|(file, test)| {
        !file.is_empty() && !test.is_empty() && !file.contains(&b' ') && !file.contains(&b':')
    })
}

#[cfg(test)]
mod tests {
    use crate::outcome::parse::Format;
    use crate::outcome::parse::tests::{check, told};

    /// As pytest 8.3 prints it with `-v --durations=1`, shortened.
    const SAMPLE: &str = "\
============================= test session starts ==============================
platform linux -- Python 3.11.2, pytest-8.3.4, pluggy-1.5.0 -- /usr/bin/python3
cachedir: .pytest_cache
rootdir: /root/lab
collecting ... collected 7 items

tests/test_gpio.py::test_toggle PASSED                                   [ 14%]
tests/test_gpio.py::TestPins::test_reads[pin - 4] FAILED                   [ 28%]
[   12.345678] gpio gpiochip0: line cnt 4
tests/test_gpio.py::test_wakes SKIPPED (no wake-up line (rev 1))         [ 42%]
tests/test_gpio.py::test_slow XFAIL (known to be slow)                   [ 57%]
tests/test_gpio.py::test_fast XPASS                                      [ 71%]
tests/test_gpio.py::test_loud hello from the test
=== two of the parts in place ===
PASSED                                                                   [ 85%]
tests/test_gpio.py::test_fixture ERROR                                   [100%]

==================================== ERRORS ====================================
________________________ ERROR at setup of test_fixture ________________________
E       RuntimeError: no board
=================================== FAILURES ===================================
_________________________ TestPins.test_reads[pin - 4] ________________________
>       assert 1 == 2
E       assert 1 == 2
tests/test_gpio.py:9: AssertionError
============================= slowest 1 durations ==============================
0.50s call     tests/test_gpio.py::test_toggle
=========================== short test summary info ============================
FAILED tests/test_gpio.py::TestPins::test_reads[pin - 4] - assert 1 == 2
ERROR tests/test_gpio.py::test_fixture - RuntimeError: no board
===== 1 failed, 3 passed, 1 skipped, 1 xfailed, 1 warning, 1 error in 0.12s =====
";

    #[test]
    fn a_session_is_read_with_reasons_and_times() {
        // One of the passes is an xpass.
        let text = SAMPLE.replace("3 passed", "2 passed, 1 xpassed");
        let results = check(Format::Pytest, &text, (3, 2, 2), None);
        let path = |rest: &str| rest.replace("t::", "tests/test_gpio.py::");
        assert_eq!(
            told(&results),
            [
                path("+ t::test_toggle 500000us"),
                path("- t::TestPins::test_reads[pin - 4]"),
                path("s t::test_wakes"),
                path("x t::test_slow"),
                path("+ t::test_fast"),
                path("+ t::test_loud"),
                path("- t::test_fixture"),
            ]
        );
        let notes: Vec<_> = results.cases.iter().map(|case| case.note.lines().last().unwrap_or("")).collect();
        let unexpected = "passed though it was expected to fail";
        let (slow, skip) = ("known to be slow", "no wake-up line (rev 1)");
        assert_eq!(notes, ["", "assert 1 == 2", skip, slow, unexpected, "", "RuntimeError: no board"]);
        check(Format::Pytest, &text.repeat(2), (6, 4, 4), None);
    }

    #[test]
    fn what_does_not_come_is_missing() {
        let upto = |mark: &str| &SAMPLE[..SAMPLE.find(mark).expect("a mark of the sample")];
        let no_end = Some("the summary of the session is missing");
        check(Format::Pytest, upto("===== 1 failed"), (3, 2, 2), no_end);
        check(Format::Pytest, upto("tests/test_gpio.py::test_slow"), (1, 1, 1), no_end);
        let began = Some("tests/test_gpio.py::test_loud began and did not end");
        check(Format::Pytest, upto(" hello"), (2, 1, 2), began);
        let lost = SAMPLE.replace("test_toggle PASSED", "test_togSED");
        check(Format::Pytest, &lost, (2, 2, 2), Some("the summary says 3 passed, 2 came"));
        check(Format::Pytest, "a.py::b PASSED", (0, 0, 0), None);
    }

    #[test]
    fn a_session_without_names_and_one_that_cannot_be_collected_say_so() {
        let dots = "=== test session starts ===\ncollected 3 items\n\ntest_a.py .F.   [100%]\n=== FAILURES ===\n\
                    === short test summary info ===\nFAILED test_a.py::test_x - assert 0\n\
                    === 1 failed, 2 passed in 0.01s ===";
        let hint = Some("the summary says 2 passed, 0 came: `pytest -v` names them");
        check(Format::Pytest, dots, (0, 1, 0), hint);
        let broken = "=== test session starts ===\ncollected 0 items / 1 error\n=== ERRORS ===\n\
                      === short test summary info ===\nERROR test_b.py - ModuleNotFoundError: x\n\
                      !!! Interrupted: 1 error during collection !!!\n=== 1 error in 0.05s ===";
        let results = check(Format::Pytest, broken, (0, 1, 0), None);
        assert_eq!(results.cases[0].note, "ModuleNotFoundError: x");
        let xdist = "=== test session starts ===\n[gw0] [ 50%] PASSED a.py::t \n[gw1] [100%] FAILED a.py::u \n\
                     === FAILURES ===\n=== 1 failed, 1 passed in 0.05s ===";
        assert_eq!(told(&check(Format::Pytest, xdist, (1, 1, 0), None)), ["+ a.py::t", "- a.py::u"]);
    }
}
