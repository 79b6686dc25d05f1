//! What people do in a modal of ours: they choose, and they submit. Pure; what it comes to is decided behind.

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::interaction::{Home, Interaction, actor};
use super::{DecodeProblem, Inbound, filled, need};
use crate::chat::slack::form::{self, AskedIn, RUN_FORM, Standing};
use crate::chat::{AnswerVia, Delivery, Intent, Place, Platform, key_of};
use crate::clock::Timestamp;
use crate::command::form::{Field, Filled};

/// The form that starts a run, filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// The same as a delivery. Its key is the modal in this state of it, so that it is taken once.
    pub delivery: Delivery,
    /// Whether the card stands where nobody named a channel: in the conversation with the one who asked.
    pub directly: bool,
    /// Which block of the modal each field is.
    pub blocks: Vec<(Field, String)>,
}

/// That form while it is filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct FormChange {
    /// Who fills it in.
    pub user: String,
    /// The modal.
    pub view: String,
    /// The state of the modal that was acted on.
    pub hash: Option<String>,
    /// What stands in it.
    pub filled: Filled,
    /// Where it was asked for.
    pub asked_in: AskedIn,
    /// Where the language that it is written in is spoken.
    pub place: Place,
}

#[derive(Deserialize)]
pub(super) struct View {
    #[serde(rename = "type")]
    kind: Option<String>,
    id: Option<String>,
    hash: Option<String>,
    callback_id: Option<String>,
    private_metadata: Option<String>,
    app_installed_team_id: Option<String>,
    #[serde(default)]
    state: State,
}

#[derive(Deserialize, Default)]
struct State {
    #[serde(default)]
    values: Value,
}

#[derive(Deserialize)]
pub(super) struct ResponseUrl {
    channel_id: Option<String>,
    response_url: Option<String>,
}

impl View {
    /// Whether it is somebody's Home, not a form.
    pub(super) fn is_home(&self) -> bool {
        self.kind.as_deref() == Some("home")
    }
}

/// Our form and where it was asked for; nothing where it is another version's.
fn ours(view: Option<View>) -> Option<(View, AskedIn)> {
    let view = view.filter(|view| view.callback_id.as_deref() == Some(RUN_FORM))?;
    let asked_in = AskedIn::parse(view.private_metadata.as_deref()?)?;
    Some((view, asked_in))
}

fn place(channel: &str) -> Place {
    Place { platform: Platform::Slack, channel: channel.to_owned(), thread: None }
}

pub(super) fn submitted(payload: Interaction, now: Timestamp) -> Result<Inbound, DecodeProblem> {
    let Some((view, asked_in)) = ours(payload.view) else {
        return Ok(Inbound::Ignored { reason: "a form that is not ours" });
    };
    // The team beside a form is the one of whoever fills it in, be that another one than the app's.
    let home = Home::beside(payload.team, &payload.enterprise).of_app(filled(view.app_installed_team_id));
    let (actor, foreign) = actor(payload.user, home)?;
    let Standing { mut filled, blocks } = form::standing(&view.state.values);
    let picked = filled.remove(&Field::Channel);
    let url = match &picked {
        Some(picked) => {
            let urls = payload.response_urls.into_iter();
            urls.filter(|url| url.channel_id.as_ref() == Some(picked)).find_map(|url| url.response_url)
        }
        None => asked_in.url,
    };
    let channel = picked.or(asked_in.channel);
    let directly = channel.is_none();
    let place = place(&channel.unwrap_or_else(|| actor.id.clone()));
    let id = need(view.id, "view.id")?;
    // Slack may close the form late: what is changed in it and sent then is another one.
    let values = hex::encode(&Sha256::digest(view.state.values.to_string())[..8]);
    let key = key_of(Platform::Slack, &format!("view:{id}:{}:{values}", view.hash.unwrap_or_default()));
    let answer_via = AnswerVia { url, user: actor.id.clone(), place: place.clone() };
    Ok(Inbound::Submission(Box::new(Submission {
        delivery: Delivery {
            key,
            received_at: now,
            sent_at: None,
            actor,
            foreign,
            direct: false,
            place,
            intent: Intent::Form(filled),
            answer_via,
            standing: None,
            source: None,
            trigger: None,
            message: None,
        },
        directly,
        blocks,
    })))
}

pub(super) fn changed(payload: Interaction) -> Result<Inbound, DecodeProblem> {
    let Some((view, asked_in)) = ours(payload.view) else {
        return Ok(Inbound::Ignored { reason: "a form that is not ours" });
    };
    let (actor, _) = actor(payload.user, Home::default())?;
    let place = place(asked_in.channel.as_deref().unwrap_or(&actor.id));
    Ok(Inbound::FormChange(Box::new(FormChange {
        user: actor.id,
        view: need(view.id, "view.id")?,
        hash: filled(view.hash),
        filled: form::standing(&view.state.values).filled,
        asked_in,
        place,
    })))
}
