//! Who waits here for a board of their own. Several requests may wait for the same place in line: a repeat of one that was
//! hung up on, or another that asks for the same. The place is given up with the last of them, unless somebody was told
//! that it is theirs; and whoever comes while that happens waits until it is done. Nothing is decided here.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::HeaderMap;
use tokio::sync::watch;

use super::super::machine::Problem;
use super::super::{Door, Refusal};
use super::lease::give_back;
use super::unreadable;
use super::who::Caller;
use crate::id::LeaseId;
use crate::store::LeaseView;

/// How often something is looked at again that changed while it was looked at.
pub(super) const LOOKS_MAX: u32 = 3;

/// Most keys of one place that are forgotten with it.
const KEYS_MAX: usize = 256;

/// Who waits for which place in line.
#[derive(Default)]
pub(in crate::door) struct InLine(Mutex<HashMap<LeaseId, Here>>);

/// Those who wait for one.
struct Here {
    /// How many.
    count: usize,
    /// Whether it stays when they have gone.
    stays: bool,
    /// Whether one of them asked first, or saw it wait: then nobody else can have been told of the board.
    ours: bool,
    /// The keys under which they asked.
    keys: Vec<String>,
    /// Closed when the last of them has given it up.
    leaving: Option<watch::Receiver<()>>,
}

impl Here {
    /// One more key that led here; of too many, the oldest is let go of: a repeat under it is told that this is over.
    fn asked_under(&mut self, key: String) {
        if self.keys.contains(&key) {
            return;
        }
        if self.keys.len() >= KEYS_MAX {
            self.keys.remove(0);
        }
        self.keys.push(key);
    }
}

/// What the one who goes leaves behind.
enum Left {
    /// The place stays.
    Stays,
    /// Others wait for it.
    Others,
    /// Nobody: it is to be given up.
    Nobody(Untold, watch::Sender<()>),
}

/// What nobody was told of.
struct Untold {
    /// What was remembered under these keys is forgotten with it.
    keys: Vec<String>,
    /// Whether that is so of the board too, where it is there.
    ours: bool,
}

/// How somebody begins to wait.
#[derive(Clone, Copy)]
pub(super) struct Way {
    /// Whether they stay in line when their time is over.
    pub(super) stays: bool,
    /// Whether it stays where nobody else here waits for it.
    pub(super) alone: bool,
    /// Whether it is there because they asked, and for no repeat.
    pub(super) first: bool,
}

impl InLine {
    fn here(&self) -> MutexGuard<'_, HashMap<LeaseId, Here>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more waits. Where it is being given up, what closes when that is done.
    fn enter(&self, id: LeaseId, key: String, way: Way) -> Result<(), watch::Receiver<()>> {
        match self.here().entry(id) {
            Entry::Vacant(place) => {
                place.insert(Here {
                    count: 1,
                    stays: way.stays || way.alone,
                    ours: way.first,
                    keys: vec![key],
                    leaving: None,
                });
            }
            Entry::Occupied(mut place) => {
                let here = place.get_mut();
                if let Some(leaving) = &here.leaving {
                    return Err(leaving.clone());
                }
                here.count += 1;
                here.stays |= way.stays;
                here.ours |= way.first;
                here.asked_under(key);
            }
        }
        Ok(())
    }

    /// Somebody saw it wait.
    fn seen(&self, id: LeaseId) {
        if let Some(here) = self.here().get_mut(&id) {
            here.ours = true;
        }
    }

    /// Somebody was told that it is theirs.
    fn keep(&self, id: LeaseId) {
        if let Some(here) = self.here().get_mut(&id) {
            here.stays = true;
        }
    }

    fn leave(&self, id: LeaseId) -> Left {
        let mut places = self.here();
        let Some(here) = places.get_mut(&id) else { return Left::Stays };
        here.count = here.count.saturating_sub(1);
        match (here.count, here.stays) {
            (0, true) => {
                places.remove(&id);
                Left::Stays
            }
            (0, false) => {
                let (done, leaving) = watch::channel(());
                here.leaving = Some(leaving);
                Left::Nobody(Untold { keys: here.keys.clone(), ours: here.ours }, done)
            }
            (_, true) => Left::Stays,
            (_, false) => Left::Others,
        }
    }

