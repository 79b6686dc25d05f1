//! Leases for the command line: from the server that runs on the data directory, through its control socket, or from the
//! store itself when none runs. What is borrowed is given back, whatever happens in between: a server takes back what
//! its connection held, and the next start takes back what a process left that was killed without one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;

use super::reload::Server;
use crate::board::BoardId;
use crate::clock::Clock;
use crate::config;
use crate::door::control::{Answer, Ask, checker};
use crate::id::{Ids, InstanceId, LeaseId};
use crate::lease::reaper::RENEW_EVERY;
use crate::lease::{Grip, Holder, Trust};
use crate::run::LeaseRef;
use crate::store::sql::{OpenError, SqlStore};
use crate::store::{AtRest, Granted, LeaseTerms, Store};

/// How long a lease from the store lasts: longer than looking at a board takes.
const LASTS: Duration = Duration::from_secs(10 * 60);

/// Where leases come from.
pub(super) enum Lender {
    /// A server runs.
    Server { data_dir: PathBuf, clock: Clock },
    /// None does, and none can start while this is open.
    Store { store: Arc<SqlStore>, clock: Clock, ids: Ids, instance: InstanceId, renews: AbortHandle },
}

/// A board in hand.
pub(super) struct Borrowed {
    /// To be shown to whatever touches the board.
    pub(super) grip: Arc<Grip>,
    /// Open for as long as the board is in hand.
    server: Option<Server>,
}

/// Why there is no lease.
pub(super) enum NotLent {
    /// Somebody has the board.
    Held(String),
    /// It cannot be had.
    Failed(String),
}

impl Borrowed {
    /// Resolves when the server does not lend the board any more: nothing more is sent to it then.
    pub(super) async fn taken_back(&mut self) {
        match &mut self.server {
            Some(server) => server.hung_up().await,
            None => std::future::pending().await,
        }
        self.grip.lose();
    }
}

impl Lender {
    /// Finds the server on a data directory, or opens its store with these boards in it.
    pub(super) async fn find(
        data_dir: &Path,
        boards: &[BoardId],
        clock: &Clock,
        ids: &Ids,
    ) -> anyhow::Result<Lender> {
        if Server::of(data_dir).await?.is_some() {
            return Ok(Lender::Server { data_dir: data_dir.to_owned(), clock: clock.clone() });
        }
        let database = config::database(&|name| std::env::var(name).ok())?;
        let store = match SqlStore::at(database.as_ref(), data_dir, ids, false).await {
            Err(error @ OpenError::Served(_)) => anyhow::bail!("{error}"),
            Err(OpenError::InUse(_)) => anyhow::bail!(
                "a server runs on {} and its control socket does not answer; its log says why",
                data_dir.display()
            ),
            opened => Arc::new(opened?),
        };
        let now = clock.now();
        store.board_register(boards, now).await?;
        let instance = InstanceId::new(ids, now);
        let renews = tokio::spawn(renew(store.clone(), clock.clone(), instance)).abort_handle();
        Ok(Lender::Store { store, clock: clock.clone(), ids: ids.clone(), instance, renews })
    }

    /// Takes a board for a moment.
    pub(super) async fn borrow(&self, board: &BoardId) -> Result<Borrowed, NotLent> {
        let failed = |error: &dyn std::fmt::Display| NotLent::Failed(error.to_string());
        match self {
            Lender::Server { data_dir, .. } => {
                let server = Server::of(data_dir).await.map_err(|error| failed(&error))?;
                let mut server = server.ok_or_else(|| NotLent::Failed("the server has stopped".into()))?;
                let ask = Ask::Lease { board: board.clone(), by: user() };
                match server.ask(&ask).await.map_err(|error| failed(&error))? {
                    Answer::Leased { id, fence } => {
                        let named = LeaseRef { id, board: board.clone(), fence };
                        // The server takes it back when it may not drive boards any more.
                        let grip = Grip::new(named, Trust::always());
                        Ok(Borrowed { grip: Arc::new(grip), server: Some(server) })
                    }
                    Answer::Held { holder } => Err(NotLent::Held(who(&holder))),
                    Answer::Failed { reason } => Err(NotLent::Failed(reason)),
                    Answer::Reloaded(_) | Answer::Workers { .. } => {
                        Err(NotLent::Failed("the server answers something else".into()))
                    }
                }
            }
            Lender::Store { store, clock, ids, instance, .. } => {
                let now = clock.now();
                let terms =
                    LeaseTerms { instance: *instance, now, expires_at: now + LASTS, drains_seen: None };
                let holder = Holder::Check(checker(&user()));
                let id = LeaseId::new(ids, now);
                match store.lease_take(id, board, &holder, &terms).await.map_err(|error| failed(&error))? {
                    Granted::Leases(leases) => match leases.into_iter().next() {
                        Some(lease) => {
                            let lease = LeaseRef { id: lease.id, board: lease.board, fence: lease.fence };
                            Ok(Borrowed { grip: Arc::new(Grip::new(lease, store.trust())), server: None })
                        }
                        None => Err(NotLent::Failed("no lease was given".into())),
                    },
                    Granted::Taken(lease) => {
                        let who = who(&lease.holder);
                        Err(NotLent::Held(format!(
                            "{who}, on a server that has stopped; start it to bring the board to rest"
                        )))
                    }
                    Granted::OutOfService { reason, .. } => Err(NotLent::Failed(reason)),
                    Granted::Outdated | Granted::Gone => Err(NotLent::Failed("the board is gone".into())),
                }
            }
        }
    }

    /// Gives a board back as it was found; it is free again, or will be by itself, when this returns.
    pub(super) async fn give_back(&self, borrowed: Borrowed) {
        match self {
            Lender::Server { clock, .. } => {
                if let Some(server) = borrowed.server {
                    server.let_go(clock).await;
                }
            }
            Lender::Store { store, clock, .. } => {
                let given = store.lease_release(borrowed.grip.lease(), &AtRest::Yes, clock.now()).await;
                if let Err(error) = given {
                    tracing::error!(%error, board.id = %borrowed.grip.lease().board, "the board is not given back: the next start does it");
                }
            }
        }
    }

    /// Gives back what is still in hand, and lets go of the data directory.
    pub(super) async fn close(self) {
        let Lender::Store { store, clock, instance, renews, .. } = self else { return };
        renews.abort();
        // What was in hand when somebody interrupted it.
        for lease in store.lease_list().await.unwrap_or_default() {
            if lease.instance == instance {
                let lease = LeaseRef { id: lease.id, board: lease.board, fence: lease.fence };
                // What cannot be given back now is taken back by the next start.
                let _ = store.lease_release(&lease, &AtRest::Yes, clock.now()).await;
            }
        }
        store.close().await;
    }
}

/// Keeps what is in hand. With the data in PostgreSQL a board may be driven only for a while after a write.
async fn renew(store: Arc<SqlStore>, clock: Clock, instance: InstanceId) {
    loop {
        clock.sleep(RENEW_EVERY).await;
        if let Err(error) = store.lease_renew(instance, clock.now() + LASTS).await {
            tracing::warn!(%error, "what is in hand was not renewed");
        }
    }
}

/// Who has a board, for people.
fn who(holder: &Holder) -> String {
    match holder {
        Holder::Run { number, .. } => format!("run #{number}"),
        Holder::Person(actor) | Holder::Check(actor) => super::connect::plain(actor.shown()),
    }
}

/// Who looks, by the name of their login.
fn user() -> String {
    std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "somebody".into())
}
