//! `kill -9` at any instant, against the real binary. Boards, PDUs and Slack live in this process, so they keep power,
//! shell and half-run command while the server dies and comes back. Every board logs every byte with its time and
//! connection; at the end that log is joined with the lease history.
//!
//! Invariants checked: nothing acknowledged is lost, no run ends twice, no card stands twice, every byte on a board's
//! console falls into a lease of that board, and no connection outlives the lease it began under.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use boardhand::clock::{Clock, Timestamp};
use boardhand::id::Ids;
use boardhand::sim::slack::{SimSlack, SimSlackConfig};
use boardhand::sim::{SimLab, Speed};
use secrecy::SecretString;
use sqlx::Row;
use tokio::process::{Child, Command};

use crate::lab;

/// Kill points of the usual run; `BOARDHAND_KILL_POINTS` sets another number.
const KILL_POINTS: u64 = 100;
/// Runs sent between two kills: by a command each, or by one for all of them.
const RUNS_PER_POINT: usize = 2;
/// Half of the kills come at most so long after the commands, in the middle of everything; the other half leaves a
/// run time to reach its end.
const LIFE_SHORT_MS: u64 = 500;
const LIFE_LONG_MS: u64 = 2_500;
/// How soon after a restart a run that was on a board must be handled again.
const HANDLED_WITHIN: Duration = Duration::from_secs(5);
/// Slack paces posts by channel, so runs are spread over many.
const CHANNELS: u64 = 40;
const BOARDS: usize = 6;
const SECRET: &str = "kill-signing-secret";
const TOKEN: &str = "xoxb-kill";

