//! Power switches as real programs: net-snmp's agent, pdudaemon, OpenIPMI's simulator, a broker, telnet servers; and
//! stand-ins that answer as the devices' documents say where no program exists (`tests/rigs/`). Each case goes from the
//! text of a lab file to a switched outlet.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use boardhand::board::plan::PowerAction;
use boardhand::board::power::snmp_presets::SNMP_PRESETS;
use boardhand::board::{Board, lab_file};
use boardhand::clock::Clock;
use boardhand::power::{Outlet, Power, PowerError};

use crate::console_real::rig::{Forever, Rig, free_port, need};

/// A board whose `power:` says this.
pub(crate) fn board(host: &str, outlet: &str, power: &str) -> Board {
    let text = format!(
        "boards: [{{board_id: soc-a-001, soc_family: socA, board_ip: 10.0.0.1, lab_location: L, \
         power: {{host: \"{host}\", outlet: \"{outlet}\", off_for: 1ms, {power}}}}}]\n"
    );
    let read = lab_file::parse("boards.yaml", &text, &|_| None);
    let lab = read.inventory.unwrap_or_else(|| panic!("{}", lab_file::render(&read.problems)));
    lab.board("soc-a-001").expect("the board").clone()
}

/// Does one action, and gives what a person is told when it fails.
pub(crate) async fn act(board: &Board, action: PowerAction) -> Result<Option<Outlet>, String> {
    let power = Power::new(Clock::system());
    power.act(&Forever, board, &action).await.map_err(|error: PowerError| error.to_string())
}

/// Off, on, cycle, and what the switch shows in between.
async fn obeys(name: &str, board: &Board) {
    use PowerAction::{Cycle, Off, On, Status};
    let steps = [
        (Off, Outlet::Off),
        (Status, Outlet::Off),
        (On, Outlet::On),
        (Status, Outlet::On),
        (On, Outlet::On),
        (Cycle, Outlet::On),
    ];
    for (action, expect) in steps {
        assert_eq!(act(board, action.clone()).await, Ok(Some(expect)), "{name}: {action:?}");
    }
}

impl Rig {
    /// net-snmp's agent with one outlet, whose objects are the lines of `table`, or with the outlets that
    /// it names; its address and its process.
    pub(crate) fn snmpd(&self, table: &str) -> (String, u32) {
        need("snmpd", "snmpd");
        need("python3", "python3");
        let port = free_port();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rigs/outlets.py");
        let [state, objects, conf] = ["state", "objects", "snmpd.conf"].map(|name| self.path(name));
        fs::write(&state, "on").expect("a file");
        fs::write(&objects, table).expect("a file");
        let pass =
            |root: &str| format!("pass_persist {root} {script} {} {}\n", state.display(), objects.display());
        let text = format!(
            "agentaddress udp:127.0.0.1:{port}\nrocommunity reader 127.0.0.1\nrwcommunity writer 127.0.0.1\n\
             createUser shaaes SHA authpass123 AES privpass123\nrwuser shaaes priv\n\
             createUser md5des MD5 authpass123 DES privpass123\nrwuser md5des priv\n\
             createUser sha512 SHA-512 authpass123\nrwuser sha512 auth\n{}{}",
            pass(".1.3.6.1.4.1"),
            pass(".1.3.6.1.2.1.105")
        );
        fs::write(&conf, text).expect("a file");
        let id = self.start(
            Command::new("snmpd")
                .env("SNMP_PERSISTENT_DIR", self.path("snmp"))
                .env("MIBS", "")
                .args(["-f", "-Lo", "-C", "-c"])
                .arg(&conf)
                .arg("-p")
                .arg(self.path("snmpd.pid")),
        );
        self.wait_for_udp(port);
        (format!("127.0.0.1:{port}"), id)
    }

    /// Waits until something listens on a UDP port, by asking the kernel.
    fn wait_for_udp(&self, port: u16) {
        let socket = format!("0100007F:{port:04X} 00000000:0000 07");
        self.wait_until(|| fs::read_to_string("/proc/net/udp").is_ok_and(|table| table.contains(&socket)));
    }

    pub(crate) fn state(&self) -> String {
        fs::read_to_string(self.path("state")).expect("a state").trim().to_owned()
    }
}

