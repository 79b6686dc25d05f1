//! The app's Home in Slack: drawn whenever somebody opens it, from what they may see, and drawn anew for a while after that
//! when their boards or runs have changed. No effect, and nothing is owed: one that could not be drawn is drawn a moment
//! later, or when it is opened again. Whoever opens theirs and whoever types waits for nobody else's.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;

use crate::chat::slack::client::{SlackClient, SlackError};
use crate::chat::slack::home;
use crate::chat::{Actor, AnswerVia};
use crate::clock::Monotonic;
use crate::door::{Door, Refusal};
use crate::doorbell::Bell;
use crate::message::{Note, Phrase};
use crate::store::StoreError;
use crate::worker::steps::{Agent, LOOK_ANYWAY, LOOK_EVERY, Step};

/// For how long after somebody opened their Home it follows what becomes of their boards and runs.
pub const HOME_FOLLOWS: Duration = Duration::from_secs(15 * 60);
/// Most people whose Home does; one more, and it is forgotten of whoever opened theirs first.
pub const HOMES_MAX: usize = 50;
/// Most Homes that are looked at in one step, of which one is drawn: Slack takes some hundred a minute from all of us.
const LOOKS_MAX: usize = 8;
/// How often the Home of one person is drawn anew at most.
const DRAWN_EVERY: Duration = Duration::from_secs(3);
/// How long none is drawn after one that could not be.
const FAILED_PAUSE: Duration = Duration::from_secs(5);

/// The parts of a Home that are about whose it is: their boards, and their runs.
const OWN_PARTS: usize = 2;

/// Who opened their Home of late, and what they read there.
#[derive(Default)]
pub struct Homes(Mutex<VecDeque<Opened>>);

#[derive(Clone)]
struct Opened {
    actor: Actor,
    foreign: bool,
    /// When; also tells one opening from the next.
    at: Monotonic,
    looked_at: Monotonic,
    drawn_at: Option<Monotonic>,
    /// What of it is their own, as it was drawn last.
    own: Vec<Note>,
}

impl Homes {
    fn list(&self) -> MutexGuard<'_, VecDeque<Opened>> {
        self.0.lock().expect("homes lock")
    }

    /// Somebody opens theirs.
    fn opened(&self, actor: &Actor, foreign: bool, now: Monotonic) -> Opened {
        let mut list = self.list();
        list.retain(|opened| opened.actor.id != actor.id);
        if list.len() >= HOMES_MAX {
            list.pop_front();
        }
        let actor = actor.clone();
        let opened = Opened { actor, foreign, at: now, looked_at: now, drawn_at: None, own: vec![] };
        list.push_back(opened.clone());
        opened
    }

    /// Those to look at now, who was looked at longest ago first.
    fn due(&self, now: Monotonic) -> Vec<Opened> {
        let mut list = self.list();
        list.retain(|opened| now.since(opened.at) <= HOME_FOLLOWS);
        let rests = |opened: &&Opened| opened.drawn_at.is_some_and(|at| now.since(at) < DRAWN_EVERY);
        let mut due: Vec<Opened> = list.iter().filter(|opened| !rests(opened)).cloned().collect();
        due.sort_by_key(|opened| opened.looked_at);
        due.truncate(LOOKS_MAX);
        due
    }

    /// One was looked at, and drawn where `own` says how. Where another opening has followed meanwhile, nobody knows which
    /// of the two is shown: it is drawn once more.
    fn note(&self, opened: &Opened, now: Monotonic, own: Option<Vec<Note>>) {
        let mut list = self.list();
        let Some(one) = list.iter_mut().find(|one| one.actor.id == opened.actor.id) else { return };
        one.looked_at = now;
        if let Some(own) = own {
            let is_same = one.at == opened.at;
            (one.drawn_at, one.own) = (Some(now), if is_same { own } else { vec![] });
        }
    }

    fn is_empty(&self) -> bool {
        self.list().is_empty()
    }
}

/// Shows somebody their boards, their runs, the line and the lab.
pub(super) async fn opened(door: &Door, actor: Actor, foreign: bool) -> Result<(), Refusal> {
    let Some(slack) = &door.slack_views else { return Ok(()) };
    let Some(_place) = door.waits.enter() else {
        tracing::warn!("too many wait for something already: a Home is not drawn");
        return Ok(());
    };
    let opened = door.homes.opened(&actor, foreign, door.clock.monotonic());
    let notes = door.handler.home(&actor, foreign).await;
    let notes = notes.map_err(|error| Refusal::Busy(error.to_string()))?;
    match draw(door, slack, &actor, &notes).await {
        Ok(()) => door.homes.note(&opened, door.clock.monotonic(), Some(own(&notes))),
        Err(error) => tracing::warn!(%error, "a Home could not be drawn"),
    }
    Ok(())
}

