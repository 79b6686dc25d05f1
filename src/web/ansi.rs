//! Colours of a console: which parts of a raw line were meant to look how. Pure. Only colours and weight are read; whatever
//! else an escape sequence asks for is left out, and a line that moves its cursor is not coloured at all.

/// Most pieces of one line that look different; the rest of the line looks as its end did.
pub(super) const PIECES_MAX: usize = 200;
/// Longest control sequence that is read.
const SEQUENCE_BYTES_MAX: usize = 64;

/// How text looks: indexes into the sixteen colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) fore: Option<u8>,
    pub(super) back: Option<u8>,
    pub(super) bold: bool,
}

impl Look {
    /// Classes of the style sheet; empty for plain text.
    pub(super) fn classes(self) -> String {
        let parts = [
            self.fore.map(|colour| format!("f{colour}")),
            self.back.map(|colour| format!("g{colour}")),
            self.bold.then(|| "bold".to_owned()),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// Takes the numbers of one `m` sequence.
    fn apply(&mut self, numbers: &str) {
        let mut codes = numbers.split([';', ':']).map(|n| n.parse::<u16>().unwrap_or(0));
        while let Some(code) = codes.next() {
            match code {
                0 => *self = Look::default(),
                1 => self.bold = true,
                22 => self.bold = false,
                30..=37 => self.fore = u8::try_from(code - 30).ok(),
                90..=97 => self.fore = u8::try_from(code - 82).ok(),
                40..=47 => self.back = u8::try_from(code - 40).ok(),
                100..=107 => self.back = u8::try_from(code - 92).ok(),
                39 => self.fore = None,
                49 => self.back = None,
                38 | 48 => {
                    let colour = match codes.next() {
                        Some(5) => codes.next().and_then(|n| u8::try_from(n).ok()).filter(|n| *n < 16),
                        Some(2) => codes.nth(2).and(None),
                        _ => None,
                    };
                    if code == 38 { self.fore = colour } else { self.back = colour }
                }
                _ => {}
            }
        }
    }
}

/// A line without its newline, as text in pieces that look alike. `look` is how the line before ended, and then how this
/// one does. `None` where the line does more than to print.
pub(super) fn pieces(line: &[u8], look: &mut Look) -> Option<Vec<(Look, String)>> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut pieces: Vec<(Look, Vec<u8>)> = Vec::new();
    let mut rest = line;
    while let Some((&byte, after)) = rest.split_first() {
        match (byte, after.first()) {
            (0x1b, Some(b'[')) => {
                let body = &after[1..after.len().min(SEQUENCE_BYTES_MAX)];
                let end = body.iter().position(|b| (0x40..=0x7e).contains(b))?;
                let numbers = std::str::from_utf8(&body[..end]).ok()?;
                if body[end] != b'm' {
                    return None;
                }
                look.apply(numbers);
                rest = &after[end + 2..];
                continue;
            }
            (b'\t' | 0x20..=0x7e | 0x80.., _) => {}
            _ => return None,
        }
        let full = pieces.len() >= PIECES_MAX;
        match pieces.last_mut() {
            Some((last, text)) if *last == *look => text.push(byte),
            _ if full => return None,
            _ => pieces.push((*look, vec![byte])),
        }
        rest = after;
    }
    // A character of several bytes whose look changes within it is none.
    pieces.into_iter().map(|(look, bytes)| Some((look, String::from_utf8(bytes).ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expect: Option<&[(&str, &str)]>) {
        let pieces = pieces(line.as_bytes(), &mut Look::default());
        let pieces =
            pieces.map(|p| p.into_iter().map(|(look, text)| (look.classes(), text)).collect::<Vec<_>>());
        let expect =
            expect.map(|e| e.iter().map(|(c, t)| ((*c).to_owned(), (*t).to_owned())).collect::<Vec<_>>());
        assert_eq!(pieces, expect, "{line:?}");
    }

    #[test]
    fn colours_and_weight_are_read_and_nothing_else() {
        check("plain\r", Some(&[("", "plain")]));
        check("\x1b[32m[  OK  ]\x1b[0m Started", Some(&[("f2", "[  OK  ]"), ("", " Started")]));
        check("\x1b[1;31;103mred", Some(&[("f1 g11 bold", "red")]));
        check("\x1b[38;5;9ma\x1b[38;5;200mb\x1b[38;2;1;2;31mc", Some(&[("f9", "a"), ("", "bc")]));
        check("\x1b[mä\x1b[7mö", Some(&[("", "äö")]));
        check("", Some(&[]));
    }

    #[test]
    fn a_line_that_moves_its_cursor_or_is_cut_is_not_coloured() {
        for line in ["a\rb", "a\u{8}b", "\x1b[2Ja", "\x1b[31", "\x1b]0;title\x07", "\x1b", "\x1bc", "a\0"] {
            check(line, None);
        }
        assert_eq!(pieces(b"\xc3\x1b[1m\xa4", &mut Look::default()), None);
        assert_eq!(pieces(b"\xff", &mut Look::default()), None);
        check(&format!("\x1b[{}m", "1;".repeat(SEQUENCE_BYTES_MAX)), None);
    }

    #[test]
    fn pieces_have_a_bound_and_a_look_goes_on_with_the_next_line() {
        let lines = |n: usize| (0..n).map(|i| format!("\x1b[3{}mx", i % 2)).collect::<String>();
        assert_eq!(
            pieces(lines(PIECES_MAX).as_bytes(), &mut Look::default()).map(|p| p.len()),
            Some(PIECES_MAX)
        );
        assert_eq!(pieces(lines(PIECES_MAX + 1).as_bytes(), &mut Look::default()), None);
        let mut look = Look::default();
        assert!(pieces(b"\x1b[31m", &mut look).is_some_and(|p| p.is_empty()));
        assert_eq!(pieces(b"still red", &mut look).map(|p| p[0].0.classes()), Some("f1".to_owned()));
    }
}
