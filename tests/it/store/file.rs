//! What only the file database can meet: its directory, its file, its disk.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use boardhand::id::{Ids, InstanceId};
use boardhand::message::Note;
use boardhand::outcome::Verdict;
use boardhand::run::Decision;
use boardhand::store::sql::{OpenError, SqlStore, SqliteOptions};
use boardhand::store::{Effect, Intake, RunFilter, Store, StoreError};

use super::Lab;
use super::lab::{T0, at, li, note, outcome};
use crate::lab::look::tamper;

async fn open(dir: &Path, pages_max: Option<u32>) -> SqlStore {
    let options = SqliteOptions { pages_max, ..SqliteOptions::new(Ids::seeded(7)) };
    SqlStore::open(dir, options).await.expect("store")
}

#[tokio::test]
async fn a_second_process_is_told_which_directory_is_in_use() {
    let dir = tempfile::tempdir().expect("dir");
    let store = open(dir.path(), None).await;
    let second = SqlStore::open(dir.path(), SqliteOptions::new(Ids::seeded(8))).await;
    let Err(error @ OpenError::InUse(_)) = second else { panic!("opened twice") };
    assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
    store.close().await;
    open(dir.path(), None).await;
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    let dir = tempfile::tempdir().expect("dir");
    let dir = dir.path().join("not/there/yet");
    let store = open(&dir, None).await;
    let mode = |file: &Path| std::fs::metadata(file).expect("metadata").permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&dir.join("boardhand.db"))), (0o700, 0o600));
    survives(store, async || reopen(&dir).await).await;
}

/// What was acknowledged before the store is dropped is there in the one that is opened after it.
pub(crate) async fn survives(store: SqlStore, again: impl AsyncFnOnce() -> SqlStore) {
    let lab = Lab::over(store);
    let [board] = lab.boards().await;
    let (_, id, lease) = lab.running(&board).await;
    lab.settled(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish).await;
    lab.waiting().await;
    let intake = lab.intake(Effect::Start(vec![lab.new_run()]));
    let first = lab.store.commit(intake.clone()).await.expect("commit");
    let before = (lab.view(1).await, lab.view(3).await, lab.store.census().await.expect("census"));
    let secret = lab.store.secret().await.expect("secret");
    drop(lab);

    let lab = Lab::over(again().await);
    assert_eq!((lab.view(1).await, lab.view(3).await, lab.store.census().await.expect("census")), before);
    assert_eq!(lab.store.secret().await.expect("secret"), secret);
    let again = lab.store.commit(intake).await.expect("commit");
    assert_eq!((again.fresh, again.answer), (false, first.answer));
    let lapsed = lab.store.lease_takeover(InstanceId::new(&lab.ids, T0), at(100)).await.expect("takeover");
    assert_eq!((lapsed.len(), lapsed[0].requeued), (1, false));
}

