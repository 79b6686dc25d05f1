//! The board in an attempt's hands: its console, opened once and read along, and its outlet. Nothing here knows what
//! a plan is after.

use std::sync::Arc;
use std::time::Duration;

use super::{Attempt, Halt};
use crate::board::plan::PowerAction;
use crate::board::{Board, Rest};
use crate::clock::{Monotonic, Timestamp};
use crate::console::{self, ConsoleError, ConsoleTarget, Limits, Session, Transcript, WatchList};
use crate::door::transcript_dir;
use crate::lease::reaper::LEASE_TTL;
use crate::lease::{Grip, InHand};
use crate::outcome::verdict::Happened;
use crate::power::{Outlet, Power, PowerError};
use crate::run::Stage;
use crate::store::Fenced;

/// Most received bytes that a transcript keeps.
const TRANSCRIPT_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// How long the console is read along at a time while an outlet is switched.
const READ_ALONG: Duration = Duration::from_secs(1);
/// How often a busy console is dialled before it counts as somebody else's, and the pause between.
const DIALS_MAX: u32 = 5;
const DIAL_PAUSE: Duration = Duration::from_secs(2);
/// How long a console is dialled that must be taken over, since nobody released its board.
const FENCE_DIALS_WITHIN: Duration = Duration::from_secs(LEASE_TTL.as_secs() + 60);
/// How long it has then to prove that a shell of ours listens.
const FENCE_LOGIN_WITHIN: Duration = Duration::from_secs(120);
/// How long a power cycle that somebody asked for may take; whoever asked waits for word of it.
const CYCLE_WITHIN: Duration = Duration::from_secs(120);
/// How long giving a shell back may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

impl Attempt {
    /// Boards that their last holder did not release are made ours physically before anything else.
    pub(super) async fn fence(&mut self) -> Result<(), Halt> {
        if self.unfenced.is_empty() {
            return Ok(());
        }
        self.advance(Stage::Powering).await?;
        // A console server may hold the connection of a process whose machine died without a word.
        self.busy_until = Some(self.lab.clock.monotonic() + FENCE_DIALS_WITHIN);
        for grip in std::mem::take(&mut self.unfenced) {
            if grip.lease().id == self.grip.lease().id {
                self.fence_own().await?;
            } else {
                self.fence_partner(&grip).await?;
            }
            match self.lab.persist(|| self.lab.desk.fenced(grip.lease())).await {
                Ok(Fenced::Done) => {}
                Ok(Fenced::Stale) => return Err(Halt::Stale),
                Err(error) => return Err(self.not_kept(&error)),
            }
        }
        self.busy_until = None;
        Ok(())
    }

    /// The board that the plan drives.
    async fn fence_own(&mut self) -> Result<(), Halt> {
        let board = self.on_board()?.clone();
        if board.power.has_switch() {
            return self.switch(&PowerAction::Cycle).await;
        }
        let taken = self.take_over(&board).await;
        if let Err(Halt::Happened(what)) = &taken
            && what.event.happened != Happened::HostStepFailed
        {
            self.unfit = Some(format!("it could not be taken over: {}", what.event.detail));
        }
        taken
    }

    /// A board that the attempt holds beside the one that its plan drives: whatever ran on it for its last holder must
    /// not be part of the test.
    async fn fence_partner(&mut self, grip: &Arc<Grip>) -> Result<(), Halt> {
        let id = &grip.lease().board;
        let fenced = match self.inventory.board(id.as_str()).cloned() {
            None => Err(format!("{id} is not in boards.yaml any more")),
            Some(board) if board.power.has_switch() => {
                match cycle(self.lab.power.clone(), &board, grip).await {
                    Err(PowerError::LeaseOver(_)) => return Err(Halt::Stale),
                    done => done.map(|_| ()).map_err(|error| error.to_string()),
                }
            }
            Some(board) => match self.take_over_partner(&board, grip).await {
                Err(Halt::Stale) => return Err(Halt::Stale),
                taken => taken.map_err(|halt| format!("{id} could not be taken over: {}", halt.detail())),
            },
        };
        fenced.map_err(|problem| self.halt(Happened::PartnerNotFenced, problem))
    }

