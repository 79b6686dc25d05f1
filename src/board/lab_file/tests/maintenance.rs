//! Tests of `maintenance:` and `quotas:`.

use super::{BOARD, read};
use crate::board::inventory::{Inventory, Quota};
use crate::board::lab_file::WINDOWS_MAX;

fn lab(text: &str) -> Inventory {
    read(&format!("{BOARD}{text}\n")).inventory.expect("a lab")
}

fn told(text: &str) -> String {
    let read = read(&format!("{BOARD}{text}\n"));
    read.problems
        .iter()
        .map(|problem| format!("{}\n", problem.message))
        .collect::<String>()
        .trim_end()
        .to_owned()
}

#[test]
fn a_window_is_of_boards_and_sites_that_there_are() {
    let window = |keys: &str| format!("maintenance:\n  weekly: {{{keys}}}");
    let text = window(
        "sites: [L], boards: [a], cron: 0 22 * * SUN, zone: Europe/Berlin, lasts: 2h, ahead: 30m, reason: x",
    );
    assert_eq!(told(&text), "");
    let lab = lab(&text);
    let weekly = &lab.maintenance["weekly"];
    assert!(weekly.is_about(&lab.boards["a"]));
    assert_eq!((weekly.lasts.as_secs(), weekly.ahead.as_secs(), weekly.reason.as_str()), (7200, 1800, "x"));
    assert_eq!(
        told(&window("sites: [M], boards: [b], cron: 0 22 * * SUN, lasts: 2h, reason: x")),
        "there is no site \"M\"\nthere is no board \"b\""
    );
    assert_eq!(
        told(&window("cron: 0 22 * * SUN, lasts: 2h, reason: x")),
        "a maintenance window needs boards, sites or both"
    );
    assert_eq!(
        told(&window("boards: [a], lasts: 8d")),
        "missing key \"cron\" in a maintenance window\nmissing key \"reason\" in a maintenance window\nlasts must be at most 7 days, not \"8d\""
    );
    assert_eq!(
        told(&window("boards: [a], cron: 0 25 * * *, lasts: 2h, reason: x")),
        "cron \"0 25 * * *\" is none: number out of bounds"
    );
}

#[test]
fn a_lab_has_so_many_windows_and_one_more_is_told() {
    let windows = |count: usize| {
        let one = |n| format!("\n  w{n}: {{boards: [a], cron: 0 22 * * *, lasts: 2h, reason: x}}");
        format!("maintenance:{}", (0..count).map(one).collect::<String>())
    };
    assert_eq!(told(&windows(WINDOWS_MAX)), "");
    assert_eq!(told(&windows(WINDOWS_MAX + 1)), "maintenance has 101 entries; at most 100 are allowed");
}

#[test]
fn a_quota_is_of_a_role_and_a_number() {
    let quotas = lab("quotas: {user: {boards: 4, queued: 50, held_hours: 40}, operator: {boards: 8}}").quotas;
    assert_eq!(quotas.user, Quota { boards: Some(4), queued: Some(50), held_hours: Some(40) });
    assert_eq!(
        (quotas.operator, quotas.admin),
        (Quota { boards: Some(8), ..Quota::default() }, Quota::default())
    );
    assert_eq!(told("quotas: {user: {boards: 0}}"), "boards must be between 1 and 100000, not 0");
    assert_eq!(told("quotas: {guest: {boards: 1}}"), "unknown key \"guest\" in quotas");
    assert_eq!(told("quotas: {user: {bords: 1}}"), "unknown key \"bords\" in a quota");
}
