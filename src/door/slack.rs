//! Slack's door: verify, decode, handle, commit, acknowledge. A slash command's answer is the body of its
//! acknowledgement; a click's or an event's acknowledgement is empty, and its answer an owed message.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tracing::Instrument;

use super::{ACK_WITHIN, Door, Refusal};
use crate::chat::slack::{blocks, decode};
use crate::chat::{Delivery, Platform};
use crate::doorbell::Bell;
use crate::store::{Committed, Effect};

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
    let span = tracing::info_span!("delivery", delivery.key = delivery.key, actor = delivery.actor.id);
    let in_ack = delivery.is_answered_in_ack();
    let place = delivery.place.clone();
    let work = async {
        let intake = door.handler.handle(delivery.clone()).await;
        let committed = match intake {
            Ok(intake) => {
                let bells = bells(&intake.effect);
                door.store.commit(intake).await.map(|committed| (committed, bells))
            }
            Err(error) => Err(error),
        };
        match committed {
            // The platform would try again, in vain and unseen: whoever asked is told that it cannot be done.
            Err(error) if error.is_lasting() => {
                tracing::error!(%error, "a delivery cannot be handled");
                Ok((door.store.commit(door.handler.broken(delivery)).await?, &[][..]))
            }
            committed => committed,
        }
    };
    let committed = door.clock.timeout(ACK_WITHIN, work.instrument(span.clone())).await;
    let (committed, bells): (Committed, _) = committed
        .map_err(|_| Refusal::Busy("the store is slow".into()))?
        .map_err(|error| Refusal::Busy(error.to_string()))?;
    span.in_scope(|| {
        tracing::info!(fresh = committed.fresh, answer = committed.answer.template, "committed")
    });
    bells.iter().chain(&[Bell::Relay]).for_each(|bell| door.doorbell.ring(*bell));
    // Who was rung runs next on this very thread: it asks the store before the answer here is rendered, not after.
    tokio::task::yield_now().await;
    if !in_ack {
        return Ok(StatusCode::OK.into_response());
    }
    debug_assert_eq!(place.platform, Platform::Slack);
    let mut message = blocks::render(&door.composer.note(&committed.answer, &place));
    message["response_type"] = "ephemeral".into();
    Ok(Json(message).into_response())
}

/// Whose work an effect makes, beside a message: a loop woken for nothing delays what it is woken for next.
fn bells(effect: &Effect) -> &'static [Bell] {
    match effect {
        Effect::None => &[],
        Effect::Start(_) | Effect::Retry { .. } | Effect::Quarantine { .. } | Effect::Return { .. } => {
            &[Bell::Scheduler]
        }
        // A run that waits leaves the queue, one on a board is told by its runner.
        Effect::Cancel { .. } | Effect::CancelBatch { .. } => &[Bell::Scheduler, Bell::Pool],
        Effect::PowerCycle { .. } => &[Bell::Pool],
        Effect::Errand { .. } => &[Bell::Errands],
        Effect::Reload { .. } => &[Bell::Reloader],
    }
}
