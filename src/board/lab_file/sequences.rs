//! Power sequences: a board's relays, and the ordered steps over them and its own outlet. Pure.
//!
//! Both lie family under board, name by name. Plans name sequences before any board is read; [`check_plans`] looks at
//! those names once the boards are known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::devices::{Drive, Layers, Subject, drive, known_power_keys, own_driver};
use super::notes::Notes;
use super::problem::{Mark, listed};
use super::reader::{Fields, Reader};
use super::tree::{Node, Value};
use crate::board::inventory::FamilySettings;
use crate::board::plan::PowerAction;
use crate::board::power::sequence::waits;
use crate::board::power::{Outlet, PowerConfig, PowerDriver, Relay, SequenceStep};
use crate::board::{Board, BoardId, Family, shown};
use crate::clock::shown_duration;

/// Most relays of one board.
pub const RELAYS_MAX: usize = 16;
/// Most power sequences of one board.
pub const SEQUENCES_MAX: usize = 32;
/// Most steps of one sequence.
pub const SEQUENCE_STEPS_MAX: usize = 32;
/// Longest pauses of one sequence in all: a board at rest waits for nobody's sequence for long.
pub const SEQUENCE_WAITS_MAX: Duration = Duration::from_secs(60);

const RELAY_KEYS: [&str; 4] = ["driver", "host", "outlet", "rest"];
const STEP_KEYS: [&str; 5] = ["on", "off", "wait", "set", "to"];
const OUTLETS: [(&str, Outlet); 2] = [("on", Outlet::On), ("off", Outlet::Off)];
/// How many boards a mistake names before it counts.
const NAMED_MAX: usize = 3;

/// Reads `relays:` and `sequences:` into a board's power.
pub(super) fn read(
    reader: &mut Reader<'_>,
    layers: Layers<'_>,
    power: &mut PowerConfig,
    subject: &Subject<'_>,
    notes: &mut Notes,
) {
    let names = named(reader, layers, "relays");
    too_many(reader, &names, "relays", RELAYS_MAX);
    for (name, at) in names.iter().take(RELAYS_MAX) {
        if let Some(relay) = relay(reader, layers, power, (name, *at), subject, notes) {
            power.relays.insert((*name).to_owned(), relay);
        }
    }
    let relays: BTreeSet<&str> = names.iter().map(|(name, _)| *name).collect();
    let names = named(reader, layers, "sequences");
    too_many(reader, &names, "sequences", SEQUENCES_MAX);
    for (name, at) in names.iter().take(SEQUENCES_MAX) {
        if PowerAction::plain(name).is_some() {
            let message = format!("no sequence can be called \"{name}\": that can be done with every outlet");
            reader.problems.error(*at, message);
            continue;
        }
        let Some(node) = of_layers(layers, "sequences", name) else { continue };
        let ground = Ground { name, relays: &relays, power, subject };
        if let Some(steps) = sequence(reader, node, &ground) {
            power.sequences.insert((*name).to_owned(), steps);
        }
    }
}

/// The names under a key of either layer, and where they stand.
fn named<'n>(reader: &mut Reader<'_>, layers: Layers<'n>, key: &str) -> Vec<(&'n str, Mark)> {
    let mut names: Vec<(&str, Mark)> = Vec::new();
    for fields in [layers.family, layers.board].into_iter().flatten() {
        let Some(fields) = fields.get(key).and_then(|node| reader.mapping(node, key)) else { continue };
        for (entry, _) in fields.entries() {
            let known = names.iter().any(|(name, _)| *name == entry.text);
            if !known && reader.is_name(&entry.text, entry.at, &format!("a name under {key}")) {
                names.push((&entry.text, entry.at));
            }
        }
    }
    names
}

fn too_many(reader: &mut Reader<'_>, names: &[(&str, Mark)], what: &str, most: usize) {
    if let Some((_, at)) = names.get(most) {
        reader.problems.error(*at, format!("a board has at most {most} {what}"));
    }
}

/// What stands under a name of a key: the board's, or the family's.
fn of_layers<'n>(layers: Layers<'n>, key: &str, name: &str) -> Option<&'n Node> {
    [layers.board, layers.family].into_iter().flatten().find_map(|fields| entry(fields, key, name))
}

fn entry<'n>(fields: Fields<'n>, key: &str, name: &str) -> Option<&'n Node> {
    let Value::Map(entries) = &fields.get(key)?.value else { return None };
    entries.iter().find(|(key, _)| key.text == name).map(|(_, node)| node)
}

