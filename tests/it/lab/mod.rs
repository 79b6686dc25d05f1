//! The harness: the whole server in this process, between a simulated Slack and simulated boards. A test speaks as a
//! user and reads what a user reads; its ending, which [`lab`] owns, fails on unread messages, live leases, owed rows
//! and anything that a real workspace would not have taken.

pub(crate) mod look;
pub(crate) mod postgres;
pub(crate) mod yaml;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use boardhand::app::{App, Parts, SlackParts};
use boardhand::artifact::Artifacts;
use boardhand::board::{Inventory, lab_file};
use boardhand::chat::feishu::client::FeishuClient;
use boardhand::chat::jenkins::signature as jenkins;
use boardhand::chat::sign_in::SignIn;
use boardhand::chat::slack::client::SlackClient;
use boardhand::chat::slack::sign_in::SlackSignIn;
use boardhand::chat::slack::socket::Opener;
use boardhand::chat::token::Tokens;
use boardhand::chat::{ChatApi, Platform};
use boardhand::cli::source::LabFile;
use boardhand::clock::Clock;
use boardhand::door::throttle::{Rate, Rates};
use boardhand::id::Ids;
use boardhand::message::pace::Pacing;
use boardhand::message::template::Catalogue;
use boardhand::net::Http;
use boardhand::sim::feishu::{SimFeishu, SimFeishuConfig};
use boardhand::sim::slack::{CLIENT_ID, CLIENT_SECRET, SimSlack, SimSlackConfig};
use boardhand::sim::{SimLab, Speed};
use boardhand::store::sql::SqlStore;
use boardhand::store::{Census, Store};
use secrecy::SecretString;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The signing secret before the last rotation; the server takes both.
pub(crate) const OLD_SECRET: &str = "old-signing-secret";
/// What Jenkins signs with, in both schemes, and the token of plugins that cannot.
pub(crate) const JENKINS_SECRET: &str = "jenkins-signing-secret";
pub(crate) const JENKINS_STANDARD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(crate) const ADMIN_TOKEN: &str = "the-admins-own-token";
pub(crate) const JENKINS_TOKEN: &str = "jenkins-bearer-token";
/// How long a test waits for something before it fails. Level-triggered: it costs nothing when things go well.
pub(crate) const WITHIN: Duration = Duration::from_secs(30);
/// The same with real boards, whose kernels boot in seconds, and on a busy machine in many.
const WITHIN_REAL: Duration = Duration::from_secs(150);

/// A running lab.
pub(crate) struct Lab {
    pub(crate) slack: SimSlack,
    pub(crate) boards: SimLab,
    pub(crate) door: String,
    /// Its TFTP server.
    pub(crate) tftp: SocketAddr,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Clock,
    pub(crate) data: tempfile::TempDir,
    within: Duration,
    rates: Rates,
    inventory: Inventory,
    /// The same as `store`, to be closed.
    file: Arc<SqlStore>,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<anyhow::Result<()>>>,
}

/// The variable with which `tests/run` asks for labs whose data is in the other database: `postgres`.
const TESTS_ON: &str = "BOARDHAND_TESTS_ON";

/// Runs `test` in a lab of this boards.yaml, and then the ending.
pub(crate) async fn lab(text: &str, test: impl AsyncFnOnce(&mut Lab)) {
    let url = match std::env::var(TESTS_ON).as_deref() {
        Ok("postgres") => Some(postgres::database().await),
        Ok(other) => panic!("{TESTS_ON}: there is no {other}"),
        Err(_) => None,
    };
    let mut lab = Lab::start_simulated(text, false, Rates::default(), url.as_deref()).await;
    test(&mut lab).await;
    lab.end().await;
}

/// The same where whoever asks too much is held back for good: what a budget has at once is all that there is.
pub(crate) async fn strict_lab(text: &str, test: impl AsyncFnOnce(&mut Lab)) {
    let never = |rate: Rate| Rate { every: Duration::from_secs(24 * 3600), ..rate };
    let rates = Rates::default();
    let (failures, writes, posts) = (never(rates.failures), never(rates.writes), never(rates.posts));
    let rates = Rates { failures, writes, posts, ..rates };
    let mut lab = Lab::start_simulated(text, false, rates, None).await;
    test(&mut lab).await;
    lab.end().await;
}

