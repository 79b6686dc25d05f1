//! Sessions against scripted boards on loopback. Waits of seconds run on a clock that goes faster than the wall's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::board::ConsoleKind;
use crate::clock::{Clock, Timestamp};
use crate::console::line::HITS_MAX;
use crate::console::wire::Wire;
use crate::console::{ConsoleTarget, InHand, Retry, Transcript, WatchList, dial, transcript};

mod booting;

const SECOND: Duration = Duration::from_secs(1);

/// A lease that can be taken away.
struct Lease(AtomicBool);

impl InHand for Lease {
    fn trusted(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    fn label(&self) -> String {
        "run #1 on soc-a-001".into()
    }
}

/// The board's end of the connection.
struct Board {
    stream: TcpStream,
    heard: String,
}

impl Board {
    async fn says(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).await.expect("a listening session");
    }

    /// Reads until `text` was typed; returns what was typed up to its end.
    async fn hears(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.heard.find(text) {
                let rest = self.heard.split_off(at + text.len());
                return std::mem::replace(&mut self.heard, rest);
            }
            let mut buffer = [0; 4096];
            let count = self.stream.read(&mut buffer).await.expect("a session");
            assert!(count > 0, "the session closed and had typed {:?}", self.heard);
            self.heard.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    }

    /// Reads until the session closes; returns what it had typed.
    async fn hears_all(mut self) -> String {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).await.expect("an end");
        self.heard + &String::from_utf8_lossy(&bytes)
    }

    /// The marker letters of the framed command or proof that was typed last.
    async fn hears_marker(&mut self) -> String {
        let line = self.hears("\r").await;
        let (before, after) = line.split_once("''").expect("a split marker");
        let from = before.len() - MARKER_LETTERS / 2;
        format!("{}{}", &before[from..], &after[..MARKER_LETTERS / 2])
    }

    /// Accepts a login without a name, as a shell that is there already.
    async fn is_logged_in(&mut self) {
        self.says("# ").await;
        for _ in 0..2 {
            let marker = self.hears_marker().await;
            self.says(format!("{marker}\r\n# ")).await;
        }
    }

    /// Waits for the next framed command and answers it.
    async fn runs(&mut self, output: &str, status: i32) {
        let marker = self.hears_marker().await;
        self.says(format!("S{marker}\r\n{output}\r\nE{marker} {status}\r\n")).await;
    }
}

struct Bench {
    lease: Arc<Lease>,
    clock: Clock,
    target: ConsoleTarget,
    dir: tempfile::TempDir,
}

impl Bench {
    async fn dial(&self) -> Result<Session, ConsoleError> {
        let (path, now) = (self.dir.path().join("t"), Timestamp::from_micros(0));
        let transcript = Transcript::create(&path, now, None).expect("a transcript");
        let (ids, watches) = (Ids::seeded(1), WatchList::new(&[]));
        dial(&self.clock, &ids, self.lease.clone(), &self.target, watches, transcript).await
    }

    async fn shell(&self) -> Session {
        let mut session = self.dial().await.expect("a session");
        session.login(None, None, 30 * SECOND).await.expect("a login");
        session
    }

    fn log(&self) -> String {
        transcript::render(&self.dir.path().join("t"), 0, 100_000).expect("a log").text
    }
}

/// A bench whose board follows `script`, on a clock `speed` times faster than the wall's. Await what comes second:
/// a panic of the script is the test's.
async fn bench<F>(speed: u32, script: impl FnOnce(Board) -> F + Send + 'static) -> (Bench, JoinHandle<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let clock = if speed == 1 { Clock::system() } else { fast_clock(speed) };
    let settle = Duration::from_millis(50);
    let settings = ConsoleSettings { kind: ConsoleKind::Tcp, settle, ..ConsoleSettings::default() };
    let target = ConsoleTarget { host: "127.0.0.1".into(), port, settings };
    let dir = tempfile::tempdir().expect("a directory");
    let lease = Arc::new(Lease(AtomicBool::new(true)));
    let board = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        script(Board { stream, heard: String::new() }).await;
    });
    (Bench { lease, clock, target, dir }, board)
}

