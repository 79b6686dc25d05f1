//! The store: the only truth. One coarse operation is one transaction and means one thing in the lab's language.
//!
//! SQLite keeps it in a file and PostgreSQL in a database, chosen in one place. What an operation does is written once,
//! each database has its own words for it, and one conformance suite says what every operation means on both. Answers that a caller acts on (`Stale`, `Taken`, a duplicate) are values,
//! not errors; an error means the store itself failed and nothing of the operation happened.
//!
//! Every operation that changes a run also writes an event and asks for a newer revision of its cards; every
//! operation under a lease names its fence and answers [`Fenced::Stale`] when the lease is no longer live.

mod badge;
mod board;
mod build;
mod call;
mod campaign;
mod drain;
mod digest;
mod intake;
mod lease;
mod links;
mod message;
mod queue;
mod record;
mod schedule;
mod session;
pub mod sql;
mod tally;
mod tidying;
mod token;
mod view;
mod watch;
mod worker;

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;

use crate::board::{BoardId, Family};
use crate::build::Build;
use crate::chat::{AnswerVia, Place, Platform};
use crate::clock::Timestamp;
use crate::id::{InstanceId, LeaseId, MessageId};
use crate::lease::held::HeldTime;
use crate::lease::{Holder, Lease, LeaseState, Reservation, Trust};
use crate::message::Note;
use crate::meter::Times;
use crate::outcome::Outcome;
use crate::run::{Keep, LeaseRef, Progress, Request, Run, Stage};

