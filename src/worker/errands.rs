//! Errands: the loop that switches boards for people. A board that somebody holds is skipped, saying by whom; a free
//! one is held for a moment by a lease of kind `check`, and whoever has a board as their own switches it under that lease.
//! So does who may take boards away and said so knowing whose it is; the holder is told. Reading an outlet needs no lease.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokio::task::{self, JoinError, JoinSet};

use super::finalize::give_back;
use super::occupied::Part;
use super::runner::Lab;
use super::steps::{Agent, LOOK_ANYWAY, LOOK_EVERY, Step};
use crate::board::Board;
use crate::board::plan::PowerAction;
use crate::board::power::sequence;
use crate::chat::AnswerVia;
use crate::doorbell::Bell;
use crate::id::{InstanceId, LeaseId, MessageId};
use crate::lease::{Grip, Holder, Lease};
use crate::message::compose::hold_facts;
use crate::message::{Note, Phrase};
use crate::run::LeaseRef;
use crate::store::{AtRest, Errand, Fenced, Granted, LeaseTerms, StoreError};

/// Most errands at work at once.
pub const ERRANDS_MAX: usize = 64;
/// Most errands that are given up; with so many the store is beyond an errand, and no more are begun.
const GIVEN_UP_MAX: usize = 1_000;
/// How long a power request may wait before it is answered and not done: power that switches long after it was
/// asked for surprises somebody.
const ASKED_WITHIN: Duration = Duration::from_secs(10 * 60);
/// How long a lease of kind `check` lasts: longer than the slowest cycle.
const CHECK_LASTS: Duration = Duration::from_secs(180);
/// How much longer for each step of a power sequence.
const SEQUENCE_STEP_LASTS: Duration = Duration::from_secs(30);
/// How long before the end of its lease an errand stops: nothing is switched that may be somebody else's.
const CHECK_MARGIN: Duration = Duration::from_secs(10);

/// Does errands.
pub struct Errands {
    lab: Arc<Lab>,
    instance: InstanceId,
    at_work: JoinSet<Result<(), StoreError>>,
    taken: HashMap<task::Id, Errand>,
    /// Errands that were done and whose end the store refuses for good: power must not be switched again for them.
    given_up: HashSet<MessageId>,
    /// Errands that died at work, in this life or one before: their boards are taken away from them, the people are told.
    dead: Vec<Errand>,
}

impl Errands {
    /// Errands done by `instance`.
    pub fn new(lab: Arc<Lab>, instance: InstanceId) -> Self {
        Errands {
            lab,
            instance,
            at_work: JoinSet::new(),
            taken: HashMap::new(),
            given_up: HashSet::new(),
            dead: vec![],
        }
    }

    /// Waits up to `within` until every errand at work is done; whoever asked for what is not hears after the next start
    /// that nobody knows how far it came.
    pub async fn drain(&mut self, within: Duration) {
        let clock = self.lab.clock.clone();
        let _ = clock.timeout(within, async { while self.at_work.join_next().await.is_some() {} }).await;
        self.at_work.shutdown().await;
    }

    async fn reap(&mut self) -> Result<(), StoreError> {
        while let Some(end) = self.at_work.try_join_next_with_id() {
            let id = end.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
            let Some(errand) = self.taken.remove(&id) else { continue };
            match end {
                Ok((_, Ok(()))) => {}
                Ok((_, Err(error))) => {
                    tracing::error!(board.id = %errand.board, %error, "an errand is done and cannot be answered");
                    self.given_up.insert(errand.id);
                }
                Err(error) => {
                    tracing::error!(%error, "an errand died");
                    self.dead.push(errand);
                }
            }
        }
        while let Some(errand) = self.dead.last() {
            match self.bury(errand).await {
                Err(error) if error.is_lasting() => {
                    tracing::error!(board.id = %errand.board, %error, "an errand that died cannot be answered");
                    self.given_up.insert(errand.id);
                }
                buried => buried?,
            }
            self.dead.pop();
        }
        Ok(())
    }

