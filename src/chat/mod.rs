//! Chat: what every platform has in common. One folder per platform turns bytes into these types and back; nothing
//! is decided here.

pub mod api;
pub mod feishu;
pub mod jenkins;
pub mod plain;
pub mod sign_in;
pub mod slack;
pub mod token;
pub mod socket_line;
pub mod words;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::command::document::AskedBuild;
use crate::command::form::Filled;
use crate::command::standing::Standing;
use crate::command::{Click, Command};
use crate::message::Card;
use crate::outcome::Verdict;

/// A chat platform, or another source of deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// Slack.
    Slack,
    /// Feishu and Lark.
    Feishu,
    /// Jenkins' webhook.
    Jenkins,
    /// The HTTP API and the command line.
    Api,
}

impl Platform {
    /// Those that people talk on, and that take messages.
    pub const CHATS: [Platform; 2] = [Platform::Slack, Platform::Feishu];

    /// The word in tables, boards.yaml and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Platform::Slack => "slack",
            Platform::Feishu => "feishu",
            Platform::Jenkins => "jenkins",
            Platform::Api => "api",
        }
    }

    /// The platform of that word.
    pub fn from_word(word: &str) -> Option<Platform> {
        use Platform as P;
        [P::Slack, P::Feishu, P::Jenkins, P::Api].into_iter().find(|p| p.as_str() == word)
    }
}

/// A card as the platform takes it: Block Kit, or Feishu's card; null where no cards are drawn.
pub fn drawn(platform: Platform, card: &Card) -> serde_json::Value {
    match platform {
        Platform::Slack => slack::blocks::render(card),
        Platform::Feishu => feishu::card::render(card),
        Platform::Jenkins | Platform::Api => serde_json::Value::Null,
    }
}

/// Who acts: always by the platform's immutable id, never by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// Where the id is from.
    pub platform: Platform,
    /// Slack's user id, Feishu's open_id.
    pub id: String,
    /// Slack's team id, Feishu's tenant key; empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub team: String,
    /// The name the platform sent along: for logs, and where a sentence cannot hold a mention.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

impl Actor {
    /// `slack:U0LEAD`, as boards.yaml writes people, and as fairness and the audit log count them.
    pub fn key(&self) -> String {
        format!("{}:{}", self.platform.as_str(), self.id)
    }

    /// Their name where the platform sent one, else their id; as hostile as any text of theirs.
    pub fn shown(&self) -> &str {
        if self.name.is_empty() { &self.id } else { &self.name }
    }
}

/// A channel, and within it perhaps a thread.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The platform.
    pub platform: Platform,
    /// Slack's channel id, Feishu's chat id.
    pub channel: String,
    /// The thread's root message, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
}

impl Place {
    /// The place of what is told in no chat.
    pub fn nowhere() -> Place {
        Place { platform: Platform::Api, channel: String::new(), thread: None }
    }
}

/// One inbound request of a platform, after its signature was verified.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Unique per delivery and the same for its repeats: `slack:<trigger id>`. At most [`KEY_BYTES_MAX`] bytes.
    pub key: String,
    /// When it reached us.
    pub received_at: Timestamp,
    /// When it was said, where the platform tells: it repeats what we did not take, for hours.
    pub sent_at: Option<Timestamp>,
    /// Who acts.
    pub actor: Actor,
    /// What their token grants, where they came with one that is not the admin's.
    pub standing: Option<Box<Standing>>,
    /// The address that it came from, where that says something about who sent it.
    pub source: Option<String>,
    /// Whether they are of another workspace or tenant than the app, and share a channel with it.
    pub foreign: bool,
    /// Whether the platform says that it was said between the two, where its place does not show that.
    pub direct: bool,
    /// Where.
    pub place: Place,
    /// What they said or pressed.
    pub intent: Intent,
    /// How an answer can reach them beyond the acknowledgement.
    pub answer_via: AnswerVia,
    /// What lets us show them a form, once and for some seconds: Slack's `trigger_id`.
    pub trigger: Option<String>,
    /// The message that says it, where it is one that people see.
    pub message: Option<String>,
}

