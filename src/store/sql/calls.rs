//! Calls: made of events that nobody has looked at yet, in the same transaction as the mark of how far that went; owed
//! until they were made or given up. Nothing is sent here.

use serde::Serialize;

use super::ledger::Event;
use super::letters;
use super::link::{self, Readers, Row};
use super::row::{self, Reader, statements, unavailable};
use super::script::{Script, Tx};
use super::unreadable::Unreadable;
use crate::board::BoardId;
use crate::clock::Timestamp;
use crate::id::MessageId;
use crate::outcome::Verdict;
use crate::store::{
    Call, CallEnd, Happened, LANE_HEADS_MAX, LANE_OWED_MAX, NewCall, Owing, Result, StatusPart,
};

statements! {
    // What happened before there were any calls is told to nobody.
    CALLS_BEGIN = "INSERT INTO meta (name, value)
        SELECT 'calls-read-to', CAST(COALESCE(MAX(seq), 0) AS TEXT) FROM events WHERE true
        ON CONFLICT (name) DO NOTHING";
    CALLS_READ_TO = "SELECT name, value FROM meta WHERE name = 'calls-read-to'";
    CALLS_READ = "UPDATE meta SET value = ?2 WHERE name = 'calls-read-to' AND value = ?1";
    HAPPENED = "SELECT e.seq, e.at, e.kind, e.run, e.board, e.facts, c.url AS callback
        FROM events AS e
        LEFT JOIN callbacks AS c ON c.run = e.run
        WHERE e.seq > ?1
        ORDER BY e.seq
        LIMIT ?2 + 0";
    // What is one too many for its lane is dead from the first.
    CALLS_INSERT = "INSERT INTO calls (id, hook, lane, event, kind, run, url, body, owed_at, due_at, state, error)
        SELECT value->>'id', value->>'hook', value->>'lane', value->>'event', value->>'kind', value->>'run',
               value->>'url', value->>'body', ?2, ?2,
               CASE WHEN crowded.lane IS NULL THEN 'owed' ELSE 'dead' END,
               CASE WHEN crowded.lane IS NOT NULL THEN ?4 END
        FROM jsonb_each(?1) AS told
        LEFT JOIN (SELECT lane
                   FROM calls
                   WHERE state = 'owed' AND lane IN (SELECT value->>'lane' FROM jsonb_each(?1))
                   GROUP BY lane
                   HAVING COUNT(*) >= ?3) AS crowded ON crowded.lane = told.value->>'lane'";
    CALLBACKS_INSERT = "INSERT INTO callbacks (run, url)
        SELECT value->>'run', value->>'url'
        FROM jsonb_each(?1)";
    // Somebody may have asked for another since it was read.
    CALLBACKS_REMOVE = "DELETE FROM callbacks
        WHERE (run, url) IN (SELECT value->>'run', value->>'url' FROM jsonb_each(?1))";
    CALLED_BACK_TO = "SELECT r.number, r.attempt, CASE WHEN r.state = 'finished' THEN 1 ELSE 0 END AS is_over,
               CASE WHEN EXISTS (SELECT 1 FROM callbacks WHERE run = ?1 AND url = ?2)
                      OR EXISTS (SELECT 1 FROM calls WHERE run = ?1 AND hook = '' AND url = ?2 AND state <> 'dead')
                    THEN 1 ELSE 0 END AS is_known
        FROM runs AS r
        WHERE r.number = ?1";
    CALLS_GIVEN_UP = "SELECT id
        FROM calls
        WHERE run = ?1 AND hook = '' AND url = ?2 AND state = 'dead' AND error <> ?3";
    CALLBACK_MOVE = "INSERT INTO callbacks (run, url)
        VALUES (?1, ?2)
        ON CONFLICT (run) DO UPDATE SET url = excluded.url";
    STATUSES_INSERT = "INSERT INTO statuses (run, revision, context)
        SELECT value->>'run', value->>'commit', value->>'context'
        FROM jsonb_each(?1)
        WHERE true
        ON CONFLICT (run) DO NOTHING";
    // One that was repeated counts until its repeat does.
    STATUS_PARTS = "SELECT r.verdict, COUNT(*) AS count, MAX(r.number) AS newest
        FROM statuses AS s
        JOIN runs AS r ON r.number = s.run
        WHERE s.revision = ?1 AND s.context = ?2
          AND NOT EXISTS (SELECT 1
                          FROM runs AS n
                          JOIN statuses AS later ON later.run = n.number
                          WHERE n.retry_of = r.number
                            AND later.revision = s.revision AND later.context = s.context)
        GROUP BY r.verdict";
    // Lane by lane, by skipping from one to the next in the index: a few of each, whatever waits behind them.
    CALLS_DUE = "WITH RECURSIVE lanes (lane) AS (
            SELECT MIN(lane) FROM calls INDEXED BY calls_owed WHERE state = 'owed'
            UNION ALL
            SELECT (SELECT MIN(n.lane)
                    FROM calls AS n INDEXED BY calls_owed
                    WHERE n.state = 'owed' AND n.lane > lanes.lane)
            FROM lanes
            WHERE lanes.lane IS NOT NULL)
        SELECT k.id, k.hook, k.lane, k.kind, k.url, k.body, k.tries
        FROM lanes
        JOIN calls AS k ON k.id IN (SELECT n.id
                                    FROM calls AS n INDEXED BY calls_owed
                                    WHERE n.state = 'owed' AND n.lane = lanes.lane AND n.due_at <= ?1
                                    ORDER BY n.due_at, n.event
                                    LIMIT ?3 + 0)
        WHERE lanes.lane NOT IN (SELECT value FROM jsonb_each(?4))
        ORDER BY k.due_at, k.event, k.id
        LIMIT ?2 + 0";
    CALLS_NEXT = "SELECT MIN(due_at) FROM calls WHERE state = 'owed'";
    CALL_END = "UPDATE calls
        SET state = ?2, due_at = COALESCE(?3, due_at), tries = tries + 1, error = ?4
        WHERE id = ?1 AND state = 'owed'";
    CALLS_FORGET = "DELETE FROM calls
        WHERE id IN (SELECT id FROM calls WHERE state = 'made' AND owed_at < ?1 ORDER BY owed_at LIMIT ?2 + 0)";
    CALLS_FORGET_DEAD = "DELETE FROM calls
        WHERE id IN (SELECT id FROM calls WHERE state = 'dead' AND owed_at < ?1 ORDER BY owed_at LIMIT ?2 + 0)";
}

