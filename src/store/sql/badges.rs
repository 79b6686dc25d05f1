//! Messages that asked for runs, and their badges. What a badge should say is read from the runs each time, and kept nowhere.

use super::link::{self, Readers, Row};
use super::row::{Reader, statements, unavailable};
use super::script::{Script, Tx};
use super::unreadable::Unreadable;
use crate::chat::{Badge, Platform};
use crate::clock::Timestamp;
use crate::outcome::Verdict;
use crate::store::{BadgeRow, Result};

statements! {
    // The same message asks once.
    BADGE_ASK = "INSERT INTO badges (platform, channel, message, asked_at, first_run, last_run)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT DO NOTHING";
    BADGES_DUE = "SELECT platform, channel, message, asked_at, shown, shown_id, stale, stale_id, open, worst
        FROM (SELECT b.*,
                     (SELECT COUNT(*) FROM runs AS r
                      WHERE r.number BETWEEN b.first_run AND b.last_run AND r.state <> 'finished') AS open,
                     (SELECT MAX(CASE r.verdict WHEN 'cancelled' THEN 5 WHEN 'failed' THEN 4 WHEN 'timed-out' THEN 3
                                                WHEN 'infra' THEN 2 WHEN 'passed' THEN 1 ELSE 0 END)
                      FROM runs AS r
                      WHERE r.number BETWEEN b.first_run AND b.last_run) AS worst
              FROM badges AS b
              WHERE b.platform = ?1) AS badges
        WHERE shown IS NULL OR stale IS NOT NULL OR open = 0
        ORDER BY CASE WHEN open = 0 THEN 0 ELSE 1 END, asked_at, message
        LIMIT ?2 + 0";
    BADGE_PUT = "UPDATE badges
        SET shown = ?4, shown_id = ?5, stale = ?6, stale_id = ?7
        WHERE platform = ?1 AND channel = ?2 AND message = ?3";
    BADGE_DROP = "DELETE FROM badges WHERE platform = ?1 AND channel = ?2 AND message = ?3";
}

/// A message on its way into the table.
pub(super) struct Asking<'a> {
    pub(super) platform: Platform,
    pub(super) channel: &'a str,
    pub(super) message: &'a str,
    pub(super) at: Timestamp,
    pub(super) runs: (i64, i64),
}

/// Messages that asked for runs.
pub(super) fn ask(tx: &mut Tx, asking: &[Asking<'_>]) {
    let mut script = Script::default();
    for Asking { platform, channel, message, at, runs: (first, last) } in asking {
        script.add(
            BADGE_ASK,
            [
                platform.as_str().into(),
                (*channel).into(),
                (*message).into(),
                (*at).into(),
                (*first).into(),
                (*last).into(),
            ],
        );
    }
    tx.leave(script);
}

/// Messages whose badge is not what their runs say.
pub(super) async fn due(
    readers: &Readers,
    unreadable: &Unreadable,
    platform: Platform,
    limit: u32,
) -> Result<Vec<BadgeRow>> {
    // Those that cannot be read stay at the front.
    let most = i64::from(limit) + unreadable.count() as i64;
    let query = link::query(BADGES_DUE).bind(platform.as_str()).bind(most);
    let rows = query.fetch_all(readers).await.map_err(unavailable)?;
    let mut due = unreadable.sift(&rows, |row: &Row| {
        let row = Reader::new(row, "badges", "message");
        let badge = |word, id| -> Result<Option<(Badge, String)>> {
            let Some(known) = row.opt_text(word)? else { return Ok(None) };
            let known = Badge::from_word(known).ok_or_else(|| row.corrupt(format!("{word} is {known:?}")))?;
            Ok(Some((known, row.opt_text(id)?.unwrap_or_default().to_owned())))
        };
        let wanted = match (row.int("open")?, row.opt_int("worst")?) {
            (0, Some(worst)) => {
                Badge::Ended(verdict(worst).ok_or_else(|| row.corrupt("its runs have no verdict"))?)
            }
            (_, _) => Badge::Open,
        };
        Ok(BadgeRow {
            platform: row.word("platform", Platform::from_word)?,
            channel: row.text("channel")?.to_owned(),
            message: row.text("message")?.to_owned(),
            asked_at: row.at("asked_at")?,
            wanted,
            shown: badge("shown", "shown_id")?,
            stale: badge("stale", "stale_id")?,
        })
    })?;
    due.truncate(limit as usize);
    Ok(due)
}

/// The verdict of that rank.
fn verdict(rank: i64) -> Option<Verdict> {
    match rank {
        5 => Some(Verdict::Cancelled),
        4 => Some(Verdict::Failed),
        3 => Some(Verdict::TimedOut),
        2 => Some(Verdict::Infra),
        1 => Some(Verdict::Passed),
        _ => None,
    }
}

/// What is on a message now.
pub(super) fn put(tx: &mut Tx, badge: &BadgeRow) {
    let [shown, stale] = [&badge.shown, &badge.stale].map(Option::as_ref);
    let word = |on: Option<&(Badge, String)>| on.map(|(badge, _)| badge.as_str());
    let id = |on: Option<&(Badge, String)>| on.map(|(_, id)| id.clone());
    let mut script = Script::default();
    script.add(
        BADGE_PUT,
        [
            badge.platform.as_str().into(),
            badge.channel.as_str().into(),
            badge.message.as_str().into(),
            word(shown).into(),
            id(shown).as_deref().into(),
            word(stale).into(),
            id(stale).as_deref().into(),
        ],
    );
    tx.leave(script);
}

/// Nothing is to be done about a message any more.
pub(super) fn drop(tx: &mut Tx, badge: &BadgeRow) {
    let mut script = Script::default();
    script.add(
        BADGE_DROP,
        [badge.platform.as_str().into(), badge.channel.as_str().into(), badge.message.as_str().into()],
    );
    tx.leave(script);
}
