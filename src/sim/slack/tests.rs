//! The simulated Slack as an app and as people see it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

const WITHIN: Duration = Duration::from_secs(5);

async fn slack() -> SimSlack {
    let config = SimSlackConfig {
        signing_secret: "shh".into(),
        bot_token: "xoxb-test".into(),
        app_token: "xapp-test".into(),
        socket_mode: false,
        webhook_url: None,
        port: 0,
        rate_limits: false,
    };
    SimSlack::start(config, Clock::system(), Ids::seeded(1)).await.expect("a free port")
}

/// One call as an app makes it: status and body; `Err` when the connection broke.
async fn call(slack: &SimSlack, method: &str, token: &str, body: Value) -> Result<(u16, Value), String> {
    let headers = [("Content-Type", "application/json"), ("Authorization", &format!("Bearer {token}"))]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let url = format!("{}{method}", slack.api_url());
    let answer = wire::post(&url, &headers, body.to_string().as_bytes()).await.map_err(|e| e.to_string())?;
    Ok((answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null)))
}

async fn api(slack: &SimSlack, method: &str, body: Value) -> Value {
    call(slack, method, "xoxb-test", body).await.expect("answered").1
}

/// The error code of a call, or `ok`.
async fn check(slack: &SimSlack, method: &str, body: Value, expect: &str) {
    let answer = api(slack, method, body.clone()).await;
    let got = if answer["ok"] == true { "ok" } else { answer["error"].as_str().unwrap_or("?") };
    assert_eq!(got, expect, "{method} {body}");
}

type Seen = Arc<Mutex<Vec<(HeaderMap, Vec<u8>)>>>;

