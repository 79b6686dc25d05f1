//! The rows of a group of deliveries on their way into the tables: gathered while each delivery is looked at, and written in
//! one statement for each table. What becomes of an effect is decided in [`effects`](super::effects), and not here.

use std::collections::HashMap;

use serde::Serialize;

use super::super::ledger::{self, Answer, Event, Reply};
use super::super::row::{self, unavailable};
use super::super::script::{Script, Tx};
use super::super::writer::{COMMIT, Ends};
use super::super::{badges, batch, calls, campaign, link};
use super::{CARD_HOLD, ERRANDS_INSERT, INTAKES_INSERT, INTAKES_INSERT_COMMIT, RELOADS_INSERT};
use crate::board::BoardId;
use crate::board::plan::PowerAction;
use crate::chat::{Actor, AnswerVia, Place, Platform};
use crate::clock::Timestamp;
use crate::id::{Ids, MessageId, RunId};
use crate::lease::Fence;
use crate::message::Note;
use crate::run::RunSpec;
use crate::store::{CARD_HELD, Intake, NewRun, Result};

/// A delivery that was not known before.
pub(super) struct Fresh<'a> {
    pub(super) intake: &'a Intake,
    /// Whether its key and answer are remembered.
    pub(super) is_kept: bool,
    pub(super) answer: &'a Note,
    /// Whom or what it was about, where only the store knows.
    pub(super) target: Option<String>,
}

