//! What finished runs came to, looked back at: failures that were seen before, and how the cases of a suite did.

use boardhand::board::{BoardId, Family};
use boardhand::id::RunId;
use boardhand::outcome::compare::{Marks, PAST_MAX, Past, RunOfBuild, compare};
use boardhand::outcome::{CaseStatus, Counts, Outcome, TestCase, Verdict};
use boardhand::run::{Decision, LeaseRef, RunKind, Stage};
use boardhand::store::{
    AtRest, Effect, End, Fenced, Granted, HISTORY_RUNS_MAX, Lookback, MessageEnd, NewRun, OwedKind, Seen,
    Sighting, SuitePast,
};
use serde_json::json;

use super::lab::{at, lease_ref, outcome};
use super::{Lab, store_tests};

store_tests! {
    a_failure_is_seen_again_with_the_first_and_the_last_of_its_kind,
    only_failures_of_the_same_family_are_the_same,
    what_is_no_failure_of_a_build_was_never_seen,
    runs_that_end_at_once_are_counted_one_after_the_other,
    the_last_word_says_how_often_the_failure_was_seen,
    a_run_is_looked_back_at_with_what_was_new_about_it,
    a_suite_is_looked_back_at_in_the_order_of_ends_and_so_far_only,
    a_run_asked_to_end_is_not_looked_back_at,
    the_runs_of_a_build_are_found_the_newest_first,
    a_suite_s_history_goes_on_where_cases_are_not_kept_any_more,
    a_case_is_followed_through_the_runs_that_had_any,
    a_board_s_past_is_its_newest_attempts,
    what_belongs_to_a_run_goes_with_it,
    what_cannot_be_read_costs_its_run_no_more_than_that,
}

/// A run of this build ends so on the board; gives its number.
async fn ended(lab: &Lab, new: NewRun, build: &str, outcome: Outcome) -> i64 {
    let number = started(lab, new, build).await;
    let (run, lease) = on_a_board(lab, number).await;
    lab.settled(&lease, run, outcome, Decision::Finish).await;
    let _ = lab.store.lease_release(&lease, &AtRest::Yes, at(61)).await.expect("release");
    number
}

async fn started(lab: &Lab, mut new: NewRun, build: &str) -> i64 {
    build.clone_into(&mut new.spec.build);
    super::lab::number(&lab.commit(Effect::Start(vec![new])).await.answer)
}

async fn on_a_board(lab: &Lab, number: i64) -> (RunId, LeaseRef) {
    let boards = lab.store.board_list().await.expect("boards");
    let free = boards.iter().find(|board| board.lease.is_none()).expect("a free board");
    let id = lab.view(number).await.run.id;
    let granted = lab.store.lease_grant(&[lab.grant(id, 1, &free.id)], &lab.terms()).await.expect("grant");
    let [Granted::Leases(leases)] = granted.as_slice() else { panic!("{granted:?}") };
    (id, lease_ref(&leases[0]))
}

async fn seen(lab: &Lab, number: i64) -> Option<Seen> {
    lab.view(number).await.seen
}

/// How often it was seen before, and the numbers and builds of the first and the last.
async fn told(lab: &Lab, number: i64) -> (u32, Option<(i64, String)>, Option<(i64, String)>) {
    let seen = seen(lab, number).await.expect("a failure");
    let short = |sighting: Option<Sighting>| sighting.map(|s| (s.number, s.build));
    (seen.before, short(seen.first), short(seen.last))
}

