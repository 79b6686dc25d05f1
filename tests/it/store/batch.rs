//! Batches: several runs of one command under one card, which is posted before theirs and lives as long as any of them.

use boardhand::chat::Place;
use boardhand::id::MessageId;
use boardhand::outcome::{Counts, Verdict};
use boardhand::run::{Decision, LeaseRef, Stage};
use boardhand::store::{Effect, End, Fenced, Intake, MessageEnd, NewRun, Owed, OwedKind, Told};

use super::intake::cancel;
use super::lab::{at, channel, counted, effected, li, note, outcome, via};
use super::{Lab, store_tests};

store_tests! {
    only_the_card_of_the_batch_is_due_at_first,
    the_cards_of_its_runs_are_due_in_its_thread_once_it_is_posted,
    a_run_alone_has_no_batch,
    every_change_of_a_run_is_owed_to_the_card_of_its_batch,
    the_card_of_a_batch_is_last_when_all_of_its_runs_are_finished,
    runs_of_a_batch_tell_their_news_in_one_thread,
    a_batch_in_a_thread_keeps_to_it,
    every_place_has_its_own_card_of_the_batch,
    a_batch_card_that_may_be_posted_is_looked_for_before_its_runs_are_told,
    runs_of_a_batch_that_was_told_by_url_have_no_cards_of_their_own,
    a_batch_that_cannot_be_told_takes_the_cards_of_its_runs_with_it,
    a_batch_card_that_was_posted_keeps_its_thread_when_edits_are_refused,
    a_thread_leads_to_its_batch,
    a_batch_shows_its_runs_with_their_boards_and_repeats,
    a_batch_is_cancelled_as_far_as_it_is_not_finished,
    a_repeated_delivery_is_no_second_batch,
}

async fn due(lab: &Lab) -> Vec<Owed> {
    lab.store.message_due(at(60), 100).await.expect("due")
}

async fn end(lab: &Lab, id: MessageId, end: End) {
    lab.store.message_end(&[MessageEnd { id, end }], at(60)).await.expect("end");
}

/// Takes the one message that is due.
async fn only(lab: &Lab) -> Owed {
    let mut owed = due(lab).await;
    assert_eq!(owed.len(), 1, "{owed:?}");
    owed.remove(0)
}

/// Sends this under that id, as the newest revision.
async fn send(lab: &Lab, owed: &Owed, message: &str) {
    let revision = if let OwedKind::Card { revision, .. } = owed.kind { revision } else { 0 };
    end(lab, owed.id, End::Sent { message: message.into(), revision }).await;
}

/// Three runs with these places and ids of their own.
fn three(lab: &Lab, cards: &[Place]) -> [NewRun; 3] {
    std::array::from_fn(|_| NewRun { cards: cards.to_vec(), via: Some(via()), ..lab.new_run() })
}

/// A batch of three, #1 to #3.
async fn batch(lab: &Lab) -> [NewRun; 3] {
    let runs = three(lab, &[channel()]);
    lab.commit(Effect::Start(runs.to_vec())).await;
    runs
}

/// A batch whose card is posted as `170.0`; #1 is on a board.
async fn posted(lab: &Lab) -> ([NewRun; 3], LeaseRef) {
    let [board] = lab.boards().await;
    let runs = batch(lab).await;
    let lease = lab.on_board(runs[0].id, 1, &board).await;
    send(lab, &only(lab).await, "170.0").await;
    (runs, lease)
}

/// Which cards these are, in order: the number, with a `B` for the batch's.
fn cards(owed: &[Owed]) -> Vec<String> {
    let card = |owed: &Owed| match &owed.kind {
        OwedKind::Card { run, batch, .. } => Some(format!("{}{run}", if *batch { "B" } else { "" })),
        OwedKind::Reply { .. } | OwedKind::Answer { .. } => None,
    };
    owed.iter().filter_map(card).collect()
}

async fn only_the_card_of_the_batch_is_due_at_first(lab: &Lab) {
    batch(lab).await;
    let parent = only(lab).await;
    let OwedKind::Card { run: 1, batch: true, place, message: None, via: by_url, last: false, .. } =
        &parent.kind
    else {
        panic!("{parent:?}")
    };
    assert_eq!((place, by_url.as_ref()), (&channel(), Some(&via())));
    assert_eq!(lab.store.census().await.expect("census").owed, 4, "the cards of its runs are owed too");
}

