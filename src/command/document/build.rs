//! Builds told in JSON: `build.finished`, with its artifacts. Pure; looks no name up. Each value is bounded, and what is
//! wrong is named by where it stands.

use serde_json::{Map, Value};

use super::{BUILD, Document, DocumentProblem, TEXT_BYTES_MAX, is_plain, only_known};
use crate::board::hosts::{ADDRESS_BYTES_MAX, Address};
use crate::board::{NAME_BYTES_MAX, is_name};
use crate::build::{ARTIFACT_BYTES_MAX, ARTIFACTS_MAX, BuildArtifact, BuildResult, Moving, Source};
use crate::command::parse::{self, ParseProblem};

/// The event that tells of a build.
pub const BUILD_FINISHED: &str = "build.finished";

/// A build that a machine tells of; its family is not looked up yet.
#[derive(Debug, Clone, PartialEq)]
pub struct AskedBuild {
    /// The kind of board, as the sender names it.
    pub family: String,
    /// Its id.
    pub id: String,
    /// Where it came from.
    pub source: Source,
    /// How it ended.
    pub result: BuildResult,
    /// Its files.
    pub artifacts: Vec<BuildArtifact>,
    /// The job's build number.
    pub job_number: Option<u64>,
    /// The same for every repeat of the request.
    pub key: Option<String>,
    /// Whom it is for, as the sender names them.
    pub requested_by: Option<String>,
}

/// Keys that say the same; the first is the one that problems name.
const FAMILY: &[&str] = &["family", "soc"];
const RESULT: &[&str] = &["result", "status"];
/// Every other key.
const OTHERS: &[&str] =
    &["event", "branch", "commit", "job", "number", "url", "artifacts", "idempotency_key", "requested_by"];
/// The keys of an artifact.
const ARTIFACT: &[&str] = &["name", "url", "sha256", "size"];

/// Reads what tells of a build.
pub fn read_build(document: &Map<String, Value>) -> Result<AskedBuild, DocumentProblem> {
    only_known(document, &[FAMILY, BUILD, RESULT, OTHERS])?;
    let read = Document(document);
    let id = read.either(BUILD)?.ok_or(DocumentProblem::Missing(BUILD[0]))?;
    if let Some(wrong) = parse::build_problem(&id) {
        let (command, name) = ("build.finished", "build".to_owned());
        return Err(DocumentProblem::Command(ParseProblem::BadValue { command, name, value: id, wrong }));
    }
    if Moving::of(&id).is_some() {
        let wants = "an id of the build's own; latest and latest-… mean the newest one";
        return Err(DocumentProblem::Kind { key: BUILD[0], wants });
    }
    Ok(AskedBuild {
        family: read.either(FAMILY)?.ok_or(DocumentProblem::Missing(FAMILY[0]))?,
        id,
        source: Source {
            branch: read.text("branch")?,
            commit: read.text("commit")?,
            job: read.text("job")?,
            url: read.text("url")?.map(|url| address(&url, "\"url\"".into()).map(|()| url)).transpose()?,
        },
        result: read.either(RESULT)?.map_or(Ok(BuildResult::Success), |word| result(&word))?,
        artifacts: artifacts(read.value("artifacts"))?,
        job_number: read.number("number")?,
        key: read.text("idempotency_key")?,
        requested_by: read.text("requested_by")?,
    })
}

fn result(word: &str) -> Result<BuildResult, DocumentProblem> {
    const WANTS: &str = "success, unstable, failure or aborted";
    BuildResult::from_word(word).ok_or(DocumentProblem::Kind { key: RESULT[0], wants: WANTS })
}

fn address(text: &str, at: String) -> Result<(), DocumentProblem> {
    Address::parse(text).map(drop).map_err(|problem| DocumentProblem::At { at, wants: problem.to_string() })
}

fn artifacts(value: Option<&Value>) -> Result<Vec<BuildArtifact>, DocumentProblem> {
    const WANTS: &str = "a list of at most 64 objects: [{\"name\", \"url\", \"sha256\", \"size\"}]";
    let wrong = || DocumentProblem::Kind { key: "artifacts", wants: WANTS };
    let Some(value) = value else { return Ok(vec![]) };
    let items = value.as_array().filter(|items| items.len() <= ARTIFACTS_MAX).ok_or_else(wrong)?;
    let mut artifacts: Vec<BuildArtifact> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let artifact = artifact(item.as_object().ok_or_else(wrong)?, index)?;
        if artifacts.iter().any(|other| other.name == artifact.name) {
            let wants = "a name that no other artifact of the build has".to_owned();
            return Err(DocumentProblem::At { at: format!("artifacts[{index}].name"), wants });
        }
        artifacts.push(artifact);
    }
    Ok(artifacts)
}

