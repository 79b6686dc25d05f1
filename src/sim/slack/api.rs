//! The simulated Web API's front: faults, token, rate limits and the shapes of bodies and answers. What a method does
//! is in `methods`.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use super::faults::{self, ApiFault};
use super::methods::{self, Failure};
use super::wire::Cut;
use super::{Shared, respond, sign_in};

/// The scopes that the app has, unless they were taken from it.
const SCOPES: [&str; 12] = [
    "chat:write",
    "commands",
    "app_mentions:read",
    "im:history",
    "im:write",
    "files:write",
    "users:read",
    "channels:history",
    "groups:history",
    "usergroups:read",
    "pins:write",
    "reactions:write",
];
/// The one method that wants the app's own token.
const OPEN_SOCKET: &str = "apps.connections.open";
/// The methods of signing in: the app's secret is asked for there, or a person's token.
const SIGN_IN: &str = "openid.connect.token";
const USER_INFO: &str = "openid.connect.userInfo";
/// Arguments that stand as JSON text in a form.
const JSON_ARGUMENTS: [&str; 3] = ["blocks", "attachments", "metadata"];

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/api/{method}", any(call))
}

async fn call(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    Path(method): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    *shared.calls.lock().expect("calls").entry(method.chars().take(64).collect()).or_default() += 1;
    let fault = faults::take(&mut shared.faults.lock().expect("faults"), &method);
    match &fault {
        Some(ApiFault::Error500) => return respond::server_error(),
        Some(ApiFault::RateLimited(seconds)) => return rate_limited(u64::from(*seconds)),
        Some(ApiFault::Error(code)) => return json_answer(&json!({"ok": false, "error": code}), &shared),
        Some(ApiFault::Slow(time)) => shared.clock.sleep(*time).await,
        Some(ApiFault::AcceptThen500 | ApiFault::AcceptThenDrop) | None => {}
    }
    let answer = match arguments(&headers, query.as_deref(), &body) {
        Ok(arguments) => match authorised(&shared, &method, &headers, &arguments) {
            Ok(()) => {
                let channel = arguments["channel"].as_str().unwrap_or("");
                let taken =
                    shared.rates.lock().expect("rates").take(&method, channel, shared.clock.monotonic());
                if let Err(seconds) = taken {
                    return rate_limited(seconds);
                }
                match method.as_str() {
                    OPEN_SOCKET => shared.open_socket(),
                    SIGN_IN => sign_in::token(&shared, &arguments),
                    USER_INFO => sign_in::user_info(&shared, &headers),
                    method => methods::call(&shared, method, &arguments),
                }
            }
            Err(failure) => Err(failure),
        },
        Err(failure) => Err(failure),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) => {
            if let Some(detail) = &failure.detail {
                shared.change(|world| world.problem(format!("{method}: {}: {detail}", failure.code)));
            }
            failure.to_json()
        }
    };
    match fault {
        Some(ApiFault::AcceptThen500) => respond::server_error(),
        Some(ApiFault::AcceptThenDrop) => {
            cut.now();
            StatusCode::OK.into_response()
        }
        _ => json_answer(&answer, &shared),
    }
}

/// The arguments of a call: query, then a JSON or form body.
fn arguments(headers: &HeaderMap, query: Option<&str>, body: &[u8]) -> Result<Value, Failure> {
    let mut arguments = Map::new();
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let is_json = kind.starts_with("application/json");
    let pairs = form_urlencoded::parse(query.unwrap_or("").as_bytes());
    let form = form_urlencoded::parse(if is_json { b"" } else { body });
    for (name, value) in pairs.chain(form) {
        let value = if JSON_ARGUMENTS.contains(&&*name) {
            serde_json::from_str(&value).map_err(|_| Failure::new("invalid_blocks_format"))?
        } else {
            Value::String(value.into_owned())
        };
        arguments.insert(name.into_owned(), value);
    }
    if is_json && !body.is_empty() {
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => arguments.extend(map),
            Ok(_) => return Err(Failure::new("json_not_object")),
            Err(_) => return Err(Failure::new("invalid_json")),
        }
    }
    Ok(Value::Object(arguments))
}

fn authorised(shared: &Shared, method: &str, headers: &HeaderMap, arguments: &Value) -> Result<(), Failure> {
    if [SIGN_IN, USER_INFO].contains(&method) {
        return Ok(());
    }
    let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| value.strip_prefix("Bearer ")).or(arguments["token"].as_str());
    let token = token.ok_or_else(|| Failure::new("not_authed"))?;
    let [bot, app] = [&shared.config.bot_token, &shared.config.app_token].map(|t| t.expose_secret());
    let (wanted, other) = if method == OPEN_SOCKET { (app, bot) } else { (bot, app) };
    match token {
        token if token == wanted => Ok(()),
        token if token == other => Err(Failure::new("not_allowed_token_type")),
        _ => Err(Failure::new("invalid_auth")),
    }
}

fn rate_limited(seconds: u64) -> Response {
    let headers = [(header::RETRY_AFTER, seconds.to_string())];
    (StatusCode::TOO_MANY_REQUESTS, headers, axum::Json(json!({"ok": false, "error": "ratelimited"})))
        .into_response()
}

fn json_answer(answer: &Value, shared: &Shared) -> Response {
    let taken = shared.taken_scopes.lock().expect("scopes");
    let scopes: Vec<&str> = SCOPES.into_iter().filter(|scope| !taken.contains(*scope)).collect();
    let scopes = scopes.join(",");
    ([("x-oauth-scopes", scopes)], axum::Json(answer)).into_response()
}
