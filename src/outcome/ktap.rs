//! KTAP and TAP 13/14: test cases out of a console's lines. Fed line by line while the test runs; says at the end
//! what is missing. Never waits, never trusts the board: names and notes are bounded, nesting too.
//!
//! Rules, where real output forced one (`tests/transcripts/`):
//! - A kernel's stamp `[    1.296704] ` is cut, the indentation after it counts.
//! - Nesting is read from columns, whatever their width, and from the `# ` that kselftest puts before inner TAP.
//! - A result whose nested results came before it is their summary: its name becomes their prefix, and it is no
//!   case of its own unless it failed and none of them did.
//! - The version line may be absent (GLib, bats), the plan too (KUnit's parameters), or it comes last.
//! - Several programs may write one after the other: a plan, a version line or number 1 again begins a new document.
//! - `not ok … # SKIP` is a skip, as the kernel's own reader has it.

use super::ktap_line::{Directive, Found, Line, ResultLine, read};
use super::{CASES_MAX, CaseStatus, Counts, TestCase};

/// Deepest nesting; what is nested deeper is not read.
pub const NEST_MAX: usize = 16;
/// Longest name of a case, with its prefixes, in bytes.
pub const NAME_BYTES_MAX: usize = 300;
/// Longest note of a case, in bytes.
pub const NOTE_BYTES_MAX: usize = 2_000;
/// Longest notes of all cases together, in bytes; cases after that have none.
pub const NOTES_BYTES_MAX: usize = 512 * 1024;
/// Longest YAML block, in lines: one that never ends must not swallow the results after it.
pub const YAML_LINES_MAX: usize = 200;

/// What a test's output said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Results {
    /// Cases in the order they were seen, at most [`CASES_MAX`].
    pub cases: Vec<TestCase>,
    /// Counts over all cases.
    pub counts: Counts,
    /// What is missing, when results were promised that did not come; the first such promise.
    pub incomplete: Option<String>,
    /// The reason of a `Bail out!`; may be empty.
    pub bail_out: Option<String>,
    /// Whether a plan promised any result.
    pub planned: bool,
}

/// An incremental reader.
#[derive(Debug, Default)]
pub struct Ktap {
    results: Results,
    levels: Vec<Level>,
    /// Bytes in all notes.
    notes: usize,
    /// What stood on the lines since the last result: the note of a failure that comes next.
    before: Vec<u8>,
    /// Takes `#` lines and YAML that follow a result.
    after: Option<After>,
    /// The name that `# Subtest:` announced.
    announced: Option<String>,
    /// Whether the last version line was KTAP's: there diagnostics come before their result.
    ktap: bool,
}

/// Results at one column: one document and perhaps a nested one whose parent's line is still to come.
#[derive(Debug, Default)]
struct Level {
    column: usize,
    /// Whether `# ` precedes its lines.
    hash: bool,
    /// Whether a version line or a plan says that this is TAP; then a bare `ok` is a result too.
    certain: bool,
    plan: Option<u32>,
    /// How many results came before the plan.
    planned_after: u32,
    seen: u32,
    highest: u32,
    failed: bool,
    /// Where its cases begin, for their prefix.
    first_case: usize,
    announced: Option<String>,
}

/// What a nested document came to.
struct Nested {
    first_case: usize,
    failed: bool,
    seen: u32,
    missing: Option<String>,
    announced: Option<String>,
}

#[derive(Debug)]
struct After {
    /// The failed case that takes notes, if it is kept.
    case: Option<usize>,
    /// Whether it takes comments: where diagnostics came before it, those that follow are the next one's.
    comments: bool,
    column: usize,
    /// Lines of the open YAML block.
    yaml: Option<usize>,
}

impl Ktap {
    /// A reader that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts over the cases that are certain so far.
    pub fn counts(&self) -> Counts {
        self.results.counts
    }

    /// The cases that were seen so far; names of nested ones are still without their parents'.
    pub fn cases(&self) -> &[TestCase] {
        &self.results.cases
    }

