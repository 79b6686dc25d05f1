//! The program itself, doing nothing: from its start to ready, its memory, its CPU time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use boardhand::clock::Clock;

use crate::lab;
use crate::machine::{cpu_seconds, median, resident};

const BOARDS: usize = 20;
const STARTS: usize = 7;
const WATCHED: Duration = Duration::from_secs(30);

/// Measures it.
pub(crate) fn server() {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let boards = home.path().join("boards.yaml");
    std::fs::write(&boards, lab::yaml(1, BOARDS)).expect("boards.yaml");
    let (mut fresh, mut again) = (vec![], vec![]);
    for n in 0..STARTS {
        let data = home.path().join(format!("data-{n}"));
        for starts in [&mut fresh, &mut again] {
            let (server, took) = Server::start(&boards, &data);
            starts.push(took.as_secs_f64() * 1e3);
            drop(server);
        }
    }
    println!("start -> ready: new database {} ms, existing {} ms", median(fresh), median(again));

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let clock = Clock::system();
    let (server, _) = Server::start(&boards, &home.path().join("data-0"));
    runtime.block_on(async { clock.sleep(Duration::from_secs(3)).await });
    let before = cpu_seconds(&server.id());
    runtime.block_on(async { clock.sleep(WATCHED).await });
    let used = (cpu_seconds(&server.id()) - before) / WATCHED.as_secs_f64() * 100.0;
    println!("idle: {:.1} MiB resident, {used:.3} % of a core", resident(&server.id()));
}

pub(crate) struct Server(Child);

impl Server {
    fn start(boards: &Path, data: &Path) -> (Server, Duration) {
        let (server, took, _) = Server::start_with(&[], &[], boards, data);
        (server, took)
    }

    /// The same with more arguments and variables; gives its address too.
    pub(crate) fn start_with(
        args: &[&str],
        variables: &[(&str, &str)],
        boards: &Path,
        data: &Path,
    ) -> (Server, Duration, SocketAddr) {
        let probe = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = probe.local_addr().expect("address");
        drop(probe);
        let clock = Clock::system();
        let begin = clock.monotonic();
        let child = Command::new(env!("CARGO_BIN_EXE_boardhand"))
            .arg("serve")
            .args(args)
            .env("BOARDHAND_LISTEN", address.to_string())
            .env("BOARDHAND_BOARDS", boards)
            .env("BOARDHAND_DATA_DIR", data)
            .env("SLACK_SIGNING_SECRET", "bench-signing-secret")
            .env("SLACK_BOT_TOKEN", "xoxb-bench")
            .env("SLACK_API_URL", "http://127.0.0.1:9/api/")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let server = Server(child);
        while !is_ready(address) {
            assert!(clock.monotonic().since(begin) < Duration::from_secs(20), "not ready");
            std::thread::yield_now();
        }
        (server, clock.monotonic().since(begin), address)
    }

    pub(crate) fn id(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_ready(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let mut answer = String::new();
    let asked = stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: boardhand\r\nConnection: close\r\n\r\n");
    asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200")
}
