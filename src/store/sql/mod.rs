//! The store in SQL: one file of SQLite in the data directory, or one database of PostgreSQL; one server. Everything that
//! writes goes through one writer that commits in groups ([`writer`]); everything that reads has a few connections of its
//! own, which see what was committed. No rule of the lab is decided here but those that the trait names.
//!
//! Operations are written once. A statement stands beside its operation in SQLite's words; where PostgreSQL has others,
//! they stand in [`postgres`], and [`link`] takes those of the database that is asked. Nobody else writes while the writer
//! does, in either: SQLite locks its file, PostgreSQL's writer holds the server's lock on the very connection that writes.
//! So what an operation has read in its transaction still holds when it writes.
//!
//! To add an operation:
//!
//! 1. Name it in [`Store`], and call it from `impl Store for SqlStore` below: one that reads gets the readers, one that
//!    writes goes through the writer.
//! 2. Write it in the file of its subject, in SQLite's words: every text in `statements!`, each run by `link::query` or in
//!    a [`script::Script`], rows of a group as one document (`jsonb_each(?1)`). A new file is listed in [`statements`].
//! 3. Where a text has words of SQLite alone (`jsonb_each`, `INDEXED BY`, `IS ?1`, `MAX(a, b)`, `json(..)`, `-> '$.a'`), write
//!    it again in `postgres/runs.rs` or `postgres/messages.rs`, beside its name.
//! 4. New tables and columns come in `migrations/sqlite` and `migrations/postgres` under one number and name (`INTEGER` here is
//!    `BIGINT` there), and a new table in [`carry`]'s list.
//! 5. Say what it means in the conformance suite (`store_tests!` in `tests/it/store`), which runs on both. Other tests prepare
//!    every statement against both schemas, compare those, and look for statements that read a growing table to its end.

mod asks;
mod attempt;
mod audit;
mod backup;
mod badges;
mod batch;
mod board;
mod builds;
mod calls;
mod campaign;
mod carry;
mod drain;
mod digest;
mod foresee;
mod history;
mod hold;
mod intake;
mod judge;
mod keep;
mod lab;
mod lease;
mod lease_end;
mod ledger;
mod letters;
mod link;
mod links;
mod log;
mod message;
mod open;
mod outcomes;
mod postgres;
mod queue;
mod row;
mod run;
mod schedule;
#[cfg(test)]
mod schema_tests;
mod script;
mod session;
mod sqlite;
mod tally;
mod tidy;
mod token;
mod unbegun;
mod unreadable;
mod watches;
mod worker;
mod writer;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use self::link::Readers;
use self::row::{Reader, statements, unavailable};
use self::unreadable::Unreadable;
use self::writer::Writer;
use crate::board::{BoardId, Family};
use crate::build::Build;
use crate::chat::{AnswerVia, Place, Platform};
use crate::clock::Timestamp;
use crate::id::{Ids, InstanceId, LeaseId, MessageId};
use crate::lease::held::HeldTime;
use crate::lease::{Holder, Lease, LeaseState, Reservation, Trust};
use crate::message::Note;
use crate::meter::Times;
use crate::outcome::Outcome;
use crate::run::{Keep, LeaseRef, Progress, Request, Run, Stage};
use crate::store::{
    AtRest, AuditFilter, BadgeRow, BatchView, BoardRow, BoardRun, BuildFilter, Call, CallEnd, CampaignView,
    CardLink, CaseRun, Census, Committed, Cursor, Dealt, Decisions, DigestRow, Drain, Effected, Ended,
    Errand, ErrandView, Fenced, Grant, Granted, Happened, Intake, Lapsed, LeaseTerms, LeaseView, Letter,
    LinkRow, MessageEnd, NewSession, NewWorker, Notice, Outdated, Owed, Owing, QueueChanges, Registered,
    ReloadRequest, Reported, Result, RunFilter, RunStep, RunView, ScheduleRow, SessionRow, Settle,
    StatusPart, Store, StoreError, SuitePast, SuiteRun, Tally, Telling, Tidied, TidyFrom, TimePast, TokenRow,
    Told, Watched, WorkerRow,
};

pub use self::backup::{Copied, CopyError, NUMBERS_LEFT_OUT, backup, restore};
pub use self::carry::{Carried, CarryError, carry};
pub use self::foresee::Lookout;
pub use self::open::OpenError;
pub use self::postgres::{
    GIVE_UP_AFTER, LET_GO_AFTER, PostgresOptions, PostgresUrl, TAKEN_AFTER, TRUSTED_FOR,
    statements as statements_of_postgres,
};
pub use self::sqlite::SqliteOptions;

