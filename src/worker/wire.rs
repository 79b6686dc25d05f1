//! The worker protocol: what a worker beside a remote lab and its server say to each other, as JSON. Both sides are of this
//! file, and adjacent versions understand each other: what one does not know it leaves out, and nothing here is ever renamed.
//!
//! A worker trusts a lease for [`TRUSTED_FOR`] from before it sent the sign of life that renewed it, on its own monotonic
//! clock. The server gives the board away [`FREED_AFTER`] after it heard that sign, on its own. The first is shorter than the
//! second by half again, so that neither a slow network nor a clock that runs fast lets two drive one board.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::desk::{Begun, Word};
use crate::board::power::{Outlet, SequenceStep};
use crate::board::{BoardId, Family};
use crate::build::{Build, BuildArtifact, BuildResult, Source};
use crate::chat::{Actor, Place, Platform};
use crate::clock::Timestamp;
use crate::id::{InstanceId, LeaseId, RunId};
use crate::lease::{Lease, LeaseState};
use crate::outcome::Outcome;
use crate::run::{Attempt, LeaseRef, Progress, Request, Run, RunSpec, RunState, Stage};
use crate::store::RunView;

/// How long a lease of a worker lasts without a sign of life.
pub const LEASE_LASTS: Duration = Duration::from_secs(60);
/// How often a worker gives one.
pub const BEAT_EVERY: Duration = Duration::from_secs(18);
/// How long a worker drives a board after it began to give one.
pub const TRUSTED_FOR: Duration = Duration::from_secs(48);
/// How long after the last one the boards of a worker are given away.
pub const FREED_AFTER: Duration = Duration::from_secs(72);
/// How long after the last one a worker is given nothing new: it may be lost.
pub const GIVEN_WITHIN: Duration = Duration::from_secs(40);
/// Longest time that a worker waits for work in one request.
pub const WAIT_MAX: Duration = Duration::from_secs(20);
/// How long one request to a switch may take at the server.
pub const SWITCH_WITHIN: Duration = Duration::from_secs(20);
/// How long the server switches for a worker after it heard its last sign of life. What is not done by then is not done: it
/// ends before [`FREED_AFTER`] by as much as a switch may need that has its request already.
pub const SWITCHED_FOR: Duration = Duration::from_secs(60);
/// How long a worker is remembered that is not heard any more.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most bytes of a file that one request carries.
pub const PIECE_BYTES_MAX: usize = 128 * 1024;
/// Most boards that one worker drives at once.
pub const CAPACITY_MAX: u32 = 2_000;

/// A worker begins.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hello {
    /// This life of it.
    pub instance: InstanceId,
    /// SHA-256 of the secret of its data folder, in hex.
    pub home: String,
    /// The site whose boards it drives.
    pub site: String,
    /// Its version.
    pub version: String,
    /// Most boards that it drives at once.
    pub capacity: u32,
    /// Names this start of its machine: a folder's lock says nothing to another one. Empty where that is not known.
    #[serde(default)]
    pub machine: String,
}

/// A sign of life, or a question of a worker that is known.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Life {
    /// This life of it.
    pub instance: InstanceId,
}

/// A worker takes nothing new any more.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Leaving {
    /// This life of it.
    pub instance: InstanceId,
    /// Whether it drives nothing any more either: what it has still may be had by others at once.
    #[serde(default)]
    pub over: bool,
}

/// The lab as a worker needs it: the boards of its site, with every `${NAME}` as it stands in boards.yaml.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LabSent {
    /// Names this state of it.
    pub hash: String,
    /// A lab file with nothing but those boards and what they need.
    pub text: String,
    /// Boards that the server switches for it.
    #[serde(default)]
    pub switched: BTreeMap<BoardId, Switched>,
}

/// A board whose power the server switches, one request at a time: when, is the worker's to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switched {
    /// How long a cycle keeps the power off.
    pub off_for_ms: u64,
    /// Whether it is left without power after a run.
    pub rests_off: bool,
    /// Its relays, and how each stands at rest.
    #[serde(default)]
    pub relays: BTreeMap<String, Outlet>,
    /// Its power sequences.
    #[serde(default)]
    pub sequences: BTreeMap<String, Vec<SequenceStep>>,
}

/// One request to a switch that the server drives.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SwitchWanted {
    /// This life of the worker.
    pub instance: InstanceId,
    /// The lease of the board.
    pub lease: LeaseRef,
    /// Which of its relays; the outlet that feeds it when absent.
    #[serde(default)]
    pub relay: Option<String>,
    /// What to set it to; it is read when absent.
    #[serde(default)]
    pub set: Option<Outlet>,
}

/// How that went.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SwitchDone {
    /// What the outlet shows, where it was read and can be.
    #[serde(default)]
    pub outlet: Option<Outlet>,
    /// Why it was not done.
    #[serde(default)]
    pub problem: Option<String>,
    /// Whether asking again changes nothing.
    #[serde(default)]
    pub lasting: bool,
}

/// What a worker is told when it is known.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Welcome {
    /// The lab.
    pub lab: LabSent,
}

/// What a sign of life is answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StillHeld {
    /// The leases that the worker drives under, all of them renewed: any other is lost.
    pub leases: Vec<LeaseId>,
}

/// A worker waits for work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkWanted {
    /// This life of it.
    pub instance: InstanceId,
    /// What it knows already ([`Work::version`]): it is answered when there is something else, or after a while.
    #[serde(default)]
    pub seen: String,
}

/// What a worker has to do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// Names this state of it.
    pub version: String,
    /// The lab that it is about ([`LabSent::hash`]).
    pub lab: String,
    /// Leases under which it drives boards.
    pub leases: Vec<Lease>,
    /// What was asked of the runs under them.
    pub requests: Vec<(LeaseRef, Request)>,
}

