//! Selection: what a run asks of its plan, held against the inventory. Pure; called before a run is accepted, so that
//! a value which no board could use is refused at once, and again by the Runner, which fills the plan's commands.
//!
//! Which boards could serve a run is the queue's business (`lease::queue::could_serve`).

use std::collections::BTreeMap;

use super::near::nearest;
use super::plan::{ParamKind, ParamSpec, ParamValue, Plan};
use super::quoting::{ArtifactUrl, RenderError, Values};
use super::{Board, Family, Inventory, shown};
use crate::run::{RunKind, RunSpec};

/// Longest value of a parameter, in bytes.
pub const PARAM_BYTES_MAX: usize = 500;

/// A parameter that the plan does not accept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the parameter {name} {reason}")]
pub struct ParamProblem {
    /// The parameter, as typed.
    pub name: String,
    /// The rest of the sentence: `must be a whole number of at most 100, not "500"`.
    pub reason: String,
    /// What is wrong with it.
    pub wrong: ParamWrong,
    /// When the plan has no such parameter: those it has.
    pub known: Vec<String>,
}

/// What is wrong with a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamWrong {
    /// The plan has no such parameter.
    Unknown,
    /// It must be set.
    Missing,
    /// Its value is longer than [`PARAM_BYTES_MAX`].
    TooLong,
    /// Its value holds a NUL character.
    WithNul,
    /// Its value is not of its kind.
    Value,
}

/// Why a plan's commands cannot be filled for a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The plan needs an artifact that neither the build nor the family has.
    #[error("the suite {suite} needs the artifact {artifact:?}, and neither {build} nor {family} has it")]
    MissingArtifact {
        /// The suite.
        suite: String,
        /// The artifact.
        artifact: String,
        /// The build.
        build: String,
        /// The family.
        family: Family,
    },
    /// A value does not fit where the plan uses it.
    #[error(transparent)]
    Value(#[from] RenderError),
}

/// Reads the parameters that were set, and finds those that must be and are not.
pub fn params(
    inventory: &Inventory,
    family: &Family,
    suite: &str,
    asked: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, ParamValue>, ParamProblem> {
    let none = BTreeMap::new();
    let specs = inventory.params_of(family, suite).unwrap_or(&none);
    let mut params = BTreeMap::new();
    for (name, text) in asked {
        let problem =
            |reason: String, wrong, known| ParamProblem { name: name.clone(), reason, wrong, known };
        let Some(spec) = specs.get(name) else {
            let known: Vec<String> = specs.keys().cloned().collect();
            let has = if known.is_empty() {
                "it has none".to_owned()
            } else {
                format!("it has {}", known.join(", "))
            };
            let reason = format!("does not exist in the suite {suite}; {has}");
            return Err(problem(reason, ParamWrong::Unknown, known));
        };
        let wrong = match text {
            text if text.len() > PARAM_BYTES_MAX => ParamWrong::TooLong,
            text if text.contains('\0') => ParamWrong::WithNul,
            _ => ParamWrong::Value,
        };
        let value = check_param(spec, text).map_err(|reason| problem(reason, wrong, Vec::new()))?;
        params.insert(name.clone(), value);
    }
    match specs.iter().find(|(name, spec)| spec.default.is_none() && !params.contains_key(*name)) {
        None => Ok(params),
        Some((name, spec)) => {
            let reason = format!("must be set for the suite {suite}: it {}", wants(&spec.kind));
            let (name, wrong) = (name.clone(), ParamWrong::Missing);
            Err(ParamProblem { name, reason, wrong, known: Vec::new() })
        }
    }
}

/// Reads one parameter's value. The error is the rest of a sentence: `must be a whole number of at most 100, not
/// "500"`.
pub fn check_param(spec: &ParamSpec, text: &str) -> Result<ParamValue, String> {
    if text.len() > PARAM_BYTES_MAX {
        return Err(format!("must have at most {PARAM_BYTES_MAX} bytes"));
    }
    if text.contains('\0') {
        return Err("must not hold a NUL character".to_owned());
    }
    let value = match &spec.kind {
        ParamKind::Integer { min, max } => {
            let within = |n: &i64| min.is_none_or(|min| *n >= min) && max.is_none_or(|max| *n <= max);
            text.parse().ok().filter(within).map(ParamValue::Integer)
        }
        ParamKind::String { pattern } => {
            let fits = pattern.as_ref().is_none_or(|pattern| pattern.is_match(text));
            fits.then(|| ParamValue::String(text.to_owned()))
        }
        ParamKind::Boolean => text.parse().ok().map(ParamValue::Boolean),
        ParamKind::Choice(words) => {
            let known = words.iter().any(|word| word == text);
            known.then(|| ParamValue::String(text.to_owned()))
        }
    };
    value.ok_or_else(|| {
        let near = match &spec.kind {
            ParamKind::Choice(words) => nearest(text, words.iter().map(String::as_str)),
            _ => None,
        };
        let near = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
        format!("{}, not {}{near}", wants(&spec.kind), shown(text))
    })
}

/// What a parameter accepts: `must be …`.
pub fn wants(kind: &ParamKind) -> String {
    match kind {
        ParamKind::Integer { min: Some(min), max: Some(max) } => {
            format!("must be a whole number from {min} to {max}")
        }
        ParamKind::Integer { min: Some(min), max: None } => {
            format!("must be a whole number of at least {min}")
        }
        ParamKind::Integer { min: None, max: Some(max) } => {
            format!("must be a whole number of at most {max}")
        }
        ParamKind::Integer { min: None, max: None } => "must be a whole number".to_owned(),
        ParamKind::String { pattern: None } => "must be text".to_owned(),
        ParamKind::String { pattern: Some(pattern) } => {
            format!("must match {}", written(pattern))
        }
        ParamKind::Boolean => "must be true or false".to_owned(),
        ParamKind::Choice(words) => format!("must be one of {}", words.join(", ")),
    }
}

/// A parameter's pattern as the lab file has it, without the anchors that were put around it.
pub fn written(pattern: &regex::Regex) -> &str {
    let whole = pattern.as_str();
    whole.strip_prefix(r"\A(?:").and_then(|rest| rest.strip_suffix(r")\z")).unwrap_or(whole)
}

/// Addresses of artifacts for a build: its own first, the family's for the rest. `registered` holds the
/// build's own, as addresses or as paths with a slash before them under `served`, where boardhand's are.
pub fn artifacts(
    inventory: &Inventory,
    family: &Family,
    build: &str,
    registered: &BTreeMap<String, String>,
    served: &str,
) -> BTreeMap<String, ArtifactUrl> {
    let settings = inventory.families.get(family);
    let templates = settings.into_iter().flat_map(|settings| &settings.artifacts);
    let mut artifacts: BTreeMap<String, ArtifactUrl> =
        templates.map(|(name, template)| (name.clone(), template.render(build, served))).collect();
    for (name, url) in registered {
        let url = if url.starts_with('/') { format!("{served}{url}") } else { url.clone() };
        artifacts.insert(name.clone(), ArtifactUrl { url, from_lab_file: false });
    }
    artifacts
}

/// What a run performs: its suite's plan, or its family's health plan.
pub fn plan_of<'a>(inventory: &'a Inventory, spec: &RunSpec) -> Option<&'a Plan> {
    match spec.kind {
        RunKind::Test => inventory.plan_of(&spec.family, &spec.suite),
        RunKind::Health => {
            let health = inventory.families.get(&spec.family)?.health.as_ref()?;
            inventory.plans.get(&health.plan)
        }
    }
}

