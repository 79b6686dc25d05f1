//! The herald: the loop that tells programs outside what happened. It makes calls of the events that were written with
//! each change, owes them in the transaction that marks how far it has looked, and makes those that are due: at least
//! once each, with the same id however often, until they are taken or given up. What nobody takes for a day is a letter.
//!
//! Everybody who is told has a lane: within one, calls go one after the other; a slow one holds up no other. Where a
//! webhook goes and what it is signed with is read from the lab file as it is then; a callback's host must be listed then
//! still.

mod forge;
mod places;
mod status;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::task::{self, JoinSet};

use self::places::Places;
use super::runner::Lab;
use super::steps::{Agent, LOOK_ANYWAY, LOOK_EVERY, Step};
use crate::board::hooks::{Hooks, Webhook};
use crate::board::hosts::Address;
use crate::chat::jenkins::signature::sign_standard;
use crate::clock::Timestamp;
use crate::doorbell::Bell;
use crate::id::MessageId;
use crate::net::outward::{Outward, OutwardRequest};
use crate::net::{HttpReply, Method, NetError};
use crate::store::{CALLS_DUE_MAX, Call, CallEnd, Happened, LeaseView, NewCall, Owing, RunView, StoreError};

/// Most events of one look.
const EVENTS_MAX: u32 = 500;
/// After so many events without a call, how far it has looked is marked all the same.
const MARK_EVERY: i64 = 200;
/// Longest wait for an answer.
const WITHIN: Duration = Duration::from_secs(10);
/// Whoever takes so long keeps others waiting.
const SLOW: Duration = Duration::from_secs(5);
/// The pauses between tries; after the last the call is given up. About a day in all.
pub const PAUSES: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(2 * 60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(60 * 60),
    Duration::from_secs(3 * 60 * 60),
    Duration::from_secs(6 * 60 * 60),
    Duration::from_secs(12 * 60 * 60),
];
/// A pause is up to so much of itself longer, so that what failed together is not tried together.
const JITTER: u32 = 10;
/// What stands before the name of a forge, where a call is to one: no webhook has such a name.
const STATUS: &str = "status/";
/// Whoever answers so wants to be told no more.
const GONE: u16 = 410;

/// Tells programs outside what happened.
pub struct Herald {
    shared: Arc<Shared>,
    /// How far it has looked, and up to where that is marked.
    looked: Option<Looked>,
    /// Each gives whether it was slow.
    lanes: JoinSet<bool>,
    lane_of: HashMap<task::Id, String>,
    places: Places,
}

#[derive(Clone, Copy)]
struct Looked {
    to: i64,
    marked: i64,
}

struct Shared {
    lab: Arc<Lab>,
    outward: Outward,
}

/// Where a call goes.
struct Target {
    url: SecretString,
    secrets: Vec<SecretString>,
    private: bool,
}

impl Herald {
    /// A herald of this lab.
    pub fn new(lab: Arc<Lab>) -> Self {
        let shared = Arc::new(Shared { lab, outward: Outward::default() });
        Herald {
            shared,
            looked: None,
            lanes: JoinSet::new(),
            lane_of: HashMap::new(),
            places: Places::default(),
        }
    }

    /// Owes calls for what happened since the last look; gives whether there may be more.
    async fn gather(&mut self) -> Result<bool, StoreError> {
        let store = &self.shared.lab.store;
        let Looked { to: from, marked } = match self.looked {
            Some(looked) => looked,
            None => {
                let marked = store.call_read_to().await?;
                Looked { to: marked, marked }
            }
        };
        let events = store.call_events(from, EVENTS_MAX).await?;
        let to = events.last().map_or(from, |event| event.seq);
        let owing = self.shared.owing(&events).await?;
        let marks = !owing.is_empty() || to - marked >= MARK_EVERY;
        if marks && !store.call_owe(marked, to, &owing, self.shared.lab.clock.now()).await? {
            // Somebody else has looked on; from there, then.
            self.looked = None;
            return Ok(true);
        }
        self.looked = Some(Looked { to, marked: if marks { to } else { marked } });
        Ok(!owing.is_empty() || events.len() >= EVENTS_MAX as usize)
    }

