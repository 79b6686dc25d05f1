//! Settings of the program itself, as an admin gives them in the environment: every mistake is named by its variable,
//! and an empty variable is none.

use std::process::Command;

/// What the program says and its exit code, with these arguments in this environment.
fn boardhand(args: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_boardhand"));
    command.args(args).env_clear().envs(env.iter().copied()).current_dir(env!("CARGO_MANIFEST_DIR"));
    let out = command.output().expect("boardhand runs");
    let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    (out.status.code(), said.into_owned())
}

#[test]
fn a_server_with_wrong_settings_names_every_variable_at_once() {
    let (code, said) = boardhand(
        &["serve", "--simulate"],
        &[
            ("BOARDHAND_LISTEN", "8080"),
            ("BOARDHAND_KEEP_TRANSCRIPTS", "30"),
            ("BOARDHAND_TLS_CERT", "/nonexistent.pem"),
            ("DATABASE_URL", "sqlite:/tmp/other.db"),
            ("REDIS_URL_FILE", "/run/secrets/redis"),
        ],
    );
    assert_eq!(code, Some(1), "{said}");
    for name in [
        "BOARDHAND_LISTEN (--listen): an address",
        "BOARDHAND_KEEP_TRANSCRIPTS (--keep-transcripts): a time",
        "BOARDHAND_TLS_CERT: this version does not act on it yet",
        "DATABASE_URL: SQLite needs no address",
        "REDIS_URL_FILE: this version does not act on it yet",
    ] {
        assert!(said.contains(name), "no {name:?} in:\n{said}");
    }
}

#[test]
fn an_empty_variable_is_no_setting() {
    let empty = ["BOARDHAND_LOG", "BOARDHAND_TEMPLATES", "BOARDHAND_BOARDS", "BOARDHAND_LISTEN"];
    let (code, said) = boardhand(&["check"], &empty.map(|name| (name, "")));
    assert_eq!((code, said.as_str()), (Some(0), "./boards.yaml: 20 boards, 2 families, 3 plans: ok\n"));
}

#[test]
fn signing_in_with_a_chat_needs_the_whole_app_and_an_address_to_come_back_to() {
    let slack = [("SLACK_BOT_TOKEN", "xoxb-1"), ("SLACK_SIGNING_SECRET", "abc")];
    let serve = |more: &[(&str, &str)]| {
        let (code, said) = boardhand(&["serve", "--simulate"], &[&slack[..], more].concat());
        assert_eq!(code, Some(1), "{said}");
        said
    };
    let said = serve(&[("SLACK_CLIENT_ID", "1.2")]);
    assert!(said.contains("SLACK_CLIENT_SECRET: missing; signing in with Slack needs it"), "{said}");
    let app = [("SLACK_CLIENT_ID", "1.2"), ("SLACK_CLIENT_SECRET", "s3cret-of-the-app")];
    let said = serve(&[&app[..], &[("FEISHU_SIGN_IN", "perhaps")]].concat());
    assert!(said.contains("BOARDHAND_PUBLIC_URL (--public-url): missing; whoever signs in"), "{said}");
    assert!(said.contains("FEISHU_SIGN_IN: \"perhaps\" is neither") && !said.contains("s3cret"), "{said}");
    let said = serve(&[&app[..], &[("SLACK_API_URL", "http://slack.example/api/")]].concat());
    assert!(
        said.contains("SLACK_API_URL: signing in with Slack") && said.contains("needs https://"),
        "{said}"
    );
    let (code, said) =
        boardhand(&["serve", "--simulate"], &[&app[..], &[("FEISHU_SIGN_IN", "true")]].concat());
    assert!(code == Some(1) && said.contains("SLACK_BOT_TOKEN: missing; signing in"), "{said}");
    assert!(said.contains("FEISHU_APP_ID: missing; FEISHU_SIGN_IN"), "{said}");
    let (code, said) = boardhand(&["slack", "manifest", "--sign-in"], &[]);
    assert!(code == Some(1) && said.contains("set BOARDHAND_PUBLIC_URL"), "{said}");
    let url = [("BOARDHAND_PUBLIC_URL", "https://b.example/")];
    let (code, said) = boardhand(&["slack", "manifest", "--sign-in", "--socket"], &url);
    assert!(code == Some(0) && said.contains("- \"https://b.example/signin/slack/back\""), "{said}");
}

#[test]
fn a_manifest_needs_no_address_and_says_what_to_replace() {
    let (code, said) = boardhand(&["slack", "manifest"], &[]);
    assert!(code == Some(0) && said.starts_with("# Put this server's public address in place of"), "{said}");
    let (code, said) = boardhand(&["slack", "manifest"], &[("BOARDHAND_PUBLIC_URL", "https://b.example/")]);
    assert!(code == Some(0) && said.contains("\"https://b.example/webhooks/slack\""), "{said}");
    let (code, said) = boardhand(&["health"], &[("BOARDHAND_LISTEN", "8080")]);
    assert!(code == Some(2) && said.contains("BOARDHAND_LISTEN: an address and a port"), "{said}");
}

#[test]
fn a_data_folder_that_cannot_be_used_and_a_filter_that_is_none_name_their_variables() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "no folder").expect("a file");
    let file = file.display().to_string();
    let env = [
        ("BOARDHAND_DATA_DIR", file.as_str()),
        ("BOARDHAND_LISTEN", "127.0.0.1:0"),
        ("RUST_LOG", "boardhand=loud"),
    ];
    let (code, said) = boardhand(&["serve", "--simulate"], &env);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("BOARDHAND_DATA_DIR: ") && said.contains("may write to, or set another"), "{said}");
    assert!(said.contains("RUST_LOG: this is no filter") && said.contains("boardhand=loud"), "{said}");
}
