//! What no two boards may have in common: a console, an outlet, a name that people cannot tell apart. No lease could
//! keep two such boards apart. Pure.

use std::collections::{BTreeMap, HashMap};

use secrecy::ExposeSecret;

use super::families::FamilyEntry;
use super::problem::{Mark, Problems};
use super::reader::Fields;
use crate::board::inventory::SiteSettings;
use crate::board::power::{HttpCall, PowerDriver, TelnetStep};
use crate::board::{Board, BoardId, Site, shown};

/// What the boards so far have.
#[derive(Default)]
pub(super) struct Twins {
    ids: Spellings,
    families: Spellings,
    sites: Spellings,
    consoles: HashMap<[String; 3], BoardId>,
    /// Who has an outlet: a board, or a relay of one.
    outlets: HashMap<(String, String), (String, u32)>,
    named: Vec<(BoardId, Mark)>,
}

impl Twins {
    /// Takes note of the families that the file has settings for.
    pub(super) fn families(&mut self, families: &BTreeMap<String, FamilyEntry<'_>>, problems: &mut Problems) {
        let mut entries: Vec<_> = families.iter().map(|(name, entry)| (entry.at, name)).collect();
        entries.sort();
        for (at, name) in entries {
            self.families.meet("families", name, at, problems);
        }
    }

    /// Takes note of a board, and tells what another one has already.
    pub(super) fn meet(
        &mut self,
        board: &Board,
        fields: &Fields<'_>,
        sites: &BTreeMap<Site, SiteSettings>,
        problems: &mut Problems,
    ) {
        let at = |key: &str| fields.get(key).map_or(fields.at, |node| node.at);
        self.ids.meet("boards", board.id.as_str(), at("board_id"), problems);
        self.families.meet("families", board.family.as_str(), at("soc_family"), problems);
        self.sites.meet("sites", board.site.as_str(), at("lab_location"), problems);
        self.named.push((board.id.clone(), at("board_id")));
        let site = sites.get(&board.site).copied().unwrap_or_default();
        // Behind a remote worker stands another network: the same address there is another device.
        let behind = |worker: bool| if worker { board.site.to_string() } else { String::new() };
        self.console(board, behind(site.remote), at("board_ip"), problems);
        let outlet = fields.get("pdu_outlet").or(fields.get("pdu_host")).or(fields.get("power"));
        let outlet = outlet.map_or(fields.at, |node| node.at);
        let network = behind(site.remote && site.pdu_at_worker);
        let own = Place { board, host: &board.power.host, outlet: &board.power.outlet };
        self.outlet(board.id.to_string(), &board.power.driver, own, network.clone(), outlet, problems);
        for (name, relay) in &board.power.relays {
            let place = Place { board, host: &relay.host, outlet: &relay.outlet };
            let name = format!("relay {name} of {}", board.id);
            self.outlet(name, &relay.driver, place, network.clone(), at("power"), problems);
        }
    }

    fn console(&mut self, board: &Board, network: String, at: Mark, problems: &mut Problems) {
        let (host, port) = (board.console.host.to_ascii_lowercase(), board.console.port.to_string());
        let endpoint = [network, host, board.console.device.clone().unwrap_or(port)];
        if let Some(other) = self.consoles.get(&endpoint).filter(|other| **other != board.id) {
            let end = if board.console.device.is_some() { "device" } else { "telnet_port" };
            let message = format!("{} has the console of {other}: same board_ip and {end}", board.id);
            problems.error(at, message);
        }
        self.consoles.entry(endpoint).or_insert_with(|| board.id.clone());
    }

    fn outlet(
        &mut self,
        name: String,
        driver: &PowerDriver,
        place: Place<'_>,
        network: String,
        at: Mark,
        problems: &mut Problems,
    ) {
        let Some(outlet) = outlet(driver, place) else {
            return;
        };
        let (first, line) = self.outlets.entry((network, outlet)).or_insert_with(|| (name.clone(), at.line));
        if *first != name {
            let message = format!(
                "{name} has the outlet of {first} (line {line}): switching one would take the power of the other"
            );
            let way = "where one outlet feeds both, neither can be switched alone: give both `power: {driver: none}`";
            problems.error_with(at, message, Some(way.to_owned()));
        }
    }

    /// Tells boards that are called like a family: `/run-test` could not say which of the two is meant.
    pub(super) fn finish(self, problems: &mut Problems) {
        for (board, at) in &self.named {
            if let Some((family, line)) = self.families.0.get(&board.as_str().to_ascii_lowercase()) {
                let message = format!(
                    "the board {} is called like the family {} of line {line}: nobody could say which is meant",
                    shown(board.as_str()),
                    shown(family)
                );
                problems.error(*at, message);
            }
        }
    }
}

/// Names as they were first written, by their lower case: people type them in any.
#[derive(Default)]
pub(super) struct Spellings(HashMap<String, (String, u32)>);

impl Spellings {
    pub(super) fn meet(&mut self, what: &str, name: &str, at: Mark, problems: &mut Problems) {
        let (first, line) =
            self.0.entry(name.to_ascii_lowercase()).or_insert_with(|| (name.to_owned(), at.line));
        if first != name {
            let message = format!(
                "the {what} {} and {} (line {line}) differ only by case: nobody could say which is meant",
                shown(name),
                shown(first)
            );
            problems.error(at, message);
        }
    }
}

/// Where an outlet is.
#[derive(Clone, Copy)]
struct Place<'b> {
    board: &'b Board,
    host: &'b Option<String>,
    outlet: &'b Option<String>,
}

/// What a switch is told when it goes on: two with the same have one outlet. `None` without a switch.
fn outlet(driver: &PowerDriver, place: Place<'_>) -> Option<String> {
    let host = place.host.as_deref().unwrap_or_default().to_ascii_lowercase();
    let outlet = place.outlet.as_deref().unwrap_or_default();
    Some(match driver {
        PowerDriver::None | PowerDriver::Elsewhere => return None,
        PowerDriver::Simulated | PowerDriver::Redfish(_) => format!("{host} {outlet}"),
        PowerDriver::Ipmi(_) => host,
        PowerDriver::Pdudaemon(switch) => format!("{} {host} {outlet}", switch.url),
        PowerDriver::Snmp(switch) => format!("{host} {}", switch.on.oid.trim_start_matches('.')),
        PowerDriver::Mqtt(switch) => format!("{host} {} {}", switch.on.topic, switch.on.payload),
        PowerDriver::Http(switch) => http(&switch.on),
        PowerDriver::Telnet(switch) => format!("{host} {}", switch.on.iter().map(sent).collect::<String>()),
        PowerDriver::Command { on, .. } => {
            let named = on.iter().any(|argument| argument.replace(' ', "").contains("{{board"));
            format!("{on:?} {host} {outlet} {}", if named { place.board.id.as_str() } else { "" })
        }
    })
}

fn http(call: &HttpCall) -> String {
    let body = call.body.as_ref().map_or("", |body| body.expose_secret());
    format!("{} {} {body}", call.method, call.url.expose_secret())
}

fn sent(step: &TelnetStep) -> String {
    step.send.as_ref().map_or_else(String::new, |send| format!("{}\n", send.expose_secret()))
}
