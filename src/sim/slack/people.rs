//! What people do in the simulated workspace, and what the app is sent of it: slash commands, mentions, direct messages
//! and pressed buttons. Slack's own error texts are shown when the app does not answer.

use serde_json::{Value, json};

use super::deliver::Kind;
use super::model::{APP, BOT_USER, Ephemeral, Message, ResponseUrl, TEAM, User};
use super::{Shared, SimSlack, render, respond, views};
use crate::clock::Timestamp;

/// What somebody sees right after doing something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status of the app's acknowledgement; 0 when there was none.
    pub status: u16,
    /// What shows at once, as a person reads it; empty when nothing does.
    pub text: String,
    /// The id of the message that the person posted, where that made one.
    pub ts: Option<String>,
}

impl SimSlack {
    /// Somebody types into a channel: `/run-test socA build-123` is a slash command, `@boardhand why` a mention, any
    /// text in a direct conversation a message to the bot. Names or ids; unknown ones are said in the reply.
    pub async fn say(&self, user: &str, channel: &str, text: &str) -> Reply {
        self.type_text(user, channel, None, text).await
    }

    /// Somebody types into a thread; slash commands do not work there, as in Slack.
    pub async fn say_in_thread(&self, user: &str, channel: &str, thread_ts: &str, text: &str) -> Reply {
        self.type_text(user, channel, Some(thread_ts), text).await
    }

    async fn type_text(&self, user: &str, channel: &str, thread: Option<&str>, text: &str) -> Reply {
        let shared = &self.0.shared;
        let place = self.with(|world| {
            let user = world.user(user)?;
            let dm = || world.channels.values().find(|c| c.dm_of.as_ref() == Some(&user.id));
            let channel = if channel == "@boardhand" { dm()? } else { world.channel(channel)? };
            Some((
                user.id.clone(),
                user.name.clone(),
                channel.id.clone(),
                channel.name.clone(),
                channel.dm_of.is_some(),
            ))
        });
        let Some((user, user_name, channel, channel_name, is_dm)) = place else {
            return Reply { text: format!("no such user or channel: {user}, {channel}"), ..Reply::default() };
        };
        if text.starts_with('/') {
            if thread.is_some() {
                let text = format!("{text} is not supported in threads. Sorry!");
                return Reply { text, ..Reply::default() };
            }
            return shared.slash(&user, &user_name, &channel, &channel_name, text).await;
        }
        shared.message(&user, &channel, thread, text, is_dm).await
    }

    /// Slack tells the app of an event that happened at `at`, whatever it is; gives the status of the acknowledgement.
    pub async fn event(&self, event: &Value, at: Timestamp) -> u16 {
        self.0.shared.event(event, at).await
    }

    /// Somebody presses a button that they see, though the message may have changed meanwhile.
    pub(super) async fn press(&self, user: &str, ts: &str, block_id: &str, element: &Value) -> Reply {
        let found = self.with(|world| {
            let answer = || {
                world.ephemerals.iter().find(|answer| answer.ts == ts).map(|answer| answer.channel.clone())
            };
            let channel = world.channel_of(ts).map(|channel| channel.id.clone()).or_else(answer)?;
            let message = world.message(&channel, ts).cloned();
            Some((world.user(user)?.id.clone(), channel, message))
        });
        match found {
            Some((user, channel, message)) => {
                self.0.shared.press(&user, &channel, ts, message, block_id, element).await
            }
            None => Reply { text: "This message is gone.".to_owned(), ..Reply::default() },
        }
    }

    /// Somebody presses a button, found by its label, its `action_id` or its value. A confirmation is given.
    pub async fn click(&self, user: &str, ts: &str, button: &str) -> Reply {
        let found = self.with(|world| {
            let user = world.user(user)?.id.clone();
            let message = world.channel_of(ts).and_then(|c| Some((c.id.clone(), world.message(&c.id, ts)?)));
            let (channel, message, parts) = match message {
                Some((channel, message)) => {
                    let parts = [&message.blocks, &message.attachments];
                    (channel, Some(message.clone()), parts.map(Value::clone))
                }
                None => {
                    let answer = world.ephemerals.iter().find(|answer| answer.ts == ts)?;
                    (answer.channel.clone(), None, [answer.blocks.clone(), Value::Null])
                }
            };
            let (block_id, element) = parts.iter().find_map(|part| find_button(part, button))?;
            Some((user, channel, message, block_id, element))
        });
        match found {
            Some((user, channel, message, block_id, element)) => {
                self.0.shared.press(&user, &channel, ts, message, &block_id, &element).await
            }
            None => Reply { text: format!("no button {button:?} on {ts}"), ..Reply::default() },
        }
    }

