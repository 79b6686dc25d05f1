//! The form that starts a run, in Slack: opened for whoever asks for one, drawn anew while it is filled in, and taken when
//! it is submitted. Opening it is no effect; submitting it is, and goes the way of every delivery. What is wrong with it is
//! said in it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::chat::slack::decode::{FormChange, Submission};
use crate::chat::slack::form::{self as modal, AskedIn};
use crate::chat::{Delivery, Place};
use crate::command::form::{self, Field, Filled};
use crate::door::{Door, Refusal, take};
use crate::message::Phrase;

/// Whether the form is open for whoever asked; when it is not, they are answered in words.
pub(super) async fn opened(door: &Door, delivery: &Delivery, within: Duration) -> bool {
    let (Some(slack), Some(trigger)) = (&door.slack_views, &delivery.trigger) else { return false };
    let (place, via) = (&delivery.place, &delivery.answer_via);
    // An entry of Slack's own menu is taken nowhere in particular.
    let channel = (place.channel != delivery.actor.id).then(|| place.channel.clone());
    let asked_in = AskedIn { channel, url: via.url.clone() };
    let Some(view) = drawn(door, &Filled::new(), &asked_in, (place, &delivery.actor.id)) else {
        return false;
    };
    match slack.open_view(trigger, &view, within).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, "a form could not be opened, and is told in words");
            false
        }
    }
}

/// Draws the form anew for what was chosen in it.
pub(super) async fn changed(door: &Door, change: &FormChange) {
    let Some(slack) = &door.slack_views else { return };
    let Some(view) = drawn(door, &change.filled, &change.asked_in, (&change.place, &change.user)) else {
        return;
    };
    if let Err(error) = slack.update_view(&change.view, change.hash.as_deref(), &view).await {
        tracing::warn!(%error, "a form still asks for what was chosen in it before");
    }
}

fn drawn(door: &Door, filled: &Filled, asked_in: &AskedIn, (place, reader): (&Place, &str)) -> Option<Value> {
    let form = form::form(&door.handler.inventory.now(), filled, asked_in.channel.is_none())?;
    Some(modal::render(&form, asked_in, &|said| door.composer.words_to(said, place, reader)))
}

/// Takes a form that was filled in; gives what the acknowledgement holds. The card appears where the form was asked for.
pub(super) async fn submitted(door: &Door, submission: Submission) -> Result<Value, Refusal> {
    let Submission { mut delivery, directly, blocks } = submission;
    let (place, reader) = (delivery.place.clone(), delivery.actor.id.clone());
    let wrong = |field: &Field, said: &Value| {
        Ok(modal::errors(&blocks, field, &door.composer.words_to(said, &place, &reader)))
    };
    if directly {
        match direct(door, &delivery).await {
            Some(channel) => {
                delivery.place.channel = channel;
                delivery.answer_via.place = delivery.place.clone();
            }
            None => return wrong(&Field::Channel, &json!(Phrase::new("form-no-direct", json!({})))),
        }
    }
    let answer = take(door, delivery).await?.answer;
    if form::is_accepted(&answer) {
        return Ok(modal::closed());
    }
    let (field, said) = form::blamed(&answer);
    match said.is_null() {
        true => wrong(&field, &json!(Phrase::new("form-failed", json!({})))),
        false => wrong(&field, &said),
    }
}

/// The conversation of the bot with whoever submits the form.
async fn direct(door: &Door, delivery: &Delivery) -> Option<String> {
    let told = door.slack_views.as_ref()?.direct(&delivery.actor.id).await;
    told.inspect_err(|error| tracing::warn!(%error, "a conversation could not be opened")).ok()
}
