//! One conversation with one board: log in, run commands, wait for text, drive the boot loader. Everything is
//! awaited by the caller and nothing runs beside it, so dropping a session ends it. While anything is awaited the
//! watch patterns and both watchdogs are live. Decides no verdict.

mod prompt;

use std::time::Duration;

use memchr::memmem;
use secrecy::{ExposeSecret, SecretString};

use super::bootloader;
use super::clean;
use super::error::BOOTLOADER_LINE_BYTES_MAX;
use super::expect::{PROMPT_SILENCE, Search};
use super::line::{Hits, Limits, Line};
use super::login::{Login, LoginPlan, LoginStep};
use super::printk;
use super::shell::{self, Capture, MARKER_LETTERS, Marker, StartLost};
use super::telnet::PortControl;
use super::{ConsoleError, ConsoleSettings, LoginFailure, Match, Pattern, ShellResult};
use crate::board::ConsoleKind;
use crate::clock::Monotonic;
use crate::id::Ids;

/// Times the end of a command is asked for again.
pub const REASKS_MAX: u32 = 3;

/// How often an operation looks at the time while nothing arrives.
const TICK: Duration = Duration::from_millis(200);
/// Silence after a mangled end marker before it is asked for again.
const REASK_MANGLED: Duration = Duration::from_secs(2);
/// Silence before the end of a command is asked for on mere suspicion.
const REASK_SILENCE: Duration = Duration::from_secs(5);
/// Silence that makes a login prompt in a command's output believed.
const LOGGED_OUT: Duration = Duration::from_secs(2);
/// How long a shell has to come back after an interrupt.
const RECOVER_WITHIN: Duration = Duration::from_secs(3);
/// Pause after each interrupt sent.
const INTERRUPT_PAUSE: Duration = Duration::from_millis(300);
/// Interrupts sent to take a console over.
const TAKE_OVER_INTERRUPTS: usize = 3;
/// End of the window that a prompt is looked for in.
const TEXT_BYTES_MAX: usize = 8 * 1024;

/// How long a console server may take to set its port.
const SPEED_WITHIN: Duration = Duration::from_secs(5);

/// How long a countdown that was answered may take to end in a prompt, before the prompt is looked at again.
const KEY_TAKEN: Duration = Duration::from_secs(1);

/// Silence at the end of a wait, beside half of that wait, that says more than the wait: a kernel died quietly.
const BOOT_SILENT: Duration = Duration::from_secs(5);

const CTRL_C: &[u8] = b"\x03";

/// An open console.
pub struct Session {
    ids: Ids,
    /// On the heap: a session is moved into every future that drives it.
    line: Box<Line>,
    settings: ConsoleSettings,
    login: Pattern,
    prompt: Pattern,
    bootloader: Pattern,
    at_shell: bool,
    /// Something was typed and its end was not seen: a command that may still run, or a shell left mute.
    busy: bool,
    booting: bool,
}

impl Session {
    pub(super) fn new(ids: Ids, line: Line, settings: ConsoleSettings) -> Result<Session, ConsoleError> {
        let login = Pattern::prompt(&settings.login)?;
        let prompt = Pattern::prompt(&settings.prompt)?;
        let bootloader = Pattern::prompt(&settings.bootloader)?;
        Ok(Session {
            ids,
            line: Box::new(line),
            settings,
            login,
            prompt,
            bootloader,
            at_shell: false,
            busy: false,
            booting: false,
        })
    }