async fn a_failure_is_seen_again_with_the_first_and_the_last_of_its_kind(lab: &Lab) {
    let [_] = lab.boards().await;
    let panic = || outcome(Verdict::Failed, "panic");
    let sighting = |number: i64, build: &str| Some((number, build.to_owned()));
    for (build, expect) in [
        ("build-119", (0, None, None)),
        ("build-120", (1, sighting(1, "build-119"), sighting(1, "build-119"))),
        ("build-121", (2, sighting(1, "build-119"), sighting(2, "build-120"))),
    ] {
        let number = ended(lab, lab.new_run(), build, panic()).await;
        assert_eq!(told(lab, number).await, expect, "{build}");
    }
    let first = seen(lab, 1).await.expect("a failure");
    assert_eq!(seen(lab, 3).await.expect("a failure").signature, first.signature);
    assert_eq!(first.before, 0, "what was known when it ended stays");
}

async fn only_failures_of_the_same_family_are_the_same(lab: &Lab) {
    let [_] = lab.boards().await;
    let mut elsewhere = lab.new_run();
    elsewhere.spec.family = Family::new("socB");
    ended(lab, lab.new_run(), "build-1", outcome(Verdict::Failed, "panic")).await;
    let other_family = ended(lab, elsewhere, "build-2", outcome(Verdict::Failed, "panic")).await;
    let other_cause = ended(lab, lab.new_run(), "build-3", outcome(Verdict::Failed, "oops")).await;
    let infra = ended(lab, lab.new_run(), "build-4", outcome(Verdict::Infra, "panic")).await;
    for number in [other_family, other_cause, infra] {
        assert_eq!(told(lab, number).await, (0, None, None), "#{number}");
    }
}

async fn what_is_no_failure_of_a_build_was_never_seen(lab: &Lab) {
    let [_] = lab.boards().await;
    let mut health = lab.new_run();
    health.spec.kind = RunKind::Health;
    let check = ended(lab, health, "health", outcome(Verdict::Failed, "tests-failed")).await;
    let passed = ended(lab, lab.new_run(), "build-1", outcome(Verdict::Passed, "")).await;
    let cancelled = ended(lab, lab.new_run(), "build-1", outcome(Verdict::Cancelled, "cancelled")).await;
    for number in [check, passed, cancelled] {
        assert_eq!(seen(lab, number).await, None, "#{number}");
    }
    let failed = ended(lab, lab.new_run(), "build-1", outcome(Verdict::Failed, "tests-failed")).await;
    assert_eq!(told(lab, failed).await.0, 0, "a board's check is no sighting");
}

async fn runs_that_end_at_once_are_counted_one_after_the_other(lab: &Lab) {
    let [_, _, _] = lab.boards().await;
    let mut ends = Vec::new();
    for build in ["build-1", "build-2", "build-3"] {
        let number = started(lab, lab.new_run(), build).await;
        let (run, lease) = on_a_board(lab, number).await;
        ends.push(lab.settle(&lease, run, outcome(Verdict::Failed, "panic"), Decision::Finish));
    }
    let settle = |n: usize| lab.store.run_settle(&ends[n]);
    let (a, b, c) = tokio::join!(settle(0), settle(1), settle(2));
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    let mut before = vec![told(lab, 1).await.0, told(lab, 2).await.0, told(lab, 3).await.0];
    before.sort_unstable();
    assert_eq!(before, [0, 1, 2]);
}

async fn the_last_word_says_how_often_the_failure_was_seen(lab: &Lab) {
    let [_] = lab.boards().await;
    ended(lab, lab.new_run(), "build-119", outcome(Verdict::Failed, "panic")).await;
    let infra = outcome(Verdict::Infra, "console-busy");
    let number = started(lab, lab.new_run(), "build-120").await;
    let (run, lease) = on_a_board(lab, number).await;
    lab.settled(&lease, run, infra, Decision::TryAgain { avoid: vec![] }).await;
    assert_eq!(seen(lab, number).await, None, "it is not over");
    let _ = lab.store.lease_release(&lease, &AtRest::Yes, at(61)).await.expect("release");
    let boards = lab.store.board_list().await.expect("boards");
    let lease = lab.on_board(run, 2, &boards[0].id).await;
    lab.settled(&lease, run, outcome(Verdict::Failed, "panic"), Decision::Finish).await;

    let notes = notes(lab, number).await;
    assert_eq!(notes.iter().map(|facts| facts.get("seen").is_some()).collect::<Vec<_>>(), [false, true]);
    let seen = &notes[1]["seen"];
    assert_eq!((&seen["before"], &seen["first"]["build"]), (&json!(1), &json!("build-119")));
    assert_eq!(seen["last"]["at"], json!(at(60)));
}

