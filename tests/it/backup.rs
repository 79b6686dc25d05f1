//! Backups: made while the server takes what comes, put back into another folder, and never at the cost of what is there.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use boardhand::id::Ids;
use boardhand::outcome::Verdict;
use boardhand::run::Decision;
use boardhand::store::RunFilter;
use boardhand::store::sql::{NUMBERS_LEFT_OUT, OpenError, SqlStore, SqliteOptions};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::lab::look::rows;
use crate::store::Lab;
use crate::store::lab::outcome;

/// Runs the program; gives its exit code and what it said.
fn boardhand(arguments: &[&str]) -> (Option<i32>, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_boardhand")).args(arguments).env_clear().output();
    let out = out.expect("boardhand runs");
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    (out.status.code(), said)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

async fn backed_up(data: &Path, to: &Path) -> (Option<i32>, String) {
    let (data, to) = (data.to_owned(), to.to_owned());
    let made = move || boardhand(&["backup", "--data-dir", text(&data), "--to", text(&to)]);
    tokio::task::spawn_blocking(made).await.expect("it ends")
}

/// Opens the store of a folder once nobody has it.
async fn open(dir: &Path) -> Lab {
    loop {
        match SqlStore::open(dir, SqliteOptions::new(Ids::system())).await {
            Ok(store) => return Lab::over(store),
            Err(OpenError::InUse(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_made_under_load_has_all_that_was_acknowledged_and_comes_back() {
    let home = tempfile::tempdir().expect("a folder");
    let (data, there, file) =
        (home.path().join("data"), home.path().join("there"), home.path().join("lab.db"));
    let lab = Arc::new(open(&data).await);
    let [first, second] = lab.boards().await;
    let (_, id, lease) = lab.running(&first).await;
    lab.settled(&lease, id, outcome(Verdict::Failed, "tests-failed"), Decision::Finish).await;
    let (running, ..) = lab.running(&second).await;
    let load = {
        let lab = lab.clone();
        tokio::spawn(async move {
            for _ in 0..300 {
                lab.waiting().await;
            }
        })
    };
    let newest = async || {
        let filter = RunFilter { limit: 1, ..RunFilter::default() };
        lab.store.run_list(&filter).await.expect("runs")[0].number
    };
    while newest().await < 50 {}
    let before = newest().await;
    let (code, said) = backed_up(&data, &file).await;
    assert_eq!(code, Some(0), "{said}");
    let after = newest().await;
    load.await.expect("load");
    let (views, secret) =
        ([lab.view(1).await, lab.view(running).await], lab.store.secret().await.expect("secret"));
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).expect("the backup").permissions());
    assert_eq!(mode & 0o777, 0o600);

    let (code, said) = boardhand(&["restore", text(&file), "--data-dir", text(&there)]);
    assert_eq!(code, Some(0), "{said}");
    let fenced = rows(&there, "SELECT id FROM boards WHERE needs_fence = 0").await;
    assert_eq!(fenced, Vec::<String>::new(), "nobody knows how they are");
    let back = open(&there).await;
    let filter = RunFilter { limit: 1, ..RunFilter::default() };
    let has = back.store.run_list(&filter).await.expect("runs")[0].number;
    assert!((before..=after).contains(&has), "{before} <= {has} <= {after}");
    assert_eq!([back.view(1).await, back.view(running).await], views);
    assert_eq!(back.store.secret().await.expect("secret"), secret);
    let (next, _) = back.waiting().await;
    assert_eq!(next, has + NUMBERS_LEFT_OUT + 1, "numbers that people know are not given again");
    assert_eq!(back.waiting().await.0, next + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_backup_changes_nothing_and_what_was_there_is_put_aside() {
    let home = tempfile::tempdir().expect("a folder");
    let (data, file) = (home.path().join("data"), home.path().join("lab.db"));
    let lab = open(&data).await;
    lab.waiting().await;
    assert_eq!(backed_up(&data, &file).await.0, Some(0));
    lab.waiting().await;
    let said = |(code, said): (Option<i32>, String)| {
        assert_eq!(code, Some(1), "{said}");
        said
    };
    assert!(said(backed_up(&data, &file).await).contains("is there already"));
    let restore = |file: &Path, replace: bool| {
        let mut arguments = vec!["restore", text(file), "--data-dir", text(&data)];
        arguments.extend(replace.then_some("--replace"));
        boardhand(&arguments)
    };
    assert!(said(restore(&file, true)).contains("in use by another boardhand"), "a server has it");
    drop(lab);
    let free = async || loop {
        let tried = restore(&file, false);
        if !tried.1.contains("in use") {
            return tried;
        }
        tokio::task::yield_now().await;
    };
    assert!(said(free().await).contains("--replace"), "it has a database");

    let whole = std::fs::read(&file).expect("the backup");
    let broken = home.path().join("broken.db");
    let damaged = |bytes: &[u8]| {
        std::fs::write(&broken, bytes).expect("a file");
        said(restore(&broken, true))
    };
    for bytes in [&b"nonsense"[..], &b""[..], &whole[..whole.len() / 2]] {
        let said = damaged(bytes);
        assert!(said.contains("no backup that can be used"), "{said}");
    }
    assert!(said(restore(&home.path().join("gone.db"), true)).contains("there is no database"));
    let mut names: Vec<String> = std::fs::read_dir(&data)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("before") || name.contains("coming"))
        .collect();
    names.sort_unstable();
    assert_eq!(names, Vec::<String>::new(), "nothing is left of what failed");
    let lab = open(&data).await;
    assert_eq!(lab.store.census().await.expect("census").queued, 2, "it is as it was");
    drop(lab);

    let (code, said) = loop {
        let tried = restore(&file, true);
        if !tried.1.contains("in use") {
            break tried;
        }
        tokio::task::yield_now().await;
    };
    assert!(code == Some(0) && said.contains("boardhand.db.before-1"), "{said}");
    assert_eq!(open(&data).await.store.census().await.expect("census").queued, 1);
    let older = home.path().join("older");
    std::fs::create_dir(&older).expect("a folder");
    std::fs::rename(data.join("boardhand.db.before-1"), older.join("boardhand.db")).expect("it is there");
    for end in ["-wal", "-shm"] {
        let (from, to) = (format!("boardhand.db.before-1{end}"), format!("boardhand.db{end}"));
        if data.join(&from).exists() {
            std::fs::rename(data.join(from), older.join(to)).expect("renamed");
        }
    }
    assert_eq!(open(&older).await.store.census().await.expect("census").queued, 2, "what was there is whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_put_aside_stays_whole() {
    let home = tempfile::tempdir().expect("a folder");
    let (data, file) = (home.path().join("data"), home.path().join("lab.db"));
    let lab = open(&data).await;
    assert_eq!(backed_up(&data, &file).await.0, Some(0));
    drop(lab);
    while boardhand(&["restore", text(&file), "--data-dir", text(&data)]).1.contains("in use") {
        tokio::task::yield_now().await;
    }
    // Somebody looks into it: SQLite has a file beside it then.
    let (database, wal) = (data.join("boardhand.db"), data.join("boardhand.db-wal"));
    let mut reader = SqliteConnectOptions::new().filename(&database).connect().await.expect("SQLite");
    let runs = "SELECT number FROM runs";
    sqlx::query(runs).fetch_all(&mut reader).await.expect("no run");
    assert!(wal.exists());
    // Nothing can have that name.
    std::os::unix::fs::symlink("nowhere", data.join("boardhand.db.before-1")).expect("a link");
    let arguments = ["restore", text(&file), "--data-dir", text(&data), "--replace"];
    let (code, said) = boardhand(&arguments);
    assert!(code == Some(1) && said.contains("boardhand.db.before-1"), "{said}");
    assert!(wal.exists(), "nothing is taken away");
    std::fs::remove_file(data.join("boardhand.db.before-1")).expect("removed");
    let (code, said) = boardhand(&arguments);
    assert_eq!(code, Some(0), "{said}");
    let aside = |end: &str| data.join(format!("boardhand.db.before-1{end}"));
    assert!(aside("").is_file() && aside("-wal").is_file() && !wal.exists(), "it goes as a whole");
    reader.close().await.expect("closed");
    assert_eq!(open(&data).await.store.census().await.expect("census").queued, 0);
}
