//! Slack's Web API as the relay needs it: the one place that talks to Slack. It renders a card, makes one request and
//! says how it ended; when to send, and when to try again, is the relay's.
//!
//! A request that Slack does not carry out ends in one of five ways. Not executed for certain: again later. Rate
//! limited: again when Slack says. Refused: never again, for it is the message or its channel. Not accepted: it is the
//! token, the app or the workspace, so nothing goes before somebody acts, and nothing is given up either. Ambiguous,
//! which is a broken connection, a 5xx or `fatal_error`: a post may be there, so it is `Unknown` until
//! [`ChatApi::find`] has looked; an edit is simply made again, since it converges.

mod badges;
mod files;
mod views;

use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::blocks;
use crate::chat::{
    AnswerVia, Badge, Badged, ChatApi, FilePost, Found, NotTold, Outage, Place, Post, SendResult,
};
use crate::clock::Timestamp;
use crate::message::Card;
use crate::net::{Http, HttpReply, NetError, TOTAL_TIMEOUT};

/// The `event_type` of our posts' metadata.
pub const EVENT_TYPE: &str = "boardhand_post";
/// Pause after a search that failed.
const PAUSE: Duration = Duration::from_secs(5);
/// Pause after a rate limit without `Retry-After`.
const RATE_LIMIT_PAUSE: Duration = Duration::from_secs(30);
/// How much earlier than our own clock's time of a post it is looked for: the two clocks differ.
const FIND_MARGIN: Duration = Duration::from_secs(5);
/// Pages of a channel or thread that are searched for a post, and messages of each.
const FIND_PAGES_MAX: usize = 5;
const FIND_PAGE: &str = "200";
/// Longest address of a message that is kept.
const LINK_BYTES_MAX: usize = 500;
/// Longest error code of Slack that is passed on.
const CODE_BYTES_MAX: usize = 64;

/// One workspace, as its bot sees it.
pub struct SlackClient {
    http: Http,
    base_url: String,
    token: SecretString,
}

/// Who the token belongs to, and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhoAmI {
    /// The bot's user id.
    pub user_id: String,
    /// The bot's own id.
    pub bot_id: String,
    /// The workspace's id.
    pub team_id: String,
    /// The id of the organisation that it belongs to, if there is one.
    pub enterprise_id: String,
    /// The workspace's name.
    pub team: String,
    /// The scopes that were granted.
    pub scopes: Vec<String>,
}

/// How a request to Slack failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlackError {
    /// Not executed for certain; trying again may help.
    #[error("slack did not take the request: {0}")]
    NotExecuted(String),
    /// Not now.
    #[error("slack asks to wait {0:?}")]
    RateLimited(Duration),
    /// Perhaps executed.
    #[error("slack may or may not have taken the request: {0}")]
    Ambiguous(String),
    /// Never; Slack's own code.
    #[error("slack refused: {0}")]
    Refused(String),
    /// Not before somebody acts: it is the token, the app or the workspace.
    #[error("slack does not accept us: {code}: {remedy}")]
    NotAccepted {
        /// Slack's own code.
        code: String,
        /// What is wrong, and what to do.
        remedy: &'static str,
    },
}

impl SlackError {
    fn of_send(self) -> SendResult {
        match self {
            SlackError::NotExecuted(reason) => SendResult::Out(Outage::Away(reason)),
            SlackError::RateLimited(pause) => SendResult::RetryAfter(pause),
            SlackError::Ambiguous(reason) => SendResult::Unknown(reason),
            SlackError::Refused(code) => SendResult::Refused(code),
            SlackError::NotAccepted { code, remedy } => SendResult::Out(Outage::NotAccepted { code, remedy }),
        }
    }

    /// The same of a call that needs a scope which a bot may do without; `lacks` says what to do then.
    fn of_question(self, lacks: &'static str) -> NotTold {
        let (code, remedy) = match self {
            SlackError::RateLimited(pause) => return NotTold::NotNow(pause),
            SlackError::NotExecuted(reason) | SlackError::Ambiguous(reason) => return NotTold::Away(reason),
            SlackError::Refused(code) if code == "no_such_subteam" => (
                code,
                "there is no such user group: its id begins with S and stands in its menu, Copy group ID",
            ),
            SlackError::Refused(code) => (code, "see what Slack says of this code"),
            SlackError::NotAccepted { code, .. } if code == "missing_scope" => (code, lacks),
            SlackError::NotAccepted { code, remedy } => (code, remedy),
        };
        NotTold::Failed { code, remedy }
    }