statements! {
    META_READ = "SELECT name, value FROM meta WHERE name = ?1";
    CENSUS = "SELECT (SELECT COUNT(*) FROM runs WHERE state = 'queued' AND state <> 'finished') AS queued,
               (SELECT COUNT(*) FROM runs WHERE state NOT IN ('queued') AND state <> 'finished') AS active,
               (SELECT COUNT(*) FROM leases WHERE state IN ('active', 'finalizing', 'held')) AS leases,
               (SELECT COUNT(*) FROM outbox WHERE state = 'owed' AND kind = 'reply')
                 + (SELECT COUNT(*) FROM outbox WHERE state = 'owed' AND kind = 'answer')
                 + (SELECT COUNT(*) FROM cards WHERE rev_wanted > rev_sent AND state = 'live')
                 + (SELECT COUNT(*) FROM calls WHERE state = 'owed') AS owed,
               (SELECT COUNT(*) FROM outbox WHERE state = 'dead')
                 + (SELECT COUNT(*) FROM cards WHERE state = 'dead')
                 + (SELECT COUNT(*) FROM calls WHERE state = 'dead') AS dead,
               (SELECT COUNT(*) FROM errands WHERE done_at IS NULL) AS errands";
}

/// Every statement of the store in SQLite's words, by its name.
pub fn statements() -> Vec<(&'static str, &'static str)> {
    let files = [
        STATEMENTS,
        asks::STATEMENTS,
        attempt::STATEMENTS,
        audit::STATEMENTS,
        badges::STATEMENTS,
        batch::STATEMENTS,
        board::STATEMENTS,
        builds::STATEMENTS,
        calls::STATEMENTS,
        campaign::STATEMENTS,
        drain::STATEMENTS,
        digest::STATEMENTS,
        foresee::STATEMENTS,
        history::STATEMENTS,
        hold::STATEMENTS,
        intake::STATEMENTS,
        judge::STATEMENTS,
        keep::STATEMENTS,
        lab::STATEMENTS,
        lease::STATEMENTS,
        lease_end::STATEMENTS,
        ledger::STATEMENTS,
        letters::STATEMENTS,
        links::STATEMENTS,
        log::STATEMENTS,
        message::STATEMENTS,
        open::STATEMENTS,
        outcomes::STATEMENTS,
        queue::STATEMENTS,
        run::STATEMENTS,
        schedule::STATEMENTS,
        script::STATEMENTS,
        session::STATEMENTS,
        tally::STATEMENTS,
        tidy::STATEMENTS,
        token::STATEMENTS,
        worker::STATEMENTS,
        unbegun::STATEMENTS,
        unreadable::STATEMENTS,
        watches::STATEMENTS,
        writer::STATEMENTS,
    ];
    files.concat()
}

/// Durable state in one SQLite file or one PostgreSQL database. Only one process at a time has it open.
pub struct SqlStore {
    writer: Arc<Writer>,
    readers: Readers,
    unreadable: Arc<Unreadable>,
    plans: campaign::Plans,
    ids: Ids,
    /// Set where this server has given up its place to others.
    gave_up: watch::Receiver<bool>,
    trust: Trust,
}

impl SqlStore {
    fn new(
        writer: Arc<Writer>,
        readers: Readers,
        ids: Ids,
        (gave_up, trust): (watch::Receiver<bool>, Trust),
    ) -> SqlStore {
        SqlStore {
            writer,
            readers,
            unreadable: Arc::default(),
            plans: Default::default(),
            ids,
            gave_up,
            trust,
        }
    }

    /// Ends the store after what is queued, and lets go of the data directory. Dropping it does the same, later.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

#[async_trait]
impl Store for SqlStore {
    async fn commit(&self, intake: Intake) -> Result<Committed> {
        self.writer.intake(intake).await
    }

    async fn delivery_forget(&self, before: Timestamp) -> Result<u64> {
        self.writer.write(move |tx| Box::pin(intake::forget(tx, before))).await
    }

    async fn delivery_newest(
        &self,
        keys: &str,
        since: Timestamp,
        before: Timestamp,
    ) -> Result<Option<Timestamp>> {
        intake::newest(&self.readers, keys, (since, before)).await
    }

    async fn run_view(&self, number: i64) -> Result<Option<RunView>> {
        run::view(&self.readers, &self.unreadable, number).await
    }

    async fn run_steps(&self, number: i64, after: i64, limit: u32) -> Result<Vec<RunStep>> {
        run::steps(&self.readers, number, after, limit).await
    }