/// The outlet 3 of an APC rack PDU, written down from PowerNet-MIB by hand.
pub(crate) const RPDU: &str =
    "command .1.3.6.1.4.1.318.1.1.12.3.3.1.1.4.3 1 2\nstate .1.3.6.1.4.1.318.1.1.12.3.5.1.1.4.3 1 2\n";
/// The same of the next generation, whose state counts the other way round.
const RPDU2: &str =
    "write-on .1.3.6.1.4.1.318.1.1.26.9.2.4.1.5.3 1\nstate .1.3.6.1.4.1.318.1.1.26.9.2.3.1.5.3 2 1\n";

#[tokio::test]
async fn snmp_of_every_version_switches_and_reads_back() {
    let rig = Rig::new();
    let (agent, _) = rig.snmpd(RPDU);
    let users = [
        "version: \"1\", community: writer",
        "community: writer",
        "version: 3, username: shaaes, auth: sha, auth_password: authpass123, privacy: aes, privacy_password: privpass123",
        "version: 3, username: md5des, auth: md5, auth_password: authpass123, privacy: des, privacy_password: privpass123",
        "version: 3, username: sha512, auth: sha512, auth_password: authpass123",
    ];
    for user in users {
        obeys(user, &board(&agent, "3", &format!("driver: snmp, preset: apc-rpdu, {user}"))).await;
        assert_eq!(rig.state(), "on");
    }
}

#[tokio::test]
async fn every_snmp_preset_switches_an_agent_that_has_its_objects() {
    let mut table = String::new();
    for row in &SNMP_PRESETS {
        let object = |oid: &str| oid.replace("{{ outlet }}", &format!("{}3", row.unit));
        let ((on, a), (off, b), (read, ons, offs)) = (row.on, row.off, row.read);
        if on == off {
            table += &format!("command {} {a} {b}\n", object(on));
        } else {
            table += &format!("write-on {} {a}\nwrite-off {} {b}\n", object(on), object(off));
        }
        if read != on {
            table += &format!("state {} {} {}\n", object(read), ons[0], offs[0]);
        }
    }
    let rig = Rig::new();
    let (agent, _) = rig.snmpd(&table);
    for row in &SNMP_PRESETS {
        let power = format!("driver: snmp, preset: {}, community: writer", row.name);
        obeys(row.name, &board(&agent, "3", &power)).await;
    }
}

#[tokio::test]
async fn objects_of_ones_own_are_set_and_read() {
    let rig = Rig::new();
    let (agent, _) = rig.snmpd(&format!("{RPDU}write-on .1.3.6.1.4.1.9.1 0\nwrite-off .1.3.6.1.4.1.9.2 5\n"));
    let oid = "oid: '.1.3.6.1.4.1.318.1.1.12.3.3.1.1.4.{{ outlet }}', on: 1, off: 2";
    obeys("oid", &board(&agent, "3", &format!("driver: snmp, community: writer, {oid}"))).await;
    let each = "on: {oid: .1.3.6.1.4.1.9.1, value: 0}, off: {oid: .1.3.6.1.4.1.9.2, value: 5}";
    let read = "read: {oid: '.1.3.6.1.4.1.318.1.1.12.3.5.1.1.4.{{ outlet }}', on: 1, off: [2, 4]}";
    obeys("each", &board(&agent, "3", &format!("driver: snmp, community: writer, {each}, {read}"))).await;
    let blind = board(&agent, "3", &format!("driver: snmp, community: writer, {each}"));
    assert_eq!(act(&blind, PowerAction::Off).await, Ok(None));
    assert_eq!(rig.state(), "off");
    let told = act(&blind, PowerAction::Status).await;
    assert_eq!(told, Err("the power switch of soc-a-001 cannot be read".into()));
}

