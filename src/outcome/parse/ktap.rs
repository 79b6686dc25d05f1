//! KTAP and TAP 13/14, also as the kselftest runner prints it: test cases out of a console's lines. Fed line by line
//! while the test runs; says at the end what is missing. Never waits, never trusts the board: names and notes are
//! bounded, nesting too.
//!
//! Rules, where real output forced one (`tests/transcripts/`):
//! - A kernel's stamp `[    1.296704] ` is cut, the indentation after it counts.
//! - Nesting is read from columns, whatever their width, and from the `# ` that kselftest puts before inner TAP.
//! - A result whose nested results came before it is their summary: its name becomes their prefix, and it is no
//!   case of its own unless it failed and none of them did.
//! - The version line may be absent (GLib, bats), the plan too (KUnit's parameters), or it comes last.
//! - Several programs may write one after the other: a plan, a version line or number 1 again begins a new document.
//! - `not ok … # SKIP` is a skip, as the kernel's own reader has it.

use std::borrow::Cow;

use super::Reader;
use super::ktap_line::{Directive, Found, Line, ResultLine, read};
use super::sheet::{NAME_BYTES_MAX, Results, Sheet};
use super::text::{MILLISECOND, micros, split, text};
use crate::outcome::CaseStatus;

/// Deepest nesting; what is nested deeper is not read.
pub(super) const NEST_MAX: usize = 16;
/// Longest YAML block, in lines: one that never ends must not swallow the results after it.
pub(super) const YAML_LINES_MAX: usize = 200;

/// Whose output it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Dialect {
    /// The kernel's: a result without a number counts once a version line or a plan was seen.
    #[default]
    Ktap,
    /// Any program's: every line that begins with `ok` or `not ok` is a result.
    Tap,
    /// The kselftest runner's: `selftests: size: get_size` is known as `size:get_size`.
    Kselftest,
}

/// An incremental reader.
#[derive(Debug, Default)]
pub(super) struct Ktap {
    dialect: Dialect,
    sheet: Sheet,
    levels: Vec<Level>,
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
    /// The case, failed or not, if it is kept.
    last: Option<usize>,
    /// Whether it takes comments: where diagnostics came before it, those that follow are the next one's.
    comments: bool,
    column: usize,
    /// Lines of the open YAML block.
    yaml: Option<usize>,
}

impl Reader for Ktap {
    fn line(&mut self, line: &[u8]) {
        let hash_column = self.levels.iter().find(|level| level.hash).map(|level| level.column);
        let line = read(line, hash_column);
        if self.in_yaml(&line) {
            return;
        }
        match line.found {
            Found::Version { ktap } => self.version(&line, ktap),
            Found::Plan { count, skip } => self.plan(line.column, count, skip),
            Found::Result(result) => self.result(line.column, &result),
            Found::BailOut(reason) => self.sheet.bail_out(reason),
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
            Found::Other(other) => self.sheet.remember(other),
        }
    }

    fn finish(mut self: Box<Self>) -> Results {
        self.close_above(None);
        if let Some(level) = self.levels.pop() {
            let missing = level.missing();
            self.note_missing(missing);
        }
        self.sheet.finish()
    }

    fn results(&self) -> &Results {
        self.sheet.results()
    }
}

impl Ktap {
    /// A reader that has seen nothing.
    pub(super) fn new(dialect: Dialect) -> Self {
        Ktap { dialect, ..Self::default() }
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
        if count > 0 {
            self.sheet.promise();
        }
        level.planned_after = level.seen;
        level.certain = true;
        let outermost = self.levels.len() == 1;
        // A program that skips itself: nested, its parent's line says so too.
        if let (0, Some(reason), true) = (count, skip, outermost) {
            self.sheet.case(b"all", CaseStatus::Skipped, reason);
        }
    }

    fn result(&mut self, column: usize, result: &ResultLine<'_>) {
        let certain = self.levels.iter().any(|level| level.certain && level.column == column);
        let told = self.dialect == Dialect::Tap && column == 0;
        if result.number.is_none() && !certain && !told {
            // Prose likes to begin with `ok`.
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
        let case =
            (!summary).then(|| self.sheet.case(&name(result, self.dialect), status, result.reason)).flatten();
        if let Some(time) = result.reason.strip_prefix(b"time=") {
            self.sheet.took(case, time.strip_suffix(b"ms").and_then(|ms| micros(ms, MILLISECOND)));
        }
        let failing = case.filter(|_| failed);
        let comments = !self.ktap && failing.is_some_and(|case| !self.sheet.has_note(case));
        self.after = Some(After { case: failing, last: case, comments, column, yaml: None });
        self.sheet.forget();
    }

    /// Gives nested cases their parent's name. Whether the parent's line is nothing but their summary.
    fn summarise(&mut self, nested: Nested, result: &ResultLine<'_>, failed: bool) -> bool {
        self.sheet.prefix(nested.first_case, &text(&name(result, self.dialect), NAME_BYTES_MAX));
        if !failed {
            // A parent that failed says by itself that something is amiss.
            self.note_missing(nested.missing);
        }
        nested.seen > 0 && (!failed || nested.failed)
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
                let (case, last) = (after.case, after.last);
                if let Some(ms) = other.strip_prefix(b"duration_ms:") {
                    self.sheet.took(last, micros(ms.trim_ascii(), MILLISECOND));
                }
                self.sheet.add_note(case, other);
            }
        }
        true
    }

    fn comment(&mut self, column: usize, comment: &[u8]) {
        match &self.after {
            Some(After { case: Some(case), comments: true, column: of, .. }) if *of == column => {
                let case = *case;
                self.sheet.add_note(Some(case), comment);
            }
            _ => self.sheet.remember(comment),
        }
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
        let first_case = self.sheet.results().cases.len();
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
        self.sheet.prefix(nested.first_case, &name);
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
        if let Some(missing) = missing {
            self.sheet.missing(|| missing);
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

fn name<'a>(result: &ResultLine<'a>, dialect: Dialect) -> Cow<'a, [u8]> {
    match (result.description, result.number) {
        (b"", Some(number)) => Cow::Owned(number.to_string().into_bytes()),
        (b"", None) => Cow::Borrowed(b"unnamed"),
        (description, _) if dialect == Dialect::Kselftest => {
            let known = description.strip_prefix(b"selftests: ").unwrap_or(description);
            match split(known, b": ") {
                Some((folder, program)) => Cow::Owned([folder, b":".as_slice(), program].concat()),
                None => Cow::Borrowed(known),
            }
        }
        (description, _) => Cow::Borrowed(description),
    }
}

#[cfg(test)]
mod tests;
