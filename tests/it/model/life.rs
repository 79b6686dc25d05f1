//! The life of a run, from the delivery that asks for it to the last message about it: two servers that may be killed or
//! stopped between any two commits, deliveries and answers that come twice or never, and a platform that takes a message and
//! does not say so. What becomes of the run is asked of the product's own table and decisions. A message that is given up is
//! taken to have come by then, or never to come.

use boardhand::board::plan::RetryPolicy;
use boardhand::board::{BoardId, Family};
use boardhand::chat::{Actor, Place, Platform};
use boardhand::clock::Timestamp;
use boardhand::id::{Ids, LeaseId, RunId};
use boardhand::lease::{Fence, LeaseState};
use boardhand::outcome::Verdict;
use boardhand::run::transition::{RunEvent, WORKER_LOST, decide};
use boardhand::run::{LeaseRef, Priority, Run, RunKind, RunSpec, RunState, Selector, Stage};

use super::checker::Model;
use crate::store::lab::outcome;

/// Grants of the board, at most.
const FENCES_MAX: i64 = 3;
/// Copies of the delivery that are under way at once, at most.
const COPIES_MAX: u8 = 2;

/// The guards that hold the protocol together; the product has all of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guards {
    /// The key of a delivery is committed with what it does.
    pub(super) key_with_effect: bool,
    /// A board that somebody has is granted to nobody.
    pub(super) one_lease: bool,
    /// An outcome is written under the fence of the live lease alone.
    pub(super) fence: bool,
    /// An attempt ends under a lease that is active, and under one that is finalizing no more.
    pub(super) active_alone: bool,
    /// What is told of an outcome is owed in the same transaction.
    pub(super) owed_with_outcome: bool,
    /// A card counts as shown as it was when it was drawn.
    pub(super) drawn_revision: bool,
    /// A message that may have been posted is looked for before it is posted again.
    pub(super) looks_first: bool,
}

impl Default for Guards {
    fn default() -> Self {
        Guards {
            key_with_effect: true,
            one_lease: true,
            fence: true,
            active_alone: true,
            owed_with_outcome: true,
            drawn_revision: true,
            looks_first: true,
        }
    }
}

/// A run as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Word {
    Queued { attempt: u32 },
    Active { attempt: u32, fence: i64 },
    Finished { verdict: &'static str },
}

/// A message in the run's thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Reply {
    None,
    Owed,
    /// It is being posted, or was when a server died.
    Begun,
    Sent,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Now {
    /// Copies of the delivery under way, and whether whoever sends it was told that it came.
    copies: u8,
    acknowledged: bool,
    /// Whether the key is known, and how often its effect came.
    known: bool,
    accepted: u8,
    /// A server that has committed the effect and not the key, where those are two.
    halfway: bool,
    run: Option<Word>,
    outcomes: u8,
    /// Whether something was written under a lease that was over.
    wrote_stale: bool,
    fence: i64,
    leases: Vec<(i64, LeaseState)>,
    /// Grants that were decided on what was seen, and are not committed.
    decided: [bool; 2],
    /// Attempts that are driven, by their fences: also by processes that do not know that their lease is over.
    driven: Vec<i64>,
    card: (u8, u8),
    /// The revision that is being sent, and whether the platform has it.
    drawing: Option<(u8, bool)>,
    shown: u8,
    reply: Reply,
    /// Whether a post is under way, and whether the platform has it.
    posting: Option<bool>,
    posts: u8,
}

/// The protocol under some guards.
pub(super) struct Life(pub(super) Guards);

