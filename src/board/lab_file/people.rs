//! People and places: sites, roles, channels, host programs. Pure.

use std::collections::BTreeMap;

use super::problem::Mark;
use super::reader::{Env, Reader};
use super::tree::Node;
use crate::board::inventory::{Channels, Roles, SiteSettings};
use crate::board::{NAME_BYTES_MAX, Site, shown};
use crate::chat::Platform;

/// Longest id of a person, a group or a channel, in bytes.
const ID_BYTES_MAX: usize = 64;
/// Most entries of one list here.
pub(super) const ENTRIES_MAX: usize = 1000;

/// What an id names. The first letter of a Slack id tells.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum IdOf {
    Person,
    PersonOrGroup,
    Channel,
}

/// Reads `platform:id`, such as `slack:U0LEAD`.
pub(super) fn id(reader: &mut Reader<'_>, node: &Node, what: &str, of: IdOf) -> Option<String> {
    let text = reader.expanded(node, what, Env::Expand)?;
    match check_id(&text, of) {
        Ok(()) => Some(text),
        Err(reason) => {
            reader.problems.error(node.at, format!("{what} must be {reason}, not {}", node.kind()));
            None
        }
    }
}

pub(super) fn check_id(text: &str, of: IdOf) -> Result<(), &'static str> {
    let whole = match of {
        IdOf::Channel => "slack:C… or feishu:oc_…",
        IdOf::Person => "slack:U… or feishu:ou_…",
        IdOf::PersonOrGroup => "slack:U…, slack:S…, feishu:ou_… or \"*\"",
    };
    if of == IdOf::PersonOrGroup && text == "*" {
        return Ok(());
    }
    let (platform, id) = text.split_once(':').ok_or(whole)?;
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if id.is_empty() || id.len() > ID_BYTES_MAX || !id.bytes().all(good) {
        return Err(whole);
    }
    let slack = |letters: &str| {
        id.starts_with(|c| letters.contains(c)) && !id.contains(|c: char| c.is_ascii_lowercase())
    };
    let fits = match (platform, of) {
        ("slack", IdOf::Channel) => slack("CGD"),
        ("slack", IdOf::Person) => slack("UW"),
        ("slack", IdOf::PersonOrGroup) => slack("UWS"),
        ("feishu", IdOf::Channel) => id.starts_with("oc_"),
        ("feishu", IdOf::Person | IdOf::PersonOrGroup) => id.starts_with("ou_") || id.starts_with("on_"),
        _ => false,
    };
    if fits { Ok(()) } else { Err(whole) }
}

/// Reads `sites:`.
pub(super) fn sites(reader: &mut Reader<'_>, node: Option<&Node>) -> BTreeMap<Site, SiteSettings> {
    let mut sites = BTreeMap::new();
    let Some(fields) = node.and_then(|node| reader.mapping(node, "sites")) else {
        return sites;
    };
    for (key, node) in fields.entries() {
        if !is_site(&key.text) {
            reader.problems.error(key.at, format!("{} cannot name a site", shown(&key.text)));
            continue;
        }
        let mut settings = SiteSettings::default();
        if let Some(fields) = reader.fields(node, "a site", &["worker", "pdu"]) {
            if let Some(node) = fields.get("worker") {
                let words = [("local", false), ("remote", true)];
                settings.remote = reader.one_of(node, "worker of a site", &words).unwrap_or(false);
            }
            if let Some(node) = fields.get("pdu") {
                let words = [("server", false), ("worker", true)];
                settings.pdu_at_worker =
                    reader.one_of(node, "place of a site's PDUs", &words).unwrap_or(false);
                if settings.pdu_at_worker && !settings.remote {
                    reader.problems.error(node.at, "`pdu: worker` needs `worker: remote`");
                }
            }
        }
        sites.insert(Site::new(key.text.as_str()), settings);
    }
    sites
}

/// Whether a text may name a site: it stands in messages, so one line of bounded length.
pub(super) fn is_site(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.trim() == text
        && !text.contains(|c: char| c.is_control())
}

