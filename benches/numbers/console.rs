//! Console bytes: a board that talks without pause, through telnet, watch, expect and transcript, also in ways that are
//! meant to cost more the longer they last; one session, and a thousand at once.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use boardhand::clock::Clock;
use boardhand::console::{
    self, ConsoleSettings, ConsoleTarget, InHand, Pattern, Session, Transcript, WatchList,
};
use boardhand::id::Ids;

use crate::machine::{self, median};

const ROUNDS: usize = 3;
const FLOOD_MB: usize = 200;
const SESSIONS: usize = 200;
const SESSION_KB: usize = 500;
/// How much the bare reader reads at a time.
const BARE_BYTES: usize = 64 << 10;
/// Consoles of boards that are worked with: each has printed a boot and a test, and waits.
const CONSOLES: usize = 1_000;
const CONSOLE_KB: usize = 50;
/// How much a trap prints first, and then twice of it: what is linear takes twice as long.
const TRAP_MB: usize = 20;
/// Floods that are no ordinary lines.
const TRAPS: [&str; 4] = ["endless", "trace", "nearly", "stamps"];

/// Measures one session, and many.
pub(crate) fn throughput() {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let board = Board::start();
    for (name, what) in [("a command's output", What::Run), ("awaited text", What::Wait)] {
        let (mut wall, mut cpu) = (vec![], vec![]);
        for _ in 0..ROUNDS {
            let (per_second, per_core) = one_session(board.address, home.path(), what);
            wall.push(per_second);
            cpu.push(per_core);
        }
        println!("{name}: {} MB/s, {} MB per CPU second", median(wall), median(cpu));
    }
    let bare: Vec<f64> = (0..ROUNDS).map(|_| bare(board.address, home.path())).collect();
    println!("a bare reader that writes what it reads to a file: {} MB per CPU second", median(bare));
    many_sessions(board.address, home.path(), SESSIONS, SESSION_KB);
}

/// What the machine gives a program that looks at no byte: the same flood, read and written as it comes.
fn bare(board: SocketAddr, home: &std::path::Path) -> f64 {
    let mut stream = TcpStream::connect(board).expect("a connection");
    let mut file = std::fs::File::create(home.join("bare")).expect("a file");
    write!(stream, "flood {FLOOD_MB}000\r").expect("sent");
    let cpu = machine::thread_cpu_seconds();
    let mut left = FLOOD_MB * 1_000_000;
    let mut buffer = vec![0; BARE_BYTES];
    while left > BLOCK_BYTES {
        let n = stream.read(&mut buffer).expect("read");
        assert!(n > 0, "the board hung up");
        file.write_all(&buffer[..n]).expect("written");
        left = left.saturating_sub(n);
    }
    FLOOD_MB as f64 / (machine::thread_cpu_seconds() - cpu)
}

/// Measures what a thousand consoles hold.
pub(crate) fn thousand() {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let board = Board::start();
    many_sessions(board.address, home.path(), CONSOLES, CONSOLE_KB);
}

/// Measures floods that are meant to cost more the longer they last.
pub(crate) fn traps() {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let board = Board::start();
    for trap in TRAPS {
        let (mut rate, mut ratio) = (vec![], vec![]);
        for _ in 0..ROUNDS {
            let once = TRAP_MB as f64 / cpu_of(board.address, home.path(), trap, TRAP_MB);
            let twice = 2.0 * TRAP_MB as f64 / cpu_of(board.address, home.path(), trap, 2 * TRAP_MB);
            rate.push(twice);
            ratio.push(once / twice);
        }
        println!(
            "{trap}: {} MB per CPU second; the first half against the whole: {}",
            median(rate),
            median(ratio)
        );
    }
}

/// CPU seconds that so many megabytes of a trap take.
fn cpu_of(board: SocketAddr, home: &std::path::Path, trap: &str, megabytes: usize) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        let mut session = open(&Clock::system(), board, &home.join("trap")).await;
        let cpu = machine::thread_cpu_seconds();
        let command = format!("{trap} {megabytes}000");
        let ran = session.follow(&command, Duration::from_secs(300), &mut |_| {}).await;
        assert_eq!(ran.expect("a status"), 0, "{trap}");
        machine::thread_cpu_seconds() - cpu
    })
}

#[derive(Clone, Copy)]
enum What {
    Run,
    Wait,
}

fn one_session(board: SocketAddr, home: &std::path::Path, what: What) -> (f64, f64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        let clock = Clock::system();
        let mut session = open(&clock, board, &home.join("one")).await;
        let (begin, cpu) = (clock.monotonic(), machine::thread_cpu_seconds());
        let command = format!("flood {FLOOD_MB}000");
        match what {
            What::Run => {
                let mut lines = 0u64;
                let ran = session.follow(&command, Duration::from_secs(300), &mut |_| lines += 1).await;
                assert_eq!(ran.expect("a status"), 0);
                assert!(lines > 1000);
            }
            What::Wait => {
                session.send_line(&format!("eval '{command}'; echo all''done")).await.expect("sent");
                let done = [Pattern::anywhere("^alldone").expect("a pattern")];
                session.wait(&done, Duration::from_secs(300)).await.expect("a match");
            }
        }
        let took = clock.monotonic().since(begin).as_secs_f64();
        let used = machine::thread_cpu_seconds() - cpu;
        (FLOOD_MB as f64 / took, FLOOD_MB as f64 / used)
    })
}

