//! Slack's settings: the bot's token, and at least one way in. With the signing secret Slack calls this server; with the
//! app's token this server dials Slack, and nobody has to reach it from outside.

use secrecy::SecretString;

use super::{Env, public_url, secret, setting};

/// Slack's settings.
#[derive(Debug, Clone)]
pub struct SlackSettings {
    /// One, or two while rotating; none where Slack does not call.
    pub signing_secrets: Vec<SecretString>,
    /// `xapp-…`, where deliveries come over a socket.
    pub app_token: Option<SecretString>,
    /// `xoxb-…`.
    pub bot_token: SecretString,
    /// Base address of the Web API, with a slash at its end.
    pub api_url: String,
    /// The app's own id and secret, where people sign in to the pages with Slack.
    pub sign_in: Option<(String, SecretString)>,
}

/// Slack's Web API.
pub const SLACK_API_URL: &str = "https://slack.com/api/";

impl SlackSettings {
    /// How Slack's deliveries come, for the log and for `check`.
    pub fn way(&self) -> &'static str {
        match (&self.app_token, self.signing_secrets.is_empty()) {
            (None, _) => "Slack calls /webhooks/slack (SLACK_SIGNING_SECRET)",
            (Some(_), true) => "over a socket that boardhand dials (SLACK_APP_TOKEN)",
            (Some(_), false) => {
                "over a socket that boardhand dials (SLACK_APP_TOKEN); /webhooks/slack is open too (SLACK_SIGNING_SECRET)"
            }
        }
    }
}

/// Reads Slack's variables; tells every problem.
pub(super) fn settings(env: Env<'_>, problems: &mut Vec<String>) -> Option<SlackSettings> {
    let told = problems.len();
    let names = [
        "SLACK_SIGNING_SECRET",
        "SLACK_BOT_TOKEN",
        "SLACK_APP_TOKEN",
        "SLACK_CLIENT_ID",
        "SLACK_CLIENT_SECRET",
    ];
    let [signing, bot_token, app_token, client_id, client_secret] =
        names.map(|name| secret(env, name, problems));
    // One that is there but cannot be read is told as that, not as missing too.
    let readable = problems.len() == told;
    if [&signing, &bot_token, &app_token, &client_id, &client_secret].iter().all(|secret| secret.is_none()) {
        return None;
    }
    for (name, token, prefix) in
        [("SLACK_BOT_TOKEN", &bot_token, "xoxb-"), ("SLACK_APP_TOKEN", &app_token, "xapp-")]
    {
        problems.extend(token.as_deref().and_then(|token| wrong_kind(name, token, prefix)));
    }
    if readable {
        match signing.is_some() || bot_token.is_some() || app_token.is_some() {
            true => problems.extend(missing(signing.is_some(), bot_token.is_some(), app_token.is_some())),
            false => problems.push(
                "SLACK_BOT_TOKEN: missing; signing in with Slack (SLACK_CLIENT_ID) needs Slack to be connected".into(),
            ),
        }
        problems.extend(half_an_app(client_id.is_some(), client_secret.is_some()));
    }
    let secrets = signing.as_deref().unwrap_or_default().split(',').map(str::trim);
    let signing_secrets: Vec<SecretString> =
        secrets.filter(|s| !s.is_empty()).map(SecretString::from).collect();
    if signing.is_some() && !(1..=2).contains(&signing_secrets.len()) {
        problems
            .push("SLACK_SIGNING_SECRET: give one secret, or two separated by a comma while rotating".into());
    }
    let api_url = env("SLACK_API_URL").unwrap_or_else(|| SLACK_API_URL.into());
    let api_url = format!("{}/", setting("SLACK_API_URL", public_url(&api_url), problems)?);
    if client_id.is_some() && api_url.starts_with("http://") && !super::is_here(&api_url) {
        problems.push(
            "SLACK_API_URL: signing in with Slack (SLACK_CLIENT_ID) needs https://, which proves that it is Slack who says \
             who somebody is"
                .into(),
        );
    }
    let sign_in = client_id.zip(client_secret.map(SecretString::from));
    let app_token = app_token.map(SecretString::from);
    Some(SlackSettings { signing_secrets, app_token, bot_token: bot_token?.into(), api_url, sign_in })
}

/// What is wrong with a token of another kind; the three look alike to whoever copies them.
fn wrong_kind(name: &str, token: &str, prefix: &str) -> Option<String> {
    let (kind, others) = match prefix {
        "xapp-" => ("an app-level token", "xoxb- and xoxp-"),
        _ => ("a bot token", "xapp- and xoxp-"),
    };
    (!token.starts_with(prefix))
        .then(|| format!("{name}: {kind} begins with {prefix} (the {others} ones are others)"))
}

/// What is missing where one of the two is there by which people sign in.
fn half_an_app(client_id: bool, client_secret: bool) -> Option<String> {
    let (lacks, beside) = match (client_id, client_secret) {
        (true, false) => ("SLACK_CLIENT_SECRET", "SLACK_CLIENT_ID"),
        (false, true) => ("SLACK_CLIENT_ID", "SLACK_CLIENT_SECRET"),
        _ => return None,
    };
    Some(format!(
        "{lacks}: missing; signing in with Slack needs it beside {beside} (Basic Information, App Credentials)"
    ))
}

fn missing(signing: bool, bot_token: bool, app_token: bool) -> Option<String> {
    let beside = if signing { "SLACK_SIGNING_SECRET" } else { "SLACK_APP_TOKEN" };
    match (bot_token, signing || app_token) {
        (false, _) => Some(format!(
            "SLACK_BOT_TOKEN: missing; Slack needs it beside {beside} (OAuth & Permissions, xoxb-…)"
        )),
        (true, false) => Some(
            "SLACK_SIGNING_SECRET: missing; Slack needs it beside SLACK_BOT_TOKEN to call this server (Basic Information, \
             Signing Secret). Where Slack cannot reach it, set SLACK_APP_TOKEN instead (Basic Information, App-Level \
             Tokens, xapp-…)"
                .into(),
        ),
        (true, true) => None,
    }
}
