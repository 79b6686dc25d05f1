//! Deliveries: committed whole, once, however often they come.

use std::collections::BTreeSet;

use boardhand::board::plan::PowerAction;
use boardhand::chat::Place;
use boardhand::id::MessageId;
use boardhand::outcome::Verdict;
use boardhand::run::{Decision, Request, RunState};
use boardhand::store::{Committed, Effect, Intake, OwedKind, StoreError};

use super::lab::{T0, at, channel, effected, li, note, number, outcome, via};
use super::{Lab, store_tests};

store_tests! {
    a_repeat_gets_the_same_answer_and_has_no_second_effect,
    the_same_delivery_fifty_times_at_once_is_one_run,
    numbers_are_given_without_gaps_to_fresh_deliveries_only,
    one_command_may_start_several_runs,
    a_forgotten_delivery_is_fresh_again,
    an_answer_that_is_not_in_the_acknowledgement_is_owed,
    another_end_of_the_effect_has_another_answer,
    ten_clicks_of_one_button_retry_once,
    a_typed_retry_always_retries,
    a_waiting_run_is_cancelled_at_once,
    a_run_on_a_board_is_asked_to_end,
    to_cancel_outweighs_to_power_cycle,
    a_power_request_is_owed_until_it_is_answered,
}

async fn a_repeat_gets_the_same_answer_and_has_no_second_effect(lab: &Lab) {
    let intake = lab.intake(Effect::Start(vec![lab.new_run()]));
    let first = lab.store.commit(intake.clone()).await.expect("first");
    let second = lab.store.commit(intake).await.expect("second");
    assert!(first.fresh && !second.fresh);
    assert_eq!(first.answer, second.answer);
    assert_eq!(first.answer.facts["said"], "by the caller");
    assert_eq!(first.answer.facts["effected"], "done");
    assert_eq!(first.answer.facts["numbers"], serde_json::json!([1]));
    assert_eq!(lab.store.census().await.expect("census").queued, 1);
}

async fn the_same_delivery_fifty_times_at_once_is_one_run(lab: &Lab) {
    let intake = lab.intake(Effect::Start(vec![lab.new_run()]));
    let committed = commit_all(lab, vec![intake; 50]).await;
    assert_eq!(committed.iter().filter(|committed| committed.fresh).count(), 1);
    assert!(committed.windows(2).all(|pair| pair[0].answer == pair[1].answer));
    assert_eq!(lab.store.census().await.expect("census").queued, 1);
}

async fn numbers_are_given_without_gaps_to_fresh_deliveries_only(lab: &Lab) {
    let fresh: Vec<Intake> = (0..300).map(|_| lab.intake(Effect::Start(vec![lab.new_run()]))).collect();
    let twice = fresh.iter().chain(&fresh).cloned().collect();
    let committed = commit_all(lab, twice).await;
    let numbers: BTreeSet<i64> = committed.iter().map(|committed| number(&committed.answer)).collect();
    assert_eq!(numbers, (1..=300).collect());
}

async fn one_command_may_start_several_runs(lab: &Lab) {
    let committed = lab.commit(Effect::Start(vec![lab.new_run(), lab.new_run(), lab.new_run()])).await;
    assert_eq!(committed.answer.facts["numbers"], serde_json::json!([1, 2, 3]));
    assert_eq!(number(&committed.answer), 1);
    assert_eq!(lab.view(3).await.run.requested_by, li());
    assert_eq!(lab.store.census().await.expect("census").queued, 3);
}

async fn a_forgotten_delivery_is_fresh_again(lab: &Lab) {
    let intake = lab.intake(Effect::None);
    assert!(lab.store.commit(intake.clone()).await.expect("commit").fresh);
    assert_eq!(lab.store.delivery_forget(T0).await.expect("forget"), 0);
    assert!(!lab.store.commit(intake.clone()).await.expect("commit").fresh);
    assert_eq!(lab.store.delivery_forget(at(1)).await.expect("forget"), 1);
    assert!(lab.store.commit(intake).await.expect("commit").fresh);
}

async fn an_answer_that_is_not_in_the_acknowledgement_is_owed(lab: &Lab) {
    let intake = Intake { answer_via: Some(via()), ..lab.intake(Effect::None) };
    let committed = lab.store.commit(intake.clone()).await.expect("commit");
    lab.store.commit(intake).await.expect("repeat");
    let owed = lab.store.message_due(T0, 10).await.expect("due");
    let [owed] = owed.as_slice() else { panic!("{owed:?}") };
    assert_eq!(owed.kind, OwedKind::Answer { via: via(), note: committed.answer });
}

async fn another_end_of_the_effect_has_another_answer(lab: &Lab) {
    let effect = Effect::PowerCycle { run: 99, attempt_at: T0, by: li() };
    let intake = Intake { instead: vec![("no-such-run", note("refused"))], ..lab.intake(effect) };
    let committed = lab.store.commit(intake).await.expect("commit");
    assert_eq!(committed.answer.template, "refused");
    assert_eq!(number(&committed.answer), 99);
}

