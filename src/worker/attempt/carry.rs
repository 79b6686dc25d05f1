//! Files that an attempt carries over its console, to the board and back. What is typed and what counts as proved is
//! `transfer`'s; here the commands run, and what got lost is tried again while the step has time.

use std::time::Duration;

use super::{Attempt, Halt};
use crate::artifact::{ArtifactError, Wanted};
use crate::board::hosts::HostRule;
use crate::board::plan::{Action, Step};
use crate::clock::shown_duration;
use crate::console::{ConsoleError, Session};
use crate::door::transcript_dir;
use crate::outcome::verdict::Happened;
use crate::run::Carrying;
use crate::transfer::{Fetch, Transfer, TransferError, UPLOAD_BYTES_MAX, Upload};

/// How long one command of a transfer may take, its typing at a paced console not counted.
const COMMAND_WITHIN: Duration = Duration::from_secs(30);

/// How long all files of a build may take to be here.
const FILES_WITHIN: Duration = Duration::from_secs(3_600);

/// How often a console is dialled again that hangs up in the middle of one transfer.
const REDIALS_MAX: u32 = 10;

impl Attempt {
    /// Learns where the files of the build are, where its CI told of it.
    pub(super) async fn find_build(&mut self) -> Result<(), Halt> {
        let (family, build) = (&self.view.run.spec.family, &self.view.run.spec.build);
        let found = self.lab.persist(|| self.lab.desk.build(family, build)).await;
        let found = found.map_err(|error| self.not_kept(&error))?;
        let Some(build) = found else { return Ok(()) };
        let inventory = self.inventory.clone();
        let hosts = &inventory.builds.artifact_hosts;
        self.registered = build.addresses(hosts);
        let until = self.lab.clock.monotonic() + FILES_WITHIN;
        for artifact in build.artifacts.iter().filter(|artifact| artifact.is_listed(hosts)) {
            if let (Some(sum), true) = (&artifact.sha256, self.plan.names_artifact(&artifact.name)) {
                let wanted = Wanted { url: artifact.url.clone(), sha256: sum.clone(), size: artifact.size };
                let clock = self.lab.clock.clone();
                let brought = clock.deadline(until, self.bring(&artifact.name, &wanted, hosts)).await;
                brought.unwrap_or_else(|_| {
                    let late = format!(
                        "the files of the build are not here within an hour; {} is not",
                        artifact.name
                    );
                    Err(self.halt(Happened::TransferFailed, late))
                })?;
            }
        }
        Ok(())
    }

    /// Has a file of the build here, whole and proved, while the card says how far it is.
    async fn bring(&mut self, name: &str, wanted: &Wanted, hosts: &[HostRule]) -> Result<(), Halt> {
        let (artifacts, name) = (self.lab.artifacts.clone(), name.to_owned());
        let mut tell = |done, bytes| {
            let carrying = Carrying { name: name.clone(), to_board: false, to_us: true, done, bytes };
            self.news.carry(carrying);
        };
        let brought = artifacts.bring(wanted, hosts, &mut tell).await;
        self.news.carried().await;
        match brought {
            Ok(held) => {
                self.held.push(held);
                Ok(())
            }
            Err(error) => {
                let happened = if error.is_another_file() {
                    Happened::ArtifactMismatch
                } else if error.passes() {
                    Happened::TransferFailed
                } else {
                    Happened::ArtifactMissing
                };
                Err(self.halt(happened, format!("the artifact {name} cannot be had: {error}")))
            }
        }
    }

    /// Looks for every file that the plan carries to the board, before anything is done to the board for nothing.
    pub(super) async fn look_for_builds(&mut self) -> Result<(), Halt> {
        let plan = self.plan.clone();
        for step in plan.boot.iter().chain(&plan.deploy).chain(&plan.test) {
            if let Action::Upload { from, .. } = &step.action
                && let Err(error) = self.lab.artifacts.open(&self.fill(from)?).await
            {
                return Err(self.not_had(&error));
            }
        }
        Ok(())
    }

    /// A file that cannot be carried, since it cannot be had.
    fn not_had(&self, error: &ArtifactError) -> Halt {
        let happened = match error {
            ArtifactError::Missing { .. } => Happened::ArtifactMissing,
            _ => Happened::TransferFailed,
        };
        self.halt(happened, error.to_string())
    }

    /// Brings a file to the board, or one back.
    pub(super) async fn carry(&mut self, step: &Step) -> Result<(), Halt> {
        match &step.action {
            Action::Upload { from, to } => {
                let name = self.fill(from)?;
                let data = self.lab.artifacts.read(&name, UPLOAD_BYTES_MAX).await;
                let data = data.map_err(|error| self.not_had(&error))?;
                let upload = Upload::new(data, to);
                let upload = upload.map_err(|error| self.not_carried(&error))?;
                self.transfer(step, upload).await?.map(drop).map_err(|error| self.not_carried(&error))
            }
            Action::Fetch { from, name } => {
                let fetched = self.transfer(step, Fetch::new(from)).await?;
                let fetched = fetched.map_err(|error| self.not_carried(&error))?;
                self.keep(name, &fetched.into_data()).await
            }
            _ => Ok(()),
        }
    }

