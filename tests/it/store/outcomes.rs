//! What finished runs came to, looked back at: failures that were seen before.

use boardhand::outcome::{Outcome, Verdict};
use boardhand::run::{Decision, RunKind};
use boardhand::store::{Effect, NewRun, OwedKind, Seen};
use serde_json::json;

use super::lab::{at, lease_ref, outcome};
use super::{Lab, store_tests};

store_tests! {
    a_failure_is_seen_again_with_the_first_and_the_last_of_its_kind,
    only_failures_of_the_same_family_are_the_same,
    what_is_no_failure_of_a_build_was_never_seen,
    runs_that_end_at_once_are_counted_one_after_the_other,
    the_last_word_says_how_often_the_failure_was_seen,
}

/// A run of this build ends so on the board; gives its number.
async fn ended(lab: &Lab, new: NewRun, build: &str, outcome: Outcome) -> i64 {
    let number = started(lab, new, build).await;
    let (run, lease) = on_a_board(lab, number).await;
    lab.settled(&lease, run, outcome, Decision::Finish).await;
    let rest = boardhand::store::AtRest::Yes;
    let _ = lab.store.lease_release(&lease, &rest, at(61)).await.expect("release");
    number
}

async fn started(lab: &Lab, mut new: NewRun, build: &str) -> i64 {
    build.clone_into(&mut new.spec.build);
    super::lab::number(&lab.commit(Effect::Start(vec![new])).await.answer)
}

async fn on_a_board(lab: &Lab, number: i64) -> (boardhand::id::RunId, boardhand::run::LeaseRef) {
    let boards = lab.store.board_list().await.expect("boards");
    let free = boards.iter().find(|board| board.lease.is_none()).expect("a free board");
    let id = lab.view(number).await.run.id;
    let granted = lab.store.lease_grant(&[lab.grant(id, 1, &free.id)], &lab.terms()).await.expect("grant");
    let [boardhand::store::Granted::Leases(leases)] = granted.as_slice() else { panic!("{granted:?}") };
    (id, lease_ref(&leases[0]))
}

async fn seen(lab: &Lab, number: i64) -> Option<Seen> {
    lab.view(number).await.seen
}

/// How often it was seen before, and the numbers and builds of the first and the last.
async fn told(lab: &Lab, number: i64) -> (u32, Option<(i64, String)>, Option<(i64, String)>) {
    let seen = seen(lab, number).await.expect("a failure");
    let short = |sighting: Option<boardhand::store::Sighting>| sighting.map(|s| (s.number, s.build));
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
    elsewhere.spec.family = boardhand::board::Family::new("socB");
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
    let rest = boardhand::store::AtRest::Yes;
    let _ = lab.store.lease_release(&lease, &rest, at(61)).await.expect("release");
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
            let end = boardhand::store::End::Sent { message, revision };
            ends.push(boardhand::store::MessageEnd { id: owed.id, end });
        }
        lab.store.message_end(&ends, at(200)).await.expect("end");
    }
}