    /// An errand that died holds its board no longer, and is answered.
    async fn bury(&self, errand: &Errand) -> Result<(), StoreError> {
        // Its own alone: whoever asked may have left the board, which comes to rest under a lease in their name.
        let its = |lease: &Lease| lease.instance == self.instance && lease.id == errand.lease();
        let leases = self.lab.store.lease_list().await?;
        let lab = self.lab.inventory.now();
        let theirs = leases.iter().find(|lease| lease.board == errand.board && is_over(errand, lease));
        let now = self.lab.clock.now();
        let lapsed: Vec<LeaseId> = leases.iter().filter(|lease| its(lease)).map(|lease| lease.id).collect();
        self.lab.store.lease_lapse(&lapsed, now).await?;
        let reason = Phrase::new("errand-died", json!({}));
        let facts = json!({ "board": errand.board, "action": errand.action.as_str(), "reason": reason });
        let answer = Note::new("power-refused", facts);
        let board = lab.board(errand.board.as_str());
        let told = theirs.and_then(|lease| told_failed(errand, board, lease, &answer));
        self.lab.store.errand_done(errand.id, &answer, told.as_ref(), now).await?;
        self.lab.doorbell.ring(Bell::Relay);
        self.lab.doorbell.ring(Bell::Scheduler);
        Ok(())
    }
}

#[async_trait]
impl Agent for Errands {
    fn name(&self) -> &'static str {
        "errands"
    }

    fn bell(&self) -> Option<Bell> {
        Some(Bell::Errands)
    }

    async fn step(&mut self) -> Result<Step, StoreError> {
        self.reap().await?;
        let page = ERRANDS_MAX + self.given_up.len();
        for errand in self.lab.store.errand_due(page as u32).await? {
            let is_taken = self.taken.values().any(|taken| taken.id == errand.id);
            if errand.begun && !is_taken && !self.given_up.contains(&errand.id) {
                // Another life of this server died over it. Switching again would surprise whoever uses the board.
                self.dead.push(errand);
                continue;
            }
            let may_begin = self.taken.len() < ERRANDS_MAX && self.given_up.len() < GIVEN_UP_MAX;
            if may_begin && !is_taken && !self.given_up.contains(&errand.id) {
                let (lab, instance, asked) = (self.lab.clone(), self.instance, errand.clone());
                let task = self.at_work.spawn(async move {
                    let (answer, holder) = perform(&lab, instance, &asked).await;
                    let done = || lab.store.errand_done(asked.id, &answer, holder.as_ref(), lab.clock.now());
                    let told = lab.persist(done).await;
                    lab.doorbell.ring(Bell::Relay);
                    lab.doorbell.ring(Bell::Scheduler);
                    [Bell::Errands, Bell::Pool, Bell::Keeper]
                        .iter()
                        .for_each(|bell| lab.doorbell.ring(*bell));
                    told
                });
                self.taken.insert(task.id(), errand);
            }
        }
        if !self.dead.is_empty() {
            return Ok(Step::Worked);
        }
        let wait = if self.taken.is_empty() { LOOK_ANYWAY } else { LOOK_EVERY };
        Ok(Step::Idle { until: self.lab.clock.monotonic() + wait })
    }
}

/// Why a board is not at rest whose switch did not end in time.
const TOOK_LONG: &str = "it took too long, and how far it came is not known";

/// What somebody is told.
type Told = (AnswerVia, Note);

/// Does one errand and says how it ended: to whoever asked, and to the holder whose board it was to be done to, who was told
/// that it would be.
async fn perform(lab: &Lab, instance: InstanceId, errand: &Errand) -> (Note, Option<Told>) {
    let mut under = None;
    let answer = switched(lab, instance, errand, &mut under).await;
    let inventory = lab.inventory.now();
    let board = inventory.board(errand.board.as_str());
    let told = under.and_then(|lease| told_failed(errand, board, &lease, &answer));
    (answer, told)
}

