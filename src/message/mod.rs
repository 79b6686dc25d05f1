//! Messages: what people read. [`Card`] is the platform-neutral form; `template` makes cards from the files in
//! `message-templates/`, `compose` gathers the facts, the platforms' renderers turn cards into their own JSON, and
//! [`Relay`](relay) sends them. Nothing here knows a platform's limits.

pub mod compose;
pub mod line;
pub mod links;
pub mod log_file;
pub mod names;
pub mod pace;
pub mod permalinks;
pub mod readers;
pub mod relay;
pub mod template;
pub mod waiting;

use serde::{Deserialize, Serialize};

use crate::chat::Actor;
use crate::clock::Timestamp;
use crate::command::Click;

/// A message: the run's card, a reply in its thread, or an answer to one person.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// The whole message in one line without markup: what notifications and screen readers say.
    pub summary: String,
    /// Its colour, never its only meaning.
    pub tone: Tone,
    /// What it shows, in order.
    pub blocks: Vec<Block>,
}

/// The mood of a card.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tone {
    /// Nothing special.
    #[default]
    Neutral,
    /// Work goes on.
    Running,
    /// It went well.
    Good,
    /// It went wrong: the build's fault.
    Bad,
    /// It went wrong: the lab's fault, or a limit.
    Warning,
}

/// One part of a card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Block {
    /// One line in large type, without markup.
    Title(String),
    /// A paragraph.
    Text(Text),
    /// Short facts side by side: label and value.
    Fields(Vec<(String, Text)>),
    /// Lines of a console or a program, in fixed-width type; hostile.
    Log(String),
    /// Small print.
    Context(Text),
    /// Buttons in one row.
    Buttons(Vec<Button>),
    /// A line across.
    Divider,
}

/// Text with semantic markup. Plain spans hold untrusted text; every renderer escapes them for its platform.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(pub Vec<Span>);

/// A piece of text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Span {
    /// As it is; may hold newlines.
    Plain(String),
    /// Stressed.
    Bold(String),
    /// In fixed-width type.
    Code(String),
    /// A link.
    Link {
        /// Where to; `http` or `https`.
        url: String,
        /// What it says.
        label: String,
    },
    /// A run by its number, with a link to its card where it has one that can be linked to.
    Run(RunName),
    /// A person; notified where the platform and the kind of message allow.
    Mention(Actor),
    /// An instant, shown in the reader's time zone where the platform can.
    Time(Timestamp),
}

/// A run in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunName {
    /// Its number.
    pub number: i64,
    /// Whether it is stressed.
    #[serde(default)]
    pub strong: bool,
    /// Where its card stands, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl RunName {
    /// `#42`.
    pub fn label(&self) -> String {
        format!("#{}", self.number)
    }
}

/// A button.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Button {
    /// What it says.
    pub label: String,
    /// What it does.
    pub click: Click,
    /// How it looks.
    pub style: ButtonStyle,
    /// What is asked before it acts.
    pub confirm: Option<Confirm>,
}

/// How a button looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ButtonStyle {
    /// Like any other.
    #[default]
    Default,
    /// The one most people want.
    Primary,
    /// Ends or cuts something.
    Danger,
}

/// What is asked before a button acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirm {
    /// The question's title.
    pub title: String,
    /// What will happen.
    pub text: String,
    /// The button that goes on.
    pub yes: String,
    /// The button that does not.
    pub no: String,
}

/// A message that is owed, as the store keeps it: which template, with which facts. Rendered when it is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// The template's name, such as `run-finished`.
    pub template: String,
    /// What it says, by the template's names. Hostile text stands here as it came; templates escape.
    pub facts: serde_json::Map<String, serde_json::Value>,
}

impl Note {
    /// A note from any serialisable struct or `json!` object.
    pub fn new(template: &str, facts: impl Serialize) -> Self {
        let facts = match serde_json::to_value(facts) {
            Ok(serde_json::Value::Object(map)) => map,
            _ => serde_json::Map::new(),
        };
        Note { template: template.to_owned(), facts }
    }
}

/// A sentence of the catalogue's `phrases` with its facts, for a fact of a [`Note`]: it is put into words where it is
/// read, in the language that is spoken there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phrase {
    /// The phrase's name, such as `no-board`.
    phrase: String,
    /// What it says, by the template's names.
    #[serde(flatten)]
    facts: serde_json::Map<String, serde_json::Value>,
}

impl Phrase {
    /// A phrase from a `json!` object.
    pub fn new(name: &str, facts: impl Serialize) -> Self {
        Phrase { phrase: name.to_owned(), facts: Note::new(name, facts).facts }
    }
}

impl Text {
    /// Text without markup.
    pub fn plain(text: impl Into<String>) -> Self {
        Text(vec![Span::Plain(text.into())])
    }
}
