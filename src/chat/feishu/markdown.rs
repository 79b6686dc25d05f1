//! Text in Feishu's markdown (CommonMark without HTML, with tags of its own such as `<at>`): hostile bytes in, markup
//! out that says only what a template meant. Pure.
//!
//! What could begin a format stands as an HTML entity, as Feishu asks for it. In code entities would be shown as they
//! are, so there the two things that could do harm are broken up: a fence's backticks, and the beginning of a tag.

use crate::chat::plain::{clean, cut, one_line};
use crate::chat::{Actor, Platform};
use crate::message::{Span, Text};

/// Keeps two characters apart, and is not seen.
const ZERO_WIDTH: char = '\u{200b}';
/// Most characters of one bold or code span.
const INLINE_CHARS_MAX: usize = 300;
/// Most characters of a link's label.
const LABEL_CHARS_MAX: usize = 60;
/// Longest address of a link; a longer one is not linked.
const URL_BYTES_MAX: usize = 1_500;
/// Longest id that is mentioned.
const USER_ID_BYTES_MAX: usize = 64;

/// Text as markdown of at most `max` characters before escaping; what does not fit ends in `…`.
pub fn text(text: &Text, max: usize) -> String {
    let (mut out, mut left) = (String::new(), max);
    for span in &text.0 {
        if left == 0 {
            out.push('…');
            break;
        }
        self::span(span, &mut left, &mut out);
    }
    out.trim().to_owned()
}

/// One line in bold; empty for an empty one.
pub fn bold(text: &str) -> String {
    let line = cut(&one_line(text), INLINE_CHARS_MAX);
    // A mark with a space beside it is none.
    if line.is_empty() { line } else { format!("**{}**", escape(&line)) }
}

/// Lines in fixed-width type, cleaned already.
pub fn fence(lines: &str) -> String {
    format!("```\n{}\n```", in_code(lines))
}

fn span(span: &Span, left: &mut usize, out: &mut String) {
    match span {
        Span::Plain(words) => {
            let words = clean(words);
            let count = words.chars().count();
            let shown: String = words.chars().take(*left).collect();
            out.push_str(&escape(&shown));
            if count > *left {
                out.push('…');
            }
            *left = left.saturating_sub(count);
        }
        Span::Bold(words) => short(out, left, bold(words)),
        Span::Code(words) => short(out, left, code(words)),
        Span::Link { url, label } => short(out, left, link(url, label)),
        Span::Run(run) => {
            let label = run.label();
            let name = run.url.as_deref().map_or_else(|| escape(&label), |url| link(url, &label));
            short(out, left, if run.strong { format!("**{name}**") } else { name });
        }
        Span::Mention(actor) => short(out, left, mention(actor)),
        Span::Time(at) => short(out, left, escape(&at.to_minute())),
    }
}

fn short(out: &mut String, left: &mut usize, piece: String) {
    *left = left.saturating_sub(piece.chars().count());
    out.push_str(&piece);
}

fn code(words: &str) -> String {
    let line = cut(&one_line(words), INLINE_CHARS_MAX);
    if line.is_empty() { line } else { format!("`{}`", in_code(&line.replace('`', "'"))) }
}

fn link(url: &str, label: &str) -> String {
    let label = escape(&cut(&one_line(label), LABEL_CHARS_MAX));
    let plain = url.len() <= URL_BYTES_MAX
        && (url.starts_with("https://") || url.starts_with("http://"))
        && url.bytes().all(|b| b.is_ascii_graphic() && !b"()<>[]\"'`\\".contains(&b));
    if plain { format!("[{label}]({url})") } else { label }
}

/// A person of this platform as a mention, anybody else by name.
fn mention(actor: &Actor) -> String {
    let id = &actor.id;
    let plain = (1..=USER_ID_BYTES_MAX).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    match actor.platform {
        Platform::Feishu if plain => format!("<at id={id}></at>"),
        _ => escape(&cut(&one_line(actor.shown()), LABEL_CHARS_MAX)),
    }
}

