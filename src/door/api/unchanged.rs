//! Answers that a client has already: each JSON answer to a `GET` carries an `ETag` of its bytes, and a client that shows
//! it with `If-None-Match` gets 304 without them. What is asked for often, such as a list of all boards, then costs a
//! client nothing while it stays as it is. Streams, pages and refusals pass as they are.

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

/// Bytes of the SHA-256 in an `ETag`.
const TAG_BYTES: usize = 16;
/// Whoever keeps an answer asks whether it still holds; and keeps it for one caller.
const KEPT: HeaderValue = HeaderValue::from_static("private, no-cache");

/// Answers with 304 where the client has the same.
pub(super) async fn if_unchanged(request: Request, next: Next) -> Response {
    if request.method() != Method::GET {
        return next.run(request).await;
    }
    let have = request.headers().get_all(header::IF_NONE_MATCH).iter().cloned().collect::<Vec<_>>();
    let answer = next.run(request).await;
    let is_json = |head: &HeaderMap| {
        head.get(header::CONTENT_TYPE).is_some_and(|media| media.as_bytes() == b"application/json")
    };
    // A body of a known length stands in memory whole; whatever is a stream has none.
    let whole = answer.body().size_hint().exact().and_then(|length| usize::try_from(length).ok());
    let Some(length) = whole.filter(|_| answer.status() == StatusCode::OK && is_json(answer.headers()))
    else {
        return answer;
    };
    let (mut parts, body) = answer.into_parts();
    let Ok(bytes) = to_bytes(body, length).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let tag = format!("\"{}\"", hex::encode(&Sha256::digest(&bytes)[..TAG_BYTES]));
    let same = have.iter().any(|have| names(have, &tag));
    parts.headers.extend(HeaderValue::try_from(tag).ok().map(|tag| (header::ETAG, tag)));
    parts.headers.entry(header::CACHE_CONTROL).or_insert(KEPT);
    if !same {
        return Response::from_parts(parts, Body::from(bytes));
    }
    parts.status = StatusCode::NOT_MODIFIED;
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.remove(header::CONTENT_TYPE);
    Response::from_parts(parts, Body::empty())
}

/// Whether `If-None-Match` names it. A proxy that packs answers makes tags weak; the same bytes they are all the same.
fn names(have: &HeaderValue, tag: &str) -> bool {
    let tags = have.to_str().unwrap_or_default().split(',').map(str::trim);
    tags.map(|have| have.strip_prefix("W/").unwrap_or(have)).any(|have| have == tag || have == "*")
}
