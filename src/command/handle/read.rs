//! Commands that ask: boards, board, runs, run, why. Their answers are facts; how they read is the templates'.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{Handler, Reaction, closed_facts, put_right};
use crate::board::{Board, BoardId};
use crate::chat::Delivery;
use crate::command::grammar;
use crate::message::{Note, Phrase};
use crate::run::{Run, RunKind, RunState};
use crate::store::{BoardRow, Closing, Health, Result, RunFilter, RunView};

/// Most rows that one answer lists; the rest is counted.
const ROWS_MAX: usize = 40;
/// Every one of a list that is bounded where it is made.
const ALL: u32 = u32::MAX;
/// Most suites of a board, and parameters of each, that one answer names.
const SUITES_MAX: usize = 20;
/// Most runs that one answer lists.
const RUNS_MAX: u32 = 15;
/// Most unfinished runs that are looked at for it, and counted.
const UNFINISHED_MAX: u32 = 1_000;

impl Handler {
    pub(super) async fn boards(&self, filter: Option<&str>) -> Result<Reaction> {
        let matches = |board: &Board| {
            filter.is_none_or(|f| {
                board.family.as_str().eq_ignore_ascii_case(f) || board.site.as_str().eq_ignore_ascii_case(f)
            })
        };
        let lab = self.inventory.now();
        let chosen: Vec<&Board> = lab.boards.values().filter(|b| matches(b)).collect();
        if chosen.is_empty() {
            let filter = filter.unwrap_or_default();
            let known: Vec<&str> =
                lab.families.keys().map(|f| f.as_str()).chain(lab.sites.keys().map(|s| s.as_str())).collect();
            let near = grammar::near(filter, known.iter().copied()).map(str::to_owned);
            let reason = Phrase::new("no-family-or-site", json!({ "name": filter }));
            return Ok(Reaction::refused(reason, &near.into_iter().collect::<Vec<_>>(), "/lab boards"));
        }
        let rows = self.store.board_list().await?;
        let drains = self.store.drain_list().await?;
        let closing = Closing::at(&lab, &drains, self.clock.now());
        let by_id: HashMap<&BoardId, &BoardRow> = rows.iter().map(|row| (&row.id, row)).collect();
        let facts_of = |board: &&Board| {
            let mut facts = board_facts(board, by_id.get(&board.id).copied());
            facts["drains"] = json!(closing.of(board).as_ref().map(closed_facts));
            facts
        };
        let mut facts: Vec<Value> = chosen.iter().map(facts_of).collect();
        let count = |state: &str| facts.iter().filter(|f| f["state"] == state).count();
        let drained = facts.iter().filter(|f| f["state"] == "free" && !f["drains"].is_null()).count();
        let (free, busy) = (count("free") - drained, count("run") + count("held"));
        let out = count("quarantined") + drained;
        facts.truncate(ROWS_MAX);
        // Boards that left boards.yaml are there until what runs on them has ended.
        let leaving = |row: &&BoardRow| row.lease.is_some() && !lab.boards.contains_key(&row.id);
        for row in rows.iter().filter(leaving).take(ROWS_MAX) {
            let before = self.inventory.newest_with(&row.id, |_| true);
            if let Some(board) = before.board(row.id.as_str()).filter(|board| matches(board)) {
                let mut left = board_facts(board, Some(row));
                left["state"] = json!("leaving");
                facts.push(left);
            }
        }
        Ok(Reaction::says(Note::new(
            "boards",
            json!({
                "free": free, "busy": busy, "out": out,
                "total": chosen.len(), "more": chosen.len().saturating_sub(ROWS_MAX), "filter": filter, "boards": facts,
            }),
        )))
    }

    pub(super) async fn board(&self, delivery: &Delivery, name: &str) -> Result<Reaction> {
        let board = match self.board_named(delivery, name) {
            Ok(board) => board,
            Err(refusal) => return Ok(*refusal),
        };
        let rows = self.store.board_list().await?;
        let mut facts = board_facts(&board, row_of(&rows, &board));
        facts["tags"] = json!(board.tags);
        facts["owner"] = json!(board.owner);
        facts["console"] = json!(format!("{}:{}", board.console.host, board.console.port));
        facts["has_switch"] = json!(board.power.has_switch());
        facts["suites"] = json!(self.suites(&board));
        facts["drains"] = json!(self.closed(&board).await?.as_ref().map(closed_facts));
        facts["check"] = self.check_facts(&board, row_of(&rows, &board)).await?;
        Ok(Reaction::says(Note::new("board", json!({ "board": facts }))))
    }

    /// The suites of a board's family, the one of a run that names none first, and what people may set on each.
    fn suites(&self, board: &Board) -> Vec<Value> {
        let lab = self.inventory.now();
        let Some(family) = lab.families.get(&board.family) else { return vec![] };
        let mut names: Vec<&String> = family.suites.keys().take(SUITES_MAX).collect();
        names.sort_by_key(|name| **name != family.default_suite);
        let params = |suite: &String| {
            let params = lab.params_of(&board.family, suite).into_iter().flat_map(|params| params.keys());
            params.take(SUITES_MAX).cloned().collect::<Vec<_>>()
        };
        names.into_iter().map(|name| json!({ "name": name, "params": params(name) })).collect()
    }

