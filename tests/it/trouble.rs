//! Trouble inside the server: runners, errands and loops that die, a store that ends, boards that do not come to rest
//! while it stops; and what is told of tests while they still run.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use boardhand::app::{App, Parts};
use boardhand::artifact::Artifacts;
use boardhand::board::LiveInventory;
use boardhand::board::plan::PowerAction;
use boardhand::chat::{AnswerVia, ChatApi, Found, Place, Platform, Post, SendResult};
use boardhand::clock::{Clock, Timestamp};
use boardhand::config::Retention;
use boardhand::doorbell::Doorbell;
use boardhand::id::{Ids, InstanceId, MessageId};
use boardhand::lease::Holder;
use boardhand::lease::scheduler::{Scheduler, SharedQueue};
use boardhand::message::Card;
use boardhand::message::compose::{Composer, WhyWaiting};
use boardhand::message::links::Links;
use boardhand::message::pace::Pacing;
use boardhand::message::relay::Relay;
use boardhand::message::template::Catalogue;
use boardhand::message::waiting::Explainer;
use boardhand::outcome::Verdict;
use boardhand::outcome::redact::Redactor;
use boardhand::power::Power;
use boardhand::run::{Decision, Run, RunState};
use boardhand::sim::{SimLab, Speed};
use boardhand::store::sql::{SqlStore, SqliteOptions};
use boardhand::store::{Effect, Granted, Intake, OwedKind};
use boardhand::worker::bench::Bench;
use boardhand::worker::errands::Errands;
use boardhand::worker::housekeeper::{Housekeeper, ROUND_EVERY};
use boardhand::worker::local::Local;
use boardhand::worker::pool::Pool;
use boardhand::worker::runner;
use boardhand::worker::steps::{Agent, Step};
use tokio::sync::watch;

use crate::lab::{self, lab, yaml};
use crate::store::Lab as StoreLab;
use crate::store::lab::{at, outcome, via};

/// A part that panics whenever it is used for the first run, as a bug would.
struct Bug;

impl WhyWaiting for Bug {
    fn why_waiting(&self, run: &Run) -> serde_json::Value {
        assert!(run.number != 1, "a bug, made for this test");
        serde_json::Value::Null
    }
}

fn buggy_composer() -> Arc<Composer> {
    let links = Links::new("http://lab", [7; 32]);
    let inventory = LiveInventory::new(lab::inventory(&yaml::small(1)));
    Arc::new(Composer::new(Catalogue::builtin(), links, Clock::system(), inventory, Arc::new(Bug)))
}

/// A platform that takes everything and remembers what was posted.
#[derive(Default)]
struct Posts(Mutex<Vec<String>>);

#[async_trait::async_trait]
impl ChatApi for Posts {
    async fn post(&self, post: Post<'_>) -> SendResult {
        let mut posts = self.0.lock().expect("posts");
        posts.push(post.card.summary.clone());
        SendResult::Sent(posts.len().to_string())
    }
    async fn edit(&self, _place: &Place, message: &str, _card: &Card) -> SendResult {
        SendResult::Sent(message.to_owned())
    }
    async fn find(&self, _place: &Place, _key: &str, _since: Timestamp) -> Found {
        Found::Absent
    }
    async fn answer(&self, _via: &AnswerVia, _card: &Card) -> SendResult {
        SendResult::Sent(String::new())
    }
    async fn answer_in_channel(&self, _via: &AnswerVia, _card: &Card) -> SendResult {
        SendResult::Sent(String::new())
    }
}

