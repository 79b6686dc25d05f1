//! Composes messages: gathers the facts that templates say, and fills the templates. The facts are plain JSON and
//! may hold hostile text; nothing here escapes, templates and renderers do.

mod batch;
mod campaign;
mod document;
mod hold;

use std::sync::Arc;

pub use self::campaign::{campaign_facts, campaign_targets};
pub use self::hold::hold_facts;
use serde_json::{Value, json};

use super::links::Links;
use super::names::{Names, put_linked};
use super::readers::Readers;
use super::template::samples::{self, NoSample};
use super::template::{Catalogue, DEFAULT_LOCALE};
use super::{Card, Note};
use crate::board::volume::Verbosity;
use crate::board::{BoardId, LiveInventory};
use crate::chat::{Actor, Place, Platform};
use crate::clock::{Clock, Timestamp};
use crate::outcome::trace;
use crate::outcome::verdict::cause;
use crate::outcome::{CaseStatus, Counts, Measurement, Outcome, TestCase, Verdict};
use crate::run::transition::{POWER_CYCLE_FAILED, POWER_CYCLED};
use crate::run::{Attempt, Run, RunState, Stage};
use crate::store::RunView;

/// Most failed test cases that a message names.
pub const FAILED_CASES_SHOWN: usize = 5;

/// Most measurements that a message tells.
pub const MEASURED_SHOWN: usize = 10;
/// How many of the slowest test cases a message names, and how long one must take to be named.
pub const SLOWEST_SHOWN: usize = 5;
/// See [`SLOWEST_SHOWN`].
pub const SLOWEST_TOOK_US_MIN: u64 = 1_000_000;

/// Why a run waits, as facts for a template; asked when a card or an answer is rendered.
pub trait WhyWaiting: Send + Sync {
    /// `null` when the run does not wait.
    fn why_waiting(&self, run: &Run) -> Value;
}

/// Fills templates.
pub struct Composer {
    catalogue: Catalogue,
    links: Links,
    clock: Clock,
    inventory: LiveInventory,
    why: Arc<dyn WhyWaiting>,
    names: Names,
    readers: Readers,
}

impl Composer {
    /// A composer over these templates.
    pub fn new(
        catalogue: Catalogue,
        links: Links,
        clock: Clock,
        inventory: LiveInventory,
        why: Arc<dyn WhyWaiting>,
    ) -> Self {
        let (names, readers) = (Names::default(), Readers::default());
        Composer { catalogue, links, clock, inventory, why, names, readers }
    }

    /// Where people find things.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// What people are called who cannot be mentioned.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Which languages people read.
    pub fn readers(&self) -> &Readers {
        &self.readers
    }

    /// A note as a card for that place, in the language that is spoken there.
    pub fn note(&self, note: &Note, place: &Place) -> Card {
        let lab = self.inventory.now();
        let language = lab.channels.language(place.platform.as_str(), &place.channel);
        self.note_in(note, place, language.unwrap_or(DEFAULT_LOCALE))
    }

    /// The same for one person there, who alone reads it: in their language, where that is known.
    pub fn note_to(&self, note: &Note, place: &Place, reader: &str) -> Card {
        match self.readers.language(place.platform, reader) {
            Some(language) => self.note_in(note, place, language),
            None => self.note(note, place),
        }
    }

    /// A note as a card for a page, in the language of whoever reads it.
    pub fn page_note(&self, note: &Note, language: &str) -> Card {
        self.note_in(note, &Place::nowhere(), language)
    }

    /// The same in a language.
    pub fn note_in(&self, note: &Note, place: &Place, language: &str) -> Card {
        let lab = self.inventory.now();
        let mut card = self.catalogue.render(language, note);
        put_linked(&mut card, place.platform, &lab.people);
        self.names.fill(&mut card, place.platform);
        card
    }

    /// A message with sample facts, as it looks on this server in that language.
    pub fn sample(&self, message: &str, state: Option<&str>, locale: &str) -> Result<Card, NoSample> {
        let note = Note::new(message, samples::sample(message, state)?);
        Ok(self.catalogue.render(locale, &note))
    }

