//! Excerpt: the console lines that a person would have picked to explain a failure. Reads the end of a cleaned
//! transcript and the failing cases, both redacted before, since lines are picked and cut here; escaping comes after, in
//! the platforms' renderers. What is picked of real logs stands in `tests/samples/excerpts`.

mod case;

use super::redact::Redactor;
use super::{CaseStatus, TestCase};

/// Most lines of an excerpt.
pub const EXCERPT_LINES_MAX: usize = 15;
/// Most lines of one that shows a kernel's trace, which is worth little when it is cut.
pub const EXCERPT_TRACE_LINES_MAX: usize = 40;
/// Longest line of an excerpt, in bytes.
pub const EXCERPT_LINE_BYTES_MAX: usize = 240;
/// How much of the transcript's end is looked at, in bytes.
pub const EXCERPT_TAIL_BYTES_MAX: usize = 256 * 1024;

/// How telling a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// A warning of the kernel, an error of a program.
    Mild,
    /// A boot loader's error, a crashed program, a kernel that goes on after it stumbled.
    Serious,
    /// The kernel is dead.
    Fatal,
}

/// What trouble looks like, most telling first. Gathered from kernels, boot loaders and C libraries; case counts.
const SIGNS: &[(Trouble, &[&str])] = &[
    (
        Trouble::Fatal,
        &[
            "Kernel panic - not syncing",
            "VFS: Cannot open root device",
            "Unable to mount root fs",
            "Attempted to kill init",
            "Oops: ",
            "Oops - ",
            "BUG: unable to handle",
            "kernel BUG at",
            "Unable to handle kernel",
            "BUG: KASAN:",
            "BUG: KCSAN:",
            "BUG: KFENCE:",
            "SError Interrupt",
            "Synchronous Exception at",
            "Guru Meditation Error",
            "HardFault",
        ],
    ),
    (
        Trouble::Serious,
        &[
            "BUG: soft lockup",
            "hard LOCKUP",
            "rcu: INFO: ",
            "blocked for more than",
            "BUG: sleeping function",
            "BUG: scheduling while atomic",
            "BUG: spinlock",
            "general protection fault",
            "Unhandled fault",
            "possible circular locking",
            "Out of memory: Kill",
            "EXT4-fs error",
            "I/O error, dev",
            "segfault at",
            "Segmentation fault",
            "AddressSanitizer",
            "Bus error",
            "Illegal instruction",
            "core dumped",
            "Must RESET board",
            "Retry count exceeded",
            "TFTP error",
            "Image magic!",
            "Wrong Ramdisk Image Format",
            "Did not find a cmdline Flattened Device Tree",
        ],
    ),
    (
        Trouble::Mild,
        &[
            "WARNING: CPU:",
            "refcount_t:",
            "Assertion ",
            "assertion failed",
            "error:",
            "Error:",
            "ERROR:",
            "FAILED",
            "fatal:",
            "panicked at",
            "Traceback (most recent call last)",
            "command not found",
            ": not found",
            "No such file or directory",
            "No space left on device",
            "Permission denied",
        ],
    ),
];

/// How telling `line` is, if at all.
pub fn trouble(line: &str) -> Option<Trouble> {
    // Nobody looks for trouble in a page without a break.
    let line = &line[..line.floor_char_boundary(4 * EXCERPT_LINE_BYTES_MAX)];
    SIGNS.iter().find(|(_, signs)| signs.iter().any(|sign| line.contains(sign))).map(|(trouble, _)| *trouble)
}

/// The [`excerpt`] without secrets. They are taken out before lines are picked and cut, since half of one would not be
/// recognised afterwards; `cases` are redacted already.
pub fn redacted_excerpt(redactor: &Redactor, tail: &str, cases: &[TestCase], ended: EndedBy) -> Vec<String> {
    excerpt(&redactor.redact(end(tail)), cases, ended)
}

/// What ended that which is to be explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// Something that was said, or done.
    Word,
    /// Nothing more came: what was said last tells most, and an error long before it little.
    Silence,
}

/// The last [`EXCERPT_TAIL_BYTES_MAX`] bytes, from where a line or at least a word begins.
fn end(tail: &str) -> &str {
    if tail.len() <= EXCERPT_TAIL_BYTES_MAX {
        return tail;
    }
    let last = &tail[tail.ceil_char_boundary(tail.len() - EXCERPT_TAIL_BYTES_MAX)..];
    let begins = last.find('\n').or_else(|| last.find(char::is_whitespace)).unwrap_or(last.len());
    &last[begins..]
}

