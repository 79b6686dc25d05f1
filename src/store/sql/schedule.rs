//! Schedules: which due time of each was dealt with, and which are paused.

use serde_json::{Map, Value, json};

use super::link::{self, Readers, Row};
use super::row::{self, Reader, statements, unavailable};
use super::script::Tx;
use super::unreadable::Unreadable;
use crate::chat::Actor;
use crate::clock::Timestamp;
use crate::store::{Dealt, Effected, OWN_SCHEDULES_MAX, OwnSchedule, Result, ScheduleRow};

statements! {
    SCHEDULES_LIST = "SELECT name, timing, since, due, dealt, paused_at, paused_by, own, own_by
        FROM schedules
        ORDER BY name";
    SCHEDULES_LEFT = "DELETE FROM schedules
        WHERE own IS NULL AND name NOT IN (SELECT value->>'name' FROM jsonb_each(?1))
           OR own IS NOT NULL
              AND EXISTS (SELECT 1 FROM jsonb_each(?1)
                          WHERE lower(value->>'name') = lower(schedules.name) AND value->>'name' <> schedules.name)";
    SCHEDULES_CAME = "INSERT INTO schedules (name, timing, since)
        SELECT value->>'name', value->>'timing', ?2 FROM jsonb_each(?1)
        WHERE true
        ON CONFLICT (name) DO UPDATE SET timing = excluded.timing, since = excluded.since, due = NULL, dealt = NULL,
            own = NULL, own_by = NULL,
            paused_at = CASE WHEN schedules.own IS NULL THEN schedules.paused_at END,
            paused_by = CASE WHEN schedules.own IS NULL THEN schedules.paused_by END
        WHERE timing <> excluded.timing OR own IS NOT NULL";
    SCHEDULES_OWN = "SELECT COUNT(*) FROM schedules WHERE own IS NOT NULL AND name <> ?1";
    SCHEDULES_ALIKE = "SELECT COUNT(*) FROM schedules WHERE lower(name) = lower(?1) AND name <> ?1";
    // The same times go on as they are, whatever is run then.
    SCHEDULE_MAKE = "INSERT INTO schedules (name, timing, since, own, own_by)
        VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (name) DO UPDATE SET own = excluded.own, own_by = excluded.own_by, timing = excluded.timing,
            since = CASE WHEN schedules.timing = excluded.timing THEN schedules.since ELSE excluded.since END,
            due = CASE WHEN schedules.timing = excluded.timing THEN schedules.due END,
            dealt = CASE WHEN schedules.timing = excluded.timing THEN schedules.dealt END
        WHERE schedules.own IS NOT NULL";
    SCHEDULE_UNMAKE = "DELETE FROM schedules
        WHERE name = ?1 AND own IS NOT NULL";
    // A clock that was set back, or another server, may come with a time that lies before.
    SCHEDULE_DEALT = "UPDATE schedules
        SET due = ?2, dealt = ?3
        WHERE name = ?1 AND (due IS NULL OR due < ?2)";
    SCHEDULE_PAUSE = "UPDATE schedules
        SET paused_at = ?2, paused_by = ?3
        WHERE name = ?1 AND paused_at IS NULL";
    // What was due meanwhile is over.
    SCHEDULE_RESUME = "UPDATE schedules
        SET paused_at = NULL, paused_by = NULL, since = ?2
        WHERE name = ?1 AND paused_at IS NOT NULL";
}

/// Every schedule, by name.
pub(super) async fn list(readers: &Readers, unreadable: &Unreadable) -> Result<Vec<ScheduleRow>> {
    let rows = link::query(SCHEDULES_LIST).fetch_all(readers).await.map_err(unavailable)?;
    unreadable.sift(&rows, read)
}

fn read(row: &Row) -> Result<ScheduleRow> {
    let row = Reader::new(row, "schedules", "name");
    let paused = match row.opt_at("paused_at")? {
        Some(at) => Some((row.json("paused_by")?, at)),
        None => None,
    };
    let dealt = match row.opt_at("due")? {
        Some(due) => Some((due, row.json("dealt")?)),
        None => None,
    };
    let own = match row.opt_json("own")? {
        Some(document) => Some(OwnSchedule { document, by: row.json("own_by")? }),
        None => None,
    };
    Ok(ScheduleRow {
        own,
        name: row.text("name")?.to_owned(),
        timing: row.text("timing")?.to_owned(),
        since: row.at("since")?,
        dealt,
        paused,
    })
}

/// These are the lab's schedules.
pub(super) async fn register(tx: &mut Tx, schedules: &[(String, String)], now: Timestamp) -> Result<()> {
    let rows: Vec<_> =
        schedules.iter().map(|(name, timing)| json!({ "name": name, "timing": timing })).collect();
    let rows = row::json(&rows);
    let connection = tx.connection().await?;
    link::query(SCHEDULES_LEFT).bind(&rows).execute(&mut *connection).await.map_err(unavailable)?;
    let came = link::query(SCHEDULES_CAME).bind(&rows).bind(now.as_micros());
    came.execute(connection).await.map_err(unavailable)?;
    Ok(())
}

/// A due time was dealt with; gives whether none after it was.
pub(super) async fn dealt(tx: &mut Tx, name: &str, due: Timestamp, dealt: &Dealt) -> Result<bool> {
    let query = link::query(SCHEDULE_DEALT).bind(name).bind(due.as_micros()).bind(row::json(dealt));
    Ok(query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected() > 0)
}

/// Makes a schedule that is no one of boards.yaml, or makes it anew.
pub(super) async fn make(
    tx: &mut Tx,
    name: &str,
    (timing, document): (&str, &Map<String, Value>),
    by: &Actor,
    now: Timestamp,
) -> Result<Effected> {
    let alike = link::query(SCHEDULES_ALIKE).bind(name).count(tx.connection().await?).await;
    if alike.map_err(unavailable)? > 0 {
        return Ok(Effected::NotTheirs);
    }
    let others = link::query(SCHEDULES_OWN).bind(name).count(tx.connection().await?).await;
    if others.map_err(unavailable)? >= OWN_SCHEDULES_MAX as i64 {
        return Ok(Effected::TooMany);
    }
    let query = link::query(SCHEDULE_MAKE).bind(name).bind(timing).bind(now.as_micros());
    let query = query.bind(row::json(document)).bind(row::json(by));
    let changed = query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected();
    Ok(if changed == 0 { Effected::NotTheirs } else { Effected::Done })
}

/// Removes one that a program made.
pub(super) async fn unmake(tx: &mut Tx, name: &str) -> Result<Effected> {
    let query = link::query(SCHEDULE_UNMAKE).bind(name);
    let changed = query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected();
    Ok(if changed == 0 { Effected::NotTheirs } else { Effected::Done })
}

/// Pauses a schedule, or lets it go on.
pub(super) async fn pause(
    tx: &mut Tx,
    name: &str,
    paused: bool,
    by: &Actor,
    now: Timestamp,
) -> Result<Effected> {
    let query = match paused {
        true => link::query(SCHEDULE_PAUSE).bind(name).bind(now.as_micros()).bind(row::json(by)),
        false => link::query(SCHEDULE_RESUME).bind(name).bind(now.as_micros()),
    };
    let changed = query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected();
    Ok(if changed == 0 { Effected::Unchanged } else { Effected::Done })
}