    fn of_search(self) -> Found {
        match self {
            SlackError::NotExecuted(reason) => Found::Out(Outage::Away(reason)),
            SlackError::RateLimited(pause) => Found::NotNow(pause),
            SlackError::Ambiguous(_) => Found::NotNow(PAUSE),
            SlackError::Refused(code) => Found::CannotTell(code),
            // The right to read a channel's history is one that a bot may do without.
            SlackError::NotAccepted { code, .. } if code == "missing_scope" => Found::CannotTell(code),
            SlackError::NotAccepted { code, remedy } => Found::Out(Outage::NotAccepted { code, remedy }),
        }
    }
}

/// What to do where the scope is missing that a call needs.
const PIN_LACKS: &str =
    "the app lacks pins:write: add it, install the app again, set SLACK_BOT_TOKEN and restart";
const GROUPS_LACK: &str =
    "the app lacks usergroups:read: add it, install the app again, set SLACK_BOT_TOKEN and restart";

/// What is wrong, and what to do, when Slack answers so to whatever we send; nothing for a code that is about one
/// message or its channel. After <https://docs.slack.dev/reference/methods/chat.postMessage#errors>.
fn remedy(code: &str) -> Option<&'static str> {
    Some(match code {
        "invalid_auth" | "not_authed" | "not_allowed_token_type" | "http_401" => {
            "SLACK_BOT_TOKEN is not a bot token of this workspace: set it and restart"
        }
        "token_revoked" | "account_inactive" => {
            "the bot token is revoked or the app was removed: install the app again, set SLACK_BOT_TOKEN and restart"
        }
        "token_expired" => {
            "the bot token has expired: turn token rotation off, set SLACK_BOT_TOKEN and restart"
        }
        "missing_scope" => {
            "the app lacks a scope: compare it with `boardhand slack manifest`, install it again, set SLACK_BOT_TOKEN \
             and restart"
        }
        "org_login_required" => {
            "the workspace is moving to an organisation: Slack takes messages again afterwards"
        }
        "team_added_to_org" => {
            "the workspace is joining an organisation: Slack takes messages again afterwards"
        }
        "ekm_access_denied"
        | "enterprise_is_restricted"
        | "team_access_not_granted"
        | "accesslimited"
        | "two_factor_setup_required"
        | "http_403" => "the workspace does not let the app in: ask an administrator of the Slack workspace",
        "method_deprecated" | "deprecated_endpoint" | "unknown_method" => {
            "SLACK_API_URL does not know this method: check it, or get a newer boardhand"
        }
        // Slack itself answers in JSON; these two can be about one message also without it.
        "http_400" | "http_413" => return None,
        code if code.starts_with("http_") => {
            "something answers in Slack's place: check SLACK_API_URL and the proxy"
        }
        _ => return None,
    })
}

impl SlackError {
    /// The same where our token is not asked for: what is refused is this address.
    fn of_address(self) -> SlackError {
        match self {
            SlackError::NotAccepted { code, .. } => SlackError::Refused(code),
            other => other,
        }
    }
}

impl SlackClient {
    /// A client for the API under `base_url` (`https://slack.com/api/`) with a bot's token.
    pub fn new(http: Http, base_url: &str, token: SecretString) -> Self {
        SlackClient { http, base_url: format!("{}/", base_url.trim_end_matches('/')), token }
    }

    /// Who we are: for `boardhand check` and the start.
    pub async fn whoami(&self) -> Result<WhoAmI, SlackError> {
        let reply = self.request("auth.test", &json!({}), TOTAL_TIMEOUT).await?;
        let scopes = reply.header("x-oauth-scopes").unwrap_or_default();
        let scopes = scopes.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect();
        let body = accepted(&reply)?;
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let [user_id, bot_id, team_id, enterprise_id, team] =
            ["user_id", "bot_id", "team_id", "enterprise_id", "team"].map(text);
        Ok(WhoAmI { user_id, bot_id, team_id, enterprise_id, team, scopes })
    }

    async fn call(&self, method: &str, body: &Value) -> Result<Value, SlackError> {
        self.call_within(method, body, TOTAL_TIMEOUT).await
    }

    async fn call_within(&self, method: &str, body: &Value, within: Duration) -> Result<Value, SlackError> {
        accepted(&self.request(method, body, within).await?)
    }

