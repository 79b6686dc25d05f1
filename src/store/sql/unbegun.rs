//! Runs that nobody has begun with: one that is withdrawn while it waits, and one whose grant is taken back before
//! anybody touched its board. Both look first, and change nothing of a run that has moved on.

use super::attempt::{apply, save, withdraw};
use super::ledger::Event;
use super::link;
use super::row::{Reader, statements, unavailable};
use super::run;
use super::script::{Script, Tx};
use crate::clock::Timestamp;
use crate::id::Ids;
use crate::message::Note;
use crate::outcome::Outcome;
use crate::run::{RunEvent, RunState, Stage};
use crate::store::Result;

statements! {
    RUN_WAITED = "SELECT number, since, avoid
        FROM runs
        WHERE number = ?1";
    ATTEMPT_FORGET = "DELETE FROM attempts
        WHERE run = ?1 AND number = ?2 AND ended_at IS NULL";
}

/// Ends a run if it waits; gives whether it did.
pub(super) async fn withdraw_waiting(
    tx: &mut Tx,
    ids: &Ids,
    number: i64,
    outcome: &Outcome,
    note: &Note,
    now: Timestamp,
) -> Result<bool> {
    match run::by_number(tx, number).await? {
        Some(run) if matches!(run.state, RunState::Queued { .. }) => {
            withdraw(tx, ids, run, outcome, note, now).await?;
            Ok(true)
        }
        Some(_) | None => Ok(false),
    }
}

/// Takes a grant back that nobody began with: the attempt never was. Gives whether it could.
pub(super) async fn take_back(tx: &mut Tx, number: i64, attempt: u32, now: Timestamp) -> Result<bool> {
    let Some(run) = run::by_number(tx, number).await? else { return Ok(false) };
    let RunState::Active { stage: Stage::Leased, attempt: current, lease, .. } = &run.state else {
        return Ok(false);
    };
    // What somebody asked of the attempt is answered by its end.
    if *current != attempt || run.request.is_some() {
        return Ok(false);
    }
    let waited =
        link::query(RUN_WAITED).bind(number).fetch_one(tx.connection().await?).await.map_err(unavailable)?;
    let waited = Reader::new(&waited, "runs", "number");
    // A row that was granted before these were kept has none.
    let since = waited.opt_at("since")?.unwrap_or(run.created_at);
    let avoid = waited.opt_json("avoid")?.unwrap_or_default();
    let board = lease.board.clone();
    let next = apply(&run, RunEvent::TakenBack { since, avoid })?;
    let mut script = Script::default();
    save(&mut script, &[(&run, &next)]);
    let forgotten = script.add(ATTEMPT_FORGET, [number.into(), attempt.into()]);
    forgotten.expect(1, "attempts", format!("{number}/{attempt}"));
    script.events(&[Event::run(now, "released", number, attempt).on(&board)]);
    script.cards_follow(&[number], now);
    tx.leave(script);
    Ok(true)
}
