//! `mapping:`: how what other programs post becomes a build or a run. Pure.

use std::collections::BTreeMap;

use super::reader::{Fields, Reader};
use super::tree::{Node, Value};
use crate::board::mapping::{Condition, Event, Listing, Mapping, Plugin, Pointer, RUN_FIELDS, Template};
use crate::board::shown;
use crate::build::BuildResult;

/// Most mappings of a lab.
pub const MAPPINGS_MAX: usize = 100;
/// Most conditions of one, values of one condition, entries of artifacts, parameters and words for results.
const ENTRIES_MAX: usize = 40;

const OTHER_KEYS: [&str; 7] = ["from", "event", "when", "only", "params", "artifacts", "results"];
const ARTIFACT_KEYS: [&str; 6] = ["each", "named", "name", "url", "sha256", "size"];

/// Reads `mapping:`.
pub(super) fn mappings(reader: &mut Reader<'_>, node: Option<&Node>) -> BTreeMap<String, Mapping> {
    let mut mappings = BTreeMap::new();
    let Some(fields) = node.and_then(|node| reader.mapping(node, "mapping")) else { return mappings };
    for (index, (key, node)) in fields.entries().enumerate() {
        if index == MAPPINGS_MAX {
            reader.problems.error(key.at, format!("mapping may have {MAPPINGS_MAX} entries"));
            break;
        }
        let named = reader.is_name(&key.text, key.at, "the name of a mapping");
        if let Some(mapping) = mapping(reader, node).filter(|_| named) {
            mappings.insert(key.text.clone(), mapping);
        }
    }
    mappings
}

fn mapping(reader: &mut Reader<'_>, node: &Node) -> Option<Mapping> {
    let known: Vec<&str> = RUN_FIELDS.into_iter().chain(OTHER_KEYS).collect();
    let fields = reader.fields(node, "a mapping", &known)?;
    let plugins = Plugin::ALL.map(|plugin| (plugin.as_str(), plugin));
    let from = fields.get("from").map(|node| reader.one_of(node, "from", &plugins));
    let events = [Event::Build, Event::Run].map(|event| (event.as_str(), event));
    let event =
        fields.get("event").map_or(Some(Event::Build), |node| reader.one_of(node, "event", &events))?;
    let from = match from {
        Some(plugin) => Some(plugin?),
        None => None,
    };
    let when = fields.get("when").map(|node| conditions(reader, node, "when")).unwrap_or_default();
    // Without it every post of every program would be taken, and nothing would be what it says it is.
    if from.is_none() && when.is_empty() {
        reader.required(&fields, "a mapping", "when");
    }
    Some(Mapping {
        event,
        from,
        when,
        only: only(reader, &fields, from),
        fields: templates(reader, &fields, event, from),
        params: fields.get("params").map(|node| params(reader, node, event)).unwrap_or_default(),
        artifacts: artifacts(reader, &fields, event, from),
        results: fields.get("results").map(|node| results(reader, node)).unwrap_or_default(),
    })
}

/// Everything that stands in the document: what is written, then what the plugin's posts have.
fn templates(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    event: Event,
    from: Option<Plugin>,
) -> BTreeMap<&'static str, Template> {
    let mut templates = BTreeMap::new();
    let defaults = from.map(Plugin::defaults).unwrap_or_default();
    for field in RUN_FIELDS {
        let node = fields.get(field);
        if let Some(node) = node.filter(|_| !event.fields().contains(&field)) {
            let message = format!("{field} says nothing of a build that is told of");
            let with = "write event: run.request, or what starts with a build under on_build";
            reader.problems.error_with(node.at, message, Some(with.into()));
            continue;
        }
        let default = defaults.iter().find(|(name, _)| *name == field).map(|(_, text)| *text);
        let template = match (node, default) {
            (Some(node), _) => template(reader, node, field, false),
            (None, Some(text)) => Template::parse(text, false).ok(),
            (None, None) => None,
        };
        if let Some(template) = template {
            templates.insert(field, template);
        } else if node.is_none() && matches!(field, "family" | "build") {
            reader.required(fields, "a mapping", field);
        }
    }
    templates
}

fn template(reader: &mut Reader<'_>, node: &Node, what: &str, in_list: bool) -> Option<Template> {
    let text = reader.text(node, what)?;
    if text.trim().is_empty() {
        reader.problems.error(node.at, format!("{what} says nothing"));
        return None;
    }
    match Template::parse(text, in_list) {
        Ok(template) => Some(template),
        Err(problem) => {
            reader.problems.error(node.at, format!("{what}: {problem}"));
            None
        }
    }
}

/// A mapping of pointers to what stands there.
fn conditions(reader: &mut Reader<'_>, node: &Node, what: &str) -> Vec<Condition> {
    let Some(fields) = reader.mapping(node, what) else { return vec![] };
    let mut conditions = Vec::new();
    for (index, (key, node)) in fields.entries().enumerate() {
        if index == ENTRIES_MAX {
            reader.problems.error(key.at, format!("{what} may have {ENTRIES_MAX} conditions"));
            break;
        }
        if !Pointer::parse(&key.text).is_ok_and(|pointer| pointer.is_of_body()) || key.text.ends_with('?') {
            let message = format!("{} is no JSON pointer", shown(&key.text));
            reader.problems.error_with(key.at, message, Some("write /object_kind, or /build/phase".into()));
            continue;
        }
        let like = words(reader, node, what);
        if !like.is_empty() {
            conditions.push(Condition { at: key.text.clone(), like });
        }
    }
    if conditions.is_empty() && fields.entries().next().is_none() {
        reader.problems.error(node.at, format!("{what} has no conditions"));
    }
    conditions
}