    async fn request(&self, method: &str, body: &Value, within: Duration) -> Result<HttpReply, SlackError> {
        let url = format!("{}{method}", self.base_url);
        self.http.post_json(&url, Some(&self.token), body, within).await.map_err(unanswered)
    }

    async fn post_message(
        &self,
        place: &Place,
        card: &Card,
        key: Option<&str>,
    ) -> Result<String, SlackError> {
        let mut body = message(place, card);
        body["unfurl_links"] = json!(false);
        body["unfurl_media"] = json!(false);
        if let Some(key) = key {
            body["metadata"] = json!({ "event_type": EVENT_TYPE, "event_payload": { "key": key } });
        }
        let reply = self.call("chat.postMessage", &body).await?;
        let ts = reply["ts"].as_str().filter(|ts| !ts.is_empty());
        ts.map(str::to_owned).ok_or_else(|| SlackError::Ambiguous("no ts in the answer".to_owned()))
    }

    /// To one person in a channel; in a direct message, where they are alone with us, as a message that stays.
    async fn whisper(&self, via: &AnswerVia, card: &Card) -> Result<String, SlackError> {
        if via.place.channel.starts_with('D') {
            return self.post_message(&via.place, card, None).await;
        }
        let mut body = message(&via.place, card);
        body["user"] = json!(via.user);
        match self.call("chat.postEphemeral", &body).await {
            // Nobody sees it there: who left the channel, or may not be spoken to in it, is told directly.
            Err(SlackError::Refused(_)) => {
                let direct = Place { channel: via.user.clone(), thread: None, ..via.place.clone() };
                self.post_message(&direct, card, None).await
            }
            told => told.map(|_| String::new()),
        }
    }

    async fn respond(&self, url: &str, body: &Value) -> Result<String, SlackError> {
        // The address itself is the permission: our token stays at home.
        let reply = self.http.post_json(url, None, body, TOTAL_TIMEOUT).await.map_err(unanswered)?;
        match (reply.status, reply.json()) {
            // Slack answers `ok` as plain text.
            (200..=299, None) => Ok(String::new()),
            (200..=299, Some(body)) if body["ok"] != json!(false) => Ok(String::new()),
            _ => Err(refusal(&reply).of_address()),
        }
    }

    /// Who is in a user group; a disabled one has nobody.
    async fn group(&self, id: &str) -> Result<Vec<String>, SlackError> {
        let url = format!("{}usergroups.users.list", self.base_url);
        let fields = [("usergroup", id)];
        let reply = self.http.post_form(&url, Some(&self.token), &fields, TOTAL_TIMEOUT).await;
        let body = accepted(&reply.map_err(unanswered)?)?;
        let users = body["users"].as_array();
        let users = users.ok_or_else(|| SlackError::Ambiguous("no users in the answer".to_owned()))?;
        Ok(users.iter().filter_map(|user| user.as_str().map(str::to_owned)).collect())
    }

    /// One page of a thread's or channel's messages since `oldest`, and the next page's cursor.
    async fn page(&self, place: &Place, oldest: &str, cursor: &str) -> Result<(Value, String), SlackError> {
        let mut fields = vec![
            ("channel", place.channel.as_str()),
            ("oldest", oldest),
            ("inclusive", "true"),
            ("include_all_metadata", "true"),
            ("limit", FIND_PAGE),
        ];
        let method = match &place.thread {
            Some(thread) => {
                fields.push(("ts", thread));
                "conversations.replies"
            }
            None => "conversations.history",
        };
        if !cursor.is_empty() {
            fields.push(("cursor", cursor));
        }
        let url = format!("{}{method}", self.base_url);
        let reply =
            self.http.post_form(&url, Some(&self.token), &fields, TOTAL_TIMEOUT).await.map_err(unanswered)?;
        let mut body = accepted(&reply)?;
        let next = body["response_metadata"]["next_cursor"].as_str().unwrap_or_default().to_owned();
        Ok((body["messages"].take(), next))
    }

    /// What was said in a thread since then, oldest first, after the message that it stands under; at most so much of it as
    /// a search looks at.
    pub async fn replies(&self, thread: &Place, since: Timestamp) -> Result<Vec<Value>, SlackError> {
        let (mut said, mut cursor) = (Vec::new(), String::new());
        for _ in 0..FIND_PAGES_MAX {
            let (mut messages, next) = self.page(thread, &seconds(since), &cursor).await?;
            said.extend(messages.as_array_mut().map(std::mem::take).unwrap_or_default());
            if next.is_empty() {
                break;
            }
            cursor = next;
        }
        Ok(said)
    }

