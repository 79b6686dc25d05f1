//! The scheduler: the loop that gives boards to waiting runs. It keeps a [`Queue`] in step with the store, asks it
//! for grants, and commits them; what the store refuses (somebody was faster) goes back into the queue. The queue
//! decides, the store decides again, this loop decides nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;

use super::queue::{
    Availability, BoardFacts, Draining, Grant as Proposal, Queue, QueueEvent, QueuedRun, Unavailable,
};
use super::reaper::LEASE_TTL;
use super::{Holder, Lease, Reservation};
use crate::board::inventory::Quotas;
use crate::board::{BoardId, Inventory, LiveInventory, Site};
use crate::chat::AnswerVia;
use crate::clock::{Clock, Monotonic, Timestamp};
use crate::command::policy;
use crate::doorbell::{Bell, Doorbell};
use crate::id::{Ids, InstanceId, LeaseId, RunId};
use crate::message::Note;
use crate::message::compose::hold_facts;
use crate::run::{Priority, Selector};
use crate::store::{
    BoardRow, Closing, Cursor, Drain, Grant, Granted, Health, LeaseTerms, QueueChanges, QueueRun, Store,
    StoreError, changes,
};
use crate::worker::crew::{Crew, Served};
use crate::worker::steps::{Agent, LOOK_ANYWAY, LOOK_EVERY, Step};
use crate::worker::wire::LEASE_LASTS;

/// Most grants committed at once.
const GRANTS_MAX: usize = 256;

/// The queue, read by whoever says why a run waits. Only the scheduler changes it. Cheap to clone.
#[derive(Clone)]
pub struct SharedQueue {
    queue: Arc<Mutex<Queue>>,
    read_to: Arc<Mutex<Option<Cursor>>>,
    drains_seen: Arc<AtomicI64>,
}

impl SharedQueue {
    /// A queue that knows the lab's boards and no run.
    pub fn new(inventory: &Inventory) -> Self {
        let mut queue = Queue::new();
        know_boards(&mut queue, inventory);
        SharedQueue {
            queue: Arc::new(Mutex::new(queue)),
            read_to: Arc::default(),
            drains_seen: Arc::default(),
        }
    }

    /// The queue, for a moment: nothing may be awaited while it is held.
    pub fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("queue lock")
    }

    /// The newest drain that the queue knows: a board that was chosen by what the queue said is chosen again where there
    /// is a newer one. Asked while the queue is locked, or before.
    pub fn drains_seen(&self) -> i64 {
        self.drains_seen.load(Ordering::Acquire)
    }

    /// How far the scheduler has read the change log: events up to there are nobody's any more.
    pub fn read_to(&self) -> Option<Cursor> {
        *self.read_to.lock().expect("nothing panics under this lock")
    }
}

/// Which boards take nothing new, as the queue knows it.
#[derive(Default)]
struct Closings {
    drains: Vec<Drain>,
    lab: Option<Arc<Inventory>>,
    since: Timestamp,
    /// When time alone makes it otherwise.
    until: Option<Timestamp>,
    boards: HashMap<BoardId, Draining>,
}

/// Grants boards.
pub struct Scheduler {
    store: Arc<dyn Store>,
    queue: SharedQueue,
    inventory: LiveInventory,
    /// The inventory that the queue knows.
    known: Arc<Inventory>,
    clock: Clock,
    ids: Ids,
    doorbell: Doorbell,
    instance: InstanceId,
    cursor: Option<Cursor>,
    /// People who wait for a board of their own, and boards that people have, as the queue knows them.
    wishes: HashSet<RunId>,
    holds: HashMap<BoardId, RunId>,
    closings: Closings,
    /// Whether every run is to be read again, as it was read at the start.
    read_again: bool,
    /// When the database is asked again which lab file is in force.
    look_at: Option<Monotonic>,
    /// Whether it named another one when it was asked last.
    differed: bool,
    crew: Crew,
    /// How remote sites are served, as the queue knows it.
    served: HashMap<Site, Served>,
}

