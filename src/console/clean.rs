//! Console bytes as a person sees them: escape sequences gone, carriage returns, backspaces and erasures applied,
//! bad UTF-8 replaced, lines bounded. Excerpts, parsers and watch patterns read what comes out of here; the
//! transcript keeps the bytes. Nothing here knows what a line means.

use std::borrow::Cow;
use std::collections::VecDeque;

use memchr::memchr2;

/// Longest line, in bytes as they were received; a longer one is handed out in pieces. A byte that is no UTF-8 stands in
/// the text as a character of three.
pub const LINE_BYTES_MAX: usize = 8192;
/// Lines a [`Tail`] keeps for people.
pub const TAIL_LINES_MAX: usize = 20;
/// Most bytes of a [`Tail`], its newest line aside. Its lines stay whole: one that is cut may end with half a secret, which
/// nobody would recognise afterwards.
pub const TAIL_BYTES_MAX: usize = 8 * 1024;
/// Longest text of a console that an error repeats.
pub const SAID_BYTES_MAX: usize = 400;
/// Largest memory of a line that the next one takes over.
const REUSED_BYTES_MAX: usize = 1024;

/// Longest control sequence (`ESC [ … letter`); a longer one is given up.
const SEQUENCE_BYTES_MAX: usize = 64;
/// Longest operating system command (`ESC ] … BEL`); a longer one is given up, so it cannot hide a panic.
const STRING_BYTES_MAX: usize = 1024;
/// Longest character in UTF-8.
const CHARACTER_BYTES_MAX: usize = 4;
/// Farthest one sequence moves the cursor to the right.
const COLUMNS_MAX: usize = 500;

/// Turns bytes into cleaned lines. Works on any split of its input.
#[derive(Default)]
pub struct Liner {
    escapes: Escapes,
    line: Vec<u8>,
    /// Byte in `line` that is written next; beyond its end after the cursor was moved there.
    cursor: usize,
}

impl Liner {
    /// Takes bytes and calls `on_line` for each line they complete, without its newline.
    pub fn feed(&mut self, bytes: &[u8], on_line: &mut impl FnMut(&str)) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.escapes.is_idle() && self.cursor == self.line.len() {
                let run = rest.iter().position(|b| is_control(*b)).unwrap_or(rest.len());
                self.append(&rest[..run], on_line);
                rest = &rest[run..];
            }
            let Some((&byte, after)) = rest.split_first() else {
                return;
            };
            rest = after;
            match self.escapes.step(byte) {
                Act::Byte(byte) => self.byte(byte, on_line),
                Act::Sequence { letter, count } => self.sequence(letter, count, on_line),
                Act::Nothing => {}
            }
        }
    }

    /// The line that has no newline yet.
    pub fn open(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.line)
    }

    /// Hands out the open line, if there is one: the stream has ended.
    pub fn finish(&mut self, on_line: &mut impl FnMut(&str)) {
        if !self.line.is_empty() {
            self.end_line(on_line);
        }
    }

    fn append(&mut self, mut run: &[u8], on_line: &mut impl FnMut(&str)) {
        while self.line.len() + run.len() >= LINE_BYTES_MAX {
            let (now, later) = run.split_at(LINE_BYTES_MAX - self.line.len());
            self.line.extend_from_slice(now);
            self.split(on_line);
            run = later;
        }
        self.line.extend_from_slice(run);
        self.cursor = self.line.len();
    }

    /// Hands out a line that has become too long, up to its last whole character.
    fn split(&mut self, on_line: &mut impl FnMut(&str)) {
        let (end, last) = (self.line.len(), self.before(self.line.len()));
        let whole = self.line[last] < 0x80 || end - last > CHARACTER_BYTES_MAX;
        let cut = if whole { end } else { last };
        let carried = self.line.split_off(cut);
        self.end_line(on_line);
        self.line = carried;
        self.cursor = self.line.len();
    }

    fn end_line(&mut self, on_line: &mut impl FnMut(&str)) {
        on_line(&String::from_utf8_lossy(&self.line));
        self.line.clear();
        self.cursor = 0;
    }

    fn byte(&mut self, byte: u8, on_line: &mut impl FnMut(&str)) {
        match byte {
            b'\n' => self.end_line(on_line),
            b'\r' => self.cursor = 0,
            8 => self.cursor = self.before(self.cursor),
            b'\t' | 0x20..=0x7e | 0x80.. => self.write(byte, on_line),
            _ => {}
        }
    }

    fn write(&mut self, byte: u8, on_line: &mut impl FnMut(&str)) {
        if self.cursor >= self.line.len() {
            let cursor = self.cursor.min(LINE_BYTES_MAX - 1);
            self.line.resize(cursor, b' ');
            return self.append(&[byte], on_line);
        }
        // Overwriting keeps characters whole: a continuation byte joins the character before the cursor.
        let old = if is_continuation(byte) { self.cursor } else { self.after(self.cursor) };
        self.line.splice(self.cursor..old, [byte]);
        self.cursor += 1;
        if self.line.len() >= LINE_BYTES_MAX {
            self.split(on_line);
        }
    }

    fn sequence(&mut self, letter: u8, count: usize, on_line: &mut impl FnMut(&str)) {
        let end = self.line.len();
        match (letter, count) {
            (b'K' | b'J', 0) => self.line.truncate(self.cursor),
            (b'K', 1) => self.line[..self.cursor.min(end)].fill(b' '),
            (b'K', _) => self.line.clear(),
            (b'C', n) => self.right(n.max(1)),
            (b'D', n) => (0..n.clamp(1, COLUMNS_MAX)).for_each(|_| self.cursor = self.before(self.cursor)),
            (b'G', n) => {
                self.cursor = 0;
                self.right(n.saturating_sub(1));
            }
            // The cursor goes to another row: what is written there is another line.
            (b'H' | b'f', _) if end > 0 => self.end_line(on_line),
            _ => {}
        }
    }

    fn right(&mut self, count: usize) {
        for _ in 0..count.min(COLUMNS_MAX) {
            self.cursor = self.after(self.cursor).min(LINE_BYTES_MAX);
        }
    }

    /// Where the character before `at` starts.
    fn before(&self, at: usize) -> usize {
        let mut at = at.saturating_sub(1);
        while at > 0 && self.line.get(at).is_some_and(|b| is_continuation(*b)) {
            at -= 1;
        }
        at
    }

    /// Where the character at `at` ends.
    fn after(&self, at: usize) -> usize {
        let mut at = at + 1;
        while self.line.get(at).is_some_and(|b| is_continuation(*b)) {
            at += 1;
        }
        at
    }
}

