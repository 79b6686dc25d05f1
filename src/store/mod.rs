//! The store: the only truth. One coarse operation is one transaction and means one thing in the lab's language.
//!
//! Two implementations stand side by side (SQLite now; Postgres joins it), chosen in one place, and one conformance
//! suite says what every operation means. Answers that a caller acts on (`Stale`, `Taken`, a duplicate) are values,
//! not errors; an error means the store itself failed and nothing of the operation happened.
//!
//! Every operation that changes a run also writes an event and asks for a newer revision of its cards; every
//! operation under a lease names its fence and answers [`Fenced::Stale`] when the lease is no longer live.

pub mod sqlite;

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::board::plan::PowerAction;
use crate::board::{BoardId, Family};
use crate::chat::{Actor, AnswerVia, Place, Platform};
use crate::clock::Timestamp;
use crate::id::{InstanceId, LeaseId, MessageId, RunId};
use crate::lease::{Fence, Holder, Lease, LeaseState, Reservation};
use crate::message::Note;
use crate::outcome::compare::{Comparison, Marks, Past, RunOfBuild};
use crate::outcome::{Counts, Outcome, Verdict};
use crate::run::{
    Attempt, Decision, Keep, LeaseRef, Priority, Request, Run, RunKind, RunSpec, Selector, Stage,
};

/// What a store operation gives.
pub type Result<T> = std::result::Result<T, StoreError>;

/// The store failed; nothing of the operation happened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be used now: full, locked, read-only, gone. Trying again may help.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// A row cannot be read as what it should be. Trying again does not help.
    #[error("table {table}, row {row}: {problem}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The row's key.
        row: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The schema stands against what was to be written. Trying again does not help.
    #[error("the database refuses the write: {0}")]
    Refused(String),
}

impl StoreError {
    /// Whether the same operation fails again however often it is tried.
    pub fn is_lasting(&self) -> bool {
        match self {
            StoreError::Unavailable(_) => false,
            StoreError::Corrupt { .. } | StoreError::Refused(_) => true,
        }
    }
}

/// How often whoever has a board is asked whether they need it.
pub const NUDGE_EVERY: Duration = Duration::from_secs(10 * 60);
/// Of how many boards that come free one person is to be told at once.
pub const NOTICES_MAX: u32 = 20;
/// Most cards of one channel to post, and most to edit, that [`Store::message_due`] gives at once.
pub const CHANNEL_HEADS_MAX: u32 = 16;

/// Durable state. Operations that list rows leave out those that cannot be read (see [`Census::unreadable`]): one bad
/// row costs what it stands for, and nothing else.
#[async_trait]
pub trait Store: Send + Sync {
    // ---- the door -----------------------------------------------------------------------------------------

    /// Commits a delivery with its effect, its audit row, its owed messages and its answer, all or nothing. The
    /// same key again changes nothing and gives the same answer.
    async fn commit(&self, intake: Intake) -> Result<Committed>;
    /// Forgets deliveries received before `before`; the caller keeps them at least 24 h. Gives how many.
    async fn delivery_forget(&self, before: Timestamp) -> Result<u64>;

    // ---- runs, to read ------------------------------------------------------------------------------------

    /// A run with everything its card shows.
    async fn run_view(&self, number: i64) -> Result<Option<RunView>>;
    /// What the card or thread there tells; the newest where a thread tells of several.
    async fn run_of_thread(&self, place: &Place) -> Result<Option<Told>>;
    /// A batch with everything its card shows, by the number of its first run.
    async fn batch_view(&self, first: i64) -> Result<Option<BatchView>>;
    /// Runs, newest first; finished ones without their test cases.
    async fn run_list(&self, filter: &RunFilter) -> Result<Vec<Run>>;
    /// The newest finished test runs of a suite of a family, as later ones look back at them.
    async fn suite_past(&self, family: &Family, suite: &str) -> Result<SuitePast>;
    /// The test runs of a build that have ended on a board, the newest first; the newest few dozen.
    async fn build_ended(&self, build: &str) -> Result<Vec<Ended>>;

    // ---- the queue ----------------------------------------------------------------------------------------

    /// What changed for the scheduler since `cursor`; with `None`, everything it needs to begin.
    /// Says what *is*, not what happened: reading the same change twice is harmless.
    async fn queue_changes(&self, cursor: Option<Cursor>) -> Result<QueueChanges>;

    // ---- leases -------------------------------------------------------------------------------------------

