//! What is live on pages: for each thing that somebody looks at, one task reads the store and the console for all who look, and
//! each of them is sent what is new, as server-sent events. Whoever comes again says what they had, to this server or another:
//! a frame is known by what it says, a console by how many bytes were read. What is kept for those who are slow is bounded; they
//! are given the newest.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::console::{self, Begin, FEW_BYTES, Shown};
use super::words::Tongue;
use super::{run, secured, wall};
use crate::clock::Monotonic;
use crate::console::transcript;
use crate::door::console::PIECE_BYTES_MAX;
use crate::door::server::{Lasting, Parked, Parking};
use crate::door::{Door, transcript_dir};
use crate::store::Result;

/// Most that look at once.
const VIEWERS_MAX: usize = 2_000;
/// Most things that are looked at at once.
const TOPICS_MAX: usize = 500;
/// How often a look is worth it; with many that look, so much more for each.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const LOOK_EVERY_MAX: Duration = Duration::from_secs(1);
const FOR_EACH: Duration = Duration::from_millis(2);
/// How long after a commit what follows from it may still change: the scheduler reads commits after they are made.
const SETTLES: Duration = Duration::from_secs(1);
/// How often everything is drawn anew, whatever was committed: guesses of when something may be over.
const DRAWN_EVERY: Duration = Duration::from_secs(15);
/// Most pieces of a console, and most bytes of them, that are kept for those who are slow; others read for themselves.
const PIECES_MAX: usize = 32;
const PIECES_BYTES_MAX: usize = 1024 * 1024;
const PING_EVERY: Duration = Duration::from_secs(15);
/// How long a stream lasts: less than its connection may.
const LASTS: Duration = Duration::from_secs(9 * 60);

/// What somebody looks at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Topic {
    /// Every board.
    Wall(Tongue),
    /// Every run that waits.
    Queue(Tongue),
    /// A run, and the console of one of its attempts.
    Run {
        /// Its number.
        number: i64,
        /// The attempt whose console is looked at.
        attempt: Option<u32>,
        /// In which language.
        tongue: Tongue,
        /// What opened the page, where nobody signed in.
        key: Option<String>,
    },
}

impl Topic {
    /// How it looks now, and whether it stays so.
    async fn drawn(&self, door: &Door) -> Result<(String, bool)> {
        match self {
            Topic::Wall(tongue) => Ok((wall::wall_live(door, *tongue).await?, false)),
            Topic::Queue(tongue) => Ok((wall::queue_live(door, *tongue).await?, false)),
            Topic::Run { number, attempt, tongue, key } => {
                run::live(door, (*number, *attempt), *tongue, key.as_deref()).await
            }
        }
    }

    /// Where the console is that is looked at.
    fn console(&self, door: &Door) -> Option<PathBuf> {
        match self {
            Topic::Run { number, attempt: Some(attempt), .. } => {
                Some(transcript_dir(&door.transcripts, *number, *attempt).join("console"))
            }
            _ => None,
        }
    }
}

/// How something looks.
#[derive(Debug)]
pub(super) struct Frame {
    id: String,
    pub(super) html: String,
}

/// A piece of a console, as an event.
#[derive(Debug)]
struct Piece {
    from: u64,
    next: u64,
    line: u64,
    event: String,
}

/// What all who look at something are shown.
#[derive(Debug, Clone, Default)]
struct State {
    frame: Option<Arc<Frame>>,
    pieces: VecDeque<Arc<Piece>>,
    /// How far the console was read, and the number of the line that comes next.
    read: Option<(u64, u64)>,
    /// The line that is not over yet.
    open: Arc<str>,
    /// Whether nothing comes any more.
    over: bool,
}

struct Shared {
    state: watch::Sender<State>,
    drawn: tokio::sync::Mutex<Option<Drawn>>,
}

/// When something was drawn.
#[derive(Clone, Copy)]
struct Drawn {
    at: Monotonic,
    /// How many commits there were before.
    commits: Option<u64>,
    /// Whether one of them was new: what follows from it may come in a moment.
    again: bool,
}

/// Everything that is looked at.
pub struct Live {
    topics: Mutex<HashMap<Topic, Arc<Shared>>>,
    viewers: Arc<Semaphore>,
}

