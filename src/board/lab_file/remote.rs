//! What of a lab file the workers of a remote site need: its boards as they stand there, with every `${NAME}`, and the
//! families, plans and programs that they go by. Written as a lab file of its own, in which the site is the worker's. Pure.

use std::collections::BTreeMap;
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
    for (name, node) in SECTIONS.iter().filter_map(|name| Some((*name, section(name)?))) {
        let _ = writeln!(text, "{name}:");
        let Value::Map(entries) = &node.value else {
            text.truncate(text.trim_end().len());
            text.push(' ');
            write(&mut text, node, &|_| false);
            text.push('\n');
            continue;
        };
        for (key, node) in
            entries.iter().filter(|(key, _)| name != "families" || families.contains(&key.text.as_str()))
        {
            text.push_str("  ");
            quote(&mut text, &key.text);
            text.push_str(": ");
            write(&mut text, node, &|key| name == "families" && !settings.pdu_at_worker && key == "power");
            text.push('\n');
        }
    }
    text
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
