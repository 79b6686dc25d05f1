//! WebSockets: to the outside, dialled by the clients of [`Http`] with their proxies, their certificates and their rule of
//! which addresses are called (`ws://` is plain HTTP, `wss://` is HTTPS); and from there, where a request asks for one.
//!
//! What never happens here: a message longer than its bound, an endless wait for the other side to take what is sent, or
//! any understanding of what is said. Pings of the other side are answered while somebody waits in
//! [`WebSocket::receive`].

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use reqwest::{Method, Upgraded, Url};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

mod accept;

pub use accept::{Accepted, accept, is_asked_for, upgrade_required};

use super::{Http, HttpReply, NetError, TOTAL_TIMEOUT, net_error, read};
use crate::clock::Clock;

/// Longest message that is read, whole or put together of frames. Slack's and Feishu's are some KiB; a card that comes
/// back with a click is the largest.
pub const MESSAGE_BYTES_MAX: usize = 512 * 1024;
/// Longest wait for the other side to take a message.
pub const SEND_WITHIN: Duration = Duration::from_secs(5);
/// Longest wait for the other side to close after we did.
pub const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// Longest reason of a close that is passed on.
const REASON_CHARS_MAX: usize = 120;
/// Longest reason that a close can carry.
const CLOSE_BYTES_MAX: usize = 123;
const BUFFER_BYTES: usize = 16 * 1024;

/// No WebSocket.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No answer.
    #[error(transparent)]
    Net(#[from] NetError),
    /// An answer that is no WebSocket: why stands in its status, headers or body.
    #[error("answered with status {} and not with a WebSocket", .0.status)]
    Refused(Box<HttpReply>),
}

/// The connection is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    /// The other side closed it, with its code (0 for none) and reason.
    #[error("closed by the other side ({code} {reason})")]
    Closed {
        /// Such as 1000 or 1001.
        code: u16,
        /// Its words, cut and without control characters.
        reason: String,
    },
    /// It broke, or what came is no WebSocket.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// A message came that is longer than [`MESSAGE_BYTES_MAX`].
    #[error("a message came that is longer than {MESSAGE_BYTES_MAX} bytes")]
    TooLong,
    /// The other side took nothing for [`SEND_WITHIN`].
    #[error("the other side takes nothing any more")]
    Stuck,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A text.
    Text(String),
    /// Bytes.
    Binary(Bytes),
    /// The other side asked whether we are there; it is answered.
    Ping,
    /// The other side is there.
    Pong,
}

/// One connection, dialled or [`Accepted`].
pub struct WebSocket<S = Upgraded> {
    stream: WebSocketStream<S>,
    clock: Clock,
}

impl Http {
    /// Dials a WebSocket, at most `within` and [`TOTAL_TIMEOUT`].
    pub async fn web_socket(
        &self,
        url: &str,
        within: Duration,
        clock: Clock,
    ) -> Result<WebSocket, DialError> {
        self.web_socket_as(url, None, within, clock).await
    }

    /// The same for whoever has this bearer token.
    pub async fn web_socket_as(
        &self,
        url: &str,
        bearer: Option<&SecretString>,
        within: Duration,
        clock: Clock,
    ) -> Result<WebSocket, DialError> {
        let url = http_url(url)?;
        let key = generate_key();
        let request = self
            .client_for_sockets(&url)?
            .request(Method::GET, url)
            .timeout(within.min(TOTAL_TIMEOUT))
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, &key);
        let request = match bearer {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        };
        let response = request.send().await.map_err(net_error)?;
        if response.status().as_u16() != 101 {
            return Err(DialError::Refused(Box::new(read(response, super::BODY_BYTES_MAX).await?)));
        }
        let accepted = response.headers().get(SEC_WEBSOCKET_ACCEPT).map(|value| value.as_bytes());
        if accepted != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
            return Err(NetError::Broken("the handshake's answer is another one's".into()).into());
        }
        let upgraded = response.upgrade().await.map_err(net_error)?;
        let stream = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(limits())).await;
        Ok(WebSocket { stream, clock })
    }
}