impl Default for Live {
    fn default() -> Self {
        Live { topics: Mutex::default(), viewers: Arc::new(Semaphore::new(VIEWERS_MAX)) }
    }
}

impl Live {
    fn topics(&self) -> std::sync::MutexGuard<'_, HashMap<Topic, Arc<Shared>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is shared by all who look at this.
    fn shared(&self, topic: &Topic) -> Option<(Arc<Shared>, watch::Receiver<State>, bool)> {
        let mut topics = self.topics();
        if let Some(shared) = topics.get(topic) {
            return Some((shared.clone(), shared.state.subscribe(), false));
        }
        if topics.len() >= TOPICS_MAX {
            return None;
        }
        let (state, receiver) = watch::channel(State::default());
        let shared = Arc::new(Shared { state, drawn: tokio::sync::Mutex::default() });
        topics.insert(topic.clone(), shared.clone());
        Some((shared, receiver, true))
    }
}

/// How the wall or the queue looks now: drawn once for all who open it before anything else is committed.
pub(super) async fn now(door: &Arc<Door>, topic: Topic) -> Result<String> {
    let Some((shared, receiver, new)) = door.live.shared(&topic) else {
        return Ok(topic.drawn(door).await?.0);
    };
    if new {
        tokio::spawn(attend(door.clone(), topic.clone(), shared.clone()));
    }
    draw(door, &topic, &shared, SETTLES).await?;
    let frame = receiver.borrow().frame.clone();
    Ok(frame.map(|frame| frame.html.clone()).unwrap_or_default())
}

/// Draws it where something was committed since, or a moment ago, or it was drawn so long ago; whether it stays so.
async fn draw(door: &Door, topic: &Topic, shared: &Shared, lasts: Duration) -> Result<bool> {
    let mut drawn = shared.drawn.lock().await;
    let (now, commits) = (door.clock.monotonic(), door.store.commits());
    let again = commits.is_none() || drawn.is_none_or(|drawn| drawn.commits != commits);
    let lasts = |drawn: Drawn| if drawn.again { SETTLES } else { lasts };
    if !again && drawn.is_some_and(|drawn| now.since(drawn.at) < lasts(drawn)) {
        return Ok(false);
    }
    let (html, over) = topic.drawn(door).await?;
    *drawn = Some(Drawn { at: now, commits, again });
    drop(drawn);
    let mut hasher = DefaultHasher::new();
    html.hash(&mut hasher);
    let id = format!("{:016x}", hasher.finish());
    shared.state.send_if_modified(|state| {
        let same = state.frame.as_ref().is_some_and(|frame| frame.id == id);
        if !same {
            state.frame = Some(Arc::new(Frame { id, html }));
        }
        !same
    });
    Ok(over)
}

/// Looks for all who look, as long as somebody does.
async fn attend(door: Arc<Door>, topic: Topic, shared: Arc<Shared>) {
    let path = topic.console(&door);
    let mut length = None;
    if let Some(path) = path.clone() {
        // Whoever looks says for themselves where they are: nobody's word is taken for all.
        let redactor = door.redactor.clone();
        let end =
            tokio::task::spawn_blocking(move || console::shown(&path, Begin::Tail, FEW_BYTES, &redactor));
        let end = end.await.ok().and_then(std::result::Result::ok).map_or((0, 1), |end| (end.next, end.line));
        shared.state.send_modify(|state| state.read = Some(end));
    }
    loop {
        let viewers = shared.state.receiver_count();
        if viewers == 0 {
            let mut topics = door.live.topics();
            if shared.state.receiver_count() == 0 {
                topics.remove(&topic);
                return;
            }
        }
        // What has ended has ended with its console: that is read behind it.
        let over = match draw(&door, &topic, &shared, DRAWN_EVERY).await {
            Ok(over) => over,
            Err(error) => {
                tracing::warn!(%error, "the store does not answer who looks at pages");
                false
            }
        };
        if let Some(path) = &path {
            while read_on(&door, path, &shared, &mut length).await {}
        }
        if over {
            shared.state.send_modify(|state| state.over = true);
            door.live.topics().remove(&topic);
            return;
        }
        let many = FOR_EACH.saturating_mul(u32::try_from(viewers).unwrap_or(u32::MAX));
        door.clock.sleep((LOOK_EVERY + many).min(LOOK_EVERY_MAX)).await;
    }
}

