//! Dead letters: messages that will never be sent by themselves. Each gets a number, and can be owed again as if it had
//! just become so. Whether that is wanted is decided elsewhere; nothing is sent here.
//!
//! What died with a card (replies in its thread, the cards of its batch's runs) has no number and comes back with it.

use serde_json::{Map, Value};

use super::ledger::CARD_LOST;
use super::link::{self, Readers, Row};
use super::row::{self, Reader, statements, unavailable};
use super::script::{Script, Tx};
use super::unreadable::Unreadable;
use crate::board::hosts::Address;
use crate::chat::{AnswerVia, Place, Platform};
use crate::clock::Timestamp;
use crate::id::MessageId;
use crate::message::Note;
use crate::store::{Effected, LETTERS_RESENT_MAX, Letter, LetterKind, Result, TOLD_BY_URL};

statements! {
    LETTERS_WRITE = "INSERT INTO letters (message, died_at)
        SELECT j.value, ?2
        FROM jsonb_each(?1) AS j
        WHERE NOT EXISTS (SELECT 1 FROM letters WHERE message = j.value)
          AND (EXISTS (SELECT 1 FROM outbox WHERE id = j.value AND state = 'dead')
               OR EXISTS (SELECT 1 FROM cards WHERE id = j.value AND state = 'dead')
               OR EXISTS (SELECT 1 FROM calls WHERE id = j.value AND state = 'dead'))";
    LETTERS = "SELECT d.number, d.died_at, o.kind, o.via, o.note, o.last AS outcome, COALESCE(c.run, k.run) AS run, c.platform,
               c.channel, CASE WHEN o.id IS NOT NULL THEN o.error WHEN c.id IS NOT NULL THEN c.error ELSE k.error END AS error,
               COALESCE(o.owed_at, c.owed_at, k.owed_at) AS owed_at, k.hook, k.url
        FROM letters AS d
        LEFT JOIN outbox AS o ON o.id = d.message AND o.state = 'dead'
        LEFT JOIN cards AS c ON c.id = COALESCE(o.card, d.message) AND (o.id IS NOT NULL OR c.state = 'dead')
        LEFT JOIN calls AS k ON k.id = d.message AND k.state = 'dead'
        WHERE o.id IS NOT NULL OR c.id IS NOT NULL OR k.id IS NOT NULL
        ORDER BY d.number DESC
        LIMIT ?1 + 0";
    LETTERS_COUNT = "SELECT COUNT(*) FROM letters AS d
        WHERE EXISTS (SELECT 1 FROM outbox WHERE id = d.message AND state = 'dead')
           OR EXISTS (SELECT 1 FROM cards WHERE id = d.message AND state = 'dead')
           OR EXISTS (SELECT 1 FROM calls WHERE id = d.message AND state = 'dead')";
    // Of those whose message is there still.
    LETTERS_NAMED = "SELECT message FROM letters AS d
        WHERE (?1 IS NULL OR number = ?1)
          AND (EXISTS (SELECT 1 FROM outbox WHERE id = d.message AND state = 'dead')
               OR EXISTS (SELECT 1 FROM cards WHERE id = d.message AND state = 'dead')
               OR EXISTS (SELECT 1 FROM calls WHERE id = d.message AND state = 'dead'))
        ORDER BY number
        LIMIT ?2 + 0";
    LETTERS_REMOVE = "DELETE FROM letters WHERE message IN (SELECT value FROM jsonb_each(?1))";
    LETTERS_FORGET = "DELETE FROM letters WHERE died_at < ?1";
    // The URL of a delivery does not live so long; the person is still there. What a thread was to be told keeps its
    // place, and how old it is: progress of a run that has ended since is not worth a message.
    OUTBOX_REVIVE = "UPDATE outbox
        SET state = 'owed', due_at = ?2, tries = 0, begun_at = NULL, error = NULL,
            owed_at = CASE kind WHEN 'answer' THEN ?2 ELSE owed_at END,
            via = CASE WHEN via->>'user' <> '' THEN json_remove(via, '$.url') ELSE via END
        WHERE id IN (SELECT value FROM jsonb_each(?1)) AND state = 'dead'";
    // One that was told through the URL of a delivery is to be posted where it belongs.
    CARDS_REVIVE = "UPDATE cards
        SET state = 'live', owed_at = ?2, due_at = ?2, tries = 0, begun_at = NULL, error = NULL, via = NULL,
            message = NULLIF(message, ?3), thread = NULLIF(thread, ?3), rev_wanted = MAX(rev_wanted, rev_sent + 1)
        WHERE state = 'dead'
          AND (id IN (SELECT value FROM jsonb_each(?1)) OR parent IN (SELECT value FROM jsonb_each(?1)))";
    CALLS_REVIVE = "UPDATE calls
        SET state = 'owed', due_at = ?2, tries = 0, error = NULL
        WHERE id IN (SELECT value FROM jsonb_each(?1)) AND state = 'dead'";
    REPLIES_REVIVE = "UPDATE outbox
        SET state = 'owed', due_at = ?2, tries = 0, begun_at = NULL, error = NULL
        WHERE state = 'dead' AND kind = 'reply' AND error = ?3
          AND card IN (SELECT id
                       FROM cards
                       WHERE id IN (SELECT value FROM jsonb_each(?1)) OR parent IN (SELECT value FROM jsonb_each(?1)))";
}