async fn ten_clicks_of_one_button_retry_once(lab: &Lab) {
    let (old, _) = finished(lab).await;
    let clicks = (0..10).map(|_| {
        let (once, run) = (Some("1:3".to_owned()), Box::new(lab.new_run()));
        lab.intake(Effect::Retry { of: old, once, run, note: note("run-retried") })
    });
    let committed = commit_all(lab, clicks.collect()).await;
    let done: Vec<_> = committed.iter().filter(|committed| effected(committed) == "done").collect();
    assert_eq!(done.len(), 1);
    assert!(committed.iter().all(|committed| number(&committed.answer) == 2));
    assert_eq!(committed.iter().filter(|committed| effected(committed) == "already-retried").count(), 9);
    assert_eq!(lab.view(old).await.retried_as, [(2, li())]);
    assert_eq!(lab.view(2).await.run.retry_of, Some(old));
}

async fn a_typed_retry_always_retries(lab: &Lab) {
    let (old, _) = finished(lab).await;
    let generation = lab.view(old).await.generation;
    for expected in [2, 3] {
        let run = Box::new(lab.new_run());
        let committed =
            lab.commit(Effect::Retry { of: old, once: None, run, note: note("run-retried") }).await;
        assert_eq!(number(&committed.answer), expected);
    }
    assert_eq!(lab.view(old).await.generation, generation + 2);
}

async fn a_waiting_run_is_cancelled_at_once(lab: &Lab) {
    let (number, _) = lab.waiting().await;
    let first = lab.commit(cancel(number)).await;
    assert_eq!(effected(&first), "done");
    let view = lab.view(number).await;
    let RunState::Finished { outcome, attempt: 0, .. } = &view.run.state else {
        panic!("{:?}", view.run.state)
    };
    assert_eq!(outcome.verdict, Verdict::Cancelled);
    assert_eq!(effected(&lab.commit(cancel(number)).await), "already-finished");
    assert_eq!(lab.view(number).await, view);
    assert_eq!(effected(&lab.commit(cancel(77)).await), "no-such-run");
}

async fn a_run_on_a_board_is_asked_to_end(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, _, lease) = lab.running(&board).await;
    assert_eq!(effected(&lab.commit(cancel(number)).await), "asked");
    assert_eq!(effected(&lab.commit(cancel(number)).await), "asked");
    let asked = lab.store.run_requests(lab.instance).await.expect("requests");
    assert_eq!(asked, [(lease, Request::Cancel { by: li() })]);
    let cycle = |run, attempt_at| Effect::PowerCycle { run, attempt_at, by: li() };
    assert_eq!(effected(&lab.commit(cycle(77, T0)).await), "no-such-run");
    let earlier = lab.began(number).await - std::time::Duration::from_micros(1);
    assert_eq!(effected(&lab.commit(cycle(number, earlier)).await), "other-attempt");
    let (waiting, _) = lab.waiting().await;
    assert_eq!(effected(&lab.commit(cycle(waiting, T0)).await), "not-on-board");
}

async fn to_cancel_outweighs_to_power_cycle(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, _, _) = lab.running(&board).await;
    let cycle = Effect::PowerCycle { run: number, attempt_at: lab.began(number).await, by: li() };
    lab.commit(cycle.clone()).await;
    assert_eq!(lab.view(number).await.run.request, Some(Request::PowerCycle { by: li() }));
    lab.commit(cancel(number)).await;
    lab.commit(cycle).await;
    assert_eq!(lab.view(number).await.run.request, Some(Request::Cancel { by: li() }));
}

async fn a_power_request_is_owed_until_it_is_answered(lab: &Lab) {
    let [board] = lab.boards().await;
    let id = MessageId::new(&lab.ids, T0);
    lab.commit(Effect::Errand {
        id,
        board: board.clone(),
        action: PowerAction::Cycle,
        via: via(),
        over: None,
        once: None,
    })
    .await;
    let due = lab.store.errand_due(10).await.expect("due");
    let [errand] = due.as_slice() else { panic!("{due:?}") };
    assert_eq!((errand.id, &errand.board, &errand.action), (id, &board, &PowerAction::Cycle));
    assert_eq!((&errand.by, &errand.via, errand.asked_at), (&li(), &via(), T0));
    for _ in 0..2 {
        lab.store.errand_done(id, &note("power-done"), None, at(5)).await.expect("done");
    }
    assert_eq!(lab.store.errand_due(10).await.expect("due"), []);
    let owed = lab.store.message_due(at(5), 10).await.expect("due");
    let [owed] = owed.as_slice() else { panic!("{owed:?}") };
    assert_eq!(owed.kind, OwedKind::Answer { via: via(), note: note("power-done") });
}

pub(super) fn cancel(run: i64) -> Effect {
    Effect::Cancel {
        run,
        by: li(),
        outcome: outcome(Verdict::Cancelled, "cancelled"),
        note: note("run-cancelled"),
    }
}

/// A finished run, and the place of its card.
async fn finished(lab: &Lab) -> (i64, Place) {
    let [board] = lab.boards().await;
    let (number, id, lease) = lab.running(&board).await;
    lab.settled(&lease, id, outcome(Verdict::Failed, "panic"), Decision::Finish).await;
    (number, channel())
}

/// Commits all at once.
pub(super) async fn commit_all(lab: &Lab, intakes: Vec<Intake>) -> Vec<Committed> {
    let commits = intakes.into_iter().map(|intake| lab.store.commit(intake));
    let committed: Result<Vec<_>, StoreError> =
        futures_util::future::join_all(commits).await.into_iter().collect();
    committed.expect("commit")
}
