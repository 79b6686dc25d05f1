//! Hostile bytes as bounded text, and the small pieces that every format's lines are made of: stamps, numbers,
//! times. Shared by the readers; keeps nothing.

/// A line as the readers match it: without its end and without a kernel's stamp. A test may write through
/// `/dev/kmsg`; other kernel lines look like no format.
pub(super) fn plain(line: &[u8]) -> &[u8] {
    cut_stamp(line.trim_ascii_end())
}

/// The line without a kernel's stamp: `[    1.296704] `, `<6>[    1.296704][    T1] `.
pub(super) fn cut_stamp(line: &[u8]) -> &[u8] {
    if !matches!(line.first(), Some(b'[' | b'<')) {
        return line;
    }
    let level = line.strip_prefix(b"<").and_then(|rest| cut_number(rest)?.1.strip_prefix(b">"));
    let Some(mut rest) = cut_bracket(level.unwrap_or(line), |b| b.is_ascii_digit() || b == b'.') else {
        return line;
    };
    if let Some(after) = cut_bracket(rest, |b| b.is_ascii_digit() || b == b'T' || b == b'C') {
        rest = after;
    }
    rest.strip_prefix(b" ").unwrap_or(rest)
}

fn cut_bracket(line: &[u8], inner: impl Fn(u8) -> bool) -> Option<&[u8]> {
    let (_, rest) = cut_spaces(line.strip_prefix(b"[")?);
    let length = rest.iter().take_while(|b| inner(**b)).count();
    if length == 0 { None } else { rest[length..].strip_prefix(b"]") }
}

/// A whole number of at most nine digits, and what follows it.
pub(super) fn cut_number(text: &[u8]) -> Option<(u32, &[u8])> {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    if !(1..=9).contains(&digits) {
        return None;
    }
    let number = text[..digits].iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    Some((number, &text[digits..]))
}

/// How many spaces begin the line, and what follows them.
pub(super) fn cut_spaces(line: &[u8]) -> (usize, &[u8]) {
    let spaces = line.iter().take_while(|b| **b == b' ').count();
    (spaces, &line[spaces..])
}

/// What stands before and after the first `mark`.
pub(super) fn split<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = memchr::memmem::find(text, mark)?;
    Some((&text[..at], &text[at + mark.len()..]))
}

/// What stands before and after the last `mark`.
pub(super) fn split_last<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = memchr::memmem::rfind(text, mark)?;
    Some((&text[..at], &text[at + mark.len()..]))
}

/// The first word, and what follows it without the spaces between.
pub(super) fn cut_word(text: &[u8]) -> (&[u8], &[u8]) {
    let length = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    (&text[..length], text[length..].trim_ascii_start())
}

/// A number with perhaps a sign, a fraction and an exponent, as text of at most 32 bytes: the value as it was said.
pub(super) fn decimal(text: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(text).ok().filter(|text| (1..=32).contains(&text.len()))?;
    let plausible = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    (plausible && text.parse::<f64>().is_ok_and(f64::is_finite)).then_some(text)
}

/// `0.25` seconds, or so many of another unit, in microseconds.
pub(super) fn micros(text: &[u8], per_unit: f64) -> Option<u64> {
    let value: f64 = decimal(text)?.parse().ok()?;
    // `as` stops at the ends of the range.
    (value >= 0.0).then_some((value * per_unit).round() as u64)
}

/// Microseconds of a second.
pub(super) const SECOND: f64 = 1e6;
/// Microseconds of a millisecond.
pub(super) const MILLISECOND: f64 = 1e3;

/// The start of hostile bytes as text: at most `max` bytes, without control characters but newlines; tabs are spaces.
pub(super) fn text(bytes: &[u8], max: usize) -> String {
    let mut text = printable(&bytes[..bytes.len().min(max)]);
    text.truncate(text.floor_char_boundary(max));
    text
}

/// The end of hostile bytes as text, in whole lines where that fits.
pub(super) fn text_end(bytes: &[u8], max: usize) -> String {
    let tail = &bytes[bytes.len().saturating_sub(max)..];
    let cut = if tail.len() < bytes.len() { memchr::memchr(b'\n', tail).map_or(0, |at| at + 1) } else { 0 };
    let text = printable(&tail[cut..]);
    // Bytes that are no UTF-8 grow when they are replaced.
    let start = text.ceil_char_boundary(text.len().saturating_sub(max));
    text[start..].trim_end().to_owned()
}

fn printable(bytes: &[u8]) -> String {
    if bytes.iter().all(|b| (b' '..=b'~').contains(b) || *b == b'\n') {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    String::from_utf8_lossy(bytes).replace('\t', " ").replace(|c: char| c.is_control() && c != '\n', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_kept_as_they_were_said_or_not_at_all() {
        for good in ["1", "-2.50", "1e-3", "+7"] {
            assert_eq!(decimal(good.as_bytes()), Some(good));
        }
        for bad in ["", "inf", "NaN", "1,5", "1.2.3", "1e999", "0x10", "é", &"1".repeat(33)] {
            assert_eq!(decimal(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(micros(b"0.011", SECOND), Some(11_000));
        assert_eq!(micros(b"-1", SECOND), None);
        assert_eq!(micros(b"1e300", SECOND), Some(u64::MAX));
    }
}
