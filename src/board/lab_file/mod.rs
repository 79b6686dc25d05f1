//! The lab file: boards.yaml as text in, an [`Inventory`] or every mistake at once out. Pure: the text and a look-up
//! of variables come from the caller (`cli::check`, `cli::serve`), and nothing here opens a file or a socket.
//!
//! `tree` reads YAML into nodes that know their line and column; `reader` gives typed access to them and collects
//! problems; the other parts each read one section. A section that cannot be read is left out and told once; what
//! refers to it is not told again. Keys and defaults are documented where they are read.

mod boards;
mod builds;
mod campaigns;
mod channels;
mod devices;
mod families;
mod hooks;
mod host;
mod maintenance;
mod mapping;
mod notes;
mod people;
mod permissions;
mod plans;
mod problem;
mod quotas;
mod reader;
mod remote;
mod reservations;
mod schedules;
mod sequences;
mod steps;
mod switches;
mod tree;
mod twins;

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use self::boards::{Boards, Lab};
use self::families::FamilyEntry;
use self::notes::{Note, Notes};
use self::reader::Reader;
use self::tree::{Node, Value};
use super::groups::GROUPS_MAX;
use super::inventory::{Builds, FamilySettings, Inventory, SiteSettings};
use super::near::nearest;
use super::plan::{Action, Plan, PowerAction};
use super::{Board, BoardId, Family, PowerDriver, Site, shown};
use crate::chat::Platform;

pub use self::boards::{BOARDS_MAX, TAGS_MAX};
pub use self::campaigns::{CAMPAIGNS_MAX, WAVES_MAX, campaign_of};
pub use self::hooks::WEBHOOKS_MAX;
pub use self::host::HOST_ARGUMENTS_MAX;
pub use self::maintenance::WINDOWS_MAX;
pub use self::mapping::MAPPINGS_MAX;
pub use self::plans::{BUILT_IN_PLAN, RESERVED_PARAMS, WATCH_MAX};
pub use self::problem::{Mark, PROBLEMS_MAX, Problem, Severity, render};
pub use self::reader::DURATION_MAX;
pub use self::schedules::{SCHEDULES_MAX, schedule_of, starts};
pub use self::sequences::{RELAYS_MAX, SEQUENCE_STEPS_MAX, SEQUENCE_WAITS_MAX, SEQUENCES_MAX};
pub use self::steps::STEPS_MAX;
pub use self::tree::{DEPTH_MAX, FILE_BYTES_MAX, NODES_MAX};

const TOP_KEYS: [&str; 20] = [
    "boards",
    "families",
    "plans",
    "roles",
    "permissions",
    "people",
    "channels",
    "reservations",
    "quotas",
    "schedules",
    "campaigns",
    "maintenance",
    "sites",
    "host_programs",
    "artifact_hosts",
    "on_build",
    "mapping",
    "webhooks",
    "callbacks",
    "statuses",
];

/// A lab file that was read.
#[derive(Debug)]
pub struct LabFile {
    /// The lab; `None` when there is an error.
    pub inventory: Option<Inventory>,
    /// Errors and warnings in the order of the file.
    pub problems: Vec<Problem>,
}

/// Reads a lab file. `source_name` stands in front of every problem; `env` looks up variables for `${NAME}`.
pub fn parse(source_name: &str, text: &str, env: &dyn Fn(&str) -> Option<String>) -> LabFile {
    read(Reader::new(source_name, text, env), text)
}

/// The same for a lab that is only simulated: a variable that is not set is a warning, since no console and no switch
/// of that lab will ask for a password.
pub fn parse_simulated(source_name: &str, text: &str, env: &dyn Fn(&str) -> Option<String>) -> LabFile {
    read(Reader::new(source_name, text, env).standing_in(), text)
}

