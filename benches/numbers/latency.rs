//! From an accepted command to its run: how soon it begins on an idle system, and how soon fifty, then a thousand, are
//! through when all are sent at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use boardhand::clock::{Clock, Monotonic};
use boardhand::id::Ids;
use boardhand::run::RunState;
use boardhand::sim::{SimLab, Speed};
use boardhand::store::RunFilter;

use crate::http::{self, Connection};
use crate::lab::{self, Server};
use crate::machine::{Spread, median};

const BOARDS: usize = 50;
/// Fast simulated boards stand at their login well before.
const BOOTED_AFTER: Duration = Duration::from_secs(5);

/// How often it is looked whether runs are through: looking costs the server time too.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// When commands were committed and attempts began, as the server's own log says it.
static COMMITTED: Mutex<Vec<Monotonic>> = Mutex::new(Vec::new());
static BEGUN: Mutex<Vec<Monotonic>> = Mutex::new(Vec::new());
static CLOCK: std::sync::LazyLock<Clock> = std::sync::LazyLock::new(Clock::system);

/// Hears the server say that an attempt begins.
pub(crate) struct Begun;

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Begun {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        if matches!(event.metadata().target(), "boardhand::worker::runner" | "boardhand::door") {
            event.record(&mut Words);
        }
    }
}

struct Words;

impl tracing::field::Visit for Words {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            match format!("{value:?}").as_str() {
                "committed" => COMMITTED.lock().expect("lock").push(CLOCK.monotonic()),
                "the attempt begins" => BEGUN.lock().expect("lock").push(CLOCK.monotonic()),
                _ => {}
            }
        }
    }
}

fn begun() -> Vec<Monotonic> {
    BEGUN.lock().expect("lock").clone()
}

struct Lab {
    server: Server,
    _boards: SimLab,
    _home: tempfile::TempDir,
}

async fn start() -> Lab {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let inventory = lab::inventory(&lab::yaml(1, BOARDS));
    let boards = SimLab::start(&inventory, Speed::Fast, Clock::system(), Ids::system()).await;
    let (boards, inventory) = boards.expect("simulated lab");
    // The boards are on from here: they boot, and a key pressed meanwhile would stop them at their boot loader.
    CLOCK.sleep(BOOTED_AFTER).await;
    let server = Server::start(home.path(), inventory).await;
    Lab { server, _boards: boards, _home: home }
}

/// One run at a time; each takes a simulated board a quarter of a second or more, so a minute holds no more of them.
pub(crate) fn accepted_to_begun() {
    const RUNS: usize = 100;
    lab::runtime().block_on(async {
        let lab = start().await;
        let clock = &*CLOCK;
        let mut connection = Connection::open(lab.server.address).await;
        let (mut answered, mut begins, mut wholes) = (vec![], vec![], vec![]);
        let (before, committed_before) = (begun().len(), COMMITTED.lock().expect("lock").len());
        for n in 0..RUNS {
            let request = http::slash_command(
                clock,
                "/webhooks/slack",
                "/run-test",
                &format!("soc0 b{n}"),
                &format!("l{n}"),
            );
            let sent = clock.monotonic();
            assert_eq!(connection.call(&request).await, 200);
            let accepted = clock.monotonic();
            answered.push(accepted.since(sent));
            while begun().len() <= before + n {
                clock.sleep(Duration::from_micros(200)).await;
            }
            let committed = COMMITTED.lock().expect("lock")[committed_before + n];
            begins.push(begun()[before + n].since(committed));
            wholes.push(begun()[before + n].since(sent));
            finished(&lab.server, n + 1, LOOK_EVERY).await;
            at_rest(&lab.server).await;
        }
        println!("sent -> accepted        {}", Spread::of(answered));
        println!("accepted -> run begins  {}", Spread::of(begins));
        println!("sent -> run begins      {}", Spread::of(wholes));
        lab.server.end().await;
    });
}

/// Fifty at once, five times; then a thousand.
pub(crate) fn burst() {
    lab::runtime().block_on(async {
        let lab = start().await;
        let (mut done, mut whole) = (0, vec![]);
        for _ in 0..5 {
            let took = all_at_once(&lab.server, done, BOARDS).await;
            done += BOARDS;
            whole.push(took.as_secs_f64() * 1e3);
        }
        println!("50 runs on 50 boards: every outcome committed after {} ms", median(whole));
        let took = all_at_once(&lab.server, done, 1000).await;
        println!("1,000 runs on 50 boards: {:.1} s, {:.0} runs/s", took.as_secs_f64(), 1000.0 / took.as_secs_f64());
        let filter = RunFilter { limit: 5000, ..RunFilter::default() };
        let runs = lab.server.store.run_list(&filter).await.expect("runs");
        let passed = runs.iter().filter(|run| {
            matches!(&run.state, RunState::Finished { outcome, attempt: 1, .. } if outcome.verdict.as_str() == "passed")
        });
        println!("passed at the first attempt: {} of {}", passed.count(), runs.len());
        lab.server.end().await;
    });
}

/// Sends so many from eight connections at once; the time until the last outcome is committed.
async fn all_at_once(server: &Server, done: usize, runs: usize) -> Duration {
    let clock = &*CLOCK;
    let requests: Vec<Vec<u8>> = (done..done + runs)
        .map(|n| {
            http::slash_command(
                clock,
                "/webhooks/slack",
                "/run-test",
                &format!("soc0 b{n}"),
                &format!("b{n}"),
            )
        })
        .collect();
    let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
    let begin = clock.monotonic();
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (requests, next, address) = (requests.clone(), next.clone(), server.address);
        senders.spawn(async move {
            let mut connection = Connection::open(address).await;
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                assert_eq!(connection.call(request).await, 200);
            }
        });
    }
    senders.join_all().await;
    finished(server, done + runs, LOOK_EVERY).await;
    let took = clock.monotonic().since(begin);
    at_rest(server).await;
    took
}

/// Waits until every board is at rest, and the loops with them.
async fn at_rest(server: &Server) {
    while server.store.census().await.expect("census").leases > 0 {
        CLOCK.sleep(LOOK_EVERY).await;
    }
    CLOCK.sleep(Duration::from_millis(20)).await;
}

/// Waits until so many runs were accepted and all of them have an outcome.
async fn finished(server: &Server, runs: usize, look_every: Duration) {
    loop {
        let census = server.store.census().await.expect("census");
        let filter = RunFilter { limit: 1, ..RunFilter::default() };
        let newest = server.store.run_list(&filter).await.expect("runs").first().map_or(0, |run| run.number);
        if census.queued + census.active == 0 && newest as usize >= runs {
            return;
        }
        CLOCK.sleep(look_every).await;
    }
}