    /// Reads one cleaned line, with or without its end.
    pub fn line(&mut self, line: &[u8]) {
        let hash_column = self.levels.iter().find(|level| level.hash).map(|level| level.column);
        let line = read(line, hash_column);
        if self.in_yaml(&line) {
            return;
        }
        match line.found {
            Found::Version { ktap } => self.version(&line, ktap),
            Found::Plan { count, skip } => self.plan(line.column, count, skip),
            Found::Result(result) => self.result(line.column, &result),
            Found::BailOut(reason) => {
                self.results.bail_out.get_or_insert_with(|| text(reason, NOTE_BYTES_MAX));
            }
            Found::Subtest(name) => {
                let name = text(name, NAME_BYTES_MAX);
                match self
                    .levels
                    .last_mut()
                    .filter(|l| l.column == line.column && l.column > 0 && l.seen == 0)
                {
                    Some(level) => level.announced = Some(name),
                    None => self.announced = Some(name),
                }
            }
            Found::Comment(comment) => self.comment(line.column, comment),
            Found::Other(other) => self.remember(other),
        }
    }

    /// What came of it. Call once, after the last line.
    pub fn finish(mut self) -> Results {
        self.close_above(None);
        if let Some(level) = self.levels.pop() {
            let missing = level.missing();
            self.note_missing(missing);
        }
        if self.results.bail_out.is_some() {
            self.results.incomplete.get_or_insert_with(|| "the test bailed out".to_owned());
        }
        self.results
    }

    fn version(&mut self, line: &Line<'_>, ktap: bool) {
        self.ktap = ktap;
        self.after = None;
        if !self.enter(line.column) {
            return;
        }
        if self.levels.last().is_some_and(Level::begun) {
            self.next_document();
        }
        if let Some(level) = self.levels.last_mut() {
            level.certain = true;
            level.hash = line.hash;
        }
    }

    fn plan(&mut self, column: usize, count: u32, skip: Option<&[u8]>) {
        self.after = None;
        if !self.enter(column) {
            return;
        }
        if self.levels.last().is_some_and(|level| level.plan.is_some()) {
            self.next_document();
        }
        let Some(level) = self.levels.last_mut() else {
            return;
        };
        level.plan = Some(count);
        self.results.planned |= count > 0;
        level.planned_after = level.seen;
        level.certain = true;
        let outermost = self.levels.len() == 1;
        // A program that skips itself: nested, its parent's line says so too.
        if let (0, Some(reason), true) = (count, skip, outermost) {
            self.add("all".to_owned(), CaseStatus::Skipped, text(reason, NOTE_BYTES_MAX));
        }
    }

    fn result(&mut self, column: usize, result: &ResultLine<'_>) {
        let certain = self.levels.iter().any(|level| level.certain && level.column == column);
        if result.number.is_none() && !certain {
            return;
        }
        let Some(nested) = self.enter_result(column) else {
            return;
        };
        if result.number == Some(1) && self.levels.last().is_some_and(|level| level.seen > 0) {
            self.number_one_again();
        }
        let status = status(result);
        let failed = status == CaseStatus::Failed;
        if let Some(level) = self.levels.last_mut() {
            level.seen += 1;
            level.highest = level.highest.max(result.number.unwrap_or(0));
            level.failed |= failed;
        }
        let summary = nested.is_some_and(|nested| self.summarise(nested, result, failed));
        let case = if summary { None } else { self.add_result(result, status) };
        let failing = case.filter(|_| failed);
        let comments = !self.ktap && failing.is_some_and(|case| self.results.cases[case].note.is_empty());
        self.after = Some(After { case: failing, comments, column, yaml: None });
        self.before.clear();
    }

    /// Gives nested cases their parent's name. Whether the parent's line is nothing but their summary.
    fn summarise(&mut self, nested: Nested, result: &ResultLine<'_>, failed: bool) -> bool {
        self.prefix(nested.first_case, &name(result));
        if !failed {
            // A parent that failed says by itself that something is amiss.
            self.note_missing(nested.missing);
        }
        nested.seen > 0 && (!failed || nested.failed)
    }

    fn add_result(&mut self, result: &ResultLine<'_>, status: CaseStatus) -> Option<usize> {
        if self.results.cases.len() >= CASES_MAX {
            self.results.counts.count(status);
            return None;
        }
        let mut note = text(result.reason, self.note_room(0));
        if status == CaseStatus::Failed {
            let before = text_end(&self.before, self.note_room(note.len()).saturating_sub(1));
            append(&mut note, &before);
        }
        self.add(name(result), status, note)
    }