    /// Somebody takes an entry of a message's menu.
    pub async fn shortcut(&self, user: &str, ts: &str, callback_id: &str) -> Reply {
        let found = self.with(|world| {
            let channel = world.channel_of(ts)?;
            let message = channel.messages.iter().find(|message| message.ts == ts)?;
            Some((world.user(user)?.clone(), channel.id.clone(), message.clone()))
        });
        match found {
            Some((user, channel, message)) => {
                self.0.shared.shortcut(&user, &channel, &message, callback_id).await
            }
            None => Reply { text: format!("no message {ts}"), ..Reply::default() },
        }
    }

    /// Somebody presses a button that their screen still shows on a message of the bot, and that is gone from it.
    pub async fn press_stale(&self, user: &str, ts: &str, button: &Value) -> Reply {
        let found = self.with(|world| {
            let channel = world.channel_of(ts)?;
            let message = channel.messages.iter().find(|message| message.ts == ts)?;
            Some((world.user(user)?.id.clone(), channel.id.clone(), message.clone()))
        });
        match found {
            Some((user, channel, message)) => {
                self.0.shared.press(&user, &channel, ts, Some(message), "stale", button).await
            }
            None => Reply { text: format!("no message {ts}"), ..Reply::default() },
        }
    }
}

/// A button among blocks or attachments: the id of its block, and the button.
fn find_button(parts: &Value, wanted: &str) -> Option<(String, Value)> {
    for block in parts.as_array()? {
        if let Some(found) = find_button(&block["blocks"], wanted) {
            return Some(found);
        }
        let id = block["block_id"].as_str().unwrap_or("").to_owned();
        let elements = block["elements"].as_array().into_iter().flatten();
        for element in elements.chain([&block["accessory"]]).filter(|element| element["type"] == "button") {
            let names = [&element["text"]["text"], &element["action_id"], &element["value"]];
            if names.iter().any(|name| name.as_str() == Some(wanted)) {
                return Some((id, element.clone()));
            }
        }
    }
    None
}

impl Shared {
    async fn slash(
        &self,
        user: &str,
        user_name: &str,
        channel: &str,
        channel_name: &str,
        text: &str,
    ) -> Reply {
        let (command, rest) = text.split_once(' ').unwrap_or((text, ""));
        let (response_url, url) = self.response_url(user, channel, None);
        let payload = json!({"token": "unused", "team_id": TEAM, "team_domain": "lab", "channel_id": channel,
            "channel_name": channel_name, "user_id": user, "user_name": user_name, "command": command,
            "text": rest.trim(), "api_app_id": APP, "is_enterprise_install": "false", "response_url": response_url,
            "trigger_id": self.trigger_id(user)});
        let (status, answer) = self.deliver(Kind::SlashCommand, &payload).await;
        if status != 200 {
            let error = if status == 0 { "operation_timeout" } else { "dispatch_failed" };
            let text = format!("{command} failed with the error \"{error}\"");
            self.tell(user, channel, &text);
            return Reply { status, text, ts: None };
        }
        let text = self.show_ack(&url, &answer);
        Reply { status, text, ts: None }
    }

    /// Shows a command's acknowledgement; gives what a person reads.
    fn show_ack(&self, url: &ResponseUrl, answer: &[u8]) -> String {
        if answer.is_empty() {
            return String::new();
        }
        let body = match serde_json::from_slice::<Value>(answer) {
            Ok(body @ Value::Object(_)) => body,
            _ => json!({"text": String::from_utf8_lossy(answer)}),
        };
        if body == json!({}) {
            return String::new();
        }
        if let Err(code) = respond::show(self, url, &body) {
            return format!("the answer was refused: {code}");
        }
        let text = render::body(body["text"].as_str().unwrap_or(""), &body["blocks"], &body["attachments"]);
        let mut world = self.world.lock().expect("world");
        // Whoever gets the reply has read it.
        if let Some(answer) = world.ephemerals.back_mut().filter(|_| body["response_type"] != "in_channel") {
            answer.read = true;
        }
        render::readable(&text, &world)
    }

    async fn message(
        &self,
        user: &str,
        channel: &str,
        thread: Option<&str>,
        text: &str,
        is_dm: bool,
    ) -> Reply {
        let now = self.clock.now();
        let mention = format!("<@{BOT_USER}>");
        let text = text.replace("@boardhand", &mention);
        let ts = self.change(|world| {
            let ts = world.next_ts(now);
            let message = Message {
                ts: ts.clone(),
                thread_ts: thread.map(str::to_owned),
                user: user.to_owned(),
                text: text.clone(),
                blocks: Value::Null,
                attachments: Value::Null,
                metadata: Value::Null,
                edits: 0,
                broadcast: false,
                files: Value::Null,
                reactions: vec![],
                read: true,
            };
            world.add(channel, message);
            ts
        });
        if !is_dm && !text.contains(&mention) {
            return Reply { ts: Some(ts), ..Reply::default() };
        }
        let mut event = json!({"type": if is_dm { "message" } else { "app_mention" }, "user": user, "text": text,
            "ts": ts, "channel": channel, "event_ts": ts, "team": TEAM});
        if is_dm {
            event["channel_type"] = json!("im");
        }
        if let Some(thread) = thread {
            event["thread_ts"] = json!(thread);
        }
        Reply { status: self.event(&event, now).await, text: String::new(), ts: Some(ts) }
    }

