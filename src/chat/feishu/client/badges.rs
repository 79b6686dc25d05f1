//! Reactions of the bot on messages. Each has an id of its own, by which it is taken off.

use serde_json::json;

use super::{FeishuClient, FeishuError, id_in_path};
use crate::chat::{Badge, Badged};
use crate::net::Method;
use crate::outcome::Verdict;

/// The code of a permission that the app lacks.
const LACKS_PERMISSION: &str = "99991672";
/// What to do then.
const LACKS: &str = "the app lacks im:message.reactions:write_only: add it, publish a version of the app";

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

    pub(super) async fn unreact(&self, message: &str, id: &str) -> Badged {
        let goes = async {
            let path =
                format!("/open-apis/im/v1/messages/{}/reactions/{}", id_in_path(message)?, id_in_path(id)?);
            self.call(Method::DELETE, &path, None).await
        };
        match goes.await {
            Ok(_) => Badged::Done(String::new()),
            Err(error) => failed(error),
        }
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
