//! Workers, and what they report under their leases. A report's number and what it changes are one transaction, so that
//! a repeat is known whatever became of the answer.

use std::collections::HashSet;

use super::attempt;
use super::lease;
use super::lease_end;
use super::link::{self, Readers, Row};
use super::row::{Reader, statements, unavailable};
use super::script::Tx;
use super::unreadable::Unreadable;
use crate::board::Site;
use crate::clock::Timestamp;
use crate::id::{Ids, InstanceId, LeaseId};
use crate::lease::Lease;
use crate::store::{
    Fenced, Lapsed, NewWorker, Registered, Report, Reported, Result, StoreError, WORKERS_MAX, WorkerRow,
};

statements! {
    WORKERS = "SELECT id, instance, home, site, version, capacity, token, registered_at, seen_at, left_at
        FROM workers
        ORDER BY registered_at, id";
    WORKER_BY_ID = "SELECT id, instance, home, site, version, capacity, token, registered_at, seen_at, left_at
        FROM workers
        WHERE id = ?1";
    WORKERS_BY_HOME = "SELECT id, instance, home, site, version, capacity, token, registered_at, seen_at, left_at
        FROM workers
        WHERE home = ?1 AND id <> ?2";
    WORKER_REMOVE = "DELETE FROM workers
        WHERE instance = ?1";
    WORKER_FORGET = "DELETE FROM workers
        WHERE instance = ?1
          AND NOT EXISTS (SELECT 1 FROM leases WHERE instance = ?1 AND state IN ('active', 'finalizing', 'held'))";
    WORKERS_COUNT = "SELECT COUNT(*) FROM workers WHERE id <> ?1";
    WORKER_PUT = "INSERT INTO workers (id, instance, home, site, version, capacity, token, registered_at, seen_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)
        ON CONFLICT (id) DO UPDATE
        SET instance = excluded.instance, home = excluded.home, site = excluded.site, version = excluded.version,
            capacity = excluded.capacity, token = excluded.token, seen_at = excluded.seen_at, left_at = NULL,
            registered_at = CASE WHEN workers.instance = excluded.instance THEN workers.registered_at
                                 ELSE excluded.registered_at END";
    WORKER_SEEN = "UPDATE workers
        SET seen_at = ?2
        WHERE instance = ?1";
    WORKER_LEFT = "UPDATE workers
        SET left_at = ?2, seen_at = ?2
        WHERE instance = ?1 AND left_at IS NULL";
    WORKER_OF_LEASE = "SELECT w.id
        FROM leases AS l
        JOIN workers AS w ON w.instance = l.instance
        WHERE l.id = ?1";
    // Whether it is this process' to report, and what it reported last.
    REPORTED = "SELECT id, reported
        FROM leases
        WHERE id = ?1 AND board = ?2 AND fence = ?3 AND instance = ?4";
    REPORTED_SET = "UPDATE leases
        SET reported = ?2
        WHERE id = ?1";
}

/// Every worker, the one that began first first.
pub(super) async fn list(readers: &Readers, unreadable: &Unreadable) -> Result<Vec<WorkerRow>> {
    let rows = link::query(WORKERS).fetch_all(readers).await.map_err(unavailable)?;
    unreadable.sift(&rows, read)
}

/// The lives of workers that are known, as they stand now.
pub(super) async fn instances(tx: &mut Tx, unreadable: &Unreadable) -> Result<HashSet<InstanceId>> {
    let rows = link::query(WORKERS).fetch_all(tx.connection().await?).await.map_err(unavailable)?;
    Ok(unreadable.sift(&rows, read)?.into_iter().map(|row| row.worker.instance).collect())
}

/// The worker that drives, or drove, under a lease.
pub(super) async fn of_lease(tx: &mut Tx, lease: LeaseId) -> Result<Option<String>> {
    let query = link::query(WORKER_OF_LEASE).bind(lease.to_string());
    let found = query.fetch_optional(tx.connection().await?).await.map_err(unavailable)?;
    found.map(|row| Ok(Reader::new(&row, "workers", "id").text("id")?.to_owned())).transpose()
}

/// A worker begins.
pub(super) async fn register(
    tx: &mut Tx,
    ids: &Ids,
    unreadable: &Unreadable,
    new: &NewWorker,
    now: Timestamp,
) -> Result<Registered> {
    let query = link::query(WORKER_BY_ID).bind(&new.id);
    let found = query.fetch_optional(tx.connection().await?).await.map_err(unavailable)?;
    let before = found.as_ref().map(read).transpose()?;
    if before.as_ref().is_some_and(|before| before.worker.home != new.home) {
        return Ok(Registered::Taken);
    }
    let count = link::query(WORKERS_COUNT).bind(&new.id);
    if count.count(tx.connection().await?).await.map_err(unavailable)? >= i64::from(WORKERS_MAX) {
        return Ok(Registered::TooMany);
    }
    // Its folder's lock says that its life before is over.
    let lapsed = match before.map(|before| before.worker.instance).filter(|it| *it != new.instance) {
        Some(over) => lapse(tx, ids, unreadable, over, None, now).await?,
        None => vec![],
    };
    let mut lapsed = lapsed;
    let renamed = link::query(WORKERS_BY_HOME).bind(hex::encode(new.home)).bind(&new.id);
    let renamed = renamed.fetch_all(tx.connection().await?).await.map_err(unavailable)?;
    for before in unreadable.sift(&renamed, read)? {
        lapsed.extend(lapse(tx, ids, unreadable, before.worker.instance, None, now).await?);
        let gone = link::query(WORKER_REMOVE).bind(before.worker.instance.to_string());
        gone.execute(tx.connection().await?).await.map_err(unavailable)?;
    }
    link::query(WORKER_PUT)
        .bind(&new.id)
        .bind(new.instance.to_string())
        .bind(hex::encode(new.home))
        .bind(new.site.as_str())
        .bind(&new.version)
        .bind(new.capacity)
        .bind(&new.token)
        .bind(now.as_micros())
        .execute(tx.connection().await?)
        .await
        .map_err(unavailable)?;
    Ok(Registered::Done(lapsed))
}

