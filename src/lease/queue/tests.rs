//! Tests of the queue: one lab in words, and a sentence per rule. `plan` holds the queue equal to a naive plan;
//! `saving` tests starvation.

mod answers;
mod plan;
mod saving;
mod serving;

use uuid::Uuid;

use super::*;
use crate::chat::{Actor, Platform};

pub(super) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000) + Duration::from_secs(seconds)
}

pub(super) fn run_id(number: i64) -> RunId {
    RunId(Uuid::from_u128(number as u128))
}

pub(super) fn actor(name: &str) -> Actor {
    Actor { platform: Platform::Slack, id: name.into(), team: String::new(), name: String::new() }
}

pub(super) fn person(name: &str) -> Holder {
    Holder::Person(actor(name))
}

/// A board `name` in words: `"b1 socA rev2 here k=v"`, missing words by default.
pub(super) fn board(words: &str) -> BoardFacts {
    let mut words = words.split(' ');
    let mut next = |default: &str| words.next().unwrap_or(default).to_owned();
    let (id, family, revision, site) = (next(""), next("socA"), next("-"), next("here"));
    BoardFacts {
        remote: false,
        id: BoardId::new(id),
        family: Family::new(family),
        revision: (revision != "-").then_some(revision),
        site: Site::new(site),
        tags: words.filter_map(|tag| tag.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect(),
        last_used: None,
    }
}

/// A normal run of `socA` by `who`, on any board.
pub(super) fn run(number: i64, who: &str) -> QueuedRun {
    QueuedRun {
        run: run_id(number),
        number,
        attempt: 1,
        family: Family::new("socA"),
        suite: "smoke".into(),
        selector: Selector::default(),
        priority: Priority::Normal,
        requester: who.into(),
        boards: 1,
        since: at(0),
        avoid: vec![],
        lasts: None,
        most: None,
    }
}

impl QueuedRun {
    fn urgent(mut self) -> Self {
        self.priority = Priority::High;
        self
    }
    fn low(mut self) -> Self {
        self.priority = Priority::Low;
        self
    }
    fn background(mut self) -> Self {
        self.priority = Priority::Background;
        self
    }
    fn on(mut self, board: &str) -> Self {
        self.selector.board = Some(BoardId::new(board));
        self
    }
    fn rev(mut self, revision: &str) -> Self {
        self.selector.revision = Some(revision.into());
        self
    }
    fn tag(mut self, key: &str, value: &str) -> Self {
        self.selector.tags.insert(key.into(), value.into());
        self
    }
    fn most(mut self, boards: u32) -> Self {
        self.most = Some(boards);
        self
    }
    fn wants(mut self, boards: u32) -> Self {
        self.boards = boards;
        self
    }
    fn avoids(mut self, boards: &[&str]) -> Self {
        self.avoid = boards.iter().map(|board| BoardId::new(*board)).collect();
        self
    }
    fn since(mut self, since: Timestamp) -> Self {
        self.since = since;
        self
    }
}

impl Queue {
    fn with(boards: &[&str]) -> Self {
        let mut queue = Queue::new();
        for words in boards {
            queue.apply(QueueEvent::BoardAdded(board(words)));
        }
        queue
    }
    fn add(&mut self, runs: impl IntoIterator<Item = QueuedRun>) {
        for run in runs {
            self.apply(QueueEvent::RunQueued(Box::new(run)));
        }
    }
    fn set(&mut self, board: &str, availability: Availability) {
        self.apply(QueueEvent::BoardChanged { board: BoardId::new(board), availability, last_used: None });
    }
    fn drain(&mut self, board: &str, reason: Option<&str>) {
        let draining = reason.map(|reason| Draining { reason: reason.into(), until: None });
        self.apply(QueueEvent::BoardDrained { board: BoardId::new(board), draining });
    }
    fn hold(&mut self, board: &str, who: &str, until: Option<Timestamp>) {
        self.set(board, Availability::Busy { holder: person(who), until, reason: String::new(), run: None });
    }
    fn free_at(&mut self, board: &str, last_used: Timestamp) {
        let board = BoardId::new(board);
        let last_used = Some(last_used);
        self.apply(QueueEvent::BoardChanged { board, availability: Availability::Free, last_used });
    }
    fn start(&mut self, number: i64, who: &str, boards: u32) {
        self.apply(QueueEvent::RunStarted { run: run_id(number), requester: who.into(), boards });
    }
    fn end(&mut self, number: i64) {
        self.apply(QueueEvent::RunEnded { run: run_id(number) });
    }
    /// Grants as words: `"1:b1 2:b2+b3"`.
    fn granted(&mut self, now: Timestamp) -> String {
        words(&self.grants(now, usize::MAX))
    }
    fn place(&self, number: i64) -> Option<Position> {
        self.position(run_id(number))
    }
    fn reason(&self, number: i64) -> Why {
        self.why(run_id(number), at(0))
    }
}

fn words(grants: &[Grant]) -> String {
    let word = |grant: &Grant| {
        let boards: Vec<&str> = grant.boards.iter().map(|board| board.as_str()).collect();
        format!("{}:{}", grant.run.0.as_u128(), boards.join("+"))
    };
    grants.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// The lab's boards, who waits, and what is granted at once.
#[track_caller]
fn check(boards: &[&str], runs: impl IntoIterator<Item = QueuedRun>, expect: &str) -> Queue {
    let mut queue = Queue::with(boards);
    queue.add(runs);
    assert_eq!(queue.granted(at(0)), expect);
    queue
}

// ---- order ------------------------------------------------------------------------------------------------

#[test]
fn the_lowest_number_is_first() {
    check(&["b1", "b2"], [run(3, "ann"), run(1, "ann"), run(2, "ann")], "1:b1 2:b2");
}

#[test]
fn priority_is_before_everything() {
    check(&["b1", "b2"], [run(1, "ann").low(), run(2, "bob"), run(3, "bob").urgent()], "3:b1 2:b2");
}

#[test]
fn requesters_take_turns() {
    let runs = [run(1, "ann"), run(2, "ann"), run(3, "ann"), run(4, "bob"), run(5, "cho")];
    check(&["b1", "b2", "b3", "b4"], runs, "1:b1 4:b2 5:b3 2:b4");
}

#[test]
fn who_has_fewest_boards_in_use_is_first() {
    let mut queue = Queue::with(&["b1"]);
    queue.start(90, "ann", 2);
    queue.start(91, "bob", 1);
    queue.add([run(1, "ann"), run(2, "bob")]);
    assert_eq!(queue.granted(at(0)), "2:b1");
}

#[test]
fn of_equals_who_was_served_longest_ago_is_first() {
    let mut queue = Queue::with(&["b1"]);
    for (number, who) in [(90, "ann"), (91, "bob")] {
        queue.start(number, who, 1);
        queue.end(number);
    }
    queue.add([run(1, "bob"), run(2, "ann")]);
    assert_eq!(queue.granted(at(0)), "2:b1");
}

#[test]
fn one_run_at_a_time_does_not_get_ahead_of_a_backlog_each_time() {
    let mut queue = Queue::with(&["b1"]);
    queue.add((1..=10).map(|number| run(number, "backlog")));
    let mut served = Vec::new();
    for number in 100..110 {
        queue.add([run(number, "drip")]);
        for _ in 0..2 {
            let grants = queue.grants(at(0), 1);
            let who = if grants[0].run == run_id(number) { "drip" } else { "backlog" };
            served.push(who);
            queue.apply(QueueEvent::RunStarted { run: grants[0].run, requester: who.into(), boards: 1 });
            queue.apply(QueueEvent::RunEnded { run: grants[0].run });
            queue.set("b1", Availability::Free);
        }
    }
    assert_eq!(served.iter().filter(|who| **who == "backlog").count(), 10);
}

#[test]
fn a_limit_stops_and_the_next_call_goes_on() {
    let mut queue = Queue::with(&["b1", "b2"]);
    queue.add([run(1, "ann"), run(2, "ann")]);
    assert_eq!(words(&queue.grants(at(0), 1)), "1:b1");
    assert_eq!(words(&queue.grants(at(0), 1)), "2:b2");
    assert_eq!(words(&queue.grants(at(0), 0)), "");
}

// ---- boards -----------------------------------------------------------------------------------------------

#[test]
fn the_least_recently_used_board_serves_and_a_new_one_before_all() {
    let mut queue = Queue::with(&["b1", "b2", "b3"]);
    queue.free_at("b1", at(2));
    queue.free_at("b2", at(1));
    queue.add([run(1, "ann"), run(2, "ann"), run(3, "ann")]);
    assert_eq!(queue.granted(at(3)), "1:b3 2:b2 3:b1");
}

#[test]
fn a_selector_takes_only_what_it_allows() {
    let boards = ["b1 socB", "b2", "b3 socA rev2 here ddr=8g", "b4 socA rev2"];
    check(&boards, [run(1, "ann").rev("rev2")], "1:b3");
    check(&boards, [run(1, "ann").tag("ddr", "8g"), run(2, "ann").tag("ddr", "4g")], "1:b3");
    check(&boards, [run(1, "ann").on("b4"), run(2, "ann").on("b4")], "1:b4");
    check(&boards, [run(1, "ann").on("b1")], "");
}

#[test]
fn a_wide_run_that_is_first_takes_a_board_a_narrow_one_wants() {
    check(&["b1"], [run(1, "ann"), run(2, "bob").on("b1")], "1:b1");
}

#[test]
fn what_boardhand_wants_of_its_own_accord_comes_after_everything_that_people_want() {
    let runs = [run(1, "boardhand").background(), run(2, "ann"), run(3, "ann").low()];
    check(&["b1", "b2", "b3"], runs, "2:b1 3:b2 1:b3");
}

#[test]
fn a_board_that_failed_a_run_is_avoided_while_another_is_in_service() {
    let mut queue = Queue::with(&["b1", "b2"]);
    queue.hold("b2", "bob", None);
    queue.add([run(1, "ann").avoids(&["b1"])]);
    assert_eq!(queue.granted(at(0)), "", "b2 is only busy");
    queue.set("b2", Availability::Unavailable(Unavailable::Offline));
    assert_eq!(queue.granted(at(0)), "1:b1");
}

#[test]
fn several_boards_avoid_while_one_site_has_enough_others() {
    let boards = ["b1", "b2", "b3", "c1 socA - there", "c2 socA - there"];
    check(&boards, [run(1, "ann").wants(2).avoids(&["b1"])], "1:b2+b3");
    check(&boards[..2], [run(1, "ann").wants(2).avoids(&["b1"])], "1:b1+b2");
}

#[test]
fn several_boards_are_of_one_site_or_none() {
    check(&["b1", "c1 socA - there"], [run(1, "ann").wants(2)], "");
    check(&["b1", "c1 socA - there", "c2 socA - there"], [run(1, "ann").wants(2)], "1:c1+c2");
}

#[test]
fn a_run_that_cannot_have_all_its_boards_blocks_nobody() {
    check(&["b1", "c1 socA - there"], [run(1, "ann").wants(2), run(2, "bob")], "2:b1");
}

#[test]
fn a_list_of_avoided_boards_counts_to_its_bound() {
    let names: Vec<String> = (0..=AVOID_MAX).map(|n| format!("b{n:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // One too many: the first of the list is avoided no more.
    let mut queue = check(&names, [run(1, "ann").avoids(&names)], "1:b00");
    queue.add([run(2, "ann").avoids(&names[1..])]);
    assert_eq!(queue.place(2), Some(Position::Exact(1)));
}

// ---- events -----------------------------------------------------------------------------------------------

#[test]
fn a_proposal_is_made_once_until_it_is_refused() {
    let mut queue = check(&["b1"], [run(1, "ann")], "1:b1");
    assert_eq!(queue.granted(at(0)), "");
    queue.add([run(1, "ann")]);
    assert_eq!(queue.granted(at(0)), "", "hearing again that it waits is no refusal");
    for _ in 0..2 {
        queue.apply(QueueEvent::GrantRefused { run: run_id(1) });
    }
    assert_eq!(queue.granted(at(0)), "1:b1");
}

#[test]
fn a_proposed_run_that_is_cancelled_gives_its_board_back() {
    let mut queue = check(&["b1"], [run(1, "ann"), run(2, "ann")], "1:b1");
    queue.apply(QueueEvent::RunLeft { run: run_id(1) });
    assert_eq!(queue.granted(at(0)), "2:b1");
}

#[test]
fn a_granted_board_is_busy_before_the_store_says_so() {
    let mut queue = check(&["b1"], [run(1, "ann"), run(2, "bob")], "1:b1");
    queue.start(1, "ann", 1);
    queue.apply(QueueEvent::RunLeft { run: run_id(1) });
    assert_eq!(queue.granted(at(0)), "");
    queue.free_at("b1", at(1));
    assert_eq!(queue.granted(at(1)), "2:b1");
}

#[test]
fn a_run_that_waits_for_its_next_attempt_runs_no_more() {
    let mut queue = check(&["b1", "b2"], [run(1, "ann")], "1:b1");
    queue.start(1, "ann", 1);
    queue.add([QueuedRun { attempt: 2, ..run(1, "ann").avoids(&["b1"]) }]);
    assert_eq!(queue.grants(at(0), 1)[0].attempt, 2);
    assert!(queue.running.is_empty());
}

#[test]
fn a_board_that_leaves_and_comes_back_during_a_proposal_stays_set_aside() {
    let mut queue = check(&["b1"], [run(1, "ann"), run(2, "ann")], "1:b1");
    queue.apply(QueueEvent::BoardRemoved { board: BoardId::new("b1") });
    queue.apply(QueueEvent::BoardAdded(board("b1")));
    assert_eq!(queue.granted(at(0)), "");
    queue.apply(QueueEvent::RunLeft { run: run_id(1) });
    assert_eq!(queue.granted(at(0)), "2:b1");
}

#[test]
fn nothing_is_left_of_what_is_over() {
    let mut queue = Queue::new();
    for n in 0..3 * POOLS_IDLE_MAX as i64 {
        queue.apply(QueueEvent::BoardAdded(board(&format!("b{n}"))));
        queue.add([run(n, "ann").on(&format!("b{n}"))]);
        queue.granted(at(0));
        queue.start(n, "ann", 1);
        queue.end(n);
    }
    assert_eq!(queue.pools.len(), POOLS_IDLE_MAX);
    assert!(queue.boards.values().map(|board| board.pools.len()).sum::<usize>() <= POOLS_IDLE_MAX);
    assert!(queue.classes.is_empty() && queue.class_ids.is_empty() && queue.ready.is_empty());
    assert!(queue.waiting.is_empty() && queue.running.is_empty() && queue.proposed.is_empty());
}

#[test]
fn requesters_are_remembered_up_to_a_bound() {
    let mut queue = Queue::new();
    for n in 0..REQUESTERS_IDLE_MAX as i64 + 50 {
        queue.start(n, &format!("user {n}"), 1);
        queue.end(n);
    }
    assert_eq!(queue.requesters.len(), REQUESTERS_IDLE_MAX);
    assert_eq!(queue.requester_ids.len(), REQUESTERS_IDLE_MAX);
    assert!(!queue.requester_ids.contains_key("user 0"), "served longest ago");
}

// ---- boards of people -------------------------------------------------------------------------------------

#[test]
fn a_run_of_whoever_has_the_board_is_served_at_once_before_everything_else() {
    let mut queue = Queue::with(&["b1", "b2"]);
    queue.hold("b1", "ann", Some(at(60)));
    queue.add([run(1, "slack:bob").urgent().on("b1"), run(2, "slack:ann").on("b1"), run(3, "slack:ann")]);
    assert_eq!(queue.place(2), Some(Position::Exact(1)));
    assert_eq!(
        (queue.reason(2), queue.eta(run_id(2), at(0))),
        (Why::Next, Some((Duration::ZERO, Duration::ZERO)))
    );
    assert_eq!(queue.granted(at(0)), "2:b1 3:b2");
}

#[test]
fn runs_on_a_board_of_ones_own_are_one_at_a_time() {
    let mut queue = Queue::with(&["b1"]);
    queue.hold("b1", "ann", None);
    queue.add([run(1, "slack:ann").on("b1"), run(2, "slack:ann").on("b1").urgent()]);
    assert_eq!(queue.granted(at(0)), "2:b1");
    let under = |run| Availability::Busy { holder: person("ann"), until: None, reason: String::new(), run };
    queue.set("b1", under(Some(2)));
    queue.start(2, "slack:ann", 1);
    assert_eq!(queue.granted(at(0)), "");
    assert!(matches!(queue.reason(1), Why::OnlyBoard(held) if held.run == Some(2)));
    queue.set("b1", under(None));
    queue.end(2);
    assert_eq!(queue.granted(at(0)), "1:b1");
}

#[test]
fn nobody_else_and_no_reservation_is_served_on_a_board_that_somebody_has() {
    let mut queue = Queue::with(&["b1"]);
    queue.hold("b1", "ann", None);
    let wish = QueuedRun { lasts: Some(Duration::from_secs(60)), ..run(1, "slack:ann").on("b1") };
    queue.add([wish, run(2, "slack:bob").on("b1"), run(3, "slack:ann"), run(4, "slack:ann").wants(2)]);
    assert_eq!(queue.granted(at(0)), "");
    queue.set("b1", Availability::Free);
    assert_eq!(queue.granted(at(0)), "1:b1");
}

#[test]
fn what_somebody_would_meet_is_seen_without_asking_for_it() {
    let mut queue = Queue::with(&["b1"]);
    let wish = |number| QueuedRun { lasts: Some(Duration::from_secs(600)), ..run(number, "slack:ann") };
    let free = queue.foresee(wish(1), at(0));
    assert_eq!((free.boards, free.position), (vec![BoardId::new("b1")], Position::Exact(1)));
    queue.hold("b1", "zoe", Some(at(60)));
    queue.add([QueuedRun { lasts: Some(Duration::from_secs(100)), ..run(2, "slack:bob") }]);
    let behind = queue.foresee(wish(3), at(0));
    assert_eq!((behind.boards, behind.position), (vec![], Position::Exact(2)));
    // Bob's time is known before he has it.
    assert_eq!(behind.eta, Some((Duration::from_secs(160), Duration::from_secs(160))));
    assert!(matches!(behind.why, Why::Behind { reservation: true, number: 2, .. }));
    assert_eq!((queue.len(), queue.place(3)), (1, None));
}

#[test]
fn whoever_asks_for_one_of_a_kind_may_have_any_that_is_free_and_first_the_one_they_prefer() {
    let mut queue = Queue::with(&["b1", "b2"]);
    let many: Vec<String> = (0..CHOICES_MAX).map(|n| format!("m{n:03}")).collect();
    queue.apply(QueueEvent::BoardAdded(BoardFacts { site: Site::new("far"), ..board("c1") }));
    let names = |choices: Vec<BoardId>| choices.iter().map(BoardId::to_string).collect::<Vec<_>>();
    let far = Site::new("far");
    assert_eq!(names(queue.choices(run(1, "slack:ann"), None)), ["b1", "b2", "c1"]);
    assert_eq!(names(queue.choices(run(1, "slack:ann"), Some(&far))), ["c1", "b1", "b2"]);
    assert_eq!(names(queue.choices(run(1, "slack:ann").on("b2"), Some(&far))), ["b2"]);
    queue.hold("c1", "zoe", None);
    assert_eq!(names(queue.choices(run(1, "slack:ann"), Some(&far))), ["b1", "b2"]);
    for name in &many {
        queue.apply(QueueEvent::BoardAdded(board(name)));
    }
    assert_eq!(queue.choices(run(1, "slack:ann"), None).len(), CHOICES_MAX);
    queue.add([run(2, "slack:bob")]);
    assert_eq!(names(queue.choices(run(3, "slack:ann"), None)), [""; 0], "somebody is before them");
    assert_eq!(queue.len(), 1);
}

#[test]
fn a_board_that_was_proposed_elsewhere_is_looked_at_again_for_whoever_has_it_now() {
    let mut queue = Queue::with(&["b1"]);
    queue.add([run(1, "slack:bob").urgent(), run(2, "slack:ann").on("b1")]);
    assert_eq!(queue.grants(at(0), 1).len(), 1);
    queue.hold("b1", "ann", None);
    assert_eq!(queue.granted(at(0)), "", "it is set aside still");
    queue.apply(QueueEvent::RunLeft { run: run_id(1) });
    assert_eq!(queue.granted(at(0)), "2:b1");
}
