//! The tenant in a browser, live, beside the simulated Slack's page (`panel.html`): what people in Feishu read, type and
//! press. Only from this machine, as that page.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::Stream;
use serde::Deserialize;
use serde_json::{Value, json};

use super::SimFeishu;

/// What stands in the page.
pub(in crate::sim) const PANEL: &str = include_str!("panel.html");
/// The chat that the panel shows.
pub const CHAT: &str = "oc_soc_ci";
/// Newest messages that it shows.
const MESSAGES_MAX: usize = 300;
/// Changes within this time reach the page together.
const GATHER: Duration = Duration::from_millis(60);

/// What the panel asks for.
pub(in crate::sim) fn routes(feishu: SimFeishu) -> Router {
    Router::new()
        .route("/feishu/events", get(events))
        .route("/feishu/say", post(say))
        .route("/feishu/click", post(click))
        .with_state(feishu)
}

/// The chat, at once and after every change.
async fn events(State(feishu): State<SimFeishu>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(futures_util::stream::unfold((feishu, String::new()), |(feishu, before)| async move {
        let mut state = state(&feishu);
        while state == before {
            let mut changed = std::pin::pin!(feishu.changed.notified());
            changed.as_mut().enable();
            state = self::state(&feishu);
            if state != before {
                break;
            }
            changed.await;
            feishu.clock.sleep(GATHER).await;
            state = self::state(&feishu);
        }
        Some((Ok(Event::default().data(state.clone())), (feishu, state)))
    }))
}

fn state(feishu: &SimFeishu) -> String {
    let messages = feishu.messages(CHAT);
    let mut people: Vec<(String, String)> =
        feishu.lock().people.iter().map(|(id, name)| (id.clone(), name.clone())).collect();
    people.sort();
    let shown: Vec<Value> = messages
        .iter()
        .skip(messages.len().saturating_sub(MESSAGES_MAX))
        .map(|message| {
            json!({ "id": message.id, "root": message.root, "thread": message.in_thread, "author": message.author,
                "text": message.text, "card": message.card, "edits": message.edits, "reactions": message.emojis() })
        })
        .collect();
    json!({ "people": people, "messages": shown }).to_string()
}

#[derive(Deserialize)]
struct Typed {
    user: String,
    root: Option<String>,
    text: String,
}

#[derive(Deserialize)]
struct Pressed {
    user: String,
    message: String,
    /// What the button carries, as the page shows it: the card may have changed since, and Feishu sends such clicks too.
    value: Value,
}

async fn say(State(feishu): State<SimFeishu>, Json(typed): Json<Typed>) -> Response {
    let now = feishu.clock.now();
    let status = feishu.say_in(&typed.user, CHAT, typed.root.as_deref(), &typed.text, now).await;
    Json(json!({ "status": status })).into_response()
}

async fn click(State(feishu): State<SimFeishu>, Json(pressed): Json<Pressed>) -> Response {
    let body = feishu.press(&pressed.user, (&pressed.message, CHAT), &pressed.value);
    let clicked = feishu.click_with(&pressed.message, &body).await;
    Json(json!({ "status": clicked.status, "text": clicked.toast.1 })).into_response()
}
