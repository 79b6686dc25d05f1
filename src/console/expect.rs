//! Waiting for text: a bounded window over the console and several patterns, of which the earliest match wins.
//! No clock in here; the caller says for how long the console has been silent.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use regex::bytes::{Regex, RegexBuilder};

use super::printk;

/// Bytes of the stream that can still match; older ones are forgotten. A lab has hundreds of consoles open at once.
pub const EXPECT_BUFFER_BYTES_MAX: usize = 32 * 1024;
/// Bytes beyond those that gather before they are forgotten together, so that each byte is moved at most twice.
const FORGET_BYTES: usize = EXPECT_BUFFER_BYTES_MAX / 2;
/// Silence after which a prompt at the end of the stream is believed.
pub const PROMPT_SILENCE: Duration = Duration::from_millis(100);
/// Longest piece that is looked at twice because a match may have begun in it.
const OVERLAP_BYTES_MAX: usize = 1024;
/// End of the stream in which a prompt is looked for, before kernel messages are taken out of it.
const PROMPT_WINDOW_BYTES_MAX: usize = 16 * 1024;
/// Largest compiled pattern.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// Compiled patterns that are kept; those of a lab that has more are compiled each time.
const COMPILED_MAX: usize = 256;

/// One thing to wait for.
#[derive(Debug, Clone)]
pub struct Pattern {
    regex: Regex,
    at_end: bool,
}

/// A pattern that is no regular expression, or too large a one.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{pattern:?} is no usable pattern")]
pub struct PatternError {
    /// The pattern as it was written.
    pub pattern: String,
    /// What is wrong with it.
    #[source]
    pub source: regex::Error,
}

/// What matched, and what came before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Which of the patterns.
    pub index: usize,
    /// The stream before the match, as far as the window reaches.
    pub before: Vec<u8>,
    /// The match itself.
    pub matched: Vec<u8>,
}

impl Pattern {
    /// Matches as soon as its text is seen. `^` and `$` stand for the ends of a line.
    pub fn anywhere(pattern: &str) -> Result<Pattern, PatternError> {
        Ok(Pattern { regex: compile(pattern, pattern)?, at_end: false })
    }

    /// Matches at the end of the stream, after [`PROMPT_SILENCE`], with complete kernel messages taken out.
    pub fn prompt(pattern: &str) -> Result<Pattern, PatternError> {
        Ok(Pattern { regex: compile(&format!("(?:{pattern})\\z"), pattern)?, at_end: true })
    }

    /// Whether this prompt stands at the end of `text`.
    pub fn ends(&self, text: &[u8]) -> bool {
        let line = memchr::memrchr(b'\n', text).map_or(0, |at| at + 1);
        let line = line.max(text.len().saturating_sub(OVERLAP_BYTES_MAX));
        self.regex.find_at(text, line).is_some()
    }
}

impl From<Regex> for Pattern {
    /// An already compiled pattern, matched anywhere; `^` and `$` stand for the ends of a line all the same.
    fn from(regex: Regex) -> Pattern {
        Pattern::anywhere(regex.as_str()).unwrap_or(Pattern { regex, at_end: false })
    }
}

/// Patterns by what they were compiled from: the boards of a family await the same text, and sessions that share a
/// pattern share the memory that searching takes.
static COMPILED: LazyLock<Mutex<HashMap<String, Regex>>> = LazyLock::new(Mutex::default);

fn compile(pattern: &str, written: &str) -> Result<Regex, PatternError> {
    // A panic elsewhere leaves the map as good as it was.
    let compiled = || COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(regex) = compiled().get(pattern) {
        return Ok(regex.clone());
    }
    let regex = RegexBuilder::new(pattern)
        .multi_line(true)
        .crlf(true)
        .size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|source| PatternError { pattern: written.to_owned(), source })?;
    let mut compiled = compiled();
    if compiled.len() < COMPILED_MAX {
        compiled.insert(pattern.to_owned(), regex.clone());
    }
    Ok(regex)
}

/// The window over the stream.
#[derive(Default)]
pub struct Expect {
    buffer: Vec<u8>,
    /// How many bytes of the stream came before the buffer.
    base: u64,
    /// End of the stream when something was last sent: a prompt that ends there was answered.
    answered: u64,
}

/// One wait: which patterns, and how far they have been looked for.
pub struct Search<'p> {
    patterns: &'p [Pattern],
    /// Offset in the stream up to which nothing matched.
    seen: u64,
    /// End of the stream when prompts were last looked for.
    prompts_at: Option<u64>,
}

impl<'p> Search<'p> {
    /// A new wait, which begins at the oldest byte of the window.
    pub fn new(patterns: &'p [Pattern]) -> Self {
        Search { patterns, seen: 0, prompts_at: None }
    }
}

