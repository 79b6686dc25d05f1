//! Files in Feishu, in two steps: the bytes, which get a key, and a message that shows that key. Only the second shows
//! anything to anybody, and it has a `uuid` as every post has.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{FeishuClient, FeishuError, accepted, id_in_path, message_id, sent, unanswered};
use crate::chat::{FilePost, SendResult, UPLOAD_FAILED};
use crate::net::UPLOAD_TIMEOUT;

/// The app may not upload.
const NO_PERMISSION: &str = "99991672";

impl FeishuClient {
    pub(super) async fn share(&self, post: FilePost<'_>, uuid: &str) -> SendResult {
        let key = match self.uploaded(post).await {
            Ok(key) => key,
            // Nobody has seen anything yet. A file that does not get through must not stop everything else.
            Err(FeishuError::Ambiguous(_)) => return SendResult::Refused(UPLOAD_FAILED.to_owned()),
            // A right that the app may do without: what is refused is this file, and not everything.
            Err(FeishuError::NotAccepted { code, .. }) if code == NO_PERMISSION => {
                return SendResult::Refused(code);
            }
            Err(error) => return sent(Err(error)),
        };
        let body =
            json!({ "msg_type": "file", "content": json!({ "file_key": key }).to_string(), "uuid": uuid });
        sent(self.show(post, body).await)
    }

    async fn show(&self, post: FilePost<'_>, mut body: Value) -> Result<String, FeishuError> {
        let Some(root) = &post.place.thread else {
            body["receive_id"] = json!(post.place.channel);
            let path = "/open-apis/im/v1/messages?receive_id_type=chat_id";
            return message_id(&self.call(super::Method::POST, path, Some(&body)).await?);
        };
        let path = format!("/open-apis/im/v1/messages/{}/reply", id_in_path(root)?);
        body["reply_in_thread"] = json!(true);
        match self.call(super::Method::POST, &path, Some(&body)).await {
            Err(FeishuError::Refused(code)) if code == super::NO_TOPICS.to_string() => {
                body["reply_in_thread"] = json!(false);
                message_id(&self.call(super::Method::POST, &path, Some(&body)).await?)
            }
            shown => message_id(&shown?),
        }
    }

    /// Uploads the bytes; gives their key.
    async fn uploaded(&self, post: FilePost<'_>) -> Result<String, FeishuError> {
        let token = self.token().await?;
        let url = format!("{}/open-apis/im/v1/files", self.base_url);
        // What the file holds cannot know its own digest, and so not end the part that it is.
        let boundary = format!("boardhand-{}", hex::encode(&Sha256::digest(post.bytes)[..16]));
        let body = multipart(&boundary, post.name, post.bytes);
        let kind = format!("multipart/form-data; boundary={boundary}");
        let reply = self.http.upload(&url, Some(&token), &kind, body, UPLOAD_TIMEOUT).await;
        let told = accepted(&reply.map_err(unanswered)?)?;
        let key = told["data"]["file_key"].as_str().filter(|key| !key.is_empty());
        key.map(str::to_owned).ok_or_else(|| FeishuError::NotExecuted("no file_key in the answer".to_owned()))
    }
}

fn multipart(boundary: &str, name: &str, bytes: &[u8]) -> Vec<u8> {
    let field = |field: &str, value: &str| {
        format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n{value}\r\n")
    };
    let mut body = field("file_type", "stream") + &field("file_name", name);
    body.push_str(&format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    ));
    let mut body = body.into_bytes();
    body.extend_from_slice(bytes);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    body
}
