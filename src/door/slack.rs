//! Slack's door: verify, decode, handle, commit, acknowledge. A slash command's answer is the body of its
//! acknowledgement; a click's or an event's acknowledgement is empty, and its answer an owed message. What comes over a
//! socket needs no verifying, since we dialled; everything behind that is the same.

mod form;
mod home;
mod sweep;

pub use home::{HOME_FOLLOWS, HOMES_MAX, Homes, Redraws};
pub use sweep::THREADS_MAX;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};

use self::sweep::Sweeps;
use super::{Door, Refusal};
use crate::chat::slack::socket::frame::Envelope;
use crate::chat::slack::socket::{Ack, Gap, Takes};
use crate::chat::slack::{blocks, decode};
use crate::chat::{ChatApi, Delivery, Place, Platform, key_of};
use crate::command::form::is_offered;
use crate::doorbell::Bell;
use crate::message::Note;
use crate::store::{Audit, Effect, Intake};

/// Longest time from a delivery's arrival until a form is open, or not.
const FORM_WITHIN: Duration = Duration::from_millis(2_800);

/// Whether this is Slack's certificate probe, which old apps send unsigned.
pub(super) fn is_unsigned_probe(body: &[u8]) -> bool {
    decode::is_ssl_check(body)
}

/// One request of Slack.
pub(super) async fn receive(
    State(door): State<Arc<Door>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let verifier = door.slack.as_ref().ok_or(Refusal::NotConnected("slack"))?;
    if decode::is_ssl_check(&body) {
        return Ok(StatusCode::OK.into_response());
    }
    let now = door.clock.now();
    let header = |name: &str| headers.get(name).map(|value| value.as_bytes());
    verifier
        .verify(now, header("x-slack-request-timestamp"), header("x-slack-signature"), &body)
        .map_err(|problem| Refusal::Unsigned(problem.to_string()))?;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let inbound = decode::decode(content_type, &body, now)
        .map_err(|problem| Refusal::Malformed(problem.to_string()))?;
    match inbound {
        decode::Inbound::UrlVerification { challenge } => Ok(challenge.into_response()),
        inbound => Ok(match believed(&door, inbound).await? {
            Some(answer) => Json(answer).into_response(),
            None => StatusCode::OK.into_response(),
        }),
    }
}

/// Takes what comes over the socket.
pub struct Envelopes {
    door: Arc<Door>,
    sweeps: Sweeps,
}

impl Envelopes {
    /// Takes it at this door.
    pub fn new(door: Arc<Door>) -> Envelopes {
        let sweeps = Sweeps::new(door.clock.now());
        Envelopes { door, sweeps }
    }
}

#[async_trait]
impl Takes for Envelopes {
    async fn take(&self, envelope: Envelope) -> Ack {
        let Envelope { id, carried, takes_answer, payload, retry } = envelope;
        let Some(carried) = carried else {
            tracing::info!(envelope.id = id, "an envelope of Slack is of an unknown type, and ignored");
            return Ack::Taken(None);
        };
        if retry > 0 {
            tracing::info!(envelope.id = id, retry, "Slack sends an envelope again");
        }
        let decoded = decode::decode_carried(carried, payload.get().as_bytes(), self.door.clock.now())
            .map_err(|problem| Refusal::Malformed(problem.to_string()));
        let taken = match decoded {
            Ok(inbound) => believed(&self.door, inbound).await,
            Err(refusal) => Err(refusal),
        };
        match taken {
            Ok(answer) => Ack::Taken(answer.filter(|_| takes_answer)),
            Err(refusal) => {
                tracing::warn!(envelope.id = id, reason = %refusal, "an envelope of Slack is not taken");
                Ack::NotTaken
            }
        }
    }

    async fn unheard(&self, envelope: Envelope) {
        let Some(carried) = envelope.carried else { return };
        let now = self.door.clock.now();
        let inbound = decode::decode_carried(carried, envelope.payload.get().as_bytes(), now);
        let Ok(decode::Inbound::Delivery(delivery)) = inbound else { return };
        if delivery.is_answered_in_ack()
            && let Err(refusal) = owe_answer(&self.door, *delivery).await
        {
            tracing::warn!(envelope.id, reason = %refusal, "an answer that did not get out is lost");
        }
    }

