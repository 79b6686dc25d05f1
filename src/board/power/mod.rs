//! How a board's power is switched: the drivers of boards.yaml with everything that a switch of that kind needs. Pure;
//! `lab_file` makes these out of the file, `crate::power` acts on them.
//!
//! A device kind (`preset:`) is a row of data in one of the preset tables, never code. Every text here is
//! complete: host and outlet were filled in where the file was read.

pub mod http_presets;
pub mod mqtt_presets;
pub mod sequence;
pub mod snmp_presets;
pub mod telnet_presets;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;
use secrecy::SecretString;

pub use self::sequence::{Outlet, Relay, SequenceStep};
use super::plan::PowerAction;

/// Most parts of an object identifier (RFC 2578 3.5).
pub const OID_PARTS_MAX: usize = 128;

/// How a board's power is switched.
#[derive(Debug, Clone)]
pub struct PowerConfig {
    /// The driver and its settings.
    pub driver: PowerDriver,
    /// `pdu_host`.
    pub host: Option<String>,
    /// `pdu_outlet`.
    pub outlet: Option<String>,
    /// How long a cycle keeps the power off.
    pub off_for: Duration,
    /// How the board is left after a run.
    pub rest: Rest,
    /// Other outlets of the board, such as a strap, by name.
    pub relays: BTreeMap<String, Relay>,
    /// Ordered switching of several outlets, by name.
    pub sequences: BTreeMap<String, Arc<[SequenceStep]>>,
}

/// How a board is left after a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Switched off.
    Off,
    /// As the run left it.
    Leave,
}

/// A power driver of boards.yaml.
#[derive(Debug, Clone)]
pub enum PowerDriver {
    /// No switch: the board has no power buttons.
    None,
    /// A simulated PDU: one line of text a request (`sim::pdu`), at `host` = address:port.
    Simulated,
    /// External programs, run without a shell. Each argument is a template over `host`, `outlet` and `board`.
    Command {
        /// Switches on.
        on: Vec<String>,
        /// Switches off.
        off: Vec<String>,
        /// Prints `on` or `off`; absent when the switch cannot be read.
        status: Option<Vec<String>>,
        /// How long one program may run.
        within: Duration,
    },
    /// A PDU that speaks SNMP, at `host`.
    Snmp(Box<SnmpSwitch>),
    /// Anything with an HTTP interface.
    Http(Box<HttpSwitch>),
    /// pdudaemon, which knows the PDU `host` by its name.
    Pdudaemon(Box<PdudaemonSwitch>),
    /// A management controller that speaks Redfish, at `host`; `outlet` is the system's id.
    Redfish(Box<RedfishSwitch>),
    /// A management controller that speaks IPMI, at `host`, through the program `ipmitool`.
    Ipmi(Box<IpmiSwitch>),
    /// A PDU with a command line or a menu behind telnet, at `host`.
    Telnet(Box<TelnetSwitch>),
    /// A switch behind the MQTT broker `host`.
    Mqtt(Box<MqttSwitch>),
    /// A switch that another process drives for this one: on a worker, its server.
    Elsewhere,
}

impl PowerConfig {
    /// A board without a switch.
    pub fn none() -> Self {
        PowerConfig {
            driver: PowerDriver::None,
            host: None,
            outlet: None,
            off_for: Duration::ZERO,
            rest: Rest::Leave,
            relays: BTreeMap::new(),
            sequences: BTreeMap::new(),
        }
    }

    /// Whether boardhand can switch this board.
    pub fn has_switch(&self) -> bool {
        !matches!(self.driver, PowerDriver::None)
    }

    /// Whether doing this takes the board's power away on its way.
    pub fn is_cut_by(&self, action: &PowerAction) -> bool {
        match action {
            PowerAction::Cycle | PowerAction::Off => true,
            PowerAction::Sequence(name) => self
                .sequences
                .get(name)
                .is_some_and(|steps| steps.contains(&SequenceStep::Board(Outlet::Off))),
            PowerAction::On | PowerAction::Status => false,
        }
    }

    /// The drivers of all its outlets.
    pub fn drivers(&self) -> impl Iterator<Item = &PowerDriver> {
        std::iter::once(&self.driver).chain(self.relays.values().map(|relay| &relay.driver))
    }
}

