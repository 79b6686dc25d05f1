//! Slack's door: verify, decode, handle, commit, acknowledge. A slash command's answer is the body of its
//! acknowledgement; a click's or an event's acknowledgement is empty, and its answer an owed message.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::{Door, Refusal};
use crate::chat::slack::{blocks, decode};
use crate::chat::{Delivery, Place, Platform};
use crate::message::Note;

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
        decode::Inbound::SslCheck => Ok(StatusCode::OK.into_response()),
        decode::Inbound::Ignored { reason } => {
            tracing::info!(reason, "a delivery of Slack is ignored");
            Ok(StatusCode::OK.into_response())
        }
        decode::Inbound::Delivery(delivery) => accept(&door, *delivery).await,
    }
}

async fn accept(door: &Door, delivery: Delivery) -> Result<Response, Refusal> {
    let (in_ack, place) = (delivery.is_answered_in_ack(), delivery.place.clone());
    let committed = match super::take(door, delivery).await {
        // Slack sends events again, and commands never: whoever typed is told, for it may still be carried out.
        Err(refusal @ Refusal::Busy(_)) if in_ack => {
            tracing::warn!(reason = %refusal, "a command may or may not be carried out");
            return Ok(ephemeral(door, &Note::new("not-sure", serde_json::json!({})), &place));
        }
        taken => taken?,
    };
    if !in_ack {
        return Ok(StatusCode::OK.into_response());
    }
    Ok(ephemeral(door, &committed.answer, &place))
}

/// An acknowledgement that only the one who typed sees.
fn ephemeral(door: &Door, note: &Note, place: &Place) -> Response {
    debug_assert_eq!(place.platform, Platform::Slack);
    let mut message = blocks::render(&door.composer.note(note, place));
    message["response_type"] = "ephemeral".into();
    Json(message).into_response()
}
