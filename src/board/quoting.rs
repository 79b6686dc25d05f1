//! Quoting: the commands of plans as templates, filled so that no value can become more than one word.
//!
//! `lab_file` parses a [`CommandTemplate`] when the lab file is read, and every placeholder that stands where a value
//! could not be quoted is a problem then; `worker::runner` calls [`CommandTemplate::render`] once per step. A value
//! never reaches a shell unquoted: in `run` it is single-quoted for POSIX sh, in `command` and `send`, which talk to
//! things that know no quoting, it must consist of harmless characters.

mod expression;
mod shell;
mod url;

use std::collections::BTreeMap;
use std::fmt;

use super::plan::ParamValue;
use super::{Board, BoardId, Family, Site};

pub use expression::Placeholder;
pub use url::{ArtifactUrl, UrlTemplate};

/// Longest command of a plan, in bytes: a terminal's input line holds 4095, and the framing around it needs some.
pub const COMMAND_BYTES_MAX: usize = 3500;

/// Characters, beside ASCII letters and digits, that a value may have where nothing can quote it.
const PLAIN: &str = "._:/=@+,-";

/// A command of a plan: text with `{{ placeholders }}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandTemplate {
    parts: Vec<Part>,
    quoting: Quoting,
}

/// What reads the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quoting {
    /// A POSIX shell: values are single-quoted.
    Shell,
    /// A program that gets it as one argument: a value must not look like an option.
    Argument,
    /// A boot loader, or whatever listens: values must need no quoting.
    Plain,
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Stands as it is.
    Text(String),
    /// A value goes here.
    Value {
        /// Which.
        placeholder: Placeholder,
        /// Without quoting: only for values written in boards.yaml.
        raw: bool,
        /// Where its `{{` stands, in bytes.
        offset: usize,
        /// Where its `}}` ends.
        end: usize,
    },
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateProblem {
    /// Where, in bytes from the beginning of the text.
    pub offset: usize,
    /// What is wrong.
    pub message: String,
}

/// Why a template could not be filled. Values are not repeated: they are somebody else's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// Neither the build nor the family has this artifact.
    #[error("neither the build nor its family has an artifact {0:?}")]
    NoArtifact(String),
    /// Nobody set this parameter, and it has no default.
    #[error("the parameter {0:?} has no value")]
    NoParam(String),
    /// The board lacks what the placeholder names.
    #[error("the board has no {0}")]
    NoValue(Placeholder),
    /// The artifact is not among boardhand's own.
    #[error("the artifact {0:?} has no path: its SHA-256 was not told, so boards fetch it from where it is")]
    Elsewhere(String),
    /// The value holds characters that this place cannot take.
    #[error("the value of {placeholder} may only hold {allowed} here")]
    Unsafe {
        /// Whose value.
        placeholder: Placeholder,
        /// What it may hold.
        allowed: &'static str,
    },
    /// `| raw` met an address that was not written in boards.yaml.
    #[error("{0} comes from a registered build and cannot stand `| raw`")]
    ForeignRaw(Placeholder),
}

/// Everything that a template can name.
#[derive(Debug, Clone, PartialEq)]
pub struct Values {
    /// The build's id.
    pub build: String,
    /// Addresses of artifacts: the build's own, and the family's for the rest.
    pub artifacts: BTreeMap<String, ArtifactUrl>,
    /// Values of the plan's parameters, defaults included.
    pub params: BTreeMap<String, ParamValue>,
    /// The board.
    pub board: BoardFacts,
    /// The run's number.
    pub run: i64,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The suite.
    pub suite: String,
    /// Where this attempt finds boardhand's own artifacts, without a slash at its end.
    pub served: String,
}

/// What a template can name of a board: nothing secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoardFacts {
    /// `board_id`.
    pub id: BoardId,
    /// `board_ip`.
    pub ip: String,
    /// `soc_family`.
    pub family: Family,
    /// `soc_revision`.
    pub revision: Option<String>,
    /// `lab_location`.
    pub site: Site,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl From<&Board> for BoardFacts {
    fn from(board: &Board) -> Self {
        BoardFacts {
            id: board.id.clone(),
            ip: board.console.host.clone(),
            family: board.family.clone(),
            revision: board.revision.clone(),
            site: board.site.clone(),
            tags: board.tags.clone(),
        }
    }
}

impl CommandTemplate {
    /// Reads a shell command. Refuses placeholders where a quoted value would not stay one word: inside quotes,
    /// backticks, `$(…)`, `${…}`, comments and here-documents, after a backslash or `$`, and as text for `eval` or
    /// `sh -c`; and the few constructs whose end shells disagree about.
    pub fn parse(text: &str) -> Result<Self, TemplateProblem> {
        let template = Self { parts: split(text)?, quoting: Quoting::Shell };
        shell::check(&template.parts)?;
        Ok(template)
    }

    /// Reads a line for something that knows no quoting: a boot loader, or whatever listens to `send`.
    pub fn parse_plain(text: &str) -> Result<Self, TemplateProblem> {
        Ok(Self { parts: split(text)?, quoting: Quoting::Plain })
    }

