//! Messages: cards converge, replies queue behind their card, dead letters stay behind.

use std::time::Duration;

use boardhand::chat::Place;
use boardhand::id::MessageId;
use boardhand::outcome::{Counts, Verdict};
use boardhand::run::{Decision, Progress, Stage};
use boardhand::store::{CHANNEL_HEADS_MAX, Effect, End, Fenced, Intake, MessageEnd, Owed, OwedKind, Told};

use super::lab::{T0, at, channel, counted, note, outcome, via};
use super::{Lab, store_tests};

store_tests! {
    ten_changes_are_one_edit_to_the_newest_revision,
    a_card_sent_while_it_changed_is_owed_again,
    replies_wait_for_their_card_and_for_each_other,
    every_card_of_a_run_has_its_own_thread,
    answers_go_first_and_results_before_progress,
    a_message_put_off_is_due_later,
    an_intent_is_kept_until_it_is_known_how_sending_ended,
    a_dead_reply_lets_the_next_one_pass,
    replies_die_with_a_card_that_was_never_posted_but_not_the_outcome,
    a_card_that_was_posted_keeps_its_thread_when_edits_are_refused,
    ends_repeated_are_harmless,
    a_url_reaches_its_own_channel_only,
    a_reply_stands_in_the_thread_that_its_card_was_posted_into,
    no_more_is_given_than_asked_for,
    a_channel_with_many_cards_waiting_hides_no_other,
    a_card_that_is_not_told_is_looked_at_again_with_the_next_state,
    what_comes_after_a_card_that_is_never_told_is_not_owed,
}

async fn due(lab: &Lab) -> Vec<Owed> {
    lab.store.message_due(at(60), 100).await.expect("due")
}

async fn end(lab: &Lab, id: MessageId, end: End) {
    lab.store.message_end(&[MessageEnd { id, end }], at(60)).await.expect("end");
}

fn sent(message: &str, revision: i64) -> End {
    End::Sent { message: message.into(), revision }
}

/// Sends the one message that is due.
async fn send_one(lab: &Lab, message: &str) -> Owed {
    let mut owed = due(lab).await;
    assert_eq!(owed.len(), 1, "{owed:?}");
    let owed = owed.remove(0);
    let revision = if let OwedKind::Card { revision, .. } = owed.kind { revision } else { 0 };
    end(lab, owed.id, sent(message, revision)).await;
    owed
}

fn said(owed: &Owed) -> &str {
    let OwedKind::Reply { note, .. } = &owed.kind else { panic!("{owed:?}") };
    &note.template
}

async fn ten_changes_are_one_edit_to_the_newest_revision(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, _, lease) = lab.running(&board).await;
    let card = send_one(lab, "171.1").await;
    let OwedKind::Card { run, place, message: None, last: false, .. } = &card.kind else {
        panic!("{card:?}")
    };
    assert_eq!((*run, place), (number, &channel()));
    assert_eq!(due(lab).await, []);
    for passed in 1..=10 {
        let progress = counted(Counts { passed, ..Counts::default() });
        assert_eq!(lab.store.run_progress(&lease, &progress, at(5)).await.expect("progress"), Fenced::Done);
    }
    let owed = due(lab).await;
    let [Owed { id, kind: OwedKind::Card { message, revision, .. }, since, .. }] = owed.as_slice() else {
        panic!("{owed:?}")
    };
    assert_eq!((*id, message.as_deref(), *since), (card.id, Some("171.1"), at(5)));
    assert_eq!(*revision, lab.view(number).await.generation);
    send_one(lab, "171.1").await;
    assert_eq!(due(lab).await, []);
}

