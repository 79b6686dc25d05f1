//! Slack's requests, as Slack sends them and as nobody should.

use super::*;
use crate::chat::KEY_BYTES_MAX;
use crate::command::{Click, Command, RunRef, Verb};
use serde_json::{Value, json};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json; charset=utf-8";

fn slash(change: &[(&str, Option<&str>)]) -> Vec<u8> {
    let mut fields = vec![
        ("token", "x"),
        ("team_id", "T1"),
        ("channel_id", "C1"),
        ("user_id", "U1"),
        ("user_name", "li"),
        ("command", "/run-test"),
        ("text", "socA build-123"),
        ("response_url", "https://hooks.slack.com/commands/T1/1/x"),
        ("trigger_id", "13.37.abc"),
    ];
    for (name, value) in change {
        fields.retain(|(n, _)| n != name);
        fields.extend(value.map(|v| (*name, v)));
    }
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish().into_bytes()
}

fn click_payload() -> Value {
    json!({
        "type": "block_actions", "trigger_id": "99.1", "response_url": "https://hooks.slack.com/actions/1",
        "user": {"id": "U2", "username": "bo", "team_id": "T1"}, "team": {"id": "T1", "domain": "d"},
        "container": {"type": "message", "message_ts": "17.1", "channel_id": "C1", "thread_ts": "16.5"},
        "channel": {"id": "C1", "name": "soc-ci"}, "message": {"ts": "17.1", "blocks": [{"type": "header"}]},
        "actions": [{"type": "button", "action_id": "cancel", "value": "cancel:42:7", "action_ts": "18.2"}],
    })
}

fn clicked(payload: &Value) -> Vec<u8> {
    form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", &payload.to_string())
        .finish()
        .into()
}

fn event_body(event: Value) -> Vec<u8> {
    json!({
        "type": "event_callback", "team_id": "T1", "event_id": "Ev1", "event": event,
        "authorizations": [{"user_id": "UBOT", "is_bot": true}],
    })
    .to_string()
    .into_bytes()
}

fn now() -> Timestamp {
    Timestamp::from_micros(5)
}

