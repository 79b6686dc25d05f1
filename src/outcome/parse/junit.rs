//! JUnit's XML, brought back from the board as a file: what pytest, GoogleTest, CTest, Surefire and most other runners
//! write, and the dialects of xUnit.net and NUnit. No two write quite the same, so elements and attributes are known by
//! their names wherever they stand, and the rest is passed over. A suite is taken at its word only where it says that
//! something failed or ran and nothing came: Surefire counts tries, Catch2 assertions, pytest a test that broke at its
//! end twice.
//!
//! A file that is cut or broken is incomplete: what it says up to there counts, and that there is no more is told.
//! Entities of a document's own are never resolved, and nothing that it refers to is read.

use std::borrow::Cow;
use std::ops::Range;

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};

use super::sheet::{NOTE_BYTES_MAX, Results, Sheet};
use super::text::{SECOND, decimal, micros, text};
use crate::outcome::{CaseStatus, Counts};

/// How deep elements may stand inside each other.
pub const DEPTH_MAX: usize = 64;
/// How much of a hostile word is told, in bytes.
const WORD_BYTES_MAX: usize = 200;

/// The cases in a file.
pub fn read(file: &[u8]) -> Results {
    let text = String::from_utf8_lossy(file);
    let mut junit = Junit::default();
    // A file that was fetched is a promise.
    junit.sheet.promise();
    junit.file(&text);
    junit.sheet.finish()
}

/// A file while it is read.
#[derive(Default)]
struct Junit {
    sheet: Sheet,
    /// The elements at work, the innermost last.
    open: Vec<(Kind, String)>,
    suites: Vec<Suite>,
    case: Option<Case>,
    /// Whether anything of a test result was seen.
    known: bool,
}

/// What an element is here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Suite,
    Case,
    /// Says how a case ended, or why; its text is the note.
    Says,
    /// What a case printed.
    Output,
    Other,
}

/// A suite at work, and what it says of itself.
struct Suite {
    name: String,
    tests: u32,
    failed: u32,
    /// The counts where it began.
    mark: Counts,
    /// A case failed and then passed: it may count as a failure here.
    flaky: bool,
    /// It failed because its cases did.
    by_cases: bool,
}

/// A case at work.
struct Case {
    name: String,
    status: CaseStatus,
    note: String,
    output: String,
    took_us: Option<u64>,
    measured: Option<String>,
    /// Where in the note the message of the element at work stands.
    message: Range<usize>,
    /// By its own word it did not run.
    not_run: bool,
    /// It may fail: nobody has finished it.
    todo: bool,
}

