//! Slack over a socket that the server dials: whoever types or presses sees what they would see with a webhook, and what
//! breaks between the two loses nothing that was acknowledged and does nothing twice.

mod check;
mod drawn;
mod events;
mod gap;
mod line;
mod mode;
mod sdk;
mod tls;

use boardhand::clock::Clock;
use boardhand::id::Ids;
use boardhand::sim::slack::{SimSlack, SimSlackConfig};
use secrecy::SecretString;
use serde_json::json;

use crate::lab::{CHANNEL, Lab, WITHIN, socket_lab, yaml};

/// Waits until Slack has so many sockets.
pub(crate) async fn until_sockets(lab: &Lab, sockets: usize) {
    let held = lab.slack.until(|_| lab.slack.sockets() == sockets, WITHIN).await;
    held.unwrap_or_else(|_| panic!("{} sockets and not {sockets}", lab.slack.sockets()));
}

/// A Slack without a server, in socket mode.
async fn slack() -> SimSlack {
    let config = SimSlackConfig {
        signing_secret: SecretString::from("unused"),
        bot_token: SecretString::from("xoxb-test"),
        app_token: SecretString::from("xapp-test"),
        socket_mode: true,
        webhook_url: None,
        port: 0,
        rate_limits: false,
    };
    SimSlack::start(config, Clock::system(), Ids::system()).await.expect("simulated Slack")
}

async fn runs(lab: &Lab) -> String {
    lab.rows("SELECT count(*) FROM runs").await.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_clicks_mentions_and_direct_messages_come_over_the_socket() {
    socket_lab(&yaml::small(1), async |lab| {
        let run = lab.run("alice", "/run-test socA build-fail").await;
        assert_eq!(lab.verdict(run).await, "failed tests-failed in testing");
        lab.settle().await;
        assert!(lab.click("bob", run, "Retry").await.starts_with("👍 *#2* socA"));
        lab.until_card(2, "Failed").await;
        assert!(lab.ask("lead", "@boardhand boards").await.contains("soc-a-001"));
        // In a run's thread the number may be left out.
        lab.slack.say_in_thread("alice", CHANNEL, &lab.card(1), "@boardhand status").await;
        assert!(lab.answer("alice").await.contains("#1"));
        // In a conversation with the bot alone nobody has to be mentioned.
        lab.slack.say("bob", "@boardhand", "runs").await;
        lab.settle().await;
        let told = lab.slack.render_channel("D0BOB");
        assert!(told.contains("*Runs*"), "{told}");
        lab.read_all();
        let health = lab.get("/readyz").await;
        assert!(health.contains(r#""sockets":{"slack":{"connections":1,"since":"#), "{health}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_signing_secret_the_webhook_is_closed() {
    socket_lab(&yaml::small(1), async |lab| {
        lab.slack.set_webhook(&format!("{}/webhooks/slack", lab.door));
        lab.slack.set_socket_mode(false);
        assert_eq!(lab.slack.say("alice", CHANNEL, "/lab boards").await.status, 404);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_people_at_once_are_answered() {
    socket_lab(&yaml::small(1), async |lab| {
        let typed = (0..100).map(|_| lab.slack.say("alice", CHANNEL, "/lab boards"));
        let seen = futures_util::future::join_all(typed).await;
        assert!(
            seen.iter().all(|reply| reply.status == 200 && reply.text.contains("soc-a-001")),
            "{seen:#?}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envelope_that_comes_twenty_times_is_one_effect() {
    socket_lab(&yaml::small(1), async |lab| {
        lab.slack.set_delivery_faults(|faults| faults.duplicates = 19);
        let run = lab.run("alice", "/run-test socA build-1").await;
        lab.slack.heal();
        lab.verdict(run).await;
        lab.settle().await;
        assert_eq!(runs(lab).await, "1");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_that_is_lost_is_given_again_with_the_same_answer() {
    socket_lab(&yaml::small(1), async |lab| {
        // Of a command: Slack tells the person, and the run goes on.
        lab.slack.lose_acks(1);
        let seen = lab.slack.say("alice", CHANNEL, "/run-test socA build-1").await;
        assert_eq!((seen.status, seen.text.contains("operation_timeout")), (0, true), "{seen:?}");
        for retry in 1..=3 {
            let again = lab.slack.repeat_last(retry, "timeout").await;
            assert!(again.status == 200 && again.text.contains("*#1*"), "{again:?}");
        }
        // Of an event: Slack sends it again.
        lab.slack.lose_acks(1);
        assert_eq!(lab.slack.say("bob", CHANNEL, "@boardhand run socA build-2").await.status, 0);
        assert_eq!(lab.slack.repeat_last(1, "timeout").await.status, 200);
        lab.until_card(2, "Passed").await;
        lab.settle().await;
        assert_eq!(runs(lab).await, "2");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_whose_socket_is_cut_before_it_is_answered_is_answered_all_the_same() {
    socket_lab(&yaml::small(1), async |lab| {
        let stall = lab.stall().await;
        let typing = {
            let slack = lab.slack.clone();
            tokio::spawn(async move { slack.say("alice", CHANNEL, "/lab reserve soc-a-001 1h DDR").await })
        };
        // It is on its way into the store, which stands.
        let begun = async {
            while lab.slack.waiting_on_sockets() == 0 {
                lab.clock.sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        lab.clock.timeout(WITHIN, begun).await.expect("an envelope is on its way");
        lab.slack.cut_sockets();
        drop(stall);
        assert!(typing.await.expect("no panic").text.contains("operation_timeout"));
        let told = lab.answers_until("alice", "is yours until").await;
        assert!(told.contains("soc-a-001"), "{told}");
        assert_eq!(lab.rows("SELECT count(*) FROM leases").await, ["1"]);
        lab.say("alice", "/lab release").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_slack_never_says_is_left_alone() {
    socket_lab(&yaml::small(1), async |lab| {
        let unknown = json!({"envelope_id": "e-1", "type": "novelty", "payload": {"a": 1}}).to_string();
        let deep = format!(
            r#"{{"envelope_id":"e-2","type":"events_api","payload":{{"type":"event_callback","event":{}1{}}}}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        let bad_slash = json!({"envelope_id": "e-3", "type": "slash_commands", "payload": [1, 2]}).to_string();
        let no_words = json!({"envelope_id": "e-4", "type": "slash_commands", "payload": {}}).to_string();
        let strange = ["Ping", "", "{", "[]", "{\"type\":\"goodbye\"}", "{\"type\":7}", &unknown, &deep, &bad_slash, &no_words];
        for text in strange {
            lab.slack.say_on_sockets(text);
        }
        assert!(lab.say("alice", "/lab boards").await.contains("soc-a-001"), "on the same socket");
        assert_eq!(lab.slack.calls("apps.connections.open"), 1);
    })
    .await;
}