/// Rows of a group on their way into the tables.
pub(super) struct Rows<'a> {
    pub(super) ids: &'a Ids,
    /// The number given last.
    pub(super) number: i64,
    runs: Vec<RunRow<'a>>,
    cards: Vec<CardRow<'a>>,
    pub(super) events: Vec<Event<'a>>,
    pub(super) replies: Vec<Reply<'a>>,
    /// Which runs and cards belong to a batch.
    pub(super) batches: batch::Batches,
    /// Runs of campaigns.
    pub(super) campaigns: Vec<campaign::Started>,
    /// Campaigns whose cards stand under a run.
    pub(super) campaign_cards: Vec<(i64, i64)>,
    /// Where the ends of runs are told.
    pub(super) callbacks: Vec<calls::Callback<'a>>,
    /// Messages that asked for runs.
    asking: Vec<badges::Asking<'a>>,
    /// Runs whose cards must name their repeat.
    pub(super) retried: Vec<i64>,
    /// Runs that this group started, by what they are started under once.
    pub(super) retries: HashMap<&'a str, i64>,
    pub(super) errands: Vec<ErrandRow<'a>>,
    pub(super) reloads: Vec<ReloadRow<'a>>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(ids: &'a Ids, number: i64) -> Self {
        Rows {
            ids,
            number,
            runs: vec![],
            cards: vec![],
            batches: batch::Batches::default(),
            campaigns: vec![],
            campaign_cards: vec![],
            callbacks: vec![],
            asking: vec![],
            events: vec![],
            replies: vec![],
            retried: vec![],
            retries: HashMap::new(),
            errands: vec![],
            reloads: vec![],
        }
    }

    /// How much is gathered.
    pub(super) fn gathered(&self) -> Gathered {
        Gathered {
            number: self.number,
            runs: self.runs.len(),
            cards: self.cards.len(),
            events: self.events.len(),
            replies: self.replies.len(),
            in_batches: (self.batches.runs.len(), self.batches.cards.len()),
            campaigns: (self.campaigns.len(), self.campaign_cards.len()),
            callbacks: self.callbacks.len(),
            asking: self.asking.len(),
            retried: self.retried.len(),
        }
    }

    /// Drops what was gathered since.
    pub(super) fn cut(&mut self, to: Gathered) {
        self.number = to.number;
        self.runs.truncate(to.runs);
        self.cards.truncate(to.cards);
        self.events.truncate(to.events);
        self.replies.truncate(to.replies);
        self.batches.runs.truncate(to.in_batches.0);
        self.batches.cards.truncate(to.in_batches.1);
        self.campaigns.truncate(to.campaigns.0);
        self.campaign_cards.truncate(to.campaigns.1);
        self.callbacks.truncate(to.callbacks);
        self.asking.truncate(to.asking);
        self.retried.truncate(to.retried);
        self.retries.retain(|_, number| *number <= to.number);
    }

    /// Gives new runs their numbers. More than one are a batch: its cards come before theirs.
    pub(super) fn start_all(&mut self, runs: &'a [NewRun]) -> Vec<i64> {
        let first = self.number + 1;
        let parents: Vec<MessageId> = match runs {
            [run, _, ..] => run.cards.iter().map(|place| self.card(run, first, place, Of::Batch)).collect(),
            [] | [_] => vec![],
        };
        let batch = (runs.len() > 1).then_some((first, parents.as_slice()));
        if let Some(run) = runs.first() {
            self.asked_by(run, (first, first + runs.len() as i64 - 1));
        }
        let runs = runs.iter().enumerate();
        runs.map(|(index, run)| {
            let once = run.once.as_deref().filter(|_| index == 0);
            self.start(run, run.retry_of, once, batch)
        })
        .collect()
    }

    /// The message that asked for a run, or for those of a batch.
    pub(super) fn asked_by(&mut self, run: &'a NewRun, runs: (i64, i64)) {
        let Place { platform, channel, .. } = &run.origin;
        let message = run.message.as_deref().filter(|_| Platform::CHATS.contains(platform));
        self.asking.extend(message.map(|message| badges::Asking {
            platform: *platform,
            channel,
            message,
            at: run.created_at,
            runs,
        }));
    }

    /// Gives a new run its number; in a batch, with the batch's number and cards.
    pub(super) fn start(
        &mut self,
        run: &'a NewRun,
        retry_of: Option<i64>,
        once: Option<&'a str>,
        batch: Option<(i64, &[MessageId])>,
    ) -> i64 {
        self.number += 1;
        let (number, at) = (self.number, run.created_at);
        self.runs.push(RunRow {
            number,
            id: run.id,
            kind: run.spec.kind.as_str(),
            spec: &run.spec,
            requester: run.requested_by.key(),
            by: &run.requested_by,
            origin: &run.origin,
            at,
            retry_of,
            once,
            avoid: &run.avoid,
        });
        self.batches.runs.extend(batch.map(|(first, _)| batch::InBatch { number, batch: first }));
        for (index, place) in run.cards.iter().enumerate() {
            let parent = batch.and_then(|(_, parents)| parents.get(index).copied());
            self.card(run, number, place, parent.map_or(Of::Run, Of::Child));
        }
        self.callbacks.extend(run.callback.as_deref().map(|url| calls::Callback { run: number, url }));
        self.events.push(Event::run(at, "accepted", number, 1));
        number
    }

    fn card(&mut self, run: &'a NewRun, number: i64, place: &'a Place, of: Of) -> MessageId {
        let (id, at) = (MessageId::new(self.ids, run.created_at), run.created_at);
        // The URL of a delivery reaches the channel it came from, and no other.
        let reaches =
            |via: &&AnswerVia| via.place.platform == place.platform && via.place.channel == place.channel;
        let (via, thread) = (run.via.as_ref().filter(reaches), place.thread.as_deref());
        // A child has what its parent has: its thread once that is posted, and its words where nothing can be.
        let (via, thread) = if let Of::Child(_) = of { (None, None) } else { (via, thread) };
        let (platform, channel) = (place.platform.as_str(), place.channel.as_str());
        self.cards.push(CardRow { id, run: number, platform, channel, thread, via, at });
        match of {
            Of::Run => {}
            Of::Batch => {
                self.batches.cards.push(batch::CardInBatch { id, batch: Some(number), parent: None })
            }
            Of::Child(parent) => {
                self.batches.cards.push(batch::CardInBatch { id, batch: None, parent: Some(parent) })
            }
        }
        id
    }

    /// Writes what was gathered so far, before somebody looks for it in the tables.
    pub(super) async fn write(&mut self, tx: &mut Tx) -> Result<()> {
        if self.runs.is_empty() {
            return Ok(());
        }
        let rest = Rows::new(self.ids, self.number);
        let gathered = std::mem::replace(self, rest);
        self.retries.clone_from(&gathered.retries);
        gathered.flush(tx, std::iter::empty(), Ends::Open).await
    }

    /// Writes everything that was gathered, and the deliveries with their answers.
    pub(super) async fn flush(
        self,
        tx: &mut Tx,
        fresh: impl Iterator<Item = Fresh<'_>>,
        ends: Ends,
    ) -> Result<()> {
        let fresh: Vec<Fresh<'_>> = fresh.collect();
        let mut audit = Vec::new();
        let mut deliveries = Vec::new();
        let mut answers = Vec::new();
        let mut held = Vec::new();
        let mut now = Timestamp::default();
        for Fresh { intake, is_kept, answer, target } in &fresh {
            let (intake, is_kept, answer) = (*intake, *is_kept, *answer);
            let at = intake.received_at;
            now = now.max(at);
            if is_kept {
                deliveries.push(DeliveryRow {
                    key: &intake.key,
                    platform: intake.platform.as_str(),
                    at,
                    answer,
                });
            }
            held.extend(intake.shows.as_ref().map(|card| (card, at + CARD_HELD)));
            answers.extend(intake.answer_via.as_ref().map(|via| Answer { via, note: answer, at }));
            if !intake.audit.verb.is_empty() {
                audit.push(AuditRow {
                    at,
                    actor: intake.actor.key(),
                    verb: &intake.audit.verb,
                    target: target.as_deref().unwrap_or(&intake.audit.target),
                    allowed: u8::from(intake.audit.allowed),
                    reason: &intake.audit.reason,
                    source: intake.source.as_deref(),
                });
            }
        }
        for (card, until) in &held {
            let (platform, message) = (card.platform.as_str(), card.thread.as_deref());
            let mut script = Script::default();
            script.add(
                CARD_HOLD,
                [platform.into(), card.channel.as_str().into(), message.into(), (*until).into()],
            );
            tx.leave(script);
        }
        if !self.errands.is_empty() {
            let insert = link::query(ERRANDS_INSERT).bind(row::json(&self.errands));
            insert.execute(tx.connection().await?).await.map_err(unavailable)?;
        }
        if !self.reloads.is_empty() {
            let insert = link::query(RELOADS_INSERT).bind(row::json(&self.reloads));
            insert.execute(tx.connection().await?).await.map_err(unavailable)?;
        }
        if !self.asking.is_empty() {
            badges::ask(tx, &self.asking);
        }
        ledger::owe(tx, self.ids, &self.replies, &answers).await?;
        ledger::cards_bump(tx, &self.retried, now);
        let whole = self.batches.runs.is_empty() && self.campaigns.is_empty() && self.callbacks.is_empty();
        let insert = match ends {
            Ends::Commit if whole => INTAKES_INSERT_COMMIT.as_str(),
            Ends::Commit | Ends::Open => INTAKES_INSERT,
        };
        let insert = link::query(insert)
            .bind(row::json(&self.runs))
            .bind(row::json(&self.cards))
            .bind(row::json(&self.events))
            .bind(row::json(&audit))
            .bind(row::json(&deliveries));
        insert.execute(tx.connection().await?).await.map_err(unavailable)?;
        batch::mark(tx, &self.batches).await?;
        campaign::started(tx, &self.campaigns).await?;
        calls::call_back(tx, &self.callbacks);
        for (campaign, run) in &self.campaign_cards {
            campaign::cards(tx, *campaign, *run);
        }
        if ends == Ends::Commit && !whole {
            tx.execute(COMMIT).await?;
        }
        Ok(())
    }
}

