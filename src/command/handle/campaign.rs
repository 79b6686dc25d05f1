//! Campaigns: begun from a definition of boards.yaml, looked at, paused, put back, ended. Every run of one is looked up
//! and checked as a typed one is, before any of it is accepted.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use serde_json::json;

use super::act::{audit, withdrawn};
use super::build::{family_named, family_of_target};
use super::start::Refused;
use super::{Handler, Reaction, put_right};
use crate::board::Family;
use crate::campaign::{Asked, Definition, LIVE_MAX, Plan, Planned, RUNS_MAX, Targets};
use crate::chat::{Delivery, Place, Platform};
use crate::command::parse::build_problem;
use crate::command::policy::{self, About, Asked as Asking, Permission};
use crate::command::{Command, RunTest, Verb, campaign_asked, grammar};
use crate::message::compose::campaign_facts;
use crate::message::{Note, Phrase};
use crate::run::{Priority, RunSpec};
use crate::store::{CampaignEffect, CampaignView, Effect, Result};

/// What each build of each family came to, and where its artifacts are: looked up once for all runs.
type Resolved = HashMap<(Option<Family>, String), (String, BTreeMap<String, String>)>;

/// Most campaigns that one answer lists.
const LISTED_MAX: u32 = 15;

impl Handler {
    /// What `/lab campaign` comes to: a list, one of them, something asked of one, or a new one.
    pub(super) async fn campaign(
        &self,
        delivery: &Delivery,
        which: Option<&str>,
        (what, seen): (Option<&str>, Option<i64>),
    ) -> Result<Reaction> {
        let Some(which) = which else { return self.campaigns().await };
        let view = match (number(which), what.and_then(campaign_asked)) {
            (Some(number), _) => self.store.campaign_view(number).await?,
            (None, Some(asked)) => self.campaign_named(which, asked).await?,
            (None, None) => return self.begin_defined(delivery, which, what).await,
        };
        let Some(view) = view else {
            let reason = Phrase::new("no-campaign", json!({ "number": which.trim_start_matches('#') }));
            return Ok(Reaction::refused(reason, &[], "/lab campaign"));
        };
        Ok(match what {
            None => Reaction::says(Note::new("campaign", campaign_facts(&view, self.composer.links()))),
            Some(word) => self.ask_campaign(delivery, &view, word, seen),
        })
    }

    /// What policy must know of the campaign that a command is about: whether it is of whoever asks (one that they begin
    /// is theirs), and the families that it runs on.
    pub(super) async fn campaign_meant(
        &self,
        delivery: &Delivery,
        command: &Command,
    ) -> Result<(bool, Vec<String>)> {
        let Command::Campaign { which: Some(which), what, own, .. } = command else {
            return Ok((false, vec![]));
        };
        if let Some(own) = own {
            return Ok((true, self.families_of(own)));
        }
        let view = match (number(which), what.as_deref().and_then(campaign_asked)) {
            (Some(number), _) => self.store.campaign_view(number).await?,
            (None, Some(asked)) => self.campaign_named(which, asked).await?,
            (None, None) => return Ok((true, self.families_named(which))),
        };
        let Some(view) = view else { return Ok((false, vec![])) };
        let families = view.campaign.plan.families().into_iter().map(ToString::to_string).collect();
        Ok((self.is_same(&view.by, delivery), families))
    }

    /// The newest campaign of that name of which this can be asked now, or else the newest at all. What can be asked of a
    /// campaign is never taken for a build.
    async fn campaign_named(&self, name: &str, asked: Asked) -> Result<Option<CampaignView>> {
        let mut named = self.store.campaign_list(Some(LISTED_MAX)).await?;
        named.retain(|view| view.campaign.plan.name.eq_ignore_ascii_case(name));
        named.sort_by_key(|view| (view.campaign.asked(asked).is_some(), view.campaign.number));
        Ok(named.pop())
    }

