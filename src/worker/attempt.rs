//! One attempt: performs a plan on a board and says how it ended. Everything that can go wrong comes back as an
//! [`Outcome`]; only a lost lease does not, because then there is nothing to tell.
//!
//! This file holds an attempt's state and the order of things: fence, boot, deploy, test, collect. `perform` does one
//! step, `carry` brings files over the console, `hardware` has the console and the outlet, `told` turns what happened into the outcome.

mod carry;
mod hardware;
mod perform;
mod told;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use super::bench::Bench;
use super::desk::{Begun, Word};
use super::news::News;
use super::results::Results;
use crate::artifact::Held;
use crate::board::plan::{Action, Plan, Step};
use crate::board::selector;
use crate::board::{Board, Inventory};
use crate::clock::Monotonic;
use crate::console::Session;
use crate::lease::Grip;
use crate::outcome::Outcome;
use crate::outcome::verdict::{Event, Happened};
use crate::run::{LeaseRef, RunState, Stage};
use crate::store::{Fenced, RunView};

/// How long a run waits before its thread is told that it got its board.
const WAITED_LONG: Duration = Duration::from_secs(60);

/// How an attempt ended.
pub(super) enum Ended {
    /// With an outcome to tell.
    Outcome(Box<Outcome>),
    /// Its lease is gone; nothing is told.
    Stale,
}

/// What stops an attempt before its plan is through.
pub(super) enum Halt {
    /// The lease is gone.
    Stale,
    /// Something happened that leads to a verdict.
    Happened(Box<What>),
}

/// What happened, with the last lines of the console.
pub(super) struct What {
    event: Event,
    tail: Vec<String>,
}

/// An attempt at work.
pub(super) struct Attempt {
    lab: Arc<Bench>,
    view: RunView,
    /// Where its board finds artifacts.
    served: String,
    number: u32,
    grip: Arc<Grip>,
    /// Of its boards, those that their last holder did not release.
    unfenced: Vec<Arc<Grip>>,
    /// The lab as it was when the attempt began: what is changed in boards.yaml meanwhile is for the next one.
    inventory: Arc<Inventory>,
    board: Option<Board>,
    plan: Arc<Plan>,
    /// Where the build's files are, as its CI told.
    registered: BTreeMap<String, String>,
    /// Those of them that are here as long as it goes on.
    held: Vec<Held>,
    stage: Stage,
    /// How long it may take, once its board is fenced, and when that is over.
    total: Duration,
    deadline: Monotonic,
    /// Until when a busy console is dialled, where that is longer than usual.
    busy_until: Option<Monotonic>,
    /// Why nobody is to have the board before a person has looked at it.
    unfit: Option<String>,
    session: Option<Session>,
    /// Whether taking the board over was the last that was done to it: its shell listens, and prompts no more.
    taken_over: bool,
    /// Whether a shell was had since the attempt, or the last switching of its power, began. Before that no command
    /// can have done anything to the board: whatever keeps a login away is its boot.
    has_booted: bool,
    results: Results,
    news: News,
    /// What the watch found that ended nothing, with its traces.
    watched: Vec<Event>,
    traces: Vec<String>,
    /// Whether the power cycle that somebody asked for was done, and if not, why.
    cycled: Option<Result<(), String>>,
    /// Whether a power cycle began that is not known to have ended: the board may be off.
    half_cycled: bool,
    /// Whether the board's relays were put to rest before its power was first switched.
    relays_stand: bool,
    /// Whether a power sequence was begun, and what one left behind that did not come to its end.
    has_moved_relays: bool,
    half_done: Option<String>,
}

impl Attempt {
    /// An attempt on the board of this grip; those that are `unfenced`, it or its partners, are fenced first.
    pub(super) fn new(
        lab: Arc<Bench>,
        begun: Begun,
        number: u32,
        grip: Arc<Grip>,
        unfenced: Vec<Arc<Grip>>,
    ) -> Self {
        let Begun { view, served } = begun;
        let spec = &view.run.spec;
        let board = &grip.lease().board;
        // The board may have left the lab file, or lost its plan, since it was granted.
        let can = |inventory: &Inventory| selector::plan_of(inventory, spec).is_some();
        let inventory = lab.inventory.newest_with(board, can);
        let board = inventory.board(board.as_str()).cloned();
        let plan = Arc::new(
            selector::plan_of(&inventory, spec).cloned().unwrap_or_else(|| Plan::empty(&spec.suite)),
        );
        let total = spec.timeout.unwrap_or(plan.limits.total);
        let deadline = lab.clock.monotonic() + total;
        let news = News::new(lab.clone(), view.clone(), number, grip.lease().clone());
        Attempt {
            number,
            grip,
            unfenced,
            inventory,
            board,
            plan,
            registered: BTreeMap::new(),
            held: Vec::new(),
            stage: Stage::Leased,
            total,
            deadline,
            busy_until: None,
            unfit: None,
            session: None,
            taken_over: false,
            has_booted: false,
            results: Results::default(),
            news,
            watched: Vec::new(),
            traces: Vec::new(),
            cycled: None,
            half_cycled: false,
            relays_stand: false,
            has_moved_relays: false,
            half_done: None,
            view,
            served,
            lab,
        }
    }

    /// The run when the attempt began.
    pub(super) fn view(&self) -> &RunView {
        &self.view
    }

