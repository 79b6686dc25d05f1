//! What admins look through: messages that were given up, and decisions on record; each bounded, and kept as long as it is
//! said.

use boardhand::store::{
    AUDIT_LOOKED_AT_MAX, Audit, AuditFilter, Effect, End, Intake, LETTERS_RESENT_MAX, LetterKind, MessageEnd,
    Outdated, OwedKind, TidyFrom,
};

use crate::lab::look::tamper;

use super::lab::{at, effected, note, via};
use super::{Lab, store_tests};

store_tests! {
    a_letter_has_its_number_until_it_is_sent_again,
    what_died_with_a_card_comes_back_with_it,
    an_answer_that_is_sent_again_needs_no_url,
    no_more_is_sent_again_at_once_than_the_bound,
    letters_are_forgotten_with_their_messages,
    the_record_is_filtered_and_paged,
}

async fn kill_all(lab: &Lab, error: &str) -> usize {
    let owed = lab.store.message_due(at(60), 500).await.expect("due");
    let dead = |id| MessageEnd { id, end: End::Dead { error: error.into() } };
    let ends: Vec<MessageEnd> = owed.iter().map(|owed| dead(owed.id)).collect();
    lab.store.message_end(&ends, at(60)).await.expect("end");
    // An end that is repeated counts once.
    lab.store.message_end(&ends, at(61)).await.expect("end");
    ends.len()
}

async fn resend(lab: &Lab, letter: Option<i64>) -> (String, u64) {
    let committed = lab.commit(Effect::Resend { letter }).await;
    let count = committed.answer.facts["count"].as_u64().expect("a count");
    (effected(&committed).to_owned(), count)
}

async fn numbers(lab: &Lab) -> Vec<i64> {
    let (letters, _) = lab.store.letter_list(100).await.expect("letters");
    letters.iter().map(|letter| letter.number).collect()
}

async fn a_letter_has_its_number_until_it_is_sent_again(lab: &Lab) {
    let (run, _) = lab.waiting().await;
    lab.waiting().await;
    assert_eq!(kill_all(lab, "is_archived").await, 2);
    let (letters, total) = lab.store.letter_list(1).await.expect("letters");
    assert_eq!((letters.len(), total), (1, 2));
    let (letters, _) = lab.store.letter_list(9).await.expect("letters");
    let oldest = letters.last().expect("two");
    assert_eq!((oldest.number, oldest.kind, oldest.run), (1, LetterKind::Card, Some(run)));
    assert_eq!(
        (oldest.error.as_str(), oldest.died_at, oldest.user.as_deref()),
        ("is_archived", at(60), None)
    );
    assert_eq!(resend(lab, Some(1)).await, ("done".into(), 1));
    assert_eq!(numbers(lab).await, [2]);
    assert_eq!(resend(lab, Some(1)).await, ("no-such-letter".into(), 0));
    let owed = lab.store.message_due(at(60), 9).await.expect("due");
    assert!(matches!(owed[..], [ref one] if one.tries == 0 && one.begun_at.is_none()), "{owed:?}");
    // It dies again, under a number of its own.
    assert_eq!(kill_all(lab, "is_archived").await, 1);
    assert_eq!(numbers(lab).await, [3, 2]);
}

async fn what_died_with_a_card_comes_back_with_it(lab: &Lab) {
    let [board] = lab.boards().await;
    let (_, _, lease) = lab.running(&board).await;
    for nth in 1..=2 {
        let _ = lab.store.run_tell(&lease, nth, &note("run-testing"), at(2)).await.expect("told");
    }
    assert_eq!(kill_all(lab, "is_archived").await, 1, "replies wait for their card");
    assert_eq!((lab.store.census().await.expect("census").dead, numbers(lab).await.len()), (3, 1));
    assert_eq!(resend(lab, None).await, ("done".into(), 1));
    let census = lab.store.census().await.expect("census");
    assert_eq!((census.dead, census.owed), (0, 3));
    let card = lab.store.message_due(at(60), 9).await.expect("due");
    let sent = End::Sent { message: "171.1".into(), revision: 9 };
    lab.store.message_end(&[MessageEnd { id: card[0].id, end: sent }], at(60)).await.expect("end");
    let reply = lab.store.message_due(at(60), 9).await.expect("due");
    assert!(matches!(&reply[..], [one] if matches!(one.kind, OwedKind::Reply { seq: 1, .. })), "{reply:?}");
}

