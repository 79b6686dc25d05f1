//! A custom bot's webhook: one way only, for a group whose members may add such a bot and no app. It takes no edits, no
//! clicks and no threads, so a run is told once, when it has ended, by the card that it has then, without buttons.
//!
//! What never happens here: an endless try. Whether a post arrived cannot be asked, so a run may be told twice after an
//! ambiguous failure, and again after a restart when its card changes then.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sha2::Sha256;

use super::card;
use crate::chat::{AnswerVia, ChatApi, Found, Outage, Place, Post, SendResult};
use crate::clock::{Clock, Timestamp};
use crate::message::{Block, Card, Tone};
use crate::net::{Http, TOTAL_TIMEOUT};

/// Largest card in bytes, somewhat under what a custom bot takes.
const CARD_BYTES_MAX: usize = 18 * 1024;
/// Most runs of which it is remembered that they were told.
pub const TOLD_MAX: usize = 10_000;
/// Pause after Feishu said that it was too fast.
const RATE_LIMIT_PAUSE: Duration = Duration::from_secs(15);

/// A custom bot of one group. Every Feishu chat that boards.yaml names is this one.
pub struct HookClient {
    http: Http,
    url: SecretString,
    secret: Option<SecretString>,
    clock: Clock,
    told: Mutex<HashSet<String>>,
}

impl HookClient {
    /// For the address that the group gave, and the secret where it asks for signatures.
    pub fn new(http: Http, url: SecretString, secret: Option<SecretString>, clock: Clock) -> Self {
        HookClient { http, url, secret, clock, told: Mutex::default() }
    }

    /// Tells a card once, when its run has ended; `key` is the card's.
    async fn once(&self, key: &str, card: &Card) -> SendResult {
        let known = SendResult::Sent(key.to_owned());
        let ended = matches!(card.tone, Tone::Good | Tone::Bad | Tone::Warning);
        if !ended || self.told.lock().expect("told lock").contains(key) {
            return known;
        }
        let sent = self.tell(card).await;
        if let SendResult::Sent(_) = sent {
            let mut told = self.told.lock().expect("told lock");
            if told.len() >= TOLD_MAX {
                told.clear();
            }
            told.insert(key.to_owned());
            return known;
        }
        sent
    }

    async fn tell(&self, card: &Card) -> SendResult {
        let mut plain = card.clone();
        plain.blocks.retain(|block| !matches!(block, Block::Buttons(_)));
        let mut body =
            json!({ "msg_type": "interactive", "card": card::render_within(&plain, CARD_BYTES_MAX) });
        if let Some(secret) = &self.secret {
            let at = self.clock.now().as_secs().to_string();
            body["sign"] = json!(sign(&at, secret.expose_secret()));
            body["timestamp"] = json!(at);
        }
        let reply = match self.http.post_json(self.url.expose_secret(), None, &body, TOTAL_TIMEOUT).await {
            Ok(reply) => reply,
            Err(error) if error.may_have_arrived() => return SendResult::Unknown(error.to_string()),
            Err(error) => return SendResult::Out(Outage::Away(error.to_string())),
        };
        let code = reply.json().and_then(|body| body["code"].as_i64());
        match (code, reply.status) {
            (Some(0), _) => SendResult::Sent(String::new()),
            (Some(11_232), _) | (_, 429) => SendResult::RetryAfter(RATE_LIMIT_PAUSE),
            (Some(code), _) => match remedy(code) {
                Some(remedy) => SendResult::Out(Outage::NotAccepted { code: code.to_string(), remedy }),
                None => SendResult::Refused(code.to_string()),
            },
            (None, 500..) => SendResult::Unknown(format!("http_{}", reply.status)),
            (None, status) => SendResult::Refused(format!("http_{status}")),
        }
    }
}

/// What is wrong, and what to do, when the group's settings do not let us in.
fn remedy(code: i64) -> Option<&'static str> {
    Some(match code {
        19_001 => {
            "FEISHU_WEBHOOK_URL is no custom bot's address any more: take it anew from the group's settings"
        }
        19_021 => "FEISHU_WEBHOOK_SECRET is not this bot's, or this machine's clock is an hour off",
        19_022 => "the bot takes posts from listed addresses only: add this machine's to its IP allow-list",
        19_024 => "the bot wants a keyword: let it be #, which every card has, or turn keywords off",
        _ => return None,
    })
}

/// The signature of a post: an HMAC over nothing, under time and secret.
fn sign(at: &str, secret: &str) -> String {
    let key = format!("{at}\n{secret}");
    let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes a key of any length");
    STANDARD.encode(mac.finalize().into_bytes())
}

