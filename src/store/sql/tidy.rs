//! Removing what is older than it is kept: a page of each growing table at a time, in the order of its key, so that no
//! look at a table is longer than a page and nobody who writes waits for long. Nothing of an unfinished run, nothing
//! that is owed, and no event that the scheduler has not read is touched; runs and attempts stay.

use super::link;
use super::row::{Reader, statements, unavailable};
use super::script::Tx;
use super::{calls, campaign, letters};
use crate::clock::Timestamp;
use crate::store::{Outdated, Result, Tidied, TidyFrom};

// What is outdated of a page of each table: removed here, and counted by `foresee`.
macro_rules! events_outdated {
    () => {
        "FROM events
        WHERE seq > ?1 AND seq <= ?2 AND at < ?3
          AND NOT EXISTS (SELECT 1 FROM runs AS r WHERE r.number = events.run AND r.state <> 'finished')"
    };
}
pub(super) use events_outdated;

macro_rules! audit_outdated {
    () => {
        "FROM audit
        WHERE position > ?1 AND position <= ?2 AND at < ?3"
    };
}
pub(super) use audit_outdated;

macro_rules! outbox_outdated {
    () => {
        "FROM outbox
        WHERE position > ?1 AND position <= ?2 AND owed_at < ?3 AND state <> 'owed'
          AND NOT EXISTS (SELECT 1
                          FROM cards AS c
                          JOIN runs AS r ON r.number = c.run
                          WHERE c.id = outbox.card AND r.state <> 'finished')"
    };
}
pub(super) use outbox_outdated;

macro_rules! errands_outdated {
    () => {
        "FROM errands
        WHERE rowid > ?1 AND rowid <= ?2 AND done_at < ?3"
    };
}
pub(super) use errands_outdated;

macro_rules! builds_outdated {
    () => {
        "FROM builds
        WHERE number > ?1 AND number <= ?2 AND registered_at < ?3
          AND EXISTS (SELECT 1
                      FROM builds AS n
                      WHERE n.family = builds.family AND n.branch IS builds.branch AND n.result = 'success'
                        AND n.number > builds.number)
          AND (family, id) NOT IN (SELECT spec->>'family', spec->>'build' FROM runs WHERE state <> 'finished')"
    };
}
pub(super) use builds_outdated;

macro_rules! leases_outdated {
    () => {
        "FROM leases
        WHERE rowid > ?1 AND rowid <= ?2 AND ended_at < ?3 AND state IN ('released', 'lapsed')"
    };
}
pub(super) use leases_outdated;

statements! {
    EVENTS_PAGE = "SELECT COUNT(*) AS found, COALESCE(MAX(position), ?1) AS last, COALESCE(MAX(at), 0) AS newest
        FROM (SELECT seq AS position, at FROM events WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3) AS page";
    EVENTS_REMOVE = concat!("DELETE ", events_outdated!());
    AUDIT_PAGE = "SELECT COUNT(*) AS found, COALESCE(MAX(position), ?1) AS last, COALESCE(MAX(at), 0) AS newest
        FROM (SELECT position, at FROM audit WHERE position > ?1 AND position <= ?2 ORDER BY position LIMIT ?3) AS page";
    AUDIT_REMOVE = concat!("DELETE ", audit_outdated!());
    OUTBOX_PAGE = "SELECT COUNT(*) AS found, COALESCE(MAX(position), ?1) AS last, COALESCE(MAX(at), 0) AS newest
        FROM (SELECT position, owed_at AS at
              FROM outbox
              WHERE position > ?1 AND position <= ?2
              ORDER BY position
              LIMIT ?3) AS page";
    OUTBOX_REMOVE = concat!("DELETE ", outbox_outdated!());
    ERRANDS_PAGE = "SELECT COUNT(*) AS found, COALESCE(MAX(position), ?1) AS last, COALESCE(MAX(at), 0) AS newest
        FROM (SELECT rowid AS position, asked_at AS at
              FROM errands
              WHERE rowid > ?1 AND rowid <= ?2
              ORDER BY rowid
              LIMIT ?3) AS page";
    ERRANDS_REMOVE = concat!("DELETE ", errands_outdated!());
    BUILDS_PAGE = "SELECT COUNT(*) AS found, COALESCE(MAX(position), ?1) AS last, COALESCE(MAX(at), 0) AS newest
        FROM (SELECT number AS position, registered_at AS at
              FROM builds
              WHERE number > ?1 AND number <= ?2
              ORDER BY number
              LIMIT ?3) AS page";
    // The newest good one of a branch stays, however old it is: it is the latest.
    BUILDS_REMOVE = concat!("DELETE ", builds_outdated!());
    LEASES_PAGE = "SELECT COUNT(*) AS found, COALESCE(MAX(position), ?1) AS last, COALESCE(MAX(at), 0) AS newest
        FROM (SELECT rowid AS position, granted_at AS at
              FROM leases
              WHERE rowid > ?1 AND rowid <= ?2
              ORDER BY rowid
              LIMIT ?3) AS page";
    LEASES_REMOVE = concat!("DELETE ", leases_outdated!());
}