/// The facts of what a run's thread is told, in order.
async fn notes(lab: &Lab, run: i64) -> Vec<serde_json::Map<String, serde_json::Value>> {
    let mut facts = Vec::new();
    loop {
        let owed = lab.store.message_due(at(200), 100).await.expect("due");
        if owed.is_empty() {
            return facts;
        }
        let mut ends = Vec::new();
        for owed in owed {
            let revision = match owed.kind {
                OwedKind::Card { revision, .. } => revision,
                OwedKind::Reply { note, run: of, .. } => {
                    facts.extend((of == run).then_some(note.facts));
                    0
                }
                OwedKind::Answer { .. } => 0,
            };
            let message = format!("m{}", owed.id);
            let end = End::Sent { message, revision };
            ends.push(MessageEnd { id: owed.id, end });
        }
        lab.store.message_end(&ends, at(200)).await.expect("end");
    }
}

/// A run ends by its build, with these cases looked back at later.
async fn judged(lab: &Lab, suite: &str, build: &str, cases: &[TestCase], verdict: Verdict, end: u64) -> i64 {
    let mut new = lab.new_run();
    suite.clone_into(&mut new.spec.suite);
    let number = started(lab, new, build).await;
    let (run, lease) = on_a_board(lab, number).await;
    let past = lab.store.suite_past(&Family::new("socA"), suite).await.expect("past");
    let mut settle = lab.settle(&lease, run, outcome(verdict, "x"), Decision::Finish);
    settle.now = at(end);
    settle.lookback = Some(looked_back(number, build, cases, &past));
    assert_eq!(lab.store.run_settle(&settle).await.expect("settle"), Fenced::Done);
    let _ = lab.store.lease_release(&lease, &AtRest::Yes, at(end)).await.expect("release");
    number
}

fn looked_back(number: i64, build: &str, cases: &[TestCase], past: &SuitePast) -> Lookback {
    let this = Past { run: RunOfBuild { number, build: build.into() }, marks: Marks::of(cases) };
    Lookback { comparison: compare(&this, cases, &past.runs, past.good.clone()), marks: this.marks }
}

fn case(name: &str, status: CaseStatus) -> TestCase {
    TestCase::new(name, status, "")
}

async fn a_run_is_looked_back_at_with_what_was_new_about_it(lab: &Lab) {
    let [_] = lab.boards().await;
    let (good, bad) = ([case("ö", CaseStatus::Passed)], [case("ö", CaseStatus::Failed)]);
    assert_eq!(
        lab.store.suite_past(&Family::new("socA"), "smoke").await.expect("past"),
        SuitePast::default()
    );
    judged(lab, "smoke", "build-1", &good, Verdict::Passed, 60).await;
    judged(lab, "other", "build-2", &good, Verdict::Passed, 61).await;
    let failed = judged(lab, "smoke", "build-3", &bad, Verdict::Failed, 62).await;
    let comparison = lab.view(failed).await.comparison.expect("a comparison");
    let build_1 = Some(RunOfBuild { number: 1, build: "build-1".into() });
    assert_eq!((&comparison.base, &comparison.good), (&build_1, &build_1));
    assert_eq!(comparison.changes.expect("changes").new.names, ["ö"]);

    let past = lab.store.suite_past(&Family::new("socA"), "smoke").await.expect("past");
    assert_eq!(past.runs.iter().map(|past| past.run.number).collect::<Vec<_>>(), [failed, 1]);
    assert_eq!((past.runs[0].marks == Marks::of(&bad), past.good), (true, build_1));
    let elsewhere = lab.store.suite_past(&Family::new("socB"), "smoke").await.expect("past");
    assert_eq!(elsewhere, SuitePast::default());
}

