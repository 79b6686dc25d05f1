//! Keeping a socket, without the server behind it: what is taken at once, what is still acknowledged at the end, and how
//! long a silent line is believed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use boardhand::chat::Platform;
use boardhand::chat::slack::socket::frame::Envelope;
use boardhand::chat::slack::socket::{Ack, ENVELOPES_MAX, Gap, PING_EVERY, SocketMode, Takes};
use boardhand::chat::socket_line::SocketLine;
use boardhand::clock::{Clock, Timestamp};
use boardhand::id::Ids;
use boardhand::sim::slack::{ApiFault, SimSlack};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::slack;
use crate::lab::{CHANNEL, WITHIN, opener};

/// Takes what comes once it is open.
struct Gate {
    taking: watch::Sender<usize>,
    open: watch::Sender<bool>,
    unheard: watch::Sender<usize>,
    gaps: watch::Sender<Vec<Gap>>,
}

#[async_trait]
impl Takes for Gate {
    async fn take(&self, _: Envelope) -> Ack {
        self.taking.send_modify(|taking| *taking += 1);
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open).await.expect("the gate is there");
        Ack::Taken(Some(json!({"text": "taken"})))
    }

    async fn unheard(&self, _: Envelope) {
        self.unheard.send_modify(|unheard| *unheard += 1);
    }

    async fn missed(&self, gap: Gap) {
        self.gaps.send_modify(|gaps| gaps.push(gap));
    }
}

