//! The timekeeper with a clock of the test's own, and what outcomes make of a board, in the store.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use boardhand::artifact::Artifacts;
use boardhand::board::health::{RECENT_MAX, checks_max};
use boardhand::board::{BoardId, Inventory, LiveInventory};
use boardhand::chat::AnswerVia;
use boardhand::clock::{Clock, ManualClock};
use boardhand::doorbell::Doorbell;
use boardhand::id::{Ids, LeaseId};
use boardhand::lease::Holder;
use boardhand::message::Note;
use boardhand::message::compose::{Composer, WhyWaiting};
use boardhand::message::links::Links;
use boardhand::message::template::Catalogue;
use boardhand::outcome::Verdict;
use boardhand::outcome::redact::Redactor;
use boardhand::power::Power;
use boardhand::run::{Decision, Priority, Run, RunKind};
use boardhand::store::{AtRest, Effect, Granted, Health, OwedKind, RunFilter};
use boardhand::worker::local::Local;
use boardhand::worker::reloader::{LabSource, Reloader};
use boardhand::worker::steps::Agent;
use boardhand::worker::timekeeper::Timekeeper;
use boardhand::worker::{bench, runner};
use serde_json::json;

use crate::lab::{self, yaml};
use crate::store::Lab as StoreLab;
use crate::store::lab::{T0, at, channel, li, outcome};

/// Nobody asks.
struct Nobody;

impl WhyWaiting for Nobody {
    fn why_waiting(&self, _run: &Run) -> serde_json::Value {
        serde_json::Value::Null
    }
}

struct Bench {
    lab: Arc<runner::Lab>,
    store: StoreLab,
    live: LiveInventory,
    keeper: Timekeeper,
    hand: ManualClock,
}

