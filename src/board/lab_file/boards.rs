//! Boards: each one's own keys, and its console and power with the family's underneath. Pure.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use secrecy::SecretString;

use super::devices::{self, Layers, Pdu, Subject};
use super::families::FamilyEntry;
use super::notes::Notes;
use super::people::{IdOf, id, is_site};
use super::problem::Mark;
use super::reader::{Env, Fields, Reader};
use super::tree::Node;
use super::twins::Twins;
use crate::board::inventory::SiteSettings;
use crate::board::{Board, BoardId, ConsoleConfig, Family, NAME_BYTES_MAX, Site, shown};

/// Most boards of one lab.
pub const BOARDS_MAX: usize = 10_000;
/// Most tags of one board.
pub const TAGS_MAX: usize = 64;
/// Longest host name, in bytes.
const HOST_BYTES_MAX: usize = 253;
/// Longest user name or password, in bytes.
const CREDENTIAL_BYTES_MAX: usize = 256;

const BOARD_KEYS: [&str; 14] = [
    "board_id",
    "soc_family",
    "soc_revision",
    "board_ip",
    "telnet_port",
    "pdu_host",
    "pdu_outlet",
    "lab_location",
    "telnet_username",
    "telnet_password",
    "tags",
    "owner",
    "console",
    "power",
];

/// What boards refer to.
pub(super) struct Lab<'l, 'n> {
    /// `families:`; `None` when the file has none, and every family is the boards' own word.
    pub(super) families: Option<&'l BTreeMap<String, FamilyEntry<'n>>>,
    pub(super) sites: &'l BTreeMap<Site, SiteSettings>,
}

/// The boards of a file, and where each of them stands.
#[derive(Default)]
pub(super) struct Boards {
    pub(super) boards: BTreeMap<BoardId, Board>,
    pub(super) at: BTreeMap<BoardId, Mark>,
}

/// Reads `boards:`.
pub(super) fn boards(
    reader: &mut Reader<'_>,
    items: &[Node],
    lab: &Lab<'_, '_>,
    notes: &mut Notes,
) -> Boards {
    let mut boards = Boards::default();
    let mut names: HashMap<String, u32> = HashMap::new();
    let mut twins = Twins::default();
    if let Some(families) = lab.families {
        twins.families(families, &mut reader.problems);
    }
    for item in items.iter().take(BOARDS_MAX) {
        let Some(fields) = reader.fields(item, "a board", &BOARD_KEYS) else {
            continue;
        };
        if let Some(node) = fields.get("board_id")
            && let Some(name) = reader.text(node, "board_id")
        {
            if let Some(line) = names.get(name) {
                let message = format!("duplicate board_id {}; the first is on line {line}", shown(name));
                reader.problems.error(node.at, message);
            }
            names.entry(name.to_owned()).or_insert(node.at.line);
        }
        let Some(board) = board(reader, &fields, lab, notes) else {
            continue;
        };
        twins.meet(&board, &fields, lab.sites, &mut reader.problems);
        boards.at.entry(board.id.clone()).or_insert(item.at);
        boards.boards.entry(board.id.clone()).or_insert(board);
    }
    twins.finish(&mut reader.problems);
    if let Some(first) = items.get(BOARDS_MAX) {
        reader
            .problems
            .error(first.at, format!("the lab has {} boards; at most {BOARDS_MAX} are allowed", items.len()));
    }
    boards
}

fn board(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    lab: &Lab<'_, '_>,
    notes: &mut Notes,
) -> Option<Board> {
    const WHAT: &str = "a board";
    let name = reader.required(fields, WHAT, "board_id").and_then(|node| reader.name(node, "board_id"));
    let family = reader.required(fields, WHAT, "soc_family").and_then(|node| family(reader, node, lab));
    let site = reader.required(fields, WHAT, "lab_location").and_then(|node| site(reader, node));
    let remote = site.as_ref().is_some_and(|site| lab.sites.get(site).is_some_and(|site| site.remote));
    let env = if remote { Env::Keep } else { Env::Expand };
    // What the server switches for its workers is the server's to know.
    let at_worker =
        site.as_ref().is_some_and(|site| lab.sites.get(site).is_some_and(|site| site.pdu_at_worker));
    let power_env = if remote && at_worker { Env::Keep } else { Env::Expand };
    let host = reader.required(fields, WHAT, "board_ip").and_then(|node| host(reader, node, "board_ip", env));
    let revision = fields.get("soc_revision").and_then(|node| tag_text(reader, node, "soc_revision"));
    let tags = fields.get("tags").map(|node| tags(reader, node)).unwrap_or_default();
    let owner = fields.get("owner").and_then(|node| id(reader, node, "owner", IdOf::Person));
    let entry = family.and_then(|family| lab.families?.get(family));
    let console_layers = Layers {
        board: devices::console_fields(reader, fields.get("console")),
        family: entry.and_then(|entry| entry.console),
    };
    let power_layers = Layers {
        board: devices::power_fields(reader, fields.get("power")),
        family: entry.and_then(|entry| entry.power),
    };
    let subject = Subject { board: name, family: family.unwrap_or_default(), env: power_env };
    let console = devices::console(reader, console_layers, devices::Of::Board);
    let port = match fields.get("telnet_port") {
        Some(node) => {
            reader.integer(node, "telnet_port", 1..=65535).and_then(|port| u16::try_from(port).ok())
        }
        None => Some(console.port),
    };
    let pdu = pdu(reader, fields, power_env);
    let power = devices::power(reader, power_layers, pdu, &subject, notes);
    let username =
        fields.get("telnet_username").and_then(|node| credential(reader, node, "telnet_username", env));
    let password =
        fields.get("telnet_password").and_then(|node| credential(reader, node, "telnet_password", env));
    if let (Some(_), None) = (fields.get("telnet_password"), fields.get("telnet_username")) {
        reader.problems.error(fields.at, "telnet_password needs telnet_username");
    }
    let password = password.map(SecretString::from);
    Some(Board {
        id: BoardId::new(name?),
        family: Family::new(family?),
        revision,
        site: site?,
        tags,
        owner,
        console: ConsoleConfig { host: host?, port: port?, username, password, ..console },
        power,
    })
}

