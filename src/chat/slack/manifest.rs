//! The app's description for Slack: what an admin pastes at api.slack.com/apps, "From a manifest". Pure. It asks for
//! exactly the scopes that boardhand uses, and says in comments what each is for.

use super::decode::RERUN;
use super::form::RUN_FORM;
use crate::message::links::signed_in_with;

/// How Slack's deliveries reach this server.
#[derive(Debug, Clone, Copy)]
pub enum Way<'u> {
    /// Over a socket that this server dials.
    Socket,
    /// At this public base URL; without one the manifest says what to replace.
    Url(Option<&'u str>),
}

/// A right that the bot asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// Slack's name of it.
    pub name: &'static str,
    /// What it is for.
    pub purpose: &'static str,
}

/// What the bot cannot do without.
pub const NEEDED: [Scope; 4] = [
    Scope { name: "chat:write", purpose: "post and edit cards and replies" },
    Scope { name: "commands", purpose: "/run-test, /lab, Re-run this and Run a test" },
    Scope { name: "app_mentions:read", purpose: "commands in threads: slash commands do not work there" },
    Scope { name: "im:history", purpose: "commands in direct messages" },
];

/// What the bot can do without, and what it is then worse at.
pub const OPTIONAL: [(&str, &[Scope]); 7] = [
    (
        "After a network failure Slack does not say whether a post arrived. With these two the bot looks\n\
         for its own post before it posts again; without them a card or a final result may appear twice, and a\n\
         progress message may be missing. Over a socket, it also looks with them for what was said to it in the threads\n\
         of runs while no socket stood. They let the bot read the channels it is in.",
        &[
            Scope { name: "channels:history", purpose: "find posts, and what was said, that may be lost" },
            Scope { name: "groups:history", purpose: "the same in private channels" },
        ],
    ),
    (
        "Cards that stand in Feishu too name people there instead of showing their ids, and what one person alone\n\
         reads is in the language that they have chosen in Slack.",
        &[Scope { name: "users:read", purpose: "the names and languages of people" }],
    ),
    (
        "A message that asks for a run shows by a reaction that it runs, and how it ended.",
        &[Scope { name: "reactions:write", purpose: "react to messages that ask for runs" }],
    ),
    (
        "The button Log shows the console log as a file in the run's thread; without this, as a link.",
        &[Scope { name: "files:write", purpose: "console logs as files" }],
    ),
    (
        "A form that was opened beside every channel may be answered in the bot's conversation with its reader;\n\
         without this it wants a channel.",
        &[Scope { name: "im:write", purpose: "begin a conversation with somebody" }],
    ),
    (
        "Where boards.yaml names user groups (slack:S…): who is in them. Without this nobody is.",
        &[Scope { name: "usergroups:read", purpose: "who is in a user group" }],
    ),
    (
        "Where boards.yaml has a daily digest shown in a channel: to pin it there.",
        &[Scope { name: "pins:write", purpose: "pin the digest" }],
    ),
];

/// Whom somebody is who signs in to the pages with Slack.
const WHO: [Scope; 2] = [
    Scope { name: "openid", purpose: "who signs in to the pages" },
    Scope { name: "profile", purpose: "their name" },
];

/// The manifest as YAML; with what signing in to the pages of a server at this public base URL takes.
pub fn manifest(way: Way<'_>, sign_in: Option<&str>) -> String {
    let webhook = match way {
        Way::Socket => None,
        Way::Url(Some(url)) => Some(format!("{}/webhooks/slack", url.trim_end_matches('/'))),
        Way::Url(None) => Some(PLACEHOLDER_URL.to_owned()),
    };
    // JSON's strings are YAML's too, whatever the address holds.
    let webhook = webhook.map(|webhook| serde_json::Value::from(webhook).to_string());
    let line = |indent: usize, key: &str| {
        webhook.as_ref().map_or(String::new(), |webhook| format!("{:indent$}{key}: {webhook}\n", ""))
    };
    let replace = match way {
        Way::Url(None) => {
            "# Put this server's public address in place of boardhand.example.com (four times). Where Slack cannot reach \
             this\n# server, take `boardhand slack manifest --socket` instead.\n"
        }
        Way::Socket => {
            "# Then make an app-level token with the scope connections:write (Basic Information, App-Level Tokens): \
             SLACK_APP_TOKEN.\n"
        }
        Way::Url(Some(_)) => "",
    };
    format!(
        "{replace}{HEAD}{commands}{shortcuts}{scopes}settings:\n  event_subscriptions:\n{request_url}    bot_events:\n      \
         - app_mention # @boardhand run-test socA build-123\n      - message.im # the same in a direct message\n      - app_home_opened # the app's Home\n  \
         interactivity:\n    is_enabled: true # buttons\n{request_url}  org_deploy_enabled: false\n  \
         socket_mode_enabled: {socket}\n  token_rotation_enabled: false\n",
        commands = COMMANDS.map(|command| command.yaml(&line(6, "url"))).concat(),
        shortcuts = shortcuts(),
        scopes = scopes(sign_in),
        request_url = line(4, "request_url"),
        socket = webhook.is_none(),
    )
}

