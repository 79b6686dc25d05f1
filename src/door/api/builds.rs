//! Builds over the API: told of, listed, one of them. What is told goes the way of what Jenkins tells.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::machine::Problem;
use super::super::{Door, builds};
use super::who::Caller;
use super::{key, list, of, unreadable};
use crate::board::Family;
use crate::board::near::nearest;
use crate::build::Build;
use crate::chat::api;
use crate::store::{BuildFilter, BuildsOf};

/// Of how many of the newest builds the ids are known for did-you-mean.
const KNOWN_MAX: u32 = 200;

/// `POST /api/v1/builds`.
pub(in crate::door) async fn register(
    State(door): State<Arc<Door>>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let key = key(&door, &headers)?;
    let delivery = api::build(&body, &caller.actor, &key, door.clock.now());
    let delivery = delivery.map_err(|problem| Problem::unread(&door, &problem))?;
    builds::tell(&door, of(&caller, delivery)).await.map_err(Problem::from)
}

/// Which builds.
#[derive(Deserialize)]
pub(in crate::door) struct BuildsQuery {
    family: Option<String>,
    branch: Option<String>,
    limit: Option<u32>,
    before: Option<i64>,
}

/// `GET /api/v1/builds`, the newest first.
pub(in crate::door) async fn list(
    State(door): State<Arc<Door>>,
    _: Caller,
    Query(query): Query<BuildsQuery>,
) -> Result<Response, Problem> {
    let limit = list::limit(query.limit)?;
    let of = match (&query.family, &query.branch) {
        (None, None) => BuildsOf::All,
        (None, Some(_)) => return Err(list::bad("branch", "left out where no family is named")),
        (Some(name), None) => BuildsOf::Family(family(&door, name)?),
        (Some(name), Some(branch)) => BuildsOf::Branch(family(&door, name)?, branch.clone()),
    };
    let filter = BuildFilter { of, good: false, before: query.before, limit };
    let builds = door.store.build_list(&filter).await.map_err(unreadable)?;
    let full = u32::try_from(builds.len()).is_ok_and(|count| count == limit);
    let last = builds.last().map(|build| build.number).filter(|number| full && *number > 1);
    let next = last.map(|last| {
        let mut address = form_urlencoded::Serializer::new("/api/v1/builds?".to_owned());
        address.append_pair("before", &last.to_string()).append_pair("limit", &limit.to_string());
        for (name, value) in [("family", &query.family), ("branch", &query.branch)] {
            address.extend_pairs(value.iter().map(|value| (name, value)));
        }
        address.finish()
    });
    let items: Vec<Value> = builds.iter().map(row).collect();
    Ok(Json(json!({ "items": items, "next": next })).into_response())
}

/// Which build.
#[derive(Deserialize)]
pub(in crate::door) struct BuildQuery {
    family: Option<String>,
}

/// `GET /api/v1/builds/{id}`, of the family where several have one of that id.
pub(in crate::door) async fn one(
    State(door): State<Arc<Door>>,
    _: Caller,
    Path(id): Path<String>,
    Query(query): Query<BuildQuery>,
) -> Result<Response, Problem> {
    let of = |of, limit| BuildFilter { of, good: false, before: None, limit };
    let mut found =
        door.store.build_list(&of(BuildsOf::Id(id.clone()), KNOWN_MAX)).await.map_err(unreadable)?;
    if let Some(name) = &query.family {
        let family = family(&door, name)?;
        found.retain(|build| build.family == family);
    }
    match found.as_slice() {
        [build] => Ok(Json(row(build)).into_response()),
        [] => {
            let known = door.store.build_list(&of(BuildsOf::All, KNOWN_MAX)).await.map_err(unreadable)?;
            let near = nearest(&id, known.iter().map(|build| build.id.as_str())).map(str::to_owned);
            let detail = "GET /api/v1/builds has those that were registered";
            let problem = Problem::new(StatusCode::NOT_FOUND, "no such build was registered", detail);
            Err(problem.near(near))
        }
        several => {
            let near = several.iter().map(|build| build.family.to_string());
            let detail = "several families have a build of that id: say which with family=";
            Err(Problem::new(StatusCode::CONFLICT, "which build is meant?", detail).near(near))
        }
    }
}

/// A kind of board by its name.
pub(super) fn family(door: &Door, name: &str) -> Result<Family, Problem> {
    let lab = door.handler.inventory.now();
    let found = lab.families.keys().find(|family| family.as_str().eq_ignore_ascii_case(name)).cloned();
    found.ok_or_else(|| {
        let near = nearest(name, lab.families.keys().map(Family::as_str)).map(str::to_owned);
        let all: Vec<&str> = lab.families.keys().map(Family::as_str).collect();
        let detail = format!("boards.yaml has {}", all.join(", "));
        let problem = Problem::new(StatusCode::NOT_FOUND, "there is no such family", detail);
        problem.near(near)
    })
}

fn row(build: &Build) -> Value {
    json!({
        "number": build.number,
        "family": build.family,
        "build": build.id,
        "branch": build.source.branch,
        "commit": build.source.commit,
        "job": build.source.job,
        "url": build.source.url,
        "result": build.result,
        "artifacts": build.artifacts,
        "registered_by": build.by.key(),
        "registered_at": build.registered_at.rfc3339(),
    })
}
