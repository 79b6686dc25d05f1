//! The history of a suite: its newest runs, where and how long they ran, and one test case through them. Only reads, and
//! never farther back than a page shows.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::link::{self, Readers, Row};
use super::row::{self, Reader, statements, unavailable};
use super::unreadable::Unreadable;
use crate::board::{BoardId, Family};
use crate::clock::Timestamp;
use crate::outcome::compare::{Marks, PAST_MAX, RunOfBuild};
use crate::outcome::{Outcome, Verdict};
use crate::run::{RunSpec, Stage};
use crate::store::{BoardRun, CaseRun, HISTORY_RUNS_MAX, Result, SuiteRun};

statements! {
    // Those that keep their cases, and those that do not: each has an index of its own, and neither is read for the other.
    SUITE_HISTORY = "SELECT past.run, past.build, past.verdict, past.finished_at, past.cases, r.cause, r.outcome, a.board,
               a.ended_at - a.started_at AS took
        FROM (SELECT *
              FROM (SELECT run, build, verdict, finished_at, cases
                    FROM outcomes
                    WHERE family = ?1 AND suite = ?2 AND cases IS NOT NULL
                    ORDER BY finished_at DESC, run DESC
                    LIMIT ?3 + 0) AS kept
              UNION ALL
              SELECT *
              FROM (SELECT run, build, verdict, finished_at, cases
                    FROM outcomes
                    WHERE family = ?1 AND suite = ?2 AND cases IS NULL
                    ORDER BY finished_at DESC, run DESC
                    LIMIT ?3 + 0) AS thinned) AS past
        JOIN runs AS r ON r.number = past.run
        LEFT JOIN attempts AS a ON a.run = past.run AND a.number = r.attempt
        ORDER BY past.finished_at DESC, past.run DESC
        LIMIT ?3 + 0";
    SUITE_STAGES = "SELECT e.run, e.at, e.kind, e.facts
        FROM events AS e
        WHERE e.run IN (SELECT value FROM json_each(?1)) AND e.kind IN ('granted', 'advanced', 'settled')
        ORDER BY e.run, e.seq";
    CASE_HISTORY = "SELECT came.run, came.build,
               (SELECT one.value
                FROM json_each(CASE WHEN json_valid(a.outcome) THEN a.outcome ELSE '{}' END, '$.cases') AS one
                WHERE one.value->>'name' = ?3
                LIMIT 1) AS found
        FROM outcomes AS came
        JOIN runs AS r ON r.number = came.run
        JOIN attempts AS a ON a.run = came.run AND a.number = r.attempt
        WHERE came.family = ?1 AND came.suite = ?2 AND came.cases IS NOT NULL
        ORDER BY came.finished_at DESC, came.run DESC
        LIMIT ?4 + 0";
    BOARD_HISTORY = "SELECT a.run, a.number, a.started_at, a.ended_at, a.verdict, a.cause, r.spec
        FROM attempts AS a
        JOIN runs AS r ON r.number = a.run
        WHERE a.board = ?1
        ORDER BY a.started_at DESC, a.run DESC
        LIMIT ?2 + 0";
}

/// The newest runs of a suite.
pub(super) async fn suite(
    readers: &Readers,
    unreadable: &Unreadable,
    family: &Family,
    suite: &str,
    limit: u32,
) -> Result<Vec<SuiteRun>> {
    let limit = limit.min(HISTORY_RUNS_MAX);
    let query = link::query(SUITE_HISTORY).bind(family.as_str()).bind(suite).bind(limit);
    let rows = query.fetch_all(readers).await.map_err(unavailable)?;
    let mut runs = unreadable.sift(&rows, read)?;
    let numbers: Vec<i64> = runs.iter().map(|run| run.run.number).collect();
    let query = link::query(SUITE_STAGES).bind(row::json(&numbers));
    let rows = query.fetch_all(readers).await.map_err(unavailable)?;
    let mut stages = stages(unreadable, &rows)?;
    for run in &mut runs {
        run.stages = stages.remove(&run.run.number).unwrap_or_default();
    }
    Ok(runs)
}

