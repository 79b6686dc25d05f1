//! Workers of remote sites: who has a name, whose leases go on, and reports that count once.

use boardhand::board::Site;
use boardhand::id::InstanceId;
use boardhand::outcome::Verdict;
use boardhand::run::{Decision, LeaseRef, RunState, Stage};
use boardhand::store::{AtRest, Fenced, LeaseTerms, NewWorker, Registered, Report, Reported, WorkerRow};

use super::lab::{T0, at, lease_ref, note, outcome};
use super::{Lab, store_tests};

store_tests! {
    a_worker_that_has_another_name_is_known_by_its_folder,
    a_clock_that_is_put_back_keeps_no_board_from_the_others,
    a_worker_is_forgotten_once_it_has_nothing,
    a_worker_is_known_by_its_name_and_its_folder,
    a_sign_of_life_renews_every_lease_of_its_worker_and_no_other,
    what_a_worker_drives_outlives_its_server_and_lapses_by_its_own_silence,
    a_report_counts_once_and_under_a_live_lease_of_its_worker_only,
}

fn worker(lab: &Lab, id: &str, home: u8) -> NewWorker {
    NewWorker {
        id: id.into(),
        instance: InstanceId::new(&lab.ids, T0),
        home: [home; 32],
        site: Site::new("Lab Site A"),
        version: "0.1.0".into(),
        capacity: 8,
        token: "rack-a".into(),
    }
}

async fn begun(lab: &Lab, worker: &NewWorker, now: u64) -> usize {
    match lab.store.worker_register(worker, at(now)).await.expect("register") {
        Registered::Done(lapsed) => lapsed.len(),
        other => panic!("{other:?}"),
    }
}

/// A run on a board that a worker drives: its number and lease.
async fn driven(
    lab: &Lab,
    worker: &NewWorker,
    board: &boardhand::board::BoardId,
) -> (i64, boardhand::id::RunId, LeaseRef) {
    let (number, id) = lab.waiting().await;
    let terms = LeaseTerms { instance: worker.instance, expires_at: at(60), ..lab.terms() };
    let granted = lab.store.lease_grant(&[lab.grant(id, 1, board)], &terms).await.expect("grant");
    let [boardhand::store::Granted::Leases(leases)] = granted.as_slice() else { panic!("{granted:?}") };
    (number, id, lease_ref(&leases[0]))
}

async fn a_worker_is_known_by_its_name_and_its_folder(lab: &Lab) {
    let [board] = lab.boards().await;
    let first = worker(lab, "rack-a", 1);
    assert_eq!(begun(lab, &first, 1).await, 0);
    let (number, ..) = driven(lab, &first, &board).await;
    let rows: Vec<WorkerRow> = lab.store.worker_list().await.expect("workers");
    assert_eq!((rows.len(), &rows[0].worker, rows[0].registered_at), (1, &first, at(1)));
    // The same life again, and a stranger with its name.
    assert_eq!(begun(lab, &first, 2).await, 0);
    let stranger = worker(lab, "rack-a", 2);
    assert_eq!(lab.store.worker_register(&stranger, at(3)).await.expect("register"), Registered::Taken);
    assert!(matches!(lab.view(number).await.run.state, RunState::Active { .. }));
    // Its next life: what the one before drove is taken away at once, and said to be its.
    let next = worker(lab, "rack-a", 1);
    assert_eq!(begun(lab, &next, 4).await, 1);
    let view = lab.view(number).await;
    assert!(matches!(view.run.state, RunState::Queued { attempt: 2, .. }), "{:?}", view.run.state);
    let lost = view.attempts[0].outcome.as_ref().expect("an outcome");
    assert_eq!((lost.cause.as_str(), lost.detail.as_str()), ("worker-lost", "the worker rack-a was lost"));
    let rows = lab.store.worker_list().await.expect("workers");
    assert_eq!(
        (rows.len(), &rows[0].worker, rows[0].registered_at, rows[0].left_at),
        (1, &next, at(4), None)
    );
    assert_eq!(lab.store.worker_beat(first.instance, at(5), at(65)).await.expect("beat"), None);
    assert!(!lab.store.worker_leave(first.instance, at(5)).await.expect("leave"));
    assert!(lab.store.worker_leave(next.instance, at(6)).await.expect("leave"));
    assert_eq!(lab.store.worker_list().await.expect("workers")[0].left_at, Some(at(6)));
}

