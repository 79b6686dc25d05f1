//! A simulated Feishu tenant: a bot's API with the rules that the real one enforces, and people who type and click
//! through the real webhook, signed and covered. It uses none of our Feishu code, so that a mistake there cannot cancel
//! itself out here.
//!
//! What it does as the real one does: a `uuid` that it knows is answered with the message that is there; a card with a
//! property that it does not know, or over 30 KB, is refused; a message takes five edits a second; and the card in the
//! answer to a click is what the client shows last, whatever was edited while it was on its way.

mod api;
mod files;
mod frames;
pub(in crate::sim) mod playground;
mod rules;
mod sign_in;
mod socket;
mod wire;

pub use self::playground::CHAT;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::clock::{Clock, Timestamp};
use crate::id::Ids;

/// The bot's `open_id`.
pub const BOT: &str = "ou_boardhand";
/// The tenant.
pub const TENANT: &str = "tenant_lab";

/// What the app is set up with on both sides.
#[derive(Debug, Clone)]
pub struct SimFeishuConfig {
    /// The app's id.
    pub app_id: String,
    /// The app's secret.
    pub app_secret: String,
    /// Signs and covers what is posted to the webhook.
    pub encrypt_key: String,
    /// Stands in everything that is posted to the webhook.
    pub verification_token: String,
    /// Where events are posted; without one they go over the app's long connections.
    pub webhook_url: Option<String>,
}

/// A message in a chat.
#[derive(Debug, Clone)]
pub struct Message {
    /// `om_…`.
    pub id: String,
    /// The chat, or the person whose own chat with the bot it is.
    pub chat: String,
    /// The message under which it stands, in a thread or as a plain reply.
    pub root: Option<String>,
    /// Whether it stands in a thread.
    pub in_thread: bool,
    /// Who wrote it; `None` for the bot.
    pub author: Option<String>,
    /// What a person wrote.
    pub text: String,
    /// What the bot's card shows.
    pub card: Value,
    /// The file that it shows instead.
    pub file: Option<String>,
    /// The bot's reactions: the id of each, and what it shows.
    pub reactions: Vec<(String, String)>,
    /// How often it was edited.
    pub edits: u32,
    edited_at: VecDeque<Timestamp>,
    recalled: bool,
}

impl Message {
    fn of_the_bot(id: String, chat: String, card: Value) -> Message {
        Message {
            id,
            chat,
            root: None,
            in_thread: false,
            author: None,
            text: String::new(),
            card,
            file: None,
            reactions: vec![],
            edits: 0,
            edited_at: VecDeque::new(),
            recalled: false,
        }
    }

    /// What the bot's reactions show, in the order in which they came.
    pub fn emojis(&self) -> Vec<&str> {
        self.reactions.iter().map(|(_, emoji)| emoji.as_str()).collect()
    }

    /// The bot's card in plain lines, as a person reads it.
    pub fn shown(&self) -> String {
        if let Some(file) = &self.file {
            return format!("📎 {file}");
        }
        rules::shown(&self.card)
    }
}

/// How the next request of a kind goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Answered with this code, not carried out.
    Code(i64),
    /// Carried out, and answered 500.
    DoneThen500,
    /// 429 with so many seconds to wait.
    TooFast(u64),
    /// Every token is over.
    TokensOver,
    /// Taken and answered only after so long.
    Silent(Duration),
    /// A handshake that is refused with this status and this code.
    Handshake(i64, i64),
}

/// What the app asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// A new message.
    Send,
    /// A reply.
    Reply,
    /// An edit.
    Edit,
    /// Who somebody is.
    Person,
    /// Who is in a department, or what is below it.
    Department,
    /// A reaction, put on a message or taken off.
    React,
    /// The reactions on a message.
    Reactions,
    /// A file.
    Upload,
    /// An address for a long connection.
    Endpoint,
    /// A long connection.
    Connect,
    /// What is given for a code of somebody who signs in.
    SignIn,
    /// The app's own tenant.
    Tenant,
}

