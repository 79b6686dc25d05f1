//! Decisions on record, to read. They are written with the delivery that they are about, and by nothing else.

use super::link::{self, Readers, Row};
use super::row::{self, Reader, statements, unavailable};
use super::unreadable::Unreadable;
use crate::clock::Timestamp;
use crate::store::{AUDIT_LOOKED_AT_MAX, AuditFilter, Decision, Decisions, Result};

statements! {
    // The newest are read backwards, and no more than a bound: no index, which every delivery would have to write.
    DECISIONS = "SELECT position, at, actor, verb, target, allowed, reason, source
        FROM (SELECT position, at, actor, verb, target, allowed, reason, source
              FROM audit
              WHERE position < ?1
              ORDER BY position DESC
              LIMIT ?2 + 0) AS looked_at
        WHERE (?3 IS NULL OR actor IN (SELECT value FROM jsonb_each(?3)))
          AND (?4 IS NULL OR target = ?4 OR substr(target, 1, length(?4) + 1) = ?4 || ' ')
          AND at >= ?5 AND allowed <= ?6
        ORDER BY position DESC
        LIMIT ?7 + 0";
    FARTHEST = "SELECT position, at
        FROM audit
        WHERE position < ?1
        ORDER BY position DESC
        LIMIT 1 OFFSET ?2 - 1";
}

/// The newest decisions that fit.
pub(super) async fn list(
    readers: &Readers,
    unreadable: &Unreadable,
    filter: &AuditFilter,
) -> Result<Decisions> {
    let before = filter.before.unwrap_or(i64::MAX);
    let since = filter.since.unwrap_or(Timestamp::from_micros(i64::MIN));
    let rows = link::query(DECISIONS)
        .bind(before)
        .bind(AUDIT_LOOKED_AT_MAX)
        .bind(filter.actors.as_ref().map(row::json))
        .bind(filter.target.as_deref())
        .bind(since.as_micros())
        .bind(i64::from(!filter.refused))
        .bind(i64::from(filter.limit) + 1);
    let rows = rows.fetch_all(readers).await.map_err(unavailable)?;
    let mut decisions = unreadable.sift(&rows, decision)?;
    if rows.len() > filter.limit as usize {
        decisions.truncate(filter.limit as usize);
        let next = decisions.last().map(|decision| decision.position);
        return Ok(Decisions { decisions, next });
    }
    let farthest = link::query(FARTHEST).bind(before).bind(AUDIT_LOOKED_AT_MAX);
    let farthest = farthest.fetch_optional(readers).await.map_err(unavailable)?;
    let next = match farthest {
        Some(row) => {
            let row = Reader::new(&row, "audit", "position");
            (row.at("at")? >= since).then_some(row.int("position")?)
        }
        None => None,
    };
    Ok(Decisions { decisions, next })
}

fn decision(row: &Row) -> Result<Decision> {
    let row = Reader::new(row, "audit", "position");
    Ok(Decision {
        position: row.int("position")?,
        at: row.at("at")?,
        actor: row.text("actor")?.to_owned(),
        verb: row.text("verb")?.to_owned(),
        target: row.text("target")?.to_owned(),
        allowed: row.flag("allowed")?,
        reason: row.text("reason")?.to_owned(),
        source: row.opt_text("source")?.map(str::to_owned),
    })
}
