//! Configuration: flags and environment, validated at start. Every problem names its variable; a secret is never
//! printed and can come from a file (`NAME_FILE`).

mod bucket;
mod database;
mod feishu;
mod jenkins;
mod slack;
mod traces;

pub use database::DATABASE_URL;
pub use feishu::{FeishuEventSettings, FeishuHook, FeishuSettings};
pub use jenkins::JenkinsSettings;
pub use slack::{SLACK_API_URL, SlackSettings};
pub use traces::TraceSettings;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use secrecy::SecretString;

use crate::artifact::bucket::BucketSettings;
use crate::chat::Platform;
use crate::net::proxies::Proxies;
use crate::store::sql::PostgresUrl;

/// What `serve` is told, as it is told: [`Config::from_args`] reads it, and tells every mistake at once. Secrets are not
/// flags: a command line is public on its machine.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Address to listen on.
    #[arg(long, env = "BOARDHAND_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: String,
    /// Where people reach this server, for links in messages; http:// and the listening address when absent.
    #[arg(long, env = "BOARDHAND_PUBLIC_URL")]
    pub public_url: Option<String>,
    /// Where boards reach this server, to fetch artifacts; the public address when absent.
    #[arg(long, env = "BOARDHAND_BOARD_URL")]
    pub board_url: Option<String>,
    /// Address to give artifacts to boot loaders by TFTP, such as 0.0.0.0:69; none when absent.
    #[arg(long, env = "BOARDHAND_TFTP")]
    pub tftp: Option<String>,
    /// Folder of the database and the transcripts.
    #[arg(long, env = "BOARDHAND_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,
    /// Folder of the files that plans bring onto boards, or s3://bucket/prefix; `artifacts` in the data folder when
    /// absent.
    #[arg(long, env = "BOARDHAND_ARTIFACTS")]
    pub artifacts: Option<PathBuf>,
    /// The lab file.
    #[arg(long, env = "BOARDHAND_BOARDS", default_value = "./boards.yaml")]
    pub boards: PathBuf,
    /// Folder of message templates that override the built-in ones.
    #[arg(long, env = "BOARDHAND_TEMPLATES")]
    pub templates: Option<PathBuf>,
    /// Addresses or networks of reverse proxies, separated by commas: the address of whoever asks is what they say. Without
    /// one every request is the proxy's.
    #[arg(long, env = "BOARDHAND_TRUSTED_PROXIES")]
    pub trusted_proxies: Option<String>,
    /// How long console transcripts of finished runs are kept: 30d, 12h or forever.
    #[arg(long, env = "BOARDHAND_KEEP_TRANSCRIPTS", default_value = "30d")]
    pub keep_transcripts: String,
    /// Most that transcripts may take, in GB; beyond it the oldest of finished runs go first.
    #[arg(long, env = "BOARDHAND_KEEP_TRANSCRIPTS_GB", default_value = "20")]
    pub keep_transcripts_gb: String,
    /// How long events, sent messages and power requests of finished runs are kept; runs themselves stay.
    #[arg(long, env = "BOARDHAND_KEEP_HISTORY", default_value = "90d")]
    pub keep_history: String,
    /// How long it is kept who was allowed or refused what.
    #[arg(long, env = "BOARDHAND_KEEP_AUDIT", default_value = "365d")]
    pub keep_audit: String,
    /// How long artifacts are kept after somebody used them, in days, or forever; 7 in the data folder, forever in a
    /// folder of your own.
    #[arg(long, env = "ARTIFACT_RETENTION_DAYS")]
    pub artifact_retention_days: Option<String>,
    /// Most that artifacts and transcripts may take together, in GB, or unlimited; beyond it the artifacts go that nobody
    /// used for longest. 100 in the data folder, unlimited in a folder of your own.
    #[arg(long, env = "MAX_DISK_USAGE_GB")]
    pub max_disk_usage_gb: Option<String>,
    /// Where another server works on the PostgreSQL database, stand by and take its place when it has ended.
    #[arg(long, env = "BOARDHAND_STANDBY")]
    pub standby: bool,
    /// Simulate every console and power switch of the lab file; nothing of the lab is touched.
    #[arg(long)]
    pub simulate: bool,
}

