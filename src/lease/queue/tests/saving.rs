//! Tests of starvation: runs that want several boards are served, and single runs are not kept waiting for them.

use std::time::Duration;

use super::*;

const MINUTE: u64 = 60;
const STARVED: u64 = STARVED_AFTER.as_secs();
const WINDOW: u64 = SAVE_FOR.as_secs();

/// A lab where a minute is a step: every run takes as long as `lasts` says, singles always wait.
struct Lab {
    queue: Queue,
    lasts: u64,
    /// Run, boards, when it ends (in minutes).
    live: Vec<(RunId, Vec<BoardId>, u64)>,
    next_single: i64,
    minute: u64,
    singles_served: usize,
}

impl Lab {
    fn new(boards: &[&str], lasts: u64) -> Self {
        Lab {
            queue: Queue::with(boards),
            lasts,
            live: vec![],
            next_single: 1_000,
            minute: 0,
            singles_served: 0,
        }
    }

    /// Lets a minute pass; gives the runs below 1000 that were granted.
    fn step(&mut self) -> Vec<i64> {
        let now = at(self.minute * MINUTE);
        let (over, live) = self.live.drain(..).partition::<Vec<_>, _>(|(.., end)| *end <= self.minute);
        self.live = live;
        for (run, boards, _) in over {
            self.queue.apply(QueueEvent::RunEnded { run });
            boards.iter().for_each(|board| self.queue.free_at(board.as_str(), now));
        }
        while self.queue.len() < 5 {
            self.next_single += 1;
            let who = format!("u{}", self.next_single % 3);
            self.queue.add([QueuedRun { since: now, ..run(self.next_single, &who) }]);
        }
        let mut special = Vec::new();
        for grant in self.queue.grants(now, usize::MAX) {
            let number = grant.run.0.as_u128() as i64;
            match number {
                ..1_000 => special.push(number),
                _ => self.singles_served += 1,
            }
            self.queue.start(number, "whoever", grant.boards.len() as u32);
            self.live.push((grant.run, grant.boards, self.minute + self.lasts));
        }
        self.minute += 1;
        special
    }

    /// Steps until the run is granted; gives the minute.
    #[track_caller]
    fn until(&mut self, number: i64, within: u64) -> u64 {
        let served = (0..within).find(|_| self.step().contains(&number));
        served.map(|_| self.minute - 1).expect("granted within the time")
    }
}

/// Two boards whose runs never end together.
fn staggered(lasts: u64) -> Lab {
    let mut lab = Lab::new(&["b1", "b2"], lasts);
    lab.queue.hold("b2", "zoe", None);
    for _ in 0..lasts / 2 {
        lab.step();
    }
    lab.queue.set("b2", Availability::Free);
    lab.step();
    lab
}

#[test]
fn a_run_for_two_boards_is_served_although_singles_always_wait() {
    let mut lab = staggered(6);
    let since = at(lab.minute * MINUTE);
    lab.queue.add([run(1, "pair").wants(2).since(since)]);
    let asked = lab.minute;
    let waited = lab.until(1, 60) - asked;
    assert!((STARVED / MINUTE..STARVED / MINUTE + 7).contains(&waited), "{waited} min");
}

#[test]
fn single_runs_are_served_although_runs_for_two_boards_always_wait() {
    let mut lab = staggered(6);
    let (mut pairs, mut singles) = (0, 0);
    for minute in 0..300 {
        let now = at(lab.minute * MINUTE);
        let (pair, single) = (2 * minute + 1, 2 * minute + 2);
        lab.queue.add([run(pair, &format!("u{pair}")).wants(2).since(now)]);
        lab.queue.add([run(single, &format!("u{single}")).since(now)]);
        for number in lab.step() {
            if number % 2 == 1 { pairs += 1 } else { singles += 1 }
        }
    }
    assert!(pairs > 10 && singles > 10, "{pairs} pairs, {singles} singles");
}

#[test]
fn a_run_for_two_boards_is_served_although_runs_outlast_its_first_window() {
    let mut lab = staggered(200);
    lab.queue.add([run(1, "pair").wants(2).since(at(lab.minute * MINUTE))]);
    let (asked, singles) = (lab.minute, lab.singles_served);
    let waited = lab.until(1, 3_000) - asked;
    assert!(waited > WINDOW / MINUTE, "{waited} min");
    assert!(lab.singles_served > singles, "singles went on meanwhile");
}

/// b1 is free, b2 is held, run 1 has waited for two boards for so long that it saves.
fn saving() -> Queue {
    let mut queue = Queue::with(&["b1", "b2"]);
    queue.hold("b2", "zoe", Some(at(STARVED + 60)));
    queue.add([run(1, "pair").wants(2)]);
    assert_eq!(queue.granted(at(STARVED)), "");
    queue
}

