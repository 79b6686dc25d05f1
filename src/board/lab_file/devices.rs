//! Consoles and power switches: the family's settings with the board's on top, key by key. Pure.

use std::time::Duration;

use super::notes::{Note, Notes};
use super::problem::Mark;
use super::reader::{Env, Fields, Reader};
use super::sequences;
use super::switches::{self, Ground};
use super::tree::Node;
use crate::board::{ConsoleConfig, ConsoleKind, PowerConfig, PowerDriver, Rest, shown};

/// The port of a console that names none.
const TELNET_PORT_DEFAULT: u16 = 23;
/// The same where the console is a remote shell.
const SSH_PORT_DEFAULT: u16 = 22;
/// Login prompts of the usual systems, at the end of the output.
pub(super) const LOGIN_DEFAULT: &str = "login: ?$";
/// Shell prompts of the usual systems, at the end of the output.
pub(super) const PROMPT_DEFAULT: &str = "[#$] ?$";
/// U-Boot's prompt, at the end of the output.
pub(super) const BOOTLOADER_DEFAULT: &str = "=> ?$";
/// How long to listen before the first byte is sent.
pub(super) const SETTLE_DEFAULT: Duration = Duration::from_secs(2);
/// How long a cycle keeps the power off.
pub(super) const OFF_FOR_DEFAULT: Duration = Duration::from_secs(5);
/// How long a program of the `command` driver may run.
pub(super) const PROGRAM_WITHIN_DEFAULT: Duration = Duration::from_secs(10);
/// Most arguments of such a program.
const ARGUMENTS_MAX: usize = 64;

const CONSOLE_KEYS: [&str; 11] = [
    "type",
    "login",
    "prompt",
    "bootloader",
    "newline",
    "char_delay",
    "line_delay",
    "settle",
    "quiet_kernel",
    "baud",
    "device",
];
/// Line speeds that a port may be set to.
const BAUDS: std::ops::RangeInclusive<i64> = 50..=16_000_000;
const POWER_KEYS: [&str; 7] = ["driver", "host", "outlet", "off_for", "rest", "relays", "sequences"];
const COMMAND_KEYS: [&str; 4] = ["on", "off", "status", "within"];
/// Every driver of the format.
const DRIVERS: [&str; 10] =
    ["snmp", "http", "pdudaemon", "mqtt", "redfish", "ipmi", "command", "telnet", "simulated", "none"];

/// A board's settings over its family's.
#[derive(Clone, Copy)]
pub(super) struct Layers<'n> {
    pub(super) board: Option<Fields<'n>>,
    pub(super) family: Option<Fields<'n>>,
}

impl<'n> Layers<'n> {
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.board
            .and_then(|fields| fields.get(key))
            .or_else(|| self.family.and_then(|fields| fields.get(key)))
    }
}

/// Whose console is read: what only a board can say is asked of boards alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Board,
    Family,
}

impl Layers<'_> {
    /// Without the settings of a family whose driver is another one: its `preset` or `on` would mean something else.
    fn of_driver(self, driver: &str) -> Self {
        let another = |fields: &Fields<'_>| fields.get("driver").is_some_and(|node| !is_text(node, driver));
        Layers { family: self.family.filter(|fields| !another(fields)), ..self }
    }
}

/// Whose settings are read.
pub(super) struct Subject<'s> {
    /// The board; `None` when a family's settings are read for their own sake.
    pub(super) board: Option<&'s str>,
    pub(super) family: &'s str,
    pub(super) env: Env,
}

/// Reads the mapping under `console:`.
pub(super) fn console_fields<'n>(reader: &mut Reader<'_>, node: Option<&'n Node>) -> Option<Fields<'n>> {
    reader.fields(node?, "console", &CONSOLE_KEYS)
}

/// Reads the mapping under `power:`. Which keys are known depends on the driver, and with it on the layers.
pub(super) fn power_fields<'n>(reader: &mut Reader<'_>, node: Option<&'n Node>) -> Option<Fields<'n>> {
    reader.mapping(node?, "power")
}