    /// Grants boards to waiting runs, each checked again: the run still waits for that attempt, the board has no
    /// live lease and is in service; or it is held for the run's requester, and no other run of theirs is on it: then the
    /// run is under the lease that is there. One answer per grant, in order.
    async fn lease_grant(&self, grants: &[Grant], terms: &LeaseTerms) -> Result<Vec<Granted>>;
    /// Takes one board for a moment or for a person; a quarantined one too, since somebody has to look at it.
    async fn lease_take(
        &self,
        id: LeaseId,
        board: &BoardId,
        holder: &Holder,
        terms: &LeaseTerms,
    ) -> Result<Granted>;
    /// Renews every live lease of an instance until `expires_at`, but those held for a person, whose time is their
    /// own; gives those that were renewed.
    async fn lease_renew(&self, instance: InstanceId, expires_at: Timestamp) -> Result<Vec<LeaseId>>;
    /// Every live lease.
    async fn lease_list(&self) -> Result<Vec<Lease>>;
    /// Where a lease is in its life; `None` when there is none with this fence.
    async fn lease_state(&self, lease: &LeaseRef) -> Result<Option<LeaseState>>;
    /// Notes that the board was fenced physically under this lease.
    async fn lease_fenced(&self, lease: &LeaseRef, now: Timestamp) -> Result<Fenced>;
    /// Gives a board back, at rest or not. A run's lease is stale for this until its outcome is committed.
    async fn lease_release(&self, lease: &LeaseRef, rest: &AtRest, now: Timestamp) -> Result<Fenced>;
    /// Takes away every lease whose time is over by `now`, but those that `except` drives and those held for a person.
    /// Runs under them are settled as lost (see [`Lapsed`]).
    async fn lease_expire(&self, except: InstanceId, now: Timestamp) -> Result<Vec<Lapsed>>;
    /// At start, under the exclusive lock: takes away every live lease of every other instance at once. What is held
    /// for a person stays held, and is `instance`'s to drive from now on; a run of theirs that was on it is lost.
    async fn lease_takeover(&self, instance: InstanceId, now: Timestamp) -> Result<Vec<Lapsed>>;
    /// Takes away leases whose driver died inside a process that lives on; those that are not live any more are left
    /// as they are. What is held for a person stays held; only a run of theirs that was on it is lost.
    async fn lease_lapse(&self, leases: &[LeaseId], now: Timestamp) -> Result<Vec<Lapsed>>;

    /// Gives leases back whose boards nobody has touched: their runs wait again for the same attempt, as if it had
    /// never been granted, and the boards are as they were. What has begun meanwhile is left as it is; gives the
    /// leases that were given back.
    async fn lease_return(&self, leases: &[LeaseId], now: Timestamp) -> Result<Vec<LeaseId>>;

    // ---- boards of people ---------------------------------------------------------------------------------

    /// Gives a board to somebody who waits for one of their own, checked again: the reservation still waits, the board
    /// has no live lease and is in service. They are told, with the lease's `fence` added.
    async fn hold_grant(
        &self,
        reservation: LeaseId,
        board: &BoardId,
        terms: &LeaseTerms,
        told: &(AnswerVia, Note),
    ) -> Result<Granted>;
    /// Tells somebody that their time is almost over, once for each end: not if it is another one meanwhile, or they
    /// were told. Gives whether they were told now.
    async fn hold_warn(&self, lease: &Lease, told: &(AnswerVia, Note), now: Timestamp) -> Result<bool>;
    /// Ends what somebody holds, because its time was over by `now`; `rest` is the id of the lease under which the board
    /// is brought to rest, and they are told. Gives what became of it.
    async fn hold_expire(
        &self,
        lease: &LeaseRef,
        rest: LeaseId,
        told: &(AnswerVia, Note),
        now: Timestamp,
    ) -> Result<Effected>;
    /// Who is to be told when a board comes free.
    async fn notice_list(&self) -> Result<Vec<Notice>>;
    /// They are told, once.
    async fn notice_done(&self, id: MessageId, told: &(AnswerVia, Note), now: Timestamp) -> Result<()>;
    /// Who waits for a board of their own, the longest waiting first.
    async fn reservation_list(&self) -> Result<Vec<Reservation>>;

    // ---- a run on its board -------------------------------------------------------------------------------

    /// The run reached a stage. One that it reached before changes nothing, and its notes are not owed again.
    async fn run_advance(
        &self,
        lease: &LeaseRef,
        stage: Stage,
        notes: &[Note],
        now: Timestamp,
    ) -> Result<Fenced>;
    /// The attempt has something to tell before it ends: the `nth` thing, from 1. What was told before, or came before
    /// something that was, is not told again.
    async fn run_tell(&self, lease: &LeaseRef, nth: u32, note: &Note, now: Timestamp) -> Result<Fenced>;
    /// The run's tests got farther: droppable, only the card shows it.
    async fn run_progress(&self, lease: &LeaseRef, counts: Counts, now: Timestamp) -> Result<Fenced>;
    /// The attempt ended: outcome, what follows, owed messages, and the lease's turn to `finalizing`, in one.
    async fn run_settle(&self, settle: &Settle) -> Result<Fenced>;
    /// Ends a run that waits, for a reason that nobody asked for; gives whether it still waited.
    async fn run_withdraw(&self, number: i64, outcome: &Outcome, note: &Note, now: Timestamp)
    -> Result<bool>;
    /// What was asked of the runs that an instance drives.
    async fn run_requests(&self, instance: InstanceId) -> Result<Vec<(LeaseRef, Request)>>;

