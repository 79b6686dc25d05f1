//! Commit statuses: how runs ended, told to the forge that has the commit of their build. Pure: which runs decide one
//! status together and how, what is asked of GitHub, GitLab and Gerrit, and what their answers mean; nothing is sent here.

use std::fmt::Write;

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::board::hooks::{Forge, StatusSink};
use crate::net::Method;
use crate::outcome::Verdict;
use crate::run::RunSpec;
use crate::store::StatusPart;

/// Longest description, in characters: GitHub takes no more.
const DESCRIPTION_MAX: usize = 140;
/// Longest name of a status, in characters: GitHub and GitLab take no more.
const CONTEXT_MAX: usize = 255;
/// What Gerrit puts in front of its JSON, so that no page can read it.
const GERRIT_GUARD: &[u8] = b")]}'";

/// The status of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    /// The commit.
    pub(super) commit: String,
    /// What is told apart: a forge keeps the newest status of each.
    pub(super) context: String,
    /// How it ended; `None` while it has not.
    pub(super) verdict: Option<Verdict>,
    /// In a few words.
    pub(super) says: String,
    /// The page of the run that decides it, for people who sign in.
    pub(super) url: String,
}

/// What the runs of a status come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decided {
    /// How it ended; `None` while it has not.
    pub(super) verdict: Option<Verdict>,
    /// The newest run that ended so.
    pub(super) run: i64,
    /// How many passed.
    pub(super) passed: u32,
    /// Of how many.
    pub(super) all: u32,
}

/// What a run's status is called; `None` where it says nothing about the suite as it stands: somebody has set its
/// parameters. Which boards a run names is told apart, so that a look at one of them is no part of what a merge waits for.
pub(super) fn context(spec: &RunSpec) -> Option<String> {
    if !spec.params.is_empty() {
        return None;
    }
    let selector = &spec.selector;
    let mut context = format!("boardhand/{}/{}", spec.family, spec.suite);
    let board = selector.board.as_ref().filter(|_| !spec.on_own_board).map(|board| board.as_str());
    for part in board.into_iter().chain(selector.revision.as_deref()) {
        context.extend(["/", part]);
    }
    for (tag, value) in &selector.tags {
        context.extend(["/", tag, "=", value]);
    }
    Some(context.chars().take(CONTEXT_MAX).collect())
}

/// What runs come to together: the worst decides, and one that has not ended may be the worst yet, unless one has failed.
pub(super) fn decided(parts: &[StatusPart]) -> Option<Decided> {
    let weight = |part: &&StatusPart| match part.verdict {
        Some(Verdict::Failed) => 5,
        Some(Verdict::TimedOut) => 4,
        None => 3,
        Some(Verdict::Infra) => 2,
        Some(Verdict::Cancelled) => 1,
        Some(Verdict::Passed) => 0,
    };
    let worst = parts.iter().max_by_key(weight)?;
    let passed = parts.iter().filter(|part| part.verdict == Some(Verdict::Passed));
    Some(Decided {
        verdict: worst.verdict,
        run: worst.newest,
        passed: passed.map(|part| part.count).sum(),
        all: parts.iter().map(|part| part.count).sum(),
    })
}

/// A request to a forge.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Option<String>,
}

/// Whether a text is a commit's id: it becomes part of an address.
pub(super) fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What asks Gerrit which change a commit is of; the others need no such question.
pub(super) fn question(sink: &StatusSink, status: &Status) -> Option<Request> {
    (sink.forge == Forge::Gerrit).then(|| {
        let query = format!("commit:{} project:{}", status.commit, sink.project);
        let url = format!("{}/a/changes/?n=1&q={}", base(sink), encoded(&query));
        Request { method: Method::GET, url, headers: headers(sink), body: None }
    })
}

/// The change that Gerrit's answer names.
pub(super) fn change(answer: &[u8]) -> Option<i64> {
    let json = answer.strip_prefix(GERRIT_GUARD).unwrap_or(answer);
    let changes: Value = serde_json::from_slice(json).ok()?;
    changes.get(0)?.get("_number")?.as_i64()
}