/// Why a call is dead that was never tried.
const TOO_MANY: &str = "too many calls are owed there";

/// Where the end of a run is told.
#[derive(Serialize)]
pub(super) struct Callback<'a> {
    pub(super) run: i64,
    pub(super) url: &'a str,
}

#[derive(Serialize)]
struct CallRow<'a> {
    id: MessageId,
    hook: &'a str,
    lane: &'a str,
    event: i64,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    body: &'a str,
}

/// Notes where the ends of runs are told that were just written.
pub(super) fn call_back(tx: &mut Tx, callbacks: &[Callback<'_>]) {
    if callbacks.is_empty() {
        return;
    }
    let mut script = Script::default();
    script.add(CALLBACKS_INSERT, [row::json(callbacks).into()]);
    tx.leave(script);
}

/// Tells the end of a run there from now on, once more where it is over.
pub(super) async fn call_back_to(tx: &mut Tx, run: i64, url: &str, now: Timestamp) -> Result<bool> {
    let query = link::query(CALLED_BACK_TO).bind(run).bind(url);
    let found = query.fetch_optional(tx.connection().await?).await.map_err(unavailable)?;
    let Some(found) = found else { return Ok(false) };
    let row = Reader::new(&found, "runs", "number");
    if row.flag("is_known")? {
        return Ok(false);
    }
    let (is_over, attempt) = (row.flag("is_over")?, row.count("attempt")?);
    // One for which there was no room comes back as a new one, where there is room.
    let query = link::query(CALLS_GIVEN_UP).bind(run).bind(url).bind(TOO_MANY);
    let dead = query.fetch_all(tx.connection().await?).await.map_err(unavailable)?;
    let dead = dead.iter().map(|row| Ok(Reader::new(row, "calls", "id").text("id")?.to_owned()));
    let dead = dead.collect::<Result<Vec<String>>>()?;
    if !dead.is_empty() {
        // What was given up is tried again, and is no dead letter beside another of the same.
        letters::revive(tx, &dead, now);
        return Ok(true);
    }
    let mut script = Script::default();
    script.add(CALLBACK_MOVE, [run.into(), url.into()]);
    if is_over {
        script.events(&[Event::run(now, "registered", run, attempt)]);
    }
    tx.leave(script);
    Ok(true)
}

/// Up to which event calls were made; the newest one, from then on, where nobody has asked before.
pub(super) async fn read_to(tx: &mut Tx) -> Result<i64> {
    let connection = tx.connection().await?;
    link::query(CALLS_BEGIN).execute(&mut *connection).await.map_err(unavailable)?;
    let found = link::query(CALLS_READ_TO).fetch_one(connection).await.map_err(unavailable)?;
    Ok(Reader::new(&found, "meta", "name").text("value")?.parse().unwrap_or_default())
}

/// What happened after that.
pub(super) async fn happened(
    readers: &Readers,
    unreadable: &Unreadable,
    after: i64,
    limit: u32,
) -> Result<Vec<Happened>> {
    let query = link::query(HAPPENED).bind(after).bind(i64::from(limit));
    unreadable.sift(&query.fetch_all(readers).await.map_err(unavailable)?, event)
}

/// Owes calls for what happened between two marks; gives whether nobody did so before.
pub(super) async fn owe(
    tx: &mut Tx,
    (from, to): (i64, i64),
    Owing { calls, statuses }: &Owing,
    now: Timestamp,
) -> Result<bool> {
    let query = link::query(CALLS_READ).bind(from.to_string()).bind(to.to_string());
    if query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected() == 0 {
        return Ok(false);
    }
    let mut script = Script::default();
    if !statuses.is_empty() {
        script.add(STATUSES_INSERT, [row::json(statuses).into()]);
    }
    if calls.is_empty() {
        tx.leave(script);
        return Ok(true);
    }
    let row = |call| {
        let NewCall { id, hook, lane, event, kind, run, url, body }: &NewCall = call;
        let hook = hook.as_deref().unwrap_or_default();
        CallRow { id: *id, hook, lane, event: *event, kind, run: *run, url: url.as_deref(), body }
    };
    let rows: Vec<CallRow<'_>> = calls.iter().map(row).collect();
    let called_back = calls.iter().filter(|call| call.hook.is_none());
    let called_back: Vec<Callback<'_>> =
        called_back.filter_map(|call| Some(Callback { run: call.run?, url: call.url.as_deref()? })).collect();
    let values = [row::json(&rows).into(), now.into(), LANE_OWED_MAX.into(), TOO_MANY.into()];
    script.add(CALLS_INSERT, values);
    letters::write(&mut script, &calls.iter().map(|call| call.id).collect::<Vec<_>>(), now);
    script.add(CALLBACKS_REMOVE, [row::json(&called_back).into()]);
    tx.leave(script);
    Ok(true)
}

/// How the runs are that decide a status.
pub(super) async fn status_parts(readers: &Readers, commit: &str, context: &str) -> Result<Vec<StatusPart>> {
    let query = link::query(STATUS_PARTS).bind(commit).bind(context);
    let rows = query.fetch_all(readers).await.map_err(unavailable)?;
    let part = |found: &Row| {
        let row = Reader::new(found, "runs", "newest");
        let verdict = match row.opt_text("verdict")? {
            Some(_) => Some(row.word("verdict", Verdict::from_word)?),
            None => None,
        };
        Ok(StatusPart { verdict, count: row.count("count")?, newest: row.int("newest")? })
    };
    rows.iter().map(part).collect()
}

/// Calls to make now, the oldest first.
pub(super) async fn due(
    readers: &Readers,
    unreadable: &Unreadable,
    now: Timestamp,
    (limit, except): (u32, &[String]),
) -> Result<Vec<Call>> {
    // Those that cannot be read stay at the front: they must fill neither the page nor their lane's part of it.
    let bad = unreadable.count() as i64;
    let query = link::query(CALLS_DUE).bind(now.as_micros()).bind(i64::from(limit) + bad);
    let query = query.bind(i64::from(LANE_HEADS_MAX) + bad).bind(row::json(except));
    unreadable.sift(&query.fetch_all(readers).await.map_err(unavailable)?, call)
}

/// When the next one is due, or was.
pub(super) async fn next_due(readers: &Readers) -> Result<Option<Timestamp>> {
    let at = link::query(CALLS_NEXT).number(readers).await.map_err(unavailable)?;
    Ok(at.map(Timestamp::from_micros))
}

/// Notes how making one went.
pub(super) fn end(tx: &mut Tx, id: MessageId, end: &CallEnd, now: Timestamp) {
    let (state, at, error) = match end {
        CallEnd::Made => ("made", None, None),
        CallEnd::Later { at, error } => ("owed", Some(*at), Some(error)),
        CallEnd::Dead { error } => ("dead", None, Some(error)),
    };
    let mut script = Script::default();
    script.add(CALL_END, [id.to_string().into(), state.into(), at.into(), error.into()]);
    if matches!(end, CallEnd::Dead { .. }) {
        letters::write(&mut script, &[id], now);
    }
    tx.leave(script);
}

/// Forgets those that are over and became owed before, at most so many of each kind.
pub(super) fn forget(tx: &mut Tx, before: Timestamp, most: u32) {
    let mut script = Script::default();
    for sql in [CALLS_FORGET, CALLS_FORGET_DEAD] {
        script.add(sql, [before.into(), most.into()]);
    }
    tx.leave(script);
}

fn event(found: &Row) -> Result<Happened> {
    let row = Reader::new(found, "events", "seq");
    Ok(Happened {
        seq: row.int("seq")?,
        at: row.at("at")?,
        kind: row.text("kind")?.to_owned(),
        run: row.opt_int("run")?,
        board: row.opt_text("board")?.map(BoardId::new),
        facts: row.json("facts")?,
        callback: row.opt_text("callback")?.map(str::to_owned),
    })
}

fn call(found: &Row) -> Result<Call> {
    let row = Reader::new(found, "calls", "id");
    Ok(Call {
        id: row.id("id")?,
        hook: Some(row.text("hook")?.to_owned()).filter(|hook| !hook.is_empty()),
        lane: row.text("lane")?.to_owned(),
        kind: row.text("kind")?.to_owned(),
        url: row.opt_text("url")?.map(str::to_owned),
        body: row.text("body")?.to_owned(),
        tries: row.count("tries")?,
    })
}