/// Longest dedupe key in bytes; a longer one is replaced by its SHA-256.
pub const KEY_BYTES_MAX: usize = 200;

/// The dedupe key of what a platform calls `id`; bounded whatever that is.
pub fn key_of(platform: Platform, id: &str) -> String {
    let key = format!("{}:{id}", platform.as_str());
    if key.len() <= KEY_BYTES_MAX {
        return key;
    }
    format!("{}:sha256:{}", platform.as_str(), hex::encode(Sha256::digest(id)))
}

/// What a delivery carries.
#[derive(Debug, Clone, PartialEq)]
pub enum Intent {
    /// A command in words, as one grammar: `/run-test socA build-123`, `/lab boards`.
    Text(String),
    /// A pressed button.
    Click(Click),
    /// A command that was never words: a machine's.
    Command(Box<Command>),
    /// A build that a CI tells of.
    Build(Box<AskedBuild>),
    /// A pressed button of ours that this version does not know: drawn by an older or a newer one.
    OtherClick,
    /// The form that starts a run, filled in.
    Form(Filled),
}

/// How a person gets an answer that is not the body of the acknowledgement. Platform-neutral: a URL that the
/// platform handed out for this delivery, or the person in their channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerVia {
    /// Slack's `response_url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The person who sees it, where there is no URL; nobody in particular ([`AnswerVia::everybody`]).
    pub user: String,
    /// Where they see it.
    pub place: Place,
}

impl AnswerVia {
    /// A message that nobody asked for, to everybody in a place: an open post there.
    pub fn everybody(place: Place) -> AnswerVia {
        AnswerVia { url: None, user: String::new(), place }
    }

    /// A message that nobody asked for, to one person: it must not be lost with a window, as an answer may be.
    pub fn in_person(actor: &Actor) -> AnswerVia {
        let place = Place { platform: actor.platform, channel: actor.id.clone(), thread: None };
        AnswerVia::everybody(place)
    }

    /// Whether it is an open post.
    pub fn is_open(&self) -> bool {
        self.url.is_none() && self.user.is_empty()
    }
}

/// How sending ended. Whether to try again is part of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendResult {
    /// The platform has it under this id (Slack's `ts`); empty where it gives none.
    Sent(String),
    /// Not now: this method or channel is paused for so long.
    RetryAfter(Duration),
    /// Never this message: the platform's own error code.
    Refused(String),
    /// Nothing of ours at all, for now; this message was certainly not sent.
    Out(Outage),
    /// The platform may or may not have it: transport error, 5xx, no answer.
    Unknown(String),
}

/// Why a platform takes nothing of ours, whatever the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outage {
    /// It does not accept us, and will not before somebody acts.
    NotAccepted {
        /// The platform's own error code.
        code: String,
        /// What is wrong, and what to do about it; for the log and the health page.
        remedy: &'static str,
    },
    /// It is not reached or does not work: why.
    Away(String),
}

/// Whether a post whose sending ended [`SendResult::Unknown`] is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It is, under this id.
    Sent(String),
    /// It is not.
    Absent,
    /// The platform gives no way to know, also later (a missing scope).
    CannotTell(String),
    /// Not known yet: ask again after this long.
    NotNow(Duration),
    /// The platform takes nothing of ours at all, for now.
    Out(Outage),
}

/// A post to make.
#[derive(Debug, Clone, Copy)]
pub struct Post<'a> {
    /// Where; in the thread where the place names one.
    pub place: &'a Place,
    /// What.
    pub card: &'a Card,
    /// Identifies this post to the platform, so that it can be found again or is not taken twice. Never a secret.
    pub key: &'a str,
    /// The message that it stands in for, which is gone.
    pub instead_of: Option<&'a str>,
}

/// What a file is refused with that did not get through.
pub const UPLOAD_FAILED: &str = "upload_failed";

/// A file to show.
#[derive(Debug, Clone, Copy)]
pub struct FilePost<'a> {
    /// Where; in the thread where the place names one.
    pub place: &'a Place,
    /// What it is called; identifies it in its thread.
    pub name: &'a str,
    /// What it holds.
    pub bytes: &'a [u8],
    /// What is said beside it, where the platform can.
    pub comment: &'a str,
    /// Identifies this post to the platform, as [`Post::key`] does.
    pub key: &'a str,
}

