//! From the body of a proved Feishu request to a [`Delivery`]. Pure; decides nothing: words stay as they were typed,
//! but for mentions, which Feishu sends as keys (`@_user_1`) beside the text.
//!
//! Events are of schema 2.0; three are of use: a message to the bot, a pressed button, and an entry of the bot's menu.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::chat::{Actor, AnswerVia, Delivery, Intent, Place, Platform, key_of};
use crate::clock::Timestamp;
use crate::command::Click;

/// Most parts of one rich message that are read.
const POST_PARTS_MAX: usize = 200;
/// Under this name a button's value carries our [`Click`].
pub const CLICK: &str = "click";

/// A body whose outside was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Outside {
    /// It hides the rest.
    Covered(String),
    /// It is the rest.
    Plain,
}

/// What a request of Feishu is.
#[derive(Debug, Clone, PartialEq)]
pub enum Inbound {
    /// Feishu asks whether the URL is ours: answer 200 with the challenge.
    UrlVerification {
        /// What to answer.
        challenge: String,
    },
    /// Somebody wants something.
    Delivery(Box<Delivery>),
    /// Nothing for us: answer 200 with an empty object.
    Ignored {
        /// Why, for the log.
        reason: &'static str,
    },
}

/// A request that was decoded, and the token that it carries.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// What it is.
    pub inbound: Inbound,
    /// The Verification Token inside; to be compared before anything is believed.
    pub token: String,
    /// Whether such a request may come without a signature: Feishu signs neither its challenge nor every click.
    pub may_be_unsigned: bool,
    /// When Feishu made it, as it says under the cover: what no signature dates must be young by this.
    pub made_at: Option<Timestamp>,
}

/// A body that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeProblem {
    /// Not the JSON that Feishu sends.
    #[error("the body is not JSON of Feishu's shape, line {line} column {column}")]
    Json {
        /// Line in the JSON text, from 1.
        line: usize,
        /// Column in the JSON text.
        column: usize,
    },
    /// A field is missing or empty.
    #[error("field `{0}` is missing")]
    Missing(&'static str),
    /// An event of the first schema, which only old apps get.
    #[error("an event of schema 1.0: subscribe to the event's 2.0 version")]
    Schema,
}

#[derive(Deserialize)]
struct Cover {
    encrypt: Option<String>,
}

/// Looks at the outside of a body.
pub fn outside(body: &[u8]) -> Result<Outside, DecodeProblem> {
    let cover: Cover = json(body)?;
    Ok(cover.encrypt.filter(|text| !text.is_empty()).map_or(Outside::Plain, Outside::Covered))
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: Option<String>,
    challenge: Option<String>,
    token: Option<String>,
    schema: Option<String>,
    header: Option<Header>,
    event: Option<Value>,
}

#[derive(Deserialize)]
struct Header {
    event_id: Option<String>,
    event_type: Option<String>,
    create_time: Option<String>,
    token: Option<String>,
    tenant_key: Option<String>,
}

/// Decodes what stands under the cover. `bot` is our own `open_id`, as far as it is known.
pub fn decode(body: &[u8], now: Timestamp, bot: Option<&str>) -> Result<Decoded, DecodeProblem> {
    let envelope: Envelope = json(body)?;
    if envelope.kind.as_deref() == Some("url_verification") {
        let inbound = Inbound::UrlVerification { challenge: need(envelope.challenge, "challenge")? };
        let token = envelope.token.unwrap_or_default();
        return Ok(Decoded { inbound, token, may_be_unsigned: true, made_at: None });
    }
    if envelope.schema.is_none() {
        return Err(DecodeProblem::Schema);
    }
    let header = envelope.header.ok_or(DecodeProblem::Missing("header"))?;
    let kind = need(header.event_type, "header.event_type")?;
    let about = About {
        key: key_of(Platform::Feishu, &need(header.event_id, "header.event_id")?),
        tenant: header.tenant_key.unwrap_or_default(),
        now,
    };
    let event = envelope.event.ok_or(DecodeProblem::Missing("event"));
    let inbound = match kind.as_str() {
        "im.message.receive_v1" => message(part(event?)?, about, bot)?,
        "card.action.trigger" => click(part(event?)?, about)?,
        "application.bot.menu_v6" => menu(part(event?)?, about)?,
        _ => Inbound::Ignored { reason: "an event we do not use" },
    };
    let may_be_unsigned = kind == "card.action.trigger";
    let made_at = header.create_time.as_deref().and_then(instant);
    Ok(Decoded { inbound, token: header.token.unwrap_or_default(), may_be_unsigned, made_at })
}

