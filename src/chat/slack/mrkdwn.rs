//! Text in Slack's mrkdwn: hostile bytes in, markup out that says only what a template meant. Pure.
//!
//! Slack parses `&`, `<` and `>` and has entities for them; it also parses `*`, `_`, `~` and backticks and has no
//! escape for those, so a zero-width space is put beside one that could begin a format. Lengths are counted in UTF-16
//! units: never fewer than characters, whichever of the two Slack counts.

use crate::chat::plain::{clean, cut, one_line, units, unwanted};
use crate::chat::{Actor, Platform};
use crate::clock::Timestamp;
use crate::message::{Span, Text};

/// Keeps a character from being read as markup, and is not seen.
const ZERO_WIDTH: char = '\u{200b}';
/// Most characters of one bold or code span, before escaping.
const INLINE_CHARS_MAX: usize = 300;
/// Most characters of a link's label, before escaping.
const LABEL_CHARS_MAX: usize = 60;
/// Longest address of a link, after escaping; a longer one is not linked.
const URL_UNITS_MAX: usize = 1_500;
/// Longest user id that is mentioned.
const USER_ID_BYTES_MAX: usize = 40;

/// `text` with Slack's three entities.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A bold label; empty for an empty one.
pub fn bold(text: &str) -> String {
    let mut pieces = Pieces::default();
    let mut out = String::new();
    pieces.span(&Span::Bold(text.to_owned()), &mut |piece| out.push_str(piece));
    out
}

/// Text as mrkdwn of at most `max` units; what does not fit ends in `…`.
pub fn line(text: &Text, max: usize) -> String {
    let (mut chunks, dropped) = chunks(text, max.saturating_sub(2), 1);
    let mut first = chunks.pop().unwrap_or_default();
    if dropped.is_some() {
        first.push_str(" …");
    }
    first
}

/// Text as at most `count` pieces of mrkdwn of at most `max` units each, none of them empty, and how many lines did
/// not fit. Markup is never cut through; pieces end at the end of a line where they can.
pub fn chunks(text: &Text, max: usize, count: usize) -> (Vec<String>, Option<usize>) {
    let mut chunker = Chunker { max, count, ..Chunker::default() };
    let mut pieces = Pieces::default();
    for span in &text.0 {
        pieces.span(span, &mut |piece| chunker.push(piece));
    }
    chunker.finish()
}

// ---- pieces: what must not be cut through -----------------------------------------------------------------

/// Turns spans into pieces, and remembers what stands before the next one.
#[derive(Default)]
struct Pieces {
    /// The last visible character.
    last: Option<char>,
    /// Whether it closed a bold or code span.
    closed: bool,
}

impl Pieces {
    fn span(&mut self, span: &Span, out: &mut impl FnMut(&str)) {
        match span {
            Span::Plain(text) => self.plain(&clean(text), out),
            Span::Bold(text) => self.wrapped('*', '∗', text, out),
            Span::Code(text) => self.wrapped('`', 'ˋ', text, out),
            Span::Link { url, label } => match link(url, label) {
                Some(link) => self.whole(&link, out),
                None => self.plain(&clean(label), out),
            },
            Span::Run(run) => match run.url.as_deref().and_then(|url| link(url, &run.label())) {
                Some(link) if run.strong => self.stressed(&link, out),
                Some(link) => self.whole(&link, out),
                None if run.strong => self.wrapped('*', '∗', &run.label(), out),
                None => self.plain(&run.label(), out),
            },
            Span::Mention(actor) => match mention(actor) {
                Some(mention) => self.whole(&mention, out),
                None => self.plain(&one_line(&name(actor)), out),
            },
            Span::Time(at) => self.whole(&time(*at), out),
        }
    }

    fn plain(&mut self, text: &str, out: &mut impl FnMut(&str)) {
        let mut chars = text.chars().peekable();
        let mut buffer = String::new();
        while let Some(c) = chars.next() {
            buffer.clear();
            let before = self.last;
            let word_before = before.is_some_and(char::is_alphanumeric);
            if self.closed && (c.is_alphanumeric() || is_marker(c)) {
                buffer.push(ZERO_WIDTH);
            }
            match c {
                '&' => buffer.push_str("&amp;"),
                '<' => buffer.push_str("&lt;"),
                // At the beginning of a line it would make a quotation, even as an entity.
                '>' if before.is_none_or(|b| b == '\n') => buffer.push_str("\u{200b}&gt;"),
                '>' => buffer.push_str("&gt;"),
                '\t' => buffer.push_str("    "),
                '`' => buffer.push_str("\u{200b}`\u{200b}"),
                '*' | '_' | '~' if !word_before && chars.peek().is_some_and(|n| !n.is_whitespace()) => {
                    buffer.extend([ZERO_WIDTH, c, ZERO_WIDTH]);
                }
                c => buffer.push(c),
            }
            self.last = Some(c);
            self.closed = false;
            out(&buffer);
        }
    }

