//! What is outdated, counted and not removed: the walk of [`super::tidy`] a page at a time, by readers alone, whether a server
//! works on the database or not. Nothing is written.

use std::path::Path;

use super::link::{self, Readers};
use super::open::OpenError;
use super::postgres::{self, PostgresUrl};
use super::row::{Reader, statements, unavailable};
use super::run;
use super::sqlite::{self, SqliteOptions};
use super::tidy::{
    AUDIT_PAGE, BUILDS_PAGE, ERRANDS_PAGE, EVENTS_PAGE, LEASES_PAGE, OUTBOX_PAGE, audit_outdated,
    builds_outdated, errands_outdated, events_outdated, leases_outdated, outbox_outdated,
};
use super::unreadable::Unreadable;
use crate::clock::Timestamp;
use crate::id::Ids;
use crate::store::{Going, Outdated, Result};

/// The columns of a count.
macro_rules! going {
    ($at:literal, $bytes:literal) => {
        concat!(
            "SELECT COUNT(*) AS gone, MIN(",
            $at,
            ") AS oldest, COALESCE(SUM(LENGTH(",
            $bytes,
            ")), 0) AS bytes "
        )
    };
}
pub(super) use going;

statements! {
    EVENTS_GOING = concat!(going!("at", "facts"), events_outdated!());
    AUDIT_GOING = concat!(going!("at", "target"), audit_outdated!());
    OUTBOX_GOING = concat!(going!("owed_at", "note"), outbox_outdated!());
    ERRANDS_GOING = concat!(going!("asked_at", "via"), errands_outdated!());
    LEASES_GOING = concat!(going!("granted_at", "holder"), leases_outdated!());
    BUILDS_GOING = concat!(going!("registered_at", "artifacts"), builds_outdated!());
}

/// A look at a database, beside whoever works on it.
pub struct Lookout {
    readers: Readers,
    unreadable: Unreadable,
}

impl Lookout {
    /// The database of this address; without one, that of the data folder.
    pub async fn open(data_dir: &Path, url: Option<&PostgresUrl>) -> std::result::Result<Lookout, OpenError> {
        let readers = match url {
            Some(url) => Readers::Postgres(postgres::readers(url)),
            None => {
                let file = data_dir.join("boardhand.db");
                let pool = sqlite::readers(&file, &SqliteOptions::new(Ids::system())).await;
                Readers::Sqlite(pool.map_err(|source| OpenError::Database { file, source })?)
            }
        };
        Ok(Lookout { readers, unreadable: Unreadable::default() })
    }

    /// How much of each kind is outdated.
    pub async fn going(&self, outdated: &Outdated, limit: u32) -> Result<Vec<Going>> {
        let kinds = [
            ("events", EVENTS_PAGE, EVENTS_GOING, outdated.events),
            ("audit", AUDIT_PAGE, AUDIT_GOING, outdated.audit),
            ("messages", OUTBOX_PAGE, OUTBOX_GOING, outdated.messages),
            ("power-requests", ERRANDS_PAGE, ERRANDS_GOING, outdated.errands),
            ("leases", LEASES_PAGE, LEASES_GOING, outdated.leases),
            ("builds", BUILDS_PAGE, BUILDS_GOING, outdated.builds),
        ];
        let mut all = Vec::with_capacity(kinds.len());
        for (kind, page, count, before) in kinds {
            all.push(self.kind(Going::none(kind), (page, count), before, limit).await?);
        }
        Ok(all)
    }

    /// Those of these runs that are finished, and since when.
    pub async fn run_ended(&self, numbers: &[i64]) -> Result<Vec<(i64, Timestamp)>> {
        run::ended(&self.readers, &self.unreadable, numbers).await
    }

    async fn kind(
        &self,
        mut going: Going,
        (page, count): (&'static str, &'static str),
        before: Timestamp,
        limit: u32,
    ) -> Result<Going> {
        let mut from = 0;
        loop {
            let query = link::query(page).bind(from).bind(i64::MAX).bind(limit);
            let found = query.fetch_one(&self.readers).await.map_err(unavailable)?;
            let found = Reader::new(&found, "page", "last");
            let (rows, last, newest) = (found.int("found")?, found.int("last")?, found.at("newest")?);
            let query = link::query(count).bind(from).bind(last).bind(before.as_micros());
            let row = query.fetch_one(&self.readers).await.map_err(unavailable)?;
            let row = Reader::new(&row, going.kind, "gone");
            going.rows += row.int("gone")?.unsigned_abs();
            going.bytes += row.int("bytes")?.unsigned_abs();
            going.oldest = match (going.oldest, row.opt_at("oldest")?) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
            // As the walk itself: behind a page that is young enough nothing is worth a look.
            if rows < i64::from(limit) || newest >= before {
                return Ok(going);
            }
            from = last;
        }
    }
}
