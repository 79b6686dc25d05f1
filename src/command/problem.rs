//! Problems: why a text is no command, as facts that lead to one that is. Made by `words` and `parse`; templates
//! turn the facts into an answer. Nothing here parses.

use serde_json::{Value, json};

use super::grammar;
use crate::message::Phrase;

/// How much of a wrong word an answer repeats, in characters.
pub const SHOWN_CHARS_MAX: usize = 80;

/// Why a text is no command. Words in it are bounded but hostile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParseProblem {
    /// The text is too long.
    TextTooLong {
        /// Its length in characters.
        chars: usize,
        /// The bound.
        max: usize,
    },
    /// The text has too many words.
    TooManyWords {
        /// How many.
        words: usize,
        /// The bound.
        max: usize,
    },
    /// A quote is never closed.
    OpenQuote,
    /// No command has this word.
    UnknownCommand {
        /// The word.
        word: String,
        /// The nearest command.
        near: Option<&'static str>,
        /// The whole line with the nearest command in its place.
        next: String,
    },
    /// A command that a later version will have.
    NotYet {
        /// The command.
        command: &'static str,
    },
    /// An argument is missing.
    MissingArgument {
        /// The command.
        command: &'static str,
        /// The argument's name in the usage line.
        argument: &'static str,
    },
    /// A word too many.
    UnexpectedWord {
        /// The command.
        command: &'static str,
        /// The word.
        word: String,
        /// What could be typed instead.
        next: String,
    },
    /// The command has no such option.
    UnknownOption {
        /// The command.
        command: &'static str,
        /// The option as typed.
        option: String,
        /// The nearest option.
        near: Option<&'static str>,
    },
    /// An option or parameter that may stand only once.
    Repeated {
        /// The command.
        command: &'static str,
        /// The option.
        option: String,
    },
    /// A value that cannot be.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// There is none.
    Empty,
    /// It is too long.
    TooLong(usize),
    /// It holds something that a build id cannot.
    NotABuild,
    /// It is no run.
    NotARun,
    /// It is not a whole number in its bounds.
    NotWithin {
        /// Smallest.
        min: u32,
        /// Largest.
        max: u32,
    },
    /// It is no duration, or one out of bounds.
    NotADuration,
    /// It is no `key:value`.
    NotATag,
    /// It is none of the words.
    NotOneOf(&'static str),
}

/// Why a value cannot be, as a phrase.
fn bad_value(name: &str, value: &str, wrong: Wrong) -> Phrase {
    let named = json!({ "name": name, "value": value });
    match wrong {
        Wrong::Empty => Phrase::new("value-empty", named),
        Wrong::NotARun => Phrase::new("not-a-run", named),
        Wrong::NotABuild => Phrase::new("not-a-build", named),
        Wrong::NotADuration => Phrase::new("value-not-a-duration", named),
        Wrong::NotATag => Phrase::new("value-not-a-tag", named),
        Wrong::TooLong(max) => {
            Phrase::new("value-too-long", json!({ "name": name, "value": value, "max": max }))
        }
        Wrong::NotWithin { min, max } => {
            let facts = json!({ "name": name, "value": value, "min": min, "max": max });
            match name == REPEAT {
                true => Phrase::new("repeat-not-within", facts),
                false => Phrase::new("value-not-within", facts),
            }
        }
        Wrong::NotOneOf(choices) => {
            let zh = zh_choices(name).filter(|_| !value.is_ascii());
            let facts = json!({ "name": name, "value": value, "choices": choices, "choices_zh": zh });
            Phrase::new("value-not-one-of", facts)
        }
    }
}

/// The name of `x3` in problems.
pub(super) const REPEAT: &str = "x";

/// The Chinese words for a value, for whoever types Chinese: the first for each English one.
fn zh_choices(name: &str) -> Option<String> {
    let table = match name {
        "action" => grammar::POWER_ZH,
        "priority" => grammar::PRIORITY_ZH,
        _ => return None,
    };
    let first = |at: usize| table[..at].iter().all(|(_, english)| *english != table[at].1);
    let words: Vec<&str> = (0..table.len()).filter(|at| first(*at)).map(|at| table[at].0).collect();
    Some(words.join(", "))
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
                json!({"problem": "bad-value", "name": name, "value": value, "wrong": wrong.as_str()})
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
        facts["detail"] = json!(self.phrase());
        facts
    }

    /// The sentence that tells it.
    pub fn phrase(&self) -> Phrase {
        use ParseProblem as P;
        match self {
            P::TextTooLong { chars, max } => {
                Phrase::new("text-too-long", json!({ "count": chars, "max": max }))
            }
            P::TooManyWords { words, max } => {
                Phrase::new("too-many-words", json!({ "count": words, "max": max }))
            }
            P::OpenQuote => Phrase::new("open-quote", json!({})),
            P::UnknownCommand { word, .. } => Phrase::new("unknown-command", json!({ "word": word })),
            P::NotYet { command } => Phrase::new("not-yet", json!({ "command": command })),
            P::MissingArgument { command, argument } => {
                Phrase::new("missing-argument", json!({ "command": command, "argument": argument }))
            }
            P::UnexpectedWord { command, word, .. } => {
                Phrase::new("unexpected-word", json!({ "command": command, "word": word }))
            }
            P::UnknownOption { command, option, .. } => {
                Phrase::new("unknown-option", json!({ "command": command, "option": option }))
            }
            P::Repeated { option, .. } => Phrase::new("repeated", json!({ "option": option })),
            P::BadValue { name, value, wrong, .. } => bad_value(name, value, *wrong),
        }
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