/// Why a platform did not say what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotTold {
    /// Not now: after so long.
    NotNow(Duration),
    /// It is not reached, or does not work: why.
    Away(String),
    /// Not at all.
    Failed {
        /// The platform's own code, or what is in the way of it.
        code: String,
        /// What to do about it.
        remedy: &'static str,
    },
}

/// What the bot's reaction on a message that asked for runs says of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Badge {
    /// They wait or run.
    Open,
    /// They ended so; of several, the worst.
    Ended(Verdict),
}

impl Badge {
    /// The word in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Badge::Open => "open",
            Badge::Ended(verdict) => verdict.as_str(),
        }
    }

    /// The badge of that word.
    pub fn from_word(word: &str) -> Option<Badge> {
        match word {
            "open" => Some(Badge::Open),
            word => Verdict::from_word(word).map(Badge::Ended),
        }
    }
}

/// How putting a badge on a message went, or taking one off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Badged {
    /// It is so; under this id, where the platform gives one.
    Done(String),
    /// This message takes none: it is gone, or is full of them.
    Never(String),
    /// Not now: after so long.
    NotNow(Duration),
    /// The platform is not reached, or does not work: why.
    Away(String),
    /// No message takes one of ours, before somebody acts.
    Forbidden {
        /// The platform's own code.
        code: String,
        /// What to do about it.
        remedy: &'static str,
    },
}

/// A chat platform's API as the relay needs it.
#[async_trait]
pub trait ChatApi: Send + Sync {
    /// Posts a message.
    async fn post(&self, post: Post<'_>) -> SendResult;
    /// Shows a file; refused where the platform or our rights there do not take one.
    async fn post_file(&self, _post: FilePost<'_>) -> SendResult {
        SendResult::Refused("no_files".to_owned())
    }
    /// Replaces a message of ours.
    async fn edit(&self, place: &Place, message: &str, card: &Card) -> SendResult;
    /// Looks for a post of ours by its key, or for a file by its name, among messages since `since`.
    async fn find(&self, place: &Place, key: &str, since: Timestamp) -> Found;
    /// Answers one person, visible only to them where the platform can.
    async fn answer(&self, via: &AnswerVia, card: &Card) -> SendResult;
    /// Tells a channel through the URL of a delivery, for a channel that the bot is not in.
    async fn answer_in_channel(&self, via: &AnswerVia, card: &Card) -> SendResult;
    /// Who is in a group of people, by their own ids.
    async fn members_of(&self, _group: &str) -> Result<Vec<String>, NotTold> {
        Err(NotTold::Failed { code: "not_asked".to_owned(), remedy: "this platform is only told" })
    }
    /// Pins a message of ours in its channel; one that is pinned already is no failure.
    async fn pin(&self, _place: &Place, _message: &str) -> Result<(), NotTold> {
        Err(NotTold::Failed { code: "no_pins".to_owned(), remedy: "this platform pins nothing" })
    }
    /// The locale that somebody has chosen for themselves, `zh-CN`; nothing where this platform does not tell.
    async fn locale_of(&self, _id: &str) -> Result<Option<String>, NotTold> {
        Ok(None)
    }
    /// The address of a message, for people; nothing where this platform gives messages none.
    async fn link_of(&self, _place: &Place, _message: &str) -> Result<Option<String>, NotTold> {
        Ok(None)
    }
    /// Puts a badge on a message; one that is there already is no failure.
    async fn put_badge(&self, _place: &Place, _message: &str, _badge: Badge) -> Badged {
        Badged::Never("no_reactions".to_owned())
    }
    /// Takes one off that was put there under this id; one that is not there is no failure.
    async fn take_badge(&self, _place: &Place, _message: &str, _badge: Badge, _id: &str) -> Badged {
        Badged::Never("no_reactions".to_owned())
    }
    /// What somebody is called, for platforms on which they cannot be mentioned; nothing where this one does not tell.
    async fn name_of(&self, _id: &str) -> Option<String> {
        None
    }
}
