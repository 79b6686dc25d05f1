//! The queue's change log: the events after a cursor say which runs and boards to look at; what is given is how those
//! rows are now. Without a cursor, everything that is not finished.
//!
//! Where a statement names its index, SQLite would rather walk a growing table in the order that is asked for.

use std::time::Duration;

use serde::Deserialize;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::board;
use super::lease::lease_columns;
use super::row::{Reader, statements, unavailable};
use super::run::{self, run_columns};
use super::unreadable::Unreadable;
use crate::board::{BoardId, Family};
use crate::run::{Run, RunState};
use crate::store::{Cursor, QueueChanges, QueueRun, Result, Took, Waiting};

/// Most events read in one step.
pub(super) const CHANGES_MAX: i64 = 1000;
/// How many finished attempts are given at the start, for estimates.
pub(super) const DURATIONS_MAX: i64 = 1000;

statements! {
    NEWEST = "SELECT COALESCE(MAX(seq), 0) FROM events";
    RUNS_ALL = concat!("SELECT ", run_columns!(), "
        FROM runs AS r INDEXED BY runs_unfinished
        WHERE r.state <> 'finished'
        ORDER BY r.number");
    BOARDS_ALL = concat!("SELECT b.id, b.last_used_at, b.health, b.failures, b.reason, ", lease_columns!(), "
        FROM boards AS b
        LEFT JOIN leases AS l ON l.board = b.id AND l.state IN ('active', 'finalizing', 'held')
        ORDER BY b.id");
    DURATIONS_LAST = "SELECT last.run, r.id, last.number AS attempt, r.spec,
               last.ended_at - last.started_at AS took
        FROM (SELECT *
              FROM attempts
              WHERE ended_at IS NOT NULL AND verdict IN ('passed', 'failed', 'timed-out')
              ORDER BY ended_at DESC
              LIMIT ?1 + 0) AS last
        JOIN runs AS r ON r.number = last.run
        ORDER BY last.ended_at";
    LAST_OF_PAGE = "SELECT COUNT(*) AS events, COALESCE(MAX(seq), ?1) AS seq
        FROM (SELECT seq FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2 + 0)";
    RUNS_CHANGED = concat!("SELECT ", run_columns!(), "
        FROM runs AS r
        WHERE r.number IN (SELECT run FROM events WHERE seq > ?1 AND seq <= ?2 AND run IS NOT NULL)
        ORDER BY r.number");
    BOARDS_CHANGED = concat!("SELECT b.id, b.last_used_at, b.health, b.failures, b.reason, ", lease_columns!(), "
        FROM boards AS b
        LEFT JOIN leases AS l ON l.board = b.id AND l.state IN ('active', 'finalizing', 'held')
        WHERE b.id IN (SELECT board FROM events WHERE seq > ?1 AND seq <= ?2 AND board IS NOT NULL)
        ORDER BY b.id");
    DURATIONS_SINCE = "SELECT a.run, r.id, a.number AS attempt, r.spec,
               a.ended_at - a.started_at AS took
        FROM events AS e
        JOIN attempts AS a ON a.run = e.run AND a.number = e.attempt
        JOIN runs AS r ON r.number = e.run
        WHERE e.seq > ?1 AND e.seq <= ?2 AND e.kind = 'settled' AND a.verdict IN ('passed', 'failed', 'timed-out')
        ORDER BY e.seq";
}

/// What changed since `cursor`.
pub(super) async fn changes(
    readers: &SqlitePool,
    unreadable: &Unreadable,
    cursor: Option<Cursor>,
) -> Result<QueueChanges> {
    match cursor {
        None => everything(readers, unreadable).await,
        Some(cursor) => since(readers, unreadable, cursor).await,
    }
}

async fn everything(readers: &SqlitePool, unreadable: &Unreadable) -> Result<QueueChanges> {
    let mut snapshot = readers.begin().await.map_err(unavailable)?;
    let newest: i64 = sqlx::query_scalar(NEWEST).fetch_one(&mut *snapshot).await.map_err(unavailable)?;
    let runs = sqlx::query(RUNS_ALL).fetch_all(&mut *snapshot).await.map_err(unavailable)?;
    let boards = sqlx::query(BOARDS_ALL).fetch_all(&mut *snapshot).await.map_err(unavailable)?;
    let took = sqlx::query(DURATIONS_LAST)
        .bind(DURATIONS_MAX)
        .fetch_all(&mut *snapshot)
        .await
        .map_err(unavailable)?;
    gather(unreadable, Cursor(newest), false, &runs, &boards, &took)
}

async fn since(readers: &SqlitePool, unreadable: &Unreadable, cursor: Cursor) -> Result<QueueChanges> {
    let mut snapshot = readers.begin().await.map_err(unavailable)?;
    let page = sqlx::query(LAST_OF_PAGE).bind(cursor.0).bind(CHANGES_MAX);
    let page = page.fetch_one(&mut *snapshot).await.map_err(unavailable)?;
    let page = Reader::new(&page, "events", "seq");
    let (last, more) = (page.int("seq")?, page.int("events")? >= CHANGES_MAX);
    if last == cursor.0 {
        return Ok(QueueChanges { cursor, more: false, runs: vec![], boards: vec![], durations: vec![] });
    }
    let mut rows = Vec::with_capacity(3);
    for sql in [RUNS_CHANGED, BOARDS_CHANGED, DURATIONS_SINCE] {
        let query = sqlx::query(sql).bind(cursor.0).bind(last);
        rows.push(query.fetch_all(&mut *snapshot).await.map_err(unavailable)?);
    }
    gather(unreadable, Cursor(last), more, &rows[0], &rows[1], &rows[2])
}

fn gather(
    unreadable: &Unreadable,
    cursor: Cursor,
    more: bool,
    runs: &[SqliteRow],
    boards: &[SqliteRow],
    took: &[SqliteRow],
) -> Result<QueueChanges> {
    Ok(QueueChanges {
        cursor,
        more,
        runs: unreadable.sift(runs, |row| Ok(queue_run(run::read(row)?)))?,
        boards: unreadable.sift(boards, board::read)?,
        durations: unreadable.sift(took, took_read)?,
    })
}

/// What an estimate needs of a run's spec. Taken from the document here, not in the statement: one that is no JSON would
/// fail the statement for all rows.
#[derive(Deserialize)]
struct TookSpec {
    family: Family,
    suite: String,
}

fn took_read(row: &SqliteRow) -> Result<Took> {
    let row = Reader::new(row, "runs", "run");
    let spec: TookSpec = row.json("spec")?;
    Ok(Took {
        run: row.id("id")?,
        attempt: u32::try_from(row.int("attempt")?).unwrap_or(0),
        family: spec.family,
        suite: spec.suite,
        took: Duration::from_micros(row.int("took")?.max(0).unsigned_abs()),
    })
}

fn queue_run(run: Run) -> QueueRun {
    let finished = matches!(run.state, RunState::Finished { .. });
    let waiting: Option<(u32, _, Vec<BoardId>)> = match run.state {
        RunState::Queued { since, attempt, avoid } => Some((attempt, since, avoid)),
        RunState::Active { .. } | RunState::Finished { .. } => None,
    };
    let spec = run.spec;
    let boards = spec.boards;
    QueueRun {
        id: run.id,
        number: run.number,
        waiting: waiting.map(|(attempt, since, avoid)| Waiting {
            attempt,
            since,
            avoid,
            family: spec.family,
            suite: spec.suite,
            selector: spec.selector,
            priority: spec.priority,
            boards: spec.boards,
        }),
        finished,
        requester: run.requested_by.key(),
        boards,
    }
}
