//! The API's requests, as deliveries. Pure; who may is proved before, and names are looked up later.

use super::jenkins::decode::{DecodeProblem, nowhere, place};
use super::{Actor, AnswerVia, Delivery, Intent, Platform, key_of};
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
    let asked = document::read(body)?;
    let key = asked.key.as_deref().unwrap_or(key);
    // The same key of somebody else is another key.
    let key = if by.id == ADMIN_ID { key.to_owned() } else { format!("{} {key}", by.id) };
    let place = place(&asked, default)?;
    let by = Actor { name: asked.requested_by.unwrap_or_default(), ..by.clone() };
    Ok(Delivery { place, ..command(Command::RunTest(asked.run), by, &key, now) })
}

/// A command of whoever holds a token.
pub fn command(command: Command, by: Actor, key: &str, now: Timestamp) -> Delivery {
    Delivery {
        key: key_of(Platform::Api, key),
        received_at: now,
        sent_at: None,
        actor: by,
        standing: None,
        source: None,
        place: nowhere(),
        intent: Intent::Command(Box::new(command)),
        answer_via: AnswerVia { url: None, user: String::new(), place: nowhere() },
        trigger: None,
    }
}

/// Whoever holds the admin token; `name` is whom they say they act for.
pub fn admin(name: String) -> Actor {
    Actor { platform: Platform::Api, id: ADMIN_ID.to_owned(), team: String::new(), name }
}