/// One text, or a list of some.
fn words(reader: &mut Reader<'_>, node: &Node, what: &str) -> Vec<String> {
    let nodes = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    if nodes.is_empty() || nodes.len() > ENTRIES_MAX {
        reader.problems.error(node.at, format!("a list in {what} must have 1 to {ENTRIES_MAX} entries"));
    }
    let texts = nodes.iter().take(ENTRIES_MAX);
    texts.filter_map(|node| reader.text(node, &format!("a value in {what}")).map(str::to_owned)).collect()
}

/// What is written, or that a plugin's build is over.
fn only(reader: &mut Reader<'_>, fields: &Fields<'_>, from: Option<Plugin>) -> Vec<Condition> {
    match (fields.get("only"), from) {
        (Some(node), _) => conditions(reader, node, "only"),
        (None, Some(plugin)) => {
            let (at, ended) = plugin.ended();
            vec![Condition { at: at.to_owned(), like: ended.iter().map(|&word| word.to_owned()).collect() }]
        }
        (None, None) => vec![],
    }
}

fn params(reader: &mut Reader<'_>, node: &Node, event: Event) -> BTreeMap<String, Template> {
    let Some(fields) = reader.mapping(node, "params of a mapping") else { return BTreeMap::new() };
    if event == Event::Build {
        reader.problems.error(node.at, "params are a run's, and this mapping tells of builds");
    }
    if let Some((key, _)) = fields.entries().nth(ENTRIES_MAX) {
        reader.problems.error(key.at, format!("a mapping may set {ENTRIES_MAX} parameters"));
    }
    let entries = fields.entries().take(ENTRIES_MAX);
    entries
        .filter_map(|(key, node)| Some((key.text.clone(), template(reader, node, "a parameter", false)?)))
        .collect()
}

fn results(reader: &mut Reader<'_>, node: &Node) -> BTreeMap<String, BuildResult> {
    let Some(fields) = reader.mapping(node, "results of a mapping") else { return BTreeMap::new() };
    if let Some((key, _)) = fields.entries().nth(ENTRIES_MAX) {
        reader.problems.error(key.at, format!("results may have {ENTRIES_MAX} words"));
    }
    let known = BuildResult::ALL.map(|result| (result.as_str(), result));
    let entries = fields.entries().take(ENTRIES_MAX);
    entries
        .filter_map(|(key, node)| Some((key.text.clone(), reader.one_of(node, "result", &known)?)))
        .collect()
}

fn artifacts(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    event: Event,
    from: Option<Plugin>,
) -> Vec<Listing> {
    let Some(node) = fields.get("artifacts") else {
        let default = from.and_then(Plugin::artifacts).filter(|_| event == Event::Build);
        return default.and_then(|(each, name, url)| plugins_own(each, name, url)).into_iter().collect();
    };
    if event == Event::Run {
        reader.problems.error(node.at, "artifacts are a build's, and this mapping asks for runs");
    }
    let items = reader.list(node, "artifacts of a mapping").unwrap_or_default();
    if let Some(item) = items.get(ENTRIES_MAX) {
        reader.problems.error(item.at, format!("artifacts may have {ENTRIES_MAX} entries"));
    }
    items.iter().take(ENTRIES_MAX).filter_map(|item| listing(reader, item)).collect()
}

fn plugins_own(each: &str, name: &str, url: &str) -> Option<Listing> {
    let template = |text| Template::parse(text, true).ok();
    let each = Some(Pointer::parse(each).ok()?);
    Some(Listing {
        each,
        named: vec![],
        name: template(name)?,
        url: template(url)?,
        sha256: None,
        size: None,
    })
}

fn listing(reader: &mut Reader<'_>, node: &Node) -> Option<Listing> {
    let what = "an artifact of a mapping";
    let fields = reader.fields(node, what, &ARTIFACT_KEYS)?;
    let each = fields.get("each").map(|node| each(reader, node));
    let in_list = each.is_some();
    let name =
        reader.required(&fields, what, "name").and_then(|node| template(reader, node, "name", in_list));
    let url = reader.required(&fields, what, "url").and_then(|node| template(reader, node, "url", in_list));
    let mut other = |key: &str| fields.get(key).and_then(|node| template(reader, node, key, in_list));
    let (sha256, size) = (other("sha256"), other("size"));
    let named = fields.get("named").map(|node| words(reader, node, "named")).unwrap_or_default();
    let each = match each {
        Some(each) => Some(each?),
        None => None,
    };
    Some(Listing { each, named, name: name?, url: url?, sha256, size })
}

fn each(reader: &mut Reader<'_>, node: &Node) -> Option<Pointer> {
    let text = reader.text(node, "each")?;
    let pointer = Pointer::parse(text).ok().filter(Pointer::is_of_body);
    if pointer.is_none() {
        reader.problems.error_with(
            node.at,
            format!("{} is no JSON pointer", shown(text)),
            Some("write where the list stands: /build/artifacts".into()),
        );
    }
    pointer
}
