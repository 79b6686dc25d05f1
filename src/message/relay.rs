//! The relay: the loop that sends what is owed. It decides nothing about runs; it renders the newest state, sends,
//! and notes how that ended.
//!
//! Every channel is a lane: within a lane messages go one after the other (a card before its thread, a thread in
//! order), lanes do not wait for each other. Before a post the intent is noted; when the process dies, or the
//! platform answers so that the post may or may not be there, the platform is asked for it by its key before it is
//! posted again. Where the platform cannot tell, a card and an outcome are posted again (at least once), progress is
//! not (at most once).
//!
//! When a platform takes nothing of ours, whatever the message, nothing is given up: everything stays owed, and one
//! message is tried now and then until the line is back.

mod card;
mod hush;
mod lines;
mod linker;
mod log;
mod rescue;

pub use lines::Lines;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::task::{self, JoinError, JoinSet};

use super::compose::Composer;
use super::log_file::LogFiles;
use super::pace::{Pacer, Pacing};
use super::permalinks::Permalinks;
use super::{Card, Note};
use crate::chat::{AnswerVia, ChatApi, Outage, Place, Platform, SendResult};
use crate::clock::{Clock, Timestamp};
use crate::doorbell::{Bell, Doorbell};
use crate::run::RunState;
use crate::store::{End, MessageEnd, Owed, OwedKind, RUN_LOG, Store, StoreError, TOLD_BY_URL};
use crate::worker::steps::{Agent, LOOK_ANYWAY, LOOK_EVERY, Step};

/// Most messages looked at in one step.
const BATCH: u32 = 256;
/// How often a progress reply or an answer is tried before it is a dead letter.
pub const TRIES_MAX: u32 = 8;
/// First pause after a failure; doubles with every try.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// Longest pause after a failure.
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// Replies that tell what a run is doing; its outcome says more.
const PROGRESS: [&str; 3] = ["run-leased", "run-testing", "run-first-failure"];
/// How long one of them is worth telling of a run that has ended since.
const PROGRESS_LIVES: Duration = Duration::from_secs(10);
/// How long an answer to a person is worth sending: Slack's response_url lives as long.
const ANSWER_LIVES: Duration = Duration::from_secs(30 * 60);
/// How long rings gather: every commit rings, and nobody waits for a message to the millisecond.
const GATHERS: Duration = Duration::from_millis(30);
/// Pause of a lane's edits after one that may or may not have arrived.
const EDIT_PAUSE: Duration = Duration::from_secs(5);
/// How many turns of its channel's pace a post is put off at most before it is looked at again: an outcome that came
/// since goes ahead of it then.
const TURNS_MAX: u32 = 30;
/// How far back a lost post is looked for before the moment its sending began.
const PROBE_MARGIN: Duration = Duration::from_secs(5);

/// Sends what is owed.
pub struct Relay {
    shared: Arc<Shared>,
    lanes: JoinSet<()>,
    busy: HashMap<task::Id, Lane>,
}

/// What every lane needs.
struct Shared {
    store: Arc<dyn Store>,
    apis: BTreeMap<Platform, Arc<dyn ChatApi>>,
    composer: Arc<Composer>,
    clock: Clock,
    doorbell: Doorbell,
    pacers: Mutex<HashMap<Platform, Pacer>>,
    lines: Lines,
    permalinks: Permalinks,
    /// Console logs that are shown as files.
    logs: Option<LogFiles>,
    /// Lanes in which nothing new may be posted before an instant. What is owed there is left as it stands: writing to
    /// every message that it must wait would cost more than sending it.
    quiet: Mutex<HashMap<Lane, Timestamp>>,
}

/// Messages that must not overtake each other: those of one channel, and the answers to one person in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Lane {
    Channel(Platform, String),
    /// Answers to one person in one channel: "I'll tell you" comes before what is told.
    Person(Platform, String, String),
}

impl Lane {
    fn platform(&self) -> Platform {
        match self {
            Lane::Channel(platform, _) | Lane::Person(platform, ..) => *platform,
        }
    }
}