    /// The families of a campaign of boards.yaml.
    fn families_named(&self, name: &str) -> Vec<String> {
        let lab = self.inventory.now();
        let mut known = lab.campaigns.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        known.next().map(|(_, definition)| self.families_of(definition)).unwrap_or_default()
    }

    /// The families that a campaign runs on as the lab is now.
    fn families_of(&self, definition: &Definition) -> Vec<String> {
        let lab = self.inventory.now();
        let targets = self.campaign_targets(definition);
        let mut families: Vec<String> = targets
            .iter()
            .filter_map(|(_, asked)| family_of_target(&lab, &asked.target))
            .map(|family| family.to_string())
            .collect();
        families.sort_unstable();
        families.dedup();
        families
    }

    async fn campaigns(&self) -> Result<Reaction> {
        let views = self.store.campaign_list(Some(LISTED_MAX)).await?;
        let rows: Vec<_> = views.iter().map(|view| campaign_facts(view, self.composer.links())).collect();
        let defined: Vec<String> = self.inventory.now().campaigns.keys().cloned().collect();
        Ok(Reaction::says(Note::new("campaigns", json!({ "campaigns": rows, "defined": defined }))))
    }

    fn ask_campaign(
        &self,
        delivery: &Delivery,
        view: &CampaignView,
        word: &str,
        seen: Option<i64>,
    ) -> Reaction {
        let campaign = &view.campaign;
        let Some(asked) = campaign_asked(word) else {
            let reason = Phrase::new("campaign-cannot", json!({ "word": word }));
            let near = grammar::near(word, Asked::ALL.map(Asked::as_str)).map(str::to_owned);
            let next = format!("/lab campaign {} {}", campaign.number, near.as_deref().unwrap_or("pause"));
            return Reaction::refused(reason, &near.into_iter().collect::<Vec<_>>(), next);
        };
        let mut facts = campaign_facts(view, self.composer.links());
        facts["asked"] = json!(asked.as_str());
        if seen.is_some_and(|seen| seen != campaign.since) {
            return Reaction::says(Note::new("stale-click", json!({})));
        }
        if campaign.asked(asked).is_none() {
            return Reaction::says(Note::new("campaign-not-now", facts));
        }
        let told = Note::new(
            "campaign-steered",
            json!({
                "number": campaign.number,
                "name": campaign.plan.name,
                "asked": asked.as_str(),
                "by": delivery.actor,
            }),
        );
        Reaction {
            effect: Effect::Campaign(Box::new(CampaignEffect::Ask {
                number: campaign.number,
                seen,
                asked,
                outcome: withdrawn(delivery),
                theirs: self.only_theirs(delivery),
                told,
            })),
            answer: Note::new("campaign-asked", &facts),
            instead: [("unchanged", Note::new("campaign-not-now", &facts))]
                .into_iter()
                .chain(not_beside(&campaign.plan.name))
                .collect(),
            audit: audit(
                "campaign",
                format!("{} {} {}", campaign.number, campaign.plan.name, asked.as_str()),
            ),
        }
    }

    /// Whose runs end with a campaign: only those of whoever ends it where they may not end other people's. What somebody
    /// else has retried is theirs.
    fn only_theirs(&self, delivery: &Delivery) -> Option<Vec<String>> {
        let others = self.permission(Asking::Click(Verb::Cancel), delivery, (false, None));
        (!others.is_allowed()).then(|| self.inventory.now().people.keys(&delivery.actor))
    }

