//! Templates: from a [`Note`] to a [`Card`]. What people read stands in `message-templates/<locale>/*.yaml`; this
//! file reads those at start and fills them in. Pure but for [`Catalogue::load`], which reads a folder.
//!
//! The YAML is parsed first and every text in it is a template of its own, so whatever the facts hold, they fill a
//! place and never change a card's structure. Markup comes only from filters (`bold code mention time link`), which
//! write it with marks that are taken out of all facts before (see [`markup`]). A template that fails gives a plain
//! card of its facts and an error in the log, never a panic and never silence.
//!
//! ```yaml
//! run-finished:                        # the note's name
//!   summary: "#{{ run.number }} passed"  # without markup
//!   tone: good                         # neutral, running, good, bad or warning
//!   blocks:
//!     - title: "#{{ run.number }}"
//!     - text: "{{ run.build | code }} by {{ by | mention }}"
//!       when: by                       # any block, and any button, can have a condition
//!     - fields: [[Board, "{{ board | code }}"]]
//!     - log: "{{ excerpt | join('\n') }}"
//!     - context: "{{ at | time }}"
//!     - buttons:
//!         - {verb: retry, label: Retry, style: primary}
//!     - divider
//! ```
//! What comes out empty is left out: a field without value, a block without text. A fact that is not there is an
//! error where it is printed and false in a condition; one that is null prints nothing. Three names are special:
//! `words`, tables of words for every template; `macros`, whose macros every template calls as `say.name()`; and
//! `phrases`, sentences that a fact names ([`Phrase`](super::Phrase)), which `reason | sentence` puts into words.
//!
//! English and Chinese are built in and say the same: a test compares them message by message.

mod filters;
mod markup;
mod rehearsal;
pub mod samples;
mod structure;

use std::collections::BTreeMap;
use std::path::Path;

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::{Map, Value as Json};

use self::filters::Tongue;
use self::structure::{BlockKind, BlockTemplate, ButtonTemplate, File, Leaf, Message};
use super::{Block, Button, Card, Confirm, Note, Span, Text, Tone};
use crate::board::BoardId;
use crate::clock::Timestamp;
use crate::command::{Click, Verb};

/// The language where none is chosen.
pub const DEFAULT_LOCALE: &str = "en";
/// Those that are built in.
pub const LOCALES: [&str; 2] = ["en", "zh"];
/// Longest template file.
pub const FILE_BYTES_MAX: u64 = 256 * 1024;
/// Most template files of one folder.
pub const FILES_MAX: usize = 200;
/// Longest text that one place of a template may become; more is cut.
pub const LEAF_BYTES_MAX: usize = 64 * 1024;
/// Most facts that a fallback card shows, and characters of each.
const FALLBACK_FACTS_MAX: usize = 20;
const FALLBACK_FACT_CHARS_MAX: usize = 200;

/// The built-in templates: locale, file, text.
const BUILTIN: &[(&str, &str, &str)] = &[
    ("en", "words.yaml", include_str!("../../message-templates/en/words.yaml")),
    ("en", "card.yaml", include_str!("../../message-templates/en/card.yaml")),
    ("en", "replies.yaml", include_str!("../../message-templates/en/replies.yaml")),
    ("en", "phrases.yaml", include_str!("../../message-templates/en/phrases.yaml")),
    ("en", "answers.yaml", include_str!("../../message-templates/en/answers.yaml")),
    ("en", "lists.yaml", include_str!("../../message-templates/en/lists.yaml")),
    ("en", "holds.yaml", include_str!("../../message-templates/en/holds.yaml")),
    ("en", "admin.yaml", include_str!("../../message-templates/en/admin.yaml")),
    ("en", "campaigns.yaml", include_str!("../../message-templates/en/campaigns.yaml")),
    ("en", "schedules.yaml", include_str!("../../message-templates/en/schedules.yaml")),
    ("en", "drains.yaml", include_str!("../../message-templates/en/drains.yaml")),
    ("en", "watches.yaml", include_str!("../../message-templates/en/watches.yaml")),
    ("en", "digest.yaml", include_str!("../../message-templates/en/digest.yaml")),
    ("zh", "words.yaml", include_str!("../../message-templates/zh/words.yaml")),
    ("zh", "card.yaml", include_str!("../../message-templates/zh/card.yaml")),
    ("zh", "replies.yaml", include_str!("../../message-templates/zh/replies.yaml")),
    ("zh", "phrases.yaml", include_str!("../../message-templates/zh/phrases.yaml")),
    ("zh", "answers.yaml", include_str!("../../message-templates/zh/answers.yaml")),
    ("zh", "lists.yaml", include_str!("../../message-templates/zh/lists.yaml")),
    ("zh", "holds.yaml", include_str!("../../message-templates/zh/holds.yaml")),
    ("zh", "admin.yaml", include_str!("../../message-templates/zh/admin.yaml")),
    ("zh", "campaigns.yaml", include_str!("../../message-templates/zh/campaigns.yaml")),
    ("zh", "schedules.yaml", include_str!("../../message-templates/zh/schedules.yaml")),
    ("zh", "drains.yaml", include_str!("../../message-templates/zh/drains.yaml")),
    ("zh", "watches.yaml", include_str!("../../message-templates/zh/watches.yaml")),
    ("zh", "digest.yaml", include_str!("../../message-templates/zh/digest.yaml")),
];

