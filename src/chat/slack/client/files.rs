//! Files in Slack, in three steps: an address to put the bytes at, the bytes, and the word that they belong in a thread.
//! Only the last one shows anything to anybody: what comes before it may be done again.

use serde_json::json;

use super::{SlackClient, SlackError, accepted, unanswered};
use crate::chat::slack::mrkdwn;
use crate::chat::{FilePost, SendResult, UPLOAD_FAILED};
use crate::message::Text;
use crate::net::{TOTAL_TIMEOUT, UPLOAD_TIMEOUT};

/// Longest comment beside a file.
const COMMENT_MAX: usize = 3_000;

impl SlackClient {
    pub(super) async fn share(&self, post: FilePost<'_>) -> SendResult {
        let file = match self.uploaded(post).await {
            Ok(file) => file,
            // Nobody has seen anything yet. A file that does not get through must not stop everything else.
            Err(SlackError::Ambiguous(_)) => return SendResult::Refused(UPLOAD_FAILED.to_owned()),
            Err(error) => return without_scope(error).of_send(),
        };
        let mut body = json!({
            "files": [{ "id": file, "title": post.name }],
            "channel_id": post.place.channel,
            "initial_comment": mrkdwn::line(&Text::plain(post.comment), COMMENT_MAX),
        });
        if let Some(thread) = &post.place.thread {
            body["thread_ts"] = json!(thread);
        }
        match self.call("files.completeUploadExternal", &body).await {
            // Slack shares it a moment later, and does not say under which id.
            Ok(_) => SendResult::Sent(file),
            Err(error) => without_scope(error).of_send(),
        }
    }

    /// Puts the bytes where Slack says; gives the file's id.
    async fn uploaded(&self, post: FilePost<'_>) -> Result<String, SlackError> {
        let url = format!("{}files.getUploadURLExternal", self.base_url);
        let length = post.bytes.len().to_string();
        // This method takes a form only.
        let fields = [("filename", post.name), ("length", length.as_str())];
        let reply = self.http.post_form(&url, Some(&self.token), &fields, TOTAL_TIMEOUT).await;
        let told = accepted(&reply.map_err(unanswered)?)?;
        let part = |name: &str| told[name].as_str().filter(|part| !part.is_empty()).map(str::to_owned);
        let missing = || SlackError::NotExecuted("no address in Slack's answer".to_owned());
        let (address, file) = (part("upload_url").ok_or_else(missing)?, part("file_id").ok_or_else(missing)?);
        // The address itself is the permission: our token stays at home.
        let put = self.http.upload(
            &address,
            None,
            "text/plain; charset=utf-8",
            post.bytes.to_vec(),
            UPLOAD_TIMEOUT,
        );
        // It is another machine than the API's, and need not be reached where that is.
        match put.await {
            Ok(put) if (200..=299).contains(&put.status) => Ok(file),
            Ok(_) | Err(_) => Err(SlackError::Refused(UPLOAD_FAILED.to_owned())),
        }
    }
}

/// A right that the bot may do without: what it is refused for is this file, and not everything.
fn without_scope(error: SlackError) -> SlackError {
    match error {
        SlackError::NotAccepted { code, .. } if code == "missing_scope" => SlackError::Refused(code),
        error => error,
    }
}
