//! How much a channel is told of runs that nobody asked for there, and the hours in which it hears nothing by itself.

use std::sync::Arc;
use std::time::Duration;

use boardhand::board::LiveInventory;
use boardhand::chat::{AnswerVia, ChatApi, Place, Platform};
use boardhand::clock::{Clock, ManualClock};
use boardhand::doorbell::Doorbell;
use boardhand::message::Note;
use boardhand::message::compose::Composer;
use boardhand::message::links::Links;
use boardhand::message::pace::Pacing;
use boardhand::message::relay::Relay;
use boardhand::message::template::Catalogue;
use boardhand::message::template::samples::sample;
use boardhand::outcome::Verdict;
use boardhand::run::{Decision, Stage};
use boardhand::store::{Effect, Fenced, Settle};
use boardhand::worker::steps::Agent;
use serde_json::json;

use crate::lab::{self, Lab, lab, steady, yaml};
use crate::outage::{Chat, Nobody};
use crate::store::Lab as StoreLab;
use crate::store::lab::{T0, channel, outcome};

/// A channel that nobody asks in.
const NIGHT: &str = "C0NIGHT";

/// The channel of the mirror with its threads, as a person reads it.
fn mirror(lab: &Lab) -> String {
    let id = "C0BRINGUP";
    let cards: Vec<String> = lab.slack.with(|world| {
        let messages = world.channels[id].messages.iter();
        messages.filter(|message| message.thread_ts.is_none()).map(|message| message.ts.clone()).collect()
    });
    let threads = cards.iter().map(|ts| steady(&lab.slack.render_thread(id, ts)));
    threads.collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_hears_as_much_of_a_run_as_boards_yaml_says() {
    let text = yaml::small(2)
        + "channels:\n  mirrors: [{from: slack:C0SOCCI, to: slack:C0BRINGUP}]\n  \
           verbosity: {slack: final, slack:C0BRINGUP: failures}\n";
    lab(&text, async |lab| {
        let passed = lab.run("alice", "/run-test socA build-123").await;
        assert_eq!(lab.verdict(passed).await, "passed in testing");
        lab.settle().await;
        insta::assert_snapshot!(lab.thread(passed), @r#"
            boardhand: #1 socA · build-123 · smoke
              *✅ Passed*
              *Board* `soc-a-001`
              *By* @alice
              *Tests* 23 passed
              *Took* N s
              ✓ power   ✓ boot   ✓ deploy   ✓ test   ✓ collect
              Finished <time> · Console log
              [Retry] [Log]
            boardhand: *✅ Passed* on `soc-a-001` in N s: 23 passed
              Console log
        "#);
        assert_eq!(mirror(lab), "", "nothing of it is said where only failures are told");
        // Nor is what comes later of it, and nothing stays owed.
        lab.click("bob", passed, "Retry").await;
        assert_eq!(lab.verdict(2).await, "passed in testing");
        lab.settle().await;
        let failed = lab.run("alice", "/run-test socA build-fail").await;
        assert_eq!(lab.verdict(failed).await, "failed tests-failed in testing");
        lab.settle().await;
        let told = mirror(lab);
        let first: Vec<&str> = told.lines().filter(|line| line.starts_with("boardhand: ")).collect();
        assert_eq!(first.len(), 2, "the card and the outcome alone:\n{told}");
        assert_eq!(first[0], "boardhand: #3 socA · build-fail · smoke", "{told}");
        assert!(first[1].starts_with("boardhand: *❌ Failed*") && first[1].ends_with(" · @alice"), "{told}");
        // The card that was posted names her, and does not call her.
        assert!(told.contains("*By* alice\n"), "{told}");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn milestones_leave_out_how_far_a_run_is() {
    let text = yaml::small(2) + "channels: {verbosity: {slack:C0SOCCI: milestones}}\n";
    lab(&text, async |lab| {
        let run = lab.run("alice", "/run-test socA build-123").await;
        assert_eq!(lab.verdict(run).await, "passed in testing");
        lab.settle().await;
        let thread = lab.thread(run);
        assert!(thread.contains("Passed") && !thread.contains("is being tested"), "{thread}");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_family_shows_the_log_of_each_failure_unasked_and_once() {
    let text = yaml::small(1)
        .replace("    default_suite: smoke\n", "    default_suite: smoke\n    log_on_failure: true\n");
    lab(&text, async |lab| {
        let failed = lab.run("alice", "/run-test socA build-fail").await;
        assert_eq!(lab.verdict(failed).await, "failed tests-failed in testing");
        lab.settle().await;
        let thread = lab.thread(failed);
        let (outcome, log) = (thread.find("Failed"), thread.find("📎 run-1-attempt-1.log"));
        assert!(outcome.is_some() && outcome < log, "{thread}");
        let told = lab.say("alice", "/lab log 1").await;
        assert!(told.contains("in the run's thread already"), "{told}");
        let passed = lab.run("alice", "/run-test socA build-123").await;
        assert_eq!(lab.verdict(passed).await, "passed in testing");
        lab.settle().await;
        assert!(!lab.thread(passed).contains(".log"), "{}", lab.thread(passed));
        lab.read_all();
    })
    .await;
}

/// A relay between a store and a platform, at 08:53 in the morning.
struct Bench {
    store: StoreLab,
    chat: Arc<Chat>,
    relay: Relay,
    hand: ManualClock,
}

impl Bench {
    async fn new(channels: &str) -> Bench {
        let store = StoreLab::sqlite().await;
        let (clock, hand) = Clock::manual(T0);
        let live = LiveInventory::new(lab::inventory(&(yaml::small(1) + channels)));
        let links = Links::new("http://lab", [7; 32]);
        let composer = Composer::new(Catalogue::builtin(), links, clock.clone(), live, Arc::new(Nobody));
        let chat = Arc::new(Chat::default());
        let apis = [(Platform::Slack, (chat.clone() as Arc<dyn ChatApi>, Pacing::NONE))].into();
        let relay = Relay::new(store.store.clone(), apis, Arc::new(composer), clock, Doorbell::default());
        Bench { store, chat, relay, hand }
    }

    /// Sends what may be sent now; gives what of it was for the channel that nobody asks in.
    async fn at_night(&mut self) -> Vec<String> {
        for _ in 0..8 {
            self.relay.step().await.expect("a step");
            self.relay.flush().await;
        }
        let taken = self.chat.taken();
        taken.into_iter().filter(|line| line.contains(NIGHT)).collect()
    }

    /// A run that was asked for elsewhere, and has passed.
    async fn passed(&self) {
        let [board] = self.store.boards().await;
        let mut run = self.store.new_run();
        run.cards.push(Place { channel: NIGHT.into(), ..channel() });
        let id = run.id;
        self.store.commit(Effect::Start(vec![run])).await;
        let lease = self.store.on_board(id, 1, &board).await;
        let note = |template: &str| {
            let facts = sample(template, Some("passed")).or_else(|_| sample(template, None));
            Note::new(template, facts.expect("a message"))
        };
        let notes = [note("run-testing")];
        let testing = self.store.store.run_advance(&lease, Stage::Testing, &notes, T0);
        assert_eq!(testing.await.expect("advance"), Fenced::Done);
        let ended = self.store.settle(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish);
        let ended = Settle { notes: vec![note("run-finished")], now: T0, ..ended };
        assert_eq!(self.store.store.run_settle(&ended).await.expect("settle"), Fenced::Done);
    }
}

const UNTIL_TEN: &str = "channels: {quiet: {slack:C0NIGHT: {from: '22:00', until: '10:00', zone: UTC}}}\n";

#[tokio::test]
async fn what_happens_in_quiet_hours_is_told_in_the_morning_as_it_is_then() {
    let mut bench = Bench::new(UNTIL_TEN).await;
    bench.passed().await;
    assert_eq!(bench.at_night().await, [""; 0]);
    bench.hand.advance(Duration::from_secs(66 * 60));
    assert_eq!(bench.at_night().await, [""; 0], "it is 09:59");
    bench.hand.advance(Duration::from_secs(60));
    insta::assert_snapshot!(bench.at_night().await.join("\n"), @r#"
        post C0NIGHT #1 socA · build-123 · smoke: ✅ Passed
        post C0NIGHT #42 Passed: 200 passed, 3 skipped
    "#);
    let census = bench.store.store.census().await.expect("census");
    assert_eq!(census.owed, 0, "{census:?}");
}

#[tokio::test]
async fn where_somebody_asked_they_are_told_at_any_hour() {
    let mut bench = Bench::new(&UNTIL_TEN.replace(NIGHT, "C0SOCCI")).await;
    bench.passed().await;
    bench.at_night().await;
    let census = bench.store.store.census().await.expect("census");
    assert_eq!(census.owed, 0, "{census:?}");
}

#[tokio::test]
async fn quiet_hours_hold_news_of_a_channel_and_not_what_concerns_somebodys_own_board() {
    let mut bench = Bench::new("channels: {quiet: {slack: {from: '22:00', until: '10:00'}}}\n").await;
    let tell = async |channel: &str| {
        let via = AnswerVia::everybody(Place { channel: channel.into(), ..self::channel() });
        let mut intake = bench.store.intake(Effect::None);
        intake.answer = Note::new("board-free", json!({ "board": channel }));
        intake.answer_via = Some(via);
        bench.store.store.commit(intake).await.expect("commit");
    };
    tell("U0LI").await;
    tell(NIGHT).await;
    assert_eq!(bench.at_night().await, [""; 0]);
    let census = bench.store.store.census().await.expect("census");
    assert_eq!(census.owed, 1, "only the channel's waits: {census:?}");
    bench.hand.advance(Duration::from_secs(67 * 60));
    assert_eq!(bench.at_night().await.len(), 1);
}
