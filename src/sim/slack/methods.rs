//! The methods of the simulated Web API: arguments in, answer or Slack's error code out.

use serde_json::{Value, json};

use super::model::{BOT_ID, BOT_USER, Channel, Ephemeral, Message, TEAM, World};
use super::{Shared, files, validate, views};

/// Messages on one page of a history when the call does not say.
const PAGE_DEFAULT: usize = 100;
/// Most messages on one page.
const PAGE_MAX: usize = 999;

/// Names of reactions that this workspace knows: Slack has thousands, and refuses any other name.
const REACTIONS: [&str; 8] =
    ["eyes", "white_check_mark", "x", "warning", "alarm_clock", "no_entry_sign", "thumbsup", "hourglass"];

/// Why a call was refused.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) code: String,
    /// What exactly is wrong, where Slack says so.
    pub(super) detail: Option<String>,
    /// The scope that the app lacks.
    pub(super) needed: &'static str,
}

impl Failure {
    pub(super) fn new(code: &str) -> Self {
        Failure { code: code.to_owned(), detail: None, needed: "" }
    }

    pub(super) fn to_json(&self) -> Value {
        let mut answer = json!({"ok": false, "error": self.code});
        if let Some(detail) = &self.detail {
            answer["response_metadata"] = json!({"messages": [format!("[ERROR] {detail}")]});
        }
        if self.code == "missing_scope" {
            answer["needed"] = json!(self.needed);
            answer["provided"] = json!("chat:write,commands");
        }
        answer
    }
}

pub(super) type Answer = Result<Value, Failure>;

/// What an app that may do without it must have for a method.
fn scope_of(method: &str) -> Option<&'static str> {
    match method {
        "conversations.history" | "conversations.replies" => Some("channels:history"),
        "conversations.open" => Some("im:write"),
        "pins.add" => Some("pins:write"),
        "users.info" => Some("users:read"),
        "reactions.add" | "reactions.remove" => Some("reactions:write"),
        "usergroups.users.list" => Some("usergroups:read"),
        "files.getUploadURLExternal" | "files.completeUploadExternal" => Some("files:write"),
        _ => None,
    }
}

/// Carries out one call.
pub(super) fn call(shared: &Shared, method: &str, arguments: &Value) -> Answer {
    if let Some(scope) =
        scope_of(method).filter(|scope| shared.taken_scopes.lock().expect("scopes").contains(*scope))
    {
        return Err(Failure { needed: scope, ..Failure::new("missing_scope") });
    }
    match method {
        "auth.test" => Ok(json!({"ok": true, "url": format!("http://{}/", shared.addr), "team": "Lab",
            "user": "boardhand", "team_id": TEAM, "user_id": BOT_USER, "bot_id": BOT_ID})),
        "chat.postMessage" => post(shared, arguments),
        "chat.update" => update(shared, arguments),
        "chat.delete" => delete(shared, arguments),
        "chat.postEphemeral" => post_ephemeral(shared, arguments),
        "chat.getPermalink" => shared.change(|world| {
            let (channel, ts) = (text(arguments, "channel"), text(arguments, "message_ts"));
            world.channel(channel).ok_or_else(|| Failure::new("channel_not_found"))?;
            world.message(channel, ts).ok_or_else(|| Failure::new("message_not_found"))?;
            let link = format!("http://{}/archives/{channel}/p{}", shared.addr, ts.replace('.', ""));
            Ok(json!({"ok": true, "channel": channel, "permalink": link}))
        }),
        "conversations.info" => shared.change(|world| {
            let channel = known(world, arguments)?;
            Ok(json!({"ok": true, "channel": {"id": channel.id, "name": channel.name,
                "is_member": channel.has_bot, "is_im": channel.dm_of.is_some(), "is_archived": false}}))
        }),
        "conversations.history" | "conversations.replies" => {
            shared.change(|world| history(world, arguments, method.ends_with("replies")))
        }
        "users.info" => shared.change(|world| {
            let user =
                world.users.get(text(arguments, "user")).ok_or_else(|| Failure::new("user_not_found"))?;
            let locale = user.locale.as_ref().filter(|_| flag(arguments, "include_locale"));
            Ok(json!({"ok": true, "user": {"id": user.id, "locale": locale, "team_id": TEAM, "name": user.name,
                "real_name": user.name, "tz": "Etc/UTC", "tz_offset": 0, "is_bot": user.id == BOT_USER,
                "deleted": false, "profile": {"display_name": user.name, "real_name": user.name}}}))
        }),
        "pins.add" => shared.change(|world| {
            let channel = joined(world, arguments)?.id.clone();
            let ts = text(arguments, "timestamp").to_owned();
            world.message(&channel, &ts).ok_or_else(|| Failure::new("message_not_found"))?;
            match world.pins.insert((channel, ts)) {
                true => Ok(json!({"ok": true})),
                false => Err(Failure::new("already_pinned")),
            }
        }),
        "reactions.add" | "reactions.remove" => {
            shared.change(|world| react(world, arguments, method.ends_with("add")))
        }
        "usergroups.users.list" => shared.change(|world| {
            let members = world.groups.get(text(arguments, "usergroup"));
            let members = members.ok_or_else(|| Failure::new("no_such_subteam"))?;
            Ok(json!({"ok": true, "users": members}))
        }),
        "files.getUploadURLExternal" => files::begin(shared, arguments),
        "files.completeUploadExternal" => files::complete(shared, arguments),
        "views.open" => views::open(shared, arguments),
        "views.publish" => views::publish(shared, arguments),
        "views.update" => views::update(shared, arguments),
        "conversations.open" => shared.change(|world| {
            let user = text(arguments, "users");
            let direct = world.channels.values().find(|channel| channel.dm_of.as_deref() == Some(user));
            let direct = direct.ok_or_else(|| Failure::new("user_not_found"))?;
            Ok(json!({"ok": true, "channel": {"id": direct.id}}))
        }),
        _ => Err(Failure::new("unknown_method")),
    }
}

