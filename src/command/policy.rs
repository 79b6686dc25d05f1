//! Policy: who may do what. Stands between `parse` and `handle`; pure, and the only place that reads
//! [`Roles`]. Whether a run or board exists is not decided here.
//!
//! People count by their platform's immutable id. Roles add up: an admin is an operator, an operator a user. A lab
//! that names neither operators nor admins is an **open lab**: there every user is an operator. As soon as one of
//! them is named, everything beyond a user's own runs is denied to everybody else.
//!
//! | what | who |
//! | --- | --- |
//! | help | everybody |
//! | look, start a run, `power … status` | user |
//! | cancel, retry, power-cycle one's own run | user |
//! | the same for other people's runs | operator |
//! | reload, dead letters, audit | admin |
//! | begin a campaign, pause and end one's own | user |
//! | pause schedules, steer other people's campaigns, go on past a gate, roll back | operator |
//! | `/lab power … on, off, cycle`, quarantine, return, drain | operator |
//! | reserve, extend and give back, and switch the board that one has | user |
//! | take a board away from whoever has it | operator |
//! | type at the console of the board that one has, watch any | user |
//! | type at the consoles of other people's boards | operator |
//! | make and revoke tokens, read the audit log over the API | admin |
//!
//! Whoever comes with a token of the API has its role, whatever boards.yaml says, and no more than its
//! [`Standing`] reaches.

use serde_json::json;

use super::grammar::Role;
use super::standing::{Area, Standing};
use super::{Command, Verb};
use crate::board::groups::is_group;
use crate::board::inventory::{Inventory, Quota, Roles};
use crate::board::plan::PowerAction;
use crate::campaign::Asked as Ask;
use crate::chat::{Actor, Platform};
use crate::message::Phrase;

/// What the id of a schedule begins with, where that acts: a user, whatever boards.yaml says of people.
pub const SCHEDULE_ID: &str = "schedule:";

/// Who acts with `BOARDHAND_ADMIN_TOKEN`: an admin, whatever boards.yaml says.
pub const ADMIN_ID: &str = "admin";

/// Whether somebody may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// They may.
    Allowed {
        /// Why, for the audit log.
        because: String,
    },
    /// They may not.
    Denied(Denial),
}

/// Why somebody may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// For the audit log, which names them.
    pub reason: String,
    /// For the answer, which speaks to them.
    pub said: Phrase,
    /// The role that may, whatever the rule.
    pub needs: Role,
    /// Which rule of boards.yaml says so.
    pub rule: Denies,
}

/// A rule that denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denies {
    /// `roles:`, and which of them a command needs; or what a token is for.
    Role,
    /// People of another workspace or tenant may nothing that `roles:` does not give to them by name.
    Workspace,
    /// `permissions: {channels: …}`.
    Channel,
    /// `permissions: {families: …}`.
    Family,
}

impl Denies {
    /// The word in an answer's facts.
    pub fn as_str(self) -> &'static str {
        match self {
            Denies::Role => "role",
            Denies::Workspace => "workspace",
            Denies::Channel => "channel",
            Denies::Family => "family",
        }
    }
}

impl Permission {
    /// Whether they may.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Permission::Allowed { .. })
    }
}

/// What policy looks at: a command or a pressed button.
#[derive(Debug, Clone, Copy)]
pub enum Asked<'a> {
    /// A command in words.
    Command(&'a Command),
    /// A button.
    Click(Verb),
    /// A place at a board's console: to type there, or to watch.
    Console {
        /// Whether they type.
        types: bool,
    },
    /// The tokens of the API.
    Tokens,
    /// A build that a CI tells of.
    Build,
}

/// Who acts.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// By their id.
    pub actor: &'a Actor,
    /// What their token grants, where they came with one.
    pub standing: Option<&'a Standing>,
    /// Every id that they have, as boards.yaml writes people; their own where nothing is said.
    pub keys: Option<&'a [String]>,
    /// The groups that they are known to be in, as boards.yaml writes them.
    pub groups: &'a [String],
    /// Whether they are of another workspace: `*` does not mean them.
    pub foreign: bool,
}