fn relay(store: &StoreLab, posts: &Arc<Posts>, pacing: Pacing) -> Relay {
    let api: Arc<dyn ChatApi> = posts.clone();
    let apis = [(Platform::Slack, (api, pacing))].into();
    Relay::new(store.store.clone(), apis, buggy_composer(), Clock::system(), Doorbell::default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_a_board_prints_is_not_in_the_log_that_the_card_links() {
    let print = "run: 'echo TOKEN=hunter2-hunter2 and more && /tmp/t";
    lab(&yaml::small(1).replace("run: '/tmp/t", print), async |lab| {
        let run = lab.run("alice", "/run-test socA build-1").await;
        lab.verdict(run).await;
        lab.settle().await;
        let log = lab.get(&lab.link(run, "/runs/1/log/1")).await;
        assert!(log.contains("TOKEN=[redacted] and more") && !log.contains("hunter2"), "{log}");
        lab.read_all();
    })
    .await;
}

#[tokio::test]
async fn a_card_that_cannot_be_made_does_not_hold_up_its_channel() {
    let store = StoreLab::sqlite().await;
    for _ in 0..3 {
        store.waiting().await;
    }
    let posts = Arc::new(Posts::default());
    let mut relay = relay(&store, &posts, Pacing::NONE);
    step_until(&mut relay, async || posts.0.lock().expect("posts").len() == 2).await;
    let posts = posts.0.lock().expect("posts").join(" ");
    assert!(posts.contains("#2 ") && posts.contains("#3 ") && !posts.contains("#1 "), "{posts}");
}

#[tokio::test]
async fn what_the_pace_of_a_channel_holds_back_costs_nothing_until_its_turn() {
    let store = StoreLab::sqlite().await;
    for _ in 0..20 {
        store.waiting().await;
    }
    let posts = Arc::new(Posts::default());
    let pacing = Pacing { post_every: Duration::from_secs(60), post_burst: 3, ..Pacing::NONE };
    let mut relay = relay(&store, &posts, pacing);
    // The card of the first run cannot be made.
    step_until(&mut relay, async || posts.0.lock().expect("posts").len() >= 2).await;
    let data = store.dir.as_ref().expect("a directory").path();
    let rows = async || {
        lab::look::rows(data, "SELECT id, due_at, tries FROM cards WHERE message IS NULL AND run > 1").await
    };
    let mut looks = 0;
    step_until(&mut relay, async || {
        looks += 1;
        looks > 20
    })
    .await;
    let before = rows().await;
    step_until(&mut relay, async || {
        looks += 1;
        looks > 60
    })
    .await;
    assert_eq!(rows().await, before, "nothing is written for those that wait");
    assert!(posts.0.lock().expect("posts").len() <= 3);
    let census = store.store.census().await.expect("census");
    assert!(census.owed >= 17, "none is lost: {census:?}");
}

/// A clock that panics whenever it is read: its lock was held by somebody who died.
fn broken_clock() -> Clock {
    let (clock, hand) = Clock::manual(at(0));
    hand.advance(Duration::MAX);
    let overflow = std::panic::AssertUnwindSafe(|| hand.advance(Duration::MAX));
    assert!(std::panic::catch_unwind(overflow).is_err());
    clock
}

/// A worker over the store, whose composer and switchboard have a bug.
fn buggy(store: &StoreLab, text: &str) -> Arc<runner::Lab> {
    let clock = Clock::system();
    Arc::new(runner::Lab::new(
        Local {
            store: store.store.clone(),
            composer: buggy_composer(),
            redactor: Arc::default(),
            links: Links::new("http://lab", [7; 32]),
            clock: clock.clone(),
            instance: store.instance,
        },
        |desk| Bench {
            desk,
            inventory: LiveInventory::new(lab::inventory(text)),
            power: Power::new(broken_clock()),
            doorbell: Doorbell::default(),
            ids: Ids::system(),
            transcripts: std::env::temp_dir().join("boardhand-no-transcripts"),
            artifacts: Artifacts::folder(std::env::temp_dir().join("boardhand-no-artifacts")),
            redactor: Arc::new(Redactor::default()),
            clock: clock.clone(),
            occupied: Default::default(),
            console_bytes: Default::default(),
            programs: true,
        },
    ))
}

/// Steps an agent until `done`, as its driver would.
async fn step_until(agent: &mut impl Agent, mut done: impl AsyncFnMut() -> bool) {
    let clock = Clock::system();
    let steps = async {
        while !done().await {
            assert!(matches!(agent.step().await.expect("a step"), Step::Idle { .. } | Step::Worked));
            clock.sleep(Duration::from_millis(5)).await;
        }
    };
    clock.timeout(lab::WITHIN, steps).await.expect("it is done in time");
}

#[tokio::test]
async fn a_runner_that_dies_frees_its_board_and_its_run_waits_again() {
    let store = StoreLab::sqlite().await;
    let [board] = store.boards().await;
    let (number, ..) = store.running(&board).await;
    let (_open, closing) = watch::channel(false);
    let mut pool = Pool::new(buggy(&store, &yaml::small(1)).bench.clone(), closing);
    step_until(&mut pool, async || store.store.lease_list().await.expect("leases").is_empty()).await;
    let view = store.view(number).await;
    assert!(matches!(view.run.state, RunState::Queued { attempt: 2, .. }), "{:?}", view.run.state);
    assert_eq!(view.attempts[0].outcome.as_ref().map(|o| o.cause.as_str()), Some("worker-lost"));
    let grant = store.grant(view.run.id, 2, &board);
    let granted = store.store.lease_grant(&[grant], &store.terms()).await.expect("grant");
    let [Granted::Leases(leases)] = granted.as_slice() else { panic!("{granted:?}") };
    assert!(leases[0].needs_fence, "nobody knows how the board was left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_whose_lease_is_gone_leaves_none_of_its_boards_held() {
    lab(&boards(2), async |lab| {
        let run = lab.run("alice", "/run-test socA build-123 suite=gone boards=2").await;
        lab.until_state(run, "testing").await;
        // Somebody took the lease of the board that the plan drives, and forgot the other one.
        lab.tamper(
            "UPDATE leases SET state = 'lapsed', ended_at = granted_at WHERE id = (SELECT lease FROM runs WHERE number = 1)",
        )
        .await;
        lab.until(run, "on its second attempt", |view| view.attempts.len() == 2).await;
        assert_eq!(lab.verdict(run).await, "passed in testing after infra worker-lost");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test]
async fn an_errand_that_dies_frees_its_board_and_is_answered() {
    let store = StoreLab::sqlite().await;
    let [board] = store.boards().await;
    let id = MessageId::new(&store.ids, at(0));
    let action = PowerAction::Cycle;
    let effect = Effect::Errand { id, board: board.clone(), action, via: via(), over: None, once: None };
    let asked = Intake { received_at: Clock::system().now(), ..store.intake(effect) };
    store.store.commit(asked).await.expect("commit");
    let worker = buggy(&store, &yaml::small(1).replace("soc-a-001", board.as_str()));
    let mut errands = Errands::new(worker, store.instance);
    step_until(&mut errands, async || store.store.errand_due(1).await.expect("errands").is_empty()).await;
    assert!(store.store.lease_list().await.expect("leases").is_empty());
    let owed = store.store.message_due(Clock::system().now(), 10).await.expect("messages");
    assert!(
        matches!(&owed[..], [owed] if matches!(&owed.kind, OwedKind::Answer { note, .. } if note.template == "power-refused")),
        "{owed:?}"
    );
}

#[tokio::test]
async fn an_errand_that_a_killed_server_had_begun_is_answered_and_not_done_again() {
    let store = StoreLab::sqlite().await;
    let [board] = store.boards().await;
    let (clock, dir) = (Clock::system(), tempfile::tempdir().expect("a folder"));
    let switched = dir.path().join("switched");
    let touch = format!("['touch', '{}']", switched.display());
    let power = format!("{{driver: command, on: {touch}, off: {touch}, off_for: 1ms}}");
    let text = yaml::small(1).replace("soc-a-001", board.as_str());
    let text = text.replace("{driver: simulated, off_for: 50ms, rest: off}", &power);
    let lab = runner::Lab::new(
        Local {
            store: store.store.clone(),
            composer: buggy_composer(),
            redactor: Arc::default(),
            links: Links::new("http://lab", [7; 32]),
            clock: clock.clone(),
            instance: store.instance,
        },
        |desk| Bench {
            desk,
            inventory: LiveInventory::new(lab::inventory(&text)),
            power: Power::new(clock.clone()),
            doorbell: Doorbell::default(),
            ids: Ids::system(),
            transcripts: dir.path().join("transcripts"),
            artifacts: Artifacts::folder(dir.path().join("artifacts")),
            redactor: Arc::new(Redactor::default()),
            clock: clock.clone(),
            occupied: Default::default(),
            console_bytes: Default::default(),
            programs: true,
        },
    );
    let lab = Arc::new(lab);
    for killed in [true, false] {
        let id = MessageId::new(&lab.ids, clock.now());
        let effect = Effect::Errand {
            id,
            board: board.clone(),
            action: PowerAction::Cycle,
            via: via(),
            over: None,
            once: None,
        };
        store
            .store
            .commit(Intake { received_at: clock.now(), ..store.intake(effect) })
            .await
            .expect("commit");
        let [errand] = &store.store.errand_due(1).await.expect("errands")[..] else { panic!("one errand") };
        assert!(!errand.begun);
        let instance = InstanceId::new(&lab.ids, clock.now());
        if killed {
            let holder = Holder::Check(errand.by.clone());
            let taken = store.store.lease_take(errand.lease(), &board, &holder, &store.terms()).await;
            assert!(matches!(taken, Ok(Granted::Leases(_))), "{taken:?}");
            store.store.lease_takeover(instance, clock.now()).await.expect("a take-over");
        }
        let mut errands = Errands::new(lab.clone(), instance);
        step_until(&mut errands, async || store.store.errand_due(1).await.expect("errands").is_empty()).await;
        errands.drain(lab::WITHIN).await;
        assert_eq!(switched.exists(), !killed);
        let owed = store.store.message_due(clock.now(), 10).await.expect("messages");
        let said: Vec<&str> = owed
            .iter()
            .filter_map(|owed| match &owed.kind {
                OwedKind::Answer { note, .. } => Some(note.template.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(said.last(), Some(if killed { &"power-refused" } else { &"power-done" }), "{owed:?}");
    }
}

#[tokio::test]
async fn a_server_whose_store_has_ended_ends_with_an_error() {
    let (clock, ids) = (Clock::system(), Ids::system());
    let data = tempfile::tempdir().expect("a data folder");
    let store = Arc::new(SqlStore::open(data.path(), SqliteOptions::new(ids.clone())).await.expect("store"));
    let app = App::new(Parts {
        store: store.clone(),
        inventory: Arc::new(lab::inventory(&yaml::small(1))),
        catalogue: Catalogue::builtin(),
        api_tokens: boardhand::chat::token::Tokens::default(),
        jenkins: None,
        feishu: None,
        slack: None,
        clock: clock.clone(),
        ids,
        public_url: "http://lab".into(),
        transcripts: data.path().join("transcripts"),
        artifacts: Artifacts::folder(data.path().join("artifacts")),
        board_url: None,
        proxies: Default::default(),
        rates: Default::default(),
    })
    .await
    .expect("app");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let server = tokio::spawn(app.serve(listener, std::future::pending()));
    store.close().await;
    let ended = clock.timeout(lab::WITHIN, server).await.expect("it ends").expect("no panic");
    assert!(ended.is_err_and(|error| error.to_string().contains("the store takes no writes")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_on_two_boards_leases_both_and_gives_both_back() {
    lab(&boards(3), async |lab| {
        // Ids of leases are random within a millisecond: which board comes first is a matter of luck.
        for run in 1..=6 {
            lab.say("alice", "/run-test socA build-123 suite=short boards=2").await;
            lab.until_card(run, "passed").await;
        }
        lab.settle().await;
        for run in 1..=6 {
            let view = lab.store.run_view(run).await.expect("view").expect("a run");
            assert_eq!(view.attempts.len(), 1, "#{run} passed at once");
        }
        // Card, thread and `/lab run` name both.
        let view = lab.view(1).await;
        let attempt = &view.attempts[0];
        let both = format!("`{}`, `{}`", attempt.board, attempt.others[0]);
        let (story, shown) = (lab.thread(1), lab.say("alice", "/lab run 1").await);
        assert!(
            story.contains(&format!("*Board* {both}")) && story.contains(&format!(" on {both} in")),
            "{story}"
        );
        assert!(shown.contains(&both), "{shown}");
        let boards = lab.store.board_list().await.expect("boards");
        assert!(boards.iter().all(|row| row.lease.is_none() && row.reason.is_empty()), "{boards:?}");
        for name in ["soc-a-001", "soc-a-002", "soc-a-003"] {
            assert!(!lab.boards.board(name).expect("a board").is_on(), "{name} is at rest");
        }
        lab.read_all();
    })
    .await;
}

/// Plans: a short one, and one whose first test fails at once and whose second one takes a while (`sleep` is a hundred
/// times faster here).
const PLANS: &str = "
  short:
    limits: {total: 60s, no_output: 30s}
    boot: [{power: cycle}, {login: {within: 20s}}]
    test:
      - {name: uname, run: 'uname -a', within: 5s}
  gone:
    limits: {total: 60s, no_output: 30s}
    boot: [{power: cycle}, {login: {within: 20s}}]
    test:
      - {name: late, run: 'sleep 100', within: 30s}
  long:
    limits: {total: 60s, no_output: 30s}
    boot: [{power: cycle}, {login: {within: 20s}}]
    test:
      - {name: early, run: 'echo it broke; false', within: 5s}
      - {name: late, run: 'sleep 1500', within: 30s}
";

fn boards(n: usize) -> String {
    let suites = "trivial: trivial, short: short, long: long, gone: gone}";
    let text = yaml::small(n).replace("trivial: trivial}", suites);
    text.replace("plans:\n", &format!("plans:{PLANS}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_thread_hears_of_the_first_failure_while_the_tests_still_run() {
    lab(&boards(1), async |lab| {
        lab.say("alice", "/run-test socA build-123 suite=long").await;
        let heard = lab.slack.until(
            |world| {
                let messages = world.channels.values().flat_map(|channel| &channel.messages);
                messages.into_iter().any(|message| message.text.contains("first failure, early"))
            },
            lab::WITHIN,
        );
        assert!(heard.await.is_ok());
        let view = lab.store.run_view(1).await.expect("view").expect("a run");
        assert!(matches!(view.run.state, RunState::Active { .. }), "{:?}", view.run.state);
        lab.say("alice", "/lab cancel 1").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_stopped_hands_its_run_back_and_leaves_its_board_at_rest() {
    lab(&boards(1), async |lab| {
        lab.say("alice", "/run-test socA build-123 suite=long").await;
        lab.until_card(1, "1 failed").await;
        let asked = lab.clock.monotonic();
        lab.stop().await;
        let took = lab.clock.monotonic().since(asked);
        assert!(took < Duration::from_secs(15), "stopping took {took:?}");
        let view = lab.store.run_view(1).await.expect("view").expect("a run");
        assert!(matches!(view.run.state, RunState::Queued { attempt: 2, .. }), "{:?}", view.run.state);
        assert!(lab.store.lease_list().await.expect("leases").is_empty());
        assert!(!lab.boards.board("soc-a-001").expect("a board").is_on());
        assert_eq!(lab.store.census().await.expect("census").owed, 0, "the thread heard of it");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_that_does_not_come_to_rest_does_not_keep_the_server_from_stopping() {
    let store = StoreLab::sqlite().await;
    let [board] = store.boards().await;
    let (number, ..) = store.running(&board).await;
    let text = boards(1).replace("soc-a-001", board.as_str());
    let (clock, ids) = (Clock::system(), Ids::system());
    let started = SimLab::start(&lab::inventory(&text), Speed::Fast, clock.clone(), ids.clone()).await;
    let (boards, inventory) = started.expect("simulated lab");
    boards.pdus().for_each(|(_, pdu)| pdu.set_faults(|faults| faults.silent = true));
    let data = tempfile::tempdir().expect("a data folder");
    let queue = SharedQueue::new(&inventory);
    let why = Arc::new(Explainer::new(queue, clock.clone()));
    let links = Links::new("http://lab", [7; 32]);
    let inventory = LiveInventory::new(inventory);
    let composer = Composer::new(Catalogue::builtin(), links, clock.clone(), inventory.clone(), why);
    let worker = Arc::new(runner::Lab::new(
        Local {
            store: store.store.clone(),
            composer: Arc::new(composer),
            redactor: Arc::default(),
            links: Links::new("http://lab", [7; 32]),
            clock: clock.clone(),
            instance: store.instance,
        },
        |desk| Bench {
            desk,
            inventory,
            power: Power::new(clock.clone()),
            doorbell: Doorbell::default(),
            ids: ids.clone(),
            transcripts: data.path().to_owned(),
            artifacts: Artifacts::folder(data.path().join("artifacts")),
            redactor: Arc::new(Redactor::default()),
            clock: clock.clone(),
            occupied: Default::default(),
            console_bytes: Default::default(),
            programs: true,
        },
    ));
    let (_open, closing) = watch::channel(false);
    let mut pool = Pool::new(worker.bench.clone(), closing);
    let powering = async || store.view(number).await.run.state.word() == "powering";
    step_until(&mut pool, powering).await;
    let drained = pool.drain(Duration::from_millis(10), Duration::from_millis(500));
    clock.timeout(Duration::from_secs(5), drained).await.expect("it does not wait for the PDU");
    // The run was handed back all the same; the next start takes the board, fenced.
    assert!(matches!(store.view(number).await.run.state, RunState::Queued { attempt: 2, .. }));
    let next = InstanceId::new(&ids, clock.now());
    let lapsed = store.store.lease_takeover(next, clock.now()).await.expect("takeover");
    assert!(matches!(&lapsed[..], [lapsed] if !lapsed.requeued), "{lapsed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_cancelled_keeps_the_results_it_had() {
    lab(&boards(1), async |lab| {
        lab.say("alice", "/run-test socA build-123 suite=long").await;
        lab.until_card(1, "1 failed").await;
        lab.say("alice", "/lab cancel 1").await;
        lab.settle().await;
        let view = lab.store.run_view(1).await.expect("view").expect("a run");
        let RunState::Finished { outcome, .. } = &view.run.state else { panic!("{:?}", view.run.state) };
        assert_eq!((outcome.verdict, outcome.counts.failed), (Verdict::Cancelled, 1));
        assert_eq!(outcome.cases.first().map(|case| case.name.as_str()), Some("early"));
        lab.read_all();
    })
    .await;
}

#[tokio::test]
async fn a_board_that_was_granted_as_the_server_stopped_costs_its_run_no_attempt() {
    let store = StoreLab::sqlite().await;
    let [board] = store.boards().await;
    let (number, ..) = store.running(&board).await;
    let (_closed, closing) = watch::channel(true);
    let mut pool = Pool::new(buggy(&store, &yaml::small(1)).bench.clone(), closing);
    assert!(matches!(pool.step().await.expect("a step"), Step::Idle { .. }));
    pool.drain(Duration::from_secs(1), Duration::from_secs(1)).await;
    let view = store.view(number).await;
    assert!(matches!(view.run.state, RunState::Queued { attempt: 1, .. }), "{:?}", view.run.state);
    assert!(view.attempts.is_empty() && store.store.lease_list().await.expect("leases").is_empty());
}

#[tokio::test]
async fn a_run_whose_boards_left_the_lab_ends_at_the_next_start_and_is_told_why() {
    let store = StoreLab::sqlite().await;
    let (number, _) = store.waiting().await;
    let app = App::new(Parts {
        store: store.store.clone(),
        inventory: Arc::new(lab::inventory(&yaml::small(1).replace("socA", "socC"))),
        catalogue: Catalogue::builtin(),
        api_tokens: boardhand::chat::token::Tokens::default(),
        jenkins: None,
        feishu: None,
        slack: None,
        clock: Clock::system(),
        ids: Ids::system(),
        public_url: "http://lab".into(),
        transcripts: std::env::temp_dir().join("boardhand-no-transcripts"),
        artifacts: Artifacts::folder(std::env::temp_dir().join("boardhand-no-artifacts")),
        board_url: None,
        proxies: Default::default(),
        rates: Default::default(),
    });
    app.await.expect("app");
    let RunState::Finished { outcome, .. } = store.view(number).await.run.state else {
        panic!("it waits on")
    };
    assert_eq!((outcome.verdict, outcome.cause.as_str()), (Verdict::Infra, "not-in-lab"));
    assert_eq!(outcome.detail, "its family socA is not in boards.yaml any more");
    let posts = Arc::new(Posts::default());
    let api: Arc<dyn ChatApi> = posts.clone();
    let inventory = LiveInventory::new(lab::inventory(&yaml::small(1)));
    let queue = SharedQueue::new(&inventory.now());
    let why = Arc::new(Explainer::new(queue, Clock::system()));
    let links = Links::new("http://lab", [7; 32]);
    let composer = Composer::new(Catalogue::builtin(), links, Clock::system(), inventory, why);
    let apis = [(Platform::Slack, (api, Pacing::NONE))].into();
    let mut relay =
        Relay::new(store.store.clone(), apis, Arc::new(composer), Clock::system(), Doorbell::default());
    step_until(&mut relay, async || posts.0.lock().expect("posts").len() == 2).await;
    assert_eq!(posts.0.lock().expect("posts")[1], "#1 Lab trouble");
}

#[tokio::test]
async fn housekeeping_removes_old_transcripts_and_rows_of_finished_runs_only() {
    let store = StoreLab::sqlite().await;
    let [board, other] = store.boards().await;
    let (_, id, lease) = store.running(&board).await;
    store.settled(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish).await;
    store.running(&other).await;
    let root = tempfile::tempdir().expect("a folder");
    for run in ["1", "2", "notes"] {
        std::fs::create_dir_all(root.path().join(run).join("1")).expect("a folder");
        std::fs::write(root.path().join(run).join("1/console.raw"), "bytes").expect("a file");
    }
    let inventory = lab::inventory(&yaml::small(1));
    let queue = SharedQueue::new(&inventory);
    // Eight days from now.
    let (clock, hand) = Clock::manual(Clock::system().now() + Duration::from_secs(8 * 24 * 3600));
    let ids = Ids::system();
    let (doorbell, instance) = (Doorbell::default(), InstanceId::new(&ids, clock.now()));
    let inventory = LiveInventory::new(inventory);
    let (dir, artifacts) =
        artifacts_used_at([("build-123/t", None), ("build-old/t", None), ("build-new/t", Some(clock.now()))]);
    let live = inventory.clone();
    // What the scheduler has read is nobody's any more.
    let mut scheduler =
        Scheduler::new(store.store.clone(), queue.clone(), inventory, clock.clone(), ids, doorbell, instance);
    scheduler.step().await.expect("a step");
    let mut housekeeper = Housekeeper::new(store.store.clone(), queue, clock, root.path().to_owned())
        .with_artifacts(artifacts.clone(), live);
    step_until(&mut housekeeper, async || !root.path().join("1").exists()).await;
    assert!(root.path().join("2/1/console.raw").exists() && root.path().join("notes").exists());
    assert!(store.store.run_view(1).await.expect("view").is_some(), "the run itself stays");

    // The build of the run that goes on stays, however old it is, and so does what was just put there.
    step_until(&mut housekeeper, async || !dir.path().join("build-old").exists()).await;
    let mut left: Vec<String> = artifacts.stored().await.into_iter().map(|file| file.name).collect();
    left.sort();
    assert_eq!(left, ["build-123/t", "build-new/t"]);
    assert_eq!(artifacts.trouble(), None);
    let small = Retention { disk_bytes: 0, ..Retention::default() };
    housekeeper.keep(small);
    hand.advance(ROUND_EVERY);
    step_until(&mut housekeeper, async || artifacts.trouble().is_some()).await;
    let told = artifacts.trouble().expect("something");
    assert!(told.contains("more than MAX_DISK_USAGE_GB=0, and all that is left is needed by runs"), "{told}");
}

/// Artifacts that somebody used at these times, or never since they were made.
fn artifacts_used_at<const N: usize>(
    files: [(&str, Option<Timestamp>); N],
) -> (tempfile::TempDir, Artifacts) {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, used) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, "bytes").expect("a file");
        if let Some(used) = used {
            let used = std::time::SystemTime::UNIX_EPOCH + Duration::from_micros(used.as_micros() as u64);
            let file = std::fs::File::open(path).expect("a file");
            file.set_times(std::fs::FileTimes::new().set_accessed(used)).expect("its times");
        }
    }
    let artifacts = Artifacts::folder(dir.path());
    (dir, artifacts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_board_of_a_run_that_nobody_released_is_power_cycled_before_its_plan_begins() {
    lab(&boards(2), async |lab| {
        lab.tamper("UPDATE boards SET needs_fence = 1").await;
        let run = lab.run("alice", "/run-test socA build-123 suite=short boards=2").await;
        assert_eq!(lab.verdict(run).await, "passed in testing");
        lab.settle().await;
        let partner = &lab.view(run).await.attempts[0].others[0];
        let outlet = partner.as_str().trim_start_matches("soc-a-00").to_owned();
        let log = lab.boards.pdu("pdu-a").expect("a PDU").log();
        let switched: Vec<bool> =
            log.iter().filter(|switch| switch.outlet == outlet).map(|switch| switch.on).collect();
        assert_eq!(switched, [false, true, false], "fenced, then at rest");
        let fenced = "SELECT needs_fence FROM boards WHERE id LIKE 'soc-a-%' ORDER BY id";
        assert_eq!(lab.rows(fenced).await, ["0", "0"]);
        lab.read_all();
    })
    .await;
}

/// Boards without a switch, each with a plan of a login and a command.
fn switchless() -> String {
    let board = "  - {board_id: b-1, soc_family: socX, board_ip: 10.0.0.1, lab_location: Lab, telnet_username: root, telnet_password: root}";
    format!(
        "boards:\n{board}\nfamilies:\n  socX: {{suites: {{smoke: quick}}, default_suite: smoke}}\nplans:\n  quick:\n    \
         limits: {{total: 28s, no_output: 20s}}\n    retry: {{infra: 0}}\n    boot: [{{login: {{within: 20s}}}}]\n    \
         test: [{{run: uname -a, within: 5s}}]\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_console_that_is_still_held_for_a_server_that_died_is_waited_for() {
    lab(&switchless(), async |lab| {
        lab.tamper("UPDATE boards SET needs_fence = 1").await;
        let board = lab.boards.board("b-1").expect("a board").clone();
        board.set_faults(|faults| faults.busy = Some("Port already in use".into()));
        let run = lab.run("alice", "/run-test socX build-1").await;
        // Longer than a console may be busy at any other time.
        lab.clock.sleep(Duration::from_secs(9)).await;
        board.set_faults(|faults| faults.busy = None);
        assert_eq!(lab.verdict(run).await, "passed in testing");
        lab.settle().await;
        assert_eq!(lab.rows("SELECT health, needs_fence FROM boards").await, ["good | 0"]);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_without_a_switch_that_cannot_be_taken_over_leaves_service() {
    lab(&switchless(), async |lab| {
        lab.tamper("UPDATE boards SET needs_fence = 1").await;
        lab.boards.board("b-1").expect("a board").set_faults(|faults| faults.silent = true);
        let run = lab.run("alice", "/run-test socX build-1").await;
        assert_eq!(lab.verdict(run).await, "infra boot-silent in powering");
        lab.settle().await;
        let board = lab.rows("SELECT health, needs_fence, reason FROM boards").await.join("");
        let why = "quarantined | 1 | it could not be taken over: the console stayed silent for ";
        assert!(board.starts_with(why) && board.ends_with(", in #1"), "{board}");
        lab.read_all();
    })
    .await;
}