    /// Whether the board is as it was granted: nothing is done to one before a later stage is told to the store.
    pub(super) fn is_untouched(&self) -> bool {
        self.stage == Stage::Leased && self.session.is_none()
    }

    /// The lease of the board that its plan drives.
    pub(super) fn lease(&self) -> &LeaseRef {
        self.grip.lease()
    }

    /// What it performs.
    pub(super) fn plan(&self) -> Arc<Plan> {
        self.plan.clone()
    }

    /// The lab that it goes by.
    pub(super) fn inventory(&self) -> Arc<Inventory> {
        self.inventory.clone()
    }

    /// From 1.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// The board, while the lab file has it.
    pub(super) fn board(&self) -> Option<&Board> {
        self.board.as_ref()
    }

    /// Performs the plan.
    pub(super) async fn perform(&mut self) -> Ended {
        let span = tracing::info_span!("session", attempt = self.number);
        let halted = Box::pin(self.with_its_files().instrument(span)).await.err();
        match halted {
            Some(Halt::Stale) => Ended::Stale,
            Some(Halt::Happened(what)) => Ended::Outcome(Box::new(self.outcome(Some(*what)))),
            None => Ended::Outcome(Box::new(self.outcome(None))),
        }
    }

    /// What a CI told of is here before anything is done to the board, and takes none of the plan's time: how slow a CI is
    /// says nothing about a build.
    async fn with_its_files(&mut self) -> Result<(), Halt> {
        if self.board.is_some() {
            self.find_build().await?;
        }
        self.fence().await?;
        self.in_time().await
    }

    /// The plan, within its limits; what the last holder of the board left behind took nothing of them.
    async fn in_time(&mut self) -> Result<(), Halt> {
        let clock = self.lab.clock.clone();
        let until = clock.monotonic() + self.total;
        self.limit(Some(self.plan.limits.no_output), until);
        match clock.deadline(until, Box::pin(self.steps())).await {
            Ok(done) => done,
            Err(_) => Err(self.halt(Happened::TotalTimeout, "the attempt used up its time")),
        }
    }

    async fn steps(&mut self) -> Result<(), Halt> {
        if self.board.is_none() || self.plan.test.is_empty() && self.plan.boot.is_empty() {
            return Err(self.halt(Happened::HostStepFailed, "boards.yaml has no such board or plan any more"));
        }
        self.look_for_builds().await?;
        let plan = self.plan.clone();
        for step in &plan.boot {
            self.advance(if matches!(step.action, Action::Power(_)) {
                Stage::Powering
            } else {
                Stage::Booting
            })
            .await?;
            self.step(step).await?;
        }
        for step in &plan.deploy {
            self.advance(Stage::Deploying).await?;
            self.step(step).await?;
        }
        for step in &plan.test {
            self.advance(Stage::Testing).await?;
            if !self.test(step).await? {
                break;
            }
        }
        self.news.over();
        for step in &plan.collect {
            self.advance(Stage::Collecting).await?;
            if let Err(halt) = self.step(step).await
                && !self.without(step, halt).await?
            {
                break;
            }
        }
        Ok(())
    }

    /// Goes on without the evidence of a step: what cannot be had changes no verdict, since the tests are through. A
    /// kernel that dies meanwhile does, and so does time that is used up. Gives whether a shell listens for the next.
    async fn without(&mut self, step: &Step, halt: Halt) -> Result<bool, Halt> {
        let Halt::Happened(what) = halt else { return Err(halt) };
        let goes_on = match what.event.happened {
            Happened::TotalTimeout => return Err(Halt::Happened(what)),
            // What a step shows may be the trace of an old death. A kernel whose shell answers has not died.
            Happened::WatchFatal { .. } => match self.end_command().await {
                None => true,
                Some(_) => return Err(Halt::Happened(what)),
            },
            _ => self.has_shell(),
        };
        let problem = &*self.lab.redactor.redact(&what.event.detail);
        tracing::warn!(step = step.name, problem, "evidence is missing");
        Ok(goes_on)
    }

    /// Tells the store that a later stage is reached.
    async fn advance(&mut self, stage: Stage) -> Result<(), Halt> {
        if stage <= self.stage {
            return Ok(());
        }
        self.note_hits();
        let first = self.stage == Stage::Leased;
        self.stage = stage;
        let waited = match &self.view.run.state {
            RunState::Active { started_at, .. } => started_at.since(self.view.run.created_at),
            RunState::Queued { .. } | RunState::Finished { .. } => Duration::ZERO,
        };
        let word = match stage {
            _ if first && waited >= WAITED_LONG => Some(Word::HasItsBoard),
            Stage::Testing if self.plan.boot.len() > 1 => Some(Word::Testing),
            _ => None,
        };
        let (lab, lease, view) = (&self.lab, self.grip.lease(), &self.view);
        match lab.persist(|| lab.desk.advance(lease, view, stage, word)).await {
            Ok(Fenced::Done) => {
                self.lab.doorbell.ring(crate::doorbell::Bell::Relay);
                Ok(())
            }
            Ok(Fenced::Stale) => Err(Halt::Stale),
            Err(error) => Err(self.not_kept(&error)),
        }
    }

    fn on_board(&self) -> Result<&Board, Halt> {
        let gone = || self.halt(Happened::HostStepFailed, "the board is not in boards.yaml any more");
        self.board.as_ref().ok_or_else(gone)
    }
}