    /// How much of runs a channel is told.
    pub fn verbosity(&self, place: &Place) -> Verbosity {
        self.inventory.now().channels.verbosity(place.platform.as_str(), &place.channel)
    }

    /// Until when a channel hears nothing by itself; `None` where it does.
    pub fn quiet_until(&self, place: &Place, now: Timestamp) -> Option<Timestamp> {
        self.inventory.now().channels.quiet_until(place.platform.as_str(), &place.channel, now)
    }

    /// Somebody as this platform knows them, where it does.
    pub fn on_platform(&self, actor: &Actor, platform: Platform) -> Option<Actor> {
        let linked = || self.inventory.now().people.on(actor, platform);
        Some(actor.clone()).filter(|actor| actor.platform == platform).or_else(linked)
    }

    /// A phrase, or a text, in plain words for that place, in the language that is spoken there.
    pub fn words(&self, said: &Value, place: &Place) -> String {
        let lab = self.inventory.now();
        let language = lab.channels.language(place.platform.as_str(), &place.channel);
        self.catalogue.phrase(language.unwrap_or(DEFAULT_LOCALE), said)
    }

    /// The same for one person there, who alone reads it.
    pub fn words_to(&self, said: &Value, place: &Place, reader: &str) -> String {
        match self.readers.language(place.platform, reader) {
            Some(language) => self.catalogue.phrase(language, said),
            None => self.words(said, place),
        }
    }

    /// A phrase, or a text, in plain words for a program: those are English everywhere.
    pub fn for_program(&self, said: &Value) -> String {
        self.catalogue.phrase(DEFAULT_LOCALE, said)
    }

    /// A run's card in its newest state.
    pub fn run_card(&self, view: &RunView, place: &Place) -> Card {
        self.note(&Note::new("run-card", self.run_facts(view)), place)
    }

    /// Everything a message about a run may say.
    pub fn run_facts(&self, view: &RunView) -> Value {
        let now = self.clock.now();
        let run = &view.run;
        let (attempt, board, started_at, finished_at) = match &run.state {
            RunState::Queued { attempt, .. } => (*attempt, None, None, None),
            RunState::Active { attempt, lease, started_at, .. } => {
                (*attempt, Some(lease.board.as_str()), Some(*started_at), None)
            }
            RunState::Finished { attempt, at, .. } => {
                let last = view.attempts.iter().rfind(|a| a.number == *attempt);
                (*attempt, last.map(|a| a.board.as_str()), last.map(|a| a.started_at), Some(*at))
            }
        };
        let outcome = match &run.state {
            RunState::Finished { outcome, .. } => Some(outcome),
            RunState::Queued { .. } | RunState::Active { .. } => None,
        };
        let driven = view.attempts.iter().rfind(|a| a.number == attempt && Some(a.board.as_str()) == board);
        let boards = driven.map(boards_of);
        let log_attempt = view.attempts.last().map(|a| a.number);
        let lab = self.inventory.now();
        let has_switch = board.and_then(|id| lab.board(id)).map(|board| board.power.has_switch());
        json!({
            "run": named(run),
            "state": run.state.word(),
            "verdict": outcome.map(|o| o.verdict.as_str()),
            "outcome": outcome.map(outcome_facts),
            "seen": view.seen,
            "comparison": view.comparison,
            "attempt": attempt,
            "attempts": view.attempts.iter().map(|attempt| self.attempt_facts(run.number, attempt)).collect::<Vec<_>>(),
            "board": board,
            "boards": boards,
            "no_switch": has_switch == Some(false),
            "counts": counts_facts(outcome.map_or(view.progress.counts, |o| o.counts)),
            "carrying": view.progress.carrying.as_ref().filter(|_| outcome.is_none()),
            "phases": phases(&run.state),
            "why": self.why.why_waiting(run),
            "request": run.request,
            "keep": view.keep.as_ref().map(|keep| json!({ "by": keep.by, "lasts_s": keep.lasts.as_secs_f64() })),
            "own": view.is_own,
            "retried_as": view.retried_as.iter().map(|(number, by)| json!({"number": number, "by": by})).collect::<Vec<_>>(),
            "created_at": run.created_at,
            "started_at": started_at,
            "finished_at": finished_at,
            "waited_s": started_at.unwrap_or(finished_at.unwrap_or(now)).since(run.created_at).as_secs_f64(),
            "took_s": started_at.map(|at| finished_at.unwrap_or(now).since(at).as_secs_f64()),
            "log_url": log_attempt.map(|n| self.links.log(run.number, n)),
            "generation": view.generation,
            "can": {
                "retry": outcome.is_some(),
                "retry_elsewhere": outcome.is_some_and(|o| !matches!(o.verdict, Verdict::Passed | Verdict::Cancelled))
                    && (run.spec.selector.board.is_none() || run.spec.on_own_board),
                "cancel": outcome.is_none() && run.request.is_none(),
                "power_cycle": has_switch == Some(true)
                    && outcome.map_or(run.request.is_none(), |o| o.verdict != Verdict::Passed),
                "why": matches!(run.state, RunState::Queued { .. }),
                "hold": may_hold(run, outcome, view),
                "log": outcome.is_some() && log_attempt.is_some(),
            },
        })
    }

