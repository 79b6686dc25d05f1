//! Console logs on their way into a thread: as a file, and where the platform takes none, or ours is gone, as a link.

use serde_json::json;

use super::{Shared, Went};
use crate::chat::{ChatApi, FilePost, Place, Post};
use crate::message::Note;
use crate::message::log_file::LogFiles;
use crate::store::{End, Owed, StoreError};

impl Shared {
    /// Shows the console log of an attempt in a thread of its run. What is refused as a file is told with the link, in the
    /// same turn of the channel.
    pub(super) async fn log(
        &self,
        owed: &Owed,
        api: &dyn ChatApi,
        (run, place): (i64, &Place),
        note: &Note,
    ) -> Result<Went, StoreError> {
        let attempt = note.facts.get("attempt").and_then(serde_json::Value::as_u64);
        let attempt = attempt.and_then(|attempt| attempt.try_into().ok()).unwrap_or_default();
        let text = match &self.logs {
            Some(logs) => logs.read(run, attempt).await,
            None => None,
        };
        let Some(text) = text else {
            let told = self.linked(note, place, "gone").await;
            return self.post(owed, api, place, &told, 0, true).await;
        };
        let (name, key) = (LogFiles::name(run, attempt), owed.id.to_string());
        let comment = self.composer.note(note, place).summary;
        let file = FilePost { place, name: &name, bytes: text.as_bytes(), comment: &comment, key: &key };
        let shows = async || api.post_file(file).await;
        let error = match self.once(owed, api, (place, &name), 0, true, shows).await? {
            Went::Ended(End::Dead { error }) => error,
            went => return Ok(went),
        };
        tracing::info!(
            run,
            channel = place.channel,
            error,
            "a console log is linked to, and not shown as a file"
        );
        let told = self.linked(note, place, &error).await;
        let posted = api.post(Post { place, card: &told, key: &key, instead_of: None }).await;
        Ok(self.posted(owed, place, posted, 0, true))
    }

    /// What is said instead of the file.
    async fn linked(&self, note: &Note, place: &Place, why: &str) -> crate::message::Card {
        let mut note = note.clone();
        note.facts.insert("without_file".into(), json!(why));
        self.named(self.composer.note(&note, place), place).await
    }
}