impl Scheduler {
    /// A scheduler whose grants are driven by `instance`.
    pub fn new(
        store: Arc<dyn Store>,
        queue: SharedQueue,
        inventory: LiveInventory,
        clock: Clock,
        ids: Ids,
        doorbell: Doorbell,
        instance: InstanceId,
    ) -> Self {
        let (known, crew) = (inventory.now(), Crew::new(clock.clone()));
        Scheduler {
            store,
            queue,
            inventory,
            known,
            clock,
            ids,
            doorbell,
            instance,
            cursor: None,
            wishes: HashSet::new(),
            holds: HashMap::new(),
            closings: Closings::default(),
            read_again: false,
            look_at: None,
            differed: false,
            crew,
            served: HashMap::new(),
        }
    }

    /// The same, giving the boards of remote sites to these workers.
    pub fn with_crew(self, crew: Crew) -> Self {
        Scheduler { crew, ..self }
    }

    /// Tells the queue which remote sites are served now, where that is not as it knows it.
    async fn muster(&mut self) -> Result<(), StoreError> {
        let sites = self.known.sites.iter().filter(|(_, settings)| settings.remote);
        let served: HashMap<Site, Served> =
            sites.map(|(site, _)| (site.clone(), self.crew.served(site))).collect();
        if served == self.served {
            return Ok(());
        }
        let changed: HashSet<Site> = served
            .iter()
            .filter(|(site, by)| self.served.get(*site) != Some(*by))
            .map(|(site, _)| site.clone())
            .collect();
        // Before its first row a board has none: it is as free as its site is served.
        let rows = self.store.board_list().await?;
        self.served = served;
        let is_there = |row: &BoardRow| {
            self.known.boards.get(&row.id).is_some_and(|board| changed.contains(&board.site))
        };
        let mut queue = self.queue.lock();
        for row in rows.into_iter().filter(is_there) {
            if let Some(event) = board_event(row, &self.known, &self.served) {
                queue.apply(event);
            }
        }
        Ok(())
    }

    /// Tells the queue which boards take nothing new now, where that is not as it knows it.
    fn close(&mut self, drains: Vec<Drain>, newest: i64, now: Timestamp) {
        self.crew.drains(drains.iter().filter_map(|drain| drain.of.worker()).map(str::to_owned).collect());
        let mut queue = self.queue.lock();
        let known = &mut self.closings;
        let is_same =
            known.drains == drains && known.lab.as_ref().is_some_and(|lab| Arc::ptr_eq(lab, &self.known));
        // A clock that was set back may be before what was on then.
        if !is_same || now < known.since || known.until.is_some_and(|until| now >= until) {
            let mut boards = HashMap::new();
            let closing = Closing::at(&self.known, &drains, now);
            for board in self.known.boards.values() {
                if let Some(closed) = closing.of(board) {
                    let draining = Draining { reason: closed.reason, until: closed.until };
                    boards.insert(board.id.clone(), draining);
                }
            }
            // A board that came back is open to the queue: whatever is closed is said again.
            let opened = known.boards.keys().filter(|board| !boards.contains_key(*board));
            let opened = opened.map(|board| (board.clone(), None));
            let closed = boards.iter().map(|(board, draining)| (board.clone(), Some(draining.clone())));
            for (board, draining) in opened.chain(closed) {
                queue.apply(QueueEvent::BoardDrained { board, draining });
            }
            let until = changes(&self.known, now);
            *known = Closings { drains, lab: Some(self.known.clone()), since: now, until, boards };
        }
        self.queue.drains_seen.fetch_max(newest, Ordering::AcqRel);
    }

    /// Takes in a page of the change log, and that it is read.
    fn take_in(&mut self, changes: QueueChanges) {
        let cursor = Some(changes.cursor);
        self.tell_queue(changes);
        self.cursor = cursor;
        *self.queue.read_to.lock().expect("nothing panics under this lock") = cursor;
    }