    /// Makes the calls that are due, in lanes of their own.
    async fn send(&mut self) -> Result<(), StoreError> {
        while let Some(ended) = self.lanes.try_join_next_with_id() {
            let (id, was_slow) = match &ended {
                Ok((id, was_slow)) => (*id, *was_slow),
                Err(error) => (error.id(), true),
            };
            if let Some(lane) = self.lane_of.remove(&id) {
                self.places.give_back(lane, was_slow);
            }
        }
        let (store, now) = (&self.shared.lab.store, self.shared.lab.clock.now());
        let due = store.call_due(now, CALLS_DUE_MAX, &self.places.none_for()).await?;
        let mut lanes: Vec<(String, Vec<Call>)> = Vec::new();
        for call in due {
            match lanes.iter_mut().find(|(known, _)| *known == call.lane) {
                Some((_, calls)) => calls.push(call),
                None => lanes.push((call.lane.clone(), vec![call])),
            }
        }
        for (lane, calls) in lanes {
            if !self.places.take(&lane) {
                continue;
            }
            let shared = self.shared.clone();
            let task = self.lanes.spawn(async move { shared.lane(calls).await });
            self.lane_of.insert(task.id(), lane);
        }
        Ok(())
    }
}

/// What was found; nothing where it can never be read: one such row keeps nobody from hearing of all others.
fn readable<T>(found: Result<Option<T>, StoreError>) -> Result<Option<T>, StoreError> {
    match found {
        Err(error) if error.is_lasting() => {
            tracing::error!(%error, "programs outside are not told of this");
            Ok(None)
        }
        found => found,
    }
}

impl Shared {
    /// What follows from what happened.
    async fn owing(&self, events: &[Happened]) -> Result<Owing, StoreError> {
        let lab = self.lab.inventory.now();
        let mut views: HashMap<i64, Option<RunView>> = HashMap::new();
        let mut called_back = HashSet::new();
        let mut owing = Owing::default();
        for event in events {
            let Some(kind) = kind_of(event) else { continue };
            if kind == "build.registered" && status::is_told(&lab.hooks, event.facts["family"].as_str()) {
                self.owe_statuses_before(event, events, &lab.hooks, &mut owing).await?;
            }
            let ends = event.run.filter(|_| kind == "run.finished");
            let callback =
                event.callback.as_ref().filter(|_| ends.is_some_and(|run| called_back.insert(run)));
            // Only one who asked afterwards is told of that.
            let is_again = event.is_only_called_back();
            let is_status = !lab.hooks.statuses.is_empty()
                && matches!(kind, "run.accepted" | "run.finished")
                && !is_again;
            if (lab.hooks.webhooks.is_empty() || is_again) && callback.is_none() && !is_status {
                continue;
            }
            if let Some(run) = event.run
                && !views.contains_key(&run)
            {
                views.insert(run, readable(self.lab.store.run_view(run).await)?);
            }
            let view = event.run.and_then(|run| views.get(&run)?.as_ref());
            // The lab's own looking after its boards is told as what became of them.
            if view.is_some_and(|view| !view.run.spec.kind.is_test()) && kind.starts_with("run.") {
                continue;
            }
            let board = event.board.as_ref().and_then(|board| lab.boards.get(board));
            let family = view.map(|view| view.run.spec.family.as_str());
            let family = family.or(board.map(|board| board.family.as_str()));
            let family = family.or_else(|| event.facts["family"].as_str());
            let wants = |(name, webhook): (&String, &Webhook)| {
                (!is_again && webhook.wants(kind, family)).then(|| name.clone())
            };
            let hooks: Vec<Option<String>> = lab.hooks.webhooks.iter().filter_map(wants).map(Some).collect();
            let told: Vec<Option<String>> = hooks.into_iter().chain(callback.map(|_| None)).collect();
            let body = match told.is_empty() {
                true => String::new(),
                false => {
                    let lease = self.lease_of(event, kind).await?;
                    self.body(event, kind, (view, lease.as_ref()), family)
                }
            };
            let call = |hook: Option<String>, body: &str| NewCall {
                id: MessageId::new(&self.lab.ids, self.lab.clock.now()),
                lane: lane_of(hook.as_deref(), callback.map(String::as_str)),
                url: if hook.is_none() { callback.cloned() } else { None },
                hook,
                event: event.seq,
                kind,
                run: event.run,
                body: body.to_owned(),
            };
            owing.calls.extend(told.into_iter().map(|hook| call(hook, &body)));
            let Some(view) = view.filter(|_| is_status && status::is_told(&lab.hooks, family)) else {
                continue;
            };
            let Some(of) = self.status_of(&view.run).await? else { continue };
            let names = status::sinks(&lab.hooks, family, kind);
            owing.calls.extend(self.status_calls(event, kind, &of, &names));
            owing.statuses.push(of);
        }
        Ok(owing)
    }

