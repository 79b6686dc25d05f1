//! History: how the builds of a suite came out, which tests fail in which of them, how long they take, which come out
//! as they like, and how much of the last days each board was used. Only shows; every table has an end.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use minijinja::{Value, context};
use serde::Deserialize;

use super::html::escape;
use super::plot::{self, Paint, Points, percent};
use super::reader::Reader;
use super::words::Tongue;
use crate::board::{BoardId, Family, Inventory};
use crate::chat::plain::one_line;
use crate::door::Door;
use crate::outcome::compare::Flaky;
use crate::outcome::{CaseStatus, Verdict};
use crate::run::Stage;
use crate::store::{CaseRun, HISTORY_RUNS_MAX, Result, SuiteRun};

/// How far back the boards' use and the flaky tests are looked at.
const LOOKS_BACK: Duration = Duration::from_secs(7 * 86_400);
/// Most suites whose newest runs are shown; those beyond are named.
const SUITES_MAX: usize = 40;
/// Of each of them, so many runs.
const STRIP_RUNS: u32 = 12;
/// Most boards that are drawn, the most used first; the table has all.
const BOARDS_MAX: usize = 25;
/// Most flaky tests that are named.
const FLAKY_MAX: usize = 50;
/// Most tests of the grid, those that failed most first; a filter finds the others.
const GRID_ROWS_MAX: usize = 200;

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    family: String,
    #[serde(default)]
    suite: String,
    /// Only tests with these words in their names.
    #[serde(default)]
    q: String,
    /// This test, through the runs.
    #[serde(default)]
    test: String,
}

/// The page: of one suite, or of all.
pub(super) async fn history(
    State(door): State<Arc<Door>>,
    reader: Reader,
    Query(asked): Query<Asked>,
) -> Response {
    if reader.visitor.is_none() {
        return reader.to_sign_in_for(&address(&asked.family, &asked.suite, &asked.test));
    }
    let (name, facts) = if asked.family.is_empty() || asked.suite.is_empty() {
        ("history.html", overview(&door, reader.tongue).await)
    } else {
        ("suite.html", suite(&door, &asked, reader.tongue).await)
    };
    match facts {
        Ok(facts) => reader.page(StatusCode::OK, name, facts),
        Err(error) => reader.not_now(&error),
    }
}

/// Where a suite's history is, or a test's in it.
fn address(family: &str, suite: &str, test: &str) -> String {
    if family.is_empty() || suite.is_empty() {
        return "/history".into();
    }
    const BEGIN: &str = "/history?";
    let mut query = form_urlencoded::Serializer::for_suffix(BEGIN.to_owned(), BEGIN.len());
    query.append_pair("family", family).append_pair("suite", suite);
    if !test.is_empty() {
        query.append_pair("test", test);
    }
    query.finish()
}

/// The same as the page takes it.
pub(super) fn link(family: &str, suite: &str, test: &str) -> Value {
    Value::from_safe_string(escape(&address(family, suite, test)))
}

async fn overview(door: &Door, tongue: Tongue) -> Result<Value> {
    let lab = door.handler.inventory.now();
    let mut suites = Vec::new();
    for (i, (family, suite)) in suites_of(&lab).into_iter().enumerate() {
        let runs = if i < SUITES_MAX {
            door.store.suite_history(&family, &suite, STRIP_RUNS).await?
        } else {
            vec![]
        };
        let passed = runs.iter().filter(|run| run.verdict == Verdict::Passed).count();
        suites.push(context! {
            family => family.as_str(),
            suite => suite.as_str(),
            href => link(family.as_str(), &suite, ""),
            runs => runs.iter().rev().map(run_facts).collect::<Vec<_>>(),
            passed,
        });
    }
    let now = door.clock.now();
    let past = door.store.time_past(now - LOOKS_BACK, now).await?;
    let (used, boards, undrawn) = use_of_boards(&lab, past.used, tongue);
    let flaky = flaky_facts(&past.flaky);
    Ok(context! { suites, flaky, used, boards, undrawn, at => "history" })
}

