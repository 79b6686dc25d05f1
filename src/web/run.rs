//! A run's page: its card as the chats show it, its attempts, its test cases, and its console, live while it runs.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use minijinja::{Value, context};
use serde::Deserialize;
use serde_json::json;

use super::console::{self, Begin, FEW_BYTES, Shown};
use super::live::{self, At, Topic};
use super::reader::Reader;
use super::wall::called;
use super::words::Tongue;
use super::{fragment, html, secured};
use crate::door::console::PIECE_BYTES_MAX;
use crate::door::server::Parking;
use crate::door::{Door, transcript_dir};
use crate::message::Note;
use crate::outcome::{CaseStatus, Counts, TestCase};
use crate::run::{Attempt, RunState};
use crate::store::{Result, RunView};

#[derive(Deserialize)]
pub(super) struct RunQuery {
    #[serde(default)]
    key: String,
    attempt: Option<u32>,
    /// Show the console up to this byte.
    before: Option<u64>,
    /// Go on from this byte, whose line has the number `line`.
    from: Option<u64>,
    line: Option<u64>,
    /// Show the console around this byte.
    at: Option<u64>,
    /// Show the console from this line on.
    goto: Option<u64>,
    /// Whether a small piece is enough.
    #[serde(default)]
    few: u8,
}

impl RunQuery {
    fn begin(&self) -> Begin {
        match (self.from, self.before, self.at, self.goto) {
            (Some(from), ..) => Begin::Byte(from, self.line.unwrap_or(1)),
            (_, Some(before), ..) => Begin::Before(before, self.line),
            (_, _, Some(at), _) => Begin::At(at),
            (.., Some(line)) => Begin::Line(line),
            _ => Begin::Tail,
        }
    }
}

/// Whether whoever asks may see this run.
fn may_see(door: &Door, run: i64, query: &RunQuery, reader: &Reader) -> bool {
    reader.visitor.is_some() || door.links.opens_run(run, &query.key)
}

/// The page.
pub(super) async fn run(
    State(door): State<Arc<Door>>,
    Path(run): Path<i64>,
    Query(query): Query<RunQuery>,
    reader: Reader,
) -> Response {
    if !may_see(&door, run, &query, &reader) {
        return reader.to_sign_in_for(&format!("/runs/{run}"));
    }
    let view = match door.store.run_view(run).await {
        Ok(Some(view)) => view,
        Ok(None) => {
            let said = reader.tongue.fill("There is no run #{run}.", &[("run", &run.to_string())]);
            return reader.told(StatusCode::NOT_FOUND, "No such run", &said, "/");
        }
        Err(error) => return reader.not_now(&error),
    };
    let attempt = query.attempt.or_else(|| view.attempts.last().map(|attempt| attempt.number));
    let shown = match attempt {
        Some(attempt) => console(&door, run, attempt, query.begin(), false).await,
        None => None,
    };
    reader.page(StatusCode::OK, "run.html", facts(&door, (&view, attempt), shown, &query.key, &reader))
}

fn facts(
    door: &Door,
    (view, attempt): (&RunView, Option<u32>),
    shown: Option<Shown>,
    key: &str,
    reader: &Reader,
) -> Value {
    let (run, signed_in) = (&view.run, reader.visitor.is_some());
    let key = (!signed_in).then_some(key);
    let live = live_facts(door, view, attempt, reader.tongue, key);
    let title = live.get_attr("title").unwrap_or_default();
    let live = fragment("run_live.html", reader.tongue, live);
    let finished = matches!(run.state, RunState::Finished { .. });
    let of = |number: u32| view.attempts.iter().find(|attempt| attempt.number == number);
    let outcome = attempt.and_then(of).and_then(|attempt| attempt.outcome.as_ref());
    let cases: Vec<Value> =
        outcome.map(|outcome| outcome.cases.iter().map(case).collect()).unwrap_or_default();
    let beyond = outcome.map_or(0, |outcome| outcome.counts.total() as usize).saturating_sub(cases.len());
    let console = shown.map(|shown| {
        context! {
            html => Value::from_safe_string(shown.html),
            open => Value::from_safe_string(shown.open),
            from => shown.from,
            next => shown.next,
            first => shown.first,
            line => shown.line,
            length => shown.length,
        }
    });
    context! {
        title,
        live => Value::from_safe_string(live),
        number => run.number,
        attempt,
        cases,
        beyond,
        console,
        finished,
        // Passed on by links of this page, where somebody came by one.
        key,
        back => format!("/runs/{}", run.number),
        log => attempt.map(|attempt| text_of(door, run.number, attempt)),
    }
}

