//! Artifacts for boot loaders, over TFTP, read only. A name that begins with an attempt's pass (`artifacts/<pass>/…`)
//! is served to whoever knows it; any other name only to the address of a board that a run holds now. The number of
//! files on their way is bounded, and nothing is ever written.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::server::is_true;
use super::{Door, artifacts};
use crate::artifact::Artifact;
use crate::clock::Monotonic;
use crate::transfer::tftp::{self, Next, Packet, REQUEST_BYTES_MAX, Refused, Request, Sending};

/// Most files that are on their way at once. Whoever comes then hears nothing and asks again, as boot loaders do.
pub const SESSIONS_MAX: usize = 128;
/// Bytes of a file that are read at once; each session holds so many.
const PIECE_BYTES: u64 = 256 * 1024;
/// Pause after the socket failed, which it does when a client's network says that it is not there.
const PAUSE: Duration = Duration::from_millis(10);

/// How often the log tells of requests that are not served.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Serves until `closing` says true.
pub async fn serve(socket: UdpSocket, door: Arc<Door>, mut closing: watch::Receiver<bool>) {
    let here = socket.local_addr().map_or(IpAddr::from([0, 0, 0, 0]), |address| address.ip());
    let clients = Arc::<Mutex<Clients>>::default();
    let mut sessions = JoinSet::new();
    let mut packet = [0; REQUEST_BYTES_MAX + 1];
    loop {
        let (count, client) = tokio::select! {
            () = is_true(&mut closing) => return,
            Some(_) = sessions.join_next() => continue,
            received = socket.recv_from(&mut packet) => match received {
                Ok(received) => received,
                Err(_) => {
                    door.clock.sleep(PAUSE).await;
                    continue;
                }
            },
        };
        match Packet::read(&packet[..count]) {
            Ok(Packet::Read(request)) => {
                let Some(place) = Place::take(&clients, client, door.clock.monotonic()) else { continue };
                sessions.spawn(session(door.clone(), request, here, place));
            }
            // What belongs to a session goes to its own socket; here it is late.
            Ok(Packet::Ack(_) | Packet::Error) => {}
            Err(refused) => drop(socket.try_send_to(&tftp::error(refused), client)),
        }
    }
}

/// Who is served, and what was told of the others.
#[derive(Default)]
struct Clients {
    served: HashSet<SocketAddr>,
    told: Option<Monotonic>,
}

impl Clients {
    /// Whether the log hears of one more that is not served: anybody can send packets.
    fn tells(&mut self, now: Monotonic) -> bool {
        let tells = self.told.is_none_or(|at| now.since(at) >= TOLD_EVERY);
        if tells {
            self.told = Some(now);
        }
        tells
    }
}

/// A client's place among those that are served; dropping it gives it back.
struct Place {
    clients: Arc<Mutex<Clients>>,
    client: SocketAddr,
}