/// The same with the data in a PostgreSQL database.
pub(crate) async fn postgres_lab(text: &str, url: &str, test: impl AsyncFnOnce(&mut Lab)) {
    let mut lab = Lab::start_simulated(text, false, Rates::default(), Some(url)).await;
    test(&mut lab).await;
    lab.end().await;
}

/// The same with deliveries over a socket that the server dials, as behind a firewall.
pub(crate) async fn socket_lab(text: &str, test: impl AsyncFnOnce(&mut Lab)) {
    let mut lab = Lab::start_simulated(text, true, Rates::default(), None).await;
    test(&mut lab).await;
    lab.end().await;
}

/// The same with the very boards, consoles and switches that this boards.yaml names.
pub(crate) async fn real_lab(text: &str, test: impl AsyncFnOnce(&mut Lab)) {
    let mut lab = Lab::start_real(text, ANY_PORT).await;
    test(&mut lab).await;
    lab.end().await;
}

/// The same with TFTP at this address: there are boot loaders that know no port but its own, which needs root.
pub(crate) async fn booting_lab(tftp: &str, text: &str, test: impl AsyncFnOnce(&mut Lab)) {
    let mut lab = Lab::start_real(text, tftp).await;
    test(&mut lab).await;
    lab.end().await;
}

/// The inventory of a boards.yaml, which must be without mistakes.
pub(crate) fn inventory(text: &str) -> Inventory {
    let read = lab_file::parse("boards.yaml", text, &|_| None);
    read.inventory.unwrap_or_else(|| panic!("{}", lab_file::render(&read.problems)))
}

/// A simulated Slack that delivers to this door.
pub(crate) async fn slack(door: &str, clock: &Clock, ids: &Ids) -> SimSlack {
    let config = SimSlackConfig {
        signing_secret: SecretString::from("test-signing-secret"),
        bot_token: SecretString::from("xoxb-test"),
        app_token: SecretString::from("xapp-test"),
        socket_mode: false,
        webhook_url: Some(format!("{door}/webhooks/slack")),
        port: 0,
        rate_limits: false,
    };
    SimSlack::start(config, clock.clone(), ids.clone()).await.expect("simulated Slack")
}

/// A simulated Feishu that is only asked and told: it delivers nothing.
pub(crate) async fn feishu(clock: &Clock, ids: &Ids) -> SimFeishu {
    let config = SimFeishuConfig {
        app_id: "cli_lab".into(),
        app_secret: "app-secret".into(),
        encrypt_key: String::new(),
        verification_token: String::new(),
        webhook_url: None,
    };
    SimFeishu::start(config, clock.clone(), ids.clone()).await.expect("simulated Feishu")
}

/// What asks and tells it, and a simulated Slack.
pub(crate) fn apis(slack: &SimSlack, feishu: &SimFeishu) -> BTreeMap<Platform, Arc<dyn ChatApi>> {
    let (http, secret) = (Http::new(&[feishu.url()]), SecretString::from("app-secret"));
    let client = FeishuClient::new(http, feishu.url(), "cli_lab".into(), secret, Clock::system());
    BTreeMap::from([
        (Platform::Slack, Arc::new(slack_parts(slack, Pacing::NONE).client) as _),
        (Platform::Feishu, Arc::new(client) as _),
    ])
}

/// What connects a server to it.
pub(crate) fn slack_parts(slack: &SimSlack, pacing: Pacing) -> SlackParts {
    let (api, socket) = (slack.api_url(), slack.is_in_socket_mode());
    let secrets = ["test-signing-secret", OLD_SECRET].map(SecretString::from);
    SlackParts {
        signing_secrets: if socket { vec![] } else { secrets.to_vec() },
        opener: socket.then(|| opener(&api, "xapp-test")),
        client: SlackClient::new(Http::new(&[&api]), &api, SecretString::from("xoxb-test")),
        pacing,
    }
}

