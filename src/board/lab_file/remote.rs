//! What of a lab file the workers of a remote site need: its boards as they stand there, with every `${NAME}`, and the
//! families, plans and programs that they go by. Written as a lab file of its own, in which the site is the worker's. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use super::tree::{Node, Value};
use crate::board::Site;
use crate::board::inventory::SiteSettings;

/// Sections that go to a worker beside its boards.
const SECTIONS: [&str; 4] = ["families", "plans", "host_programs", "artifact_hosts"];

/// The lab file of each remote site.
pub(super) fn files(root: &Node, sites: &BTreeMap<Site, SiteSettings>) -> BTreeMap<Site, Arc<str>> {
    let remote = sites.iter().filter(|(_, settings)| settings.remote);
    remote.map(|(site, settings)| (site.clone(), Arc::from(file(root, site, *settings)))).collect()
}

fn file(root: &Node, site: &Site, settings: SiteSettings) -> String {
    let Value::Map(entries) = &root.value else { return String::new() };
    let section = |name: &str| entries.iter().find(|(key, _)| key.text == name).map(|(_, node)| node);
    let mut text = String::from("boards:\n");
    let boards = match section("boards").map(|node| &node.value) {
        Some(Value::List(boards)) => boards.as_slice(),
        _ => &[],
    };
    let used: Vec<&Node> =
        boards.iter().filter(|board| word(board, "lab_location") == Some(site.as_str())).collect();
    // One a line, so that a mistake that shows on the worker alone tells which.
    for board in &used {
        text.push_str("- ");
        write(&mut text, board, &|key| !settings.pdu_at_worker && OF_POWER.contains(&key));
        text.push('\n');
    }
    let families: Vec<&str> = used.iter().filter_map(|board| word(board, "soc_family")).collect();
    let named = section("families").map(pairs).unwrap_or_default();
    let mut sources: Vec<&Node> = used.clone();
    sources
        .extend(named.iter().filter(|(key, _)| families.contains(&key.text.as_str())).map(|(_, node)| node));
    let plans = named_in(section("plans").map(pairs).unwrap_or_default(), &mut sources);
    let programs = named_in(section("host_programs").map(pairs).unwrap_or_default(), &mut sources);
    let goes = |section: &str, key: &str| match section {
        "families" => families.contains(&key),
        "plans" => plans.contains(key),
        "host_programs" => programs.contains(key),
        _ => true,
    };
    for (name, node) in SECTIONS.iter().filter_map(|name| Some((*name, section(name)?))) {
        let _ = writeln!(text, "{name}:");
        let Value::Map(entries) = &node.value else {
            text.truncate(text.trim_end().len());
            text.push(' ');
            write(&mut text, node, &|_| false);
            text.push('\n');
            continue;
        };
        if !entries.iter().any(|(key, _)| goes(name, &key.text)) {
            text.truncate(text.trim_end().len());
            text.push_str(" {}\n");
        }
        for (key, node) in entries.iter().filter(|(key, _)| goes(name, &key.text)) {
            text.push_str("  ");
            quote(&mut text, &key.text);
            text.push_str(": ");
            write(&mut text, node, &|key| name == "families" && !settings.pdu_at_worker && key == "power");
            text.push('\n');
        }
    }
    text
}

/// The entries of a mapping.
fn pairs(node: &Node) -> &[(super::tree::Key, Node)] {
    match &node.value {
        Value::Map(entries) => entries,
        Value::Null | Value::Scalar { .. } | Value::List(_) => &[],
    }
}

/// Those of a section that are named in one of these, or in one that is; each that is joins them. What is not named by the
/// site's own families stays away from it, with whatever stands in it.
fn named_in<'n>(of: &'n [(super::tree::Key, Node)], sources: &mut Vec<&'n Node>) -> BTreeSet<&'n str> {
    // What a family has that says nothing.
    let mut named = BTreeSet::from([super::plans::BUILT_IN_PLAN]);
    let mut looked = 0;
    for (key, node) in of.iter().filter(|(key, _)| key.text == super::plans::BUILT_IN_PLAN) {
        named.insert(&key.text);
        sources.push(node);
    }
    while let Some(source) = sources.get(looked).copied() {
        looked += 1;
        for (key, node) in of.iter().filter(|(key, _)| says(source, &key.text)) {
            if named.insert(&key.text) {
                sources.push(node);
            }
        }
    }
    named
}

