//! Typed access to nodes: each getter gives the value or reports why there is none. Pure.
//!
//! Messages repeat what the file says, never what a variable holds: a variable may be a password.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::Map;

use super::problem::{Mark, Problem, Problems, listed};
use super::tree::{self, Key, Node, Style, Value};
use super::twins::Spellings;
use crate::board::near::nearest;
use crate::board::{NAME_BYTES_MAX, is_name, shown};
use crate::chat::Platform;
use crate::clock::shown_duration;

/// Longest duration of a lab file.
pub const DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a simulation has for a variable that is not set.
const STAND_IN: &str = "simulated";

/// Most `${NAME}` in one value.
const VARIABLES_MAX: usize = 16;

/// Whether `${NAME}` is replaced by the variable's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Env {
    /// Here and now.
    Expand,
    /// Later, on the worker of a remote site.
    Keep,
}

/// What the parts of the reader share: the file's text, the environment, and the problems found.
pub(super) struct Reader<'a> {
    pub(super) problems: Problems,
    env: &'a dyn Fn(&str) -> Option<String>,
    lines: Vec<&'a str>,
    /// For variables that are not set: in a simulation nothing needs what they hold. With those that were told.
    stand_in: Option<HashSet<String>>,
    /// Whether a server sent it to a worker, without what that server switches itself.
    pub(super) is_sent: bool,
    /// The chat platforms that are connected, where that is known.
    pub(super) connected: Option<&'a [Platform]>,
    /// Regular expressions of power switches: compiled once for all boards that share them.
    regexes: HashMap<String, regex::Regex>,
}

/// A mapping whose keys were checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'n> {
    pub(super) at: Mark,
    entries: &'n [(Key, Node)],
}

impl<'n> Fields<'n> {
    /// The value of a key; `None` when it is not there or says nothing.
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        let entry = self.entries.iter().find(|(k, _)| k.text == key)?;
        Some(&entry.1).filter(|node| !matches!(node.value, Value::Null))
    }

    /// Whether the key is there, even if it says nothing.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(k, _)| k.text == key)
    }

    /// Every entry, in the order of the file, without repeated keys.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'n Key, &'n Node)> {
        let mut seen = HashSet::new();
        self.entries
            .iter()
            .filter(move |(key, _)| seen.insert(key.text.as_str()))
            .map(|(key, node)| (key, node))
    }
}