    /// Sets the watchdogs for everything that is awaited from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.line.limits = limits;
    }

    /// Whether a proven shell listens.
    pub fn at_shell(&self) -> bool {
        self.at_shell && !self.busy
    }

    /// Ends a command that may still run because nobody waited for its end; gives whether none runs any more.
    pub async fn end_command(&mut self) -> bool {
        if self.busy {
            self.at_shell = matches!(self.recover().await, Ok(true));
            self.busy = !self.at_shell;
        }
        !self.busy
    }

    /// What the watch found since the last call that did not end anything.
    pub fn take_hits(&mut self) -> Hits {
        self.line.take_hits()
    }

    /// Whether a kernel has said something since the board was restarted.
    pub fn kernel_spoke(&self) -> bool {
        self.line.kernel_spoke()
    }

    /// The last lines, for people; hostile text.
    pub fn tail(&self) -> Vec<String> {
        self.line.tail()
    }

    /// Whether a line shows what framed our commands, and is none of the board's.
    pub fn is_ours(&self, line: &str) -> bool {
        self.line.is_ours(line)
    }

    /// Keeps a line in the transcript that was neither sent nor received here.
    pub fn note(&mut self, line: &str) {
        self.line.note(line);
    }

    /// Writes what is held of the transcript; why it has a gap, if it has one.
    pub fn transcript_error(&mut self) -> Option<&std::io::Error> {
        self.line.transcript_error()
    }

    /// The board was just switched on or told to restart: boot messages are expected, a login may take long, and
    /// no key may be sent early.
    pub fn booting(&mut self) {
        (self.at_shell, self.busy) = (false, false);
        self.booting = true;
        self.line.restarted();
    }

    /// The board's power was switched: a connection into the board itself leads nowhere now.
    pub fn switched(&mut self) {
        if self.settings.kind == ConsoleKind::Ssh {
            self.line.hang_up();
        }
    }

    /// Dials a console again that hung up in the middle of something that can go on, until it is there or this time is
    /// over; gives whether it was lost. What listens there then is for [`Session::take_over`] to find out.
    pub async fn dial_again(&mut self, within: Duration) -> Result<bool, ConsoleError> {
        if !self.line.dial_again() {
            return Ok(false);
        }
        (self.at_shell, self.busy) = (false, false);
        let until = self.after(within);
        while self.line.is_away() && self.now() < until {
            self.line.pump(until.min(self.after(TICK))).await?;
        }
        Ok(true)
    }

    /// Logs in, or accepts a shell that is there already, and leaves a quiet, proven shell.
    pub async fn login(
        &mut self,
        username: Option<&str>,
        password: Option<&SecretString>,
        within: Duration,
    ) -> Result<(), ConsoleError> {
        self.login_from(username, password, within, false).await
    }

    /// Makes a console ours whose last holder cannot be asked: interrupts whatever runs and logs in afresh.
    pub async fn take_over(
        &mut self,
        username: Option<&str>,
        password: Option<&SecretString>,
        within: Duration,
    ) -> Result<(), ConsoleError> {
        self.line.begin(false);
        for _ in 0..TAKE_OVER_INTERRUPTS {
            self.line.send(CTRL_C, b"<interrupt>").await?;
            self.line.pump_until(self.after(INTERRUPT_PAUSE)).await?;
        }
        self.login_from(username, password, within, true).await
    }

    /// Runs one shell command and returns its exact output and status. After a timeout the command is interrupted,
    /// which may take some seconds more.
    pub async fn run(&mut self, command: &str, within: Duration) -> Result<ShellResult, ConsoleError> {
        self.run_streaming(command, within, &mut |_| {}).await
    }

    /// As [`Session::run`], and tells each cleaned line of the output as it arrives, kernel messages among them.
    pub async fn run_streaming(
        &mut self,
        command: &str,
        within: Duration,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<ShellResult, ConsoleError> {
        self.run_into(Capture::new, command, within, on_line).await
    }

    /// As [`Session::run_streaming`], for output that nobody wants but line by line: gives the status alone.
    pub async fn follow(
        &mut self,
        command: &str,
        within: Duration,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<i32, ConsoleError> {
        let ran = self.run_into(Capture::without_output, command, within, on_line).await;
        ran.map(|result| result.status)
    }

    async fn run_into(
        &mut self,
        capture: fn(Marker) -> Capture,
        command: &str,
        within: Duration,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<ShellResult, ConsoleError> {
        let marker = self.marker();
        let framed = shell::frame(command, &marker)?;
        if !self.at_shell() {
            return Err(ConsoleError::LoggedOut { tail: self.line.tail() });
        }
        let mut capture = capture(marker.clone());
        self.line.begin(true);
        self.line.expect.clear();
        let (deadline, mut reasks) = (self.after(within), 0);
        self.busy = true;
        self.send_text(&framed).await?;
        loop {
            capture.feed(&self.line.take_fresh(), on_line);
            if let Some(done) = capture.done() {
                self.busy = false;
                self.line.command_ended();
                let tail = self.line.tail();
                return done.map_err(|StartLost { status }| ConsoleError::Garbled { status, tail });
            }
            if self.now() >= deadline {
                return Err(self.interrupted(within).await);
            }
            if self.logged_out() {
                (self.at_shell, self.busy) = (false, false);
                let error = ConsoleError::LoggedOut { tail: self.line.tail() };
                return Err(self.line.trouble().unwrap_or(error));
            }
            if self.should_reask(&marker, deadline.since(self.now()), within, reasks) {
                reasks += 1;
                self.send_text(&shell::reask(&marker)).await?;
            }
            match self.line.pump(deadline.min(self.after(TICK))).await {
                Ok(()) => {}
                Err(error) => {
                    // What came with the trouble is output all the same.
                    capture.feed(&self.line.take_fresh(), on_line);
                    return Err(match error {
                        quiet @ ConsoleError::NoOutput { .. } => self.quiet(quiet).await,
                        error => error,
                    });
                }
            }
        }
    }

    /// Sends bytes as they are; nothing is awaited. Call [`Session::booting`] first if they restart the board.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), ConsoleError> {
        self.line.begin(false);
        self.send_paced(bytes, bytes).await
    }

    /// Sends text and the newline of this console; nothing is awaited.
    pub async fn send_line(&mut self, text: &str) -> Result<(), ConsoleError> {
        self.line.begin(false);
        self.send_text(format!("{text}\n").as_bytes()).await
    }

    /// Sends a serial break; false where the console cannot carry one.
    pub async fn send_break(&mut self) -> Result<bool, ConsoleError> {
        self.line.send_break().await
    }

    /// Waits for the earliest of several patterns. Text that came before the call and was not awaited yet counts.
    pub async fn wait(&mut self, patterns: &[Pattern], within: Duration) -> Result<Match, ConsoleError> {
        self.line.begin(false);
        let deadline = self.after(within);
        self.wait_until(patterns, deadline, within, "the awaited text").await
    }

    /// Stops a boot loader's countdown: waits for its announcement, answers it, and waits for the prompt.
    pub async fn interrupt(
        &mut self,
        expect: &Pattern,
        send: &[u8],
        within: Duration,
    ) -> Result<(), ConsoleError> {
        self.line.begin(false);
        let deadline = self.after(within);
        let announced = std::slice::from_ref(expect);
        self.wait_until(announced, deadline, within, "the boot loader's countdown").await?;
        self.send_paced(send, send).await?;
        let prompt = [self.bootloader.clone()];
        if self.look_until(&prompt, deadline.min(self.after(KEY_TAKEN))).await?.is_some() {
            return Ok(());
        }
        if self.key_is_typed(send) {
            self.send_text(b"\n").await?;
        }
        self.wait_until(&prompt, deadline, within, "the boot loader's prompt").await?;
        Ok(())
    }

    /// Whether a key that was to stop the countdown stands behind the prompt: the board had stopped of itself (noise on
    /// its line is a key too), and its prompt is none any more.
    fn key_is_typed(&self, key: &[u8]) -> bool {
        let (text, key) = (self.text(), String::from_utf8_lossy(key).into_owned());
        let before = text.trim_end_matches(|c| key.contains(c));
        let spaced = format!("{before} ");
        before.len() < text.len()
            && [before, &spaced].iter().any(|text| self.bootloader.ends(text.as_bytes()))
    }

    /// Runs one line at the boot loader's prompt and returns what it printed. A line that boots a kernel is done
    /// when the boot loader hands over.
    pub async fn command_at_bootloader(
        &mut self,
        line: &str,
        within: Duration,
    ) -> Result<String, ConsoleError> {
        if line.len() > BOOTLOADER_LINE_BYTES_MAX || line.chars().any(char::is_control) {
            return Err(ConsoleError::BootloaderLine);
        }
        self.line.begin(false);
        self.line.expect.clear();
        self.send_text(format!("{line}\n").as_bytes()).await?;
        let ends = [self.bootloader.clone(), Pattern::anywhere(bootloader::HANDED_OVER)?];
        let deadline = self.after(within);
        let found = self.wait_until(&ends, deadline, within, "the boot loader's prompt").await?;
        let text = clean::text(&found.before);
        let output = bootloader::output(&text, line);
        // A line that only asks for help about an error has not met it; one that fell back to the prompt may have.
        if let Some(text) = bootloader::failure(output).map(str::to_owned) {
            return Err(ConsoleError::Bootloader { text, tail: self.line.tail() });
        }
        Ok(output.to_owned())
    }

    /// Reads along for a while.
    pub async fn idle(&mut self, duration: Duration) -> Result<(), ConsoleError> {
        self.line.begin(false);
        self.line.pump_until(self.after(duration)).await
    }

    /// Gives the shell back as people want to find it, and closes.
    pub async fn close(mut self) {
        if self.at_shell() && self.line.is_trusted() {
            self.line.begin(false);
            // Whatever fails now, the session is over; the next one proves its shell anew.
            drop(self.send_text(format!("{}\n", shell::RESTORE).as_bytes()).await);
        }
        let until = self.after(TICK);
        self.line.close(until).await;
    }

    /// Listens after connecting, at most until `settle` is over.
    pub(super) async fn listen(&mut self, at_most: Duration) -> Result<(), ConsoleError> {
        let until = self.after(at_most.min(self.settings.settle));
        self.line.open().await?;
        self.line.pump(until).await?;
        self.line.pump_until(until).await?;
        match self.settings.baud {
            Some(baud) if self.settings.kind == ConsoleKind::Rfc2217 => self.speed(baud).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Waits until the console server has set its port: what a board says at another speed is rubbish.
    async fn speed(&mut self, baud: u32) -> Result<(), ConsoleError> {
        let deadline = self.after(SPEED_WITHIN);
        loop {
            let problem = match self.line.port() {
                PortControl::Agreed { baud: Some(set) } if set == baud => return Ok(()),
                PortControl::Agreed { baud: Some(set) } => format!("set {set} baud instead of {baud}"),
                PortControl::Off | PortControl::Refused => "has no control of its port (RFC 2217)".to_owned(),
                PortControl::Offered | PortControl::Agreed { baud: None } if self.now() < deadline => {
                    self.line.pump(deadline.min(self.after(TICK))).await?;
                    continue;
                }
                PortControl::Offered | PortControl::Agreed { baud: None } => {
                    "did not answer about its port (RFC 2217)".to_owned()
                }
            };
            return Err(ConsoleError::Port { problem });
        }
    }

    async fn login_from(
        &mut self,
        username: Option<&str>,
        password: Option<&SecretString>,
        within: Duration,
        ours: bool,
    ) -> Result<(), ConsoleError> {
        self.line.begin(false);
        self.at_shell = false;
        self.line.arm(false);
        let started_at = self.now();
        let deadline = started_at + within;
        let plan = LoginPlan {
            login: self.login.clone(),
            prompt: self.prompt.clone(),
            bootloader: self.bootloader.clone(),
            username: username.map(str::to_owned),
            has_password: password.is_some(),
            settle: self.settings.settle,
            // ssh shows a prompt of its own accord, and a key typed too early is an empty password to it.
            booting: self.booting || self.settings.kind == ConsoleKind::Ssh,
            typed_into_silence: ours,
            quiet_kernel: self.settings.quiet_kernel,
        };
        let letters = self.ids.letters(MARKER_LETTERS);
        self.line.own(&Marker::new(letters.clone()));
        let mut login = Login::new(plan, letters);
        loop {
            let idle_for = self.line.idle_for();
            let due = login.is_due(idle_for);
            match if due { login.next(&self.text(), idle_for) } else { LoginStep::Wait } {
                LoginStep::Wait if self.now() >= deadline => return Err(self.timeout("a shell", within)),
                LoginStep::Wait => {
                    let silence = self.line.idle_at(PROMPT_SILENCE);
                    let next = if idle_for < PROMPT_SILENCE { silence } else { self.after(TICK) };
                    self.line.pump(deadline.min(next)).await?;
                }
                LoginStep::Send(text) => {
                    // From here on the shell prompts and echoes no more: whoever leaves it so leaves it mute.
                    self.busy |= memmem::find(&text, shell::SETUP.as_bytes()).is_some();
                    self.line.expect.clear();
                    self.send_text(&text).await?;
                }
                LoginStep::SendPassword => {
                    self.line.expect.clear();
                    let secret = password.map(ExposeSecret::expose_secret).unwrap_or_default();
                    let typed = self.typed(format!("{secret}\n").as_bytes());
                    self.send_paced(&typed, b"<password>").await?;
                }
                LoginStep::Done => break,
                LoginStep::Failed(reason) => return Err(self.login_failed(reason, started_at)),
            }
        }
        self.line.expect.clear();
        self.line.arm(true);
        (self.at_shell, self.busy, self.booting) = (true, false, false);
        Ok(())
    }

    fn login_failed(&mut self, reason: LoginFailure, started_at: Monotonic) -> ConsoleError {
        let tail = self.line.tail();
        let error = match reason {
            LoginFailure::Silent => ConsoleError::Silent { waited_for: self.now().since(started_at), tail },
            reason => ConsoleError::LoginFailed { reason, tail },
        };
        self.line.trouble().unwrap_or(error)
    }

    async fn wait_until(
        &mut self,
        patterns: &[Pattern],
        deadline: Monotonic,
        within: Duration,
        awaited: &'static str,
    ) -> Result<Match, ConsoleError> {
        let found = self.look_until(patterns, deadline).await?;
        found.ok_or_else(|| self.timeout(awaited, within))
    }

    /// The earliest of several patterns, if one comes before `deadline`.
    async fn look_until(
        &mut self,
        patterns: &[Pattern],
        deadline: Monotonic,
    ) -> Result<Option<Match>, ConsoleError> {
        let mut search = Search::new(patterns);
        loop {
            let idle_for = self.line.idle_for();
            if let Some(found) = self.line.expect.poll(&mut search, idle_for) {
                return Ok(Some(found));
            }
            if self.now() >= deadline {
                return Ok(None);
            }
            let silence = self.line.idle_at(PROMPT_SILENCE);
            let next = if idle_for < PROMPT_SILENCE { silence.min(deadline) } else { deadline };
            self.line.pump(next).await?;
        }
    }

    /// Ends a command that printed nothing for too long: a shell that comes back says that the program hung, a line on
    /// which not even an echo comes that the board did.
    async fn quiet(&mut self, quiet: ConsoleError) -> ConsoleError {
        let asked_at = self.now();
        match self.recover().await {
            Ok(shell_back) => (self.at_shell, self.busy) = (shell_back, !shell_back),
            Err(ConsoleError::NoOutput { .. }) => self.at_shell = false,
            Err(error) => return error,
        }
        self.silence_since(asked_at).unwrap_or(quiet)
    }

    /// What it is when not a byte came since then, although something was sent.
    fn silence_since(&mut self, asked_at: Monotonic) -> Option<ConsoleError> {
        let last = self.line.received_at();
        (!self.at_shell && last <= asked_at)
            .then(|| ConsoleError::Silent { waited_for: self.now().since(last), tail: self.line.tail() })
    }

    /// Ends a command that took too long, and finds out whether the shell is still there.
    async fn interrupted(&mut self, within: Duration) -> ConsoleError {
        if let Some(trouble) = self.line.trouble() {
            return trouble;
        }
        let (tail, asked_at) = (self.line.tail(), self.now());
        self.at_shell = match self.recover().await {
            Ok(shell_back) => shell_back,
            Err(error) => return error,
        };
        self.busy = !self.at_shell;
        if let Some(silent) = self.silence_since(asked_at) {
            return silent;
        }
        let awaited = "the end of the command";
        ConsoleError::Timeout { awaited, waited_for: within, tail, shell_back: self.at_shell }
    }

    async fn recover(&mut self) -> Result<bool, ConsoleError> {
        self.line.begin(false);
        self.line.send(CTRL_C, b"<interrupt>").await?;
        self.line.pump_until(self.after(INTERRUPT_PAUSE)).await?;
        let marker = self.marker();
        self.line.expect.clear();
        self.send_text(&shell::proof("", &marker)).await?;
        let deadline = self.after(RECOVER_WITHIN);
        while self.now() < deadline {
            if shell::is_proven(&self.text(), &marker) {
                return Ok(true);
            }
            self.line.pump(deadline).await?;
        }
        Ok(false)
    }

    fn should_reask(&self, marker: &Marker, left: Duration, within: Duration, reasks: u32) -> bool {
        let idle_for = self.line.idle_for();
        if reasks >= REASKS_MAX || idle_for < REASK_MANGLED {
            return false;
        }
        let mangled = marker.is_mangled_in(self.line.expect.window().trim_ascii_end());
        // What is typed while a command runs may become its input, so mere silence counts only late.
        let late = left <= within / (2 << reasks) && idle_for >= REASK_SILENCE;
        mangled || late
    }

    fn logged_out(&self) -> bool {
        self.line.idle_for() >= LOGGED_OUT && self.login.ends(&printk::strip(self.text().as_bytes()))
    }

    /// The cleaned end of what was received and not awaited yet.
    fn text(&self) -> String {
        let window = self.line.expect.window();
        clean::text(&window[window.len().saturating_sub(TEXT_BYTES_MAX)..])
    }

    fn timeout(&mut self, awaited: &'static str, waited_for: Duration) -> ConsoleError {
        let (tail, silent_for) = (self.line.tail(), self.now().since(self.line.received_at()));
        let silent = silent_for >= BOOT_SILENT.max(waited_for / 2);
        let error = match self.booting && silent && self.line.kernel_spoke() && !self.shows_any_prompt() {
            true => ConsoleError::Silent { waited_for: silent_for, tail },
            false => ConsoleError::Timeout { awaited, waited_for, tail, shell_back: false },
        };
        self.line.trouble().unwrap_or(error)
    }

    /// Whether the board waits for somebody: it is silent, and well.
    fn shows_any_prompt(&self) -> bool {
        [&self.login, &self.prompt, &self.bootloader].into_iter().any(|prompt| self.shows(prompt))
    }

    fn marker(&mut self) -> Marker {
        let marker = Marker::new(self.ids.letters(MARKER_LETTERS));
        self.line.own(&marker);
        marker
    }

    fn now(&self) -> Monotonic {
        self.line.clock.monotonic()
    }

    fn after(&self, duration: Duration) -> Monotonic {
        self.now() + duration
    }

    /// Text with this console's newlines.
    fn typed(&self, text: &[u8]) -> Vec<u8> {
        let mut typed = Vec::with_capacity(text.len() + 8);
        for byte in text {
            match byte {
                b'\n' => typed.extend_from_slice(&self.settings.newline),
                byte => typed.push(*byte),
            }
        }
        typed
    }

    async fn send_text(&mut self, text: &[u8]) -> Result<(), ConsoleError> {
        let typed = self.typed(text);
        self.send_paced(&typed, &typed).await
    }

    /// Sends in chunks with pauses where the board needs them; reads along meanwhile.
    async fn send_paced(&mut self, bytes: &[u8], record: &[u8]) -> Result<(), ConsoleError> {
        let (char_delay, line_delay) = (self.settings.char_delay, self.settings.line_delay);
        if char_delay.is_zero() && line_delay.is_zero() {
            return self.line.send(bytes, record).await;
        }
        let mut record = Some(record);
        let size = if char_delay.is_zero() { usize::MAX } else { self.settings.chunk.max(1) };
        let enter = self.settings.newline.last().copied().unwrap_or(b'\r');
        let mut rest = bytes;
        while !rest.is_empty() {
            let line = memchr::memchr(enter, rest).map_or(rest.len(), |at| at + 1);
            let (chunk, after) = rest.split_at(line.min(size));
            // The record is written once, with the first chunk.
            self.line.send(chunk, record.take().unwrap_or_default()).await?;
            rest = after;
            if !rest.is_empty() {
                let ends_line = chunk.last() == Some(&enter);
                let pause = char_delay + if ends_line { line_delay } else { Duration::ZERO };
                self.line.pump_until(self.after(pause)).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
