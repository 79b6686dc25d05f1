//! Housekeeping: what is outdated goes a page at a time; what an unfinished run, an owed message or the scheduler needs
//! stays, however old it is.

use boardhand::board::plan::PowerAction;
use boardhand::id::MessageId;
use boardhand::message::Note;
use boardhand::outcome::Verdict;
use boardhand::run::Decision;
use boardhand::store::{AtRest, Cursor, Effect, End, MessageEnd, Outdated, OwedKind, Tidied, TidyFrom};

use super::lab::{T0, at, outcome, via};
use super::{Lab, store_tests};

store_tests! {
    what_is_outdated_is_removed_and_runs_stay,
    what_an_unfinished_run_needs_is_kept,
    what_is_owed_or_not_read_or_young_is_kept,
    a_walk_takes_pages_and_comes_to_its_end,
    only_runs_that_are_finished_have_ended,
}

/// Everything before this, read as far as the newest event.
pub(crate) async fn before(lab: &Lab, seconds: u64) -> Outdated {
    let read_to = Some(lab.store.queue_changes(None).await.expect("changes").cursor);
    let at = at(seconds);
    Outdated {
        events: at,
        audit: at,
        messages: at,
        errands: at,
        leases: at,
        builds: at,
        campaigns: at,
        read_to,
    }
}

/// One walk from its beginning to its end: what it removed, and how many pages it took.
pub(crate) async fn walk(lab: &Lab, outdated: &Outdated, limit: u32) -> (Tidied, usize) {
    let (mut sum, mut from, mut pages) = (Tidied::default(), TidyFrom::default(), 0);
    loop {
        let tidied = lab.store.tidy(outdated, from, limit).await.expect("tidy");
        sum.events += tidied.events;
        sum.audit += tidied.audit;
        sum.messages += tidied.messages;
        sum.errands += tidied.errands;
        sum.leases += tidied.leases;
        sum.builds += tidied.builds;
        pages += 1;
        assert!(pages < 100, "a walk ends");
        match tidied.next {
            Some(next) => from = next,
            None => return (sum, pages),
        }
    }
}

/// Sends everything that is owed.
pub(crate) async fn send_all(lab: &Lab) {
    loop {
        let owed = lab.store.message_due(at(1000), 100).await.expect("messages");
        if owed.is_empty() {
            return;
        }
        let sent = |revision| End::Sent { message: "1.1".into(), revision };
        let end = |owed: &boardhand::store::Owed| match &owed.kind {
            OwedKind::Card { revision, .. } => sent(*revision),
            OwedKind::Reply { .. } | OwedKind::Answer { .. } => sent(0),
        };
        let ends: Vec<MessageEnd> =
            owed.iter().map(|owed| MessageEnd { id: owed.id, end: end(owed) }).collect();
        lab.store.message_end(&ends, at(1000)).await.expect("end");
    }
}

/// A run that is finished and told, and a power request that is done and answered.
pub(crate) async fn a_past(lab: &Lab) -> i64 {
    let [board] = lab.boards().await;
    let (number, id, lease) = lab.running(&board).await;
    lab.settled(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish).await;
    let _ = lab.store.lease_release(&lease, &AtRest::Yes, at(70)).await.expect("release");
    let errand = MessageId::new(&lab.ids, T0);
    lab.commit(Effect::Errand {
        id: errand,
        board,
        action: PowerAction::Status,
        via: via(),
        over: None,
        once: None,
    })
    .await;
    let note = Note::new("power-done", serde_json::json!({}));
    lab.store.errand_done(errand, &note, None, at(80)).await.expect("done");
    send_all(lab).await;
    number
}

async fn what_is_outdated_is_removed_and_runs_stay(lab: &Lab) {
    let number = a_past(lab).await;
    let view = lab.view(number).await;
    let (removed, _) = walk(lab, &before(lab, 1000).await, 250).await;
    // Registered, accepted, granted, taken, settled, released; one reply and one answer.
    let Tidied { events, audit, messages, errands, leases, .. } = removed;
    assert_eq!((events, audit, messages, errands, leases), (6, 2, 2, 1, 1));
    assert_eq!(lab.view(number).await, view, "the run, its attempts and its outcome are as before");
    assert_eq!(walk(lab, &before(lab, 1000).await, 250).await, (Tidied::default(), 1));
    // What happens next is told to a scheduler that begins now and to one that read before.
    let cursor = lab.store.queue_changes(None).await.expect("changes").cursor;
    lab.waiting().await;
    assert_eq!(lab.store.queue_changes(Some(cursor)).await.expect("changes").runs.len(), 1);
    // A reply to the old run finds its place behind those that are gone.
    assert_eq!(lab.store.census().await.expect("census").dead, 0);
}

async fn what_an_unfinished_run_needs_is_kept(lab: &Lab) {
    let [board] = lab.boards().await;
    let (_, _, lease) = lab.running(&board).await;
    let _ = lab.store.run_tell(&lease, 1, &super::lab::note("run-testing"), at(2)).await.expect("tell");
    lab.waiting().await;
    send_all(lab).await;
    let (removed, _) = walk(lab, &before(lab, 1000).await, 250).await;
    // Only that the board was registered, and is taken.
    assert_eq!((removed.events, removed.messages), (2, 0));
}

async fn what_is_owed_or_not_read_or_young_is_kept(lab: &Lab) {
    a_past(lab).await;
    let young = before(lab, 0).await;
    assert_eq!(walk(lab, &young, 250).await.0, Tidied::default(), "nothing is older than the beginning");
    let read = before(lab, 1000).await;
    let unread = Outdated { read_to: None, ..read };
    assert_eq!(walk(lab, &unread, 250).await.0.events, 0, "no scheduler has read yet");
    let halfway = Outdated { read_to: read.read_to.map(|Cursor(at)| Cursor(at - 2)), ..read };
    assert_eq!(walk(lab, &halfway, 250).await.0.events, 4, "two are not read yet");

    let [board] = lab.boards().await;
    let errand = MessageId::new(&lab.ids, T0);
    lab.commit(Effect::Errand {
        id: errand,
        board,
        action: PowerAction::Status,
        via: via(),
        over: None,
        once: None,
    })
    .await;
    let (removed, _) = walk(lab, &before(lab, 1000).await, 250).await;
    assert_eq!((removed.messages, removed.errands), (0, 0));
    assert_eq!(lab.store.errand_due(9).await.expect("errands").len(), 1);
}

async fn a_walk_takes_pages_and_comes_to_its_end(lab: &Lab) {
    let [board] = lab.boards().await;
    let (.., lease) = lab.running(&board).await;
    for second in 0..7 {
        lab.commit(Effect::None).await;
        let _ = lab
            .store
            .run_tell(&lease, second as u32 + 1, &super::lab::note("run-testing"), at(second))
            .await
            .expect("tell");
    }
    send_all(lab).await;
    let (removed, pages) = walk(lab, &before(lab, 1000).await, 3).await;
    assert_eq!((removed.audit, removed.messages), (8, 0), "what stays does not stop the walk");
    assert_eq!(pages, 3);
}

async fn only_runs_that_are_finished_have_ended(lab: &Lab) {
    let number = a_past(lab).await;
    let (waiting, _) = lab.waiting().await;
    let ended = lab.store.run_ended(&[number, waiting, 99]).await.expect("ended");
    assert_eq!(ended, [(number, at(60))]);
    assert_eq!(lab.store.run_ended(&[]).await.expect("ended"), []);
}
