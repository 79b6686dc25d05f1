//! `boardhand check` with Slack's variables set: which way is used, whose token it is, what is lacking.

use boardhand::clock::Clock;
use boardhand::id::Ids;
use boardhand::sim::slack::{ApiFault, SimSlack};
use tokio::process::Command;

use super::slack;

/// Exit code and what is said of Slack, in this environment.
async fn check(slack: &SimSlack, env: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_boardhand"));
    command.arg("check").env_clear().env("SLACK_API_URL", slack.api_url()).envs(env.iter().copied());
    let out = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().await.expect("boardhand runs");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let lines = said.lines().filter(|line| line.starts_with("Slack: "));
    (out.status.code(), lines.collect::<Vec<_>>().join("\n"))
}

const SOCKET: [(&str, &str); 2] = [("SLACK_BOT_TOKEN", "xoxb-test"), ("SLACK_APP_TOKEN", "xapp-test")];
const URL: [(&str, &str); 2] = [("SLACK_BOT_TOKEN", "xoxb-test"), ("SLACK_SIGNING_SECRET", "abc")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_says_which_way_deliveries_come_and_that_slack_knows_us() {
    let slack = slack().await;
    let (code, said) = check(&slack, &SOCKET).await;
    assert_eq!(code, Some(0), "{said}");
    insta::assert_snapshot!(said, @r"
    Slack: deliveries: over a socket that boardhand dials (SLACK_APP_TOKEN)
    Slack: workspace Lab (T0LAB), bot U0BOT: ok
    Slack: a socket can be opened: ok
    ");
    let (code, said) = check(&slack, &URL).await;
    assert_eq!(code, Some(0), "{said}");
    insta::assert_snapshot!(said, @r"
    Slack: deliveries: Slack calls /webhooks/slack (SLACK_SIGNING_SECRET)
    Slack: workspace Lab (T0LAB), bot U0BOT: ok
    ");
    assert_eq!(check(&slack, &[]).await, (Some(0), String::new()), "off is no mistake");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_says_where_people_who_sign_in_are_sent_back_to() {
    let slack = slack().await;
    let app = [("SLACK_CLIENT_ID", "1.2"), ("SLACK_CLIENT_SECRET", "s3cret")];
    let env = [&URL[..], &app, &[("BOARDHAND_PUBLIC_URL", "http://lab.example/hand/")]].concat();
    let (code, said) = check(&slack, &env).await;
    assert_eq!(code, Some(0), "{said}");
    insta::assert_snapshot!(said, @r"
    Slack: deliveries: Slack calls /webhooks/slack (SLACK_SIGNING_SECRET)
    Slack: workspace Lab (T0LAB), bot U0BOT: ok
    Slack: people sign in to the pages: the app must have http://lab.example/hand/signin/slack/back (OAuth & Permissions, Redirect URLs; user scopes openid and profile)
    Slack: warning: BOARDHAND_PUBLIC_URL is not https://: whoever listens on the way takes over who signs in (SLACK_CLIENT_ID)
    ");
    let (code, said) = check(&slack, &[&URL[..], &app].concat()).await;
    assert!(code == Some(1) && said.contains("error: BOARDHAND_PUBLIC_URL: missing"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_names_the_scopes_to_add() {
    let slack = slack().await;
    slack.set_scope("im:history", false);
    slack.set_history_scope(false);
    slack.set_scope("users:read", false);
    slack.set_socket_mode(false);
    let (code, said) = check(&slack, &SOCKET).await;
    assert_eq!(code, Some(1), "{said}");
    insta::assert_snapshot!(said, @r"
    Slack: deliveries: over a socket that boardhand dials (SLACK_APP_TOKEN)
    Slack: error: the bot lacks im:history (commands in direct messages): add it (OAuth & Permissions, Bot Token Scopes) and install the app again
    Slack: without channels:history, groups:history, users:read, which are optional: `boardhand slack manifest` says what for
    Slack: workspace Lab (T0LAB), bot U0BOT
    Slack: what is said in threads while no socket stands is lost: it takes channels:history and groups:history
    Slack: error: no socket: not_allowed_token_type: SLACK_APP_TOKEN is not an app-level token (xapp-…, Basic Information, App-Level Tokens), or Socket Mode is turned off for the app (Settings, Socket Mode)
    ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_tells_a_refused_token_and_does_not_fail_for_a_slack_that_is_away() {
    let slack = slack().await;
    let wrong = [("SLACK_BOT_TOKEN", "xoxb-other"), ("SLACK_APP_TOKEN", "xapp-other")];
    let (code, said) = check(&slack, &wrong).await;
    assert!(code == Some(1) && said.contains("error: invalid_auth: SLACK_BOT_TOKEN is not"), "{said}");
    assert!(said.contains("error: no socket: invalid_auth: SLACK_APP_TOKEN is not"), "{said}");
    let (code, said) = check(&slack, &[("SLACK_APP_TOKEN", "xapp-test")]).await;
    assert!(code == Some(1) && said.contains("error: SLACK_BOT_TOKEN: missing"), "{said}");
    slack.break_calls("*", ApiFault::Error500, u32::MAX);
    let (code, said) = check(&slack, &SOCKET).await;
    assert!(code == Some(0) && said.contains("warning: slack may or may not"), "{said}");
    assert!(said.contains("warning: no socket: http_500"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_asks_for_the_groups_that_boards_yaml_names() {
    let slack = slack().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("boards.yaml");
    let lab = "boards: [{board_id: a, soc_family: s, board_ip: 10.0.0.1, lab_location: L}]\n";
    let env = [SOCKET[0], SOCKET[1], ("BOARDHAND_BOARDS", file.to_str().expect("a path"))];
    std::fs::write(&file, format!("{lab}roles: {{operator: [slack:S0OPS]}}\n")).expect("a file");
    let (code, said) = check(&slack, &env).await;
    assert!(code == Some(0) && said.contains("Slack: slack:S0OPS has 1 member: ok"), "{said}");
    std::fs::write(&file, format!("{lab}roles: {{operator: [slack:S0OSP]}}\n")).expect("a file");
    let (code, said) = check(&slack, &env).await;
    assert!(
        code == Some(1) && said.contains("who is in slack:S0OSP: no_such_subteam: there is no"),
        "{said}"
    );
    slack.set_scope("usergroups:read", false);
    let (code, said) = check(&slack, &env).await;
    assert!(code == Some(1) && said.contains("missing_scope: the app lacks usergroups:read"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_asks_feishu_for_the_departments_that_boards_yaml_names() {
    let feishu = crate::lab::feishu(&Clock::system(), &Ids::system()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("boards.yaml");
    let lab = "boards: [{board_id: a, soc_family: s, board_ip: 10.0.0.1, lab_location: L}]\n\
               roles: {operator: ['feishu:od-firmware', 'feishu:od-other']}\n";
    std::fs::write(&file, lab).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_boardhand"));
    command.args(["check", "--boards"]).arg(&file).env_clear().envs([
        ("FEISHU_BASE_URL", feishu.url()),
        ("FEISHU_APP_ID", "cli_lab"),
        ("FEISHU_APP_SECRET", "app-secret"),
        ("FEISHU_CONNECTION", "socket"),
    ]);
    let out = command.output().await.expect("boardhand runs");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    insta::assert_snapshot!(said.lines().filter(|line| line.starts_with("Feishu: ")).collect::<Vec<_>>().join("\n"), @r#"
        Feishu: bot boardhand (ou_boardhand): ok
        Feishu: feishu:od-firmware has 2 members: ok
        Feishu: error: it is not known who is in feishu:od-other: 40004: is it the id of a department (od-…), and is that in the app's contact range? publish a version
    "#);
    assert_eq!(out.status.code(), Some(1));
}