async fn an_answer_that_is_sent_again_needs_no_url(lab: &Lab) {
    let asked = boardhand::chat::AnswerVia { url: Some("https://hooks.example/1".into()), ..via() };
    let intake = Intake { answer_via: Some(asked.clone()), ..lab.intake(Effect::None) };
    lab.store.commit(intake).await.expect("commit");
    assert_eq!(kill_all(lab, "too late to answer").await, 1);
    let (letters, _) = lab.store.letter_list(9).await.expect("letters");
    assert_eq!(
        (letters[0].kind, letters[0].user.as_deref()),
        (LetterKind::Answer, Some(asked.user.as_str()))
    );
    resend(lab, None).await;
    let owed = lab.store.message_due(at(60), 9).await.expect("due");
    let OwedKind::Answer { via, .. } = &owed[0].kind else { panic!("{owed:?}") };
    assert_eq!((via.url.as_deref(), via.user.as_str()), (None, asked.user.as_str()));
}

async fn no_more_is_sent_again_at_once_than_the_bound(lab: &Lab) {
    for _ in 0..=LETTERS_RESENT_MAX {
        let intake = Intake { answer_via: Some(via()), ..lab.intake(Effect::None) };
        lab.store.commit(intake).await.expect("commit");
    }
    kill_all(lab, "x").await;
    assert_eq!(resend(lab, None).await.1, u64::from(LETTERS_RESENT_MAX));
    assert_eq!(numbers(lab).await, [i64::from(LETTERS_RESENT_MAX) + 1]);
}

async fn letters_are_forgotten_with_their_messages(lab: &Lab) {
    lab.commit(Effect::None).await;
    let intake = Intake { answer_via: Some(via()), ..lab.intake(Effect::None) };
    lab.store.commit(intake).await.expect("commit");
    kill_all(lab, "x").await;
    // Its message may go a little before it does.
    let data = lab.dir.as_ref().expect("a directory").path();
    tamper(data, "DELETE FROM outbox WHERE state = 'dead'").await;
    assert_eq!(lab.store.letter_list(9).await.expect("letters"), (vec![], 0));
    assert_eq!(resend(lab, None).await, ("no-such-letter".into(), 0));
    lab.waiting().await;
    kill_all(lab, "x").await;
    for (before, left) in [(60, 1), (61, 0)] {
        let before = at(before);
        let outdated = Outdated {
            events: before,
            audit: before,
            messages: before,
            errands: before,
            leases: before,
            builds: before,
            campaigns: before,
            read_to: None,
        };
        lab.store.tidy(&outdated, TidyFrom::default(), 100).await.expect("tidy");
        assert_eq!(numbers(lab).await.len(), left);
    }
}

async fn the_record_is_filtered_and_paged(lab: &Lab) {
    let decided = async |target: &str, allowed: bool| {
        let audit = Audit { verb: "power".into(), target: target.into(), allowed, reason: "so".into() };
        lab.store.commit(Intake { audit, ..lab.intake(Effect::None) }).await.expect("commit");
    };
    decided("soc-a-001 on", true).await;
    decided("soc-a-0011 on", true).await;
    decided("soc-a-001", false).await;
    let all = AuditFilter { limit: 2, ..AuditFilter::default() };
    let positions = async |filter: &AuditFilter| {
        let found = lab.store.audit_list(filter).await.expect("decisions");
        (found.decisions.iter().map(|d| d.position).collect::<Vec<_>>(), found.next)
    };
    assert_eq!(positions(&all).await, (vec![3, 2], Some(2)));
    assert_eq!(positions(&AuditFilter { before: Some(2), ..all.clone() }).await, (vec![1], None));
    let board = AuditFilter { target: Some("soc-a-001".into()), ..all.clone() };
    assert_eq!(positions(&board).await, (vec![3, 1], None));
    assert_eq!(positions(&AuditFilter { refused: true, ..board }).await, (vec![3], None));
    let who = |who: &str| AuditFilter { actors: Some(vec![who.into()]), limit: 9, ..AuditFilter::default() };
    let li = super::lab::li().key();
    assert_eq!(positions(&who(&li)).await, (vec![3, 2, 1], None));
    assert_eq!(positions(&who("slack:U0NOBODY")).await, (vec![], None));
    assert_eq!(positions(&AuditFilter { since: Some(at(1)), ..all }).await, (vec![], None));
    // One look reads so many, and the next goes on behind them.
    let data = lab.dir.as_ref().expect("a directory").path();
    tamper(
        data,
        "INSERT INTO audit (at, actor, verb, target, allowed, reason)
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
         SELECT 1760000009000000, 'slack:U0OTHER', 'why', '', 1, 'so' FROM n",
    )
    .await;
    assert_eq!(AUDIT_LOOKED_AT_MAX, 50_000);
    assert_eq!(positions(&who(&li)).await, (vec![], Some(4)));
    assert_eq!(positions(&AuditFilter { before: Some(4), ..who(&li) }).await, (vec![3, 2, 1], None));
}
