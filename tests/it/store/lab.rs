//! A lab for store tests: a store, ids, and short ways to say "a run waits", "it is on a board", "it ended".

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use boardhand::board::{BoardId, Family};
use boardhand::chat::{Actor, AnswerVia, Place, Platform};
use boardhand::clock::Timestamp;
use boardhand::id::{Ids, InstanceId, LeaseId, RunId};
use boardhand::lease::{Holder, Lease};
use boardhand::message::Note;
use boardhand::outcome::{Counts, Outcome, Verdict};
use boardhand::run::{Decision, LeaseRef, Priority, Progress, RunKind, RunSpec, RunState, Selector, Stage};
use boardhand::store::sql::{PostgresOptions, SqlStore, SqliteOptions};
use boardhand::store::{
    Audit, Committed, Effect, Fenced, Grant, Granted, Intake, LeaseTerms, NewRun, RunView, Settle, Store,
};
use serde_json::json;

use crate::lab::look::ELSEWHERE;
use crate::lab::postgres;

/// A store under test.
pub(crate) struct Lab {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ids: Ids,
    pub(crate) instance: InstanceId,
    keys: AtomicI64,
    /// Removed with the lab, where it is the lab's own.
    pub(crate) dir: Option<tempfile::TempDir>,
}

/// When tests begin.
pub(crate) const T0: Timestamp = Timestamp::from_micros(1_760_000_000_000_000);

/// So many seconds after the beginning.
pub(crate) fn at(seconds: u64) -> Timestamp {
    T0 + Duration::from_secs(seconds)
}

impl Lab {
    pub(crate) async fn sqlite() -> Lab {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = SqlStore::open(dir.path(), SqliteOptions::new(Ids::seeded(7))).await.expect("store");
        Lab { dir: Some(dir), ..Lab::over(store) }
    }

    pub(crate) async fn postgres() -> Lab {
        let (dir, url) = (tempfile::tempdir().expect("temporary directory"), postgres::database().await);
        let options = PostgresOptions::new(Ids::seeded(7));
        let store = SqlStore::connect(&postgres::parsed(&url), options).await.expect("store");
        std::fs::write(dir.path().join(ELSEWHERE), url).expect("a note");
        Lab { dir: Some(dir), ..Lab::over(store) }
    }

    pub(crate) fn over(store: SqlStore) -> Lab {
        // Not seeded: a lab over a store that was there before must not make its ids again.
        let ids = Ids::system();
        let instance = InstanceId::new(&ids, T0);
        Lab { store: Arc::new(store), ids, instance, keys: AtomicI64::new(0), dir: None }
    }

    /// A delivery with a key of its own and this effect.
    pub(crate) fn intake(&self, effect: Effect) -> Intake {
        let key = self.keys.fetch_add(1, Ordering::Relaxed);
        Intake {
            key: format!("slack:{}:{key}", self.instance),
            platform: Platform::Slack,
            actor: li(),
            received_at: T0,
            remembered: true,
            effect,
            answer: Note::new("answer", json!({ "said": "by the caller" })),
            instead: vec![],
            answer_via: None,
            shows: None,
            audit: Audit {
                verb: "run".into(),
                target: "socA".into(),
                allowed: true,
                reason: "everybody".into(),
            },
            source: None,
        }
    }

    pub(crate) async fn commit(&self, effect: Effect) -> Committed {
        self.store.commit(self.intake(effect)).await.expect("commit")
    }

    /// A run with one card.
    pub(crate) fn new_run(&self) -> NewRun {
        NewRun {
            id: RunId::new(&self.ids, T0),
            spec: spec(),
            requested_by: li(),
            origin: channel(),
            cards: vec![channel()],
            via: None,
            callback: None,
            created_at: T0,
            retry_of: None,
            once: None,
            avoid: vec![],
            message: None,
        }
    }

    /// A run waits; its number and id.
    pub(crate) async fn waiting(&self) -> (i64, RunId) {
        let run = self.new_run();
        let id = run.id;
        let committed = self.commit(Effect::Start(vec![run])).await;
        (number(&committed.answer), id)
    }

    pub(crate) async fn boards<const N: usize>(&self) -> [BoardId; N] {
        let boards = std::array::from_fn(|i| BoardId::new(format!("soc-a-{i:03}")));
        self.store.board_register(&boards, T0).await.expect("register");
        boards
    }

    pub(crate) fn terms(&self) -> LeaseTerms {
        LeaseTerms { instance: self.instance, now: at(1), expires_at: at(11), drains_seen: None }
    }

