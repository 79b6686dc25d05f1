//! Socket Mode of the simulated Slack: addresses that work once, sockets with a hello, envelopes to whichever socket
//! there is, acknowledgements, pings; and every way in which such a socket goes wrong.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;

use super::deliver::ACK_WITHIN;
use super::methods::Failure;
use super::model::APP;
use super::{Shared, SimSlack};
use crate::sim::web_socket::{self, Stream};

/// Sockets that an app may have at once.
pub const SOCKETS_MAX: usize = 10;
/// Addresses that were given and not dialled; the oldest stop working first.
const TICKETS_MAX: usize = 100;
/// How often the app is pinged.
const PING_EVERY: Duration = Duration::from_secs(10);

/// The sockets there are.
#[derive(Default)]
pub(super) struct Sockets {
    /// Whether deliveries go over sockets, and never to the webhook.
    on: bool,
    tickets: VecDeque<String>,
    open: BTreeMap<u64, mpsc::UnboundedSender<Push>>,
    /// Envelopes that are not acknowledged yet.
    waiting: HashMap<String, Waiting>,
    entered: u64,
    pings: u64,
    lose_acks: u32,
    cut_inside: bool,
}

/// An envelope that is not acknowledged yet.
#[derive(Default)]
struct Waiting {
    /// Whether an answer may come with its acknowledgement.
    takes_answer: bool,
    /// Who waits for that, once for each copy.
    who: Vec<oneshot::Sender<Value>>,
}

/// What a socket is told to do.
#[derive(Debug, Clone)]
enum Push {
    Text(String),
    Bytes(Vec<u8>),
    /// Half of that frame, and then the end of the connection.
    CutInside(String),
    /// Neither read nor write any more.
    Silence,
    Cut,
}

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/link/", get(link))
}

impl SimSlack {
    /// Whether deliveries go over sockets from now on. Switched off, it ends the sockets there are, as Slack does.
    pub fn set_socket_mode(&self, on: bool) {
        self.0.shared.sockets().on = on;
        if !on {
            self.disconnect("link_disabled");
        }
    }

    /// Whether deliveries go over sockets.
    pub fn is_in_socket_mode(&self) -> bool {
        self.0.shared.is_in_socket_mode()
    }

    /// How many sockets the app has open.
    pub fn sockets(&self) -> usize {
        self.0.shared.sockets().open.len()
    }

    /// How often the app has asked whether Slack is there.
    pub fn pings(&self) -> u64 {
        self.0.shared.sockets().pings
    }

    /// Slack ends every socket, for that reason: `warning`, `refresh_requested`, `link_disabled`. Those of the first two
    /// are closed by the app, or not at all.
    pub fn disconnect(&self, reason: &str) {
        let frame = json!({"type": "disconnect", "reason": reason, "debug_info": {"host": "applink-sim-1"}});
        self.say_on_sockets(&frame.to_string());
    }

    /// Says something on every socket, whatever it is.
    pub fn say_on_sockets(&self, text: &str) {
        self.0.shared.sockets().tell_all(&Push::Text(text.to_owned()));
    }

    /// Writes something to every socket that need not be a frame.
    pub fn write_to_sockets(&self, bytes: &[u8]) {
        self.0.shared.sockets().tell_all(&Push::Bytes(bytes.to_vec()));
    }

    /// Cuts every socket.
    pub fn cut_sockets(&self) {
        self.0.shared.sockets().tell_all(&Push::Cut);
    }

    /// Every socket stays open and says nothing any more, not even to a ping.
    pub fn silence_sockets(&self) {
        self.0.shared.sockets().tell_all(&Push::Silence);
    }

    /// How many envelopes are on their way and not acknowledged.
    pub fn waiting_on_sockets(&self) -> usize {
        self.0.shared.sockets().waiting.len()
    }

    /// The next envelope is cut in its middle, and its socket with it.
    pub fn cut_next_envelope(&self) {
        self.0.shared.sockets().cut_inside = true;
    }

    /// The next so many acknowledgements are lost on their way.
    pub fn lose_acks(&self, times: u32) {
        self.0.shared.sockets().lose_acks = times;
    }
}

impl Sockets {
    pub(super) fn new(on: bool) -> Sockets {
        Sockets { on, ..Sockets::default() }
    }

    fn tell_all(&mut self, push: &Push) {
        // One that is just ending hears nothing any more.
        self.open.values().for_each(|socket| drop(socket.send(push.clone())));
    }
}

/// Ends every socket without a word when it goes: with the server's task.
pub(super) struct EndsSockets(pub(super) Arc<Shared>);

impl Drop for EndsSockets {
    fn drop(&mut self) {
        self.0.sockets().open.clear();
    }
}