type Then = Vec<(&'static str, Now)>;

impl Life {
    fn deliver(&self, now: &Now, then: &mut Then) {
        if !now.acknowledged && now.copies < COPIES_MAX {
            let mut sent = now.clone();
            sent.copies += 1;
            then.push(("the platform sends the delivery", sent));
        }
        if now.halfway {
            let mut whole = now.clone();
            (whole.known, whole.halfway, whole.acknowledged) = (true, false, true);
            then.push(("the key is committed", whole));
        }
        if now.copies == 0 {
            return;
        }
        let mut came = now.clone();
        came.copies -= 1;
        then.push(("a copy of the delivery is lost", came.clone()));
        if !now.known {
            came.accepted += 1;
            came.run = came.run.or(Some(Word::Queued { attempt: 1 }));
            came.card.0 += u8::from(came.accepted == 1);
            (came.known, came.halfway) = (self.0.key_with_effect, !self.0.key_with_effect);
        }
        then.push(("the delivery is committed, and its answer is lost", came.clone()));
        if !came.halfway {
            came.acknowledged = true;
            then.push(("the delivery is committed and acknowledged", came));
        }
    }

    fn grant(&self, now: &Now, then: &mut Then) {
        let waits = matches!(now.run, Some(Word::Queued { .. }));
        for scheduler in [0, 1] {
            let mut next = now.clone();
            if !now.decided[scheduler] && waits && now.leases.is_empty() {
                next.decided[scheduler] = true;
                then.push(("a scheduler decides to give the board to the run", next));
                continue;
            }
            if !now.decided[scheduler] {
                continue;
            }
            next.decided[scheduler] = false;
            let is_free = now.leases.is_empty() || !self.0.one_lease;
            if let (Some(word), true, true) = (now.run, is_free, now.fence < FENCES_MAX) {
                let fence = now.fence + 1;
                // Without the guard on the board, nothing looks at the run either.
                let granted = apply(word, RunEvent::Granted { lease: lease(fence), at: at() });
                let granted = granted.or((!self.0.one_lease).then_some(word));
                if let Some(run) = granted {
                    (next.run, next.fence) = (Some(run), fence);
                    next.leases.push((fence, LeaseState::Active));
                    next.driven.push(fence);
                }
            }
            then.push(("the grant is committed, where that is possible still", next));
        }
    }

    fn drive(&self, now: &Now, then: &mut Then) {
        for (nth, fence) in now.driven.iter().enumerate() {
            let mut next = now.clone();
            next.driven.remove(nth);
            then.push(("a process that drives a board is killed", next.clone()));
            let is_active = |state: LeaseState| state == LeaseState::Active || !self.0.active_alone;
            let live = now.leases.iter().any(|(of, state)| of == fence && is_active(*state));
            let Some(word) = now.run.filter(|_| live || !self.0.fence) else {
                then.push(("an attempt ends, and its lease is over: nothing is written", next));
                continue;
            };
            let passed = outcome(Verdict::Passed, "");
            let decision = decide(&passed, retry(), &[]);
            let settled = apply(word, RunEvent::Settled { outcome: passed, decision, at: at() });
            // A write without its guard looks at nothing.
            let settled = settled.unwrap_or(Word::Finished { verdict: "passed" });
            next.run = Some(settled);
            next.outcomes += 1;
            next.wrote_stale |= !live;
            next.card.0 += 1;
            if self.0.owed_with_outcome {
                next.reply = Reply::Owed;
            }
            for lease in &mut next.leases {
                lease.1 = if lease.0 == *fence { LeaseState::Finalizing } else { lease.1 };
            }
            let mut unheard = next.clone();
            unheard.driven.push(*fence);
            then.push(("an outcome is committed, and its process does not hear of it", unheard));
            then.push(("an attempt ends, and its outcome is committed", next));
        }
        if !self.0.owed_with_outcome && now.outcomes > 0 && now.reply == Reply::None {
            // Whoever committed the outcome may have died by now: nobody else knows that something is owed.
            if !now.leases.is_empty() {
                let mut owed = now.clone();
                owed.reply = Reply::Owed;
                then.push(("what is told of it is committed", owed));
            }
        }
        for (nth, (fence, state)) in now.leases.iter().enumerate() {
            let mut next = now.clone();
            next.leases.remove(nth);
            match state {
                LeaseState::Finalizing => {
                    then.push(("the board is at rest, and its lease is released", next))
                }
                _ if now.fence < FENCES_MAX => {
                    let lost = outcome(Verdict::Infra, WORKER_LOST);
                    let decision = decide(&lost, retry(), &[BoardId::new("soc-a-001")]);
                    let event = RunEvent::Settled { outcome: lost, decision, at: at() };
                    next.run = match now.run {
                        Some(word @ Word::Active { fence: of, .. }) if of == *fence => apply(word, event),
                        other => other,
                    };
                    then.push(("the lease lapses, whether its process lives or not", next));
                }
                _ => {}
            }
        }
    }

    fn show(&self, now: &Now, then: &mut Then) {
        let (wanted, sent) = now.card;
        let with = |change: &dyn Fn(&mut Now)| {
            let mut next = now.clone();
            change(&mut next);
            next
        };
        match now.drawing {
            None if wanted > sent => {
                then.push(("the relay draws the card", with(&|next| next.drawing = Some((wanted, false)))));
            }
            None => {}
            Some((revision, came)) => {
                then.push(("the relay is killed, or gives the card up", with(&|next| next.drawing = None)));
                if came {
                    let counts = if self.0.drawn_revision { revision } else { wanted };
                    let done = with(&|next| (next.card.1, next.drawing) = (counts, None));
                    then.push(("the relay hears that the card is shown", done));
                } else {
                    let shown = with(&|next| (next.shown, next.drawing) = (revision, Some((revision, true))));
                    then.push(("the platform shows the card", shown));
                }
            }
        }
        match (now.reply, now.posting) {
            (Reply::Owed, _) => then.push((
                "the relay begins to post",
                with(&|next| (next.reply, next.posting) = (Reply::Begun, Some(false))),
            )),
            (Reply::Begun, Some(came)) => {
                then.push(("the relay is killed, or gives the post up", with(&|next| next.posting = None)));
                if came {
                    let done = with(&|next| (next.reply, next.posting) = (Reply::Sent, None));
                    then.push(("the relay hears that it is posted", done));
                } else if now.posts < 2 {
                    let posted = with(&|next| (next.posts, next.posting) = (now.posts + 1, Some(true)));
                    then.push(("the platform posts", posted));
                }
            }
            (Reply::Begun, None) if self.0.looks_first && now.posts > 0 => {
                then.push(("the relay finds what was posted", with(&|next| next.reply = Reply::Sent)));
            }
            (Reply::Begun, None) => {
                then.push(("the relay posts again", with(&|next| next.posting = Some(false))));
            }
            (Reply::None | Reply::Sent, _) => {}
        }
    }
}

impl Model for Life {
    type State = Now;

    fn begin(&self) -> Now {
        Now {
            copies: 0,
            acknowledged: false,
            known: false,
            accepted: 0,
            halfway: false,
            run: None,
            outcomes: 0,
            wrote_stale: false,
            fence: 0,
            leases: vec![],
            decided: [false; 2],
            driven: vec![],
            card: (0, 0),
            drawing: None,
            shown: 0,
            reply: Reply::None,
            posting: None,
            posts: 0,
        }
    }

    fn next(&self, now: &Now, then: &mut Then) {
        self.deliver(now, then);
        self.grant(now, then);
        self.drive(now, then);
        self.show(now, then);
    }

    fn broken(&self, now: &Now) -> Option<&'static str> {
        let wrong = [
            (now.accepted > 1, TWO_EFFECTS),
            (now.leases.len() > 1, TWO_LEASES),
            (now.wrote_stale, WROTE_STALE),
            (now.outcomes > 1, TWO_OUTCOMES),
            (now.posts > 1, TOLD_TWICE),
        ];
        wrong.into_iter().find_map(|(is_so, what)| is_so.then_some(what))
    }

    fn is_well(&self, now: &Now) -> bool {
        // Where no more grants are looked at, the last one may have been killed.
        let spent = now.fence == FENCES_MAX && now.driven.is_empty() && now.outcomes == 0;
        let finished = matches!(now.run, Some(Word::Finished { verdict: "passed" })) && now.outcomes == 1;
        let told = now.reply == Reply::Sent && now.posts == 1;
        let shown = now.shown == now.card.0 && now.card.0 == now.card.1;
        spent || finished && told && shown && now.leases.is_empty()
    }
}

