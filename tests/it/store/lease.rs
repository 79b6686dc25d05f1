//! Leases: one live lease per board, a fence that only rises, and writes under an old one that change nothing.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use boardhand::board::BoardId;
use boardhand::id::{InstanceId, LeaseId, RunId};
use boardhand::lease::{Fence, Holder, LeaseState};
use boardhand::outcome::{Counts, Verdict};
use boardhand::run::{Decision, LeaseRef, RunState, Stage};
use boardhand::store::{AtRest, Effected, Fenced, Grant, Granted, Health, LeaseTerms};

use super::lab::{T0, at, counted, lease_ref, li, note, outcome, via};
use super::{Lab, store_tests};

store_tests! {
    a_grant_puts_the_run_on_the_board,
    a_board_has_one_lease_at_a_time_and_its_fence_rises,
    the_same_grant_again_gives_the_same_lease,
    a_run_gets_all_its_boards_or_none,
    eight_granters_grant_two_hundred_runs_once_each,
    a_stale_fence_changes_nothing,
    a_run_s_board_is_given_back_only_after_its_outcome,
    every_lease_operation_repeated_is_harmless,
    a_board_not_at_rest_is_suspect_until_it_is_fenced,
    infra_outcomes_in_a_row_quarantine_a_board,
    a_person_holds_a_board_past_renewals_and_restarts_but_not_past_the_end,
    renewal_reaches_the_instance_s_own_leases_only,
    expiry_spares_the_instance_that_lives,
    a_quarantined_board_comes_back_into_service_and_is_fenced_first,
    a_grant_that_nobody_began_with_is_taken_back_as_if_it_never_was,
    what_has_begun_or_was_asked_to_end_is_not_taken_back,
    leases_whose_driver_died_are_taken_away_and_no_others,
    a_run_of_whoever_has_the_board_is_under_their_lease_and_leaves_it_held,
    a_run_under_somebody_s_lease_is_lost_with_its_process_and_the_board_stays_theirs,
    what_ends_under_a_run_goes_on_as_the_run_s_own,
}

async fn a_run_of_whoever_has_the_board_is_under_their_lease_and_leaves_it_held(lab: &Lab) {
    let [board] = lab.boards().await;
    let hold = lab.held(&board).await;
    let ((number, id), (second, second_id)) = (lab.waiting().await, lab.waiting().await);
    let lease = lab.on_board(id, 1, &board).await;
    assert_eq!(lease, hold, "the same lease, the same fence");
    let other = lab.store.lease_grant(&[lab.grant(second_id, 1, &board)], &lab.terms()).await.expect("grant");
    assert!(
        matches!(&other[0], Granted::Taken(taken) if taken.hold.as_ref().is_some_and(|h| h.run == Some((number, 1))))
    );
    for answer in every_write(lab, &LeaseRef { fence: Fence(9), ..lease.clone() }, id).await {
        assert_eq!(answer, Fenced::Stale);
    }
    assert_eq!(
        lab.store.run_advance(&lease, Stage::Testing, &[], at(3)).await.expect("advance"),
        Fenced::Done
    );
    // What they do to it says nothing about it.
    lab.settled(&lease, id, outcome(Verdict::Infra, "console-busy"), Decision::Finish).await;
    let row = &lab.store.board_list().await.expect("boards")[0];
    let now = row.lease.as_ref().expect("it is theirs still");
    assert_eq!((now.state, now.expires_at, row.failures), (LeaseState::Held, at(7200), 0));
    assert_eq!(lab.store.lease_state(&hold).await.expect("state"), Some(LeaseState::Held));
    assert_eq!(lab.on_board(second_id, 1, &board).await, hold);
    lab.settled(&lease, second_id, outcome(Verdict::Passed, ""), Decision::Finish).await;
    assert_eq!(lab.view(second).await.attempts[0].fence, Fence(1));
}