fn read(row: &Row) -> Result<SuiteRun> {
    let row = Reader::new(row, "outcomes", "run");
    let marks = match row.opt_text("cases")? {
        Some(cases) => Some(Marks::unpack(cases).ok_or_else(|| row.corrupt("no packed cases"))?),
        None => None,
    };
    Ok(SuiteRun {
        run: run_of_build(&row)?,
        verdict: row.word("verdict", Verdict::from_word)?,
        cause: row.opt_text("cause")?.unwrap_or_default().to_owned(),
        finished_at: row.at("finished_at")?,
        board: row.opt_text("board")?.map(BoardId::new),
        took: row.opt_int("took")?.map(|took| Duration::from_micros(took.max(0).unsigned_abs())),
        counts: row.json::<Outcome>("outcome")?.counts,
        marks,
        stages: Vec::new(),
    })
}

fn run_of_build(row: &Reader<'_>) -> Result<RunOfBuild> {
    Ok(RunOfBuild { number: row.int("run")?, build: row.text("build")?.to_owned() })
}

/// How long each run's last attempt was in each stage: from its grant on, up to its end.
fn stages(unreadable: &Unreadable, rows: &[Row]) -> Result<BTreeMap<i64, Vec<(Stage, Duration)>>> {
    #[derive(Deserialize)]
    struct Reached {
        stage: Stage,
    }
    let events = unreadable.sift(rows, |row: &Row| {
        let row = Reader::new(row, "events", "run");
        let kind = row.text("kind")?;
        let stage = if kind == "advanced" { Some(row.json::<Reached>("facts")?.stage) } else { None };
        Ok((row.int("run")?, row.at("at")?, kind == "granted", stage))
    })?;
    let mut stages: BTreeMap<i64, Vec<(Stage, Duration)>> = BTreeMap::new();
    let mut open: Option<(i64, Stage, Timestamp)> = None;
    for (run, at, is_grant, reached) in events {
        if let Some((_, stage, since)) = open.take().filter(|(of, ..)| *of == run) {
            stages.entry(run).or_default().push((stage, at.since(since)));
        }
        if is_grant {
            // What an attempt before it took says nothing about this one.
            stages.remove(&run);
        }
        open = reached.map(|stage| (run, stage, at));
    }
    Ok(stages)
}

/// One case in the newest runs.
pub(super) async fn case(
    readers: &Readers,
    unreadable: &Unreadable,
    family: &Family,
    suite: &str,
    case: &str,
) -> Result<Vec<CaseRun>> {
    let query = link::query(CASE_HISTORY).bind(family.as_str()).bind(suite).bind(case).bind(PAST_MAX as i64);
    let rows = query.fetch_all(readers).await.map_err(unavailable)?;
    unreadable.sift(&rows, |row: &Row| {
        let row = Reader::new(row, "outcomes", "run");
        Ok(CaseRun { run: run_of_build(&row)?, case: row.opt_json("found")? })
    })
}

/// The newest attempts on a board.
pub(super) async fn board(
    readers: &Readers,
    unreadable: &Unreadable,
    board: &BoardId,
    limit: u32,
) -> Result<Vec<BoardRun>> {
    let query = link::query(BOARD_HISTORY).bind(board.as_str()).bind(limit.min(HISTORY_RUNS_MAX));
    let rows = query.fetch_all(readers).await.map_err(unavailable)?;
    unreadable.sift(&rows, |row: &Row| {
        let row = Reader::new(row, "attempts", "run");
        let spec: RunSpec = row.json("spec")?;
        let ended = match row.opt_at("ended_at")? {
            Some(at) => {
                let cause = row.opt_text("cause")?.unwrap_or_default().to_owned();
                Some((at, row.word("verdict", Verdict::from_word)?, cause))
            }
            None => None,
        };
        Ok(BoardRun {
            run: RunOfBuild { number: row.int("run")?, build: spec.build },
            attempt: u32::try_from(row.int("number")?).map_err(|_| row.corrupt("no number of an attempt"))?,
            suite: spec.suite,
            started_at: row.at("started_at")?,
            ended,
        })
    })
}
