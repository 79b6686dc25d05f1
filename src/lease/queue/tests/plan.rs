//! The queue against a naive plan over whole lists: same grants, same positions, and answers that are true.

use proptest::prelude::*;

use super::*;

/// The whole lab as lists; every question is answered by going through all of them.
#[derive(Default)]
struct Plan {
    boards: BTreeMap<BoardId, (BoardFacts, Availability)>,
    /// Those that take nothing new.
    draining: BTreeSet<BoardId>,
    waiting: Vec<QueuedRun>,
    proposed: Vec<(QueuedRun, Vec<BoardId>)>,
    running: Vec<(RunId, String, u32)>,
    turns: HashMap<String, u64>,
    turn: u64,
}

impl Plan {
    fn serves(run: &QueuedRun, board: &BoardFacts) -> bool {
        let wanted = &run.selector;
        board.family == run.family
            && (wanted.board.is_none() || wanted.board == Some(board.id.clone()))
            && (wanted.revision.is_none() || wanted.revision == board.revision)
            && wanted.tags.iter().all(|tag| board.tags.iter().any(|other| other == tag))
    }

    fn in_service(&self, (facts, state): &(BoardFacts, Availability)) -> bool {
        !matches!(state, Availability::Unavailable(_)) && !self.draining.contains(&facts.id)
    }

    fn set_aside(&self, board: &BoardId) -> bool {
        self.proposed.iter().any(|(_, boards)| boards.contains(board))
    }

    /// Boards that may serve the run, those that failed it left out if enough others of one site are in service.
    fn boards_for(&self, run: &QueuedRun) -> Vec<&(BoardFacts, Availability)> {
        let all: Vec<_> = self.boards.values().filter(|(facts, _)| Self::serves(run, facts)).collect();
        let others: Vec<_> =
            all.iter().copied().filter(|(facts, _)| !run.avoid.contains(&facts.id)).collect();
        let enough = others.iter().any(|(one, _)| {
            let there = others.iter().filter(|board| board.0.site == one.site && self.in_service(board));
            there.count() >= run.boards as usize
        });
        if enough { others } else { all }
    }

    fn place(&self, run: &QueuedRun) -> Option<Vec<BoardId>> {
        let mut free: Vec<&BoardFacts> = self
            .boards_for(run)
            .into_iter()
            .filter(|(facts, state)| {
                *state == Availability::Free
                    && !self.set_aside(&facts.id)
                    && !self.draining.contains(&facts.id)
            })
            .map(|(facts, _)| facts)
            .collect();
        free.sort_by_key(|facts| (facts.last_used, facts.id.clone()));
        let mut choices = Vec::new();
        for site in ["here", "there"] {
            let here: Vec<_> = free.iter().filter(|facts| facts.site.as_str() == site).collect();
            if let Some(here) = here.get(..run.boards as usize) {
                choices.push(here.iter().map(|f| (f.last_used, f.id.clone())).collect::<Vec<_>>());
            }
        }
        choices.sort();
        Some(choices.into_iter().next()?.into_iter().map(|(_, id)| id).collect())
    }

    /// Most boards that somebody has at once.
    fn most(requester: &str) -> Option<u32> {
        match requester {
            "slack:u0" => Some(2),
            "slack:u1" => Some(3),
            _ => None,
        }
    }

    /// Whether a run's requester may have its boards, beside so many more than they have.
    fn has_room(&self, run: &QueuedRun, more: u32) -> bool {
        let in_use = self.in_use(&run.requester) + more;
        Self::most(&run.requester).is_none_or(|most| in_use + run.boards <= most)
    }

    fn in_use(&self, requester: &str) -> u32 {
        let running = self.running.iter().filter(|(_, who, _)| who == requester).map(|(.., boards)| boards);
        let proposed = self.proposed.iter().filter(|(run, _)| run.requester == requester);
        running.sum::<u32>() + proposed.map(|(_, boards)| boards.len() as u32).sum::<u32>()
    }