/// The same of what a server sent to a worker ([`Inventory::remote`]): boards may be without the switch that a plan needs.
pub fn parse_sent(text: &str, env: &dyn Fn(&str) -> Option<String>) -> LabFile {
    let mut reader = Reader::new("boards.yaml", text, env);
    reader.is_sent = true;
    read(reader, text)
}

/// The same for a server to which only these chat platforms are connected: mirrors that come to nothing are told.
pub fn parse_for(
    source_name: &str,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    simulated: bool,
    connected: &[Platform],
) -> LabFile {
    let reader = Reader::new(source_name, text, env).where_only(connected);
    read(if simulated { reader.standing_in() } else { reader }, text)
}

fn read(mut reader: Reader<'_>, text: &str) -> LabFile {
    let text_without_mark = text.strip_prefix('\u{feff}').unwrap_or(text);
    let root = tree::read(text_without_mark, &mut reader.problems);
    let inventory = root.and_then(|root| inventory(&mut reader, &root));
    let problems = reader.problems.finish();
    let broken = problems.iter().any(Problem::is_error);
    let hash = hex::encode(Sha256::digest(text.as_bytes()));
    let inventory = inventory.filter(|_| !broken).map(|inventory| Inventory { hash, ..inventory });
    LabFile { inventory, problems }
}

fn inventory(reader: &mut Reader<'_>, root: &Node) -> Option<Inventory> {
    let mut notes = Notes::default();
    // A bare list of boards is a lab file as well.
    let top = match &root.value {
        Value::List(_) => None,
        _ => Some(reader.fields(root, "a lab file", &TOP_KEYS)?),
    };
    let section = |key: &str| top.and_then(|top| top.get(key));
    let sites = people::sites(reader, section("sites"));
    let host_programs = host::host_programs(reader, section("host_programs"));
    let mut wanted = Vec::new();
    let plans = plans::plans(reader, section("plans"), &host_programs, &mut wanted);
    let families = families::families(reader, section("families"), &plans);
    let boards = match top {
        None => Some(root),
        Some(top) => reader.required(&top, "a lab file", "boards"),
    };
    let items = boards.and_then(|node| reader.list(node, "boards")).unwrap_or_default();
    if let (true, Some(node)) = (items.is_empty(), boards.filter(|node| matches!(node.value, Value::List(_))))
    {
        reader.problems.error(node.at, "the lab has no boards");
    }
    let lab = Lab { families: section("families").map(|_| &families), sites: &sites };
    let Boards { boards, at } = boards::boards(reader, items, &lab, &mut notes);
    unused(reader, section("sites"), &families, &boards, items.len());
    let families = settings(families, &boards);
    if boards.len() == items.len() && !reader.is_sent {
        // Boards with mistakes are missing here, and with them the sequences that they may have.
        sequences::check_plans(reader, &wanted, &boards, &families);
    }
    switchless(&boards, &at, &families, &plans, &mut notes);
    notes.tell(&mut reader.problems);
    let inventory = Inventory {
        remote: remote::files(root, &sites),
        sites: all_sites(sites, &boards),
        roles: people::roles(reader, section("roles")),
        permissions: permissions::permissions(reader, section("permissions"), &families),
        people: permissions::people(reader, section("people")),
        channels: channels::channels(reader, section("channels")),
        reservations: reservations::reservations(reader, section("reservations")),
        campaigns: campaigns::campaigns(reader, section("campaigns")),
        quotas: quotas::quotas(reader, section("quotas")),
        schedules: schedules::schedules(reader, section("schedules")),
        // Boards with mistakes are missing: what names them is told once they have none.
        maintenance: match boards.len() == items.len() {
            true => maintenance::windows(reader, section("maintenance"), &boards),
            false => BTreeMap::new(),
        },
        builds: Builds {
            artifact_hosts: builds::hosts(reader, section("artifact_hosts"), "artifact_hosts"),
            rules: builds::rules(reader, section("on_build"), &families),
            mappings: mapping::mappings(reader, section("mapping")),
        },
        hooks: hooks::hooks(reader, section("webhooks"), section("callbacks"), section("statuses")),
        host_programs,
        boards,
        families,
        plans,
        hash: String::new(),
    };
    let groups = inventory.groups().len();
    if groups > GROUPS_MAX {
        let message =
            format!("roles and permissions name {groups} groups; at most {GROUPS_MAX} are looked up");
        reader.problems.error(root.at, message);
    }
    if inventory.boards.len() == items.len() {
        schedules::check(reader, section("schedules"), &inventory);
        campaigns::check(reader, section("campaigns"), &inventory);
    }
    Some(inventory)
}

