//! Sessions against real telnet servers, a real serial-port server and real shells, on loopback. A missing program
//! is a failure that says what to install, never a skip.

use std::fs;
use std::net::{TcpListener, TcpStream};
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
    ConsoleError, ConsoleSettings, ConsoleTarget, InHand, LoginFailure, Session, Transcript, WatchList, dial,
};
use boardhand::id::Ids;
use secrecy::SecretString;

const WITHIN: Duration = Duration::from_secs(60);
/// User `lab`, password `lab`, for the private /etc/shadow of these tests only (`openssl passwd -6 -salt labsalt lab`).
const SHADOW: &str = "root:*:19000:0:99999:7:::\nlab:$6$labsalt$e.svQvk8jX0mQEPpLUGudMvFCNwOZ/CJK6NOYcVPXe7CEfTAvAHE/4QjVQRPpiwy.ZyFJYVD03OjeHrHcjTKj/:19000:0:99999:7:::\n";
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nlab:x:0:0:lab:/tmp:/bin/sh\n";
const GROUP: &str = "root:x:0:\ntty:x:5:\nlab:x:0:\n";

/// Programs on loopback, ended by their ids when the test ends.
struct Rig {
    dir: tempfile::TempDir,
    children: Arc<Mutex<Vec<Child>>>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        for child in self.children.lock().expect("children").iter_mut() {
            // Each was started as the leader of a group of its own, whose id is its own.
            let group = format!("-{}", child.id());
            drop(Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status());
            drop(child.wait());
        }
    }
}