#[async_trait]
impl ChatApi for HookClient {
    async fn post(&self, post: Post<'_>) -> SendResult {
        match post.place.thread {
            // There are no threads: the card tells the outcome.
            Some(_) => SendResult::Sent(String::new()),
            None => self.once(post.key, post.card).await,
        }
    }

    async fn edit(&self, _place: &Place, message: &str, card: &Card) -> SendResult {
        self.once(message, card).await
    }

    async fn find(&self, _place: &Place, _key: &str, _since: Timestamp) -> Found {
        Found::CannotTell("a custom bot cannot read".to_owned())
    }

    async fn answer(&self, _via: &AnswerVia, _card: &Card) -> SendResult {
        SendResult::Refused("one_way".to_owned())
    }

    async fn answer_in_channel(&self, _via: &AnswerVia, _card: &Card) -> SendResult {
        SendResult::Refused("one_way".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::chat::Platform;
    use axum::extract::State;
    use axum::routing::post;
    use axum::{Json, Router};
    use serde_json::Value;

    type Posts = Arc<Mutex<Vec<Value>>>;

    async fn group(code: i64, secret: Option<&str>) -> (HookClient, Posts) {
        let posts = Posts::default();
        let take = move |State(posts): State<Posts>, Json(body): Json<Value>| async move {
            posts.lock().expect("posts").push(body);
            Json(json!({ "code": code, "msg": "" }))
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("address"));
        let routes = Router::new().route("/hook", post(take)).with_state(posts.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let secret = secret.map(SecretString::from);
        let (clock, _) = Clock::manual(Timestamp::from_micros(1_599_360_473_000_000));
        (HookClient::new(Http::new(&[]), SecretString::from(url), secret, clock), posts)
    }

    fn card(tone: Tone) -> Card {
        let blocks =
            vec![Block::Title("#1 socA".into()), Block::Log("x".repeat(60_000)), Block::Buttons(vec![])];
        Card { summary: "#1 passed".into(), tone, blocks }
    }

    fn place(thread: Option<&str>) -> Place {
        Place { platform: Platform::Feishu, channel: "oc_1".into(), thread: thread.map(str::to_owned) }
    }

    #[test]
    fn a_signature_is_the_one_of_the_documentation() {
        assert_eq!(sign("1599360473", "demo"), "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8=");
    }

    #[tokio::test]
    async fn a_run_is_told_once_when_it_has_ended() {
        let (client, posts) = group(0, Some("demo")).await;
        let begins = card(Tone::Running);
        let post = Post { place: &place(None), card: &begins, key: "k", instead_of: None };
        let SendResult::Sent(id) = client.post(post).await else { panic!("not taken") };
        assert_eq!(client.edit(&place(None), &id, &card(Tone::Running)).await, SendResult::Sent(id.clone()));
        let reply = Post { place: &place(Some(&id)), card: &card(Tone::Bad), key: "r", instead_of: None };
        assert_eq!(client.post(reply).await, SendResult::Sent(String::new()));
        assert!(posts.lock().expect("posts").is_empty(), "nothing has ended");
        for _ in 0..2 {
            assert_eq!(client.edit(&place(None), &id, &card(Tone::Good)).await, SendResult::Sent(id.clone()));
        }
        let posts = posts.lock().expect("posts");
        let [told] = posts.as_slice() else { panic!("told {} times", posts.len()) };
        assert_eq!(
            (&told["timestamp"], &told["sign"]),
            (&json!("1599360473"), &json!(sign("1599360473", "demo")))
        );
        assert!(
            told.to_string().len() < 20 * 1024 && told["card"]["header"]["title"]["content"] == "#1 socA"
        );
    }

    #[tokio::test]
    async fn codes_say_what_to_do() {
        let told = async |code: i64| {
            let (client, _) = group(code, None).await;
            let post = Post { place: &place(None), card: &card(Tone::Bad), key: "k", instead_of: None };
            client.post(post).await
        };
        assert_eq!(told(11_232).await, SendResult::RetryAfter(RATE_LIMIT_PAUSE));
        assert_eq!(told(9_499).await, SendResult::Refused("9499".into()));
        for (code, says) in [(19_021, "SECRET"), (19_022, "allow-list"), (19_024, "keyword"), (19_001, "URL")]
        {
            let SendResult::Out(Outage::NotAccepted { remedy, .. }) = told(code).await else {
                panic!("{code}")
            };
            assert!(remedy.contains(says), "{remedy}");
        }
    }
}
