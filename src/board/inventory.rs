//! The inventory: boards.yaml as the rest of the program reads it. Immutable once made; never half valid.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use regex::bytes::Regex;
use secrecy::SecretString;

use super::groups::is_group;
use super::hooks::Hooks;
use super::hosts::HostRule;
use super::maintenance::Window;
use super::mapping::Mapping;
use super::people::People;
use super::plan::{ParamSpec, Plan};
use super::quoting::{CommandTemplate, UrlTemplate};
use super::schedule::Schedule;
use super::volume::{Daily, QuietHours, Verbosity};
use super::{Board, BoardId, Family, PowerDriver, Site};
use crate::campaign::Definition;
use crate::clock::Timestamp;
use crate::run::Priority;

/// The whole lab.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// Every board by its name.
    pub boards: BTreeMap<BoardId, Board>,
    /// Settings per family; every family that a board names is here.
    pub families: BTreeMap<Family, FamilySettings>,
    /// Plans by name, with the built-in `smoke`.
    pub plans: BTreeMap<String, Plan>,
    /// Where a site's boards are driven from; every site that a board names is here.
    pub sites: BTreeMap<Site, SiteSettings>,
    /// What of the file the workers of each remote site need, as a lab file of their own.
    pub remote: BTreeMap<Site, Arc<str>>,
    /// Who may do what.
    pub roles: Roles,
    /// What roles alone do not say.
    pub permissions: Permissions,
    /// Who is one person on two platforms.
    pub people: People,
    /// Where messages go.
    pub channels: Channels,
    /// How long people may have a board as their own.
    pub reservations: Reservations,
    /// What runs over many boards in waves, by name.
    pub campaigns: BTreeMap<String, Definition>,
    /// What each role may have and have waiting at once.
    pub quotas: Quotas,
    /// What starts at which times, by name.
    pub schedules: BTreeMap<String, Schedule>,
    /// When boards take nothing new, by name.
    pub maintenance: BTreeMap<String, Window>,
    /// Programs that a plan may run on the server.
    pub host_programs: BTreeMap<String, String>,
    /// What becomes of builds that are registered.
    pub builds: Builds,
    /// Who outside is told what.
    pub hooks: Hooks,
    /// SHA-256 of the file's bytes, in hex: two replicas with another file can tell.
    pub hash: String,
}

/// What becomes of builds that are registered.
#[derive(Debug, Clone, Default)]
pub struct Builds {
    /// Where their artifacts may be: `artifact_hosts:`.
    pub artifact_hosts: Vec<HostRule>,
    /// Which runs start with them: `on_build:`.
    pub rules: BTreeMap<String, BuildRule>,
    /// How what other programs post becomes builds and runs: `mapping:`.
    pub mappings: BTreeMap<String, Mapping>,
}

/// Runs that start with a build: an entry of `on_build:`.
#[derive(Debug, Clone)]
pub struct BuildRule {
    /// Builds of this family; it is in [`Inventory::families`].
    pub family: Family,
    /// Only of branches like this, with `*` for any characters.
    pub branch: Option<String>,
    /// Only of jobs like this, with `*` for any characters.
    pub job: Option<String>,
    /// The suite; the family's default one when absent.
    pub suite: Option<String>,
    /// On which revisions.
    pub revisions: Revisions,
    /// Their place in the queue.
    pub priority: Priority,
    /// Values of the suite's parameters.
    pub params: BTreeMap<String, String>,
    /// Where they are told: `slack:C0SOCCI`.
    pub channel: Option<String>,
}

/// On which revisions of boards a rule's runs are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Revisions {
    /// One run, on whichever.
    #[default]
    Any,
    /// A run on each that the family's boards have.
    All,
    /// A run on each of these.
    These(Vec<String>),
}

impl BuildRule {
    /// Whether it is about a build of this family, branch and job.
    pub fn is_about(&self, family: &Family, branch: Option<&str>, job: Option<&str>) -> bool {
        let like = |pattern: &Option<String>, is: Option<&str>| {
            pattern.as_deref().is_none_or(|pattern| is.is_some_and(|is| is_like(pattern, is)))
        };
        self.family == *family && like(&self.branch, branch) && like(&self.job, job)
    }
}

