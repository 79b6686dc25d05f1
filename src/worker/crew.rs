//! The crew: the workers of remote sites as this process knows them, and what each has to do. Who is heard, and how long ago,
//! is counted on the monotonic clock from when this process heard it; a row in the store says since when somebody is known, and
//! never whether they are there. Nothing is granted or taken away here.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;

use super::wire::{FREED_AFTER, GIVEN_WITHIN, SWITCHED_FOR, TRUSTED_FOR, Work};
use crate::board::Site;
use crate::clock::{Clock, Monotonic, Timestamp};
use crate::id::{InstanceId, LeaseId};
use crate::lease::{Grip, Lease, Trust};
use crate::run::LeaseRef;
use crate::store::{NewWorker, WorkerRow};

/// The workers that are known. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Crew {
    clock: Clock,
    members: Arc<Mutex<HashMap<InstanceId, Member>>>,
    /// Names of those that somebody drains.
    drained: Arc<Mutex<HashSet<String>>>,
}

/// One life of a worker.
struct Member {
    row: WorkerRow,
    /// Which start of which machine it runs on; `None` where it did not say so to this process.
    machine: Option<String>,
    /// When this process heard it last; `None` where it never did.
    heard: Option<Monotonic>,
    /// When its leases were last renewed, or this process began.
    renewed: Monotonic,
    /// Leases that it was given since its work was looked at.
    given: usize,
    work: watch::Sender<Arc<Work>>,
    /// Signs of life.
    beats: u64,
    /// Whether it said that it drives nothing any more.
    over: bool,
    /// How long this process may switch for it.
    trust: Trust,
    /// What is switched for it.
    grips: Vec<Weak<Grip>>,
}

/// How a worker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is heard, and takes work.
    Alive,
    /// It is heard, and takes nothing new, since somebody drains it.
    Draining,
    /// It is heard, and ends what it has.
    Leaving,
    /// It was not heard for a while: it is given nothing new.
    Silent,
    /// It was not heard for so long that its boards are free.
    Lost,
    /// It was told to stop, and is not heard any more.
    Stopped,
}

impl Standing {
    /// The word in answers and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Alive => "alive",
            Standing::Draining => "draining",
            Standing::Leaving => "leaving",
            Standing::Silent => "silent",
            Standing::Lost => "lost",
            Standing::Stopped => "stopped",
        }
    }
}

/// How the boards of a remote site are served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Served {
    /// By nobody.
    #[default]
    No,
    /// By a worker that has as many boards as it takes.
    Full,
    /// By a worker that takes more.
    Yes,
}

/// A worker as it is shown.
#[derive(Debug, Clone)]
pub struct Shown {
    /// What is known of it.
    pub row: WorkerRow,
    /// How it stands.
    pub standing: Standing,
    /// Whether it is the one that its site's boards are given to.
    pub on_duty: bool,
    /// How many leases it drives under.
    pub boards: usize,
    /// Signs of life that this process heard.
    pub beats: u64,
}

impl Crew {
    /// Nobody yet.
    pub fn new(clock: Clock) -> Self {
        Crew { clock, members: Arc::default(), drained: Arc::default() }
    }

    /// Those that are known from before: each has its time anew, since nobody here knows when it was heard last.
    pub fn load(&self, rows: Vec<WorkerRow>) {
        rows.into_iter().for_each(|row| self.put(row, None, None));
    }

    /// Whether another life of a worker that begins may drive boards still. The lock of its folder says that it does not,
    /// but on one machine only: a folder that was copied, or has moved, may be in use where it was.
    pub fn may_live_twice(&self, new: &NewWorker, machine: &str) -> bool {
        let now = self.clock.monotonic();
        let members = self.members();
        let mut before = members.values().filter(|member| is_before(&member.row.worker, new) && !member.over);
        before.any(|member| {
            let is_elsewhere = member.machine.as_deref() != Some(machine);
            // Where it was not heard yet it counts from when this process began.
            !machine.is_empty()
                && is_elsewhere
                && now.since(member.heard.unwrap_or(member.renewed)) < TRUSTED_FOR
        })
    }

    /// A worker begins: nothing is switched any more for its life before.
    pub fn begins(&self, new: &NewWorker) {
        let mut members = self.members();
        members.values_mut().filter(|member| is_before(&member.row.worker, new)).for_each(Member::end);
    }