    /// The board's health runs: what the last one said, the one that waits or runs, how often there is one. Null where
    /// its family has none.
    async fn check_facts(&self, board: &Board, row: Option<&BoardRow>) -> Result<Value> {
        let lab = self.inventory.now();
        let Some(settings) = lab.families.get(&board.family).and_then(|family| family.health.as_ref()) else {
            return Ok(Value::Null);
        };
        let filter = RunFilter { kind: RunKind::Health, limit: ALL, ..RunFilter::default() };
        let runs = self.store.run_list(&filter).await?;
        let now = runs.iter().find(|run| run.spec.selector.board.as_ref() == Some(&board.id));
        let last = row.and_then(|row| row.checked.as_ref()).map(|(run, verdict)| {
            json!({ "number": run, "verdict": verdict, "at": row.and_then(|row| row.checked_at) })
        });
        Ok(json!({
            "plan": settings.plan,
            "every_s": settings.every.map(|every| every.as_secs_f64()),
            "now": now.map(run_row),
            "last": last,
        }))
    }

    pub(super) async fn runs(&self, delivery: &Delivery, mine: bool) -> Result<Reaction> {
        let requested_by = mine.then(|| delivery.actor.key());
        let listed = |unfinished, limit| {
            let filter =
                RunFilter { requested_by: requested_by.clone(), unfinished, limit, ..RunFilter::default() };
            async move { self.store.run_list(&filter).await }
        };
        let mut live = listed(true, UNFINISHED_MAX).await?;
        // Those on boards come first, then who is sooner in line.
        live.sort_by_key(|run| match run.state {
            RunState::Queued { .. } => Some(run.spec.priority),
            RunState::Active { .. } | RunState::Finished { .. } => None,
        });
        let more = live.len().saturating_sub(RUNS_MAX as usize);
        let mut facts: Vec<Value> = live.iter().take(RUNS_MAX as usize).map(run_row).collect();
        // Where room is left: how the last ones ended.
        let newest = listed(false, RUNS_MAX).await?;
        let ended = newest.iter().filter(|run| run.state.verdict().is_some());
        facts.extend(ended.take(RUNS_MAX as usize - facts.len()).map(run_row));
        Ok(Reaction::says(Note::new("runs", json!({ "mine": mine, "runs": facts, "more": more }))))
    }

    pub(super) fn run(&self, view: &RunView) -> Reaction {
        Reaction::says(Note::new("run", self.composer.run_facts(view)))
    }

    pub(super) fn why(&self, view: &RunView) -> Reaction {
        Reaction::says(Note::new("why", self.composer.run_facts(view)))
    }

    /// The board of that name, or a refusal with the nearest one and what was typed with that in its place.
    pub(super) fn board_named(
        &self,
        delivery: &Delivery,
        name: &str,
    ) -> std::result::Result<Board, Box<Reaction>> {
        let lab = self.inventory.now();
        if let Some(board) = lab.boards.values().find(|b| b.id.as_str().eq_ignore_ascii_case(name)) {
            return Ok(board.clone());
        }
        let near = grammar::near(name, lab.boards.keys().map(|id| id.as_str())).map(str::to_owned);
        let next = near.as_ref().map_or("/lab boards".to_owned(), |near| {
            put_right(delivery, &[(name.to_owned(), near.clone())])
                .unwrap_or_else(|| format!("/lab board {near}"))
        });
        Err(Box::new(Reaction::refused(
            Phrase::new("no-board", json!({ "name": name })),
            &near.into_iter().collect::<Vec<_>>(),
            next,
        )))
    }
}

fn row_of<'a>(rows: &'a [BoardRow], board: &Board) -> Option<&'a BoardRow> {
    rows.iter().find(|row| row.id == board.id)
}

/// A board as messages show it: what it is, and who has it until when.
fn board_facts(board: &Board, row: Option<&BoardRow>) -> Value {
    let lease = row.and_then(|row| row.lease.as_ref());
    let health = row.map_or(Health::Good, |row| row.health);
    let mut facts = json!({
        "id": board.id,
        "family": board.family,
        "revision": board.revision,
        "site": board.site,
        "state": BoardRow::word(row),
        "holder": lease.map(|lease| &lease.holder),
        "since": lease.map(|lease| lease.granted_at),
        "until": lease.filter(|lease| lease.hold.is_some()).map(|lease| lease.expires_at),
        "why": lease.and_then(|lease| lease.hold.as_ref()).map(|hold| &hold.reason),
        "run": lease.and_then(|lease| lease.hold.as_ref()?.run).map(|(number, _)| number),
        "last_used_at": row.and_then(|row| row.last_used_at),
    });
    let known = row.map_or_else(|| json!({ "health": health.as_str() }), health_facts);
    if let (Some(facts), Value::Object(known)) = (facts.as_object_mut(), known) {
        facts.extend(known);
    }
    facts
}

/// How healthy a board is, why it is not, and who said so when.
pub(super) fn health_facts(row: &BoardRow) -> Value {
    json!({
        "health": row.health.as_str(),
        "reason": row.reason,
        "quarantined_by": row.quarantine.as_ref().and_then(|quarantine| quarantine.by.as_ref()),
        "quarantined_at": row.quarantine.as_ref().map(|quarantine| quarantine.at),
    })
}

/// A run as a list shows it.
fn run_row(run: &Run) -> Value {
    let (board, cause) = match &run.state {
        RunState::Queued { .. } => (None, None),
        RunState::Active { lease, .. } => (Some(lease.board.to_string()), None),
        RunState::Finished { outcome, .. } => (None, Some(outcome.cause.clone())),
    };
    json!({
        "number": run.number,
        "family": run.spec.family,
        "build": run.spec.build,
        "suite": run.spec.suite,
        "state": run.state.word(),
        "verdict": run.state.verdict().map(|v| v.as_str()),
        "cause": cause,
        "board": board,
        "by": run.requested_by,
        "created_at": run.created_at,
    })
}