/// Does one errand; `under` is the lease of somebody else that it was begun under, whose holder was told.
async fn switched(lab: &Lab, instance: InstanceId, errand: &Errand, under: &mut Option<Lease>) -> Note {
    let facts = |extra: serde_json::Value| {
        let mut facts = json!({ "board": errand.board, "action": errand.action.as_str() });
        if let (Some(facts), Some(extra)) = (facts.as_object_mut(), extra.as_object()) {
            facts.extend(extra.clone());
        }
        facts
    };
    let refused = |reason: Phrase| Note::new("power-refused", facts(json!({ "reason": reason })));
    // What a device or the store said is told as it said it.
    let failed = |reason: String| Note::new("power-refused", facts(json!({ "reason": reason })));
    let now = lab.clock.now();
    if now.since(errand.asked_at) > ASKED_WITHIN {
        return refused(Phrase::new("errand-too-old", json!({})));
    }
    let inventory = lab.inventory.now();
    let Some(board) = inventory.board(errand.board.as_str()) else {
        return refused(Phrase::new("board-left", json!({ "board": errand.board })));
    };
    if !inventory.is_switched_here(board) {
        return refused(Phrase::new("remote-board", json!({ "board": board.id, "site": board.site })));
    }
    if errand.action == PowerAction::Status {
        return match lab.power.status(board).await {
            Ok(state) => Note::new("power-done", facts(json!({ "state": state.as_str() }))),
            Err(error) => failed(error.to_string()),
        };
    }
    let lasts = lasts(board, &errand.action);
    let terms = LeaseTerms { instance, now, expires_at: now + lasts, drains_seen: None };
    let holder = Holder::Check(errand.by.clone());
    let id = errand.lease();
    match lab.persist(|| lab.store.lease_take(id, &errand.board, &holder, &terms)).await {
        Err(error) => failed(error.to_string()),
        Ok(Granted::Leases(leases)) => match leases.into_iter().next() {
            Some(lease) => switch(lab, lease, board, errand, lasts, &facts).await,
            None => failed("no lease was given".into()),
        },
        Ok(Granted::Taken(lease)) if is_under(errand, &lease) => {
            let (left, over) = (lasts.min(lease.expires_at.since(now)), told_over(errand, board, &lease));
            let named = LeaseRef { id: lease.id, board: lease.board.clone(), fence: lease.fence };
            let phrase = |own, anothers| if over.is_some() { anothers } else { own };
            if left <= CHECK_MARGIN {
                return refused(Phrase::new(phrase("hold-almost-over", "their-time-almost-over"), json!({})));
            }
            match lab.persist(|| lab.store.errand_begin(errand.id, &named, over.as_ref(), now)).await {
                Ok(Fenced::Done) => {
                    *under = over.is_some().then(|| (*lease).clone());
                    switch(lab, *lease, board, errand, left, &facts).await
                }
                Ok(Fenced::Stale) => refused(Phrase::new(phrase("hold-in-use", "board-in-use"), json!({}))),
                Err(error) => failed(error.to_string()),
            }
        }
        Ok(Granted::Taken(lease)) => {
            let hold = lease.hold.as_ref();
            let mut facts = facts(json!({
                "reason": "held", "holder": lease.holder, "until": hold.map(|_| lease.expires_at),
                "why": hold.map(|hold| &hold.reason), "fence": lease.fence,
            }));
            // Who has it now is another than whom the question named: it is asked again.
            let asks = errand.over.is_some() && matches!(lease.holder, Holder::Person(_));
            if asks {
                facts["question_at"] = json!(now);
                facts["number"] = json!(hold.and_then(|hold| hold.run).map(|(number, _)| number));
            }
            Note::new(if asks { "power-held" } else { "power-refused" }, facts)
        }
        Ok(Granted::OutOfService { reason, .. }) => failed(reason),
        // Taken whatever drains, a board is never that.
        Ok(Granted::Outdated | Granted::Gone) => {
            refused(Phrase::new("board-left", json!({ "board": errand.board })))
        }
    }
}

/// Whether an errand is done under this lease: the board is theirs who asked, or theirs who asked knew whose it is.
fn is_under(errand: &Errand, lease: &Lease) -> bool {
    lease.is_held_by(&errand.by) || lease.hold.is_some() && errand.over == Some(lease.fence)
}

