//! A delivery on its way into the store: what it changes, what is answered, and what became of it. Plain data; who may is
//! decided before.

use std::time::Duration;

use crate::board::plan::PowerAction;
use crate::board::{BoardId, Family};
use crate::build::Build;
use crate::chat::{Actor, AnswerVia, Place, Platform};
use crate::clock::Timestamp;
use crate::id::{InstanceId, LeaseId, MessageId, RunId};
use crate::lease::{Fence, Reservation};
use crate::message::Note;
use crate::outcome::Outcome;
use crate::run::RunSpec;
use crate::store::{CampaignEffect, Drained, LinkAsked, NewDrain, NewToken, Watched};

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
    /// Whether its key and its answer are kept, so that a repeat gets the same one; see [`Intake::is_kept`].
    pub remembered: bool,
    /// What it changes.
    pub effect: Effect,
    /// What is answered when the effect is what was planned. Facts that only the store knows are added to it:
    /// `effected`, `numbers` (of the runs that were started, or of a batch ended, in order), `number` (of the run
    /// meant), `runs` (of a build: the number of each of its runs, null where one was not started).
    pub answer: Note,
    /// What is answered instead, by how the effect really ended ([`Effected::as_str`]).
    pub instead: Vec<(&'static str, Note)>,
    /// Set when the answer is not the body of the acknowledgement but an owed message.
    pub answer_via: Option<AnswerVia>,
    /// The card that the acknowledgement shows anew, by its message: nobody edits it while that is on its way.
    pub shows: Option<Place>,
    /// The audit row.
    pub audit: Audit,
    /// The address that it came from, where that says something about who sent it.
    pub source: Option<String>,
}

impl Intake {
    /// Every answer that it may come to.
    pub fn answers(&mut self) -> impl Iterator<Item = &mut Note> {
        let at_once = match &mut self.effect {
            Effect::Reserve { at_once, .. } => at_once.as_mut_slice(),
            _ => &mut [],
        };
        let instead = self.instead.iter_mut().map(|(_, note)| note);
        instead.chain([&mut self.answer]).chain(at_once.iter_mut().map(|(_, note)| note))
    }