fn many_sessions(board: SocketAddr, home: &std::path::Path, count: usize, kilobytes: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let before = machine::resident("self");
    runtime.block_on(async {
        let clock = Clock::system();
        let begin = clock.monotonic();
        let mut sessions = tokio::task::JoinSet::new();
        for n in 0..count {
            let (clock, path) = (clock.clone(), home.join(format!("many-{n}")));
            sessions.spawn(async move {
                let mut session = open(&clock, board, &path).await;
                let command = format!("flood {kilobytes}");
                let ran = session.follow(&command, Duration::from_secs(120), &mut |_| {}).await;
                assert_eq!(ran.expect("a status"), 0);
                session
            });
        }
        let open = sessions.join_all().await;
        let took = clock.monotonic().since(begin).as_secs_f64();
        let grown = machine::resident("self") - before;
        let megabytes = count as f64 * kilobytes as f64 / 1000.0;
        println!(
            "{} sessions of {kilobytes} KB each: {took:.2} s ({:.0} MB/s), memory +{grown:.1} MiB, {:.0} KB each",
            open.len(),
            megabytes / took,
            grown * 1048.576 / count as f64
        );
    });
}

struct Mine;

impl InHand for Mine {
    fn trusted(&self) -> bool {
        true
    }

    fn label(&self) -> String {
        "bench".to_owned()
    }
}

async fn open(clock: &Clock, board: SocketAddr, path: &std::path::Path) -> Session {
    let settings = ConsoleSettings { settle: Duration::ZERO, ..ConsoleSettings::default() };
    let target = ConsoleTarget { host: board.ip().to_string(), port: board.port(), settings };
    let transcript = Transcript::create(path, clock.now(), None).expect("a transcript");
    let hand: Arc<dyn InHand> = Arc::new(Mine);
    let ids = Ids::system();
    let dialled = console::dial(clock, &ids, hand, &target, WatchList::new(&[]), transcript);
    let mut session = dialled.await.expect("a console");
    session.login(None, None, Duration::from_secs(60)).await.expect("a shell");
    session
}

/// The argument that makes this program a board.
pub(crate) const BE_A_BOARD: &str = "be-a-board";

/// A board in another process, so that its memory and its work are not counted.
struct Board {
    process: Child,
    address: SocketAddr,
}

impl Board {
    fn start() -> Board {
        let program = std::env::current_exe().expect("this program's path");
        let child = Command::new(program).arg(BE_A_BOARD).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut process = child.expect("a child");
        let mut line = String::new();
        let out = process.stdout.take().expect("it is piped");
        BufReader::new(out).read_line(&mut line).expect("an address");
        Board { process, address: line.trim().parse().expect("an address") }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the child is: a board on loopback that knows `echo` and `flood KB`; a thread per connection.
pub(crate) fn board() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("{}", listener.local_addr().expect("address"));
    for stream in listener.incoming() {
        let mut stream = stream.expect("a connection");
        std::thread::spawn(move || {
            let reader = BufReader::new(stream.try_clone().expect("a clone"));
            let _ = stream.write_all(b"# ");
            for line in reader.split(b'\r') {
                let Ok(line) = line else { return };
                if obey(&String::from_utf8_lossy(&line), &mut stream).is_err() {
                    return;
                }
            }
        });
    }
}

fn obey(line: &str, out: &mut impl Write) -> std::io::Result<()> {
    for command in line.trim().split(';') {
        let command = command.trim().trim_start_matches("eval ").replace('\'', "").replace("$__r", "0");
        match command.split_once(' ').unwrap_or((&command, "")) {
            ("echo", text) => write!(out, "{text}\r\n")?,
            ("flood", kilobytes) => flood(&lines(), kilobytes.parse().unwrap_or(0), out)?,
            (kind, kilobytes) if TRAPS.contains(&kind) => {
                out.write_all(trap_begins(kind))?;
                flood(&trap(kind), kilobytes.parse().unwrap_or(0), out)?;
                out.write_all(b"\r\n")?;
            }
            _ => {}
        }
    }
    out.write_all(b"# ")
}

/// Lines of 84 bytes, as a kernel or a test prints them; every fiftieth ends like a prompt.
fn lines() -> String {
    let mut block = String::new();
    while block.len() < BLOCK_BYTES {
        let n = block.len() / 84;
        let end = if n % 50 == 49 { "$ " } else { "ok" };
        block.push_str(&format!(
            "{:<80}{end}\r\n",
            format!("    ok {n} test_case_{n} - checks register {n:#x}")
        ));
    }
    block
}

/// How much is written at a time; a whole number of lines.
const BLOCK_BYTES: usize = 84 * 762;

/// What stands before a trap: that of a trace without end begins one.
fn trap_begins(kind: &str) -> &'static [u8] {
    match kind {
        "trace" => b"BUG: KASAN: use-after-free in x\r\n",
        _ => b"",
    }
}

/// A line without end, a trace without end, text that nearly is trouble, and stamps that nearly are a kernel's.
fn trap(kind: &str) -> String {
    let piece = match kind {
        "endless" => "A",
        "trace" => " f+0x1/0x2\r\n",
        "nearly" => {
            "INFO: task Kernel pani BUG: KASA INFO: rcu_ Internal error: traps: Assertion I/O error, de\r\n"
        }
        _ => "[    1.234567] [   12.34567",
    };
    piece.repeat(BLOCK_BYTES / piece.len())
}

/// So much of a text, again and again.
fn flood(block: &str, kilobytes: usize, out: &mut impl Write) -> std::io::Result<()> {
    let whole = kilobytes * 1000 / block.len();
    for _ in 0..whole {
        out.write_all(block.as_bytes())?;
    }
    out.write_all(&block.as_bytes()[..kilobytes * 1000 % block.len() / 84 * 84])
}
