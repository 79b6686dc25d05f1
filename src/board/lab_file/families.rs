//! Families: artifacts, suites, health, and the console and power settings that their boards share. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use regex::bytes::Regex;

use super::devices::{self, Layers, Pdu, Subject};
use super::notes::Notes;
use super::people::{self, IdOf};
use super::plans::{BUILT_IN_PLAN, WATCH_MAX};
use super::problem::Mark;
use super::reader::{Env, Fields, Reader};
use super::tree::Node;
use crate::board::inventory::{FamilySettings, HealthSettings};
use crate::board::near::nearest;
use crate::board::plan::Plan;
use crate::board::quoting::{Placeholder, UrlTemplate};
use crate::board::shown;

/// The suite of a family that names none.
pub(super) const SUITE_DEFAULT: &str = "smoke";

const FAMILY_KEYS: [&str; 10] = [
    "artifacts",
    "builds",
    "channel",
    "console",
    "power",
    "default_suite",
    "suites",
    "health",
    "log_on_failure",
    "watch",
];

/// A family as the file has it.
pub(super) struct FamilyEntry<'n> {
    pub(super) at: Mark,
    pub(super) settings: FamilySettings,
    pub(super) console: Option<Fields<'n>>,
    pub(super) power: Option<Fields<'n>>,
}

/// Settings of a family of which the file says nothing: the built-in plan.
pub(super) fn bare() -> FamilySettings {
    FamilySettings {
        default_suite: SUITE_DEFAULT.to_owned(),
        suites: [(SUITE_DEFAULT.to_owned(), BUILT_IN_PLAN.to_owned())].into(),
        ..FamilySettings::default()
    }
}

/// Reads `families:`. Every family that is named well is there.
pub(super) fn families<'n>(
    reader: &mut Reader<'_>,
    node: Option<&'n Node>,
    plans: &BTreeMap<String, Plan>,
) -> BTreeMap<String, FamilyEntry<'n>> {
    let mut families = BTreeMap::new();
    let Some(fields) = node.and_then(|node| reader.mapping(node, "families")) else {
        return families;
    };
    for (key, node) in fields.entries() {
        if reader.is_name(&key.text, key.at, "the name of a family") {
            families.insert(key.text.clone(), family(reader, &key.text, key.at, node, plans));
        }
    }
    families
}

fn family<'n>(
    reader: &mut Reader<'_>,
    name: &str,
    at: Mark,
    node: &'n Node,
    plans: &BTreeMap<String, Plan>,
) -> FamilyEntry<'n> {
    let mut entry = FamilyEntry { at, settings: bare(), console: None, power: None };
    let nothing = matches!(node.value, super::tree::Value::Null);
    let Some(fields) = (!nothing).then(|| reader.fields(node, "a family", &FAMILY_KEYS)).flatten() else {
        return entry;
    };
    entry.console = devices::console_fields(reader, fields.get("console"));
    entry.power = devices::power_fields(reader, fields.get("power"));
    // Read once for its own sake: a family without boards can have mistakes as well. Variables are left alone, since
    // the boards that use them may all be of remote sites.
    let subject = Subject { board: None, family: name, env: Env::Keep };
    let mut nobody = Notes::default();
    devices::console(reader, Layers { board: None, family: entry.console }, devices::Of::Family);
    let pdu = Pdu { host: None, outlet: None, at: None };
    devices::power(reader, Layers { board: None, family: entry.power }, pdu, &subject, &mut nobody);
    if let Some(node) = fields.get("artifacts") {
        entry.settings.artifacts = artifacts(reader, node);
    }
    entry.settings.channel =
        fields.get("channel").and_then(|node| people::id(reader, node, "channel of a family", IdOf::Channel));
    if let Some(node) = fields.get("builds") {
        let words = [("any", false), ("registered", true)];
        entry.settings.registered_only = reader.one_of(node, "builds of a family", &words).unwrap_or(false);
    }
    if let Some(node) = fields.get("log_on_failure") {
        entry.settings.log_on_failure = reader.boolean(node, "log_on_failure").unwrap_or(false);
    }
    suites(reader, name, &fields, plans, &mut entry.settings);
    if let Some(node) = fields.get("health") {
        health(reader, node, plans, &mut entry.settings);
    }
    if let Some(node) = fields.get("watch") {
        entry.settings.ignore = ignored(reader, node);
    }
    entry
}

/// Reads `watch: {ignore: […]}`.
fn ignored(reader: &mut Reader<'_>, node: &Node) -> Vec<Regex> {
    let Some(fields) = reader.fields(node, "watch of a family", &["ignore"]) else { return Vec::new() };
    let ignore = fields.get("ignore").and_then(|node| reader.list(node, "ignore"));
    let items = ignore.unwrap_or_default();
    if let Some(item) = items.get(WATCH_MAX) {
        let message = format!("ignore has {} patterns; at most {WATCH_MAX} are allowed", items.len());
        reader.problems.error(item.at, message);
    }
    items.iter().take(WATCH_MAX).filter_map(|item| reader.pattern(item, "a pattern to ignore")).collect()
}

