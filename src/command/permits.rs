//! Permits: what boards.yaml says of who may, beyond roles: `permissions:`, people of other workspaces, and people who are
//! linked. Stands on `policy`, and asks it for the role. Pure.
//!
//! The rules, in their order; the first that denies is the one that is told:
//!
//! | rule | denies |
//! | --- | --- |
//! | `permissions: {channels: …}` | whatever people say in another channel, but for help; a direct message is always taken |
//! | another workspace or tenant | whoever `roles:` does not name by id: `*` means the app's own people |
//! | `roles:`, with `permissions: {verbs: …}` | whoever has not the role that the command needs; schedules and Jenkins need what it always needs, for nothing gives them more |
//! | `permissions: {families: …}` | people whom the family does not name, and who are no admins, but for looking and for giving back what they have; the API has its token's scope, Jenkins its secret |

use serde_json::json;

use super::grammar::{self, Form, Role};
use super::policy::{self, About, Asked, Denial, Denies, Permission, Who, names};
use super::standing::Area;
use super::{Command, Verb};
use crate::board::Inventory;
use crate::board::plan::PowerAction;
use crate::campaign::Asked as Ask;
use crate::chat::{Actor, Delivery, Intent, Platform};
use crate::message::Phrase;

/// Whether whoever is behind a delivery, and is in these groups, may do what they asked.
pub fn permitted(
    asked: Asked<'_>,
    delivery: &Delivery,
    groups: &[String],
    lab: &Inventory,
    about: About<'_>,
) -> Permission {
    let keys = lab.people.keys(&delivery.actor);
    let who = who(delivery, (&keys, groups));
    let permission = judged(asked, who, lab, about);
    let Some((needs, what)) = policy::needs(asked, about, set(asked, who, lab)) else { return permission };
    let (key, place) = (delivery.actor.key(), &delivery.place);
    let denied = |rule, reason: String, phrase: &str, family: Option<&str>| {
        let said = Phrase::new(phrase, json!({ "deed": what, "family": family }));
        Permission::Denied(Denial { reason, said, needs, rule })
    };
    let is_person = Platform::CHATS.contains(&delivery.actor.platform);
    if is_person && lab.permissions.channels.as_ref().is_some_and(|open| !is_open(delivery, open, lab)) {
        let channel = format!("{}:{}", place.platform.as_str(), place.channel);
        let reason = format!("permissions.channels has no {channel}, where {key} asked to {what}");
        return denied(Denies::Channel, reason, "not-in-this-channel", None);
    }
    if delivery.foreign && policy::role(who, &lab.roles).is_none() {
        let team = &delivery.actor.team;
        let reason = format!("{key} is of {team}, and roles does not name them, who may not {what}");
        return denied(Denies::Workspace, reason, "of-another-workspace", None);
    }
    let named = about.family.and_then(|family| Some((family, lab.permissions.families.get(family)?)));
    if let Some((family, people)) = named
        && permission.is_allowed()
        && is_person
        && policy::area(asked) != Area::Read
        && !gives_back(asked, about)
        && !people.iter().any(|entry| groups.contains(entry) || keys.iter().any(|key| names(entry, key)))
        && policy::role(who, &lab.roles).is_none_or(|role| role < Role::Admin)
    {
        let reason = format!("permissions.families.{family} does not name {key}, who may not {what} there");
        return denied(Denies::Family, reason, "not-that-family", Some(family));
    }
    permission
}

/// Whether somebody may by their role, and by what the lab says of the command: all that is asked of a program.
pub fn judged(asked: Asked<'_>, who: Who<'_>, lab: &Inventory, about: About<'_>) -> Permission {
    policy::judged(asked, who, &lab.roles, about, set(asked, who, lab))
}

/// The role that the lab sets for a command.
fn set(asked: Asked<'_>, who: Who<'_>, lab: &Inventory) -> Option<Role> {
    let has_a_role = who.standing.is_some() || Platform::CHATS.contains(&who.actor.platform);
    let set = verb(asked).filter(|_| has_a_role).and_then(|verb| lab.permissions.verbs.get(verb))?;
    Role::from_word(set)
}

/// Whether it only ends what somebody has.
fn gives_back(asked: Asked<'_>, about: About<'_>) -> bool {
    match asked {
        Asked::Command(Command::Release { .. }) | Asked::Click(Verb::Release) => about.own_board,
        Asked::Command(Command::Cancel(_)) | Asked::Click(Verb::Cancel | Verb::CancelAll) => about.own_run,
        Asked::Command(Command::Campaign { what: Some(what), .. }) => {
            about.own_run && matches!(super::campaign_asked(what), Some(Ask::Pause | Ask::Cancel))
        }
        _ => false,
    }
}

