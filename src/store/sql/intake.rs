//! Deliveries into the store: a whole group at once. First every delivery is looked at in order (is it a repeat, what
//! becomes of its effect, what is its answer), then each table gets one statement for the rows of all of them: a
//! statement costs a hop to the connection's thread, whatever it carries. The transaction begins and ends in the same
//! hops.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Serialize;

use super::ledger::{self, Answer, Event, Reply};
use super::link::{self, Row};
use super::row::{self, Reader, statements, unavailable};
use super::script::{Script, Tx};
use super::writer::{COMMIT, Ends};
use super::{
    asks, attempt, batch, board, builds, calls, campaign, drain, hold, keep, letters, log, run, schedule,
    token, watches,
};
use crate::board::BoardId;
use crate::board::plan::PowerAction;
use crate::build::Build;
use crate::chat::{Actor, AnswerVia, Place};
use crate::clock::Timestamp;
use crate::id::{Ids, MessageId, RunId};
use crate::message::Note;
use crate::outcome::Outcome;
use crate::run::{Keep, Request, Run, RunSpec, RunState};
use crate::store::{
    CARD_HELD, CampaignEffect, Committed, Effect, Effected, Intake, LeaseTerms, NewRun, Result, StoreError,
    Watched,
};

statements! {
    // One row at least: the newest number stands on each. Runs are never deleted, so the next is one more, above what a
    // backup that came back leaves out (`backup`). A group always writes, so it takes the write lock before it reads.
    BEGIN_KNOWN = "BEGIN IMMEDIATE;
        SELECT n.number, d.key, d.answer
        FROM (SELECT MAX(COALESCE((SELECT MAX(number) FROM runs), 0),
                         COALESCE((SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'runs_floor'), 0)) AS number) AS n
        LEFT JOIN deliveries AS d ON d.key IN (SELECT value FROM jsonb_each(?1))";
    RETRY_KNOWN = "SELECT number FROM runs WHERE retry_once = ?1";
    ERRANDS_INSERT = "INSERT INTO errands (id, board, action, by, via, asked_at)
        SELECT value->>'id', value->>'board', value->>'action', value->'by', value->'via', value->>'at'
        FROM jsonb_each(?1)";
    RELOADS_INSERT = "INSERT INTO reloads (id, via, asked_at)
        SELECT value->>'id', value->'via', value->>'at'
        FROM jsonb_each(?1)";
    // In one piece, for one hop: each statement takes the next document.
    INTAKES_INSERT = "INSERT INTO runs (number, id, kind, state, attempt, spec, requester, requested_by, origin, created_at,
                                     retry_of, retry_once, since, avoid)
        SELECT value->>'number', value->>'id', value->>'kind', 'queued', 1, value->'spec', value->>'requester', value->'by',
               value->'origin', value->>'at', value->>'retry_of', value->>'once', value->>'at', value->'avoid'
        FROM jsonb_each(?);
        INSERT INTO cards (id, run, platform, channel, thread, via, rev_wanted, owed_at, due_at)
        SELECT value->>'id', value->>'run', value->>'platform', value->>'channel', value->>'thread', value->'via', 1,
               value->>'at', value->>'at'
        FROM jsonb_each(?);
        INSERT INTO events (at, kind, run, attempt, facts)
        SELECT value->>'at', value->>'kind', value->>'run', value->>'attempt', COALESCE(value->'facts', '{}')
        FROM jsonb_each(?);
        INSERT INTO audit (at, actor, verb, target, allowed, reason, source)
        SELECT value->>'at', value->>'actor', value->>'verb', value->>'target', value->>'allowed', value->>'reason',
               value->>'source'
        FROM jsonb_each(?);
        INSERT INTO deliveries (key, platform, received_at, answer)
        SELECT value->>'key', value->>'platform', value->>'at', value->'answer'
        FROM jsonb_each(?)";
    SAVEPOINT = "SAVEPOINT intake";
    UNDO = "ROLLBACK TO intake";
    RELEASE = "RELEASE intake";
    CARD_HOLD = "UPDATE cards
        SET hold_until = MAX(hold_until, ?4)
        WHERE platform = ?1 AND channel = ?2 AND message = ?3";
    DELIVERIES_UNDO = "DELETE FROM deliveries WHERE key IN (SELECT value FROM jsonb_each(?1))";
    DELIVERIES_FORGET = "DELETE FROM deliveries WHERE received_at < ?1";
}

