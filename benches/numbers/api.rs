//! The API: what is read while 100,000 finished runs are kept, and clients that wait for a run to end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use boardhand::board::Family;
use boardhand::chat::{Actor, Place, Platform};
use boardhand::clock::{Clock, Monotonic};
use boardhand::door::server::raise_file_limit;
use boardhand::id::{Ids, RunId};
use boardhand::message::Note;
use boardhand::outcome::{Counts, Outcome, Verdict};
use boardhand::run::{Priority, RunKind, RunSpec, Selector, Stage};
use boardhand::store::{Audit, Effect, Intake, NewRun, Store};
use futures_util::StreamExt;
use serde_json::json;

use crate::http::{Connection, question};
use crate::lab::{self, Server};
use crate::machine::{Spread, cpu_seconds, resident};

const FINISHED: usize = 100_000;
const CLIENTS: usize = 8;
const READS: usize = 500;
const WAITERS: usize = 5_000;
/// Different runs that they wait for.
const AWAITED: usize = 500;
/// Runs that are waited for one at a time, by a client of their own.
const ENDS: usize = 200;
/// Writes at once while runs are made.
const AT_ONCE: usize = 256;

/// Measures it.
pub(crate) fn reads_and_waits() {
    raise_file_limit();
    lab::runtime().block_on(async {
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let server = Server::start(home.path(), lab::inventory(&lab::yaml(1, 20))).await;
        let runs = Runs { store: server.store.clone(), clock: Clock::system(), ids: Ids::system() };
        runs.make(FINISHED, true).await;
        for (what, path) in [
            ("one run", "/api/v1/runs/50000"),
            ("the newest 50", "/api/v1/runs?limit=50"),
            ("50 of long ago", "/api/v1/runs?limit=50&before=5000"),
            ("20 boards", "/api/v1/boards"),
        ] {
            println!("{what}: {}", reads(server.address, path).await);
        }
        wait(&server, &runs).await;
        server.end().await;
    });
}

/// The same question by several clients.
async fn reads(address: SocketAddr, path: &str) -> Spread {
    let clock = Clock::system();
    let client = |_| {
        let (clock, question) = (clock.clone(), question(path));
        tokio::spawn(async move {
            let mut connection = Connection::open(address).await;
            let mut took = Vec::with_capacity(READS);
            for _ in 0..READS {
                let begun = clock.monotonic();
                assert_eq!(connection.call(&question).await, 200);
                took.push(clock.monotonic().since(begun));
            }
            took
        })
    };
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    let mut took = Vec::new();
    for client in clients {
        took.extend(client.await.expect("no panic"));
    }
    Spread::of(took)
}

/// Many who wait, what they cost, and how soon one hears of an end among them.
async fn wait(server: &Server, runs: &Runs) {
    let own = std::process::id().to_string();
    let first = runs.make(AWAITED, false).await;
    let before = resident(&own);
    let mut waiting = Vec::with_capacity(WAITERS);
    for n in 0..WAITERS {
        let mut connection = Connection::open(server.address).await;
        connection.ask(&question(&format!("/api/v1/runs/{}?wait=120s", first + (n % AWAITED) as i64))).await;
        waiting.push(connection);
    }
    runs.clock.sleep(Duration::from_secs(2)).await;
    let cost = resident(&own) - before;
    let (begun, cpu) = (runs.clock.monotonic(), cpu_seconds(&own));
    let mut heard = Vec::with_capacity(ENDS);
    let mut connection = Connection::open(server.address).await;
    for _ in 0..ENDS {
        let number = runs.make(1, false).await;
        connection.ask(&question(&format!("/api/v1/runs/{number}?wait=60s"))).await;
        // Until it waits.
        runs.clock.sleep(Duration::from_millis(50)).await;
        let ended = runs.withdraw(number).await;
        assert_eq!(connection.answered().await, 200);
        heard.push(runs.clock.monotonic().since(ended));
    }
    let share = (cpu_seconds(&own) - cpu) / runs.clock.monotonic().since(begun).as_secs_f64();
    println!(
        "{WAITERS} clients wait: {cost:.1} MiB, both ends of each connection; {:.0} % of a core meanwhile",
        share * 100.0
    );
    println!("from the commit of an end to the answer, beside them: {}", Spread::of(heard));
    for number in first..first + AWAITED as i64 {
        runs.withdraw(number).await;
    }
    let begun = runs.clock.monotonic();
    for connection in &mut waiting {
        assert_eq!(connection.answered().await, 200);
    }
    println!(
        "all of them answered {} ms after the last end",
        runs.clock.monotonic().since(begun).as_millis()
    );
}

/// Makes runs, and ends them before anybody has begun with them.
struct Runs {
    store: Arc<dyn Store>,
    clock: Clock,
    ids: Ids,
}

impl Runs {
    /// So many runs; the number of the first. Nothing serves them, so that they wait until they are withdrawn.
    async fn make(&self, count: usize, finished: bool) -> i64 {
        let made = futures_util::stream::iter(0..count).map(|_| async {
            let committed = self.store.commit(self.intake()).await.expect("commit");
            let number = committed.answer.facts["number"].as_i64().expect("a number");
            if finished {
                self.withdraw(number).await;
            }
            number
        });
        made.buffer_unordered(AT_ONCE).fold(i64::MAX, async |first, number| first.min(number)).await
    }

    /// Ends one; when that was committed.
    async fn withdraw(&self, number: i64) -> Monotonic {
        let outcome = Outcome {
            verdict: Verdict::Infra,
            cause: "no-boards".into(),
            stage: Stage::Queued,
            detail: "nothing serves it".into(),
            excerpt: vec![],
            cases: vec![],
            counts: Counts::default(),
        };
        let note = Note::new("run-withdrawn", json!({}));
        self.store.run_withdraw(number, &outcome, &note, self.clock.now()).await.expect("withdrawn");
        self.clock.monotonic()
    }

    fn intake(&self) -> Intake {
        let now = self.clock.now();
        let id = RunId::new(&self.ids, now);
        let by =
            Actor { platform: Platform::Api, id: "admin".into(), team: String::new(), name: String::new() };
        let spec = RunSpec {
            kind: RunKind::Test,
            family: Family::new("none"),
            build: "build-1".into(),
            suite: "trivial".into(),
            selector: Selector::default(),
            priority: Priority::Normal,
            boards: 1,
            on_own_board: false,
            timeout: None,
            params: Default::default(),
        };
        let nowhere = Place { platform: Platform::Api, channel: String::new(), thread: None };
        let run = NewRun {
            id,
            spec,
            requested_by: by.clone(),
            origin: nowhere,
            cards: vec![],
            via: None,
            callback: None,
            created_at: now,
            retry_of: None,
            once: None,
            avoid: vec![],
            message: None,
        };
        Intake {
            key: format!("api:{id}"),
            platform: Platform::Api,
            actor: by,
            received_at: now,
            remembered: false,
            effect: Effect::Start(vec![run]),
            answer: Note::new("answer", json!({})),
            instead: vec![],
            answer_via: None,
            shows: None,
            audit: Audit::default(),
            source: None,
        }
    }
}
