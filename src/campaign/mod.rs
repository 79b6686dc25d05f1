//! Campaigns: many runs of one build, let into the queue a few at a time and in waves, each of which must pass a gate
//! before the next begins. Pure: what a campaign is, and what follows from how its runs are; who may is `policy`'s.
//!
//! A campaign is made of targets (boards, or families), each with its runs; waves count targets. Everything that can
//! happen to one is decided by [`Campaign::next`] and [`Campaign::asked`]; the store writes it, guarded by the version
//! that was read.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::board::Family;
use crate::chat::Place;
use crate::outcome::Verdict;
use crate::run::RunSpec;

/// Most runs of a campaign.
pub const RUNS_MAX: usize = 2_000;
/// Most campaigns that are not over.
pub const LIVE_MAX: usize = 50;
/// Most runs of one that wait or run at once, where the file does not say.
pub const AT_ONCE: u32 = 4;
/// The same, at most.
pub const AT_ONCE_MAX: u32 = 64;

/// A campaign of the lab file.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// The targets.
    pub targets: Targets,
    /// Only boards of these revisions, each a target of its own; empty for any.
    pub revisions: Vec<String>,
    /// The suites; empty for the family's own.
    pub suites: Vec<String>,
    /// How often each.
    pub repeats: u32,
    /// The terms.
    pub terms: Terms,
    /// What puts a board back: a build and a suite of its family.
    pub rollback: Option<Rollback>,
    /// Where it is told; `None` where it is asked for.
    pub channel: Option<String>,
}

/// What a campaign is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Targets {
    /// These families, each a target: any board of it.
    Families(Vec<String>),
    /// Every board of these families.
    BoardsOf(Vec<String>),
    /// These boards.
    Boards(Vec<String>),
}

/// What puts a board back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollback {
    /// The build.
    pub build: String,
    /// The suite.
    pub suite: String,
}

/// The terms of a campaign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The waves in order; the last is always everything.
    pub waves: Vec<Wave>,
    /// How many of a hundred runs of a wave must pass before the next one begins.
    pub gate: u32,
    /// Most runs that wait or run at once.
    pub at_once: u32,
    /// It stops once more than so many of a hundred failed, and at least so many have ended.
    pub stop: Option<Stop>,
}

impl Default for Terms {
    fn default() -> Self {
        Terms { waves: vec![], gate: 100, at_once: AT_ONCE, stop: None }
    }
}

/// When a campaign stops within a wave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// More than so many of a hundred failed.
    pub failed: u32,
    /// After at least so many.
    pub after: u32,
}

/// How far a wave goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wave {
    /// So many targets.
    Targets(u32),
    /// So many of a hundred, rounded up.
    Percent(u32),
}

/// A campaign.
#[derive(Debug, Clone, PartialEq)]
pub struct Campaign {
    /// Its number, for people.
    pub number: i64,
    /// Rises with each change.
    pub version: i64,
    /// What it does; fixed when it is accepted.
    pub plan: Arc<Plan>,
    /// The wave it is in, from 0.
    pub wave: usize,
    /// Where it is in its life.
    pub state: State,
    /// The version with which it came into that state.
    pub since: i64,
    /// The wave in which somebody let it go on although too many failed.
    pub forgiven: Option<usize>,
}

/// What a campaign does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Its name in the lab file.
    pub name: String,
    /// The build.
    pub build: String,
    /// The targets, by name.
    pub targets: Vec<String>,
    /// Its runs, target by target.
    pub runs: Vec<Planned>,
    /// What puts each target back; none where it cannot.
    pub rollback: Vec<Planned>,
    /// The terms.
    pub terms: Terms,
    /// Where its card stands; nowhere where a program asked for it and no channel is named.
    #[serde(default)]
    pub cards: Vec<Place>,
}

impl Plan {
    /// Whether it runs on boards that it names: a second one of the same name would undo what this one does.
    pub fn is_on_boards(&self) -> bool {
        self.runs.iter().any(|planned| planned.spec.selector.board.is_some())
    }

