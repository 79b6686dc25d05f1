//! A campaign's facts: where it is, how its runs are, what failed, and what can be done. Long lists are cut and counted.

use serde_json::{Value, json};

use super::super::links::Links;
use super::super::{Card, Note};
use super::Composer;
use crate::campaign::{Asked, Campaign, Child, Phase, State};
use crate::chat::Place;
use crate::outcome::Verdict;
use crate::store::CampaignView;

/// Most targets that a message names.
const TARGETS_SHOWN: usize = 20;
/// Most failures that a message names.
const FAILURES_SHOWN: usize = 10;

impl Composer {
    /// A campaign's card in its newest state.
    pub fn campaign_card(&self, view: &CampaignView, place: &Place) -> Card {
        self.note(&Note::new("campaign", campaign_facts(view, &self.links)), place)
    }
}

/// Everything that a message about a campaign may say.
pub fn campaign_facts(view: &CampaignView, links: &Links) -> Value {
    let campaign = &view.campaign;
    let (wave, all) = (
        campaign.tally(&view.children, campaign.wave),
        campaign.tally(&view.children, campaign.waves().saturating_sub(1)),
    );
    let failed: Vec<&Child> = view
        .children
        .iter()
        .filter(|child| child.verdict.is_some_and(|verdict| verdict != Verdict::Passed))
        .collect();
    let can: Vec<&str> =
        Asked::ALL.into_iter().filter(|asked| campaign.asked(*asked).is_some()).map(Asked::as_str).collect();
    json!({
        "campaign": {
            "number": campaign.number,
            "name": campaign.plan.name,
            "build": campaign.plan.build,
            "state": campaign.word(&view.children),
            "wave": campaign.wave + 1,
            "waves": campaign.waves(),
            "reaches": campaign.targets_of(campaign.wave),
            "gate": campaign.plan.terms.gate,
            "at_once": campaign.plan.terms.at_once,
            "by": view.by,
            "since": campaign.since,
            "asked_at": view.asked_at,
            "ended_at": view.ended_at,
        },
        "tally": wave,
        "rate": wave.rate(),
        "total": all,
        "targets": campaign_targets(view, TARGETS_SHOWN),
        "targets_more": campaign.plan.targets.len().saturating_sub(TARGETS_SHOWN),
        "failures": failed.iter().take(FAILURES_SHOWN).map(|child| failure(campaign, child, links)).collect::<Vec<_>>(),
        "failures_more": failed.len().saturating_sub(FAILURES_SHOWN),
        "can": can,
    })
}

/// The first targets, each with how its runs are.
pub fn campaign_targets(view: &CampaignView, most: usize) -> Vec<Value> {
    let targets = view.campaign.plan.targets.iter().enumerate().take(most);
    targets.map(|(place, name)| target(view, place, name)).collect()
}

/// A target, and how its runs are: the worst of them counts.
fn target(view: &CampaignView, place: usize, name: &str) -> Value {
    let plan = &view.campaign.plan;
    let wanted = plan.runs.iter().filter(|planned| planned.target == place).count();
    let of = |phase: Phase| {
        let list = if phase == Phase::Forward { &plan.runs } else { &plan.rollback };
        let children = view.children.iter().filter(move |child| child.phase == phase);
        children
            .filter(move |child| list.get(child.place).is_some_and(|p| p.target == place))
            .collect::<Vec<_>>()
    };
    let (forward, back) = (of(Phase::Forward), of(Phase::Back));
    let passed = |children: &[&Child]| children.iter().all(|child| child.verdict == Some(Verdict::Passed));
    let open = |children: &[&Child]| children.iter().any(|child| child.verdict.is_none());
    // What was withdrawn with the campaign says nothing of the build; nor does what it never reached before it was put back.
    let is_ended = matches!(view.campaign.state, State::Cancelled | State::RolledBack);
    let withdrawn = |child: &&&Child| is_ended && child.verdict == Some(Verdict::Cancelled);
    let failed = forward.iter().filter(|child| !withdrawn(child));
    let failed = failed.filter_map(|child| child.verdict).any(|verdict| verdict != Verdict::Passed);
    let is_short = forward.len() < wanted || forward.iter().any(|child| withdrawn(&child));
    let state = match (back.is_empty(), forward.is_empty()) {
        (false, _) if open(&back) => "rolling-back",
        (false, _) if passed(&back) => "rolled-back",
        (false, _) => "not-rolled-back",
        (true, false) if failed => "failed",
        (true, _) if is_ended && is_short && !open(&forward) => "cancelled",
        (true, true) => "waiting",
        (true, false) if open(&forward) || forward.len() < wanted => "running",
        (true, false) => "passed",
    };
    json!({ "name": name, "state": state })
}

fn failure(campaign: &Campaign, child: &Child, links: &Links) -> Value {
    let plan = &campaign.plan;
    let list = if child.phase == Phase::Forward { &plan.runs } else { &plan.rollback };
    let planned = list.get(child.place);
    json!({
        "number": child.last,
        "target": planned.and_then(|planned| plan.targets.get(planned.target)),
        "suite": planned.map(|planned| &planned.spec.suite),
        "verdict": child.verdict.map(|verdict| verdict.as_str()),
        "cause": child.cause,
        "url": links.page(child.last),
    })
}