/// What every event says of itself.
struct About {
    key: String,
    tenant: String,
    now: Timestamp,
}

#[derive(Deserialize, Default)]
struct PersonId {
    open_id: Option<String>,
}

// ---- messages ---------------------------------------------------------------------------------------------

#[derive(Deserialize)]
struct MessageEvent {
    sender: Option<Sender>,
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Sender {
    sender_id: Option<PersonId>,
    sender_type: Option<String>,
    tenant_key: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    message_id: Option<String>,
    root_id: Option<String>,
    create_time: Option<String>,
    chat_id: Option<String>,
    chat_type: Option<String>,
    message_type: Option<String>,
    content: Option<String>,
    #[serde(default)]
    mentions: Vec<Mention>,
}

#[derive(Deserialize)]
struct Mention {
    key: Option<String>,
    id: Option<PersonId>,
    mentioned_type: Option<String>,
}

fn message(event: MessageEvent, about: About, bot: Option<&str>) -> Result<Inbound, DecodeProblem> {
    let sender = event.sender.ok_or(DecodeProblem::Missing("event.sender"))?;
    if sender.sender_type.as_deref() != Some("user") {
        return Ok(Inbound::Ignored { reason: "a message of a bot" });
    }
    let message = event.message.ok_or(DecodeProblem::Missing("event.message"))?;
    let content = message.content.as_deref().unwrap_or_default();
    let words = match message.message_type.as_deref() {
        Some("text") => text_of(content)?,
        Some("post") => post_of(content)?,
        _ => return Ok(Inbound::Ignored { reason: "a message without words" }),
    };
    let words = without_mentions(words, &message.mentions, bot);
    let person = need(sender.sender_id.and_then(|id| id.open_id), "event.sender.sender_id.open_id")?;
    let tenant = filled(sender.tenant_key).unwrap_or(about.tenant.clone());
    let id = need(message.message_id, "event.message.message_id")?;
    let place = Place {
        platform: Platform::Feishu,
        channel: need(message.chat_id, "event.message.chat_id")?,
        thread: filled(message.root_id),
    };
    let sent_at = message.create_time.as_deref().and_then(instant);
    let direct = message.chat_type.as_deref() == Some("p2p");
    Ok(delivery(about, (person, tenant), (place, direct), id, sent_at, Intent::Text(words)))
}

fn text_of(content: &str) -> Result<String, DecodeProblem> {
    #[derive(Deserialize)]
    struct Content {
        text: Option<String>,
    }
    Ok(json::<Content>(content.as_bytes())?.text.unwrap_or_default())
}

/// The words of a rich message: its lines one below the other, links and mentions as they stand.
fn post_of(content: &str) -> Result<String, DecodeProblem> {
    #[derive(Deserialize)]
    struct Post {
        title: Option<String>,
        #[serde(default)]
        content: Vec<Vec<Part>>,
    }
    #[derive(Deserialize)]
    struct Part {
        tag: Option<String>,
        text: Option<String>,
        user_id: Option<String>,
    }
    let post: Post = json(content.as_bytes())?;
    let mut lines: Vec<String> = filled(post.title).into_iter().collect();
    let mut parts = 0;
    for line in post.content {
        let mut words = String::new();
        for part in line {
            parts += 1;
            if parts > POST_PARTS_MAX {
                break;
            }
            words.push_str(&match part.tag.as_deref() {
                Some("at") => part.user_id.unwrap_or_default(),
                _ => part.text.unwrap_or_default(),
            });
        }
        lines.push(words);
    }
    Ok(lines.join("\n"))
}

/// The words without the mention of us, and with others' as `<@ou_…>`, as the grammar reads people.
fn without_mentions(mut words: String, mentions: &[Mention], bot: Option<&str>) -> String {
    let mut ours = false;
    for mention in mentions {
        let (Some(key), id) =
            (mention.key.as_deref(), mention.id.as_ref().and_then(|id| id.open_id.as_deref()))
        else {
            continue;
        };
        if key.is_empty() {
            continue;
        }
        // As long as we do not know who we are, the first bot that is mentioned is us: no other event reaches us.
        let us = match bot {
            Some(bot) => id == Some(bot),
            None => !ours && mention.mentioned_type.as_deref() == Some("bot"),
        };
        ours |= us;
        let instead = if us { String::new() } else { format!("<@{}>", id.unwrap_or_default()) };
        words = words.replace(key, &instead);
    }
    words.trim().to_owned()
}

// ---- clicks and the menu ----------------------------------------------------------------------------------

#[derive(Deserialize)]
struct ClickEvent {
    operator: Option<Operator>,
    action: Option<Action>,
    context: Option<Context>,
}

#[derive(Deserialize)]
struct Operator {
    open_id: Option<String>,
    tenant_key: Option<String>,
    operator_id: Option<PersonId>,
}

#[derive(Deserialize)]
struct Action {
    value: Option<Value>,
}

#[derive(Deserialize, Default)]
struct Context {
    open_message_id: Option<String>,
    open_chat_id: Option<String>,
}

fn click(event: ClickEvent, about: About) -> Result<Inbound, DecodeProblem> {
    let value = event.action.and_then(|action| action.value);
    let Some(value) = value.as_ref().and_then(|value| value.get(CLICK)?.as_str()) else {
        return Ok(Inbound::Ignored { reason: "a button that is not ours" });
    };
    // One of ours, from a card that another version drew.
    let intent = Click::parse(value).map_or(Intent::OtherClick, Intent::Click);
    let operator = event.operator.ok_or(DecodeProblem::Missing("event.operator"))?;
    let context = event.context.unwrap_or_default();
    let person = need(operator.open_id, "event.operator.open_id")?;
    let tenant = filled(operator.tenant_key).unwrap_or(about.tenant.clone());
    let card = need(context.open_message_id, "event.context.open_message_id")?;
    let channel = need(context.open_chat_id, "event.context.open_chat_id")?;
    let place = Place { platform: Platform::Feishu, channel, thread: None };
    Ok(delivery(about, (person, tenant), (place, false), card, None, intent))
}

#[derive(Deserialize)]
struct MenuEvent {
    operator: Option<Operator>,
    event_key: Option<String>,
}

/// An entry of the bot's menu is a command in words, which the app's maker wrote as its key: `lab boards`.
fn menu(event: MenuEvent, about: About) -> Result<Inbound, DecodeProblem> {
    let words = need(event.event_key, "event.event_key")?.replace('_', " ");
    let id = event.operator.and_then(|operator| operator.operator_id).and_then(|id| id.open_id);
    let person = need(id, "event.operator.operator_id.open_id")?;
    let tenant = about.tenant.clone();
    // A menu belongs to the bot's own chat with the person, which is reached by the person's id.
    let place = Place { platform: Platform::Feishu, channel: person.clone(), thread: None };
    Ok(delivery(about, (person, tenant), (place, true), String::new(), None, Intent::Text(words)))
}

// ---- helpers ----------------------------------------------------------------------------------------------

fn delivery(
    about: About,
    (id, team): (String, String),
    (place, direct): (Place, bool),
    message: String,
    sent_at: Option<Timestamp>,
    intent: Intent,
) -> Inbound {
    // An answer is a reply to the very message, or stands under the very card.
    let answered = Place { thread: filled(Some(message)), ..place.clone() };
    let answer_via = AnswerVia { url: None, user: id.clone(), place: answered };
    let foreign = [&team, &about.tenant].iter().all(|tenant| !tenant.is_empty()) && team != about.tenant;
    let actor = Actor { platform: Platform::Feishu, id, team, name: String::new() };
    let (key, received_at) = (about.key, about.now);
    // What somebody presses stands on a message of ours.
    let message = answer_via.place.thread.clone().filter(|_| matches!(intent, Intent::Text(_)));
    Inbound::Delivery(Box::new(Delivery {
        key,
        received_at,
        sent_at,
        actor,
        standing: None,
        source: None,
        foreign,
        direct,
        place,
        intent,
        answer_via,
        trigger: None,
        message,
    }))
}

/// An instant as Feishu writes it: milliseconds since the Unix epoch, in places microseconds, as text.
fn instant(text: &str) -> Option<Timestamp> {
    const MICROS_FROM: i64 = 100_000_000_000_000;
    let number: i64 = text.parse().ok().filter(|n| *n > 0)?;
    Some(if number >= MICROS_FROM {
        Timestamp::from_micros(number)
    } else {
        Timestamp::default() + Duration::from_millis(number.unsigned_abs())
    })
}

/// An event's own part, whose place in the text is not known any more.
fn part<T: DeserializeOwned>(event: Value) -> Result<T, DecodeProblem> {
    serde_json::from_value(event).map_err(|_| DecodeProblem::Json { line: 0, column: 0 })
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