    // ---- boards and errands -------------------------------------------------------------------------------

    /// Makes a row for every board of the inventory that has none.
    async fn board_register(&self, boards: &[BoardId], now: Timestamp) -> Result<()>;
    /// Every board's row.
    async fn board_list(&self) -> Result<Vec<BoardRow>>;
    /// The oldest power requests that are owed, at most `limit`.
    async fn errand_due(&self, limit: u32) -> Result<Vec<Errand>>;
    /// A power request is begun under the lease of the one who asked, who has the board: stale when it is not theirs any
    /// more, or a run of theirs is on it.
    async fn errand_begin(&self, id: MessageId, lease: &LeaseRef, now: Timestamp) -> Result<Fenced>;
    /// A power request is done: its answer is owed to the person.
    async fn errand_done(&self, id: MessageId, answer: &Note, now: Timestamp) -> Result<()>;

    // ---- the lab file -------------------------------------------------------------------------------------

    /// The hash of the lab file in force, of whichever process put it there; `None` before the first.
    async fn lab_hash(&self) -> Result<Option<String>>;
    /// Puts another lab file in force.
    async fn lab_put(&self, hash: &str) -> Result<()>;
    /// Who waits for the lab file to be read again.
    async fn reload_due(&self) -> Result<Vec<ReloadRequest>>;
    /// It was read again: those who asked are owed this.
    async fn reload_done(&self, ids: &[MessageId], note: &Note, now: Timestamp) -> Result<()>;

    // ---- messages -----------------------------------------------------------------------------------------

    /// Messages to send now: answers first, then cards whose newest revision was not sent (those of a batch's runs once
    /// the batch's own is posted), then the first unsent reply of every thread whose card is posted. Of
    /// one channel at most [`CHANNEL_HEADS_MAX`] cards to post and as many to edit, so that one with thousands waiting hides
    /// no other.
    async fn message_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Owed>>;
    /// When the next message that is not due yet falls due.
    async fn message_next_due(&self, now: Timestamp) -> Result<Option<Timestamp>>;
    /// Notes the intent to post, before posting: after a crash between post and mark, the platform is asked first.
    async fn message_begin(&self, ids: &[MessageId], now: Timestamp) -> Result<()>;
    /// Notes how sending ended.
    async fn message_end(&self, ends: &[MessageEnd], now: Timestamp) -> Result<()>;

    // ---- housekeeping -------------------------------------------------------------------------------------

    /// Removes what is outdated from one page, at most `limit` rows, of each table that grows with every run; never
    /// what an unfinished run, a message that is owed or the scheduler still needs. Repeated with what it gave.
    async fn tidy(&self, outdated: &Outdated, from: TidyFrom, limit: u32) -> Result<Tidied>;
    /// Those of these runs that are finished, and since when; in no order.
    async fn run_ended(&self, numbers: &[i64]) -> Result<Vec<(i64, Timestamp)>>;

    // ---- the store itself ---------------------------------------------------------------------------------

    /// A secret of this database, made at its first start: signs links.
    async fn secret(&self) -> Result<[u8; 32]>;
    /// Whether the database answers and its migrations are done.
    async fn ready(&self) -> Result<()>;
    /// How many rows wait: for health and for a test's ending.
    async fn census(&self) -> Result<Census>;
    /// Rises whenever this process commits something that a loop may have to hear of; `None` where other processes
    /// commit too, and only a look tells.
    fn commits(&self) -> Option<u64>;
    /// Resolves when the store has ended and will never take a write again.
    async fn ended(&self);
}

// ---- the door ---------------------------------------------------------------------------------------------

/// For how long nobody edits a card that an acknowledgement shows anew: the client shows that one last, whatever came
/// before it.
pub const CARD_HELD: Duration = Duration::from_secs(4);