    /// Begins one that boards.yaml describes.
    async fn begin_defined(&self, delivery: &Delivery, name: &str, build: Option<&str>) -> Result<Reaction> {
        let lab = self.inventory.now();
        let Some((name, definition)) =
            lab.campaigns.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))
        else {
            let near = grammar::near(name, lab.campaigns.keys().map(String::as_str)).map(str::to_owned);
            let next = near.as_ref().and_then(|near| put_right(delivery, &[(name.to_owned(), near.clone())]));
            let reason = Phrase::new("no-campaign-named", json!({ "name": name }));
            // One of a program's own is listed under its name, and asked for by its number.
            let known = self.store.campaign_list(Some(LISTED_MAX)).await?;
            let own = known.iter().map(|view| &view.campaign);
            let own = own.filter(|own| own.plan.name.eq_ignore_ascii_case(name)).map(|own| own.number).max();
            let own = own.map(|number| format!("/lab campaign {number}"));
            let next = own.or(next).unwrap_or_else(|| "/lab campaign".into());
            return Ok(Reaction::refused(reason, &near.into_iter().collect::<Vec<_>>(), next));
        };
        self.begin_campaign(delivery, (name, definition), build).await
    }

    /// Begins one that does what this says.
    pub(super) async fn begin_campaign(
        &self,
        delivery: &Delivery,
        (name, definition): (&str, &Definition),
        build: Option<&str>,
    ) -> Result<Reaction> {
        let lab = self.inventory.now();
        let next = || format!("/lab campaign {name} build-123");
        let Some(build) = build else {
            return Ok(Reaction::refused(
                Phrase::new("campaign-needs-build", json!({ "name": name })),
                &[],
                next(),
            ));
        };
        if build_problem(build).is_some() {
            return Ok(Reaction::refused(Phrase::new("not-a-build", json!({ "value": build })), &[], next()));
        }
        // Its runs are asked for by whoever begins it: they must be allowed to, and have no more than they may.
        let (asked, families) = (Command::RunTest(RunTest::default()), self.families_of(definition));
        let may = self.permission_for(Asking::Command(&asked), delivery, About::default(), &families);
        if let Permission::Denied(denial) = may {
            return Ok(self.denied(delivery, "campaign", format!("{name} {build}"), &denial));
        }
        let mut plan = match self.campaign_plan(delivery, name, definition, build).await? {
            Ok(plan) => plan,
            Err(refused) => return Ok(*refused),
        };
        // The conductor holds it, with all else of theirs that waits.
        let most = policy::quota(&delivery.actor, &lab).queued.unwrap_or(u32::MAX);
        let facts = json!({
            "name": name, "build": plan.build, "targets": plan.targets.len(), "runs": plan.runs.len(),
            "waves": plan.terms.waves.len().max(1), "at_once": plan.terms.at_once.min(most),
        });
        let origin = definition
            .channel
            .as_deref()
            .and_then(place)
            .unwrap_or_else(|| Place { thread: None, ..delivery.place.clone() });
        plan.cards = self.card_places(&origin);
        Ok(Reaction {
            answer: Note::new("campaign-accepted", &facts),
            instead: not_beside(name).into_iter().collect(),
            audit: audit("campaign", format!("{name} {}", plan.build)),
            effect: Effect::Campaign(Box::new(CampaignEffect::Begin {
                plan,
                origin,
                once: delivery.is_from_machine().then(|| delivery.key.clone()),
            })),
        })
    }

    /// Every run of a campaign, looked up.
    async fn campaign_plan(
        &self,
        delivery: &Delivery,
        name: &str,
        definition: &Definition,
        build: &str,
    ) -> Result<std::result::Result<Plan, Refused>> {
        let mut resolved = Resolved::new();
        let mut plan = Plan {
            name: name.to_owned(),
            build: build.to_owned(),
            targets: vec![],
            runs: vec![],
            rollback: vec![],
            terms: definition.terms.clone(),
            cards: vec![],
        };
        for (shown, asked) in self.campaign_targets(definition) {
            let target = plan.targets.len();
            let suites: Vec<Option<String>> = match definition.suites.as_slice() {
                [] => vec![None],
                suites => suites.iter().cloned().map(Some).collect(),
            };
            for suite in suites {
                let asked = RunTest { suite, build: plan.build.clone(), ..asked.clone() };
                let spec = match self.campaign_spec(delivery, asked, &mut resolved).await? {
                    Ok(spec) => spec,
                    Err(refused) => return Ok(Err(refused)),
                };
                // A name that moves is resolved once, and means the same build for every run.
                plan.build.clone_from(&spec.build);
                let planned = Planned { target, spec };
                plan.runs.extend(std::iter::repeat_n(planned, definition.repeats as usize));
                if plan.runs.len() > RUNS_MAX {
                    let facts = json!({ "name": name, "max": RUNS_MAX });
                    let reason = Phrase::new("campaign-too-large", facts);
                    return Ok(Err(Box::new(Reaction::refused(reason, &[], "/lab campaign"))));
                }
            }
            if let Some(back) = &definition.rollback {
                let (build, suite) = (back.build.clone(), Some(back.suite.clone()));
                let asked = RunTest { build, suite, ..asked };
                match self.campaign_spec(delivery, asked, &mut resolved).await? {
                    Ok(spec) => plan.rollback.push(Planned { target, spec }),
                    Err(refused) => return Ok(Err(refused)),
                }
            }
            plan.targets.push(shown);
        }
        if plan.runs.is_empty() {
            let reason = Phrase::new("campaign-empty", json!({ "name": name }));
            return Ok(Err(Box::new(Reaction::refused(reason, &[], "/lab boards"))));
        }
        Ok(Ok(plan))
    }

    async fn campaign_spec(
        &self,
        delivery: &Delivery,
        mut asked: RunTest,
        resolved: &mut Resolved,
    ) -> Result<std::result::Result<RunSpec, Refused>> {
        let key = (family_of_target(&self.inventory.now(), &asked.target), asked.build.clone());
        let (build, registered) = match resolved.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => match Box::pin(self.resolve(delivery, &mut asked)).await? {
                Ok(registered) => unknown.insert((asked.build.clone(), registered)),
                Err(refused) => return Ok(Err(refused)),
            },
        };
        asked.build.clone_from(build);
        let spec = self.spec(delivery, asked);
        Ok(spec.and_then(|spec| self.still_possible(&spec, registered).map(|()| spec)))
    }

    /// The targets of a definition as the lab is now: what each is called, and what is asked for on it.
    fn campaign_targets(&self, definition: &Definition) -> Vec<(String, RunTest)> {
        let lab = self.inventory.now();
        let asked = |target: &str| RunTest {
            target: target.to_owned(),
            priority: Some(Priority::Low),
            ..RunTest::default()
        };
        match &definition.targets {
            Targets::Boards(boards) => boards.iter().map(|id| (id.clone(), asked(id))).collect(),
            Targets::BoardsOf(families) => {
                let families = families.iter().filter_map(|name| family_named(&lab, name));
                let boards = families.flat_map(|family| {
                    lab.boards_of(&family).map(|board| board.id.to_string()).collect::<Vec<_>>()
                });
                boards.map(|id| (id.clone(), asked(&id))).collect()
            }
            Targets::Families(families) => {
                let of = |family: &String| match definition.revisions.as_slice() {
                    [] => vec![(family.clone(), asked(family))],
                    revisions => {
                        let of = |revision: &String| {
                            let asked = RunTest { revision: Some(revision.clone()), ..asked(family) };
                            (format!("{family} {revision}"), asked)
                        };
                        revisions.iter().map(of).collect()
                    }
                };
                families.iter().flat_map(of).collect()
            }
        }
    }
}

/// What is said where it cannot go on beside those that do.
fn not_beside(name: &str) -> [(&'static str, Note); 2] {
    let too_many = Phrase::new("campaigns-too-many", json!({ "max": LIVE_MAX }));
    let too_many = json!({ "reason": too_many, "near": [], "next": "/lab campaign" });
    [
        ("in-the-way", Note::new("campaign-in-the-way", json!({ "name": name }))),
        ("too-many", Note::new("refused", too_many)),
    ]
}

/// The number of a campaign that was begun: `3` or `#3`.
fn number(which: &str) -> Option<i64> {
    which.trim_start_matches('#').parse().ok()
}

/// A channel as boards.yaml writes it.
fn place(channel: &str) -> Option<Place> {
    let (platform, channel) = channel.split_once(':')?;
    Some(Place { platform: Platform::from_word(platform)?, channel: channel.to_owned(), thread: None })
}
