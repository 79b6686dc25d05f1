//! The daily digest of a channel, with a clock of the test's own: posted once and pinned, edited every day, in both languages
//! and on both platforms; and as an answer.

use std::time::Duration;

use boardhand::app::{App, Parts};
use boardhand::artifact::Artifacts;
use boardhand::chat::token::Tokens;
use boardhand::clock::{Clock, ManualClock};
use boardhand::id::Ids;
use boardhand::message::pace::Pacing;
use boardhand::message::template::Catalogue;
use boardhand::sim::feishu::{Call, Fault, SimFeishu};
use boardhand::sim::slack::{ApiFault, SimSlack};
use boardhand::worker::pinner::{AGAIN_AFTER, Pinner};
use boardhand::worker::steps::Agent;

use crate::lab::{self, CHANNEL, lab, steady, yaml};
use crate::store::Lab as StoreLab;

const CHAT: &str = "oc_soc";
const DAY: Duration = Duration::from_secs(24 * 3600);

struct Bench {
    store: StoreLab,
    slack: SimSlack,
    feishu: SimFeishu,
    pinner: Pinner,
    hand: ManualClock,
}

impl Bench {
    async fn new() -> Bench {
        // A lost post is looked for since its time: the platforms have the real one.
        let (clock, hand) = Clock::manual(Clock::system().now());
        let (real, ids) = (Clock::system(), Ids::system());
        let store = StoreLab::sqlite().await;
        let slack = lab::slack("http://127.0.0.1:9", &real, &ids).await;
        let feishu = lab::feishu(&real, &ids).await;
        let pinner = pinner(&store, &slack, &feishu, &clock).await;
        Bench { store, slack, feishu, pinner, hand }
    }

    async fn step(&mut self) {
        self.pinner.step().await.expect("a step");
    }

    /// The messages of the Slack channel, and which of them are pinned.
    fn posted(&self) -> (usize, usize) {
        self.slack.with(|world| (world.channels["C0SOCCI"].messages.len(), world.pins.len()))
    }
}

