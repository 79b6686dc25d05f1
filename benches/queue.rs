//! How fast the queue decides, at 1,000 boards and 10,000 waiting runs. Prints a line per lab; aims at 20,000 grants
//! a second and, from a run's arrival to its grant, 10 ms for all but one in a hundred.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use boardhand::board::{BoardId, Family, Site};
use boardhand::clock::Timestamp;
use boardhand::id::RunId;
use boardhand::lease::queue::{Availability, BoardFacts, Grant, Queue, QueueEvent, QueuedRun, Unavailable};
use boardhand::run::{Priority, Selector};

const BOARDS: u64 = 1_000;
const WAITING: usize = 10_000;
const GRANTS: usize = 50_000;
const FAMILIES: u64 = 10;

/// A lab, and who asks for what.
struct Lab {
    name: &'static str,
    /// Waiting runs of a family whose boards are all out of service, of [`WAITING`].
    stuck: usize,
    requesters: u64,
    /// Different selectors per family.
    selectors: u64,
    /// How many boards the runs want, in turn.
    wants: &'static [u32],
    /// Boards that come free at once.
    at_once: usize,
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures the machine's time")]
fn tick() -> Instant {
    Instant::now()
}

fn now(step: u64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + step as i64)
}

fn family(n: u64) -> Family {
    Family::new(format!("soc{n}"))
}

/// The queue under load: everything is busy, runs wait; boards come free and are granted again.
struct Load<'a> {
    lab: &'a Lab,
    queue: Queue,
    arrived: u64,
    arrivals: BTreeMap<RunId, (Instant, String, u32)>,
    live: VecDeque<Grant>,
    waits: Vec<Duration>,
    step: u64,
}

impl<'a> Load<'a> {
    fn new(lab: &'a Lab) -> Self {
        let mut queue = Queue::new();
        for n in 0..BOARDS {
            let id = BoardId::new(format!("board-{n:04}"));
            let (revision, site) =
                (Some(format!("rev{}", n / FAMILIES % 3)), Site::new(format!("site{}", n / 250)));
            let tags = BTreeMap::from([("ddr".to_owned(), format!("{}g", n / FAMILIES % 2))]);
            let facts = BoardFacts {
                remote: false,
                id,
                family: family(n % FAMILIES),
                revision,
                site,
                tags,
                last_used: None,
            };
            let board = facts.id.clone();
            queue.apply(QueueEvent::BoardAdded(facts));
            if n % FAMILIES == 0 && lab.stuck > 0 {
                let availability = Availability::Unavailable(Unavailable::Offline);
                queue.apply(QueueEvent::BoardChanged { board, availability, last_used: None });
            }
        }
        let (arrivals, live) = (BTreeMap::new(), VecDeque::new());
        let mut load = Load { lab, queue, arrived: 0, arrivals, live, waits: vec![], step: 0 };
        for _ in 0..lab.stuck {
            load.arrive(0);
        }
        load
    }

    fn arrive(&mut self, of: u64) {
        self.arrived += 1;
        let n = self.arrived;
        let mut selector = Selector::default();
        match n / 7 % self.lab.selectors {
            0 => {}
            s @ 1..=3 => selector.revision = Some(format!("rev{}", s % 3)),
            s => drop(selector.tags.insert("ddr".into(), format!("{}g", s % 2))),
        }
        let priority =
            [Priority::Normal, Priority::Normal, Priority::High, Priority::Low][(n / 3 % 4) as usize];
        let run = RunId(uuid::Uuid::from_u128(u128::from(n)));
        let queued = QueuedRun {
            run,
            number: n as i64,
            attempt: 1,
            family: family(of),
            suite: "smoke".into(),
            selector,
            priority,
            requester: format!("user-{}", n * 7_919 % self.lab.requesters),
            boards: self.lab.wants[n as usize % self.lab.wants.len()],
            since: now(self.step),
            avoid: vec![],
            lasts: None,
            most: None,
        };
        self.arrivals.insert(run, (tick(), queued.requester.clone(), queued.boards));
        self.queue.apply(QueueEvent::RunQueued(Box::new(queued)));
    }

    /// Grants what can be granted; gives how many runs were.
    fn grant(&mut self) -> usize {
        self.step += 1_000;
        let grants = self.queue.grants(now(self.step), 256);
        let granted = grants.len();
        for grant in grants {
            let (arrived, requester, boards) = self.arrivals.remove(&grant.run).expect("it waited");
            self.waits.push(tick() - arrived);
            self.queue.apply(QueueEvent::RunStarted { run: grant.run, requester, boards });
            self.live.push_back(grant);
        }
        granted
    }

    /// Ends the run that began first.
    fn end(&mut self) {
        let Some(grant) = self.live.pop_front() else { return };
        self.queue.apply(QueueEvent::RunEnded { run: grant.run });
        for board in grant.boards {
            let (availability, last_used) = (Availability::Free, Some(now(self.step)));
            self.queue.apply(QueueEvent::BoardChanged { board, availability, last_used });
        }
    }

    fn of(&self) -> u64 {
        if self.lab.stuck > 0 { 1 + self.arrived % (FAMILIES - 1) } else { self.arrived % FAMILIES }
    }
}

/// Grants a second while [`WAITING`] runs always wait: every event of a grant's life is counted.
fn throughput(lab: &Lab) -> f64 {
    let mut load = Load::new(lab);
    while load.queue.len() < WAITING {
        load.arrive(load.of());
    }
    while load.grant() > 0 {}
    let (began, mut granted) = (tick(), 0);
    while granted < GRANTS {
        for _ in 0..lab.at_once {
            load.end();
            load.arrive(load.of());
        }
        granted += load.grant();
    }
    granted as f64 / (tick() - began).as_secs_f64()
}

/// From a run's arrival to its grant, in a lab with free boards and a stuck backlog: 99 of 100 are sooner.
fn latency(lab: &Lab) -> Duration {
    let mut load = Load::new(lab);
    for _ in 0..GRANTS {
        load.arrive(load.of());
        load.grant();
        if load.live.len() > BOARDS as usize / 4 {
            load.end();
        }
    }
    load.waits.sort();
    load.waits[load.waits.len() * 99 / 100]
}

/// How long one answer to "why" takes, position among them.
fn answers(lab: &Lab) -> Duration {
    let mut load = Load::new(lab);
    while load.queue.len() < WAITING {
        load.arrive(load.of());
    }
    while load.grant() > 0 {}
    let runs: Vec<RunId> = load.arrivals.keys().copied().step_by(97).collect();
    let began = tick();
    for run in &runs {
        std::hint::black_box(load.queue.why(*run, now(0)));
    }
    (tick() - began) / runs.len() as u32
}

fn main() {
    let lab = |name, stuck, requesters, selectors, wants, at_once| Lab {
        name,
        stuck,
        requesters,
        selectors,
        wants,
        at_once,
    };
    let labs = [
        lab("all wait for busy boards", 0, 100, 6, &[1][..], 1),
        lab("the same, boards free 64 at once", 0, 100, 6, &[1], 64),
        lab("the same, one run in eight wants two", 0, 100, 6, &[1, 1, 1, 1, 1, 1, 1, 2], 8),
        lab("9,000 of 10,000 stuck", 9_000, 100, 6, &[1], 1),
        lab("1,000 requesters", 0, 1_000, 6, &[1], 8),
    ];
    for lab in &labs {
        let (grants, p99, answer) = (throughput(lab), latency(lab), answers(lab));
        println!("{:38} {grants:>9.0} grants/s   p99 {p99:>9.1?}   why {answer:>9.1?}", lab.name);
    }
}
