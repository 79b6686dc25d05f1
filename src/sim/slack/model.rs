//! The simulated workspace: people, channels, messages, and what was read. No I/O, no clock: the time comes in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Map, Value, json};

use super::files::Upload;
use super::views::{Trigger, View};
use crate::clock::Timestamp;

/// Messages that a channel keeps; the oldest go first.
pub const MESSAGES_MAX: usize = 5_000;
/// Answers visible to one person that the workspace keeps.
pub const EPHEMERALS_MAX: usize = 1_000;
/// Problems that the workspace keeps.
const PROBLEMS_MAX: usize = 100;
/// `response_url`s that are alive at once.
const RESPONSE_URLS_MAX: usize = 2_000;

/// The workspace's id.
pub const TEAM: &str = "T0LAB";
/// The bot as a user.
pub const BOT_USER: &str = "U0BOT";
/// The bot as a bot.
pub const BOT_ID: &str = "B0BOT";
/// The app's id.
pub const APP: &str = "A0LAB";

/// A person.
#[derive(Debug, Clone)]
pub struct User {
    /// Such as `U0ALICE`.
    pub id: String,
    /// Such as `alice`.
    pub name: String,
    /// What they have chosen for themselves, `zh-CN`.
    pub locale: Option<String>,
}

/// A channel or a direct conversation with the bot.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Such as `C0SOCCI`.
    pub id: String,
    /// Such as `soc-ci`.
    pub name: String,
    /// Whether the bot is in it.
    pub has_bot: bool,
    /// Whose direct conversation it is.
    pub dm_of: Option<String>,
    /// Every message, thread replies among them, oldest first.
    pub messages: VecDeque<Message>,
}

/// A message as the workspace keeps it.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its id within the channel, and its time: `1531420618.000100`.
    pub ts: String,
    /// The thread's first message, when this is a reply.
    pub thread_ts: Option<String>,
    /// Who wrote it.
    pub user: String,
    /// Its text, as the API got it.
    pub text: String,
    /// Its blocks, as the API got them; null where there are none.
    pub blocks: Value,
    /// Its attachments; null where there are none.
    pub attachments: Value,
    /// Its metadata; null where there is none.
    pub metadata: Value,
    /// How often it was edited.
    pub edits: u64,
    /// Whether a reply also shows in the channel.
    pub broadcast: bool,
    /// Files that it shows; null where there are none.
    pub files: Value,
    /// The bot's reactions, in the order in which they came.
    pub reactions: Vec<String>,
    /// Whether a test has looked at it since it was posted. People's own messages count as read.
    pub read: bool,
}

/// An answer that one person sees.
#[derive(Debug, Clone)]
pub struct Ephemeral {
    /// Its order among messages.
    pub ts: String,
    /// Where it shows.
    pub channel: String,
    /// In which thread.
    pub thread_ts: Option<String>,
    /// Who sees it.
    pub user: String,
    /// Its text.
    pub text: String,
    /// Its blocks; null where there are none.
    pub blocks: Value,
    /// Whether a test has looked at it.
    pub read: bool,
}

/// What a `response_url` may still do.
#[derive(Debug, Clone)]
pub(super) struct ResponseUrl {
    pub(super) channel: String,
    pub(super) user: String,
    /// The message whose button was pressed.
    pub(super) source: Option<String>,
    pub(super) made_at: Timestamp,
    pub(super) uses: u32,
}

/// The whole workspace.
#[derive(Debug, Default)]
pub struct World {
    /// People by id.
    pub users: BTreeMap<String, User>,
    /// Members of user groups by their ids.
    pub groups: BTreeMap<String, Vec<String>>,
    /// Pinned messages, by their channels.
    pub pins: BTreeSet<(String, String)>,
    /// Channels by id.
    pub channels: BTreeMap<String, Channel>,
    /// Answers that one person sees, oldest first.
    pub ephemerals: VecDeque<Ephemeral>,
    /// What the app did that a real workspace would not have taken, oldest first.
    pub problems: VecDeque<String>,
    /// Open modals by who sees them.
    pub modals: BTreeMap<String, View>,
    /// The app's Homes by who sees them.
    pub homes: BTreeMap<String, View>,
    pub(super) uploads: BTreeMap<String, Upload>,
    pub(super) triggers: BTreeMap<String, Trigger>,
    pub(super) response_urls: BTreeMap<String, ResponseUrl>,
    last_ts: i64,
}