    async fn run_told(&self, number: i64) -> Result<Telling> {
        run::told(&self.readers, number).await
    }

    async fn run_of_thread(&self, place: &Place) -> Result<Option<Told>> {
        run::of_thread(&self.readers, place).await
    }

    async fn threads_live(&self, platform: Platform, since: Timestamp, limit: u32) -> Result<Vec<Place>> {
        run::threads_live(&self.readers, &self.unreadable, platform, since, limit).await
    }

    async fn batch_view(&self, first: i64) -> Result<Option<BatchView>> {
        batch::view(&self.readers, first).await
    }

    async fn run_list(&self, filter: &RunFilter) -> Result<Vec<Run>> {
        run::list(&self.readers, &self.unreadable, filter).await
    }

    async fn boards_last(&self, numbers: &[i64]) -> Result<HashMap<i64, BoardId>> {
        run::boards_last(&self.readers, &self.unreadable, numbers).await
    }

    async fn held_of(&self, person: &str, since: Timestamp) -> Result<Vec<HeldTime>> {
        hold::held_of(&self.readers, person, since).await
    }

    async fn keep_list(&self) -> Result<Vec<(i64, Keep)>> {
        keep::list(&self.readers, &self.unreadable).await
    }

    async fn waiting_of(&self, requester: &str) -> Result<u64> {
        run::waiting_of(&self.readers, requester).await
    }

    async fn suite_past(&self, family: &Family, suite: &str) -> Result<SuitePast> {
        outcomes::suite_past(&self.readers, &self.unreadable, family, suite).await
    }

    async fn build_ended(&self, build: &str) -> Result<Vec<Ended>> {
        outcomes::of_build(&self.readers, &self.unreadable, build).await
    }

    async fn suite_history(&self, family: &Family, suite: &str, limit: u32) -> Result<Vec<SuiteRun>> {
        history::suite(&self.readers, &self.unreadable, family, suite, limit).await
    }

    async fn case_history(&self, family: &Family, suite: &str, case: &str) -> Result<Vec<CaseRun>> {
        history::case(&self.readers, &self.unreadable, family, suite, case).await
    }

    async fn board_history(&self, board: &BoardId, limit: u32) -> Result<Vec<BoardRun>> {
        history::board(&self.readers, &self.unreadable, board, limit).await
    }

    async fn build_find(&self, family: &Family, id: &str) -> Result<Option<Build>> {
        builds::find(&self.readers, family, id).await
    }

    async fn build_list(&self, filter: &BuildFilter) -> Result<Vec<Build>> {
        builds::list(&self.readers, &self.unreadable, filter).await
    }

    async fn queue_changes(&self, cursor: Option<Cursor>) -> Result<QueueChanges> {
        queue::changes(&self.readers, &self.unreadable, cursor).await
    }

    async fn lease_grant(&self, grants: &[Grant], terms: &LeaseTerms) -> Result<Vec<Granted>> {
        let (grants, terms, unreadable) = (grants.to_vec(), terms.clone(), self.unreadable.clone());
        self.writer
            .write(|tx| Box::pin(async move { lease::grant(tx, &unreadable, &grants, &terms).await }))
            .await
    }

    async fn lease_take(
        &self,
        id: LeaseId,
        board: &BoardId,
        holder: &Holder,
        terms: &LeaseTerms,
    ) -> Result<Granted> {
        let (board, holder, terms) = (board.clone(), holder.clone(), terms.clone());
        let unreadable = self.unreadable.clone();
        let write = self.writer.write(move |tx| {
            Box::pin(async move { lease::take(tx, &unreadable, id, &board, &holder, &terms).await })
        });
        write.await
    }

    async fn lease_renew(&self, instance: InstanceId, expires_at: Timestamp) -> Result<Vec<LeaseId>> {
        // No loop has to hear that leases go on as they did.
        self.writer.write_unheard(move |tx| Box::pin(lease_end::renew(tx, instance, expires_at))).await
    }

    async fn lease_list(&self) -> Result<Vec<Lease>> {
        lease::list(&self.readers, &self.unreadable).await
    }

    async fn lease_state(&self, lease: &LeaseRef) -> Result<Option<LeaseState>> {
        lease::state(&self.readers, lease).await
    }

    async fn lease_view(&self, id: LeaseId) -> Result<Option<LeaseView>> {
        lease::view(&self.readers, id).await
    }

    async fn lease_fenced(&self, lease: &LeaseRef, now: Timestamp) -> Result<Fenced> {
        let lease = lease.clone();
        self.writer.write(move |tx| Box::pin(async move { lease_end::fenced(tx, &lease, now).await })).await
    }