/// Each flaky test once, as its newest run had it.
fn flaky_facts(past: &[(Family, String, Flaky)]) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    let each = past.iter().filter(|(family, suite, case)| seen.insert((family, suite, &case.name)));
    let facts = each.take(FLAKY_MAX).map(|(family, suite, case)| {
        context! {
            family => family.as_str(),
            suite,
            test => one_line(&case.name),
            href => link(family.as_str(), suite, &case.name),
            differed => case.differed,
            of => case.of,
        }
    });
    facts.collect()
}

/// How much of the time each board was used: as a plot, as a table, and how many the plot leaves out.
fn use_of_boards(
    lab: &Inventory,
    used: Vec<(BoardId, Duration)>,
    tongue: Tongue,
) -> (Value, Vec<Value>, usize) {
    let used: BTreeMap<_, _> = used.into_iter().collect();
    let share = |board| used.get(board).copied().unwrap_or_default().as_secs_f64() / LOOKS_BACK.as_secs_f64();
    let mut boards: Vec<(String, f64)> =
        lab.boards.keys().map(|board| (board.as_str().to_owned(), share(board).min(1.0))).collect();
    boards.sort_by(|(one, less), (other, more)| more.total_cmp(less).then_with(|| one.cmp(other)));
    let drawn = &boards[..boards.len().min(BOARDS_MAX)];
    let said = match (boards.first(), boards.last()) {
        (Some((most, high)), Some((least, low))) => {
            let facts =
                [("high", &*percent(*high)), ("most", most), ("low", &percent(*low)), ("least", least)];
            tongue.fill(
                "Share of the last 7 days in which each board was in use: from {high} on {most} to {low} on {least}.",
                &facts,
            )
        }
        _ => tongue.say("There are no boards.").into(),
    };
    let table = boards.iter().map(|(board, share)| context! { board, share => percent(*share) });
    let plot = Value::from_safe_string(plot::shares(&said, drawn));
    (plot, table.collect(), boards.len() - drawn.len())
}

/// Every suite that boards.yaml has.
fn suites_of(lab: &Inventory) -> Vec<(Family, String)> {
    let suites = lab
        .families
        .iter()
        .flat_map(|(family, settings)| settings.suites.keys().map(|suite| (family.clone(), suite.clone())));
    suites.collect()
}

fn run_facts(run: &SuiteRun) -> Value {
    context! {
        number => run.run.number,
        build => one_line(&run.run.build),
        verdict => run.verdict.as_str(),
        mark => mark_of(run.verdict),
        cause => run.cause.as_str(),
        board => run.board.as_ref().map(|board| board.as_str()),
        at => run.finished_at.rfc3339(),
        at_said => run.finished_at.to_minute(),
        took => run.took.map(clock),
        counts => context! { passed => run.counts.passed, failed => run.counts.failed, skipped => run.counts.skipped },
        stages => run.stages.iter().map(|(stage, took)| context! { stage => stage.as_str(), took => clock(*took) }).collect::<Vec<_>>(),
    }
}

/// One character for how a run ended; its colour is never alone.
fn mark_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "✓",
        Verdict::Failed => "✗",
        Verdict::Infra => "!",
        Verdict::TimedOut => "⧖",
        Verdict::Cancelled => "–",
    }
}

fn clock(took: Duration) -> String {
    let seconds = took.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", took.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        _ => format!("{}:{:02} min", seconds / 60, seconds % 60),
    }
}

async fn suite(door: &Door, asked: &Asked, tongue: Tongue) -> Result<Value> {
    let family = Family::new(asked.family.as_str());
    let runs = door.store.suite_history(&family, &asked.suite, HISTORY_RUNS_MAX).await?;
    let test = if asked.test.is_empty() {
        None
    } else {
        Some(case_facts(
            tongue,
            &asked.test,
            door.store.case_history(&family, &asked.suite, &asked.test).await?,
        ))
    };
    let names = names(door, &runs).await?;
    Ok(context! {
        family => asked.family.as_str(),
        suite => asked.suite.as_str(),
        href => link(&asked.family, &asked.suite, ""),
        compare => compared(asked, "", ""),
        q => asked.q.as_str(),
        builds => builds(asked, &runs, tongue),
        durations => durations(&runs, tongue),
        runs => runs.iter().map(run_facts).collect::<Vec<_>>(),
        grid => grid(asked, &runs, names),
        test,
        at => "history",
    })
}