    fn tell_queue(&mut self, changes: QueueChanges) {
        self.close(changes.drains, changes.newest_drain, self.clock.now());
        let mut queue = self.queue.lock();
        for took in changes.durations {
            queue.apply(QueueEvent::DurationSeen {
                run: took.run,
                attempt: took.attempt,
                family: took.family,
                suite: took.suite,
                took: took.took,
            });
        }
        for row in changes.boards {
            for event in hold_events(&mut self.holds, &row) {
                queue.apply(event);
            }
            if let Some(event) = board_event(row, &self.known, &self.served) {
                queue.apply(event);
            }
        }
        for run in changes.runs {
            for event in run_events(run, &self.known) {
                queue.apply(event);
            }
        }
        let before = std::mem::take(&mut self.wishes);
        for wish in changes.reservations {
            self.wishes.insert(as_run(wish.id));
            queue.apply(QueueEvent::RunQueued(Box::new(wish_queued(wish, &self.known))));
        }
        for run in before.difference(&self.wishes) {
            queue.apply(QueueEvent::RunLeft { run: *run });
        }
    }

    /// Commits grants; one by one where the store refuses them together for good, so that one run whose rows are not
    /// what they should be keeps no other waiting. It leaves the queue until something changes about it.
    async fn grant(&self, grants: &[Grant], terms: &LeaseTerms) -> Result<Vec<Granted>, StoreError> {
        match self.store.lease_grant(grants, terms).await {
            Err(error) if error.is_lasting() => {
                tracing::error!(%error, grants = grants.len(), "boards cannot be granted together: one by one")
            }
            granted => return granted,
        }
        let mut answers = Vec::with_capacity(grants.len());
        for grant in grants {
            match self.store.lease_grant(std::slice::from_ref(grant), terms).await {
                Ok(granted) => answers.extend(granted),
                Err(error) => {
                    tracing::error!(run.id = %grant.run, %error, "a run cannot be given a board");
                    // Of those that were granted so far the change log tells.
                    answers.push(if error.is_lasting() { Granted::Gone } else { return Err(error) });
                }
            }
        }
        Ok(answers)
    }

    /// Commits grants, those of boards that a worker drives for that worker. One that no worker takes waits as before.
    async fn grant_each(&self, grants: &[Grant], terms: &LeaseTerms) -> Result<Vec<Granted>, StoreError> {
        let site = |grant: &Grant| {
            let board = self.known.boards.get(&grant.leases.first()?.1)?;
            self.known.is_remote(board).then(|| board.site.clone())
        };
        if !grants.iter().any(|grant| site(grant).is_some()) {
            return self.grant(grants, terms).await;
        }
        let mut answers: Vec<Granted> = vec![Granted::Outdated; grants.len()];
        let mut parts: BTreeMap<InstanceId, Vec<usize>> = BTreeMap::new();
        for (n, grant) in grants.iter().enumerate() {
            let instance = match site(grant) {
                None => Some(terms.instance),
                Some(site) => self.crew.give(&site, grant.leases.len()),
            };
            if let Some(instance) = instance {
                parts.entry(instance).or_default().push(n);
            }
        }
        for (instance, of) in parts {
            let part: Vec<Grant> = of.iter().map(|n| grants[*n].clone()).collect();
            let lasts = if instance == terms.instance { LEASE_TTL } else { LEASE_LASTS };
            let terms = LeaseTerms { instance, expires_at: terms.now + lasts, ..terms.clone() };
            for (n, granted) in of.into_iter().zip(self.grant(&part, &terms).await?) {
                answers[n] = granted;
            }
        }
        Ok(answers)
    }

    /// Gives boards to people who wait for one of their own. A wish that cannot be granted for good leaves the queue
    /// until something changes about it.
    async fn grant_wishes(&self, wishes: &[Grant], terms: &LeaseTerms) -> Result<Vec<Granted>, StoreError> {
        let mut answers = Vec::with_capacity(wishes.len());
        if wishes.is_empty() {
            return Ok(answers);
        }
        let waiting = self.store.reservation_list().await?;
        for grant in wishes {
            let wish = waiting.iter().find(|wish| as_run(wish.id) == grant.run);
            let (Some(wish), Some((_, board))) = (wish, grant.leases.first()) else {
                answers.push(Granted::Gone);
                continue;
            };
            let facts = hold_facts(
                board,
                self.known.board(board.as_str()),
                &wish.by,
                terms.now + wish.lasts,
                &wish.reason,
            );
            let mut note = Note::new("reserved", facts);
            note.facts.insert("waited_s".into(), terms.now.since(wish.asked_at).as_secs_f64().into());
            let told = (AnswerVia::in_person(&wish.by), note);
            match self.store.hold_grant(wish.id, board, terms, &told).await {
                Err(error) if error.is_lasting() => {
                    tracing::error!(reservation = %wish.id, %error, "a reservation cannot be granted");
                    answers.push(Granted::Gone);
                }
                granted => answers.push(granted?),
            }
        }
        Ok(answers)
    }

