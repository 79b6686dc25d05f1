//! A board whose console lives on its power: while the power is off, nobody listens at the console's port.

use std::process::{Command, Stdio};

use crate::console_real::rig::{Rig, free_port, need};
use crate::lab::real_lab;

use super::bench::guest;
use super::shows;

/// A QEMU that is started by its outlet and gone without it.
struct Board {
    rig: Rig,
    port: u16,
}

impl Drop for Board {
    fn drop(&mut self) {
        let off = Command::new(self.rig.path("outlet")).arg("off").stderr(Stdio::null()).status();
        drop(off);
    }
}

impl Board {
    fn new() -> Board {
        need("qemu-system-aarch64", "qemu-system-arm");
        let (rig, guest, port) = (Rig::new(), guest(), free_port());
        let id = rig.path("id");
        let (id, guest) = (id.display(), guest.display());
        let outlet = format!(
            "case $1 in\n\
             on) [ -e {id} ] || qemu-system-aarch64 -M virt -cpu cortex-a57 -m 128 -nodefaults -display none -monitor none \
             -daemonize -pidfile {id} -kernel {guest}/Image -initrd {guest}/initrd.gz -append 'console=ttyAMA0 board=b' \
             -chardev socket,id=uart,host=127.0.0.1,port={port},server=on,wait=off,telnet=on -serial chardev:uart ;;\n\
             off) [ ! -e {id} ] || {{ kill -KILL $(cat {id}) && rm {id}; }} ;;\n\
             status) if [ -e {id} ]; then echo on; else echo off; fi ;;\nesac"
        );
        rig.script("outlet", &outlet);
        Board { rig, port }
    }

    fn yaml(&self) -> String {
        let (port, outlet) = (self.port, self.rig.path("outlet"));
        let [on, off, status] =
            ["on", "off", "status"].map(|word| format!("{word}: [{}, {word}]", outlet.display()));
        format!(
            "boards:\n  - {{board_id: board-1, soc_family: virt, board_ip: 127.0.0.1, telnet_port: {port}, lab_location: \
             Here, telnet_username: root, telnet_password: lab,\n     power: {{driver: command, {on}, {off}, {status}, \
             off_for: 300ms, rest: off}}}}\nfamilies: {{virt: {{suites: {{smoke: linux}}}}}}\nplans:\n  linux:\n    limits: \
             {{total: 4m, no_output: 40s}}\n    retry: {{infra: 0}}\n    boot: [{{power: cycle}}, {{login: {{within: \
             20s}}}}]\n    test: [{{name: unit, run: 'selftest {{{{ build.id }}}}', parse: ktap, within: 60s}}]\n"
        )
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_console_that_comes_with_the_power_is_dialled_until_it_is_there() {
    let board = Board::new();
    real_lab(&board.yaml(), async |lab| {
        let run = lab.run("alice", "/run-test virt build-1").await;
        assert_eq!(lab.verdict(run).await, "passed in testing");
        lab.settle().await;
        shows(&lab.thread(run), &["*Tests* 4 passed, 1 skipped\n"]);
        assert!(!board.rig.path("id").exists(), "the board is still on");
    })
    .await;
}
