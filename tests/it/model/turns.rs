//! Whose turn it is: two servers that stand by for each other over one database, each of which may be killed, stopped for any
//! while, or cut off, with beats and answers that are late or lost, and clocks that go at other speeds. Whether a server may
//! drive its board is asked of the product's own grip and trust, and the times are the product's own.

use std::time::Duration;

use boardhand::board::BoardId;
use boardhand::clock::{Clock, Timestamp};
use boardhand::id::{Ids, LeaseId};
use boardhand::lease::{Fence, Grip, InHand, Trust};
use boardhand::run::LeaseRef;
use boardhand::store::sql::{GIVE_UP_AFTER, TAKEN_AFTER};

use super::checker::Model;

/// One turn after another, at most so many.
const FENCES_MAX: i64 = 3;

/// The rules that servers follow; [`Rules::default`] are the product's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// How long time is that passes at once.
    pub(super) tick: Duration,
    /// Of so many seconds a clock may miss one, or have one too many.
    pub(super) drift: u32,
    /// For how long after the begin of its last beat a server drives its board.
    pub(super) trusted_for: Duration,
    /// How long after the last beat another takes its place.
    pub(super) taken_after: Duration,
    /// Whether trust counts from when a beat was begun, and not from its answer.
    pub(super) counts_from_begin: bool,
    /// Whether beats alone renew trust, and no other write does.
    pub(super) beats_alone: bool,
    /// Whether one that comes back to the database looks whether another was there.
    pub(super) looks_for_others: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            tick: Duration::from_secs(1),
            drift: 8,
            trusted_for: GIVE_UP_AFTER,
            taken_after: TAKEN_AFTER,
            counts_from_begin: true,
            beats_alone: true,
            looks_for_others: true,
        }
    }
}

/// The two servers, and their database.
pub(super) struct Turns {
    rules: Rules,
    /// Whether a board is driven so many ticks after trust was renewed.
    trusted: Vec<bool>,
}

