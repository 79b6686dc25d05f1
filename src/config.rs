//! Configuration: flags and environment, validated at start. Every problem names its variable; a secret is never
//! printed and can come from a file (`NAME_FILE`).

mod feishu;

pub use feishu::FeishuSettings;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use secrecy::SecretString;

/// What `serve` is told. Secrets are not flags: a command line is public on its machine.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Address to listen on.
    #[arg(long, env = "BOARDHAND_LISTEN", default_value = "127.0.0.1:8080", value_parser = socket_address)]
    pub listen: SocketAddr,
    /// Where people reach this server, for links in messages; http:// and the listening address when absent.
    #[arg(long, env = "BOARDHAND_PUBLIC_URL")]
    pub public_url: Option<String>,
    /// Folder of the database and the transcripts.
    #[arg(long, env = "BOARDHAND_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,
    /// The lab file.
    #[arg(long, env = "BOARDHAND_BOARDS", default_value = "./boards.yaml")]
    pub boards: PathBuf,
    /// Folder of message templates that override the built-in ones.
    #[arg(long, env = "BOARDHAND_TEMPLATES")]
    pub templates: Option<PathBuf>,
    /// How long console transcripts of finished runs are kept: 30d, 12h or forever.
    #[arg(long, env = "BOARDHAND_KEEP_TRANSCRIPTS", default_value = "30d", value_parser = kept)]
    pub keep_transcripts: Duration,
    /// Most that transcripts may take, in GB; beyond it the oldest of finished runs go first.
    #[arg(long, env = "BOARDHAND_KEEP_TRANSCRIPTS_GB", default_value_t = 20)]
    pub keep_transcripts_gb: u32,
    /// How long events, sent messages and power requests of finished runs are kept; runs themselves stay.
    #[arg(long, env = "BOARDHAND_KEEP_HISTORY", default_value = "90d", value_parser = kept)]
    pub keep_history: Duration,
    /// How long it is kept who was allowed or refused what.
    #[arg(long, env = "BOARDHAND_KEEP_AUDIT", default_value = "365d", value_parser = kept)]
    pub keep_audit: Duration,
    /// Simulate every console and power switch of the lab file; nothing of the lab is touched.
    #[arg(long)]
    pub simulate: bool,
}

/// Slack's settings, all or none.
#[derive(Debug, Clone)]
pub struct SlackSettings {
    /// One, or two while rotating.
    pub signing_secrets: Vec<SecretString>,
    /// `xoxb-…`.
    pub bot_token: SecretString,
    /// Base address of the Web API, with a slash at its end.
    pub api_url: String,
}

/// Slack's Web API.
pub const SLACK_API_URL: &str = "https://slack.com/api/";

/// Everything the server is told, validated.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Where people reach this server, without a slash at its end.
    pub public_url: String,
    /// Folder of the database and the transcripts.
    pub data_dir: PathBuf,
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
    /// Events, sent messages and done power requests.
    pub history: Duration,
    /// Audit rows.
    pub audit: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Retention { transcripts: 30 * DAY, transcript_bytes: 20 * GB, history: 90 * DAY, audit: 365 * DAY }
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);
const GB: u64 = 1_000_000_000;

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

/// The address under which people or Slack reach the server, without a slash at its end.
pub fn public_url(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match host {
        Some(host) if !host.trim_matches('/').is_empty() => Ok(text.trim_end_matches('/').to_owned()),
        Some(_) | None => Err(format!("{text:?} must begin with https:// or http://, and name a host")),
    }
}

/// Reads a variable of the environment.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Variables of the contract that this version does not act on yet. Set, they are refused: a platform that stays
/// silent although it was configured is worse than an error at start.
const NOT_YET: &[&str] = &["REDIS_URL", "SLACK_APP_TOKEN", "JENKINS_WEBHOOK_SECRET", "JENKINS_WEBHOOK_TOKEN"];