impl Junit {
    fn file(&mut self, text: &str) {
        let mut reader = Reader::from_str(text);
        reader.config_mut().allow_dangling_amp = true;
        loop {
            match reader.read_event() {
                Ok(Event::Start(element)) => {
                    if self.open.len() >= DEPTH_MAX {
                        return self.cut(format!("elements stand more than {DEPTH_MAX} deep"));
                    }
                    self.begin(&element);
                }
                Ok(Event::Empty(element)) => {
                    self.begin(&element);
                    self.end();
                }
                Ok(Event::End(_)) => self.end(),
                Ok(Event::Text(text)) => self.text(&text),
                Ok(Event::CData(text)) => self.text(&text),
                Ok(Event::GeneralRef(name)) => self.text(&unescaped(&format!("&{};", &*name))),
                Ok(Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_)) => {}
                Ok(Event::Eof) if self.open.is_empty() => return self.whole(),
                Ok(Event::Eof) => {
                    let within = self.open.last().map_or("", |(_, name)| name);
                    return self.cut(format!("it ends within <{within}>"));
                }
                Err(error) => {
                    return self.cut(format!("{error}, at byte {}", reader.error_position()));
                }
            }
        }
    }

    /// The file came to its end.
    fn whole(&mut self) {
        if !self.known {
            self.sheet.missing(|| "it holds no test results".to_owned());
        }
    }

    /// The file cannot be read any further. A case that has failed already has failed.
    fn cut(&mut self, problem: String) {
        if self.case.as_ref().is_some_and(|case| case.status == CaseStatus::Failed) {
            self.end_case();
        }
        let cases = self.sheet.results().counts.total();
        self.sheet.missing(|| {
            format!("{}; cases before that: {cases}", text(problem.as_bytes(), 2 * WORD_BYTES_MAX))
        });
    }

    fn begin(&mut self, element: &BytesStart<'_>) {
        let name = element.local_name();
        let name = name.as_ref();
        let kind = match name {
            "testsuites" | "testsuite" | "assemblies" | "assembly" | "collection" | "test-run"
            | "test-suite" | "test-results" => {
                self.begin_suite(element);
                Kind::Suite
            }
            "testcase" | "test-case" => {
                self.begin_case(element);
                Kind::Case
            }
            "test" if self.open.last().is_some_and(|(kind, _)| *kind == Kind::Suite) => {
                self.begin_case(element);
                Kind::Case
            }
            // Outside of a case, the suite itself broke.
            "failure" | "error" if self.case.is_none() => self.suite_broke(element),
            "failure" | "error" => self.says(element, CaseStatus::Failed),
            "skipped" | "skip" => self.skipped(element),
            "flakyFailure" | "flakyError" => {
                self.suites.iter_mut().for_each(|suite| suite.flaky = true);
                Kind::Other
            }
            "reason" | "message" | "stack-trace" if self.case.is_some() => Kind::Says,
            "system-out" | "system-err" | "output" => Kind::Output,
            "property" => {
                self.property(element);
                Kind::Other
            }
            _ => Kind::Other,
        };
        self.known |= matches!(kind, Kind::Suite | Kind::Case);
        self.open.push((kind, text(name.as_bytes(), WORD_BYTES_MAX)));
    }

    fn end(&mut self) {
        match self.open.pop() {
            Some((Kind::Suite, _)) => self.end_suite(),
            Some((Kind::Case, _)) => self.end_case(),
            Some((Kind::Says, name)) if ["failure", "error"].contains(&&*name) => self.said(),
            Some((Kind::Says | Kind::Output | Kind::Other, _)) | None => {}
        }
    }

    fn begin_suite(&mut self, element: &BytesStart<'_>) {
        let number =
            |keys: &[&str]| attribute(element, keys).and_then(|number| number.parse().ok()).unwrap_or(0u32);
        let name = attribute(element, &["name"]).unwrap_or_default();
        self.suites.push(Suite {
            name: text(name.as_bytes(), WORD_BYTES_MAX),
            tests: number(&["tests", "total"]),
            failed: number(&["failures", "failed"]).saturating_add(number(&["errors"])),
            mark: self.sheet.results().counts,
            flaky: false,
            by_cases: attribute(element, &["site"]).as_deref() == Some("Child"),
        });
    }

    fn end_suite(&mut self) {
        let Some(Suite { name, tests, failed, mark, flaky, .. }) = self.suites.pop() else { return };
        let counts = self.sheet.results().counts;
        if tests > 0 && counts.total() == mark.total() {
            self.sheet.missing(|| format!("suite {name} says {tests} tests, none came"));
        }
        if failed > 0 && !flaky && counts.failed == mark.failed {
            self.sheet.missing(|| format!("suite {name} says {failed} failures, none came"));
        }
    }

    fn begin_case(&mut self, element: &BytesStart<'_>) {
        self.end_case();
        let word = attribute(element, &["status"]);
        let status = attribute(element, &["result"]).and_then(|word| ended(&word));
        let status = status.or_else(|| word.as_deref().and_then(ended));
        self.case = Some(Case {
            took_us: attribute(element, &["time", "duration"]).and_then(|time| took(&time)),
            measured: attribute(element, &["measurement"]).map(Cow::into_owned),
            not_run: word.as_deref() == Some("notrun"),
            ..Case::new(self.name(element), status.unwrap_or(CaseStatus::Passed))
        });
    }

    /// A failure outside of a case, which is one of its own.
    fn suite_broke(&mut self, element: &BytesStart<'_>) -> Kind {
        let Some(suite) = self.suites.last().filter(|suite| !suite.by_cases) else { return Kind::Other };
        let name = attribute(element, &["name"]).map_or_else(|| suite.name.clone(), Cow::into_owned);
        self.case = Some(Case::new(name, CaseStatus::Failed));
        self.says(element, CaseStatus::Failed);
        Kind::Case
    }

    /// `class.name`, as the tool has them; without a class, of the suite.
    fn name(&self, element: &BytesStart<'_>) -> String {
        if let Some(name) = attribute(element, &["fullname"]) {
            return name.into_owned();
        }
        let name = attribute(element, &["name"]).unwrap_or_default();
        let class = attribute(element, &["classname", "class", "type"]);
        // Node calls every class so.
        let class = class.filter(|class| !["", "test"].contains(&&**class));
        let suite = || self.suites.iter().map(|suite| &*suite.name).rfind(|name| !name.is_empty());
        match class.as_deref().or_else(suite) {
            Some(class) if name.is_empty() => class.to_owned(),
            Some(class) if !name.starts_with(class) => format!("{class}.{name}"),
            Some(_) | None => name.into_owned(),
        }
    }

    fn end_case(&mut self) {
        let Some(mut case) = self.case.take() else { return };
        if case.todo && case.status == CaseStatus::Failed {
            case.status = CaseStatus::ExpectedFailure;
        }
        if case.status == CaseStatus::Failed {
            case.output.lines().for_each(|line| self.sheet.remember(line.trim_end().as_bytes()));
        }
        let at = self.sheet.case(case.name.as_bytes(), case.status, case.note.trim().as_bytes());
        self.sheet.took(at, case.took_us);
        let measured = case.measured.as_deref().map(str::trim).unwrap_or_default();
        let (value, unit) = measured.split_once(' ').unwrap_or((measured, ""));
        if let Some(value) = decimal(value.as_bytes()) {
            self.sheet.measured(at, value, unit.trim().as_bytes());
        }
    }

    /// An element that says how its case ended: the worst counts.
    fn says(&mut self, element: &BytesStart<'_>, status: CaseStatus) -> Kind {
        let Some(case) = &mut self.case else { return Kind::Other };
        if weight(status) > weight(case.status) {
            case.status = status;
        }
        if !case.note.is_empty() {
            case.note.push('\n');
        }
        let message = attribute(element, &["message"]).filter(|message| !message.is_empty());
        let of_kind = || attribute(element, &["exception-type", "type"]);
        let has_message = message.is_some();
        let start = case.note.len();
        push(&mut case.note, message.or_else(of_kind).unwrap_or_default().trim());
        case.message = start..case.note.len();
        case.note.push('\n');
        // The reason of a skip is enough; what else there is says where it stands.
        if status == CaseStatus::Failed || !has_message { Kind::Says } else { Kind::Other }
    }

    /// What an element said is whole: its text may tell the message again.
    fn said(&mut self) {
        let Some(case) = &mut self.case else { return };
        let message = std::mem::take(&mut case.message);
        if case.note[message.end..].contains(&case.note[message.clone()]) {
            case.note.drain(message);
        }
    }

    /// `<skipped>` is also what an expected failure is told by, and what CTest writes of a test whose program is not
    /// there, which is a failure to CTest itself.
    fn skipped(&mut self, element: &BytesStart<'_>) -> Kind {
        let kind = attribute(element, &["type"]).unwrap_or_default();
        let expected = ["pytest.xfail", "XFAIL", "todo"].contains(&&*kind);
        let Some(case) = &mut self.case else { return Kind::Other };
        case.todo |= kind == "todo";
        let asked = |message: Cow<'_, str>| message.starts_with("SKIP_");
        let missing = case.not_run && !attribute(element, &["message"]).is_none_or(asked);
        self.says(
            element,
            match (expected, missing) {
                (true, _) => CaseStatus::ExpectedFailure,
                (false, true) => CaseStatus::Failed,
                (false, false) => CaseStatus::Skipped,
            },
        )
    }

    fn property(&mut self, element: &BytesStart<'_>) {
        if let Some(case) = &mut self.case
            && attribute(element, &["name"]).as_deref() == Some("measurement")
        {
            case.measured =
                attribute(element, &["value"]).map(|value| text(value.as_bytes(), WORD_BYTES_MAX));
        }
    }

    fn text(&mut self, text: &str) {
        let Some(case) = &mut self.case else { return };
        match self.open.last() {
            Some((Kind::Says, _)) => push(&mut case.note, text),
            // A suite's own failure is a case of its own.
            Some((Kind::Case, name)) if ["failure", "error"].contains(&&**name) => push(&mut case.note, text),
            Some((Kind::Output, _)) => {
                case.output.push_str(text);
                let gone = case.output.len().saturating_sub(NOTE_BYTES_MAX);
                if gone > NOTE_BYTES_MAX {
                    case.output.drain(..case.output.ceil_char_boundary(gone));
                }
            }
            Some(_) | None => {}
        }
    }
}

