//! What `boardhand check` says of Slack, where its variables are set: which way deliveries come, whose token it is, and
//! which scopes are lacking. It asks Slack, and posts nothing.

use std::fmt::Write as _;

use super::serve::slack_client;
use crate::chat::Outage;
use crate::chat::slack::client::{SlackError, WhoAmI};
use crate::chat::slack::manifest::{self, Scope};
use crate::chat::slack::socket::Opener;
use crate::config::{self, Env, SlackSettings};
use crate::net::Http;

/// What was found: lines to print, and whether the server would work with it.
pub(super) struct SlackReport {
    pub(super) text: String,
    pub(super) ok: bool,
}

/// Asks Slack, where this environment connects it. A Slack that is not reached is told and is no mistake: the check may run
/// where the server does not.
pub(super) async fn check(env: Env<'_>) -> SlackReport {
    let mut report = SlackReport { text: String::new(), ok: true };
    let settings = match config::slack(env) {
        Ok(None) => return report,
        Ok(Some(settings)) => settings,
        Err(problems) => {
            problems.0.iter().for_each(|problem| report.wrong(problem));
            return report;
        }
    };
    report.says(&format!("deliveries: {}", settings.way()));
    match slack_client(&settings).whoami().await {
        Ok(me) => report.knows(&me),
        Err(SlackError::NotAccepted { code, remedy }) => report.wrong(&format!("{code}: {remedy}")),
        Err(error) => report.says(&format!("warning: {error}; token and scopes were not checked")),
    }
    report.socket(&settings).await;
    report
}

impl SlackReport {
    fn says(&mut self, line: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "Slack: {line}");
    }

    fn wrong(&mut self, problem: &str) {
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