/// Whether a text is like a pattern, in which `*` stands for any characters.
pub fn is_like(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        match left.find(piece) {
            Some(at) => left = &left[at + piece.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

/// Settings of one family.
#[derive(Debug, Clone, Default)]
pub struct FamilySettings {
    /// Addresses of artifacts for builds that nobody registered, as templates over `build.id`.
    pub artifacts: BTreeMap<String, UrlTemplate>,
    /// The suite of a run that names none.
    pub default_suite: String,
    /// Suite name to plan name. Never empty.
    pub suites: BTreeMap<String, String>,
    /// Infra outcomes in a row after which a board is quarantined; 0, the default, never.
    pub quarantine_after: u32,
    /// How the family's boards are looked after between runs.
    pub health: Option<HealthSettings>,
    /// Where runs of its builds are told: `slack:C0SOCCI`.
    pub channel: Option<String>,
    /// Whether only builds that were registered are tested on these boards.
    pub registered_only: bool,
    /// Whether the console log of a run that went wrong is shown in its threads unasked.
    pub log_on_failure: bool,
    /// Console lines that look like trouble and are none on these boards, whatever plan they perform.
    pub ignore: Vec<Regex>,
}

/// How a family's boards are looked after between runs: `families.*.health`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSettings {
    /// The plan that tells a healthy board from a broken one. Always in [`Inventory::plans`].
    pub plan: String,
    /// How long after its last run or check a board is checked again; `None` never by time alone.
    pub every: Option<Duration>,
    /// Whether a board is checked after a run that ended `infra`.
    pub after_infra: bool,
}

/// Settings of one site.
#[derive(Debug, Clone, Copy, Default)]
pub struct SiteSettings {
    /// Whether its boards are driven only by a worker of that site.
    pub remote: bool,
    /// Whether its PDUs are switched by that worker (`pdu: worker`) instead of the server.
    pub pdu_at_worker: bool,
}

/// Who may do what: lists of `slack:U0LEAD`, of groups (`slack:S0GROUP`, `feishu:od-…`) or `*`.
#[derive(Debug, Clone)]
pub struct Roles {
    /// May do everything.
    pub admin: Vec<String>,
    /// May switch power and end other people's runs.
    pub operator: Vec<String>,
    /// May start runs and end their own.
    pub user: Vec<String>,
}

impl Default for Roles {
    fn default() -> Self {
        Roles { admin: vec![], operator: vec![], user: vec!["*".into()] }
    }
}

/// What roles alone do not say: `permissions:`.
#[derive(Debug, Clone, Default)]
pub struct Permissions {
    /// The role that a command needs, `user`, `operator` or `admin`, instead of its own; by the command's word.
    pub verbs: BTreeMap<String, String>,
    /// Families that only these people, also as members of a group, and admins may do anything with but look.
    pub families: BTreeMap<Family, Vec<String>>,
    /// The only channels where orders are taken; `None` where all are. A direct message is always taken.
    pub channels: Option<Vec<String>>,
    /// Workspaces and tenants, beside the app's own, whose people are no strangers.
    pub workspaces: Vec<String>,
}

/// How long people may have a board as their own: `reservations:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservations {
    /// Where nobody says for how long.
    pub default: Duration,
    /// The longest in all, extended or not, of a user.
    pub user: Duration,
    /// Of an operator.
    pub operator: Duration,
    /// Of an admin.
    pub admin: Duration,
    /// Most boards that one person has or waits for at once.
    pub most: u32,
    /// After how long without use a board goes back; `None` never.
    pub idle: Option<Duration>,
}

impl Default for Reservations {
    fn default() -> Self {
        let hours = |n: u64| Duration::from_secs(n * 3600);
        let (default, user, operator, admin) = (hours(2), hours(8), hours(24), hours(7 * 24));
        Reservations { default, user, operator, admin, most: 4, idle: None }
    }
}

/// What one person of a role may have at once: a part of `quotas:`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// Boards, of their runs and as their own; `None` as many as there are.
    pub boards: Option<u32>,
    /// Runs that wait.
    pub queued: Option<u32>,
    /// Hours of boards as their own, in the days of [`WINDOW`](crate::lease::held::WINDOW).
    pub held_hours: Option<u32>,
}

/// What people of each role may have at once: `quotas:`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quotas {
    /// A user.
    pub user: Quota,
    /// An operator.
    pub operator: Quota,
    /// An admin.
    pub admin: Quota,
}

/// Where messages go.
#[derive(Debug, Clone, Default)]
pub struct Channels {
    /// Where runs without a channel of their own are told: `slack:C0SOCCI`.
    pub default: Option<String>,
    /// Pairs of channels that tell the same story.
    pub mirrors: Vec<(String, String)>,
    /// Language per channel, `feishu:oc_abc`, or per platform, `feishu`; the channel's own counts.
    pub locale: BTreeMap<String, String>,
    /// How much is told, per channel or platform in the same way.
    pub verbosity: BTreeMap<String, Verbosity>,
    /// When nothing is told unasked, per channel or platform in the same way.
    pub quiet: BTreeMap<String, QuietHours>,
    /// When the digest of a channel, `slack:C0SOCCI`, is shown anew.
    pub digest: BTreeMap<String, Daily>,
    /// Whether the bot reacts to messages that ask for runs, per channel or platform; it does where nothing is said.
    pub reactions: BTreeMap<String, bool>,
}

