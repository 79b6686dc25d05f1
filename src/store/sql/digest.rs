//! The daily digests, and what they tell of a time that is past.

use std::time::Duration;

use super::link::{self, Readers, Row};
use super::row::{Reader, statements, unavailable};
use super::script::{Script, Tx};
use super::unreadable::Unreadable;
use crate::board::{BoardId, Family};
use crate::chat::Platform;
use crate::clock::Timestamp;
use crate::outcome::Verdict;
use crate::outcome::compare::Flaky;
use crate::store::{DigestRow, FLAKY_RUNS_MAX, Result, TimePast};

statements! {
    DIGESTS_LIST = "SELECT platform, channel, id, message, pinned, shown_at, begun_at FROM digests ORDER BY platform, channel";
    DIGEST_PUT = "INSERT INTO digests (platform, channel, id, message, pinned, shown_at, begun_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
        ON CONFLICT (platform, channel) DO UPDATE
        SET id = excluded.id, message = excluded.message, pinned = excluded.pinned, shown_at = excluded.shown_at,
            begun_at = excluded.begun_at";
    PAST_VERDICTS = "SELECT verdict, COUNT(*) AS count FROM outcomes WHERE finished_at > ?1 GROUP BY verdict ORDER BY verdict";
    PAST_USED = "SELECT board, SUM(micros) AS micros
        FROM (SELECT board, MIN(ended_at, ?2) - MAX(granted_at, ?1) AS micros
              FROM leases
              WHERE ended_at > ?1
              UNION ALL
              SELECT board, ?2 - MAX(granted_at, ?1)
              FROM leases
              WHERE state IN ('active', 'finalizing', 'held')) AS used
        GROUP BY board
        ORDER BY board";
    PAST_FLAKY = "SELECT run, family, suite, comparison->'changes'->'flaky' AS flaky
        FROM outcomes
        WHERE finished_at > ?1 AND json_array_length(comparison, '$.changes.flaky') > 0
        ORDER BY finished_at DESC, run DESC
        LIMIT ?2 + 0";
}

/// Every digest.
pub(super) async fn list(readers: &Readers, unreadable: &Unreadable) -> Result<Vec<DigestRow>> {
    let rows = link::query(DIGESTS_LIST).fetch_all(readers).await.map_err(unavailable)?;
    unreadable.sift(&rows, |row: &Row| {
        let row = Reader::new(row, "digests", "channel");
        Ok(DigestRow {
            platform: row.word("platform", Platform::from_word)?,
            channel: row.text("channel")?.to_owned(),
            id: row.id("id")?,
            message: row.opt_text("message")?.map(str::to_owned),
            pinned: row.flag("pinned")?,
            shown_at: row.opt_at("shown_at")?,
            begun_at: row.opt_at("begun_at")?,
        })
    })
}

/// How one stands now.
pub(super) fn put(tx: &mut Tx, digest: &DigestRow) {
    let mut script = Script::default();
    let pinned = i64::from(digest.pinned);
    script.add(
        DIGEST_PUT,
        [
            digest.platform.as_str().into(),
            digest.channel.as_str().into(),
            digest.id.to_string().into(),
            digest.message.as_deref().into(),
            pinned.into(),
            digest.shown_at.into(),
            digest.begun_at.into(),
        ],
    );
    tx.leave(script);
}

/// What has happened since.
pub(super) async fn past(
    readers: &Readers,
    unreadable: &Unreadable,
    since: Timestamp,
    now: Timestamp,
) -> Result<TimePast> {
    let (since, now) = (since.as_micros(), now.as_micros());
    let query = link::query(PAST_VERDICTS).bind(since);
    let rows = query.fetch_all(readers).await.map_err(unavailable)?;
    let verdicts = unreadable.sift(&rows, |row: &Row| {
        let row = Reader::new(row, "outcomes", "verdict");
        Ok((row.word("verdict", Verdict::from_word)?, row.int("count")?.unsigned_abs()))
    })?;
    let query = link::query(PAST_USED).bind(since).bind(now);
    let rows = query.fetch_all(readers).await.map_err(unavailable)?;
    let used = unreadable.sift(&rows, |row: &Row| {
        let row = Reader::new(row, "leases", "board");
        let micros = u64::try_from(row.int("micros")?).unwrap_or_default();
        Ok((BoardId::new(row.text("board")?), Duration::from_micros(micros)))
    })?;
    let query = link::query(PAST_FLAKY).bind(since).bind(i64::from(FLAKY_RUNS_MAX));
    let rows = query.fetch_all(readers).await.map_err(unavailable)?;
    let flaky = unreadable.sift(&rows, |row: &Row| {
        let row = Reader::new(row, "outcomes", "run");
        let (family, suite) = (Family::new(row.text("family")?), row.text("suite")?.to_owned());
        let cases: Vec<Flaky> = row.json("flaky")?;
        Ok(cases.into_iter().map(|case| (family.clone(), suite.clone(), case)).collect::<Vec<_>>())
    })?;
    Ok(TimePast { verdicts, used, flaky: flaky.into_iter().flatten().collect() })
}
