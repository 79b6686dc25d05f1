//! Console logs of attempts, opened by the signed links that messages carry. Read-only; a wrong link and a missing
//! log look the same.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::Door;
use crate::console::transcript;

/// Most of a log that one request gives; the end of a longer one is given, and that is said.
const LOG_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A link's query.
#[derive(Deserialize)]
pub(super) struct LinkQuery {
    #[serde(default)]
    key: String,
    /// Whether a browser is shown the text, too.
    #[serde(default)]
    text: bool,
}

/// The log of one attempt as text, each line with its time since the attempt began.
pub(super) async fn log(
    State(door): State<Arc<Door>>,
    Path((run, attempt)): Path<(i64, u32)>,
    Query(link): Query<LinkQuery>,
    headers: HeaderMap,
) -> Response {
    let missing = (StatusCode::NOT_FOUND, "there is no such log, or this link is not complete\n");
    if !door.links.opens(run, attempt, &link.key) {
        return missing.into_response();
    }
    // A person who follows a message's link is shown the page around it; whoever may read the one may read the other.
    if wants_page(&headers) && !link.text {
        let page = format!("{}&attempt={attempt}#console", door.links.page(run));
        return (StatusCode::SEE_OTHER, [(header::LOCATION, page)]).into_response();
    }
    let path = transcript_dir(&door.transcripts, run, attempt).join("console");
    let redactor = door.redactor.clone();
    let read = tokio::task::spawn_blocking(move || {
        transcript::render_tail(&path, LOG_BYTES_MAX).map(|text| redactor.redact_whole(&text))
    })
    .await;
    match read {
        // Bytes of a board are never a page: plain text, and no guessing.
        Ok(Ok(text)) => (
            [
                (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
            ],
            text,
        )
            .into_response(),
        Ok(Err(_)) | Err(_) => missing.into_response(),
    }
}

/// Whether it is a browser that asks.
fn wants_page(headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accepts.is_some_and(|accepts| accepts.contains("text/html"))
}

/// Where the transcript of an attempt is kept.
pub fn transcript_dir(root: &std::path::Path, run: i64, attempt: u32) -> std::path::PathBuf {
    root.join(run.to_string()).join(attempt.to_string())
}
