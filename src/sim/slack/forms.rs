//! What people do with modals in the simulated workspace: take an entry of Slack's own menu, fill in, submit. Slack
//! itself holds them to what the fields say before the app is told; the app's own objections are shown at the fields.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::deliver::Kind;
use super::methods::text;
use super::model::{APP, TEAM, World};
use super::people::Reply;
use super::views::View;
use super::{Shared, SimSlack};

impl SimSlack {
    /// Somebody takes an entry of Slack's own menu, beside every channel.
    pub async fn launch(&self, user: &str, callback_id: &str) -> Reply {
        match self.person(user) {
            Some(user) => {
                let payload = json!({"type": "shortcut", "callback_id": callback_id});
                let status = self.0.shared.interact(&user, payload).await.0;
                Reply { status, ..Reply::default() }
            }
            None => Reply { text: format!("no such user: {user}"), ..Reply::default() },
        }
    }

    /// The modal that somebody sees, as they read it; nothing where there is none.
    pub fn form(&self, user: &str) -> Option<String> {
        self.with(|world| world.modals.get(&world.user(user)?.id).map(readable))
    }

    /// Somebody puts this into a field of their modal, which they find by its label: words, or what a choice reads. Empty
    /// takes out what stands there.
    pub async fn fill(&self, user: &str, label: &str, value: &str) -> Reply {
        let found = self.with(|world| {
            let user = world.user(user)?.id.clone();
            let view = world.modals.get(&user)?;
            let block = view.inputs().find(|block| block["label"]["text"] == label)?;
            Some((user, text(block, "block_id").to_owned(), meant(world, &block["element"], value)?))
        });
        match found {
            Some((user, block, value)) => self.0.shared.fill(&user, &block, &value).await,
            None => Reply { text: format!("no {label:?} that takes {value:?}"), ..Reply::default() },
        }
    }

    /// Somebody submits their modal. The reply is what it says then; nothing where it is gone.
    pub async fn submit(&self, user: &str) -> Reply {
        match self.person(user) {
            Some(user) => self.0.shared.submit(&user).await,
            None => Reply { text: format!("no such user: {user}"), ..Reply::default() },
        }
    }

    fn person(&self, user: &str) -> Option<String> {
        self.with(|world| world.user(user).map(|user| user.id.clone()))
    }
}

/// The choices of an element.
fn options(element: &Value) -> impl Iterator<Item = &Value> {
    let groups = element["option_groups"].as_array().into_iter().flatten();
    let grouped = groups.flat_map(|group| group["options"].as_array().into_iter().flatten());
    element["options"].as_array().into_iter().flatten().chain(grouped)
}

/// The value that somebody means by what they read or type.
fn meant(world: &World, element: &Value, read: &str) -> Option<String> {
    match text(element, "type") {
        _ if read.is_empty() => Some(String::new()),
        "static_select" => {
            let option = options(element).find(|option| option["text"]["text"] == read)?;
            Some(text(option, "value").to_owned())
        }
        "conversations_select" => world.channel(read).map(|channel| channel.id.clone()),
        _ => Some(read.to_owned()),
    }
}

/// A modal in plain text: a line for each field, and what is wrong with it.
fn readable(view: &View) -> String {
    let mut out = format!("== {} ==\n", text(&view.drawn["title"], "text"));
    for block in view.inputs() {
        let id = text(block, "block_id");
        let state = &view.state[id];
        let shown =
            [&state["value"], &state["selected_option"]["text"]["text"], &state["selected_conversation"]];
        let shown = shown.iter().find_map(|shown| shown.as_str()).unwrap_or("…");
        let optional = if block["optional"] == true { " (optional)" } else { "" };
        out.push_str(&format!("{}{optional}: {shown}\n", text(&block["label"], "text")));
        if let Some(error) = view.errors.get(id) {
            out.push_str(&format!("  ! {error}\n"));
        }
    }
    let buttons = ["close", "submit"].map(|part| text(&view.drawn[part], "text"));
    out.push_str(&format!("[{}] [{}]\n", buttons[0], buttons[1]));
    out
}

impl Shared {
    /// Puts a value into a field; the app is told where it wants to be.
    pub(super) async fn fill(&self, user: &str, block_id: &str, value: &str) -> Reply {
        let changed = self.change(|world| {
            let view = world.modals.get_mut(user)?;
            let block = view.block(block_id)?.clone();
            let element = &block["element"];
            let kind = text(element, "type");
            let filled = Some(value).filter(|value| !value.is_empty());
            let state = match kind {
                "static_select" => {
                    let option = options(element).find(|option| filled.is_some() && option["value"] == value);
                    json!({"type": kind, "selected_option": option})
                }
                "conversations_select" => json!({"type": kind, "selected_conversation": filled}),
                _ => json!({"type": kind, "value": filled}),
            };
            view.errors.remove(block_id);
            view.state.insert(block_id.to_owned(), state.clone());
            Some((block, state, view.to_json(), view.id.clone()))
        });
        let Some((block, mut action, view, view_id)) = changed else {
            return Reply { text: "This form is gone.".to_owned(), ..Reply::default() };
        };
        if block["dispatch_action"] != true {
            return Reply { status: 200, ..Reply::default() };
        }
        for (name, from) in [("block_id", &block), ("action_id", &block["element"])] {
            action[name] = from[name].clone();
        }
        let payload = json!({"type": "block_actions", "view": view, "actions": [action],
            "container": {"type": "view", "view_id": view_id}});
        let status = self.interact(user, payload).await.0;
        Reply { status, ..Reply::default() }
    }

