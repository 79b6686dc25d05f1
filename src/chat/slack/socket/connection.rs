//! One connection of Socket Mode, from its handshake to its end: reads envelopes, has them taken, acknowledges those that
//! were, and asks now and then whether Slack is still there. Whether another one is needed is told by its [`Life`]; who
//! makes that is `super`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use super::frame::{self, Envelope, Frame, Reason};
use super::{Ack, Takes};
use crate::clock::{Clock, Monotonic, Timestamp};
use crate::net::ws::{Gone, Received, WebSocket};

/// Most envelopes of one connection that are taken at once; what comes beyond waits in the socket.
pub const ENVELOPES_MAX: usize = 64;
/// How often we ask whether Slack is there.
pub const PING_EVERY: Duration = Duration::from_secs(10);
/// How long Slack may say nothing at all, not even an answer to that, before it is gone.
pub const SILENT_MAX: Duration = Duration::from_secs(25);
/// How long a connection goes on after another one took its place: Slack may have sent something on it meanwhile.
pub const RETIRED_LINGERS: Duration = Duration::from_secs(10);
/// How long what is being taken may still take when a connection ends.
const DRAIN_WITHIN: Duration = Duration::from_secs(3);

/// What has become of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Life {
    /// It is being greeted.
    Begins,
    /// Envelopes come.
    Ready {
        /// As Slack counts them.
        connections: u64,
    },
    /// Another one is needed.
    Leaves(Why),
}

/// Why another connection is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    /// Slack says so.
    Told(Reason),
    /// It is gone.
    Gone {
        /// Why.
        reason: String,
        /// When Slack was heard last on it.
        heard_at: Timestamp,
    },
}

/// What a connection is told from outside.
#[derive(Clone)]
pub(super) struct Orders {
    /// Another one has taken its place.
    pub(super) retire: watch::Receiver<bool>,
    /// The server stops.
    pub(super) stop: watch::Receiver<bool>,
}

/// An envelope that was taken, and what became of it.
struct Taken {
    id: String,
    /// The envelope itself, where its acknowledgement holds an answer for somebody.
    answered: Option<Envelope>,
    ack: Ack,
}

pub(super) struct Connection {
    socket: WebSocket,
    takes: Arc<dyn Takes>,
    clock: Clock,
    life: watch::Sender<Life>,
    taking: JoinSet<Taken>,
    /// What was taken and could not be acknowledged.
    unheard: Vec<Envelope>,
    heard_at: Monotonic,
}

impl Connection {
    pub(super) fn new(
        socket: WebSocket,
        takes: Arc<dyn Takes>,
        clock: Clock,
        life: watch::Sender<Life>,
    ) -> Self {
        let heard_at = clock.monotonic();
        Connection { socket, takes, clock, life, taking: JoinSet::new(), unheard: vec![], heard_at }
    }

    /// Serves the connection to its end.
    pub(super) async fn serve(mut self, orders: Orders) {
        match self.talk(orders).await {
            Ok(()) => {
                let clock = self.clock.clone();
                // What is not taken in time is not acknowledged, so Slack sends it again.
                let _ = clock.timeout(DRAIN_WITHIN, self.drain()).await;
                self.socket.close().await;
            }
            Err(reason) => {
                tracing::info!(gone = reason, "a socket to Slack ended");
                let heard_at = self.clock.now() - self.clock.monotonic().since(self.heard_at);
                self.life.send_replace(Life::Leaves(Why::Gone { reason, heard_at }));
                // What is being taken is carried out all the same; a repeat finds that, and of a command there is none.
                tokio::spawn(answer_otherwise(self.takes, self.taking, self.unheard));
            }
        }
    }

