//! Problems: why a text is no command, in words that lead to one that is. Made by `words` and `parse`; templates
//! turn the facts into an answer. Nothing here parses.

use serde_json::{Value, json};

use super::grammar;

/// How much of a wrong word an answer repeats, in characters.
pub const SHOWN_CHARS_MAX: usize = 80;

/// Why a text is no command. Words in it are bounded but hostile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseProblem {
    /// The text is too long.
    #[error("this has {chars} characters, and I read at most {max}")]
    TextTooLong {
        /// Its length in characters.
        chars: usize,
        /// The bound.
        max: usize,
    },
    /// The text has too many words.
    #[error("this has {words} words, and I read at most {max}")]
    TooManyWords {
        /// How many.
        words: usize,
        /// The bound.
        max: usize,
    },
    /// A quote is never closed.
    #[error("a quotation mark is never closed")]
    OpenQuote,
    /// No command has this word.
    #[error("`{word}` is not a command")]
    UnknownCommand {
        /// The word.
        word: String,
        /// The nearest command.
        near: Option<&'static str>,
        /// The whole line with the nearest command in its place.
        next: String,
    },
    /// A command that a later version will have.
    #[error("`{command}` is not available in this version yet")]
    NotYet {
        /// The command.
        command: &'static str,
    },
    /// An argument is missing.
    #[error("`{command}` needs {}", wanted(argument))]
    MissingArgument {
        /// The command.
        command: &'static str,
        /// The argument's name in the usage line.
        argument: &'static str,
    },
    /// A word too many.
    #[error("`{word}` is a word too many for `{command}`")]
    UnexpectedWord {
        /// The command.
        command: &'static str,
        /// The word.
        word: String,
        /// What could be typed instead.
        next: String,
    },
    /// The command has no such option.
    #[error("`{command}` has no option `{option}`")]
    UnknownOption {
        /// The command.
        command: &'static str,
        /// The option as typed.
        option: String,
        /// The nearest option.
        near: Option<&'static str>,
    },
    /// An option or parameter that may stand only once.
    #[error("`{option}` is given twice")]
    Repeated {
        /// The command.
        command: &'static str,
        /// The option.
        option: String,
    },
    /// A value that cannot be.
    #[error("{}", bad_value(name, value, *wrong))]
    BadValue {
        /// The command.
        command: &'static str,
        /// The option's or argument's name.
        name: String,
        /// The value as typed.
        value: String,
        /// What is wrong with it.
        wrong: Wrong,
    },
}

/// What is wrong with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// There is none.
    #[error("it is empty")]
    Empty,
    /// It is too long.
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
    /// It holds something that a build id cannot.
    #[error("a build id holds letters, digits and . _ : / @ + - only")]
    NotABuild,
    /// It is no run.
    #[error("a run is a number such as #42")]
    NotARun,
    /// It is not a whole number in its bounds.
    #[error("it must be a whole number from {min} to {max}")]
    NotWithin {
        /// Smallest.
        min: u32,
        /// Largest.
        max: u32,
    },
    /// It is no duration, or one out of bounds.
    #[error("it must be a duration such as 90s, 20m or 2h, at most 7 days")]
    NotADuration,
    /// It is no `key:value`.
    #[error("it must be key:value")]
    NotATag,
    /// It is none of the words.
    #[error("it must be one of {0}")]
    NotOneOf(&'static str),
}

/// A missing argument as a person would call it.
fn wanted(argument: &str) -> String {
    match argument {
        "#" => "the number of a run, such as #42".to_owned(),
        "#|build" => "a run such as #42, or a build".to_owned(),
        "soc|board" => "a soc or a board, and then a build".to_owned(),
        "person" => "somebody: type @ and pick them from the list".to_owned(),
        "board|soc" => "a board or a soc".to_owned(),
        "board" | "build" => format!("a {argument}"),
        "reason" => "a reason".to_owned(),
        choices => format!("one of {}", choices.replace('|', ", ")),
    }
}

