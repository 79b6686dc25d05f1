//! Channels: `channels:`, where runs are told, in which language, how much of them, and when not. Pure.

use std::collections::BTreeMap;

use chrono::NaiveTime;

use super::people::{ENTRIES_MAX, IdOf, check_id, id};
use super::problem::Mark;
use super::reader::{Fields, Reader};
use super::schedules::zone;
use super::tree::Node;
use crate::board::inventory::Channels;
use crate::board::shown;
use crate::board::volume::{Daily, QuietHours, Verbosity, time_of_day};
use crate::chat::Platform;

/// Most channels with a digest.
const DIGESTS_MAX: usize = 50;

/// Reads `channels:`.
pub(super) fn channels(reader: &mut Reader<'_>, node: Option<&Node>) -> Channels {
    let mut channels = Channels::default();
    let known = ["default", "mirrors", "locale", "verbosity", "quiet", "digest", "reactions"];
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
    channels.locale = each(reader, &fields, "locale", |reader, node| {
        reader.one_of(node, "language", &[("en", "en"), ("zh", "zh")]).map(str::to_owned)
    });
    channels.verbosity = each(reader, &fields, "verbosity", |reader, node| {
        reader.one_of(node, "verbosity", &Verbosity::WORDS)
    });
    channels.quiet = each(reader, &fields, "quiet", quiet_hours);
    channels.digest = digests(reader, &fields);
    channels.reactions = each(reader, &fields, "reactions", |reader, node| reader.boolean(node, "reactions"));
    channels
}

/// What is said for each channel, or for every channel of a platform.
fn each<T>(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    name: &str,
    read: impl Fn(&mut Reader<'_>, &Node) -> Option<T>,
) -> BTreeMap<String, T> {
    let mut said = BTreeMap::new();
    let Some(entries) = fields.get(name).and_then(|node| reader.mapping(node, name)) else { return said };
    for (key, node) in entries.entries().take(ENTRIES_MAX) {
        let platform = ["slack", "feishu"].contains(&key.text.as_str());
        if !platform && let Err(reason) = check_id(&key.text, IdOf::Channel) {
            let message =
                format!("a key of {name} must be slack, feishu, {reason}, not {}", shown(&key.text));
            reader.problems.error(key.at, message);
        }
        if let Some(value) = read(reader, node) {
            said.insert(key.text.clone(), value);
        }
    }
    said
}

/// Reads `digest: {slack:C0SOCCI: {at: "08:30", zone: Europe/Berlin}}`.
fn digests(reader: &mut Reader<'_>, fields: &Fields<'_>) -> BTreeMap<String, Daily> {
    let mut digests = BTreeMap::new();
    let Some(entries) = fields.get("digest").and_then(|node| reader.mapping(node, "digest")) else {
        return digests;
    };
    let count = entries.entries().count();
    if count > DIGESTS_MAX {
        let message = format!("digest has {count} entries; at most {DIGESTS_MAX} are allowed");
        reader.problems.error(entries.at, message);
    }
    for (key, node) in entries.entries().take(DIGESTS_MAX) {
        if let Err(reason) = check_id(&key.text, IdOf::Channel) {
            let message = format!("a digest stands in a channel, {reason}, not in {}", shown(&key.text));
            reader.problems.error(key.at, message);
        }
        let Some(fields) = reader.fields(node, "a digest", &["at", "zone"]) else { continue };
        let zone = zone(reader, fields.get("zone"));
        if let (Some(at), Some((_, zone))) = (time(reader, &fields, "a digest", "at"), zone) {
            digests.insert(key.text.clone(), Daily::new(at, zone));
        }
    }
    digests
}

fn time(reader: &mut Reader<'_>, fields: &Fields<'_>, what: &str, key: &str) -> Option<NaiveTime> {
    let node = reader.required(fields, what, key)?;
    let text = reader.text(node, key)?;
    let time = time_of_day(text);
    if time.is_none() {
        let message = format!("{key} must be a time of day such as \"22:00\", not {}", shown(text));
        reader.problems.error(node.at, message);
    }
    time
}

/// Reads `{from: "22:00", until: "07:00", zone: Europe/Berlin}`.
fn quiet_hours(reader: &mut Reader<'_>, node: &Node) -> Option<QuietHours> {
    let fields = reader.fields(node, "quiet hours", &["from", "until", "zone"])?;
    let zone = zone(reader, fields.get("zone"));
    let mut part = |key: &str| time(reader, &fields, "quiet hours", key);
    let (from, until) = (part("from"), part("until"));
    let ((from, until), (_, zone)) = (from.zip(until)?, zone?);
    let hours = QuietHours::new(from, until, zone);
    if hours.is_none() {
        reader
            .problems
            .error(fields.at, "quiet hours end when they begin; leave the channel out of mirrors instead");
    }
    hours
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
