//! The writer: the one connection that writes. It takes everything that is queued and commits it as one group, so
//! that the disk is synced once for many operations; nobody is answered before that sync. It waits for nobody: while one
//! group is on its way to the disk, the next one queues.
//!
//! Deliveries of a group are committed set-based (`intake`); other operations run one after the other in the same
//! transaction, each in a savepoint so that one that meets a corrupt row, or is refused, takes nobody down with it.
//! Begins and ends go to the connection in the hops that operations make anyway (`script`). When the database itself fails, the whole group fails, its connection is dropped, and the next group opens a new one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::intake;
use super::link::Connection;
use super::open::Home;
use super::row::statements;
use super::script::Tx;
use crate::clock::Clock;
use crate::id::Ids;
use crate::lease::Trust;
use crate::meter::{ANSWER_BUCKETS, Times};
use crate::store::{Committed, Intake, Result, StoreError};

/// Most operations in one transaction.
pub(super) const GROUP_MAX: usize = 256;
/// Most operations that wait for the writer; more wait in their callers.
pub(super) const WRITES_QUEUED_MAX: usize = 4096;

statements! {
    // IMMEDIATE: a group always writes, so it takes the write lock before it reads.
    BEGIN = "BEGIN IMMEDIATE";
    COMMIT = "COMMIT";
    ROLLBACK = "ROLLBACK";
    SAVEPOINT = "SAVEPOINT operation";
    UNDO = "ROLLBACK TO operation";
    RELEASE = "RELEASE operation";
}

/// What an operation gives when it has run.
pub(super) type Running<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A handle on the writer.
pub(super) struct Writer {
    writes: mpsc::Sender<Write>,
    commits: Arc<AtomicU64>,
    times: Times,
    task: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the writer on an open connection. It keeps `lock`, where there is one, for as long as it can write, and renews
    /// `trust` with every group.
    pub(super) fn start(
        connection: Connection,
        home: Home,
        ids: Ids,
        (lock, trust): (Option<std::fs::File>, Trust),
    ) -> Self {
        let (writes, queued) = mpsc::channel(WRITES_QUEUED_MAX);
        let commits = Arc::new(AtomicU64::new(0));
        let times = Times::new(ANSWER_BUCKETS);
        let (clock, tx) = (Clock::system(), Some(Tx::new(connection)));
        let group = Group { tx, home, ids, commits: commits.clone(), clock, times: times.clone(), trust };
        let task = tokio::spawn(async move {
            let drive = tokio::spawn(group.drive(queued));
            if let Err(error) = drive.await {
                tracing::error!(%error, "the writer died");
                // This process may still drive boards: the lock stays with it until it has ended.
                std::mem::forget(lock);
            }
        });
        Writer { writes, commits, times, task: tokio::sync::Mutex::new(Some(task)) }
    }

    /// Commits a delivery.
    pub(super) async fn intake(&self, intake: Intake) -> Result<Committed> {
        let (reply, answer) = oneshot::channel();
        self.send(Write::Intake(Box::new(intake), reply)).await?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Runs an operation in the writer's transaction.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Tx) -> Running<'a, T> + Send + 'static,
    {
        self.operate(work, true).await
    }

    /// The same for what no loop has to hear of: [`Writer::commits`] does not count it.
    pub(super) async fn write_unheard<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Tx) -> Running<'a, T> + Send + 'static,
    {
        self.operate(work, false).await
    }

    async fn operate<T, F>(&self, work: F, heard: bool) -> Result<T>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Tx) -> Running<'a, T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let operation = Once { work: Some(work), heard, result: None, reply };
        self.send(Write::Operation(Box::new(operation))).await?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// How many groups were committed that a loop may have to hear of.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Acquire)
    }

    /// How long groups took to commit.
    pub(super) fn times(&self) -> Times {
        self.times.clone()
    }

    /// Whether it takes writes.
    pub(super) fn is_open(&self) -> bool {
        !self.writes.is_closed()
    }

    /// Resolves when it takes no write any more.
    pub(super) async fn ended(&self) {
        self.writes.closed().await;
    }

    /// Ends the writer after what is queued.
    pub(super) async fn close(&self) {
        // Closed already when sending fails.
        let _ = self.writes.send(Write::Stop).await;
        if let Some(task) = self.task.lock().await.take() {
            let _ = task.await;
        }
    }

    async fn send(&self, write: Write) -> Result<()> {
        self.writes.send(write).await.map_err(|_| closed())
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".into())
}