/// Gives numbers to those of these messages that are dead now.
pub(super) fn write(script: &mut Script, dead: &[MessageId], now: Timestamp) {
    script.add(LETTERS_WRITE, [row::json(dead).into(), now.into()]);
}

/// Forgets letters that died before.
pub(super) fn forget(tx: &mut Tx, before: Timestamp) {
    let mut script = Script::default();
    script.add(LETTERS_FORGET, [before.into()]);
    tx.leave(script);
}

/// The newest letters, and how many there are.
pub(super) async fn list(
    readers: &Readers,
    unreadable: &Unreadable,
    limit: u32,
) -> Result<(Vec<Letter>, u64)> {
    let rows = link::query(LETTERS).bind(limit).fetch_all(readers).await.map_err(unavailable)?;
    let count = link::query(LETTERS_COUNT).count(readers).await.map_err(unavailable)?;
    Ok((unreadable.sift(&rows, letter)?, count.max(0).unsigned_abs()))
}

/// Owes a letter again, or the oldest of all; gives how many.
pub(super) async fn resend(tx: &mut Tx, letter: Option<i64>, now: Timestamp) -> Result<(Effected, usize)> {
    let query = link::query(LETTERS_NAMED).bind(letter).bind(LETTERS_RESENT_MAX);
    let rows = query.fetch_all(tx.connection().await?).await.map_err(unavailable)?;
    let message = |row: &Row| Ok(Reader::new(row, "letters", "message").text("message")?.to_owned());
    let messages = rows.iter().map(message).collect::<Result<Vec<String>>>()?;
    if messages.is_empty() {
        return Ok((Effected::NoSuchLetter, 0));
    }
    revive(tx, &messages, now);
    Ok((Effected::Done, messages.len()))
}

/// Owes these dead ones again, as if they had just become so.
pub(super) fn revive(tx: &mut Tx, messages: &[String], now: Timestamp) {
    let (ids, mut script) = (row::json(messages), Script::default());
    script.add(LETTERS_REMOVE, [ids.as_str().into()]);
    script.add(REPLIES_REVIVE, [ids.as_str().into(), now.into(), CARD_LOST.into()]);
    script.add(OUTBOX_REVIVE, [ids.as_str().into(), now.into()]);
    script.add(CALLS_REVIVE, [ids.as_str().into(), now.into()]);
    script.add(CARDS_REVIVE, [ids.into(), now.into(), TOLD_BY_URL.into()]);
    tx.leave(script);
}

fn letter(row: &Row) -> Result<Letter> {
    let row = Reader::new(row, "letters", "number");
    let via: Option<AnswerVia> = row.opt_json("via")?;
    let hook = row.opt_text("hook")?;
    let kind = match (row.opt_text("kind")?, &via) {
        (None, _) if hook.is_some() => LetterKind::Call,
        (None, _) => LetterKind::Card,
        (Some("reply"), _) if row.flag("outcome")? => LetterKind::Outcome,
        (Some("reply"), _) => LetterKind::Reply,
        (Some(_), Some(via)) if via.is_open() => LetterKind::News,
        (Some(_), _) => LetterKind::Answer,
    };
    let place = match (&via, hook) {
        (Some(via), _) => via.place.clone(),
        (None, Some(hook)) => called(hook, row.opt_text("url")?),
        (None, None) => Place {
            platform: row.word("platform", Platform::from_word)?,
            channel: row.text("channel")?.to_owned(),
            thread: None,
        },
    };
    let note: Option<Note> = row.opt_json("note")?;
    let run = row.opt_int("run")?;
    Ok(Letter {
        number: row.int("number")?,
        kind,
        run: run.or_else(|| note.and_then(|note| note.facts.get("run").and_then(run_of))),
        place,
        user: via.map(|via| via.user).filter(|user| !user.is_empty()),
        error: row.opt_text("error")?.unwrap_or_default().to_owned(),
        owed_at: row.at("owed_at")?,
        died_at: row.at("died_at")?,
    })
}

/// Where a call was to go: to a webhook by its name, or to a host; the rest of an address may be a secret.
fn called(hook: &str, url: Option<&str>) -> Place {
    let host = url.and_then(|url| Address::parse(url).ok()).map(|address| address.to_string());
    let channel = if hook.is_empty() { host.unwrap_or_default() } else { hook.to_owned() };
    Place { platform: Platform::Api, channel, thread: None }
}

/// The run that a message's facts are about: its number, or a document with that.
fn run_of(fact: &Value) -> Option<i64> {
    let number = |facts: &Map<String, Value>| facts.get("number").and_then(Value::as_i64);
    fact.as_i64().or_else(|| fact.as_object().and_then(number))
}
