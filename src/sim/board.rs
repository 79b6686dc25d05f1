//! A simulated board's console port: TCP and telnet outside, the board's own life (`machine`) inside.
//!
//! One client at a time, as a console server has it. The board lives on between connections: its power, a half-typed
//! line and a running command stay; what it says while nobody listens is lost. Never listens beyond loopback.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::faults::Faults;
use super::telnet::Telnet;
use super::{Speed, machine};
use crate::clock::{Clock, Timestamp};
use crate::id::Ids;

/// Chunks of output that wait for a slow client; the board waits when it is full.
const OUTPUT_CHUNKS_MAX: usize = 256;
/// Chunks of input that wait for the board; more is lost, as on a line without flow control.
const INPUT_CHUNKS_MAX: usize = 1024;
/// Records that the byte log keeps in memory; the oldest go first.
pub const BYTE_RECORDS_MAX: usize = 100_000;

/// What a simulated board is like.
#[derive(Debug, Clone)]
pub struct SimBoardSpec {
    /// Its name.
    pub id: String,
    /// Its kind, for banners.
    pub family: String,
    /// How fast it lives.
    pub speed: Speed,
    /// Who may log in; `None` gives a shell after Enter.
    pub username: Option<String>,
    /// The password; `None` asks for none.
    pub password: Option<String>,
    /// The shell's prompt; `None` is `root@<hostname>:~# `.
    pub prompt: Option<String>,
    /// What the boot loader prompts with; `None` is `=> `.
    pub bootloader_prompt: Option<String>,
    /// Its name in prompts.
    pub hostname: String,
    /// Plain TCP without telnet.
    pub raw: bool,
    /// The port on loopback; 0 picks a free one.
    pub port: u16,
    /// Whether it is powered from the start.
    pub powered: bool,
    /// What is wrong with it at first.
    pub faults: Faults,
}

impl SimBoardSpec {
    /// A healthy board of that name: `root` / `root`, a free port, powered off.
    pub fn new(id: &str, family: &str, speed: Speed) -> Self {
        SimBoardSpec {
            id: id.to_owned(),
            family: family.to_owned(),
            speed,
            username: Some("root".to_owned()),
            password: Some("root".to_owned()),
            prompt: None,
            bootloader_prompt: None,
            hostname: id.to_owned(),
            raw: false,
            port: 0,
            powered: false,
            faults: Faults::default(),
        }
    }
}

/// Bytes that reached a board's console port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByteRecord {
    /// When they were read.
    pub at: Timestamp,
    /// On which connection, counted from 1.
    pub connection: u64,
    /// As they came, telnet commands included.
    pub bytes: Vec<u8>,
}

/// What happened at a board's console port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections accepted, also those told that the port is in use.
    pub connects: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Times its power really changed.
    pub switches: u64,
}

/// A running simulated board. Cheap to clone; the last clone's end stops it.
#[derive(Clone)]
pub struct SimBoard(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// What the console port, the machine and the handle share.
pub(super) struct Shared {
    pub(super) spec: SimBoardSpec,
    pub(super) clock: Clock,
    pub(super) ids: Ids,
    pub(super) power: watch::Sender<Power>,
    addr: SocketAddr,
    faults: watch::Sender<Faults>,
    line: Mutex<Option<mpsc::Sender<LineOut>>>,
    input: mpsc::Sender<Vec<u8>>,
    connects: AtomicU64,
    bytes_in: AtomicU64,
    byte_log: Mutex<ByteLog>,
}

/// The state of a board's supply.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Power {
    pub(super) on: bool,
    /// Counts real changes, so that off and on in quick succession still is a cycle.
    pub(super) switches: u64,
}

/// What the machine sends to the connected client.
pub(super) enum LineOut {
    Bytes(Vec<u8>),
    HangUp,
}

enum ByteLog {
    Off,
    Memory(VecDeque<ByteRecord>),
    File(std::fs::File),
}