fn family<'n>(reader: &mut Reader<'_>, node: &'n Node, lab: &Lab<'_, '_>) -> Option<&'n str> {
    let name = reader.name(node, "soc_family")?;
    if let Some(families) = lab.families
        && !families.contains_key(name)
    {
        let known: Vec<&str> = families.keys().map(String::as_str).collect();
        reader.unknown(node.at, "family", name, &known);
        return None;
    }
    Some(name)
}

fn site(reader: &mut Reader<'_>, node: &Node) -> Option<Site> {
    let text = reader.text(node, "lab_location")?;
    if !is_site(text) {
        let message =
            format!("lab_location must be 1 to {NAME_BYTES_MAX} bytes on one line, not {}", shown(text));
        reader.problems.error(node.at, message);
        return None;
    }
    Some(Site::new(text))
}

/// An address or a host name. Of remote sites, `${NAME}` may stand in it.
fn host(reader: &mut Reader<'_>, node: &Node, what: &str, env: Env) -> Option<String> {
    let text = reader.expanded(node, what, env)?;
    let later = env == Env::Keep && text.contains("${");
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let numeric = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let is_name = (1..=HOST_BYTES_MAX).contains(&text.len())
        && !numeric
        && text.bytes().all(word)
        && text.split('.').all(|label| !label.is_empty() && !label.starts_with('-'));
    if !later && !is_name && text.parse::<IpAddr>().is_err() {
        reader
            .problems
            .error(node.at, format!("{what} must be an address or a host name, not {}", node.kind()));
        return None;
    }
    Some(text)
}

fn pdu(reader: &mut Reader<'_>, fields: &Fields<'_>, env: Env) -> Pdu {
    let at: Option<Mark> = fields.get("pdu_host").map(|node| node.at);
    let host = fields.get("pdu_host").and_then(|node| host_and_port(reader, node, env));
    let outlet = fields.get("pdu_outlet").and_then(|node| {
        let text = reader.expanded(node, "pdu_outlet", env)?;
        if text.is_empty() || text.len() > NAME_BYTES_MAX || text.contains(|c: char| c.is_control()) {
            reader
                .problems
                .error(node.at, format!("pdu_outlet must be a number or a short name, not {}", node.kind()));
            return None;
        }
        Some(text)
    });
    if let (Some(node), None) = (fields.get("pdu_outlet"), at) {
        reader.problems.error(node.at, "pdu_outlet needs pdu_host");
    }
    Pdu { host, outlet, at }
}

/// `pdu_host`: a host, perhaps with a port.
fn host_and_port(reader: &mut Reader<'_>, node: &Node, env: Env) -> Option<String> {
    let text = reader.expanded(node, "pdu_host", env)?;
    match text.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && port.parse::<u16>().is_ok_and(|port| port > 0) => {
            Some(text)
        }
        _ => host(reader, node, "pdu_host", env),
    }
}

fn credential(reader: &mut Reader<'_>, node: &Node, what: &str, env: Env) -> Option<String> {
    let text = reader.expanded(node, what, env)?;
    // It is typed at a prompt: a line break would end it early, and its message must not show it.
    if text.len() > CREDENTIAL_BYTES_MAX || text.contains(|c: char| c.is_control()) {
        let message =
            format!("{what} must be at most {CREDENTIAL_BYTES_MAX} bytes without control characters");
        reader.problems.error(node.at, message);
        return None;
    }
    Some(text)
}

fn tags(reader: &mut Reader<'_>, node: &Node) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::new();
    let Some(fields) = reader.mapping(node, "tags") else {
        return tags;
    };
    for (key, node) in fields.entries() {
        if tags.len() == TAGS_MAX {
            reader.problems.error(key.at, format!("a board has at most {TAGS_MAX} tags"));
            break;
        }
        let named = reader.is_name(&key.text, key.at, "the name of a tag");
        let what = format!("tag \"{}\"", key.text.escape_debug());
        if let Some(value) = tag_text(reader, node, &what)
            && named
        {
            tags.insert(key.text.clone(), value);
        }
    }
    tags
}

/// A value that people type after `tag=k:` and `rev=`: short, on one line.
fn tag_text(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<String> {
    let text = reader.expanded(node, what, Env::Expand)?;
    if text.trim() != text
        || !(1..=NAME_BYTES_MAX).contains(&text.len())
        || text.contains(|c: char| c.is_control())
    {
        let message = format!("{what} must be 1 to {NAME_BYTES_MAX} bytes on one line, not {}", node.kind());
        reader.problems.error(node.at, message);
        return None;
    }
    Some(text)
}
