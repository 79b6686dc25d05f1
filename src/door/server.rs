//! The door's sockets: connections come in, requests go to the routes, answers go back. Every wait for a client has an
//! end, and so does the number of clients: whoever holds a connection without saying anything loses it. What a request
//! means is never looked at here.
//!
//! A connection waits (for a request's head, for its body, for its client to read an answer) or serves, also while a
//! file is on its way. When the door
//! is full, the one that has waited longest makes room, so that clients who hold connections for nothing lock nobody
//! out; only when every connection serves is a new one refused. A client that has proved who it is and waits for
//! something to happen is parked: it takes no place from others, and there is an end to the number of those too.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequest};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Request, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::machine::Problem;
use super::{ACK_WITHIN, BODY_BYTES_MAX};
use crate::clock::{Clock, Monotonic};

/// Most connections at once. With [`HEAD_BYTES_MAX`] and [`BODY_BYTES_MAX`] it bounds what strangers can make the
/// server remember.
pub const CONNECTIONS_MAX: usize = 512;
/// Most parked connections at once: some 16 KiB each.
pub const PARKED_MAX: usize = 6_000;
/// Longest head of a request in bytes. Slack's are under 2 KiB.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long a connection may take to bring the next whole head, also when it has said nothing yet: the limit of idle
/// connections too.
pub const HEAD_WITHIN: Duration = Duration::from_secs(15);
/// How long a request's body may take after its head.
pub const BODY_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection lives; what it serves then is still answered. It ends clients that never read their answers.
pub const CONNECTION_LIVES: Duration = Duration::from_secs(10 * 60);
/// How long answers that are on their way may still take when the door closes or a connection's life is over.
const LINGERS: Duration = Duration::from_millis(250);
/// How long what is served then may still take: a delivery's longest time to its answer, and a little.
const SERVED_WITHIN: Duration = ACK_WITHIN.saturating_add(Duration::from_millis(500));
/// Pause after no connection could be accepted: file descriptors have run out, and some will be free again.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// How often the log tells that the door is full.
const FULL_TOLD_EVERY: Duration = Duration::from_secs(60);
/// What a connection hears for which there is no room.
const NO_ROOM: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\nretry-after: 1\r\n\
connection: close\r\ncontent-length: 19\r\n\r\nnot now, try again\n";

/// Put into an answer's extensions: its body takes long, and until it is out its connection serves.
#[derive(Debug, Clone, Copy)]
pub struct Lasting;

/// Put into an answer's extensions: there is nothing to say yet, and the request is to be asked again after this. What waits
/// then is the request alone, and nothing of the routes that it went through.
#[derive(Clone)]
pub struct Later(Arc<Mutex<Option<Wait>>>);

type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Later {
    /// An answer that nobody sees: its request is asked again after this.
    pub fn after(wait: impl Future<Output = ()> + Send + 'static) -> Response {
        let wait: Wait = Box::pin(wait);
        let mut answer = StatusCode::ACCEPTED.into_response();
        answer.extensions_mut().insert(Later(Arc::new(Mutex::new(Some(wait)))));
        answer
    }

    fn wait(&self) -> Option<Wait> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Put into a request's extensions: it has waited as long as it should, and is asked again.
#[derive(Debug, Clone, Copy)]
pub struct AskedAgain;

/// Put into a request's extensions: parks the connection that it came over.
#[derive(Clone)]
pub struct Parking(Arc<Server>, u64);

/// A connection is parked for as long as this lives.
pub struct Parked(Parking);

impl Parking {
    /// Parks it; `None` where so many are parked that there is no room.
    pub fn park(&self) -> Option<Parked> {
        self.0.open().park(self.1).then(|| Parked(self.clone()))
    }
}

impl Parked {
    /// Whether the door closes: what would go on for long ends now.
    pub fn is_closing(&self) -> bool {
        let closing = &self.0.0.closing;
        // It closes too when nobody is left to say so.
        *closing.borrow() || closing.has_changed().is_err()
    }
}

impl Parked {
    /// Resolves when the door closes.
    pub fn closes(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut closing = self.0.0.closing.clone();
        async move { is_true(&mut closing).await }
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.0.0.open().unpark(self.0.1);
    }
}
/// In every request's extensions: the other end of its connection, be that a proxy or not.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// The limits of a door.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// See [`CONNECTIONS_MAX`].
    pub connections: usize,
    /// See [`HEAD_WITHIN`].
    pub head_within: Duration,
    /// See [`BODY_WITHIN`].
    pub body_within: Duration,
    /// See [`CONNECTION_LIVES`].
    pub lives: Duration,
}

impl Limits {
    /// The limits of the server.
    pub const DOOR: Limits = Limits {
        connections: CONNECTIONS_MAX,
        head_within: HEAD_WITHIN,
        body_within: BODY_WITHIN,
        lives: CONNECTION_LIVES,
    };
}

