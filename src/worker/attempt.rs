//! One attempt: performs a plan on a board and says how it ended. Everything that can go wrong comes back as an
//! [`Outcome`]; only a lost lease does not, because then there is nothing to tell.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use super::news::News;
use super::results::{Results, Tail};
use super::runner::{Lab, Order};
use crate::board::plan::{Action, Plan, PowerAction, Step};
use crate::board::quoting::CommandTemplate;
use crate::board::selector;
use crate::board::{Board, Inventory};
use crate::clock::Monotonic;
use crate::console::{
    self, ConsoleError, ConsoleTarget, Limits, Pattern, Session, ShellResult, Transcript, WatchList, printk,
};
use crate::door::transcript_dir;
use crate::lease::{Grip, InHand};
use crate::message::Note;
use crate::outcome::excerpt::excerpt;
use crate::outcome::verdict::{Event, Evidence, Happened, weigh};
use crate::outcome::{Outcome, Verdict};
use crate::power::PowerError;
use crate::run::transition::WORKER_LOST;
use crate::run::{Request, RunState, Stage};
use crate::store::{Fenced, RunView, StoreError};

/// Most received bytes that a transcript keeps.
const TRANSCRIPT_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// How long a run waits before its thread is told that it got its board.
const WAITED_LONG: Duration = Duration::from_secs(60);
/// How long the console is read along at a time while an outlet is switched.
const READ_ALONG: Duration = Duration::from_secs(1);
/// How often a busy console is dialled before it counts as somebody else's, and the pause between.
const DIALS_MAX: u32 = 5;
const DIAL_PAUSE: Duration = Duration::from_secs(2);

/// Most findings of the watch that an attempt keeps; the first say the most.
const WATCHED_MAX: usize = 16;

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
    lab: Arc<Lab>,
    view: RunView,
    number: u32,
    grip: Arc<Grip>,
    needs_fence: bool,
    /// The lab as it was when the attempt began: what is changed in boards.yaml meanwhile is for the next one.
    inventory: Arc<Inventory>,
    board: Option<Board>,
    plan: Arc<Plan>,
    stage: Stage,
    deadline: Monotonic,
    session: Option<Session>,
    results: Results,
    news: News,
    /// What the watch found that ended nothing, with its traces.
    watched: Vec<Event>,
    traces: Vec<String>,
}

