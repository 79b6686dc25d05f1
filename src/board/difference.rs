//! What is different between two labs, for whoever put the second one in force: by name, never by value, since a value
//! may be a password. Pure.

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::hooks::Hooks;
use super::power::{HttpCall, PowerDriver, TelnetStep};
use super::{Board, Inventory};

/// What is different between two labs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Boards that only the second one has.
    pub added: Vec<String>,
    /// Boards that only the first one has.
    pub removed: Vec<String>,
    /// Boards whose settings are others, credentials aside.
    pub changed: Vec<String>,
    /// What else is different, in the order of [`Part`].
    pub also: Vec<Also>,
}

/// A part of the lab file that is different.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Also {
    /// Which part.
    pub part: Part,
    /// What of it, where it has names.
    pub names: Vec<Named>,
}

/// One name of a part, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Named {
    /// The name.
    pub name: String,
    /// What became of it.
    pub how: How,
}

/// What became of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It was not there.
    Came,
    /// It is not there any more.
    Left,
    /// It is another one.
    Changed,
}

/// A part of the lab beside which boards there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Passwords, communities and tokens, by board.
    Credentials,
    /// `families:`, but for console and power settings: those are the boards' own.
    Families,
    /// `plans:`.
    Plans,
    /// `sites:`.
    Sites,
    /// `host_programs:`.
    Programs,
    /// `roles:`.
    Roles,
    /// `channels:`.
    Channels,
    /// `reservations:`.
    Reservations,
    /// `campaigns:`.
    Campaigns,
    /// `quotas:`.
    Quotas,
    /// `schedules:`.
    Schedules,
    /// `maintenance:`.
    Maintenance,
    /// `artifact_hosts:`.
    Builds,
    /// `webhooks:` and `callbacks:`.
    Hooks,
}

impl Part {
    /// Its word in facts, logs and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Part::Credentials => "credentials",
            Part::Families => "families",
            Part::Plans => "plans",
            Part::Sites => "sites",
            Part::Programs => "programs",
            Part::Roles => "roles",
            Part::Channels => "channels",
            Part::Reservations => "reservations",
            Part::Campaigns => "campaigns",
            Part::Quotas => "quotas",
            Part::Schedules => "schedules",
            Part::Maintenance => "maintenance",
            Part::Builds => "builds",
            Part::Hooks => "hooks",
        }
    }
}

impl Also {
    /// In one line with so many names: `plans changed: netboot, old (left)`.
    pub fn line(&self, most: usize) -> String {
        let shown = |named: &Named| match named.how {
            How::Came => format!("{} (came)", named.name),
            How::Left => format!("{} (left)", named.name),
            How::Changed => named.name.clone(),
        };
        let names: Vec<String> = self.names.iter().take(most).map(shown).collect();
        let more = match self.names.len().saturating_sub(most) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let colon = if names.is_empty() { "" } else { ": " };
        format!("{} changed{colon}{}{more}", self.part.as_str(), names.join(", "))
    }
}

impl Difference {
    /// Whether nothing is.
    pub fn is_nothing(&self) -> bool {
        *self == Difference::default()
    }
}

/// What is different in `after`.
pub fn difference(before: &Inventory, after: &Inventory) -> Difference {
    let missing = |from: &Inventory, other: &Inventory| {
        from.boards.keys().filter(|id| !other.boards.contains_key(*id)).map(ToString::to_string).collect()
    };
    let kept: Vec<(&Board, &Board)> =
        after.boards.values().filter_map(|is| Some((before.boards.get(&is.id)?, is))).collect();
    let names = |differ: fn(&Board, &Board) -> bool| {
        kept.iter().filter(move |(was, is)| differ(was, is)).map(|(_, is)| is.id.to_string())
    };
    let changed = |name| Named { name, how: How::Changed };
    let parts = [
        (Part::Credentials, names(credentials_differ).map(changed).collect()),
        (Part::Families, entries(&before.families, &after.families)),
        (Part::Plans, entries(&before.plans, &after.plans)),
        (Part::Sites, entries(&before.sites, &after.sites)),
        (Part::Programs, entries(&before.host_programs, &after.host_programs)),
        (Part::Campaigns, entries(&before.campaigns, &after.campaigns)),
        (Part::Schedules, entries(&before.schedules, &after.schedules)),
        (Part::Maintenance, entries(&before.maintenance, &after.maintenance)),
    ];
    let named = parts.into_iter().filter(|(_, names): &(_, Vec<Named>)| !names.is_empty());
    let whole = [
        (
            Part::Roles,
            prints_otherwise(
                &(&before.roles, &before.permissions, &before.people),
                &(&after.roles, &after.permissions, &after.people),
            ),
        ),
        (Part::Channels, prints_otherwise(&before.channels, &after.channels)),
        (Part::Reservations, before.reservations != after.reservations),
        (Part::Quotas, before.quotas != after.quotas),
        (Part::Builds, prints_otherwise(&before.builds, &after.builds)),
        (Part::Hooks, hooks_differ(&before.hooks, &after.hooks)),
    ];
    let whole = whole.into_iter().filter(|(_, differs)| *differs).map(|(part, _)| (part, vec![]));
    Difference {
        added: missing(after, before),
        removed: missing(before, after),
        changed: names(settings_differ).collect(),
        also: named.chain(whole).map(|(part, names)| Also { part, names }).collect(),
    }
}

