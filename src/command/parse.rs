//! Parse: what a person said, as a [`Command`]. Stands between the platforms' decoders and `policy`; driven by the
//! table in [`grammar`](super::grammar). Never looks a name up and never decides who may.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use super::grammar::{self, Argument, Form, PAUSE_ZH, POWER_ZH, PRIORITY_ZH, Row};
use super::problem::{REPEAT, SHOWN_CHARS_MAX, shown};
use super::words::{self, Word};
use super::{AuditAsked, Command, Compare, RunRef, RunTest, WatchRef, Which};
use crate::board::is_name;
use crate::board::near::nearest;
use crate::board::plan::PowerAction;
use crate::run::{BOARDS_MAX, Priority, REPEAT_MAX};

pub use super::problem::{ParseProblem, Wrong};
pub use super::words::{TEXT_CHARS_MAX, WORDS_MAX};

/// Most lines of a console log that an answer shows.
pub const LOG_LINES_MAX: u32 = 50;
/// Longest value of an argument or option, in bytes.
pub const VALUE_BYTES_MAX: usize = 500;
/// Longest id of a build, in bytes.
pub const BUILD_BYTES_MAX: usize = 200;
/// Longest name of an option or parameter, in bytes.
pub const OPTION_NAME_BYTES_MAX: usize = 64;
/// Shortest and longest time that somebody asks for, to have a board.
pub const HELD_SECS: std::ops::RangeInclusive<u64> = 1..=7 * 24 * 3600;
/// Shortest and longest `timeout=`.
pub const TIMEOUT_SECS: std::ops::RangeInclusive<u64> = 1..=7 * 24 * 3600;

/// Where the text was typed. Everywhere the grammar is the same, but `run socA build-123` starts a run only where
/// there is no `/run-test` at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// A slash command, with its name in front: `/lab why 42`.
    Slash,
    /// A mention, a direct message, Feishu.
    Mention,
}

/// The command that `text` says. `in_thread`: it was said in a run's thread, where `#` may be left out.
pub fn parse(text: &str, in_thread: bool, surface: Surface) -> Result<Command, ParseProblem> {
    let words = apart(words::split(text)?);
    let (row, words) = choose_row(&words, in_thread, surface)?;
    if !row.available {
        return Err(ParseProblem::NotYet { command: row.name() });
    }
    if words.iter().any(|word| word.long_option() == Some("help")) {
        return Ok(Command::Help { topic: Some(row.name().to_owned()) });
    }
    build(&Typed::gather(row, words)?, in_thread)
}

/// In Chinese nobody needs a space: `取消42` and `取消#42` are two words.
fn apart(mut words: Vec<Word>) -> Vec<Word> {
    let is_verb = |word: &Word| !word.text.starts_with('@') && !is_lab(word);
    let Some(at) = words.iter().position(is_verb) else { return words };
    let text = words[at].text.trim_start_matches('/');
    let digits = text.find(|c: char| c == '#' || c.is_ascii_digit()).unwrap_or(text.len());
    let (verb, rest) = text.split_at(digits);
    let chinese = grammar::find(verb).is_some_and(|row| row.zh.contains(&verb));
    if chinese && run_number(rest).is_some() {
        let slashes = words[at].text.len() - text.len();
        if let Some(two) = words[at].cut(slashes + digits) {
            words.splice(at..=at, two);
        }
    }
    words
}

fn is_lab(word: &Word) -> bool {
    word.text.trim_start_matches('/').eq_ignore_ascii_case("lab")
}

/// The run that these words ask for, as they follow `/run-test`.
pub(super) fn run_test(words: &[Word]) -> Result<RunTest, ParseProblem> {
    build_run_test(&Typed::gather(grammar::row(Form::RunTest), words)?)
}