/// A relay: its own keys, family under board; a text alone is its outlet.
fn relay(
    reader: &mut Reader<'_>,
    layers: Layers<'_>,
    power: &PowerConfig,
    (name, at): (&str, Mark),
    subject: &Subject<'_>,
    notes: &mut Notes,
) -> Option<Relay> {
    let mut outlet: Option<&Node> = None;
    let mut own = Layers { board: None, family: None };
    for (fields, place) in [(layers.family, &mut own.family), (layers.board, &mut own.board)] {
        match fields.and_then(|fields| entry(fields, "relays", name)) {
            None => {}
            Some(Node { value: Value::Null, .. }) => {}
            Some(node) if matches!(node.value, Value::Scalar { .. }) => outlet = Some(node),
            Some(node) => {
                *place = reader.mapping(node, "a relay");
                outlet = place.and_then(|fields| fields.get("outlet")).or(outlet);
            }
        }
    }
    // Without a driver of its own it hangs on the board's device, or on one of its kind.
    let driver = own_driver(reader, own).or_else(|| own_driver(reader, layers));
    let is_own = own.get("driver").is_some();
    for fields in [own.family, own.board].into_iter().flatten() {
        let known = driver.map(|driver| driver.name).filter(|_| is_own);
        known_power_keys(reader, &fields, known, &RELAY_KEYS, "a relay");
    }
    let host = own.get("host").and_then(|node| reader.expanded(node, "host", subject.env));
    let host = host.or_else(|| power.host.clone());
    let outlet = outlet.and_then(|node| reader.expanded(node, "outlet", subject.env));
    let rest = own.get("rest").and_then(|node| reader.one_of(node, "rest state", &OUTLETS));
    let missing = match (driver, &outlet) {
        (None, _) => Some("driver"),
        (Some(_), None) if !is_own => Some("outlet"),
        _ => None,
    };
    if let (Some(key), Some(board)) = (missing, subject.board) {
        let message = format!("the relay \"{name}\" of {board} needs \"{key}\"");
        let way = format!("such as `relays: {{{name}: 8}}` under the board's `power:`");
        reader.problems.error_once(at, "a relay needs", message, (key == "outlet").then_some(way));
        return None;
    }
    let driver = driver?;
    let what = Drive {
        driver,
        layers: if is_own { own } else { layers },
        host: host.as_deref(),
        outlet: outlet.as_deref(),
    };
    let driver = drive(reader, &what, subject, notes);
    Some(Relay { driver, host, outlet, rest: rest.unwrap_or(Outlet::Off) })
}

/// What the steps of one sequence refer to.
struct Ground<'g> {
    name: &'g str,
    relays: &'g BTreeSet<&'g str>,
    power: &'g PowerConfig,
    subject: &'g Subject<'g>,
}

fn sequence(reader: &mut Reader<'_>, node: &Node, ground: &Ground<'_>) -> Option<Arc<[SequenceStep]>> {
    let items = reader.list(node, "a power sequence")?;
    if items.is_empty() || items.len() > SEQUENCE_STEPS_MAX {
        let message = format!("a power sequence has 1 to {SEQUENCE_STEPS_MAX} steps, not {}", items.len());
        reader.problems.error(node.at, message);
        return None;
    }
    let steps: Vec<Option<SequenceStep>> = items.iter().map(|item| step(reader, item, ground)).collect();
    let steps: Vec<SequenceStep> = steps.into_iter().collect::<Option<_>>()?;
    let paused = waits(&steps);
    if paused > SEQUENCE_WAITS_MAX {
        let (most, paused) = (shown_duration(SEQUENCE_WAITS_MAX), shown_duration(paused));
        let message =
            format!("the pauses of sequence \"{}\" are {paused} in all; at most {most}", ground.name);
        reader.problems.error(node.at, message);
        return None;
    }
    Some(steps.into())
}

