//! Mentions, direct messages and words in a run's thread, by URL and over a socket: what is said to the bot is done once,
//! what is not said to it, or long ago, is not done.

use std::time::Duration;

use serde_json::{Value, json};

use crate::lab::{CHANNEL, Lab, lab, socket_lab, yaml};

/// The same both ways.
macro_rules! both_ways {
    ($($(#[$about:meta])* $name:ident => $by_url:ident, $over_socket:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $by_url() {
            lab(&yaml::small(1), async |lab| $name(lab).await).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $over_socket() {
            socket_lab(&yaml::small(1), async |lab| $name(lab).await).await;
        }
    )*};
}

both_ways! {
    once => a_mention_that_slack_sends_again_by_url_is_done_once, a_mention_that_slack_sends_again_over_a_socket_is_done_once;
    nobody => what_is_not_said_to_the_bot_by_url_is_left_alone, what_is_not_said_to_the_bot_over_a_socket_is_left_alone;
    long_ago => what_was_said_long_ago_by_url_is_not_done, what_was_said_long_ago_over_a_socket_is_not_done;
    rerun => a_message_is_run_again_from_its_menu_by_url, a_message_is_run_again_from_its_menu_over_a_socket;
    in_thread => in_a_runs_thread_by_url_it_needs_no_number, in_a_runs_thread_over_a_socket_it_needs_no_number;
}

async fn runs(lab: &Lab) -> String {
    lab.rows("SELECT count(*) FROM runs").await.remove(0)
}

async fn once(lab: &Lab) {
    assert!(lab.ask("alice", "@boardhand run socA build-1").await.starts_with("👍 *#1*"));
    for (retry, reason) in [(1, "http_timeout"), (2, "http_error"), (3, "unknown_error")] {
        assert_eq!(lab.slack.repeat_last(retry, reason).await.status, 200);
    }
    lab.verdict(1).await;
    // To the bot alone: the answer is a message that stays.
    assert_eq!(lab.slack.say("bob", "@boardhand", "run socA build-2").await.status, 200);
    assert_eq!(lab.slack.repeat_last(1, "http_timeout").await.status, 200);
    lab.verdict(2).await;
    lab.settle().await;
    assert_eq!(runs(lab).await, "2");
    let told = lab.slack.render_channel("D0BOB");
    assert_eq!(told.matches("👍 *#2*").count(), 1, "{told}");
    assert_eq!(lab.slack.render_answers("alice"), "");
    lab.read_all();
}

/// A direct message to the bot with something of it changed.
fn message(change: &[(&str, Value)]) -> Value {
    let mut event = json!({"type": "message", "channel_type": "im", "channel": "D0ALICE", "user": "U0ALICE",
        "text": "run socA build-1", "ts": "1.000001", "event_ts": "1.000001"});
    for (name, value) in change {
        event[*name] = value.clone();
    }
    event
}

async fn nobody(lab: &Lab) {
    for change in [
        // Its own words, and those of another bot.
        &[("user", json!("U0BOT"))][..],
        &[("bot_id", json!("B0BOT"))],
        &[("bot_id", json!("B0OTHER")), ("user", json!("U0OTHER"))],
        &[("subtype", json!("bot_message"))],
        // What Slack says of messages.
        &[("subtype", json!("message_changed")), ("message", json!({"text": "run socA build-1"}))],
        &[("subtype", json!("message_deleted"))],
        &[("subtype", json!("channel_join"))],
        // Not to the bot.
        &[("channel_type", json!("channel")), ("channel", json!("C0SOCCI"))],
        &[("type", json!("reaction_added"))],
        &[("type", json!("a_novelty")), ("channel", json!({"odd": 1}))],
    ] {
        let status = lab.slack.event(&message(change), lab.clock.now()).await;
        assert_eq!(status, 200, "{change:?}");
    }
    lab.settle().await;
    assert_eq!((runs(lab).await.as_str(), lab.slack.unread()), ("0", vec![]));
    // What people write beside a file is theirs.
    let shared = message(&[("subtype", json!("file_share"))]);
    assert_eq!(lab.slack.event(&shared, lab.clock.now()).await, 200);
    lab.verdict(1).await;
    lab.settle().await;
    lab.read_all();
}

async fn long_ago(lab: &Lab) {
    let minutes = |minutes: u64| lab.clock.now() - Duration::from_secs(minutes * 60);
    assert_eq!(lab.slack.event(&message(&[]), minutes(31)).await, 200);
    lab.settle().await;
    let told = lab.slack.render_channel("D0ALICE");
    assert!(told.contains("run socA build-1"), "{told}");
    assert_eq!(runs(lab).await, "0");
    let later = message(&[("ts", json!("2.000001"))]);
    assert_eq!(lab.slack.event(&later, minutes(29)).await, 200);
    // The same message as another event, with an id of its own: it is done.
    assert_eq!(lab.slack.event(&later, minutes(29)).await, 200);
    lab.verdict(1).await;
    lab.settle().await;
    lab.read_all();
}

async fn in_thread(lab: &Lab) {
    let run = lab.run("alice", "/run-test socA build-crawl").await;
    lab.until_state(run, "testing").await;
    lab.until_card(run, "Testing").await;
    let thread = lab.card(run);
    for (words, answer) in [("status", "#1"), ("why", "#1"), ("cancel", "#1")] {
        let said = lab.slack.say_in_thread("alice", CHANNEL, &thread, &format!("@boardhand {words}")).await;
        assert_eq!(said.status, 200, "{words}");
        let told = lab.answer("alice").await;
        assert!(told.contains(answer), "{words}: {told}");
    }
    assert!(lab.verdict(run).await.starts_with("cancelled"));
    // Elsewhere it does.
    let told = lab.ask("alice", "@boardhand why").await;
    assert!(told.contains("why <#>") && !told.contains("#1"), "{told}");
    lab.settle().await;
    lab.read_all();
}

async fn rerun(lab: &Lab) {
    let run = lab.run("alice", "/run-test socA build-1").await;
    lab.verdict(run).await;
    lab.settle().await;
    // On the card, and on what stands under it.
    assert_eq!(lab.slack.shortcut("bob", &lab.card(run), "rerun").await.status, 200);
    let told = lab.answer("bob").await;
    assert!(told.starts_with("👍 *#2* socA"), "{told}");
    assert_eq!(lab.slack.repeat_last(1, "http_timeout").await.status, 200);
    let reply = lab.slack.thread(CHANNEL, &lab.card(run)).last().map(|message| message.ts.clone());
    lab.slack.shortcut("bob", &reply.expect("a reply"), "rerun").await;
    assert!(lab.answer("bob").await.contains("#3"), "a reply of #1 is of #1");
    lab.verdict(2).await;
    lab.verdict(3).await;
    assert_eq!(runs(lab).await, "3");
    // Somewhere else, and of another version.
    let said = lab.slack.say("alice", CHANNEL, "lunch?").await.ts.expect("a message");
    assert_eq!(lab.slack.shortcut("bob", &said, "rerun").await.status, 200);
    let told = lab.answer("bob").await;
    assert!(told.contains("does not belong to a run"), "{told}");
    assert_eq!(lab.slack.shortcut("bob", &said, "a-novelty").await.status, 200);
    let told = lab.answer("bob").await;
    assert!(told.contains("out of date"), "{told}");
    lab.settle().await;
    lab.read_all();
}
