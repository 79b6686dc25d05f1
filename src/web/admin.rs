//! The page of whoever runs the lab: how the server is, who drives boards, what could not be sent, who did what, who has tokens,
//! what starts by itself, what is out of service. Secrets stand nowhere in it, and who may read it is decided by policy.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use minijinja::{Value, context};
use serde::Deserialize;

use super::html;
use super::reader::Reader;
use crate::chat::plain::one_line;
use crate::clock::Timestamp;
use crate::command::handle::schedules::{Entry, agenda};
use crate::command::parse::duration;
use crate::command::{AuditAsked, Command};
use crate::door::{Door, Visitor};
use crate::message::Note;
use crate::store::{Dealt, Result, TokenRow};

/// Most sessions that are shown.
const SESSIONS_MAX: u32 = 200;

#[derive(Deserialize)]
pub(super) struct Asked {
    /// A person, a board or a run.
    #[serde(default)]
    about: String,
    /// How far back.
    #[serde(default)]
    since: String,
    #[serde(default)]
    refused: String,
    /// Only what stands before this one.
    before: Option<i64>,
}

impl Asked {
    fn audit(&self) -> Command {
        let about = Some(one_line(&self.about)).filter(|about| !about.is_empty());
        let refused = !self.refused.is_empty();
        Command::Audit(AuditAsked { about, since: duration(self.since.trim()), refused, before: self.before })
    }

    /// Where the next page is.
    fn next(&self, line: &str) -> Option<String> {
        const BEGIN: &str = "/admin?";
        let (_, before) = line.rsplit_once("before=")?;
        let mut query = form_urlencoded::Serializer::for_suffix(BEGIN.to_owned(), BEGIN.len());
        let given = [("about", &self.about), ("since", &self.since), ("refused", &self.refused)];
        query.extend_pairs(given.into_iter().filter(|(_, value)| !value.is_empty()));
        query.append_pair("before", before);
        Some(query.finish() + "#audit")
    }
}

/// The page.
pub(super) async fn admin(
    State(door): State<Arc<Door>>,
    reader: Reader,
    Query(asked): Query<Asked>,
) -> Response {
    let Some(visitor) = &reader.visitor else { return reader.to_sign_in() };
    // The command itself says who may, in its own words, and keeps that it was refused.
    let audit = match door.look(visitor, asked.audit()).await {
        Ok(audit) => audit,
        Err(error) => return reader.not_now(&error),
    };
    if audit.template != "audit" {
        let card = door.composer.page_note(&audit, reader.tongue.as_str());
        let facts = context! {
            title => card.summary.as_str(), card => Value::from_safe_string(html::card(&card, false)), back => "/",
        };
        return reader.page(StatusCode::FORBIDDEN, "answer.html", facts);
    }
    match Box::pin(facts(&door, (visitor, reader.tongue.as_str()), &asked, &audit)).await {
        Ok(facts) => reader.page(StatusCode::OK, "admin.html", facts),
        Err(error) => reader.not_now(&error),
    }
}

async fn facts(door: &Door, reader: (&Visitor, &str), asked: &Asked, audit: &Note) -> Result<Value> {
    let (visitor, tongue) = reader;
    let letters = door.look(visitor, Command::DeadLetters).await?.facts;
    let tokens = door.store.token_list().await?;
    let now = door.clock.now();
    let rows = audit.facts.get("rows").and_then(|rows| rows.as_array()).into_iter().flatten();
    let rows: Vec<Value> = rows.map(decision).collect();
    let next = audit.facts.get("next").and_then(|next| asked.next(next.as_str()?));
    Ok(context! {
        at => "admin",
        health => health(door).await,
        letters => letters.get("letters").map(plain),
        letters_more => letters.get("more").and_then(serde_json::Value::as_u64),
        rows, next,
        about => asked.about.as_str(), since => asked.since.as_str(), refused => !asked.refused.is_empty(),
        older => asked.before.is_some(),
        tokens => tokens.iter().map(|token| token_facts(token, now)).collect::<Vec<_>>(),
        workers => workers(door, visitor, tongue).await?,
        sessions => sessions(door, now).await?,
        schedules => schedules(door, now).await?,
        out => out_of_service(door).await?,
    })
}

/// Who drives the boards of remote sites, as the chats show it; nothing where no site is remote and no worker was ever heard.
async fn workers(door: &Door, visitor: &Visitor, tongue: &str) -> Result<Option<Value>> {
    let is_remote = door.handler.inventory.now().sites.values().any(|settings| settings.remote);
    if !is_remote && door.crew.instances().is_empty() {
        return Ok(None);
    }
    let workers = door.look(visitor, Command::Workers).await?;
    let card = door.composer.page_note(&workers, tongue);
    Ok(Some(Value::from_safe_string(html::card(&card, false))))
}