/// Reads what a console has had since; whether there may be more at once.
async fn read_on(door: &Door, path: &std::path::Path, shared: &Shared, length: &mut Option<u64>) -> bool {
    let Some((from, line)) = shared.state.borrow().read else { return false };
    let (of, before) = (path.to_owned(), *length);
    let redactor = door.redactor.clone();
    let read = tokio::task::spawn_blocking(move || {
        let now = transcript::received(&of)?;
        if Some(now) == before {
            return Ok(None);
        }
        console::shown(&of, Begin::Byte(from, line), PIECE_BYTES_MAX, &redactor)
            .map(|shown| Some((now, shown)))
    });
    let Ok(Ok(Some((now, shown)))) = read.await else { return false };
    let more = shown.next > from && shown.next < now;
    if !more {
        *length = Some(now);
    }
    let open: Arc<str> = shown.open.as_str().into();
    shared.state.send_if_modified(|state| {
        let news = shown.next > from || *state.open != *open;
        state.open = open;
        if shown.next > from {
            state.read = Some((shown.next, shown.line));
            state.pieces.push_back(Arc::new(piece(from, &shown)));
            let mut bytes: usize = state.pieces.iter().map(|piece| piece.event.len()).sum();
            while state.pieces.len() > 1 && (state.pieces.len() > PIECES_MAX || bytes > PIECES_BYTES_MAX) {
                bytes -= state.pieces.pop_front().map_or(0, |piece| piece.event.len());
            }
        }
        news
    });
    more
}

fn piece(from: u64, shown: &Shown) -> Piece {
    let data = json!({ "html": shown.html, "next": shown.next, "line": shown.line });
    let event = format!("event: console\ndata: {data}\n\n");
    Piece { from, next: shown.next, line: shown.line, event }
}

/// Where somebody is who looks: the frame that they have, and how far they have read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct At {
    frame: String,
    read: Option<(u64, u64)>,
}

impl At {
    /// As a page says it that was just made, or as a browser that comes again does.
    pub(super) fn of(headers: &HeaderMap, read: Option<(u64, u64)>) -> At {
        let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(At::parse);
        last.unwrap_or(At { frame: String::new(), read })
    }

    fn parse(id: &str) -> Option<At> {
        let mut parts = id.split('.');
        let frame = parts.next().filter(|frame| frame.len() <= 16)?.to_owned();
        let read = match (parts.next(), parts.next()) {
            (Some(byte), Some(line)) => Some((byte.parse().ok()?, line.parse().ok()?)),
            _ => None,
        };
        Some(At { frame, read })
    }

    fn id(&self) -> String {
        let read = self.read.map(|(byte, line)| format!(".{byte}.{line}")).unwrap_or_default();
        format!("id: {}{read}\n\n", self.frame)
    }
}

