//! Signing in with Feishu or Lark (OAuth 2.0 with PKCE): the code goes back with the app's secret and the verifier, and what
//! is given for it says who it is. The token that Feishu gives is used here, once, and kept nowhere.

use std::sync::Arc;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::client::{FeishuClient, FeishuError};
use crate::chat::sign_in::{Going, Proven, SignIn, Unproven, with_query, word};
use crate::chat::{Actor, Platform};
use crate::net::{Http, HttpReply, Method, NetError, TOTAL_TIMEOUT};

/// The app as Feishu's sign-in knows it.
pub struct FeishuSignIn {
    http: Http,
    base_url: String,
    app_id: String,
    app_secret: SecretString,
    /// Says which tenant is ours.
    bot: Arc<FeishuClient>,
    tenant: OnceCell<String>,
}

impl FeishuSignIn {
    /// The app with this id and secret, under `base_url` (`https://open.feishu.cn`).
    pub fn new(
        http: Http,
        base_url: &str,
        (app_id, app_secret): (String, SecretString),
        bot: Arc<FeishuClient>,
    ) -> Self {
        let base_url = base_url.trim_end_matches('/').to_owned();
        FeishuSignIn { http, base_url, app_id, app_secret, bot, tenant: OnceCell::new() }
    }

    async fn tenant(&self) -> Result<&str, Unproven> {
        let asked = self.tenant.get_or_try_init(|| async {
            self.bot.tenant().await.map_err(|error| match error {
                FeishuError::NotAccepted { code, remedy } => Unproven::SetUp { code, remedy },
                error => Unproven::Away(error.to_string()),
            })
        });
        asked.await.map(String::as_str)
    }

    /// What Feishu gives for a code.
    async fn access(&self, code: &str, going: &Going) -> Result<SecretString, Unproven> {
        let url = format!("{}/open-apis/authen/v2/oauth/token", self.base_url);
        let body = json!({
            "grant_type": "authorization_code", "client_id": self.app_id,
            "client_secret": self.app_secret.expose_secret(), "code": code,
            "redirect_uri": going.redirect, "code_verifier": going.verifier,
        });
        let body = accepted(self.http.post_json(&url, None, &body, TOTAL_TIMEOUT).await)?;
        let token = body["access_token"].as_str().filter(|token| !token.is_empty());
        token.map(SecretString::from).ok_or(Unproven::Doubtful("Feishu gives no token"))
    }
}

#[async_trait]
impl SignIn for FeishuSignIn {
    fn platform(&self) -> Platform {
        Platform::Feishu
    }

    fn name(&self) -> &'static str {
        if self.base_url.contains("larksuite") { "Lark" } else { "Feishu" }
    }

    async fn address(&self, going: &Going) -> String {
        let fields = [
            ("client_id", self.app_id.as_str()),
            ("response_type", "code"),
            ("redirect_uri", &going.redirect),
            ("state", &going.state),
            ("code_challenge", &going.challenge()),
            ("code_challenge_method", "S256"),
        ];
        with_query(&format!("{}/open-apis/authen/v1/authorize", accounts(&self.base_url)), &fields)
    }

    async fn prove(&self, code: &str, going: &Going) -> Result<Proven, Unproven> {
        let access = self.access(code, going).await?;
        let url = format!("{}/open-apis/authen/v1/user_info", self.base_url);
        let told = self.http.send_json(Method::GET, &url, Some(&access), None, TOTAL_TIMEOUT).await;
        let mut told = accepted(told)?;
        let data = told["data"].take();
        let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
        let (id, team) = (text("open_id"), text("tenant_key"));
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if !id.starts_with("ou_") || id.len() > 128 || !id.bytes().all(plain) {
            return Err(Unproven::Doubtful("Feishu names nobody"));
        }
        if team.is_empty() || team.len() > 128 || !team.bytes().all(plain) {
            return Err(Unproven::Doubtful("Feishu names no tenant"));
        }
        let foreign = team != self.tenant().await?;
        Ok(Proven { actor: Actor { platform: Platform::Feishu, id, team, name: text("name") }, foreign })
    }
}

/// Where people sign in: beside `open.feishu.cn` and `open.larksuite.com` stand `accounts.…`; another address has both.
fn accounts(base_url: &str) -> String {
    match base_url.split_once("://open.") {
        Some((scheme, host)) => format!("{scheme}://accounts.{host}"),
        None => base_url.to_owned(),
    }
}

/// An answer whose code is 0.
fn accepted(reply: Result<HttpReply, NetError>) -> Result<Value, Unproven> {
    let reply = reply.map_err(|error| Unproven::Away(error.to_string()))?;
    let Some(body) = reply.json().filter(|body| body["code"].is_i64() || body["error"].is_string()) else {
        return Err(Unproven::Away(format!("http_{}", reply.status)));
    };
    match (body["code"].as_i64(), body["error"].as_str()) {
        (Some(0), None | Some("")) if reply.status < 300 => Ok(body),
        _ if reply.status == 429 || reply.status >= 500 => {
            Err(Unproven::Away(format!("http_{}", reply.status)))
        }
        (code, error) => {
            let error = word(error.unwrap_or("refused"));
            let said = code.map_or(error.clone(), |code| format!("{code}_{error}"));
            Err(refusal(code, &error, said))
        }
    }
}

/// What Feishu's code, or the standard's word beside it (RFC 6749, 5.2), means.
fn refusal(code: Option<i64>, error: &str, said: String) -> Unproven {
    let remedy = match (code, error) {
        (Some(20_010), _) => {
            "the app is not made available to you: ask whoever publishes it in the developer console"
        }
        (_, "invalid_client" | "unauthorized_client") => {
            "FEISHU_APP_ID and FEISHU_APP_SECRET do not belong together, or the app is disabled: check both and restart"
        }
        (_, "server_error" | "temporarily_unavailable") => return Unproven::Away(said),
        _ => return Unproven::Code(said),
    };
    Unproven::SetUp { code: said, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_sign_in_beside_the_api() {
        for (api, accounts) in [
            ("https://open.feishu.cn", "https://accounts.feishu.cn"),
            ("https://open.larksuite.com", "https://accounts.larksuite.com"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ] {
            assert_eq!(super::accounts(api), accounts);
        }
    }

    #[test]
    fn what_is_wrong_with_the_app_is_told_apart_from_a_code_that_is_over() {
        let said = |code, error: &str| refusal(code, error, error.to_owned());
        assert!(matches!(said(Some(20_010), "access_denied"), Unproven::SetUp { .. }));
        assert!(matches!(said(None, "invalid_client"), Unproven::SetUp { .. }));
        assert!(matches!(said(Some(20_003), "invalid_grant"), Unproven::Code(_)));
        assert!(matches!(said(Some(20_050), "server_error"), Unproven::Away(_)));
    }
}
