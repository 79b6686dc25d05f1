//! `boardhand demo`: the whole product on one machine. The lab, its PDUs, Slack and Feishu are simulated in the process,
//! on loopback; everything between them is the real thing, down to signatures, HTTP and telnet.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::serve::{
    Stops, load_lab, load_templates, parse_lab, serve_until_told, warn_of_simulated_switches,
};
use super::source::LabFile;
use crate::app::{App, FeishuEvents, FeishuParts, Parts, SlackParts};
use crate::artifact::{Artifacts, BUILD_FILES_BYTES_MAX};
use crate::board::Inventory;
use crate::chat::Platform;
use crate::chat::feishu::client::FeishuClient;
use crate::chat::feishu::sign_in::FeishuSignIn;
use crate::chat::feishu::socket::Endpoint;
use crate::chat::slack::client::SlackClient;
use crate::chat::slack::sign_in::SlackSignIn;
use crate::chat::slack::socket::Opener;
use crate::chat::token::Tokens;
use crate::clock::Clock;
use crate::config::socket_address;
use crate::id::Ids;
use crate::message::links::signed_in_with;
use crate::message::pace::Pacing;
use crate::net::Http;
use crate::sim::feishu::{BOT, CHAT, SimFeishu, SimFeishuConfig};
use crate::sim::slack::{CLIENT_ID, CLIENT_SECRET, SimSlack, SimSlackConfig};
use crate::sim::{SimLab, Speed};
use crate::store::sql::{SqlStore, SqliteOptions};

/// What `demo` is told.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Boards boot in moments instead of in the time a real one takes.
    #[arg(long)]
    fast: bool,
    /// Address of the playground page; another port of it when this one is taken.
    #[arg(long, default_value = "127.0.0.1:8080", value_parser = socket_address)]
    listen: SocketAddr,
    /// Your own lab file instead of the built-in one: the same boards, simulated.
    #[arg(long)]
    boards: Option<PathBuf>,
    /// The boards of that file as they are, driven over their own consoles and switches: only the chat is simulated.
    #[arg(long, requires = "boards", conflicts_with = "fast")]
    real_boards: bool,
    /// Folder of message templates that override the built-in ones.
    #[arg(long, env = "BOARDHAND_TEMPLATES")]
    templates: Option<PathBuf>,
    /// Folder of the builds that are carried to boards.
    #[arg(long, env = "BOARDHAND_ARTIFACTS")]
    artifacts: Option<PathBuf>,
    /// Slack's deliveries come over a socket, as to a lab that nobody can call from outside.
    #[arg(long)]
    socket: bool,
    /// Keep the data in this folder instead of a temporary one.
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

/// What is said at the first Ctrl-C: the demo has no log to say so.
const STOPPING: &str =
    "stopping: boards are brought to rest, which takes some seconds; Ctrl-C again ends it at once";

/// The demo's channel in Slack.
const CHANNEL: &str = "slack:C0SOCCI";
/// Its people in Feishu.
const FEISHU_PEOPLE: [(&str, &str); 2] = [("ou_li", "Li Lei"), ("ou_wu", "Wu Min")];

/// The lab of the demo.
const LAB: &str = include_str!("../../boards.yaml");

