//! boards.yaml files for tests: small labs whose plans take moments.

/// `n` boards of socA with switches, plan `linux-smoke` as in the example file, and socB without a switch.
pub(crate) fn small(n: usize) -> String {
    let mut text = String::from("boards:\n");
    for i in 1..=n {
        text.push_str(&format!(
            "  - {{board_id: soc-a-{i:03}, soc_family: socA, soc_revision: rev2, board_ip: 10.0.0.{i}, telnet_port: 23,\n     \
             pdu_host: pdu-a, pdu_outlet: {i}, lab_location: Lab Site A, telnet_username: root, telnet_password: root}}\n"
        ));
    }
    text.push_str(
        "  - {board_id: soc-b-001, soc_family: socB, board_ip: 10.0.1.1, lab_location: Lab Site B,\n     \
         telnet_username: root, telnet_password: root}\n",
    );
    text.push_str(FAMILIES);
    text
}

pub(crate) const FAMILIES: &str = r#"
families:
  socA:
    artifacts: {test.bin: 'http://ci.lab.local/{{ build.id }}/test.bin'}
    power: {driver: simulated, off_for: 50ms, rest: off}
    default_suite: smoke
    suites: {smoke: linux-smoke, trivial: trivial}
  socB: {}
plans:
  trivial:
    limits: {total: 20s, no_output: 5s}
    test:
      - {name: uname, run: 'uname -a', within: 5s}
  linux-smoke:
    limits: {total: 60s, no_output: 2s}
    retry: {infra: 2, other_board: true}
    params: {iterations: {type: integer, default: 1, max: 100}}
    boot:
      - power: cycle
      - login: {within: 20s}
    deploy:
      - {run: 'wget -q -O /tmp/t {{ build.artifacts["test.bin"].url }} && chmod +x /tmp/t', within: 5s}
    test:
      - {name: unit, run: '/tmp/t --iterations {{ params.iterations }}', parse: ktap, within: 45s}
    finally:
      - power: off
"#;

/// A family for each of these: its name, how many boards it has (each at the family's own PDU), and its plan.
pub(crate) fn families(of: &[(&str, usize, &str)]) -> String {
    let mut text = String::from("boards:\n");
    for (n, (family, boards, _)) in of.iter().enumerate() {
        for i in 1..=*boards {
            text.push_str(&format!(
                "  - {{board_id: {family}-{i}, soc_family: {family}, board_ip: 10.0.{n}.{i}, pdu_host: pdu-{family}, \
                 pdu_outlet: {i},\n     lab_location: Lab, telnet_username: root, telnet_password: root}}\n"
            ));
        }
    }
    text.push_str("families:\n");
    for (family, _, plan) in of {
        text.push_str(&format!(
            "  {family}:\n    artifacts: {{test.bin: 'http://ci.lab.local/{{{{ build.id }}}}/test.bin'}}\n    \
             power: {{driver: simulated, off_for: 50ms, rest: off}}\n    suites: {{smoke: {plan}}}\n"
        ));
    }
    text.push_str("plans:\n");
    let power = "{power: cycle}";
    let login = "{login: {within: 10s}}";
    let stop = "{interrupt: {expect: 'Hit any key', send: ' ', within: 10s}}";
    let netboot = "{command: {send: 'run netboot', at: bootloader}}";
    for (plan, more, boot, within) in [
        ("table", "retry: {infra: 2, other_board: true}", vec![power, login], "10s"),
        ("once", "retry: {infra: 0}", vec![power, login], "10s"),
        ("golden", "boots: golden", vec![power, login], "10s"),
        ("netboot", "retry: {infra: 0}", vec![power, stop, netboot, login], "10s"),
        ("impatient", "retry: {infra: 0}", vec![power, login], "1s"),
    ] {
        let iterations = if plan == "impatient" { "/tmp/t --iterations 900" } else { "/tmp/t" };
        text.push_str(&format!(
            "  {plan}:\n    limits: {{total: 60s, no_output: 2s}}\n    {more}\n    boot: [{}]\n    deploy:\n      - {{run: \
             'wget -q -O /tmp/t {{{{ build.artifacts[\"test.bin\"].url }}}} && chmod +x /tmp/t', within: 5s}}\n    test:\n      \
             - {{name: unit, run: '{iterations}', parse: ktap, within: {within}}}\n    finally: [{{power: off}}]\n",
            boot.join(", ")
        ));
    }
    // Plans whose board, or whose time, ends while evidence is gathered; the middle one only shows an old trace.
    for (plan, collect, total) in [
        ("late-panic", "echo c > /proc/sysrq-trigger", "60s"),
        ("old-trace", "echo Kernel panic - not syncing: of last week", "60s"),
        ("late-total", "sleep 9000", "4s"),
    ] {
        text.push_str(&format!(
            "  {plan}:\n    limits: {{total: {total}, no_output: 20s}}\n    retry: {{infra: 0}}\n    boot: [{power}, {login}]\n    \
             test: [{{run: uname}}]\n    collect: [{{run: '{collect}', within: 30s}}]\n    finally: [{{power: off}}]\n",
        ));
    }
    // A board as it is found, on or off.
    text.push_str(
        "  found:\n    limits: {total: 60s, no_output: 20s}\n    retry: {infra: 0}\n    boot: [{login: {within: 50s}}]\n    \
         test: [{run: uname}]\n",
    );
    // Plans whose first command must log in, and one that hangs on its way to the tests.
    for (plan, boot, deploy, test) in [
        ("loginless", power.to_owned(), "uname", "uname"),
        ("testonly", power.to_owned(), "", "uname"),
        ("slow-deploy", format!("{power}, {login}"), "sleep 9000", "uname"),
    ] {
        let step =
            |run: &str| if run.is_empty() { String::new() } else { format!("{{run: {run}, within: 1s}}") };
        text.push_str(&format!(
            "  {plan}:\n    limits: {{total: 60s, no_output: 20s}}\n    retry: {{infra: 0}}\n    boot: [{boot}]\n    \
             deploy: [{}]\n    test: [{}]\n    finally: [{{power: off}}]\n",
            step(deploy),
            step(test)
        ));
    }
    text
}

/// `n` boards of socA with an owner and a health plan on these terms, such as `every: 24h, quarantine_after: 2`.
pub(crate) fn checked(n: usize, terms: &str) -> String {
    let family = "  socA:\n";
    let health = format!("{family}    health: {{plan: bootcheck, {terms}}}\n");
    let plan = "plans:\n  bootcheck:\n    limits: {total: 30s, no_output: 2s}\n    boot: [{power: cycle}, {login: {within: 10s}}]\n    \
                finally: [{power: off}]\n";
    let owned = small(n).replace("pdu_host: pdu-a", "owner: 'slack:U0LEAD', pdu_host: pdu-a");
    owned.replacen(family, &health, 1).replacen("plans:\n", plan, 1)
        + "channels: {default: 'slack:C0SOCCI'}\n"
}
