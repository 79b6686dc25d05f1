//! Leases, as they go on and end: renewed, fenced, given back, taken away. A lease that was taken away leaves its board
//! to be fenced physically, and the run under it to [`lose`].

use std::collections::{BTreeSet, HashSet};

use serde_json::json;

use super::lease;
use super::ledger::{self, Event};
use super::link::{self, Readers};
use super::row::{self, Reader, expect_changed, statements, unavailable};
use super::script::Script;
use super::script::Tx;
use super::unbegun;
use super::unreadable::{Unreadable, lose};
use super::worker;
use crate::board::BoardId;
use crate::clock::Timestamp;
use crate::id::{Ids, InstanceId, LeaseId};
use crate::lease::{Holder, Lease, LeaseState};
use crate::run::LeaseRef;
use crate::store::{AtRest, Fenced, Lapsed, Result};

statements! {
    // A person's time is not the process' to extend. (The live states stand in every such WHERE as the index names them.)
    LEASES_RENEW = "UPDATE leases
        SET expires_at = MAX(expires_at, ?2)
        WHERE instance = ?1 AND state IN ('active', 'finalizing', 'held') AND state <> 'held'
        RETURNING id";
    LEASE_FENCED = "UPDATE leases
        SET needs_fence = 0
        WHERE id = ?1 AND board = ?2 AND fence = ?3 AND state IN ('active', 'finalizing', 'held')";
    // Fenced means: taken over, power-cycled, answering. Nothing is left of what made it suspect.
    BOARD_FENCED = "UPDATE boards
        SET needs_fence = 0,
            health = CASE health WHEN 'suspect' THEN 'good' ELSE health END,
            reason = CASE health WHEN 'suspect' THEN '' ELSE reason END
        WHERE id = ?1 AND fence = ?2";
    // A run's lease is given back only after its outcome is committed.
    LEASE_RELEASE = "UPDATE leases
        SET state = 'released', ended_at = ?4
        WHERE id = ?1 AND board = ?2 AND fence = ?3 AND state IN ('active', 'finalizing', 'held')
          AND NOT (state = 'active' AND run IS NOT NULL)";
    BOARD_RELEASED = "UPDATE boards
        SET last_used_at = ?2,
            needs_fence = CASE WHEN ?3 IS NULL THEN needs_fence ELSE 1 END,
            reason = CASE WHEN ?3 IS NULL OR health = 'quarantined' THEN reason ELSE ?3 END,
            health = CASE WHEN ?3 IS NULL OR health = 'quarantined' THEN health ELSE 'suspect' END
        WHERE id = ?1";
    // Its board was not touched, so that nothing of the board's row changes.
    LEASES_RETURN = "UPDATE leases
        SET state = 'released', ended_at = ?2
        WHERE id IN (SELECT value FROM jsonb_each(?1)) AND state IN ('active', 'finalizing', 'held') AND state = 'active'";
    LEASES_LAPSE = "UPDATE leases
        SET state = 'lapsed', ended_at = ?2
        WHERE id IN (SELECT value FROM jsonb_each(?1)) AND state IN ('active', 'finalizing', 'held')";
    BOARDS_LAPSED = "UPDATE boards
        SET needs_fence = 1, last_used_at = ?2
        WHERE id IN (SELECT value FROM jsonb_each(?1))";
    // Of the board itself that is said when the person's time ends.
    HOLDS_UNFENCED = "UPDATE leases
        SET needs_fence = 1
        WHERE id IN (SELECT value FROM jsonb_each(?1)) AND state IN ('active', 'finalizing', 'held') AND state = 'held'";
    // What a lease is known by while its holder cannot be read.
    LEASES_BARE = "SELECT id, board, run, attempt, state
        FROM leases
        WHERE state IN ('active', 'finalizing', 'held')";
    // And what they had, which comes to rest.
    LEASES_REHOME = "UPDATE leases
        SET instance = ?1
        WHERE state IN ('active', 'finalizing', 'held') AND (state = 'held' OR state = 'finalizing' AND run IS NULL)
          AND instance <> ?1";
}

