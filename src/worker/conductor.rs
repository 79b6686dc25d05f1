//! The conductor: the loop that moves campaigns on. It looks at how the runs of each are, asks `campaign` what follows,
//! and commits that under the version it read: what it starts has a key of its own by campaign, phase and place, so that
//! a server which dies at any point, or a second one that looks too, starts nothing twice. It decides nothing itself.

mod kept_out;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::runner::Lab;
use super::steps::{Agent, LOOK_ANYWAY, LOOK_EVERY, Step};
use crate::campaign::{LIVE_MAX, Next, Phase, State};
use crate::chat::Platform;
use crate::clock::Timestamp;
use crate::command::policy;
use crate::doorbell::Bell;
use crate::id::RunId;
use crate::message::Note;
use crate::message::compose::campaign_facts;
use crate::outcome::Verdict;
use crate::store::{Audit, CampaignEffect, CampaignView, Effect, Intake, NewRun, StoreError};

/// Most campaigns that are over and whose cards are looked at: how their last runs ended may not be told, and what failed
/// may be retried.
const OVER_MAX: usize = 20;
/// How long ago they were over at most.
const OVER_SINCE: Duration = Duration::from_secs(60 * 60);

/// Moves campaigns on.
pub struct Conductor {
    lab: Arc<Lab>,
    /// What the card of each shows that is looked at; `None` before the first look.
    shown: Option<HashMap<i64, Value>>,
    /// Runs of which was told that their boards take nothing.
    told: kept_out::Told,
}

impl Conductor {
    /// A conductor of this lab.
    pub fn new(lab: Arc<Lab>) -> Self {
        Conductor { lab, shown: None, told: kept_out::Told::default() }
    }

