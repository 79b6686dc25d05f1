//! From the body of a proved request of a machine to a [`Delivery`]. Pure; looks no name up.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::signature::Proof;
use crate::board::mapping::{self, Mapping, MappingProblem, Reading};
use crate::chat::{Actor, AnswerVia, Delivery, Intent, Place, Platform, key_of};
use crate::clock::Timestamp;
use crate::command::Command;
use crate::command::document::{self, Asked, AskedBuild, BUILD_FINISHED, DocumentProblem};
use crate::message::Phrase;

/// The event that asks for a run; also when none is named.
pub const RUN_REQUEST: &str = "run.request";
/// Who acts where no job is named.
const SOMEBODY: &str = "jenkins";
/// Longest name of a job in a person's key, in bytes.
const JOB_BYTES_MAX: usize = 150;

/// A request that cannot be taken, in words for whoever wrote the pipeline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeProblem {
    /// It asks for no run.
    #[error(transparent)]
    Document(#[from] DocumentProblem),
    /// Something else happened.
    #[error("\"event\" must be {RUN_REQUEST:?}, {BUILD_FINISHED:?}, or be left out")]
    Event,
    /// Nothing tells a repeat of it.
    #[error(
        "\"idempotency_key\", or \"job\" and \"number\", must be there: without them a repeat would start a second run"
    )]
    NoKey,
    /// No channel.
    #[error("\"channel\" must be slack:C… or feishu:oc_…")]
    Channel,
    /// A thread of no channel.
    #[error("\"thread_ts\" needs \"channel\" beside it")]
    Thread,
    /// No document comes of it.
    #[error(transparent)]
    Mapping(#[from] MappingProblem),
    /// The document that came of it is none.
    #[error("as the mapping {mapping} of boards.yaml reads it, {problem}")]
    Mapped {
        /// The mapping.
        mapping: String,
        /// What is wrong.
        problem: Box<DecodeProblem>,
    },
}

/// What a request comes to.
#[derive(Debug, PartialEq)]
pub enum Decoded {
    /// This.
    Delivery(Box<Delivery>),
    /// Nothing, and why.
    Nothing(String),
}

impl DecodeProblem {
    /// The sentence that tells it, where that stands in the catalogue.
    pub fn phrase(&self) -> Option<Phrase> {
        match self {
            DecodeProblem::Document(DocumentProblem::Command(problem)) => Some(problem.phrase()),
            DecodeProblem::Mapped { problem, .. } => problem.phrase(),
            _ => None,
        }
    }

    /// The mapping that read the request, if one did.
    pub fn mapping(&self) -> Option<&str> {
        match self {
            DecodeProblem::Mapped { mapping, .. } => Some(mapping),
            _ => None,
        }
    }
}

/// Decodes a request. `default` is where cards stand when it names no channel: `slack:C0SOCCI`; one that a mapping takes
/// is read by it.
pub fn decode(
    body: &[u8],
    proof: &Proof,
    now: Timestamp,
    default: Option<&str>,
    mappings: &BTreeMap<String, Mapping>,
) -> Result<Decoded, DecodeProblem> {
    let posted = document::object(body)?;
    let delivery = match mapping::read(mappings, &posted)? {
        Reading::Nothing(why) => return Ok(Decoded::Nothing(why)),
        Reading::AsItIs => of_document(&posted, body, proof, now, default)?,
        Reading::Document(mapping, document) => of_document(&document, body, proof, now, default)
            .map_err(|problem| DecodeProblem::Mapped { mapping, problem: Box::new(problem) })?,
    };
    Ok(Decoded::Delivery(Box::new(delivery)))
}

fn of_document(
    document: &Map<String, Value>,
    body: &[u8],
    proof: &Proof,
    now: Timestamp,
    default: Option<&str>,
) -> Result<Delivery, DecodeProblem> {
    match document.get("event").and_then(Value::as_str) {
        Some(BUILD_FINISHED) => Ok(build(document::read_build(document)?, body, proof.id.as_deref(), now)),
        None | Some("" | RUN_REQUEST) => run(document::read(document)?, proof, now, default),
        Some(_) => Err(DecodeProblem::Event),
    }
}

