//! A request that asks for a WebSocket becomes one.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// An accepted connection, before anything is said over it.
pub type Accepted = TokioIo<Upgraded>;

/// Whether a request asks for a WebSocket.
pub fn is_asked_for(headers: &HeaderMap) -> bool {
    let said = |name: HeaderName, word: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word))
    };
    said(header::CONNECTION, "upgrade")
        && said(header::UPGRADE, "websocket")
        && said(header::SEC_WEBSOCKET_VERSION, "13")
        && headers.contains_key(header::SEC_WEBSOCKET_KEY)
}

/// What is answered where there is nothing but a WebSocket.
pub fn upgrade_required() -> Response {
    (StatusCode::UPGRADE_REQUIRED, [(header::UPGRADE, "websocket")], "this is a WebSocket\n").into_response()
}

/// Answers a handshake; `serve` gets the connection when it stands. What is no handshake is told so.
pub fn accept<F>(mut request: Request, serve: impl FnOnce(Accepted) -> F + Send + 'static) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let asked = is_asked_for(request.headers());
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY).filter(|_| asked) else {
        return upgrade_required();
    };
    let answer = derive_accept_key(key.as_bytes());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            serve(TokioIo::new(upgraded)).await;
        }
    });
    let headers = [(header::CONNECTION, "Upgrade"), (header::UPGRADE, "websocket")];
    let accept = [(header::SEC_WEBSOCKET_ACCEPT, answer)];
    (StatusCode::SWITCHING_PROTOCOLS, headers, accept, Body::empty()).into_response()
}
