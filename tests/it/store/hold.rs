//! Boards of people: kept after a failure, waited for, asked for, handed over, kept for longer.

use std::time::Duration;

use boardhand::board::plan::PowerAction;
use boardhand::board::{BoardId, Family};
use boardhand::chat::{Actor, Platform};
use boardhand::clock::Timestamp;
use boardhand::id::{LeaseId, MessageId};
use boardhand::lease::held::HeldTime;
use boardhand::lease::{Lease, LeaseState, Reservation};
use boardhand::outcome::Verdict;
use boardhand::run::{Decision, Keep, LeaseRef, RunState, Stage};
use boardhand::store::{Committed, Effect, Fenced, NOTICES_MAX, NUDGE_EVERY, Notice};

use super::lab::{T0, at, effected, li, note, outcome, via};
use super::{Lab, store_tests};

store_tests! {
    a_failure_leaves_the_board_to_whoever_wanted_it_and_a_pass_does_not,
    who_wanted_it_last_keeps_it,
    word_of_a_free_board_is_given_once_and_asked_for_within_bounds,
    a_holder_is_nudged_every_so_often,
    anothers_board_is_switched_under_its_lease_once_and_its_holder_is_told,
    a_board_is_handed_over_to_the_one_it_is_offered_to_under_a_new_fence,
    a_board_that_nobody_used_is_handed_over_for_the_time_that_it_had,
    a_board_on_which_a_run_is_changes_no_hands,
    time_is_added_up_to_the_longest_and_only_to_whoever_has_it,
    a_run_that_nobody_began_with_leaves_the_board_to_whoever_has_it,
    each_request_of_a_program_for_a_family_is_a_place_in_line_of_its_own,
    what_somebody_had_as_their_own_is_noted_whoever_has_it_before_and_afterwards,
}

const HOUR: Duration = Duration::from_secs(3600);

fn wang() -> Actor {
    Actor { id: "U0WANG".into(), name: "wang".into(), ..li() }
}

/// What somebody wants at a time.
async fn commit(lab: &Lab, who: &Actor, when: Timestamp, effect: Effect) -> Committed {
    let mut intake = lab.intake(effect);
    (intake.actor, intake.received_at) = (who.clone(), when);
    lab.store.commit(intake).await.expect("commit")
}

/// How it ended.
async fn says(lab: &Lab, who: &Actor, when: Timestamp, effect: Effect) -> String {
    effected(&commit(lab, who, when, effect).await).to_owned()
}

async fn the_lease(lab: &Lab) -> Lease {
    lab.store.lease_list().await.expect("leases").remove(0)
}

async fn owed(lab: &Lab) -> i64 {
    i64::try_from(lab.store.census().await.expect("census").owed).expect("few")
}

async fn a_failure_leaves_the_board_to_whoever_wanted_it_and_a_pass_does_not(lab: &Lab) {
    let [board] = lab.boards().await;
    for (verdict, state) in [(Verdict::Passed, LeaseState::Finalizing), (Verdict::Failed, LeaseState::Held)] {
        let (number, id, lease) = lab.running(&board).await;
        let keep = Effect::Keep { run: number, lasts: HOUR };
        assert_eq!(says(lab, &wang(), at(2), keep.clone()).await, "asked");
        assert_eq!(lab.view(number).await.keep.map(|keep| keep.by), Some(wang()));
        lab.settled(&lease, id, outcome(verdict, "x"), Decision::Finish).await;
        let now = the_lease(lab).await;
        assert_eq!((now.id, now.fence, now.state), (lease.id, lease.fence, state));
        if state == LeaseState::Held {
            assert!(now.is_held_by(&wang()), "{now:?}");
            assert_eq!(now.expires_at, at(60) + HOUR);
            // The run has no lease to give back any more.
            let again = lab.settle(&lease, id, outcome(Verdict::Passed, ""), Decision::Finish);
            assert_eq!(lab.store.run_settle(&again).await.expect("settle"), Fenced::Stale);
        } else {
            let at_rest = boardhand::store::AtRest::Yes;
            assert_eq!(
                lab.store.lease_release(&lease, &at_rest, at(70)).await.expect("release"),
                Fenced::Done
            );
        }
        assert_eq!(says(lab, &wang(), at(80), keep).await, "already-finished");
    }
}

