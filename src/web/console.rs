//! A console for people to read: lines with their time, number and colours, as HTML. What a board printed is hostile:
//! secrets are taken out of the whole piece, and colours are given only to text that is exactly what is shown.

use std::path::Path;

use super::ansi::{self, Look};
use super::html::push_escaped;
use crate::console::transcript::{self, LogLine, Piece};
use crate::door::console::{self, Lines, PIECE_BYTES_MAX};
use crate::outcome::redact::Redactor;

/// A piece of a console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    /// Rows of HTML.
    pub(super) html: String,
    /// The line that is not over yet, as HTML.
    pub(super) open: String,
    /// Where the piece begins and ends, in received bytes, and how many there are.
    pub(super) from: u64,
    pub(super) next: u64,
    pub(super) length: u64,
    /// The numbers of its first line and of the line that comes next.
    pub(super) first: u64,
    pub(super) line: u64,
}

/// Where a piece begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum Begin {
    /// At this byte, whose line has this number.
    Byte(u64, u64),
    /// So that it ends here, before the line of this number where that is known.
    Before(u64, Option<u64>),
    /// With the first line at or behind this byte.
    At(u64),
    /// With the line of this number.
    Line(u64),
    /// So that it ends with the record.
    Tail,
}

/// Received bytes of a piece that is put into a page while somebody scrolls.
pub(super) const FEW_BYTES: usize = 24 * 1024;

/// A piece of the record at `path`, of at most `max` received bytes.
pub(super) fn shown(path: &Path, from: Begin, max: usize, redactor: &Redactor) -> std::io::Result<Shown> {
    let length = transcript::received(path)?;
    let (begin, first, max) = match from {
        Begin::Byte(byte, line) => (byte.min(length), line, max),
        Begin::Before(end, line) => ending(path, end.min(length), line, max)?,
        Begin::At(byte) => {
            let begin =
                transcript::line_start(path, byte.min(length), PIECE_BYTES_MAX)?.unwrap_or_else(|next| next);
            (begin, transcript::lines_before(path, begin)?.0 + 1, max)
        }
        Begin::Line(line) => {
            let (begin, first) = transcript::line_at(path, line)?;
            (begin, first, max)
        }
        Begin::Tail => ending(path, length, None, max)?,
    };
    piece(path, (begin, first), (length, max), redactor)
}

/// The same up to this byte, where a line ends.
pub(super) fn shown_until(
    path: &Path,
    (begin, first): (u64, u64),
    until: u64,
    redactor: &Redactor,
) -> std::io::Result<Shown> {
    let max = usize::try_from(until.saturating_sub(begin)).unwrap_or(PIECE_BYTES_MAX).min(PIECE_BYTES_MAX);
    piece(path, (begin, first), (transcript::received(path)?, max), redactor)
}

fn piece(
    path: &Path,
    (begin, first): (u64, u64),
    (length, max): (u64, usize),
    redactor: &Redactor,
) -> std::io::Result<Shown> {
    let lines = console::lines(path, begin, max, redactor)?;
    // The first may be anything that somebody put into an address.
    let line = first.saturating_add(memchr::memchr_iter(b'\n', &lines.piece.bytes).count() as u64);
    let html = rows(&lines, first);
    let mut open = String::new();
    push_escaped(&lines.open, &mut open);
    Ok(Shown { html, open, from: lines.from, next: lines.piece.next, length, first, line })
}

/// Where a piece begins that ends at `end`, the number of its first line, and its size. Lines are counted from the beginning
/// where nobody knows the number of the line behind it.
fn ending(path: &Path, end: u64, line: Option<u64>, max: usize) -> std::io::Result<(u64, u64, usize)> {
    let begin = end.saturating_sub(max as u64);
    // From the first whole line on.
    let begin = transcript::line_start(path, begin, max)?.unwrap_or_else(|next| next).min(end);
    let size = usize::try_from(end - begin).unwrap_or(max);
    let first = match line {
        Some(line) => {
            let within = transcript::piece(path, begin, size)?;
            line.saturating_sub(memchr::memchr_iter(b'\n', &within.bytes).count() as u64).max(1)
        }
        None => transcript::lines_before(path, begin)?.0 + 1,
    };
    Ok((begin, first, size))
}

