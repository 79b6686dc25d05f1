//! What every change of a run or a board writes besides itself: an event, replies owed to the run's threads, a newer
//! revision of its cards. Each for many rows in one statement; always inside somebody else's transaction.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Serialize;

use super::link::{self, Row};
use super::row::{Reader, json, statements, unavailable};
use super::script::{Script, Tx};
use super::watches;
use crate::board::BoardId;
use crate::build::Build;
use crate::chat::{AnswerVia, Platform};
use crate::clock::Timestamp;
use crate::id::{Ids, MessageId};
use crate::message::Note;
use crate::store::Result;

statements! {
    EVENTS_INSERT = "INSERT INTO events (at, kind, run, attempt, board, facts)
        SELECT value->>'at', value->>'kind', value->>'run', value->>'attempt', value->>'board',
               COALESCE(value->'facts', '{}')
        FROM jsonb_each(?1)";
    // The revision was raised with the run's own row; the cards follow it, and with them the card of its batch, which
    // stands under the batch's first run.
    CARDS_BUMP = "UPDATE cards
        SET rev_wanted = CASE WHEN batch IS NULL THEN (SELECT revision FROM runs WHERE number = cards.run)
                              ELSE (SELECT SUM(revision) FROM runs WHERE batch = cards.batch) END,
            owed_at = CASE WHEN rev_wanted > rev_sent THEN owed_at ELSE ?2 END,
            last = CASE WHEN batch IS NULL THEN (SELECT state = 'finished' FROM runs WHERE number = cards.run)
                        ELSE (SELECT MIN(state = 'finished') FROM runs WHERE batch = cards.batch) END
        WHERE campaign IS NULL
          AND run IN (SELECT value FROM jsonb_each(?1)
                      UNION
                      SELECT batch
                      FROM runs
                      WHERE number IN (SELECT value FROM jsonb_each(?1)) AND batch IS NOT NULL)";
    RUNS_BUMP = "UPDATE runs
        SET revision = revision + 1
        WHERE number IN (SELECT value FROM jsonb_each(?1))";
    // A card whose run is over, and which its channel is not told in that state, has no thread and will have none.
    CARDS_OF_RUNS = "SELECT id, run, replies, state = 'dead' AND message IS NULL AS lost,
               last = 1 AND message IS NULL AND rev_sent >= rev_wanted AS untold
        FROM cards
        WHERE run IN (SELECT value FROM jsonb_each(?1)) AND batch IS NULL AND campaign IS NULL
        ORDER BY rowid";
    CARDS_OF_CAMPAIGN = "SELECT id, run, replies, state = 'dead' AND message IS NULL AS lost, 1 = 0 AS untold
        FROM cards
        WHERE campaign = ?1
        ORDER BY rowid";
    OUTBOX_INSERT = "INSERT INTO outbox (id, kind, card, seq, via, note, last, owed_at, due_at, state, error)
        SELECT value->>'id', value->>'kind', value->>'card', value->>'seq', value->'via', value->'note',
               value->>'last', value->>'at', value->>'at', value->>'state', value->>'error'
        FROM jsonb_each(?1)";
    CARDS_COUNT_REPLIES = "UPDATE cards
        SET replies = j.value->>'replies'
        FROM jsonb_each(?1) AS j
        WHERE cards.id = j.value->>'id'";
}

/// What happened to a run or a board.
#[derive(Serialize)]
pub(super) struct Event<'a> {
    pub(super) at: Timestamp,
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) run: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) board: Option<Cow<'a, BoardId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) facts: Option<serde_json::Value>,
}

impl<'a> Event<'a> {
    /// Something happened to a run.
    pub(super) fn run(at: Timestamp, kind: &'static str, run: i64, attempt: u32) -> Self {
        Event { at, kind, run: Some(run), attempt: Some(attempt), board: None, facts: None }
    }

    /// Something happened to a board.
    pub(super) fn board(at: Timestamp, kind: &'static str, board: &'a BoardId) -> Self {
        Event { at, kind, run: None, attempt: None, board: Some(Cow::Borrowed(board)), facts: None }
    }

    /// Something happened to a lease.
    pub(super) fn lease(at: Timestamp, kind: &'static str, id: impl Serialize, board: &'a BoardId) -> Self {
        Event::board(at, kind, board).with(serde_json::json!({ "lease": id }))
    }

