//! A run's life: advancing, settling, being lost, being listed.

use boardhand::board::BoardId;
use boardhand::chat::{Actor, Place};
use boardhand::id::InstanceId;
use boardhand::outcome::{CaseStatus, Counts, TestCase, Verdict};
use boardhand::run::transition::{LOST_ATTEMPTS_MAX, WORKER_LOST};
use boardhand::run::{Carrying, Decision, Progress, Request, RunState, Stage};
use boardhand::store::{
    Effect, End, Fenced, Health, Lapsed, MessageEnd, Owed, OwedKind, RunFilter, Telling, Told,
};

use super::intake::cancel;
use super::lab::{T0, at, channel, counted, effected, li, note, outcome};
use super::{Lab, store_tests};

store_tests! {
    a_run_is_withdrawn_only_while_it_waits,
    a_run_reads_back_as_it_was_asked_for,
    something_new_is_told_in_a_stage_and_a_stage_is_told_once,
    progress_shows_on_the_card_and_ends_with_the_attempt,
    the_steps_of_a_run_are_read_in_order_and_from_any_of_them_on,
    a_run_is_told_once_nothing_of_it_is_owed,
    an_outcome_is_committed_whole,
    test_cases_are_kept_in_the_view_and_left_out_of_lists,
    an_infra_attempt_makes_the_run_wait_again,
    a_lost_attempt_makes_the_run_wait_again_and_its_thread_hears_it,
    a_lease_that_is_finalizing_only_lapses,
    a_run_that_loses_too_many_attempts_is_finished,
    a_run_asked_to_end_is_not_requeued_when_its_attempt_is_lost,
    a_run_asked_to_end_is_not_tried_on_another_board,
    a_request_to_power_cycle_ends_with_its_attempt,
    cancel_and_grant_at_once_leave_one_of_two_ends,
    cancel_and_settle_at_once_leave_one_outcome,
    runs_are_listed_by_filter,
    a_thread_leads_to_its_run,
    what_waits_of_a_person_is_counted,
}

async fn a_run_reads_back_as_it_was_asked_for(lab: &Lab) {
    let mut new = lab.new_run();
    new.avoid = vec![BoardId::new("soc-a-007")];
    new.spec.selector.tags.insert("ddr".into(), "8g'; \"x\" ü".into());
    let asked = new.clone();
    lab.commit(Effect::Start(vec![new])).await;
    let view = lab.view(1).await;
    assert_eq!((view.run.id, &view.run.spec, &view.run.requested_by), (asked.id, &asked.spec, &li()));
    assert_eq!((&view.run.origin, view.run.created_at, view.generation), (&channel(), T0, 1));
    assert_eq!(view.run.state, RunState::Queued { since: T0, attempt: 1, avoid: asked.avoid });
    assert!(lab.store.run_view(2).await.expect("view").is_none());
}

async fn something_new_is_told_in_a_stage_and_a_stage_is_told_once(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, id, lease) = lab.running(&board).await;
    let owed = async || lab.store.census().await.expect("census").owed;
    let before = owed().await;
    for _ in 0..2 {
        let notes = [note("run-testing")];
        let advanced = lab.store.run_advance(&lease, Stage::Testing, &notes, at(5)).await.expect("advance");
        assert_eq!((advanced, owed().await - before), (Fenced::Done, 1));
    }
    let news = note("run-first-failure");
    for _ in 0..2 {
        let told = lab.store.run_tell(&lease, 1, &news, at(6)).await.expect("tell");
        assert_eq!((told, owed().await - before), (Fenced::Done, 2));
    }
    let _ = lab.store.run_tell(&lease, 2, &news, at(7)).await.expect("tell");
    let _ = lab.store.run_tell(&lease, 1, &news, at(8)).await.expect("late");
    assert_eq!(owed().await - before, 3, "each thing is told once");
    assert_eq!(lab.view(number).await.run.state.word(), "testing");
    lab.settled(&lease, id, outcome(Verdict::Failed, "tests-failed"), Decision::Finish).await;
    assert_eq!(lab.store.run_tell(&lease, 2, &news, at(61)).await.expect("tell"), Fenced::Stale);
}