impl Attempt {
    /// An attempt under this lease.
    pub(super) fn new(lab: Arc<Lab>, view: RunView, number: u32, grip: Arc<Grip>, needs_fence: bool) -> Self {
        let spec = &view.run.spec;
        let board = &grip.lease().board;
        // The board may have left the lab file, or lost its plan, since it was granted.
        let can = |inventory: &Inventory| selector::plan_of(inventory, spec).is_some();
        let inventory = lab.inventory.newest_with(board, can);
        let board = inventory.board(board.as_str()).cloned();
        let plan = Arc::new(
            selector::plan_of(&inventory, spec).cloned().unwrap_or_else(|| Plan::empty(&spec.suite)),
        );
        let now = lab.clock.monotonic();
        let deadline = now + spec.timeout.unwrap_or(plan.limits.total);
        let news = News::new(lab.clone(), view.clone(), number, grip.lease().clone());
        Attempt {
            number,
            grip,
            needs_fence,
            inventory,
            board,
            plan,
            stage: Stage::Leased,
            deadline,
            session: None,
            results: Results::default(),
            news,
            watched: Vec::new(),
            traces: Vec::new(),
            view,
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

    /// What an order that came meanwhile makes of it. The cases seen so far are kept.
    pub(super) fn interrupted(&mut self, order: &Order) -> Ended {
        if let Order::Asked(request) = order {
            // Whoever tells the outcome says who asked.
            self.view.run.request = Some(request.clone());
        }
        let (happened, detail) = match order {
            Order::Asked(Request::Cancel { by }) => {
                (Happened::CancelledBy { actor: by.key() }, format!("ended by {}", by.shown()))
            }
            Order::Asked(Request::PowerCycle { by }) => {
                (Happened::PowerCycledBy { actor: by.key() }, format!("power-cycled by {}", by.shown()))
            }
            Order::HandBack | Order::GoOn => (Happened::WorkerLost, "the server was stopped".into()),
        };
        let event = Event { stage: self.stage, happened, detail };
        let mut outcome = self.outcome(Some(What { event, tail: self.tail() }));
        if matches!(order, Order::HandBack | Order::GoOn) {
            // As after a crash: the run gets a whole attempt, whatever failed in this half of one.
            (outcome.verdict, outcome.cause) = (Verdict::Infra, WORKER_LOST.to_owned());
        }
        Ended::Outcome(Box::new(outcome))
    }

    /// Performs the plan.
    pub(super) async fn perform(&mut self) -> Ended {
        let total = self.deadline;
        let clock = self.lab.clock.clone();
        let span = tracing::info_span!("session", attempt = self.number);
        let halted = match clock.deadline(total, Box::pin(self.steps().instrument(span))).await {
            Ok(done) => done.err(),
            Err(_) => Some(self.halt(Happened::TotalTimeout, "the attempt used up its time")),
        };
        match halted {
            Some(Halt::Stale) => Ended::Stale,
            Some(Halt::Happened(what)) => Ended::Outcome(Box::new(self.outcome(Some(*what)))),
            None => Ended::Outcome(Box::new(self.outcome(None))),
        }
    }

    async fn steps(&mut self) -> Result<(), Halt> {
        if self.board.is_none() || self.plan.test.is_empty() && self.plan.boot.is_empty() {
            return Err(self.halt(Happened::HostStepFailed, "boards.yaml has no such board or plan any more"));
        }
        self.fence().await?;
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
            // Evidence that cannot be had changes no verdict: the tests are through.
            if let Err(halt) = self.step(step).await {
                match halt {
                    Halt::Stale => return Err(Halt::Stale),
                    Halt::Happened(what) => {
                        tracing::warn!(step = step.name, problem = what.event.detail, "evidence is missing");
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// The last holder of the board did not release it: it is made ours physically before anything else.
    async fn fence(&mut self) -> Result<(), Halt> {
        if !self.needs_fence {
            return Ok(());
        }
        let board = self.on_board()?.clone();
        self.advance(Stage::Powering).await?;
        if board.power.has_switch() {
            self.switch(PowerAction::Cycle).await?;
        } else {
            self.open().await?;
            let within = self.left();
            let console = &board.console;
            let taken = match self.session.as_mut() {
                Some(session) => {
                    session.take_over(console.username.as_deref(), console.password.as_ref(), within).await
                }
                None => return Ok(()),
            };
            taken.map_err(|error| self.console_halt(error))?;
        }
        match self.lab.persist(|| self.lab.store.lease_fenced(self.grip.lease(), self.lab.clock.now())).await
        {
            Ok(Fenced::Done) => Ok(()),
            Ok(Fenced::Stale) => Err(Halt::Stale),
            Err(error) => Err(self.not_kept(&error)),
        }
    }

    /// What the store refuses for good ends the attempt: it would drive a board that nobody hears of.
    fn not_kept(&self, error: &StoreError) -> Halt {
        tracing::error!(%error, "the attempt cannot be kept");
        self.halt(Happened::HostStepFailed, format!("boardhand cannot keep this run: {error}"))
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
        let template = match stage {
            _ if first && waited >= WAITED_LONG => Some("run-leased"),
            Stage::Testing if self.plan.boot.len() > 1 => Some("run-testing"),
            _ => None,
        };
        let notes: Vec<Note> = template
            .map(|name| Note::new(name, self.lab.composer.run_facts(&self.view)))
            .into_iter()
            .collect();
        let (store, clock) = (self.lab.store.clone(), self.lab.clock.clone());
        let lease = self.grip.lease().clone();
        match self.lab.persist(|| store.run_advance(&lease, stage, &notes, clock.now())).await {
            Ok(Fenced::Done) => {
                self.lab.doorbell.ring(crate::doorbell::Bell::Relay);
                Ok(())
            }
            Ok(Fenced::Stale) => Err(Halt::Stale),
            Err(error) => Err(self.not_kept(&error)),
        }
    }

    /// One step of boot, deploy or collect: anything but success halts the attempt.
    pub(super) async fn step(&mut self, step: &Step) -> Result<(), Halt> {
        match &step.action {
            Action::Power(action) => self.switch(*action).await,
            Action::Run(_) => {
                // What it said explains a failure better than what the console showed around it.
                let mut said = Tail::default();
                let ran = self.run(step, &mut said).await?;
                if ran == 0 {
                    return Ok(());
                }
                let detail = format!("{} ended with status {ran}", step.name);
                let event =
                    Event { stage: self.stage, happened: Happened::CommandFailed { status: ran }, detail };
                Err(Halt::Happened(Box::new(What {
                    event,
                    tail: said.text().lines().map(str::to_owned).collect(),
                })))
            }
            Action::Login
            | Action::Interrupt { .. }
            | Action::Command(_)
            | Action::Wait(_)
            | Action::Send(_) => self.converse(step).await,
        }
    }

    /// One test step; gives whether the tests go on.
    async fn test(&mut self, step: &Step) -> Result<bool, Halt> {
        let Action::Run(_) = step.action else {
            self.step(step).await?;
            return Ok(true);
        };
        let command = self.at_shell(step).await?;
        let before = self.results.counts().failed;
        self.results.begin(step);
        // The results stay where they are while the step runs: whatever ends it, what was seen is kept.
        let Attempt { session, results, news, .. } = self;
        let Some(session) = session.as_mut() else { return Ok(false) };
        let line = &mut |line: &str| {
            results.line(line);
            news.tell(results);
        };
        let ran = match &step.save {
            Some(_) => session.run_streaming(&command, step.within, line).await,
            None => session
                .follow(&command, step.within, line)
                .await
                .map(|status| ShellResult { status, ..ShellResult::default() }),
        };
        self.results.end(ran.as_ref().ok().map(|result| result.status));
        self.news.tell(&self.results);
        self.ran(step, ran)?;
        let failed = self.results.counts().failed > before;
        Ok(!(failed && step.stop))
    }

    /// Runs a shell command, and keeps the last lines that it said; gives its status.
    async fn run(&mut self, step: &Step, said: &mut Tail) -> Result<i32, Halt> {
        let command = self.at_shell(step).await?;
        let Some(session) = self.session.as_mut() else { return Ok(0) };
        let ran = session.run_streaming(&command, step.within, &mut |line| said.push(line)).await;
        self.ran(step, ran)
    }

    /// The step's command, filled in, and a shell to run it.
    async fn at_shell(&mut self, step: &Step) -> Result<String, Halt> {
        let Action::Run(template) = &step.action else { return Ok(String::new()) };
        let command = self.fill(template)?;
        self.open().await?;
        if !self.session.as_ref().is_some_and(Session::at_shell) {
            self.login(step.within).await?;
        }
        Ok(command)
    }

    /// What a command came to; its output is kept where the step says so.
    fn ran(&self, step: &Step, ran: Result<ShellResult, ConsoleError>) -> Result<i32, Halt> {
        let result = ran.map_err(|error| self.console_halt(error))?;
        if let Some(name) = &step.save {
            self.save(name, result.full());
        }
        Ok(result.status)
    }

    /// Steps that talk with the console without a shell command.
    async fn converse(&mut self, step: &Step) -> Result<(), Halt> {
        self.open().await?;
        if let Action::Login = step.action {
            return self.login(step.within).await;
        }
        let line = match &step.action {
            Action::Command(template) | Action::Send(template) => Some(self.fill(template)?),
            _ => None,
        };
        let Some(session) = self.session.as_mut() else { return Ok(()) };
        let said = match (&step.action, line) {
            (Action::Interrupt { expect, send }, _) => match Pattern::anywhere(expect.as_str()) {
                Ok(expect) => session.interrupt(&expect, send.as_bytes(), step.within).await,
                Err(error) => Err(ConsoleError::from(error)),
            },
            (Action::Command(_), Some(line)) => {
                session.command_at_bootloader(&line, step.within).await.map(|_| ())
            }
            (Action::Send(_), Some(line)) => session.send_line(&line).await,
            (Action::Wait(pattern), _) => match Pattern::anywhere(pattern.as_str()) {
                Ok(pattern) => session.wait(&[pattern], step.within).await.map(|_| ()),
                Err(error) => Err(ConsoleError::from(error)),
            },
            (Action::Power(_) | Action::Login | Action::Run(_) | Action::Command(_) | Action::Send(_), _) => {
                Ok(())
            }
        };
        said.map_err(|error| self.console_halt(error))
    }

    async fn login(&mut self, within: Duration) -> Result<(), Halt> {
        let console = self.on_board()?.console.clone();
        let Some(session) = self.session.as_mut() else { return Ok(()) };
        let logged_in = session.login(console.username.as_deref(), console.password.as_ref(), within).await;
        logged_in.map_err(|error| self.console_halt(error))
    }

    /// Opens the console, once.
    async fn open(&mut self) -> Result<(), Halt> {
        self.open_with(false).await
    }

    /// Opens the console, once. One that is not there although it is dialled may come with the power where that is
    /// about to be switched.
    async fn open_with(&mut self, power: bool) -> Result<(), Halt> {
        if self.session.is_some() {
            return Ok(());
        }
        let target = ConsoleTarget::from(&self.on_board()?.console);
        let (clock, ids) = (&self.lab.clock, &self.lab.ids);
        let hand = || -> Arc<dyn InHand> { self.grip.clone() };
        let watches = WatchList::new(&self.plan.watch);
        let mut dials = 0;
        let mut session = loop {
            dials += 1;
            let dialled =
                console::dial(clock, ids, hand(), &target, watches.clone(), self.transcript()?).await;
            match dialled {
                Ok(session) => break session,
                Err(ConsoleError::Refused { .. } | ConsoleError::Unreachable { .. }) if power => {
                    break console::dial_later(clock, ids, hand(), &target, watches, self.transcript()?)
                        .map_err(|error| self.console_halt(error))?;
                }
                // What a console server lets go of a moment later is not worth an attempt.
                Err(error) if error.retry() == console::Retry::Later && dials < DIALS_MAX => {
                    clock.sleep(DIAL_PAUSE).await;
                }
                Err(error) => return Err(self.console_halt(error)),
            }
        };
        session
            .set_limits(Limits { no_output: Some(self.plan.limits.no_output), total: Some(self.deadline) });
        self.session = Some(session);
        Ok(())
    }

    /// The attempt's transcript, from its beginning.
    fn transcript(&self) -> Result<Transcript, Halt> {
        let dir = transcript_dir(&self.lab.transcripts, self.view.run.number, self.number);
        create_transcript(&dir.join("console"), self.lab.clock.now())
            .map_err(|error| self.halt(Happened::HostStepFailed, format!("no transcript: {error}")))
    }

    /// Switches the board's outlet, with the console open before and read along, so that the first boot message is not
    /// lost.
    async fn switch(&mut self, action: PowerAction) -> Result<(), Halt> {
        if action != PowerAction::Off {
            self.open_with(true).await?;
        }
        let board = self.on_board()?.clone();
        let power = self.lab.power.clone();
        let grip = self.grip.clone();
        let switching = async move { power.act(grip.as_ref(), &board, action).await };
        tokio::pin!(switching);
        let switched = match self.session.as_mut() {
            None => switching.await,
            Some(session) => {
                session.booting();
                loop {
                    tokio::select! {
                        biased;
                        switched = &mut switching => break switched,
                        read = session.idle(READ_ALONG) => {
                            // A console that goes away with the power is looked at again when it is needed.
                            if read.is_err() {
                                break switching.await;
                            }
                        }
                    }
                }
            }
        };
        if let Some(session) = self.session.as_mut() {
            session.switched();
        }
        match switched {
            Ok(_) => Ok(()),
            Err(PowerError::LeaseOver(_)) => Err(Halt::Stale),
            Err(error) => Err(self.halt(Happened::PowerUnreachable, error.to_string())),
        }
    }

    /// What a console error means where it happened.
    fn console_halt(&self, error: ConsoleError) -> Halt {
        if let ConsoleError::LeaseOver { .. } = error {
            return Halt::Stale;
        }
        let kernel_spoke = self.session.as_ref().is_some_and(Session::kernel_spoke);
        let happened = super::meaning::happened(&error, self.stage, kernel_spoke);
        let event = Event { stage: self.stage, happened, detail: error.to_string() };
        Halt::Happened(Box::new(What { event, tail: error.tail().to_vec() }))
    }

    fn halt(&self, happened: Happened, detail: impl Into<String>) -> Halt {
        let event = Event { stage: self.stage, happened, detail: detail.into() };
        Halt::Happened(Box::new(What { event, tail: self.tail() }))
    }

    /// The outcome of everything so far: the worst of what halted the attempt and of the tests.
    fn outcome(&mut self, what: Option<What>) -> Outcome {
        if what.is_some() {
            self.results.end(None);
        }
        self.note_hits();
        let mut events = self.watched.clone();
        events.extend_from_slice(self.results.events());
        // What stands in a test's output already is told once.
        let mut tail: String = self.results.tail();
        let missing = self.traces.iter().filter(|line| !tail.contains(line.as_str()));
        tail.insert_str(0, &missing.flat_map(|line| [line.as_str(), "\n"]).collect::<String>());
        if let Some(What { event, tail: last }) = what {
            events.push(event);
            // The console's last lines go on where the test's output ends.
            let known = tail.lines().next_back().and_then(|end| last.iter().rposition(|line| line == end));
            tail.push_str(&last[known.map_or(0, |at| at + 1)..].join("\n"));
        }
        let redactor = &self.lab.redactor;
        for event in &mut events {
            event.detail = redactor.redact(&event.detail).into_owned();
        }
        weigh(Evidence {
            events: &events,
            stage: self.stage,
            cases: self.results.cases().iter().map(|case| case.redacted(redactor)).collect(),
            counts: self.results.counts(),
            excerpt: redactor.redact_lines(&excerpt(&tail, self.results.cases())),
            golden: self.plan.golden,
            board: &self.grip.lease().board,
            before: &self.view.attempts,
        })
    }

    /// Keeps what the watch found since the last call: a kernel that stumbled and went on is a failure all the same.
    /// While evidence is gathered an old trace may be shown again, which is none.
    fn note_hits(&mut self) {
        let Some(session) = self.session.as_mut() else { return };
        let hits = session.take_hits().kept;
        if self.stage >= Stage::Collecting {
            return;
        }
        for hit in hits {
            let Some(verdict) = hit.meaning.verdict.filter(|_| self.watched.len() < WATCHED_MAX) else {
                continue;
            };
            let detail = printk::unstamp(hit.line()).to_owned();
            let happened = Happened::WatchFatal { verdict, cause: hit.meaning.cause };
            self.watched.push(Event { stage: self.stage, happened, detail });
            self.traces.extend(hit.trace.into_iter().filter(|line| !session.is_ours(line)));
        }
    }

    /// A plan's command with every value in its place.
    fn fill(&self, template: &CommandTemplate) -> Result<String, Halt> {
        let (spec, number) = (&self.view.run.spec, self.view.run.number);
        let registered = std::collections::BTreeMap::new();
        let values =
            selector::values(&self.inventory, spec, self.on_board()?, number, self.number, &registered);
        template.render(&values).map_err(|error| self.halt(Happened::HostStepFailed, error.to_string()))
    }

    fn on_board(&self) -> Result<&Board, Halt> {
        let gone = || self.halt(Happened::HostStepFailed, "the board is not in boards.yaml any more");
        self.board.as_ref().ok_or_else(gone)
    }

    fn left(&self) -> Duration {
        self.deadline.since(self.lab.clock.monotonic())
    }

    fn tail(&self) -> Vec<String> {
        self.session.as_ref().map(Session::tail).unwrap_or_default()
    }

    /// Keeps a step's output beside the transcript.
    fn save(&self, name: &str, output: &[u8]) {
        let dir = transcript_dir(&self.lab.transcripts, self.view.run.number, self.number);
        let kept = std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(dir.join(name), output));
        if let Err(error) = kept {
            tracing::warn!(%error, file = name, "a step's output could not be kept");
        }
    }

    /// For finalize: no watchdog of the attempt ends what must be done on every path.
    pub(super) fn finalizing(&mut self, until: Monotonic) {
        self.deadline = until;
        if let Some(session) = self.session.as_mut() {
            session.set_limits(Limits { no_output: None, total: Some(until) });
        }
    }

    /// Closes the console.
    pub(super) async fn close(&mut self) {
        if let Some(session) = self.session.take() {
            let closing = Box::pin(session.close());
            let _ = self.lab.clock.timeout(CLOSE_WITHIN, closing).await;
        }
    }
}

/// How long giving a shell back may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

fn create_transcript(path: &std::path::Path, now: crate::clock::Timestamp) -> std::io::Result<Transcript> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    Transcript::create(path, now, Some(TRANSCRIPT_BYTES_MAX))
}

impl Attempt {
    /// Ends a command that was cut off and may still run; gives what went wrong.
    pub(super) async fn end_command(&mut self) -> Option<String> {
        let ended = self.session.as_mut()?.end_command().await;
        (!ended).then(|| "what ran on it may still run: it did not answer".to_owned())
    }

    /// Whether a shell is known to listen.
    pub(super) fn has_shell(&self) -> bool {
        self.session.as_ref().is_some_and(Session::at_shell)
    }
}

impl Halt {
    /// What happened, for people.
    pub(super) fn detail(&self) -> &str {
        match self {
            Halt::Stale => "the lease is gone",
            Halt::Happened(what) => &what.event.detail,
        }
    }
}
