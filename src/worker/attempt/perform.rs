//! Performing a plan's steps: what each kind of step does on the console, and what it means when it does not
//! succeed there. The order of the steps is the plan's ([`super`]), the console and the outlet are `hardware`'s.

use std::time::Duration;

use super::{Attempt, Halt, What};
use crate::board::plan::{Action, HostCommand, Parser, Step};
use crate::board::quoting::CommandTemplate;
use crate::board::selector;
use crate::clock::shown_duration;
use crate::console::{ConsoleError, Pattern, Session, ShellResult};
use crate::door::transcript_dir;
use crate::lease::InHand;
use crate::outcome::verdict::{Event, Happened};
use crate::run::Stage;
use crate::worker::host::{self, Said};
use crate::worker::results::Tail;

impl Attempt {
    /// One step of boot, deploy or collect: anything but success halts the attempt.
    pub(in crate::worker) async fn step(&mut self, step: &Step) -> Result<(), Halt> {
        match &step.action {
            Action::Power(action) => self.switch(action).await,
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
            Action::Host(command) => self.host(command, step.within).await,
            Action::Upload { .. } | Action::Fetch { .. } => self.carry(step).await,
            Action::Login
            | Action::Interrupt { .. }
            | Action::Command(_)
            | Action::Wait(_)
            | Action::ForcePrompt(_)
            | Action::Send(_) => self.converse(step).await,
        }
    }

    /// One test step; gives whether the tests go on.
    pub(super) async fn test(&mut self, step: &Step) -> Result<bool, Halt> {
        if step.parse == Parser::Junit {
            return self.fetch_results(step).await;
        }
        let Action::Run(_) = step.action else {
            self.step(step).await?;
            return Ok(true);
        };
        let command = self.at_shell(step).await?;
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
        let failed = self.results.end(ran.as_ref().ok().map(|result| result.status));
        self.news.tell(&self.results);
        self.ran(step, ran)?;
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
        self.taken_over = false;
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
        self.taken_over = false;
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
            (Action::ForcePrompt(of), _) => session.force_prompt(*of, step.within).await,
            (Action::Wait(pattern), _) => match Pattern::anywhere(pattern.as_str()) {
                Ok(pattern) => session.wait(&[pattern], step.within).await.map(|_| ()),
                Err(error) => Err(ConsoleError::from(error)),
            },
            (
                Action::Power(_)
                | Action::Login
                | Action::Host(_)
                | Action::Upload { .. }
                | Action::Fetch { .. }
                | Action::Run(_)
                | Action::Command(_)
                | Action::Send(_),
                _,
            ) => Ok(()),
        };
        said.map_err(|error| self.console_halt(error))
    }

    pub(super) async fn login(&mut self, within: Duration) -> Result<(), Halt> {
        if std::mem::take(&mut self.taken_over) && self.session.as_ref().is_some_and(Session::at_shell) {
            return Ok(());
        }
        let console = self.on_board()?.console.clone();
        let Some(session) = self.session.as_mut() else { return Ok(()) };
        let logged_in = session.login(console.username.as_deref(), console.password.as_ref(), within).await;
        let stage = if self.has_booted { self.stage } else { self.stage.min(Stage::Booting) };
        logged_in.map_err(|error| self.console_halt_in(stage, error))?;
        self.has_booted = true;
        Ok(())
    }

    /// Runs a program beside the board, whose console is read along where it is open.
    async fn host(&mut self, command: &HostCommand, within: Duration) -> Result<(), Halt> {
        if !self.lab.programs {
            let problem =
                format!("{} is a program, which this worker runs with --allow-programs only", command.name);
            return Err(self.halt(Happened::HostStepFailed, problem));
        }
        let arguments: Result<Vec<String>, Halt> =
            command.arguments.iter().map(|argument| self.fill(argument)).collect();
        let (arguments, clock, grip) = (arguments?, self.lab.clock.clone(), self.grip.clone());
        // Its console is opened first, as before power is switched: what it does to the board shows there.
        self.open_with(true).await?;
        if !grip.trusted() {
            return Err(Halt::Stale);
        }
        let (mut said, mut tail, name) = (Said::by(&command.name), Tail::default(), &command.name);
        let mut on_line = |line: &str| {
            said.push(line);
            tail.push(line);
        };
        let running = clock.timeout(within, host::run(&clock, &command.path, &arguments, &mut on_line));
        let (ran, trouble) = self.beside(Box::pin(running)).await;
        if let Some(session) = self.session.as_mut() {
            said.into_lines().iter().for_each(|line| session.note(line));
        }
        if let Some(error @ (ConsoleError::Watch(_) | ConsoleError::LeaseOver { .. })) = trouble {
            return Err(self.console_halt(error));
        }
        let problem = match ran {
            Ok(Ok(status)) if status.success() => return Ok(()),
            Ok(Ok(status)) => format!("{name} ended with {status}"),
            Ok(Err(error)) => format!("{name} could not run: {error}"),
            Err(_) => format!("{name} did not end within {}", shown_duration(within)),
        };
        let event = Event { stage: self.stage, happened: Happened::HostStepFailed, detail: problem };
        let tail = tail.text().lines().map(str::to_owned).collect();
        Err(Halt::Happened(Box::new(What { event, tail })))
    }

    /// A plan's command with every value in its place.
    pub(super) fn fill(&self, template: &CommandTemplate) -> Result<String, Halt> {
        let (spec, number) = (&self.view.run.spec, self.view.run.number);
        let board = self.on_board()?;
        let values = selector::values(
            &self.inventory,
            spec,
            board,
            number,
            self.number,
            &self.registered,
            &self.served,
        );
        template.render(&values).map_err(|error| self.halt(Happened::HostStepFailed, error.to_string()))
    }

    /// Keeps a step's output beside the transcript.
    fn save(&self, name: &str, output: &[u8]) {
        let dir = transcript_dir(&self.lab.transcripts, self.view.run.number, self.number);
        let kept = std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(dir.join(name), output));
        if let Err(error) = kept {
            tracing::warn!(%error, file = name, "a step's output could not be kept");
        }
    }
}