/// A delivery on its way into the store.
#[derive(Debug, Clone)]
pub struct Intake {
    /// The delivery's dedupe key.
    pub key: String,
    /// Where it came from.
    pub platform: Platform,
    /// Who acts.
    pub actor: Actor,
    /// When it reached us.
    pub received_at: Timestamp,
    /// Whether its key and its answer are kept, so that a repeat gets the same one.
    pub remembered: bool,
    /// What it changes.
    pub effect: Effect,
    /// What is answered when the effect is what was planned. Facts that only the store knows are added to it:
    /// `effected`, `numbers` (of the runs that were started, or of a batch ended, in order), `number` (of the run
    /// meant).
    pub answer: Note,
    /// What is answered instead, by how the effect really ended ([`Effected::as_str`]).
    pub instead: Vec<(&'static str, Note)>,
    /// Set when the answer is not the body of the acknowledgement but an owed message.
    pub answer_via: Option<AnswerVia>,
    /// The card that the acknowledgement shows anew, by its message: nobody edits it while that is on its way.
    pub shows: Option<Place>,
    /// The audit row.
    pub audit: Audit,
}

/// Why somebody was allowed or refused, kept for every delivery that wanted to change something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// The command's verb; empty for a delivery that wants to change nothing, which is not audited.
    pub verb: String,
    /// What it was about: a board, a run's number.
    pub target: String,
    /// Whether it was allowed.
    pub allowed: bool,
    /// Why.
    pub reason: String,
}

/// What a delivery changes.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Nothing.
    None,
    /// Starts runs: one, or several with `x3`, which are a batch. The runs of a batch have the same places for their
    /// cards; there the batch's card is posted first, and theirs in its thread.
    Start(Vec<NewRun>),
    /// Starts a run that repeats another; at most one per `once` (run and card generation), so that ten clicks are
    /// one effect.
    Retry {
        /// The run to repeat; its card says so.
        of: i64,
        /// `42:7`; `None` for a typed command, which always starts one.
        once: Option<String>,
        /// The new run.
        run: Box<NewRun>,
        /// Told in the old run's thread, with `number` added.
        note: Note,
    },
    /// Ends a run: at once while it waits, through its Runner while it is on a board.
    Cancel {
        /// The run.
        run: i64,
        /// Who asks.
        by: Actor,
        /// How a waiting run ends.
        outcome: Outcome,
        /// Told in its thread when it ends at once.
        note: Note,
    },
    /// Ends every run of a batch that is not finished, each as [`Effect::Cancel`] does.
    CancelBatch {
        /// The batch, by the number of its first run.
        batch: i64,
        /// Who asks.
        by: Actor,
        /// How a waiting run ends.
        outcome: Outcome,
        /// The runs, and what is told in the thread of each when it ends at once.
        runs: Vec<(i64, Note)>,
    },
    /// Power-cycles the board of a run that is on it, through its Runner.
    PowerCycle {
        /// The run.
        run: i64,
        /// When the attempt began that is meant: a later one is on another board, or began anew.
        attempt_at: Timestamp,
        /// Who asks.
        by: Actor,
    },
    /// Puts a quarantined board back into service; its next holder fences it first.
    Return {
        /// The board.
        board: BoardId,
    },
    /// Takes a board out of service: nothing new is granted on it; what is on it goes on.
    Quarantine {
        /// The board.
        board: BoardId,
        /// Why, for people.
        reason: String,
    },
    /// Reads the lab file again; somebody is told how it went.
    Reload {
        /// Its id.
        id: MessageId,
        /// Who is told.
        via: AnswerVia,
    },
    /// Takes a board for the one who asks, at once or in their turn.
    Reserve {
        /// What they ask for; its `place` is given here.
        wish: Reservation,
        /// The board that is theirs at once, unless somebody was faster: then, and without one, they wait.
        at_once: Option<BoardId>,
        /// Whether they wait where it is not free.
        or_wait: bool,
        /// Most boards that they may have and wait for at once.
        most: u32,
        /// The process that drives it.
        instance: InstanceId,
    },
    /// The one who asks has the board of a run, should that fail.
    Keep {
        /// The run.
        run: i64,
        /// For how long.
        lasts: Duration,
    },
    /// The one who asks is told when a board comes free.
    Notify(Notice),
    /// Asks whoever has a board whether they need it.
    Nudge {
        /// The board.
        board: BoardId,
        /// Which lease of it is meant.
        fence: Fence,
        /// What they are told.
        note: Note,
    },
    /// The one who asks offers the board that they have to somebody.
    Offer {
        /// The board.
        board: BoardId,
        /// Which lease of it is meant.
        fence: Fence,
        /// To whom.
        to: Actor,
        /// What they are told.
        note: Note,
    },
    /// The one who asks takes the board that they were offered.
    Accept {
        /// The board.
        board: BoardId,
        /// Which lease of it is meant.
        fence: Fence,
        /// The id of their lease.
        id: LeaseId,
        /// What whoever had it is told.
        note: Note,
    },
    /// Somebody waits for a board of their own no more.
    Unreserve {
        /// What they waited for.
        reservation: LeaseId,
    },
    /// Ends what somebody holds. The board is brought to rest, or goes on with their run that is on it.
    Release {
        /// The board.
        board: BoardId,
        /// Which lease of it is meant; `None` the one there is.
        fence: Option<Fence>,
        /// Whether it may be somebody else's; those are told this, with `number` of a run that goes on added.
        others: Option<Note>,
        /// The id of the lease under which the board is brought to rest.
        rest: LeaseId,
    },
    /// Lets the one who asks keep their board for longer.
    Extend {
        /// The board.
        board: BoardId,
        /// Which lease of it is meant; `None` the one there is.
        fence: Option<Fence>,
        /// How much longer.
        by: Duration,
        /// How long they may have it in all, from when they got it.
        longest: Duration,
    },
    /// Switches a board that no run needs; somebody is told how it ended.
    Errand {
        /// Its id.
        id: MessageId,
        /// The board.
        board: BoardId,
        /// What to do.
        action: PowerAction,
        /// Who is told how it ended.
        via: AnswerVia,
    },
}

