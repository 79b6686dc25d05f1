//! The door: every HTTP request comes in here. A delivery is verified over its raw bytes, decoded, turned into an
//! intent for the store, committed, and only then acknowledged; no work happens before the commit, no effect without
//! it. Nothing is decided here.

mod api;
mod artifacts;
mod builds;
pub mod console;
pub mod control;
mod ended;
pub mod feishu;
mod health;
mod jenkins;
mod logs;
mod machine;
mod metrics;
mod pages;
mod relinks;
pub mod server;
pub mod sign_in;
pub mod slack;
pub mod standby;
pub mod tftp;
pub mod throttle;

pub use artifacts::Downloads;
pub use ended::{Ended, FOLLOWING_MAX, OTHERS_WAITING_MAX, WAITING_MAX, Waits};
pub use logs::transcript_dir;
pub use metrics::Meter;
pub(crate) use pages::Visitor;
pub use relinks::Relinks;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use tracing::Instrument;

use self::machine::Problem;
use self::throttle::{Refused, Source, Throttle};
use crate::artifact::Artifacts;
use crate::chat::Delivery;
use crate::chat::slack::client::SlackClient;
use crate::chat::slack::signature::Verifier;
use crate::chat::socket_line::SocketLine;
use crate::clock::Clock;
use crate::command::handle::Handler;
use crate::doorbell::{Bell, Doorbell};
use crate::message::Note;
use crate::message::compose::Composer;
use crate::message::links::Links;
use crate::message::permalinks::Permalinks;
use crate::message::relay::Lines;
use crate::outcome::redact::Redactor;
use crate::store::{Committed, Effect, Store};
use crate::web::Live;
use crate::worker::crew::Crew;
use crate::worker::local::Local;
use crate::worker::pieces::Pieces;
use crate::worker::runner::Lab;
use crate::worker::seats::Seats;

/// Largest body of a delivery. Slack's are a few KiB; a card that comes back with a click is the largest.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// Longest time from a delivery's arrival to its answer. Platforms give 3 s. An event that takes longer is answered 503:
/// the platform tries again, and its repeat finds the commit if there was one. A command is never tried again: whoever
/// typed it is told that it may have been taken.
pub const ACK_WITHIN: Duration = Duration::from_millis(2_500);

/// The fact of an answer that tells what was asked for.
const MARK: &str = "asked_mark";

/// What the door needs.
pub struct Door {
    /// Verifies Slack's requests; `None` while Slack is not connected, or heard over a socket only.
    pub slack: Option<Verifier>,
    /// Shows forms in Slack, where it is connected.
    pub slack_views: Option<Arc<SlackClient>>,
    /// Who opened their Home of late.
    pub homes: slack::Homes,
    /// Proves Feishu's requests; `None` while Feishu is not connected.
    pub feishu: Option<feishu::FeishuDoor>,
    /// Proves requests of Jenkins; `None` while it is not connected.
    pub jenkins: Option<crate::chat::jenkins::signature::Verifier>,
    /// Who may use the API.
    pub api_tokens: crate::chat::token::Tokens,
    /// Keeps known who is one person on two platforms.
    pub relinks: Relinks,
    /// Turns deliveries into effects.
    pub handler: Handler,
    /// Where they are committed.
    pub store: Arc<dyn Store>,
    /// Renders answers.
    pub composer: Arc<Composer>,
    /// Where cards stand that answers name.
    pub permalinks: Permalinks,
    /// Checks links.
    pub links: Links,
    /// How the lines to the platforms are.
    pub lines: Lines,
    /// How the lines are that this server dials.
    pub sockets: Vec<SocketLine>,
    /// Wakes the loops behind.
    pub doorbell: Doorbell,
    /// Time.
    pub clock: Clock,
    /// Takes secrets out of console logs.
    pub redactor: Arc<Redactor>,
    /// Folder of the transcripts.
    pub transcripts: PathBuf,
    /// What boards may fetch.
    pub artifacts: Artifacts,
    /// How many of them do.
    pub downloads: Downloads,
    /// Who waits for a run to end.
    pub ended: Ended,
    /// Who waits for something else.
    pub waits: Waits,
    /// How fast whoever asks may ask.
    pub throttle: Throttle,
    /// Who sits at the consoles of boards.
    pub seats: Arc<Seats>,
    /// The workers of remote sites.
    pub crew: Crew,
    /// What they are part of.
    pub lab: Arc<Lab>,
    /// Where what they report goes.
    pub desk: Local,
    /// Where their files go.
    pub pieces: Pieces,
    /// What is counted for metrics.
    pub meter: Meter,
    /// What is looked at on pages.
    pub live: Live,
    /// The platforms that people sign in to the pages with.
    pub sign_ins: sign_in::SignIns,
}

