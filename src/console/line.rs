//! The line of one session: its socket and everything that reads along. Each byte that arrives goes through telnet
//! into the transcript, the watch and the window; each byte that leaves does so under the lease. Waits are bounded
//! by the session's watchdogs. Knows nothing of prompts and commands.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;

use super::boots::{self, Boot};
use super::clean::{self, Liner, Stripper, Tail};
use super::expect::Expect;
use super::printk::{Piece, PrintkFilter};
use super::shell::{self, Marker};
use super::telnet::{PortControl, Telnet};
use super::transcript::FLUSH_EVERY;
use super::watch::Watcher;
use super::wire::Wire;
use super::{ConsoleError, ConsoleTarget, Hit, InHand, LoginFailure, Transcript, WatchList, dial};
use crate::board::ConsoleKind;
use crate::clock::{Clock, Monotonic};
use regex::Regex;

/// Hits kept of one session; later ones are counted in [`Hits::more`].
pub const HITS_MAX: usize = 100;
/// Bytes read at once.
const READ_BYTES_MAX: usize = 16 * 1024;
/// First bytes of a connection in which a console server's excuse is looked for.
const GREETING_BYTES_MAX: usize = 4096;
/// How soon a connection must end without a word to say that the console is busy.
const AT_ONCE: Duration = Duration::from_secs(5);
/// How long a console server may take no bytes.
pub(super) const WRITE_WITHIN: Duration = Duration::from_secs(10);
/// Silence that ends the trace of a dying kernel.
const DYING_SILENCE: Duration = Duration::from_secs(2);
/// Longest time a dying kernel's trace is waited for.
const DYING_MAX: Duration = Duration::from_secs(10);
/// Silence after which a reset seen within a command's output is believed.
const RESET_SILENCE: Duration = Duration::from_secs(3);
/// Time after which a reset seen within a command's output is believed, unless the command ends before.
const RESET_MAX: Duration = Duration::from_secs(15);

/// How long a break lasts where we have to end it; a UART needs longer than one character.
pub(super) const BREAK: Duration = Duration::from_millis(300);
/// Pause before a console that went away with the power is dialled again.
const REDIAL_PAUSE: Duration = Duration::from_millis(500);

/// What console servers say when they have no console to give (ser2net, Cisco and other terminal servers).
static EXCUSE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("(?i)already in use|open failure|connection refused|line is busy|all .*busy")
        .expect("a constant")
});

/// What the watch has found that did not end the session.
#[derive(Debug, Default)]
pub struct Hits {
    /// The first [`HITS_MAX`], in order.
    pub kept: Vec<Hit>,
    /// How many came after them.
    pub more: u64,
}

/// Ends of a session's patience.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Longest silence while something is awaited; any byte starts it anew.
    pub no_output: Option<Duration>,
    /// When the whole attempt must be over.
    pub total: Option<Monotonic>,
}

/// Markers that are remembered: those of the commands that the last lines can show.
const OWN_MAX: usize = 8;

pub(super) struct Line {
    pub(super) clock: Clock,
    pub(super) expect: Expect,
    pub(super) limits: Limits,
    pub(super) hits: Hits,
    in_hand: Arc<dyn InHand>,
    target: ConsoleTarget,
    /// `None` while the console is away and is dialled again.
    wire: Option<Wire>,
    /// The board restarts: a console that lives on its power, or in it, may go away and come back.
    comes_back: bool,
    redial_at: Monotonic,
    /// Why the console is away.
    away: Option<ConsoleError>,
    telnet: Telnet,
    transcript: Transcript,
    stripper: Stripper,
    liner: Liner,
    printk: PrintkFilter,
    watcher: Watcher,
    tail: Tail,
    buffer: Vec<u8>,
    data: Vec<u8>,
    greeting: Vec<u8>,
    greeting_counts: bool,
    /// Received since a command was sent; `None` while none runs.
    fresh: Option<Vec<u8>>,
    fatal: Option<ConsoleError>,
    dying_since: Option<Monotonic>,
    reset: Option<(Hit, Monotonic)>,
    /// Whether a kernel has said something since the board was restarted.
    kernel_spoke: bool,
    /// What the board has said of its boot since then.
    boot: Boot,
    /// The newest markers of ours.
    own: VecDeque<Marker>,
    ended: bool,
    write_broken: bool,
    connected_at: Monotonic,
    began_at: Monotonic,
    received_at: Monotonic,
    /// When something was received that is no kernel message: a prompt may stand there while a kernel talks on.
    text_at: Monotonic,
    sent_at: Monotonic,
}