/// The limits of a connection.
fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * MESSAGE_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
}

/// `wss://…` as the `https://…` that it begins as.
fn http_url(url: &str) -> Result<Url, NetError> {
    let rest = |scheme: &str| url.get(..scheme.len()).filter(|s| s.eq_ignore_ascii_case(scheme));
    let http = match (rest("wss://"), rest("ws://")) {
        (Some(scheme), _) => format!("https://{}", &url[scheme.len()..]),
        (None, Some(scheme)) => format!("http://{}", &url[scheme.len()..]),
        (None, None) => return Err(NetError::Address("neither ws:// nor wss://")),
    };
    Url::parse(&http).map_err(|_| NetError::Address("not a URL"))
}

impl WebSocket<Accepted> {
    /// Of a connection that was accepted.
    pub async fn of(accepted: Accepted, clock: Clock) -> Self {
        WebSocket {
            stream: WebSocketStream::from_raw_socket(accepted, Role::Server, Some(limits())).await,
            clock,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Waits for what comes next. May be given up at any time without losing anything.
    pub async fn receive(&mut self) -> Result<Received, Gone> {
        loop {
            let message = match self.stream.next().await {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Err(gone(error)),
                None => return Err(Gone::Broken("it ended without a word".into())),
            };
            return match message {
                Message::Text(text) => Ok(Received::Text(text.as_str().to_owned())),
                Message::Binary(bytes) => Ok(Received::Binary(bytes)),
                Message::Ping(_) => Ok(Received::Ping),
                Message::Pong(_) => Ok(Received::Pong),
                Message::Close(frame) => {
                    Err(closed(frame.map(|f| (u16::from(f.code), f.reason.to_string()))))
                }
                Message::Frame(_) => continue,
            };
        }
    }

    /// Sends a text.
    pub async fn send_text(&mut self, text: String) -> Result<(), Gone> {
        self.send(Message::text(text)).await
    }

    /// Sends bytes.
    pub async fn send_binary(&mut self, bytes: Bytes) -> Result<(), Gone> {
        self.send(Message::Binary(bytes)).await
    }

    /// Asks whether the other side is there.
    pub async fn ping(&mut self) -> Result<(), Gone> {
        self.send(Message::Ping(Bytes::new())).await
    }

    /// Closes the connection as one does, and waits [`CLOSE_WITHIN`] for the other side to do the same. What still comes
    /// is lost.
    pub async fn close(self) {
        self.close_with(None).await;
    }

    /// The same, saying why: a code, and at most 123 bytes.
    pub async fn close_saying(self, code: u16, reason: &str) {
        let cut = reason.floor_char_boundary(CLOSE_BYTES_MAX);
        self.close_with(Some(CloseFrame { code: code.into(), reason: reason[..cut].into() })).await;
    }

    async fn close_with(mut self, frame: Option<CloseFrame>) {
        let clock = self.clock.clone();
        let goodbye = async {
            if self.stream.close(frame).await.is_ok() {
                while self.receive().await.is_ok() {}
            }
        };
        // Who does not say goodbye is left without.
        let _ = clock.timeout(CLOSE_WITHIN, goodbye).await;
    }

    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        let clock = self.clock.clone();
        match clock.timeout(SEND_WITHIN, self.stream.send(message)).await {
            Ok(sent) => sent.map_err(gone),
            Err(_) => Err(Gone::Stuck),
        }
    }
}

fn closed(frame: Option<(u16, String)>) -> Gone {
    let (code, reason) = frame.unwrap_or_default();
    let reason = reason.chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX).collect();
    Gone::Closed { code, reason }
}

fn gone(error: Error) -> Gone {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => closed(None),
        Error::Capacity(_) => Gone::TooLong,
        other => Gone::Broken(other.to_string()),
    }
}

#[cfg(test)]
mod tests;
