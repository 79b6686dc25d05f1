//! Boards that nobody could keep apart: by their outlet, or by their names.

use super::BOARD;
use super::mistakes::check;

#[test]
fn boards_on_one_outlet() {
    let lab = |power: &str, a: &str, b: &str| {
        format!(
            "families: {{f: {{power: {{{power}}}}}}}\nboards:\n\
             - {{board_id: a, soc_family: f, board_ip: g, lab_location: L, {a}}}\n\
             - {{board_id: b, soc_family: f, board_ip: h, lab_location: L, {b}}}\n"
        )
    };
    let same = |column: u32| {
        format!(
            "4:{column}: error: b has the outlet of a (line 3): switching one would take the power of the other; \
             where one outlet feeds both, neither can be switched alone: give both `power: {{driver: none}}`"
        )
    };
    let snmp = "driver: snmp, preset: apc-rpdu, community: x";
    check(&lab(snmp, "pdu_host: p, pdu_outlet: 1", "pdu_host: P, pdu_outlet: 1"), &same(87));
    check(&lab(snmp, "pdu_host: p, pdu_outlet: 1", "pdu_host: p, pdu_outlet: 2"), "");
    check(&lab(snmp, "pdu_host: p, pdu_outlet: 1", "pdu_host: q, pdu_outlet: 1"), "");
    let none = "power: {driver: none}";
    let fed = "pdu_host: p, pdu_outlet: 1";
    check(&lab(snmp, fed, &format!("{fed}, {none}")), "");
    // A controller has one board, whatever else is written; a broker has as many as there are topics.
    let ipmi = "driver: ipmi, username: u, password: x";
    check(&lab(ipmi, "pdu_host: p", "pdu_host: p"), &same(72));
    let mqtt = "driver: mqtt, preset: tasmota, host: broker, outlet: 1";
    check(&lab(mqtt, "power: {topic: one}", "power: {topic: two}"), "");
    check(&lab(mqtt, "power: {topic: one}", "power: {topic: one}"), &same(69));
    let tool = "driver: command, on: [tool, '{{ board }}'], off: [tool, '{{ board }}']";
    check(&lab(tool, fed, fed), "");
    let tool = "driver: command, on: [tool, '{{ host }}', '{{ outlet }}'], off: [tool]";
    check(&lab(tool, fed, fed), &same(87));
}

#[test]
fn names_that_differ_only_by_case() {
    let lab = |one: &str, other: &str| {
        let board = |keys: &str, ip: &str| format!("- {{{keys}, board_ip: {ip}}}\n");
        format!("{}{}", board(one, "g"), board(other, "h"))
    };
    check(
        &lab("board_id: a1, soc_family: f, lab_location: L", "board_id: A1, soc_family: F, lab_location: l"),
        "2:14: error: the boards \"A1\" and \"a1\" (line 1) differ only by case: nobody could say which is meant\n\
         2:30: error: the families \"F\" and \"f\" (line 1) differ only by case: nobody could say which is meant\n\
         2:47: error: the sites \"l\" and \"L\" (line 1) differ only by case: nobody could say which is meant",
    );
    check(
        &lab("board_id: a, soc_family: f, lab_location: L", "board_id: F, soc_family: f, lab_location: L"),
        "2:14: error: the board \"F\" is called like the family \"f\" of line 1: nobody could say which is meant",
    );
    check(
        &format!("{BOARD}families: {{f: {{}}, F: {{}}}}\n"),
        "2:19: error: the families \"F\" and \"f\" (line 2) differ only by case: nobody could say which is meant\n\
         2:19: warning: family \"F\" has no board",
    );
}
