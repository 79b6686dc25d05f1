//! Power drivers that speak to a device: their keys, each checked where it stands, with host and outlet filled in. Pure.
//!
//! A family's settings are read once for their own sake, without a board: then host and outlet stand for somebody's,
//! and nothing is missed that a board may still bring. No message repeats what a variable holds.

mod http;
mod managed;
mod snmp;
mod talking;

use std::time::Duration;

use regex::Regex;
use secrecy::SecretString;

use super::devices::{Layers, Subject};
use super::notes::{Note, Notes};
use super::problem::Mark;
use super::reader::{Env, Fields, Reader};
use super::tree::{Node, Value};
use crate::board::power::{Credentials, PowerDriver};

/// How long a device may take for one answer, where the file says nothing.
const WITHIN_DEFAULT: Duration = Duration::from_secs(8);
/// Longest user name, password, community or token, in bytes.
const CREDENTIAL_BYTES_MAX: usize = 1024;
/// Longest text with placeholders, in bytes.
const TEMPLATE_BYTES_MAX: usize = 4096;

/// What a driver has beside the keys of all of them.
pub(super) fn keys(driver: &str) -> &'static [&'static str] {
    match driver {
        "snmp" => &snmp::KEYS,
        "http" => &http::KEYS,
        "pdudaemon" => &managed::PDUDAEMON_KEYS,
        "redfish" => &managed::REDFISH_KEYS,
        "ipmi" => &managed::IPMI_KEYS,
        "telnet" => &talking::TELNET_KEYS,
        "mqtt" => &talking::MQTT_KEYS,
        _ => &[],
    }
}

/// What the reading of one board's switch stands on.
pub(super) struct Ground<'g, 'a, 'n> {
    pub(super) reader: &'g mut Reader<'a>,
    pub(super) layers: Layers<'n>,
    /// Where `driver` stands, and with it everything that is missing.
    pub(super) at: Mark,
    pub(super) driver: &'static str,
    pub(super) subject: &'g Subject<'g>,
    pub(super) host: Option<&'g str>,
    pub(super) outlet: Option<&'g str>,
    pub(super) notes: &'g mut Notes,
}

/// Reads the driver's settings; `None` when something is wrong, which was told.
pub(super) fn read(ground: &mut Ground<'_, '_, '_>) -> Option<PowerDriver> {
    if ground.subject.board.is_none() {
        ground.host = ground.host.or(Some("host"));
        ground.outlet = ground.outlet.or(Some("1"));
    }
    match ground.driver {
        "snmp" => snmp::read(ground),
        "http" => http::read(ground),
        "pdudaemon" => managed::pdudaemon(ground),
        "redfish" => managed::redfish(ground),
        "ipmi" => managed::ipmi(ground),
        "telnet" => talking::telnet(ground),
        "mqtt" => talking::mqtt(ground),
        _ => None,
    }
}

/// Whether a variable still stands in a text: only the worker of its site knows it.
fn is_open(text: &str) -> bool {
    text.contains("${")
}

