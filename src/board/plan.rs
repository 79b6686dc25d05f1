//! Plans: the steps a run performs on a board, and the limits around them. Types only; `lab_file` reads them,
//! `worker::runner` performs them.

use std::collections::BTreeMap;
use std::time::Duration;

use regex::bytes::Regex;
use serde::{Deserialize, Serialize};

use super::quoting::CommandTemplate;
use crate::outcome::parse::Format;

/// What a run does on a board, per family and suite.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its name under `plans:`.
    pub name: String,
    /// Watchdogs around the whole attempt.
    pub limits: Limits,
    /// When an attempt that ended `infra` is tried again.
    pub retry: RetryPolicy,
    /// What people may set with `name=value`.
    pub params: BTreeMap<String, ParamSpec>,
    /// `boots: golden`: the image is known to be good, so a boot that dies is the lab's fault.
    pub golden: bool,
    /// Steps until a shell listens.
    pub boot: Vec<Step>,
    /// Steps that bring the build onto the board.
    pub deploy: Vec<Step>,
    /// Steps whose results decide the verdict.
    pub test: Vec<Step>,
    /// Steps that gather evidence after the tests.
    pub collect: Vec<Step>,
    /// Steps on every path, also after cancel, timeout and crash.
    pub finally: Vec<Step>,
    /// Patterns watched from boot to the end.
    pub watch: Vec<WatchRule>,
}

/// Watchdogs around an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the lease to the outcome.
    pub total: Duration,
    /// The longest silence while a step waits for the board.
    pub no_output: Duration,
}

/// When an attempt that ended `infra` is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many more attempts, at most [`INFRA_RETRIES_MAX`].
    pub infra: u32,
    /// Whether boards that failed are avoided while another one could serve.
    pub other_board: bool,
}

/// Most attempts that follow one that ended `infra`.
pub const INFRA_RETRIES_MAX: u32 = 2;

/// One step of a plan.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its name in messages; the kind of step when the plan gives none.
    pub name: String,
    /// What is done.
    pub action: Action,
    /// How long it may take.
    pub within: Duration,
    /// How a `run` step's output, or a fetched file, becomes test cases.
    pub parse: Parser,
    /// Name under which a `run` step's output is kept.
    pub save: Option<String>,
    /// Whether a failing test step ends the tests.
    pub stop: bool,
}

/// What a step does.
#[derive(Debug, Clone)]
pub enum Action {
    /// Switches the board's outlet.
    Power(PowerAction),
    /// Stops the boot loader's countdown: waits for `expect`, answers with `send`.
    Interrupt {
        /// What announces the countdown.
        expect: Regex,
        /// What stops it.
        send: String,
    },
    /// One line at the boot loader's prompt; its values must need no quoting.
    Command(CommandTemplate),
    /// Waits until the console shows this.
    Wait(Regex),
    /// Sends text and a newline without waiting; its values must need no quoting, since nobody knows who listens.
    Send(CommandTemplate),
    /// Logs in, or accepts a shell that is already there.
    Login,
    /// Gets a prompt out of a console that may have lost it: waits through half of the time, then asks for it.
    ForcePrompt(PromptOf),
    /// Runs a program beside the board, without a shell.
    Host(HostCommand),
    /// One shell command; its values are quoted for POSIX sh.
    Run(CommandTemplate),
    /// Brings an artifact of the server onto the board, over the console.
    Upload {
        /// Its path inside the artifacts folder; its values must need no quoting.
        from: CommandTemplate,
        /// Where it goes.
        to: String,
    },
    /// Brings a file of the board back, over the console.
    Fetch {
        /// The file on the board.
        from: String,
        /// The name under which it is kept.
        name: String,
    },
}

/// A program that runs beside the board.
#[derive(Debug, Clone)]
pub struct HostCommand {
    /// Its name under `host_programs:`.
    pub name: String,
    /// Where it is.
    pub path: String,
    /// Its arguments, each one word whatever it holds.
    pub arguments: Vec<CommandTemplate>,
}

/// Whose prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptOf {
    /// The shell's.
    Shell,
    /// The boot loader's.
    Bootloader,
}

impl Action {
    /// The templates that the step fills in.
    pub fn templates(&self) -> &[CommandTemplate] {
        match self {
            Action::Command(template) | Action::Send(template) | Action::Run(template) => {
                std::slice::from_ref(template)
            }
            Action::Host(command) => &command.arguments,
            Action::Upload { from, .. } => std::slice::from_ref(from),
            Action::Power(_)
            | Action::Interrupt { .. }
            | Action::Wait(_)
            | Action::Login
            | Action::ForcePrompt(_)
            | Action::Fetch { .. } => &[],
        }
    }
}