enum Write {
    Intake(Box<Intake>, oneshot::Sender<Result<Committed>>),
    Operation(Box<dyn Operation>),
    Stop,
}

/// How an operation ran.
enum Ran {
    Done,
    /// It failed for itself: what it wrote must be undone.
    Undo,
    /// The database failed.
    Broken(StoreError),
}

/// An operation with its caller's reply.
trait Operation: Send {
    /// Runs it, and `end` behind it.
    fn run<'a>(
        &'a mut self,
        tx: &'a mut Tx,
        end: &'static str,
    ) -> Pin<Box<dyn Future<Output = Ran> + Send + 'a>>;
    /// Whether a loop may have to hear of it.
    fn heard(&self) -> bool;
    /// Answers the caller, with `broken` when its group was not committed.
    fn tell(self: Box<Self>, broken: Option<&str>);
}

struct Once<F, T> {
    work: Option<F>,
    heard: bool,
    result: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<F, T> Operation for Once<F, T>
where
    T: Send + 'static,
    F: for<'a> FnOnce(&'a mut Tx) -> Running<'a, T> + Send + 'static,
{
    fn run<'a>(
        &'a mut self,
        tx: &'a mut Tx,
        end: &'static str,
    ) -> Pin<Box<dyn Future<Output = Ran> + Send + 'a>> {
        Box::pin(async move {
            let Some(work) = self.work.take() else {
                return Ran::Done;
            };
            let ran = match work(tx).await {
                Ok(value) => tx.execute(end).await.map(|()| value),
                Err(error) => Err(error),
            };
            match ran {
                Ok(value) => {
                    self.result = Some(Ok(value));
                    Ran::Done
                }
                Err(error) if error.is_lasting() => {
                    self.result = Some(Err(error));
                    Ran::Undo
                }
                Err(error) => Ran::Broken(error),
            }
        })
    }

    fn heard(&self) -> bool {
        self.heard
    }

    fn tell(self: Box<Self>, broken: Option<&str>) {
        let answer = match (self.result, broken) {
            (Some(Err(error)), _) => Err(error),
            (_, Some(broken)) => Err(StoreError::Unavailable(broken.to_owned())),
            (Some(Ok(value)), None) => Ok(value),
            (None, None) => Err(StoreError::Unavailable("the operation did not run".into())),
        };
        // The caller may have gone; what it asked for is committed all the same.
        let _ = self.reply.send(answer);
    }
}

struct Group {
    tx: Option<Tx>,
    home: Home,
    ids: Ids,
    commits: Arc<AtomicU64>,
    /// Measures, and decides nothing.
    clock: Clock,
    times: Times,
    trust: Trust,
}

impl Group {
    async fn drive(mut self, mut queued: mpsc::Receiver<Write>) {
        let mut taken = Vec::with_capacity(GROUP_MAX);
        let mut stop = false;
        while !stop && !self.home.is_lost() && queued.recv_many(&mut taken, GROUP_MAX).await > 0 {
            let mut intakes = Vec::new();
            let mut operations = Vec::new();
            for write in taken.drain(..) {
                match write {
                    Write::Intake(intake, reply) => intakes.push((*intake, reply)),
                    Write::Operation(operation) => operations.push(operation),
                    Write::Stop => stop = true,
                }
            }
            self.commit(intakes, operations).await;
        }
        queued.close();
        if let Some(mut tx) = self.tx.take() {
            if let Some(farewell) = self.home.farewell() {
                // Unsaid, whoever comes next waits a little.
                let _ = tx.execute(farewell).await;
            }
            tx.close().await;
        }
    }

