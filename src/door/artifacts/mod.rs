//! Artifacts, fetched by boards over the network: `/artifacts/<pass>/<path in the folder>`. The pass is the attempt's own
//! and opens nothing once that is over. Files are read only, a piece at a time, by a bounded number of clients.

mod range;

use std::io::SeekFrom;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::Door;
use super::server::Lasting;
use crate::artifact::{Artifact, ArtifactError};
use crate::clock::Clock;
use crate::run::RunState;
use range::Part;

/// Most files that are on their way at once; whoever comes then is told to come again.
const DOWNLOADS_MAX: usize = 128;
/// Bytes that are read at once. Each download holds two such pieces.
const PIECE_BYTES: usize = 128 * 1024;
/// How long a client may take for one piece: a board that lost its power never says so.
const STALLED_AFTER: Duration = Duration::from_secs(60);
/// How soon a client that found no place may come again, in seconds.
const COME_AGAIN: &str = "5";
/// Behind the name of a file: its checksum, as `sha256sum -c` reads it.
const SUM_SUFFIX: &str = ".sha256";
/// RFC 9530: the digest of the whole file, whatever part of it is given.
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// The places of downloads.
#[derive(Clone)]
pub struct Downloads(Arc<Semaphore>);

impl Default for Downloads {
    fn default() -> Self {
        Downloads(Arc::new(Semaphore::new(DOWNLOADS_MAX)))
    }
}

/// A file, a part of it, or its checksum.
pub(super) async fn artifact(
    State(door): State<Arc<Door>>,
    Path((pass, name)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    match is_at_work(&door, &pass).await {
        Ok(true) => {}
        Ok(false) => return missing(),
        Err(busy) => return busy,
    }
    match door.artifacts.open(&name).await {
        Ok(artifact) => give(&door, artifact, &method, &headers).await,
        Err(error) => match sum_of(&door, &name).await {
            Some(sum) => sum.into_response(),
            None => {
                if let ArtifactError::Unreadable { .. } = error {
                    tracing::warn!(%error, "a board asked for it");
                }
                missing()
            }
        },
    }
}

fn missing() -> Response {
    (StatusCode::NOT_FOUND, "there is no such artifact, or the attempt of this address is over\n")
        .into_response()
}

fn come_again() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, COME_AGAIN)], "not now, try again\n")
        .into_response()
}

/// Whether a pass is that of an attempt which is on its board now.
pub(super) async fn is_at_work(door: &Door, pass: &str) -> Result<bool, Response> {
    let Some((run, attempt)) = door.links.board_pass(pass) else { return Ok(false) };
    match door.store.run_view(run).await {
        Ok(view) => Ok(view.is_some_and(
            |view| matches!(view.run.state, RunState::Active { attempt: now, .. } if now == attempt),
        )),
        Err(error) => {
            tracing::warn!(%error, run.number = run, "whose artifacts these are cannot be read");
            Err(come_again())
        }
    }
}

/// The checksum of the file whose name this is with `.sha256` behind it.
async fn sum_of(door: &Door, name: &str) -> Option<String> {
    let of = name.strip_suffix(SUM_SUFFIX)?;
    let artifact = door.artifacts.open(of).await.ok()?;
    let digest = door.artifacts.digest(artifact).await.ok()?;
    Some(format!("{}  {}\n", hex::encode(digest), of.rsplit('/').next().unwrap_or(of)))
}