    async fn take_over_partner(&mut self, board: &Board, grip: &Arc<Grip>) -> Result<(), Halt> {
        let session = self.taken_over(board, grip, &format!("console-{}", board.id)).await?;
        let _ = self.lab.clock.timeout(CLOSE_WITHIN, Box::pin(session.close())).await;
        Ok(())
    }

    /// Makes a console ours that nothing but a login can prove free.
    async fn take_over(&mut self, board: &Board) -> Result<(), Halt> {
        self.limit(None, self.lab.clock.monotonic() + FENCE_DIALS_WITHIN + FENCE_LOGIN_WITHIN);
        let grip = self.grip.clone();
        let session = self.taken_over(board, &grip, "console").await?;
        self.session = Some(session);
        (self.taken_over, self.has_booted) = (true, true);
        Ok(())
    }

    /// A session that took a board's console over. A console server may say only after a while that it is busy.
    async fn taken_over(
        &mut self,
        board: &Board,
        grip: &Arc<Grip>,
        transcript: &str,
    ) -> Result<Session, Halt> {
        let console = &board.console;
        let (username, password) = (console.username.as_deref(), console.password.as_ref());
        loop {
            let mut session = self.dial(board, grip, transcript, false).await?;
            let taken = Box::pin(session.take_over(username, password, FENCE_LOGIN_WITHIN)).await;
            let Err(error) = taken else { return Ok(session) };
            let _ = self.lab.clock.timeout(CLOSE_WITHIN, Box::pin(session.close())).await;
            if error.retry() != console::Retry::Later || !self.may_dial(DIALS_MAX) {
                return Err(self.console_halt(error));
            }
            self.lab.clock.sleep(DIAL_PAUSE).await;
        }
    }

    /// Why the board is not to be given to anybody before a person has looked at it, if it is not.
    pub(in crate::worker) fn unfit(&self) -> Option<&str> {
        self.unfit.as_deref()
    }

    /// Opens the console, once.
    pub(super) async fn open(&mut self) -> Result<(), Halt> {
        self.open_with(false).await
    }

    /// Opens the console, once. One that is not there although it is dialled may come with the power where that is
    /// about to be switched.
    pub(super) async fn open_with(&mut self, power: bool) -> Result<(), Halt> {
        if self.session.is_some() {
            return Ok(());
        }
        let board = self.on_board()?.clone();
        let grip = self.grip.clone();
        let mut session = self.dial(&board, &grip, "console", power).await?;
        session
            .set_limits(Limits { no_output: Some(self.plan.limits.no_output), total: Some(self.deadline) });
        self.session = Some(session);
        Ok(())
    }

    /// Dials a board's console, a few times where it is busy; its transcript has this name.
    async fn dial(
        &mut self,
        board: &Board,
        grip: &Arc<Grip>,
        transcript: &str,
        power: bool,
    ) -> Result<Session, Halt> {
        let target = ConsoleTarget::from(&board.console);
        let (clock, ids) = (&self.lab.clock, &self.lab.ids);
        let hand = || -> Arc<dyn InHand> { grip.clone() };
        let family = self.inventory.families.get(&board.family);
        let ignore = family.map_or(&[][..], |family| &family.ignore);
        let watches = WatchList::ignoring(ignore, &self.plan.watch);
        let mut dials = 0;
        loop {
            dials += 1;
            let record = self.transcript(transcript)?;
            match console::dial(clock, ids, hand(), &target, watches.clone(), record).await {
                Ok(session) => return Ok(session),
                Err(ConsoleError::Refused { .. } | ConsoleError::Unreachable { .. }) if power => {
                    let record = self.transcript(transcript)?;
                    return console::dial_later(clock, ids, hand(), &target, watches, record)
                        .map_err(|error| self.console_halt(error));
                }
                // What a console server lets go of a moment later is not worth an attempt.
                Err(error) if error.retry() == console::Retry::Later && self.may_dial(dials) => {
                    clock.sleep(DIAL_PAUSE).await;
                }
                Err(error) => return Err(self.console_halt(error)),
            }
        }
    }