impl<'a> From<&'a Actor> for Who<'a> {
    fn from(actor: &'a Actor) -> Self {
        Who { actor, standing: None, keys: None, groups: &[], foreign: false }
    }
}

/// What policy must know about the run that is meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct About<'a> {
    /// Whether the actor asked for it. Irrelevant where no run is meant.
    pub own_run: bool,
    /// Whether the board that is meant is the actor's own now.
    pub own_board: bool,
    /// The family of the board or run that is meant, where one is.
    pub family: Option<&'a str>,
}

/// Whether somebody may do what they asked, by their role.
pub fn allowed<'w>(asked: Asked<'_>, who: impl Into<Who<'w>>, roles: &Roles, about: About<'_>) -> Permission {
    judged(asked, who.into(), roles, about, None)
}

/// The role that is needed, and for what; `set` instead of its own. `None` where everybody may.
pub(super) fn needs(asked: Asked<'_>, about: About<'_>, set: Option<Role>) -> Option<(Role, &'static str)> {
    let Rule { needs, what } = rule(asked, about);
    needs.map(|needs| (set.unwrap_or(needs), what))
}

/// The same as [`allowed`], where the lab sets another role for it.
pub(super) fn judged(
    asked: Asked<'_>,
    who: Who<'_>,
    roles: &Roles,
    about: About<'_>,
    set: Option<Role>,
) -> Permission {
    let (actor, what) = (who.actor, rule(asked, about).what);
    let Some((needs, _)) = needs(asked, about, set) else {
        return Permission::Allowed { because: format!("everybody may {what}") };
    };
    if who.standing.is_some_and(|standing| !standing.reaches(area(asked), about.family)) {
        return Permission::Denied(Denial {
            reason: format!("the token of {} is not for this: it may not {what} here", actor.key()),
            said: Phrase::new("out-of-scope", json!({ "deed": what })),
            needs,
            rule: Denies::Role,
        });
    }
    match role_of(who, roles) {
        Some(held) if held.role >= needs => {
            let group = held.group.map_or(String::new(), |group| format!(", being in {group},"));
            Permission::Allowed { because: format!("{} is {}{group} and may {what}", actor.key(), held.how) }
        }
        Some(held) => Permission::Denied(Denial {
            reason: format!("only an {} may {what}; {} is {}", needs.as_str(), actor.key(), held.how),
            said: Phrase::new(
                "only-role",
                json!({ "needs": needs.as_str(), "deed": what, "held": held.how }),
            ),
            needs,
            rule: Denies::Role,
        }),
        None => Permission::Denied(Denial {
            reason: format!("{} has no role in this lab and may not {what}", actor.key()),
            said: Phrase::new("no-role", json!({ "deed": what })),
            needs,
            rule: Denies::Role,
        }),
    }
}

struct Rule {
    /// `None`: everybody, whoever they are.
    needs: Option<Role>,
    what: &'static str,
}

