//! The app's Home in the simulated workspace: people open it, read it, and press what stands in it.

use serde_json::{Value, json};

use super::deliver::Kind;
use super::model::{APP, TEAM};
use super::people::Reply;
use super::{Shared, SimSlack, render};

impl SimSlack {
    /// Somebody opens the app's Home; what they read there then.
    pub async fn open_home(&self, user: &str) -> Option<String> {
        let user = self.with(|world| world.user(user).map(|user| user.id.clone()))?;
        self.0.shared.open_home(&user).await;
        self.with(|world| {
            let home = world.homes.get(&user)?;
            Some(render::readable(&render::body("", &home.drawn["blocks"], &Value::Null), world))
        })
    }

    /// Somebody presses a button of their Home, found by its label.
    pub async fn press_home(&self, user: &str, button: &str) -> Reply {
        let found = self.with(|world| {
            let user = world.user(user)?.id.clone();
            let blocks = world.homes.get(&user)?.drawn["blocks"].as_array()?.clone();
            let elements = blocks.iter().flat_map(|block| block["elements"].as_array().into_iter().flatten());
            let element = elements.into_iter().find(|element| element["text"]["text"] == button)?.clone();
            Some((user, element))
        });
        match found {
            Some((user, element)) => self.0.shared.press_home(&user, &element).await,
            None => Reply { text: format!("no button {button:?} at home"), ..Reply::default() },
        }
    }
}

impl Shared {
    pub(super) async fn open_home(&self, user: &str) -> u16 {
        let now = self.clock.now();
        let direct = {
            let world = self.world.lock().expect("world");
            let mut channels = world.channels.values();
            channels.find(|channel| channel.dm_of.as_deref() == Some(user)).map(|channel| channel.id.clone())
        };
        let event = json!({"type": "app_home_opened", "user": user, "channel": direct, "tab": "home",
            "event_ts": format!("{}.000100", now.as_secs())});
        self.event(&event, now).await
    }

    pub(super) async fn press_home(&self, user: &str, element: &Value) -> Reply {
        let (name, view) = {
            let world = self.world.lock().expect("world");
            let Some(home) = world.homes.get(user) else { return Reply::default() };
            (world.name_of(user).to_owned(), home.to_json())
        };
        let now = self.clock.now().as_micros();
        let action = json!({"type": "button", "block_id": "home", "action_id": element["action_id"],
            "text": element["text"], "value": element["value"],
            "action_ts": format!("{}.{:06}", now / 1_000_000, now % 1_000_000)});
        let payload = json!({"type": "block_actions", "api_app_id": APP, "token": "unused",
            "team": {"id": TEAM, "domain": "lab"},
            "user": {"id": user, "username": name, "name": name, "team_id": TEAM},
            "trigger_id": self.trigger_id(user), "container": {"type": "view", "view_id": view["id"]},
            "view": view, "actions": [action], "enterprise": null, "is_enterprise_install": false});
        let (status, body) = self.deliver(Kind::Interaction, &payload).await;
        Reply { status, text: String::from_utf8_lossy(&body).into_owned(), ts: None }
    }
}
