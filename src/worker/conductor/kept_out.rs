//! Runs of campaigns that wait for boards which take nothing new: others have their places meanwhile, and where somebody has
//! to do something about it, people are told, once for each run. Nothing is started or ended here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use serde_json::{Value, json};

use super::Conductor;
use crate::board::{BoardId, Inventory};
use crate::campaign::State;
use crate::clock::Monotonic;
use crate::message::Note;
use crate::store::{BoardRow, CampaignEffect, CampaignView, Closing, Health, StoreError};

/// When something that the database refused to write is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Runs of which was told that their boards take nothing, and those of which that failed.
#[derive(Default)]
pub(super) struct Told {
    told: BTreeSet<i64>,
    again_at: BTreeMap<i64, Monotonic>,
}

impl Told {
    /// Whether this one is to be told of now.
    fn is_due(&self, run: i64, now: Monotonic) -> bool {
        !self.told.contains(&run) && self.again_at.get(&run).is_none_or(|at| *at <= now)
    }

    /// It was told.
    fn done(&mut self, run: i64) {
        self.again_at.remove(&run);
        self.told.insert(run);
    }

    /// It could not be told.
    fn failed(&mut self, run: i64, now: Monotonic) {
        self.again_at.insert(run, now + AGAIN_AFTER);
    }

    /// Forgets those that wait for such boards no more.
    fn keep(&mut self, kept_out: &BTreeSet<i64>) {
        self.told.retain(|run| kept_out.contains(run));
        self.again_at.retain(|run, _| kept_out.contains(run));
    }
}

/// Why a board takes nothing new.
struct Why {
    facts: Value,
    /// Whether it stays so until somebody does something.
    lasts: bool,
}

impl Conductor {
    /// Marks the runs that wait for such boards, and tells of those that may wait for ever.
    pub(super) async fn keep_out(&mut self, views: &mut [CampaignView]) -> Result<(), StoreError> {
        if !views.iter().any(waits_for_a_board) {
            self.told = Told::default();
            return Ok(());
        }
        let (lab, now) = (self.lab.inventory.now(), self.lab.clock.now());
        let tried_at = self.lab.clock.monotonic();
        let (rows, drains) = (self.lab.store.board_list().await?, self.lab.store.drain_list().await?);
        let rows: HashMap<&BoardId, &BoardRow> = rows.iter().map(|row| (&row.id, row)).collect();
        let closing = Closing::at(&lab, &drains, now);
        let mut kept_out = BTreeSet::new();
        for view in views {
            let mut told = vec![];
            let CampaignView { campaign, children, .. } = view;
            for child in children.iter_mut().filter(|child| child.waits) {
                let Some(board) =
                    campaign.planned(child).and_then(|planned| planned.spec.selector.board.as_ref())
                else {
                    continue;
                };
                let Some(why) = why(board, &lab, rows.get(board).copied(), &closing) else { continue };
                child.kept_out = true;
                if why.lasts && matches!(campaign.state, State::Running | State::RollingBack) {
                    kept_out.insert(child.last);
                    told.push((child.last, board.clone(), why.facts));
                }
            }
            for (run, board, why) in told {
                if !self.told.is_due(run, tried_at) {
                    continue;
                }
                let facts = json!({
                    "number": view.campaign.number, "name": view.campaign.plan.name, "by": view.by,
                    "run": run, "board": board, "why": why,
                });
                let effect = CampaignEffect::Tell {
                    number: view.campaign.number,
                    told: Note::new("campaign-kept-out", facts),
                };
                let key = format!("campaign:{}:kept-out:{run}", view.campaign.number);
                match self.commit(view, key, effect, now).await {
                    Err(error) if error.is_lasting() => {
                        tracing::error!(campaign = view.campaign.number, %error, "nobody is told what a campaign waits for");
                        self.told.failed(run, tried_at);
                    }
                    told => {
                        told?;
                        self.told.done(run);
                    }
                }
            }
        }
        self.told.keep(&kept_out);
        Ok(())
    }
}

fn waits_for_a_board(view: &CampaignView) -> bool {
    let names_one =
        |child| view.campaign.planned(child).is_some_and(|planned| planned.spec.selector.board.is_some());
    view.children.iter().any(|child| child.waits && names_one(child))
}

fn why(board: &BoardId, lab: &Inventory, row: Option<&BoardRow>, closing: &Closing<'_>) -> Option<Why> {
    let Some(known) = lab.boards.get(board) else {
        return Some(Why { facts: json!({ "kind": "gone" }), lasts: true });
    };
    if let Some(row) = row.filter(|row| row.health == Health::Quarantined) {
        return Some(Why { facts: json!({ "kind": "quarantined", "reason": row.reason }), lasts: true });
    }
    closing.of(known).map(|closed| Why {
        facts: json!({ "kind": "drained", "reason": closed.reason, "name": closed.of.1 }),
        lasts: closed.until.is_none(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_told_is_tried_once_a_minute_until_it_is() {
        let (mut told, begun) = (Told::default(), Monotonic::default());
        assert!(told.is_due(7, begun));
        told.failed(7, begun);
        assert!(!told.is_due(7, begun + AGAIN_AFTER - Duration::from_millis(1)));
        assert!(told.is_due(7, begun + AGAIN_AFTER));
        told.done(7);
        assert!(!told.is_due(7, begun + 2 * AGAIN_AFTER));
        // Its board is back; the next time that it is not, people hear of it again.
        told.keep(&BTreeSet::new());
        assert!(told.is_due(7, begun + 2 * AGAIN_AFTER));
    }
}