/// What a request is for.
pub(super) fn area(asked: Asked<'_>) -> Area {
    match asked {
        Asked::Command(command) => match command {
            Command::Help { .. }
            | Command::Boards { .. }
            | Command::Board { .. }
            | Command::Runs { .. }
            | Command::Run(_)
            | Command::Why(_)
            | Command::Log { .. }
            | Command::Digest
            | Command::Link { .. }
            | Command::Unlink { person: None }
            | Command::Workers
            | Command::Watch { .. }
            | Command::Unwatch { .. }
            | Command::Compare(_)
            | Command::Schedules { paused: None, .. }
            | Command::Drain { target: None, .. }
            | Command::Builds { .. }
            | Command::Campaign { what: None, .. }
            | Command::Power { action: PowerAction::Status, .. } => Area::Read,
            Command::RunTest(_)
            | Command::Cancel(_)
            | Command::Retry { .. }
            | Command::Campaign { .. }
            | Command::Schedules { .. }
            | Command::OwnSchedule { .. } => Area::Runs,
            Command::Power { .. }
            | Command::Quarantine { .. }
            | Command::Return { .. }
            | Command::Drain { .. }
            | Command::Undrain { .. }
            | Command::Reserve { .. }
            | Command::Extend { .. }
            | Command::Release { .. }
            | Command::Hold { .. }
            | Command::Notify { .. }
            | Command::Nudge { .. }
            | Command::Handover { .. } => Area::Boards,
            Command::Reload
            | Command::DeadLetters
            | Command::Resend { .. }
            | Command::Audit(_)
            | Command::Unlink { person: Some(_) } => Area::Admin,
        },
        Asked::Click(verb) => match verb {
            Verb::Why | Verb::WhyAll | Verb::Log => Area::Read,
            Verb::Retry
            | Verb::RetryElsewhere
            | Verb::Cancel
            | Verb::CancelAll
            | Verb::PowerCycle
            | Verb::CampaignPause
            | Verb::CampaignResume
            | Verb::CampaignContinue
            | Verb::CampaignRollback
            | Verb::CampaignCancel => Area::Runs,
            Verb::Return
            | Verb::Extend
            | Verb::Release
            | Verb::PowerOff
            | Verb::PowerAnyway
            | Verb::Leave
            | Verb::Hold
            | Verb::Nudge
            | Verb::Notify
            | Verb::Accept => Area::Boards,
        },
        Asked::Console { types } => {
            if types {
                Area::Boards
            } else {
                Area::Read
            }
        }
        Asked::Build => Area::Runs,
        Asked::Tokens => Area::Admin,
    }
}