impl Relay {
    /// A relay for these platforms.
    pub fn new(
        store: Arc<dyn Store>,
        apis: BTreeMap<Platform, (Arc<dyn ChatApi>, Pacing)>,
        composer: Arc<Composer>,
        clock: Clock,
        doorbell: Doorbell,
    ) -> Self {
        let pacers = apis.iter().map(|(platform, (_, pacing))| (*platform, Pacer::new(*pacing))).collect();
        let apis = apis.into_iter().map(|(platform, (api, _))| (platform, api)).collect();
        let (pacers, lines, quiet) = (Mutex::new(pacers), Lines::default(), Mutex::default());
        let permalinks = Permalinks::new(store.clone());
        let shared =
            Shared { store, apis, composer, clock, doorbell, pacers, lines, permalinks, logs: None, quiet };
        Relay { shared: Arc::new(shared), lanes: JoinSet::new(), busy: HashMap::new() }
    }

    /// The same, showing console logs as files; without them they are linked to.
    pub fn with_logs(mut self, logs: LogFiles) -> Self {
        Arc::get_mut(&mut self.shared).expect("no lane has begun").logs = Some(logs);
        self
    }

    /// How the lines to the platforms are.
    pub fn lines(&self) -> Lines {
        self.shared.lines.clone()
    }

    /// Waits until every lane that is at work has ended; gives whether any was.
    pub async fn flush(&mut self) -> bool {
        let any = !self.lanes.is_empty();
        while self.lanes.join_next().await.is_some() {}
        self.busy.clear();
        any
    }

    fn reap(&mut self) {
        while let Some(ended) = self.lanes.try_join_next_with_id() {
            let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
            self.busy.remove(&id);
            if let Err(error) = ended {
                tracing::error!(%error, "a lane of the relay died");
            }
        }
    }
}

#[async_trait]
impl Agent for Relay {
    fn name(&self) -> &'static str {
        "relay"
    }

    fn bell(&self) -> Option<Bell> {
        Some(Bell::Relay)
    }

    fn gathers(&self) -> Duration {
        GATHERS
    }

    async fn step(&mut self) -> Result<Step, StoreError> {
        self.reap();
        let now = self.shared.clock.now();
        let quiet = self.shared.quiet_lanes(now);
        let busy: HashSet<&Lane> = self.busy.values().collect();
        let mut by_lane: HashMap<Lane, Vec<Owed>> = HashMap::new();
        let mut order = Vec::new();
        for owed in self.shared.store.message_due(now, BATCH).await? {
            let lane = lane_of(&owed);
            if busy.contains(&lane) || may_wait(&owed) && quiet.contains_key(&lane) {
                continue;
            }
            let queue = by_lane.entry(lane.clone()).or_default();
            if queue.is_empty() {
                order.push(lane);
            }
            queue.push(owed);
        }
        if order.is_empty() {
            let next = self.shared.store.message_next_due(now).await?;
            let next = next.into_iter().chain(quiet.into_values()).min();
            // A lane that died is seen by looking.
            let longest = if self.busy.is_empty() { LOOK_ANYWAY } else { LOOK_EVERY };
            let wait = next.map_or(longest, |at| at.since(now).clamp(Duration::from_millis(1), longest));
            return Ok(Step::Idle { until: self.shared.clock.monotonic() + wait });
        }
        for lane in order {
            let queue = by_lane.remove(&lane).expect("every lane in order has a queue");
            let task = self.lanes.spawn(serve(self.shared.clone(), queue));
            self.busy.insert(task.id(), lane);
        }
        Ok(Step::Idle { until: self.shared.clock.monotonic() + LOOK_EVERY })
    }
}

/// Whether sending it makes a new message; otherwise it changes one.
fn is_post(owed: &Owed) -> bool {
    !matches!(&owed.kind, OwedKind::Card { message: Some(_), .. })
}

/// Whether it is a post that can wait for its lane: one that may be there already is looked for first, and putting it
/// off would forget that.
fn may_wait(owed: &Owed) -> bool {
    is_post(owed) && owed.begun_at.is_none()
}

fn lane_of(owed: &Owed) -> Lane {
    match &owed.kind {
        OwedKind::Card { place, .. } | OwedKind::Reply { place, .. } => {
            Lane::Channel(place.platform, place.channel.clone())
        }
        OwedKind::Answer { via, .. } => {
            Lane::Person(via.place.platform, via.place.channel.clone(), via.user.clone())
        }
    }
}

