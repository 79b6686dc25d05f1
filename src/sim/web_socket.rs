//! WebSockets of the simulated platforms: a request that asks for one becomes a stream of messages.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// A connection.
pub(in crate::sim) type Stream = WebSocketStream<TokioIo<Upgraded>>;

/// Answers a handshake; `serve` gets the connection when it stands.
pub(in crate::sim) fn upgrade<F>(
    mut request: Request,
    serve: impl FnOnce(Stream) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let said = |name: HeaderName, word: &str| {
        let value = request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word))
    };
    let asked = said(header::CONNECTION, "upgrade")
        && said(header::UPGRADE, "websocket")
        && said(header::SEC_WEBSOCKET_VERSION, "13");
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY).filter(|_| asked) else {
        return (StatusCode::UPGRADE_REQUIRED, "this is a WebSocket").into_response();
    };
    let accept = derive_accept_key(key.as_bytes());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            serve(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await).await;
        }
    });
    let headers = [(header::CONNECTION, "Upgrade"), (header::UPGRADE, "websocket")];
    let accept = [(header::SEC_WEBSOCKET_ACCEPT, accept)];
    (StatusCode::SWITCHING_PROTOCOLS, headers, accept, Body::empty()).into_response()
}