    async fn search(&self, place: &Place, key: &str, since: Timestamp) -> Result<Found, SlackError> {
        let oldest = seconds(since - FIND_MARGIN);
        let mut cursor = String::new();
        for _ in 0..FIND_PAGES_MAX {
            let (messages, next) = self.page(place, &oldest, &cursor).await?;
            let ours = messages.as_array().into_iter().flatten().find(|message| {
                let metadata = &message["metadata"];
                let posted = metadata["event_type"] == EVENT_TYPE && metadata["event_payload"]["key"] == key;
                // A file has a name of its own in its thread, and no metadata.
                let mut files = message["files"].as_array().into_iter().flatten();
                posted || (message["bot_id"].is_string() && files.any(|file| file["name"] == key))
            });
            if let Some(ts) = ours.and_then(|message| message["ts"].as_str()) {
                return Ok(Found::Sent(ts.to_owned()));
            }
            if next.is_empty() {
                return Ok(Found::Absent);
            }
            cursor = next;
        }
        Ok(Found::CannotTell("too many messages since".to_owned()))
    }
}

#[async_trait]
impl ChatApi for SlackClient {
    async fn post(&self, post: Post<'_>) -> SendResult {
        sent(self.post_message(post.place, post.card, Some(post.key)).await)
    }

    async fn post_file(&self, post: FilePost<'_>) -> SendResult {
        self.share(post).await
    }

    async fn edit(&self, place: &Place, message: &str, card: &Card) -> SendResult {
        let mut body = blocks::render(card);
        body["channel"] = json!(place.channel);
        body["ts"] = json!(message);
        // An edit falls back to defaults that make links and mentions out of words.
        body["parse"] = json!("none");
        body["link_names"] = json!(false);
        match self.call("chat.update", &body).await {
            Ok(_) => SendResult::Sent(message.to_owned()),
            Err(error) => error.of_send(),
        }
    }

    async fn find(&self, place: &Place, key: &str, since: Timestamp) -> Found {
        self.search(place, key, since).await.unwrap_or_else(SlackError::of_search)
    }

    async fn answer(&self, via: &AnswerVia, card: &Card) -> SendResult {
        let Some(url) = &via.url else {
            return sent(self.whisper(via, card).await);
        };
        let mut body = blocks::render(card);
        body["response_type"] = json!("ephemeral");
        // Without this the answer to a click would take the card's place.
        body["replace_original"] = json!(false);
        if let Some(thread) = &via.place.thread {
            body["thread_ts"] = json!(thread);
        }
        match self.respond(url, &body).await {
            // Used five times, or half an hour old: the person still gets their answer.
            Err(SlackError::Refused(_)) => sent(self.whisper(via, card).await),
            ended => sent(ended),
        }
    }

    async fn answer_in_channel(&self, via: &AnswerVia, card: &Card) -> SendResult {
        let Some(url) = &via.url else {
            return SendResult::Refused("no_response_url".to_owned());
        };
        let mut body = blocks::render(card);
        body["response_type"] = json!("in_channel");
        body["replace_original"] = json!(false);
        if let Some(thread) = &via.place.thread {
            body["thread_ts"] = json!(thread);
        }
        sent(self.respond(url, &body).await)
    }

    async fn name_of(&self, id: &str) -> Option<String> {
        let url = format!("{}users.info", self.base_url);
        let reply =
            self.http.post_form(&url, Some(&self.token), &[("user", id)], TOTAL_TIMEOUT).await.ok()?;
        let told = accepted(&reply).ok()?;
        let profile = &told["user"]["profile"];
        let names = [&profile["display_name"], &profile["real_name"], &told["user"]["name"]];
        names.into_iter().filter_map(|name| name.as_str()).find(|name| !name.is_empty()).map(str::to_owned)
    }

    async fn pin(&self, place: &Place, message: &str) -> Result<(), NotTold> {
        let url = format!("{}pins.add", self.base_url);
        let fields = [("channel", place.channel.as_str()), ("timestamp", message)];
        let reply = self.http.post_form(&url, Some(&self.token), &fields, TOTAL_TIMEOUT).await;
        match reply.map_err(unanswered).and_then(|reply| accepted(&reply)) {
            Ok(_) => Ok(()),
            Err(SlackError::Refused(code)) if code == "already_pinned" => Ok(()),
            Err(error) => Err(error.of_question(PIN_LACKS)),
        }
    }