/// Everything the server is told, validated.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Where people reach this server, without a slash at its end.
    pub public_url: String,
    /// Where boards reach this server, without a slash at its end.
    pub board_url: String,
    /// Address of the TFTP server, if there is to be one.
    pub tftp: Option<SocketAddr>,
    /// The PostgreSQL database, when the data is not in the folder.
    pub database: Option<PostgresUrl>,
    /// Whether it stands by where another server works on that.
    pub standby: bool,
    /// Folder of the database and the transcripts.
    pub data_dir: PathBuf,
    /// Folder of the artifacts, when they are not in a bucket.
    pub artifacts: PathBuf,
    /// The bucket of the artifacts.
    pub bucket: Option<BucketSettings>,
    /// The lab file.
    pub boards: PathBuf,
    /// Folder of message templates.
    pub templates: Option<PathBuf>,
    /// Whether the lab is simulated.
    pub simulate: bool,
    /// How long things are kept.
    pub retention: Retention,
    /// Slack, when it is connected.
    pub slack: Option<SlackSettings>,
    /// Feishu, when it is connected.
    pub feishu: Option<FeishuSettings>,
    /// A Feishu group that is only told.
    pub feishu_hook: Option<FeishuHook>,
    /// Jenkins, when it is connected.
    pub jenkins: Option<JenkinsSettings>,
    /// Proxies that are trusted to say whom they speak for.
    pub proxies: Proxies,
    /// Opens the API as an admin.
    pub admin_token: Option<SecretString>,
    /// Where traces go, when they are wanted.
    pub traces: Option<TraceSettings>,
}

/// Everything that is wrong with the configuration, each naming its variable and the fix.
#[derive(Debug, thiserror::Error)]
#[error("the configuration cannot be used:\n  {}", .0.join("\n  "))]
pub struct ConfigError(pub Vec<String>);

/// An address and a port, or what one looks like.
pub fn socket_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "an address and a port are needed, such as 127.0.0.1:8080 or 0.0.0.0:8080")
}

/// How long things are kept once nobody works with them any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Console transcripts of finished runs.
    pub transcripts: Duration,
    /// Most bytes of transcripts in all.
    pub transcript_bytes: u64,
    /// Artifacts that nobody uses.
    pub artifacts: Duration,
    /// Most bytes of artifacts and transcripts together.
    pub disk_bytes: u64,
    /// Events, sent messages and done power requests.
    pub history: Duration,
    /// Audit rows.
    pub audit: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Retention {
            transcripts: 30 * DAY,
            transcript_bytes: 20 * GB,
            artifacts: 7 * DAY,
            disk_bytes: 100 * GB,
            history: 90 * DAY,
            audit: 365 * DAY,
        }
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);
/// A gigabyte, as disks are sold.
pub const GB: u64 = 1_000_000_000;

/// How long something is kept: whole days or hours, at least an hour, or `forever`.
pub fn kept(text: &str) -> Result<Duration, &'static str> {
    const LOOKS_LIKE: &str = "a time in days or hours is needed, such as 30d, 12h or forever";
    if text == "forever" {
        return Ok(Duration::MAX);
    }
    let unit = text.strip_suffix('d').map(|n| (n, DAY));
    let unit = unit.or_else(|| text.strip_suffix('h').map(|n| (n, Duration::from_secs(3600))));
    let (number, unit) = unit.ok_or(LOOKS_LIKE)?;
    let number: u32 = number.parse().ok().filter(|n| *n > 0).ok_or(LOOKS_LIKE)?;
    Ok(unit * number)
}

/// An address of the web, without a slash at its end.
pub fn public_url(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match host {
        Some(host) if !host.trim_matches('/').is_empty() => Ok(text.trim_end_matches('/').to_owned()),
        Some(_) | None => Err(format!("{text:?} must begin with https:// or http://, and name a host")),
    }
}

