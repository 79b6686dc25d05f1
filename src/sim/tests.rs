//! Simulated boards, PDUs and labs as a raw socket sees them.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::board::{
    self, Board, BoardId, ConsoleConfig, ConsoleKind, Family, Inventory, PowerConfig, PowerDriver, Rest, Site,
};
use crate::clock::Clock;
use crate::id::Ids;

/// The most a test waits for text that ought to come.
const WITHIN: Duration = Duration::from_secs(5);

/// A console client that knows nothing of telnet but to leave its commands out.
struct Naive {
    stream: TcpStream,
    clock: Clock,
    raw: Vec<u8>,
    text: String,
}

impl Naive {
    async fn connect(board: &SimBoard) -> Naive {
        let stream = TcpStream::connect(board.addr()).await.expect("the console listens");
        let mut client = Naive { stream, clock: Clock::system(), raw: vec![], text: String::new() };
        // The opening tells that the board's output reaches us from here on.
        client.read().await;
        client
    }

    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("sent");
    }

    /// Reads until `end` was seen; gives the text up to there.
    async fn until(&mut self, end: &str) -> String {
        let clock = self.clock.clone();
        let found = clock.timeout(WITHIN, async {
            loop {
                if let Some(at) = self.text.find(end) {
                    let rest = self.text.split_off(at + end.len());
                    return Some(std::mem::replace(&mut self.text, rest));
                }
                if !self.read().await {
                    return None;
                }
            }
        });
        match found.await {
            Ok(Some(text)) => text,
            _ => panic!("no {end:?} in {:?}", self.text),
        }
    }

    async fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let n = self.stream.read(&mut buffer).await.unwrap_or(0);
        self.raw.extend(&buffer[..n]);
        let mut bytes = buffer[..n].iter();
        while let Some(&byte) = bytes.next() {
            match byte {
                255 => drop((bytes.next(), bytes.next())),
                0 => {}
                byte => self.text.push(char::from(byte)),
            }
        }
        n > 0
    }

    /// Everything until the other side hangs up.
    async fn until_end(&mut self) -> String {
        let clock = self.clock.clone();
        let end = clock.timeout(WITHIN, async { while self.read().await {} });
        end.await.expect("the connection ends");
        std::mem::take(&mut self.text)
    }

    /// From the boot loader's countdown to a shell that does not echo.
    async fn log_in(&mut self, board: &SimBoard) {
        board.set_power(true);
        self.until("Hit any key").await;
        self.send(" ").await;
        self.until("=> ").await;
        self.send("run netboot\r").await;
        self.until("login: ").await;
        self.send("root\r").await;
        self.until("Password: ").await;
        self.send("root\r").await;
        self.until(":~# ").await;
        self.send("stty -echo; PS1=\r").await;
        self.until("PS1=\r\n").await;
    }

    /// One framed command: its output and status.
    async fn run(&mut self, command: &str) -> (String, String) {
        let quoted = command.replace('\'', r"'\''");
        self.send(&format!("echo S''tart; eval '{quoted}'; __r=$?; echo; echo E''nd $__r.\r")).await;
        self.until("Start\r\n").await;
        let output = self.until("End ").await;
        let status = self.until(".").await;
        let output = output.trim_end_matches("End ").trim_end_matches("\r\n").replace("\r\n", "\n");
        (output, status.trim_end_matches('.').to_owned())
    }
}

async fn board() -> SimBoard {
    board_with(SimBoardSpec::new("soc-a-001", "socA", Speed::Fast)).await
}

async fn board_with(spec: SimBoardSpec) -> SimBoard {
    SimBoard::start(Clock::system(), Ids::seeded(1), spec).await.expect("a free port")
}

/// A logged-in client of a healthy board.
async fn shell() -> (SimBoard, Naive) {
    let board = board().await;
    let mut client = Naive::connect(&board).await;
    client.log_in(&board).await;
    (board, client)
}

/// What a command prints, and its status.
async fn check(commands: &[(&str, &str, &str)]) {
    let (_board, mut client) = shell().await;
    for (command, output, status) in commands {
        let (got, got_status) = client.run(command).await;
        assert_eq!((got.trim_end_matches('\n'), got_status.as_str()), (*output, *status), "{command}");
    }
}

