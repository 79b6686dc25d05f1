//! Feishu's door: prove, decode, handle, commit, acknowledge. A message's acknowledgement is empty, and its answer an owed
//! reply; a click's is the answer in a few words and the card as it is now, which the client shows whatever else comes.
//! What comes over the long connection needs no proof, since we dialled; everything behind that is the same.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Door, Refusal};
use crate::chat::feishu::signature::{Signed, Verifier, WINDOW};
use crate::chat::feishu::socket::{Ack, Takes};
use crate::chat::feishu::{card, decode};
use crate::chat::plain::{cut, one_line};
use crate::chat::{Delivery, Intent, Place};
use crate::message::{Block, Card, Note, Span, Text, Tone};
use crate::store::Told;

/// Longest answer that is shown over a card, in characters.
const TOAST_MAX: usize = 200;

/// What Feishu's door needs beside the others.
pub struct FeishuDoor {
    /// Proves requests; `None` when events come over the long connection.
    pub verifier: Option<Verifier>,
    /// Our own `open_id`, once Feishu has told it.
    pub bot: Arc<OnceLock<String>>,
}

/// Whether a body has the form that Feishu's unsigned requests have.
pub(super) fn is_its_form(body: &[u8]) -> bool {
    memchr::memmem::find(body, b"\"encrypt\"").is_some()
        || memchr::memmem::find(body, b"\"url_verification\"").is_some()
        || memchr::memmem::find(body, b"\"schema\"").is_some()
}

/// One request of Feishu.
pub(super) async fn receive(
    State(door): State<Arc<Door>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let feishu = door.feishu.as_ref().ok_or(Refusal::NotConnected("feishu"))?;
    let verifier = feishu.verifier.as_ref().ok_or(Refusal::NotConnected("feishu by webhook"))?;
    let decoded = believe(&door, (feishu, verifier), &headers, &body)?;
    let answer = believed(&door, decoded.inbound).await?;
    Ok(Json(answer.unwrap_or(json!({}))).into_response())
}

/// Takes what comes over the long connection.
pub struct Events(pub Arc<Door>);

#[async_trait]
impl Takes for Events {
    async fn take(&self, event: Vec<u8>) -> Ack {
        let Events(door) = self;
        let bot = door.feishu.as_ref().and_then(|feishu| feishu.bot.get()).map(String::as_str);
        let taken = match decode::decode(&event, door.clock.now(), bot) {
            Ok(decoded) => believed(door, decoded.inbound).await,
            Err(problem) => Err(Refusal::Malformed(problem.to_string())),
        };
        taken.map_or_else(
            |refusal| {
                tracing::warn!(reason = %refusal, "an event of Feishu is not taken");
                Ack::NotTaken
            },
            Ack::Taken,
        )
    }
}

/// Takes what is Feishu's for certain; gives what the acknowledgement holds.
async fn believed(door: &Door, inbound: decode::Inbound) -> Result<Option<Value>, Refusal> {
    match inbound {
        decode::Inbound::UrlVerification { challenge } => Ok(Some(json!({ "challenge": challenge }))),
        decode::Inbound::Ignored { reason } => {
            tracing::info!(reason, "a delivery of Feishu is ignored");
            Ok(None)
        }
        decode::Inbound::Delivery(delivery) => accept(door, *delivery).await,
    }
}