async fn a_suite_is_looked_back_at_in_the_order_of_ends_and_so_far_only(lab: &Lab) {
    let [_] = lab.boards().await;
    let cases = [case("a", CaseStatus::Passed)];
    // The second run ends last.
    judged(lab, "smoke", "build-1", &cases, Verdict::Passed, 60).await;
    judged(lab, "smoke", "build-2", &cases, Verdict::Passed, 1_000).await;
    for n in 3..=PAST_MAX as u64 + 2 {
        judged(lab, "smoke", &format!("build-{n}"), &cases, Verdict::Failed, 60 + n).await;
    }
    // Without test cases there is nothing to look back at, but that it passed.
    let caseless = judged(lab, "smoke", "build-x", &[], Verdict::Passed, 500).await;
    let past = lab.store.suite_past(&Family::new("socA"), "smoke").await.expect("past");
    let numbers: Vec<i64> = past.runs.iter().map(|past| past.run.number).collect();
    let newest = (4..=PAST_MAX as i64 + 2).rev();
    assert_eq!(numbers, std::iter::once(2).chain(newest).collect::<Vec<_>>());
    assert_eq!(past.good.map(|run| run.number), Some(2));
    assert!(lab.view(caseless).await.comparison.is_some());
    let dir = lab.dir.as_ref().expect("a lab of its own").path();
    let kept = crate::lab::look::rows(dir, "SELECT COUNT(*) FROM outcomes WHERE cases IS NOT NULL").await;
    assert_eq!(kept, [PAST_MAX.to_string()], "older ones are thinned out");
}

async fn a_run_asked_to_end_is_not_looked_back_at(lab: &Lab) {
    let [_] = lab.boards().await;
    let number = started(lab, lab.new_run(), "build-1").await;
    let (run, lease) = on_a_board(lab, number).await;
    lab.commit(super::intake::cancel(number)).await;
    let again = Decision::TryAgain { avoid: vec![] };
    let mut settle = lab.settle(&lease, run, outcome(Verdict::Infra, "console"), again);
    let cases = [case("a", CaseStatus::Failed)];
    settle.lookback = Some(looked_back(number, "build-1", &cases, &SuitePast::default()));
    assert_eq!(lab.store.run_settle(&settle).await.expect("settle"), Fenced::Done);
    let view = lab.view(number).await;
    assert_eq!(
        (view.run.state.verdict(), view.seen, view.comparison),
        (Some(Verdict::Cancelled), None, None)
    );
    let past = lab.store.suite_past(&Family::new("socA"), "smoke").await.expect("past");
    assert_eq!(past, SuitePast::default());
}

async fn the_runs_of_a_build_are_found_the_newest_first(lab: &Lab) {
    let [_] = lab.boards().await;
    let mut elsewhere = lab.new_run();
    elsewhere.spec.family = Family::new("socB");
    ended(lab, lab.new_run(), "build-1", outcome(Verdict::Failed, "panic")).await;
    ended(lab, elsewhere, "build-1", outcome(Verdict::Infra, "console-busy")).await;
    ended(lab, lab.new_run(), "build-2", outcome(Verdict::Passed, "")).await;
    started(lab, lab.new_run(), "build-1").await;
    let found = lab.store.build_ended("build-1").await.expect("runs");
    let found: Vec<_> = found.iter().map(|run| (run.number, run.family.as_str(), run.verdict)).collect();
    assert_eq!(found, [(2, "socB", Verdict::Infra), (1, "socA", Verdict::Failed)]);
    assert_eq!(lab.store.build_ended("build-9").await.expect("runs"), []);
}

