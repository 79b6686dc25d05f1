//! Coming to a database as its only server. Whoever holds its advisory lock is that server, and the writer's own
//! connection holds it: a write of a server that is not the only one any more has nothing that it could be committed on.
//!
//! The lock is gone with its connection. A server that comes back to it finds its own mark, or that of another, which has
//! taken its leases away meanwhile: then it never writes again. Until it comes back it drives boards for a while only
//! ([`turn`]).

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::ConnectOptions;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use tokio::sync::watch;

use super::super::link::{self, Connection, Readers};
use super::super::open::secret_make;
use super::super::row::{Reader, statements, unavailable};
use super::super::writer::Writer;
use super::super::{SqlStore, open};
use super::turn::Folder;
use super::{standby, turn};
use crate::clock::Clock;
use crate::id::Ids;
use crate::lease::Trust;
use crate::store::{Result, StoreError};

/// The schema, from its first day on; only ever added to. Numbers and names are those of SQLite's.
pub(in super::super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// Which of a database's advisory locks is the server's.
const SERVER_LOCK: i64 = 0x626f_6172_6468_616e;
/// How often the lock is asked for at the start: that of a server that was killed goes when its connection does.
const LOCK_TRIES: u32 = 20;
/// The same when the writer connects again: those who wait for it are told meanwhile.
const LOCK_TRIES_AGAIN: u32 = 5;
/// How long it is waited for each time.
const LOCK_WAIT: Duration = Duration::from_millis(250);
/// How long a connection is waited for.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that read, unless told otherwise.
const READERS: u32 = 4;
/// Prepared statements kept per connection; more than there are.
const STATEMENTS_KEPT: usize = 400;
/// What every connection asks for: an answer that was given outlives a power cut, nothing waits for ever, and a
/// connection that is gone is noticed at both ends within half a minute.
const SETTINGS: [(&str, &str); 9] = [
    ("synchronous_commit", "on"),
    ("statement_timeout", "30s"),
    ("lock_timeout", "10s"),
    ("idle_in_transaction_session_timeout", "60s"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("client_min_messages", "warning"),
    ("TimeZone", "UTC"),
];

statements! {
    LOCK = "SELECT pg_try_advisory_lock($1) AS held";
}

/// The address of a database, with its password, which is never shown.
#[derive(Clone)]
pub struct PostgresUrl(SecretString);

impl std::fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PostgresUrl(..)")
    }
}

/// A text that is no address of a PostgreSQL database. It does not repeat the text.
#[derive(Debug, thiserror::Error)]
#[error("it must look like postgres://user:password@host:5432/database")]
pub struct NoPostgresUrl;

impl PostgresUrl {
    /// From `postgres://…` or `postgresql://…`.
    pub fn parse(text: &str) -> std::result::Result<Self, NoPostgresUrl> {
        let is_ours = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
        // What is wrong with it is not said: it would be said with the password.
        match PgConnectOptions::from_str(text) {
            Ok(_) if is_ours => Ok(PostgresUrl(text.into())),
            _ => Err(NoPostgresUrl),
        }
    }

    /// Where it is, for people: host and database.
    pub fn place(&self) -> String {
        let options = self.options();
        let host = options.get_socket().map_or(options.get_host().into(), |socket| socket.to_string_lossy());
        format!(
            "{}:{}/{}",
            host,
            options.get_port(),
            options.get_database().unwrap_or(options.get_username())
        )
    }

    fn options(&self) -> PgConnectOptions {
        PgConnectOptions::from_str(self.0.expose_secret())
            .expect("it was parsed before")
            .application_name("boardhand")
            .statement_cache_capacity(STATEMENTS_KEPT)
            .options(SETTINGS)
    }
}

/// How a store is opened.
#[derive(Clone)]
pub struct PostgresOptions {
    /// Where message ids, the secret and the server's mark come from.
    pub ids: Ids,
    /// Connections that read.
    pub readers: u32,
    /// The server's data folder, which is locked as well.
    pub data_dir: Option<PathBuf>,
    /// How often the lock of another server is asked for before it is believed.
    pub lock_tries: u32,
    /// Whether it waits for the place of another server, and ends when it has lost its own.
    pub standby: bool,
}

impl PostgresOptions {
    /// What a server uses.
    pub fn new(ids: Ids) -> Self {
        PostgresOptions { ids, readers: READERS, data_dir: None, lock_tries: LOCK_TRIES, standby: false }
    }
}

/// Where the writer finds its database again when its connection has failed.
pub(in super::super) struct Home {
    options: PgConnectOptions,
    mark: String,
    lost: Arc<AtomicBool>,
}