async fn a_card_sent_while_it_changed_is_owed_again(lab: &Lab) {
    let [board] = lab.boards().await;
    let (_, _, lease) = lab.running(&board).await;
    let card = due(lab).await.remove(0);
    let OwedKind::Card { revision, .. } = card.kind else { panic!("{card:?}") };
    assert_eq!(
        lab.store.run_progress(&lease, &Progress::default(), at(5)).await.expect("progress"),
        Fenced::Done
    );
    end(lab, card.id, sent("171.1", revision)).await;
    send_one(lab, "171.1").await;
    assert_eq!(due(lab).await, []);
}

async fn replies_wait_for_their_card_and_for_each_other(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, id, lease) = lab.running(&board).await;
    let notes = [note("first"), note("second")];
    assert_eq!(
        lab.store.run_advance(&lease, Stage::Booting, &notes, at(2)).await.expect("advance"),
        Fenced::Done
    );
    lab.settled(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish).await;
    assert!(matches!(send_one(lab, "171.1").await.kind, OwedKind::Card { last: true, .. }));
    let expect = [("first", 1, false), ("second", 2, false), ("run-finished", 3, true)];
    for (template, expect_seq, expect_last) in expect {
        let reply = send_one(lab, "171.9").await;
        let OwedKind::Reply { run, place, seq, last, .. } = &reply.kind else { panic!("{reply:?}") };
        assert_eq!((said(&reply), *run, *seq, *last), (template, number, expect_seq, expect_last));
        assert_eq!(place.thread.as_deref(), Some("171.1"));
    }
    assert_eq!(lab.store.census().await.expect("census").owed, 0);
}

async fn every_card_of_a_run_has_its_own_thread(lab: &Lab) {
    let mirror = Place { channel: "C0MIRROR".into(), ..channel() };
    let mut run = lab.new_run();
    run.cards.push(mirror.clone());
    let [board] = lab.boards().await;
    let id = run.id;
    lab.commit(Effect::Start(vec![run])).await;
    let lease = lab.on_board(id, 1, &board).await;
    assert_eq!(
        lab.store.run_advance(&lease, Stage::Booting, &[note("a")], at(2)).await.expect("advance"),
        Fenced::Done
    );
    let cards = due(lab).await;
    assert_eq!(cards.len(), 2);
    let of = |channel: &str| {
        let here =
            |owed: &&Owed| matches!(&owed.kind, OwedKind::Card { place, .. } if place.channel == channel);
        cards.iter().find(here).expect("a card").id
    };
    end(lab, of("C0MIRROR"), sent("9.1", 9)).await;
    let owed = due(lab).await;
    let replies: Vec<&Owed> =
        owed.iter().filter(|owed| matches!(owed.kind, OwedKind::Reply { .. })).collect();
    let [Owed { kind: OwedKind::Reply { place, seq: 1, .. }, .. }] = replies.as_slice() else {
        panic!("{owed:?}")
    };
    assert_eq!(*place, Place { thread: Some("9.1".into()), ..mirror });
}

async fn answers_go_first_and_results_before_progress(lab: &Lab) {
    let [board] = lab.boards().await;
    lab.waiting().await;
    let (number, id, lease) = lab.running(&board).await;
    lab.settled(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish).await;
    for seconds in [50, 40] {
        let intake = Intake { answer_via: Some(via()), received_at: at(seconds), ..lab.intake(Effect::None) };
        lab.store.commit(intake).await.expect("commit");
    }
    let owed = due(lab).await;
    let order: Vec<String> = owed
        .iter()
        .map(|owed| match &owed.kind {
            OwedKind::Answer { .. } => format!("answer {}", owed.since.since(T0).as_secs()),
            OwedKind::Card { run, .. } => format!("card {run}"),
            OwedKind::Reply { .. } => "reply".into(),
        })
        .collect();
    assert_eq!(order, ["answer 40", "answer 50", &format!("card {number}"), "card 1"]);
}