/// At most [`EXCERPT_LINES_MAX`] lines of `tail` around what explains the failure, oldest first. In this order:
/// the first sign that the kernel died, the first failing case, any other sign, the last output. A kernel's trace is
/// shown without its registers and to its end, in at most [`EXCERPT_TRACE_LINES_MAX`] lines.
pub fn excerpt(tail: &str, cases: &[TestCase], ended: EndedBy) -> Vec<String> {
    let start = tail.ceil_char_boundary(tail.len().saturating_sub(EXCERPT_TAIL_BYTES_MAX));
    let lines: Vec<&str> = tail[start..].lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let failing = cases.iter().find(|case| case.status == CaseStatus::Failed);
    let signs: Vec<Option<Trouble>> = lines.iter().map(|line| trouble(line)).collect();
    // Of what was said before a silence, mild things are forgotten soon.
    let recent = lines.len().saturating_sub(EXCERPT_LINES_MAX);
    let first_of = |wanted| {
        let from = if wanted == Trouble::Mild && ended == EndedBy::Silence { recent } else { 0 };
        signs.iter().skip(from).position(|sign| *sign == Some(wanted)).map(|at| from + at)
    };
    if let Some(at) = first_of(Trouble::Fatal) {
        return around(&lines, at, 2);
    }
    if let Some(case) = failing {
        if let Some((from, to)) = case::lines_of(&lines, case) {
            return lines[from..to].iter().map(|line| cut(line)).collect();
        }
        if let Some(note) = case::own_note(case) {
            return note;
        }
    }
    let sign =
        first_of(Trouble::Serious).map(|at| (at, 4)).or_else(|| first_of(Trouble::Mild).map(|at| (at, 7)));
    match sign {
        Some((at, before)) => around(&lines, at, before),
        None => lines[recent..].iter().map(|line| cut(line)).collect(),
    }
}

/// What stands around a sign of trouble, with so many lines before it.
fn around(lines: &[&str], at: usize, before: usize) -> Vec<String> {
    if lines[at].contains(PYTHON_TRACE) {
        return traceback(lines, at);
    }
    let near = &lines[at..lines.len().min(at + TRACE_REACH)];
    let dead = trouble(lines[at]) == Some(Trouble::Fatal);
    let traced = near.iter().any(|line| is_frame(line) || dead && line.contains(TRACE_END));
    // Of a trace whose beginning is lost, its end is all that there is.
    if !traced || lines[at].contains(TRACE_END) {
        let (from, to) = window(at, before, lines.len());
        return lines[from..to].iter().map(|line| cut(line)).collect();
    }
    // A kernel's: little stands before it, and its registers tell little.
    let end = near.iter().position(|line| line.contains(TRACE_END)).map(|end| at + end + 1);
    let last_frame = near.iter().rposition(|line| is_frame(line)).map_or(at, |frame| at + frame + 1);
    let to = end.unwrap_or(last_frame.max(at + EXCERPT_LINES_MAX)).min(lines.len());
    let told = lines[at.saturating_sub(before.min(2))..to].iter().filter(|line| !is_dull(line));
    told.take(EXCERPT_TRACE_LINES_MAX).map(|line| cut(line)).collect()
}

/// A Python traceback: its last lines say what was wrong.
fn traceback(lines: &[&str], at: usize) -> Vec<String> {
    let own = lines[at + 1..].iter().take_while(|line| line.starts_with(' ')).count();
    let to = (at + own + 2).min(lines.len());
    let from = to.saturating_sub(EXCERPT_LINES_MAX).max(at.saturating_sub(2));
    let picked =
        lines[from..to.max(from + 1)].iter().chain(lines[to..].iter().take(EXCERPT_LINES_MAX - (to - from)));
    picked.map(|line| cut(line)).collect()
}

/// How the last line of a kernel's trace begins.
const TRACE_END: &str = "---[ end ";
/// How far after a sign its trace is looked for, in lines.
const TRACE_REACH: usize = 120;
/// How a Python traceback begins.
const PYTHON_TRACE: &str = "Traceback (most recent call last)";

/// A line of a kernel's call trace: `panic+0x168/0x350`.
pub(super) fn is_frame(line: &str) -> bool {
    line.split_once("+0x").is_some_and(|(_, rest)| rest.contains("/0x"))
}

/// What a kernel prints with a trace and nobody reads in a message: registers, code, modules, what the fault was made of.
fn is_dull(line: &str) -> bool {
    const DULL: [&str; 15] = [
        "Modules linked in:",
        "Code:",
        "pstate:",
        "sp :",
        "Mem abort info:",
        "Data abort info:",
        "ESR = ",
        "EC = ",
        "SET = ",
        "EA = ",
        "FSC = ",
        "ISV = ",
        "CM = ",
        "user pgtable:",
        "swapper pgtable:",
    ];
    let said = crate::console::printk::unstamp(line).trim_start();
    let hex = |word: &&str| word.len() >= 8 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let registers = !is_frame(said) && said.split_whitespace().filter(hex).count() >= 2;
    registers || DULL.iter().any(|dull| said.starts_with(dull))
}

/// [`EXCERPT_LINES_MAX`] lines with `before` of them ahead of `at`; more, where the output ends soon after it.
fn window(at: usize, before: usize, total: usize) -> (usize, usize) {
    let to = (at.saturating_sub(before) + EXCERPT_LINES_MAX).min(total);
    (to.saturating_sub(EXCERPT_LINES_MAX).min(at), to)
}

/// A line as an excerpt shows it.
pub(super) fn cut(line: &str) -> String {
    let plain: String = line.chars().filter(|c| !c.is_control() || *c == '\t').collect();
    if plain.len() <= EXCERPT_LINE_BYTES_MAX {
        return plain;
    }
    format!("{}…", &plain[..plain.floor_char_boundary(EXCERPT_LINE_BYTES_MAX - '…'.len_utf8())])
}

#[cfg(test)]
mod tests;
