//! What `boardhand check` says of Slack, where its variables are set: which way deliveries come, whose token it is, and
//! which scopes are lacking. It asks Slack, and posts nothing.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::serve::slack_client;
use crate::chat::slack::client::{SlackError, WhoAmI};
use crate::chat::slack::manifest::{self, Scope};
use crate::chat::slack::socket::Opener;
use crate::chat::{ChatApi, NotTold, Outage};
use crate::config::{self, Env, SlackSettings, public_url};
use crate::message::links::signed_in_with;
use crate::net::Http;

/// What was found: lines to print, and whether the server would work with it.
pub(super) struct ChatReport {
    pub(super) text: String,
    pub(super) ok: bool,
    /// What its lines begin with.
    platform: &'static str,
}

/// Asks Slack, where this environment connects it. A Slack that is not reached is told and is no mistake: the check may run
/// where the server does not.
pub(super) async fn check(env: Env<'_>, groups: &BTreeSet<String>) -> ChatReport {
    let mut report = ChatReport::new("Slack");
    let settings = match config::slack(env) {
        Ok(None) => return report,
        Ok(Some(settings)) => settings,
        Err(problems) => {
            problems.0.iter().for_each(|problem| report.wrong(problem));
            return report;
        }
    };
    report.says(&format!("deliveries: {}", settings.way()));
    let client = slack_client(&settings);
    match client.whoami().await {
        Ok(me) => {
            report.knows(&me);
            report.hears(&me, &settings);
            report.groups(&client, groups, "slack:").await;
        }
        Err(SlackError::NotAccepted { code, remedy }) => report.wrong(&format!("{code}: {remedy}")),
        Err(error) => report.says(&format!("warning: {error}; token and scopes were not checked")),
    }
    report.socket(&settings).await;
    if settings.sign_in.is_some() {
        let where_ = "OAuth & Permissions, Redirect URLs; user scopes openid and profile";
        report.signs_in(env, "SLACK_CLIENT_ID", "slack", where_);
    }
    report
}

impl ChatReport {
    pub(super) fn new(platform: &'static str) -> Self {
        ChatReport { text: String::new(), ok: true, platform }
    }

    pub(super) fn says(&mut self, line: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{}: {line}", self.platform);
    }

    /// Asks who is in each group of this platform that boards.yaml names.
    pub(super) async fn groups(&mut self, api: &dyn ChatApi, groups: &BTreeSet<String>, prefix: &str) {
        for (group, id) in groups.iter().filter_map(|group| Some((group, group.strip_prefix(prefix)?))) {
            match api.members_of(id).await {
                Ok(members) if members.is_empty() => self.says(&format!("warning: nobody is in {group}")),
                Ok(members) => self.says(&format!("{group} has {}: ok", people(members.len()))),
                Err(NotTold::Failed { code, remedy }) => {
                    self.wrong(&format!("it is not known who is in {group}: {code}: {remedy}"));
                }
                Err(error) => {
                    let why = match error {
                        NotTold::Away(reason) => reason,
                        NotTold::NotNow(_) | NotTold::Failed { .. } => "too many at once".to_owned(),
                    };
                    self.says(&format!("warning: {group} and those behind it were not asked for: {why}"));
                    return;
                }
            }
        }
    }

    /// Tells the address that must be written down at the platform for signing in; whether it is there, nobody tells.
    pub(super) fn signs_in(&mut self, env: Env<'_>, variable: &str, platform: &str, place: &str) {
        let public = env("BOARDHAND_PUBLIC_URL").filter(|url| !url.is_empty()).map(|url| public_url(&url));
        match public {
            Some(Ok(url)) => {
                let back = signed_in_with(&url, platform);
                self.says(&format!("people sign in to the pages: the app must have {back} ({place})"));
                if !url.starts_with("https://") && !config::is_here(&url) {
                    self.says(&format!(
                        "warning: BOARDHAND_PUBLIC_URL is not https://: whoever listens on the way takes over who signs in \
                         ({variable})"
                    ));
                }
            }
            Some(Err(problem)) => self.wrong(&format!("BOARDHAND_PUBLIC_URL: {problem}")),
            None => self.wrong(&format!(
                "BOARDHAND_PUBLIC_URL: missing; whoever signs in ({variable}) is sent back there"
            )),
        }
    }

    pub(super) fn wrong(&mut self, problem: &str) {
        self.says(&format!("error: {problem}"));
        self.ok = false;
    }

    fn knows(&mut self, me: &WhoAmI) {
        let told = |scope: &Scope| format!("{} ({})", scope.name, scope.purpose);
        let lacking = manifest::lacking(&me.scopes);
        if !lacking.is_empty() {
            let named: Vec<String> = lacking.iter().map(told).collect();
            self.wrong(&format!(
                "the bot lacks {}: add it (OAuth & Permissions, Bot Token Scopes) and install the app again",
                named.join(", ")
            ));
        }
        let optional = manifest::OPTIONAL.iter().flat_map(|(_, scopes)| scopes.iter());
        let without: Vec<&str> = optional
            .map(|scope| scope.name)
            .filter(|name| !me.scopes.iter().any(|granted| granted == name))
            .collect();
        if !without.is_empty() {
            self.says(&format!(
                "without {}, which are optional: `boardhand slack manifest` says what for",
                without.join(", ")
            ));
        }
        let verdict = if lacking.is_empty() { ": ok" } else { "" };
        self.says(&format!("workspace {} ({}), bot {}{verdict}", me.team, me.team_id, me.user_id));
    }

    /// Tells what is lost while no socket stands.
    fn hears(&mut self, me: &WhoAmI, settings: &SlackSettings) {
        let reads = |name: &str| me.scopes.iter().any(|granted| granted == name);
        if settings.app_token.is_some() && !(reads("channels:history") && reads("groups:history")) {
            self.says("what is said in threads while no socket stands is lost: it takes channels:history and groups:history");
        }
    }

    async fn socket(&mut self, settings: &SlackSettings) {
        let Some(token) = &settings.app_token else { return };
        let opener = Opener::new(Http::new(&[&settings.api_url]), &settings.api_url, token.clone());
        match opener.check().await {
            Ok(()) => self.says("a socket can be opened: ok"),
            Err(Outage::NotAccepted { code, remedy }) => self.wrong(&format!("no socket: {code}: {remedy}")),
            Err(Outage::Away(reason)) => self.says(&format!("warning: no socket: {reason}")),
        }
    }
}

fn people(count: usize) -> String {
    if count == 1 { "1 member".to_owned() } else { format!("{count} members") }
}
