//! Rows that are not what they should be, and writes that the schema refuses: each costs the run or the message it
//! stands for, and nothing else; no board is held for it and nothing is tried for ever.

use boardhand::board::plan::PowerAction;
use boardhand::id::{Ids, InstanceId, MessageId};
use boardhand::message::Note;
use boardhand::outcome::Verdict;
use boardhand::run::Decision;
use boardhand::store::sql::{SqlStore, SqliteOptions};
use boardhand::store::{Effect, Granted, Intake, StoreError};

use crate::lab::look::tamper;
use crate::lab::{lab, yaml};
use crate::store::Lab as StoreLab;
use crate::store::lab::{T0, at, outcome, via};

/// A store in a directory that a test can get at.
async fn store(dir: &tempfile::TempDir) -> StoreLab {
    StoreLab::over(SqlStore::open(dir.path(), SqliteOptions::new(Ids::seeded(7))).await.expect("store"))
}

#[tokio::test]
async fn one_bad_row_is_left_out_of_every_list_and_counted_once() {
    let dir = tempfile::tempdir().expect("dir");
    let lab = store(&dir).await;
    let [bad, good, third] = lab.boards().await;
    lab.waiting().await;
    lab.running(&bad).await;
    let (_, _, sound) = lab.running(&good).await;
    let (waiting, _) = lab.waiting().await;
    for _ in 0..2 {
        let id = MessageId::new(&lab.ids, T0);
        let errand = Effect::Errand {
            id,
            board: third.clone(),
            action: PowerAction::Status,
            via: via(),
            over: None,
            once: None,
        };
        lab.store.commit(Intake { answer_via: Some(via()), ..lab.intake(errand) }).await.expect("commit");
    }
    tamper(
        dir.path(),
        "UPDATE runs SET spec = 'no document' WHERE number = 1;
         UPDATE leases SET holder = '{}' WHERE board = 'soc-a-000';
         UPDATE boards SET failures = -1 WHERE id = 'soc-a-002';
         UPDATE errands SET via = '{}' WHERE rowid = 1;
         UPDATE outbox SET note = '[' WHERE position = (SELECT MIN(position) FROM outbox);",
    )
    .await;
    for _ in 0..2 {
        let changes = lab.store.queue_changes(None).await.expect("changes");
        let runs: Vec<i64> = changes.runs.iter().map(|run| run.number).collect();
        assert_eq!(runs, [2, 3, waiting]);
        assert_eq!(changes.boards.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["soc-a-001"]);
        let leases = lab.store.lease_list().await.expect("leases");
        assert_eq!(leases.iter().map(|lease| lease.id).collect::<Vec<_>>(), [sound.id]);
        assert_eq!(lab.store.board_list().await.expect("boards").len(), 1);
        assert_eq!(lab.store.errand_due(1).await.expect("errands").len(), 1, "the second one");
        let owed = lab.store.message_due(at(9), 1).await.expect("messages");
        assert!(
            matches!(owed[0].kind, boardhand::store::OwedKind::Answer { .. }),
            "the second one: {owed:?}"
        );
        assert_eq!(lab.store.census().await.expect("census").unreadable, 5);
    }
}

#[tokio::test]
async fn a_run_that_cannot_be_read_is_not_granted_and_keeps_no_other_waiting() {
    let dir = tempfile::tempdir().expect("dir");
    let lab = store(&dir).await;
    let [board, other] = lab.boards().await;
    let ((_, bad), (_, good)) = (lab.waiting().await, lab.waiting().await);
    tamper(dir.path(), "UPDATE runs SET spec = '{}' WHERE number = 1").await;
    let grants = [lab.grant(bad, 1, &board), lab.grant(good, 1, &other)];
    let granted = lab.store.lease_grant(&grants, &lab.terms()).await.expect("grant");
    assert!(matches!(&granted[..], [Granted::Gone, Granted::Leases(_)]), "{granted:?}");
}