/// The role of whoever is behind a delivery.
pub fn role(delivery: &Delivery, groups: &[String], lab: &Inventory) -> Option<Role> {
    let keys = lab.people.keys(&delivery.actor);
    policy::role(who(delivery, (&keys, groups)), &lab.roles)
}

/// The role that everybody has whom `roles:` does not name, where they write this.
pub fn role_of_anybody(delivery: &Delivery, lab: &Inventory) -> Option<Role> {
    let nobody = Actor { id: String::new(), name: String::new(), ..delivery.actor.clone() };
    policy::role(Who { actor: &nobody, keys: None, groups: &[], ..who(delivery, (&[], &[])) }, &lab.roles)
}

/// Whoever is behind a delivery, by all of their ids.
fn who<'a>(delivery: &'a Delivery, (keys, groups): (&'a [String], &'a [String])) -> Who<'a> {
    Who {
        actor: &delivery.actor,
        standing: delivery.standing.as_deref(),
        keys: Some(keys),
        groups,
        foreign: delivery.foreign,
    }
}

/// Whether orders are taken where this was said. A direct message is between the two.
fn is_open(delivery: &Delivery, open: &[String], lab: &Inventory) -> bool {
    let place = &delivery.place;
    let is_it = |entry: &String| {
        entry.split_once(':').is_some_and(|(on, id)| on == place.platform.as_str() && id == place.channel)
    };
    let direct = match place.platform {
        Platform::Slack => place.channel.starts_with(['D', 'U', 'W']),
        // Of a button Feishu does not say it. The card stands where an order was taken, or where boards.yaml has it told.
        _ if matches!(delivery.intent, Intent::Click(_)) => !told_in(lab).any(is_it),
        _ => false,
    };
    direct || delivery.direct || open.iter().any(is_it)
}

/// The channels where boards.yaml has runs told that nobody asked for there.
fn told_in(lab: &Inventory) -> impl Iterator<Item = &String> {
    let mirrors = lab.channels.mirrors.iter().map(|(_, to)| to);
    let schedules = lab.schedules.values().filter_map(|schedule| schedule.channel.as_ref());
    let campaigns = lab.campaigns.values().filter_map(|campaign| campaign.channel.as_ref());
    let builds = lab.builds.rules.values().filter_map(|rule| rule.channel.as_ref());
    let families = lab.families.values().filter_map(|family| family.channel.as_ref());
    lab.channels.default.iter().chain(mirrors).chain(schedules).chain(campaigns).chain(builds).chain(families)
}

