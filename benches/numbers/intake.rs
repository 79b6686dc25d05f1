//! Intake: signed slash commands, each a whole durable commit (delivery, run, event, card, audit), beside the least
//! that a durable webhook could be: axum, the same signature check, one row, committed in groups.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use boardhand::board::{BoardId, Inventory};
use boardhand::chat::slack::signature::Verifier;
use boardhand::chat::{Actor, Platform};
use boardhand::clock::Clock;
use boardhand::id::{Ids, LeaseId};
use boardhand::lease::Holder;
use boardhand::store::{Granted, LeaseTerms};
use bytes::Bytes;
use secrecy::SecretString;
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::http::{self, Connection, SECRET};
use crate::lab::{self, Server};
use crate::machine::{self, DiskWriter, Spread, median};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(4);
const CONNECTIONS: usize = 32;
/// Requests signed ahead for one round.
const REQUESTS_MAX: usize = 160_000;
/// Boards of the lab; people hold all of them, so that runs wait.
const BOARDS: usize = 20;

/// Product and reference in turn.
pub(crate) fn compare() {
    let home = home();
    let (mut ratios, mut product, mut bare, mut p50s, mut p99s) = (vec![], vec![], vec![], vec![], vec![]);
    let (mut product_cpu, mut bare_cpu) = (vec![], vec![]);
    for round in 1..=ROUNDS {
        let requests = Arc::new(requests("/webhooks/slack"));
        let runtime = lab::runtime();
        let server = runtime.block_on(start(&home.path().join(format!("product-{round}"))));
        let before = machine::resident("self");
        let (rate, spread, cpu) = closed_loop(server.address, &requests);
        let loaded = machine::resident("self") - before;
        runtime.block_on(server.end());
        drop(runtime);

        let runtime = lab::runtime();
        let address = runtime.block_on(bare_server(&home.path().join(format!("bare-{round}.db"))));
        let (limit, limit_spread, limit_cpu) = closed_loop(address, &requests);
        drop(runtime);
        println!(
            "round {round}: product {rate:.0}/s {spread}, {cpu:.0} us of CPU each, memory +{loaded:.1} MiB"
        );
        println!(
            "         bare    {limit:.0}/s {limit_spread}, {limit_cpu:.0} us of CPU each, ratio {:.2}",
            rate / limit
        );
        ratios.push(rate / limit);
        product.push(rate);
        bare.push(limit);
        p50s.push(spread.at(50.0));
        p99s.push(spread.at(99.0));
        product_cpu.push(cpu);
        bare_cpu.push(limit_cpu);
    }
    println!("ratio {}, product {}/s, bare {}/s", median(ratios), median(product), median(bare));
    println!(
        "CPU of server and client per request: product {} us, bare {} us",
        median(product_cpu),
        median(bare_cpu)
    );
    println!("p50 {} ms, p99 {} ms at {CONNECTIONS} connections", median(p50s), median(p99s));
}

/// 500 requests a second, whatever the answers, while another process writes to the same disk.
pub(crate) fn steady() {
    const RATE: usize = 500;
    const LASTS: Duration = Duration::from_secs(20);
    let home = home();
    let requests = Arc::new(requests("/webhooks/slack"));
    for (name, busy) in [("disk quiet", false), ("disk busy", true)] {
        let runtime = lab::runtime();
        let server = runtime.block_on(start(&home.path().join(name)));
        let writer = busy.then(|| DiskWriter::start(&home.path().join("noise")));
        let spread = open_loop(server.address, &requests, RATE, LASTS);
        drop(writer);
        runtime.block_on(server.end());
        println!("{RATE}/s, {name}: {spread}; over 1 s: {}", spread.over(1000.0));
    }
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory on the disk of the build")
}

fn requests(path: &str) -> Vec<Vec<u8>> {
    let clock = Clock::system();
    let request = |n| {
        http::slash_command(
            &clock,
            path,
            "/run-test",
            &format!("soc0 build-{n}"),
            &format!("{n}.47445629121.803a0bc8"),
        )
    };
    (0..REQUESTS_MAX).map(request).collect()
}

/// A server whose boards are all held by a person.
async fn start(data: &Path) -> Server {
    let inventory: Inventory = lab::inventory(&lab::yaml(1, BOARDS));
    let boards: Vec<BoardId> = inventory.boards.keys().cloned().collect();
    let server = Server::start(data, inventory).await;
    let (clock, ids) = (Clock::system(), Ids::system());
    let now = clock.now();
    let expires_at = now + Duration::from_secs(86_400);
    let terms = LeaseTerms { instance: server.instance, now, expires_at, drains_seen: None };
    let person =
        Actor { platform: Platform::Slack, id: "U0LI".into(), team: "T0LAB".into(), name: "li".into() };
    for board in boards {
        let holder = Holder::Person(person.clone());
        let taken = server.store.lease_take(LeaseId::new(&ids, now), &board, &holder, &terms).await;
        assert!(matches!(taken.expect("taken"), Granted::Leases(_)));
    }
    server
}