    pub(crate) fn grant(&self, run: RunId, attempt: u32, board: &BoardId) -> Grant {
        Grant { run, attempt, leases: vec![(LeaseId::new(&self.ids, T0), board.clone())] }
    }

    /// A board that li has until 7200.
    pub(crate) async fn held(&self, board: &BoardId) -> LeaseRef {
        let id = LeaseId::new(&self.ids, T0);
        let terms = LeaseTerms { expires_at: at(7200), ..self.terms() };
        let taken = self.store.lease_take(id, board, &Holder::Person(li()), &terms).await.expect("take");
        let Granted::Leases(leases) = taken else { panic!("{taken:?}") };
        lease_ref(&leases[0])
    }

    /// Grants a board to a waiting run.
    pub(crate) async fn on_board(&self, run: RunId, attempt: u32, board: &BoardId) -> LeaseRef {
        let grant = self.grant(run, attempt, board);
        let granted = self.store.lease_grant(&[grant], &self.terms()).await.expect("grant");
        let [Granted::Leases(leases)] = granted.as_slice() else { panic!("{granted:?}") };
        lease_ref(&leases[0])
    }

    /// A run on a board: number, id, lease.
    pub(crate) async fn running(&self, board: &BoardId) -> (i64, RunId, LeaseRef) {
        let (number, id) = self.waiting().await;
        let lease = self.on_board(id, 1, board).await;
        (number, id, lease)
    }

    /// When the attempt began that a run is in.
    pub(crate) async fn began(&self, number: i64) -> Timestamp {
        match self.view(number).await.run.state {
            RunState::Active { started_at, .. } => started_at,
            state => panic!("#{number} is {}", state.word()),
        }
    }

    pub(crate) fn settle(
        &self,
        lease: &LeaseRef,
        run: RunId,
        outcome: Outcome,
        decision: Decision,
    ) -> Settle {
        Settle {
            lease: lease.clone(),
            run,
            board_fault: outcome.verdict == Verdict::Infra,
            unfit: None,
            outcome,
            decision,
            notes: vec![note("run-finished")],
            quarantine_after: 2,
            lookback: None,
            keepable: true,
            kept: note("kept"),
            told: None,
            now: at(60),
        }
    }

    pub(crate) async fn settled(&self, lease: &LeaseRef, run: RunId, outcome: Outcome, decision: Decision) {
        let settled =
            self.store.run_settle(&self.settle(lease, run, outcome, decision)).await.expect("settle");
        assert_eq!(settled, Fenced::Done);
    }

    pub(crate) async fn view(&self, number: i64) -> RunView {
        self.store.run_view(number).await.expect("view").expect("there is such a run")
    }
}

pub(crate) fn spec() -> RunSpec {
    RunSpec {
        kind: RunKind::Test,
        family: Family::new("socA"),
        build: "build-123".into(),
        suite: "smoke".into(),
        selector: Selector::default(),
        priority: Priority::Normal,
        boards: 1,
        on_own_board: false,
        timeout: Some(Duration::from_secs(90)),
        params: Default::default(),
    }
}

pub(crate) fn li() -> Actor {
    Actor {
        platform: Platform::Slack,
        id: "U0LI".into(),
        team: "T0LAB".into(),
        name: "li \"the\" <ü>".into(),
    }
}

pub(crate) fn channel() -> Place {
    Place { platform: Platform::Slack, channel: "C0SOCCI".into(), thread: None }
}

pub(crate) fn via() -> AnswerVia {
    AnswerVia { url: Some("https://hooks.slack.test/1".into()), user: "U0LI".into(), place: channel() }
}

/// An attempt that is so far with its tests.
pub(crate) fn counted(counts: Counts) -> Progress {
    Progress { counts, carrying: None }
}

pub(crate) fn note(template: &str) -> Note {
    Note::new(template, json!({}))
}

pub(crate) fn outcome(verdict: Verdict, cause: &str) -> Outcome {
    Outcome {
        verdict,
        cause: cause.into(),
        stage: Stage::Testing,
        detail: "it \"ended\" so".into(),
        excerpt: vec!["[ 1.0] panic: ünwell".into()],
        cases: vec![],
        counts: Counts::default(),
    }
}

pub(crate) fn lease_ref(lease: &Lease) -> LeaseRef {
    LeaseRef { id: lease.id, board: lease.board.clone(), fence: lease.fence }
}

/// The run that an answer names.
pub(crate) fn number(answer: &Note) -> i64 {
    answer.facts["number"].as_i64().expect("a number")
}

pub(crate) fn effected(committed: &Committed) -> &str {
    committed.answer.facts["effected"].as_str().expect("effected")
}
