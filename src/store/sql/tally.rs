//! What happened since a cursor, counted from the change log, and what there is now: for metrics. Only reads. A page is
//! bounded at both ends before it is counted, so that nothing is counted twice.

use std::time::Duration;

use super::link::{self, Readers, Row};
use super::queue::{CHANGES_MAX, LAST_OF_PAGE, NEWEST};
use super::row::{Reader, statements, unavailable};
use super::script::Script;
use crate::store::{Cursor, Endings, Result, Tally, Waits};

statements! {
    // A run ends with its last attempt; one whose attempt was tried again has another last one by then.
    ENDED = "SELECT r.kind, r.verdict, COALESCE(r.cause, '') AS cause, COUNT(*) AS count
        FROM events AS e
        JOIN runs AS r ON r.number = e.run
        WHERE e.seq > ?1 AND e.seq <= ?2 AND r.state = 'finished'
          AND (e.kind = 'withdrawn' OR e.kind = 'settled' AND e.attempt = r.attempt)
        GROUP BY r.kind, r.verdict, r.cause";
    ATTEMPTS = "SELECT r.kind, a.verdict, COALESCE(a.cause, '') AS cause, a.ended_at - a.started_at AS took
        FROM events AS e
        JOIN attempts AS a ON a.run = e.run AND a.number = e.attempt
        JOIN runs AS r ON r.number = e.run
        WHERE e.seq > ?1 AND e.seq <= ?2 AND e.kind = 'settled' AND a.ended_at IS NOT NULL";
    WAITED = "SELECT e.at - (SELECT MAX(earlier.at)
                       FROM events AS earlier
                       WHERE earlier.run = e.run AND earlier.seq < e.seq AND earlier.kind IN ('accepted', 'settled'))
               AS waited
        FROM events AS e
        WHERE e.seq > ?1 AND e.seq <= ?2 AND e.kind = 'granted'";
    LAPSED = "SELECT COUNT(*) AS count
        FROM events
        WHERE seq > ?1 AND seq <= ?2 AND kind = 'lapsed'";
    RUNS = "SELECT state, COUNT(*) AS count
        FROM runs INDEXED BY runs_unfinished
        WHERE state <> 'finished'
        GROUP BY state";
    // One spec that is no JSON must not fail the statement for all rows.
    QUEUE = "SELECT CASE WHEN json_valid(spec) THEN COALESCE(spec->>'family', '') ELSE '' END AS name,
               COUNT(*) AS count, MIN(since) AS oldest
        FROM runs INDEXED BY runs_unfinished
        WHERE state = 'queued' AND state <> 'finished'
        GROUP BY name";
    RESERVATIONS = "SELECT family AS name, COUNT(*) AS count, MIN(asked_at) AS oldest
        FROM reservations
        GROUP BY family";
    OWED = "SELECT 'card' AS name, COUNT(*) AS count, COALESCE(MIN(owed_at), 0) AS oldest
        FROM cards
        WHERE rev_wanted > rev_sent AND state = 'live'
        UNION ALL
        SELECT 'reply', COUNT(*), COALESCE(MIN(owed_at), 0)
        FROM outbox
        WHERE state = 'owed' AND kind = 'reply'
        UNION ALL
        SELECT 'answer', COUNT(*), COALESCE(MIN(owed_at), 0)
        FROM outbox
        WHERE state = 'owed' AND kind = 'answer'
        UNION ALL
        SELECT 'call', COUNT(*), COALESCE(MIN(owed_at), 0)
        FROM calls
        WHERE state = 'owed'";
}

/// A page of what happened since `cursor`, nothing of it without one, and what there is; `census` is filled in by the
/// caller.
pub(super) async fn tally(readers: &Readers, cursor: Option<Cursor>) -> Result<Tally> {
    let mut reader = readers.acquire().await.map_err(unavailable)?;
    let mut script = Script::default();
    match cursor {
        None => script.add(NEWEST, []),
        Some(cursor) => script.add(LAST_OF_PAGE, [cursor.0.into(), CHANGES_MAX.into()]),
    };
    for sql in [RUNS, QUEUE, RESERVATIONS, OWED] {
        script.add(sql, []);
    }
    let read = script.run(&mut reader).await?;
    let [page, runs, queue, reservations, owed] = read.as_slice() else {
        return Ok(Tally::default());
    };
    let mut tally = Tally {
        runs: rows(&runs.rows, |row| Ok((row.text("state")?.to_owned(), count(row)?)))?,
        queue: rows(&queue.rows, waits)?,
        reservations: rows(&reservations.rows, waits)?,
        owed: rows(&owed.rows, waits)?,
        ..Tally::default()
    };
    let page = Reader::new(&page.rows[0], "events", "seq");
    let Some(cursor) = cursor else {
        tally.cursor = Some(Cursor(page.int("seq")?));
        return Ok(tally);
    };
    let last = page.int("seq")?;
    (tally.cursor, tally.more) = (Some(Cursor(last)), page.int("events")? >= CHANGES_MAX);
    if last > cursor.0 {
        let mut script = Script::default();
        for sql in [ENDED, ATTEMPTS, WAITED, LAPSED] {
            script.add(sql, [cursor.0.into(), last.into()]);
        }
        happened(&mut tally, &script.run(&mut reader).await?)?;
    }
    Ok(tally)
}

fn happened(tally: &mut Tally, read: &[link::Ran]) -> Result<()> {
    let [ended, attempts, waited, lapsed] = read else { return Ok(()) };
    tally.ended = rows(&ended.rows, |row| endings(row, count(row)?))?;
    for attempt in &attempts.rows {
        let row = Reader::new(attempt, "attempts", "verdict");
        tally.attempts.push(endings(&row, 1)?);
        tally.took.push(micros(row.int("took")?));
    }
    let waits = rows(&waited.rows, |row| row.opt_int("waited"))?;
    tally.waited = waits.into_iter().flatten().map(micros).collect();
    tally.lapsed = rows(&lapsed.rows, count)?.into_iter().sum();
    Ok(())
}

fn rows<T>(rows: &[Row], read: impl Fn(&Reader<'_>) -> Result<T>) -> Result<Vec<T>> {
    rows.iter().map(|row| read(&Reader::new(row, "tally", "name"))).collect()
}

fn waits(row: &Reader<'_>) -> Result<Waits> {
    Ok(Waits { of: row.text("name")?.to_owned(), count: count(row)?, oldest: row.at("oldest")? })
}

fn endings(row: &Reader<'_>, count: u64) -> Result<Endings> {
    let text = |column| row.text(column).map(str::to_owned);
    Ok(Endings { kind: text("kind")?, verdict: text("verdict")?, cause: text("cause")?, count })
}

fn count(row: &Reader<'_>) -> Result<u64> {
    Ok(row.int("count")?.max(0).unsigned_abs())
}

fn micros(time: i64) -> Duration {
    Duration::from_micros(time.max(0).unsigned_abs())
}
