//! Opening a console: the only place that connects to one, and only with a lease in hand. What is said over the
//! connection is the session's.

use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::line::Line;
use super::{ConsoleError, ConsoleTarget, InHand, Session, Transcript, WatchList};
use crate::board::ConsoleKind;
use crate::clock::Clock;
use crate::id::Ids;

/// Silence on the network after which the kernel asks whether the console server is still there, and between asks.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Unanswered asks after which the connection is dead.
const KEEPALIVE_ASKS_MAX: u32 = 4;
/// How long a console server has to say that it is busy, before the board is touched. Never longer than `settle`.
const LISTEN: Duration = Duration::from_millis(500);

/// Connects to a console and listens for a moment: a busy console is found before anything is sent or switched.
/// Sends nothing but answers to telnet requests.
pub async fn dial(
    clock: &Clock,
    ids: &Ids,
    in_hand: Arc<dyn InHand>,
    target: &ConsoleTarget,
    watches: Arc<WatchList>,
    transcript: Transcript,
) -> Result<Session, ConsoleError> {
    let settings = target.settings.clone();
    match settings.kind {
        ConsoleKind::Telnet | ConsoleKind::Tcp => {}
        kind @ (ConsoleKind::Rfc2217 | ConsoleKind::Ssh | ConsoleKind::Serial) => {
            return Err(ConsoleError::Unsupported(kind));
        }
    }
    if !in_hand.trusted() {
        return Err(ConsoleError::LeaseOver { label: in_hand.label() });
    }
    let stream = connect(clock, target).await?;
    let line = Line::new(clock.clone(), in_hand, stream, &settings, watches, transcript);
    let mut session = Session::new(ids.clone(), line, settings)?;
    session.listen(LISTEN).await?;
    Ok(session)
}

async fn connect(clock: &Clock, target: &ConsoleTarget) -> Result<TcpStream, ConsoleError> {
    let address = format!("{}:{}", target.host, target.port);
    let connecting = TcpStream::connect((target.host.as_str(), target.port));
    let stream = match clock.timeout(target.settings.connect_within, connecting).await {
        Err(_) => {
            return Err(ConsoleError::Unreachable { address, source: None });
        }
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            return Err(ConsoleError::Refused { address });
        }
        Ok(Err(source)) => {
            return Err(ConsoleError::Unreachable { address, source: Some(source) });
        }
        Ok(Ok(stream)) => stream,
    };
    // A telnet sequence must not wait for company, and a dead console server must be noticed without a word.
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE).with_retries(KEEPALIVE_ASKS_MAX);
    stream
        .set_nodelay(true)
        .and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&keepalive))
        .map_err(|source| ConsoleError::Unreachable { address, source: Some(source) })?;
    Ok(stream)
}
