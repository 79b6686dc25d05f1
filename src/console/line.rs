//! The line of one session: its socket and everything that reads along. Each byte that arrives goes through telnet
//! into the transcript, the watch and the window; each byte that leaves does so under the lease. Waits are bounded
//! by the session's watchdogs. Knows nothing of prompts and commands.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::clean::{self, Liner, Stripper, Tail};
use super::expect::Expect;
use super::printk::{Piece, PrintkFilter};
use super::shell::Marker;
use super::telnet::Telnet;
use super::transcript::FLUSH_EVERY;
use super::watch::Watcher;
use super::{ConsoleError, ConsoleSettings, Hit, InHand, Transcript, WatchList};
use crate::board::ConsoleKind;
use crate::clock::{Clock, Monotonic};

/// Hits kept of one session; later ones are counted in [`Hits::more`].
pub const HITS_MAX: usize = 100;
/// Bytes read at once.
const READ_BYTES_MAX: usize = 16 * 1024;
/// First bytes of a connection in which a console server's excuse is looked for.
const GREETING_BYTES_MAX: usize = 4096;
/// How soon a connection must end without a word to say that the console is busy.
const AT_ONCE: Duration = Duration::from_secs(5);
/// How long a console server may take no bytes.
const WRITE_WITHIN: Duration = Duration::from_secs(10);
/// Silence that ends the trace of a dying kernel.
const DYING_SILENCE: Duration = Duration::from_secs(2);
/// Longest time a dying kernel's trace is waited for.
const DYING_MAX: Duration = Duration::from_secs(10);
/// Silence after which a reset seen within a command's output is believed.
const RESET_SILENCE: Duration = Duration::from_secs(3);
/// Time after which a reset seen within a command's output is believed, unless the command ends before.
const RESET_MAX: Duration = Duration::from_secs(15);

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
/// How lines begin that only a started kernel says, where its messages carry no time.
const KERNEL_SIGNS: [&str; 3] = ["Starting kernel ", "Booting Linux on ", "Linux version "];

pub(super) struct Line {
    pub(super) clock: Clock,
    pub(super) expect: Expect,
    pub(super) limits: Limits,
    pub(super) hits: Hits,
    in_hand: Arc<dyn InHand>,
    stream: TcpStream,
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

impl Line {
    pub(super) fn new(
        clock: Clock,
        in_hand: Arc<dyn InHand>,
        stream: TcpStream,
        settings: &ConsoleSettings,
        watches: Arc<WatchList>,
        transcript: Transcript,
    ) -> Line {
        let now = clock.monotonic();
        let telnet = match settings.kind {
            ConsoleKind::Tcp => Telnet::raw(),
            _ => Telnet::client(&settings.ttype),
        };
        Line {
            clock,
            expect: Expect::default(),
            limits: Limits::default(),
            hits: Hits::default(),
            in_hand,
            stream,
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
        self.watcher.arm_resets(armed);
        self.greeting_counts &= !armed;
    }

    /// The board restarts: what its kernel said is of the past.
    pub(super) fn restarted(&mut self) {
        self.arm(false);
        self.kernel_spoke = false;
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
        lines.retain(|line| !self.own.iter().any(|marker| marker.shows_in(line)));
        let open = self.liner.open();
        if !open.trim().is_empty() {
            lines.push(clean::cut(&open, clean::TAIL_LINE_BYTES_MAX).to_owned());
        }
        lines
    }

    /// Reads once, or waits until `until`. Trouble that the watch or a watchdog finds is the error.
    pub(super) async fn pump(&mut self, until: Monotonic) -> Result<(), ConsoleError> {
        let wake = self.wakes().into_iter().flatten().fold(until, Monotonic::min);
        if !self.ended {
            match self.clock.deadline(wake, self.stream.read(&mut self.buffer)).await {
                Err(_) => {}
                // A reset connection has ended like any other; what came before it was read.
                Ok(Ok(0) | Err(_)) => self.ended = true,
                Ok(Ok(count)) => self.received(count).await?,
            }
        }
        self.transcript.flush_if_due(self.clock.now());
        self.alarm()
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
        let Some(sequence) = self.telnet.brk() else {
            return Ok(false);
        };
        self.write(&sequence).await?;
        self.transcript.sent(b"<break>", self.clock.now());
        Ok(true)
    }

    /// The error of an operation whose time is over: trouble under way says more than a timeout.
    pub(super) fn trouble(&mut self) -> Option<ConsoleError> {
        if self.watcher.is_dying() {
            self.dying_since = None;
            return self.watcher.flush().map(ConsoleError::Watch);
        }
        self.reset.take().map(|(hit, _)| self.reset_error(hit))
    }

    pub(super) fn transcript_error(&self) -> Option<&io::Error> {
        self.transcript.failed()
    }

    pub(super) fn is_trusted(&self) -> bool {
        self.in_hand.trusted()
    }

    pub(super) async fn close(mut self) {
        self.transcript.flush(self.clock.now());
        // The peer may be gone already; there is nothing left to lose.
        drop(self.clock.timeout(WRITE_WITHIN, self.stream.shutdown()).await);
    }

    async fn write(&mut self, wire: &[u8]) -> Result<(), ConsoleError> {
        if !self.in_hand.trusted() {
            return Err(ConsoleError::LeaseOver { label: self.in_hand.label() });
        }
        // A server may close right after it has said why: reading on finds that.
        if self.write_broken {
            return Ok(());
        }
        match self.clock.timeout(WRITE_WITHIN, self.stream.write_all(wire)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => {
                self.write_broken = true;
                Ok(())
            }
            Err(_) => Err(ConsoleError::Timeout {
                awaited: "the console server taking what was sent",
                waited_for: WRITE_WITHIN,
                tail: self.tail(),
                shell_back: false,
            }),
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
        let kernel_spoke = &mut self.kernel_spoke;
        self.liner.feed(&self.data, &mut |line| {
            *kernel_spoke |= KERNEL_SIGNS.iter().any(|sign| line.starts_with(sign));
            tail.push(line);
            watcher.line(line, &mut found);
        });
        found.into_iter().for_each(|hit| self.found(hit));
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
        if self.greeting.is_empty() && self.clock.monotonic().since(self.connected_at) < AT_ONCE {
            return ConsoleError::Busy {
                text: "the connection was closed at once, without a word".to_owned(),
            };
        }
        let greeting = clean::text(&self.greeting);
        match greeting.lines().find(|line| EXCUSE.is_match(line)) {
            Some(line) if self.greeting_counts => {
                ConsoleError::Busy { text: clean::cut(line.trim(), clean::TAIL_LINE_BYTES_MAX).to_owned() }
            }
            _ => ConsoleError::Closed { tail: self.tail() },
        }
    }
}
