//! Documents: a run asked for in JSON, by Jenkins or over the API, read into the same [`RunTest`] that typed words
//! become and checked by the same grammar. Pure; looks no name up. A key that nobody knows is refused with the nearest
//! one: what a machine misspells, it misspells every night. Builds that a CI tells of are read by `build`.

mod build;

use serde_json::{Map, Value};

use super::RunTest;
use super::grammar::{self, Form};
use super::parse::{self, ParseProblem};
use super::problem::shown;
use super::words::Word;
use crate::board::near::nearest;

pub use self::build::{AskedBuild, BUILD_FINISHED, read_build};

/// Longest text of one value, in bytes.
pub const TEXT_BYTES_MAX: usize = 1_000;
/// Most entries of `params` and `tags` together.
pub const ENTRIES_MAX: usize = 40;

/// A run asked for by a machine.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Asked {
    /// What is asked for.
    pub run: RunTest,
    /// What happened, where the sender says so: `run.request`.
    pub event: Option<String>,
    /// Jenkins' job and the build's number in it.
    pub job: Option<String>,
    /// See `job`.
    pub number: Option<u64>,
    /// Where the cards are to stand: `slack:C0SOCCI`, or an id of the default channel's platform.
    pub channel: Option<String>,
    /// The thread there.
    pub thread: Option<String>,
    /// The same for every repeat of the request.
    pub key: Option<String>,
    /// Whom it is for, as the sender names them.
    pub requested_by: Option<String>,
}

/// Why a document asks for no run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentProblem {
    /// Not JSON.
    #[error("the body is not JSON: line {line}, column {column}")]
    Json {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// JSON, but no object.
    #[error("the body must be a JSON object")]
    NotAnObject,
    /// A key that nobody knows.
    #[error("there is no key {}{}", shown(key), near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default())]
    UnknownKey {
        /// The key.
        key: String,
        /// The nearest one.
        near: Option<&'static str>,
    },
    /// A value of another kind.
    #[error("{key:?} must be {wants}")]
    Kind {
        /// The key.
        key: &'static str,
        /// What it must be.
        wants: &'static str,
    },
    /// A value within others.
    #[error("{at}: {wants}")]
    At {
        /// Where it stands: `artifacts[0].url`.
        at: String,
        /// What it must be.
        wants: String,
    },
    /// Two keys that say the same.
    #[error("{0:?} and {1:?} say the same; give one of them")]
    Twice(&'static str, &'static str),
    /// A key that must be there.
    #[error("{0:?} is missing")]
    Missing(&'static str),
    /// A name of a parameter that is an option's.
    #[error("{} is no parameter but a key of its own; write it beside \"params\"", shown(.0))]
    Reserved(String),
    /// What any command can have wrong; its words stand in the catalogue.
    #[error("it is no command")]
    Command(ParseProblem),
}

/// Keys that say the same; the first is the one that problems name.
const TARGET: &[&str] = &["family", "soc", "board", "target"];
const BUILD: &[&str] = &["build", "build_id"];
const REVISION: &[&str] = &["revision", "rev"];
/// Keys of the sender's own, which are read and change nothing about the run.
const SENDERS: &[&str] = &["url", "branch", "commit"];
/// Every other key.
const OTHERS: &[&str] = &[
    "suite",
    "priority",
    "tags",
    "params",
    "timeout",
    "boards",
    "event",
    "job",
    "number",
    "channel",
    "thread_ts",
    "idempotency_key",
    "requested_by",
    "callback_url",
];

/// A body's document.
pub fn object(body: &[u8]) -> Result<Map<String, Value>, DocumentProblem> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| DocumentProblem::Json { line: error.line(), column: error.column() })?;
    match value {
        Value::Object(document) => Ok(document),
        _ => Err(DocumentProblem::NotAnObject),
    }
}

