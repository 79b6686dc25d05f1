//! Requests as Feishu sends them, and some that it never would.

use super::*;
use crate::chat::KEY_BYTES_MAX;
use serde_json::json;

const BOT: &str = "ou_bot";

fn now() -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000)
}

fn event(kind: &str, event: Value) -> Vec<u8> {
    let header = json!({
        "event_id": "ev1", "event_type": kind, "create_time": "1800000000000", "token": "tok", "app_id": "cli_a",
        "tenant_key": "tenant",
    });
    json!({ "schema": "2.0", "header": header, "event": event }).to_string().into_bytes()
}

fn said(message: Value) -> Vec<u8> {
    let mut message = message;
    message["message_id"] = json!("om_1");
    message["chat_id"] = json!("oc_lab");
    message["create_time"] = json!("1799999990123");
    let sender =
        json!({ "sender_id": { "open_id": "ou_li" }, "sender_type": "user", "tenant_key": "tenant" });
    event("im.message.receive_v1", json!({ "sender": sender, "message": message }))
}

fn text(words: &str, mentions: Value) -> Vec<u8> {
    let content = json!({ "text": words }).to_string();
    said(json!({ "message_type": "text", "content": content, "mentions": mentions }))
}

fn mention(key: &str, id: &str, kind: &str) -> Value {
    json!({ "key": key, "id": { "open_id": id }, "mentioned_type": kind, "name": "somebody" })
}

#[track_caller]
fn delivery_of(body: &[u8], bot: Option<&str>) -> Delivery {
    let decoded = decode(body, now(), bot).expect("it is Feishu's");
    assert_eq!(decoded.token, "tok");
    match decoded.inbound {
        Inbound::Delivery(delivery) => *delivery,
        other => panic!("no delivery: {other:?}"),
    }
}

#[track_caller]
fn check_words(words: &str, mentions: Value, bot: Option<&str>, expect: &str) {
    let delivery = delivery_of(&text(words, mentions), bot);
    assert_eq!(delivery.intent, Intent::Text(expect.to_owned()));
}

#[test]
fn a_message_is_a_command_of_its_sender_in_its_chat() {
    let delivery =
        delivery_of(&text("@_user_1 run socA build-1", json!([mention("@_user_1", BOT, "bot")])), Some(BOT));
    assert_eq!(delivery.key, "feishu:ev1");
    assert_eq!((delivery.actor.key(), delivery.actor.team.as_str()), ("feishu:ou_li".into(), "tenant"));
    assert_eq!(delivery.place, Place { platform: Platform::Feishu, channel: "oc_lab".into(), thread: None });
    assert_eq!(delivery.answer_via.place.thread.as_deref(), Some("om_1"), "answered by a reply to it");
    assert_eq!(delivery.sent_at, Some(Timestamp::from_micros(1_799_999_990_123_000)));
    assert_eq!(delivery.intent, Intent::Text("run socA build-1".into()));
}

#[test]
fn a_message_in_a_thread_says_which() {
    let content = json!({ "text": "why" }).to_string();
    let body = said(
        json!({ "message_type": "text", "content": content, "root_id": "om_card", "parent_id": "om_card" }),
    );
    assert_eq!(delivery_of(&body, Some(BOT)).place.thread.as_deref(), Some("om_card"));
}

#[test]
fn mentions_of_others_become_people_and_that_of_us_goes() {
    let both = json!([mention("@_user_1", BOT, "bot"), mention("@_user_2", "ou_wu", "user")]);
    check_words(
        "@_user_1 handover soc-a-001 @_user_2",
        both.clone(),
        Some(BOT),
        "handover soc-a-001 <@ou_wu>",
    );
    check_words("@_user_1 handover soc-a-001 @_user_2", both, None, "handover soc-a-001 <@ou_wu>");
    check_words("boards", json!([]), None, "boards");
}

#[test]
fn a_rich_message_is_read_line_by_line() {
    let content = json!({
        "title": "", "content": [[{ "tag": "at", "user_id": "@_user_1" }, { "tag": "text", "text": " run socA " },
                                  { "tag": "a", "text": "build-1", "href": "https://ci/1" }], [{ "tag": "img", "image_key": "k" }]],
    });
    let body = said(json!({
        "message_type": "post", "content": content.to_string(), "mentions": [mention("@_user_1", BOT, "bot")],
    }));
    assert_eq!(delivery_of(&body, Some(BOT)).intent, Intent::Text("run socA build-1".into()));
}

fn clicked(value: Value) -> Vec<u8> {
    event(
        "card.action.trigger",
        json!({
            "operator": { "open_id": "ou_li", "tenant_key": "tenant" }, "token": "c-1",
            "action": { "value": value, "tag": "button" },
            "context": { "open_message_id": "om_card", "open_chat_id": "oc_lab" },
        }),
    )
}