fn artifacts(reader: &mut Reader<'_>, node: &Node) -> BTreeMap<String, UrlTemplate> {
    let mut artifacts = BTreeMap::new();
    let Some(fields) = reader.mapping(node, "artifacts") else {
        return artifacts;
    };
    for (key, node) in fields.entries() {
        let named = reader.is_name(&key.text, key.at, "the name of an artifact");
        let Some(text) = reader.expanded(node, "an artifact's address", Env::Expand) else {
            continue;
        };
        match UrlTemplate::parse(&text) {
            Ok(template) if named => drop(artifacts.insert(key.text.clone(), template)),
            Ok(_) => {}
            Err(problem) => {
                let at = reader.inside(node, problem.offset);
                reader.problems.error(at, problem.message);
            }
        }
    }
    artifacts
}

/// Reads `suites:` and `default_suite:`. The built-in suite stays where the file names none.
fn suites(
    reader: &mut Reader<'_>,
    name: &str,
    fields: &Fields<'_>,
    plans: &BTreeMap<String, Plan>,
    settings: &mut FamilySettings,
) {
    let mut declared: Vec<&str> = Vec::new();
    if let Some(suites) = fields.get("suites").and_then(|node| reader.mapping(node, "suites")) {
        settings.suites.clear();
        for (key, node) in suites.entries() {
            declared.push(&key.text);
            let named = reader.is_name(&key.text, key.at, "the name of a suite");
            let Some(plan) = reader.text(node, "the plan of a suite") else {
                continue;
            };
            if !plans.contains_key(plan) {
                unknown_plan(reader, node, plan, plans);
            } else if named {
                settings.suites.insert(key.text.clone(), plan.to_owned());
            }
        }
        if declared.is_empty() {
            reader.problems.error(suites.at, format!("suites of family {} names none", shown(name)));
        }
    } else {
        declared.push(SUITE_DEFAULT);
    }
    match fields.get("default_suite") {
        Some(node) => {
            if let Some(suite) = reader.text(node, "default_suite") {
                if !declared.contains(&suite) {
                    reader.unknown(node.at, "suite", suite, &declared);
                }
                settings.default_suite = suite.to_owned();
            }
        }
        None => match declared[..] {
            [only] => settings.default_suite = only.to_owned(),
            _ if declared.is_empty() || declared.contains(&SUITE_DEFAULT) => {}
            _ => {
                let suggestion = Some(format!("name one of {}", declared.join(", ")));
                let message = format!("family {} has several suites and no default_suite", shown(name));
                reader.problems.error_with(fields.at, message, suggestion);
            }
        },
    }
}

/// Tells a plan that is not there. One of the file's own was rather meant than the one that is built in.
fn unknown_plan(reader: &mut Reader<'_>, node: &Node, plan: &str, plans: &BTreeMap<String, Plan>) {
    let known = || plans.keys().map(String::as_str);
    let own: Vec<&str> = known().filter(|name| *name != BUILT_IN_PLAN).collect();
    match nearest(plan, own.iter().copied()) {
        Some(_) => reader.unknown(node.at, "plan", plan, &own),
        None => reader.unknown(node.at, "plan", plan, &known().collect::<Vec<_>>()),
    }
}

/// What a plan names that only a build has; artifacts may be the family's own.
fn of_a_build(plan: &Plan, settings: &FamilySettings) -> Option<String> {
    let templates = plan.steps().flat_map(|step| step.action.templates());
    let mut names = templates.flat_map(|template| template.placeholders()).map(|(name, _)| name);
    let is_of_a_build = |name: &&Placeholder| match name {
        Placeholder::BuildId => true,
        Placeholder::ArtifactUrl(artifact) | Placeholder::ArtifactPath(artifact) => {
            !settings.artifacts.contains_key(artifact)
        }
        _ => false,
    };
    names.find(is_of_a_build).map(Placeholder::to_string)
}

fn health(
    reader: &mut Reader<'_>,
    node: &Node,
    plans: &BTreeMap<String, Plan>,
    settings: &mut FamilySettings,
) {
    let known = ["plan", "every", "after_infra", "quarantine_after"];
    let Some(fields) = reader.fields(node, "health", &known) else {
        return;
    };
    if let Some(node) = fields.get("quarantine_after") {
        let after = reader.integer(node, "quarantine_after", 0..=100);
        settings.quarantine_after = after.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    }
    let every = fields.get("every").and_then(|node| reader.duration(node, "every", Duration::from_secs(1)));
    let after_infra =
        fields.get("after_infra").is_some_and(|node| reader.boolean(node, "after_infra").unwrap_or(false));
    let Some(node) = fields.get("plan") else {
        if fields.has("every") || fields.has("after_infra") {
            reader.problems.error(fields.at, "missing key \"plan\" in health");
        }
        return;
    };
    let Some(plan) = reader.text(node, "plan") else {
        return;
    };
    match plans.get(plan) {
        None => unknown_plan(reader, node, plan, plans),
        Some(known) => {
            if let Some(name) = of_a_build(known, settings) {
                let message = format!("a health run has no build, and plan {} names {name}", shown(plan));
                reader.problems.error(node.at, message);
            }
        }
    }
    settings.health = Some(HealthSettings { plan: plan.to_owned(), every, after_infra });
}
