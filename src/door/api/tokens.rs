//! Tokens of the API: made, listed and revoked by admins. A token is in the answer that makes it, and nowhere else ever
//! after; who may is decided by policy.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Door;
use super::super::machine::Problem;
use super::board::document;
use super::who::Caller;
use super::{or_default, permitted, record, record_once, unreadable};
use crate::board::is_name;
use crate::chat::{Platform, token};
use crate::clock::Timestamp;
use crate::command::parse;
use crate::command::policy::{ADMIN_ID, About, Asked};
use crate::command::standing::Standing;
use crate::lease::{Holder, Lease};
use crate::store::{Audit, Effect, NewToken, ScheduleRow, TOKENS_MAX, TokenRow};

/// Names that are boardhand's own.
const TAKEN: [&str; 3] = [ADMIN_ID, "boardhand", "boardhand-check"];
/// Longest life of a token that is over by itself.
const LIVES_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);

/// Which token to make.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    name: String,
    role: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    scope: Vec<String>,
    expires: Option<String>,
}

/// Makes a token.
pub(in crate::door) async fn make(
    State(door): State<Arc<Door>>,
    caller: Caller,
    body: Bytes,
) -> Result<Response, Problem> {
    let wanted: Wanted = document(&body)?;
    let name = wanted.name.to_ascii_lowercase();
    let because = permitted(&door, &caller, Asked::Tokens, About::default(), ("token", &name)).await?;
    if !is_name(&name) || TAKEN.contains(&name.as_str()) {
        return Err(Problem::invalid(
            "name must be of letters, digits, '.', '_' and '-', and not one of boardhand's own",
        ));
    }
    let role = wanted.role.as_deref().unwrap_or("user");
    let standing = Standing::parse(role, &wanted.scope).map_err(|bad| Problem::invalid(bad.to_string()))?;
    if caller.standing.as_ref().is_some_and(|own| !own.covers(&standing)) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "this is not allowed",
            "a token grants no more than yours",
        ));
    }
    let now = door.clock.now();
    let asked = match wanted.expires.as_deref() {
        Some(text) => Some(now + lasts(text)?),
        None => None,
    };
    // None outlives the one that made it.
    let expires_at = asked.into_iter().chain(caller.expires_at).min();
    let (secret, hash) = token::fresh(&door.handler.ids.bytes());
    let target = format!("{name} {role} {}", standing.scope().join(" "));
    let new = NewToken { name: name.clone(), hash, standing: standing.clone(), expires_at };
    let audit =
        Audit { verb: "token".into(), target: target.trim_end().into(), allowed: true, reason: because };
    match record(&door, &caller, Effect::MakeToken(Box::new(new)), audit).await?.as_str() {
        "done" => {}
        "too-many" => {
            let detail = format!("{TOKENS_MAX} names of tokens are kept");
            return Err(Problem::new(StatusCode::CONFLICT, "there is no room for another token", detail));
        }
        _ => {
            let detail = format!("there is a token {name:?}; revoke it first");
            return Err(Problem::new(StatusCode::CONFLICT, "this name is taken", detail));
        }
    }
    let made = json!({
        "name": name,
        "token": secret,
        "role": standing.role.as_str(),
        "scope": standing.scope(),
        "expires_at": expires_at.map(Timestamp::rfc3339),
    });
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(made)).into_response())
}

/// Every token, without what opens.
pub(in crate::door) async fn list(
    State(door): State<Arc<Door>>,
    caller: Caller,
) -> Result<Response, Problem> {
    permitted(&door, &caller, Asked::Tokens, About::default(), ("token", "")).await?;
    let now = door.clock.now();
    let tokens = door.store.token_list().await.map_err(unreadable)?;
    let items: Vec<Value> = tokens.iter().map(|token| row(token, now)).collect();
    Ok(Json(json!({ "items": items, "next": null })).into_response())
}