pub(super) fn text<'v>(arguments: &'v Value, name: &str) -> &'v str {
    arguments[name].as_str().unwrap_or("")
}

/// A flag of a JSON body or a form.
fn flag(arguments: &Value, name: &str) -> bool {
    arguments[name].as_bool().unwrap_or(matches!(text(arguments, name), "true" | "1"))
}

fn known<'w>(world: &'w World, arguments: &Value) -> Result<&'w Channel, Failure> {
    let id = text(arguments, "channel");
    let by_user = || world.channels.values().find(|channel| channel.dm_of.as_deref() == Some(id));
    world.channels.get(id).or_else(by_user).ok_or_else(|| Failure::new("channel_not_found"))
}

pub(super) fn joined<'w>(world: &'w World, arguments: &Value) -> Result<&'w Channel, Failure> {
    let channel = known(world, arguments)?;
    if channel.has_bot { Ok(channel) } else { Err(Failure::new("not_in_channel")) }
}

fn checked(arguments: &Value) -> Result<(), Failure> {
    validate::check_message(arguments)
        .map_err(|refusal| Failure { detail: Some(refusal.detail), ..Failure::new(refusal.code) })
}

fn post(shared: &Shared, arguments: &Value) -> Answer {
    let now = shared.clock.now();
    shared.change(|world| {
        let channel = joined(world, arguments)?.id.clone();
        checked(arguments)?;
        let thread_ts = arguments["thread_ts"].as_str().map(str::to_owned);
        if let Some(thread) = &thread_ts {
            // Only a message that is no reply itself can carry a thread.
            let parent = world.message(&channel, thread).filter(|parent| parent.thread_ts.is_none());
            parent.ok_or_else(|| Failure::new("cannot_reply_to_message"))?;
        }
        let message = Message {
            ts: world.next_ts(now),
            broadcast: thread_ts.is_some() && flag(arguments, "reply_broadcast"),
            files: Value::Null,
            reactions: vec![],
            thread_ts,
            user: BOT_USER.to_owned(),
            text: text(arguments, "text").to_owned(),
            blocks: arguments["blocks"].clone(),
            attachments: arguments["attachments"].clone(),
            metadata: arguments["metadata"].clone(),
            edits: 0,
            read: false,
        };
        let answer =
            json!({"ok": true, "channel": channel, "ts": message.ts, "message": message.to_json(true)});
        world.add(&channel, message);
        Ok(answer)
    })
}

fn update(shared: &Shared, arguments: &Value) -> Answer {
    shared.change(|world| {
        let channel = joined(world, arguments)?.id.clone();
        let ts = text(arguments, "ts");
        let message = world.message_mut(&channel, ts).ok_or_else(|| Failure::new("message_not_found"))?;
        if message.user != BOT_USER {
            return Err(Failure::new("cant_update_message"));
        }
        checked(arguments)?;
        for (part, name) in [
            (&mut message.blocks, "blocks"),
            (&mut message.attachments, "attachments"),
            (&mut message.metadata, "metadata"),
        ] {
            // What the call does not name stays as it is.
            if !arguments[name].is_null() {
                *part = arguments[name].clone();
            }
        }
        if arguments["text"].is_string() {
            message.text = text(arguments, "text").to_owned();
        }
        message.edits += 1;
        Ok(json!({"ok": true, "channel": channel, "ts": ts, "text": message.text, "message": message.to_json(true)}))
    })
}

