//! What stands between `{{` and `}}`: a path to one value, and perhaps `| raw`. Pure; a closed set, so that a
//! misspelt name is found when the lab file is read and not when a board waits.

use std::borrow::Cow;
use std::fmt;

use super::{RenderError, Values, url};
use crate::board::near::nearest;

/// A value that a template can name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Placeholder {
    /// `build.id`.
    BuildId,
    /// `build.artifacts["test.bin"].url`.
    ArtifactUrl(String),
    /// `build.artifacts["test.bin"].path`: where it is among boardhand's own artifacts.
    ArtifactPath(String),
    /// `params.iterations`.
    Param(String),
    /// `board.id`.
    BoardId,
    /// `board.ip`.
    BoardIp,
    /// `board.family`.
    BoardFamily,
    /// `board.revision`.
    BoardRevision,
    /// `board.site`.
    BoardSite,
    /// `board.tags["ddr"]`.
    BoardTag(String),
    /// `run.number`.
    RunNumber,
    /// `run.attempt`.
    RunAttempt,
    /// `run.suite`.
    RunSuite,
    /// `artifacts.url`.
    ServedUrl,
    /// `artifacts.host`.
    ServedHost,
    /// `artifacts.path`.
    ServedPath,
}

/// The names without a part of one's own, for did-you-mean.
const NAMES: [(&str, Placeholder); 12] = [
    ("build.id", Placeholder::BuildId),
    ("board.id", Placeholder::BoardId),
    ("board.ip", Placeholder::BoardIp),
    ("board.family", Placeholder::BoardFamily),
    ("board.revision", Placeholder::BoardRevision),
    ("board.site", Placeholder::BoardSite),
    ("run.number", Placeholder::RunNumber),
    ("run.attempt", Placeholder::RunAttempt),
    ("run.suite", Placeholder::RunSuite),
    ("artifacts.url", Placeholder::ServedUrl),
    ("artifacts.host", Placeholder::ServedHost),
    ("artifacts.path", Placeholder::ServedPath),
];

/// Reads the text between the braces: the value, and whether it stands raw.
pub(super) fn parse(text: &str) -> Result<(Placeholder, bool), String> {
    let (path, filter) = match text.split_once('|') {
        Some((path, filter)) => (path.trim(), Some(filter.trim())),
        None => (text.trim(), None),
    };
    let placeholder = resolve(path)?;
    match filter {
        None => Ok((placeholder, false)),
        Some("raw") if placeholder.is_from_lab_file() => Ok((placeholder, true)),
        Some("raw") => {
            Err(format!("`| raw` is only for values written in boards.yaml; {placeholder} is not"))
        }
        Some(filter) => Err(format!("unknown filter {filter:?}; there is only `raw`")),
    }
}

fn resolve(path: &str) -> Result<Placeholder, String> {
    let segments =
        segments(path).ok_or_else(|| format!("cannot read {path:?} as a name such as build.id"))?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments[..] {
        ["build", "artifacts", name, "url"] => return Ok(Placeholder::ArtifactUrl(name.to_owned())),
        ["build", "artifacts", name, "path"] => return Ok(Placeholder::ArtifactPath(name.to_owned())),
        ["params", name] => return Ok(Placeholder::Param(name.to_owned())),
        ["board", "tags", name] => return Ok(Placeholder::BoardTag(name.to_owned())),
        _ => {}
    }
    let whole = segments.join(".");
    if let Some((_, placeholder)) = NAMES.iter().find(|(name, _)| *name == whole) {
        return Ok(placeholder.clone());
    }
    let others =
        ["build.artifacts[\"…\"].url", "build.artifacts[\"…\"].path", "params.…", "board.tags[\"…\"]"];
    let near = nearest(&whole, NAMES.iter().map(|(name, _)| *name));
    Err(match near {
        Some(near) => format!("unknown name {whole:?}; did you mean \"{near}\"?"),
        None => {
            let known: Vec<&str> = NAMES.iter().map(|(name, _)| *name).chain(others).collect();
            format!("unknown name {whole:?}; known are {}", known.join(", "))
        }
    })
}

