//! Jenkins' door: prove, decode, handle, commit, answer. Whoever posts is a program and reads the status first: 202 for
//! a run that was accepted, 201 for a build that was registered, 200 for what was taken before or means nothing here, 4xx
//! with what to change.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use serde_json::json;

use super::throttle::Source;
use super::{Door, Refusal, builds, machine};
use crate::chat::Intent;
use crate::chat::jenkins::decode::{self, Decoded};
use crate::chat::jenkins::signature::Signed;

/// One request of Jenkins.
pub(super) async fn receive(
    State(door): State<Arc<Door>>,
    source: Option<Extension<Source>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let verifier = door.jenkins.as_ref().ok_or(Refusal::NotConnected("jenkins"))?;
    let now = door.clock.now();
    let proof = verifier
        .verify(now, &signed(&headers)?, &body)
        .map_err(|problem| Refusal::Unsigned(problem.to_string()))?;
    if let Some(Extension(Source(source))) = source
        && let Err(slower) = door.throttle.poster(source)
    {
        return Ok(slower.into_response());
    }
    let lab = door.handler.inventory.now();
    match decode::decode(&body, &proof, now, lab.channels.default.as_deref(), &lab.builds.mappings) {
        Ok(Decoded::Delivery(delivery)) if matches!(delivery.intent, Intent::Build(_)) => {
            builds::tell(&door, *delivery).await
        }
        Ok(Decoded::Delivery(delivery)) => machine::start(&door, *delivery).await,
        Ok(Decoded::Nothing(why)) => Ok(Json(json!({ "detail": why })).into_response()),
        Err(problem) => Ok(machine::Problem::unread(&door, &problem).into_response()),
    }
}

/// What proves a request; a header that came twice is neither of both.
fn signed(headers: &HeaderMap) -> Result<Signed<'_>, Refusal> {
    let one = |name: &'static str| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(_), Some(_)) => Err(Refusal::Unsigned(format!("{name} came twice"))),
            (value, _) => Ok(value.map(|value| value.as_bytes())),
        }
    };
    Ok(Signed {
        hub: one("x-hub-signature-256")?,
        standard: [one("webhook-id")?, one("webhook-timestamp")?, one("webhook-signature")?],
        slack: [one("x-slack-request-timestamp")?, one("x-slack-signature")?],
        authorization: one("authorization")?,
    })
}
