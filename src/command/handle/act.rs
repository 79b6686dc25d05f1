//! Commands that change running things: cancel, retry, power. Each says beforehand what is answered if the run has
//! moved on by the time the effect is committed.

use serde_json::json;

use super::hold::hold_in_the_way;
use super::{Handler, Reaction, put_right};
use crate::board::plan::PowerAction;
use crate::board::{Board, BoardId};
use crate::chat::{Delivery, Place};
use crate::clock::Timestamp;
use crate::command::policy::{About, Asked, Permission};
use crate::command::{Click, Command, RunRef, grammar};
use crate::id::{MessageId, RunId};
use crate::lease::Fence;
use crate::message::{Note, Phrase};
use crate::outcome::{Counts, Outcome, Verdict};
use crate::run::{RunState, Stage};
use crate::store::{Audit, Effect, NewRun, Result, RunView};

impl Handler {
    pub(super) fn cancel(&self, delivery: &Delivery, view: &RunView) -> Reaction {
        let number = view.run.number;
        let outcome = withdrawn(delivery);
        let facts = json!({ "number": number, "by": delivery.actor });
        let note = self.withdrawal(delivery, view, &outcome);
        Reaction {
            effect: Effect::Cancel { run: number, by: delivery.actor.clone(), outcome, note },
            answer: Note::new("cancel-done", &facts),
            instead: vec![
                ("asked", Note::new("cancel-asked", &facts)),
                ("already-finished", self.already_finished(view)),
            ],
            audit: audit("cancel", format!("#{number}")),
        }
    }

    /// What the thread of a run is told that ends while it waits.
    pub(super) fn withdrawal(&self, delivery: &Delivery, view: &RunView, outcome: &Outcome) -> Note {
        let mut note = self.composer.outcome_note("run-cancelled", view, 0, outcome);
        note.facts.insert("by".into(), json!(delivery.actor));
        note
    }

    /// Starts the same again, on the same terms, asked for by whoever asks now; on the board that it was on, where they
    /// have that as their own.
    pub(super) async fn retry(
        &self,
        delivery: &Delivery,
        view: &RunView,
        other_board: bool,
        once: Option<String>,
    ) -> Result<Reaction> {
        let old = &view.run;
        if !old.spec.kind.is_test() {
            let reason = Phrase::new("health-run", json!({ "number": old.number }));
            let board = view.attempts.last().map(|attempt| attempt.board.to_string());
            return Ok(Reaction::refused(reason, &[], format!("/lab board {}", board.unwrap_or_default())));
        }
        if !matches!(old.state, RunState::Finished { .. }) {
            let reason = Phrase::new("not-finished", json!({ "number": old.number }));
            return Ok(Reaction::refused(reason, &[], format!("/lab cancel {}", old.number)));
        }
        if let Err(refusal) = self.still_possible(&old.spec, &self.registered(&old.spec).await?) {
            return Ok(*refusal);
        }
        if let Err(refusal) = self.within_quota(delivery, &old.spec, 1) {
            return Ok(*refusal);
        }
        let last_board = view.attempts.last().map(|attempt| attempt.board.clone());
        let mut spec = old.spec.clone();
        // Where it ran because somebody had a board of their own, nobody has asked for that board.
        if std::mem::take(&mut spec.on_own_board) {
            spec.selector.board = None;
        }
        let wanted = spec.selector.board.clone();
        if !other_board && spec.selector.board.is_none() {
            spec.selector.board = last_board.clone();
        }
        let own = self.own_board(delivery, &spec).await?;
        if own.is_none() {
            spec.selector.board = wanted.clone();
        }
        spec.on_own_board = spec.selector.board != wanted;
        let avoid = if other_board { last_board.into_iter().collect() } else { vec![] };
        let now = self.clock.now();
        // A button stands on the old card; who types is told where they type.
        let at = |place: &Place| (place.platform, place.channel.clone());
        let typed_elsewhere = once.is_none() && at(&delivery.place) != at(&old.origin);
        let origin = if typed_elsewhere { &delivery.place } else { &old.origin };
        let run = NewRun {
            id: RunId::new(&self.ids, now),
            spec,
            requested_by: delivery.actor.clone(),
            origin: origin.clone(),
            cards: self.card_places(origin),
            via: Some(delivery.answer_via.clone()),
            callback: None,
            created_at: now,
            retry_of: Some(old.number),
            once: None,
            avoid,
            message: self.badged(delivery),
        };
        let facts =
            json!({ "of": old.number, "by": delivery.actor, "run": self.composer.run_facts(view)["run"] });
        Ok(Reaction {
            effect: Effect::Retry {
                of: old.number,
                once,
                run: Box::new(run),
                note: Note::new("run-retried", &facts),
            },
            answer: self.accepted(&old.spec, 1, Some(old.number), (delivery, origin), own.as_ref()),
            instead: vec![("already-retried", Note::new("already-retried", &facts))],
            audit: audit("retry", format!("#{}", old.number)),
        })
    }