impl PowerDriver {
    /// What the switch must not tell anybody: passwords, communities, tokens. Addresses and bodies that a template was
    /// filled into are none by themselves; what was filled in is.
    pub fn secrets(&self) -> Vec<SecretString> {
        let password = |login: &Credentials| login.password.clone();
        match self {
            PowerDriver::None
            | PowerDriver::Simulated
            | PowerDriver::Elsewhere
            | PowerDriver::Command { .. }
            | PowerDriver::Pdudaemon(_) => vec![],
            PowerDriver::Snmp(switch) => match &switch.access {
                SnmpAccess::V1(community) | SnmpAccess::V2c(community) => vec![community.clone()],
                SnmpAccess::V3(user) => {
                    let auth = user.auth.iter().map(|(_, password)| password.clone());
                    auth.chain(user.privacy.iter().map(|(_, password)| password.clone())).collect()
                }
            },
            PowerDriver::Http(switch) => match &switch.login {
                HttpLogin::Nobody => vec![],
                HttpLogin::Basic(login) | HttpLogin::Digest(login) | HttpLogin::Query(login) => {
                    vec![password(login)]
                }
                HttpLogin::Bearer(token) => vec![token.clone()],
            },
            PowerDriver::Redfish(switch) => switch.login.iter().map(password).collect(),
            PowerDriver::Ipmi(switch) => vec![password(&switch.login)],
            PowerDriver::Telnet(switch) => switch.login.iter().filter_map(|step| step.send.clone()).collect(),
            PowerDriver::Mqtt(switch) => switch.login.iter().map(password).collect(),
        }
    }
}

/// Outlets of a PDU as SNMP objects.
#[derive(Debug, Clone)]
pub struct SnmpSwitch {
    /// Version and who asks.
    pub access: SnmpAccess,
    /// Switches on.
    pub on: SnmpSet,
    /// Switches off.
    pub off: SnmpSet,
    /// Tells the state; absent when the outlet cannot be read.
    pub read: Option<SnmpRead>,
    /// How long one answer may take.
    pub within: Duration,
}

/// The protocol's version, and who asks.
#[derive(Debug, Clone)]
pub enum SnmpAccess {
    /// Version 1, with the community that may write.
    V1(SecretString),
    /// Version 2c, with the community that may write.
    V2c(SecretString),
    /// Version 3.
    V3(SnmpUser),
}

/// A user of SNMP version 3 (RFC 3414).
#[derive(Debug, Clone)]
pub struct SnmpUser {
    /// The user's name.
    pub username: String,
    /// How messages are signed, and the password for it.
    pub auth: Option<(SnmpHash, SecretString)>,
    /// How they are encrypted, and the password for it. Never without `auth`.
    pub privacy: Option<(SnmpCipher, SecretString)>,
}

/// How SNMP version 3 signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnmpHash {
    /// HMAC-MD5-96.
    Md5,
    /// HMAC-SHA-96.
    Sha,
    /// HMAC-SHA-224 (RFC 7860).
    Sha224,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-384.
    Sha384,
    /// HMAC-SHA-512.
    Sha512,
}

/// How SNMP version 3 encrypts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnmpCipher {
    /// CBC-DES.
    Des,
    /// CFB128-AES-128 (RFC 3826).
    Aes,
    /// AES-192, with keys extended as Reeder describes where the hash is too short.
    Aes192,
    /// AES-256, likewise.
    Aes256,
}

/// What a SET writes: an INTEGER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnmpSet {
    /// The object, such as `.1.3.6.1.4.1.318.1.1.12.3.3.1.1.4.3`.
    pub oid: String,
    /// The value.
    pub value: i32,
}

/// What a GET reads, and what the values mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnmpRead {
    /// The object.
    pub oid: String,
    /// Values while power flows, also while switching off is pending.
    pub on: Vec<i64>,
    /// Values while it does not.
    pub off: Vec<i64>,
}

/// A switch with an HTTP interface.
#[derive(Debug, Clone)]
pub struct HttpSwitch {
    /// Switches on.
    pub on: HttpCall,
    /// Switches off.
    pub off: HttpCall,
    /// Tells the state; absent when it cannot be read.
    pub status: Option<HttpStatus>,
    /// Who asks.
    pub login: HttpLogin,
    /// Whether the certificate is taken as it comes.
    pub insecure: bool,
    /// How long one answer may take.
    pub within: Duration,
}

/// One HTTP request. Address, headers and body may hold a credential.
#[derive(Debug, Clone)]
pub struct HttpCall {
    /// `GET`, `POST`, `PUT`, `PATCH`.
    pub method: String,
    /// The whole address.
    pub url: SecretString,
    /// Headers beside the usual ones.
    pub headers: Vec<(String, SecretString)>,
    /// The body.
    pub body: Option<SecretString>,
    /// What a good answer's body matches, beside a status of 200 to 299.
    pub expect: Option<Regex>,
}

/// A request that tells the state.
#[derive(Debug, Clone)]
pub struct HttpStatus {
    /// The request.
    pub call: HttpCall,
    /// Where in the answer the state stands.
    pub place: StatePlace,
    /// What stands there while power flows. Case does not count.
    pub on: Vec<String>,
    /// What stands there while it does not.
    pub off: Vec<String>,
}