    fn attempt_facts(&self, run: i64, attempt: &Attempt) -> Value {
        let outcome = attempt.outcome.as_ref();
        json!({
            "number": attempt.number,
            "board": attempt.board,
            "boards": boards_of(attempt),
            "verdict": outcome.map(|o| o.verdict.as_str()),
            "cause": outcome.map(|o| o.cause.as_str()),
            "detail": outcome.map(|o| o.detail.as_str()),
            "log_url": self.links.log(run, attempt.number),
        })
    }

    /// What is said of the console log of an attempt.
    pub fn log_facts(&self, view: &RunView, attempt: &Attempt) -> Value {
        self.log_facts_of(&view.run, attempt.number, &attempt.board)
    }

    /// The same of an attempt that has not ended yet, on this board.
    pub fn log_facts_of(&self, run: &Run, attempt: u32, board: &BoardId) -> Value {
        json!({
            "run": named(run),
            "attempt": attempt,
            "board": board,
            "log_url": self.links.log(run.number, attempt),
        })
    }

    /// What the reply that tells an outcome says.
    pub fn outcome_note(&self, template: &str, view: &RunView, attempt: u32, outcome: &Outcome) -> Note {
        let mut facts = self.run_facts(view);
        facts["outcome"] = outcome_facts(outcome);
        facts["verdict"] = json!(outcome.verdict.as_str());
        facts["counts"] = counts_facts(outcome.counts);
        facts["log_url"] = json!(self.links.log(view.run.number, attempt));
        Note::new(template, facts)
    }
}

/// Whether Hold is offered: beforehand by whoever has not asked for it yet, afterwards where a failure is to be seen.
fn may_hold(run: &Run, outcome: Option<&Outcome>, view: &RunView) -> bool {
    let shows = |outcome: &Outcome| {
        matches!(outcome.verdict, Verdict::Failed | Verdict::TimedOut | Verdict::Infra)
            && ![POWER_CYCLED, POWER_CYCLE_FAILED].contains(&outcome.cause.as_str())
            && !view.attempts.is_empty()
    };
    let on_board = matches!(run.state, RunState::Active { .. }) && !view.is_own && run.request.is_none();
    view.keep.is_none() && run.spec.kind.is_test() && outcome.map_or(on_board, shows)
}

/// What was asked for, and by whom.
fn named(run: &Run) -> Value {
    json!({
        "number": run.number,
        "family": run.spec.family,
        "build": run.spec.build,
        "suite": run.spec.suite,
        "priority": run.spec.priority.as_str(),
        "selector": run.spec.selector,
        "params": run.spec.params,
        "by": run.requested_by,
        "retry_of": run.retry_of,
        "batch": run.batch,
    })
}

