//! The modals and Homes of the simulated workspace: which are open and what stands in them, and the Web API's methods.
//! Slack's rules hold: a `trigger_id` is good once and for 3 s, a view is checked whole, a `hash` guards against older
//! states. What people do in a modal is in `forms`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::Shared;
use super::limits;
use super::methods::{Answer, Failure, text};
use super::model::{APP, BOT_ID, TEAM, World};
use crate::clock::Timestamp;

/// How long a `trigger_id` is good.
const TRIGGER_LIVES: Duration = Duration::from_secs(3);
/// `trigger_id`s that are remembered.
const TRIGGERS_MAX: usize = 2_000;

/// What somebody did that lets the app open a modal.
#[derive(Debug, Clone)]
pub(super) struct Trigger {
    pub(super) user: String,
    pub(super) made_at: Timestamp,
    pub(super) used: bool,
}

/// An open modal.
#[derive(Debug, Clone)]
pub struct View {
    /// Its id.
    pub id: String,
    /// Changes with every change of it by the app.
    pub hash: String,
    /// As the app drew it.
    pub drawn: Value,
    /// What stands in its fields, by block.
    pub state: BTreeMap<String, Value>,
    /// What the app says is wrong, by block.
    pub errors: BTreeMap<String, String>,
}

impl View {
    fn new(id: String, drawn: Value, hash: String) -> View {
        let (state, errors) = (BTreeMap::new(), BTreeMap::new());
        let mut view = View { id, hash: String::new(), drawn: Value::Null, state, errors };
        view.redraw(drawn, hash);
        view
    }

    /// As Slack tells the app of it.
    pub(super) fn to_json(&self) -> Value {
        let mut view = self.drawn.clone();
        for (name, value) in [
            ("id", json!(self.id)),
            ("hash", json!(self.hash)),
            ("team_id", json!(TEAM)),
            ("app_id", json!(APP)),
            ("bot_id", json!(BOT_ID)),
            ("root_view_id", json!(self.id)),
            ("previous_view_id", Value::Null),
            ("state", json!({ "values": self.values() })),
        ] {
            view[name] = value;
        }
        view
    }

    fn values(&self) -> Value {
        let by_action = |(block, state): (&String, &Value)| {
            let action = self.block(block).map(|block| &block["element"]["action_id"]);
            let action = action.and_then(Value::as_str).unwrap_or_default();
            (block.clone(), json!({ action: state }))
        };
        Value::Object(self.state.iter().map(by_action).collect())
    }

    /// The input blocks.
    pub(super) fn inputs(&self) -> impl Iterator<Item = &Value> {
        self.drawn["blocks"].as_array().into_iter().flatten().filter(|block| block["type"] == "input")
    }

    /// The input block of that id.
    pub(super) fn block(&self, id: &str) -> Option<&Value> {
        self.inputs().find(|block| block["block_id"] == id)
    }

    /// Draws it anew: what stands in a block that stays is kept.
    fn redraw(&mut self, drawn: Value, hash: String) {
        let before = std::mem::take(&mut self.state);
        (self.drawn, self.hash, self.errors) = (drawn, hash, BTreeMap::new());
        let state = self.inputs().map(|block| {
            let id = text(block, "block_id").to_owned();
            let state = before.get(&id).cloned().unwrap_or_else(|| at_first(&block["element"]));
            (id, state)
        });
        self.state = state.collect();
    }
}

/// What stands in an element that nobody has touched.
fn at_first(element: &Value) -> Value {
    let kind = text(element, "type");
    match kind {
        "static_select" => json!({ "type": kind, "selected_option": element["initial_option"] }),
        "conversations_select" => {
            json!({ "type": kind, "selected_conversation": element["initial_conversation"] })
        }
        _ => json!({ "type": kind, "value": element["initial_value"] }),
    }
}

/// Notes what lets the app open a modal for somebody.
pub(super) fn add_trigger(world: &mut World, id: &str, user: &str, now: Timestamp) {
    world.triggers.retain(|_, trigger| now.since(trigger.made_at) <= 2 * TRIGGER_LIVES);
    if world.triggers.len() < TRIGGERS_MAX {
        let trigger = Trigger { user: user.to_owned(), made_at: now, used: false };
        world.triggers.insert(id.to_owned(), trigger);
    }
}

/// `views.open`.
pub(super) fn open(shared: &Shared, arguments: &Value) -> Answer {
    let (now, id) = (shared.clock.now(), format!("V{}", shared.ids.letters(10).to_uppercase()));
    let hash = hash(shared);
    shared.change(|world| {
        let trigger = world.triggers.get_mut(text(arguments, "trigger_id"));
        let trigger = trigger.ok_or_else(|| Failure::new("invalid_trigger_id"))?;
        if trigger.used {
            return Err(Failure::new("exchanged_trigger_id"));
        }
        if now.since(trigger.made_at) > TRIGGER_LIVES {
            return Err(Failure::new("expired_trigger_id"));
        }
        checked(&arguments["view"], "modal")?;
        trigger.used = true;
        let user = trigger.user.clone();
        let view = View::new(id, arguments["view"].clone(), hash);
        let answer = json!({ "ok": true, "view": view.to_json() });
        world.modals.insert(user, view);
        Ok(answer)
    })
}

/// `views.update`.
pub(super) fn update(shared: &Shared, arguments: &Value) -> Answer {
    let hash = hash(shared);
    shared.change(|world| {
        let view = world.modals.values_mut().find(|view| view.id == text(arguments, "view_id"));
        let view = view.ok_or_else(|| Failure::new("not_found"))?;
        if arguments["hash"].as_str().is_some_and(|hash| hash != view.hash) {
            return Err(Failure::new("hash_conflict"));
        }
        checked(&arguments["view"], "modal")?;
        view.redraw(arguments["view"].clone(), hash);
        Ok(json!({ "ok": true, "view": view.to_json() }))
    })
}

/// `views.publish`.
pub(super) fn publish(shared: &Shared, arguments: &Value) -> Answer {
    let (id, hash) = (format!("V{}", shared.ids.letters(10).to_uppercase()), hash(shared));
    shared.change(|world| {
        let user = text(arguments, "user_id").to_owned();
        world.users.get(&user).ok_or_else(|| Failure::new("user_not_found"))?;
        checked(&arguments["view"], "home")?;
        // Somebody's Home is always the same view.
        let id = world.homes.get(&user).map_or(id, |home| home.id.clone());
        let view = View::new(id, arguments["view"].clone(), hash);
        let answer = json!({ "ok": true, "view": view.to_json() });
        world.homes.insert(user, view);
        Ok(answer)
    })
}

fn hash(shared: &Shared) -> String {
    format!("{}.{}", shared.clock.now().as_secs(), shared.ids.letters(8))
}

fn checked(view: &Value, kind: &str) -> Result<(), Failure> {
    match limits::check_view(view, kind).first() {
        None => Ok(()),
        Some(problem) => {
            let code = if problem.path == limits::WHOLE { "view_too_large" } else { "invalid_arguments" };
            Err(Failure { detail: Some(problem.to_string()), ..Failure::new(code) })
        }
    }
}