/// Every connection sends its next request when the last one is answered. From a thread of its own, as a client on
/// another machine would be. Gives the rate, how long each took, and the microseconds of CPU that this process spent on
/// each: on a busy machine the rates depend on who else runs, this much less.
fn closed_loop(address: SocketAddr, requests: &Arc<Vec<Vec<u8>>>) -> (f64, Spread, f64) {
    let cpu_before = machine::cpu_seconds("self");
    let (next, requests, clock) = (Arc::new(AtomicUsize::new(0)), requests.clone(), Clock::system());
    let client = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let begin = clock.monotonic();
            let end = begin + ROUND;
            let mut clients = tokio::task::JoinSet::new();
            for _ in 0..CONNECTIONS {
                let (next, requests, clock) = (next.clone(), requests.clone(), clock.clone());
                clients.spawn(async move {
                    let (mut connection, mut took) = (Connection::open(address).await, Vec::new());
                    while clock.monotonic() < end
                        && let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        let sent = clock.monotonic();
                        assert_eq!(connection.call(request).await, 200);
                        took.push(clock.monotonic().since(sent));
                    }
                    took
                });
            }
            let took: Vec<Duration> = clients.join_all().await.into_iter().flatten().collect();
            let rate = took.len() as f64 / clock.monotonic().since(begin).as_secs_f64();
            // Its own thread is still there to be counted.
            let cpu = machine::cpu_seconds("self") - cpu_before;
            (rate, cpu * 1e6 / took.len().max(1) as f64, Spread::of(took))
        })
    });
    let (rate, cpu, spread) = client.join().expect("the client");
    (rate, spread, cpu)
}

/// Requests at fixed instants; each is timed from the instant at which it was due.
fn open_loop(address: SocketAddr, requests: &Arc<Vec<Vec<u8>>>, rate: usize, lasts: Duration) -> Spread {
    const CONNECTIONS_MAX: usize = 200;
    let (requests, clock) = (requests.clone(), Clock::system());
    let client = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let (next, took) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
            let begin = clock.monotonic() + Duration::from_millis(100);
            let total = rate * lasts.as_secs() as usize;
            let mut clients = tokio::task::JoinSet::new();
            for _ in 0..CONNECTIONS_MAX {
                let (next, took, requests, clock) =
                    (next.clone(), took.clone(), requests.clone(), clock.clone());
                clients.spawn(async move {
                    let mut connection = Connection::open(address).await;
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= total {
                            return;
                        }
                        let due = begin + Duration::from_secs_f64(n as f64 / rate as f64);
                        clock.sleep_until(due).await;
                        assert_eq!(connection.call(&requests[n]).await, 200);
                        took.lock().expect("lock").push(clock.monotonic().since(due));
                    }
                });
            }
            clients.join_all().await;
            let took = std::mem::take(&mut *took.lock().expect("lock"));
            Spread::of(took)
        })
    });
    client.join().expect("the client")
}

// ---- the reference ----------------------------------------------------------------------------------------

type Row = (String, oneshot::Sender<()>);

#[derive(Clone)]
struct Bare {
    verifier: Arc<Verifier>,
    clock: Clock,
    rows: mpsc::Sender<Row>,
}

async fn bare_server(file: &Path) -> SocketAddr {
    let (rows, queued) = mpsc::channel(4096);
    tokio::spawn(bare_writer(connect(file).await, queued));
    let verifier = Arc::new(Verifier::new(&[SecretString::from(SECRET)]));
    let bare = Bare { verifier, clock: Clock::system(), rows };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("address");
    let app = axum::Router::new().route("/webhooks/slack", post(bare_receive)).with_state(bare);
    tokio::spawn(axum::serve(listener, app).into_future());
    address
}

async fn bare_receive(State(bare): State<Bare>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| headers.get(name).map(|value| value.as_bytes());
    let (at, signature) = (header("x-slack-request-timestamp"), header("x-slack-signature"));
    if bare.verifier.verify(bare.clock.now(), at, signature, &body).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    let (reply, done) = oneshot::channel();
    let row = String::from_utf8_lossy(&body).into_owned();
    bare.rows.send((row, reply)).await.expect("the writer lives");
    done.await.expect("a commit");
    StatusCode::OK
}

async fn connect(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut connection = options.connect().await.expect("database");
    execute(&mut connection, "CREATE TABLE bare (body TEXT NOT NULL) STRICT").await;
    connection
}

async fn bare_writer(mut connection: SqliteConnection, mut queued: mpsc::Receiver<Row>) {
    let mut taken = Vec::new();
    while queued.recv_many(&mut taken, 256).await > 0 {
        let bodies: Vec<&str> = taken.iter().map(|(body, _)| body.as_str()).collect();
        let bodies = serde_json::to_string(&bodies).expect("json");
        execute(&mut connection, "BEGIN IMMEDIATE").await;
        let insert = sqlx::query("INSERT INTO bare SELECT value FROM json_each(?1)").bind(bodies);
        insert.execute(&mut connection).await.expect("insert");
        execute(&mut connection, "COMMIT").await;
        for (_, reply) in taken.drain(..) {
            let _ = reply.send(());
        }
    }
}

async fn execute(connection: &mut SqliteConnection, sql: &'static str) {
    sqlx::query(sql).execute(connection).await.expect(sql);
}
