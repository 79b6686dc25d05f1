//! Backups: a whole copy of the file while its server runs, and its way back. SQLite makes the copy in one read
//! transaction, so it holds what was acknowledged before it began, all of it and nothing half done. What comes back is
//! looked at before anything that is there is touched.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Row as _};

use super::carry::TABLES;
use super::open::{OpenError, lock};
use super::sqlite::MIGRATIONS;

/// How many numbers of runs are left out after a backup came back: whatever was given since is known to people, and
/// stands on cards with buttons.
pub const NUMBERS_LEFT_OUT: i64 = 1000;
/// The name in `meta` of the number that new runs are above.
pub(super) const FLOOR: &str = "runs_floor";

/// A copy that was made, or came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Rows of each table.
    pub rows: Vec<(&'static str, u64)>,
    /// The number of the newest run.
    pub newest_run: i64,
    /// How large it is.
    pub bytes: u64,
    /// Where what was there before is now.
    pub replaced: Option<PathBuf>,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// There is nothing to copy.
    #[error("there is no database at {}", .0.display())]
    Nothing(PathBuf),
    /// Something is there.
    #[error("{} is there already; name another file", .0.display())]
    Exists(PathBuf),
    /// The data folder has a database.
    #[error("{} has a database; with --replace it is put aside", .0.display())]
    HasOne(PathBuf),
    /// It is none, or damaged.
    #[error("{} is no backup that can be used: {problem}", .file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The data folder cannot be had.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A file cannot be made.
    #[error("{}: {source}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// SQLite cannot do it.
    #[error("the database cannot be copied: {0}")]
    Database(#[from] sqlx::Error),
}

/// Copies the database of a data folder into a new file, whether its server runs or not.
pub async fn backup(data_dir: &Path, to: &Path) -> Result<Copied, CopyError> {
    let file = data_dir.join("boardhand.db");
    if !file.is_file() {
        return Err(CopyError::Nothing(file));
    }
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::AlreadyExists => CopyError::Exists(to.into()),
        _ => CopyError::File { file: to.into(), source },
    };
    // SQLite takes a file that is empty. It holds a secret: nobody else may read it, from its first byte on.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(failed)?;
    let made = copied(&file, to).await;
    if made.is_err() {
        let _ = std::fs::remove_file(to);
    }
    made
}

async fn copied(file: &Path, to: &Path) -> Result<Copied, CopyError> {
    let mut source = SqliteConnectOptions::new().filename(file).read_only(true).connect().await?;
    let target = to.to_string_lossy().into_owned();
    sqlx::query("VACUUM INTO ?1").bind(target).execute(&mut source).await?;
    source.close().await?;
    sync(to)?;
    let mut copy = SqliteConnectOptions::new().filename(to).read_only(true).connect().await?;
    let looked = look(&mut copy, to).await;
    copy.close().await?;
    looked
}

/// Puts a backup into a data folder that no server is at; what was there is put aside.
pub async fn restore(from: &Path, data_dir: &Path, replace: bool) -> Result<Copied, CopyError> {
    if !from.is_file() {
        return Err(CopyError::Nothing(from.into()));
    }
    let lock = lock(data_dir)?;
    let file = data_dir.join("boardhand.db");
    if file.exists() && !replace {
        return Err(CopyError::HasOne(data_dir.into()));
    }
    let coming = data_dir.join("boardhand.db.coming");
    let come = came(from, &coming).await;
    let come = match come {
        Ok(come) => come,
        Err(error) => {
            gone(&coming);
            return Err(error);
        }
    };
    let replaced = if file.exists() { Some(aside(data_dir).await?) } else { None };
    std::fs::rename(&coming, &file).map_err(|source| CopyError::File { file: file.clone(), source })?;
    sync(data_dir)?;
    drop(lock);
    Ok(Copied { replaced, ..come })
}

/// Copies the file, looks at the copy and makes it ready to be used in the place of another.
async fn came(from: &Path, coming: &Path) -> Result<Copied, CopyError> {
    gone(coming);
    let failed = |source| CopyError::File { file: coming.into(), source };
    let mut to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(coming).map_err(failed)?;
    let mut source = File::open(from).map_err(|source| CopyError::File { file: from.into(), source })?;
    std::io::copy(&mut source, &mut to).map_err(failed)?;
    to.sync_all().map_err(failed)?;
    let damaged = |problem: String| CopyError::Damaged { file: from.into(), problem };
    let mut copy =
        SqliteConnectOptions::new().filename(coming).connect().await.map_err(|e| damaged(e.to_string()))?;
    let sound = look(&mut copy, from).await;
    let ready = match sound {
        Ok(_) => ready(&mut copy, from).await,
        Err(error) => Err(error),
    };
    copy.close().await?;
    sync(coming)?;
    ready
}