/// A Slack whose envelopes come to a gate.
struct Heard {
    slack: SimSlack,
    gate: Arc<Gate>,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

/// `clock` is the one that keeps the socket.
async fn heard(clock: Clock) -> Heard {
    let ids = Ids::seeded(1);
    let slack = slack().await;
    let gate = Arc::new(Gate {
        taking: watch::Sender::new(0),
        open: watch::Sender::new(false),
        unheard: watch::Sender::new(0),
        gaps: watch::Sender::new(vec![]),
    });
    let line = SocketLine::new(Platform::Slack);
    let mode = SocketMode::new(opener(&slack.api_url(), "xapp-test"), gate.clone(), line.clone(), clock, ids);
    let (stop, stopping) = watch::channel(false);
    let running = tokio::spawn(mode.run(stopping));
    let real = Clock::system();
    let is_up = async {
        while line.up().is_none() {
            real.sleep(Duration::from_millis(1)).await;
        }
    };
    real.timeout(WITHIN, is_up).await.expect("a socket");
    Heard { slack, gate, stop, running }
}

impl Heard {
    async fn until_taking(&self, count: usize) {
        let mut taking = self.gate.taking.subscribe();
        taking.wait_for(|taking| *taking == count).await.expect("the gate is there");
    }
}

#[tokio::test]
async fn what_is_being_taken_when_the_server_stops_is_still_acknowledged() {
    let Heard { slack, gate, stop, running } = {
        let heard = heard(Clock::system()).await;
        let typing = heard.slack.clone();
        let typed = tokio::spawn(async move { typing.say("alice", CHANNEL, "/lab boards").await });
        heard.until_taking(1).await;
        heard.stop.send_replace(true);
        heard.gate.open.send_replace(true);
        let seen = typed.await.expect("no panic");
        assert_eq!((seen.status, seen.text.as_str()), (200, "taken"));
        heard
    };
    running.await.expect("it ends");
    slack.until(|_| slack.sockets() == 0, WITHIN).await.expect("Slack is told goodbye");
    drop((gate, stop));
}

#[tokio::test]
async fn what_is_taken_after_its_socket_is_gone_is_answered_otherwise() {
    let heard = heard(Clock::system()).await;
    let typing = {
        let slack = heard.slack.clone();
        tokio::spawn(async move { slack.say("alice", CHANNEL, "/lab boards").await })
    };
    heard.until_taking(1).await;
    heard.slack.cut_sockets();
    // Once another one is there, this one is known to be gone.
    for sockets in [0, 1] {
        let there = heard.slack.until(|_| heard.slack.sockets() == sockets, WITHIN).await;
        there.expect("the sockets that there should be");
    }
    heard.gate.open.send_replace(true);
    let mut unheard = heard.gate.unheard.subscribe();
    let told = unheard.wait_for(|unheard| *unheard == 1);
    Clock::system()
        .timeout(WITHIN, told)
        .await
        .expect("it is answered otherwise")
        .expect("the gate is there");
    assert!(typing.await.expect("no panic").text.contains("operation_timeout"));
    heard.stop.send_replace(true);
    heard.running.await.expect("it ends");
}

#[tokio::test]
async fn so_many_envelopes_are_taken_at_once_and_the_others_wait() {
    let heard = heard(Clock::system()).await;
    let typed: Vec<_> = (0..ENVELOPES_MAX + 10)
        .map(|_| {
            let slack = heard.slack.clone();
            tokio::spawn(async move { slack.say("alice", CHANNEL, "/lab boards").await.status })
        })
        .collect();
    heard.until_taking(ENVELOPES_MAX).await;
    heard.gate.open.send_replace(true);
    for typed in typed {
        assert_eq!(typed.await.expect("no panic"), 200);
    }
    assert_eq!(*heard.gate.taking.borrow(), ENVELOPES_MAX + 10);
}

#[tokio::test]
async fn a_quiet_line_is_kept_and_one_that_falls_silent_is_made_anew() {
    let (clock, hand) = Clock::manual(Timestamp::from_micros(0));
    let heard = heard(clock).await;
    // While Slack answers our pings, the socket stays however long nobody says anything.
    for pings in 1..=6 {
        hand.advance(PING_EVERY);
        heard.slack.until(|_| heard.slack.pings() == pings, WITHIN).await.expect("a ping");
    }
    assert_eq!(heard.slack.calls("apps.connections.open"), 1);
    heard.slack.silence_sockets();
    let real = Clock::system();
    let replaced = async {
        while heard.slack.calls("apps.connections.open") < 2 {
            hand.advance(Duration::from_secs(1));
            real.sleep(Duration::from_millis(1)).await;
        }
    };
    real.timeout(WITHIN, replaced).await.expect("another socket");
    heard.running.abort();
}

#[tokio::test]
async fn a_gap_in_a_refresh_is_one_from_when_the_old_socket_was_heard_last() {
    let clock = Clock::system();
    let heard = heard(clock.clone()).await;
    let mut gaps = heard.gate.gaps.subscribe();
    gaps.wait_for(|gaps| gaps.len() == 1).await.expect("the gate is there");
    let before = clock.now();
    heard.slack.break_calls("apps.connections.open", ApiFault::Slow(Duration::from_secs(2)), 1);
    heard.slack.disconnect("refresh_requested");
    // It goes while the new one is being made.
    let asked = async {
        while heard.slack.calls("apps.connections.open") < 2 {
            clock.sleep(Duration::from_millis(1)).await;
        }
    };
    clock.timeout(WITHIN, asked).await.expect("another socket is asked for");
    heard.slack.cut_sockets();
    for sockets in [0, 1] {
        let there = heard.slack.until(|_| heard.slack.sockets() == sockets, WITHIN).await;
        there.expect("the sockets that there should be");
    }
    let up = clock.now();
    let told = clock.timeout(WITHIN, gaps.wait_for(|gaps| gaps.len() == 2)).await;
    let gaps = told.expect("what was missed is told").expect("the gate is there").clone();
    let [Gap::Start, Gap::Since(at)] = gaps[..] else { panic!("{gaps:?}") };
    assert!(before - Duration::from_secs(5) <= at && at < up, "{at:?}");
    // One that is still there when the new one is has missed nothing.
    heard.slack.disconnect("refresh_requested");
    let asked = heard.slack.until(|_| heard.slack.sockets() == 2, WITHIN).await;
    asked.expect("another socket beside it");
    heard.stop.send_replace(true);
    heard.running.await.expect("it ends");
    assert_eq!(heard.gate.gaps.borrow().len(), 2);
}