fn rule(asked: Asked<'_>, about: About<'_>) -> Rule {
    use Role::{Operator, User};
    let look = |what| Rule { needs: Some(User), what };
    let admin = |what| Rule { needs: Some(Role::Admin), what };
    let on_a_run = |own: &'static str, others: &'static str| match about.own_run {
        true => Rule { needs: Some(User), what: own },
        false => Rule { needs: Some(Operator), what: others },
    };
    let cancel = || on_a_run("cancel their own run", "cancel other people's runs");
    let keep = || on_a_run("keep the board of their own run", "keep the boards of other people's runs");
    // Whoever may start a run may start the same one again, whoever asked for it first.
    let retry = || look("retry runs");
    // Whose board it is now, theirs it is to switch: a power cycle under somebody is what they took it for.
    let switch = || match about.own_board {
        true => look("switch the power of the board that they have"),
        false => Rule { needs: Some(Operator), what: "switch a board's power" },
    };
    let release = || match about.own_board {
        true => look("give their board back"),
        false => Rule { needs: Some(Operator), what: "take other people's boards away" },
    };
    let steer = |ask| match ask {
        Some(Ask::Continue | Ask::Rollback) => {
            Rule { needs: Some(Operator), what: "decide how a campaign goes on" }
        }
        None => look("begin campaigns"),
        Some(Ask::Pause | Ask::Resume | Ask::Cancel) => {
            on_a_run("steer their own campaign", "steer other people's campaigns")
        }
    };
    match asked {
        Asked::Command(command) => match command {
            Command::Help { .. } => Rule { needs: None, what: "ask for help" },
            Command::Boards { .. } | Command::Board { .. } | Command::Digest | Command::Workers => {
                look("look at boards")
            }
            Command::Builds { .. } => look("look at builds"),
            Command::Runs { .. }
            | Command::Run(_)
            | Command::Why(_)
            | Command::Log { .. }
            | Command::Compare(_) => look("look at runs"),
            Command::RunTest(_) => look("start runs"),
            Command::Cancel(_) => cancel(),
            Command::Retry { .. } => retry(),
            Command::Quarantine { .. } => Rule { needs: Some(Operator), what: "take boards out of service" },
            Command::Drain { target: None, .. } => look("look at what drains"),
            Command::Drain { .. } | Command::Undrain { .. } => {
                Rule { needs: Some(Operator), what: "drain boards and sites" }
            }
            Command::Reload => admin("read boards.yaml again"),
            Command::DeadLetters => admin("look at messages that were not sent"),
            Command::Resend { .. } => admin("send messages again"),
            Command::Audit(_) => admin("look at who did what"),
            Command::Campaign { what: None, .. } => look("look at campaigns"),
            Command::Campaign { what: Some(what), .. } => steer(super::campaign_asked(what)),
            Command::Schedules { paused: None, .. } => look("look at schedules"),
            Command::Schedules { .. } => Rule { needs: Some(Operator), what: "pause schedules" },
            Command::OwnSchedule { .. } => Rule { needs: Some(Operator), what: "make schedules" },
            Command::Return { .. } => Rule { needs: Some(Operator), what: "put boards back into service" },
            Command::Power { action, .. } => match action {
                PowerAction::Status => look("read a board's power"),
                PowerAction::On | PowerAction::Off | PowerAction::Cycle | PowerAction::Sequence(_) => {
                    switch()
                }
            },
            Command::Reserve { .. } => look("reserve boards"),
            Command::Hold { .. } => keep(),
            Command::Unlink { person: Some(_) } => admin("undo other people's links"),
            Command::Link { .. } | Command::Unlink { person: None } => {
                look("link themselves over two platforms")
            }
            Command::Watch { .. } | Command::Unwatch { .. } => look("be told of runs"),
            Command::Notify { .. } => look("be told of boards"),
            Command::Nudge { .. } => look("ask for boards"),
            Command::Handover { .. } => look("hand their board over"),
            Command::Extend { .. } => look("keep their board for longer"),
            Command::Release { .. } => release(),
        },
        Asked::Build => look("register builds"),
        Asked::Click(verb) => match verb {
            Verb::Why | Verb::WhyAll | Verb::Log => look("look at runs"),
            Verb::Cancel | Verb::CancelAll => cancel(),
            Verb::Return => Rule { needs: Some(Operator), what: "put boards back into service" },
            Verb::Retry | Verb::RetryElsewhere => retry(),
            Verb::Hold => keep(),
            Verb::Nudge => look("ask for boards"),
            Verb::Notify => look("be told of boards"),
            Verb::Accept => look("take a board that they are offered"),
            Verb::Extend => look("keep their board for longer"),
            Verb::Release => release(),
            Verb::PowerOff | Verb::PowerAnyway => switch(),
            Verb::Leave => look("look at boards"),
            Verb::PowerCycle => on_a_run("power-cycle their own run", "power-cycle other people's runs"),
            Verb::CampaignPause
            | Verb::CampaignResume
            | Verb::CampaignContinue
            | Verb::CampaignRollback
            | Verb::CampaignCancel => steer(verb.of_campaign()),
        },
        Asked::Tokens => Rule { needs: Some(Role::Admin), what: "make and revoke tokens" },
        Asked::Console { types: false } => look("watch consoles"),
        Asked::Console { types: true } => match about.own_board {
            true => look("type at the console of the board that they have"),
            false => Rule { needs: Some(Operator), what: "type at the consoles of other people's boards" },
        },
    }
}

struct Held {
    role: Role,
    how: &'static str,
    /// The group that gives it to them.
    group: Option<String>,
}

impl Held {
    fn new(role: Role, how: &'static str) -> Held {
        Held { role, how, group: None }
    }
}

/// The role of somebody in this lab.
pub fn role<'w>(who: impl Into<Who<'w>>, roles: &Roles) -> Option<Role> {
    role_of(who.into(), roles).map(|held| held.role)
}

/// What one person may have at once. Programs have no quota: who posts builds waits behind nobody's limit.
pub fn quota(actor: &Actor, lab: &Inventory) -> Quota {
    let keys = lab.people.keys(actor);
    // By their own ids: who is in a group is not known where runs are granted.
    let who = Who { keys: Some(&keys), ..Who::from(actor) };
    match (actor.platform, role(who, &lab.roles)) {
        (Platform::Api | Platform::Jenkins, _) => Quota::default(),
        (_, Some(Role::Admin)) => lab.quotas.admin,
        (_, Some(Role::Operator)) => lab.quotas.operator,
        (_, Some(Role::User) | None) => lab.quotas.user,
    }
}