    fn add(&mut self, name: String, status: CaseStatus, note: String) -> Option<usize> {
        self.results.counts.count(status);
        if self.results.cases.len() >= CASES_MAX {
            return None;
        }
        self.notes += note.len();
        self.results.cases.push(TestCase { name, status, note });
        Some(self.results.cases.len() - 1)
    }

    /// Whether the line belongs to a YAML block after a result.
    fn in_yaml(&mut self, line: &Line<'_>) -> bool {
        let Some(after) = &mut self.after else {
            return false;
        };
        let Found::Other(other) = line.found else {
            // What a block quotes is deeper than the result; a real result is not.
            let Some(lines) = after.yaml.filter(|lines| *lines < YAML_LINES_MAX) else { return false };
            after.yaml = Some(lines + 1);
            return line.column > after.column;
        };
        match after.yaml {
            None if other == b"---" && line.column > after.column => after.yaml = Some(0),
            None => return false,
            Some(_) if other == b"..." => self.after = None,
            Some(lines) if lines >= YAML_LINES_MAX => {
                self.after = None;
                return false;
            }
            Some(lines) => {
                after.yaml = Some(lines + 1);
                let case = after.case;
                self.add_note(case, other);
            }
        }
        true
    }

    fn comment(&mut self, column: usize, comment: &[u8]) {
        match &self.after {
            Some(After { case: Some(case), comments: true, column: of, .. }) if *of == column => {
                let case = *case;
                self.add_note(Some(case), comment);
            }
            _ => self.remember(comment),
        }
    }

    fn add_note(&mut self, case: Option<usize>, line: &[u8]) {
        let Some(case) = case else { return };
        let length = self.results.cases[case].note.len();
        let line = text(line, self.note_room(length).saturating_sub(1));
        let note = &mut self.results.cases[case].note;
        append(note, &line);
        self.notes += note.len() - length;
    }

    /// How much longer a note of `length` bytes may become.
    fn note_room(&self, length: usize) -> usize {
        (NOTE_BYTES_MAX - length).min(NOTES_BYTES_MAX - self.notes.min(NOTES_BYTES_MAX))
    }

    /// Keeps a line for the note of the next failure. Nothing is kept of empty lines.
    fn remember(&mut self, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        if self.before.len() > 2 * NOTE_BYTES_MAX {
            self.before.drain(..self.before.len() - NOTE_BYTES_MAX);
        }
        self.before.extend_from_slice(&line[..line.len().min(NOTE_BYTES_MAX)]);
        self.before.push(b'\n');
    }

    /// Makes the level at `column` the last one, for a line that begins or plans a document there; nested ones
    /// that are still open have lost their parent's line. `false`: nested too deep to be read.
    fn enter(&mut self, column: usize) -> bool {
        if let Some(nested) = self.close_above(Some(column)) {
            self.lost_parent(nested);
        }
        self.open(column)
    }

    /// The same for a result, which may be the parent of what was nested.
    fn enter_result(&mut self, column: usize) -> Option<Option<Nested>> {
        let nested = self.close_above(Some(column));
        self.open(column).then_some(nested)
    }

    fn open(&mut self, column: usize) -> bool {
        if self.levels.last().is_some_and(|level| level.column == column) {
            return true;
        }
        if self.levels.len() >= NEST_MAX {
            return false;
        }
        let announced = self.announced.take();
        let first_case = self.results.cases.len();
        self.levels.push(Level { column, announced, first_case, ..Level::default() });
        true
    }

    /// Closes every level right of `column` and gives the outermost of them; without a column, all but the first.
    fn close_above(&mut self, column: Option<usize>) -> Option<Nested> {
        let mut closed: Option<Nested> = None;
        while let Some(level) = self.levels.last() {
            let inner = column.is_none_or(|column| level.column > column);
            if !inner || column.is_none() && self.levels.len() == 1 {
                break;
            }
            let Some(level) = self.levels.pop() else { break };
            if let Some(deeper) = closed.take() {
                self.lost_parent(deeper);
            }
            closed = Some(Nested {
                first_case: level.first_case,
                failed: level.failed,
                seen: level.seen,
                missing: level.missing(),
                announced: level.announced,
            });
        }
        if column.is_none()
            && let Some(nested) = closed.take()
        {
            self.lost_parent(nested);
        }
        closed
    }