/// An app that keeps what it gets and acknowledges with `answer`.
async fn app(slack: &SimSlack, status: u16, answer: &'static str) -> Seen {
    let seen = Seen::default();
    let take = move |State(seen): State<Seen>, headers: HeaderMap, body: Bytes| async move {
        seen.lock().expect("seen").push((headers, body.to_vec()));
        (StatusCode::from_u16(status).expect("a status"), answer)
    };
    let router = Router::new().route("/webhook", post(take)).with_state(seen.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    slack.set_webhook(&format!("http://{}/webhook", listener.local_addr().expect("an address")));
    tokio::spawn(async move { axum::serve(listener, router).await });
    seen
}

fn form(body: &[u8]) -> Value {
    form_urlencoded::parse(body)
        .map(|(name, value)| (name.into_owned(), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[tokio::test]
async fn errors_have_slacks_own_shapes() {
    let slack = slack().await;
    let say = |channel: &str| json!({"channel": channel, "text": "hello"});
    check(&slack, "auth.test", json!({}), "ok").await;
    check(&slack, "chat.postMessage", say("C0NOWHERE"), "channel_not_found").await;
    check(&slack, "chat.postMessage", say("C0RANDOM"), "not_in_channel").await;
    check(&slack, "chat.postMessage", json!({"channel": "C0SOCCI"}), "no_text").await;
    let blocks = json!({"channel": "C0SOCCI", "text": "a", "blocks": [{"type": "nope"}]});
    check(&slack, "chat.postMessage", blocks, "invalid_blocks").await;
    let reply = json!({"channel": "C0SOCCI", "text": "a", "thread_ts": "1.2"});
    check(&slack, "chat.postMessage", reply, "cannot_reply_to_message").await;
    check(
        &slack,
        "chat.update",
        json!({"channel": "C0SOCCI", "ts": "1.2", "text": "a"}),
        "message_not_found",
    )
    .await;
    let mine = slack.say("alice", "#soc-ci", "hello").await.ts.expect("posted");
    check(
        &slack,
        "chat.update",
        json!({"channel": "C0SOCCI", "ts": mine, "text": "a"}),
        "cant_update_message",
    )
    .await;
    check(&slack, "users.info", json!({"user": "U1"}), "user_not_found").await;
    check(&slack, "nonsense", json!({}), "unknown_method").await;
    let (status, answer) = call(&slack, "auth.test", "wrong", json!({})).await.expect("answered");
    assert_eq!((status, &answer["error"]), (200, &json!("invalid_auth")));
    assert!(slack.problems().iter().any(|problem| problem.contains("unknown block type")));
}

#[tokio::test]
async fn a_thread_is_posted_edited_found_and_read() {
    let slack = slack().await;
    let card = json!({"channel": "C0SOCCI", "text": "#42", "metadata": {"event_type": "boardhand_post", "event_payload": {"key": "42/1"}}});
    let root = api(&slack, "chat.postMessage", card).await["ts"].as_str().expect("a ts").to_owned();
    let reply = json!({"channel": "C0SOCCI", "text": "1 &lt; 2 <@U0BOB>", "thread_ts": root});
    let reply_ts = api(&slack, "chat.postMessage", reply).await["ts"].clone();
    check(
        &slack,
        "chat.postMessage",
        json!({"channel": "C0SOCCI", "text": "x", "thread_ts": reply_ts}),
        "cannot_reply_to_message",
    )
    .await;
    check(&slack, "chat.update", json!({"channel": "C0SOCCI", "ts": root, "text": "#42 done"}), "ok").await;
    assert_eq!(slack.unread().len(), 2);
    let found = api(
        &slack,
        "conversations.history",
        json!({"channel": "C0SOCCI", "include_all_metadata": true, "oldest": "1"}),
    )
    .await;
    assert_eq!(found["messages"].as_array().map(Vec::len), Some(1));
    assert_eq!(found["messages"][0]["metadata"]["event_payload"]["key"], "42/1");
    let found =
        api(&slack, "conversations.replies", json!({"channel": "C0SOCCI", "ts": root, "limit": 1})).await;
    assert!(found["has_more"] == true && found["messages"][0]["ts"] == *root);
    assert_eq!(slack.render_thread("#soc-ci", &root), "boardhand: #42 done\nboardhand: 1 < 2 @bob\n");
    assert!(slack.unread().is_empty());
    slack.set_history_scope(false);
    check(&slack, "conversations.history", json!({"channel": "C0SOCCI"}), "missing_scope").await;
    check(&slack, "chat.delete", json!({"channel": "C0SOCCI", "ts": root}), "ok").await;
}

#[tokio::test]
async fn a_form_body_works_like_json() {
    let slack = slack().await;
    let body = "token=xoxb-test&channel=C0SOCCI&text=hi&blocks=%5B%7B%22type%22%3A%22divider%22%7D%5D";
    let headers = [("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned())];
    let url = format!("{}chat.postMessage", slack.api_url());
    let answer = wire::post(&url, &headers, body.as_bytes()).await.expect("answered");
    assert!(String::from_utf8_lossy(&answer.body).contains("\"ok\":true"));
    assert_eq!(slack.render_channel("soc-ci"), "boardhand: ---\n");
}

#[tokio::test]
async fn faults_break_calls_before_and_after_the_effect() {
    let slack = slack().await;
    let say = || call(&slack, "chat.postMessage", "xoxb-test", json!({"channel": "C0SOCCI", "text": "a"}));
    slack.break_calls("chat.postMessage", ApiFault::AcceptThen500, 1);
    assert_eq!(say().await.expect("answered").0, 500);
    slack.break_calls("*", ApiFault::AcceptThenDrop, 1);
    assert!(say().await.is_err(), "the connection broke");
    assert_eq!(slack.channel("soc-ci").len(), 2);
    slack.break_calls("chat.postMessage", ApiFault::Error500, 1);
    assert_eq!(say().await.expect("answered").0, 500);
    slack.break_calls("chat.postMessage", ApiFault::RateLimited(7), 1);
    assert_eq!(say().await.expect("answered").0, 429);
    assert_eq!(slack.channel("soc-ci").len(), 2);
    slack.set_rate_limits(true);
    let mut limited = 0;
    for _ in 0..10 {
        limited += u32::from(say().await.expect("answered").0 == 429);
    }
    assert!(limited >= 4 && slack.calls("chat.postMessage") == 14, "{limited}");
}

#[tokio::test]
async fn a_slash_command_is_signed_and_its_answer_shown_to_one() {
    let slack = slack().await;
    let seen = app(&slack, 200, r#"{"text":"queued as #42"}"#).await;
    let reply = slack.say("alice", "#soc-ci", "/run-test socA build-123").await;
    assert_eq!((reply.status, reply.text.as_str()), (200, "queued as #42"));
    let (headers, body) = seen.lock().expect("seen")[0].clone();
    let timestamp: i64 =
        headers["x-slack-request-timestamp"].to_str().expect("text").parse().expect("a number");
    assert_eq!(headers["x-slack-signature"], sign("shh", timestamp, &body));
    let fields = form(&body);
    assert_eq!(
        (&fields["command"], &fields["text"], &fields["user_id"]),
        (&json!("/run-test"), &json!("socA build-123"), &json!("U0ALICE"))
    );
    assert_eq!((slack.ephemerals("alice").len(), slack.ephemerals("bob").len()), (1, 0));
    slack.set_delivery_faults(|faults| faults.duplicates = 2);
    slack.say("alice", "#soc-ci", "/lab boards").await;
    slack.repeat_last(1, "http_timeout").await;
    assert_eq!(seen.lock().expect("seen").len(), 5);
    assert_eq!(seen.lock().expect("seen")[4].0["x-slack-retry-num"], "1");
}

#[tokio::test]
async fn an_app_that_fails_shows_slacks_own_error() {
    let slack = slack().await;
    app(&slack, 500, "").await;
    let reply = slack.say("alice", "#soc-ci", "/lab boards").await;
    assert_eq!(reply.text, "/lab failed with the error \"dispatch_failed\"");
    slack.set_webhook("http://127.0.0.1:1/");
    assert!(slack.say("alice", "#soc-ci", "/lab").await.text.contains("operation_timeout"));
    assert!(slack.say("nobody", "#soc-ci", "/lab").await.text.contains("no such user"));
}

#[tokio::test]
async fn a_pressed_button_reaches_the_app_and_its_response_url_works_five_times() {
    let slack = slack().await;
    let seen = app(&slack, 200, "").await;
    let card = json!({"channel": "C0SOCCI", "text": "card", "blocks": [{"type": "actions", "block_id": "b", "elements": [
        {"type": "button", "action_id": "retry", "value": "retry:42:1", "text": {"type": "plain_text", "text": "Retry"}}]}]});
    let ts = api(&slack, "chat.postMessage", card).await["ts"].as_str().expect("a ts").to_owned();
    assert!(slack.click("bob", &ts, "Explode").await.text.contains("no button"));
    assert_eq!(slack.click("bob", &ts, "Retry").await.status, 200);
    let fields = form(&seen.lock().expect("seen")[0].1);
    let payload: Value = serde_json::from_str(fields["payload"].as_str().expect("a payload")).expect("JSON");
    assert_eq!(payload["actions"][0]["value"], "retry:42:1");
    assert_eq!((&payload["user"]["id"], &payload["container"]["message_ts"]), (&json!("U0BOB"), &json!(ts)));
    let url = payload["response_url"].as_str().expect("a url").to_owned();
    let answer = |body: Value| {
        let url = url.clone();
        async move { wire::post(&url, &[], body.to_string().as_bytes()).await.expect("answered") }
    };
    assert_eq!(answer(json!({"text": "only you"})).await.status, 200);
    assert_eq!(answer(json!({"text": "all", "response_type": "in_channel"})).await.status, 200);
    assert_eq!(answer(json!({"text": "new card", "replace_original": true})).await.status, 200);
    assert_eq!(slack.ephemerals("bob").last().map(|e| e.text.clone()), Some("only you".to_owned()));
    assert_eq!(slack.render_channel("soc-ci"), "boardhand: new card\nboardhand: all\n");
    assert_eq!(answer(json!({})).await.status, 404);
    answer(json!({"delete_original": true})).await;
    let sixth = answer(json!({"text": "late"})).await;
    assert!(sixth.status == 404 && String::from_utf8_lossy(&sixth.body).contains("used_url"));
}

#[tokio::test]
async fn mentions_and_direct_messages_are_events() {
    let slack = slack().await;
    let seen = app(&slack, 200, "").await;
    let root = slack.say("lead", "#soc-ci", "just talk").await.ts.expect("posted");
    assert!(seen.lock().expect("seen").is_empty());
    slack.say_in_thread("lead", "#soc-ci", &root, "@boardhand why").await;
    slack.say("lead", "@boardhand", "boards").await;
    assert!(
        slack.say_in_thread("lead", "#soc-ci", &root, "/lab").await.text.contains("not supported in threads")
    );
    let events: Vec<Value> = seen
        .lock()
        .expect("seen")
        .iter()
        .map(|(_, body)| serde_json::from_slice(body).expect("JSON"))
        .collect();
    assert_eq!(
        (&events[0]["event"]["type"], &events[0]["event"]["thread_ts"]),
        (&json!("app_mention"), &json!(root))
    );
    assert_eq!(
        (&events[1]["event"]["channel_type"], &events[1]["event"]["text"]),
        (&json!("im"), &json!("boards"))
    );
}

#[tokio::test]
async fn until_waits_for_the_workspace() {
    let slack = slack().await;
    let poster = slack.clone();
    tokio::spawn(async move {
        api(&poster, "chat.postMessage", json!({"channel": "C0SOCCI", "text": "hi"})).await
    });
    let there = |world: &World| world.channel("soc-ci").is_some_and(|channel| channel.messages.len() == 1);
    slack.until(there, WITHIN).await.expect("it comes");
    assert_eq!(slack.until(|_| false, Duration::from_millis(10)).await, Err(Elapsed));
}

/// The start of a raw answer, with everything up to `end`.
async fn get(slack: &SimSlack, path: &str, host: &str, end: &str) -> String {
    let addr = slack.url().replace("http://", "").replace('/', "");
    let mut stream = TcpStream::connect(addr).await.expect("it listens");
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await.expect("sent");
    let mut text = Vec::new();
    let mut buffer = [0; 8192];
    let read = async {
        while !String::from_utf8_lossy(&text).contains(end) {
            let n = stream.read(&mut buffer).await.expect("read");
            assert!(n > 0, "no {end:?} in {}", String::from_utf8_lossy(&text));
            text.extend(&buffer[..n]);
        }
    };
    Clock::system().timeout(WITHIN, read).await.expect("answered");
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn the_page_and_its_live_state_are_served_to_this_machine_only() {
    let slack = slack().await;
    let page = get(&slack, "/", "127.0.0.1", "</html>").await;
    assert!(page.starts_with("HTTP/1.1 200") && !page.contains("innerHTML") && !page.contains("src=\"http"));
    let state = get(&slack, "/playground/events?user=U0BOB", "localhost:1", "soc-ci").await;
    assert!(state.contains("text/event-stream") && state.contains("D0BOB") && !state.contains("D0ALICE"));
    assert!(get(&slack, "/", "evil.example", "HTTP/1.1").await.contains("403"));
}

#[tokio::test]
async fn a_workspace_stays_on_loopback() {
    let slack = slack().await;
    let listener = TcpListener::bind("0.0.0.0:0").await.expect("a free port");
    let config = slack.0.shared.config.clone();
    assert!(SimSlack::start_on(listener, config, Clock::system(), Ids::seeded(1)).is_err());
}

#[tokio::test]
async fn the_page_can_type_and_press() {
    let slack = slack().await;
    let seen = app(&slack, 200, r#"{"text":"ok"}"#).await;
    let headers = [("Content-Type".to_owned(), "application/json".to_owned())];
    let url = format!("{}playground/say", slack.url());
    let body = br#"{"user":"U0ALICE","channel":"C0SOCCI","thread":null,"text":"/lab boards"}"#;
    let answer = wire::post(&url, &headers, body).await.expect("answered");
    assert_eq!(String::from_utf8_lossy(&answer.body), r#"{"status":200,"text":"ok"}"#);
    assert_eq!(seen.lock().expect("seen").len(), 1);
    let plain = [("Content-Type".to_owned(), "text/plain".to_owned())];
    let answer = wire::post(&url, &plain, body).await.expect("answered");
    assert_eq!(answer.status, 415, "a foreign page cannot post without being asked first");
}
