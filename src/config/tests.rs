//! Settings as an admin gives them: flags and variables, right and wrong.

use secrecy::ExposeSecret;

use super::*;

fn args() -> ServeArgs {
    ServeArgs {
        listen: "127.0.0.1:8080".into(),
        public_url: None,
        board_url: None,
        tftp: None,
        trusted_proxies: None,
        data_dir: "./data".into(),
        artifacts: None,
        boards: "./boards.yaml".into(),
        templates: None,
        keep_transcripts: "30d".into(),
        keep_transcripts_gb: "20".into(),
        keep_history: "90d".into(),
        keep_audit: "365d".into(),
        artifact_retention_days: None,
        max_disk_usage_gb: None,
        standby: false,
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
    assert_eq!(config.board_url, "http://127.0.0.1:8080");
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
fn with_an_app_token_no_signing_secret_is_needed() {
    let socket = [("SLACK_APP_TOKEN", "xapp-1"), ("SLACK_BOT_TOKEN", "xoxb-1")];
    let slack = read(&socket).expect("valid").slack.expect("on");
    assert!(slack.app_token.is_some() && slack.signing_secrets.is_empty());
    assert_eq!(slack.way(), "over a socket that boardhand dials (SLACK_APP_TOKEN)");
    let both = [socket[0], socket[1], ("SLACK_SIGNING_SECRET", "abc")];
    assert!(read(&both).expect("valid").slack.expect("on").way().contains("/webhooks/slack is open too"));
    let webhook = read(&both[1..]).expect("valid").slack.expect("on");
    assert!(webhook.app_token.is_none() && webhook.way().starts_with("Slack calls /webhooks/slack"));
}

#[test]
fn what_is_missing_is_told_beside_what_is_there() {
    let check = |env: &[(&str, &str)], expect: &str| {
        let error = read(env).expect_err("incomplete");
        assert!(error.contains(expect), "{error}");
    };
    check(
        &[("SLACK_APP_TOKEN", "xapp-1")],
        "SLACK_BOT_TOKEN: missing; Slack needs it beside SLACK_APP_TOKEN",
    );
    check(&[("SLACK_BOT_TOKEN", "xoxb-1")], "Where Slack cannot reach it, set SLACK_APP_TOKEN instead");
    let swapped = [("SLACK_APP_TOKEN", "xoxb-1"), ("SLACK_BOT_TOKEN", "xapp-1")];
    check(
        &swapped,
        "SLACK_APP_TOKEN: an app-level token begins with xapp- (the xoxb- and xoxp- ones are others)",
    );
    check(&swapped, "SLACK_BOT_TOKEN: a bot token begins with xoxb- (the xapp- and xoxp- ones are others)");
    check(
        &[("SLACK_SIGNING_SECRET", ","), ("SLACK_BOT_TOKEN", "xoxb-1")],
        "SLACK_SIGNING_SECRET: give one secret",
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
    let config = read(&[("SLACK_SIGNING_SECRET", "old, new"), ("SLACK_BOT_TOKEN", "xoxb-1")]).expect("valid");
    let slack = config.slack.expect("slack is on");
    assert_eq!(slack.signing_secrets.iter().map(|s| s.expose_secret()).collect::<Vec<_>>(), ["old", "new"]);
    assert_eq!(slack.api_url, SLACK_API_URL);
}

#[test]
fn a_secret_comes_from_a_file_and_is_never_printed() {
    let file = tempfile::NamedTempFile::new().expect("file");
    std::fs::write(file.path(), "xoxb-hidden\n").expect("write");
    let path = file.path().to_str().expect("path");
    let config = read(&[("SLACK_SIGNING_SECRET", "s3cret"), ("SLACK_BOT_TOKEN_FILE", path)]).expect("valid");
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

#[test]
fn what_this_version_does_not_act_on_is_refused_in_either_form() {
    for name in NOT_YET.iter().flat_map(|name| [(*name).to_owned(), format!("{name}_FILE")]) {
        let error = read(&[(&name, "/etc/x")]).expect_err("refused");
        assert!(error.contains(&format!("{name}: this version does not act on it yet")), "{error}");
        assert!(read(&[(&name, " ")]).is_ok(), "an empty {name} is absent");
    }
    let error = read(&[("DATABASE_URL", "sqlite:/tmp/other.db")]).expect_err("refused");
    assert!(error.contains("DATABASE_URL: SQLite needs no address"), "{error}");
    assert!(read(&[("DATABASE_URL", "")]).is_ok());
}

#[test]
fn every_wrong_setting_is_named_by_its_variable_and_told_at_once() {
    let args = ServeArgs {
        listen: "8080".into(),
        public_url: Some("boardhand.example.com".into()),
        board_url: Some("http://10.0.0.1/a b".into()),
        tftp: Some("69".into()),
        keep_transcripts: "30".into(),
        keep_transcripts_gb: "much".into(),
        keep_history: "1y".into(),
        keep_audit: "-1d".into(),
        artifact_retention_days: Some("0".into()),
        max_disk_usage_gb: Some("100GB".into()),
        ..args()
    };
    let env = |name: &str| match name {
        "SLACK_SIGNING_SECRET" => Some("abc".to_owned()),
        "SLACK_BOT_TOKEN" => Some("xoxb-1".to_owned()),
        "SLACK_API_URL" => Some("slack.example.com".to_owned()),
        _ => None,
    };
    let error = Config::from_args(&args, &env).expect_err("invalid").to_string();
    for name in [
        "SLACK_API_URL: ",
        "BOARDHAND_LISTEN (--listen): an address and a port",
        "BOARDHAND_PUBLIC_URL (--public-url): ",
        "BOARDHAND_BOARD_URL (--board-url): ",
        "BOARDHAND_TFTP (--tftp): an address and a port",
        "BOARDHAND_KEEP_TRANSCRIPTS (--keep-transcripts): a time in days",
        "BOARDHAND_KEEP_TRANSCRIPTS_GB (--keep-transcripts-gb): a whole number",
        "BOARDHAND_KEEP_HISTORY (--keep-history): ",
        "BOARDHAND_KEEP_AUDIT (--keep-audit): ",
        "ARTIFACT_RETENTION_DAYS (--artifact-retention-days): a whole number of days",
        "MAX_DISK_USAGE_GB (--max-disk-usage-gb): a whole number of GB",
    ] {
        assert!(error.contains(name), "no {name:?} in: {error}");
    }
}

#[test]
fn an_empty_address_of_slack_is_slacks_own() {
    let slack = [("SLACK_SIGNING_SECRET", "abc"), ("SLACK_BOT_TOKEN", "xoxb-1"), ("SLACK_API_URL", "")];
    assert_eq!(read(&slack).expect("valid").slack.expect("on").api_url, SLACK_API_URL);
}

#[test]
fn links_to_the_readers_own_machine_are_warned_of_once_somebody_reads_them() {
    let check = |url: Option<&str>, on: bool, expect: usize| {
        let env = |name: &str| match name {
            "SLACK_SIGNING_SECRET" => Some("abc".to_owned()),
            "SLACK_BOT_TOKEN" => Some("xoxb-1".to_owned()),
            _ => None,
        };
        let args = ServeArgs { public_url: url.map(str::to_owned), ..args() };
        let config = if on { Config::from_args(&args, &env) } else { Config::from_args(&args, &|_| None) };
        assert_eq!(config.expect("valid").warnings().len(), expect, "{url:?}");
    };
    check(None, true, 1);
    check(None, false, 0);
    check(Some("http://localhost:8080"), true, 1);
    check(Some("http://[::1]:8080"), true, 1);
    check(Some("https://boardhand.example.com"), true, 0);
    check(Some("http://10.0.0.7:8080"), true, 0);
}

#[test]
fn artifacts_of_the_data_folder_are_tidied_and_a_folder_of_ones_own_only_when_told() {
    let check = |own: bool, told: Option<(&str, &str)>, days: u64, gb: u64| {
        let args = ServeArgs {
            artifacts: own.then(|| "/srv/builds".into()),
            artifact_retention_days: told.map(|(days, _)| days.to_owned()),
            max_disk_usage_gb: told.map(|(_, gb)| gb.to_owned()),
            ..args()
        };
        let retention = Config::from_args(&args, &|_| None).expect("valid").retention;
        let age = if days == 0 { Duration::MAX } else { Duration::from_secs(days * 24 * 3600) };
        let bytes = if gb == 0 { u64::MAX } else { gb * GB };
        assert_eq!((retention.artifacts, retention.disk_bytes), (age, bytes), "{own} {told:?}");
    };
    check(false, None, 7, 100);
    check(true, None, 0, 0);
    check(true, Some(("30", "500")), 30, 500);
    check(false, Some(("forever", "unlimited")), 0, 0);
    check(true, Some(("", "")), 0, 0);
}