    /// Tells the queue of another inventory: boards that came, left or changed. The rows of all are read again, since a
    /// board that comes back may be leased or quarantined still.
    async fn follow(&mut self) -> Result<(), StoreError> {
        let inventory = self.inventory.now();
        if Arc::ptr_eq(&inventory, &self.known) {
            return Ok(());
        }
        let rows = self.store.board_list().await?;
        let mut queue = self.queue.lock();
        for board in self.known.boards.keys().filter(|board| !inventory.boards.contains_key(*board)) {
            queue.apply(QueueEvent::BoardRemoved { board: board.clone() });
        }
        know_boards(&mut queue, &inventory);
        // Whoever waits may have more or less than before, or another role.
        self.read_again |= inventory.quotas != Quotas::default() || self.known.quotas != Quotas::default();
        for event in rows.into_iter().filter_map(|row| board_event(row, &inventory, &self.served)) {
            queue.apply(event);
        }
        self.known = inventory.clone();
        Ok(())
    }

    /// Whether this process' lab file is the one in force; another process may have put another one there.
    async fn is_in_force(&mut self) -> Result<bool, StoreError> {
        let now = self.clock.monotonic();
        if self.look_at.is_some_and(|at| now < at) {
            return Ok(true);
        }
        let in_force = self.store.lab_hash().await?;
        let differs = in_force.as_ref().is_some_and(|hash| *hash != self.known.hash);
        // While they differ it is asked at every look. One that is being put in force differs for a moment, and only
        // what differs twice is told.
        self.look_at = (!differs).then_some(now + LOOK_EVERY);
        let again = std::mem::replace(&mut self.differed, differs);
        if differs && !again {
            return Ok(false);
        }
        if differs != self.inventory.standing().differs {
            if differs {
                tracing::error!(
                    ours = self.known.hash,
                    in_force,
                    "another boards.yaml is in force: no run is given a board"
                );
            }
            self.inventory.differ(differs);
        }
        Ok(!differs)
    }

