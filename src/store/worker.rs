//! Workers that drive the boards of remote sites, as the store knows them, and what they report. Plain data.

use crate::board::Site;
use crate::clock::Timestamp;
use crate::id::InstanceId;
use crate::message::Note;
use crate::run::{LeaseRef, Progress, Stage};

use super::{AtRest, Lapsed, Settle};

/// Most names that workers are kept under.
pub const WORKERS_MAX: u32 = 10_000;

/// A worker that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWorker {
    /// Its name, for people.
    pub id: String,
    /// This life of it.
    pub instance: InstanceId,
    /// SHA-256 of the secret of its data folder.
    pub home: [u8; 32],
    /// The site whose boards it drives.
    pub site: Site,
    /// Its version.
    pub version: String,
    /// Most boards that it drives at once.
    pub capacity: u32,
    /// The name of its token.
    pub token: String,
}

/// A worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerRow {
    /// What it said when it began.
    pub worker: NewWorker,
    /// When it began.
    pub registered_at: Timestamp,
    /// When it was heard last.
    pub seen_at: Timestamp,
    /// When it said that it takes nothing new any more.
    pub left_at: Option<Timestamp>,
}

/// What became of a worker that begins.
#[derive(Debug, Clone, PartialEq)]
pub enum Registered {
    /// It is known now. What its life before drove was taken away.
    Done(Vec<Lapsed>),
    /// Another one has this name, or had it.
    Taken,
    /// There is no room for another name.
    TooMany,
}

/// Something that a worker reports under a lease.
#[derive(Debug, Clone)]
pub enum Report {
    /// [`Store::run_advance`](super::Store::run_advance).
    Advance(Stage, Vec<Note>),
    /// [`Store::run_progress`](super::Store::run_progress).
    Progress(Progress),
    /// [`Store::run_tell`](super::Store::run_tell).
    Tell(u32, Note),
    /// [`Store::run_settle`](super::Store::run_settle).
    Settle(Box<Settle>),
    /// [`Store::lease_fenced`](super::Store::lease_fenced).
    Fenced,
    /// [`Store::lease_release`](super::Store::lease_release).
    Release(AtRest),
}

/// A report, and whose.
#[derive(Debug, Clone)]
pub struct Reported {
    /// The worker's life.
    pub instance: InstanceId,
    /// The lease that it drives under.
    pub lease: LeaseRef,
    /// The report's number under that lease, from 1: one that came before changes nothing, and is answered as it was.
    pub number: u64,
    /// What it says.
    pub report: Report,
    /// When it came.
    pub now: Timestamp,
}
