//! Messages as this server shows them, with sample facts: for whoever writes templates, or builds cards beside them.
//! Read-only; nothing is sent to a chat, and no template is taken from outside.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Door;
use super::super::machine::Problem;
use super::list::bad;
use super::who::Caller;
use crate::chat::{Platform, drawn};
use crate::message::template::samples::{NoSample, sampled};
use crate::message::template::{DEFAULT_LOCALE, LOCALES};

/// Every message's name.
pub(super) async fn list(_: Caller) -> Response {
    let items: Vec<Value> = sampled()
        .into_iter()
        .map(|(name, states)| {
            let url = format!("/api/v1/templates/{name}");
            json!({ "message": name, "states": states, "url": url })
        })
        .collect();
    Json(json!({ "items": items, "next": null })).into_response()
}

/// How it is to be shown.
#[derive(Deserialize)]
pub(super) struct TemplateQuery {
    platform: Option<String>,
    locale: Option<String>,
    state: Option<String>,
}

/// One message, as a platform takes it.
pub(super) async fn one(
    State(door): State<Arc<Door>>,
    _: Caller,
    Path(message): Path<String>,
    Query(query): Query<TemplateQuery>,
) -> Result<Response, Problem> {
    let word = query.platform.as_deref().unwrap_or(Platform::Slack.as_str());
    let platform = Platform::from_word(word).filter(|platform| Platform::CHATS.contains(platform));
    let platform = platform.ok_or_else(|| bad("platform", "slack or feishu"))?;
    let locale = query.locale.as_deref().unwrap_or(DEFAULT_LOCALE);
    if !LOCALES.contains(&locale) {
        return Err(bad("locale", "en or zh"));
    }
    let card = door.composer.sample(&message, query.state.as_deref(), locale).map_err(none)?;
    let card = drawn(platform, &card);
    let shown = json!({ "message": message, "platform": platform.as_str(), "locale": locale, "card": card });
    Ok(Json(shown).into_response())
}

fn none(why: NoSample) -> Problem {
    let detail = why.to_string();
    match why {
        NoSample::Message { near, .. } => {
            Problem::new(StatusCode::NOT_FOUND, "there is no such message", detail).near(near)
        }
        NoSample::Stateless { .. } | NoSample::State { .. } => {
            Problem::new(StatusCode::BAD_REQUEST, "this query is none", detail)
        }
    }
}