    async fn commit(&mut self, proposals: Vec<Proposal>) -> Result<(), StoreError> {
        let now = self.clock.now();
        let drains_seen = Some(self.queue.drains_seen());
        let terms = LeaseTerms { instance: self.instance, now, expires_at: now + LEASE_TTL, drains_seen };
        let is_wish = |proposal: &Proposal| self.wishes.contains(&proposal.run);
        let (wishes, runs): (Vec<Proposal>, Vec<Proposal>) = proposals.into_iter().partition(is_wish);
        let named = |proposals: Vec<Proposal>| -> Vec<Grant> {
            let name = |proposal: Proposal| Grant {
                run: proposal.run,
                attempt: proposal.attempt,
                leases: proposal
                    .boards
                    .into_iter()
                    .map(|board| (LeaseId::new(&self.ids, now), board))
                    .collect(),
            };
            proposals.into_iter().map(name).collect()
        };
        let (wishes, mut grants) = (named(wishes), named(runs));
        let answered = async {
            let mut answers =
                if grants.is_empty() { vec![] } else { self.grant_each(&grants, &terms).await? };
            answers.extend(self.grant_wishes(&wishes, &terms).await?);
            Ok::<_, StoreError>(answers)
        };
        let answers = answered.await;
        grants.extend(wishes);
        let answers = match answers {
            Ok(answers) => answers,
            Err(error) => {
                // Nothing more was granted: every proposal waits as before.
                let mut queue = self.queue.lock();
                for grant in grants {
                    queue.apply(QueueEvent::GrantRefused { run: grant.run });
                }
                return Err(error);
            }
        };
        let mut queue = self.queue.lock();
        for (grant, answer) in grants.into_iter().zip(answers) {
            match answer {
                // The change log says the same a moment later, to every replica alike.
                Granted::Leases(leases) => {
                    for lease in leases {
                        queue.apply(QueueEvent::BoardChanged {
                            board: lease.board.clone(),
                            availability: availability_under(&lease),
                            last_used: None,
                        });
                    }
                    let boards = u32::try_from(grant.leases.len()).unwrap_or(1);
                    let requester = queue.requester(grant.run).unwrap_or_default().to_owned();
                    queue.apply(QueueEvent::RunStarted { run: grant.run, requester, boards });
                }
                Granted::Gone => queue.apply(QueueEvent::RunLeft { run: grant.run }),
                // The next look reads what drains, and chooses again.
                Granted::Outdated => queue.apply(QueueEvent::GrantRefused { run: grant.run }),
                Granted::Taken(lease) => {
                    queue.apply(QueueEvent::BoardChanged {
                        board: lease.board.clone(),
                        availability: availability_under(&lease),
                        last_used: None,
                    });
                    queue.apply(QueueEvent::GrantRefused { run: grant.run });
                }
                Granted::OutOfService { board, reason } => {
                    let quarantined = Unavailable::Quarantined { reason };
                    queue.apply(QueueEvent::BoardChanged {
                        board,
                        availability: Availability::Unavailable(quarantined),
                        last_used: None,
                    });
                    queue.apply(QueueEvent::GrantRefused { run: grant.run });
                }
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Agent for Scheduler {
    fn name(&self) -> &'static str {
        "scheduler"
    }

    fn bell(&self) -> Option<Bell> {
        Some(Bell::Scheduler)
    }

    async fn step(&mut self) -> Result<Step, StoreError> {
        self.follow().await?;
        self.muster().await?;
        loop {
            let changes = self.store.queue_changes(self.cursor).await?;
            let more = changes.more;
            self.take_in(changes);
            if !more {
                break;
            }
        }
        if self.read_again {
            // What has ended meanwhile is told by the change log, which goes on where it was.
            let everything = self.store.queue_changes(None).await?;
            self.tell_queue(everything);
            self.read_again = false;
        }
        if !self.is_in_force().await? {
            return Ok(Step::Idle { until: self.clock.monotonic() + LOOK_EVERY });
        }
        let (proposals, nobody_waits) = {
            let mut queue = self.queue.lock();
            (queue.grants(self.clock.now(), GRANTS_MAX), queue.is_empty())
        };
        if proposals.is_empty() {
            // What a waiting run may be given changes with time alone.
            let wait = if nobody_waits { LOOK_ANYWAY } else { LOOK_EVERY };
            let changes = self.closings.until.map_or(wait, |until| until.since(self.clock.now()));
            return Ok(Step::Idle { until: self.clock.monotonic() + wait.min(changes.max(LOOK_EVERY)) });
        }
        self.commit(proposals).await?;
        self.doorbell.ring(Bell::Pool);
        self.doorbell.ring(Bell::Relay);
        Ok(Step::Worked)
    }
}

/// Tells the queue which boards there are.
fn know_boards(queue: &mut Queue, inventory: &Inventory) {
    for board in inventory.boards.values() {
        queue.apply(QueueEvent::BoardAdded(BoardFacts {
            id: board.id.clone(),
            family: board.family.clone(),
            revision: board.revision.clone(),
            site: board.site.clone(),
            tags: board.tags.clone(),
            remote: inventory.is_remote(board),
            last_used: None,
        }));
        if inventory.is_remote(board) {
            queue.apply(QueueEvent::BoardChanged {
                board: board.id.clone(),
                availability: Availability::Unavailable(Unavailable::NoWorker),
                last_used: None,
            });
        }
    }
}

/// What a board's row says about its availability; nothing of one that is not in the lab.
fn board_event(row: BoardRow, inventory: &Inventory, served: &HashMap<Site, Served>) -> Option<QueueEvent> {
    let board = inventory.boards.get(&row.id)?;
    let by = inventory.is_remote(board).then(|| served.get(&board.site).copied().unwrap_or_default());
    let availability = match (row.lease, row.health) {
        (Some(lease), _) => availability_under(&lease),
        (None, Health::Quarantined) => {
            Availability::Unavailable(Unavailable::Quarantined { reason: row.reason })
        }
        (None, Health::Good | Health::Suspect) => match by {
            Some(Served::No) => Availability::Unavailable(Unavailable::NoWorker),
            Some(Served::Full) => Availability::Unavailable(Unavailable::WorkerFull),
            Some(Served::Yes) | None => Availability::Free,
        },
    };
    Some(QueueEvent::BoardChanged { board: row.id, availability, last_used: row.last_used_at })
}

/// What is known of a board that somebody has.
fn availability_under(lease: &Lease) -> Availability {
    let hold = lease.hold.as_ref();
    Availability::Busy {
        holder: lease.holder.clone(),
        until: hold.map(|_| lease.expires_at),
        reason: hold.map(|hold| hold.reason.clone()).unwrap_or_default(),
        run: hold.and_then(|hold| hold.run).map(|(number, _)| number),
    }
}

/// A reservation as the queue knows it: it waits in one line with the runs.
pub fn as_run(reservation: LeaseId) -> RunId {
    RunId(reservation.0)
}

/// A reservation as it waits in the queue.
pub fn wish_queued(wish: Reservation, inventory: &Inventory) -> QueuedRun {
    QueuedRun {
        most: policy::quota(&wish.by, inventory).boards,
        run: as_run(wish.id),
        number: wish.place,
        attempt: 1,
        family: wish.family,
        suite: String::new(),
        // People sit at consoles that this server reaches.
        selector: Selector { board: wish.board, driven_here: true, ..Selector::default() },
        priority: Priority::Normal,
        requester: wish.by.key(),
        boards: 1,
        since: wish.asked_at,
        avoid: vec![],
        lasts: Some(wish.lasts),
    }
}

/// What a person has counts for them as what their runs have does.
fn hold_events(holds: &mut HashMap<BoardId, RunId>, row: &BoardRow) -> Vec<QueueEvent> {
    let held = row.lease.as_ref().and_then(|lease| match (&lease.holder, &lease.hold) {
        (Holder::Person(by), Some(_)) => Some((as_run(lease.id), by.key())),
        _ => None,
    });
    let before = match &held {
        Some((run, _)) => holds.insert(row.id.clone(), *run),
        None => holds.remove(&row.id),
    };
    let over = before.filter(|before| held.as_ref().is_none_or(|(run, _)| run != before));
    let over = over.map(|run| QueueEvent::RunEnded { run });
    let begun = held.map(|(run, requester)| QueueEvent::RunStarted { run, requester, boards: 1 });
    over.into_iter().chain(begun).collect()
}

/// What a run's row says about its place in the queue.
fn run_events(run: QueueRun, inventory: &Inventory) -> Vec<QueueEvent> {
    match run.waiting {
        Some(waiting) => vec![
            QueueEvent::RunEnded { run: run.id },
            QueueEvent::RunQueued(Box::new(QueuedRun {
                run: run.id,
                number: run.number,
                attempt: waiting.attempt,
                family: waiting.family,
                suite: waiting.suite,
                selector: waiting.selector,
                priority: waiting.priority,
                requester: run.requested_by.key(),
                boards: waiting.boards,
                since: waiting.since,
                avoid: waiting.avoid,
                lasts: None,
                most: policy::quota(&run.requested_by, inventory).boards,
            })),
        ],
        None if run.finished => {
            vec![QueueEvent::RunLeft { run: run.id }, QueueEvent::RunEnded { run: run.id }]
        }
        None => {
            vec![QueueEvent::RunStarted {
                run: run.id,
                requester: run.requested_by.key(),
                boards: run.boards,
            }]
        }
    }
}
