//! `driver: snmp`: a preset or objects of one's own, and who asks. Pure.

use secrecy::SecretString;

use super::super::reader::Fields;
use super::super::tree::{Node, Value};
use super::{Ground, WITHIN_DEFAULT, is_open};
use crate::board::power::snmp_presets::{SNMP_PRESETS, SnmpPreset};
use crate::board::power::{
    PowerDriver, SnmpAccess, SnmpCipher, SnmpHash, SnmpRead, SnmpSet, SnmpSwitch, SnmpUser, oid_parts,
};

pub(super) const KEYS: [&str; 13] = [
    "preset",
    "version",
    "community",
    "username",
    "auth",
    "auth_password",
    "privacy",
    "privacy_password",
    "oid",
    "on",
    "off",
    "read",
    "within",
];

/// Shortest password of SNMP version 3, in bytes (RFC 3414 11.2).
const PASSWORD_BYTES_MIN: usize = 8;

const HASHES: [(&str, SnmpHash); 6] = [
    ("md5", SnmpHash::Md5),
    ("sha", SnmpHash::Sha),
    ("sha224", SnmpHash::Sha224),
    ("sha256", SnmpHash::Sha256),
    ("sha384", SnmpHash::Sha384),
    ("sha512", SnmpHash::Sha512),
];
const CIPHERS: [(&str, SnmpCipher); 4] = [
    ("des", SnmpCipher::Des),
    ("aes", SnmpCipher::Aes),
    ("aes192", SnmpCipher::Aes192),
    ("aes256", SnmpCipher::Aes256),
];

pub(super) fn read(ground: &mut Ground<'_, '_, '_>) -> Option<PowerDriver> {
    let access = access(ground);
    let objects = if ground.get("preset").is_some() { preset(ground) } else { own(ground) };
    let host = ground.host();
    let within = ground.within(WITHIN_DEFAULT);
    let (on, off, read) = objects?;
    host?;
    Some(PowerDriver::Snmp(Box::new(SnmpSwitch { access: access?, on, off, read, within })))
}

fn access(ground: &mut Ground<'_, '_, '_>) -> Option<SnmpAccess> {
    let versions = [("1", 1), ("2c", 2), ("3", 3)];
    let node = ground.get("version");
    let version = match node {
        Some(node) => ground.reader.one_of(node, "SNMP version", &versions)?,
        None => 2,
    };
    if version == 3 {
        return user(ground).map(SnmpAccess::V3);
    }
    if let Some(node) = ["username", "auth", "privacy"].into_iter().find_map(|key| ground.get(key)) {
        ground.reader.problems.error_with(
            node.at,
            "users are of SNMP version 3",
            Some("add version: 3".into()),
        );
        return None;
    }
    if ground.get("community").is_none() {
        ground.needs("community", "community: ${PDU_COMMUNITY}");
        return None;
    }
    let community = ground.secret("community")?;
    Some(if version == 1 { SnmpAccess::V1(community) } else { SnmpAccess::V2c(community) })
}

fn user(ground: &mut Ground<'_, '_, '_>) -> Option<SnmpUser> {
    if let Some(node) = ground.get("community") {
        let message = "SNMP version 3 has users, not communities";
        ground.reader.problems.error_with(node.at, message, Some("name a username".into()));
    }
    if ground.get("username").is_none() {
        ground.needs("username", "username: boardhand");
    }
    let auth = secured(ground, "auth", "auth_password", &HASHES);
    let privacy = secured(ground, "privacy", "privacy_password", &CIPHERS);
    if let (Some(node), None) = (ground.get("privacy"), ground.get("auth")) {
        let message = "privacy needs auth: what is encrypted is signed as well";
        ground.reader.problems.error(node.at, message);
        return None;
    }
    Some(SnmpUser { username: ground.credential("username")?, auth: auth?, privacy: privacy? })
}

/// A method and its password: both or neither.
fn secured<T: Copy>(
    ground: &mut Ground<'_, '_, '_>,
    method: &str,
    password: &str,
    known: &[(&str, T)],
) -> Option<Option<(T, SecretString)>> {
    let (method_node, password_node) = (ground.get(method), ground.get(password));
    let Some(node) = method_node else {
        if let Some(node) = password_node {
            let example = format!("such as {method}: {}", known[1].0);
            ground.reader.problems.error_with(node.at, format!("{password} needs {method}"), Some(example));
            return None;
        }
        return Some(None);
    };
    let chosen = ground.reader.one_of(node, method, known)?;
    if password_node.is_none() {
        ground.needs(password, &format!("{password}: ${{SNMP_PASSWORD}}"));
        return None;
    }
    let text = ground.credential(password)?;
    if text.len() < PASSWORD_BYTES_MIN && !is_open(&text) {
        let at = password_node.map_or(ground.at, |node| node.at);
        let message = format!("{password} must have at least {PASSWORD_BYTES_MIN} characters");
        ground.reader.problems.error(at, message);
        return None;
    }
    Some(Some((chosen, SecretString::from(text))))
}

type Objects = (SnmpSet, SnmpSet, Option<SnmpRead>);