/// The same with the transaction's end, for a group of which nothing else is to be written.
pub(super) static INTAKES_INSERT_COMMIT: LazyLock<String> =
    LazyLock::new(|| format!("{INTAKES_INSERT};\nCOMMIT"));

/// Begins a transaction and writes a group of deliveries, in order. One that is refused for good fails alone.
pub(super) async fn commit(
    tx: &mut Tx,
    ids: &Ids,
    intakes: &[Intake],
    ends: Ends,
) -> Result<Vec<Result<Committed>>> {
    let (newest, known) = known(tx, intakes).await?;
    let mut rows = Rows::new(ids, newest);
    let mut first: HashMap<&str, usize> = HashMap::with_capacity(intakes.len());
    let mut committed: Vec<Result<Committed>> = Vec::with_capacity(intakes.len());
    let mut kept: Vec<bool> = Vec::with_capacity(intakes.len());
    for intake in intakes {
        let mut is_kept = false;
        let before = first.get(intake.key.as_str()).and_then(|index| committed[*index].as_ref().ok());
        let answer = match (before, known.get(&intake.key)) {
            (Some(before), _) => Ok(Committed { fresh: false, answer: before.answer.clone() }),
            (None, Some(answer)) => Reader::new(answer, "deliveries", "key")
                .json("answer")
                .map(|answer| Committed { fresh: false, answer }),
            (None, None) => {
                if looks_at_runs(&intake.effect) {
                    rows.write(tx).await?;
                }
                match rows.effect_apart(tx, intake).await {
                    Ok(effect) => {
                        is_kept = intake.is_kept(effect.effected);
                        Ok(Committed { fresh: true, answer: effect.answer(intake) })
                    }
                    Err(error) if error.is_lasting() => Err(error),
                    Err(error) => return Err(error),
                }
            }
        };
        first.entry(intake.key.as_str()).or_insert(committed.len());
        committed.push(answer);
        kept.push(is_kept);
    }
    let fresh = intakes.iter().zip(&committed).zip(kept).filter_map(|((intake, committed), kept)| {
        let committed = committed.as_ref().ok().filter(|committed| committed.fresh)?;
        Some((intake, kept, &committed.answer))
    });
    rows.flush(tx, fresh, ends).await?;
    Ok(committed)
}

/// Forgets deliveries received before `before`.
pub(super) async fn forget(tx: &mut Tx, before: Timestamp) -> Result<u64> {
    let query = link::query(DELIVERIES_FORGET).bind(before.as_micros());
    Ok(query.execute(tx.connection().await?).await.map_err(unavailable)?.rows_affected())
}

/// Forgets deliveries of these keys.
async fn undo(tx: &mut Tx, keys: &[String]) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let query = link::query(DELIVERIES_UNDO).bind(row::json(&keys));
    query.execute(tx.connection().await?).await.map_err(unavailable)?;
    Ok(())
}

/// The number given last, and the deliveries of the group that were committed before.
async fn known(tx: &mut Tx, intakes: &[Intake]) -> Result<(i64, HashMap<String, Row>)> {
    let keys: Vec<&str> = intakes.iter().map(|intake| intake.key.as_str()).collect();
    let rows = link::query(BEGIN_KNOWN)
        .bind(row::json(&keys))
        .fetch_all(tx.connection().await?)
        .await
        .map_err(unavailable)?;
    let (mut newest, mut known) = (0, HashMap::new());
    for row in rows {
        let found = Reader::new(&row, "deliveries", "key");
        newest = found.int("number")?;
        if let Some(key) = found.opt_text("key")? {
            known.insert(key.to_owned(), row);
        }
    }
    Ok((newest, known))
}

