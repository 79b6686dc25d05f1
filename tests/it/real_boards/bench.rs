//! A bench of QEMU boards (arm64): the serial port of each is a telnet port, and each hangs on an outlet of a PDU
//! that is a real SNMP agent. What hangs on an outlet that is off stands before its first instruction.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::console_real::rig::{Rig, need};

const UBOOT: &str = "/usr/lib/u-boot/qemu_arm64/u-boot.bin";
/// How long QEMU may take for one answer on its control socket.
const QMP_WITHIN: Duration = Duration::from_secs(20);

/// What a board starts when its power comes.
#[derive(Clone, Copy)]
pub(super) enum Boots {
    /// The kernel, as if from flash.
    Linux,
    /// U-Boot, which gets the rest over the network.
    Uboot,
}

pub(super) struct Bench {
    pub(super) rig: Rig,
    consoles: Vec<u16>,
    pdu: String,
    agent: u32,
    qemus: Vec<u32>,
}

impl Bench {
    /// Boards 1 to `boards`, all of them off.
    pub(super) fn new(boards: usize, boots: Boots) -> Bench {
        need("qemu-system-aarch64", "qemu-system-arm");
        let (rig, guest) = (Rig::new(), guest());
        let mut bench = Bench { rig, consoles: vec![], pdu: String::new(), agent: 0, qemus: vec![] };
        let mut outlets = String::new();
        for n in 1..=boards {
            let id = bench.rig.start(&mut bench.qemu(n, boots, &guest));
            bench.qemus.push(id);
            bench.rig.wait_until(|| UnixStream::connect(bench.path(n, "qmp")).is_ok());
            let port = bench.console_of(n);
            bench.consoles.push(port);
            fs::write(bench.path(n, "outlet"), "off").expect("a file");
            let (state, qmp) = (bench.path(n, "outlet"), bench.path(n, "qmp"));
            outlets += &format!(
                "outlet {} {}\ncommand .1.3.6.1.4.1.318.1.1.12.3.3.1.1.4.{n} 1 2\n\
                 state .1.3.6.1.4.1.318.1.1.12.3.5.1.1.4.{n} 1 2\n",
                state.display(),
                qmp.display()
            );
        }
        (bench.pdu, bench.agent) = bench.rig.snmpd(&outlets);
        bench
    }

    fn qemu(&self, n: usize, boots: Boots, guest: &std::path::Path) -> Command {
        let mut qemu = Command::new("qemu-system-aarch64");
        qemu.args([
            "-M",
            "virt",
            "-cpu",
            "cortex-a57",
            "-accel",
            "tcg",
            "-display",
            "none",
            "-monitor",
            "none",
        ]);
        qemu.args(["-nodefaults", "-no-shutdown", "-S"]);
        let mut network = "user,id=net".to_owned();
        match boots {
            Boots::Linux => {
                let line = format!("console=ttyAMA0 board=board-{n}");
                qemu.args(["-m", "128", "-append", &line]);
                qemu.arg("-kernel").arg(guest.join("Image")).arg("-initrd").arg(guest.join("initrd.gz"));
            }
            Boots::Uboot => {
                assert!(
                    std::path::Path::new(UBOOT).exists(),
                    "{UBOOT} is missing: apt-get install u-boot-qemu"
                );
                let files = self.rig.path("tftp/build-7");
                fs::create_dir_all(&files).expect("a folder");
                for name in ["Image", "initrd.gz"] {
                    fs::copy(guest.join(name), files.join(name)).expect("a file");
                }
                network += &format!(",tftp={}", self.rig.path("tftp").display());
                qemu.args(["-m", "256", "-bios", UBOOT]);
            }
        }
        qemu.args(["-netdev", &network, "-device", "virtio-net-device,netdev=net"]);
        qemu.args(["-chardev", "socket,id=uart,host=127.0.0.1,port=0,server=on,wait=off,telnet=on"]);
        qemu.args(["-serial", "chardev:uart"]);
        let control = format!("unix:{},server=on,wait=off", self.path(n, "qmp").display());
        qemu.args(["-qmp", &control]);
        qemu
    }

    fn path(&self, n: usize, what: &str) -> PathBuf {
        self.rig.path(&format!("board-{n}.{what}"))
    }

    /// The port that the kernel gave a board's console.
    fn console_of(&self, n: usize) -> u16 {
        let devices = self.qmp(n, "query-chardev");
        let devices = devices.as_array().expect("a list").iter();
        let uart = devices.filter(|device| device["label"] == "uart").find_map(|d| d["filename"].as_str());
        let port = uart.and_then(|name| name.split(',').next()?.rsplit(':').next()?.parse().ok());
        port.unwrap_or_else(|| panic!("board {n} has no console port: {uart:?}"))
    }

