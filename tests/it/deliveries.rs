//! Deliveries as a platform really sends them: twice, at once, late, forged, cut, too large. Each is acknowledged after
//! its effect, has one effect, and what is not signed has none.

use boardhand::sim::slack::{Delivered, sign};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::lab::{CHANNEL, Lab, OLD_SECRET, lab, steady, yaml};

const SECRET: &str = "test-signing-secret";
const FORM: &str = "application/x-www-form-urlencoded";

/// A request as Slack would sign it now.
fn signed(lab: &Lab, content_type: &str, body: &[u8]) -> Delivered {
    signed_at(SECRET, lab.clock.now().as_secs(), content_type, body)
}

fn signed_at(secret: &str, at: i64, content_type: &str, body: &[u8]) -> Delivered {
    let headers = [
        ("Content-Type", content_type.to_owned()),
        ("X-Slack-Request-Timestamp", at.to_string()),
        ("X-Slack-Signature", sign(secret, at, body)),
    ];
    Delivered { headers: headers.map(|(name, value)| (name.to_owned(), value)).to_vec(), body: body.to_vec() }
}

fn slash(trigger: &str, text: &str) -> Vec<u8> {
    let text = text.replace(' ', "+");
    format!(
        "team_id=T0LAB&channel_id=C0SOCCI&user_id=U0ALICE&user_name=alice&command=%2Flab&text={text}&trigger_id={trigger}&\
         response_url=http%3A%2F%2F127.0.0.1%3A1%2Fnowhere"
    )
    .into_bytes()
}

async fn status(lab: &Lab, delivered: &Delivered) -> u16 {
    lab.slack.send(delivered).await.status
}

