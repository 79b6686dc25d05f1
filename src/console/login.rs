//! Logging in: what to do next, given what the console shows and for how long it has been silent. Tolerates
//! noise, a console that is logged in already and a board that still boots. Holds no socket, no clock and no
//! password: it says when the password is due.

use std::time::Duration;

use super::expect::{PROMPT_SILENCE, Pattern};
use super::printk;
use super::shell::{self, MARKER_LETTERS, Marker};

/// Times a name and password are tried: noise on a line can spoil one.
pub const LOGIN_TRIES_MAX: u32 = 2;
/// Times an empty line is sent to wake a console that says nothing useful.
pub const NUDGES_MAX: u32 = 20;
/// Times a shell is asked to prove itself.
pub const PROOFS_MAX: u32 = 4;

/// Silence after which a booting board is woken. Long, since an earlier key would stop its boot loader.
const NUDGE_BOOTING: Duration = Duration::from_secs(15);
/// Silence after which a console that should be awake is woken again.
const NUDGE_AWAKE: Duration = Duration::from_secs(5);
/// Silence after which text that looks like no prompt is taken for one that nobody described.
const UNKNOWN_PROMPT: Duration = Duration::from_secs(1);
/// Silence that makes a dead end believed: a boot loader's prompt, a panic.
const DEAD_END: Duration = Duration::from_secs(2);
/// Nudges without a prompt after which whatever runs there is interrupted.
const NUDGES_BEFORE_INTERRUPT: u32 = 2;
/// Nudges to which a console that had shown something does not react, before it counts as wedged.
const NUDGES_UNHEARD: u32 = 3;
/// Silence after which a shell is asked again to prove itself.
const PROOF_AGAIN: Duration = Duration::from_secs(4);

/// What the console's prompts look like, and who logs in.
pub struct LoginPlan {
    /// The login prompt.
    pub login: Pattern,
    /// The shell's prompt.
    pub prompt: Pattern,
    /// The boot loader's prompt.
    pub bootloader: Pattern,
    /// Who logs in; `None` accepts only a shell that is there already.
    pub username: Option<String>,
    /// Whether there is a password to give.
    pub has_password: bool,
    /// How long to listen before the first byte is sent.
    pub settle: Duration,
    /// Whether the board was just switched on: it may stay silent for long, and a key would stop its boot loader.
    pub booting: bool,
    /// Whether a shell without a prompt may be behind the silence: the board is ours, and its last holder's shell
    /// may have been left quiet.
    pub typed_into_silence: bool,
    /// Whether a shell that was found is to keep the kernel's messages off the console.
    pub quiet_kernel: bool,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginStep {
    /// Go on listening.
    Wait,
    /// Send this, whose lines end in `\n`, and forget what was shown so far.
    Send(Vec<u8>),
    /// Send the password and a newline, and forget what was shown so far.
    SendPassword,
    /// A shell listens, quiet and proven.
    Done,
    /// It will not get better.
    Failed(LoginFailure),
}

/// Why a login cannot succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginFailure {
    /// Not a byte, not even an echo.
    #[error("the console is silent, or somebody else holds it")]
    Silent,
    /// Name or password were refused.
    #[error("the name or the password was refused")]
    Incorrect,
    /// No user name is set.
    #[error("the console asks for a user name and none is set")]
    NoUsername,
    /// No password is set.
    #[error("the console asks for a password and none is set")]
    NoPassword,
    /// It showed something when it was opened, and reacts to nothing since.
    #[error("the console shows old text and reacts to nothing that is typed: it is wedged")]
    Wedged,
    /// The boot loader stopped at its prompt.
    #[error("the board stands at its boot loader's prompt")]
    AtBootloader,
    /// The kernel died.
    #[error("the kernel panicked")]
    Panic,
    /// Something answers, and it is no shell.
    #[error("something answers that is neither a login prompt nor a shell")]
    NoShell,
}

