//! WebSockets of the simulated platforms: a request that asks for one becomes a stream of messages.

use axum::extract::Request;
use axum::response::Response;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::net::ws::{self, Accepted};

/// A connection.
pub(in crate::sim) type Stream = WebSocketStream<Accepted>;

/// Answers a handshake; `serve` gets the connection when it stands.
pub(in crate::sim) fn upgrade<F>(
    request: Request,
    serve: impl FnOnce(Stream) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    ws::accept(request, |io| async move {
        serve(WebSocketStream::from_raw_socket(io, Role::Server, None).await).await;
    })
}