async fn a_sign_of_life_renews_every_lease_of_its_worker_and_no_other(lab: &Lab) {
    let [a, b, c] = lab.boards().await;
    let (one, two) = (worker(lab, "rack-a", 1), worker(lab, "rack-b", 2));
    begun(lab, &one, 1).await;
    begun(lab, &two, 1).await;
    let (_, _, first) = driven(lab, &one, &a).await;
    let (_, _, second) = driven(lab, &one, &b).await;
    driven(lab, &two, &c).await;
    let renewed =
        lab.store.worker_beat(one.instance, at(20), at(80)).await.expect("beat").expect("it is known");
    let mut ids: Vec<_> = renewed.iter().map(|lease| (lease.id, lease.expires_at)).collect();
    ids.sort();
    let mut expect = vec![(first.id, at(80)), (second.id, at(80))];
    expect.sort();
    assert_eq!(ids, expect);
    let ends: Vec<_> =
        lab.store.lease_list().await.expect("leases").iter().map(|lease| lease.expires_at).collect();
    assert_eq!(ends.iter().filter(|end| **end == at(60)).count(), 1, "{ends:?}");
    assert_eq!(lab.store.worker_list().await.expect("workers")[0].seen_at, at(20));
}

async fn what_a_worker_drives_outlives_its_server_and_lapses_by_its_own_silence(lab: &Lab) {
    let [a, b] = lab.boards().await;
    let rack = worker(lab, "rack-a", 1);
    begun(lab, &rack, 1).await;
    let (number, _, lease) = driven(lab, &rack, &a).await;
    let (own, ..) = lab.running(&b).await;
    let next = InstanceId::new(&lab.ids, T0);
    let lapsed = lab.store.lease_takeover(next, at(10)).await.expect("takeover");
    assert_eq!(lapsed.len(), 1, "the server's own");
    assert!(matches!(lab.view(own).await.run.state, RunState::Queued { .. }));
    assert_eq!(
        lab.store.lease_expire(next, at(9000)).await.expect("expire"),
        [],
        "not by the server's clock alone"
    );
    assert_eq!(
        lab.store.worker_expire(rack.instance, at(59), at(131)).await.expect("expire"),
        [],
        "it is not over"
    );
    lab.store.worker_beat(rack.instance, at(30), at(90)).await.expect("beat").expect("known");
    assert_eq!(
        lab.store.worker_expire(rack.instance, at(72), at(144)).await.expect("expire"),
        [],
        "it was renewed"
    );
    let lapsed = lab.store.worker_expire(rack.instance, at(102), at(174)).await.expect("expire");
    assert!(matches!(&lapsed[..], [lapsed] if lapsed.requeued && lapsed.lease.id == lease.id), "{lapsed:?}");
    assert!(matches!(lab.view(number).await.run.state, RunState::Queued { attempt: 2, .. }));
    assert_eq!(lab.store.worker_beat(rack.instance, at(103), at(163)).await.expect("beat"), Some(vec![]));
}