async fn a_suite_s_history_goes_on_where_cases_are_not_kept_any_more(lab: &Lab) {
    let [_] = lab.boards().await;
    let (family, cases) = (Family::new("socA"), [case("a", CaseStatus::Passed)]);
    let mut elsewhere = lab.new_run();
    elsewhere.spec.family = Family::new("socB");
    ended(lab, elsewhere, "build-1", outcome(Verdict::Infra, "console-busy")).await;
    for n in 1..=u64::from(HISTORY_RUNS_MAX) + 1 {
        judged(lab, "smoke", &format!("build-{n}"), &cases, Verdict::Failed, 60 + n).await;
    }
    let history = lab.store.suite_history(&family, "smoke", u32::MAX).await.expect("history");
    assert_eq!(history.len(), HISTORY_RUNS_MAX as usize);
    let builds: Vec<&str> = history.iter().map(|run| run.run.build.as_str()).collect();
    assert_eq!((builds[0], builds[59]), ("build-61", "build-2"));
    assert_eq!(history.iter().filter(|run| run.marks.is_some()).count(), PAST_MAX);
    let newest = &history[0];
    assert_eq!((newest.verdict, newest.cause.as_str(), newest.finished_at), (Verdict::Failed, "x", at(121)));
    assert_eq!(
        (newest.counts, newest.board.is_some(), newest.took.is_some()),
        (Counts::default(), true, true)
    );
    let few = lab.store.suite_history(&family, "smoke", 3).await.expect("history");
    assert_eq!(few.as_slice(), &history[..3]);
    assert_eq!(lab.store.suite_history(&family, "other", 3).await.expect("history"), []);

    // The stages of the attempt that is under way when it ends, each as long as it took.
    let number = started(lab, lab.new_run(), "build-s").await;
    let (run, lease) = on_a_board(lab, number).await;
    for (stage, reached) in [(Stage::Booting, 10), (Stage::Testing, 30)] {
        let done = lab.store.run_advance(&lease, stage, &[], at(reached)).await.expect("advance");
        assert_eq!(done, Fenced::Done);
    }
    let mut settle = lab.settle(&lease, run, outcome(Verdict::Failed, "x"), Decision::Finish);
    settle.now = at(500);
    assert_eq!(lab.store.run_settle(&settle).await.expect("settle"), Fenced::Done);
    let history = lab.store.suite_history(&family, &lab.view(number).await.run.spec.suite, 1).await;
    let stages: Vec<_> =
        history.expect("history")[0].stages.iter().map(|(s, took)| (*s, took.as_secs())).collect();
    assert_eq!(stages, [(Stage::Booting, 20), (Stage::Testing, 470)]);
}

async fn a_case_is_followed_through_the_runs_that_had_any(lab: &Lab) {
    let [_] = lab.boards().await;
    let family = Family::new("socA");
    for (n, status) in [(1, CaseStatus::Passed), (2, CaseStatus::Failed)] {
        let number = started(lab, lab.new_run(), &format!("build-{n}")).await;
        let (run, lease) = on_a_board(lab, number).await;
        let took = TestCase { took_us: Some(n * 1_000), ..case("\"ö' $.x", status) };
        let cases = vec![case("b", CaseStatus::Passed), took];
        let told = Outcome { cases: cases.clone(), ..outcome(Verdict::Failed, "x") };
        let mut settle = lab.settle(&lease, run, told, Decision::Finish);
        settle.now = at(60 + n);
        settle.lookback = Some(looked_back(number, &format!("build-{n}"), &cases, &SuitePast::default()));
        assert_eq!(lab.store.run_settle(&settle).await.expect("settle"), Fenced::Done);
        let _ = lab.store.lease_release(&lease, &AtRest::Yes, at(60 + n)).await.expect("release");
    }
    let suite = lab.view(1).await.run.spec.suite;
    let found = lab.store.case_history(&family, &suite, "\"ö' $.x").await.expect("history");
    let found: Vec<_> = found
        .iter()
        .map(|run| (run.run.number, run.case.as_ref().map(|case| (case.status, case.took_us))))
        .collect();
    let (failed, passed) = ((CaseStatus::Failed, Some(2_000)), (CaseStatus::Passed, Some(1_000)));
    assert_eq!(found, [(2, Some(failed)), (1, Some(passed))]);
    let none = lab.store.case_history(&family, &suite, "never-run").await.expect("history");
    assert_eq!(none.iter().filter(|run| run.case.is_none()).count(), 2);
}

