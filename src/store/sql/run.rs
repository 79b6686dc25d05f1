//! Runs, to read: from their rows, with everything that their cards show. `attempt` changes them.

use std::collections::HashMap;

use super::link::{self, Readers, Row};
use super::outcomes::{self, OUTCOME_OF_RUN};
use super::row::{self, Reader, statements, unavailable};
use super::script::Script;
use super::script::Tx;
use super::unreadable::Unreadable;
use crate::board::BoardId;
use crate::chat::{Actor, Place, Platform};
use crate::clock::Timestamp;
use crate::id::InstanceId;
use crate::lease::Fence;
use crate::run::{Attempt, LeaseRef, Request, Run, RunKind, RunState, Stage};
use crate::store::{Result, RunFilter, RunStep, RunView, TOLD_BY_URL, Telling, Told};

/// The columns that [`read`] reads, of `runs` as `r`.
macro_rules! run_columns {
    () => {
        "r.number, r.id, r.state, r.attempt, r.spec, r.requested_by, r.origin, r.created_at, r.retry_of, r.batch,
         r.request, r.since, r.avoid, r.lease, r.board, r.fence, r.started_at, r.outcome, r.finished_at"
    };
}
pub(super) use run_columns;

statements! {
    STEPS = "SELECT seq, at, kind, attempt, board, CASE WHEN json_valid(facts) THEN facts->>'stage' END AS stage
        FROM events
        WHERE run = ?1 AND seq > ?2 AND kind <> 'registered'
        ORDER BY seq
        LIMIT ?3 + 0";
    // A card that was never sent has the time when it was owed.
    TOLD = "SELECT MAX(CASE WHEN state = 'live' AND rev_wanted > rev_sent
                              OR EXISTS (SELECT 1
                                         FROM outbox AS o
                                         WHERE o.card = c.id AND o.state = 'owed' AND o.kind = 'reply')
                        THEN 1 ELSE 0 END) AS owed,
               MAX(CASE WHEN message IS NOT NULL AND rev_sent > 0 THEN owed_at END) AS last
        FROM cards AS c
        WHERE run = ?1";
    RUN_BY_NUMBER = concat!("SELECT ", run_columns!(), ", r.revision, r.progress, r.keep,
               (SELECT l.state = 'held' FROM leases AS l WHERE l.id = r.lease) AS is_own
        FROM runs AS r
        WHERE r.number = ?1");
    RUNS_NEWEST = concat!("SELECT ", run_columns!(), "
        FROM runs AS r
        WHERE r.kind = 'test' AND r.number < ?2
        ORDER BY r.number DESC
        LIMIT ?1 + 0");
    RUNS_UNFINISHED = concat!("SELECT ", run_columns!(), "
        FROM runs AS r INDEXED BY runs_unfinished
        WHERE r.state <> 'finished' AND r.kind = 'test' AND (?1 IS NULL OR r.requester = ?1)
        ORDER BY r.state = 'queued', r.number
        LIMIT ?2 + 0");
    WAITING_OF = "SELECT (SELECT COUNT(*)
                FROM runs INDEXED BY runs_unfinished
                WHERE state = 'queued' AND state <> 'finished' AND kind = 'test' AND requester = ?1)
             + (SELECT COUNT(*) FROM reservations WHERE requester = ?1)";
    RUNS_OF_REQUESTER = concat!("SELECT ", run_columns!(), "
        FROM runs AS r
        WHERE r.requester = ?1 AND r.number < ?3
        ORDER BY r.number DESC
        LIMIT ?2 + 0");
    RUNS_CHECKING = concat!("SELECT ", run_columns!(), "
        FROM runs AS r
        WHERE r.kind = 'health' AND r.state <> 'finished'
        ORDER BY r.number DESC
        LIMIT ?1 + 0");
    // By the card itself, or by a thread that it was posted into; the newest where a thread has several.
    RUN_OF_THREAD = "SELECT r.number, r.batch, c.campaign
        FROM (SELECT run, campaign FROM cards WHERE platform = ?1 AND channel = ?2 AND message = ?3
              UNION ALL
              SELECT run, campaign FROM cards WHERE platform = ?1 AND channel = ?2 AND thread = ?3) AS c
        JOIN runs AS r ON r.number = c.run
        ORDER BY r.number DESC
        LIMIT 1";
    // By the newest run that it tells of.
    THREADS_LIVE = "SELECT channel, thread
        FROM (SELECT c.channel, COALESCE(c.thread, c.message) AS thread, MAX(live.number) AS newest
              FROM (SELECT number FROM runs WHERE state <> 'finished'
                    UNION
                    SELECT run FROM outcomes WHERE finished_at > ?2) AS live
              JOIN cards AS c ON c.run = live.number
              WHERE c.platform = ?1 AND c.message IS NOT NULL AND c.message NOT IN ('', ?3)
              GROUP BY c.channel, COALESCE(c.thread, c.message)) AS threads
        ORDER BY newest DESC
        LIMIT ?4 + 0";
    RUNS_ASKED = "SELECT r.number, r.lease, r.board, r.fence, r.request
        FROM runs AS r
        JOIN leases AS l ON l.id = r.lease
        WHERE r.request IS NOT NULL AND l.instance = ?1 AND l.state IN ('active', 'held')
        ORDER BY r.number";
    RUNS_ENDED = "SELECT number, finished_at
        FROM runs
        WHERE number IN (SELECT value FROM jsonb_each(?1)) AND state = 'finished'";
    BOARDS_LAST = "SELECT a.run || '/' || a.number AS key, a.run, a.board
        FROM attempts AS a
        WHERE a.run IN (SELECT value FROM jsonb_each(?1))
          AND a.number = (SELECT MAX(later.number) FROM attempts AS later WHERE later.run = a.run)";
    RETRIES_OF_RUN = "SELECT number, requested_by
        FROM runs
        WHERE retry_of = ?1
        ORDER BY number";
    ATTEMPTS_OF_RUN = "SELECT run || '/' || number AS key, number, board, others, fence, started_at, ended_at,
               outcome
        FROM attempts
        WHERE run = ?1
        ORDER BY number";
}

/// A run with everything its card shows.
pub(super) async fn view(readers: &Readers, unreadable: &Unreadable, number: i64) -> Result<Option<RunView>> {
    // In one hop and without a transaction, which a caller that goes away in the middle would leave open. The run is
    // read first: what belongs to it is at least as new, and a generation that is older than it is rendered again.
    let mut reader = readers.acquire().await.map_err(unavailable)?;
    let mut script = Script::default();
    for sql in [RUN_BY_NUMBER, ATTEMPTS_OF_RUN, RETRIES_OF_RUN, OUTCOME_OF_RUN] {
        script.add(sql, [number.into()]);
    }
    let rows = script.run(&mut reader).await?;
    let Some(found) = rows[0].rows.first() else { return Ok(None) };
    let mut run = read(found)?;
    let found = Reader::new(found, "runs", "number");
    let progress = found.opt_json("progress")?.unwrap_or_default();
    let generation = found.int("revision")?;
    let keep = found.opt_json("keep")?;
    let is_own = found.opt_int("is_own")? == Some(1);
    let attempts = unreadable.sift(&rows[1].rows, attempt_read)?;
    let retried_as = unreadable.sift(&rows[2].rows, retry_read)?;
    // What others came to must not keep a run from being shown.
    let (seen, comparison) = match outcomes::known(&rows[3]) {
        Err(error) => {
            unreadable.tell(error)?;
            (None, None)
        }
        known => known?,
    };
    cases_restore(&mut run, &attempts);
    Ok(Some(RunView { run, attempts, progress, retried_as, seen, comparison, generation, keep, is_own }))
}

/// What happened to a run behind `after`.
pub(super) async fn steps(readers: &Readers, number: i64, after: i64, limit: u32) -> Result<Vec<RunStep>> {
    let query = link::query(STEPS).bind(number).bind(after).bind(limit);
    let rows = query.fetch_all(readers).await.map_err(unavailable)?;
    let step = |found: &Row| {
        let row = Reader::new(found, "events", "seq");
        Ok(RunStep {
            seq: row.int("seq")?,
            at: row.at("at")?,
            kind: row.text("kind")?.to_owned(),
            attempt: row.opt_int("attempt")?.and_then(|attempt| u32::try_from(attempt).ok()),
            board: row.opt_text("board")?.map(BoardId::new),
            stage: row.opt_text("stage")?.map(str::to_owned),
        })
    };
    rows.iter().map(step).collect()
}

/// How far the telling of a run is.
pub(super) async fn told(readers: &Readers, number: i64) -> Result<Telling> {
    let found = link::query(TOLD).bind(number).fetch_one(readers).await.map_err(unavailable)?;
    let row = Reader::new(&found, "cards", "owed");
    Ok(Telling { owed: row.opt_int("owed")?.unwrap_or(0) != 0, last: row.opt_at("last")? })
}

/// What the card or thread there tells.
pub(super) async fn of_thread(readers: &Readers, place: &Place) -> Result<Option<Told>> {
    let Some(thread) = place.thread.as_deref().filter(|thread| !thread.is_empty()) else {
        return Ok(None);
    };
    let query = link::query(RUN_OF_THREAD).bind(place.platform.as_str()).bind(&place.channel).bind(thread);
    let Some(row) = query.fetch_optional(readers).await.map_err(unavailable)? else { return Ok(None) };
    let row = Reader::new(&row, "runs", "number");
    Ok(Some(match (row.opt_int("campaign")?, row.opt_int("batch")?) {
        (Some(campaign), _) => Told::Campaign(campaign),
        (None, Some(batch)) => Told::Batch(batch),
        (None, None) => Told::Run(row.int("number")?),
    }))
}

/// Threads of runs that go on, or have ended since then.
pub(super) async fn threads_live(
    readers: &Readers,
    unreadable: &Unreadable,
    platform: Platform,
    since: Timestamp,
    limit: u32,
) -> Result<Vec<Place>> {
    let query = link::query(THREADS_LIVE).bind(platform.as_str()).bind(since.as_micros());
    let query = query.bind(TOLD_BY_URL).bind(i64::from(limit));
    let rows = query.fetch_all(readers).await.map_err(unavailable)?;
    unreadable.sift(&rows, |row: &Row| {
        let row = Reader::new(row, "cards", "channel");
        let (channel, thread) = (row.text("channel")?.to_owned(), row.text("thread")?.to_owned());
        Ok(Place { platform, channel, thread: Some(thread) })
    })
}

/// Runs, newest first; of the unfinished ones those on a board first, the oldest first of each kind.
pub(super) async fn list(readers: &Readers, unreadable: &Unreadable, filter: &RunFilter) -> Result<Vec<Run>> {
    let before = filter.before.unwrap_or(i64::MAX);
    let query = match (&filter.requested_by, filter.unfinished) {
        _ if filter.kind == RunKind::Health => link::query(RUNS_CHECKING).bind(filter.limit),
        (requester, true) => link::query(RUNS_UNFINISHED).bind(requester).bind(filter.limit),
        (Some(requester), false) => {
            link::query(RUNS_OF_REQUESTER).bind(requester).bind(filter.limit).bind(before)
        }
        (None, false) => link::query(RUNS_NEWEST).bind(filter.limit).bind(before),
    };
    unreadable.sift(&query.fetch_all(readers).await.map_err(unavailable)?, read)
}

/// How many runs and places in line of somebody wait.
pub(super) async fn waiting_of(readers: &Readers, requester: &str) -> Result<u64> {
    let waiting = link::query(WAITING_OF).bind(requester).number(readers).await.map_err(unavailable)?;
    Ok(waiting.unwrap_or_default().unsigned_abs())
}

/// The board that each of these runs was given last.
pub(super) async fn boards_last(
    readers: &Readers,
    unreadable: &Unreadable,
    numbers: &[i64],
) -> Result<HashMap<i64, BoardId>> {
    let query = link::query(BOARDS_LAST).bind(row::json(numbers));
    let rows = query.fetch_all(readers).await.map_err(unavailable)?;
    let read = |row: &Row| {
        let row = Reader::new(row, "attempts", "key");
        Ok((row.int("run")?, BoardId::new(row.text("board")?)))
    };
    Ok(unreadable.sift(&rows, read)?.into_iter().collect())
}

/// Those of these runs that are finished, and since when.
pub(super) async fn ended(
    readers: &Readers,
    unreadable: &Unreadable,
    numbers: &[i64],
) -> Result<Vec<(i64, Timestamp)>> {
    let query = link::query(RUNS_ENDED).bind(row::json(numbers));
    let rows = query.fetch_all(readers).await.map_err(unavailable)?;
    unreadable.sift(&rows, |row| {
        let row = Reader::new(row, "runs", "number");
        Ok((row.int("number")?, row.at("finished_at")?))
    })
}

/// What was asked of the runs that an instance drives.
pub(super) async fn requests(
    readers: &Readers,
    unreadable: &Unreadable,
    instance: InstanceId,
) -> Result<Vec<(LeaseRef, Request)>> {
    let query = link::query(RUNS_ASKED).bind(instance.to_string());
    let rows = query.fetch_all(readers).await.map_err(unavailable)?;
    let read = |row: &Row| {
        let row = Reader::new(row, "runs", "number");
        Ok((lease_read(&row)?, row.json("request")?))
    };
    unreadable.sift(&rows, read)
}

/// A run from its row; a finished one without its test cases, which stand in its attempt.
pub(super) fn read(row: &Row) -> Result<Run> {
    let row = Reader::new(row, "runs", "number");
    let attempt = row.count("attempt")?;
    let state = match row.text("state")? {
        "queued" => RunState::Queued { since: row.at("since")?, attempt, avoid: row.json("avoid")? },
        "finished" => {
            RunState::Finished { outcome: row.json("outcome")?, attempt, at: row.at("finished_at")? }
        }
        _ => RunState::Active {
            stage: row.word("state", Stage::from_word)?,
            attempt,
            lease: lease_read(&row)?,
            started_at: row.at("started_at")?,
        },
    };
    Ok(Run {
        id: row.id("id")?,
        number: row.int("number")?,
        spec: row.json("spec")?,
        requested_by: row.json("requested_by")?,
        origin: row.json("origin")?,
        created_at: row.at("created_at")?,
        retry_of: row.opt_int("retry_of")?,
        batch: row.opt_int("batch")?,
        state,
        request: row.opt_json("request")?,
    })
}

/// The run of that number, inside a transaction.
pub(super) async fn by_number(tx: &mut Tx, number: i64) -> Result<Option<Run>> {
    let found = link::query(RUN_BY_NUMBER)
        .bind(number)
        .fetch_optional(tx.connection().await?)
        .await
        .map_err(unavailable)?;
    found.as_ref().map(read).transpose()
}

fn lease_read(row: &Reader<'_>) -> Result<LeaseRef> {
    let board = BoardId::new(row.text("board")?);
    Ok(LeaseRef { id: row.id("lease")?, board, fence: Fence(row.int("fence")?) })
}

fn attempt_read(row: &Row) -> Result<Attempt> {
    let row = Reader::new(row, "attempts", "key");
    Ok(Attempt {
        number: row.count("number")?,
        board: BoardId::new(row.text("board")?),
        others: row.opt_json("others")?.unwrap_or_default(),
        fence: Fence(row.int("fence")?),
        started_at: row.at("started_at")?,
        ended_at: row.opt_at("ended_at")?,
        outcome: row.opt_json("outcome")?,
    })
}

fn retry_read(row: &Row) -> Result<(i64, Actor)> {
    let row = Reader::new(row, "runs", "number");
    Ok((row.int("number")?, row.json("requested_by")?))
}

/// Gives a finished run's outcome its test cases back. An outcome that is not its last attempt's (it was cancelled
/// when that attempt was lost) has none.
fn cases_restore(run: &mut Run, attempts: &[Attempt]) {
    let RunState::Finished { outcome, attempt, .. } = &mut run.state else {
        return;
    };
    let last = attempts.iter().find(|a| a.number == *attempt).and_then(|a| a.outcome.as_ref());
    if let Some(last) = last.filter(|last| last.verdict == outcome.verdict && last.cause == outcome.cause) {
        outcome.cases.clone_from(&last.cases);
    }
}

/// The attempt of a state; that which it waits for in the queue.
pub(super) fn attempt_of(state: &RunState) -> u32 {
    match state {
        RunState::Queued { attempt, .. }
        | RunState::Active { attempt, .. }
        | RunState::Finished { attempt, .. } => *attempt,
    }
}