/// Why a delivery is refused. Only the status goes out; the detail goes to the log.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Not signed, wrongly signed, or too old or too new.
    #[error("not accepted: {0}")]
    Unsigned(String),
    /// Signed, but not what the platform sends.
    #[error("not understood: {0}")]
    Malformed(String),
    /// This sender is not connected.
    #[error("not connected: {0}")]
    NotConnected(&'static str),
    /// The store did not commit in time.
    #[error("not committed: {0}")]
    Busy(String),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, title, said) = match &self {
            Refusal::Unsigned(_) => (
                StatusCode::UNAUTHORIZED,
                "this is not proved",
                "the signature is missing, wrong or out of date",
            ),
            Refusal::Malformed(_) => (
                StatusCode::BAD_REQUEST,
                "this request is not understood",
                "it is signed, and not what its sender sends",
            ),
            Refusal::NotConnected(_) => (
                StatusCode::NOT_FOUND,
                "this sender is not connected",
                "the server has no secret of this sender's",
            ),
            Refusal::Busy(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "not now, try again", "the store did not take it in time")
            }
        };
        // Said in the log by whoever knows how often this sender is refused.
        (Extension(Refused(self.to_string())), Problem::new(status, title, said)).into_response()
    }
}

/// Commits a delivery: whoever sent it is answered with what this gives, and only then.
async fn take(door: &Door, delivery: Delivery) -> Result<Committed, Refusal> {
    take_marked(door, delivery, None).await
}

/// The same of a request with a mark, which stands in its answer's facts ([`MARK`]): by that a repeat is told from
/// something else under the same key.
async fn take_marked(door: &Door, delivery: Delivery, mark: Option<&str>) -> Result<Committed, Refusal> {
    let (platform, began_at) = (delivery.actor.platform, door.clock.monotonic());
    let taken = door.clock.timeout(ACK_WITHIN, Box::pin(commit(door, delivery, mark))).await;
    let taken = taken.unwrap_or_else(|_| Err(slow()));
    let took = door.clock.monotonic().since(began_at);
    door.meter.delivered(platform, taken.as_ref().map(|committed| committed.fresh).ok(), took);
    taken
}

/// The same of what nobody may be left with who does not hear of it: it is committed to its end, also when whoever asked
/// has gone or was told that it takes too long, and then what `then` makes of it is dropped.
async fn take_for<T: Send + 'static>(
    door: &Arc<Door>,
    delivery: Delivery,
    mark: String,
    then: impl FnOnce(&Committed) -> T + Send + 'static,
) -> Result<(Committed, T), Refusal> {
    let (platform, began_at) = (delivery.actor.platform, door.clock.monotonic());
    let (heard, work) = (door.clone(), door.clone());
    let work = tokio::spawn(async move {
        let committed = commit(&work, delivery, Some(&mark)).await?;
        let made = then(&committed);
        Ok((committed, made))
    });
    let taken = match heard.clock.timeout(ACK_WITHIN, work).await {
        Ok(taken) => taken.unwrap_or_else(|error| Err(Refusal::Busy(error.to_string()))),
        Err(_) => Err(slow()),
    };
    let took = door.clock.monotonic().since(began_at);
    door.meter.delivered(platform, taken.as_ref().map(|(committed, _)| committed.fresh).ok(), took);
    taken
}

fn slow() -> Refusal {
    Refusal::Busy("the store is slow".into())
}

async fn commit(door: &Door, mut delivery: Delivery, mark: Option<&str>) -> Result<Committed, Refusal> {
    door.composer.names().meet(&mut delivery.actor);
    let span = tracing::info_span!("delivery", delivery.key = delivery.key, actor = delivery.actor.id);
    let work = async {
        let intake = door.handler.handle(delivery.clone()).await;
        let committed = match intake {
            Ok(mut intake) => {
                if let Some(mark) = mark {
                    let put = |note: &mut Note| drop(note.facts.insert(MARK.into(), mark.into()));
                    intake.answers().for_each(put);
                }
                let bells = bells(&intake.effect);
                let committed = match intake.effect {
                    Effect::Link { .. } => {
                        door.relinks.commit(&door.store, &door.handler.inventory, intake).await
                    }
                    _ => door.store.commit(intake).await,
                };
                committed.map(|committed| (committed, bells))
            }
            Err(error) => Err(error),
        };
        match committed {
            // The platform would try again, in vain and unseen: whoever asked is told that it cannot be done.
            Err(error) if error.is_lasting() => {
                tracing::error!(%error, "a delivery cannot be handled");
                Ok((door.store.commit(door.handler.broken(delivery)).await?, &[][..]))
            }
            committed => committed,
        }
    };
    let committed = Box::pin(work.instrument(span.clone())).await;
    let (committed, bells): (Committed, _) = committed.map_err(|error| Refusal::Busy(error.to_string()))?;
    span.in_scope(|| {
        tracing::info!(fresh = committed.fresh, answer = committed.answer.template, "committed")
    });
    bells.iter().chain(&[Bell::Relay]).for_each(|bell| door.doorbell.ring(*bell));
    // Who was rung runs next on this very thread: it asks the store before the answer here is rendered, not after.
    tokio::task::yield_now().await;
    Ok(committed)
}