/// Sends a lane's messages in order, then rings: more may have become owed behind them.
async fn serve(shared: Arc<Shared>, queue: Vec<Owed>) {
    if let Err(error) = shared.lane(queue).await {
        tracing::error!(%error, "a message could not be handled");
        shared.clock.sleep(BACKOFF_FIRST).await;
    }
    shared.doorbell.ring(Bell::Relay);
}

/// How one message went.
enum Went {
    /// So.
    Ended(End),
    /// Not now, and nothing else of its kind in its lane either.
    Paused {
        /// Until when.
        until: Timestamp,
    },
}

impl Shared {
    /// Sends messages in order. Once a post or an edit is paused, those of its kind behind it are not tried. New cards
    /// stay owed as they are, since the whole lane is quiet until then. Replies are put off one after the other, at the
    /// channel's pace, so that none of them is looked at again before its turn; edits together, in the same one write,
    /// since the newest outcome of all goes first then.
    async fn lane(self: &Arc<Self>, queue: Vec<Owed>) -> Result<(), StoreError> {
        // The next turn of each kind, and the last that is given.
        let mut paused: HashMap<bool, (Timestamp, Timestamp)> = HashMap::new();
        let mut put_off = Vec::new();
        for owed in queue {
            let new_card = linker::new_card(&owed);
            let (id, posts, lane, about) = (owed.id, is_post(&owed), lane_of(&owed), About::of(&owed));
            let every = if posts { self.post_every(lane.platform()) } else { Duration::ZERO };
            // One that may be there already is looked for first; putting it off would forget that.
            let until = paused.get(&posts).map(|(next, _)| *next).filter(|_| owed.begun_at.is_none());
            let went = match until {
                Some(_) if posts && matches!(owed.kind, OwedKind::Card { .. }) => continue,
                Some(until) => Went::Paused { until },
                None => match self.send_apart(owed).await {
                    // What cannot be read now never can: it must not hold up those behind it.
                    Err(error) if error.is_lasting() => Went::Ended(End::Dead { error: error.to_string() }),
                    went => went?,
                },
            };
            match went {
                Went::Paused { until } => {
                    if posts && !paused.contains_key(&posts) {
                        self.quiet.lock().expect("quiet lock").insert(lane, until);
                    }
                    let (next, last) = paused.entry(posts).or_insert((until, until + every * TURNS_MAX));
                    *next = (until + every).min((*last).max(until));
                    put_off.push(MessageEnd { id, end: End::Later { at: until, failed: false } });
                }
                Went::Ended(end) => {
                    if let End::Dead { error } = &end {
                        let About { kind, run, channel } = &about;
                        tracing::warn!(message.id = %id, kind, run, channel, error, "a message will not be sent");
                    }
                    let posted = match (&end, new_card) {
                        (End::Sent { message, .. }, Some(place)) => Some((place, message.clone())),
                        _ => None,
                    };
                    self.store.message_end(&[MessageEnd { id, end }], self.clock.now()).await?;
                    if let Some((place, message)) = posted {
                        self.link(id, place, message);
                    }
                }
            }
        }
        if put_off.is_empty() {
            return Ok(());
        }
        self.store.message_end(&put_off, self.clock.now()).await
    }

    /// The lanes that are still quiet; the others are forgotten.
    fn quiet_lanes(&self, now: Timestamp) -> HashMap<Lane, Timestamp> {
        let mut quiet = self.quiet.lock().expect("quiet lock");
        quiet.retain(|_, until| *until > now);
        quiet.clone()
    }

    /// Sends one message in a task of its own: one that cannot be made must not hold up those behind it for ever.
    async fn send_apart(self: &Arc<Self>, owed: Owed) -> Result<Went, StoreError> {
        let (shared, posts, tries) = (self.clone(), is_post(&owed), owed.tries);
        let sent = tokio::spawn(async move { shared.send(&owed).await }).await;
        sent.unwrap_or_else(|error| {
            tracing::error!(%error, "sending a message died");
            let at = self.clock.now() + backoff(tries);
            Ok(Went::Ended(match posts {
                _ if tries >= TRIES_MAX => End::Dead { error: "boardhand failed to send it".into() },
                true => End::Unsure { at },
                false => End::Later { at, failed: true },
            }))
        })
    }