async fn a_message_put_off_is_due_later(lab: &Lab) {
    lab.waiting().await;
    let card = due(lab).await.remove(0);
    end(lab, card.id, End::Later { at: at(90), failed: false }).await;
    assert_eq!(due(lab).await, []);
    assert_eq!(lab.store.message_next_due(at(60)).await.expect("next"), Some(at(90)));
    let owed = lab.store.message_due(at(90), 10).await.expect("due");
    assert_eq!((owed[0].id, owed[0].tries), (card.id, 0));
    end(lab, card.id, End::Later { at: at(95), failed: true }).await;
    assert_eq!(lab.store.message_due(at(95), 10).await.expect("due")[0].tries, 1);
    assert_eq!(lab.store.message_next_due(at(95)).await.expect("next"), None);

    let intake = Intake { answer_via: Some(via()), ..lab.intake(Effect::None) };
    lab.store.commit(intake).await.expect("commit");
    let answer = due(lab).await.remove(0);
    end(lab, answer.id, End::Later { at: at(80), failed: true }).await;
    assert_eq!(lab.store.message_next_due(at(60)).await.expect("next"), Some(at(80)));
}

async fn an_intent_is_kept_until_it_is_known_how_sending_ended(lab: &Lab) {
    lab.waiting().await;
    let card = due(lab).await.remove(0);
    assert_eq!(card.begun_at, None);
    for seconds in [61, 65] {
        lab.store.message_begin(&[card.id], at(seconds)).await.expect("begin");
        assert_eq!(due(lab).await[0].begun_at, Some(at(61)), "since the first post");
    }
    end(lab, card.id, End::Unsure { at: at(60) }).await;
    let unsure = due(lab).await.remove(0);
    assert_eq!((unsure.begun_at, unsure.tries), (Some(at(61)), 1));
    end(lab, card.id, End::Later { at: at(60), failed: true }).await;
    let later = due(lab).await.remove(0);
    assert_eq!((later.begun_at, later.tries), (None, 2));
    // An edit can be done twice: it needs no intent.
    end(lab, card.id, sent("171.1", 0)).await;
    lab.store.message_begin(&[card.id], at(70)).await.expect("begin");
    let edit = due(lab).await.remove(0);
    assert_eq!((edit.begun_at, edit.tries), (None, 0));
}

async fn a_dead_reply_lets_the_next_one_pass(lab: &Lab) {
    let [board] = lab.boards().await;
    let (_, _, lease) = lab.running(&board).await;
    let notes = [note("first"), note("second")];
    assert_eq!(
        lab.store.run_advance(&lease, Stage::Booting, &notes, at(2)).await.expect("advance"),
        Fenced::Done
    );
    send_one(lab, "171.1").await;
    let first = due(lab).await.remove(0);
    end(lab, first.id, End::Later { at: at(99), failed: true }).await;
    assert_eq!(due(lab).await, [], "the second does not overtake");
    assert_eq!(lab.store.message_next_due(at(60)).await.expect("next"), Some(at(99)));
    end(lab, first.id, End::Dead { error: "msg_too_long".into() }).await;
    assert_eq!(said(&due(lab).await[0]), "second");
    assert_eq!(lab.store.census().await.expect("census").dead, 1);
}

async fn replies_die_with_a_card_that_was_never_posted_but_not_the_outcome(lab: &Lab) {
    let [board] = lab.boards().await;
    let (_, id, lease) = lab.running(&board).await;
    assert_eq!(
        lab.store.run_advance(&lease, Stage::Booting, &[note("a")], at(2)).await.expect("advance"),
        Fenced::Done
    );
    let card = due(lab).await.remove(0);
    end(lab, card.id, End::Dead { error: "channel_not_found".into() }).await;
    assert_eq!(due(lab).await, []);
    assert_eq!(
        lab.store.run_advance(&lease, Stage::Testing, &[note("b")], at(3)).await.expect("advance"),
        Fenced::Done
    );
    assert_eq!(due(lab).await, []);
    assert_eq!(lab.store.census().await.expect("census").dead, 3);
    lab.settled(&lease, id, outcome(Verdict::Failed, "panic"), Decision::Finish).await;
    let told = send_one(lab, "171.1").await;
    let OwedKind::Reply { place, last: true, .. } = &told.kind else { panic!("{told:?}") };
    assert_eq!((said(&told), place), ("run-finished", &channel()));
}