fn delete(shared: &Shared, arguments: &Value) -> Answer {
    shared.change(|world| {
        let channel = joined(world, arguments)?.id.clone();
        let ts = text(arguments, "ts");
        let message = world.message_mut(&channel, ts).ok_or_else(|| Failure::new("message_not_found"))?;
        if message.user != BOT_USER {
            return Err(Failure::new("cant_delete_message"));
        }
        if let Some(channel) = world.channels.get_mut(&channel) {
            channel.messages.retain(|message| message.ts != ts);
        }
        Ok(json!({"ok": true, "channel": channel, "ts": ts}))
    })
}

/// Puts a reaction of the bot on a message, or takes it off.
fn react(world: &mut World, arguments: &Value, puts: bool) -> Answer {
    let channel = joined(world, arguments)?.id.clone();
    let [ts, name] = ["timestamp", "name"].map(|name| text(arguments, name).to_owned());
    if !REACTIONS.contains(&name.as_str()) {
        return Err(Failure::new("invalid_name"));
    }
    let message = world.message_mut(&channel, &ts).ok_or_else(|| Failure::new("message_not_found"))?;
    let at = message.reactions.iter().position(|known| *known == name);
    match (puts, at) {
        (true, Some(_)) => Err(Failure::new("already_reacted")),
        (false, None) => Err(Failure::new("no_reaction")),
        (true, None) => {
            message.reactions.push(name);
            Ok(json!({"ok": true}))
        }
        (false, Some(at)) => {
            message.reactions.remove(at);
            Ok(json!({"ok": true}))
        }
    }
}

fn post_ephemeral(shared: &Shared, arguments: &Value) -> Answer {
    let now = shared.clock.now();
    shared.change(|world| {
        // Unlike a message, it goes to a channel only, and not to a person.
        if !world.channels.contains_key(text(arguments, "channel")) {
            return Err(Failure::new("channel_not_found"));
        }
        let channel = joined(world, arguments)?.id.clone();
        let user = text(arguments, "user").to_owned();
        if !world.users.contains_key(&user) {
            return Err(Failure::new("user_not_in_channel"));
        }
        checked(arguments)?;
        let ts = world.next_ts(now);
        world.add_ephemeral(Ephemeral {
            ts: ts.clone(),
            channel,
            thread_ts: arguments["thread_ts"].as_str().map(str::to_owned),
            user,
            text: text(arguments, "text").to_owned(),
            blocks: arguments["blocks"].clone(),
            read: false,
        });
        Ok(json!({"ok": true, "message_ts": ts}))
    })
}

/// A page of a channel (newest first) or of a thread (its first message, then replies, oldest first).
fn history(world: &World, arguments: &Value, replies: bool) -> Answer {
    let channel = joined(world, arguments)?;
    let root = text(arguments, "ts");
    let mut found: Vec<&Message> = if replies {
        let found: Vec<_> = world.thread(&channel.id, root).collect();
        if found.is_empty() {
            return Err(Failure::new("thread_not_found"));
        }
        found
    } else {
        channel
            .messages
            .iter()
            .rev()
            .filter(|message| message.thread_ts.is_none() || message.broadcast)
            .collect()
    };
    let inclusive = flag(arguments, "inclusive");
    let micros = |ts: &str| ts.parse::<f64>().map_or(0, |seconds| (seconds * 1e6).round() as i64);
    if let Some(oldest) = arguments["oldest"].as_str().map(micros) {
        found.retain(|message| {
            let ts = micros(&message.ts);
            ts > oldest || (inclusive && ts == oldest) || (replies && message.ts == root)
        });
    }
    if let Some(latest) = arguments["latest"].as_str().map(micros) {
        found.retain(|message| {
            let ts = micros(&message.ts);
            ts < latest || (inclusive && ts == latest) || (replies && message.ts == root)
        });
    }
    let number = |name: &str| arguments[name].as_u64().or_else(|| text(arguments, name).parse().ok());
    let limit = number("limit").map_or(PAGE_DEFAULT, |limit| limit as usize).clamp(1, PAGE_MAX);
    let from = text(arguments, "cursor").parse::<usize>().unwrap_or(0).min(found.len());
    let page = &found[from..(from + limit).min(found.len())];
    let has_more = from + page.len() < found.len();
    let with_metadata = flag(arguments, "include_all_metadata");
    let messages: Vec<Value> = page.iter().map(|message| message.to_json(with_metadata)).collect();
    let cursor = if has_more { (from + page.len()).to_string() } else { String::new() };
    Ok(
        json!({"ok": true, "messages": messages, "has_more": has_more, "response_metadata": {"next_cursor": cursor}}),
    )
}
