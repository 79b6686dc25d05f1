//! Words: what a person typed or pasted, cut into words. Stands before [`parse`](super::parse); knows nothing of
//! commands. Chat clients and keyboards turn plain ASCII into look-alikes: here they become ASCII again, outside
//! of quotes. Text inside quotes stays as it was typed.

use super::problem::ParseProblem;

/// Longest text of one command, in characters.
pub const TEXT_CHARS_MAX: usize = 4_000;
/// Most words of one command.
pub const WORDS_MAX: usize = 50;

/// One word, without its quotes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Word {
    /// The whole word.
    pub(super) text: String,
    /// Where in `text` the first `=` outside of quotes stands.
    equals: Option<usize>,
    /// Whether it began with a quote: then it is never an option.
    quoted: bool,
    /// The word with its own punctuation, `风扇坏了，等备件`: for sentences that are kept as somebody wrote them.
    pub(super) said: String,
}

impl Word {
    /// A word that nobody typed: whatever stands in it, it is no option.
    pub(super) fn bare(text: String) -> Word {
        Word { said: text.clone(), text, equals: None, quoted: true }
    }

    /// An option that nobody typed.
    pub(super) fn option(name: &str, value: &str) -> Word {
        let text = format!("{name}={value}");
        Word { said: text.clone(), text, equals: Some(name.len()), quoted: false }
    }

    /// Name and value of `name=value`.
    pub(super) fn pair(&self) -> Option<(&str, &str)> {
        let equals = self.equals.filter(|_| !self.quoted)?;
        Some((&self.text[..equals], &self.text[equals + 1..]))
    }

    /// The word cut in two at a byte of its text.
    pub(super) fn cut(&self, at: usize) -> Option<[Word; 2]> {
        let (first, second) = self.text.split_at_checked(at)?;
        let word = |text: &str| Word { text: text.to_owned(), said: text.to_owned(), ..Word::default() };
        (!self.quoted).then(|| [word(first), word(second)])
    }

    /// The word without its leading dashes, when it has two or more: `--suite`.
    pub(super) fn long_option(&self) -> Option<&str> {
        let bare = self.text.trim_start_matches('-');
        (!self.quoted && self.text.starts_with("--") && !bare.is_empty()).then_some(bare)
    }
}

/// Cuts `text` into words.
pub(super) fn split(text: &str) -> Result<Vec<Word>, ParseProblem> {
    let chars = text.chars().count();
    if chars > TEXT_CHARS_MAX {
        return Err(ParseProblem::TextTooLong { chars, max: TEXT_CHARS_MAX });
    }
    let mut splitter = Splitter::default();
    for c in unwrap_markup(text).chars() {
        splitter.take(c);
    }
    if splitter.quote.is_some() {
        return Err(ParseProblem::OpenQuote);
    }
    splitter.end_word();
    match splitter.words.len() {
        words if words > WORDS_MAX => Err(ParseProblem::TooManyWords { words, max: WORDS_MAX }),
        _ => Ok(splitter.words),
    }
}

#[derive(Default)]
struct Splitter {
    words: Vec<Word>,
    word: Word,
    /// Inside quotes: whether they are double ones.
    quote: Option<bool>,
}

impl Splitter {
    fn take(&mut self, c: char) {
        if is_invisible(c) {
            return;
        }
        match (self.quote, quote_of(c)) {
            (Some(open), Some((double, _))) if open == double => self.quote = None,
            (Some(_), _) => self.push(if c.is_control() { ' ' } else { c }, None),
            (None, Some((double, _))) if self.quote_may_open() => {
                self.quoted_from_start();
                self.quote = Some(double);
            }
            // An apostrophe or an inch mark within a word stands for itself.
            (None, Some((_, ascii))) => self.push(ascii, None),
            (None, None) => self.take_plain(c),
        }
    }

    fn take_plain(&mut self, c: char) {
        match plain(c) {
            ' ' => self.end_word(),
            // Phones and word processors make one dash of `--`.
            '—' | '―' => self.push_dashes("--", c),
            '–' if self.word.text.is_empty() => self.push_dashes("--", c),
            '–' => self.push_dashes("-", c),
            '=' => {
                self.word.equals.get_or_insert(self.word.text.len());
                self.push('=', Some(c));
            }
            ascii => self.push(ascii, Some(c)),
        }
    }

    /// Takes a character, and the full-width one that it was where it was one.
    fn push(&mut self, c: char, was: Option<char>) {
        self.word.text.push(c);
        self.word.said.push(was.filter(|was| "，：；！？（）".contains(*was)).unwrap_or(c));
    }

    fn push_dashes(&mut self, dashes: &str, was: char) {
        self.word.text.push_str(dashes);
        self.word.said.push(was);
    }

    /// A quote opens at the start of a word and of a value: `msg="a b"`, `tag=k:"a b"`.
    fn quote_may_open(&self) -> bool {
        self.word.text.is_empty() || self.word.equals.is_some() && self.word.text.ends_with(['=', ':'])
    }

    fn quoted_from_start(&mut self) {
        self.word.quoted |= self.word.text.is_empty();
    }

    fn end_word(&mut self) {
        let word = std::mem::take(&mut self.word);
        if word.quoted || !word.text.is_empty() {
            self.words.push(word);
        }
    }
}