async fn a_card_that_was_posted_keeps_its_thread_when_edits_are_refused(lab: &Lab) {
    let [board] = lab.boards().await;
    let (_, _, lease) = lab.running(&board).await;
    let card = send_one(lab, "171.1").await;
    assert_eq!(
        lab.store.run_advance(&lease, Stage::Booting, &[note("a")], at(2)).await.expect("advance"),
        Fenced::Done
    );
    end(lab, card.id, End::Dead { error: "cant_update_message".into() }).await;
    assert_eq!(said(&send_one(lab, "171.2").await), "a");
}

async fn ends_repeated_are_harmless(lab: &Lab) {
    let [board] = lab.boards().await;
    let (_, _, lease) = lab.running(&board).await;
    let card = send_one(lab, "171.1").await;
    assert_eq!(
        lab.store.run_advance(&lease, Stage::Booting, &[note("a")], at(2)).await.expect("advance"),
        Fenced::Done
    );
    end(lab, card.id, sent("171.1", 1)).await;
    let newer = send_newest(lab).await;
    assert_eq!(newer, card.id);
    let reply = send_one(lab, "171.2").await;
    for repeated in
        [sent("171.2", 0), End::Later { at: at(1), failed: true }, End::Dead { error: "x".into() }]
    {
        end(lab, reply.id, repeated).await;
    }
    end(lab, MessageId::new(&lab.ids, T0), sent("nobody", 0)).await;
    let census = lab.store.census().await.expect("census");
    assert_eq!((census.owed, census.dead), (0, 0));
}

/// Sends the card ahead of its replies.
async fn send_newest(lab: &Lab) -> MessageId {
    let card = due(lab).await.remove(0);
    let OwedKind::Card { revision, .. } = card.kind else { panic!("{card:?}") };
    end(lab, card.id, sent("", revision)).await;
    card.id
}

async fn a_url_reaches_its_own_channel_only(lab: &Lab) {
    let mut run = lab.new_run();
    run.cards.push(Place { channel: "C0MIRROR".into(), ..channel() });
    run.via = Some(via());
    lab.commit(Effect::Start(vec![run])).await;
    for owed in due(lab).await {
        let OwedKind::Card { place, via, .. } = owed.kind else { panic!() };
        assert_eq!(via.is_some(), place == channel());
    }
}

async fn a_reply_stands_in_the_thread_that_its_card_was_posted_into(lab: &Lab) {
    let thread = Place { thread: Some("170.0".into()), ..channel() };
    let mut run = lab.new_run();
    run.cards = vec![thread.clone()];
    let [board] = lab.boards().await;
    let id = run.id;
    lab.commit(Effect::Start(vec![run])).await;
    let lease = lab.on_board(id, 1, &board).await;
    assert_eq!(
        lab.store.run_advance(&lease, Stage::Booting, &[note("a")], at(2)).await.expect("advance"),
        Fenced::Done
    );
    send_one(lab, "171.1").await;
    let reply = send_one(lab, "171.2").await;
    assert!(matches!(&reply.kind, OwedKind::Reply { place, .. } if *place == thread), "{reply:?}");
    assert_eq!(lab.store.run_of_thread(&thread).await.expect("thread"), Some(Told::Run(1)));
}

async fn no_more_is_given_than_asked_for(lab: &Lab) {
    for _ in 0..3 {
        let effect = Effect::Start(vec![lab.new_run()]);
        lab.store.commit(Intake { answer_via: Some(via()), ..lab.intake(effect) }).await.expect("commit");
    }
    for limit in [0, 1, 3, 4, 6] {
        let owed = lab.store.message_due(at(60), limit).await.expect("due");
        assert_eq!(owed.len(), limit as usize);
    }
    assert_eq!(lab.store.message_next_due(T0 - Duration::from_secs(1)).await.expect("next"), Some(T0));
}

