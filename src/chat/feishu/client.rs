//! Feishu's API as the relay needs it: the one place that talks to Feishu. It renders a card, makes one request and says
//! how it ended; when to send, and when to try again, is the relay's.
//!
//! Every answer is `{code, msg, data}`, and the code alone counts: the HTTP status may be 200 or 400 with it. A code is
//! about the pace (again later), about us (nothing goes before somebody acts), about this message or its chat (never
//! again), or unknown (again later: a post carries an id of its own, `uuid`, and one that is there already is answered
//! with its message instead of a second one).
//!
//! Feishu's tokens are fetched by one caller at a time and live two hours; a request that is told that its token is over
//! fetches a new one once.

mod badges;
mod contacts;
mod files;

use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::card;
use crate::chat::{
    AnswerVia, Badge, Badged, ChatApi, FilePost, Found, NotTold, Outage, Place, Post, SendResult,
};
use crate::clock::{Clock, Monotonic, Timestamp};
use crate::message::{Block, Card};
use crate::net::{Http, HttpReply, Method, NetError, TOTAL_TIMEOUT};

/// A token is renewed so long before its end.
const TOKEN_MARGIN: Duration = Duration::from_secs(600);
/// Pause after a rate limit that does not say how long.
const RATE_LIMIT_PAUSE: Duration = Duration::from_secs(2);
/// Longest pause that Feishu may ask for.
const PAUSE_MAX: Duration = Duration::from_secs(3600);
/// For how long Feishu knows a post by its `uuid`, with a margin for its clock and ours.
const UUID_KNOWN: Duration = Duration::from_secs(55 * 60);
/// Digits of a `uuid`: Feishu takes 50 characters.
const UUID_DIGITS: usize = 40;

/// Feishu in China.
pub const FEISHU_BASE_URL: &str = "https://open.feishu.cn";

/// One app, as its bot sees it.
pub struct FeishuClient {
    http: Http,
    base_url: String,
    app_id: String,
    app_secret: SecretString,
    clock: Clock,
    token: Mutex<Option<Token>>,
}

struct Token {
    secret: SecretString,
    good_until: Monotonic,
}

/// Who the app's bot is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhoAmI {
    /// The bot's `open_id`, as mentions carry it.
    pub open_id: String,
    /// The bot's name.
    pub name: String,
}

/// How a request to Feishu failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeishuError {
    /// Not executed for certain; trying again may help.
    #[error("feishu did not take the request: {0}")]
    NotExecuted(String),
    /// Not now.
    #[error("feishu asks to wait {0:?}")]
    RateLimited(Duration),
    /// Perhaps executed.
    #[error("feishu may or may not have taken the request: {0}")]
    Ambiguous(String),
    /// Never; Feishu's own code.
    #[error("feishu refused: {0}")]
    Refused(String),
    /// Not before somebody acts: it is the app or its rights.
    #[error("feishu does not accept us: {code}: {remedy}")]
    NotAccepted {
        /// Feishu's own code.
        code: String,
        /// What is wrong, and what to do.
        remedy: &'static str,
    },
}

impl FeishuError {
    fn is_not_let_through(&self) -> bool {
        matches!(self, FeishuError::Refused(code) if NOT_LET_THROUGH.contains(&code.as_str()))
    }

    fn of_send(self) -> SendResult {
        match self {
            FeishuError::NotExecuted(reason) => SendResult::Out(Outage::Away(reason)),
            FeishuError::RateLimited(pause) => SendResult::RetryAfter(pause),
            FeishuError::Ambiguous(reason) => SendResult::Unknown(reason),
            FeishuError::Refused(code) => SendResult::Refused(code),
            FeishuError::NotAccepted { code, remedy } => {
                SendResult::Out(Outage::NotAccepted { code, remedy })
            }
        }
    }
}

/// What a code says about the token: ours is over, whatever Feishu calls it.
const TOKEN_OVER: [i64; 5] = [99_991_661, 99_991_663, 99_991_668, 99_991_671, 99_991_677];
/// Too fast, or still busy with the message before.
const TOO_FAST: [i64; 4] = [99_991_400, 230_020, 230_049, 11_232];
/// What a card says is not let through: what looks like personal data or a forbidden word, too much of it, or a form that
/// this tenant does not take. Consoles print all sorts of things; the rest is told without them.
const NOT_LET_THROUGH: [&str; 4] = ["230022", "230025", "230028", "230099"];
/// The app lacks a permission.
const NO_SCOPE: &str = "99991672";
/// This chat takes no threads.
const NO_TOPICS: i64 = 230_071;

