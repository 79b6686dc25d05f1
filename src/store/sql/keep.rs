//! Boards that are kept after a failure: somebody said beforehand that they want the board as the failure leaves it. The
//! outcome, what is told of it and the lease's turn to them are one transaction.

use serde_json::json;

use super::attempt::Failed;
use super::ledger::{self, Answer, Event};
use super::link::{self, Readers, Row};
use super::row::{self, Reader, expect_changed, statements, unavailable};
use super::script::{Script, Tx};
use super::unreadable::Unreadable;
use crate::chat::AnswerVia;
use crate::clock::Timestamp;
use crate::id::Ids;
use crate::lease::Holder;
use crate::run::{Keep, Run, RunState};
use crate::store::{Effected, Result, Settle};

statements! {
    KEEP_SET = "UPDATE runs
        SET keep = ?2, revision = revision + 1
        WHERE number = ?1 AND state <> 'finished'";
    KEEPS = "SELECT number, keep
        FROM runs INDEXED BY runs_unfinished
        WHERE state <> 'finished' AND keep IS NOT NULL
        ORDER BY number";
    KEEP_FORGET = "UPDATE runs
        SET keep = NULL
        WHERE number = ?1";
    LEASE_KEEP = "UPDATE leases
        SET state = 'held', holder = ?4, run = NULL, attempt = NULL, expires_at = ?5, reason = ?6, warned_at = NULL,
            held_by = ?7, held_from = CASE WHEN held_by = ?7 THEN held_from ELSE ?8 END, held_to = NULL
        WHERE id = ?1 AND board = ?2 AND fence = ?3 AND state IN ('active', 'finalizing', 'held') AND state = 'finalizing'";
}

/// Somebody wants the board of a run, should it fail. Who said so last is whose it is.
pub(super) async fn wish(tx: &mut Tx, run: &Run, keep: &Keep, now: Timestamp) -> Result<Effected> {
    if matches!(run.state, RunState::Finished { .. }) {
        return Ok(Effected::AlreadyFinished);
    }
    let set = link::query(KEEP_SET).bind(run.number).bind(row::json(keep));
    let changed = set.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected();
    expect_changed(changed, 1, "runs", run.number)?;
    ledger::cards_follow(tx, &[run.number], now);
    Ok(Effected::Asked)
}

/// Whose the boards of runs that are not over will be, should they fail.
pub(super) async fn list(readers: &Readers, unreadable: &Unreadable) -> Result<Vec<(i64, Keep)>> {
    let rows = link::query(KEEPS).fetch_all(readers).await.map_err(unavailable)?;
    let read = |row: &Row| {
        let row = Reader::new(row, "runs", "number");
        Ok((row.int("number")?, row.json("keep")?))
    };
    unreadable.sift(&rows, read)
}

/// Turns the lease of a run that failed to the one who keeps its board, and tells them; what is not kept is forgotten.
pub(super) async fn settled(
    tx: &mut Tx,
    ids: &Ids,
    settle: &Settle,
    (number, keep): (i64, &Keep),
    failed: Failed,
) -> Result<()> {
    if failed == Failed::No {
        let mut script = Script::default();
        script.add(KEEP_FORGET, [number.into()]);
        tx.leave(script);
        return Ok(());
    }
    let (lease, until) = (&settle.lease, settle.now + keep.lasts);
    let reason = format!("after #{number}");
    let values = [
        lease.id.to_string().into(),
        lease.board.as_str().into(),
        lease.fence.0.into(),
        row::json(&Holder::Person(keep.by.clone())).into(),
        until.into(),
        reason.as_str().into(),
        keep.by.key().into(),
        settle.now.into(),
    ];
    let mut script = Script::default();
    script.add(LEASE_KEEP, values).expect(1, "leases", lease.id);
    script
        .events(&[Event::lease(settle.now, "taken", lease.id, &lease.board).with(json!({ "until": until }))]);
    tx.leave(script);
    let mut note = settle.kept.clone();
    let facts = json!({ "board": lease.board, "by": keep.by, "until": until, "reason": reason, "fence": lease.fence, "run": number });
    if let serde_json::Value::Object(facts) = facts {
        note.facts.extend(facts);
    }
    ledger::owe(tx, ids, &[], &[Answer { via: &AnswerVia::in_person(&keep.by), note: &note, at: settle.now }])
        .await
}