#[tokio::test]
async fn a_board_negotiates_and_boots_to_a_login() {
    let board = board().await;
    let mut client = Naive::connect(&board).await;
    client.stream.write_all(&[255, 253, 1, 255, 251, 24]).await.expect("sent");
    client.log_in(&board).await;
    let opening = [255, 251, 3, 255, 253, 3, 255, 251, 1, 255, 253, 0, 255, 251, 0, 255, 254, 1];
    assert!(client.raw.starts_with(&opening));
    assert!(client.raw.windows(3).any(|w| w == [255, 254, 24]), "our WILL TTYPE is refused");
    assert_eq!(client.raw.windows(3).filter(|w| *w == [255, 251, 1]).count(), 1, "ECHO is offered once");
}

#[tokio::test]
async fn an_untouched_board_boots_by_itself() {
    let board = board().await;
    let mut client = Naive::connect(&board).await;
    board.set_power(true);
    let log = client.until("login: ").await;
    assert!(log.contains("Starting kernel ...") && log.lines().filter(|l| l.starts_with('[')).count() > 140);
}

#[tokio::test]
async fn the_boot_loader_answers_and_repeats_on_an_empty_line() {
    let board = board().await;
    let mut client = Naive::connect(&board).await;
    board.set_power(true);
    client.until("autoboot").await;
    client.send(" ").await;
    client.until("=> ").await;
    client.send("nonsense\r").await;
    client.until("Unknown command 'nonsense' - try 'help'\r\n=> ").await;
    client.send("echo $?\r").await;
    client.until("\r\n1\r\n=> ").await;
    client.send("printenv baudrate\r\r").await;
    client.until("baudrate=115200\r\n=> \r\nbaudrate=115200\r\n=> ").await;
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let board = board().await;
    let mut client = Naive::connect(&board).await;
    board.set_power(true);
    client.until("login: ").await;
    client.send("root\rwrong\r").await;
    client.until("Login incorrect\r\nsoc-a-001 login: ").await;
}