/// Refuses a key that is in none of these lists.
fn only_known(document: &Map<String, Value>, known: &[&[&'static str]]) -> Result<(), DocumentProblem> {
    let known = || known.iter().copied().flatten().copied();
    match document.keys().find(|key| known().all(|known| known != key.as_str())) {
        None => Ok(()),
        Some(key) => Err(DocumentProblem::UnknownKey { key: key.clone(), near: nearest(key, known()) }),
    }
}

/// Reads what asks for a run.
pub fn read(document: &Map<String, Value>) -> Result<Asked, DocumentProblem> {
    only_known(document, &[TARGET, BUILD, REVISION, SENDERS, OTHERS])?;
    let read = Document(document);
    Ok(Asked {
        run: RunTest { callback: read.text("callback_url")?, ..run(&read)? },
        event: read.text("event")?,
        job: read.text("job")?,
        number: read.number("number")?,
        channel: read.text("channel")?,
        thread: read.text("thread_ts")?,
        key: read.text("idempotency_key")?,
        requested_by: read.text("requested_by")?,
    })
}

/// The run, as words of the grammar.
fn run(read: &Document<'_>) -> Result<RunTest, DocumentProblem> {
    let target = read.either(TARGET)?.ok_or(DocumentProblem::Missing(TARGET[0]))?;
    let build = read.either(BUILD)?.ok_or(DocumentProblem::Missing(BUILD[0]))?;
    let mut words = vec![Word::bare(target), Word::bare(build)];
    let mut option = |name: &str, value: Option<String>| {
        words.extend(value.map(|value| Word::option(name, &value)));
    };
    option("suite", read.text("suite")?);
    option("rev", read.either(REVISION)?);
    option("priority", read.text_or_number("priority")?);
    option("boards", read.number("boards")?.map(|n| n.to_string()));
    // A bare number is seconds, as everywhere in the API.
    option(
        "timeout",
        match read.value("timeout") {
            Some(Value::Number(_)) => read.number("timeout")?.map(|seconds| format!("{seconds}s")),
            _ => read.text("timeout")?,
        },
    );
    let (tags, params) = (read.entries("tags")?, read.entries("params")?);
    if tags.len() + params.len() > ENTRIES_MAX {
        return Err(DocumentProblem::Kind { key: "params", wants: "40 entries at most, together with tags" });
    }
    for (key, value) in tags {
        option("tag", Some(format!("{key}:{value}")));
    }
    for (name, value) in params {
        if grammar::row(Form::RunTest).option(&name).is_some() {
            return Err(DocumentProblem::Reserved(name));
        }
        option(&name, Some(value));
    }
    parse::run_test(&words).map_err(DocumentProblem::Command)
}

struct Document<'a>(&'a Map<String, Value>);

impl Document<'_> {
    /// A value; one that is null is absent.
    fn value(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// A text; an empty one is absent, as a variable of a pipeline that was not set is.
    fn text(&self, key: &'static str) -> Result<Option<String>, DocumentProblem> {
        const WANTS: &str = "a text of at most 1,000 bytes, without control characters";
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(Value::String(text)) if is_plain(text) => Ok(Some(text.trim().to_owned())),
            Some(_) => Err(DocumentProblem::Kind { key, wants: WANTS }),
        }
    }

    fn number(&self, key: &'static str) -> Result<Option<u64>, DocumentProblem> {
        const WANTS: &str = "a whole number";
        let wrong = || DocumentProblem::Kind { key, wants: WANTS };
        match self.value(key) {
            None => Ok(None),
            Some(Value::Number(number)) => number.as_u64().map(Some).ok_or_else(wrong),
            // What a shell puts together is text.
            Some(Value::String(text)) => text.trim().parse().map(Some).map_err(|_| wrong()),
            Some(_) => Err(wrong()),
        }
    }

    fn text_or_number(&self, key: &'static str) -> Result<Option<String>, DocumentProblem> {
        match self.value(key) {
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            _ => self.text(key),
        }
    }

    /// The one that is there of several keys that say the same.
    fn either(&self, keys: &'static [&'static str]) -> Result<Option<String>, DocumentProblem> {
        let mut found: Option<(&'static str, String)> = None;
        for key in keys {
            let Some(text) = self.text(key)? else { continue };
            if let Some((first, _)) = found {
                return Err(DocumentProblem::Twice(first, key));
            }
            found = Some((key, text));
        }
        Ok(found.map(|(_, text)| text))
    }

    /// An object of plain values, in the order of their names.
    fn entries(&self, key: &'static str) -> Result<Vec<(String, String)>, DocumentProblem> {
        const WANTS: &str = "an object of texts, numbers and truth values";
        let wrong = || DocumentProblem::Kind { key, wants: WANTS };
        let Some(value) = self.value(key) else { return Ok(vec![]) };
        let entries = value.as_object().ok_or_else(wrong)?;
        let entry = |(name, value): (&String, &Value)| {
            let value = match value {
                Value::String(text) if is_plain(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(truth) => truth.to_string(),
                _ => return Err(wrong()),
            };
            if name.is_empty() || !is_plain(name) { Err(wrong()) } else { Ok((name.clone(), value)) }
        };
        entries.iter().map(entry).collect()
    }
}

/// Whether a text can stand in a message, a log and a table.
fn is_plain(text: &str) -> bool {
    text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::run::Priority;

    fn read_body(body: &[u8]) -> Result<Asked, DocumentProblem> {
        read(&object(body)?)
    }

    fn asked(body: &str) -> Asked {
        read_body(body.as_bytes()).unwrap_or_else(|problem| panic!("{problem}"))
    }

    #[track_caller]
    fn refused(body: &str, says: &str) {
        let problem = read_body(body.as_bytes()).map(|asked| panic!("{asked:?}")).unwrap_err();
        assert_eq!(problem.to_string(), says);
    }

    #[test]
    fn a_request_has_everything_that_can_be_typed() {
        let asked = asked(
            r#"{"event": "run.request", "job": "compiler/main", "number": 812, "soc": "socA", "build_id": "build-123",
                "suite": "full", "priority": 1, "rev": "rev2", "tags": {"ddr": "8g"}, "params": {"iterations": 5,
                "fast": true}, "timeout": 90, "boards": "2", "channel": "slack:C1", "thread_ts": "1.2",
                "idempotency_key": "k", "requested_by": "li", "url": "http://ci/", "commit": "abc", "branch": null}"#,
        );
        let RunTest {
            target,
            build,
            suite,
            priority,
            revision,
            tags,
            on,
            timeout,
            boards,
            repeat,
            params,
            ..
        } = asked.run;
        assert_eq!((target.as_str(), build.as_str(), suite.as_deref()), ("socA", "build-123", Some("full")));
        assert_eq!((priority, revision.as_deref()), (Some(Priority::High), Some("rev2")));
        assert_eq!((tags["ddr"].as_str(), on, repeat, boards), ("8g", None, None, Some(2)));
        assert_eq!((params["iterations"].as_str(), params["fast"].as_str()), ("5", "true"));
        assert_eq!(timeout, Some(Duration::from_secs(90)));
        assert_eq!((asked.job.as_deref(), asked.number), (Some("compiler/main"), Some(812)));
        assert_eq!((asked.channel.as_deref(), asked.thread.as_deref()), (Some("slack:C1"), Some("1.2")));
        assert_eq!((asked.key.as_deref(), asked.requested_by.as_deref()), (Some("k"), Some("li")));
    }

    #[test]
    fn a_word_of_a_machine_is_never_an_option() {
        let got = asked(r#"{"target": "suite=full", "build": "b"}"#);
        assert_eq!((got.run.target.as_str(), got.run.suite), ("suite=full", None));
    }

    #[test]
    fn what_is_wrong_is_said_so_that_somebody_can_mend_it() {
        refused("", "the body is not JSON: line 1, column 0");
        refused("[1]", "the body must be a JSON object");
        refused(r#"{"siute": "x"}"#, "there is no key siute; did you mean \"suite\"?");
        refused(r#"{"build": "b"}"#, "\"family\" is missing");
        refused(r#"{"family": "a", "build": ""}"#, "\"build\" is missing");
        refused(
            r#"{"family": "a", "soc": "b", "build": "c"}"#,
            "\"family\" and \"soc\" say the same; give one of them",
        );
        refused(
            r#"{"family": ["a"], "build": "c"}"#,
            "\"family\" must be a text of at most 1,000 bytes, without control characters",
        );
        refused(r#"{"family": "a", "build": "c", "boards": -1}"#, "\"boards\" must be a whole number");
        refused(
            r#"{"family": "a", "build": "c", "params": {"x": {}}}"#,
            "\"params\" must be an object of texts, numbers and truth values",
        );
        refused(
            r#"{"family": "a", "build": "c", "params": {"suite": "x"}}"#,
            "suite is no parameter but a key of its own; write it beside \"params\"",
        );
        let spaced = read_body(br#"{"family": "a", "build": "x y"}"#);
        let is_command = |problem: &DocumentProblem| matches!(problem, DocumentProblem::Command(_));
        assert!(spaced.as_ref().is_err_and(is_command), "{spaced:?}");
    }

    #[test]
    fn nesting_and_length_are_bounded() {
        let bomb = format!("{}{}", r#"{"params":"#.repeat(10_000), "}".repeat(10_000));
        assert!(matches!(read_body(bomb.as_bytes()), Err(DocumentProblem::Json { .. })));
        let long = format!(r#"{{"family": "{}", "build": "b"}}"#, "a".repeat(TEXT_BYTES_MAX + 1));
        assert!(matches!(read_body(long.as_bytes()), Err(DocumentProblem::Kind { key: "family", .. })));
        let many: Vec<String> = (0..=ENTRIES_MAX).map(|n| format!("\"p{n}\": 1")).collect();
        let many = format!(r#"{{"family": "a", "build": "b", "params": {{{}}}}}"#, many.join(","));
        assert!(matches!(read_body(many.as_bytes()), Err(DocumentProblem::Kind { key: "params", .. })));
    }
}