fn role_of(who: Who<'_>, roles: &Roles) -> Option<Held> {
    let Who { actor, standing, .. } = who;
    if let Some(standing) = standing {
        let how = match standing.role {
            Role::Admin => "an admin by its token",
            Role::Operator => "an operator by its token",
            Role::User => "a user by its token",
        };
        return Some(Held::new(standing.role, how));
    }
    if actor.platform == Platform::Api && actor.id.starts_with(SCHEDULE_ID) {
        return Some(Held::new(Role::User, "a schedule"));
    }
    if actor.platform == Platform::Api {
        let admin = Held::new(Role::Admin, "the holder of the admin token");
        return (actor.id == ADMIN_ID).then_some(admin);
    }
    let own = [actor.key()];
    let keys = who.keys.unwrap_or(&own);
    // Being named counts before being in a group: it is what the record says.
    let listed = |list: &[String]| {
        let named = list.iter().any(|entry| match entry.as_str() {
            "*" => !who.foreign,
            entry => keys.iter().any(|key| names(entry, key)),
        });
        let group = || list.iter().find(|entry| who.groups.contains(entry));
        if named { Some(None) } else { group().map(|group| Some(group.clone())) }
    };
    let held = |role, how, group| Some(Held { role, how, group });
    if let Some(group) = listed(&roles.admin) {
        held(Role::Admin, "an admin", group)
    } else if let Some(group) = listed(&roles.operator) {
        held(Role::Operator, "an operator", group)
    } else if let Some(group) = listed(&roles.user) {
        match roles.admin.is_empty() && roles.operator.is_empty() {
            true => held(Role::Operator, "an operator of this open lab", group),
            false => held(Role::User, "a user", group),
        }
    } else {
        None
    }
}

