//! A run's console as it goes, as server-sent events: each piece of new lines with an id that a client comes again with, over
//! every attempt, and the run's end. A line is told once it is over, never half: half of a secret is nothing that could be
//! recognised. What is left open when an attempt ends is told then.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;

use super::super::machine::Problem;
use super::super::server::Parking;
use super::super::{Door, transcript_dir};
use super::console::{piece, shown};
use super::events::{AGAIN, LASTS, LOOK_EVERY, PING, PING_EVERY, Place, event, last_id, place, streamed};
use super::unreadable;
use crate::clock::Monotonic;
use crate::console::transcript;
use crate::run::RunState;
use crate::store::{RunView, StoreError};

/// Follows the console of a run: from a byte of an attempt on, or from where a client was before.
pub(super) fn tail(
    door: Arc<Door>,
    view: &RunView,
    (attempt, from): (Option<u32>, u64),
    parking: Option<Extension<Parking>>,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let place = place(&door, parking)?;
    let (at, from) = last_id(headers).and_then(read_id).unwrap_or((attempt.unwrap_or(1), from));
    let now = door.clock.monotonic();
    let tail = Tail {
        number: view.run.number,
        only: attempt,
        at,
        from,
        place,
        view: None,
        commits: None,
        length: None,
        told_open: false,
        begun: false,
        over: false,
        until: now + LASTS,
        pinged_at: now,
        door,
    };
    Ok(streamed(Body::from_stream(stream::unfold(tail, Tail::next))))
}

/// `2:1234`: an attempt, and the received byte to go on from.
fn read_id(id: &str) -> Option<(u32, u64)> {
    let (attempt, from) = id.split_once(':')?;
    Some((attempt.parse().ok()?, from.parse().ok()?))
}

/// What one client follows.
struct Tail {
    door: Arc<Door>,
    number: i64,
    /// The one attempt that was asked for.
    only: Option<u32>,
    /// The attempt that is read.
    at: u32,
    /// From which received byte on.
    from: u64,
    place: Place,
    /// The run at the last look, and how many commits there were then.
    view: Option<RunView>,
    commits: Option<u64>,
    /// How long the record was at the last look.
    length: Option<u64>,
    /// Whether the line that was left open when the attempt ended was told.
    told_open: bool,
    begun: bool,
    over: bool,
    until: Monotonic,
    pinged_at: Monotonic,
}

type Sent = Result<Bytes, std::convert::Infallible>;

impl Tail {
    async fn next(mut self) -> Option<(Sent, Tail)> {
        loop {
            if self.over {
                return None;
            }
            let mut out = String::new();
            if !std::mem::replace(&mut self.begun, true) {
                out.push_str(AGAIN);
            } else if let Err(error) = Box::pin(self.look(&mut out)).await {
                drop(unreadable(error));
                self.over = true;
            }
            if out.is_empty() && !self.over {
                self.wait(&mut out).await;
            }
            if !out.is_empty() {
                self.pinged_at = self.door.clock.monotonic();
                return Some((Ok(out.into()), self));
            }
        }
    }

    /// What is new. The run is read first: what its attempts wrote before they ended is in their records then.
    async fn look(&mut self, out: &mut String) -> Result<(), StoreError> {
        let commits = self.door.store.commits();
        if self.view.is_none() || commits.is_none() || commits != self.commits {
            self.view = self.door.store.run_view(self.number).await?;
            self.commits = commits;
        }
        let Some(view) = &self.view else {
            self.over = true;
            return Ok(());
        };
        let attempt = view.attempts.iter().find(|attempt| attempt.number == self.at);
        let (begun, ended) = (attempt.is_some(), attempt.is_some_and(|attempt| attempt.ended_at.is_some()));
        let another = view.attempts.iter().any(|attempt| attempt.number > self.at);
        let finished = matches!(view.run.state, RunState::Finished { .. });
        if begun && self.more(ended, out).await {
            return Ok(());
        }
        if another && self.only.is_none() && (ended || !begun) {
            (self.at, self.from, self.length, self.told_open) = (self.at + 1, 0, None, false);
            return Ok(());
        }
        if finished || (self.only.is_some() && ended) {
            self.end(out);
        }
        Ok(())
    }

    /// Tells of the lines that came since the last look, and of what an attempt that has ended left open; whether there was
    /// any of it.
    async fn more(&mut self, ended: bool, out: &mut String) -> bool {
        let path = transcript_dir(&self.door.transcripts, self.number, self.at).join("console");
        let length = tokio::task::spawn_blocking(move || transcript::received(&path)).await;
        let length = length.ok().and_then(Result::ok);
        if length.is_none() || (length == self.length && (!ended || self.told_open)) {
            return false;
        }
        let Some(mut lines) = piece(&self.door, self.number, self.at, self.from).await else {
            return false;
        };
        if lines.piece.next == self.from {
            // Nothing beyond what is open: the record is read again once it is longer.
            self.length = length;
            self.told_open = ended;
            if !ended || lines.open.is_empty() {
                return false;
            }
        } else {
            lines.open.clear();
        }
        self.from = lines.piece.next;
        let id = format!("{}:{}", self.at, self.from);
        event(out, "console", Some(&id), &shown(self.at, &lines).to_string());
        true
    }

    fn end(&mut self, out: &mut String) {
        self.over = true;
        if let Some(view) = &self.view {
            event(out, "end", None, &self.door.composer.run_document(view).to_string());
        }
    }

    /// Waits for the next look; tells that the stream goes on where it is time. Whoever follows comes again where it has
    /// lasted long enough, or the door closes.
    async fn wait(&mut self, out: &mut String) {
        self.door.clock.sleep(LOOK_EVERY).await;
        let now = self.door.clock.monotonic();
        if self.place.is_closing() || now >= self.until {
            self.over = true;
        } else if now.since(self.pinged_at) >= PING_EVERY {
            out.push_str(PING);
        }
    }
}