/// What signs people in with it to the pages of a server here.
pub(crate) fn slack_sign_in(slack: &SimSlack, door: &str, clock: &Clock) -> Arc<dyn SignIn> {
    crate::web::sign_in::register(slack, door);
    let (api, app) = (slack.api_url(), (CLIENT_ID.to_owned(), SecretString::from(CLIENT_SECRET)));
    let bot = Arc::new(slack_parts(slack, Pacing::NONE).client);
    Arc::new(SlackSignIn::new(Http::new(&[&api]), &api, app, bot, clock.clone()))
}

/// What a lab has around it.
struct Around<'a> {
    /// Whether Slack delivers over a socket.
    socket: bool,
    /// How fast others may ask.
    rates: Rates,
    /// The PostgreSQL database of its data, where they are not in a file.
    database: Option<&'a str>,
}

impl Lab {
    async fn start_simulated(text: &str, socket: bool, rates: Rates, database: Option<&str>) -> Lab {
        let inventory = inventory(text);
        let (boards, inventory) = SimLab::start(&inventory, Speed::Fast, Clock::system(), Ids::system())
            .await
            .expect("simulated lab");
        let around = Around { socket, rates, database };
        let lab = Lab::start_with(boards, inventory, WITHIN, None, ANY_PORT, around).await;
        lab.write_lab(text);
        lab
    }

    async fn start_real(text: &str, tftp: &str) -> Lab {
        let (nothing, _) = SimLab::start(&Inventory::default(), Speed::Fast, Clock::system(), Ids::system())
            .await
            .expect("no lab");
        let around = Around { socket: false, rates: Rates::default(), database: None };
        Lab::start_with(nothing, inventory(text), WITHIN_REAL, Some("10.0.2.2"), tftp, around).await
    }

    /// `host` is this machine as boards see it.
    async fn start_with(
        boards: SimLab,
        inventory: Inventory,
        within: Duration,
        host: Option<&str>,
        tftp: &str,
        Around { socket, rates, database }: Around<'_>,
    ) -> Lab {
        let (clock, ids) = (Clock::system(), Ids::system());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("address");
        let door = format!("http://{address}");
        let board_url = host.map(|host| format!("http://{host}:{}", address.port()));
        let slack = slack(&door, &clock, &ids).await;
        slack.set_socket_mode(socket);
        let data = tempfile::tempdir().expect("a data folder");
        if let Some(url) = database {
            std::fs::write(data.path().join(look::ELSEWHERE), url).expect("a note");
        }
        let kept = Kept { slack, boards, inventory, board_url, clock, data, within, rates };
        let server = kept.serve(listener, tftp).await;
        let Kept { slack, boards, inventory, clock, data, .. } = kept;
        Lab {
            slack,
            boards,
            door,
            tftp: server.tftp,
            store: server.file.clone(),
            file: server.file,
            clock,
            data,
            within,
            rates,
            inventory,
            stop: Some(server.stop),
            server: Some(server.task),
        }
    }