    async fn locale_of(&self, id: &str) -> Result<Option<String>, NotTold> {
        let url = format!("{}users.info", self.base_url);
        let fields = [("user", id), ("include_locale", "true")];
        let reply = self.http.post_form(&url, Some(&self.token), &fields, TOTAL_TIMEOUT).await;
        let told = reply.map_err(unanswered).and_then(|reply| accepted(&reply));
        let told = told.map_err(|error| error.of_question("the app lacks users:read"))?;
        Ok(told["user"]["locale"].as_str().map(str::to_owned))
    }

    async fn link_of(&self, place: &Place, message: &str) -> Result<Option<String>, NotTold> {
        let url = format!("{}chat.getPermalink", self.base_url);
        let fields = [("channel", place.channel.as_str()), ("message_ts", message)];
        let reply = self.http.post_form(&url, Some(&self.token), &fields, TOTAL_TIMEOUT).await;
        let told = reply.map_err(unanswered).and_then(|reply| accepted(&reply));
        let told =
            told.map_err(|error| error.of_question("compare the scopes with `boardhand slack manifest`"))?;
        let link = told["permalink"].as_str().filter(|link| link.len() <= LINK_BYTES_MAX);
        Ok(link.map(str::to_owned))
    }

    async fn put_badge(&self, place: &Place, message: &str, badge: Badge) -> Badged {
        self.react("reactions.add", (place, message), badge).await
    }

    async fn take_badge(&self, place: &Place, message: &str, badge: Badge, _id: &str) -> Badged {
        self.react("reactions.remove", (place, message), badge).await
    }

    async fn members_of(&self, group: &str) -> Result<Vec<String>, NotTold> {
        self.group(group).await.map_err(|error| error.of_question(GROUPS_LACK))
    }
}

// ---- requests and answers ---------------------------------------------------------------------------------

/// An instant as Slack writes it.
fn seconds(at: Timestamp) -> String {
    let micros = at.as_micros().max(0);
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

fn message(place: &Place, card: &Card) -> Value {
    let mut body = blocks::render(card);
    body["channel"] = json!(place.channel);
    if let Some(thread) = &place.thread {
        body["thread_ts"] = json!(thread);
    }
    body
}

fn sent(ended: Result<String, SlackError>) -> SendResult {
    ended.map_or_else(SlackError::of_send, SendResult::Sent)
}

pub(super) fn unanswered(error: NetError) -> SlackError {
    let reason = error.to_string();
    if error.may_have_arrived() { SlackError::Ambiguous(reason) } else { SlackError::NotExecuted(reason) }
}

/// The body of an answer that says `ok`.
pub(super) fn accepted(reply: &HttpReply) -> Result<Value, SlackError> {
    match reply.json() {
        Some(body) if reply.status < 300 && body["ok"] == json!(true) => Ok(body),
        _ => Err(refusal(reply)),
    }
}

/// What an answer means that does not say `ok`.
fn refusal(reply: &HttpReply) -> SlackError {
    let pause = || SlackError::RateLimited(reply.retry_after().unwrap_or(RATE_LIMIT_PAUSE));
    let code = reply.json().and_then(|body| code(&body["error"]));
    match (reply.status, code.as_deref()) {
        (429, _) | (_, Some("ratelimited" | "rate_limited")) => pause(),
        (408 | 500.., _) => SlackError::Ambiguous(format!("http_{}", reply.status)),
        // By their documentation these may come after the effect.
        (_, Some(code @ ("fatal_error" | "internal_error"))) => SlackError::Ambiguous(code.to_owned()),
        (_, Some(code @ ("service_unavailable" | "request_timeout"))) => {
            SlackError::NotExecuted(code.to_owned())
        }
        (_, Some(code)) => refused(code.to_owned()),
        (200..=299, None) => SlackError::Ambiguous("an answer that is not Slack's".to_owned()),
        (status, None) => refused(format!("http_{status}")),
    }
}

fn refused(code: String) -> SlackError {
    match remedy(&code) {
        Some(remedy) => SlackError::NotAccepted { code, remedy },
        None => SlackError::Refused(code),
    }
}

/// An error code, when it looks like one of Slack's: it ends up in logs and in front of people.
fn code(error: &Value) -> Option<String> {
    let code = error.as_str()?;
    let good = (1..=CODE_BYTES_MAX).contains(&code.len())
        && code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    Some(if good { code.to_owned() } else { "unreadable_error".to_owned() })
}

#[cfg(test)]
mod tests;
