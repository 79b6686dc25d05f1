//! Power switches of a lab file: what each mistake is told as, and what the documents' examples become.

use secrecy::ExposeSecret;

use super::super::{Severity, parse};
use super::{BOARD, lab, told};
use crate::board::PowerDriver;
use crate::board::power::http_presets::HTTP_PRESETS;
use crate::board::power::mqtt_presets::MQTT_PRESETS;
use crate::board::power::snmp_presets::SNMP_PRESETS;
use crate::board::power::telnet_presets::TELNET_PRESETS;
use crate::board::power::{SnmpRead, SnmpSwitch, StatePlace, oid_parts};

/// A lab whose board has this switch.
fn with_power(outlet: &str, power: &str) -> String {
    format!(
        "boards:\n- board_id: a\n  soc_family: f\n  board_ip: 10.0.0.1\n  lab_location: L\n  pdu_host: pdu-a:1161\n  \
         pdu_outlet: {outlet}\n  power: {{{power}}}\n"
    )
}

fn check(power: &str, expect: &str) {
    assert_eq!(told(&with_power("3", power)), expect, "in: {power}");
}

fn snmp(outlet: &str, power: &str) -> SnmpSwitch {
    let lab = lab(&with_power(outlet, power));
    match &lab.board("a").expect("a").power.driver {
        PowerDriver::Snmp(switch) => (**switch).clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn snmp_mistakes() {
    check(
        "driver: snmp, preset: apc-rpdu",
        "8:19: error: power driver \"snmp\" needs \"community\"; such as community: ${PDU_COMMUNITY}",
    );
    check(
        "driver: snmp, preset: apc-rpdu3, community: x",
        "8:33: error: unknown snmp preset \"apc-rpdu3\"; did you mean \"apc-rpdu\"?",
    );
    check(
        "driver: snmp, comunity: x, preset: apc-rpdu",
        "8:19: error: power driver \"snmp\" needs \"community\"; such as community: ${PDU_COMMUNITY}\n\
         8:25: error: unknown key \"comunity\" in power of driver \"snmp\"; did you mean \"community\"?",
    );
    check(
        "driver: snmp, community: x",
        "8:19: error: power driver \"snmp\" needs \"preset\"; such as preset: apc-rpdu, or oid, on and off",
    );
    check(
        "driver: snmp, community: x, preset: eaton, oid: .1.3.6",
        "8:59: error: \"oid\" and \"preset\" cannot stand together",
    );
    check(
        "driver: snmp, community: x, oid: .1.3.6.1, on: 1",
        "8:19: error: power driver \"snmp\" needs \"off\"; such as off: 2",
    );
    check(
        "driver: snmp, community: x, oid: sysName.0, on: 1, off: 2",
        "8:44: error: oid must be an SNMP object in numbers, such as .1.3.6.1.4.1.318.1.1.12.3.3.1.1.4.{{ outlet }}, not \"sysName.0\"",
    );
    check(
        "driver: snmp, community: x, oid: .1.3.6, on: yes, off: 2",
        "8:56: error: on must be a whole number, not \"yes\"",
    );
    check(
        "driver: snmp, preset: eaton, version: 2, community: x",
        "8:49: error: unknown SNMP version \"2\"; did you mean \"2c\"?",
    );
    check(
        "driver: snmp, preset: eaton, username: u",
        "8:50: error: users are of SNMP version 3; add version: 3",
    );
    check(
        "driver: snmp, preset: eaton, version: 3, username: u, auth: sha, auth_password: short",
        "8:91: error: auth_password must have at least 8 characters",
    );
    check(
        "driver: snmp, preset: eaton, version: 3, username: u, privacy: aes, privacy_password: longenough",
        "8:74: error: privacy needs auth: what is encrypted is signed as well",
    );
    check(
        "driver: snmp, preset: eaton, version: 3, username: u, auth: sha3, auth_password: longenough",
        "8:71: error: unknown auth \"sha3\"; did you mean \"sha\"?",
    );
    assert_eq!(
        told(&with_power("AA1", "driver: snmp, preset: eaton, community: x")),
        "8:19: error: preset \"eaton\" numbers its outlets: the outlet must be like 3, or 1.3"
    );
}

#[test]
fn an_outlet_that_is_a_single_number_is_of_the_first_unit() {
    let switch = snmp("3", "driver: snmp, preset: servertech-sentry4, community: x");
    assert_eq!((switch.on.oid.as_str(), switch.on.value), (".1.3.6.1.4.1.1718.4.1.8.5.1.2.1.1.3", 1));
    let switch = snmp("2.1.3", "driver: snmp, preset: servertech-sentry4, community: x, read: none");
    assert_eq!((switch.off.oid.as_str(), switch.read), (".1.3.6.1.4.1.1718.4.1.8.5.1.2.2.1.3", None));
    let switch = snmp("3", "driver: snmp, oid: '1.3.6.{{outlet}}', on: 1, off: 0, community: x");
    assert_eq!(switch.read, Some(SnmpRead { oid: "1.3.6.3".into(), on: vec![1], off: vec![0] }));
}

#[test]
fn http_mistakes() {
    check(
        "driver: http",
        "8:19: error: power driver \"http\" needs \"on\"; such as on: 'http://{{ host }}/outlet/{{ outlet }}/on', or a preset\n\
         8:19: error: power driver \"http\" needs \"off\"; such as off: 'http://{{ host }}/outlet/{{ outlet }}/off', or a preset",
    );
    check(
        "driver: http, preset: home-assistant",
        "8:19: error: power driver \"http\" needs \"token\"; such as token: ${PDU_TOKEN}",
    );
    check(
        "driver: http, preset: netio, password: x",
        "8:19: error: power driver \"http\" needs \"username\"; such as username: admin",
    );
    check(
        "driver: http, preset: shely2",
        "8:33: error: unknown http preset \"shely2\"; did you mean \"shelly2\"?",
    );
    let own = |on: &str| format!("driver: http, off: 'http://h/', on: {on}");
    check(&own("'ftp://h/'"), "8:47: error: on must begin with http:// or https:// and a host");
    check(&own("'http://{{ hots }}/'"), "8:47: error: unknown name \"hots\"; did you mean \"host\"?");
    check(
        &own("{url: 'http://h/', method: PUSH}"),
        "8:74: error: unknown method \"PUSH\"; known are GET, POST, PUT, PATCH",
    );
    check(
        &own("{url: 'http://h/', expect: '('}"),
        "8:74: error: expect is not a regular expression: unclosed group",
    );
    check(
        &own("{url: 'http://h/', headers: {'a b': c}}"),
        "8:76: error: a header's name is of A-Z a-z 0-9 - _",
    );
    check(
        &own("'http://h/', status: {url: 'http://h/'}"),
        "8:68: error: status needs \"pointer\" or \"pattern\": where in the answer the state stands",
    );
    check(
        &own("'http://h/', status: {url: 'http://h/', pointer: a}"),
        "8:96: error: pointer must begin with a slash such as /relays/0/ison, not \"a\"",
    );
    check(
        "driver: http, preset: gude, insecure: true",
        "8:49: warning: the certificate of the power switch of a is not checked: who stands in between reads its password; \
         let this machine trust the device's certificate, and drop `insecure`",
    );
    assert_eq!(
        told(&with_power("\"3/../1\"", "driver: http, preset: shelly1")),
        "8:19: error: the outlet of driver \"http\" must be of A-Z a-z 0-9 . _ : -"
    );
}

#[test]
fn mistakes_of_the_other_drivers() {
    check(
        "driver: pdudaemon",
        "8:19: error: power driver \"pdudaemon\" needs \"url\"; such as url: 'http://pdudaemon.lab.local:16421'",
    );
    check(
        "driver: redfish, username: u",
        "8:19: error: power driver \"redfish\" needs \"password\"; such as password: ${PDU_PASSWORD}",
    );
    check("driver: ipmi, interface: lan+", "8:36: error: unknown interface \"lan+\"; did you mean \"lan\"?");
    check(
        "driver: ipmi",
        "8:19: error: power driver \"ipmi\" needs \"username\"; such as username: admin\n\
         8:19: error: power driver \"ipmi\" needs \"password\"; such as password: ${PDU_PASSWORD}",
    );
    check(
        "driver: telnet, on: [{expect: x}]",
        "8:19: error: power driver \"telnet\" needs \"off\"; such as off: [{expect: '> $', send: 'off {{ outlet }}'}], or a preset",
    );
    check(
        "driver: telnet, off: [{expect: x}], on: [{send: x}]",
        "8:52: error: missing key \"expect\" in a step of on",
    );
    check(
        "driver: mqtt, preset: tasmota",
        "8:19: error: power driver \"mqtt\" needs \"topic\"; such as topic: tasmota_4FD2A1",
    );
    check(
        "driver: mqtt, off: {topic: a}, on: {topic: 'a/#'}",
        "8:54: error: a topic is 1 to 256 bytes without + and #",
    );
    let boardless =
        format!("{BOARD}families: {{f: {{power: {{driver: snmp, preset: apc-rpdu, community: x}}}}}}\n");
    assert_eq!(
        told(&boardless),
        "2:32: error: power driver \"snmp\" needs \"outlet\"; such as pdu_outlet: 1 on the board\n\
         2:32: error: power driver \"snmp\" needs \"host\"; such as pdu_host: pdu-a.lab.local on the board"
    );
}

#[test]
fn a_board_completes_what_its_family_began_and_no_secret_is_shown() {
    let text = with_power("3", "community: ${PDU_COMMUNITY}")
        + "families: {f: {power: {driver: snmp, preset: apc-rpdu}}}\n";
    assert_eq!(told(&text), "");
    let lab = lab(&text);
    let board = lab.board("a").expect("a");
    let PowerDriver::Snmp(switch) = &board.power.driver else { panic!("{board:?}") };
    let crate::board::power::SnmpAccess::V2c(community) = &switch.access else { panic!("{board:?}") };
    assert_eq!(community.expose_secret(), "private");
    assert!(!format!("{board:?}").contains("private"));
}

#[test]
fn a_board_with_a_driver_of_its_own_inherits_nothing_of_another_driver() {
    let family = "families: {f: {power: {driver: snmp, preset: apc-rpdu, community: x, off_for: 9s}}}\n";
    let text = with_power("3", "driver: http, on: 'http://h/1', off: 'http://h/0'") + family;
    assert_eq!(told(&text), "");
    let lab = lab(&text);
    let power = &lab.board("a").expect("a").power;
    assert!(matches!(&power.driver, PowerDriver::Http(_)) && power.off_for.as_secs() == 9, "{power:?}");
}

#[test]
fn every_preset_is_made_of_good_parts_and_names_its_source() {
    for row in &SNMP_PRESETS {
        for oid in [row.on.0, row.off.0, row.read.0] {
            let filled = oid.replace("{{ outlet }}", &format!("{}1", row.unit));
            assert!(oid_parts(&filled).is_some() && !row.source.is_empty(), "{}: {oid}", row.name);
        }
    }
    let presets = HTTP_PRESETS
        .iter()
        .map(|row| ("http", row.name, row.source))
        .chain(TELNET_PRESETS.iter().map(|row| ("telnet", row.name, row.source)))
        .chain(MQTT_PRESETS.iter().map(|row| ("mqtt", row.name, row.source)));
    for (driver, name, source) in presets {
        let power = format!("driver: {driver}, preset: {name}");
        let who = match (driver, name) {
            (_, "home-assistant") => ", token: x",
            ("mqtt", _) => ", topic: x",
            _ => ", username: u, password: p",
        };
        assert_eq!(told(&with_power("1", &format!("{power}{who}"))), "", "{name}");
        assert!(!source.is_empty(), "{name}");
    }
}

#[test]
fn the_examples_of_the_document_load_as_they_stand_and_it_names_every_preset() {
    let document = include_str!("../../../../docs/power.md");
    let examples: Vec<&str> =
        document.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 15, "{}", examples.len());
    for example in examples {
        let indented: String = example.lines().map(|line| format!("    {line}\n")).collect();
        let text = format!("{}families:\n  f:\n{indented}", with_power("1", ""));
        let read = parse("boards.yaml", &text, &|_| Some("a-secret-of-yours".into()));
        let expected = usize::from(example.contains("insecure: true"));
        let warnings = read.problems.iter().filter(|problem| problem.severity == Severity::Warning).count();
        assert_eq!((read.problems.len(), warnings), (expected, expected), "{example}\n{:#?}", read.problems);
    }
    let names = SNMP_PRESETS
        .iter()
        .map(|row| row.name)
        .chain(HTTP_PRESETS.iter().map(|row| row.name))
        .chain(TELNET_PRESETS.iter().map(|row| row.name))
        .chain(MQTT_PRESETS.iter().map(|row| row.name));
    for name in names {
        assert!(
            document.contains(&format!("`{name}`")) || document.contains(&format!("preset: {name}\n")),
            "{name}"
        );
    }
}

#[test]
fn an_snmp_object_is_numbers_with_dots() {
    let check = |text: &str, good: bool| assert_eq!(oid_parts(text).is_some(), good, "{text}");
    check(".1.3.6.1", true);
    check("1.3", true);
    check("2.39.4294967295", true);
    for bad in ["", ".", "1", "3.1", "1.40", "1..3", "1.3.", "1.3.x", "1.3.-1", "1.3.4294967296", "..1.3"] {
        check(bad, false);
    }
    check(&format!("1.3{}", ".1".repeat(126)), true);
    check(&format!("1.3{}", ".1".repeat(127)), false);
}

#[test]
fn ten_thousand_boards_behind_one_kind_of_switch_share_what_its_patterns_were_compiled_to() {
    let board = |n: usize| {
        format!(
            "- {{board_id: b{n}, soc_family: f, board_ip: h{n}, lab_location: L, pdu_host: p{n}, pdu_outlet: 1}}\n"
        )
    };
    let boards: String = (0..crate::board::lab_file::BOARDS_MAX).map(board).collect();
    let family = "families: {f: {power: {driver: http, preset: netio, username: u, password: p}}}\n";
    let lab = lab(&format!("boards:\n{boards}{family}"));
    let compiled = |name: &str| match &lab.board(name).expect("a board").power.driver {
        PowerDriver::Http(switch) => match &switch.status.as_ref().expect("a status").place {
            StatePlace::Pattern(pattern) => pattern.as_str().as_ptr(),
            other @ StatePlace::Pointer(_) => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    assert_eq!(compiled("b0"), compiled("b9999"));
}