fn preset(ground: &mut Ground<'_, '_, '_>) -> Option<Objects> {
    let row: &SnmpPreset = ground.preset(&SNMP_PRESETS, |row| row.name)?;
    for key in ["oid", "on", "off"] {
        if ground.excludes(key, "preset") {
            return None;
        }
    }
    let outlet = ground.outlet()?;
    let numbers = |text: &str| text.split('.').all(|part| part.parse::<u32>().is_ok());
    if !is_open(&outlet) && !numbers(&outlet) {
        let message =
            format!("preset \"{}\" numbers its outlets: the outlet must be like 3, or 1.3", row.name);
        ground.reader.problems.error(ground.at, message);
        return None;
    }
    // A plain number is an outlet of the first unit.
    let index = if outlet.contains('.') { outlet } else { format!("{}{outlet}", row.unit) };
    let object = |template: &str| template.replace("{{ outlet }}", &index);
    let (oid, on, off) = row.read;
    let read = SnmpRead { oid: object(oid), on: on.to_vec(), off: off.to_vec() };
    let set = |(oid, value): (&str, i32)| SnmpSet { oid: object(oid), value };
    let read = match ground.get("read") {
        Some(node) => reading(ground, node, None)?,
        None => Some(read),
    };
    Some((set(row.on), set(row.off), read))
}

fn own(ground: &mut Ground<'_, '_, '_>) -> Option<Objects> {
    let shared = match ground.get("oid") {
        Some(node) => Some(object(ground, node, "oid")?),
        None => None,
    };
    let (on, off) = (write(ground, "on", shared.as_deref()), write(ground, "off", shared.as_deref()));
    let (on, off) = (on?, off?);
    let read = match ground.get("read") {
        Some(node) => reading(ground, node, Some(&on.oid))?,
        None if on.oid == off.oid => {
            Some(SnmpRead { oid: on.oid.clone(), on: vec![on.value.into()], off: vec![off.value.into()] })
        }
        None => None,
    };
    Some((on, off, read))
}

/// `on: 1`, or `on: {oid: …, value: 0}` where each has an object of its own.
fn write(ground: &mut Ground<'_, '_, '_>, key: &str, shared: Option<&str>) -> Option<SnmpSet> {
    let Some(node) = ground.get(key) else {
        if shared.is_none() {
            ground.needs("preset", "preset: apc-rpdu, or oid, on and off");
        } else {
            ground.needs(key, &format!("{key}: {}", if key == "on" { 1 } else { 2 }));
        }
        return None;
    };
    let (oid, value) = match &node.value {
        Value::Map(_) => {
            let what = format!("{key} of driver \"snmp\"");
            let fields = ground.reader.fields(node, &what, &["oid", "value"])?;
            let oid = ground.reader.required(&fields, &what, "oid")?;
            let value = ground.reader.required(&fields, &what, "value")?;
            (object(ground, oid, "oid")?, value)
        }
        _ => match shared {
            Some(oid) => (oid.to_owned(), node),
            None => {
                ground.needs("oid", "oid: .1.3.6.1.4.1.318.1.1.12.3.3.1.1.4.{{ outlet }}");
                return None;
            }
        },
    };
    let value = ground.reader.integer(value, key, i32::MIN.into()..=i32::MAX.into())?;
    Some(SnmpSet { oid, value: i32::try_from(value).ok()? })
}

/// `read: none`, or `read: {oid: …, on: 1, off: [2, 3]}`.
#[expect(clippy::option_option, reason = "nothing found, or nothing to be read")]
fn reading(ground: &mut Ground<'_, '_, '_>, node: &Node, shared: Option<&str>) -> Option<Option<SnmpRead>> {
    if matches!(&node.value, Value::Scalar { text, .. } if text == "none") {
        return Some(None);
    }
    const WHAT: &str = "read of driver \"snmp\"";
    let fields = ground.reader.fields(node, WHAT, &["oid", "on", "off"])?;
    let oid = match (fields.get("oid"), shared) {
        (Some(node), _) => object(ground, node, "oid")?,
        (None, Some(shared)) => shared.to_owned(),
        (None, None) => {
            ground.reader.required(&fields, WHAT, "oid")?;
            return None;
        }
    };
    let (on, off) = (values(ground, &fields, "on"), values(ground, &fields, "off"));
    Some(Some(SnmpRead { oid, on: on?, off: off? }))
}

fn values(ground: &mut Ground<'_, '_, '_>, fields: &Fields<'_>, key: &str) -> Option<Vec<i64>> {
    let node = ground.reader.required(fields, "read of driver \"snmp\"", key)?;
    let range = i64::from(i32::MIN)..=i64::from(u32::MAX);
    match &node.value {
        Value::List(items) => {
            items.iter().map(|item| ground.reader.integer(item, key, range.clone())).collect()
        }
        _ => ground.reader.integer(node, key, range).map(|value| vec![value]),
    }
}

fn object(ground: &mut Ground<'_, '_, '_>, node: &Node, what: &str) -> Option<String> {
    let text = ground.filled(node, what, &[])?;
    if !is_open(&text) && oid_parts(&text).is_none() {
        let rule = "an SNMP object in numbers, such as .1.3.6.1.4.1.318.1.1.12.3.3.1.1.4.{{ outlet }}";
        let message = format!("{what} must be {rule}, not {}", node.kind());
        ground.reader.problems.error(node.at, message);
        return None;
    }
    Some(text)
}
