//! Starting runs: names are looked up, parameters checked against the plan, and what no board of the lab could ever
//! serve is refused at once, with what comes near and what to type next.

use std::collections::BTreeMap;

use serde_json::json;

use super::act::audit;
use super::{Handler, Reaction, near, put_right};
use crate::board::Family;
use crate::board::hooks::NoCallback;
use crate::board::near::nearest;
use crate::board::plan::ParamKind;
use crate::board::selector::{self, PARAM_BYTES_MAX, ParamProblem, ParamWrong, Unfit};
use crate::build::Moving;
use crate::chat::{Delivery, Intent, Place, Platform};
use crate::command::form::wanted;
use crate::command::{Command, RunTest, grammar, policy};
use crate::id::RunId;
use crate::lease::Lease;
use crate::lease::queue::{CouldServe, Misfit, could_serve};
use crate::message::{Note, Phrase};
use crate::run::{RunKind, RunSpec, Selector};
use crate::store::{Effect, NewRun, Result};

/// A refusal, boxed: the usual way is the other one.
pub(super) type Refused = Box<Reaction>;

impl Handler {
    pub(super) async fn run_test(&self, delivery: &Delivery, mut request: RunTest) -> Result<Reaction> {
        let count = request.repeat.unwrap_or(1);
        let registered = match Box::pin(self.resolve(delivery, &mut request)).await? {
            Ok(registered) => registered,
            Err(refused) => return Ok(*refused),
        };
        let callback = request.callback.clone();
        if let Some(refused) = callback.as_deref().and_then(|url| self.no_callback(url)) {
            return Ok(refused);
        }
        let spec = match self.spec(delivery, request) {
            Ok(spec) => spec,
            Err(refused) => return Ok(*refused),
        };
        if let Err(refused) = self.still_possible(&spec, &registered) {
            return Ok(*refused);
        }
        if let Err(refused) = self.within_quota(delivery, &spec, count) {
            return Ok(*refused);
        }
        let own = self.own_board(delivery, &spec).await?;
        let now = self.clock.now();
        let run = |_| NewRun {
            id: RunId::new(&self.ids, now),
            spec: spec.clone(),
            requested_by: delivery.actor.clone(),
            origin: delivery.place.clone(),
            cards: self.card_places(&delivery.place),
            via: Some(delivery.answer_via.clone()),
            callback: callback.clone(),
            created_at: now,
            retry_of: None,
            // Its key is forgotten after days, and a build is posted again after weeks.
            once: delivery.is_from_machine().then(|| delivery.key.clone()),
            avoid: vec![],
            message: self.badged(delivery),
        };
        let target = format!("{} {}", spec.family, spec.build);
        Ok(Reaction {
            effect: Effect::Start((0..count).map(run).collect()),
            answer: self.accepted(&spec, count, None, (delivery, &delivery.place), own.as_ref()),
            instead: vec![],
            audit: audit("run-test", target),
        })
    }