    pub(super) async fn power(
        &self,
        delivery: &Delivery,
        name: &str,
        action: PowerAction,
    ) -> Result<Reaction> {
        let (board, action) = match (self.board_named(delivery, name), action) {
            (Ok(board), action) => (board, action),
            // `power recovery soc-a-001` says the same.
            (Err(refusal), PowerAction::Sequence(word)) => match self.board_named(delivery, &word) {
                Ok(board) => (board, PowerAction::from(name.to_owned())),
                Err(_) => return Ok(*refusal),
            },
            (Err(refusal), _) => return Ok(*refusal),
        };
        match sequence_of(delivery, &board, action) {
            Ok(action) => self.switch(delivery, &board, action, None).await,
            Err(refusal) => Ok(*refusal),
        }
    }

    /// Switches a board as an errand: it is nobody's, or only read. With `once`, however often the same is asked.
    pub(super) async fn switch(
        &self,
        delivery: &Delivery,
        board: &Board,
        action: PowerAction,
        once: Option<String>,
    ) -> Result<Reaction> {
        if !self.inventory.now().is_switched_here(board) {
            let reason = Phrase::new("remote-board", json!({ "board": board.id, "site": board.site }));
            return Ok(Reaction::refused(reason, &[], format!("/lab board {}", board.id)));
        }
        if !board.power.has_switch() && !matches!(action, PowerAction::Sequence(_)) {
            let reason = Phrase::new("no-switch", json!({ "board": board.id }));
            return Ok(Reaction::refused(reason, &[], format!("/lab board {}", board.id)));
        }
        // Looked at again under a lease of its own; who has it now need not be told that it is on its way.
        let leases = self.store.lease_list().await?;
        let held =
            leases.into_iter().find(|lease| lease.board == board.id && !lease.is_held_by(&delivery.actor));
        if let Some(lease) = held.filter(|_| action != PowerAction::Status) {
            return self.in_anothers_hands(delivery, board, &action, &lease).await;
        }
        Ok(self.errand(delivery, board, action, (None, once)))
    }

    /// A power request on its way; `over` is the lease of somebody else that it is done under.
    pub(super) fn errand(
        &self,
        delivery: &Delivery,
        board: &Board,
        action: PowerAction,
        (over, once): (Option<Fence>, Option<String>),
    ) -> Reaction {
        let id = MessageId::new(&self.ids, self.clock.now());
        let facts = json!({ "board": board.id, "action": action.as_str(), "errand": id });
        let (board, via) = (board.id.clone(), delivery.answer_via.clone());
        Reaction {
            answer: Note::new("power-asked", &facts),
            instead: vec![("already-asked", Note::new("power-asked", &facts))],
            audit: audit("power", format!("{board} {}", action.as_str())),
            effect: Effect::Errand { id, board, action, via, over, once },
        }
    }

    /// The lab file is read again by its own loop, which tells how that went.
    pub(super) fn reload(&self, delivery: &Delivery) -> Reaction {
        Reaction {
            audit: audit("reload", String::new()),
            effect: Effect::Reload {
                id: MessageId::new(&self.ids, self.clock.now()),
                via: delivery.answer_via.clone(),
            },
            answer: Note::new("reload-asked", json!({})),
            instead: vec![],
        }
    }

