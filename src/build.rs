//! Builds: what a CI made, once it told. Pure. A build never changes: what was tested stays what its runs say, so the
//! same one told again with something else in it is refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::board::Family;
use crate::board::hosts::{self, Address, HostRule};
use crate::chat::Actor;
use crate::clock::Timestamp;

/// Most artifacts of one build.
pub const ARTIFACTS_MAX: usize = 64;
/// Largest artifact that may be told, in bytes: 64 GiB.
pub const ARTIFACT_BYTES_MAX: u64 = 64 << 30;

/// A build that was registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Its place in the order in which builds came, from 1; 0 before it is stored.
    pub number: i64,
    /// The kind of board that it is for.
    pub family: Family,
    /// Its id, such as `build-123`; unique within its family.
    pub id: String,
    /// Where it came from.
    pub source: Source,
    /// How its CI says that it ended.
    pub result: BuildResult,
    /// Its files.
    pub artifacts: Vec<BuildArtifact>,
    /// Who registered it.
    pub by: Actor,
    /// When.
    pub registered_at: Timestamp,
}

impl Build {
    /// Where each of its files is, by name: its address, or, where its SHA-256 is known, its path among our own artifacts
    /// with a slash before it, since it is fetched and proved here. One that is at no host of `listed` is not given to
    /// anybody: the list may have changed since the build was registered.
    pub fn addresses(&self, listed: &[HostRule]) -> BTreeMap<String, String> {
        let listed = self.artifacts.iter().filter(|artifact| artifact.is_listed(listed));
        let place = |artifact: &BuildArtifact| match &artifact.sha256 {
            Some(sum) => format!("/{}", told_path(sum, &artifact.name)),
            None => artifact.url.clone(),
        };
        listed.map(|artifact| (artifact.name.clone(), place(artifact))).collect()
    }
}

/// Where a build came from, as far as its CI says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The branch.
    pub branch: Option<String>,
    /// The commit.
    pub commit: Option<String>,
    /// The job.
    pub job: Option<String>,
    /// Its page at the CI.
    pub url: Option<String>,
}

/// A file of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildArtifact {
    /// What plans call it: `build.artifacts["test.bin"]`.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// Its SHA-256, in lower-case hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// How many bytes it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

impl BuildArtifact {
    /// Whether it is at a listed host.
    pub fn is_listed(&self, listed: &[HostRule]) -> bool {
        Address::parse(&self.url).is_ok_and(|address| hosts::lists(listed, &address))
    }
}

/// In front of the path of a file that was told with its SHA-256, among our own artifacts.
const TOLD_PREFIX: &str = ".builds/";

/// The path of such a file. It has the name with a check of it, so that no other name leads to the file: one with
/// `.sha256` behind it is that of its checksum.
pub fn told_path(sha256: &str, name: &str) -> String {
    format!("{TOLD_PREFIX}{sha256}/{}/{name}", check_of(sha256, name))
}

fn check_of(sha256: &str, name: &str) -> String {
    hex::encode(&Sha256::digest(format!("{sha256}/{name}"))[..4])
}

/// The sum in a path, if it is that of such a file.
pub fn told_sum(path: &str) -> Option<&str> {
    let (sum, rest) = path.strip_prefix(TOLD_PREFIX)?.split_once('/')?;
    let (check, name) = rest.split_once('/')?;
    let is_sum =
        sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    (is_sum && check == check_of(sum, name)).then_some(sum)
}

/// How a build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BuildResult {
    /// Everything was made. Only such a build is ever the latest, or starts anything.
    Success,
    /// Made, and its CI has doubts.
    Unstable,
    /// Not made.
    Failure,
    /// Ended before it was made.
    Aborted,
}

impl BuildResult {
    /// Every result.
    pub const ALL: [BuildResult; 4] =
        [BuildResult::Success, BuildResult::Unstable, BuildResult::Failure, BuildResult::Aborted];

    /// The word in tables and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            BuildResult::Success => "success",
            BuildResult::Unstable => "unstable",
            BuildResult::Failure => "failure",
            BuildResult::Aborted => "aborted",
        }
    }

    /// The result of a word; Jenkins writes them in capitals, and has one more.
    pub fn from_word(word: &str) -> Option<BuildResult> {
        let not_built = word.eq_ignore_ascii_case("not_built").then_some(BuildResult::Aborted);
        BuildResult::ALL.into_iter().find(|result| result.as_str().eq_ignore_ascii_case(word)).or(not_built)
    }
}

impl Build {
    /// Whether everything was made of it.
    pub fn is_good(&self) -> bool {
        self.result == BuildResult::Success
    }

    /// What two tellings of the same build have in common, whoever told it and when.
    pub fn fingerprint(&self) -> String {
        let told = (&self.family, &self.id, &self.source, self.result, &self.artifacts);
        let told = serde_json::to_vec(&told).expect("texts and numbers are JSON");
        hex::encode(Sha256::digest(told))
    }
}

/// A name that means another build today than tomorrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moving<'a> {
    /// `latest`: the newest good one.
    Latest,
    /// `latest-main`: the newest good one of a branch.
    LatestOf(&'a str),
}

impl<'a> Moving<'a> {
    /// Reads a build's id that may be such a name.
    pub fn of(id: &'a str) -> Option<Moving<'a>> {
        let (word, branch) = match id.split_once('-') {
            Some((word, branch)) => (word, Some(branch)),
            None => (id, None),
        };
        match branch {
            _ if !word.eq_ignore_ascii_case("latest") => None,
            None => Some(Moving::Latest),
            Some("") => None,
            Some(branch) => Some(Moving::LatestOf(branch)),
        }
    }

    /// The branch that is meant.
    pub fn branch(self) -> Option<&'a str> {
        match self {
            Moving::Latest => None,
            Moving::LatestOf(branch) => Some(branch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Platform;

    #[test]
    fn a_moving_name_is_latest_alone_or_with_a_branch() {
        let check = |id: &str, expect: Option<Moving<'_>>| assert_eq!(Moving::of(id), expect, "{id}");
        check("latest", Some(Moving::Latest));
        check("Latest", Some(Moving::Latest));
        check("latest-main", Some(Moving::LatestOf("main")));
        check("latest-release/1.2-rc", Some(Moving::LatestOf("release/1.2-rc")));
        check("latest-", None);
        check("latestbuild", None);
        check("build-latest", None);
    }

    #[test]
    fn a_result_is_read_as_jenkins_writes_it() {
        for result in BuildResult::ALL {
            assert_eq!(BuildResult::from_word(&result.as_str().to_uppercase()), Some(result));
        }
        assert_eq!(BuildResult::from_word("NOT_BUILT"), Some(BuildResult::Aborted));
        assert_eq!(BuildResult::from_word("good"), None);
    }

    #[test]
    fn a_build_told_again_is_the_same_whoever_tells_it_and_when() {
        let build = |name: &str, at: i64, url: &str| Build {
            number: at,
            family: Family::new("socA"),
            id: "build-1".into(),
            source: Source::default(),
            result: BuildResult::Success,
            artifacts: vec![BuildArtifact { name: "a".into(), url: url.into(), sha256: None, size: None }],
            by: Actor {
                platform: Platform::Jenkins,
                id: name.into(),
                team: String::new(),
                name: String::new(),
            },
            registered_at: Timestamp::from_micros(at),
        };
        let first = build("job", 1, "https://ci/a").fingerprint();
        assert_eq!(first, build("other", 2, "https://ci/a").fingerprint());
        assert_ne!(first, build("job", 1, "https://ci/b").fingerprint());
    }
}