/// How the console of this target is spoken.
pub(super) fn telnet(target: &ConsoleTarget) -> Telnet {
    let settings = &target.settings;
    match settings.kind {
        ConsoleKind::Telnet => Telnet::client(&settings.ttype),
        ConsoleKind::Rfc2217 => Telnet::port_client(&settings.ttype, settings.baud),
        ConsoleKind::Tcp | ConsoleKind::Serial | ConsoleKind::Ssh => Telnet::raw(),
    }
}

impl Line {
    /// A line over `wire`. Without one the board is not there yet: it is dialled until somebody's time is over.
    pub(super) fn new(
        clock: Clock,
        in_hand: Arc<dyn InHand>,
        target: ConsoleTarget,
        wire: Option<Wire>,
        watches: Arc<WatchList>,
        transcript: Transcript,
    ) -> Line {
        let now = clock.monotonic();
        let telnet = telnet(&target);
        Line {
            clock,
            expect: Expect::default(),
            limits: Limits::default(),
            hits: Hits::default(),
            in_hand,
            target,
            comes_back: wire.is_none(),
            wire,
            redial_at: now,
            away: None,
            telnet,
            transcript,
            stripper: Stripper::default(),
            liner: Liner::default(),
            printk: PrintkFilter::default(),
            watcher: Watcher::new(watches),
            tail: Tail::default(),
            buffer: vec![0; READ_BYTES_MAX],
            data: Vec::new(),
            greeting: Vec::new(),
            greeting_counts: true,
            fresh: None,
            fatal: None,
            dying_since: None,
            reset: None,
            kernel_spoke: false,
            boot: Boot::default(),
            own: VecDeque::new(),
            ended: false,
            write_broken: false,
            connected_at: now,
            began_at: now,
            received_at: now,
            text_at: now,
            sent_at: now,
        }
    }

    /// Starts an operation: watchdogs count from here, and nothing of an earlier command is left.
    pub(super) fn begin(&mut self, command: bool) {
        self.began_at = self.clock.monotonic();
        self.fresh = command.then(Vec::new);
    }