    /// The families that it runs on.
    pub fn families(&self) -> BTreeSet<&Family> {
        self.runs.iter().chain(&self.rollback).map(|planned| &planned.spec.family).collect()
    }
}

/// A run that a campaign will ask for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Its target, by its place.
    pub target: usize,
    /// What is asked for.
    pub spec: RunSpec,
}

/// Where a campaign is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It starts its runs.
    Running,
    /// Somebody paused it.
    Paused,
    /// Too few runs of its wave passed.
    GateFailed,
    /// Too many runs failed.
    TooManyFailed,
    /// It puts back what it reached.
    RollingBack,
    /// Not everything that it reached could be put back.
    RollbackFailed,
    /// Everything ran.
    Completed,
    /// Somebody ended it.
    Cancelled,
    /// What it reached was put back.
    RolledBack,
}

impl State {
    /// The word in tables and facts.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Paused => "paused",
            State::GateFailed => "gate-failed",
            State::TooManyFailed => "too-many-failed",
            State::RollingBack => "rolling-back",
            State::RollbackFailed => "rollback-failed",
            State::Completed => "completed",
            State::Cancelled => "cancelled",
            State::RolledBack => "rolled-back",
        }
    }

    /// The state of that word.
    pub fn from_word(word: &str) -> Option<State> {
        use State as S;
        let live = [S::Running, S::Paused, S::GateFailed, S::TooManyFailed, S::RollingBack];
        let more = [S::RollbackFailed, S::Completed, S::Cancelled, S::RolledBack];
        live.into_iter().chain(more).find(|s| s.as_str() == word)
    }

    /// Whether nothing follows.
    pub fn is_over(self) -> bool {
        matches!(self, State::Completed | State::Cancelled | State::RolledBack)
    }
}

/// Which of a campaign's lists a run is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// [`Plan::runs`].
    Forward,
    /// [`Plan::rollback`].
    Back,
}

impl Phase {
    /// The word in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Forward => "forward",
            Phase::Back => "back",
        }
    }

    /// The phase of that word.
    pub fn from_word(word: &str) -> Option<Phase> {
        [Phase::Forward, Phase::Back].into_iter().find(|phase| phase.as_str() == word)
    }
}

/// A run that a campaign started, as the last run that repeats it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Of which list.
    pub phase: Phase,
    /// Its place there.
    pub place: usize,
    /// The run that was started.
    pub run: i64,
    /// The last one that repeats it; itself where none does.
    pub last: i64,
    /// How that ended; `None` while it has not.
    pub verdict: Option<Verdict>,
    /// Why, in one word.
    pub cause: String,
    /// Whether it, or a run that repeats it, ever had a board.
    pub touched: bool,
    /// Whether the last one waits for a board.
    pub waits: bool,
    /// Whether the board that it waits for takes nothing new: meanwhile others have its place.
    pub kept_out: bool,
}

/// How the runs of a wave, or of all waves so far, are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// How many there are to be.
    pub planned: usize,
    /// How many were started.
    pub started: usize,
    /// How many of those have ended.
    pub ended: usize,
    /// How many of those passed.
    pub passed: usize,
}

impl Tally {
    /// How many of a hundred that ended passed, rounded down: 99.9 is not all.
    pub fn rate(self) -> u32 {
        u32::try_from((self.passed * 100).checked_div(self.ended).unwrap_or(100)).unwrap_or(100)
    }
}

/// What follows now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing, before something changes.
    Wait,
    /// These runs are started, by their places.
    Start(Phase, Vec<usize>),
    /// The wave has passed its gate: the next one begins.
    Wave(usize),
    /// It is in another state.
    Become(State),
}

/// What somebody asks of a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Asked {
    /// Start nothing more for now.
    Pause,
    /// Go on.
    Resume,
    /// Go on although too few passed.
    Continue,
    /// Put back what was reached.
    Rollback,
    /// End it, and what it started.
    Cancel,
}