async fn a_run_under_somebody_s_lease_is_lost_with_its_process_and_the_board_stays_theirs(lab: &Lab) {
    let [board] = lab.boards().await;
    let hold = lab.held(&board).await;
    let (number, id) = lab.waiting().await;
    lab.on_board(id, 1, &board).await;
    assert_eq!(lab.store.lease_expire(other_instance(lab), at(9000)).await.expect("expire"), []);
    // By the death of its runner, and by that of the process.
    for attempt in 2..4 {
        match attempt {
            2 => drop(lab.store.lease_lapse(&[hold.id], at(30)).await.expect("lapse")),
            _ => drop(lab.store.lease_takeover(other_instance(lab), at(31)).await.expect("takeover")),
        }
        let state = lab.view(number).await.run.state;
        assert!(matches!(&state, RunState::Queued { attempt: now, .. } if *now == attempt), "{state:?}");
        let now = &lab.store.lease_list().await.expect("list")[0];
        assert_eq!((now.id, now.state, now.needs_fence), (hold.id, LeaseState::Held, true));
        assert_eq!(lab.on_board(id, attempt, &board).await, hold);
    }
    assert_eq!(lab.store.lease_fenced(&hold, at(32)).await.expect("fenced"), Fenced::Done);
    assert!(!lab.store.lease_list().await.expect("list")[0].needs_fence);
}

async fn what_ends_under_a_run_goes_on_as_the_run_s_own(lab: &Lab) {
    let [board] = lab.boards().await;
    let hold = lab.held(&board).await;
    let (number, id) = lab.waiting().await;
    lab.on_board(id, 1, &board).await;
    let (rest, told) = (LeaseId::new(&lab.ids, T0), (via(), note("hold-over")));
    assert_eq!(lab.store.hold_expire(&hold, rest, &told, at(7200)).await.expect("expire"), Effected::GoesOn);
    let now = &lab.store.lease_list().await.expect("list")[0];
    let holder = Holder::Run { run: id, number, attempt: 1 };
    assert_eq!(
        (now.id, now.fence, now.state, &now.holder),
        (hold.id, hold.fence, LeaseState::Active, &holder)
    );
    lab.settled(&hold, id, outcome(Verdict::Passed, ""), Decision::Finish).await;
    assert_eq!(lab.store.lease_state(&hold).await.expect("state"), Some(LeaseState::Finalizing));
    assert_eq!(lab.store.lease_release(&hold, &AtRest::Yes, at(7300)).await.expect("release"), Fenced::Done);
    assert_eq!(lab.running(&board).await.2.fence, Fence(2));
}

async fn leases_whose_driver_died_are_taken_away_and_no_others(lab: &Lab) {
    let [board, other] = lab.boards().await;
    let (number, _, lease) = lab.running(&board).await;
    let (theirs, ..) = lab.running(&other).await;
    let lapsed = lab.store.lease_lapse(&[lease.id], at(30)).await.expect("lapse");
    assert!(
        matches!(lapsed.as_slice(), [lapsed] if lapsed.lease.id == lease.id && lapsed.requeued),
        "{lapsed:?}"
    );
    assert!(matches!(lab.view(number).await.run.state, RunState::Queued { attempt: 2, .. }));
    assert!(matches!(lab.view(theirs).await.run.state, RunState::Active { .. }));
    assert_eq!(lab.store.lease_lapse(&[lease.id], at(31)).await.expect("again"), []);
}

async fn a_grant_puts_the_run_on_the_board(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, id, lease) = lab.running(&board).await;
    let view = lab.view(number).await;
    let RunState::Active { stage, attempt, lease: under, started_at } = &view.run.state else { panic!() };
    assert_eq!((*stage, *attempt, under, *started_at), (Stage::Leased, 1, &lease, at(1)));
    assert_eq!((view.attempts.len(), view.attempts[0].fence), (1, Fence(1)));
    let leases = lab.store.lease_list().await.expect("list");
    assert_eq!(leases[0].holder, Holder::Run { run: id, number, attempt: 1 });
    assert_eq!((leases[0].state, leases[0].needs_fence), (LeaseState::Active, false));
    assert_eq!(lab.store.board_list().await.expect("boards")[0].lease.as_ref(), Some(&leases[0]));
}

