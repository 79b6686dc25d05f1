//! The socket itself: cut, silent, replaced, refused, one too many, full of absurd frames. A line that is down says so,
//! and comes back by itself.

use std::time::Duration;

use boardhand::net::Http;
use boardhand::net::ws::WebSocket;
use boardhand::sim::slack::{ApiFault, SOCKETS_MAX};
use secrecy::SecretString;

use super::until_sockets;
use crate::lab::{CHANNEL, Lab, WITHIN, socket_lab, yaml};

/// Waits until the health page says this; gives what it says.
async fn until_health(lab: &Lab, says: &str) -> String {
    let told = async {
        loop {
            let page = lab.get("/readyz").await;
            if page.contains(says) {
                return page;
            }
            lab.clock.sleep(Duration::from_millis(5)).await;
        }
    };
    match lab.clock.timeout(WITHIN, told).await {
        Ok(page) => page,
        Err(_) => panic!("the health page never says {says}: {}", lab.get("/readyz").await),
    }
}

/// Waits until another socket than those that were opened before is the only one.
async fn until_opened(lab: &Lab, times: u64) {
    let opened = || lab.slack.calls("apps.connections.open") >= times && lab.slack.sockets() == 1;
    lab.slack.until(|_| opened(), WITHIN).await.expect("another socket");
}

async fn boards_are_told(lab: &Lab) {
    let seen = lab.say("alice", "/lab boards").await;
    assert!(seen.contains("soc-a-001"), "{seen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_is_replaced_before_it_ends_and_nothing_is_lost_meanwhile() {
    socket_lab(&yaml::small(1), async |lab| {
        for (round, reason) in
            ["warning", "refresh_requested", "a reason of tomorrow"].into_iter().enumerate()
        {
            lab.slack.disconnect(reason);
            // The old one is still there, and still heard.
            until_sockets(lab, round + 2).await;
            for _ in 0..10 {
                boards_are_told(lab).await;
            }
        }
        until_health(lab, r#""trouble":{}"#).await;
        assert_eq!(lab.slack.calls("apps.connections.open"), 4);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_is_cut_in_the_middle_of_an_envelope_is_made_anew_and_the_envelope_taken_once() {
    socket_lab(&yaml::small(1), async |lab| {
        lab.slack.cut_next_envelope();
        let seen = lab.slack.say("alice", CHANNEL, "/run-test socA build-1").await;
        assert_eq!(seen.status, 0, "half an envelope is none");
        until_opened(lab, 2).await;
        let again = lab.slack.repeat_last(1, "timeout").await;
        assert!(again.status == 200 && again.text.contains("*#1*"), "{again:?}");
        lab.slack.repeat_last(2, "timeout").await;
        lab.until_card(1, "Passed").await;
        lab.settle().await;
        assert_eq!(lab.rows("SELECT count(*) FROM runs").await, ["1"]);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absurd_frames_cost_the_socket_and_nothing_else() {
    socket_lab(&yaml::small(1), async |lab| {
        let absurd: [&[u8]; 3] = [
            // A text of 2^63 - 1 bytes; reserved bits; bytes that are no UTF-8.
            b"\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff",
            b"\xf1\x01x",
            b"\x81\x02\xff\xfe",
        ];
        for (opened, bytes) in (2..).zip(absurd) {
            lab.slack.write_to_sockets(bytes);
            until_opened(lab, opened).await;
            boards_are_told(lab).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_refused_is_told_with_its_remedy_and_tried_again() {
    socket_lab(&yaml::small(1), async |lab| {
        for (code, remedy) in [
            ("invalid_auth", "SLACK_APP_TOKEN is not an app-level token of this app"),
            ("missing_scope", "connections:write"),
            ("a_code_of_tomorrow", "is Socket Mode turned on"),
        ] {
            lab.slack.break_calls("apps.connections.open", ApiFault::Error(code.into()), u32::MAX);
            lab.slack.cut_sockets();
            let page = until_health(lab, code).await;
            assert!(page.starts_with("HTTP/1.1 200 ") && page.contains(remedy), "{page}");
            assert!(page.contains(r#""slack (socket)":{"#) && page.contains(r#""up":false"#), "{page}");
            lab.slack.heal();
            until_health(lab, r#""trouble":{}"#).await;
            boards_are_told(lab).await;
        }
    })
    .await;
}

/// Slack is heard again after opening a socket went wrong like this, twice.
async fn check_away(fault: ApiFault) {
    socket_lab(&yaml::small(1), async |lab| {
        lab.slack.break_calls("apps.connections.open", fault, 2);
        lab.slack.cut_sockets();
        until_opened(lab, 4).await;
        boards_are_told(lab).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slack_that_does_not_work_is_tried_again() {
    check_away(ApiFault::Error500).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slack_that_answers_by_half_is_tried_again() {
    check_away(ApiFault::AcceptThenDrop).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slack_that_asks_to_wait_is_tried_again() {
    check_away(ApiFault::RateLimited(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn socket_mode_that_is_turned_off_is_told_and_heard_again_once_it_is_on() {
    socket_lab(&yaml::small(1), async |lab| {
        lab.slack.set_socket_mode(false);
        let page = until_health(lab, "link_disabled").await;
        assert!(page.contains("turn it on at api.slack.com/apps"), "{page}");
        lab.slack.set_socket_mode(true);
        until_health(lab, r#""trouble":{}"#).await;
        boards_are_told(lab).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_socket_too_many_is_told() {
    socket_lab(&yaml::small(1), async |lab| {
        let mut others = Vec::new();
        for _ in 1..SOCKETS_MAX {
            others.push(another(lab).await);
        }
        until_sockets(lab, SOCKETS_MAX).await;
        lab.slack.disconnect("refresh_requested");
        let page = until_health(lab, "too_many_websockets").await;
        assert!(page.contains("stop the other programs"), "{page}");
        drop(others);
        until_health(lab, r#""trouble":{}"#).await;
    })
    .await;
}

/// Another program that uses the app's token.
async fn another(lab: &Lab) -> WebSocket {
    let api = lab.slack.api_url();
    let http = Http::new(&[&api]);
    let (url, token) = (format!("{api}apps.connections.open"), SecretString::from("xapp-test"));
    let opened = http.post_form(&url, Some(&token), &[], WITHIN).await.expect("an answer").json();
    let url = opened.expect("JSON")["url"].as_str().expect("an address").to_owned();
    let socket = http.web_socket(&url, WITHIN, lab.clock.clone()).await.expect("a socket");
    assert!(http.web_socket(&url, WITHIN, lab.clock.clone()).await.is_err(), "an address works once");
    socket
}