#[tokio::test]
async fn what_snmp_refuses_is_told_as_what_it_may_be() {
    let rig = Rig::new();
    let (agent, _) = rig.snmpd(&format!("{RPDU}{RPDU2}"));
    let check = async |outlet: &str, power: &str, action: PowerAction, expect: &str| {
        let told = act(&board(&agent, outlet, &format!("driver: snmp, {power}")), action).await;
        let before = "the PDU of soc-a-001 did not do as it was told: ";
        assert_eq!(told, Err(format!("{before}{expect}")), "{power}");
    };
    use PowerAction::{Off, Status};
    let set = ".1.3.6.1.4.1.318.1.1.12.3.3.1.1.4";
    check(
        "3",
        "preset: apc-rpdu, community: reader",
        Off,
        &format!(
            "it refused the SET of {set}.3 (noAccess): who asks may only read, or it has no such outlet"
        ),
    )
    .await;
    check(
        "3",
        "preset: apc-rpdu, community: reader, version: \"1\"",
        Off,
        &format!(
            "it refused the SET of {set}.3 (noSuchName): it has no such outlet, or this community may only read"
        ),
    )
    .await;
    check(
        "3",
        "preset: apc-rpdu, community: nobody, within: 300ms",
        Off,
        "no answer in 300ms: it cannot be reached, or it does not know this community",
    )
    .await;
    check(
        "99",
        "preset: apc-rpdu, community: writer",
        Off,
        &format!(
            "it refused the SET of {set}.99 (notWritable): who asks may only read, or it has no such outlet"
        ),
    )
    .await;
    check(
        "99",
        "preset: apc-rpdu, community: writer",
        Status,
        "it has no outlet object .1.3.6.1.4.1.318.1.1.12.3.5.1.1.4.99: another preset, or another outlet?",
    )
    .await;
    check(
        "3",
        "preset: apc-rpdu2, community: writer",
        Off,
        "it refused the SET of .1.3.6.1.4.1.318.1.1.26.9.2.4.1.5.3 (wrongValue): it does not take this value: \
         another preset?",
    )
    .await;
    for user in [
        "username: shaaes, auth: sha, auth_password: wrong-password, privacy: aes, privacy_password: privpass123",
        "username: nobody, auth: sha, auth_password: authpass123",
        "username: shaaes, auth: sha, auth_password: authpass123, privacy: aes, privacy_password: wrong-password",
    ] {
        let power = format!("driver: snmp, preset: apc-rpdu, version: 3, within: 1s, {user}");
        let told = act(&board(&agent, "3", &power), Off).await.expect_err("refused");
        // An agent that cannot decrypt says nothing.
        let silent = told.ends_with("or the privacy password is wrong");
        assert!(told.contains("user name or passwords may be wrong") || silent, "{user}: {told}");
        assert_eq!(silent, user.ends_with("wrong-password"), "{user}: {told}");
    }
    assert_eq!(rig.state(), "on");
}

#[tokio::test]
async fn an_outlet_that_stays_as_it_is_is_told_as_that() {
    let rig = Rig::new();
    let (agent, _) = rig.snmpd("stuck .1.3.6.1.4.1.318.1.1.4.4.2.1.3.3 1 2\n");
    let board = board(&agent, "3", "driver: snmp, preset: apc-masterswitch, community: writer");
    let told = act(&board, PowerAction::Off).await;
    assert_eq!(told, Err("the outlet of soc-a-001 stays on after it was switched off".into()));
}

impl Rig {
    /// The stand-in for switches with an HTTP interface; with a certificate that nobody trusts where `tls`.
    fn web_switch(&self, tls: bool) -> String {
        need("python3", "python3");
        let port = free_port();
        fs::write(self.path("state"), "on").expect("a file");
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rigs/web_switch.py"));
        command.arg(port.to_string()).arg(self.path("state")).arg(self.path("requests"));
        if tls {
            let (certificate, key) = self.certificate();
            command.arg(certificate).arg(key);
        }
        self.start(&mut command);
        self.wait_for(port);
        format!("{}:{port}", if tls { "localhost" } else { "127.0.0.1" })
    }

    /// A certificate for `localhost` that nobody trusts, and its key.
    pub(crate) fn certificate(&self) -> (PathBuf, PathBuf) {
        need("openssl", "openssl");
        let [certificate, key] = ["certificate", "key"].map(|name| self.path(name));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
            .args(["-subj", "/CN=localhost", "-days", "2", "-addext", "subjectAltName=DNS:localhost"])
            .arg("-out")
            .arg(&certificate)
            .arg("-keyout")
            .arg(&key)
            .output()
            .expect("openssl");
        assert!(made.status.success(), "{made:?}");
        (certificate, key)
    }

    /// How many requests the stand-in let in.
    fn requests(&self) -> usize {
        fs::read_to_string(self.path("requests")).unwrap_or_default().lines().count()
    }
}

const LOGIN: &str = "username: admin, password: pass word";