async fn the_cards_of_its_runs_are_due_in_its_thread_once_it_is_posted(lab: &Lab) {
    batch(lab).await;
    send(lab, &only(lab).await, "170.0").await;
    let owed = due(lab).await;
    assert_eq!(cards(&owed), ["1", "2", "3"]);
    for owed in owed {
        let OwedKind::Card { place, via: None, .. } = &owed.kind else { panic!("{owed:?}") };
        assert_eq!(*place, Place { thread: Some("170.0".into()), ..channel() });
        send(lab, &owed, &format!("171.{}", cards(std::slice::from_ref(&owed))[0])).await;
    }
    assert_eq!(due(lab).await, []);
}

async fn a_run_alone_has_no_batch(lab: &Lab) {
    let (number, _) = lab.waiting().await;
    assert_eq!(lab.view(number).await.run.batch, None);
    assert_eq!(lab.store.batch_view(number).await.expect("view"), None);
    let owed = only(lab).await;
    assert!(matches!(owed.kind, OwedKind::Card { batch: false, .. }), "{owed:?}");
}

async fn every_change_of_a_run_is_owed_to_the_card_of_its_batch(lab: &Lab) {
    let [board] = lab.boards().await;
    let runs = batch(lab).await;
    send(lab, &only(lab).await, "170.0").await;
    for (owed, message) in due(lab).await.iter().zip(["171.1", "171.2", "171.3"]) {
        send(lab, owed, message).await;
    }
    let lease = lab.on_board(runs[1].id, 1, &board).await;
    for passed in 1..=10 {
        let progress = counted(Counts { passed, ..Counts::default() });
        assert_eq!(lab.store.run_progress(&lease, &progress, at(5)).await.expect("progress"), Fenced::Done);
    }
    let owed = due(lab).await;
    assert_eq!(cards(&owed), ["B1", "2"], "one edit each, and none of the others");
    let view = lab.store.batch_view(1).await.expect("view").expect("a batch");
    let OwedKind::Card { revision, message, .. } = &owed[0].kind else { panic!("{owed:?}") };
    assert_eq!((*revision, message.as_deref()), (view.generation, Some("170.0")));
    assert_eq!((view.runs[1].progress.counts.passed, &view.runs[1].last), (10, &Some((1, board))));
    send(lab, &owed[0], "170.0").await;
    assert_eq!(cards(&due(lab).await), ["2"]);
}

async fn the_card_of_a_batch_is_last_when_all_of_its_runs_are_finished(lab: &Lab) {
    let (runs, lease) = posted(lab).await;
    let is_last = async || {
        let owed = due(lab).await;
        let of = owed.iter().find(|owed| matches!(owed.kind, OwedKind::Card { batch: true, .. }));
        let OwedKind::Card { last, .. } = of.expect("it is owed").kind else { unreachable!() };
        last
    };
    lab.settled(&lease, runs[0].id, outcome(Verdict::Passed, ""), Decision::Finish).await;
    assert!(!is_last().await);
    for number in [2, 3] {
        lab.commit(cancel(number)).await;
    }
    assert!(is_last().await);
}

async fn runs_of_a_batch_tell_their_news_in_one_thread(lab: &Lab) {
    let (runs, lease) = posted(lab).await;
    let notes = [note("first")];
    assert_eq!(
        lab.store.run_advance(&lease, Stage::Booting, &notes, at(2)).await.expect("advance"),
        Fenced::Done
    );
    lab.settled(&lease, runs[0].id, outcome(Verdict::Passed, ""), Decision::Finish).await;
    lab.commit(cancel(3)).await;
    let owed = due(lab).await;
    assert_eq!(owed.len(), cards(&owed).len(), "no news before the card of its run: {owed:?}");
    for owed in &owed {
        send(lab, owed, &format!("m{}", owed.id)).await;
    }
    let mut told = Vec::new();
    for _ in 0..2 {
        for owed in due(lab).await {
            let OwedKind::Reply { run, place, note, seq, .. } = &owed.kind else { panic!("{owed:?}") };
            assert_eq!(place.thread.as_deref(), Some("170.0"));
            told.push(format!("{run}/{seq} {}", note.template));
            send(lab, &owed, "172.0").await;
        }
    }
    assert_eq!(told, ["1/1 first", "3/1 run-cancelled", "1/2 run-finished"]);
    assert_eq!(lab.store.census().await.expect("census").owed, 0);
}

