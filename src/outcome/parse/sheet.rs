//! What a test's output said, as a reader writes it down: cases, counts and what is missing, every part bounded.
//! The same for every format; knows none of them.

use super::text::{text, text_end};
use crate::outcome::{CASES_MAX, CaseStatus, Counts, Measurement, TestCase};

/// Longest name of a case, with its prefixes, in bytes.
pub const NAME_BYTES_MAX: usize = 300;
/// Longest note of a case, in bytes.
pub const NOTE_BYTES_MAX: usize = 2_000;
/// Longest notes of all cases together, in bytes; cases after that have none.
pub const NOTES_BYTES_MAX: usize = 512 * 1024;
/// Longest unit of a measurement, in bytes.
pub const UNIT_BYTES_MAX: usize = 24;

/// What a test's output said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Results {
    /// Cases in the order they were seen, at most [`CASES_MAX`].
    pub cases: Vec<TestCase>,
    /// Counts over all cases.
    pub counts: Counts,
    /// What is missing, when results were promised that did not come, or do not fit the tool's own summary; the
    /// first such thing.
    pub incomplete: Option<String>,
    /// The reason of a `Bail out!`; may be empty.
    pub bail_out: Option<String>,
    /// Whether any result was promised: a plan, the beginning of a test program.
    pub planned: bool,
}

/// Results while they are read.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    results: Results,
    /// Bytes in all notes.
    notes: usize,
    /// What stood on the lines since the last result: the note of a failure that comes next.
    before: Vec<u8>,
    /// The counts where the program at work began.
    mark: Counts,
}

impl Sheet {
    /// Everything so far.
    pub(super) fn results(&self) -> &Results {
        &self.results
    }

    /// Everything, at the end.
    pub(super) fn finish(mut self) -> Results {
        if self.results.bail_out.is_some() {
            self.results.incomplete.get_or_insert_with(|| "the test bailed out".to_owned());
        }
        // A program that came to its end without any test gave no result, whatever its beginning promised.
        self.results.planned &= self.results.counts.total() > 0 || self.results.incomplete.is_some();
        self.results
    }

    /// Results are promised.
    pub(super) fn promise(&mut self) {
        self.results.planned = true;
    }

    /// A program begins, whose summary counts from here.
    pub(super) fn begin_program(&mut self) {
        self.promise();
        self.mark = self.results.counts;
    }

    /// Counts of the program at work.
    pub(super) fn of_program(&self) -> Counts {
        let Counts { passed, failed, skipped } = self.results.counts;
        Counts {
            passed: passed.saturating_sub(self.mark.passed),
            failed: failed.saturating_sub(self.mark.failed),
            skipped: skipped.saturating_sub(self.mark.skipped),
        }
    }

    /// One more case out of raw text. A failure's note ends with the lines that were remembered since the last
    /// case. Gives its place, if it is kept.
    pub(super) fn case(&mut self, name: &[u8], status: CaseStatus, note: &[u8]) -> Option<usize> {
        if self.results.cases.len() >= CASES_MAX {
            self.results.counts.count(status);
            self.before.clear();
            return None;
        }
        let mut note = text(note, self.note_room(0));
        if status == CaseStatus::Failed {
            let before = text_end(&self.before, self.note_room(note.len()).saturating_sub(1));
            append(&mut note, &before);
        }
        self.before.clear();
        let name = if name.is_empty() { "unnamed".to_owned() } else { text(name, NAME_BYTES_MAX) };
        self.results.counts.count(status);
        self.notes += note.len();
        self.results.cases.push(TestCase::new(name, status, note));
        Some(self.results.cases.len() - 1)
    }

    /// A case that ran again and ended otherwise.
    pub(super) fn change(&mut self, case: Option<usize>, status: CaseStatus) {
        let Some(case) = case.and_then(|at| self.results.cases.get_mut(at)) else { return };
        self.results.counts.uncount(case.status);
        self.results.counts.count(status);
        case.status = status;
    }

    /// How long a case took.
    pub(super) fn took(&mut self, case: Option<usize>, micros: Option<u64>) {
        if let (Some(case), Some(_)) = (case.and_then(|at| self.results.cases.get_mut(at)), micros) {
            case.took_us = micros;
        }
    }

    /// What a case measured.
    pub(super) fn measured(&mut self, case: Option<usize>, value: &str, unit: &[u8]) {
        if let Some(case) = case.and_then(|at| self.results.cases.get_mut(at)) {
            let unit = text(unit, UNIT_BYTES_MAX);
            case.measurement = Some(Measurement { value: value.to_owned(), unit });
        }
    }

    /// One more line of a case's note.
    pub(super) fn add_note(&mut self, case: Option<usize>, line: &[u8]) {
        let Some(length) = case.and_then(|at| self.results.cases.get(at)).map(|case| case.note.len()) else {
            return;
        };
        let line = text(line, self.note_room(length).saturating_sub(1));
        if let Some(case) = case.and_then(|at| self.results.cases.get_mut(at)) {
            append(&mut case.note, &line);
            self.notes += case.note.len() - length;
        }
    }

    /// Whether the case has a note.
    pub(super) fn has_note(&self, case: usize) -> bool {
        self.results.cases.get(case).is_some_and(|case| !case.note.is_empty())
    }

    /// Puts `prefix.` before the names of the cases from `first` on, where that fits.
    pub(super) fn prefix(&mut self, first: usize, prefix: &str) {
        if prefix.is_empty() {
            return;
        }
        for case in self.results.cases.iter_mut().skip(first) {
            if prefix.len() + 1 + case.name.len() <= NAME_BYTES_MAX {
                case.name.insert(0, '.');
                case.name.insert_str(0, prefix);
            }
        }
    }

    /// Keeps a line for the note of the next failure. Nothing is kept of empty lines.
    pub(super) fn remember(&mut self, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        if self.before.len() > 2 * NOTE_BYTES_MAX {
            self.before.drain(..self.before.len() - NOTE_BYTES_MAX);
        }
        self.before.extend_from_slice(&line[..line.len().min(NOTE_BYTES_MAX)]);
        self.before.push(b'\n');
    }

    /// Forgets the lines that were remembered.
    pub(super) fn forget(&mut self) {
        self.before.clear();
    }

    /// Something is missing; the first thing is told.
    pub(super) fn missing(&mut self, what: impl FnOnce() -> String) {
        self.results.incomplete.get_or_insert_with(what);
    }

    /// The tool's own summary says a number, which must be what came.
    pub(super) fn agree(&mut self, what: &str, said: u32, came: u32) {
        if said != came {
            self.missing(|| format!("the summary says {said} {what}, {came} came"));
        }
    }

    /// The test gave up; the first reason is told.
    pub(super) fn bail_out(&mut self, reason: &[u8]) {
        self.results.bail_out.get_or_insert_with(|| text(reason, NOTE_BYTES_MAX));
    }

    /// How much longer a note of `length` bytes may become.
    fn note_room(&self, length: usize) -> usize {
        NOTE_BYTES_MAX.saturating_sub(length).min(NOTES_BYTES_MAX.saturating_sub(self.notes))
    }
}

fn append(note: &mut String, line: &str) {
    if !note.is_empty() && !line.is_empty() {
        note.push('\n');
    }
    note.push_str(line);
}