    /// The first run of whoever has this board that names it, while nothing of theirs is on it.
    fn own_due(&self, board: &BoardId) -> Option<QueuedRun> {
        let (_, Availability::Busy { holder: Holder::Person(person), run: None, .. }) =
            self.boards.get(board)?
        else {
            return None;
        };
        let is_theirs = |run: &&QueuedRun| {
            run.requester == person.key()
                && run.selector.board.as_ref() == Some(board)
                && Self::serves(run, &self.boards[board].0)
                && run.boards == 1
                && run.lasts.is_none()
        };
        let first = self.waiting.iter().filter(is_theirs).min_by_key(|run| (run.priority, run.number));
        first.filter(|_| !self.set_aside(board)).cloned()
    }

    /// Whether a run names a board that its requester has, and how many of theirs are before it there.
    fn own_line(&self, run: &QueuedRun) -> Option<usize> {
        let board = run.selector.board.as_ref()?;
        let (facts, Availability::Busy { holder: Holder::Person(person), .. }) = self.boards.get(board)?
        else {
            return None;
        };
        let is_theirs = |run: &QueuedRun| {
            run.requester == person.key()
                && run.selector.board.as_ref() == Some(board)
                && Self::serves(run, facts)
                && run.boards == 1
                && run.lasts.is_none()
        };
        let before = |other: &&QueuedRun| {
            is_theirs(other) && (other.priority, other.number) < (run.priority, run.number)
        };
        is_theirs(run).then(|| self.waiting.iter().filter(before).count())
    }

    fn is_own_due(&self, run: &QueuedRun) -> bool {
        let board = run.selector.board.as_ref();
        board.and_then(|board| self.own_due(board)).is_some_and(|due| due.run == run.run)
    }

    fn grants(&mut self, limit: usize) -> Vec<Grant> {
        let mut grants = Vec::new();
        for board in self.boards.keys().cloned().collect::<Vec<_>>() {
            let Some(run) = self.own_due(&board).filter(|_| grants.len() < limit) else { continue };
            self.waiting.retain(|other| other.run != run.run);
            self.turn += 1;
            self.turns.insert(run.requester.clone(), self.turn);
            grants.push(Grant { run: run.run, attempt: run.attempt, boards: vec![board.clone()] });
            self.proposed.push((run, vec![board]));
        }
        while grants.len() < limit {
            let rank = |run: &QueuedRun| {
                let turn = self.turns.get(&run.requester).copied().unwrap_or(0);
                (run.priority, self.in_use(&run.requester), turn, run.number)
            };
            let may = self.waiting.iter().filter(|run| self.has_room(run, 0));
            let ready = may.filter_map(|run| Some((run.clone(), self.place(run)?)));
            let Some((run, boards)) = ready.min_by_key(|(run, _)| rank(run)) else { break };
            self.waiting.retain(|other| other.run != run.run);
            self.turn += 1;
            self.turns.insert(run.requester.clone(), self.turn);
            grants.push(Grant { run: run.run, attempt: run.attempt, boards: boards.clone() });
            self.proposed.push((run, boards));
        }
        grants
    }

    /// The runs before this one, among those that share a board with it or ask for the very same.
    fn ahead(&self, run: &QueuedRun) -> Vec<RunId> {
        let ids = |run: &QueuedRun| -> BTreeSet<BoardId> {
            self.boards_for(run).into_iter().map(|(facts, _)| facts.id.clone()).collect()
        };
        let mine = ids(run);
        let asked = |r: &QueuedRun| (r.family.clone(), r.selector.clone(), r.boards, r.avoid.clone());
        let rival = |r: &QueuedRun| !ids(r).is_disjoint(&mine) || asked(r) == asked(run);
        let mut rivals: Vec<&QueuedRun> = self.waiting.iter().filter(|r| rival(r)).collect();
        let mut used: HashMap<&str, u32> = HashMap::new();
        let (mut turns, mut turn) = (self.turns.clone(), self.turn);
        let mut ahead = Vec::new();
        loop {
            let had = |r: &QueuedRun| used.get(r.requester.as_str()).copied().unwrap_or(0);
            let rank = |r: &&QueuedRun| {
                let used = had(r) + self.in_use(&r.requester);
                (r.priority, used, turns.get(&r.requester).copied().unwrap_or(0), r.number)
            };
            let may = rivals.iter().copied().filter(|r| self.has_room(r, had(r)));
            let Some(next) = may.min_by_key(rank) else { break };
            if next.run == run.run {
                break;
            }
            ahead.push(next.run);
            rivals.retain(|r| r.run != next.run);
            *used.entry(&next.requester).or_default() += next.boards;
            turn += 1;
            turns.insert(next.requester.clone(), turn);
        }
        ahead
    }