    /// A worker has begun; its life before is over.
    pub fn joined(&self, row: WorkerRow, machine: &str) {
        let now = self.clock.monotonic();
        self.members().retain(|instance, member| {
            let is_over = member.row.worker.id == row.worker.id || is_before(&member.row.worker, &row.worker);
            let stays = *instance == row.worker.instance || !is_over;
            if !stays {
                member.end();
            }
            stays
        });
        self.put(row, Some(now), Some(machine.to_owned()));
    }

    fn put(&self, row: WorkerRow, heard: Option<Monotonic>, machine: Option<String>) {
        let now = self.clock.monotonic();
        let mut members = self.members();
        let member = members.entry(row.worker.instance).or_insert_with(|| Member {
            row: row.clone(),
            machine: None,
            heard,
            renewed: now,
            given: 0,
            work: watch::Sender::new(Arc::default()),
            beats: 0,
            over: false,
            trust: Trust::lasting(self.clock.clone(), SWITCHED_FOR),
            grips: vec![],
        });
        (member.row, member.heard) = (row, heard.or(member.heard));
        member.machine = machine.or(member.machine.take());
    }

    /// A worker says something.
    pub fn heard(&self, instance: InstanceId) {
        let now = self.clock.monotonic();
        if let Some(member) = self.members().get_mut(&instance) {
            member.heard = Some(now);
        }
    }

    /// The leases of a worker were renewed.
    pub fn renewed(&self, instance: InstanceId, at: Timestamp) {
        let now = self.clock.monotonic();
        if let Some(member) = self.members().get_mut(&instance) {
            (member.heard, member.renewed, member.row.seen_at) = (Some(now), now, at);
            member.trust.renew(Some(now));
            member.beats += 1;
        }
    }

    /// A worker takes nothing new any more.
    pub fn left(&self, instance: InstanceId, at: Timestamp) {
        if let Some(member) = self.members().get_mut(&instance) {
            member.row.left_at.get_or_insert(at);
        }
    }

    /// A worker drives nothing any more: what it has still may be taken from it at once.
    pub fn over(&self, instance: InstanceId) {
        if let Some(member) = self.members().get_mut(&instance) {
            member.over = true;
            member.end();
        }
    }

    /// Workers whose rows are kept no longer.
    pub fn forget(&self, instances: &[InstanceId]) {
        let mut members = self.members();
        for instance in instances {
            if let Some(mut member) = members.remove(instance) {
                member.end();
            }
        }
    }

    /// A board of a worker, in the hand of this process for one request to its switch. `None` where it is over.
    pub fn grip(&self, instance: InstanceId, lease: LeaseRef) -> Option<Arc<Grip>> {
        let mut members = self.members();
        let member = members.get_mut(&instance).filter(|member| member.trust.holds())?;
        let grip = Arc::new(Grip::new(lease, member.trust.clone()));
        member.grips.retain(|grip| grip.strong_count() > 0);
        member.grips.push(Arc::downgrade(&grip));
        Some(grip)
    }

    /// A worker lets go of boards: nothing is switched for it there any more.
    pub fn let_go(&self, instance: InstanceId, leases: &[LeaseId]) {
        let members = self.members();
        let grips = members.get(&instance).into_iter().flat_map(|member| member.grips.iter());
        grips
            .filter_map(Weak::upgrade)
            .filter(|grip| leases.contains(&grip.lease().id))
            .for_each(|grip| grip.lose());
    }

    /// Somebody drains these, and no others.
    pub fn drains(&self, names: HashSet<String>) {
        *self.drained.lock().unwrap_or_else(PoisonError::into_inner) = names;
    }

    /// Whether this is a lease of the worker of that name.
    pub fn has(&self, id: &str, lease: &Lease) -> bool {
        self.members().get(&lease.instance).is_some_and(|member| member.row.worker.id == id)
    }

    /// The row of a worker's life.
    pub fn row(&self, instance: InstanceId) -> Option<WorkerRow> {
        self.members().get(&instance).map(|member| member.row.clone())
    }

    /// Every worker, by name.
    pub fn shown(&self) -> Vec<Shown> {
        let members = self.members();
        let mut shown: Vec<Shown> = members
            .values()
            .map(|member| Shown {
                row: member.row.clone(),
                standing: self.standing(member),
                on_duty: self.on_duty(&members, &member.row.worker.site) == Some(member.row.worker.instance),
                boards: member.boards(),
                beats: member.beats,
            })
            .collect();
        shown.sort_by(|a, b| a.row.worker.id.cmp(&b.row.worker.id));
        shown
    }

