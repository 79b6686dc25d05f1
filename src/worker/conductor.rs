//! The conductor: the loop that moves campaigns on. It looks at how the runs of each are, asks `campaign` what follows,
//! and commits that under the version it read: what it starts has a key of its own by campaign, phase and place, so that
//! a server which dies at any point, or a second one that looks too, starts nothing twice. It decides nothing itself.

use async_trait::async_trait;
use std::sync::Arc;

use super::runner::Lab;
use super::steps::{Agent, LOOK_ANYWAY, LOOK_EVERY, Step};
use crate::campaign::{Next, Phase, State};
use crate::chat::{AnswerVia, Place, Platform};
use crate::clock::Timestamp;
use crate::doorbell::Bell;
use crate::id::RunId;
use crate::message::Note;
use crate::message::compose::campaign_facts;
use crate::store::{Audit, CampaignEffect, CampaignView, Effect, Intake, NewRun, StoreError};

/// Moves campaigns on.
pub struct Conductor {
    lab: Arc<Lab>,
}

impl Conductor {
    /// A conductor of this lab.
    pub fn new(lab: Arc<Lab>) -> Self {
        Conductor { lab }
    }

    /// Does what follows for a campaign; gives whether something did.
    async fn look(&self, view: &CampaignView) -> Result<bool, StoreError> {
        let campaign = &view.campaign;
        let now = self.lab.clock.now();
        let mut then = campaign.moved_to(campaign.state);
        let (mut starts, mut tells) = (vec![], None);
        match campaign.next(&view.children) {
            Next::Wait => return Ok(false),
            Next::Start(phase, places) => {
                starts = places
                    .into_iter()
                    .map(|place| (phase, place, self.run(view, phase, place, now)))
                    .collect();
            }
            Next::Wave(wave) => {
                then.wave = wave;
                tells = Some("campaign-wave");
            }
            Next::Become(state) => {
                then = campaign.moved_to(state);
                tells = Some(if state.is_over() { "campaign-ended" } else { "campaign-halted" });
            }
        }
        let after = CampaignView { campaign: then.clone(), ..view.clone() };
        let mut facts = campaign_facts(&after, &self.lab.links);
        facts["passed_wave"] = serde_json::json!(self.wave_facts(view));
        let told = tells.filter(|_| Platform::CHATS.contains(&view.origin.platform));
        let intake = Intake {
            key: format!("campaign:{}:{}", campaign.number, then.version),
            platform: Platform::Api,
            actor: view.by.clone(),
            source: None,
            received_at: now,
            remembered: true,
            effect: Effect::Campaign(Box::new(CampaignEffect::Step { then, starts })),
            answer: Note::new(tells.unwrap_or("campaign-wave"), facts),
            instead: vec![],
            answer_via: told.map(|_| AnswerVia::everybody(Place { thread: None, ..view.origin.clone() })),
            shows: None,
            audit: Audit::default(),
        };
        let committed = self.lab.store.commit(intake).await?;
        self.lab.doorbell.ring(Bell::Scheduler);
        self.lab.doorbell.ring(Bell::Relay);
        Ok(committed.fresh)
    }

    /// The wave that was looked at, from 1, and how its runs were.
    fn wave_facts(&self, view: &CampaignView) -> serde_json::Value {
        let tally = view.campaign.tally(&view.children, view.campaign.wave);
        serde_json::json!({ "number": view.campaign.wave + 1, "tally": tally, "rate": tally.rate() })
    }

    fn run(&self, view: &CampaignView, phase: Phase, place: usize, now: Timestamp) -> NewRun {
        let plan = &view.campaign.plan;
        let planned = match phase {
            Phase::Forward => &plan.runs[place],
            Phase::Back => &plan.rollback[place],
        };
        NewRun {
            id: RunId::new(&self.lab.ids, now),
            spec: planned.spec.clone(),
            requested_by: view.by.clone(),
            origin: view.origin.clone(),
            // The campaign tells of them.
            cards: vec![],
            via: None,
            created_at: now,
            retry_of: None,
            once: Some(format!("campaign:{}:{}:{place}", view.campaign.number, phase.as_str())),
            avoid: vec![],
        }
    }
}

#[async_trait]
impl Agent for Conductor {
    fn name(&self) -> &'static str {
        "conductor"
    }

    fn bell(&self) -> Option<Bell> {
        Some(Bell::Conductor)
    }

    async fn step(&mut self) -> Result<Step, StoreError> {
        let live = self.lab.store.campaign_list(None).await?;
        let mut moved = false;
        for view in &live {
            match Box::pin(self.look(view)).await {
                Ok(did) => moved |= did,
                Err(error) if error.is_lasting() => {
                    tracing::error!(campaign = view.campaign.number, %error, "a campaign cannot go on");
                }
                Err(error) => return Err(error),
            }
        }
        if moved {
            return Ok(Step::Worked);
        }
        let runs = live.iter().any(|v| matches!(v.campaign.state, State::Running | State::RollingBack));
        let wait = if runs { LOOK_EVERY } else { LOOK_ANYWAY };
        Ok(Step::Idle { until: self.lab.clock.monotonic() + wait })
    }
}