impl Asked {
    /// The word that is typed.
    pub fn as_str(self) -> &'static str {
        match self {
            Asked::Pause => "pause",
            Asked::Resume => "resume",
            Asked::Continue => "continue",
            Asked::Rollback => "rollback",
            Asked::Cancel => "cancel",
        }
    }

    /// Every one.
    pub const ALL: [Asked; 5] =
        [Asked::Pause, Asked::Resume, Asked::Continue, Asked::Rollback, Asked::Cancel];

    /// Whether what was started and has not ended is ended with it.
    pub fn ends_runs(self) -> bool {
        matches!(self, Asked::Rollback | Asked::Cancel)
    }
}

impl Campaign {
    /// How many targets a wave has reached at its end.
    pub fn targets_of(&self, wave: usize) -> usize {
        let all = self.plan.targets.len();
        match self.plan.terms.waves.get(wave) {
            None => all,
            Some(_) if wave + 1 >= self.plan.terms.waves.len() => all,
            Some(Wave::Targets(count)) => (*count as usize).clamp(1, all.max(1)),
            Some(Wave::Percent(percent)) => (all * *percent as usize).div_ceil(100).clamp(1, all.max(1)),
        }
    }

    /// What was planned of a run.
    pub fn planned(&self, child: &Child) -> Option<&Planned> {
        match child.phase {
            Phase::Forward => self.plan.runs.get(child.place),
            Phase::Back => self.plan.rollback.get(child.place),
        }
    }

    /// How many waves it has.
    pub fn waves(&self) -> usize {
        self.plan.terms.waves.len().max(1)
    }

    /// How the runs of the waves up to this one are.
    pub fn tally(&self, children: &[Child], wave: usize) -> Tally {
        self.tally_of(children, 0..self.targets_of(wave))
    }

    /// The same of these targets.
    fn tally_of(&self, children: &[Child], targets: Range<usize>) -> Tally {
        let within = |planned: &&Planned| targets.contains(&planned.target);
        let of = |child: &&Child| {
            child.phase == Phase::Forward
                && self.plan.runs.get(child.place).is_some_and(|planned| targets.contains(&planned.target))
        };
        let children = || children.iter().filter(of);
        Tally {
            planned: self.plan.runs.iter().filter(within).count(),
            started: children().count(),
            ended: children().filter(|child| child.verdict.is_some()).count(),
            passed: children().filter(|child| child.verdict == Some(Verdict::Passed)).count(),
        }
    }