/// What came, left and changed of a mapping.
fn entries<K: Ord + Display, V: Debug>(before: &BTreeMap<K, V>, after: &BTreeMap<K, V>) -> Vec<Named> {
    let named = |name: &K, how| Named { name: name.to_string(), how };
    let here = after.iter().filter_map(|(name, is)| match before.get(name) {
        None => Some(named(name, How::Came)),
        Some(was) => prints_otherwise(was, is).then(|| named(name, How::Changed)),
    });
    let gone = before.keys().filter(|name| !after.contains_key(*name)).map(|name| named(name, How::Left));
    here.chain(gone).collect()
}

/// Settings are compared by how they print: patterns cannot be compared otherwise, and secrets do not print.
fn prints_otherwise<T: Debug>(was: &T, is: &T) -> bool {
    format!("{was:?}") != format!("{is:?}")
}

/// Also where it is only a secret that is another one.
fn hooks_differ(was: &Hooks, is: &Hooks) -> bool {
    let secrets = |hooks: &Hooks| hooks.secrets().cloned().collect::<Vec<_>>();
    prints_otherwise(was, is) || exposed(&secrets(was)) != exposed(&secrets(is))
}

fn credentials_differ(was: &Board, is: &Board) -> bool {
    exposed(&credentials(was)) != exposed(&credentials(is))
}

/// Settings that print, and those that do not because a credential may stand in them; where a credential is another
/// one, it is what makes these others.
fn settings_differ(was: &Board, is: &Board) -> bool {
    let hidden = |board: &Board| board.power.drivers().flat_map(filled_in).collect::<Vec<_>>();
    let hidden_differs = || exposed(&hidden(was)) != exposed(&hidden(is));
    prints_otherwise(was, is) || !credentials_differ(was, is) && hidden_differs()
}

fn credentials(board: &Board) -> Vec<SecretString> {
    board
        .console
        .password
        .clone()
        .into_iter()
        .chain(board.power.drivers().flat_map(PowerDriver::secrets))
        .collect()
}

/// Addresses, bodies and lines of a switch into which a credential may have been filled.
fn filled_in(driver: &PowerDriver) -> Vec<SecretString> {
    fn of_call(call: &HttpCall) -> impl Iterator<Item = SecretString> + '_ {
        let headers = call.headers.iter().map(|(_, value)| value);
        std::iter::once(&call.url).chain(headers).chain(&call.body).cloned()
    }
    let of_steps =
        |steps: &[TelnetStep]| steps.iter().filter_map(|step| step.send.clone()).collect::<Vec<_>>();
    match driver {
        PowerDriver::Http(switch) => {
            let status = switch.status.iter().flat_map(|status| of_call(&status.call));
            of_call(&switch.on).chain(of_call(&switch.off)).chain(status).collect()
        }
        PowerDriver::Telnet(switch) => {
            let status = switch.status.as_deref().unwrap_or_default();
            [&switch.on, &switch.off, status, &switch.logout].into_iter().flat_map(of_steps).collect()
        }
        PowerDriver::None
        | PowerDriver::Simulated
        | PowerDriver::Elsewhere
        | PowerDriver::Command { .. }
        | PowerDriver::Snmp(_)
        | PowerDriver::Pdudaemon(_)
        | PowerDriver::Redfish(_)
        | PowerDriver::Ipmi(_)
        | PowerDriver::Mqtt(_) => vec![],
    }
}

