//! What becomes of a delivery's effect: each is guarded by how things are in the tables, and what it starts is gathered as
//! rows. What changes a row that is there already is written at once.

use std::borrow::Cow;

use serde::Serialize;

use super::super::ledger::{self, Event, Reply};
use super::super::row::unavailable;
use super::super::script::Tx;
use super::super::{
    asks, attempt, board, builds, campaign, drain, hold, keep, letters, link, links, log, run, schedule,
    token, watches,
};
use super::rows::{ErrandRow, ReloadRow, Rows};
use super::{ERRANDS_ONCE, RELEASE, RETRY_KNOWN, SAVEPOINT, UNDO, undo};
use crate::build::Build;
use crate::chat::Actor;
use crate::clock::Timestamp;
use crate::message::Note;
use crate::outcome::Outcome;
use crate::run::{Keep, Request, Run, RunState};
use crate::store::{
    CampaignEffect, Effect, Effected, Intake, LeaseTerms, NewRun, Result, StoreError, Watched,
};

/// What became of an effect.
pub(super) struct Applied {
    pub(super) effected: Effected,
    /// Of the runs that were started, or of a batch ended, in order.
    numbers: Vec<i64>,
    /// Of the run meant.
    number: Option<i64>,
    /// The answer, where it depends on what came of it.
    note: Option<Note>,
    /// What else is known only now.
    facts: Vec<(&'static str, serde_json::Value)>,
    /// Whom or what the record says it was about, where that is known only now.
    pub(super) target: Option<String>,
}

impl Applied {
    fn of(effected: Effected, number: i64) -> Self {
        Applied { number: Some(number), ..Applied::plain(effected) }
    }

    fn plain(effected: Effected) -> Self {
        Applied { effected, numbers: vec![], number: None, note: None, facts: vec![], target: None }
    }

    fn with(mut self, name: &'static str, fact: impl Serialize) -> Self {
        self.facts.push((name, serde_json::json!(fact)));
        self
    }

    /// The answer, with the facts that only the store knows.
    pub(super) fn answer(&self, intake: &Intake) -> Note {
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
        | Effect::OwnSchedule { .. }
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
        | Effect::Watch { .. }
        | Effect::Unwatch { .. }
        | Effect::Link { .. }
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
pub(super) fn looks_at_runs(effect: &Effect) -> bool {
    match effect {
        Effect::Campaign(effect) => {
            matches!(&**effect, CampaignEffect::Ask { asked, .. } if asked.ends_runs())
        }
        _ => false,
    }
}

impl<'a> Rows<'a> {
    /// Gathers the rows of an intake's effect; one that is refused for good on its way leaves nothing of it behind.
    pub(super) async fn effect_apart(&mut self, tx: &mut Tx, intake: &'a Intake) -> Result<Applied> {
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
            Effect::OwnSchedule { name, made: Some((timing, document)) } => {
                let (by, now) = (&intake.actor, intake.received_at);
                Ok(Applied::plain(schedule::make(tx, name, (timing, document), by, now).await?))
            }
            Effect::OwnSchedule { name, made: None } => Ok(Applied::plain(schedule::unmake(tx, name).await?)),
            Effect::Drain(new) => {
                drain::begin(tx, self.ids, new, &intake.actor, intake.received_at).await?;
                Ok(Applied::plain(Effected::Done))
            }
            Effect::Undrain { of, boards } => Ok(Applied::plain(drain::end(tx, of, boards).await?)),
            Effect::Watch { of, ids } => {
                let run = match of {
                    Watched::Run(number) => run::by_number(tx, *number).await?,
                    Watched::Family(_) => None,
                };
                let watching = (&intake.actor, of, ids.as_slice());
                Ok(Applied::plain(watches::watch(tx, watching, run.as_ref(), intake.received_at).await?))
            }
            Effect::Unwatch { of, ids } => Ok(Applied::plain(watches::unwatch(tx, of, ids).await?)),
            Effect::Link { asked, note } => {
                let (by, now) = (&intake.actor, intake.received_at);
                let linked = links::asked(tx, self.ids, by, (asked, note), now).await?;
                let applied = Applied::plain(linked.effected).with("other", linked.other);
                Ok(Applied { target: linked.target, ..applied })
            }
            Effect::Log { run, attempt, note } => {
                let told = log::tell(tx, self.ids, (*run, *attempt), note, intake.received_at).await?;
                Ok(Applied::of(if told { Effected::Done } else { Effected::AlreadyTold }, *run))
            }
            Effect::Reload { id, via } => {
                self.reloads.push(ReloadRow { id: *id, via, at: intake.received_at });
                Ok(Applied::plain(Effected::Done))
            }
            Effect::Errand { id, board, action, via, over, once } => {
                let (at, by, once) = (intake.received_at, &intake.actor, once.as_deref());
                if let Some(once) = once
                    && self.is_asked(tx, once).await?
                {
                    return Ok(Applied::plain(Effected::AlreadyAsked));
                }
                self.errands.push(ErrandRow { id: *id, board, action, by, via, at, over: *over, once });
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
        self.asked_by(run, (number, number));
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

    /// Whether a power request was asked for under this, in this group or before.
    async fn is_asked(&self, tx: &mut Tx, once: &str) -> Result<bool> {
        if self.errands.iter().any(|errand| errand.once == Some(once)) {
            return Ok(true);
        }
        let query = link::query(ERRANDS_ONCE).bind(once);
        Ok(query.count(tx.connection().await?).await.map_err(unavailable)? > 0)
    }
}