/// A pinner of a server that was just started.
async fn pinner(store: &StoreLab, slack: &SimSlack, feishu: &SimFeishu, clock: &Clock) -> Pinner {
    let text = yaml::small(3)
        + "channels:\n  locale: {feishu: zh}\n  digest:\n    slack:C0SOCCI: {at: '08:30', zone: Europe/Berlin}\n    \
           feishu:oc_soc: {at: '09:00', zone: Asia/Shanghai}\n";
    let folder = std::env::temp_dir();
    let app = App::new(Parts {
        store: store.store.clone(),
        inventory: lab::inventory(&text).into(),
        catalogue: Catalogue::builtin(),
        slack: Some(lab::slack_parts(slack, Pacing::NONE)),
        feishu: None,
        api_tokens: Tokens::new(&[]),
        jenkins: None,
        clock: clock.clone(),
        ids: Ids::system(),
        public_url: "http://lab".into(),
        transcripts: folder.join("boardhand-no-transcripts"),
        artifacts: Artifacts::folder(folder.join("boardhand-no-artifacts")),
        board_url: None,
        proxies: Default::default(),
        rates: Default::default(),
    });
    let app = app.await.expect("an app");
    let apis = lab::apis(slack, feishu);
    Pinner::new(app.door.handler.clone(), apis, clock.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_is_one_pinned_message_that_is_edited_every_day() {
    let mut bench = Bench::new().await;
    bench.step().await;
    insta::assert_snapshot!(steady(&bench.slack.render_channel(CHANNEL)), @r#"
        boardhand: Lab digest
          🟢 *4 of 4 boards* up: 4 free, 0 running, 0 held
          📋 *0 runs* wait; 0 on boards
          📊 Last 24 hours: no run has ended
          ⏱️ Boards in use: socA 0 %, socB 0 %
          As of <time> · shown anew every day at 08:30 Europe/Berlin
    "#);
    insta::assert_snapshot!(steady(&bench.feishu.render(CHAT)), @r#"
        [grey] 实验室日报
        🟢 **4 块板卡中 4 块可用**：空闲 4，运行 0，占用 0
        📋 **0 个任务**在排队；0 个正在板卡上
        📊 最近 24 小时：没有任务结束
        ⏱️ 板卡使用率：socA 0%，socB 0%
        截至 <time> · 每天 09:00 Asia/Shanghai 更新
    "#);
    assert_eq!((bench.posted(), bench.feishu.pinned(CHAT).len()), ((1, 1), 1));
    bench.step().await;
    assert_eq!(bench.slack.calls("chat.update"), 0, "it is not due again");
    // Both are due again within a day, whenever that is there.
    bench.hand.advance(DAY);
    bench.step().await;
    assert_eq!((bench.posted(), bench.slack.calls("chat.update")), ((1, 1), 1));
    let feishu = bench.feishu.messages(CHAT);
    assert_eq!((feishu.len(), feishu[0].edits), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_that_somebody_deleted_is_posted_and_pinned_anew() {
    let mut bench = Bench::new().await;
    bench.step().await;
    let ts = bench.slack.with(|world| world.channels["C0SOCCI"].messages[0].ts.clone());
    bench.slack.delete("C0SOCCI", &ts);
    bench.feishu.recall(&bench.feishu.messages(CHAT)[0].id);
    bench.hand.advance(DAY);
    bench.step().await;
    bench.step().await;
    assert_eq!((bench.posted().0, bench.feishu.messages(CHAT).len()), (1, 1));
    assert_eq!(bench.feishu.pinned(CHAT).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_whose_fate_is_not_known_is_not_made_twice() {
    let mut bench = Bench::new().await;
    bench.slack.break_calls("chat.postMessage", ApiFault::AcceptThen500, 1);
    bench.feishu.fault(Call::Send, Fault::DoneThen500);
    bench.step().await;
    // The process dies here.
    let (clock, hand) = Clock::manual(Clock::system().now() + AGAIN_AFTER);
    bench.pinner = pinner(&bench.store, &bench.slack, &bench.feishu, &clock).await;
    bench.hand = hand;
    bench.step().await;
    assert_eq!((bench.posted(), bench.feishu.messages(CHAT).len()), ((1, 1), 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_scope_a_digest_is_there_and_not_pinned() {
    let mut bench = Bench::new().await;
    bench.slack.set_scope("pins:write", false);
    bench.step().await;
    assert_eq!(bench.posted(), (1, 0));
    bench.slack.set_scope("pins:write", true);
    bench.hand.advance(DAY);
    bench.step().await;
    assert_eq!(bench.posted(), (1, 1), "the next day's is");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_that_is_away_is_asked_again_and_one_that_refuses_is_not_until_the_next_day() {
    let mut bench = Bench::new().await;
    bench.slack.break_calls("chat.postMessage", ApiFault::Error("restricted_action".into()), 1);
    bench.feishu.fault(Call::Send, Fault::TooFast(30));
    bench.step().await;
    bench.step().await;
    assert_eq!((bench.posted().0, bench.feishu.messages(CHAT).len()), (0, 0));
    bench.hand.advance(Duration::from_secs(30));
    bench.step().await;
    assert_eq!((bench.posted().0, bench.feishu.messages(CHAT).len()), (0, 1));
    bench.hand.advance(DAY);
    bench.step().await;
    assert_eq!(bench.posted().0, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_tells_what_the_day_was_like() {
    lab(&yaml::small(2), async |lab| {
        for build in ["build-123", "build-fail"] {
            let run = lab.run("alice", &format!("/run-test socA {build}")).await;
            lab.verdict(run).await;
        }
        lab.settle().await;
        lab.say("alice", "/lab quarantine soc-a-002 the fan is dead").await;
        insta::assert_snapshot!(steady(&lab.say("bob", "/lab digest").await), @r#"
            Lab digest
            🟠 *2 of 3 boards* up: 2 free, 0 running, 0 held
            • `soc-a-002` is out of service since <time>: the fan is dead
            📋 *0 runs* wait; 0 on boards
            📊 Last 24 hours: 1 Passed, 1 Failed
            ⏱️ Boards in use: socA 0 %, socB 0 %
            As of <time>
        "#);
        insta::assert_snapshot!(steady(&lab.say("bob", "/lab 日报").await).lines().next().unwrap_or_default(), @"Lab digest");
        lab.read_all();
    })
    .await;
}
