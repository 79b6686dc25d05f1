//! Reactions of the bot on messages. Putting one there twice, or taking one off that is not there, changes nothing and is
//! no failure.

use super::{SlackClient, SlackError, accepted, unanswered};
use crate::chat::{Badge, Badged, Place};
use crate::net::TOTAL_TIMEOUT;
use crate::outcome::Verdict;

/// What to do where the scope is missing.
const LACKS: &str =
    "the app lacks reactions:write: add it, install the app again, set SLACK_BOT_TOKEN and restart";

/// Slack's name of the picture that stands for it on cards, too.
fn name(badge: Badge) -> &'static str {
    match badge {
        Badge::Open => "eyes",
        Badge::Ended(Verdict::Passed) => "white_check_mark",
        Badge::Ended(Verdict::Failed) => "x",
        Badge::Ended(Verdict::Infra) => "warning",
        Badge::Ended(Verdict::TimedOut) => "alarm_clock",
        Badge::Ended(Verdict::Cancelled) => "no_entry_sign",
    }
}

impl SlackClient {
    /// Calls `reactions.add` or `reactions.remove`.
    pub(super) async fn react(&self, method: &str, (place, message): (&Place, &str), badge: Badge) -> Badged {
        let url = format!("{}{method}", self.base_url);
        let fields = [("channel", place.channel.as_str()), ("timestamp", message), ("name", name(badge))];
        let reply = self.http.post_form(&url, Some(&self.token), &fields, TOTAL_TIMEOUT).await;
        match reply.map_err(unanswered).and_then(|reply| accepted(&reply)) {
            Ok(_) => Badged::Done(String::new()),
            Err(SlackError::Refused(code)) if matches!(code.as_str(), "already_reacted" | "no_reaction") => {
                Badged::Done(String::new())
            }
            Err(SlackError::Refused(code)) => Badged::Never(code),
            Err(SlackError::RateLimited(pause)) => Badged::NotNow(pause),
            Err(SlackError::NotExecuted(reason) | SlackError::Ambiguous(reason)) => Badged::Away(reason),
            Err(SlackError::NotAccepted { code, .. }) if code == "missing_scope" => {
                Badged::Forbidden { code, remedy: LACKS }
            }
            Err(SlackError::NotAccepted { code, .. }) => Badged::Away(code),
        }
    }
}