    /// Stops the server as SIGTERM does, and starts another on what it left.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.file.close().await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        self.door = format!("http://{}", listener.local_addr().expect("address"));
        self.slack.set_webhook(&format!("{}/webhooks/slack", self.door));
        let parts = (self.slack.clone(), self.boards.clone(), self.inventory.clone(), self.clock.clone());
        let (slack, boards, inventory, clock) = parts;
        let data = std::mem::replace(&mut self.data, tempfile::tempdir().expect("a folder"));
        let (within, rates) = (self.within, self.rates);
        let kept = Kept { slack, boards, inventory, board_url: None, clock, data, within, rates };
        let server = kept.serve(listener, ANY_PORT).await;
        self.data = kept.data;
        (self.tftp, self.store, self.file) = (server.tftp, server.file.clone(), server.file);
        (self.stop, self.server) = (Some(server.stop), Some(server.task));
    }

    /// Somebody types in #soc-ci and sees this at once.
    pub(crate) async fn say(&self, user: &str, text: &str) -> String {
        self.slack.say(user, CHANNEL, text).await.text
    }

    /// Puts another boards.yaml in the place of the lab's; nobody reads it yet.
    pub(crate) fn write_lab(&self, text: &str) {
        std::fs::write(self.data.path().join("boards.yaml"), text).expect("a lab file");
    }

    /// Waits until nothing waits, runs or is owed.
    pub(crate) async fn settle(&self) {
        let quiet = async {
            loop {
                let census = self.store.census().await.expect("census");
                if (Census { dead: 0, unreadable: 0, ..census }) == Census::default() {
                    return;
                }
                self.clock.sleep(Duration::from_millis(5)).await;
            }
        };
        if self.clock.timeout(self.within, quiet).await.is_err() {
            let census = self.store.census().await.expect("census");
            panic!("not quiet after {:?}: {census:?}\n{}", self.within, self.slack.render_channel(CHANNEL));
        }
    }

    /// Waits until the run's card says this.
    pub(crate) async fn until_card(&self, run: i64, says: &str) {
        let found = self
            .slack
            .until(|world| card_text(world, run).is_some_and(|text| text.contains(says)), self.within)
            .await;
        if found.is_err() {
            panic!("the card of #{run} never said {says:?}:\n{}", self.slack.render_channel(CHANNEL));
        }
    }

    /// The message id of a run's card.
    pub(crate) fn card(&self, run: i64) -> String {
        self.slack
            .with(|world| card_of(world, run).map(|message| message.ts.clone()))
            .expect("the run has a card")
    }

    /// A button of a run's card as it is drawn now, to be pressed when it is not any more.
    pub(crate) fn button(&self, run: i64, label: &str) -> serde_json::Value {
        let blocks = self.slack.with(|world| card_of(world, run).map(|message| message.blocks.clone()));
        let blocks = blocks.expect("the run has a card");
        let mut buttons = blocks
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|block| block["elements"].as_array())
            .flatten();
        let button = buttons.find(|button| button["text"]["text"] == label).cloned();
        button.unwrap_or_else(|| panic!("the card of #{run} has no {label:?}"))
    }

    /// A run's thread as a person reads it, with what differs from time to time made equal.
    pub(crate) fn thread(&self, run: i64) -> String {
        steady(&self.slack.render_thread(CHANNEL, &self.card(run)))
    }

    /// Reads everything that was said, so that the ending finds nothing unread.
    pub(crate) fn read_all(&self) {
        let channels: Vec<String> = self.slack.with(|world| world.channels.keys().cloned().collect());
        for channel in channels {
            self.slack.channel(&channel);
            let roots: Vec<String> = self
                .slack
                .with(|w| w.channels[&channel].messages.iter().filter_map(|m| m.thread_ts.clone()).collect());
            for root in roots {
                self.slack.thread(&channel, &root);
            }
        }
        for user in ["alice", "bob", "lead"] {
            self.slack.ephemerals(user);
        }
    }

    /// Stops the server as SIGTERM does.
    pub(crate) async fn stop(&mut self) {
        let Some(stop) = self.stop.take() else { return };
        stop.send(()).expect("the server is there");
        let server = self.server.take().expect("a lab ends once");
        self.clock
            .timeout(self.within, server)
            .await
            .expect("the server stops")
            .expect("no panic")
            .expect("no error");
    }

    async fn end(mut self) {
        if self.stop.is_some() {
            self.settle().await;
        }
        let unread = self.slack.unread();
        assert!(unread.is_empty(), "nobody read: {unread:#?}");
        let problems = self.slack.problems();
        assert!(problems.is_empty(), "a real workspace would not have taken: {problems:#?}");
        self.stop().await;
    }
}

/// What outlives a server.
struct Kept {
    slack: SimSlack,
    boards: SimLab,
    inventory: Inventory,
    board_url: Option<String>,
    clock: Clock,
    data: tempfile::TempDir,
    within: Duration,
    rates: Rates,
}