async fn who_wanted_it_last_keeps_it(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, id, lease) = lab.running(&board).await;
    for who in [wang(), li()] {
        assert_eq!(says(lab, &who, at(2), Effect::Keep { run: number, lasts: HOUR }).await, "asked");
    }
    // Another attempt is no end of the run.
    let again = Decision::TryAgain { avoid: vec![] };
    lab.settled(&lease, id, outcome(Verdict::Infra, "console-busy"), again).await;
    assert_eq!(the_lease(lab).await.state, LeaseState::Finalizing);
    let at_rest = boardhand::store::AtRest::Yes;
    assert_eq!(lab.store.lease_release(&lease, &at_rest, at(70)).await.expect("release"), Fenced::Done);
    let lease = lab.on_board(id, 2, &board).await;
    lab.settled(&lease, id, outcome(Verdict::Failed, "x"), Decision::Finish).await;
    assert!(the_lease(lab).await.is_held_by(&li()));
}

fn notice(lab: &Lab, board: Option<&BoardId>) -> Notice {
    let id = MessageId::new(&lab.ids, T0);
    Notice { id, by: li(), family: Family::new("socA"), board: board.cloned(), asked_at: T0 }
}

async fn word_of_a_free_board_is_given_once_and_asked_for_within_bounds(lab: &Lab) {
    let [board] = lab.boards().await;
    assert_eq!(lab.store.notice_list().await.expect("list"), []);
    let asked = notice(lab, Some(&board));
    assert_eq!(says(lab, &li(), T0, Effect::Notify(asked.clone())).await, "done");
    assert_eq!(says(lab, &li(), T0, Effect::Notify(notice(lab, Some(&board)))).await, "already-waiting");
    assert_eq!(says(lab, &li(), T0, Effect::Notify(notice(lab, None))).await, "done");
    assert_eq!(lab.store.notice_list().await.expect("list").len(), 2);
    let told = (via(), note("board-free"));
    let before = owed(lab).await;
    for _ in 0..2 {
        lab.store.notice_done(asked.id, &told, at(5)).await.expect("done");
    }
    assert_eq!((owed(lab).await - before, lab.store.notice_list().await.expect("list").len()), (1, 1));
    for n in 0..NOTICES_MAX + 1 {
        let asked = notice(lab, Some(&BoardId::new(format!("other-{n}"))));
        let expect = if n < NOTICES_MAX - 1 { "done" } else { "too-many" };
        assert_eq!(says(lab, &li(), T0, Effect::Notify(asked)).await, expect, "{n}");
    }
}

async fn a_holder_is_nudged_every_so_often(lab: &Lab) {
    let [board] = lab.boards().await;
    let hold = lab.held(&board).await;
    let nudge = |fence| Effect::Nudge { board: board.clone(), fence, note: note("nudge") };
    let before = owed(lab).await;
    let later = at(10) + NUDGE_EVERY;
    for (when, expect) in [(at(10), "done"), (at(11), "too-soon"), (later, "done")] {
        assert_eq!(says(lab, &wang(), when, nudge(hold.fence)).await, expect);
    }
    let other = boardhand::lease::Fence(hold.fence.0 + 1);
    assert_eq!(says(lab, &wang(), later + NUDGE_EVERY, nudge(other)).await, "not-theirs");
    assert_eq!(owed(lab).await - before, 2);
}

