//! Who calls: proved by a bearer token, the server's own or one of the store's. A token that is revoked, over or unknown
//! looks like any other that opens nothing. What a caller may do is decided by policy.

use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};

use super::super::machine::Problem;
use super::super::server::AskedAgain;
use super::super::throttle::Source;
use super::super::{Door, Visitor};
use super::unreadable;
use crate::chat::{Actor, Platform, api, token};
use crate::clock::Timestamp;
use crate::command::policy::Who;
use crate::command::standing::Standing;
use crate::store::{TokenRow, USED_EVERY};

/// Whoever sends a request, proved.
#[derive(Debug, Clone)]
pub(in crate::door) struct Caller {
    /// By the name of their token.
    pub(in crate::door) actor: Actor,
    /// What that grants; the admin token grants everything.
    pub(in crate::door) standing: Option<Box<Standing>>,
    /// When their token is over by itself.
    pub(in crate::door) expires_at: Option<Timestamp>,
    /// Where they came from.
    pub(in crate::door) source: Option<String>,
    /// What they asked for.
    path: String,
}

impl Caller {
    /// The same key of another caller, or for something else, is another key.
    pub(in crate::door) fn key_of(&self, key: &str) -> String {
        format!("{} {} {key}", self.actor.id, self.path)
    }

    /// The same for policy.
    pub(in crate::door) fn who(&self) -> Who<'_> {
        Who { standing: self.standing.as_deref(), ..Who::from(&self.actor) }
    }
}

impl FromRequestParts<Arc<Door>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, door: &Arc<Door>) -> Result<Self, Problem> {
        let header = parts.headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        let token = match header {
            Some(header) => token::bearer(header).ok_or_else(|| none(NEEDED))?,
            None => return Err(none(NEEDED)),
        };
        let source = parts.extensions.get::<Source>().map(|source| source.0.to_string());
        let Proof { actor, standing, expires_at } = proved(door, token).await?;
        let path = parts.uri.path().to_owned();
        // What has waited was counted when it came.
        let counts = parts.extensions.get::<AskedAgain>().is_none();
        if path.starts_with(OF_WORKERS) {
            if counts {
                door.throttle.worker(&actor.id)?;
            }
        } else if standing.as_ref().is_some_and(|standing| standing.is_worker()) {
            let detail = "this token is for a worker, and opens nothing else";
            return Err(Problem::new(StatusCode::FORBIDDEN, "this is not allowed", detail));
        } else if counts {
            door.throttle.token(&actor.id, parts.method != Method::GET)?;
        }
        Ok(Caller { actor, standing, expires_at, source, path })
    }
}

impl OptionalFromRequestParts<Arc<Door>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, door: &Arc<Door>) -> Result<Option<Self>, Problem> {
        if !parts.headers.contains_key(header::AUTHORIZATION) {
            return Ok(None);
        }
        let caller = <Caller as FromRequestParts<Arc<Door>>>::from_request_parts(parts, door);
        Box::pin(caller).await.map(Some)
    }
}

/// How the addresses begin that workers alone use.
pub(super) const OF_WORKERS: &str = "/api/v1/workers/";

const NEEDED: &str = "a token is needed: Authorization: Bearer …";

/// Who comes with a token, and what it grants until when.
pub(in crate::door) struct Proof {
    actor: Actor,
    standing: Option<Box<Standing>>,
    expires_at: Option<Timestamp>,
}

/// Whose token this is.
pub(in crate::door) async fn proved(door: &Door, token: &[u8]) -> Result<Proof, Problem> {
    if door.api_tokens.know(token) {
        return Ok(Proof { actor: api::admin(String::new()), standing: None, expires_at: None });
    }
    let unknown = || none("this token is not known");
    let hash = token::kept(token).ok_or_else(unknown)?;
    let now = door.clock.now();
    let found = door.store.token_by_hash(&hash).await.map_err(unreadable)?;
    let row = found.filter(|row| token::is_same(&row.hash, &hash) && row.is_live(now)).ok_or_else(unknown)?;
    note_use(door, &row, now).await;
    let expires_at = row.expires_at;
    Ok(Proof { actor: holder(row.name), standing: Some(Box::new(row.standing)), expires_at })
}

/// Whose token of this digest it is that opens the API now: the server's own, or one of the store's.
pub(in crate::door) async fn of_digest(door: &Door, digest: &[u8; 32]) -> Option<Visitor> {
    if door.api_tokens.know_digest(digest) {
        return Some(Visitor::with_token(api::admin(String::new()), None));
    }
    let found = match door.store.token_by_hash(digest).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, "the store does not say whether a token is known");
            return None;
        }
    };
    let now = door.clock.now();
    let opens = |row: &TokenRow| row.is_live(now) && !row.standing.is_worker();
    let row = found.filter(|row| token::is_same(&row.hash, digest) && opens(row))?;
    note_use(door, &row, now).await;
    Some(Visitor::with_token(holder(row.name), Some(Box::new(row.standing))))
}

fn holder(name: String) -> Actor {
    Actor { platform: Platform::Api, id: name, team: String::new(), name: String::new() }
}

/// Keeps that a token was used, now and then. Nobody waits in vain because that cannot be written.
async fn note_use(door: &Door, row: &TokenRow, now: Timestamp) {
    if row.used_at.is_some_and(|at| now.since(at) < USED_EVERY) {
        return;
    }
    if let Err(error) = door.store.token_used(&row.name, now).await {
        tracing::warn!(token.name = row.name, %error, "it is not kept that a token was used");
    }
}

fn none(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "this is not allowed", detail)
}