/// A server on it.
struct Server {
    file: Arc<SqlStore>,
    tftp: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Kept {
    async fn serve(&self, listener: tokio::net::TcpListener, tftp: &str) -> Server {
        let Kept { slack, boards, inventory, board_url, clock, data, within, rates } = self;
        let ids = Ids::system();
        let control = data.path().join("control.sock");
        let _ = std::fs::remove_file(&control);
        let door = format!("http://{}", listener.local_addr().expect("address"));
        let file = data.path().join("boards.yaml");
        let source = LabFile::simulated(file, boards.clone(), Speed::Fast, clock.clone(), ids.clone());
        let url = std::fs::read_to_string(data.path().join(look::ELSEWHERE)).ok();
        let url = url.as_deref().map(postgres::parsed);
        let file = Arc::new(SqlStore::at(url.as_ref(), data.path(), &ids, false).await.expect("store"));
        let app = App::new(Parts {
            store: file.clone(),
            inventory: Arc::new(inventory.clone()),
            catalogue: Catalogue::builtin(),
            api_tokens: Tokens::new(&[SecretString::from(ADMIN_TOKEN)]),
            jenkins: Some(jenkins::Verifier::new(
                &[JENKINS_SECRET, JENKINS_STANDARD].map(SecretString::from),
                &[SecretString::from(JENKINS_TOKEN)],
            )),
            feishu: None,
            slack: Some(slack_parts(slack, Pacing::NONE)),
            clock: clock.clone(),
            ids,
            public_url: door.clone(),
            transcripts: data.path().join("transcripts"),
            artifacts: Artifacts::folder(data.path().join("artifacts")).with_builds(
                data.path().join("build-files"),
                1 << 30,
                clock.clone(),
            ),
            board_url: board_url.clone(),
            proxies: Default::default(),
            rates: *rates,
        })
        .await
        .expect("app")
        .signing_in(vec![slack_sign_in(slack, &door, clock)])
        .reading(Arc::new(source))
        .controlled(data.path());
        let socket = tftp_socket(clock, *within, tftp).await;
        let tftp = socket.local_addr().expect("an address");
        let app = app.booting_from(socket);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(app.serve(listener, async {
            let _ = stopped.await;
        }));
        let listens = async {
            while !control.exists() {
                clock.sleep(Duration::from_millis(1)).await;
            }
        };
        clock.timeout(*within, listens).await.expect("the server listens");
        let sockets = usize::from(slack.is_in_socket_mode());
        slack.until(|_| slack.sockets() == sockets, *within).await.expect("Slack is heard");
        Server { file, tftp, stop, task }
    }
}

/// Opens sockets to a simulated Slack.
pub(crate) fn opener(api: &str, token: &str) -> Opener {
    Opener::new(Http::new(&[api]), api, SecretString::from(token))
}

const ANY_PORT: &str = "127.0.0.1:0";

/// A socket for TFTP at this address; another test that has it gives it back.
async fn tftp_socket(clock: &Clock, within: Duration, address: &str) -> UdpSocket {
    let bound = async {
        loop {
            match UdpSocket::bind(address).await {
                Ok(socket) => return socket,
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                    clock.sleep(Duration::from_millis(50)).await;
                }
                Err(error) => panic!("UDP {address} cannot be had: {error}"),
            }
        }
    };
    clock.timeout(within, bound).await.expect("the port of TFTP is free at last")
}

/// The channel that tests talk in.
pub(crate) const CHANNEL: &str = "#soc-ci";

fn card_of(world: &boardhand::sim::slack::World, run: i64) -> Option<&boardhand::sim::slack::Message> {
    // A run of a batch has its card in a thread; news of it that begin with its number come later.
    let name = format!("#{run} ");
    world.channels.values().flat_map(|c| &c.messages).find(|m| m.user == "U0BOT" && m.text.starts_with(&name))
}

fn card_text(world: &boardhand::sim::slack::World, run: i64) -> Option<String> {
    card_of(world, run).map(|message| format!("{} {}", message.text, message.blocks))
}

/// What differs from time to time, made equal: durations, instants, ports and link keys.
pub(crate) fn steady(text: &str) -> String {
    let rules = [
        (r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "<time>"),
        (r"http://127\.0\.0\.1:\d+", "http://lab"),
        (r"127\.0\.0\.1:\d+", "lab:port"),
        (r"key=[0-9a-f]+", "key=…"),
        (r"\[ *\d+\.\d{6}\]", "[kernel time]"),
        (r"\b\d+(\.\d+)? ?(ms|s)\b", "N s"),
        (r"\b(\d+ 分 )?\d+ 秒", "N 秒"),
    ];
    rules.iter().fold(text.to_owned(), |text, (pattern, with)| {
        regex::Regex::new(pattern).expect("a constant").replace_all(&text, *with).into_owned()
    })
}