/// Somebody who is to be told when a board comes free.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// Its id.
    pub id: MessageId,
    /// Who.
    pub by: Actor,
    /// The kind of board.
    pub family: Family,
    /// Only this one.
    pub board: Option<BoardId>,
    /// Since when.
    pub asked_at: Timestamp,
}

/// Somebody who waits for the lab file to be read again.
#[derive(Debug, Clone, PartialEq)]
pub struct ReloadRequest {
    /// Its id.
    pub id: MessageId,
    /// Who is told.
    pub via: AnswerVia,
}

/// How the effect of a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effected {
    /// As planned.
    Done,
    /// The run that should end or be cycled is finished.
    AlreadyFinished,
    /// Another click of the same button was first; `number` is the run it started.
    AlreadyRetried,
    /// The same was asked for before, under the same key; `number` is the run that was started then.
    AlreadyStarted,
    /// The run is waiting: there is no board to cycle.
    NotOnBoard,
    /// The run is in another attempt than the one whose board was to be cycled.
    OtherAttempt,
    /// The run on the board was asked to end.
    Asked,
    /// There is no such run.
    NoSuchRun,
    /// The board that should come back into service is in service.
    NotQuarantined,
    /// The board that should leave service has left it before, for the reason that it was given then.
    AlreadyQuarantined,
    /// The board is not free: who asked for it waits.
    Queued,
    /// Who asked for a board waits for such a one already.
    AlreadyWaiting,
    /// Who asked for a board waits for as many as anybody may.
    TooMany,
    /// Nobody holds the board, or it is another's, or it is under another lease than the one that was meant.
    NotTheirs,
    /// A run of whoever held the board is on it, and goes on; `number` is the run.
    GoesOn,
    /// The board is theirs for as long as it may be.
    AtMost,
    /// That was asked a moment ago.
    TooSoon,
}

impl Effected {
    /// The word in an answer's facts.
    pub fn as_str(self) -> &'static str {
        match self {
            Effected::Done => "done",
            Effected::AlreadyFinished => "already-finished",
            Effected::AlreadyRetried => "already-retried",
            Effected::AlreadyStarted => "already-started",
            Effected::NotOnBoard => "not-on-board",
            Effected::OtherAttempt => "other-attempt",
            Effected::Asked => "asked",
            Effected::NoSuchRun => "no-such-run",
            Effected::NotQuarantined => "not-quarantined",
            Effected::AlreadyQuarantined => "already-quarantined",
            Effected::Queued => "queued",
            Effected::AlreadyWaiting => "already-waiting",
            Effected::TooMany => "too-many",
            Effected::NotTheirs => "not-theirs",
            Effected::GoesOn => "goes-on",
            Effected::AtMost => "at-most",
            Effected::TooSoon => "too-soon",
        }
    }
}

/// A run on its way into the store; the store gives it its number.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// Its id.
    pub id: RunId,
    /// What was asked for.
    pub spec: RunSpec,
    /// Who asked.
    pub requested_by: Actor,
    /// Where it was asked for.
    pub origin: Place,
    /// Where its cards stand: the origin and its mirrors, or the default channel.
    pub cards: Vec<Place>,
    /// For a channel that the bot is not in.
    pub via: Option<AnswerVia>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// The run that it repeats.
    pub retry_of: Option<i64>,
    /// At most one run is ever started under this; the first of a batch has it.
    pub once: Option<String>,
    /// Boards to avoid while another one could serve.
    pub avoid: Vec<BoardId>,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    /// False for a repeat.
    pub fresh: bool,
    /// The answer, the same for every repeat.
    pub answer: Note,
}

// ---- runs, to read ----------------------------------------------------------------------------------------

/// A run with everything its card shows.
#[derive(Debug, Clone, PartialEq)]
pub struct RunView {
    /// The run.
    pub run: Run,
    /// Its attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// Test counts so far, while it runs.
    pub progress: Counts,
    /// Runs that repeat it: number and who asked.
    pub retried_as: Vec<(i64, Actor)>,
    /// How often its failure had been seen before, once it has failed.
    pub seen: Option<Seen>,
    /// What was new about it when it ended, where it says something about its build.
    pub comparison: Option<Comparison>,
    /// The newest revision of its cards.
    pub generation: i64,
    /// Whose its board is, should it fail; once it has, whose it was then.
    pub keep: Option<Keep>,
    /// Whether it is on a board that its requester has.
    pub is_own: bool,
}