impl Rig {
    fn new() -> Rig {
        need("unshare", "util-linux");
        let dir = tempfile::tempdir().expect("a directory");
        for (name, text) in [("passwd", PASSWD), ("shadow", SHADOW), ("group", GROUP)] {
            fs::write(dir.path().join(name), text).expect("a file");
        }
        Rig { dir, children: Arc::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A script in the rig's directory.
    fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        path
    }

    fn start(&self, command: &mut Command) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).expect("a log");
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        self.children.lock().expect("children").push(child);
    }

    /// The command, with the private users.
    fn private(&self, command: &[&str]) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rigs/private-passwd.sh");
        let mut private = Command::new(script);
        private.arg(self.dir.path()).args(command);
        private
    }

    /// busybox telnetd in front of a program.
    fn busybox_telnetd(&self, program: &str, private: bool) -> u16 {
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
    fn inetutils_telnetd(&self) -> u16 {
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
    fn ser2net(&self) -> [u16; 3] {
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

    /// Waits until something listens. Asks the kernel: a connection would be a client, and some serve only one.
    fn wait_for(&self, port: u16) {
        let socket = format!("0100007F:{port:04X} 00000000:0000 0A");
        self.wait_until(|| fs::read_to_string("/proc/net/tcp").is_ok_and(|table| table.contains(&socket)));
    }

    fn wait_until(&self, done: impl Fn() -> bool) {
        for _ in 0..400 {
            if done() {
                return;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("a rig did not start: {}", fs::read_to_string(self.path("log")).unwrap_or_default());
    }

    async fn dial(&self, port: u16, kind: ConsoleKind) -> Result<Session, ConsoleError> {
        let (clock, ids) = (Clock::system(), Ids::system());
        let settings =
            ConsoleSettings { kind, settle: Duration::from_millis(600), ..ConsoleSettings::default() };
        let target = ConsoleTarget { host: "127.0.0.1".into(), port, settings };
        let path = self.path(&format!("transcript-{port}"));
        let transcript = Transcript::create(&path, clock.now(), None).expect("a transcript");
        dial(&clock, &ids, Arc::new(Forever), &target, WatchList::new(&[]), transcript).await
    }

    async fn telnet(&self, port: u16) -> Session {
        self.dial(port, ConsoleKind::Telnet).await.expect("a session")
    }

    /// A console server notices a moment later that its last client is gone.
    async fn telnet_once_free(&self, port: u16) -> Session {
        for _ in 0..20 {
            match self.dial(port, ConsoleKind::Telnet).await {
                Err(ConsoleError::Busy { .. }) => Clock::system().sleep(Duration::from_millis(250)).await,
                dialled => return dialled.expect("a session"),
            }
        }
        panic!("the console stays busy");
    }
}

struct Forever;

impl InHand for Forever {
    fn trusted(&self) -> bool {
        true
    }

    fn label(&self) -> String {
        "a test".into()
    }
}

#[track_caller]
fn need(program: &str, package: &str) {
    let found = std::env::var("PATH").unwrap_or_default();
    let mut folders = found.split(':').chain(["/usr/sbin", "/sbin"]);
    assert!(
        folders.any(|folder| Path::new(folder).join(program).exists()),
        "{program} is missing: apt-get install {package}"
    );
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port()
}

/// Commands whose output and status must come back exactly.
async fn drive(session: &mut Session) {
    let (long, printable) = ("x".repeat(700), (b' '..=b'~').map(char::from).collect::<String>());
    let quoted = boardhand::console::shell::quote(&printable);
    let many: String = (0..500).map(|n| format!("line {n}\n")).collect();
    let (all, line, zeros) = (format!("{printable}\n"), format!("{long}\n"), format!("{:0700}", 7));
    let cases: &[(&str, &[u8], i32)] = &[
        ("true", b"", 0),
        ("false", b"", 1),
        ("echo hi", b"hi\n", 0),
        ("printf hi", b"hi", 0),
        ("printf 'a\\n\\n\\nb\\n\\n'", b"a\n\n\nb\n\n", 0),
        ("sh -c 'exit 130'", b"", 130),
        ("(exit 255)", b"", 255),
        ("no-such-command-here 2>/dev/null", b"", 127),
        ("cd /tmp && X='two  words'", b"", 0),
        ("echo \"$PWD $X\"", b"/tmp two  words\n", 0),
        (&format!("printf '%s\\n' {quoted}"), all.as_bytes(), 0),
        ("cat <<'END'\n$HOME `id` \\\nit's \"fine\"\nEND\n", b"$HOME `id` \\\nit's \"fine\"\n", 0),
        ("for i in 1 2 3\ndo\n  echo $i\ndone\n", b"1\n2\n3\n", 0),
        (&format!("echo {long}"), line.as_bytes(), 0),
        ("printf '%0700d' 7", zeros.as_bytes(), 0),
        ("printf %s 'tab\there' | od -An -tx1", b" 74 61 62 09 68 65 72 65\n", 0),
        ("printf 'a\\033[31mb\\001\\377\\200\\377c\\n'", b"a\x1b[31mb\x01\xff\x80\xffc\n", 0),
        ("echo gr\u{fc}n \u{1f600}", "gr\u{fc}n \u{1f600}\n".as_bytes(), 0),
        ("i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done; (exit 3)", many.as_bytes(), 3),
        ("echo out; echo err >&2", b"out\nerr\n", 0),
        ("echo 'login: '", b"login: \n", 0),
        ("set -- a \"b c\"; echo $# \"$2\"", b"2 b c\n", 0),
    ];
    for (command, output, status) in cases {
        let got = session.run(command, WITHIN).await.unwrap_or_else(|error| panic!("{command}: {error:?}"));
        let (is, should) = (got.output.escape_ascii().to_string(), output.escape_ascii().to_string());
        assert_eq!((is, got.status), (should, *status), "{command}");
    }
    let kernel = session.run("echo 'a[   12.345678] kernel'; echo b", WITHIN).await.expect("a result");
    assert_eq!(
        (kernel.output.as_slice(), kernel.full()),
        (&b"ab\n"[..], &b"[   12.345678] kernel\nab\n"[..])
    );
    let error = session.run("sleep 60", Duration::from_secs(1)).await.expect_err("a timeout");
    assert!(matches!(error, ConsoleError::Timeout { shell_back: true, .. }), "{error:?}");
    assert_eq!(session.run("echo back", WITHIN).await.expect("a result").output, b"back\n");
}

async fn login(session: &mut Session, password: &str) -> Result<(), ConsoleError> {
    session.login(Some("lab"), Some(&SecretString::from(password)), WITHIN).await
}

#[tokio::test]
async fn busybox_telnetd_with_login_is_driven() {
    let rig = Rig::new();
    let port = rig.busybox_telnetd("/bin/login", true);
    let mut session = rig.telnet(port).await;
    login(&mut session, "lab").await.expect("a login");
    drive(&mut session).await;
    session.close().await;
    let log = boardhand::console::transcript::render(&rig.path(&format!("transcript-{port}")), 0, 1 << 20);
    assert!(log.expect("a log").text.contains("> <password>"));
}

#[tokio::test]
async fn a_wrong_password_is_told_after_two_tries() {
    let rig = Rig::new();
    let mut session = rig.telnet(rig.busybox_telnetd("/bin/login", true)).await;
    let error = login(&mut session, "wrong").await.expect_err("no login");
    let ConsoleError::LoginFailed { reason: LoginFailure::Incorrect, tail } = error else {
        panic!("{error:?}")
    };
    assert!(tail.iter().any(|line| line.contains("incorrect")), "{tail:?}");
}

#[tokio::test]
async fn busybox_telnetd_with_a_bare_shell_is_driven() {
    for shell in ["sh -i", "busybox ash -i", "bash --norc -i"] {
        let rig = Rig::new();
        let program = rig.script("shell", &format!("exec {shell}"));
        let mut session = rig.telnet(rig.busybox_telnetd(program.to_str().expect("a path"), false)).await;
        session.login(None, None, WITHIN).await.unwrap_or_else(|error| panic!("{shell}: {error:?}"));
        drive(&mut session).await;
        session.close().await;
    }
}

#[tokio::test]
async fn commands_are_exact_while_a_kernel_fills_the_console() {
    let rig = Rig::new();
    let mut session = rig.telnet(rig.busybox_telnetd("/bin/sh", false)).await;
    session.login(None, None, WITHIN).await.expect("a login");
    let noise = "(while :; do echo '[   12.345678] lkdtm: noise'; sleep 0.001; done) & N=$!";
    session.run(noise, WITHIN).await.expect("noise");
    let mut noisy = 0;
    for n in 0..60 {
        let command = format!("printf part; sleep 0.005; echo {n}; seq 3; (exit {n})");
        let got = session.run(&command, WITHIN).await.expect("a result");
        noisy += u32::from(got.with_kernel.is_some());
        let output = String::from_utf8_lossy(&got.output);
        assert_eq!((output.as_ref(), got.status), (format!("part{n}\n1\n2\n3\n").as_str(), n));
    }
    // A busy machine may give the noise no turn during one command or another, never during most of them.
    assert!(noisy > 30, "the kernel cut into {noisy} of 60 commands only");
    session.run("kill $N", WITHIN).await.expect("silence");
}

#[tokio::test]
async fn inetutils_telnetd_is_driven() {
    let rig = Rig::new();
    let port = rig.inetutils_telnetd();
    let mut session = rig.telnet(port).await;
    login(&mut session, "lab").await.expect("a login");
    drive(&mut session).await;
    session.close().await;
}

#[tokio::test]
async fn ser2net_is_driven_and_says_when_it_is_busy() {
    let rig = Rig::new();
    let [telnet, raw, missing] = rig.ser2net();
    let mut session = rig.telnet(telnet).await;
    let second = rig.dial(telnet, ConsoleKind::Telnet).await.err();
    assert!(
        matches!(&second, Some(ConsoleError::Busy { text }) if text.contains("already in use")),
        "{second:?}"
    );
    let missing = rig.dial(missing, ConsoleKind::Telnet).await.err();
    assert!(
        matches!(&missing, Some(ConsoleError::Busy { text }) if text.contains("open failure")),
        "{missing:?}"
    );
    session.login(None, None, WITHIN).await.expect("a login");
    drive(&mut session).await;
    session.close().await;
    let mut session = rig.dial(raw, ConsoleKind::Tcp).await.expect("a session");
    session.login(None, None, WITHIN).await.expect("a login");
    drive(&mut session).await;
    session.close().await;
}

#[tokio::test]
async fn a_console_left_by_a_crash_is_taken_over() {
    let rig = Rig::new();
    let [telnet, _, _] = rig.ser2net();
    let mut session = rig.telnet(telnet).await;
    session.login(None, None, WITHIN).await.expect("a login");
    session.send_line("sleep 600").await.expect("sent");
    // Dropped with a quiet shell and a command under way, as a crash leaves it.
    drop(session);
    let mut next = rig.telnet_once_free(telnet).await;
    next.take_over(None, None, WITHIN).await.expect("the console");
    assert_eq!(next.run("echo mine", WITHIN).await.expect("a result").output, b"mine\n");
}

#[test]
fn nothing_listens_on_a_free_port() {
    assert!(TcpStream::connect(("127.0.0.1", free_port())).is_err());
}