/// Bytes as text: cleaned lines joined by newlines, the open line last.
pub fn text(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    let mut liner = Liner::default();
    liner.feed(bytes, &mut |line| {
        out.push_str(line);
        out.push('\n');
    });
    out.push_str(&liner.open());
    out
}

/// One line without its newline, cleaned; what holds nothing to clean, as nearly every line, is not copied.
pub fn line(bytes: &[u8], on_line: &mut dyn FnMut(&str)) {
    match std::str::from_utf8(bytes) {
        Ok(plain) if bytes.len() < LINE_BYTES_MAX && !bytes.iter().any(|b| is_control(*b)) => on_line(plain),
        _ => on_line(&text(bytes)),
    }
}

/// `text` cut to at most `max` bytes at a character boundary.
pub fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// `text` cut to at most `max` bytes between two words: half a word may be half a secret.
pub fn cut_words(text: &str, max: usize) -> &str {
    match text.len() <= max {
        true => text,
        false => cut(text, max).rsplit_once(char::is_whitespace).map_or("", |(whole, _)| whole),
    }
}

/// Removes escape sequences and NULs and keeps everything else in place, for matching on a growing stream.
#[derive(Default)]
pub struct Stripper {
    escapes: Escapes,
}

impl Stripper {
    /// Appends what remains of `bytes` to `out`.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.escapes.is_idle() {
                let run = memchr2(ESC, 0, rest).unwrap_or(rest.len());
                out.extend_from_slice(&rest[..run]);
                rest = &rest[run..];
            }
            let Some((&byte, after)) = rest.split_first() else {
                return;
            };
            rest = after;
            match self.escapes.step(byte) {
                Act::Byte(byte) if byte != 0 => out.push(byte),
                Act::Byte(_) | Act::Sequence { .. } | Act::Nothing => {}
            }
        }
    }
}

/// The last lines, for people, whole.
#[derive(Default)]
pub struct Tail {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Tail {
    /// Adds a line; empty ones are left out.
    pub fn push(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        let mut kept = String::new();
        while self.lines.len() == TAIL_LINES_MAX || self.bytes > TAIL_BYTES_MAX {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.len();
            // The oldest line's memory is used again: this runs for every line of the console.
            if oldest.capacity() <= REUSED_BYTES_MAX {
                kept = oldest;
            }
        }
        kept.clear();
        kept.push_str(line);
        self.bytes += kept.len();
        self.lines.push_back(kept);
    }