/// What became of an effect.
struct Applied {
    effected: Effected,
    /// Of the runs that were started, or of a batch ended, in order.
    numbers: Vec<i64>,
    /// Of the run meant.
    number: Option<i64>,
    /// The answer, where it depends on what came of it.
    note: Option<Note>,
    /// What else is known only now.
    facts: Vec<(&'static str, serde_json::Value)>,
}

impl Applied {
    fn of(effected: Effected, number: i64) -> Self {
        Applied { number: Some(number), ..Applied::plain(effected) }
    }

    fn plain(effected: Effected) -> Self {
        Applied { effected, numbers: vec![], number: None, note: None, facts: vec![] }
    }

    fn with(mut self, name: &'static str, fact: impl Serialize) -> Self {
        self.facts.push((name, serde_json::json!(fact)));
        self
    }

    /// The answer, with the facts that only the store knows.
    fn answer(&self, intake: &Intake) -> Note {
        let word = self.effected.as_str();
        let instead = intake.instead.iter().find(|(effected, _)| *effected == word);
        let planned = instead.map_or(&intake.answer, |(_, note)| note);
        let mut note = self.note.as_ref().unwrap_or(planned).clone();
        note.facts.insert("effected".into(), word.into());
        if !self.numbers.is_empty() {
            note.facts.insert("numbers".into(), self.numbers.clone().into());
        }
        if let Some(number) = self.number {
            note.facts.insert("number".into(), number.into());
        }
        for (name, fact) in &self.facts {
            note.facts.insert((*name).into(), fact.clone());
        }
        note
    }
}

/// Whether an effect writes rows before the whole group does.
fn writes_at_once(effect: &Effect) -> bool {
    match effect {
        Effect::Cancel { .. }
        | Effect::CancelBatch { .. }
        | Effect::PowerCycle { .. }
        | Effect::Return { .. }
        | Effect::Quarantine { .. }
        | Effect::Schedule { .. }
        | Effect::Campaign(_)
        | Effect::Drain(_)
        | Effect::Undrain { .. }
        | Effect::Reserve { .. }
        | Effect::Unreserve { .. }
        | Effect::Release { .. }
        | Effect::Extend { .. }
        | Effect::Keep { .. }
        | Effect::Notify(_)
        | Effect::Nudge { .. }
        | Effect::Offer { .. }
        | Effect::Build { .. }
        | Effect::Log { .. }
        | Effect::Watch(_)
        | Effect::Unwatch(_)
        | Effect::Accept { .. }
        | Effect::Resend { .. }
        | Effect::MakeToken(_)
        | Effect::RevokeToken { .. } => true,
        Effect::None
        | Effect::Start(_)
        | Effect::Retry { .. }
        | Effect::Reload { .. }
        | Effect::Errand { .. } => false,
    }
}

/// Whether an effect is about all runs of something, also about those that its own group has just started.
fn looks_at_runs(effect: &Effect) -> bool {
    match effect {
        Effect::Campaign(effect) => {
            matches!(&**effect, CampaignEffect::Ask { asked, .. } if asked.ends_runs())
        }
        _ => false,
    }
}

/// Rows of a group on their way into the tables.
struct Rows<'a> {
    ids: &'a Ids,
    /// The number given last.
    number: i64,
    runs: Vec<RunRow<'a>>,
    cards: Vec<CardRow<'a>>,
    events: Vec<Event<'a>>,
    replies: Vec<Reply<'a>>,
    /// Which runs and cards belong to a batch.
    batches: batch::Batches,
    /// Runs of campaigns.
    campaigns: Vec<campaign::Started>,
    /// Campaigns whose cards stand under a run.
    campaign_cards: Vec<(i64, i64)>,
    /// Where the ends of runs are told.
    callbacks: Vec<calls::Callback<'a>>,
    /// Runs whose cards must name their repeat.
    retried: Vec<i64>,
    /// Runs that this group started, by what they are started under once.
    retries: HashMap<&'a str, i64>,
    errands: Vec<ErrandRow<'a>>,
    reloads: Vec<ReloadRow<'a>>,
}