async fn progress_shows_on_the_card_and_ends_with_the_attempt(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, id, lease) = lab.running(&board).await;
    let carrying = Carrying { name: "Image".into(), to_board: true, to_us: false, done: 10, bytes: 20 };
    let progress =
        Progress { carrying: Some(carrying), ..counted(Counts { passed: 3, failed: 1, skipped: 0 }) };
    let before = lab.view(number).await.generation;
    assert_eq!(lab.store.run_progress(&lease, &progress, at(5)).await.expect("progress"), Fenced::Done);
    let view = lab.view(number).await;
    assert_eq!((view.progress, view.generation), (progress, before + 1));
    lab.settled(&lease, id, outcome(Verdict::Infra, "console"), Decision::TryAgain { avoid: vec![] }).await;
    assert_eq!(lab.view(number).await.progress, Progress::default());
}

async fn the_steps_of_a_run_are_read_in_order_and_from_any_of_them_on(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, id, lease) = lab.running(&board).await;
    let _ = lab.store.run_advance(&lease, Stage::Testing, &[], at(5)).await.expect("advance");
    lab.settled(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish).await;
    let (other, _) = lab.waiting().await;
    let steps = async |after, limit| lab.store.run_steps(number, after, limit).await.expect("steps");
    let all = steps(0, 100).await;
    let kinds: Vec<&str> = all.iter().map(|step| step.kind.as_str()).collect();
    assert_eq!(kinds, ["accepted", "granted", "advanced", "settled"]);
    let advanced = &all[2];
    assert_eq!((advanced.at, advanced.attempt, advanced.stage.as_deref()), (at(5), Some(1), Some("testing")));
    assert_eq!(advanced.board, Some(board));
    assert_eq!(steps(all[0].seq, 2).await, all[1..3]);
    assert_eq!(steps(all[3].seq, 2).await, []);
    assert_eq!(lab.store.run_steps(other, 0, 9).await.expect("steps").len(), 1, "and of no other run");
}

async fn a_run_is_told_once_nothing_of_it_is_owed(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, id, lease) = lab.running(&board).await;
    let told = async || lab.store.run_told(number).await.expect("told");
    assert_eq!(told().await, Telling { owed: true, last: None });
    lab.settled(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish).await;
    // The card with its result, and then what stands in its thread.
    loop {
        let due = lab.store.message_due(at(500), 10).await.expect("due");
        if due.is_empty() {
            break;
        }
        let sent = |owed: &Owed| {
            let revision = if let OwedKind::Card { revision, .. } = owed.kind { revision } else { 0 };
            MessageEnd { id: owed.id, end: End::Sent { message: format!("m{}", owed.id), revision } }
        };
        let ends: Vec<MessageEnd> = due.iter().map(sent).collect();
        lab.store.message_end(&ends, at(20)).await.expect("end");
    }
    assert_eq!(told().await, Telling { owed: false, last: Some(at(20)) });
    let none = lab.store.run_told(999).await.expect("told");
    assert_eq!(none, Telling { owed: false, last: None });
}

async fn an_outcome_is_committed_whole(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, id, lease) = lab.running(&board).await;
    let failed = outcome(Verdict::Failed, "panic");
    let generation = lab.view(number).await.generation;
    lab.settled(&lease, id, failed.clone(), Decision::Finish).await;
    let view = lab.view(number).await;
    assert_eq!(view.run.state, RunState::Finished { outcome: failed.clone(), attempt: 1, at: at(60) });
    assert_eq!((view.attempts[0].ended_at, &view.attempts[0].outcome), (Some(at(60)), &Some(failed)));
    assert_eq!(view.generation, generation + 1);
    let owed = lab.store.message_due(at(60), 10).await.expect("due");
    let OwedKind::Card { last, revision, .. } = owed[0].kind else { panic!("{owed:?}") };
    assert_eq!((last, revision), (true, view.generation));
    assert_eq!(lab.store.census().await.expect("census").owed, 2, "a card and a reply");
}