/// Opens again as soon as the store before has let go.
async fn reopen(dir: &Path) -> SqlStore {
    loop {
        match SqlStore::open(dir, SqliteOptions::new(Ids::seeded(9))).await {
            Ok(store) => return store,
            Err(OpenError::InUse(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_closed_store_answers_that_it_is_closed() {
    let dir = tempfile::tempdir().expect("dir");
    let store = open(dir.path(), None).await;
    store.close().await;
    assert!(matches!(store.board_register(&[], T0).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.ready().await, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_named_and_takes_nobody_down() {
    let dir = tempfile::tempdir().expect("dir");
    let lab = Lab::over(open(dir.path(), None).await);
    let [board] = lab.boards().await;
    lab.waiting().await;
    let (_, second) = lab.waiting().await;
    tamper(dir.path(), "UPDATE runs SET spec = '{\"family\": 7}' WHERE number = 1").await;
    let check = |error: StoreError| {
        let StoreError::Corrupt { table: "runs", row, problem } = &error else { panic!("{error}") };
        assert!(row == "1" && problem.contains("spec"), "{error}");
    };
    check(lab.store.run_view(1).await.expect_err("corrupt"));
    let listed =
        lab.store.run_list(&RunFilter { limit: 9, ..RunFilter::default() }).await.expect("the others");
    assert_eq!(listed.iter().map(|run| run.number).collect::<Vec<_>>(), [2]);

    // In one group with others, whichever comes first.
    let corrupt = lab.intake(super::intake::cancel(1));
    let sound = lab.intake(Effect::Start(vec![lab.new_run()]));
    let grants = [lab.grant(second, 1, &board)];
    let terms = lab.terms();
    let (corrupt, sound, granted, view) = tokio::join!(
        lab.store.commit(corrupt.clone()),
        lab.store.commit(sound),
        lab.store.lease_grant(&grants, &terms),
        lab.store.run_view(2),
    );
    check(corrupt.expect_err("corrupt"));
    assert!(sound.expect("commit").fresh && view.is_ok());
    assert!(matches!(granted.expect("grant")[0], boardhand::store::Granted::Leases(_)));
}

#[tokio::test]
async fn a_cancel_that_meets_a_corrupt_row_on_its_way_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("dir");
    let lab = Lab::over(open(dir.path(), None).await);
    lab.waiting().await;
    // Read for the thread that hears of the end, after the run's own row was written.
    tamper(dir.path(), "UPDATE cards SET id = CAST(x'ff' AS TEXT) WHERE run = 1").await;
    let cancel = lab.intake(super::intake::cancel(1));
    let sound = lab.intake(Effect::Start(vec![lab.new_run()]));
    for fresh in [true, false] {
        let (cancelled, started) =
            tokio::join!(lab.store.commit(cancel.clone()), lab.store.commit(sound.clone()));
        assert!(matches!(cancelled, Err(StoreError::Corrupt { table: "cards", .. })), "{cancelled:?}");
        assert_eq!(started.expect("commit").fresh, fresh);
        assert_eq!(lab.view(1).await.run.state.word(), "queued");
    }
}

#[tokio::test]
async fn a_build_that_is_refused_on_its_way_starts_none_of_its_runs() {
    let dir = tempfile::tempdir().expect("dir");
    let lab = Lab::over(open(dir.path(), None).await);
    // Its row is written when everything else of it was gathered.
    tamper(
        dir.path(),
        "CREATE TRIGGER refuse BEFORE INSERT ON builds BEGIN SELECT RAISE(ABORT, 'refused'); END",
    )
    .await;
    let build = Box::new(super::builds::build("socA", "1", None, boardhand::build::BuildResult::Success));
    let built = lab.intake(Effect::Build { build, runs: vec![lab.new_run(), lab.new_run()] });
    let sound = lab.intake(Effect::Start(vec![lab.new_run()]));
    let (refused, started) = tokio::join!(lab.store.commit(built), lab.store.commit(sound));
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    assert!(started.expect("commit").fresh);
    let filter = RunFilter { limit: 9, ..RunFilter::default() };
    let runs = lab.store.run_list(&filter).await.expect("runs");
    assert_eq!(runs.iter().map(|run| run.number).collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn a_batchs_cancel_that_meets_a_corrupt_row_on_its_way_ends_none_of_its_runs() {
    let dir = tempfile::tempdir().expect("dir");
    let lab = Lab::over(open(dir.path(), None).await);
    lab.waiting().await;
    lab.waiting().await;
    tamper(dir.path(), "UPDATE cards SET id = CAST(x'ff' AS TEXT) WHERE run = 2").await;
    let cancel = lab.intake(Effect::CancelBatch {
        batch: 1,
        by: li(),
        outcome: outcome(Verdict::Cancelled, "cancelled"),
        runs: vec![(1, note("run-cancelled")), (2, note("run-cancelled"))],
    });
    let sound = lab.intake(Effect::Start(vec![lab.new_run()]));
    let (cancelled, started) = tokio::join!(lab.store.commit(cancel), lab.store.commit(sound));
    assert!(matches!(cancelled, Err(StoreError::Corrupt { table: "cards", .. })), "{cancelled:?}");
    let _ = started.expect("commit");
    for run in [1, 2] {
        assert_eq!(lab.view(run).await.run.state.word(), "queued", "#{run}");
    }
}

#[tokio::test]
async fn an_operation_that_meets_a_corrupt_row_undoes_itself_only() {
    let dir = tempfile::tempdir().expect("dir");
    let lab = Lab::over(open(dir.path(), None).await);
    let [board, other] = lab.boards().await;
    let (_, id, lease) = lab.running(&board).await;
    let (_, good, fine) = lab.running(&other).await;
    // The attempt's row is gone: settling fails after the run's own row was written.
    tamper(dir.path(), "DELETE FROM attempts WHERE run = 1").await;
    let broken = lab.settle(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish);
    let sound = lab.settle(&fine, good, outcome(Verdict::Passed, ""), Decision::Finish);
    for _ in 0..2 {
        let (broken, sound) = tokio::join!(lab.store.run_settle(&broken), lab.store.run_settle(&sound));
        assert!(matches!(broken, Err(StoreError::Corrupt { table: "attempts", .. })), "{broken:?}");
        let _ = sound.expect("settle");
        assert_eq!(lab.view(1).await.run.state.word(), "leased");
        assert_eq!(lab.view(2).await.run.state.word(), "finished");
    }
}

#[tokio::test]
async fn a_full_disk_is_unavailable_and_leaves_nothing_half_done() {
    let dir = tempfile::tempdir().expect("dir");
    let lab = Lab::over(open(dir.path(), Some(138)).await);
    let big = |lab: &Lab, bytes: usize| {
        let answer = Note::new("answer", serde_json::json!({ "text": "x".repeat(bytes) }));
        Intake { answer, ..lab.intake(Effect::Start(vec![lab.new_run()])) }
    };
    let mut accepted = 0;
    let full = loop {
        match lab.store.commit(big(&lab, 20_000)).await {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted < 100, "the disk never fills");
    };
    assert!(matches!(full, StoreError::Unavailable(_)), "{full}");
    let census = lab.store.census().await.expect("census");
    assert_eq!((census.queued, census.owed), (accepted, accepted));
    lab.store.ready().await.expect("ready");
    // What still fits is taken, with the next number.
    let small = lab.store.commit(big(&lab, 10)).await.expect("commit");
    assert_eq!(super::lab::number(&small.answer), accepted as i64 + 1);
    drop(lab);
    let lab = Lab::over(reopen(dir.path()).await);
    lab.store.commit(big(&lab, 20_000)).await.expect("room again");
}
