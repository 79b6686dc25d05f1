//! `boardhand serve`: the server over the user's own lab file, real or simulated, and real chat credentials.

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use tokio::net::{TcpListener, UdpSocket};
use tokio::signal::unix::{Signal, SignalKind};
use tokio::sync::{oneshot, watch};

use super::source::LabFile;
use crate::app::{App, FeishuEvents, FeishuParts, Parts, SlackParts};
use crate::artifact::{Artifacts, BUILD_FILES_BYTES_MAX};
use crate::board::lab_file::{self, Severity};
use crate::board::{Board, Inventory, PowerDriver};
use crate::chat::feishu::client::{FeishuClient, FeishuError};
use crate::chat::feishu::hook::HookClient;
use crate::chat::feishu::sign_in::FeishuSignIn;
use crate::chat::feishu::socket::Endpoint;
use crate::chat::jenkins::signature::Verifier;
use crate::chat::sign_in::SignIn;
use crate::chat::slack::sign_in::SlackSignIn;
use crate::chat::token::Tokens;
use crate::chat::{
    Platform, feishu,
    slack::client::{SlackClient, SlackError},
    slack::socket::Opener,
};
use crate::clock::Clock;
use crate::config::{
    self, Config, FeishuEventSettings, FeishuHook, FeishuSettings, ServeArgs, SlackSettings,
};
use crate::door::server::raise_file_limit;
use crate::door::standby;
use crate::id::Ids;
use crate::lease::LeaseState;
use crate::message::pace::Pacing;
use crate::message::template::Catalogue;
use crate::net::Http;
use crate::sim::{SimLab, Speed};
use crate::store::Store;
use crate::store::sql::SqlStore;
use crate::worker::reloader::Reloader;

/// What is said above the mistakes of a lab file.
pub(super) const MISTAKES: &str = "the lab file has mistakes";
/// Largest lab file in bytes.
const LAB_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Longest secret that a variable's file may hold, in bytes.
const VARIABLE_BYTES_MAX: u64 = 64 * 1024;

/// Pause before Feishu is asked again who the bot is.
const WHO_WE_ARE_AGAIN: Duration = Duration::from_secs(60);
/// How long whoever was told that this server stands by has for the rest of its answer.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// How long a database is waited for that is told that this server has ended.
const FAREWELL_WITHIN: Duration = Duration::from_secs(5);