fn run(
    asked: Asked,
    proof: &Proof,
    now: Timestamp,
    default: Option<&str>,
) -> Result<Delivery, DecodeProblem> {
    let key = key(&asked, proof).ok_or(DecodeProblem::NoKey)?;
    Ok(Delivery {
        key: key_of(Platform::Jenkins, &key),
        received_at: now,
        // Whoever posts again waits for it still.
        sent_at: None,
        actor: job(asked.job.as_deref(), asked.requested_by.clone()),
        standing: None,
        source: None,
        foreign: false,
        direct: false,
        place: place(&asked, default)?,
        intent: Intent::Command(Box::new(Command::RunTest(asked.run))),
        answer_via: AnswerVia { url: None, user: String::new(), place: nowhere() },
        trigger: None,
        message: None,
    })
}

/// The job that acts, and whom it says that it acts for.
fn job(name: Option<&str>, requested_by: Option<String>) -> Actor {
    let job = name.unwrap_or(SOMEBODY);
    Actor {
        platform: Platform::Jenkins,
        id: job[..job.floor_char_boundary(JOB_BYTES_MAX)].to_owned(),
        team: String::new(),
        name: requested_by.unwrap_or_default(),
    }
}

/// A build that is told of. What was told tells a repeat of it, where neither the document nor the request has a key; the
/// build itself is registered once whatever the keys say.
fn build(asked: AskedBuild, body: &[u8], id: Option<&str>, now: Timestamp) -> Delivery {
    let whole = || hex::encode(Sha256::digest(body));
    let key = asked.key.clone().or_else(|| id.map(str::to_owned)).unwrap_or_else(whole);
    Delivery {
        key: key_of(Platform::Jenkins, &format!("build:{key}")),
        received_at: now,
        sent_at: None,
        actor: job(asked.source.job.as_deref(), asked.requested_by.clone()),
        standing: None,
        source: None,
        foreign: false,
        direct: false,
        place: nowhere(),
        intent: Intent::Build(Box::new(asked)),
        trigger: None,
        message: None,
        answer_via: AnswerVia { url: None, user: String::new(), place: nowhere() },
    }
}

/// What is the same for every repeat of a request.
fn key(asked: &Asked, proof: &Proof) -> Option<String> {
    let by_build = || {
        let (job, number) = asked.job.as_ref().zip(asked.number)?;
        Some(format!("{job}#{number}#{RUN_REQUEST}"))
    };
    asked.key.clone().or_else(by_build).or_else(|| proof.id.clone())
}

/// Where the cards stand; nowhere when no channel is named and there is no default one.
pub(in crate::chat) fn place(asked: &Asked, default: Option<&str>) -> Result<Place, DecodeProblem> {
    let place = match (&asked.channel, default) {
        (Some(channel), _) => channel_of(channel).ok_or(DecodeProblem::Channel)?,
        (None, _) if asked.thread.is_some() => return Err(DecodeProblem::Thread),
        (None, Some(default)) => channel_of(default).unwrap_or_else(nowhere),
        (None, None) => nowhere(),
    };
    Ok(Place { thread: asked.thread.clone(), ..place })
}

/// A channel by its platform and id, or by an id that only one platform has.
pub(in crate::chat) fn channel_of(text: &str) -> Option<Place> {
    let (platform, id) = match text.split_once(':') {
        Some((platform, id)) => (Platform::from_word(platform)?, id),
        None if text.starts_with("oc_") => (Platform::Feishu, text),
        None => (Platform::Slack, text),
    };
    let good = match platform {
        Platform::Slack => id.starts_with(['C', 'G', 'D']),
        Platform::Feishu => id.starts_with("oc_"),
        Platform::Jenkins | Platform::Api => false,
    };
    let plain = id.len() > 1 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (good && plain).then(|| Place { platform, channel: id.to_owned(), thread: None })
}

