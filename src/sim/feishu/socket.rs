//! The simulated long connection: gives an address, takes the handshake, keeps it with pings and pongs, pushes events in
//! as many parts as it is told to, and waits for the answer as the real one does.

use std::collections::HashMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;

use super::frames::Fields;
use super::{Answer, Call, Fault, SimFeishu};
use crate::sim::web_socket::{self, Stream};

/// The service that the connections belong to.
const SERVICE: u64 = 33;
/// How long an event waits for its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// Most connections of an app.
const CONNECTIONS_MAX: usize = 50;

/// The long connections of the app.
pub(super) struct Sockets {
    open: Vec<(u64, mpsc::UnboundedSender<Say>)>,
    /// Addresses that were given and not used.
    tickets: Vec<String>,
    /// Who waits for the answer to which event.
    waiting: HashMap<String, oneshot::Sender<Answer>>,
    pub(super) pings: u32,
    pub(super) given: u32,
    /// In how many parts an event is pushed.
    pub(super) parts: usize,
    /// Whether pings are answered.
    pub(super) silent: bool,
    pub(super) config: Value,
    counted: u64,
}

impl Default for Sockets {
    fn default() -> Self {
        let config = json!({ "ReconnectCount": -1, "ReconnectInterval": 120, "ReconnectNonce": 30, "PingInterval": 120 });
        let (open, tickets, waiting) = (vec![], vec![], HashMap::new());
        Sockets { open, tickets, waiting, pings: 0, given: 0, parts: 1, silent: false, config, counted: 0 }
    }
}

/// What a connection is told to say.
enum Say {
    Bytes(Vec<u8>),
    Goodbye,
}

/// Gives an address.
pub(super) async fn endpoint(State(feishu): State<SimFeishu>, Json(asked): Json<Value>) -> Response {
    let code = |code: i64, msg: &str| Json(json!({ "code": code, "msg": msg })).into_response();
    let mut world = feishu.lock();
    world.sockets.given += 1;
    if let Some(Fault::Code(n)) = world.take_fault(Call::Endpoint) {
        return code(n, "as it was told");
    }
    if asked["AppID"] != feishu.config.app_id || asked["AppSecret"] != feishu.config.app_secret {
        return code(514, "auth failed");
    }
    world.sockets.counted += 1;
    let ticket = format!("ticket-{}", world.sockets.counted);
    let host = feishu.url.trim_start_matches("http://");
    let url = format!("ws://{host}/ws/v2?device_id=7&service_id={SERVICE}&ticket={ticket}");
    world.sockets.tickets.push(ticket);
    let data = json!({ "URL": url, "ClientConfig": world.sockets.config });
    Json(json!({ "code": 0, "msg": "", "data": data })).into_response()
}

/// The handshake.
pub(super) async fn connect(
    State(feishu): State<SimFeishu>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let refused = |status: i64, code: i64| {
        let headers = [
            ("Handshake-Status", status.to_string()),
            ("Handshake-Msg", "as it was told".to_owned()),
            ("Handshake-Autherrcode", code.to_string()),
        ];
        (StatusCode::BAD_REQUEST, headers).into_response()
    };
    let id = {
        let mut world = feishu.lock();
        if let Some(Fault::Handshake(status, code)) = world.take_fault(Call::Connect) {
            return refused(status, code);
        }
        let ticket = query.unwrap_or_default().rsplit_once("ticket=").map(|(_, ticket)| ticket.to_owned());
        let sockets = &mut world.sockets;
        let Some(at) = sockets.tickets.iter().position(|known| Some(known) == ticket.as_ref()) else {
            return refused(514, 1_000_040_345);
        };
        sockets.tickets.remove(at);
        if sockets.open.len() >= CONNECTIONS_MAX {
            return refused(514, 1_000_040_350);
        }
        sockets.counted += 1;
        sockets.counted
    };
    web_socket::upgrade(request, move |stream| async move { feishu.serve(id, stream).await })
}

