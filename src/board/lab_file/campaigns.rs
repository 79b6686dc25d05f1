//! Campaigns: `campaigns:`, what runs over many boards or families in waves. Each is held against the lab that the file
//! describes. Pure.

use std::collections::BTreeMap;

use super::people::{IdOf, id};
use super::problem::Mark;
use super::reader::{Fields, Reader, of_document};
use super::schedules::could_start;
use super::tree::Node;
use crate::board::{BoardId, Family, Inventory, shown};
use crate::campaign::{AT_ONCE_MAX, Definition, Rollback, Stop, Targets, Terms, Wave};
use crate::command::RunTest;
use crate::run::REPEAT_MAX;

/// Most campaigns of a lab.
pub const CAMPAIGNS_MAX: usize = 100;
/// Most waves of one.
pub const WAVES_MAX: usize = 10;
/// Most names of one list.
const NAMES_MAX: usize = 500;

const KEYS: [&str; 11] = [
    "families",
    "boards_of",
    "boards",
    "revisions",
    "suites",
    "repeats",
    "waves",
    "gate",
    "at_once",
    "stop",
    "rollback",
];

/// Reads what a program says of a campaign of its own, with the keys of `campaigns:`; or everything that is wrong with it.
/// Nothing is held against the lab.
pub fn campaign_of(
    name: &str,
    document: &serde_json::Map<String, serde_json::Value>,
) -> Result<Definition, String> {
    let named = |reader: &mut Reader<'_>| is_campaign_name(reader, name, Mark::START);
    of_document(document, ("a campaign", &KEYS), named, definition)
}

/// Whether somebody may call a campaign that.
fn is_campaign_name(reader: &mut Reader<'_>, name: &str, at: Mark) -> bool {
    let named = reader.is_name(name, at, "the name of a campaign");
    let is_number = named && name.bytes().all(|b| b.is_ascii_digit());
    if is_number {
        reader
            .problems
            .error(at, "a campaign's name must not be a number: numbers are those that were begun");
    }
    named && !is_number
}

/// Reads `campaigns:`; what they run is held against the lab by [`check`].
pub(super) fn campaigns(reader: &mut Reader<'_>, node: Option<&Node>) -> BTreeMap<String, Definition> {
    let mut campaigns = BTreeMap::new();
    let Some(fields) = node.and_then(|node| reader.named(node, "campaigns")) else {
        return campaigns;
    };
    let count = fields.entries().count();
    if count > CAMPAIGNS_MAX {
        let message = format!("campaigns has {count} entries; at most {CAMPAIGNS_MAX} are allowed");
        reader.problems.error(fields.at, message);
    }
    for (key, node) in fields.entries().take(CAMPAIGNS_MAX) {
        let named = is_campaign_name(reader, &key.text, key.at);
        let known: Vec<&str> = KEYS.into_iter().chain(["channel"]).collect();
        let Some(fields) = reader.fields(node, "a campaign", &known) else {
            continue;
        };
        if let Some(definition) = definition(reader, &fields)
            && named
        {
            campaigns.insert(key.text.clone(), definition);
        }
    }
    campaigns
}

fn definition(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Definition> {
    let kinds = ["families", "boards_of", "boards"];
    let given: Vec<&str> = kinds.into_iter().filter(|key| fields.has(key)).collect();
    let [kind] = given[..] else {
        reader.problems.error(fields.at, "a campaign needs one of families, boards_of and boards");
        return None;
    };
    let targets = names(reader, fields, kind);
    if targets.is_empty() {
        reader.problems.error(fields.at, format!("{kind} of a campaign must name one at least"));
        return None;
    }
    let targets = match kind {
        "families" => Targets::Families(targets),
        "boards_of" => Targets::BoardsOf(targets),
        _ => Targets::Boards(targets),
    };
    let revisions = names(reader, fields, "revisions");
    if !revisions.is_empty() && kind != "families" {
        reader.problems.error(fields.at, "revisions go with families: a board has its own");
    }
    let mut number = |key: &str, range: std::ops::RangeInclusive<i64>| {
        let read = fields.get(key).and_then(|node| reader.integer(node, key, range));
        read.and_then(|n| u32::try_from(n).ok())
    };
    let mut terms = Terms::default();
    terms.gate = number("gate", 0..=100).unwrap_or(terms.gate);
    terms.at_once = number("at_once", 1..=i64::from(AT_ONCE_MAX)).unwrap_or(terms.at_once);
    let repeats = number("repeats", 1..=i64::from(REPEAT_MAX)).unwrap_or(1);
    terms.waves = waves(reader, fields.get("waves"));
    terms.stop = fields.get("stop").and_then(|node| stop(reader, node));
    let channel =
        fields.get("channel").and_then(|node| id(reader, node, "channel of a campaign", IdOf::Channel));
    let rollback = fields.get("rollback").and_then(|node| rollback(reader, node));
    if rollback.is_some() && kind == "families" {
        reader
            .problems
            .error(fields.at, "a rollback needs boards or boards_of: of a family, nobody knows which board");
    }
    let suites = names(reader, fields, "suites");
    Some(Definition { targets, revisions, suites, repeats, terms, rollback, channel })
}

fn names(reader: &mut Reader<'_>, fields: &Fields<'_>, key: &str) -> Vec<String> {
    let Some(node) = fields.get(key) else { return vec![] };
    let items = reader.list(node, key).unwrap_or_default();
    if items.len() > NAMES_MAX {
        let message = format!("{key} has {} entries; at most {NAMES_MAX} are allowed", items.len());
        reader.problems.error(node.at, message);
    }
    let mut names: Vec<String> = Vec::with_capacity(items.len().min(NAMES_MAX));
    for item in items.iter().take(NAMES_MAX) {
        let Some(name) = reader.name(item, &format!("an entry of {key}")) else { continue };
        if names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            reader.problems.error(item.at, format!("{key} has {} twice", shown(name)));
            continue;
        }
        names.push(name.to_owned());
    }
    names
}

