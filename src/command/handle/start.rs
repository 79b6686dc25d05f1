//! Starting runs: names are looked up, parameters checked against the plan, and what no board of the lab could ever
//! serve is refused at once, with what comes near and what to type next.

use std::collections::BTreeMap;

use serde_json::json;

use super::act::audit;
use super::{Handler, Reaction, put_right};
use crate::board::Family;
use crate::board::near::nearest;
use crate::board::selector;
use crate::chat::{Delivery, Intent, Place, Platform};
use crate::command::{Command, RunTest, grammar};
use crate::id::RunId;
use crate::lease::Lease;
use crate::lease::queue::{CouldServe, Misfit, could_serve};
use crate::message::Note;
use crate::run::{RunKind, RunSpec, Selector};
use crate::store::{Effect, NewRun, Result};

/// A refusal, boxed: the usual way is the other one.
type Refused = Box<Reaction>;

impl Handler {
    pub(super) async fn run_test(&self, delivery: &Delivery, request: RunTest) -> Result<Reaction> {
        let count = request.repeat.unwrap_or(1);
        let spec = match self.spec(delivery, request) {
            Ok(spec) => spec,
            Err(refused) => return Ok(*refused),
        };
        if let Err(refused) = self.still_possible(&spec) {
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
            created_at: now,
            retry_of: None,
            // Its key is forgotten after days, and a build is posted again after weeks.
            once: delivery.is_from_machine().then(|| delivery.key.clone()),
            avoid: vec![],
        };
        let target = format!("{} {}", spec.family, spec.build);
        Ok(Reaction {
            effect: Effect::Start((0..count).map(run).collect()),
            answer: self.accepted(&spec, count, None, &delivery.place, own.as_ref()),
            instead: vec![],
            audit: audit("run-test", target),
        })
    }

    /// Whether a machine's request is the one that this run was accepted for: a key that is used again for another
    /// request must not be answered with the first one's run. What it leaves to the lab's defaults may have changed.
    pub fn is_request_of(&self, delivery: &Delivery, spec: &RunSpec) -> bool {
        let Intent::Command(command) = &delivery.intent else { return true };
        let Command::RunTest(request) = &**command else { return true };
        let named = |name: &str| request.target.eq_ignore_ascii_case(name);
        let suite = request.suite.is_some();
        match self.spec(delivery, request.clone()) {
            Ok(asked) if suite => asked == *spec,
            Ok(asked) => RunSpec { suite: spec.suite.clone(), ..asked } == *spec,
            // The lab has changed since.
            Err(_) => {
                let board = spec.selector.board.as_ref();
                request.build == spec.build
                    && (named(spec.family.as_str()) || board.is_some_and(|board| named(board.as_str())))
            }
        }
    }

    /// What was asked for, with every name looked up.
    fn spec(&self, delivery: &Delivery, request: RunTest) -> std::result::Result<RunSpec, Refused> {
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
            let reason = format!("the family {family} has no suite {suite:?}; it has {}", known.join(", "));
            let best = near.first().cloned().unwrap_or_else(|| settings.default_suite.clone());
            let next = option_put_right(delivery, "suite", &suite, &best)
                .unwrap_or_else(|| format!("/run-test {family} {} suite={best}", request.build));
            return Err(Box::new(Reaction::refused(reason, &near, next)));
        }
        let params = selector::params(&lab, &family, &suite, &request.params).map_err(|problem| {
            let known: Vec<&str> = problem.known.iter().map(String::as_str).collect();
            let known = known.into_iter().chain(option_names().map(|name| -> &str { name }));
            let near: Vec<String> = nearest(&problem.name, known).map(str::to_owned).into_iter().collect();
            let next = match (near.first(), request.params.get(&problem.name)) {
                (Some(near), Some(value)) => {
                    let words = (format!("{}={value}", problem.name), format!("{near}={value}"));
                    put_right(delivery, &[words])
                        .unwrap_or_else(|| format!("/run-test {family} {} {near}={value}", request.build))
                }
                _ => format!("/lab help {}", grammar::row(grammar::Form::RunTest).name()),
            };
            Box::new(Reaction::refused(problem.to_string(), &near, next))
        })?;
        Ok(RunSpec {
            kind: RunKind::Test,
            family,
            build: request.build,
            suite,
            selector: Selector { board: on, revision: request.revision, tags: request.tags },
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
            Box::new(Reaction::refused(format!("there is no board {name:?}"), &near, next))
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
        Box::new(Reaction::refused(format!("there is no family and no board {name:?}"), &near, next))
    }

    /// Whether a board of the lab could ever serve it, and its plan has what it names.
    pub(super) fn still_possible(&self, spec: &RunSpec) -> std::result::Result<(), Refused> {
        let lab = self.inventory.now();
        if let CouldServe::No(misfit) = could_serve(spec, &lab) {
            let (reason, near) = misfit_text(spec, misfit);
            return Err(Box::new(Reaction::refused(reason, &near, format!("/lab boards {}", spec.family))));
        }
        selector::fits(&lab, spec, &BTreeMap::new()).map_err(|unfit| {
            let next = format!("/lab help {}", grammar::row(grammar::Form::RunTest).name());
            Box::new(Reaction::refused(unfit.to_string(), &[], next))
        })?;
        Ok(())
    }

    /// What is said when runs were accepted; the store adds their numbers.
    pub(super) fn accepted(
        &self,
        spec: &RunSpec,
        count: u32,
        retry_of: Option<i64>,
        place: &Place,
        own: Option<&Lease>,
    ) -> Note {
        let outlook = self.queue.lock().outlook(&spec.family, &spec.selector);
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
                "outlook": { "free": outlook.free, "wanted": count.saturating_mul(spec.boards), "boards": outlook.boards, "ahead": outlook.waiting },
            }),
        )
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

fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    grammar::near(word, known).map(str::to_owned).into_iter().collect()
}

fn option_names() -> impl Iterator<Item = &'static str> {
    grammar::row(grammar::Form::RunTest).options.iter().map(|option| option.name)
}

/// Why no board could ever serve it, for people, with what comes near.
fn misfit_text(spec: &RunSpec, misfit: Misfit) -> (String, Vec<String>) {
    let family = &spec.family;
    let board = spec.selector.board.as_ref().map(|b| b.to_string()).unwrap_or_default();
    let revision = spec.selector.revision.as_deref().unwrap_or_default();
    let one = !board.is_empty();
    match misfit {
        Misfit::Family { near } => (format!("there is no family {family:?}"), near),
        Misfit::Board { near } => (format!("there is no board {board:?}"), near),
        Misfit::OtherFamily { family: other } => {
            (format!("the board {board} is a {other}, not a {family}"), vec![])
        }
        Misfit::Revision { near } if one => {
            (format!("the board {board} is not of revision {revision:?}"), near)
        }
        Misfit::Revision { near } => (format!("no board of {family} is of revision {revision:?}"), near),
        Misfit::Tag { key, value, near } if one => {
            (format!("the board {board} has no tag {key}:{value}"), near)
        }
        Misfit::Tag { key, value, near } => (format!("no board of {family} has the tag {key}:{value}"), near),
        Misfit::Together => (format!("no board of {family} is all of that at once"), vec![]),
        Misfit::TooFew { wanted, most } => (
            format!("it wants {wanted} boards of one site, and no site has more than {most} that fit"),
            vec![],
        ),
    }
}