    /// The lines, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}

const ESC: u8 = 0x1b;

fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}

fn is_continuation(byte: u8) -> bool {
    (0x80..0xc0).contains(&byte)
}

/// What one byte amounts to.
enum Act {
    Byte(u8),
    /// `ESC [ count letter`.
    Sequence {
        letter: u8,
        count: usize,
    },
    Nothing,
}

/// Recognises escape sequences (ECMA-48) byte by byte. A newline always ends one.
#[derive(Default)]
struct Escapes {
    state: Escape,
    length: usize,
    count: usize,
    /// Whether `count` still grows: only the first parameter counts, and none of a private sequence.
    counting: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Escape {
    #[default]
    Idle,
    Started,
    Sequence,
    String,
    Closing,
}

impl Escapes {
    fn is_idle(&self) -> bool {
        self.state == Escape::Idle
    }

    fn step(&mut self, byte: u8) -> Act {
        if self.state == Escape::Idle {
            if byte != ESC {
                return Act::Byte(byte);
            }
            *self = Escapes { state: Escape::Started, ..Escapes::default() };
            return Act::Nothing;
        }
        if byte == b'\n' {
            self.state = Escape::Idle;
            return Act::Byte(byte);
        }
        self.length += 1;
        let in_string = matches!(self.state, Escape::String | Escape::Closing);
        if self.length > if in_string { STRING_BYTES_MAX } else { SEQUENCE_BYTES_MAX } {
            self.state = Escape::Idle;
        } else if in_string {
            self.state = match (self.state, byte) {
                (Escape::Closing, b'\\') | (_, 7) => Escape::Idle,
                (_, ESC) => Escape::Closing,
                _ => Escape::String,
            };
        } else if byte == ESC {
            *self = Escapes { state: Escape::Started, ..Escapes::default() };
        } else if byte < 0x20 {
            // A control character inside a sequence is obeyed as if it stood before it.
            return Act::Byte(byte);
        } else if self.state == Escape::Started {
            self.started(byte);
        } else {
            return self.sequence(byte);
        }
        Act::Nothing
    }

    fn started(&mut self, byte: u8) {
        self.state = match byte {
            b'[' => {
                self.counting = true;
                Escape::Sequence
            }
            b']' | b'P' | b'X' | b'^' | b'_' => Escape::String,
            0x20..=0x2f => Escape::Started,
            _ => Escape::Idle,
        };
    }