/// How often runs of a family had ended with the same failure before a run did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// What is the same ([`signature`](crate::outcome::signature)).
    pub signature: String,
    /// How many; 0 for a new failure.
    pub before: u32,
    /// The first of them.
    pub first: Option<Sighting>,
    /// The last of them.
    pub last: Option<Sighting>,
}

/// A run that ended with a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sighting {
    /// Its number.
    pub number: i64,
    /// Its build.
    pub build: String,
    /// When it ended.
    pub at: Timestamp,
}

/// What a suite came to before, as far back as anybody looks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SuitePast {
    /// Its newest runs that had test cases and say something about their builds, the newest first; at most
    /// [`PAST_MAX`](crate::outcome::compare::PAST_MAX).
    pub runs: Vec<Past>,
    /// The newest run that passed.
    pub good: Option<RunOfBuild>,
}

/// A test run that ended on a board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its number.
    pub number: i64,
    /// The kind of board.
    pub family: Family,
    /// The suite.
    pub suite: String,
    /// How it ended.
    pub verdict: Verdict,
}

/// A batch with everything its card shows.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchView {
    /// Its runs, in order; never none.
    pub runs: Vec<BatchRun>,
    /// The newest revision of its card.
    pub generation: i64,
}

/// A run of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchRun {
    /// The run; a finished one without its test cases.
    pub run: Run,
    /// Test counts so far, while it runs.
    pub progress: Counts,
    /// Its last attempt so far, and the board of that.
    pub last: Option<(u32, BoardId)>,
    /// Runs that repeat it.
    pub retried_as: Vec<i64>,
}

/// What a card or a thread tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// This run.
    Run(i64),
    /// This batch, by the number of its first run.
    Batch(i64),
}

/// Which runs to list.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Tests, or boardhand's own health runs (of those, the unfinished ones only).
    pub kind: RunKind,
    /// Only of this person ([`Actor::key`]).
    pub requested_by: Option<String>,
    /// Only on a board or waiting: in this order, the oldest of each first. Otherwise the newest come first.
    pub unfinished: bool,
    /// At most so many.
    pub limit: u32,
    /// Only those with smaller numbers; not of the unfinished ones.
    pub before: Option<i64>,
}

// ---- the queue --------------------------------------------------------------------------------------------

/// How far the scheduler has read. Only the store that made it can read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(pub i64);

/// What changed for the scheduler.
#[derive(Debug, Clone)]
pub struct QueueChanges {
    /// Where to go on.
    pub cursor: Cursor,
    /// Whether more is there already.
    pub more: bool,
    /// Runs as they are now.
    pub runs: Vec<QueueRun>,
    /// Boards as they are now.
    pub boards: Vec<BoardRow>,
    /// Everybody who waits for a board of their own now.
    pub reservations: Vec<Reservation>,
    /// How long attempts took that passed, failed or timed out, oldest first (only those since the cursor; at the
    /// start the last few).
    pub durations: Vec<Took>,
}

/// How long a finished attempt took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Took {
    /// The run.
    pub run: RunId,
    /// Its attempt.
    pub attempt: u32,
    /// The kind of board.
    pub family: Family,
    /// The suite.
    pub suite: String,
    /// From its grant to its outcome.
    pub took: Duration,
}

/// A run as the scheduler sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueRun {
    /// Its id.
    pub id: RunId,
    /// Its number.
    pub number: i64,
    /// What it waits for; `None` when it waits no more.
    pub waiting: Option<Waiting>,
    /// Whether it is finished.
    pub finished: bool,
    /// Whose it is ([`Actor::key`]).
    pub requester: String,
    /// How many boards it holds, or wants.
    pub boards: u32,
}

/// What a run waits for.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// The attempt.
    pub attempt: u32,
    /// Since when.
    pub since: Timestamp,
    /// Boards that failed it.
    pub avoid: Vec<BoardId>,
    /// The kind of board.
    pub family: Family,
    /// The suite, for estimates.
    pub suite: String,
    /// Which boards may serve.
    pub selector: Selector,
    /// Its place in the queue.
    pub priority: Priority,
    /// How many boards at once.
    pub boards: u32,
}

// ---- leases -----------------------------------------------------------------------------------------------

/// A board for a waiting run.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// The run.
    pub run: RunId,
    /// The attempt it waits for.
    pub attempt: u32,
    /// One lease per board; the plan drives the first.
    pub leases: Vec<(LeaseId, BoardId)>,
}