struct World {
    clock: Clock,
    ids: Ids,
    slack: SimSlack,
    boards: SimLab,
    data: tempfile::TempDir,
    port: u16,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_at_any_instant_loses_nothing_and_does_nothing_twice() {
    let points: u64 = match std::env::var("BOARDHAND_KILL_POINTS") {
        Ok(text) => text.parse().expect("BOARDHAND_KILL_POINTS is a number"),
        Err(_) => KILL_POINTS,
    };
    let seed = 20_261_120;
    println!("kill points: {points}, seed {seed}");
    let world = World::start(seed).await;
    let mut accepted: Vec<String> = Vec::new();
    for point in 0..points {
        let mut server = world.serve().await;
        let times = if point % 4 < 2 { RUNS_PER_POINT } else { 1 };
        for n in 0..RUNS_PER_POINT / times {
            let build = format!("build-{point}-{n}");
            let channel = format!("C0KILL{:02}", world.ids.below(CHANNELS));
            let text = format!("/run-test socA {build} x{times}");
            let reply = world.slack.say("alice", &channel, &text).await;
            assert_eq!(reply.status, 200, "the command was not acknowledged: {}", reply.text);
            accepted.extend(std::iter::repeat_n(build, times));
        }
        let life = if point % 2 == 0 { LIFE_SHORT_MS } else { LIFE_LONG_MS };
        world.clock.sleep(Duration::from_millis(world.ids.below(life))).await;
        server.kill().await.expect("SIGKILL");
    }
    world.finish(&accepted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_told_to_stop_twice_ends_at_once() {
    let world = World::start(1).await;
    let mut server = world.serve().await;
    // It crawls for longer than a server that stops waits for it.
    let said = world.slack.say("alice", "C0KILL00", "/run-test socA build-crawl").await;
    assert_eq!(said.status, 200, "{}", said.text);
    let db = world.db().await;
    while rows(&db, "SELECT state FROM runs WHERE state = 'testing'").await.is_empty() {
        world.clock.sleep(Duration::from_millis(10)).await;
    }
    let pid = server.id().expect("it runs").to_string();
    let tell = async || Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill");
    tell().await;
    // It has heard the first word once it takes nothing more.
    while tokio::net::TcpStream::connect(("127.0.0.1", world.port)).await.is_ok() {
        world.clock.sleep(Duration::from_millis(5)).await;
    }
    tell().await;
    let status = world.clock.timeout(lab::WITHIN, server.wait()).await.expect("it ends").expect("status");
    assert_eq!(status.code(), Some(130), "it ends before it has handed back");
    assert_eq!(rows(&db, "SELECT state FROM runs").await, ["testing"], "as after kill -9");
}

impl World {
    async fn start(seed: u64) -> World {
        let (clock, ids) = (Clock::system(), Ids::seeded(seed));
        let inventory = lab::inventory(&lab::yaml::small(BOARDS));
        let (boards, inventory) = SimLab::start(&inventory, Speed::Fast, clock.clone(), Ids::system())
            .await
            .expect("simulated lab");
        for (_, board) in boards.boards() {
            board.record_bytes();
        }
        let probe = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = probe.local_addr().expect("address").port();
        drop(probe);
        let config = SimSlackConfig {
            signing_secret: SecretString::from(SECRET),
            bot_token: SecretString::from(TOKEN),
            webhook_url: Some(format!("http://127.0.0.1:{port}/webhook")),
            port: 0,
            rate_limits: false,
        };
        let slack = SimSlack::start(config, clock.clone(), Ids::system()).await.expect("simulated Slack");
        for n in 0..CHANNELS {
            slack.add_channel(&format!("C0KILL{n:02}"), &format!("kill-{n:02}"), true);
        }
        let data = tempfile::tempdir().expect("a data folder");
        write_lab(data.path(), &inventory);
        World { clock, ids, slack, boards, data, port }
    }

    /// Starts the binary and waits until it is ready.
    async fn serve(&self) -> Child {
        let child = Command::new(env!("CARGO_BIN_EXE_boardhand"))
            .arg("serve")
            .env_clear()
            .env("BOARDHAND_LISTEN", format!("127.0.0.1:{}", self.port))
            .env("BOARDHAND_DATA_DIR", self.data.path().join("data"))
            .env("BOARDHAND_BOARDS", self.data.path().join("boards.yaml"))
            .env("SLACK_SIGNING_SECRET", SECRET)
            .env("SLACK_BOT_TOKEN", TOKEN)
            .env("SLACK_API_URL", self.slack.api_url())
            .env("RUST_LOG", "error")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let ready = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                self.clock.sleep(Duration::from_millis(5)).await;
            }
        };
        self.clock.timeout(lab::WITHIN, ready).await.expect("the server is ready in time");
        child
    }

    /// Lets the last server work everything off, stops it in order, and checks.
    async fn finish(self, accepted: &[String]) {
        let before = rows(&self.db().await, ON_BOARDS).await;
        let mut server = self.serve().await;
        let restarted = self.clock.monotonic();
        let db = self.db().await;
        while rows(&db, ON_BOARDS).await.iter().any(|lease| before.contains(lease)) {
            let waited = self.clock.monotonic().since(restarted);
            assert!(
                waited < HANDLED_WITHIN,
                "a run that was on a board is not handled again after {waited:?}"
            );
            self.clock.sleep(Duration::from_millis(10)).await;
        }
        let done = async {
            while !rows(&db, UNFINISHED).await.is_empty() {
                self.clock.sleep(Duration::from_millis(20)).await;
            }
        };
        // Edits go out at the pace that Slack allows, so the cards alone take about a second each.
        let patience = Duration::from_secs(300 + 2 * accepted.len() as u64);
        if self.clock.timeout(patience, done).await.is_err() {
            panic!("not all is done: {:?}", rows(&db, UNFINISHED).await);
        }
        let pid = server.id().expect("it runs").to_string();
        Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill");
        let status = self.clock.timeout(lab::WITHIN, server.wait()).await.expect("it stops").expect("status");
        assert!(status.success(), "a stop by SIGTERM ends with 0, not {status}");
        self.check_runs(&db, accepted).await;
        self.check_messages(&db, accepted.len()).await;
        self.check_bytes(&db).await;
    }

    async fn db(&self) -> sqlx::SqlitePool {
        let path = self.data.path().join("data/boardhand.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).read_only(true);
        sqlx::SqlitePool::connect_with(options).await.expect("the database opens")
    }

    /// Every acknowledged command is one run, and every run has exactly one outcome.
    async fn check_runs(&self, db: &sqlx::SqlitePool, accepted: &[String]) {
        let runs = rows(db, "SELECT spec->>'build' || ' ' || verdict FROM runs").await;
        let mut expected: Vec<String> = accepted.iter().map(|build| format!("{build} passed")).collect();
        let mut found = runs.clone();
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "each acknowledged command is one run that ended once");
        let twice = rows(
            db,
            "SELECT run || ': ' || COUNT(*) FROM attempts WHERE verdict = 'passed' GROUP BY run HAVING COUNT(*) <> 1",
        )
        .await;
        assert!(twice.is_empty(), "runs that ended twice: {twice:?}");
    }

    /// Every run has one card, and one reply that tells its outcome; those of a batch stand in the thread of its one
    /// card, and nowhere else.
    async fn check_messages(&self, db: &sqlx::SqlitePool, runs: usize) {
        let alone = rows(db, "SELECT '#' || number FROM runs WHERE batch IS NULL").await;
        let batches = rows(
            db,
            "SELECT '#' || MIN(number) || '–#' || MAX(number) FROM runs GROUP BY batch HAVING batch",
        )
        .await;
        let mut in_channel: BTreeMap<String, u32> = BTreeMap::new();
        let mut in_thread: BTreeMap<String, u32> = BTreeMap::new();
        let mut outcomes: BTreeMap<String, u32> = BTreeMap::new();
        self.slack.with(|world| {
            for message in world.channels.values().flat_map(|channel| &channel.messages) {
                let name = message.text.split_whitespace().next().unwrap_or_default().to_owned();
                let told = match &message.thread_ts {
                    None if message.user == "U0BOT" => &mut in_channel,
                    Some(_) if message.text.contains(": ✅ Passed") => &mut in_thread,
                    Some(_) if message.text.contains(" Passed: ") => &mut outcomes,
                    None | Some(_) => continue,
                };
                *told.entry(name).or_default() += 1;
            }
        });
        for (what, told) in
            [("cards", &in_channel), ("cards of a batch", &in_thread), ("outcomes", &outcomes)]
        {
            let twice: Vec<_> = told.iter().filter(|(_, count)| **count != 1).collect();
            assert!(twice.is_empty(), "{what} that stand more than once: {twice:?}");
        }
        let mut expected: Vec<&String> = alone.iter().chain(&batches).collect();
        expected.sort();
        assert_eq!(in_channel.keys().collect::<Vec<_>>(), expected, "every run and every batch has a card");
        assert_eq!(in_thread.len(), runs - alone.len(), "every run of a batch has a card in its thread");
        assert_eq!(outcomes.len(), runs, "every run's outcome is told");
        let problems = self.slack.problems();
        assert!(problems.is_empty(), "a real workspace would not have taken: {problems:#?}");
    }

    /// Joins what the boards heard with the lease history.
    async fn check_bytes(&self, db: &sqlx::SqlitePool) {
        let leases = lease_history(db).await;
        let (mut bytes, mut connections) = (0, 0);
        for (id, board) in self.boards.boards() {
            let spans = leases.get(id.as_str()).cloned().unwrap_or_default();
            let mut began: BTreeMap<u64, Span> = BTreeMap::new();
            for record in board.recorded() {
                bytes += record.bytes.len();
                // A connection belongs to the lease that was the newest when its first byte came.
                let first = began.entry(record.connection).or_insert_with(|| {
                    connections += 1;
                    let newest = spans.iter().rfind(|span| span.from <= record.at);
                    *newest.unwrap_or_else(|| panic!("{id}: bytes before any lease: {record:?}"))
                });
                assert!(first.holds(record.at), "{id}: bytes outside lease {first:?}: {record:?}");
            }
        }
        assert!(bytes > 0, "the boards heard something");
        println!("checked {bytes} bytes on {connections} connections against the lease history");
    }
}

/// A lease's life.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: Timestamp,
    to: Timestamp,
}

