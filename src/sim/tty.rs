//! The line between a simulated board and its console port: echo, line editing, Ctrl-C, kernel messages, and the
//! faults that belong to the line. Sits between `script`/`shell` (what the board says) and `board` (the socket).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::board::{LineOut, Shared};
use super::faults::{BootStage, Faults};
use crate::clock::Monotonic;

/// Longest line a terminal takes in canonical mode, as Linux has it; the rest is dropped.
pub(super) const LINE_BYTES_MAX: usize = 4095;
/// Most bytes typed ahead; more is dropped.
const TYPEAHEAD_BYTES_MAX: usize = 64 * 1024;
/// Most lines the kernel's log keeps; the oldest go first.
const KERNEL_LOG_LINES_MAX: usize = 1000;
/// Sleeps shorter than this are saved up: a timer is not finer.
const PAUSE_MIN: Duration = Duration::from_millis(4);

/// Why the board stopped what it was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Halt {
    /// Ctrl-C.
    Interrupted,
    /// The shell ends with this status.
    Exit(i32),
    /// The board starts again from its first loader.
    Reset,
    /// Nothing more happens until the power is cycled.
    Dead,
}

/// The board's end of its serial line.
pub(super) struct Tty {
    pub(super) shared: Arc<Shared>,
    input: mpsc::Receiver<Vec<u8>>,
    typeahead: VecDeque<u8>,
    last_typed: Option<Monotonic>,
    /// Whether typed characters come back.
    pub(super) echo: bool,
    /// Kernel messages of this level and above stay off the console.
    pub(super) console_level: u8,
    /// The kernel's log as `dmesg` shows it.
    pub(super) kernel_log: VecDeque<String>,
    kernel_started: Monotonic,
    owed: Duration,
    since_printk: usize,
}

impl Tty {
    pub(super) fn new(shared: Arc<Shared>, input: mpsc::Receiver<Vec<u8>>) -> Self {
        let kernel_started = shared.clock.monotonic();
        Tty {
            shared,
            input,
            typeahead: VecDeque::new(),
            last_typed: None,
            echo: true,
            console_level: 7,
            kernel_log: VecDeque::new(),
            kernel_started,
            owed: Duration::ZERO,
            since_printk: 0,
        }
    }

    /// Loses everything, as a board does without power or after a reset.
    pub(super) fn forget(&mut self) {
        while self.input.try_recv().is_ok() {}
        self.typeahead.clear();
        self.last_typed = None;
        self.kernel_log.clear();
        self.echo = true;
        self.console_level = 7;
        self.owed = Duration::ZERO;
        self.since_printk = 0;
    }

    /// Reads and loses input until the console port is gone.
    pub(super) async fn discard_input(&mut self) {
        while self.input.recv().await.is_some() {}
    }

    /// What is wrong with the board now.
    pub(super) fn faults(&self) -> Faults {
        self.shared.faults()
    }

    /// Ends the board's life here when a fault says so.
    pub(super) async fn pass(&mut self, stage: BootStage) -> Result<(), Halt> {
        let faults = self.faults();
        if faults.hang_at == Some(stage) {
            return Err(Halt::Dead);
        }
        if faults.reset_at == Some(stage) {
            return Err(Halt::Reset);
        }
        if faults.panic_at == Some(stage) {
            return Err(super::script::panic(self, stage, "simulated fault").await);
        }
        Ok(())
    }

    /// Prints text; a newline becomes CR LF as the terminal has it.
    pub(super) async fn print(&mut self, text: &str) {
        self.print_bytes(text.as_bytes()).await;
    }

    /// Prints bytes; a newline becomes CR LF.
    pub(super) async fn print_bytes(&mut self, bytes: &[u8]) {
        let faults = self.faults();
        let mut out = Vec::with_capacity(bytes.len() + 16);
        for &byte in bytes {
            if byte == b'\n' {
                out.push(b'\r');
            }
            let noisy =
                faults.garble_permille > 0 && self.shared.ids.below(1000) < u64::from(faults.garble_permille);
            out.push(if noisy { self.shared.ids.below(256) as u8 } else { byte });
            self.since_printk += 1;
            if !self.kernel_log.is_empty()
                && faults.printk_every.is_some_and(|every| self.since_printk >= every.max(1))
            {
                self.since_printk = 0;
                let line = format!("{} npu fde40000.npu: job ring full, retrying\r\n", self.stamp());
                out.extend(line.as_bytes());
            }
        }
        if !out.is_empty() {
            self.shared.send_line(LineOut::Bytes(out)).await;
        }
    }

    /// The kernel starts: its time begins and its log is empty.
    pub(super) fn start_kernel(&mut self) {
        self.kernel_log.clear();
        self.kernel_started = self.shared.clock.monotonic();
    }

    /// `[   12.345678]`.
    pub(super) fn stamp(&self) -> String {
        let since = self.shared.clock.monotonic().since(self.kernel_started);
        format!("[{:>12.6}]", since.as_secs_f64())
    }

