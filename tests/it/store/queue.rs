//! The queue's change log: says what is, from a cursor on; reading it twice is harmless.

use boardhand::board::Family;
use boardhand::outcome::Verdict;
use boardhand::run::{Decision, Priority};
use boardhand::store::{AtRest, Census, Cursor, Effect, Fenced, QueueChanges};

use super::intake::{cancel, commit_all};
use super::lab::{T0, at, outcome, spec};
use super::{Lab, store_tests};

store_tests! {
    without_a_cursor_everything_unfinished_is_given,
    after_a_cursor_only_what_changed_is_given,
    the_same_cursor_gives_the_same_changes_as_they_are_now,
    a_long_log_is_read_in_pages,
    durations_are_those_of_attempts_that_ran,
    the_census_counts_what_waits,
}

async fn changes(lab: &Lab, cursor: Option<Cursor>) -> QueueChanges {
    lab.store.queue_changes(cursor).await.expect("changes")
}

fn numbers(changes: &QueueChanges) -> Vec<i64> {
    changes.runs.iter().map(|run| run.number).collect()
}

async fn without_a_cursor_everything_unfinished_is_given(lab: &Lab) {
    let [board, other] = lab.boards().await;
    let (finished, id, lease) = lab.running(&board).await;
    lab.settled(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish).await;
    let (running, _, _) = lab.running(&other).await;
    let (waiting, id) = lab.waiting().await;
    let all = changes(lab, None).await;
    assert_eq!(numbers(&all), [running, waiting]);
    assert!(!numbers(&all).contains(&finished) && !all.more);
    assert_eq!(all.boards.len(), 2);
    let run = &all.runs[1];
    let asked = spec();
    let waits = run.waiting.as_ref().expect("it waits");
    assert_eq!((run.id, run.finished, run.requested_by.key().as_str()), (id, false, "slack:U0LI"));
    assert_eq!((waits.attempt, waits.since, waits.priority, waits.boards), (1, T0, Priority::Normal, 1));
    assert_eq!(
        (&waits.family, &waits.suite, &waits.selector),
        (&asked.family, &asked.suite, &asked.selector)
    );
    assert!(all.runs[0].waiting.is_none());
}

async fn after_a_cursor_only_what_changed_is_given(lab: &Lab) {
    let [board, other] = lab.boards().await;
    let (number, id) = lab.waiting().await;
    lab.waiting().await;
    let cursor = changes(lab, None).await.cursor;
    let none = changes(lab, Some(cursor)).await;
    assert_eq!((none.cursor, none.runs.len(), none.boards.len(), none.more), (cursor, 0, 0, false));

    let lease = lab.on_board(id, 1, &board).await;
    let granted = changes(lab, Some(cursor)).await;
    assert_eq!((numbers(&granted), granted.boards.len()), (vec![number], 1));
    assert!(granted.boards[0].lease.is_some() && granted.runs[0].waiting.is_none());

    lab.settled(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish).await;
    let settled = changes(lab, Some(granted.cursor)).await;
    assert!(settled.runs[0].finished);
    assert_eq!(lab.store.lease_release(&lease, &AtRest::Yes, at(61)).await.expect("release"), Fenced::Done);
    let released = changes(lab, Some(settled.cursor)).await;
    assert_eq!((released.boards.len(), &released.boards[0].lease), (1, &None));
    assert_ne!(released.boards[0].id, other);

    lab.commit(cancel(2)).await;
    let cancelled = changes(lab, Some(released.cursor)).await;
    assert_eq!((numbers(&cancelled), cancelled.runs[0].finished), (vec![2], true));
}

async fn the_same_cursor_gives_the_same_changes_as_they_are_now(lab: &Lab) {
    let [board] = lab.boards().await;
    let begin = changes(lab, None).await.cursor;
    let (number, id) = lab.waiting().await;
    let first = changes(lab, Some(begin)).await;
    let again = changes(lab, Some(begin)).await;
    assert_eq!((first.cursor, &first.runs), (again.cursor, &again.runs));
    assert!(first.runs[0].waiting.is_some());
    lab.on_board(id, 1, &board).await;
    let later = changes(lab, Some(begin)).await;
    assert_eq!((numbers(&later), later.runs[0].waiting.is_some()), (vec![number], false));
    assert!(later.cursor > first.cursor);
}

async fn a_long_log_is_read_in_pages(lab: &Lab) {
    let begin = changes(lab, None).await.cursor;
    let intakes = (0..125).map(|_| lab.intake(Effect::Start((0..20).map(|_| lab.new_run()).collect())));
    commit_all(lab, intakes.collect()).await;
    let (mut cursor, mut seen, mut pages) = (begin, Vec::new(), 0);
    loop {
        let page = changes(lab, Some(cursor)).await;
        seen.extend(numbers(&page));
        (cursor, pages) = (page.cursor, pages + 1);
        if !page.more {
            break;
        }
    }
    assert_eq!((seen, pages), ((1..=2500).collect(), 3));
}

async fn durations_are_those_of_attempts_that_ran(lab: &Lab) {
    let [board] = lab.boards().await;
    let begin = changes(lab, None).await.cursor;
    for verdict in [Verdict::Failed, Verdict::Infra, Verdict::Cancelled] {
        let (_, id, lease) = lab.running(&board).await;
        lab.settled(&lease, id, outcome(verdict, "panic"), Decision::Finish).await;
        assert_eq!(
            lab.store.lease_release(&lease, &AtRest::Yes, at(61)).await.expect("release"),
            Fenced::Done
        );
    }
    let expect = [(1, Family::new("socA"), "smoke".to_owned(), at(60).since(at(1)))];
    let took = |changes: QueueChanges| -> Vec<_> {
        changes.durations.into_iter().map(|took| (took.attempt, took.family, took.suite, took.took)).collect()
    };
    assert_eq!(took(changes(lab, Some(begin)).await), expect);
    assert_eq!(took(changes(lab, None).await), expect);
}

async fn the_census_counts_what_waits(lab: &Lab) {
    assert_eq!(lab.store.census().await.expect("census"), Census::default());
    let [board] = lab.boards().await;
    lab.waiting().await;
    lab.running(&board).await;
    let expect = Census { queued: 1, active: 1, leases: 1, owed: 2, dead: 0, errands: 0, unreadable: 0 };
    assert_eq!(lab.store.census().await.expect("census"), expect);
    lab.store.ready().await.expect("ready");
    assert_eq!(lab.store.secret().await.expect("secret"), lab.store.secret().await.expect("secret"));
}
