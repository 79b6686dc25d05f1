//! `boardhand check` with Slack's variables set: which way is used, whose token it is, what is lacking.

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