    /// A board is taken out of service; the store says whether it was in service.
    pub(super) async fn quarantine(&self, delivery: &Delivery, name: &str, reason: &str) -> Result<Reaction> {
        let board = match self.board_named(delivery, name) {
            Ok(board) => board.id,
            Err(refusal) => return Ok(*refusal),
        };
        let rows = self.store.board_list().await?;
        let row = rows.into_iter().find(|row| row.id == board);
        let lease = row.as_ref().and_then(|row| row.lease.as_ref());
        if let Some(lease) = lease.filter(|lease| lease.hold.is_some() && !lease.is_held_by(&delivery.actor))
        {
            return Ok(Reaction::says(hold_in_the_way("quarantine-refused", lease)));
        }
        let facts = json!({
            "board": board, "reason": reason, "by": delivery.actor, "holder": lease.map(|lease| &lease.holder),
        });
        let before = json!({ "board": board, "row": row.as_ref().map(super::read::health_facts) });
        Ok(Reaction {
            audit: audit("quarantine", format!("{board} {reason}")),
            effect: Effect::Quarantine { board, reason: reason.to_owned() },
            answer: Note::new("board-quarantined", facts),
            instead: vec![("already-quarantined", Note::new("board-already-quarantined", before))],
        })
    }

    /// A quarantined board may be granted again; the store says whether it was one.
    pub(super) fn return_to_service(&self, delivery: &Delivery, name: &str) -> Reaction {
        let board = match self.board_named(delivery, name) {
            Ok(board) => board.id,
            Err(refusal) => return *refusal,
        };
        let facts = json!({ "board": board });
        Reaction {
            audit: audit("return", board.to_string()),
            effect: Effect::Return { board },
            answer: Note::new("board-returned", &facts),
            instead: vec![("not-quarantined", Note::new("board-not-quarantined", &facts))],
        }
    }

    /// Return on the message about a board that left service: that board, while it is out for that reason still.
    pub(super) async fn click_return(&self, delivery: &Delivery, click: Click) -> Result<Reaction> {
        let view = match self.find(delivery, RunRef::Number(click.run)).await? {
            Ok(view) => view,
            Err(refusal) => return Ok(*refusal),
        };
        let attempt = view.attempts.iter().find(|attempt| i64::from(attempt.number) == click.generation);
        let Some(attempt) = attempt else {
            let reason = Phrase::new("never-on-that-board", json!({ "number": click.run }));
            return Ok(Reaction::refused(reason, &[], "/lab boards"));
        };
        let rows = self.store.board_list().await?;
        let quarantine =
            rows.iter().find(|row| row.id == attempt.board).and_then(|row| row.quarantine.as_ref());
        if quarantine.is_some_and(|quarantine| Some(quarantine.at) != attempt.ended_at) {
            let reason = Phrase::new("returned-meanwhile", json!({ "board": attempt.board }));
            return Ok(Reaction::refused(reason, &[], format!("/lab board {}", attempt.board)));
        }
        self.command(delivery, Command::Return { board: attempt.board.to_string() }).await
    }

    /// Power Cycle on a card: through the run's own Runner while it is on its board, as an errand afterwards.
    pub(super) async fn click_power_cycle(&self, delivery: &Delivery, click: Click) -> Result<Reaction> {
        let view = match self.find(delivery, RunRef::Number(click.run)).await? {
            Ok(view) => view,
            Err(refusal) => return Ok(*refusal),
        };
        let own_run = self.is_same(&view.run.requested_by, delivery);
        let number = view.run.number;
        let stale = |facts| Ok(Reaction::says(Note::new("stale-click", facts)));
        let (board, live) = match (&view.run.state, view.attempts.last()) {
            // The board that the person read in the question is the board that is cycled.
            (RunState::Active { lease, started_at, .. }, _) if click.at == Some(*started_at) => {
                (lease.board.clone(), click.at)
            }
            (RunState::Active { .. }, _) => return stale(json!({ "number": number })),
            (RunState::Queued { .. }, _) => {
                return stale(json!({ "number": number, "waiting": true }));
            }
            // It was meant for a run that was still on its board.
            (RunState::Finished { .. }, _) if click.generation < view.generation => {
                return stale(json!({ "number": number, "finished": true }));
            }
            (RunState::Finished { .. }, Some(attempt)) => (attempt.board.clone(), None),
            (RunState::Finished { .. }, None) => {
                let reason = Phrase::new("never-on-board", json!({ "number": number }));
                return Ok(Reaction::refused(reason, &[], format!("/lab why {number}")));
            }
        };
        // While the run is on it, the board is the requester's; afterwards it is the lab's.
        let command = Command::Power { board: board.to_string(), action: PowerAction::Cycle };
        let asked = if live.is_some() { Asked::Click(click.verb) } else { Asked::Command(&command) };
        let own_board = live.is_none() && self.is_about_own_board(delivery, &command).await?;
        let family = Some(view.run.spec.family.as_str());
        let because = match self.permission_about(asked, delivery, About { own_run, own_board, family }) {
            Permission::Allowed { because } => because,
            Permission::Denied(denial) => {
                return Ok(self.denied(delivery, click.verb.as_str(), format!("{board} cycle"), &denial));
            }
        };
        let mut reaction = match live {
            Some(attempt_at) => cycle_under_run(delivery, number, &board, attempt_at),
            None => match self.inventory.now().board(board.as_str()) {
                Some(board) => self.switch(delivery, board, PowerAction::Cycle, None).await?,
                None => {
                    let reason = Phrase::new("board-left", json!({ "board": board }));
                    return Ok(Reaction::refused(reason, &[], "/lab boards"));
                }
            },
        };
        if !matches!(reaction.effect, Effect::None) {
            reaction.audit.allowed = true;
            reaction.audit.reason = because;
        }
        Ok(reaction)
    }