    async fn send(&self, owed: &Owed) -> Result<Went, StoreError> {
        if let Some(platform) = needs_line(owed)
            && let Err(until) = self.lines.may_try(platform, self.clock.now())
        {
            return Ok(match owed.begun_at {
                // It may be there: that must not be forgotten.
                Some(_) => Went::Ended(End::Unsure { at: until }),
                None => Went::Paused { until },
            });
        }
        match &owed.kind {
            OwedKind::Answer { via, note } if via.is_open() => self.news(owed, via, note).await,
            OwedKind::Answer { via, note } => Ok(Went::Ended(self.answer(owed, via, note).await)),
            OwedKind::Card { .. } => self.card(owed).await,
            OwedKind::Reply { .. } => self.reply(owed).await,
        }
    }

    /// A message that nobody asked for, to everybody in a place.
    async fn news(&self, owed: &Owed, via: &AnswerVia, note: &Note) -> Result<Went, StoreError> {
        let Some(api) = self.apis.get(&via.place.platform) else {
            return Ok(Went::Ended(no_platform(via.place.platform)));
        };
        if owed.begun_at.is_none()
            && let Some(until) = self.news_wait(note, &via.place)
        {
            return Ok(Went::Ended(End::Later { at: until, failed: false }));
        }
        // A person's own conversation has their id here; a channel's is nobody's.
        let card = self.composer.note_to(note, &via.place, &via.place.channel);
        let card = self.named(card, &via.place).await;
        self.post(owed, api.as_ref(), &via.place, &card, 0, true).await
    }

    async fn answer(&self, owed: &Owed, via: &AnswerVia, note: &Note) -> End {
        let now = self.clock.now();
        if now.since(owed.since) > ANSWER_LIVES {
            return End::Dead { error: "too late to answer".into() };
        }
        let Some(api) = self.apis.get(&via.place.platform) else {
            return no_platform(via.place.platform);
        };
        let card = self.named(self.composer.note_to(note, &via.place, &via.user), &via.place).await;
        let answered = api.answer(via, &card).await;
        if via.url.is_none() {
            self.lines.heard(via.place.platform, &answered, now);
        }
        match answered {
            SendResult::Sent(message) => End::Sent { message, revision: 0 },
            // An answer twice is better than none, and an ephemeral one cannot be looked for.
            SendResult::Unknown(error) if owed.tries >= TRIES_MAX => End::Dead { error },
            SendResult::Refused(error) => End::Dead { error },
            SendResult::Out(outage) => {
                End::Later { at: self.lines.fails(via.place.platform, &outage, now), failed: false }
            }
            SendResult::Unknown(_) => self.later(owed),
            SendResult::RetryAfter(wait) => End::Later { at: now + wait, failed: false },
        }
    }

    /// The platform takes nothing of ours, for now.
    fn out(&self, platform: Platform, outage: &Outage) -> Went {
        Went::Paused { until: self.lines.fails(platform, outage, self.clock.now()) }
    }

    async fn reply(&self, owed: &Owed) -> Result<Went, StoreError> {
        let OwedKind::Reply { run, place, note, last, .. } = &owed.kind else {
            return Ok(Went::Ended(End::Dead { error: "not a reply".into() }));
        };
        if place.thread.as_deref() == Some(TOLD_BY_URL) {
            // There is no thread; the card itself tells the outcome.
            return Ok(Went::Ended(End::Sent { message: String::new(), revision: 0 }));
        }
        let Some(api) = self.apis.get(&place.platform) else {
            return Ok(Went::Ended(no_platform(place.platform)));
        };
        if self.is_outdated(owed, *run, note).await? || !hush::is_told(note, self.composer.verbosity(place)) {
            return Ok(Went::Ended(End::Sent { message: String::new(), revision: 0 }));
        }
        if owed.begun_at.is_none()
            && let Some(at) = self.waits_for_morning(*run, place).await?
        {
            return Ok(Went::Ended(End::Later { at, failed: false }));
        }
        if note.template == RUN_LOG {
            return self.log(owed, api.as_ref(), (*run, place), note).await;
        }
        let card = self.named(self.composer.note(note, place), place).await;
        let mut went = self.post(owed, api.as_ref(), place, &card, 0, *last).await?;
        if let Went::Ended(End::Dead { error }) = &went
            && *last
            && place.thread.is_some()
            && rescue::is_message_gone(error)
        {
            let open = Place { thread: None, ..place.clone() };
            went = self.post(owed, api.as_ref(), &open, &card, 0, true).await?;
        }
        match went {
            Went::Ended(End::Dead { error }) if *last => {
                self.tell_requester(owed, api.as_ref(), (*run, place), (&card, 0), error).await
            }
            went => Ok(went),
        }
    }