    /// Until the connection is to be closed, or is gone.
    async fn talk(&mut self, mut orders: Orders) -> Result<(), String> {
        let mut ping_at = self.clock.monotonic() + PING_EVERY;
        let mut close_at = None;
        loop {
            let closes = async {
                match close_at {
                    Some(at) => self.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // What has come is read before it is asked how long nothing came.
                biased;
                () = told(&mut orders.stop) => return Ok(()),
                Some(taken) = self.taking.join_next() => self.acknowledge(taken).await.map_err(said)?,
                received = self.socket.receive(), if self.taking.len() < ENVELOPES_MAX => {
                    if self.heard(received.map_err(said)?) {
                        return Ok(());
                    }
                }
                () = self.clock.sleep_until(ping_at) => {
                    let now = self.clock.monotonic();
                    if now.since(self.heard_at) >= SILENT_MAX {
                        return Err(format!("nothing was heard for {} s", SILENT_MAX.as_secs()));
                    }
                    self.socket.ping().await.map_err(said)?;
                    ping_at = now + PING_EVERY;
                }
                () = closes => return Ok(()),
                () = told(&mut orders.retire), if close_at.is_none() => {
                    close_at = Some(self.clock.monotonic() + RETIRED_LINGERS);
                }
            }
        }
    }

    /// Deals with what came; gives whether the connection is to be closed.
    fn heard(&mut self, received: Received) -> bool {
        self.heard_at = self.clock.monotonic();
        let Received::Text(text) = received else { return false };
        match frame::read(&text) {
            Ok(Frame::Hello { connections }) => {
                self.life.send_if_modified(|life| {
                    let begins = *life == Life::Begins;
                    if begins {
                        *life = Life::Ready { connections };
                    }
                    begins
                });
                false
            }
            Ok(Frame::Envelope(envelope)) => {
                let takes = self.takes.clone();
                self.taking.spawn(async move {
                    let id = envelope.id.clone();
                    let answered = envelope.takes_answer.then(|| envelope.clone());
                    Taken { id, answered, ack: takes.take(envelope).await }
                });
                false
            }
            Ok(Frame::Disconnect(reason)) => {
                tracing::info!(?reason, "Slack ends a socket");
                self.life.send_replace(Life::Leaves(Why::Told(reason)));
                reason != Reason::Refresh
            }
            Ok(Frame::Other) => false,
            Err(problem) => {
                tracing::warn!(%problem, bytes = text.len(), "a frame of Slack is not understood");
                false
            }
        }
    }

    async fn acknowledge(&mut self, taken: Result<Taken, JoinError>) -> Result<(), Gone> {
        match taken {
            Ok(Taken { id, answered, ack: Ack::Taken(answer) }) => {
                let answered = answered.filter(|_| answer.is_some());
                let sent = self.socket.send_text(frame::ack(&id, answer)).await;
                self.unheard.extend(answered.filter(|_| sent.is_err()));
                sent
            }
            Ok(Taken { ack: Ack::NotTaken, .. }) => Ok(()),
            Err(error) => {
                tracing::error!(%error, "taking an envelope died");
                Ok(())
            }
        }
    }

    /// Acknowledges what is still being taken.
    async fn drain(&mut self) {
        while let Some(taken) = self.taking.join_next().await {
            if self.acknowledge(taken).await.is_err() {
                return;
            }
        }
    }
}

/// Goes on after a connection is gone: whoever waits for an answer that it was to bring gets it in another way.
async fn answer_otherwise(takes: Arc<dyn Takes>, mut taking: JoinSet<Taken>, unheard: Vec<Envelope>) {
    for envelope in unheard {
        takes.unheard(envelope).await;
    }
    while let Some(taken) = taking.join_next().await {
        match taken {
            Ok(Taken { answered: Some(envelope), ack: Ack::Taken(Some(_)), .. }) => {
                takes.unheard(envelope).await
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "taking an envelope died"),
        }
    }
}

fn said(gone: Gone) -> String {
    gone.to_string()
}

/// Resolves when it is said, also when nobody is left to say so.
pub(super) async fn told(order: &mut watch::Receiver<bool>) {
    let _ = order.wait_for(|said| *said).await;
}
