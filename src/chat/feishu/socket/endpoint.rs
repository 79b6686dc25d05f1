//! Asking Feishu where to dial, with the app's own secret; and what it says about how to keep the connection.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::chat::Outage;
use crate::clock::Clock;
use crate::net::ws::{DialError, WebSocket};
use crate::net::{Http, HttpReply, TOTAL_TIMEOUT};

/// How long dialling may take.
const DIAL_WITHIN: Duration = Duration::from_secs(10);
/// Codes after which it is tried again soon: Feishu is busy, or failed itself.
const AGAIN: [i64; 3] = [1, 1_000_040_343, 99_991_400];
/// The app has as many connections as it may have.
const TOO_MANY: i64 = 1_000_040_350;

/// Dials long connections of one app.
pub struct Endpoint {
    http: Http,
    base_url: String,
    app_id: String,
    app_secret: SecretString,
}

/// A connection, and what belongs to it.
pub(super) struct Dialled {
    pub(super) socket: WebSocket,
    /// What our keepalive must name.
    pub(super) service: i32,
    /// How to keep it.
    pub(super) pace: Pace,
}

/// How Feishu wants a connection to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// A keepalive this often, or sooner.
    pub ping_every: Duration,
    /// At last, another try this often.
    pub again_every: Duration,
    /// By how much tries of many servers are spread.
    pub spread: Duration,
}

impl Default for Pace {
    /// What Feishu's own clients begin with.
    fn default() -> Self {
        let secs = Duration::from_secs;
        Pace { ping_every: secs(120), again_every: secs(120), spread: secs(30) }
    }
}

impl Pace {
    /// The same with what Feishu says otherwise, within bounds: its word must neither flood it nor fall asleep.
    pub fn told(self, config: &Value) -> Pace {
        let read = |name: &str, least: u64, most: u64, now: Duration| {
            let told = config[name].as_i64().and_then(|secs| u64::try_from(secs).ok());
            told.map_or(now, |secs| Duration::from_secs(secs.clamp(least, most)))
        };
        Pace {
            ping_every: read("PingInterval", 5, 300, self.ping_every),
            again_every: read("ReconnectInterval", 5, 600, self.again_every),
            spread: read("ReconnectNonce", 0, 120, self.spread),
        }
    }
}

impl Endpoint {
    /// For the API under `base_url` (`https://open.feishu.cn`), with the app's own secret.
    pub fn new(http: Http, base_url: &str, app_id: String, app_secret: SecretString) -> Self {
        Endpoint { http, base_url: base_url.trim_end_matches('/').to_owned(), app_id, app_secret }
    }

    /// A new connection. Its address is as good as the secret for that: never logged.
    pub(super) async fn dial(&self, clock: &Clock, pace: Pace) -> Result<Dialled, Outage> {
        let (url, config) = self.ask().await?;
        let service = service_of(&url).ok_or_else(|| away("an address without a service"))?;
        let socket =
            self.http.web_socket(&url, DIAL_WITHIN, clock.clone()).await.map_err(|error| match error {
                DialError::Net(error) => away(error.to_string()),
                DialError::Refused(reply) => handshake(&reply),
            })?;
        Ok(Dialled { socket, service, pace: pace.told(&config) })
    }

    async fn ask(&self) -> Result<(String, Value), Outage> {
        let url = format!("{}/callback/ws/endpoint", self.base_url);
        let body = json!({ "AppID": self.app_id, "AppSecret": self.app_secret.expose_secret() });
        // As Feishu's own clients ask.
        let reply = self.http.post_json_with(&url, &[("locale", "zh")], &body, TOTAL_TIMEOUT).await;
        let reply = reply.map_err(|error| away(error.to_string()))?;
        let answer = reply.json().filter(|answer| answer["code"].is_i64());
        let answer = answer.ok_or_else(|| away(format!("http_{}", reply.status)))?;
        match answer["code"].as_i64().unwrap_or_default() {
            0 => {}
            // Whatever code stands beside it, a gateway that is busy or fails is so for a while.
            code if AGAIN.contains(&code) || matches!(reply.status, 408 | 429 | 500..) => {
                return Err(away(format!("busy: {code}")));
            }
            code => return Err(refused(code)),
        }
        let url = answer["data"]["URL"].as_str().filter(|url| !url.is_empty());
        let url = url.ok_or_else(|| away("an answer without an address"))?;
        Ok((url.to_owned(), answer["data"]["ClientConfig"].clone()))
    }
}

