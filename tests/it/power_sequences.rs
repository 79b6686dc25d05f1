//! Power sequences: boards with straps, by word and in a plan, on simulated switches and on real ones of two kinds.

use std::time::Duration;

use boardhand::board::lab_file;
use boardhand::board::plan::PowerAction;
use boardhand::clock::Clock;
use boardhand::power::Power;
use boardhand::sim::{PduFaults, SimPdu};

use crate::console_real::rig::{Forever, Rig};
use crate::lab::{Lab, WITHIN, lab, steady, yaml};
use crate::power_real::{RPDU, listens};

/// `n` boards with a strap and a sequence over it, and a plan that begins with that.
fn strapped(n: usize) -> String {
    let power = "power: {driver: simulated, off_for: 50ms, rest: off";
    let sequences = "relays: {strap: {}, button: {rest: on}}, sequences: {recovery: [off, {set: strap, to: on}, {wait: 2s}, on, \
                     {wait: 500ms}, {set: strap, to: off}], held: [{set: strap, to: on}]}";
    let mut text = yaml::small(n).replacen(power, &format!("{power}, {sequences}"), 1).replacen(
        "suites: {",
        "suites: {recovery: in-recovery, held: held, ",
        1,
    );
    for i in 1..=n {
        let own = format!("pdu_outlet: {i},");
        text = text.replacen(&own, &format!("{own} power: {{relays: {{strap: s{i}, button: b{i}}}}},"), 1);
    }
    let plan = |name: &str, power: &str| {
        format!(
            "  {name}:\n    limits: {{total: 60s, no_output: 20s}}\n    retry: {{infra: 0}}\n    \
             boot: [{power}, {{login: {{within: 20s}}}}]\n    test: [{{name: uname, run: uname}}]\n"
        )
    };
    text + &plan("in-recovery", "{power: recovery}") + &plan("held", "{power: held}, {power: cycle}")
}

fn pdu(lab: &Lab) -> SimPdu {
    lab.boards.pdu("pdu-a").expect("a PDU").clone()
}

/// What was switched after so many switchings.
fn switched(pdu: &SimPdu, after: usize) -> String {
    let log = pdu.log();
    let shown = |outlet: &str| outlet.strip_prefix("soc-a-001.").unwrap_or(outlet).to_owned();
    let words = log[after..]
        .iter()
        .map(|switch| format!("{}{}", if switch.on { '+' } else { '-' }, shown(&switch.outlet)));
    words.collect::<Vec<_>>().join(" ")
}

