//! Modals, the Home and direct conversations: calls that a person waits for, made at once and never again. Whoever makes one says
//! what is to be done when it fails.

use std::time::Duration;

use serde_json::{Value, json};

use super::{SlackClient, SlackError};

/// How long one of these may take: Slack lets nobody open a modal after 3 s.
const VIEW_WITHIN: Duration = Duration::from_secs(1);

impl SlackClient {
    /// Opens a modal for whoever did what this `trigger_id` is of. One that is open already is no failure.
    pub async fn open_view(&self, trigger: &str, view: &Value, within: Duration) -> Result<(), SlackError> {
        let body = json!({ "trigger_id": trigger, "view": view });
        match self.call_within("views.open", &body, within.min(VIEW_WITHIN)).await {
            Err(SlackError::Refused(code)) if code == "exchanged_trigger_id" => Ok(()),
            opened => opened.map(drop),
        }
    }

    /// Draws a modal anew, unless it has changed since `hash`.
    pub async fn update_view(&self, id: &str, hash: Option<&str>, view: &Value) -> Result<(), SlackError> {
        let mut body = json!({ "view_id": id, "view": view });
        if let Some(hash) = hash {
            body["hash"] = json!(hash);
        }
        match self.call_within("views.update", &body, VIEW_WITHIN).await {
            // Somebody was faster than we are, and a later choice is on its way.
            Err(SlackError::Refused(code)) if code == "hash_conflict" => Ok(()),
            drawn => drawn.map(drop),
        }
    }

    /// Shows somebody their Home.
    pub async fn publish_view(&self, user: &str, view: &Value) -> Result<(), SlackError> {
        self.call_within("views.publish", &json!({ "user_id": user, "view": view }), VIEW_WITHIN)
            .await
            .map(drop)
    }

    /// The conversation of the bot with somebody.
    pub async fn direct(&self, user: &str) -> Result<String, SlackError> {
        let told = self.call_within("conversations.open", &json!({ "users": user }), VIEW_WITHIN).await?;
        let id = told["channel"]["id"].as_str().filter(|id| !id.is_empty());
        id.map(str::to_owned).ok_or_else(|| SlackError::Ambiguous("no channel in the answer".to_owned()))
    }
}