#[derive(Default)]
struct World {
    messages: Vec<Message>,
    /// Name and content by key.
    files: HashMap<String, (String, Vec<u8>)>,
    uuids: HashMap<String, String>,
    tokens: Vec<String>,
    tokens_made: u32,
    faults: HashMap<Call, VecDeque<Fault>>,
    /// What was refused because it is against the rules.
    violations: Vec<String>,
    /// Chats that the bot is not in.
    closed: Vec<String>,
    /// Whom the app may see, by their ids.
    people: HashMap<String, String>,
    /// Pinned messages.
    pins: Vec<String>,
    /// Departments: what each is below, and who is in it.
    departments: HashMap<String, (String, Vec<String>)>,
    events: u64,
    ids: u64,
    sockets: socket::Sockets,
    sign_ins: sign_in::SignIns,
}

impl World {
    fn take_fault(&mut self, call: Call) -> Option<Fault> {
        self.faults.get_mut(&call).and_then(VecDeque::pop_front)
    }
}

/// What somebody gets for a click.
#[derive(Debug, Clone, PartialEq)]
pub struct Clicked {
    /// The status of the answer.
    pub status: u16,
    /// The kind of the words over the card, and the words.
    pub toast: (String, String),
    /// The words by the language of whoever reads them.
    pub i18n: Value,
    /// Whether the answer brought the card along.
    pub with_card: bool,
}

/// A simulated tenant.
#[derive(Clone)]
pub struct SimFeishu {
    config: Arc<SimFeishuConfig>,
    world: Arc<Mutex<World>>,
    changed: Arc<Notify>,
    clock: Clock,
    ids: Ids,
    url: String,
}

impl SimFeishu {
    /// Starts one on a free port of loopback, with Zhao in a department and Li in one below that.
    pub async fn start(config: SimFeishuConfig, clock: Clock, ids: Ids) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let feishu = SimFeishu {
            config: Arc::new(config),
            world: Arc::default(),
            changed: Arc::default(),
            clock,
            ids,
            url,
        };
        feishu.set_department("od-firmware", "0", &["ou_zhao"]);
        feishu.set_department("od-drivers", "od-firmware", &["ou_li"]);
        let routes = api::routes(feishu.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(feishu)
    }

    /// What a file that was uploaded holds, by its name.
    pub fn file(&self, name: &str) -> Option<String> {
        let world = self.lock();
        let file = world.files.values().find(|(known, _)| known == name)?;
        Some(String::from_utf8_lossy(&file.1).into_owned())
    }

    /// Its base address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The next request of this kind goes wrong so.
    pub fn fault(&self, call: Call, fault: Fault) {
        self.lock().faults.entry(call).or_default().push_back(fault);
    }

    /// Somebody whom the app may see.
    pub fn add_person(&self, id: &str, name: &str) {
        self.lock().people.insert(id.to_owned(), name.to_owned());
    }

    /// A department below another one, with these people in it now.
    pub fn set_department(&self, id: &str, parent: &str, members: &[&str]) {
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        self.lock().departments.insert(id.to_owned(), (parent.to_owned(), members));
    }

    /// The pinned messages of a chat.
    pub fn pinned(&self, chat: &str) -> Vec<Message> {
        let pins = self.lock().pins.clone();
        self.messages(chat).into_iter().filter(|message| pins.contains(&message.id)).collect()
    }

    /// Whatever was to go wrong goes well.
    pub fn heal(&self) {
        self.lock().faults.clear();
    }

    /// The bot leaves a chat.
    pub fn leave(&self, chat: &str) {
        self.lock().closed.push(chat.to_owned());
    }

    /// What the app sent against the rules.
    pub fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    /// How many tokens were fetched.
    pub fn tokens_made(&self) -> u32 {
        self.lock().tokens_made
    }