impl Home {
    /// Connects, and is the only server again; fails for good where another one was here meanwhile.
    pub(in super::super) async fn connect(&self) -> Result<PgConnection> {
        let mut connection = connect(&self.options).await?;
        let held = lock_patiently(&mut connection, LOCK_TRIES_AGAIN).await?;
        let found = turn::mark_read(&mut connection).await?;
        match (found.as_deref() == Some(self.mark.as_str()), held) {
            (true, true) => match connection {
                Connection::Postgres(connection) => Ok(connection),
                Connection::Sqlite(_) => Err(StoreError::Unavailable("not a PostgreSQL".into())),
            },
            (true, false) => Err(StoreError::Unavailable(
                "the connection that was lost still holds the lock of this server".into(),
            )),
            (false, _) => {
                tracing::error!("another server took this database over: this one ends");
                self.lost.store(true, Ordering::Release);
                Err(StoreError::Unavailable("another server has taken this database over".into()))
            }
        }
    }

    /// Whether another server has the database now.
    pub(in super::super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }
}

impl SqlStore {
    /// Opens the store in a PostgreSQL database that is there, as its only server.
    pub async fn connect(
        url: &PostgresUrl,
        options: PostgresOptions,
    ) -> std::result::Result<SqlStore, open::OpenError> {
        let (connect_with, place) = (url.options(), url.place());
        let connect_with =
            if options.standby { connect_with.options(standby::SETTINGS) } else { connect_with };
        let failed =
            |error: StoreError| open::OpenError::Server { place: place.clone(), problem: error.to_string() };
        let lock = options.data_dir.as_deref().map(open::lock).transpose()?;
        let folder = options.data_dir.as_deref().zip(lock.as_ref());
        let folder = folder.map(|(dir, lock)| Folder::locked(dir, lock));
        let mut connection = connect(&connect_with).await.map_err(failed)?;
        let mut waited = false;
        if options.standby {
            let taken = Box::pin(standby::take_place(&connect_with, connection)).await;
            (connection, waited) = taken.map_err(failed)?;
        } else if !lock_patiently(&mut connection, options.lock_tries).await.map_err(failed)? {
            return Err(open::OpenError::Served(place));
        }
        if let Connection::Postgres(connection) = &mut connection {
            let behind = |error: sqlx::migrate::MigrateError| open::OpenError::Server {
                place: place.clone(),
                problem: format!("it cannot be brought up to date: {error}"),
            };
            MIGRATIONS.run(connection).await.map_err(behind)?;
        }
        let mark = hex::encode(options.ids.bytes::<16>());
        let made = secret_make(&mut connection, &options.ids).await;
        made.map_err(|error| failed(unavailable(error)))?;
        // From here on it is driven by nobody else, and by this server from its first write on.
        turn::take(&mut connection, &mark, folder.as_ref(), waited).await.map_err(failed)?;
        // One that stands by counts from the last beat that came through, and no other write: so it has let go of its boards
        // before another may have them, also where it was stopped for a while and knows nothing of that.
        let (trust, beating) = if options.standby {
            let beating = Trust::lasting(Clock::system(), standby::GIVE_UP_AFTER);
            standby::begin(&mut connection).await.map_err(failed)?;
            (Trust::default(), beating)
        } else {
            let trust = Trust::lasting(Clock::system(), turn::TRUSTED_FOR);
            (trust.clone(), trust)
        };

        let readers = pool(options.readers, connect_with.clone());
        let home = open::Home::Postgres(Box::new(Home { options: connect_with, mark, lost: Arc::default() }));
        let writer = Writer::start(connection, home, options.ids.clone(), (lock, trust));
        let writer = Arc::new(writer);
        let (gives_up, gave_up) = watch::channel(false);
        if options.standby {
            tokio::spawn(standby::beat(Arc::downgrade(&writer), beating.clone(), gives_up));
        }
        let readers = Readers::Postgres(readers);
        Ok(SqlStore::new(writer, readers, options.ids, (gave_up, beating)))
    }
}

/// Connections that only read, beside whoever works on the database.
pub(in super::super) fn readers(url: &PostgresUrl) -> PgPool {
    pool(1, url.options())
}

fn pool(most: u32, connect_with: PgConnectOptions) -> PgPool {
    let pool = PgPoolOptions::new().max_connections(most.max(1)).acquire_timeout(CONNECT_TIMEOUT);
    pool.connect_lazy_with(connect_with)
}

pub(super) async fn connect(options: &PgConnectOptions) -> Result<Connection> {
    match Clock::system().timeout(CONNECT_TIMEOUT, options.connect()).await {
        Ok(connected) => connected.map(Connection::Postgres).map_err(unavailable),
        Err(_) => Err(StoreError::Unavailable(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()))),
    }
}

/// Asks for the lock; gives whether it is this connection's now.
pub(super) async fn lock(connection: &mut Connection) -> Result<bool> {
    let row = link::query(LOCK).bind(SERVER_LOCK).fetch_one(connection).await.map_err(unavailable)?;
    Reader::new(&row, "meta", "held").flag("held")
}

async fn lock_patiently(connection: &mut Connection, tries: u32) -> Result<bool> {
    for _ in 1..tries.max(1) {
        if lock(connection).await? {
            return Ok(true);
        }
        Clock::system().sleep(LOCK_WAIT).await;
    }
    lock(connection).await
}