/// Serves until SIGTERM or SIGINT.
pub(super) async fn serve(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let config = Config::from_args(args, &|name| std::env::var(name).ok())?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    raise_file_limit();
    let (hangups, stops) = (hangups()?, Stops::begin(None)?);
    let clock = Clock::system();
    let ids = Ids::system();
    let connected = config.connected();
    let inventory = load_lab(&config.boards, config.simulate, &connected)?;
    let path = config.boards.clone();
    let (source, inventory) = if config.simulate {
        let (lab, inventory) = SimLab::start(&inventory, Speed::Real, clock.clone(), ids.clone()).await?;
        let file = LabFile::simulated(path, lab, Speed::Real, clock.clone(), ids.clone());
        (file.for_chats(connected), inventory)
    } else {
        warn_of_simulated_switches(&inventory);
        warn_of_artifacts_out_of_reach(&config, &inventory);
        (LabFile::real(path).for_chats(connected), inventory)
    };
    // Where boards are simulated, whatever drives them ends before their simulators do: those are held to the end.
    let source = Arc::new(source);
    let slack = match &config.slack {
        None => {
            if config.feishu.is_none() && config.jenkins.is_none() {
                tracing::warn!(
                    "neither Slack nor Feishu is connected, so nobody can type a command: set SLACK_BOT_TOKEN and \
                     SLACK_SIGNING_SECRET, or SLACK_APP_TOKEN where Slack cannot reach this server"
                );
            }
            None
        }
        Some(settings) => {
            // Slack may be away for a while: the start does not wait for it.
            tokio::spawn(tell_who_we_are(slack_client(settings)));
            tracing::info!("Slack's deliveries: {}", settings.way());
            Some(slack_parts(settings))
        }
    };
    let sign_ins = sign_ins(&config, &clock);
    let feishu = config.feishu.as_ref().map(|settings| feishu_parts(settings, &clock));
    let feishu = feishu.or_else(|| config.feishu_hook.as_ref().map(|hook| feishu_hook(hook, &clock)));
    let boards = inventory.boards.len();
    // The store's lock comes first: who holds it is the only process on this data.
    let (store, listener, stops) = match take_place(&config, &ids, stops).await? {
        Some(taken) => taken,
        // Told to stop before there was anything to do.
        None => return Ok(ExitCode::SUCCESS),
    };
    match &config.database {
        Some(url) => tracing::info!("the data is in the PostgreSQL database {}", url.place()),
        None => tracing::info!("the data is in {}", config.data_dir.display()),
    }
    let (artifacts, store) = (artifacts(&config, &clock)?, Arc::new(store));
    let ending = (store.clone(), clock.clone());
    let app = App::new(Parts {
        store,
        inventory: Arc::new(inventory),
        catalogue: load_templates(config.templates.as_deref())?,
        slack,
        feishu,
        api_tokens: Tokens::new(config.admin_token.as_slice()),
        jenkins: config.jenkins.as_ref().map(|settings| Verifier::new(&settings.secrets, &settings.tokens)),
        clock,
        ids,
        public_url: config.public_url.clone(),
        transcripts: config.data_dir.join("transcripts"),
        artifacts,
        board_url: Some(config.board_url.clone()),
        proxies: config.proxies.clone(),
        rates: Default::default(),
    })
    .await?
    .keeping(config.retention)
    .signing_in(sign_ins)
    .reading(source.clone())
    .controlled(&config.data_dir);
    let listener = match listener {
        Some(listener) => listener,
        None => listen(config.listen).await?,
    };
    let app = match config.traces.clone() {
        Some(to) => app.traced(to),
        None => app,
    };
    let app = match config.tftp {
        Some(address) => app.booting_from(
            UdpSocket::bind(address)
                .await
                .map_err(|error| anyhow::anyhow!("BOARDHAND_TFTP: cannot listen on {address}: {error}"))?,
        ),
        None => app,
    };
    tracing::info!(listen = %config.listen, public_url = config.public_url, boards, simulate = config.simulate, "serving");
    let code = serve_until_told(app, listener, stops, Some(hangups)).await?;
    if code == ExitCode::SUCCESS && config.database.is_some() {
        let (store, clock) = ending;
        if !clock.timeout(FAREWELL_WITHIN, farewell(&store)).await.unwrap_or_default() {
            tracing::warn!("the next server waits a while, since this one could not end in order");
        }
    }
    Ok(code)
}

/// Leaves the database in order, so that whoever comes next need not wait; gives whether nothing of this server drives a
/// board any more.
async fn farewell(store: &SqlStore) -> bool {
    let Ok(leases) = store.lease_list().await else { return false };
    let is_at_rest = leases.iter().all(|lease| lease.state == LeaseState::Held);
    if is_at_rest {
        store.close().await;
    }
    is_at_rest
}

/// Opens the store; where it stands by, once its turn has come, and whoever asks is told meanwhile. `None` when the
/// process was told to stop before.
async fn take_place(
    config: &Config,
    ids: &Ids,
    mut stops: Stops,
) -> anyhow::Result<Option<(SqlStore, Option<TcpListener>, Stops)>> {
    let opening = SqlStore::at(config.database.as_ref(), &config.data_dir, ids, config.standby);
    if !config.standby {
        let opened = tokio::select! {
            opened = opening => opened?,
            _ = stops.terminate.recv() => return Ok(None),
            _ = stops.interrupt.recv() => return Ok(None),
        };
        return Ok(Some((opened, None, stops)));
    }
    let listener = listen(config.listen).await?.into_std()?;
    let (works, over) = oneshot::channel::<()>();
    let waiting = TcpListener::from_std(listener.try_clone()?)?;
    let mut told = tokio::spawn(standby::serve(waiting, async { drop(over.await) }));
    let opened = tokio::select! {
        opened = opening => opened?,
        _ = stops.terminate.recv() => return Ok(None),
        _ = stops.interrupt.recv() => return Ok(None),
    };
    let _ = works.send(());
    // Nobody who leaves a question half asked keeps the lab waiting.
    if Clock::system().timeout(LAST_ANSWERS, &mut told).await.is_err() {
        told.abort();
    }
    Ok(Some((opened, Some(TcpListener::from_std(listener)?), stops)))
}

