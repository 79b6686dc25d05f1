//! Asking Slack for the address of a socket, with the app's own token.

use std::time::Duration;

use secrecy::SecretString;

use crate::chat::Outage;
use crate::chat::slack::client::{SlackError, accepted, unanswered};
use crate::net::{Http, TOTAL_TIMEOUT};

/// Opens sockets of one app.
pub struct Opener {
    pub(super) http: Http,
    base_url: String,
    token: SecretString,
}

/// Why there is no address.
pub(super) enum NotOpened {
    /// Slack does not give one, or is not reached.
    Out(Outage),
    /// Not so often.
    Later(Duration),
}

impl Opener {
    /// For the API under `base_url` (`https://slack.com/api/`), with the app's token (`xapp-…`).
    pub fn new(http: Http, base_url: &str, token: SecretString) -> Self {
        Opener { http, base_url: format!("{}/", base_url.trim_end_matches('/')), token }
    }

    /// Whether Slack would give an address now; the one that it gives is thrown away.
    pub async fn check(&self) -> Result<(), Outage> {
        match self.open().await {
            Ok(_) => Ok(()),
            Err(NotOpened::Out(outage)) => Err(outage),
            Err(NotOpened::Later(_)) => Err(Outage::Away("ratelimited".to_owned())),
        }
    }

    /// An address that may be dialled once, and soon. It is as good as the token for that: never logged.
    pub(super) async fn open(&self) -> Result<String, NotOpened> {
        let url = format!("{}apps.connections.open", self.base_url);
        let answered = self.http.post_form(&url, Some(&self.token), &[], TOTAL_TIMEOUT).await;
        let answer = answered.map_err(unanswered).and_then(|reply| accepted(&reply));
        match answer {
            Ok(body) => match body["url"].as_str() {
                Some(url) => Ok(url.to_owned()),
                None => Err(away("no address in Slack's answer")),
            },
            Err(SlackError::RateLimited(pause)) => Err(NotOpened::Later(pause)),
            Err(SlackError::NotExecuted(reason) | SlackError::Ambiguous(reason)) => Err(away(&reason)),
            Err(SlackError::Refused(code) | SlackError::NotAccepted { code, .. }) => {
                let remedy = remedy(&code);
                Err(NotOpened::Out(Outage::NotAccepted { code, remedy }))
            }
        }
    }
}

fn away(reason: &str) -> NotOpened {
    NotOpened::Out(Outage::Away(reason.to_owned()))
}

/// What to do when Slack gives no address. After
/// <https://docs.slack.dev/reference/methods/apps.connections.open#errors>.
fn remedy(code: &str) -> &'static str {
    match code {
        "not_allowed_token_type" => {
            "SLACK_APP_TOKEN is not an app-level token (xapp-…, Basic Information, App-Level Tokens), or Socket Mode is \
             turned off for the app (Settings, Socket Mode)"
        }
        "invalid_auth" | "not_authed" | "http_401" => {
            "SLACK_APP_TOKEN is not an app-level token of this app: make one with the scope connections:write (Basic \
             Information, App-Level Tokens), set it and restart"
        }
        "token_revoked" | "token_expired" => {
            "the app-level token was revoked: make another one (Basic Information, App-Level Tokens), set \
             SLACK_APP_TOKEN and restart"
        }
        "missing_scope" | "no_permission" => {
            "the app-level token lacks the scope connections:write: make one that has it, set SLACK_APP_TOKEN and restart"
        }
        "account_inactive"
        | "user_removed_from_team"
        | "team_disabled"
        | "forbidden_team"
        | "access_denied" => {
            "the workspace does not let the app in: ask an administrator of the Slack workspace"
        }
        "method_deprecated" | "deprecated_endpoint" | "unknown_method" => {
            "SLACK_API_URL does not know this method: check it, or get a newer boardhand"
        }
        code if code.starts_with("http_") => {
            "something answers in Slack's place: check SLACK_API_URL and the proxy"
        }
        _ => "Slack gives no socket: is Socket Mode turned on for the app (Settings, Socket Mode)?",
    }
}