/// Reads `roles:`.
pub(super) fn roles(reader: &mut Reader<'_>, node: Option<&Node>) -> Roles {
    let mut roles = Roles::default();
    let known = ["admin", "operator", "user"];
    let Some(fields) = node.and_then(|node| reader.fields(node, "roles", &known)) else {
        return roles;
    };
    for (role, people) in
        [("admin", &mut roles.admin), ("operator", &mut roles.operator), ("user", &mut roles.user)]
    {
        let Some(items) = fields.get(role).and_then(|node| reader.list(node, role)) else {
            continue;
        };
        people.clear();
        if items.len() > ENTRIES_MAX {
            let message = format!("{role} has {} entries; at most {ENTRIES_MAX} are allowed", items.len());
            reader.problems.error(fields.at, message);
        }
        for item in items.iter().take(ENTRIES_MAX) {
            let Some(entry) = id(reader, item, "an entry of a role", IdOf::PersonOrGroup) else {
                continue;
            };
            if entry.starts_with("slack:S") {
                let message = format!("groups are not resolved by this version: {entry} matches nobody");
                reader.problems.warning(item.at, message, Some("list the people".into()));
            }
            people.push(entry);
        }
    }
    roles
}

/// Tells a mirror that tells nobody anything, because one of its ends is on a platform that is not connected.
fn lonely(reader: &mut Reader<'_>, at: Mark, (from, to): &(String, String)) {
    let Some(connected) = reader.connected else { return };
    let there = |key: &str| {
        let platform = key.split_once(':').and_then(|(word, _)| Platform::from_word(word));
        platform.is_none_or(|platform| connected.contains(&platform))
    };
    let (end, what) = match (there(from), there(to)) {
        (true, true) => return,
        (true, false) => (to, format!("runs of {from} get no card in {to}")),
        (false, _) => (from, format!("nobody can start a run in {from}")),
    };
    let (name, manual) = match end.starts_with("slack:") {
        true => ("Slack", "set its SLACK_ variables, see README.md"),
        false => ("Feishu", "set its FEISHU_ variables, see docs/feishu.md"),
    };
    reader.problems.warning(at, format!("{what}: {name} is not connected"), Some(manual.into()));
}

/// Reads `channels:`.
pub(super) fn channels(reader: &mut Reader<'_>, node: Option<&Node>) -> Channels {
    let mut channels = Channels::default();
    let known = ["default", "mirrors", "locale"];
    let Some(fields) = node.and_then(|node| reader.fields(node, "channels", &known)) else {
        return channels;
    };
    channels.default =
        fields.get("default").and_then(|node| id(reader, node, "channels.default", IdOf::Channel));
    let mirrors = fields.get("mirrors").and_then(|node| reader.list(node, "mirrors")).unwrap_or_default();
    for item in mirrors.iter().take(ENTRIES_MAX) {
        let Some(fields) = reader.fields(item, "a mirror", &["from", "to"]) else {
            continue;
        };
        let mut end = |key: &str| {
            let node = reader.required(&fields, "a mirror", key)?;
            id(reader, node, key, IdOf::Channel)
        };
        let (Some(from), Some(to)) = (end("from"), end("to")) else {
            continue;
        };
        let pair = (from, to);
        if pair.0 == pair.1 || channels.mirrors.contains(&pair) {
            let message = format!("a mirror from {} to {} tells every run there twice", pair.0, pair.1);
            reader.problems.error(fields.at, message);
        }
        lonely(reader, fields.at, &pair);
        channels.mirrors.push(pair);
    }
    if let Some(fields) = fields.get("locale").and_then(|node| reader.mapping(node, "locale")) {
        for (key, node) in fields.entries().take(ENTRIES_MAX) {
            let platform = ["slack", "feishu"].contains(&key.text.as_str());
            if !platform && let Err(reason) = check_id(&key.text, IdOf::Channel) {
                let message =
                    format!("a key of locale must be slack, feishu, {reason}, not {}", shown(&key.text));
                reader.problems.error(key.at, message);
            }
            let words = [("en", "en"), ("zh", "zh")];
            if let Some(locale) = reader.one_of(node, "language", &words) {
                channels.locale.insert(key.text.clone(), locale.to_owned());
            }
        }
    }
    channels
}