/// The names of a suite's tests, in the order in which they ran, each once: those of the newest run, which may have ended
/// early, and those of the run that had most.
async fn names(door: &Door, runs: &[SuiteRun]) -> Result<Vec<String>> {
    let known = || runs.iter().filter(|run| run.marks.is_some());
    let had = |run: &&SuiteRun| run.counts.passed + run.counts.failed + run.counts.skipped;
    // Of as many, `max_by_key` takes the last.
    let largest = known().rev().max_by_key(had).map(|run| run.run.number);
    let newest = known().next().map(|run| run.run.number).filter(|newest| largest != Some(*newest));
    let (mut names, mut seen) = (Vec::new(), HashSet::new());
    for run in largest.into_iter().chain(newest) {
        let view = door.store.run_view(run).await?;
        let outcome = view.and_then(|view| view.attempts.into_iter().next_back()?.outcome);
        let cases = outcome.into_iter().flat_map(|outcome| outcome.cases).map(|case| case.name);
        names.extend(cases.filter(|name| seen.insert(name.clone())));
    }
    Ok(names)
}

/// A build's runs, added up.
#[derive(Default)]
struct OfBuild {
    name: String,
    runs: u32,
    good: u32,
    passed: u32,
    failed: u32,
    verdicts: Vec<Verdict>,
}

impl OfBuild {
    /// How many of its tests passed; of one without tests, how many of its runs. Nothing where only the lab failed.
    fn rate(&self) -> Option<f64> {
        let of = |good: u32, bad: u32| f64::from(good) / f64::from(good + bad);
        let judged = self.verdicts.iter().any(|verdict| matches!(verdict, Verdict::Passed | Verdict::Failed));
        match self.passed + self.failed {
            0 => judged.then(|| of(self.good, self.runs - self.good)),
            _ => Some(of(self.passed, self.failed)),
        }
    }
}

/// The builds from the oldest on, as a plot and a table.
fn builds(asked: &Asked, runs: &[SuiteRun], tongue: Tongue) -> Value {
    let mut builds: Vec<OfBuild> = Vec::new();
    for run in runs.iter().rev() {
        let known = builds.iter().position(|build| build.name == run.run.build);
        let at = known.unwrap_or_else(|| {
            builds.push(OfBuild { name: run.run.build.clone(), ..OfBuild::default() });
            builds.len() - 1
        });
        let build = &mut builds[at];
        build.runs += 1;
        build.good += u32::from(run.verdict == Verdict::Passed);
        build.passed = build.passed.saturating_add(run.counts.passed);
        build.failed = build.failed.saturating_add(run.counts.failed);
        build.verdicts.push(run.verdict);
    }
    let labels: Vec<String> = builds.iter().map(|build| build.name.clone()).collect();
    let dot = |build: &OfBuild| {
        let paint = if build.good == build.runs { Paint::Good } else { Paint::Bad };
        build.rate().map(|rate| (rate, paint))
    };
    let values: Vec<_> = builds.iter().map(dot).collect();
    let mut rates = values.iter().flatten().map(|(rate, _)| *rate);
    let said = match (labels.first(), labels.last()) {
        (Some(first), Some(last)) => {
            let low = percent(rates.clone().fold(1.0, f64::min));
            let newest = rates.next_back().map_or_else(|| tongue.say("not known").into(), percent);
            let (n, first, last) = (labels.len().to_string(), one_line(first), one_line(last));
            let facts = [("n", &*n), ("first", &first), ("last", &last), ("low", &low), ("newest", &newest)];
            tongue.fill(
                "Share of tests that passed, of {n} builds from {first} to {last}: lowest {low}, the newest {newest}.",
                &facts,
            )
        }
        _ => tongue.say("No build has been tested.").into(),
    };
    let points = Points { said: &said, labels: &labels, top: 1.0, unit: &percent };
    let plot = plot::line(&points, &values);
    let before = builds.iter().rev().skip(1).map(|build| Some(build.name.as_str())).chain([None]);
    let rows = builds.iter().rev().zip(before).map(|(build, before)| {
        context! {
            compare => before.map(|before| compared(asked, before, &build.name)),
            name => one_line(&build.name), runs => build.runs, good => build.good, passed => build.passed,
            failed => build.failed, rate => build.rate().map(percent),
        }
    });
    context! { plot => Value::from_safe_string(plot), rows => rows.collect::<Vec<_>>() }
}