/// Runs the demo until SIGTERM or SIGINT.
pub(super) async fn demo(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        args.listen.ip().is_loopback(),
        "the demo listens on loopback only, not on {}",
        args.listen
    );
    let (clock, ids) = (Clock::system(), Ids::system());
    let mut inventory = match &args.boards {
        Some(path) => load_lab(path, !args.real_boards, &Platform::CHATS)?,
        None => parse_lab("boards.yaml", LAB, true, &Platform::CHATS)?,
    };
    if inventory.channels.mirrors.is_empty() {
        inventory.channels.mirrors = mirrors();
    }
    // What another shell asks for is told here too.
    inventory.channels.default.get_or_insert_with(|| CHANNEL.to_owned());
    // Whatever drives boards ends before the simulators do: `lab` is held to the end of this function.
    let (lab, inventory) = lab(args, inventory, &clock, &ids).await?;
    let stops = Stops::begin(Some(STOPPING))?;
    let data = DataDir::make(args.data_dir.clone(), &ids)?;

    let door = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let door_url = format!("http://{}", door.local_addr()?);
    let signing_secret = SecretString::from(hex::encode(ids.bytes::<16>()));
    let bot_token = SecretString::from(format!("xoxb-demo-{}", hex::encode(ids.bytes::<8>())));
    let app_token = SecretString::from(format!("xapp-demo-{}", hex::encode(ids.bytes::<8>())));
    let admin_token = SecretString::from(format!("demo-{}", hex::encode(ids.bytes::<8>())));
    let config = SimSlackConfig {
        signing_secret: signing_secret.clone(),
        bot_token: bot_token.clone(),
        app_token: app_token.clone(),
        socket_mode: args.socket,
        webhook_url: Some(format!("{door_url}/webhooks/slack")),
        port: free_or_any(args.listen).await?,
        rate_limits: true,
    };
    let (tenant, feishu, feishu_sign_in) = feishu(&clock, &ids, &door_url).await?;
    let slack = SimSlack::start_beside(tenant, config, clock.clone(), ids.clone()).await?;
    let api_url = slack.api_url();
    slack.register_redirect(&signed_in_with(&door_url, "slack"));
    let app = (CLIENT_ID.to_owned(), SecretString::from(CLIENT_SECRET));
    let bot = Arc::new(SlackClient::new(Http::new(&[&api_url]), &api_url, bot_token.clone()));
    let slack_sign_in = SlackSignIn::new(Http::new(&[&api_url]), &api_url, app, bot, clock.clone());
    let app = App::new(Parts {
        store: Arc::new(SqlStore::open(&data.path, SqliteOptions::new(ids.clone())).await?),
        inventory: Arc::new(inventory),
        catalogue: load_templates(args.templates.as_deref())?,
        api_tokens: Tokens::new(std::slice::from_ref(&admin_token)),
        jenkins: None,
        feishu: Some(feishu),
        slack: Some(SlackParts {
            signing_secrets: vec![signing_secret],
            opener: args.socket.then(|| Opener::new(Http::new(&[&api_url]), &api_url, app_token)),
            client: SlackClient::new(Http::new(&[&api_url]), &api_url, bot_token),
            pacing: Pacing::SLACK,
        }),
        artifacts: Artifacts::folder(args.artifacts.clone().unwrap_or_else(|| data.path.join("artifacts")))
            .with_builds(data.path.join("build-files"), BUILD_FILES_BYTES_MAX, clock.clone()),
        clock,
        ids,
        public_url: door_url.clone(),
        transcripts: data.path.join("transcripts"),
        board_url: None,
        proxies: Default::default(),
        rates: Default::default(),
    })
    .await?
    .signing_in(vec![Arc::new(slack_sign_in), Arc::new(feishu_sign_in)])
    .controlled(&data.path);
    let app = match &lab.file {
        Some(file) => app.reading(file.clone()),
        None => app,
    };
    sayln!("boardhand demo: open {} and type /run-test socA build-123", slack.url());
    let (token, program) = (admin_token.expose_secret(), program());
    sayln!(
        "from another shell: BOARDHAND_SERVER={door_url} BOARDHAND_TOKEN={token} {program} run socA build-123 --wait"
    );
    // A terminal that is closed ends its demo.
    serve_until_told(app, door, stops, None).await
}

/// What starts this program in another shell: its path, where that needs no quotes.
fn program() -> String {
    let plain = |path: &String| path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b));
    let path = std::env::current_exe().ok().and_then(|path| path.into_os_string().into_string().ok());
    path.filter(plain).unwrap_or_else(|| "boardhand".to_owned())
}

/// Both chats tell what is asked in either.
fn mirrors() -> Vec<(String, String)> {
    let (slack, feishu) = (CHANNEL.to_owned(), format!("feishu:{CHAT}"));
    vec![(slack.clone(), feishu.clone()), (feishu, slack)]
}

