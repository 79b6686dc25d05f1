//! `boardhand check --connect` as the real binary: against simulated boards in trouble beside a running server, and against
//! real telnet servers, a real serial-port server and a real SNMP agent with none.

use std::fmt::Write as _;
use std::path::Path;

use boardhand::door::control::LINE_BYTES_MAX;
use boardhand::sim::SimLab;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::Command;

use crate::console_real::rig::{Rig, free_port};
use crate::lab::{Lab, lab, steady, yaml};

/// The lab file of simulated boards at their real addresses, as another machine's would name them.
fn as_dialled(sims: &SimLab, password_of: impl Fn(&str) -> &'static str) -> String {
    let mut text = String::from("boards:\n");
    let pdu = sims.pdu("pdu-a").expect("a PDU").addr();
    for (n, (id, sim)) in sims.boards().enumerate().filter(|(_, (id, _))| id.as_str().starts_with("soc-a")) {
        let _ = writeln!(
            text,
            "  - {{board_id: {id}, soc_family: socA, board_ip: 127.0.0.1, telnet_port: {}, pdu_host: '{pdu}', \
             pdu_outlet: {}, lab_location: L,\n     telnet_username: root, telnet_password: {}}}",
            sim.addr().port(),
            n + 1,
            password_of(id.as_str()),
        );
    }
    text + "families: {socA: {power: {driver: simulated}}}\n"
}

