//! A run's page: its card as the chats show it, its attempts, its test cases, and its console, live while it runs.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use minijinja::{Value, context};
use serde::Deserialize;
use serde_json::json;

use super::console::{self, Begin, Shown};
use super::wall::{called, nowhere};
use super::{html, is_signed_in, not_now, page, secured, to_sign_in};
use crate::door::{Door, transcript_dir};
use crate::outcome::{CaseStatus, Counts, TestCase};
use crate::run::{Attempt, RunState};
use crate::store::RunView;

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
}

/// Whether whoever asks may see this run.
async fn may_see(door: &Door, run: i64, query: &RunQuery, headers: &HeaderMap) -> bool {
    door.links.opens_run(run, &query.key) || is_signed_in(door, headers).await
}

/// The page.
pub(super) async fn run(
    State(door): State<Arc<Door>>,
    Path(run): Path<i64>,
    Query(query): Query<RunQuery>,
    headers: HeaderMap,
) -> Response {
    if !may_see(&door, run, &query, &headers).await {
        return to_sign_in(&format!("/runs/{run}"));
    }
    let view = match door.store.run_view(run).await {
        Ok(Some(view)) => view,
        Ok(None) => {
            let facts = context! { title => "No such run", said => format!("There is no run #{run}.") };
            return page(StatusCode::NOT_FOUND, "missing.html", facts);
        }
        Err(error) => return not_now(&error),
    };
    let attempt = query.attempt.or_else(|| view.attempts.last().map(|attempt| attempt.number));
    let begin = query.before.map_or(Begin::Tail, Begin::Before);
    let shown = match attempt {
        Some(attempt) => console(&door, run, attempt, begin).await,
        None => None,
    };
    let signed_in = is_signed_in(&door, &headers).await;
    page(StatusCode::OK, "run.html", facts(&door, &view, attempt, shown, &query.key, signed_in))
}

fn facts(
    door: &Door,
    view: &RunView,
    attempt: Option<u32>,
    shown: Option<Shown>,
    key: &str,
    signed_in: bool,
) -> Value {
    let run = &view.run;
    let card = door.composer.run_card(view, &nowhere());
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
            line => shown.line,
            at_end => shown.next == shown.length,
        }
    });
    context! {
        title => card.summary.as_str(),
        number => run.number,
        family => run.spec.family.as_str(),
        build => run.spec.build.as_str(),
        suite => run.spec.suite.as_str(),
        by => called(&run.requested_by),
        created => run.created_at.rfc3339(),
        created_said => run.created_at.to_minute(),
        retry_of => run.retry_of,
        state => run.state.word(),
        verdict => run.state.verdict().map(|verdict| verdict.as_str()),
        card => Value::from_safe_string(html::card(&card)),
        attempts => view.attempts.iter().map(|attempt| attempt_facts(door, run.number, attempt)).collect::<Vec<_>>(),
        attempt,
        cases,
        beyond,
        console,
        finished,
        // Passed on by links of this page, where somebody came by one.
        key => (!signed_in).then_some(key),
        signed_in,
        log => attempt.map(|attempt| text_of(door, run.number, attempt)),
    }
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
    headers: HeaderMap,
) -> Response {
    if !may_see(&door, run, &query, &headers).await {
        return StatusCode::NOT_FOUND.into_response();
    }
    let begin = match (query.from, query.before) {
        (Some(from), _) => Begin::Byte(from, query.line.unwrap_or(1)),
        (None, Some(before)) => Begin::Before(before),
        (None, None) => Begin::Tail,
    };
    let Some(shown) = console(&door, run, attempt, begin).await else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let Shown { html, open, from, next, length, line } = shown;
    let said =
        json!({ "html": html, "open": open, "from": from, "next": next, "length": length, "line": line });
    let mut response = ([(header::CACHE_CONTROL, "no-store")], Json(said)).into_response();
    secured(&mut response);
    response
}

async fn console(door: &Door, run: i64, attempt: u32, begin: Begin) -> Option<Shown> {
    let path: PathBuf = transcript_dir(&door.transcripts, run, attempt).join("console");
    let redactor = door.redactor.clone();
    let read = tokio::task::spawn_blocking(move || console::shown(&path, begin, &redactor)).await;
    read.ok()?.ok()
}
