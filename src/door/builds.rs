//! Builds that a machine tells of, by Jenkins' webhook or over the API, and what it is answered. What is told goes the way
//! of every delivery; nothing is decided here.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::machine::Problem;
use super::{Door, Refusal, take};
use crate::chat::{Delivery, Intent};
use crate::message::Note;
use crate::store::Effected;

/// Takes a build that somebody tells of: 201, or 200 where it was registered before.
pub(super) async fn tell(door: &Door, delivery: Delivery) -> Result<Response, Refusal> {
    let asked = match &delivery.intent {
        Intent::Build(asked) => (asked.family.clone(), asked.id.clone()),
        _ => return Err(Refusal::Malformed("it tells of no build".into())),
    };
    let committed = take(door, delivery).await?;
    let answer = &committed.answer;
    if answer.template != "build-registered" {
        let problem = Problem::of(door, answer);
        let other = is(answer, "effected", Effected::OtherBuild.as_str());
        return Ok(if other { problem.with(StatusCode::CONFLICT) } else { problem }.into_response());
    }
    let text = |name: &str| answer.facts.get(name).and_then(Value::as_str).unwrap_or_default();
    let (family, id) = (text("family"), text("build"));
    if !family.eq_ignore_ascii_case(&asked.0) || id != asked.1 {
        let detail =
            format!("{family} {id} was told under this key; give this one an idempotency_key of its own");
        let title = "this key told of something else";
        return Ok(Problem::new(StatusCode::CONFLICT, title, detail).into_response());
    }
    let before = is(answer, "effected", Effected::AlreadyRegistered.as_str()) || !committed.fresh;
    let status = if before { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(told(door, answer))).into_response())
}

fn is(answer: &Note, name: &str, word: &str) -> bool {
    answer.facts.get(name).and_then(Value::as_str) == Some(word)
}

/// What whoever told of a build is answered: what was started, and what could not be.
fn told(door: &Door, answer: &Note) -> Value {
    let list = |name: &str| answer.facts.get(name).and_then(Value::as_array).into_iter().flatten();
    // Of a build told again, a rule that is new since has started nothing.
    let runs = list("rules").zip(list("runs")).filter_map(|(rule, run)| Some((rule, run.as_i64()?)));
    let runs: Vec<Value> =
        runs.map(|(rule, run)| json!({ "rule": rule, "number": run, "url": door.links.run(run) })).collect();
    let refused = list("refused")
        .map(|one| json!({ "rule": one["rule"], "detail": door.composer.for_program(&one["reason"]) }));
    json!({
        "family": answer.facts.get("family"),
        "build": answer.facts.get("build"),
        "runs": runs,
        "refused": refused.collect::<Vec<_>>(),
    })
}
