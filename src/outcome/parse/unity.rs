//! Unity's console output, <https://github.com/ThrowTheSwitch/Unity>: `test_gpio.c:12:test_Toggle:PASS`, and
//! `TEST(group, name) PASS` of its fixtures. A test is known as `test_gpio.test_Toggle`, or `group.name`.
//!
//! A program ends with `3 Tests 1 Failures 1 Ignored`. Fixtures without `-v` print dots for what passed, and the
//! summary then says more than came.

use super::Reader;
use super::sheet::{Results, Sheet};
use super::text::{MILLISECOND, cut_number, micros, plain, split, split_last, text};
use crate::outcome::CaseStatus;

/// An incremental reader.
#[derive(Debug, Default)]
pub(super) struct Unity {
    sheet: Sheet,
    /// Whether results came that no summary has counted.
    open: bool,
    /// The fixture's test at work: its name was printed, its result not yet.
    running: Option<Vec<u8>>,
}

impl Reader for Unity {
    fn line(&mut self, line: &[u8]) {
        let line = plain(line);
        let telling = memchr::memchr2(b':', b'(', line).is_some() || self.running.is_some();
        if telling && (self.plain_result(line) || self.fixture(line)) || self.summary(line) {
            return;
        }
        self.sheet.remember(line);
    }

    fn results(&self) -> &Results {
        self.sheet.results()
    }

    fn finish(mut self: Box<Self>) -> Results {
        self.lost_end();
        if self.open {
            self.sheet.missing(|| "the summary of the tests is missing".to_owned());
        }
        self.sheet.finish()
    }
}

impl Unity {
    /// `3 Tests 1 Failures 1 Ignored`.
    fn summary(&mut self, line: &[u8]) -> bool {
        let Some([tests, failures, ignored]) = counts(line) else { return false };
        if !self.open {
            self.sheet.begin_program();
        }
        self.lost_end();
        let came = self.sheet.of_program();
        self.sheet.agree("tests", tests, came.total());
        self.sheet.agree("failures", failures, came.failed);
        self.sheet.agree("ignored", ignored, came.skipped);
        self.open = false;
        self.sheet.forget();
        true
    }

    /// `test/test_gpio.c:12:test_Toggle:FAIL: Expected 1 Was 2`, with a fixture's `TEST(group, name)` perhaps
    /// before it or in it.
    fn plain_result(&mut self, line: &[u8]) -> bool {
        let Some((head, status, message)) = marked(line) else { return false };
        let Some((place, function)) = place_and_function(head) else { return false };
        let name = match fixture_name(function).or_else(|| fixture_name(place)) {
            Some((name, _)) => name,
            None => {
                let file = place.rsplit(|b| matches!(b, b'/' | b'\\')).next().unwrap_or(place);
                let stem = split_last(file, b".").map_or(file, |(stem, _)| stem);
                [stem, b".".as_slice(), function].concat()
            }
        };
        self.result(&name, status, message);
        true
    }

    /// `TEST(group, name) PASS`, whose two halves may be lines apart.
    fn fixture(&mut self, line: &[u8]) -> bool {
        let (name, rest) = match (fixture_name(line), self.running.take()) {
            (Some(named), running) => {
                self.running = running;
                self.lost_end();
                named
            }
            (None, Some(running)) => (running, line),
            (None, None) => return false,
        };
        let ignored = line.starts_with(b"IGNORE_TEST(");
        match rest.trim_ascii() {
            rest if rest == b"PASS" || rest.starts_with(b"PASS (") => {
                self.result(&name, CaseStatus::Passed, rest.strip_prefix(b"PASS").unwrap_or(rest));
            }
            b"" | b"IGNORE" if ignored => self.result(&name, CaseStatus::Skipped, b""),
            _ if line.starts_with(b"TEST(") => {
                self.start();
                self.sheet.remember(rest);
                self.running = Some(name);
            }
            _ => {
                self.running = Some(name);
                return false;
            }
        }
        true
    }

    fn start(&mut self) {
        if !self.open {
            self.sheet.begin_program();
            self.open = true;
        }
    }

    fn result(&mut self, name: &[u8], status: CaseStatus, message: &[u8]) {
        self.start();
        self.running = None;
        let message = message.trim_ascii();
        // With UNITY_INCLUDE_EXEC_TIME, ` (12 ms)` ends the line.
        let timed = split_last(message, b"(").and_then(|(before, time)| {
            Some((before.trim_ascii_end(), micros(time.strip_suffix(b" ms)")?, MILLISECOND)?))
        });
        let (note, took) = timed.map_or((message, None), |(note, took)| (note, Some(took)));
        let case = self.sheet.case(name, status, note);
        self.sheet.took(case, took);
    }

    fn lost_end(&mut self) {
        if let Some(name) = self.running.take() {
            self.sheet.missing(|| format!("{} began and did not end", text(&name, 200)));
        }
    }
}