/// A login under way.
pub struct Login {
    plan: LoginPlan,
    password: Pattern,
    marker: Marker,
    phase: Phase,
    nudges: u32,
    tries: u32,
    names: u32,
    proofs: u32,
    /// Whether it has shown anything at all.
    heard: bool,
    /// Whether it has shown anything since something was typed.
    reacted: bool,
    typed: bool,
    /// Whether what may run there was interrupted.
    interrupted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing was sent yet, or a prompt is awaited.
    Looking,
    /// A shell is asked to prove itself.
    Proving,
    /// The proven shell is told to be quiet.
    Quieting,
}

impl Login {
    /// A login that proves itself with these letters (`Ids::letters`, [`MARKER_LETTERS`] of them).
    pub fn new(plan: LoginPlan, letters: String) -> Self {
        debug_assert_eq!(letters.len(), MARKER_LETTERS);
        let password = Pattern::prompt(r"[Pp]assword: ?$|密码[:：] ?$").expect("a constant pattern");
        Login {
            plan,
            password,
            marker: Marker::new(letters),
            phase: Phase::Looking,
            nudges: 0,
            tries: 0,
            names: 0,
            proofs: 0,
            heard: false,
            reacted: false,
            typed: false,
            interrupted: false,
        }
    }

    /// Whether [`Login::next`] could decide anything yet; asking is cheap.
    pub fn is_due(&self, idle_for: Duration) -> bool {
        self.phase != Phase::Looking || idle_for >= PROMPT_SILENCE
    }

    /// Decides, from the cleaned text since the last step that sent something, and the silence at its end.
    pub fn next(&mut self, text: &str, idle_for: Duration) -> LoginStep {
        self.heard |= !text.trim().is_empty();
        self.reacted |= self.typed && !text.is_empty();
        let step = self.decide(text, idle_for);
        self.typed |= matches!(step, LoginStep::Send(_) | LoginStep::SendPassword);
        step
    }

    fn decide(&mut self, text: &str, idle_for: Duration) -> LoginStep {
        if self.phase != Phase::Looking && shell::is_proven(text, &self.marker) {
            return self.proven();
        }
        if idle_for < PROMPT_SILENCE {
            return LoginStep::Wait;
        }
        let text = printk::strip(text.as_bytes());
        if idle_for >= DEAD_END
            && let Some(failure) = self.dead_end(&text)
        {
            return LoginStep::Failed(failure);
        }
        self.at_prompt(&text).unwrap_or_else(|| self.at_silence(&text, idle_for))
    }

    fn proven(&mut self) -> LoginStep {
        if self.phase == Phase::Quieting {
            return LoginStep::Done;
        }
        self.phase = Phase::Quieting;
        self.proofs = 0;
        LoginStep::Send(shell::proof(&self.setup(), &self.marker))
    }

    fn setup(&self) -> String {
        format!("{}{}", shell::SETUP, if self.plan.quiet_kernel { shell::QUIET_KERNEL } else { "" })
    }

    fn dead_end(&self, text: &[u8]) -> Option<LoginFailure> {
        // Kernel messages are gone from the text, so a panic shows only where it has no stamp; the watch has the rest.
        if contains(text, b"Kernel panic - not syncing") {
            return Some(LoginFailure::Panic);
        }
        self.plan.bootloader.ends(text).then_some(LoginFailure::AtBootloader)
    }

    /// Answers the prompt at the end of the text, if there is one.
    fn at_prompt(&mut self, text: &[u8]) -> Option<LoginStep> {
        if self.plan.login.ends(text) {
            self.phase = Phase::Looking;
            let refused = self.names > 0 && (contains(text, b"incorrect") || contains(text, b"failure"));
            let Some(name) = &self.plan.username else {
                return Some(LoginStep::Failed(LoginFailure::NoUsername));
            };
            // Coming back here without a refusal (a getty that started anew) costs no try, but not for ever.
            self.tries += u32::from(refused);
            self.names += 1;
            if self.tries >= LOGIN_TRIES_MAX || self.names > NUDGES_MAX {
                return Some(LoginStep::Failed(LoginFailure::Incorrect));
            }
            return Some(LoginStep::Send(format!("{name}\n").into_bytes()));
        }
        if self.password.ends(text) {
            let failed = LoginStep::Failed(LoginFailure::NoPassword);
            return Some(if self.plan.has_password { LoginStep::SendPassword } else { failed });
        }
        if contains(last_line(text), b"Please press Enter to activate this console") {
            return Some(LoginStep::Send(b"\n".to_vec()));
        }
        let may_prove = self.phase == Phase::Looking && !self.plan.bootloader.ends(text);
        (may_prove && self.plan.prompt.ends(text)).then(|| self.prove())
    }

