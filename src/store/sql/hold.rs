//! Boards of people: asked for, given, kept for longer, and given back or taken away when their time is over. What ends
//! leaves its board under a new lease, with a new fence, for somebody to bring it to rest; a run of theirs that is on it
//! goes on as if it had got the board in the queue.

use std::time::Duration;

use serde_json::json;

use super::drain;
use super::lease::{self, BoardState, unknown};
use super::ledger::{self, Answer, Event};
use super::link::{self, Readers, Row};
use super::row::{self, Reader, expect_changed, statements, unavailable};
use super::run::{self, attempt_of};
use super::script::{Script, Tx};
use super::unreadable::Unreadable;
use crate::board::{BoardId, Family};
use crate::chat::{Actor, AnswerVia};
use crate::clock::Timestamp;
use crate::id::{Ids, LeaseId};
use crate::lease::held::{HeldTime, TIMES_MAX};
use crate::lease::{Fence, Hold, Holder, Lease, LeaseState, REST_LASTS, Reservation};
use crate::message::Note;
use crate::run::LeaseRef;
use crate::store::{Effected, Granted, Health, LeaseTerms, Result};

statements! {
    WAITING = "SELECT id, place, by, family, board, lasts, reason, asked_at
        FROM reservations
        ORDER BY asked_at, id";
    WAITING_ONE = "SELECT id, place, by, family, board, lasts, reason, asked_at
        FROM reservations
        WHERE id = ?1";
    // Those that they wait for, and those that they have.
    BOARDS_OF = "SELECT (SELECT COUNT(*) FROM reservations WHERE requester = ?1)
             + (SELECT COUNT(*) FROM leases
                WHERE state IN ('active', 'finalizing', 'held') AND state = 'held'
                  AND holder->>'$.person.platform' || ':' || (holder->>'$.person.id') = ?1)";
    WAITING_LIKE = "SELECT id, place, by, family, board, lasts, reason, asked_at
        FROM reservations
        WHERE requester = ?1 AND family = ?2 AND board IS ?3
        ORDER BY asked_at, id";
    HELD_OF = "SELECT held_from, COALESCE(held_to, ended_at, expires_at) AS held_until
        FROM leases
        WHERE held_by = ?1 AND COALESCE(held_to, ended_at, expires_at) > ?2
        ORDER BY held_from DESC
        LIMIT ?3 + 0";
    RESERVATION_INSERT = "INSERT INTO reservations (id, place, requester, by, family, board, lasts, reason, asked_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
        ON CONFLICT DO NOTHING";
    RESERVATION_REMOVE = "DELETE FROM reservations WHERE id = ?1";
    HOLD_WARN = "UPDATE leases
        SET warned_at = ?4
        WHERE id = ?1 AND fence = ?2 AND expires_at = ?3 AND state IN ('active', 'finalizing', 'held') AND state = 'held'
          AND warned_at IS NULL";
    HOLD_EXTEND = "UPDATE leases
        SET expires_at = ?3, warned_at = NULL, idle_until = NULL
        WHERE id = ?1 AND fence = ?2 AND state IN ('active', 'finalizing', 'held') AND state = 'held'";
    HOLD_IDLE = "UPDATE leases
        SET idle_until = expires_at, expires_at = ?4, warned_at = ?5
        WHERE id = ?1 AND fence = ?2 AND expires_at = ?3 AND state IN ('active', 'finalizing', 'held') AND state = 'held'
          AND idle_until IS NULL";
    HOLD_USED = "UPDATE leases
        SET expires_at = idle_until, idle_until = NULL, warned_at = NULL
        WHERE id = ?1 AND fence = ?2 AND expires_at = ?3 AND state IN ('active', 'finalizing', 'held') AND state = 'held'
          AND idle_until IS NOT NULL";
    HOLD_END = "UPDATE leases
        SET state = 'released', ended_at = ?3
        WHERE id = ?1 AND fence = ?2 AND state IN ('active', 'finalizing', 'held') AND state = 'held'";
    // The same lease and fence, now the run's own.
    HOLD_TO_RUN = "UPDATE leases
        SET state = 'active', holder = ?3, run = ?4, attempt = ?5, held_to = ?6
        WHERE id = ?1 AND fence = ?2 AND state IN ('active', 'finalizing', 'held') AND state = 'held'";
    // Whoever had it may have left it in any state.
    BOARD_LEFT = "UPDATE boards
        SET needs_fence = 1, last_used_at = ?2
        WHERE id = ?1";
}