impl World {
    /// Alice, Bob (of the user group `S0OPS`) and Lead in `soc-ci`, `bring-up`, `random` (without the bot) and a direct conversation each.
    pub(super) fn new() -> World {
        let mut world = World::default();
        world
            .users
            .insert(BOT_USER.into(), User { id: BOT_USER.into(), name: "boardhand".into(), locale: None });
        world.add_channel("C0SOCCI", "soc-ci", true, None);
        world.add_channel("C0BRINGUP", "bring-up", true, None);
        world.add_channel("C0RANDOM", "random", false, None);
        for (id, name) in [("U0ALICE", "alice"), ("U0BOB", "bob"), ("U0LEAD", "lead")] {
            world.add_person(id, name);
        }
        world.groups.insert("S0OPS".into(), vec!["U0BOB".into()]);
        world
    }

    /// Adds a person, with a direct conversation with the bot: `D0ALICE` for `U0ALICE`.
    pub(super) fn add_person(&mut self, id: &str, name: &str) {
        self.users.insert(id.to_owned(), User { id: id.to_owned(), name: name.to_owned(), locale: None });
        self.add_channel(&id.replacen('U', "D", 1), "boardhand", true, Some(id));
    }

    pub(super) fn add_channel(&mut self, id: &str, name: &str, has_bot: bool, dm_of: Option<&str>) {
        let channel = Channel {
            id: id.to_owned(),
            name: name.to_owned(),
            has_bot,
            dm_of: dm_of.map(str::to_owned),
            messages: VecDeque::new(),
        };
        self.channels.insert(id.to_owned(), channel);
    }

    /// The channel of that id or name (`#soc-ci`).
    pub fn channel(&self, key: &str) -> Option<&Channel> {
        let name = key.trim_start_matches('#');
        self.channels
            .get(key)
            .or_else(|| self.channels.values().find(|c| c.name == name && c.dm_of.is_none()))
    }

    /// The person of that id or name.
    pub fn user(&self, key: &str) -> Option<&User> {
        let name = key.trim_start_matches('@');
        self.users.get(key).or_else(|| self.users.values().find(|user| user.name == name))
    }

    /// The message of that id.
    pub fn message(&self, channel: &str, ts: &str) -> Option<&Message> {
        self.channel(channel)?.messages.iter().find(|message| message.ts == ts)
    }

    pub(super) fn message_mut(&mut self, channel: &str, ts: &str) -> Option<&mut Message> {
        self.channels.get_mut(channel)?.messages.iter_mut().find(|message| message.ts == ts)
    }

    /// A message's place: the channel that has it.
    pub fn channel_of(&self, ts: &str) -> Option<&Channel> {
        self.channels.values().find(|channel| channel.messages.iter().any(|message| message.ts == ts))
    }

    /// The next message id: the time in microseconds, always later than the one before.
    pub(super) fn next_ts(&mut self, now: Timestamp) -> String {
        self.last_ts = now.as_micros().max(self.last_ts + 1);
        format!("{}.{:06}", self.last_ts.div_euclid(1_000_000), self.last_ts.rem_euclid(1_000_000))
    }

    /// Adds a message; the channel exists.
    pub(super) fn add(&mut self, channel: &str, message: Message) {
        if let Some(channel) = self.channels.get_mut(channel) {
            if channel.messages.len() == MESSAGES_MAX {
                channel.messages.pop_front();
            }
            channel.messages.push_back(message);
        }
    }

    /// Adds an answer that one person sees.
    pub(super) fn add_ephemeral(&mut self, ephemeral: Ephemeral) {
        if self.ephemerals.len() == EPHEMERALS_MAX {
            self.ephemerals.pop_front();
        }
        self.ephemerals.push_back(ephemeral);
    }

    /// Notes something that a real workspace would not have taken.
    pub(super) fn problem(&mut self, text: String) {
        tracing::debug!(text, "simulated Slack refuses");
        if self.problems.len() == PROBLEMS_MAX {
            self.problems.pop_front();
        }
        self.problems.push_back(text);
    }

    pub(super) fn add_response_url(&mut self, token: String, url: ResponseUrl) {
        if self.response_urls.len() >= RESPONSE_URLS_MAX {
            let oldest = self.response_urls.iter().min_by_key(|(_, url)| url.made_at);
            let oldest = oldest.map(|(token, _)| token.clone());
            oldest.and_then(|token| self.response_urls.remove(&token));
        }
        self.response_urls.insert(token, url);
    }

