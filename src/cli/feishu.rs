//! What `boardhand check` says of Feishu, where its variables are set: whether it knows the app, and whether it tells who is
//! in the departments that boards.yaml names. It asks Feishu, and posts nothing.

use std::collections::BTreeSet;

use super::serve::feishu_client;
use super::slack::ChatReport;
use crate::chat::feishu::client::FeishuError;
use crate::clock::Clock;
use crate::config::{self, Env};

/// Asks Feishu, where this environment connects it. One that is not reached is told and is no mistake, as with Slack.
pub(super) async fn check(env: Env<'_>, groups: &BTreeSet<String>) -> ChatReport {
    let mut report = ChatReport::new("Feishu");
    let settings = match config::feishu(env) {
        Ok(None) => return report,
        Ok(Some(settings)) => settings,
        Err(problems) => {
            problems.0.iter().for_each(|problem| report.wrong(problem));
            return report;
        }
    };
    let client = feishu_client(&settings, &Clock::system());
    match client.whoami().await {
        Ok(me) => {
            report.says(&format!("bot {} ({}): ok", me.name, me.open_id));
            report.groups(&client, groups, "feishu:").await;
            if settings.sign_in {
                let place = "developer console, Security Settings, Redirect URLs";
                report.signs_in(env, "FEISHU_SIGN_IN", "feishu", place);
                match client.tenant().await {
                    Ok(tenant) => report.says(&format!("people of {tenant} sign in: ok")),
                    Err(FeishuError::NotAccepted { code, remedy }) => {
                        report.wrong(&format!("nobody signs in: {code}: {remedy}"));
                    }
                    Err(error) => report.says(&format!("warning: {error}; the tenant is not known")),
                }
            }
        }
        Err(FeishuError::NotAccepted { code, remedy }) => report.wrong(&format!("{code}: {remedy}")),
        Err(error) => report.says(&format!("warning: {error}; app and permissions were not checked")),
    }
    report
}