async fn a_board_s_past_is_its_newest_attempts(lab: &Lab) {
    let [board] = lab.boards().await;
    let other = BoardId::new("never-used");
    for build in ["build-1", "build-2"] {
        ended(lab, lab.new_run(), build, outcome(Verdict::Failed, "panic")).await;
    }
    let number = started(lab, lab.new_run(), "build-3").await;
    on_a_board(lab, number).await;
    let past = lab.store.board_history(&board, u32::MAX).await.expect("history");
    let seen: Vec<_> = past
        .iter()
        .map(|run| {
            let ended = run.ended.as_ref().map(|(_, verdict, cause)| (*verdict, cause.as_str()));
            (run.run.build.as_str(), run.attempt, ended)
        })
        .collect();
    let failed = Some((Verdict::Failed, "panic"));
    assert_eq!(seen, [("build-3", 1, None), ("build-2", 1, failed), ("build-1", 1, failed)]);
    assert_eq!(past[1].suite, lab.view(number).await.run.spec.suite);
    assert_eq!(lab.store.board_history(&board, 1).await.expect("history"), past[..1]);
    assert_eq!(lab.store.board_history(&other, 9).await.expect("history"), []);
}

async fn what_belongs_to_a_run_goes_with_it(lab: &Lab) {
    let [_] = lab.boards().await;
    let panic = || outcome(Verdict::Failed, "panic");
    ended(lab, lab.new_run(), "build-1", panic()).await;
    let second = ended(lab, lab.new_run(), "build-2", panic()).await;
    let dir = lab.dir.as_ref().expect("a lab of its own").path();
    crate::lab::look::tamper(
        dir,
        "PRAGMA foreign_keys = ON; DELETE FROM outbox; DELETE FROM cards; DELETE FROM attempts WHERE run = 1;
         DELETE FROM runs WHERE number = 1",
    )
    .await;
    let left = crate::lab::look::rows(dir, "SELECT run FROM outcomes").await;
    assert_eq!(left, [second.to_string()]);
    assert_eq!(told(lab, second).await, (1, None, None));
    let third = ended(lab, lab.new_run(), "build-3", panic()).await;
    assert_eq!(told(lab, third).await, (2, None, Some((second, "build-2".into()))), "the count goes on");
}

async fn what_cannot_be_read_costs_its_run_no_more_than_that(lab: &Lab) {
    let [_] = lab.boards().await;
    let cases = [case("a", CaseStatus::Passed)];
    judged(lab, "smoke", "build-1", &cases, Verdict::Passed, 60).await;
    judged(lab, "smoke", "build-2", &cases, Verdict::Passed, 61).await;
    let dir = lab.dir.as_ref().expect("a lab of its own").path();
    crate::lab::look::tamper(dir, "UPDATE outcomes SET comparison = '{', cases = 'x' WHERE run = 1").await;
    let view = lab.view(1).await;
    assert_eq!((view.run.state.verdict(), view.comparison), (Some(Verdict::Passed), None));
    let past = lab.store.suite_past(&Family::new("socA"), "smoke").await.expect("past");
    assert_eq!(past.runs.iter().map(|past| past.run.number).collect::<Vec<_>>(), [2]);
    assert!(lab.view(2).await.comparison.is_some());
    assert_eq!(lab.store.census().await.expect("census").unreadable, 1);
}