/// Sends whoever looks what is new.
pub(super) fn follow(
    door: &Arc<Door>,
    topic: Topic,
    at: At,
    parking: Option<Extension<Parking>>,
) -> Response {
    let full = || (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "10")]).into_response();
    let Ok(seat) = door.live.viewers.clone().try_acquire_owned() else { return full() };
    let parked = match parking.map(|Extension(parking)| parking.park()) {
        Some(None) => return full(),
        Some(parked) => parked,
        None => None,
    };
    let Some((shared, receiver, new)) = door.live.shared(&topic) else { return full() };
    if new {
        tokio::spawn(attend(door.clone(), topic.clone(), shared));
    }
    let closes: Closes = match &parked {
        Some(parked) => Box::pin(parked.closes()),
        None => Box::pin(std::future::pending()),
    };
    let until = door.clock.monotonic() + LASTS;
    let viewer = Viewer {
        door: door.clone(),
        topic,
        at,
        open: "".into(),
        receiver,
        closes,
        until,
        begun: false,
        over: false,
        _seat: seat,
        _parked: parked,
    };
    let head =
        [(header::CONTENT_TYPE, "text/event-stream; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    let body = Body::from_stream(stream::unfold(viewer, Viewer::next));
    let mut response = (Extension(Lasting), head, body).into_response();
    secured(&mut response);
    response
}

type Closes = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Somebody who looks.
struct Viewer {
    door: Arc<Door>,
    topic: Topic,
    at: At,
    open: Arc<str>,
    receiver: watch::Receiver<State>,
    closes: Closes,
    until: Monotonic,
    begun: bool,
    over: bool,
    _seat: OwnedSemaphorePermit,
    _parked: Option<Parked>,
}

impl Viewer {
    async fn next(mut self) -> Option<(std::result::Result<Bytes, Infallible>, Viewer)> {
        let mut out = String::new();
        if !std::mem::replace(&mut self.begun, true) {
            out.push_str("retry: 2000\n\n");
        }
        while out.is_empty() {
            if self.over {
                return None;
            }
            self.look(&mut out).await;
            if out.is_empty() && !self.over {
                self.wait(&mut out).await;
            }
        }
        Some((Ok(out.into()), self))
    }

    /// What is new to them.
    async fn look(&mut self, out: &mut String) {
        let state = self.receiver.borrow_and_update().clone();
        if let Some(frame) = state.frame.filter(|frame| frame.id != self.at.frame) {
            out.push_str("event: live\n");
            for line in frame.html.lines() {
                let _ = writeln!(out, "data: {line}");
            }
            out.push('\n');
            self.at.frame.clone_from(&frame.id);
        }
        let caught_up = match (self.at.read, state.read) {
            (Some((at, _)), Some((end, _))) if at < end => self.read_on(&state.pieces, end, out).await,
            _ => true,
        };
        if caught_up && *self.open != *state.open {
            let _ = write!(out, "event: open-line\ndata: {}\n\n", state.open);
            self.open = state.open;
        }
        if state.over && caught_up {
            out.push_str("event: over\ndata: 1\n\n");
            self.over = true;
        }
        if !out.is_empty() {
            out.push_str(&self.at.id());
        }
    }

    /// What others were given already, or what they were given so long ago that it is read again; whether that is all.
    async fn read_on(&mut self, pieces: &VecDeque<Arc<Piece>>, end: u64, out: &mut String) -> bool {
        let Some((at, line)) = self.at.read else { return true };
        let Some(first) = pieces.iter().position(|piece| piece.from == at) else {
            let until = pieces.iter().map(|piece| piece.from).find(|from| *from > at).unwrap_or(end);
            return self.read_alone((at, line), until, out).await;
        };
        for piece in pieces.iter().skip(first) {
            out.push_str(&piece.event);
            self.at.read = Some((piece.next, piece.line));
        }
        true
    }

    async fn read_alone(&mut self, (at, line): (u64, u64), until: u64, out: &mut String) -> bool {
        let Some(path) = self.topic.console(&self.door) else { return true };
        let redactor = self.door.redactor.clone();
        let read =
            tokio::task::spawn_blocking(move || console::shown_until(&path, (at, line), until, &redactor));
        match read.await {
            Ok(Ok(shown)) if shown.next > at => {
                out.push_str(&piece(at, &shown).event);
                self.at.read = Some((shown.next, shown.line));
                // The rest comes with the next look, which is at once.
                self.receiver.mark_changed();
                false
            }
            // It is not kept any more.
            _ => true,
        }
    }

    /// Waits until there is something new, or it is time to say that the stream goes on.
    async fn wait(&mut self, out: &mut String) {
        tokio::select! {
            changed = self.receiver.changed() => self.over = changed.is_err(),
            () = &mut self.closes => self.over = true,
            () = self.door.clock.sleep(PING_EVERY) => out.push_str(": it goes on\n\n"),
        }
        self.over |= self.door.clock.monotonic() >= self.until;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_who_comes_again_says_what_they_had() {
        let at = At { frame: "00ff".into(), read: Some((120, 7)) };
        assert_eq!(at.id(), "id: 00ff.120.7\n\n");
        assert_eq!(At::parse("00ff.120.7"), Some(at));
        assert_eq!(At::parse("00ff"), Some(At { frame: "00ff".into(), read: None }));
        for bad in ["00ff.x.7", "00ff.1.-7", "00112233445566778899.1.1"] {
            assert_eq!(At::parse(bad), None, "{bad}");
        }
    }
}