/// What tells the forge; `change` is what Gerrit's answer named.
pub(super) fn request(sink: &StatusSink, status: &Status, change: Option<i64>) -> Request {
    let Status { commit, context, says, url, verdict, .. } = status;
    let says: String = says.chars().take(DESCRIPTION_MAX).collect();
    let (path, body) = match sink.forge {
        Forge::Github => (
            format!("repos/{}/statuses/{commit}", sink.project),
            json!({
                "state": match verdict {
                    None => "pending",
                    Some(Verdict::Passed) => "success",
                    Some(Verdict::Failed | Verdict::TimedOut) => "failure",
                    Some(Verdict::Infra | Verdict::Cancelled) => "error",
                },
                "target_url": url,
                "description": says,
                "context": context,
            }),
        ),
        Forge::Gitlab => (
            format!("api/v4/projects/{}/statuses/{commit}", encoded(&sink.project)),
            json!({
                "state": match verdict {
                    None => "pending",
                    Some(Verdict::Passed) => "success",
                    Some(Verdict::Failed | Verdict::TimedOut | Verdict::Infra) => "failed",
                    Some(Verdict::Cancelled) => "canceled",
                },
                "target_url": url,
                "description": says,
                "name": context,
            }),
        ),
        Forge::Gerrit => {
            let vote = match verdict {
                Some(Verdict::Passed) => 1,
                Some(Verdict::Failed | Verdict::TimedOut) => -1,
                // What the lab did says nothing about the change.
                Some(Verdict::Infra | Verdict::Cancelled) | None => 0,
            };
            (
                format!("a/changes/{}/revisions/{commit}/review", change.unwrap_or_default()),
                json!({
                    "message": format!("{context}: {says}\n{url}"),
                    "tag": "autogenerated:boardhand",
                    "labels": { sink.label.as_str(): vote },
                }),
            )
        }
    };
    Request {
        method: Method::POST,
        url: format!("{}/{path}", base(sink)),
        headers: headers(sink),
        body: Some(body.to_string()),
    }
}

/// Whether a refusal only says that this was told before: GitLab takes the same state of the same status once.
pub(super) fn is_known(sink: &StatusSink, status: u16, answer: &[u8]) -> bool {
    sink.forge == Forge::Gitlab
        && status == 400
        && memchr::memmem::find(answer, b"Cannot transition status").is_some()
}

fn base(sink: &StatusSink) -> &str {
    sink.url.trim_end_matches('/')
}

fn headers(sink: &StatusSink) -> Vec<(&'static str, String)> {
    let token = sink.token.expose_secret();
    match sink.forge {
        Forge::Github => vec![
            ("authorization", format!("Bearer {token}")),
            ("accept", "application/vnd.github+json".to_owned()),
        ],
        Forge::Gitlab => vec![("private-token", token.to_owned())],
        Forge::Gerrit => {
            use base64::Engine;
            let pair = format!("{}:{token}", sink.user);
            let pair = base64::engine::general_purpose::STANDARD.encode(pair);
            vec![("authorization", format!("Basic {pair}"))]
        }
    }
}