#[tokio::test]
async fn every_http_preset_switches_what_answers_as_its_documents_say() {
    let rig = Rig::new();
    let switch = rig.web_switch(false);
    let cases = [
        ("shelly1", "0", LOGIN),
        ("shelly2", "0", "password: pass word"),
        ("tasmota", "1", LOGIN),
        ("netio", "1", LOGIN),
        ("dli", "0", LOGIN),
        ("home-assistant", "switch.a", "token: a-token"),
        ("esphome", "a", LOGIN),
        ("gude", "1", LOGIN),
    ];
    let named: Vec<&str> =
        boardhand::board::power::http_presets::HTTP_PRESETS.iter().map(|row| row.name).collect();
    assert_eq!(cases.map(|(name, _, _)| name).as_slice(), named);
    for (name, outlet, login) in cases {
        obeys(name, &board(&switch, outlet, &format!("driver: http, preset: {name}, {login}"))).await;
        assert_eq!(rig.state(), "on", "{name}");
    }
}

#[tokio::test]
async fn a_wrong_password_or_outlet_is_told_at_once_and_never_shown() {
    let rig = Rig::new();
    let switch = rig.web_switch(false);
    let cases = [
        (
            "shelly1",
            "0",
            "username: admin, password: wr0ng",
            "it refused who asks (401): user name, password or token?",
        ),
        ("shelly2", "0", "password: wr0ng", "it refused who asks (401): user name, password or token?"),
        ("shelly2", "1", "password: pass word", "its answer is not what a switched outlet says"),
        ("shelly1", "7", LOGIN, "it knows no such address (404): another preset, or another outlet?"),
        ("tasmota", "1", "password: wr0ng", "its answer is not what a switched outlet says"),
        (
            "home-assistant",
            "switch.a",
            "token: wr0ng",
            "it refused who asks (401): user name, password or token?",
        ),
        // Home Assistant says 200 to a switch that it does not know; its state says more.
        (
            "home-assistant",
            "switch.b",
            "token: a-token",
            "it knows no such address (404): another preset, or another outlet?",
        ),
        (
            "netio",
            "1",
            "auth: digest, username: admin, password: wr0ng",
            "it does not offer digest; does it want `auth: basic`?",
        ),
    ];
    for (name, outlet, login, expect) in cases {
        let board = board(&switch, outlet, &format!("driver: http, preset: {name}, {login}"));
        let told = act(&board, PowerAction::Off).await.expect_err("refused");
        assert_eq!(told, format!("the PDU of soc-a-001 did not do as it was told: {expect}"), "{name}");
    }
    assert_eq!((rig.state().as_str(), rig.requests()), ("on", 0));
}

#[tokio::test]
async fn requests_of_ones_own_switch_and_are_read_by_pointer_or_pattern() {
    let rig = Rig::new();
    let switch = rig.web_switch(false);
    let on_off = "on: 'http://{{ host }}/relay/{{ outlet }}?turn=on', \
                  off: {url: 'http://{{ host }}/relay/0?turn=off', expect: '\"ison\": *false', headers: {X-Why: '{{ board }}'}}";
    for place in ["pointer: /ison", "pattern: '\"ison\": *(\\w+)'", "pattern: 'ison\": t', on: 'ison\": t'"] {
        let status = format!("status: {{url: 'http://{{{{ host }}}}/relay/0', {place}}}");
        let power = format!("driver: http, {on_off}, {status}, {LOGIN}");
        if place.contains("on:") {
            assert_eq!(act(&board(&switch, "0", &power), PowerAction::Status).await, Ok(Some(Outlet::On)));
        } else {
            obeys(place, &board(&switch, "0", &power)).await;
        }
    }
    let blind = board(&switch, "0", &format!("driver: http, {on_off}, {LOGIN}"));
    assert_eq!(act(&blind, PowerAction::Off).await, Ok(None));
    assert_eq!(rig.state(), "off");
}

#[tokio::test]
async fn a_certificate_is_checked_unless_the_lab_file_says_otherwise() {
    let rig = Rig::new();
    let switch = rig.web_switch(true);
    let power =
        |more: &str| board(&switch, "0", &format!("driver: http, preset: shelly1, tls: true, {LOGIN}{more}"));
    let told = act(&power(""), PowerAction::Off).await.expect_err("refused");
    assert!(told.contains("did not do as it was told: its certificate is not one"), "{told}");
    assert_eq!(rig.requests(), 0);
    obeys("insecure", &power(", insecure: true")).await;
    obeys("redfish", &board(&switch, "1", &format!("driver: redfish, {LOGIN}, insecure: true"))).await;
}