    /// The lease that an event is about, as it is now; nothing where it is kept no more.
    async fn lease_of(&self, event: &Happened, kind: &str) -> Result<Option<Value>, StoreError> {
        let id = event.facts["lease"].as_str().and_then(|id| id.parse().ok());
        let Some(id) = id.filter(|_| kind.starts_with("lease.")) else { return Ok(None) };
        Ok(match readable(self.lab.store.lease_view(id).await)? {
            Some(LeaseView::Lease(lease, ended_at)) => Some(lease.document(ended_at)),
            Some(LeaseView::Waiting(_)) | None => None,
        })
    }

    /// What is told: its type, its time and its data, as Standard Webhooks have them.
    fn body(
        &self,
        event: &Happened,
        kind: &str,
        (view, lease): (Option<&RunView>, Option<&Value>),
        family: Option<&str>,
    ) -> String {
        let data = match (view, &event.board) {
            (Some(view), _) if kind.starts_with("run.") => {
                let mut run = self.lab.composer.run_document(view);
                if let Some(stage) = event.facts.get("stage") {
                    run["state"] = stage.clone();
                }
                run
            }
            (_, Some(board)) => {
                let mut data =
                    lease.cloned().unwrap_or_else(|| json!({ "board_id": board, "run": event.run }));
                data["soc_family"] = json!(family);
                for key in ["quarantined", "problem", "handed_over_by", "handed_over_to"] {
                    if let Some(fact) = event.facts.get(key) {
                        data[key] = fact.clone();
                    }
                }
                if let Some(until) = event.facts["until"].as_i64() {
                    data["until"] = Timestamp::from_micros(until).rfc3339().into();
                }
                data
            }
            (_, None) => event.facts.clone(),
        };
        json!({ "type": kind, "timestamp": event.at.rfc3339(), "data": data }).to_string()
    }

    /// Makes calls one after the other, then rings: more may have become due behind them. Gives whether the last one took
    /// long; where that failed, the others are left for later.
    async fn lane(&self, calls: Vec<Call>) -> bool {
        let mut was_slow = false;
        for call in calls {
            let began_at = self.lab.clock.monotonic();
            let end = self.make(&call).await;
            was_slow = self.lab.clock.monotonic().since(began_at) >= SLOW;
            let leaves = was_slow && !matches!(end, CallEnd::Made);
            if let CallEnd::Dead { error } = &end {
                tracing::warn!(call.id = %call.id, hook = call.hook, kind = call.kind, error, "a call is given up");
            }
            let noted = self.lab.store.call_end(call.id, end, self.lab.clock.now()).await;
            if let Err(error) = noted {
                tracing::error!(%error, "how a call went is not noted; it is made again");
                break;
            }
            if leaves {
                break;
            }
        }
        self.lab.doorbell.ring(Bell::Herald);
        was_slow
    }

    async fn make(&self, call: &Call) -> CallEnd {
        if let Some(name) = call.hook.as_deref().and_then(|hook| hook.strip_prefix(STATUS)) {
            let sink = self.lab.inventory.now().hooks.statuses.get(name).cloned();
            return match sink {
                Some(sink) => self.tell(call, &sink).await,
                None => CallEnd::Dead { error: format!("boards.yaml has no status {name} any more") },
            };
        }
        let target = match target(&self.lab.inventory.now().hooks, call) {
            Ok(target) => target,
            Err(error) => return CallEnd::Dead { error },
        };
        let now = self.lab.clock.now();
        let (id, seconds) = (call.id.to_string(), now.as_micros().div_euclid(1_000_000));
        let signature = sign_standard(&target.secrets, &id, seconds, &call.body);
        let headers = [
            ("webhook-id", id),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-signature", signature),
        ];
        let request = OutwardRequest {
            method: Method::POST,
            url: target.url.expose_secret(),
            headers: &headers,
            body: Some(call.body.clone()),
            private: target.private,
            within: WITHIN,
        };
        let answer = self.outward.send(request).await;
        self.ended(call, answer)
    }

    fn ended(&self, call: &Call, answer: Result<HttpReply, NetError>) -> CallEnd {
        match answer {
            Ok(reply) if (200..300).contains(&reply.status) => CallEnd::Made,
            Ok(reply) if reply.status == GONE => {
                CallEnd::Dead { error: "answered 410: it is not wanted any more".into() }
            }
            Ok(reply) => self.failed(call, format!("answered {}", reply.status), reply.retry_after()),
            Err(error) => self.failed(call, error.to_string(), None),
        }
    }

