//! Builds: one that a CI tells of is registered, with the runs that boards.yaml wants of it; `latest` in somebody's words
//! becomes the build that it means now; and the list of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::start::Refused;
use super::{Handler, Reaction, near, put_right};
use crate::board::hosts::{self, Address};
use crate::board::inventory::{BuildRule, Revisions};
use crate::board::{Family, Inventory};
use crate::build::{Build, Moving};
use crate::chat::{Delivery, Place, Platform};
use crate::command::RunTest;
use crate::command::document::AskedBuild;
use crate::command::policy::{About, Asked, Permission};
use crate::id::RunId;
use crate::message::{Note, Phrase};
use crate::run::RunSpec;
use crate::store::{Audit, BuildFilter, BuildsOf, Effect, NewRun, Result};

/// Of how many of the newest builds the ids and branches are known for did-you-mean.
const KNOWN_MAX: u32 = 200;
/// Most builds that one answer lists.
const BUILDS_MAX: u32 = 20;

impl Handler {
    /// Registers a build, and starts what boards.yaml wants of it.
    pub(super) async fn build_finished(&self, delivery: &Delivery, asked: &AskedBuild) -> Result<Reaction> {
        let target = format!("{} {}", asked.family, asked.id);
        let about = About { family: Some(&asked.family), ..About::default() };
        let because = match self.permission_about(Asked::Build, delivery, about) {
            Permission::Allowed { because } => because,
            Permission::Denied(denial) => return Ok(self.denied(delivery, "build", target, &denial)),
        };
        let lab = self.inventory.now();
        let Some(family) = family_named(&lab, &asked.family) else {
            return Ok(no_family(&lab, &asked.family));
        };
        if let Some(refusal) = foreign(&lab, asked) {
            return Ok(refusal);
        }
        let build = Build {
            number: 0,
            family,
            id: asked.id.clone(),
            source: asked.source.clone(),
            result: asked.result,
            artifacts: asked.artifacts.clone(),
            by: delivery.actor.clone(),
            registered_at: self.clock.now(),
        };
        let (mut runs, mut rules, mut refused) = (vec![], vec![], vec![]);
        for wanted in wanted(&lab, &build) {
            match self.rule_run(delivery, &build, &wanted).await? {
                Ok(run) => {
                    rules.push(wanted.rule);
                    runs.push(run);
                }
                Err(refusal) => {
                    tracing::warn!(
                        rule = wanted.rule,
                        build = build.id,
                        "a rule starts nothing for this build"
                    );
                    refused
                        .push(json!({ "rule": wanted.rule, "reason": refusal.answer.facts.get("reason") }));
                }
            }
        }
        let facts = json!({
            "family": build.family, "build": build.id, "fingerprint": build.fingerprint(), "rules": rules, "refused": refused,
        });
        let answer = Note::new("build-registered", facts);
        let other = Phrase::new("other-build", json!({ "family": build.family, "build": build.id }));
        let other = Note::new("refused", json!({ "reason": other, "near": [], "next": "/lab builds" }));
        let audit = Audit { verb: "build".into(), target, allowed: true, reason: because };
        Ok(Reaction {
            effect: Effect::Build { build: Box::new(build), runs },
            answer,
            instead: vec![("other-build", other)],
            audit,
        })
    }

    /// The run that a rule wants of a build.
    async fn rule_run(
        &self,
        delivery: &Delivery,
        build: &Build,
        wanted: &Wanted<'_>,
    ) -> Result<std::result::Result<NewRun, Refused>> {
        let Wanted { rule, settings, revision } = wanted;
        let request = RunTest {
            target: build.family.to_string(),
            build: build.id.clone(),
            suite: settings.suite.clone(),
            revision: revision.clone(),
            priority: Some(settings.priority),
            params: settings.params.clone(),
            ..RunTest::default()
        };
        let spec = match self.spec(delivery, request) {
            Ok(spec) => spec,
            Err(refused) => return Ok(Err(refused)),
        };
        if let Err(refused) = self.still_possible(&spec, &self.addresses(build)) {
            return Ok(Err(refused));
        }
        let origin = self.place_of(settings, &build.family);
        let revision = revision.as_deref().map(|revision| format!(":{revision}")).unwrap_or_default();
        let now = self.clock.now();
        Ok(Ok(NewRun {
            id: RunId::new(&self.ids, now),
            spec,
            requested_by: delivery.actor.clone(),
            cards: self.card_places(&origin),
            origin,
            via: None,
            callback: None,
            created_at: now,
            retry_of: None,
            once: Some(format!("build:{}:{}:{rule}{revision}", build.family, build.id)),
            avoid: vec![],
            message: None,
        }))
    }