/// Reads `waves: [1, 50%, 100%]`.
fn waves(reader: &mut Reader<'_>, node: Option<&Node>) -> Vec<Wave> {
    let Some(node) = node else { return vec![] };
    let items = reader.list(node, "waves").unwrap_or_default();
    if items.len() > WAVES_MAX {
        let message = format!("waves has {} entries; at most {WAVES_MAX} are allowed", items.len());
        reader.problems.error(node.at, message);
    }
    let mut waves = Vec::new();
    for item in items.iter().take(WAVES_MAX) {
        let Some(text) = reader.text(item, "a wave") else { continue };
        let percent = text.strip_suffix('%').and_then(|n| n.parse().ok()).filter(|n| (1..=100).contains(n));
        let targets = text.parse().ok().filter(|n| *n >= 1).map(Wave::Targets);
        match percent.map(Wave::Percent).or(targets) {
            Some(wave) => waves.push(wave),
            None => {
                let message = format!("a wave must be a number, or up to 100%, not {}", shown(text));
                reader.problems.error(item.at, message);
            }
        }
    }
    waves
}

fn stop(reader: &mut Reader<'_>, node: &Node) -> Option<Stop> {
    let fields = reader.fields(node, "stop", &["failed", "after"])?;
    let failed = reader.required(&fields, "stop", "failed")?;
    let failed = reader.integer(failed, "failed", 0..=99)?;
    let after = fields.get("after").and_then(|node| reader.integer(node, "after", 1..=1000)).unwrap_or(1);
    Some(Stop { failed: u32::try_from(failed).ok()?, after: u32::try_from(after).ok()? })
}

fn rollback(reader: &mut Reader<'_>, node: &Node) -> Option<Rollback> {
    let fields = reader.fields(node, "rollback", &["build", "suite"])?;
    let build = reader.required(&fields, "rollback", "build").and_then(|node| reader.text(node, "build"));
    let suite = reader.required(&fields, "rollback", "suite").and_then(|node| reader.name(node, "suite"));
    Some(Rollback { build: build?.to_owned(), suite: suite?.to_owned() })
}

/// Holds what each campaign runs against the lab.
pub(super) fn check(reader: &mut Reader<'_>, node: Option<&Node>, lab: &Inventory) {
    let Some(fields) = node.and_then(|node| reader.mapping(node, "campaigns")) else {
        return;
    };
    for (key, _) in fields.entries() {
        let Some(definition) = lab.campaigns.get(&key.text) else { continue };
        if let Some((message, suggestion)) =
            asked(definition, lab).find_map(|asked| could_start(&asked, lab).err())
        {
            let message = format!("campaign {} starts nothing: {message}", shown(&key.text));
            reader.problems.error_with(key.at, message, suggestion);
        }
    }
}

/// Everything that a campaign would ask for, of each kind once.
fn asked<'a>(definition: &'a Definition, lab: &'a Inventory) -> impl Iterator<Item = RunTest> + 'a {
    let targets: Vec<String> = match &definition.targets {
        Targets::Families(names) | Targets::Boards(names) => names.clone(),
        Targets::BoardsOf(families) => {
            let first = |name: &String| {
                let family = Family::new(name.as_str());
                let mut boards =
                    lab.boards.values().filter(|board| board.family == family).map(|board| &board.id);
                boards.next().map_or(name.clone(), |id: &BoardId| id.to_string())
            };
            families.iter().map(first).collect()
        }
    };
    let some = |names: &[String]| match names {
        [] => vec![None],
        names => names.iter().cloned().map(Some).collect(),
    };
    let (revisions, suites) = (some(&definition.revisions), some(&definition.suites));
    let of = move |target: String| {
        let mut of = Vec::new();
        for revision in &revisions {
            for suite in &suites {
                let (revision, suite) = (revision.clone(), suite.clone());
                let build = "build".to_owned();
                of.push(RunTest { target: target.clone(), build, suite, revision, ..RunTest::default() });
            }
        }
        if let Some(back) = &definition.rollback {
            let (build, suite) = (back.build.clone(), Some(back.suite.clone()));
            of.push(RunTest { target, build, suite, ..RunTest::default() });
        }
        of
    };
    targets.into_iter().flat_map(of)
}