/// The same as boards are told it: their boot loaders know no quoting.
fn board_url(text: &str) -> Result<String, String> {
    let plain = |url: &String| crate::board::quoting::is_plain(url);
    public_url(text).and_then(|url| {
        Some(url)
            .filter(plain)
            .ok_or_else(|| format!("{text:?} may only hold letters, digits and . _ : / = @ + , -"))
    })
}

/// Reads a variable of the environment.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Variables of the contract that this version does not act on yet. Set, by themselves or as `NAME_FILE`, they are
/// refused: a platform that stays silent although it was configured is worse than an error at start.
pub const NOT_YET: &[&str] =
    &["REDIS_URL", "SLACK_WEBHOOK_URL", "BOARDHAND_TLS_CERT", "BOARDHAND_TLS_KEY", "BOARDHAND_TLS_CLIENT_CA"];

impl Config {
    /// Validates flags and environment; tells every problem at once.
    pub fn from_args(args: &ServeArgs, env: Env<'_>) -> Result<Config, ConfigError> {
        // Empty, as a line of a .env file leaves it, is absent.
        let env: Env<'_> = &|name| env(name).filter(|value| !value.trim().is_empty());
        let mut problems = Vec::new();
        let slack = slack::settings(env, &mut problems);
        let feishu = feishu::settings(env, &mut problems);
        let feishu_hook = feishu::hook(env, feishu.is_some(), &mut problems);
        let jenkins = jenkins::settings(env, &mut problems);
        let proxies = args.trusted_proxies.as_deref().map_or_else(|| Ok(Proxies::default()), Proxies::parse);
        let proxies = setting("BOARDHAND_TRUSTED_PROXIES (--trusted-proxies)", proxies, &mut problems);
        let admin_token = jenkins::long_enough(env, "BOARDHAND_ADMIN_TOKEN", &mut problems);
        let traces = traces::settings(env, &mut problems);
        let database = database::settings(env, &mut problems);
        if args.standby && database.is_none() && problems.is_empty() {
            problems.push(format!(
                "BOARDHAND_STANDBY (--standby): it needs {DATABASE_URL}, a file has one server"
            ));
        }
        refuse_what_is_not_there(env, &mut problems);
        let listen = setting("BOARDHAND_LISTEN (--listen)", socket_address(&args.listen), &mut problems);
        let public_url = match (args.public_url.as_deref().filter(|url| !url.is_empty()), listen) {
            (None, listen) => listen.map(|listen| format!("http://{listen}")),
            (Some(url), _) => setting("BOARDHAND_PUBLIC_URL (--public-url)", public_url(url), &mut problems),
        };
        problems.extend(nowhere_to_come_back(args, slack.as_ref(), feishu.as_ref()));
        let board_url = match args.board_url.as_deref().filter(|url| !url.is_empty()) {
            None => public_url.clone(),
            Some(url) => setting("BOARDHAND_BOARD_URL (--board-url)", board_url(url), &mut problems),
        };
        let tftp = args.tftp.as_deref().filter(|address| !address.is_empty());
        let tftp =
            tftp.and_then(|text| setting("BOARDHAND_TFTP (--tftp)", socket_address(text), &mut problems));
        let artifacts = args.artifacts.clone().filter(|path| !path.as_os_str().is_empty());
        let address = artifacts.as_ref().map(|path| path.to_string_lossy().into_owned());
        let bucket = address.filter(|address| address.contains("://"));
        let bucket = bucket.and_then(|address| bucket::settings(&address, env, &mut problems));
        let retention = retention(args, &mut problems);
        let (Some(listen), Some(public_url), Some(board_url), Some(retention), true) =
            (listen, public_url, board_url, retention, problems.is_empty())
        else {
            return Err(ConfigError(problems));
        };
        Ok(Config {
            artifacts: artifacts.unwrap_or_else(|| args.data_dir.join("artifacts")),
            bucket,
            listen,
            public_url,
            board_url,
            tftp,
            database,
            standby: args.standby,
            data_dir: args.data_dir.clone(),
            boards: args.boards.clone(),
            templates: args.templates.clone(),
            simulate: args.simulate,
            retention,
            slack,
            feishu,
            feishu_hook,
            jenkins,
            proxies: proxies.unwrap_or_default(),
            admin_token,
            traces,
        })
    }