impl Config {
    /// Validates flags and environment; tells every problem at once.
    pub fn from_args(args: &ServeArgs, env: Env<'_>) -> Result<Config, ConfigError> {
        let mut problems = Vec::new();
        let slack = slack_settings(env, &mut problems);
        let feishu = feishu::settings(env, &mut problems);
        // Empty, as a line of a .env file leaves it, is absent.
        let public_url = match args.public_url.as_deref().filter(|url| !url.is_empty()) {
            None => format!("http://{}", args.listen),
            Some(url) => public_url(url).unwrap_or_else(|problem| {
                problems.push(format!("BOARDHAND_PUBLIC_URL: {problem}"));
                String::new()
            }),
        };
        for name in NOT_YET.iter().filter(|name| env(name).is_some()) {
            problems.push(format!("{name}: this version does not act on it yet; unset it"));
        }
        if env("DATABASE_URL").is_some_and(|url| !url.starts_with("sqlite:")) {
            problems.push(
                "DATABASE_URL: this version keeps its data in SQLite, in BOARDHAND_DATA_DIR; unset it".into(),
            );
        }
        if !problems.is_empty() {
            return Err(ConfigError(problems));
        }
        Ok(Config {
            listen: args.listen,
            public_url,
            data_dir: args.data_dir.clone(),
            boards: args.boards.clone(),
            templates: args.templates.clone(),
            simulate: args.simulate,
            retention: Retention {
                transcripts: args.keep_transcripts,
                transcript_bytes: u64::from(args.keep_transcripts_gb) * GB,
                history: args.keep_history,
                audit: args.keep_audit,
            },
            slack,
            feishu,
        })
    }
}

fn slack_settings(env: Env<'_>, problems: &mut Vec<String>) -> Option<SlackSettings> {
    let before = problems.len();
    let secret = secret(env, "SLACK_SIGNING_SECRET", problems);
    let secret_told = problems.len() > before;
    let before = problems.len();
    let token = secret_token(env, problems);
    let token_told = problems.len() > before;
    match (secret, token) {
        (Some(secret), Some(bot_token)) => {
            let signing_secrets: Vec<SecretString> =
                secret.split(',').map(str::trim).filter(|s| !s.is_empty()).map(SecretString::from).collect();
            if signing_secrets.is_empty() || signing_secrets.len() > 2 {
                problems.push(
                    "SLACK_SIGNING_SECRET: give one secret, or two separated by a comma while rotating"
                        .into(),
                );
            }
            let mut api_url = env("SLACK_API_URL").unwrap_or_else(|| SLACK_API_URL.into());
            if !api_url.ends_with('/') {
                api_url.push('/');
            }
            Some(SlackSettings { signing_secrets, bot_token, api_url })
        }
        (None, None) => None,
        // One that is there but cannot be read is told as that, not as missing too.
        (Some(_), None) if token_told => None,
        (None, Some(_)) if secret_told => None,
        (Some(_), None) => {
            problems.push("SLACK_BOT_TOKEN: missing; Slack needs it beside SLACK_SIGNING_SECRET (OAuth & Permissions, xoxb-…)".into());
            None
        }
        (None, Some(_)) => {
            problems.push("SLACK_SIGNING_SECRET: missing; Slack needs it beside SLACK_BOT_TOKEN (Basic Information, Signing Secret)".into());
            None
        }
    }
}

fn secret_token(env: Env<'_>, problems: &mut Vec<String>) -> Option<SecretString> {
    let token = secret(env, "SLACK_BOT_TOKEN", problems)?;
    if !token.starts_with("xoxb-") {
        problems.push(
            "SLACK_BOT_TOKEN: a bot token begins with xoxb- (the xapp- and xoxp- ones are others)".into(),
        );
    }
    Some(SecretString::from(token))
}