    /// A build is registered.
    pub(super) fn build(build: &Build) -> Self {
        let facts = serde_json::json!({
            "family": build.family,
            "build": build.id,
            "branch": build.source.branch,
            "commit": build.source.commit,
            "url": build.source.url,
        });
        let at = build.registered_at;
        Event { at, kind: "registered", run: None, attempt: None, board: None, facts: Some(facts) }
    }

    /// The same, of a board too.
    pub(super) fn on(self, board: &'a BoardId) -> Self {
        Event { board: Some(Cow::Borrowed(board)), ..self }
    }

    /// The same, with these facts as well.
    pub(super) fn with(mut self, facts: serde_json::Value) -> Self {
        self.facts = match (self.facts, facts) {
            (Some(serde_json::Value::Object(mut known)), serde_json::Value::Object(more)) => {
                known.extend(more);
                Some(known.into())
            }
            (_, facts) => Some(facts),
        };
        self
    }
}

/// A reply owed to every thread of a run.
pub(super) struct Reply<'a> {
    pub(super) run: i64,
    pub(super) note: Cow<'a, Note>,
    /// Whether it tells the outcome: then it is told in the channel itself where the card could not be posted.
    pub(super) last: bool,
    pub(super) at: Timestamp,
}

/// An answer owed to a person.
#[derive(Clone, Copy)]
pub(super) struct Answer<'a> {
    pub(super) via: &'a AnswerVia,
    pub(super) note: &'a Note,
    pub(super) at: Timestamp,
}

