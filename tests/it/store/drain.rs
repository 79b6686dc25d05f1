//! Drains: what takes nothing new because somebody said so, and that nothing begins on it once that is said.

use boardhand::board::{BoardId, Site};
use boardhand::chat::AnswerVia;
use boardhand::outcome::Verdict;
use boardhand::run::Decision;
use boardhand::store::{AtRest, Drain, Drained, Effect, Effected, Fenced, Granted, LeaseTerms, NewDrain};

use super::lab::{at, effected, note, outcome, via};
use super::{Lab, store_tests};

store_tests! {
    a_drain_is_there_until_it_is_ended_or_another_takes_its_place,
    nothing_that_was_chosen_before_a_drain_begins_after_it,
    whoever_asked_is_told_once_that_nothing_is_on_it,
    what_drained_is_fenced_and_checked_before_it_is_used_again,
}

fn drain(of: Drained, boards: &[BoardId], tell: Vec<AnswerVia>) -> Effect {
    let tell = tell.into_iter().map(|via| (via, note("drain-held"))).collect();
    let (reason, ends_at) = ("a new fan".into(), Some(at(7200)));
    Effect::Drain(Box::new(NewDrain { of, reason, ends_at, boards: boards.to_vec(), tell }))
}

fn board(id: &BoardId) -> Drained {
    Drained::Board(id.clone())
}

async fn drains(lab: &Lab) -> Vec<Drain> {
    let drains = lab.store.drain_list().await.expect("drains");
    let changes = lab.store.queue_changes(None).await.expect("changes");
    assert_eq!(changes.drains, drains, "the scheduler reads the same");
    drains
}

/// Terms of whoever knows what drains now.
async fn terms(lab: &Lab) -> LeaseTerms {
    let changes = lab.store.queue_changes(None).await.expect("changes");
    LeaseTerms { drains_seen: Some(changes.newest_drain), ..lab.terms() }
}

async fn owed(lab: &Lab) -> u64 {
    lab.store.census().await.expect("census").owed
}

async fn a_drain_is_there_until_it_is_ended_or_another_takes_its_place(lab: &Lab) {
    let [a] = lab.boards().await;
    let site = Drained::Site(Site::new("Lab Site A"));
    lab.commit(drain(board(&a), &[], vec![])).await;
    lab.commit(drain(site.clone(), &[], vec![via(), via()])).await;
    assert_eq!(owed(lab).await, 2);
    let found = drains(lab).await;
    assert_eq!(found.iter().map(|drain| &drain.of).collect::<Vec<_>>(), [&board(&a), &site]);
    let first = &found[0];
    assert_eq!(
        (first.reason.as_str(), first.ends_at, first.by.id.as_str()),
        ("a new fan", Some(at(7200)), "U0LI")
    );
    lab.commit(drain(board(&a), &[], vec![])).await;
    let again = drains(lab).await;
    assert_eq!((again.len(), &again[1].of), (2, &board(&a)));
    assert!(again[1].number > found[1].number, "it is newer than all before");
    let end = |of: Drained| Effect::Undrain { of, boards: vec![] };
    assert_eq!(effected(&lab.commit(end(site.clone())).await), Effected::Done.as_str());
    assert_eq!(effected(&lab.commit(end(site)).await), Effected::Unchanged.as_str());
    let told = (via(), note("drain-over"));
    let number = again[1].number;
    assert!(lab.store.drain_over(number, &[], &told, at(7200)).await.expect("over"));
    assert!(!lab.store.drain_over(number, &[], &told, at(7200)).await.expect("again"));
    assert_eq!((drains(lab).await, owed(lab).await), (vec![], 3));
}

async fn nothing_that_was_chosen_before_a_drain_begins_after_it(lab: &Lab) {
    let [a, b] = lab.boards().await;
    let before = terms(lab).await;
    let (_, run) = lab.waiting().await;
    lab.commit(drain(board(&a), &[], vec![])).await;
    let grant = [lab.grant(run, 1, &b)];
    let granted = lab.store.lease_grant(&grant, &before).await.expect("grant");
    assert_eq!(granted, [Granted::Outdated]);
    assert_eq!(lab.store.lease_list().await.expect("leases"), []);
    let after = terms(lab).await;
    let granted = lab.store.lease_grant(&grant, &after).await.expect("grant");
    assert!(matches!(granted.as_slice(), [Granted::Leases(_)]), "{granted:?}");
    // One that was committed before is what it was.
    assert_eq!(lab.store.lease_grant(&grant, &before).await.expect("grant"), granted);
    // The end of one makes nobody choose again.
    lab.commit(Effect::Undrain { of: board(&a), boards: vec![] }).await;
    let (_, run) = lab.waiting().await;
    let granted = lab.store.lease_grant(&[lab.grant(run, 1, &a)], &after).await.expect("grant");
    assert!(matches!(granted.as_slice(), [Granted::Leases(_)]), "{granted:?}");
}

async fn whoever_asked_is_told_once_that_nothing_is_on_it(lab: &Lab) {
    let [a, b] = lab.boards().await;
    lab.commit(drain(board(&b), std::slice::from_ref(&b), vec![])).await;
    assert!(drains(lab).await[0].told, "they saw that nothing was");
    let (_, run, lease) = lab.running(&a).await;
    lab.commit(drain(board(&a), std::slice::from_ref(&a), vec![])).await;
    let number = drains(lab).await[1].number;
    assert!(!drains(lab).await[1].told);
    lab.settled(&lease, run, outcome(Verdict::Passed, ""), Decision::Finish).await;
    assert_eq!(lab.store.lease_release(&lease, &AtRest::Yes, at(70)).await.expect("release"), Fenced::Done);
    let before = owed(lab).await;
    for _ in 0..2 {
        lab.store.drain_tell(number, &(via(), note("drained")), at(80)).await.expect("told");
        assert!(drains(lab).await[1].told);
    }
    assert_eq!(owed(lab).await, before + 1);
}

async fn what_drained_is_fenced_and_checked_before_it_is_used_again(lab: &Lab) {
    let [a, b, broken] = lab.boards().await;
    let quarantine = Effect::Quarantine { board: broken.clone(), reason: "it smokes".into() };
    lab.commit(quarantine).await;
    let all = [a.clone(), broken.clone()];
    let site = Drained::Site(Site::new("Lab Site A"));
    lab.commit(drain(site.clone(), &all, vec![])).await;
    lab.commit(Effect::Undrain { of: site, boards: all.to_vec() }).await;
    let rows = lab.store.board_list().await.expect("boards");
    let wanted = |id: &BoardId| rows.iter().find(|row| row.id == *id).expect("a row").check_wanted;
    assert_eq!([wanted(&a), wanted(&b), wanted(&broken)], [true, false, false]);
    let (_, run) = lab.waiting().await;
    lab.on_board(run, 1, &a).await;
    assert!(lab.store.lease_list().await.expect("leases")[0].needs_fence);
}
