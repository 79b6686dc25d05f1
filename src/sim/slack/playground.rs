//! The page at `/`: the workspace in a browser, live. For people who have no Slack at hand; only from this machine.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::sse::{Event, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::Stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::sim::feishu::playground as feishu;

use super::model::{BOT_USER, Channel, Ephemeral, Message, World};
use super::people::Reply;
use super::{Handle, Shared, SimSlack, View};

const PAGE: &str = include_str!("page.html");
/// What the page says that it shows.
const ABOUT: &str = "A simulated lab and a simulated Slack";
/// Newest messages of each channel that the page shows.
const PAGE_MESSAGES_MAX: usize = 300;
/// What stands for the app's Home among the channels of the page.
const HOME: &str = "VHOME";
/// Changes within this time reach the page together.
const GATHER: Duration = Duration::from_millis(60);

/// With the panel of the simulated Feishu, where there is one beside.
pub(super) fn routes(beside: bool) -> Router<Arc<Shared>> {
    let (panel, about) = match beside {
        true => (feishu::PANEL, "A simulated lab, Slack and Feishu"),
        false => ("", ABOUT),
    };
    let page = PAGE.replace(ABOUT, about).replace("</body>", &format!("{panel}</body>"));
    Router::new()
        .route("/", get(move || std::future::ready(shown_page(page.clone()))))
        .route("/playground/events", get(events))
        .route("/playground/say", post(say))
        .route("/playground/click", post(click))
        .route("/playground/form", post(form))
}

/// Refuses requests whose `Host` is not this machine, so that no foreign site can reach the simulator by name.
pub(super) async fn only_local(headers: HeaderMap, request: Request, next: Next) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if !matches!(name, "127.0.0.1" | "localhost" | "[::1]") {
        return StatusCode::FORBIDDEN.into_response();
    }
    next.run(request).await
}

fn shown_page(page: String) -> impl IntoResponse {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
        base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    ([(header::CONTENT_SECURITY_POLICY, policy), (header::CACHE_CONTROL, "no-store")], Html(page))
}

#[derive(Deserialize)]
struct Viewer {
    user: Option<String>,
}

/// The whole state as one person sees it: at once, then after every change.
async fn events(
    State(shared): State<Arc<Shared>>,
    Query(viewer): Query<Viewer>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let user = viewer.user.unwrap_or_else(|| "U0ALICE".to_owned());
    let changes = shared.changed.subscribe();
    let start = (shared, changes, user, true);
    Sse::new(futures_util::stream::unfold(start, |(shared, mut changes, user, first)| async move {
        if !first {
            changed(&shared, &mut changes).await?;
        }
        let state = state(&shared.world.lock().expect("world"), &user);
        Some((Ok(Event::default().data(state.to_string())), (shared, changes, user, false)))
    }))
}

async fn changed(shared: &Shared, changes: &mut watch::Receiver<u64>) -> Option<()> {
    changes.changed().await.ok()?;
    shared.clock.sleep(GATHER).await;
    changes.borrow_and_update();
    Some(())
}

fn state(world: &World, user: &str) -> Value {
    let visible = |channel: &&Channel| channel.dm_of.as_deref().is_none_or(|owner| owner == user);
    let mut channels: Vec<Value> = world.channels.values().filter(visible).map(|channel| {
        let skip = channel.messages.len().saturating_sub(PAGE_MESSAGES_MAX);
        let mut messages: Vec<Value> = channel.messages.iter().skip(skip).map(|m| message(world, m)).collect();
        let answers = world.ephemerals.iter().filter(|e| e.user == user && e.channel == channel.id);
        messages.extend(answers.map(ephemeral));
        messages.sort_by(|a, b| a["ts"].as_str().cmp(&b["ts"].as_str()));
        json!({"id": channel.id, "name": channel.name, "dm": channel.dm_of.is_some(), "bot": channel.has_bot,
            "messages": messages})
    }).collect();
    let home = world.homes.get(user).map(|home| {
        json!({"ts": "0", "thread": null, "user": BOT_USER, "name": "boardhand", "text": "", "ephemeral": true,
            "blocks": home.drawn["blocks"], "attachments": null, "edits": 0, "broadcast": false})
    });
    channels.push(json!({"id": HOME, "name": "Home", "dm": true, "bot": true, "messages": home.as_slice()}));
    let users: Vec<Value> = world
        .users
        .values()
        .map(|user| json!({"id": user.id, "name": user.name, "bot": user.id == BOT_USER}))
        .collect();
    let modal = world.modals.get(user).map(modal);
    json!({"me": user, "users": users, "channels": channels, "modal": modal})
}

