//! One line of KTAP or TAP, taken apart. Stands before [`ktap`](super::ktap), which keeps the state; copies nothing.

use memchr::memchr_iter;

use super::text::{cut_number, cut_spaces, plain};

/// A line: at which column it stands and what was found there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) column: usize,
    /// Whether `# ` stood before a nested document, as kselftest's runner prints it.
    pub(super) hash: bool,
    pub(super) found: Found<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found<'a> {
    Version { ktap: bool },
    Plan { count: u32, skip: Option<&'a [u8]> },
    Result(ResultLine<'a>),
    BailOut(&'a [u8]),
    Subtest(&'a [u8]),
    Comment(&'a [u8]),
    Other(&'a [u8]),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ResultLine<'a> {
    pub(super) ok: bool,
    pub(super) number: Option<u32>,
    pub(super) description: &'a [u8],
    pub(super) directive: Option<Directive>,
    /// What follows the directive.
    pub(super) reason: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Directive {
    Skip,
    Todo,
    ExpectedFailure,
    Timeout,
    Error,
    /// kselftest's `exit=1`, node-tap's `time=3ms`: no meaning, but no part of the name.
    Remark,
}

/// Comments that frame results and say nothing about a failure.
const FRAMES: [&[u8]; 4] = [b"Start of ", b"End of ", b"Totals: ", b"random seed: "];

/// Takes a line apart. `hash_column`: where a document stands that `# ` precedes, while one is open.
pub(super) fn read(line: &[u8], hash_column: Option<usize>) -> Line<'_> {
    let line = plain(line);
    let (spaces, rest) = cut_spaces(line);
    if rest.first() == Some(&b'#') {
        return read_comment(spaces, rest, hash_column);
    }
    Line { column: spaces, hash: false, found: classify(rest).unwrap_or(Found::Other(rest)) }
}

fn read_comment(column: usize, line: &[u8], hash_column: Option<usize>) -> Line<'_> {
    let (mut inner_column, mut inner) = (column, line);
    while let Some(rest) = inner.strip_prefix(b"# ") {
        inner_column += 2;
        inner = rest;
    }
    let (spaces, nested) = cut_spaces(inner);
    inner_column += spaces;
    if let Some(found) = classify(nested) {
        let open = hash_column.is_some_and(|at| inner_column >= at);
        if open || spaces == 0 && matches!(found, Found::Version { .. }) {
            return Line { column: inner_column, hash: true, found };
        }
    }
    let comment = line.trim_ascii_start().strip_prefix(b"#").unwrap_or(line).trim_ascii_start();
    let found = match comment.strip_prefix(b"Subtest: ") {
        Some(name) => Found::Subtest(name),
        None if FRAMES.iter().any(|frame| comment.starts_with(frame)) => Found::Other(b""),
        None => Found::Comment(comment),
    };
    Line { column, hash: false, found }
}

/// What stands at the start of `line`, if it is a word of the format.
fn classify(line: &[u8]) -> Option<Found<'_>> {
    match line.first()? {
        b'o' => result(true, line.strip_prefix(b"ok")?),
        b'n' => result(false, line.strip_prefix(b"not ok")?),
        b'1' => plan(line.strip_prefix(b"1..")?),
        b'T' => version(line.strip_prefix(b"TAP version ")?).then_some(Found::Version { ktap: false }),
        b'K' => version(line.strip_prefix(b"KTAP version ")?).then_some(Found::Version { ktap: true }),
        b'B' => line.strip_prefix(b"Bail out!").map(|reason| Found::BailOut(reason.trim_ascii())),
        _ => None,
    }
}

fn version(number: &[u8]) -> bool {
    !number.is_empty() && number.iter().all(u8::is_ascii_digit)
}

fn plan(line: &[u8]) -> Option<Found<'_>> {
    let (count, rest) = cut_number(line)?;
    let rest = rest.trim_ascii_start();
    if rest.is_empty() {
        return Some(Found::Plan { count, skip: None });
    }
    let (directive, reason) = directive_of(rest.strip_prefix(b"#")?)?;
    Some(Found::Plan { count, skip: (directive == Directive::Skip).then_some(reason) })
}

fn result(ok: bool, rest: &[u8]) -> Option<Found<'_>> {
    if !rest.is_empty() && rest.first() != Some(&b' ') {
        return None;
    }
    let rest = rest.trim_ascii_start();
    let (number, rest) = match cut_number(rest) {
        Some((number, after)) if after.is_empty() || after[0] == b' ' => {
            (Some(number), after.trim_ascii_start())
        }
        _ => (None, rest),
    };
    let rest = rest.strip_prefix(b"-").unwrap_or(rest).trim_ascii_start();
    let (description, directive, reason) = cut_directive(rest);
    Some(Found::Result(ResultLine { ok, number, description, directive, reason }))
}

/// Splits `name # SKIP reason`. A `#` that begins no known word is part of the name.
fn cut_directive(line: &[u8]) -> (&[u8], Option<Directive>, &[u8]) {
    for at in memchr_iter(b'#', line) {
        if at > 0 && line[at - 1] != b' ' {
            continue;
        }
        if let Some((directive, reason)) = directive_of(&line[at + 1..]) {
            return (line[..at].trim_ascii_end(), Some(directive), reason);
        }
    }
    (line, None, b"")
}

fn directive_of(text: &[u8]) -> Option<(Directive, &[u8])> {
    const WORDS: [(&[u8], Directive); 5] = [
        (b"skip", Directive::Skip),
        (b"todo", Directive::Todo),
        (b"xfail", Directive::ExpectedFailure),
        (b"timeout", Directive::Timeout),
        (b"error", Directive::Error),
    ];
    let text = text.trim_ascii_start();
    if text.starts_with(b"exit=") || text.starts_with(b"time=") {
        return Some((Directive::Remark, text));
    }
    let letters = text.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    let word = &text[..letters];
    // `skipped` and `skipping` are seen as well.
    let is = |known: &[u8]| {
        word.eq_ignore_ascii_case(known)
            || known == b"skip" && word.len() > 4 && word[..4].eq_ignore_ascii_case(known)
    };
    let (_, directive) = WORDS.iter().find(|(known, _)| is(known))?;
    if matches!(directive, Directive::Timeout | Directive::Error) {
        // These words are the message.
        return Some((*directive, text));
    }
    let reason = text[letters..].trim_ascii_start();
    Some((*directive, reason.strip_prefix(b":").unwrap_or(reason).trim_ascii_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, column: usize, expect: Found<'_>) {
        let line = read(line.as_bytes(), None);
        assert_eq!((line.column, line.found), (column, expect));
    }

    fn case<'a>(ok: bool, number: u32, description: &'a str) -> ResultLine<'a> {
        ResultLine {
            ok,
            number: Some(number),
            description: description.as_bytes(),
            directive: None,
            reason: b"",
        }
    }

    #[test]
    fn stamps_are_cut_and_indentation_counts() {
        check("[    1.296704]     ok 3 a_test\r", 4, Found::Result(case(true, 3, "a_test")));
        check("<6>[    1.296704][    T1]   ok 3 a", 2, Found::Result(case(true, 3, "a")));
        check("[x] ok 3", 0, Found::Other(b"[x] ok 3"));
        check(
            "[    1.2] kselftest: Running tests in size",
            0,
            Found::Other(b"kselftest: Running tests in size"),
        );
    }

    #[test]
    fn results_are_told_from_prose() {
        check("not ok 2 - it works", 0, Found::Result(case(false, 2, "it works")));
        check("ok 7", 0, Found::Result(case(true, 7, "")));
        check("ok: memset() direct", 0, Found::Other(b"ok: memset() direct"));
        check("okay", 0, Found::Other(b"okay"));
        check("not okay", 0, Found::Other(b"not okay"));
        check(
            "ok 12345678901 x",
            0,
            Found::Result(ResultLine { number: None, ..case(true, 0, "12345678901 x") }),
        );
    }

    #[test]
    fn directives_end_the_name() {
        let with = |description, directive, reason: &'static str| {
            let directive = Some(directive);
            Found::Result(ResultLine { directive, reason: reason.as_bytes(), ..case(true, 1, description) })
        };
        check("ok 1 a # SKIP no device", 0, with("a", Directive::Skip, "no device"));
        check("ok 1 a # skipped: later", 0, with("a", Directive::Skip, "later"));
        check("ok 1 # SKIP XFAIL uninit", 0, with("", Directive::Skip, "XFAIL uninit"));
        check("ok 1 a # TODO", 0, with("a", Directive::Todo, ""));
        check("ok 1 a # TIMEOUT 45 seconds", 0, with("a", Directive::Timeout, "TIMEOUT 45 seconds"));
        check("ok 1 a # exit=1", 0, with("a", Directive::Remark, "exit=1"));
        check("ok 1 issue #12 \\# SKIP", 0, Found::Result(case(true, 1, "issue #12 \\# SKIP")));
        check("ok 1 C# errors", 0, Found::Result(case(true, 1, "C# errors")));
    }

    #[test]
    fn plans_versions_and_bail_outs_are_found() {
        check("1..18", 0, Found::Plan { count: 18, skip: None });
        check("1..0 # SKIP no can0", 0, Found::Plan { count: 0, skip: Some(b"no can0") });
        check("1..5 of them", 0, Found::Other(b"1..5 of them"));
        check("TAP version 14", 0, Found::Version { ktap: false });
        check("  KTAP version 1", 2, Found::Version { ktap: true });
        check("Bail out! no memory", 0, Found::BailOut(b"no memory"));
        check("    # Subtest: rational_test", 4, Found::Subtest(b"rational_test"));
        check("# memset_test: ok: direct", 0, Found::Comment(b"memset_test: ok: direct"));
    }

    #[test]
    fn a_document_behind_hashes_is_read_once_it_is_open() {
        let result = Found::Result(case(true, 1, "x"));
        assert_eq!(read(b"# TAP version 13", None).found, Found::Version { ktap: false });
        assert_eq!(read(b"# ok 1 x", Some(2)), Line { column: 2, hash: true, found: result });
        assert_eq!(read(b"# ok 1 x", None).found, Found::Comment(b"ok 1 x"));
        assert_eq!(read(b"# ok 1 x", Some(4)).found, Found::Comment(b"ok 1 x"));
    }
}