    /// Where a request wants the end of its run told; why that cannot be, where it cannot.
    pub fn callback_of<'d>(&self, delivery: &'d Delivery) -> Option<std::result::Result<&'d str, Note>> {
        let Intent::Command(command) = &delivery.intent else { return None };
        let Command::RunTest(RunTest { callback: Some(url), .. }) = &**command else { return None };
        Some(self.no_callback(url).map_or(Ok(url), |refused| Err(refused.answer)))
    }

    /// Why the end of a run cannot be told there.
    fn no_callback(&self, url: &str) -> Option<Reaction> {
        let (reason, next) = match self.inventory.now().hooks.may_call_back(url).err()? {
            NoCallback::Off => (Phrase::new("callbacks-off", json!({})), "docs/jenkins.md"),
            NoCallback::Address(problem) => (
                Phrase::new("callback-no-address", json!({ "detail": problem.to_string() })),
                "docs/jenkins.md",
            ),
            NoCallback::Host(host) => {
                (Phrase::new("callback-elsewhere", json!({ "host": host })), "docs/jenkins.md")
            }
        };
        Some(Reaction::refused(reason, &[], next))
    }

    /// Whether a machine's request is the one that this run was accepted for: a key that is used again for another
    /// request must not be answered with the first one's run. What it leaves to the lab's defaults may have changed.
    pub fn is_request_of(&self, delivery: &Delivery, spec: &RunSpec) -> bool {
        let Intent::Command(command) = &delivery.intent else { return true };
        let Command::RunTest(request) = &**command else { return true };
        let named = |name: &str| request.target.eq_ignore_ascii_case(name);
        let suite = request.suite.is_some();
        // `latest` was another build then than it is now.
        let moving = Moving::of(&request.build).is_some();
        let build = if moving { spec.build.clone() } else { request.build.clone() };
        match self.spec(delivery, RunTest { build, ..request.clone() }) {
            Ok(asked) if suite => asked == *spec,
            Ok(asked) => RunSpec { suite: spec.suite.clone(), ..asked } == *spec,
            // The lab has changed since.
            Err(_) => {
                let board = spec.selector.board.as_ref();
                (moving || request.build == spec.build)
                    && (named(spec.family.as_str()) || board.is_some_and(|board| named(board.as_str())))
            }
        }
    }

    /// What was asked for, with every name looked up.
    pub(super) fn spec(
        &self,
        delivery: &Delivery,
        request: RunTest,
    ) -> std::result::Result<RunSpec, Refused> {
        let (family, named) = self.target(delivery, &request.target, &request.build)?;
        let on = match &request.on {
            Some(name) => Some(self.board_for(delivery, name, &family, &request.build)?),
            None => named,
        };
        let lab = self.inventory.now();
        let settings = lab
            .families
            .get(&family)
            .ok_or_else(|| self.unknown_target(delivery, family.as_str(), &request.build))?;
        let suite = request.suite.unwrap_or_else(|| settings.default_suite.clone());
        if !settings.suites.contains_key(&suite) {
            let near = near(&suite, settings.suites.keys().map(String::as_str));
            let known: Vec<&str> = settings.suites.keys().map(String::as_str).collect();
            let reason = Phrase::new("no-suite", json!({ "family": family, "name": suite, "known": known }));
            let best = near.first().cloned().unwrap_or_else(|| settings.default_suite.clone());
            let next = option_put_right(delivery, "suite", &suite, &best)
                .unwrap_or_else(|| format!("/run-test {family} {} suite={best}", request.build));
            return Err(Box::new(Reaction::refused(reason, &near, next)));
        }
        let params = selector::params(&lab, &family, &suite, &request.params).map_err(|problem| {
            let value = request.params.get(&problem.name).map(String::as_str);
            let specs = lab.params_of(&family, &suite);
            let kind = specs.and_then(|specs| specs.get(&problem.name)).map(|spec| &spec.kind);
            let (reason, near) = param_refused(&problem, &suite, kind, value);
            let next = match (&near, value) {
                (Some(near), Some(value)) => {
                    let (name, unknown) = (&problem.name, problem.wrong == ParamWrong::Unknown);
                    let right = if unknown { format!("{near}={value}") } else { format!("{name}={near}") };
                    put_right(delivery, &[(format!("{name}={value}"), right.clone())])
                        .unwrap_or_else(|| format!("/run-test {family} {} {right}", request.build))
                }
                _ => format!("/lab help {}", grammar::row(grammar::Form::RunTest).name()),
            };
            Box::new(Reaction::refused(reason, &near.into_iter().collect::<Vec<_>>(), next))
        })?;
        Ok(RunSpec {
            kind: RunKind::Test,
            family,
            build: request.build,
            suite,
            selector: Selector {
                board: on,
                revision: request.revision,
                tags: request.tags,
                driven_here: false,
            },
            priority: request.priority.unwrap_or_default(),
            boards: request.boards.unwrap_or(1),
            on_own_board: false,
            timeout: request.timeout,
            params,
        })
    }

    /// The board that `on=` names.
    fn board_for(
        &self,
        delivery: &Delivery,
        name: &str,
        family: &Family,
        build: &str,
    ) -> std::result::Result<crate::board::BoardId, Refused> {
        let lab = self.inventory.now();
        let boards = || lab.boards_of(family).map(|board| board.id.as_str());
        self.board_named(delivery, name).map(|board| board.id).map_err(|_| {
            let near = near(name, boards());
            let best = near.first().map(String::as_str).or_else(|| boards().next()).unwrap_or_default();
            let next = option_put_right(delivery, "on", name, best)
                .unwrap_or_else(|| format!("/run-test {family} {build} on={best}"));
            Box::new(Reaction::refused(Phrase::new("no-board", json!({ "name": name })), &near, next))
        })
    }

    /// A family, or a board and its family.
    fn target(
        &self,
        delivery: &Delivery,
        name: &str,
        build: &str,
    ) -> std::result::Result<(Family, Option<crate::board::BoardId>), Refused> {
        let lab = self.inventory.now();
        if let Some(family) = lab.families.keys().find(|f| f.as_str().eq_ignore_ascii_case(name)) {
            return Ok((family.clone(), None));
        }
        let board = lab.boards.values().find(|b| b.id.as_str().eq_ignore_ascii_case(name));
        board
            .map(|board| (board.family.clone(), Some(board.id.clone())))
            .ok_or_else(|| self.unknown_target(delivery, name, build))
    }

    fn unknown_target(&self, delivery: &Delivery, name: &str, build: &str) -> Refused {
        let lab = self.inventory.now();
        let families = lab.families.keys().map(|f| f.as_str());
        let near = near(name, families.chain(lab.boards.keys().map(|b| b.as_str())));
        let next = near.first().map_or("/lab boards".to_owned(), |near| {
            put_right(delivery, &[(name.to_owned(), near.clone())])
                .unwrap_or_else(|| format!("/run-test {near} {build}"))
        });
        Box::new(Reaction::refused(Phrase::new("no-family-or-board", json!({ "name": name })), &near, next))
    }

    /// Whether whoever asks may have so many boards, and so many more runs waiting. The queue hears of a run a moment after
    /// it was accepted, so whoever asks many times at once may have a few more.
    pub(super) fn within_quota(
        &self,
        delivery: &Delivery,
        spec: &RunSpec,
        count: u32,
    ) -> std::result::Result<(), Refused> {
        let quota = policy::quota(&delivery.actor, &self.inventory.now());
        let refused = |reason| Err(Box::new(Reaction::refused(reason, &[], "/lab runs mine")));
        if let Some(most) = quota.boards.filter(|most| spec.boards > *most) {
            let facts = json!({ "most": most, "wanted": spec.boards });
            return refused(Phrase::new("too-many-boards", facts));
        }
        let waiting = self.queue.lock().waiting_of(&delivery.actor.key());
        if let Some(most) = quota.queued.filter(|most| waiting + count as usize > *most as usize) {
            let facts = json!({ "most": most, "waiting": waiting });
            return refused(Phrase::new("too-many-queued", facts));
        }
        Ok(())
    }

    /// Whether a board of the lab could ever serve it, and its plan has what it names.
    pub(super) fn still_possible(
        &self,
        spec: &RunSpec,
        registered: &BTreeMap<String, String>,
    ) -> std::result::Result<(), Refused> {
        let lab = self.inventory.now();
        if let CouldServe::No(misfit) = could_serve(spec, &lab) {
            let (reason, near) = misfit_text(spec, misfit);
            return Err(Box::new(Reaction::refused(reason, &near, format!("/lab boards {}", spec.family))));
        }
        selector::fits(&lab, spec, registered).map_err(|unfit| {
            let next = format!("/lab help {}", grammar::row(grammar::Form::RunTest).name());
            Box::new(Reaction::refused(unfit_text(unfit), &[], next))
        })?;
        Ok(())
    }

    /// What is said when runs were accepted; the store adds their numbers.
    pub(super) fn accepted(
        &self,
        spec: &RunSpec,
        count: u32,
        retry_of: Option<i64>,
        (delivery, place): (&Delivery, &Place),
        own: Option<&Lease>,
    ) -> Note {
        let (outlook, has) = {
            let queue = self.queue.lock();
            let has = queue.boards_of(&delivery.actor.key());
            (queue.outlook(&spec.family, &spec.selector), has)
        };
        let most = policy::quota(&delivery.actor, &self.inventory.now()).boards;
        let full = most.filter(|most| has + spec.boards > *most);
        Note::new(
            "run-accepted",
            json!({
                "run": {
                    "family": spec.family, "build": spec.build, "suite": spec.suite, "priority": spec.priority.as_str(),
                },
                "count": count,
                "retry_of": retry_of,
                "closed": self.lines.is_closed(place),
                "own": own.map(|lease| json!({
                    "board": lease.board, "run": lease.hold.as_ref().and_then(|hold| hold.run).map(|(run, _)| run),
                })),
                "outlook": { "free": outlook.free, "wanted": count.saturating_mul(spec.boards), "boards": outlook.boards, "ahead": outlook.waiting,
                    "out": outlook.boards > 0 && outlook.serving == 0,
                    "full": full.map(|most| json!({ "most": most, "in_use": has })),
                },
            }),
        )
    }

    /// The message that asks for a run, where its channel is shown in a badge on it what became of that.
    pub(super) fn badged(&self, delivery: &Delivery) -> Option<String> {
        let place = &delivery.place;
        let reacts = || self.inventory.now().channels.reacts(place.platform.as_str(), &place.channel);
        delivery.message.clone().filter(|_| reacts())
    }

    /// Where a run's cards stand: where it was asked for, and the channels that tell the same story.
    pub(super) fn card_places(&self, origin: &Place) -> Vec<Place> {
        let here = format!("{}:{}", origin.platform.as_str(), origin.channel);
        let lab = self.inventory.now();
        let linked = lab.channels.mirrors.iter().filter(|(from, _)| *from == here).filter_map(|(_, to)| {
            let (platform, channel) = to.split_once(':')?;
            Some(Place {
                platform: Platform::from_word(platform)?,
                channel: channel.to_owned(),
                thread: None,
            })
        });
        // One whose platform is not connected was told when boards.yaml was read; a card there would only die.
        // Where a machine names no channel, there is none.
        let places = std::iter::once(origin.clone()).chain(linked);
        places.filter(|place| self.connected.contains(&place.platform)).collect()
    }
}

