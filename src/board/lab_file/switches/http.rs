//! `driver: http`: a preset, or requests of one's own. Pure.

use secrecy::SecretString;

use super::super::problem::Mark;
use super::super::reader::Fields;
use super::super::tree::{Node, Value};
use super::{Ground, WITHIN_DEFAULT};
use crate::board::power::http_presets::{HTTP_PRESETS, HttpPreset, PresetAuth, PresetCall};
use crate::board::power::{HttpCall, HttpLogin, HttpStatus, HttpSwitch, PowerDriver, StatePlace};

pub(super) const KEYS: [&str; 11] =
    ["preset", "on", "off", "status", "auth", "username", "password", "token", "tls", "insecure", "within"];
const CALL_KEYS: [&str; 5] = ["method", "url", "headers", "body", "expect"];
const STATUS_KEYS: [&str; 9] =
    ["method", "url", "headers", "body", "expect", "pointer", "pattern", "on", "off"];

/// Most headers of one request.
const HEADERS_MAX: usize = 16;

const AUTHS: [(&str, PresetAuth); 4] = [
    ("basic", PresetAuth::Basic),
    ("digest", PresetAuth::Digest),
    ("bearer", PresetAuth::Bearer),
    ("query", PresetAuth::Query),
];

pub(super) fn read(ground: &mut Ground<'_, '_, '_>) -> Option<PowerDriver> {
    let insecure = ground.insecure();
    let within = ground.within(WITHIN_DEFAULT);
    let (on, off, status, login) = match ground.get("preset") {
        Some(_) => {
            let row: &HttpPreset = ground.preset(&HTTP_PRESETS, |row| row.name)?;
            let login = login(ground, Some(row));
            for key in ["on", "off"] {
                if ground.excludes(key, "preset") {
                    return None;
                }
            }
            let status = match ground.get("status") {
                Some(node) => status(ground, node)?,
                None => Some(HttpStatus {
                    call: preset_call(ground, &row.status.call)?,
                    place: preset_place(ground, row.status.place)?,
                    on: vec![row.status.on.to_owned()],
                    off: vec![row.status.off.to_owned()],
                }),
            };
            (preset_call(ground, &row.on), preset_call(ground, &row.off), status, login)
        }
        None => {
            let login = login(ground, None);
            let status = match ground.get("status") {
                Some(node) => status(ground, node)?,
                None => None,
            };
            (own(ground, "on"), own(ground, "off"), status, login)
        }
    };
    let (on, off, login) = (on?, off?, login?);
    Some(PowerDriver::Http(Box::new(HttpSwitch { on, off, status, login, insecure, within })))
}

fn login(ground: &mut Ground<'_, '_, '_>, row: Option<&HttpPreset>) -> Option<HttpLogin> {
    let node = ground.get("auth");
    let chosen = match node {
        Some(node) => Some(ground.reader.one_of(node, "auth", &AUTHS)?),
        None => None,
    };
    let has = |ground: &Ground<'_, '_, '_>, key: &str| ground.get(key).is_some();
    let auth = chosen.or(row.map(|row| row.auth)).unwrap_or(match has(ground, "token") {
        true => PresetAuth::Bearer,
        false => PresetAuth::Basic,
    });
    if auth == PresetAuth::Bearer {
        ground.excludes("password", "token");
        if !has(ground, "token") {
            ground.needs("token", "token: ${PDU_TOKEN}");
            return None;
        }
        return ground.secret("token").map(HttpLogin::Bearer);
    }
    if let Some(node) = ground.get("token") {
        ground.reader.problems.error_with(
            node.at,
            "a token is for auth: bearer",
            Some("name a password".into()),
        );
        return None;
    }
    if !has(ground, "password") && !has(ground, "username") {
        if chosen.is_some() {
            ground.needs("password", "password: ${PDU_PASSWORD}");
            return None;
        }
        return Some(HttpLogin::Nobody);
    }
    let credentials = ground.login(row.and_then(|row| row.username))?;
    Some(match auth {
        PresetAuth::Digest => HttpLogin::Digest(credentials),
        PresetAuth::Query => HttpLogin::Query(credentials),
        PresetAuth::Basic | PresetAuth::Bearer => HttpLogin::Basic(credentials),
    })
}

fn preset_call(ground: &mut Ground<'_, '_, '_>, call: &PresetCall) -> Option<HttpCall> {
    let scheme = if ground.flag("tls", false) { "https" } else { "http" };
    let at = ground.at;
    let url = format!("{scheme}://{}{}", ground.host()?, ground.fill(at, call.path, &[])?);
    let body = match call.body {
        Some(body) => Some(SecretString::from(ground.fill(at, body, &[])?)),
        None => None,
    };
    let expect = match call.expect {
        Some(pattern) => Some(ground.preset_regex(pattern)?),
        None => None,
    };
    let header = |(name, value): &(&str, &str)| ((*name).to_owned(), SecretString::from(*value));
    let headers = call.headers.iter().map(header).collect();
    Some(HttpCall { method: call.method.to_owned(), url: url.into(), headers, body, expect })
}