/// What somebody is told on whose board another does something.
fn told_over(errand: &Errand, board: &Board, lease: &Lease) -> Option<(AnswerVia, Note)> {
    let Holder::Person(holder) = &lease.holder else { return None };
    if lease.is_held_by(&errand.by) {
        return None;
    }
    let reason = lease.hold.as_ref().map_or("", |hold| hold.reason.as_str());
    let mut note =
        Note::new("hold-cycled", hold_facts(&lease.board, Some(board), holder, lease.expires_at, reason));
    note.facts.insert("cycled_by".into(), json!(errand.by));
    note.facts.insert("fence".into(), json!(lease.fence));
    Some((AnswerVia::in_person(holder), note))
}

/// Whether an errand was to be done under this lease of somebody else.
fn is_over(errand: &Errand, lease: &Lease) -> bool {
    lease.hold.is_some() && errand.over == Some(lease.fence) && !lease.is_held_by(&errand.by)
}

/// What somebody is told whose board another was to do something to, which failed or nobody knows how far it came.
fn told_failed(errand: &Errand, board: Option<&Board>, lease: &Lease, answer: &Note) -> Option<Told> {
    let Holder::Person(holder) = &lease.holder else { return None };
    if !is_over(errand, lease) || answer.template != "power-refused" {
        return None;
    }
    let reason = lease.hold.as_ref().map_or("", |hold| hold.reason.as_str());
    let facts = hold_facts(&lease.board, board, holder, lease.expires_at, reason);
    let mut note = Note::new("hold-cycle-failed", facts);
    note.facts.insert("cycled_by".into(), json!(errand.by));
    note.facts.insert("problem".into(), answer.facts.get("reason").cloned().unwrap_or_default());
    note.facts.insert("fence".into(), json!(lease.fence));
    Some((AnswerVia::in_person(holder), note))
}

/// How long what is asked for may take.
fn lasts(board: &Board, action: &PowerAction) -> Duration {
    match action {
        PowerAction::Sequence(name) => board.power.sequences.get(name).map_or(CHECK_LASTS, |steps| {
            CHECK_LASTS + sequence::waits(steps) + SEQUENCE_STEP_LASTS * steps.len() as u32
        }),
        PowerAction::On | PowerAction::Off | PowerAction::Cycle | PowerAction::Status => CHECK_LASTS,
    }
}

async fn switch(
    lab: &Lab,
    lease: Lease,
    board: &Board,
    errand: &Errand,
    lasts: Duration,
    facts: &(dyn Fn(serde_json::Value) -> serde_json::Value + Sync),
) -> Note {
    let is_held = lease.hold.is_some();
    let _on = lab.occupied.enter([lease.board.clone()], Part::Switch);
    // What somebody else does to it does not keep a board that its holder forgot.
    if lease.is_held_by(&errand.by) {
        lab.used.note(&lease.board, lab.clock.now());
    }
    let named = LeaseRef { id: lease.id, board: lease.board, fence: lease.fence };
    let grip = Grip::new(named, lab.store.trust());
    let switching = Box::pin(lab.power.act(&grip, board, &errand.action));
    let done = match lab.clock.timeout(lasts.saturating_sub(CHECK_MARGIN), switching).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err(TOOK_LONG.to_owned()),
    };
    // Whatever happened on this board before, its power was just switched by the one who holds it.
    if done.is_ok() && board.power.is_cut_by(&errand.action) {
        let _ = lab.persist(|| lab.store.lease_fenced(grip.lease(), lab.clock.now())).await;
    }
    let rest = match &done {
        Ok(_) => AtRest::Yes,
        Err(problem) => AtRest::No(problem.clone()),
    };
    if !is_held {
        give_back(lab, &grip, &rest).await;
    }
    match done {
        Ok(state) => Note::new("power-done", facts(json!({ "state": state.map(|s| s.as_str()) }))),
        Err(problem) if problem == TOOK_LONG => {
            Note::new("power-refused", facts(json!({ "reason": Phrase::new("errand-took-long", json!({})) })))
        }
        Err(problem) => Note::new("power-refused", facts(json!({ "reason": problem }))),
    }
}