fn fast_clock(speed: u32) -> Clock {
    let (clock, hand) = Clock::manual(Timestamp::from_micros(0));
    tokio::spawn(async move {
        let wall = Clock::system();
        loop {
            wall.sleep(Duration::from_millis(5)).await;
            hand.advance(Duration::from_millis(5) * speed);
        }
    });
    clock
}

#[tokio::test]
async fn a_login_leads_to_commands_and_the_password_is_not_recorded() {
    let (bench, board) = bench(1, async |mut board| {
        board.says("\r\nboard login: ").await;
        assert_eq!(board.hears("\r").await, "lab\r");
        board.says("lab\r\nPassword: ").await;
        assert_eq!(board.hears("\r").await, "s3cret\r");
        board.says("\r\nWelcome\r\n$ ").await;
        for _ in 0..2 {
            let marker = board.hears_marker().await;
            board.says(format!("{marker}\r\n")).await;
        }
        board.runs("hi\r\n", 7).await;
        let end = board.hears_all().await;
        assert!(end.contains("stty echo; PS1='$ '"), "{end}");
    })
    .await;
    let mut session = bench.dial().await.expect("a session");
    let password = SecretString::from("s3cret");
    session.login(Some("lab"), Some(&password), 30 * SECOND).await.expect("a login");
    assert!(session.at_shell());
    let result = session.run("echo hi", 30 * SECOND).await.expect("a result");
    assert_eq!((result.output.as_slice(), result.status), (&b"hi\n"[..], 7));
    session.close().await;
    board.await.expect("the board's script");
    let log = bench.log();
    assert!(log.contains("> <password>") && !log.contains("s3cret"), "{log}");
}