async fn a_batch_in_a_thread_keeps_to_it(lab: &Lab) {
    let thread = Place { thread: Some("169.0".into()), ..channel() };
    lab.commit(Effect::Start(three(lab, std::slice::from_ref(&thread)).to_vec())).await;
    let parent = only(lab).await;
    assert!(matches!(&parent.kind, OwedKind::Card { place, .. } if *place == thread));
    send(lab, &parent, "170.0").await;
    let owed = due(lab).await;
    assert!(owed.iter().all(|owed| matches!(&owed.kind, OwedKind::Card { place, .. } if *place == thread)));
    assert_eq!(cards(&owed), ["1", "2", "3"]);
}

async fn every_place_has_its_own_card_of_the_batch(lab: &Lab) {
    let mirror = Place { channel: "C0MIRROR".into(), ..channel() };
    lab.commit(Effect::Start(three(lab, &[channel(), mirror.clone()]).to_vec())).await;
    let owed = due(lab).await;
    assert_eq!(cards(&owed), ["B1", "B1"]);
    let there = owed.iter().find(|o| matches!(&o.kind, OwedKind::Card { place, .. } if *place == mirror));
    send(lab, there.expect("the mirror's"), "9.0").await;
    let owed = due(lab).await;
    let mut named = cards(&owed);
    named.sort();
    assert_eq!(named, ["1", "2", "3", "B1"], "one is not posted, and has no thread");
    for owed in &owed {
        match &owed.kind {
            OwedKind::Card { batch: true, place, .. } => assert_eq!(*place, channel()),
            OwedKind::Card { place, .. } => {
                assert_eq!(*place, Place { thread: Some("9.0".into()), ..mirror.clone() });
            }
            OwedKind::Reply { .. } | OwedKind::Answer { .. } => panic!("{owed:?}"),
        }
    }
}

async fn a_batch_card_that_may_be_posted_is_looked_for_before_its_runs_are_told(lab: &Lab) {
    batch(lab).await;
    let parent = only(lab).await;
    lab.store.message_begin(&[parent.id], at(61)).await.expect("begin");
    assert_eq!(only(lab).await.begun_at, Some(at(61)), "a crash here asks the platform first");
    end(lab, parent.id, End::Unsure { at: at(60) }).await;
    assert_eq!(only(lab).await.begun_at, Some(at(61)));
    // It was found, as it was then: the newest state is still owed, as an edit.
    end(lab, parent.id, End::Sent { message: "170.0".into(), revision: 0 }).await;
    let owed = due(lab).await;
    let mut named = cards(&owed);
    named.sort();
    assert_eq!(named, ["1", "2", "3", "B1"]);
    let edit = |owed: &&Owed| matches!(&owed.kind, OwedKind::Card { message: Some(m), .. } if m == "170.0");
    assert_eq!(cards(&owed.iter().filter(edit).cloned().collect::<Vec<_>>()), ["B1"]);
}

async fn runs_of_a_batch_that_was_told_by_url_have_no_cards_of_their_own(lab: &Lab) {
    batch(lab).await;
    send(lab, &only(lab).await, "response_url").await;
    for owed in due(lab).await {
        let OwedKind::Card { place, .. } = &owed.kind else { panic!("{owed:?}") };
        assert_eq!(place.thread.as_deref(), Some("response_url"), "which the relay knows");
    }
}

async fn a_batch_that_cannot_be_told_takes_the_cards_of_its_runs_with_it(lab: &Lab) {
    let [board] = lab.boards().await;
    let runs = batch(lab).await;
    let lease = lab.on_board(runs[0].id, 1, &board).await;
    let advance = async |stage, template| {
        let advanced = lab.store.run_advance(&lease, stage, &[note(template)], at(2)).await;
        assert_eq!(advanced.expect("advance"), Fenced::Done);
    };
    advance(Stage::Booting, "before").await;
    let parent = only(lab).await;
    end(lab, parent.id, End::Dead { error: "restricted_action".into() }).await;
    assert_eq!(due(lab).await, []);
    advance(Stage::Testing, "after").await;
    assert_eq!(due(lab).await, []);
    assert_eq!(lab.store.census().await.expect("census").dead, 4 + 2, "four cards and two replies");
    lab.settled(&lease, runs[0].id, outcome(Verdict::Failed, "panic"), Decision::Finish).await;
    let told = only(lab).await;
    let OwedKind::Reply { run: 1, place, note, last: true, .. } = &told.kind else { panic!("{told:?}") };
    assert_eq!((note.template.as_str(), place), ("run-finished", &channel()), "its outcome is told");
}

