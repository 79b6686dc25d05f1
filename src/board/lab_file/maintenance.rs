//! Maintenance: `maintenance:`, windows in which boards take nothing new. Each is held against the lab that the file
//! describes. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::reader::{Fields, Reader};
use super::schedules::{times, zone};
use super::tree::Node;
use crate::board::maintenance::Window;
use crate::board::near::nearest;
use crate::board::{Board, BoardId, Site, shown};

/// Most windows of a lab.
pub const WINDOWS_MAX: usize = 100;
/// Most boards, and most sites, of one.
const ENTRIES_MAX: usize = 1000;
/// Shortest window.
const LASTS_AT_LEAST: Duration = Duration::from_secs(60);

/// Reads `maintenance:`.
pub(super) fn windows(
    reader: &mut Reader<'_>,
    node: Option<&Node>,
    boards: &BTreeMap<BoardId, Board>,
) -> BTreeMap<String, Window> {
    let mut windows = BTreeMap::new();
    let Some(fields) = node.and_then(|node| reader.mapping(node, "maintenance")) else {
        return windows;
    };
    let count = fields.entries().count();
    if count > WINDOWS_MAX {
        let message = format!("maintenance has {count} entries; at most {WINDOWS_MAX} are allowed");
        reader.problems.error(fields.at, message);
    }
    for (key, node) in fields.entries().take(WINDOWS_MAX) {
        let named = reader.is_name(&key.text, key.at, "the name of a maintenance window");
        let known = ["boards", "sites", "cron", "zone", "lasts", "ahead", "reason"];
        let Some(fields) = reader.fields(node, "a maintenance window", &known) else { continue };
        if let Some(window) = window(reader, &fields, boards)
            && named
        {
            windows.insert(key.text.clone(), window);
        }
    }
    windows
}

fn window(reader: &mut Reader<'_>, fields: &Fields<'_>, all: &BTreeMap<BoardId, Board>) -> Option<Window> {
    let what = "a maintenance window";
    let zone = zone(reader, fields.get("zone"));
    let cron = reader.required(fields, what, "cron");
    let times = cron.and_then(|node| times(reader, node, zone?.1));
    let lasts = reader.required(fields, what, "lasts");
    let lasts = lasts.and_then(|node| reader.duration(node, "lasts", LASTS_AT_LEAST));
    let ahead = match fields.get("ahead") {
        Some(node) => reader.duration(node, "ahead", Duration::ZERO),
        None => Some(Duration::ZERO),
    };
    let reason = reader.required(fields, what, "reason").and_then(|node| reader.text(node, "reason"));
    let board_names = || all.keys().map(BoardId::as_str);
    let boards = names(reader, fields.get("boards"), "board", board_names);
    let site_names = || all.values().map(|board| board.site.as_str());
    let sites = names(reader, fields.get("sites"), "site", site_names);
    if fields.get("boards").is_none() && fields.get("sites").is_none() {
        reader.problems.error(fields.at, "a maintenance window needs boards, sites or both");
    }
    Some(Window {
        boards: boards.into_iter().map(BoardId::new).collect(),
        sites: sites.into_iter().map(Site::new).collect(),
        reason: reason?.to_owned(),
        lasts: lasts?,
        ahead: ahead?,
        times: times?.1,
    })
}

/// Names that the lab has; whatever it has not is told.
fn names<'a, N: Iterator<Item = &'a str>>(
    reader: &mut Reader<'_>,
    node: Option<&Node>,
    what: &str,
    known: impl Fn() -> N,
) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for item in node.and_then(|node| reader.list(node, what)).unwrap_or_default().iter().take(ENTRIES_MAX) {
        let Some(name) = reader.text(item, what) else { continue };
        if known().any(|known| known == name) {
            names.insert(name.to_owned());
            continue;
        }
        let near = nearest(name, known()).map(|near| format!("did you mean \"{near}\"?"));
        reader.problems.error_with(item.at, format!("there is no {what} {}", shown(name)), near);
    }
    names
}