impl Shared {
    pub(super) fn sockets(&self) -> MutexGuard<'_, Sockets> {
        self.sockets.lock().expect("sockets")
    }

    pub(super) fn is_in_socket_mode(&self) -> bool {
        self.sockets().on
    }

    /// `apps.connections.open`.
    pub(super) fn open_socket(&self) -> Result<Value, Failure> {
        let ticket = self.ids.uuid(self.clock.now()).to_string();
        let url = format!("{}?ticket={ticket}&app_id={APP}", self.socket_url.lock().expect("address"));
        let mut sockets = self.sockets();
        if !sockets.on {
            return Err(Failure::new("not_allowed_token_type"));
        }
        if sockets.tickets.len() == TICKETS_MAX {
            sockets.tickets.pop_front();
        }
        sockets.tickets.push_back(ticket);
        Ok(json!({"ok": true, "url": url}))
    }

    /// Sends an envelope over one of the sockets and waits for its acknowledgement: the answer in it, or nothing.
    pub(super) async fn push(&self, envelope: &str) -> (u16, Vec<u8>) {
        let read: Value = serde_json::from_str(envelope).expect("an envelope of ours");
        let id = read["envelope_id"].as_str().expect("an id").to_owned();
        let (acknowledged, answer) = oneshot::channel();
        {
            let mut sockets = self.sockets();
            let count = sockets.open.len() as u64;
            let nth = self.ids.below(count) as usize;
            let push = match std::mem::take(&mut sockets.cut_inside) {
                true => Push::CutInside(envelope.to_owned()),
                false => Push::Text(envelope.to_owned()),
            };
            let Some(socket) = sockets.open.values().nth(nth) else { return (0, Vec::new()) };
            if socket.send(push).is_err() {
                return (0, Vec::new());
            }
            let waiting = sockets.waiting.entry(id.clone()).or_default();
            waiting.takes_answer = read["accepts_response_payload"] == true;
            waiting.who.push(acknowledged);
        }
        let answered = self.clock.timeout(ACK_WITHIN, answer).await;
        self.sockets().waiting.remove(&id);
        match answered {
            Ok(Ok(Value::Null)) => (200, Vec::new()),
            Ok(Ok(answer)) => (200, answer.to_string().into_bytes()),
            Ok(Err(_)) | Err(_) => (0, Vec::new()),
        }
    }

    /// What the app says over a socket: acknowledgements, and nothing else.
    fn hear(&self, text: &str) {
        let said: Value = serde_json::from_str(text).unwrap_or_default();
        let Some(id) = said["envelope_id"].as_str() else {
            self.change(|world| world.problem(format!("socket: not an acknowledgement: {text:?}")));
            return;
        };
        let mut sockets = self.sockets();
        if sockets.lose_acks > 0 {
            sockets.lose_acks -= 1;
            return;
        }
        // One that comes late, or a second time, is nobody's.
        let Some(waiting) = sockets.waiting.remove(id) else { return };
        drop(sockets);
        if !said["payload"].is_null() && !waiting.takes_answer {
            self.change(|world| world.problem("socket: an answer to an envelope that takes none".to_owned()));
        }
        waiting.who.into_iter().for_each(|waits| drop(waits.send(said["payload"].clone())));
    }

    fn enter(&self) -> Option<(u64, usize, mpsc::UnboundedReceiver<Push>)> {
        let mut sockets = self.sockets();
        if sockets.open.len() == SOCKETS_MAX {
            return None;
        }
        let (pushes, pushed) = mpsc::unbounded_channel();
        sockets.entered += 1;
        let id = sockets.entered;
        sockets.open.insert(id, pushes);
        Some((id, sockets.open.len(), pushed))
    }

    fn leave(&self, id: u64) {
        self.sockets().open.remove(&id);
        self.change(|_| ());
    }
}

async fn link(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery, request: Request) -> Response {
    let query = query.unwrap_or_default();
    let ticket = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "ticket").map(|(_, t)| t);
    let known = {
        let mut sockets = shared.sockets();
        let at = ticket.and_then(|ticket| sockets.tickets.iter().position(|t| *t == ticket));
        at.map(|at| sockets.tickets.remove(at)).is_some()
    };
    if !known {
        return (StatusCode::UNAUTHORIZED, "this address was used, or never given").into_response();
    }
    web_socket::upgrade(request, move |stream| async move { serve(&shared, stream).await })
}

async fn serve(shared: &Shared, mut stream: Stream) {
    let Some((id, connections, mut pushed)) = shared.enter() else {
        let frame = json!({"type": "disconnect", "reason": "too_many_websockets"});
        // Whoever is gone by now needs no telling.
        let _ = stream.send(Message::text(frame.to_string())).await;
        let _ = stream.close(None).await;
        return;
    };
    let hello = json!({"type": "hello", "num_connections": connections, "connection_info": {"app_id": APP},
        "debug_info": {"host": "applink-sim-1", "started": shared.clock.now().rfc3339(), "build_number": 1,
            "approximate_connection_time": 18060}});
    if stream.send(Message::text(hello.to_string())).await.is_ok() {
        shared.change(|_| ());
        talk(shared, &mut stream, &mut pushed).await;
    }
    shared.leave(id);
}

/// Until the connection ends.
async fn talk(shared: &Shared, stream: &mut Stream, pushed: &mut mpsc::UnboundedReceiver<Push>) {
    loop {
        let done = tokio::select! {
            push = pushed.recv() => match push {
                None | Some(Push::Cut) => return,
                Some(Push::Silence) => std::future::pending().await,
                Some(Push::Text(text)) => stream.send(Message::text(text)).await.is_ok(),
                Some(Push::Bytes(bytes)) => write(stream, &bytes).await,
                Some(Push::CutInside(text)) => {
                    write(stream, &half_a_frame(&text)).await;
                    return;
                }
            },
            said = stream.next() => match said {
                Some(Ok(Message::Text(text))) => {
                    shared.hear(&text);
                    true
                }
                Some(Ok(Message::Ping(_))) => {
                    shared.sockets().pings += 1;
                    shared.change(|_| ());
                    true
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => true,
            },
            () = shared.clock.sleep(PING_EVERY) => {
                stream.send(Message::Ping(Bytes::from_static(b"Ping from applink-sim-1"))).await.is_ok()
            }
        };
        if !done {
            return;
        }
    }
}

async fn write(stream: &mut Stream, bytes: &[u8]) -> bool {
    let raw = stream.get_mut();
    raw.write_all(bytes).await.is_ok() && raw.flush().await.is_ok()
}

/// A text frame's head and the first half of what it announces.
fn half_a_frame(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    let mut frame = vec![0x81, 126];
    frame.extend(length.to_be_bytes());
    frame.extend(&text.as_bytes()[..text.len() / 2]);
    frame
}