/// Every message in every language.
pub struct Catalogue {
    locales: BTreeMap<String, Locale>,
}

/// One language.
struct Locale {
    env: Environment<'static>,
    messages: BTreeMap<String, Message>,
}

/// A mistake in a template file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", place(.file, *.line))]
struct TemplateProblem {
    /// The file, as `en/card.yaml`.
    file: String,
    /// The line, from 1; 0 where it is about the whole file.
    line: usize,
    /// What is wrong.
    message: String,
}

/// `en/card.yaml:12`, or the file alone.
fn place(file: &str, line: usize) -> String {
    if line == 0 { file.to_owned() } else { format!("{file}:{line}") }
}

/// Why a note could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// There is no template of that name.
    #[error("no such template")]
    Unknown,
    /// A text or a condition of the template failed.
    #[error("{place}")]
    Failed {
        /// File and line of the text.
        place: String,
        /// Why.
        #[source]
        source: Box<minijinja::Error>,
    },
    /// The tone is none.
    #[error("{place}: `{tone}` is not a tone")]
    Tone {
        /// File and line of the text.
        place: String,
        /// What came out.
        tone: String,
    },
}

impl Catalogue {
    /// The templates that are built in.
    pub fn builtin() -> Self {
        Self::read(&[]).expect("the built-in templates are read by every test")
    }

    /// The built-in templates with those of `folder` in their place: `<folder>/<locale>/<any name>.yaml`. A message
    /// there replaces the message of that name; what is not there stays built in. Every message is filled in once with
    /// sample facts. All mistakes at once, as `en/mine.yaml:12: what is wrong`.
    pub fn load(folder: &Path) -> Result<Self, Vec<String>> {
        let read = structure::read_folder(folder).and_then(|files| Self::read(&files));
        let catalogue =
            read.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let mistakes = rehearsal::mistakes(&catalogue);
        if mistakes.is_empty() { Ok(catalogue) } else { Err(mistakes) }
    }

    /// Every message's name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.locales
            .get(DEFAULT_LOCALE)
            .into_iter()
            .flat_map(|locale| locale.messages.keys().map(String::as_str))
    }

    /// The card of a note in a language; [`DEFAULT_LOCALE`] stands in for what a folder's own language lacks. Never
    /// fails: a template that does gives the plain facts, and an error in the log.
    pub fn render(&self, locale: &str, note: &Note) -> Card {
        self.try_render(locale, note).unwrap_or_else(|error| {
            let reason = std::error::Error::source(&error).map(|e| e.to_string()).unwrap_or_default();
            tracing::error!(template.name = %note.template, reason, "a message is shown plain: {error}");
            fallback(note)
        })
    }

    /// The card of a note in a language, or why there is none.
    pub fn try_render(&self, locale: &str, note: &Note) -> Result<Card, RenderError> {
        let (locale, message) = [locale, DEFAULT_LOCALE]
            .iter()
            .find_map(|name| {
                let locale = self.locales.get(*name)?;
                Some((locale, locale.messages.get(&note.template)?))
            })
            .ok_or(RenderError::Unknown)?;
        let click = Facts::click(&note.facts);
        Facts { env: &locale.env, click, facts: markup::clean_map(&note.facts) }.card(message)
    }

    /// A phrase ([`Phrase`](super::Phrase)) of a language in plain words; a text is itself. Empty where there is none.
    pub fn phrase(&self, locale: &str, said: &Json) -> String {
        let named = |name: &str| {
            let locale = self.locales.get(locale).or_else(|| self.locales.get(DEFAULT_LOCALE))?;
            let phrase = locale.env.get_template(&structure::phrase_name(name)).ok()?;
            phrase.render(markup::clean(said)).ok()
        };
        let words = match said.get("phrase").and_then(Json::as_str) {
            Some(name) => named(name).unwrap_or_default(),
            None => said.as_str().unwrap_or_default().to_owned(),
        };
        markup::plain(&words)
    }

    fn read(overrides: &[(String, String, String)]) -> Result<Self, Vec<TemplateProblem>> {
        let mut problems = Vec::new();
        let mut locales: BTreeMap<String, File> = BTreeMap::new();
        for (locale, name, text) in BUILTIN {
            let file = structure::parse(&format!("built-in {locale}/{name}"), text, &mut problems);
            locales.entry((*locale).to_owned()).or_default().join(file, &mut problems);
        }
        let mut added: BTreeMap<String, File> = BTreeMap::new();
        for (locale, name, text) in overrides {
            let file = structure::parse(&format!("{locale}/{name}"), text, &mut problems);
            added.entry(locale.clone()).or_default().join(file, &mut problems);
        }
        for (locale, file) in added {
            locales.entry(locale).or_default().replace(file);
        }
        // A language without words and macros of its own has the default ones.
        let default = locales.get(DEFAULT_LOCALE).map(File::shared).unwrap_or_default();
        let locales = locales
            .into_iter()
            .map(|(name, file)| {
                let locale = Locale::build(Tongue::of(&name), file.or_shared(&default), &mut problems);
                (name, locale)
            })
            .collect();
        if problems.is_empty() { Ok(Catalogue { locales }) } else { Err(problems) }
    }
}