/// Where in an answer the state stands.
#[derive(Debug, Clone)]
pub enum StatePlace {
    /// A JSON pointer (RFC 6901) such as `/relays/0/ison`; `true` and `1` are the words "true" and "1".
    Pointer(String),
    /// The first group of a regular expression over the body, or all it matches where it has none.
    Pattern(Regex),
}

/// How an HTTP device knows who asks.
#[derive(Debug, Clone)]
pub enum HttpLogin {
    /// Not at all.
    Nobody,
    /// Basic (RFC 7617).
    Basic(Credentials),
    /// Digest with MD5, SHA-256 or SHA-512-256 (RFC 7616), once the device asks for it.
    Digest(Credentials),
    /// Bearer token.
    Bearer(SecretString),
    /// `user=` and `password=` in the address, as Tasmota has it.
    Query(Credentials),
}

/// Who asks.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The user's name.
    pub username: String,
    /// The password.
    pub password: SecretString,
}

/// A PDU behind pdudaemon.
#[derive(Debug, Clone)]
pub struct PdudaemonSwitch {
    /// Where pdudaemon listens: `http://pdudaemon.lab:16421`.
    pub url: String,
    /// How long one answer may take.
    pub within: Duration,
}

/// A system behind Redfish.
#[derive(Debug, Clone)]
pub struct RedfishSwitch {
    /// Who asks.
    pub login: Option<Credentials>,
    /// Whether it is HTTPS, as it should be.
    pub tls: bool,
    /// Whether the certificate is taken as it comes.
    pub insecure: bool,
    /// How long one answer may take.
    pub within: Duration,
}

/// A chassis behind IPMI.
#[derive(Debug, Clone)]
pub struct IpmiSwitch {
    /// Who asks.
    pub login: Credentials,
    /// `lanplus` (IPMI 2.0) or `lan` (1.5).
    pub interface: &'static str,
    /// The cipher suite of `lanplus`: naming one saves the seconds of asking for the list.
    pub cipher_suite: u8,
    /// How long the program may run.
    pub within: Duration,
}

/// A conversation with a PDU's command line.
#[derive(Debug, Clone)]
pub struct TelnetSwitch {
    /// What happens first, such as logging in.
    pub login: Vec<TelnetStep>,
    /// Switches on.
    pub on: Vec<TelnetStep>,
    /// Switches off.
    pub off: Vec<TelnetStep>,
    /// Tells the state: the first group of the last step's pattern is `on`, `off`, `1` or `0`. Absent when nothing does.
    pub status: Option<Vec<TelnetStep>>,
    /// What happens last, so that the device's only session is free again. It is tried, not judged.
    pub logout: Vec<TelnetStep>,
    /// How long the device may take for each step.
    pub within: Duration,
}

/// Waits for text, then sends.
#[derive(Debug, Clone)]
pub struct TelnetStep {
    /// What must appear in what the device says, after the step before.
    pub expect: Regex,
    /// What then is sent; nothing when only the text matters.
    pub send: Option<SecretString>,
}

/// A switch behind a broker.
#[derive(Debug, Clone)]
pub struct MqttSwitch {
    /// Who asks.
    pub login: Option<Credentials>,
    /// Switches on.
    pub on: MqttMessage,
    /// Switches off.
    pub off: MqttMessage,
    /// Tells the state; absent when the switch does not.
    pub status: Option<MqttStatus>,
    /// How long an answer may take.
    pub within: Duration,
}

/// What is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttMessage {
    /// The topic.
    pub topic: String,
    /// The payload.
    pub payload: String,
}

/// How a switch behind a broker tells its state.
#[derive(Debug, Clone)]
pub struct MqttStatus {
    /// What makes it tell; absent where the state's message is retained.
    pub ask: Option<MqttMessage>,
    /// The topic of the state.
    pub topic: String,
    /// The state in the payload: the first group, or all that is matched.
    pub pattern: Regex,
    /// What stands there while power flows. Case does not count.
    pub on: Vec<String>,
    /// What stands there while it does not.
    pub off: Vec<String>,
}

/// The parts of an SNMP object that is written with dots; `None` when it is none.
pub fn oid_parts(text: &str) -> Option<Vec<u64>> {
    let parts: Vec<u64> = text
        .strip_prefix('.')
        .unwrap_or(text)
        .split('.')
        .map(|part| part.parse::<u32>().ok().map(u64::from))
        .collect::<Option<_>>()?;
    let begins =
        parts.first().is_some_and(|first| *first <= 2) && parts.get(1).is_some_and(|second| *second < 40);
    (begins && parts.len() <= OID_PARTS_MAX).then_some(parts)
}