fn artifacts(config: &Config, clock: &Clock) -> anyhow::Result<Artifacts> {
    let most = config.retention.disk_bytes;
    let artifacts = match &config.bucket {
        None => Artifacts::folder(&config.artifacts),
        Some(settings) => Artifacts::bucket(settings, &config.data_dir, most, clock.clone())
            .map_err(|error| anyhow::anyhow!("BOARDHAND_ARTIFACTS: {error}"))?,
    };
    let (folder, most) = (config.data_dir.join("build-files"), most.min(BUILD_FILES_BYTES_MAX));
    Ok(artifacts.with_builds(folder, most, clock.clone()))
}

pub(super) fn feishu_client(settings: &FeishuSettings, clock: &Clock) -> FeishuClient {
    let (http, secret) = (Http::new(&[&settings.base_url]), settings.app_secret.clone());
    FeishuClient::new(http, &settings.base_url, settings.app_id.clone(), secret, clock.clone())
}

fn feishu_parts(settings: &FeishuSettings, clock: &Clock) -> FeishuParts {
    let http = Http::new(&[&settings.base_url]);
    let client = Arc::new(feishu_client(settings, clock));
    let bot = Arc::new(OnceLock::new());
    tokio::spawn(learn_who_we_are(client.clone(), bot.clone(), clock.clone()));
    let events = match &settings.events {
        FeishuEventSettings::Webhook { encrypt_key, verification_token } => FeishuEvents::Webhook(
            feishu::signature::Verifier::new(encrypt_key.clone(), verification_token.clone()),
        ),
        FeishuEventSettings::Socket => {
            let (app_id, secret) = (settings.app_id.clone(), settings.app_secret.clone());
            FeishuEvents::Socket(Endpoint::new(http, &settings.base_url, app_id, secret))
        }
    };
    FeishuParts { events, client, pacing: Pacing::FEISHU, bot }
}

/// A group that is only told.
fn feishu_hook(hook: &FeishuHook, clock: &Clock) -> FeishuParts {
    let http = Http::new(&[hook.url.expose_secret()]);
    let client = HookClient::new(http, hook.url.clone(), hook.secret.clone(), clock.clone());
    let (client, bot) = (Arc::new(client), Arc::default());
    FeishuParts { events: FeishuEvents::Never, client, pacing: Pacing::FEISHU_HOOK, bot }
}

/// Asks Feishu who the bot is until it says so: its mention in a message is told apart by that.
async fn learn_who_we_are(client: Arc<FeishuClient>, bot: Arc<OnceLock<String>>, clock: Clock) {
    loop {
        match client.whoami().await {
            Ok(me) => {
                tracing::info!(bot.name = me.name, bot.id = me.open_id, "Feishu knows the bot");
                let _ = bot.set(me.open_id);
                return;
            }
            Err(FeishuError::NotAccepted { code, remedy }) => {
                tracing::error!(code, remedy, "Feishu does not accept the app: no card can be posted");
            }
            Err(error) => {
                tracing::warn!(%error, "Feishu was not reached; what is owed to it is tried again")
            }
        }
        clock.sleep(WHO_WE_ARE_AGAIN).await;
    }
}

fn slack_parts(settings: &SlackSettings) -> SlackParts {
    let http = Http::new(&[&settings.api_url]);
    let opener = |token: &SecretString| Opener::new(http, &settings.api_url, token.clone());
    SlackParts {
        signing_secrets: settings.signing_secrets.clone(),
        opener: settings.app_token.as_ref().map(opener),
        client: slack_client(settings),
        pacing: Pacing::SLACK,
    }
}

pub(super) fn slack_client(settings: &SlackSettings) -> SlackClient {
    SlackClient::new(Http::new(&[&settings.api_url]), &settings.api_url, settings.bot_token.clone())
}

/// What people sign in to the pages with.
fn sign_ins(config: &Config, clock: &Clock) -> Vec<Arc<dyn SignIn>> {
    let slack = config.slack.as_ref().and_then(|settings| {
        let (http, app) = (Http::new(&[&settings.api_url]), settings.sign_in.clone()?);
        let bot = Arc::new(slack_client(settings));
        Some(Arc::new(SlackSignIn::new(http, &settings.api_url, app, bot, clock.clone())) as Arc<dyn SignIn>)
    });
    let feishu = config.feishu.as_ref().filter(|settings| settings.sign_in).map(|settings| {
        let (http, bot) = (Http::new(&[&settings.base_url]), Arc::new(feishu_client(settings, clock)));
        let app = (settings.app_id.clone(), settings.app_secret.clone());
        Arc::new(FeishuSignIn::new(http, &settings.base_url, app, bot)) as Arc<dyn SignIn>
    });
    slack.into_iter().chain(feishu).collect()
}