async fn a_board_has_one_lease_at_a_time_and_its_fence_rises(lab: &Lab) {
    let [board] = lab.boards().await;
    let (_, id, lease) = lab.running(&board).await;
    let (_, other) = lab.waiting().await;
    let granted = lab.store.lease_grant(&[lab.grant(other, 1, &board)], &lab.terms()).await.expect("grant");
    assert!(matches!(&granted[0], Granted::Taken(taken) if taken.id == lease.id), "{granted:?}");
    lab.settled(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish).await;
    assert_eq!(lab.store.lease_release(&lease, &AtRest::Yes, at(70)).await.expect("release"), Fenced::Done);
    assert_eq!(lab.on_board(other, 1, &board).await.fence, Fence(2));

    let nowhere = BoardId::new("soc-b-001");
    let (_, third) = lab.waiting().await;
    let grants = [lab.grant(third, 1, &nowhere), lab.grant(third, 2, &board), lab.grant(id, 1, &board)];
    let granted = lab.store.lease_grant(&grants, &lab.terms()).await.expect("grant");
    assert!(matches!(granted[0], Granted::OutOfService { .. }), "{granted:?}");
    assert_eq!(granted[1..], [Granted::Gone, Granted::Gone]);
}

async fn the_same_grant_again_gives_the_same_lease(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, id) = lab.waiting().await;
    let grant = lab.grant(id, 1, &board);
    let twice = [grant.clone(), grant.clone()];
    let first = lab.store.lease_grant(&twice, &lab.terms()).await.expect("grant");
    assert_eq!(first[0], first[1]);
    let view = lab.view(number).await;
    assert_eq!(lab.store.lease_grant(&[grant], &lab.terms()).await.expect("again"), first[..1]);
    assert_eq!(lab.view(number).await, view);
}

async fn a_run_gets_all_its_boards_or_none(lab: &Lab) {
    let [a, b, c] = lab.boards().await;
    lab.running(&b).await;
    let (number, id) = lab.waiting().await;
    let lease = |board: &BoardId| (LeaseId::new(&lab.ids, T0), board.clone());
    let grant = |boards: &[&BoardId]| Grant {
        run: id,
        attempt: 1,
        leases: boards.iter().map(|b| lease(b)).collect(),
    };
    let none = lab.store.lease_grant(&[grant(&[&a, &b])], &lab.terms()).await.expect("grant");
    assert!(matches!(none[0], Granted::Taken(_)), "{none:?}");
    assert_eq!(lab.store.lease_list().await.expect("list").len(), 1);
    let both = lab.store.lease_grant(&[grant(&[&a, &c])], &lab.terms()).await.expect("grant");
    let [Granted::Leases(leases)] = both.as_slice() else { panic!("{both:?}") };
    let RunState::Active { lease, .. } = lab.view(number).await.run.state else { panic!() };
    assert_eq!(lease, lease_ref(&leases[0]));
    lab.settled(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish).await;
    for lease in leases {
        let released =
            lab.store.lease_release(&lease_ref(lease), &AtRest::Yes, at(61)).await.expect("release");
        assert_eq!(released, Fenced::Done);
    }
}

async fn eight_granters_grant_two_hundred_runs_once_each(lab: &Lab) {
    let boards = lab.boards::<200>().await;
    let runs: Vec<RunId> = {
        let effects = (0..200).map(|_| lab.new_run()).collect::<Vec<_>>();
        let ids = effects.iter().map(|run| run.id).collect();
        lab.commit(boardhand::store::Effect::Start(effects)).await;
        ids
    };
    let runs = Arc::new(runs);
    let mut granters = tokio::task::JoinSet::new();
    for granter in 0..8usize {
        let (store, runs, boards) = (lab.store.clone(), runs.clone(), boards.clone());
        let ids = lab.ids.clone();
        let terms = LeaseTerms { instance: InstanceId::new(&ids, T0), ..lab.terms() };
        granters.spawn(async move {
            let mut granted = Vec::new();
            // Each begins elsewhere, so that they race for different runs and boards all the time.
            for i in 0..200 {
                let i = (i + granter * 25) % 200;
                let lease = (LeaseId::new(&ids, T0), boards[(i * 7 + granter) % 200].clone());
                let grant = Grant { run: runs[i], attempt: 1, leases: vec![lease] };
                if let Granted::Leases(leases) = &store.lease_grant(&[grant], &terms).await.expect("grant")[0]
                {
                    granted.push((runs[i], leases[0].board.clone()));
                }
            }
            granted
        });
    }
    let granted: Vec<(RunId, BoardId)> = granters.join_all().await.into_iter().flatten().collect();
    let distinct_runs: HashSet<_> = granted.iter().map(|(run, _)| run).collect();
    let distinct_boards: HashSet<_> = granted.iter().map(|(_, board)| board).collect();
    assert_eq!((distinct_runs.len(), distinct_boards.len()), (granted.len(), granted.len()));
    let census = lab.store.census().await.expect("census");
    assert_eq!(
        (census.active, census.leases, census.queued),
        (granted.len() as u64, granted.len() as u64, 200 - granted.len() as u64)
    );
    assert!(granted.len() > 100, "{}", granted.len());
}

