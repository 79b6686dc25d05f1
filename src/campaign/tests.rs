//! What a campaign does, against a model: whatever its runs come to and whatever people ask, it never starts a run
//! twice, never more at once than it may, and never one of a later wave before its gate.

use proptest::prelude::*;

use super::*;
use crate::board::Family;
use crate::run::{Priority, RunKind, Selector};

fn spec() -> RunSpec {
    RunSpec {
        kind: RunKind::Test,
        family: Family::new("f"),
        build: "build-1".into(),
        suite: "smoke".into(),
        selector: Selector::default(),
        priority: Priority::Low,
        boards: 1,
        on_own_board: false,
        timeout: None,
        params: Default::default(),
    }
}

fn campaign(targets: usize, terms: Terms) -> Campaign {
    let planned = || (0..targets).map(|target| Planned { target, spec: spec() }).collect();
    let plan = Plan {
        name: "rollout".into(),
        build: "build-1".into(),
        targets: (0..targets).map(|n| format!("b{n}")).collect(),
        runs: planned(),
        rollback: planned(),
        terms,
        cards: vec![],
    };
    Campaign {
        number: 1,
        version: 0,
        plan: plan.into(),
        wave: 0,
        state: State::Running,
        since: 0,
        forgiven: None,
    }
}

fn waves() -> Terms {
    let waves = vec![Wave::Targets(1), Wave::Percent(50), Wave::Percent(100)];
    Terms { waves, gate: 100, at_once: 3, stop: None }
}

fn child(phase: Phase, place: usize, verdict: Option<Verdict>) -> Child {
    Child {
        phase,
        place,
        run: place as i64,
        last: place as i64,
        verdict,
        cause: String::new(),
        touched: true,
        waits: false,
        kept_out: false,
    }
}

/// Goes on until nothing follows; runs end by `verdict`.
fn settle(campaign: &mut Campaign, children: &mut Vec<Child>, verdict: impl Fn(usize) -> Verdict) {
    loop {
        match campaign.next(children) {
            Next::Wait => match children.iter_mut().find(|child| child.verdict.is_none()) {
                Some(open) => open.verdict = Some(verdict(open.place)),
                None => return,
            },
            Next::Start(phase, places) => {
                children.extend(places.into_iter().map(|place| child(phase, place, None)));
            }
            Next::Wave(wave) => campaign.wave = wave,
            Next::Become(state) => campaign.state = state,
        }
    }
}

#[test]
fn a_canary_goes_first_then_half_then_all() {
    let mut rollout = campaign(8, waves());
    assert_eq!((0..3).map(|wave| rollout.targets_of(wave)).collect::<Vec<_>>(), [1, 4, 8]);
    let mut children = vec![];
    settle(&mut rollout, &mut children, |_| Verdict::Passed);
    assert_eq!((rollout.state, children.len()), (State::Completed, 8));
}

#[test]
fn a_failed_gate_starts_nothing_more_until_somebody_says_so() {
    let mut rollout = campaign(8, waves());
    let mut children = vec![];
    settle(&mut rollout, &mut children, |_| Verdict::Failed);
    assert_eq!((rollout.state, children.len()), (State::GateFailed, 1));
    let mut goes_on = rollout.asked(Asked::Continue).expect("it may");
    settle(&mut goes_on, &mut children, |_| Verdict::Failed);
    assert_eq!(
        (goes_on.state, goes_on.wave, children.len()),
        (State::GateFailed, 1, 4),
        "this gate, and no other"
    );
}

#[test]
fn what_somebody_let_go_on_is_held_against_no_later_wave() {
    let terms = Terms { stop: Some(Stop { failed: 30, after: 1 }), ..waves() };
    let mut rollout = campaign(8, terms);
    let mut children = vec![];
    settle(&mut rollout, &mut children, |_| Verdict::Failed);
    assert_eq!((rollout.state, children.len()), (State::TooManyFailed, 1));
    let mut goes_on = rollout.asked(Asked::Continue).expect("it may");
    settle(&mut goes_on, &mut children, |_| Verdict::Passed);
    assert_eq!((goes_on.state, goes_on.wave, children.len()), (State::Completed, 2, 8));
}

#[test]
fn what_was_reached_is_put_back_and_nothing_else() {
    let mut rollout = campaign(8, waves());
    let mut children = vec![];
    settle(&mut rollout, &mut children, |place| if place > 1 { Verdict::Failed } else { Verdict::Passed });
    assert_eq!((rollout.state, rollout.wave), (State::GateFailed, 1));
    let mut back = rollout.asked(Asked::Rollback).expect("it may");
    settle(&mut back, &mut children, |_| Verdict::Passed);
    assert_eq!(back.state, State::RolledBack);
    let put_back: Vec<usize> =
        children.iter().filter(|child| child.phase == Phase::Back).map(|child| child.place).collect();
    assert_eq!(put_back, [0, 1, 2, 3]);
}

