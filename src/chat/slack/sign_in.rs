//! Sign in with Slack (OpenID Connect), in its authorization code flow: the code goes back to Slack with the app's secret,
//! and the ID token in the answer says who it is. Tokens that Slack gives are used here, once, and kept nowhere. No PKCE: Slack
//! takes it from apps only that have become public clients for good; the secret proves us, the nonce ties the token to
//! this sign-in.

use std::sync::Arc;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::client::SlackClient;
use super::id_token::{self, Claims, Expected};
use crate::chat::sign_in::{Going, Proven, SignIn, Unproven, with_query, word};
use crate::chat::{Actor, Platform};
use crate::clock::Clock;
use crate::net::{Http, HttpReply, NetError, TOTAL_TIMEOUT};

/// What is asked for: who somebody is, and their name.
pub const SCOPES: [&str; 2] = ["openid", "profile"];

/// The app as Slack's sign-in knows it.
pub struct SlackSignIn {
    http: Http,
    api_url: String,
    /// Where the workspace's people sign in, and who issues ID tokens: the Web API's address without `/api/`.
    issuer: String,
    client_id: String,
    client_secret: SecretString,
    /// Says which workspace is ours.
    bot: Arc<SlackClient>,
    team: OnceCell<String>,
    clock: Clock,
}

impl SlackSignIn {
    /// The app with this id and secret, under `api_url` (`https://slack.com/api/`).
    pub fn new(
        http: Http,
        api_url: &str,
        (client_id, client_secret): (String, SecretString),
        bot: Arc<SlackClient>,
        clock: Clock,
    ) -> Self {
        let api_url = format!("{}/", api_url.trim_end_matches('/'));
        let issuer = api_url.trim_end_matches("/api/").trim_end_matches('/').to_owned();
        SlackSignIn { http, api_url, issuer, client_id, client_secret, bot, team: OnceCell::new(), clock }
    }

    /// The workspace that the bot is in.
    async fn team(&self) -> Result<&str, Unproven> {
        let asked = self.team.get_or_try_init(|| async {
            let me = self.bot.whoami().await.map_err(|error| Unproven::Away(error.to_string()))?;
            if me.team_id.is_empty() {
                Err(Unproven::Doubtful("Slack names no workspace"))
            } else {
                Ok(me.team_id)
            }
        });
        asked.await.map(String::as_str)
    }

    /// What Slack gives for a code.
    async fn tokens(&self, code: &str, going: &Going) -> Result<(String, SecretString), Unproven> {
        let url = format!("{}openid.connect.token", self.api_url);
        let fields = [
            ("client_id", self.client_id.as_str()),
            ("client_secret", self.client_secret.expose_secret()),
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &going.redirect),
        ];
        let reply = self.http.post_form(&url, None, &fields, TOTAL_TIMEOUT).await;
        let body = accepted(reply)?;
        let text = |name: &str| body[name].as_str().filter(|text| !text.is_empty());
        let (Some(id), Some(access)) = (text("id_token"), text("access_token")) else {
            return Err(Unproven::Doubtful("Slack gives no ID token"));
        };
        Ok((id.to_owned(), SecretString::from(access)))
    }

    /// The name that somebody goes by; they must be who the ID token says.
    async fn name(&self, claims: &Claims, access: &SecretString) -> Result<String, Unproven> {
        let url = format!("{}openid.connect.userInfo", self.api_url);
        let body = accepted(self.http.post_form(&url, Some(access), &[], TOTAL_TIMEOUT).await)?;
        if body["sub"] != claims.user.as_str() {
            return Err(Unproven::Doubtful("Slack names two people"));
        }
        Ok(body["name"].as_str().unwrap_or(&claims.name).to_owned())
    }
}

#[async_trait]
impl SignIn for SlackSignIn {
    fn platform(&self) -> Platform {
        Platform::Slack
    }

    fn name(&self) -> &'static str {
        "Slack"
    }

    async fn address(&self, going: &Going) -> String {
        let scopes = SCOPES.join(" ");
        let mut fields = vec![
            ("response_type", "code"),
            ("scope", &scopes),
            ("client_id", &self.client_id),
            ("redirect_uri", &going.redirect),
            ("state", &going.state),
            ("nonce", &going.nonce),
        ];
        // Without it whoever is in several workspaces chooses.
        if let Ok(team) = self.team().await {
            fields.push(("team", team));
        }
        with_query(&format!("{}/openid/connect/authorize", self.issuer), &fields)
    }

    async fn prove(&self, code: &str, going: &Going) -> Result<Proven, Unproven> {
        let (token, access) = self.tokens(code, going).await?;
        let expected = Expected {
            issuer: &self.issuer,
            client: &self.client_id,
            nonce: &going.nonce,
            now: self.clock.now(),
        };
        let claims = id_token::read(&token, &expected).map_err(Unproven::Doubtful)?;
        let name = self.name(&claims, &access).await?;
        let foreign = claims.team != self.team().await?;
        let actor = Actor { platform: Platform::Slack, id: claims.user, team: claims.team, name };
        Ok(Proven { actor, foreign })
    }
}

/// An answer that says `ok`.
fn accepted(reply: Result<HttpReply, NetError>) -> Result<Value, Unproven> {
    let reply = reply.map_err(|error| Unproven::Away(error.to_string()))?;
    match reply.json() {
        Some(body) if reply.status < 300 && body["ok"] == true => Ok(body),
        Some(body) if reply.status < 500 && reply.status != 429 && body["error"].is_string() => {
            Err(refusal(&word(body["error"].as_str().unwrap_or_default())))
        }
        _ => Err(Unproven::Away(format!("http_{}", reply.status))),
    }
}

/// What Slack's word means; after <https://docs.slack.dev/reference/methods/openid.connect.token>.
fn refusal(code: &str) -> Unproven {
    let remedy = match code {
        "bad_redirect_uri" | "redirect_uri_mismatch" => {
            "add the address that `boardhand check` names to the app (OAuth & Permissions, Redirect URLs)"
        }
        "bad_client_secret" | "invalid_client_id" | "invalid_client" => {
            "SLACK_CLIENT_ID and SLACK_CLIENT_SECRET do not belong together (Basic Information, App Credentials): set both and restart"
        }
        "missing_scope" | "invalid_scope" => {
            "the app lacks the user scopes openid and profile (OAuth & Permissions, User Token Scopes)"
        }
        "ratelimited" | "internal_error" | "fatal_error" | "service_unavailable" | "request_timeout" => {
            return Unproven::Away(code.to_owned());
        }
        _ => return Unproven::Code(code.to_owned()),
    };
    Unproven::SetUp { code: code.to_owned(), remedy }
}