impl<'a> Rows<'a> {
    fn new(ids: &'a Ids, number: i64) -> Self {
        Rows {
            ids,
            number,
            runs: vec![],
            cards: vec![],
            batches: batch::Batches::default(),
            campaigns: vec![],
            campaign_cards: vec![],
            callbacks: vec![],
            events: vec![],
            replies: vec![],
            retried: vec![],
            retries: HashMap::new(),
            errands: vec![],
            reloads: vec![],
        }
    }

    /// Gathers the rows of an intake's effect; one that is refused for good on its way leaves nothing of it behind.
    async fn effect_apart(&mut self, tx: &mut Tx, intake: &'a Intake) -> Result<Applied> {
        if !writes_at_once(&intake.effect) {
            return self.effect(tx, intake).await;
        }
        tx.execute(SAVEPOINT).await?;
        let gathered = self.gathered();
        let mut applied = self.effect(tx, intake).await;
        if applied.is_ok()
            && let Err(error) = tx.connection().await
        {
            applied = Err(error);
        }
        if applied.as_ref().is_err_and(StoreError::is_lasting) {
            tx.forget();
            tx.execute(UNDO).await?;
            self.cut(gathered);
        }
        tx.execute(RELEASE).await?;
        applied
    }

    /// How much is gathered.
    fn gathered(&self) -> Gathered {
        Gathered {
            number: self.number,
            runs: self.runs.len(),
            cards: self.cards.len(),
            events: self.events.len(),
            replies: self.replies.len(),
            in_batches: (self.batches.runs.len(), self.batches.cards.len()),
            campaigns: (self.campaigns.len(), self.campaign_cards.len()),
            callbacks: self.callbacks.len(),
            retried: self.retried.len(),
        }
    }

    /// Drops what was gathered since.
    fn cut(&mut self, to: Gathered) {
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
        self.retried.truncate(to.retried);
        self.retries.retain(|_, number| *number <= to.number);
    }

