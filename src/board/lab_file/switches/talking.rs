//! `driver: telnet` and `mqtt`: devices that are talked to in text of one's own, or by a preset. Pure.

use secrecy::{ExposeSecret, SecretString};

use super::super::tree::{Node, Value};
use super::{Ground, WITHIN_DEFAULT};
use crate::board::power::mqtt_presets::{MQTT_PRESETS, MqttPreset};
use crate::board::power::telnet_presets::{PresetStep, TELNET_PRESETS, TelnetPreset};
use crate::board::power::{
    Credentials, MqttMessage, MqttStatus, MqttSwitch, PowerDriver, TelnetStep, TelnetSwitch,
};

pub(super) const TELNET_KEYS: [&str; 9] =
    ["preset", "username", "password", "login", "on", "off", "status", "logout", "within"];
pub(super) const MQTT_KEYS: [&str; 8] =
    ["preset", "topic", "username", "password", "on", "off", "status", "within"];

/// Most steps of one part of a conversation.
const STEPS_MAX: usize = 32;
/// Longest topic, in bytes.
const TOPIC_BYTES_MAX: usize = 256;

pub(super) fn telnet(ground: &mut Ground<'_, '_, '_>) -> Option<PowerDriver> {
    let within = ground.within(WITHIN_DEFAULT);
    ground.host()?;
    if ground.get("preset").is_some() {
        let row: &TelnetPreset = ground.preset(&TELNET_PRESETS, |row| row.name)?;
        for key in ["login", "on", "off", "status", "logout"] {
            if ground.excludes(key, "preset") {
                return None;
            }
        }
        let who = ground.needed_login()?;
        let status = match row.status {
            Some(steps) => Some(preset_steps(ground, steps, &who)?),
            None => None,
        };
        return Some(PowerDriver::Telnet(Box::new(TelnetSwitch {
            login: preset_steps(ground, row.login, &who)?,
            on: preset_steps(ground, row.on, &who)?,
            off: preset_steps(ground, row.off, &who)?,
            status,
            logout: preset_steps(ground, row.logout, &who)?,
            within,
        })));
    }
    let asked = ["username", "password"].into_iter().any(|key| ground.get(key).is_some());
    let who = if asked { Some(ground.login(None)?) } else { None };
    let login = steps(ground, "login", who.as_ref())?.unwrap_or_default();
    let (on, off) = (steps(ground, "on", who.as_ref())?, steps(ground, "off", who.as_ref())?);
    let status = steps(ground, "status", who.as_ref())?;
    let logout = steps(ground, "logout", who.as_ref())?.unwrap_or_default();
    for (key, found) in [("on", &on), ("off", &off)] {
        if found.is_none() {
            ground.needs(
                key,
                &format!("{key}: [{{expect: '> $', send: '{key} {{{{ outlet }}}}'}}], or a preset"),
            );
        }
    }
    Some(PowerDriver::Telnet(Box::new(TelnetSwitch { login, on: on?, off: off?, status, logout, within })))
}

fn preset_steps(
    ground: &mut Ground<'_, '_, '_>,
    steps: &[PresetStep],
    who: &Credentials,
) -> Option<Vec<TelnetStep>> {
    let mut done = Vec::new();
    for (expect, send) in steps {
        let expect = ground.preset_regex(expect)?;
        let send = match send {
            Some(text) => Some(typed(ground, ground.at, text, Some(who))?),
            None => None,
        };
        done.push(TelnetStep { expect, send });
    }
    Some(done)
}

fn typed(
    ground: &mut Ground<'_, '_, '_>,
    at: super::Mark,
    template: &str,
    who: Option<&Credentials>,
) -> Option<SecretString> {
    let known =
        who.map(|who| [("username", who.username.as_str()), ("password", who.password.expose_secret())]);
    let known: &[(&str, &str)] = known.as_ref().map_or(&[], |known| known.as_slice());
    ground.fill(at, template, known).map(SecretString::from)
}

/// A list of `{expect, send}`; `Some(None)` when the key is not there.
#[expect(clippy::option_option, reason = "something wrong, not there, or steps")]
fn steps(
    ground: &mut Ground<'_, '_, '_>,
    key: &str,
    who: Option<&Credentials>,
) -> Option<Option<Vec<TelnetStep>>> {
    let Some(node) = ground.get(key) else { return Some(None) };
    let items = ground.reader.list(node, key)?;
    if items.is_empty() || items.len() > STEPS_MAX {
        ground.reader.problems.error(node.at, format!("{key} must be 1 to {STEPS_MAX} steps"));
        return None;
    }
    let mut done = Vec::new();
    for item in items {
        done.push(step(ground, item, key, who)?);
    }
    Some(Some(done))
}

fn step(
    ground: &mut Ground<'_, '_, '_>,
    item: &Node,
    key: &str,
    who: Option<&Credentials>,
) -> Option<TelnetStep> {
    let what = format!("a step of {key}");
    let fields = ground.reader.fields(item, &what, &["expect", "send"])?;
    let expect = ground.reader.required(&fields, &what, "expect")?;
    let expect = ground.regex(expect, "expect", &[])?;
    let send = match fields.get("send") {
        Some(node) => {
            let env = ground.env();
            let text = ground.reader.expanded(node, "send", env)?;
            Some(typed(ground, node.at, &text, who)?)
        }
        None => None,
    };
    if send.as_ref().is_some_and(|send| send.expose_secret().contains(['\r', '\n'])) {
        ground.reader.problems.error(item.at, "send is one line; it is ended for you");
        return None;
    }
    Some(TelnetStep { expect, send })
}

