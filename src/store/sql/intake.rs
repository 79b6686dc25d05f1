//! Deliveries into the store: a whole group at once. First every delivery is looked at in order (is it a repeat, what
//! becomes of its effect, what is its answer), then each table gets one statement for the rows of all of them: a
//! statement costs a hop to the connection's thread, whatever it carries. The transaction begins and ends in the same
//! hops. Rows are in `rows`, what becomes of an effect in `effects`.

mod effects;
mod rows;

use std::collections::HashMap;
use std::sync::LazyLock;

use self::effects::looks_at_runs;
use self::rows::{Fresh, Rows};
use super::link::{self, Readers, Row};
use super::row::{self, Reader, statements, unavailable};
use super::script::Tx;
use super::writer::Ends;
use crate::clock::Timestamp;
use crate::id::Ids;
use crate::store::{Committed, Intake, Result};

statements! {
    // One row at least: the newest number stands on each. Runs are never deleted, so the next is one more, above what a
    // backup that came back leaves out (`backup`). A group always writes, so it takes the write lock before it reads.
    BEGIN_KNOWN = "BEGIN IMMEDIATE;
        SELECT n.number, d.key, d.answer
        FROM (SELECT MAX(COALESCE((SELECT MAX(number) FROM runs), 0),
                         COALESCE((SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'runs_floor'), 0)) AS number) AS n
        LEFT JOIN deliveries AS d ON d.key IN (SELECT value FROM jsonb_each(?1))";
    RETRY_KNOWN = "SELECT number FROM runs WHERE retry_once = ?1";
    ERRANDS_INSERT = "INSERT INTO errands (id, board, action, by, via, asked_at, over_fence, once)
        SELECT value->>'id', value->>'board', value->>'action', value->'by', value->'via', value->>'at', value->>'over',
               value->>'once'
        FROM jsonb_each(?1)";
    ERRANDS_ONCE = "SELECT COUNT(*) FROM errands WHERE once = ?1";
    RELOADS_INSERT = "INSERT INTO reloads (id, via, asked_at)
        SELECT value->>'id', value->'via', value->>'at'
        FROM jsonb_each(?1)";
    // In one piece, for one hop: each statement takes the next document.
    INTAKES_INSERT = "INSERT INTO runs (number, id, kind, state, attempt, spec, requester, requested_by, origin, created_at,
                                     retry_of, retry_once, since, avoid)
        SELECT value->>'number', value->>'id', value->>'kind', 'queued', 1, value->'spec', value->>'requester', value->'by',
               value->'origin', value->>'at', value->>'retry_of', value->>'once', value->>'at', value->'avoid'
        FROM jsonb_each(?);
        INSERT INTO cards (id, run, platform, channel, thread, via, rev_wanted, owed_at, due_at)
        SELECT value->>'id', value->>'run', value->>'platform', value->>'channel', value->>'thread', value->'via', 1,
               value->>'at', value->>'at'
        FROM jsonb_each(?);
        INSERT INTO events (at, kind, run, attempt, facts)
        SELECT value->>'at', value->>'kind', value->>'run', value->>'attempt', COALESCE(value->'facts', '{}')
        FROM jsonb_each(?);
        INSERT INTO audit (at, actor, verb, target, allowed, reason, source)
        SELECT value->>'at', value->>'actor', value->>'verb', value->>'target', value->>'allowed', value->>'reason',
               value->>'source'
        FROM jsonb_each(?);
        INSERT INTO deliveries (key, platform, received_at, answer)
        SELECT value->>'key', value->>'platform', value->>'at', value->'answer'
        FROM jsonb_each(?)";
    SAVEPOINT = "SAVEPOINT intake";
    UNDO = "ROLLBACK TO intake";
    RELEASE = "RELEASE intake";
    CARD_HOLD = "UPDATE cards
        SET hold_until = MAX(hold_until, ?4)
        WHERE platform = ?1 AND channel = ?2 AND message = ?3";
    DELIVERIES_UNDO = "DELETE FROM deliveries WHERE key IN (SELECT value FROM jsonb_each(?1))";
    DELIVERY_NEWEST = "SELECT MAX(received_at)
        FROM deliveries
        WHERE SUBSTR(key, 1, LENGTH(?1)) = ?1 AND received_at > ?2 AND received_at < ?3";
    DELIVERIES_FORGET = "DELETE FROM deliveries WHERE received_at < ?1";
}

