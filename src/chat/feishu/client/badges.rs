//! Reactions of the bot on messages. Each has an id of its own, by which it is taken off; where the app may read them, all
//! that are the bot's and show the same are, also one whose id nobody was told.

use serde_json::{Value, json};

use super::contacts::{TOKEN_BYTES_MAX, next};
use super::{FeishuClient, FeishuError, id_in_path};
use crate::chat::{Badge, Badged};
use crate::net::Method;
use crate::outcome::Verdict;

/// The code of a permission that the app lacks.
const LACKS_PERMISSION: &str = "99991672";
/// What to do then.
const LACKS: &str = "the app lacks im:message.reactions:write_only: add it, publish a version of the app";

/// Most pages of reactions that are looked at, and how many are on one.
const PAGES_MAX: usize = 5;
const PAGE: usize = 50;

/// Feishu's name of the picture that comes nearest.
fn name(badge: Badge) -> &'static str {
    match badge {
        Badge::Open => "OnIt",
        Badge::Ended(Verdict::Passed) => "DONE",
        Badge::Ended(Verdict::Failed) => "CrossMark",
        Badge::Ended(Verdict::Infra) => "ERROR",
        Badge::Ended(Verdict::TimedOut) => "Alarm",
        Badge::Ended(Verdict::Cancelled) => "No",
    }
}

impl FeishuClient {
    pub(super) async fn react(&self, message: &str, badge: Badge) -> Badged {
        let reacts = async {
            let path = format!("/open-apis/im/v1/messages/{}/reactions", id_in_path(message)?);
            let body = json!({ "reaction_type": { "emoji_type": name(badge) } });
            self.call(Method::POST, &path, Some(&body)).await
        };
        match reacts.await {
            Ok(told) => Badged::Done(told["data"]["reaction_id"].as_str().unwrap_or_default().to_owned()),
            Err(error) => failed(error),
        }
    }

    pub(super) async fn unreact(&self, message: &str, badge: Badge, id: &str) -> Badged {
        let ids = match self.own(message, badge).await {
            Ok(ids) => ids,
            // It may not read them: the one that it knows.
            Err(FeishuError::NotAccepted { code, .. }) if code == LACKS_PERMISSION && !id.is_empty() => {
                vec![id.to_owned()]
            }
            Err(FeishuError::NotAccepted { code, .. }) if code == LACKS_PERMISSION => {
                return Badged::Never(code);
            }
            Err(error) => return failed(error),
        };
        for id in ids {
            let goes = async {
                let (message, id) = (id_in_path(message)?, id_in_path(&id)?);
                let path = format!("/open-apis/im/v1/messages/{message}/reactions/{id}");
                self.call(Method::DELETE, &path, None).await
            };
            if let Err(error) = goes.await {
                return failed(error);
            }
        }
        Badged::Done(String::new())
    }

    /// The reactions of the bot that show this.
    async fn own(&self, message: &str, badge: Badge) -> Result<Vec<String>, FeishuError> {
        let (mut own, mut page) = (Vec::new(), String::new());
        for _ in 0..PAGES_MAX {
            let (message, name) = (id_in_path(message)?, name(badge));
            let path = format!("/open-apis/im/v1/messages/{message}/reactions?reaction_type={name}");
            let told = self.call(Method::GET, &format!("{path}&page_size={PAGE}{page}"), None).await?;
            let items = told["data"]["items"].as_array().into_iter().flatten();
            let ours = items.filter(|item| item["operator"]["operator_id"] == self.app_id.as_str());
            own.extend(ours.filter_map(|item| item["reaction_id"].as_str().map(str::to_owned)));
            match &told["data"]["page_token"] {
                Value::String(token)
                    if told["data"]["has_more"] == true && token.len() <= TOKEN_BYTES_MAX =>
                {
                    page = next(token);
                }
                _ => break,
            }
        }
        Ok(own)
    }
}

fn failed(error: FeishuError) -> Badged {
    match error {
        FeishuError::Refused(code) => Badged::Never(code),
        FeishuError::RateLimited(pause) => Badged::NotNow(pause),
        FeishuError::NotExecuted(reason) | FeishuError::Ambiguous(reason) => Badged::Away(reason),
        FeishuError::NotAccepted { code, .. } if code == LACKS_PERMISSION => {
            Badged::Forbidden { code, remedy: LACKS }
        }
        FeishuError::NotAccepted { code, .. } => Badged::Away(code),
    }
}