/// What is wrong, and what to do, when Feishu answers so to whatever we send; after its list of error codes.
fn remedy(code: i64) -> Option<&'static str> {
    Some(match code {
        10_003 | 10_014 | 99_991_543 => {
            "FEISHU_APP_ID and FEISHU_APP_SECRET do not belong together: check both and restart"
        }
        99_991_672 => {
            "the app lacks a permission: add im:message:send_as_bot and im:message:update, publish a version of the app"
        }
        230_006 => "the app has no bot: add the feature in its console, publish a version of the app",
        99_991_673..=99_991_675 => {
            "the app is not installed or not enabled in this tenant: ask its administrator"
        }
        _ => return None,
    })
}

impl FeishuClient {
    /// A client for the API under `base_url` (`https://open.feishu.cn`) with an app's own secret.
    pub fn new(http: Http, base_url: &str, app_id: String, app_secret: SecretString, clock: Clock) -> Self {
        let base_url = base_url.trim_end_matches('/').to_owned();
        FeishuClient { http, base_url, app_id, app_secret, clock, token: Mutex::default() }
    }

    /// Who we are: for the start, and to know our own mention.
    pub async fn whoami(&self) -> Result<WhoAmI, FeishuError> {
        let reply = self.call(Method::GET, "/open-apis/bot/v3/info", None).await?;
        let text = |name: &str| reply["bot"][name].as_str().unwrap_or_default().to_owned();
        Ok(WhoAmI { open_id: text("open_id"), name: text("app_name") })
    }

    /// The key of the tenant that the app is in: whose people are no strangers.
    pub async fn tenant(&self) -> Result<String, FeishuError> {
        let lacks = "the app lacks tenant:tenant:readonly: add it, publish a version of the app";
        let told = match self.call(Method::GET, "/open-apis/tenant/v2/tenant/query", None).await {
            Err(FeishuError::NotAccepted { code, .. }) if code == NO_SCOPE => {
                return Err(FeishuError::NotAccepted { code, remedy: lacks });
            }
            told => told?,
        };
        let key = told["data"]["tenant"]["tenant_key"].as_str().filter(|key| !key.is_empty());
        key.map(str::to_owned).ok_or_else(|| FeishuError::NotExecuted("an answer without a tenant".into()))
    }

    async fn token(&self) -> Result<SecretString, FeishuError> {
        // Held while one is fetched: everybody else waits for that one.
        let mut token = self.token.lock().await;
        if let Some(token) = &*token
            && self.clock.monotonic() < token.good_until
        {
            return Ok(token.secret.clone());
        }
        let asked_at = self.clock.monotonic();
        let url = format!("{}/open-apis/auth/v3/tenant_access_token/internal", self.base_url);
        let body = json!({ "app_id": self.app_id, "app_secret": self.app_secret.expose_secret() });
        let reply = self.http.post_json(&url, None, &body, TOTAL_TIMEOUT).await;
        // Asking for a token again does no harm.
        let reply = accepted(&reply.map_err(|error| FeishuError::NotExecuted(error.to_string()))?)?;
        let secret = reply["tenant_access_token"].as_str().filter(|token| !token.is_empty());
        let secret = secret.ok_or_else(|| FeishuError::NotExecuted("an answer without a token".into()))?;
        let lives = Duration::from_secs(reply["expire"].as_u64().unwrap_or(0));
        let good_until = asked_at + lives.saturating_sub(TOKEN_MARGIN.min(lives / 2));
        let secret = SecretString::from(secret);
        *token = Some(Token { secret: secret.clone(), good_until });
        Ok(secret)
    }

    /// One request; with a new token once more, where Feishu says that ours is over.
    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, FeishuError> {
        let token = self.token().await?;
        let reply = self.request(method.clone(), path, &token, body).await?;
        if !code_of(&reply).is_some_and(|code| TOKEN_OVER.contains(&code)) {
            return accepted(&reply);
        }
        let mut kept = self.token.lock().await;
        if kept.as_ref().is_some_and(|kept| kept.secret.expose_secret() == token.expose_secret()) {
            *kept = None;
        }
        drop(kept);
        let token = self.token().await?;
        accepted(&self.request(method, path, &token, body).await?)
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        token: &SecretString,
        body: Option<&Value>,
    ) -> Result<HttpReply, FeishuError> {
        let url = format!("{}{path}", self.base_url);
        self.http.send_json(method, &url, Some(token), body, TOTAL_TIMEOUT).await.map_err(unanswered)
    }