/// The command that a role may be set for.
fn verb(asked: Asked<'_>) -> Option<&'static str> {
    let form = match asked {
        Asked::Command(Command::Power { action: PowerAction::Status, .. })
        // Everybody may undo a link of their own, and nobody but an admin somebody else's.
        | Asked::Command(Command::Unlink { .. })
        | Asked::Console { .. }
        | Asked::Tokens
        | Asked::Build => return None,
        Asked::Command(command) => command.form(),
        Asked::Click(verb) => match verb {
            Verb::Retry | Verb::RetryElsewhere => Form::Retry,
            Verb::Cancel | Verb::CancelAll => Form::Cancel,
            Verb::PowerCycle | Verb::PowerOff | Verb::PowerAnyway => Form::Power,
            Verb::Leave => Form::Board,
            Verb::Why | Verb::WhyAll => Form::Why,
            Verb::Return => Form::Return,
            Verb::Extend => Form::Extend,
            Verb::Release => Form::Release,
            Verb::Hold => Form::Hold,
            Verb::Nudge => Form::Nudge,
            Verb::Notify => Form::Notify,
            Verb::Accept => Form::Handover,
            Verb::CampaignPause
            | Verb::CampaignResume
            | Verb::CampaignContinue
            | Verb::CampaignRollback
            | Verb::CampaignCancel => Form::Campaign,
            Verb::Log => Form::Log,
        },
    };
    Some(grammar::row(form).name())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::board::Family;
    use crate::board::inventory::{Permissions, Roles};
    use crate::board::people::{People, Person};
    use crate::chat::{Actor, AnswerVia, Intent, Place};
    use crate::clock::Timestamp;
    use crate::command::standing::Standing;
    use crate::command::{Click, RunRef, RunTest};

    fn said(who: &str, channel: &str) -> Delivery {
        let (platform, id) = who.split_once(':').expect("platform:id");
        let platform = Platform::from_word(platform).expect("a platform");
        let place = Place { platform, channel: channel.into(), thread: None };
        Delivery {
            key: "k".into(),
            received_at: Timestamp::default(),
            sent_at: None,
            actor: Actor { platform, id: id.into(), team: "T0OTHER".into(), name: String::new() },
            standing: None,
            source: None,
            foreign: false,
            direct: false,
            answer_via: AnswerVia::everybody(place.clone()),
            place,
            intent: Intent::OtherClick,
            trigger: None,
            message: None,
        }
    }

    fn lab() -> Inventory {
        let own = |list: &[&str]| list.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>();
        let ids = vec![(Platform::Slack, "U0LI".to_owned()), (Platform::Feishu, "ou_li".to_owned())];
        Inventory {
            roles: Roles { admin: own(&["slack:U0LEAD"]), operator: own(&["slack:U0LI"]), user: own(&["*"]) },
            permissions: Permissions {
                verbs: [
                    ("reserve", "operator"),
                    ("quarantine", "user"),
                    ("power", "admin"),
                    ("unlink", "user"),
                ]
                .map(|(verb, role)| (verb.to_owned(), role.to_owned()))
                .into(),
                families: BTreeMap::from([(Family::new("socA"), own(&["slack:U0BOB"]))]),
                channels: Some(own(&["slack:C0OPEN", "feishu:oc_open"])),
                workspaces: vec![],
            },
            people: People::new(vec![Person { name: "li".into(), ids }]),
            ..Inventory::default()
        }
    }

    /// The rule that denies; `None` where none does.
    fn rule(command: &Command, delivery: &Delivery, family: Option<&str>) -> Option<Denies> {
        let about = About { family, ..About::default() };
        match permitted(Asked::Command(command), delivery, &[], &lab(), about) {
            Permission::Allowed { .. } => None,
            Permission::Denied(denial) => {
                assert!(!denial.reason.is_empty());
                Some(denial.rule)
            }
        }
    }

    fn start() -> Command {
        Command::RunTest(RunTest::default())
    }

    #[test]
    fn orders_are_taken_in_the_channels_that_are_named_and_in_direct_messages() {
        for (who, channel, expect) in [
            ("slack:U1", "C0OPEN", None),
            ("slack:U1", "D0DIRECT", None),
            ("feishu:ou_1", "oc_open", None),
            ("slack:U1", "C0OTHER", Some(Denies::Channel)),
            ("feishu:ou_1", "C0OPEN", Some(Denies::Channel)),
            ("slack:U0LEAD", "C0OTHER", Some(Denies::Channel)),
            ("jenkins:nightly", "C0OTHER", None),
            ("api:schedule:nightly", "C0OTHER", None),
        ] {
            assert_eq!(rule(&start(), &said(who, channel), None), expect, "{who} in {channel}");
        }
        let direct = Delivery { direct: true, ..said("feishu:ou_1", "oc_p2p") };
        assert_eq!(rule(&start(), &direct, None), None);
        assert_eq!(rule(&Command::Help { topic: None }, &said("slack:U1", "C0OTHER"), None), None);
    }

    #[test]
    fn a_button_is_taken_in_feishu_but_on_a_card_that_boards_yaml_has_told_there() {
        let mut lab = lab();
        lab.channels.mirrors = vec![("slack:C0OPEN".into(), "feishu:oc_mirror".into())];
        let pressed = |who: &str, channel: &str| {
            let intent = Intent::Click(Click::parse("retry:1:1").expect("a click"));
            let delivery = Delivery { intent, ..said(who, channel) };
            permitted(Asked::Click(Verb::Retry), &delivery, &[], &lab, About::default()).is_allowed()
        };
        assert!(pressed("feishu:ou_1", "oc_p2p") && pressed("feishu:ou_1", "oc_open"));
        assert!(!pressed("feishu:ou_1", "oc_mirror"));
        assert!(!pressed("slack:U1", "C0OTHER") && pressed("slack:U1", "D0DIRECT"));
    }

    #[test]
    fn whoever_is_of_another_workspace_may_only_what_roles_say_of_them_by_name() {
        let foreign = |who: &str| Delivery { foreign: true, ..said(who, "C0OPEN") };
        assert_eq!(rule(&start(), &foreign("slack:U1"), None), Some(Denies::Workspace));
        assert_eq!(rule(&start(), &foreign("feishu:ou_1"), None), Some(Denies::Channel));
        assert_eq!(rule(&start(), &foreign("slack:U0LI"), None), None, "named as an operator");
        assert_eq!(rule(&Command::Reload, &foreign("slack:U0LI"), None), Some(Denies::Role));
    }

    #[test]
    fn a_command_needs_the_role_that_the_lab_sets_for_it() {
        let here = |who: &str| said(who, "C0OPEN");
        let reserve = Command::Reserve {
            target: "x".into(),
            lasts: None,
            reason: String::new(),
            waits: true,
            site: None,
        };
        let power = |action| Command::Power { board: "x".into(), action };
        assert_eq!(rule(&reserve, &here("slack:U1"), None), Some(Denies::Role));
        assert_eq!(rule(&reserve, &here("slack:U0LI"), None), None);
        let quarantine = Command::Quarantine { board: "x".into(), reason: "dead".into() };
        assert_eq!(rule(&quarantine, &here("slack:U1"), None), None, "lowered");
        assert_eq!(rule(&power(PowerAction::On), &here("slack:U0LI"), None), Some(Denies::Role));
        let unlink = |person: Option<&str>| Command::Unlink { person: person.map(str::to_owned) };
        assert_eq!(rule(&unlink(Some("slack:U0LI")), &here("slack:U1"), None), Some(Denies::Role));
        assert_eq!(rule(&unlink(None), &here("slack:U1"), None), None, "their own link is theirs to undo");
        assert_eq!(
            rule(&power(PowerAction::Status), &here("slack:U1"), None),
            None,
            "looking is not switching"
        );
    }

    #[test]
    fn a_family_is_for_those_that_it_names_and_everybody_may_look() {
        let here = |who: &str| said(who, "C0OPEN");
        assert_eq!(rule(&start(), &here("slack:U1"), Some("socA")), Some(Denies::Family));
        assert_eq!(
            rule(&start(), &here("slack:U0LI"), Some("socA")),
            Some(Denies::Family),
            "an operator too"
        );
        for who in ["slack:U0BOB", "slack:U0LEAD"] {
            assert_eq!(rule(&start(), &here(who), Some("socA")), None, "{who}");
        }
        assert_eq!(rule(&start(), &here("slack:U1"), Some("socB")), None);
        assert_eq!(rule(&Command::Run(RunRef::Number(1)), &here("slack:U1"), Some("socA")), None);
        assert_eq!(
            rule(&start(), &here("jenkins:nightly"), Some("socA")),
            None,
            "it has a secret of its own"
        );
    }

    #[test]
    fn whoever_has_something_may_end_it_whatever_a_family_says() {
        let may = |asked: Asked<'_>, own: bool| {
            let about = About { own_run: own, own_board: own, family: Some("socA") };
            permitted(asked, &said("slack:U0LI", "C0OPEN"), &[], &lab(), about).is_allowed()
        };
        let release = Command::Release { target: Some("soc-a-001".into()), lease: None, undoes: vec![] };
        for asked in [Asked::Command(&release), Asked::Click(Verb::Release), Asked::Click(Verb::CancelAll)] {
            assert!(may(asked, true) && !may(asked, false), "{asked:?}");
        }
        assert!(!may(Asked::Click(Verb::Extend), true), "keeping it is not ending it");
    }

    #[test]
    fn a_role_that_is_set_holds_for_tokens_and_for_nothing_that_has_no_role_of_its_own() {
        let mut lab = lab();
        lab.permissions.verbs.insert("run-test".into(), "operator".into());
        let may = |delivery: &Delivery| {
            let run = start();
            permitted(Asked::Command(&run), delivery, &[], &lab, About::default()).is_allowed()
        };
        assert!(!may(&said("slack:U1", "C0OPEN")) && may(&said("slack:U0LI", "C0OPEN")));
        assert!(may(&said("jenkins:nightly", "")) && may(&said("api:schedule:nightly", "")));
        let token = |role| {
            let standing = Standing::parse(role, &[]).ok().map(Box::new);
            Delivery { standing, ..said("api:ci", "") }
        };
        assert!(!may(&token("user")) && may(&token("operator")));
    }

    #[test]
    fn a_role_is_theirs_on_both_platforms() {
        let feishu = said("feishu:ou_li", "oc_open");
        assert_eq!(role(&feishu, &[], &lab()), Some(Role::Operator));
        assert_eq!(role(&said("feishu:ou_other", "oc_open"), &[], &lab()), Some(Role::User));
    }
}
