//! The timekeeper: the loop that does what the time asks for. It starts health runs: after trouble, after a return to
//! service, and by time, each board at its own, few of a family at once and behind everything that people want. It
//! decides nothing about a board; what a health run says about it is settled like any other run's outcome.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;

use super::crew::Served;
use super::runner::Lab;
use super::steps::{Agent, LOOK_ANYWAY, LOOK_EVERY, Step};
use crate::board::health::{Condition, check_due, checks_max};
use crate::board::{Board, BoardId, Family, Inventory};
use crate::chat::{Actor, Place, Platform};
use crate::clock::Timestamp;
use crate::doorbell::Bell;
use crate::id::RunId;
use crate::message::Note;
use crate::outcome::{Counts, Outcome, Verdict};
use crate::run::{HEALTH, Priority, Run, RunKind, RunSpec, RunState, Selector, Stage};
use crate::store::{Audit, BoardRow, Closing, Effect, Health, Intake, NewRun, RunFilter, StoreError};

/// Most health runs that are unfinished at once, over all families.
const CHECKS_MAX: u32 = 256;
/// The cause of a health run that waited for a board which is not to be checked any more.
const NOT_NEEDED: &str = "not-needed";

/// Starts health runs.
pub struct Timekeeper {
    lab: Arc<Lab>,
    /// When this process began to look.
    since: Timestamp,
}

impl Timekeeper {
    /// A timekeeper of this lab.
    pub fn new(lab: Arc<Lab>) -> Self {
        let since = lab.clock.now();
        Timekeeper { lab, since }
    }

    /// Starts the checks that are due now.
    async fn start(
        &self,
        inventory: &Inventory,
        rows: &[BoardRow],
        checking: &[Run],
    ) -> Result<(), StoreError> {
        let now = self.lab.clock.now();
        let drains = self.lab.store.drain_list().await?;
        let closing = Closing::at(inventory, &drains, now);
        let mut at_once: HashMap<&Family, usize> = HashMap::new();
        // One that waits for a board which somebody has, or works on, takes nothing from the family meanwhile.
        let waits_for_somebody = |run: &&Run| {
            let board = run.spec.selector.board.as_ref();
            let is_had = || rows.iter().any(|row| board == Some(&row.id) && row.lease.is_some());
            let is_worked_on = || {
                let board = board.and_then(|board| inventory.boards.get(board));
                board.is_some_and(|board| closing.of(board).is_some() || !self.is_driven(inventory, board))
            };
            matches!(run.state, RunState::Queued { .. }) && (is_had() || is_worked_on())
        };
        for run in checking.iter().filter(|run| !waits_for_somebody(run)) {
            *at_once.entry(&run.spec.family).or_default() += 1;
        }
        let mut room = (CHECKS_MAX as usize).saturating_sub(checking.len());
        let is_checked =
            |board: &BoardId| checking.iter().any(|run| run.spec.selector.board.as_ref() == Some(board));
        let mut due: Vec<(Timestamp, &Board)> = rows
            .iter()
            .filter(|row| row.lease.is_none() && row.health != Health::Quarantined && !is_checked(&row.id))
            .filter_map(|row| {
                let board = inventory.boards.get(&row.id).filter(|board| self.is_driven(inventory, board))?;
                // Somebody works on it; it is checked once that is over.
                if closing.of(board).is_some() {
                    return None;
                }
                Some((self.due(inventory, board, row)?, board))
            })
            .filter(|(at, _)| *at <= now)
            .collect();
        due.sort_by(|(a, x), (b, y)| a.cmp(b).then(x.id.cmp(&y.id)));
        for (_, board) in due {
            let running = at_once.entry(&board.family).or_default();
            if room == 0 || *running >= checks_max(inventory.boards_of(&board.family).count()) {
                continue;
            }
            self.lab.store.commit(self.check(board, now)).await?;
            (*running, room) = (*running + 1, room - 1);
            self.lab.doorbell.ring(Bell::Scheduler);
        }
        Ok(())
    }

    /// Whether somebody is there who drives a board.
    fn is_driven(&self, inventory: &Inventory, board: &Board) -> bool {
        !inventory.is_remote(board) || self.lab.crew.served(&board.site) != Served::No
    }

    /// When a board is to be checked.
    fn due(&self, inventory: &Inventory, board: &Board, row: &BoardRow) -> Option<Timestamp> {
        let settings = inventory.families.get(&board.family)?.health.as_ref()?;
        let condition = Condition {
            last_used_at: row.last_used_at,
            checked_at: row.checked_at,
            check_wanted: row.check_wanted,
            failures: row.failures,
        };
        check_due(&board.id, settings, condition, self.since)
    }