async fn test_cases_are_kept_in_the_view_and_left_out_of_lists(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, id, lease) = lab.running(&board).await;
    let mut passed = outcome(Verdict::Passed, "");
    passed.cases = vec![TestCase::new("unit.ö", CaseStatus::Passed, "")];
    lab.settled(&lease, id, passed.clone(), Decision::Finish).await;
    let RunState::Finished { outcome, .. } = lab.view(number).await.run.state else { panic!() };
    assert_eq!(outcome, passed);
    let listed = lab.store.run_list(&RunFilter { limit: 1, ..RunFilter::default() }).await.expect("list");
    let RunState::Finished { outcome, .. } = &listed[0].state else { panic!() };
    assert!(outcome.cases.is_empty());
}

async fn an_infra_attempt_makes_the_run_wait_again(lab: &Lab) {
    let [board, other] = lab.boards().await;
    let (number, id, lease) = lab.running(&board).await;
    let infra = outcome(Verdict::Infra, "console-busy");
    lab.settled(&lease, id, infra.clone(), Decision::TryAgain { avoid: vec![lease.board.clone()] }).await;
    let view = lab.view(number).await;
    assert_eq!(view.run.state, RunState::Queued { since: at(60), attempt: 2, avoid: vec![board] });
    let second = lab.on_board(id, 2, &other).await;
    lab.settled(&second, id, outcome(Verdict::Passed, ""), Decision::Finish).await;
    let view = lab.view(number).await;
    assert_eq!(view.run.state.verdict(), Some(Verdict::Passed));
    assert_eq!((view.attempts.len(), &view.attempts[0].outcome), (2, &Some(infra)));
    lab.commit(Effect::Start(vec![lab.new_run()])).await;
    let last = lab.store.boards_last(&[number, number + 1, 99]).await.expect("boards");
    assert_eq!(last.into_iter().collect::<Vec<_>>(), [(number, other)], "one waits, and one is none");
}

async fn a_lost_attempt_makes_the_run_wait_again_and_its_thread_hears_it(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, id, lease) = lab.running(&board).await;
    lab.store.run_advance(&lease, Stage::Booting, &[], at(2)).await.map(|_| ()).expect("advance");
    let lapsed = restart(lab).await;
    assert!(matches!(lapsed.as_slice(), [l] if l.requeued && l.lease.id == lease.id), "{lapsed:?}");
    let view = lab.view(number).await;
    assert_eq!(view.run.state, RunState::Queued { since: at(100), attempt: 2, avoid: vec![] });
    let lost = view.attempts[0].outcome.as_ref().expect("an outcome");
    assert_eq!(
        (lost.verdict, lost.cause.as_str(), lost.stage),
        (Verdict::Infra, WORKER_LOST, Stage::Booting)
    );
    assert_eq!(replies(lab, number).await, ["run-requeued-after-restart"]);
    let settle = lab.settle(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish);
    assert_eq!(lab.store.run_settle(&settle).await.expect("settle"), Fenced::Stale);

    let boards = lab.store.board_list().await.expect("boards");
    assert_eq!((&boards[0].lease, boards[0].health, boards[0].failures), (&None, Health::Good, 0));
    let second = lab.on_board(id, 2, &board).await;
    assert!(second.fence > lease.fence);
    assert!(lab.store.lease_list().await.expect("list")[0].needs_fence);
}

async fn a_lease_that_is_finalizing_only_lapses(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, id, lease) = lab.running(&board).await;
    lab.settled(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish).await;
    let before = lab.view(number).await;
    let lapsed = restart(lab).await;
    assert!(matches!(lapsed.as_slice(), [l] if !l.requeued), "{lapsed:?}");
    assert_eq!(lab.view(number).await, before);
    let (_, next) = lab.waiting().await;
    lab.on_board(next, 1, &board).await;
    assert!(lab.store.lease_list().await.expect("list")[0].needs_fence);
}

async fn a_run_that_loses_too_many_attempts_is_finished(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, id) = lab.waiting().await;
    for attempt in 1..=LOST_ATTEMPTS_MAX {
        assert_eq!(lab.view(number).await.run.state.word(), "queued", "attempt {attempt}");
        lab.on_board(id, attempt, &board).await;
        restart(lab).await;
    }
    let view = lab.view(number).await;
    assert_eq!(view.run.state.verdict(), Some(Verdict::Infra));
    assert_eq!(view.attempts.len(), LOST_ATTEMPTS_MAX as usize);
    assert_eq!(replies(lab, number).await.last().map(String::as_str), Some("run-finished"));
}