/// What was typed with the value of an option put right.
fn option_put_right(delivery: &Delivery, name: &str, wrong: &str, right: &str) -> Option<String> {
    let pair = (format!("{name}={wrong}"), format!("{name}={right}"));
    put_right(delivery, &[pair, (wrong.to_owned(), right.to_owned())])
}

fn option_names() -> impl Iterator<Item = &'static str> {
    grammar::row(grammar::Form::RunTest).options.iter().map(|option| option.name)
}

/// Why a plan does not take a parameter, and what comes near.
fn param_refused(
    problem: &ParamProblem,
    suite: &str,
    kind: Option<&ParamKind>,
    value: Option<&str>,
) -> (Phrase, Option<String>) {
    let (name, known) = (&problem.name, &problem.known);
    let options = || option_names().map(|name| -> &str { name });
    let near = match (problem.wrong, kind, value) {
        (ParamWrong::Unknown, ..) => nearest(name, known.iter().map(String::as_str).chain(options())),
        (ParamWrong::Value, Some(ParamKind::Choice(words)), Some(value)) => {
            nearest(value, words.iter().map(String::as_str))
        }
        _ => None,
    };
    let facts = json!({
        "name": name, "suite": suite, "known": known, "value": value, "max": PARAM_BYTES_MAX, "wants": kind.map(wanted),
    });
    let phrase = match problem.wrong {
        ParamWrong::Unknown => "param-unknown",
        ParamWrong::Missing => "param-missing",
        ParamWrong::TooLong => "param-too-long",
        ParamWrong::WithNul => "param-with-nul",
        ParamWrong::Value => "param-wrong",
    };
    (Phrase::new(phrase, facts), near.map(str::to_owned))
}