/// Tells families and sites that no board names: usually one of the two is misspelt.
fn unused(
    reader: &mut Reader<'_>,
    sites: Option<&Node>,
    families: &BTreeMap<String, FamilyEntry<'_>>,
    boards: &BTreeMap<BoardId, Board>,
    listed: usize,
) {
    if boards.len() < listed {
        return; // Boards with mistakes are missing here; what they name is not unused.
    }
    let used: BTreeSet<&str> = boards.values().map(|board| board.family.as_str()).collect();
    for (name, entry) in families.iter().filter(|(name, _)| !used.contains(name.as_str())) {
        reader.problems.warning(entry.at, format!("family {} has no board", shown(name)), None);
    }
    let used: BTreeSet<&str> = boards.values().map(|board| board.site.as_str()).collect();
    let Some(fields) = sites.and_then(|node| reader.mapping(node, "sites")) else {
        return;
    };
    for (key, _) in fields.entries().filter(|(key, _)| !used.contains(key.text.as_str())) {
        let message = format!("site {} has no board", shown(&key.text));
        match nearest(&key.text, used.iter().copied()) {
            // Its boards would silently be driven from the wrong place.
            Some(near) => {
                reader.problems.error_with(key.at, message, Some(format!("did you mean \"{near}\"?")))
            }
            None => reader.problems.warning(key.at, message, None),
        }
    }
}

/// Settings of every family that the file or a board names.
fn settings(
    families: BTreeMap<String, FamilyEntry<'_>>,
    boards: &BTreeMap<BoardId, Board>,
) -> BTreeMap<Family, FamilySettings> {
    let mut settings: BTreeMap<Family, FamilySettings> =
        families.into_iter().map(|(name, entry)| (Family::new(name), entry.settings)).collect();
    for board in boards.values() {
        settings.entry(board.family.clone()).or_insert_with(families::bare);
    }
    settings
}

fn all_sites(
    mut sites: BTreeMap<Site, SiteSettings>,
    boards: &BTreeMap<BoardId, Board>,
) -> BTreeMap<Site, SiteSettings> {
    for board in boards.values() {
        sites.entry(board.site.clone()).or_default();
    }
    sites
}

/// Notes boards without a switch whose plans switch power.
fn switchless(
    boards: &BTreeMap<BoardId, Board>,
    at: &BTreeMap<BoardId, Mark>,
    families: &BTreeMap<Family, FamilySettings>,
    plans: &BTreeMap<String, Plan>,
    notes: &mut Notes,
) {
    let switches = |plan: &Plan| {
        plan.steps().any(|step| {
            matches!(step.action, Action::Power(PowerAction::On | PowerAction::Off | PowerAction::Cycle))
        })
    };
    for board in boards.values().filter(|board| matches!(board.power.driver, PowerDriver::None)) {
        if board.power.host.is_some() {
            continue; // Told as a PDU without a driver.
        }
        let suites = families.get(&board.family).map(|family| family.suites.values()).into_iter().flatten();
        for plan in suites.collect::<BTreeSet<_>>() {
            if plans.get(plan).is_some_and(switches) {
                let note = Note::NoSwitch { plan: plan.clone(), family: board.family.to_string() };
                notes.add(note, at[&board.id], Some(board.id.as_str()));
            }
        }
    }
}

#[cfg(test)]
mod tests;