/// What the check prints, and its exit status.
async fn check(folder: &Path, text: &str, data: &Path) -> (Option<i32>, String) {
    let file = folder.join("check.yaml");
    std::fs::write(&file, text).expect("a lab file");
    let is_there = data.is_dir();
    let out = Command::new(env!("CARGO_BIN_EXE_boardhand"))
        .args(["check", "--connect", "--boards"])
        .arg(&file)
        .arg("--data-dir")
        .arg(data)
        .env("USER", "tester")
        .output()
        .await
        .expect("the binary runs");
    assert_eq!(String::from_utf8_lossy(&out.stderr), "", "no progress where there is no terminal");
    let said = String::from_utf8_lossy(&out.stdout).replace(&format!("{}: ", file.display()), "");
    // How much room the disk of the tests has is another matter.
    let of_disk = format!("{}: ", data.display());
    let tells = said.lines().any(|line| line.starts_with(&of_disk) && line.contains(" GB free"));
    assert_eq!(tells, is_there, "{said}");
    let said: String =
        said.lines().filter(|line| !line.starts_with(&of_disk)).map(|line| format!("{line}\n")).collect();
    let ports = regex::Regex::new(r"127\.0\.0\.1:\d+").expect("a constant");
    let login = regex::Regex::new(r#"last: "\S+ login: ""#).expect("a constant");
    let said = ports.replace_all(&said, "lab:port");
    (out.status.code(), steady(&login.replace_all(&said, r#"last: "host login: ""#)))
}

async fn switched_on(lab: &Lab, board: &str) {
    lab.say("alice", &format!("/lab power {board} on")).await;
    lab.answers_until("alice", "was switched on").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_server_boards_are_borrowed_looked_at_and_those_in_use_left_alone() {
    lab(&yaml::small(6), async |lab| {
        let run = lab.run("alice", "/run-test socA build-crawl on=soc-a-005").await;
        lab.until_card(run, "Testing").await;
        for board in ["soc-a-001", "soc-a-002", "soc-a-004"] {
            switched_on(lab, board).await;
        }
        let sim = |board: &str| lab.boards.board(board).expect("a board");
        sim("soc-a-002").set_faults(|faults| faults.silent = true);
        sim("soc-a-003").set_faults(|faults| faults.refuse = true);
        let text = as_dialled(&lab.boards, |id| if id == "soc-a-004" { "wrong" } else { "root" });
        let (code, said) = check(lab.data.path(), &text, lab.data.path()).await;
        insta::assert_snapshot!(said, @r#"
            6 boards, 1 family, 1 plan: ok
            soc-a-001  ok     power on (N s); console lab:port logged in (N s)
            soc-a-002  WRONG  console lab:port: the console stayed silent for N s (N s): the port answers and the board does not: has it power, is the serial line in, is its speed right?; power on (N s)
            soc-a-003  WRONG  console lab:port refused the connection (N s): is the console server running, and is telnet_port its port?; power off (N s)
            soc-a-004  WRONG  console lab:port: login failed: the name or the password was refused, last: "host login: " (N s): set telnet_username and telnet_password to what the board takes; power on (N s)
            soc-a-005  -      not looked at: run #1 has it
            soc-a-006  ok     power off (N s); console lab:port answers (N s); off, so not logged in
            2 of 6 boards answer as they should, 3 do not, 1 not looked at
        "#);
        assert_eq!(code, Some(1));
        let leases =
            lab.rows("SELECT board FROM leases WHERE state IN ('active', 'finalizing', 'held')").await;
        assert_eq!(leases, ["soc-a-005"], "what was borrowed was given back");
        lab.say("alice", &format!("/lab cancel {run}")).await;
        lab.settle().await;
        for fault in ["soc-a-002", "soc-a-003"] {
            sim(fault).set_faults(|faults| (faults.silent, faults.refuse) = (false, false));
        }
        let (code, said) =
            check(lab.data.path(), &as_dialled(&lab.boards, |_| "root"), lab.data.path()).await;
        assert!(
            code == Some(0) && said.ends_with("6 of 6 boards answer as they should, 0 do not\n"),
            "{said}"
        );
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_real_consoles_and_a_real_agent_are_asked() {
    let rig = Rig::new();
    let [telnetd, other] = [0, 1].map(|_| rig.busybox_telnetd("/bin/login", true));
    let [serial, raw, no_device] = rig.ser2net();
    let (agent, _) = rig.snmpd("state .1.3.6.1.4.1.318.1.1.12.3.5.1.1.4.3 1 2\n");
    // Somebody is on the serial port already.
    let _held = tokio::net::TcpStream::connect(("127.0.0.1", serial)).await.expect("a console");
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let snmp =
        format!("power: {{driver: snmp, preset: apc-rpdu, host: '{agent}', outlet: '3', community: reader}}");
    let dead = format!(
        "power: {{driver: snmp, preset: apc-rpdu, host: '127.0.0.1:{}', outlet: '3', community: reader}}",
        free_port()
    );
    let lab = |password: &str| {
        let mut text = String::from("boards:\n");
        for (id, port, more) in [
            ("a-good", telnetd, format!("telnet_username: lab, telnet_password: lab, {snmp}")),
            ("b-password", other, format!("telnet_username: lab, telnet_password: {password}")),
            ("c-busy", serial, "telnet_username: x".to_owned()),
            ("d-raw", raw, "console: {type: tcp}".to_owned()),
            ("e-device", no_device, "telnet_username: x".to_owned()),
            ("f-refused", free_port(), "telnet_username: x".to_owned()),
            ("g-silent", silent.local_addr().expect("an address").port(), dead.clone()),
        ] {
            let _ = writeln!(
                text,
                "  - {{board_id: {id}, soc_family: s, board_ip: 127.0.0.1, telnet_port: {port}, lab_location: L, {more}}}"
            );
        }
        text
    };
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let (code, said) = check(folder.path(), &lab("wrong"), &data).await;
    insta::assert_snapshot!(said, @r#"
        7 boards, 1 family, 1 plan: ok
        a-good      ok     power on (N s); console lab:port logged in (N s)
        b-password  WRONG  console lab:port: login failed: the name or the password was refused, last: "host login: " (N s): set telnet_username and telnet_password to what the board takes; no power switch
        c-busy      WRONG  console lab:port: the console is busy: Port already in use (N s): end the other connection, or let the console server take more than one; no power switch
        d-raw       ok     no power switch; console lab:port logged in (N s)
        e-device    WRONG  console lab:port: the console is busy: Device open failure: Value or file not found (N s): the console server cannot open its device: is the cable in, and does its file name the device?; no power switch
        f-refused   WRONG  console lab:port refused the connection (N s): is the console server running, and is telnet_port its port?; no power switch
        g-silent    WRONG  power: cannot be read: nothing listens on its SNMP port (N s): check pdu_host, pdu_outlet and the driver's credentials; docs/power.md; console lab:port: the console stayed silent for N s (N s): the port answers and the board does not: has it power, is the serial line in, is its speed right?
        2 of 7 boards answer as they should, 5 do not
    "#);
    assert_eq!(code, Some(1));
    let leases = crate::lab::look::rows(&data, "SELECT state FROM leases GROUP BY state").await;
    assert_eq!(leases, ["released"]);
}

/// Asks the control socket one line; gives the connection and the answer.
async fn ask(lab: &Lab, line: &str) -> (UnixStream, String) {
    let mut stream = UnixStream::connect(lab.data.path().join("control.sock")).await.expect("a socket");
    stream.write_all(line.as_bytes()).await.expect("asked");
    let mut answer = String::new();
    BufReader::new(&mut stream).read_line(&mut answer).await.expect("answered");
    (stream, answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_borrowed_board_is_given_back_when_the_one_who_looks_is_gone() {
    lab(&yaml::small(1), async |lab| {
        let lease = "{\"ask\":\"lease\",\"board\":\"soc-a-001\",\"by\":\"tester\\u001b[2J\"}\n";
        let (held, answer) = ask(lab, lease).await;
        assert!(answer.starts_with("{\"answer\":\"leased\""), "{answer}");
        let (_, second) = ask(lab, lease).await;
        assert!(second.starts_with("{\"answer\":\"held\""), "{second}");
        let run = lab.run("alice", "/run-test socA build-1").await;
        lab.until_card(run, "boardhand check (tester[2J)").await;
        drop(held);
        assert!(lab.verdict(run).await.starts_with("passed"));
        for (line, says) in [
            ("{\"ask\":\"lease\",\"board\":\"nowhere\",\"by\":\"x\"}\n", "knows no board nowhere"),
            ("nonsense\n", "not understood"),
            (&format!("{}\n", "x".repeat(LINE_BYTES_MAX as usize + 1)), "not understood"),
        ] {
            let (_, answer) = ask(lab, line).await;
            assert!(answer.starts_with("{\"answer\":\"failed\"") && answer.contains(says), "{answer}");
        }
        let mode = std::fs::metadata(lab.data.path().join("control.sock")).expect("a socket").permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