/// How many rows of each kind were gathered, and the number given last.
#[derive(Clone, Copy)]
pub(super) struct Gathered {
    number: i64,
    runs: usize,
    cards: usize,
    events: usize,
    replies: usize,
    in_batches: (usize, usize),
    campaigns: (usize, usize),
    callbacks: usize,
    asking: usize,
    retried: usize,
}

/// Whose a card is.
enum Of {
    /// A run's that stands alone.
    Run,
    /// A batch's.
    Batch,
    /// A run's of a batch, whose card this is.
    Child(MessageId),
}

#[derive(Serialize)]
struct RunRow<'a> {
    number: i64,
    id: RunId,
    kind: &'static str,
    spec: &'a RunSpec,
    requester: String,
    by: &'a Actor,
    origin: &'a Place,
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_of: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    once: Option<&'a str>,
    avoid: &'a [BoardId],
}

#[derive(Serialize)]
pub(super) struct ReloadRow<'a> {
    pub(super) id: MessageId,
    pub(super) via: &'a AnswerVia,
    pub(super) at: Timestamp,
}

#[derive(Serialize)]
struct CardRow<'a> {
    id: MessageId,
    run: i64,
    platform: &'static str,
    channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<&'a AnswerVia>,
    at: Timestamp,
}

#[derive(Serialize)]
pub(super) struct ErrandRow<'a> {
    pub(super) id: MessageId,
    pub(super) board: &'a BoardId,
    pub(super) action: &'a PowerAction,
    pub(super) by: &'a Actor,
    pub(super) via: &'a AnswerVia,
    pub(super) at: Timestamp,
    pub(super) over: Option<Fence>,
    pub(super) once: Option<&'a str>,
}

#[derive(Serialize)]
struct AuditRow<'a> {
    at: Timestamp,
    actor: String,
    verb: &'a str,
    target: &'a str,
    allowed: u8,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
}

#[derive(Serialize)]
struct DeliveryRow<'a> {
    key: &'a str,
    platform: &'static str,
    at: Timestamp,
    answer: &'a Note,
}