    /// Whether its key and its answer are kept when its effect ended so. A program whose request was in vain asks again
    /// under the same key, and is not told for ever what was true once.
    pub fn is_kept(&self, effected: Effected) -> bool {
        let asks_again = matches!(self.platform, Platform::Jenkins | Platform::Api);
        self.remembered && !(asks_again && effected.is_in_vain())
    }
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
    /// Registers a build: once, whatever is told again. The runs that it asks for start with it, each at most once.
    Build {
        /// The build.
        build: Box<Build>,
        /// Its runs.
        runs: Vec<NewRun>,
    },
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
    /// Lets a board or a site take nothing new; what is on it goes on.
    Drain(Box<NewDrain>),
    /// Lets it take new work again; its boards are fenced by whoever has them next, and checked.
    Undrain {
        /// What drains.
        of: Drained,
        /// Its boards now.
        boards: Vec<BoardId>,
    },
    /// Makes a token of the API.
    MakeToken(Box<NewToken>),
    /// Revokes a token of the API.
    RevokeToken {
        /// Its name.
        name: String,
    },
    /// Sends messages again that were given up.
    Resend {
        /// Which; `None` for the oldest, as many as one command may ([`LETTERS_RESENT_MAX`](super::LETTERS_RESENT_MAX)).
        letter: Option<i64>,
    },
    /// Reads the lab file again; somebody is told how it went.
    Reload {
        /// Its id.
        id: MessageId,
        /// Who is told.
        via: AnswerVia,
    },
    /// Begins a campaign, or changes one.
    Campaign(Box<CampaignEffect>),
    /// Pauses a schedule, or lets it go on: then what was due meanwhile is over.
    Schedule {
        /// Its name.
        name: String,
        /// Whether it is paused.
        paused: bool,
    },
    /// Makes a schedule that is no one of boards.yaml, or removes it.
    OwnSchedule {
        /// Its name.
        name: String,
        /// When it is due ([`Schedule::timing`](crate::board::schedule::Schedule::timing)) and what it is; `None` removes it.
        made: Option<(String, serde_json::Map<String, serde_json::Value>)>,
    },
    /// Takes a board for the one who asks, at once or in their turn.
    Reserve {
        /// What they ask for; its `place` is given here.
        wish: Reservation,
        /// Boards of which the first that nobody has is theirs at once, each with its answer; where there is none, they
        /// wait.
        at_once: Vec<(BoardId, Note)>,
        /// Whether they wait where it is not free.
        or_wait: bool,
        /// Most boards that they may have and wait for at once.
        most: u32,
        /// The newest drain that was known when the board was chosen; `None` where it is theirs whatever drains.
        drains_seen: Option<i64>,
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
    /// Somebody waits for a board of their own no more, at their wish or at another's, who may.
    Unreserve {
        /// What they waited for.
        reservation: LeaseId,
        /// Whether it may be somebody else's; those are told this.
        others: Option<Note>,
        /// Keys of deliveries that are forgotten with it: their repeats are looked at anew.
        undoes: Vec<String>,
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
        /// As in [`Effect::Unreserve`].
        undoes: Vec<String>,
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
        /// Only where it is theirs until then still: a button is about one extension, however often it is pressed.
        from: Option<Timestamp>,
    },
    /// The one who asks is told by direct message how a run ends, or of a family's runs that go wrong.
    Watch {
        /// What.
        of: Watched,
        /// Every id of theirs: what they asked for by another one counts.
        ids: Vec<String>,
    },
    /// They are not told any more.
    Unwatch {
        /// Of what.
        of: Watched,
        /// Every id of theirs.
        ids: Vec<String>,
    },
    /// Makes the one who asks one person with somebody on another platform, or two again.
    Link {
        /// What they want.
        asked: LinkAsked,
        /// What whoever was given the code is told, with whoever typed it added.
        note: Note,
    },
    /// Shows the console log of an attempt in the threads of its run, once.
    Log {
        /// The run.
        run: i64,
        /// The attempt.
        attempt: u32,
        /// What stands for it in the threads.
        note: Note,
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
        /// The lease of somebody else that it is done under, where whoever asks may and has read whose it is; the holder
        /// is told.
        over: Option<Fence>,
        /// At most one is ever done under this.
        once: Option<String>,
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
    /// The board is theirs for longer than when the button was drawn.
    AlreadyExtended,
    /// That was asked a moment ago.
    TooSoon,
    /// The button was pressed before.
    AlreadyAsked,
    /// There is no such dead letter.
    NoSuchLetter,
    /// A live token has that name.
    NameTaken,
    /// No live token has that name.
    NoSuchToken,
    /// Another one goes on that is in its way; `number` is that one.
    InTheWay,
    /// It was so before.
    Unchanged,
    /// The build was registered before, and is the same.
    AlreadyRegistered,
    /// Another build is registered under that id.
    OtherBuild,
    /// That stands in the threads already, or is on its way there.
    AlreadyTold,
    /// There is no such code, or it is over, or was used.
    NoSuchCode,
    /// The code is somebody's, and typing it again makes them one.
    AsksFirst,
    /// The code was given on this very platform.
    SamePlatform,
    /// One of the two is one with somebody already.
    AlreadyLinked,
}

impl Effected {
    /// Every one.
    const ALL: [Effected; 31] = [
        Effected::Done,
        Effected::AlreadyFinished,
        Effected::AlreadyRetried,
        Effected::AlreadyStarted,
        Effected::NotOnBoard,
        Effected::OtherAttempt,
        Effected::Asked,
        Effected::NoSuchRun,
        Effected::NotQuarantined,
        Effected::AlreadyQuarantined,
        Effected::Queued,
        Effected::AlreadyWaiting,
        Effected::TooMany,
        Effected::NotTheirs,
        Effected::GoesOn,
        Effected::AtMost,
        Effected::AlreadyExtended,
        Effected::TooSoon,
        Effected::AlreadyAsked,
        Effected::NoSuchLetter,
        Effected::NameTaken,
        Effected::NoSuchToken,
        Effected::InTheWay,
        Effected::Unchanged,
        Effected::AlreadyRegistered,
        Effected::OtherBuild,
        Effected::AlreadyTold,
        Effected::NoSuchCode,
        Effected::AsksFirst,
        Effected::SamePlatform,
        Effected::AlreadyLinked,
    ];

    /// The one of a word in an answer's facts.
    pub fn from_word(word: &str) -> Option<Effected> {
        Effected::ALL.into_iter().find(|effected| effected.as_str() == word)
    }

    /// Whether nothing came of what was asked for, and something may when it is asked for again.
    pub fn is_in_vain(self) -> bool {
        match self {
            Effected::NotOnBoard
            | Effected::OtherAttempt
            | Effected::NoSuchRun
            | Effected::TooMany
            | Effected::NotTheirs
            | Effected::TooSoon
            | Effected::NoSuchLetter
            | Effected::NameTaken
            | Effected::NoSuchToken
            | Effected::InTheWay
            | Effected::NoSuchCode
            | Effected::SamePlatform
            | Effected::AlreadyLinked
            | Effected::OtherBuild => true,
            Effected::Done
            | Effected::AlreadyFinished
            | Effected::AlreadyRetried
            | Effected::AlreadyStarted
            | Effected::Asked
            | Effected::NotQuarantined
            | Effected::AlreadyQuarantined
            | Effected::Queued
            | Effected::AlreadyWaiting
            | Effected::GoesOn
            | Effected::AtMost
            | Effected::AlreadyExtended
            | Effected::AlreadyAsked
            | Effected::AsksFirst
            | Effected::Unchanged
            | Effected::AlreadyRegistered
            | Effected::AlreadyTold => false,
        }
    }

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
            Effected::AlreadyExtended => "already-extended",
            Effected::TooSoon => "too-soon",
            Effected::AlreadyAsked => "already-asked",
            Effected::NoSuchLetter => "no-such-letter",
            Effected::NameTaken => "name-taken",
            Effected::NoSuchToken => "no-such-token",
            Effected::InTheWay => "in-the-way",
            Effected::Unchanged => "unchanged",
            Effected::AlreadyRegistered => "already-registered",
            Effected::OtherBuild => "other-build",
            Effected::AlreadyTold => "already-told",
            Effected::NoSuchCode => "no-such-code",
            Effected::AsksFirst => "asks-first",
            Effected::SamePlatform => "same-platform",
            Effected::AlreadyLinked => "already-linked",
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
    /// Where its end is told, where a program wants that.
    pub callback: Option<String>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// The run that it repeats.
    pub retry_of: Option<i64>,
    /// At most one run is ever started under this; the first of a batch has it.
    pub once: Option<String>,
    /// Boards to avoid while another one could serve.
    pub avoid: Vec<BoardId>,
    /// The message in its channel that asked for it, which shows in a badge what became of it.
    pub message: Option<String>,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    /// False for a repeat.
    pub fresh: bool,
    /// The answer, the same for every repeat.
    pub answer: Note,
}