async fn draw(door: &Door, slack: &SlackClient, actor: &Actor, notes: &[Note]) -> Result<(), SlackError> {
    let place = AnswerVia::in_person(actor).place;
    let cards = notes.iter().map(|note| door.composer.note_to(note, &place, &actor.id)).collect();
    let run = serde_json::json!(Phrase::new("home-run", serde_json::json!({})));
    let run = door.composer.words_to(&run, &place, &actor.id);
    slack.publish_view(&actor.id, &home::render(cards, &run)).await
}

/// What of a Home is somebody's own, whenever it is drawn.
fn own(notes: &[Note]) -> Vec<Note> {
    let mut own: Vec<Note> = notes.iter().take(OWN_PARTS).cloned().collect();
    own.iter_mut().for_each(|note| drop(note.facts.remove("at")));
    own
}

/// Draws Homes anew that were opened of late.
pub struct Redraws {
    door: Arc<Door>,
    /// Until when none is drawn.
    rests_until: Option<Monotonic>,
}

impl Redraws {
    /// Redraws what is opened at this door.
    pub fn new(door: Arc<Door>) -> Self {
        Redraws { door, rests_until: None }
    }
}

#[async_trait]
impl Agent for Redraws {
    fn name(&self) -> &'static str {
        "redraws"
    }

    fn bell(&self) -> Option<Bell> {
        None
    }

    async fn step(&mut self) -> Result<Step, StoreError> {
        let Redraws { door, rests_until } = self;
        let now = door.clock.monotonic();
        // A commit wakes every loop, also one that rests.
        if let Some(until) = rests_until.filter(|until| *until > now) {
            return Ok(Step::Idle { until });
        }
        let Some(slack) = &door.slack_views else { return Ok(Step::Idle { until: now + LOOK_ANYWAY }) };
        for opened in door.homes.due(now) {
            let notes = door.handler.home(&opened.actor, opened.foreign).await?;
            let own = own(&notes);
            if own == opened.own {
                door.homes.note(&opened, now, None);
                continue;
            }
            if let Err(error) = draw(door, slack, &opened.actor, &notes).await {
                tracing::warn!(%error, "a Home could not be drawn anew");
                let pause = match error {
                    SlackError::RateLimited(pause) => pause.max(FAILED_PAUSE),
                    _ => FAILED_PAUSE,
                };
                *rests_until = Some(now + pause);
                return Ok(Step::Idle { until: now + pause });
            }
            door.homes.note(&opened, now, Some(own));
            break;
        }
        let pause = if door.homes.is_empty() { LOOK_ANYWAY } else { LOOK_EVERY };
        Ok(Step::Idle { until: now + pause })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Platform;
    use crate::clock::Clock;

    fn somebody(id: &str) -> Actor {
        Actor { platform: Platform::Slack, id: id.into(), team: String::new(), name: String::new() }
    }

    #[test]
    fn as_many_homes_follow_as_may_and_a_few_at_a_time() {
        let (homes, now) = (Homes::default(), Clock::system().monotonic());
        for n in 0..=HOMES_MAX {
            homes.opened(&somebody(&format!("U{n}")), false, now);
            homes.opened(&somebody(&format!("U{n}")), false, now);
        }
        assert_eq!(homes.list().len(), HOMES_MAX);
        assert_eq!(homes.list()[0].actor.id, "U1", "who opened theirs first is forgotten");
        let mut seen = 0;
        for step in 1.. {
            let due = homes.due(now);
            assert!(due.len() <= LOOKS_MAX);
            let later = now + Duration::from_millis(step);
            let fresh = due.iter().filter(|opened| opened.looked_at == now).count();
            due.iter().for_each(|opened| homes.note(opened, later, None));
            seen += fresh;
            if fresh == 0 {
                break;
            }
        }
        assert_eq!(seen, HOMES_MAX, "each has its turn");
    }

    #[test]
    fn a_home_rests_after_it_was_drawn_and_follows_for_a_while() {
        let (homes, now) = (Homes::default(), Clock::system().monotonic());
        homes.opened(&somebody("U1"), false, now);
        let first = homes.due(now).remove(0);
        homes.note(&first, now, Some(vec![]));
        assert!(homes.due(now + DRAWN_EVERY / 2).is_empty());
        assert_eq!(homes.due(now + DRAWN_EVERY).len(), 1);
        // What was drawn for an opening before may stand there now: nothing is known of this one.
        homes.opened(&somebody("U1"), false, now + DRAWN_EVERY);
        homes.note(&first, now + DRAWN_EVERY, Some(vec![Note::new("home", serde_json::json!({}))]));
        assert_eq!(homes.due(now + DRAWN_EVERY * 2).remove(0).own, []);
        assert!(homes.due(now + DRAWN_EVERY + HOME_FOLLOWS + Duration::from_secs(1)).is_empty());
        assert!(homes.is_empty());
    }
}