#[tokio::test]
async fn redfish_is_read_until_the_slow_controller_agrees() {
    let rig = Rig::new();
    let controller = rig.web_switch(false);
    obeys("named", &board(&controller, "1", &format!("driver: redfish, tls: false, {LOGIN}"))).await;
    let other = board(&controller, "2", &format!("driver: redfish, tls: false, {LOGIN}"));
    assert!(act(&other, PowerAction::Off).await.is_err_and(|told| told.contains("404")));
    let wrong = board(&controller, "1", "driver: redfish, tls: false, username: admin, password: wr0ng");
    let told = act(&wrong, PowerAction::Off).await.expect_err("refused");
    assert!(told.ends_with("it refused who asks (401): user name, password or token?"), "{told}");
}

impl Rig {
    fn pdudaemon(&self) -> String {
        need("pdudaemon", "pdudaemon");
        let port = free_port();
        let state = self.path("state").display().to_string();
        fs::write(self.path("state"), "on").expect("a file");
        let config = format!(
            r#"{{"daemon": {{"hostname": "127.0.0.1", "port": {port}, "logging_level": "INFO", "listener": "http"}},
                "pdus": {{"pdu-a": {{"driver": "localcmdline",
                    "cmd_on": "sh -c 'echo on > {state}' # %s", "cmd_off": "sh -c 'echo off > {state}' # %s"}}}}}}"#
        );
        fs::write(self.path("pdudaemon.conf"), config).expect("a file");
        let conf = format!("--conf={}", self.path("pdudaemon.conf").display());
        self.start(Command::new("pdudaemon").arg(conf).current_dir(self.path("")));
        self.wait_for(port);
        format!("http://127.0.0.1:{port}")
    }
}

#[tokio::test]
async fn pdudaemon_takes_requests_and_tells_no_state() {
    let rig = Rig::new();
    let url = rig.pdudaemon();
    let switch = board("pdu-a", "3", &format!("driver: pdudaemon, url: '{url}'"));
    for (action, expect) in [(PowerAction::Off, "off"), (PowerAction::On, "on"), (PowerAction::Off, "off")] {
        assert_eq!(act(&switch, action).await, Ok(None));
        // Its 200 says that the request was taken; the outlet follows.
        rig.wait_until(|| rig.state() == expect);
    }
    let told = act(&switch, PowerAction::Status).await;
    assert_eq!(told, Err("the power switch of soc-a-001 cannot be read".into()));
    let unknown = board("pdu-b", "3", &format!("driver: pdudaemon, url: '{url}'"));
    let told = act(&unknown, PowerAction::Off).await.expect_err("refused");
    assert!(told.contains("pdudaemon refused (500): is pdu_host one of its `pdus`"), "{told}");
}

impl Rig {
    fn ipmi_sim(&self) -> String {
        need("ipmi_sim", "openipmi");
        need("ipmitool", "ipmitool");
        let port = free_port();
        fs::write(self.path("state"), "on").expect("a file");
        let state = self.path("state").display().to_string();
        let chassis = self.script(
            "chassis",
            &format!(
                "shift; verb=$1; shift\nif [ $verb = get ]; then for key; do case $key in\n\
                 power) echo power:$(grep -c on {state});;\nboot) echo boot:default;;\n*) echo $key:0;; esac; done; fi\n\
                 if [ $verb = set ] && [ $1 = power ]; then if [ $2 = 1 ]; then echo on; else echo off; fi > {state}; fi\n\
                 exit 0"
            ),
        );
        let auths = ["callback", "user", "operator", "admin"]
            .map(|level| format!("    allowed_auths_{level} none md2 md5 straight\n"))
            .concat();
        let lan = format!(
            "name \"board\"\nset_working_mc 0x20\n  startlan 1\n    addr 127.0.0.1 {port}\n    priv_limit admin\n{auths}    \
             guid a123456789abcdefa123456789abcdef\n  endlan\n  chassis_control \"{} 0x20\"\n  \
             user 1 true \"\" \"none\" user 10 none md2 md5 straight\n  \
             user 2 true \"admin\" \"s3cret\" admin 10 none md2 md5 straight\n",
            chassis.display()
        );
        let commands = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\n\
                        sel_enable 0x20 1000 0x0a\nmc_enable 0x20\n";
        let [conf, script, folder] = ["lan.conf", "commands", "ipmi"].map(|name| self.path(name));
        fs::write(&conf, lan).expect("a file");
        fs::write(&script, commands).expect("a file");
        fs::create_dir(&folder).expect("a folder");
        let mut command = Command::new("ipmi_sim");
        self.start(command.arg("-c").arg(conf).arg("-f").arg(script).arg("-s").arg(folder).arg("-n"));
        self.wait_for_udp(port);
        format!("127.0.0.1:{port}")
    }
}

