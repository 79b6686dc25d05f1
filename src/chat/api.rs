//! The API's requests, as deliveries. Pure; who may is proved before, and names are looked up later.

use super::jenkins::decode::{DecodeProblem, channel_of, nowhere, place};
use super::{Actor, AnswerVia, Delivery, Intent, Place, Platform, key_of};
use crate::clock::Timestamp;
use crate::command::Command;
use crate::command::document;
use crate::command::policy::ADMIN_ID;

/// A run asked for: `key` tells a repeat where the document has no key of its own, `default` is where cards stand when
/// it names no channel.
pub fn run(
    body: &[u8],
    by: &Actor,
    key: &str,
    now: Timestamp,
    default: Option<&str>,
) -> Result<Delivery, DecodeProblem> {
    let asked = document::read(&document::object(body)?)?;
    let key = asked.key.as_deref().unwrap_or(key);
    let key = own(by, key);
    let place = place(&asked, default)?;
    let by = Actor { name: asked.requested_by.unwrap_or_default(), ..by.clone() };
    Ok(Delivery { place, ..command(Command::RunTest(asked.run), by, &key, now) })
}

/// A build told of; `key` as in [`run`].
pub fn build(body: &[u8], by: &Actor, key: &str, now: Timestamp) -> Result<Delivery, DecodeProblem> {
    let asked = document::read_build(&document::object(body)?)?;
    let key = format!("build:{}", own(by, asked.key.as_deref().unwrap_or(key)));
    let by = Actor { name: asked.requested_by.clone().unwrap_or_default(), ..by.clone() };
    Ok(delivery(Intent::Build(Box::new(asked)), by, &key, now))
}

/// The channel that a request names, or the default one; nowhere where there is neither.
pub fn channel(named: Option<&str>, default: Option<&str>) -> Result<Place, DecodeProblem> {
    match named {
        Some(named) => channel_of(named).ok_or(DecodeProblem::Channel),
        None => Ok(default.and_then(channel_of).unwrap_or_else(nowhere)),
    }
}

/// The same key of somebody else is another key.
fn own(by: &Actor, key: &str) -> String {
    if by.id == ADMIN_ID { key.to_owned() } else { format!("{} {key}", by.id) }
}

/// A command of whoever holds a token.
pub fn command(command: Command, by: Actor, key: &str, now: Timestamp) -> Delivery {
    delivery(Intent::Command(Box::new(command)), by, key, now)
}

/// What somebody at a page said or pressed, who is answered there.
pub fn said(intent: Intent, by: Actor, key: &str, now: Timestamp) -> Delivery {
    delivery(intent, by, key, now)
}

fn delivery(intent: Intent, by: Actor, key: &str, now: Timestamp) -> Delivery {
    Delivery {
        key: key_of(Platform::Api, key),
        received_at: now,
        sent_at: None,
        actor: by,
        standing: None,
        source: None,
        foreign: false,
        direct: false,
        place: nowhere(),
        intent,
        answer_via: AnswerVia { url: None, user: String::new(), place: nowhere() },
        trigger: None,
        message: None,
    }
}

/// Whoever holds the admin token; `name` is whom they say they act for.
pub fn admin(name: String) -> Actor {
    Actor { platform: Platform::Api, id: ADMIN_ID.to_owned(), team: String::new(), name }
}