async fn a_run_asked_to_end_is_not_requeued_when_its_attempt_is_lost(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, _, _) = lab.running(&board).await;
    lab.commit(cancel(number)).await;
    restart(lab).await;
    let view = lab.view(number).await;
    assert_eq!(view.run.state.verdict(), Some(Verdict::Cancelled));
    assert_eq!(view.attempts[0].outcome.as_ref().map(|o| o.cause.as_str()), Some(WORKER_LOST));
    assert_eq!(replies(lab, number).await, ["run-cancelled"]);
}

async fn a_run_asked_to_end_is_not_tried_on_another_board(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, id, lease) = lab.running(&board).await;
    lab.commit(cancel(number)).await;
    lab.settled(
        &lease,
        id,
        outcome(Verdict::Infra, "console"),
        Decision::TryAgain { avoid: vec![lease.board.clone()] },
    )
    .await;
    assert_eq!(lab.view(number).await.run.state.verdict(), Some(Verdict::Cancelled));
    assert_eq!(replies(lab, number).await, ["run-cancelled"]);
}

async fn a_request_to_power_cycle_ends_with_its_attempt(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, id, _) = lab.running(&board).await;
    lab.commit(Effect::PowerCycle { run: number, attempt_at: lab.began(number).await, by: li() }).await;
    assert!(matches!(lab.view(number).await.run.request, Some(Request::PowerCycle { .. })));
    restart(lab).await;
    lab.on_board(id, 2, &board).await;
    assert_eq!(lab.view(number).await.run.request, None);
    assert_eq!(lab.store.run_requests(lab.instance).await.expect("requests"), []);
}

async fn cancel_and_grant_at_once_leave_one_of_two_ends(lab: &Lab) {
    let [board] = lab.boards().await;
    for _ in 0..20 {
        let (number, id) = lab.waiting().await;
        let grants = [lab.grant(id, 1, &board)];
        let terms = lab.terms();
        let grant = lab.store.lease_grant(&grants, &terms);
        let (granted, cancelled) = tokio::join!(grant, lab.commit(cancel(number)));
        let granted = granted.expect("grant");
        let state = lab.view(number).await.run.state;
        match (effected(&cancelled), &state) {
            ("done", RunState::Finished { .. }) => assert_eq!(granted, [boardhand::store::Granted::Gone]),
            ("asked", RunState::Active { lease, .. }) => {
                lab.settled(lease, id, outcome(Verdict::Cancelled, "cancelled"), Decision::Finish).await;
                let rest = boardhand::store::AtRest::Yes;
                assert_eq!(
                    lab.store.lease_release(lease, &rest, at(61)).await.expect("release"),
                    Fenced::Done
                );
            }
            ends => panic!("{ends:?}"),
        }
    }
    assert_eq!(lab.store.census().await.expect("census").leases, 0);
}

async fn cancel_and_settle_at_once_leave_one_outcome(lab: &Lab) {
    let boards = lab.boards::<20>().await;
    for board in &boards {
        let (number, id, lease) = lab.running(board).await;
        let settle = lab.settle(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish);
        let (settled, cancelled) = tokio::join!(lab.store.run_settle(&settle), lab.commit(cancel(number)));
        assert_eq!(settled.expect("settle"), Fenced::Done);
        assert!(["asked", "already-finished"].contains(&effected(&cancelled)));
        let view = lab.view(number).await;
        assert_eq!((view.run.state.verdict(), view.run.request), (Some(Verdict::Passed), None));
    }
}