    fn at_silence(&mut self, text: &[u8], idle_for: Duration) -> LoginStep {
        if self.phase != Phase::Looking {
            return if idle_for >= PROOF_AGAIN { self.prove() } else { LoginStep::Wait };
        }
        let shown = !last_line(text).trim_ascii().is_empty();
        if shown && self.nudges > 0 && idle_for >= UNKNOWN_PROMPT && !self.plan.booting {
            return self.prove();
        }
        let patience = match (self.plan.booting, self.nudges) {
            (true, _) => NUDGE_BOOTING.max(self.plan.settle),
            (false, 0) => self.plan.settle,
            (false, _) => NUDGE_AWAKE,
        };
        if idle_for < patience {
            return LoginStep::Wait;
        }
        // Whatever is typed into a console that another client holds may reach the board later.
        let silent = self.nudges > 0 && !self.heard && !self.reacted && !self.plan.booting;
        // A shell that we left mute answers no nudge, whatever old text stands before it.
        if self.nudges > 0 && self.plan.typed_into_silence && self.proofs == 0 {
            return self.prove();
        }
        if self.nudges >= NUDGES_UNHEARD && self.is_wedged() {
            return LoginStep::Failed(LoginFailure::Wedged);
        }
        // Whatever takes lines and shows no prompt is a command that somebody left behind.
        if self.nudges >= NUDGES_BEFORE_INTERRUPT && self.may_interrupt() {
            return self.interrupt();
        }
        match silent {
            true => LoginStep::Failed(LoginFailure::Silent),
            false if self.nudges >= NUDGES_MAX => LoginStep::Failed(LoginFailure::NoShell),
            false => {
                self.nudges += 1;
                LoginStep::Send(b"\n".to_vec())
            }
        }
    }

    fn prove(&mut self) -> LoginStep {
        let quieting = self.phase == Phase::Quieting;
        if self.proofs >= PROOFS_MAX {
            return LoginStep::Failed(match self.heard {
                true if self.is_wedged() => LoginFailure::Wedged,
                true => LoginFailure::NoShell,
                false => LoginFailure::Silent,
            });
        }
        if self.proofs >= PROOFS_MAX / 2 && !quieting && self.may_interrupt() {
            return self.interrupt();
        }
        self.proofs += 1;
        if !quieting {
            self.phase = Phase::Proving;
        }
        let setup = if quieting { self.setup() } else { String::new() };
        LoginStep::Send(shell::proof(&setup, &self.marker))
    }

    /// Whether it showed something once and nothing since something was typed: a console server that replays what it
    /// kept, or whose other side is stuck.
    fn is_wedged(&self) -> bool {
        self.heard && !self.reacted && !self.plan.booting
    }

    fn may_interrupt(&self) -> bool {
        self.reacted && !self.interrupted && !self.plan.booting
    }

    fn interrupt(&mut self) -> LoginStep {
        self.interrupted = true;
        self.phase = Phase::Looking;
        LoginStep::Send(b"\x03".to_vec())
    }
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(text, needle).is_some()
}

