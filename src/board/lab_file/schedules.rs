//! Schedules: `schedules:`, lines that start runs at their times. Each is held against the lab that the file describes,
//! so that one which could start nothing is told here and not at two in the morning. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono_tz::{TZ_VARIANTS, Tz};
use serde_json::{Map, Value, json};

use super::people::{IdOf, id};
use super::problem::Mark;
use super::reader::{Env, Fields, Reader, of_document};
use super::tree::Node;
use crate::board::near::nearest;
use crate::board::schedule::{Schedule, Times};
use crate::board::{BoardId, Family, Inventory, selector, shown};
use crate::command::parse::{self, Surface};
use crate::command::{Command, RunTest};
use crate::lease::queue::{CouldServe, could_serve};
use crate::message::template::Catalogue;
use crate::run::{RunKind, RunSpec, Selector};

/// Most schedules of a lab.
pub const SCHEDULES_MAX: usize = 100;
/// Longest cron line, in bytes.
const CRON_BYTES_MAX: usize = 200;
const KEYS: [&str; 5] = ["cron", "zone", "run", "channel", "start_within"];
/// The time zone of a schedule that names none.
const ZONE: &str = "UTC";

/// Reads `schedules:`; the lines are held against the lab by [`check`].
pub(super) fn schedules(reader: &mut Reader<'_>, node: Option<&Node>) -> BTreeMap<String, Schedule> {
    let mut schedules = BTreeMap::new();
    let Some(fields) = node.and_then(|node| reader.named(node, "schedules")) else {
        return schedules;
    };
    let count = fields.entries().count();
    if count > SCHEDULES_MAX {
        let message = format!("schedules has {count} entries; at most {SCHEDULES_MAX} are allowed");
        reader.problems.error(fields.at, message);
    }
    for (key, node) in fields.entries().take(SCHEDULES_MAX) {
        let named = reader.is_name(&key.text, key.at, "the name of a schedule");
        let Some(fields) = reader.fields(node, "a schedule", &KEYS) else {
            continue;
        };
        if let Some(schedule) = schedule(reader, &fields)
            && named
        {
            schedules.insert(key.text.clone(), schedule);
        }
    }
    schedules
}

/// Reads what a program says of a schedule of its own, with the keys of `schedules:`; or everything that is wrong with it.
pub fn schedule_of(name: &str, document: &Map<String, Value>) -> Result<Schedule, String> {
    let named = |reader: &mut Reader<'_>| reader.is_name(name, Mark::START, "the name of a schedule");
    of_document(document, ("a schedule", &KEYS), named, schedule)
}

/// Whether a line that follows `/run-test` could start something in this lab, or why it could not.
pub fn starts(run: &str, lab: &Inventory) -> Result<(), String> {
    line(run, lab).map_err(|(message, suggestion)| {
        let suggestion = suggestion.map(|suggestion| format!("; {suggestion}"));
        format!("it starts nothing: {message}{}", suggestion.unwrap_or_default())
    })
}

fn schedule(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Schedule> {
    let zone = zone(reader, fields.get("zone"));
    let times = reader.required(fields, "a schedule", "cron").and_then(|node| times(reader, node, zone?.1));
    let run = reader.required(fields, "a schedule", "run").and_then(|node| reader.text(node, "run"));
    let channel =
        fields.get("channel").and_then(|node| id(reader, node, "channel of a schedule", IdOf::Channel));
    let least = Duration::from_secs(60);
    let within = fields.get("start_within").and_then(|node| reader.duration(node, "start_within", least));
    let ((cron, times), (zone, _)) = (times?, zone?);
    let mut read = Schedule::new(cron, zone, run?, times);
    read.channel = channel;
    read.start_within = within.unwrap_or(read.start_within);
    Some(read)
}

pub(super) fn times<'n>(reader: &mut Reader<'_>, node: &'n Node, zone: Tz) -> Option<(&'n str, Times)> {
    let text = reader.text(node, "cron")?;
    if text.len() > CRON_BYTES_MAX {
        reader.problems.error(node.at, format!("cron has at most {CRON_BYTES_MAX} bytes"));
        return None;
    }
    match Times::parse(text, zone) {
        Ok(times) => Some((text, times)),
        Err(problem) => {
            let problem = problem.to_string();
            let message = format!("cron {} is none: {}", shown(text), problem.trim_end_matches('.'));
            let like = "five fields: minute, hour, day, month, weekday, such as \"0 2 * * *\"";
            reader.problems.error_with(node.at, message, Some(like.into()));
            None
        }
    }
}

