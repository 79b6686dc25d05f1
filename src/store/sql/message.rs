//! Messages owed: what is due, the intent to post, how sending ended. Nothing is rendered or sent here.
//!
//! A reply waits for its card to be posted and for every earlier reply of that card. Where a card was given up before
//! it was posted there is no thread: its replies are dead with it, but for the one that tells the outcome, which stays
//! owed and is told in the channel itself. The card of a run of a batch waits for the batch's card in the same way, and
//! is given up with it.

use serde::Serialize;

use super::ledger::CARD_LOST;
use super::letters;
use super::link::{self, Readers, Row};
use super::row::{self, Reader, statements, unavailable};
use super::script::{Script, Tx};
use super::unreadable::Unreadable;
use crate::chat::{Place, Platform};
use crate::clock::Timestamp;
use crate::id::MessageId;
use crate::store::{CHANNEL_HEADS_MAX, CardLink, End, MessageEnd, Owed, OwedKind, Result};

/// A reply that may go: the first that is owed in its thread.
macro_rules! head_replies {
    () => {
        "FROM outbox AS o INDEXED BY outbox_replies
         JOIN cards AS c ON c.id = o.card
         WHERE o.state = 'owed' AND o.kind = 'reply' AND (c.message IS NOT NULL OR c.state = 'dead')
           AND o.seq = (SELECT MIN(seq) FROM outbox WHERE card = o.card AND state = 'owed' AND kind = 'reply')"
    };
}