    /// Says something to a board's QEMU; gives its answer.
    pub(super) fn qmp(&self, n: usize, command: &str) -> Value {
        let socket = UnixStream::connect(self.path(n, "qmp")).expect("QEMU is there");
        socket.set_read_timeout(Some(QMP_WITHIN)).expect("a socket");
        let mut answers = BufReader::new(socket.try_clone().expect("a socket")).lines();
        let mut ask = |command: &str| {
            writeln!(&socket, "{}", json!({ "execute": command })).expect("QEMU listens");
            loop {
                let line = answers.next().expect("an answer").expect("an answer");
                let answer: Value = serde_json::from_str(&line).expect("JSON");
                assert!(answer.get("error").is_none(), "{command}: {answer}");
                if let Some(value) = answer.get("return") {
                    return value.clone();
                }
            }
        };
        ask("qmp_capabilities");
        ask(command)
    }

    /// Which boards run.
    pub(super) fn running(&self) -> Vec<usize> {
        let runs = |n: &usize| self.qmp(*n, "query-status")["running"] == true;
        (1..=self.consoles.len()).filter(runs).collect()
    }

    /// Somebody at the desk switches a board on, types this line after line once it asks for a login, and leaves.
    pub(super) fn left_by_somebody(&self, n: usize, lines: &[&str]) {
        self.qmp(n, "cont");
        fs::write(self.path(n, "outlet"), "on").expect("a file");
        let mut terminal = TcpStream::connect(("127.0.0.1", self.consoles[n - 1])).expect("the console");
        terminal.set_read_timeout(Some(QMP_WITHIN)).expect("a socket");
        let mut seen = Vec::new();
        for line in ["root", "lab"].iter().chain(lines) {
            let prompt: &[u8] = match *line {
                "root" => b"login: ",
                "lab" => b"Password: ",
                _ => b"# ",
            };
            while !seen.windows(prompt.len()).any(|window| window == prompt) {
                let mut bytes = [0; 4096];
                let count = terminal.read(&mut bytes).expect("the board goes on");
                seen.extend_from_slice(&bytes[..count]);
            }
            seen.clear();
            terminal.write_all(format!("{line}\r").as_bytes()).expect("the board listens");
        }
        // What was typed last is taken before its terminal goes away.
        std::thread::sleep(Duration::from_millis(500));
    }

    /// A board's processor stands still from now on, as after a bus that hangs.
    pub(super) fn freeze(&self, n: usize) {
        self.qmp(n, "stop");
    }

    /// A board is taken off the bench: its console's port goes away too.
    pub(super) fn take_away(&self, n: usize) {
        signal(self.qemus[n - 1], "KILL");
    }

    /// The PDU's agent says nothing any more, or speaks again.
    pub(super) fn pdu_answers(&self, answers: bool) {
        signal(self.agent, if answers { "CONT" } else { "STOP" });
    }

    /// The `boards:` of a lab file, and a family `virt` with these suites and plans.
    pub(super) fn yaml(&self, suites: &str, plans: &str) -> String {
        let mut text = String::from("boards:\n");
        for (n, port) in self.consoles.iter().enumerate().map(|(n, port)| (n + 1, port)) {
            text += &format!(
                "  - {{board_id: board-{n}, soc_family: virt, board_ip: 127.0.0.1, telnet_port: {port}, pdu_host: \
                 '{}', pdu_outlet: {n},\n     lab_location: Here, telnet_username: root, telnet_password: lab}}\n",
                self.pdu
            );
        }
        text += "families:\n  virt:\n    \
                 power: {driver: snmp, preset: apc-rpdu, community: writer, within: 1s, off_for: 300ms, rest: off}\n";
        text + &format!("    suites: {{{suites}}}\nplans:\n{plans}")
    }
}

fn signal(id: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), "--", &id.to_string()]).status();
    assert!(sent.expect("kill").success(), "{name} to {id}");
}

/// A kernel and an initramfs, made once and kept beside what the compiler makes.
pub(super) fn guest() -> PathBuf {
    need("busybox", "busybox-static");
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let (script, guest) = (root.join("tests/rigs/guest.sh"), root.join("target/rigs/arm64"));
    let made = Command::new(script).arg(&guest).output().expect("a script");
    assert!(made.status.success(), "guest.sh: {}", String::from_utf8_lossy(&made.stderr));
    guest
}