    /// The chat platforms that are connected.
    pub fn connected(&self) -> Vec<Platform> {
        let slack = self.slack.is_some().then_some(Platform::Slack);
        let feishu = (self.feishu.is_some() || self.feishu_hook.is_some()).then_some(Platform::Feishu);
        slack.into_iter().chain(feishu).collect()
    }

    /// What is valid and surely not meant: links that lead everybody to their own machine.
    pub fn warnings(&self) -> Vec<String> {
        let machines = self.jenkins.is_some() || self.admin_token.is_some();
        if (self.slack.is_none() && self.feishu.is_none() && !machines) || !is_here(&self.public_url) {
            return vec![];
        }
        vec![format!(
            "BOARDHAND_PUBLIC_URL: cards and answers link to {}, which is the reader's own machine; set it to the \
             address under which people reach this server",
            self.public_url
        )]
    }
}

/// The PostgreSQL database alone; nothing when the data is in the data folder.
pub fn database(env: Env<'_>) -> Result<Option<PostgresUrl>, ConfigError> {
    let env: Env<'_> = &|name| env(name).filter(|value| !value.trim().is_empty());
    let mut problems = Vec::new();
    let settings = database::settings(env, &mut problems);
    if problems.is_empty() { Ok(settings) } else { Err(ConfigError(problems)) }
}

/// Slack's settings alone; nothing when it is off.
pub fn slack(env: Env<'_>) -> Result<Option<SlackSettings>, ConfigError> {
    let env: Env<'_> = &|name| env(name).filter(|value| !value.trim().is_empty());
    let mut problems = Vec::new();
    let settings = slack::settings(env, &mut problems);
    if problems.is_empty() { Ok(settings) } else { Err(ConfigError(problems)) }
}

/// Feishu's settings alone, for whoever only asks it something.
pub fn feishu(env: Env<'_>) -> Result<Option<FeishuSettings>, ConfigError> {
    let env: Env<'_> = &|name| env(name).filter(|value| !value.trim().is_empty());
    let mut problems = Vec::new();
    let settings = feishu::settings(env, &mut problems);
    if problems.is_empty() { Ok(settings) } else { Err(ConfigError(problems)) }
}

/// The chat platforms that these variables connect, as far as they can be read.
pub fn connected(env: Env<'_>) -> Vec<Platform> {
    let env: Env<'_> = &|name| env(name).filter(|value| !value.trim().is_empty());
    let slack = slack::settings(env, &mut vec![]).map(|_| Platform::Slack);
    let hook = feishu::hook(env, false, &mut vec![]).map(|_| Platform::Feishu);
    let feishu = feishu::settings(env, &mut vec![]).map(|_| Platform::Feishu).or(hook);
    slack.into_iter().chain(feishu).collect()
}

/// Whether an address leads everybody to their own machine.
pub fn is_here(url: &str) -> bool {
    let host = url.split("://").nth(1).unwrap_or_default();
    ["localhost", "127.", "0.0.0.0", "[::1]", "[::]"].iter().any(|name| host.starts_with(name))
}

/// A setting that could be read, or what is wrong with it.
fn setting<T, E: std::fmt::Display>(name: &str, read: Result<T, E>, problems: &mut Vec<String>) -> Option<T> {
    read.map_err(|problem| problems.push(format!("{name}: {problem}"))).ok()
}

/// Whoever signs in with a platform is sent back to an address that is written down there.
fn nowhere_to_come_back(
    args: &ServeArgs,
    slack: Option<&SlackSettings>,
    feishu: Option<&FeishuSettings>,
) -> Option<String> {
    let slack = slack.is_some_and(|slack| slack.sign_in.is_some()).then_some("SLACK_CLIENT_ID");
    let feishu = feishu.is_some_and(|feishu| feishu.sign_in).then_some("FEISHU_SIGN_IN");
    let named = args.public_url.as_ref().is_some_and(|url| !url.is_empty());
    let by = slack.or(feishu).filter(|_| !named)?;
    Some(format!("BOARDHAND_PUBLIC_URL (--public-url): missing; whoever signs in ({by}) is sent back there"))
}