statements! {
    ANSWERS_DUE = "SELECT id, via, note, begun_at, tries, owed_at
        FROM outbox
        WHERE state = 'owed' AND kind = 'answer' AND due_at <= ?1
        ORDER BY owed_at, position
        LIMIT ?2 + 0";
    // Channel by channel, by skipping from one to the next in the index: a few of each, whatever waits behind them; the
    // first of every channel ahead of the second of any.
    CARDS_DUE = "WITH RECURSIVE channels (channel) AS (
            SELECT MIN(channel) FROM cards INDEXED BY cards_owed WHERE rev_wanted > rev_sent AND state = 'live'
            UNION ALL
            SELECT (SELECT MIN(n.channel)
                    FROM cards AS n INDEXED BY cards_owed
                    WHERE n.rev_wanted > n.rev_sent AND n.state = 'live' AND n.channel > channels.channel)
            FROM channels
            WHERE channels.channel IS NOT NULL)
        SELECT c.id, c.run, c.batch, c.campaign, c.platform, c.channel, c.thread, c.message, c.rev_wanted, c.via, c.last, c.begun_at,
               c.tries, c.owed_at
        FROM channels
        JOIN (VALUES (0), (1)) AS posts
        JOIN cards AS c ON c.rowid IN (SELECT n.rowid
                                       FROM cards AS n INDEXED BY cards_owed
                                       WHERE n.rev_wanted > n.rev_sent AND n.state = 'live'
                                         AND n.channel = channels.channel AND (n.message IS NULL) = posts.column1
                                         AND n.due_at <= ?1 AND n.hold_until <= ?1
                                         AND (n.parent IS NULL OR n.thread IS NOT NULL)
                                       ORDER BY n.last DESC, n.owed_at
                                       LIMIT ?3 + 0)
        ORDER BY ROW_NUMBER() OVER (PARTITION BY c.channel, c.message IS NULL ORDER BY c.last DESC, c.owed_at, c.rowid),
                 c.last DESC, c.owed_at, c.rowid
        LIMIT ?2 + 0";
    REPLIES_DUE = concat!("SELECT o.id, c.run, c.platform, c.channel, c.thread, c.message, o.note, o.seq, o.last, o.begun_at,
               o.tries, o.owed_at ", head_replies!(), " AND o.due_at <= ?1
        ORDER BY o.position
        LIMIT ?2 + 0");
    NEXT_DUE = concat!("SELECT MIN(at)
        FROM (SELECT MIN(due_at) AS at
              FROM outbox
              WHERE state = 'owed' AND kind = 'answer' AND due_at > ?1
              UNION ALL
              SELECT MIN(MAX(due_at, hold_until))
              FROM cards
              WHERE rev_wanted > rev_sent AND state = 'live' AND MAX(due_at, hold_until) > owed_at
                AND MAX(due_at, hold_until) > ?1
                AND (parent IS NULL OR thread IS NOT NULL)
              UNION ALL
              SELECT MIN(o.due_at) ", head_replies!(), " AND o.due_at > ?1)");
    // The first intent is kept: a lost post is looked for since then.
    OUTBOX_BEGIN = "UPDATE outbox
        SET begun_at = COALESCE(begun_at, ?2)
        WHERE id IN (SELECT value FROM jsonb_each(?1)) AND state = 'owed'";
    // Editing again does no harm, so only a card's post needs an intent.
    CARDS_BEGIN = "UPDATE cards
        SET begun_at = COALESCE(begun_at, ?2)
        WHERE id IN (SELECT value FROM jsonb_each(?1)) AND state = 'live' AND message IS NULL";
    OUTBOX_END = "UPDATE outbox
        SET state = CASE j.value->>'end' WHEN 'sent' THEN 'sent' WHEN 'dead' THEN 'dead' ELSE state END,
            message = COALESCE(j.value->>'message', message),
            error = COALESCE(j.value->>'error', error),
            due_at = COALESCE(j.value->>'at', due_at),
            tries = tries + (j.value->>'failed'),
            begun_at = CASE j.value->>'end' WHEN 'later' THEN NULL WHEN 'unsure' THEN COALESCE(begun_at, ?2)
                                            ELSE begun_at END
        FROM jsonb_each(?1) AS j
        WHERE outbox.id = j.value->>'id' AND outbox.state = 'owed'";
    // Some platforms give no id: a card keeps the one it has.
    CARDS_END = "UPDATE cards
        SET state = CASE j.value->>'end' WHEN 'dead' THEN 'dead' ELSE state END,
            message = CASE WHEN message IS NULL OR j.value->>'message' <> '' THEN COALESCE(j.value->>'message', message)
                           ELSE message END,
            rev_sent = MAX(rev_sent, COALESCE(j.value->>'revision', 0)),
            owed_at = CASE j.value->>'end' WHEN 'sent' THEN ?2 ELSE owed_at END,
            error = COALESCE(j.value->>'error', error),
            due_at = COALESCE(j.value->>'at', due_at),
            tries = CASE j.value->>'end' WHEN 'sent' THEN 0 ELSE tries + (j.value->>'failed') END,
            begun_at = CASE WHEN j.value->>'end' = 'unsure' AND message IS NULL THEN COALESCE(begun_at, ?2) END
        FROM jsonb_each(?1) AS j
        WHERE cards.id = j.value->>'id' AND cards.state = 'live'";
    // The runs of a batch get their thread with its card's post.
    CHILDREN_THREAD = "UPDATE cards
        SET thread = COALESCE(p.thread, p.message)
        FROM jsonb_each(?1) AS j
        JOIN cards AS p ON p.id = j.value->>'id' AND p.batch IS NOT NULL AND p.message IS NOT NULL
        WHERE cards.parent = p.id AND cards.thread IS NULL";
    CHILDREN_BURY = "UPDATE cards
        SET state = 'dead', error = ?2
        WHERE state = 'live'
          AND parent IN (SELECT id
                         FROM cards
                         WHERE id IN (SELECT value FROM jsonb_each(?1)) AND state = 'dead' AND message IS NULL)";
    // What nobody is told is told.
    REPLIES_UNTOLD = "UPDATE outbox
        SET state = 'sent'
        WHERE state = 'owed' AND kind = 'reply' AND card IN (SELECT value FROM jsonb_each(?1))";
    CARD_LINK = "UPDATE cards SET link = ?2 WHERE id = ?1";
    CARD_LINKS = "SELECT run, channel, link
        FROM cards
        WHERE run IN (SELECT value FROM jsonb_each(?1)) AND platform = ?2 AND link IS NOT NULL AND batch IS NULL
          AND campaign IS NULL
        ORDER BY rowid";
    REPLIES_BURY = "UPDATE outbox
        SET state = 'dead', error = ?2
        WHERE state = 'owed' AND kind = 'reply' AND last = 0
          AND card IN (SELECT id
                       FROM cards
                       WHERE id IN (SELECT value FROM jsonb_each(?1)) AND state = 'dead' AND message IS NULL
                       UNION ALL
                       SELECT id
                       FROM cards
                       WHERE parent IN (SELECT value FROM jsonb_each(?1)) AND state = 'dead' AND message IS NULL)";
}

/// Reads a row that is owed.
type Read = fn(&Row) -> Result<Owed>;

/// Messages to send now.
pub(super) async fn due(
    readers: &Readers,
    unreadable: &Unreadable,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Owed>> {
    let mut owed: Vec<Owed> = Vec::new();
    let kinds: [(&'static str, Read, Option<i64>); 3] = [
        (ANSWERS_DUE, answer_read, None),
        (CARDS_DUE, card_read, Some(i64::from(CHANNEL_HEADS_MAX))),
        (REPLIES_DUE, reply_read, None),
    ];
    for (sql, read, heads) in kinds {
        let left = i64::from(limit) - owed.len() as i64;
        if left <= 0 {
            break;
        }
        // Those that cannot be read stay at the front: they must not fill the page, nor their channel's part of it.
        let bad = unreadable.count() as i64;
        let query = link::query(sql).bind(now.as_micros()).bind(left + bad);
        let query = heads.into_iter().fold(query, |query, heads| query.bind(heads + bad));
        owed.extend(unreadable.sift(&query.fetch_all(readers).await.map_err(unavailable)?, read)?);
        owed.truncate(limit as usize);
    }
    Ok(owed)
}

/// When the next message that is not due yet falls due.
pub(super) async fn next_due(readers: &Readers, now: Timestamp) -> Result<Option<Timestamp>> {
    let query = link::query(NEXT_DUE).bind(now.as_micros());
    let at = query.number(readers).await.map_err(unavailable)?;
    Ok(at.map(Timestamp::from_micros))
}

/// The address of a card.
pub(super) fn link_known(tx: &mut Tx, card: MessageId, url: &str) {
    let mut script = Script::default();
    script.add(CARD_LINK, [card.to_string().into(), url.into()]);
    tx.leave(script);
}

/// Where the cards of these runs stand.
pub(super) async fn links(
    readers: &Readers,
    unreadable: &Unreadable,
    runs: &[i64],
    platform: Platform,
) -> Result<Vec<CardLink>> {
    let query = link::query(CARD_LINKS).bind(row::json(runs)).bind(platform.as_str());
    let rows = query.fetch_all(readers).await.map_err(unavailable)?;
    unreadable.sift(&rows, |row: &Row| {
        let row = Reader::new(row, "cards", "run");
        let (channel, url) = (row.text("channel")?.to_owned(), row.text("link")?.to_owned());
        Ok(CardLink { run: row.int("run")?, channel, url })
    })
}

/// Notes the intent to post.
pub(super) fn begin(tx: &mut Tx, ids: &[MessageId], now: Timestamp) {
    let (ids, mut script) = (row::json(ids), Script::default());
    for sql in [OUTBOX_BEGIN, CARDS_BEGIN] {
        script.add(sql, [ids.as_str().into(), now.into()]);
    }
    tx.leave(script);
}

/// Notes how sending ended.
pub(super) fn end(tx: &mut Tx, ends: &[MessageEnd], now: Timestamp) {
    let rows: Vec<EndRow<'_>> = ends.iter().map(EndRow::new).collect();
    let (rows, mut script) = (row::json(&rows), Script::default());
    for sql in [OUTBOX_END, CARDS_END] {
        script.add(sql, [rows.as_str().into(), now.into()]);
    }
    script.add(CHILDREN_THREAD, [rows.into()]);
    let untold = |end: &&MessageEnd| matches!(end.end, End::Untold { last: true, .. });
    let untold: Vec<MessageId> = ends.iter().filter(untold).map(|end| end.id).collect();
    if !untold.is_empty() {
        script.add(REPLIES_UNTOLD, [row::json(&untold).into()]);
    }
    let is_dead = |end: &&MessageEnd| matches!(end.end, End::Dead { .. });
    let dead: Vec<MessageId> = ends.iter().filter(is_dead).map(|end| end.id).collect();
    if !dead.is_empty() {
        for sql in [CHILDREN_BURY, REPLIES_BURY] {
            script.add(sql, [row::json(&dead).into(), CARD_LOST.into()]);
        }
        letters::write(&mut script, &dead, now);
    }
    tx.leave(script);
}

#[derive(Serialize)]
struct EndRow<'a> {
    id: MessageId,
    end: &'static str,
    failed: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl<'a> EndRow<'a> {
    fn new(end: &'a MessageEnd) -> Self {
        let row =
            EndRow { id: end.id, end: "", failed: 0, message: None, revision: None, at: None, error: None };
        match &end.end {
            End::Sent { message, revision } => {
                EndRow { end: "sent", message: Some(message), revision: Some(*revision), ..row }
            }
            End::Later { at, failed } => {
                EndRow { end: "later", at: Some(*at), failed: u8::from(*failed), ..row }
            }
            End::Unsure { at } => EndRow { end: "unsure", at: Some(*at), failed: 1, ..row },
            End::Untold { revision, .. } => EndRow { end: "untold", revision: Some(*revision), ..row },
            End::Dead { error } => EndRow { end: "dead", error: Some(error), ..row },
        }
    }
}

fn answer_read(row: &Row) -> Result<Owed> {
    let row = Reader::new(row, "outbox", "id");
    owed(&row, OwedKind::Answer { via: row.json("via")?, note: row.json("note")? })
}

fn card_read(row: &Row) -> Result<Owed> {
    let row = Reader::new(row, "cards", "id");
    let kind = OwedKind::Card {
        run: row.int("run")?,
        batch: row.opt_int("batch")?.is_some(),
        campaign: row.opt_int("campaign")?,
        place: place(&row, row.opt_text("thread")?)?,
        message: row.opt_text("message")?.map(str::to_owned),
        revision: row.int("rev_wanted")?,
        via: row.opt_json("via")?,
        last: row.flag("last")?,
    };
    owed(&row, kind)
}

fn reply_read(row: &Row) -> Result<Owed> {
    let row = Reader::new(row, "outbox", "id");
    // A card that was itself posted into a thread has no thread of its own. Without a posted card, or where the
    // platform gave no id for it, the reply stands in the channel.
    let card = row.opt_text("message")?.filter(|message| !message.is_empty());
    let kind = OwedKind::Reply {
        run: row.int("run")?,
        place: place(&row, row.opt_text("thread")?.or(card))?,
        note: row.json("note")?,
        seq: row.int("seq")?,
        last: row.flag("last")?,
    };
    owed(&row, kind)
}

fn place(row: &Reader<'_>, thread: Option<&str>) -> Result<Place> {
    Ok(Place {
        platform: row.word("platform", Platform::from_word)?,
        channel: row.text("channel")?.to_owned(),
        thread: thread.filter(|thread| !thread.is_empty()).map(str::to_owned),
    })
}

fn owed(row: &Reader<'_>, kind: OwedKind) -> Result<Owed> {
    Ok(Owed {
        id: row.id("id")?,
        kind,
        begun_at: row.opt_at("begun_at")?,
        tries: row.count("tries")?,
        since: row.at("owed_at")?,
    })
}