/// The row that the first words name, and the words after them.
fn choose_row(
    all: &[Word],
    in_thread: bool,
    surface: Surface,
) -> Result<(&'static Row, &[Word]), ParseProblem> {
    let mut words = all;
    while surface == Surface::Mention && words.first().is_some_and(|w| w.text.starts_with('@')) {
        words = &words[1..];
    }
    if words.first().is_some_and(is_lab) {
        words = &words[1..];
    }
    let Some((first, rest)) = words.split_first() else {
        return Ok((grammar::row(Form::Help), words));
    };
    let verb = first.text.trim_start_matches('/');
    // `deadletters resend 3` says the same as `resend 3`.
    if let (Some(Form::DeadLetters), Some((again, rest))) =
        (grammar::find(verb).map(|row| row.form), rest.split_first())
        && let Some(row) = grammar::find(&again.text).filter(|row| row.form == Form::Resend)
    {
        return Ok((row, rest));
    }
    let Some(row) = grammar::find(verb) else {
        return Err(unknown_command(all, words.len(), verb));
    };
    // The state of nothing in particular is that of everything.
    if row.form == Form::Run
        && rest.is_empty()
        && !in_thread
        && ["status", "状态"].contains(&&*verb.to_lowercase())
    {
        return Ok((grammar::row(Form::Runs), rest));
    }
    Ok((run_or_run_test(row, verb, rest, surface), rest))
}

/// `run` is two commands: with a run it shows it, with a board and a build it starts one. `任务` with a run shows that.
fn run_or_run_test(row: &'static Row, verb: &str, rest: &[Word], surface: Surface) -> &'static Row {
    let bare: Vec<&Word> = rest.iter().filter(|word| word.pair().is_none()).collect();
    match row.form {
        Form::Run if surface == Surface::Mention && verb.eq_ignore_ascii_case("run") => match bare.as_slice()
        {
            [first, _, ..] if !first.text.starts_with('#') => grammar::row(Form::RunTest),
            _ => row,
        },
        Form::RunTest | Form::Runs if ["运行", "任务"].contains(&verb) => match bare.as_slice() {
            [only] if run_number(&only.text).is_some() => grammar::row(Form::Run),
            _ => row,
        },
        _ => row,
    }
}

/// What was typed, with one word of it put right: the line to type next. `None` where none of the words stands in it, or
/// where quotes matter.
pub(super) fn put_right(text: &str, words: &[(String, String)]) -> Option<String> {
    let mut typed: Vec<String> = super::words::split(text).ok()?.into_iter().map(|word| word.text).collect();
    let (at, right) = words
        .iter()
        .find_map(|(wrong, right)| Some((typed.iter().position(|word| word == wrong)?, right)))?;
    typed[at] = right.clone();
    if typed.iter().any(|word| word.contains(char::is_whitespace)) {
        return None;
    }
    let line = typed.join(" ");
    Some(shown(&if line.starts_with('/') { line } else { format!("@boardhand {line}") }))
}

fn unknown_command(all: &[Word], words_left: usize, verb: &str) -> ParseProblem {
    let near = grammar::near_command(verb);
    let at = all.len() - words_left;
    let next = near.map_or("/lab help".to_owned(), |near| {
        let slash = if near == "run-test" { "/" } else { "/lab " };
        let rest = all[at + 1..].iter().map(|word| word.text.as_str());
        shown(&std::iter::once(format!("{slash}{near}").as_str()).chain(rest).collect::<Vec<_>>().join(" "))
    });
    ParseProblem::UnknownCommand { word: shown(verb), near, next }
}

/// What was typed after the command, sorted by the row.
struct Typed<'a> {
    row: &'static Row,
    words: &'a [Word],
    arguments: Vec<Cow<'a, str>>,
    /// Values by the option's own name, in their order.
    options: Vec<(&'static str, &'a str)>,
    params: BTreeMap<String, String>,
    repeat: Option<&'a str>,
}

