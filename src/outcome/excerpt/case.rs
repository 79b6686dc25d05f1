//! Where a failing test case stands in its output: the line of the test's own protocol, and what the test said beside
//! it. Each format has its own words and order; what its reader noted of the case tells where to look.

use super::{EXCERPT_LINES_MAX, cut, window};
use crate::outcome::TestCase;

/// What other formats than KTAP say of a case that failed.
const FAILED_WORDS: [&str; 6] = ["FAIL", "ERROR", "***", "TBROK", "RESULT=fail", "XPASS"];
/// Shortest last part of a case's name that is looked for by itself.
const OWN_NAME_BYTES_MIN: usize = 3;
/// How far after a case's line what it said is looked for, in lines.
const NOTE_REACH: usize = 200;

/// The lines that tell of `case`.
pub(super) fn lines_of(lines: &[&str], case: &TestCase) -> Option<(usize, usize)> {
    if let Some(section) = pytest_section(lines, case) {
        return Some(section);
    }
    let at = own_line(lines, case)?;
    let Some((first, last)) = said(lines, at, case) else { return Some(window(at, 11, lines.len())) };
    let (from, to) = (first.min(at), last.max(at) + 1);
    if to - from > EXCERPT_LINES_MAX {
        // What was said last before its line, or first after it.
        return Some(if first < at {
            (to - EXCERPT_LINES_MAX, to)
        } else {
            (from, from + EXCERPT_LINES_MAX)
        });
    }
    // Something of what is around it.
    let from = from.saturating_sub(2.min(EXCERPT_LINES_MAX - (to - from)));
    Some((from, (to + 3).min(from + EXCERPT_LINES_MAX).min(lines.len())))
}

/// What a case that stands nowhere in the output says for itself, as one does that was read from a file. That a
/// command ended with a status says nothing.
pub(super) fn own_note(case: &TestCase) -> Option<Vec<String>> {
    let by_status = case.note.starts_with(&format!("{} ended with status ", case.name));
    let lines = case.note.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let lines: Vec<String> = lines.take(EXCERPT_LINES_MAX).map(cut).collect();
    (!by_status && !lines.is_empty()).then_some(lines)
}

/// The line of a test's own protocol that says that `case` failed: KTAP's, or one that names the case beside a word
/// of another format.
fn own_line(lines: &[&str], case: &TestCase) -> Option<usize> {
    let own = own_name(case);
    let named =
        |line: &str| line.contains(&case.name) || own.len() >= OWN_NAME_BYTES_MIN && line.contains(own);
    let failed = |line: &str| FAILED_WORDS.iter().any(|word| line.contains(word));
    let ktap = lines.iter().position(|line| {
        line.split_once("not ok ").is_some_and(|(_, rest)| {
            let said = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ' || c == '-');
            let said = said.split(" # ").next().unwrap_or_default();
            // kselftest's runner: `selftests: size: get_size` is known as `size:get_size`.
            let program =
                || said.strip_prefix("selftests: ").is_some_and(|said| said.replace(' ', "") == case.name);
            said.is_empty() || case.name == said || case.name.ends_with(&format!(".{said}")) || program()
        })
    });
    ktap.or_else(|| lines.iter().position(|line| failed(line) && named(line)))
}

fn own_name(case: &TestCase) -> &str {
    case.name.rsplit(['.', ':']).next().unwrap_or_default()
}

/// Between which lines near `at` stands what the reader noted.
fn said(lines: &[&str], at: usize, case: &TestCase) -> Option<(usize, usize)> {
    let note: Vec<&str> = case.note.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let (first_said, last_said) = (*note.first()?, *note.last()?);
    let is_said = |n: &usize| *n != at && lines[*n].trim().ends_with(first_said);
    // As far before as it is long, with some lines of the kernel between: other cases may have said the same.
    let before = at.saturating_sub(2 * note.len() + 4)..at;
    let near = before.start..lines.len().min(at + NOTE_REACH);
    let first = before.clone().find(is_said).or_else(|| (at..near.end).find(is_said))?;
    let last = (first..near.end).find(|n| lines[*n].trim().ends_with(last_said))?;
    Some((first, last))
}

/// pytest tells a failure twice: its line, and at the end a section `____ test_reads ____` with what was wrong.
fn pytest_section(lines: &[&str], case: &TestCase) -> Option<(usize, usize)> {
    let own = case.name.rsplit("::").next().unwrap_or_default();
    let title = |line: &str| line.starts_with("___") && line.ends_with("___");
    let at =
        lines.iter().position(|line| {
            title(line)
                && line.trim_matches(|c| c == '_' || c == ' ').rsplit(' ').next().is_some_and(|said| {
                    !own.is_empty() && (said == own || own.ends_with(&format!(".{said}")))
                })
        })?;
    let over = |line: &&str| title(line) || line.starts_with("===") || line.starts_with("---");
    let length = lines[at + 1..].iter().position(over).unwrap_or(lines.len() - at - 1);
    let to = at + 1 + length;
    Some((to.saturating_sub(EXCERPT_LINES_MAX).max(at), to))
}