    /// The lives of all workers.
    pub fn instances(&self) -> Vec<InstanceId> {
        self.members().keys().copied().collect()
    }

    /// Workers that were not heard for so long that what they drove is to be taken away.
    pub fn lost(&self) -> Vec<WorkerRow> {
        let members = self.members();
        let lost = members.values().filter(|member| self.is_lost(member));
        lost.map(|member| member.row.clone()).collect()
    }

    /// Workers that said that they drive nothing any more.
    pub fn ended(&self) -> Vec<InstanceId> {
        let members = self.members();
        members.values().filter(|member| member.over).map(|member| member.row.worker.instance).collect()
    }

    /// How the boards of a site are served.
    pub fn served(&self, site: &Site) -> Served {
        let members = self.members();
        let on_duty = self.on_duty(&members, site).and_then(|instance| members.get(&instance));
        on_duty.map_or(Served::No, |member| if member.has_room(1) { Served::Yes } else { Served::Full })
    }

    /// The worker that is given so many boards of a site; `None` where none takes so many.
    pub fn give(&self, site: &Site, boards: usize) -> Option<InstanceId> {
        let mut members = self.members();
        let instance = self.on_duty(&members, site)?;
        let member = members.get_mut(&instance).filter(|member| member.has_room(boards))?;
        member.given += boards;
        Some(instance)
    }

    /// What a worker has to do, now and whenever it is something else.
    pub fn work(&self, instance: InstanceId) -> Option<watch::Receiver<Arc<Work>>> {
        self.members().get(&instance).map(|member| member.work.subscribe())
    }

    /// A worker has this to do.
    pub fn publish(&self, instance: InstanceId, work: Work) {
        if let Some(member) = self.members().get_mut(&instance) {
            member.given = 0;
            member.work.send_if_modified(|before| {
                let is_new = **before != work;
                if is_new {
                    *before = Arc::new(work);
                }
                is_new
            });
        }
    }

    /// The worker that a site's boards are given to: the one that began first of those that are alive. One alone, since
    /// switches and console servers have no patience for two.
    fn on_duty(&self, members: &HashMap<InstanceId, Member>, site: &Site) -> Option<InstanceId> {
        let alive = members
            .values()
            .filter(|member| member.row.worker.site == *site && self.standing(member) == Standing::Alive);
        let first = alive.min_by(|a, b| {
            (a.row.registered_at, &a.row.worker.id).cmp(&(b.row.registered_at, &b.row.worker.id))
        });
        first.map(|member| member.row.worker.instance)
    }

    fn standing(&self, member: &Member) -> Standing {
        let now = self.clock.monotonic();
        match member.row.left_at {
            Some(_) if member.over || self.is_lost(member) => return Standing::Stopped,
            None if self.is_lost(member) => return Standing::Lost,
            Some(_) | None => {}
        }
        match member.heard {
            Some(at) if now.since(at) < GIVEN_WITHIN => match member.row.left_at {
                None if self.is_drained(&member.row.worker.id) => Standing::Draining,
                None => Standing::Alive,
                Some(_) => Standing::Leaving,
            },
            _ => Standing::Silent,
        }
    }

