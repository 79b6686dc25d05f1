//! The door of a server that stands by: it is alive, and not ready. Nothing is taken, and nothing is known.

use std::future::Future;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

/// How soon whoever asks may ask again, in seconds.
const AGAIN: &str = "5";

/// Answers until `over` says that the server works.
pub async fn serve(listener: TcpListener, over: impl Future<Output = ()> + Send + 'static) {
    let waits = || async {
        let head = [(header::RETRY_AFTER, AGAIN)];
        (StatusCode::SERVICE_UNAVAILABLE, head, "this server stands by for another\n").into_response()
    };
    let routes = Router::new().route("/healthz", get(|| async { "standing by\n" })).fallback(waits);
    if let Err(error) = axum::serve(listener, routes).with_graceful_shutdown(over).await {
        tracing::warn!(%error, "nobody is told that this server stands by");
    }
}