    /// A thread: its first message and the replies, oldest first.
    pub fn thread<'w>(&'w self, channel: &str, ts: &'w str) -> impl Iterator<Item = &'w Message> {
        let messages = self.channel(channel).map(|channel| channel.messages.iter());
        messages
            .into_iter()
            .flatten()
            .filter(move |message| message.ts == ts || message.thread_ts.as_deref() == Some(ts))
    }

    /// Bot messages and answers that nobody has looked at, as `#soc-ci: text`.
    pub fn unread(&self) -> Vec<String> {
        let messages = self.channels.values().flat_map(|channel| {
            let unread = channel.messages.iter().filter(|message| !message.read);
            unread.map(|message| format!("#{}: {}", channel.name, message.text))
        });
        let answers = self.ephemerals.iter().filter(|answer| !answer.read);
        messages.chain(answers.map(|answer| format!("only {}: {}", answer.user, answer.text))).collect()
    }

    /// A person's name, for reading.
    pub fn name_of<'w>(&'w self, id: &'w str) -> &'w str {
        self.users.get(id).map_or(id, |user| &user.name)
    }
}

impl Message {
    /// As the Web API shows it.
    pub(super) fn to_json(&self, with_metadata: bool) -> Value {
        let mut out = Map::from_iter([
            ("type".to_owned(), json!("message")),
            ("ts".to_owned(), json!(self.ts)),
            ("user".to_owned(), json!(self.user)),
            ("text".to_owned(), json!(self.text)),
            ("team".to_owned(), json!(TEAM)),
        ]);
        if self.user == BOT_USER {
            out.insert("bot_id".into(), json!(BOT_ID));
            out.insert("app_id".into(), json!(APP));
        }
        let parts = [("blocks", &self.blocks), ("attachments", &self.attachments), ("files", &self.files)];
        for (key, value) in parts {
            if !value.is_null() {
                out.insert(key.into(), value.clone());
            }
        }
        if let Some(thread) = &self.thread_ts {
            out.insert("thread_ts".into(), json!(thread));
        }
        if with_metadata && !self.metadata.is_null() {
            out.insert("metadata".into(), self.metadata.clone());
        }
        if !self.reactions.is_empty() {
            let reaction = |name: &String| json!({"name": name, "users": [BOT_USER], "count": 1});
            out.insert("reactions".into(), self.reactions.iter().map(reaction).collect());
        }
        if self.edits > 0 {
            out.insert("edited".into(), json!({"user": BOT_ID, "ts": self.ts}));
        }
        Value::Object(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(world: &mut World) -> Message {
        Message {
            ts: world.next_ts(Timestamp::default()),
            thread_ts: None,
            user: BOT_USER.into(),
            text: "a".into(),
            blocks: Value::Null,
            attachments: Value::Null,
            metadata: Value::Null,
            edits: 0,
            broadcast: false,
            files: Value::Null,
            reactions: vec![],
            read: false,
        }
    }

    #[test]
    fn a_full_channel_loses_its_oldest_message() {
        let mut world = World::new();
        for _ in 0..=MESSAGES_MAX {
            let message = message(&mut world);
            world.add("C0SOCCI", message);
        }
        let messages = &world.channels["C0SOCCI"].messages;
        assert_eq!((messages.len(), messages[0].ts.as_str()), (MESSAGES_MAX, "0.000002"));
    }

    #[test]
    fn lists_of_answers_problems_and_addresses_stay_bounded() {
        let mut world = World::new();
        for n in 0..RESPONSE_URLS_MAX + 10 {
            world.problem(n.to_string());
            let url = ResponseUrl {
                channel: String::new(),
                user: String::new(),
                source: None,
                made_at: Timestamp::default(),
                uses: 0,
            };
            world.add_response_url(n.to_string(), url);
            world.add_ephemeral(Ephemeral {
                ts: String::new(),
                channel: String::new(),
                thread_ts: None,
                user: String::new(),
                text: String::new(),
                blocks: Value::Null,
                read: false,
            });
        }
        let sizes = (world.problems.len(), world.response_urls.len(), world.ephemerals.len());
        assert_eq!(sizes, (PROBLEMS_MAX, RESPONSE_URLS_MAX, EPHEMERALS_MAX));
    }

    #[test]
    fn message_ids_always_rise() {
        let mut world = World::new();
        let ids: Vec<String> = (0..3).map(|_| world.next_ts(Timestamp::from_micros(5_000_000))).collect();
        assert_eq!(ids, ["5.000000", "5.000001", "5.000002"]);
    }
}