    /// Where a rule's run is told: in its own channel, its family's, or the default one.
    fn place_of(&self, rule: &BuildRule, family: &Family) -> Place {
        let lab = self.inventory.now();
        let own = lab.families.get(family).and_then(|family| family.channel.clone());
        let channel = rule.channel.clone().or(own).or_else(|| lab.channels.default.clone());
        let place = channel.as_deref().and_then(|channel| channel.split_once(':')).and_then(|(word, id)| {
            Some(Place { platform: Platform::from_word(word)?, channel: id.to_owned(), thread: None })
        });
        place.unwrap_or(Place { platform: Platform::Jenkins, channel: String::new(), thread: None })
    }

    /// Puts the build that is meant now in the place of `latest` or `latest-main`; gives where its artifacts are.
    pub(super) async fn resolve(
        &self,
        delivery: &Delivery,
        request: &mut RunTest,
    ) -> Result<std::result::Result<BTreeMap<String, String>, Refused>> {
        let lab = self.inventory.now();
        // Whatever is wrong with the name is told when it is looked up.
        let Some(family) = family_of_target(&lab, &request.target) else { return Ok(Ok(BTreeMap::new())) };
        let only_registered = lab.families.get(&family).is_some_and(|family| family.registered_only);
        let Some(moving) = Moving::of(&request.build) else {
            return match self.store.build_find(&family, &request.build).await? {
                Some(build) => Ok(Ok(self.addresses(&build))),
                None if only_registered => {
                    Ok(Err(self.not_registered(delivery, &family, &request.build).await?))
                }
                None => Ok(Ok(BTreeMap::new())),
            };
        };
        let of = match moving.branch() {
            None => BuildsOf::Family(family.clone()),
            Some(branch) => BuildsOf::Branch(family.clone(), branch.to_owned()),
        };
        let newest = BuildFilter { of, good: true, before: None, limit: 1 };
        if let Some(build) = self.store.build_list(&newest).await?.pop() {
            request.build = build.id.clone();
            return Ok(Ok(self.addresses(&build)));
        }
        let known = self.known_builds(&family).await?;
        // Where nobody registers builds it is an id like any other.
        if known.is_empty() && !only_registered {
            return Ok(Ok(BTreeMap::new()));
        }
        let branches: BTreeSet<&str> = known
            .iter()
            .filter(|build| build.is_good())
            .filter_map(|build| build.source.branch.as_deref())
            .collect();
        let near = moving.branch().map(|branch| near(branch, branches.iter().copied())).unwrap_or_default();
        let near: Vec<String> = near.into_iter().map(|branch| format!("latest-{branch}")).collect();
        let facts = json!({ "family": family, "branch": moving.branch(), "known": branches });
        Ok(Err(self.unknown_build(delivery, &family, &request.build, Phrase::new("no-latest", facts), near)))
    }

    async fn not_registered(&self, delivery: &Delivery, family: &Family, build: &str) -> Result<Refused> {
        let known = self.known_builds(family).await?;
        let near = near(build, known.iter().map(|build| build.id.as_str()));
        let reason = Phrase::new("no-build", json!({ "family": family, "build": build }));
        Ok(self.unknown_build(delivery, family, build, reason, near))
    }

    fn unknown_build(
        &self,
        delivery: &Delivery,
        family: &Family,
        build: &str,
        reason: Phrase,
        near: Vec<String>,
    ) -> Refused {
        let next = near.first().map_or_else(
            || format!("/lab builds {family}"),
            |near| {
                put_right(delivery, &[(build.to_owned(), near.clone())])
                    .unwrap_or_else(|| format!("/run-test {family} {near}"))
            },
        );
        Box::new(Reaction::refused(reason, &near, next))
    }

    /// The newest builds of a family.
    async fn known_builds(&self, family: &Family) -> Result<Vec<Build>> {
        let of = BuildsOf::Family(family.clone());
        self.store.build_list(&BuildFilter { of, good: false, before: None, limit: KNOWN_MAX }).await
    }

    /// Where the artifacts of a run's build are, as far as it is registered.
    pub(super) async fn registered(&self, spec: &RunSpec) -> Result<BTreeMap<String, String>> {
        let build = self.store.build_find(&spec.family, &spec.build).await?;
        Ok(build.map(|build| self.addresses(&build)).unwrap_or_default())
    }