/// A run whose attempt is to begin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunWanted {
    /// This life of the worker.
    pub instance: InstanceId,
    /// The run.
    pub run: i64,
}

/// What an attempt needs to know of its run: nothing of who asked, or where.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunSent {
    /// Its id.
    pub id: RunId,
    /// Its number.
    pub number: i64,
    /// What was asked for.
    pub spec: RunSpec,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// Which attempt is on a board, from 1.
    pub attempt: u32,
    /// What it does there.
    pub stage: Stage,
    /// Its lease.
    pub lease: LeaseRef,
    /// When it began.
    pub started_at: Timestamp,
    /// The attempts before it, and it.
    pub attempts: Vec<Attempt>,
    /// Where its board finds artifacts.
    pub served: String,
    /// The files of its build, where its CI told of it.
    pub build: Option<Vec<BuildArtifact>>,
}

impl RunSent {
    /// What of a run is told to its worker; nothing of one that is on no board.
    pub fn of(begun: Begun, build: Option<Build>) -> Option<RunSent> {
        let Begun { view, served } = begun;
        let RunState::Active { stage, attempt, lease, started_at } = view.run.state else { return None };
        let without_cases = |attempt: Attempt| {
            let outcome = attempt.outcome.map(|outcome| Outcome { cases: vec![], ..outcome });
            Attempt { outcome, ..attempt }
        };
        Some(RunSent {
            id: view.run.id,
            number: view.run.number,
            spec: view.run.spec,
            created_at: view.run.created_at,
            attempt,
            stage,
            lease,
            started_at,
            attempts: view.attempts.into_iter().map(without_cases).collect(),
            served,
            build: build.map(|build| build.artifacts),
        })
    }

    /// The same as a runner takes it. What was not told is not known here, and nothing that is told of the run needs it.
    pub fn begun(self) -> (Begun, Option<Build>) {
        let nobody =
            Actor { platform: Platform::Api, id: String::new(), team: String::new(), name: String::new() };
        let (family, id) = (self.spec.family.clone(), self.spec.build.clone());
        let build = self.build.map(|artifacts| told(family, id, artifacts, nobody.clone()));
        let (stage, attempt, lease, started_at) = (self.stage, self.attempt, self.lease, self.started_at);
        let run = Run {
            id: self.id,
            number: self.number,
            spec: self.spec,
            requested_by: nobody,
            origin: Place::nowhere(),
            created_at: self.created_at,
            retry_of: None,
            batch: None,
            state: RunState::Active { stage, attempt, lease, started_at },
            request: None,
        };
        let view = RunView {
            run,
            attempts: self.attempts,
            progress: Progress::default(),
            retried_as: vec![],
            seen: None,
            comparison: None,
            generation: 0,
            keep: None,
            is_own: false,
        };
        (Begun { view, served: self.served }, build)
    }
}

fn told(family: Family, id: String, artifacts: Vec<BuildArtifact>, by: Actor) -> Build {
    let (source, registered_at) = (Source::default(), Timestamp::default());
    Build { number: 0, family, id, source, result: BuildResult::Success, artifacts, by, registered_at }
}

/// A report under a lease.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReportSent {
    /// This life of the worker.
    pub instance: InstanceId,
    /// The lease.
    pub lease: LeaseRef,
    /// Its number under the lease, from 1. A repeat has the same, and changes nothing.
    pub number: u64,
    /// What it says.
    pub said: Said,
}

/// What a report says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum Said {
    /// The attempt reached a stage.
    Advance {
        /// Which.
        stage: Stage,
        /// What its threads are told.
        #[serde(default)]
        word: Option<Word>,
    },
    /// The attempt got farther.
    Progress {
        /// How far.
        progress: Progress,
    },
    /// Its first failure.
    FirstFailure {
        /// As far as it is known.
        outcome: Outcome,
    },
    /// The attempt ended.
    Settle {
        /// How, but for its test cases.
        outcome: Outcome,
        /// The file among those of the attempt that has the test cases, where they are too many for a request.
        #[serde(default)]
        cases: Option<String>,
        /// Why nobody is to have the board before a person has looked at it.
        #[serde(default)]
        unfit: Option<String>,
    },
    /// The board was fenced physically.
    Fenced,
    /// The board is given back.
    Release {
        /// Why it is not at rest, if it is not.
        #[serde(default)]
        problem: Option<String>,
    },
}

/// What a report is answered.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct ReportTaken {
    /// Whether it stands; if not the lease is lost, and nothing was changed.
    pub done: bool,
    /// Where the lease is in its life now.
    pub state: Option<LeaseState>,
}

/// Leases that a worker gives back untouched, or lets go of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeasesNamed {
    /// This life of the worker.
    pub instance: InstanceId,
    /// Which.
    pub leases: Vec<LeaseId>,
}

/// Those that were.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeasesGiven {
    /// Which.
    pub leases: Vec<LeaseId>,
}

/// What a piece of a file belongs to, in the query of the request that carries it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Piece {
    /// This life of the worker.
    pub instance: InstanceId,
    /// The lease of the attempt.
    pub lease: LeaseId,
    /// Its fence.
    pub fence: i64,
    /// Its board.
    pub board: BoardId,
    /// The file's name.
    pub name: String,
    /// Which file of that name: one that was begun later takes the place of one before.
    pub begun: i64,
    /// Where in the file it stands.
    pub from: u64,
}

/// What it is answered.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct PieceTaken {
    /// How many bytes of the file are here: what follows goes on there.
    pub bytes: u64,
}
