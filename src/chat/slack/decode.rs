//! From the body of a verified Slack request to a [`Delivery`]; what people press is in `interaction`, what they fill in
//! in `view`. Pure; decides nothing: words stay as they were
//! typed (also Slack's `&amp;` and `<@U1|name>`), the parser makes sense of them.
//!
//! Slack sends three kinds of bodies: a slash command is a form; a click is a form with one field, `payload`, that
//! holds JSON; an event is JSON. Over a socket all three come as JSON. Unknown fields are skipped without being built, however deep they are.

mod found;
mod interaction;
mod view;

pub use found::found;
pub use interaction::RERUN;
pub use view::{FormChange, Submission};

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::chat::{Actor, AnswerVia, Delivery, Intent, Place, Platform, key_of};
use crate::clock::Timestamp;

/// Longest unsigned `ssl_check` body that is looked at.
const SSL_CHECK_BYTES_MAX: usize = 1024;

/// What a request of Slack is.
#[derive(Debug, Clone, PartialEq)]
pub enum Inbound {
    /// Slack asks whether the URL is ours: answer 200 with the challenge as plain text.
    UrlVerification {
        /// What to answer.
        challenge: String,
    },
    /// Slack asks whether our certificate is good: answer 200 with an empty body.
    SslCheck,
    /// Somebody wants something.
    Delivery(Box<Delivery>),
    /// Somebody filled in the form that starts a run.
    Submission(Box<Submission>),
    /// Somebody chose in that form what the rest of it depends on.
    FormChange(Box<FormChange>),
    /// Somebody opened the app's Home.
    Home {
        /// Whose Home it is.
        actor: Actor,
        /// Whether they are of another workspace.
        foreign: bool,
    },
    /// Nothing for us: answer 200 with an empty body.
    Ignored {
        /// Why, for the log.
        reason: &'static str,
    },
}

/// What an envelope of Socket Mode carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    /// A slash command: the form's fields.
    SlashCommand,
    /// A click: what stands in the form's `payload`.
    Interaction,
    /// An event: the body.
    Event,
}

/// A verified body that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeProblem {
    /// Neither a form nor JSON by its content type.
    #[error("content type is neither a form nor JSON")]
    ContentType,
    /// Not the JSON that Slack sends.
    #[error("the body is not JSON of Slack's shape, line {line} column {column}")]
    Json {
        /// Line in the JSON text, from 1.
        line: usize,
        /// Column in the JSON text.
        column: usize,
    },
    /// A field is missing or empty.
    #[error("field `{0}` is missing")]
    Missing(&'static str),
}

/// Whether a body is Slack's certificate probe, which old apps get unsigned. The door asks this when a request has no
/// signature, and answers 200 with nothing; a body that also carries a command or a click is never one.
pub fn is_ssl_check(body: &[u8]) -> bool {
    // Every delivery is asked this: most are not taken apart for it.
    if body.len() > SSL_CHECK_BYTES_MAX || memchr::memmem::find(body, b"ssl").is_none() {
        return false;
    }
    let form = Form::parse(body);
    form.get("ssl_check") == Some("1") && form.get("command").is_none() && form.get("payload").is_none()
}

/// Decodes the body of a request whose signature was verified.
pub fn decode(content_type: &str, body: &[u8], now: Timestamp) -> Result<Inbound, DecodeProblem> {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/x-www-form-urlencoded" if is_ssl_check(body) => Ok(Inbound::SslCheck),
        "application/x-www-form-urlencoded" => {
            let form = Form::parse(body);
            match form.get("payload") {
                Some(payload) => interaction::decode(payload.as_bytes(), now),
                None => slash_command(&form, now),
            }
        }
        "application/json" => event(body, now),
        _ => Err(DecodeProblem::ContentType),
    }
}

/// Decodes what came in an envelope, which is what the webhook gets, as JSON. That it is Slack's was proved by the
/// connection.
pub fn decode_carried(carried: Carried, payload: &[u8], now: Timestamp) -> Result<Inbound, DecodeProblem> {
    match carried {
        Carried::SlashCommand => slash_command(&Form::of_json(payload)?, now),
        Carried::Interaction => interaction::decode(payload, now),
        Carried::Event => event(payload, now),
    }
}

// ---- slash commands ---------------------------------------------------------------------------------------

struct Form<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Form<'a> {
    fn parse(body: &'a [u8]) -> Form<'a> {
        Form(form_urlencoded::parse(body).collect())
    }

    /// The fields of a JSON object that are text.
    fn of_json(payload: &'a [u8]) -> Result<Form<'a>, DecodeProblem> {
        let fields: BTreeMap<String, Value> = json(payload)?;
        let texts = fields.into_iter().filter_map(|(name, value)| match value {
            Value::String(text) => Some((name.into(), text.into())),
            _ => None,
        });
        Ok(Form(texts.collect()))
    }

    /// The first value of a field; an empty one counts as missing.
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_ref()).filter(|v| !v.is_empty())
    }

    fn need(&self, name: &'static str) -> Result<&str, DecodeProblem> {
        self.get(name).ok_or(DecodeProblem::Missing(name))
    }
}