/// Plain words: everything that could begin a format as an entity.
pub fn escape(words: &str) -> String {
    let mut escaped = String::with_capacity(words.len());
    let mut line_begins = true;
    let mut digits = false;
    for c in words.chars() {
        let special = match c {
            '&' | '<' | '>' | '*' | '_' | '~' | '`' | '[' | ']' | '(' | ')' | '#' | '|' | '\\' | '!'
            | '$' => true,
            // Lists and lines across only where a line begins; `1.` and `1)` too.
            '-' | '+' | '=' => line_begins,
            '.' => digits,
            _ => false,
        };
        match special {
            true => escaped.push_str(&format!("&#{};", u32::from(c))),
            false => escaped.push(c),
        }
        digits = c.is_ascii_digit() && (line_begins || digits);
        line_begins = c == '\n' || (line_begins && (c == ' ' || c == '\t'));
    }
    escaped
}

/// Words for code: nothing in them ends it or begins a tag.
fn in_code(words: &str) -> String {
    let apart = words.replace("``", &format!("`{ZERO_WIDTH}`"));
    let mut out = String::with_capacity(apart.len());
    let mut chars = apart.chars().peekable();
    while let Some(c) = chars.next() {
        out.push(c);
        if c == '<' && chars.peek().is_some_and(|next| next.is_ascii_alphabetic() || *next == '/') {
            out.push(ZERO_WIDTH);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    #[track_caller]
    fn check(spans: Vec<Span>, expect: &str) {
        assert_eq!(text(&Text(spans), 1_000), expect);
    }

    fn person(platform: Platform, id: &str) -> Actor {
        Actor { platform, id: id.into(), team: String::new(), name: "Li".into() }
    }

    #[test]
    fn hostile_words_mean_nothing() {
        check(
            vec![Span::Plain("<at id=all></at> **b** [x](http://e) # `c` | a_b ~s~".into())],
            "&#60;at id=all&#62;&#60;/at&#62; &#42;&#42;b&#42;&#42; &#91;x&#93;&#40;http://e&#41; &#35; \
             &#96;c&#96; &#124; a&#95;b &#126;s&#126;",
        );
        check(vec![Span::Plain("- a\n+ b\n12. c\nv1.2 - d".into())], "&#45; a\n&#43; b\n12&#46; c\nv1.2 - d");
        check(vec![Span::Plain("\u{1b}[31mred\u{1b}[0m\u{202e}".into())], "red");
    }

    #[test]
    fn code_cannot_be_left_and_holds_no_tag() {
        check(vec![Span::Code("a`b<at id=all></at>".into())], "`a'b<\u{200b}at id=all><\u{200b}/at>`");
        assert_eq!(fence("```\n<at id=all>\na < b"), "```\n`\u{200b}``\n<\u{200b}at id=all>\na < b\n```");
    }

    #[test]
    fn spans_are_what_they_mean() {
        check(
            vec![
                Span::Bold("#42".into()),
                Span::Plain(" by ".into()),
                Span::Mention(person(Platform::Feishu, "ou_1")),
                Span::Plain(", ".into()),
                Span::Mention(person(Platform::Slack, "U1")),
                Span::Plain(" ".into()),
                Span::Link { url: "https://lab/runs/42".into(), label: "log".into() },
                Span::Plain(" ".into()),
                Span::Time(Timestamp::from_micros(1_800_000_000_000_000)),
            ],
            "**&#35;42** by <at id=ou_1></at>, Li [log](https://lab/runs/42) 2027-01-15 08:00 UTC",
        );
        check(vec![Span::Link { url: "javascript:x".into(), label: "log".into() }], "log");
        check(vec![Span::Mention(person(Platform::Feishu, "all></at>"))], "Li");
    }

    #[test]
    fn what_is_too_long_ends_in_an_ellipsis() {
        let long = Text(vec![Span::Plain("x".repeat(20)), Span::Plain("y".into())]);
        assert_eq!(text(&long, 10), format!("{}……", "x".repeat(10)));
    }
}
