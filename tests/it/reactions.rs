//! Reactions: a message that asks for a run shows that it runs, and how it ended. As people see it in Slack, and step by
//! step where Slack is in trouble. Feishu's are in `feishu`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use boardhand::chat::{ChatApi, Place, Platform};
use boardhand::clock::{Clock, ManualClock};
use boardhand::id::Ids;
use boardhand::message::pace::Pacing;
use boardhand::outcome::Verdict;
use boardhand::sim::feishu::{Call, Fault, SimFeishu};
use boardhand::sim::slack::{ApiFault, SimSlack};
use boardhand::store::{Effect, NewRun};
use boardhand::worker::decorator::{AGAIN_AFTER, Decorator, GIVE_UP_AFTER};
use boardhand::worker::steps::Agent;

use crate::lab::{self, CHANNEL, Lab, WITHIN, lab, yaml};
use crate::store::Lab as StoreLab;
use crate::store::lab::{note, number, outcome};

/// Somebody asks for a run in words; gives their message.
async fn ask(lab: &Lab, user: &str, channel: &str, words: &str) -> String {
    lab.slack.say(user, channel, words).await.ts.expect("a message")
}

/// Waits until a message has these reactions and no other.
async fn until_shown(lab: &Lab, channel: &str, ts: &str, names: &[&str]) {
    let shown = lab
        .slack
        .until(|world| world.message(channel, ts).is_some_and(|message| message.reactions == names), WITHIN);
    if shown.await.is_err() {
        panic!("{ts} never had {names:?} but {:?}", lab.slack.reactions(channel, ts));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_asks_for_a_run_shows_that_it_runs_and_how_it_ended() {
    lab(&yaml::small(1), async |lab| {
        let asked = ask(lab, "alice", CHANNEL, "@boardhand run socA build-crawl").await;
        let waits = ask(lab, "bob", "@boardhand", "run socA build-fail").await;
        until_shown(lab, CHANNEL, &asked, &["eyes"]).await;
        until_shown(lab, "D0BOB", &waits, &["eyes"]).await;
        lab.until_card(1, "Testing").await;
        lab.say("alice", "/lab cancel 1").await;
        until_shown(lab, CHANNEL, &asked, &["no_entry_sign"]).await;
        until_shown(lab, "D0BOB", &waits, &["x"]).await;
        // Three runs are one message; what repeats a run was asked for by another one.
        let thrice = ask(lab, "alice", CHANNEL, "@boardhand run socA build-1 x3").await;
        until_shown(lab, CHANNEL, &thrice, &["white_check_mark"]).await;
        let again = lab.slack.say_in_thread("alice", CHANNEL, &lab.card(1), "@boardhand retry").await;
        until_shown(lab, CHANNEL, &again.ts.expect("a message"), &["eyes"]).await;
        lab.say("alice", "/lab cancel 6").await;
        // A question asks for nothing.
        let question = ask(lab, "alice", CHANNEL, "@boardhand boards").await;
        lab.settle().await;
        assert_eq!(lab.slack.reactions(CHANNEL, &question), [""; 0]);
        assert_eq!(lab.slack.reactions(CHANNEL, &asked), ["no_entry_sign"], "a repeat is another run");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_may_do_without_reactions() {
    let text = yaml::small(1) + "channels: {reactions: {slack: false, slack:C0BRINGUP: true}}\n";
    lab(&text, async |lab| {
        let without = ask(lab, "alice", CHANNEL, "@boardhand run socA build-1").await;
        lab.verdict(1).await;
        let with = ask(lab, "alice", "C0BRINGUP", "@boardhand run socA build-1").await;
        until_shown(lab, "C0BRINGUP", &with, &["white_check_mark"]).await;
        assert_eq!(lab.slack.reactions(CHANNEL, &without), [""; 0]);
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reaction_outlives_a_restart() {
    lab(&yaml::small(1), async |lab| {
        let asked = ask(lab, "alice", CHANNEL, "@boardhand run socA build-crawl").await;
        until_shown(lab, CHANNEL, &asked, &["eyes"]).await;
        lab.restart().await;
        lab.say("alice", "/lab cancel 1").await;
        // The attempt was lost with the server, and tried again, or the order came first.
        assert!(lab.verdict(1).await.starts_with("cancelled"));
        until_shown(lab, CHANNEL, &asked, &["no_entry_sign"]).await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

/// A decorator with a clock of the test's own.
struct Bench {
    store: StoreLab,
    slack: SimSlack,
    decorator: Decorator,
    hand: ManualClock,
    clock: Clock,
}

impl Bench {
    async fn new(pacing: Pacing) -> Bench {
        let (clock, hand) = Clock::manual(Clock::system().now());
        let store = StoreLab::sqlite().await;
        let slack = lab::slack("http://127.0.0.1:9", &Clock::system(), &Ids::system()).await;
        let decorator = decorator(&store, &slack, pacing, &clock);
        Bench { store, slack, decorator, hand, clock }
    }

    /// A message that asked for a run, and the run.
    async fn asked(&self) -> (String, i64) {
        let ts = self.slack.say("alice", CHANNEL, "@boardhand run socA build-1").await.ts.expect("a message");
        let origin = Place { platform: Platform::Slack, channel: "C0SOCCI".into(), thread: None };
        let message = Some(ts.clone());
        let run = NewRun { message, origin, created_at: self.clock.now(), ..self.store.new_run() };
        let committed = self.store.commit(Effect::Start(vec![run])).await;
        (ts, number(&committed.answer))
    }

    async fn end(&self, run: i64) {
        let cancelled = outcome(Verdict::Cancelled, "cancelled");
        let ended =
            self.store.store.run_withdraw(run, &cancelled, &note("run-cancelled"), self.clock.now()).await;
        assert!(ended.expect("it ends"));
    }

    async fn step(&mut self) {
        self.decorator.step().await.expect("a step");
    }

    fn shown(&self, ts: &str) -> Vec<String> {
        self.slack.reactions(CHANNEL, ts)
    }

    /// How many messages may have something to be done about them still.
    async fn due(&self) -> usize {
        self.store.store.badge_due(Platform::Slack, 100).await.expect("due").len()
    }
}

fn decorator(store: &StoreLab, slack: &SimSlack, pacing: Pacing, clock: &Clock) -> Decorator {
    let client: Arc<dyn ChatApi> = Arc::new(lab::slack_parts(slack, pacing).client);
    Decorator::new(store.store.clone(), BTreeMap::from([(Platform::Slack, (client, pacing))]), clock.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_have_arrived_is_done_again_and_changes_nothing() {
    let mut bench = Bench::new(Pacing::NONE).await;
    let (ts, run) = bench.asked().await;
    bench.slack.break_calls("reactions.add", ApiFault::AcceptThen500, 1);
    bench.step().await;
    assert_eq!(bench.shown(&ts), ["eyes"]);
    // Nobody asks Slack again at once.
    bench.step().await;
    assert_eq!(bench.slack.calls("reactions.add"), 1);
    bench.hand.advance(AGAIN_AFTER);
    bench.step().await;
    assert_eq!((bench.shown(&ts).len(), bench.due().await), (1, 0));
    bench.end(run).await;
    bench.slack.break_calls("reactions.remove", ApiFault::AcceptThenDrop, 1);
    bench.step().await;
    bench.step().await;
    assert_eq!(bench.shown(&ts), ["no_entry_sign"]);
    // The process dies here, and another one goes on.
    bench.decorator = decorator(&bench.store, &bench.slack, Pacing::NONE, &bench.clock);
    bench.step().await;
    assert_eq!((bench.shown(&ts).as_slice(), bench.due().await), (&["no_entry_sign".to_owned()][..], 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_holds_back_what_it_names_and_nothing_else() {
    let mut bench = Bench::new(Pacing::NONE).await;
    let ((first, run), (second, _)) = (bench.asked().await, bench.asked().await);
    bench.step().await;
    bench.end(run).await;
    bench.slack.break_calls("reactions.remove", ApiFault::RateLimited(20), 1);
    bench.step().await;
    bench.step().await;
    assert_eq!(bench.shown(&first), ["eyes", "no_entry_sign"], "it waits to be taken off");
    let (third, _) = bench.asked().await;
    bench.step().await;
    assert_eq!(
        (bench.shown(&second), bench.shown(&third)),
        (vec!["eyes".to_owned()], vec!["eyes".to_owned()])
    );
    bench.hand.advance(Duration::from_secs(20));
    bench.step().await;
    assert_eq!(bench.shown(&first), ["no_entry_sign"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_are_paced_and_what_has_ended_goes_first() {
    let mut bench = Bench::new(Pacing::SLACK).await;
    bench.slack.set_rate_limits(true);
    let mut asked = Vec::new();
    for _ in 0..12 {
        asked.push(bench.asked().await);
    }
    bench.step().await;
    let shown = |bench: &Bench| asked.iter().filter(|(ts, _)| !bench.shown(ts).is_empty()).count();
    assert_eq!(shown(&bench), 5, "a few at once");
    let (last, run) = &asked[11];
    bench.end(*run).await;
    bench.hand.advance(Pacing::SLACK.badge_every.0);
    bench.step().await;
    // It was never seen to run, and says so neither.
    assert_eq!((bench.shown(last), shown(&bench)), (vec!["no_entry_sign".to_owned()], 6));
    for _ in 0..6 {
        bench.hand.advance(Pacing::SLACK.badge_every.0);
        bench.step().await;
    }
    assert_eq!((shown(&bench), bench.due().await), (12, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_never_be_shown_is_let_go() {
    let mut bench = Bench::new(Pacing::NONE).await;
    let (gone, _) = bench.asked().await;
    bench.slack.delete(CHANNEL, &gone);
    bench.step().await;
    assert_eq!(bench.due().await, 0, "the message is gone");
    // Without the right, once, and then never again.
    bench.slack.set_scope("reactions:write", false);
    let before = bench.slack.calls("reactions.add");
    for _ in 0..3 {
        bench.asked().await;
    }
    bench.step().await;
    assert_eq!((bench.due().await, bench.slack.calls("reactions.add") - before), (0, 1));
    bench.slack.heal();
    // A platform that is away for a day.
    let mut bench = Bench::new(Pacing::NONE).await;
    bench.asked().await;
    bench.slack.break_calls("reactions.add", ApiFault::Error500, 9);
    bench.step().await;
    assert_eq!(bench.due().await, 1);
    bench.hand.advance(GIVE_UP_AFTER + AGAIN_AFTER);
    bench.step().await;
    assert_eq!(bench.due().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_arrived_unseen_does_not_stay_beside_how_it_ended() {
    let mut bench = Bench::new(Pacing::NONE).await;
    let (ts, run) = bench.asked().await;
    bench.slack.break_calls("reactions.add", ApiFault::AcceptThen500, 1);
    bench.step().await;
    assert_eq!(bench.shown(&ts), ["eyes"]);
    bench.end(run).await;
    bench.hand.advance(AGAIN_AFTER);
    bench.step().await;
    bench.step().await;
    assert_eq!((bench.shown(&ts).as_slice(), bench.due().await), (&["no_entry_sign".to_owned()][..], 0));
}

/// Both platforms.
struct Two {
    bench: Bench,
    feishu: SimFeishu,
}

impl Two {
    async fn new() -> Two {
        let mut bench = Bench::new(Pacing::NONE).await;
        let feishu = lab::feishu(&Clock::system(), &Ids::system()).await;
        let apis = lab::apis(&bench.slack, &feishu).into_iter();
        let apis = apis.map(|(platform, api)| (platform, (api, Pacing::NONE))).collect();
        bench.decorator = Decorator::new(bench.store.store.clone(), apis, bench.clock.clone());
        Two { bench, feishu }
    }

    /// A message in Feishu that asked for a run, and the run.
    async fn asked(&self) -> (String, i64) {
        self.feishu.say("ou_li", "oc_lab", "run socA build-1").await;
        let id = self.feishu.messages("oc_lab").last().expect("a message").id.clone();
        let origin = Place { platform: Platform::Feishu, channel: "oc_lab".into(), thread: None };
        let message = Some(id.clone());
        let run =
            NewRun { message, origin, created_at: self.bench.clock.now(), ..self.bench.store.new_run() };
        let committed = self.bench.store.commit(Effect::Start(vec![run])).await;
        (id, number(&committed.answer))
    }

    fn shown(&self, id: &str) -> Vec<String> {
        let messages = self.feishu.messages("oc_lab");
        let message = messages.iter().find(|message| message.id == id).expect("a message");
        message.emojis().into_iter().map(str::to_owned).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_feishu_what_arrived_unseen_is_found_where_it_may_be_looked_for() {
    let mut two = Two::new().await;
    let (id, run) = two.asked().await;
    two.feishu.fault(Call::React, Fault::DoneThen500);
    two.bench.step().await;
    assert_eq!(two.shown(&id), ["OnIt"]);
    // Put there again, there are two, of which one is known.
    two.bench.hand.advance(AGAIN_AFTER);
    two.bench.step().await;
    assert_eq!(two.shown(&id), ["OnIt", "OnIt"]);
    two.bench.end(run).await;
    two.bench.step().await;
    two.bench.step().await;
    assert_eq!(two.shown(&id), ["No"]);
    // Without the right to look, what is known goes.
    let (id, run) = two.asked().await;
    two.bench.step().await;
    two.bench.end(run).await;
    two.feishu.fault(Call::Reactions, Fault::Code(99_991_672));
    two.bench.step().await;
    two.bench.step().await;
    assert_eq!(two.shown(&id), ["No"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_that_is_away_holds_back_no_other_however_much_it_owes() {
    let mut two = Two::new().await;
    two.bench.slack.break_calls("reactions.add", ApiFault::Error500, u32::MAX);
    for _ in 0..70 {
        let (_, run) = two.bench.asked().await;
        two.bench.end(run).await;
    }
    let (id, run) = two.asked().await;
    two.bench.end(run).await;
    two.bench.step().await;
    assert_eq!(two.shown(&id), ["No"]);
}
