//! A step's output, or the file that it brought back, as test cases, in every format that `parse:` names. Between
//! `worker::results`, which hands over cleaned lines as they arrive, and `outcome::verdict`, which weighs what came of
//! them. Never waits, never trusts the board: a reader keeps bounded memory and looks at every byte a bounded number
//! of times.
//!
//! What holds for every format:
//! - A kernel's stamp before a line is cut, and a line that belongs to no format is prose: at most the note of a
//!   failure that comes next.
//! - What a tool promises, by a plan or by beginning, and does not deliver is missing, and so is a summary that says
//!   other numbers than came. A case that began and did not end is missing, not failed: what cut it off may be the
//!   lab's fault.
//! - A step may name several formats. Each reads the whole output, and one that never saw its format says nothing.

mod ctest;
mod dejagnu;
mod format;
mod gtest;
mod junit;
mod ktap;
mod ktap_line;
mod lava;
mod ltp;
mod pytest;
mod sheet;
mod text;
mod unity;
mod ztest;

use super::{CASES_MAX, Counts, TestCase};

pub use format::Format;
pub use junit::{DEPTH_MAX, read as read_junit};
pub use sheet::{NAME_BYTES_MAX, NOTE_BYTES_MAX, NOTES_BYTES_MAX, Results, UNIT_BYTES_MAX};

/// Reads one format.
trait Reader: Send + std::fmt::Debug {
    /// One cleaned line, with or without its end.
    fn line(&mut self, line: &[u8]);

    /// What came so far.
    fn results(&self) -> &Results;

    /// What came of it all; called after the last line.
    fn finish(self: Box<Self>) -> Results;
}

/// Reads the output of one step, in all formats that the step names.
#[derive(Debug)]
pub struct Parse {
    readers: Vec<Box<dyn Reader>>,
}

impl Parse {
    /// Readers of these formats that have seen nothing.
    pub fn new(formats: &[Format]) -> Parse {
        Parse { readers: formats.iter().map(|format| format.reader()).collect() }
    }

    /// One cleaned line, with or without its end.
    pub fn line(&mut self, line: &[u8]) {
        for reader in &mut self.readers {
            reader.line(line);
        }
    }

    /// Counts over the cases that are certain so far.
    pub fn counts(&self) -> Counts {
        let each = self.readers.iter().map(|reader| reader.results().counts);
        each.fold(Counts::default(), Counts::plus)
    }

    /// The cases that were seen so far; names of nested ones are still without their parents'.
    pub fn cases(&self) -> impl Iterator<Item = &TestCase> {
        self.readers.iter().flat_map(|reader| &reader.results().cases)
    }

    /// What came of it. Call once, after the last line.
    pub fn finish(self) -> Results {
        let mut all = Results::default();
        for reader in self.readers {
            let Results { cases, counts, incomplete, bail_out, planned } = reader.finish();
            let room = CASES_MAX - all.cases.len();
            all.cases.extend(cases.into_iter().take(room));
            all.counts = all.counts.plus(counts);
            all.incomplete = all.incomplete.or(incomplete);
            all.bail_out = all.bail_out.or(bail_out);
            all.planned |= planned;
        }
        all
    }
}

#[cfg(test)]
mod tests;