    fn apply(&mut self, event: QueueEvent) {
        match event {
            QueueEvent::BoardAdded(facts) => {
                let known = self.boards.remove(&facts.id);
                let (old, state) =
                    known.map_or((None, Availability::Free), |(f, state)| (f.last_used, state));
                let last_used = old.max(facts.last_used);
                self.boards.insert(facts.id.clone(), (BoardFacts { last_used, ..facts }, state));
            }
            QueueEvent::BoardChanged { board, availability, last_used } => {
                if let Some((facts, state)) = self.boards.get_mut(&board) {
                    *state = availability;
                    facts.last_used = facts.last_used.max(last_used);
                }
            }
            QueueEvent::BoardDrained { board, draining } if self.boards.contains_key(&board) => {
                match draining {
                    Some(_) => self.draining.insert(board),
                    None => self.draining.remove(&board),
                };
            }
            QueueEvent::BoardDrained { .. } => {}
            QueueEvent::BoardRemoved { board } => {
                self.boards.remove(&board);
                self.draining.remove(&board);
            }
            QueueEvent::RunQueued(run) => {
                if self.waiting.contains(&run) || self.proposed.iter().any(|(other, _)| *other == *run) {
                    return;
                }
                self.forget(run.run);
                self.running.retain(|(id, ..)| *id != run.run);
                self.waiting.push(*run);
            }
            QueueEvent::RunLeft { run } => self.forget(run),
            QueueEvent::GrantRefused { run } => {
                if let Some(at) = self.proposed.iter().position(|(other, _)| other.run == run) {
                    self.waiting.push(self.proposed.remove(at).0);
                }
            }
            QueueEvent::RunStarted { run, requester, boards } => {
                let proposed = self.proposed.iter().find(|(other, _)| other.run == run).cloned();
                let known = self.running.iter().any(|(id, ..)| *id == run);
                if let Some((of, boards)) = &proposed {
                    for board in boards {
                        if let Some((_, state)) =
                            self.boards.get_mut(board).filter(|(_, s)| *s == Availability::Free)
                        {
                            let holder = Holder::Run { run, number: of.number, attempt: of.attempt };
                            *state =
                                Availability::Busy { holder, until: None, reason: String::new(), run: None };
                        }
                    }
                } else if !known {
                    self.turn += 1;
                    self.turns.insert(requester.clone(), self.turn);
                }
                self.forget(run);
                self.running.retain(|(id, ..)| *id != run);
                self.running.push((run, requester, boards));
            }
            QueueEvent::RunEnded { run } => self.running.retain(|(id, ..)| *id != run),
            QueueEvent::DurationSeen { .. } => {}
        }
    }

    fn forget(&mut self, run: RunId) {
        self.waiting.retain(|other| other.run != run);
        self.proposed.retain(|(other, _)| other.run != run);
    }
}

// ---- what may happen --------------------------------------------------------------------------------------

#[derive(Debug, Clone)]
enum Op {
    Apply(QueueEvent),
    Grants(usize),
}

fn board_id() -> impl Strategy<Value = BoardId> {
    (0..8).prop_map(|n| BoardId::new(format!("b{n}")))
}

fn facts() -> impl Strategy<Value = BoardFacts> {
    let words = (board_id(), 0..5, 0..2, 0..3, 0..2).prop_map(|(id, family, rev, site, tag)| {
        let family = if family == 0 { "socB" } else { "socA" };
        let site = if site == 0 { "there" } else { "here" };
        format!("{id} {family} rev{rev} {site} k={tag}")
    });
    words.prop_map(|words| board(&words))
}

fn availability() -> impl Strategy<Value = Availability> {
    let held = |(who, run): (u8, Option<i64>)| {
        let who = if who < 4 { format!("u{who}") } else { "zoe".to_owned() };
        Availability::Busy { holder: person(&who), until: None, reason: String::new(), run }
    };
    prop_oneof![
        4 => Just(Availability::Free),
        3 => (0..8u8, prop::option::weighted(0.2, Just(1))).prop_map(held),
        1 => Just(Availability::Unavailable(Unavailable::Offline)),
    ]
}