async fn give(door: &Door, artifact: Artifact, method: &Method, headers: &HeaderMap) -> Response {
    let version = artifact.version.clone();
    let tag = format!("\"{}\"", version.tag());
    let asked = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if asked(header::IF_NONE_MATCH).is_some_and(|tags| tags.split(',').any(|have| have.trim() == tag)) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    if method == Method::HEAD {
        let digest = door.artifacts.digest(artifact).await.ok();
        return (described(&tag, digest, version.bytes), ()).into_response();
    }
    // A part of another version than the client has is of no use to it.
    let is_the_same = asked(header::IF_RANGE).is_none_or(|have| have == tag);
    let range = asked(header::RANGE).filter(|_| is_the_same);
    let (status, range) = match range::part(range, version.bytes) {
        Part::Whole => (StatusCode::OK, 0..version.bytes),
        Part::Bytes(range) => (StatusCode::PARTIAL_CONTENT, range),
        Part::OutOfRange => {
            let all = format!("bytes */{}", version.bytes);
            return (StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, all)]).into_response();
        }
    };
    let Ok(place) = door.downloads.0.clone().try_acquire_owned() else {
        tracing::warn!(most = DOWNLOADS_MAX, "too many boards fetch at once: one was told to come again");
        return come_again();
    };
    let digest = door.artifacts.known_digest(&version);
    let mut head = described(&tag, digest, range.end - range.start);
    if status == StatusCode::PARTIAL_CONTENT {
        let of = format!("bytes {}-{}/{}", range.start, range.end - 1, version.bytes);
        head.extend(HeaderValue::try_from(of).ok().map(|of| (header::CONTENT_RANGE, of)));
    }
    let body = Body::from_stream(pieces(door.clock.clone(), artifact.file, range, place));
    (status, Extension(Lasting), head, body).into_response()
}

/// The head of an answer that gives `bytes` bytes of a version.
fn described(tag: &str, digest: Option<[u8; 32]>, bytes: u64) -> HeaderMap {
    let plain = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::CONTENT_LENGTH, bytes.to_string()),
        (header::ETAG, tag.to_owned()),
    ];
    let digest = digest.map(|digest| (REPR_DIGEST, format!("sha-256=:{}:", STANDARD.encode(digest))));
    let fields = plain.into_iter().chain(digest);
    fields.filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?))).collect()
}

/// These bytes of a file, read as fast as they are taken. A client that takes none for too long loses its place.
fn pieces(
    clock: Clock,
    file: File,
    range: Range<u64>,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = std::io::Result<Bytes>> {
    let (taken, coming) = mpsc::channel(1);
    tokio::spawn(async move {
        let _place = place;
        if let Err(error) = feed(&clock, file, range, &taken).await {
            // Too little came for the length that was told: the client notices.
            let _ = clock.timeout(STALLED_AFTER, taken.send(Err(error))).await;
        }
    });
    stream::unfold(coming, async |mut coming| coming.recv().await.map(|piece| (piece, coming)))
}

async fn feed(
    clock: &Clock,
    mut file: File,
    range: Range<u64>,
    taken: &mpsc::Sender<std::io::Result<Bytes>>,
) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(range.start)).await?;
    let mut left = range.end - range.start;
    while left > 0 {
        let mut piece =
            BytesMut::with_capacity(PIECE_BYTES.min(usize::try_from(left).unwrap_or(PIECE_BYTES)));
        if file.read_buf(&mut piece).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= piece.len() as u64;
        match clock.timeout(STALLED_AFTER, taken.send(Ok(piece.freeze()))).await {
            Ok(Ok(())) => {}
            // The client went away, or its board did.
            Ok(Err(_)) | Err(_) => return Ok(()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;
    use crate::clock::Timestamp;

    async fn file(bytes: u64) -> File {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(bytes).expect("a length");
        File::from_std(file)
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_more_loses_its_place() {
        let (clock, hand) = Clock::manual(Timestamp::from_micros(0));
        let downloads = Downloads::default();
        let place = downloads.0.clone().try_acquire_owned().expect("a place");
        let mut pieces = Box::pin(pieces(clock, file(10 << 20).await, 0..10 << 20, place));
        assert!(pieces.next().await.is_some_and(|piece| piece.is_ok()));
        while downloads.0.available_permits() < DOWNLOADS_MAX {
            hand.advance(STALLED_AFTER);
            tokio::task::yield_now().await;
        }
        let mut came = PIECE_BYTES;
        while let Some(piece) = pieces.next().await {
            came += piece.expect("a piece").len();
        }
        assert!(came < 10 << 20, "what it did not take in time does not come any more: {came}");
    }

    #[tokio::test]
    async fn a_file_that_became_shorter_is_an_error_and_not_an_end() {
        let downloads = Downloads::default();
        let place = downloads.0.clone().try_acquire_owned().expect("a place");
        let pieces = pieces(Clock::system(), file(5).await, 2..9, place);
        let pieces: Vec<_> = pieces.map(|piece| piece.map(|bytes| bytes.len()).ok()).collect().await;
        assert_eq!(pieces, [Some(3), None]);
    }
}