#[tokio::test]
async fn ipmi_switches_a_chassis_and_reads_it_back() {
    let rig = Rig::new();
    let controller = rig.ipmi_sim();
    let login = "username: admin, password: s3cret";
    for interface in ["lan", "lanplus"] {
        let power = format!("driver: ipmi, interface: {interface}, {login}");
        obeys(interface, &board(&controller, "1", &power)).await;
    }
    let wrong = board(&controller, "1", "driver: ipmi, username: admin, password: wr0ng");
    let told = act(&wrong, PowerAction::Off).await.expect_err("refused");
    assert!(told.contains("refused who asks") && !told.contains("wr0ng"), "{told}");
    assert_eq!(rig.state(), "on");
}

impl Rig {
    /// busybox telnetd in front of one of this folder's stand-ins.
    fn telnet_pdu(&self, stand_in: &str) -> String {
        need("busybox", "busybox-static");
        let port = free_port();
        fs::write(self.path("state"), "on\n").expect("a file");
        let stand_in = format!("{}/tests/rigs/{stand_in}", env!("CARGO_MANIFEST_DIR"));
        let program = self.script("pdu", &format!("exec {stand_in} {}", self.path("state").display()));
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new("busybox");
        self.start(command.args(["telnetd", "-F", "-b", &address, "-l"]).arg(program));
        self.wait_for(port);
        address
    }
}

#[tokio::test]
async fn a_command_line_behind_telnet_is_driven_by_its_preset() {
    let rig = Rig::new();
    let pdu = rig.telnet_pdu("apc_cli.sh");
    let login = "username: apc, password: apc pass";
    obeys("apc-cli", &board(&pdu, "3", &format!("driver: telnet, preset: apc-cli, {login}"))).await;
    let check = async |outlet: &str, login: &str, expect: &str| {
        let power = format!("driver: telnet, preset: apc-cli, within: 2s, {login}");
        let told = act(&board(&pdu, outlet, &power), PowerAction::Off).await.expect_err("refused");
        assert_eq!(told, format!("the PDU of soc-a-001 did not do as it was told: {expect}"));
    };
    check("4", login, "no answer in 2s while waiting for \"E000\", step 2 of off").await;
    let wrong = "no answer in 2s while waiting for \"(?m)^apc>\", step 1 of off: user name or password?";
    check("3", "username: apc, password: wr0ng", wrong).await;
    assert_eq!(rig.state(), "on");
}

#[tokio::test]
async fn a_menu_behind_telnet_is_driven_by_its_preset_and_by_steps_of_ones_own() {
    let rig = Rig::new();
    let pdu = rig.telnet_pdu("apc_menu.sh");
    let login = "username: apc, password: apc pass";
    let menu = board(&pdu, "3", &format!("driver: telnet, preset: apc-menu, {login}"));
    for (action, expect) in [(PowerAction::Off, "off"), (PowerAction::On, "on")] {
        assert_eq!(act(&menu, action).await, Ok(None));
        rig.wait_until(|| rig.state() == expect);
    }
    let rig = Rig::new();
    let pdu = rig.telnet_pdu("apc_cli.sh");
    let steps = "login: [{expect: 'Name :', send: '{{ username }}'}, {expect: 'Password', send: '{{ password }}'}], \
                 on: [{expect: 'apc>', send: 'olOn {{ outlet }}'}, {expect: E000}], \
                 off: [{expect: 'apc>', send: 'olOff {{ outlet }}'}, {expect: E000}], \
                 status: [{expect: 'apc>', send: 'olStatus {{ outlet }}'}, {expect: 'Outlet {{ outlet }}: (\\w+)'}]";
    obeys("steps", &board(&pdu, "3", &format!("driver: telnet, {login}, {steps}"))).await;
}