impl Locale {
    fn build(tongue: Tongue, file: File, problems: &mut Vec<TemplateProblem>) -> Locale {
        let mut env = Environment::new();
        env.set_syntax(syntax());
        env.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        env.set_auto_escape_callback(|_| AutoEscape::None);
        env.set_formatter(|out, state, value| {
            if value.is_none() { Ok(()) } else { minijinja::escape_formatter(out, state, value) }
        });
        filters::install(&mut env, tongue);
        env.add_global("words", markup::clean_map(&file.words));
        let mut leaves = Vec::new();
        leaves.extend(file.macros.iter().chain(file.phrases.values()));
        file.messages.values().for_each(|message| message.leaves(&mut leaves));
        for leaf in leaves {
            if let Err(error) = env.add_template_owned(leaf.name.clone(), leaf.source.clone()) {
                problems.push(leaf.problem(&error));
            }
        }
        Locale { env, messages: file.messages }
    }
}

/// A tag on a line of its own leaves no line behind.
fn syntax() -> SyntaxConfig {
    let built = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    built.expect("the usual delimiters with other white space are a good syntax")
}

// ---- filling in -------------------------------------------------------------------------------------------

struct Facts<'a> {
    env: &'a Environment<'static>,
    facts: minijinja::Value,
    /// What buttons carry.
    click: Option<Drawn>,
}

/// The card that buttons stand on.
#[derive(Clone)]
struct Drawn {
    run: i64,
    generation: i64,
    /// The board that it is about, where that is one that somebody has.
    board: Option<BoardId>,
    /// When the attempt began that it shows; until when the board is theirs; when the question was asked.
    at: Option<Timestamp>,
}