/// Who waits.
pub(super) async fn waiting(readers: &Readers, unreadable: &Unreadable) -> Result<Vec<Reservation>> {
    let rows = link::query(WAITING).fetch_all(readers).await.map_err(unavailable)?;
    unreadable.sift(&rows, read)
}

/// One who waits.
pub(super) async fn waiting_one(readers: &Readers, id: LeaseId) -> Result<Option<Reservation>> {
    let query = link::query(WAITING_ONE).bind(id.to_string());
    let found = query.fetch_optional(readers).await.map_err(unavailable)?;
    found.as_ref().map(read).transpose()
}

/// The times since then for which somebody had a board as their own.
pub(super) async fn held_of(readers: &Readers, person: &str, since: Timestamp) -> Result<Vec<HeldTime>> {
    let query = link::query(HELD_OF).bind(person).bind(since.as_micros()).bind(TIMES_MAX);
    let rows = query.fetch_all(readers).await.map_err(unavailable)?;
    let read = |row: &Row| {
        let row = Reader::new(row, "leases", "held_from");
        Ok(HeldTime { from: row.at("held_from")?, until: row.at("held_until")? })
    };
    rows.iter().map(read).collect()
}

/// A reservation from its row.
pub(super) fn read(row: &Row) -> Result<Reservation> {
    let row = Reader::new(row, "reservations", "id");
    Ok(Reservation {
        id: row.id("id")?,
        by: row.json("by")?,
        family: Family::new(row.text("family")?),
        board: row.opt_text("board")?.map(BoardId::new),
        lasts: Duration::from_micros(row.int("lasts")?.max(0).unsigned_abs()),
        reason: row.text("reason")?.to_owned(),
        asked_at: row.at("asked_at")?,
        place: row.int("place")?,
    })
}

/// What became of a wish.
pub(super) struct Reserved {
    pub(super) effected: Effected,
    /// Its id, or that of the same wish that was there before.
    pub(super) id: LeaseId,
    /// Which of the boards is theirs, and the fence of its lease.
    pub(super) got: Option<(usize, Fence)>,
}

/// Takes the first of these boards that nobody has for somebody at once, or lets them wait.
pub(super) async fn reserve(
    tx: &mut Tx,
    wish: &Reservation,
    place: i64,
    (at_once, terms): (&[(BoardId, Note)], &LeaseTerms),
    (or_wait, most): (bool, u32),
) -> Result<Reserved> {
    let requester = wish.by.key();
    let count = link::query(BOARDS_OF).bind(&requester);
    let boards = count.count(tx.connection().await?).await.map_err(unavailable)?;
    // Who asks again for what they wait for is told their place, where the board is not theirs at once now.
    let same = waiting_same(tx, &requester, wish).await?;
    let is_full = boards - i64::from(same.is_some()) >= i64::from(most);
    let plain = |effected| Reserved { effected, id: wish.id, got: None };
    let is_outdated = !at_once.is_empty() && drain::is_newer(tx, terms.drains_seen).await?;
    for (index, (board, _)) in at_once.iter().enumerate().filter(|_| !is_full && !is_outdated) {
        let Some(found) = lease::look(tx, &Unreadable::default(), board).await? else { continue };
        // A quarantined board is given to whoever asks for it by its name, and wants to look at it.
        if found.lease.is_some() || found.health == Health::Quarantined && wish.board.is_none() {
            continue;
        }
        let lease = held(wish, board, &found, terms);
        lease::taken(tx, &lease, terms.now);
        if let Some(same) = same {
            unreserve(tx, same).await?;
        }
        return Ok(Reserved { got: Some((index, lease.fence)), ..plain(Effected::Done) });
    }
    if !or_wait {
        return Ok(plain(if is_full { Effected::TooMany } else { Effected::NotTheirs }));
    }
    if let Some(id) = same {
        return Ok(Reserved { id, ..plain(Effected::AlreadyWaiting) });
    }
    if is_full {
        return Ok(plain(Effected::TooMany));
    }
    let query = link::query(RESERVATION_INSERT)
        .bind(wish.id.to_string())
        .bind(place)
        .bind(requester)
        .bind(row::json(&wish.by))
        .bind(wish.family.as_str())
        .bind(wish.board.as_ref().map(BoardId::as_str))
        .bind(i64::try_from(wish.lasts.as_micros()).unwrap_or(i64::MAX))
        .bind(&wish.reason)
        .bind(wish.asked_at.as_micros());
    query.execute(tx.connection().await?).await.map_err(unavailable)?;
    Ok(plain(Effected::Queued))
}