fn preset_place(ground: &mut Ground<'_, '_, '_>, place: &str) -> Option<StatePlace> {
    if place.starts_with('/') {
        ground.fill(ground.at, place, &[]).map(StatePlace::Pointer)
    } else {
        ground.preset_regex(place).map(StatePlace::Pattern)
    }
}

fn own(ground: &mut Ground<'_, '_, '_>, key: &str) -> Option<HttpCall> {
    let Some(node) = ground.get(key) else {
        ground.needs(
            key,
            &format!("{key}: 'http://{{{{ host }}}}/outlet/{{{{ outlet }}}}/{key}', or a preset"),
        );
        return None;
    };
    if let Some(node) = ground.get("tls") {
        ground.reader.problems.error(node.at, "tls is for presets; write https:// in the address");
    }
    call(ground, node, key, &CALL_KEYS).map(|(call, _)| call)
}

/// A request: its address alone, or a mapping.
fn call<'n>(
    ground: &mut Ground<'_, '_, 'n>,
    node: &'n Node,
    what: &str,
    known: &[&str],
) -> Option<(HttpCall, Option<Fields<'n>>)> {
    if matches!(node.value, Value::Scalar { .. }) {
        let url = url(ground, node, what)?;
        let call = HttpCall { method: "GET".into(), url, headers: Vec::new(), body: None, expect: None };
        return Some((call, None));
    }
    let named = format!("{what} of driver \"http\"");
    let fields = ground.reader.fields(node, &named, known)?;
    let address = ground.reader.required(&fields, &named, "url")?;
    let body = match fields.get("body") {
        Some(node) => Some(SecretString::from(ground.filled(node, "body", &[])?)),
        None => None,
    };
    let methods = ["GET", "POST", "PUT", "PATCH"].map(|method| (method, method));
    let method = match fields.get("method") {
        Some(node) => ground.reader.one_of(node, "method", &methods)?,
        None if body.is_some() => "POST",
        None => "GET",
    };
    let headers = match fields.get("headers") {
        Some(node) => headers(ground, node)?,
        None => Vec::new(),
    };
    let expect = match fields.get("expect") {
        Some(node) => Some(ground.regex(node, "expect", &[])?),
        None => None,
    };
    let url = url(ground, address, "url")?;
    Some((HttpCall { method: method.to_owned(), url, headers, body, expect }, Some(fields)))
}

fn url(ground: &mut Ground<'_, '_, '_>, node: &Node, what: &str) -> Option<SecretString> {
    let text = ground.filled(node, what, &[])?;
    ground.is_url(node.at, what, &text).then(|| SecretString::from(text))
}

fn headers(ground: &mut Ground<'_, '_, '_>, node: &Node) -> Option<Vec<(String, SecretString)>> {
    let fields = ground.reader.mapping(node, "headers")?;
    let mut headers = Vec::new();
    let refuse = |ground: &mut Ground<'_, '_, '_>, at: Mark, message: String| {
        ground.reader.problems.error(at, message);
        None
    };
    for (key, node) in fields.entries() {
        let token = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if key.text.is_empty() || key.text.len() > 64 || !key.text.bytes().all(token) {
            return refuse(ground, key.at, "a header's name is of A-Z a-z 0-9 - _".into());
        }
        if headers.len() == HEADERS_MAX {
            return refuse(ground, key.at, format!("a request has at most {HEADERS_MAX} headers"));
        }
        let value = ground.filled(node, "a header", &[])?;
        if value.contains(|c: char| c.is_control()) {
            return refuse(ground, node.at, "a header's value is one line".into());
        }
        headers.push((key.text.clone(), SecretString::from(value)));
    }
    Some(headers)
}

/// `status: none`, or a request and where its answer tells the state.
#[expect(clippy::option_option, reason = "nothing found, or nothing to be read")]
fn status<'n>(ground: &mut Ground<'_, '_, 'n>, node: &'n Node) -> Option<Option<HttpStatus>> {
    if matches!(&node.value, Value::Scalar { text, .. } if text == "none") {
        return Some(None);
    }
    let (call, fields) = match node.value {
        Value::Map(_) => call(ground, node, "status", &STATUS_KEYS)?,
        _ => {
            let message = "status must be a mapping with url and pointer or pattern, or none";
            ground.reader.problems.error(node.at, message);
            return None;
        }
    };
    let fields = fields?;
    let place = match (fields.get("pointer"), fields.get("pattern")) {
        (Some(node), None) => {
            let pointer = ground.filled(node, "pointer", &[])?;
            if !pointer.starts_with('/') {
                let message =
                    format!("pointer must begin with a slash such as /relays/0/ison, not {}", node.kind());
                ground.reader.problems.error(node.at, message);
                return None;
            }
            StatePlace::Pointer(pointer)
        }
        (None, Some(node)) => StatePlace::Pattern(ground.regex(node, "pattern", &[])?),
        _ => {
            let message = "status needs \"pointer\" or \"pattern\": where in the answer the state stands";
            ground.reader.problems.error(node.at, message);
            return None;
        }
    };
    let (on, off) = ground.state_words(&fields)?;
    Some(Some(HttpStatus { call, place, on, off }))
}