impl Facts<'_> {
    fn click(facts: &Map<String, Json>) -> Option<Drawn> {
        let instant = |name: &str| facts.get(name).and_then(Json::as_i64).map(Timestamp::from_micros);
        if let Some(fence) = facts.get("fence").and_then(Json::as_i64) {
            let board = facts.get("board").and_then(Json::as_str).map(BoardId::new)?;
            let at = instant("question_at").or_else(|| instant("until"));
            return Some(Drawn { run: 0, generation: fence, board: Some(board), at });
        }
        if let Some(campaign) = facts.get("campaign") {
            let number = |name: &str| campaign.get(name).and_then(Json::as_i64);
            return Some(Drawn {
                run: number("number")?,
                generation: number("since")?,
                board: None,
                at: None,
            });
        }
        Some(Drawn {
            board: None,
            run: facts.get("run")?.get("number")?.as_i64()?,
            generation: facts.get("generation")?.as_i64()?,
            at: instant("started_at"),
        })
    }

    fn card(&self, message: &Message) -> Result<Card, RenderError> {
        let mut blocks = Vec::new();
        for block in &message.blocks {
            if self.holds(block.when.as_ref())? {
                blocks.extend(self.block(block)?);
            }
        }
        Ok(Card { summary: self.line(&message.summary)?, tone: self.tone(message.tone.as_ref())?, blocks })
    }

    fn block(&self, block: &BlockTemplate) -> Result<Option<Block>, RenderError> {
        Ok(match &block.kind {
            BlockKind::Title(leaf) => Some(self.line(leaf)?).filter(|t| !t.is_empty()).map(Block::Title),
            BlockKind::Text(leaf) => Some(self.text(leaf)?).filter(|t| !t.0.is_empty()).map(Block::Text),
            BlockKind::Context(leaf) => {
                Some(self.text(leaf)?).filter(|t| !t.0.is_empty()).map(Block::Context)
            }
            BlockKind::Log(leaf) => {
                Some(markup::plain(&self.fill(leaf)?)).filter(|t| !t.trim().is_empty()).map(Block::Log)
            }
            BlockKind::Fields(fields) => {
                let mut filled = Vec::new();
                for (label, value) in fields {
                    let value = self.text(value)?;
                    if !value.0.is_empty() {
                        filled.push((self.line(label)?, value));
                    }
                }
                Some(filled).filter(|f| !f.is_empty()).map(Block::Fields)
            }
            BlockKind::Buttons(buttons) => {
                let mut drawn = Vec::new();
                for button in buttons {
                    if self.holds(button.when.as_ref())? {
                        drawn.extend(self.button(button)?);
                    }
                }
                Some(drawn).filter(|b| !b.is_empty()).map(Block::Buttons)
            }
            BlockKind::Divider => Some(Block::Divider),
        })
    }

    /// A button; none where the facts do not say on whose card it stands.
    fn button(&self, button: &ButtonTemplate) -> Result<Option<Button>, RenderError> {
        let Some(Drawn { run, generation, at, board }) = self.click.clone() else {
            return Ok(None);
        };
        let confirm = match &button.confirm {
            None => None,
            Some([title, text, yes, no]) => Some(Confirm {
                title: self.line(title)?,
                text: self.line(text)?,
                yes: self.line(yes)?,
                no: self.line(no)?,
            }),
        };
        // A board's own power cycle is about no attempt.
        let is_about = match button.verb {
            Verb::PowerCycle => board.is_none(),
            Verb::Extend | Verb::PowerAnyway => true,
            _ => false,
        };
        let click = Click { verb: button.verb, run, generation, at: at.filter(|_| is_about), board };
        Ok(Some(Button { label: self.line(&button.label)?, click, style: button.style, confirm }))
    }

    fn tone(&self, leaf: Option<&Leaf>) -> Result<Tone, RenderError> {
        let Some(leaf) = leaf else {
            return Ok(Tone::Neutral);
        };
        let tone = self.line(leaf)?;
        structure::tone(&tone).ok_or_else(|| RenderError::Tone { place: leaf.place(), tone })
    }

    fn holds(&self, when: Option<&Leaf>) -> Result<bool, RenderError> {
        when.map_or(Ok(true), |leaf| Ok(!self.fill(leaf)?.is_empty()))
    }

    fn line(&self, leaf: &Leaf) -> Result<String, RenderError> {
        Ok(markup::plain(&self.fill(leaf)?).split_whitespace().collect::<Vec<_>>().join(" "))
    }

    fn text(&self, leaf: &Leaf) -> Result<Text, RenderError> {
        Ok(markup::parse(self.fill(leaf)?.trim()))
    }

    fn fill(&self, leaf: &Leaf) -> Result<String, RenderError> {
        if leaf.is_plain() {
            return Ok(leaf.source.clone());
        }
        let filled =
            self.env.get_template(&leaf.name).and_then(|template| template.render(self.facts.clone()));
        let mut text =
            filled.map_err(|source| RenderError::Failed { place: leaf.place(), source: Box::new(source) })?;
        text.truncate(text.floor_char_boundary(LEAF_BYTES_MAX));
        Ok(text)
    }
}

// ---- the last resort --------------------------------------------------------------------------------------

/// The plain facts. Its few words stand here and not in a template, since templates have failed.
fn fallback(note: &Note) -> Card {
    let mut lines = Vec::new();
    for (name, value) in &note.facts {
        match value {
            Json::Object(inner) => {
                lines.extend(inner.iter().filter_map(|(n, v)| fact(&format!("{name}.{n}"), v)))
            }
            value => lines.extend(fact(name, value)),
        }
    }
    lines.truncate(FALLBACK_FACTS_MAX);
    let spans = lines.into_iter().map(|line| Span::Plain(line + "\n"));
    Card {
        summary: format!("{} (shown plain, its template failed)", note.template),
        tone: Tone::Warning,
        blocks: vec![Block::Title(note.template.clone()), Block::Text(Text(spans.collect()))],
    }
}

fn fact(name: &str, value: &Json) -> Option<String> {
    let value = match value {
        Json::String(text) => text.chars().take(FALLBACK_FACT_CHARS_MAX).collect(),
        Json::Number(_) | Json::Bool(_) => value.to_string(),
        Json::Null | Json::Array(_) | Json::Object(_) => return None,
    };
    Some(format!("{name}: {value}"))
}

#[cfg(test)]
mod tests;