fn last_line(text: &[u8]) -> &[u8] {
    &text[memchr::memrchr(b'\n', text).map_or(0, |at| at + 1)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn plan() -> LoginPlan {
        let prompt = |p| Pattern::prompt(p).expect("pattern");
        LoginPlan {
            login: prompt("login: $"),
            prompt: prompt("[#$] $"),
            bootloader: prompt("=> $"),
            username: Some("lab".into()),
            has_password: true,
            settle: MS(2000),
            booting: false,
            typed_into_silence: false,
            quiet_kernel: true,
        }
    }

    fn login(plan: LoginPlan) -> Login {
        Login::new(plan, "abcdefghij".into())
    }

    fn send(text: &str) -> LoginStep {
        LoginStep::Send(text.as_bytes().to_vec())
    }

    fn setup() -> LoginStep {
        let setup = format!("{}{}", shell::SETUP, shell::QUIET_KERNEL);
        LoginStep::Send(shell::proof(&setup, &Marker::new("abcdefghij".into())))
    }

    /// Each entry: what is shown, after how much silence, and the step that follows.
    #[track_caller]
    fn check(plan: LoginPlan, story: &[(&str, u64, LoginStep)]) {
        let mut login = login(plan);
        for (n, (text, idle, step)) in story.iter().enumerate() {
            assert_eq!(&login.next(text, MS(*idle)), step, "step {n}");
        }
    }

    #[test]
    fn a_login_with_a_password_ends_in_a_proven_quiet_shell() {
        check(
            plan(),
            &[
                ("board login: ", 50, LoginStep::Wait),
                ("board login: ", 100, send("lab\n")),
                ("lab\nPassword: ", 100, LoginStep::SendPassword),
                ("\nLast login: Mon\nWelcome\n$ ", 100, send("echo abcde''fghij\n")),
                ("echo abcde''fghij\nabcdefghij\n$ ", 0, setup()),
                ("stty -echo...\nabcdefghij\n", 0, LoginStep::Done),
            ],
        );
    }

    #[test]
    fn a_console_that_is_logged_in_already_is_proven() {
        check(
            plan(),
            &[
                ("", 1000, LoginStep::Wait),
                ("", 2000, send("\n")),
                ("\n# ", 100, send("echo abcde''fghij\n")),
            ],
        );
    }

    #[test]
    fn kernel_messages_behind_a_prompt_do_not_hide_it() {
        check(plan(), &[("board login: [   12.345678] random: crng init done\n", 100, send("lab\n"))]);
    }

    #[test]
    fn a_refused_login_is_tried_once_more() {
        check(
            plan(),
            &[
                ("login: ", 100, send("lab\n")),
                ("Password: ", 100, LoginStep::SendPassword),
                ("\nLogin incorrect\nlogin: ", 100, send("lab\n")),
                ("Password: ", 100, LoginStep::SendPassword),
                ("\nLogin incorrect\nlogin: ", 100, LoginStep::Failed(LoginFailure::Incorrect)),
            ],
        );
    }

    #[test]
    fn missing_names_and_passwords_are_told() {
        let nobody = LoginPlan { username: None, ..plan() };
        check(nobody, &[("login: ", 100, LoginStep::Failed(LoginFailure::NoUsername))]);
        let open = LoginPlan { has_password: false, ..plan() };
        check(open, &[("Password: ", 100, LoginStep::Failed(LoginFailure::NoPassword))]);
    }

    #[test]
    fn a_console_that_waits_for_enter_gets_it() {
        check(plan(), &[("Please press Enter to activate this console. ", 100, send("\n"))]);
    }

    #[test]
    fn a_boot_loader_and_a_panic_are_dead_ends_once_they_are_believed() {
        check(
            plan(),
            &[("=> ", 1900, LoginStep::Wait), ("=> ", 2000, LoginStep::Failed(LoginFailure::AtBootloader))],
        );
        check(plan(), &[("Kernel panic - not syncing: x\n", 2000, LoginStep::Failed(LoginFailure::Panic))]);
    }

    #[test]
    fn nothing_more_is_typed_into_a_silent_console() {
        check(
            plan(),
            &[
                ("", 2000, send("\n")),
                ("", 4900, LoginStep::Wait),
                ("", 5000, LoginStep::Failed(LoginFailure::Silent)),
            ],
        );
    }

    #[test]
    fn a_console_that_replays_old_text_and_reacts_to_nothing_is_wedged() {
        let wedged = LoginStep::Failed(LoginFailure::Wedged);
        let deaf = ["old words\n", "", "", ""];
        let mut story: Vec<_> = deaf.iter().map(|text| (*text, 5000, send("\n"))).collect();
        story[3].2 = wedged.clone();
        check(plan(), &story);
        // An old prompt is asked for proof first.
        let proof = || send("echo abcde''fghij\n");
        check(
            plan(),
            &[
                ("board# ", 2000, proof()),
                ("", 4000, proof()),
                ("", 4000, proof()),
                ("", 4000, proof()),
                ("", 4000, wedged),
            ],
        );
    }

    #[test]
    fn a_command_that_somebody_left_behind_is_interrupted_once() {
        check(
            plan(),
            &[
                ("", 2000, send("\n")),
                ("\n", 5000, send("\n")),
                ("\n", 5000, send("\x03")),
                ("^C\nboard:~# ", 100, send("echo abcde''fghij\n")),
            ],
        );
        let mut login = login(plan());
        let steps: Vec<_> = (0..100).map(|_| login.next("\n", MS(60_000))).collect();
        assert_eq!(steps.iter().filter(|step| **step == send("\x03")).count(), 1);
        // So is a shell that waits for the end of a quotation.
        check(
            plan(),
            &[
                ("> ", 2000, send("\n")),
                ("\n> ", 1000, send("echo abcde''fghij\n")),
                ("echo abcde''fghij\n> ", 4000, send("echo abcde''fghij\n")),
                ("echo abcde''fghij\n> ", 4000, send("\x03")),
            ],
        );
    }

    #[test]
    fn a_kernel_is_quieted_unless_the_lab_file_says_otherwise() {
        for (quiet_kernel, expect) in [(true, true), (false, false)] {
            let mut login = login(LoginPlan { quiet_kernel, ..plan() });
            assert_eq!(login.next("# ", MS(100)), send("echo abcde''fghij\n"));
            let LoginStep::Send(setup) = login.next("abcdefghij\n# ", MS(0)) else { panic!("no setup") };
            assert_eq!(contains(&setup, b"dmesg -n 1"), expect);
        }
    }

    #[test]
    fn a_board_that_is_ours_may_hide_a_quiet_shell() {
        let ours = LoginPlan { typed_into_silence: true, ..plan() };
        check(
            ours,
            &[("", 2000, send("\n")), ("", 5000, send("echo abcde''fghij\n")), ("abcdefghij\n", 0, setup())],
        );
        // Also where the console shows what was there before.
        check(
            LoginPlan { typed_into_silence: true, ..plan() },
            &[
                ("half a line of before", 2000, send("\n")),
                ("", 5000, send("echo abcde''fghij\n")),
                ("abcdefghij\n", 0, setup()),
            ],
        );
    }

    #[test]
    fn a_booting_board_is_left_alone_for_long() {
        let booting = LoginPlan { booting: true, ..plan() };
        check(
            booting,
            &[
                ("", 14_000, LoginStep::Wait),
                ("DRAM: 256 MiB\n", 14_000, LoginStep::Wait),
                ("", 15_000, send("\n")),
            ],
        );
    }

    #[test]
    fn a_prompt_that_nobody_described_is_asked_for_proof() {
        check(
            plan(),
            &[("\nrk3588:/> ", 2000, send("\n")), ("\nrk3588:/> ", 1000, send("echo abcde''fghij\n"))],
        );
    }

    #[test]
    fn proofs_and_nudges_end() {
        let mut login = login(plan());
        let mut step = login.next("? ", MS(60_000));
        let mut sent = 0;
        while step != LoginStep::Failed(LoginFailure::NoShell) {
            sent += u32::from(step != LoginStep::Wait);
            assert!(sent <= NUDGES_MAX + PROOFS_MAX, "{step:?}");
            step = login.next("? ", MS(60_000));
        }
    }
}