    /// Whether a console that was busy or refused for so many times is dialled again.
    fn may_dial(&self, dials: u32) -> bool {
        dials < DIALS_MAX || self.busy_until.is_some_and(|until| self.lab.clock.monotonic() < until)
    }

    /// A transcript of the attempt, from its beginning.
    fn transcript(&self, name: &str) -> Result<Transcript, Halt> {
        let dir = transcript_dir(&self.lab.transcripts, self.view.run.number, self.number);
        create_transcript(&dir.join(name), self.lab.clock.now())
            .map(|transcript| transcript.counting(self.lab.console_bytes.clone()))
            .map_err(|error| self.halt(Happened::HostStepFailed, format!("no transcript: {error}")))
    }

    /// Switches the board's outlet, with the console open before and read along, so that the first boot message is not
    /// lost. The first time, its relays are put to rest before: whoever had the board may have left them otherwise.
    pub(super) async fn switch(&mut self, action: &PowerAction) -> Result<(), Halt> {
        if *action != PowerAction::Off {
            self.open_with(true).await?;
        }
        let board = self.on_board()?.clone();
        if let PowerAction::Sequence(name) = action {
            self.has_moved_relays = true;
            // What cuts it off, such as a cancel, drops it where it is.
            self.half_done = Some(format!("the sequence {name} was cut off half done"));
        }
        let done = self.outlet(&board, action).await;
        self.half_done = match &done {
            Err(error @ PowerError::HalfDone { .. }) => Some(error.to_string()),
            Ok(()) if matches!(action, PowerAction::Sequence(_)) => None,
            Ok(()) | Err(_) => self.half_done.take(),
        };
        match done {
            Ok(()) => Ok(()),
            Err(PowerError::LeaseOver(_)) => Err(Halt::Stale),
            Err(error) => Err(self.halt(Happened::PowerUnreachable, error.to_string())),
        }
    }

    /// What a power sequence that did not come to its end left behind.
    pub(in crate::worker) fn half_done(&self) -> Option<&str> {
        self.half_done.as_deref()
    }

    /// Whether a power sequence was begun, which may have left relays as they are not to stay.
    pub(in crate::worker) fn has_moved_relays(&self) -> bool {
        self.has_moved_relays
    }

    /// Cycles the board as somebody asked who ended the attempt with it, and remembers how that went. A console that
    /// is open is read along; one that is not stays closed, since the cycle is what was asked for.
    pub(super) async fn cycle_as_asked(&mut self) -> Result<(), Halt> {
        let board = self.on_board()?.clone();
        let clock = self.lab.clock.clone();
        let cycling = Box::pin(self.outlet(&board, &PowerAction::Cycle));
        let done = match clock.timeout(CYCLE_WITHIN, cycling).await {
            Ok(Err(PowerError::LeaseOver(_))) => return Err(Halt::Stale),
            Ok(done) => done.map_err(|error| error.to_string()),
            Err(_) => Err("it took too long, and whether the outlet is on is not known".to_owned()),
        };
        self.cycled = Some(done);
        Ok(())
    }

    /// Whether the power cycle that somebody asked for was done, and if not, why; `None` where nobody asked.
    pub(in crate::worker) fn cycled(&self) -> Option<&Result<(), String>> {
        self.cycled.as_ref()
    }