async fn runs_are_listed_by_filter(lab: &Lab) {
    let [board] = lab.boards().await;
    let (first, id, lease) = lab.running(&board).await;
    lab.settled(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish).await;
    let (second, _) = lab.waiting().await;
    let mut theirs = lab.new_run();
    theirs.requested_by = Actor { id: "U0ANA".into(), ..li() };
    lab.commit(Effect::Start(vec![theirs])).await;
    let check = async |requested_by: Option<&str>, unfinished, limit, expect: &[i64]| {
        let filter = RunFilter {
            requested_by: requested_by.map(str::to_owned),
            unfinished,
            limit,
            ..RunFilter::default()
        };
        let listed = lab.store.run_list(&filter).await.expect("list");
        assert_eq!(listed.iter().map(|run| run.number).collect::<Vec<_>>(), expect, "{filter:?}");
    };
    check(None, false, 10, &[3, second, first]).await;
    check(None, false, 1, &[3]).await;
    check(None, true, 10, &[second, 3]).await;
    check(None, true, 1, &[second]).await;
    check(Some("slack:U0LI"), false, 10, &[second, first]).await;
    check(Some("slack:U0LI"), true, 10, &[second]).await;
    check(Some("slack:U0NOBODY"), false, 10, &[]).await;
}

async fn a_thread_leads_to_its_run(lab: &Lab) {
    let (number, _) = lab.waiting().await;
    let card = lab.store.message_due(at(1), 1).await.expect("due").remove(0);
    let end = End::Sent { message: "171.5".into(), revision: 1 };
    lab.store.message_end(&[MessageEnd { id: card.id, end }], at(1)).await.expect("end");
    let thread = |thread: &str| Place { thread: Some(thread.into()), ..channel() };
    assert_eq!(lab.store.run_of_thread(&thread("171.5")).await.expect("thread"), Some(Told::Run(number)));
    assert_eq!(lab.store.run_of_thread(&thread("171.6")).await.expect("thread"), None);
    assert_eq!(lab.store.run_of_thread(&thread("")).await.expect("thread"), None);
    assert_eq!(lab.store.run_of_thread(&channel()).await.expect("thread"), None);
    let elsewhere = Place { channel: "C0OTHER".into(), ..thread("171.5") };
    assert_eq!(lab.store.run_of_thread(&elsewhere).await.expect("thread"), None);
}

/// The process dies, and another takes over: what its leases became.
async fn restart(lab: &Lab) -> Vec<Lapsed> {
    lab.store.lease_takeover(InstanceId::new(&lab.ids, T0), at(100)).await.expect("takeover")
}

/// What the run's thread says, in order; posts the card and sends everything.
async fn replies(lab: &Lab, run: i64) -> Vec<String> {
    let mut said = Vec::new();
    loop {
        let owed = lab.store.message_due(at(200), 100).await.expect("due");
        if owed.is_empty() {
            return said;
        }
        for owed in owed {
            let revision = match &owed.kind {
                OwedKind::Card { revision, .. } => *revision,
                OwedKind::Reply { note, run: of, .. } => {
                    assert_eq!(*of, run);
                    said.push(note.template.clone());
                    0
                }
                OwedKind::Answer { .. } => 0,
            };
            let end = End::Sent { message: format!("m{}", owed.id), revision };
            lab.store.message_end(&[MessageEnd { id: owed.id, end }], at(200)).await.expect("end");
        }
    }
}

async fn a_run_is_withdrawn_only_while_it_waits(lab: &Lab) {
    let [board] = lab.boards().await;
    let (on_board, ..) = lab.running(&board).await;
    let (waiting, _) = lab.waiting().await;
    let stranded = outcome(Verdict::Infra, "not-in-lab");
    let told = super::lab::note("run-finished");
    for (number, ended) in [(waiting, true), (waiting, false), (on_board, false), (99, false)] {
        let withdrawn = lab.store.run_withdraw(number, &stranded, &told, at(9)).await.expect("withdraw");
        assert_eq!(withdrawn, ended, "#{number}");
    }
    let view = lab.view(waiting).await;
    assert_eq!(view.run.state.verdict(), Some(Verdict::Infra));
    assert_eq!(lab.view(on_board).await.run.state.word(), "leased");
}

async fn what_waits_of_a_person_is_counted(lab: &Lab) {
    let [board] = lab.boards().await;
    let waiting = async |who: &str| lab.store.waiting_of(who).await.expect("a number");
    assert_eq!(waiting(&li().key()).await, 0);
    lab.running(&board).await;
    let (number, _) = lab.waiting().await;
    lab.waiting().await;
    assert_eq!((waiting(&li().key()).await, waiting("slack:U0NOBODY").await), (2, 0), "one runs");
    lab.commit(cancel(number)).await;
    assert_eq!(waiting(&li().key()).await, 1);
}