fn shortcuts() -> String {
    format!(
        "  shortcuts:\n    - name: Re-run this # in the menu of a run's card and of every message in its thread\n      \
         type: message\n      callback_id: {RERUN}\n      description: Run the same again\n    - name: Run a test # in \
         the menu beside where people type\n      type: global\n      callback_id: {RUN_FORM}\n      description: Fill \
         in a form and start it\n"
    )
}

fn scopes(sign_in: Option<&str>) -> String {
    let line = |scope: &Scope, before: &str| format!("      {before}- {} # {}\n", scope.name, scope.purpose);
    let needed: String = NEEDED.iter().map(|scope| line(scope, "")).collect();
    let optional = OPTIONAL.iter().flat_map(|(about, scopes)| {
        let about = about.lines().map(|line| format!("      # {line}\n"));
        about.chain(scopes.iter().map(|scope| line(scope, "# ")))
    });
    let optional: String = optional.collect();
    let (redirect, user) = match sign_in {
        None => (String::new(), String::new()),
        Some(url) => {
            let url = serde_json::Value::from(signed_in_with(url, "slack"));
            let user: String = WHO.iter().map(|scope| line(scope, "")).collect();
            (format!("  redirect_urls:\n    - {url} # from signing in\n"), format!("    user:\n{user}"))
        }
    };
    format!(
        "oauth_config:\n{redirect}  scopes:\n{user}    bot:\n{needed}      # Optional, to be uncommented.\n{optional}"
    )
}

/// The needed scopes that are not among the granted ones.
pub fn lacking(granted: &[String]) -> Vec<Scope> {
    NEEDED.into_iter().filter(|scope| !granted.iter().any(|name| name == scope.name)).collect()
}

const PLACEHOLDER_URL: &str = "https://boardhand.example.com/webhooks/slack";

const HEAD: &str = "\
display_information:
  name: boardhand
  description: Runs tests on the lab's boards and tells how they went
features:
  app_home:
    home_tab_enabled: true # your boards and runs, and the lab
    messages_tab_enabled: true
    messages_tab_read_only_enabled: false # people may write to the bot
  bot_user:
    display_name: boardhand
    always_online: true
  slash_commands:
";

struct SlashCommand {
    command: &'static str,
    description: &'static str,
    usage_hint: &'static str,
}

const COMMANDS: [SlashCommand; 2] = [
    SlashCommand {
        command: "/run-test",
        description: "Test a build on a board",
        usage_hint: "<soc|board> <build> [suite=…] [priority=high|normal|low] [x3] [name=value …]",
    },
    SlashCommand {
        command: "/lab",
        description: "Look at boards and runs, and act on them",
        usage_hint: "boards | runs [mine] | run <#> | why <#> | cancel <#> | retry <#> | power <board> cycle | help",
    },
];

impl SlashCommand {
    fn yaml(self, url_line: &str) -> String {
        let SlashCommand { command, description, usage_hint } = self;
        format!(
            "    - command: {command}\n{url_line}      description: {description}\n      usage_hint: \"{usage_hint}\"\n      \
             should_escape: true # mentions arrive as ids\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use saphyr::{LoadableYamlNode, Yaml};

    fn parse(text: &str) -> Yaml<'_> {
        Yaml::load_from_str(text).expect("YAML").remove(0)
    }

    #[track_caller]
    fn string<'a>(yaml: &'a Yaml<'_>, path: &[&str]) -> Option<&'a str> {
        path.iter().try_fold(yaml, |node, key| node.as_mapping_get(key)).and_then(|node| node.as_str())
    }

    fn commands<'a>(yaml: &'a Yaml<'a>) -> Vec<&'a Yaml<'a>> {
        let features = yaml.as_mapping_get("features").and_then(|f| f.as_mapping_get("slash_commands"));
        features.and_then(|c| c.as_vec()).expect("commands").iter().collect()
    }