impl SimBoard {
    /// Starts a board; its console listens when this returns.
    pub async fn start(clock: Clock, ids: Ids, spec: SimBoardSpec) -> io::Result<SimBoard> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, spec.port)).await?;
        let (input, typed) = mpsc::channel(INPUT_CHUNKS_MAX);
        let shared = Arc::new(Shared {
            addr: listener.local_addr()?,
            power: watch::Sender::new(Power { on: spec.powered, switches: 0 }),
            faults: watch::Sender::new(spec.faults.clone()),
            spec,
            clock,
            ids,
            line: Mutex::new(None),
            input,
            connects: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            byte_log: Mutex::new(ByteLog::Off),
        });
        let tasks = vec![
            tokio::spawn(accept(shared.clone(), listener)),
            tokio::spawn(machine::run(shared.clone(), typed)),
        ];
        Ok(SimBoard(Arc::new(Handle { shared, tasks })))
    }

    /// Where its console listens.
    pub fn addr(&self) -> SocketAddr {
        self.0.shared.addr
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.0.shared.spec.id
    }

    /// Whether it is powered.
    pub fn is_on(&self) -> bool {
        self.0.shared.power.borrow().on
    }

    /// Switches its power, as an outlet does; on when on changes nothing.
    pub fn set_power(&self, on: bool) {
        if self.0.shared.faults.borrow().power_stuck {
            return;
        }
        self.0.shared.power.send_if_modified(|power| {
            let changes = power.on != on;
            power.on = on;
            power.switches += u64::from(changes);
            changes
        });
    }

    /// What is wrong with it now.
    pub fn faults(&self) -> Faults {
        self.0.shared.faults()
    }

    /// Changes what is wrong with it.
    pub fn set_faults(&self, change: impl FnOnce(&mut Faults)) {
        self.0.shared.faults.send_modify(change);
    }

    /// Drops the present console connection, as a console server that restarts.
    pub async fn drop_connection(&self) {
        self.0.shared.send_line(LineOut::HangUp).await;
    }

    /// What happened at its console port so far.
    pub fn counters(&self) -> Counters {
        let shared = &self.0.shared;
        Counters {
            connects: shared.connects.load(Relaxed),
            bytes_in: shared.bytes_in.load(Relaxed),
            switches: shared.power.borrow().switches,
        }
    }

    /// Keeps every received byte in memory from now on, at most [`BYTE_RECORDS_MAX`] records.
    pub fn record_bytes(&self) {
        *self.0.shared.byte_log.lock().expect("byte log") = ByteLog::Memory(VecDeque::new());
    }

    /// Appends every received byte to a file from now on: a line per read, `<microseconds> <connection> <hex>`.
    pub fn record_bytes_to(&self, path: PathBuf) -> io::Result<()> {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        *self.0.shared.byte_log.lock().expect("byte log") = ByteLog::File(file);
        Ok(())
    }

    /// The bytes recorded in memory, oldest first.
    pub fn recorded(&self) -> Vec<ByteRecord> {
        match &*self.0.shared.byte_log.lock().expect("byte log") {
            ByteLog::Memory(records) => records.iter().cloned().collect(),
            ByteLog::Off | ByteLog::File(_) => Vec::new(),
        }
    }
}

impl Shared {
    /// What is wrong with the board now.
    pub(super) fn faults(&self) -> Faults {
        self.faults.borrow().clone()
    }

    /// Sends to the connected client and waits while it is slow; lost when nobody listens.
    pub(super) async fn send_line(&self, out: LineOut) {
        let line = self.line.lock().expect("line").clone();
        if let Some(line) = line {
            // An error means that the client just left: then nobody listens.
            let _ = line.send(out).await;
        }
    }

    fn log_bytes(&self, connection: u64, bytes: &[u8]) {
        self.bytes_in.fetch_add(bytes.len() as u64, Relaxed);
        let at = self.clock.now();
        match &mut *self.byte_log.lock().expect("byte log") {
            ByteLog::Off => {}
            ByteLog::Memory(records) => {
                if records.len() == BYTE_RECORDS_MAX {
                    records.pop_front();
                }
                records.push_back(ByteRecord { at, connection, bytes: bytes.to_vec() });
            }
            ByteLog::File(file) => {
                let line = format!("{} {connection} {}\n", at.as_micros(), hex::encode(bytes));
                if let Err(error) = file.write_all(line.as_bytes()) {
                    tracing::warn!(board = self.spec.id, %error, "cannot write the byte log");
                }
            }
        }
    }
}

