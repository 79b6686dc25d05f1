//! Runs of campaigns that wait for boards which take nothing new: others have their places meanwhile, and where somebody has
//! to do something about it, people are told, once for each run. Nothing is started or ended here.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};

use super::Conductor;
use crate::board::{BoardId, Inventory};
use crate::campaign::State;
use crate::message::Note;
use crate::store::{BoardRow, CampaignEffect, CampaignView, Closing, Health, StoreError};

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
            self.told.clear();
            return Ok(());
        }
        let (lab, now) = (self.lab.inventory.now(), self.lab.clock.now());
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
                if self.told.contains(&run) {
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
                    }
                    told => drop(told?),
                }
            }
        }
        self.told = kept_out;
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
