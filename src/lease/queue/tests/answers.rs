//! Tests of what people are told: position, why a run waits, when it will probably begin.

use std::time::Duration;

use super::*;

#[test]
fn a_position_counts_rivals_in_the_order_they_will_be_served() {
    let mut queue = Queue::with(&["b1", "b2 socB"]);
    queue.hold("b1", "zoe", None);
    let other = QueuedRun { family: Family::new("socB"), ..run(9, "dan") };
    queue.add([run(1, "ann"), run(2, "ann"), run(3, "ann"), run(4, "bob"), run(5, "bob").urgent(), other]);
    let places: Vec<_> = [5, 1, 2, 4, 3, 9].iter().filter_map(|n| queue.place(*n)).collect();
    // After 5, bob has had a turn: ann's first two come before his second.
    let expect = [1, 2, 4, 3, 5, 1].map(Position::Exact);
    assert_eq!(places, expect);
    assert_eq!(queue.place(77), None);
}

#[test]
fn a_position_is_exact_up_to_its_bound() {
    let mut queue = Queue::with(&["b1"]);
    queue.hold("b1", "zoe", None);
    queue.add((1..=AHEAD_MAX as i64 + 1).map(|number| run(number, "ann")));
    assert_eq!(queue.place(AHEAD_MAX as i64), Some(Position::Exact(AHEAD_MAX)));
    assert_eq!(queue.place(AHEAD_MAX as i64 + 1), Some(Position::MoreThan(AHEAD_MAX)));
}

#[test]
fn why_names_who_has_the_boards() {
    let mut queue = Queue::with(&["b1", "b2"]);
    queue.hold("b1", "ann", None);
    queue.hold("b2", "bob", Some(at(60)));
    queue.add([run(1, "cho"), run(2, "dan")]);
    let b1 = Held {
        board: BoardId::new("b1"),
        holder: person("ann"),
        until: None,
        reason: String::new(),
        run: None,
    };
    let b2 = Held {
        board: BoardId::new("b2"),
        holder: person("bob"),
        until: Some(at(60)),
        reason: String::new(),
        run: None,
    };
    let held = vec![b2, b1.clone()];
    assert_eq!(queue.reason(1), Why::AllBusy { held: held.clone(), more: 0 });
    let position = Position::Exact(2);
    let (ahead, requester, priority) = (run_id(1), "cho".to_owned(), Priority::Normal);
    let behind =
        Why::Behind { position, ahead, number: 1, priority, requester, reservation: false, held, more: 0 };
    assert_eq!(queue.reason(2), behind);
    queue.add([run(1, "cho").on("b1")]);
    assert_eq!(queue.reason(1), Why::OnlyBoard(b1));
}