    /// A health run of this board, as a delivery of boardhand's own.
    fn check(&self, board: &Board, now: Timestamp) -> Intake {
        let run = NewRun {
            id: RunId::new(&self.lab.ids, now),
            spec: RunSpec {
                kind: RunKind::Health,
                family: board.family.clone(),
                build: HEALTH.to_owned(),
                suite: HEALTH.to_owned(),
                selector: Selector { board: Some(board.id.clone()), ..Selector::default() },
                priority: Priority::Background,
                boards: 1,
                on_own_board: false,
                timeout: None,
                params: Default::default(),
            },
            requested_by: itself(),
            origin: Place::nowhere(),
            cards: vec![],
            via: None,
            callback: None,
            created_at: now,
            retry_of: None,
            once: None,
            avoid: vec![],
            message: None,
        };
        Intake {
            key: format!("health:{}", run.id),
            platform: Platform::Api,
            actor: itself(),
            received_at: now,
            remembered: true,
            effect: Effect::Start(vec![run]),
            answer: Note::new("run-accepted", json!({})),
            instead: vec![],
            answer_via: None,
            shows: None,
            audit: Audit::default(),
            source: None,
        }
    }

    /// Ends health runs that wait for a board which left service or the lab file, or is not checked any more.
    async fn withdraw(
        &self,
        inventory: &Inventory,
        rows: &[BoardRow],
        checking: Vec<Run>,
    ) -> Result<Vec<Run>, StoreError> {
        let mut kept = Vec::with_capacity(checking.len());
        for run in checking {
            let waits = matches!(run.state, RunState::Queued { .. });
            match reason(inventory, rows, &run).filter(|_| waits) {
                None => kept.push(run),
                Some(reason) => self.end(run.number, reason).await?,
            }
        }
        Ok(kept)
    }

    async fn end(&self, number: i64, reason: String) -> Result<(), StoreError> {
        let outcome = Outcome {
            verdict: Verdict::Cancelled,
            cause: NOT_NEEDED.to_owned(),
            stage: Stage::Queued,
            detail: reason,
            excerpt: vec![],
            cases: vec![],
            counts: Counts::default(),
        };
        let note = Note::new("run-cancelled", json!({}));
        match self.lab.store.run_withdraw(number, &outcome, &note, self.lab.clock.now()).await {
            Err(error) if error.is_lasting() => {
                tracing::error!(run.number = number, %error, "a health run cannot be ended");
                Ok(())
            }
            ended => ended.map(|_| self.lab.doorbell.ring(Bell::Scheduler)),
        }
    }
}

/// boardhand, where it acts of its own accord.
fn itself() -> Actor {
    Actor { platform: Platform::Api, id: "boardhand".into(), team: String::new(), name: "boardhand".into() }
}

/// Why a health run that waits is pointless; `None` while it is not.
fn reason(inventory: &Inventory, rows: &[BoardRow], run: &Run) -> Option<String> {
    let id = run.spec.selector.board.as_ref()?;
    let Some(board) = inventory.boards.get(id) else {
        return Some(format!("{id} is not in boards.yaml any more"));
    };
    if board.family != run.spec.family {
        return Some(format!("{id} is a {} now", board.family));
    }
    if inventory.families.get(&board.family).is_none_or(|family| family.health.is_none()) {
        return Some(format!("the family {} has no health plan any more", board.family));
    }
    let out = rows.iter().any(|row| row.id == *id && row.health == Health::Quarantined);
    out.then(|| format!("{id} is quarantined"))
}

#[async_trait]
impl Agent for Timekeeper {
    fn name(&self) -> &'static str {
        "timekeeper"
    }

    fn bell(&self) -> Option<Bell> {
        None
    }

    async fn step(&mut self) -> Result<Step, StoreError> {
        let inventory = self.lab.inventory.now();
        let filter =
            RunFilter { kind: RunKind::Health, unfinished: true, limit: CHECKS_MAX, ..RunFilter::default() };
        let checking = self.lab.store.run_list(&filter).await?;
        let has_any =
            !checking.is_empty() || inventory.families.values().any(|family| family.health.is_some());
        if has_any {
            let rows = self.lab.store.board_list().await?;
            let checking = self.withdraw(&inventory, &rows, checking).await?;
            self.start(&inventory, &rows, &checking).await?;
        }
        let wait = if has_any { LOOK_EVERY } else { LOOK_ANYWAY };
        Ok(Step::Idle { until: self.lab.clock.monotonic() + wait })
    }
}
