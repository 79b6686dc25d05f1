//! What people ask about boards that others have: to be told when one comes free, whether somebody still needs theirs, to
//! have it from them. Each is asked once and told once; nothing here gives a board to anybody who was not offered it.

use serde_json::json;

use super::hold::hold_of;
use super::lease;
use super::ledger::{self, Answer, Event};
use super::link::{self, Readers, Row};
use super::row::{self, Reader, expect_changed, statements, unavailable};
use super::script::{Script, Tx};
use super::unreadable::Unreadable;
use crate::board::{BoardId, Family};
use crate::chat::{Actor, AnswerVia};
use crate::clock::Timestamp;
use crate::id::{Ids, LeaseId, MessageId};
use crate::lease::{Fence, Hold, Holder, Lease, LeaseState};
use crate::message::Note;
use crate::store::{Effected, LeaseTerms, NOTICES_MAX, NUDGE_EVERY, Notice, Result};

statements! {
    NOTICES = "SELECT id, by, family, board, asked_at FROM notices ORDER BY asked_at, id";
    NOTICES_OF = "SELECT COUNT(*) FROM notices WHERE requester = ?1";
    NOTICE_INSERT = "INSERT INTO notices (id, requester, by, family, board, asked_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT DO NOTHING";
    NOTICE_REMOVE = "DELETE FROM notices WHERE id = ?1";
    HOLD_NUDGED = "UPDATE leases
        SET nudged_at = ?3
        WHERE id = ?1 AND state IN ('active', 'finalizing', 'held') AND state = 'held'
          AND (nudged_at IS NULL OR nudged_at <= ?2)";
    HOLD_OFFER = "UPDATE leases
        SET offered = ?2
        WHERE id = ?1 AND state IN ('active', 'finalizing', 'held') AND state = 'held'";
    HOLD_OFFERED = "SELECT id, offered FROM leases WHERE id = ?1";
    HOLD_HANDED_OVER = "UPDATE leases
        SET state = 'released', ended_at = ?2
        WHERE id = ?1 AND state IN ('active', 'finalizing', 'held') AND state = 'held'";
}

/// Who is to be told when a board comes free.
pub(super) async fn notices(readers: &Readers, unreadable: &Unreadable) -> Result<Vec<Notice>> {
    let rows = link::query(NOTICES).fetch_all(readers).await.map_err(unavailable)?;
    unreadable.sift(&rows, |row: &Row| {
        let row = Reader::new(row, "notices", "id");
        Ok(Notice {
            id: row.id("id")?,
            by: row.json("by")?,
            family: Family::new(row.text("family")?),
            board: row.opt_text("board")?.map(BoardId::new),
            asked_at: row.at("asked_at")?,
        })
    })
}

/// Notes that somebody is to be told.
pub(super) async fn notify(tx: &mut Tx, notice: &Notice) -> Result<Effected> {
    let requester = notice.by.key();
    let count = link::query(NOTICES_OF).bind(&requester);
    let waits = count.count(tx.connection().await?).await.map_err(unavailable)?;
    if waits >= i64::from(NOTICES_MAX) {
        return Ok(Effected::TooMany);
    }
    let query = link::query(NOTICE_INSERT)
        .bind(notice.id.to_string())
        .bind(requester)
        .bind(row::json(&notice.by))
        .bind(notice.family.as_str())
        .bind(notice.board.as_ref().map(BoardId::as_str))
        .bind(notice.asked_at.as_micros());
    let inserted = query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected();
    Ok(if inserted == 0 { Effected::AlreadyWaiting } else { Effected::Done })
}

/// Tells somebody that a board is free, once.
pub(super) async fn notified(
    tx: &mut Tx,
    ids: &Ids,
    id: MessageId,
    (via, note): &(AnswerVia, Note),
    now: Timestamp,
) -> Result<()> {
    let query = link::query(NOTICE_REMOVE).bind(id.to_string());
    if query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected() == 0 {
        return Ok(());
    }
    ledger::owe(tx, ids, &[], &[Answer { via, note, at: now }]).await
}