/// Brings its schema up to date, and notes what is not known of the time since: every board may be in any state, and
/// numbers of runs were given that people know.
async fn ready(copy: &mut SqliteConnection, from: &Path) -> Result<Copied, CopyError> {
    let damaged = |problem: String| CopyError::Damaged { file: from.into(), problem };
    MIGRATIONS.run(&mut *copy).await.map_err(|error| damaged(error.to_string()))?;
    sqlx::query("UPDATE boards SET needs_fence = 1").execute(&mut *copy).await?;
    sqlx::query(
        "INSERT INTO meta (name, value)
         SELECT ?1, MAX((SELECT COALESCE(MAX(number), 0) FROM runs), 0) + ?2
         WHERE true
         ON CONFLICT (name) DO UPDATE SET value = MAX(CAST(excluded.value AS INTEGER), CAST(value AS INTEGER) + ?2)",
    )
    .bind(FLOOR)
    .bind(NUMBERS_LEFT_OUT)
    .execute(&mut *copy)
    .await?;
    look(copy, from).await
}

/// Whether a file is a sound database of boardhand, and what is in it.
async fn look(copy: &mut SqliteConnection, file: &Path) -> Result<Copied, CopyError> {
    let damaged = |problem: String| CopyError::Damaged { file: file.into(), problem };
    let said = sqlx::query("PRAGMA integrity_check(1)").fetch_one(&mut *copy).await;
    let said: String = said.and_then(|row| row.try_get(0)).map_err(|error| damaged(error.to_string()))?;
    if said != "ok" {
        return Err(damaged(said));
    }
    let mut rows = Vec::with_capacity(TABLES.len());
    for table in TABLES {
        let there = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?1";
        let there: i64 = sqlx::query(there).bind(table).fetch_one(&mut *copy).await?.try_get(0)?;
        // One of an older boardhand lacks what came later.
        if there == 0 {
            continue;
        }
        let count = AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
        let count: i64 = sqlx::query(count).fetch_one(&mut *copy).await?.try_get(0)?;
        rows.push((table, count.unsigned_abs()));
    }
    if !rows.iter().any(|(table, _)| *table == "runs") {
        return Err(damaged("it is no database of boardhand".into()));
    }
    let newest = sqlx::query("SELECT COALESCE(MAX(number), 0) FROM runs").fetch_one(copy).await?;
    let bytes =
        std::fs::metadata(file).map_err(|source| CopyError::File { file: file.into(), source })?.len();
    Ok(Copied { rows, newest_run: newest.try_get(0)?, bytes, replaced: None })
}

/// Gives the database of a data folder another name too; gives that. It keeps the one that it has until another file has
/// it, so that a folder is never without one; what SQLite has beside it must not be there for the other.
async fn aside(data_dir: &Path) -> Result<PathBuf, CopyError> {
    let file = data_dir.join("boardhand.db");
    let free = |n: &u32| {
        ["", "-wal"].iter().all(|end| !data_dir.join(format!("boardhand.db.before-{n}{end}")).exists())
    };
    let n = (1..).find(free).unwrap_or(1);
    // One that cannot be opened goes aside as it is.
    if let Ok(mut old) = SqliteConnectOptions::new().filename(&file).connect().await {
        let _ = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut old).await;
        let _ = old.close().await;
    }
    // Nothing is taken away before all of it is there under its other name.
    for end in ["", "-wal"] {
        let from = data_dir.join(format!("boardhand.db{end}"));
        if from.exists() {
            keep(&from, &data_dir.join(format!("boardhand.db.before-{n}{end}")))?;
        }
    }
    sync(data_dir)?;
    for end in ["-wal", "-shm"] {
        let from = data_dir.join(format!("boardhand.db{end}"));
        if from.exists() {
            std::fs::remove_file(&from).map_err(|source| CopyError::File { file: from.clone(), source })?;
        }
    }
    Ok(data_dir.join(format!("boardhand.db.before-{n}")))
}

/// Gives a file another name too, or makes a copy where files have but one.
fn keep(file: &Path, other: &Path) -> Result<(), CopyError> {
    let failed = |source| CopyError::File { file: other.into(), source };
    match std::fs::hard_link(file, other) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            std::fs::copy(file, other).map_err(failed)?;
            sync(other)
        }
        linked => linked.map_err(failed),
    }
}

/// Removes what an attempt before left.
fn gone(coming: &Path) {
    for end in ["", "-wal", "-shm", "-journal"] {
        let mut file = coming.as_os_str().to_owned();
        file.push(end);
        let _ = std::fs::remove_file(file);
    }
}

/// Waits until it is on the disk.
fn sync(file: &Path) -> Result<(), CopyError> {
    let synced = File::open(file).and_then(|open| open.sync_all());
    synced.map_err(|source| CopyError::File { file: file.into(), source })
}