fn artifact(item: &Map<String, Value>, index: usize) -> Result<BuildArtifact, DocumentProblem> {
    only_known(item, &[ARTIFACT])?;
    let at = |key: &str| format!("artifacts[{index}].{key}");
    let must = |key: &str, wants: String| DocumentProblem::At { at: at(key), wants };
    let text = |key: &str| match item.get(key).filter(|value| !value.is_null()) {
        None => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) if is_plain(text) || key == "url" => Ok(Some(text.as_str())),
        Some(_) => {
            Err(must(key, format!("a text of at most {TEXT_BYTES_MAX} bytes, without control characters")))
        }
    };
    let name = text("name")?.filter(|name| is_name(name)).ok_or_else(|| {
        must("name", format!("1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ - beginning with a letter or digit"))
    })?;
    let url = text("url")?
        .ok_or_else(|| must("url", format!("where it is, in at most {ADDRESS_BYTES_MAX} bytes")))?;
    address(url, at("url"))?;
    let sha256 = text("sha256")?.map(|sum| {
        let good = sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
        good.then(|| sum.to_ascii_lowercase()).ok_or_else(|| must("sha256", "64 hexadecimal digits".into()))
    });
    let size = item.get("size").filter(|size| !size.is_null()).map(|size| {
        let size = size.as_u64().filter(|size| *size <= ARTIFACT_BYTES_MAX);
        size.ok_or_else(|| must("size", format!("a whole number of bytes, at most {ARTIFACT_BYTES_MAX}")))
    });
    Ok(BuildArtifact {
        name: name.to_owned(),
        url: url.to_owned(),
        sha256: sha256.transpose()?,
        size: size.transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::object;
    use super::*;

    fn read(body: &str) -> Result<AskedBuild, DocumentProblem> {
        read_build(&object(body.as_bytes())?)
    }

    #[track_caller]
    fn refused(body: &str, says: &str) {
        let problem = read(body).map(|build| panic!("{build:?}")).unwrap_err();
        assert_eq!(problem.to_string(), says);
    }

    #[test]
    fn a_build_is_read_with_everything_that_it_can_have() {
        let sum = "AB".repeat(32);
        let build = read(&format!(
            r#"{{"event": "build.finished", "soc": "socA", "build_id": "build-1", "branch": "main", "commit": "abc",
                "job": "compiler", "number": "7", "url": "http://ci/job/7/", "status": "UNSTABLE", "idempotency_key": "k",
                "requested_by": "li", "artifacts": [{{"name": "test.bin", "url": "https://ci/a", "sha256": "{sum}",
                "size": 12}}, {{"name": "b", "url": "http://ci/b", "sha256": null}}]}}"#
        ))
        .expect("a build");
        assert_eq!((build.family.as_str(), build.id.as_str()), ("socA", "build-1"));
        assert_eq!(
            (build.source.branch.as_deref(), build.source.job.as_deref()),
            (Some("main"), Some("compiler"))
        );
        assert_eq!(
            (build.result, build.job_number, build.key.as_deref()),
            (BuildResult::Unstable, Some(7), Some("k"))
        );
        assert_eq!(build.artifacts[0].sha256.as_deref(), Some(sum.to_lowercase().as_str()));
        assert_eq!((build.artifacts[0].size, &build.artifacts[1].sha256), (Some(12), &None));
        let bare = read(r#"{"family": "socA", "build": "b"}"#).expect("a build");
        assert_eq!((bare.result, bare.artifacts.len()), (BuildResult::Success, 0));
    }

    #[test]
    fn what_is_wrong_is_named_by_where_it_stands() {
        let with = |artifact: &str| format!(r#"{{"family": "a", "build": "b", "artifacts": [{artifact}]}}"#);
        refused(r#"{"build": "b"}"#, "\"family\" is missing");
        refused(r#"{"family": "a", "build": "b", "suite": "x"}"#, "there is no key suite");
        refused(
            r#"{"family": "a", "build": "b", "result": "good"}"#,
            "\"result\" must be success, unstable, failure or aborted",
        );
        refused(
            r#"{"family": "a", "build": "b", "url": "javascript:x"}"#,
            "\"url\": an address begins with https:// or http://",
        );
        refused(
            &with("1"),
            "\"artifacts\" must be a list of at most 64 objects: [{\"name\", \"url\", \"sha256\", \"size\"}]",
        );
        refused(&with(r#"{"nmae": "a"}"#), "there is no key nmae; did you mean \"name\"?");
        refused(
            &with(r#"{"name": "../a", "url": "https://ci/a"}"#),
            "artifacts[0].name: 1 to 64 of A-Z a-z 0-9 . _ - beginning with a letter or digit",
        );
        refused(&with(r#"{"name": "a"}"#), "artifacts[0].url: where it is, in at most 2000 bytes");
        refused(
            &with(r#"{"name": "a", "url": "https://u:p@ci/a"}"#),
            "artifacts[0].url: an address here has no user name and no password",
        );
        refused(
            &with(r#"{"name": "a", "url": "https://ci/a", "sha256": "abc"}"#),
            "artifacts[0].sha256: 64 hexadecimal digits",
        );
        for size in ["-1", "1.5", "68719476737", "\"1\"", "99999999999999999999"] {
            let body = with(&format!(r#"{{"name": "a", "url": "https://ci/a", "size": {size}}}"#));
            refused(&body, "artifacts[0].size: a whole number of bytes, at most 68719476736");
        }
        let twice = r#"{"name": "a", "url": "https://ci/a"}, {"name": "a", "url": "https://ci/b"}"#;
        refused(&with(twice), "artifacts[1].name: a name that no other artifact of the build has");
        assert!(matches!(read(r#"{"family": "a", "build": "b c"}"#), Err(DocumentProblem::Command(_))));
    }

    #[test]
    fn the_number_of_artifacts_is_bounded() {
        let of = |count: usize| {
            let each = |n: usize| format!(r#"{{"name": "a{n}", "url": "https://ci/a"}}"#);
            let artifacts: Vec<String> = (0..count).map(each).collect();
            read(&format!(r#"{{"family": "a", "build": "b", "artifacts": [{}]}}"#, artifacts.join(",")))
        };
        assert_eq!(of(ARTIFACTS_MAX).map(|build| build.artifacts.len()), Ok(ARTIFACTS_MAX));
        assert!(matches!(of(ARTIFACTS_MAX + 1), Err(DocumentProblem::Kind { key: "artifacts", .. })));
    }
}