    /// Submits somebody's modal.
    pub(super) async fn submit(&self, user: &str) -> Reply {
        let Some(view) = self.world.lock().expect("world").modals.get(user).cloned() else {
            return Reply { text: "This form is gone.".to_owned(), ..Reply::default() };
        };
        let wanting = wanting(&view);
        if !wanting.is_empty() {
            return self.objected(user, &view.id, wanting, 200);
        }
        let response_urls: Vec<Value> =
            view.inputs().filter_map(|block| self.response_url_of(user, &view, block)).collect();
        let payload =
            json!({"type": "view_submission", "view": view.to_json(), "response_urls": response_urls});
        let (status, answer) = self.interact(user, payload).await;
        let answer: Value = serde_json::from_slice(&answer).unwrap_or(Value::Null);
        if status != 200 {
            let text = "We had some trouble connecting. Try again?".to_owned();
            return Reply { status, text, ts: None };
        }
        let errors = answer["errors"].as_object().into_iter().flatten();
        let errors: BTreeMap<String, String> = errors
            .map(|(block, said)| (block.clone(), said.as_str().unwrap_or_default().to_owned()))
            .collect();
        match answer["response_action"].as_str() {
            Some("errors") => self.objected(user, &view.id, errors, status),
            None | Some("clear") => {
                self.change(|world| world.modals.remove(user));
                Reply { status, ..Reply::default() }
            }
            Some(other) => {
                let problem = format!("view_submission: response_action {other:?} is not simulated");
                self.change(|world| world.problem(problem.clone()));
                Reply { status, text: problem, ts: None }
            }
        }
    }

    /// Shows what is wrong with a form; Slack takes objections to blocks that there are only.
    fn objected(&self, user: &str, id: &str, errors: BTreeMap<String, String>, status: u16) -> Reply {
        let text = self.change(|world| {
            let view = world.modals.get_mut(user).filter(|view| view.id == id)?;
            let unknown: Vec<String> =
                errors.keys().filter(|block| view.block(block).is_none()).cloned().collect();
            view.errors = errors;
            let text = readable(view);
            for block in unknown {
                world.problem(format!("view_submission: errors names {block:?}, which is no input block"));
            }
            Some(text)
        });
        Reply { status, text: text.unwrap_or_default(), ts: None }
    }

    /// What lets the app answer in a channel that was chosen in a modal, where the field asks for that.
    fn response_url_of(&self, user: &str, view: &View, block: &Value) -> Option<Value> {
        let id = text(block, "block_id");
        let channel = view.state[id]["selected_conversation"].as_str()?;
        let asks = block["element"]["response_url_enabled"] == true;
        let (url, _) = asks.then(|| self.response_url(user, channel, None))?;
        Some(json!({"block_id": id, "action_id": block["element"]["action_id"], "channel_id": channel,
            "response_url": url}))
    }

    /// Tells the app what somebody did beside every message.
    async fn interact(&self, user: &str, mut payload: Value) -> (u16, Vec<u8>) {
        let name = self.world.lock().expect("world").name_of(user).to_owned();
        for (field, value) in [
            ("team", json!({"id": TEAM, "domain": "lab"})),
            ("user", json!({"id": user, "username": name, "name": name, "team_id": TEAM})),
            ("api_app_id", json!(APP)),
            ("token", json!("unused")),
            ("trigger_id", json!(self.trigger_id(user))),
            ("enterprise", Value::Null),
            ("is_enterprise_install", json!(false)),
        ] {
            payload[field] = value;
        }
        self.deliver(Kind::Interaction, &payload).await
    }
}

/// What Slack itself does not let pass: empty fields, and numbers beyond their bounds.
fn wanting(view: &View) -> BTreeMap<String, String> {
    let wrong = |block: &Value| {
        let id = text(block, "block_id");
        let (state, element) = (&view.state[id], &block["element"]);
        let given = [&state["value"], &state["selected_option"]["value"], &state["selected_conversation"]];
        let Some(given) = given.iter().find_map(|given| given.as_str()) else {
            let optional = block["optional"] == true;
            return (!optional).then(|| (id.to_owned(), "Please complete this required field.".to_owned()));
        };
        if text(element, "type") != "number_input" {
            return None;
        }
        let bound = |name: &str| text(element, name).parse::<i64>().ok();
        let number = given.parse::<i64>().ok();
        let fits = number.is_some_and(|number| {
            bound("min_value").is_none_or(|min| min <= number)
                && bound("max_value").is_none_or(|max| number <= max)
        });
        (!fits).then(|| (id.to_owned(), "Enter a number within the allowed range.".to_owned()))
    };
    view.inputs().filter_map(wrong).collect()
}
