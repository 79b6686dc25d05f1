//! Power sequences of a lab file: what each mistake is told as, and what lies over what.

use super::{lab, told};
use crate::board::PowerDriver;
use crate::board::power::{Outlet, SequenceStep};

/// Two boards of a family whose `power:` has these lines as well, and a plan of it that switches power like this.
fn with(power: &str, step: &str) -> String {
    format!(
        "boards:\n\
         - {{board_id: a, soc_family: f, board_ip: 10.0.0.1, lab_location: L, pdu_host: p, pdu_outlet: 1, power: {{relays: {{strap: 5}}}}}}\n\
         - {{board_id: b, soc_family: f, board_ip: 10.0.0.2, lab_location: L, pdu_host: p, pdu_outlet: 2, power: {{relays: {{strap: 6}}}}}}\n\
         families:\n  f:\n    suites: {{smoke: p}}\n    power:\n      driver: simulated\n      {power}\nplans:\n  p: {{boot: [{{power: {step}}}, login: {{}}]}}\n"
    )
}

#[track_caller]
fn check(power: &str, expect: &str) {
    assert_eq!(told(&with(power, "cycle")), expect, "in: {power}");
}

#[test]
fn mistakes_in_sequences_are_told_once_where_they_stand() {
    check(
        "sequences: {r: [off, {set: strp, to: on}]}",
        "9:34: error: a has no relay \"strp\"; did you mean \"strap\"?",
    );
    check(
        "sequences: {r: [of]}",
        "9:23: error: unknown step of a power sequence \"of\"; did you mean \"off\"?",
    );
    check("sequences: {r: [{set: strap}]}", "9:23: error: missing key \"to\" in a step of a power sequence");
    check(
        "sequences: {r: [{set: strap, to: of}]}",
        "9:40: error: unknown state of a relay \"of\"; did you mean \"off\"?",
    );
    check(
        "sequences: {r: [{on: , off: }]}",
        "9:23: error: a step of a power sequence is one of on, off, wait: 2s, {set: relay, to: on}",
    );
    check(
        "sequences: {r: [{wait: 2}]}",
        "9:30: error: wait must be a duration such as 5ms, 90s, 20m, 2h or 1h30m, not \"2\"; did you mean 2s?",
    );
    check("sequences: {r: []}", "9:22: error: a power sequence has 1 to 32 steps, not 0");
    let long = format!("sequences: {{r: [{}]}}", vec!["on"; 33].join(", "));
    check(&long, "9:22: error: a power sequence has 1 to 32 steps, not 33");
    check(
        "sequences: {r: [wait: 40s, wait: 21s]}",
        "9:22: error: the pauses of sequence \"r\" are 1m 1s in all; at most 1m",
    );
    check("sequences: {r: [wait: 40s, wait: 20s]}", "");
    check(
        "sequences: {cycle: [on]}",
        "9:19: error: no sequence can be called \"cycle\": that can be done with every outlet",
    );
    check(
        "sequences: {'r 2': [on]}",
        "9:19: error: a name under sequences must be 1 to 64 of A-Z a-z 0-9 . _ - beginning with a letter or digit, not \"r 2\"",
    );
}

#[test]
fn mistakes_in_relays() {
    check(
        "relays: {button: {}}",
        "9:16: error: the relay \"button\" of a needs \"outlet\"; such as `relays: {button: 8}` under the board's `power:`",
    );
    check(
        "relays: {strap: {rset: on}}",
        "9:24: error: unknown key \"rset\" in a relay without a driver; did you mean \"rest\"?",
    );
    check(
        "relays: {strap: {driver: smnp}}",
        "9:32: error: unknown power driver \"smnp\"; did you mean \"snmp\"?",
    );
    check(
        "relays: {strap: {driver: snmp, preset: apc-rpdu}}",
        "9:32: error: power driver \"snmp\" needs \"community\"; such as community: ${PDU_COMMUNITY}",
    );
    let many: Vec<String> =
        (0..17).map(|n| format!("r{n}: {{outlet: x{n}, host: '{{{{ board }}}}'}}")).collect();
    assert!(
        told(&with(&format!("relays: {{{}}}", many.join(", ")), "cycle"))
            .contains("a board has at most 16 relays")
    );
}

#[test]
fn a_relay_that_is_another_boards_outlet_is_told() {
    let text = with("sequences: {}", "cycle").replacen("strap: 5", "strap: 2", 1);
    assert_eq!(
        told(&text),
        "3:94: error: b has the outlet of relay strap of a (line 2): switching one would take the power of the other; where one \
         outlet feeds both, neither can be switched alone: give both `power: {driver: none}`"
    );
}

#[test]
fn a_plan_names_sequences_that_its_boards_have() {
    let recovery = "sequences: {recovery: [off, {set: strap, to: on}, on]}";
    assert_eq!(told(&with(recovery, "recovery")), "");
    assert_eq!(
        told(&with(recovery, "recovry")),
        "11:22: error: unknown power action \"recovry\"; did you mean \"recovery\"?"
    );
    assert_eq!(
        told(&with("off_for: 1s", "recovery")),
        "11:22: error: unknown power action \"recovery\"; known are on, off, cycle"
    );
    let one =
        with("off_for: 1s", "recovery").replacen("strap: 5}", "strap: 5}, sequences: {recovery: [on]}", 1);
    assert_eq!(told(&one), "11:22: error: b has no power sequence \"recovery\", which plan \"p\" performs");
}

#[test]
fn relays_and_sequences_of_a_board_lie_over_those_of_its_family() {
    let family = "relays: {strap: {rest: on}, fan: {driver: command, on: [t, '{{ board }}', on], off: [t, '{{ board }}', off]}}\n      sequences: {r: [off, on], s: [on]}";
    let own = "strap: 5}, sequences: {r: [{set: strap, to: off}, {wait: 20ms}]}";
    let lab = lab(&with(family, "r").replacen("strap: 5}", own, 1));
    let (a, b) = (&lab.board("a").expect("a").power, &lab.board("b").expect("b").power);
    let relay = |power: &crate::board::PowerConfig| {
        let relay = &power.relays["strap"];
        (relay.host.clone(), relay.outlet.clone(), relay.rest)
    };
    assert_eq!(relay(a), (Some("p".into()), Some("5".into()), Outlet::On));
    assert_eq!(relay(b), (Some("p".into()), Some("6".into()), Outlet::On));
    assert!(matches!(a.relays["fan"].driver, PowerDriver::Command { .. }), "{a:?}");
    assert!(matches!(a.relays["strap"].driver, PowerDriver::Simulated), "{a:?}");
    let steps = |power: &crate::board::PowerConfig, name: &str| {
        power.sequences[name].iter().map(SequenceStep::to_string).collect::<Vec<_>>().join(", ")
    };
    assert_eq!((steps(a, "r"), steps(b, "r")), ("set strap to off, wait 20ms".into(), "off, on".into()));
    assert_eq!(steps(a, "s"), "on");
}
