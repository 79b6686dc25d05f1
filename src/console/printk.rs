//! Kernel messages in the middle of other text: `[   12.345678] …` up to the end of the line, wherever it starts.
//! Taking complete ones out before anything is matched is what makes framed commands exact while a kernel talks.

use memchr::memchr;

/// Longest kernel line (the kernel's own limit is about 1,000 bytes); a longer one is ordinary text.
pub const PRINTK_LINE_BYTES_MAX: usize = 4096;
/// Most spaces or digits in one field of a stamp.
const STAMP_FIELD_BYTES_MAX: usize = 12;

/// A piece of the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text that is no kernel message; may be a part of a line.
    User(&'a [u8]),
    /// A whole kernel message with its newline.
    Kernel(&'a [u8]),
}

/// Splits a stream into kernel messages and the rest. Works on any split of its input.
#[derive(Default)]
pub struct PrintkFilter {
    /// What may yet become a kernel message.
    held: Vec<u8>,
    /// Whether `held` starts with a whole stamp.
    stamped: bool,
}

impl PrintkFilter {
    /// Takes bytes and calls `on` for each piece they complete, in order.
    pub fn feed(&mut self, bytes: &[u8], on: &mut impl FnMut(Piece<'_>)) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match (self.held.is_empty(), self.stamped) {
                (true, _) => self.outside(rest, on),
                (false, false) => self.in_stamp(rest, on),
                (false, true) => self.in_line(rest, on),
            };
        }
    }

    /// What may yet become a kernel message; ordinary text if nothing follows.
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    fn outside<'a>(&mut self, rest: &'a [u8], on: &mut impl FnMut(Piece<'_>)) -> &'a [u8] {
        let at = memchr(b'[', rest).unwrap_or(rest.len());
        if at > 0 {
            on(Piece::User(&rest[..at]));
        }
        let Some(after) = rest.get(at + 1..) else {
            return &[];
        };
        self.held.push(b'[');
        after
    }

    fn in_stamp<'a>(&mut self, rest: &'a [u8], on: &mut impl FnMut(Piece<'_>)) -> &'a [u8] {
        self.held.push(rest[0]);
        match stamp(&self.held) {
            Stamp::Whole(_) => self.stamped = true,
            Stamp::Partial => {}
            Stamp::No => {
                // The byte that spoilt it may start the next stamp.
                let again = self.held.last() == Some(&b'[');
                let keep = self.held.len() - usize::from(again);
                on(Piece::User(&self.held[..keep]));
                self.held.drain(..keep);
            }
        }
        &rest[1..]
    }

    fn in_line<'a>(&mut self, rest: &'a [u8], on: &mut impl FnMut(Piece<'_>)) -> &'a [u8] {
        let end = memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        let end = end.min(PRINTK_LINE_BYTES_MAX - self.held.len());
        self.held.extend_from_slice(&rest[..end]);
        let whole = self.held.last() == Some(&b'\n');
        if whole || self.held.len() >= PRINTK_LINE_BYTES_MAX {
            on(if whole { Piece::Kernel(&self.held) } else { Piece::User(&self.held) });
            self.held.clear();
            self.stamped = false;
        }
        &rest[end..]
    }
}

/// The bytes without their complete kernel messages.
pub fn strip(bytes: &[u8]) -> Vec<u8> {
    let (mut filter, mut out) = (PrintkFilter::default(), Vec::with_capacity(bytes.len()));
    filter.feed(bytes, &mut |piece| {
        if let Piece::User(text) = piece {
            out.extend_from_slice(text);
        }
    });
    out.extend_from_slice(filter.held());
    out
}

/// A line without the kernel's stamp in front of it; indentation after the stamp is kept.
pub fn unstamp(line: &str) -> &str {
    match stamp(line.as_bytes()) {
        Stamp::Whole(length) => &line[length..],
        Stamp::Partial | Stamp::No => line,
    }
}

enum Stamp {
    Whole(usize),
    Partial,
    No,
}

/// Reads `[ *digits.dddddd]`, perhaps `[ *Tdigits]` or `[ *Cdigits]` (CONFIG_PRINTK_CALLER), then a space.
fn stamp(bytes: &[u8]) -> Stamp {
    let mut reader = Reader { bytes, at: 0 };
    let read = reader.time().and_then(|()| match reader.peek()? {
        b'[' => reader.caller(),
        _ => Ok(()),
    });
    match read.and_then(|()| reader.exactly(b" ")) {
        Ok(()) => Stamp::Whole(reader.at),
        Err(End::Input) => Stamp::Partial,
        Err(End::Mismatch) => Stamp::No,
    }
}

enum End {
    Input,
    Mismatch,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn time(&mut self) -> Result<(), End> {
        self.exactly(b"[")?;
        self.many(0, STAMP_FIELD_BYTES_MAX, |b| b == b' ')?;
        self.many(1, STAMP_FIELD_BYTES_MAX, |b| b.is_ascii_digit())?;
        self.exactly(b".")?;
        self.many(6, 6, |b| b.is_ascii_digit())?;
        self.exactly(b"]")
    }

    fn caller(&mut self) -> Result<(), End> {
        self.exactly(b"[")?;
        self.many(0, STAMP_FIELD_BYTES_MAX, |b| b == b' ')?;
        self.many(1, 1, |b| b == b'T' || b == b'C')?;
        self.many(1, STAMP_FIELD_BYTES_MAX, |b| b.is_ascii_digit())?;
        self.exactly(b"]")
    }

    fn peek(&self) -> Result<u8, End> {
        self.bytes.get(self.at).copied().ok_or(End::Input)
    }

    fn exactly(&mut self, text: &[u8]) -> Result<(), End> {
        for want in text {
            if self.peek()? != *want {
                return Err(End::Mismatch);
            }
            self.at += 1;
        }
        Ok(())
    }

    fn many(&mut self, min: usize, max: usize, good: impl Fn(u8) -> bool) -> Result<(), End> {
        let mut count = 0;
        while count < max && good(self.peek()?) {
            self.at += 1;
            count += 1;
        }
        if count < min { Err(End::Mismatch) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// User text, and kernel messages one per entry, at every split.
    #[track_caller]
    fn check(input: &str, user: &str, kernel: &[&str]) {
        for chunk in 1..=input.len() {
            let (mut filter, mut text, mut lines) = (PrintkFilter::default(), Vec::new(), Vec::new());
            for part in input.as_bytes().chunks(chunk) {
                filter.feed(part, &mut |piece| match piece {
                    Piece::User(part) => text.extend_from_slice(part),
                    Piece::Kernel(line) => lines.push(String::from_utf8_lossy(line).into_owned()),
                });
            }
            text.extend_from_slice(filter.held());
            assert_eq!(
                (String::from_utf8_lossy(&text).as_ref(), lines),
                (user, kernel.iter().map(|l| l.to_string()).collect())
            );
        }
    }

    #[test]
    fn a_message_in_the_middle_of_a_line_is_taken_out() {
        check("part[   21.312350] mid 1\r\ndone\r\n", "partdone\r\n", &["[   21.312350] mid 1\r\n"]);
    }

    #[test]
    fn a_caller_id_belongs_to_the_stamp() {
        check(
            "[    1.000001][    T1] a\n[12345.000001][  C12] b\n",
            "",
            &["[    1.000001][    T1] a\n", "[12345.000001][  C12] b\n"],
        );
    }

    #[test]
    fn brackets_that_are_no_stamp_stay() {
        for text in [
            "[ OK ] fine\n",
            "a[1] = [2]\n",
            "[   1.23] short\n",
            "[[    1.00000x]\n",
            "[    1.000000]x\n",
            "[",
            "[   ",
        ] {
            check(text, text, &[]);
        }
        check("[[    1.000000] a\n", "[", &["[    1.000000] a\n"]);
    }

    #[test]
    fn a_stamp_is_bounded() {
        let stamp = |spaces: usize| format!("[{}1.000000] a\n", " ".repeat(spaces));
        assert_eq!(strip(stamp(STAMP_FIELD_BYTES_MAX).as_bytes()), b"");
        let long = stamp(STAMP_FIELD_BYTES_MAX + 1);
        check(&long, &long, &[]);
    }

    #[test]
    fn an_unfinished_message_stays() {
        check("$ [    1.000000] half", "$ [    1.000000] half", &[]);
    }

    #[test]
    fn an_endless_message_is_text() {
        let long = format!("[    1.000000] {}", "x".repeat(PRINTK_LINE_BYTES_MAX));
        assert_eq!(strip(long.as_bytes()), long.as_bytes());
    }

    #[test]
    fn only_the_stamp_is_cut_and_indentation_stays() {
        assert_eq!(unstamp("[    1.887381]     ok 54 test_u8_none"), "    ok 54 test_u8_none");
        assert_eq!(unstamp("ok 1 - [    1.887381] x"), "ok 1 - [    1.887381] x");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn messages_anywhere_leave_the_text_as_it_was(text in "[a-z \\[\\]0-9.]{0,80}", at in 0usize..80) {
            prop_assume!(strip(text.as_bytes()) == text.as_bytes());
            let at = at.min(text.len());
            let cut = format!("{}[   21.312350] mid\r\n{}", &text[..at], &text[at..]);
            prop_assert_eq!(strip(cut.as_bytes()), text.as_bytes());
        }
    }
}