impl Case {
    fn new(name: String, status: CaseStatus) -> Case {
        Case {
            name,
            status,
            note: String::new(),
            output: String::new(),
            took_us: None,
            measured: None,
            message: 0..0,
            not_run: false,
            todo: false,
        }
    }
}

/// The value of the first of these attributes that the element has.
fn attribute<'e>(element: &'e BytesStart<'_>, keys: &[&str]) -> Option<Cow<'e, str>> {
    let of = |key: &&str| {
        // Unchecked: whether no attribute stands twice is asked of every pair of them.
        let mut attributes = element.attributes();
        let mut attributes = attributes.with_checks(false).flatten();
        attributes.find(|attribute| attribute.key.as_ref() == *key)
    };
    let attribute = keys.iter().find_map(of)?;
    Some(match attribute.value {
        Cow::Borrowed(raw) => unescaped(raw),
        Cow::Owned(raw) => Cow::Owned(unescaped(&raw).into_owned()),
    })
}

/// Text with the five entities of XML and numbers in their places; as it stands, where it names others.
fn unescaped(raw: &str) -> Cow<'_, str> {
    unescape(raw).unwrap_or(Cow::Borrowed(raw))
}

/// How a case ended by a word of its attributes, where that is not for its elements to say.
fn ended(word: &str) -> Option<CaseStatus> {
    const FAILED: [&str; 7] = ["fail", "failed", "failure", "error", "errored", "notrunnable", "cancelled"];
    const SKIPPED: [&str; 7] =
        ["skip", "skipped", "ignored", "notrun", "disabled", "suppressed", "inconclusive"];
    let is = |words: &[&str]| words.iter().any(|known| known.eq_ignore_ascii_case(word));
    match () {
        () if is(&FAILED) => Some(CaseStatus::Failed),
        () if is(&SKIPPED) => Some(CaseStatus::Skipped),
        () => None,
    }
}

fn weight(status: CaseStatus) -> u8 {
    match status {
        CaseStatus::Passed => 0,
        CaseStatus::Skipped => 1,
        CaseStatus::ExpectedFailure => 2,
        CaseStatus::Failed => 3,
    }
}

/// Seconds as `0.25`, `1,234.5`, `1,234` and `0,25`.
fn took(time: &str) -> Option<u64> {
    let time = time.trim();
    let groups = time.split(',').skip(1).all(|group| group.len() == 3);
    let thousands = time.contains('.') || groups && !time.starts_with('0');
    micros(time.replace(',', if thousands { "" } else { "." }).as_bytes(), SECOND)
}

/// Adds to a note, up to what is kept of one.
fn push(note: &mut String, text: &str) {
    // Space between elements, as a file is laid out for readers.
    let text = if text.trim().is_empty() && text.contains('\n') { "\n" } else { text };
    if text == "\n" && note.ends_with('\n') {
        return;
    }
    let room = NOTE_BYTES_MAX.saturating_sub(note.len());
    note.push_str(&text[..text.floor_char_boundary(room)]);
}

#[cfg(test)]
mod tests;