/// A simulated Feishu, and what connects the server to it: over the long connection.
async fn feishu(
    clock: &Clock,
    ids: &Ids,
    door_url: &str,
) -> std::io::Result<(SimFeishu, FeishuParts, FeishuSignIn)> {
    let (app_id, secret) = ("cli_demo".to_owned(), hex::encode(ids.bytes::<16>()));
    let config = SimFeishuConfig {
        app_id: app_id.clone(),
        app_secret: secret.clone(),
        encrypt_key: String::new(),
        verification_token: String::new(),
        webhook_url: None,
    };
    let tenant = SimFeishu::start(config, clock.clone(), ids.clone()).await?;
    FEISHU_PEOPLE.iter().for_each(|(id, name)| tenant.add_person(id, name));
    let (http, secret) = (Http::new(&[tenant.url()]), SecretString::from(secret));
    let client = FeishuClient::new(http.clone(), tenant.url(), app_id.clone(), secret.clone(), clock.clone());
    let client = Arc::new(client);
    tenant.register_redirect(&signed_in_with(door_url, "feishu"));
    let app = (app_id.clone(), secret.clone());
    let sign_in = FeishuSignIn::new(http.clone(), tenant.url(), app, client.clone());
    let parts = FeishuParts {
        events: FeishuEvents::Socket(Endpoint::new(http, tenant.url(), app_id, secret)),
        client,
        pacing: Pacing::FEISHU,
        bot: Arc::new(OnceLock::from(BOT.to_owned())),
    };
    Ok((tenant, parts, sign_in))
}

/// The boards of a demo, for as long as it is held.
struct DemoLab {
    /// What is read again on `/lab reload`; the built-in lab is never another one.
    file: Option<Arc<LabFile>>,
    /// The simulators.
    _boards: SimLab,
}

/// Starts the simulators, unless the boards are real.
async fn lab(
    args: &DemoArgs,
    inventory: Inventory,
    clock: &Clock,
    ids: &Ids,
) -> anyhow::Result<(DemoLab, Inventory)> {
    if let (true, Some(path)) = (args.real_boards, &args.boards) {
        warn_of_simulated_switches(&inventory);
        let file = Some(Arc::new(LabFile::real(path.clone()).mirroring(mirrors())));
        return Ok((DemoLab { file, _boards: SimLab::default() }, inventory));
    }
    let speed = if args.fast { Speed::Brisk } else { Speed::Real };
    let (boards, inventory) = SimLab::start(&inventory, speed, clock.clone(), ids.clone()).await?;
    let file = |path| LabFile::simulated(path, boards.clone(), speed, clock.clone(), ids.clone());
    let file = args.boards.clone().map(|path| Arc::new(file(path).mirroring(mirrors())));
    Ok((DemoLab { file, _boards: boards }, inventory))
}

/// The wanted port, or any free one when it is taken: the demo needs nothing, also not a free 8080.
async fn free_or_any(wanted: SocketAddr) -> std::io::Result<u16> {
    match tokio::net::TcpListener::bind(wanted).await {
        Ok(_) => Ok(wanted.port()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Ok(0),
        Err(error) => Err(error),
    }
}

/// The demo's data: the folder asked for, or one that goes with the demo.
struct DataDir {
    path: PathBuf,
    temporary: bool,
}

impl DataDir {
    fn make(wanted: Option<PathBuf>, ids: &Ids) -> std::io::Result<DataDir> {
        let temporary = wanted.is_none();
        let path = wanted.unwrap_or_else(|| {
            std::env::temp_dir().join(format!("boardhand-demo-{}", hex::encode(ids.bytes::<6>())))
        });
        std::fs::create_dir_all(&path)?;
        Ok(DataDir { path, temporary })
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        if self.temporary {
            // Left behind, it is a few files in the temporary folder: not worth an error at the end of a demo.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