/// The segments of `a.b["c"].d`.
fn segments(path: &str) -> Option<Vec<String>> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut segments = Vec::new();
    let mut rest = path;
    loop {
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        segments.push(rest.get(..end).filter(|word| !word.is_empty())?.to_owned());
        rest = &rest[end..];
        while let Some(inner) = rest.strip_prefix('[') {
            let quote = inner.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            let (name, after) = inner[1..].split_once(quote)?;
            segments.push(Some(name).filter(|name| !name.is_empty())?.to_owned());
            rest = after.strip_prefix(']')?;
        }
        if rest.is_empty() {
            return Some(segments);
        }
        rest = rest.strip_prefix('.')?;
    }
}

impl Placeholder {
    /// Whether the value can be one that was written in boards.yaml.
    fn is_from_lab_file(&self) -> bool {
        use Placeholder as P;
        match self {
            P::ArtifactUrl(_)
            | P::BoardId
            | P::BoardIp
            | P::BoardFamily
            | P::BoardRevision
            | P::BoardSite => true,
            P::BoardTag(_) => true,
            P::BuildId | P::ArtifactPath(_) | P::Param(_) | P::RunNumber | P::RunAttempt | P::RunSuite => {
                false
            }
            P::ServedUrl | P::ServedHost | P::ServedPath => false,
        }
    }

    /// Whether it names boardhand's own artifacts.
    pub fn is_served(&self) -> bool {
        matches!(self, Placeholder::ServedUrl | Placeholder::ServedHost | Placeholder::ServedPath)
    }

    /// The artifact of the build that it names.
    pub fn artifact(&self) -> Option<&str> {
        match self {
            Placeholder::ArtifactUrl(name) | Placeholder::ArtifactPath(name) => Some(name),
            _ => None,
        }
    }

    /// The value. A raw artifact address must be the lab file's.
    pub(super) fn value<'v>(&self, values: &'v Values, raw: bool) -> Result<Cow<'v, str>, RenderError> {
        use Placeholder as P;
        let missing = || RenderError::NoValue(self.clone());
        let board = &values.board;
        Ok(match self {
            P::BuildId => values.build.as_str().into(),
            P::ArtifactUrl(name) => {
                let artifact =
                    values.artifacts.get(name).ok_or_else(|| RenderError::NoArtifact(name.clone()))?;
                if raw && !artifact.from_lab_file {
                    return Err(RenderError::ForeignRaw(self.clone()));
                }
                artifact.url.as_str().into()
            }
            P::ArtifactPath(name) => {
                let artifact =
                    values.artifacts.get(name).ok_or_else(|| RenderError::NoArtifact(name.clone()))?;
                let path = artifact.url.strip_prefix(&values.served).and_then(|rest| rest.strip_prefix('/'));
                path.filter(|_| !values.served.is_empty())
                    .ok_or_else(|| RenderError::Elsewhere(name.clone()))?
                    .into()
            }
            P::Param(name) => {
                let value = values.params.get(name).ok_or_else(|| RenderError::NoParam(name.clone()))?;
                value.to_string().into()
            }
            P::BoardId => board.id.as_str().into(),
            P::BoardIp => board.ip.as_str().into(),
            P::BoardFamily => board.family.as_str().into(),
            P::BoardRevision => board.revision.as_deref().ok_or_else(missing)?.into(),
            P::BoardSite => board.site.as_str().into(),
            P::BoardTag(name) => board.tags.get(name).ok_or_else(missing)?.as_str().into(),
            P::RunNumber => values.run.to_string().into(),
            P::RunAttempt => values.attempt.to_string().into(),
            P::RunSuite => values.suite.as_str().into(),
            P::ServedUrl => values.served.as_str().into(),
            P::ServedHost => url::host_of(&values.served).into(),
            P::ServedPath => url::path_of(&values.served).into(),
        })
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Placeholder::ArtifactUrl(name) => write!(f, "build.artifacts[{name:?}].url"),
            Placeholder::ArtifactPath(name) => write!(f, "build.artifacts[{name:?}].path"),
            Placeholder::Param(name) => write!(f, "params.{name}"),
            Placeholder::BoardTag(name) => write!(f, "board.tags[{name:?}]"),
            plain => {
                let row = NAMES.iter().find(|(_, placeholder)| placeholder == plain);
                f.write_str(row.map_or("", |(name, _)| name))
            }
        }
    }
}
