//! `response_url`s: five uses within half an hour, for an answer to one person, to the channel, or in place of the
//! message whose button was pressed.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

use super::faults::{self, ApiFault};
use super::model::{BOT_USER, Ephemeral, Message, ResponseUrl};
use super::wire::Cut;
use super::{Shared, validate};

/// How often a `response_url` works.
const USES_MAX: u32 = 5;
/// How long it works.
const LIFETIME: Duration = Duration::from_secs(30 * 60);

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/respond/{token}", post(respond))
}

/// Slack's answer when it is broken itself.
pub(super) fn server_error() -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error").into_response()
}

async fn respond(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    Path(token): Path<String>,
    body: Bytes,
) -> Response {
    let fault = faults::take(&mut shared.faults.lock().expect("faults"), "response_url");
    match &fault {
        Some(ApiFault::Error500) => return server_error(),
        Some(ApiFault::Slow(time)) => shared.clock.sleep(*time).await,
        _ => {}
    }
    let taken = shared.change(|world| {
        let url = world.response_urls.get_mut(&token).ok_or("used_url")?;
        if shared.clock.now().since(url.made_at) > LIFETIME {
            return Err("expired_url");
        }
        if url.uses == USES_MAX {
            return Err("used_url");
        }
        url.uses += 1;
        Ok(url.clone())
    });
    let answered = taken.and_then(|url| {
        let body: Value = serde_json::from_slice(&body).map_err(|_| "invalid_payload")?;
        show(&shared, &url, &body)
    });
    match (fault, answered) {
        (Some(ApiFault::AcceptThen500), _) => server_error(),
        (Some(ApiFault::AcceptThenDrop), _) => {
            cut.now();
            StatusCode::OK.into_response()
        }
        (_, Ok(())) => (StatusCode::OK, "ok").into_response(),
        (_, Err(code)) => {
            shared.change(|world| world.problem(format!("response_url: {code}")));
            (StatusCode::NOT_FOUND, axum::Json(json!({"ok": false, "error": code}))).into_response()
        }
    }
}

/// Shows what the app answered through a `response_url` or in a command's acknowledgement.
pub(super) fn show(shared: &Shared, url: &ResponseUrl, body: &Value) -> Result<(), &'static str> {
    let now = shared.clock.now();
    let flag = |name: &str| body[name].as_bool().unwrap_or(false);
    if flag("delete_original") {
        return shared.change(|world| {
            let source = url.source.clone().ok_or("no_original")?;
            let channel = world.channels.get_mut(&url.channel).ok_or("channel_not_found")?;
            channel.messages.retain(|message| message.ts != source);
            Ok(())
        });
    }
    if let Err(refusal) = validate::check_message(body) {
        shared.change(|world| world.problem(format!("{}: {}", refusal.code, refusal.detail)));
        return Err(refusal.code);
    }
    let text = body["text"].as_str().unwrap_or("").to_owned();
    let thread_ts = body["thread_ts"].as_str().map(str::to_owned);
    let in_channel = body["response_type"] == "in_channel";
    shared.change(|world| {
        if flag("replace_original")
            && let Some(source) = &url.source
        {
            let message = world.message_mut(&url.channel, source).ok_or("message_not_found")?;
            message.text = text;
            message.blocks = body["blocks"].clone();
            message.edits += 1;
            return Ok(());
        }
        let ts = world.next_ts(now);
        if in_channel {
            let message = Message {
                ts,
                thread_ts,
                user: BOT_USER.to_owned(),
                text,
                blocks: body["blocks"].clone(),
                attachments: body["attachments"].clone(),
                metadata: Value::Null,
                edits: 0,
                broadcast: false,
                files: Value::Null,
                reactions: vec![],
                read: false,
            };
            world.add(&url.channel, message);
        } else {
            world.add_ephemeral(Ephemeral {
                ts,
                channel: url.channel.clone(),
                thread_ts,
                user: url.user.clone(),
                text,
                blocks: body["blocks"].clone(),
                read: false,
            });
        }
        Ok(())
    })
}
