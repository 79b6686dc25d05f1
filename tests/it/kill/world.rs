//! The world of the kill tests: the real binary as a child process, and beside it, in this process, boards, PDUs and
//! Slack, which outlive every server.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use boardhand::clock::Clock;
use boardhand::id::Ids;
use boardhand::sim::slack::{SimSlack, SimSlackConfig};
use boardhand::sim::{SimLab, Speed};
use secrecy::SecretString;
use tokio::process::{Child, Command};

use crate::lab;

/// Slack paces posts by channel, so runs are spread over many.
pub(super) const CHANNELS: u64 = 40;
/// How soon after a restart a run that was on a board must be on one again.
const HANDLED_WITHIN: Duration = Duration::from_secs(5);
const BOARDS: usize = 6;
const SECRET: &str = "kill-signing-secret";
const TOKEN: &str = "xoxb-kill";
const APP_TOKEN: &str = "xapp-kill";

/// A lab that servers are born into and killed in.
pub(super) struct World {
    pub(super) clock: Clock,
    pub(super) ids: Ids,
    pub(super) slack: SimSlack,
    pub(super) boards: SimLab,
    data: tempfile::TempDir,
    pub(super) port: u16,
    /// The leases of the runs that were on boards when the last server was killed.
    on_boards: Vec<String>,
    /// The longest that one of them waited for its next.
    slowest: Duration,
}

impl World {
    pub(super) async fn start(seed: u64) -> World {
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
            app_token: SecretString::from(APP_TOKEN),
            socket_mode: false,
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
        World { clock, ids, slack, boards, data, port, on_boards: Vec::new(), slowest: Duration::ZERO }
    }

    /// Starts the binary and waits until it is ready.
    pub(super) async fn serve(&self) -> Child {
        // What a killed server leaves of its socket is gone when the next one dials.
        self.slack.until(|_| self.slack.sockets() == 0, lab::WITHIN).await.expect("no socket");
        let child = self.spawn();
        let ready = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                self.sleep(5).await;
            }
        };
        self.clock.timeout(lab::WITHIN, ready).await.expect("the server is ready in time");
        let sockets = usize::from(self.slack.is_in_socket_mode());
        self.slack.until(|_| self.slack.sockets() == sockets, lab::WITHIN).await.expect("Slack is heard");
        child
    }

    /// Starts the binary and kills it before it is of any use.
    pub(super) async fn stillborn(&self, within_ms: u64) {
        let mut child = self.spawn();
        self.sleep(self.ids.below(within_ms)).await;
        child.kill().await.expect("SIGKILL");
    }

    fn spawn(&self) -> Child {
        let way = match self.slack.is_in_socket_mode() {
            true => ("SLACK_APP_TOKEN", APP_TOKEN),
            false => ("SLACK_SIGNING_SECRET", SECRET),
        };
        Command::new(env!("CARGO_BIN_EXE_boardhand"))
            .arg("serve")
            .env_clear()
            .env(way.0, way.1)
            .env("BOARDHAND_LISTEN", format!("127.0.0.1:{}", self.port))
            .env("BOARDHAND_DATA_DIR", self.data.path().join("data"))
            .env("BOARDHAND_BOARDS", self.data.path().join("boards.yaml"))
            .env("SLACK_BOT_TOKEN", TOKEN)
            .env("SLACK_API_URL", self.slack.api_url())
            .env("RUST_LOG", "error")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts")
    }

    /// Freezes the server, looks at what it was doing, and kills it as it stands; gives the stages that its runs were in.
    pub(super) async fn kill(&mut self, server: &mut Child) -> Vec<String> {
        let pid = server.id().expect("it runs").to_string();
        let frozen = Command::new("kill").args(["-STOP", &pid]).status().await.expect("kill");
        assert!(frozen.success(), "the server was gone before it was killed");
        let db = self.db().await;
        self.on_boards = rows(&db, ON_BOARDS).await;
        let stages = rows(&db, STAGES_NOW).await;
        // Nothing of this process holds the database when the next server finds it.
        db.close().await;
        server.kill().await.expect("SIGKILL");
        stages
    }

    /// Waits until every run that was on a board when the last server died is on one again, or has ended.
    pub(super) async fn until_handled_again(&mut self) {
        let restarted = self.clock.monotonic();
        let db = self.db().await;
        for lease in std::mem::take(&mut self.on_boards) {
            while rows_of(&db, HANDLED_AGAIN, &lease).await.is_empty() {
                let waited = self.clock.monotonic().since(restarted);
                assert!(
                    waited < HANDLED_WITHIN,
                    "the run of lease {lease} is not handled again after {waited:?}"
                );
                self.sleep(5).await;
            }
        }
        db.close().await;
        self.slowest = self.slowest.max(self.clock.monotonic().since(restarted));
    }

    /// Waits until a run is in this stage, but no longer than this.
    pub(super) async fn until_in(&self, stage: &str, within_ms: u64) {
        let db = self.db().await;
        let found = async { while !rows(&db, STAGES_NOW).await.iter().any(|now| now == stage) {} };
        let _ = self.clock.timeout(Duration::from_millis(within_ms), found).await;
        db.close().await;
    }

    /// Types a command, which must be taken.
    pub(super) async fn accepted(&self, text: &str) {
        self.typed("alice", text).await;
    }

    /// The same by somebody else.
    pub(super) async fn others(&self, text: &str) {
        self.typed("bob", text).await;
    }

    async fn typed(&self, user: &str, text: &str) {
        let channel = format!("C0KILL{:02}", self.ids.below(CHANNELS));
        let reply = self.slack.say(user, &channel, text).await;
        assert_eq!(reply.status, 200, "the command was not acknowledged: {}", reply.text);
    }

    pub(super) async fn sleep(&self, ms: u64) {
        self.clock.sleep(Duration::from_millis(ms)).await;
    }

    /// Lets the last server work everything off, stops it in order, and checks.
    pub(super) async fn finish(mut self, accepted: &[String]) {
        let db = self.work_off(accepted.len()).await;
        self.check_runs(&db, accepted).await;
        self.check_messages(&db, accepted.len()).await;
        self.check_bytes(&db).await;
        self.check_switches(&db).await;
    }

    /// Lets the last server work everything off, and stops it in order.
    pub(super) async fn work_off(&mut self, runs: usize) -> sqlx::SqlitePool {
        let mut server = self.serve().await;
        self.until_handled_again().await;
        println!("after a restart, runs were on boards again within {:?} at most", self.slowest);
        let db = self.db().await;
        let done = async {
            while !rows(&db, UNFINISHED).await.is_empty() {
                self.sleep(20).await;
            }
        };
        // Edits go out at the pace that Slack allows, so the cards alone take about a second each.
        let patience = Duration::from_secs(300 + 2 * runs as u64);
        if self.clock.timeout(patience, done).await.is_err() {
            panic!("not all is done: {:?}", rows(&db, UNFINISHED).await);
        }
        let pid = server.id().expect("it runs").to_string();
        Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill");
        let status = self.clock.timeout(lab::WITHIN, server.wait()).await.expect("it stops").expect("status");
        assert!(status.success(), "a stop by SIGTERM ends with 0, not {status}");
        db
    }

    pub(super) async fn db(&self) -> sqlx::SqlitePool {
        let path = self.data.path().join("data/boardhand.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).read_only(true);
        sqlx::SqlitePool::connect_with(options).await.expect("the database opens")
    }
}