    /// Commits a group and answers everyone in it.
    async fn commit(
        &mut self,
        intakes: Vec<(Intake, oneshot::Sender<Result<Committed>>)>,
        mut operations: Vec<Box<dyn Operation>>,
    ) {
        let (intakes, replies): (Vec<_>, Vec<_>) = intakes.into_iter().unzip();
        if intakes.is_empty() && operations.is_empty() {
            return;
        }
        let (began_at, trusted_from) = (self.clock.monotonic(), self.trust.begin());
        match self.transaction(&intakes, &mut operations).await {
            Ok(committed) => {
                self.trust.renew(trusted_from);
                self.times.took(self.clock.monotonic().since(began_at));
                if !committed.is_empty() || operations.iter().any(|operation| operation.heard()) {
                    self.commits.fetch_add(1, Ordering::Release);
                }
                replies.into_iter().zip(committed).for_each(|(reply, committed)| drop(reply.send(committed)));
                operations.into_iter().for_each(|operation| operation.tell(None));
            }
            Err(error) => {
                let broken = match &error {
                    StoreError::Unavailable(problem) => problem.clone(),
                    StoreError::Corrupt { .. } | StoreError::Refused(_) => error.to_string(),
                };
                tracing::error!(%error, operations = intakes.len() + operations.len(), "a group was not committed");
                self.reset().await;
                replies
                    .into_iter()
                    .for_each(|reply| drop(reply.send(Err(StoreError::Unavailable(broken.clone())))));
                operations.into_iter().for_each(|operation| operation.tell(Some(&broken)));
            }
        }
    }

    async fn transaction(
        &mut self,
        intakes: &[Intake],
        operations: &mut [Box<dyn Operation>],
    ) -> Result<Vec<Result<Committed>>> {
        let tx = match &mut self.tx {
            Some(tx) => tx,
            none => none.insert(Tx::new(self.home.connect().await?)),
        };
        if operations.is_empty() {
            return intake::commit(tx, &self.ids, intakes, Ends::Commit).await;
        }
        let committed = match intakes {
            [] => {
                tx.begin(BEGIN);
                vec![]
            }
            intakes => intake::commit(tx, &self.ids, intakes, Ends::Open).await?,
        };
        // Alone in its transaction, an operation needs no savepoint: the transaction is its savepoint.
        if let ([operation], true) = (&mut *operations, intakes.is_empty()) {
            return match operation.run(tx, COMMIT).await {
                Ran::Done => Ok(committed),
                Ran::Undo => undo(tx, &[ROLLBACK]).await.map(|()| committed),
                Ran::Broken(error) => Err(error),
            };
        }
        for operation in operations {
            tx.begin(SAVEPOINT);
            match operation.run(tx, RELEASE).await {
                Ran::Done => {}
                Ran::Undo => undo(tx, &[UNDO, RELEASE]).await?,
                Ran::Broken(error) => return Err(error),
            }
        }
        tx.execute(COMMIT).await?;
        Ok(committed)
    }

    /// Leaves a transaction that failed. The connection goes with it: what state it is in is not known.
    async fn reset(&mut self) {
        if let Some(mut tx) = self.tx.take() {
            if self.home.is_remote() {
                // It may be gone without a word: nobody waits for its answer, and its server rolls back by itself.
                return;
            }
            tx.forget();
            // SQLite has rolled back by itself after some errors; then there is nothing left to roll back.
            let _ = tx.execute(ROLLBACK).await;
            tx.close().await;
        }
    }
}

/// How deliveries leave their transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// Committed.
    Commit,
    /// Open, for the operations of their group.
    Open,
}

/// Undoes what came since the last begin, unless that has not been run itself.
async fn undo(tx: &mut Tx, undo: &[&'static str]) -> Result<()> {
    if tx.forget() {
        return Ok(());
    }
    for sql in undo {
        tx.execute(sql).await?;
    }
    Ok(())
}