fn slash_command(form: &Form<'_>, now: Timestamp) -> Result<Inbound, DecodeProblem> {
    let command = form.need("command")?;
    let text = form.get("text").unwrap_or_default();
    let actor = Actor {
        platform: Platform::Slack,
        id: form.need("user_id")?.to_owned(),
        team: form.get("team_id").unwrap_or_default().to_owned(),
        name: form.get("user_name").unwrap_or_default().to_owned(),
    };
    let words = if text.is_empty() { command.to_owned() } else { format!("{command} {text}") };
    Ok(delivery(Parts {
        key: form.need("trigger_id")?,
        now,
        actor,
        // Nobody can use the commands of another workspace.
        foreign: false,
        channel: form.need("channel_id")?,
        // Slack does not say in which thread a slash command was typed: it cannot be.
        thread: None,
        response_url: form.get("response_url"),
        sent_at: None,
        intent: Intent::Text(words),
        trigger: form.get("trigger_id").map(str::to_owned),
        message: None,
    }))
}

// ---- events -----------------------------------------------------------------------------------------------

#[derive(Deserialize)]
struct Wrapper {
    #[serde(rename = "type")]
    kind: Option<String>,
    challenge: Option<String>,
    team_id: Option<String>,
    event_id: Option<String>,
    #[serde(default)]
    event_time: Value,
    event: Option<Event>,
    #[serde(default)]
    authorizations: Vec<Authorization>,
    /// Whether others' people are in the channel.
    is_ext_shared_channel: Option<bool>,
}

/// An installation of the app that sees an event.
#[derive(Deserialize)]
struct Authorization {
    user_id: Option<String>,
    team_id: Option<String>,
    enterprise_id: Option<String>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: Option<String>,
    channel_type: Option<String>,
    subtype: Option<String>,
    bot_id: Option<String>,
    user: Option<String>,
    user_team: Option<String>,
    team: Option<String>,
    text: Option<String>,
    channel: Option<String>,
    ts: Option<String>,
    thread_ts: Option<String>,
}

fn event(body: &[u8], now: Timestamp) -> Result<Inbound, DecodeProblem> {
    // Looked at first: other JSON of Slack (`app_rate_limited`, new event types) need not have our fields' types.
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(rename = "type", borrow)]
        kind: Option<std::borrow::Cow<'a, str>>,
        #[serde(borrow)]
        event: Option<EventKind<'a>>,
    }
    #[derive(Deserialize)]
    struct EventKind<'a> {
        #[serde(rename = "type", borrow)]
        kind: Option<std::borrow::Cow<'a, str>>,
        /// Which side of the Home was opened.
        #[serde(default)]
        tab: Value,
    }
    let kind: Kind<'_> = json(body)?;
    let ours = match kind.kind.as_deref() {
        Some("url_verification") => true,
        Some("event_callback") => {
            let event = kind.event.ok_or(DecodeProblem::Missing("event"))?;
            if event.kind.as_deref() == Some("app_home_opened") && event.tab == "home" {
                return home(json(body)?);
            }
            matches!(event.kind.as_deref(), Some("app_mention" | "message"))
        }
        Some(_) => false,
        None => return Err(DecodeProblem::Missing("type")),
    };
    if !ours {
        return Ok(Inbound::Ignored { reason: "an event we do not use" });
    }
    let wrapper: Wrapper = json(body)?;
    match wrapper.kind.as_deref() {
        Some("url_verification") => {
            Ok(Inbound::UrlVerification { challenge: need(wrapper.challenge, "challenge")? })
        }
        _ => message(wrapper, now),
    }
}