/// The leases of runs that are on boards, and not at their end.
const ON_BOARDS: &str = "SELECT lease FROM runs WHERE lease IS NOT NULL";
/// Whether the run of a lease that died with its server has ended, or has a newer one.
const HANDLED_AGAIN: &str = "
    SELECT 'ended' FROM attempts JOIN runs ON runs.number = attempts.run
        WHERE attempts.lease = ?1 AND (runs.state = 'finished' OR runs.lease <> ?1)";
/// What the server is at.
const STAGES_NOW: &str = "
    SELECT state FROM runs WHERE lease IS NOT NULL
    UNION SELECT state FROM leases WHERE state = 'finalizing'";
const UNFINISHED: &str = "
    SELECT 'run ' || number || ' ' || state FROM runs WHERE state <> 'finished'
    UNION ALL SELECT 'campaign ' || number || ' ' || state FROM campaigns WHERE ended_at IS NULL
    UNION ALL SELECT 'lease ' || board FROM leases WHERE state IN ('active', 'finalizing')
    UNION ALL SELECT 'card of ' || run FROM cards WHERE rev_wanted > rev_sent
    UNION ALL SELECT 'message ' || note FROM outbox WHERE state = 'owed'";

pub(super) async fn rows(db: &sqlx::SqlitePool, sql: &'static str) -> Vec<String> {
    sqlx::query_scalar(sql).fetch_all(db).await.expect("a query of the tests")
}

async fn rows_of(db: &sqlx::SqlitePool, sql: &'static str, value: &str) -> Vec<String> {
    sqlx::query_scalar(sql).bind(value).fetch_all(db).await.expect("a query of the tests")
}

/// The lab file of the simulated lab, as the binary reads it: socA has switches, and collects evidence; socB has none.
fn write_lab(folder: &Path, inventory: &boardhand::board::Inventory) {
    let mut text = String::from("boards:\n");
    for board in inventory.boards.values() {
        let outlet = match (&board.power.host, &board.power.outlet) {
            (Some(host), Some(outlet)) => format!("pdu_host: '{host}', pdu_outlet: {outlet},"),
            _ => String::new(),
        };
        text.push_str(&format!(
            "  - {{board_id: {}, soc_family: {}, board_ip: {}, telnet_port: {}, {outlet}\n     \
             lab_location: Lab Site A, telnet_username: root, telnet_password: root, console: {{settle: 0s}}}}\n",
            board.id, board.family, board.console.host, board.console.port,
        ));
    }
    let collect = "    collect:\n      - {run: dmesg, save: dmesg.txt, within: 5s}\n    finally:";
    let families = lab::yaml::FAMILIES.replace("    finally:", collect);
    text.push_str(
        &families.replace("socB: {}", "socB: {default_suite: trivial, suites: {trivial: trivial}}"),
    );
    text.push_str(
        "campaigns:\n  rollout: {boards_of: [socA], suites: [smoke], waves: [1, 50%, 100%], at_once: 2}\n",
    );
    std::fs::write(folder.join("boards.yaml"), text).expect("boards.yaml");
}