    /// Whoever was giving it up has it after all.
    fn again(&self, id: LeaseId) {
        if let Some(here) = self.here().get_mut(&id) {
            (here.count, here.leaving) = (1, None);
        }
    }

    /// It is given up.
    fn over(&self, id: LeaseId) {
        self.here().remove(&id);
    }
}

/// Somebody who waits for their board; dropped, they have gone.
pub(super) struct Waiter(Option<Place>);

struct Place {
    door: Arc<Door>,
    caller: Caller,
    id: LeaseId,
}

/// What came of a wait that is over.
pub(super) enum Ended {
    /// The place stays in line.
    Stays,
    /// Nothing.
    Nothing,
    /// The board came in that moment.
    Came(Waiter, LeaseView),
}

impl Waiter {
    /// Somebody waits for this from now on. `key` is what they asked under.
    pub(super) fn enter(
        (door, caller): (Arc<Door>, Caller),
        id: LeaseId,
        key: String,
        way: Way,
    ) -> Result<Waiter, watch::Receiver<()>> {
        door.waits.in_line().enter(id, key, way)?;
        Ok(Waiter(Some(Place { door, caller, id })))
    }

    /// It is no board yet.
    pub(super) fn waits(&self) {
        if let Some(place) = &self.0 {
            place.door.waits.in_line().seen(place.id);
        }
    }

    /// They are told that they have it.
    pub(super) fn told(self) {
        if let Some(place) = &self.0 {
            place.door.waits.in_line().keep(place.id);
        }
    }

    /// Their time is over: they wait no more, and nobody does where they were the last. Goes on also when whoever asked
    /// hangs up meanwhile.
    pub(super) async fn end(mut self) -> Result<Ended, Problem> {
        let Some(place) = self.0.take() else { return Ok(Ended::Nothing) };
        let (untold, done) = match place.door.waits.in_line().leave(place.id) {
            Left::Stays => return Ok(Ended::Stays),
            Left::Others => return Ok(Ended::Nothing),
            Left::Nobody(untold, done) => (untold, done),
        };
        let ended = tokio::spawn(async move {
            let view = place.give_up(&Untold { ours: false, ..untold }).await;
            let in_line = place.door.waits.in_line().clone();
            if let Ok(Some(view @ LeaseView::Lease(_, None))) = view {
                in_line.again(place.id);
                return Ok(Ended::Came(Waiter(Some(place)), view));
            }
            in_line.over(place.id);
            drop(done);
            view.map(|_| Ended::Nothing)
        });
        ended.await.map_err(|error| Refusal::Busy(error.to_string()))?
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let Some(place) = self.0.take() else { return };
        let Left::Nobody(untold, done) = place.door.waits.in_line().leave(place.id) else { return };
        tokio::spawn(async move {
            if place.give_up(&untold).await.is_err() {
                tracing::warn!(lease.id = %place.id, "somebody who waited has gone, and may be given a board all the same");
            }
            place.door.waits.in_line().over(place.id);
            drop(done);
        });
    }
}