/// Whether a text, or a key, in there has this name in it.
fn says(node: &Node, name: &str) -> bool {
    match &node.value {
        Value::Null => false,
        Value::Scalar { text, .. } => text.contains(name),
        Value::List(items) => items.iter().any(|item| says(item, name)),
        Value::Map(entries) => entries.iter().any(|(key, node)| key.text.contains(name) || says(node, name)),
    }
}

/// What says how a board is switched: not told where the server does that.
const OF_POWER: [&str; 3] = ["power", "pdu_host", "pdu_outlet"];

/// The text under a key of a mapping.
fn word<'n>(node: &'n Node, name: &str) -> Option<&'n str> {
    let Value::Map(entries) = &node.value else { return None };
    match &entries.iter().find(|(key, _)| key.text == name)?.1.value {
        Value::Scalar { text, .. } => Some(text),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

/// Writes a value without those keys of its own mapping. Depth is bounded where files are read, and with it this recursion.
fn write(text: &mut String, node: &Node, without: &dyn Fn(&str) -> bool) {
    match &node.value {
        Value::Null => text.push_str("null"),
        Value::Scalar { text: scalar, .. } => quote(text, scalar),
        Value::List(items) => {
            text.push('[');
            for (n, item) in items.iter().enumerate() {
                text.push_str(if n > 0 { ", " } else { "" });
                write(text, item, &|_| false);
            }
            text.push(']');
        }
        Value::Map(entries) => {
            text.push('{');
            for (n, (key, value)) in entries.iter().filter(|(key, _)| !without(&key.text)).enumerate() {
                text.push_str(if n > 0 { ", " } else { "" });
                quote(text, &key.text);
                text.push_str(": ");
                write(text, value, &|_| false);
            }
            text.push('}');
        }
    }
}

/// A text in double quotes, as YAML and JSON have them alike.
fn quote(text: &mut String, scalar: &str) {
    text.push_str(&serde_json::Value::from(scalar).to_string());
}

#[cfg(test)]
mod tests {
    use crate::board::Site;
    use crate::board::lab_file::{parse, parse_sent, render};

    const LAB: &str = "
boards:
  - {board_id: a, soc_family: socA, board_ip: 10.0.0.1, lab_location: There}
  - {board_id: b, soc_family: socB, board_ip: 10.0.0.2, lab_location: Here}
families:
  socA: {suites: {unit: quick, smoke: smoke}}
  socB: {suites: {unit: signing, smoke: smoke}}
host_programs: {flash: /usr/bin/flash, sign: /usr/bin/sign}
plans:
  quick: {test: [{run: uname}, {name: flashing, host: {run: [flash, now]}}]}
  signing: {test: [{run: 'echo the-key-of-others'}, {name: signs, host: {run: [sign]}}]}
sites: {There: {worker: remote}, Here: {worker: local}}
";

    #[test]
    fn a_site_is_sent_the_plans_and_programs_of_its_own_families_alone() {
        let read = parse("boards.yaml", LAB, &|_| None);
        let lab = read.inventory.unwrap_or_else(|| panic!("{}", render(&read.problems)));
        let text = &lab.remote[&Site::new("There")];
        for others in ["the-key-of-others", "signing", "/usr/bin/sign", "socB", "10.0.0.2"] {
            assert!(!text.contains(others), "{others}: {text}");
        }
        let sent = parse_sent(text, &|_| None);
        let there = sent.inventory.unwrap_or_else(|| panic!("{}\n{text}", render(&sent.problems)));
        assert_eq!(there.plans.keys().map(|plan| plan.as_str()).collect::<Vec<_>>(), ["quick", "smoke"]);
        assert_eq!(there.boards.len(), 1);
    }
}