fn service_of(url: &str) -> Option<i32> {
    let (_, query) = url.split_once('?')?;
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == "service_id").and_then(|(_, id)| id.parse().ok())
}

/// A handshake that Feishu does not finish says why in headers of its own.
fn handshake(reply: &HttpReply) -> Outage {
    let number = |name: &str| reply.header(name).and_then(|text| text.trim().parse::<i64>().ok());
    match (number("handshake-status"), number("handshake-autherrcode")) {
        (Some(514), Some(TOO_MANY)) => refused(TOO_MANY),
        (Some(403), _) => refused(403),
        (Some(status), _) => away(format!("handshake refused: {status}")),
        (None, _) => away(format!("http_{}", reply.status)),
    }
}

fn away(reason: impl Into<String>) -> Outage {
    Outage::Away(reason.into())
}

/// A code that somebody must do something about; any other may be over the next time.
fn refused(code: i64) -> Outage {
    match remedy(code) {
        Some(remedy) => Outage::NotAccepted { code: code.to_string(), remedy },
        None => away(format!("no long connection: {code}")),
    }
}

/// What is wrong, and what to do, when Feishu gives no connection, as far as that is known.
fn remedy(code: i64) -> Option<&'static str> {
    Some(match code {
        403 => {
            "the app may not use long connections: choose \"receive events through persistent connection\" in its console \
             (Events & Callbacks) and publish a version; only custom apps may"
        }
        514 | 1_000_040_344 | 10_003 | 10_014 => {
            "FEISHU_APP_ID and FEISHU_APP_SECRET do not belong together: check both and restart"
        }
        TOO_MANY => "fifty connections of this app are open already: stop the other programs that use it",
        1_000_040_351 => {
            "FEISHU_BASE_URL is not this app's: https://open.feishu.cn for Feishu, https://open.larksuite.com for Lark; \
             set it and restart"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_feishu_says_of_the_pace_holds_within_bounds() {
        let secs = Duration::from_secs;
        let told = Pace::default()
            .told(&json!({ "ReconnectCount": -1, "ReconnectInterval": 90, "PingInterval": 60 }));
        assert_eq!(told, Pace { ping_every: secs(60), again_every: secs(90), spread: secs(30) });
        let zeros = told.told(&json!({ "ReconnectInterval": 0, "ReconnectNonce": 0, "PingInterval": 0 }));
        assert_eq!(zeros, Pace { ping_every: secs(5), again_every: secs(5), spread: secs(0) });
        let ages = json!({ "ReconnectInterval": 86400, "ReconnectNonce": 86400, "PingInterval": 86400 });
        assert_eq!(
            zeros.told(&ages),
            Pace { ping_every: secs(300), again_every: secs(600), spread: secs(120) }
        );
        let words = json!({ "ReconnectInterval": "x", "ReconnectNonce": -5, "PingInterval": 1.5 });
        assert_eq!(told.told(&words), told);
        assert_eq!(told.told(&Value::Null), told);
    }

    #[test]
    fn what_nobody_can_do_anything_about_is_tried_again_soon() {
        let lasting = |code| matches!(refused(code), Outage::NotAccepted { .. });
        for code in [403, 514, 1_000_040_344, TOO_MANY, 1_000_040_351] {
            assert!(lasting(code), "{code}");
        }
        for code in [2_200, 99_991_663, -1] {
            assert!(!lasting(code), "{code}");
        }
    }

    #[test]
    fn the_service_stands_in_the_address() {
        let url = "wss://host/ws/v2?fpid=1&device_id=7&service_id=33&ticket=a%26service_id%3D1";
        assert_eq!(service_of(url), Some(33));
        for bad in ["wss://host", "wss://host?service_id=", "wss://host?service_id=99999999999"] {
            assert_eq!(service_of(bad), None, "{bad}");
        }
    }
}
