//! Quotas: what one person of a role may have at once, and for how long in all. Pure.

use super::reader::Reader;
use super::tree::Node;
use crate::board::inventory::{Quota, Quotas};

/// Most that a quota may be.
const MOST: std::ops::RangeInclusive<i64> = 1..=100_000;

/// Reads `quotas:`.
pub(super) fn quotas(reader: &mut Reader<'_>, node: Option<&Node>) -> Quotas {
    let mut read = Quotas::default();
    let roles = ["user", "operator", "admin"];
    let Some(fields) = node.and_then(|node| reader.fields(node, "quotas", &roles)) else {
        return read;
    };
    for (role, quota) in
        [("user", &mut read.user), ("operator", &mut read.operator), ("admin", &mut read.admin)]
    {
        let known = ["boards", "queued", "held_hours"];
        let Some(fields) = fields.get(role).and_then(|node| reader.fields(node, "a quota", &known)) else {
            continue;
        };
        let mut number = |key: &str| {
            let number = fields.get(key).and_then(|node| reader.integer(node, key, MOST));
            number.and_then(|number| u32::try_from(number).ok())
        };
        *quota =
            Quota { boards: number("boards"), queued: number("queued"), held_hours: number("held_hours") };
    }
    read
}