impl SimFeishu {
    async fn serve(self, id: u64, mut stream: Stream) {
        let (say, mut said) = mpsc::unbounded_channel();
        self.lock().sockets.open.push((id, say));
        self.changed.notify_waiters();
        loop {
            tokio::select! {
                say = said.recv() => {
                    let Some(Say::Bytes(bytes)) = say else { break };
                    if stream.send(Message::Binary(bytes.into())).await.is_err() {
                        break;
                    }
                }
                came = stream.next() => match came {
                    Some(Ok(Message::Binary(bytes))) => {
                        if let Some(answer) = self.heard(&bytes)
                            && stream.send(Message::Binary(answer.into())).await.is_err()
                        {
                            break;
                        }
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break,
                },
            }
        }
        self.lock().sockets.open.retain(|(open, _)| *open != id);
        self.changed.notify_waiters();
        // Whoever is gone by now needs no goodbye.
        let _ = stream.close(None).await;
    }

    /// Deals with a frame of the app; gives what it is answered.
    fn heard(&self, raw: &[u8]) -> Option<Vec<u8>> {
        let mut world = self.lock();
        let Some(frame) = Fields::decode(raw).filter(|frame| frame.int(3) == Some(SERVICE)) else {
            world.violations.push(format!("no frame of this service: {raw:?}"));
            return None;
        };
        if frame.int(4) == Some(0) {
            if frame.header("type").as_deref() != Some("ping") {
                world.violations.push("a control frame that is no ping".to_owned());
            }
            world.sockets.pings += 1;
            self.changed.notify_waiters();
            let config = world.sockets.config.to_string();
            let pong = Fields::control(SERVICE, &[("type", "pong")], config.as_bytes());
            return (!world.sockets.silent).then(|| pong.encode());
        }
        let id = frame.header("message_id").unwrap_or_default();
        let reply: Value = serde_json::from_slice(frame.bytes(8).unwrap_or_default()).unwrap_or_default();
        if frame.header("biz_rt").is_none_or(|took| took.parse::<u32>().is_err()) {
            world.violations.push(format!("the answer to {id} does not say how long it took"));
        }
        let data = reply["data"].as_str().and_then(|data| STANDARD.decode(data).ok());
        let status = reply["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(0);
        match world.sockets.waiting.remove(&id) {
            Some(waiting) => {
                // Who stopped waiting was answered too late.
                let _ = waiting.send(Answer { status, body: data.unwrap_or_else(|| b"{}".to_vec()) });
            }
            None => world.violations.push(format!("an answer to {id}, which nobody asked for")),
        }
        None
    }

    /// Pushes an event over one of the app's connections, and waits for the answer.
    pub(super) async fn push(&self, body: &[u8]) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        {
            let mut world = self.lock();
            let sockets = &mut world.sockets;
            let any = self.ids.below(sockets.open.len().max(1) as u64) as usize;
            let (_, socket) = sockets.open.get(any)?;
            sockets.counted += 1;
            let (id, seq) = (format!("m-{}", sockets.counted), sockets.counted);
            let (sum, length) = (sockets.parts.max(1), body.len().div_ceil(sockets.parts.max(1)).max(1));
            let parts = body.chunks(length).map(Some).chain(std::iter::repeat(None)).take(sum);
            // The last part first: they come in any order.
            let parts: Vec<_> = parts.map(Option::unwrap_or_default).enumerate().collect();
            for (at, part) in parts.into_iter().rev() {
                let [sum, at] = [sum.to_string(), at.to_string()];
                let headers = [
                    ("type", "event"),
                    ("message_id", &id),
                    ("sum", &sum),
                    ("seq", &at),
                    ("trace_id", "tr-1"),
                ];
                let frame = Fields::data(seq, SERVICE, &headers, part);
                socket.send(Say::Bytes(frame.encode())).ok()?;
            }
            sockets.waiting.insert(id, answer);
        }
        self.clock.timeout(ANSWER_WITHIN, answered).await.ok()?.ok()
    }

    /// Sends these bytes to every connection of the app.
    pub fn push_raw(&self, bytes: &[u8]) {
        self.lock().sockets.open.iter().for_each(|(_, socket)| drop(socket.send(Say::Bytes(bytes.to_vec()))));
    }

    /// Ends every connection of the app.
    pub fn cut(&self) {
        self.lock().sockets.open.iter().for_each(|(_, socket)| drop(socket.send(Say::Goodbye)));
    }

    /// How many connections the app has, how many keepalives came, and how often it was asked for an address.
    pub fn sockets(&self) -> (usize, u32, u32) {
        let world = self.lock();
        (world.sockets.open.len(), world.sockets.pings, world.sockets.given)
    }

    /// From now on events come in so many parts.
    pub fn in_parts(&self, parts: usize) {
        self.lock().sockets.parts = parts;
    }

    /// From now on keepalives are answered, or not.
    pub fn answers_pings(&self, answers: bool) {
        self.lock().sockets.silent = !answers;
    }

    /// From now on an app is told to keep its connections so.
    pub fn configure(&self, config: Value) {
        self.lock().sockets.config = config;
    }

    /// Waits until the app's connections are so: how many, keepalives, addresses given.
    pub async fn until_sockets(&self, within: Duration, so: impl Fn((usize, u32, u32)) -> bool) -> bool {
        self.wait(within, || so(self.sockets())).await
    }
}