    async fn lease_release(&self, lease: &LeaseRef, rest: &AtRest, now: Timestamp) -> Result<Fenced> {
        let (lease, rest) = (lease.clone(), rest.clone());
        self.writer
            .write(move |tx| Box::pin(async move { lease_end::release(tx, &lease, &rest, now).await }))
            .await
    }

    async fn lease_expire(&self, except: InstanceId, now: Timestamp) -> Result<Vec<Lapsed>> {
        if !lease_end::any_over(&self.readers, &self.unreadable, except, now).await? {
            return Ok(vec![]);
        }
        let (ids, unreadable) = (self.ids.clone(), self.unreadable.clone());
        let write = self.writer.write(move |tx| {
            Box::pin(async move { lease_end::expire(tx, &ids, &unreadable, except, now).await })
        });
        write.await
    }

    async fn lease_takeover(&self, instance: InstanceId, now: Timestamp) -> Result<Vec<Lapsed>> {
        let (ids, unreadable) = (self.ids.clone(), self.unreadable.clone());
        let write = self.writer.write(move |tx| {
            Box::pin(async move { lease_end::takeover(tx, &ids, &unreadable, instance, now).await })
        });
        write.await
    }

    async fn lease_lapse(&self, leases: &[LeaseId], now: Timestamp) -> Result<Vec<Lapsed>> {
        let (ids, unreadable, leases) = (self.ids.clone(), self.unreadable.clone(), leases.to_vec());
        let write = self.writer.write(move |tx| {
            Box::pin(async move { lease_end::lapse_these(tx, &ids, &unreadable, &leases, now).await })
        });
        write.await
    }

    async fn worker_register(&self, worker: &NewWorker, now: Timestamp) -> Result<Registered> {
        let (ids, unreadable, worker) = (self.ids.clone(), self.unreadable.clone(), worker.clone());
        let write = self.writer.write(move |tx| {
            Box::pin(async move { worker::register(tx, &ids, &unreadable, &worker, now).await })
        });
        write.await
    }

    async fn worker_list(&self) -> Result<Vec<WorkerRow>> {
        worker::list(&self.readers, &self.unreadable).await
    }