#[test]
fn why_lists_boards_up_to_its_bound() {
    let names: Vec<String> = (0..LISTED_MAX + 2).map(|n| format!("b{n}")).collect();
    let mut queue = Queue::with(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for name in &names {
        queue.hold(name, "ann", None);
    }
    queue.add([run(1, "bob")]);
    assert!(matches!(queue.reason(1), Why::AllBusy { held, more: 2 } if held.len() == LISTED_MAX));
    for name in &names {
        queue.set(name, Availability::Unavailable(Unavailable::Offline));
    }
    assert!(matches!(queue.reason(1), Why::Unavailable { boards, more: 2 } if boards.len() == LISTED_MAX));
}

#[test]
fn why_tells_no_board_from_too_few_and_from_none_in_service() {
    let mut queue = Queue::with(&["b1", "c1 socA - there"]);
    queue.add([run(1, "ann").rev("rev9"), run(2, "ann").wants(2), run(3, "ann").on("b1")]);
    assert_eq!(queue.reason(1), Why::NoBoards);
    assert_eq!(queue.reason(2), Why::TooFew { wanted: 2, most: 1 });
    let burnt = Unavailable::Quarantined { reason: "burnt".into() };
    queue.set("b1", Availability::Unavailable(burnt.clone()));
    assert_eq!(queue.reason(3), Why::Unavailable { boards: vec![(BoardId::new("b1"), burnt)], more: 0 });
}

#[test]
fn a_board_that_drains_is_nobodys_next_whoever_has_it_and_why_says_so() {
    let mut queue = Queue::with(&["b1", "b2"]);
    queue.hold("b1", "zoe", Some(at(60)));
    queue.drain("b1", Some("new fan"));
    queue.drain("b2", Some("new fan"));
    queue.add([run(1, "ann"), run(2, "slack:zoe").on("b1")]);
    let draining = || Unavailable::Draining(Draining { reason: "new fan".into(), until: None });
    let boards = vec![(BoardId::new("b1"), draining()), (BoardId::new("b2"), draining())];
    assert_eq!(queue.reason(1), Why::Unavailable { boards, more: 0 });
    assert_eq!(queue.eta(run_id(1), at(0)), None);
    assert_eq!(queue.granted(at(0)), "2:b1", "whoever has it may run on it");
    queue.set("b1", Availability::Free);
    assert_eq!(queue.granted(at(0)), "");
    queue.drain("b2", None);
    assert_eq!(queue.granted(at(0)), "1:b2");
}

#[test]
fn whoever_has_as_many_boards_as_they_may_is_passed_over_until_one_is_back() {
    let mut queue = Queue::with(&["b1", "b2", "b3"]);
    queue.add([run(1, "ann").most(1), run(2, "ann").most(1), run(3, "bob")]);
    assert_eq!(queue.granted(at(0)), "1:b1 3:b2");
    queue.start(1, "ann", 1);
    queue.start(3, "bob", 1);
    assert_eq!(queue.reason(2), Why::Quota { most: 1, in_use: 1 });
    assert_eq!(queue.eta(run_id(2), at(0)), None);
    queue.add([run(4, "cho")]);
    assert_eq!(
        (queue.place(4), queue.waiting_of("ann")),
        (Some(Position::Exact(1)), 1),
        "nobody is before her"
    );
    assert_eq!(queue.granted(at(0)), "4:b3");
    queue.start(4, "cho", 1);
    queue.end(1);
    queue.set("b1", Availability::Free);
    assert_eq!(queue.granted(at(0)), "2:b1");
    // A quota that is another one, or gone, is heard of with the run.
    queue.start(2, "ann", 1);
    queue.add([run(5, "ann").most(1)]);
    queue.set("b2", Availability::Free);
    assert_eq!(queue.granted(at(0)), "");
    queue.add([run(5, "ann").most(2)]);
    assert_eq!(queue.granted(at(0)), "5:b2");
}

#[test]
fn why_tells_a_run_that_is_next_and_one_that_is_being_granted() {
    let mut queue = Queue::with(&["b1", "b2"]);
    queue.add([run(1, "ann")]);
    assert_eq!(queue.reason(1), Why::Next);
    queue.granted(at(0));
    assert_eq!(queue.reason(1), Why::Granting { boards: vec![BoardId::new("b1")] });
    queue.start(1, "ann", 1);
    assert_eq!(queue.reason(1), Why::NotWaiting);
    queue.add([run(2, "bob").wants(2)]);
    let site = Site::new("here");
    let Why::Gathering { wanted: 2, free: 1, site: at, saving: false, held, more: 0 } = queue.reason(2)
    else {
        panic!("{:?}", queue.reason(2))
    };
    assert_eq!((at, held[0].board.as_str()), (site, "b1"));
}

// ---- estimates --------------------------------------------------------------------------------------------

fn took(queue: &mut Queue, number: i64, minutes: u64) {
    let (family, suite) = (Family::new("socA"), "smoke".to_owned());
    let took = Duration::from_secs(60 * minutes);
    queue.apply(QueueEvent::DurationSeen { run: run_id(number), attempt: 1, family, suite, took });
}

fn minutes(low: u64, high: u64) -> Option<(Duration, Duration)> {
    Some((Duration::from_secs(60 * low), Duration::from_secs(60 * high)))
}

#[test]
fn an_estimate_is_made_of_medians() {
    let mut queue = Queue::with(&["b1"]);
    queue.add([run(1, "ann"), run(2, "ann"), run(3, "ann").on("b1")]);
    assert_eq!(queue.eta(run_id(1), at(0)), minutes(0, 0));
    assert_eq!(queue.eta(run_id(2), at(0)), None, "nothing is known yet");
    for (number, minutes) in [(90, 4), (91, 60), (92, 6), (92, 60)] {
        took(&mut queue, number, minutes);
    }
    assert_eq!(queue.eta(run_id(2), at(0)), minutes(6, 6));
    assert_eq!(queue.eta(run_id(3), at(0)), minutes(0, 12), "the others may go elsewhere");
    queue.granted(at(0));
    queue.start(1, "ann", 1);
    assert_eq!(queue.eta(run_id(2), at(0)), minutes(0, 6), "1 has just begun or is about to end");
    queue.hold("b1", "zoe", Some(at(120)));
    assert_eq!(queue.eta(run_id(2), at(60)), minutes(1, 1));
    queue.hold("b1", "zoe", None);
    assert_eq!(queue.eta(run_id(2), at(60)), None);
}

#[test]
fn only_the_last_durations_count() {
    let mut queue = Queue::with(&["b1"]);
    queue.add([run(1, "ann"), run(2, "ann")]);
    for number in 0..2 * DURATIONS_MAX as i64 {
        took(&mut queue, 100 + number, if number < DURATIONS_MAX as i64 { 60 } else { 5 });
    }
    assert_eq!(queue.eta(run_id(2), at(0)), minutes(5, 5));
}
