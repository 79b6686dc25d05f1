//! A worker's life: it begins at the server, gives signs of life, waits for work, and follows the lab. Boards are driven by
//! its pool, which is the server's own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::Remote;
use super::line::Failed;
use crate::board::LiveInventory;
use crate::clock::Clock;
use crate::doorbell::{Bell, Doorbell};
use crate::id::{Ids, InstanceId};
use crate::lease::Lease;
use crate::worker::wire::{BEAT_EVERY, Hello, LabSent, Leaving, Life, StillHeld, Welcome, Work, WorkWanted};

/// Pause after the server did not answer, and the longest.
const AGAIN: Duration = Duration::from_millis(500);
const AGAIN_MAX: Duration = Duration::from_secs(5);
/// Shortest time between two questions for work.
const ASKS_EVERY: Duration = Duration::from_millis(100);

/// Makes a lab of what the server sent.
#[async_trait]
pub trait Reads: Send + Sync {
    /// The lab, or what is wrong with it here.
    async fn read(&self, sent: &LabSent) -> Result<crate::board::Inventory, String>;
}

/// A worker's life at its server.
pub struct Alive {
    /// The desk.
    pub desk: Arc<Remote>,
    /// Who it is; its instance is this life's.
    pub hello: Hello,
    /// The lab that it knows.
    pub inventory: LiveInventory,
    /// Makes one of what is sent.
    pub reads: Arc<dyn Reads>,
    /// Time.
    pub clock: Clock,
    /// Lives.
    pub ids: Ids,
    /// Wakes the pool.
    pub doorbell: Doorbell,
    /// The hash of the lab that it knows ([`LabSent::hash`]).
    pub lab: watch::Sender<String>,
}

impl Alive {
    /// Begins at the server; asks until it answers. An error is for a person to put right.
    pub async fn begin(&self) -> Result<Welcome, String> {
        let mut pause = AGAIN;
        loop {
            let began = self.clock.monotonic();
            let hello = Hello { instance: self.desk.instance(), ..self.hello.clone() };
            match self.desk.line.ask::<Welcome>("register", &hello).await {
                Ok(welcome) => {
                    // The server counts from when it heard this.
                    self.desk.held().beat = began;
                    return Ok(welcome);
                }
                Err(Failed::Refused(problem)) => return Err(problem),
                Err(error @ (Failed::Away(_) | Failed::Gone)) => {
                    tracing::warn!(%error, "the server does not take this worker yet; asking again");
                    self.clock.sleep(pause).await;
                    pause = (pause * 2).min(AGAIN_MAX);
                }
            }
        }
    }

    /// Gives signs of life, for ever.
    pub async fn beat(&self) {
        loop {
            let next = match self.beat_once().await {
                Ok(()) => BEAT_EVERY,
                Err(Failed::Gone) => {
                    self.begin_anew().await;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, "the server does not hear this worker; trying again");
                    AGAIN * 2
                }
            };
            let sleep = self.clock.sleep(next);
            tokio::select! {
                () = sleep => {}
                () = self.desk.gone.notified() => {}
            }
        }
    }

    /// One sign of life: counted from before it was sent.
    pub async fn beat_once(&self) -> Result<(), Failed> {
        let began = self.clock.monotonic();
        let life = Life { instance: self.desk.instance() };
        let still: StillHeld = self.desk.line.ask("beat", &life).await?;
        self.desk.renewed(began, &still);
        Ok(())
    }

    async fn begin_anew(&self) {
        tracing::warn!("the server does not know this worker any more; it begins anew");
        self.desk.begin_anew(InstanceId::new(&self.ids, self.clock.now()));
        match self.begin().await {
            Ok(welcome) => self.follow(&welcome.lab).await,
            Err(problem) => {
                tracing::error!(problem, "the server does not take this worker");
                self.clock.sleep(AGAIN_MAX).await;
            }
        }
    }

    /// Waits for work, and tells the pool of it, for ever.
    pub async fn listen(&self) {
        let mut pause = AGAIN;
        loop {
            let asked_at = self.clock.monotonic();
            let (instance, seen) = (self.desk.instance(), self.desk.work.borrow().version.clone());
            match self.desk.line.wait::<Work>("work", &WorkWanted { instance, seen }).await {
                Ok(work) => match self.take(work).await {
                    Ok(()) => {
                        pause = AGAIN;
                        self.clock.sleep_until(asked_at + ASKS_EVERY).await;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the lab has changed, and is not to be had yet");
                        self.clock.sleep(pause).await;
                        pause = (pause * 2).min(AGAIN_MAX);
                    }
                },
                Err(error) => {
                    if error == Failed::Gone {
                        self.desk.gone.notify_one();
                    }
                    tracing::debug!(%error, "no word of work");
                    self.clock.sleep(pause).await;
                    pause = (pause * 2).min(AGAIN_MAX);
                }
            }
        }
    }

    /// Takes in what is to be done. The lab that it is about comes first: without it nothing new is begun, and what was asked
    /// of the runs that are on boards is heard all the same.
    async fn take(&self, work: Work) -> Result<(), Failed> {
        let mut work = work;
        let mut taken = Ok(());
        if !work.lab.is_empty() && work.lab != *self.lab.borrow() {
            let life = Life { instance: self.desk.instance() };
            match self.desk.line.ask::<LabSent>("lab", &life).await {
                Ok(sent) => self.follow(&sent).await,
                Err(error) => {
                    let before = self.desk.work.borrow().clone();
                    let had = |lease: &Lease| before.leases.iter().any(|had| had.id == lease.id);
                    work.leases.retain(had);
                    (work.version, work.lab) = (before.version.clone(), before.lab.clone());
                    taken = Err(error);
                }
            }
        }
        self.desk.work.send_replace(Arc::new(work));
        self.doorbell.ring(Bell::Pool);
        taken
    }

    /// Puts the lab in force that the server sent. One that has mistakes here leaves the one before.
    pub async fn follow(&self, sent: &LabSent) {
        match self.reads.read(sent).await {
            Ok(inventory) => {
                if let Err(error) = self.desk.redactor.learn(&inventory.secrets()) {
                    tracing::error!(%error, "new passwords cannot be taken out of what boards print");
                }
                tracing::info!(boards = inventory.boards.len(), hash = sent.hash, "the lab is in force");
                self.inventory.replace(inventory);
            }
            Err(mistakes) => tracing::error!("the lab cannot be read here:\n{mistakes}"),
        }
        self.lab.send_replace(sent.hash.clone());
    }

    /// Says that nothing new is taken any more, until the server has heard it; again whenever this worker began anew.
    /// Tells `told` of each time that it was heard.
    pub async fn leave(&self, told: &watch::Sender<Option<InstanceId>>) {
        loop {
            let instance = self.desk.instance();
            if *told.borrow() != Some(instance) {
                let leaving = Leaving { instance, over: false };
                match self.desk.line.ask::<serde_json::Value>("leave", &leaving).await {
                    Ok(_) => drop(told.send_replace(Some(instance))),
                    Err(error) => {
                        tracing::warn!(%error, "the server was not told that this worker stops; telling it again");
                    }
                }
            }
            self.clock.sleep(AGAIN).await;
        }
    }

    /// The last word: nothing is driven here any more.
    pub async fn farewell(&self) -> Result<(), Failed> {
        let leaving = Leaving { instance: self.desk.instance(), over: true };
        self.desk.line.ask::<serde_json::Value>("leave", &leaving).await.map(drop)
    }
}