/// The place of a run that has no card.
pub(in crate::chat) fn nowhere() -> Place {
    Place { platform: Platform::Jenkins, channel: String::new(), thread: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::KEY_BYTES_MAX;
    use crate::chat::jenkins::signature::Scheme;

    fn decoded(more: &str, id: Option<&str>, default: Option<&str>) -> Result<Delivery, DecodeProblem> {
        let body = format!(r#"{{"family": "socA", "build": "b"{more}}}"#);
        let proof = Proof { scheme: Scheme::Hub, id: id.map(str::to_owned) };
        match decode(body.as_bytes(), &proof, Timestamp::from_micros(1), default, &BTreeMap::new())? {
            Decoded::Delivery(delivery) => Ok(*delivery),
            Decoded::Nothing(why) => panic!("{why}"),
        }
    }

    #[track_caller]
    fn key(more: &str, id: Option<&str>, expect: Option<&str>) {
        assert_eq!(decoded(more, id, None).ok().map(|delivery| delivery.key).as_deref(), expect);
    }

    #[track_caller]
    fn place(more: &str, default: Option<&str>, expect: Result<(Platform, &str), DecodeProblem>) {
        let got = decoded(more, Some("id"), default).map(|delivery| delivery.place);
        let got = got.as_ref().map(|place| (place.platform, place.channel.as_str())).map_err(Clone::clone);
        assert_eq!(got, expect);
    }

    #[test]
    fn a_repeat_is_told_by_what_the_sender_says_or_by_the_build() {
        key(r#", "idempotency_key": "k""#, Some("id"), Some("jenkins:k"));
        key("", Some("id"), Some("jenkins:id"));
        // A stage that runs again signs anew, under another id.
        for id in [None, Some("id")] {
            key(r#", "job": "compiler", "number": 812"#, id, Some("jenkins:compiler#812#run.request"));
        }
        key(r#", "job": "compiler""#, None, None);
        assert_eq!(decoded("", None, None), Err(DecodeProblem::NoKey));
        let long = decoded(&format!(r#", "idempotency_key": "{}""#, "k".repeat(900)), None, None);
        assert!(long.expect("decoded").key.len() <= KEY_BYTES_MAX);
    }

    #[test]
    fn its_cards_stand_where_it_says_or_in_the_default_channel_or_nowhere() {
        place(r#", "channel": "slack:C1""#, None, Ok((Platform::Slack, "C1")));
        place(r#", "channel": "C1""#, Some("slack:C2"), Ok((Platform::Slack, "C1")));
        place(r#", "channel": "oc_1""#, None, Ok((Platform::Feishu, "oc_1")));
        place("", Some("slack:C2"), Ok((Platform::Slack, "C2")));
        place("", None, Ok((Platform::Jenkins, "")));
        for wrong in ["api:C1", "slack:", "slack:U1", "C1/../x", "#soc-ci"] {
            place(&format!(r#", "channel": "{wrong}""#), None, Err(DecodeProblem::Channel));
        }
        place(r#", "thread_ts": "1.2""#, Some("slack:C2"), Err(DecodeProblem::Thread));
    }

    #[test]
    fn the_job_acts_and_names_whom_it_acts_for() {
        let delivery = decoded(r#", "job": "compiler", "requested_by": "li""#, Some("id"), None);
        let actor = delivery.expect("decoded").actor;
        assert_eq!((actor.key().as_str(), actor.shown()), ("jenkins:compiler", "li"));
    }

    #[test]
    fn another_event_starts_no_run() {
        assert_eq!(decoded(r#", "event": "build.begun""#, Some("id"), None), Err(DecodeProblem::Event));
        let told = |more: &str, id| decoded(&format!(r#", "event": "build.finished"{more}"#), id, None);
        let build = told("", Some("id")).expect("decoded");
        assert!(matches!(&build.intent, Intent::Build(asked) if asked.id == "b"), "{build:?}");
        assert_eq!(build.key, "jenkins:build:id");
        assert_eq!(told(r#", "idempotency_key": "k""#, Some("id")).expect("decoded").key, "jenkins:build:k");
        // Without a key it is what it says.
        assert_eq!(told("", None).expect("decoded").key, told("", None).expect("decoded").key);
        assert_ne!(
            told("", None).expect("decoded").key,
            told(r#", "branch": "m""#, None).expect("decoded").key
        );
    }
}
