//! What is wrong with a lab file, where, and what would be right. Pure; nothing here decides what a mistake is.

use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::sync::Arc;

/// Most problems that are told; beyond it they are counted.
pub const PROBLEMS_MAX: usize = 500;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, though not all of it does what it says.
    Warning,
}

/// A place in the file: line and column, both from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1, in characters.
    pub column: u32,
}

impl Mark {
    /// The beginning of the file.
    pub const START: Mark = Mark { line: 1, column: 1 };
}

/// One mistake. Displays as `boards.yaml:12:7: error: unknown key "soc_famly" in a board; did you mean "soc_family"?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name, as the caller of `parse` gave it.
    pub source: Arc<str>,
    /// How bad it is.
    pub severity: Severity,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1, in characters.
    pub column: u32,
    /// What is wrong. Never holds the value of a variable.
    pub message: String,
    /// What would be right.
    pub suggestion: Option<String>,
}

impl Problem {
    /// Whether the file cannot be used because of it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{}:{}:{}: {word}: {}", self.source, self.line, self.column, self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; {suggestion}"),
            None => Ok(()),
        }
    }
}

/// Every problem on a line of its own, and a line that counts them. Empty when there is none.
pub fn render(problems: &[Problem]) -> String {
    let mut text = String::new();
    if problems.is_empty() {
        return text;
    }
    for problem in problems {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{problem}");
    }
    let count = |severity, word: &str| {
        let n = problems.iter().filter(|problem| problem.severity == severity).count();
        format!("{n} {word}{}", if n == 1 { "" } else { "s" })
    };
    let _ = writeln!(text, "{}, {}", count(Severity::Error, "error"), count(Severity::Warning, "warning"));
    text
}

/// Names as a message lists them: `a, b and 3 more`.
pub(super) fn listed<S: AsRef<str>>(names: &[S], most: usize) -> String {
    let first: Vec<&str> = names.iter().take(most).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(most) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// The problems found so far.
pub(super) struct Problems {
    source: Arc<str>,
    found: Vec<Problem>,
    seen: HashSet<(Mark, String)>,
    /// How many more there are, and where the first of them stands.
    more: Option<(usize, Severity, Mark)>,
}

impl Problems {
    pub(super) fn new(source: &str) -> Self {
        Problems { source: source.into(), found: Vec::new(), seen: HashSet::new(), more: None }
    }

    pub(super) fn error(&mut self, at: Mark, message: impl Into<String>) {
        self.add(Severity::Error, at, message.into(), None);
    }

    pub(super) fn error_with(&mut self, at: Mark, message: impl Into<String>, suggestion: Option<String>) {
        self.add(Severity::Error, at, message.into(), suggestion);
    }

    /// An error of which the first at its place is enough, whichever board it was found with.
    pub(super) fn error_once(&mut self, at: Mark, about: &str, message: String, suggestion: Option<String>) {
        if self.seen.insert((at, about.to_owned())) {
            self.add(Severity::Error, at, message, suggestion);
        }
    }

    pub(super) fn warning(&mut self, at: Mark, message: impl Into<String>, suggestion: Option<String>) {
        self.add(Severity::Warning, at, message.into(), suggestion);
    }

    /// Adds a problem, once: a family's settings are read again for each of its boards.
    fn add(&mut self, severity: Severity, at: Mark, message: String, suggestion: Option<String>) {
        if self.found.len() < PROBLEMS_MAX {
            if self.seen.insert((at, message.clone())) {
                let source = self.source.clone();
                self.found.push(Problem {
                    source,
                    severity,
                    line: at.line,
                    column: at.column,
                    message,
                    suggestion,
                });
            }
        } else if !self.seen.contains(&(at, message)) {
            let (count, worst, first) = self.more.unwrap_or((0, severity, at));
            self.more = Some((count + 1, worst.min(severity), first));
        }
    }

    /// The problems in the order of the file.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|problem| (problem.line, problem.column));
        if let Some((count, severity, at)) = self.more {
            let message = format!("and {count} more problems");
            let (source, line, column) = (self.source, at.line, at.column);
            self.found.push(Problem { source, severity, line, column, message, suggestion: None });
        }
        self.found
    }
}
