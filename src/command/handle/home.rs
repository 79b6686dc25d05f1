//! What somebody sees who opens the bot's own page in a chat: their boards, their runs, what runs and waits, every board.
//! Each part is the answer to a command, and is refused to whom that is refused. Read-only.

use serde_json::json;

use super::Handler;
use crate::chat::{Actor, AnswerVia, Delivery, Intent, Platform, key_of};
use crate::clock::Timestamp;
use crate::command::Command;
use crate::message::Note;
use crate::store::Result;

impl Handler {
    /// The parts, in order; a refusal alone where somebody may see nothing.
    pub async fn home(&self, actor: &Actor, foreign: bool) -> Result<Vec<Note>> {
        let ask = async |command: Command| {
            let delivery = looked(actor, foreign, command, self.clock.now());
            self.handle(delivery).await.map(|intake| intake.answer)
        };
        let mine = ask(Command::Runs { mine: true }).await?;
        if mine.template != "runs" {
            return Ok(vec![mine]);
        }
        // By whichever of their ids they have them.
        let one = self.inventory.now().people.counts_as(actor);
        let leases = self.store.lease_list().await?;
        let held: Vec<_> = leases
            .iter()
            .filter(|lease| lease.is_held_by(&one))
            .map(|lease| {
                let reason = lease.hold.as_ref().map(|hold| hold.reason.clone()).unwrap_or_default();
                json!({ "board": lease.board, "until": lease.expires_at, "reason": reason })
            })
            .collect();
        let first = Note::new("home", json!({ "held": held, "at": self.clock.now() }));
        let all = ask(Command::Runs { mine: false }).await?;
        let boards = ask(Command::Boards { filter: None }).await?;
        Ok(vec![first, mine, all, boards])
    }
}

/// A look at the page, as if the command had been typed to the bot directly.
fn looked(actor: &Actor, foreign: bool, command: Command, now: Timestamp) -> Delivery {
    let answer_via = AnswerVia::in_person(actor);
    Delivery {
        key: key_of(Platform::Slack, "home"),
        received_at: now,
        sent_at: None,
        place: answer_via.place.clone(),
        actor: actor.clone(),
        foreign,
        direct: true,
        intent: Intent::Command(Box::new(command)),
        answer_via,
        standing: None,
        source: None,
        trigger: None,
        message: None,
    }
}
