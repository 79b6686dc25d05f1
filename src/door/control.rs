//! The control socket: how a command line on the same machine, of the same user, talks to a running server. A Unix
//! socket in the data directory, which only its owner may open; one JSON line is asked and answered.
//!
//! A lease that is given here lives as long as the connection: whoever dies lets go of the board.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::board::BoardId;
use crate::chat::{Actor, Platform};
use crate::clock::Timestamp;
use crate::id::{InstanceId, LeaseId};
use crate::lease::{Fence, Holder};
use crate::worker::crew::Shown;
use crate::worker::moment::{self, Moment};
use crate::worker::reloader::{Reloaded, Reloader};
use crate::worker::runner::Lab;

/// The socket's name in the data directory.
pub const SOCKET: &str = "control.sock";
/// Most connections at once.
pub const CONNECTIONS_MAX: usize = 64;
/// Longest line that is asked or answered.
pub const LINE_BYTES_MAX: u64 = 64 * 1024;
/// Most workers that are told of: their line has a bound.
pub const WORKERS_MAX: usize = 150;
/// How long a connection may take to ask.
const ASK_WITHIN: Duration = Duration::from_secs(5);

/// What is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "ask")]
pub enum Ask {
    /// Read the lab file again.
    Reload,
    /// A board for as long as the connection is open.
    Lease {
        /// The board.
        board: BoardId,
        /// Who looks at it: a user of this machine.
        by: String,
    },
    /// Who drives the boards of remote sites.
    Workers,
}

/// A worker, as a command line is told of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerSaid {
    /// Its name.
    pub id: String,
    /// Its site.
    pub site: String,
    /// How it stands ([`Standing::as_str`](crate::worker::crew::Standing::as_str)).
    pub state: String,
    /// Its version.
    pub version: String,
    /// When it was heard last.
    pub seen_at: Timestamp,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
pub enum Answer {
    /// What reading the lab file again came to.
    Reloaded(Reloaded),
    /// The board is in hand until the connection ends.
    Leased {
        /// The lease.
        id: LeaseId,
        /// Its generation.
        fence: Fence,
    },
    /// Somebody has the board.
    Held {
        /// Who.
        holder: Holder,
    },
    /// Workers of remote sites.
    Workers {
        /// Each of them, up to [`WORKERS_MAX`].
        workers: Vec<WorkerSaid>,
        /// The server's own version.
        version: String,
    },
    /// It cannot be done.
    Failed {
        /// Why.
        reason: String,
    },
}

/// What the socket needs.
pub struct Control {
    /// The lab.
    pub lab: Arc<Lab>,
    /// This process, on its leases.
    pub instance: InstanceId,
    /// Reads the lab file again; `None` where there is no file.
    pub reloader: Option<Reloader>,
}

/// Binds the socket in the data directory, in the place of one that a process before left there: whoever holds the
/// directory's lock is the only server on it.
pub fn listen(data_dir: &Path) -> std::io::Result<UnixListener> {
    let path = data_dir.join(SOCKET);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves until `closing` turns true, and then until what is open has let go.
pub async fn serve(listener: UnixListener, control: Control, closing: watch::Receiver<bool>) {
    let control = Arc::new(control);
    let mut closed = closing.clone();
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            () = closes(&mut closed) => break,
            accepted = listener.accept(), if open.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => drop(open.spawn(talk(stream, control.clone(), closing.clone()))),
                Err(error) => {
                    tracing::warn!(%error, "the control socket takes no connection");
                    control.lab.clock.sleep(Duration::from_secs(1)).await;
                }
            },
            Some(_) = open.join_next() => {}
        }
    }
    while open.join_next().await.is_some() {}
}

/// Waits until the server stops.
async fn closes(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await.is_ok();
}

async fn talk(stream: UnixStream, control: Arc<Control>, closing: watch::Receiver<bool>) {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read.take(LINE_BYTES_MAX));
    let mut line = String::new();
    let asked = control.lab.clock.timeout(ASK_WITHIN, read.read_line(&mut line)).await;
    if !matches!(asked, Ok(Ok(n)) if n > 0) {
        return;
    }
    let (answer, lease) = match serde_json::from_str(&line) {
        Ok(ask) => answer(&control, ask).await,
        Err(error) => (Answer::Failed { reason: format!("not understood: {error}") }, None),
    };
    let text = serde_json::to_string(&answer).unwrap_or_default() + "\n";
    let sent = write.write_all(text.as_bytes()).await;
    if let Some(lease) = lease {
        if sent.is_ok() {
            until_let_go(&control, &mut read, closing).await;
        }
        moment::give_back(&control.lab, &lease).await;
    }
}

/// Waits until the other side closes, its time is over, or the server stops.
async fn until_let_go(
    control: &Control,
    read: &mut (impl tokio::io::AsyncRead + Unpin),
    mut closing: watch::Receiver<bool>,
) {
    let (mut nothing, trust) = ([0], control.lab.store.trust());
    tokio::select! {
        _ = read.read(&mut nothing) => {}
        () = control.lab.clock.sleep(moment::MOMENT_LASTS) => {}
        () = closes(&mut closing) => {}
        // Another server may give the board away.
        () = trust.over() => {}
    }
}

async fn answer(control: &Control, ask: Ask) -> (Answer, Option<Box<crate::lease::Lease>>) {
    let failed = |reason: String| (Answer::Failed { reason }, None);
    match ask {
        Ask::Reload => {
            let Some(reloader) = &control.reloader else {
                return failed("this server has no boards.yaml to read again".into());
            };
            match reloader.reload().await {
                Ok(reloaded) => (Answer::Reloaded(reloaded), None),
                Err(error) => failed(error.to_string()),
            }
        }
        Ask::Workers => {
            let said = |shown: &Shown| WorkerSaid {
                id: shown.row.worker.id.clone(),
                site: shown.row.worker.site.as_str().to_owned(),
                state: shown.standing.as_str().to_owned(),
                version: shown.row.worker.version.clone(),
                seen_at: shown.row.seen_at,
            };
            let workers = control.lab.crew.shown().iter().take(WORKERS_MAX).map(said).collect();
            (Answer::Workers { workers, version: env!("CARGO_PKG_VERSION").to_owned() }, None)
        }
        Ask::Lease { board, by } => {
            match moment::take(&control.lab, control.instance, &board, checker(&by)).await {
                Ok(Moment::Lease(lease)) => {
                    (Answer::Leased { id: lease.id, fence: lease.fence }, Some(lease))
                }
                Ok(Moment::Held(holder)) => (Answer::Held { holder: *holder }, None),
                Ok(Moment::Unknown) => {
                    failed(format!("the server knows no board {board}; is its boards.yaml another one?"))
                }
                Err(error) => failed(error.to_string()),
            }
        }
    }
}

/// Somebody who checks boards from the command line.
pub fn checker(user: &str) -> Actor {
    let name: String = user.chars().filter(|c| !c.is_control()).take(64).collect();
    Actor {
        platform: Platform::Api,
        id: "boardhand-check".into(),
        team: String::new(),
        name: format!("boardhand check ({name})"),
    }
}
