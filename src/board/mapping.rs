//! Mappings: how what another program posts becomes a document of ours, as boards.yaml says it: which values of its JSON
//! are the build, the family, the commit. Pure. Nothing is guessed: a value that a mapping names must be there, unless it
//! says that it may be missing, and exactly one mapping takes a post.

mod plugins;
mod template;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::inventory::is_like;
use super::shown;
use crate::build::{ARTIFACTS_MAX, BuildResult};

pub use self::plugins::Plugin;
pub use self::template::{Missing, Pointer, TEMPLATE_BYTES_MAX, Template, TemplateProblem};

/// Fields of a document that tells of a build, and what a mapping writes for it.
pub const BUILD_FIELDS: [&str; 10] =
    ["family", "build", "result", "branch", "commit", "job", "number", "url", "key", "requested_by"];
/// The same of one that asks for a run.
pub const RUN_FIELDS: [&str; 14] = [
    "family",
    "build",
    "suite",
    "revision",
    "priority",
    "timeout",
    "result",
    "branch",
    "commit",
    "job",
    "number",
    "url",
    "key",
    "requested_by",
];

/// What a post that a mapping takes is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It tells of a build.
    Build,
    /// It asks for a run.
    Run,
}

impl Event {
    /// The word in a document.
    pub fn as_str(self) -> &'static str {
        match self {
            Event::Build => "build.finished",
            Event::Run => "run.request",
        }
    }

    /// What a mapping may write of it.
    pub fn fields(self) -> &'static [&'static str] {
        match self {
            Event::Build => &BUILD_FIELDS,
            Event::Run => &RUN_FIELDS,
        }
    }
}

/// One entry of `mapping:`.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// What it makes of a post.
    pub event: Event,
    /// The plugin whose posts it takes; any program's where there is none.
    pub from: Option<Plugin>,
    /// Which posts it takes: all of these hold.
    pub when: Vec<Condition>,
    /// Which of those mean something; the others change nothing.
    pub only: Vec<Condition>,
    /// What stands in the document, by the names of [`BUILD_FIELDS`] and [`RUN_FIELDS`].
    pub fields: BTreeMap<&'static str, Template>,
    /// Parameters of a run.
    pub params: BTreeMap<String, Template>,
    /// Files of a build.
    pub artifacts: Vec<Listing>,
    /// What the sender's words for a result mean.
    pub results: BTreeMap<String, BuildResult>,
}

/// What a value must be like.
#[derive(Debug, Clone)]
pub struct Condition {
    /// Where it stands.
    pub at: String,
    /// What it may be: `*` stands for any characters, and the case of letters is nothing.
    pub like: Vec<String>,
}

impl Condition {
    fn holds(&self, body: &Value) -> bool {
        let is = body.pointer(&self.at).and_then(template::text).unwrap_or_default().to_lowercase();
        !is.is_empty() && self.like.iter().any(|like| is_like(&like.to_lowercase(), &is))
    }
}

/// Files of a build: one, or one for each entry of a list or an object.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Where the entries stand.
    pub each: Option<Pointer>,
    /// Only files of names like these; all where there is none.
    pub named: Vec<String>,
    /// What plans call it.
    pub name: Template,
    /// Where it is.
    pub url: Template,
    /// Its SHA-256.
    pub sha256: Option<Template>,
    /// Its bytes.
    pub size: Option<Template>,
}

/// What becomes of a post.
#[derive(Debug, PartialEq)]
pub enum Reading {
    /// No mapping takes it: it must be a document as it is.
    AsItIs,
    /// It means nothing here, and why.
    Nothing(String),
    /// A document, and the mapping that made it.
    Document(String, Map<String, Value>),
}

/// Why a post is no document, in words for whoever wrote the mapping or the pipeline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingProblem {
    /// A field cannot be had.
    #[error("the mapping {mapping} of boards.yaml: {field}: {wrong}")]
    Field {
        /// The mapping.
        mapping: String,
        /// The field, as the mapping writes it.
        field: String,
        /// Why not.
        wrong: String,
    },
    /// Two mappings take it.
    #[error(
        "the mappings {0} and {1} of boards.yaml both take this post; what they have under \"when\" must tell it apart"
    )]
    Both(String, String),
    /// A plugin's post that none takes.
    #[error(
        "this is what Jenkins' {plugin} posts of the job {}, and no mapping of boards.yaml takes it; add one under \
         \"mapping:\", such as compiler: {{from: {}, when: {{/job: {job}}}, family: …}}",
        shown(job), plugin.as_str()
    )]
    NoMapping {
        /// The plugin.
        plugin: Plugin,
        /// The job.
        job: String,
    },
}

/// Reads a post by the mapping that takes it.
pub fn read(
    mappings: &BTreeMap<String, Mapping>,
    body: &Map<String, Value>,
) -> Result<Reading, MappingProblem> {
    let plugin = Plugin::of(body);
    // Almost every lab has none, and almost every post is a document as it is.
    if mappings.is_empty() && plugin.is_none() {
        return Ok(Reading::AsItIs);
    }
    let body = Value::Object(plugin.map_or_else(|| body.clone(), |plugin| plugin.completed(body)));
    let mut taking = mappings.iter().filter(|(_, mapping)| mapping.takes(plugin, &body));
    match (taking.next(), taking.next()) {
        (None, _) => plugin.map_or(Ok(Reading::AsItIs), |plugin| plugin.untaken(&body)),
        (Some((name, mapping)), None) => mapping.read(name, &body),
        (Some((one, _)), Some((other, _))) => Err(MappingProblem::Both(one.clone(), other.clone())),
    }
}

