//! How the app hears of what people do: signed requests to its webhook or, with Socket Mode on, envelopes over a socket
//! that the app opened. Both carry the same.

use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::faults::DUPLICATES_MAX;
use super::people::Reply;
use super::wire::{self, sign};
use super::{Shared, SimSlack};

/// How long the app may take to acknowledge.
pub(super) const ACK_WITHIN: Duration = Duration::from_secs(3);

const FORM: &str = "application/x-www-form-urlencoded";

/// What is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    SlashCommand,
    Interaction,
    Event,
}

/// A request to the app, ready to be sent again or tampered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Names and values, the signature among them; none over a socket.
    pub headers: Vec<(String, String)>,
    /// The body that was signed; over a socket, the envelope.
    pub body: Vec<u8>,
}

impl SimSlack {
    /// The last request to the app.
    pub fn last_delivery(&self) -> Option<Delivered> {
        self.0.shared.last_delivery.lock().expect("delivery").clone()
    }

    /// Sends the last request again, as Slack does when it saw no answer: `retry` 1 to 3, and its reason.
    pub async fn repeat_last(&self, retry: u32, reason: &str) -> Reply {
        let Some(mut delivered) = self.last_delivery() else {
            return Reply::default();
        };
        if delivered.headers.is_empty() {
            let mut envelope: Value = serde_json::from_slice(&delivered.body).expect("an envelope of ours");
            envelope["retry_attempt"] = json!(retry);
            envelope["retry_reason"] = json!(reason);
            delivered.body = envelope.to_string().into_bytes();
        } else {
            delivered.headers.push(("X-Slack-Retry-Num".into(), retry.to_string()));
            delivered.headers.push(("X-Slack-Retry-Reason".into(), reason.to_owned()));
        }
        self.send(&delivered).await
    }

    /// Sends a request as it stands and shows only what came back.
    pub async fn send(&self, delivered: &Delivered) -> Reply {
        let (status, body) = self.0.shared.send(delivered).await;
        Reply { status, text: String::from_utf8_lossy(&body).into_owned(), ts: None }
    }
}

impl Shared {
    /// Delivers, with the copies that are asked for; the first copy's answer counts. Status 0 stands for no answer in time.
    pub(super) async fn deliver(&self, kind: Kind, payload: &Value) -> (u16, Vec<u8>) {
        let delivered = if self.is_in_socket_mode() {
            Delivered { headers: Vec::new(), body: self.envelope(kind, payload).to_string().into_bytes() }
        } else {
            self.signed(kind, payload)
        };
        *self.last_delivery.lock().expect("delivery") = Some(delivered.clone());
        let duplicates = self.delivery_faults.lock().expect("faults").duplicates;
        let copies = (0..=duplicates.min(DUPLICATES_MAX)).map(|_| self.send(&delivered));
        let mut answers = futures_util::future::join_all(copies).await;
        answers.swap_remove(0)
    }

    fn envelope(&self, kind: Kind, payload: &Value) -> Value {
        let kind_word = match kind {
            Kind::SlashCommand => "slash_commands",
            Kind::Interaction => "interactive",
            Kind::Event => "events_api",
        };
        let mut envelope = json!({"envelope_id": self.ids.uuid(self.clock.now()), "type": kind_word,
            "payload": payload, "accepts_response_payload": kind != Kind::Event});
        if kind == Kind::Event {
            envelope["retry_attempt"] = json!(0);
            envelope["retry_reason"] = json!("");
        }
        envelope
    }

    fn signed(&self, kind: Kind, payload: &Value) -> Delivered {
        let mut form = form_urlencoded::Serializer::new(String::new());
        let (content_type, body) = match kind {
            Kind::SlashCommand => {
                let fields = payload.as_object().into_iter().flatten();
                form.extend_pairs(fields.filter_map(|(name, value)| Some((name, value.as_str()?))));
                (FORM, form.finish())
            }
            Kind::Interaction => (FORM, form.append_pair("payload", &payload.to_string()).finish()),
            Kind::Event => ("application/json", payload.to_string()),
        };
        let faults = self.delivery_faults.lock().expect("faults").clone();
        let timestamp = self.clock.now().as_secs() + faults.skew_seconds;
        let secret = self.config.signing_secret.expose_secret();
        let of = if faults.wrong_signature { "another body" } else { &body };
        let headers = [
            ("Content-Type", content_type.to_owned()),
            ("X-Slack-Request-Timestamp", timestamp.to_string()),
            ("X-Slack-Signature", sign(secret, timestamp, of.as_bytes())),
            ("User-Agent", "Slackbot 1.0 (simulated)".to_owned()),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Delivered { headers, body: body.into_bytes() }
    }

    async fn send(&self, delivered: &Delivered) -> (u16, Vec<u8>) {
        if delivered.headers.is_empty() {
            return self.push(&String::from_utf8_lossy(&delivered.body)).await;
        }
        let Some(url) = self.webhook.lock().expect("webhook").clone() else {
            return (0, Vec::new());
        };
        match self.clock.timeout(ACK_WITHIN, wire::post(&url, &delivered.headers, &delivered.body)).await {
            Ok(Ok(answer)) => (answer.status, answer.body),
            Ok(Err(error)) => {
                tracing::debug!(url, %error, "the app did not answer");
                (0, Vec::new())
            }
            Err(_) => (0, Vec::new()),
        }
    }
}