impl<'a> Typed<'a> {
    fn gather(row: &'static Row, words: &'a [Word]) -> Result<Self, ParseProblem> {
        let mut typed =
            Typed { row, words, arguments: vec![], options: vec![], params: BTreeMap::new(), repeat: None };
        let mut words = typed.words.iter();
        while let Some(word) = words.next() {
            if typed.is_in_a_sentence() {
                typed.bare(word)?;
            } else if let Some((name, value)) =
                word.pair().filter(|(name, _)| is_option_name(name) || row.option(name).is_some())
            {
                typed.option(name.trim_start_matches('-'), value)?;
            } else if let Some(name) = word.long_option() {
                match row.option(name) {
                    Some(option) if option.flag => typed.flag(option.name)?,
                    Some(_) => typed.option(name, words.next().map_or("", |word| &word.text))?,
                    None => return Err(typed.unknown_option(name)),
                }
            } else {
                typed.bare(word)?;
            }
        }
        Ok(typed)
    }

    /// Whether the words that come are somebody's sentence, in which `baud=9600` is no option.
    fn is_in_a_sentence(&self) -> bool {
        let last = self.row.arguments.last().filter(|argument| argument.rest && !argument.optional);
        last.is_some() && self.arguments.len() + 1 >= self.row.arguments.len()
    }

    fn option(&mut self, name: &str, value: &'a str) -> Result<(), ParseProblem> {
        if value.is_empty() {
            return Err(self.bad(name, value, Wrong::Empty));
        }
        self.bounded(name, value)?;
        match self.row.option(name).filter(|option| !option.flag) {
            Some(option) => {
                if !option.repeatable && self.value(option.name).is_some() {
                    return Err(self.repeated(name));
                }
                self.options.push((option.name, value));
            }
            None if self.row.params => {
                if self.params.insert(name.to_owned(), value.to_owned()).is_some() {
                    return Err(self.repeated(name));
                }
            }
            None => return Err(self.unknown_option(name)),
        }
        Ok(())
    }

    fn flag(&mut self, name: &'static str) -> Result<(), ParseProblem> {
        if self.value(name).is_some() {
            return Err(self.repeated(name));
        }
        self.options.push((name, ""));
        Ok(())
    }

    fn bare(&mut self, word: &'a Word) -> Result<(), ParseProblem> {
        let text = word.text.as_str();
        if let Some(option) = self.row.option(text).filter(|option| option.flag) {
            return self.flag(option.name);
        }
        if let Some(argument) = self.row.arguments.get(self.arguments.len()) {
            if text.is_empty() {
                return Err(self.bad(argument.name, text, Wrong::Empty));
            }
            // The rest of a line is somebody's sentence.
            let text = if argument.rest { word.said.as_str() } else { text };
            self.bounded(argument.name, text)?;
            self.arguments.push(Cow::Borrowed(text));
            return Ok(());
        }
        if let Some((argument, value)) = self.row.arguments.last().zip(self.arguments.last_mut())
            && argument.rest
        {
            let value = value.to_mut();
            value.push(' ');
            value.push_str(&word.said);
            let value = value.clone();
            return self.bounded(argument.name, &value);
        }
        if let Some(times) = text.strip_prefix(['x', 'X']).filter(|times| self.row.params && is_digits(times))
        {
            return match self.repeat.replace(times) {
                Some(_) => Err(self.repeated(text)),
                None => Ok(()),
            };
        }
        Err(self.unexpected(text))
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        self.values(name).next()
    }

