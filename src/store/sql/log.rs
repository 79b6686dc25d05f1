//! Console logs in the threads of their runs: owed once for each attempt.

use std::borrow::Cow;

use super::ledger::{self, Reply};
use super::link;
use super::row::{statements, unavailable};
use super::script::{Script, Tx};
use crate::clock::Timestamp;
use crate::id::Ids;
use crate::message::Note;
use crate::store::Result;

statements! {
    LOG_SHOW = "UPDATE runs
        SET log_shown = ?2
        WHERE number = ?1 AND COALESCE(log_shown, 0) < ?2";
}

/// That it stands in the threads, among other statements.
pub(super) fn shown(run: i64, attempt: u32) -> Script {
    let mut script = Script::default();
    script.add(LOG_SHOW, [run.into(), attempt.into()]);
    script
}

/// Owes the log of an attempt to the threads of its run; gives whether it was not owed before.
pub(super) async fn tell(
    tx: &mut Tx,
    ids: &Ids,
    (run, attempt): (i64, u32),
    note: &Note,
    now: Timestamp,
) -> Result<bool> {
    let show = link::query(LOG_SHOW).bind(run).bind(attempt);
    if show.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected() == 0 {
        return Ok(false);
    }
    let reply = Reply { run, note: Cow::Borrowed(note), last: false, at: now };
    ledger::owe(tx, ids, &[reply], &[]).await?;
    Ok(true)
}