#[tokio::test]
async fn a_login_prompt_is_seen_while_the_kernel_talks_on() {
    let (bench, board) = bench(1, async |mut board| {
        board.says("\r\nboard login: ").await;
        while !board.heard.contains("lab\r") {
            board.says("[   12.345678] noise without end\r\n").await;
            let mut buffer = [0; 100];
            let read =
                Clock::system().timeout(Duration::from_millis(10), board.stream.read(&mut buffer)).await;
            let count = read.map_or(0, |read| read.expect("a session"));
            board.heard.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        board.heard.clear();
        board.is_logged_in().await;
    })
    .await;
    let mut session = bench.dial().await.expect("a session");
    session.login(Some("lab"), None, 30 * SECOND).await.expect("a login");
    board.await.expect("the board's script");
}

#[tokio::test]
async fn a_console_that_takes_nothing_more_is_no_command_that_outlasts_its_time() {
    let (seen, end) = tokio::sync::oneshot::channel::<()>();
    let (bench, board) = bench(50, async move |board| {
        // Never read: what is sent fills every buffer on the way.
        let Board { stream, .. } = board;
        end.await.expect("the test goes on");
        drop(stream);
    })
    .await;
    let mut session = bench.dial().await.expect("a session");
    let error = session.send(&vec![b'x'; 64 * 1024 * 1024]).await.expect_err("a full line");
    assert!(matches!(error, ConsoleError::NotTaken { .. }), "{error}");
    assert_eq!(error.retry(), Retry::OtherBoard);
    seen.send(()).expect("a board");
    board.await.expect("the board's script");
}

#[tokio::test]
async fn a_console_server_without_a_console_is_busy() {
    for excuse in ["Port already in use\r\n", "Device open failure: x\r\n", "% All lines busy\r\n", ""] {
        let (bench, board) = bench(1, async move |mut board| board.says(excuse).await).await;
        let error = bench.dial().await.err();
        let error = error.unwrap_or_else(|| panic!("{excuse:?} was not noticed"));
        assert!(matches!(&error, ConsoleError::Busy { text } if text.contains(excuse.trim())), "{error:?}");
        assert_eq!(error.retry(), crate::console::Retry::Later);
        board.await.expect("the board's script");
    }
}

#[tokio::test]
async fn nobody_listening_is_refused() {
    let (bench, board) = bench(1, async |_| {}).await;
    board.abort();
    drop(board.await);
    assert!(matches!(bench.dial().await.err(), Some(ConsoleError::Refused { .. })));
}

#[tokio::test]
async fn a_serial_port_that_is_not_there_is_named() {
    let (mut bench, board) = bench(1, async |_| {}).await;
    board.abort();
    bench.target.settings.kind = ConsoleKind::Serial;
    bench.target.settings.device = Some("/dev/no-such-port".into());
    let error = bench.dial().await.err().expect("no port");
    assert!(matches!(error, ConsoleError::Unreachable { .. }), "{error:?}");
    assert_eq!(error.to_string(), "/dev/no-such-port cannot be reached");
}

#[tokio::test]
async fn a_console_that_goes_away_with_the_power_is_dialled_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (mut bench, unused) = bench(20, async |_| {}).await;
    unused.abort();
    bench.target.port = listener.local_addr().expect("an address").port();
    let (switch, switched) = tokio::sync::oneshot::channel();
    let board = tokio::spawn(async move {
        let accept =
            async || Board { stream: listener.accept().await.expect("a session").0, heard: String::new() };
        let powered = accept().await;
        switched.await.expect("the switch");
        drop(powered);
        accept().await.says("Device open failure: ttyUSB0\r\n").await;
        let mut board = accept().await;
        board.says("U-Boot 2026.01\r\n").await;
        board.is_logged_in().await;
    });
    let mut session = bench.dial().await.expect("a session");
    session.booting();
    switch.send(()).expect("a board");
    session.login(None, None, 60 * SECOND).await.expect("a shell");
    assert!(session.tail().iter().any(|line| line.contains("U-Boot")), "{:?}", session.tail());
    board.await.expect("the board's script");
}

#[tokio::test]
async fn a_console_that_does_not_come_back_is_named_when_the_time_is_over() {
    let (switch, switched) = tokio::sync::oneshot::channel::<()>();
    let (bench, board) = bench(20, async move |_board| switched.await.expect("the switch")).await;
    let mut session = bench.dial().await.expect("a session");
    session.booting();
    switch.send(()).expect("a board");
    board.await.expect("the board's script");
    let error = session.login(None, None, 5 * SECOND).await.expect_err("no console");
    assert!(matches!(error, ConsoleError::Refused { .. } | ConsoleError::Closed { .. }), "{error:?}");
}

#[tokio::test]
async fn one_newline_is_all_that_a_silent_console_gets() {
    let (bench, board) = bench(20, async |board| assert_eq!(board.hears_all().await, "\r")).await;
    let mut session = bench.dial().await.expect("a session");
    let error = session.login(Some("lab"), None, 60 * SECOND).await.expect_err("silence");
    assert!(matches!(error, ConsoleError::Silent { .. }), "{error:?}");
    drop(session);
    board.await.expect("the board's script");
}

#[tokio::test]
async fn nothing_is_sent_once_the_lease_is_over() {
    let (bench, board) = bench(1, async |mut board| {
        board.is_logged_in().await;
        assert_eq!(board.hears_all().await, "");
    })
    .await;
    let mut session = bench.shell().await;
    bench.lease.0.store(false, Ordering::SeqCst);
    assert!(matches!(session.run("reboot", SECOND).await, Err(ConsoleError::LeaseOver { .. })));
    assert!(matches!(session.send(b"x").await, Err(ConsoleError::LeaseOver { .. })));
    session.close().await;
    board.await.expect("the board's script");
    assert!(matches!(bench.dial().await.err(), Some(ConsoleError::LeaseOver { .. })));
}