    /// Gathers the rows of an intake's effect. What changes a run that is there already is written at once.
    async fn effect(&mut self, tx: &mut Tx, intake: &'a Intake) -> Result<Applied> {
        match &intake.effect {
            Effect::None => Ok(Applied::plain(Effected::Done)),
            Effect::Start(runs) => {
                if let Some(once) = runs.first().and_then(|run| run.once.as_deref()) {
                    if let Some(number) = self.known(tx, once).await? {
                        return Ok(Applied::of(Effected::AlreadyStarted, number));
                    }
                    self.retries.insert(once, self.number + 1);
                }
                let numbers = self.start_all(runs);
                let number = numbers.first().copied();
                Ok(Applied { number, numbers, ..Applied::plain(Effected::Done) })
            }
            Effect::Build { build, runs } => self.build(tx, build, runs).await,
            Effect::Retry { of, once, run, note } => {
                self.retry(tx, intake, *of, once.as_deref(), run, note).await
            }
            Effect::Cancel { run, by, outcome, note } => {
                let Some(found) = run::by_number(tx, *run).await? else {
                    return Ok(Applied::of(Effected::NoSuchRun, *run));
                };
                self.cancel(tx, found, by, outcome, note, intake.received_at).await
            }
            Effect::CancelBatch { batch, by, outcome, runs } => {
                self.cancel_batch(tx, *batch, by, outcome, runs, intake.received_at).await
            }
            Effect::PowerCycle { run, attempt_at, by } => {
                let Some(found) = run::by_number(tx, *run).await? else {
                    return Ok(Applied::of(Effected::NoSuchRun, *run));
                };
                let effected = match &found.state {
                    RunState::Queued { .. } => Effected::NotOnBoard,
                    RunState::Finished { .. } => Effected::AlreadyFinished,
                    RunState::Active { started_at, .. } if started_at != attempt_at => Effected::OtherAttempt,
                    RunState::Active { .. } => {
                        attempt::ask(tx, &found, &Request::PowerCycle { by: by.clone() }, intake.received_at)
                            .await?;
                        Effected::Asked
                    }
                };
                Ok(Applied::of(effected, *run))
            }
            Effect::Return { board } => {
                let returned = board::return_to_service(tx, board, intake.received_at).await?;
                let effected = if returned { Effected::Done } else { Effected::NotQuarantined };
                Ok(Applied::plain(effected))
            }
            Effect::Quarantine { board, reason } => {
                let left = board::quarantine(tx, board, reason, &intake.actor, intake.received_at).await?;
                let effected = if left { Effected::Done } else { Effected::AlreadyQuarantined };
                Ok(Applied::plain(effected))
            }
            Effect::Reserve { .. }
            | Effect::Unreserve { .. }
            | Effect::Release { .. }
            | Effect::Extend { .. } => self.hold(tx, intake).await,
            Effect::Keep { .. }
            | Effect::Notify(_)
            | Effect::Nudge { .. }
            | Effect::Offer { .. }
            | Effect::Accept { .. } => self.asks(tx, intake).await,
            Effect::Resend { letter } => {
                let (effected, count) = letters::resend(tx, *letter, intake.received_at).await?;
                Ok(Applied::plain(effected).with("count", count))
            }
            Effect::MakeToken(new) => {
                let made = token::make(tx, new, &intake.actor.key(), intake.received_at).await?;
                Ok(Applied::plain(made))
            }
            Effect::RevokeToken { name } => {
                Ok(Applied::plain(token::revoke(tx, name, intake.received_at).await?))
            }
            Effect::Campaign(effect) => self.campaign(tx, intake, effect).await,
            Effect::Schedule { name, paused } => {
                let (by, now) = (&intake.actor, intake.received_at);
                Ok(Applied::plain(schedule::pause(tx, name, *paused, by, now).await?))
            }
            Effect::Drain(new) => {
                drain::begin(tx, self.ids, new, &intake.actor, intake.received_at).await?;
                Ok(Applied::plain(Effected::Done))
            }
            Effect::Undrain { of, boards } => Ok(Applied::plain(drain::end(tx, of, boards).await?)),
            Effect::Watch(of) => {
                let run = match of {
                    Watched::Run(number) => run::by_number(tx, *number).await?,
                    Watched::Family(_) => None,
                };
                let watching = (&intake.actor, of);
                Ok(Applied::plain(watches::watch(tx, watching, run.as_ref(), intake.received_at).await?))
            }
            Effect::Unwatch(of) => Ok(Applied::plain(watches::unwatch(tx, &intake.actor, of).await?)),
            Effect::Log { run, attempt, note } => {
                let told = log::tell(tx, self.ids, (*run, *attempt), note, intake.received_at).await?;
                Ok(Applied::of(if told { Effected::Done } else { Effected::AlreadyTold }, *run))
            }
            Effect::Reload { id, via } => {
                self.reloads.push(ReloadRow { id: *id, via, at: intake.received_at });
                Ok(Applied::plain(Effected::Done))
            }
            Effect::Errand { id, board, action, via } => {
                let at = intake.received_at;
                self.errands.push(ErrandRow { id: *id, board, action, by: &intake.actor, via, at });
                Ok(Applied::plain(Effected::Done))
            }
        }
    }

    /// Registers a build, and starts those of its runs that were not started before. One that was registered before starts
    /// nothing more, and tells which of them it started then.
    async fn build(&mut self, tx: &mut Tx, build: &Build, runs: &'a [NewRun]) -> Result<Applied> {
        let effected = builds::register(tx, build).await?;
        if effected == Effected::Done {
            self.events.push(Event::build(build));
        }
        let mut numbers = Vec::with_capacity(runs.len());
        for run in runs {
            let once = run.once.as_deref();
            let before = match once {
                Some(once) => self.known(tx, once).await?,
                None => None,
            };
            numbers.push(match before {
                None if effected == Effected::Done => {
                    let number = self.start(run, None, once, None);
                    self.retries.extend(once.map(|once| (once, number)));
                    Some(number)
                }
                before => before,
            });
        }
        Ok(Applied::plain(effected).with("runs", numbers))
    }

