//! The simulated Feishu's HTTP API: tokens, who the bot is, messages, replies, edits.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{BOT, Call, Fault, Message, SimFeishu, World, files, rules, sign_in, socket};
use crate::clock::Timestamp;

/// Edits that one message takes in a second.
const EDITS_PER_SECOND: usize = 5;
const TOKEN_OVER: i64 = 99_991_663;
const TOO_FAST: i64 = 99_991_400;
const NOT_IN_CHAT: i64 = 230_002;
const RECALLED: i64 = 230_011;
const NO_AUTHORITY: i64 = 41_050;
const NO_DEPARTMENT_AUTHORITY: i64 = 40_004;
const BAD_PARAMETER: i64 = 40_001;
/// Most entries of a page of contacts.
const PAGE_MAX: usize = 50;

pub(super) fn routes(feishu: SimFeishu) -> Router {
    Router::new()
        .route("/open-apis/auth/v3/tenant_access_token/internal", post(token))
        .route("/open-apis/bot/v3/info", get(info))
        .route("/callback/ws/endpoint", post(socket::endpoint))
        .route("/ws/v2", get(socket::connect))
        .route("/open-apis/bot/v2/hook/{chat}", post(hook))
        .route("/open-apis/contact/v3/users/find_by_department", get(members))
        .route("/open-apis/contact/v3/departments/{id}/children", get(below))
        .route("/open-apis/contact/v3/users/{id}", get(person))
        .route("/open-apis/im/v1/pins", post(pin))
        .route("/open-apis/im/v1/files", post(files::upload).layer(files::body_limit()))
        .route("/open-apis/im/v1/messages", post(send))
        .route("/open-apis/im/v1/messages/{id}/reply", post(reply))
        .route("/open-apis/im/v1/messages/{id}", patch(edit))
        .route("/open-apis/im/v1/messages/{id}/reactions", post(react).get(reactions))
        .route("/open-apis/im/v1/messages/{id}/reactions/{reaction}", delete(unreact))
        .route("/open-apis/authen/v1/authorize", get(sign_in::authorize))
        .route("/open-apis/authen/v1/allow", get(sign_in::allow))
        .route("/open-apis/authen/v2/oauth/token", post(sign_in::token))
        .route("/open-apis/authen/v1/user_info", get(sign_in::user_info))
        .route("/open-apis/tenant/v2/tenant/query", get(sign_in::tenant))
        .with_state(feishu)
}

pub(super) fn code(code: i64, msg: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "code": code, "msg": msg }))).into_response()
}

async fn token(State(feishu): State<SimFeishu>, Json(asked): Json<Value>) -> Response {
    let config = &feishu.config;
    if asked["app_id"] != config.app_id || asked["app_secret"] != config.app_secret {
        return code(10_014, "app secret invalid");
    }
    let mut world = feishu.lock();
    world.tokens_made += 1;
    let token = format!("t-{}", world.tokens_made);
    world.tokens.push(token.clone());
    Json(json!({ "code": 0, "msg": "ok", "tenant_access_token": token, "expire": 7200 })).into_response()
}

async fn info(State(feishu): State<SimFeishu>, headers: HeaderMap) -> Response {
    if !knows(&feishu.lock(), &headers) {
        return code(TOKEN_OVER, "token expired");
    }
    Json(json!({ "code": 0, "msg": "ok", "bot": { "open_id": BOT, "app_name": "boardhand" } }))
        .into_response()
}

async fn person(State(feishu): State<SimFeishu>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    linger(&feishu, Call::Person).await;
    let mut world = feishu.lock();
    if let Err(response) = stumble(&mut world, Call::Person, &headers) {
        return *response;
    }
    match world.people.get(&id) {
        Some(name) => {
            let user = json!({ "open_id": id, "name": name });
            Json(json!({ "code": 0, "msg": "success", "data": { "user": user } })).into_response()
        }
        None => code(NO_AUTHORITY, "no user authority error"),
    }
}

/// Pins a message; one that is pinned already is answered the same.
async fn pin(State(feishu): State<SimFeishu>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let mut world = feishu.lock();
    if !knows(&world, &headers) {
        return code(TOKEN_OVER, "token expired");
    }
    let id = body["message_id"].as_str().unwrap_or_default().to_owned();
    if !world.messages.iter().any(|message| message.id == id && !message.recalled) {
        return code(RECALLED, "the message was recalled");
    }
    if !world.pins.contains(&id) {
        world.pins.push(id.clone());
    }
    drop(world);
    feishu.changed.notify_waiters();
    Json(json!({ "code": 0, "msg": "success", "data": { "pin": { "message_id": id } } })).into_response()
}