fn counts(line: &[u8]) -> Option<[u32; 3]> {
    let (tests, rest) = cut_number(line)?;
    let (failures, rest) = cut_number(rest.strip_prefix(b" Tests ")?)?;
    let (ignored, rest) = cut_number(rest.strip_prefix(b" Failures ")?)?;
    rest.starts_with(b" Ignored").then_some([tests, failures, ignored])
}

/// Splits at the first `:PASS`, `:FAIL` or `:IGNORE` that ends a field.
fn marked(line: &[u8]) -> Option<(&[u8], CaseStatus, &[u8])> {
    const MARKS: [(&[u8], CaseStatus); 3] =
        [(b":PASS", CaseStatus::Passed), (b":FAIL", CaseStatus::Failed), (b":IGNORE", CaseStatus::Skipped)];
    let found = MARKS.iter().filter_map(|(mark, status)| {
        let (head, rest) = split(line, mark)?;
        let rest = match rest.first() {
            None | Some(b' ') => rest,
            Some(b':') => &rest[1..],
            Some(_) => return None,
        };
        Some((head, *status, rest))
    });
    found.min_by_key(|(head, ..)| head.len())
}

/// Splits `dir/test_gpio.c:12:test_Toggle`.
fn place_and_function(head: &[u8]) -> Option<(&[u8], &[u8])> {
    let (place, function) = split_last(head, b":")?;
    let (place, number) = split_last(place, b":")?;
    let numbered = !number.is_empty() && number.iter().all(u8::is_ascii_digit);
    (numbered && !place.is_empty() && (!function.is_empty() || fixture_name(place).is_some()))
        .then_some((place, function))
}

/// `group.name` of `TEST(group, name)`, and what follows it.
fn fixture_name(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let rest = text.strip_prefix(b"TEST(").or_else(|| text.strip_prefix(b"IGNORE_TEST("))?;
    let (inside, after) = split(rest, b")")?;
    let (group, name) = split(inside, b", ")?;
    Some(([group, b".".as_slice(), name].concat(), after))
}

#[cfg(test)]
mod tests {
    use crate::outcome::parse::Format;
    use crate::outcome::parse::tests::{check, told};

    const SAMPLE: &str = "\
test/test_gpio.c:20:test_Toggle:PASS (3 ms)
reading pin 4
[    3.000001] gpio gpiochip0: line cnt 4
test/test_gpio.c:31:test_Reads:FAIL: Expected 1 Was 0
test/test_gpio.c:40:test_Wakes:IGNORE: no wake-up line
-----------------------
3 Tests 1 Failures 1 Ignored 
FAIL
";
    const FIXTURE: &str = "\
Unity test run 1 of 1
TEST(Led, IsOff) PASS
TEST(Led, Blinks)test/led.c:52:TEST(Led, Blinks):FAIL: Expected 3 Was 2
IGNORE_TEST(Led, Dims)
TEST(Led, Speaks)hello
 PASS

-----------------------
4 Tests 1 Failures 1 Ignored
FAIL
";

    #[test]
    fn tests_and_fixtures_are_read() {
        let results = check(Format::Unity, SAMPLE, (1, 1, 1), None);
        assert_eq!(
            told(&results),
            ["+ test_gpio.test_Toggle 3000us", "- test_gpio.test_Reads", "s test_gpio.test_Wakes"]
        );
        assert!(results.cases[1].note.starts_with("Expected 1 Was 0\nreading pin 4\n"));
        assert_eq!(results.cases[2].note, "no wake-up line");
        let results = check(Format::Unity, FIXTURE, (2, 1, 1), None);
        assert_eq!(told(&results), ["+ Led.IsOff", "- Led.Blinks", "s Led.Dims", "+ Led.Speaks"]);
        check(Format::Unity, &format!("{SAMPLE}{FIXTURE}"), (3, 2, 2), None);
    }

    #[test]
    fn what_does_not_come_is_missing() {
        let cut = &SAMPLE[..SAMPLE.find("---").expect("a mark of the sample")];
        check(Format::Unity, cut, (1, 1, 1), Some("the summary of the tests is missing"));
        check(
            Format::Unity,
            &SAMPLE[..SAMPLE.len() - 8],
            (1, 1, 1),
            Some("the summary of the tests is missing"),
        );
        let lost = SAMPLE.replace("test_Toggle:PASS", "test_ToggASS");
        check(Format::Unity, &lost, (0, 1, 1), Some("the summary says 3 tests, 2 came"));
        let cut = &FIXTURE[..FIXTURE.find(" PASS\n\n").expect("a mark of the sample")];
        check(Format::Unity, cut, (1, 1, 1), Some("Led.Speaks began and did not end"));
        check(Format::Unity, "1 Tests of it\nmain.c:3: error: x:FAILED", (0, 0, 0), None);
    }
}
