//! A run as it goes, as server-sent events: what happened to it, how it is, and its end. A client that comes again with
//! the id of the last event it had goes on behind it. Ends when the run has; how many follow at once is bounded.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::super::Door;
use super::super::machine::Problem;
use super::super::server::{Lasting, Parked, Parking};
use super::who::Caller;
use super::{RunQuery, find, unreadable};
use crate::clock::Monotonic;
use crate::run::RunState;
use crate::store::StoreError;

/// Most events of one look.
const PAGE: u32 = 200;
/// How often a look is worth it, where something was committed.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often a client hears that the stream goes on.
pub(super) const PING_EVERY: Duration = Duration::from_secs(15);
/// What it hears then.
pub(super) const PING: &str = ": it goes on\n\n";
/// How long a stream lasts: less than its connection may.
pub(super) const LASTS: Duration = Duration::from_secs(9 * 60);
/// After how long a client comes again that lost the stream.
pub(super) const AGAIN: &str = "retry: 2000\n\n";

/// Follows a run.
pub(super) async fn events(
    State(door): State<Arc<Door>>,
    caller: Option<Caller>,
    Path(number): Path<String>,
    Query(query): Query<RunQuery>,
    parking: Option<Extension<Parking>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let number = find(&door, &number, &query, caller.is_some()).await?.run.number;
    let place = place(&door, parking)?;
    let after = last_id(&headers).and_then(|id| id.parse().ok()).unwrap_or(0);
    let now = door.clock.monotonic();
    let (until, pinged_at) = (now + LASTS, now);
    let story = Story {
        door,
        number,
        after,
        told: None,
        place,
        looked_at: None,
        has_more: false,
        over: false,
        until,
        pinged_at,
    };
    Ok(streamed(Body::from_stream(stream::unfold(story, Story::next))))
}

/// The id that a client had last.
pub(super) fn last_id(headers: &HeaderMap) -> Option<&str> {
    headers.get("last-event-id")?.to_str().ok()
}

/// A place among those that follow something.
pub(super) struct Place {
    _place: OwnedSemaphorePermit,
    parked: Option<Parked>,
}

impl Place {
    /// Whether the door closes.
    pub(super) fn is_closing(&self) -> bool {
        self.parked.as_ref().is_some_and(Parked::is_closing)
    }
}

/// A place among those that follow something, while there is one.
pub(super) fn place(door: &Door, parking: Option<Extension<Parking>>) -> Result<Place, Problem> {
    let full = || {
        let detail = "too many follow something already; ask again, or with wait=60s";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "there is no place", detail).again(10)
    };
    let place = door.waits.follow().ok_or_else(full)?;
    let parked = match parking {
        Some(Extension(parking)) => Some(parking.park().ok_or_else(full)?),
        None => None,
    };
    Ok(Place { _place: place, parked })
}

/// A body that goes on as an answer.
pub(super) fn streamed(body: Body) -> Response {
    let head = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (Extension(Lasting), head, body).into_response()
}

/// One event. `data` is one line.
pub(super) fn event(out: &mut String, name: &str, id: Option<&str>, data: &str) {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    let _ = write!(out, "event: {name}\n{id}data: {data}\n\n");
}

/// What one client follows.
struct Story {
    door: Arc<Door>,
    number: i64,
    /// The last event that it had.
    after: i64,
    /// The run as it was told last.
    told: Option<Value>,
    place: Place,
    /// How many commits there were at the last look, where the store counts them.
    looked_at: Option<Option<u64>>,
    /// Whether the last look did not show all that is new.
    has_more: bool,
    over: bool,
    until: Monotonic,
    pinged_at: Monotonic,
}

type Piece = Result<Bytes, Infallible>;

impl Story {
    async fn next(mut self) -> Option<(Piece, Story)> {
        loop {
            if self.over {
                return None;
            }
            let mut out = String::new();
            match self.looked_at {
                None => out.push_str(AGAIN),
                Some(_) if self.has_more => {}
                Some(commits) => out.push_str(self.wait(commits).await),
            }
            self.looked_at = Some(self.door.store.commits());
            if !self.over
                && let Err(error) = Box::pin(self.look(&mut out)).await
            {
                drop(unreadable(error));
                self.over = true;
            }
            if !out.is_empty() {
                self.pinged_at = self.door.clock.monotonic();
                return Some((Ok(out.into()), self));
            }
        }
    }

    /// What is new. The run is read first: all that led to how it is then stands in the events that are read behind it.
    async fn look(&mut self, out: &mut String) -> Result<(), StoreError> {
        let Some(view) = self.door.store.run_view(self.number).await? else {
            self.over = true;
            return Ok(());
        };
        let events = self.door.store.run_steps(self.number, self.after, PAGE).await?;
        for found in &events {
            let data = json!({
                "at": found.at.rfc3339(), "attempt": found.attempt, "board": found.board, "stage": found.stage,
            });
            event(out, &found.kind, Some(&found.seq.to_string()), &data.to_string());
            self.after = found.seq;
        }
        self.has_more = events.len() == PAGE as usize;
        if self.has_more {
            return Ok(());
        }
        let run = self.door.composer.run_document(&view);
        if matches!(view.run.state, RunState::Finished { .. }) {
            event(out, "end", None, &run.to_string());
            self.over = true;
            return Ok(());
        }
        // When it may be its turn is another guess at every look, and no news.
        let mut news = run.clone();
        news["queue"]["eta"].take();
        if self.told.as_ref() != Some(&news) {
            event(out, "run", None, &run.to_string());
            self.told = Some(news);
        }
        Ok(())
    }

    /// Waits until something was committed; gives a comment where it is time to say that the stream goes on. Whoever
    /// follows comes again where it has lasted long enough, or the door closes.
    async fn wait(&mut self, before: Option<u64>) -> &'static str {
        loop {
            self.door.clock.sleep(LOOK_EVERY).await;
            let now = self.door.clock.monotonic();
            if self.place.is_closing() || now >= self.until {
                self.over = true;
                return "";
            }
            if now.since(self.pinged_at) >= PING_EVERY {
                return PING;
            }
            let commits = self.door.store.commits();
            if commits.is_none() || commits != before {
                return "";
            }
        }
    }
}
