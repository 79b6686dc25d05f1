//! Two builds side by side: what broke, what was mended, what fails as before, what is new, what is missing. Which two runs are
//! meant is the compare command's to say; how each case stands is `outcome::compare`'s.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use minijinja::{Value, context};
use serde::Deserialize;

use super::html;
use super::reader::Reader;
use crate::chat::plain::{clean, one_line};
use crate::command::{Command, Compare, Which};
use crate::door::{Door, Visitor};
use crate::message::Note;
use crate::outcome::compare::{Kind, Marks, Past, RunOfBuild, beside};
use crate::outcome::{Outcome, TestCase};
use crate::run::RunState;
use crate::store::{Result, RunView};

/// Most cases of each kind that are named; the rest is counted.
const CASES_MAX: usize = 500;
/// Most of what a case said, in characters.
const NOTE_CHARS_MAX: usize = 400;

#[derive(Deserialize)]
pub(super) struct Asked {
    /// A build, or `#42`; the older one.
    #[serde(default)]
    from: String,
    /// The newer one.
    #[serde(default)]
    to: String,
    #[serde(default)]
    family: String,
    #[serde(default)]
    suite: String,
}

impl Asked {
    fn command(&self) -> Command {
        let sides = [&self.from, &self.to].into_iter().map(|side| one_line(side));
        let of = sides.filter(|side| !side.is_empty()).map(|side| which(&side)).collect();
        let given = |text: &str| Some(one_line(text)).filter(|text| !text.is_empty());
        Command::Compare(Compare { of, family: given(&self.family), suite: given(&self.suite) })
    }
}

fn which(side: &str) -> Which {
    match side.strip_prefix('#').unwrap_or(side).parse() {
        Ok(number) => Which::Run(number),
        Err(_) => Which::Build(side.to_owned()),
    }
}

/// The page.
pub(super) async fn compare(
    State(door): State<Arc<Door>>,
    reader: Reader,
    Query(asked): Query<Asked>,
) -> Response {
    let Some(visitor) = &reader.visitor else { return reader.to_sign_in() };
    match Box::pin(facts(&door, &reader, visitor, &asked)).await {
        Ok(facts) => reader.page(StatusCode::OK, "compare.html", facts),
        Err(error) => reader.not_now(&error),
    }
}

async fn facts(door: &Door, reader: &Reader, visitor: &Visitor, asked: &Asked) -> Result<Value> {
    let asks = context! {
        from => asked.from.as_str(), to => asked.to.as_str(),
        family => asked.family.as_str(), suite => asked.suite.as_str(), at => "history",
    };
    if asked.from.is_empty() && asked.to.is_empty() {
        return Ok(asks);
    }
    let answer = door.look(visitor, asked.command()).await?;
    let number = |side: &str| answer.facts.get(side)?.get("run")?.get("number")?.as_i64();
    let sides = match (number("from"), number("to")) {
        (Some(from), Some(to)) => (door.store.run_view(from).await?, door.store.run_view(to).await?),
        _ => (None, None),
    };
    let (Some(old), Some(new)) = sides else {
        return Ok(context! { refused => card(door, reader, &answer), ..asks });
    };
    let groups = groups(door, reader, &old, &new).await?;
    Ok(context! { sides => [side(&old), side(&new)], groups, ..asks })
}

fn card(door: &Door, reader: &Reader, note: &Note) -> Value {
    Value::from_safe_string(html::card(&door.composer.page_note(note, reader.tongue.as_str()), false))
}

fn outcome(view: &RunView) -> Option<&Outcome> {
    match &view.run.state {
        RunState::Finished { .. } => view.attempts.last()?.outcome.as_ref(),
        RunState::Queued { .. } | RunState::Active { .. } => None,
    }
}

fn side(view: &RunView) -> Value {
    let (run, outcome) = (&view.run, outcome(view));
    let last = view.attempts.last();
    context! {
        number => run.number,
        build => one_line(&run.spec.build),
        family => run.spec.family.as_str(),
        suite => one_line(&run.spec.suite),
        verdict => run.state.verdict().map(|verdict| verdict.as_str()),
        cause => outcome.map(|outcome| one_line(&outcome.cause)),
        counts => outcome.map(|outcome| context! {
            passed => outcome.counts.passed, failed => outcome.counts.failed, skipped => outcome.counts.skipped
        }),
        board => last.map(|attempt| attempt.board.as_str()),
        at => last.and_then(|attempt| attempt.ended_at).map(|at| at.rfc3339()),
        at_said => last.and_then(|attempt| attempt.ended_at).map(|at| at.to_minute()),
    }
}

/// The groups of a comparison, the worst first; each with what it is called.
const GROUPS: [(Kind, &str); 8] = [
    (Kind::Broke, "Broke"),
    (Kind::FailsNew, "New, and failing"),
    (Kind::Still, "Still failing"),
    (Kind::Flaky, "Comes out as it likes"),
    (Kind::Mended, "Mended"),
    (Kind::Missing, "Missing: passed before, and was not run"),
    (Kind::Gone, "Gone: failed before, and was not run"),
    (Kind::New, "New, and passing"),
];

async fn groups(door: &Door, reader: &Reader, old: &RunView, new: &RunView) -> Result<Vec<Value>> {
    let (Some(before), Some(now)) = (outcome(old), outcome(new)) else { return Ok(vec![]) };
    if before.cases.is_empty() || now.cases.is_empty() {
        return Ok(vec![]);
    }
    let spec = &new.run.spec;
    let mut past = door.store.suite_past(&spec.family, &spec.suite).await?.runs;
    if !past.iter().any(|past| past.run.number == new.run.number) {
        let run = RunOfBuild { number: new.run.number, build: spec.build.clone() };
        past.push(Past { run, marks: Marks::of(&now.cases) });
    }
    let found = beside(&before.cases, &now.cases, &past.iter().collect::<Vec<_>>());
    let groups = GROUPS.into_iter().filter_map(|(kind, title)| {
        let cases: Vec<&TestCase> =
            found.iter().filter(|(of, _)| *of == kind).map(|(_, case)| *case).collect();
        let rows =
            cases.iter().take(CASES_MAX).map(|case| case_facts(spec.family.as_str(), &spec.suite, case));
        (!cases.is_empty()).then(|| {
            context! {
                title => reader.tongue.say(title),
                class => class(kind),
                count => cases.len(),
                rows => rows.collect::<Vec<_>>(),
                more => cases.len().saturating_sub(CASES_MAX),
            }
        })
    });
    Ok(groups.collect())
}

fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Broke | Kind::FailsNew | Kind::Still => "failed",
        Kind::Mended | Kind::New => "passed",
        Kind::Flaky | Kind::Missing | Kind::Gone => "infra",
    }
}

fn case_facts(family: &str, suite: &str, case: &TestCase) -> Value {
    context! {
        name => one_line(&case.name),
        href => super::history::link(family, suite, &case.name),
        note => clean(&case.note).chars().take(NOTE_CHARS_MAX).collect::<String>(),
    }
}
