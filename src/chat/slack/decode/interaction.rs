//! What people press in Slack: buttons of ours, and the entry that we have in every message's menu. Pure; what it comes to
//! is decided behind.

use serde::Deserialize;
use serde_json::Value;

use super::{DecodeProblem, Inbound, Parts, delivery, filled, json, need, view};
use crate::chat::slack::form::RUN_FORM;
use crate::chat::{Actor, AnswerVia, Delivery, Intent, Platform, key_of};
use crate::clock::Timestamp;
use crate::command::{Click, Command, RunRef};

/// The `callback_id` of the menu's entry that runs a message's run again.
pub const RERUN: &str = "rerun";

#[derive(Deserialize)]
pub(super) struct Interaction {
    #[serde(rename = "type")]
    kind: Option<String>,
    pub(super) trigger_id: Option<String>,
    response_url: Option<String>,
    callback_id: Option<String>,
    message_ts: Option<String>,
    pub(super) user: Option<Named>,
    pub(super) team: Option<Named>,
    #[serde(default)]
    pub(super) enterprise: Value,
    channel: Option<Named>,
    container: Option<Container>,
    message: Option<Message>,
    #[serde(default)]
    actions: Vec<Action>,
    pub(super) view: Option<view::View>,
    #[serde(default)]
    pub(super) response_urls: Vec<view::ResponseUrl>,
}

#[derive(Deserialize, Default)]
pub(super) struct Named {
    pub(super) id: Option<String>,
    team_id: Option<String>,
    enterprise_id: Option<String>,
    username: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize, Default)]
struct Container {
    channel_id: Option<String>,
    message_ts: Option<String>,
    thread_ts: Option<String>,
}

#[derive(Deserialize, Default)]
struct Message {
    ts: Option<String>,
    thread_ts: Option<String>,
}

#[derive(Deserialize)]
struct Action {
    action_id: Option<String>,
    value: Option<String>,
    action_ts: Option<String>,
}

/// Decodes what stands in the `payload` of an interaction.
pub(super) fn decode(payload: &[u8], now: Timestamp) -> Result<Inbound, DecodeProblem> {
    let payload: Interaction = json(payload)?;
    match payload.kind.as_deref() {
        Some("block_actions") if payload.view.as_ref().is_some_and(view::View::is_home) => {
            at_home(payload, now)
        }
        Some("block_actions") if payload.view.is_some() => view::changed(payload),
        Some("block_actions") => click(payload, now),
        Some("message_action") => shortcut(payload, now),
        Some("view_submission") => view::submitted(payload, now),
        Some("view_closed") => Ok(Inbound::Ignored { reason: "a form that was closed" }),
        Some("shortcut") => launcher(payload, now),
        Some(_) => Ok(Inbound::Ignored { reason: "an interaction of an unknown type" }),
        None => Err(DecodeProblem::Missing("type")),
    }
}

fn click(payload: Interaction, now: Timestamp) -> Result<Inbound, DecodeProblem> {
    let Some(action) = payload.actions.first() else {
        return Err(DecodeProblem::Missing("actions"));
    };
    let Some(value) = action.value.as_deref() else {
        return Ok(Inbound::Ignored { reason: "a link that was opened" });
    };
    // Slack tells only whose message it is: a value that is not understood is another version's.
    let intent = Click::parse(value).map_or(Intent::OtherClick, Intent::Click);
    let container = payload.container.unwrap_or_default();
    let message = payload.message.unwrap_or_default();
    let message_ts = filled(container.message_ts).or(message.ts);
    let key = match filled(payload.trigger_id.clone()) {
        Some(trigger_id) => trigger_id,
        None => {
            let action_ts = need(action.action_ts.clone(), "trigger_id")?;
            let id = payload.user.as_ref().and_then(|user| user.id.as_deref()).unwrap_or_default();
            format!("{action_ts}:{}:{id}", need(message_ts, "container.message_ts")?)
        }
    };
    let channel = payload.channel.and_then(|c| c.id).or(container.channel_id);
    let (actor, foreign) = actor(payload.user, Home::beside(payload.team, &payload.enterprise))?;
    Ok(delivery(Parts {
        key: &key,
        now,
        actor,
        foreign,
        channel: &need(channel, "channel.id")?,
        thread: filled(container.thread_ts).or(filled(message.thread_ts)),
        response_url: filled(payload.response_url).as_deref(),
        sent_at: None,
        intent,
        trigger: payload.trigger_id,
        message: None,
    }))
}

