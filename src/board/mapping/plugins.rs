//! What plugins of Jenkins post, known by its shape, so that a mapping need not say where everything stands. Pure. Both
//! post about builds that begin as well; only one that is over is told of.

use std::fmt;

use serde_json::{Map, Value};

use super::{MappingProblem, Reading};
use crate::board::shown;

/// Longest part of a job's address that is read, in bytes.
const JOB_BYTES_MAX: usize = 1_000;

/// A plugin of Jenkins that posts about builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plugin {
    /// The Notification plugin, in its format JSON.
    Notification,
    /// The Outbound WebHook plugin.
    OutboundWebhook,
}

impl Plugin {
    /// Every plugin.
    pub const ALL: [Plugin; 2] = [Plugin::Notification, Plugin::OutboundWebhook];

    /// The word in boards.yaml.
    pub fn as_str(self) -> &'static str {
        match self {
            Plugin::Notification => "notification-plugin",
            Plugin::OutboundWebhook => "outbound-webhook",
        }
    }

    /// The plugin that posts what has this shape.
    pub fn of(body: &Map<String, Value>) -> Option<Plugin> {
        let is_text = |key: &str| body.get(key).is_some_and(Value::is_string);
        let build = body.get("build").and_then(Value::as_object);
        let of_build = |key: &str| build.and_then(|build| build.get(key));
        let notification = is_text("name")
            && is_text("url")
            && of_build("phase").is_some_and(Value::is_string)
            && of_build("number").is_some_and(Value::is_u64);
        let outbound = is_text("projectName") && is_text("buildUrl") && is_text("event");
        notification.then_some(Plugin::Notification).or(outbound.then_some(Plugin::OutboundWebhook))
    }

    /// The same with `job` and `number` at its root: the job's whole name, as in `JOB_NAME`, and the build's number, which
    /// older versions say only in addresses.
    pub(super) fn completed(self, body: &Map<String, Value>) -> Map<String, Value> {
        let mut body = body.clone();
        let text = |at: &str| body.get(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (job, number) = match self {
            Plugin::Notification => {
                let job = job_of(&text("url")).unwrap_or_else(|| text("name"));
                (job, body.get("build").and_then(|build| build.get("number")).cloned())
            }
            Plugin::OutboundWebhook => {
                let said = body.get("buildNumber").filter(|number| number.is_u64()).cloned();
                let address = text("buildUrl");
                let last = address
                    .trim_end_matches('/')
                    .rsplit('/')
                    .next()
                    .and_then(|last| last.parse::<u64>().ok());
                (text("projectName"), said.or(last.map(Value::from)))
            }
        };
        body.insert("job".into(), job.into());
        if let Some(number) = number {
            body.insert("number".into(), number);
        }
        body
    }

    /// Where a value says what happened, and what it is of a build that is over: after COMPLETED, steps of the job may still
    /// add files and change the result.
    pub fn ended(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Plugin::Notification => ("/build/phase", &["FINALIZED"]),
            Plugin::OutboundWebhook => ("/event", &["SUCCESS", "UNSTABLE", "FAILURE"]),
        }
    }

    /// What a mapping of its posts says where it says nothing else.
    pub fn defaults(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Plugin::Notification => &[
                ("build", "build-{/number}"),
                ("job", "{/job}"),
                ("number", "{/number}"),
                ("result", "{/build/status}"),
                ("branch", "{/build/scm/branch?}"),
                ("commit", "{/build/scm/commit?}"),
                ("url", "{/build/full_url?}"),
            ],
            Plugin::OutboundWebhook => &[
                ("build", "build-{/number}"),
                ("job", "{/job}"),
                ("number", "{/number}"),
                ("result", "{/event}"),
                ("url", "{/buildUrl}"),
            ],
        }
    }

    /// Where its files stand, where a mapping says nothing else: entries, their name and their address.
    pub fn artifacts(self) -> Option<(&'static str, &'static str, &'static str)> {
        match self {
            Plugin::Notification => Some(("/build/artifacts?", "{key}", "{item/archive}")),
            Plugin::OutboundWebhook => None,
        }
    }

    /// What becomes of a post of it that no mapping takes.
    pub(super) fn untaken(self, body: &Value) -> Result<Reading, MappingProblem> {
        let (at, ended) = self.ended();
        let is = body.pointer(at).and_then(Value::as_str).unwrap_or_default();
        let job = body["job"].as_str().unwrap_or_default().to_owned();
        match ended.iter().any(|word| word.eq_ignore_ascii_case(is)) {
            true => Err(MappingProblem::NoMapping { plugin: self, job }),
            false => Ok(Reading::Nothing(format!(
                "{} tells of no build that is over: nothing was done",
                shown(is)
            ))),
        }
    }
}

impl fmt::Display for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Plugin::Notification => "Notification plugin",
            Plugin::OutboundWebhook => "Outbound WebHook plugin",
        })
    }
}

/// The job's whole name, `folder/compiler`, of its address `job/folder/job/compiler/`.
fn job_of(address: &str) -> Option<String> {
    let names: Vec<String> = address
        .get(..address.len().min(JOB_BYTES_MAX))?
        .trim_end_matches('/')
        .strip_prefix("job/")?
        .split("/job/")
        .map(decoded)
        .collect();
    names.iter().all(|name| !name.is_empty()).then(|| names.join("/"))
}

/// A part of an address without its `%20`.
fn decoded(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| first == b'%').and_then(|code| hex::decode(code).ok());
        bytes.extend(code.as_deref().unwrap_or(&[first]));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
