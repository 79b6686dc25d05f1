//! Excerpt: the console lines that a person would have picked to explain a failure. Reads the end of a cleaned
//! transcript and the failing cases, both redacted before, since lines are picked and cut here; escaping comes after, in
//! the platforms' renderers.

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
pub fn redacted_excerpt(redactor: &Redactor, tail: &str, cases: &[TestCase]) -> Vec<String> {
    excerpt(&redactor.redact(end(tail)), cases)
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
/// the first sign that the kernel died, the first failing case, any other sign, the last output. A trace that has an
/// end is shown to its end, in at most [`EXCERPT_TRACE_LINES_MAX`] lines.
pub fn excerpt(tail: &str, cases: &[TestCase]) -> Vec<String> {
    let start = tail.ceil_char_boundary(tail.len().saturating_sub(EXCERPT_TAIL_BYTES_MAX));
    let lines: Vec<&str> = tail[start..].lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let failing = cases.iter().find(|case| case.status == CaseStatus::Failed);
    let signs: Vec<Option<Trouble>> = lines.iter().map(|line| trouble(line)).collect();
    let first_of = |wanted| signs.iter().position(|sign| *sign == Some(wanted));
    let found = first_of(Trouble::Fatal)
        .map(|at| (at, 2))
        .or_else(|| failing.and_then(|case| line_of_case(&lines, case)).map(|at| (at, 11)))
        .or_else(|| first_of(Trouble::Serious).map(|at| (at, 4)))
        .or_else(|| first_of(Trouble::Mild).map(|at| (at, 7)));
    let (from, to) = match found {
        Some((at, before)) => {
            let (from, to) = window(at, before, lines.len());
            let end = lines[at..].iter().position(|line| line.contains(TRACE_END)).map(|end| at + end + 1);
            let end = end.filter(|_| signs[at] == Some(Trouble::Fatal)).unwrap_or(to);
            (from, end.min(from + EXCERPT_TRACE_LINES_MAX))
        }
        None => (lines.len().saturating_sub(EXCERPT_LINES_MAX), lines.len()),
    };
    lines[from..to].iter().map(|line| cut(line)).collect()
}

/// How the last line of a kernel's trace begins.
const TRACE_END: &str = "---[ end ";

/// [`EXCERPT_LINES_MAX`] lines with `before` of them ahead of `at`; more, where the output ends soon after it.
fn window(at: usize, before: usize, total: usize) -> (usize, usize) {
    let to = (at.saturating_sub(before) + EXCERPT_LINES_MAX).min(total);
    (to.saturating_sub(EXCERPT_LINES_MAX).min(at), to)
}

/// The line of a test's own protocol that says that `case` failed: KTAP's, or one that names the case beside a word
/// of another format.
fn line_of_case(lines: &[&str], case: &TestCase) -> Option<usize> {
    let own = case.name.rsplit(['.', ':']).next().unwrap_or_default();
    let named =
        |line: &str| line.contains(&case.name) || own.len() >= OWN_NAME_BYTES_MIN && line.contains(own);
    let failed = |line: &str| FAILED_WORDS.iter().any(|word| line.contains(word));
    let ktap = lines.iter().position(|line| {
        line.split_once("not ok ").is_some_and(|(_, rest)| {
            let said = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ' || c == '-');
            let said = said.split(" # ").next().unwrap_or_default();
            said.is_empty() || case.name == said || case.name.ends_with(&format!(".{said}"))
        })
    });
    ktap.or_else(|| lines.iter().position(|line| failed(line) && named(line)))
}

/// What other formats say of a case that failed.
const FAILED_WORDS: [&str; 6] = ["FAIL", "ERROR", "***", "TBROK", "RESULT=fail", "XPASS"];
/// Shortest last part of a case's name that is looked for by itself.
const OWN_NAME_BYTES_MIN: usize = 3;

/// A line as an excerpt shows it.
pub(super) fn cut(line: &str) -> String {
    let plain: String = line.chars().filter(|c| !c.is_control() || *c == '\t').collect();
    if plain.len() <= EXCERPT_LINE_BYTES_MAX {
        return plain;
    }
    format!("{}…", &plain[..plain.floor_char_boundary(EXCERPT_LINE_BYTES_MAX - '…'.len_utf8())])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(name: &str) -> TestCase {
        TestCase::new(name, CaseStatus::Failed, "")
    }

    fn noise(n: usize) -> String {
        (0..n).map(|i| format!("noise {i}\n")).collect()
    }

    #[track_caller]
    fn check(tail: &str, cases: &[TestCase], first: &str, last: &str) {
        let lines = excerpt(tail, cases);
        let ends = (lines.first().map(String::as_str), lines.last().map(String::as_str));
        assert_eq!(ends, (Some(first), Some(last)), "{lines:#?}");
        assert!(lines.len() <= EXCERPT_LINES_MAX || tail.contains(TRACE_END));
        assert!(lines.len() <= EXCERPT_TRACE_LINES_MAX);
    }

    #[test]
    fn a_panic_is_shown_with_its_trace() {
        let panic = "[ 2.4] Kernel panic - not syncing: dumptest\n[ 2.5] Call trace:\n";
        let tail = format!("{}not ok 1 a\n{panic}{}", noise(40), noise(40));
        check(&tail, &[failed("a")], "noise 39", "noise 10");
    }

    #[test]
    fn a_trace_is_shown_to_its_end_up_to_a_bound() {
        let end = "[ 2.6] ---[ end Kernel panic - not syncing: dumptest ]---";
        let panic = |frames| format!("[ 2.4] Kernel panic - not syncing: dumptest\n{}{end}\n", noise(frames));
        let tail = |frames| format!("x\na\nb\n{}{}", panic(frames), noise(40));
        check(&tail(25), &[], "a", end);
        check(&tail(3), &[], "a", end);
        check(&tail(EXCERPT_TRACE_LINES_MAX - 4), &[], "a", end);
        check(
            &tail(EXCERPT_TRACE_LINES_MAX - 3),
            &[],
            "a",
            &format!("noise {}", EXCERPT_TRACE_LINES_MAX - 4),
        );
        check(&format!("{}Segmentation fault\n{end}\n", noise(20)), &[], "noise 7", end);
    }

    #[test]
    fn a_failing_case_is_shown_with_what_came_before_it() {
        let tail = format!("{}    not ok 3 - b # exit=1\n{}", noise(40), noise(40));
        check(&tail, &[failed("suite.b")], "noise 29", "noise 2");
        check(&format!("{}not ok 3 other\nnot ok 4 b\n", noise(20)), &[failed("b")], "noise 7", "not ok 4 b");
    }

    #[test]
    fn a_failing_case_is_found_in_every_format() {
        for (line, name) in [
            ("[  FAILED  ] Clock.Runs (12 ms)", "Clock.Runs"),
            ("tests/test_gpio.py::test_reads FAILED   [ 28%]", "tests/test_gpio.py::test_reads"),
            ("test/test_gpio.c:31:test_Reads:FAIL: Expected 1 Was 0", "test_gpio.test_Reads"),
            (" FAIL - test_reads in 0.010 seconds", "gpio.test_reads"),
            ("2/6 Test #2: uart ...***Timeout 1.50 sec", "uart"),
            ("open01.c:61: TFAIL: open() failed: EPERM (1)", "open01.c:61"),
            ("<LAVA_SIGNAL_TESTCASE TEST_CASE_ID=write RESULT=fail>", "0_storage.speed.write"),
            ("XPASS: calc.exp: old bug", "calc.exp: old bug"),
        ] {
            check(&format!("{}{line}\n{}", noise(40), noise(40)), &[failed(name)], "noise 29", "noise 2");
        }
    }

    #[test]
    fn without_a_panic_or_case_other_signs_count() {
        let tail = format!("{}prog: error: no such option\nSegmentation fault\n{}", noise(20), noise(20));
        check(&tail, &[], "noise 17", "noise 9");
        let tail = format!("{}sh: foo: not found\n{}", noise(20), noise(20));
        check(&tail, &[], "noise 13", "noise 6");
    }

    #[test]
    fn without_any_sign_the_last_output_is_shown() {
        check(&format!("{}\n\n  \n", noise(20)), &[], "noise 5", "noise 19");
        check("only this", &[], "only this", "only this");
        assert!(excerpt("\n \n", &[failed("a")]).is_empty());
    }

    #[test]
    fn no_half_of_a_secret_is_left_where_lines_are_picked_and_cut() {
        let secret = "hunter2+hunter2+hunter2";
        let redactor = Redactor::default().knowing(&[secret.into()]).expect("known");
        let lines = |tail: &str| redacted_excerpt(&redactor, tail, &[failed("b")]).join("\n");
        for before in [EXCERPT_LINE_BYTES_MAX - 8, EXCERPT_TAIL_BYTES_MAX] {
            let shown = lines(&format!("{} {secret}\nnot ok 1 b\n", "x".repeat(before)));
            assert!(shown.contains("not ok 1 b") && !shown.contains("hunter2"), "{shown}");
        }
        // The end that is looked at begins within the secret.
        let cut = format!("{secret} {}", "x ".repeat(EXCERPT_TAIL_BYTES_MAX / 2 - 5));
        assert!(!lines(&cut).contains("hunter2"));
        let key = format!("-----BEGIN {}-----\n{}", "PRIVATE KEY", "c2VjcmV0\n".repeat(20));
        let shown = lines(&format!("{key}-----END {}-----\nnot ok 1 b\n", "PRIVATE KEY"));
        assert_eq!(shown, "[redacted]\nnot ok 1 b");
    }

    #[test]
    fn lines_and_tail_are_bounded() {
        let long = "é\u{1b}".repeat(10_000);
        let lines = excerpt(&long, &[]);
        assert!(lines[0].len() <= EXCERPT_LINE_BYTES_MAX && lines[0].ends_with('…'));
        let far = format!("Kernel panic - not syncing\n{}", "é\n".repeat(EXCERPT_TAIL_BYTES_MAX));
        assert_eq!(excerpt(&far, &[]).last().map(String::as_str), Some("é"));
        assert!(!excerpt(&far, &[]).iter().any(|line| line.contains("panic")));
    }
}