async fn a_channel_with_many_cards_waiting_hides_no_other(lab: &Lab) {
    let many = CHANNEL_HEADS_MAX as usize + 1;
    for _ in 0..many {
        lab.commit(Effect::Start(vec![lab.new_run()])).await;
    }
    for channel_id in ["C0AFTER", "C0AFTER2"] {
        let mut run = lab.new_run();
        run.cards = vec![Place { channel: channel_id.into(), ..channel() }];
        lab.commit(Effect::Start(vec![run])).await;
    }
    let numbers = |owed: &[Owed]| -> Vec<i64> {
        let number = |owed: &Owed| match owed.kind {
            OwedKind::Card { run, .. } => run,
            OwedKind::Reply { .. } | OwedKind::Answer { .. } => 0,
        };
        owed.iter().map(number).collect()
    };
    let mut first = numbers(&lab.store.message_due(at(60), 3).await.expect("due"));
    first.sort_unstable();
    assert_eq!(first, [1, many as i64 + 1, many as i64 + 2], "the first of every channel");
    let owed = due(lab).await;
    assert_eq!(owed.len(), CHANNEL_HEADS_MAX as usize + 2);
    end(lab, owed[0].id, sent("171.1", 1)).await;
    assert!(numbers(&due(lab).await).contains(&(many as i64)), "the last one has come up");
}

async fn a_card_that_is_not_told_is_looked_at_again_with_the_next_state(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, id, lease) = lab.running(&board).await;
    assert_eq!(lab.store.run_tell(&lease, 1, &note("first"), at(2)).await.expect("told"), Fenced::Done);
    let card = due(lab).await.remove(0);
    let OwedKind::Card { revision, .. } = card.kind else { panic!("{card:?}") };
    end(lab, card.id, End::Untold { revision, last: false }).await;
    assert_eq!(due(lab).await, [], "nor is its thread");
    lab.settled(&lease, id, outcome(Verdict::Failed, "tests-failed"), Decision::Finish).await;
    let card = send_one(lab, "171.1").await;
    assert!(matches!(card.kind, OwedKind::Card { run, message: None, last: true, .. } if run == number));
    for template in ["first", "run-finished"] {
        assert_eq!(said(&send_one(lab, "171.2").await), template);
    }
    assert_eq!(due(lab).await, []);
}

async fn what_comes_after_a_card_that_is_never_told_is_not_owed(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, id, lease) = lab.running(&board).await;
    lab.settled(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish).await;
    let card = due(lab).await.remove(0);
    let OwedKind::Card { revision, .. } = card.kind else { panic!("{card:?}") };
    end(lab, card.id, End::Untold { revision, last: true }).await;
    assert_eq!(due(lab).await, []);
    let log = Effect::Log { run: number, attempt: 1, note: note("run-log") };
    lab.commit(log).await;
    let retry =
        Effect::Retry { of: number, once: None, run: Box::new(lab.new_run()), note: note("run-retried") };
    lab.commit(retry).await;
    let owed = due(lab).await;
    assert!(owed.iter().all(|owed| matches!(owed.kind, OwedKind::Card { message: None, .. })), "{owed:?}");
    let old = owed.iter().find(|owed| owed.id == card.id).expect("the old card has a newer state");
    let OwedKind::Card { revision, .. } = old.kind else { panic!("{old:?}") };
    end(lab, card.id, End::Untold { revision, last: true }).await;
    let owed = due(lab).await;
    assert!(
        owed.iter().all(|owed| matches!(owed.kind, OwedKind::Card { run, .. } if run != number)),
        "{owed:?}"
    );
    assert_eq!(lab.store.census().await.expect("census").dead, 0);
}
