//! Compare: two runs case by case, named by their numbers or found by their builds; one alone, with the last good run
//! before it. Which cases have changed is `outcome::compare`'s to say.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Handler, Reaction, no_such_run, put_right};
use crate::board::Family;
use crate::chat::Delivery;
use crate::command::{Command, Compare, Which, grammar};
use crate::message::{Note, Phrase};
use crate::outcome::compare::{Marks, Past, RunOfBuild, changes};
use crate::outcome::{Outcome, Verdict};
use crate::run::{Run, RunState};
use crate::store::{Ended, Result, RunFilter, RunView, Told};

/// Of how many of the newest runs the builds are known for did-you-mean.
const KNOWN_MAX: u32 = 200;

/// What was looked for, or what to say where it is not there.
type Found<T> = std::result::Result<T, Box<Reaction>>;

impl Handler {
    pub(super) async fn compare(&self, delivery: &Delivery, asked: &Compare) -> Result<Reaction> {
        let (from, to) = match self.sides(delivery, asked).await? {
            Ok(sides) => sides,
            Err(refusal) => return Ok(*refusal),
        };
        let pair = match from {
            Some(from) => self.pair(delivery, asked, &from, &to).await?,
            None => self.with_good(delivery, asked, &to).await?,
        };
        let numbers = match pair {
            Ok(pair) => pair,
            Err(refusal) => return Ok(*refusal),
        };
        if numbers.0 == numbers.1 {
            let next = format!("/lab compare {}", numbers.0);
            return Ok(*refused(Phrase::new("one-run", json!({ "number": numbers.0 })), next));
        }
        match (self.store.run_view(numbers.0).await?, self.store.run_view(numbers.1).await?) {
            (Some(from), Some(to)) => self.compared(&from, &to).await,
            (from, _) => Ok(no_such_run(Some(if from.is_none() { numbers.0 } else { numbers.1 }))),
        }
    }

    /// What is compared: the older side, where it was named, and the newer one. In a run's thread that is its own.
    async fn sides(&self, delivery: &Delivery, asked: &Compare) -> Result<Found<(Option<Which>, Which)>> {
        let in_thread = asked.of.len() < 2 && delivery.place.thread.is_some();
        let told = if in_thread { self.store.run_of_thread(&delivery.place).await? } else { None };
        let own = match told {
            Some(Told::Run(number)) => Some(Which::Run(number)),
            Some(Told::Batch(_) | Told::Campaign(_)) | None => None,
        };
        Ok(match (asked.of.as_slice(), own) {
            ([from, to, ..], _) => Ok((Some(from.clone()), to.clone())),
            ([from], Some(own)) if *from != own => Ok((Some(from.clone()), own)),
            ([one], _) => Ok((None, one.clone())),
            ([], Some(own)) => Ok((None, own)),
            ([], None) => match told {
                Some(Told::Batch(first)) => {
                    let command = Command::Compare(asked.clone());
                    Err(Box::new(self.in_batch(delivery, &command, first).await?))
                }
                Some(Told::Run(_) | Told::Campaign(_)) | None => Err(Box::new(no_such_run(None))),
            },
        })
    }

    /// The runs of two sides that are meant: of builds the newest that fit the other side.
    async fn pair(
        &self,
        delivery: &Delivery,
        asked: &Compare,
        from: &Which,
        to: &Which,
    ) -> Result<Found<(i64, i64)>> {
        let (froms, tos) =
            match (self.ended(delivery, asked, from).await?, self.ended(delivery, asked, to).await?) {
                (Ok(froms), Ok(tos)) => (froms, tos),
                (Err(refusal), _) | (_, Err(refusal)) => return Ok(Err(refusal)),
            };
        if let (Which::Run(from), Which::Run(to)) = (from, to) {
            return Ok(Ok((*from, *to)));
        }
        let mut pairs: Vec<(&Ended, &Ended)> = Vec::new();
        for to in &tos {
            let fits = |from: &&Ended| {
                from.family == to.family && from.suite == to.suite && from.number != to.number
            };
            let known = pairs.iter().any(|(_, other)| other.family == to.family);
            pairs.extend(froms.iter().find(fits).filter(|_| !known).map(|from| (from, to)));
        }
        Ok(match pairs.as_slice() {
            [(from, to)] => Ok((from.number, to.number)),
            [] => {
                let facts = json!({ "from": said(from), "to": said(to) });
                let reason = Phrase::new("nothing-in-common", facts);
                Err(refused(reason, "/lab runs"))
            }
            [(_, first), ..] => {
                let families: Vec<&str> = pairs.iter().map(|(_, to)| to.family.as_str()).collect();
                let facts = json!({ "from": said(from), "to": said(to), "families": families });
                let reason = Phrase::new("say-which-family", facts);
                Err(refused(reason, format!("/lab compare {} {} {}", said(from), said(to), first.family)))
            }
        })
    }

