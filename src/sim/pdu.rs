//! A simulated PDU: a line of text a request, on loopback, switching simulated boards by outlet.
//!
//! The protocol: `on 3`, `off 3` and `status 3`, each ended by a newline; the answer is `ok on`, `ok off` or
//! `error <why>`. A connection carries any number of requests, answered in order. An outlet's name is any text
//! without spaces.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::SimBoard;
use crate::clock::{Clock, Timestamp};

/// Longest request.
pub const REQUEST_BYTES_MAX: usize = 256;
/// Entries that the log keeps; the oldest go first.
pub const SWITCH_LOG_MAX: usize = 100_000;
/// Most connections at once; more are closed unanswered.
pub const CLIENTS_MAX: usize = 64;

/// What can be wrong with a PDU. The default is a healthy one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PduFaults {
    /// Connections are closed at once.
    pub refuse: bool,
    /// Requests are read and never answered, nor carried out.
    pub silent: bool,
    /// How long every request takes.
    pub slow: Duration,
    /// Every request is answered with `error` and this, and not carried out.
    pub error: Option<String>,
    /// Requests are answered as if carried out, and are not: a worn relay.
    pub stuck: bool,
    /// The same with one outlet only.
    pub stuck_outlet: Option<String>,
}

/// One switching of an outlet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// When.
    pub at: Timestamp,
    /// Which outlet.
    pub outlet: String,
    /// Whether it was switched on.
    pub on: bool,
}

/// A running simulated PDU. Cheap to clone; the last clone's end stops it.
#[derive(Clone)]
pub struct SimPdu(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Shared {
    clock: Clock,
    addr: SocketAddr,
    outlets: BTreeMap<String, Vec<SimBoard>>,
    /// Outlets that feed no board, such as a strap's, and whether they are on.
    relays: Mutex<BTreeMap<String, bool>>,
    faults: Mutex<PduFaults>,
    log: Mutex<VecDeque<Switch>>,
}

impl SimPdu {
    /// Starts a PDU with these boards at its outlets; it listens when this returns.
    pub async fn start(clock: Clock, outlets: BTreeMap<String, Vec<SimBoard>>) -> io::Result<SimPdu> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let shared = Arc::new(Shared {
            clock,
            addr: listener.local_addr()?,
            outlets,
            relays: Mutex::default(),
            faults: Mutex::default(),
            log: Mutex::default(),
        });
        let task = tokio::spawn(accept(shared.clone(), listener));
        Ok(SimPdu(Arc::new(Handle { shared, task })))
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.0.shared.addr
    }

    /// Gives it an outlet that feeds no board, off at first; one that it has stays as it is.
    pub fn add_relay(&self, outlet: &str) {
        self.0.shared.relays.lock().expect("relays").entry(outlet.to_owned()).or_default();
    }

    /// Changes what is wrong with it.
    pub fn set_faults(&self, change: impl FnOnce(&mut PduFaults)) {
        change(&mut self.0.shared.faults.lock().expect("faults"));
    }

    /// Every switching so far, oldest first, at most [`SWITCH_LOG_MAX`].
    pub fn log(&self) -> Vec<Switch> {
        self.0.shared.log.lock().expect("log").iter().cloned().collect()
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if clients.len() < CLIENTS_MAX && !shared.faults().refuse => {
                    clients.spawn(client(shared.clone(), stream));
                }
                Ok(_) => {}
                // Out of file descriptors: give some time to be freed.
                Err(_) => shared.clock.sleep(Duration::from_millis(50)).await,
            },
            Some(_) = clients.join_next() => {}
        }
    }
}

/// Answers one connection's requests until it ends or sends a line that is too long.
async fn client(shared: Arc<Shared>, mut stream: TcpStream) {
    let mut pending = Vec::new();
    let mut buffer = [0; REQUEST_BYTES_MAX];
    loop {
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            let Some(answer) = shared.answer(String::from_utf8_lossy(&line).trim()).await else {
                continue;
            };
            if stream.write_all(format!("{answer}\n").as_bytes()).await.is_err() {
                return;
            }
        }
        if pending.len() > REQUEST_BYTES_MAX {
            // The client may be gone already; it is cut off either way.
            let _ = stream.write_all(b"error request too long\n").await;
            return;
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(n) => pending.extend(&buffer[..n]),
        }
    }
}

impl Shared {
    fn faults(&self) -> PduFaults {
        self.faults.lock().expect("faults").clone()
    }

    /// Carries out one request; no answer while the PDU is silent.
    async fn answer(&self, request: &str) -> Option<String> {
        let faults = self.faults();
        if !faults.slow.is_zero() {
            self.clock.sleep(faults.slow).await;
        }
        if faults.silent {
            return None;
        }
        if let Some(error) = faults.error {
            return Some(format!("error {error}"));
        }
        let (verb, outlet) = request.split_once(' ').unwrap_or((request, ""));
        let outlet = outlet.trim();
        let Some(is_on) = self.is_on(outlet) else {
            return Some(format!("error unknown outlet {outlet}"));
        };
        let on = match verb {
            "on" => true,
            "off" => false,
            "status" => is_on,
            _ => return Some(format!("error unknown request {verb}")),
        };
        if verb != "status" {
            self.record(Switch { at: self.clock.now(), outlet: outlet.to_owned(), on });
            if !faults.stuck && faults.stuck_outlet.as_deref() != Some(outlet) {
                self.switch(outlet, on);
            }
        }
        Some(format!("ok {}", if on { "on" } else { "off" }))
    }

    /// The state of an outlet; `None` where there is none of that name.
    fn is_on(&self, outlet: &str) -> Option<bool> {
        let of_boards = self.outlets.get(outlet).map(|boards| boards.iter().any(SimBoard::is_on));
        of_boards.or_else(|| self.relays.lock().expect("relays").get(outlet).copied())
    }

    fn switch(&self, outlet: &str, on: bool) {
        self.outlets.get(outlet).into_iter().flatten().for_each(|board| board.set_power(on));
        if let Some(state) = self.relays.lock().expect("relays").get_mut(outlet) {
            *state = on;
        }
    }

    fn record(&self, switch: Switch) {
        let mut log = self.log.lock().expect("log");
        if log.len() == SWITCH_LOG_MAX {
            log.pop_front();
        }
        log.push_back(switch);
    }
}