/// Revokes a token: from now on it opens nothing. What it leaves behind is told, and goes on.
pub(in crate::door) async fn revoke(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = name.to_ascii_lowercase();
    let because = permitted(&door, &caller, Asked::Tokens, About::default(), ("token", &name)).await?;
    if !is_name(&name) {
        return Err(missing());
    }
    let target = format!("{name} revoked");
    let audit = Audit { verb: "token".into(), target, allowed: true, reason: because };
    let effect = Effect::RevokeToken { name: name.clone() };
    if record_once(&door, &caller, &headers, effect, audit).await? != "done" {
        return Err(missing());
    }
    let (made, leases) = (made_by(&door, &name).await?, had_by(&door, &name).await?);
    // What it made starts nothing any more, until somebody makes it anew.
    let rows = door.store.schedule_list().await.map_err(unreadable)?;
    let is_theirs = |row: &&ScheduleRow| row.own.as_ref().is_some_and(|own| own.by.key() == key(&name));
    let schedules: Vec<&str> = rows.iter().filter(is_theirs).map(|row| row.name.as_str()).collect();
    let left =
        json!({ "name": name, "state": "revoked", "made": made, "leases": leases, "schedules": schedules });
    Ok(Json(left).into_response())
}

/// Live tokens that this one made, and those that they made.
async fn made_by(door: &Door, name: &str) -> Result<Vec<String>, Problem> {
    let now = door.clock.now();
    let tokens = door.store.token_list().await.map_err(unreadable)?;
    let mut makers = vec![name.to_owned()];
    let mut next = 0;
    while let Some(maker) = makers.get(next).map(|maker| key(maker)) {
        let made = tokens.iter().filter(|token| token.made_by == maker && !makers.contains(&token.name));
        let made: Vec<String> = made.map(|token| token.name.clone()).collect();
        makers.extend(made);
        next += 1;
    }
    let is_live = |name: &String| tokens.iter().any(|token| token.name == *name && token.is_live(now));
    Ok(makers.into_iter().skip(1).filter(is_live).collect())
}

/// Boards that a token has, and its places in line.
async fn had_by(door: &Door, name: &str) -> Result<Vec<Value>, Problem> {
    let holder = key(name);
    let (leases, wishes) = super::lease::had_and_awaited(door).await?;
    let is_theirs =
        |lease: &&Lease| matches!(&lease.holder, Holder::Person(person) if person.key() == holder);
    let leases = leases.iter().filter(is_theirs).map(|lease| lease.document(None));
    let wishes = wishes.iter().filter(|wish| wish.by.key() == holder);
    Ok(leases.chain(wishes.map(|wish| super::lease::waiting(door, wish))).collect())
}

/// Who acts with a token of this name, as the store writes people.
fn key(name: &str) -> String {
    format!("{}:{name}", Platform::Api.as_str())
}

fn missing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such token", "GET /api/v1/tokens has all of them")
}

fn lasts(text: &str) -> Result<Duration, Problem> {
    let days = || text.strip_suffix('d')?.parse().ok().map(|days: u32| Duration::from_secs(86_400) * days);
    let lasts =
        days().or_else(|| parse::duration(text)).filter(|lasts| !lasts.is_zero() && *lasts <= LIVES_MAX);
    lasts.ok_or_else(|| Problem::invalid("expires must be a time such as 30d or 12h, ten years at most"))
}

fn row(token: &TokenRow, now: Timestamp) -> Value {
    let state = match (token.revoked_at, token.is_live(now)) {
        (Some(_), _) => "revoked",
        (None, true) => "live",
        (None, false) => "expired",
    };
    json!({
        "name": token.name,
        "state": state,
        "role": token.standing.role.as_str(),
        "scope": token.standing.scope(),
        "made_by": token.made_by,
        "made_at": token.made_at.rfc3339(),
        "expires_at": token.expires_at.map(Timestamp::rfc3339),
        "used_at": token.used_at.map(Timestamp::rfc3339),
        "revoked_at": token.revoked_at.map(Timestamp::rfc3339),
    })
}