#[test]
fn what_never_had_a_board_is_not_put_back() {
    let mut rollout = campaign(2, Terms::default());
    let mut children = vec![];
    settle(&mut rollout, &mut children, |_| Verdict::Cancelled);
    children[1].touched = false;
    let mut back = rollout.asked(Asked::Rollback).expect("it may");
    settle(&mut back, &mut children, |_| Verdict::Passed);
    let put_back: Vec<usize> =
        children.iter().filter(|child| child.phase == Phase::Back).map(|child| child.place).collect();
    assert_eq!((back.state, put_back), (State::RolledBack, vec![0]));
}

#[test]
fn what_waits_for_a_board_that_takes_nothing_leaves_its_place_to_others() {
    let rollout = campaign(4, Terms { at_once: 1, ..Terms::default() });
    let mut children = vec![child(Phase::Forward, 0, None)];
    assert_eq!(rollout.next(&children), Next::Wait);
    children[0].kept_out = true;
    assert_eq!(rollout.next(&children), Next::Start(Phase::Forward, vec![1]));
    // Once their boards are back they all run: no more of them are started than that may be.
    children.push(Child { kept_out: true, ..child(Phase::Forward, 1, None) });
    assert_eq!(rollout.next(&children), Next::Wait);
}

#[test]
fn what_could_not_be_put_back_is_no_success_before_it_was() {
    let mut rollout = campaign(2, Terms::default());
    let mut children = vec![];
    settle(&mut rollout, &mut children, |_| Verdict::Passed);
    let mut back = rollout.asked(Asked::Rollback).expect("it may");
    settle(&mut back, &mut children, |place| if place == 1 { Verdict::Infra } else { Verdict::Passed });
    assert_eq!((back.state, back.next(&children)), (State::RollbackFailed, Next::Wait));
    let last = children.last_mut().expect("it was started");
    (last.last, last.verdict) = (9, None);
    assert_eq!(back.next(&children), Next::Wait, "somebody retries it");
    settle(&mut back, &mut children, |_| Verdict::Passed);
    assert_eq!((back.state, children.len()), (State::RolledBack, 4));
}

#[test]
fn every_state_has_a_word() {
    let over = [State::Completed, State::Cancelled, State::RolledBack];
    let live = [State::Running, State::Paused, State::GateFailed, State::TooManyFailed, State::RollingBack];
    for state in live.into_iter().chain([State::RollbackFailed]).chain(over) {
        assert_eq!(State::from_word(state.as_str()), Some(state));
        assert_eq!(state.is_over(), over.contains(&state));
    }
}

#[test]
fn too_many_failures_stop_a_wave_once_enough_have_ended() {
    let terms = Terms { stop: Some(Stop { failed: 50, after: 4 }), ..Terms::default() };
    let mut wide = campaign(20, terms);
    let mut children = vec![];
    settle(&mut wide, &mut children, |_| Verdict::Infra);
    assert_eq!(wide.state, State::TooManyFailed);
    assert!((4..4 + AT_ONCE as usize).contains(&children.len()), "{}", children.len());
}

proptest! {
    #[test]
    fn nothing_starts_twice_or_too_early_or_too_many_at_once(
        targets in 1..12_usize,
        at_once in 1..5_u32,
        gate in 0..=100_u32,
        steps in prop::collection::vec((0..8_u8, any::<bool>(), 0..12_usize), 0..120),
    ) {
        let mut now = campaign(targets, Terms { at_once, gate, ..waves() });
        let mut children: Vec<Child> = vec![];
        for (what, passes, which) in steps {
            let before = now.clone();
            match what {
                0..=4 => match now.next(&children) {
                    Next::Wait => {}
                    Next::Start(phase, places) => {
                        for place in places {
                            prop_assert!(!children.iter().any(|c| c.phase == phase && c.place == place));
                            if phase == Phase::Forward {
                                prop_assert!(place < now.targets_of(now.wave));
                            }
                            children.push(child(phase, place, None));
                        }
                        prop_assert!(children.iter().filter(|c| c.verdict.is_none()).count() <= at_once as usize);
                    }
                    Next::Wave(wave) => {
                        let tally = now.tally(&children, now.wave);
                        prop_assert_eq!((wave, tally.ended), (now.wave + 1, tally.planned));
                        prop_assert!(now.forgiven == Some(now.wave) || now.gated(&children).rate() >= gate);
                        now.wave = wave;
                    }
                    Next::Become(state) => now.state = state,
                },
                5..=6 => {
                    let open = children.iter_mut().filter(|child| child.verdict.is_none()).nth(which);
                    if let Some(open) = open {
                        open.verdict = Some(if passes { Verdict::Passed } else { Verdict::Failed });
                    }
                }
                _ => {
                    let asked = Asked::ALL[which % Asked::ALL.len()];
                    if let Some(then) = now.asked(asked) {
                        prop_assert_eq!(then.version, now.version + 1);
                        if asked.ends_runs() {
                            for open in children.iter_mut().filter(|child| child.verdict.is_none()) {
                                open.verdict = Some(Verdict::Cancelled);
                            }
                        }
                        now = then;
                    }
                }
            }
            if before.state.is_over() && before.state != State::Completed {
                prop_assert_eq!(&now, &before, "what is over stays over");
            }
        }
    }
}
