//! The queue's change log: the events after a cursor say which runs and boards to look at; what is given is how those
//! rows are now. Without a cursor, everything that is not finished.
//!
//! Where a statement names its index, SQLite would rather walk a growing table in the order that is asked for.

use std::time::Duration;

use serde::Deserialize;

use super::board::{self, board_columns};
use super::drain;
use super::hold;
use super::lease::lease_columns;
use super::link::{self, Readers, Row};
use super::row::{Reader, statements, unavailable};
use super::run::{self, run_columns};
use super::script::Script;
use super::unreadable::Unreadable;
use crate::board::{BoardId, Family};
use crate::run::{Run, RunState};
use crate::store::{Cursor, QueueChanges, QueueRun, Result, Took, Waiting};

/// Most events read in one step.
pub(super) const CHANGES_MAX: i64 = 1000;
/// How many finished attempts are given at the start, for estimates.
pub(super) const DURATIONS_MAX: i64 = 1000;

/// A page of the change log: of the events after `?1`, the first `?2`.
macro_rules! page {
    ($columns:literal) => {
        concat!("SELECT ", $columns, " FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2 + 0")
    };
}

statements! {
    NEWEST = "SELECT COALESCE(MAX(seq), 0) AS seq FROM events";
    RUNS_ALL = concat!("SELECT ", run_columns!(), "
        FROM runs AS r INDEXED BY runs_unfinished
        WHERE r.state <> 'finished'
        ORDER BY r.number");
    BOARDS_ALL = concat!("SELECT ", board_columns!(), "
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
        FROM (SELECT seq FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2 + 0) AS page";
    // Those below read the page again, which may have grown since its end was read: what they find beyond it is found
    // once more with the next page, and does no harm.
    RUNS_CHANGED = concat!("SELECT ", run_columns!(), "
        FROM runs AS r
        WHERE r.number IN (SELECT run FROM (", page!("run"), ") AS page WHERE run IS NOT NULL)
        ORDER BY r.number");
    BOARDS_CHANGED = concat!("SELECT ", board_columns!(), "
        FROM boards AS b
        LEFT JOIN leases AS l ON l.board = b.id AND l.state IN ('active', 'finalizing', 'held')
        WHERE b.id IN (SELECT board FROM (", page!("board"), ") AS page WHERE board IS NOT NULL)
        ORDER BY b.id");
    DURATIONS_SINCE = concat!("SELECT a.run, r.id, a.number AS attempt, r.spec,
               a.ended_at - a.started_at AS took
        FROM (", page!("seq, kind, run, attempt"), ") AS page
        JOIN attempts AS a ON a.run = page.run AND a.number = page.attempt
        JOIN runs AS r ON r.number = page.run
        WHERE page.kind = 'settled' AND a.verdict IN ('passed', 'failed', 'timed-out')
        ORDER BY page.seq");
}

/// What changed since `cursor`.
pub(super) async fn changes(
    readers: &Readers,
    unreadable: &Unreadable,
    cursor: Option<Cursor>,
) -> Result<QueueChanges> {
    match cursor {
        None => everything(readers, unreadable).await,
        Some(cursor) => since(readers, unreadable, cursor).await,
    }
}

async fn everything(readers: &Readers, unreadable: &Unreadable) -> Result<QueueChanges> {
    let mut snapshot = readers.begin().await.map_err(unavailable)?;
    let newest = link::query(NEWEST).count(&mut snapshot).await.map_err(unavailable)?;
    let runs = link::query(RUNS_ALL).fetch_all(&mut snapshot).await.map_err(unavailable)?;
    let boards = link::query(BOARDS_ALL).fetch_all(&mut snapshot).await.map_err(unavailable)?;
    let wishes = link::query(hold::WAITING).fetch_all(&mut snapshot).await.map_err(unavailable)?;
    let newest_drain =
        link::query(drain::DRAIN_NEWEST).fetch_all(&mut snapshot).await.map_err(unavailable)?;
    let drains = link::query(drain::DRAINS).fetch_all(&mut snapshot).await.map_err(unavailable)?;
    let took = link::query(DURATIONS_LAST)
        .bind(DURATIONS_MAX)
        .fetch_all(&mut snapshot)
        .await
        .map_err(unavailable)?;
    let drains = (newest_drain.as_slice(), drains.as_slice());
    let read = Read { runs: &runs, boards: &boards, took: &took, wishes: &wishes, drains };
    gather(unreadable, Cursor(newest), false, read)
}

/// In one hop and without a transaction, which a caller that goes away in the middle would leave open. The page's end is
/// read first: every row is read later, and says at least what the events up to there say.
async fn since(readers: &Readers, unreadable: &Unreadable, cursor: Cursor) -> Result<QueueChanges> {
    let mut script = Script::default();
    for sql in [LAST_OF_PAGE, RUNS_CHANGED, BOARDS_CHANGED, DURATIONS_SINCE] {
        script.add(sql, [cursor.0.into(), CHANGES_MAX.into()]);
    }
    // All of them: there are few, and whoever is not among them waits no more.
    script.add(hold::WAITING, []);
    // The newest first: the list has that one at least.
    script.add(drain::DRAIN_NEWEST, []);
    script.add(drain::DRAINS, []);
    let mut reader = readers.acquire().await.map_err(unavailable)?;
    let read = script.run(&mut reader).await?;
    let page = Reader::new(&read[0].rows[0], "events", "seq");
    let (last, more) = (page.int("seq")?, page.int("events")? >= CHANGES_MAX);
    let [_, runs, boards, took, wishes, newest_drain, drains] = read.as_slice() else {
        return Err(page.corrupt("a page of the change log is incomplete"));
    };
    let drains = (newest_drain.rows.as_slice(), drains.rows.as_slice());
    let read =
        Read { runs: &runs.rows, boards: &boards.rows, took: &took.rows, wishes: &wishes.rows, drains };
    gather(unreadable, Cursor(last), more, read)
}

/// The rows of a page.
struct Read<'r> {
    runs: &'r [Row],
    boards: &'r [Row],
    took: &'r [Row],
    wishes: &'r [Row],
    /// The newest drain, and all of them.
    drains: (&'r [Row], &'r [Row]),
}

fn gather(unreadable: &Unreadable, cursor: Cursor, more: bool, read: Read<'_>) -> Result<QueueChanges> {
    Ok(QueueChanges {
        cursor,
        more,
        runs: unreadable.sift(read.runs, |row| Ok(queue_run(run::read(row)?)))?,
        boards: unreadable.sift(read.boards, board::read)?,
        reservations: unreadable.sift(read.wishes, hold::read)?,
        drains: unreadable.sift(read.drains.1, drain::read)?,
        newest_drain: drain::newest(read.drains.0)?,
        durations: unreadable.sift(read.took, took_read)?,
    })
}

/// What an estimate needs of a run's spec. Taken from the document here, not in the statement: one that is no JSON would
/// fail the statement for all rows.
#[derive(Deserialize)]
struct TookSpec {
    family: Family,
    suite: String,
}

fn took_read(row: &Row) -> Result<Took> {
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
        requested_by: run.requested_by,
        boards,
    }
}