/// Asks Slack once whose token it is: a wrong one is better told at start than at the first run.
async fn tell_who_we_are(client: SlackClient) {
    match client.whoami().await {
        Ok(me) => {
            tracing::info!(team = me.team, team.id = me.team_id, bot.user = me.user_id, "Slack knows the bot")
        }
        Err(SlackError::NotAccepted { code, remedy }) => {
            tracing::error!(code, remedy, "Slack does not accept SLACK_BOT_TOKEN: no card can be posted");
        }
        Err(error) => {
            tracing::warn!(%error, "Slack was not reached at start; what is owed to it is tried again")
        }
    }
}

/// A lab that began as a copy of the example still has its power switches, and nobody answers for them.
pub(super) fn warn_of_simulated_switches(inventory: &Inventory) {
    let simulated =
        |board: &&Board| board.power.drivers().any(|driver| matches!(driver, PowerDriver::Simulated));
    let boards = inventory.boards.values().filter(simulated).count();
    if boards > 0 {
        tracing::warn!(
            boards,
            "power driver `simulated` switches nothing in a real lab: name yours, see docs/power.md"
        );
    }
}

/// A board that is told to fetch from its own loopback finds nothing there.
fn warn_of_artifacts_out_of_reach(config: &Config, inventory: &Inventory) {
    if config::is_here(&config.board_url) && inventory.fetches_from_us() {
        tracing::warn!(
            board_url = config.board_url,
            "plans name artifacts.url, and boards do not reach this address: set BOARDHAND_BOARD_URL"
        );
    }
}

/// Binds the address that `BOARDHAND_LISTEN` names.
pub(super) async fn listen(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!(
                "BOARDHAND_LISTEN: another program listens on {address}; stop it, or take another port"
            )
        }
        _ => anyhow::anyhow!("BOARDHAND_LISTEN: cannot listen on {address}: {error}"),
    })
}

/// Reads and checks the lab file; every mistake is told at once. One that is simulated needs no variables.
pub(super) fn load_lab(path: &Path, simulated: bool, connected: &[Platform]) -> anyhow::Result<Inventory> {
    parse_lab(&path.display().to_string(), &read_lab(path)?, simulated, connected)
}

/// The lab file's text, unless it is absurdly large.
pub(super) fn read_lab(path: &Path) -> anyhow::Result<String> {
    let name = path.display();
    let size = std::fs::metadata(path).with_context(|| format!("BOARDHAND_BOARDS: {name}"))?.len();
    anyhow::ensure!(
        size <= LAB_FILE_BYTES_MAX,
        "BOARDHAND_BOARDS: {name} is larger than {LAB_FILE_BYTES_MAX} bytes"
    );
    std::fs::read_to_string(path).with_context(|| format!("BOARDHAND_BOARDS: {name}"))
}

/// A variable that the lab file names: `NAME`, or what the file at `NAME_FILE` holds, without its last line end. A file
/// that cannot be read is a variable that is not set, which the lab file's reader tells with line and column.
pub(super) fn lab_variable(name: &str) -> Option<String> {
    let env = |name: &str| std::env::var(name).ok();
    variable_from(name, &env)
}

fn variable_from(name: &str, env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    env(name).or_else(|| {
        let path = env(&format!("{name}_FILE")).filter(|path| !path.is_empty())?;
        let size = std::fs::metadata(&path).ok()?.len();
        let text = std::fs::read_to_string(&path).ok().filter(|_| size <= VARIABLE_BYTES_MAX)?;
        Some(text.strip_suffix('\n').map_or(text.as_str(), |text| text.trim_end_matches('\r')).to_owned())
    })
}

/// The inventory of a lab file's text, or every mistake in it.
pub(super) fn parse_lab(
    name: &str,
    text: &str,
    simulated: bool,
    connected: &[Platform],
) -> anyhow::Result<Inventory> {
    let read = lab_file::parse_for(name, text, &lab_variable, simulated, connected);
    let Some(inventory) = read.inventory else {
        anyhow::bail!("{MISTAKES}\n{}", lab_file::render(&read.problems).trim_end());
    };
    for problem in read.problems.iter().filter(|problem| problem.severity == Severity::Warning) {
        tracing::warn!("{problem}");
    }
    Ok(inventory)
}