    fn values<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a str> + 's {
        self.options.iter().filter(move |(option, _)| *option == name).map(|(_, value)| *value)
    }

    fn bounded(&self, name: &str, value: &str) -> Result<(), ParseProblem> {
        match value.len() {
            len if len > VALUE_BYTES_MAX => Err(self.bad(name, value, Wrong::TooLong(VALUE_BYTES_MAX))),
            _ => Ok(()),
        }
    }

    fn bad(&self, name: &str, value: &str, wrong: Wrong) -> ParseProblem {
        ParseProblem::BadValue { command: self.row.name(), name: shown(name), value: shown(value), wrong }
    }

    fn repeated(&self, option: &str) -> ParseProblem {
        ParseProblem::Repeated { command: self.row.name(), option: shown(option) }
    }

    fn unknown_option(&self, option: &str) -> ParseProblem {
        let options = self.row.options.iter();
        let near = nearest(option, options.flat_map(|o| o.aliases.iter().chain([&o.name]).copied()));
        ParseProblem::UnknownOption { command: self.row.name(), option: shown(option), near }
    }

    fn unexpected(&self, word: &str) -> ParseProblem {
        let next = match self.row.form {
            // Somebody meant to start a run.
            Form::Run => shown(&format!("/run-test {} {word}", self.arguments.join(" "))),
            _ => self.without(word).unwrap_or_else(|| self.row.example.to_owned()),
        };
        ParseProblem::UnexpectedWord { command: self.row.name(), word: shown(word), next }
    }

    /// What was typed without a word of it, where that is a command; `x 3` becomes `x3`. `None` where quotes matter.
    fn without(&self, word: &str) -> Option<String> {
        let mut words: Vec<Cow<'_, str>> = self.words.iter().map(|word| word.text.as_str().into()).collect();
        let at = words.iter().rposition(|other| other == word)?;
        words.remove(at);
        if let Some(times) = words.get_mut(at)
            && self.row.params
            && word.eq_ignore_ascii_case(REPEAT)
            && is_digits(times)
        {
            *times = format!("{REPEAT}{times}").into();
        }
        let line = std::iter::once(self.row.typed().into()).chain(words).collect::<Vec<_>>().join(" ");
        let fits = line.chars().count() <= SHOWN_CHARS_MAX && parse(&line, false, Surface::Slash).is_ok();
        fits.then_some(line)
    }

    fn missing(&self, argument: &Argument) -> ParseProblem {
        ParseProblem::MissingArgument { command: self.row.name(), argument: argument.name }
    }

    /// The argument at `index`, as typed.
    fn word(&self, index: usize) -> Result<String, ParseProblem> {
        let missing = || self.missing(&self.row.arguments[index]);
        self.arguments.get(index).map(|word| word.to_string()).ok_or_else(missing)
    }

    fn run(&self, in_thread: bool) -> Result<RunRef, ParseProblem> {
        match self.arguments.first() {
            Some(word) => {
                run_number(word).ok_or_else(|| self.bad("#", word, Wrong::NotARun)).map(RunRef::Number)
            }
            None if in_thread => Ok(RunRef::Thread),
            None => Err(self.missing(&self.row.arguments[0])),
        }
    }

    fn number(&self, name: &str, value: &str, max: u32) -> Result<u32, ParseProblem> {
        let number = value.parse().ok().filter(|n| (1..=max).contains(n));
        number.ok_or_else(|| self.bad(name, value, Wrong::NotWithin { min: 1, max }))
    }
}

