//! Plain text, as hostile as it comes, on its way into any platform's markup: what no screen should be told is taken
//! out, lines are made one, lengths are kept. Pure; markup itself is each platform's own.

use std::borrow::Cow;

/// The length that platforms hold against their limits: UTF-16 units, never fewer than characters.
pub fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// `text` without escape sequences of terminals, control characters other than newline and tab, and characters that
/// turn the direction of writing.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(unwanted) {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\u{1b}' => rest = after_escape(rest),
            '\u{9b}' => rest = after_csi(rest),
            c if unwanted(c) => {}
            c => kept.push(c),
        }
    }
    Cow::Owned(kept)
}

/// `text` cleaned, on one line, without spaces around it.
pub fn one_line(text: &str) -> String {
    let mut line = String::new();
    for word in clean(text).split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

/// `text` itself when it is at most `max` units long, otherwise its beginning and `…`.
pub fn cut(text: &str, max: usize) -> String {
    if units(text) <= max {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut length = 1;
    for c in text.chars() {
        length += c.len_utf16();
        if length > max {
            break;
        }
        kept.push(c);
    }
    kept.truncate(kept.trim_end().len());
    if max > 0 {
        kept.push('…');
    }
    kept
}

/// Whether a character is one that no text to people may hold.
pub fn unwanted(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        // Marks, embeddings, overrides and isolates of writing direction; line separators that are no newline.
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        // Spaces that are not seen: ours must be the only ones.
        '\u{200b}' | '\u{2060}' => true,
        // Not characters; a byte-order mark.
        '\u{fdd0}'..='\u{fdef}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => true,
        c => c.is_control(),
    }
}

/// What follows an escape sequence whose ESC is cut off already.
fn after_escape(rest: &str) -> &str {
    match rest.chars().next() {
        Some('[') => after_csi(&rest[1..]),
        // A title or a link of the terminal: up to BEL or the next ESC, within the line.
        Some(']' | 'P' | '^' | '_' | 'X') => {
            let end = rest.find(['\u{7}', '\u{1b}', '\n']).unwrap_or(rest.len());
            rest[end..]
                .strip_prefix('\u{7}')
                .or_else(|| rest[end..].strip_prefix("\u{1b}\\"))
                .unwrap_or(&rest[end..])
        }
        // A character set: ESC ( B
        Some('(' | ')' | '*' | '+' | '#' | ' ') => {
            let mut chars = rest[1..].chars();
            if chars.next().is_some_and(|c| c.is_ascii_graphic()) { chars.as_str() } else { &rest[1..] }
        }
        Some('0'..='~') => &rest[1..],
        _ => rest,
    }
}

/// What follows the parameters and the final character of a control sequence.
fn after_csi(rest: &str) -> &str {
    let parameters = rest.bytes().take_while(|b| (0x20..0x40).contains(b)).count();
    let rest = &rest[parameters..];
    match rest.bytes().next() {
        Some(0x40..=0x7e) => &rest[1..],
        _ => rest,
    }
}