    /// A nested document ended without its parent's line.
    fn lost_parent(&mut self, nested: Nested) {
        let name = nested.announced.unwrap_or_default();
        self.note_missing(nested.missing);
        let whose = if name.is_empty() { "a group of nested results" } else { &name };
        self.note_missing(Some(format!("the result of {whose} is missing")));
        self.prefix(nested.first_case, &name);
    }

    /// Ends the document of the last level and begins another in its place.
    fn next_document(&mut self) {
        let Some(level) = self.levels.last_mut() else {
            return;
        };
        let missing = level.missing();
        (level.plan, level.planned_after, level.seen, level.highest) = (None, 0, 0, 0);
        self.note_missing(missing);
    }

    /// The numbers begin again without a version line or plan before them. A plan that came after results and does
    /// not fit them was the plan of what begins now.
    fn number_one_again(&mut self) {
        let Some(level) = self.levels.last_mut() else {
            return;
        };
        let next = level.plan.take_if(|plan| level.planned_after > 0 && *plan != level.planned_after);
        self.next_document();
        if let Some(level) = self.levels.last_mut() {
            level.plan = next;
        }
    }

    fn note_missing(&mut self, missing: Option<String>) {
        if self.results.incomplete.is_none() {
            self.results.incomplete = missing;
        }
    }

    fn prefix(&mut self, first_case: usize, prefix: &str) {
        if prefix.is_empty() {
            return;
        }
        for case in self.results.cases.iter_mut().skip(first_case) {
            if prefix.len() + 1 + case.name.len() <= NAME_BYTES_MAX {
                case.name.insert(0, '.');
                case.name.insert_str(0, prefix);
            }
        }
    }
}

impl Level {
    fn begun(&self) -> bool {
        self.certain || self.seen > 0
    }

    /// What was promised and did not come.
    fn missing(&self) -> Option<String> {
        let Level { seen, highest, .. } = self;
        match self.plan {
            Some(plan) if *seen < plan => Some(format!("{seen} of {plan} results came")),
            Some(plan) if *seen > plan => Some(format!("{seen} results came where {plan} were planned")),
            Some(_) => None,
            None if highest > seen => Some(format!("{seen} results came, numbered up to {highest}")),
            None if self.certain && *seen == 0 => Some("no result came after the version line".to_owned()),
            None => None,
        }
    }
}

fn status(result: &ResultLine<'_>) -> CaseStatus {
    match (result.directive, result.ok) {
        (Some(Directive::Skip), _) => CaseStatus::Skipped,
        (Some(Directive::ExpectedFailure), _) | (Some(Directive::Todo), false) => CaseStatus::ExpectedFailure,
        (Some(Directive::Timeout | Directive::Error), _) => CaseStatus::Failed,
        (Some(Directive::Todo | Directive::Remark) | None, true) => CaseStatus::Passed,
        (Some(Directive::Remark) | None, false) => CaseStatus::Failed,
    }
}

fn name(result: &ResultLine<'_>) -> String {
    match (result.description, result.number) {
        (b"", Some(number)) => number.to_string(),
        (b"", None) => "unnamed".to_owned(),
        (description, _) => text(description, NAME_BYTES_MAX),
    }
}

/// The start of hostile bytes as text: at most `max` bytes, without control characters but newlines.
fn text(bytes: &[u8], max: usize) -> String {
    let mut text = printable(&bytes[..bytes.len().min(max)]);
    text.truncate(text.floor_char_boundary(max));
    text
}

/// The end of hostile bytes as text, in whole lines where that fits.
fn text_end(bytes: &[u8], max: usize) -> String {
    let tail = &bytes[bytes.len().saturating_sub(max)..];
    let cut = if tail.len() < bytes.len() { memchr::memchr(b'\n', tail).map_or(0, |at| at + 1) } else { 0 };
    let text = printable(&tail[cut..]);
    // Bytes that are no UTF-8 grow when they are replaced.
    let start = text.ceil_char_boundary(text.len().saturating_sub(max));
    text[start..].trim_end().to_owned()
}

fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace(|c: char| c.is_control() && c != '\n', "")
}

fn append(note: &mut String, line: &str) {
    if !note.is_empty() && !line.is_empty() {
        note.push('\n');
    }
    note.push_str(line);
}

#[cfg(test)]
mod tests;