/// What `/readyz` knows.
async fn health(door: &Door) -> Value {
    match door.state().await {
        Ok(state) => context! {
            ready => true,
            problems => plain(&state["problems"]),
            trouble => plain(&state["trouble"]),
            sockets => plain(&state["sockets"]),
            census => plain(&state["census"]),
        },
        Err(reason) => context! { ready => false, reason },
    }
}

/// The same for a page.
fn plain(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::from(()),
        Json::Bool(yes) => Value::from(*yes),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::from(whole),
            None => Value::from(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::from(one_line(text)),
        Json::Array(items) => Value::from(items.iter().map(plain).collect::<Vec<_>>()),
        Json::Object(fields) => {
            Value::from_pairs(fields.iter().map(|(name, field)| (name.as_str(), plain(field))))
        }
    }
}

fn decision(row: &serde_json::Value) -> Value {
    let at = row.get("at").and_then(|at| serde_json::from_value::<Timestamp>(at.clone()).ok());
    let text = |name: &str| row.get(name).and_then(|text| text.as_str()).unwrap_or_default();
    context! {
        at => at.map(Timestamp::rfc3339),
        at_said => at.map(Timestamp::to_minute),
        actor => one_line(text("actor")),
        verb => text("verb"),
        target => one_line(text("target")),
        allowed => row.get("allowed").and_then(serde_json::Value::as_bool),
        reason => one_line(text("reason")),
    }
}

fn token_facts(token: &TokenRow, now: Timestamp) -> Value {
    let state = match (token.revoked_at, token.is_live(now)) {
        (Some(_), _) => "revoked",
        (None, true) => "live",
        (None, false) => "expired",
    };
    let at = |at: Option<Timestamp>| at.map(|at| context! { at => at.rfc3339(), said => at.to_minute() });
    context! {
        name => token.name.as_str(),
        state,
        role => token.standing.role.as_str(),
        scope => token.standing.scope().join(" "),
        made_by => one_line(&token.made_by),
        made => at(Some(token.made_at)),
        used => at(token.used_at),
        expires => at(token.expires_at),
    }
}

/// Who is signed in as in a chat.
async fn sessions(door: &Door, now: Timestamp) -> Result<Vec<Value>> {
    let at = |at: Timestamp| context! { at => at.rfc3339(), said => at.to_minute() };
    let rows = door.store.session_list(now, SESSIONS_MAX).await?;
    let facts = rows.iter().map(|row| {
        context! {
            who => one_line(row.by.shown()),
            key => row.by.key(),
            made => at(row.made_at),
            used => row.used_at.map(at),
            expires => at(row.expires_at),
        }
    });
    Ok(facts.collect())
}

async fn schedules(door: &Door, now: Timestamp) -> Result<Vec<Value>> {
    let all = agenda(&door.handler.inventory.now(), door.store.schedule_list().await?);
    let shown = all.iter().map(|Entry { name, schedule, row }| {
        let row = row.as_ref();
        let paused = row.and_then(|row| row.paused.as_ref());
        let last = row.and_then(|row| row.dealt.as_ref());
        let next = schedule.next(now).filter(|_| paused.is_none());
        context! {
            name,
            when => format!("{} {}", schedule.cron, schedule.zone),
            run => schedule.run.as_str(),
            made_by => row.and_then(|row| row.own.as_ref()).map(|own| super::wall::called(&own.by)),
            paused_by => paused.map(|(by, _)| super::wall::called(by)),
            next => next.map(|at| at.rfc3339()),
            next_said => next.map(|at| at.to_minute()),
            last => last.map(|(due, _)| due.rfc3339()),
            last_said => last.map(|(due, _)| due.to_minute()),
            last_run => last.and_then(|(_, dealt)| match dealt {
                Dealt::Started { run } => Some(*run),
                _ => None,
            }),
        }
    });
    Ok(shown.collect())
}

async fn out_of_service(door: &Door) -> Result<Vec<Value>> {
    let rows = door.store.board_list().await?;
    let out = rows.iter().filter_map(|row| {
        let quarantine = row.quarantine.as_ref()?;
        Some(context! {
            board => row.id.as_str(),
            reason => one_line(&row.reason),
            by => quarantine.by.as_ref().map(super::wall::called),
            at => quarantine.at.rfc3339(),
            at_said => quarantine.at.to_minute(),
        })
    });
    Ok(out.collect())
}
