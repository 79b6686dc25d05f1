//! Who may what beyond roles, and who is one person on two platforms. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::people::{ENTRIES_MAX, IdOf, check_id, id, unasked};
use super::problem::Mark;
use super::reader::{Env, Fields, Reader};
use super::tree::{Key, Node};
use crate::board::inventory::{FamilySettings, Permissions};
use crate::board::near::nearest;
use crate::board::people::{People, Person};
use crate::board::{Family, is_name, shown};
use crate::chat::Platform;
use crate::command::grammar::{self, TABLE};

/// Longest id of a workspace or a tenant, in bytes.
const WORKSPACE_BYTES_MAX: usize = 64;

/// Reads `permissions:`.
pub(super) fn permissions(
    reader: &mut Reader<'_>,
    node: Option<&Node>,
    families: &BTreeMap<Family, FamilySettings>,
) -> Permissions {
    let mut permissions = Permissions::default();
    let known = ["verbs", "families", "channels", "workspaces"];
    let Some(fields) = node.and_then(|node| reader.fields(node, "permissions", &known)) else {
        return permissions;
    };
    if let Some(verbs) = fields.get("verbs").and_then(|node| reader.mapping(node, "verbs")) {
        for (key, node) in bounded(reader, verbs, "verbs") {
            if let Some((verb, role)) = verb(reader, key, node)
                && permissions.verbs.insert(verb.to_owned(), role.to_owned()).is_some()
            {
                reader.problems.error(
                    key.at,
                    format!("{} is the command {verb}, which stands here twice", shown(&key.text)),
                );
            }
        }
    }
    if let Some(named) = fields.get("families").and_then(|node| reader.mapping(node, "families")) {
        for (key, node) in bounded(reader, named, "families") {
            if !families.keys().any(|family| family.as_str() == key.text) {
                let near = nearest(&key.text, families.keys().map(Family::as_str));
                let near = near.map(|near| format!("did you mean \"{near}\"?"));
                reader.problems.error_with(key.at, format!("there is no family {}", shown(&key.text)), near);
            }
            let people = list(reader, node, "people of a family", IdOf::PersonOrGroup);
            permissions.families.insert(Family::new(key.text.as_str()), people);
        }
    }
    permissions.channels =
        fields.get("channels").map(|node| list(reader, node, "channels of permissions", IdOf::Channel));
    let workspaces =
        fields.get("workspaces").and_then(|node| reader.list(node, "workspaces")).unwrap_or_default();
    within(reader, fields.at, "workspaces", workspaces.len());
    for item in workspaces.iter().take(ENTRIES_MAX) {
        let Some(text) = reader.text(item, "a workspace") else { continue };
        match is_name(text) && text.len() <= WORKSPACE_BYTES_MAX {
            true => permissions.workspaces.push(text.to_owned()),
            false => {
                let message = format!("{} is no id of a workspace or a tenant", shown(text));
                reader.problems.error(item.at, message);
            }
        }
    }
    permissions
}

fn list(reader: &mut Reader<'_>, node: &Node, what: &str, of: IdOf) -> Vec<String> {
    let items = reader.list(node, what).unwrap_or_default();
    within(reader, node.at, what, items.len());
    let mut entries = Vec::with_capacity(items.len().min(ENTRIES_MAX));
    for item in items.iter().take(ENTRIES_MAX) {
        let Some(entry) = id(reader, item, "an entry", of) else { continue };
        if entry == "*" {
            reader
                .problems
                .error(item.at, format!("{what}: \"*\" names nobody; leave the list out for everybody"));
        }
        unasked(reader, item.at, &entry);
        entries.push(entry);
    }
    entries
}

/// A command and the role that it is to need.
fn verb(reader: &mut Reader<'_>, key: &Key, node: &Node) -> Option<(&'static str, &'static str)> {
    let row = grammar::find(&key.text).filter(|row| row.available && row.name() != "help");
    let roles = [("user", "user"), ("operator", "operator"), ("admin", "admin")];
    let role = reader.one_of(node, "role of a command", &roles);
    if row.is_none() {
        let words = TABLE.iter().filter(|row| row.available).map(|row| row.name());
        let near = nearest(&key.text, words).map(|near| format!("did you mean \"{near}\"?"));
        let message = format!("{} is no command that a role can be needed for", shown(&key.text));
        reader.problems.error_with(key.at, message, near);
    }
    Some((row?.name(), role?))
}

/// The entries of a mapping, of which there may be so many and no more.
fn bounded<'n>(reader: &mut Reader<'_>, fields: Fields<'n>, what: &str) -> Vec<(&'n Key, &'n Node)> {
    within(reader, fields.at, what, fields.entries().count());
    fields.entries().take(ENTRIES_MAX).collect()
}

fn within(reader: &mut Reader<'_>, at: Mark, what: &str, count: usize) {
    if count > ENTRIES_MAX {
        let message = format!("{what}: {count} entries; at most {ENTRIES_MAX} are allowed");
        reader.problems.error(at, message);
    }
}

/// Reads `people:`.
pub(super) fn people(reader: &mut Reader<'_>, node: Option<&Node>) -> People {
    let (mut people, mut seen) = (Vec::new(), BTreeSet::new());
    let Some(fields) = node.and_then(|node| reader.mapping(node, "people")) else {
        return People::default();
    };
    for (key, node) in bounded(reader, fields, "people") {
        if !is_name(&key.text) {
            reader.problems.error(key.at, format!("{} cannot name a person", shown(&key.text)));
        }
        let Some(linked) = reader.mapping(node, "a person") else { continue };
        let mut ids = Vec::new();
        for (on, node) in linked.entries() {
            let Some(one) = linked_id(reader, on, node) else { continue };
            match seen.insert(one.clone()) {
                true => ids.push(one),
                false => reader.problems.error(node.at, format!("{} is two people", shown(&one.1))),
            }
        }
        if ids.len() == 1 {
            let message = format!("{} has one id, so nothing is linked", shown(&key.text));
            reader.problems.warning(key.at, message, None);
        }
        let unwritten = ids.first().map(|(platform, _)| *platform);
        let unwritten =
            unwritten.filter(|on| reader.connected.is_some_and(|connected| !connected.contains(on)));
        if let Some(platform) = unwritten {
            let message = format!(
                "{} is written to on {}, which is not connected",
                shown(&key.text),
                platform.as_str()
            );
            reader.problems.warning(key.at, message, Some("write their other id first".into()));
        }
        people.push(Person { name: key.text.clone(), ids });
    }
    People::new(people)
}

/// An id of somebody, with or without its platform before it.
fn linked_id(reader: &mut Reader<'_>, on: &Key, node: &Node) -> Option<(Platform, String)> {
    let Some(platform) = Platform::from_word(&on.text).filter(|on| Platform::CHATS.contains(on)) else {
        let message = format!("a person has an id on slack or feishu, not on {}", shown(&on.text));
        reader.problems.error(on.at, message);
        return None;
    };
    let text = reader.expanded(node, "an id of a person", Env::Expand)?;
    let prefix = format!("{}:", platform.as_str());
    let text = text.strip_prefix(&prefix).unwrap_or(&text).to_owned();
    let fits = check_id(&format!("{prefix}{text}"), IdOf::Person).is_ok();
    // Nobody acts by a `union_id`.
    if !fits || text.starts_with("on_") {
        let message = format!("an id of a person must be U… on slack or ou_… on feishu, not {}", node.kind());
        reader.problems.error(node.at, message);
        return None;
    }
    Some((platform, text))
}
