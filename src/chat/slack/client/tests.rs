//! The client against a small fake of Slack's API that answers by script and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse;

use super::*;
use crate::chat::Platform;

/// Status, `Retry-After` and body.
type Answers = VecDeque<(u16, &'static str, String)>;
/// Path, token and body.
type Asked = Vec<(String, String, String)>;

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<(Answers, Asked)>>);

impl Fake {
    async fn start() -> (Fake, SlackClient, String) {
        let fake = Fake::default();
        let router = Router::new().fallback(answer).with_state(fake.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let base = format!("http://{}/api", listener.local_addr().expect("address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let client = SlackClient::new(Http::new(&[]), &base, SecretString::from("xoxb-secret"));
        (fake, client, base)
    }

    fn will(&self, status: u16, retry_after: &'static str, body: impl Into<String>) -> &Self {
        self.0.lock().expect("lock").0.push_back((status, retry_after, body.into()));
        self
    }

    /// What it was asked since the last time.
    fn asked(&self) -> Asked {
        std::mem::take(&mut self.0.lock().expect("lock").1)
    }

    /// The one JSON request since the last time.
    fn request(&self) -> (String, Value) {
        let asked = self.asked();
        assert_eq!(asked.len(), 1, "{asked:?}");
        (asked[0].0.clone(), serde_json::from_str(&asked[0].2).expect("JSON"))
    }
}

async fn answer(State(fake): State<Fake>, uri: Uri, headers: HeaderMap, body: String) -> impl IntoResponse {
    let mut state = fake.0.lock().expect("lock");
    let token = headers.get("authorization").map(|t| t.to_str().expect("text").to_owned());
    state.1.push((uri.path().to_owned(), token.unwrap_or_default(), body));
    let (status, retry_after, body) =
        state.0.pop_front().unwrap_or((200, "", r#"{"ok":true,"ts":"1.5"}"#.into()));
    (
        StatusCode::from_u16(status).expect("status"),
        [("retry-after", retry_after), ("x-oauth-scopes", "chat:write, commands")],
        body,
    )
}

fn place(thread: Option<&str>) -> Place {
    Place { platform: Platform::Slack, channel: "C1".into(), thread: thread.map(str::to_owned) }
}

fn card() -> Card {
    Card { summary: "hello".into(), ..Card::default() }
}

fn via(url: Option<String>) -> AnswerVia {
    AnswerVia { url, user: "U1".into(), place: place(Some("9.1")) }
}

fn secs(secs: u64) -> SendResult {
    SendResult::RetryAfter(Duration::from_secs(secs))
}

fn refused(code: &str) -> SendResult {
    SendResult::Refused(code.into())
}

#[tokio::test]
async fn a_post_carries_its_key_and_gives_its_ts() {
    let (fake, client, _) = Fake::start().await;
    let place = place(Some("9.1"));
    let ended = client.post(Post { place: &place, card: &card(), key: "run/7", instead_of: None }).await;
    assert_eq!(ended, SendResult::Sent("1.5".into()));
    let asked = fake.asked();
    assert_eq!((asked[0].0.as_str(), asked[0].1.as_str()), ("/api/chat.postMessage", "Bearer xoxb-secret"));
    let body: Value = serde_json::from_str(&asked[0].2).expect("JSON");
    assert_eq!(body["metadata"], json!({"event_type": "boardhand_post", "event_payload": {"key": "run/7"}}));
    assert_eq!((&body["channel"], &body["thread_ts"]), (&json!("C1"), &json!("9.1")));
    assert_eq!((&body["unfurl_links"], &body["text"]), (&json!(false), &json!("hello")));
}

fn away(reason: &str) -> SendResult {
    SendResult::Out(Outage::Away(reason.into()))
}

/// Posts and edits end alike: what an ambiguous end means is the relay's to know.
#[tokio::test]
async fn posts_and_edits_end_as_slack_says() {
    let (fake, client, _) = Fake::start().await;
    let unknown = |reason: &str| SendResult::Unknown(reason.into());
    let not_accepted = |code: &str| {
        let remedy = remedy(code).unwrap_or_else(|| panic!("{code} has no remedy"));
        SendResult::Out(Outage::NotAccepted { code: code.into(), remedy })
    };
    let cases = [
        (429, "7", r#"{"ok":false,"error":"ratelimited"}"#, secs(7)),
        (429, "", "", secs(30)),
        (200, "", r#"{"ok":false,"error":"rate_limited"}"#, secs(30)),
        (500, "", "oops", unknown("http_500")),
        (503, "", r#"{"ok":false,"error":"service_unavailable"}"#, unknown("http_503")),
        (200, "", r#"{"ok":false,"error":"fatal_error"}"#, unknown("fatal_error")),
        (200, "", r#"{"ok":false,"error":"internal_error"}"#, unknown("internal_error")),
        (200, "", r#"{"ok":false,"error":"service_unavailable"}"#, away("service_unavailable")),
        (200, "", "<html>", unknown("an answer that is not Slack's")),
        (200, "", r#"{"ok":false,"error":"not_in_channel"}"#, refused("not_in_channel")),
        (200, "", r#"{"ok":false,"error":"invalid_auth"}"#, not_accepted("invalid_auth")),
        (200, "", r#"{"ok":false,"error":"<!channel>"}"#, refused("unreadable_error")),
        (404, "", "nope", not_accepted("http_404")),
        (302, "", "", not_accepted("http_302")),
        (413, "", "", refused("http_413")),
    ];
    for (status, retry_after, body, ended) in cases {
        fake.will(status, retry_after, body).will(status, retry_after, body);
        let place = place(None);
        let posted = client.post(Post { place: &place, card: &card(), key: "k", instead_of: None }).await;
        assert_eq!(posted, ended, "{status} {body}");
        assert_eq!(client.edit(&place, "1.5", &card()).await, ended, "{status} {body}");
    }
}

/// Every error code that the methods we call document, by what it is about.
#[tokio::test]
async fn every_code_of_slack_is_about_the_message_or_about_us() {
    let (fake, client, _) = Fake::start().await;
    let said = async |code: &str| {
        fake.will(200, "", json!({ "ok": false, "error": code }).to_string());
        client.call("chat.postMessage", &json!({})).await.expect_err("an error")
    };
    let message_or_channel = "channel_not_found not_in_channel is_archived restricted_action \
        restricted_action_read_only_channel restricted_action_thread_only_channel \
        restricted_action_non_threadable_channel restricted_action_thread_locked msg_blocks_too_long \
        msg_blocks_too_many invalid_blocks invalid_blocks_format no_text too_many_attachments metadata_too_large \
        metadata_must_be_sent_from_app invalid_metadata_format cannot_reply_to_message message_not_found \
        cant_update_message edit_window_closed is_inactive msg_too_long block_mismatch user_not_in_channel \
        invalid_arguments markdown_text_conflict streaming_state_conflict no_dual_broadcast_content_update \
        no_permission access_denied a_code_of_tomorrow";
    for code in message_or_channel.split_whitespace() {
        assert_eq!(said(code).await, SlackError::Refused(code.into()));
    }
    let us = "invalid_auth not_authed not_allowed_token_type account_inactive token_revoked token_expired missing_scope \
        org_login_required team_added_to_org ekm_access_denied enterprise_is_restricted team_access_not_granted \
        accesslimited two_factor_setup_required method_deprecated deprecated_endpoint unknown_method";
    for code in us.split_whitespace() {
        let remedy = remedy(code).unwrap_or_else(|| panic!("{code} has no remedy"));
        assert_eq!(said(code).await, SlackError::NotAccepted { code: code.into(), remedy });
    }
    for code in ["ratelimited", "rate_limited"] {
        assert_eq!(said(code).await, SlackError::RateLimited(RATE_LIMIT_PAUSE));
    }
    for code in ["internal_error", "fatal_error"] {
        assert_eq!(said(code).await, SlackError::Ambiguous(code.into()));
    }
    for code in ["service_unavailable", "request_timeout"] {
        assert_eq!(said(code).await, SlackError::NotExecuted(code.into()));
    }
}

#[tokio::test]
async fn a_post_without_ts_may_be_there() {
    let (fake, client, _) = Fake::start().await;
    fake.will(200, "", r#"{"ok":true}"#);
    let ended = client.post(Post { place: &place(None), card: &card(), key: "k", instead_of: None }).await;
    assert!(matches!(ended, SendResult::Unknown(_)), "{ended:?}");
}

#[tokio::test]
async fn a_slack_that_cannot_be_reached_was_not_told() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let base = format!("http://{}/api/", listener.local_addr().expect("address"));
    drop(listener);
    let client = SlackClient::new(Http::new(&[]), &base, SecretString::from("x"));
    let ended = client.post(Post { place: &place(None), card: &card(), key: "k", instead_of: None }).await;
    assert!(matches!(ended, SendResult::Out(Outage::Away(_))), "{ended:?}");
}

#[tokio::test]
async fn an_edit_replaces_text_and_blocks() {
    let (fake, client, _) = Fake::start().await;
    assert_eq!(client.edit(&place(None), "1.5", &card()).await, SendResult::Sent("1.5".into()));
    let (path, body) = fake.request();
    assert_eq!(
        (path.as_str(), &body["ts"], &body["parse"]),
        ("/api/chat.update", &json!("1.5"), &json!("none"))
    );
    assert!(body["text"].is_string() && body["blocks"].is_array() && body.get("metadata").is_none());
}

#[tokio::test]
async fn an_answer_goes_to_its_url_without_our_token_and_replaces_nothing() {
    let (fake, client, base) = Fake::start().await;
    fake.will(200, "", "ok");
    let url = format!("{base}/respond");
    assert_eq!(client.answer(&via(Some(url)), &card()).await, SendResult::Sent(String::new()));
    let asked = fake.asked();
    assert_eq!((asked[0].0.as_str(), asked[0].1.as_str()), ("/api/respond", ""));
    let body: Value = serde_json::from_str(&asked[0].2).expect("JSON");
    assert_eq!((&body["response_type"], &body["replace_original"]), (&json!("ephemeral"), &json!(false)));
}

#[tokio::test]
async fn an_answer_whose_url_is_used_up_is_whispered() {
    let (fake, client, base) = Fake::start().await;
    fake.will(404, "", r#"{"ok":false,"error":"used_url"}"#);
    let url = format!("{base}/respond");
    assert_eq!(client.answer(&via(Some(url)), &card()).await, SendResult::Sent(String::new()));
    let asked = fake.asked();
    assert_eq!(
        asked.iter().map(|a| a.0.as_str()).collect::<Vec<_>>(),
        ["/api/respond", "/api/chat.postEphemeral"]
    );
    assert!(asked[1].2.contains(r#""user":"U1""#) && asked[1].2.contains(r#""thread_ts":"9.1""#));
}

#[tokio::test]
async fn an_answer_in_a_direct_message_stays_there() {
    let (fake, client, _) = Fake::start().await;
    let mut via = via(None);
    client.answer(&via, &card()).await;
    assert_eq!(fake.request().0, "/api/chat.postEphemeral");
    via.place.channel = "D1".into();
    client.answer(&via, &card()).await;
    assert_eq!(fake.request().0, "/api/chat.postMessage");
}

#[tokio::test]
async fn a_channel_without_the_bot_is_told_through_the_url() {
    let (fake, client, base) = Fake::start().await;
    let ended = client.answer_in_channel(&via(Some(format!("{base}/respond"))), &card()).await;
    assert_eq!(ended, SendResult::Sent(String::new()));
    let (_, body) = fake.request();
    assert_eq!((&body["response_type"], &body["thread_ts"]), (&json!("in_channel"), &json!("9.1")));
    assert_eq!(client.answer_in_channel(&via(None), &card()).await, refused("no_response_url"));
}

#[tokio::test]
async fn a_post_is_found_by_its_key_over_pages() {
    let (fake, client, _) = Fake::start().await;
    let message = |key: &str, event: &str| json!({"ts": "3.3", "metadata": {"event_type": event, "event_payload": {"key": key}}});
    let page = |messages: Value, next: &str| {
        json!({"ok": true, "messages": messages, "response_metadata": {"next_cursor": next}}).to_string()
    };
    let others = json!([{"ts": "1.1"}, message("k", "other"), message("other", EVENT_TYPE)]);
    fake.will(200, "", page(others.clone(), "p2")).will(200, "", page(json!([message("k", EVENT_TYPE)]), ""));
    let since = Timestamp::from_micros(100_000_001);
    assert_eq!(client.find(&place(None), "k", since).await, Found::Sent("3.3".into()));
    let asked = fake.asked();
    assert!(
        asked[0].0.ends_with("conversations.history") && asked[0].2.contains("oldest=95.000001"),
        "{asked:?}"
    );
    assert!(asked[1].2.contains("cursor=p2") && asked[1].2.contains("include_all_metadata=true"));

    fake.will(200, "", page(others, ""));
    assert_eq!(client.find(&place(Some("9.1")), "k", since).await, Found::Absent);
    let asked = fake.asked();
    assert!(asked[0].0.ends_with("conversations.replies") && asked[0].2.contains("ts=9.1"), "{asked:?}");
}

#[tokio::test]
async fn a_search_that_cannot_end_says_so() {
    let (fake, client, _) = Fake::start().await;
    let since = Timestamp::from_micros(0);
    fake.will(200, "", r#"{"ok":false,"error":"missing_scope"}"#);
    assert_eq!(client.find(&place(None), "k", since).await, Found::CannotTell("missing_scope".into()));
    fake.will(429, "3", "");
    assert_eq!(client.find(&place(None), "k", since).await, Found::NotNow(Duration::from_secs(3)));
    fake.will(500, "", "");
    assert_eq!(client.find(&place(None), "k", since).await, Found::NotNow(PAUSE));
    fake.will(200, "", r#"{"ok":false,"error":"token_revoked"}"#);
    assert!(matches!(client.find(&place(None), "k", since).await, Found::Out(_)));
    fake.asked();
    for _ in 0..=FIND_PAGES_MAX {
        fake.will(200, "", r#"{"ok":true,"messages":[],"response_metadata":{"next_cursor":"again"}}"#);
    }
    assert!(matches!(client.find(&place(None), "k", since).await, Found::CannotTell(_)));
    assert_eq!(fake.asked().len(), FIND_PAGES_MAX);
}

#[tokio::test]
async fn the_token_says_who_we_are_and_what_we_may() {
    let (fake, client, _) = Fake::start().await;
    fake.will(200, "", r#"{"ok":true,"user_id":"UBOT","bot_id":"B1","team_id":"T1","team":"Lab"}"#);
    let who = client.whoami().await.expect("who");
    assert_eq!((who.user_id.as_str(), who.team.as_str()), ("UBOT", "Lab"));
    assert_eq!(who.scopes, ["chat:write", "commands"]);
    fake.will(200, "", r#"{"ok":false,"error":"invalid_auth"}"#);
    assert!(
        matches!(client.whoami().await, Err(SlackError::NotAccepted { code, .. }) if code == "invalid_auth")
    );
}

#[tokio::test]
async fn who_cannot_be_spoken_to_in_a_channel_is_told_directly() {
    let (fake, client, _) = Fake::start().await;
    fake.will(200, "", r#"{"ok":false,"error":"user_not_in_channel"}"#);
    assert!(matches!(client.answer(&via(None), &card()).await, SendResult::Sent(_)));
    let asked = fake.asked();
    let [(first, ..), (second, _, body)] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!((first.as_str(), second.as_str()), ("/api/chat.postEphemeral", "/api/chat.postMessage"));
    let body: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!((&body["channel"], &body["thread_ts"]), (&json!("U1"), &Value::Null));
    // Once: who cannot be told directly either is not told.
    fake.will(200, "", r#"{"ok":false,"error":"user_not_in_channel"}"#);
    fake.will(200, "", r#"{"ok":false,"error":"channel_not_found"}"#);
    assert_eq!(client.answer(&via(None), &card()).await, SendResult::Refused("channel_not_found".into()));
    assert_eq!(fake.asked().len(), 2);
}