impl Plan {
    /// A plan without a step: what stands in for one that the lab file lost while its run waited.
    pub fn empty(name: &str) -> Plan {
        Plan {
            name: name.to_owned(),
            limits: Limits { total: Duration::from_secs(60), no_output: Duration::from_secs(60) },
            retry: RetryPolicy { infra: 0, other_board: false },
            params: BTreeMap::new(),
            golden: false,
            boot: vec![],
            deploy: vec![],
            test: vec![],
            collect: vec![],
            finally: vec![],
            watch: vec![],
        }
    }

    /// Whether a step names an artifact of the build.
    pub fn names_artifact(&self, name: &str) -> bool {
        let templates = self.steps().flat_map(|step| step.action.templates());
        let mut names = templates.flat_map(CommandTemplate::placeholders);
        names.any(|(placeholder, _)| placeholder.artifact() == Some(name))
    }

    /// Every step in the order it would run.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        [&self.boot, &self.deploy, &self.test, &self.collect, &self.finally].into_iter().flatten()
    }
}

/// What can be done with a board's power.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum PowerAction {
    /// Switch on.
    On,
    /// Switch off.
    Off,
    /// Off, a pause, on.
    Cycle,
    /// Read the outlet; changes nothing.
    Status,
    /// The board's power sequence of this name.
    Sequence(String),
}

impl PowerAction {
    /// What can be done with every outlet; no sequence is called like one of these.
    pub const PLAIN: [PowerAction; 4] =
        [PowerAction::On, PowerAction::Off, PowerAction::Cycle, PowerAction::Status];

    /// The word in commands, tables and messages.
    pub fn as_str(&self) -> &str {
        match self {
            PowerAction::On => "on",
            PowerAction::Off => "off",
            PowerAction::Cycle => "cycle",
            PowerAction::Status => "status",
            PowerAction::Sequence(name) => name,
        }
    }

    /// What can be done with every outlet, by its word.
    pub fn plain(word: &str) -> Option<PowerAction> {
        PowerAction::PLAIN.into_iter().find(|action| action.as_str() == word)
    }
}

impl From<String> for PowerAction {
    fn from(word: String) -> Self {
        PowerAction::plain(&word).unwrap_or(PowerAction::Sequence(word))
    }
}

impl From<PowerAction> for String {
    fn from(action: PowerAction) -> Self {
        action.as_str().to_owned()
    }
}

/// How a step's output becomes test cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parser {
    /// The step is one test case: passed when it exits with 0.
    ExitCode,
    /// Its output holds results in these formats, at least one; its exit status counts as well.
    Formats(Vec<Format>),
    /// The file that a `fetch` step brings back is JUnit's XML.
    Junit,
}

/// A parameter that people may set.
#[derive(Debug, Clone)]
pub struct ParamSpec {
    /// What it accepts.
    pub kind: ParamKind,
    /// Its value when nobody sets it.
    pub default: Option<ParamValue>,
}

/// What a parameter accepts.
#[derive(Debug, Clone)]
pub enum ParamKind {
    /// A whole number within bounds.
    Integer {
        /// Smallest.
        min: Option<i64>,
        /// Largest.
        max: Option<i64>,
    },
    /// Text, matching a pattern where there is one.
    String {
        /// The whole value must match.
        pattern: Option<regex::Regex>,
    },
    /// `true` or `false`.
    Boolean,
    /// One of these words.
    Choice(Vec<String>),
}

/// A parameter's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ParamValue {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Text.
    String(String),
}

impl std::fmt::Display for ParamValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ParamValue::Boolean(value) => value.fmt(f),
            ParamValue::Integer(value) => value.fmt(f),
            ParamValue::String(value) => f.write_str(value),
        }
    }
}

/// A pattern watched on the console.
#[derive(Debug, Clone)]
pub struct WatchRule {
    /// What starts a hit, matched on one cleaned line.
    pub start: Regex,
    /// What ends its trace; only the line itself is kept when absent.
    pub until: Option<Regex>,
    /// What a hit means. `None` marks a pattern to ignore.
    pub meaning: Option<WatchMeaning>,
}

/// What a hit of a watch pattern means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchMeaning {
    /// The verdict it leads to.
    pub verdict: crate::outcome::Verdict,
    /// Its cause, such as `panic`.
    pub cause: String,
    /// Whether the attempt ends at once.
    pub fatal: bool,
}
