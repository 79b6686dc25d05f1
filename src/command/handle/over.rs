//! Power-cycling a board that somebody else has. Whoever may take boards from others reads whose it is and is asked again;
//! what they confirm is done under the holder's own lease, and a run's board is cycled by the run itself. The question names
//! the lease: where the board has changed hands it is asked anew. Nothing here switches anything.

use serde_json::json;

use super::act::cycle_under_run;
use super::hold::hold_in_the_way;
use super::{Handler, Reaction, STALE_AFTER};
use crate::board::Board;
use crate::board::plan::PowerAction;
use crate::chat::{Delivery, Platform};
use crate::clock::Timestamp;
use crate::command::policy::{About, Asked, Permission};
use crate::command::{Click, Command, Verb};
use crate::lease::{Fence, Holder, Lease};
use crate::message::{Note, Phrase};
use crate::run::RunState;
use crate::store::{Effect, Result};

/// The question.
const QUESTION: &str = "power-held";

/// Whether an answer asks whoever gets it something that is theirs to decide.
pub(super) fn is_question(answer: &Note) -> bool {
    answer.template == QUESTION
}

impl Handler {
    /// What is said to whoever would switch a board that somebody else has: a question where they may power-cycle it anyway.
    pub(super) async fn in_anothers_hands(
        &self,
        delivery: &Delivery,
        board: &Board,
        action: &PowerAction,
        lease: &Lease,
    ) -> Result<Reaction> {
        let mut note = hold_in_the_way("power-refused", lease);
        note.facts.insert("action".into(), json!(action.as_str()));
        let is_person = Platform::CHATS.contains(&delivery.actor.platform) || delivery.is_from_page();
        if is_person && *action == PowerAction::Cycle && self.may_take_away(delivery, board).is_allowed() {
            let run = self.attempt_on(lease).await?;
            if run.is_some() || matches!(lease.holder, Holder::Person(_)) {
                note.template = QUESTION.into();
                note.facts.insert("question_at".into(), json!(self.clock.now()));
                note.facts.insert("number".into(), json!(run.map(|(number, _)| number)));
            }
        }
        Ok(Reaction::says(note))
    }

    /// An answer to the question: role, holder and lease are looked at again.
    pub(super) async fn click_over(&self, delivery: &Delivery, click: &Click) -> Result<Reaction> {
        let name = click.board.as_ref().map_or("", |board| board.as_str());
        if click.verb == Verb::Leave {
            return Ok(Reaction::says(Note::new("power-left", json!({ "board": name }))));
        }
        let lab = self.inventory.now();
        let Some(board) = lab.board(name) else {
            return Ok(Reaction::refused(
                Phrase::new("board-left", json!({ "board": name })),
                &[],
                "/lab boards",
            ));
        };
        let leases = self.store.lease_list().await?;
        let lease = leases.iter().find(|lease| lease.board == board.id);
        let own_board = lease.is_some_and(|lease| lease.is_held_by(&delivery.actor));
        let about = About { own_run: false, own_board, family: Some(board.family.as_str()) };
        let mut because = match self.permission_about(Asked::Click(click.verb), delivery, about) {
            Permission::Allowed { because } => because,
            Permission::Denied(denial) => {
                return Ok(self.denied(delivery, "power", format!("{} cycle", board.id), &denial));
            }
        };
        let is_fresh = click.at.is_some_and(|at| delivery.received_at.since(at) <= STALE_AFTER);
        let meant = lease.filter(|lease| !own_board && is_fresh && lease.fence == Fence(click.generation));
        let mut reaction = match meant {
            Some(lease) => match self.may_take_away(delivery, board) {
                Permission::Denied(denial) => {
                    return Ok(self.denied(delivery, "power", format!("{} cycle", board.id), &denial));
                }
                Permission::Allowed { because: may } => {
                    because = format!("{may}; under the lease of {}", holder_key(lease));
                    self.cycle_over(delivery, board, lease, click).await?
                }
            },
            // It was asked a while ago, and what was meant may be on the board no more.
            None if !is_fresh && lease.is_none() => {
                Reaction::says(Note::new("stale-click", json!({ "board": board.id })))
            }
            None => self.switch(delivery, board, PowerAction::Cycle, Some(click.value())).await?,
        };
        if !matches!(reaction.effect, Effect::None) {
            reaction.audit.allowed = true;
            reaction.audit.reason = because;
        }
        Ok(reaction)
    }

    /// Cycles a board under the lease that somebody else has: through the run that is on it, where one is.
    async fn cycle_over(
        &self,
        delivery: &Delivery,
        board: &Board,
        lease: &Lease,
        click: &Click,
    ) -> Result<Reaction> {
        Ok(match (self.attempt_on(lease).await?, &lease.holder) {
            (Some((number, attempt_at)), _) => cycle_under_run(delivery, number, &board.id, attempt_at),
            (None, Holder::Person(_)) => {
                let asked = (Some(lease.fence), Some(click.value()));
                self.errand(delivery, board, PowerAction::Cycle, asked)
            }
            // It is being brought to rest.
            (None, Holder::Run { .. } | Holder::Check(_)) => {
                self.in_anothers_hands(delivery, board, &PowerAction::Cycle, lease).await?
            }
        })
    }

    /// The run that drives a leased board, and when its attempt began.
    async fn attempt_on(&self, lease: &Lease) -> Result<Option<(i64, Timestamp)>> {
        let number = match (&lease.holder, lease.hold.as_ref().and_then(|hold| hold.run)) {
            (Holder::Run { number, .. }, _) => *number,
            (_, Some((number, _))) => number,
            (Holder::Person(_) | Holder::Check(_), None) => return Ok(None),
        };
        let view = self.store.run_view(number).await?;
        Ok(view.and_then(|view| match &view.run.state {
            RunState::Active { started_at, .. } => Some((number, *started_at)),
            RunState::Queued { .. } | RunState::Finished { .. } => None,
        }))
    }

    /// Whether whoever asks may take this board from others.
    fn may_take_away(&self, delivery: &Delivery, board: &Board) -> Permission {
        let command = Command::Release { target: Some(board.id.to_string()), lease: None, undoes: vec![] };
        let about = About { family: Some(board.family.as_str()), ..About::default() };
        self.permission_about(Asked::Command(&command), delivery, about)
    }
}

/// Whose lease it is, for the audit log.
fn holder_key(lease: &Lease) -> String {
    match &lease.holder {
        Holder::Run { number, .. } => format!("run #{number}"),
        Holder::Person(by) | Holder::Check(by) => by.key(),
    }
}
