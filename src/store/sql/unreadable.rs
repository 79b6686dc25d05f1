//! Rows that cannot be read as what they should be: left out of lists, told once, counted for health; and the end of a
//! run whose row is such a one. Everything else goes on as if the row were not there; nothing here repairs or deletes.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};

use serde_json::{Value, json};

use super::ledger::{self, Event, Reply};
use super::link::{self, Row};
use super::row::{self, Reader, statements, unavailable};
use super::script::Tx;
use super::{attempt, run};
use crate::chat::Actor;
use crate::clock::Timestamp;
use crate::id::Ids;
use crate::message::Note;
use crate::outcome::{Counts, Outcome, Verdict};
use crate::run::{RunState, Stage};
use crate::store::{Result, StoreError};

/// Most rows that are remembered, so that each is told once; those beyond are left out just as well, and not counted.
pub(super) const UNREADABLE_MAX: usize = 1000;

/// The cause of a run that ended because its row could not be read.
const ROW_UNREADABLE: &str = "row-unreadable";

statements! {
    LOSE = "SAVEPOINT lose";
    LOSE_UNDO = "ROLLBACK TO lose";
    LOSE_END = "RELEASE lose";
    // Every column that the end of a run sets, and none that would have to be read for it.
    RUN_CONDEMN = "UPDATE runs
        SET state = 'finished', verdict = ?3, cause = ?4, outcome = ?5, finished_at = ?6, lease = NULL, request = NULL,
            revision = revision + 1
        WHERE number = ?1 AND attempt = ?2 AND state NOT IN ('queued', 'finished')
        RETURNING number, board, spec, requested_by";
    ATTEMPT_CONDEMN = "UPDATE attempts
        SET ended_at = ?3, verdict = ?4, cause = ?5, outcome = ?6
        WHERE run = ?1 AND number = ?2 AND ended_at IS NULL";
}

/// The rows that could not be read since the start.
#[derive(Default)]
pub(super) struct Unreadable {
    rows: Mutex<BTreeSet<(&'static str, String)>>,
}

impl Unreadable {
    /// Reads rows; those that cannot be read are left out and told. Fails only with the database.
    pub(super) fn sift<T>(&self, rows: &[Row], read: impl Fn(&Row) -> Result<T>) -> Result<Vec<T>> {
        let mut sound = Vec::with_capacity(rows.len());
        for row in rows {
            match read(row) {
                Ok(value) => sound.push(value),
                Err(error) => self.tell(error)?,
            }
        }
        Ok(sound)
    }

    /// Tells of a row once; an error of another kind is given back.
    pub(super) fn tell(&self, error: StoreError) -> Result<()> {
        let StoreError::Corrupt { table, row, problem } = error else { return Err(error) };
        let mut rows = self.lock();
        if rows.len() < UNREADABLE_MAX && rows.insert((table, row.clone())) {
            tracing::error!(table, row, problem, "a row cannot be read and is left out");
        }
        Ok(())
    }