/// Renews what an instance drives.
pub(super) async fn renew(tx: &mut Tx, instance: InstanceId, expires_at: Timestamp) -> Result<Vec<LeaseId>> {
    let query = link::query(LEASES_RENEW).bind(instance.to_string()).bind(expires_at.as_micros());
    let rows = query.fetch_all(tx.connection().await?).await.map_err(unavailable)?;
    rows.iter().map(|row| Reader::new(row, "leases", "id").id("id")).collect()
}

/// The board was fenced physically.
pub(super) async fn fenced(tx: &mut Tx, lease: &LeaseRef, now: Timestamp) -> Result<Fenced> {
    let query =
        link::query(LEASE_FENCED).bind(lease.id.to_string()).bind(lease.board.as_str()).bind(lease.fence.0);
    if query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected() == 0 {
        return Ok(Fenced::Stale);
    }
    let mut script = Script::default();
    script.add(BOARD_FENCED, [lease.board.as_str().into(), lease.fence.0.into()]);
    script.events(&[Event::board(now, "fenced", &lease.board)]);
    tx.leave(script);
    Ok(Fenced::Done)
}

/// Gives a board back.
pub(super) async fn release(tx: &mut Tx, lease: &LeaseRef, rest: &AtRest, now: Timestamp) -> Result<Fenced> {
    let query = link::query(LEASE_RELEASE).bind(lease.id.to_string()).bind(lease.board.as_str());
    let query = query.bind(lease.fence.0).bind(now.as_micros());
    if query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected() == 0 {
        return Ok(Fenced::Stale);
    }
    let problem = match rest {
        AtRest::Yes => None,
        AtRest::No(problem) => Some(problem.as_str()),
    };
    let mut script = Script::default();
    let released = script.add(BOARD_RELEASED, [lease.board.as_str().into(), now.into(), problem.into()]);
    released.expect(1, "boards", &lease.board);
    script
        .events(&[Event::lease(now, "released", lease.id, &lease.board).with(json!({ "problem": problem }))]);
    tx.leave(script);
    Ok(Fenced::Done)
}

/// Whether [`expire`] would find something: looked at before the writer is asked.
pub(super) async fn any_over(
    readers: &Readers,
    unreadable: &Unreadable,
    except: InstanceId,
    now: Timestamp,
) -> Result<bool> {
    Ok(lease::list(readers, unreadable).await?.iter().any(|lease| is_over(lease, except, now)))
}

/// Takes away every lease whose time is over.
pub(super) async fn expire(
    tx: &mut Tx,
    ids: &Ids,
    unreadable: &Unreadable,
    except: InstanceId,
    now: Timestamp,
) -> Result<Vec<Lapsed>> {
    let workers = worker::instances(tx, unreadable).await?;
    // One that cannot be read may be driven by this process: it waits for the next start.
    let is_over = |lease: &Lease| is_over(lease, except, now) && !workers.contains(&lease.instance);
    lapse(tx, ids, unreadable, is_over, |_| false, now).await
}

/// Takes away what other instances drove. What people hold is theirs still: it only changes hands.
pub(super) async fn takeover(
    tx: &mut Tx,
    ids: &Ids,
    unreadable: &Unreadable,
    instance: InstanceId,
    now: Timestamp,
) -> Result<Vec<Lapsed>> {
    let is_left =
        |lease: &Lease| lease.state == LeaseState::Finalizing && matches!(lease.holder, Holder::Check(_));
    let workers = worker::instances(tx, unreadable).await?;
    let theirs =
        |lease: &Lease| lease.instance != instance && !is_left(lease) && !workers.contains(&lease.instance);
    let lapsed =
        lapse(tx, ids, unreadable, theirs, |bare| bare.state != LeaseState::Held.as_str(), now).await?;
    link::query(LEASES_REHOME)
        .bind(instance.to_string())
        .execute(tx.connection().await?)
        .await
        .map_err(unavailable)?;
    Ok(lapsed)
}

/// Takes away these leases, where they are live.
pub(super) async fn lapse_these(
    tx: &mut Tx,
    ids: &Ids,
    unreadable: &Unreadable,
    leases: &[LeaseId],
    now: Timestamp,
) -> Result<Vec<Lapsed>> {
    let named = |bare: &Bare| leases.iter().any(|lease| lease.to_string() == bare.id);
    lapse(tx, ids, unreadable, |lease| leases.contains(&lease.id), named, now).await
}