/// The place in line that is asked for again.
async fn waiting_same(tx: &mut Tx, requester: &str, wish: &Reservation) -> Result<Option<LeaseId>> {
    let like = link::query(WAITING_LIKE).bind(requester).bind(wish.family.as_str());
    let like = like.bind(wish.board.as_ref().map(BoardId::as_str));
    let like = like.fetch_all(tx.connection().await?).await.map_err(unavailable)?;
    // One that cannot be read is nobody's.
    let mut like = like.iter().filter_map(|row| read(row).ok());
    Ok(like.find(|before| wish.is_the_same(before)).map(|before| before.id))
}

/// The lease that a reservation becomes.
fn held(wish: &Reservation, board: &BoardId, found: &BoardState, terms: &LeaseTerms) -> Lease {
    let (holder, hold) =
        (Holder::Person(wish.by.clone()), Hold { reason: wish.reason.clone(), ..Hold::default() });
    let lease = found.lease_of(wish.id, board, holder, LeaseState::Held, terms);
    Lease { hold: Some(hold), expires_at: terms.now + wish.lasts, ..lease }
}

/// Somebody waits no more; gives whether they did.
pub(super) async fn unreserve(tx: &mut Tx, reservation: LeaseId) -> Result<bool> {
    let query = link::query(RESERVATION_REMOVE).bind(reservation.to_string());
    Ok(query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected() > 0)
}

/// Takes somebody out of line at their wish or at another's, who may, and whom they are told of; gives whether they
/// waited.
pub(super) async fn withdraw(
    tx: &mut Tx,
    ids: &Ids,
    by: &Actor,
    reservation: LeaseId,
    others: Option<&Note>,
    now: Timestamp,
) -> Result<bool> {
    let query = link::query(WAITING_ONE).bind(reservation.to_string());
    let wish = query.fetch_optional(tx.connection().await?).await.map_err(unavailable)?;
    let Some(wish) = wish.as_ref().map(read).transpose()? else { return Ok(false) };
    if wish.by.key() != by.key() {
        let Some(note) = others else { return Ok(false) };
        let via = AnswerVia::in_person(&wish.by);
        ledger::owe(tx, ids, &[], &[Answer { via: &via, note, at: now }]).await?;
    }
    unreserve(tx, reservation).await
}

/// Somebody waits in vain, and is told, unless they have given it up themselves.
pub(super) async fn give_up(
    tx: &mut Tx,
    ids: &Ids,
    reservation: LeaseId,
    (via, note): &(AnswerVia, Note),
    now: Timestamp,
) -> Result<()> {
    if unreserve(tx, reservation).await? {
        ledger::owe(tx, ids, &[], &[Answer { via, note, at: now }]).await?;
    }
    Ok(())
}

/// Gives a board to somebody who waits, and tells them.
pub(super) async fn grant(
    tx: &mut Tx,
    ids: &Ids,
    unreadable: &Unreadable,
    reservation: LeaseId,
    board: &BoardId,
    terms: &LeaseTerms,
    told: &(AnswerVia, Note),
) -> Result<Granted> {
    let query = link::query(WAITING_ONE).bind(reservation.to_string());
    let wish = query.fetch_optional(tx.connection().await?).await.map_err(unavailable)?;
    let Some(wish) = wish.as_ref().map(read).transpose()? else { return Ok(Granted::Gone) };
    let Some(found) = lease::look(tx, unreadable, board).await? else { return Ok(unknown(board)) };
    if let Some(lease) = found.lease {
        return Ok(Granted::Taken(Box::new(lease)));
    }
    if found.health == Health::Quarantined {
        return Ok(Granted::OutOfService { board: board.clone(), reason: found.reason });
    }
    if drain::is_newer(tx, terms.drains_seen).await? {
        return Ok(Granted::Outdated);
    }
    let lease = held(&wish, board, &found, terms);
    lease::taken(tx, &lease, terms.now);
    unreserve(tx, reservation).await?;
    let (via, mut note) = told.clone();
    note.facts.insert("fence".into(), json!(lease.fence));
    ledger::owe(tx, ids, &[], &[Answer { via: &via, note: &note, at: terms.now }]).await?;
    Ok(Granted::Leases(vec![lease]))
}