/// Everything of a console but where it is and who logs in: the caller fills that in.
pub(super) fn console(reader: &mut Reader<'_>, layers: Layers<'_>, of: Of) -> ConsoleConfig {
    let kinds = [
        ("telnet", ConsoleKind::Telnet),
        ("tcp", ConsoleKind::Tcp),
        ("rfc2217", ConsoleKind::Rfc2217),
        ("ssh", ConsoleKind::Ssh),
        ("serial", ConsoleKind::Serial),
    ];
    let mut kind = ConsoleKind::Telnet;
    if let Some(node) = layers.get("type")
        && let Some(named) = reader.one_of(node, "console type", &kinds)
    {
        kind = named;
    }
    let newlines = [("\r", "\r"), ("\n", "\n"), ("\r\n", "\r\n")];
    let newline = layers.get("newline").and_then(|node| {
        let text = reader.text(node, "newline")?;
        let known = newlines.iter().find(|(word, _)| *word == text);
        if known.is_none() {
            let message = format!(
                "newline must be \"\\r\", \"\\n\" or \"\\r\\n\" in double quotes, not {}",
                shown(text)
            );
            reader.problems.error(node.at, message);
        }
        known.map(|(_, newline)| (*newline).to_owned())
    });
    let (baud, device) = (baud(reader, layers, kind), device(reader, layers, kind, of));
    ConsoleConfig {
        kind,
        baud,
        device,
        host: String::new(),
        port: if kind == ConsoleKind::Ssh { SSH_PORT_DEFAULT } else { TELNET_PORT_DEFAULT },
        username: None,
        password: None,
        login: pattern(reader, layers, "login", LOGIN_DEFAULT),
        prompt: pattern(reader, layers, "prompt", PROMPT_DEFAULT),
        bootloader: pattern(reader, layers, "bootloader", BOOTLOADER_DEFAULT),
        newline: newline.unwrap_or_else(|| "\r".to_owned()),
        char_delay: duration(reader, layers, "char_delay", Duration::ZERO),
        line_delay: duration(reader, layers, "line_delay", Duration::ZERO),
        quiet_kernel: layers
            .get("quiet_kernel")
            .and_then(|node| reader.boolean(node, "quiet_kernel"))
            .unwrap_or(true),
        settle: duration(reader, layers, "settle", SETTLE_DEFAULT),
    }
}

fn baud(reader: &mut Reader<'_>, layers: Layers<'_>, kind: ConsoleKind) -> Option<u32> {
    let node = layers.get("baud")?;
    let baud = reader.integer(node, "baud", BAUDS).and_then(|baud| u32::try_from(baud).ok());
    if !matches!(kind, ConsoleKind::Rfc2217 | ConsoleKind::Serial) {
        reader
            .problems
            .error(node.at, "baud needs a console of type rfc2217 or serial: nothing else can set it");
    }
    baud
}

/// The device of a serial console, which needs one; other consoles have none.
fn device(reader: &mut Reader<'_>, layers: Layers<'_>, kind: ConsoleKind, of: Of) -> Option<String> {
    let Some(node) = layers.get("device") else {
        if kind == ConsoleKind::Serial
            && of == Of::Board
            && let Some(named) = layers.get("type")
        {
            let message = "a console of type serial needs \"device\", such as /dev/serial/by-id/usb-…";
            reader.problems.error(named.at, message);
        }
        return None;
    };
    let device = reader.text(node, "device")?.to_owned();
    if !device.starts_with('/') || device.chars().any(char::is_control) {
        reader.problems.error(node.at, format!("device must be an absolute path, not {}", shown(&device)));
    }
    if kind != ConsoleKind::Serial {
        reader.problems.error(node.at, "device needs a console of type serial");
    }
    Some(device)
}

fn pattern(reader: &mut Reader<'_>, layers: Layers<'_>, key: &str, default: &str) -> String {
    let pattern = layers.get(key).and_then(|node| reader.pattern(node, key));
    pattern.map_or_else(|| default.to_owned(), |pattern| pattern.as_str().to_owned())
}

fn duration(reader: &mut Reader<'_>, layers: Layers<'_>, key: &str, default: Duration) -> Duration {
    layers.get(key).and_then(|node| reader.duration(node, key, Duration::ZERO)).unwrap_or(default)
}

/// `pdu_host` and `pdu_outlet` of a board.
pub(super) struct Pdu {
    pub(super) host: Option<String>,
    pub(super) outlet: Option<String>,
    /// Where `pdu_host` stands.
    pub(super) at: Option<Mark>,
}

/// Reads how a board's power is switched.
pub(super) fn power(
    reader: &mut Reader<'_>,
    layers: Layers<'_>,
    pdu: Pdu,
    subject: &Subject<'_>,
    notes: &mut Notes,
) -> PowerConfig {
    let driver = own_driver(reader, layers);
    for fields in [layers.board, layers.family].into_iter().flatten() {
        // A layer that names its own driver brings that driver's settings, whichever driver wins.
        let own = fields.get("driver").and_then(|node| DRIVERS.into_iter().find(|d| is_text(node, d)));
        known_power_keys(reader, &fields, own.or(driver.map(|driver| driver.name)), &POWER_KEYS, "power");
    }
    let mut text = |key: &str| layers.get(key).and_then(|node| reader.expanded(node, key, subject.env));
    let host = text("host").or(pdu.host);
    let outlet = text("outlet").or(pdu.outlet);
    let (host_text, outlet_text) = (host.as_deref(), outlet.as_deref());
    let driver = match driver {
        Some(driver) => {
            drive(reader, &Drive { driver, layers, host: host_text, outlet: outlet_text }, subject, notes)
        }
        None => PowerDriver::None,
    };
    if layers.get("driver").is_none()
        && let Some(at) = pdu.at
    {
        notes.add(Note::NoDriver { family: subject.family.to_owned() }, at, subject.board);
    }
    let rests = [("off", Rest::Off), ("leave", Rest::Leave)];
    let rest = layers.get("rest").and_then(|node| reader.one_of(node, "rest state", &rests));
    let (off_for, rest) = (duration(reader, layers, "off_for", OFF_FOR_DEFAULT), rest.unwrap_or(Rest::Leave));
    let mut power = PowerConfig { driver, host, outlet, off_for, rest, ..PowerConfig::none() };
    sequences::read(reader, layers, &mut power, subject, notes);
    power
}