    async fn post_in_thread(&self, root: &str, card: &Card, uuid: &str) -> Result<String, FeishuError> {
        match self.reply(root, card, Some(uuid), true).await {
            Err(FeishuError::Refused(code)) if code == NO_TOPICS.to_string() => {
                self.reply(root, card, Some(uuid), false).await
            }
            sent => sent,
        }
    }

    async fn post_in_chat(&self, chat: &str, card: &Card, uuid: Option<&str>) -> Result<String, FeishuError> {
        // A chat, or a person in the bot's own chat with them.
        let kind = if chat.starts_with("ou_") { "open_id" } else { "chat_id" };
        let path = format!("/open-apis/im/v1/messages?receive_id_type={kind}");
        let mut body = message(card, uuid);
        body["receive_id"] = json!(chat);
        message_id(&self.call(Method::POST, &path, Some(&body)).await?)
    }

    async fn reply(
        &self,
        to: &str,
        card: &Card,
        uuid: Option<&str>,
        thread: bool,
    ) -> Result<String, FeishuError> {
        let path = format!("/open-apis/im/v1/messages/{}/reply", id_in_path(to)?);
        let mut body = message(card, uuid);
        body["reply_in_thread"] = json!(thread);
        message_id(&self.call(Method::POST, &path, Some(&body)).await?)
    }
}

#[async_trait]
impl ChatApi for FeishuClient {
    async fn post(&self, post: Post<'_>) -> SendResult {
        let uuid = uuid(post.key, &post.place.channel, post.instead_of);
        let posts = async |card: &Card| match &post.place.thread {
            Some(root) => self.post_in_thread(root, card, &uuid).await,
            None => self.post_in_chat(&post.place.channel, card, Some(&uuid)).await,
        };
        sent(match posts(post.card).await {
            Err(error) if error.is_not_let_through() => posts(&without_logs(post.card)).await,
            posted => posted,
        })
    }

    async fn post_file(&self, post: FilePost<'_>) -> SendResult {
        self.share(post, &uuid(post.key, &post.place.channel, None)).await
    }

    async fn edit(&self, _place: &Place, message: &str, card: &Card) -> SendResult {
        let edits = async |card: &Card| {
            let body = json!({ "content": card::render(card).to_string() });
            let path = format!("/open-apis/im/v1/messages/{}", id_in_path(message)?);
            self.call(Method::PATCH, &path, Some(&body)).await
        };
        let edited = match edits(card).await {
            Err(error) if error.is_not_let_through() => edits(&without_logs(card)).await,
            edited => edited,
        };
        sent(edited.map(|_| message.to_owned()))
    }

    /// Posting again is the search: Feishu answers a `uuid` that it knows with the message that is there.
    async fn find(&self, _place: &Place, _key: &str, since: Timestamp) -> Found {
        if self.clock.now().since(since) <= UUID_KNOWN {
            Found::Absent
        } else {
            Found::CannotTell("Feishu knows a post for an hour".to_owned())
        }
    }

    async fn answer(&self, via: &AnswerVia, card: &Card) -> SendResult {
        // The same question twice is answered twice, so an answer has no `uuid`; at worst it stands there twice too.
        sent(match &via.place.thread {
            Some(message) => self.reply(message, card, None, false).await,
            None => self.post_in_chat(&via.place.channel, card, None).await,
        })
    }

    async fn answer_in_channel(&self, _via: &AnswerVia, _card: &Card) -> SendResult {
        SendResult::Refused("no_response_url".to_owned())
    }

    async fn name_of(&self, id: &str) -> Option<String> {
        let path = format!("/open-apis/contact/v3/users/{}?user_id_type=open_id", id_in_path(id).ok()?);
        let told = self.call(Method::GET, &path, None).await.ok()?;
        told["data"]["user"]["name"].as_str().map(str::to_owned)
    }

    async fn pin(&self, _place: &Place, message: &str) -> Result<(), NotTold> {
        let body = json!({ "message_id": message });
        let pinned = self.call(Method::POST, "/open-apis/im/v1/pins", Some(&body)).await;
        pinned.map(drop).map_err(contacts::not_told)
    }