pub use self::badge::BadgeRow;
pub use self::board::{BoardRow, Errand, ErrandView, Health, Quarantine};
pub use self::build::{BuildFilter, BuildsOf};
pub use self::call::{
    CALLS_DUE_MAX, Call, CallEnd, Happened, LANE_HEADS_MAX, LANE_OWED_MAX, NewCall, Owing, StatusOf,
    StatusPart,
};
pub use self::campaign::{CampaignEffect, CampaignView};
pub use self::digest::{DigestRow, FLAKY_RUNS_MAX, TimePast};
pub use self::drain::{Closed, Closing, Drain, Drained, NewDrain, OF_WORKER, changes};
pub use self::intake::{
    Audit, CARD_HELD, Committed, Effect, Effected, Intake, NewRun, Notice, ReloadRequest,
};
pub use self::lease::{AtRest, Fenced, Grant, Granted, Lapsed, LeaseTerms, LeaseView, Lookback, Settle};
pub use self::links::{CODE_LASTS, CODES_WRONG_MAX, LinkAsked, LinkRow};
pub use self::message::{CardLink, End, MessageEnd, Owed, OwedKind, RUN_LOG};
pub use self::queue::{Cursor, QueueChanges, QueueRun, Took, Waiting};
pub use self::record::{
    AUDIT_LOOKED_AT_MAX, AuditFilter, Decision, Decisions, LETTERS_RESENT_MAX, Letter, LetterKind,
    TOLD_BY_URL,
};
pub use self::schedule::{Dealt, OWN_SCHEDULES_MAX, OwnSchedule, ScheduleRow};
pub use self::session::{NewSession, SESSION_NAME_BYTES_MAX, SESSIONS_MAX, SessionRow};
pub use self::tally::{Endings, Tally, Waits};
pub use self::tidying::{Census, Going, Outdated, Tidied, TidyFrom};
pub use self::token::{NewToken, TOKENS_MAX, TokenRow, USED_EVERY};
pub use self::view::{
    BatchRun, BatchView, BoardRun, CaseRun, Ended, HISTORY_RUNS_MAX, RunFilter, RunStep, RunView, Seen,
    Sighting, SuitePast, SuiteRun, Telling, Told,
};
pub use self::watch::{WATCHED, WATCHES_MAX, Watched};
pub use self::worker::{NewWorker, Registered, Report, Reported, WORKERS_MAX, WorkerRow};

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

    /// When a delivery came last whose key begins so, of those that are kept and came after `since` and before `before`.
    async fn delivery_newest(
        &self,
        keys: &str,
        since: Timestamp,
        before: Timestamp,
    ) -> Result<Option<Timestamp>>;

    // ---- runs, to read ------------------------------------------------------------------------------------

    /// A run with everything its card shows.
    async fn run_view(&self, number: i64) -> Result<Option<RunView>>;
    /// What happened to a run behind `after`, in order, at most `limit`; for as long as history is kept.
    async fn run_steps(&self, number: i64, after: i64, limit: u32) -> Result<Vec<RunStep>>;
    /// How far the telling of a run is.
    async fn run_told(&self, number: i64) -> Result<Telling>;
    /// What the card or thread there tells; the newest where a thread tells of several.
    async fn run_of_thread(&self, place: &Place) -> Result<Option<Told>>;
    /// The threads of runs that are not finished, or have finished since then, on this platform; the newest runs', at most
    /// `limit`.
    async fn threads_live(&self, platform: Platform, since: Timestamp, limit: u32) -> Result<Vec<Place>>;
    /// A batch with everything its card shows, by the number of its first run.
    async fn batch_view(&self, first: i64) -> Result<Option<BatchView>>;
    /// Runs, newest first; finished ones without their test cases.
    async fn run_list(&self, filter: &RunFilter) -> Result<Vec<Run>>;
    /// The board that each of these runs was given last; the numbers of the others are left out.
    async fn boards_last(&self, numbers: &[i64]) -> Result<HashMap<i64, BoardId>>;
    /// For which times since then this person ([`Actor::key`]) had a board as their own, or has one still; the newest first,
    /// at most [`TIMES_MAX`](crate::lease::held::TIMES_MAX).
    async fn held_of(&self, person: &str, since: Timestamp) -> Result<Vec<HeldTime>>;
    /// Which runs that are not over have somebody who keeps their board, should they fail.
    async fn keep_list(&self) -> Result<Vec<(i64, Keep)>>;
    /// How many runs and places in line of this person ([`Actor::key`]) wait.
    async fn waiting_of(&self, requester: &str) -> Result<u64>;
    /// The newest finished test runs of a suite of a family, as later ones look back at them.
    async fn suite_past(&self, family: &Family, suite: &str) -> Result<SuitePast>;
    /// The test runs of a build that have ended on a board, the newest first; the newest few dozen.
    async fn build_ended(&self, build: &str) -> Result<Vec<Ended>>;
    /// The newest finished test runs of a suite of a family, the newest first: `limit` of them, at most
    /// [`HISTORY_RUNS_MAX`].
    async fn suite_history(&self, family: &Family, suite: &str, limit: u32) -> Result<Vec<SuiteRun>>;
    /// One test case in the newest runs of its suite that had any, the newest first.
    async fn case_history(&self, family: &Family, suite: &str, case: &str) -> Result<Vec<CaseRun>>;
    /// The newest attempts on a board, the newest first: `limit` of them, at most [`HISTORY_RUNS_MAX`].
    async fn board_history(&self, board: &BoardId, limit: u32) -> Result<Vec<BoardRun>>;

    // ---- builds -------------------------------------------------------------------------------------------

    /// The registered build of that id.
    async fn build_find(&self, family: &Family, id: &str) -> Result<Option<Build>>;
    /// Registered builds, the newest first.
    async fn build_list(&self, filter: &BuildFilter) -> Result<Vec<Build>>;

    // ---- the queue ----------------------------------------------------------------------------------------

    /// What changed for the scheduler since `cursor`; with `None`, everything it needs to begin.
    /// Says what *is*, not what happened: reading the same change twice is harmless.
    async fn queue_changes(&self, cursor: Option<Cursor>) -> Result<QueueChanges>;

    // ---- leases -------------------------------------------------------------------------------------------

    /// Grants boards to waiting runs, each checked again: the run still waits for that attempt, the board has no
    /// live lease and is in service, and nothing drains that was not known when it was chosen; or it is held for the run's requester, and no other run of theirs is on it: then the
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
    /// A lease, live or not, or the wish for one, by its id; for as long as it is kept.
    async fn lease_view(&self, id: LeaseId) -> Result<Option<LeaseView>>;
    /// Notes that the board was fenced physically under this lease.
    async fn lease_fenced(&self, lease: &LeaseRef, now: Timestamp) -> Result<Fenced>;
    /// Gives a board back, at rest or not. A run's lease is stale for this until its outcome is committed.
    async fn lease_release(&self, lease: &LeaseRef, rest: &AtRest, now: Timestamp) -> Result<Fenced>;
    /// Takes away every lease whose time is over by `now`, but those that `except` or a worker drives and those held for
    /// a person. Runs under them are settled as lost (see [`Lapsed`]).
    async fn lease_expire(&self, except: InstanceId, now: Timestamp) -> Result<Vec<Lapsed>>;
    /// At start, under the exclusive lock: takes away every live lease of every other instance at once, but those that
    /// workers drive, which live on. What is held
    /// for a person stays held, and is `instance`'s to drive from now on; a run of theirs that was on it is lost.
    async fn lease_takeover(&self, instance: InstanceId, now: Timestamp) -> Result<Vec<Lapsed>>;
    /// Takes away leases whose driver died inside a process that lives on; those that are not live any more are left
    /// as they are. What is held for a person stays held; only a run of theirs that was on it is lost.
    async fn lease_lapse(&self, leases: &[LeaseId], now: Timestamp) -> Result<Vec<Lapsed>>;

    /// Gives leases back whose boards nobody has touched: their runs wait again for the same attempt, as if it had
    /// never been granted, and the boards are as they were. What has begun meanwhile is left as it is; gives the
    /// leases that were given back.
    async fn lease_return(&self, leases: &[LeaseId], now: Timestamp) -> Result<Vec<LeaseId>>;

    // ---- workers ------------------------------------------------------------------------------------------

    /// A worker begins. Whoever has its name keeps it, unless this is their next life: then what the life before drove
    /// is taken away, also where that had another name, which is forgotten. The same life again changes nothing.
    async fn worker_register(&self, worker: &NewWorker, now: Timestamp) -> Result<Registered>;
    /// Every worker, the one that began first first.
    async fn worker_list(&self) -> Result<Vec<WorkerRow>>;
    /// A worker is heard: every lease that it drives under lasts until `expires_at`, but those held for a person; gives
    /// its live leases. `None` where it is not known, or another life of it has begun.
    async fn worker_beat(
        &self,
        instance: InstanceId,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Option<Vec<Lease>>>;
    /// A worker takes nothing new any more; gives whether it is one.
    async fn worker_leave(&self, instance: InstanceId, now: Timestamp) -> Result<bool>;
    /// Takes away what a worker drove whose leases are over by `now`, or end after `latest`, which none does that was given
    /// by a clock that went right; see [`Store::lease_expire`].
    async fn worker_expire(
        &self,
        instance: InstanceId,
        now: Timestamp,
        latest: Timestamp,
    ) -> Result<Vec<Lapsed>>;
    /// Forgets a worker, unless it has a live lease; gives whether it was known.
    async fn worker_forget(&self, instance: InstanceId) -> Result<bool>;
    /// Takes a report of a worker. It is stale where the lease is not that worker's, or not live any more; one whose number
    /// was taken before changes nothing, and is [`Fenced::Done`] again.
    async fn worker_report(&self, reported: &Reported) -> Result<Fenced>;

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
    /// Brings the end of somebody's time forward because nobody uses their board, once, and tells them: not if it is another
    /// end meanwhile. Gives whether that is so now.
    async fn hold_idle(
        &self,
        lease: &Lease,
        until: Timestamp,
        told: &(AnswerVia, Note),
        now: Timestamp,
    ) -> Result<bool>;
    /// Somebody uses the board again whose end was brought forward: it is theirs until the end from before. Gives whether it
    /// is.
    async fn hold_used(&self, lease: &Lease, now: Timestamp) -> Result<bool>;
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
    /// What somebody ([`Actor::key`](crate::chat::Actor::key)) is told of by direct message, the oldest wish first.
    async fn watch_list(&self, ids: &[String]) -> Result<Vec<Watched>>;
    /// Who waits for a board of their own, the longest waiting first.
    async fn reservation_list(&self) -> Result<Vec<Reservation>>;
    /// Somebody who waits can never be served any more, and is told.
    async fn reservation_drop(&self, id: LeaseId, told: &(AnswerVia, Note), now: Timestamp) -> Result<()>;

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
    /// The attempt got farther: droppable, only the card shows it.
    async fn run_progress(&self, lease: &LeaseRef, progress: &Progress, now: Timestamp) -> Result<Fenced>;
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
    /// A power request is begun under the lease of the one who asked, who has the board, or of somebody else, who is told
    /// this: stale when it is not theirs any more, or a run of theirs is on it.
    async fn errand_begin(
        &self,
        id: MessageId,
        lease: &LeaseRef,
        told: Option<&(AnswerVia, Note)>,
        now: Timestamp,
    ) -> Result<Fenced>;
    /// One power request, and how it ended; for as long as it is kept.
    async fn errand_view(&self, id: MessageId) -> Result<Option<ErrandView>>;
    /// A power request is done: its answer is kept with it, and owed to the person who asked on a chat platform. Somebody
    /// else may be told of it too.
    async fn errand_done(
        &self,
        id: MessageId,
        answer: &Note,
        told: Option<&(AnswerVia, Note)>,
        now: Timestamp,
    ) -> Result<()>;

    // ---- the lab file -------------------------------------------------------------------------------------

    /// The hash of the lab file in force, of whichever process put it there; `None` before the first.
    async fn lab_hash(&self) -> Result<Option<String>>;
    /// Puts another lab file in force.
    async fn lab_put(&self, hash: &str) -> Result<()>;
    /// Who waits for the lab file to be read again.
    async fn reload_due(&self) -> Result<Vec<ReloadRequest>>;
    /// It was read again: those who asked are owed this.
    async fn reload_done(&self, ids: &[MessageId], note: &Note, now: Timestamp) -> Result<()>;

    // ---- campaigns ----------------------------------------------------------------------------------------

    /// A campaign with its runs.
    async fn campaign_view(&self, number: i64) -> Result<Option<CampaignView>>;
    /// Campaigns that are not over, each with its runs; with `newest`, so many in all, those that are over behind them.
    async fn campaign_list(&self, newest: Option<u32>) -> Result<Vec<CampaignView>>;
    /// What the card of a campaign shows has changed, though the campaign has not.
    async fn campaign_redraw(&self, number: i64, now: Timestamp) -> Result<()>;

    // ---- calls --------------------------------------------------------------------------------------------

    /// Up to which event calls were made; the newest one, from then on, where nobody has asked before.
    async fn call_read_to(&self) -> Result<i64>;
    /// What happened after that, in the order of the commits, at most so much.
    async fn call_events(&self, after: i64, limit: u32) -> Result<Vec<Happened>>;
    /// Owes calls for what happened after `from` and up to `to`, as many in one lane as [`LANE_OWED_MAX`] says, and notes
    /// which runs decide a status. Where others have done so, nothing happens; gives whether that is not so.
    async fn call_owe(&self, from: i64, to: i64, owing: &Owing, now: Timestamp) -> Result<bool>;
    /// The end of a run is told there from now on; where it is over it is told once more, unless that was told there, or is
    /// still to be; what was given up is neither. Gives whether anything was changed.
    async fn call_back(&self, run: i64, url: &str, now: Timestamp) -> Result<bool>;
    /// How the runs are that decide the status of a commit.
    async fn status_parts(&self, commit: &str, context: &str) -> Result<Vec<StatusPart>>;
    /// Calls to make now, the oldest first: of one lane at most [`LANE_HEADS_MAX`], and of these lanes none.
    async fn call_due(&self, now: Timestamp, limit: u32, except: &[String]) -> Result<Vec<Call>>;
    /// When the next call is due, or was.
    async fn call_next_due(&self) -> Result<Option<Timestamp>>;
    /// How making a call went; one that is given up is a letter.
    async fn call_end(&self, id: MessageId, end: CallEnd, now: Timestamp) -> Result<()>;

    // ---- drains -------------------------------------------------------------------------------------------

    /// What takes nothing new because somebody said so, the oldest first.
    async fn drain_list(&self) -> Result<Vec<Drain>>;
    /// Nothing is on what drains any more, and whoever asked is told, once.
    async fn drain_tell(&self, number: i64, told: &(AnswerVia, Note), now: Timestamp) -> Result<()>;
    /// A drain's time is over: it goes, whoever asked is told, and its boards are fenced by whoever has them next, and
    /// checked. Gives whether it was there.
    async fn drain_over(
        &self,
        number: i64,
        boards: &[BoardId],
        told: &(AnswerVia, Note),
        now: Timestamp,
    ) -> Result<bool>;

    // ---- schedules ----------------------------------------------------------------------------------------

    /// What is known of each schedule, by name.
    async fn schedule_list(&self) -> Result<Vec<ScheduleRow>>;
    /// These are the lab's schedules, each with when it is due: one that is new, or due at other times than before, is
    /// due from `now` on; what is known of any other is forgotten.
    async fn schedule_register(&self, schedules: &[(String, String)], now: Timestamp) -> Result<()>;
    /// A due time of a schedule was dealt with. Where a later one was, nothing changes; gives whether that is not so.
    async fn schedule_dealt(&self, name: &str, due: Timestamp, dealt: &Dealt) -> Result<bool>;

    // ---- digests ------------------------------------------------------------------------------------------

    /// The digest of every channel that has one.
    async fn digest_list(&self) -> Result<Vec<DigestRow>>;
    /// How the digest of a channel stands now.
    async fn digest_put(&self, digest: &DigestRow) -> Result<()>;
    /// What has happened since then, for a digest of it.
    async fn time_past(&self, since: Timestamp, now: Timestamp) -> Result<TimePast>;

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

    /// Messages that were given up, the newest first, and how many there are. One leaves the list when it is sent again
    /// ([`Effect::Resend`]), or when it was there for as long as messages are kept.
    async fn letter_list(&self, limit: u32) -> Result<(Vec<Letter>, u64)>;

    /// The address of a card that stands in its channel.
    async fn card_link(&self, card: MessageId, url: &str) -> Result<()>;
    /// Where the cards of these runs stand on a platform, as far as that is known.
    async fn card_links(&self, runs: &[i64], platform: Platform) -> Result<Vec<CardLink>>;

    /// Everybody who has linked themselves.
    async fn link_list(&self) -> Result<Vec<LinkRow>>;

    // ---- badges -------------------------------------------------------------------------------------------

    /// Messages of a platform whose badge is not what their runs say, at most `limit`; those that have ended first.
    async fn badge_due(&self, platform: Platform, limit: u32) -> Result<Vec<BadgeRow>>;
    /// What is on a message now, and what is still to be taken off it.
    async fn badge_put(&self, badge: &BadgeRow) -> Result<()>;
    /// Nothing is to be done about a message any more.
    async fn badge_drop(&self, badge: &BadgeRow) -> Result<()>;

    // ---- decisions on record ------------------------------------------------------------------------------

    /// The newest decisions that fit.
    async fn audit_list(&self, filter: &AuditFilter) -> Result<Decisions>;

    // ---- housekeeping -------------------------------------------------------------------------------------

    /// Removes what is outdated from one page, at most `limit` rows, of each table that grows with every run; never
    /// what an unfinished run, a message that is owed or the scheduler still needs. Repeated with what it gave.
    async fn tidy(&self, outdated: &Outdated, from: TidyFrom, limit: u32) -> Result<Tidied>;
    /// Those of these runs that are finished, and since when; in no order.
    async fn run_ended(&self, numbers: &[i64]) -> Result<Vec<(i64, Timestamp)>>;

    // ---- tokens of the API ----------------------------------------------------------------------------------

    /// Every token, by name; also those that open nothing any more.
    async fn token_list(&self) -> Result<Vec<TokenRow>>;
    /// The token of this SHA-256; also one that opens nothing any more.
    async fn token_by_hash(&self, hash: &[u8; 32]) -> Result<Option<TokenRow>>;
    /// A token was used at that time.
    async fn token_used(&self, name: &str, now: Timestamp) -> Result<()>;

    // ---- sessions of the pages ------------------------------------------------------------------------------

    /// Sessions that are live, the newest first.
    async fn session_list(&self, now: Timestamp, limit: u32) -> Result<Vec<SessionRow>>;
    /// The session of this SHA-256; also one that opens nothing any more.
    async fn session_by_hash(&self, hash: &[u8; 32]) -> Result<Option<SessionRow>>;
    /// Somebody signed in. Forgets what is over, and of theirs the oldest beyond [`SESSIONS_MAX`]. Gives whether it began:
    /// a sign-in makes one session, and none when it comes back.
    async fn session_begin(&self, new: &NewSession) -> Result<bool>;
    /// A session was used at that time.
    async fn session_used(&self, hash: &[u8; 32], now: Timestamp) -> Result<()>;
    /// Somebody signed out.
    async fn session_end(&self, hash: &[u8; 32], now: Timestamp) -> Result<()>;

    // ---- the store itself ---------------------------------------------------------------------------------

    /// A secret of this database, made at its first start: signs links.
    async fn secret(&self) -> Result<[u8; 32]>;
    /// Whether the database answers and its migrations are done.
    async fn ready(&self) -> Result<()>;
    /// How many rows wait: for health and for a test's ending.
    async fn census(&self) -> Result<Census>;
    /// What has happened since `since`, a page of it, and what there is now; without a cursor only where to begin.
    async fn tally(&self, since: Option<Cursor>) -> Result<Tally>;
    /// How long this process' commits take.
    fn commit_times(&self) -> Times;
    /// Rises whenever this process commits something that a loop may have to hear of; `None` where other processes
    /// commit too, and only a look tells.
    fn commits(&self) -> Option<u64>;
    /// How long this process may drive the boards whose leases it has.
    fn trust(&self) -> Trust;
    /// Resolves when the store has ended and will never take a write again.
    async fn ended(&self);
}