async fn a_stale_fence_changes_nothing(lab: &Lab) {
    let [board, other] = lab.boards().await;
    let (number, id, lease) = lab.running(&board).await;
    let before = lab.view(number).await;
    let stale = [
        LeaseRef { fence: Fence(0), ..lease.clone() },
        LeaseRef { fence: Fence(2), ..lease.clone() },
        LeaseRef { board: other.clone(), ..lease.clone() },
        LeaseRef { id: LeaseId::new(&lab.ids, T0), ..lease.clone() },
    ];
    for lease in &stale {
        for answer in every_write(lab, lease, id).await {
            assert_eq!(answer, Fenced::Stale, "{lease:?}");
        }
    }
    assert_eq!(lab.view(number).await, before);
    // The right fence of a lease that is over is as stale as a wrong one.
    lab.settled(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish).await;
    assert_eq!(lab.store.lease_release(&lease, &AtRest::Yes, at(70)).await.expect("release"), Fenced::Done);
    let before = (lab.view(number).await, lab.store.board_list().await.expect("boards"));
    for answer in every_write(lab, &lease, id).await {
        assert_eq!(answer, Fenced::Stale);
    }
    assert_eq!((lab.view(number).await, lab.store.board_list().await.expect("boards")), before);
}

async fn every_write(lab: &Lab, lease: &LeaseRef, run: RunId) -> [Fenced; 5] {
    let store = &lab.store;
    let progress = counted(Counts { passed: 9, failed: 9, skipped: 9 });
    let settle =
        lab.settle(lease, run, outcome(Verdict::Infra, "console"), Decision::TryAgain { avoid: vec![] });
    [
        store.run_advance(lease, Stage::Booting, &[note("run-leased")], at(90)).await.expect("advance"),
        store.run_progress(lease, &progress, at(90)).await.expect("progress"),
        store.run_settle(&settle).await.expect("settle"),
        store.lease_fenced(lease, at(90)).await.expect("fenced"),
        store.lease_release(lease, &AtRest::No("dark".into()), at(90)).await.expect("release"),
    ]
}

async fn a_run_s_board_is_given_back_only_after_its_outcome(lab: &Lab) {
    let [board] = lab.boards().await;
    let (_, id, lease) = lab.running(&board).await;
    assert_eq!(lab.store.lease_release(&lease, &AtRest::Yes, at(2)).await.expect("release"), Fenced::Stale);
    lab.settled(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish).await;
    assert_eq!(lab.store.lease_list().await.expect("list")[0].state, LeaseState::Finalizing);
    assert_eq!(lab.store.lease_release(&lease, &AtRest::Yes, at(62)).await.expect("release"), Fenced::Done);
    let board = &lab.store.board_list().await.expect("boards")[0];
    assert_eq!((&board.lease, board.last_used_at, board.health), (&None, Some(at(62)), Health::Good));
}

