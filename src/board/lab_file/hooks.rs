//! `webhooks:`, `callbacks:` and `statuses:`: who outside is told what. Pure.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::{ExposeSecret, SecretString};

use super::builds::{NEVER_CALLED, hosts};
use super::problem::Mark;
use super::reader::{Env, Reader};
use super::tree::Node;
use crate::board::hooks::{Callbacks, Forge, Hooks, KINDS, StatusSink, Webhook, matches};
use crate::board::hosts::{Address, Reach, reach_of};
use crate::board::near::nearest;
use crate::board::shown;
use crate::chat::jenkins::signature::{STANDARD_PREFIX, standard_key};

/// Most webhooks, and most forges.
pub const WEBHOOKS_MAX: usize = 50;
/// Longest text of a forge's settings.
const TEXT_BYTES_MAX: usize = 200;
/// Most secrets of one: the new one and the old one, while rotating.
const SECRETS_MAX: usize = 2;
/// Most entries of a list of one.
const ENTRIES_MAX: usize = 50;

const WEBHOOK_KEYS: [&str; 5] = ["url", "secret", "events", "families", "private"];

/// Reads the sections.
pub(super) fn hooks(
    reader: &mut Reader<'_>,
    webhooks: Option<&Node>,
    callbacks: Option<&Node>,
    statuses: Option<&Node>,
) -> Hooks {
    Hooks {
        webhooks: named(reader, webhooks, "webhook", webhook),
        callbacks: callbacks.and_then(|node| read_callbacks(reader, node)),
        statuses: named(reader, statuses, "status", status),
    }
}

/// Reads a mapping of names to what `read` makes of each.
fn named<'n, 'r, T>(
    reader: &mut Reader<'r>,
    node: Option<&'n Node>,
    what: &str,
    read: fn(&mut Reader<'r>, &'n Node) -> Option<T>,
) -> BTreeMap<String, T> {
    let mut all = BTreeMap::new();
    let Some(fields) = node.and_then(|node| reader.mapping(node, what)) else { return all };
    for (index, (key, node)) in fields.entries().enumerate() {
        if index == WEBHOOKS_MAX {
            reader.problems.error(key.at, format!("there may be {WEBHOOKS_MAX} of these"));
            break;
        }
        let is_named = reader.is_name(&key.text, key.at, &format!("the name of a {what}"));
        if let Some(one) = read(reader, node).filter(|_| is_named) {
            all.insert(key.text.clone(), one);
        }
    }
    all
}

/// What would be right where a private address is called.
const IS_PRIVATE: &str = "private: true allows it";

/// Tells an address that nothing is called at without `private: true`.
fn not_private(reader: &mut Reader<'_>, at: Mark, url: &str) {
    if Address::parse(url).is_ok_and(|address| reach_of(&address.host) == Reach::Private) {
        reader.problems.error_with(at, "url is at a private address", Some(IS_PRIVATE.into()));
    }
}

const STATUS_KEYS: [&str; 8] = ["forge", "url", "project", "user", "token", "label", "families", "private"];

fn status(reader: &mut Reader<'_>, node: &Node) -> Option<StatusSink> {
    let fields = reader.fields(node, "a status", &STATUS_KEYS)?;
    let kind = reader.required(&fields, "a status", "forge")?;
    let word = reader.text(kind, "forge")?.to_owned();
    let Some((_, forge)) = Forge::ALL.into_iter().find(|(known, _)| *known == word) else {
        reader.unknown(kind.at, "forge", &word, &Forge::ALL.map(|(known, _)| known));
        return None;
    };
    let url = match fields.get("url") {
        Some(node) => address(reader, node).map(|url| url.expose_secret().to_owned()),
        None if forge == Forge::Github => Some("https://api.github.com".to_owned()),
        None => {
            reader.required(&fields, "a status", "url");
            None
        }
    };
    let mut text = |key: &str, default: Option<&str>| match (fields.get(key), default) {
        (None, Some(default)) => Some(default.to_owned()),
        _ => {
            let node = reader.required(&fields, "a status", key)?;
            let text = reader.expanded(node, key, Env::Expand)?;
            let good = (1..=TEXT_BYTES_MAX).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_graphic());
            if !good {
                reader
                    .problems
                    .error(node.at, format!("{key} must be 1 to {TEXT_BYTES_MAX} printable characters"));
            }
            good.then_some(text)
        }
    };
    let (project, token) = (text("project", None), text("token", None));
    let user = text("user", if forge == Forge::Gerrit { None } else { Some("") });
    let label = text("label", Some("Verified"));
    let families = fields.get("families").map(|node| entries(reader, node, "families")).unwrap_or_default();
    let private = fields.get("private").and_then(|node| reader.boolean(node, "private")).unwrap_or(false);
    if let (Some(node), Some(url), false) = (fields.get("url"), &url, private) {
        not_private(reader, node.at, url);
    }
    Some(StatusSink {
        forge,
        url: url?,
        project: project?,
        user: user?,
        token: SecretString::from(token?),
        label: label?,
        families: families.into_iter().map(|(word, _)| word).collect(),
        private,
    })
}