/// Tells somebody that their time is almost over, once for each end.
pub(super) async fn warn(
    tx: &mut Tx,
    ids: &Ids,
    lease: &Lease,
    (via, note): &(AnswerVia, Note),
    now: Timestamp,
) -> Result<bool> {
    let query = link::query(HOLD_WARN).bind(lease.id.to_string()).bind(lease.fence.0);
    let query = query.bind(lease.expires_at.as_micros()).bind(now.as_micros());
    if query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected() == 0 {
        return Ok(false);
    }
    ledger::owe(tx, ids, &[], &[Answer { via, note, at: now }]).await?;
    Ok(true)
}

/// Brings the end of somebody's time forward because nobody used their board, and tells them; gives whether that is so now.
pub(super) async fn idle(
    tx: &mut Tx,
    ids: &Ids,
    lease: &Lease,
    until: Timestamp,
    (via, note): &(AnswerVia, Note),
    now: Timestamp,
) -> Result<bool> {
    let query = link::query(HOLD_IDLE).bind(lease.id.to_string()).bind(lease.fence.0).bind(lease.expires_at);
    let query = query.bind(until).bind(now);
    if query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected() == 0 {
        return Ok(false);
    }
    ledger::events(tx, &[Event::lease(now, "taken", lease.id, &lease.board).with(json!({ "until": until }))]);
    ledger::owe(tx, ids, &[], &[Answer { via, note, at: now }]).await?;
    Ok(true)
}

/// Somebody uses the board again whose end was brought forward: it is theirs for as long as before. Gives whether it is.
pub(super) async fn used(tx: &mut Tx, lease: &Lease, now: Timestamp) -> Result<bool> {
    let query = link::query(HOLD_USED).bind(lease.id.to_string()).bind(lease.fence.0).bind(lease.expires_at);
    if query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected() == 0 {
        return Ok(false);
    }
    ledger::events(tx, &[Event::lease(now, "taken", lease.id, &lease.board)]);
    Ok(true)
}

/// Lets somebody keep their board for longer; gives until when.
pub(super) async fn extend(
    tx: &mut Tx,
    by: &Actor,
    (board, fence, from): (&BoardId, Option<Fence>, Option<Timestamp>),
    (longer, longest): (Duration, Duration),
    now: Timestamp,
) -> Result<(Effected, Option<Timestamp>)> {
    let Some(lease) = hold_of(tx, board, fence).await?.filter(|lease| lease.is_held_by(by)) else {
        return Ok((Effected::NotTheirs, None));
    };
    // What was brought forward because nobody used the board counts as it was, also for a button from before that.
    let end = lease.ends_at();
    if from.is_some_and(|from| from != lease.expires_at && from != end) {
        return Ok((Effected::AlreadyExtended, Some(lease.expires_at)));
    }
    let until = (end.max(now) + longer).min(lease.granted_at + longest);
    if until <= lease.expires_at {
        return Ok((Effected::AtMost, Some(lease.expires_at)));
    }
    let query = link::query(HOLD_EXTEND).bind(lease.id.to_string()).bind(lease.fence.0);
    let changed = query.bind(until.as_micros()).execute(tx.connection().await?).await.map_err(unavailable)?;
    expect_changed(changed.rows_affected(), 1, "leases", lease.id)?;
    ledger::events(tx, &[Event::lease(now, "taken", lease.id, board).with(json!({ "until": until }))]);
    Ok((Effected::Done, Some(until)))
}

