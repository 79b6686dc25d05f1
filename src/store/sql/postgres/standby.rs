//! Standing by: several servers over one database, of which one works and the others wait for its lock. The one that works
//! writes a beat through the very connection that holds the lock. When no beat came through for [`GIVE_UP_AFTER`], counted
//! from before it was sent, it drives no board any more, and ends; nobody takes its place before
//! [`TAKEN_AFTER`] after the last beat that the database has. Times between servers are the database's own.

use std::sync::Weak;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::sync::watch;

use super::super::link::{self, Connection};
use super::super::row::{Reader, statements, unavailable};
use super::super::writer::Writer;
use super::open::{connect, lock};
use crate::clock::Clock;
use crate::lease::Trust;
use crate::store::Result;

/// How often the one that works says so.
const BEAT_EVERY: Duration = Duration::from_secs(2);
/// After how long without a beat it ends.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(8);
/// How long after the last beat another takes its place.
pub const TAKEN_AFTER: Duration = Duration::from_secs(12);
/// How often one that waits asks for the lock.
const LOCK_EVERY: Duration = Duration::from_secs(1);
/// The name of the beat in `meta`.
pub(in super::super) const BEAT: &str = "beat";
/// Beside those of every connection: a server that is gone is noticed sooner than another takes its place.
pub(super) const SETTINGS: [(&str, &str); 3] =
    [("tcp_keepalives_idle", "3"), ("tcp_keepalives_interval", "2"), ("tcp_keepalives_count", "2")];

statements! {
    BEAT_WRITE = "INSERT INTO meta (name, value)
        VALUES ($1, (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint::text)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    BEAT_AGE = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint - value::bigint AS age
        FROM meta
        WHERE name = $1";
    BEAT_END = "DELETE FROM meta WHERE name = 'beat'";
}
/// Waits for the lock however long that takes, and then until whoever had it has ended.
/// Gives whether there was a word of it, and it has ended for certain.
pub(super) async fn take_place(
    options: &PgConnectOptions,
    connection: Connection,
) -> Result<(Connection, bool)> {
    let clock = Clock::system();
    let mut connection = connection;
    let mut waits = false;
    loop {
        match lock(&mut connection).await {
            Ok(true) => break,
            Ok(false) if waits => {}
            Ok(false) => {
                waits = true;
                tracing::info!("another server works on this database: standing by");
            }
            Err(error) => {
                tracing::warn!(%error, "the database was not reached while standing by");
                if let Ok(again) = connect(options).await {
                    connection = again;
                }
            }
        }
        clock.sleep(LOCK_EVERY).await;
    }
    let age = age(&mut connection).await?;
    if let Some(age) = age {
        let left = TAKEN_AFTER.saturating_sub(age);
        if !left.is_zero() {
            tracing::info!(seconds = left.as_secs(), "waiting until the server before has ended for certain");
            clock.sleep(left).await;
        }
    }
    Ok((connection, age.is_some()))
}

/// How old the last beat is, where there is one.
async fn age(connection: &mut Connection) -> Result<Option<Duration>> {
    let row = link::query(BEAT_AGE).bind(BEAT).fetch_optional(connection).await.map_err(unavailable)?;
    let Some(row) = row else { return Ok(None) };
    let age = Reader::new(&row, "meta", "age").int("age")?;
    Ok(Some(Duration::from_micros(age.max(0).unsigned_abs())))
}

/// The first beat, before anything of the server before is taken over.
pub(super) async fn begin(connection: &mut Connection) -> Result<()> {
    link::query(BEAT_WRITE).bind(BEAT).execute(connection).await.map(drop).map_err(unavailable)
}

/// Beats until the writer ends, and renews `trust` with each that came through; says through `gave_up` when none did for too
/// long.
pub(super) async fn beat(writer: Weak<Writer>, trust: Trust, gave_up: watch::Sender<bool>) {
    let clock = Clock::system();
    let mut good = clock.monotonic();
    loop {
        let (trusted_from, began) = (trust.begin(), clock.monotonic());
        let left = GIVE_UP_AFTER.saturating_sub(began.since(good));
        let Some(writer) = writer.upgrade().filter(|writer| writer.is_open()) else { return };
        let beat = writer.write_unheard(|tx| {
            Box::pin(async move {
                let beat = link::query(BEAT_WRITE).bind(BEAT);
                beat.execute(tx.connection().await?).await.map(drop).map_err(unavailable)
            })
        });
        // A beat that is late is as good as none, though it may come through still: then nobody else has the lock.
        let came = matches!(clock.timeout(left, beat).await, Ok(Ok(())));
        drop(writer);
        if came {
            trust.renew(trusted_from);
            good = began;
        } else if clock.monotonic().since(good) >= GIVE_UP_AFTER {
            tracing::error!(
                "the database was not reached for {} s: this server ends",
                GIVE_UP_AFTER.as_secs()
            );
            gave_up.send_replace(true);
            return;
        }
        clock.sleep(if came { BEAT_EVERY } else { BEAT_EVERY / 8 }).await;
    }
}
