//! The protocols of leases and of messages, checked whole: every order of events that a few servers, their messages, deaths and
//! clocks can have. The product's own decisions are asked wherever they are pure, and its own times hold. Each rule is also
//! left out once, and the checker must find what that leads to: a rule without which nothing goes wrong is not looked at here.
//!
//! `BOARDHAND_MODEL=long` looks at time in halves of a second instead of seconds.

mod checker;
mod life;
mod turns;

use std::time::Duration;

use boardhand::store::sql::TRUSTED_FOR;

use checker::{Model, STUCK, explore};
use life::{Guards, Life};
use turns::{Rules, Turns};

/// Most states that are looked at.
const STATES_MAX: usize = 8_000_000;

#[track_caller]
fn holds<M: Model>(name: &str, model: &M) {
    match explore(model, STATES_MAX) {
        Ok(found) => println!("{name}: {} states, {} steps between them", found.states, found.steps),
        Err(broken) => panic!("{name}: {}", broken.shown()),
    }
}

#[track_caller]
fn breaks<M: Model>(left_out: &str, model: &M, what: &str) {
    let Err(broken) = explore(model, STATES_MAX) else { panic!("{left_out} makes no difference") };
    println!("{left_out}: {}", broken.shown());
    assert_eq!(broken.what, what, "{left_out}");
}

fn rules() -> Rules {
    let long = std::env::var("BOARDHAND_MODEL").is_ok_and(|bound| bound == "long");
    if long { Rules { tick: Duration::from_millis(500), ..Rules::default() } } else { Rules::default() }
}

#[test]
fn no_two_servers_ever_drive_one_board_and_there_is_always_one_that_can() {
    holds("turns", &Turns::under(rules()));
}

#[test]
fn each_rule_of_turns_is_needed() {
    let what = turns::TYPES_AT_ANOTHERS;
    let broken = |left_out: &str, rules: Rules| breaks(left_out, &Turns::under(rules), what);
    broken(
        "trust for as long as a server that never stands by has it",
        Rules { trusted_for: TRUSTED_FOR, ..rules() },
    );
    broken("trust from the answer on", Rules { counts_from_begin: false, ..rules() });
    broken("trust by any write", Rules { beats_alone: false, ..rules() });
    broken("nobody waits for the one before", Rules { taken_after: Duration::ZERO, ..rules() });
    broken("nobody looks who was there", Rules { looks_for_others: false, ..rules() });
    broken("a clock that goes half as fast", Rules { drift: 2, ..rules() });
}

#[test]
fn a_run_that_was_asked_for_ends_once_and_is_told_of_once_whatever_dies() {
    holds("the life of a run", &Life(Guards::default()));
}

#[test]
fn each_guard_of_a_runs_life_is_needed() {
    let broken = |left_out: &str, guards: Guards, what: &str| breaks(left_out, &Life(guards), what);
    let all = Guards::default();
    broken("the key apart from the effect", Guards { key_with_effect: false, ..all }, life::TWO_EFFECTS);
    broken("no one lease", Guards { one_lease: false, ..all }, life::TWO_LEASES);
    broken("no fence", Guards { fence: false, ..all }, life::WROTE_STALE);
    broken("any state of the lease", Guards { active_alone: false, ..all }, life::TWO_OUTCOMES);
    broken("owed apart from the outcome", Guards { owed_with_outcome: false, ..all }, STUCK);
    broken("the newest revision counts as shown", Guards { drawn_revision: false, ..all }, STUCK);
    broken("posted again without a look", Guards { looks_first: false, ..all }, life::TOLD_TWICE);
}
