//! A board behind a management controller: sushy-tools, whose states follow 1 to 11 seconds after it was told, over
//! HTTPS and with a password.

use std::fs;
use std::process::Command;

use crate::console_real::rig::{Rig, free_port, from_pypi};
use crate::lab::real_lab;

use super::shows;

/// What is installed, from PyPI.
const EMULATOR: &str = "sushy-tools==2.2.0";
/// Which system is which; the emulator wants them to be UUIDs.
const SYSTEM: &str = "00000000-0000-4000-8000-00000000000";
/// User admin, password `pass word`, as `htpasswd -B` writes it.
const PASSWORD: &str = "admin:$2b$04$JlrWD7V4OPi/Z9MRhz8QOO5fg0zSwrKBVZyAAdP7XXmo1MIg6RPPG\n";

impl Rig {
    /// The controller of two boards; gives its port.
    fn redfish(&self) -> u16 {
        let (port, config) = (free_port(), self.path("sushy.conf"));
        let (certificate, key) = self.certificate();
        fs::write(self.path("passwords"), PASSWORD).expect("a file");
        let systems = [1, 2].map(|n| {
            format!(
                "{{'uuid': '{SYSTEM}{n}', 'name': 'board-{n}', 'power_state': 'Off', 'external_notifier': False, 'nics': \
                 []}}"
            )
        });
        let text = format!(
            "SUSHY_EMULATOR_LISTEN_IP = '127.0.0.1'\nSUSHY_EMULATOR_LISTEN_PORT = {port}\nSUSHY_EMULATOR_FAKE_DRIVER = \
             True\nSUSHY_EMULATOR_STATE_DIR = '{}'\nSUSHY_EMULATOR_AUTH_FILE = '{}'\nSUSHY_EMULATOR_SSL_CERT = \
             '{}'\nSUSHY_EMULATOR_SSL_KEY = '{}'\nSUSHY_EMULATOR_FAKE_SYSTEMS = [{}]\n",
            self.path("").display(),
            self.path("passwords").display(),
            certificate.display(),
            key.display(),
            systems.join(", ")
        );
        fs::write(&config, text).expect("a file");
        self.start(
            Command::new(from_pypi("redfish", EMULATOR, "sushy-emulator")).arg("--config").arg(config),
        );
        self.wait_for(port);
        port
    }
}

fn yaml(console: u16, controller: u16) -> String {
    let board = |n: usize, password: &str, more: &str| {
        format!(
            "  - {{board_id: board-{n}, soc_family: virt, board_ip: 127.0.0.{n}, telnet_port: {console}, pdu_host: \
             '127.0.0.1:{controller}', pdu_outlet: {SYSTEM}{n},\n     lab_location: Here, power: {{password: \
             {password}{more}}}}}\n"
        )
    };
    format!(
        "boards:\n{}{}{}families:\n  virt:\n    power: {{driver: redfish, username: admin, off_for: 1ms, rest: \
         off}}\n    suites: {{smoke: uname}}\nplans:\n  uname:\n    boot: [{{power: cycle}}, {{login: {{within: \
         60s}}}}]\n    test: [{{name: uname, run: uname -a, within: 30s}}]\n",
        board(1, "pass word", ", insecure: true"),
        board(2, "pass word", ""),
        board(3, "wr0ng", ", insecure: true"),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_behind_a_slow_controller_is_switched_on_for_its_run_and_off_afterwards() {
    let rig = Rig::new();
    let (console, controller) = (rig.busybox_telnetd("/bin/sh", false), rig.redfish());
    real_lab(&yaml(console, controller), async |lab| {
        let power = async |board: usize, action: &str| {
            lab.say("lead", &format!("/lab power board-{board} {action}")).await;
            lab.answer("lead").await
        };
        assert_eq!(power(1, "status").await, "🔌 `board-1` is off.");
        let run = lab.run("alice", "/run-test board-1 build-1").await;
        lab.until_state(run, "testing").await;
        assert_eq!(power(1, "status").await, "🔌 `board-1` is on.");
        assert_eq!(lab.verdict(run).await, "passed in testing");
        lab.settle().await;
        assert_eq!(power(1, "status").await, "🔌 `board-1` is off.");
        assert_eq!(power(1, "on").await, "⚡ `board-1` was switched on.");
        let refused = power(2, "on").await;
        shows(
            &refused,
            &["✋ `board-2` was not switched on. The PDU of board-2 ", ": its certificate is not one that"],
        );
        let refused = power(3, "on").await;
        shows(
            &refused,
            &["`board-3` was not switched on. ", "it refused who asks (401): user name, password or token?"],
        );
        assert!(!refused.contains("wr0ng") && refused.ends_with('?'), "{refused}");
        lab.read_all();
    })
    .await;
}
