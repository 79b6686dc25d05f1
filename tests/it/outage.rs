//! A platform that is away or slow, with a clock of the test's own: what waits meanwhile, and what it costs when it is
//! over. Runs are driven through the store, since nothing of a run waits for a platform.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use boardhand::board::LiveInventory;
use boardhand::chat::{AnswerVia, ChatApi, Found, Outage, Place, Platform, Post, SendResult};
use boardhand::clock::{Clock, ManualClock, Timestamp};
use boardhand::doorbell::Doorbell;
use boardhand::lease::reaper::{DELIVERIES_KEPT, Reaper};
use boardhand::message::Card;
use boardhand::message::compose::{Composer, WhyWaiting};
use boardhand::message::links::Links;
use boardhand::message::pace::Pacing;
use boardhand::message::relay::Relay;
use boardhand::message::template::Catalogue;
use boardhand::outcome::{Counts, Verdict};
use boardhand::run::{Decision, Progress, Run, Stage};
use boardhand::store::{Effect, Fenced};
use boardhand::worker::steps::Agent;

use crate::lab::{self, yaml};
use crate::store::Lab as StoreLab;
use crate::store::lab::{T0, channel, note, outcome};

/// Nobody asks.
pub(crate) struct Nobody;

impl WhyWaiting for Nobody {
    fn why_waiting(&self, _run: &Run) -> serde_json::Value {
        serde_json::Value::Null
    }
}

/// What a platform was asked for, and took.
#[derive(Default)]
pub(crate) struct Chat {
    away: Mutex<bool>,
    /// Channels that are posted in too fast.
    limited: Mutex<BTreeSet<String>>,
    calls: Mutex<usize>,
    taken: Mutex<Vec<String>>,
}

impl Chat {
    fn take(&self, what: &str, place: &Place, card: &Card) -> SendResult {
        *self.calls.lock().expect("calls") += 1;
        if *self.away.lock().expect("away") {
            return SendResult::Out(Outage::Away("connection refused".into()));
        }
        if self.limited.lock().expect("limited").contains(&place.channel) {
            return SendResult::RetryAfter(Duration::from_secs(30));
        }
        let mut taken = self.taken.lock().expect("taken");
        taken.push(format!("{what} {} {}", place.channel, card.summary));
        SendResult::Sent(format!("1.{}", taken.len()))
    }

    pub(crate) fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.taken.lock().expect("taken"))
    }

    fn calls(&self) -> usize {
        *self.calls.lock().expect("calls")
    }
}

#[async_trait::async_trait]
impl ChatApi for Chat {
    async fn post(&self, post: Post<'_>) -> SendResult {
        self.take("post", post.place, post.card)
    }
    async fn edit(&self, place: &Place, _message: &str, card: &Card) -> SendResult {
        self.take("edit", place, card)
    }
    async fn find(&self, _place: &Place, _key: &str, _since: Timestamp) -> Found {
        Found::Absent
    }
    async fn answer(&self, via: &AnswerVia, card: &Card) -> SendResult {
        self.take("answer", &via.place, card)
    }
    async fn answer_in_channel(&self, via: &AnswerVia, card: &Card) -> SendResult {
        self.take("answer", &via.place, card)
    }
}

/// A relay between a store and two platforms.
struct Bench {
    store: StoreLab,
    chats: [Arc<Chat>; 2],
    relay: Relay,
    hand: ManualClock,
}

impl Bench {
    async fn new() -> Bench {
        let store = StoreLab::sqlite().await;
        let (clock, hand) = Clock::manual(T0);
        let links = Links::new("http://lab", [7; 32]);
        let live = LiveInventory::new(lab::inventory(&yaml::small(1)));
        let composer = Composer::new(Catalogue::builtin(), links, clock.clone(), live, Arc::new(Nobody));
        let chats: [Arc<Chat>; 2] = Default::default();
        let api = |index: usize, pacing| (chats[index].clone() as Arc<dyn ChatApi>, pacing);
        let apis =
            [(Platform::Slack, api(0, Pacing::SLACK)), (Platform::Feishu, api(1, Pacing::FEISHU))].into();
        let relay = Relay::new(store.store.clone(), apis, Arc::new(composer), clock, Doorbell::default());
        Bench { store, chats, relay, hand }
    }

    /// Time goes on, and the relay with it.
    async fn pass(&mut self, time: Duration) {
        let (mut left, step) = (time, Duration::from_secs(1));
        while !left.is_zero() {
            self.relay.step().await.expect("a step");
            self.relay.flush().await;
            self.hand.advance(step);
            left = left.saturating_sub(step);
        }
    }
}

