//! Who was allowed or refused what, over the API, a page at a time. Read-only; who may is decided by policy.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Door;
use super::super::machine::Problem;
use super::who::Caller;
use super::{permitted, unreadable};
use crate::clock::Timestamp;
use crate::command::policy::{About, Asked};
use crate::command::{AuditAsked, Command, parse};
use crate::store::{AuditFilter, Decision};

/// Which decisions.
#[derive(Deserialize)]
pub(in crate::door) struct AuditQuery {
    /// Only of this person or token, as `slack:U0LEAD`.
    actor: Option<String>,
    /// Only about this board or run.
    target: Option<String>,
    /// Only of the last so long.
    since: Option<String>,
    /// Only what was refused.
    #[serde(default)]
    refused: bool,
    /// Only those before this one.
    before: Option<i64>,
    limit: Option<u32>,
}

/// Decisions, the newest first. A page may have none and go on: a long log is not read at once.
pub(in crate::door) async fn audit(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Query(query): Query<AuditQuery>,
) -> Result<Response, Problem> {
    let command = Command::Audit(AuditAsked::default());
    permitted(&door, &caller, Asked::Command(&command), About::default(), ("audit", "")).await?;
    let since = match query.since.as_deref().map(parse::duration) {
        None => None,
        Some(Some(since)) => Some(door.clock.now() - since),
        Some(None) => return Err(super::list::bad("since", "a time such as 2h or 7d")),
    };
    let limit = super::list::limit(query.limit)?;
    let filter = AuditFilter {
        actors: query.actor.clone().map(|actor| vec![actor]),
        target: query.target.clone(),
        since,
        refused: query.refused,
        before: query.before,
        limit,
    };
    let page = door.store.audit_list(&filter).await.map_err(unreadable)?;
    let items: Vec<Value> = page.decisions.iter().map(|decision| row(&door, decision)).collect();
    let next = page.next.map(|before| next(&query, before, limit));
    Ok(Json(json!({ "items": items, "next": next })).into_response())
}

/// The address of what follows, with what was asked for.
fn next(query: &AuditQuery, before: i64, limit: u32) -> String {
    let mut address = form_urlencoded::Serializer::new("/api/v1/audit?".to_owned());
    address.append_pair("before", &before.to_string()).append_pair("limit", &limit.to_string());
    for (key, value) in [("actor", &query.actor), ("target", &query.target), ("since", &query.since)] {
        if let Some(value) = value {
            address.append_pair(key, value);
        }
    }
    if query.refused {
        address.append_pair("refused", "true");
    }
    address.finish()
}

/// A decision; what somebody wrote is shown as in chat.
fn row(door: &Door, decision: &Decision) -> Value {
    json!({
        "position": decision.position,
        "at": Timestamp::rfc3339(decision.at),
        "actor": decision.actor,
        "verb": decision.verb,
        "target": door.handler.shown(&decision.target),
        "allowed": decision.allowed,
        "reason": door.handler.shown(&decision.reason),
        "source": decision.source,
    })
}