/// What a lease is granted for.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaseTerms {
    /// The process that will drive the board.
    pub instance: InstanceId,
    /// When it is granted.
    pub now: Timestamp,
    /// When it ends unless renewed.
    pub expires_at: Timestamp,
}

/// What became of a grant.
#[derive(Debug, Clone, PartialEq)]
pub enum Granted {
    /// The leases, in the order asked for.
    Leases(Vec<Lease>),
    /// A board has a live lease, and whose.
    Taken(Box<Lease>),
    /// A board is not in service, and why.
    OutOfService {
        /// The board.
        board: BoardId,
        /// Why.
        reason: String,
    },
    /// The run does not wait for that attempt any more.
    Gone,
}

/// Whether a write under a lease changed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Fenced {
    /// It did.
    Done,
    /// The lease is not live any more, or its fence is old: nothing changed.
    Stale,
}

/// How a board is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AtRest {
    /// As its family wants it.
    Yes,
    /// Not: the board becomes suspect, with the reason, and its next holder fences it first.
    No(String),
}

/// A lease that was taken away.
#[derive(Debug, Clone, PartialEq)]
pub struct Lapsed {
    /// The lease as it was.
    pub lease: Lease,
    /// Whether a run was under it without an outcome: it waits for its next attempt now, or, after
    /// [`LOST_ATTEMPTS_MAX`](crate::run::transition::LOST_ATTEMPTS_MAX) of them, is finished as infra. A run that was
    /// asked to end is finished as cancelled.
    pub requeued: bool,
}

/// The end of an attempt.
#[derive(Debug, Clone)]
pub struct Settle {
    /// The lease it ran under.
    pub lease: LeaseRef,
    /// The run.
    pub run: RunId,
    /// How it ended.
    pub outcome: Outcome,
    /// What follows.
    pub decision: Decision,
    /// Owed to the run's threads, in order; where the run ends with a failure, the store adds how often it was `seen`.
    pub notes: Vec<Note>,
    /// Where the run says something about its build: what is kept for those that look back at it.
    pub lookback: Option<Lookback>,
    /// Whether the board is to blame: feeds its health.
    pub board_fault: bool,
    /// Faults in a row that quarantine the board; 0 never, however it behaves.
    pub quarantine_after: u32,
    /// Why the board is quarantined at once, however it did before.
    pub unfit: Option<String>,
    /// What whoever keeps the board is told, should somebody; the store adds whose it is, until when and what for.
    pub kept: Note,
    /// Who is told, and what, if this quarantines the board; the store adds the `reason`.
    pub told: Option<(AnswerVia, Note)>,
    /// When.
    pub now: Timestamp,
}

/// What of a run is kept for those that look back at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookback {
    /// What it is beside those before it.
    pub comparison: Comparison,
    /// How its test cases ended.
    pub marks: Marks,
}

// ---- boards and errands -----------------------------------------------------------------------------------

/// A board as the store knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct BoardRow {
    /// The board.
    pub id: BoardId,
    /// Its live lease.
    pub lease: Option<Lease>,
    /// When its last lease ended.
    pub last_used_at: Option<Timestamp>,
    /// Whether it may be granted.
    pub health: Health,
    /// Infra outcomes in a row.
    pub failures: u32,
    /// Why it is not healthy.
    pub reason: String,
    /// Who took it out of service and when, while it is quarantined.
    pub quarantine: Option<Quarantine>,
    /// Its last outcomes, newest first: `o` for each that it served, `x` for each that it failed as a board.
    pub recent: String,
    /// When its last health run ended.
    pub checked_at: Option<Timestamp>,
    /// The last health run that ended on it: which, and how.
    pub checked: Option<(i64, String)>,
    /// Whether trouble on it, or its return to service, asks for a health run.
    pub check_wanted: bool,
}

impl BoardRow {
    /// `free`, `run`, `held` or `quarantined`; a board without a row is free.
    pub fn word(row: Option<&BoardRow>) -> &'static str {
        let holder = row.and_then(|row| row.lease.as_ref()).map(|lease| &lease.holder);
        match (holder, row.map_or(Health::Good, |row| row.health)) {
            (Some(Holder::Run { .. } | Holder::Check(_)), _) => "run",
            (Some(Holder::Person(_)), _) => "held",
            (None, Health::Quarantined) => "quarantined",
            (None, Health::Good | Health::Suspect) => "free",
        }
    }
}

/// How a board left service.
#[derive(Debug, Clone, PartialEq)]
pub struct Quarantine {
    /// Who did it; `None` for boardhand itself.
    pub by: Option<Actor>,
    /// When.
    pub at: Timestamp,
}

/// A board's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Nothing known against it.
    Good,
    /// Not brought to rest: granted, but fenced first.
    Suspect,
    /// Not granted.
    Quarantined,
}