fn queued() -> impl Strategy<Value = QueuedRun> {
    let selector = (prop::option::weighted(0.2, board_id()), 0..6u8, 0..6u8).prop_map(|(board, rev, tag)| {
        let tags = (tag < 2).then(|| ("k".to_owned(), tag.to_string())).into_iter().collect();
        Selector { board, revision: (rev < 2).then(|| format!("rev{rev}")), tags, driven_here: false }
    });
    let avoid = prop_oneof![3 => Just(vec![]), 1 => prop::collection::btree_set(board_id(), 1..3)
        .prop_map(|avoid| avoid.into_iter().collect())];
    let priority =
        prop_oneof![1 => Just(Priority::High), 4 => Just(Priority::Normal), 1 => Just(Priority::Low)];
    let boards = prop_oneof![4 => Just(1u32), 1 => 2..4u32];
    (1..30i64, 0..4, 0..6, selector, priority, boards, avoid, 0..10).prop_map(
        |(number, who, family, selector, priority, boards, avoid, lasts)| QueuedRun {
            family: Family::new(if family == 0 { "socB" } else { "socA" }),
            selector,
            priority,
            boards,
            avoid,
            lasts: (lasts < 2).then_some(Duration::from_secs(60)),
            most: Plan::most(&format!("slack:u{who}")),
            ..run(number, &format!("slack:u{who}"))
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let id = || (1..30i64).prop_map(run_id);
    let event = prop_oneof![
        2 => facts().prop_map(QueueEvent::BoardAdded),
        6 => (board_id(), availability(), prop::option::of((0..50u64).prop_map(at)))
            .prop_map(|(board, availability, last_used)| QueueEvent::BoardChanged { board, availability, last_used }),
        1 => board_id().prop_map(|board| QueueEvent::BoardRemoved { board }),
        2 => (board_id(), prop::bool::weighted(0.4)).prop_map(|(board, drains)| QueueEvent::BoardDrained {
            board,
            draining: drains.then(|| Draining { reason: String::new(), until: None }),
        }),
        12 => queued().prop_map(|run| QueueEvent::RunQueued(Box::new(run))),
        1 => id().prop_map(|run| QueueEvent::RunLeft { run }),
        2 => id().prop_map(|run| QueueEvent::GrantRefused { run }),
        3 => (id(), 0..4, 1..3u32).prop_map(|(run, who, boards)| QueueEvent::RunStarted {
            run,
            requester: format!("slack:u{who}"),
            boards,
        }),
        2 => id().prop_map(|run| QueueEvent::RunEnded { run }),
    ];
    prop_oneof![6 => event.prop_map(Op::Apply), 1 => (1..5usize).prop_map(Op::Grants)]
}

fn history() -> impl Strategy<Value = Vec<Op>> {
    let lab = prop::collection::vec(facts().prop_map(|facts| Op::Apply(QueueEvent::BoardAdded(facts))), 6);
    (lab, prop::collection::vec(op(), 1..60)).prop_map(|(lab, ops)| lab.into_iter().chain(ops).collect())
}

// ---- what must hold ---------------------------------------------------------------------------------------

/// Whether what the queue says of a waiting run is true.
fn assert_true(queue: &Queue, plan: &Plan, run: &QueuedRun) {
    if plan.is_own_due(run) {
        assert_eq!(
            (queue.position(run.run), queue.why(run.run, at(0))),
            (Some(Position::Exact(1)), Why::Next)
        );
        return;
    }
    if let Some(before) = plan.own_line(run) {
        assert_eq!(queue.position(run.run), Some(Position::Exact(before + 1)));
        assert!(
            matches!(queue.why(run.run, at(0)), Why::OnlyBoard(held) if Some(&held.board) == run.selector.board.as_ref())
        );
        return;
    }
    let ahead = plan.ahead(run);
    let place = Position::Exact(ahead.len() + 1);
    assert_eq!(queue.position(run.run), Some(place));
    let allowed: Vec<_> = plan.boards.values().filter(|(facts, _)| Plan::serves(run, facts)).collect();
    let most = |keep: &dyn Fn(&(BoardFacts, Availability)) -> bool| {
        let at = |site| allowed.iter().filter(|board| board.0.site.as_str() == site && keep(board)).count();
        at("here").max(at("there"))
    };
    let in_service = most(&|board| plan.in_service(board));
    let wanted = run.boards as usize;
    let serving = plan.boards_for(run).into_iter().filter(|board| plan.in_service(board));
    let held = serving.filter(|(facts, state)| {
        matches!(state, Availability::Busy { .. })
            || *state == Availability::Free && plan.set_aside(&facts.id)
    });
    let held: BTreeSet<BoardId> = held.map(|(facts, _)| facts.id.clone()).collect();
    let lists = |list: &[Held], more: usize| {
        assert!(list.iter().all(|h| held.contains(&h.board)) && list.len() + more == held.len());
    };
    match queue.why(run.run, at(0)) {
        Why::NoBoards => assert!(allowed.is_empty()),
        Why::TooFew { wanted: w, most: m } => assert!(w == wanted && m == most(&|_| true) && m < w),
        Why::Unavailable { boards, more } => {
            assert!(in_service < wanted);
            let out = allowed.iter().filter(|board| !plan.in_service(board));
            assert_eq!(boards.len() + more, out.count());
        }
        Why::Quota { most, in_use } => {
            assert_eq!((Some(most), in_use), (Plan::most(&run.requester), plan.in_use(&run.requester)));
            assert!(!plan.has_room(run, 0));
        }
        Why::Behind { position, ahead: first, held, more, .. } => {
            assert_eq!((position, Some(&first)), (place, ahead.first()));
            lists(&held, more);
        }
        Why::Next => {
            assert!(ahead.is_empty() && plan.place(run).is_some());
            assert_is_next(queue, plan, run, plan.place(run).expect("asserted above"));
        }
        Why::OnlyBoard(only) => {
            assert_eq!((ahead.len(), held.len(), wanted), (0, 1, 1));
            assert_is_next(queue, plan, run, vec![only.board]);
        }
        Why::AllBusy { held, more } => {
            assert!(ahead.is_empty() && wanted == 1 && held.len() > 1);
            lists(&held, more);
            held.into_iter().for_each(|held| assert_is_next(queue, plan, run, vec![held.board]));
        }
        Why::Gathering { wanted: w, free, saving, held, more, .. } => {
            assert!(ahead.is_empty() && w == wanted && free < w && w > 1 && !saving);
            lists(&held, more);
        }
        why @ (Why::NotWaiting | Why::Granting { .. } | Why::Kept { .. }) => {
            panic!("{why:?} of a waiting run")
        }
    }
}

/// A run that nobody is before gets suitable boards as soon as they come free.
fn assert_is_next(queue: &Queue, plan: &Plan, run: &QueuedRun, boards: Vec<BoardId>) {
    if boards.iter().any(|board| plan.set_aside(board)) {
        return;
    }
    let mut queue = queue.clone();
    // What is granted elsewhere at the same moment may change whose turn it is.
    let there = |state: &Availability| !matches!(state, Availability::Unavailable(_));
    for (board, _) in plan.boards.iter().filter(|(_, (_, state))| there(state)) {
        queue.hold(board.as_str(), "zoe", None);
    }
    boards.iter().for_each(|board| queue.set(board.as_str(), Availability::Free));
    let grants = queue.grants(at(0), 1);
    assert_eq!(grants, [Grant { run: run.run, attempt: run.attempt, boards }]);
}

/// Remembers what was said last of each board and run, and forgets what it makes untrue.
fn note(last: &mut BTreeMap<String, QueueEvent>, event: &QueueEvent) {
    let subject = match event {
        QueueEvent::BoardAdded(facts) => format!("facts of {}", facts.id),
        QueueEvent::BoardChanged { board, .. } => format!("state of {board}"),
        QueueEvent::BoardRemoved { board } => {
            last.remove(&format!("state of {board}"));
            last.remove(&format!("drain of {board}"));
            format!("facts of {board}")
        }
        QueueEvent::BoardDrained { board, .. } => format!("drain of {board}"),
        QueueEvent::RunQueued(run) => run.run.to_string(),
        QueueEvent::RunLeft { run } | QueueEvent::RunStarted { run, .. } | QueueEvent::RunEnded { run } => {
            run.to_string()
        }
        // It ends one proposal, and says nothing of a later one.
        QueueEvent::GrantRefused { .. } | QueueEvent::DurationSeen { .. } => return,
    };
    last.insert(subject, event.clone());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn the_queue_equals_a_naive_plan_over_whole_lists(history in history()) {
        let (mut queue, mut plan) = (Queue::new(), Plan::default());
        for op in history {
            match op {
                Op::Apply(event) => {
                    plan.apply(event.clone());
                    queue.apply(event.clone());
                    // What is, said twice, is still so.
                    queue.apply(event);
                }
                Op::Grants(limit) => prop_assert_eq!(queue.grants(at(0), limit), plan.grants(limit)),
            }
            prop_assert_eq!(queue.len(), plan.waiting.len() + plan.proposed.len());
            for run in &plan.waiting {
                assert_true(&queue, &plan, run);
            }
            for (run, boards) in &plan.proposed {
                prop_assert_eq!(queue.why(run.run, at(0)), Why::Granting { boards: boards.clone() });
            }
        }
        prop_assert_eq!(queue.grants(at(0), usize::MAX), plan.grants(usize::MAX));
    }

    #[test]
    fn a_queue_that_hears_again_how_things_are_is_the_same(history in history(), seed in any::<u64>()) {
        let mut queue = Queue::new();
        let mut last = BTreeMap::new();
        for op in history {
            match op {
                Op::Apply(event) => {
                    let unknown = matches!(
                        &event,
                        QueueEvent::BoardChanged { board, .. } | QueueEvent::BoardDrained { board, .. }
                            if !queue.boards.contains_key(board)
                    );
                    if !unknown {
                        note(&mut last, &event);
                    }
                    if let QueueEvent::RunStarted { run, .. } = &event {
                        // It has the boards that were proposed for it.
                        let boards = queue.proposed.iter().filter(|(_, of)| *of == run);
                        boards.for_each(|(board, _)| drop(last.remove(&format!("state of {board}"))));
                    }
                    queue.apply(event);
                }
                Op::Grants(limit) => drop(queue.grants(at(0), limit)),
            }
        }
        let mut again = queue.clone();
        let mut events: Vec<QueueEvent> = last.into_values().collect();
        let start = seed as usize % events.len();
        events.rotate_left(start);
        events.into_iter().for_each(|event| again.apply(event));
        prop_assert_eq!(queue.grants(at(0), usize::MAX), again.grants(at(0), usize::MAX));
    }

    #[test]
    fn everything_that_can_be_served_is_served_in_the_end(history in history(), seed in 0..100u64) {
        let mut queue = Queue::new();
        let mut clock = STARVED_AFTER.as_secs();
        for op in history {
            match op {
                Op::Apply(event) => queue.apply(event),
                Op::Grants(limit) => {
                    clock += seed * 20;
                    for grant in queue.grants(at(clock), limit) {
                        let sites: BTreeSet<_> = grant.boards.iter().map(|b| &queue.boards[b].facts.site).collect();
                        prop_assert_eq!(sites.len(), 1, "of one site");
                    }
                }
            }
        }
        let ids: Vec<BoardId> = queue.boards.keys().cloned().collect();
        for _ in 0..100 {
            clock += 3_600;
            ids.iter().for_each(|board| queue.set(board.as_str(), Availability::Free));
            ids.iter().for_each(|board| queue.drain(board.as_str(), None));
            let proposed: Vec<RunId> = queue.proposed.values().copied().collect();
            proposed.into_iter().for_each(|run| queue.apply(QueueEvent::RunLeft { run }));
            queue.grants(at(clock), usize::MAX);
        }
        for waiting in queue.waiting.keys() {
            let why = queue.why(*waiting, at(clock));
            // Whatever runs goes on for ever here.
            let never = matches!(why, Why::NoBoards | Why::TooFew { .. } | Why::Quota { .. });
            prop_assert!(never, "{:?}", queue.why(*waiting, at(clock)));
        }
        prop_assert!(queue.savings.is_empty());
    }
}