/// The message templates: built in, or overridden by a folder.
pub(super) fn load_templates(folder: Option<&Path>) -> anyhow::Result<Catalogue> {
    match folder {
        None => Ok(Catalogue::builtin()),
        Some(folder) => Catalogue::load(folder)
            .map_err(|problems| anyhow::anyhow!("BOARDHAND_TEMPLATES: {}", problems.join("\n  "))),
    }
}

/// What a process that was told to stop twice ends with, as after a second Ctrl-C elsewhere.
const STOPPED_AT_ONCE: u8 = 130;

/// Serves until the process is told to stop, and then in order; told again, it ends at once.
pub(super) async fn serve_until_told(
    app: App,
    listener: TcpListener,
    stops: Stops,
    hangups: Option<Signal>,
) -> anyhow::Result<ExitCode> {
    let (told, times) = watch::channel(0_u32);
    tokio::spawn(count_signals(told, stops));
    if let (Some(reloader), Some(hangups)) = (app.reloader(), hangups) {
        tokio::spawn(reload_when_told(reloader, hangups));
    }
    tokio::select! {
        served = app.serve(listener, stop_told(times.clone(), 1)) => served.map(|()| ExitCode::SUCCESS),
        () = stop_told(times, 2) => {
            tracing::warn!("told to stop again: ending at once; the next start fences boards that are not at rest");
            Ok(ExitCode::from(STOPPED_AT_ONCE))
        }
    }
}

/// SIGHUPs from now on: one that comes while the server starts must not end it, and is heeded once it runs.
fn hangups() -> std::io::Result<Signal> {
    tokio::signal::unix::signal(SignalKind::hangup())
}

/// Reads the lab file again at every SIGHUP. What comes of it stands in the log.
async fn reload_when_told(reloader: Reloader, mut hangups: Signal) {
    while hangups.recv().await.is_some() {
        if let Err(error) = reloader.reload().await {
            tracing::error!(%error, "boards.yaml could not be put in force");
        }
    }
}

/// The signals to stop, from now on.
pub(super) struct Stops {
    terminate: Signal,
    interrupt: Signal,
    /// What is said at the first of them.
    said: Option<&'static str>,
}

impl Stops {
    /// Begins to listen: a signal that comes while the server starts is heeded once it runs.
    pub(super) fn begin(said: Option<&'static str>) -> std::io::Result<Stops> {
        use tokio::signal::unix::signal;
        let terminate = signal(SignalKind::terminate())?;
        Ok(Stops { terminate, interrupt: signal(SignalKind::interrupt())?, said })
    }
}

/// Counts how often the process is told to stop.
async fn count_signals(told: watch::Sender<u32>, mut stops: Stops) {
    loop {
        tokio::select! {
            _ = stops.terminate.recv() => {}
            _ = stops.interrupt.recv() => {}
        }
        if let Some(said) = stops.said.take() {
            sayln!("{said}");
        }
        told.send_modify(|times| *times = times.saturating_add(1));
    }
}

/// Resolves when the process was told to stop so often.
async fn stop_told(mut told: watch::Receiver<u32>, times: u32) {
    if told.wait_for(|told| *told >= times).await.is_err() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_of_the_lab_file_may_stand_in_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str, bytes: usize| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("{}\r\n", "x".repeat(bytes - 2))).expect("a file");
            Some(path.display().to_string())
        };
        let (small, full) = (path("small", 5), path("full", VARIABLE_BYTES_MAX as usize));
        let over = path("over", VARIABLE_BYTES_MAX as usize + 1);
        let env = |name: &str| match name {
            "SET" => Some("plain".to_owned()),
            "SET_FILE" | "SMALL_FILE" => small.clone(),
            "FULL_FILE" => full.clone(),
            "OVER_FILE" => over.clone(),
            "GONE_FILE" => Some("/nowhere/secret".to_owned()),
            _ => None,
        };
        let length = |name: &str| variable_from(name, &env).map(|value| value.len());
        assert_eq!(variable_from("SET", &env).as_deref(), Some("plain"));
        assert_eq!(variable_from("SMALL", &env).as_deref(), Some("xxx"));
        assert_eq!(length("FULL"), Some(VARIABLE_BYTES_MAX as usize - 2));
        assert_eq!((length("OVER"), length("GONE"), length("NONE")), (None, None, None));
    }
}