/// Accepts clients for ever; stops listening while `refuse` is set, so that connections are really refused.
async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let mut faults = shared.faults.subscribe();
    let mut listener = Some(listener);
    let mut clients = JoinSet::new();
    loop {
        let refuse = faults.borrow_and_update().refuse;
        match (&listener, refuse) {
            (Some(_), true) => listener = None,
            (None, false) => match TcpListener::bind(shared.addr).await {
                Ok(again) => listener = Some(again),
                Err(error) => {
                    tracing::warn!(board = shared.spec.id, %error, "cannot listen again");
                    shared.clock.sleep(std::time::Duration::from_millis(50)).await;
                }
            },
            (None, true) => {
                if faults.changed().await.is_err() {
                    return;
                }
            }
            (Some(open), false) => tokio::select! {
                accepted = open.accept() => match accepted {
                    Ok((stream, _)) => {
                        let number = shared.connects.fetch_add(1, Relaxed) + 1;
                        clients.spawn(client(shared.clone(), stream, number));
                    }
                    // Out of file descriptors: give some time to be freed.
                    Err(_) => shared.clock.sleep(std::time::Duration::from_millis(50)).await,
                },
                Some(_) = clients.join_next() => {}
                changed = faults.changed() => if changed.is_err() { return },
            },
        }
    }
}

/// Frees the line when the client's task ends, however it ends.
struct LineGuard<'a>(&'a Shared);

impl Drop for LineGuard<'_> {
    fn drop(&mut self) {
        *self.0.line.lock().expect("line") = None;
    }
}

async fn client(shared: Arc<Shared>, mut stream: TcpStream, number: u64) {
    // Telnet sequences must not wait for more data.
    let _ = stream.set_nodelay(true);
    let faults = shared.faults();
    let (sender, output) = mpsc::channel(OUTPUT_CHUNKS_MAX);
    let taken = {
        let mut line = shared.line.lock().expect("line");
        let taken = line.is_some();
        if !taken && faults.busy.is_none() {
            *line = Some(sender);
        }
        taken
    };
    let refusal = faults.busy.clone().or_else(|| taken.then(|| "Port already in use".to_owned()));
    if let Some(text) = refusal {
        let _ = stream.write_all(format!("{text}\r\n").as_bytes()).await;
        let _ = stream.shutdown().await;
        return;
    }
    let guard = LineGuard(&shared);
    if let Err(error) = converse(&shared, stream, number, output).await {
        tracing::debug!(board = shared.spec.id, %error, "console client left");
    }
    drop(guard);
}

/// Carries bytes between one client and the board until either side hangs up.
async fn converse(
    shared: &Shared,
    mut stream: TcpStream,
    connection: u64,
    mut output: mpsc::Receiver<LineOut>,
) -> io::Result<()> {
    let mut telnet = Telnet::new(shared.spec.raw);
    let mut wire = Wire { sent: 0 };
    let faults = shared.faults();
    if !faults.silent && !faults.half_open {
        stream.write_all(&telnet.open(faults.negotiation_storm)).await?;
        let old = faults.replay.unwrap_or_default();
        stream.write_all(&telnet.encode(old.as_bytes())).await?;
    }
    let mut buffer = [0; 4096];
    let mut changes = shared.faults.subscribe();
    loop {
        while changes.borrow_and_update().half_open {
            if changes.changed().await.is_err() {
                return Ok(());
            }
        }
        tokio::select! {
            got = stream.read(&mut buffer) => {
                let n = got?;
                if n == 0 {
                    return Ok(());
                }
                shared.log_bytes(connection, &buffer[..n]);
                let received = telnet.receive(&buffer[..n]);
                if shared.faults().silent {
                    continue;
                }
                stream.write_all(&received.reply).await?;
                if shared.faults().deaf {
                    continue;
                }
                if !received.data.is_empty() && shared.input.try_send(received.data).is_err() {
                    tracing::debug!(board = shared.spec.id, "input lost: the board does not read");
                }
            }
            out = output.recv() => match out {
                Some(LineOut::Bytes(bytes)) => {
                    if !wire.write(shared, &mut stream, &telnet.encode(&bytes)).await? {
                        return Ok(());
                    }
                }
                Some(LineOut::HangUp) | None => return Ok(()),
            },
            // Also a half-open end: it is looked at above.
            _ = changes.changed() => {}
        }
    }
}

/// What one connection has sent, for the faults that count it.
struct Wire {
    sent: usize,
}

impl Wire {
    /// Writes as the faults have it; false when the connection is to be dropped.
    async fn write(&mut self, shared: &Shared, stream: &mut TcpStream, bytes: &[u8]) -> io::Result<bool> {
        let faults = shared.faults();
        if faults.silent {
            return Ok(true);
        }
        let left = faults.drop_after.map_or(usize::MAX, |limit| limit.saturating_sub(self.sent));
        let bytes = &bytes[..bytes.len().min(left)];
        for part in bytes.chunks(faults.split_every.unwrap_or(usize::MAX).max(1)) {
            stream.write_all(part).await?;
        }
        self.sent += bytes.len();
        Ok(faults.drop_after.is_none_or(|limit| self.sent < limit))
    }
}