    /// Tells the app of an event; gives the status of its acknowledgement.
    pub(super) async fn event(&self, event: &Value, at: Timestamp) -> u16 {
        let wrapper = json!({"token": "unused", "team_id": TEAM, "api_app_id": APP, "event": event,
            "type": "event_callback", "event_id": format!("Ev{}", self.ids.letters(10).to_uppercase()),
            "event_time": at.as_secs(), "is_ext_shared_channel": false,
            "authorizations": [{"team_id": TEAM, "user_id": BOT_USER, "is_bot": true}]});
        self.deliver(Kind::Event, &wrapper).await.0
    }

    async fn press(
        &self,
        user: &str,
        channel: &str,
        ts: &str,
        message: Option<Message>,
        block_id: &str,
        element: &Value,
    ) -> Reply {
        let source = message.as_ref().map(|_| ts.to_owned());
        let (response_url, _) = self.response_url(user, channel, source);
        let (user_name, channel_name) = {
            let world = self.world.lock().expect("world");
            let channel_name = world.channels.get(channel).map(|channel| channel.name.clone());
            (world.name_of(user).to_owned(), channel_name.unwrap_or_default())
        };
        let now = self.clock.now().as_micros();
        let mut action = json!({"type": "button", "block_id": block_id,
            "action_ts": format!("{}.{:06}", now / 1_000_000, now % 1_000_000)});
        for key in ["action_id", "text", "value", "style"] {
            if !element[key].is_null() {
                action[key] = element[key].clone();
            }
        }
        let mut payload = json!({"type": "block_actions", "team": {"id": TEAM, "domain": "lab"},
            "user": {"id": user, "username": user_name, "name": user_name, "team_id": TEAM},
            "api_app_id": APP, "token": "unused", "trigger_id": self.trigger_id(user), "enterprise": null,
            "is_enterprise_install": false, "channel": {"id": channel, "name": channel_name},
            "container": {"type": "message", "message_ts": ts, "channel_id": channel, "is_ephemeral": message.is_none()},
            "state": {"values": {}}, "response_url": response_url, "actions": [action]});
        if let Some(message) = message {
            if let Some(thread) = &message.thread_ts {
                payload["container"]["thread_ts"] = json!(thread);
            }
            payload["message"] = message.to_json(false);
        }
        let (status, _) = self.deliver(Kind::Interaction, &payload).await;
        let text = match status {
            200 => String::new(),
            0 => "This app took too long to respond.".to_owned(),
            _ => "This app responded with an error.".to_owned(),
        };
        if status != 200 {
            self.tell(user, channel, &text);
        }
        Reply { status, text, ts: None }
    }

    async fn shortcut(&self, user: &User, channel: &str, message: &Message, callback_id: &str) -> Reply {
        let (response_url, _) = self.response_url(&user.id, channel, Some(message.ts.clone()));
        let payload = json!({"type": "message_action", "callback_id": callback_id, "trigger_id": self.trigger_id(&user.id),
            "message_ts": message.ts, "message": message.to_json(false), "response_url": response_url,
            "action_ts": message.ts, "team": {"id": TEAM, "domain": "lab"},
            "user": {"id": user.id, "username": user.name, "name": user.name, "team_id": TEAM},
            "channel": {"id": channel, "name": channel}, "api_app_id": APP, "token": "unused", "enterprise": null,
            "is_enterprise_install": false});
        let (status, _) = self.deliver(Kind::Interaction, &payload).await;
        Reply { status, ..Reply::default() }
    }

    /// Slack itself tells one person something.
    fn tell(&self, user: &str, channel: &str, text: &str) {
        let now = self.clock.now();
        self.change(|world| {
            let ts = world.next_ts(now);
            world.add_ephemeral(Ephemeral {
                ts,
                channel: channel.to_owned(),
                thread_ts: None,
                user: user.to_owned(),
                text: text.to_owned(),
                blocks: Value::Null,
                read: true,
            });
        });
    }

    pub(super) fn response_url(
        &self,
        user: &str,
        channel: &str,
        source: Option<String>,
    ) -> (String, ResponseUrl) {
        let token = self.ids.letters(24);
        let url = ResponseUrl {
            channel: channel.to_owned(),
            user: user.to_owned(),
            source,
            made_at: self.clock.now(),
            uses: 0,
        };
        self.change(|world| world.add_response_url(token.clone(), url.clone()));
        (format!("http://{}/respond/{token}", self.addr), url)
    }

    /// What lets the app open a modal for somebody who has just done something.
    pub(super) fn trigger_id(&self, user: &str) -> String {
        let id = format!("{}.{}.{}", self.ids.below(1 << 40), self.ids.below(1 << 40), self.ids.letters(32));
        let now = self.clock.now();
        self.change(|world| views::add_trigger(world, &id, user, now));
        id
    }
}