fn webhook(reader: &mut Reader<'_>, node: &Node) -> Option<Webhook> {
    let fields = reader.fields(node, "a webhook", &WEBHOOK_KEYS)?;
    let url = reader.required(&fields, "a webhook", "url");
    let at = url.map(|node| node.at);
    let url = url.and_then(|node| address(reader, node));
    let secret = reader.required(&fields, "a webhook", "secret").and_then(|node| secrets(reader, node));
    let events = reader.required(&fields, "a webhook", "events");
    let events = events.map(|node| entries(reader, node, "events")).unwrap_or_default();
    let families = fields.get("families").map(|node| entries(reader, node, "families")).unwrap_or_default();
    for (wanted, node) in &events {
        if !KINDS.iter().any(|kind| matches(wanted, kind)) {
            let groups =
                KINDS.iter().filter_map(|kind| kind.split_once('.')).map(|(group, _)| format!("{group}.*"));
            let groups: BTreeSet<String> = groups.collect();
            let every = || KINDS.iter().copied().chain(groups.iter().map(String::as_str));
            let near = nearest(wanted, every()).map(|near| format!("did you mean \"{near}\"?"));
            let known = || format!("there are {}, and *", every().collect::<Vec<_>>().join(", "));
            reader.problems.error_with(
                node.at,
                format!("nothing is told of {}", shown(wanted)),
                Some(near.unwrap_or_else(known)),
            );
        }
    }
    let private = fields.get("private").and_then(|node| reader.boolean(node, "private")).unwrap_or(false);
    if let (Some(at), Some(url), false) = (at, &url, private) {
        not_private(reader, at, url.expose_secret());
    }
    let words = |entries: Vec<(String, &Node)>| entries.into_iter().map(|(word, _)| word).collect();
    Some(Webhook { url: url?, secrets: secret?, events: words(events), families: words(families), private })
}

fn read_callbacks(reader: &mut Reader<'_>, node: &Node) -> Option<Callbacks> {
    let fields = reader.fields(node, "callbacks", &["hosts", "secret", "private"])?;
    let listed = reader.required(&fields, "callbacks", "hosts");
    let secret = reader.required(&fields, "callbacks", "secret").and_then(|node| secrets(reader, node));
    let private = fields.get("private").and_then(|node| reader.boolean(node, "private")).unwrap_or(false);
    let listed = listed?;
    let hosts = hosts(reader, Some(listed), "hosts");
    if !private && hosts.iter().any(|rule| rule.reach() == Reach::Private) {
        reader.problems.error_with(listed.at, "hosts has a private address", Some(IS_PRIVATE.into()));
    }
    Some(Callbacks { hosts, secrets: secret?, private })
}

fn entries<'n>(reader: &mut Reader<'_>, node: &'n Node, what: &str) -> Vec<(String, &'n Node)> {
    let items = reader.list(node, what).unwrap_or_default();
    if items.is_empty() || items.len() > ENTRIES_MAX {
        reader.problems.error(node.at, format!("{what} must have 1 to {ENTRIES_MAX} entries"));
    }
    let mut entries = Vec::new();
    for item in items.iter().take(ENTRIES_MAX) {
        entries.extend(reader.text(item, &format!("an entry of {what}")).map(|text| (text.to_owned(), item)));
    }
    entries
}

fn address(reader: &mut Reader<'_>, node: &Node) -> Option<SecretString> {
    let text = reader.expanded(node, "url", Env::Expand)?;
    match Address::parse(&text) {
        Ok(address) if reach_of(&address.host) == Reach::Never => {
            reader.problems.error(node.at, format!("url is at {NEVER_CALLED}"));
            None
        }
        Ok(_) => Some(SecretString::from(text)),
        Err(_) if reader.stands_in() => Some(SecretString::from(text)),
        // It may hold a secret, and is not repeated.
        Err(problem) => {
            reader.problems.error(node.at, format!("url is none: {problem}"));
            None
        }
    }
}

fn secrets(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<SecretString>> {
    let text = reader.expanded(node, "secret", Env::Expand)?;
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    if parts.len() > SECRETS_MAX || parts.iter().any(|part| standard_key(part).is_none()) {
        // A lab that is only simulated does without, and calls nobody.
        if reader.stands_in() {
            return Some(vec![]);
        }
        let message = format!(
            "secret must be {STANDARD_PREFIX} and 24 to 64 bytes in base64, or two of them with a comma while rotating"
        );
        let make = "make one with: echo whsec_$(openssl rand -base64 32)";
        reader.problems.error_with(node.at, message, Some(make.into()));
        return None;
    }
    Some(parts.into_iter().map(|part| SecretString::from(part.to_owned())).collect())
}