/// What may lie between a byte's sending and its reading by a board on the same machine.
const IN_FLIGHT: Duration = Duration::from_millis(50);

impl Span {
    fn holds(&self, at: Timestamp) -> bool {
        self.from <= at && at <= self.to + IN_FLIGHT
    }
}

async fn lease_history(db: &sqlx::SqlitePool) -> BTreeMap<String, Vec<Span>> {
    let sql = "SELECT board, granted_at, ended_at FROM leases ORDER BY board, fence";
    let mut history: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    for row in sqlx::query(sql).fetch_all(db).await.expect("leases") {
        let ended_at: Option<i64> = row.get("ended_at");
        history.entry(row.get("board")).or_default().push(Span {
            from: Timestamp::from_micros(row.get("granted_at")),
            to: Timestamp::from_micros(ended_at.expect("no lease is live any more")),
        });
    }
    history
}

const ON_BOARDS: &str = "SELECT id FROM leases WHERE state IN ('active', 'finalizing')";
const UNFINISHED: &str = "
    SELECT 'run ' || number || ' ' || state FROM runs WHERE state <> 'finished'
    UNION ALL SELECT 'lease ' || board FROM leases WHERE state IN ('active', 'finalizing')
    UNION ALL SELECT 'card of ' || run FROM cards WHERE rev_wanted > rev_sent
    UNION ALL SELECT 'message ' || note FROM outbox WHERE state = 'owed'";

async fn rows(db: &sqlx::SqlitePool, sql: &'static str) -> Vec<String> {
    sqlx::query_scalar(sql).fetch_all(db).await.expect("a query of the tests")
}

/// The lab file of the simulated lab, as the binary reads it.
fn write_lab(folder: &Path, inventory: &boardhand::board::Inventory) {
    let mut text = String::from("boards:\n");
    for board in inventory.boards.values().filter(|board| board.family.as_str() == "socA") {
        text.push_str(&format!(
            "  - {{board_id: {}, soc_family: socA, board_ip: {}, telnet_port: {}, pdu_host: '{}', pdu_outlet: {},\n     \
             lab_location: Lab Site A, telnet_username: root, telnet_password: root, console: {{settle: 0s}}}}\n",
            board.id,
            board.console.host,
            board.console.port,
            board.power.host.as_deref().expect("a PDU"),
            board.power.outlet.as_deref().expect("an outlet"),
        ));
    }
    text.push_str(lab::yaml::FAMILIES);
    std::fs::write(folder.join("boards.yaml"), text).expect("boards.yaml");
}