fn exposed(secrets: &[SecretString]) -> Vec<&str> {
    secrets.iter().map(|secret| secret.expose_secret()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::lab_file;

    const LAB: &str = "boards:
  - {board_id: a, soc_family: f, board_ip: 10.0.0.1, lab_location: L, telnet_username: root, telnet_password: ${PASSWORD}}
  - {board_id: b, soc_family: g, board_ip: 10.0.0.2, lab_location: M, pdu_host: pdu, pdu_outlet: 2}
families:
  f: {}
  g: {suites: {smoke: p}, power: {driver: http, on: {url: 'http://pdu/{{ outlet }}/on'}, off: {url: 'http://pdu/{{ outlet }}/off'}}}
plans:
  p: {test: [{run: uname}]}
sites: {L: {}}
host_programs: {flash: /bin/flash}
roles: {admin: [slack:U0LEAD]}
channels: {default: slack:C0SOCCI}
schedules: {nightly: {cron: 0 2 * * *, run: f build-1}}
campaigns: {rollout: {families: [f], gate: 90}}
";

    fn lab(text: &str, password: &str) -> Inventory {
        let read = lab_file::parse("boards.yaml", text, &|_| Some(password.to_owned()));
        read.inventory.unwrap_or_else(|| panic!("{}", lab_file::render(&read.problems)))
    }

    /// What is different, in one line.
    fn told(before: &Inventory, after: &Inventory) -> String {
        let Difference { added, removed, changed, also } = difference(before, after);
        let boards = [("came", added), ("left", removed), ("changed", changed)];
        let boards = boards.iter().filter(|(_, names)| !names.is_empty());
        let boards = boards.map(|(how, names)| format!("{how}: {}", names.join(", ")));
        boards.chain(also.iter().map(|also| also.line(10))).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn every_part_that_is_another_one_is_named_and_no_value() {
        let before = lab(LAB, "one");
        assert!(difference(&before, &lab(LAB, "one")).is_nothing());
        assert_eq!(told(&before, &lab(LAB, "two")), "credentials changed: a");
        let check = |from: &str, to: &str, expect: &str| {
            assert!(LAB.contains(from), "{from}");
            assert_eq!(told(&before, &lab(&LAB.replace(from, to), "one")), expect, "{from} → {to}");
        };
        check("10.0.0.1", "10.0.0.9", "changed: a");
        check("board_id: a", "board_id: c", "came: c; left: a");
        check("telnet_username: root", "telnet_username: lab", "changed: a");
        check("'http://pdu/{{ outlet }}/on'", "'http://other/{{ outlet }}/on'", "changed: b");
        check(
            "driver: http, on",
            "driver: http, auth: basic, username: u, password: two, on",
            "changed: b; credentials changed: b",
        );
        check("f: {}", "f: {health: {quarantine_after: 2}}", "families changed: f");
        check("{run: uname}", "{run: uname -a}", "plans changed: p");
        check("{run: uname}]}", "{run: uname}]}\n  q: {test: [{run: x}]}", "plans changed: q (came)");
        check("suites: {smoke: p}, ", "", "families changed: g");
        check("sites: {L: {}}", "sites: {M: {worker: remote}}", "sites changed: M");
        check(
            "host_programs: {flash: /bin/flash}",
            "host_programs: {burn: /bin/flash}",
            "programs changed: burn (came), flash (left)",
        );
        check("admin: [slack:U0LEAD]", "admin: [slack:U0OTHER]", "roles changed");
        check("slack:C0SOCCI", "slack:C0OTHER", "channels changed");
        check("gate: 90", "gate: 80", "campaigns changed: rollout");
        check("0 2 * * *", "0 3 * * *", "schedules changed: nightly");
        check("roles:", "quotas: {user: {boards: 4}}\nroles:", "quotas changed");
        let window = "maintenance: {weekly: {boards: [a], cron: 0 2 * * *, lasts: 1h, reason: x}}\nroles:";
        check("roles:", window, "maintenance changed: weekly (came)");
    }

    #[test]
    fn a_line_names_so_many_and_counts_the_rest() {
        let names: Vec<Named> = (0..4).map(|n| Named { name: format!("p{n}"), how: How::Changed }).collect();
        let line = |most| Also { part: Part::Plans, names: names.clone() }.line(most);
        assert_eq!(line(4), "plans changed: p0, p1, p2, p3");
        assert_eq!(line(3), "plans changed: p0, p1, p2 and 1 more");
    }
}