    /// Switches the outlet and reads the console along meanwhile, where it is open.
    async fn outlet(&mut self, board: &Board, action: &PowerAction) -> Result<(), PowerError> {
        self.has_booted = false;
        self.half_cycled = *action != PowerAction::Off && board.power.is_cut_by(action);
        let (power, grip) = (self.lab.power.clone(), self.grip.clone());
        let relays_stand = std::mem::replace(&mut self.relays_stand, true);
        let switching = async move {
            if !relays_stand {
                power.relays_to_rest(grip.as_ref(), board).await?;
            }
            power.act(grip.as_ref(), board, action).await
        };
        if let Some(session) = self.session.as_mut() {
            session.booting();
        }
        // A console that goes away with the power is looked at again when it is needed.
        let (switched, _) = self.beside(Box::pin(switching)).await;
        if let Some(session) = self.session.as_mut() {
            session.switched();
        }
        self.half_cycled &= switched.is_err();
        switched.map(|_| ())
    }

    /// Switches a board on again whose power cycle or sequence was cut off between off and on, unless it goes off
    /// anyhow; gives what went wrong.
    pub(in crate::worker) async fn end_cycle(&mut self) -> Option<String> {
        let board = self.board.clone().filter(|board| board.power.rest != Rest::Off)?;
        if !std::mem::take(&mut self.half_cycled) {
            return None;
        }
        // With its relays at rest first: a strap that is set now would be one at every later reset.
        self.relays_stand &= !self.has_moved_relays;
        self.outlet(&board, &PowerAction::On).await.err().map(|error| error.to_string())
    }

    /// Waits for something that is done to the board, with its console read along; gives what was wrong there, too.
    pub(super) async fn beside<T>(
        &mut self,
        mut doing: impl Future<Output = T> + Unpin,
    ) -> (T, Option<ConsoleError>) {
        let Some(session) = self.session.as_mut() else { return (doing.await, None) };
        loop {
            tokio::select! {
                biased;
                done = &mut doing => return (done, None),
                read = session.idle(READ_ALONG) => if let Err(error) = read {
                    return (doing.await, Some(error));
                }
            }
        }
    }

    pub(super) fn tail(&self) -> Vec<String> {
        self.session.as_ref().map(Session::tail).unwrap_or_default()
    }

    /// Ends a command that was cut off and may still run; gives what went wrong.
    pub(in crate::worker) async fn end_command(&mut self) -> Option<String> {
        let ended = self.session.as_mut()?.end_command().await;
        (!ended).then(|| "what ran on it may still run: it did not answer".to_owned())
    }

    /// Whether a shell is known to listen.
    pub(in crate::worker) fn has_shell(&self) -> bool {
        self.session.as_ref().is_some_and(Session::at_shell)
    }

    /// For finalize: no watchdog of the attempt ends what must be done on every path.
    pub(in crate::worker) fn finalizing(&mut self, until: Monotonic) {
        self.limit(None, until);
    }

    /// Sets the watchdogs, of the attempt and of its console.
    pub(super) fn limit(&mut self, no_output: Option<Duration>, until: Monotonic) {
        self.deadline = until;
        if let Some(session) = self.session.as_mut() {
            session.set_limits(Limits { no_output, total: Some(until) });
        }
    }

    /// Closes the console.
    pub(in crate::worker) async fn close(&mut self) {
        if let Some(session) = self.session.take() {
            let closing = Box::pin(session.close());
            let _ = self.lab.clock.timeout(CLOSE_WITHIN, closing).await;
        }
    }
}

/// Cycles a board whose relays may stand in any way.
async fn cycle(power: Power, board: &Board, grip: &Grip) -> Result<Option<Outlet>, PowerError> {
    power.relays_to_rest(grip, board).await?;
    power.act(grip, board, &PowerAction::Cycle).await
}

fn create_transcript(path: &std::path::Path, now: Timestamp) -> std::io::Result<Transcript> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    Transcript::create(path, now, Some(TRANSCRIPT_BYTES_MAX))
}