impl Bench {
    async fn new(text: &str) -> Bench {
        let store = StoreLab::sqlite().await;
        let (clock, hand) = Clock::manual(T0);
        let live = LiveInventory::new(lab::inventory(text));
        let boards: Vec<_> = live.now().boards.keys().cloned().collect();
        store.store.board_register(&boards, T0).await.expect("registered");
        let links = Links::new("http://lab", [7; 32]);
        let composer =
            Composer::new(Catalogue::builtin(), links, clock.clone(), live.clone(), Arc::new(Nobody));
        let lab = Arc::new(runner::Lab::new(
            Local {
                store: store.store.clone(),
                composer: Arc::new(composer),
                redactor: Arc::default(),
                links: Links::new("http://lab", [7; 32]),
                clock: clock.clone(),
                instance: store.instance,
            },
            |desk| bench::Bench {
                desk,
                inventory: live.clone(),
                power: Power::new(clock.clone()),
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
        ));
        Bench { keeper: Timekeeper::new(lab.clone()), lab, store, live, hand }
    }

    /// Health runs that are unfinished after a step.
    async fn step(&mut self) -> Vec<Run> {
        self.keeper.step().await.expect("a step");
        let filter = RunFilter { kind: RunKind::Health, limit: 1000, ..RunFilter::default() };
        self.store.store.run_list(&filter).await.expect("runs")
    }

    /// A health run gets its board and passes there.
    async fn pass(&self, run: &Run) -> String {
        let board = run.spec.selector.board.clone().expect("a board");
        let lease = self.store.on_board(run.id, 1, &board).await;
        self.store.settled(&lease, run.id, outcome(Verdict::Passed, ""), Decision::Finish).await;
        let _ = self.store.store.lease_release(&lease, &AtRest::Yes, at(70)).await.expect("released");
        board.to_string()
    }
}

#[tokio::test]
async fn boards_that_were_never_used_are_checked_soon_after_the_start_and_few_at_once() {
    let boards = 12;
    let mut bench = Bench::new(&yaml::checked(boards, "every: 24h")).await;
    let mut checked = BTreeSet::new();
    for _ in 0..60 {
        let runs = bench.step().await;
        assert!(runs.len() <= checks_max(boards));
        for run in &runs {
            assert_eq!((run.spec.kind, run.spec.priority), (RunKind::Health, Priority::Background));
            assert!(checked.insert(bench.pass(run).await), "checked twice within a day");
        }
        bench.hand.advance(Duration::from_secs(10));
    }
    assert_eq!(checked.len(), boards, "{checked:?}");
    bench.hand.advance(Duration::from_secs(23 * 3600));
    assert_eq!(bench.step().await.len(), 0);
    bench.hand.advance(Duration::from_secs(4 * 3600));
    assert_eq!(bench.step().await.len(), checks_max(boards), "a day later, all are due");
}

#[tokio::test]
async fn boards_of_a_remote_site_take_no_check_from_those_that_are_driven_here() {
    let text = yaml::checked(3, "every: 24h").replacen("lab_location: Lab Site A", "lab_location: Far", 1);
    let mut bench = Bench::new(&(text + "sites: {Far: {worker: remote}}\n")).await;
    let mut checked = BTreeSet::new();
    for _ in 0..60 {
        for run in bench.step().await {
            checked.insert(bench.pass(&run).await);
        }
        bench.hand.advance(Duration::from_secs(10));
    }
    assert_eq!(checked.into_iter().collect::<Vec<_>>(), ["soc-a-002", "soc-a-003"]);
}

#[tokio::test]
async fn a_check_that_waits_for_a_board_which_somebody_has_keeps_no_other_from_being_checked() {
    let mut bench = Bench::new(&yaml::checked(3, "every: 1h")).await;
    bench.hand.advance(Duration::from_secs(3600));
    let runs = bench.step().await;
    let [run] = &runs[..] else { panic!("{runs:?}") };
    let board = run.spec.selector.board.clone().expect("a board");
    let (id, holder) = (LeaseId::new(&bench.store.ids, T0), Holder::Person(li()));
    let taken = bench.store.store.lease_take(id, &board, &holder, &bench.store.terms()).await;
    assert!(matches!(taken, Ok(Granted::Leases(_))), "{taken:?}");
    assert_eq!(bench.step().await.len(), 2, "another board is checked meanwhile");
    assert_eq!(bench.step().await.len(), 2, "and no more at once than the family allows");
}

#[tokio::test]
async fn a_check_that_waits_for_a_board_out_of_service_or_out_of_the_lab_is_withdrawn() {
    let mut bench = Bench::new(&yaml::checked(8, "every: 1h")).await;
    bench.hand.advance(Duration::from_secs(3600));
    let runs = bench.step().await;
    let [one, two] = [0, 1].map(|n: usize| runs[n].spec.selector.board.clone().expect("a board"));
    bench.store.commit(Effect::Quarantine { board: one.clone(), reason: "it smokes".into() }).await;
    let mut inventory = lab::inventory(&yaml::checked(8, "every: 1h"));
    inventory.boards.remove(&two);
    bench.live.replace(inventory);
    let after = bench.step().await;
    let waiting: BTreeSet<_> = after.iter().filter_map(|run| run.spec.selector.board.clone()).collect();
    assert!(!waiting.contains(&one) && !waiting.contains(&two) && waiting.len() == 1, "{waiting:?}");
    for run in &runs {
        let view = bench.store.view(run.number).await;
        assert_eq!(view.run.state.verdict(), Some(Verdict::Cancelled));
    }
}

#[tokio::test]
async fn a_board_that_flaps_leaves_service_and_one_message_says_so() {
    let lab = StoreLab::sqlite().await;
    let [board] = lab.boards().await;
    let told = Some((AnswerVia::everybody(channel()), Note::new("board-broken", json!({}))));
    for n in 0..RECENT_MAX {
        let before = &lab.store.board_list().await.expect("boards")[0];
        if before.health == Health::Quarantined {
            break;
        }
        let (_, id, lease) = lab.running(&board).await;
        let ended =
            if n % 2 == 0 { outcome(Verdict::Infra, "boot-silent") } else { outcome(Verdict::Passed, "") };
        let mut settle = lab.settle(&lease, id, ended, Decision::Finish);
        settle.told = told.clone();
        let _ = lab.store.run_settle(&settle).await.expect("settled");
        let _ = lab.store.lease_release(&lease, &AtRest::Yes, at(70)).await.expect("released");
    }
    let row = &lab.store.board_list().await.expect("boards")[0];
    assert_eq!((row.health, row.failures, row.recent.as_str()), (Health::Quarantined, 1, "xoxoxox"));
    let reason =
        "it flaps: it failed 4 of its last 7 runs, in turns with good ones, the last time in #7: boot-silent";
    assert_eq!(row.reason, reason);
    let due = lab.store.message_due(at(100), 1000).await.expect("due");
    let news: Vec<_> = due
        .iter()
        .filter_map(|owed| match &owed.kind {
            OwedKind::Answer { via, note } if via.is_open() => note.facts["reason"].as_str(),
            _ => None,
        })
        .collect();
    assert_eq!(news, [reason]);
}

/// A lab file that has this text, whenever it is read.
struct Text(String);

#[async_trait::async_trait]
impl LabSource for Text {
    async fn read(&self) -> Result<Inventory, String> {
        Ok(lab::inventory(&self.0))
    }
}

#[tokio::test]
async fn a_run_that_comes_back_from_a_board_which_left_is_ended_within_a_minute() {
    let bench = Bench::new(&yaml::small(1)).await;
    let board = BoardId::new("soc-a-001");
    let (number, id, lease) = bench.store.running(&board).await;
    let without = yaml::families(&[("socX", 1, "once")]);
    let mut reloader = Reloader::new(bench.lab.clone(), Arc::new(Text(without)));
    let reloaded = reloader.reload().await.expect("reloaded");
    assert_eq!((reloaded.different.removed.len(), reloaded.ended.len()), (2, 0), "its run is on a board");
    bench.hand.advance(Duration::from_secs(5));
    reloader.step().await.expect("a step");
    let again = Decision::TryAgain { avoid: vec![] };
    bench.store.settled(&lease, id, outcome(Verdict::Infra, "console-lost"), again).await;
    reloader.step().await.expect("a step");
    assert_eq!(bench.store.view(number).await.run.state.word(), "queued");
    bench.hand.advance(Duration::from_secs(60));
    reloader.step().await.expect("a step");
    assert_eq!(bench.store.view(number).await.run.state.verdict(), Some(Verdict::Infra));
}
