//! How long people may have a board: what is read where something is left out, and what is told of what cannot be.

use std::time::Duration;

use super::mistakes::check;
use super::{BOARD, read};
use crate::board::inventory::Reservations;

/// A lab with this section.
fn with(section: &str) -> String {
    format!("{BOARD}reservations: {section}\n")
}

#[track_caller]
fn reads(section: &str, [default, user, operator, admin]: [u64; 4]) {
    let hours = |n: u64| Duration::from_secs(n * 3600);
    let expect = Reservations {
        default: hours(default),
        user: hours(user),
        operator: hours(operator),
        admin: hours(admin),
        ..Reservations::default()
    };
    let inventory = read(&with(section)).inventory.expect("a lab without mistakes");
    assert_eq!(inventory.reservations, expect, "{section}");
}

#[test]
fn a_role_that_is_left_out_may_what_those_below_it_may() {
    reads("{}", [2, 8, 24, 168]);
    reads("{default: 1h}", [1, 8, 24, 168]);
    reads("{longest: {user: 1h}}", [1, 1, 24, 168]);
    reads("{longest: {user: 48h}}", [2, 48, 48, 168]);
    reads("{default: 3h, longest: {operator: 12h, admin: 12h}}", [3, 8, 12, 12]);
}

#[test]
fn what_cannot_be_is_told_with_its_place() {
    check(
        &with("{default: 9h}"),
        "2:25: error: the default of reservations is longer than a user may reserve",
    );
    check(
        &with("{longest: {user: 9h, operator: 1h}}"),
        "2:25: error: a role may not reserve for longer than the roles above it: user, operator, admin",
    );
    check(
        &with("{longest: {user: 8d}}"),
        "2:32: error: the longest reservation of a role (user) must be at most 7 days, not \"8d\"",
    );
    check(
        &with("{least: 1h}"),
        "2:16: error: unknown key \"least\" in reservations; known keys are default, longest, most, idle",
    );
}

#[test]
fn how_many_boards_one_person_may_have_is_a_small_number() {
    let most = |section: &str| read(&with(section)).inventory.map(|lab| lab.reservations.most);
    assert_eq!([most("{}"), most("{most: 1}"), most("{most: 100}")], [Some(4), Some(1), Some(100)]);
    assert_eq!([most("{most: 0}"), most("{most: 101}"), most("{most: many}")], [None, None, None]);
}