    /// Brings a file of results back and reads it; gives whether the tests go on. That there is none, or none of a
    /// size that goes over a console, is for the tests to answer and not for the lab.
    pub(super) async fn fetch_results(&mut self, step: &Step) -> Result<bool, Halt> {
        let Action::Fetch { from, name } = &step.action else { return Ok(true) };
        let failed = match self.transfer(step, Fetch::new(from)).await? {
            Ok(fetched) => {
                let data = fetched.into_data();
                self.keep(name, &data).await?;
                self.results.file(name, &data)
            }
            Err(error @ TransferError::Missing(_)) => {
                self.results.no_file(Happened::NoResults, error.to_string());
                true
            }
            Err(error @ TransferError::TooLarge { .. }) => {
                self.results.no_file(Happened::ResultsIncomplete, error.to_string());
                true
            }
            Err(error) => return Err(self.not_carried(&error)),
        };
        self.news.tell(&self.results);
        Ok(!(failed && step.stop))
    }

    fn not_carried(&self, error: &TransferError) -> Halt {
        self.halt(Happened::TransferFailed, error.to_string())
    }

    /// Carries a file while the card says how far it is; gives it back when it is through, or why it does not get through.
    async fn transfer<T: Transfer>(
        &mut self,
        step: &Step,
        transfer: T,
    ) -> Result<Result<T, TransferError>, Halt> {
        let carried = self.type_transfer(step, transfer).await;
        self.news.carried().await;
        carried
    }

    /// Types what a transfer asks for until nothing is left.
    async fn type_transfer<T: Transfer>(
        &mut self,
        step: &Step,
        mut transfer: T,
    ) -> Result<Result<T, TransferError>, Halt> {
        let until = self.lab.clock.monotonic() + step.within;
        self.open().await?;
        let char_delay = self.on_board()?.console.char_delay;
        let mut redials = 0;
        while let Some(command) = transfer.next() {
            let left = until.since(self.lab.clock.monotonic());
            if left.is_zero() {
                let late = format!("the file did not get through within {}", shown_duration(step.within));
                return Err(self.halt(Happened::TransferFailed, late));
            }
            match self.has_shell() {
                true => {}
                false if redials > 0 => self.find_shell(left).await?,
                false => self.login(left).await?,
            }
            let Some(session) = self.session.as_mut() else { break };
            let typing = char_delay.saturating_mul(u32::try_from(command.len()).unwrap_or(u32::MAX));
            let output = match typed(session, &command, left.min(COMMAND_WITHIN + typing)).await {
                Err(lost @ ConsoleError::Closed { .. }) if redials < REDIALS_MAX => {
                    redials += 1;
                    session.note("the console hung up; it is dialled again");
                    match session.dial_again(left).await {
                        // What is proved stays proved: the transfer goes on where it was.
                        Ok(true) => None,
                        Ok(false) => return Err(self.console_halt(lost)),
                        Err(error) => return Err(self.console_halt(error)),
                    }
                }
                said => said.map_err(|error| self.console_halt(error))?,
            };
            if let Err(error) = transfer.answer(output.as_deref()) {
                return Ok(Err(error));
            }
            if let Some((done, bytes)) = transfer.progress()
                && let Some((name, to_board)) = carried(&step.action)
            {
                self.news.carry(Carrying { name, to_board, to_us: false, done, bytes });
            }
        }
        Ok(Ok(transfer))
    }

    /// Proves a shell behind a console that was dialled again: the one from before, which prompts no more, or another.
    async fn find_shell(&mut self, within: Duration) -> Result<(), Halt> {
        let console = self.on_board()?.console.clone();
        let Some(session) = self.session.as_mut() else { return Ok(()) };
        let found = session.take_over(console.username.as_deref(), console.password.as_ref(), within).await;
        found.map_err(|error| self.console_halt(error))
    }

    /// Keeps a file that came back beside the transcript.
    async fn keep(&mut self, name: &str, data: &[u8]) -> Result<(), Halt> {
        let dir = transcript_dir(&self.lab.transcripts, self.view.run.number, self.number);
        let kept = async {
            tokio::fs::create_dir_all(&dir).await?;
            tokio::fs::write(dir.join(name), data).await
        };
        kept.await.map_err(|error| {
            self.halt(Happened::HostStepFailed, format!("{name} could not be kept: {error}"))
        })
    }
}

/// The name of the file that a step carries, and whether it goes to the board.
fn carried(action: &Action) -> Option<(String, bool)> {
    match action {
        Action::Upload { to, .. } => Some((to.rsplit('/').next()?.to_owned(), true)),
        Action::Fetch { from, .. } => Some((from.rsplit('/').next()?.to_owned(), false)),
        _ => None,
    }
}

/// Runs a command; nothing when it or its answer was mangled so that it can be typed again.
async fn typed(
    session: &mut Session,
    command: &str,
    within: Duration,
) -> Result<Option<Vec<u8>>, ConsoleError> {
    match session.run(command, within).await {
        Ok(result) => Ok(Some(result.output)),
        Err(
            ConsoleError::Garbled { .. }
            | ConsoleError::LoggedOut { .. }
            | ConsoleError::Timeout { shell_back: true, .. },
        ) => Ok(None),
        Err(error) => Err(error),
    }
}