pub(super) const TWO_EFFECTS: &str = "one delivery had two effects";
pub(super) const TWO_LEASES: &str = "a board has two live leases";
pub(super) const WROTE_STALE: &str = "something was written under a lease that was over";
pub(super) const TWO_OUTCOMES: &str = "a run has two outcomes";
pub(super) const TOLD_TWICE: &str = "something was told twice";

/// What the product's table makes of a run; nothing where it cannot be.
fn apply(word: Word, event: RunEvent) -> Option<Word> {
    let state = match word {
        Word::Queued { attempt } => RunState::Queued { since: at(), attempt, avoid: vec![] },
        Word::Active { attempt, fence } => {
            RunState::Active { stage: Stage::Testing, attempt, lease: lease(fence), started_at: at() }
        }
        Word::Finished { .. } => {
            RunState::Finished { outcome: outcome(Verdict::Passed, ""), attempt: 1, at: at() }
        }
    };
    match run(state).apply(event).ok()?.state {
        RunState::Queued { attempt, .. } => Some(Word::Queued { attempt }),
        RunState::Active { attempt, lease, .. } => Some(Word::Active { attempt, fence: lease.fence.0 }),
        RunState::Finished { outcome, .. } => Some(Word::Finished { verdict: outcome.verdict.as_str() }),
    }
}

fn at() -> Timestamp {
    Timestamp::default()
}

fn retry() -> RetryPolicy {
    RetryPolicy { infra: 2, other_board: true }
}

fn lease(fence: i64) -> LeaseRef {
    LeaseRef {
        id: LeaseId::new(&Ids::seeded(1), at()),
        board: BoardId::new("soc-a-001"),
        fence: Fence(fence),
    }
}

/// The run in some state.
fn run(state: RunState) -> Run {
    let origin = Place { platform: Platform::Slack, channel: "C0SOCCI".into(), thread: None };
    let spec = RunSpec {
        kind: RunKind::Test,
        family: Family::new("socA"),
        build: "build-1".into(),
        suite: "smoke".into(),
        selector: Selector::default(),
        priority: Priority::Normal,
        boards: 1,
        on_own_board: false,
        timeout: None,
        params: Default::default(),
    };
    Run {
        id: RunId::new(&Ids::seeded(1), at()),
        number: 1,
        spec,
        requested_by: Actor {
            platform: Platform::Slack,
            id: "U0LI".into(),
            team: "T1".into(),
            name: "li".into(),
        },
        origin,
        created_at: at(),
        retry_of: None,
        batch: None,
        state,
        request: None,
    }
}