impl Channels {
    /// How much a channel is told of runs.
    pub fn verbosity(&self, platform: &str, channel: &str) -> Verbosity {
        let own = self.verbosity.get(&format!("{platform}:{channel}"));
        own.or_else(|| self.verbosity.get(platform)).copied().unwrap_or_default()
    }

    /// Until when a channel hears nothing by itself; `None` where it does.
    pub fn quiet_until(&self, platform: &str, channel: &str, now: Timestamp) -> Option<Timestamp> {
        let own = self.quiet.get(&format!("{platform}:{channel}"));
        own.or_else(|| self.quiet.get(platform))?.end(now)
    }

    /// Whether the bot reacts to a message there that asks for a run.
    pub fn reacts(&self, platform: &str, channel: &str) -> bool {
        let own = self.reactions.get(&format!("{platform}:{channel}"));
        own.or_else(|| self.reactions.get(platform)).copied().unwrap_or(true)
    }

    /// The language that is spoken in a channel; `None` where none was chosen.
    pub fn language(&self, platform: &str, channel: &str) -> Option<&str> {
        let own = self.locale.get(&format!("{platform}:{channel}"));
        own.or_else(|| self.locale.get(platform)).map(String::as_str)
    }
}

impl Inventory {
    /// The board of that name.
    pub fn board(&self, name: &str) -> Option<&Board> {
        self.boards.get(name)
    }

    /// The family of that name.
    pub fn family(&self, name: &str) -> Option<(&Family, &FamilySettings)> {
        self.families.get_key_value(name)
    }

    /// The boards of a family.
    pub fn boards_of<'a>(&'a self, family: &'a Family) -> impl Iterator<Item = &'a Board> {
        self.boards.values().filter(move |board| board.family == *family)
    }

    /// Every password, community and token of the lab's consoles and switches: whatever prints one, on a board or beside
    /// it, must not tell it to a channel.
    pub fn secrets(&self) -> Vec<SecretString> {
        let of = |board: &Board| {
            let switches = board.power.drivers().flat_map(PowerDriver::secrets);
            board.console.password.clone().into_iter().chain(switches).collect::<Vec<_>>()
        };
        self.boards.values().flat_map(of).chain(self.hooks.secrets().cloned()).collect()
    }

    /// Every group of people that roles or permissions name.
    pub fn groups(&self) -> BTreeSet<String> {
        let Roles { admin, operator, user } = &self.roles;
        let families = self.permissions.families.values().flatten();
        let entries = admin.iter().chain(operator).chain(user).chain(families);
        entries.filter(|entry| is_group(entry)).cloned().collect()
    }

    /// Whether a plan may have its boards fetch files from us: boardhand's own artifacts, or those that a CI told of.
    pub fn fetches_from_us(&self) -> bool {
        let steps = self.plans.values().flat_map(Plan::steps);
        let mut names =
            steps.flat_map(|step| step.action.templates()).flat_map(CommandTemplate::placeholders);
        let told = !self.builds.artifact_hosts.is_empty();
        names.any(|(name, _)| name.is_served() || told && name.artifact().is_some())
            || self.families.values().any(|family| family.artifacts.values().any(UrlTemplate::is_served))
    }

    /// Whether a board is driven only by a worker of its site.
    pub fn is_remote(&self, board: &Board) -> bool {
        self.sites.get(&board.site).is_some_and(|site| site.remote)
    }

    /// Whether the server switches a board: also one that a worker drives, where its site's switches are the server's.
    pub fn is_switched_here(&self, board: &Board) -> bool {
        self.sites.get(&board.site).is_none_or(|site| !site.remote || !site.pdu_at_worker)
    }

    /// The plan behind a family's suite.
    pub fn plan_of(&self, family: &Family, suite: &str) -> Option<&Plan> {
        self.plans.get(self.families.get(family)?.suites.get(suite)?)
    }

    /// The parameters that people may set on a family's suite.
    pub fn params_of(&self, family: &Family, suite: &str) -> Option<&BTreeMap<String, ParamSpec>> {
        self.plan_of(family, suite).map(|plan| &plan.params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        let check = |pattern: &str, text: &str, expect: bool| {
            assert_eq!(is_like(pattern, text), expect, "{pattern} {text}")
        };
        check("main", "main", true);
        check("main", "maintenance", false);
        check("release/*", "release/1.2", true);
        check("release/*", "release", false);
        check("*", "", true);
        check("a*b*c", "a-b-b-c", true);
        check("a*b*c", "a-c", false);
        check("ab*b", "ab", false);
        check("*nightly*", "x/nightly-7", true);
    }
}