/// Asks whoever has a board whether they need it, at most every so often.
pub(super) async fn nudge(
    tx: &mut Tx,
    ids: &Ids,
    (board, fence): (&BoardId, Fence),
    note: &Note,
    now: Timestamp,
) -> Result<Effected> {
    let Some(lease) = hold_of(tx, board, Some(fence)).await? else { return Ok(Effected::NotTheirs) };
    let query = link::query(HOLD_NUDGED).bind(lease.id.to_string());
    let query = query.bind((now - NUDGE_EVERY).as_micros()).bind(now.as_micros());
    if query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected() == 0 {
        return Ok(Effected::TooSoon);
    }
    tell_holder(tx, ids, &lease, note, now).await?;
    Ok(Effected::Done)
}

/// Offers a board to somebody, who is told; it is theirs once they take it.
pub(super) async fn offer(
    tx: &mut Tx,
    ids: &Ids,
    by: &Actor,
    (board, fence): (&BoardId, Fence),
    (to, note): (&Actor, &Note),
    now: Timestamp,
) -> Result<Effected> {
    let held = hold_of(tx, board, Some(fence)).await?.filter(|lease| lease.is_held_by(by));
    let Some(lease) = held else { return Ok(Effected::NotTheirs) };
    let query = link::query(HOLD_OFFER).bind(lease.id.to_string()).bind(row::json(to));
    let changed = query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected();
    expect_changed(changed, 1, "leases", lease.id)?;
    ledger::owe(tx, ids, &[], &[Answer { via: &AnswerVia::in_person(to), note, at: now }]).await?;
    Ok(Effected::Done)
}

/// Gives a board to the one it is offered to, under a lease and a fence of their own, for the time that is left; gives the
/// fence. Whoever had it is told.
pub(super) async fn accept(
    tx: &mut Tx,
    ids: &Ids,
    by: &Actor,
    (board, fence): (&BoardId, Fence),
    (id, note): (LeaseId, &Note),
    now: Timestamp,
) -> Result<(Effected, Option<Fence>)> {
    let Some(lease) = hold_of(tx, board, Some(fence)).await? else { return Ok((Effected::NotTheirs, None)) };
    let query = link::query(HOLD_OFFERED).bind(lease.id.to_string());
    let found = query.fetch_one(tx.connection().await?).await.map_err(unavailable)?;
    let to: Option<Actor> = Reader::new(&found, "leases", "id").opt_json("offered")?;
    if to.is_none_or(|to| to.key() != by.key()) {
        return Ok((Effected::NotTheirs, None));
    }
    // The run is the giver's; under another's lease it would be nobody's.
    if lease.hold.as_ref().is_some_and(|hold| hold.run.is_some()) {
        return Ok((Effected::GoesOn, None));
    }
    let giver = match &lease.holder {
        Holder::Person(giver) => Some(giver.key()),
        Holder::Run { .. } | Holder::Check(_) => None,
    };
    let mut script = Script::default();
    let ended = script.add(HOLD_HANDED_OVER, [lease.id.to_string().into(), now.into()]);
    ended.expect(1, "leases", lease.id);
    tx.leave(script);
    let Some(state) = lease::look(tx, &Unreadable::default(), board).await? else {
        return Ok((Effected::NotTheirs, None));
    };
    // Who takes it over wants it: an end that was brought forward because nobody used it is put back.
    let (instance, expires_at) = (lease.instance, lease.ends_at());
    let terms = LeaseTerms { instance, now, expires_at, drains_seen: None };
    let fresh = state.lease_of(id, board, Holder::Person(by.clone()), LeaseState::Held, &terms);
    let hold = lease.hold.clone().map(|hold| Hold { idle_until: None, ..hold });
    let fresh = Lease { hold, ..fresh };
    let changed_hands = [
        Event::lease(now, "released", lease.id, board).with(json!({ "handed_over_to": by.key() })),
        Event::lease(now, "taken", fresh.id, board).with(json!({ "handed_over_by": giver })),
    ];
    lease::taken_as(tx, &fresh, &changed_hands);
    tell_holder(tx, ids, &lease, note, now).await?;
    Ok((Effected::Done, Some(fresh.fence)))
}

async fn tell_holder(tx: &mut Tx, ids: &Ids, lease: &Lease, note: &Note, now: Timestamp) -> Result<()> {
    match &lease.holder {
        Holder::Person(holder) => {
            ledger::owe(tx, ids, &[], &[Answer { via: &AnswerVia::in_person(holder), note, at: now }]).await
        }
        Holder::Run { .. } | Holder::Check(_) => Ok(()),
    }
}