#[tokio::test]
async fn a_panic_ends_a_command_with_its_trace() {
    let (bench, board) = bench(20, async |mut board| {
        board.is_logged_in().await;
        board.hears("\r").await;
        board.says(include_bytes!("../../../tests/transcripts/lkdtm-PANIC.raw")).await;
        board.hears_all().await;
    })
    .await;
    let mut session = bench.shell().await;
    let error = session.run("echo PANIC > DIRECT", 60 * SECOND).await.expect_err("a panic");
    let ConsoleError::Watch(hit) = error else { panic!("{error:?}") };
    assert_eq!((hit.meaning.cause.as_str(), hit.trace.len(), hit.cut), ("panic", 25, false));
    drop(session);
    board.await.expect("the board's script");
}

#[tokio::test]
async fn a_panic_whose_trace_stops_short_is_still_told() {
    let (bench, board) = bench(20, async |mut board| {
        board.is_logged_in().await;
        board.hears("\r").await;
        board.says("[    9.000000] Kernel panic - not syncing: x\r\n[    9.000001] CPU: 0\r\n").await;
        board.hears_all().await;
    })
    .await;
    let mut session = bench.shell().await;
    let error = session.run("true", 60 * SECOND).await.expect_err("a panic");
    assert!(matches!(&error, ConsoleError::Watch(hit) if hit.cut && hit.trace.len() == 2), "{error:?}");
    drop(session);
    board.await.expect("the board's script");
}

#[tokio::test]
async fn a_reset_is_told_and_an_old_boots_messages_are_none() {
    let (bench, board) = bench(20, async |mut board| {
        board.is_logged_in().await;
        board.runs("[    0.000000] Linux version 6.1.0 (gcc)\r\n", 0).await;
        board.hears("\r").await;
        board.says("U-Boot SPL 2024.01 (Jan 08 2024)\r\nDRAM: 2 GiB\r\n").await;
        board.hears_all().await;
    })
    .await;
    let mut session = bench.shell().await;
    let dmesg = session.run("dmesg", 60 * SECOND).await.expect("a result");
    assert!(dmesg.full().starts_with(b"[    0.000000] Linux version"));
    assert_eq!(session.take_hits().kept.len(), 1);
    let error = session.run("true", 60 * SECOND).await.expect_err("a reset");
    assert!(
        matches!(&error, ConsoleError::Reset { banner, .. } if banner.starts_with("U-Boot SPL")),
        "{error:?}"
    );
    drop(session);
    board.await.expect("the board's script");
}

#[tokio::test]
async fn a_board_that_does_not_even_echo_an_interrupt_is_silent() {
    let (bench, board) = bench(20, async |mut board| {
        board.is_logged_in().await;
        board.hears_all().await;
    })
    .await;
    let mut session = bench.shell().await;
    session.set_limits(Limits { no_output: Some(2 * SECOND), total: None });
    let error = session.run("sleep 99", 600 * SECOND).await.expect_err("silence");
    assert!(
        matches!(error, ConsoleError::Silent { waited_for, .. } if waited_for >= 2 * SECOND),
        "{error:?}"
    );
    assert!(!session.at_shell());
    drop(session);
    board.await.expect("the board's script");
}

