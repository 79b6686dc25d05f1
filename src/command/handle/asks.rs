//! What people ask about boards that are not theirs, or not yet: the board of a run should it fail, word when one comes free,
//! whether somebody still needs theirs, and to hand one over. Each is answered at once; whoever it concerns is told in
//! person.

use std::time::Duration;

use serde_json::json;

use super::act::audit;
use super::hold::{Target, hold_in_the_way, not_held};
use super::hours::InsteadOf;
use super::watch::nobody_to_write_to;
use super::{Handler, Reaction, closed_facts};
use crate::board::{Board, BoardId};
use crate::chat::{Actor, Delivery, Platform};
use crate::command::Click;
use crate::id::{LeaseId, MessageId};
use crate::lease::{Fence, Holder, Lease, Reservation};
use crate::message::{Note, Phrase};
use crate::outcome::Verdict;
use crate::run::{RunState, Selector};
use crate::store::{BoardRow, Closing, Effect, Health, Notice, Result, RunView};

/// For how long a board is kept after a failure where nobody says.
const KEEP_FOR: Duration = Duration::from_secs(30 * 60);
/// Longest id of a person, in bytes.
const PERSON_BYTES_MAX: usize = 64;

impl Handler {
    /// Keeps the board of a run as it is: should the run fail, while it is not over; at once where it has failed and nobody
    /// has the board.
    pub(super) async fn hold(
        &self,
        delivery: &Delivery,
        view: &RunView,
        lasts: Option<Duration>,
        click: Option<&Click>,
    ) -> Result<Reaction> {
        let (number, lasts) = (view.run.number, lasts.unwrap_or(KEEP_FOR));
        let board = match &view.run.state {
            RunState::Active { lease, .. } => self.inventory.now().board(lease.board.as_str()).cloned(),
            RunState::Queued { .. } => None,
            RunState::Finished { .. } => {
                let last = view.attempts.last().map(|attempt| attempt.board.clone());
                last.and_then(|board| self.inventory.now().board(board.as_str()).cloned())
            }
        };
        if let Some(refusal) = self.driven_elsewhere(&view.run.spec.family, board.as_ref()) {
            return Ok(refusal);
        }
        if let Some(refusal) = self.too_long(delivery, "hold", &format!("#{number}"), lasts) {
            return Ok(refusal);
        }
        let RunState::Finished { outcome, .. } = &view.run.state else {
            if let Err(refusal) = self.hours_with(delivery, lasts, InsteadOf::Keep(number)).await? {
                return Ok(*refusal);
            }
            let facts = json!({ "number": number, "lasts_s": lasts.as_secs_f64(), "by": delivery.actor });
            return Ok(Reaction {
                effect: Effect::Keep { run: number, lasts },
                answer: Note::new("keep-asked", &facts),
                instead: vec![("already-finished", Note::new("stale-click", json!({ "finished": true })))],
                audit: audit("hold", format!("#{number}")),
            });
        };
        // It was meant for a run that was not over.
        if click.is_some_and(|click| click.generation < view.generation) {
            return Ok(Reaction::says(Note::new(
                "stale-click",
                json!({ "number": number, "finished": true }),
            )));
        }
        let board = view.attempts.last().map(|attempt| attempt.board.clone());
        match (board, outcome.verdict) {
            (Some(board), Verdict::Failed | Verdict::TimedOut | Verdict::Infra) => {
                if let Err(refusal) = self.hours_with(delivery, lasts, InsteadOf::Keep(number)).await? {
                    return Ok(*refusal);
                }
                self.take_after(delivery, view, board, lasts).await
            }
            (_, verdict) => {
                let facts = json!({ "number": number, "verdict": verdict.as_str() });
                let reason = Phrase::new("nothing-to-look-at", facts);
                Ok(Reaction::refused(reason, &[], format!("/lab run {number}")))
            }
        }
    }

