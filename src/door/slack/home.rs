//! The app's Home in Slack: drawn anew whenever somebody opens it, from what they may see. No effect, and nothing is owed:
//! one that could not be drawn is drawn when it is opened again.

use crate::chat::slack::home;
use crate::chat::{Actor, AnswerVia};
use crate::door::{Door, Refusal};
use crate::message::Phrase;

/// Shows somebody their boards, their runs, the line and the lab.
pub(super) async fn opened(door: &Door, actor: Actor, foreign: bool) -> Result<(), Refusal> {
    let Some(slack) = &door.slack_views else { return Ok(()) };
    let Some(_place) = door.waits.enter() else {
        tracing::warn!("too many wait for something already: a Home is not drawn");
        return Ok(());
    };
    let notes = door.handler.home(&actor, foreign).await;
    let notes = notes.map_err(|error| Refusal::Busy(error.to_string()))?;
    let place = AnswerVia::in_person(&actor).place;
    let cards = notes.iter().map(|note| door.composer.note(note, &place)).collect();
    let run = door.composer.words(&serde_json::json!(Phrase::new("home-run", serde_json::json!({}))), &place);
    if let Err(error) = slack.publish_view(&actor.id, &home::render(cards, &run)).await {
        tracing::warn!(%error, "a Home could not be drawn");
    }
    Ok(())
}