#[tokio::test]
async fn both_watchdogs_end_a_wait() {
    let (bench, board) = bench(1, async |mut board| {
        board.is_logged_in().await;
        board.hears("\x03").await;
        let marker = board.hears_marker().await;
        board.says(format!("\r\n{marker}\r\n")).await;
        board.hears_all().await;
    })
    .await;
    let mut session = bench.shell().await;
    session.set_limits(Limits { no_output: Some(SECOND / 2), total: None });
    let error = session.run("sleep 99", 600 * SECOND).await.expect_err("silence");
    assert!(
        matches!(error, ConsoleError::NoOutput { silent_for, .. } if silent_for >= SECOND / 2),
        "{error:?}"
    );
    assert!(session.at_shell(), "the program hung, not the board");
    session.set_limits(Limits { no_output: None, total: Some(bench.clock.monotonic() + SECOND) });
    let error = session.idle(600 * SECOND).await.expect_err("no time left");
    assert!(matches!(error, ConsoleError::OutOfTime { .. }), "{error:?}");
    drop(session);
    board.await.expect("the board's script");
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_interrupted_and_the_shell_proven() {
    let (bench, board) = bench(1, async |mut board| {
        board.is_logged_in().await;
        board.hears("\x03").await;
        let marker = board.hears_marker().await;
        board.says(format!("\r\n{marker}\r\n")).await;
        board.runs("again\r\n", 0).await;
    })
    .await;
    let mut session = bench.shell().await;
    let error = session.run("sleep 99", SECOND / 2).await.expect_err("a timeout");
    assert!(matches!(error, ConsoleError::Timeout { shell_back: true, .. }), "{error:?}");
    assert_eq!(session.run("echo again", 30 * SECOND).await.expect("a result").output, b"again\n");
    board.await.expect("the board's script");
}

#[tokio::test]
async fn a_mangled_end_is_asked_for_again() {
    let (bench, board) = bench(20, async |mut board| {
        board.is_logged_in().await;
        let marker = board.hears_marker().await;
        board.says(format!("S{marker}\r\nhi\r\n\r\nE{}?{} 0\r\n", &marker[..4], &marker[5..])).await;
        let again = board.hears_marker().await;
        assert_eq!(again, marker);
        board.says(format!("\r\nE{marker} 0\r\n")).await;
    })
    .await;
    let mut session = bench.shell().await;
    let result = session.run("echo hi", 600 * SECOND).await.expect("a result");
    assert!(result.output.starts_with(b"hi\n") && result.status == 0);
    board.await.expect("the board's script");
}

#[tokio::test]
async fn an_end_that_never_comes_is_asked_for_a_few_times_only() {
    let (bench, board) = bench(40, async |mut board| {
        board.is_logged_in().await;
        let marker = board.hears_marker().await;
        board.says(format!("S{marker}\r\nhi\r\n\r\nE{}", &marker[..5])).await;
        let asked = board.hears("\x03").await;
        assert_eq!(asked.matches("; echo E").count(), REASKS_MAX as usize, "{asked}");
        board.hears_all().await;
    })
    .await;
    let mut session = bench.shell().await;
    let error = session.run("echo hi", 30 * SECOND).await.expect_err("no end");
    assert!(matches!(error, ConsoleError::Silent { .. }), "{error:?}");
    drop(session);
    board.await.expect("the board's script");
}

#[tokio::test]
async fn what_the_watch_notes_is_bounded_and_counted() {
    let (bench, board) = bench(1, async |mut board| {
        board.is_logged_in().await;
        board.runs(&"a[1]: segfault at 0\r\n".repeat(HITS_MAX + 5), 139).await;
    })
    .await;
    let mut session = bench.shell().await;
    session.run("a", 30 * SECOND).await.expect("a result");
    let hits = session.take_hits();
    assert_eq!((hits.kept.len(), hits.more), (HITS_MAX, 5));
    board.await.expect("the board's script");
}

#[tokio::test]
async fn a_console_server_may_say_that_it_is_busy_when_it_is_spoken_to() {
    let (bench, board) = bench(1, async |mut board| {
        board.hears("\r").await;
        board.says("% line is busy\r\n").await;
    })
    .await;
    let mut session = bench.dial().await.expect("a session");
    let error = session.login(Some("lab"), None, 30 * SECOND).await.expect_err("a busy line");
    assert!(matches!(&error, ConsoleError::Busy { text } if text == "% line is busy"), "{error:?}");
    board.await.expect("the board's script");
}

#[tokio::test]
async fn a_console_server_that_has_gone_is_still_listened_to() {
    let (bench, board) = bench(1, async |mut board| board.says("bye\r\nPort already in use\r\n").await).await;
    let (path, now) = (bench.dir.path().join("t"), Timestamp::from_micros(0));
    let transcript = Transcript::create(&path, now, None).expect("a transcript");
    let stream = TcpStream::connect(("127.0.0.1", bench.target.port)).await.expect("a connection");
    board.await.expect("the board's script");
    let mut line = Line::new(
        bench.clock.clone(),
        bench.lease.clone(),
        bench.target.clone(),
        Some(Wire::Tcp(stream)),
        WatchList::new(&[]),
        transcript,
    );
    // The first write provokes a reset, the second meets a broken pipe, and neither loses what was said before.
    for _ in 0..2 {
        line.send(b"x", b"x").await.expect("a broken pipe is no error yet");
        Clock::system().sleep(Duration::from_millis(50)).await;
    }
    let error = line.pump_until(bench.clock.monotonic() + 30 * SECOND).await.expect_err("an end");
    assert!(matches!(&error, ConsoleError::Busy { text } if text == "Port already in use"), "{error:?}");
}

#[tokio::test]
async fn a_login_prompt_ends_a_command() {
    let (bench, board) = bench(20, async |mut board| {
        board.is_logged_in().await;
        let marker = board.hears_marker().await;
        board.says(format!("S{marker}\r\noops\r\n\r\nboard login: ")).await;
        board.hears_all().await;
    })
    .await;
    let mut session = bench.shell().await;
    let error = session.run("crash", 600 * SECOND).await.expect_err("no shell");
    assert!(matches!(error, ConsoleError::LoggedOut { .. }), "{error:?}");
    let again = session.run("true", SECOND).await;
    assert!(matches!(again, Err(ConsoleError::LoggedOut { .. })), "nothing is typed at a login prompt");
    drop(session);
    board.await.expect("the board's script");
}

#[tokio::test]
async fn a_boot_loader_that_had_stopped_before_its_key_came_shows_a_new_prompt() {
    for (key, shown) in [(" ", " "), ("x", "x"), ("\x03", "")] {
        let (bench, board) = bench(1, move |mut board| async move {
            board.says("Hit any key to stop autoboot:  0 \r\n=> ").await;
            board.hears(key).await;
            if shown.is_empty() {
                board.says("<INTERRUPT>\r\n=> ").await;
            } else {
                board.says(shown).await;
                assert_eq!(board.hears("\r").await, "\r");
                board.says("\r\n=> ").await;
            }
            assert_eq!(board.hears_all().await, "");
        })
        .await;
        let mut session = bench.dial().await.expect("a session");
        let countdown = Pattern::anywhere("Hit any key").expect("a pattern");
        session.interrupt(&countdown, key.as_bytes(), 30 * SECOND).await.expect("the prompt");
        drop(session);
        board.await.expect("the board's script");
    }
}

#[tokio::test]
async fn a_boot_loader_is_stopped_and_driven() {
    let (bench, board) = bench(1, async |mut board| {
        board.says("U-Boot 2023.01\r\nHit any key to stop autoboot:  2 ").await;
        assert_eq!(board.hears(" ").await, " ");
        board.says("\x08\x08\x08 0 \r\n=> ").await;
        board.hears("version\r").await;
        board.says("version\r\nU-Boot 2023.01\r\n=> ").await;
        board.hears("run netboot\r").await;
        board.says("run netboot\r\nTFTP error: 'File not found' (1)\r\n=> ").await;
        board.hears("boot\r").await;
        board.says("boot\r\nLoading\r\nStarting kernel ...\r\n").await;
    })
    .await;
    let mut session = bench.dial().await.expect("a session");
    let countdown = Pattern::anywhere("Hit any key").expect("a pattern");
    session.interrupt(&countdown, b" ", 30 * SECOND).await.expect("the prompt");
    let version = session.command_at_bootloader("version", 30 * SECOND).await.expect("output");
    assert_eq!(version, "U-Boot 2023.01\n");
    let error = session.command_at_bootloader("run netboot", 30 * SECOND).await.expect_err("no file");
    assert!(
        matches!(&error, ConsoleError::Bootloader { text, .. } if text.starts_with("TFTP error")),
        "{error:?}"
    );
    assert_eq!(session.command_at_bootloader("boot", 30 * SECOND).await.expect("output"), "Loading\n");
    let control = session.command_at_bootloader("a\x03", SECOND).await;
    assert!(matches!(control, Err(ConsoleError::BootloaderLine)));
    let long = session.command_at_bootloader(&"x".repeat(BOOTLOADER_LINE_BYTES_MAX + 1), SECOND).await;
    assert!(matches!(long, Err(ConsoleError::BootloaderLine)));
    board.await.expect("the board's script");
}

#[tokio::test]
async fn an_older_holders_quiet_shell_is_taken_over() {
    let (bench, board) = bench(20, async |mut board| {
        for _ in 0..TAKE_OVER_INTERRUPTS {
            board.hears("\x03").await;
        }
        board.hears("\r").await;
        for _ in 0..2 {
            let marker = board.hears_marker().await;
            board.says(format!("{marker}\r\n")).await;
        }
    })
    .await;
    let mut session = bench.dial().await.expect("a session");
    session.take_over(Some("lab"), None, 60 * SECOND).await.expect("a shell");
    board.await.expect("the board's script");
}

#[tokio::test]
async fn slow_boards_get_slow_input() {
    let (mut bench, board) = bench(1, async |mut board| {
        let mut sizes = Vec::new();
        let mut buffer = [0; 100];
        while sizes.iter().sum::<usize>() < 9 {
            sizes.push(board.stream.read(&mut buffer).await.expect("bytes"));
        }
        assert_eq!(sizes, [4, 4, 1]);
    })
    .await;
    (bench.target.settings.char_delay, bench.target.settings.chunk) = (Duration::from_millis(40), 4);
    let mut session = bench.dial().await.expect("a session");
    session.send(b"123456789").await.expect("sent");
    board.await.expect("the board's script");
    drop(session);
    assert!(bench.log().ends_with("] > 123456789\n"), "{}", bench.log());
}

#[tokio::test]
async fn telnet_is_answered_in_whole_sequences() {
    let (mut bench, board) = bench(1, async |mut board| {
        board.says(b"\xff\xfd\x18\xff\xfd\x1f\xff\xfb\x01\xff\xfa\x18\x01\xff\xf0hello\xff\xff").await;
        let mut buffer = [0; 100];
        let count = board.stream.read(&mut buffer).await.expect("an answer");
        let expect = b"\xff\xfb\x18\xff\xfb\x1f\xff\xfa\x1f\x01\xf4\x00\x32\xff\xf0\xff\xfd\x01\xff\xfa\x18\x00vt100\xff\xf0";
        assert_eq!(&buffer[..count], expect);
        let count = board.stream.read(&mut buffer).await.expect("data");
        assert_eq!(&buffer[..count], b"a\xff\xffb");
        board.says("bye").await;
    })
    .await;
    bench.target.settings.kind = ConsoleKind::Telnet;
    let mut session = bench.dial().await.expect("a session");
    session.send(b"a\xffb").await.expect("sent");
    let found =
        session.wait(&[Pattern::anywhere("bye").expect("a pattern")], 30 * SECOND).await.expect("a match");
    assert_eq!(found.before, b"hello\xff");
    board.await.expect("the board's script");
}

#[tokio::test]
async fn a_dropped_session_is_gone() {
    let (bench, board) = bench(1, async |mut board| {
        board.is_logged_in().await;
        board.hears_all().await;
    })
    .await;
    let mut session = bench.shell().await;
    let running = bench.clock.timeout(Duration::from_millis(100), session.run("sleep 99", 600 * SECOND));
    assert!(running.await.is_err());
    drop(session);
    board.await.expect("the board's script");
}

#[tokio::test]
async fn a_console_that_closes_while_a_command_runs_says_what_came_last() {
    let (bench, board) = bench(1, async |mut board| {
        board.is_logged_in().await;
        board.hears("\r").await;
        board.says("last words\r\n").await;
    })
    .await;
    let mut session = bench.shell().await;
    let error = session.run("true", 30 * SECOND).await.expect_err("an end");
    assert!(matches!(&error, ConsoleError::Closed { .. }), "{error:?}");
    assert_eq!(error.tail().last().map(String::as_str), Some("# last words"));
    board.await.expect("the board's script");
}

#[tokio::test]
async fn lines_are_told_while_the_command_runs() {
    let (bench, board) = bench(1, async |mut board| {
        board.is_logged_in().await;
        board.runs("ok 1 - a\r\n[    1.000000] x\r\nok 2 - \x1b[32mb\x1b[0m\r\n", 0).await;
    })
    .await;
    let mut session = bench.shell().await;
    let mut lines = Vec::new();
    let mut told = |line: &str| lines.push(line.to_owned());
    session.run_streaming("test", 30 * SECOND, &mut told).await.expect("a result");
    assert_eq!(lines, ["ok 1 - a", "[    1.000000] x", "ok 2 - b"]);
    board.await.expect("the board's script");
}

#[test]
fn a_session_and_its_waits_can_move_between_threads() {
    fn is_send(_: impl Send) {}
    fn of(mut session: Session) {
        is_send(async move { session.run("true", SECOND).await });
    }
    let _ = of;
}

/// A shell on a clock that stands still from now on.
async fn shell_out_of_time(bench: &mut Bench) -> Session {
    let (clock, hand) = Clock::manual(Timestamp::from_micros(0));
    let ticking = tokio::spawn(async move {
        loop {
            Clock::system().sleep(Duration::from_millis(5)).await;
            hand.advance(Duration::from_millis(5));
        }
    });
    bench.clock = clock;
    let session = bench.shell().await;
    ticking.abort();
    drop(ticking.await);
    session
}

#[tokio::test]
async fn a_session_is_over_as_soon_as_its_peer_has_closed_too() {
    let (mut bench, board) = bench(1, async |mut board| {
        board.is_logged_in().await;
        assert!(board.hears_all().await.contains("stty echo"));
    })
    .await;
    let session = shell_out_of_time(&mut bench).await;
    let closed = Clock::system().timeout(10 * SECOND, session.close()).await;
    closed.expect("it waits for its peer and not for the clock");
    board.await.expect("the board's script");
}

#[tokio::test]
async fn a_peer_that_does_not_close_does_not_keep_a_session() {
    let (told, mut tell) = tokio::sync::watch::channel(false);
    let (bench, board) = bench(1, async move |mut board| {
        board.is_logged_in().await;
        board.hears("stty echo").await;
        tell.wait_for(|told| *told).await.expect("told");
    })
    .await;
    bench.shell().await.close().await;
    told.send_replace(true);
    board.await.expect("the board's script");
}

#[tokio::test]
async fn what_frames_a_command_never_shows_in_the_last_lines() {
    let (bench, board) = bench(20, async |mut board| {
        board.is_logged_in().await;
        let marker = board.hears_marker().await;
        let (a, b) = marker.split_at(MARKER_LETTERS / 2);
        board.says(format!("echo S{a}\r\n{b}; eval 'x'; __r=$?; echo; echo E{a}''{b} $__r\r\n")).await;
        board.says(format!("S{marker}\r\nthe board's own words\r\necho S{a}''{b}; eval 'x'")).await;
    })
    .await;
    let mut session = bench.shell().await;
    let error = session.run("x", 5 * SECOND).await.expect_err("the console is gone");
    assert_eq!(error.tail(), ["the board's own words"], "{error:?}");
    board.await.expect("the board's script");
}