fn build(typed: &Typed<'_>, in_thread: bool) -> Result<Command, ParseProblem> {
    let optional = |index: usize| typed.arguments.get(index).map(|word| word.to_string());
    Ok(match typed.row.form {
        Form::RunTest => Command::RunTest(build_run_test(typed)?),
        Form::Boards => Command::Boards { filter: optional(0) },
        Form::Board => Command::Board { board: typed.word(0)? },
        Form::Runs => Command::Runs { mine: typed.value("mine").is_some() },
        Form::Run => Command::Run(typed.run(in_thread)?),
        Form::Why => Command::Why(typed.run(in_thread)?),
        Form::Compare => Command::Compare(build_compare(typed, in_thread)?),
        Form::Builds => Command::Builds { family: optional(0) },
        Form::Cancel => Command::Cancel(typed.run(in_thread)?),
        Form::Retry => {
            Command::Retry { run: typed.run(in_thread)?, other_board: typed.value("elsewhere").is_some() }
        }
        Form::Power => build_power(typed)?,
        Form::Quarantine => Command::Quarantine { board: typed.word(0)?, reason: typed.word(1)? },
        Form::Return => Command::Return { board: typed.word(0)? },
        Form::Drain => build_drain(typed),
        Form::Undrain => Command::Undrain { target: typed.word(0)? },
        Form::Reserve => build_reserve(typed)?,
        Form::Hold => build_hold(typed, in_thread)?,
        Form::Log => build_log(typed, in_thread)?,
        Form::Digest => Command::Digest,
        Form::Link => {
            let sure = optional(1).is_some_and(|word| ["yes", "是"].contains(&&*word.to_lowercase()));
            // A code may be typed with a space between its halves.
            let rest = optional(1).filter(|_| !sure).unwrap_or_default();
            Command::Link { code: optional(0).map(|code| code + &rest), sure }
        }
        Form::Unlink => Command::Unlink { person: optional(0) },
        Form::Workers => Command::Workers,
        Form::Watch => Command::Watch { target: watched(typed, in_thread)? },
        Form::Unwatch => {
            let missing = || typed.missing(&typed.row.arguments[0]);
            Command::Unwatch { target: watched(typed, in_thread)?.ok_or_else(missing)? }
        }
        Form::Notify => Command::Notify { target: typed.word(0)? },
        Form::Nudge => Command::Nudge { board: typed.word(0)? },
        Form::Handover => Command::Handover { board: typed.word(0)?, person: typed.word(1)? },
        Form::Extend => build_extend(typed)?,
        Form::Release => Command::Release { target: optional(0), lease: None, undoes: vec![] },
        Form::Reload => Command::Reload,
        Form::DeadLetters => Command::DeadLetters,
        Form::Resend => Command::Resend { letter: build_resend(typed)? },
        Form::Audit => Command::Audit(build_audit(typed)?),
        Form::Campaign => Command::Campaign { which: optional(0), what: optional(1), seen: None, own: None },
        Form::Schedules => build_schedules(typed)?,
        Form::Help => Command::Help { topic: optional(0) },
        Form::Later => {
            return Err(ParseProblem::NotYet { command: typed.row.name() });
        }
    })
}

/// A run or a family; in a run's thread that run, where nothing is named.
fn watched(typed: &Typed<'_>, in_thread: bool) -> Result<Option<WatchRef>, ParseProblem> {
    Ok(match typed.arguments.first() {
        Some(word) if run_number(word).is_some() || word.starts_with('#') => {
            Some(WatchRef::Run(typed.run(in_thread)?))
        }
        Some(word) => Some(WatchRef::Family(word.to_string())),
        None => in_thread.then_some(WatchRef::Run(RunRef::Thread)),
    })
}

/// In a run's thread a bare number is one of lines: `log 50`.
fn build_log(typed: &Typed<'_>, in_thread: bool) -> Result<Command, ParseProblem> {
    let lines = |word: &str| typed.number("lines", word, LOG_LINES_MAX);
    let (run, lines) = match typed.arguments.as_slice() {
        [only] if in_thread && !only.starts_with('#') => (RunRef::Thread, Some(lines(only)?)),
        [_, many, ..] => (typed.run(in_thread)?, Some(lines(many)?)),
        _ => (typed.run(in_thread)?, None),
    };
    Ok(Command::Log { run, lines })
}

fn build_run_test(typed: &Typed<'_>) -> Result<RunTest, ParseProblem> {
    let owned = |name| typed.value(name).map(str::to_owned);
    let target = typed.word(0)?;
    let build = typed.word(1)?;
    if let Some(wrong) = build_problem(&build) {
        return Err(typed.bad("build", &build, wrong));
    }
    let mut tags = BTreeMap::new();
    for value in typed.values("tag") {
        let (key, tag) = value
            .split_once(':')
            .filter(|(key, tag)| !key.is_empty() && !tag.is_empty())
            .ok_or_else(|| typed.bad("tag", value, Wrong::NotATag))?;
        if tags.insert(key.to_owned(), tag.to_owned()).is_some() {
            return Err(typed.repeated(&format!("tag={key}")));
        }
    }
    let priority =
        |value| priority(value).ok_or_else(|| typed.bad("priority", value, Wrong::NotOneOf(PRIORITIES)));
    let timeout = |value| {
        duration(value)
            .filter(|d| TIMEOUT_SECS.contains(&d.as_secs()))
            .ok_or_else(|| typed.bad("timeout", value, Wrong::NotADuration))
    };
    Ok(RunTest {
        target,
        build,
        suite: owned("suite"),
        priority: typed.value("priority").map(priority).transpose()?,
        revision: owned("rev"),
        tags,
        on: owned("on"),
        timeout: typed.value("timeout").map(timeout).transpose()?,
        boards: typed.value("boards").map(|value| typed.number("boards", value, BOARDS_MAX)).transpose()?,
        repeat: typed.repeat.map(|times| typed.number(REPEAT, times, REPEAT_MAX)).transpose()?,
        params: typed.params.clone(),
        callback: None,
    })
}