async fn runs(lab: &Lab) -> String {
    lab.rows("SELECT count(*) FROM runs").await.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_slow_to_commit_is_answered_with_what_is_known() {
    lab(&yaml::small(1), async |lab| {
        let run = lab.run("alice", "/run-test socA build-crawl").await;
        lab.until_state(run, "testing").await;
        let stall = lab.stall().await;
        let seen = lab.say("alice", &format!("/lab cancel {run}")).await;
        insta::assert_snapshot!(steady(&seen), @"⏳ I am slow just now: this may or may not have been taken. Please look before you type it again: `/lab runs mine`");
        drop(stall);
        // It was taken.
        assert_eq!(lab.verdict(run).await, "cancelled cancelled in testing");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_button_of_another_version_is_answered() {
    lab(&yaml::small(1), async |lab| {
        let run = lab.run("alice", "/run-test socA build-1").await;
        lab.verdict(run).await;
        lab.settle().await;
        let button = serde_json::json!({"type": "button", "text": {"text": "Nudge"}, "value": "nudge:1:3"});
        lab.slack.press_stale("bob", &lab.card(run), &button).await;
        insta::assert_snapshot!(lab.answer("bob").await, @"That button is out of date. Nothing was done; the card shows what is possible now.");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_of_any_kind_gets_the_same_acknowledgement_and_has_no_second_effect() {
    lab(&yaml::small(1), async |lab| {
        // A slash command.
        let first = lab.say("alice", "/run-test socA build-fail").await;
        let repeats: Vec<String> =
            futures_util::future::join_all((1..=3).map(|n| lab.slack.repeat_last(n, "http_timeout")))
                .await
                .into_iter()
                .map(|reply| format!("{} {}", reply.status, steady(&reply.text)))
                .collect();
        assert!(first.starts_with("👍 *#1*") && repeats[0].starts_with("200 {"), "{first}\n{repeats:?}");
        assert!(
            repeats[0].contains("*#1*") && repeats.iter().all(|repeat| *repeat == repeats[0]),
            "{repeats:?}"
        );
        assert_eq!(runs(lab).await, "1");
        lab.until_card(1, "Failed").await;
        lab.settle().await;

        // A click.
        lab.click("alice", 1, "Retry").await;
        for n in 1..=3 {
            assert_eq!(lab.slack.repeat_last(n, "http_timeout").await.status, 200);
        }
        lab.until_card(2, "Failed").await;
        lab.settle().await;
        assert_eq!((runs(lab).await.as_str(), lab.slack.render_answers("alice").as_str()), ("2", ""));

        // An event.
        lab.ask("bob", "@boardhand run socA build-3").await;
        for n in 1..=3 {
            assert_eq!(lab.slack.repeat_last(n, "http_error").await.status, 200);
        }
        lab.settle().await;
        assert_eq!((runs(lab).await.as_str(), lab.slack.render_answers("bob").as_str()), ("3", ""));
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_copies_at_once_are_one_effect() {
    lab(&yaml::small(1), async |lab| {
        lab.slack.set_delivery_faults(|faults| faults.duplicates = 19);
        lab.run("alice", "/run-test socA build-fail").await;
        assert_eq!(runs(lab).await, "1");
        lab.until_card(1, "Failed").await;
        lab.settle().await;
        lab.click("alice", 1, "Retry").await;
        lab.ask("bob", "@boardhand run socA build-3").await;
        lab.settle().await;
        let answers = lab.slack.render_answers("alice") + &lab.slack.render_answers("bob");
        assert_eq!((runs(lab).await.as_str(), answers.as_str()), ("3", ""), "no second answer");
        let cards = lab.slack.channel(CHANNEL).iter().filter(|m| m.text.starts_with('#')).count();
        assert_eq!(cards, 3);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_signed_in_time_with_a_known_secret_has_an_effect() {
    lab(&yaml::small(1), async |lab| {
        let now = lab.clock.now().as_secs();
        let body = slash("t-none", "run-test socA build-1");
        let good = signed(lab, FORM, &body);
        let with = |name: &str, value: Option<&str>| {
            let mut changed = good.clone();
            changed.headers.retain(|(header, _)| header != name);
            changed.headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
            changed
        };
        let (time, signature) = ("X-Slack-Request-Timestamp", "X-Slack-Signature");
        let forged = format!("v0={}", "0".repeat(64));
        let upper = sign(SECRET, now, &body).to_uppercase();
        let mut refused = vec![
            ("no signature", with(signature, None)),
            ("no time", with(time, None)),
            ("another time", with(time, Some(&(now - 1).to_string()))),
            ("a time that is none", with(time, Some("now"))),
            ("a time beyond numbers", with(time, Some("99999999999999999999999"))),
            ("a negative time", with(time, Some("-5"))),
            ("an empty signature", with(signature, Some(""))),
            ("a forged signature", with(signature, Some(&forged))),
            ("an upper case signature", with(signature, Some(&upper))),
            ("a short signature", with(signature, Some("v0=00"))),
            ("another version", with(signature, Some("v1=00"))),
            ("a signature that is no ASCII", with(signature, Some("v0=\u{e9}\u{1f4a9}"))),
            ("another secret", signed_at("another", now, FORM, &body)),
            ("an old request", signed_at(SECRET, now - 302, FORM, &body)),
            ("a request of the future", signed_at(SECRET, now + 303, FORM, &body)),
        ];
        let mut cut = good.clone();
        cut.body.truncate(20);
        refused.push(("a cut body", cut));
        let mut longer = good.clone();
        longer.body.extend(b"&x=1");
        refused.push(("a longer body", longer));
        for (what, delivered) in &refused {
            assert_eq!(status(lab, delivered).await, 401, "{what}");
        }
        assert_eq!(runs(lab).await, "0");
        assert_eq!(lab.rows("SELECT count(*) FROM deliveries").await, ["0"]);

        let taken = [
            ("almost too old", signed_at(SECRET, now - 298, FORM, &slash("t-1", "boards"))),
            ("almost too new", signed_at(SECRET, now + 300, FORM, &slash("t-2", "boards"))),
            (
                "the secret before the last rotation",
                signed_at(OLD_SECRET, now, FORM, &slash("t-3", "boards")),
            ),
        ];
        for (what, delivered) in &taken {
            assert_eq!(status(lab, delivered).await, 200, "{what}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_signed_and_makes_no_sense_is_refused_without_a_trace() {
    lab(&yaml::small(1), async |lab| {
        for (content_type, body, expect) in [
            (FORM, &b""[..], 400),
            (FORM, b"payload=%7Bnot+json", 400),
            (FORM, b"payload=null", 400),
            (FORM, b"command=%2Flab&text=boards", 400),
            (FORM, b"\xff\xfe%%%=\x00", 400),
            ("application/json", b"{}", 400),
            ("application/json", b"[[[[[[", 400),
            ("application/json", b"{\"type\":\"event_callback\"}", 400),
            ("application/json", b"{\"type\":\"app_rate_limited\",\"minute_rate_limited\":1}", 200),
            (
                "application/json",
                b"{\"type\":\"event_callback\",\"event\":{\"type\":\"reaction_added\"}}",
                200,
            ),
            ("text/plain", b"command=%2Flab", 400),
            ("", b"command=%2Flab", 400),
        ] {
            let delivered = signed(lab, content_type, body);
            let shown = String::from_utf8_lossy(body);
            assert_eq!(status(lab, &delivered).await, expect, "{content_type}: {shown}");
        }
        let nested = "[".repeat(100_000);
        let deep = format!("{{\"type\":\"event_callback\",\"event\":{nested}");
        assert_eq!(status(lab, &signed(lab, "application/json", deep.as_bytes())).await, 400);
        assert_eq!(lab.rows("SELECT count(*) FROM deliveries").await, ["0"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slacks_own_questions_are_answered() {
    lab(&yaml::small(1), async |lab| {
        let challenge = br#"{"type":"url_verification","token":"x","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}"#;
        let answer = lab.slack.send(&signed(lab, "application/json", challenge)).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"));
        let mut unsigned = signed(lab, "application/json", challenge);
        unsigned.headers.truncate(1);
        assert_eq!(status(lab, &unsigned).await, 401);
        let probe = Delivered { headers: vec![("Content-Type".into(), FORM.into())], body: b"ssl_check=1&token=x".to_vec() };
        let answer = lab.slack.send(&probe).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, ""));
        let mut smuggled = probe.clone();
        smuggled.body.extend(b"&command=%2Flab&text=boards");
        assert_eq!(status(lab, &smuggled).await, 401);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shared_path_tells_senders_apart_by_exactly_one_signature() {
    lab(&yaml::small(1), async |lab| {
        lab.slack.set_webhook(&format!("{}/webhook", lab.door));
        assert!(lab.say("alice", "/lab boards").await.starts_with("*Boards*"));
        let good = signed(lab, FORM, &slash("t-shared", "boards"));
        assert_eq!(status(lab, &good).await, 200);
        // Feishu is not connected here; Jenkins is, and signed nothing.
        for (other, refused) in
            [("X-Lark-Signature", 404), ("webhook-signature", 401), ("X-Hub-Signature-256", 401)]
        {
            let mut two = good.clone();
            two.headers.push((other.to_owned(), "00".to_owned()));
            assert_eq!(status(lab, &two).await, 401, "both of {other}");
            let mut only = good.clone();
            only.headers.retain(|(name, _)| name != "X-Slack-Signature");
            only.headers.push((other.to_owned(), "00".to_owned()));
            assert_eq!(status(lab, &only).await, refused, "only {other}");
        }
        let mut none = good.clone();
        none.headers.retain(|(name, _)| name != "X-Slack-Signature");
        assert_eq!(status(lab, &none).await, 401);
        let probe = Delivered {
            headers: vec![("Content-Type".into(), FORM.into())],
            body: b"ssl_check=1&token=x".to_vec(),
        };
        assert_eq!(status(lab, &probe).await, 200);
    })
    .await;
}

/// What the server says to a request that it need not read to its end.
async fn raw(lab: &Lab, head: &str, body: &[u8], hang_up: bool) -> String {
    let address = lab.door.trim_start_matches("http://");
    let stream = tokio::net::TcpStream::connect(address).await.expect("the door");
    let (mut reader, mut writer) = stream.into_split();
    let request =
        format!("POST /webhooks/slack HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n{head}\r\n\r\n");
    let body = body.to_vec();
    let writing = tokio::spawn(async move {
        let _ = writer.write_all(request.as_bytes()).await;
        let _ = writer.write_all(&body).await;
        if hang_up {
            let _ = writer.shutdown().await;
        }
        writer
    });
    let mut answer = vec![0; 512];
    let read = reader.read(&mut answer).await.unwrap_or(0);
    drop(writing.await);
    String::from_utf8_lossy(&answer[..read]).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_large_or_cut_off_takes_nothing_with_it() {
    lab(&yaml::small(1), async |lab| {
        let large = vec![b'a'; 300 * 1024];
        let announced = raw(lab, "Content-Length: 10485760", &large, false).await;
        assert_eq!(announced, "HTTP/1.1 413 Payload Too Large");
        let chunk = [format!("{:x}\r\n", large.len()).into_bytes(), large].concat();
        let chunked = raw(lab, "Transfer-Encoding: chunked", &chunk, false).await;
        assert_eq!(chunked, "HTTP/1.1 413 Payload Too Large");
        let cut = raw(lab, "Content-Length: 5000", b"command=%2Flab", true).await;
        assert!(cut.is_empty() || cut.starts_with("HTTP/1.1 400"), "{cut}");
        assert_eq!(lab.rows("SELECT count(*) FROM deliveries").await, ["0"]);
        assert!(lab.say("alice", "/lab boards").await.starts_with("*Boards*"), "the door is still open");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_channel_without_the_bot_the_result_is_told_all_the_same() {
    lab(&yaml::small(1), async |lab| {
        let seen = lab.slack.say("alice", "#random", "/run-test socA build-123").await;
        assert!(seen.text.starts_with("👍 *#1*"), "{}", seen.text);
        lab.until_state(1, "finished").await;
        lab.settle().await;
        // The card as it was then, and the result.
        let seen = lab.slack.channel("#random").len();
        let last = steady(&lab.slack.render_channel("#random"));
        let last = last.rsplit("boardhand: ").next().unwrap_or_default();
        assert_eq!(seen, 2, "{last}");
        insta::assert_snapshot!(last, @r#"
            #1 socA · build-123 · smoke
              *✅ Passed*
              *Board* `soc-a-001`
              *By* @alice
              *Tests* 23 passed
              *Took* N s
              ✓ power   ✓ boot   ✓ deploy   ✓ test   ✓ collect
              Finished <time> · Console log
              [Retry] [Log]
        "#);
        insta::assert_snapshot!(steady(&lab.slack.render_answers("alice")), @r#"
            👋 I am not in that channel yet: the card there is posted once and will not follow the run.
            Type `/invite @boardhand` there, and the next run has a live card with buttons.
        "#);
        // Once that is known, nobody is promised a card that shows how it goes.
        let again = lab.slack.say("alice", "#random", "/run-test socA build-123").await.text;
        assert!(again.contains("I am not in this channel: you will hear how it ends"), "{again}");
        lab.settle().await;
        lab.slack.add_channel("C0RANDOM", "random", true);
        lab.slack.say("alice", "#random", "/run-test socA build-123").await;
        lab.settle().await;
        let invited = lab.slack.say("alice", "#random", "/run-test socA build-123").await.text;
        assert!(invited.contains("Its card is on its way to this channel"), "{invited}");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