fn message(wrapper: Wrapper, now: Timestamp) -> Result<Inbound, DecodeProblem> {
    let event = wrapper.event.ok_or(DecodeProblem::Missing("event"))?;
    let bot = wrapper.authorizations.iter().find_map(|a| filled(a.user_id.clone()));
    let mention = event.kind.as_deref() == Some("app_mention");
    let direct = event.channel_type.as_deref() == Some("im");
    if !mention && !direct {
        return Ok(Inbound::Ignored { reason: "a message that is not to us" });
    }
    if event.bot_id.is_some() || (bot.is_some() && event.user == bot) {
        return Ok(Inbound::Ignored { reason: "a message of a bot" });
    }
    // What people write comes with a subtype too: beside a file, or from a thread to the conversation.
    let written = ["file_share", "thread_broadcast", "me_message"];
    if event.subtype.as_deref().is_some_and(|subtype| !written.contains(&subtype)) {
        return Ok(Inbound::Ignored { reason: "a message that was edited, deleted or made by Slack" });
    }
    // Slack sends an event again for minutes, with delayed events on for a day: what was said long ago is not obeyed.
    let sent_at =
        wrapper.event_time.as_i64().map(|secs| Timestamp::from_micros(secs.saturating_mul(1_000_000)));
    let words = without_mention(event.text.as_deref().unwrap_or_default(), bot.as_deref());
    // In a channel that is shared with another workspace, its people write too.
    let team = filled(event.user_team).or(filled(event.team));
    let installed =
        wrapper.authorizations.into_iter().flat_map(|a| [filled(a.team_id), filled(a.enterprise_id)]);
    let mut homes: Vec<String> = installed.flatten().collect();
    if homes.is_empty() {
        homes.extend(filled(wrapper.team_id.clone()));
    }
    // Where others are and nobody says whose they are, they are not ours.
    let is_shared = wrapper.is_ext_shared_channel == Some(true);
    let foreign = !homes.is_empty() && team.as_ref().map_or(is_shared, |team| !homes.contains(team));
    let actor = by(need(event.user, "event.user")?, team.or(wrapper.team_id));
    let (channel, said) = (need(event.channel, "event.channel")?, filled(event.ts));
    let key = match &said {
        Some(ts) => message_key(&channel, ts),
        None => need(wrapper.event_id, "event_id")?,
    };
    Ok(delivery(Parts {
        key: &key,
        now,
        actor,
        foreign,
        channel: &channel,
        thread: filled(event.thread_ts),
        response_url: None,
        sent_at,
        intent: Intent::Text(words),
        trigger: None,
        message: said,
    }))
}

/// What a message is known by, however it reaches us: as one event or as two, sent again, or found in its thread.
fn message_key(channel: &str, ts: &str) -> String {
    format!("message:{channel}:{ts}")
}

/// Somebody looks at the app's Home: of their own workspace, since it is shown in no other.
fn home(wrapper: Wrapper) -> Result<Inbound, DecodeProblem> {
    let user = need(wrapper.event.and_then(|event| event.user), "event.user")?;
    Ok(Inbound::Home { actor: by(user, wrapper.team_id), foreign: false })
}

fn by(id: String, team: Option<String>) -> Actor {
    Actor { platform: Platform::Slack, id, team: team.unwrap_or_default(), name: String::new() }
}

/// The words without the first mention of us; when Slack does not say who we are, without the mention they begin
/// with.
fn without_mention(text: &str, bot: Option<&str>) -> String {
    let text = text.trim();
    let found = match bot {
        Some(bot) => text.match_indices("<@").find_map(|(start, _)| {
            let (id, end) = mention_at(text, start)?;
            (id == bot).then_some((start, end))
        }),
        None if text.starts_with("<@") => mention_at(text, 0).map(|(_, end)| (0, end)),
        None => None,
    };
    match found {
        Some((start, end)) => {
            format!("{} {}", text[..start].trim_end(), text[end..].trim_start()).trim().to_owned()
        }
        None => text.to_owned(),
    }
}

/// The id of the mention `<@U1>` or `<@U1|name>` at `start`, and where it ends.
fn mention_at(text: &str, start: usize) -> Option<(&str, usize)> {
    let inside = &text[start + 2..];
    let length = inside.find('>')?;
    let id = inside[..length].split('|').next().unwrap_or_default();
    Some((id, start + 2 + length + 1))
}

// ---- helpers ----------------------------------------------------------------------------------------------

struct Parts<'a> {
    key: &'a str,
    now: Timestamp,
    actor: Actor,
    foreign: bool,
    channel: &'a str,
    thread: Option<String>,
    response_url: Option<&'a str>,
    sent_at: Option<Timestamp>,
    intent: Intent,
    trigger: Option<String>,
    message: Option<String>,
}

fn delivery(parts: Parts<'_>) -> Inbound {
    let place = Place { platform: Platform::Slack, channel: parts.channel.to_owned(), thread: parts.thread };
    let answer_via = AnswerVia {
        url: parts.response_url.map(str::to_owned),
        user: parts.actor.id.clone(),
        place: place.clone(),
    };
    Inbound::Delivery(Box::new(Delivery {
        key: key_of(Platform::Slack, parts.key),
        received_at: parts.now,
        sent_at: parts.sent_at,
        actor: parts.actor,
        standing: None,
        source: None,
        foreign: parts.foreign,
        direct: false,
        place,
        intent: parts.intent,
        answer_via,
        trigger: parts.trigger,
        message: parts.message,
    }))
}

fn json<'de, T: Deserialize<'de>>(text: &'de [u8]) -> Result<T, DecodeProblem> {
    serde_json::from_slice(text).map_err(|e| DecodeProblem::Json { line: e.line(), column: e.column() })
}

fn filled(value: Option<String>) -> Option<String> {
    value.filter(|v| !v.is_empty())
}

fn need(value: Option<String>, field: &'static str) -> Result<String, DecodeProblem> {
    filled(value).ok_or(DecodeProblem::Missing(field))
}

#[cfg(test)]
mod tests;
