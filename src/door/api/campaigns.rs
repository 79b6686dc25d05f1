//! Campaigns over the API: begun, looked at and steered, as people do in chat. Each is the command that people type, with
//! its permission and its audit row; nothing is decided here.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::Door;
use super::super::machine::{self, Problem};
use super::board::document;
use super::list::limit;
use super::who::Caller;
use super::{delivery, unreadable};
use crate::board::{Inventory, lab_file};
use crate::campaign::{Asked, Definition};
use crate::chat::{Delivery, api};
use crate::clock::Timestamp;
use crate::command::{Command, campaign_asked};
use crate::message::compose::campaign_targets;
use crate::store::{CampaignView, Committed};

/// Which campaign, of what, and where it is told.
#[derive(Deserialize)]
struct Wanted {
    name: String,
    build: String,
    channel: Option<String>,
    /// What it does, in the words of boards.yaml; nothing where that stands there.
    #[serde(flatten)]
    own: Map<String, Value>,
}

impl Wanted {
    /// What it does, where it says so itself.
    fn own(&self, lab: &Inventory) -> Result<Option<Box<Definition>>, Problem> {
        if self.own.is_empty() {
            return Ok(None);
        }
        if lab.campaigns.keys().any(|known| known.eq_ignore_ascii_case(&self.name)) {
            let detail = format!(
                "boards.yaml has a campaign {}: begin that with its name and a build alone, or name this one otherwise",
                self.name
            );
            return Err(Problem::new(StatusCode::CONFLICT, "this name is taken", detail));
        }
        lab_file::campaign_of(&self.name, &self.own).map(|own| Some(Box::new(own))).map_err(Problem::invalid)
    }
}

/// Which campaigns.
#[derive(Deserialize)]
pub(in crate::door) struct CampaignsQuery {
    limit: Option<u32>,
}

/// Campaigns: those that are not over, and the newest behind them.
pub(in crate::door) async fn list(
    State(door): State<Arc<Door>>,
    _: Caller,
    Query(query): Query<CampaignsQuery>,
) -> Result<Response, Problem> {
    let limit = limit(query.limit)?;
    let views = door.store.campaign_list(Some(limit)).await.map_err(unreadable)?;
    let items: Vec<Value> = views.iter().map(row).collect();
    Ok(Json(json!({ "items": items, "next": null })).into_response())
}

/// One campaign, with how each of its targets is.
pub(in crate::door) async fn one(
    State(door): State<Arc<Door>>,
    _: Caller,
    Path(number): Path<String>,
) -> Result<Response, Problem> {
    Ok(Json(shown(&named(&door, &number).await?)).into_response())
}

/// Begins one: 202, or 200 where the same was asked for before under the same key.
pub(in crate::door) async fn begin(
    State(door): State<Arc<Door>>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let mut wanted: Wanted = document(&body)?;
    wanted.own.retain(|_, said| !said.is_null());
    if wanted.name.starts_with('#') || wanted.name.parse::<i64>().is_ok() {
        return Err(Problem::invalid("name must be a name, and not a number"));
    }
    let own = wanted.own(&door.handler.inventory.now())?;
    let is_nothing = own.is_none() && !is_defined(&door, &wanted.name);
    let (which, what) = (Some(wanted.name.clone()), Some(wanted.build.clone()));
    let command = Command::Campaign { which, what, seen: None, own };
    let delivery = delivery(&door, &caller, command, &headers)?;
    let default = door.handler.inventory.now().channels.default.clone();
    let place = api::channel(wanted.channel.as_deref(), default.as_deref());
    let place = place.map_err(|problem| Problem::unread(&door, &problem))?;
    let committed = carry_out(&door, Delivery { place, ..delivery }, &body).await;
    let committed = committed.map_err(|problem| match is_nothing {
        true => problem.or("with families, boards or boards_of it is one of its own"),
        false => problem,
    })?;
    let fact = |name: &str| committed.answer.facts.get(name);
    let number = fact("number").and_then(Value::as_i64).ok_or_else(missing)?;
    let view = door.store.campaign_view(number).await.map_err(unreadable)?.ok_or_else(missing)?;
    let plan = &view.campaign.plan;
    // A build's name that moves was another one then than it is now.
    if !plan.name.eq_ignore_ascii_case(&wanted.name) {
        let detail = format!("campaign {number} ({} {}) was asked for under this key", plan.name, plan.build);
        return Err(Problem::new(StatusCode::CONFLICT, "this key asked for something else", detail));
    }
    let before = !committed.fresh || fact("effected") == Some(&json!("already-started"));
    let status = if before { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(shown(&view))).into_response())
}

