//! Health: whether the process is alive, and whether it can do its work.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Door;

/// How long the database may take to answer before the server is not ready.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// The process is alive.
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// The database answers and its migrations are done.
pub(super) async fn ready(State(door): State<Arc<Door>>) -> Response {
    let asked = door.clock.timeout(READY_WITHIN, async {
        door.store.ready().await?;
        door.store.census().await
    });
    match asked.await {
        Ok(Ok(census)) => Json(json!({ "ready": true, "census": census })).into_response(),
        Ok(Err(error)) => not_ready(&error.to_string()),
        Err(_) => not_ready("the database does not answer in time"),
    }
}

fn not_ready(reason: &str) -> Response {
    tracing::warn!(reason, "not ready");
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "ready": false, "reason": reason }))).into_response()
}
