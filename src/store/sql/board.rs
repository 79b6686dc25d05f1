//! Boards' rows, and errands: power requests of people, each answered once.

use serde_json::json;

use super::lease::{self, health_from_word, lease_columns};
use super::ledger::{self, Answer, Event};
use super::link::{self, Readers, Row};
use super::row::{self, Reader, statements, unavailable};
use super::script::Tx;
use super::unreadable::Unreadable;
use crate::board::plan::PowerAction;
use crate::board::{BoardId, is_name};
use crate::chat::{Actor, AnswerVia};
use crate::clock::Timestamp;
use crate::id::{Ids, MessageId};
use crate::lease::Fence;
use crate::message::Note;
use crate::run::LeaseRef;
use crate::store::{BoardRow, Errand, ErrandView, Fenced, Quarantine, Result};

/// The columns that [`read`] reads, of `boards` as `b`, with the live lease as `l`.
macro_rules! board_columns {
    () => {
        concat!(
            "b.id, b.last_used_at, b.health, b.failures, b.reason, b.quarantined_at, b.quarantined_by, b.recent,
             b.checked_at, b.checked_by, b.checked_verdict, b.check_wanted, ",
            lease_columns!()
        )
    };
}
pub(super) use board_columns;

statements! {
    BOARDS_REGISTER = "INSERT INTO boards (id)
        SELECT value FROM jsonb_each(?1)
        WHERE true
        ON CONFLICT DO NOTHING
        RETURNING id";
    BOARDS_LIST = concat!("SELECT ", board_columns!(), "
        FROM boards AS b
        LEFT JOIN leases AS l ON l.board = b.id AND l.state IN ('active', 'finalizing', 'held')
        ORDER BY b.id");
    // Whoever looked at it may have left it in any state.
    BOARD_RETURN = "UPDATE boards
        SET health = 'good', failures = 0, reason = '', needs_fence = 1, quarantined_at = NULL, quarantined_by = NULL,
            recent = '', check_wanted = 1
        WHERE id = ?1 AND health = 'quarantined'";
    BOARD_QUARANTINE = "UPDATE boards
        SET health = 'quarantined', reason = ?2, quarantined_at = ?3, quarantined_by = ?4
        WHERE id = ?1 AND health <> 'quarantined'";
    // The lease that one takes has its id.
    ERRANDS_DUE = "SELECT e.id, e.board, e.action, e.by, e.via, e.asked_at, e.over_fence,
               e.begun_at IS NOT NULL OR EXISTS (SELECT 1 FROM leases AS l WHERE l.id = e.id) AS begun
        FROM errands AS e
        WHERE e.done_at IS NULL
        ORDER BY e.asked_at, e.rowid
        LIMIT ?1 + 0";
    // One thing at a time is done to a board that somebody has.
    ERRAND_BEGIN = "UPDATE errands
        SET begun_at = ?4
        WHERE id = ?1 AND done_at IS NULL AND begun_at IS NULL
          AND EXISTS (SELECT 1 FROM leases AS l WHERE l.id = ?2 AND l.fence = ?3 AND l.state = 'held')
          AND NOT EXISTS (SELECT 1 FROM runs AS r WHERE r.lease = ?2)
          AND NOT EXISTS (SELECT 1 FROM errands AS o
                          WHERE o.board = errands.board AND o.id <> ?1 AND o.begun_at IS NOT NULL AND o.done_at IS NULL)";
    ERRAND_DONE = "UPDATE errands
        SET done_at = ?2, answer = ?3
        WHERE id = ?1 AND done_at IS NULL
        RETURNING id, via";
    ERRAND_ONE = "SELECT e.id, e.board, e.action, e.by, e.via, e.asked_at, e.over_fence, e.done_at, e.answer,
               e.begun_at IS NOT NULL OR EXISTS (SELECT 1 FROM leases AS l WHERE l.id = e.id) AS begun
        FROM errands AS e
        WHERE e.id = ?1";
}

/// A board's row with its live lease.
pub(super) fn read(found: &Row) -> Result<BoardRow> {
    let row = Reader::new(found, "boards", "id");
    Ok(BoardRow {
        id: BoardId::new(row.text("id")?),
        lease: lease::read_joined(found)?,
        last_used_at: row.opt_at("last_used_at")?,
        health: row.word("health", health_from_word)?,
        failures: row.count("failures")?,
        reason: row.text("reason")?.to_owned(),
        quarantine: match row.opt_at("quarantined_at")? {
            Some(at) => Some(Quarantine { by: row.opt_json("quarantined_by")?, at }),
            None => None,
        },
        recent: row.text("recent")?.to_owned(),
        checked_at: row.opt_at("checked_at")?,
        checked: match row.opt_int("checked_by")? {
            Some(run) => Some((run, row.text("checked_verdict")?.to_owned())),
            None => None,
        },
        check_wanted: row.flag("check_wanted")?,
    })
}

/// Every board's row.
pub(super) async fn list(readers: &Readers, unreadable: &Unreadable) -> Result<Vec<BoardRow>> {
    let rows = link::query(BOARDS_LIST).fetch_all(readers).await.map_err(unavailable)?;
    unreadable.sift(&rows, read)
}

/// Makes a row for every board that has none.
pub(super) async fn register(tx: &mut Tx, boards: &[BoardId], now: Timestamp) -> Result<()> {
    let query = link::query(BOARDS_REGISTER).bind(row::json(boards));
    let rows = query.fetch_all(tx.connection().await?).await.map_err(unavailable)?;
    let fresh = |row: &Row| Ok(BoardId::new(Reader::new(row, "boards", "id").text("id")?));
    let fresh = rows.iter().map(fresh).collect::<Result<Vec<_>>>()?;
    let events: Vec<Event<'_>> = fresh.iter().map(|board| Event::board(now, "registered", board)).collect();
    ledger::events(tx, &events);
    Ok(())
}

/// Puts a quarantined board back into service; gives whether it was quarantined.
pub(super) async fn return_to_service(tx: &mut Tx, board: &BoardId, now: Timestamp) -> Result<bool> {
    let query = link::query(BOARD_RETURN).bind(board.as_str());
    if query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected() == 0 {
        return Ok(false);
    }
    ledger::events(tx, &[Event::board(now, "registered", board)]);
    Ok(true)
}

/// Takes a board out of service; gives whether it was in service.
pub(super) async fn quarantine(
    tx: &mut Tx,
    board: &BoardId,
    reason: &str,
    by: &Actor,
    now: Timestamp,
) -> Result<bool> {
    let query = link::query(BOARD_QUARANTINE).bind(board.as_str()).bind(reason).bind(now.as_micros());
    let query = query.bind(row::json(by));
    if query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected() == 0 {
        return Ok(false);
    }
    ledger::events(tx, &[Event::board(now, "registered", board).with(json!({ "quarantined": reason }))]);
    Ok(true)
}

/// The oldest power requests that are owed.
pub(super) async fn errands_due(
    readers: &Readers,
    unreadable: &Unreadable,
    limit: u32,
) -> Result<Vec<Errand>> {
    // Those that cannot be read stay at the front: they must not fill the page.
    let query = link::query(ERRANDS_DUE).bind(i64::from(limit) + unreadable.count() as i64);
    let rows = query.fetch_all(readers).await.map_err(unavailable)?;
    let mut due = unreadable.sift(&rows, errand_read)?;
    due.truncate(limit as usize);
    Ok(due)
}

/// A power request is begun under the lease of the one who asked, or of somebody else, who is told; gives whether that is
/// theirs still, with nothing else at work on it.
pub(super) async fn errand_begin(
    tx: &mut Tx,
    ids: &Ids,
    id: MessageId,
    (lease, told): (&LeaseRef, Option<&(AnswerVia, Note)>),
    now: Timestamp,
) -> Result<Fenced> {
    let query = link::query(ERRAND_BEGIN).bind(id.to_string()).bind(lease.id.to_string());
    let query = query.bind(lease.fence.0).bind(now.as_micros());
    let begun = query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected();
    if begun == 0 {
        return Ok(Fenced::Stale);
    }
    if let Some((via, note)) = told {
        ledger::owe(tx, ids, &[], &[Answer { via, note, at: now }]).await?;
    }
    Ok(Fenced::Done)
}

/// A power request is done, and answered.
pub(super) async fn errand_done(
    tx: &mut Tx,
    ids: &Ids,
    id: MessageId,
    (note, told): (&Note, Option<&(AnswerVia, Note)>),
    now: Timestamp,
) -> Result<()> {
    let query = link::query(ERRAND_DONE).bind(id.to_string()).bind(now.as_micros()).bind(row::json(note));
    let Some(row) = query.fetch_optional(tx.connection().await?).await.map_err(unavailable)? else {
        return Ok(());
    };
    let via = Reader::new(&row, "errands", "id").json("via")?;
    let told = told.map(|(via, note)| Answer { via, note, at: now });
    let owed: Vec<Answer<'_>> = [Answer { via: &via, note, at: now }].into_iter().chain(told).collect();
    ledger::owe(tx, ids, &[], &owed).await
}

/// One power request, and how it ended.
pub(super) async fn errand_view(readers: &Readers, id: MessageId) -> Result<Option<ErrandView>> {
    let query = link::query(ERRAND_ONE).bind(id.to_string());
    let Some(found) = query.fetch_optional(readers).await.map_err(unavailable)? else { return Ok(None) };
    let row = Reader::new(&found, "errands", "id");
    let done = match row.opt_at("done_at")? {
        Some(at) => Some((at, row.opt_json("answer")?)),
        None => None,
    };
    Ok(Some(ErrandView { errand: errand_read(&found)?, done }))
}

fn errand_read(row: &Row) -> Result<Errand> {
    let row = Reader::new(row, "errands", "id");
    Ok(Errand {
        id: row.id("id")?,
        board: BoardId::new(row.text("board")?),
        action: row.word("action", action_from_word)?,
        by: row.json("by")?,
        via: row.json("via")?,
        asked_at: row.at("asked_at")?,
        begun: row.flag("begun")?,
        over: row.opt_int("over_fence")?.map(Fence),
    })
}

fn action_from_word(word: &str) -> Option<PowerAction> {
    is_name(word).then(|| PowerAction::from(word.to_owned()))
}