    #[test]
    fn the_manifest_is_within_slacks_limits() {
        for way in [Way::Socket, Way::Url(None), Way::Url(Some("https://b.example"))] {
            let text = manifest(way, None);
            let yaml = parse(&text);
            let length = |path: &[&str]| string(&yaml, path).expect("string").chars().count();
            assert!(length(&["display_information", "name"]) <= 35);
            assert!(length(&["display_information", "description"]) <= 140);
            assert!(length(&["features", "bot_user", "display_name"]) <= 80);
            let shortcuts = yaml.as_mapping_get("features").and_then(|f| f.as_mapping_get("shortcuts"));
            for shortcut in shortcuts.and_then(|s| s.as_vec()).expect("shortcuts") {
                let part = |name| string(shortcut, &[name]).expect("part").chars().count();
                assert!(part("name") <= 24 && part("description") <= 150 && part("callback_id") <= 255);
            }
            let commands = commands(&yaml);
            assert!(commands.len() <= 50);
            for command in commands {
                let part = |name| string(command, &[name]).expect("part").chars().count();
                assert!(
                    part("command") <= 32
                        && string(command, &["command"]).is_some_and(|c| c.starts_with('/'))
                );
                assert!(part("description") <= 2_000 && part("usage_hint") <= 1_000);
                assert_eq!(command.as_mapping_get("should_escape").and_then(|b| b.as_bool()), Some(true));
            }
        }
    }

    #[test]
    fn the_manifest_asks_for_the_scopes_it_needs_and_no_others() {
        let text = manifest(Way::Url(None), None);
        let yaml = parse(&text);
        let scopes =
            ["oauth_config", "scopes", "bot"].iter().try_fold(&yaml, |node, key| node.as_mapping_get(key));
        let scopes: Vec<&str> =
            scopes.and_then(|s| s.as_vec()).expect("scopes").iter().filter_map(|s| s.as_str()).collect();
        assert_eq!(scopes, ["chat:write", "commands", "app_mentions:read", "im:history"]);
        assert!(text.contains("# - channels:history"));
    }

    #[test]
    fn signing_in_takes_an_address_to_come_back_to_and_two_scopes() {
        for way in [Way::Socket, Way::Url(Some("https://b.example/lab/"))] {
            let text = manifest(way, Some("https://b.example/lab/"));
            let yaml = parse(&text);
            let list = |path: &[&str]| {
                let list = path.iter().try_fold(&yaml, |node, key| node.as_mapping_get(key));
                let list = list.and_then(|list| list.as_vec()).expect("a list").iter();
                list.filter_map(|entry| entry.as_str()).collect::<Vec<_>>()
            };
            assert_eq!(list(&["oauth_config", "redirect_urls"]), ["https://b.example/lab/signin/slack/back"]);
            assert_eq!(list(&["oauth_config", "scopes", "user"]), ["openid", "profile"]);
            assert_eq!(list(&["oauth_config", "scopes", "bot"]).len(), 4);
        }
    }

    #[test]
    fn every_address_is_the_servers_own() {
        let text = manifest(Way::Url(Some("https://b.example/lab/")), None);
        let yaml = parse(&text);
        let ours = Some("https://b.example/lab/webhooks/slack");
        assert_eq!(string(&yaml, &["settings", "interactivity", "request_url"]), ours);
        assert_eq!(string(&yaml, &["settings", "event_subscriptions", "request_url"]), ours);
        for command in commands(&yaml) {
            assert_eq!(string(command, &["url"]), ours);
        }
        assert!(manifest(Way::Url(None), None).starts_with("# Put this server's public address"));
    }

    #[test]
    fn over_a_socket_there_is_no_address_at_all() {
        let text = manifest(Way::Socket, None);
        let yaml = parse(&text);
        assert!(!text.contains("url") && text.contains("connections:write"), "{text}");
        let settings = yaml.as_mapping_get("settings").expect("settings");
        assert_eq!(settings.as_mapping_get("socket_mode_enabled").and_then(|on| on.as_bool()), Some(true));
        let by_url = manifest(Way::Url(Some("https://b.example")), None);
        assert!(by_url.contains("socket_mode_enabled: false"), "{by_url}");
    }

    #[test]
    fn a_scope_that_was_not_granted_is_lacking() {
        let granted = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let check = |names: &[&str], expect: &[&str]| {
            let lacking: Vec<_> = lacking(&granted(names)).iter().map(|scope| scope.name).collect();
            assert_eq!(lacking, expect);
        };
        check(&["im:history", "chat:write", "commands", "app_mentions:read", "users:read"], &[]);
        check(&["chat:write.public", "commands"], &["chat:write", "app_mentions:read", "im:history"]);
        check(&[], &["chat:write", "commands", "app_mentions:read", "im:history"]);
    }

    #[test]
    fn an_address_with_odd_characters_stays_one_string() {
        let text = manifest(Way::Url(Some("https://b.example/\"\n  x: y")), None);
        assert_eq!(string(&parse(&text), &["settings", "x"]), None);
    }
}