    /// Takes the board that a run failed on, if nobody has it.
    async fn take_after(
        &self,
        delivery: &Delivery,
        view: &RunView,
        board: BoardId,
        lasts: Duration,
    ) -> Result<Reaction> {
        let lab = self.inventory.now();
        if let Some(refusal) = self.driven_elsewhere(&view.run.spec.family, lab.boards.get(&board)) {
            return Ok(refusal);
        }
        let leases = self.store.lease_list().await?;
        match leases.iter().find(|lease| lease.board == board) {
            Some(lease) if lease.is_held_by(&delivery.actor) => {
                return Ok(Reaction::says(self.yours(delivery, lease)));
            }
            Some(lease) => return Ok(Reaction::says(hold_in_the_way("hold-refused", lease))),
            None => {}
        }
        let closed = match lab.boards.get(&board) {
            Some(board) => self.closed(board).await?,
            None => None,
        };
        // Whoever may drain a board is who works on it while it does.
        let anyway = self.is_operator(delivery);
        if let Some(closed) = closed.filter(|_| !anyway) {
            let mut facts = closed_facts(&closed);
            facts["board"] = json!(board);
            return Ok(Reaction::says(Note::new("hold-drains", facts)));
        }
        let wish = Reservation {
            id: LeaseId::new(&self.ids, delivery.received_at),
            by: delivery.actor.clone(),
            family: view.run.spec.family.clone(),
            board: Some(board.clone()),
            lasts,
            reason: format!("after #{}", view.run.number),
            asked_at: delivery.received_at,
            place: i64::MAX,
        };
        let gone = Note::new("hold-refused", json!({ "board": board, "holder": null }));
        let most = self.inventory.now().reservations.most;
        let full = json!({ "wanted": board, "too_many": true, "most": most });
        let full = Note::new("reserve-queued", full);
        Ok(Reaction {
            answer: gone.clone(),
            instead: vec![("not-theirs", gone), ("too-many", full)],
            audit: audit("hold", format!("#{} {board}", view.run.number)),
            effect: Effect::Reserve {
                at_once: vec![(board.clone(), self.reserved(delivery, &board, lasts, &wish.reason))],
                wish,
                or_wait: false,
                most,
                drains_seen: (!anyway).then(|| self.queue.drains_seen()),
                instance: self.instance,
            },
        })
    }

    /// Tells the one who asks once when a board comes free.
    pub(super) async fn notify(&self, delivery: &Delivery, target: &str) -> Result<Reaction> {
        if let Some(refusal) = nobody_to_write_to(delivery) {
            return Ok(refusal);
        }
        let (family, board) = match self.target_named(delivery, target) {
            Ok(Target::Board(board)) => (board.family.clone(), Some(board.id)),
            Ok(Target::Family(family)) => (family, None),
            Err(refusal) => return Ok(*refusal),
        };
        let wanted = board.as_ref().map_or(family.to_string(), BoardId::to_string);
        let selector = Selector { board: board.clone(), ..Selector::default() };
        let waiting = self.queue.lock().outlook(&family, &selector).waiting;
        let (lab, rows) = (self.inventory.now(), self.store.board_list().await?);
        let drains = self.store.drain_list().await?;
        let closing = Closing::at(&lab, &drains, self.clock.now());
        let is_free = |row: &BoardRow| {
            let takes_new = |is: &Board| is.family == family && closing.of(is).is_none();
            let fits = board.as_ref().is_none_or(|board| *board == row.id)
                && lab.boards.get(&row.id).is_some_and(takes_new);
            fits && row.lease.is_none() && row.health != Health::Quarantined
        };
        if waiting == 0 && rows.iter().any(is_free) {
            return Ok(Reaction::says(Note::new("notify-asked", json!({ "wanted": wanted, "free": true }))));
        }
        let facts = |extra: &str| {
            let mut note = Note::new("notify-asked", json!({ "wanted": wanted }));
            note.facts.insert(extra.to_owned(), json!(true));
            note
        };
        let at = delivery.received_at;
        let id = MessageId::new(&self.ids, at);
        Ok(Reaction {
            answer: Note::new("notify-asked", json!({ "wanted": wanted })),
            instead: vec![("already-waiting", facts("already")), ("too-many", facts("too_many"))],
            audit: audit("notify", wanted),
            effect: Effect::Notify(Notice { id, by: delivery.actor.clone(), family, board, asked_at: at }),
        })
    }

    /// Asks whoever has a board whether they still need it.
    pub(super) async fn nudge(&self, delivery: &Delivery, name: &str) -> Result<Reaction> {
        let board = match self.board_named(delivery, name) {
            Ok(board) => board.id,
            Err(refusal) => return Ok(*refusal),
        };
        let leases = self.store.lease_list().await?;
        match leases.iter().find(|lease| lease.board == board && lease.hold.is_some()) {
            Some(lease) if !lease.is_held_by(&delivery.actor) => Ok(self.nudged(delivery, lease)),
            Some(lease) => Ok(Reaction::says(self.yours(delivery, lease))),
            None => Ok(not_held(Some(&board), &leases)),
        }
    }