/// Reads what a program says in the words of one section of the file: what was read, or everything that is wrong, as one text.
/// No variable is looked up. `named` says whether it may be called what it is called.
pub(super) fn of_document<T>(
    document: &Map<String, serde_json::Value>,
    (what, keys): (&str, &[&str]),
    named: impl FnOnce(&mut Reader<'_>) -> bool,
    read: fn(&mut Reader<'_>, &Fields<'_>) -> Option<T>,
) -> Result<T, String> {
    // JSON is YAML.
    let text = serde_json::Value::from(document.clone()).to_string();
    let mut reader = Reader::new("", &text, &|_| None);
    let mut found = None;
    if named(&mut reader)
        && let Some(root) = tree::read(&text, &mut reader.problems)
        && let Some(fields) = reader.fields(&root, what, keys)
    {
        found = read(&mut reader, &fields);
    }
    let said = |problem: &Problem| {
        let suggestion = problem.suggestion.as_ref().map(|suggestion| format!("; {suggestion}"));
        problem.message.clone() + &suggestion.unwrap_or_default()
    };
    let problems = reader.problems.finish();
    let problems: Vec<String> = problems.iter().filter(|problem| problem.is_error()).map(said).collect();
    found.filter(|_| problems.is_empty()).ok_or_else(|| problems.join("; "))
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &str, text: &'a str, env: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Reader {
            problems: Problems::new(source),
            env,
            lines: text.lines().collect(),
            stand_in: None,
            is_sent: false,
            connected: None,
            regexes: HashMap::new(),
        }
    }

    /// Knows which chat platforms are connected.
    pub(super) fn where_only(self, connected: &'a [Platform]) -> Self {
        Reader { connected: Some(connected), ..self }
    }

    /// Reads on where a variable is not set, with a word of our own in its place.
    pub(super) fn standing_in(self) -> Self {
        Reader { stand_in: Some(HashSet::new()), ..self }
    }

    /// Whether it does without what is not set.
    pub(super) fn stands_in(&self) -> bool {
        self.stand_in.is_some()
    }

    /// A mapping with names of the file's own as keys, such as `plans:`.
    pub(super) fn mapping<'n>(&mut self, node: &'n Node, what: &str) -> Option<Fields<'n>> {
        let Value::Map(entries) = &node.value else {
            self.problems.error(node.at, format!("{what} must be a mapping, not {}", node.kind()));
            return None;
        };
        let mut first: HashMap<&str, Mark> = Default::default();
        for (key, _) in entries {
            match first.get(key.text.as_str()) {
                Some(mark) => {
                    let message =
                        format!("duplicate key {}; the first is on line {}", shown(&key.text), mark.line);
                    self.problems.error(key.at, message);
                }
                None => drop(first.insert(&key.text, key.at)),
            }
        }
        Some(Fields { at: node.at, entries })
    }

    /// A mapping with names that people type, of which one is one however it is written.
    pub(super) fn named<'n>(&mut self, node: &'n Node, what: &str) -> Option<Fields<'n>> {
        let fields = self.mapping(node, what)?;
        let mut spellings = Spellings::default();
        for (key, _) in fields.entries() {
            spellings.meet(what, &key.text, key.at, &mut self.problems);
        }
        Some(fields)
    }

    /// A mapping whose keys are all known.
    pub(super) fn fields<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> Option<Fields<'n>> {
        let fields = self.mapping(node, what)?;
        self.only_known(&fields, what, known);
        Some(fields)
    }

    /// Reports every key that is not known.
    pub(super) fn only_known(&mut self, fields: &Fields<'_>, what: &str, known: &[&str]) {
        for (key, _) in fields.entries().filter(|(key, _)| !known.contains(&key.text.as_str())) {
            let near = nearest(&key.text, known.iter().copied());
            let suggestion = match near {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("known keys are {}", known.join(", ")),
            };
            let message = format!("unknown key {} in {what}", shown(&key.text));
            self.problems.error_with(key.at, message, Some(suggestion));
        }
    }

    /// The value of a key that must be there.
    pub(super) fn required<'n>(&mut self, fields: &Fields<'n>, what: &str, key: &str) -> Option<&'n Node> {
        let node = fields.get(key);
        if node.is_none() {
            self.problems.error(fields.at, format!("missing key \"{key}\" in {what}"));
        }
        node
    }

    pub(super) fn list<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [Node]> {
        match &node.value {
            Value::List(items) => Some(items),
            _ => {
                self.problems.error(node.at, format!("{what} must be a list, not {}", node.kind()));
                None
            }
        }
    }

    /// Text exactly as the file has it. A number is text as well: `pdu_outlet: 1`.
    pub(super) fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        match &node.value {
            Value::Scalar { text, .. } => Some(text),
            _ => {
                self.problems.error(node.at, format!("{what} must be text, not {}", node.kind()));
                None
            }
        }
    }

    /// Text with every `${NAME}` replaced.
    pub(super) fn expanded(&mut self, node: &Node, what: &str, env: Env) -> Option<String> {
        let text = self.text(node, what)?;
        match env {
            Env::Keep => Some(text.to_owned()),
            Env::Expand => self.expand(node, text),
        }
    }

    /// Replaces `${NAME}` by the variable and `${NAME:-default}` by the default where it is unset or empty; `$${`
    /// stands for `${`.
    fn expand(&mut self, node: &Node, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut rest = text;
        let mut complete = true;
        for _ in 0..VARIABLES_MAX {
            let Some(at) = rest.find("${") else { break };
            let (before, variable) = rest.split_at(at);
            if let Some(escaped) = before.strip_suffix('$') {
                out.push_str(escaped);
                out.push_str("${");
                rest = &variable[2..];
                continue;
            }
            out.push_str(before);
            let mark = self.inside(node, text.len() - variable.len());
            let Some((inner, after)) = variable[2..].split_once('}') else {
                self.problems.error(mark, "`${` has no `}`");
                return None;
            };
            match self.variable(inner, mark) {
                Some(value) => out.push_str(&value),
                None => complete = false,
            }
            rest = after;
        }
        if rest.contains("${") {
            self.problems.error(node.at, format!("more than {VARIABLES_MAX} variables in one value"));
            return None;
        }
        out.push_str(rest);
        complete.then_some(out)
    }

    fn variable(&mut self, inner: &str, mark: Mark) -> Option<String> {
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(is_word) {
            let message = format!("{} is no name of a variable", shown(name));
            self.problems.error_with(mark, message, Some("write ${NAME} or ${NAME:-default}".into()));
            return None;
        }
        let set = (self.env)(name);
        match (set, default) {
            (Some(value), None) => Some(value),
            (Some(value), Some(_)) if !value.is_empty() => Some(value),
            (_, Some(default)) => Some(default.to_owned()),
            (None, None) if self.stand_in.is_some() => {
                if self.stand_in.as_mut().is_some_and(|told| told.insert(name.to_owned())) {
                    let message = format!("the variable {name} is not set; the simulation does without");
                    self.problems.warning(mark, message, None);
                }
                Some(STAND_IN.to_owned())
            }
            (None, None) => {
                let suggestion = Some(format!("set it, or give a default: ${{{name}:-…}}"));
                self.problems.error_with(mark, format!("the variable {name} is not set"), suggestion);
                None
            }
        }
    }

    /// A name that stands without quoting: see [`is_name`].
    pub(super) fn name<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        let text = self.text(node, what)?;
        self.is_name(text, node.at, what).then_some(text)
    }

    /// Reports a text that is no name.
    pub(super) fn is_name(&mut self, text: &str, at: Mark, what: &str) -> bool {
        let good = is_name(text);
        if !good {
            let rule = format!("1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ - beginning with a letter or digit");
            self.problems.error(at, format!("{what} must be {rule}, not {}", shown(text)));
        }
        good
    }

    /// A whole number within bounds.
    pub(super) fn integer(&mut self, node: &Node, what: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let text = self.expanded(node, what, Env::Expand)?;
        let Ok(number) = text.parse::<i64>() else {
            self.problems.error(node.at, format!("{what} must be a whole number, not {}", node.kind()));
            return None;
        };
        if !range.contains(&number) {
            let (low, high) = range.into_inner();
            let bounds = match (low, high) {
                (low, i64::MAX) => format!("at least {low}"),
                (i64::MIN, high) => format!("at most {high}"),
                (low, high) => format!("between {low} and {high}"),
            };
            self.problems.error(node.at, format!("{what} must be {bounds}, not {number}"));
            return None;
        }
        Some(number)
    }

    pub(super) fn boolean(&mut self, node: &Node, what: &str) -> Option<bool> {
        match self.text(node, what)? {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            other => {
                self.problems.error(node.at, format!("{what} must be true or false, not {}", shown(other)));
                None
            }
        }
    }

    /// A duration of at least `least`.
    pub(super) fn duration(&mut self, node: &Node, what: &str, least: Duration) -> Option<Duration> {
        let text = self.expanded(node, what, Env::Expand)?;
        let Some(duration) = parse_duration(&text) else {
            let message =
                format!("{what} must be a duration such as 5ms, 90s, 20m, 2h or 1h30m, not {}", node.kind());
            let unit = text.parse::<u32>().ok().map(|n| format!("did you mean {n}s?"));
            self.problems.error_with(node.at, message, unit);
            return None;
        };
        if duration > DURATION_MAX || duration < least {
            let message = match duration < least {
                true if text.trim_start_matches('0').starts_with(|c: char| c.is_ascii_digit()) => {
                    format!("{what} must be at least {}, not {}", shown_duration(least), shown(&text))
                }
                true => format!("{what} must be longer than nothing"),
                false => format!("{what} must be at most 7 days, not {}", shown(&text)),
            };
            self.problems.error(node.at, message);
            return None;
        }
        Some(duration)
    }

    /// A regular expression over console output.
    pub(super) fn pattern(&mut self, node: &Node, what: &str) -> Option<regex::bytes::Regex> {
        let text = self.text(node, what)?;
        match regex::bytes::Regex::new(text) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                self.bad_pattern(node, what, &error);
                None
            }
        }
    }

    /// A regular expression over text. Copies of one share what it was compiled to.
    pub(super) fn regex(&mut self, text: &str) -> Result<regex::Regex, regex::Error> {
        if let Some(regex) = self.regexes.get(text) {
            return Ok(regex.clone());
        }
        let regex = regex::Regex::new(text)?;
        self.regexes.insert(text.to_owned(), regex.clone());
        Ok(regex)
    }

    /// Reports a regular expression that does not compile, on one line.
    pub(super) fn bad_pattern(&mut self, node: &Node, what: &str, error: &regex::Error) {
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
        self.problems.error(node.at, format!("{what} is not a regular expression: {reason}"));
    }

    /// One of a few words.
    pub(super) fn one_of<T: Clone>(&mut self, node: &Node, what: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(node, what)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(value.clone());
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let suggestion = match nearest(text, known.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("known are {}", known.join(", ")),
        };
        self.problems.error_with(node.at, format!("unknown {what} {}", shown(text)), Some(suggestion));
        None
    }

    /// Reports a name that should be defined elsewhere in the file.
    pub(super) fn unknown(&mut self, at: Mark, what: &str, name: &str, known: &[&str]) {
        let suggestion = match nearest(name, known.iter().copied()) {
            Some(near) => Some(format!("did you mean \"{near}\"?")),
            None if known.is_empty() => None,
            None => Some(format!("known are {}", listed(known, 8))),
        };
        self.problems.error_with(at, format!("unknown {what} {}", shown(name)), suggestion);
    }

    /// Where byte `offset` of a scalar stands in the file; the scalar itself where that cannot be told.
    pub(super) fn inside(&self, node: &Node, offset: usize) -> Mark {
        self.find_inside(node, offset).unwrap_or(node.at)
    }

    fn find_inside(&self, node: &Node, offset: usize) -> Option<Mark> {
        let Value::Scalar { text, style } = &node.value else {
            return None;
        };
        let before = text.get(..offset)?;
        let (line_number, at_least, piece) = match style {
            Style::Plain | Style::Quoted => {
                let quote = usize::from(*style == Style::Quoted);
                (node.at.line as usize, node.at.column as usize - 1 + quote, before)
            }
            Style::Literal => {
                let down = before.matches('\n').count();
                (node.at.line as usize + down, 0, before.rsplit('\n').next()?)
            }
            Style::Folded => return None,
        };
        let line = self.lines.get(line_number.checked_sub(1)?)?;
        let start = match style {
            Style::Literal => {
                let whole = text.lines().nth(line_number - node.at.line as usize)?;
                line.chars().count().checked_sub(whole.chars().count())?
            }
            _ => at_least,
        };
        let from = line.char_indices().nth(start).map_or(line.len(), |(at, _)| at);
        line[from..].starts_with(piece).then_some(())?;
        let column = start + piece.chars().count() + 1;
        Some(Mark { line: line_number as u32, column: u32::try_from(column).ok()? })
    }
}

/// Reads `90s`, `20m`, `2h`, `5ms`, `1h30m`: numbers with units, larger units first.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 5] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut millis: u64 = 0;
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|n| (1..=9).contains(n))?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (_, factor) = units.by_ref().find(|(unit, _)| *unit == &rest[..letters])?;
        millis = millis.checked_add(number.checked_mul(*factor)?)?;
        rest = &rest[letters..];
    }
    (!text.is_empty()).then(|| Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_numbers_with_units_larger_first() {
        let check = |text: &str, millis: Option<u64>| {
            assert_eq!(parse_duration(text), millis.map(Duration::from_millis), "{text}");
        };
        check("90s", Some(90_000));
        check("20m", Some(1_200_000));
        check("2h", Some(7_200_000));
        check("5ms", Some(5));
        check("1h30m", Some(5_400_000));
        check("1d", Some(86_400_000));
        check("0", Some(0));
        for bad in ["", "10", "s", "1x", "30m1h", "1s1s", "-1s", "1 s", "1.5s", "9999999999s", "1M", "1s\n"] {
            check(bad, None);
        }
    }
}
