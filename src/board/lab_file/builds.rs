//! Builds: where their files may be, and which runs start with them. Pure.

use std::collections::BTreeMap;

use super::people::{self, IdOf};
use super::reader::{Env, Reader};
use super::tree::{Node, Value};
use crate::board::hosts::{HostRule, Reach};
use crate::board::inventory::{BuildRule, FamilySettings, Revisions};
use crate::board::{Family, shown};
use crate::run::Priority;

/// Most hosts of one list.
const HOSTS_MAX: usize = 100;
/// Most rules of `on_build`, revisions and parameters of one.
const RULES_MAX: usize = 200;
const REVISIONS_MAX: usize = 20;
const PARAMS_MAX: usize = 40;

/// Reads a list of hosts, such as `artifact_hosts:`.
pub(super) fn hosts(reader: &mut Reader<'_>, node: Option<&Node>, what: &str) -> Vec<HostRule> {
    let items = node.and_then(|node| reader.list(node, what)).unwrap_or_default();
    if let Some(item) = items.get(HOSTS_MAX) {
        let message = format!("{what} has {} entries; at most {HOSTS_MAX} are allowed", items.len());
        reader.problems.error(item.at, message);
    }
    let mut hosts = Vec::new();
    for item in items.iter().take(HOSTS_MAX) {
        let Some(text) = reader.expanded(item, "a host", Env::Expand) else { continue };
        match HostRule::parse(&text) {
            Some(rule) if rule.reach() == Reach::Never => {
                reader.problems.error(item.at, format!("{} is {NEVER_CALLED}", shown(&text)));
            }
            Some(rule) => hosts.push(rule),
            None => {
                let message = format!("{} is no host", shown(&text));
                let write =
                    "write ci.example.com, ci.example.com:8443, *.example.com, or http://… for plain HTTP";
                reader.problems.error_with(item.at, message, Some(write.into()));
            }
        }
    }
    hosts
}

const RULE_KEYS: [&str; 8] =
    ["family", "branch", "job", "suite", "revisions", "priority", "params", "channel"];

/// What is said of an address at which nothing is called, whatever lists it.
pub(super) const NEVER_CALLED: &str =
    "an address that is never called: link-local, leading nowhere, or where clouds hand out credentials";

/// Reads `on_build:`: which runs start with which builds.
pub(super) fn rules(
    reader: &mut Reader<'_>,
    node: Option<&Node>,
    families: &BTreeMap<Family, FamilySettings>,
) -> BTreeMap<String, BuildRule> {
    let mut rules = BTreeMap::new();
    let Some(fields) = node.and_then(|node| reader.mapping(node, "on_build")) else { return rules };
    for (index, (key, node)) in fields.entries().enumerate() {
        if index == RULES_MAX {
            reader.problems.error(key.at, format!("on_build may have {RULES_MAX} rules"));
            break;
        }
        let named = reader.is_name(&key.text, key.at, "the name of a rule");
        if let Some(rule) = rule(reader, node, families).filter(|_| named) {
            rules.insert(key.text.clone(), rule);
        }
    }
    rules
}

fn rule(
    reader: &mut Reader<'_>,
    node: &Node,
    families: &BTreeMap<Family, FamilySettings>,
) -> Option<BuildRule> {
    let fields = reader.fields(node, "a rule", &RULE_KEYS)?;
    let family = reader.required(&fields, "a rule", "family")?;
    let name = reader.text(family, "family")?;
    let Some((family, settings)) = families.get_key_value(name) else {
        let known: Vec<&str> = families.keys().map(Family::as_str).collect();
        reader.unknown(family.at, "family", name, &known);
        return None;
    };
    let suite = fields.get("suite").and_then(|node| suite(reader, node, settings));
    let like = |reader: &mut Reader<'_>, key: &str| {
        fields.get(key).and_then(|node| reader.text(node, key)).map(str::to_owned)
    };
    let priorities = [("high", Priority::High), ("normal", Priority::Normal), ("low", Priority::Low)];
    let priority = fields.get("priority").and_then(|node| reader.one_of(node, "priority", &priorities));
    Some(BuildRule {
        family: family.clone(),
        branch: like(reader, "branch"),
        job: like(reader, "job"),
        suite,
        revisions: fields.get("revisions").and_then(|node| revisions(reader, node)).unwrap_or_default(),
        priority: priority.unwrap_or(Priority::Low),
        params: fields.get("params").map(|node| params(reader, node)).unwrap_or_default(),
        channel: fields
            .get("channel")
            .and_then(|node| people::id(reader, node, "channel of a rule", IdOf::Channel)),
    })
}

fn suite(reader: &mut Reader<'_>, node: &Node, settings: &FamilySettings) -> Option<String> {
    let name = reader.text(node, "suite")?;
    if settings.suites.contains_key(name) {
        return Some(name.to_owned());
    }
    let known: Vec<&str> = settings.suites.keys().map(String::as_str).collect();
    reader.unknown(node.at, "suite", name, &known);
    None
}

/// `all`, or a list.
fn revisions(reader: &mut Reader<'_>, node: &Node) -> Option<Revisions> {
    if let Value::Scalar { text, .. } = &node.value
        && text == "all"
    {
        return Some(Revisions::All);
    }
    let items = reader.list(node, "revisions (all, or some of them)")?;
    if let Some(item) = items.get(REVISIONS_MAX) {
        reader.problems.error(item.at, format!("a rule may name {REVISIONS_MAX} revisions"));
    }
    if items.is_empty() {
        reader.problems.error(node.at, "revisions names none");
    }
    let items = items.iter().take(REVISIONS_MAX);
    let these = items.filter_map(|item| reader.text(item, "a revision").map(str::to_owned)).collect();
    Some(Revisions::These(these))
}

fn params(reader: &mut Reader<'_>, node: &Node) -> BTreeMap<String, String> {
    let Some(fields) = reader.mapping(node, "params of a rule") else { return BTreeMap::new() };
    if let Some((key, _)) = fields.entries().nth(PARAMS_MAX) {
        reader.problems.error(key.at, format!("a rule may set {PARAMS_MAX} parameters"));
    }
    let entries = fields.entries().take(PARAMS_MAX);
    entries
        .filter_map(|(key, node)| Some((key.text.clone(), reader.text(node, "a parameter")?.to_owned())))
        .collect()
}