    /// Once more after a while, unless that was the last time.
    fn failed(&self, call: &Call, error: String, wait: Option<Duration>) -> CallEnd {
        match pause(call.tries, |most| self.lab.ids.below(most)) {
            Some(pause) => {
                let at = self.lab.clock.now() + pause.max(wait.unwrap_or_default());
                if call.tries == 0 {
                    // Once: whoever looks why a pipeline waits need not wait until it is a dead letter.
                    let (id, kind, lane) = (call.id, &call.kind, &call.lane);
                    tracing::warn!(call.id = %id, kind, lane, error, "a program was not told; it is tried again for a day");
                }
                CallEnd::Later { at, error }
            }
            None => CallEnd::Dead { error },
        }
    }
}

/// How long to wait after so many failures and one more; `None` where that was the last.
fn pause(failed: u32, below: impl Fn(u64) -> u64) -> Option<Duration> {
    let pause = *PAUSES.get(failed as usize)?;
    let more = u64::try_from((pause / JITTER).as_millis()).unwrap_or_default();
    Some(pause + Duration::from_millis(below(more + 1)))
}

/// Where a call goes as the lab file is now.
fn target(hooks: &Hooks, call: &Call) -> Result<Target, String> {
    let target = match (&call.hook, &call.url) {
        (Some(name), _) => {
            let webhook = hooks.webhooks.get(name);
            let webhook = webhook.ok_or_else(|| format!("boards.yaml has no webhook {name} any more"))?;
            let Webhook { url, secrets, private, .. } = webhook.clone();
            Target { url, secrets, private }
        }
        (None, Some(url)) => {
            let listed = hooks.may_call_back(url);
            let callbacks = listed.map_err(|_| "boards.yaml does not list this host any more".to_owned())?;
            let (secrets, private) = (callbacks.secrets.clone(), callbacks.private);
            Target { url: SecretString::from(url.clone()), secrets, private }
        }
        (None, None) => return Err("it has no address".into()),
    };
    if target.secrets.is_empty() {
        return Err("there is no secret to sign it with".into());
    }
    Ok(target)
}

/// Those that go one after the other: to one webhook or forge, or to one host.
fn lane_of(hook: Option<&str>, url: Option<&str>) -> String {
    match hook {
        Some(name) => name.to_owned(),
        None => {
            let address = url.and_then(|url| Address::parse(url).ok());
            format!("host {}", address.map(|address| address.to_string()).unwrap_or_default())
        }
    }
}

/// What an event is called outside; `None` for what is nobody's outside.
fn kind_of(event: &Happened) -> Option<&'static str> {
    let quarantined = event.facts.get("quarantined").is_some_and(|reason| !reason.is_null());
    Some(match event.kind.as_str() {
        "accepted" => "run.accepted",
        "granted" => "run.started",
        "advanced" => "run.stage",
        "asked" => "run.asked",
        "retried" => "run.retried",
        "settled" if event.facts["finished"] == Value::Bool(false) => "run.attempt-ended",
        "settled" | "withdrawn" => "run.finished",
        "registered" if event.is_only_called_back() => "run.finished",
        "taken" => "lease.taken",
        // What a run has is told of by its lease.
        "released" if event.run.is_none() => "lease.released",
        "lapsed" => "lease.lapsed",
        "registered" if event.board.is_none() => "build.registered",
        "registered" if quarantined => "board.quarantined",
        "registered" => "board.changed",
        _ => return None,
    })
}

#[async_trait]
impl Agent for Herald {
    fn name(&self) -> &'static str {
        "herald"
    }

    fn bell(&self) -> Option<Bell> {
        Some(Bell::Herald)
    }

    async fn step(&mut self) -> Result<Step, StoreError> {
        let more = self.gather().await;
        // What is owed already goes out whatever happens meanwhile.
        self.send().await?;
        if more? {
            return Ok(Step::Worked);
        }
        let (clock, next) = (&self.shared.lab.clock, self.shared.lab.store.call_next_due().await?);
        // One that is due and not on its way waits for its lane, which rings.
        let wait = |at: Timestamp| at.since(clock.now()).max(LOOK_EVERY);
        let until = clock.monotonic() + next.map_or(LOOK_ANYWAY, wait).min(LOOK_ANYWAY);
        Ok(Step::Idle { until })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_fails_is_tried_for_a_day_and_then_given_up() {
        let tries: Vec<Duration> = (0..).map_while(|failed| pause(failed, |_| 0)).collect();
        assert_eq!(tries, PAUSES);
        let all: Duration = tries.iter().sum();
        assert!(all > Duration::from_secs(22 * 3600) && all < Duration::from_secs(24 * 3600), "{all:?}");
        assert_eq!(pause(0, |most| most - 1), Some(Duration::from_millis(5_500)), "a tenth more at most");
        assert_eq!(pause(PAUSES.len() as u32, |_| 0), None);
    }
}