fn bad_value(name: &str, value: &str, wrong: Wrong) -> String {
    match wrong {
        Wrong::Empty => format!("`{name}` needs a value"),
        Wrong::NotARun => format!("`{value}` is not a run: {wrong}"),
        Wrong::NotABuild => format!("`{value}` is not a build: {wrong}"),
        Wrong::NotWithin { min, max } if name == REPEAT => {
            format!("a test can be repeated x{min} to x{max}, not `x{value}`")
        }
        Wrong::NotOneOf(_) => match zh_choices(name).filter(|_| !value.is_ascii()) {
            Some(zh) => format!("`{name}` cannot be `{value}`: {wrong}, or {zh}"),
            None => format!("`{name}` cannot be `{value}`: {wrong}"),
        },
        Wrong::TooLong(_) | Wrong::NotWithin { .. } | Wrong::NotADuration | Wrong::NotATag => {
            format!("`{name}` cannot be `{value}`: {wrong}")
        }
    }
}

/// The name of `x3` in problems.
pub(super) const REPEAT: &str = "x";

/// The Chinese words for a value, for whoever types Chinese.
fn zh_choices(name: &str) -> Option<&'static str> {
    match name {
        "action" => Some("上电, 断电, 重启, 状态"),
        "priority" => Some("高, 中, 低"),
        _ => None,
    }
}

impl ParseProblem {
    /// Facts for the answer's template: `problem`, what was wrong by name, `usage` where there is one, and `next`:
    /// a line that could be typed.
    pub fn facts(&self) -> Value {
        use ParseProblem as P;
        let mut facts = match self {
            P::TextTooLong { chars, max } => json!({"problem": "text-too-long", "count": chars, "max": max}),
            P::TooManyWords { words, max } => {
                json!({"problem": "too-many-words", "count": words, "max": max})
            }
            P::OpenQuote => json!({"problem": "open-quote"}),
            P::UnknownCommand { word, near, next } => {
                json!({"problem": "unknown-command", "word": word, "near": near, "next": next})
            }
            P::NotYet { command } => json!({"problem": "not-yet", "command": command}),
            P::MissingArgument { argument, .. } => {
                json!({"problem": "missing-argument", "argument": argument})
            }
            P::UnexpectedWord { word, next, .. } => {
                json!({"problem": "unexpected-word", "word": word, "next": next})
            }
            P::UnknownOption { option, near, .. } => {
                json!({"problem": "unknown-option", "option": option, "near": near})
            }
            P::Repeated { option, .. } => json!({"problem": "repeated", "option": option}),
            P::BadValue { name, value, wrong, .. } => {
                json!({"problem": "bad-value", "name": name, "value": value, "wrong": wrong.as_str(),
                       "reason": wrong.to_string()})
            }
        };
        let row = self.command().and_then(grammar::find).filter(|row| row.available);
        if let Some(row) = row {
            facts["command"] = json!(row.name());
            facts["usage"] = row.usage_facts();
        }
        if facts.get("next").is_none() {
            facts["next"] = json!(row.map_or("/lab help", |row| row.example));
        }
        facts["detail"] = json!(self.to_string());
        facts
    }

    fn command(&self) -> Option<&'static str> {
        use ParseProblem as P;
        match self {
            P::TextTooLong { .. } | P::TooManyWords { .. } | P::OpenQuote | P::UnknownCommand { .. } => None,
            P::NotYet { command }
            | P::MissingArgument { command, .. }
            | P::UnexpectedWord { command, .. }
            | P::UnknownOption { command, .. }
            | P::Repeated { command, .. }
            | P::BadValue { command, .. } => Some(command),
        }
    }
}

impl Wrong {
    /// The word in facts.
    pub fn as_str(self) -> &'static str {
        match self {
            Wrong::Empty => "empty",
            Wrong::TooLong(_) => "too-long",
            Wrong::NotABuild => "not-a-build",
            Wrong::NotARun => "not-a-run",
            Wrong::NotWithin { .. } => "not-within",
            Wrong::NotADuration => "not-a-duration",
            Wrong::NotATag => "not-a-tag",
            Wrong::NotOneOf(_) => "not-one-of",
        }
    }
}

/// The part of a typed word that an answer repeats.
pub(super) fn shown(word: &str) -> String {
    match word.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &word[..end]),
        None => word.to_owned(),
    }
}