/// Every byte encoded that is no letter, digit, `-`, `.` or `_`.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => out.push(byte as char),
            _ => write!(out, "%{byte:02X}").expect("a string takes everything"),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn sink(forge: Forge) -> StatusSink {
        StatusSink {
            forge,
            url: "https://forge.example.com/".into(),
            project: "group/soc boot".into(),
            user: "boardhand".into(),
            token: "t0ken".to_owned().into(),
            label: "Verified".into(),
            families: vec![],
            private: false,
        }
    }

    fn status(verdict: Option<Verdict>) -> Status {
        Status {
            commit: COMMIT.into(),
            context: "boardhand/socA/smoke".into(),
            verdict,
            says: "x".repeat(200),
            url: "https://lab/runs/42".into(),
        }
    }

    fn told(forge: Forge, verdict: Option<Verdict>) -> (String, Value) {
        let request = request(&sink(forge), &status(verdict), Some(7));
        (request.url, serde_json::from_str(&request.body.expect("a body")).expect("JSON"))
    }

    #[test]
    fn each_forge_is_told_in_its_own_words() {
        let (url, body) = told(Forge::Github, Some(Verdict::Infra));
        assert_eq!(url, format!("https://forge.example.com/repos/group/soc boot/statuses/{COMMIT}"));
        assert_eq!(
            (&body["state"], body["description"].as_str().map(str::len)),
            (&json!("error"), Some(140))
        );
        assert_eq!(told(Forge::Github, None).1["state"], "pending");
        assert_eq!(told(Forge::Github, Some(Verdict::TimedOut)).1["state"], "failure");
        let (url, body) = told(Forge::Gitlab, Some(Verdict::Cancelled));
        assert_eq!(
            url,
            format!("https://forge.example.com/api/v4/projects/group%2Fsoc%20boot/statuses/{COMMIT}")
        );
        assert_eq!((&body["state"], &body["name"]), (&json!("canceled"), &json!("boardhand/socA/smoke")));
        let (url, body) = told(Forge::Gerrit, Some(Verdict::Failed));
        assert_eq!(url, format!("https://forge.example.com/a/changes/7/revisions/{COMMIT}/review"));
        assert_eq!(
            (&body["labels"]["Verified"], &body["tag"]),
            (&json!(-1), &json!("autogenerated:boardhand"))
        );
        assert_eq!(told(Forge::Gerrit, Some(Verdict::Infra)).1["labels"]["Verified"], 0);
    }

    #[test]
    fn gerrit_is_asked_first_and_answers_behind_its_guard() {
        let asked = question(&sink(Forge::Gerrit), &status(None)).expect("a question");
        let query = format!("commit%3A{COMMIT}%20project%3Agroup%2Fsoc%20boot");
        assert_eq!(asked.url, format!("https://forge.example.com/a/changes/?n=1&q={query}"));
        assert_eq!(asked.headers, [("authorization", "Basic Ym9hcmRoYW5kOnQwa2Vu".to_owned())]);
        assert_eq!(question(&sink(Forge::Github), &status(None)), None);
        assert_eq!(change(b")]}'\n[{\"_number\": 7}]"), Some(7));
        assert_eq!((change(b")]}'\n[]"), change(b"<html>")), (None, None));
    }

    #[test]
    fn the_worst_run_decides_and_none_is_green_before_all_are() {
        let part = |verdict, count, newest| StatusPart { verdict, count, newest };
        let of = |parts: &[StatusPart]| decided(parts).map(|it| (it.verdict, it.run, it.passed, it.all));
        let passed = part(Some(Verdict::Passed), 2, 9);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[passed]), Some((Some(Verdict::Passed), 9, 2, 2)));
        assert_eq!(of(&[passed, part(None, 1, 3)]), Some((None, 3, 2, 3)));
        for (worse, better) in [
            (Some(Verdict::Failed), Some(Verdict::TimedOut)),
            (Some(Verdict::TimedOut), None),
            (None, Some(Verdict::Infra)),
            (Some(Verdict::Infra), Some(Verdict::Cancelled)),
            (Some(Verdict::Cancelled), Some(Verdict::Passed)),
        ] {
            let told = of(&[part(better, 1, 2), part(worse, 1, 1)]).expect("a status");
            assert_eq!((told.0, told.1), (worse, 1), "{worse:?} before {better:?}");
        }
    }

    #[test]
    fn what_a_run_names_is_told_apart_and_what_somebody_set_is_not_told() {
        let mut spec = crate::run::RunSpec {
            kind: Default::default(),
            family: crate::board::Family::new("socA"),
            build: "build-1".into(),
            suite: "smoke".into(),
            selector: Default::default(),
            priority: Default::default(),
            boards: 1,
            on_own_board: false,
            timeout: None,
            params: Default::default(),
        };
        assert_eq!(context(&spec).as_deref(), Some("boardhand/socA/smoke"));
        spec.selector.board = Some(crate::board::BoardId::new("soc-a-001"));
        assert_eq!(context(&spec).as_deref(), Some("boardhand/socA/smoke/soc-a-001"));
        spec.on_own_board = true;
        assert_eq!(context(&spec).as_deref(), Some("boardhand/socA/smoke"), "nobody asked for it");
        spec.selector.revision = Some("rev2".into());
        spec.selector.tags.insert("ddr".into(), "8g".repeat(200));
        let context_of = context(&spec).expect("a status");
        assert!(context_of.starts_with("boardhand/socA/smoke/rev2/ddr=8g8g"), "{context_of}");
        assert_eq!(context_of.chars().count(), CONTEXT_MAX);
        spec.params.insert("iterations".into(), crate::board::plan::ParamValue::Integer(5));
        assert_eq!(context(&spec), None);
    }

    #[test]
    fn a_commit_is_hexadecimal_and_whole() {
        assert!(is_commit(COMMIT));
        assert!(!is_commit("main") && !is_commit("0123456") && !is_commit(&"../".repeat(13)[..39]));
    }

    #[test]
    fn what_gitlab_knows_already_is_told() {
        let said = br#"{"message":"Cannot transition status via :enqueue from :pending"}"#;
        assert!(is_known(&sink(Forge::Gitlab), 400, said));
        assert!(!is_known(&sink(Forge::Gitlab), 400, b"no") && !is_known(&sink(Forge::Github), 400, said));
    }
}