fn rows(lines: &Lines, first: u64) -> String {
    let piece = &lines.piece;
    let looks = looks(piece);
    let mut html = String::with_capacity(3 * piece.bytes.len());
    for shown in &lines.shown {
        let line = &piece.lines[shown.index];
        let number = (!line.sent).then(|| first.saturating_add(shown.received as u64));
        let look = looks.as_ref().filter(|_| shown.whole && !line.sent);
        let look = look.and_then(|looks| looks.get(shown.received)?.as_ref());
        row(line, number, &shown.text, look.map(Vec::as_slice), &mut html);
    }
    html
}

type Pieces = Vec<(Look, String)>;

/// How each received line looks; nothing where lines and bytes do not go together line by line.
fn looks(piece: &Piece) -> Option<Vec<Option<Pieces>>> {
    let body = piece.bytes.strip_suffix(b"\n")?;
    let raw: Vec<&[u8]> = body.split(|byte| *byte == b'\n').collect();
    if raw.len() != piece.lines.iter().filter(|line| !line.sent).count() {
        return None;
    }
    let mut look = Look::default();
    Some(raw.into_iter().map(|line| ansi::pieces(line, &mut look)).collect())
}

fn row(line: &LogLine, number: Option<u64>, shown: &str, look: Option<&[(Look, String)]>, html: &mut String) {
    let time = format!("{}.{:03}", line.micros / 1_000_000, line.micros / 1_000 % 1_000);
    match number {
        Some(number) => {
            html.push_str(&format!(
                "<li id=\"L{number}\"><a href=\"#L{number}\">{number}</a><i>{time}</i><span>"
            ));
        }
        None => html.push_str(&format!("<li class=\"sent\"><a></a><i>{time}</i><span>&gt; ")),
    }
    let whole =
        |look: &&[(Look, String)]| look.iter().map(|(_, text)| text.as_str()).collect::<String>() == shown;
    match look.filter(whole) {
        None => push_escaped(shown, html),
        Some(pieces) => pieces.iter().for_each(|(look, text)| match look.classes().as_str() {
            "" => push_escaped(text, html),
            classes => {
                html.push_str(&format!("<b class=\"{classes}\">"));
                push_escaped(text, html);
                html.push_str("</b>");
            }
        }),
    }
    html.push_str("</span></li>\n");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Timestamp;
    use crate::console::Transcript;

    const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    /// A record of what was received, and sent where it begins with `>`.
    fn record(said: &[&str]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("console");
        let mut transcript = Transcript::create(&path, START, None).expect("a transcript");
        for (n, text) in said.iter().enumerate() {
            let at = START + Duration::from_millis(1_000 * n as u64 + 250);
            match text.strip_prefix('>') {
                Some(sent) => transcript.sent(sent.as_bytes(), at),
                None => transcript.received(text.as_bytes(), at),
            }
        }
        (folder, path)
    }

    fn show(said: &[&str], from: Begin) -> Shown {
        let (_folder, path) = record(said);
        shown(&path, from, PIECE_BYTES_MAX, &Redactor::default()).expect("is read")
    }

    #[test]
    fn lines_have_their_number_time_and_colours_and_what_was_sent_has_no_number() {
        let seen = show(&["U-Boot\r\n", ">boot\n", "\u{1b}[32mOK\u{1b}[0m <done>\r\nlogin: "], Begin::Tail);
        assert_eq!(
            seen.html,
            "<li id=\"L1\"><a href=\"#L1\">1</a><i>0.250</i><span>U-Boot</span></li>\n\
             <li class=\"sent\"><a></a><i>1.250</i><span>&gt; boot\\n</span></li>\n\
             <li id=\"L2\"><a href=\"#L2\">2</a><i>2.250</i><span><b class=\"f2\">OK</b> &lt;done&gt;</span></li>\n"
        );
        assert_eq!((seen.open.as_str(), seen.line, seen.length - seen.next), ("login: ", 3, 7));
    }

    #[test]
    fn hostile_bytes_stay_text() {
        let evil = "<img src=x onerror=alert(1)>\u{1b}]0;title\u{7}\u{1b}[31m<b>\u{202e}\u{0}&\"'\r\n";
        let seen = show(&[evil], Begin::Tail);
        assert!(
            !seen.html.contains("<img") && !seen.html.contains("<b>") && !seen.html.contains('\u{1b}'),
            "{seen:?}"
        );
        assert!(!seen.html.contains('\u{202e}') && seen.html.contains("&lt;img src=x"), "{seen:?}");
    }

    #[test]
    fn a_secret_is_taken_out_also_where_colours_hide_it_or_a_piece_begins_within() {
        let seen = show(&["token=\u{1b}[31mhunter2\u{1b}[0mhunter2\r\nnext\r\n"], Begin::Tail);
        assert!(!seen.html.contains("hunter2") && seen.html.contains("next"), "{}", seen.html);
        let key = format!("a\n-----BEGIN RSA {}-----\n{}", "PRIVATE KEY", "c2VjcmV0\n".repeat(40));
        let key = format!("{key}-----END RSA {}-----\nafter\n", "PRIVATE KEY");
        for cut in [60, 120, 300] {
            let seen = show(&[&key], Begin::Byte(cut, 3));
            assert!(!seen.html.contains("c2VjcmV0") && seen.html.contains("after"), "{cut}: {}", seen.html);
        }
    }

    #[test]
    fn whoever_asks_for_the_middle_of_a_line_is_not_given_half_a_secret() {
        let redactor = Redactor::new(&["hunter2".to_owned()]).expect("a pattern");
        let (_folder, path) = record(&["password: hunter2\r\nnext\r\nrest"]);
        for byte in 1..19 {
            let seen = shown(&path, Begin::Byte(byte, 2), PIECE_BYTES_MAX, &redactor).expect("is read");
            assert!(seen.html.contains(">next<") && !seen.html.contains("er2"), "{byte}: {}", seen.html);
            assert_eq!((seen.from, seen.open.as_str()), (19, "rest"));
        }
        let seen = shown(&path, Begin::Byte(26, 3), PIECE_BYTES_MAX, &redactor).expect("is read");
        assert_eq!((seen.html.as_str(), seen.open.as_str(), seen.from, seen.next), ("", "", 29, 29));
        let (_folder, path) = record(&[&"x".repeat(3 * PIECE_BYTES_MAX)]);
        let seen = shown(&path, Begin::Byte(7, 1), PIECE_BYTES_MAX, &redactor).expect("is read");
        assert!(seen.html.is_empty());
        assert_eq!((seen.from, seen.next), (7 + PIECE_BYTES_MAX as u64, seen.from), "and it goes on");
    }

    #[test]
    fn a_long_record_is_given_in_pieces_that_follow_each_other() {
        let line = "a line of the kernel that says one thing and another, and then some more\n";
        let count = 3 * PIECE_BYTES_MAX / line.len();
        let (_folder, path) = record(&[&line.repeat(count)]);
        let redactor = Redactor::default();
        let tail = shown(&path, Begin::Tail, PIECE_BYTES_MAX, &redactor).expect("is read");
        assert!(tail.html.ends_with(&format!("{}</span></li>\n", line.trim())) && tail.next == tail.length);
        assert_eq!(tail.line, count as u64 + 1, "numbers count from the beginning");
        let before =
            shown(&path, Begin::Before(tail.from, None), PIECE_BYTES_MAX, &redactor).expect("is read");
        assert_eq!(
            (before.next, before.line),
            (tail.from, tail.line - tail.html.matches("<li").count() as u64)
        );
        let again =
            shown(&path, Begin::Byte(before.next, before.line), PIECE_BYTES_MAX, &redactor).expect("is read");
        assert_eq!((again.html, again.next), (tail.html, tail.next));
        assert!((before.next - before.from) as usize <= PIECE_BYTES_MAX);
        // What comes before a line whose number is known is not counted from the beginning, and comes to the same.
        let known = shown(&path, Begin::Before(tail.from, Some(tail.first)), PIECE_BYTES_MAX, &redactor);
        assert_eq!(known.expect("is read"), before);
        // Any place and any line is found, with its number.
        for (begin, first) in [
            (Begin::At(1_000 * line.len() as u64 + 7), 1_002),
            (Begin::Line(1_002), 1_002),
            (Begin::Line(1), 1),
            (Begin::Line(u64::MAX), count as u64 + 1),
        ] {
            let seen = shown(&path, begin, FEW_BYTES, &redactor).expect("is read");
            assert_eq!((seen.first, seen.from), (first, (first - 1) * line.len() as u64), "{begin:?}");
            assert!(
                seen.html.is_empty() || seen.html.starts_with(&format!("<li id=\"L{first}\">")),
                "{begin:?}"
            );
            assert!((seen.next - seen.from) as usize <= FEW_BYTES);
        }
        let until = shown_until(&path, (0, 1), 10 * line.len() as u64, &redactor).expect("is read");
        assert_eq!((until.next, until.line), (10 * line.len() as u64, 11));
    }
}