    /// Whether a reply tells of progress that was long overtaken while it waited for the channel's pace: people would
    /// read what is not so any more, and the outcomes behind it come later for it.
    async fn is_outdated(&self, owed: &Owed, run: i64, note: &Note) -> Result<bool, StoreError> {
        let late = self.clock.now().since(owed.since) >= PROGRESS_LIVES;
        if !late || owed.begun_at.is_some() || !PROGRESS.contains(&note.template.as_str()) {
            return Ok(false);
        }
        let view = self.store.run_view(run).await?;
        Ok(view.is_none_or(|view| matches!(view.run.state, RunState::Finished { .. })))
    }

    /// A card with the names of people from other platforms, asked for where nobody knows them yet. A platform that is
    /// in trouble is not asked: its people must not hold up what the others are told.
    async fn named(&self, mut card: Card, place: &Place) -> Card {
        self.permalinks.fill(&mut card, place).await;
        let names = self.composer.names();
        let lacking = names.lacking(&mut card, place.platform, self.clock.now());
        if lacking.is_empty() {
            return card;
        }
        let troubles = self.lines.troubles();
        let asked = lacking.iter().filter_map(|actor| {
            let api = self.apis.get(&actor.platform)?;
            let works = troubles.iter().all(|(platform, _)| *platform != actor.platform);
            works.then(|| names.ask(api.as_ref(), actor, &self.clock))
        });
        join_all(asked).await;
        names.fill(&mut card, place.platform);
        card
    }

    fn pace<W>(&self, platform: Platform, ask: impl FnOnce(&mut Pacer) -> Result<(), W>) -> Result<(), W> {
        let mut pacers = self.pacers.lock().expect("pacers lock");
        pacers.get_mut(&platform).map_or(Ok(()), ask)
    }

    /// How far apart the posts of a channel come.
    fn post_every(&self, platform: Platform) -> Duration {
        let pacers = self.pacers.lock().expect("pacers lock");
        pacers.get(&platform).map_or(Duration::ZERO, Pacer::post_every)
    }

    fn later(&self, owed: &Owed) -> End {
        End::Later { at: self.clock.now() + backoff(owed.tries), failed: true }
    }
}

/// What a log line says about a message.
struct About {
    kind: &'static str,
    run: Option<i64>,
    channel: String,
}

impl About {
    fn of(owed: &Owed) -> About {
        let (kind, run, place) = match &owed.kind {
            OwedKind::Card { run, place, last: false, .. } => ("card", Some(*run), place),
            OwedKind::Card { run, place, last: true, .. } => ("card with the outcome", Some(*run), place),
            OwedKind::Reply { run, place, last: false, .. } => ("reply", Some(*run), place),
            OwedKind::Reply { run, place, last: true, .. } => ("outcome", Some(*run), place),
            OwedKind::Answer { via, .. } => ("answer", None, &via.place),
        };
        About { kind, run, channel: format!("{}:{}", place.platform.as_str(), place.channel) }
    }
}

/// Whose line a message needs; none where a delivery's own URL leads there.
fn needs_line(owed: &Owed) -> Option<Platform> {
    match &owed.kind {
        OwedKind::Card { message: Some(message), .. } if message == TOLD_BY_URL => None,
        OwedKind::Card { place, .. } | OwedKind::Reply { place, .. } => Some(place.platform),
        OwedKind::Answer { via, .. } => via.url.is_none().then_some(via.place.platform),
    }
}

fn backoff(tries: u32) -> Duration {
    BACKOFF_FIRST.saturating_mul(1 << tries.min(16)).min(BACKOFF_MAX)
}

fn no_platform(platform: Platform) -> End {
    End::Dead { error: format!("{} is not connected", platform.as_str()) }
}

/// Whether a refusal says that the bot cannot see the channel, or may not post in it.
fn is_closed_channel(error: &str) -> bool {
    // Feishu: the bot is not in the chat.
    matches!(error, "channel_not_found" | "not_in_channel" | "is_archived" | "230002") || is_restricted(error)
}

/// Whether it says that only some people, and not the bot, may post there.
fn is_restricted(error: &str) -> bool {
    error.starts_with("restricted_action")
}