async fn anothers_board_is_switched_under_its_lease_once_and_its_holder_is_told(lab: &Lab) {
    let [board] = lab.boards().await;
    let hold = lab.held(&board).await;
    let cycle = |once: &str| Effect::Errand {
        id: MessageId::new(&lab.ids, T0),
        board: board.clone(),
        action: PowerAction::Cycle,
        via: via(),
        over: Some(hold.fence),
        once: Some(once.to_owned()),
    };
    for (once, expect) in [("a", "done"), ("a", "already-asked"), ("b", "done")] {
        assert_eq!(says(lab, &wang(), at(5), cycle(once)).await, expect);
    }
    let due = lab.store.errand_due(9).await.expect("due");
    let [first, second] = due.as_slice() else { panic!("{due:?}") };
    assert_eq!((first.over, first.begun), (Some(hold.fence), false));
    let (before, told) = (owed(lab).await, (via(), note("hold-cycled")));
    let begin = async |id, lease: &LeaseRef| {
        lab.store.errand_begin(id, lease, Some(&told), at(6)).await.expect("begin")
    };
    let stale = LeaseRef { fence: boardhand::lease::Fence(hold.fence.0 + 1), ..hold.clone() };
    assert_eq!(begin(first.id, &stale).await, Fenced::Stale);
    assert_eq!(owed(lab).await, before, "nobody is told of what is not done");
    assert_eq!(begin(first.id, &hold).await, Fenced::Done);
    assert_eq!(begin(first.id, &hold).await, Fenced::Stale, "once");
    assert_eq!(begin(second.id, &hold).await, Fenced::Stale, "one thing at a time");
    assert_eq!(owed(lab).await - before, 1);
}

fn accept(lab: &Lab, hold: &LeaseRef) -> Effect {
    let id = LeaseId::new(&lab.ids, T0);
    Effect::Accept { board: hold.board.clone(), fence: hold.fence, id, note: note("handed-over") }
}

fn offer(hold: &LeaseRef, to: Actor) -> Effect {
    Effect::Offer { board: hold.board.clone(), fence: hold.fence, to, note: note("offer") }
}

async fn a_board_is_handed_over_to_the_one_it_is_offered_to_under_a_new_fence(lab: &Lab) {
    let [board] = lab.boards().await;
    let hold = lab.held(&board).await;
    assert_eq!(says(lab, &wang(), at(5), accept(lab, &hold)).await, "not-theirs", "nobody offered it");
    assert_eq!(says(lab, &wang(), at(5), offer(&hold, wang())).await, "not-theirs", "it is li's to offer");
    assert_eq!(says(lab, &li(), at(5), offer(&hold, wang())).await, "done");
    let other = Actor { id: "U0ELSE".into(), ..li() };
    assert_eq!(says(lab, &other, at(6), accept(lab, &hold)).await, "not-theirs");
    let before = owed(lab).await;
    assert_eq!(says(lab, &wang(), at(6), accept(lab, &hold)).await, "done");
    assert_eq!(owed(lab).await - before, 1, "li is told");
    let events = lab.store.call_events(0, 100).await.expect("events");
    let hands =
        |key: &str| events.iter().filter_map(|event| event.facts.get(key)).cloned().collect::<Vec<_>>();
    assert_eq!(hands("handed_over_to"), [serde_json::json!(wang().key())]);
    assert_eq!(hands("handed_over_by"), [serde_json::json!(li().key())]);
    let now = the_lease(lab).await;
    assert!(now.is_held_by(&wang()) && now.fence > hold.fence, "{now:?}");
    assert_eq!((now.expires_at, now.granted_at), (at(7200), at(6)));
    assert_eq!(says(lab, &wang(), at(7), accept(lab, &hold)).await, "not-theirs", "once");
    assert_eq!(lab.store.lease_state(&hold).await.expect("state"), Some(LeaseState::Released));
    assert_eq!(lab.store.lease_fenced(&hold, at(8)).await.expect("fenced"), Fenced::Stale);
}

async fn a_board_that_nobody_used_is_handed_over_for_the_time_that_it_had(lab: &Lab) {
    let [board] = lab.boards().await;
    let hold = lab.held(&board).await;
    let (lease, told) = (the_lease(lab).await, (via(), note("hold-idle")));
    assert!(lab.store.hold_idle(&lease, at(605), &told, at(5)).await.expect("idle"));
    assert_eq!(the_lease(lab).await.expires_at, at(605));
    assert_eq!(says(lab, &li(), at(6), offer(&hold, wang())).await, "done");
    assert_eq!(says(lab, &wang(), at(7), accept(lab, &hold)).await, "done");
    let now = the_lease(lab).await;
    assert_eq!((now.expires_at, now.hold.and_then(|hold| hold.idle_until)), (at(7200), None));
}