impl<'n> Ground<'_, '_, 'n> {
    fn get(&self, key: &str) -> Option<&'n Node> {
        self.layers.get(key)
    }

    fn env(&self) -> Env {
        self.subject.env
    }

    fn text(&mut self, key: &str) -> Option<String> {
        let (node, env) = (self.get(key)?, self.env());
        self.reader.expanded(node, key, env)
    }

    /// Tells a key that must be there; of a family without a board nothing is missed.
    fn needs(&mut self, key: &str, example: &str) {
        if self.subject.board.is_some() {
            let message = format!("power driver \"{}\" needs \"{key}\"", self.driver);
            self.reader.problems.error_with(self.at, message, Some(format!("such as {example}")));
        }
    }

    /// Tells two keys of which one is too many.
    fn excludes(&mut self, key: &str, other: &str) -> bool {
        let found = self.get(key).filter(|_| self.get(other).is_some());
        if let Some(node) = found {
            self.reader.problems.error(node.at, format!("\"{key}\" and \"{other}\" cannot stand together"));
        }
        found.is_some()
    }

    /// A user name, password, community or token: never repeated.
    fn credential(&mut self, key: &str) -> Option<String> {
        let text = self.text(key)?;
        if text.is_empty() || text.len() > CREDENTIAL_BYTES_MAX || text.contains(|c: char| c.is_control()) {
            let rule = format!("1 to {CREDENTIAL_BYTES_MAX} bytes without control characters");
            let at = self.get(key).map_or(self.at, |node| node.at);
            self.reader.problems.error(at, format!("{key} must be {rule}"));
            return None;
        }
        Some(text)
    }

    fn secret(&mut self, key: &str) -> Option<SecretString> {
        self.credential(key).map(SecretString::from)
    }

    /// `username` and `password`: both or neither.
    fn login(&mut self, username: Option<&str>) -> Option<Credentials> {
        let password = self.secret("password");
        let named = self.credential("username").or_else(|| username.map(str::to_owned));
        match (named, password) {
            (Some(username), Some(password)) => Some(Credentials { username, password }),
            (None, Some(_)) if self.get("username").is_none() => {
                self.needs("username", "username: admin");
                None
            }
            (Some(_), None) if self.get("password").is_none() && self.get("username").is_some() => {
                self.needs("password", "password: ${PDU_PASSWORD}");
                None
            }
            _ => None,
        }
    }

    /// The same, where the device serves nobody else.
    fn needed_login(&mut self) -> Option<Credentials> {
        if self.get("username").is_none() && self.get("password").is_none() {
            self.needs("username", "username: admin");
            self.needs("password", "password: ${PDU_PASSWORD}");
            return None;
        }
        self.login(None)
    }

    fn within(&mut self, default: Duration) -> Duration {
        let node = self.get("within");
        let least = Duration::from_millis(1);
        node.and_then(|node| self.reader.duration(node, "within", least)).unwrap_or(default)
    }

    fn flag(&mut self, key: &str, default: bool) -> bool {
        self.get(key).and_then(|node| self.reader.boolean(node, key)).unwrap_or(default)
    }

    /// `insecure`: taken at its word, with a warning.
    fn insecure(&mut self) -> bool {
        let insecure = self.flag("insecure", false);
        if let (true, Some(node)) = (insecure, self.get("insecure")) {
            self.notes.add(
                Note::Insecure { family: self.subject.family.to_owned() },
                node.at,
                self.subject.board,
            );
        }
        insecure
    }

    /// The device's address.
    fn host(&mut self) -> Option<String> {
        let Some(host) = self.host else {
            self.needs("host", "pdu_host: pdu-a.lab.local on the board");
            return None;
        };
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
        if !is_open(host) && (host.is_empty() || host.len() > 261 || !host.chars().all(good)) {
            let at = self.get("host").map_or(self.at, |node| node.at);
            self.reader.problems.error(at, "host must be an address or a host name, perhaps with a port");
            return None;
        }
        Some(host.to_owned())
    }

    /// The outlet, which stands in addresses, topics and lines that are typed.
    fn outlet(&mut self) -> Option<String> {
        let Some(outlet) = self.outlet else {
            self.needs("outlet", "pdu_outlet: 1 on the board");
            return None;
        };
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if !is_open(outlet) && (outlet.is_empty() || !outlet.chars().all(good)) {
            let message = format!("the outlet of driver \"{}\" must be of A-Z a-z 0-9 . _ : -", self.driver);
            let at = self.get("outlet").map_or(self.at, |node| node.at);
            self.reader.problems.error(at, message);
            return None;
        }
        Some(outlet.to_owned())
    }

    /// The row of a table that `preset` names.
    fn preset<T>(&mut self, table: &'static [T], name: fn(&T) -> &'static str) -> Option<&'static T> {
        let node = self.get("preset")?;
        let words: Vec<(&str, &'static T)> = table.iter().map(|row| (name(row), row)).collect();
        self.reader.one_of(node, &format!("{} preset", self.driver), &words)
    }

    /// Fills the placeholders of a text in: host, outlet, board, and what else the driver has.
    fn fill(&mut self, at: Mark, template: &str, more: &[(&str, &str)]) -> Option<String> {
        if template.len() > TEMPLATE_BYTES_MAX {
            self.reader.problems.error(at, format!("longer than {TEMPLATE_BYTES_MAX} bytes"));
            return None;
        }
        let (mut out, mut rest) = (String::new(), template);
        while let Some((before, placeholder)) = rest.split_once("{{") {
            out.push_str(before);
            let Some((name, after)) = placeholder.split_once("}}") else {
                self.reader.problems.error(at, "`{{` has no `}}`");
                return None;
            };
            out.push_str(&self.value(at, name.trim(), more)?);
            rest = after;
        }
        out.push_str(rest);
        Some(out)
    }

    fn value(&mut self, at: Mark, name: &str, more: &[(&str, &str)]) -> Option<String> {
        if let Some((_, value)) = more.iter().find(|(known, _)| *known == name) {
            return Some((*value).to_owned());
        }
        match name {
            "host" => self.host(),
            "outlet" => self.outlet(),
            "board" => Some(self.subject.board.unwrap_or("board").to_owned()),
            "index" => {
                let outlet = self.outlet()?;
                let index = outlet.parse::<u32>().ok().and_then(|outlet| outlet.checked_sub(1));
                if index.is_none() && !is_open(&outlet) {
                    let message = "the outlet must be a number from 1 on: `{{ index }}` is one less";
                    self.reader.problems.error(at, message);
                }
                index.map(|index| index.to_string())
            }
            _ => {
                let known: Vec<&str> = ["host", "outlet", "board", "index"]
                    .into_iter()
                    .chain(more.iter().map(|(known, _)| *known))
                    .collect();
                self.reader.unknown(at, "name", name, &known);
                None
            }
        }
    }

    /// A text of the file, with variables and placeholders filled in.
    fn filled(&mut self, node: &Node, what: &str, more: &[(&str, &str)]) -> Option<String> {
        let env = self.env();
        let text = self.reader.expanded(node, what, env)?;
        self.fill(node.at, &text, more)
    }

    /// A regular expression, with placeholders filled in.
    fn regex(&mut self, node: &Node, what: &str, more: &[(&str, &str)]) -> Option<Regex> {
        let text = self.reader.text(node, what)?.to_owned();
        let text = self.fill(node.at, &text, more)?;
        match self.reader.regex(&text) {
            Ok(regex) => Some(regex),
            Err(error) => {
                self.reader.bad_pattern(node, what, &error);
                None
            }
        }
    }

    /// A preset's regular expression.
    fn preset_regex(&mut self, pattern: &str) -> Option<Regex> {
        let text = self.fill(self.at, pattern, &[])?;
        self.reader.regex(&text).ok()
    }

    /// One word or a list of them.
    fn words(&mut self, node: &Node, what: &str) -> Option<Vec<String>> {
        match &node.value {
            Value::List(items) => {
                items.iter().map(|item| self.reader.text(item, what).map(str::to_owned)).collect()
            }
            _ => self.reader.text(node, what).map(|word| vec![word.to_owned()]),
        }
    }

    /// The words of a state: the file's, or the usual ones.
    fn state_words(&mut self, fields: &Fields<'n>) -> Option<(Vec<String>, Vec<String>)> {
        let usual = |words: [&str; 3]| Some(words.map(str::to_owned).to_vec());
        let on = match fields.get("on") {
            Some(node) => self.words(node, "on"),
            None => usual(["on", "true", "1"]),
        };
        let off = match fields.get("off") {
            Some(node) => self.words(node, "off"),
            None => usual(["off", "false", "0"]),
        };
        Some((on?, off?))
    }

    /// A base address: `http://…` or `https://…`.
    fn is_url(&mut self, at: Mark, what: &str, text: &str) -> bool {
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let good = rest.is_some_and(|rest| {
            !rest.is_empty() && !rest.starts_with('/') && text.chars().all(|c| c.is_ascii_graphic())
        });
        if !good && !is_open(text) {
            // Not repeated: a credential may stand in it.
            self.reader.problems.error(at, format!("{what} must begin with http:// or https:// and a host"));
        }
        good || is_open(text)
    }
}