    async fn worker_beat(
        &self,
        instance: InstanceId,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Option<Vec<Lease>>> {
        let unreadable = self.unreadable.clone();
        // No loop has to hear of it.
        let write = self.writer.write_unheard(move |tx| {
            Box::pin(async move { worker::beat(tx, &unreadable, instance, now, expires_at).await })
        });
        write.await
    }

    async fn worker_leave(&self, instance: InstanceId, now: Timestamp) -> Result<bool> {
        self.writer.write(move |tx| Box::pin(worker::leave(tx, instance, now))).await
    }

    async fn worker_expire(
        &self,
        instance: InstanceId,
        now: Timestamp,
        latest: Timestamp,
    ) -> Result<Vec<Lapsed>> {
        let (ids, unreadable) = (self.ids.clone(), self.unreadable.clone());
        let over = Some((now, latest));
        let write = self.writer.write(move |tx| {
            Box::pin(async move { worker::lapse(tx, &ids, &unreadable, instance, over, now).await })
        });
        write.await
    }

    async fn worker_forget(&self, instance: InstanceId) -> Result<bool> {
        self.writer.write(move |tx| Box::pin(worker::forget(tx, instance))).await
    }

    async fn worker_report(&self, reported: &Reported) -> Result<Fenced> {
        let (ids, reported) = (self.ids.clone(), reported.clone());
        self.writer.write(move |tx| Box::pin(async move { worker::report(tx, &ids, &reported).await })).await
    }

    async fn lease_return(&self, leases: &[LeaseId], now: Timestamp) -> Result<Vec<LeaseId>> {
        let (unreadable, leases) = (self.unreadable.clone(), leases.to_vec());
        let write = self.writer.write(move |tx| {
            Box::pin(async move { lease_end::give_back(tx, &unreadable, &leases, now).await })
        });
        write.await
    }

    async fn hold_grant(
        &self,
        reservation: LeaseId,
        board: &BoardId,
        terms: &LeaseTerms,
        told: &(AnswerVia, Note),
    ) -> Result<Granted> {
        let (board, terms, told) = (board.clone(), terms.clone(), told.clone());
        let (ids, unreadable) = (self.ids.clone(), self.unreadable.clone());
        let write = self.writer.write(move |tx| {
            Box::pin(
                async move { hold::grant(tx, &ids, &unreadable, reservation, &board, &terms, &told).await },
            )
        });
        write.await
    }

    async fn hold_warn(&self, lease: &Lease, told: &(AnswerVia, Note), now: Timestamp) -> Result<bool> {
        let (ids, lease, told) = (self.ids.clone(), lease.clone(), told.clone());
        self.writer
            .write(move |tx| Box::pin(async move { hold::warn(tx, &ids, &lease, &told, now).await }))
            .await
    }

    async fn hold_idle(
        &self,
        lease: &Lease,
        until: Timestamp,
        told: &(AnswerVia, Note),
        now: Timestamp,
    ) -> Result<bool> {
        let (ids, lease, told) = (self.ids.clone(), lease.clone(), told.clone());
        self.writer
            .write(move |tx| Box::pin(async move { hold::idle(tx, &ids, &lease, until, &told, now).await }))
            .await
    }

    async fn hold_used(&self, lease: &Lease, now: Timestamp) -> Result<bool> {
        let lease = lease.clone();
        self.writer.write(move |tx| Box::pin(async move { hold::used(tx, &lease, now).await })).await
    }

    async fn hold_expire(
        &self,
        lease: &LeaseRef,
        rest: LeaseId,
        told: &(AnswerVia, Note),
        now: Timestamp,
    ) -> Result<Effected> {
        let (ids, lease, told) = (self.ids.clone(), lease.clone(), told.clone());
        self.writer
            .write(move |tx| Box::pin(async move { hold::expire(tx, &ids, &lease, rest, &told, now).await }))
            .await
    }

    async fn watch_list(&self, ids: &[String]) -> Result<Vec<Watched>> {
        watches::list(&self.readers, &self.unreadable, ids).await
    }

    async fn notice_list(&self) -> Result<Vec<Notice>> {
        asks::notices(&self.readers, &self.unreadable).await
    }

    async fn notice_done(&self, id: MessageId, told: &(AnswerVia, Note), now: Timestamp) -> Result<()> {
        let (ids, told) = (self.ids.clone(), told.clone());
        self.writer
            .write(move |tx| Box::pin(async move { asks::notified(tx, &ids, id, &told, now).await }))
            .await
    }

    async fn reservation_drop(&self, id: LeaseId, told: &(AnswerVia, Note), now: Timestamp) -> Result<()> {
        let (ids, told) = (self.ids.clone(), told.clone());
        self.writer
            .write(move |tx| Box::pin(async move { hold::give_up(tx, &ids, id, &told, now).await }))
            .await
    }

    async fn reservation_list(&self) -> Result<Vec<Reservation>> {
        hold::waiting(&self.readers, &self.unreadable).await
    }

    async fn run_advance(
        &self,
        lease: &LeaseRef,
        stage: Stage,
        notes: &[Note],
        now: Timestamp,
    ) -> Result<Fenced> {
        let (ids, lease, notes) = (self.ids.clone(), lease.clone(), notes.to_vec());
        let write = self.writer.write(move |tx| {
            Box::pin(async move { attempt::advance(tx, &ids, &lease, stage, &notes, now).await })
        });
        write.await
    }

    async fn run_tell(&self, lease: &LeaseRef, nth: u32, note: &Note, now: Timestamp) -> Result<Fenced> {
        let (ids, lease, note) = (self.ids.clone(), lease.clone(), note.clone());
        let write = self
            .writer
            .write(move |tx| Box::pin(async move { attempt::tell(tx, &ids, &lease, nth, &note, now).await }));
        write.await
    }

    async fn run_progress(&self, lease: &LeaseRef, progress: &Progress, now: Timestamp) -> Result<Fenced> {
        let (lease, progress) = (lease.clone(), progress.clone());
        self.writer
            .write(move |tx| Box::pin(async move { attempt::progress(tx, &lease, &progress, now).await }))
            .await
    }

    async fn run_settle(&self, settle: &Settle) -> Result<Fenced> {
        let (ids, settle) = (self.ids.clone(), settle.clone());
        self.writer.write(move |tx| Box::pin(async move { attempt::settle(tx, &ids, &settle).await })).await
    }

    async fn run_withdraw(
        &self,
        number: i64,
        outcome: &Outcome,
        note: &Note,
        now: Timestamp,
    ) -> Result<bool> {
        let (ids, outcome, note) = (self.ids.clone(), outcome.clone(), note.clone());
        let write = self.writer.write(move |tx| {
            Box::pin(async move { unbegun::withdraw_waiting(tx, &ids, number, &outcome, &note, now).await })
        });
        write.await
    }

    async fn run_requests(&self, instance: InstanceId) -> Result<Vec<(LeaseRef, Request)>> {
        run::requests(&self.readers, &self.unreadable, instance).await
    }

    async fn board_register(&self, boards: &[BoardId], now: Timestamp) -> Result<()> {
        let boards = boards.to_vec();
        self.writer.write(move |tx| Box::pin(async move { board::register(tx, &boards, now).await })).await
    }

    async fn board_list(&self) -> Result<Vec<BoardRow>> {
        board::list(&self.readers, &self.unreadable).await
    }

    async fn errand_due(&self, limit: u32) -> Result<Vec<Errand>> {
        board::errands_due(&self.readers, &self.unreadable, limit).await
    }

    async fn errand_view(&self, id: MessageId) -> Result<Option<ErrandView>> {
        board::errand_view(&self.readers, id).await
    }

    async fn errand_begin(
        &self,
        id: MessageId,
        lease: &LeaseRef,
        told: Option<&(AnswerVia, Note)>,
        now: Timestamp,
    ) -> Result<Fenced> {
        let (ids, lease, told) = (self.ids.clone(), lease.clone(), told.cloned());
        let write = self.writer.write(move |tx| {
            let told = (lease, told);
            Box::pin(async move { board::errand_begin(tx, &ids, id, (&told.0, told.1.as_ref()), now).await })
        });
        write.await
    }

    async fn errand_done(
        &self,
        id: MessageId,
        answer: &Note,
        told: Option<&(AnswerVia, Note)>,
        now: Timestamp,
    ) -> Result<()> {
        let (ids, answer, told) = (self.ids.clone(), answer.clone(), told.cloned());
        let write = self.writer.write(move |tx| {
            Box::pin(async move { board::errand_done(tx, &ids, id, (&answer, told.as_ref()), now).await })
        });
        write.await
    }

    async fn lab_hash(&self) -> Result<Option<String>> {
        lab::hash(&self.readers).await
    }

    async fn lab_put(&self, hash: &str) -> Result<()> {
        let hash = hash.to_owned();
        self.writer.write(move |tx| Box::pin(async move { lab::put(tx, &hash).await })).await
    }

    async fn reload_due(&self) -> Result<Vec<ReloadRequest>> {
        lab::reloads_due(&self.readers, &self.unreadable).await
    }

    async fn reload_done(&self, done: &[MessageId], note: &Note, now: Timestamp) -> Result<()> {
        let (ids, done, note) = (self.ids.clone(), done.to_vec(), note.clone());
        let write = self
            .writer
            .write(move |tx| Box::pin(async move { lab::reloads_done(tx, &ids, &done, &note, now).await }));
        write.await
    }

    async fn campaign_view(&self, number: i64) -> Result<Option<CampaignView>> {
        campaign::view(&self.readers, &self.plans, number).await
    }

    async fn campaign_list(&self, newest: Option<u32>) -> Result<Vec<CampaignView>> {
        campaign::list(&self.readers, &self.unreadable, &self.plans, newest).await
    }

    async fn drain_list(&self) -> Result<Vec<Drain>> {
        drain::list(&self.readers, &self.unreadable).await
    }

    async fn drain_tell(&self, number: i64, told: &(AnswerVia, Note), now: Timestamp) -> Result<()> {
        let (ids, told) = (self.ids.clone(), told.clone());
        self.writer
            .write(move |tx| Box::pin(async move { drain::tell(tx, &ids, number, &told, now).await }))
            .await
    }

    async fn drain_over(
        &self,
        number: i64,
        boards: &[BoardId],
        told: &(AnswerVia, Note),
        now: Timestamp,
    ) -> Result<bool> {
        let (ids, boards, told) = (self.ids.clone(), boards.to_vec(), told.clone());
        self.writer
            .write(move |tx| {
                Box::pin(async move { drain::over(tx, &ids, number, &boards, &told, now).await })
            })
            .await
    }

    async fn call_read_to(&self) -> Result<i64> {
        self.writer.write(|tx| Box::pin(calls::read_to(tx))).await
    }

    async fn call_events(&self, after: i64, limit: u32) -> Result<Vec<Happened>> {
        calls::happened(&self.readers, &self.unreadable, after, limit).await
    }

    async fn call_owe(&self, from: i64, to: i64, owing: &Owing, now: Timestamp) -> Result<bool> {
        let owing = owing.clone();
        let write = self
            .writer
            .write(move |tx| Box::pin(async move { calls::owe(tx, (from, to), &owing, now).await }));
        write.await
    }

    async fn call_back(&self, run: i64, url: &str, now: Timestamp) -> Result<bool> {
        let url = url.to_owned();
        self.writer
            .write(move |tx| Box::pin(async move { calls::call_back_to(tx, run, &url, now).await }))
            .await
    }

    async fn status_parts(&self, commit: &str, context: &str) -> Result<Vec<StatusPart>> {
        calls::status_parts(&self.readers, commit, context).await
    }

    async fn call_due(&self, now: Timestamp, limit: u32, except: &[String]) -> Result<Vec<Call>> {
        calls::due(&self.readers, &self.unreadable, now, (limit, except)).await
    }

    async fn call_next_due(&self) -> Result<Option<Timestamp>> {
        calls::next_due(&self.readers).await
    }

    async fn call_end(&self, id: MessageId, end: CallEnd, now: Timestamp) -> Result<()> {
        let write = self.writer.write(move |tx| {
            Box::pin(async move {
                calls::end(tx, id, &end, now);
                Ok(())
            })
        });
        write.await
    }

    async fn campaign_redraw(&self, number: i64, now: Timestamp) -> Result<()> {
        self.writer
            .write(move |tx| {
                Box::pin(async move {
                    campaign::redraw(tx, number, now);
                    Ok(())
                })
            })
            .await
    }

    async fn schedule_list(&self) -> Result<Vec<ScheduleRow>> {
        schedule::list(&self.readers, &self.unreadable).await
    }

    async fn schedule_register(&self, schedules: &[(String, String)], now: Timestamp) -> Result<()> {
        let schedules = schedules.to_vec();
        self.writer
            .write(move |tx| Box::pin(async move { schedule::register(tx, &schedules, now).await }))
            .await
    }

    async fn schedule_dealt(&self, name: &str, due: Timestamp, dealt: &Dealt) -> Result<bool> {
        let (name, dealt) = (name.to_owned(), dealt.clone());
        self.writer
            .write(move |tx| Box::pin(async move { schedule::dealt(tx, &name, due, &dealt).await }))
            .await
    }

    async fn message_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Owed>> {
        message::due(&self.readers, &self.unreadable, now, limit).await
    }

    async fn message_next_due(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        message::next_due(&self.readers, now).await
    }

    async fn digest_list(&self) -> Result<Vec<DigestRow>> {
        digest::list(&self.readers, &self.unreadable).await
    }

    async fn digest_put(&self, digest: &DigestRow) -> Result<()> {
        let digest = digest.clone();
        let write = self.writer.write(move |tx| {
            digest::put(tx, &digest);
            Box::pin(async { Ok(()) })
        });
        write.await
    }

    async fn card_link(&self, card: MessageId, url: &str) -> Result<()> {
        let url = url.to_owned();
        let write = self.writer.write(move |tx| {
            message::link_known(tx, card, &url);
            Box::pin(async { Ok(()) })
        });
        write.await
    }

    async fn card_links(&self, runs: &[i64], platform: Platform) -> Result<Vec<CardLink>> {
        message::links(&self.readers, &self.unreadable, runs, platform).await
    }

    async fn link_list(&self) -> Result<Vec<LinkRow>> {
        links::list(&self.readers, &self.unreadable).await
    }

    async fn badge_due(&self, platform: Platform, limit: u32) -> Result<Vec<BadgeRow>> {
        badges::due(&self.readers, &self.unreadable, platform, limit).await
    }

    async fn badge_put(&self, badge: &BadgeRow) -> Result<()> {
        let badge = badge.clone();
        let write = self.writer.write(move |tx| {
            badges::put(tx, &badge);
            Box::pin(async { Ok(()) })
        });
        write.await
    }

    async fn badge_drop(&self, badge: &BadgeRow) -> Result<()> {
        let badge = badge.clone();
        let write = self.writer.write(move |tx| {
            badges::drop(tx, &badge);
            Box::pin(async { Ok(()) })
        });
        write.await
    }

    async fn time_past(&self, since: Timestamp, now: Timestamp) -> Result<TimePast> {
        digest::past(&self.readers, &self.unreadable, since, now).await
    }

    async fn message_begin(&self, ids: &[MessageId], now: Timestamp) -> Result<()> {
        let ids = ids.to_vec();
        let write = self.writer.write(move |tx| {
            message::begin(tx, &ids, now);
            Box::pin(async { Ok(()) })
        });
        write.await
    }

    async fn message_end(&self, ends: &[MessageEnd], now: Timestamp) -> Result<()> {
        let ends = ends.to_vec();
        let write = self.writer.write(move |tx| {
            message::end(tx, &ends, now);
            Box::pin(async { Ok(()) })
        });
        write.await
    }

    async fn letter_list(&self, limit: u32) -> Result<(Vec<Letter>, u64)> {
        letters::list(&self.readers, &self.unreadable, limit).await
    }

    async fn audit_list(&self, filter: &AuditFilter) -> Result<Decisions> {
        audit::list(&self.readers, &self.unreadable, filter).await
    }

    async fn tidy(&self, outdated: &Outdated, from: TidyFrom, limit: u32) -> Result<Tidied> {
        let outdated = *outdated;
        self.writer
            .write(move |tx| Box::pin(async move { tidy::tidy(tx, &outdated, from, limit).await }))
            .await
    }

    async fn run_ended(&self, numbers: &[i64]) -> Result<Vec<(i64, Timestamp)>> {
        run::ended(&self.readers, &self.unreadable, numbers).await
    }

    async fn token_list(&self) -> Result<Vec<TokenRow>> {
        token::list(&self.readers, &self.unreadable).await
    }

    async fn token_by_hash(&self, hash: &[u8; 32]) -> Result<Option<TokenRow>> {
        token::by_hash(&self.readers, hash).await
    }

    async fn token_used(&self, name: &str, now: Timestamp) -> Result<()> {
        let name = name.to_owned();
        // No loop has to hear of it.
        let write =
            self.writer.write_unheard(move |tx| Box::pin(async move { token::used(tx, &name, now).await }));
        write.await
    }

    async fn session_list(&self, now: Timestamp, limit: u32) -> Result<Vec<SessionRow>> {
        session::list(&self.readers, &self.unreadable, now, limit).await
    }

    async fn session_by_hash(&self, hash: &[u8; 32]) -> Result<Option<SessionRow>> {
        session::by_hash(&self.readers, hash).await
    }

    async fn session_begin(&self, new: &NewSession) -> Result<bool> {
        let new = new.clone();
        self.writer.write_unheard(move |tx| Box::pin(async move { session::begin(tx, &new).await })).await
    }

    async fn session_used(&self, hash: &[u8; 32], now: Timestamp) -> Result<()> {
        let hash = *hash;
        self.writer
            .write_unheard(move |tx| Box::pin(async move { session::used(tx, &hash, now).await }))
            .await
    }

    async fn session_end(&self, hash: &[u8; 32], now: Timestamp) -> Result<()> {
        let hash = *hash;
        self.writer.write_unheard(move |tx| Box::pin(async move { session::end(tx, &hash, now).await })).await
    }

    async fn secret(&self) -> Result<[u8; 32]> {
        let query = link::query(META_READ).bind(open::SECRET);
        let row = query.fetch_one(&self.readers).await.map_err(unavailable)?;
        let row = Reader::new(&row, "meta", "name");
        let bytes = hex::decode(row.text("value")?).map_err(|error| row.corrupt(error))?;
        bytes.try_into().map_err(|bytes: Vec<u8>| row.corrupt(format!("{} bytes", bytes.len())))
    }

    fn commits(&self) -> Option<u64> {
        // The lock of the data directory keeps every other process out.
        Some(self.writer.commits())
    }

    fn trust(&self) -> Trust {
        self.trust.clone()
    }

    async fn ended(&self) {
        let mut gave_up = self.gave_up.clone();
        let given_up = async {
            if gave_up.wait_for(|gave_up| *gave_up).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.writer.ended() => {}
            () = given_up => {}
        }
    }

    async fn ready(&self) -> Result<()> {
        if !self.writer.is_open() {
            return Err(StoreError::Unavailable("the writer has ended".into()));
        }
        self.secret().await.map(|_| ())
    }

    async fn tally(&self, since: Option<Cursor>) -> Result<Tally> {
        Ok(Tally { census: self.census().await?, ..tally::tally(&self.readers, since).await? })
    }

    fn commit_times(&self) -> Times {
        self.writer.times()
    }

    async fn census(&self) -> Result<Census> {
        let row = link::query(CENSUS).fetch_one(&self.readers).await.map_err(unavailable)?;
        let row = Reader::new(&row, "census", "queued");
        let count = |column| Ok(row.int(column)?.max(0).unsigned_abs());
        Ok(Census {
            queued: count("queued")?,
            active: count("active")?,
            leases: count("leases")?,
            owed: count("owed")?,
            dead: count("dead")?,
            errands: count("errands")?,
            unreadable: self.unreadable.count(),
        })
    }
}