impl Expect {
    /// Adds received bytes, without escape sequences.
    pub fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(EXPECT_BUFFER_BYTES_MAX)..];
        let room = EXPECT_BUFFER_BYTES_MAX + FORGET_BYTES;
        if self.buffer.len() + bytes.len() > room {
            let keep = EXPECT_BUFFER_BYTES_MAX - bytes.len();
            self.forget(self.buffer.len().saturating_sub(keep));
        }
        if self.buffer.len() + bytes.len() > self.buffer.capacity() {
            // Grown by half its size, never past the room it may need.
            let grown = (self.buffer.len() * 3 / 2).max(self.buffer.len() + bytes.len()).min(room);
            self.buffer.reserve_exact(grown - self.buffer.len());
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Looks for the earliest match; of two that start together the first pattern's wins. What matched and what
    /// came before it leave the window.
    pub fn poll(&mut self, search: &mut Search<'_>, idle_for: Duration) -> Option<Match> {
        let end = self.base + self.buffer.len() as u64;
        let from = self.resume(search.seen);
        let mut best: Option<(usize, usize, usize)> = None;
        for (index, pattern) in search.patterns.iter().enumerate().filter(|(_, pattern)| !pattern.at_end) {
            let found = if search.seen < end { pattern.regex.find_at(&self.buffer, from) } else { None };
            if let Some(found) = found
                && best.is_none_or(|(start, ..)| found.start() < start)
            {
                best = Some((found.start(), found.end(), index));
            }
        }
        if let Some((start, end, index)) = best {
            return Some(self.take(start, end, index));
        }
        search.seen = end;
        if idle_for < PROMPT_SILENCE || search.prompts_at == Some(end) || self.answered == end {
            return None;
        }
        search.prompts_at = Some(end);
        self.prompt(search.patterns)
    }

    /// Something was sent: a prompt needs new bytes to match.
    pub fn sent(&mut self) {
        self.answered = self.base + self.buffer.len() as u64;
    }

    /// The window's content.
    pub fn window(&self) -> &[u8] {
        &self.buffer
    }

    /// Empties the window: what came so far shall match nothing.
    pub fn clear(&mut self) {
        self.forget(self.buffer.len());
    }

    /// Where the next look begins: at the start of the line that was open, but not far back on an endless line.
    fn resume(&self, seen: u64) -> usize {
        let seen = seen.saturating_sub(self.base) as usize;
        let floor = seen.saturating_sub(OVERLAP_BYTES_MAX);
        memchr::memrchr(b'\n', &self.buffer[floor..seen]).map_or(floor, |at| floor + at + 1)
    }

    fn prompt(&mut self, patterns: &[Pattern]) -> Option<Match> {
        let floor = self.buffer.len().saturating_sub(PROMPT_WINDOW_BYTES_MAX);
        let tail = printk::strip(&self.buffer[floor..]);
        let index = patterns.iter().position(|pattern| pattern.at_end && pattern.ends(&tail))?;
        let line = memchr::memrchr(b'\n', &tail).map_or(0, |at| at + 1);
        let found = patterns[index].regex.find_at(&tail, line).map_or(line, |found| found.start());
        let mut before = self.buffer[..floor].to_vec();
        before.extend_from_slice(&tail[..found]);
        self.clear();
        Some(Match { index, before, matched: tail[found..].to_vec() })
    }

    fn take(&mut self, start: usize, end: usize, index: usize) -> Match {
        let (before, matched) = (self.buffer[..start].to_vec(), self.buffer[start..end].to_vec());
        self.forget(end);
        Match { index, before, matched }
    }

    fn forget(&mut self, count: usize) {
        self.buffer.drain(..count);
        self.base += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Duration = Duration::ZERO;

    fn patterns(anywhere: &[&str], prompts: &[&str]) -> Vec<Pattern> {
        let anywhere = anywhere.iter().map(|p| Pattern::anywhere(p).expect("pattern"));
        anywhere.chain(prompts.iter().map(|p| Pattern::prompt(p).expect("pattern"))).collect()
    }

    /// What matches once `input` has arrived, in pieces of every size, and silence followed.
    #[track_caller]
    fn check(anywhere: &[&str], prompts: &[&str], input: &str, expect: Option<(usize, &str, &str)>) {
        let patterns = patterns(anywhere, prompts);
        for chunk in [1, 2, 3, 5, 1000] {
            let (mut window, mut search, mut got) = (Expect::default(), Search::new(&patterns), None);
            for part in input.as_bytes().chunks(chunk) {
                window.push(part);
                got = got.or_else(|| window.poll(&mut search, NOW));
            }
            got = got.or_else(|| window.poll(&mut search, PROMPT_SILENCE));
            let got = got.map(|m| {
                (m.index, String::from_utf8(m.before).unwrap(), String::from_utf8(m.matched).unwrap())
            });
            assert_eq!(got, expect.map(|(i, b, m)| (i, b.to_owned(), m.to_owned())), "in chunks of {chunk}");
        }
    }

    #[test]
    fn text_matches_as_soon_as_it_is_there() {
        check(
            &["stop autoboot"],
            &[],
            "U-Boot\r\nHit any key to stop autoboot: 2",
            Some((0, "U-Boot\r\nHit any key to ", "stop autoboot")),
        );
    }

    #[test]
    fn the_earliest_match_wins() {
        check(&["bb", "aa"], &[], "xaabb", Some((1, "x", "aa")));
    }

    #[test]
    fn a_caret_means_the_start_of_a_line() {
        check(&["^ok"], &[], "not ok\r\nok 1", Some((0, "not ok\r\n", "ok")));
    }

    #[test]
    fn a_prompt_matches_only_at_the_end() {
        check(&[], &["login: $"], "Last login: Mon\r\n$ ", None);
        check(&[], &["login: $", "[#$] $"], "Last login: Mon\r\n$ ", Some((1, "Last login: Mon\r\n", "$ ")));
        check(&[], &["=> $"], "=> version\r\n\r=> ", Some((0, "=> version\r\n\r", "=> ")));
    }

    #[test]
    fn a_prompt_is_seen_behind_kernel_messages() {
        check(
            &[],
            &["login: $"],
            "board login: [   12.345678] random: crng init done\r\n",
            Some((0, "board ", "login: ")),
        );
    }

    #[test]
    fn a_prompt_is_looked_for_no_farther_back_than_it_may_stand() {
        let noise = |lines: usize| "[   12.345678] xxxxxxxxxxxxxxxxx\r\n".repeat(lines);
        let (patterns, lines) = (patterns(&[], &["login: $"]), PROMPT_WINDOW_BYTES_MAX / noise(1).len());
        for (lines, found) in [(lines - 1, true), (lines + 1, false)] {
            let mut window = Expect::default();
            window.push(format!("login: {}", noise(lines)).as_bytes());
            assert_eq!(window.poll(&mut Search::new(&patterns), PROMPT_SILENCE).is_some(), found);
        }
    }

    #[test]
    fn a_prompt_needs_silence() {
        let patterns = patterns(&[], &["# $"]);
        let (mut window, mut search) = (Expect::default(), Search::new(&patterns));
        window.push(b"# ");
        assert_eq!(window.poll(&mut search, PROMPT_SILENCE - Duration::from_millis(1)), None);
        assert!(window.poll(&mut search, PROMPT_SILENCE).is_some());
        assert_eq!(window.window(), b"");
    }

    #[test]
    fn a_prompt_that_was_answered_does_not_match_again() {
        let patterns = patterns(&[], &["# $"]);
        let mut window = Expect::default();
        window.push(b"# ");
        window.sent();
        assert_eq!(window.poll(&mut Search::new(&patterns), PROMPT_SILENCE), None);
        window.push(b"ls\r\n# ");
        assert!(window.poll(&mut Search::new(&patterns), PROMPT_SILENCE).is_some());
    }

    #[test]
    fn a_second_wait_begins_where_the_first_match_ended() {
        let patterns = patterns(&["a"], &[]);
        let mut window = Expect::default();
        window.push(b"xaya");
        for before in ["x", "y"] {
            let found = window.poll(&mut Search::new(&patterns), NOW).expect("match");
            assert_eq!(found.before, before.as_bytes());
        }
        assert_eq!(window.poll(&mut Search::new(&patterns), NOW), None);
    }

    #[test]
    fn the_window_is_bounded_and_keeps_the_newest() {
        let patterns = patterns(&["needle"], &[]);
        let (mut window, mut search) = (Expect::default(), Search::new(&patterns));
        for _ in 0..100 {
            window.push(&[b'x'; 5000]);
            assert!(window.poll(&mut search, NOW).is_none());
            assert!(window.window().len() <= EXPECT_BUFFER_BYTES_MAX + FORGET_BYTES);
            assert!(window.buffer.capacity() <= EXPECT_BUFFER_BYTES_MAX + FORGET_BYTES);
        }
        window.push(b"nee");
        assert!(window.poll(&mut search, NOW).is_none());
        window.push(b"dle");
        assert!(window.poll(&mut search, NOW).is_some());
        window.push(&vec![b'y'; 10 * EXPECT_BUFFER_BYTES_MAX]);
        assert_eq!(window.window().len(), EXPECT_BUFFER_BYTES_MAX);
    }

    #[test]
    fn no_more_patterns_are_kept_than_may_be() {
        for n in 0..COMPILED_MAX + 10 {
            let (window, pattern) = (format!("number {n}"), Pattern::anywhere(&format!("number {n}$")));
            let (pattern, mut expect) = ([pattern.expect("a pattern")], Expect::default());
            expect.push(window.as_bytes());
            assert!(expect.poll(&mut Search::new(&pattern), NOW).is_some(), "{n}");
        }
        assert!(COMPILED.lock().expect("patterns").len() <= COMPILED_MAX);
    }

    #[test]
    fn a_bad_pattern_is_named() {
        assert_eq!(Pattern::prompt("(").unwrap_err().pattern, "(");
        assert!(Pattern::anywhere("(?:a{1000}){1000}").is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn pieces_find_what_the_whole_holds(noise in "[ab\\r\\n]{0,200}", chunk in 1usize..20) {
            let (input, patterns) = (format!("{noise}needle"), patterns(&["needle"], &[]));
            let (mut window, mut search) = (Expect::default(), Search::new(&patterns));
            let found = input.as_bytes().chunks(chunk).find_map(|part| { window.push(part); window.poll(&mut search, NOW) });
            prop_assert_eq!(found.map(|m| m.before), Some(noise.into_bytes()));
        }
    }
}
