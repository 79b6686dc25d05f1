//! What can be wrong with a simulated board, as plain data. Changed while it runs through `SimBoard::set_faults`.

use std::time::Duration;

/// A part of a board's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootStage {
    /// Before the boot loader.
    Spl,
    /// At the boot loader's banner.
    Bootloader,
    /// In the middle of the kernel's log.
    Kernel,
    /// Before the login prompt.
    Login,
    /// At the first shell prompt.
    Shell,
    /// In the middle of the test program.
    Test,
}

/// Everything that can be wrong with a board and its console. The default is a healthy board.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// Nobody listens on the console's port: connections are refused.
    pub refuse: bool,
    /// A console server that says this to every client and hangs up: `Port already in use`.
    pub busy: Option<String>,
    /// Connections are accepted and never answered; nothing typed reaches the board.
    pub silent: bool,
    /// What a console server shows every client first: text of a session before.
    pub replay: Option<String>,
    /// Nothing that is typed reaches the board, not even an echo of it comes back.
    pub deaf: bool,
    /// The other end of the connection is gone without a word: it reads nothing and says nothing, as a machine that lost its
    /// power.
    pub half_open: bool,
    /// Output goes out in TCP writes of at most so many bytes.
    pub split_every: Option<usize>,
    /// The board does not echo what is typed.
    pub no_echo: bool,
    /// So many of 1,000 output bytes are replaced by noise.
    pub garble_permille: u32,
    /// A typed character that follows the one before it sooner than this is lost.
    pub input_gap: Option<Duration>,
    /// The connection is dropped after so many bytes of output, each time.
    pub drop_after: Option<usize>,
    /// The board goes silent there until its power is cycled.
    pub hang_at: Option<BootStage>,
    /// The kernel panics there; before there is a kernel, the board just hangs.
    pub panic_at: Option<BootStage>,
    /// The board starts over there, again and again.
    pub reset_at: Option<BootStage>,
    /// So many telnet options are offered and asked for at once on connecting, at most [`STORM_OPTIONS_MAX`].
    pub negotiation_storm: usize,
    /// A kernel message cuts into the shell's output after every so many bytes, whatever the console's log level.
    pub printk_every: Option<usize>,
    /// The boot loader cannot load the kernel: `TFTP error`.
    pub netboot_fails: bool,
    /// Switching the outlet does not reach the board.
    pub power_stuck: bool,
}

/// Most options of a negotiation storm.
pub const STORM_OPTIONS_MAX: usize = 4096;