/// What changes while a run goes on.
fn live_facts(door: &Door, view: &RunView, attempt: Option<u32>, tongue: Tongue, key: Option<&str>) -> Value {
    let run = &view.run;
    let note = Note::new("run-card", door.composer.run_facts(view));
    let card = door.composer.page_note(&note, tongue.as_str());
    let past = view.comparison.as_ref().and_then(|c| c.good.as_ref().or(c.base.as_ref()));
    context! {
        title => card.summary.as_str(),
        number => run.number,
        by => called(&run.requested_by),
        created => run.created_at.rfc3339(),
        created_said => run.created_at.to_minute(),
        retry_of => run.retry_of,
        // Beside the last good one, or else the last.
        before => past.map(|run| run.number),
        state => run.state.word(),
        verdict => run.state.verdict().map(|verdict| verdict.as_str()),
        card => Value::from_safe_string(html::card(&card, key.is_none())),
        attempts => view.attempts.iter().map(|attempt| attempt_facts(door, run.number, attempt)).collect::<Vec<_>>(),
        attempt,
        key,
        signed_in => key.is_none(),
    }
}

/// The part of a run's page that changes, and whether it stays so.
pub(super) async fn live(
    door: &Door,
    (run, attempt): (i64, Option<u32>),
    tongue: Tongue,
    key: Option<&str>,
) -> Result<(String, bool)> {
    let Some(view) = door.store.run_view(run).await? else { return Ok((String::new(), true)) };
    let finished = matches!(view.run.state, RunState::Finished { .. });
    Ok((fragment("run_live.html", tongue, live_facts(door, &view, attempt, tongue, key)), finished))
}

/// A run as it changes, and its console as it grows.
pub(super) async fn follow(
    State(door): State<Arc<Door>>,
    Path(run): Path<i64>,
    Query(query): Query<RunQuery>,
    reader: Reader,
    parking: Option<Extension<Parking>>,
    headers: HeaderMap,
) -> Response {
    if !may_see(&door, run, &query, &reader) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let key = reader.visitor.is_none().then(|| query.key.clone());
    let topic = Topic::Run { number: run, attempt: query.attempt, tongue: reader.tongue, key };
    let read = query.attempt.and(query.from).map(|from| (from, query.line.unwrap_or(1)));
    live::follow(&door, topic, At::of(&headers, read), parking)
}

fn attempt_facts(door: &Door, run: i64, attempt: &Attempt) -> Value {
    let outcome = attempt.outcome.as_ref();
    let took = attempt.ended_at.unwrap_or_else(|| door.clock.now()).since(attempt.started_at);
    context! {
        number => attempt.number,
        board => attempt.board.as_str(),
        started => attempt.started_at.rfc3339(),
        started_said => attempt.started_at.to_minute(),
        took => format!("{}:{:02}", took.as_secs() / 60, took.as_secs() % 60),
        verdict => outcome.map(|outcome| outcome.verdict.as_str()),
        cause => outcome.map(|outcome| outcome.cause.as_str()),
        stage => outcome.map(|outcome| outcome.stage.as_str()),
        counts => outcome.map(|outcome| {
            let Counts { passed, failed, skipped } = outcome.counts;
            context! { passed, failed, skipped }
        }),
        excerpt => outcome.map(|outcome| {
            outcome.excerpt.iter().map(|line| crate::chat::plain::clean(line).into_owned()).collect::<Vec<_>>().join("\n")
        }),
        log => text_of(door, run, attempt.number),
    }
}

/// The whole console as text, also for a browser.
fn text_of(door: &Door, run: i64, attempt: u32) -> String {
    format!("{}&text=true", door.links.log(run, attempt))
}

fn case(case: &TestCase) -> Value {
    let status = match case.status {
        CaseStatus::Passed => "passed",
        CaseStatus::Failed => "failed",
        CaseStatus::Skipped => "skipped",
        CaseStatus::ExpectedFailure => "expected failure",
    };
    let measured = case.measurement.as_ref();
    context! {
        name => crate::chat::plain::one_line(&case.name),
        status,
        note => crate::chat::plain::clean(&case.note).into_owned(),
        took => case.took_us.map(|us| format!("{:.3} s", us as f64 / 1e6)),
        measured => measured.map(|m| crate::chat::plain::one_line(&format!("{} {}", m.value, m.unit))),
    }
}

/// More of a console, for the page's script.
pub(super) async fn piece(
    State(door): State<Arc<Door>>,
    Path((run, attempt)): Path<(i64, u32)>,
    Query(query): Query<RunQuery>,
    reader: Reader,
) -> Response {
    if !may_see(&door, run, &query, &reader) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let Some(shown) = console(&door, run, attempt, query.begin(), query.few > 0).await else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let Shown { html, open, from, next, length, first, line } = shown;
    let said = json!({
        "html": html, "open": open, "from": from, "next": next, "length": length, "first": first, "line": line,
    });
    let mut response = ([(header::CACHE_CONTROL, "no-store")], Json(said)).into_response();
    secured(&mut response);
    response
}

async fn console(door: &Door, run: i64, attempt: u32, begin: Begin, few: bool) -> Option<Shown> {
    let path: PathBuf = transcript_dir(&door.transcripts, run, attempt).join("console");
    let redactor = door.redactor.clone();
    let read = tokio::task::spawn_blocking(move || {
        console::shown(&path, begin, if few { FEW_BYTES } else { PIECE_BYTES_MAX }, &redactor)
    })
    .await;
    read.ok()?.ok()
}