/// An entry of a message's menu: it is about the run in whose thread the message stands, its card among them.
fn shortcut(payload: Interaction, now: Timestamp) -> Result<Inbound, DecodeProblem> {
    let intent = match payload.callback_id.as_deref() {
        Some(RERUN) => Intent::Command(Box::new(Command::Retry { run: RunRef::Thread, other_board: false })),
        // Another version's.
        Some(_) | None => Intent::OtherClick,
    };
    let message = payload.message.unwrap_or_default();
    let message_ts = filled(payload.message_ts).or(filled(message.ts));
    let thread = filled(message.thread_ts).map_or_else(|| need(message_ts, "message_ts"), Ok)?;
    let (actor, foreign) = actor(payload.user, Home::beside(payload.team, &payload.enterprise))?;
    Ok(delivery(Parts {
        key: &need(payload.trigger_id.clone(), "trigger_id")?,
        now,
        actor,
        foreign,
        channel: &need(payload.channel.and_then(|c| c.id), "channel.id")?,
        thread: Some(thread),
        response_url: filled(payload.response_url).as_deref(),
        sent_at: None,
        intent,
        trigger: payload.trigger_id,
        message: None,
    }))
}

/// A button of the Home: the same as the entry of Slack's own menu.
fn at_home(payload: Interaction, now: Timestamp) -> Result<Inbound, DecodeProblem> {
    let pressed = payload.actions.first().and_then(|action| action.action_id.clone());
    launcher(Interaction { callback_id: pressed, ..payload }, now)
}

/// An entry of Slack's own menu, beside every channel: whoever takes it is answered directly.
fn launcher(payload: Interaction, now: Timestamp) -> Result<Inbound, DecodeProblem> {
    let intent = match payload.callback_id.as_deref() {
        Some(RUN_FORM) => Intent::Text("/run-test".to_owned()),
        // Another version's.
        Some(_) | None => Intent::OtherClick,
    };
    let (actor, foreign) = actor(payload.user, Home::beside(payload.team, &payload.enterprise))?;
    let trigger = need(payload.trigger_id, "trigger_id")?;
    let answer_via = AnswerVia::in_person(&actor);
    Ok(Inbound::Delivery(Box::new(Delivery {
        key: key_of(Platform::Slack, &trigger),
        received_at: now,
        sent_at: None,
        place: answer_via.place.clone(),
        actor,
        foreign,
        direct: false,
        intent,
        answer_via,
        standing: None,
        source: None,
        trigger: Some(trigger),
        message: None,
    })))
}

/// The workspace where something happened, and the organisation that it is of, by either of which Slack names its people.
#[derive(Default)]
pub(super) struct Home {
    pub(super) team: Option<String>,
    enterprise: [Option<String>; 2],
}

impl Home {
    /// As it stands beside an interaction.
    pub(super) fn beside(team: Option<Named>, enterprise: &Value) -> Home {
        let team = team.unwrap_or_default();
        let enterprise = [filled(team.enterprise_id), enterprise["id"].as_str().map(str::to_owned)];
        Home { team: filled(team.id), enterprise }
    }

    /// The app's own, where that is told; what stands beside it may be another one's.
    pub(super) fn of_app(self, installed: Option<String>) -> Home {
        match installed {
            Some(team) if self.team.as_ref() != Some(&team) => Home { team: Some(team), ..Home::default() },
            _ => self,
        }
    }

    fn is(&self, team: &String) -> bool {
        self.team.iter().chain(self.enterprise.iter().flatten()).any(|ours| ours == team)
    }
}

/// Who acts, and whether they are of another workspace than `home`.
pub(super) fn actor(user: Option<Named>, home: Home) -> Result<(Actor, bool), DecodeProblem> {
    let user = user.unwrap_or_default();
    let theirs = filled(user.team_id);
    let foreign = home.team.is_some() && theirs.as_ref().is_some_and(|team| !home.is(team));
    let actor = Actor {
        platform: Platform::Slack,
        id: need(user.id, "user.id")?,
        team: theirs.or(home.team).unwrap_or_default(),
        name: user.username.or(user.name).unwrap_or_default(),
    };
    Ok((actor, foreign))
}