    pub(super) fn nudged(&self, delivery: &Delivery, lease: &Lease) -> Reaction {
        let mut note = Note::new("nudge", self.facts_of(delivery, lease));
        note.facts.insert("asked_by".into(), json!(delivery.actor));
        let facts = json!({ "board": lease.board, "holder": lease.holder });
        let mut soon = Note::new("nudged", &facts);
        soon.facts.insert("too_soon".into(), json!(true));
        Reaction {
            effect: Effect::Nudge { board: lease.board.clone(), fence: lease.fence, note },
            answer: Note::new("nudged", &facts),
            instead: vec![
                ("too-soon", soon),
                ("not-theirs", Note::new("hold-gone", json!({ "board": lease.board }))),
            ],
            audit: audit("nudge", lease.board.to_string()),
        }
    }

    /// Offers the board that the one who asks has to somebody.
    pub(super) async fn hand_over(&self, delivery: &Delivery, name: &str, person: &str) -> Result<Reaction> {
        let lease = match self.their_lease(delivery, Some(name), "handover").await? {
            Ok(lease) => lease,
            Err(refusal) => return Ok(*refusal),
        };
        let to = person_of(delivery, person).map(|to| self.inventory.now().people.counts_as(&to));
        let Some(to) = to else {
            let reason = Phrase::new("nobody", json!({ "name": person }));
            return Ok(Reaction::refused(reason, &[], format!("/lab handover {} @…", lease.board)));
        };
        if to.key() == delivery.actor.key() {
            return Ok(Reaction::says(self.yours(delivery, &lease)));
        }
        let mut note = Note::new("offered", self.facts_of(delivery, &lease));
        note.facts.insert("to".into(), json!(to));
        let facts = json!({ "board": lease.board, "to": to });
        Ok(Reaction {
            answer: Note::new("handover-asked", &facts),
            instead: vec![("not-theirs", Note::new("hold-gone", json!({ "board": lease.board })))],
            audit: audit("handover", format!("{} {}", lease.board, to.key())),
            effect: Effect::Offer { board: lease.board.clone(), fence: lease.fence, to, note },
        })
    }

    /// Takes the board that the one who presses was offered.
    pub(super) async fn accepted_offer(&self, delivery: &Delivery, lease: &Lease) -> Result<Reaction> {
        let left = lease.ends_at().since(delivery.received_at);
        if let Err(refusal) = self.hours_with(delivery, left, InsteadOf::Nothing).await? {
            return Ok(*refusal);
        }
        let mut note = Note::new("handed-over", self.facts_of(delivery, lease));
        note.facts.insert("to".into(), json!(delivery.actor));
        note.facts.remove("fence");
        let mut mine = self.facts_of(delivery, lease);
        mine["by"] = json!(delivery.actor);
        let gone = Note::new("hold-gone", json!({ "board": lease.board }));
        let run = lease.hold.as_ref().and_then(|hold| hold.run).map(|(number, _)| number);
        let busy = Note::new("offer-busy", json!({ "board": lease.board, "run": run }));
        Ok(Reaction {
            effect: Effect::Accept {
                board: lease.board.clone(),
                fence: lease.fence,
                id: LeaseId::new(&self.ids, delivery.received_at),
                note,
            },
            answer: Note::new("reserved", mine),
            instead: vec![("not-theirs", gone), ("goes-on", busy)],
            audit: audit("handover", format!("{} accepted", lease.board)),
        })
    }

    /// The lease that a button about a board names, while it is somebody's.
    pub(super) async fn lease_of_button(&self, click: &Click) -> Result<Option<Lease>> {
        let leases = self.store.lease_list().await?;
        let meant = |lease: &Lease| {
            Some(&lease.board) == click.board.as_ref()
                && lease.fence == Fence(click.generation)
                && matches!(lease.holder, Holder::Person(_))
                && lease.hold.is_some()
        };
        Ok(leases.into_iter().find(meant))
    }
}

/// A person as a platform writes them where they were picked from its list: by their id.
pub(super) fn person_of(delivery: &Delivery, typed: &str) -> Option<Actor> {
    let id = typed.trim_start_matches('@');
    let platform = delivery.place.platform;
    let is_id = match platform {
        Platform::Slack => id.starts_with(['U', 'W']) && !id.contains(|c: char| c.is_ascii_lowercase()),
        Platform::Feishu => id.starts_with("ou_"),
        Platform::Jenkins | Platform::Api => false,
    };
    let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (is_id && plain && id.len() <= PERSON_BYTES_MAX).then(|| Actor {
        platform,
        id: id.to_owned(),
        team: delivery.actor.team.clone(),
        name: String::new(),
    })
}