#[test]
fn a_board_is_kept_from_its_equals_and_not_from_more_urgent_runs() {
    let mut queue = saving();
    queue.add([run(2, "ann"), run(3, "ann").urgent()]);
    assert_eq!(queue.granted(at(STARVED)), "3:b1");
    queue.apply(QueueEvent::RunLeft { run: run_id(3) });
    assert_eq!(queue.granted(at(STARVED)), "");
    let kept =
        Why::Kept { board: BoardId::new("b1"), run: run_id(1), number: 1, position: Position::Exact(2) };
    assert_eq!(queue.reason(2), kept);
    assert!(matches!(queue.reason(1), Why::Gathering { wanted: 2, free: 1, saving: true, .. }));
}

#[test]
fn who_has_saved_its_boards_is_first_in_its_priority() {
    let mut queue = saving();
    queue.start(90, "pair", 3);
    queue.add([run(2, "ann").wants(2), run(3, "bob")]);
    assert_eq!(queue.place(1), Some(Position::Exact(1)));
    queue.free_at("b2", at(STARVED + 60));
    assert_eq!(queue.reason(1), Why::Next);
    assert_eq!(queue.granted(at(STARVED + 60)), "1:b1+b2");
}

#[test]
fn what_was_kept_is_given_back_when_the_run_is_cancelled() {
    let mut queue = saving();
    queue.add([run(2, "ann")]);
    queue.apply(QueueEvent::RunLeft { run: run_id(1) });
    assert_eq!(queue.granted(at(STARVED + 1)), "2:b1");
}

#[test]
fn what_was_kept_is_given_back_when_the_window_is_over() {
    let mut queue = saving();
    queue.add([run(2, "ann")]);
    assert_eq!(queue.granted(at(STARVED + WINDOW - 1)), "");
    assert_eq!(queue.granted(at(STARVED + WINDOW)), "2:b1");
}

#[test]
fn what_was_kept_is_given_back_when_the_site_has_too_few_boards_in_service() {
    let mut queue = saving();
    queue.add([run(2, "ann")]);
    queue.set("b2", Availability::Unavailable(Unavailable::Offline));
    assert_eq!(queue.granted(at(STARVED + 1)), "2:b1");
}

#[test]
fn nothing_is_kept_for_a_board_that_a_person_has_for_longer() {
    for until in [None, Some(at(STARVED + WINDOW + 1))] {
        let mut queue = Queue::with(&["b1", "b2"]);
        queue.hold("b2", "zoe", until);
        queue.add([run(1, "pair").wants(2), run(2, "ann")]);
        assert_eq!(queue.granted(at(STARVED)), "2:b1");
    }
}

#[test]
fn nothing_is_kept_before_the_run_has_starved() {
    let mut queue = Queue::with(&["b1", "b2"]);
    queue.hold("b2", "zoe", Some(at(1)));
    queue.add([run(1, "pair").wants(2), run(2, "ann")]);
    assert_eq!(queue.granted(at(STARVED - 1)), "2:b1");
}

#[test]
fn boards_are_kept_at_one_site_only() {
    let mut queue = Queue::with(&["b1", "b2", "c1 socA - there", "c2 socA - there"]);
    queue.hold("b1", "zoe", Some(at(STARVED + 9)));
    queue.hold("c1", "zoe", Some(at(STARVED + 9)));
    queue.add([run(1, "pair").wants(2)]);
    queue.granted(at(STARVED));
    queue.add([run(2, "ann"), run(3, "bob")]);
    assert_eq!(queue.granted(at(STARVED)), "2:c2");
}

#[test]
fn a_window_doubles_up_to_its_bound() {
    let mut queue = Queue::with(&["b1", "b2"]);
    queue.set(
        "b2",
        Availability::Busy {
            holder: Holder::Check(actor("zoe")),
            until: None,
            reason: String::new(),
            run: None,
        },
    );
    queue.add([run(1, "pair").wants(2)]);
    let mut now = at(STARVED);
    for doubled in (0..=SAVE_DOUBLINGS_MAX).chain([SAVE_DOUBLINGS_MAX]) {
        let window = SAVE_FOR * 2u32.pow(doubled);
        for (after, kept) in
            [(Duration::ZERO, true), (window - Duration::from_secs(1), true), (window, false)]
        {
            queue.grants(now + after, usize::MAX);
            assert_eq!(!queue.savings.is_empty(), kept, "{doubled} {after:?}");
        }
        // It rests as long as it saved.
        now = now + window * 2;
        queue.grants(now - Duration::from_secs(1), usize::MAX);
        assert!(queue.savings.is_empty(), "{doubled}");
    }
}
