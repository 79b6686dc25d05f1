//! Files in the simulated workspace, in Slack's three steps: an address, the bytes, and the word where they belong. What
//! Slack checks is checked: the length that was told, the thread, and whether the bot is there.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::{Value, json};

use super::Shared;
use super::methods::{Answer, Failure, joined, text};
use super::model::{BOT_USER, Message, World};

/// Longest file.
const FILE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Files that are remembered.
const FILES_MAX: usize = 200;

/// A file on its way, or there.
#[derive(Debug, Clone)]
pub(super) struct Upload {
    name: String,
    length: usize,
    bytes: Option<Vec<u8>>,
    shared: bool,
}

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/upload/{file}", post(put)).layer(DefaultBodyLimit::max(FILE_BYTES_MAX))
}

/// What a file that was shown holds.
pub(super) fn content(world: &World, name: &str) -> Option<String> {
    let file = world.uploads.values().find(|file| file.shared && file.name == name)?;
    Some(String::from_utf8_lossy(file.bytes.as_deref()?).into_owned())
}

/// `files.getUploadURLExternal`.
pub(super) fn begin(shared: &Shared, arguments: &Value) -> Answer {
    let length =
        text(arguments, "length").parse().ok().filter(|length| (1..=FILE_BYTES_MAX).contains(length));
    let length = length.ok_or_else(|| Failure::new("invalid_arguments"))?;
    let name = text(arguments, "filename").to_owned();
    if name.is_empty() {
        return Err(Failure::new("invalid_arguments"));
    }
    let id = format!("F{}", shared.ids.letters(10).to_uppercase());
    shared.change(|world| {
        if world.uploads.len() >= FILES_MAX {
            world.uploads.pop_first();
        }
        world.uploads.insert(id.clone(), Upload { name, length, bytes: None, shared: false });
    });
    Ok(json!({"ok": true, "upload_url": format!("http://{}/upload/{id}", shared.addr), "file_id": id}))
}

async fn put(State(shared): State<Arc<Shared>>, Path(file): Path<String>, body: Bytes) -> StatusCode {
    shared.change(|world| match world.uploads.get_mut(&file) {
        Some(upload) if upload.length == body.len() => {
            upload.bytes = Some(body.to_vec());
            StatusCode::OK
        }
        Some(_) => {
            world.problem(format!("{file}: {} bytes, and another length was told", body.len()));
            StatusCode::BAD_REQUEST
        }
        None => StatusCode::NOT_FOUND,
    })
}

/// `files.completeUploadExternal`: the file is shown.
pub(super) fn complete(shared: &Shared, arguments: &Value) -> Answer {
    let now = shared.clock.now();
    let place = json!({"channel": text(arguments, "channel_id")});
    shared.change(|world| {
        let channel = joined(world, &place)?.id.clone();
        let thread_ts = arguments["thread_ts"].as_str().map(str::to_owned);
        if thread_ts.as_ref().is_some_and(|thread| world.message(&channel, thread).is_none()) {
            return Err(Failure::new("thread_not_found"));
        }
        let mut files = Vec::new();
        for file in arguments["files"].as_array().into_iter().flatten() {
            let id = text(file, "id").to_owned();
            let upload = world.uploads.get_mut(&id).filter(|upload| upload.bytes.is_some() && !upload.shared);
            let upload = upload.ok_or_else(|| Failure::new("file_not_found"))?;
            upload.shared = true;
            let name = upload.name.clone();
            files.push(json!({"id": id, "name": name, "title": file["title"], "size": upload.length}));
        }
        if files.is_empty() {
            return Err(Failure::new("invalid_arguments"));
        }
        let shown: Vec<Value> =
            files.iter().map(|file| json!({"id": file["id"], "title": file["title"]})).collect();
        let message = Message {
            ts: world.next_ts(now),
            thread_ts,
            user: BOT_USER.to_owned(),
            text: text(arguments, "initial_comment").to_owned(),
            blocks: Value::Null,
            attachments: Value::Null,
            metadata: Value::Null,
            edits: 0,
            broadcast: false,
            files: json!(files),
            reactions: vec![],
            read: false,
        };
        world.add(&channel, message);
        Ok(json!({"ok": true, "files": shown}))
    })
}