async fn every_lease_operation_repeated_is_harmless(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, id, lease) = lab.running(&board).await;
    for _ in 0..2 {
        assert_eq!(lab.store.lease_fenced(&lease, at(2)).await.expect("fenced"), Fenced::Done);
    }
    let notes = [note("run-first-failure")];
    let advanced = lab.store.run_advance(&lease, Stage::Testing, &notes, at(3)).await.expect("advance");
    assert_eq!(advanced, Fenced::Done);
    let before = (lab.view(number).await, lab.store.census().await.expect("census"));
    for stage in [Stage::Testing, Stage::Booting] {
        let again = lab.store.run_advance(&lease, stage, &notes, at(4)).await.expect("advance");
        assert_eq!(again, Fenced::Done);
    }
    assert_eq!((lab.view(number).await, lab.store.census().await.expect("census")), before);

    lab.settled(&lease, id, outcome(Verdict::Failed, "panic"), Decision::Finish).await;
    let before = (lab.view(number).await, lab.store.census().await.expect("census"));
    let again = lab.settle(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish);
    assert_eq!(lab.store.run_settle(&again).await.expect("settle"), Fenced::Stale);
    assert_eq!((lab.view(number).await, lab.store.census().await.expect("census")), before);
    assert_eq!(lab.store.lease_release(&lease, &AtRest::Yes, at(70)).await.expect("release"), Fenced::Done);
    assert_eq!(lab.store.lease_release(&lease, &AtRest::Yes, at(71)).await.expect("release"), Fenced::Stale);
    assert_eq!(lab.store.lease_expire(lab.instance, at(1000)).await.expect("expire"), []);
    let again = InstanceId::new(&lab.ids, T0);
    assert_eq!(lab.store.lease_takeover(again, at(1000)).await.expect("takeover"), []);
}

async fn a_board_not_at_rest_is_suspect_until_it_is_fenced(lab: &Lab) {
    let [board] = lab.boards().await;
    let (_, id, lease) = lab.running(&board).await;
    lab.settled(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish).await;
    let rest = AtRest::No("the outlet did not answer".into());
    assert_eq!(lab.store.lease_release(&lease, &rest, at(62)).await.expect("release"), Fenced::Done);
    let row = &lab.store.board_list().await.expect("boards")[0];
    assert_eq!((row.health, row.reason.as_str()), (Health::Suspect, "the outlet did not answer"));
    let (_, _, lease) = lab.running(&board).await;
    assert!(lab.store.lease_list().await.expect("list")[0].needs_fence);
    assert_eq!(lab.store.lease_fenced(&lease, at(63)).await.expect("fenced"), Fenced::Done);
    assert!(!lab.store.lease_list().await.expect("list")[0].needs_fence);
    let row = &lab.store.board_list().await.expect("boards")[0];
    assert_eq!((row.health, row.reason.as_str()), (Health::Good, ""));
}

async fn infra_outcomes_in_a_row_quarantine_a_board(lab: &Lab) {
    let [board] = lab.boards().await;
    for (verdict, failures) in
        [(Verdict::Infra, 1), (Verdict::Failed, 0), (Verdict::Infra, 1), (Verdict::Infra, 2)]
    {
        let (_, id, lease) = lab.running(&board).await;
        lab.settled(&lease, id, outcome(verdict, "console-busy"), Decision::Finish).await;
        assert_eq!(
            lab.store.lease_release(&lease, &AtRest::Yes, at(62)).await.expect("release"),
            Fenced::Done
        );
        assert_eq!(lab.store.board_list().await.expect("boards")[0].failures, failures);
    }
    let row = &lab.store.board_list().await.expect("boards")[0];
    assert_eq!(row.health, Health::Quarantined);
    assert!(row.reason.contains("console-busy"), "{}", row.reason);
    let (_, id) = lab.waiting().await;
    let granted = lab.store.lease_grant(&[lab.grant(id, 1, &board)], &lab.terms()).await.expect("grant");
    assert!(matches!(granted[0], Granted::OutOfService { .. }), "{granted:?}");
    // Somebody has to look at it.
    let (id, holder, terms) = (LeaseId::new(&lab.ids, T0), Holder::Check(li()), lab.terms());
    let take = lab.store.lease_take(id, &board, &holder, &terms);
    assert!(matches!(take.await.expect("take"), Granted::Leases(_)));
}

