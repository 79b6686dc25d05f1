//! The crew: the workers of remote sites as this process knows them, and what each has to do. Who is heard, and how long ago,
//! is counted on the monotonic clock from when this process heard it; a row in the store says since when somebody is known, and
//! never whether they are there. Nothing is granted or taken away here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::wire::{FREED_AFTER, GIVEN_WITHIN, Work};
use crate::board::Site;
use crate::clock::{Clock, Monotonic, Timestamp};
use crate::id::InstanceId;
use crate::store::WorkerRow;

/// The workers that are known. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Crew {
    clock: Clock,
    members: Arc<Mutex<HashMap<InstanceId, Member>>>,
}

/// One life of a worker.
struct Member {
    row: WorkerRow,
    /// When this process heard it last; `None` where it never did.
    heard: Option<Monotonic>,
    /// When its leases were last renewed, or this process began.
    renewed: Monotonic,
    /// Leases that it was given since its work was looked at.
    given: usize,
    work: watch::Sender<Arc<Work>>,
    /// Signs of life.
    beats: u64,
}

/// How a worker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is heard, and takes work.
    Alive,
    /// It is heard, and ends what it has.
    Leaving,
    /// It was not heard for a while: it is given nothing new.
    Silent,
    /// It was not heard for so long that its boards are free.
    Lost,
}

impl Standing {
    /// The word in answers and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Alive => "alive",
            Standing::Leaving => "leaving",
            Standing::Silent => "silent",
            Standing::Lost => "lost",
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
        Crew { clock, members: Arc::default() }
    }

    /// Those that are known from before: each has its time anew, since nobody here knows when it was heard last.
    pub fn load(&self, rows: Vec<WorkerRow>) {
        rows.into_iter().for_each(|row| self.put(row, None));
    }

    /// A worker has begun; its life before is over.
    pub fn joined(&self, row: WorkerRow) {
        let now = self.clock.monotonic();
        self.members().retain(|instance, member| {
            member.row.worker.id != row.worker.id || *instance == row.worker.instance
        });
        self.put(row, Some(now));
    }

    fn put(&self, row: WorkerRow, heard: Option<Monotonic>) {
        let now = self.clock.monotonic();
        let mut members = self.members();
        let member = members.entry(row.worker.instance).or_insert_with(|| Member {
            row: row.clone(),
            heard,
            renewed: now,
            given: 0,
            work: watch::Sender::new(Arc::default()),
            beats: 0,
        });
        (member.row, member.heard) = (row, heard.or(member.heard));
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
            member.beats += 1;
        }
    }

    /// A worker takes nothing new any more.
    pub fn left(&self, instance: InstanceId, at: Timestamp) {
        if let Some(member) = self.members().get_mut(&instance) {
            member.row.left_at.get_or_insert(at);
        }
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
        let lost = members.values().filter(|member| self.standing(member) == Standing::Lost);
        lost.map(|member| member.row.clone()).collect()
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
        if now.since(member.renewed) >= FREED_AFTER {
            return Standing::Lost;
        }
        match member.heard {
            Some(at) if now.since(at) < GIVEN_WITHIN => match member.row.left_at {
                None => Standing::Alive,
                Some(_) => Standing::Leaving,
            },
            _ => Standing::Silent,
        }
    }

    fn members(&self) -> MutexGuard<'_, HashMap<InstanceId, Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    fn boards(&self) -> usize {
        self.work.borrow().leases.len() + self.given
    }

    fn has_room(&self, boards: usize) -> bool {
        self.boards() + boards <= self.row.worker.capacity as usize
    }
}