#[tokio::test]
async fn the_shell_keeps_state_quotes_and_status() {
    check(&[
        ("uname -a", "Linux soc-a-001 6.6.52-lab #1 SMP PREEMPT aarch64 GNU/Linux", "0"),
        ("false", "", "1"),
        ("nope 2>/dev/null", "", "127"),
        ("cd /tmp; x='a  b'", "", "0"),
        (r#"pwd; echo $x "$x" '$x'"#, "/tmp\na b a  b $x", "0"),
        ("printf %s 'it'\\''s\nfine'", "it's\nfine", "0"),
        ("true && echo yes || echo no", "yes", "0"),
        ("printf 'b\\na\\nab\\n' > f; cat f | grep a | wc -l", "2", "0"),
        ("tail -n 1 f; echo z >> f; tail -n 1 f", "ab\nz", "0"),
        (
            "printf abc | sha256sum",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  -",
            "0",
        ),
        ("eval 'eval \"exit_me=7\"'; echo $exit_me", "7", "0"),
        ("[ -f /tmp/f ] && echo there", "there", "0"),
        ("for t in a b; do command -v dd && echo $t; done | tail -n 1", "b", "0"),
        ("echo $(id -u; echo b) c", "uid=0(root) gid=0(root) groups=0(root) b c", "0"),
    ])
    .await;
}

#[tokio::test]
async fn a_build_is_downloaded_and_tested() {
    check(&[
        (
            "wget -q -O /tmp/t 'http://ci.lab.local/build-missing/test.bin'",
            "wget: server returned error: HTTP/1.1 404 Not Found",
            "1",
        ),
        ("wget -q -O /tmp/t nonsense", "wget: bad address 'nonsense'", "1"),
        ("wget -q -O /tmp/t 'http://ci.lab.local/build-123/test.bin'", "", "0"),
        ("/tmp/t", "-sh: /tmp/t: Permission denied", "126"),
        (
            "dmesg -n 1; chmod +x /tmp/t && /tmp/t --iterations 3 | grep -v 'ok ' | tail -n 1",
            "# runtime: pass:4 fail:0 skip:0 total:4",
            "0",
        ),
        ("wget -q -O /tmp/f http://ci/build-fail/t && chmod 755 /tmp/f && /tmp/f > /tmp/log", "", "1"),
        ("grep 'not ok' /tmp/log | wc -l", "4", "0"),
    ])
    .await;
}

#[tokio::test]
async fn ctrl_c_ends_a_command() {
    let (_board, mut client) = shell().await;
    client.send("sleep 80000\r").await;
    client.send("\x03").await;
    client.send("echo $?-\r").await;
    client.until("130-").await;
}

#[tokio::test]
async fn kernel_messages_come_between_unless_silenced() {
    let (_board, mut client) = shell().await;
    client.run("wget -q -O /tmp/t http://ci/build-1/t; chmod +x /tmp/t").await;
    assert!(client.run("/tmp/t").await.0.contains("power domain up"));
    client.run("dmesg -n 1").await;
    assert!(!client.run("/tmp/t").await.0.contains("power domain up"));
    assert!(client.run("dmesg | tail -n 1").await.0.contains("power domain up"));
}

/// What the console shows of a build with an accident, up to `end`.
async fn accident(build: &str, end: &str) -> (SimBoard, Naive) {
    let (board, mut client) = shell().await;
    client.run(&format!("wget -q -O /tmp/t http://ci/{build}/t; chmod +x /tmp/t")).await;
    client.send("/tmp/t\r").await;
    client.until(end).await;
    (board, client)
}

#[tokio::test]
async fn builds_have_the_accidents_they_are_named_after() {
    accident("b-panic", "---[ end Kernel panic - not syncing: npu: fatal bus error ]---").await;
    accident("b-reset", "U-Boot SPL").await;
    let (_, mut dropped) = accident("b-drop", "Subtest").await;
    dropped.until_end().await;
    let (board, mut hung) = accident("b-hang", "Subtest").await;
    hung.send("\x03\r").await;
    board.set_power(false);
    board.set_power(true);
    hung.until("U-Boot SPL").await;
}

#[tokio::test]
async fn a_second_client_is_told_and_the_board_outlives_the_first() {
    let (board, mut first) = shell().await;
    first.send("cd /tmp; echo half").await;
    first.run("true").await;
    assert_eq!(Naive::connect(&board).await.until_end().await, "Port already in use\r\n");
    drop(first);
    let clock = Clock::system();
    let mut second = loop {
        let mut client = Naive::connect(&board).await;
        client.send("pwd\r").await;
        while !client.text.contains("/tmp") && !client.text.contains("in use") && client.read().await {}
        if client.text.contains("/tmp") {
            break client;
        }
        clock.sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(second.run("echo again").await.0, "again");
}

#[tokio::test]
async fn knobs_refuse_stay_busy_stay_silent_and_drop() {
    let board = board().await;
    board.set_faults(|f| f.busy = Some("console in use by bob".into()));
    assert_eq!(Naive::connect(&board).await.until_end().await, "console in use by bob\r\n");
    board.set_faults(|f| *f = Faults { drop_after: Some(10), split_every: Some(1), ..Faults::default() });
    let mut client = Naive::connect(&board).await;
    board.set_power(true);
    assert_eq!(client.until_end().await.len(), 10);
    board.set_faults(|f| *f = Faults { refuse: true, ..Faults::default() });
    let clock = Clock::system();
    while TcpStream::connect(board.addr()).await.is_ok() {
        clock.sleep(Duration::from_millis(5)).await;
    }
    board.set_faults(|f| *f = Faults { silent: true, ..Faults::default() });
    let mut client = loop {
        match TcpStream::connect(board.addr()).await {
            Ok(stream) => break stream,
            Err(_) => clock.sleep(Duration::from_millis(5)).await,
        }
    };
    client.write_all(b"\r").await.expect("sent");
    let silence = clock.timeout(Duration::from_millis(100), client.read(&mut [0; 10])).await;
    assert!(silence.is_err(), "a silent console says nothing");
}

#[tokio::test]
async fn stages_hang_and_panic_on_request() {
    let board = board().await;
    board.set_faults(|f| f.panic_at = Some(BootStage::Kernel));
    let mut client = Naive::connect(&board).await;
    board.set_power(true);
    client.until("end Kernel panic").await;
    board.set_power(false);
    board.set_faults(|f| *f = Faults { hang_at: Some(BootStage::Bootloader), ..Faults::default() });
    board.set_power(true);
    client.until("U-Boot 2023.01").await;
    let clock = Clock::system();
    let more = clock.timeout(Duration::from_millis(100), Box::pin(client.until("Model"))).await;
    assert!(more.is_err(), "a hung board says nothing more");
}

#[tokio::test]
async fn a_storm_of_kernel_messages_cuts_lines() {
    let (board, mut client) = shell().await;
    board.set_faults(|f| f.printk_every = Some(7));
    client.send("printf 'abcdefghijklmnopqrstuvwxyz'\r").await;
    let text = client.until("xyz").await;
    assert!(text.matches("job ring full").count() >= 3, "{text}");
}

#[tokio::test]
async fn every_received_byte_is_on_record() {
    let board = board().await;
    board.record_bytes();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let mut client = Naive::connect(&board).await;
    client.log_in(&board).await;
    let recorded: Vec<u8> = board.recorded().into_iter().flat_map(|record| record.bytes).collect();
    assert!(String::from_utf8_lossy(&recorded).contains("run netboot\r"));
    assert_eq!(board.counters().bytes_in, recorded.len() as u64);
    board.record_bytes_to(file.path().to_owned()).expect("opened");
    client.run("true").await;
    let text = std::fs::read_to_string(file.path()).expect("read");
    let fields: Vec<&str> = text.lines().next().expect("a line").split(' ').collect();
    assert_eq!((fields.len(), fields[1]), (3, "1"));
}

#[tokio::test]
async fn a_board_without_power_says_nothing_and_forgets() {
    let (board, mut client) = shell().await;
    board.set_power(false);
    let before = board.counters().bytes_in;
    client.send("echo lost\r").await;
    while board.counters().bytes_in == before {
        tokio::task::yield_now().await;
    }
    board.set_power(true);
    let text = client.until("login: ").await;
    assert!(!text.contains("lost") && board.counters().switches == 3);
}

async fn ask(pdu: &SimPdu, requests: &str, answers: &str) {
    let mut stream = TcpStream::connect(pdu.addr()).await.expect("the PDU listens");
    stream.write_all(requests.as_bytes()).await.expect("sent");
    let mut got = vec![0; answers.len()];
    let read = stream.read_exact(&mut got);
    Clock::system().timeout(WITHIN, read).await.expect("answered").expect("read");
    assert_eq!(String::from_utf8_lossy(&got), answers, "{requests:?}");
}

#[tokio::test]
async fn a_pdu_switches_its_outlets_and_keeps_a_log() {
    let board = board().await;
    let outlets = [("3".to_owned(), vec![board.clone()])].into();
    let pdu = SimPdu::start(Clock::system(), outlets).await.expect("a free port");
    ask(&pdu, "status 3\non 3\nstatus 3\n", "ok off\nok on\nok on\n").await;
    assert!(board.is_on());
    ask(&pdu, "off 9\n", "error unknown outlet 9\n").await;
    ask(&pdu, "explode 3\n", "error unknown request explode\n").await;
    ask(&pdu, &"x".repeat(REQUEST_TOO_LONG), "error request too long\n").await;
    pdu.set_faults(|faults| faults.stuck = true);
    ask(&pdu, "off 3\n", "ok off\n").await;
    assert!(board.is_on(), "a worn relay does nothing");
    pdu.set_faults(|faults| faults.error = Some("overload".into()));
    ask(&pdu, "off 3\n", "error overload\n").await;
    assert_eq!(pdu.log().iter().map(|s| s.on).collect::<Vec<_>>(), [true, false]);
}

const REQUEST_TOO_LONG: usize = pdu::REQUEST_BYTES_MAX + 1;

fn lab_board(id: &str, driver: PowerDriver, pdu: Option<&str>) -> Board {
    Board {
        id: BoardId::new(id),
        family: Family::new("socA"),
        revision: None,
        site: Site::new("here"),
        tags: Default::default(),
        owner: None,
        console: ConsoleConfig {
            kind: ConsoleKind::Telnet,
            baud: None,
            device: None,
            host: "192.0.2.1".into(),
            port: 23,
            username: Some("root".into()),
            password: Some("root".into()),
            login: "login: $".into(),
            prompt: "[#$] $".into(),
            bootloader: "U-Boot> $".into(),
            newline: "\r".into(),
            char_delay: Duration::ZERO,
            line_delay: Duration::ZERO,
            quiet_kernel: true,
            settle: Duration::from_secs(2),
        },
        power: PowerConfig {
            driver,
            host: pdu.map(str::to_owned),
            outlet: Some("1".into()),
            off_for: Duration::from_secs(5),
            rest: Rest::Off,
            ..PowerConfig::none()
        },
    }
}

#[tokio::test]
async fn a_lab_points_every_console_and_switch_at_a_simulator() {
    let mut inventory = Inventory::default();
    for board in
        [lab_board("a", PowerDriver::Simulated, Some("pdu.lab")), lab_board("b", PowerDriver::None, None)]
    {
        inventory.boards.insert(board.id.clone(), board);
    }
    let (lab, simulated) =
        SimLab::start(&inventory, Speed::Fast, Clock::system(), Ids::seeded(1)).await.expect("started");
    let a = simulated.board("a").expect("a");
    assert!(simulated.boards.values().all(|b: &board::Board| b.console.host == "127.0.0.1"));
    assert!(matches!(a.power.driver, PowerDriver::Simulated) && a.console.settle.is_zero());
    assert_eq!(a.power.host, Some(lab.pdu("pdu.lab").expect("pdu").addr().to_string()));
    assert!(!simulated.board("b").expect("b").power.has_switch());
    ask(lab.pdu("pdu.lab").expect("pdu"), "on 1\n", "ok on\n").await;
    let mut client = Naive::connect(lab.board("a").expect("a")).await;
    client.until("Hit any key").await;
    client.send(" ").await;
    client.until("U-Boot> ").await;
}

#[tokio::test]
async fn a_line_is_cut_where_a_terminal_cuts_it() {
    let (_board, mut client) = shell().await;
    client.send(&format!("echo '{}' | wc -c\r", "x".repeat(5000))).await;
    // The closing quote is beyond the cut: the shell goes on asking, as a real one does.
    client.until("> ").await;
    client.send("' | wc -c; echo ''done\r").await;
    let count = client.until("done").await;
    assert!(count.contains(&format!("{}", tty::LINE_BYTES_MAX - "echo '".len() + 2)), "{count:?}");
}

#[tokio::test]
async fn evaluations_nest_to_a_depth_and_no_deeper() {
    let (_board, mut client) = shell().await;
    client.run("printf 'eval \". /tmp/x\"; /tmp/x' > /tmp/x; chmod +x /tmp/x").await;
    assert!(client.run("/tmp/x 2>/dev/null").await.0.contains("nested too deeply"));
    assert_eq!(client.run("echo alive").await.0, "alive");
}

#[tokio::test]
async fn output_through_a_slow_client_is_not_lost() {
    let (_board, mut client) = shell().await;
    client.send("dmesg; dmesg; dmesg; dmesg; dmesg; dmesg; dmesg; dmesg; echo ''end\r").await;
    Clock::system().sleep(Duration::from_millis(50)).await;
    assert_eq!(client.until("\nend").await.matches("Linux version").count(), 8);
}

#[tokio::test]
async fn a_pdu_serves_only_so_many_at_once() {
    let pdu = SimPdu::start(Clock::system(), Default::default()).await.expect("a free port");
    let mut open = vec![];
    for _ in 0..pdu::CLIENTS_MAX {
        let mut stream = TcpStream::connect(pdu.addr()).await.expect("connected");
        stream.write_all(b"status 1\n").await.expect("sent");
        stream.read_exact(&mut [0; 5]).await.expect("answered");
        open.push(stream);
    }
    let mut refused = TcpStream::connect(pdu.addr()).await.expect("connected");
    let mut buffer = [0; 5];
    let closed = Clock::system().timeout(WITHIN, refused.read(&mut buffer)).await.expect("closed");
    assert!(matches!(closed, Ok(0) | Err(_)));
}

#[tokio::test]
async fn wrong_passwords_echo_faults_and_fast_typing_do_what_boards_do() {
    let (board, mut client) = shell().await;
    board.set_faults(|f| f.input_gap = Some(Duration::from_secs(60)));
    client.send("zzzz\r").await;
    Clock::system().sleep(Duration::from_millis(50)).await;
    board.set_faults(|f| *f = Faults { netboot_fails: true, ..Faults::default() });
    board.set_power(false);
    board.set_power(true);
    client.until("Hit any key").await;
    client.send(" ").await;
    client.until("=> ").await;
    client.send("run netboot\r").await;
    client.until("TFTP error").await;
    board.set_faults(|f| *f = Faults { power_stuck: true, ..Faults::default() });
    board.set_power(false);
    assert!(board.is_on(), "the outlet does not reach the board");
}