pub(super) fn zone(reader: &mut Reader<'_>, node: Option<&Node>) -> Option<(&'static str, Tz)> {
    let Some(node) = node else { return Some((ZONE, Tz::UTC)) };
    let text = reader.text(node, "zone")?;
    let known = || TZ_VARIANTS.iter().map(|zone| zone.name());
    match text.parse::<Tz>() {
        Ok(zone) => Some((zone.name(), zone)),
        Err(_) => {
            let near = nearest(text, known()).map(|near| format!("did you mean \"{near}\"?"));
            let suggestion = near.unwrap_or_else(|| "name one such as Europe/Berlin or Asia/Shanghai".into());
            let message = format!("unknown time zone {}", shown(text));
            reader.problems.error_with(node.at, message, Some(suggestion));
            None
        }
    }
}

/// Holds what each schedule runs against the lab.
pub(super) fn check(reader: &mut Reader<'_>, node: Option<&Node>, lab: &Inventory) {
    let Some(fields) = node.and_then(|node| reader.mapping(node, "schedules")) else {
        return;
    };
    for (key, node) in fields.entries().filter(|(key, _)| lab.schedules.contains_key(&key.text)) {
        let Some(fields) = reader.mapping(node, "a schedule") else { continue };
        let Some(node) = fields.get("run") else { continue };
        let Some(text) = reader.expanded(node, "run", Env::Keep) else { continue };
        if let Err((message, suggestion)) = line(&text, lab) {
            let message = format!("schedule {} starts nothing: {message}", shown(&key.text));
            reader.problems.error_with(node.at, message, suggestion);
        }
    }
}

/// What is wrong, and what would be right.
type Wrong = (String, Option<String>);

/// Whether a line that follows `/run-test` could start something in this lab.
fn line(text: &str, lab: &Inventory) -> Result<(), Wrong> {
    let request = match parse::parse(&format!("/run-test {text}"), false, Surface::Slash) {
        Ok(Command::RunTest(request)) => request,
        Ok(_) => return Err((format!("{} is no line of /run-test", shown(text)), None)),
        Err(problem) => {
            let next = problem.facts().get("next").and_then(Value::as_str).map(str::to_owned);
            let said = Catalogue::builtin().phrase("en", &json!(problem.phrase()));
            return Err((
                said,
                next.map(|next| format!("as in \"{}\"", next.trim_start_matches("/run-test "))),
            ));
        }
    };
    could_start(&request, lab)
}

/// Whether a request could start something in this lab.
pub(super) fn could_start(request: &RunTest, lab: &Inventory) -> Result<(), Wrong> {
    let (family, board) = target(&request.target, lab)?;
    let settings = lab.families.get(&family);
    let suites = || settings.into_iter().flat_map(|settings| settings.suites.keys()).map(String::as_str);
    let suite = request.suite.clone().or_else(|| Some(settings?.default_suite.clone())).unwrap_or_default();
    if !suites().any(|known| known == suite) {
        return Err((
            format!("family {} has no suite {}", shown(family.as_str()), shown(&suite)),
            like(&suite, suites()),
        ));
    }
    let params = selector::params(lab, &family, &suite, &request.params)
        .map_err(|problem| (problem.to_string(), None))?;
    let on = match &request.on {
        Some(name) => Some(board_named(name, lab)?),
        None => board,
    };
    let spec = RunSpec {
        kind: RunKind::Test,
        family,
        build: request.build.clone(),
        suite,
        selector: Selector {
            board: on,
            revision: request.revision.clone(),
            tags: request.tags.clone(),
            driven_here: false,
        },
        priority: request.priority.unwrap_or_default(),
        boards: request.boards.unwrap_or(1),
        on_own_board: false,
        timeout: request.timeout,
        params,
    };
    match could_serve(&spec, lab) {
        CouldServe::No(_) => Err(("no board of the lab is all that it asks for".into(), None)),
        _ => Ok(()),
    }
}

fn target(name: &str, lab: &Inventory) -> Result<(Family, Option<BoardId>), Wrong> {
    if let Some(family) = lab.families.keys().find(|family| family.as_str().eq_ignore_ascii_case(name)) {
        return Ok((family.clone(), None));
    }
    let board = lab.boards.values().find(|board| board.id.as_str().eq_ignore_ascii_case(name));
    board.map(|board| (board.family.clone(), Some(board.id.clone()))).ok_or_else(|| {
        let known = lab.families.keys().map(Family::as_str).chain(lab.boards.keys().map(BoardId::as_str));
        (format!("there is no family and no board {}", shown(name)), like(name, known))
    })
}

fn board_named(name: &str, lab: &Inventory) -> Result<BoardId, Wrong> {
    let board = lab.boards.keys().find(|id| id.as_str().eq_ignore_ascii_case(name));
    board.cloned().ok_or_else(|| {
        (format!("there is no board {}", shown(name)), like(name, lab.boards.keys().map(BoardId::as_str)))
    })
}

fn like<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    nearest(name, known).map(|near| format!("did you mean \"{near}\"?"))
}
