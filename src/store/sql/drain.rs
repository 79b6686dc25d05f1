//! Drains: what takes nothing new because somebody said so. A grant that was thought out before the newest of them is
//! refused in the transaction of the grant, so that nothing begins after it was said that nothing does.

use super::ledger::{self, Answer};
use super::link::{self, Readers, Row};
use super::row::{self, Reader, statements, unavailable};
use super::script::{Script, Tx};
use super::unreadable::Unreadable;
use crate::board::BoardId;
use crate::chat::{Actor, AnswerVia};
use crate::clock::Timestamp;
use crate::id::Ids;
use crate::message::Note;
use crate::store::{Drain, Drained, Effected, NewDrain, Result};

statements! {
    DRAINS = "SELECT number, kind, name, reason, by, at, ends_at, told_at
        FROM drains
        ORDER BY number";
    DRAIN_NEWEST = "SELECT COALESCE(MAX(number), 0) AS number FROM drains";
    DRAIN_REMOVE = "DELETE FROM drains WHERE kind = ?1 AND name = ?2";
    // Whoever asked sees in the answer that nothing is on it.
    DRAIN_INSERT = "INSERT INTO drains (kind, name, reason, by, at, ends_at, told_at)
        SELECT ?1, ?2, ?3, ?4, ?5, ?6,
               CASE WHEN NOT EXISTS (SELECT 1
                                     FROM leases AS l
                                     WHERE l.state IN ('active', 'finalizing', 'held')
                                       AND l.board IN (SELECT value FROM jsonb_each(?7)))
                    THEN ?5 END";
    DRAIN_TELL = "UPDATE drains
        SET told_at = ?2
        WHERE number = ?1 AND told_at IS NULL";
    DRAIN_OVER = "DELETE FROM drains WHERE number = ?1";
    // Whoever was at it may have left it in any state, and where the family has health runs one says how it is.
    BOARDS_OPEN = "UPDATE boards
        SET needs_fence = 1, check_wanted = 1
        WHERE id IN (SELECT value FROM jsonb_each(?1)) AND health <> 'quarantined'";
}

/// Every drain, the oldest first.
pub(super) async fn list(readers: &Readers, unreadable: &Unreadable) -> Result<Vec<Drain>> {
    let rows = link::query(DRAINS).fetch_all(readers).await.map_err(unavailable)?;
    unreadable.sift(&rows, read)
}

/// A drain from its row.
pub(super) fn read(row: &Row) -> Result<Drain> {
    let row = Reader::new(row, "drains", "number");
    let name = row.text("name")?;
    Ok(Drain {
        number: row.int("number")?,
        of: row.word("kind", |kind| Drained::from_words(kind, name))?,
        reason: row.text("reason")?.to_owned(),
        by: row.json("by")?,
        at: row.at("at")?,
        ends_at: row.opt_at("ends_at")?,
        told: row.opt_at("told_at")?.is_some(),
    })
}

/// Whether a drain came after `seen`, the newest that whoever chose a board knew.
pub(super) async fn is_newer(tx: &mut Tx, seen: Option<i64>) -> Result<bool> {
    let rows = link::query(DRAIN_NEWEST).fetch_all(tx.connection().await?).await.map_err(unavailable)?;
    let newest = newest(&rows)?;
    Ok(seen.is_some_and(|seen| newest > seen))
}

/// The newest drain, of the answer to [`DRAIN_NEWEST`].
pub(super) fn newest(rows: &[Row]) -> Result<i64> {
    rows.first().map_or(Ok(0), |row| Reader::new(row, "drains", "number").int("number"))
}

/// Lets a board or a site take nothing new; one that was there before gives way to this.
pub(super) async fn begin(tx: &mut Tx, ids: &Ids, new: &NewDrain, by: &Actor, now: Timestamp) -> Result<()> {
    let (kind, name) = (new.of.kind(), new.of.name());
    let mut script = Script::default();
    script.add(DRAIN_REMOVE, [kind.into(), name.into()]);
    let row = [
        kind.into(),
        name.into(),
        new.reason.as_str().into(),
        row::json(by).into(),
        now.into(),
        new.ends_at.into(),
        row::json(&new.boards).into(),
    ];
    script.add(DRAIN_INSERT, row).expect(1, "drains", name);
    tx.leave(script);
    let tell: Vec<Answer<'_>> = new.tell.iter().map(|(via, note)| Answer { via, note, at: now }).collect();
    ledger::owe(tx, ids, &[], &tell).await
}

/// Lets it take new work again.
pub(super) async fn end(tx: &mut Tx, of: &Drained, boards: &[BoardId]) -> Result<Effected> {
    let query = link::query(DRAIN_REMOVE).bind(of.kind()).bind(of.name());
    if query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected() == 0 {
        return Ok(Effected::Unchanged);
    }
    open(tx, boards);
    Ok(Effected::Done)
}

/// Boards take new work again.
fn open(tx: &mut Tx, boards: &[BoardId]) {
    let mut script = Script::default();
    script.add(BOARDS_OPEN, [row::json(boards).into()]);
    tx.leave(script);
}

/// Nothing is on it any more, and whoever asked is told, once.
pub(super) async fn tell(
    tx: &mut Tx,
    ids: &Ids,
    number: i64,
    (via, note): &(AnswerVia, Note),
    now: Timestamp,
) -> Result<()> {
    let query = link::query(DRAIN_TELL).bind(number).bind(now.as_micros());
    if query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected() > 0 {
        ledger::owe(tx, ids, &[], &[Answer { via, note, at: now }]).await?;
    }
    Ok(())
}

/// Its time is over, and whoever asked is told; gives whether it was there.
pub(super) async fn over(
    tx: &mut Tx,
    ids: &Ids,
    number: i64,
    boards: &[BoardId],
    (via, note): &(AnswerVia, Note),
    now: Timestamp,
) -> Result<bool> {
    let query = link::query(DRAIN_OVER).bind(number);
    if query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected() == 0 {
        return Ok(false);
    }
    open(tx, boards);
    ledger::owe(tx, ids, &[], &[Answer { via, note, at: now }]).await?;
    Ok(true)
}