/// Double or single, and the ASCII quote it stands for.
fn quote_of(c: char) -> Option<(bool, char)> {
    match c {
        '"' | '“' | '”' | '„' | '‟' | '＂' => Some((true, '"')),
        '\'' | '‘' | '’' | '‚' | '‛' | '＇' => Some((false, '\'')),
        _ => None,
    }
}

/// The ASCII character that a look-alike outside of quotes stands for. Long dashes are left to the caller.
fn plain(c: char) -> char {
    match c {
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => ' ',
        '\u{2028}' | '\u{2029}' => ' ',
        '‐' | '‑' | '‒' | '−' | '﹣' => '-',
        '×' => 'x',
        // Full-width forms stand in the order of ASCII.
        '！'..='～' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        c if c.is_control() => ' ',
        c => c,
    }
}

/// Characters without width, and marks of direction: pasted along unseen, and good for disguise only.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

/// Slack's markup as the words a person typed: `<@U1|name>` becomes `@U1`, `<#C1|name>` `#C1`, links their address.
fn unwrap_markup(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('<') {
        plain.push_str(&rest[..open]);
        rest = &rest[open + 1..];
        match rest.find(['<', '>']).filter(|end| rest[*end..].starts_with('>')) {
            Some(close) => {
                plain.push_str(unwrap_one(&rest[..close]));
                rest = &rest[close + 1..];
            }
            None => plain.push('<'),
        }
    }
    plain.push_str(rest);
    plain.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

fn unwrap_one(inner: &str) -> &str {
    let (target, label) = inner.split_once('|').map_or((inner, None), |(t, l)| (t, Some(l)));
    // `#42` in a workspace with a channel called 42 still means the run.
    if let Some(label) = label
        && target.starts_with('#')
        && label.bytes().all(|b| b.is_ascii_digit())
    {
        return label;
    }
    // Only the id of a person or channel counts: a name can be anybody's.
    if target.starts_with(['@', '#', '!']) {
        return target;
    }
    // The label of an auto-link is what was typed; any other label is decoration.
    let bare = |s: &str| {
        let schemes = ["https://", "http://", "mailto:"];
        schemes.iter().find_map(|scheme| s.strip_prefix(scheme)).unwrap_or(s).trim_end_matches('/').to_owned()
    };
    match label {
        Some(label) if bare(label) == bare(target) => label,
        _ => target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        let words = split(text).map(|words| words.into_iter().map(|w| w.text).collect::<Vec<_>>());
        assert_eq!(words, Ok(expect.iter().map(|w| (*w).to_owned()).collect()), "{text}");
    }

    #[test]
    fn words_are_cut_at_any_kind_of_space() {
        check("", &[]);
        check("  run \t socA\nb1 ", &["run", "socA", "b1"]);
        check("run\u{a0}socA\u{3000}b1\u{202f}x", &["run", "socA", "b1", "x"]);
        check("ru\u{200b}n so\u{feff}cA", &["run", "socA"]);
    }

    #[test]
    fn look_alikes_become_ascii() {
        check("suite＝smoke tag＝k：v ＃42 ／lab ｘ３", &["suite=smoke", "tag=k:v", "#42", "/lab", "x3"]);
        check("build–1 –suite —suite a‑b 1−2 ×3", &["build-1", "--suite", "--suite", "a-b", "1-2", "x3"]);
    }

    #[test]
    fn quotes_hold_words_together_and_keep_their_text() {
        check("msg=\"a b\" “c d” 'e f' ‘g h’", &["msg=a b", "c d", "e f", "g h"]);
        check("tag=k:\"a b\" x=\"\" \"\"", &["tag=k:a b", "x=", ""]);
        check("m=\"你好，世界 – ok\"", &["m=你好，世界 – ok"]);
        check("don’t 5\" it's", &["don't", "5\"", "it's"]);
        assert_eq!(split("msg=\"a b"), Err(ParseProblem::OpenQuote));
    }

    #[test]
    fn a_quoted_word_is_never_an_option() {
        let words = split("\"a=b\" a=\"b=c\" \"--x\" --x").expect("four words");
        assert_eq!(words[0].pair(), None);
        assert_eq!(words[1].pair(), Some(("a", "b=c")));
        assert_eq!((words[2].long_option(), words[3].long_option()), (None, Some("x")));
    }

    #[test]
    fn markup_is_unwrapped() {
        check("<@U1|li> <#C1|ci> <!here> <#C2|42>", &["@U1", "#C1", "!here", "42"]);
        check("<http://ci.lab/b|ci.lab/b> <https://ci.lab/x>", &["ci.lab/b", "https://ci.lab/x"]);
        check("<http://evil.example|ci.lab>", &["http://evil.example"]);
        check("<mailto:a@b.c|a@b.c> a &lt; b &amp;lt;", &["a@b.c", "a", "<", "b", "&lt;"]);
        check("a < b <<c", &["a", "<", "b", "<<c"]);
    }

    #[test]
    fn text_and_words_are_bounded() {
        assert!(split(&"x".repeat(TEXT_CHARS_MAX)).is_ok());
        assert!(matches!(split(&"x".repeat(TEXT_CHARS_MAX + 1)), Err(ParseProblem::TextTooLong { .. })));
        assert!(split(&"x ".repeat(WORDS_MAX)).is_ok());
        assert!(matches!(split(&"x ".repeat(WORDS_MAX + 1)), Err(ParseProblem::TooManyWords { .. })));
    }
}