    /// What changes a board that somebody has as their own.
    async fn hold(&mut self, tx: &mut Tx, intake: &Intake) -> Result<Applied> {
        let (by, now) = (&intake.actor, intake.received_at);
        match &intake.effect {
            Effect::Reserve { wish, at_once, or_wait, most, drains_seen, instance } => {
                let (expires_at, drains_seen) = (now + wish.lasts, *drains_seen);
                let terms = LeaseTerms { instance: *instance, now, expires_at, drains_seen };
                let asked = (at_once.as_slice(), &terms);
                let reserved = hold::reserve(tx, wish, self.number, asked, (*or_wait, *most)).await?;
                let got = reserved.got.and_then(|(index, fence)| Some((at_once.get(index)?, fence)));
                let applied = Applied::plain(reserved.effected).with("lease", reserved.id);
                Ok(Applied { note: got.map(|((_, note), _)| note.clone()), ..applied }
                    .with("fence", got.map(|(_, fence)| fence)))
            }
            Effect::Unreserve { reservation, others, undoes } => {
                let waited = hold::withdraw(tx, self.ids, by, *reservation, others.as_ref(), now).await?;
                if waited {
                    undo(tx, undoes).await?;
                }
                Ok(Applied::plain(if waited { Effected::Done } else { Effected::NotTheirs }))
            }
            Effect::Release { board, fence, others, rest, undoes } => {
                let meant = (board, *fence);
                let (effected, run) =
                    hold::release(tx, self.ids, by, meant, others.as_ref(), *rest, now).await?;
                if !effected.is_in_vain() {
                    undo(tx, undoes).await?;
                }
                Ok(run.map_or(Applied::plain(effected), |run| Applied::of(effected, run)))
            }
            Effect::Extend { board, fence, by: longer, longest, from } => {
                let meant = (board, *fence, *from);
                let (effected, until) = hold::extend(tx, by, meant, (*longer, *longest), now).await?;
                Ok(Applied::plain(effected).with("until", until))
            }
            _ => Ok(Applied::plain(Effected::Done)),
        }
    }

    /// What is asked about a board that somebody has, or would have.
    async fn asks(&mut self, tx: &mut Tx, intake: &Intake) -> Result<Applied> {
        let (by, now) = (&intake.actor, intake.received_at);
        match &intake.effect {
            Effect::Keep { run, lasts } => {
                let Some(found) = run::by_number(tx, *run).await? else {
                    return Ok(Applied::of(Effected::NoSuchRun, *run));
                };
                let wish = Keep { by: by.clone(), lasts: *lasts };
                Ok(Applied::of(keep::wish(tx, &found, &wish, now).await?, *run))
            }
            Effect::Notify(notice) => Ok(Applied::plain(asks::notify(tx, notice).await?)),
            Effect::Nudge { board, fence, note } => {
                Ok(Applied::plain(asks::nudge(tx, self.ids, (board, *fence), note, now).await?))
            }
            Effect::Offer { board, fence, to, note } => {
                let offered = asks::offer(tx, self.ids, by, (board, *fence), (to, note), now).await?;
                Ok(Applied::plain(offered))
            }
            Effect::Accept { board, fence, id, note } => {
                let meant = (board, *fence);
                let (effected, fence) = asks::accept(tx, self.ids, by, meant, (*id, note), now).await?;
                Ok(Applied::plain(effected).with("fence", fence))
            }
            _ => Ok(Applied::plain(Effected::Done)),
        }
    }