/// A secret from `NAME`, or from the file that `NAME_FILE` names. Empty counts as absent.
fn secret(env: Env<'_>, name: &str, problems: &mut Vec<String>) -> Option<String> {
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
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn args() -> ServeArgs {
        ServeArgs {
            listen: "127.0.0.1:8080".parse().expect("address"),
            public_url: None,
            data_dir: "./data".into(),
            boards: "./boards.yaml".into(),
            templates: None,
            keep_transcripts: Retention::default().transcripts,
            keep_transcripts_gb: 20,
            keep_history: Retention::default().history,
            keep_audit: Retention::default().audit,
            simulate: false,
        }
    }

    #[test]
    fn how_long_things_are_kept_is_told_in_days_or_hours_and_never_nothing() {
        let check = |text: &str, hours: Option<u64>| {
            assert_eq!(kept(text).ok(), hours.map(|h| Duration::from_secs(h * 3600)), "{text}");
        };
        check("30d", Some(720));
        check("12h", Some(12));
        for wrong in ["", "d", "0d", "0h", "-1d", "30", "30 d", "1y", "1.5d", "ever", "é", "9999999999d"] {
            check(wrong, None);
        }
        assert_eq!(kept("forever"), Ok(Duration::MAX));
    }

    #[test]
    fn the_flags_say_the_same_as_what_is_kept_by_default() {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            serve: ServeArgs,
        }
        let cli = <Cli as clap::Parser>::parse_from(["boardhand"]);
        let config = Config::from_args(&cli.serve, &|_| None).expect("valid");
        assert_eq!(config.retention, Retention::default());
    }

    fn read(pairs: &[(&str, &str)]) -> Result<Config, String> {
        let env = |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Config::from_args(&args(), &env).map_err(|error| error.to_string())
    }

    #[test]
    fn a_platform_with_none_of_its_variables_is_off() {
        let config = read(&[]).expect("valid");
        assert!(config.slack.is_none());
        assert_eq!(config.public_url, "http://127.0.0.1:8080");
    }

    #[test]
    fn a_platform_with_some_of_its_variables_fails_naming_the_missing_one() {
        let error = read(&[("SLACK_SIGNING_SECRET", "abc")]).expect_err("incomplete");
        assert!(error.contains("SLACK_BOT_TOKEN: missing"), "{error}");
    }

    #[test]
    fn a_secret_whose_file_cannot_be_read_is_told_once() {
        let error =
            read(&[("SLACK_SIGNING_SECRET", "abc"), ("SLACK_BOT_TOKEN_FILE", "/none")]).expect_err("invalid");
        assert!(error.contains("SLACK_BOT_TOKEN_FILE: /none") && !error.contains("missing"), "{error}");
    }

    #[test]
    fn a_missing_secret_is_told_beside_a_wrong_token() {
        let error = read(&[("SLACK_BOT_TOKEN", "xoxp-1")]).expect_err("invalid");
        assert!(
            error.contains("begins with xoxb-") && error.contains("SLACK_SIGNING_SECRET: missing"),
            "{error}"
        );
    }

    #[test]
    fn a_public_url_has_a_scheme_and_a_host_and_loses_its_last_slash() {
        let check =
            |text: &str, expect: Option<&str>| assert_eq!(public_url(text).ok().as_deref(), expect, "{text}");
        check("https://boardhand.example.com/", Some("https://boardhand.example.com"));
        check("http://10.0.0.1:8080/lab/", Some("http://10.0.0.1:8080/lab"));
        check("boardhand.example.com", None);
        check("https://", None);
        check("", None);
    }

    #[test]
    fn an_empty_public_url_is_absent() {
        let args = ServeArgs { public_url: Some(String::new()), ..args() };
        let config = Config::from_args(&args, &|_| None).expect("valid");
        assert_eq!(config.public_url, "http://127.0.0.1:8080");
    }

    #[test]
    fn an_address_without_its_port_is_told_what_one_looks_like() {
        assert!(socket_address("0.0.0.0:80").is_ok());
        for text in ["", "8080", ":8080", "localhost:8080"] {
            assert!(socket_address(text).is_err_and(|told| told.contains("0.0.0.0:8080")), "{text}");
        }
    }

    #[test]
    fn two_signing_secrets_are_read_while_rotating() {
        let config =
            read(&[("SLACK_SIGNING_SECRET", "old, new"), ("SLACK_BOT_TOKEN", "xoxb-1")]).expect("valid");
        let slack = config.slack.expect("slack is on");
        assert_eq!(
            slack.signing_secrets.iter().map(|s| s.expose_secret()).collect::<Vec<_>>(),
            ["old", "new"]
        );
        assert_eq!(slack.api_url, SLACK_API_URL);
    }

    #[test]
    fn a_secret_comes_from_a_file_and_is_never_printed() {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), "xoxb-hidden\n").expect("write");
        let path = file.path().to_str().expect("path");
        let config =
            read(&[("SLACK_SIGNING_SECRET", "s3cret"), ("SLACK_BOT_TOKEN_FILE", path)]).expect("valid");
        let printed = format!("{config:?}");
        assert!(!printed.contains("hidden") && !printed.contains("s3cret"), "{printed}");
    }

    #[test]
    fn every_problem_is_told_at_once_and_none_tells_a_secret() {
        let error = read(&[
            ("SLACK_BOT_TOKEN", "xoxp-1"),
            ("REDIS_URL", "redis://x"),
            ("SLACK_SIGNING_SECRET_FILE", "/none"),
        ])
        .expect_err("invalid");
        for part in ["SLACK_SIGNING_SECRET_FILE: /none", "begins with xoxb-", "REDIS_URL: this version"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(!error.contains("xoxp-1"));
    }
}
