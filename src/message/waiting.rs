//! Why a run waits, as facts for templates: the queue's own answer, in plain JSON. Decides nothing.

use std::time::Duration;

use serde_json::{Value, json};

use super::compose::WhyWaiting;
use crate::clock::{Clock, Timestamp};
use crate::id::RunId;
use crate::lease::Holder;
use crate::lease::queue::{Foreseen, Held, Position, Unavailable, Why};
use crate::lease::scheduler::SharedQueue;
use crate::run::{Run, RunState};

/// Asks the queue.
pub struct Explainer {
    queue: SharedQueue,
    clock: Clock,
}

impl Explainer {
    /// An explainer of this queue.
    pub fn new(queue: SharedQueue, clock: Clock) -> Self {
        Explainer { queue, clock }
    }

    /// `{position, why: {kind, …}, eta: {low, high} in seconds or null}`, or `null` when the run does not wait.
    pub fn of(&self, run: RunId, requester: &str) -> Value {
        let now = self.clock.now();
        let (position, why, eta) = {
            let queue = self.queue.lock();
            (queue.position(run), queue.why(run, now), queue.eta(run, now))
        };
        if why == Why::NotWaiting {
            return Value::Null;
        }
        json!({
            "position": position.map(place),
            "why": why_facts(&why, Some((run, requester))),
            "eta": eta.map(|(low, high)| json!({ "low": low.as_secs_f64(), "high": high.as_secs_f64() })),
        })
    }
}

impl WhyWaiting for Explainer {
    fn why_waiting(&self, run: &Run) -> Value {
        // The queue hears of a change a moment after the store, so it still places a run that was just cancelled.
        if matches!(run.state, RunState::Queued { .. }) {
            self.of(run.id, &run.requested_by.key())
        } else {
            Value::Null
        }
    }
}

/// What whoever asks for a board of their own meets: `{position, why, eta}`, as of a run that waits.
pub fn foreseen_facts(foreseen: &Foreseen) -> Value {
    let seconds =
        |(low, high): (Duration, Duration)| json!({ "low": low.as_secs_f64(), "high": high.as_secs_f64() });
    json!({
        "position": place(foreseen.position),
        "why": why_facts(&foreseen.why, None),
        "eta": foreseen.eta.map(seconds),
    })
}

/// `3`, or `1000+`.
pub fn place(position: Position) -> String {
    match position {
        Position::Exact(place) => place.to_string(),
        Position::MoreThan(place) => format!("{place}+"),
    }
}

fn why_facts(why: &Why, who: Option<(RunId, &str)>) -> Value {
    // Between two attempts: the board is still being brought to rest after the first.
    let own = |held: &Held| {
        let run = who.map(|(run, _)| run);
        matches!(&held.holder, Holder::Run { run: holder, .. } if Some(*holder) == run)
    };
    // On a board that they have themselves.
    let theirs = |held: &Held| {
        let requester = who.map(|(_, requester)| requester);
        matches!(&held.holder, Holder::Person(by) if Some(by.key().as_str()) == requester)
    };
    match why {
        Why::OnlyBoard(held) if own(held) => json!({ "kind": "resting", "board": held.board }),
        Why::OnlyBoard(held) if theirs(held) => {
            json!({ "kind": "own", "board": held.board, "run": held.run })
        }
        Why::NotWaiting => Value::Null,
        Why::Granting { .. } | Why::Next => json!({ "kind": "next" }),
        Why::NoBoards => json!({ "kind": "no-boards" }),
        Why::Quota { most, in_use } => json!({ "kind": "quota", "most": most, "in_use": in_use }),
        Why::TooFew { wanted, most } => json!({ "kind": "too-few", "wanted": wanted, "most": most }),
        Why::Unavailable { boards, more } => {
            let boards: Vec<Value> = boards
                .iter()
                .map(|(id, why)| {
                    let (out, reason, until) = unavailable(why);
                    json!({ "id": id, "out": out, "reason": reason, "until": until })
                })
                .collect();
            json!({ "kind": "unavailable", "boards": boards, "more": more })
        }
        Why::Kept { board, number, position, .. } => {
            json!({ "kind": "kept", "board": board, "run": number, "position": place(*position) })
        }
        Why::Behind { position, number, priority, requester, reservation, held, more, .. } => json!({
            "reserves": reservation.then_some(requester),
            "kind": "behind",
            "position": place(*position),
            "first": number,
            "priority": priority.as_str(),
            "boards": held_facts(held),
            "more": more,
        }),
        Why::OnlyBoard(held) => {
            json!({ "kind": "busy", "boards": held_facts(std::slice::from_ref(held)), "more": 0, "only": true })
        }
        Why::AllBusy { held, more } => json!({ "kind": "busy", "boards": held_facts(held), "more": more }),
        Why::Gathering { wanted, free, site, saving, held, more } => json!({
            "kind": "gathering",
            "wanted": wanted,
            "free": free,
            "site": site,
            "saving": saving,
            "boards": held_facts(held),
            "more": more,
        }),
    }
}

fn held_facts(held: &[Held]) -> Vec<Value> {
    let facts = |held: &Held| {
        let why = Some(&held.reason).filter(|reason| !reason.is_empty());
        json!({ "id": held.board, "holder": holder_facts(&held.holder), "until": held.until, "why": why, "run": held.run })
    };
    held.iter().map(facts).collect()
}

/// Who holds a board: `{run: 41}` or `{person: actor}`.
pub fn holder_facts(holder: &Holder) -> Value {
    match holder {
        Holder::Run { number, .. } => json!({ "run": number }),
        Holder::Person(actor) => json!({ "person": actor }),
        Holder::Check(actor) => json!({ "person": actor, "check": true }),
    }
}

/// Why a board is out of service: a word of `words.out`, the reason where one was given, and until when where that is
/// known.
fn unavailable(unavailable: &Unavailable) -> (&'static str, Option<&str>, Option<Timestamp>) {
    match unavailable {
        Unavailable::Quarantined { reason } => ("quarantined", Some(reason), None),
        Unavailable::Offline => ("offline", None, None),
        Unavailable::Draining(draining) => ("draining", Some(&draining.reason), draining.until),
        Unavailable::NoWorker => ("no-worker", None, None),
        Unavailable::WorkerFull => ("worker-full", None, None),
    }
}