    /// What is changed about campaigns.
    async fn campaign(
        &mut self,
        tx: &mut Tx,
        intake: &'a Intake,
        effect: &'a CampaignEffect,
    ) -> Result<Applied> {
        let now = intake.received_at;
        match effect {
            CampaignEffect::Begin { plan, origin, once } => {
                if let Some(once) = once
                    && let Some(number) = campaign::begun(tx, once).await?
                {
                    return Ok(Applied::of(Effected::AlreadyStarted, number));
                }
                if let Some((effected, number)) = campaign::in_the_way(tx, 0, plan).await? {
                    return Ok(Applied::of(effected, number));
                }
                let told = (origin, once.as_deref());
                let number = campaign::insert(tx, plan, &intake.actor, told, now).await?;
                Ok(Applied::of(Effected::Done, number))
            }
            CampaignEffect::Ask { number, seen, asked, outcome, theirs, told } => {
                let found = campaign::by_number(tx, *number).await?;
                let found = found.filter(|found| seen.is_none_or(|seen| seen == found.since));
                let Some((then, found)) = found.and_then(|found| Some((found.asked(*asked)?, found))) else {
                    return Ok(Applied::of(Effected::Unchanged, *number));
                };
                // One that was over lives again.
                if found.state.is_over()
                    && let Some((effected, other)) = campaign::in_the_way(tx, *number, &then.plan).await?
                {
                    return Ok(Applied::of(effected, other));
                }
                campaign::write(tx, &then, now).await?;
                campaign::redraw(tx, *number, now);
                ledger::tell_campaign(tx, self.ids, *number, told, now).await?;
                let open = if asked.ends_runs() { campaign::open(tx, *number).await? } else { vec![] };
                // What the campaign started ends with it, whoever began that; what somebody repeated is theirs.
                let ends = |run: &Run| {
                    let is_theirs = |theirs: &Vec<String>| theirs.contains(&run.requested_by.key());
                    run.retry_of.is_none() || theirs.as_ref().is_none_or(is_theirs)
                };
                for run in open {
                    if let Some(run) = run::by_number(tx, run).await?.filter(ends) {
                        let note = Note::new("run-cancelled", serde_json::json!({}));
                        self.cancel(tx, run, &intake.actor, outcome, &note, now).await?;
                    }
                }
                Ok(Applied::of(Effected::Done, *number))
            }
            CampaignEffect::Tell { number, told } => {
                ledger::tell_campaign(tx, self.ids, *number, told, now).await?;
                Ok(Applied::of(Effected::Done, *number))
            }
            CampaignEffect::Step { then, starts, told } => {
                if !campaign::write(tx, then, now).await? {
                    return Ok(Applied::of(Effected::Unchanged, then.number));
                }
                campaign::redraw(tx, then.number, now);
                if let Some(told) = told {
                    ledger::tell_campaign(tx, self.ids, then.number, told, now).await?;
                }
                for (phase, place, run) in starts {
                    let number = self.start(run, None, run.once.as_deref(), None);
                    if !run.cards.is_empty() {
                        self.campaign_cards.push((then.number, number));
                    }
                    let (campaign, phase, place) = (then.number, *phase, *place);
                    self.campaigns.push(campaign::Started { campaign, phase, place, run: number });
                }
                Ok(Applied::of(Effected::Done, then.number))
            }
        }
    }

    async fn cancel(
        &mut self,
        tx: &mut Tx,
        run: Run,
        by: &Actor,
        outcome: &Outcome,
        note: &Note,
        now: Timestamp,
    ) -> Result<Applied> {
        let number = run.number;
        let effected = match &run.state {
            RunState::Queued { .. } => {
                attempt::withdraw(tx, self.ids, run, outcome, note, now).await?;
                Effected::Done
            }
            RunState::Active { .. } => {
                attempt::ask(tx, &run, &Request::Cancel { by: by.clone() }, now).await?;
                Effected::Asked
            }
            RunState::Finished { .. } => Effected::AlreadyFinished,
        };
        Ok(Applied::of(effected, number))
    }

    /// Ends what is not finished; every run is read before the first is changed.
    async fn cancel_batch(
        &mut self,
        tx: &mut Tx,
        batch: i64,
        by: &Actor,
        outcome: &Outcome,
        runs: &[(i64, Note)],
        now: Timestamp,
    ) -> Result<Applied> {
        let mut found = Vec::with_capacity(runs.len());
        for (number, note) in runs {
            found.extend(run::by_number(tx, *number).await?.map(|run| (run, note)));
        }
        let mut applied = Applied::of(Effected::AlreadyFinished, batch);
        for (run, note) in found {
            let ended = self.cancel(tx, run, by, outcome, note, now).await?;
            if ended.effected != Effected::AlreadyFinished {
                applied.effected = Effected::Done;
                applied.numbers.extend(ended.number);
            }
        }
        Ok(applied)
    }