    /// A run and the last good one before it, or else the last one.
    async fn with_good(&self, delivery: &Delivery, asked: &Compare, of: &Which) -> Result<Found<(i64, i64)>> {
        let ended = match self.ended(delivery, asked, of).await? {
            Ok(ended) => ended,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Some(to) = ended.first() else { return Ok(Err(Box::new(no_such_run(None)))) };
        let Some(view) = self.store.run_view(to.number).await? else {
            return Ok(Err(Box::new(no_such_run(Some(to.number)))));
        };
        let number = to.number;
        let Some(comparison) = view.comparison else {
            let facts = json!({ "number": number, "verdict": to.verdict.as_str() });
            let reason = Phrase::new("says-nothing", facts);
            return Ok(Err(refused(reason, format!("/lab run {number}"))));
        };
        Ok(match comparison.good.or(comparison.base) {
            Some(before) => Ok((before.number, number)),
            None => {
                let facts = json!({ "number": number, "family": to.family, "suite": to.suite });
                let reason = Phrase::new("first-run", facts);
                Err(refused(reason, "/lab runs"))
            }
        })
    }

    /// The finished runs that are meant, those first that say something about their build.
    async fn ended(&self, delivery: &Delivery, asked: &Compare, which: &Which) -> Result<Found<Vec<Ended>>> {
        let build = match which {
            Which::Build(build) => build,
            Which::Run(number) => {
                let view = self.store.run_view(*number).await?;
                return Ok(match view {
                    Some(view) => ended_run(&view.run).map(|run| vec![run]),
                    None => Err(Box::new(no_such_run(Some(*number)))),
                });
            }
        };
        let family = match asked.family.as_deref().map(|name| self.family_named(delivery, name)).transpose() {
            Ok(family) => family,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut runs = self.store.build_ended(build).await?;
        let suite = asked.suite.as_deref();
        runs.retain(|run| {
            family.as_ref().is_none_or(|family| run.family == *family)
                && suite.is_none_or(|suite| run.suite == suite)
        });
        runs.sort_by_key(|run| !matches!(run.verdict, Verdict::Passed | Verdict::Failed | Verdict::TimedOut));
        if !runs.is_empty() {
            return Ok(Ok(runs));
        }
        let facts = json!({ "build": build, "family": family, "suite": suite });
        let reason = Phrase::new("no-run-of-build", facts);
        self.no_build(delivery, build, reason).await.map(Err)
    }

    /// There is no such build: the nearest one that there is, and what to type with that.
    async fn no_build(&self, delivery: &Delivery, build: &str, reason: Phrase) -> Result<Box<Reaction>> {
        let newest = RunFilter { limit: KNOWN_MAX, ..RunFilter::default() };
        let runs = self.store.run_list(&newest).await?;
        let known: BTreeSet<&str> =
            runs.iter().filter(|run| run.state.verdict().is_some()).map(|run| &*run.spec.build).collect();
        let near = grammar::near(build, known.into_iter().filter(|known| *known != build)).map(str::to_owned);
        let right = near.as_ref().and_then(|near| put_right(delivery, &[(build.to_owned(), near.clone())]));
        let near: Vec<String> = near.into_iter().collect();
        Ok(Box::new(Reaction::refused(reason, &near, right.unwrap_or_else(|| "/lab runs".into()))))
    }

    fn family_named(&self, delivery: &Delivery, name: &str) -> Found<Family> {
        let lab = self.inventory.now();
        if let Some(family) = lab.families.keys().find(|family| family.as_str().eq_ignore_ascii_case(name)) {
            return Ok(family.clone());
        }
        let near = grammar::near(name, lab.families.keys().map(|family| family.as_str())).map(str::to_owned);
        let right = near.as_ref().and_then(|near| put_right(delivery, &[(name.to_owned(), near.clone())]));
        let near: Vec<String> = near.into_iter().collect();
        let next = right.unwrap_or_else(|| "/lab boards".into());
        Err(Box::new(Reaction::refused(Phrase::new("no-family", json!({ "name": name })), &near, next)))
    }

    async fn compared(&self, from: &RunView, to: &RunView) -> Result<Reaction> {
        let (old, new) = match (outcome(&from.run), outcome(&to.run)) {
            (Ok(old), Ok(new)) => (old, new),
            (Err(refusal), _) | (_, Err(refusal)) => return Ok(*refusal),
        };
        let comparable = !old.cases.is_empty() && !new.cases.is_empty();
        let changed = if comparable {
            let spec = &to.run.spec;
            let past = self.store.suite_past(&spec.family, &spec.suite).await?.runs;
            let run = RunOfBuild { number: to.run.number, build: spec.build.clone() };
            let this = Past { run, marks: Marks::of(&new.cases) };
            let known = past.iter().any(|past| past.run.number == this.run.number);
            // What is not among the newest is older than they are.
            let all: Vec<&Past> = past.iter().chain((!known).then_some(&this)).collect();
            Some(changes(&Marks::of(&old.cases), &new.cases, &all))
        } else {
            None
        };
        let page_url = self.composer.links().compared(from.run.number, to.run.number);
        let facts = json!({
            "from": self.side(from), "to": self.side(to), "changes": changed, "page_url": page_url,
        });
        Ok(Reaction::says(Note::new("compared", facts)))
    }

    /// Of a run's facts those that tell how it ended.
    fn side(&self, view: &RunView) -> Value {
        let mut facts = self.composer.run_facts(view);
        let cause = facts["outcome"]["cause"].take();
        let mut side = json!({ "cause": cause });
        for name in ["run", "verdict", "counts", "board", "finished_at"] {
            side[name] = facts[name].take();
        }
        side
    }
}

/// A finished run as a side of a comparison.
fn ended_run(run: &Run) -> Found<Ended> {
    let spec = &run.spec;
    outcome(run).map(|outcome| Ended {
        number: run.number,
        family: spec.family.clone(),
        suite: spec.suite.clone(),
        verdict: outcome.verdict,
    })
}

fn outcome(run: &Run) -> Found<&Outcome> {
    match &run.state {
        RunState::Finished { outcome, .. } => Ok(outcome),
        RunState::Queued { .. } | RunState::Active { .. } => {
            let number = run.number;
            let reason = Phrase::new("not-finished", json!({ "number": number }));
            Err(refused(reason, format!("/lab run {number}")))
        }
    }
}

fn refused(reason: Phrase, next: impl Into<String>) -> Box<Reaction> {
    Box::new(Reaction::refused(reason, &[], next))
}

fn said(which: &Which) -> String {
    match which {
        Which::Run(number) => format!("#{number}"),
        Which::Build(build) => build.clone(),
    }
}
