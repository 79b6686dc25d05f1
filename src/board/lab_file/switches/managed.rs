//! `driver: pdudaemon`, `redfish` and `ipmi`: devices with a protocol of their own. Pure.

use std::time::Duration;

use super::{Ground, WITHIN_DEFAULT};
use crate::board::power::{IpmiSwitch, PdudaemonSwitch, PowerDriver, RedfishSwitch};

pub(super) const PDUDAEMON_KEYS: [&str; 2] = ["url", "within"];
pub(super) const REDFISH_KEYS: [&str; 5] = ["username", "password", "tls", "insecure", "within"];
pub(super) const IPMI_KEYS: [&str; 5] = ["username", "password", "interface", "cipher_suite", "within"];

/// How long ipmitool may take: a session is set up in several steps.
const IPMI_WITHIN_DEFAULT: Duration = Duration::from_secs(20);
/// The cipher suite that every IPMI 2.0 controller must have (IPMI 2.0, table 22-20).
const CIPHER_SUITE_DEFAULT: u8 = 3;

pub(super) fn pdudaemon(ground: &mut Ground<'_, '_, '_>) -> Option<PowerDriver> {
    let within = ground.within(WITHIN_DEFAULT);
    let Some(node) = ground.get("url") else {
        ground.needs("url", "url: 'http://pdudaemon.lab.local:16421'");
        return None;
    };
    let url = ground.text("url")?;
    let named = ground.host();
    let outlet = ground.outlet();
    if !ground.is_url(node.at, "url", &url) {
        return None;
    }
    named.and(outlet)?;
    Some(PowerDriver::Pdudaemon(Box::new(PdudaemonSwitch { url, within })))
}

pub(super) fn redfish(ground: &mut Ground<'_, '_, '_>) -> Option<PowerDriver> {
    let (within, insecure, tls) =
        (ground.within(WITHIN_DEFAULT), ground.insecure(), ground.flag("tls", true));
    ground.host()?;
    if ground.outlet.is_some() {
        ground.outlet()?;
    }
    let asked = ["username", "password"].into_iter().any(|key| ground.get(key).is_some());
    let login = if asked { Some(ground.login(None)?) } else { None };
    Some(PowerDriver::Redfish(Box::new(RedfishSwitch { login, tls, insecure, within })))
}

pub(super) fn ipmi(ground: &mut Ground<'_, '_, '_>) -> Option<PowerDriver> {
    let within = ground.within(IPMI_WITHIN_DEFAULT);
    let interfaces = [("lanplus", "lanplus"), ("lan", "lan")];
    let node = ground.get("interface");
    let interface = match node {
        Some(node) => ground.reader.one_of(node, "interface", &interfaces)?,
        None => "lanplus",
    };
    let node = ground.get("cipher_suite");
    let suite = match node {
        Some(node) => ground.reader.integer(node, "cipher_suite", 0..=17)?,
        None => CIPHER_SUITE_DEFAULT.into(),
    };
    let (host, login) = (ground.host(), ground.needed_login());
    host?;
    let login = login?;
    let cipher_suite = u8::try_from(suite).ok()?;
    Some(PowerDriver::Ipmi(Box::new(IpmiSwitch { login, interface, cipher_suite, within })))
}