/// Takes away the live leases of which this is true.
pub(super) async fn lapse_where(
    tx: &mut Tx,
    ids: &Ids,
    unreadable: &Unreadable,
    is_over: impl Fn(&Lease) -> bool,
    now: Timestamp,
) -> Result<Vec<Lapsed>> {
    lapse(tx, ids, unreadable, is_over, |_| false, now).await
}

/// Gives leases back that nobody has begun with: all of an attempt's, or none.
pub(super) async fn give_back(
    tx: &mut Tx,
    unreadable: &Unreadable,
    leases: &[LeaseId],
    now: Timestamp,
) -> Result<Vec<LeaseId>> {
    let rows =
        link::query(lease::LEASES_LIVE).fetch_all(tx.connection().await?).await.map_err(unavailable)?;
    let live = unreadable.sift(&rows, lease::read)?;
    let named = live.iter().filter(|lease| leases.contains(&lease.id));
    let attempts: BTreeSet<(i64, u32)> =
        named.filter_map(|lease| attempt_under(lease).or(on(lease))).collect();
    let mut given = Vec::new();
    for (number, attempt) in attempts {
        if !unbegun::take_back(tx, number, attempt, now).await? {
            continue;
        }
        // What a person has stays theirs: the run alone leaves it.
        given.extend(live.iter().filter(|lease| on(lease) == Some((number, attempt))).map(|lease| lease.id));
        let of_attempt = live.iter().filter(|lease| attempt_under(lease) == Some((number, attempt)));
        let of_attempt: Vec<&Lease> = of_attempt.collect();
        let ids: Vec<LeaseId> = of_attempt.iter().map(|lease| lease.id).collect();
        let Some(first) = ids.first() else { continue };
        let query = link::query(LEASES_RETURN).bind(row::json(&ids)).bind(now.as_micros());
        let changed = query.execute(tx.connection().await?).await.map_err(unavailable)?;
        expect_changed(changed.rows_affected(), ids.len(), "leases", first)?;
        let events: Vec<Event<'_>> =
            of_attempt.iter().map(|lease| Event::lease(now, "released", lease.id, &lease.board)).collect();
        ledger::events(tx, &events);
        given.extend(ids);
    }
    Ok(given)
}

/// A process keeps what it drives for as long as it lives. The time of a person ends in an order of its own (`hold`).
fn is_over(lease: &Lease, except: InstanceId, now: Timestamp) -> bool {
    lease.expires_at <= now && lease.instance != except && lease.state != LeaseState::Held
}

/// A live lease whose holder cannot be read.
struct Bare {
    id: String,
    board: BoardId,
    state: String,
    /// The run and its attempt that it was granted for.
    attempt: Option<(i64, u32)>,
}

async fn lapse(
    tx: &mut Tx,
    ids: &Ids,
    unreadable: &Unreadable,
    is_over: impl Fn(&Lease) -> bool,
    is_over_bare: impl Fn(&Bare) -> bool,
    now: Timestamp,
) -> Result<Vec<Lapsed>> {
    let rows =
        link::query(lease::LEASES_LIVE).fetch_all(tx.connection().await?).await.map_err(unavailable)?;
    let live = unreadable.sift(&rows, lease::read)?;
    let mut bare = if live.len() == rows.len() { vec![] } else { bare(tx, unreadable, &live).await? };
    bare.retain(is_over_bare);
    // An attempt that loses one of its boards has lost them all.
    let mut attempts: BTreeSet<(i64, u32)> =
        live.iter().filter(|lease| is_over(lease)).filter_map(attempt_under).collect();
    attempts.extend(bare.iter().filter_map(|bare| bare.attempt));
    // What a person has stays theirs; the run of theirs that was on it is lost, and left the board in any state.
    let (held, rest): (Vec<Lease>, Vec<Lease>) =
        live.into_iter().partition(|lease| lease.state == LeaseState::Held);
    let under = |lease: &Lease| on(lease).filter(|_| is_over(lease));
    let unfenced: Vec<LeaseId> =
        held.iter().filter(|lease| under(lease).is_some()).map(|lease| lease.id).collect();
    attempts.extend(held.iter().filter_map(under));
    let is_lost =
        |lease: &Lease| is_over(lease) || attempt_under(lease).is_some_and(|a| attempts.contains(&a));
    let over: Vec<Lease> = rest.into_iter().filter(is_lost).collect();
    end(tx, &over, &bare, now).await?;
    if !unfenced.is_empty() {
        let query = link::query(HOLDS_UNFENCED).bind(row::json(&unfenced));
        query.execute(tx.connection().await?).await.map_err(unavailable)?;
        let lapsed = held.iter().filter(|lease| unfenced.contains(&lease.id));
        let events: Vec<Event<'_>> =
            lapsed.map(|lease| Event::lease(now, "lapsed", lease.id, &lease.board)).collect();
        ledger::events(tx, &events);
    }

    let mut lost = BTreeSet::new();
    for attempt in attempts {
        if lose(tx, ids, unreadable, attempt, now).await? {
            lost.insert(attempt);
        }
    }
    let lapsed =
        |lease: Lease| Lapsed { requeued: attempt_under(&lease).is_some_and(|a| lost.contains(&a)), lease };
    Ok(over.into_iter().map(lapsed).collect())
}

