//! People and places: sites and roles. Pure.

use std::collections::BTreeMap;

use super::problem::Mark;
use super::reader::{Env, Reader};
use super::tree::Node;
use crate::board::groups::is_group;
use crate::board::inventory::{Roles, SiteSettings};
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
        IdOf::PersonOrGroup => "slack:U…, slack:S…, feishu:ou_…, feishu:od-… or \"*\"",
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
        ("feishu", IdOf::Person) => id.starts_with("ou_") || id.starts_with("on_"),
        ("feishu", IdOf::PersonOrGroup) => ["ou_", "on_", "od-"].iter().any(|begins| id.starts_with(begins)),
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
            unasked(reader, item.at, &entry);
            people.push(entry);
        }
    }
    roles
}

/// Tells a group that nobody can be asked for, because its platform is not connected.
pub(super) fn unasked(reader: &mut Reader<'_>, at: Mark, entry: &str) {
    let platform = entry.split_once(':').and_then(|(word, _)| Platform::from_word(word));
    let (Some(connected), Some(platform)) = (reader.connected, platform.filter(|_| is_group(entry))) else {
        return;
    };
    if !connected.contains(&platform) {
        let message = format!("nobody is in {entry}: {} is not connected", platform.as_str());
        reader.problems.warning(at, message, None);
    }
}
