//! Batches: the runs of one command with `x3`, marked as such, and read with everything that their common card shows. A
//! batch has no row of its own; `intake` makes its runs and cards, `ledger` keeps its cards' revisions.

use std::collections::HashMap;

use serde::Serialize;

use super::link::{self, Readers, Row};
use super::row::{self, Reader, statements, unavailable};
use super::run::{read, run_columns};
use super::script::Tx;
use crate::board::BoardId;
use crate::id::MessageId;
use crate::store::{BatchRun, BatchView, Result};

statements! {
    // Apart from the rows' insertion: most commands start one run, and pay nothing for those that start more.
    BATCHES_MARK = "UPDATE runs
        SET batch = j.value->>'batch'
        FROM jsonb_each(?1) AS j
        WHERE runs.number = j.value->>'number';
        UPDATE cards
        SET batch = j.value->>'batch', parent = j.value->>'parent'
        FROM jsonb_each(?2) AS j
        WHERE cards.id = j.value->>'id'";
    BATCH_RUNS = concat!("SELECT ", run_columns!(), ", r.revision, r.progress,
               a.number AS last_attempt, a.board AS last_board
        FROM runs AS r
        LEFT JOIN attempts AS a
          ON a.run = r.number AND a.number = (SELECT MAX(number) FROM attempts WHERE run = r.number)
        WHERE r.batch = ?1
        ORDER BY r.number");
    BATCH_RETRIES = "SELECT retry.retry_of, retry.number
        FROM runs AS r
        JOIN runs AS retry ON retry.retry_of = r.number
        WHERE r.batch = ?1
        ORDER BY retry.number";
}

/// What belongs to batches, of the rows that a group of deliveries makes.
#[derive(Default)]
pub(super) struct Batches {
    pub(super) runs: Vec<InBatch>,
    pub(super) cards: Vec<CardInBatch>,
}

/// A run of a batch.
#[derive(Serialize)]
pub(super) struct InBatch {
    pub(super) number: i64,
    pub(super) batch: i64,
}

/// The card of a batch, or of a run of a batch.
#[derive(Serialize)]
pub(super) struct CardInBatch {
    pub(super) id: MessageId,
    pub(super) batch: Option<i64>,
    pub(super) parent: Option<MessageId>,
}

/// Marks rows that were just written.
pub(super) async fn mark(tx: &mut Tx, batches: &Batches) -> Result<()> {
    if batches.runs.is_empty() {
        return Ok(());
    }
    let query = link::query(BATCHES_MARK).bind(row::json(&batches.runs)).bind(row::json(&batches.cards));
    query.execute(tx.connection().await?).await.map_err(unavailable)?;
    Ok(())
}

/// A batch with everything its card shows.
pub(super) async fn view(readers: &Readers, first: i64) -> Result<Option<BatchView>> {
    // One snapshot for the runs and what repeats them.
    let mut snapshot = readers.begin().await.map_err(unavailable)?;
    let rows = link::query(BATCH_RUNS).bind(first).fetch_all(&mut snapshot).await.map_err(unavailable)?;
    let retries =
        link::query(BATCH_RETRIES).bind(first).fetch_all(&mut snapshot).await.map_err(unavailable)?;
    let mut retried: HashMap<i64, Vec<i64>> = HashMap::new();
    for row in &retries {
        let row = Reader::new(row, "runs", "number");
        retried.entry(row.int("retry_of")?).or_default().push(row.int("number")?);
    }
    let mut generation = 0;
    let mut runs = Vec::with_capacity(rows.len());
    for row in &rows {
        generation += Reader::new(row, "runs", "number").int("revision")?;
        runs.push(run_read(row, &mut retried)?);
    }
    Ok((!runs.is_empty()).then_some(BatchView { runs, generation }))
}

fn run_read(row: &Row, retried: &mut HashMap<i64, Vec<i64>>) -> Result<BatchRun> {
    let run = read(row)?;
    let row = Reader::new(row, "runs", "number");
    Ok(BatchRun {
        progress: row.opt_json("progress")?.unwrap_or_default(),
        last: match row.opt_text("last_board")? {
            Some(board) => Some((row.count("last_attempt")?, BoardId::new(board))),
            None => None,
        },
        retried_as: retried.remove(&run.number).unwrap_or_default(),
        run,
    })
}