/// A driver that was named, and where.
#[derive(Clone, Copy)]
pub(super) struct Driver {
    pub(super) name: &'static str,
    at: Mark,
}

/// The driver that the layers name.
pub(super) fn own_driver(reader: &mut Reader<'_>, layers: Layers<'_>) -> Option<Driver> {
    let node = layers.get("driver")?;
    driver_name(reader, node).map(|name| Driver { name, at: node.at })
}

/// One outlet, and the settings that drive it.
pub(super) struct Drive<'d, 'n> {
    pub(super) driver: Driver,
    pub(super) layers: Layers<'n>,
    pub(super) host: Option<&'d str>,
    pub(super) outlet: Option<&'d str>,
}

/// Reads the settings of an outlet's driver; what is wrong with them is told.
pub(super) fn drive(
    reader: &mut Reader<'_>,
    what: &Drive<'_, '_>,
    subject: &Subject<'_>,
    notes: &mut Notes,
) -> PowerDriver {
    let Driver { name, at } = what.driver;
    let layers = what.layers.of_driver(name);
    let driver = match name {
        "simulated" => Some(PowerDriver::Simulated),
        "command" => command(reader, layers, at, subject.env),
        "none" => None,
        driver => {
            let (host, outlet) = (what.host, what.outlet);
            switches::read(&mut Ground { reader, layers, at, driver, subject, host, outlet, notes })
        }
    };
    driver.unwrap_or(PowerDriver::None)
}

fn is_text(node: &Node, word: &str) -> bool {
    matches!(&node.value, super::tree::Value::Scalar { text, .. } if text == word)
}

fn driver_name(reader: &mut Reader<'_>, node: &Node) -> Option<&'static str> {
    let words: Vec<(&str, &'static str)> = DRIVERS.iter().map(|word| (*word, *word)).collect();
    reader.one_of(node, "power driver", &words)
}

/// Tells keys that neither `keys` nor the driver has.
pub(super) fn known_power_keys(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    driver: Option<&'static str>,
    keys: &[&'static str],
    what: &str,
) {
    let mut known = keys.to_vec();
    match driver {
        Some("command") => known.extend(COMMAND_KEYS),
        Some(driver) => known.extend(switches::keys(driver)),
        None => {}
    }
    let what = match driver {
        Some(driver) => format!("{what} of driver \"{driver}\""),
        None => format!("{what} without a driver"),
    };
    reader.only_known(fields, &what, &known);
}

fn command(reader: &mut Reader<'_>, layers: Layers<'_>, at: Mark, env: Env) -> Option<PowerDriver> {
    let mut argv = |key: &str, needed: bool| match layers.get(key) {
        Some(node) => argv(reader, node, key, env).map(Some),
        None if needed => {
            let message = format!("power driver \"command\" needs \"{key}\"");
            let example =
                format!("such as {key}: [pdu-tool, \"{{{{ host }}}}\", \"{{{{ outlet }}}}\", {key}]");
            reader.problems.error_with(at, message, Some(example));
            None
        }
        None => Some(None),
    };
    let (on, off, status) = (argv("on", true), argv("off", true), argv("status", false));
    let within =
        layers.get("within").and_then(|node| reader.duration(node, "within", Duration::from_millis(1)));
    let within = within.unwrap_or(PROGRAM_WITHIN_DEFAULT);
    Some(PowerDriver::Command { on: on??, off: off??, status: status?, within })
}

/// A program and its arguments, with placeholders written the one way that `power` fills in.
fn argv(reader: &mut Reader<'_>, node: &Node, what: &str, env: Env) -> Option<Vec<String>> {
    let items = reader.list(node, what)?;
    if items.is_empty() || items.len() > ARGUMENTS_MAX {
        let message = format!("{what} must be a program and at most {} arguments", ARGUMENTS_MAX - 1);
        reader.problems.error(node.at, message);
        return None;
    }
    let arguments: Vec<Option<String>> = items
        .iter()
        .map(|item| {
            let text = reader.expanded(item, "an argument", env)?;
            argument(reader, item, &text)
        })
        .collect();
    let arguments: Vec<String> = arguments.into_iter().collect::<Option<_>>()?;
    if arguments[0].is_empty() {
        reader.problems.error(items[0].at, format!("{what} must begin with a program"));
        return None;
    }
    Some(arguments)
}

fn argument(reader: &mut Reader<'_>, node: &Node, text: &str) -> Option<String> {
    const KNOWN: [&str; 3] = ["host", "outlet", "board"];
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, placeholder)) = rest.split_once("{{") {
        let Some((name, after)) = placeholder.split_once("}}") else {
            reader.problems.error(node.at, "`{{` has no `}}`");
            return None;
        };
        let name = name.trim();
        if !KNOWN.contains(&name) {
            reader.unknown(node.at, "name", name, &KNOWN);
            return None;
        }
        out.push_str(before);
        out.push_str("{{ ");
        out.push_str(name);
        out.push_str(" }}");
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}