impl Rig {
    /// A broker with a relay board of so many relays behind it.
    pub(crate) fn mosquitto(&self, relays: u32, login: Option<(&str, &str)>) -> u16 {
        need("mosquitto", "mosquitto");
        need("mosquitto_sub", "mosquitto-clients");
        let port = free_port();
        fs::write(self.path("state"), "on\n").expect("a file");
        let mut conf = format!("listener {port} 127.0.0.1\npersistence false\nuser root\n");
        if let Some((username, password)) = login {
            let file = self.path("passwords");
            let mut made = Command::new("mosquitto_passwd");
            let made =
                made.args(["-b", "-c"]).arg(&file).args([username, password]).output().expect("a password");
            assert!(made.status.success(), "{made:?}");
            conf += &format!("password_file {}\n", file.display());
        } else {
            conf += "allow_anonymous true\n";
        }
        fs::write(self.path("mosquitto.conf"), conf).expect("a file");
        self.start(Command::new("mosquitto").arg("-c").arg(self.path("mosquitto.conf")));
        self.wait_for(port);
        let mut relay = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rigs/mqtt_relay.sh"));
        relay.arg(port.to_string()).arg(self.path("state")).arg(relays.to_string());
        if let Some((username, password)) = login {
            relay.args([username, password]);
        }
        self.start(&mut relay);
        port
    }
}

/// A relay listens a moment after its broker does; until then nobody tells a state.
pub(crate) async fn listens(broker: &str, power: &str) {
    let relay = board(broker, "1", &format!("{power}, within: 500ms"));
    for _ in 0..40 {
        if act(&relay, PowerAction::Status).await.is_ok() {
            return;
        }
    }
    panic!("the relay does not listen: {:?}", act(&relay, PowerAction::Status).await);
}

#[tokio::test]
async fn a_relay_behind_a_broker_is_switched_and_read_back() {
    let (open, closed) = (Rig::new(), Rig::new());
    let broker = format!("127.0.0.1:{}", open.mosquitto(4, None));
    let power = "driver: mqtt, preset: tasmota, topic: plug";
    let relay = board(&broker, "1", power);
    listens(&broker, power).await;
    obeys("preset", &relay).await;
    let own = "driver: mqtt, on: {topic: cmnd/plug/POWER1, payload: 'ON'}, off: {topic: cmnd/plug/POWER1, payload: 'OFF'}, \
               status: {topic: stat/plug/RESULT, ask: {topic: cmnd/plug/POWER1}, pattern: 'POWER1\":\"(\\w+)'}";
    obeys("own", &board(&broker, "1", own)).await;
    let told = "status: {topic: stat/plug/POWER1, ask: {topic: cmnd/plug/POWER1}}";
    let (on_off, _) = own.split_once("status").expect("a status");
    obeys("its own topic", &board(&broker, "1", &format!("{on_off}{told}"))).await;
    let there = "status: {topic: tele/plug/LWT, pattern: '(.*)', on: Online, off: Offline}";
    let there = board(&broker, "1", &format!("{on_off}{there}"));
    assert_eq!(
        act(&there, PowerAction::Status).await,
        Ok(Some(Outlet::On)),
        "retained, told without a question"
    );
    let fifth = board(&broker, "5", &format!("{power}, within: 300ms"));
    let told = act(&fifth, PowerAction::Off).await.expect_err("four relays");
    assert!(told.contains("the switch told no state"), "{told}");
    let nobody = board(&broker, "1", "driver: mqtt, preset: tasmota, topic: plugg, within: 300ms");
    let told = act(&nobody, PowerAction::Off).await.expect_err("nobody there");
    assert!(told.ends_with("the switch told no state: no answer in 300ms; is `topic` right?"), "{told}");

    let broker = format!("127.0.0.1:{}", closed.mosquitto(1, Some(("lab", "pass word"))));
    let power_with = format!("{power}, username: lab, password: pass word");
    listens(&broker, &power_with).await;
    obeys("with a password", &board(&broker, "1", &power_with)).await;
    let wrong = board(&broker, "1", &format!("{power}, username: lab, password: wr0ng"));
    let told = act(&wrong, PowerAction::Off).await.expect_err("refused");
    assert!(told.ends_with("its broker refused who asks: user name or password?"), "{told}");
}