/// Ends what somebody holds, at their wish or at another's, who may; gives the run that goes on.
pub(super) async fn release(
    tx: &mut Tx,
    ids: &Ids,
    by: &Actor,
    (board, fence): (&BoardId, Option<Fence>),
    others: Option<&Note>,
    rest: LeaseId,
    now: Timestamp,
) -> Result<(Effected, Option<i64>)> {
    let Some(lease) = hold_of(tx, board, fence).await? else { return Ok((Effected::NotTheirs, None)) };
    let theirs = lease.is_held_by(by);
    if !theirs && others.is_none() {
        return Ok((Effected::NotTheirs, None));
    }
    let run = end(tx, &lease, rest, now).await?;
    if let (false, Some(note), Holder::Person(holder)) = (theirs, others, &lease.holder) {
        let mut note = note.clone();
        note.facts.insert("number".into(), json!(run));
        ledger::owe(tx, ids, &[], &[Answer { via: &AnswerVia::in_person(holder), note: &note, at: now }])
            .await?;
    }
    Ok((if run.is_some() { Effected::GoesOn } else { Effected::Done }, run))
}

/// Ends what somebody holds whose time is over, and tells them, with `number` of a run that goes on.
pub(super) async fn expire(
    tx: &mut Tx,
    ids: &Ids,
    lease: &LeaseRef,
    rest: LeaseId,
    (via, note): &(AnswerVia, Note),
    now: Timestamp,
) -> Result<Effected> {
    let found = hold_of(tx, &lease.board, Some(lease.fence)).await?;
    let Some(held) = found.filter(|found| found.id == lease.id && found.expires_at <= now) else {
        return Ok(Effected::NotTheirs);
    };
    let run = end(tx, &held, rest, now).await?;
    let mut note = note.clone();
    note.facts.insert("number".into(), json!(run));
    ledger::owe(tx, ids, &[], &[Answer { via, note: &note, at: now }]).await?;
    Ok(if run.is_some() { Effected::GoesOn } else { Effected::Done })
}

/// Ends a hold: its board goes to a new lease, under which it is brought to rest, or to the run that is on it, which
/// this gives.
async fn end(tx: &mut Tx, lease: &Lease, rest: LeaseId, now: Timestamp) -> Result<Option<i64>> {
    let on_it = match lease.hold.as_ref().and_then(|hold| hold.run) {
        // One that cannot be read can be given no board; whoever had this one is not kept from leaving it.
        Some((number, _)) => match run::by_number(tx, number).await {
            Err(error) if error.is_lasting() => None,
            found => found?,
        },
        None => None,
    };
    if let Some(run) = on_it {
        let attempt = attempt_of(&run.state);
        let holder = Holder::Run { run: run.id, number: run.number, attempt };
        let query = link::query(HOLD_TO_RUN).bind(lease.id.to_string()).bind(lease.fence.0);
        let query = query.bind(row::json(&holder)).bind(run.number).bind(attempt).bind(now.as_micros());
        let changed = query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected();
        expect_changed(changed, 1, "leases", lease.id)?;
        ledger::events(tx, &[Event::lease(now, "taken", lease.id, &lease.board)]);
        return Ok(Some(run.number));
    }
    let mut script = Script::default();
    let ended = script.add(HOLD_END, [lease.id.to_string().into(), lease.fence.0.into(), now.into()]);
    ended.expect(1, "leases", lease.id);
    script.add(BOARD_LEFT, [lease.board.as_str().into(), now.into()]);
    script.events(&[Event::lease(now, "released", lease.id, &lease.board)]);
    tx.leave(script);
    let Some(found) = lease::look(tx, &Unreadable::default(), &lease.board).await? else { return Ok(None) };
    let (Holder::Person(by) | Holder::Check(by)) = lease.holder.clone() else { return Ok(None) };
    let terms = LeaseTerms { instance: lease.instance, now, expires_at: now + REST_LASTS, drains_seen: None };
    let next = found.lease_of(rest, &lease.board, Holder::Check(by), LeaseState::Finalizing, &terms);
    lease::taken(tx, &next, now);
    Ok(None)
}

/// What a person holds of a board, in this transaction.
pub(super) async fn hold_of(tx: &mut Tx, board: &BoardId, fence: Option<Fence>) -> Result<Option<Lease>> {
    let found = lease::look(tx, &Unreadable::default(), board).await?.and_then(|found| found.lease);
    Ok(found.filter(|lease| lease.hold.is_some() && fence.is_none_or(|fence| fence == lease.fence)))
}
