//! One long connection, from its handshake to its end: reads frames, has events taken, answers each on disk, and asks
//! now and then whether Feishu is still there. Who makes the next one is `super`.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use super::endpoint::{Dialled, Pace};
use super::frame::{Frame, Part, Parts, method};
use super::{Ack, Takes, told};
use crate::clock::{Clock, Monotonic};
use crate::net::ws::{Gone, Received, WebSocket};

/// Most events that are taken at once; what comes beyond waits in the socket.
pub const EVENTS_MAX: usize = 64;
/// A keepalive at least this often, whatever Feishu says: a firewall forgets a connection that is idle for long, and a
/// click on one that is gone is lost.
const PING_EVERY_MOST: Duration = Duration::from_secs(30);
/// So many keepalives without a word of Feishu, and it is gone.
const UNANSWERED_MAX: u32 = 1;
/// How long what is being taken may still take when the server stops.
const DRAIN_WITHIN: Duration = Duration::from_secs(3);

pub(super) struct Connection {
    socket: WebSocket,
    service: i32,
    /// How it is kept; Feishu may say otherwise at any time.
    pub(super) pace: Pace,
    takes: Arc<dyn Takes>,
    clock: Clock,
    parts: Parts,
    taking: JoinSet<Taken>,
    /// Keepalives since Feishu said something.
    unanswered: u32,
}

/// An event that was taken: the frame that completed it, when that came, and what became of it.
struct Taken {
    frame: Frame,
    came_at: Monotonic,
    ack: Ack,
}

/// Why a connection is over.
pub(super) enum Over {
    /// The server stops.
    Stopped,
    /// So.
    Gone(String),
}

impl Connection {
    pub(super) fn new(dialled: Dialled, takes: Arc<dyn Takes>, clock: Clock) -> Self {
        let Dialled { socket, service, pace } = dialled;
        let (parts, taking) = (Parts::default(), JoinSet::new());
        Connection { socket, service, pace, takes, clock, parts, taking, unanswered: 0 }
    }

    /// Serves the connection to its end; gives the newest pace with it.
    pub(super) async fn serve(mut self, stop: &mut watch::Receiver<bool>) -> (Over, Pace) {
        let pace = |connection: &Connection| connection.pace;
        match self.talk(stop).await {
            Ok(()) => {
                let clock = self.clock.clone();
                // What is not answered in time comes again, and has no second effect.
                let _ = clock.timeout(DRAIN_WITHIN, self.drain()).await;
                let last = pace(&self);
                self.socket.close().await;
                (Over::Stopped, last)
            }
            Err(gone) => {
                // What is being taken is carried out all the same; its repeat finds that.
                self.taking.detach_all();
                (Over::Gone(gone.to_string()), pace(&self))
            }
        }
    }

    /// Until the server stops, or the connection is gone.
    async fn talk(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), Gone> {
        // Feishu counts a connection from its first keepalive on.
        self.ping().await?;
        let mut pinged_at = self.clock.monotonic();
        loop {
            tokio::select! {
                // What has come is read before it is asked how long nothing came.
                biased;
                () = told(stop) => return Ok(()),
                Some(taken) = self.taking.join_next() => self.answer(taken).await?,
                received = self.socket.receive(), if self.taking.len() < EVENTS_MAX => self.heard(received?),
                () = self.clock.sleep_until(pinged_at + self.pace.ping_every.min(PING_EVERY_MOST)) => {
                    if self.unanswered >= UNANSWERED_MAX {
                        return Err(Gone::Broken("Feishu answers no keepalive".into()));
                    }
                    self.ping().await?;
                    pinged_at = self.clock.monotonic();
                }
            }
        }
    }

    async fn ping(&mut self) -> Result<(), Gone> {
        self.unanswered += 1;
        self.socket.send_binary(Frame::ping(self.service).encode().into()).await
    }

    /// Deals with what came. What is no frame is told and left alone.
    fn heard(&mut self, received: Received) {
        self.unanswered = 0;
        let Received::Binary(bytes) = received else { return };
        match Frame::decode(&bytes) {
            Ok(frame) if frame.method == method::CONTROL => self.control(&frame),
            Ok(frame) if frame.method == method::DATA => self.data(frame),
            Ok(frame) => tracing::debug!(method = frame.method, "a frame of Feishu is of an unknown kind"),
            Err(problem) => {
                tracing::warn!(%problem, bytes = bytes.len(), "a frame of Feishu is not understood")
            }
        }
    }

    fn control(&mut self, frame: &Frame) {
        let config =
            frame.payload.as_deref().and_then(|payload| serde_json::from_slice::<Value>(payload).ok());
        if let (Some("pong"), Some(config)) = (frame.header("type"), config) {
            self.pace = self.pace.told(&config);
        }
    }

    fn data(&mut self, mut frame: Frame) {
        if frame.header("type") != Some("event") {
            tracing::info!("a card's click of the old kind is ignored: subscribe to card.action.trigger");
            return;
        }
        let came_at = self.clock.monotonic();
        let event = match self.parts.put(&mut frame, came_at) {
            Part::Whole(event) => event,
            Part::More => return,
            Part::Bad => {
                let id = frame.header("message_id").unwrap_or_default();
                tracing::warn!(message.id = id, "a part of an event of Feishu that could not be is left out");
                return;
            }
        };
        let takes = self.takes.clone();
        self.taking.spawn(async move { Taken { ack: takes.take(event).await, frame, came_at } });
    }

    async fn answer(&mut self, taken: Result<Taken, JoinError>) -> Result<(), Gone> {
        let Taken { frame, came_at, ack } = match taken {
            Ok(taken) => taken,
            Err(error) => {
                tracing::error!(%error, "taking an event died");
                return Ok(());
            }
        };
        let payload = match ack {
            Ack::Taken(None) => json!({ "code": 200 }),
            Ack::Taken(Some(reply)) => json!({ "code": 200, "data": STANDARD.encode(reply.to_string()) }),
            Ack::NotTaken => json!({ "code": 500 }),
        };
        let took = self.clock.monotonic().since(came_at);
        let answer = frame.answered(took, payload.to_string().into_bytes());
        self.socket.send_binary(answer.encode().into()).await
    }

    /// Answers what is still being taken.
    async fn drain(&mut self) {
        while let Some(taken) = self.taking.join_next().await {
            if self.answer(taken).await.is_err() {
                return;
            }
        }
    }
}