/// What the tenant has pictures of, among many others.
const EMOJIS: [&str; 8] = ["OnIt", "DONE", "CrossMark", "ERROR", "Alarm", "No", "THUMBSUP", "OK"];
const NO_SUCH_EMOJI: i64 = 231_001;
const GONE: i64 = 231_003;
const NO_SUCH_REACTION: i64 = 231_007;

/// Puts a reaction of the bot on a message. Two of the same are two.
async fn react(
    State(feishu): State<SimFeishu>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let mut world = feishu.lock();
    let fails = match stumble(&mut world, Call::React, &headers) {
        Ok(fails) => fails,
        Err(response) => return *response,
    };
    let emoji = body["reaction_type"]["emoji_type"].as_str().unwrap_or_default().to_owned();
    if !EMOJIS.contains(&emoji.as_str()) {
        world.violations.push(format!("no such emoji: {emoji:?}"));
        return code(NO_SUCH_EMOJI, "reaction type is invalid");
    }
    world.ids += 1;
    let reaction = format!("ZCaCIjUBVVWSrm5L-{}", world.ids);
    let Some(message) = world.messages.iter_mut().find(|m| m.id == id).filter(|m| !m.recalled) else {
        return code(GONE, "the message was recalled");
    };
    message.reactions.push((reaction.clone(), emoji.clone()));
    drop(world);
    feishu.changed.notify_waiters();
    if fails {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let data = json!({ "reaction_id": reaction, "reaction_type": { "emoji_type": emoji } });
    Json(json!({ "code": 0, "msg": "success", "data": data })).into_response()
}

/// The bot's reactions on a message that show one thing; people have put none there.
async fn reactions(
    State(feishu): State<SimFeishu>,
    Path(id): Path<String>,
    Query(asked): Asked,
    headers: HeaderMap,
) -> Response {
    let mut world = feishu.lock();
    if let Err(response) = stumble(&mut world, Call::Reactions, &headers) {
        return *response;
    }
    let Some(message) = world.messages.iter().find(|m| m.id == id).filter(|m| !m.recalled) else {
        return code(GONE, "the message was recalled");
    };
    let wanted = asked.get("reaction_type");
    let shown = message.reactions.iter().filter(|(_, emoji)| wanted.is_none_or(|wanted| wanted == emoji));
    let items = shown.map(|(reaction, emoji)| {
        json!({ "reaction_id": reaction, "operator": { "operator_id": feishu.config.app_id, "operator_type": "app" },
            "action_time": "1663054162546", "reaction_type": { "emoji_type": emoji } })
    });
    let data = json!({ "items": items.collect::<Vec<_>>(), "has_more": false, "page_token": "" });
    Json(json!({ "code": 0, "msg": "success", "data": data })).into_response()
}

/// Takes a reaction of the bot off a message.
async fn unreact(
    State(feishu): State<SimFeishu>,
    Path((id, reaction)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let mut world = feishu.lock();
    if let Err(response) = stumble(&mut world, Call::React, &headers) {
        return *response;
    }
    let Some(message) = world.messages.iter_mut().find(|m| m.id == id).filter(|m| !m.recalled) else {
        return code(GONE, "the message was recalled");
    };
    let before = message.reactions.len();
    message.reactions.retain(|(known, _)| *known != reaction);
    if message.reactions.len() == before {
        return code(NO_SUCH_REACTION, "the reaction does not exist");
    }
    drop(world);
    feishu.changed.notify_waiters();
    Json(json!({ "code": 0, "msg": "success", "data": { "reaction_id": reaction } })).into_response()
}

type Asked = Query<HashMap<String, String>>;

/// Who is directly in a department.
async fn members(State(feishu): State<SimFeishu>, Query(asked): Asked, headers: HeaderMap) -> Response {
    let department = asked.get("department_id").cloned().unwrap_or_default();
    contacts(&feishu, &department, &asked, &headers, |world| {
        let (_, members) = world.departments.get(&department)?;
        Some(members.iter().map(|id| json!({ "open_id": id, "name": world.people.get(id) })).collect())
    })
}

/// What is below a department, at any depth where that is asked for.
async fn below(
    State(feishu): State<SimFeishu>,
    Path(id): Path<String>,
    Query(asked): Asked,
    headers: HeaderMap,
) -> Response {
    let deep = asked.get("fetch_child").is_some_and(|flag| flag == "true");
    contacts(&feishu, &id, &asked, &headers, |world| {
        let mut found = vec![id.clone()];
        let mut next = 0;
        while next < found.len() && (deep || next == 0) {
            let under: Vec<String> = world
                .departments
                .iter()
                .filter(|(_, (parent, _))| *parent == found[next])
                .map(|(id, _)| id.clone())
                .collect();
            found.extend(under);
            next += 1;
        }
        Some(found[1..].iter().map(|id| json!({ "open_department_id": id, "name": id })).collect())
    })
}

/// A page of contacts of a department that the app may see.
fn contacts(
    feishu: &SimFeishu,
    department: &str,
    asked: &HashMap<String, String>,
    headers: &HeaderMap,
    list: impl FnOnce(&World) -> Option<Vec<Value>>,
) -> Response {
    let mut world = feishu.lock();
    if let Err(response) = stumble(&mut world, Call::Department, headers) {
        return *response;
    }
    let number = |name: &str| asked.get(name).and_then(|text| text.parse::<usize>().ok());
    let size = number("page_size").unwrap_or(10);
    if !(1..=PAGE_MAX).contains(&size)
        || asked.get("department_id_type").is_none_or(|kind| kind != "open_department_id")
    {
        return code(BAD_PARAMETER, "param error");
    }
    let Some(found) = list(&world).filter(|_| world.departments.contains_key(department)) else {
        return code(NO_DEPARTMENT_AUTHORITY, "no dept authority error");
    };
    let from = number("page_token").unwrap_or(0).min(found.len());
    let until = (from + size).min(found.len());
    let mut data = json!({ "has_more": until < found.len(), "items": found[from..until] });
    if until < found.len() {
        data["page_token"] = json!(until.to_string());
    }
    Json(json!({ "code": 0, "msg": "success", "data": data })).into_response()
}

fn knows(world: &World, headers: &HeaderMap) -> bool {
    let bearer = headers.get("authorization").and_then(|value| value.to_str().ok());
    bearer
        .and_then(|value| value.strip_prefix("Bearer "))
        .is_some_and(|token| world.tokens.iter().any(|t| t == token))
}

/// Waits where the next request of this kind is to be answered late.
async fn linger(feishu: &SimFeishu, call: Call) {
    let wait = match feishu.lock().faults.get(&call).and_then(VecDeque::front) {
        Some(Fault::Silent(wait)) => *wait,
        Some(_) | None => return,
    };
    feishu.clock.sleep(wait).await;
}

/// What goes wrong before anything is done; whether it is done although the answer is a failure.
pub(super) fn stumble(world: &mut World, call: Call, headers: &HeaderMap) -> Result<bool, Box<Response>> {
    let fault = world.take_fault(call);
    if fault == Some(Fault::TokensOver) {
        world.tokens.clear();
    }
    if !knows(world, headers) {
        return Err(Box::new(code(TOKEN_OVER, "token expired")));
    }
    match fault {
        Some(Fault::Code(n)) => Err(Box::new(code(n, "as it was told"))),
        Some(Fault::TooFast(secs)) => {
            let headers = [("x-ogw-ratelimit-reset", secs.to_string())];
            let body = Json(json!({ "code": TOO_FAST, "msg": "request trigger frequency limit" }));
            Err(Box::new((StatusCode::TOO_MANY_REQUESTS, headers, body).into_response()))
        }
        Some(Fault::DoneThen500) => Ok(true),
        Some(Fault::TokensOver | Fault::Silent(_) | Fault::Handshake(..)) | None => Ok(false),
    }
}

async fn send(State(feishu): State<SimFeishu>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    linger(&feishu, Call::Send).await;
    let chat = body["receive_id"].as_str().unwrap_or_default().to_owned();
    write(&feishu, Call::Send, &headers, &body, (chat, None, false))
}

/// What a group's custom bot is told; it has no buttons, since nobody would hear them.
async fn hook(
    State(feishu): State<SimFeishu>,
    Path(chat): Path<String>,
    Json(body): Json<Value>,
) -> Response {
    let card = body["card"].clone();
    let mut world = feishu.lock();
    if let Err((n, problem)) = rules::check(&card) {
        world.violations.push(format!("a custom bot's card: {n} {problem}"));
        return code(9_499, &problem);
    }
    if card.to_string().contains("\"callback\"") {
        world.violations.push("a custom bot's card with a button".to_owned());
    }
    world.ids += 1;
    let id = format!("om_{}", world.ids);
    world.messages.push(Message::of_the_bot(id, chat, card));
    drop(world);
    feishu.changed.notify_waiters();
    Json(json!({ "code": 0, "msg": "success" })).into_response()
}

async fn reply(
    State(feishu): State<SimFeishu>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    linger(&feishu, Call::Reply).await;
    let found = feishu.lock().messages.iter().find(|m| m.id == id).cloned();
    match found {
        Some(root) if !root.recalled => {
            let in_thread = body["reply_in_thread"] == true;
            write(&feishu, Call::Reply, &headers, &body, (root.chat, Some(id), in_thread))
        }
        _ => code(RECALLED, "the message was recalled"),
    }
}

fn write(
    feishu: &SimFeishu,
    call: Call,
    headers: &HeaderMap,
    body: &Value,
    (chat, root, in_thread): (String, Option<String>, bool),
) -> Response {
    let mut world = feishu.lock();
    let fails = match stumble(&mut world, call, headers) {
        Ok(fails) => fails,
        Err(response) => return *response,
    };
    if world.closed.contains(&chat) {
        return code(NOT_IN_CHAT, "the bot is not in the chat");
    }
    let uuid = body["uuid"].as_str().unwrap_or_default().to_owned();
    if uuid.len() > 50 {
        world.violations.push("a uuid of more than 50 characters".to_owned());
        return code(230_001, "uuid too long");
    }
    if let Some(id) = world.uuids.get(&uuid).filter(|_| !uuid.is_empty()) {
        return Json(json!({ "code": 0, "msg": "ok", "data": { "message_id": id } })).into_response();
    }
    let content: Value =
        body["content"].as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let (card, file) = match body["msg_type"].as_str() {
        Some("file") => match files::named(&world, &content) {
            Some(name) => (Value::Null, Some(name)),
            None => return code(230_001, "no such file_key"),
        },
        _ => (content, None),
    };
    if let Err((n, problem)) = file.as_ref().map_or_else(|| rules::check(&card), |_| Ok(())) {
        world.violations.push(format!("{call:?}: {n} {problem}"));
        return code(n, &problem);
    }
    world.ids += 1;
    let id = format!("om_{}", world.ids);
    if !uuid.is_empty() {
        world.uuids.insert(uuid, id.clone());
    }
    world.messages.push(Message { root, in_thread, file, ..Message::of_the_bot(id.clone(), chat, card) });
    feishu.changed.notify_waiters();
    if fails {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    Json(json!({ "code": 0, "msg": "ok", "data": { "message_id": id } })).into_response()
}

async fn edit(
    State(feishu): State<SimFeishu>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    linger(&feishu, Call::Edit).await;
    let now = feishu.clock.now();
    let mut world = feishu.lock();
    let fails = match stumble(&mut world, Call::Edit, &headers) {
        Ok(fails) => fails,
        Err(response) => return *response,
    };
    let card: Value =
        body["content"].as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    if let Err((n, problem)) = rules::check(&card) {
        world.violations.push(format!("Edit: {n} {problem}"));
        return code(n, &problem);
    }
    let Some(message) = world.messages.iter_mut().find(|m| m.id == id).filter(|m| !m.recalled) else {
        return code(RECALLED, "the message was recalled");
    };
    if too_often(message, now) {
        world.violations.push(format!("more than {EDITS_PER_SECOND} edits of {id} in a second"));
        return code(230_020, "frequency limit of the message");
    }
    message.card = card;
    message.edits += 1;
    drop(world);
    feishu.changed.notify_waiters();
    if fails {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    Json(json!({ "code": 0, "msg": "ok" })).into_response()
}

fn too_often(message: &mut Message, now: Timestamp) -> bool {
    message.edited_at.retain(|at| now.since(*at) < Duration::from_secs(1));
    message.edited_at.push_back(now);
    message.edited_at.len() > EDITS_PER_SECOND
}