    /// Does what follows for a campaign; gives whether something did.
    async fn look(&self, view: &CampaignView) -> Result<bool, StoreError> {
        let campaign = &view.campaign;
        let now = self.lab.clock.now();
        let mut then = campaign.moved_to(campaign.state);
        let (mut starts, mut tells) = (vec![], None);
        match campaign.next(&view.children) {
            Next::Wait => return Ok(false),
            Next::Start(phase, mut places) => {
                places.truncate(self.room(view).await?);
                if places.is_empty() {
                    return Ok(false);
                }
                let first = places.first().copied().filter(|_| view.children.is_empty());
                let run = |place| self.run(view, (phase, place), first == Some(place), now);
                starts = places.into_iter().map(|place| (phase, place, run(place))).collect();
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
        facts["passed_wave"] = self.wave_facts(view);
        let told = tells.map(|template| Note::new(template, facts));
        let key = format!("campaign:{}:{}", campaign.number, then.version);
        let fresh = self.commit(view, key, CampaignEffect::Step { then, starts, told }, now).await?;
        self.lab.doorbell.ring(Bell::Scheduler);
        Ok(fresh)
    }

    /// How many more runs of whoever began it may wait: all of theirs count, whoever started them.
    async fn room(&self, view: &CampaignView) -> Result<usize, StoreError> {
        let Some(most) = policy::quota(&view.by, &self.lab.inventory.now()).queued else {
            return Ok(usize::MAX);
        };
        let waiting = self.lab.store.waiting_of(&view.by.key()).await?;
        Ok(usize::try_from(u64::from(most).saturating_sub(waiting)).unwrap_or(usize::MAX))
    }

    /// Commits what follows under a key of its own; gives whether nobody did before.
    async fn commit(
        &self,
        view: &CampaignView,
        key: String,
        effect: CampaignEffect,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let intake = Intake {
            key,
            platform: Platform::Api,
            actor: view.by.clone(),
            source: None,
            received_at: now,
            remembered: true,
            effect: Effect::Campaign(Box::new(effect)),
            answer: Note::new("recorded", json!({})),
            instead: vec![],
            answer_via: None,
            shows: None,
            audit: Audit::default(),
        };
        let committed = self.lab.store.commit(intake).await?;
        self.lab.doorbell.ring(Bell::Relay);
        Ok(committed.fresh)
    }

    /// Adds those that are over, and whose last runs still end.
    async fn over(&self, views: &mut Vec<CampaignView>) -> Result<(), StoreError> {
        let store = &self.lab.store;
        let over = match &self.shown {
            None => {
                let newest = store.campaign_list(Some((LIVE_MAX + OVER_MAX) as u32)).await?;
                let since = self.lab.clock.now() - OVER_SINCE;
                newest.into_iter().filter(|view| view.ended_at.is_some_and(|at| at >= since)).collect()
            }
            Some(shown) => {
                let mut over = Vec::new();
                let lives = |number: &&i64| views.iter().any(|view| view.campaign.number == **number);
                for number in shown.keys().filter(|number| !lives(number)) {
                    over.extend(store.campaign_view(*number).await?);
                }
                over
            }
        };
        views.extend(over.into_iter().filter(|view| view.campaign.state.is_over()));
        Ok(())
    }

    /// Asks for new cards of those that look otherwise than when they were looked at last. What they looked like before
    /// this process began nobody knows.
    async fn redraw(&mut self, views: &[CampaignView]) -> Result<(), StoreError> {
        let before = self.shown.take().unwrap_or_default();
        let mut shown = HashMap::new();
        let retried = views.iter().rev().filter(|view| self.may_be_retried(view)).take(OVER_MAX);
        let retried: BTreeSet<i64> = retried.map(|view| view.campaign.number).collect();
        for view in views {
            let (number, facts) = (view.campaign.number, campaign_facts(view, &self.lab.links));
            if before.get(&number) != Some(&facts) {
                self.lab.store.campaign_redraw(number, self.lab.clock.now()).await?;
                self.lab.doorbell.ring(Bell::Relay);
            }
            if !view.campaign.state.is_over() || goes_on(view) || retried.contains(&number) {
                shown.insert(number, facts);
            }
        }
        self.shown = Some(shown);
        Ok(())
    }

    /// Whether somebody may still make up for what failed: for a while after its end its card follows that.
    fn may_be_retried(&self, view: &CampaignView) -> bool {
        let fails = view.children.iter().any(|child| child.verdict != Some(Verdict::Passed));
        fails && view.ended_at.is_some_and(|at| at >= self.lab.clock.now() - OVER_SINCE)
    }

    /// The wave that was looked at, from 1, and how its runs were.
    fn wave_facts(&self, view: &CampaignView) -> Value {
        let tally = view.campaign.tally(&view.children, view.campaign.wave);
        json!({ "number": view.campaign.wave + 1, "tally": tally, "rate": tally.rate() })
    }

    fn run(
        &self,
        view: &CampaignView,
        (phase, place): (Phase, usize),
        is_first: bool,
        now: Timestamp,
    ) -> NewRun {
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
            // The campaign tells of them: the first has its cards.
            cards: if is_first { plan.cards.clone() } else { vec![] },
            via: None,
            callback: None,
            created_at: now,
            retry_of: None,
            once: Some(format!("campaign:{}:{}:{place}", view.campaign.number, phase.as_str())),
            avoid: vec![],
            message: None,
        }
    }
}

/// Whether something of it may change without anybody's doing.
fn goes_on(view: &CampaignView) -> bool {
    matches!(view.campaign.state, State::Running | State::RollingBack)
        || view.children.iter().any(|child| child.verdict.is_none())
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
        let mut views = self.lab.store.campaign_list(None).await?;
        self.keep_out(&mut views).await?;
        let mut moved = false;
        for view in &views {
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
        self.over(&mut views).await?;
        self.redraw(&views).await?;
        let wait = if views.iter().any(goes_on) { LOOK_EVERY } else { LOOK_ANYWAY };
        Ok(Step::Idle { until: self.lab.clock.monotonic() + wait })
    }
}