    fn is_drained(&self, id: &str) -> bool {
        self.drained.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    fn is_lost(&self, member: &Member) -> bool {
        self.clock.monotonic().since(member.renewed) >= FREED_AFTER
    }

    fn members(&self) -> MutexGuard<'_, HashMap<InstanceId, Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a worker is an earlier life of one that begins, whatever name it had.
fn is_before(worker: &NewWorker, new: &NewWorker) -> bool {
    worker.home == new.home && worker.instance != new.instance
}

impl Member {
    /// Nothing is switched for it any more.
    fn end(&mut self) {
        self.trust.end();
    }

    fn boards(&self) -> usize {
        self.work.borrow().leases.len() + self.given
    }

    fn has_room(&self, boards: usize) -> bool {
        self.boards() + boards <= self.row.worker.capacity as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::BoardId;
    use crate::clock::ManualClock;
    use crate::id::Ids;
    use crate::lease::{Fence, InHand as _};
    use std::time::Duration;

    const A_WHILE: Duration = Duration::from_secs(10);

    struct World {
        crew: Crew,
        hands: ManualClock,
        ids: Ids,
    }

    impl World {
        fn new() -> World {
            let (clock, hands) = Clock::manual(Timestamp::default());
            World { crew: Crew::new(clock), hands, ids: Ids::seeded(1) }
        }

        fn row(&self, id: &str, home: u8) -> WorkerRow {
            let worker = NewWorker {
                id: id.into(),
                instance: InstanceId::new(&self.ids, Timestamp::default()),
                home: [home; 32],
                site: Site::new("Lab Site A"),
                version: "1".into(),
                capacity: 8,
                token: "rack".into(),
            };
            let now = Timestamp::default();
            WorkerRow { worker, registered_at: now, seen_at: now, left_at: None }
        }

        fn lease(&self) -> LeaseRef {
            let id = LeaseId::new(&self.ids, Timestamp::default());
            LeaseRef { id, board: BoardId::new("soc-a-001"), fence: Fence(1) }
        }

        fn standing(&self, id: &str) -> Standing {
            let shown = self.crew.shown();
            shown.iter().find(|shown| shown.row.worker.id == id).expect("it is known").standing
        }
    }

    #[test]
    fn the_server_switches_for_a_worker_while_it_is_heard_and_has_the_board() {
        let world = World::new();
        let row = world.row("rack-a", 1);
        let instance = row.worker.instance;
        world.crew.joined(row.clone(), "m");
        let grip = |lease: LeaseRef| world.crew.grip(instance, lease).expect("it is heard");
        let held = grip(world.lease());
        world.hands.advance(A_WHILE);
        world.crew.renewed(instance, Timestamp::default());
        world.hands.advance(SWITCHED_FOR - Duration::from_secs(1));
        assert!(held.trusted());
        world.hands.advance(Duration::from_secs(1));
        assert!(!held.trusted(), "before its boards are anybody's");
        assert!(world.crew.grip(instance, world.lease()).is_none());
        world.crew.renewed(instance, Timestamp::default());
        let (one, other) = (grip(world.lease()), grip(world.lease()));
        world.crew.let_go(instance, &[one.lease().id]);
        assert!(!one.trusted() && other.trusted(), "it gave one board back");
        // Its next life, as soon as it knocks.
        world.crew.begins(&world.row("rack-a", 1).worker);
        assert!(!other.trusted() && world.crew.grip(instance, world.lease()).is_none());
    }

    #[test]
    fn a_folder_that_is_in_use_on_another_machine_is_no_next_life() {
        let world = World::new();
        let row = world.row("rack-a", 1);
        world.crew.joined(row.clone(), "here");
        let next = world.row("rack-b", 1).worker;
        assert!(!world.crew.may_live_twice(&next, "here"), "the folder's lock says that it is over");
        assert!(world.crew.may_live_twice(&next, "there"));
        assert!(!world.crew.may_live_twice(&world.row("rack-a", 2).worker, "there"), "another folder");
        world.crew.renewed(row.worker.instance, Timestamp::default());
        world.hands.advance(TRUSTED_FOR - Duration::from_secs(1));
        assert!(world.crew.may_live_twice(&next, "there"));
        world.hands.advance(Duration::from_secs(1));
        assert!(!world.crew.may_live_twice(&next, "there"), "it drives nothing any more");
        world.crew.heard(row.worker.instance);
        world.crew.over(row.worker.instance);
        assert!(!world.crew.may_live_twice(&next, "there"), "it said so");
    }

    #[test]
    fn who_was_told_to_stop_is_not_lost() {
        let world = World::new();
        let (row, other) = (world.row("rack-a", 1), world.row("rack-b", 2));
        [&row, &other].into_iter().for_each(|row| world.crew.joined(row.clone(), "m"));
        world.crew.left(row.worker.instance, Timestamp::default());
        assert_eq!(world.standing("rack-a"), Standing::Leaving);
        world.hands.advance(FREED_AFTER);
        assert_eq!((world.standing("rack-a"), world.standing("rack-b")), (Standing::Stopped, Standing::Lost));
        assert_eq!(world.crew.lost().len(), 2, "what either had is taken away");
        world.crew.forget(&[row.worker.instance]);
        assert_eq!(world.crew.shown().len(), 1);
    }
}
