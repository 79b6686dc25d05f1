//! Opening: the data directory and its lock, and what both databases share; what each needs of its own stands in
//! [`super::sqlite`] and [`super::postgres::open`].
//!
//! The lock says who may drive boards, not only who may write: whoever gets it knows that the process before it is
//! dead. It is kept until the writer has ended.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use super::link::{self, Connection};
use super::postgres::{PostgresOptions, PostgresUrl};
use super::row::{statements, unavailable};
use super::sqlite::SqliteOptions;
use super::{SqlStore, postgres};
use crate::id::Ids;
use crate::store::Result as Stored;

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
    pub async fn at(
        url: Option<&PostgresUrl>,
        data_dir: &Path,
        ids: &Ids,
        standby: bool,
    ) -> Result<SqlStore, OpenError> {
        match url {
            None => SqlStore::open(data_dir, SqliteOptions::new(ids.clone())).await,
            Some(url) => {
                let data_dir = Some(data_dir.into());
                let options = PostgresOptions { data_dir, standby, ..PostgresOptions::new(ids.clone()) };
                // Rarer and larger than the other: whoever opens a file need not carry it.
                Box::pin(SqlStore::connect(url, options)).await
            }
        }
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

    /// What is said at an orderly end.
    pub(super) fn farewell(&self) -> Option<&'static str> {
        match self {
            // What stands there is not its own any more where another has the database.
            Home::Postgres(home) if !home.is_lost() => Some(postgres::FAREWELL),
            Home::Postgres(_) | Home::Sqlite(_) => None,
        }
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

/// Takes the data folder, making it when it is not there.
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

/// Makes the secret of a database that has none.
pub(super) async fn secret_make(connection: &mut Connection, ids: &Ids) -> Result<(), sqlx::Error> {
    let secret = hex::encode(ids.bytes::<32>());
    link::query(META_INSERT).bind(SECRET).bind(secret).execute(connection).await?;
    Ok(())
}