async fn a_board_on_which_a_run_is_changes_no_hands(lab: &Lab) {
    let [board] = lab.boards().await;
    let hold = lab.held(&board).await;
    assert_eq!(says(lab, &li(), at(5), offer(&hold, wang())).await, "done");
    let (_, id) = lab.waiting().await;
    lab.on_board(id, 1, &board).await;
    assert_eq!(says(lab, &wang(), at(6), accept(lab, &hold)).await, "goes-on");
    lab.settled(&hold, id, outcome(Verdict::Passed, ""), Decision::Finish).await;
    assert_eq!(says(lab, &wang(), at(70), accept(lab, &hold)).await, "done");
}

async fn time_is_added_up_to_the_longest_and_only_to_whoever_has_it(lab: &Lab) {
    let [board] = lab.boards().await;
    let hold = lab.held(&board).await;
    let extend = |hours: u32| Effect::Extend {
        board: board.clone(),
        fence: Some(hold.fence),
        by: hours * HOUR,
        longest: 8 * HOUR,
        from: None,
    };
    let from = |from| match extend(1) {
        Effect::Extend { board, fence, by, longest, .. } => {
            Effect::Extend { board, fence, by, longest, from: Some(from) }
        }
        other => other,
    };
    assert_eq!(says(lab, &wang(), at(5), extend(1)).await, "not-theirs");
    assert_eq!(says(lab, &li(), at(5), extend(1)).await, "done");
    assert_eq!(the_lease(lab).await.expires_at, at(7200) + HOUR);
    assert_eq!(says(lab, &li(), at(5), from(at(7200))).await, "already-extended");
    assert_eq!(says(lab, &li(), at(5), from(at(7200) + HOUR)).await, "done");
    assert_eq!(the_lease(lab).await.expires_at, at(7200) + 2 * HOUR);
    // A button from before its end was brought forward is about the end that it had; after that it says nothing new.
    let (lease, told) = (the_lease(lab).await, (via(), note("hold-idle")));
    assert!(lab.store.hold_idle(&lease, at(605), &told, at(5)).await.expect("idle"));
    assert_eq!(says(lab, &li(), at(6), from(at(7200) + 2 * HOUR)).await, "done");
    assert_eq!(the_lease(lab).await.expires_at, at(7200) + 3 * HOUR);
    assert_eq!(says(lab, &li(), at(6), from(at(605))).await, "already-extended");
    assert_eq!(says(lab, &li(), at(5), extend(20)).await, "done");
    let longest = the_lease(lab).await.granted_at + 8 * HOUR;
    assert_eq!(the_lease(lab).await.expires_at, longest);
    assert_eq!(says(lab, &li(), at(5), extend(1)).await, "at-most");
    assert_eq!(the_lease(lab).await.expires_at, longest);
}

async fn a_run_that_nobody_began_with_leaves_the_board_to_whoever_has_it(lab: &Lab) {
    let [board] = lab.boards().await;
    let hold = lab.held(&board).await;
    let (number, id) = lab.waiting().await;
    let waiting = lab.view(number).await;
    lab.on_board(id, 1, &board).await;
    assert_eq!(lab.store.lease_return(&[hold.id], at(5)).await.expect("return"), [hold.id]);
    let view = lab.view(number).await;
    assert_eq!((&view.run, &view.attempts), (&waiting.run, &waiting.attempts), "it waits as before");
    let now = the_lease(lab).await;
    assert_eq!((now.id, now.state, now.expires_at), (hold.id, LeaseState::Held, at(7200)));
    assert!(!now.needs_fence && now.hold.is_some_and(|hold| hold.run.is_none()));
    assert_eq!(lab.store.lease_return(&[hold.id], at(6)).await.expect("again"), []);

    lab.on_board(id, 1, &board).await;
    let begun = lab.store.run_advance(&hold, Stage::Powering, &[], at(7)).await.expect("advance");
    assert_eq!(begun, Fenced::Done);
    assert_eq!(lab.store.lease_return(&[hold.id], at(8)).await.expect("return"), []);
    assert!(matches!(lab.view(number).await.run.state, RunState::Active { .. }));
}