/// What is a number is a run; a build is anything else that one can be.
fn build_compare(typed: &Typed<'_>, in_thread: bool) -> Result<Compare, ParseProblem> {
    let which = |word: &Cow<'_, str>| match (run_number(word), build_problem(word)) {
        (Some(number), _) => Ok(Which::Run(number)),
        (None, None) => Ok(Which::Build(word.to_string())),
        (None, Some(wrong)) => Err(typed.bad("build", word, wrong)),
    };
    let of: Vec<Which> = typed.arguments.iter().take(2).map(which).collect::<Result<_, _>>()?;
    if of.is_empty() && !in_thread {
        return Err(typed.missing(&typed.row.arguments[0]));
    }
    let suite = typed.value("suite").map(str::to_owned);
    Ok(Compare { of, family: typed.arguments.get(2).map(|word| word.to_string()), suite })
}

/// A time, and then what for; either may be left out.
fn build_reserve(typed: &Typed<'_>) -> Result<Command, ParseProblem> {
    let said = typed.arguments.get(1..).unwrap_or_default();
    let lasts = said.first().and_then(|word| duration(word));
    let reason = if lasts.is_some() { &said[1..] } else { said };
    let reason = reason.join(" ");
    typed.bounded("reason", &reason)?;
    let lasts = lasts.map(|_| held_for(typed, &said[0])).transpose()?;
    Ok(Command::Reserve { target: typed.word(0)?, lasts, reason, waits: true, site: None })
}

/// A run and a time, in either order; the run may be left out in its thread.
fn build_hold(typed: &Typed<'_>, in_thread: bool) -> Result<Command, ParseProblem> {
    let (times, runs): (Vec<_>, Vec<_>) = typed.arguments.iter().partition(|word| duration(word).is_some());
    if let Some(extra) = runs.get(1).or(times.get(1)) {
        return Err(typed.unexpected(extra));
    }
    let run = match runs.first() {
        Some(word) => RunRef::Number(run_number(word).ok_or_else(|| typed.bad("#", word, Wrong::NotARun))?),
        None if in_thread => RunRef::Thread,
        None => return Err(typed.missing(&typed.row.arguments[0])),
    };
    Ok(Command::Hold { run, lasts: times.first().map(|time| held_for(typed, time)).transpose()? })
}

/// A board and a time, in either order; either may be left out.
fn build_extend(typed: &Typed<'_>) -> Result<Command, ParseProblem> {
    let (times, boards): (Vec<_>, Vec<_>) = typed.arguments.iter().partition(|word| duration(word).is_some());
    if let Some(extra) = boards.get(1).or(times.get(1)) {
        return Err(typed.unexpected(extra));
    }
    Ok(Command::Extend {
        board: boards.first().map(|board| board.to_string()),
        by: times.first().map(|time| held_for(typed, time)).transpose()?,
    })
}

/// The number of a dead letter; `None` for all.
fn build_resend(typed: &Typed<'_>) -> Result<Option<i64>, ParseProblem> {
    let word = typed.word(0)?;
    match word.as_str() {
        "全部" => Ok(None),
        word if word.eq_ignore_ascii_case("all") => Ok(None),
        word => typed.number("number", word.trim_start_matches('#'), u32::MAX).map(|n| Some(i64::from(n))),
    }
}

