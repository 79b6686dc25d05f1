//! Opening: the data directory, its lock, the schema, the connections.
//!
//! The lock says who may drive boards, not only who may write: whoever gets it knows that the process before it is
//! dead. It is kept until the writer has ended.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::postgres::{PostgresOptions, PostgresUrl};
use super::row::{statements, unavailable};
use super::sql::{self, Connection, Readers};
use super::writer::Writer;
use super::{SqlStore, postgres};
use crate::id::Ids;
use crate::store::Result as Stored;

/// How a store is opened.
#[derive(Clone)]
pub struct SqliteOptions {
    /// Where message ids and the secret come from.
    pub ids: Ids,
    /// Connections that read.
    pub readers: u32,
    /// Largest size of the database in pages of 4 KiB; `None` for as much as the disk holds.
    pub pages_max: Option<u32>,
}

impl SqliteOptions {
    /// What a server uses.
    pub fn new(ids: Ids) -> Self {
        SqliteOptions { ids, readers: READERS, pages_max: None }
    }
}

/// Connections that read, unless told otherwise.
const READERS: u32 = 3;
/// How long a connection waits for another process that holds the database, such as a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Prepared statements kept per connection; more than there are.
const STATEMENTS_KEPT: usize = 200;
/// Rows that a connection's thread reads ahead of whoever takes them: it waits for them otherwise, a hop each time.
const ROWS_AHEAD: usize = 1024;

/// The database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the data directory {} is in use by another boardhand; stop it, or set another BOARDHAND_DATA_DIR", .0.display())]
    InUse(PathBuf),
    /// The directory or its lock cannot be made.
    #[error("BOARDHAND_DATA_DIR: {} cannot be used; make it a folder that this user may write to, or set another one", .dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The database cannot be opened.
    #[error("the database {} cannot be opened", .file.display())]
    Database {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// Another server has the PostgreSQL database.
    #[error("the database {0} is in use by another boardhand; stop it, or set another DATABASE_URL")]
    Served(String),
    /// The PostgreSQL database cannot be used.
    #[error("the database {place}: {problem}")]
    Server {
        /// Where it is.
        place: String,
        /// Why.
        problem: String,
    },
    /// Its schema cannot be brought up to date: an older boardhand on a newer database, for one.
    #[error("the database {} cannot be brought up to date; one of a newer boardhand needs that one, a damaged one a backup in its place", .file.display())]
    Migration {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
}

/// The schema, from its first day on; only ever added to.
pub(super) static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");

statements! {
    META_INSERT = "INSERT INTO meta (name, value)
        VALUES (?1, ?2)
        ON CONFLICT DO NOTHING";
}

/// The name of the secret in `meta`.
pub(super) const SECRET: &str = "secret";

impl SqlStore {
    /// Opens the store where the data is: in this PostgreSQL database, or else in the data folder. The one place where
    /// that is chosen; either way nobody else is at the data folder.
    pub async fn at(url: Option<&PostgresUrl>, data_dir: &Path, ids: &Ids) -> Result<SqlStore, OpenError> {
        match url {
            None => SqlStore::open(data_dir, SqliteOptions::new(ids.clone())).await,
            Some(url) => {
                let options =
                    PostgresOptions { data_dir: Some(data_dir.into()), ..PostgresOptions::new(ids.clone()) };
                // Rarer and larger than the other: whoever opens a file need not carry it.
                Box::pin(SqlStore::connect(url, options)).await
            }
        }
    }

    /// Opens the store in `data_dir`, making both when they are not there.
    pub async fn open(data_dir: &Path, options: SqliteOptions) -> Result<SqlStore, OpenError> {
        let lock = lock(data_dir)?;
        let file = data_dir.join("boardhand.db");
        let database = |source| OpenError::Database { file: file.clone(), source };
        // Made here so that nobody else can read it, whatever the directory's mode: it holds a secret.
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&file)
            .map_err(|error| database(sqlx::Error::Io(error)))?;

        let writing = writing(&file, &options);
        let mut connection = writing.connect().await.map_err(database)?;
        let migration = |source| OpenError::Migration { file: file.clone(), source };
        MIGRATIONS.run(&mut connection).await.map_err(migration)?;
        let mut connection = Connection::Sqlite(connection);
        secret_make(&mut connection, &options.ids).await.map_err(database)?;

        let readers = readers(&file, &options).await.map_err(database)?;
        let home = Home::Sqlite(Box::new(writing));
        let writer = Writer::start(connection, home, options.ids.clone(), Some(lock));
        let readers = Readers::Sqlite(readers);
        Ok(SqlStore { writer, readers, unreadable: Arc::default(), ids: options.ids })
    }
}

/// Where the writer finds its database again when its connection has failed.
pub(super) enum Home {
    Sqlite(Box<SqliteConnectOptions>),
    Postgres(Box<postgres::Home>),
}

impl Home {
    pub(super) async fn connect(&self) -> Stored<Connection> {
        match self {
            Home::Sqlite(options) => options.connect().await.map(Connection::Sqlite).map_err(unavailable),
            Home::Postgres(home) => home.connect().await.map(Connection::Postgres),
        }
    }

    /// Whether it is reached over a connection that can be gone without a word.
    pub(super) fn is_remote(&self) -> bool {
        matches!(self, Home::Postgres(_))
    }

    /// Whether another process has it now: this one never writes again.
    pub(super) fn is_lost(&self) -> bool {
        match self {
            // The lock of the data directory is never lost.
            Home::Sqlite(_) => false,
            Home::Postgres(home) => home.is_lost(),
        }
    }
}

pub(super) fn lock(data_dir: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::Directory { dir: data_dir.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(failed)?;
    let file = data_dir.join("boardhand.lock");
    let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(file).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(data_dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn writing(file: &Path, options: &SqliteOptions) -> SqliteConnectOptions {
    let connect = SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Wal)
        // Not NORMAL: what was acknowledged must outlive a power cut.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // What a statement may have to undo is kept in memory: SQLite makes a file for it otherwise, with every group.
        .pragma("temp_store", "MEMORY")
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENTS_KEPT)
        .row_buffer_size(ROWS_AHEAD);
    match options.pages_max {
        Some(pages) => connect.pragma("max_page_count", pages.to_string()),
        None => connect,
    }
}

async fn readers(file: &Path, options: &SqliteOptions) -> Result<SqlitePool, sqlx::Error> {
    let connect = SqliteConnectOptions::new()
        .filename(file)
        .read_only(true)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENTS_KEPT)
        .row_buffer_size(ROWS_AHEAD);
    SqlitePoolOptions::new()
        .max_connections(options.readers.max(1))
        // A file does not hang up: asking before every use would double each read's hops.
        .test_before_acquire(false)
        .connect_with(connect)
        .await
}

pub(super) async fn secret_make(connection: &mut Connection, ids: &Ids) -> Result<(), sqlx::Error> {
    let secret = hex::encode(ids.bytes::<32>());
    sql::query(META_INSERT).bind(SECRET).bind(secret).execute(connection).await?;
    Ok(())
}
