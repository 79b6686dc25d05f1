//! Opening a file: the schema and the connections of SQLite. The lock of its folder is kept until the writer has ended:
//! whoever gets it knows that the process before it is dead.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::SqlStore;
use super::link::{Connection, Readers};
use super::open::{Home, OpenError, lock, secret_make};
use super::writer::Writer;
use crate::id::Ids;
use crate::lease::Trust;

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

/// The schema, from its first day on; only ever added to.
pub(super) static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");

impl SqlStore {
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
        let writer = Writer::start(connection, home, options.ids.clone(), (Some(lock), Trust::always()));
        let readers = Readers::Sqlite(readers);
        let (_, gave_up) = tokio::sync::watch::channel(false);
        let writer = Arc::new(writer);
        Ok(SqlStore::new(writer, readers, options.ids, (gave_up, Trust::always())))
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

pub(super) async fn readers(file: &Path, options: &SqliteOptions) -> Result<SqlitePool, sqlx::Error> {
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