    async fn missed(&self, gap: Gap) {
        self.sweeps.look(&self.door, gap).await;
    }
}

/// Owes the answer of a delivery that could not be given at once; it is the one that was committed with it.
async fn owe_answer(door: &Door, delivery: Delivery) -> Result<(), Refusal> {
    let answer = super::take(door, delivery.clone()).await?.answer;
    let owed = Intake {
        key: key_of(Platform::Slack, &format!("unheard:{}", delivery.key)),
        platform: Platform::Slack,
        actor: delivery.actor,
        received_at: door.clock.now(),
        remembered: true,
        effect: Effect::None,
        answer,
        instead: vec![],
        answer_via: Some(delivery.answer_via),
        shows: None,
        audit: Audit::default(),
        source: None,
    };
    door.store.commit(owed).await.map_err(|error| Refusal::Busy(error.to_string()))?;
    door.doorbell.ring(Bell::Relay);
    Ok(())
}

/// Takes what is Slack's for certain; gives what the acknowledgement holds.
async fn believed(door: &Door, inbound: decode::Inbound) -> Result<Option<Value>, Refusal> {
    meet(door, &inbound);
    match inbound {
        decode::Inbound::UrlVerification { .. } | decode::Inbound::SslCheck => Ok(None),
        decode::Inbound::Ignored { reason } => {
            tracing::info!(reason, "a delivery of Slack is ignored");
            Ok(None)
        }
        decode::Inbound::Delivery(delivery) => accept(door, *delivery).await,
        decode::Inbound::Submission(submission) => form::submitted(door, *submission).await.map(Some),
        decode::Inbound::Home { actor, foreign } => home::opened(door, actor, foreign).await.map(|()| None),
        decode::Inbound::FormChange(change) => {
            form::changed(door, &change).await;
            Ok(None)
        }
    }
}

/// Asks Slack for the language of whoever acts, where it is not known.
fn meet(door: &Door, inbound: &decode::Inbound) {
    let actor = match inbound {
        decode::Inbound::Delivery(delivery) => &delivery.actor,
        decode::Inbound::Submission(submission) => &submission.delivery.actor,
        decode::Inbound::Home { actor, .. } => actor,
        _ => return,
    };
    if let Some(slack) = &door.slack_views {
        let slack: Arc<dyn ChatApi> = slack.clone();
        door.composer.readers().meet(&slack, Platform::Slack, &actor.id, &door.clock);
    }
}

async fn accept(door: &Door, delivery: Delivery) -> Result<Option<Value>, Refusal> {
    let (in_ack, place) = (delivery.is_answered_in_ack(), delivery.place.clone());
    let reader = delivery.actor.id.clone();
    let begun_at = door.clock.monotonic();
    let committed = match super::take(door, delivery.clone()).await {
        // Slack sends events again, and commands never: whoever typed is told, for it may still be carried out.
        Err(refusal @ Refusal::Busy(_)) if in_ack => {
            tracing::warn!(reason = %refusal, "a command may or may not be carried out");
            return Ok(Some(ephemeral(door, &Note::new("not-sure", json!({})), (&place, &reader)).await));
        }
        taken => taken?,
    };
    if delivery.trigger.is_some() && is_offered(&committed.answer) {
        let left = FORM_WITHIN.saturating_sub(door.clock.monotonic().since(begun_at));
        if form::opened(door, &delivery, left).await {
            return Ok(None);
        }
        if !in_ack {
            owe_answer(door, delivery).await?;
            return Ok(None);
        }
    }
    Ok(match in_ack {
        true => Some(ephemeral(door, &committed.answer, (&place, &reader)).await),
        false => None,
    })
}

/// An acknowledgement that only the one who typed sees.
async fn ephemeral(door: &Door, note: &Note, (place, reader): (&Place, &str)) -> Value {
    debug_assert_eq!(place.platform, Platform::Slack);
    let mut card = door.composer.note_to(note, place, reader);
    door.permalinks.fill(&mut card, place).await;
    let mut message = blocks::render(&card);
    message["response_type"] = "ephemeral".into();
    message
}