/// Where two builds of a suite stand side by side.
fn compared(asked: &Asked, from: &str, to: &str) -> Value {
    const BEGIN: &str = "/compare?";
    let mut query = form_urlencoded::Serializer::for_suffix(BEGIN.to_owned(), BEGIN.len());
    query.append_pair("from", from).append_pair("to", to);
    query.append_pair("family", &asked.family).append_pair("suite", &asked.suite);
    Value::from_safe_string(escape(&query.finish()))
}

/// What each stage is drawn in, where there are any; a run whose events are not kept any more is one piece.
const STAGES: [(Stage, Paint); 6] = [
    (Stage::Leased, Paint::Line),
    (Stage::Powering, Paint::Warn),
    (Stage::Booting, Paint::Held),
    (Stage::Deploying, Paint::Good),
    (Stage::Testing, Paint::Busy),
    (Stage::Collecting, Paint::Quiet),
];

/// How long runs took, from the oldest on, stage on stage.
fn durations(runs: &[SuiteRun], tongue: Tongue) -> Value {
    let paint =
        |stage: Stage| STAGES.iter().find(|(of, _)| *of == stage).map_or(Paint::Quiet, |(_, paint)| *paint);
    let bar = |run: &SuiteRun| -> Vec<(f64, Paint)> {
        match run.stages.as_slice() {
            [] => run.took.iter().map(|took| (took.as_secs_f64(), Paint::Quiet)).collect(),
            stages => stages.iter().map(|(stage, took)| (took.as_secs_f64(), paint(*stage))).collect(),
        }
    };
    let bars: Vec<_> = runs.iter().rev().map(bar).collect();
    let labels: Vec<String> = runs.iter().rev().map(|run| format!("#{}", run.run.number)).collect();
    let longest = bars.iter().map(|bar| bar.iter().map(|(took, _)| took).sum()).fold(0.0, f64::max);
    let said = tongue.fill(
        "How long each of {n} runs took, stage by stage; the longest {longest}.",
        &[("n", &runs.len().to_string()), ("longest", &clock(Duration::from_secs_f64(longest)))],
    );
    let unit = |seconds: f64| clock(Duration::from_secs_f64(seconds.max(0.0)));
    let points = Points { said: &said, labels: &labels, top: longest.max(0.1) * 1.05, unit: &unit };
    let plot = plot::stacks(&points, &bars);
    let shown = STAGES
        .iter()
        .filter(|(stage, _)| runs.iter().any(|run| run.stages.iter().any(|(of, _)| of == stage)));
    let legend = shown.map(|(stage, paint)| context! { stage => stage.as_str(), paint => paint.name() });
    context! { plot => Value::from_safe_string(plot), legend => legend.collect::<Vec<_>>() }
}

/// How a test ended in a run, as a cell of the grid: a mark, a word, and a class.
fn cell(run: &SuiteRun, test: &str) -> (&'static str, &'static str) {
    match (run.marks.as_ref().map(|marks| marks.of_case(test)), run.verdict) {
        (Some(Some(CaseStatus::Passed)), _) => ("✓", "passed"),
        (Some(Some(CaseStatus::Failed)), _) => ("✗", "failed"),
        (Some(Some(CaseStatus::Skipped)), _) => ("–", "skipped"),
        (Some(Some(CaseStatus::ExpectedFailure)), _) => ("≈", "expected"),
        (None, Verdict::Infra) => ("!", "infra"),
        (Some(None) | None, _) => ("", "none"),
    }
}