/// The request behind its signature, its cover and its token; all three are looked at before anything is believed.
fn believe(
    door: &Door,
    (feishu, verifier): (&FeishuDoor, &Verifier),
    headers: &HeaderMap,
    body: &[u8],
) -> Result<decode::Decoded, Refusal> {
    let unsigned = |problem: &dyn std::fmt::Display| Refusal::Unsigned(problem.to_string());
    let malformed = |problem: decode::DecodeProblem| Refusal::Malformed(problem.to_string());
    let now = door.clock.now();
    let header = |name: &str| headers.get(name).map(|value| value.as_bytes());
    let signed = Signed {
        timestamp: header("x-lark-request-timestamp"),
        nonce: header("x-lark-request-nonce"),
        signature: header("x-lark-signature"),
    };
    let is_signed = verifier.encrypts() && signed.is_there();
    if is_signed {
        verifier.verify(now, signed, body).map_err(|problem| unsigned(&problem))?;
    }
    let bot = feishu.bot.get().map(String::as_str);
    let decoded = match (decode::outside(body).map_err(malformed)?, verifier.encrypts()) {
        (decode::Outside::Covered(cover), true) => {
            let plain = verifier.uncover(&cover).map_err(|problem| unsigned(&problem))?;
            decode::decode(&plain, now, bot).map_err(malformed)?
        }
        (decode::Outside::Plain, false) => decode::decode(body, now, bot).map_err(malformed)?,
        (decode::Outside::Covered(_), false) => {
            return Err(unsigned(&"the body is encrypted, and FEISHU_ENCRYPT_KEY is not set"));
        }
        (decode::Outside::Plain, true) => return Err(unsigned(&"the body is not encrypted")),
    };
    verifier.knows(&decoded.token).map_err(|problem| unsigned(&problem))?;
    if verifier.encrypts() && !is_signed && !decoded.may_be_unsigned {
        return Err(unsigned(&"a signature header is missing"));
    }
    // A delivery's key is forgotten some time after that: a copy of an old one would have its effect again.
    let young = decoded.made_at.is_some_and(|at| now.since(at) <= WINDOW);
    if !is_signed && !young && matches!(decoded.inbound, decode::Inbound::Delivery(_)) {
        return Err(unsigned(&"it is not signed, and does not say that it was made of late"));
    }
    Ok(decoded)
}

async fn accept(door: &Door, delivery: Delivery) -> Result<Option<Value>, Refusal> {
    let clicked = matches!(delivery.intent, Intent::Click(_) | Intent::OtherClick);
    let shown = delivery.answer_via.place.clone();
    let committed = match super::take(door, delivery).await {
        // Feishu sends messages again, and clicks never: whoever pressed is told, for it may still be carried out.
        Err(refusal @ Refusal::Busy(_)) if clicked => {
            tracing::warn!(reason = %refusal, "a click may or may not be carried out");
            let note = Note::new("not-sure", json!({}));
            return Ok(Some(json!({ "toast": toast(door, &note, &shown) })));
        }
        taken => taken?,
    };
    if !clicked {
        return Ok(None);
    }
    let mut answer = json!({ "toast": toast(door, &committed.answer, &shown) });
    if let Some(card) = card_there(door, &shown).await {
        answer["card"] = json!({ "type": "raw", "data": card::render(&card) });
    }
    Ok(Some(answer))
}

fn toast(door: &Door, note: &Note, place: &Place) -> Value {
    let card = door.composer.note(note, place);
    let kind = match card.tone {
        Tone::Good => "success",
        Tone::Bad => "error",
        Tone::Warning => "warning",
        Tone::Neutral | Tone::Running => "info",
    };
    // Each client shows its reader's own language.
    let said = |card: &Card| cut(&words(card), TOAST_MAX);
    let [zh, en] = ["zh", "en"].map(|language| said(&door.composer.note_in(note, place, language)));
    json!({ "type": kind, "content": said(&card), "i18n": { "zh_cn": zh, "en_us": en } })
}

/// An answer in plain words: its first paragraph, which says more than its summary.
fn words(card: &Card) -> String {
    let paragraph = card.blocks.iter().find_map(|block| match block {
        Block::Text(text) => Some(plain(text)).filter(|words| !words.is_empty()),
        _ => None,
    });
    paragraph.unwrap_or_else(|| one_line(&card.summary))
}

fn plain(text: &Text) -> String {
    let words: String = text
        .0
        .iter()
        .map(|span| match span {
            Span::Plain(words) | Span::Bold(words) | Span::Code(words) => words.clone(),
            Span::Link { label, .. } => label.clone(),
            Span::Run(run) => run.label(),
            Span::Mention(actor) => actor.shown().to_owned(),
            Span::Time(at) => at.to_minute(),
        })
        .collect();
    one_line(&words)
}

/// The card of that message as it is now; none where it is no card of a run, or cannot be read: the client keeps what it
/// shows then, and the relay brings the newest.
async fn card_there(door: &Door, shown: &Place) -> Option<Card> {
    let told = door.store.run_of_thread(shown).await.ok()??;
    match told {
        Told::Run(number) => {
            let view = door.store.run_view(number).await.ok()??;
            Some(door.composer.run_card(&view, shown))
        }
        Told::Batch(first) => {
            let view = door.store.batch_view(first).await.ok()??;
            Some(door.composer.batch_card(&view, shown))
        }
        Told::Campaign(number) => {
            let view = door.store.campaign_view(number).await.ok()??;
            Some(door.composer.campaign_card(&view, shown))
        }
    }
}