    /// How many there are, at most [`UNREADABLE_MAX`].
    pub(super) fn count(&self) -> u64 {
        self.lock().len() as u64
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<(&'static str, String)>> {
        self.rows.lock().expect("nothing panics under this lock")
    }
}

/// The process that drove a run's attempt is gone, if the run is still in it; gives whether it was. A run that cannot
/// be read, or whose next state is refused, ends here: its board must not wait for somebody who repairs a row.
pub(super) async fn lose(
    tx: &mut Tx,
    ids: &Ids,
    unreadable: &Unreadable,
    (number, attempt): (i64, u32),
    now: Timestamp,
) -> Result<bool> {
    tx.execute(LOSE).await?;
    let lost = match lose_sound(tx, ids, (number, attempt), now).await {
        Err(error) if error.is_lasting() => {
            tracing::error!(run.number = number, attempt, %error, "a run cannot be kept: it ends as lab trouble");
            tx.forget();
            tx.execute(LOSE_UNDO).await?;
            let problem = error.to_string();
            let _ = unreadable.tell(error);
            match condemn(tx, ids, (number, attempt), &problem, now).await {
                Err(error) if error.is_lasting() => {
                    tracing::error!(run.number = number, attempt, %error, "a run cannot be ended either: it stays as it is");
                    tx.forget();
                    tx.execute(LOSE_UNDO).await?;
                    false
                }
                condemned => condemned?,
            }
        }
        lost => lost?,
    };
    tx.execute(LOSE_END).await?;
    Ok(lost)
}

async fn lose_sound(tx: &mut Tx, ids: &Ids, (number, attempt): (i64, u32), now: Timestamp) -> Result<bool> {
    let Some(found) = run::by_number(tx, number).await? else { return Ok(false) };
    match found.state {
        RunState::Active { stage, attempt: current, .. } if current == attempt => {
            attempt::lost(tx, ids, found, stage, now).await?;
            // Whether the database takes it is known once it is there.
            tx.connection().await?;
            Ok(true)
        }
        RunState::Active { .. } | RunState::Queued { .. } | RunState::Finished { .. } => Ok(false),
    }
}

/// Ends a run without reading it; gives whether it was in that attempt.
async fn condemn(
    tx: &mut Tx,
    ids: &Ids,
    (number, attempt): (i64, u32),
    problem: &str,
    now: Timestamp,
) -> Result<bool> {
    let outcome = Outcome {
        verdict: Verdict::Infra,
        cause: ROW_UNREADABLE.to_owned(),
        stage: Stage::Leased,
        detail: format!("boardhand cannot keep this run: {problem}"),
        excerpt: vec![],
        cases: vec![],
        counts: Counts::default(),
    };
    let document = row::json(&outcome);
    let query = link::query(RUN_CONDEMN).bind(number).bind(attempt).bind(outcome.verdict.as_str());
    let query = query.bind(&outcome.cause).bind(&document).bind(now.as_micros());
    let Some(found) = query.fetch_optional(tx.connection().await?).await.map_err(unavailable)? else {
        return Ok(false);
    };
    let query = link::query(ATTEMPT_CONDEMN).bind(number).bind(attempt).bind(now.as_micros());
    let query = query.bind(outcome.verdict.as_str()).bind(&outcome.cause).bind(&document);
    query.execute(tx.connection().await?).await.map_err(unavailable)?;

    let facts = json!({ "verdict": outcome.verdict, "cause": outcome.cause });
    ledger::events(tx, &[Event::run(now, "settled", number, attempt).with(facts)]);
    let note = condemned_note(&Reader::new(&found, "runs", "number"), number, attempt, &outcome);
    let reply = Reply { run: number, note: Cow::Owned(note), last: true, at: now };
    ledger::owe(tx, ids, &[reply], &[]).await?;
    ledger::cards_follow(tx, &[number], now);
    tx.connection().await?;
    Ok(true)
}

/// What the thread is told, with as much of the row as can still be read.
fn condemned_note(row: &Reader<'_>, number: i64, attempt: u32, outcome: &Outcome) -> Note {
    let spec = row.json::<Value>("spec").unwrap_or_default();
    let word = |name: &str| spec.get(name).and_then(Value::as_str).unwrap_or("?").to_owned();
    let by = row.json::<Actor>("requested_by").map_or_else(|_| json!("somebody"), |by| json!(by));
    Note::new(
        "run-finished",
        json!({
            "run": {
                "number": number, "family": word("family"), "build": word("build"), "suite": word("suite"), "by": by,
            },
            "verdict": outcome.verdict,
            "outcome": {
                "verdict": outcome.verdict, "cause": outcome.cause, "stage": outcome.stage, "detail": outcome.detail,
                "excerpt": "", "failed_cases": [], "failed_cases_more": 0,
            },
            "counts": { "passed": 0, "failed": 0, "skipped": 0, "total": 0 },
            "attempt": attempt,
            "board": row.opt_text("board").ok().flatten(),
            "log_url": null,
        }),
    )
}
