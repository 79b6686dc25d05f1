//! Which part of a file a client asks for (RFC 9110, section 14). Pure; several parts at once are not given, the whole
//! file is then, as the RFC allows.

use std::ops::Range;

/// What is given of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// These bytes, at least one.
    Bytes(Range<u64>),
    /// Nothing: the file has no such bytes.
    OutOfRange,
}

/// Reads a `Range` header for a file of `bytes` bytes. What it cannot be read as counts as no header.
pub(super) fn part(header: Option<&str>, bytes: u64) -> Part {
    let Some(spec) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else {
        return Part::Whole;
    };
    let Some((first, last)) = spec.split_once('-') else { return Part::Whole };
    let (first, last) = (number(first), number(last));
    let range = match (first, last) {
        (Some(Some(first)), Some(None)) => first..bytes,
        (Some(Some(first)), Some(Some(last))) if first <= last => first..last.saturating_add(1).min(bytes),
        (Some(None), Some(Some(count))) => bytes.saturating_sub(count)..bytes,
        _ => return Part::Whole,
    };
    if range.is_empty() { Part::OutOfRange } else { Part::Bytes(range) }
}

/// A number or nothing; `None` for anything else.
fn number(text: &str) -> Option<Option<u64>> {
    match text.trim() {
        "" => Some(None),
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok().map(Some),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_the_bytes_that_it_asks_for() {
        let check = |header: &str, expect: Part| assert_eq!(part(Some(header), 10), expect, "{header}");
        check("bytes=0-3", Part::Bytes(0..4));
        check("bytes=4-", Part::Bytes(4..10));
        check("bytes=9-9", Part::Bytes(9..10));
        check("bytes=4-100", Part::Bytes(4..10));
        check("bytes=0-18446744073709551615", Part::Bytes(0..10));
        check("bytes=-3", Part::Bytes(7..10));
        check("bytes=-30", Part::Bytes(0..10));
        check("bytes=10-", Part::OutOfRange);
        check("bytes=-0", Part::OutOfRange);
        for whole in
            ["", "bytes=", "bytes=-", "bytes=3-1", "bytes=0-1,4-5", "lines=0-1", "bytes=a-", "bytes=+1-2"]
        {
            check(whole, Part::Whole);
        }
        assert_eq!(part(None, 10), Part::Whole);
        assert_eq!(part(Some("bytes=0-"), 0), Part::OutOfRange);
    }
}