    /// Where it is, in one word for people and programs: that everything ran does not say that it passed, and a retry may
    /// still make up for what did not.
    pub fn word(&self, children: &[Child]) -> &'static str {
        let all = self.tally(children, self.waves().saturating_sub(1));
        match self.state {
            State::Completed if all.passed < all.ended => "completed-with-failures",
            state => state.as_str(),
        }
    }

    /// What follows from how its runs are.
    pub fn next(&self, children: &[Child]) -> Next {
        match self.state {
            State::Running => self.next_forward(children),
            State::RollingBack | State::RollbackFailed => self.next_back(children),
            _ => Next::Wait,
        }
    }

    fn next_forward(&self, children: &[Child]) -> Next {
        let tally = self.tally(children, self.wave);
        if let Some(stop) = self.plan.terms.stop.filter(|_| !self.is_forgiven()) {
            let before = self.wave.checked_sub(1).map_or(0, |before| self.targets_of(before));
            let own = self.tally_of(children, before..self.targets_of(self.wave));
            let failed = own.ended - own.passed;
            let enough = own.ended >= stop.after.max(1) as usize;
            if enough && failed * 100 > stop.failed as usize * own.ended {
                return Next::Become(State::TooManyFailed);
            }
        }
        if tally.ended == tally.planned {
            return match self.wave + 1 < self.waves() {
                false => Next::Become(State::Completed),
                true if self.is_forgiven() || self.gated(children).rate() >= self.plan.terms.gate => {
                    Next::Wave(self.wave + 1)
                }
                true => Next::Become(State::GateFailed),
            };
        }
        let targets = self.targets_of(self.wave);
        let wanted = self.plan.runs.iter().enumerate().filter(|(_, planned)| planned.target < targets);
        self.start(Phase::Forward, wanted.map(|(place, _)| place), children)
    }

    /// What the gate looks at: all so far, but for what somebody forgave.
    fn gated(&self, children: &[Child]) -> Tally {
        let forgiven = self.forgiven.map_or(0, |wave| self.targets_of(wave));
        self.tally_of(children, forgiven..self.targets_of(self.wave))
    }

    fn next_back(&self, children: &[Child]) -> Next {
        let reached: HashSet<usize> = children
            .iter()
            .filter(|child| child.phase == Phase::Forward && child.touched)
            .filter_map(|child| self.plan.runs.get(child.place).map(|planned| planned.target))
            .collect();
        let wanted = self.plan.rollback.iter().enumerate();
        let wanted: Vec<usize> =
            wanted.filter(|(_, planned)| reached.contains(&planned.target)).map(|(place, _)| place).collect();
        let back = children.iter().filter(|child| child.phase == Phase::Back);
        let ended: Vec<Verdict> = back.filter_map(|child| child.verdict).collect();
        if ended.len() >= wanted.len() {
            let state = match ended.iter().all(|verdict| *verdict == Verdict::Passed) {
                true => State::RolledBack,
                false => State::RollbackFailed,
            };
            return if state == self.state { Next::Wait } else { Next::Become(state) };
        }
        self.start(Phase::Back, wanted.into_iter(), children)
    }

    /// As many of those that were not started as there is room for. Those that are kept out leave their places to others,
    /// who are as many at most: once their boards are back they all run, before anything is known of the build.
    fn start(&self, phase: Phase, wanted: impl Iterator<Item = usize>, children: &[Child]) -> Next {
        let at_once = self.plan.terms.at_once as usize;
        let open = children.iter().filter(|child| child.verdict.is_none());
        let (kept_out, open) = open.partition::<Vec<_>, _>(|child| child.kept_out);
        let room =
            at_once.saturating_sub(open.len()).min((2 * at_once).saturating_sub(open.len() + kept_out.len()));
        let started: HashSet<usize> = children.iter().filter(|c| c.phase == phase).map(|c| c.place).collect();
        let places: Vec<usize> = wanted.filter(|place| !started.contains(place)).take(room).collect();
        if places.is_empty() { Next::Wait } else { Next::Start(phase, places) }
    }

    /// What it becomes when somebody asks for something; `None` where that is not possible now.
    pub fn asked(&self, asked: Asked) -> Option<Campaign> {
        let halted = matches!(self.state, State::GateFailed | State::TooManyFailed);
        let state = match asked {
            Asked::Pause if self.state == State::Running => State::Paused,
            Asked::Resume if self.state == State::Paused => State::Running,
            Asked::Continue if halted => State::Running,
            Asked::Rollback if self.may_roll_back() => State::RollingBack,
            Asked::Cancel if !self.state.is_over() => State::Cancelled,
            _ => return None,
        };
        let forgiven = if asked == Asked::Continue { Some(self.wave) } else { self.forgiven };
        Some(Campaign { forgiven, ..self.moved_to(state) })
    }

    /// The next version of it, in this state.
    pub fn moved_to(&self, state: State) -> Campaign {
        let version = self.version + 1;
        let since = if state == self.state { self.since } else { version };
        Campaign { state, version, since, ..self.clone() }
    }

    /// Whether somebody let this wave go on whatever fails in it.
    fn is_forgiven(&self) -> bool {
        self.forgiven == Some(self.wave)
    }

    /// Whether it can be put back now.
    pub fn may_roll_back(&self) -> bool {
        let forward = matches!(
            self.state,
            State::Running | State::Paused | State::GateFailed | State::TooManyFailed | State::Completed
        );
        forward && !self.plan.rollback.is_empty()
    }
}