    /// Reads one argument of a program that no shell starts: a text, or one placeholder alone. Within a text, a value
    /// could become code of whatever the program reads there.
    pub fn parse_argument(text: &str) -> Result<Self, TemplateProblem> {
        let parts = split(text)?;
        let offset = parts.iter().find_map(|part| match part {
            Part::Text(_) => None,
            Part::Value { offset, raw, .. } => (*raw || parts.len() > 1).then_some(*offset),
        });
        match offset {
            None => Ok(Self { parts, quoting: Quoting::Argument }),
            Some(offset) => {
                let message = "here a placeholder stands alone as an argument, without `| raw`".to_owned();
                Err(TemplateProblem { offset, message })
            }
        }
    }

    /// What stands between the placeholders, in order.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Value { .. } => None,
        })
    }

    /// What it names, in order, each with the offset of its `{{` in bytes.
    pub fn placeholders(&self) -> impl Iterator<Item = (&Placeholder, usize)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Value { placeholder, offset, .. } => Some((placeholder, *offset)),
        })
    }

    /// The command with every value in its place.
    pub fn render(&self, values: &Values) -> Result<String, RenderError> {
        let mut command = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => command.push_str(text),
                Part::Value { placeholder, raw, .. } => {
                    let value = placeholder.value(values, *raw)?;
                    match (raw, self.quoting) {
                        (true, _) => command.push_str(harmless(placeholder, &value)?),
                        (false, Quoting::Shell) => {
                            quote_into(&mut command, without_nul(placeholder, &value)?)
                        }
                        (false, Quoting::Argument) => command.push_str(argument(placeholder, &value)?),
                        (false, Quoting::Plain) => command.push_str(plain(placeholder, &value)?),
                    }
                }
            }
        }
        Ok(command)
    }
}

impl fmt::Display for CommandTemplate {
    /// The template as a person would write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Text(text) => f.write_str(text)?,
                Part::Value { placeholder, raw: false, .. } => write!(f, "{{{{ {placeholder} }}}}")?,
                Part::Value { placeholder, raw: true, .. } => write!(f, "{{{{ {placeholder} | raw }}}}")?,
            }
        }
        Ok(())
    }
}

/// Whether a value needs no quoting anywhere: only ASCII letters, digits and `. _ : / = @ + , -`.
pub fn is_plain(value: &str) -> bool {
    value.chars().all(|c| c.is_ascii_alphanumeric() || PLAIN.contains(c))
}

/// `value` as one word of POSIX sh.
pub fn quote(value: &str) -> String {
    let mut word = String::with_capacity(value.len() + 2);
    quote_into(&mut word, value);
    word
}

fn quote_into(command: &mut String, value: &str) {
    command.push('\'');
    for (n, piece) in value.split('\'').enumerate() {
        if n > 0 {
            command.push_str(r"'\''");
        }
        command.push_str(piece);
    }
    command.push('\'');
}

fn without_nul<'v>(placeholder: &Placeholder, value: &'v str) -> Result<&'v str, RenderError> {
    let allowed = "characters other than NUL";
    if value.contains('\0') {
        Err(RenderError::Unsafe { placeholder: placeholder.clone(), allowed })
    } else {
        Ok(value)
    }
}

/// A value that a program takes for what it is.
fn argument<'v>(placeholder: &Placeholder, value: &'v str) -> Result<&'v str, RenderError> {
    let allowed = "text that does not begin with -, without NUL";
    if value.starts_with('-') || value.contains('\0') {
        Err(RenderError::Unsafe { placeholder: placeholder.clone(), allowed })
    } else {
        Ok(value)
    }
}

fn plain<'v>(placeholder: &Placeholder, value: &'v str) -> Result<&'v str, RenderError> {
    let allowed = "letters, digits and . _ : / = @ + , -";
    if is_plain(value) {
        Ok(value)
    } else {
        Err(RenderError::Unsafe { placeholder: placeholder.clone(), allowed })
    }
}

/// A raw value may be several words, but must not change how the rest of the command reads.
fn harmless<'v>(placeholder: &Placeholder, value: &'v str) -> Result<&'v str, RenderError> {
    let harmful = |c: char| c.is_control() || "'\"`\\$#<>()".contains(c);
    let allowed = "text without quotes, backslashes, control characters and $ # < > ( )";
    if value.contains(harmful) {
        Err(RenderError::Unsafe { placeholder: placeholder.clone(), allowed })
    } else {
        Ok(value)
    }
}

/// Cuts a text at its placeholders.
fn split(text: &str) -> Result<Vec<Part>, TemplateProblem> {
    if text.len() > COMMAND_BYTES_MAX {
        let message = format!("a command may have {COMMAND_BYTES_MAX} bytes, not {}", text.len());
        return Err(TemplateProblem { offset: 0, message });
    }
    if let Some(offset) = text.find('\0') {
        return Err(TemplateProblem { offset, message: "a command cannot hold a NUL character".into() });
    }
    let mut parts = Vec::new();
    let mut done = 0;
    while let Some(start) = text[done..].find("{{").map(|at| done + at) {
        let inner = start + 2;
        let Some(end) = text[inner..].find("}}").map(|at| inner + at) else {
            let message = "`{{` has no `}}`".to_owned();
            return Err(TemplateProblem { offset: start, message });
        };
        if start > done {
            parts.push(Part::Text(text[done..start].to_owned()));
        }
        let (placeholder, raw) = expression::parse(&text[inner..end])
            .map_err(|message| TemplateProblem { offset: start, message })?;
        done = end + 2;
        parts.push(Part::Value { placeholder, raw, offset: start, end: done });
    }
    if done < text.len() {
        parts.push(Part::Text(text[done..].to_owned()));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests;