fn is_defined(door: &Door, name: &str) -> bool {
    door.handler.inventory.now().campaigns.keys().any(|known| known.eq_ignore_ascii_case(name))
}

/// Pauses one, lets it go on, puts back what it reached, ends it.
pub(in crate::door) async fn steer(
    State(door): State<Arc<Door>>,
    caller: Caller,
    Path((number, action)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let view = named(&door, &number).await?;
    let Some(asked) = campaign_asked(&action) else {
        let known = Asked::ALL.map(Asked::as_str).join(", ");
        return Err(Problem::invalid(format!("the action is one of {known}")));
    };
    let which = Some(view.campaign.number.to_string());
    let command = Command::Campaign { which, what: Some(asked.as_str().to_owned()), seen: None, own: None };
    let delivery = delivery(&door, &caller, command, &headers)?;
    carry_out(&door, delivery, &[]).await?;
    Ok(Json(shown(&named(&door, &number).await?)).into_response())
}

/// Carries out what is asked of campaigns; a problem where it is not possible now.
async fn carry_out(door: &Door, delivery: Delivery, body: &[u8]) -> Result<Committed, Problem> {
    let committed = machine::carry_out(door, delivery, body).await?;
    let (facts, conflict) = (&committed.answer.facts, StatusCode::CONFLICT);
    match committed.answer.template.as_str() {
        "campaign-in-the-way" => {
            let number = facts.get("number").and_then(Value::as_i64).unwrap_or_default();
            let detail = format!("campaign {number} still goes on, and a second one would undo what it does");
            Err(Problem::new(conflict, "another campaign is in the way", detail))
        }
        "campaign-not-now" => {
            let state = facts.get("campaign").and_then(|campaign| campaign["state"].as_str());
            let can = facts.get("can").and_then(Value::as_array).into_iter().flatten();
            let can = can.filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
            let state = state.unwrap_or_default();
            let detail = match can.as_str() {
                "" => format!("it is {state}, and nothing can be asked of it any more"),
                can => format!("it is {state}; what it can do now: {can}"),
            };
            Err(Problem::new(conflict, "this is not possible now", detail))
        }
        _ => Ok(committed),
    }
}

async fn named(door: &Door, number: &str) -> Result<CampaignView, Problem> {
    let number: i64 = number.parse().map_err(|_| missing())?;
    door.store.campaign_view(number).await.map_err(unreadable)?.ok_or_else(missing)
}

fn missing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such campaign", "see GET /api/v1/campaigns")
}

fn row(view: &CampaignView) -> Value {
    let campaign = &view.campaign;
    let (plan, last) = (&campaign.plan, campaign.waves().saturating_sub(1));
    json!({
        "number": campaign.number,
        "name": plan.name,
        "build": plan.build,
        "state": campaign.word(&view.children),
        "wave": campaign.wave + 1,
        "waves": campaign.waves(),
        "gate": plan.terms.gate,
        "tally": campaign.tally(&view.children, campaign.wave),
        "total": campaign.tally(&view.children, last),
        "requested_by": view.by.key(),
        "created_at": view.asked_at.rfc3339(),
        "finished_at": view.ended_at.map(Timestamp::rfc3339),
    })
}

fn shown(view: &CampaignView) -> Value {
    let (campaign, mut shown) = (&view.campaign, row(view));
    let can = Asked::ALL.into_iter().filter(|asked| campaign.asked(*asked).is_some());
    shown["can"] = can.map(Asked::as_str).collect();
    shown["targets"] = campaign_targets(view, campaign.plan.targets.len()).into();
    shown["runs"] = view
        .children
        .iter()
        .map(|child| {
            let planned = campaign.planned(child);
            json!({
                "number": child.last,
                "target": planned.and_then(|planned| campaign.plan.targets.get(planned.target)),
                "suite": planned.map(|planned| &planned.spec.suite),
                "phase": child.phase.as_str(),
                "verdict": child.verdict.map(|verdict| verdict.as_str()),
                "cause": Some(child.cause.as_str()).filter(|cause| !cause.is_empty()),
            })
        })
        .collect();
    shown
}