impl Mapping {
    fn takes(&self, plugin: Option<Plugin>, body: &Value) -> bool {
        (self.from.is_none() || self.from == plugin)
            && self.when.iter().all(|condition| condition.holds(body))
    }

    fn read(&self, name: &str, body: &Value) -> Result<Reading, MappingProblem> {
        if let Some(condition) = self.only.iter().find(|condition| !condition.holds(body)) {
            let is = body.pointer(&condition.at).and_then(template::text);
            let is = is.map_or_else(|| "nothing".to_owned(), |is| shown(&is));
            return Ok(Reading::Nothing(format!(
                "{is} at {} means nothing to the mapping {name}: nothing was done",
                condition.at
            )));
        }
        let wrong = |field: &str, wrong: String| MappingProblem::Field {
            mapping: name.to_owned(),
            field: field.to_owned(),
            wrong,
        };
        let mut document = Map::new();
        for (field, template) in &self.fields {
            let value = template.fill(body, None).map_err(|missing| wrong(field, missing.to_string()))?;
            let value = value.map(|value| self.plain(field, value)).transpose();
            if let Some(value) = value.map_err(|problem| wrong(field, problem))? {
                document.insert(written(field).to_owned(), value.into());
            }
        }
        if self.event == Event::Run {
            match document.remove("result").as_ref().and_then(Value::as_str) {
                None | Some("success") => {}
                Some(result) => {
                    return Ok(Reading::Nothing(format!(
                        "the build ended as {result}, and the mapping {name} starts runs of good ones only: nothing was done"
                    )));
                }
            }
            let params = self.params.iter().map(|(param, template)| {
                let value = template.fill(body, None);
                value
                    .map(|value| value.map(|value| (param.clone(), value.into())))
                    .map_err(|missing| wrong(&format!("params.{param}"), missing.to_string()))
            });
            let params: Vec<Option<(String, Value)>> = params.collect::<Result<_, _>>()?;
            document.insert("params".into(), Value::Object(params.into_iter().flatten().collect()));
        } else {
            let artifacts = self.listed(body).map_err(|missing| wrong("artifacts", missing.to_string()))?;
            document.insert("artifacts".into(), artifacts.into());
        }
        // What is told twice of one build of a job is told once; and is not what a pipeline of that
        // job asks for by itself.
        let own = document.get("job").zip(document.get("number"));
        let own =
            own.and_then(|(job, number)| Some(format!("{}#{}#{name}", job.as_str()?, number.as_str()?)));
        if let (Some(own), false) = (own, document.contains_key("idempotency_key")) {
            document.insert("idempotency_key".into(), own.into());
        }
        document.insert("event".into(), self.event.as_str().into());
        Ok(Reading::Document(name.to_owned(), document))
    }

    /// A value as documents have it.
    fn plain(&self, field: &str, value: String) -> Result<String, String> {
        match field {
            "branch" => Ok(branch(&value).to_owned()),
            "result" => {
                let meant = self.results.iter().find(|(word, _)| word.eq_ignore_ascii_case(&value));
                let meant = meant.map(|(_, result)| *result).or_else(|| BuildResult::from_word(&value));
                let says = || format!("{} is no result; say under \"results\" what it means", shown(&value));
                meant.map(|result| result.as_str().to_owned()).ok_or_else(says)
            }
            _ => Ok(value),
        }
    }

    /// Every file; one more than there may be tells that there are too many.
    fn listed(&self, body: &Value) -> Result<Vec<Value>, Missing> {
        let mut files = Vec::new();
        for listing in &self.artifacts {
            let Some(each) = &listing.each else {
                files.push(listing.file(body, None)?);
                continue;
            };
            let Some(entries) = each.entries(body)? else { continue };
            for (key, entry) in entries {
                if files.len() > ARTIFACTS_MAX {
                    break;
                }
                let name = listing.name.fill(body, Some((&key, entry)))?.unwrap_or_default();
                if listing.named.is_empty() || listing.named.iter().any(|like| is_like(like, &name)) {
                    files.push(listing.file(body, Some((&key, entry)))?);
                }
            }
        }
        Ok(files)
    }
}

impl Listing {
    fn file(&self, body: &Value, entry: Option<(&str, &Value)>) -> Result<Value, Missing> {
        let mut file = Map::new();
        let optional = [("sha256", &self.sha256), ("size", &self.size)];
        let optional = optional.into_iter().filter_map(|(key, template)| Some((key, template.as_ref()?)));
        for (key, template) in [("name", &self.name), ("url", &self.url)].into_iter().chain(optional) {
            let Some(value) = template.fill(body, entry)? else { continue };
            let value = match key {
                "sha256" => Value::from(value.strip_prefix("sha256:").unwrap_or(&value)),
                "size" => value.parse::<u64>().map_or(Value::String(value), Value::from),
                _ => Value::String(value),
            };
            file.insert(key.to_owned(), value);
        }
        Ok(Value::Object(file))
    }
}

/// A field's name in a document.
fn written(field: &str) -> &str {
    if field == "key" { "idempotency_key" } else { field }
}

/// A branch as people say it, of what versions of Git and forges write for it.
fn branch(name: &str) -> &str {
    ["refs/heads/", "refs/remotes/origin/", "origin/"]
        .into_iter()
        .find_map(|front| name.strip_prefix(front))
        .filter(|name| !name.is_empty())
        .unwrap_or(name)
}

#[cfg(test)]
mod tests;