/// One step: `on`, `off`, `wait: 2s` or `{set: strap, to: on}`.
fn step(reader: &mut Reader<'_>, node: &Node, ground: &Ground<'_>) -> Option<SequenceStep> {
    if let Value::Scalar { .. } = &node.value {
        let outlet = reader.one_of(node, "step of a power sequence", &OUTLETS)?;
        return board_step(reader, node.at, outlet, ground);
    }
    let fields = reader.fields(node, "a step of a power sequence", &STEP_KEYS)?;
    let actions: Vec<&str> = STEP_KEYS.into_iter().filter(|key| *key != "to" && fields.has(key)).collect();
    match actions[..] {
        ["on"] => board_step(reader, node.at, Outlet::On, ground),
        ["off"] => board_step(reader, node.at, Outlet::Off, ground),
        ["wait"] => {
            let pause = reader.required(&fields, "a step of a power sequence", "wait")?;
            reader.duration(pause, "wait", Duration::from_millis(1)).map(SequenceStep::Wait)
        }
        ["set"] => relay_step(reader, &fields, ground),
        _ => {
            let message = "a step of a power sequence is one of on, off, wait: 2s, {set: relay, to: on}";
            reader.problems.error(node.at, message);
            None
        }
    }
}

fn board_step(
    reader: &mut Reader<'_>,
    at: Mark,
    outlet: Outlet,
    ground: &Ground<'_>,
) -> Option<SequenceStep> {
    if let (PowerDriver::None, Some(board)) = (&ground.power.driver, ground.subject.board) {
        let message =
            format!("{board} has no power switch for \"{}\" of \"{}\"", outlet.as_str(), ground.name);
        reader.problems.error_once(at, "no power switch", message, None);
        return None;
    }
    Some(SequenceStep::Board(outlet))
}

fn relay_step(reader: &mut Reader<'_>, fields: &Fields<'_>, ground: &Ground<'_>) -> Option<SequenceStep> {
    const WHAT: &str = "a step of a power sequence";
    let relay = reader.required(fields, WHAT, "set");
    let to = reader.required(fields, WHAT, "to");
    let to = to.and_then(|to| reader.one_of(to, "state of a relay", &OUTLETS));
    let relay = relay.and_then(|node| Some((node.at, reader.text(node, "set")?)));
    let (at, relay) = relay?;
    if !ground.relays.contains(relay)
        && let Some(board) = ground.subject.board
    {
        let known: Vec<&str> = ground.relays.iter().copied().collect();
        let message = format!("{board} has no relay {}", shown(relay));
        reader.problems.error_once(at, "no relay", message, did_you_mean(relay, &known));
        return None;
    }
    Some(SequenceStep::Relay(relay.to_owned(), to?))
}

fn did_you_mean(name: &str, known: &[&str]) -> Option<String> {
    match crate::board::near::nearest(name, known.iter().copied()) {
        Some(near) => Some(format!("did you mean \"{near}\"?")),
        None if known.is_empty() => None,
        None => Some(format!("known are {}", listed(known, 8))),
    }
}

/// A sequence that a plan names.
pub(super) struct Wanted {
    pub(super) plan: String,
    pub(super) name: String,
    pub(super) at: Mark,
}

/// Tells sequences that a plan names and its boards do not have.
pub(super) fn check_plans(
    reader: &mut Reader<'_>,
    wanted: &[Wanted],
    boards: &BTreeMap<BoardId, Board>,
    families: &BTreeMap<Family, FamilySettings>,
) {
    for Wanted { plan, name, at } in wanted {
        let performs = |board: &&Board| {
            families.get(&board.family).is_some_and(|family| {
                let health = family.health.as_ref().is_some_and(|health| health.plan == *plan);
                health || family.suites.values().any(|of_suite| of_suite == plan)
            })
        };
        let mut its: Vec<&Board> = boards.values().filter(performs).collect();
        if its.is_empty() {
            its = boards.values().collect(); // Nobody performs it: any board's will do.
        }
        let (have, lack): (Vec<&Board>, Vec<&Board>) =
            its.iter().partition(|board| board.power.sequences.contains_key(name));
        if have.is_empty() {
            let plain = ["on", "off", "cycle"];
            let others: BTreeSet<&str> =
                its.iter().flat_map(|board| board.power.sequences.keys().map(String::as_str)).collect();
            let known: Vec<&str> = plain.into_iter().chain(others).collect();
            reader.unknown(*at, "power action", name, &known);
        } else if !lack.is_empty() && boards.values().any(|board| performs(&board)) {
            let lack: Vec<&str> = lack.iter().map(|board| board.id.as_str()).collect();
            let has = if lack.len() == 1 { "has" } else { "have" };
            let message = format!(
                "{} {has} no power sequence {}, which plan {} performs",
                listed(&lack, NAMED_MAX),
                shown(name),
                shown(plan)
            );
            reader.problems.error(*at, message);
        }
    }
}