    pub(super) fn already_finished(&self, view: &RunView) -> Note {
        Note::new("already-finished", self.composer.run_facts(view))
    }
}

/// The action, a sequence as the board's boards.yaml spells it; a refusal where the board has none like that.
fn sequence_of(
    delivery: &Delivery,
    board: &Board,
    action: PowerAction,
) -> std::result::Result<PowerAction, Box<Reaction>> {
    let PowerAction::Sequence(typed) = action else { return Ok(action) };
    let names = || board.power.sequences.keys().map(String::as_str);
    if let Some(name) = names().find(|name| name.eq_ignore_ascii_case(&typed)) {
        return Ok(PowerAction::Sequence(name.to_owned()));
    }
    let plain = PowerAction::PLAIN;
    let near = grammar::near(&typed, plain.iter().map(PowerAction::as_str).chain(names())).map(str::to_owned);
    let next = near.as_ref().map_or(format!("/lab board {}", board.id), |near| {
        put_right(delivery, &[(typed.clone(), near.clone())])
            .unwrap_or_else(|| format!("/lab power {} {near}", board.id))
    });
    let known: Vec<&str> = plain.iter().map(PowerAction::as_str).chain(names()).collect();
    let reason = Phrase::new("no-sequence", json!({ "board": board.id, "name": typed, "known": known }));
    Err(Box::new(Reaction::refused(reason, &near.into_iter().collect::<Vec<_>>(), next)))
}

/// Asks the Runner of a run to cycle the board it is on, as long as it is in that attempt.
pub(super) fn cycle_under_run(
    delivery: &Delivery,
    number: i64,
    board: &BoardId,
    attempt_at: Timestamp,
) -> Reaction {
    let facts = json!({ "number": number, "board": board, "by": delivery.actor });
    let stale = Note::new("stale-click", &facts);
    Reaction {
        effect: Effect::PowerCycle { run: number, attempt_at, by: delivery.actor.clone() },
        answer: Note::new("power-cycle-asked", &facts),
        instead: vec![
            ("asked", Note::new("power-cycle-asked", &facts)),
            ("already-finished", stale.clone()),
            ("not-on-board", stale.clone()),
            ("other-attempt", stale),
        ],
        audit: audit("power", format!("{board} cycle")),
    }
}

/// How a run ends that is cancelled while it waits.
pub(super) fn withdrawn(delivery: &Delivery) -> Outcome {
    Outcome {
        verdict: Verdict::Cancelled,
        cause: "cancelled".into(),
        stage: Stage::Queued,
        detail: format!("ended by {} while it waited", delivery.actor.shown()),
        excerpt: vec![],
        cases: vec![],
        counts: Counts::default(),
    }
}

/// The audit row of a command that changes something; who decided why is added by the caller.
pub(super) fn audit(verb: &str, target: String) -> Audit {
    debug_assert!(grammar::find(verb).is_some(), "{verb} is a verb of the grammar");
    Audit { verb: verb.into(), target, allowed: false, reason: String::new() }
}
