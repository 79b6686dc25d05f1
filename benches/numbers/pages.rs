//! Pages as their readers notice them: the wall of a large lab, and a live console that many look at. The program itself, with
//! simulated boards; readers in this process.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use boardhand::clock::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http::TOKEN;
use crate::idle::Server;
use crate::machine::{median, process_cpu_seconds};

const BOARDS: usize = 1_000;
const OPENED: usize = 50;
const VIEWERS: usize = 500;
const WATCHED: Duration = Duration::from_secs(20);
/// How long viewers take to have read what was there before they came.
const SETTLES: Duration = Duration::from_secs(15);
/// How many steps the run has, and what each prints.
const STEPS: usize = 400;
const LINES: usize = 5;

/// Measures both.
pub(crate) fn pages() {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let boards = home.path().join("boards.yaml");
    std::fs::write(&boards, yaml()).expect("boards.yaml");
    let extra = [("BOARDHAND_ADMIN_TOKEN", TOKEN)];
    let (server, _, address) =
        Server::start_with(&["--simulate"], &extra, &boards, &home.path().join("data"));
    let cookie = sign_in(address);
    let clock = Clock::system();
    let mut took = vec![];
    let mut bytes = 0;
    for _ in 0..OPENED {
        let begin = clock.monotonic();
        let page = ask(address, &format!("GET / HTTP/1.1\r\nCookie: {cookie}\r\n"), "");
        took.push(clock.monotonic().since(begin).as_secs_f64() * 1e3);
        assert!(page.contains("soc-0-1000"), "the wall");
        bytes = page.len();
    }
    println!("wall of {BOARDS} boards: {bytes} bytes in {} ms", median(took));

    let run = r#"{"board": "soc-0-0001", "build": "build-1", "suite": "chatter"}"#;
    let post = format!(
        "POST /api/v1/runs HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
    );
    let told = ask(address, &post, run);
    assert!(told.contains("202"), "{told}");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runtime");
    runtime.block_on(async {
        while !ask(address, &format!("GET /runs/1 HTTP/1.1\r\nCookie: {cookie}\r\n"), "")
            .contains("id=\"log\"")
        {
            clock.sleep(Duration::from_millis(200)).await;
        }
        let mut used = vec![];
        for viewers in [0, 1, VIEWERS] {
            let told = Arc::new(AtomicU64::new(0));
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..viewers {
                tasks.spawn(view(address, cookie.clone(), told.clone()));
            }
            clock.sleep(SETTLES).await;
            let (before, heard) = (process_cpu_seconds(&server.id()), told.load(Ordering::Relaxed));
            clock.sleep(WATCHED).await;
            let share = (process_cpu_seconds(&server.id()) - before) / WATCHED.as_secs_f64() * 100.0;
            let heard = told.load(Ordering::Relaxed) - heard;
            println!("{viewers} viewers: {share:.2} % of a core, {heard} bytes told");
            used.push(share);
            assert!(viewers == 0 || heard > 0, "something is told");
        }
        println!("{VIEWERS} viewers cost {:.2} times what one does", used[2] / used[1]);
    });
}

/// A thousand boards, and a suite that prints without end.
fn yaml() -> String {
    let mut text = crate::lab::yaml(1, BOARDS);
    text = text.replace("suites: {trivial: trivial}", "suites: {trivial: trivial, chatter: chatter}");
    let line =
        "echo 'npu fde40000.npu: core 0: queue 3: job 17 done in 1234 us, 12 pages, no fault';".repeat(LINES);
    text.push_str("  chatter:\n    limits: {total: 1h, no_output: 60s}\n    test:\n");
    for n in 1..=STEPS {
        let _ = writeln!(text, "      - {{name: step-{n}, run: \"{line} sleep 0.3\", within: 60s}}");
    }
    text
}

/// One request, and its whole answer.
fn ask(address: SocketAddr, head: &str, body: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).expect("a connection");
    let rest =
        format!("Host: {address}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    stream.write_all(format!("{head}{rest}").as_bytes()).expect("is sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

fn sign_in(address: SocketAddr) -> String {
    let form = "POST /signin HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let answer = ask(address, form, &format!("token={TOKEN}"));
    let (_, cookie) = answer.split_once("set-cookie: ").unwrap_or_else(|| panic!("{answer}"));
    cookie.split(';').next().expect("a cookie").to_owned()
}

/// Somebody who looks at the run's console.
async fn view(address: SocketAddr, cookie: String, told: Arc<AtomicU64>) {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let path = "/live/runs/1?attempt=1&from=0&line=1";
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("is sent");
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = stream.read(&mut bytes).await.unwrap_or(0);
        assert!(read > 0, "the stream goes on");
        told.fetch_add(read as u64, Ordering::Relaxed);
    }
}