async fn each_request_of_a_program_for_a_family_is_a_place_in_line_of_its_own(lab: &Lab) {
    let [board] = lab.boards().await;
    let token = Actor { platform: Platform::Api, id: "ci".into(), name: String::new(), ..li() };
    let worker = Actor { id: "farm".into(), name: "w7".into(), ..token.clone() };
    let wants = |who: &Actor, board: Option<&BoardId>, second: u64| {
        let wish = Reservation {
            id: LeaseId::new(&lab.ids, at(second)),
            by: who.clone(),
            family: Family::new("socA"),
            board: board.cloned(),
            lasts: HOUR,
            reason: String::new(),
            asked_at: at(second),
            place: i64::MAX,
        };
        let instance = lab.instance;
        Effect::Reserve { wish, at_once: vec![], or_wait: true, most: 3, drains_seen: None, instance }
    };
    for (who, board, told) in [
        (&token, None, ["queued", "queued"]),
        (&token, Some(&board), ["queued", "already-waiting"]),
        (&wang(), None, ["queued", "already-waiting"]),
        (&wang(), Some(&board), ["queued", "already-waiting"]),
        // Three is most.
        (&token, None, ["too-many", "too-many"]),
        // A worker that says which it is wants one.
        (&worker, None, ["queued", "already-waiting"]),
    ] {
        for (second, told) in (2..).zip(told) {
            assert_eq!(
                says(lab, who, at(second), wants(who, board, second)).await,
                told,
                "{who:?} {board:?}"
            );
        }
    }
    let other = Actor { name: "w8".into(), ..worker.clone() };
    assert_eq!(
        says(lab, &other, at(9), wants(&other, None, 9)).await,
        "queued",
        "another worker of that token"
    );
    assert_eq!(lab.store.reservation_list().await.expect("places").len(), 7);
}

async fn what_somebody_had_as_their_own_is_noted_whoever_has_it_before_and_afterwards(lab: &Lab) {
    let [board, busy, failing] = lab.boards().await;
    let times =
        async |who: &Actor, since: Timestamp| lab.store.held_of(&who.key(), since).await.expect("times");
    let time = |from, until| HeldTime { from, until };
    let hold = lab.held(&board).await;
    let from = the_lease(lab).await.granted_at;
    assert_eq!(times(&li(), T0).await, [time(from, at(7200))], "as it is agreed");
    // It is handed over: each has had it for a while.
    assert_eq!(says(lab, &li(), at(5), offer(&hold, wang())).await, "done");
    assert_eq!(says(lab, &wang(), at(6), accept(lab, &hold)).await, "done");
    assert_eq!(times(&li(), T0).await, [time(from, at(6))]);
    assert_eq!(times(&wang(), T0).await, [time(at(6), at(7200))]);
    // A run that goes on is nobody's own time.
    let hold = lab.held(&busy).await;
    let (_, id) = lab.waiting().await;
    lab.on_board(id, 1, &busy).await;
    let rest = LeaseId::new(&lab.ids, at(20));
    let release =
        Effect::Release { board: busy.clone(), fence: Some(hold.fence), others: None, rest, undoes: vec![] };
    assert_eq!(says(lab, &li(), at(20), release).await, "goes-on");
    let mut ended: Vec<Timestamp> = times(&li(), T0).await.iter().map(|time| time.until).collect();
    ended.sort();
    assert_eq!(ended, [at(6), at(20)]);
    // A board that is kept after a failure is theirs from then on, and not for as long as the run had it.
    let (number, id, lease) = lab.running(&failing).await;
    let pending = async || lab.store.keep_list().await.expect("pending");
    assert_eq!(pending().await, []);
    assert_eq!(says(lab, &wang(), at(30), Effect::Keep { run: number, lasts: HOUR }).await, "asked");
    assert_eq!(pending().await, [(number, Keep { by: wang(), lasts: HOUR })], "agreed, should the run fail");
    lab.settled(&lease, id, outcome(Verdict::Failed, "x"), Decision::Finish).await;
    assert_eq!(pending().await, [], "it is theirs now");
    let kept = [time(at(60), at(60) + HOUR), time(at(6), at(7200))];
    assert_eq!(times(&wang(), T0).await, kept, "the newest first");
    assert_eq!(times(&wang(), at(60) + HOUR).await, kept[1..], "what is longer ago is left out");
}