    async fn put_badge(&self, _place: &Place, message: &str, badge: Badge) -> Badged {
        self.react(message, badge).await
    }

    async fn take_badge(&self, _place: &Place, message: &str, badge: Badge, id: &str) -> Badged {
        self.unreact(message, badge, id).await
    }

    async fn members_of(&self, group: &str) -> Result<Vec<String>, NotTold> {
        self.department(group).await.map_err(contacts::not_told)
    }
}

// ---- requests and answers ---------------------------------------------------------------------------------

/// A card without what boards printed.
fn without_logs(card: &Card) -> Card {
    let mut card = card.clone();
    card.blocks.retain(|block| !matches!(block, Block::Log(_)));
    card
}

fn message(card: &Card, uuid: Option<&str>) -> Value {
    let mut body = json!({ "msg_type": "interactive", "content": card::render(card).to_string() });
    if let Some(uuid) = uuid {
        body["uuid"] = json!(uuid);
    }
    body
}

/// Unlike the key, of one length and without a character that Feishu might not take; another one for another chat, and
/// for a message in another's place.
fn uuid(key: &str, channel: &str, instead_of: Option<&str>) -> String {
    let about = format!("{key} {channel} {}", instead_of.unwrap_or_default());
    let mut digits = hex::encode(Sha256::digest(about.as_bytes()));
    digits.truncate(UUID_DIGITS);
    digits
}

/// A message's id as part of a path: it came from Feishu, and is not trusted for that.
fn id_in_path(id: &str) -> Result<&str, FeishuError> {
    let plain = !id.is_empty()
        && id.len() <= 128
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if plain { Ok(id) } else { Err(FeishuError::Refused("no message id".to_owned())) }
}

fn message_id(data: &Value) -> Result<String, FeishuError> {
    let id = data["data"]["message_id"].as_str().filter(|id| !id.is_empty());
    id.map(str::to_owned).ok_or_else(|| FeishuError::Ambiguous("no message_id in the answer".to_owned()))
}

fn sent(ended: Result<String, FeishuError>) -> SendResult {
    ended.map_or_else(FeishuError::of_send, SendResult::Sent)
}

fn unanswered(error: NetError) -> FeishuError {
    let reason = error.to_string();
    if error.may_have_arrived() { FeishuError::Ambiguous(reason) } else { FeishuError::NotExecuted(reason) }
}

fn code_of(reply: &HttpReply) -> Option<i64> {
    reply.json()?["code"].as_i64()
}

/// The whole answer, when its code is 0.
fn accepted(reply: &HttpReply) -> Result<Value, FeishuError> {
    let body = reply.json().filter(|body| body["code"].is_i64());
    let Some(body) = body else {
        return Err(match reply.status {
            429 => FeishuError::RateLimited(pause(reply)),
            408 | 500.. => FeishuError::Ambiguous(format!("http_{}", reply.status)),
            200..=299 => FeishuError::Ambiguous("an answer that is not Feishu's".to_owned()),
            status => FeishuError::Refused(format!("http_{status}")),
        });
    };
    match body["code"].as_i64().unwrap_or_default() {
        0 => Ok(body),
        code if reply.status == 429 || TOO_FAST.contains(&code) => {
            Err(FeishuError::RateLimited(pause(reply)))
        }
        // Busy: not done.
        1 => Err(FeishuError::NotExecuted("busy".to_owned())),
        code => Err(match remedy(code) {
            Some(remedy) => FeishuError::NotAccepted { code: code.to_string(), remedy },
            // A token that is over twice in a row is no token.
            None if TOKEN_OVER.contains(&code) => FeishuError::NotExecuted(format!("token refused: {code}")),
            None if reply.status >= 500 => FeishuError::Ambiguous(format!("http_{} {code}", reply.status)),
            None => FeishuError::Refused(code.to_string()),
        }),
    }
}

/// How long Feishu's gateway says to wait.
fn pause(reply: &HttpReply) -> Duration {
    let reset = reply.header("x-ogw-ratelimit-reset").and_then(|secs| secs.trim().parse().ok());
    let asked = reset.map(Duration::from_secs).or(reply.retry_after());
    asked.map_or(RATE_LIMIT_PAUSE, |asked| asked.clamp(Duration::from_millis(200), PAUSE_MAX))
}
