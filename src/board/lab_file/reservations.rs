//! Reservations: how long people may have a board as their own, and how many at once. Pure.

use std::time::Duration;

use super::reader::Reader;
use super::tree::Node;
use crate::board::inventory::Reservations;

/// Shortest time for which a board is somebody's own.
const RESERVED_AT_LEAST: Duration = Duration::from_secs(60);

/// Most boards of one person that a lab file may allow.
const MOST: std::ops::RangeInclusive<i64> = 1..=100;

/// Reads `reservations:`.
pub(super) fn reservations(reader: &mut Reader<'_>, node: Option<&Node>) -> Reservations {
    let mut read = Reservations::default();
    let Some(fields) =
        node.and_then(|node| reader.fields(node, "reservations", &["default", "longest", "most", "idle"]))
    else {
        return read;
    };
    let most = fields.get("most").and_then(|node| reader.integer(node, "most", MOST));
    read.most = most.and_then(|most| u32::try_from(most).ok()).unwrap_or(read.most);
    let second = Duration::from_secs(1);
    read.idle = fields.get("idle").and_then(|node| reader.duration(node, "idle", second));
    let least = RESERVED_AT_LEAST;
    let longest =
        fields.get("longest").and_then(|node| reader.fields(node, "longest", &["user", "operator", "admin"]));
    if let Some(longest) = &longest {
        // Who may more has at least what those before them have.
        for (role, is) in
            [("user", &mut read.user), ("operator", &mut read.operator), ("admin", &mut read.admin)]
        {
            let what = format!("the longest reservation of a role ({role})");
            if let Some(time) = longest.get(role).and_then(|node| reader.duration(node, &what, least)) {
                *is = time;
            }
        }
        read.operator = if longest.has("operator") { read.operator } else { read.operator.max(read.user) };
        read.admin = if longest.has("admin") { read.admin } else { read.admin.max(read.operator) };
        if read.user > read.operator || read.operator > read.admin {
            let message = "a role may not reserve for longer than the roles above it: user, operator, admin";
            reader.problems.error(longest.at, message);
        }
    }
    match fields.get("default") {
        None => read.default = read.default.min(read.user),
        Some(node) => {
            read.default =
                reader.duration(node, "the default of reservations", least).unwrap_or(read.default);
            if read.default > read.user {
                let message = "the default of reservations is longer than a user may reserve";
                reader.problems.error(node.at, message);
            }
        }
    }
    read
}