async fn a_person_holds_a_board_past_renewals_and_restarts_but_not_past_the_end(lab: &Lab) {
    let [board] = lab.boards().await;
    let id = LeaseId::new(&lab.ids, T0);
    let terms = LeaseTerms { expires_at: at(7200), ..lab.terms() };
    let holder = Holder::Person(li());
    let taken = lab.store.lease_take(id, &board, &holder, &terms).await.expect("take");
    assert_eq!(lab.store.lease_take(id, &board, &holder, &terms).await.expect("again"), taken);
    let check = Holder::Check(li());
    let other = lab.store.lease_take(LeaseId::new(&lab.ids, T0), &board, &check, &terms);
    assert!(matches!(other.await.expect("take"), Granted::Taken(_)));

    assert_eq!(lab.store.lease_renew(lab.instance, at(9000)).await.expect("renew"), []);
    let next = InstanceId::new(&lab.ids, T0);
    assert_eq!(lab.store.lease_takeover(next, at(100)).await.expect("takeover"), []);
    let held = &lab.store.lease_list().await.expect("list")[0];
    assert_eq!((held.instance, held.expires_at, held.state), (next, at(7200), LeaseState::Held));

    let (held, told) = (lease_ref(held), (via(), note("hold-over")));
    let rest = LeaseId::new(&lab.ids, T0);
    assert_eq!(lab.store.lease_expire(other_instance(lab), at(9000)).await.expect("expire"), []);
    let early = lab.store.hold_expire(&held, rest, &told, at(7199)).await.expect("expire");
    assert_eq!((early, lab.store.census().await.expect("census").owed), (Effected::NotTheirs, 0));
    assert_eq!(lab.store.hold_expire(&held, rest, &told, at(7200)).await.expect("expire"), Effected::Done);
    assert_eq!(
        lab.store.hold_expire(&held, rest, &told, at(7201)).await.expect("again"),
        Effected::NotTheirs
    );
    assert_eq!(lab.store.census().await.expect("census").owed, 1, "told once");
    let leases = lab.store.lease_list().await.expect("list");
    let now = &leases[0];
    assert_eq!((now.id, now.fence, now.state), (rest, Fence(2), LeaseState::Finalizing));
    assert!(now.needs_fence && matches!(now.holder, Holder::Check(_)), "{now:?}");
    assert_eq!(lab.store.lease_release(&held, &AtRest::Yes, at(7202)).await.expect("release"), Fenced::Stale);
    // What comes to rest is the next process' to go on with, and is never given to anybody meanwhile.
    let third = other_instance(lab);
    assert_eq!(lab.store.lease_takeover(third, at(7203)).await.expect("takeover"), []);
    assert_eq!(lab.store.lease_list().await.expect("list")[0].instance, third);
}

fn other_instance(lab: &Lab) -> InstanceId {
    InstanceId::new(&lab.ids, T0)
}

async fn renewal_reaches_the_instance_s_own_leases_only(lab: &Lab) {
    let [board, other] = lab.boards().await;
    let (_, id, lease) = lab.running(&board).await;
    let theirs = LeaseTerms { instance: InstanceId::new(&lab.ids, T0), ..lab.terms() };
    let id_theirs = LeaseId::new(&lab.ids, T0);
    let taken = lab.store.lease_take(id_theirs, &other, &Holder::Check(li()), &theirs).await.expect("take");
    assert!(matches!(taken, Granted::Leases(_)));
    lab.settled(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish).await;
    let renewed = lab.store.lease_renew(lab.instance, at(20)).await.expect("renew");
    assert_eq!(renewed, [lease.id]);
    // Never backwards, and nothing that is over.
    lab.store.lease_renew(lab.instance, at(5)).await.expect("renew");
    let leases = lab.store.lease_list().await.expect("list");
    let ends = |id| leases.iter().find(|lease| lease.id == id).map(|lease| lease.expires_at);
    assert_eq!((ends(lease.id), ends(id_theirs)), (Some(at(20)), Some(at(11))));
    assert_eq!(lab.store.lease_release(&lease, &AtRest::Yes, at(12)).await.expect("release"), Fenced::Done);
    assert_eq!(lab.store.lease_renew(lab.instance, at(30)).await.expect("renew"), []);
}

async fn expiry_spares_the_instance_that_lives(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, _, lease) = lab.running(&board).await;
    let late = at(11) + Duration::from_secs(3600);
    assert_eq!(lab.store.lease_expire(lab.instance, late).await.expect("expire"), []);
    let other = InstanceId::new(&lab.ids, T0);
    assert_eq!(lab.store.lease_expire(other, at(10)).await.expect("expire"), []);
    let lapsed = lab.store.lease_expire(other, at(11)).await.expect("expire");
    assert_eq!((lapsed.len(), lapsed[0].lease.id, lapsed[0].requeued), (1, lease.id, true));
    assert_eq!(lab.view(number).await.run.state.word(), "queued");
}

