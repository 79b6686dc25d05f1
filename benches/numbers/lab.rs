//! The whole server in this process, as `serve` puts it together, between a Slack that takes everything and boards
//! that are simulated or never dialled.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use boardhand::app::{App, Parts, SlackParts};
use boardhand::artifact::Artifacts;
use boardhand::board::{Inventory, lab_file};
use boardhand::chat::slack::client::SlackClient;
use boardhand::chat::token::Tokens;
use boardhand::clock::Clock;
use boardhand::door::throttle::{Rate, Rates};
use boardhand::id::{Ids, InstanceId};
use boardhand::message::pace::Pacing;
use boardhand::message::template::Catalogue;
use boardhand::net::Http;
use boardhand::store::Store;
use boardhand::store::sql::{SqlStore, SqliteOptions};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::http;
use crate::latency::Begun;

/// Logs as the server does by default, into `/dev/null`, so that what logging costs is in every figure.
pub(crate) fn log_to_nowhere() {
    let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null").expect("/dev/null");
    let filter = tracing_subscriber::EnvFilter::new("boardhand=info,warn");
    let logs =
        tracing_subscriber::fmt::layer().with_target(false).with_writer(std::sync::Mutex::new(nowhere));
    tracing_subscriber::registry().with(filter).with(logs).with(Begun).init();
}

/// A runtime as the server has it.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

/// No limit that a measurement reaches.
fn as_fast_as_it_can() -> Rates {
    let rate = Rate { burst: u32::MAX, every: Duration::from_nanos(1) };
    Rates { failures: rate, links: rate, reads: rate, writes: rate, posts: rate }
}

/// A lab file of `families` families with so many boards each, without switches: on from the start.
pub(crate) fn yaml(families: usize, boards: usize) -> String {
    let mut text = String::from("boards:\n");
    for family in 0..families {
        for n in 1..=boards {
            text.push_str(&format!(
                "  - {{board_id: soc-{family}-{n:04}, soc_family: soc{family}, board_ip: 10.{family}.{}.{},\n     \
                 telnet_port: 23, lab_location: Lab Site A, telnet_username: root, telnet_password: root}}\n",
                n / 250,
                n % 250 + 1
            ));
        }
    }
    text.push_str("families:\n");
    for family in 0..families {
        text.push_str(&format!("  soc{family}: {{default_suite: trivial, suites: {{trivial: trivial}}}}\n"));
    }
    text.push_str(
        "plans:\n  trivial:\n    limits: {total: 120s, no_output: 60s}\n    test:\n      \
         - {name: uname, run: 'uname -a', within: 60s}\n",
    );
    text
}

/// The inventory of a lab file.
pub(crate) fn inventory(text: &str) -> Inventory {
    let read = lab_file::parse("boards.yaml", text, &|_| None);
    read.inventory.unwrap_or_else(|| panic!("{}", lab_file::render(&read.problems)))
}

/// A running server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) instance: InstanceId,
    sqlite: Arc<SqlStore>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<anyhow::Result<()>>,
}

impl Server {
    /// Starts it on a data directory.
    pub(crate) async fn start(data: &Path, inventory: Inventory) -> Server {
        let (clock, ids) = (Clock::system(), Ids::system());
        let options = SqliteOptions::new(ids.clone());
        let sqlite = Arc::new(SqlStore::open(data, options).await.expect("store"));
        let api = http::slack_sink().await;
        let app = App::new(Parts {
            store: sqlite.clone(),
            inventory: Arc::new(inventory),
            catalogue: Catalogue::builtin(),
            api_tokens: Tokens::new(&[SecretString::from(http::TOKEN)]),
            jenkins: None,
            feishu: None,
            slack: Some(SlackParts {
                signing_secrets: vec![SecretString::from(http::SECRET)],
                opener: None,
                client: SlackClient::new(Http::new(&[&api]), &api, SecretString::from("xoxb-bench")),
                pacing: Pacing::SLACK,
            }),
            artifacts: Artifacts::folder(data.join("artifacts")).with_builds(
                data.join("build-files"),
                1 << 30,
                clock.clone(),
            ),
            clock,
            ids,
            public_url: "http://boardhand.lab".to_owned(),
            board_url: None,
            proxies: Default::default(),
            rates: as_fast_as_it_can(),
            transcripts: data.join("transcripts"),
        })
        .await
        .expect("app");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("address");
        let (stop, stopped) = oneshot::channel();
        let instance = app.instance;
        let server = tokio::spawn(app.serve(listener, async {
            let _ = stopped.await;
        }));
        Server { address, store: sqlite.clone(), instance, sqlite, stop, server }
    }

    /// Ends it in order.
    pub(crate) async fn end(self) {
        let _ = self.stop.send(());
        self.server.await.expect("no panic").expect("no error");
        self.sqlite.close().await;
    }
}