async fn health(lab: &Lab) -> String {
    lab.rows("SELECT health, needs_fence, reason FROM boards WHERE id = 'soc-a-001'").await.join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_puts_a_board_through_a_sequence() {
    lab(&strapped(2), async |lab| {
        insta::assert_snapshot!(steady(&lab.say("bob", "/lab power soc-a-001 recovery").await), @"⚡ Switching `soc-a-001`… I'll tell you how it went.");
        insta::assert_snapshot!(lab.answer("bob").await, @"⚡ `soc-a-001` was put through recovery.");
        assert_eq!(switched(&pdu(lab), 0), "-1 +strap +1 -strap");
        assert!(lab.boards.board("soc-a-001").expect("a board").is_on());
        lab.say("bob", "/lab power Recovery soc-a-001").await;
        insta::assert_snapshot!(lab.answer("bob").await, @"⚡ `soc-a-001` was put through recovery.");
        insta::assert_snapshot!(steady(&lab.say("bob", "/lab power soc-a-001 recovry").await), @r#"
        ✋ soc-a-001 has no power sequence "recovry"; it has on, off, cycle, status, held, recovery. Did you mean `recovery`?
        Try: `/lab power soc-a-001 recovery`
        "#);
        insta::assert_snapshot!(steady(&lab.say("bob", "/lab power soc-b-001 recovery").await), @r#"
        ✋ soc-b-001 has no power sequence "recovery"; it has on, off, cycle, status.
        Try: `/lab board soc-b-001`
        "#);
        let audit = lab.rows("SELECT actor, verb, target, allowed FROM audit WHERE verb = 'power'").await;
        assert_eq!(audit[..2], vec!["slack:U0BOB | power | soc-a-001 recovery | 1"; 2]);
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_begins_with_a_sequence_and_its_relays_go_back_to_rest() {
    lab(&strapped(1), async |lab| {
        let run = lab.run("alice", "/run-test socA build-1 suite=recovery").await;
        assert_eq!(lab.verdict(run).await, "passed in testing");
        lab.settle().await;
        let (rest, recovery) = ("+button -strap", "-1 +strap +1 -strap");
        assert_eq!(
            switched(&pdu(lab), 0),
            format!("{rest} {recovery} {rest} -1"),
            "at first, by plan, at the end"
        );
        assert_eq!(health(lab).await, "good | 0 | ");
        // A sequence that leaves a strap moved, and a person who does.
        for leave in ["suite=held", ""] {
            let before = pdu(lab).log().len();
            if leave.is_empty() {
                lab.say("bob", "/lab power soc-a-001 held").await;
                insta::assert_snapshot!(lab.answer("bob").await, @"⚡ `soc-a-001` was put through held.");
            }
            let run = lab.run("alice", &format!("/run-test socA build-1 {leave}")).await;
            assert_eq!(lab.verdict(run).await, "passed in testing");
            lab.settle().await;
            let expect = match leave {
                "" => "+strap +button -strap -1 +1 -1 -1",
                _ => "+button -strap +strap -1 +1 +button -strap -1",
            };
            assert_eq!(switched(&pdu(lab), before), expect, "{leave}");
        }
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequence_that_stops_half_done_is_told_as_that_and_leaves_the_board_suspect() {
    lab(&strapped(1), async |lab| {
        pdu(lab).set_faults(|faults| faults.stuck_outlet = Some("soc-a-001.strap".into()));
        let run = lab.run("alice", "/run-test socA build-1 suite=recovery").await;
        lab.until_card(run, "Lab trouble").await;
        lab.settle().await;
        let problem = "the sequence recovery stopped half done, at step 2 of 6 (set strap to on): the outlet of relay strap of soc-a-001 stays \
                       off after it was switched on";
        assert_eq!(health(lab).await, format!("suspect | 1 | {problem}"));
        let said = problem.replacen("the", "The", 1);
        let card = lab.thread(run);
        assert!(card.contains("*⚠️ Lab trouble* · `power-unreachable`\n"), "{card}");
        assert!(card.contains(&said) && card.contains("✗ power   · boot"), "{card}");
        assert_eq!(switched(&pdu(lab), 0), "+button -strap -1 +strap +button -strap -1");
        lab.say("bob", "/lab power soc-a-001 recovery").await;
        insta::assert_snapshot!(lab.answer("bob").await, @"✋ `soc-a-001` was not put through recovery. The sequence recovery stopped half done, at step 2 of 6 (set strap to on): the outlet of relay strap of soc-a-001 stays off after it was switched on.");
        assert_eq!(health(lab).await, format!("suspect | 1 | {problem}"));
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_cancelled_in_the_middle_of_a_sequence_leaves_no_strap_behind() {
    lab(&strapped(1), async |lab| {
        // Its outlet takes a while to be given up: whoever cancels meets the sequence on its way.
        pdu(lab).set_faults(|faults| faults.stuck_outlet = Some("1".into()));
        let run = lab.run("alice", "/run-test socA build-1 suite=recovery").await;
        let strap_is_on = async {
            while !switched(&pdu(lab), 0).contains("+strap") {
                lab.clock.sleep(Duration::from_millis(1)).await;
            }
        };
        lab.clock.timeout(WITHIN, strap_is_on).await.expect("the strap is set");
        pdu(lab).set_faults(|faults| faults.silent = true);
        lab.say("alice", &format!("/lab cancel {run}")).await;
        lab.until_card(run, "Cancelled").await;
        pdu(lab).set_faults(|faults| *faults = PduFaults::default());
        lab.settle().await;
        assert!(switched(&pdu(lab), 0).ends_with("+button -strap -1"), "{}", switched(&pdu(lab), 0));
        assert_eq!(health(lab).await, "suspect | 1 | the sequence recovery was cut off half done");
        lab.read_all();
    })
    .await;
}

/// A board on a real SNMP agent with its strap on a relay behind a real broker.
#[tokio::test]
async fn a_sequence_goes_over_an_snmp_outlet_and_a_relay_behind_a_broker() {
    let (outlets, broker) = (Rig::new(), Rig::new());
    let (agent, _) = outlets.snmpd(RPDU);
    let port = broker.mosquitto(1, None);
    let strap = "driver: mqtt, preset: tasmota, topic: plug";
    listens(&format!("127.0.0.1:{port}"), strap).await;
    let text = format!(
        "boards: [{{board_id: soc-a-001, soc_family: socA, board_ip: 10.0.0.1, lab_location: L, pdu_host: '{agent}', pdu_outlet: 3}}]\n\
         families:\n  socA:\n    power:\n      driver: snmp\n      preset: apc-rpdu\n      community: writer\n      \
         relays: {{strap: {{host: '127.0.0.1:{port}', outlet: 1, within: 1s, {strap}}}}}\n      sequences:\n        recovery:\n          \
         - off\n          - {{set: strap, to: on}}\n          - {{wait: 20ms}}\n          - on\n        \
         normal: [off, {{set: strap, to: off}}, on]\n        dark: [{{set: strap, to: on}}, off]\n"
    );
    let read = lab_file::parse("boards.yaml", &text, &|_| None);
    let lab = read.inventory.unwrap_or_else(|| panic!("{}", lab_file::render(&read.problems)));
    let (board, power) = (lab.board("soc-a-001").expect("a board"), Power::new(Clock::system()));
    let through = async |name: &str| {
        let done = power.act(&Forever, board, &PowerAction::Sequence(name.into())).await;
        let done = done.map(|state| state.map_or("unknown", |state| state.as_str()).to_owned());
        (done.unwrap_or_else(|error| error.to_string()), outlets.state(), broker.state())
    };
    let is = |outlet: &str, strap: &str| (outlet.to_owned(), outlet.to_owned(), strap.to_owned());
    assert_eq!(through("recovery").await, is("on", "on"));
    assert_eq!(through("normal").await, is("on", "off"));
    assert_eq!(through("dark").await, is("off", "on"));
    power.relays_to_rest(&Forever, board).await.expect("at rest");
    assert_eq!(broker.state(), "off");
    drop(broker);
    let told =
        power.act(&Forever, board, &PowerAction::Sequence("normal".into())).await.expect_err("no broker");
    let told = told.to_string();
    let expect = "the sequence normal stopped half done, at step 2 of 3 (set strap to off): the PDU of relay strap of soc-a-001 did not do as \
                  it was told: ";
    assert!(told.starts_with(expect), "{told}");
    assert_eq!(outlets.state(), "off");
}