/// Why a plan's commands cannot be filled.
fn unfit_text(unfit: Unfit) -> Phrase {
    match unfit {
        Unfit::MissingArtifact { suite, artifact, build, family } => Phrase::new(
            "no-artifact",
            json!({ "suite": suite, "artifact": artifact, "build": build, "family": family }),
        ),
        Unfit::Value(error) => Phrase::new("value-unfit", json!({ "detail": error.to_string() })),
    }
}

/// Why no board could ever serve it, for people, with what comes near.
fn misfit_text(spec: &RunSpec, misfit: Misfit) -> (Phrase, Vec<String>) {
    let (family, board) = (&spec.family, &spec.selector.board);
    let facts = json!({ "family": family, "board": board, "revision": spec.selector.revision });
    match misfit {
        Misfit::Family { near } => (Phrase::new("no-family", json!({ "name": family })), near),
        Misfit::Board { near } => (Phrase::new("no-board", json!({ "name": board })), near),
        Misfit::OtherFamily { family: other } => {
            (Phrase::new("other-family", json!({ "board": board, "other": other, "family": family })), vec![])
        }
        Misfit::Revision { near } if board.is_some() => (Phrase::new("board-not-of-revision", facts), near),
        Misfit::Revision { near } => (Phrase::new("no-board-of-revision", facts), near),
        Misfit::Tag { key, value, near } => {
            let facts = json!({ "family": family, "board": board, "tag": format!("{key}:{value}") });
            match board {
                Some(_) => (Phrase::new("board-without-tag", facts), near),
                None => (Phrase::new("no-board-with-tag", facts), near),
            }
        }
        Misfit::Together => (Phrase::new("no-board-is-all", facts), vec![]),
        Misfit::TooFew { wanted, most } => {
            (Phrase::new("too-few-boards", json!({ "wanted": wanted, "most": most })), vec![])
        }
    }
}