fn message(world: &World, message: &Message) -> Value {
    json!({"ts": message.ts, "thread": message.thread_ts, "user": message.user, "name": world.name_of(&message.user),
        "text": message.text, "blocks": message.blocks, "attachments": message.attachments, "edits": message.edits,
        "files": message.files, "reactions": message.reactions, "broadcast": message.broadcast})
}

fn ephemeral(answer: &Ephemeral) -> Value {
    json!({"ts": answer.ts, "thread": answer.thread_ts, "user": BOT_USER, "name": "boardhand", "text": answer.text,
        "blocks": answer.blocks, "attachments": null, "edits": 0, "broadcast": false, "ephemeral": true})
}

fn modal(view: &View) -> Value {
    json!({"id": view.id, "hash": view.hash, "view": view.drawn, "state": view.state, "errors": view.errors})
}

#[derive(Deserialize)]
struct Typed {
    user: String,
    channel: String,
    thread: Option<String>,
    text: String,
}

#[derive(Deserialize)]
struct Pressed {
    user: String,
    ts: String,
    block: String,
    /// The button as the page shows it: the message may have changed since, and Slack sends such clicks too.
    element: Value,
}

/// What somebody did in their modal.
#[derive(Deserialize)]
#[serde(tag = "did", rename_all = "lowercase")]
enum Did {
    /// Put this into a field.
    Fill {
        user: String,
        block: String,
        value: String,
    },
    Submit {
        user: String,
    },
    Close {
        user: String,
    },
    /// Open the app's Home.
    Home {
        user: String,
    },
}

/// The test API's view of the same workspace; its task is the server's own, so dropping it ends nothing.
fn as_person(shared: Arc<Shared>) -> SimSlack {
    SimSlack(Arc::new(Handle { shared, task: tokio::spawn(async {}) }))
}

async fn say(State(shared): State<Arc<Shared>>, Json(typed): Json<Typed>) -> Response {
    let person = as_person(shared);
    shown(match &typed.thread {
        Some(thread) => person.say_in_thread(&typed.user, &typed.channel, thread, &typed.text).await,
        None => person.say(&typed.user, &typed.channel, &typed.text).await,
    })
}

async fn click(State(shared): State<Arc<Shared>>, Json(pressed): Json<Pressed>) -> Response {
    if pressed.ts == "0" {
        return shown(shared.press_home(&pressed.user, &pressed.element).await);
    }
    shown(as_person(shared).press(&pressed.user, &pressed.ts, &pressed.block, &pressed.element).await)
}

async fn form(State(shared): State<Arc<Shared>>, Json(did): Json<Did>) -> Response {
    shown(match did {
        Did::Fill { user, block, value } => shared.fill(&user, &block, &value).await,
        Did::Submit { user } => shared.submit(&user).await,
        Did::Home { user } => Reply { status: shared.open_home(&user).await, ..Reply::default() },
        Did::Close { user } => {
            shared.change(|world| world.modals.remove(&user));
            Reply { status: 200, ..Reply::default() }
        }
    })
}

fn shown(reply: Reply) -> Response {
    Json(json!({"status": reply.status, "text": reply.text})).into_response()
}