async fn a_batch_card_that_was_posted_keeps_its_thread_when_edits_are_refused(lab: &Lab) {
    batch(lab).await;
    let parent = only(lab).await;
    end(lab, parent.id, End::Sent { message: "170.0".into(), revision: 0 }).await;
    end(lab, parent.id, End::Dead { error: "cant_update_message".into() }).await;
    assert_eq!(cards(&due(lab).await), ["1", "2", "3"]);
}

async fn a_thread_leads_to_its_batch(lab: &Lab) {
    let (_, _) = posted(lab).await;
    let thread = Place { thread: Some("170.0".into()), ..channel() };
    assert_eq!(lab.store.run_of_thread(&thread).await.expect("thread"), Some(Told::Batch(1)));
    // A run that was started in that thread later is what it tells of now.
    let alone = NewRun { cards: vec![thread.clone()], ..lab.new_run() };
    lab.commit(Effect::Start(vec![alone])).await;
    assert_eq!(lab.store.run_of_thread(&thread).await.expect("thread"), Some(Told::Run(4)));
}

async fn a_batch_shows_its_runs_with_their_boards_and_repeats(lab: &Lab) {
    let (runs, lease) = posted(lab).await;
    lab.settled(&lease, runs[0].id, outcome(Verdict::Failed, "panic"), Decision::Finish).await;
    let generation = lab.store.batch_view(1).await.expect("view").expect("a batch").generation;
    let (of, run) = (1, Box::new(lab.new_run()));
    lab.commit(Effect::Retry { of, once: None, run, note: note("run-retried") }).await;
    let view = lab.store.batch_view(1).await.expect("view").expect("a batch");
    let rows: Vec<_> =
        view.runs.iter().map(|of| (of.run.number, of.run.state.word(), of.last.is_some())).collect();
    assert_eq!(rows, [(1, "finished", true), (2, "queued", false), (3, "queued", false)]);
    assert_eq!(view.runs[0].retried_as, [4]);
    assert!(view.generation > generation, "its card names the repeat");
    assert!(view.runs.iter().all(|of| of.run.batch == Some(1)));
    assert_eq!(lab.view(4).await.run.batch, None, "a repeat is a run like any other");
    assert_eq!(lab.store.batch_view(2).await.expect("view"), None, "a batch has the number of its first run");
}

async fn a_batch_is_cancelled_as_far_as_it_is_not_finished(lab: &Lab) {
    let (_, lease) = posted(lab).await;
    lab.commit(cancel(2)).await;
    let all = || Effect::CancelBatch {
        batch: 1,
        by: li(),
        outcome: outcome(Verdict::Cancelled, "cancelled"),
        runs: (1..=3).map(|number| (number, note("run-cancelled"))).collect(),
    };
    let committed = lab.commit(all()).await;
    assert_eq!(
        (effected(&committed), &committed.answer.facts["numbers"]),
        ("done", &serde_json::json!([1, 3]))
    );
    let asked = lab.store.run_requests(lab.instance).await.expect("requests");
    assert_eq!(asked.iter().map(|(lease, _)| lease).collect::<Vec<_>>(), [&lease]);
    assert_eq!(lab.view(3).await.run.state.verdict(), Some(Verdict::Cancelled));
    let id = lab.view(1).await.run.id;
    lab.settled(&lease, id, outcome(Verdict::Cancelled, "cancelled"), Decision::Finish).await;
    assert_eq!(effected(&lab.commit(all()).await), "already-finished");
}

async fn a_repeated_delivery_is_no_second_batch(lab: &Lab) {
    let intake =
        Intake { key: "slack:once".into(), ..lab.intake(Effect::Start(three(lab, &[channel()]).to_vec())) };
    let first = lab.store.commit(intake.clone()).await.expect("commit");
    let second = lab.store.commit(intake).await.expect("commit");
    assert_eq!((first.fresh, second.fresh, &first.answer), (true, false, &second.answer));
    assert_eq!(lab.store.census().await.expect("census").owed, 4);
}