#[tokio::test]
async fn a_platform_that_is_away_for_an_hour_costs_one_edit_of_each_card() {
    let mut bench = Bench::new().await;
    let mirror = Place { platform: Platform::Feishu, channel: "oc_soc".into(), thread: None };
    let [board] = bench.store.boards().await;
    let mut run = bench.store.new_run();
    run.cards.push(mirror);
    let id = run.id;
    bench.store.commit(Effect::Start(vec![run])).await;
    let lease = bench.store.on_board(id, 1, &board).await;
    bench.pass(Duration::from_secs(10)).await;
    let posted = bench.chats.each_ref().map(|chat| chat.taken().len());
    assert_eq!(posted, [1, 1], "a card on each platform");

    let before = bench.chats.each_ref().map(|chat| chat.calls());
    bench.chats.iter().for_each(|chat| *chat.away.lock().expect("away") = true);
    let store = bench.store.store.clone();
    for stage in [Stage::Booting, Stage::Deploying, Stage::Testing] {
        let told = if stage == Stage::Testing { vec![note("run-testing")] } else { vec![] };
        let advanced = store.run_advance(&lease, stage, &told, T0).await.expect("advance");
        assert_eq!(advanced, Fenced::Done, "the run goes on");
        bench.pass(Duration::from_secs(600)).await;
    }
    for passed in 1..=40 {
        let progress = Progress { counts: Counts { passed, ..Counts::default() }, carrying: None };
        assert_eq!(store.run_progress(&lease, &progress, T0).await.expect("progress"), Fenced::Done);
        bench.pass(Duration::from_secs(45)).await;
    }
    bench.store.settled(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish).await;
    let tries = [0, 1].map(|n| bench.chats[n].calls() - before[n]);
    assert!(tries.iter().all(|tries| (1..=240).contains(tries)), "tried now and then: {tries:?}");

    bench.chats.iter().for_each(|chat| *chat.away.lock().expect("away") = false);
    bench.pass(Duration::from_secs(120)).await;
    for chat in &bench.chats {
        let taken = chat.taken();
        let [edit, reply] = &taken[..] else { panic!("one edit and the outcome: {taken:#?}") };
        assert!(edit.starts_with("edit ") && edit.contains("Passed"), "{edit}");
        // That the tests began is no news any more.
        assert!(reply.starts_with("post ") && reply.contains("run-finished"), "{reply}");
    }
    let census = store.census().await.expect("census");
    assert_eq!((census.owed, census.dead), (0, 0));
}

#[tokio::test]
async fn a_pause_holds_back_its_own_channel_and_no_other() {
    let mut bench = Bench::new().await;
    bench.chats[0].limited.lock().expect("limited").insert(channel().channel);
    bench.store.waiting().await;
    let mut other = bench.store.new_run();
    other.cards = vec![Place { channel: "C0OTHER".into(), ..channel() }];
    bench.store.commit(Effect::Start(vec![other])).await;
    bench.pass(Duration::from_secs(20)).await;
    let taken = bench.chats[0].taken();
    assert!(matches!(&taken[..], [one] if one.starts_with("post C0OTHER #2")), "{taken:#?}");
    bench.chats[0].limited.lock().expect("limited").clear();
    bench.pass(Duration::from_secs(20)).await;
    let taken = bench.chats[0].taken();
    assert!(matches!(&taken[..], [one] if one.contains("#1 ")), "once its pause is over: {taken:#?}");
}

#[tokio::test]
async fn a_delivery_is_known_again_for_two_days_and_then_forgotten() {
    let store = StoreLab::sqlite().await;
    let (clock, hand) = Clock::manual(T0);
    let mut reaper = Reaper::new(store.store.clone(), clock, Doorbell::default(), store.instance);
    let delivery = store.intake(Effect::Start(vec![store.new_run()]));
    let first = store.store.commit(delivery.clone()).await.expect("commit");
    assert_eq!(DELIVERIES_KEPT, Duration::from_secs(48 * 3600));
    hand.advance(DELIVERIES_KEPT - Duration::from_secs(3600));
    reaper.step().await.expect("a step");
    let again = store.store.commit(delivery.clone()).await.expect("commit");
    assert_eq!((again.fresh, &again.answer), (false, &first.answer));
    hand.advance(Duration::from_secs(2 * 3600));
    reaper.step().await.expect("a step");
    assert_eq!(store.store.delivery_forget(T0 + Duration::from_secs(1)).await.expect("forget"), 0, "gone");
}