impl Place {
    /// Gives up the place in line, and the board too that came where nobody knows that they have it. Gives what there is
    /// then.
    async fn give_up(&self, untold: &Untold) -> Result<Option<LeaseView>, Problem> {
        let Place { door, caller, id } = self;
        let mut failed = None;
        for _ in 0..LOOKS_MAX {
            let view = door.store.lease_view(*id).await.map_err(unreadable)?;
            let is_theirs = match &view {
                Some(LeaseView::Waiting(_)) => true,
                Some(LeaseView::Lease(lease, None)) => untold.ours && lease.is_held_by(&caller.actor),
                Some(LeaseView::Lease(_, Some(_))) | None => false,
            };
            let Some(theirs) = view.as_ref().filter(|_| is_theirs) else { return Ok(view) };
            // It may become another while this is asked for.
            failed = give_back(door, caller, theirs, (&HeaderMap::new(), &untold.keys)).await.err();
        }
        match (door.store.lease_view(*id).await.map_err(unreadable)?, failed) {
            (Some(LeaseView::Waiting(_)), Some(problem)) => Err(problem),
            (view, _) => Ok(view),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::id::Ids;

    fn way(stays: bool, alone: bool) -> Way {
        Way { stays, alone, first: false }
    }

    fn key(n: u32) -> String {
        format!("api:{n}")
    }

    #[test]
    fn a_place_is_given_up_with_the_last_who_waits_and_by_nobody_once_somebody_was_told() {
        let (line, id) = (InLine::default(), LeaseId::new(&Ids::seeded(1), Timestamp::default()));
        assert!(
            line.enter(id, key(1), way(false, false)).is_ok()
                && line.enter(id, key(2), way(false, false)).is_ok()
        );
        assert!(matches!(line.leave(id), Left::Others));
        let Left::Nobody(untold, done) = line.leave(id) else { panic!("the last gives it up") };
        assert_eq!(untold.keys, [key(1), key(2)], "and every key that led to it");
        assert!(!untold.ours, "these are repeats: somebody may have been told of the board before");
        // Whoever comes meanwhile waits, and finds nobody afterwards.
        assert!(line.enter(id, key(3), way(false, false)).is_err());
        line.over(id);
        drop(done);
        assert!(
            line.enter(id, key(3), way(false, false)).is_ok()
                && line.enter(id, key(4), way(false, false)).is_ok()
        );
        line.keep(id);
        assert!(matches!(line.leave(id), Left::Stays) && matches!(line.leave(id), Left::Stays));
        assert!(line.here().is_empty());
    }

    #[test]
    fn a_place_that_lives_on_knows_no_more_keys_than_are_forgotten_with_it() {
        let (line, id) = (InLine::default(), LeaseId::new(&Ids::seeded(1), Timestamp::default()));
        assert!(line.enter(id, key(0), way(false, false)).is_ok());
        let most = u32::try_from(KEYS_MAX).expect("few");
        // Each comes twice and goes; the one from before waits on.
        for n in (1..=most).flat_map(|n| [n, n]) {
            assert!(line.enter(id, key(n), way(false, false)).is_ok());
            assert!(matches!(line.leave(id), Left::Others));
        }
        let Left::Nobody(untold, _done) = line.leave(id) else { panic!("the last gives it up") };
        assert_eq!(untold.keys, (1..=most).map(key).collect::<Vec<_>>(), "the oldest is let go of");
    }

    #[test]
    fn a_place_that_stays_is_left_alone() {
        let (line, id) = (InLine::default(), LeaseId::new(&Ids::seeded(1), Timestamp::default()));
        // It was there before, and nobody here waits for it.
        assert!(line.enter(id, key(1), way(false, true)).is_ok());
        assert!(matches!(line.leave(id), Left::Stays));
        // Somebody waits for it who gives it up: whoever joins does not change that, unless it stays for them.
        assert!(
            line.enter(id, key(1), way(false, false)).is_ok()
                && line.enter(id, key(2), way(false, true)).is_ok()
        );
        assert!(matches!(line.leave(id), Left::Others));
        assert!(line.enter(id, key(3), way(true, true)).is_ok());
        assert!(matches!(line.leave(id), Left::Stays) && matches!(line.leave(id), Left::Stays));
        assert!(line.here().is_empty());
    }

    #[test]
    fn a_board_is_given_back_only_where_one_of_those_here_was_the_first_to_hear_of_it() {
        let (line, id) = (InLine::default(), LeaseId::new(&Ids::seeded(1), Timestamp::default()));
        let first = Way { first: true, ..way(false, false) };
        let ours = |left: Left| matches!(left, Left::Nobody(untold, _) if untold.ours);
        assert!(line.enter(id, key(1), first).is_ok() && line.enter(id, key(1), way(false, false)).is_ok());
        assert!(matches!(line.leave(id), Left::Others) && ours(line.leave(id)));
        line.over(id);
        assert!(line.enter(id, key(1), way(false, false)).is_ok());
        line.seen(id);
        assert!(ours(line.leave(id)));
        line.over(id);
        assert!(line.enter(id, key(1), way(false, false)).is_ok());
        assert!(!ours(line.leave(id)));
    }
}
