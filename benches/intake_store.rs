//! How many deliveries a second the store takes, through the trait: each starts a run (rows in five tables and an
//! audit row), beside the least that a durable intake could be: one row in one table, committed in groups too.
//!
//! `cargo bench --bench intake_store`; `-- --seconds 5` for longer rounds, `-- --dir PATH` for another disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use boardhand::board::Family;
use boardhand::chat::{Actor, Place, Platform};
use boardhand::clock::{Clock, Monotonic};
use boardhand::id::{Ids, RunId};
use boardhand::message::Note;
use boardhand::run::{Priority, RunKind, RunSpec, Selector};
use boardhand::store::sql::{SqlStore, SqliteOptions};
use boardhand::store::{Audit, Effect, Intake, NewRun, Store};
use serde_json::json;
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use tokio::sync::{mpsc, oneshot};

fn main() {
    let mut seconds = 2;
    let mut dir = std::env::temp_dir();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seconds" => seconds = args.next().and_then(|n| n.parse().ok()).unwrap_or(seconds),
            "--dir" => dir = args.next().map_or(dir, PathBuf::from),
            // What cargo adds.
            _ => {}
        }
    }
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    runtime.block_on(compare(&dir, Duration::from_secs(seconds)));
}

async fn compare(dir: &Path, round: Duration) {
    println!("{:>11} {:>12} {:>12} {:>7}", "concurrency", "store", "bare row", "ratio");
    for concurrency in [1, 8, 32, 64] {
        let home = tempfile::tempdir_in(dir).expect("directory");
        let options = SqliteOptions::new(Ids::system());
        let store = Arc::new(SqlStore::open(home.path(), options).await.expect("store"));
        let ids = Ids::system();
        let full = rate(concurrency, round, {
            let store = store.clone();
            move |n| {
                let (store, intake) = (store.clone(), intake(&ids, n));
                async move { assert!(store.commit(intake).await.expect("commit").fresh) }
            }
        });
        let full = full.await;
        store.close().await;

        let bare = Bare::start(&home.path().join("bare.db")).await;
        let row = move |n: u64| {
            let rows = bare.clone();
            async move { rows.insert(format!("slack:{n}")).await }
        };
        let bare = rate(concurrency, round, row).await;
        println!("{concurrency:>11} {full:>10.0}/s {bare:>10.0}/s {:>7.2}", full / bare);
    }
}

/// Calls a second with so many callers at once.
async fn rate<F, Fut>(concurrency: usize, round: Duration, call: F) -> f64
where
    F: Fn(u64) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let clock = Clock::system();
    let (next, begin) = (Arc::new(AtomicU64::new(0)), clock.monotonic());
    let end: Monotonic = begin + round;
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..concurrency {
        let (clock, next, call) = (clock.clone(), next.clone(), call.clone());
        callers.spawn(async move {
            while clock.monotonic() < end {
                call(next.fetch_add(1, Ordering::Relaxed)).await;
            }
        });
    }
    callers.join_all().await;
    let took = clock.monotonic().since(begin);
    next.load(Ordering::Relaxed) as f64 / took.as_secs_f64()
}

fn intake(ids: &Ids, n: u64) -> Intake {
    let now = Clock::system().now();
    let actor =
        Actor { platform: Platform::Slack, id: "U0LI".into(), team: "T0LAB".into(), name: "li".into() };
    let place = Place { platform: Platform::Slack, channel: "C0SOCCI".into(), thread: None };
    let run = NewRun {
        id: RunId::new(ids, now),
        spec: RunSpec {
            kind: RunKind::Test,
            family: Family::new("socA"),
            build: format!("build-{n}"),
            suite: "smoke".into(),
            selector: Selector::default(),
            priority: Priority::Normal,
            boards: 1,
            on_own_board: false,
            timeout: None,
            params: Default::default(),
        },
        requested_by: actor.clone(),
        origin: place.clone(),
        cards: vec![place],
        via: None,
        callback: None,
        created_at: now,
        retry_of: None,
        once: None,
        avoid: vec![],
        message: None,
    };
    Intake {
        key: format!("slack:{n}.1234567890.abcdef0123456789"),
        platform: Platform::Slack,
        actor,
        received_at: now,
        remembered: true,
        effect: Effect::Start(vec![run]),
        answer: Note::new(
            "run-accepted",
            json!({ "position": 12, "why": "every socA board is busy", "eta_s": 900 }),
        ),
        instead: vec![],
        answer_via: None,
        shows: None,
        audit: Audit { verb: "run".into(), target: "socA".into(), allowed: true, reason: "user: *".into() },
        source: None,
    }
}

type Row = (String, oneshot::Sender<()>);

/// One table, one row a call, committed in groups: what a store could do at best.
#[derive(Clone)]
struct Bare(mpsc::Sender<Row>);

impl Bare {
    async fn start(file: &Path) -> Bare {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let mut connection = options.connect().await.expect("database");
        execute(&mut connection, "CREATE TABLE bare (key TEXT NOT NULL PRIMARY KEY) STRICT").await;
        let (rows, mut queued) = mpsc::channel::<Row>(4096);
        tokio::spawn(async move {
            let mut taken = Vec::new();
            while queued.recv_many(&mut taken, 256).await > 0 {
                let keys: Vec<&str> = taken.iter().map(|(key, _)| key.as_str()).collect();
                let keys = serde_json::to_string(&keys).expect("json");
                execute(&mut connection, "BEGIN IMMEDIATE").await;
                let insert = sqlx::query("INSERT INTO bare SELECT value FROM json_each(?1)").bind(keys);
                insert.execute(&mut connection).await.expect("insert");
                execute(&mut connection, "COMMIT").await;
                for (_, reply) in taken.drain(..) {
                    let _ = reply.send(());
                }
            }
        });
        Bare(rows)
    }

    async fn insert(&self, key: String) {
        let (reply, done) = oneshot::channel();
        self.0.send((key, reply)).await.expect("the writer lives");
        done.await.expect("a commit");
    }
}

async fn execute(connection: &mut SqliteConnection, sql: &'static str) {
    sqlx::query(sql).execute(connection).await.expect(sql);
}