pub(super) fn mqtt(ground: &mut Ground<'_, '_, '_>) -> Option<PowerDriver> {
    let within = ground.within(WITHIN_DEFAULT);
    ground.host()?;
    let asked = ["username", "password"].into_iter().any(|key| ground.get(key).is_some());
    let login = if asked { Some(ground.login(None)?) } else { None };
    let topic = ground.text("topic");
    let more: Vec<(&str, &str)> = topic.iter().map(|topic| ("topic", topic.as_str())).collect();
    let (on, off, status) = if ground.get("preset").is_some() {
        let row: &MqttPreset = ground.preset(&MQTT_PRESETS, |row| row.name)?;
        for key in ["on", "off", "status"] {
            if ground.excludes(key, "preset") {
                return None;
            }
        }
        if topic.is_none() {
            ground.needs("topic", "topic: tasmota_4FD2A1");
            return None;
        }
        let at = ground.at;
        let mut message = |(topic, payload): (&str, &str)| {
            let topic = ground.fill(at, topic, &more)?;
            is_topic(ground, at, &topic).then(|| MqttMessage { topic, payload: payload.to_owned() })
        };
        let (on, off, ask) = (message(row.on)?, message(row.off)?, message(row.ask)?);
        let status = MqttStatus {
            ask: Some(ask),
            topic: ground.fill(at, row.state, &more)?,
            pattern: ground.preset_regex(row.pattern)?,
            on: vec!["ON".into()],
            off: vec!["OFF".into()],
        };
        (on, off, Some(status))
    } else {
        let (on, off) = (message(ground, "on", &more), message(ground, "off", &more));
        let status = match ground.get("status") {
            Some(node) => Some(mqtt_status(ground, node, &more)?),
            None => None,
        };
        (on?, off?, status)
    };
    Some(PowerDriver::Mqtt(Box::new(MqttSwitch { login, on, off, status, within })))
}

fn message(ground: &mut Ground<'_, '_, '_>, key: &str, more: &[(&str, &str)]) -> Option<MqttMessage> {
    let Some(node) = ground.get(key) else {
        ground.needs(key, &format!("{key}: {{topic: lab/plug1/set, payload: {key}}}, or a preset"));
        return None;
    };
    published(ground, node, key, more)
}

fn published(
    ground: &mut Ground<'_, '_, '_>,
    node: &Node,
    what: &str,
    more: &[(&str, &str)],
) -> Option<MqttMessage> {
    let fields = ground.reader.fields(node, what, &["topic", "payload"])?;
    let topic = ground.reader.required(&fields, what, "topic")?;
    let at = topic.at;
    let topic = ground.filled(topic, "topic", more)?;
    let payload = match fields.get("payload") {
        Some(node) => ground.filled(node, "payload", more)?,
        None => String::new(),
    };
    is_topic(ground, at, &topic).then_some(MqttMessage { topic, payload })
}

fn mqtt_status(ground: &mut Ground<'_, '_, '_>, node: &Node, more: &[(&str, &str)]) -> Option<MqttStatus> {
    const WHAT: &str = "status of driver \"mqtt\"";
    let Value::Map(_) = node.value else {
        ground.reader.problems.error(node.at, "status must be a mapping with a topic");
        return None;
    };
    let fields = ground.reader.fields(node, WHAT, &["topic", "ask", "pattern", "on", "off"])?;
    let topic = ground.reader.required(&fields, WHAT, "topic")?;
    let at = topic.at;
    let topic = ground.filled(topic, "topic", more)?;
    let ask = match fields.get("ask") {
        Some(node) => Some(published(ground, node, "ask", more)?),
        None => None,
    };
    let pattern = match fields.get("pattern") {
        Some(node) => ground.regex(node, "pattern", more)?,
        None => ground.reader.regex("(?s)^(.*)$").ok()?,
    };
    let usual = |words: [&str; 3]| words.map(str::to_owned).to_vec();
    let on = match fields.get("on") {
        Some(node) => ground.words(node, "on")?,
        None => usual(["on", "true", "1"]),
    };
    let off = match fields.get("off") {
        Some(node) => ground.words(node, "off")?,
        None => usual(["off", "false", "0"]),
    };
    is_topic(ground, at, &topic).then_some(MqttStatus { ask, topic, pattern, on, off })
}

/// A topic without wildcards: they would listen to somebody else's switch.
fn is_topic(ground: &mut Ground<'_, '_, '_>, at: super::Mark, topic: &str) -> bool {
    let good = (1..=TOPIC_BYTES_MAX).contains(&topic.len()) && !topic.contains(['+', '#', '\0']);
    if !good {
        let message = format!("a topic is 1 to {TOPIC_BYTES_MAX} bytes without + and #");
        ground.reader.problems.error(at, message);
    }
    good
}