/// Whether an entry of a list is this person's own id. A group's means nobody so, also should somebody's id ever read like
/// one: whoever is in it has that looked up.
pub(super) fn names(entry: &str, key: &str) -> bool {
    entry == key && !is_group(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{RunRef, RunTest};
    use crate::message::Note;
    use crate::message::template::Catalogue;

    fn actor(id: &str) -> Actor {
        Actor { platform: Platform::Slack, id: id.into(), team: String::new(), name: "root".into() }
    }

    fn roles(admin: &[&str], operator: &[&str], user: &[&str]) -> Roles {
        let own = |list: &[&str]| list.iter().map(|entry| (*entry).to_owned()).collect();
        Roles { admin: own(admin), operator: own(operator), user: own(user) }
    }

    fn closed() -> Roles {
        roles(&["slack:U0ADMIN"], &["slack:U0OPER", "slack:S0GROUP"], &["*"])
    }

    fn power(action: PowerAction) -> Command {
        Command::Power { board: "b".into(), action }
    }

    #[track_caller]
    fn check(command: &Command, who: &str, roles: &Roles, own_run: bool, expect: Result<(), Role>) {
        let got =
            match allowed(Asked::Command(command), &actor(who), roles, About { own_run, ..About::default() })
            {
                Permission::Allowed { because } => {
                    assert!(!because.is_empty());
                    Ok(())
                }
                Permission::Denied(Denial { reason, needs, .. }) => {
                    assert!(reason.contains(who), "{reason}");
                    Err(needs)
                }
            };
        assert_eq!(got, expect, "{who} {command:?}");
    }

    #[test]
    fn a_user_compares_runs() {
        let compare = Command::Compare(crate::command::Compare::default());
        check(&compare, "U1", &closed(), false, Ok(()));
        check(&compare, "U1", &roles(&[], &[], &["slack:U2"]), false, Err(Role::User));
    }

    #[test]
    fn a_user_starts_and_ends_their_own_runs() {
        let run = RunRef::Number(1);
        check(&Command::RunTest(RunTest::default()), "U1", &closed(), false, Ok(()));
        check(&Command::Cancel(run), "U1", &closed(), true, Ok(()));
        check(&Command::Retry { run, other_board: true }, "U1", &closed(), true, Ok(()));
    }

    #[test]
    fn other_peoples_runs_need_an_operator() {
        let run = RunRef::Number(1);
        check(&Command::Cancel(run), "U1", &closed(), false, Err(Role::Operator));
        check(&Command::Cancel(run), "U0OPER", &closed(), false, Ok(()));
        check(&Command::Cancel(run), "U0ADMIN", &closed(), false, Ok(()));
    }

    #[test]
    fn whoever_may_start_a_run_may_start_anybodys_again() {
        let retry = Command::Retry { run: RunRef::Number(1), other_board: false };
        check(&retry, "U1", &closed(), false, Ok(()));
        check(&retry, "U1", &roles(&[], &[], &["slack:U2"]), false, Err(Role::User));
    }

    #[test]
    fn power_is_an_operators_but_reading_it_is_not() {
        let recovery = PowerAction::Sequence("recovery".into());
        for action in [PowerAction::On, PowerAction::Off, PowerAction::Cycle, recovery] {
            check(&power(action.clone()), "U1", &closed(), true, Err(Role::Operator));
            check(&power(action), "U0OPER", &closed(), false, Ok(()));
        }
        check(&power(PowerAction::Status), "U1", &closed(), false, Ok(()));
    }

    #[test]
    fn in_an_open_lab_every_user_is_an_operator() {
        check(&power(PowerAction::Cycle), "U1", &Roles::default(), false, Ok(()));
        check(&power(PowerAction::Cycle), "U1", &roles(&[], &[], &["slack:U2"]), false, Err(Role::Operator));
        check(
            &power(PowerAction::Cycle),
            "U1",
            &roles(&["slack:U9"], &[], &["*"]),
            false,
            Err(Role::Operator),
        );
        check(
            &power(PowerAction::Cycle),
            "U1",
            &roles(&[], &["slack:S0X"], &["*"]),
            false,
            Err(Role::Operator),
        );
    }

    #[test]
    fn whoever_has_no_role_gets_help_only() {
        let listed = roles(&["slack:U9"], &[], &["slack:U2"]);
        check(&Command::Help { topic: None }, "U1", &listed, false, Ok(()));
        check(&Command::Boards { filter: None }, "U1", &listed, false, Err(Role::User));
        check(&Command::Cancel(RunRef::Thread), "U1", &listed, true, Err(Role::User));
    }

    #[test]
    fn a_group_means_nobody_and_a_name_means_nothing() {
        check(&power(PowerAction::Off), "S0GROUP", &closed(), false, Err(Role::Operator));
        check(&power(PowerAction::Off), "U0ADMINX", &closed(), false, Err(Role::Operator));
        let mut feishu = actor("U0ADMIN");
        feishu.platform = Platform::Feishu;
        let asked = power(PowerAction::Off);
        assert!(!allowed(Asked::Command(&asked), &feishu, &closed(), About::default()).is_allowed());
    }

    #[test]
    fn whoever_comes_with_a_token_has_its_role_and_its_scope_and_nothing_by_name() {
        let token = |role: &str, scope: &[&str]| {
            let scope: Vec<String> = scope.iter().map(|entry| (*entry).to_owned()).collect();
            Standing::parse(role, &scope).expect("a standing")
        };
        let ci = Actor { platform: Platform::Api, id: "ci".into(), team: String::new(), name: String::new() };
        let may = |asked: &Command, standing: Option<&Standing>, roles: &Roles, family: Option<&str>| {
            let who = Who { standing, ..Who::from(&ci) };
            allowed(Asked::Command(asked), who, roles, About { family, ..About::default() }).is_allowed()
        };
        let (run, off) = (Command::RunTest(RunTest::default()), power(PowerAction::Off));
        let open = Roles::default();
        assert!(!may(&run, None, &open, None), "without a token nobody comes this way");
        assert!(!may(&off, Some(&token("user", &[])), &open, None), "an open lab is open to people");
        assert!(!may(&off, Some(&token("user", &[])), &roles(&["api:ci"], &[], &[]), None));
        assert!(may(&off, Some(&token("operator", &[])), &closed(), None));
        assert!(may(&run, Some(&token("user", &["runs"])), &closed(), Some("socA")));
        assert!(!may(&off, Some(&token("operator", &["runs"])), &closed(), Some("socA")));
        assert!(may(&power(PowerAction::Status), Some(&token("user", &["runs"])), &closed(), None));
        assert!(!may(&run, Some(&token("user", &["family:socB"])), &closed(), Some("socA")));
        assert!(!may(&Command::Reload, Some(&token("admin", &["boards"])), &closed(), None));
        let denied = allowed(
            Asked::Command(&off),
            Who { standing: Some(&token("operator", &["runs"])), ..Who::from(&ci) },
            &closed(),
            About::default(),
        );
        let Permission::Denied(denial) = denied else { panic!("{denied:?}") };
        assert_eq!(
            denial.reason,
            "the token of api:ci is not for this: it may not switch a board's power here"
        );
    }

    #[test]
    fn whoever_may_not_is_told_in_chinese() {
        let catalogue = Catalogue::builtin();
        let run = RunRef::Number(1);
        let board = || "b".to_owned();
        let commands = [
            Command::Boards { filter: None },
            Command::Run(run),
            Command::RunTest(RunTest::default()),
            Command::Cancel(run),
            Command::Retry { run, other_board: false },
            Command::Quarantine { board: board(), reason: String::new() },
            Command::Return { board: board() },
            Command::Drain { target: None, lasts: None, reason: String::new() },
            Command::Undrain { target: board() },
            Command::Reload,
            power(PowerAction::Status),
            power(PowerAction::Off),
            Command::Reserve { target: board(), lasts: None, reason: String::new(), waits: true, site: None },
            Command::Extend { board: None, by: None },
            Command::Release { target: None, lease: None, undoes: vec![] },
        ];
        let asked = commands.iter().map(Asked::Command).chain(Verb::ALL.map(Asked::Click));
        let labs = [closed(), roles(&["slack:U9"], &[], &["slack:U2"])];
        let all = asked.flat_map(|asked| labs.iter().map(move |lab| (asked, lab)));
        for (asked, lab, own) in all.flat_map(|(asked, lab)| [false, true].map(|own| (asked, lab, own))) {
            let about = About { own_run: own, own_board: own, family: None };
            if let Permission::Denied(Denial { said, .. }) = allowed(asked, &actor("U1"), lab, about) {
                let answer = catalogue.render("zh", &Note::new("refused", json!({ "reason": said })));
                let words = answer.summary.replace("boards.yaml", "");
                let english = words.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
                let unknown = english.filter(|word| !["operator", "admin", "user"].contains(word));
                assert_eq!(unknown.collect::<Vec<_>>(), [""; 0], "{said:?}");
            }
        }
    }

    #[test]
    fn buttons_follow_the_same_rules() {
        for verb in Verb::ALL {
            let may = |who, own_run| {
                let about = About { own_run, own_board: own_run, family: None };
                allowed(Asked::Click(verb), &actor(who), &closed(), about).is_allowed()
            };
            assert!(may("U0OPER", false));
            let operators = [Verb::Return, Verb::CampaignContinue, Verb::CampaignRollback];
            assert_eq!(may("U1", true), !operators.contains(&verb), "{verb:?}");
            let own_only = [
                Verb::Cancel,
                Verb::CancelAll,
                Verb::PowerCycle,
                Verb::Return,
                Verb::Release,
                Verb::PowerOff,
                Verb::PowerAnyway,
                Verb::Hold,
                Verb::CampaignPause,
                Verb::CampaignResume,
                Verb::CampaignContinue,
                Verb::CampaignRollback,
                Verb::CampaignCancel,
            ];
            assert_eq!(may("U1", false), !own_only.contains(&verb), "{verb:?}");
        }
    }
}