async fn a_report_counts_once_and_under_a_live_lease_of_its_worker_only(lab: &Lab) {
    let [board] = lab.boards().await;
    let (rack, other) = (worker(lab, "rack-a", 1), worker(lab, "rack-b", 2));
    begun(lab, &rack, 1).await;
    begun(lab, &other, 1).await;
    let (number, run, lease) = driven(lab, &rack, &board).await;
    let report = async |by: &NewWorker, lease: &LeaseRef, number: u64, report: Report| {
        let reported = Reported { instance: by.instance, lease: lease.clone(), number, report, now: at(5) };
        lab.store.worker_report(&reported).await.expect("a report")
    };
    let owed = async || lab.store.census().await.expect("census").owed;
    let before = owed().await;
    let testing = || Report::Advance(Stage::Testing, vec![note("run-testing")]);
    assert_eq!(report(&rack, &lease, 1, testing()).await, Fenced::Done);
    assert_eq!(report(&rack, &lease, 1, testing()).await, Fenced::Done, "a repeat is answered as it was");
    assert_eq!(owed().await, before + 1, "and tells nothing again");
    let done = outcome(Verdict::Passed, "");
    let settle = || Report::Settle(Box::new(lab.settle(&lease, run, done.clone(), Decision::Finish)));
    // Under another's lease, and under an older fence.
    assert_eq!(report(&other, &lease, 2, settle()).await, Fenced::Stale);
    let older = LeaseRef { fence: boardhand::lease::Fence(lease.fence.0 - 1), ..lease.clone() };
    assert_eq!(report(&rack, &older, 2, settle()).await, Fenced::Stale);
    assert!(matches!(lab.view(number).await.run.state, RunState::Active { .. }));
    assert_eq!(report(&rack, &lease, 2, settle()).await, Fenced::Done);
    let told = owed().await;
    assert_eq!(report(&rack, &lease, 2, settle()).await, Fenced::Done, "its answer got lost");
    assert_eq!(report(&rack, &lease, 1, testing()).await, Fenced::Done, "one that was on its way for long");
    assert_eq!(owed().await, told);
    assert_eq!(report(&rack, &lease, 3, Report::Release(AtRest::Yes)).await, Fenced::Done);
    assert_eq!(report(&rack, &lease, 3, Report::Release(AtRest::Yes)).await, Fenced::Done);
    assert_eq!(report(&rack, &lease, 4, Report::Fenced).await, Fenced::Stale, "it is given back");
    assert!(matches!(lab.view(number).await.run.state, RunState::Finished { .. }));
    assert_eq!(lab.store.lease_list().await.expect("leases"), []);
}

async fn a_worker_that_has_another_name_is_known_by_its_folder(lab: &Lab) {
    let [board] = lab.boards().await;
    let first = worker(lab, "f3a9c1", 1);
    begun(lab, &first, 1).await;
    begun(lab, &worker(lab, "rack-b", 2), 1).await;
    let (number, ..) = driven(lab, &first, &board).await;
    // What the life before drove is free at once, and its name is nobody's.
    let renamed = worker(lab, "77be02", 1);
    assert_eq!(begun(lab, &renamed, 2).await, 1);
    assert!(matches!(lab.view(number).await.run.state, RunState::Queued { attempt: 2, .. }));
    let rows = lab.store.worker_list().await.expect("workers");
    let names: Vec<&str> = rows.iter().map(|row| row.worker.id.as_str()).collect();
    assert_eq!(names, ["rack-b", "77be02"]);
    assert_eq!(lab.store.worker_beat(first.instance, at(3), at(63)).await.expect("beat"), None);
}

async fn a_clock_that_is_put_back_keeps_no_board_from_the_others(lab: &Lab) {
    let [a, b] = lab.boards().await;
    let rack = worker(lab, "rack-a", 1);
    begun(lab, &rack, 1).await;
    driven(lab, &rack, &a).await;
    // The last sign of life by a clock that was an hour ahead.
    lab.store.worker_beat(rack.instance, at(3_600), at(3_660)).await.expect("beat").expect("known");
    let lapsed = lab.store.worker_expire(rack.instance, at(80), at(152)).await.expect("expire");
    assert_eq!(lapsed.len(), 1, "no lease that is given now lasts that long");
    // One that is renewed at this moment is not taken away.
    driven(lab, &rack, &b).await;
    lab.store.worker_beat(rack.instance, at(81), at(141)).await.expect("beat").expect("known");
    assert_eq!(lab.store.worker_expire(rack.instance, at(80), at(152)).await.expect("expire"), []);
}

async fn a_worker_is_forgotten_once_it_has_nothing(lab: &Lab) {
    let [board] = lab.boards().await;
    let rack = worker(lab, "rack-a", 1);
    begun(lab, &rack, 1).await;
    let (_, _, lease) = driven(lab, &rack, &board).await;
    assert!(!lab.store.worker_forget(rack.instance).await.expect("forget"), "it has a board");
    assert_eq!(lab.store.worker_list().await.expect("workers").len(), 1);
    lab.store.lease_lapse(&[lease.id], at(2)).await.expect("lapse");
    assert!(lab.store.worker_forget(rack.instance).await.expect("forget"));
    assert!(!lab.store.worker_forget(rack.instance).await.expect("forget"), "it was");
    assert_eq!(lab.store.worker_list().await.expect("workers"), []);
    // Whoever comes back begins.
    assert_eq!(lab.store.worker_beat(rack.instance, at(3), at(63)).await.expect("beat"), None);
}