/// Everything that the commands of a run's plan can name, on one board.
pub fn values(
    inventory: &Inventory,
    spec: &RunSpec,
    board: &Board,
    number: i64,
    attempt: u32,
    registered: &BTreeMap<String, String>,
    served: &str,
) -> Values {
    let plan = plan_of(inventory, spec);
    Values {
        build: spec.build.clone(),
        artifacts: artifacts(inventory, &spec.family, &spec.build, registered, served),
        params: plan.map(|plan| with_defaults(plan, &spec.params)).unwrap_or_default(),
        board: board.into(),
        run: number,
        attempt,
        suite: spec.suite.clone(),
        served: served.to_owned(),
    }
}

/// An address of artifacts as an attempt may get it: what is filled before there is an attempt.
const SERVED_SAMPLE: &str = "http://boardhand/artifacts/1-1-0";

/// The values of a plan's parameters: those that were set, defaults for the rest.
fn with_defaults(plan: &Plan, set: &BTreeMap<String, ParamValue>) -> BTreeMap<String, ParamValue> {
    let value = |(name, spec): (&String, &ParamSpec)| {
        let value = set.get(name).or(spec.default.as_ref())?;
        Some((name.clone(), value.clone()))
    };
    plan.params.iter().filter_map(value).collect()
}

/// Fills every command of a run's plan once, for one of the boards that it may get, so that a value which does not fit
/// is told before anybody waits for a board. A suite that the family does not have has no commands.
pub fn fits(
    inventory: &Inventory,
    spec: &RunSpec,
    registered: &BTreeMap<String, String>,
) -> Result<(), Unfit> {
    let Some(plan) = plan_of(inventory, spec) else { return Ok(()) };
    let only = spec.selector.board.as_ref();
    let Some(board) =
        inventory.boards_of(&spec.family).find(|board| only.is_none_or(|only| board.id == *only))
    else {
        return Ok(());
    };
    let values = values(inventory, spec, board, 1, 1, registered, SERVED_SAMPLE);
    for template in plan.steps().flat_map(|step| step.action.templates()) {
        template.render(&values).map_err(|error| match error {
            RenderError::NoArtifact(artifact) => Unfit::MissingArtifact {
                suite: spec.suite.clone(),
                artifact,
                build: spec.build.clone(),
                family: spec.family.clone(),
            },
            error => Unfit::Value(error),
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