/// The walk is over.
const END: i64 = i64::MAX;

/// Removes what is outdated from one page of each table.
pub(super) async fn tidy(tx: &mut Tx, outdated: &Outdated, from: TidyFrom, limit: u32) -> Result<Tidied> {
    let read_to = outdated.read_to.map_or(0, |cursor| cursor.0);
    let events = (EVENTS_PAGE, EVENTS_REMOVE);
    let (events, events_at) = page(tx, events, from.events, read_to, outdated.events, limit).await?;
    let audit = (AUDIT_PAGE, AUDIT_REMOVE);
    let (audit, audit_at) = page(tx, audit, from.audit, END, outdated.audit, limit).await?;
    letters::forget(tx, outdated.messages);
    calls::forget(tx, outdated.messages, limit);
    campaign::forget(tx, outdated.campaigns, limit);
    let messages = (OUTBOX_PAGE, OUTBOX_REMOVE);
    let (messages, messages_at) = page(tx, messages, from.messages, END, outdated.messages, limit).await?;
    let errands = (ERRANDS_PAGE, ERRANDS_REMOVE);
    let (errands, errands_at) = page(tx, errands, from.errands, END, outdated.errands, limit).await?;
    let leases = (LEASES_PAGE, LEASES_REMOVE);
    let (leases, leases_at) = page(tx, leases, from.leases, END, outdated.leases, limit).await?;
    let builds = (BUILDS_PAGE, BUILDS_REMOVE);
    let (builds, builds_at) = page(tx, builds, from.builds, END, outdated.builds, limit).await?;
    let next = TidyFrom {
        events: events_at,
        audit: audit_at,
        messages: messages_at,
        errands: errands_at,
        leases: leases_at,
        builds: builds_at,
    };
    let over =
        [events_at, audit_at, messages_at, errands_at, leases_at, builds_at].iter().all(|at| *at == END);
    Ok(Tidied { events, audit, messages, errands, leases, builds, next: (!over).then_some(next) })
}

/// One page of a table; gives how many rows were removed, and where the next page begins.
async fn page(
    tx: &mut Tx,
    (look, remove): (&'static str, &'static str),
    from: i64,
    to: i64,
    before: Timestamp,
    limit: u32,
) -> Result<(u64, i64)> {
    if from >= to {
        return Ok((0, END));
    }
    let query = link::query(look).bind(from).bind(to).bind(limit);
    let found = query.fetch_one(tx.connection().await?).await.map_err(unavailable)?;
    let found = Reader::new(&found, "page", "last");
    let (rows, last, newest) = (found.int("found")?, found.int("last")?, found.at("newest")?);
    if rows == 0 {
        return Ok((0, END));
    }
    let query = link::query(remove).bind(from).bind(last).bind(before.as_micros());
    let removed = query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected();
    // Rows stand in the order of their keys, nearly: behind one that is young enough nothing is worth a look.
    let over = rows < i64::from(limit) || newest >= before;
    Ok((removed, if over { END } else { last }))
}