/// Takes away what a life of a worker drove: all of it, or what is over by the first, or ends after the second.
pub(super) async fn lapse(
    tx: &mut Tx,
    ids: &Ids,
    unreadable: &Unreadable,
    instance: InstanceId,
    over: Option<(Timestamp, Timestamp)>,
    now: Timestamp,
) -> Result<Vec<Lapsed>> {
    let is_past = move |lease: &Lease| {
        over.is_none_or(|(by, latest)| lease.expires_at <= by || lease.expires_at > latest)
    };
    let is_over = move |lease: &Lease| lease.instance == instance && is_past(lease);
    lease_end::lapse_where(tx, ids, unreadable, is_over, now).await
}

/// A worker is heard: its leases are renewed. `None` where another life of it has begun, or nobody knows it.
pub(super) async fn beat(
    tx: &mut Tx,
    unreadable: &Unreadable,
    instance: InstanceId,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<Option<Vec<Lease>>> {
    let seen = link::query(WORKER_SEEN).bind(instance.to_string()).bind(now.as_micros());
    if seen.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected() == 0 {
        return Ok(None);
    }
    lease_end::renew(tx, instance, expires_at).await?;
    let rows =
        link::query(lease::LEASES_LIVE).fetch_all(tx.connection().await?).await.map_err(unavailable)?;
    let live = unreadable.sift(&rows, lease::read)?;
    Ok(Some(live.into_iter().filter(|lease| lease.instance == instance).collect()))
}

/// A worker takes nothing new any more; gives whether it is one.
pub(super) async fn leave(tx: &mut Tx, instance: InstanceId, now: Timestamp) -> Result<bool> {
    let query = link::query(WORKER_LEFT).bind(instance.to_string()).bind(now.as_micros());
    Ok(query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected() > 0)
}

/// Forgets a worker that has no live lease.
pub(super) async fn forget(tx: &mut Tx, instance: InstanceId) -> Result<bool> {
    let query = link::query(WORKER_FORGET).bind(instance.to_string());
    Ok(query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected() > 0)
}

/// Takes a report, once.
pub(super) async fn report(tx: &mut Tx, ids: &Ids, reported: &Reported) -> Result<Fenced> {
    let Reported { instance, lease, number, report, now } = reported;
    let query = link::query(REPORTED).bind(lease.id.to_string()).bind(lease.board.as_str());
    let query = query.bind(lease.fence.0).bind(instance.to_string());
    let Some(found) = query.fetch_optional(tx.connection().await?).await.map_err(unavailable)? else {
        return Ok(Fenced::Stale);
    };
    let number = i64::try_from(*number).unwrap_or(i64::MAX);
    if Reader::new(&found, "leases", "id").int("reported")? >= number {
        // Only what was done is counted.
        return Ok(Fenced::Done);
    }
    let done = match report {
        Report::Advance(stage, notes) => attempt::advance(tx, ids, lease, *stage, notes, *now).await?,
        Report::Progress(progress) => attempt::progress(tx, lease, progress, *now).await?,
        Report::Tell(nth, note) => attempt::tell(tx, ids, lease, *nth, note, *now).await?,
        Report::Settle(settle) => attempt::settle(tx, ids, settle).await?,
        Report::Fenced => lease_end::fenced(tx, lease, *now).await?,
        Report::Release(rest) => lease_end::release(tx, lease, rest, *now).await?,
    };
    if done == Fenced::Done {
        let set = link::query(REPORTED_SET).bind(lease.id.to_string()).bind(number);
        set.execute(tx.connection().await?).await.map_err(unavailable)?;
    }
    Ok(done)
}

fn read(found: &Row) -> Result<WorkerRow> {
    let row = Reader::new(found, "workers", "id");
    let home = hex::decode(row.text("home")?).map_err(|error| row.corrupt(error))?;
    let corrupt: fn(Vec<u8>) -> StoreError = |_| StoreError::Corrupt {
        table: "workers",
        row: "home".to_owned(),
        problem: "it is no SHA-256".to_owned(),
    };
    Ok(WorkerRow {
        worker: NewWorker {
            id: row.text("id")?.to_owned(),
            instance: row.id("instance")?,
            home: home.try_into().map_err(corrupt)?,
            site: Site::new(row.text("site")?),
            version: row.text("version")?.to_owned(),
            capacity: row.count("capacity")?,
            token: row.text("token")?.to_owned(),
        },
        registered_at: row.at("registered_at")?,
        seen_at: row.at("seen_at")?,
        left_at: row.opt_at("left_at")?,
    })
}