/// Ends leases that are lost; their boards are to be fenced.
async fn end(tx: &mut Tx, over: &[Lease], bare: &[Bare], now: Timestamp) -> Result<()> {
    let ids = over.iter().map(|lease| lease.id.to_string()).chain(bare.iter().map(|bare| bare.id.clone()));
    let ids: Vec<String> = ids.collect();
    let boards = over.iter().map(|lease| &lease.board).chain(bare.iter().map(|bare| &bare.board));
    let boards: Vec<&BoardId> = boards.collect();
    let Some(first) = ids.first() else { return Ok(()) };
    let query = link::query(LEASES_LAPSE).bind(row::json(&ids)).bind(now.as_micros());
    let changed = query.execute(tx.connection().await?).await.map_err(unavailable)?;
    expect_changed(changed.rows_affected(), ids.len(), "leases", first)?;
    let query = link::query(BOARDS_LAPSED).bind(row::json(&boards)).bind(now.as_micros());
    query.execute(tx.connection().await?).await.map_err(unavailable)?;
    let lapsed = |id: &str, board| Event::lease(now, "lapsed", id, board);
    let events: Vec<Event<'_>> = ids.iter().zip(&boards).map(|(id, board)| lapsed(id, board)).collect();
    ledger::events(tx, &events);
    Ok(())
}

/// Live leases that are not among those that could be read.
async fn bare(tx: &mut Tx, unreadable: &Unreadable, read: &[Lease]) -> Result<Vec<Bare>> {
    let rows = link::query(LEASES_BARE).fetch_all(tx.connection().await?).await.map_err(unavailable)?;
    let bare = unreadable.sift(&rows, |row| {
        let row = Reader::new(row, "leases", "id");
        let attempt = row.opt_int("run")?.zip(row.opt_int("attempt")?.and_then(|n| u32::try_from(n).ok()));
        let (id, state) = (row.text("id")?.to_owned(), row.text("state")?.to_owned());
        let attempt = attempt.filter(|_| state == LeaseState::Active.as_str());
        Ok(Bare { id, board: BoardId::new(row.text("board")?), state, attempt })
    })?;
    let known: HashSet<String> = read.iter().map(|lease| lease.id.to_string()).collect();
    Ok(bare.into_iter().filter(|bare| !known.contains(&bare.id)).collect())
}

/// The attempt of whoever has the board that is on it.
fn on(lease: &Lease) -> Option<(i64, u32)> {
    lease.hold.as_ref().and_then(|hold| hold.run)
}

/// The attempt that has no outcome yet and drives under this lease.
fn attempt_under(lease: &Lease) -> Option<(i64, u32)> {
    match (&lease.holder, lease.state) {
        (Holder::Run { number, attempt, .. }, LeaseState::Active) => Some((*number, *attempt)),
        (Holder::Run { .. } | Holder::Person(_) | Holder::Check(_), _) => None,
    }
}