    /// Every message of a chat, in order.
    pub fn messages(&self, chat: &str) -> Vec<Message> {
        self.lock().messages.iter().filter(|m| m.chat == chat && !m.recalled).cloned().collect()
    }

    /// Takes a message away, as its author may.
    pub fn recall(&self, id: &str) {
        if let Some(message) = self.lock().messages.iter_mut().find(|m| m.id == id) {
            message.recalled = true;
        }
    }

    /// Waits until the messages of a chat are so.
    pub async fn until(
        &self,
        chat: &str,
        within: Duration,
        so: impl Fn(&[Message]) -> bool,
    ) -> Result<(), Vec<Message>> {
        let seen = self.wait(within, || so(&self.messages(chat))).await;
        if seen { Ok(()) } else { Err(self.messages(chat)) }
    }

    async fn wait(&self, within: Duration, so: impl Fn() -> bool) -> bool {
        let seen = async {
            loop {
                let mut changed = std::pin::pin!(self.changed.notified());
                // Whoever changes something between the look and the wait is heard.
                changed.as_mut().enable();
                if so() {
                    return;
                }
                changed.await;
            }
        };
        self.clock.timeout(within, seen).await.is_ok()
    }

    /// Somebody writes to the bot in a chat; gives the status of the webhook's answer.
    pub async fn say(&self, who: &str, chat: &str, text: &str) -> u16 {
        self.say_in(who, chat, None, text, self.clock.now()).await
    }

    /// The same in the thread under `root`, said at `at`.
    pub async fn say_in(&self, who: &str, chat: &str, root: Option<&str>, text: &str, at: Timestamp) -> u16 {
        let id = self.next_id();
        let words = format!("@_user_1 {text}");
        let mut message = json!({
            "message_id": id, "chat_id": chat, "chat_type": "group", "message_type": "text",
            "create_time": (at.as_micros() / 1000).to_string(),
            "content": json!({ "text": words }).to_string(),
            "mentions": [{ "key": "@_user_1", "id": { "open_id": BOT }, "mentioned_type": "bot", "name": "boardhand" }],
        });
        if let Some(root) = root {
            message["root_id"] = json!(root);
            message["parent_id"] = json!(root);
        }
        self.lock().messages.push(Message {
            id,
            chat: chat.to_owned(),
            root: root.map(str::to_owned),
            in_thread: root.is_some(),
            author: Some(who.to_owned()),
            text: text.to_owned(),
            card: Value::Null,
            file: None,
            reactions: vec![],
            edits: 0,
            edited_at: VecDeque::new(),
            recalled: false,
        });
        self.changed.notify_waiters();
        let sender = json!({ "sender_id": { "open_id": who }, "sender_type": "user", "tenant_key": TENANT });
        let body = self.event("im.message.receive_v1", json!({ "sender": sender, "message": message }));
        self.deliver(&body, true).await.map_or(0, |answer| answer.status)
    }

    /// Somebody presses the button with this label on a message of the bot.
    pub async fn click(&self, who: &str, message: &str, label: &str) -> Clicked {
        let body = self.click_body(who, message, label);
        self.click_with(message, &body).await
    }

    /// The event of that click, for one that is delivered more than once.
    pub fn click_body(&self, who: &str, message: &str, label: &str) -> Vec<u8> {
        let found = self.lock().messages.iter().find(|m| m.id == message).cloned();
        let found = found.unwrap_or_else(|| panic!("there is no message {message}"));
        let value = rules::button(&found.card, label)
            .unwrap_or_else(|| panic!("no button {label:?} on\n{}", rules::shown(&found.card)));
        self.press(who, (message, &found.chat), &value)
    }

    /// The event of a button that somebody sees on a message in a chat, whatever that shows now.
    fn press(&self, who: &str, (message, chat): (&str, &str), value: &Value) -> Vec<u8> {
        let event = json!({
            "operator": { "open_id": who, "tenant_key": TENANT }, "token": "c-1",
            "action": { "value": value, "tag": "button" }, "host": "im_message",
            "context": { "open_message_id": message, "open_chat_id": chat },
        });
        self.event("card.action.trigger", event)
    }