    /// A kernel message of a level (0 the most urgent), with its time stamp.
    pub(super) async fn printk(&mut self, level: u8, text: &str) {
        let line = format!("{} {text}", self.stamp());
        self.kernel_line(level, line).await;
    }

    /// A kernel message that has its time stamp already.
    pub(super) async fn kernel_line(&mut self, level: u8, line: String) {
        if level < self.console_level {
            self.print(&format!("{line}\n")).await;
        }
        if self.kernel_log.len() == KERNEL_LOG_LINES_MAX {
            self.kernel_log.pop_front();
        }
        self.kernel_log.push_back(line);
    }

    /// Lets `real` pass at the board's speed; Ctrl-C ends it early. What is typed meanwhile is kept.
    pub(super) async fn pause(&mut self, real: Duration) -> Result<(), Halt> {
        self.hold(self.shared.spec.speed.scaled(real)).await
    }

    /// The same within a test program.
    pub(super) async fn pause_test(&mut self, real: Duration) -> Result<(), Halt> {
        self.hold(self.shared.spec.speed.scaled_test(real)).await
    }

    async fn hold(&mut self, time: Duration) -> Result<(), Halt> {
        self.take_interrupt()?;
        self.owed += time;
        if self.owed < PAUSE_MIN {
            return Ok(());
        }
        let until = self.shared.clock.monotonic() + std::mem::take(&mut self.owed);
        self.wait_until(until, true).await
    }

    /// Waits for a key or until a time that does not scale.
    pub(super) async fn key_within(&mut self, real: Duration) -> Option<u8> {
        let at = self.shared.clock.monotonic() + real;
        let clock = self.shared.clock.clone();
        clock.deadline(at, self.read_byte()).await.ok()
    }

    async fn wait_until(&mut self, until: Monotonic, interruptible: bool) -> Result<(), Halt> {
        let sleep = self.shared.clock.sleep_until(until);
        tokio::pin!(sleep);
        loop {
            tokio::select! {
                biased;
                () = &mut sleep => return Ok(()),
                typed = self.input.recv() => match typed {
                    Some(typed) => self.accept(&typed),
                    None => std::future::pending().await,
                },
            }
            if interruptible {
                self.take_interrupt()?;
            }
        }
    }

    /// Takes a typed Ctrl-C, and with it all that was typed before.
    fn take_interrupt(&mut self) -> Result<(), Halt> {
        match self.typeahead.iter().rposition(|byte| *byte == 3) {
            Some(at) => {
                self.typeahead.drain(..=at);
                Err(Halt::Interrupted)
            }
            None => Ok(()),
        }
    }

    /// Takes typed bytes, less those that come too fast for a board that drops them.
    fn accept(&mut self, typed: &[u8]) {
        let gap = self.faults().input_gap;
        for &byte in typed {
            let now = self.shared.clock.monotonic();
            let too_fast =
                gap.is_some_and(|gap| self.last_typed.is_some_and(|before| now.since(before) < gap));
            self.last_typed = Some(now);
            if !too_fast && self.typeahead.len() < TYPEAHEAD_BYTES_MAX {
                self.typeahead.push_back(byte);
            }
        }
    }

    /// The next typed byte.
    pub(super) async fn read_byte(&mut self) -> u8 {
        loop {
            if let Some(byte) = self.typeahead.pop_front() {
                return byte;
            }
            match self.input.recv().await {
                Some(typed) => self.accept(&typed),
                None => std::future::pending().await,
            }
        }
    }

    /// One typed line without its end, at most [`LINE_BYTES_MAX`] bytes. `visible` echoes it. Ctrl-C gives
    /// [`Halt::Interrupted`], Ctrl-D on an empty line [`Halt::Exit`].
    pub(super) async fn read_line(&mut self, visible: bool) -> Result<String, Halt> {
        let mut line = Vec::new();
        loop {
            let byte = self.read_byte().await;
            let echo = visible && self.echo && !self.faults().no_echo;
            match byte {
                b'\r' | b'\n' => {
                    if echo || !visible {
                        self.print("\n").await;
                    }
                    return Ok(String::from_utf8_lossy(&line).into_owned());
                }
                3 => {
                    self.print(if echo { "^C\n" } else { "\n" }).await;
                    return Err(Halt::Interrupted);
                }
                4 if line.is_empty() => return Err(Halt::Exit(0)),
                21 => line.clear(),
                8 | 127 => {
                    if line.pop().is_some() && echo {
                        self.print_bytes(b"\x08 \x08").await;
                    }
                }
                0 | 4 => {}
                _ => {
                    if line.len() < LINE_BYTES_MAX {
                        line.push(byte);
                        if echo {
                            self.print_bytes(&[byte]).await;
                        }
                    }
                }
            }
        }
    }

    /// Drops the console connection; the board goes on.
    pub(super) async fn hang_up(&self) {
        self.shared.send_line(LineOut::HangUp).await;
    }
}