/// Whom or what, and a time, in either order; either may be left out.
fn build_audit(typed: &Typed<'_>) -> Result<AuditAsked, ParseProblem> {
    let (times, abouts): (Vec<_>, Vec<_>) = typed.arguments.iter().partition(|word| duration(word).is_some());
    if let Some(extra) = abouts.get(1).or(times.get(1)) {
        return Err(typed.unexpected(extra));
    }
    let before = typed.value("before").map(|value| typed.number("before", value, u32::MAX)).transpose()?;
    Ok(AuditAsked {
        about: abouts.first().map(|about| about.to_string()),
        since: times.first().and_then(|time| duration(time)),
        refused: typed.value("refused").is_some(),
        before: before.map(i64::from),
    })
}

/// A schedule, and what becomes of it, in either order.
fn build_schedules(typed: &Typed<'_>) -> Result<Command, ParseProblem> {
    let paused = |word: &str| match in_english(PAUSE_ZH, word).to_ascii_lowercase().as_str() {
        "pause" => Some(true),
        "resume" => Some(false),
        _ => None,
    };
    match typed.arguments.as_slice() {
        [name, action] => match (paused(name), paused(action)) {
            (_, Some(is)) => Ok(Command::Schedules { name: Some(name.to_string()), paused: Some(is) }),
            (Some(is), None) => Ok(Command::Schedules { name: Some(action.to_string()), paused: Some(is) }),
            (None, None) => Err(typed.bad("action", action, Wrong::NotOneOf("pause, resume"))),
        },
        [only] if paused(only).is_some() => Err(typed.missing(&typed.row.arguments[0])),
        only => Ok(Command::Schedules { name: only.first().map(|name| name.to_string()), paused: None }),
    }
}

/// Names of sites have spaces, so whoever knows the names tells where this one ends.
fn build_drain(typed: &Typed<'_>) -> Command {
    let words: Vec<&str> = typed.arguments.iter().map(AsRef::as_ref).collect();
    let target = Some(words.join(" ")).filter(|words| !words.is_empty());
    Command::Drain { target, lasts: None, reason: String::new() }
}

/// A time for which somebody has a board.
fn held_for(typed: &Typed<'_>, word: &str) -> Result<Duration, ParseProblem> {
    let fits = duration(word).filter(|time| HELD_SECS.contains(&time.as_secs()));
    fits.ok_or_else(|| typed.bad("2h", word, Wrong::NotADuration))
}

fn build_power(typed: &Typed<'_>) -> Result<Command, ParseProblem> {
    let (board, action) = (typed.word(0)?, typed.word(1));
    // `power cycle soc-a-001` says the same.
    if let (Some(swapped), Ok(board)) = (power_action(&board), &action)
        && power_action(board).is_none()
    {
        return Ok(Command::Power { board: board.clone(), action: swapped });
    }
    let action = action?;
    // Which sequences a board has stands in boards.yaml.
    let sequence = || is_name(&action).then(|| PowerAction::Sequence(action.clone()));
    let parsed = power_action(&action).or_else(sequence);
    let known = Wrong::NotOneOf("on, off, cycle, status, a sequence of the board");
    Ok(Command::Power { board, action: parsed.ok_or_else(|| typed.bad("action", &action, known))? })
}

fn power_action(word: &str) -> Option<PowerAction> {
    let word = in_english(POWER_ZH, word);
    PowerAction::PLAIN.into_iter().find(|action| action.as_str().eq_ignore_ascii_case(word))
}

/// What is wrong with a build's id; it must stand in URLs, file names and messages without quoting.
pub fn build_problem(build: &str) -> Option<Wrong> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._:/@+-".contains(&b);
    match build.len() {
        0 => Some(Wrong::Empty),
        len if len > BUILD_BYTES_MAX => Some(Wrong::TooLong(BUILD_BYTES_MAX)),
        _ => (!build.bytes().all(allowed)).then_some(Wrong::NotABuild),
    }
}