    /// Delivers the event of a click; what the answer shows is shown last.
    pub async fn click_with(&self, message: &str, body: &[u8]) -> Clicked {
        let Some(answer) = self.deliver(body, true).await else {
            return Clicked { status: 0, toast: Default::default(), i18n: Value::Null, with_card: false };
        };
        let reply: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let text = |name: &str| reply["toast"][name].as_str().unwrap_or_default().to_owned();
        let card = (reply["card"]["type"] == "raw").then(|| reply["card"]["data"].clone());
        if let Some(card) = &card {
            let mut world = self.lock();
            if let Err((code, problem)) = rules::check(card) {
                world.violations.push(format!("a click's card: {code} {problem}"));
            }
            if let Some(message) = world.messages.iter_mut().find(|m| m.id == message) {
                message.card = card.clone();
            }
        }
        self.changed.notify_waiters();
        Clicked {
            status: answer.status,
            toast: (text("type"), text("content")),
            i18n: reply["toast"]["i18n"].clone(),
            with_card: card.is_some(),
        }
    }

    /// An event as Feishu makes it, before it is covered.
    pub fn event(&self, kind: &str, event: Value) -> Vec<u8> {
        let number = {
            let mut world = self.lock();
            world.events += 1;
            world.events
        };
        let header = json!({
            "event_id": format!("ev_{number}"), "event_type": kind, "app_id": self.config.app_id,
            "create_time": (self.clock.now().as_micros() / 1000).to_string(),
            "token": self.config.verification_token, "tenant_key": TENANT,
        });
        json!({ "schema": "2.0", "header": header, "event": event }).to_string().into_bytes()
    }

    /// Covers a body and posts it, signed or not; over a long connection it goes as it is.
    pub async fn deliver(&self, body: &[u8], signed: bool) -> Option<Answer> {
        if self.config.webhook_url.is_none() {
            return self.push(body).await;
        }
        let cover = wire::cover(&self.config.encrypt_key, self.ids.bytes(), body);
        let covered = json!({ "encrypt": cover }).to_string().into_bytes();
        let (at, nonce) = (self.clock.now().as_secs().to_string(), self.ids.letters(12));
        let mut headers = vec![("Content-Type".to_owned(), "application/json; charset=utf-8".to_owned())];
        if signed {
            let signature = wire::sign(&self.config.encrypt_key, &at, &nonce, &covered);
            headers.push(("X-Lark-Request-Timestamp".to_owned(), at));
            headers.push(("X-Lark-Request-Nonce".to_owned(), nonce));
            headers.push(("X-Lark-Signature".to_owned(), signature));
        }
        self.post(&headers, &covered).await
    }

    /// Posts to the webhook as it stands.
    pub async fn post(&self, headers: &[(String, String)], body: &[u8]) -> Option<Answer> {
        let answer =
            crate::sim::slack::wire::post(self.config.webhook_url.as_ref()?, headers, body).await.ok()?;
        Some(Answer { status: answer.status, body: answer.body })
    }

    /// A chat as a person reads it: each message, with what stands under it.
    pub fn render(&self, chat: &str) -> String {
        let messages = self.messages(chat);
        let mut out = String::new();
        for message in messages.iter().filter(|m| m.root.is_none()) {
            out.push_str(&rules::told(message, ""));
            for reply in messages.iter().filter(|m| m.root.as_deref() == Some(&message.id)) {
                out.push_str(&rules::told(reply, if reply.in_thread { "    " } else { "  ↩ " }));
            }
        }
        out
    }

    fn next_id(&self) -> String {
        let mut world = self.lock();
        world.ids += 1;
        format!("om_{}", world.ids)
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("nothing panics under this lock")
    }
}

/// An answer of the webhook.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}
