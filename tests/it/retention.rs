//! What would be removed is said before it is, by the same rules: over both databases, beside a server that works.

use std::path::Path;
use std::process::Command;

use boardhand::id::Ids;
use boardhand::store::sql::{Lookout, PostgresOptions, SqlStore, SqliteOptions};
use boardhand::store::{Going, Outdated};

use crate::lab::postgres;
use crate::store::Lab;
use crate::store::tidy::{a_past, before, send_all, walk};

/// What the walk removes, by kind, as the count beforehand has it.
async fn removed(lab: &Lab, outdated: &Outdated, limit: u32) -> Vec<(&'static str, u64)> {
    let (sum, _) = walk(lab, outdated, limit).await;
    vec![
        ("events", sum.events),
        ("audit", sum.audit),
        ("messages", sum.messages),
        ("power-requests", sum.errands),
        ("leases", sum.leases),
        ("builds", sum.builds),
    ]
}

/// What is foreseen is what goes, page by page, and afterwards there is nothing more.
async fn what_is_foreseen_goes(lab: &Lab, lookout: &Lookout) {
    for _ in 0..3 {
        a_past(lab).await;
    }
    send_all(lab).await;
    let [board] = lab.boards().await;
    lab.running(&board).await;
    for seconds in [0, 65, 500] {
        let outdated = before(lab, seconds).await;
        let going = lookout.going(&outdated, 2).await.expect("a look");
        let counts: Vec<(&str, u64)> = going.iter().map(|going| (going.kind, going.rows)).collect();
        assert_eq!(removed(lab, &outdated, 2).await, counts, "before {seconds} s");
        let is_said = |going: &Going| going.oldest.is_some() == (going.rows > 0);
        assert!(going.iter().all(is_said), "{going:?}");
        // Where everything is so old, nothing is left, and it was something of several kinds.
        if seconds == 500 {
            let left = lookout.going(&outdated, 250).await.expect("a look");
            assert!(left.iter().all(|going| (going.rows, going.bytes) == (0, 0)), "{left:?}");
            assert!(going.iter().filter(|going| going.rows > 0).count() >= 3, "{going:?}");
        }
    }
}

#[tokio::test]
async fn what_is_foreseen_goes_and_nothing_else_in_a_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = SqlStore::open(dir.path(), SqliteOptions::new(Ids::seeded(7))).await.expect("store");
    let lookout = Lookout::open(dir.path(), None).await.expect("a look");
    what_is_foreseen_goes(&Lab::over(store), &lookout).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_foreseen_goes_and_nothing_else_in_postgresql() {
    let url = postgres::parsed(&postgres::database().await);
    let store = SqlStore::connect(&url, PostgresOptions::new(Ids::seeded(7))).await.expect("store");
    let lookout = Lookout::open(Path::new("/nowhere"), Some(&url)).await.expect("a look");
    what_is_foreseen_goes(&Lab::over(store), &lookout).await;
}

/// Runs the command on a data folder; its exit code and what it said.
fn retention(data: &Path, more: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_boardhand"));
    command.arg("retention").arg("--data-dir").arg(data).args(more).env_clear();
    let out = command.output().expect("boardhand runs");
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    (out.status.code(), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_says_what_would_go_beside_a_server_and_removes_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let (code, said) = retention(dir.path(), &["--dry-run"]);
    assert!(code == Some(1) && said.contains("there is no database at"), "{said}");
    let store = SqlStore::open(dir.path(), SqliteOptions::new(Ids::seeded(7))).await.expect("store");
    let lab = Lab::over(store);
    let number = a_past(&lab).await;
    send_all(&lab).await;
    let transcripts = dir.path().join("transcripts").join(number.to_string()).join("1");
    std::fs::create_dir_all(&transcripts).expect("a folder");
    std::fs::write(transcripts.join("console.raw"), "12345").expect("a transcript");
    let row = |said: &str, kind: &str| {
        let row =
            said.lines().find(|line| line.starts_with(kind)).unwrap_or_else(|| panic!("no {kind}: {said}"));
        row.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    // What this past says that it happened is long ago.
    let (code, said) =
        retention(dir.path(), &["--dry-run", "--keep-history", "1h", "--keep-transcripts", "1h"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(row(&said, "events")[0] != "0" && row(&said, "transcripts")[..2] == ["1", "5"], "{said}");
    assert!(said.contains("nothing was removed"), "{said}");
    let (_, again) =
        retention(dir.path(), &["--dry-run", "--keep-history", "1h", "--keep-transcripts", "1h"]);
    assert_eq!(again, said);
    let forever = ["--dry-run", "--keep-history", "forever", "--keep-transcripts", "forever"];
    let (_, said) = retention(dir.path(), &forever);
    assert!(row(&said, "events")[0] == "0" && row(&said, "transcripts") == ["0", "0", "-"], "{said}");
    let (code, said) = retention(dir.path(), &["--dry-run", "--keep-audit", "soon"]);
    assert!(
        code == Some(1) && said.contains("BOARDHAND_KEEP_AUDIT (--keep-audit): a time in days"),
        "{said}"
    );
    assert_eq!(retention(dir.path(), &[]).0, Some(2), "it does nothing else");
}