    fn addresses(&self, build: &Build) -> BTreeMap<String, String> {
        build.addresses(&self.inventory.now().builds.artifact_hosts)
    }

    /// The newest builds, of one family or of all.
    pub(super) async fn builds(&self, filter: Option<&str>) -> Result<Reaction> {
        let lab = self.inventory.now();
        let of = match filter {
            None => BuildsOf::All,
            Some(name) => match family_named(&lab, name) {
                Some(family) => BuildsOf::Family(family),
                None => return Ok(no_family(&lab, name)),
            },
        };
        let family = match &of {
            BuildsOf::Family(family) => Some(family.clone()),
            BuildsOf::All | BuildsOf::Branch(..) | BuildsOf::Id(_) => None,
        };
        // One more than is shown tells whether there are more.
        let filter = BuildFilter { of, good: false, before: None, limit: BUILDS_MAX + 1 };
        let builds = self.store.build_list(&filter).await?;
        let more = builds.len() > BUILDS_MAX as usize;
        let builds: Vec<Value> = builds.iter().take(BUILDS_MAX as usize).map(build_row).collect();
        Ok(Reaction::says(Note::new("builds", json!({ "family": family, "builds": builds, "more": more }))))
    }
}

/// A run that a rule wants of a build.
struct Wanted<'l> {
    rule: &'l str,
    settings: &'l BuildRule,
    revision: Option<String>,
}

/// What boards.yaml wants of a build: nothing of one that was not made whole.
fn wanted<'l>(lab: &'l Inventory, build: &Build) -> Vec<Wanted<'l>> {
    if !build.is_good() {
        return vec![];
    }
    let (branch, job) = (build.source.branch.as_deref(), build.source.job.as_deref());
    let rules = lab.builds.rules.iter().filter(|(_, rule)| rule.is_about(&build.family, branch, job));
    let each = |(name, rule): (&'l String, &'l BuildRule)| {
        let wanted = |revision| Wanted { rule: name, settings: rule, revision };
        let of_boards = || lab.boards_of(&build.family).filter_map(|board| board.revision.clone());
        let revisions: BTreeSet<String> = match &rule.revisions {
            Revisions::Any => BTreeSet::new(),
            Revisions::All => of_boards().collect(),
            Revisions::These(these) => these.iter().cloned().collect(),
        };
        match revisions.is_empty() {
            true => vec![wanted(None)],
            false => revisions.into_iter().map(|revision| wanted(Some(revision))).collect(),
        }
    };
    rules.flat_map(each).collect()
}

/// What is wrong with where a build's artifacts are, if anything is.
fn foreign(lab: &Inventory, asked: &AskedBuild) -> Option<Reaction> {
    let rules = &lab.builds.artifact_hosts;
    let foreign = asked.artifacts.iter().find_map(|artifact| {
        let address = Address::parse(&artifact.url).ok()?;
        (!hosts::lists(rules, &address)).then_some((artifact, address))
    });
    foreign.map(|(artifact, address)| {
        let facts = json!({ "artifact": artifact.name, "host": address.to_string() });
        Reaction::refused(Phrase::new("artifact-host", facts), &[], "/lab builds")
    })
}

pub(super) fn family_named(lab: &Inventory, name: &str) -> Option<Family> {
    lab.families.keys().find(|family| family.as_str().eq_ignore_ascii_case(name)).cloned()
}

/// The family of a run's target, which may be a board.
pub(super) fn family_of_target(lab: &Inventory, name: &str) -> Option<Family> {
    let board = || lab.boards.values().find(|board| board.id.as_str().eq_ignore_ascii_case(name));
    family_named(lab, name).or_else(|| board().map(|board| board.family.clone()))
}

fn no_family(lab: &Inventory, name: &str) -> Reaction {
    let near = near(name, lab.families.keys().map(Family::as_str));
    let next = near.first().map_or_else(|| "/lab boards".to_owned(), |near| format!("/lab builds {near}"));
    Reaction::refused(Phrase::new("no-family", json!({ "name": name })), &near, next)
}

/// A build as a list shows it.
fn build_row(build: &Build) -> Value {
    json!({
        "family": build.family,
        "id": build.id,
        "branch": build.source.branch,
        "commit": build.source.commit.as_deref().map(short),
        "result": build.result,
        "artifacts": build.artifacts.len(),
        "url": build.source.url,
        "at": build.registered_at,
    })
}

/// As much of a commit as people say.
fn short(commit: &str) -> &str {
    let hash = commit.len() >= 12 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hash { &commit[..12] } else { commit }
}