impl Place {
    /// Nothing when the client has one: it asked again before it heard the answer.
    fn take(clients: &Arc<Mutex<Clients>>, client: SocketAddr, now: Monotonic) -> Option<Place> {
        let mut taken = locked(clients);
        if taken.served.len() >= SESSIONS_MAX {
            if taken.tells(now) {
                tracing::warn!(
                    most = SESSIONS_MAX,
                    "too many boards fetch by TFTP at once: some have to ask again"
                );
            }
            return None;
        }
        taken.served.insert(client).then(|| Place { clients: clients.clone(), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        locked(&self.clients).served.remove(&self.client);
    }
}

fn locked(clients: &Mutex<Clients>) -> MutexGuard<'_, Clients> {
    clients.lock().expect("nobody panics with this lock")
}

/// One file to one client, over a socket of its own.
async fn session(door: Arc<Door>, request: Request, here: IpAddr, place: Place) {
    let client = place.client;
    let sent = async {
        let socket = UdpSocket::bind((here, 0)).await?;
        socket.connect(client).await?;
        let artifact = match wanted(&door, &request.name, client.ip()).await {
            Ok(artifact) => artifact,
            Err(reason) => {
                if locked(&place.clients).tells(door.clock.monotonic()) {
                    tracing::warn!(%client, name = request.name, reason, "a file that TFTP does not give");
                }
                return socket.send(&tftp::error(Refused::NoFile)).await.map(drop);
            }
        };
        let bytes = artifact.version.bytes;
        let mut file = Reader { file: artifact.file, start: 0, piece: Vec::new() };
        let sent = send(&door, &socket, &request, &mut file, bytes).await;
        if sent.is_err() {
            socket.send(&tftp::error(Refused::Broken)).await?;
        }
        sent
    };
    let sent: std::io::Result<()> = sent.await;
    if let Err(error) = sent {
        tracing::warn!(%error, %client, "a file did not get to its board by TFTP");
    }
}

/// The file of a name, if this client may have it; otherwise why not.
async fn wanted(door: &Door, name: &str, client: IpAddr) -> Result<Artifact, String> {
    let name = name.trim_start_matches('/');
    let passed = name.strip_prefix("artifacts/").and_then(|rest| rest.split_once('/'));
    let (may, name) = match passed.filter(|(pass, _)| door.links.board_pass(pass).is_some()) {
        Some((pass, name)) => (artifacts::is_at_work(door, pass).await.unwrap_or(false), name),
        None => (is_a_board_at_work(door, client.to_canonical()).await, name),
    };
    if !may {
        return Err(
            "neither the address of an attempt at work, nor from the board_ip of a board that a run holds"
                .into(),
        );
    }
    door.artifacts.open(name).await.map_err(|error| error.to_string())
}

/// Whether a run holds a board of this address.
async fn is_a_board_at_work(door: &Door, client: IpAddr) -> bool {
    let inventory = door.handler.inventory.now();
    let leases = door.store.lease_list().await.unwrap_or_default();
    let boards = leases.iter().filter_map(|lease| inventory.boards.get(&lease.board));
    let mut addresses = boards.filter_map(|board| board.console.host.parse::<IpAddr>().ok());
    addresses.any(|address| address == client)
}

/// Sends a file until the client has it or gives up.
async fn send(
    door: &Door,
    socket: &UdpSocket,
    request: &Request,
    file: &mut Reader,
    bytes: u64,
) -> std::io::Result<()> {
    let mut sending = Sending::new(request, bytes);
    let mut next = sending.begin();
    let mut packet = [0; REQUEST_BYTES_MAX];
    let wait = Duration::from_secs(request.timeout);
    let mut until = door.clock.monotonic() + wait;
    loop {
        match next {
            Next::Options => drop(socket.send(&tftp::options(request, bytes)).await?),
            Next::Blocks(blocks) => {
                for block in blocks {
                    let data = file.read(sending.bytes_of(block)).await?;
                    socket.send(&tftp::data(block, data)).await?;
                }
            }
            Next::Wait => {}
            Next::Done => return Ok(()),
        }
        let left = until.since(door.clock.monotonic());
        next = match door.clock.timeout(left, socket.recv(&mut packet)).await {
            Ok(received) => match Packet::read(&packet[..received?]) {
                Ok(Packet::Ack(number)) => sending.acked(number),
                Ok(Packet::Error) => return Ok(()),
                // The request once more, or noise.
                Ok(Packet::Read(_)) | Err(_) => Next::Wait,
            },
            Err(_) => sending.timed_out().map_err(std::io::Error::other)?,
        };
        if next != Next::Wait {
            until = door.clock.monotonic() + wait;
        }
    }
}

/// Reads a file a piece at a time, mostly forwards.
struct Reader {
    file: File,
    start: u64,
    piece: Vec<u8>,
}

impl Reader {
    /// These bytes, at most [`tftp::BLOCK_BYTES_MAX`].
    async fn read(&mut self, bytes: Range<u64>) -> std::io::Result<&[u8]> {
        let end = self.start + self.piece.len() as u64;
        if bytes.start < self.start || bytes.end > end {
            self.start = bytes.start;
            self.piece.clear();
            self.file.seek(SeekFrom::Start(bytes.start)).await?;
            (&mut self.file).take(PIECE_BYTES).read_to_end(&mut self.piece).await?;
        }
        let at = |offset: u64| usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        // A file that became shorter meanwhile cannot be sent as it was promised.
        self.piece.get(at(bytes.start)..at(bytes.end)).ok_or(std::io::ErrorKind::UnexpectedEof.into())
    }
}