    async fn retry(
        &mut self,
        tx: &mut Tx,
        intake: &Intake,
        of: i64,
        once: Option<&'a str>,
        run: &'a NewRun,
        note: &'a Note,
    ) -> Result<Applied> {
        let Some(old) = run::by_number(tx, of).await? else {
            return Ok(Applied::of(Effected::NoSuchRun, of));
        };
        if let Some(once) = once
            && let Some(number) = self.known(tx, once).await?
        {
            return Ok(Applied::of(Effected::AlreadyRetried, number));
        }
        let number = self.start(run, Some(of), once, None);
        self.retries.extend(once.map(|once| (once, number)));
        self.retried.push(of);
        let at = intake.received_at;
        let facts = serde_json::json!({ "number": number });
        self.events.push(Event::run(at, "retried", of, run::attempt_of(&old.state)).with(facts));
        let mut note = note.clone();
        note.facts.insert("number".into(), number.into());
        self.replies.push(Reply { run: of, note: Cow::Owned(note), last: false, at });
        Ok(Applied { numbers: vec![number], ..Applied::of(Effected::Done, number) })
    }

    /// The run that was started under this before, by this group or an earlier one.
    async fn known(&self, tx: &mut Tx, once: &str) -> Result<Option<i64>> {
        if let Some(number) = self.retries.get(once) {
            return Ok(Some(*number));
        }
        let query = link::query(RETRY_KNOWN).bind(once);
        query.number(tx.connection().await?).await.map_err(unavailable)
    }

    /// Gives new runs their numbers. More than one are a batch: its cards come before theirs.
    fn start_all(&mut self, runs: &'a [NewRun]) -> Vec<i64> {
        let first = self.number + 1;
        let parents: Vec<MessageId> = match runs {
            [run, _, ..] => run.cards.iter().map(|place| self.card(run, first, place, Of::Batch)).collect(),
            [] | [_] => vec![],
        };
        let batch = (runs.len() > 1).then_some((first, parents.as_slice()));
        let runs = runs.iter().enumerate();
        runs.map(|(index, run)| {
            let once = run.once.as_deref().filter(|_| index == 0);
            self.start(run, run.retry_of, once, batch)
        })
        .collect()
    }

    /// Gives a new run its number; in a batch, with the batch's number and cards.
    fn start(
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
    async fn write(&mut self, tx: &mut Tx) -> Result<()> {
        if self.runs.is_empty() {
            return Ok(());
        }
        let rest = Rows::new(self.ids, self.number);
        let gathered = std::mem::replace(self, rest);
        self.retries.clone_from(&gathered.retries);
        gathered.flush(tx, std::iter::empty(), Ends::Open).await
    }

    /// Writes everything that was gathered, and the deliveries with their answers.
    async fn flush(
        self,
        tx: &mut Tx,
        fresh: impl Iterator<Item = (&Intake, bool, &Note)>,
        ends: Ends,
    ) -> Result<()> {
        let mut audit = Vec::new();
        let mut deliveries = Vec::new();
        let mut answers = Vec::new();
        let mut held = Vec::new();
        let mut now = Timestamp::default();
        for (intake, is_kept, answer) in fresh {
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
                    target: &intake.audit.target,
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
struct Gathered {
    number: i64,
    runs: usize,
    cards: usize,
    events: usize,
    replies: usize,
    in_batches: (usize, usize),
    campaigns: (usize, usize),
    callbacks: usize,
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
struct ReloadRow<'a> {
    id: MessageId,
    via: &'a AnswerVia,
    at: Timestamp,
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
struct ErrandRow<'a> {
    id: MessageId,
    board: &'a BoardId,
    action: &'a PowerAction,
    by: &'a Actor,
    via: &'a AnswerVia,
    at: Timestamp,
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