/// Writes events, in order.
pub(super) fn events(tx: &mut Tx, events: &[Event<'_>]) {
    let mut script = Script::default();
    script.events(events);
    tx.leave(script);
}

/// Asks for the newest revision of the cards of runs whose own rows were just written.
pub(super) fn cards_follow(tx: &mut Tx, runs: &[i64], now: Timestamp) {
    let mut script = Script::default();
    script.cards_follow(runs, now);
    tx.leave(script);
}

impl Script {
    /// The same as [`events`], among other statements.
    pub(super) fn events(&mut self, events: &[Event<'_>]) {
        if !events.is_empty() {
            self.add(EVENTS_INSERT, [json(events).into()]);
        }
    }

    /// The same as [`cards_follow`], among other statements and behind those that write the runs' rows.
    pub(super) fn cards_follow(&mut self, runs: &[i64], now: Timestamp) {
        if !runs.is_empty() {
            self.add(CARDS_BUMP, [json(runs).into(), now.into()]);
        }
    }
}

/// Asks for newer cards of runs that did not change themselves.
pub(super) fn cards_bump(tx: &mut Tx, runs: &[i64], now: Timestamp) {
    if runs.is_empty() {
        return;
    }
    let mut script = Script::default();
    script.add(RUNS_BUMP, [json(runs).into()]);
    script.cards_follow(runs, now);
    tx.leave(script);
}

/// A row of the outbox.
#[derive(Serialize)]
struct OutboxRow<'a> {
    id: MessageId,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    card: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<&'a AnswerVia>,
    note: &'a Note,
    last: u8,
    at: Timestamp,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

impl<'a> OutboxRow<'a> {
    /// A reply in the thread of a card.
    fn reply(id: MessageId, card: &'a str, seq: i64, (note, at): (&'a Note, Timestamp), dead: bool) -> Self {
        OutboxRow {
            id,
            kind: "reply",
            card: Some(card),
            seq: Some(seq),
            via: None,
            note,
            last: 0,
            at,
            state: if dead { "dead" } else { "owed" },
            error: dead.then_some(CARD_LOST),
        }
    }
}

/// A card that gets replies: its id, how many it has, and whether it will never be posted.
#[derive(Serialize)]
struct Thread {
    id: String,
    #[serde(skip)]
    run: i64,
    replies: i64,
    #[serde(skip)]
    lost: bool,
    #[serde(skip)]
    untold: bool,
}

impl Thread {
    fn read(found: &Row) -> Result<Thread> {
        let row = Reader::new(found, "cards", "id");
        Ok(Thread {
            id: row.text("id")?.to_owned(),
            run: row.int("run")?,
            replies: row.int("replies")?,
            lost: row.flag("lost")?,
            untold: row.flag("untold")?,
        })
    }
}

/// Owes replies, in order, once per card of their runs, and answers.
pub(super) async fn owe(tx: &mut Tx, ids: &Ids, replies: &[Reply<'_>], answers: &[Answer<'_>]) -> Result<()> {
    let mut threads = threads(tx, replies).await?;
    let watched = watches::told(tx, replies).await?;
    let mut rows: Vec<OutboxRow<'_>> = Vec::with_capacity(replies.len() + answers.len() + watched.len());
    let mut places = Vec::new();
    for reply in replies {
        for (index, thread) in threads.get_mut(&reply.run).into_iter().flatten().enumerate() {
            thread.replies += 1;
            places.push((reply, index, thread.replies, (thread.lost, thread.untold)));
        }
    }
    for (reply, index, seq, (lost, untold)) in places {
        let (id, dead) = (MessageId::new(ids, reply.at), lost && !reply.last);
        let owed = OutboxRow::reply(id, &threads[&reply.run][index].id, seq, (&reply.note, reply.at), dead);
        rows.push(OutboxRow {
            last: u8::from(reply.last),
            state: if untold && !dead { "sent" } else { owed.state },
            ..owed
        });
    }
    // A program asks; nobody can tell it anything.
    let watchers = watched.iter().map(|(via, note, at)| Answer { via, note, at: *at });
    let answers: Vec<Answer<'_>> = answers.iter().copied().chain(watchers).collect();
    let told = answers.iter().filter(|answer| Platform::CHATS.contains(&answer.via.place.platform));
    rows.extend(told.map(|answer| OutboxRow {
        id: MessageId::new(ids, answer.at),
        kind: "answer",
        card: None,
        seq: None,
        via: Some(answer.via),
        note: answer.note,
        last: 0,
        at: answer.at,
        state: "owed",
        error: None,
    }));
    if rows.is_empty() {
        return Ok(());
    }
    let mut script = Script::default();
    script.add(OUTBOX_INSERT, [json(&rows).into()]);
    if !replies.is_empty() {
        let threads: Vec<&Thread> = threads.values().flatten().collect();
        script.add(CARDS_COUNT_REPLIES, [json(&threads).into()]);
    }
    tx.leave(script);
    Ok(())
}

/// Owes a reply in the thread of every card of a campaign.
pub(super) async fn tell_campaign(
    tx: &mut Tx,
    ids: &Ids,
    campaign: i64,
    note: &Note,
    at: Timestamp,
) -> Result<()> {
    let query = link::query(CARDS_OF_CAMPAIGN).bind(campaign);
    let found = query.fetch_all(tx.connection().await?).await.map_err(unavailable)?;
    let mut threads = Vec::with_capacity(found.len());
    for row in &found {
        let thread = Thread::read(row)?;
        threads.push(Thread { replies: thread.replies + 1, ..thread });
    }
    if threads.is_empty() {
        return Ok(());
    }
    let row = |thread| {
        let Thread { id, replies, lost, .. }: &Thread = thread;
        OutboxRow::reply(MessageId::new(ids, at), id, *replies, (note, at), *lost)
    };
    let rows: Vec<OutboxRow<'_>> = threads.iter().map(row).collect();
    let mut script = Script::default();
    script.add(OUTBOX_INSERT, [json(&rows).into()]);
    script.add(CARDS_COUNT_REPLIES, [json(&threads).into()]);
    tx.leave(script);
    Ok(())
}

/// Why a reply is dead whose card could not be posted.
pub(super) const CARD_LOST: &str = "its card could not be posted";

async fn threads(tx: &mut Tx, replies: &[Reply<'_>]) -> Result<HashMap<i64, Vec<Thread>>> {
    let mut threads: HashMap<i64, Vec<Thread>> = HashMap::new();
    if replies.is_empty() {
        return Ok(threads);
    }
    let runs: Vec<i64> = replies.iter().map(|reply| reply.run).collect();
    for row in link::query(CARDS_OF_RUNS)
        .bind(json(&runs))
        .fetch_all(tx.connection().await?)
        .await
        .map_err(unavailable)?
    {
        let thread = Thread::read(&row)?;
        threads.entry(thread.run).or_default().push(thread);
    }
    Ok(threads)
}
