//! The other side of the simulated Slack, by Slack itself: an app on its own Bolt connects, understands every kind of
//! envelope, and comes back after a refresh. So what the server is tested against is what Slack's clients expect.

use std::process::Stdio;

use boardhand::clock::Clock;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::slack;
use crate::console_real::rig::from_pypi;
use crate::lab::{CHANNEL, WITHIN};

/// Slack's framework for apps, with its client for sockets.
pub(super) const BOLT: &str = "slack_bolt==1.30.0";

struct Bolt {
    said: Lines<BufReader<ChildStdout>>,
    input: ChildStdin,
    _app: Child,
}

impl Bolt {
    fn start(api: &str) -> Bolt {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/slack_socket/sdk.py");
        let mut app = Command::new(from_pypi("slack", BOLT, "python"))
            .args([script, api])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("python starts");
        let said = BufReader::new(app.stdout.take().expect("is piped")).lines();
        Bolt { said, input: app.stdin.take().expect("is piped"), _app: app }
    }

    async fn says(&mut self) -> String {
        let line = Clock::system().timeout(WITHIN, self.said.next_line()).await.expect("it speaks in time");
        line.expect("it speaks").expect("it goes on")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slacks_own_client_takes_the_simulated_slack_for_the_real_one() {
    let slack = slack().await;
    let mut bolt = Bolt::start(&slack.api_url());
    assert_eq!(bolt.says().await, "connected");
    slack.until(|_| slack.sockets() == 1, WITHIN).await.expect("a socket");

    let seen = slack.say("alice", CHANNEL, "/lab boards").await;
    assert_eq!((seen.status, seen.text.as_str()), (200, "you typed boards in soc-ci"));
    assert_eq!(bolt.says().await, "command U0ALICE boards");

    let posted = slack.say("bob", CHANNEL, "<@U0BOT> why").await;
    assert_eq!((posted.status, bolt.says().await.as_str()), (200, "mention <@U0BOT> why"));
    assert_eq!(slack.say("bob", "@boardhand", "runs").await.status, 200);
    assert_eq!(bolt.says().await, "message im runs");

    let ts = posted.ts.expect("a message");
    let button = json!({"type": "button", "action_id": "cancel", "value": "cancel:1:1"});
    assert_eq!(slack.press_stale("bob", &ts, &button).await.status, 200);
    assert_eq!(bolt.says().await, format!("action cancel:1:1 {ts}"));

    assert_eq!(slack.shortcut("bob", &ts, "rerun").await.status, 200);
    assert_eq!(bolt.says().await, format!("shortcut {ts} <@U0BOT> why"));

    slack.disconnect("refresh_requested");
    slack
        .until(|_| slack.calls("apps.connections.open") == 2 && slack.sockets() == 1, WITHIN)
        .await
        .expect("it comes back");
    assert_eq!(slack.say("alice", CHANNEL, "/lab runs").await.status, 200);
    assert_eq!(bolt.says().await, "command U0ALICE runs");
    bolt.input.write_all(b"\n").await.expect("it listens");
    assert_eq!(bolt.says().await, "still True");
    assert_eq!(slack.problems(), Vec::<String>::new());
}