/// What the database has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Database {
    /// Whose connection has the lock.
    lock: Option<usize>,
    /// Who came last.
    mark: usize,
    /// How long ago the last beat came.
    beat: u8,
    /// Who has the board.
    lease: (usize, i64),
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Server {
    Down,
    /// It waits for the lock.
    Stands,
    /// It has the lock, and waits until the one before has ended for certain.
    Waits(u8),
    Works {
        /// How long ago trust began.
        renewed: u8,
        /// How long ago the beat was begun that is under way, and whether the database has it.
        beat: Option<(u8, bool)>,
        /// The board in its hand.
        fence: i64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Now {
    database: Database,
    servers: [Server; 2],
}

impl Turns {
    pub(super) fn under(rules: Rules) -> Self {
        // One tick longer than trust ever lasts, by the slowest clock.
        let mut trusted = Vec::new();
        while trusted.last() != Some(&false) {
            let ticks = u32::try_from(trusted.len()).expect("few");
            trusted.push(holds(rules.trusted_for, slow(rules.tick * ticks, rules.drift)));
        }
        Turns { rules, trusted }
    }

    /// A number of ticks, as far as it makes a difference.
    fn older(&self, ticks: u8) -> u8 {
        (ticks + 1).min(u8::try_from(self.trusted.len() - 1).expect("few"))
    }

    fn is_trusted(&self, renewed: u8) -> bool {
        self.trusted[usize::from(renewed)]
    }

    /// How many ticks somebody waits at least who has the lock so long after the last beat; clocks go fast.
    fn waits(&self, beat: u8) -> u8 {
        let Rules { tick, drift, taken_after, .. } = self.rules;
        let age = tick * u32::from(beat);
        let left = taken_after.saturating_sub(age + age / drift);
        let ticks = left.as_millis() * u128::from(drift) / u128::from(drift + 1) / tick.as_millis();
        u8::try_from(ticks).expect("few")
    }

    fn tick(&self, now: &Now) -> Now {
        let mut then = now.clone();
        let most =
            u8::try_from(self.rules.taken_after.as_millis() / self.rules.tick.as_millis()).expect("few");
        then.database.beat = (now.database.beat + 1).min(most);
        for server in &mut then.servers {
            match server {
                Server::Down | Server::Stands => {}
                Server::Waits(left) => *left = left.saturating_sub(1),
                Server::Works { renewed, beat, .. } => {
                    *renewed = self.older(*renewed);
                    if let Some((age, _)) = beat {
                        *age = self.older(*age);
                    }
                }
            }
        }
        then
    }

    /// What a server that works, or its messages, may do.
    fn work(&self, now: &Now, who: usize, then: &mut Vec<(&'static str, Now)>) {
        let Server::Works { renewed, beat, fence } = now.servers[who] else { return };
        let with = |renewed: u8, beat: Option<(u8, bool)>| {
            let mut then = now.clone();
            then.servers[who] = Server::Works { renewed, beat, fence };
            then
        };
        let has_lock = now.database.lock == Some(who);
        match beat {
            None => then.push(("a server begins a beat", with(renewed, Some((0, false))))),
            Some((age, false)) => {
                if has_lock {
                    let mut came = with(renewed, Some((age, true)));
                    came.database.beat = 0;
                    then.push(("the beat comes to the database", came));
                }
                then.push(("the beat is lost", with(renewed, None)));
            }
            Some((age, true)) => {
                let from = if self.rules.counts_from_begin { age } else { 0 };
                then.push(("the server hears that its beat came", with(from.min(renewed), None)));
                then.push(("the answer to the beat is lost", with(renewed, None)));
            }
        }
        if has_lock && !self.rules.beats_alone {
            then.push(("another write comes through", with(0, beat)));
        }
        if now.database.lock.is_none() {
            let mut again = now.clone();
            match now.database.mark == who || !self.rules.looks_for_others {
                true => again.database.lock = Some(who),
                false => again.servers[who] = Server::Down,
            }
            then.push(("a server that lost its connection comes back", again));
        }
        if !self.is_trusted(renewed) {
            let mut ends = now.clone();
            ends.servers[who] = Server::Down;
            then.push(("a server that was cut off for too long ends", ends));
        }
    }

    /// What a server that does not work may do.
    fn come(&self, now: &Now, who: usize, then: &mut Vec<(&'static str, Now)>) {
        let mut next = now.clone();
        match now.servers[who] {
            Server::Down => {
                next.servers[who] = Server::Stands;
                then.push(("a server is started", next));
            }
            Server::Stands if now.database.lock.is_none() => {
                next.database.lock = Some(who);
                next.servers[who] = Server::Waits(self.waits(now.database.beat));
                then.push(("the one that stands by has the lock", next));
            }
            Server::Waits(_) if now.database.lock != Some(who) => {
                next.servers[who] = Server::Stands;
                then.push(("the one that waits has lost its connection", next));
            }
            Server::Waits(0) if now.database.lease.1 < FENCES_MAX => {
                let fence = now.database.lease.1 + 1;
                next.database = Database { mark: who, beat: 0, lease: (who, fence), ..next.database };
                next.servers[who] = Server::Works { renewed: 0, beat: None, fence };
                then.push(("the one that waited takes over, and gives the board away", next));
            }
            Server::Stands | Server::Waits(_) | Server::Works { .. } => {}
        }
    }
}

impl Model for Turns {
    type State = Now;

    fn begin(&self) -> Now {
        Now {
            database: Database { lock: Some(0), mark: 0, beat: 0, lease: (0, 1) },
            servers: [Server::Works { renewed: 0, beat: None, fence: 1 }, Server::Stands],
        }
    }

    fn next(&self, now: &Now, then: &mut Vec<(&'static str, Now)>) {
        then.push(("time passes", self.tick(now)));
        for who in [0, 1] {
            self.work(now, who, then);
            self.come(now, who, then);
            if now.servers[who] != Server::Down {
                let mut killed = now.clone();
                killed.servers[who] = Server::Down;
                then.push(("a server is killed", killed));
            }
        }
        if now.database.lock.is_some() {
            let mut dropped = now.clone();
            dropped.database.lock = None;
            then.push(("the database drops the connection that has the lock", dropped));
        }
    }

    fn broken(&self, now: &Now) -> Option<&'static str> {
        let drives = |who: usize| match now.servers[who] {
            Server::Works { renewed, fence, .. } => self.is_trusted(renewed).then_some(fence),
            Server::Down | Server::Stands | Server::Waits(_) => None,
        };
        let stale = |who: usize| drives(who).is_some_and(|fence| (who, fence) != now.database.lease);
        [0, 1].into_iter().any(stale).then_some(TYPES_AT_ANOTHERS)
    }

    fn is_well(&self, now: &Now) -> bool {
        let works = |who: usize| matches!(now.servers[who], Server::Works { renewed: 0, .. });
        now.database.lock.is_some_and(works) || now.database.lease.1 == FENCES_MAX
    }
}

/// What no server may ever do.
pub(super) const TYPES_AT_ANOTHERS: &str = "a server may type at a board that was given to another";

/// Whether a process drives its board so long after trust was renewed.
fn holds(trusted_for: Duration, after: Duration) -> bool {
    let (clock, hands) = Clock::manual(Timestamp::default());
    let lease = LeaseRef {
        id: LeaseId::new(&Ids::seeded(1), Timestamp::default()),
        board: BoardId::new("soc-a-001"),
        fence: Fence(1),
    };
    let grip = Grip::new(lease, Trust::lasting(clock, trusted_for));
    hands.advance(after);
    grip.trusted()
}

/// What the slowest clock says of a while.
fn slow(real: Duration, drift: u32) -> Duration {
    real - real / drift
}