    fn sequence(&mut self, byte: u8) -> Act {
        match byte {
            b'0'..=b'9' if self.counting => {
                self.count = (self.count * 10 + usize::from(byte - b'0')).min(9999);
            }
            0x40..=0x7e => {
                self.state = Escape::Idle;
                return Act::Sequence { letter: byte, count: self.count };
            }
            _ => self.counting = false,
        }
        Act::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Cleans at every split of a few sizes.
    #[track_caller]
    fn check(input: impl AsRef<[u8]>, expect: &str) {
        for chunk in [1, 2, 3, 7, 10_000] {
            let (mut liner, mut out) = (Liner::default(), String::new());
            for part in input.as_ref().chunks(chunk) {
                liner.feed(part, &mut |line| out.push_str(&format!("{line}\n")));
            }
            out.push_str(&liner.open());
            assert_eq!(out, expect, "in chunks of {chunk}");
        }
    }

    #[test]
    fn any_number_of_carriage_returns_ends_a_line_with_its_newline() {
        check("a\nb\r\nc\r\r\nd", "a\nb\nc\nd");
    }

    #[test]
    fn colours_and_modes_vanish() {
        check("\x1b[1;31mred\x1b[0m \x1b[?2004h$ \x1b[6n\x1b(B\x1b=x", "red $ x");
    }

    #[test]
    fn titles_vanish_and_cannot_swallow_the_next_line() {
        check("\x1b]0;title\x07a\x1b]0;title\x1b\\b", "ab");
        check("\x1b]0;endless\nKernel panic", "\nKernel panic");
        check(format!("\x1b]{}end", "x".repeat(STRING_BYTES_MAX)), "end");
    }

    #[test]
    fn a_carriage_return_writes_over_what_stands_there() {
        check("10%\r20%\r100%\n", "100%\n");
        check("long line\rab", "abng line");
    }

    #[test]
    fn backspaces_are_applied() {
        check("Hit any key to stop autoboot:  2 \x08\x08\x08 0 \r\n", "Hit any key to stop autoboot:  0 \n");
        check(format!("testing {}done", "|\x08/\x08".repeat(30_000)), "testing done");
    }

    #[test]
    fn erasing_shortens_the_line() {
        check("abcdef\r\x1b[Kxy", "xy");
        check("abc\x1b[2Kd", "   d");
        check("abc\x1b[3D\x1b[1Cx", "axc");
        check("abc\x1b[2Gx\x1b[10Gy", "axc      y");
    }

    #[test]
    fn sequences_and_the_moves_they_ask_for_are_bounded() {
        let endless = "1".repeat(SEQUENCE_BYTES_MAX + 6);
        check(format!("\x1b[{endless}mx"), "111111mx");
        check("\x1b[9999Cx", &format!("{}x", " ".repeat(COLUMNS_MAX)));
    }

    #[test]
    fn a_jump_to_another_row_starts_a_line() {
        check("\x1b[1;1Htop\x1b[2;1Hnext", "top\nnext");
    }

    #[test]
    fn bad_utf8_is_replaced_and_good_is_kept() {
        check("gr\u{fc}n \u{1f600}", "gr\u{fc}n \u{1f600}");
        check(b"a\xffb\xc3", "a\u{fffd}b\u{fffd}");
        check("\u{fc}\u{1f600}\rx\u{e4}", "x\u{e4}");
        check("a\u{1f600}\x08b", "ab");
    }

    #[test]
    fn a_long_line_comes_in_pieces() {
        let mut pieces = Vec::new();
        let mut liner = Liner::default();
        liner.feed("\u{fc}".repeat(LINE_BYTES_MAX).as_bytes(), &mut |line| pieces.push(line.to_owned()));
        pieces.push(liner.open().into_owned());
        assert!(pieces.iter().all(|p| p.len() <= LINE_BYTES_MAX && !p.contains('\u{fffd}')));
        assert_eq!(pieces.concat().len(), 2 * LINE_BYTES_MAX);
    }

    #[test]
    fn a_tail_keeps_the_last_lines_and_cuts_them() {
        let mut tail = Tail::default();
        (0..TAIL_LINES_MAX + 5).for_each(|n| tail.push(&format!("line {n}")));
        tail.push("");
        let lines = tail.lines();
        assert_eq!((lines.len(), lines[0].as_str()), (TAIL_LINES_MAX, "line 5"));
        let long = "\u{fc}".repeat(LINE_BYTES_MAX / 2);
        for _ in 0..TAIL_LINES_MAX {
            tail.push(&long);
            assert!(tail.lines().concat().len() <= TAIL_BYTES_MAX + 2 * LINE_BYTES_MAX);
        }
        assert!(tail.lines().iter().all(|line| *line == long), "whole");
        let memory: usize = tail.lines.iter().map(String::capacity).sum();
        assert!(memory <= TAIL_BYTES_MAX + 2 * LINE_BYTES_MAX, "{memory}");
    }

    #[test]
    fn what_is_cut_between_words_ends_with_a_whole_one() {
        let check = |text: &str, max: usize, expect: &str| assert_eq!(cut_words(text, max), expect, "{text}");
        check("token hunter2", 13, "token hunter2");
        check("token hunter2", 12, "token");
        check("token hunter2", 3, "");
        check("é é", 4, "é");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn any_bytes_at_any_split_give_the_same_bounded_lines(
            input in prop::collection::vec(prop_oneof![Just(ESC), Just(b'['), Just(b'\r'), Just(8u8), Just(b'\n'), b'0'..b'z', any::<u8>()], 0..400),
            chunk in 1usize..9,
        ) {
            let mut stripped = [Vec::new(), Vec::new()];
            Stripper::default().feed(&input, &mut stripped[0]);
            let mut stripper = Stripper::default();
            let (mut liner, mut out) = (Liner::default(), String::new());
            for part in input.chunks(chunk) {
                liner.feed(part, &mut |line| { out.push_str(line); out.push('\n'); });
                stripper.feed(part, &mut stripped[1]);
            }
            out.push_str(&liner.open());
            prop_assert_eq!(out, text(&input));
            prop_assert_eq!(&stripped[0], &stripped[1]);
        }
    }
}
