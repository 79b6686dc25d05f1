//! A piece of a run's console for whoever reads it, as lines without secrets: programs over the API, browsers on a page. A
//! piece begins and ends with a line, wherever it was asked for: half a line could be half of a secret that nothing
//! recognises. What a board printed is hostile: it is text here, and stays so.

use std::path::Path;

use crate::chat::plain::clean;
use crate::console::transcript::{self, LogLine, Piece};
use crate::outcome::redact::Redactor;

/// Most received bytes of one piece.
pub const PIECE_BYTES_MAX: usize = 256 * 1024;
/// How far before a piece is looked for the beginning of a key that goes on in it.
const KEY_BYTES_MAX: u64 = 64 * 1024;
/// How many lines further the same line is looked for after something was taken out.
const AHEAD_MAX: usize = 200;
const KEY_BEGINS: &str = "-----BEGIN PRIVATE KEY-----\n";

/// Lines of a console.
pub struct Lines {
    /// What was read.
    pub piece: Piece,
    /// Where it begins, in received bytes.
    pub from: u64,
    /// What may be shown of it, in order.
    pub shown: Vec<ShownLine>,
    /// What may be shown of the line that is not over yet.
    pub open: String,
}

/// A line that may be shown.
pub struct ShownLine {
    /// Which of the piece's lines it is.
    pub index: usize,
    /// How many were received before it in the piece.
    pub received: usize,
    /// What it says, on one line and without secrets.
    pub text: String,
    /// Whether that is what it said.
    pub whole: bool,
}

/// The lines of the record at `path` among at most `max` received bytes, from the first line on that begins at or behind
/// the byte `from`.
pub fn lines(path: &Path, from: u64, max: usize, redactor: &Redactor) -> std::io::Result<Lines> {
    let from = match transcript::line_start(path, from, PIECE_BYTES_MAX)? {
        Ok(from) => from,
        // The rest of a long line is in the log as text.
        Err(next) => {
            let piece = Piece { lines: vec![], bytes: vec![], next, open: String::new() };
            return Ok(Lines { piece, from: next, shown: vec![], open: String::new() });
        }
    };
    let piece = transcript::piece(path, from, max)?;
    let shown = without_secrets(&piece, is_inside_key(path, from)?, redactor);
    // Of a key that nobody has seen the end of, no line is shown.
    let inside_key = !piece.open.is_empty() && is_inside_key(path, piece.next)?;
    let open =
        if inside_key { String::new() } else { clean(&redactor.redact_whole(&piece.open)).into_owned() };
    Ok(Lines { piece, from, shown, open })
}

/// Whether a private key begins shortly before `at` and has not ended there.
fn is_inside_key(path: &Path, at: u64) -> std::io::Result<bool> {
    let begin = at.saturating_sub(KEY_BYTES_MAX);
    let before = transcript::piece(path, begin, usize::try_from(at - begin).unwrap_or(0))?;
    let text: String = before.lines.iter().map(|line| format!("{}\n", line.text)).collect();
    let begins = text.rfind("-----BEGIN ");
    Ok(begins.is_some_and(|begins| text.rfind("-----END ").is_none_or(|ends| ends < begins)))
}

fn without_secrets(piece: &Piece, inside_key: bool, redactor: &Redactor) -> Vec<ShownLine> {
    let mut text = String::from(if inside_key { KEY_BEGINS } else { "" });
    piece.lines.iter().for_each(|line| {
        text.push_str(&clean(&line.text).replace('\n', " "));
        text.push('\n');
    });
    let redacted = redactor.redact_whole(&text);
    let before = received_before(&piece.lines);
    // Where a whole key became one word, lines are found by what they say.
    let even = redacted.lines().count() == piece.lines.len();
    let (mut shown, mut at) = (Vec::with_capacity(piece.lines.len()), 0);
    for text in redacted.lines() {
        let ahead = if even { 1 } else { AHEAD_MAX };
        let same = piece.lines.iter().skip(at).take(ahead).position(|line| clean(&line.text) == text);
        let index = same.map_or(at, |ahead| at + ahead).min(piece.lines.len().saturating_sub(1));
        let Some(received) = before.get(index).copied() else { break };
        shown.push(ShownLine { index, received, text: text.to_owned(), whole: same.is_some() });
        at = index + usize::from(even || same.is_some());
    }
    shown
}

/// How many lines were received before each.
fn received_before(lines: &[LogLine]) -> Vec<usize> {
    let mut count = 0;
    let before = lines.iter().map(|line| {
        let before = count;
        count += usize::from(!line.sent);
        before
    });
    before.collect()
}