async fn a_grant_that_nobody_began_with_is_taken_back_as_if_it_never_was(lab: &Lab) {
    let [bad, first, second] = lab.boards().await;
    let (number, id, lease) = lab.running(&bad).await;
    let again = Decision::TryAgain { avoid: vec![bad.clone()] };
    lab.settled(&lease, id, outcome(Verdict::Infra, "console-busy"), again).await;
    let waiting = lab.view(number).await;
    let leases = [&first, &second].map(|board| (LeaseId::new(&lab.ids, T0), (*board).clone())).to_vec();
    let ids: Vec<LeaseId> = leases.iter().map(|(id, _)| *id).collect();
    lab.store.lease_grant(&[Grant { run: id, attempt: 2, leases }], &lab.terms()).await.expect("grant");
    let mut given = lab.store.lease_return(&ids[..1], at(70)).await.expect("return");
    given.sort();
    let mut expect = ids.clone();
    expect.sort();
    assert_eq!(given, expect, "all of the attempt's boards");

    let view = lab.view(number).await;
    assert_eq!((&view.run, &view.attempts), (&waiting.run, &waiting.attempts), "it waits as before");
    let boards = lab.store.board_list().await.expect("boards");
    let touched = |row: &&boardhand::store::BoardRow| row.id != bad && row.last_used_at.is_some();
    assert!(boards.iter().filter(touched).count() == 0 && boards[1].lease.is_none(), "{boards:?}");
    assert_eq!(lab.store.lease_return(&ids, at(71)).await.expect("again"), []);
    let fresh = lab.on_board(id, 2, &first).await;
    assert_eq!(fresh.fence, Fence(2), "the fence rises all the same");
    assert!(!lab.store.lease_list().await.expect("leases").iter().any(|l| l.board == first && l.needs_fence));
}

async fn what_has_begun_or_was_asked_to_end_is_not_taken_back(lab: &Lab) {
    let [board, other] = lab.boards().await;
    let (number, id, lease) = lab.running(&board).await;
    let _ = lab.store.run_advance(&lease, Stage::Powering, &[], at(2)).await.expect("advance");
    assert_eq!(lab.store.lease_return(&[lease.id], at(3)).await.expect("return"), []);
    assert_eq!(lab.view(number).await.run.state.word(), "powering");
    lab.settled(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish).await;
    assert_eq!(lab.store.lease_return(&[lease.id], at(61)).await.expect("finalizing"), []);

    let (asked, _, lease) = lab.running(&other).await;
    lab.commit(super::intake::cancel(asked)).await;
    assert_eq!(lab.store.lease_return(&[lease.id], at(62)).await.expect("return"), []);
    assert_eq!(lab.view(asked).await.run.state.word(), "leased");
}

async fn a_quarantined_board_comes_back_into_service_and_is_fenced_first(lab: &Lab) {
    let [board] = lab.boards().await;
    for _ in 0..2 {
        let (_, id, lease) = lab.running(&board).await;
        lab.settled(&lease, id, outcome(Verdict::Infra, "console-busy"), Decision::Finish).await;
        let _ = lab.store.lease_release(&lease, &AtRest::Yes, at(70)).await.expect("release");
    }
    assert_eq!(lab.store.board_list().await.expect("boards")[0].health, Health::Quarantined);
    let (_, waiting) = lab.waiting().await;
    let cursor = lab.store.queue_changes(None).await.expect("changes").cursor;
    for expect in ["done", "not-quarantined"] {
        let effect = boardhand::store::Effect::Return { board: board.clone() };
        assert_eq!(super::lab::effected(&lab.commit(effect).await), expect);
    }
    let row = &lab.store.board_list().await.expect("boards")[0];
    assert_eq!((row.health, row.failures, row.reason.as_str()), (Health::Good, 0, ""));
    let told = lab.store.queue_changes(Some(cursor)).await.expect("changes");
    assert_eq!(told.boards.len(), 1, "the scheduler hears of it");
    lab.on_board(waiting, 1, &board).await;
    assert!(lab.store.lease_list().await.expect("leases")[0].needs_fence);
}