/// Raises the limit of open files to what the system allows this process: a connection is one, and the usual limit is less
/// than a full door needs. Gives the limit.
pub fn raise_file_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// Serves these routes until `closing` says true, then ends: idle connections and half-sent requests at once, what is
/// served with its answer, and all of it within about three seconds.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    limits: Limits,
    clock: Clock,
    closing: watch::Receiver<bool>,
) {
    let mut closed = closing.clone();
    let door = Arc::new(Server {
        routes: TowerToHyperService::new(routes),
        limits,
        clock: clock.clone(),
        closing: closing.clone(),
        open: Mutex::default(),
    });
    let mut tasks = JoinSet::new();
    let mut told_full = None;
    loop {
        tokio::select! {
            () = is_true(&mut closed) => break,
            Some(_) = tasks.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    door.admit(stream, peer.ip(), &mut tasks, &closing, &mut told_full);
                }
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "no connection can be accepted");
                    clock.sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    door.close(tasks).await;
}

/// Resolves when the door closes, also when nobody is left to say so.
pub(super) async fn is_true(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

/// Whether a connection was gone before it was accepted: nothing is wrong with us.
fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::ConnectionRefused | K::ConnectionAborted | K::ConnectionReset)
}

/// What every connection needs.
struct Server {
    routes: TowerToHyperService<Router>,
    limits: Limits,
    clock: Clock,
    closing: watch::Receiver<bool>,
    open: Mutex<Open>,
}

/// The connections there are.
#[derive(Default)]
struct Open {
    /// How many are parked.
    parked: usize,
    /// Counts accepted connections and answers, and so says what came first.
    turn: u64,
    connections: BTreeMap<u64, Connection>,
}

struct Connection {
    /// Since when it waits; nothing while it serves.
    waits_since: Option<u64>,
    is_parked: bool,
    task: Option<AbortHandle>,
}

impl Open {
    fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    /// How many connections have a place.
    fn placed(&self) -> usize {
        self.connections.len() - self.parked
    }

    /// Parks a connection; gives whether there is room.
    fn park(&mut self, id: u64) -> bool {
        if self.parked >= PARKED_MAX {
            return false;
        }
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        let fresh = !std::mem::replace(&mut connection.is_parked, true);
        self.parked += usize::from(fresh);
        fresh
    }

    fn unpark(&mut self, id: u64) {
        let connection = self.connections.get_mut(&id);
        let was = connection.is_some_and(|connection| std::mem::take(&mut connection.is_parked));
        self.parked -= usize::from(was);
    }

    /// From now on a connection waits for its next request.
    fn waits(&mut self, id: u64) {
        let turn = self.next_turn();
        self.connections.entry(id).and_modify(|connection| connection.waits_since = Some(turn));
    }

    /// Ends the connection that has waited longest; false when every one serves.
    fn cut_longest_waiting(&mut self) -> bool {
        let waiting = self.connections.iter().filter_map(|(id, c)| Some((c.waits_since?, *id)));
        waiting.min().is_some_and(|(_, id)| {
            self.cut(id);
            true
        })
    }

    /// Gives the place of a connection back.
    fn forget(&mut self, id: u64) -> Option<AbortHandle> {
        self.unpark(id);
        self.connections.remove(&id).and_then(|connection| connection.task)
    }

    fn cut_waiting(&mut self) {
        let waiting: Vec<u64> =
            self.connections.iter().filter(|(_, c)| c.waits_since.is_some()).map(|(id, _)| *id).collect();
        waiting.into_iter().for_each(|id| self.cut(id));
    }

    fn cut(&mut self, id: u64) {
        if let Some(task) = self.forget(id) {
            task.abort();
        }
    }
}

impl Server {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().expect("nobody panics with the door's lock")
    }

    fn admit(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: IpAddr,
        tasks: &mut JoinSet<()>,
        closing: &watch::Receiver<bool>,
        told_full: &mut Option<Monotonic>,
    ) {
        let mut open = self.open();
        if open.placed() >= self.limits.connections {
            let made_room = open.cut_longest_waiting();
            let now = self.clock.monotonic();
            if told_full.is_none_or(|at| now.since(at) >= FULL_TOLD_EVERY) {
                *told_full = Some(now);
                tracing::warn!(
                    connections = self.limits.connections,
                    made_room,
                    "the door is full: connections that wait are closed, and with none of those new ones are refused"
                );
            }
            if !made_room {
                // A client that cannot take so little at once is not worth waiting for.
                let _ = stream.try_write(NO_ROOM);
                return;
            }
        }
        let id = open.next_turn();
        open.connections.insert(id, Connection { waits_since: Some(id), is_parked: false, task: None });
        let ticket = Ticket { door: self.clone(), id, peer: Peer(peer) };
        let task = tasks.spawn(self.clone().connection(stream, ticket, closing.clone()));
        open.connections.entry(id).and_modify(|connection| connection.task = Some(task));
    }

    /// One connection from its first byte to its end.
    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        ticket: Ticket,
        mut closing: watch::Receiver<bool>,
    ) {
        // Answers are small and wait for nothing.
        let _ = stream.set_nodelay(true);
        let ticket = &ticket;
        let service = service_fn(|request| async move { Ok::<_, Infallible>(ticket.answer(request).await) });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head_within)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        tokio::pin!(connection);
        tokio::select! {
            // Clients come and go as they like: how a connection ends is no news.
            _ = connection.as_mut() => return,
            () = is_true(&mut closing) => {}
            () = self.clock.sleep(self.limits.lives) => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = self.clock.timeout(SERVED_WITHIN, connection).await;
    }

    /// Ends every connection: those that wait soon, those that serve when they have answered.
    async fn close(&self, mut tasks: JoinSet<()>) {
        let mut all_ended = async || while tasks.join_next().await.is_some() {};
        if self.clock.timeout(LINGERS, all_ended()).await.is_err() {
            self.open().cut_waiting();
            // Every task has its own end by now; dropping the set ends what does not hold to it.
            let _ = self.clock.timeout(SERVED_WITHIN, all_ended()).await;
        }
    }
}