#[tokio::test]
async fn the_next_start_frees_a_board_whose_lease_or_run_cannot_be_read() {
    for damage in [
        "UPDATE leases SET holder = '{}'",
        "UPDATE runs SET spec = '{}'",
        "UPDATE runs SET spec = 'x', requested_by = 'y'; UPDATE leases SET holder = 'z'",
    ] {
        let dir = tempfile::tempdir().expect("dir");
        let lab = store(&dir).await;
        let [board] = lab.boards().await;
        let (number, _, lease) = lab.running(&board).await;
        tamper(dir.path(), damage).await;
        let next = InstanceId::new(&lab.ids, at(20));
        lab.store.lease_takeover(next, at(20)).await.expect("takeover");
        let boards = lab.store.board_list().await.expect("boards");
        assert!(boards[0].lease.is_none(), "{damage}");
        let (_, other) = lab.waiting().await;
        assert!(lab.on_board(other, 1, &board).await.fence > lease.fence);
        // A run that can be read waits again; one that cannot is over, and its thread is told.
        let owed = lab.store.message_due(at(30), 9).await.expect("messages");
        if damage.contains("runs") {
            assert!(lab.store.run_list(&Default::default()).await.is_ok());
            let census = lab.store.census().await.expect("census");
            assert_eq!((census.queued, census.active), (0, 1), "{damage}: {owed:?}");
        } else {
            assert_eq!(lab.view(number).await.run.state.word(), "queued");
        }
    }
}

#[tokio::test]
async fn a_write_that_the_schema_refuses_is_told_apart_and_takes_nobody_down() {
    let dir = tempfile::tempdir().expect("dir");
    let lab = store(&dir).await;
    let [board, other] = lab.boards().await;
    let (_, id, lease) = lab.running(&board).await;
    let (_, good, fine) = lab.running(&other).await;
    tamper(
        dir.path(),
        "CREATE TRIGGER refuse BEFORE UPDATE ON attempts WHEN NEW.run = 1
         BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    .await;
    let refused = lab.settle(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish);
    let sound = lab.settle(&fine, good, outcome(Verdict::Passed, ""), Decision::Finish);
    let (refused, sound) = tokio::join!(lab.store.run_settle(&refused), lab.store.run_settle(&sound));
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    let _ = sound.expect("settle");
    assert_eq!(lab.view(1).await.run.state.word(), "leased");
    assert_eq!(lab.view(2).await.run.state.word(), "finished");
    // What was promised to a person and is refused is not tried again for ever either.
    tamper(dir.path(), "CREATE TRIGGER mute BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'no'); END")
        .await;
    let errand = MessageId::new(&lab.ids, T0);
    let action = PowerAction::Status;
    lab.commit(Effect::Errand { id: errand, board, action, via: via(), over: None, once: None }).await;
    let told =
        lab.store.errand_done(errand, &Note::new("power-done", serde_json::json!({})), None, at(1)).await;
    assert!(matches!(told, Err(StoreError::Refused(_))), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_that_cannot_be_kept_ends_its_run_as_lab_trouble_and_frees_the_board() {
    lab(&yaml::small(1), async |lab| {
        lab.tamper(
            "CREATE TRIGGER refuse BEFORE UPDATE ON attempts WHEN NEW.verdict = 'passed'
             BEGIN SELECT RAISE(ABORT, 'no'); END",
        )
        .await;
        let run = lab.run("alice", "/run-test socA build-123").await;
        assert_eq!(lab.verdict(run).await, "infra not-kept in testing");
        lab.settle().await;
        assert!(!lab.boards.board("soc-a-001").expect("a board").is_on(), "the board is at rest");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_cannot_be_read_any_more_ends_told_and_gives_its_board_to_the_next() {
    lab(&yaml::small(1), async |lab| {
        let run = lab.run("alice", "/run-test socA build-123 suite=trivial").await;
        lab.verdict(run).await;
        lab.settle().await;
        let bad = lab.run("alice", "/run-test socA build-hang").await;
        lab.until(bad, "on its board", |view| !["queued", "leased"].contains(&view.run.state.word())).await;
        lab.tamper("UPDATE runs SET spec = '{}' WHERE number = 2").await;
        let next = lab.run("bob", "/run-test socA build-123").await;
        assert!(lab.verdict(next).await.starts_with("passed"));
        lab.settle().await;
        let rows = lab.rows("SELECT state, verdict, cause, lease FROM runs WHERE number = 2").await;
        assert_eq!(rows, ["finished | infra | row-unreadable | -"]);
        let told = lab.thread(bad);
        assert!(told.contains("row-unreadable") && told.contains("The lab failed"), "{told}");
        for command in ["/lab run 2", "/lab retry 2"] {
            let said = lab.say("alice", command).await;
            assert!(said.contains("Something broke on my side"), "{command}: {said}");
        }
        assert_eq!(lab.store.census().await.expect("census").unreadable, 1);
        assert!(!lab.boards.board("soc-a-001").expect("a board").is_on());
        lab.read_all();
    })
    .await;
}