impl Health {
    /// The word in tables and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Good => "good",
            Health::Suspect => "suspect",
            Health::Quarantined => "quarantined",
        }
    }
}

/// A power request of a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Errand {
    /// Its id.
    pub id: MessageId,
    /// The board.
    pub board: BoardId,
    /// What to do.
    pub action: PowerAction,
    /// Who asked.
    pub by: Actor,
    /// Who is told.
    pub via: AnswerVia,
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// Whether somebody had its board for it: power may have been switched.
    pub begun: bool,
}

impl Errand {
    /// The id of the lease that it takes.
    pub fn lease(&self) -> LeaseId {
        LeaseId(self.id.0)
    }
}

// ---- messages ---------------------------------------------------------------------------------------------

/// A message that is owed.
#[derive(Debug, Clone, PartialEq)]
pub struct Owed {
    /// The row's id; a card keeps its id for its whole life.
    pub id: MessageId,
    /// What it is.
    pub kind: OwedKind,
    /// Set when an earlier post may have reached the platform: since when to look for it.
    pub begun_at: Option<Timestamp>,
    /// How often sending has failed.
    pub tries: u32,
    /// When it became owed.
    pub since: Timestamp,
}

/// What is owed.
#[derive(Debug, Clone, PartialEq)]
pub enum OwedKind {
    /// A run's card, or a batch's: posted when `message` is `None`, edited otherwise. Rendered from the newest state.
    Card {
        /// The run's number.
        run: i64,
        /// Whether it is the card of the batch that begins with that run.
        batch: bool,
        /// Where it stands.
        place: Place,
        /// The platform's id of the posted card.
        message: Option<String>,
        /// The revision to send.
        revision: i64,
        /// For a channel that the bot is not in.
        via: Option<AnswerVia>,
        /// Whether the run, or every run of the batch, is finished: final results are never given up for progress.
        last: bool,
    },
    /// A reply in the thread of a run's card.
    Reply {
        /// The run's number.
        run: i64,
        /// The thread.
        place: Place,
        /// What it says.
        note: Note,
        /// Its place in the thread, for the platform's metadata.
        seq: i64,
        /// Whether it tells the outcome.
        last: bool,
    },
    /// An answer to one person.
    Answer {
        /// How to reach them.
        via: AnswerVia,
        /// What it says.
        note: Note,
    },
}

/// How sending a message ended.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageEnd {
    /// The row.
    pub id: MessageId,
    /// How.
    pub end: End,
}

/// How sending ended, as the store keeps it.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// A card's revision, or a message, is there under this id.
    Sent {
        /// The platform's id.
        message: String,
        /// The revision that was rendered; 0 for anything but a card.
        revision: i64,
    },
    /// Not sent for certain: again from `at`. Counts as a try when `failed`.
    Later {
        /// When.
        at: Timestamp,
        /// Whether this was a failure and not just pacing.
        failed: bool,
    },
    /// It may be there: ask the platform from `at` on, then decide.
    Unsure {
        /// When.
        at: Timestamp,
    },
    /// It will never be sent.
    Dead {
        /// Why.
        error: String,
    },
}

// ---- housekeeping -----------------------------------------------------------------------------------------

/// Since when rows are outdated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outdated {
    /// Events before this.
    pub events: Timestamp,
    /// Audit rows before this.
    pub audit: Timestamp,
    /// Messages that were owed before this, and sent or given up since.
    pub messages: Timestamp,
    /// Power requests that were done before this.
    pub errands: Timestamp,
    /// Leases that ended before this.
    pub leases: Timestamp,
    /// How far the scheduler has read; `None` keeps every event.
    pub read_to: Option<Cursor>,
}

/// Where a walk through the tables goes on. Only the store that made it can read it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TidyFrom {
    pub(crate) events: i64,
    pub(crate) audit: i64,
    pub(crate) messages: i64,
    pub(crate) errands: i64,
    pub(crate) leases: i64,
}

/// How many rows were removed, and where the walk goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Events.
    pub events: u64,
    /// Audit rows.
    pub audit: u64,
    /// Messages.
    pub messages: u64,
    /// Power requests.
    pub errands: u64,
    /// Leases that had ended.
    pub leases: u64,
    /// `None` when the walk is over.
    pub next: Option<TidyFrom>,
}

/// How many rows wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Census {
    /// Runs waiting for a board.
    pub queued: u64,
    /// Runs on a board.
    pub active: u64,
    /// Live leases.
    pub leases: u64,
    /// Messages owed: cards, replies and answers.
    pub owed: u64,
    /// Messages that will never be sent.
    pub dead: u64,
    /// Power requests owed.
    pub errands: u64,
    /// Rows that were left out since the start because they cannot be read; the log names each.
    pub unreadable: u64,
}
