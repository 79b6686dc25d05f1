//! Sessions against real telnet servers, a real serial-port server, real serial ports, a real sshd and real shells, on
//! loopback. A missing program is a failure that says what to install, never a skip.

mod by_hand;
mod kinds;
pub(crate) mod rig;

use std::net::TcpStream;
use std::time::Duration;

use boardhand::board::ConsoleKind;
use boardhand::console::{ConsoleError, LoginFailure, Session};
use boardhand::transfer::{Fetch, Transfer, Upload};
use secrecy::SecretString;

use rig::{Rig, free_port};

const WITHIN: Duration = Duration::from_secs(60);

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
        // A suite that somebody started in the background ignores interrupts, and a shell would inherit that; the shell
        // of a board takes them.
        let program = rig.script("shell", &format!("exec env --default-signal=INT,QUIT {shell}"));
        let mut session = rig.telnet(rig.busybox_telnetd(program.to_str().expect("a path"), false)).await;
        session.login(None, None, WITHIN).await.unwrap_or_else(|error| panic!("{shell}: {error:?}"));
        drive(&mut session).await;
        session.close().await;
    }
}

/// Carries a file over a session.
async fn carry(session: &mut Session, transfer: &mut dyn Transfer) {
    while let Some(command) = transfer.next() {
        let said = session.run(&command, Duration::from_secs(20)).await.expect("a command");
        transfer.answer(Some(&said.output)).expect("a try is left");
    }
}

#[tokio::test]
async fn a_file_goes_to_a_board_and_back_over_its_console() {
    let rig = Rig::new();
    let port = rig.busybox_telnetd("/bin/sh", false);
    let mut session = rig.telnet(port).await;
    session.login(None, None, Duration::from_secs(20)).await.expect("a shell");
    let data: Vec<u8> = (0..40_000u32).map(|n| (n * 7 + n / 256 * 31) as u8).collect();
    let to = rig.path("carried").display().to_string();
    carry(&mut session, &mut Upload::new(data.clone(), &to).expect("small enough")).await;
    assert!(std::fs::read(&to).expect("a file") == data, "what came is what was sent");
    let mut fetch = Fetch::new(&to);
    carry(&mut session, &mut fetch).await;
    assert!(fetch.into_data() == data, "what came back is what was there");
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