/// Tests by builds: those that failed most in front, then as they ran.
fn grid(asked: &Asked, runs: &[SuiteRun], names: Vec<String>) -> Value {
    // What is older than the oldest run whose tests are known has nothing to show.
    let known = runs.iter().rposition(|run| run.marks.is_some()).map_or(0, |last| last + 1);
    let columns: Vec<&SuiteRun> =
        runs[..known].iter().filter(|run| run.marks.is_some() || run.verdict == Verdict::Infra).collect();
    let words: Vec<String> = asked.q.to_lowercase().split_whitespace().map(str::to_owned).collect();
    let mut found: Vec<String> = names;
    found.retain(|name| {
        let name = name.to_lowercase();
        words.iter().all(|word| name.contains(word.as_str()))
    });
    let failures = |name: &String| columns.iter().filter(|run| cell(run, name).1 == "failed").count();
    found.sort_by_cached_key(|name| std::cmp::Reverse(failures(name)));
    let more = found.len().saturating_sub(GRID_ROWS_MAX);
    let rows = found.iter().take(GRID_ROWS_MAX).map(|name| {
        let cells = columns.iter().map(|run| {
            let (mark, word) = cell(run, name);
            context! { mark, word, run => run.run.number }
        });
        context! {
            name => one_line(name),
            href => link(&asked.family, &asked.suite, name),
            cells => cells.collect::<Vec<_>>(),
        }
    });
    let rows: Vec<Value> = rows.collect();
    context! { columns => columns.iter().map(|run| run_facts(run)).collect::<Vec<_>>(), rows, more }
}

/// One test through the runs: how it ended, how long it took, what it measured.
fn case_facts(tongue: Tongue, name: &str, runs: Vec<CaseRun>) -> Value {
    let took = |run: &CaseRun| run.case.as_ref().and_then(|case| case.took_us).map(|us| us as f64 / 1e6);
    let labels: Vec<String> = runs.iter().rev().map(|run| run.run.build.clone()).collect();
    let values: Vec<_> = runs
        .iter()
        .rev()
        .map(|run| {
            let failed = run.case.as_ref().is_some_and(|case| case.status == CaseStatus::Failed);
            took(run).map(|took| (took, if failed { Paint::Bad } else { Paint::Good }))
        })
        .collect();
    let timed = values.iter().flatten().count();
    let longest = values.iter().flatten().map(|(took, _)| *took).fold(0.0, f64::max);
    let (n, name_said, most) = (timed.to_string(), one_line(name), clock(Duration::from_secs_f64(longest)));
    let said = tongue.fill(
        "How long {test} took in {n} runs; the longest {longest}.",
        &[("test", &name_said), ("n", &n), ("longest", &most)],
    );
    let unit = |seconds: f64| format!("{seconds:.3} s");
    let points = Points { said: &said, labels: &labels, top: longest.max(0.001) * 1.1, unit: &unit };
    let plot = (timed > 0).then(|| Value::from_safe_string(plot::line(&points, &values)));
    let rows = runs.iter().map(|run| {
        let case = run.case.as_ref();
        let status = case.map(|case| match case.status {
            CaseStatus::Passed => "passed",
            CaseStatus::Failed => "failed",
            CaseStatus::Skipped => "skipped",
            CaseStatus::ExpectedFailure => "expected failure",
        });
        let measured = case.and_then(|case| case.measurement.as_ref());
        context! {
            number => run.run.number,
            build => one_line(&run.run.build),
            status,
            took => took(run).map(|took| format!("{took:.3} s")),
            measured => measured.map(|m| one_line(&format!("{} {}", m.value, m.unit))),
        }
    });
    context! { name => one_line(name), plot, rows => rows.collect::<Vec<_>>() }
}