/// An outcome's facts.
pub fn outcome_facts(outcome: &Outcome) -> Value {
    let failed: Vec<&str> =
        outcome.cases.iter().filter(|c| c.status == CaseStatus::Failed).map(|c| c.name.as_str()).collect();
    json!({
        "verdict": outcome.verdict.as_str(),
        "cause": outcome.cause,
        "stage": outcome.stage.as_str(),
        "detail": outcome.detail,
        "excerpt": outcome.excerpt.join("\n"),
        "traced": trace::leads(&outcome.excerpt, &outcome.detail),
        "failed_cases": failed.iter().take(FAILED_CASES_SHOWN).collect::<Vec<_>>(),
        "failed_cases_more": failed.len().saturating_sub(FAILED_CASES_SHOWN),
        "measured": measured(outcome).take(MEASURED_SHOWN).collect::<Vec<_>>(),
        "measured_more": measured(outcome).skip(MEASURED_SHOWN).count(),
        "slowest": slowest(outcome),
    })
}

/// What its cases measured, in their order.
fn measured(outcome: &Outcome) -> impl Iterator<Item = Value> {
    let told = |case: &TestCase| {
        let Measurement { value, unit } = case.measurement.as_ref()?;
        Some(json!({"name": case.name, "value": value, "unit": unit}))
    };
    outcome.cases.iter().filter_map(told)
}

/// The cases that took longest, the slowest first. A case alone is as slow as its run.
fn slowest(outcome: &Outcome) -> Vec<Value> {
    if outcome.cases.len() < 2 {
        return vec![];
    }
    let took = |case: &TestCase| case.took_us.filter(|took| *took >= SLOWEST_TOOK_US_MIN);
    let mut cases: Vec<_> = outcome.cases.iter().filter_map(|case| Some((took(case)?, &case.name))).collect();
    cases.sort_by_key(|(took, _)| std::cmp::Reverse(*took));
    cases.truncate(SLOWEST_SHOWN);
    cases.iter().map(|(took, name)| json!({"name": name, "took_s": *took as f64 / 1e6})).collect()
}

fn counts_facts(counts: Counts) -> Value {
    json!({
        "passed": counts.passed,
        "failed": counts.failed,
        "skipped": counts.skipped,
        "total": counts.total(),
    })
}

/// Every board of an attempt, the one that its plan drives first.
fn boards_of(attempt: &Attempt) -> Vec<&str> {
    std::iter::once(&attempt.board).chain(&attempt.others).map(|board| board.as_str()).collect()
}

/// The phases a card shows: name, and `done`, `now`, `failed` or `todo`.
fn phases(state: &RunState) -> Vec<Value> {
    const SHOWN: [(Stage, &str); 5] = [
        (Stage::Powering, "power"),
        (Stage::Booting, "boot"),
        (Stage::Deploying, "deploy"),
        (Stage::Testing, "test"),
        (Stage::Collecting, "collect"),
    ];
    let mark = |stage: Stage| match state {
        RunState::Queued { .. } => "todo",
        RunState::Active { stage: now, .. } if stage < *now => "done",
        RunState::Active { stage: now, .. } if stage == *now => "now",
        RunState::Active { .. } => "todo",
        RunState::Finished { outcome, .. } if outcome.verdict == Verdict::Passed => "done",
        // Tests that fail do not end the stage; what stopped an attempt stands at its own stage.
        RunState::Finished { outcome, .. } if stage < outcome.stage => "done",
        RunState::Finished { outcome, .. } if stage == outcome.stage => "failed",
        // Evidence is collected after failed tests too.
        RunState::Finished { outcome, .. } if outcome.cause == cause::TESTS_FAILED => "done",
        RunState::Finished { .. } => "todo",
    };
    SHOWN.iter().map(|(stage, name)| json!({"name": name, "mark": mark(*stage)})).collect()
}

#[cfg(test)]
mod tests;