#[track_caller]
fn delivered(content_type: &str, body: &[u8]) -> Delivery {
    match decode(content_type, body, now()) {
        Ok(Inbound::Delivery(delivery)) => *delivery,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn check_ignored(content_type: &str, body: &[u8], expect: &str) {
    assert!(
        matches!(decode(content_type, body, now()), Ok(Inbound::Ignored { reason }) if reason.contains(expect)),
        "{:?}",
        decode(content_type, body, now())
    );
}

#[track_caller]
fn check_missing(content_type: &str, body: &[u8], field: &'static str) {
    assert_eq!(decode(content_type, body, now()), Err(DecodeProblem::Missing(field)));
}

#[track_caller]
fn check_not_json(content_type: &str, body: &[u8]) {
    let answer = decode(content_type, body, now());
    assert!(matches!(answer, Err(DecodeProblem::Json { .. })), "{answer:?}");
}

#[test]
fn a_slash_command_is_its_words_by_its_person_in_its_channel() {
    let delivery = delivered(FORM, &slash(&[]));
    assert_eq!(delivery.key, "slack:13.37.abc");
    assert_eq!(delivery.received_at, now());
    assert_eq!(delivery.actor.key(), "slack:U1");
    assert_eq!((delivery.actor.team.as_str(), delivery.actor.name.as_str()), ("T1", "li"));
    assert_eq!(delivery.place, Place { platform: Platform::Slack, channel: "C1".into(), thread: None });
    assert_eq!(delivery.intent, Intent::Text("/run-test socA build-123".into()));
    assert_eq!(delivery.answer_via.url.as_deref(), Some("https://hooks.slack.com/commands/T1/1/x"));
}

#[test]
fn a_slash_commands_words_are_not_touched() {
    for (text, expect) in [
        ("socA “build 1” — x=<@U1|li>&amp;", "/run-test socA “build 1” — x=<@U1|li>&amp;"),
        ("", "/run-test"),
        ("  socA", "/run-test   socA"),
    ] {
        let delivery = delivered(FORM, &slash(&[("text", Some(text))]));
        assert_eq!(delivery.intent, Intent::Text(expect.into()));
    }
}

#[test]
fn a_slash_command_without_a_needed_field_names_it() {
    for field in ["command", "user_id", "trigger_id", "channel_id"] {
        check_missing(FORM, &slash(&[(field, None)]), field);
        check_missing(FORM, &slash(&[(field, Some(""))]), field);
    }
}

#[test]
fn bytes_that_are_not_utf8_do_not_break_a_form() {
    let mut body = slash(&[("text", None)]);
    body.extend(b"&text=%ff%fe\xff&%zz=%");
    assert_eq!(delivered(FORM, &body).intent, Intent::Text("/run-test \u{fffd}\u{fffd}\u{fffd}".into()));
}

#[test]
fn a_key_that_is_too_long_is_hashed() {
    for (length, hashed) in [(KEY_BYTES_MAX - 6, false), (KEY_BYTES_MAX - 5, true), (100_000, true)] {
        let id = "x".repeat(length);
        let key = delivered(FORM, &slash(&[("trigger_id", Some(&id))])).key;
        assert!(key.len() <= KEY_BYTES_MAX);
        assert_eq!(key.starts_with("slack:sha256:"), hashed, "{length}");
    }
}

#[test]
fn a_click_on_our_button_is_a_click_in_its_thread() {
    let delivery = delivered(FORM, &clicked(&click_payload()));
    assert_eq!(
        delivery.intent,
        Intent::Click(Click { verb: Verb::Cancel, run: 42, generation: 7, at: None, board: None })
    );
    assert_eq!(delivery.key, "slack:99.1");
    assert_eq!(delivery.actor.key(), "slack:U2");
    assert_eq!(delivery.place.thread.as_deref(), Some("16.5"));
    assert_eq!(delivery.answer_via.url.as_deref(), Some("https://hooks.slack.com/actions/1"));
}

#[test]
fn a_click_without_trigger_id_is_known_by_its_time_message_and_person() {
    let mut payload = click_payload();
    payload["trigger_id"] = Value::Null;
    assert_eq!(delivered(FORM, &clicked(&payload)).key, "slack:18.2:17.1:U2");
}

#[test]
fn a_click_needs_only_what_it_uses() {
    let mut payload = click_payload();
    payload
        .as_object_mut()
        .expect("object")
        .retain(|name, _| ["type", "trigger_id", "user", "container", "actions"].contains(&name.as_str()));
    assert_eq!(delivered(FORM, &clicked(&payload)).place.channel, "C1");
    for (pointer, field) in [("/user/id", "user.id"), ("/container/channel_id", "channel.id")] {
        let mut less = payload.clone();
        *less.pointer_mut(pointer).expect("field") = Value::Null;
        check_missing(FORM, &clicked(&less), field);
    }
}

#[test]
fn a_button_of_another_version_is_a_click_that_is_answered() {
    for value in ["approve", "cancel:x:1", "power-cycle:42:7:then", ""] {
        let mut payload = click_payload();
        payload["actions"][0]["value"] = json!(value);
        assert_eq!(delivered(FORM, &clicked(&payload)).intent, Intent::OtherClick, "{value:?}");
    }
}

#[test]
fn links_and_other_interactions_are_ignored() {
    let mut payload = click_payload();
    payload["actions"][0]["value"] = Value::Null;
    check_ignored(FORM, &clicked(&payload), "a link");
    for kind in ["view_submission", "view_closed", "block_suggestion"] {
        check_ignored(FORM, &clicked(&json!({"type": kind})), "");
    }
}

#[test]
fn a_mention_is_its_words_without_us() {
    for (text, expect) in [
        ("<@UBOT> run-test socA b1", "run-test socA b1"),
        ("<@UBOT|boardhand>  boards", "boards"),
        ("hey <@UBOT> boards", "hey boards"),
        ("<@U1> <@UBOT> boards", "<@U1> boards"),
        ("<@UBOT>", ""),
        ("<@UBOT", "<@UBOT"),
    ] {
        let body = event_body(
            json!({"type": "app_mention", "user": "U1", "channel": "C1", "text": text, "ts": "1.1",
            "thread_ts": "0.9"}),
        );
        let delivery = delivered(JSON, &body);
        assert_eq!(delivery.intent, Intent::Text(expect.into()));
        // Known by itself, whatever event tells of it.
        let known = ("slack:message:C1:1.1", Some("0.9"));
        assert_eq!((delivery.key.as_str(), delivery.place.thread.as_deref()), known);
        assert_eq!(delivery.answer_via.url, None);
    }
}

#[test]
fn a_direct_message_is_its_words() {
    let event =
        json!({"type": "message", "channel_type": "im", "user": "U1", "channel": "D1", "text": "boards"});
    assert_eq!(delivered(JSON, &event_body(event)).intent, Intent::Text("boards".into()));
}

#[test]
fn what_people_write_beside_a_file_or_from_a_thread_is_a_command() {
    for subtype in ["file_share", "thread_broadcast", "me_message"] {
        let event = json!({
            "type": "message", "channel_type": "im", "user": "U1", "channel": "D1", "text": "boards", "subtype": subtype,
        });
        assert_eq!(delivered(JSON, &event_body(event)).intent, Intent::Text("boards".into()), "{subtype}");
    }
}

#[test]
fn messages_of_bots_and_edits_and_other_channels_are_ignored() {
    let direct = json!({"type": "message", "channel_type": "im", "user": "U1", "channel": "D1", "text": "x"});
    for (field, value) in
        [("bot_id", "B1"), ("subtype", "message_changed"), ("user", "UBOT"), ("channel_type", "channel")]
    {
        let mut event = direct.clone();
        event[field] = json!(value);
        check_ignored(JSON, &event_body(event), "a message");
    }
    check_ignored(JSON, &event_body(json!({"type": "app_home_opened", "channel": {"odd": 1}})), "do not use");
    check_ignored(JSON, br#"{"type":"app_rate_limited"}"#, "do not use");
}

#[test]
fn an_event_without_a_needed_field_names_it() {
    check_missing(JSON, &event_body(json!({"type": "app_mention", "channel": "C1"})), "event.user");
    check_missing(JSON, &event_body(json!({"type": "app_mention", "user": "U1"})), "event.channel");
    check_missing(JSON, br#"{"type":"event_callback"}"#, "event");
    check_missing(JSON, br#"{"type":"url_verification"}"#, "challenge");
    check_missing(JSON, b"{}", "type");
    let no_id =
        json!({"type": "event_callback", "event": {"type": "app_mention", "user": "U1", "channel": "C1"}});
    check_missing(JSON, no_id.to_string().as_bytes(), "event_id");
}

#[test]
fn slacks_probes_are_told_apart() {
    let challenge = br#"{"type":"url_verification","token":"x","challenge":"abc"}"#;
    let expect = Inbound::UrlVerification { challenge: "abc".into() };
    assert_eq!(decode("application/json", challenge, now()), Ok(expect));
    assert_eq!(decode(FORM, b"ssl_check=1&token=x", now()), Ok(Inbound::SslCheck));
    assert!(is_ssl_check(b"token=x&ssl_check=1"));
    for body in
        ["ssl_check=0", "", "text=ssl_check%3D1", "ssl_check=1&command=%2Flab", "ssl_check=1&payload=x"]
    {
        assert!(!is_ssl_check(body.as_bytes()), "{body}");
    }
    assert!(!is_ssl_check(format!("ssl_check=1&token={}", "x".repeat(SSL_CHECK_BYTES_MAX)).as_bytes()));
}

#[test]
fn bodies_that_are_not_slacks_are_problems() {
    assert_eq!(decode("text/plain", b"x", now()), Err(DecodeProblem::ContentType));
    assert_eq!(decode("", b"", now()), Err(DecodeProblem::ContentType));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in ["", "{", "[]", "null", "{\"type\":5}", &deep] {
        check_not_json(JSON, body.as_bytes());
        assert!(decode(FORM, &[b"payload=", body.as_bytes()].concat(), now()).is_err(), "{body:.40}");
    }
    check_not_json(JSON, format!("{{\"type\":\"url_verification\",\"challenge\":{deep}}}").as_bytes());
    check_ignored(JSON, format!("{{\"type\":\"new\",\"new\":{deep}}}").as_bytes(), "do not use");
}

#[test]
fn an_event_tells_when_it_happened_and_does_without() {
    let mention = json!({"type": "app_mention", "user": "U1", "text": "<@UBOT> runs", "channel": "C1"});
    let said_at = |time: Value| {
        let mut body: Value = serde_json::from_slice(&event_body(mention.clone())).expect("JSON");
        body["event_time"] = time;
        delivered(JSON, body.to_string().as_bytes()).sent_at
    };
    assert_eq!(said_at(json!(1_799_999_990)), Some(Timestamp::from_micros(1_799_999_990_000_000)));
    assert_eq!((said_at(json!("soon")), said_at(Value::Null)), (None, None));
    assert_eq!(said_at(json!(i64::MAX)), Some(Timestamp::from_micros(i64::MAX)));
}

#[test]
fn what_comes_in_an_envelope_is_the_same_delivery_as_by_url() {
    let carried = |kind: Carried, payload: &[u8]| match decode_carried(kind, payload, now()) {
        Ok(Inbound::Delivery(delivery)) => *delivery,
        other => panic!("{other:?}"),
    };
    let fields = form_urlencoded::parse(&slash(&[])).into_owned().collect::<BTreeMap<String, String>>();
    let payload = serde_json::to_vec(&fields).expect("JSON");
    assert_eq!(carried(Carried::SlashCommand, &payload), delivered(FORM, &slash(&[])));
    let click = click_payload();
    assert_eq!(
        carried(Carried::Interaction, click.to_string().as_bytes()),
        delivered(FORM, &clicked(&click))
    );
    let event =
        event_body(json!({"type": "app_mention", "user": "U1", "text": "<@UBOT> runs", "channel": "C1"}));
    assert_eq!(carried(Carried::Event, &event), delivered(JSON, &event));
    for odd in [&b"[]"[..], b"7", b"{\"command\":7}", b"{", b"{\"command\":\"/lab\",\"user_id\":{}}"] {
        assert!(decode_carried(Carried::SlashCommand, odd, now()).is_err(), "{odd:?}");
    }
    let deep = format!("{{\"command\":{}1{}}}", "[".repeat(50_000), "]".repeat(50_000));
    assert!(decode_carried(Carried::SlashCommand, deep.as_bytes(), now()).is_err());
}

#[test]
fn an_entry_of_a_messages_menu_is_about_the_thread_that_the_message_stands_in() {
    let entry = |change: &[(&str, Value)]| {
        let mut payload = json!({"type": "message_action", "callback_id": "rerun", "trigger_id": "9.9", "message_ts": "17.1",
            "message": {"ts": "17.1"}, "channel": {"id": "C1"}, "user": {"id": "U2", "name": "bo"}, "team": {"id": "T1"},
            "response_url": "https://hooks.slack.com/app/1"});
        for (name, value) in change {
            payload[*name] = value.clone();
        }
        clicked(&payload)
    };
    let retry = Intent::Command(Box::new(Command::Retry { run: RunRef::Thread, other_board: false }));
    let card = delivered(FORM, &entry(&[]));
    assert_eq!(
        (card.place.thread.as_deref(), card.intent, card.key.as_str()),
        (Some("17.1"), retry, "slack:9.9")
    );
    let reply = delivered(FORM, &entry(&[("message", json!({"ts": "17.1", "thread_ts": "16.5"}))]));
    assert_eq!(reply.place.thread.as_deref(), Some("16.5"));
    assert_eq!(delivered(FORM, &entry(&[("callback_id", json!("other"))])).intent, Intent::OtherClick);
    check_missing(FORM, &entry(&[("message_ts", json!("")), ("message", Value::Null)]), "message_ts");
    check_missing(FORM, &entry(&[("trigger_id", Value::Null)]), "trigger_id");
}

fn form_payload(kind: &str) -> Value {
    json!({"type": kind, "user": {"id": "U2", "username": "bo", "team_id": "T1"}, "team": {"id": "T1"},
        "trigger_id": "8.8", "response_urls": [{"channel_id": "C7", "response_url": "https://hooks.slack.com/app/7"}],
        "view": {"id": "V1", "hash": "9.abc", "callback_id": "run-form",
            "private_metadata": r#"{"channel":"C1","url":"https://hooks.slack.com/commands/1"}"#,
            "state": {"values": {
                "family": {"value": {"type": "static_select", "selected_option": {"value": "socA"}}},
                "build": {"value": {"type": "plain_text_input", "value": "build-1"}}}}},
        "actions": [{"action_id": "value", "block_id": "family", "type": "static_select"}]})
}

fn submission(payload: &Value) -> Submission {
    match decode(FORM, &clicked(payload), now()) {
        Ok(Inbound::Submission(submission)) => *submission,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_form_that_is_submitted_is_a_delivery_for_where_it_was_asked_for() {
    use crate::command::form::Field;
    let payload = form_payload("view_submission");
    let taken = submission(&payload);
    let (delivery, via) = (&taken.delivery, &taken.delivery.answer_via);
    assert!(delivery.key.starts_with("slack:view:V1:9.abc:"), "{}", delivery.key);
    assert_eq!(delivery.place.channel, "C1");
    assert_eq!(via.url.as_deref(), Some("https://hooks.slack.com/commands/1"));
    let Intent::Form(filled) = &delivery.intent else { panic!("{:?}", delivery.intent) };
    assert_eq!((filled[&Field::Family].as_str(), filled[&Field::Build].as_str()), ("socA", "build-1"));
    assert!(!taken.directly);

    let mut picked = payload.clone();
    let conversation = json!({"value": {"type": "conversations_select", "selected_conversation": "C7"}});
    picked["view"]["state"]["values"]["channel"] = conversation;
    let picked = submission(&picked).delivery;
    assert_ne!(picked.key, delivery.key, "what was changed before it was sent again is another form");
    assert_eq!(submission(&payload).delivery.key, delivery.key);
    assert_eq!(
        (picked.place.channel.as_str(), picked.answer_via.url.as_deref()),
        ("C7", Some("https://hooks.slack.com/app/7"))
    );

    let mut nowhere = payload.clone();
    nowhere["view"]["private_metadata"] = json!("{}");
    let nowhere = submission(&nowhere);
    assert_eq!((nowhere.directly, nowhere.delivery.place.channel.as_str()), (true, "U2"));
}

#[test]
fn a_choice_in_a_form_draws_it_anew() {
    let Ok(Inbound::FormChange(change)) = decode(FORM, &clicked(&form_payload("block_actions")), now())
    else {
        panic!("a change")
    };
    assert_eq!((change.view.as_str(), change.hash.as_deref(), change.filled.len()), ("V1", Some("9.abc"), 2));
    assert_eq!(change.asked_in.channel.as_deref(), Some("C1"));
}

#[test]
fn a_form_of_another_version_is_ignored() {
    for (name, value) in [("callback_id", json!("other")), ("private_metadata", json!("?"))] {
        let mut payload = form_payload("view_submission");
        payload["view"][name] = value;
        check_ignored(FORM, &clicked(&payload), "not ours");
    }
    let launched =
        json!({"type": "shortcut", "callback_id": "run-form", "trigger_id": "9.9", "user": {"id": "U2"}});
    let launched = delivered(FORM, &clicked(&launched));
    assert_eq!(
        (launched.intent, launched.trigger.as_deref()),
        (Intent::Text("/run-test".into()), Some("9.9"))
    );
    assert_eq!(launched.place.channel, "U2");
    let other =
        json!({"type": "shortcut", "callback_id": "other", "trigger_id": "9.9", "user": {"id": "U2"}});
    assert_eq!(delivered(FORM, &clicked(&other)).intent, Intent::OtherClick);
}

#[test]
fn whoever_is_of_another_workspace_is_marked_so() {
    let mention = |event: Value| {
        let mut whole = json!({"type": "app_mention", "user": "U1", "text": "<@UBOT> boards", "ts": "1.1",
            "channel": "C1", "event_ts": "1.1"});
        whole.as_object_mut().expect("an event").extend(event.as_object().expect("fields").clone());
        delivered("application/json", &event_body(whole)).foreign
    };
    assert!(mention(json!({"user_team": "T2", "team": "T1"})) && mention(json!({"team": "T2"})));
    assert!(!mention(json!({"user_team": "T1"})) && !mention(json!({})));
    let click = |user_team: Value, team: Value| {
        let payload = json!({"type": "block_actions", "trigger_id": "9.1", "channel": {"id": "C1"},
            "user": {"id": "U2", "team_id": user_team}, "team": team, "container": {"message_ts": "1.1"},
            "actions": [{"type": "button", "action_id": "why", "value": "why:1:1", "action_ts": "1.1"}]});
        delivered("application/x-www-form-urlencoded", &clicked(&payload)).foreign
    };
    assert!(click(json!("T2"), json!({"id": "T1"})));
    assert!(!click(json!("T1"), json!({"id": "T1"})) && !click(Value::Null, json!({"id": "T1"})));
    assert!(!click(json!("T2"), Value::Null), "nothing says where it happened");
    // In an organisation, its id stands for its people's workspaces.
    let grid = json!({"id": "T1", "enterprise_id": "E1"});
    assert!(!click(json!("E1"), grid.clone()) && click(json!("E2"), grid));
}

#[test]
fn whoever_is_of_no_workspace_that_is_told_is_a_stranger_where_others_are() {
    let event =
        json!({"type": "app_mention", "user": "U1", "text": "<@UBOT> boards", "ts": "1.1", "channel": "C1"});
    let said = |shared: bool| {
        let mut body: Value = serde_json::from_slice(&event_body(event.clone())).expect("json");
        body["is_ext_shared_channel"] = json!(shared);
        delivered("application/json", body.to_string().as_bytes()).foreign
    };
    assert_eq!((said(true), said(false)), (true, false));
}

#[test]
fn whoever_of_another_workspace_fills_in_a_form_is_marked_so() {
    let submitted = |installed: Value| {
        let payload = json!({"type": "view_submission", "team": {"id": "T2"}, "user": {"id": "U2", "team_id": "T2"},
            "view": {"id": "V1", "hash": "1.1", "callback_id": crate::chat::slack::form::RUN_FORM, "private_metadata": "{}",
                "app_installed_team_id": installed, "state": {"values": {}}}});
        match decode(FORM, &clicked(&payload), now()) {
            Ok(Inbound::Submission(submission)) => submission.delivery.foreign,
            other => panic!("{other:?}"),
        }
    };
    assert!(submitted(json!("T1")), "the team beside the form is theirs");
    assert!(!submitted(json!("T2")) && !submitted(Value::Null));
    let of_grid = |installed: &str| {
        let payload = json!({"type": "view_submission", "team": {"id": "T2"}, "enterprise": {"id": "E2"},
            "user": {"id": "U2", "team_id": "E2"},
            "view": {"id": "V1", "hash": "1.1", "callback_id": crate::chat::slack::form::RUN_FORM, "private_metadata": "{}",
                "app_installed_team_id": installed, "state": {"values": {}}}});
        match decode(FORM, &clicked(&payload), now()) {
            Ok(Inbound::Submission(submission)) => submission.delivery.foreign,
            other => panic!("{other:?}"),
        }
    };
    assert!(of_grid("T1") && !of_grid("T2"), "their organisation stands beside it, too");
}

#[test]
fn the_installation_that_sees_an_event_says_whose_workspace_the_app_is_of() {
    let seen = |installation: Value| {
        let event = json!({"type": "app_mention", "user": "U1", "text": "<@UBOT> boards", "ts": "1.1",
            "channel": "C1", "event_ts": "1.1", "user_team": "T2"});
        let mut body: Value = serde_json::from_slice(&event_body(event)).expect("json");
        body["team_id"] = json!("T2");
        body["authorizations"] = json!([installation]);
        delivered("application/json", body.to_string().as_bytes()).foreign
    };
    assert!(seen(json!({"user_id": "UBOT", "team_id": "T1"})), "the event's own team may be theirs");
    assert!(!seen(json!({"user_id": "UBOT", "team_id": "T2"})));
    assert!(!seen(json!({"user_id": "UBOT", "team_id": "T1", "enterprise_id": "T2"})));
}