/// A connection's place among the others; dropping it gives the place back.
struct Ticket {
    door: Arc<Server>,
    id: u64,
    peer: Peer,
}

impl Ticket {
    /// One request: its whole body in time, then the routes.
    async fn answer(&self, request: Request<Incoming>) -> Response {
        let (mut head, body) = request.into_parts();
        head.extensions.insert(self.peer);
        let body = match self.door.clock.timeout(self.door.limits.body_within, whole(body)).await {
            Ok(Ok(body)) => body,
            Ok(Err(refused)) => return last(refused),
            Err(_) => return last((StatusCode::REQUEST_TIMEOUT, "too slow\n").into_response()),
        };
        if !self.serves() {
            return last((StatusCode::SERVICE_UNAVAILABLE, "not now, try again\n").into_response());
        }
        let answer = self.served(head, body).await;
        if answer.extensions().get::<Lasting>().is_none() {
            self.waits();
            return answer;
        }
        let serving = Serving { door: self.door.clone(), id: self.id };
        answer.map(|body| {
            Body::from_stream(body.into_data_stream().inspect(move |_| {
                let _ = &serving;
            }))
        })
    }

    /// What the routes say; where that is that there is nothing to say yet, what they say after the wait.
    async fn served(&self, mut head: Parts, body: Bytes) -> Response {
        head.extensions.insert(Parking(self.door.clone(), self.id));
        let again = may_wait(&head.uri).then(|| (copied(&head), body.clone()));
        let answer = self.routed(Request::from_parts(head, Body::from(body))).await;
        let wait = answer.extensions().get::<Later>().and_then(Later::wait);
        let (Some(wait), Some((mut head, body))) = (wait, again) else { return answer };
        drop(answer);
        wait.await;
        head.extensions.insert(AskedAgain);
        self.routed(Request::from_parts(head, Body::from(body))).await
    }

    async fn routed(&self, request: Request<Body>) -> Response {
        Box::pin(self.door.routes.call(request)).await.unwrap_or_else(|never| match never {})
    }

    /// From now on it serves; false when it has lost its place before.
    fn serves(&self) -> bool {
        let mut open = self.door.open();
        open.connections.get_mut(&self.id).map(|connection| connection.waits_since = None).is_some()
    }

    fn waits(&self) {
        self.door.open().waits(self.id);
    }
}

/// A connection whose answer is on its way for as long as this lives.
struct Serving {
    door: Arc<Server>,
    id: u64,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.door.open().waits(self.id);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        drop(self.door.open().forget(self.id));
    }
}

/// A head of its own: the one that was read keeps the buffer that the connection read it into, which would need another.
fn copied(head: &Parts) -> Parts {
    let mut copy = Request::builder().method(head.method.clone()).uri(head.uri.to_string());
    for (name, value) in &head.headers {
        copy = copy.header(name.as_str(), value.as_bytes());
    }
    // What was read once is read again; else it stays where it is, at the price of that buffer.
    let Ok(copy) = copy.body(()) else { return head.clone() };
    let (mut copy, ()) = copy.into_parts();
    copy.extensions = head.extensions.clone();
    copy
}

/// Whether a request says for how long it would wait: of any other nothing is kept.
fn may_wait(uri: &Uri) -> bool {
    form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).any(|(name, _)| name == "wait")
}

/// A whole body of at most [`BODY_BYTES_MAX`] bytes, or the answer that refuses it.
async fn whole(body: Incoming) -> Result<Bytes, Response> {
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        // It says so itself: there is no need to wait for it.
        return Err(too_large());
    }
    let mut request = Request::new(Body::new(body));
    DefaultBodyLimit::max(BODY_BYTES_MAX).apply(&mut request);
    Bytes::from_request(request, &()).await.map_err(|refused| match refused.into_response() {
        refused if refused.status() == StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        refused => refused,
    })
}

fn too_large() -> Response {
    let detail = format!("a request may have {} KiB at most", BODY_BYTES_MAX / 1024);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "this request is too large", detail).into_response()
}

/// The last answer of a connection: what is left of its request is not read.
fn last(mut answer: Response) -> Response {
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

#[cfg(test)]
mod tests;