    /// A bold or code span. It cannot hold its own marker, which `instead` looks like, nor a newline.
    fn wrapped(&mut self, marker: char, instead: char, text: &str, out: &mut impl FnMut(&str)) {
        let text = cut(&one_line(text), INLINE_CHARS_MAX).replace(marker, &instead.to_string());
        if text.is_empty() {
            return;
        }
        let mut whole = String::new();
        if self.closed || self.last.is_some_and(|c| c.is_alphanumeric() || is_marker(c)) {
            whole.push(ZERO_WIDTH);
        }
        whole.push(marker);
        if marker == '`' {
            whole.push_str(&escape(&text));
        } else {
            Pieces { last: Some(' '), closed: false }.plain(&text, &mut |piece| whole.push_str(piece));
        }
        whole.push(marker);
        out(&whole);
        self.last = Some(marker);
        self.closed = true;
    }

    /// A link in bold.
    fn stressed(&mut self, link: &str, out: &mut impl FnMut(&str)) {
        let apart = self.closed || self.last.is_some_and(|c| c.is_alphanumeric() || is_marker(c));
        let before = if apart { "\u{200b}" } else { "" };
        out(&format!("{before}*{link}*"));
        self.last = Some('*');
        self.closed = true;
    }

    fn whole(&mut self, markup: &str, out: &mut impl FnMut(&str)) {
        out(markup);
        self.last = Some('>');
        self.closed = false;
    }
}

fn is_marker(c: char) -> bool {
    matches!(c, '*' | '_' | '~' | '`')
}

/// `<url|label>`, for http and https only.
fn link(url: &str, label: &str) -> Option<String> {
    let web = ["https://", "http://"].iter().any(|scheme| {
        url.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme)) && url.len() > scheme.len()
    });
    if !web || url.chars().any(|c| c.is_whitespace() || c.is_control() || unwanted(c)) {
        return None;
    }
    let url = url.replace('&', "&amp;").replace('<', "%3C").replace('>', "%3E").replace('|', "%7C");
    let label = escape(&cut(&one_line(label), LABEL_CHARS_MAX));
    if units(&url) > URL_UNITS_MAX {
        return None;
    }
    Some(if label.is_empty() { format!("<{url}>") } else { format!("<{url}|{label}>") })
}

fn mention(actor: &Actor) -> Option<String> {
    let id = &actor.id;
    let plain = (1..=USER_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
    (actor.platform == Platform::Slack && plain).then(|| format!("<@{id}>"))
}

fn name(actor: &Actor) -> String {
    let name = if actor.name.is_empty() { actor.key() } else { actor.name.clone() };
    cut(&name, LABEL_CHARS_MAX)
}

/// The instant in the reader's time zone; in UTC where Slack cannot show it.
fn time(at: Timestamp) -> String {
    let rfc3339 = at.rfc3339();
    let minutes = rfc3339.get(..16).unwrap_or(&rfc3339).replace('T', " ");
    match at.as_secs() {
        secs @ 1..=253_402_300_799 => format!("<!date^{secs}^{{date_short_pretty}} {{time}}|{minutes} UTC>"),
        _ => format!("{minutes} UTC"),
    }
}

// ---- chunks -----------------------------------------------------------------------------------------------

#[derive(Default)]
struct Chunker {
    max: usize,
    count: usize,
    done: Vec<String>,
    current: String,
    length: usize,
    /// Where the last line of `current` begins.
    line_start: usize,
    /// Lines that did not fit, once nothing fits any more.
    dropped: Option<usize>,
    /// Whether the last piece that did not fit was a newline.
    line_ended: bool,
}

impl Chunker {
    fn push(&mut self, piece: &str) {
        if let Some(lines) = &mut self.dropped {
            // A newline begins a line only when something follows it.
            *lines += usize::from(self.line_ended && piece != "\n");
            self.line_ended = piece == "\n";
            return;
        }
        // Markup is short by its own limits; a budget even smaller than one of them shows that something was there.
        let piece = if units(piece) > self.max { "…" } else { piece };
        // Twice where the line that is carried over fills a chunk by itself.
        while self.length > 0 && self.length + units(piece) > self.max {
            self.turn(piece);
            if self.dropped.is_some() {
                return;
            }
        }
        self.current.push_str(piece);
        self.length += units(piece);
        if piece == "\n" {
            self.line_start = self.current.len();
        }
    }

    /// Ends the current chunk, at the end of a line where it has one.
    fn turn(&mut self, next: &str) {
        let carried = match self.line_start {
            0 => String::new(),
            at => self.current.split_off(at),
        };
        self.keep();
        self.length = units(&carried);
        self.line_start = 0;
        if self.done.len() >= self.count {
            self.line_ended = next == "\n";
            self.dropped = Some(usize::from(!carried.is_empty() || !self.line_ended));
        } else {
            self.current = carried;
        }
    }

    fn keep(&mut self) {
        let chunk = std::mem::take(&mut self.current);
        let chunk = chunk.trim_matches('\n').trim_end();
        if chunk.chars().any(|c| !c.is_whitespace() && c != ZERO_WIDTH) {
            self.done.push(chunk.to_owned());
        }
    }

    fn finish(mut self) -> (Vec<String>, Option<usize>) {
        if self.dropped.is_none() {
            self.keep();
        }
        (self.done, self.dropped.filter(|lines| *lines > 0))
    }
}

#[cfg(test)]
mod tests;