fn refuse_what_is_not_there(env: Env<'_>, problems: &mut Vec<String>) {
    let set = |name: &str| env(name).is_some();
    for name in NOT_YET.iter().flat_map(|name| [(*name).to_owned(), format!("{name}_FILE")]) {
        if set(&name) {
            problems.push(format!("{name}: this version does not act on it yet; unset it"));
        }
    }
}

fn retention(args: &ServeArgs, problems: &mut Vec<String>) -> Option<Retention> {
    let mut time = |name: &str, text: &str| setting(name, kept(text), problems);
    let transcripts = time("BOARDHAND_KEEP_TRANSCRIPTS (--keep-transcripts)", &args.keep_transcripts);
    let history = time("BOARDHAND_KEEP_HISTORY (--keep-history)", &args.keep_history);
    let audit = time("BOARDHAND_KEEP_AUDIT (--keep-audit)", &args.keep_audit);
    let most =
        args.keep_transcripts_gb.parse::<u32>().map_err(|_| "a whole number of GB is needed, such as 20");
    let most = setting("BOARDHAND_KEEP_TRANSCRIPTS_GB (--keep-transcripts-gb)", most, problems);
    // Somebody's own folder is not tidied unless they say so.
    let folder = args.artifacts.as_ref().map(|path| path.to_string_lossy()).unwrap_or_default();
    let own = !folder.is_empty() && !folder.contains("://");
    let default = Retention::default();
    let (age, bytes) = if own { (Duration::MAX, u64::MAX) } else { (default.artifacts, default.disk_bytes) };
    let age = limit(&args.artifact_retention_days, "forever", age, |days| DAY * days)
        .map_err(|()| "a whole number of days is needed, such as 7, or forever");
    let artifacts = setting("ARTIFACT_RETENTION_DAYS (--artifact-retention-days)", age, problems);
    let bytes = limit(&args.max_disk_usage_gb, "unlimited", bytes, |gb| u64::from(gb) * GB)
        .map_err(|()| "a whole number of GB is needed, such as 100, or unlimited");
    let disk_bytes = setting("MAX_DISK_USAGE_GB (--max-disk-usage-gb)", bytes, problems);
    Some(Retention {
        transcripts: transcripts?,
        transcript_bytes: u64::from(most?) * GB,
        artifacts: artifacts?,
        disk_bytes: disk_bytes?,
        history: history?,
        audit: audit?,
    })
}

/// A limit that may be absent, a number from 1, or the word for none.
fn limit<T: Unlimited>(text: &Option<String>, none: &str, absent: T, of: impl Fn(u32) -> T) -> Result<T, ()> {
    match text.as_deref().map(str::trim) {
        None | Some("") => Ok(absent),
        Some(word) if word == none => Ok(T::UNLIMITED),
        Some(number) => number.parse().ok().filter(|n| *n > 0).map(of).ok_or(()),
    }
}

trait Unlimited {
    const UNLIMITED: Self;
}

impl Unlimited for Duration {
    const UNLIMITED: Duration = Duration::MAX;
}

impl Unlimited for u64 {
    const UNLIMITED: u64 = u64::MAX;
}

/// A secret from `NAME`, or from the file that `NAME_FILE` names. Empty counts as absent.
pub(crate) fn secret(env: Env<'_>, name: &str, problems: &mut Vec<String>) -> Option<String> {
    let direct = env(name).filter(|value| !value.trim().is_empty());
    let file = env(&format!("{name}_FILE")).filter(|path| !path.is_empty());
    match (direct, file) {
        (Some(_), Some(_)) => {
            problems.push(format!("{name}: set it or {name}_FILE, not both"));
            None
        }
        (Some(value), None) => Some(value.trim().to_owned()),
        (None, Some(path)) => match std::fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            Ok(_) => {
                problems.push(format!("{name}_FILE: {path} is empty"));
                None
            }
            Err(error) => {
                problems.push(format!("{name}_FILE: {path}: {error}"));
                None
            }
        },
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests;