#[test]
fn a_click_says_which_card_it_was_on() {
    let body = clicked(json!({ CLICK: "cancel:42:7" }));
    let delivery = delivery_of(&body, None);
    assert_eq!(delivery.intent, Intent::Click(Click::parse("cancel:42:7").expect("a click")));
    assert_eq!(delivery.answer_via.place.thread.as_deref(), Some("om_card"));
    assert!(decode(&body, now(), None).expect("ours").may_be_unsigned);
    let other = delivery_of(&clicked(json!({ CLICK: "dance:1:1" })), None);
    assert_eq!(other.intent, Intent::OtherClick, "a button of ours is answered, whatever it says");
    for other in [json!({}), json!({ "their": "button" }), json!("cancel:42:7"), Value::Null] {
        let decoded = decode(&clicked(other), now(), None).expect("it is Feishu's");
        assert!(matches!(decoded.inbound, Inbound::Ignored { .. }));
    }
}

#[test]
fn an_entry_of_the_menu_is_a_command_in_the_persons_own_chat() {
    let body = event(
        "application.bot.menu_v6",
        json!({ "operator": { "operator_id": { "open_id": "ou_li" } }, "event_key": "lab_boards", "timestamp": 1 }),
    );
    let delivery = delivery_of(&body, None);
    assert_eq!(delivery.intent, Intent::Text("lab boards".into()));
    assert_eq!((delivery.place.channel.as_str(), delivery.answer_via.place.thread), ("ou_li", None));
}

#[test]
fn the_challenge_is_answered_and_may_come_unsigned() {
    let body = br#"{"type":"url_verification","challenge":"c1","token":"tok"}"#;
    let decoded = decode(body, now(), None).expect("it is Feishu's");
    assert_eq!(decoded.inbound, Inbound::UrlVerification { challenge: "c1".into() });
    assert!(decoded.may_be_unsigned);
    assert_eq!(outside(body), Ok(Outside::Plain));
    assert_eq!(outside(br#"{"encrypt":"abc"}"#), Ok(Outside::Covered("abc".into())));
}

#[test]
fn what_is_not_for_us_is_ignored_and_what_makes_no_sense_is_refused() {
    let ignored = |body: &[u8]| match decode(body, now(), None).map(|decoded| decoded.inbound) {
        Ok(Inbound::Ignored { .. }) => (),
        other => panic!("{other:?}"),
    };
    ignored(&event("im.chat.updated_v1", json!({})));
    ignored(&said(json!({ "message_type": "image", "content": "{}" })));
    let app = json!({ "sender": { "sender_type": "app" }, "message": {} });
    ignored(&event("im.message.receive_v1", app));
    let problem = |body: &[u8]| decode(body, now(), None).expect_err("it makes no sense");
    assert!(matches!(problem(b"{"), DecodeProblem::Json { line: 1, .. }));
    assert_eq!(problem(br#"{"uuid":"1","type":"event_callback"}"#), DecodeProblem::Schema);
    assert_eq!(problem(br#"{"schema":"2.0"}"#), DecodeProblem::Missing("header"));
    assert!(matches!(problem(&event("im.message.receive_v1", json!([1]))), DecodeProblem::Json { .. }));
    let bomb = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(problem(bomb.as_bytes()), DecodeProblem::Json { .. }));
}

#[test]
fn a_long_id_is_still_a_key_of_its_own() {
    let mut body: Value = serde_json::from_slice(&text("boards", json!([]))).expect("json");
    body["header"]["event_id"] = json!("e".repeat(1_000));
    let key = delivery_of(body.to_string().as_bytes(), None).key;
    assert!(key.starts_with("feishu:sha256:") && key.len() <= KEY_BYTES_MAX, "{key}");
}

#[test]
fn whoever_is_of_another_tenant_is_marked_so() {
    let own = String::from_utf8(text("boards", json!([]))).expect("text");
    assert!(!delivery_of(own.as_bytes(), None).foreign);
    // The sender's comes before the app's in no order that could be relied on.
    let mut other: Value = serde_json::from_str(&own).expect("json");
    other["event"]["sender"]["tenant_key"] = json!("another");
    other["header"]["tenant_key"] = json!("tenant");
    assert!(delivery_of(other.to_string().as_bytes(), None).foreign);
    // Nor does a conversation's id say whether it is with one person.
    assert!(!delivery_of(own.as_bytes(), None).direct);
    other["event"]["message"]["chat_type"] = json!("p2p");
    assert!(delivery_of(other.to_string().as_bytes(), None).direct);
}