    /// What was received since the command was sent, or since the last call.
    pub(super) fn take_fresh(&mut self) -> Vec<u8> {
        self.fresh.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The command has ended in its shell: what looked like a reset in its output was none.
    pub(super) fn command_ended(&mut self) {
        self.fresh = None;
        if let Some((hit, _)) = self.reset.take() {
            self.keep(hit);
        }
    }

    /// A shell listens (`true`): from here on a reset is trouble, and what a console server says is the board's.
    pub(super) fn arm(&mut self, armed: bool) {
        self.comes_back &= !armed;
        self.watcher.arm_resets(armed);
        self.greeting_counts &= !armed;
    }

    /// The board restarts: what its kernel said is of the past, and its console may go away for a while.
    pub(super) fn restarted(&mut self) {
        self.arm(false);
        self.comes_back = true;
        self.kernel_spoke = false;
        self.boot = Boot::default();
    }

    /// Leaves a connection that leads nowhere; the console is dialled again.
    pub(super) fn hang_up(&mut self) {
        self.wire = None;
        self.redial_at = self.clock.monotonic() + REDIAL_PAUSE;
    }

    /// The other side has closed although the board does not restart: the console is dialled again all the same. Not where
    /// it still answers, or hung up on a login that it refused.
    pub(super) fn dial_again(&mut self) -> bool {
        let lost = self.ended && !matches!(self.closed(), ConsoleError::LoginFailed { .. });
        if lost {
            (self.ended, self.comes_back) = (false, true);
            self.hang_up();
        }
        lost
    }

    /// Whether nothing is connected: what is typed now is lost.
    pub(super) fn is_away(&self) -> bool {
        self.wire.is_none()
    }

    /// Whether a kernel has said something since the board was restarted.
    pub(super) fn kernel_spoke(&self) -> bool {
        self.kernel_spoke
    }

    /// When the newest byte came.
    pub(super) fn received_at(&self) -> Monotonic {
        self.received_at
    }

    /// What the watch found and did not end anything, with what came of a trace that is not complete.
    pub(super) fn take_hits(&mut self) -> Hits {
        if !self.watcher.is_dying()
            && let Some(hit) = self.watcher.flush()
        {
            self.found(hit);
        }
        std::mem::take(&mut self.hits)
    }

    /// Time since the last byte in either direction, kernel messages left out.
    pub(super) fn idle_for(&self) -> Duration {
        self.clock.monotonic().since(self.text_at.max(self.sent_at))
    }

    /// When the line will have been idle for `silence`.
    pub(super) fn idle_at(&self, silence: Duration) -> Monotonic {
        self.text_at.max(self.sent_at) + silence
    }

    /// A marker is going to be sent: lines that show it are none of the board's.
    pub(super) fn own(&mut self, marker: &Marker) {
        if self.own.len() == OWN_MAX {
            self.own.pop_front();
        }
        self.own.push_back(marker.clone());
    }

    /// The last lines, for people, the open one too; without what framed our commands.
    pub(super) fn tail(&self) -> Vec<String> {
        let mut lines = self.tail.lines();
        lines.retain(|line| !self.is_ours(line));
        let open = self.liner.open();
        if !open.trim().is_empty() && !self.is_ours(&open) {
            lines.push(open.into_owned());
        }
        lines
    }

    /// Whether a line shows what framed our commands.
    pub(super) fn is_ours(&self, line: &str) -> bool {
        shell::shows_frame(line) || self.own.iter().any(|marker| marker.shows_in(line))
    }

    /// Reads once, or waits until `until`. Trouble that the watch or a watchdog finds is the error.
    pub(super) async fn pump(&mut self, until: Monotonic) -> Result<(), ConsoleError> {
        let wake = self.wakes().into_iter().flatten().fold(until, Monotonic::min);
        match &mut self.wire {
            _ if self.ended => {}
            None => self.redial(wake).await?,
            Some(wire) => match self.clock.deadline(wake, wire.read(&mut self.buffer)).await {
                Err(_) => {}
                // A reset connection has ended like any other; what came before it was read.
                Ok(Ok(0) | Err(_)) => self.hung_up(),
                Ok(Ok(count)) => self.received(count).await?,
            },
        }
        self.transcript.flush_if_due(self.clock.now());
        self.alarm()
    }

    /// The other side has closed: for good, unless the board restarts.
    fn hung_up(&mut self) {
        let why = self.closed();
        // Who is refused once is refused again, and in the end locked out.
        if !self.comes_back || matches!(why, ConsoleError::LoginFailed { .. }) {
            self.ended = true;
            return;
        }
        self.away = Some(why);
        self.wire = None;
        self.redial_at = self.clock.monotonic() + REDIAL_PAUSE;
    }

    /// Dials a console that is away, no later than `until`. That it is not there yet is no trouble.
    async fn redial(&mut self, until: Monotonic) -> Result<(), ConsoleError> {
        if self.redial_at > until {
            self.clock.sleep_until(until).await;
            return Ok(());
        }
        self.clock.sleep_until(self.redial_at).await;
        if !self.in_hand.trusted() {
            return Err(ConsoleError::LeaseOver { label: self.in_hand.label() });
        }
        // Given up early it would never be there for somebody who only looks in now and then; it has its own bound.
        match dial::connect(&self.clock, &self.target).await {
            Ok(wire) => {
                self.telnet = telnet(&self.target);
                self.wire = Some(wire);
                self.connected_at = self.clock.monotonic();
                (self.write_broken, self.greeting_counts) = (false, true);
                self.greeting.clear();
                return self.open().await;
            }
            Err(error) => self.away = Some(error),
        }
        self.redial_at = self.clock.monotonic() + REDIAL_PAUSE;
        Ok(())
    }

    /// Says what has to be said before anything is heard.
    pub(super) async fn open(&mut self) -> Result<(), ConsoleError> {
        match self.telnet.opening() {
            [] => Ok(()),
            opening => self.write(opening).await,
        }
    }

    /// How far the control of the port behind the console server has come.
    pub(super) fn port(&self) -> PortControl {
        self.telnet.port()
    }

    /// Reads until `until`.
    pub(super) async fn pump_until(&mut self, until: Monotonic) -> Result<(), ConsoleError> {
        while self.clock.monotonic() < until {
            self.pump(until).await?;
        }
        Ok(())
    }

    /// Sends data; `record` is what the transcript keeps of it.
    pub(super) async fn send(&mut self, data: &[u8], record: &[u8]) -> Result<(), ConsoleError> {
        let wire = self.telnet.encode(data);
        self.write(&wire).await?;
        if !record.is_empty() {
            self.transcript.sent(record, self.clock.now());
        }
        self.sent_at = self.clock.monotonic();
        self.expect.sent();
        Ok(())
    }

    /// Sends a serial break; false where the console cannot carry one.
    pub(super) async fn send_break(&mut self) -> Result<bool, ConsoleError> {
        if !self.in_hand.trusted() {
            return Err(ConsoleError::LeaseOver { label: self.in_hand.label() });
        }
        match self.wire.as_ref().and_then(|wire| wire.set_break(true)) {
            Some(Ok(())) => {
                let ends_at = self.clock.monotonic() + BREAK;
                // Whatever is read meanwhile, the break ends.
                let read = self.pump_until(ends_at).await;
                drop(self.wire.as_ref().and_then(|wire| wire.set_break(false)));
                read?;
            }
            Some(Err(_)) => return Ok(false),
            None => {
                let Some(sequence) = self.telnet.brk() else { return Ok(false) };
                self.write(&sequence.on).await?;
                if let Some(off) = sequence.off {
                    let read = self.pump_until(self.clock.monotonic() + BREAK).await;
                    self.write(&off).await?;
                    read?;
                }
            }
        }
        self.transcript.sent(b"<break>", self.clock.now());
        Ok(true)
    }

    /// The error of an operation whose time is over: trouble under way says more than a timeout.
    pub(super) fn trouble(&mut self) -> Option<ConsoleError> {
        if self.watcher.is_dying() {
            self.dying_since = None;
            return self.watcher.flush().map(ConsoleError::Watch);
        }
        if let Some((hit, _)) = self.reset.take() {
            return Some(self.reset_error(hit));
        }
        // A console that never came back says more than what was awaited of it.
        if self.wire.is_none() { self.away.take() } else { None }
    }

    /// Keeps a line in the transcript, beside what is sent.
    pub(super) fn note(&mut self, line: &str) {
        self.transcript.sent(line.as_bytes(), self.clock.now());
    }

    pub(super) fn transcript_error(&mut self) -> Option<&io::Error> {
        self.transcript.flush(self.clock.now());
        self.transcript.failed()
    }

    pub(super) fn is_trusted(&self) -> bool {
        self.in_hand.trusted()
    }

    pub(super) async fn close(mut self: Box<Self>, until: Monotonic) {
        // The peer may be gone already; there is nothing left to lose.
        // Nothing is answered or dialled any more: what still comes is read, so that what was sent is not reset on its
        // way.
        (self.write_broken, self.comes_back) = (true, false);
        if let Some(wire) = &mut self.wire {
            drop(self.clock.timeout(WRITE_WITHIN, wire.shutdown()).await);
            while !self.ended && self.clock.monotonic() < until {
                if self.pump(until).await.is_err() {
                    break;
                }
            }
        }
        self.transcript.flush(self.clock.now());
    }

    async fn write(&mut self, wire: &[u8]) -> Result<(), ConsoleError> {
        if !self.in_hand.trusted() {
            return Err(ConsoleError::LeaseOver { label: self.in_hand.label() });
        }
        // A server may close right after it has said why: reading on finds that.
        if self.write_broken {
            return Ok(());
        }
        // What is typed at a console that is away is lost, as it is on a cable that is not plugged in.
        let Some(stream) = &mut self.wire else { return Ok(()) };
        match self.clock.timeout(WRITE_WITHIN, stream.write_all(wire)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => {
                self.write_broken = true;
                Ok(())
            }
            Err(_) => Err(ConsoleError::NotTaken { waited_for: WRITE_WITHIN, tail: self.tail() }),
        }
    }

    async fn received(&mut self, count: usize) -> Result<(), ConsoleError> {
        let mut reply = Vec::new();
        self.data.clear();
        self.telnet.feed(&self.buffer[..count], &mut self.data, &mut reply);
        self.take();
        if reply.is_empty() { Ok(()) } else { self.write(&reply).await }
    }

    /// Hands the newest data to everyone who reads along.
    fn take(&mut self) {
        if self.data.is_empty() {
            return;
        }
        self.received_at = self.clock.monotonic();
        self.transcript.received(&self.data, self.clock.now());
        let room = GREETING_BYTES_MAX - self.greeting.len();
        self.greeting.extend_from_slice(&self.data[..self.data.len().min(room)]);
        let mut stripped = Vec::with_capacity(self.data.len());
        self.stripper.feed(&self.data, &mut stripped);
        self.expect.push(&stripped);
        let (text_at, now, kernel_spoke) = (&mut self.text_at, self.received_at, &mut self.kernel_spoke);
        self.printk.feed(&stripped, &mut |piece| match piece {
            Piece::User(_) => *text_at = now,
            Piece::Kernel(_) => *kernel_spoke = true,
        });
        if let Some(fresh) = &mut self.fresh {
            fresh.extend_from_slice(&self.data);
        }
        let (mut found, watcher, tail) = (Vec::new(), &mut self.watcher, &mut self.tail);
        let (kernel_spoke, boot, boots) = (&mut self.kernel_spoke, &mut self.boot, self.comes_back);
        let mut over = None;
        self.liner.feed(&self.data, &mut |line| {
            *kernel_spoke |= boots::is_kernel(line);
            if boots && boot.line(line) {
                over.get_or_insert_with(|| clean::cut_words(line, clean::SAID_BYTES_MAX).to_owned());
            }
            tail.push(line);
            watcher.line(line, &mut found);
        });
        found.into_iter().for_each(|hit| self.found(hit));
        if let Some(banner) = over {
            let error = ConsoleError::Reset { banner, tail: self.tail() };
            self.fatal.get_or_insert(error);
        }
    }

    fn found(&mut self, hit: Hit) {
        match (hit.meaning.reset, hit.meaning.fatal) {
            // A command may print an old boot's messages: wait whether it ends.
            (true, _) if self.fresh.is_some() => {
                let now = self.clock.monotonic();
                self.reset.get_or_insert((hit, now));
            }
            (true, _) => {
                let error = self.reset_error(hit);
                self.fatal.get_or_insert(error);
            }
            (false, true) => {
                self.fatal.get_or_insert(ConsoleError::Watch(hit));
            }
            (false, false) => self.keep(hit),
        }
    }

    fn keep(&mut self, hit: Hit) {
        if self.hits.kept.len() < HITS_MAX {
            self.hits.kept.push(hit);
        } else {
            self.hits.more += 1;
        }
    }

    fn reset_error(&self, hit: Hit) -> ConsoleError {
        ConsoleError::Reset { banner: hit.line().to_owned(), tail: self.tail() }
    }

    /// When something falls due although nothing arrives.
    fn wakes(&self) -> [Option<Monotonic>; 5] {
        let silence = self.limits.no_output.map(|silence| self.received_at.max(self.began_at) + silence);
        let dying = self.dying_since.map(|since| (since + DYING_MAX).min(self.received_at + DYING_SILENCE));
        let reset =
            self.reset.as_ref().map(|(_, since)| (*since + RESET_MAX).min(self.received_at + RESET_SILENCE));
        let flush = self.transcript.is_holding().then(|| self.clock.monotonic() + FLUSH_EVERY);
        [silence, self.limits.total, dying, reset, flush]
    }

    /// Turns what has fallen due into its error.
    fn alarm(&mut self) -> Result<(), ConsoleError> {
        if let Some(fatal) = self.fatal.take() {
            return Err(fatal);
        }
        let now = self.clock.monotonic();
        match (self.watcher.is_dying(), self.dying_since) {
            (true, None) => self.dying_since = Some(now),
            (false, Some(_)) => self.dying_since = None,
            (true, Some(_)) | (false, None) => {}
        }
        let [silence, total, dying, reset, _] = self.wakes();
        let due = |at: Option<Monotonic>| at.is_some_and(|at| at <= now);
        if (due(dying) || due(reset) || self.ended)
            && let Some(error) = self.trouble()
        {
            return Err(error);
        }
        if self.ended {
            return Err(self.closed());
        }
        // A board that died or started anew says more than the limit that its silence runs into.
        if (due(total) || due(silence))
            && let Some(error) = self.trouble()
        {
            return Err(error);
        }
        if due(total) {
            return Err(ConsoleError::OutOfTime { tail: self.tail() });
        }
        if due(silence) {
            let silent_for = now.since(self.received_at.max(self.began_at));
            return Err(ConsoleError::NoOutput { silent_for, tail: self.tail() });
        }
        Ok(())
    }

    fn closed(&self) -> ConsoleError {
        if self.target.settings.kind == ConsoleKind::Ssh && self.greeting_counts {
            return self.ssh_ended();
        }
        if self.greeting.is_empty() && self.clock.monotonic().since(self.connected_at) < AT_ONCE {
            return ConsoleError::Busy {
                text: "the connection was closed at once, without a word".to_owned(),
            };
        }
        let greeting = clean::text(&self.greeting);
        match greeting.lines().find(|line| EXCUSE.is_match(line)) {
            Some(line) if self.greeting_counts => {
                ConsoleError::Busy { text: clean::cut_words(line.trim(), clean::SAID_BYTES_MAX).to_owned() }
            }
            _ => ConsoleError::Closed { tail: self.tail() },
        }
    }

    /// `ssh` ended before it had a shell: its last line says why.
    fn ssh_ended(&self) -> ConsoleError {
        let said = clean::text(&self.greeting);
        if said.contains("Permission denied") {
            return ConsoleError::LoginFailed { reason: LoginFailure::Incorrect, tail: self.tail() };
        }
        let line = said.lines().map(str::trim).rfind(|line| !line.is_empty());
        let source =
            line.map(|line| io::Error::other(clean::cut_words(line, clean::SAID_BYTES_MAX).to_owned()));
        ConsoleError::Unreachable { address: self.target.address(), source }
    }
}