/// Whose work an effect makes, beside a message: a loop woken for nothing delays what it is woken for next.
fn bells(effect: &Effect) -> &'static [Bell] {
    match effect {
        Effect::None | Effect::Schedule { .. } | Effect::OwnSchedule { .. } => &[],
        Effect::Start(_)
        | Effect::Build { .. }
        | Effect::Retry { .. }
        | Effect::Quarantine { .. }
        | Effect::Return { .. }
        | Effect::Drain(_)
        | Effect::Undrain { .. } => &[Bell::Scheduler],
        // A run that waits leaves the queue, one on a board is told by its runner.
        Effect::Cancel { .. } | Effect::CancelBatch { .. } => &[Bell::Scheduler, Bell::Pool],
        Effect::Reserve { .. } | Effect::Unreserve { .. } => &[Bell::Scheduler],
        Effect::MakeToken(_) | Effect::RevokeToken { .. } | Effect::Resend { .. } => &[],
        Effect::Keep { .. } | Effect::Nudge { .. } | Effect::Offer { .. } | Effect::Log { .. } => &[],
        Effect::Watch { .. } | Effect::Unwatch { .. } | Effect::Link { .. } => &[],
        Effect::Notify(_) => &[Bell::Keeper],
        Effect::Release { .. } | Effect::Extend { .. } | Effect::Accept { .. } => {
            &[Bell::Scheduler, Bell::Keeper]
        }
        Effect::Campaign(_) => &[Bell::Conductor, Bell::Scheduler, Bell::Pool],
        Effect::PowerCycle { .. } => &[Bell::Pool],
        Effect::Errand { .. } => &[Bell::Errands],
        Effect::Reload { .. } => &[Bell::Reloader],
    }
}

/// The server's routes.
pub fn router(door: Arc<Door>) -> Router {
    Router::new()
        .route("/webhook", post(any_sender))
        .route("/webhooks/slack", post(slack::receive))
        .route("/webhooks/feishu", post(feishu::receive))
        .route("/webhooks/jenkins", post(jenkins::receive))
        .route("/runs/{run}/log/{attempt}", get(logs::log))
        .route("/artifacts/{pass}/{*name}", get(artifacts::artifact))
        .merge(api::routes::router())
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::metrics))
        .merge(crate::web::routes())
        .fallback(nothing_here)
        .layer(from_fn_with_state(door.clone(), metrics::count_refused))
        .layer(from_fn_with_state(door.clone(), throttle::throttle))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(door)
}

/// What is asked for at an address that is nobody's.
async fn nothing_here(headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("text/html")) {
        let page = "<!doctype html><title>boardhand</title><p>There is nothing at this address. <a href=\"/\">To the boards</a>";
        return (StatusCode::NOT_FOUND, Html(page)).into_response();
    }
    let detail = "/openapi.json lists what there is for programs, and / leads to the pages for people";
    Problem::new(StatusCode::NOT_FOUND, "there is nothing at this address", detail).into_response()
}

/// The shared path: the sender is told apart by its signature header, never by its body. Exactly one may be there.
async fn any_sender(
    state: axum::extract::State<Arc<Door>>,
    source: Option<Extension<Source>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    const SENDERS: [&str; 4] =
        ["x-slack-signature", "x-lark-signature", "webhook-signature", "x-hub-signature-256"];
    let present: Vec<&str> = SENDERS.into_iter().filter(|name| headers.contains_key(*name)).collect();
    match present.as_slice() {
        ["x-slack-signature"] => Box::pin(slack::receive(state, headers, body)).await,
        ["x-lark-signature"] => Box::pin(feishu::receive(state, headers, body)).await,
        ["webhook-signature" | "x-hub-signature-256"] => {
            Box::pin(jenkins::receive(state, source, headers, body)).await
        }
        [] if slack::is_unsigned_probe(&body) => Box::pin(slack::receive(state, headers, body)).await,
        [] if state.jenkins.is_some() && headers.contains_key(header::AUTHORIZATION) => {
            Box::pin(jenkins::receive(state, source, headers, body)).await
        }
        // Feishu signs neither its challenge nor every click.
        [] if state.feishu.is_some() && feishu::is_its_form(&body) => {
            Box::pin(feishu::receive(state, headers, body)).await
        }
        [] => Err(Refusal::Unsigned("no signature header".into())),
        [_] => Err(Refusal::NotConnected("this sender")),
        _ => Err(Refusal::Unsigned("several signature headers".into())),
    }
}
