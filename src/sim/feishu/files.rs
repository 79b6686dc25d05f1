//! Files in the simulated Feishu: the bytes as `multipart/form-data`, which get a key that a message shows.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::api::{code, stumble};
use super::{Call, SimFeishu, World};

/// Longest file.
const FILE_BYTES_MAX: usize = 30 * 1024 * 1024;
const BAD_REQUEST: i64 = 234_001;

pub(super) fn body_limit() -> DefaultBodyLimit {
    DefaultBodyLimit::max(FILE_BYTES_MAX)
}

/// The name of the file that a message's content shows.
pub(super) fn named(world: &World, content: &Value) -> Option<String> {
    world.files.get(content["file_key"].as_str()?).map(|(name, _)| name.clone())
}

pub(super) async fn upload(State(feishu): State<SimFeishu>, headers: HeaderMap, body: Bytes) -> Response {
    let mut world = feishu.lock();
    let fails = match stumble(&mut world, Call::Upload, &headers) {
        Ok(fails) => fails,
        Err(response) => return *response,
    };
    let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let boundary = kind.strip_prefix("multipart/form-data; boundary=");
    let parts = boundary.map(|boundary| parts(boundary, &body)).unwrap_or_default();
    let part = |name: &str| parts.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let (Some(kind), Some(name), Some(bytes)) = (part("file_type"), part("file_name"), part("file")) else {
        world.violations.push("a file without its type, name or bytes".to_owned());
        return code(BAD_REQUEST, "Invalid request param.");
    };
    if kind != b"stream" || bytes.is_empty() {
        world.violations.push("a file of a type that is none, or an empty one".to_owned());
        return code(BAD_REQUEST, "Invalid request param.");
    }
    world.ids += 1;
    let key = format!("file_v3_{}", world.ids);
    world.files.insert(key.clone(), (String::from_utf8_lossy(&name).into_owned(), bytes));
    if fails {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    Json(json!({ "code": 0, "msg": "success", "data": { "file_key": key } })).into_response()
}

/// Name and bytes of each part.
fn parts(boundary: &str, body: &[u8]) -> Vec<(String, Vec<u8>)> {
    let line = format!("--{boundary}");
    let starts: Vec<usize> = memchr::memmem::find_iter(body, line.as_bytes()).collect();
    let part = |pair: &[usize]| {
        let part = &body[pair[0] + line.len() + 2..pair[1] - 2];
        let head = memchr::memmem::find(part, b"\r\n\r\n")?;
        let about = String::from_utf8_lossy(&part[..head]).into_owned();
        let name = about.split("; name=\"").nth(1)?.split('"').next()?.to_owned();
        Some((name, part[head + 4..].to_vec()))
    };
    starts.windows(2).filter_map(part).collect()
}