const PRIORITIES: &str = "high, normal, low, 1, 2, 3";

/// A priority by its word or rank.
pub fn priority(word: &str) -> Option<Priority> {
    match in_english(PRIORITY_ZH, word).to_ascii_lowercase().as_str() {
        "high" | "1" => Some(Priority::High),
        "normal" | "2" => Some(Priority::Normal),
        "low" | "3" => Some(Priority::Low),
        _ => None,
    }
}

/// A word of a table in English, which stands on its right.
fn in_english<'a>(table: &[(&str, &'static str)], word: &'a str) -> &'a str {
    table.iter().find(|(zh, _)| *zh == word).map_or(word, |(_, english)| english)
}

/// A duration of whole units, largest first or not: `90s`, `20m`, `1h30m`, `1d`, `2小时`. A bare number is none: it does
/// not say of what.
pub fn duration(text: &str) -> Option<Duration> {
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        let seconds = match rest[..unit].to_ascii_lowercase().as_str() {
            "s" | "sec" | "秒" => 1,
            "m" | "min" | "分" | "分钟" => 60,
            "h" | "小时" => 3600,
            "d" | "天" => 24 * 3600,
            _ => return None,
        };
        rest = &rest[unit..];
        total = total.checked_add(number.checked_mul(seconds)?)?;
    }
    (!text.is_empty()).then(|| Duration::from_secs(total))
}

/// `#42` or `42`, also at the end of a sentence.
fn run_number(word: &str) -> Option<i64> {
    let digits = word.strip_prefix('#').unwrap_or(word).trim_end_matches(['?', '!', '.', ',', '。']);
    let number = digits.parse().ok().filter(|_| is_digits(digits))?;
    (number > 0).then_some(number)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_option_name(name: &str) -> bool {
    let name = name.strip_prefix("--").unwrap_or(name);
    name.len() <= OPTION_NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

impl Command {
    /// The row of the table that it came from.
    pub fn form(&self) -> Form {
        match self {
            Command::RunTest(_) => Form::RunTest,
            Command::Boards { .. } => Form::Boards,
            Command::Board { .. } => Form::Board,
            Command::Runs { .. } => Form::Runs,
            Command::Run(_) => Form::Run,
            Command::Why(_) => Form::Why,
            Command::Compare(_) => Form::Compare,
            Command::Builds { .. } => Form::Builds,
            Command::Cancel(_) => Form::Cancel,
            Command::Retry { .. } => Form::Retry,
            Command::Power { .. } => Form::Power,
            Command::Quarantine { .. } => Form::Quarantine,
            Command::Drain { .. } => Form::Drain,
            Command::Undrain { .. } => Form::Undrain,
            Command::Return { .. } => Form::Return,
            Command::Reserve { .. } => Form::Reserve,
            Command::Hold { .. } => Form::Hold,
            Command::Log { .. } => Form::Log,
            Command::Digest => Form::Digest,
            Command::Link { .. } => Form::Link,
            Command::Unlink { .. } => Form::Unlink,
            Command::Workers => Form::Workers,
            Command::Watch { .. } => Form::Watch,
            Command::Unwatch { .. } => Form::Unwatch,
            Command::Notify { .. } => Form::Notify,
            Command::Nudge { .. } => Form::Nudge,
            Command::Handover { .. } => Form::Handover,
            Command::Extend { .. } => Form::Extend,
            Command::Release { .. } => Form::Release,
            Command::Reload => Form::Reload,
            Command::DeadLetters => Form::DeadLetters,
            Command::Resend { .. } => Form::Resend,
            Command::Audit(_) => Form::Audit,
            Command::Campaign { .. } => Form::Campaign,
            Command::Schedules { .. } | Command::OwnSchedule { .. } => Form::Schedules,
            Command::Help { .. } => Form::Help,
        }
    }
}

#[cfg(test)]
mod tests;
