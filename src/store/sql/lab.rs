//! Which lab file is in force, and who asked for it to be read again.

use super::ledger::{self, Answer};
use super::link::{self, Readers, Row};
use super::row::{Reader, json, statements, unavailable};
use super::script::Tx;
use super::unreadable::Unreadable;
use crate::clock::Timestamp;
use crate::id::{Ids, MessageId};
use crate::message::Note;
use crate::store::{ReloadRequest, Result};

/// The name of the lab file's hash in `meta`.
const LAB: &str = "lab";
/// Most requests that are answered at once.
const REQUESTS_MAX: i64 = 256;

statements! {
    LAB_READ = "SELECT name, value FROM meta WHERE name = ?1";
    LAB_WRITE = "INSERT INTO meta (name, value)
        VALUES (?1, ?2)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    RELOADS_DUE = "SELECT id, via
        FROM reloads
        ORDER BY asked_at
        LIMIT ?1 + 0";
    RELOADS_DONE = "DELETE FROM reloads
        WHERE id IN (SELECT value FROM jsonb_each(?1))
        RETURNING id, via";
}

/// The hash of the lab file in force.
pub(super) async fn hash(readers: &Readers) -> Result<Option<String>> {
    let found = link::query(LAB_READ).bind(LAB).fetch_optional(readers).await.map_err(unavailable)?;
    found.map(|row| Ok(Reader::new(&row, "meta", "name").text("value")?.to_owned())).transpose()
}

/// Puts another lab file in force.
pub(super) async fn put(tx: &mut Tx, hash: &str) -> Result<()> {
    link::query(LAB_WRITE).bind(LAB).bind(hash).execute(tx.connection().await?).await.map_err(unavailable)?;
    Ok(())
}

/// Who waits for the file to be read again.
pub(super) async fn reloads_due(readers: &Readers, unreadable: &Unreadable) -> Result<Vec<ReloadRequest>> {
    let query = link::query(RELOADS_DUE).bind(REQUESTS_MAX + unreadable.count() as i64);
    let rows = query.fetch_all(readers).await.map_err(unavailable)?;
    unreadable.sift(&rows, |row: &Row| {
        let row = Reader::new(row, "reloads", "id");
        Ok(ReloadRequest { id: row.id("id")?, via: row.json("via")? })
    })
}

/// The file was read again: those who asked are told.
pub(super) async fn reloads_done(
    tx: &mut Tx,
    ids: &Ids,
    done: &[MessageId],
    note: &Note,
    now: Timestamp,
) -> Result<()> {
    let query = link::query(RELOADS_DONE).bind(json(done));
    let rows = query.fetch_all(tx.connection().await?).await.map_err(unavailable)?;
    let via = |row: &Row| Reader::new(row, "reloads", "id").json("via");
    let told = rows.iter().map(via).collect::<Result<Vec<_>>>()?;
    let answers: Vec<Answer<'_>> = told.iter().map(|via| Answer { via, note, at: now }).collect();
    ledger::owe(tx, ids, &[], &answers).await
}