/// The same with the transaction's end, for a group of which nothing else is to be written.
pub(super) static INTAKES_INSERT_COMMIT: LazyLock<String> =
    LazyLock::new(|| format!("{INTAKES_INSERT};\nCOMMIT"));

/// Begins a transaction and writes a group of deliveries, in order. One that is refused for good fails alone.
pub(super) async fn commit(
    tx: &mut Tx,
    ids: &Ids,
    intakes: &[Intake],
    ends: Ends,
) -> Result<Vec<Result<Committed>>> {
    let (newest, known) = known(tx, intakes).await?;
    let mut rows = Rows::new(ids, newest);
    let mut first: HashMap<&str, usize> = HashMap::with_capacity(intakes.len());
    let mut committed: Vec<Result<Committed>> = Vec::with_capacity(intakes.len());
    let mut kept: Vec<(bool, Option<String>)> = Vec::with_capacity(intakes.len());
    for intake in intakes {
        let (mut is_kept, mut target) = (false, None);
        let before = first.get(intake.key.as_str()).and_then(|index| committed[*index].as_ref().ok());
        let answer = match (before, known.get(&intake.key)) {
            (Some(before), _) => Ok(Committed { fresh: false, answer: before.answer.clone() }),
            (None, Some(answer)) => Reader::new(answer, "deliveries", "key")
                .json("answer")
                .map(|answer| Committed { fresh: false, answer }),
            (None, None) => {
                if looks_at_runs(&intake.effect) {
                    rows.write(tx).await?;
                }
                match rows.effect_apart(tx, intake).await {
                    Ok(mut effect) => {
                        target = effect.target.take();
                        is_kept = intake.is_kept(effect.effected);
                        Ok(Committed { fresh: true, answer: effect.answer(intake) })
                    }
                    Err(error) if error.is_lasting() => Err(error),
                    Err(error) => return Err(error),
                }
            }
        };
        first.entry(intake.key.as_str()).or_insert(committed.len());
        committed.push(answer);
        kept.push((is_kept, target));
    }
    let fresh = intakes.iter().zip(&committed).zip(kept).filter_map(|((intake, committed), kept)| {
        let committed = committed.as_ref().ok().filter(|committed| committed.fresh)?;
        Some(Fresh { intake, is_kept: kept.0, answer: &committed.answer, target: kept.1 })
    });
    rows.flush(tx, fresh, ends).await?;
    Ok(committed)
}

/// Forgets deliveries received before `before`.
pub(super) async fn forget(tx: &mut Tx, before: Timestamp) -> Result<u64> {
    let query = link::query(DELIVERIES_FORGET).bind(before.as_micros());
    Ok(query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected())
}

/// When one came last whose key begins so.
pub(super) async fn newest(
    readers: &Readers,
    keys: &str,
    (since, before): (Timestamp, Timestamp),
) -> Result<Option<Timestamp>> {
    let query = link::query(DELIVERY_NEWEST).bind(keys).bind(since.as_micros()).bind(before.as_micros());
    Ok(query.number(readers).await.map_err(unavailable)?.map(Timestamp::from_micros))
}

/// Forgets deliveries of these keys.
async fn undo(tx: &mut Tx, keys: &[String]) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let query = link::query(DELIVERIES_UNDO).bind(row::json(&keys));
    query.execute(tx.connection().await?).await.map_err(unavailable)?;
    Ok(())
}

/// The number given last, and the deliveries of the group that were committed before.
async fn known(tx: &mut Tx, intakes: &[Intake]) -> Result<(i64, HashMap<String, Row>)> {
    let keys: Vec<&str> = intakes.iter().map(|intake| intake.key.as_str()).collect();
    let rows = link::query(BEGIN_KNOWN)
        .bind(row::json(&keys))
        .fetch_all(tx.connection().await?)
        .await
        .map_err(unavailable)?;
    let (mut newest, mut known) = (0, HashMap::new());
    for row in rows {
        let found = Reader::new(&row, "deliveries", "key");
        newest = found.int("number")?;
        if let Some(key) = found.opt_text("key")? {
            known.insert(key.to_owned(), row);
        }
    }
    Ok((newest, known))
}
