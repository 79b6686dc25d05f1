//! Builds: a CI tells of them, people and machines say `latest` and get a build that the card names, rules of boards.yaml
//! start runs with them, and a build never changes.

mod fetched;

use serde_json::{Value, json};

use crate::api::{admin, call};
use crate::jenkins::signed;
use crate::lab::{Lab, lab, yaml};

/// A lab of two revisions whose builds are told of, with this at the end of its boards.yaml.
pub(crate) fn with(more: &str) -> String {
    let boards = yaml::small(2).replacen("soc_revision: rev2", "soc_revision: rev1", 1);
    format!(
        "{boards}artifact_hosts: [ci.example.com, 'http://10.0.0.5:8080']\nchannels: {{default: slack:C0SOCCI}}\n{more}"
    )
}

/// A build as its CI tells of it.
pub(crate) fn told(id: &str, more: &str) -> String {
    format!(r#"{{"event": "build.finished", "family": "socA", "build": "{id}"{more}}}"#)
}

async fn registered(lab: &Lab, id: &str, more: &str) -> Value {
    let (status, answer) = signed(lab, &told(id, more)).await;
    assert_eq!(status, 201, "{answer}");
    answer
}

async fn builds(lab: &Lab) -> String {
    lab.rows("SELECT count(*) FROM builds").await.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn latest_is_the_newest_good_build_and_the_card_names_it() {
    lab(&with(""), async |lab| {
        registered(lab, "build-1", r#", "branch": "main""#).await;
        registered(lab, "build-2", r#", "branch": "release/1.2""#).await;
        registered(lab, "build-3", r#", "branch": "main", "result": "FAILURE""#).await;
        let said = lab.say("alice", "/run-test socA latest").await;
        assert!(said.contains("build-2"), "{said}");
        let said = lab.say("alice", "/run-test soc-a-001 latest-main").await;
        assert!(said.contains("build-1"), "{said}");
        let body = r#"{"idempotency_key": "k", "family": "socA", "build": "latest-release/1.2"}"#;
        let (status, answer) = signed(lab, body).await;
        assert_eq!((status, &answer["number"]), (202, &json!(3)), "{answer}");
        lab.settle().await;
        let built = lab.rows("SELECT spec->>'build' FROM runs ORDER BY number").await;
        assert_eq!(built, ["build-2", "build-1", "build-2"]);
        lab.until_card(1, "build-2").await;

        // It means another build now; the same request is still the same run.
        registered(lab, "build-4", r#", "branch": "release/1.2""#).await;
        let (status, again) = signed(lab, body).await;
        assert_eq!((status, &again["number"]), (200, &json!(3)), "{again}");

        let said = lab.say("alice", "/run-test socA latest-mian").await;
        assert!(said.contains("there are builds of main, release/1.2"), "{said}");
        assert!(said.contains("/run-test socA latest-main"), "{said}");
        // Where nobody registers builds it is an id like any other, as are those that nobody registered.
        let said = lab.say("alice", "/run-test socB latest").await;
        assert!(said.contains("latest"), "{said}");
        let said = lab.say("alice", "/run-test socA build-99").await;
        assert!(said.contains("build-99"), "{said}");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_gets_the_files_that_the_ci_told_of() {
    let boards =
        with("").replace("    artifacts: {test.bin: 'http://ci.lab.local/{{ build.id }}/test.bin'}\n", "");
    lab(&boards, async |lab| {
        let url = "http://10.0.0.5:8080/nightly/build-7/test.bin";
        registered(lab, "build-7", &format!(r#", "artifacts": [{{"name": "test.bin", "url": "{url}"}}]"#))
            .await;
        let run = lab.run("alice", "/run-test socA latest").await;
        assert_eq!(lab.verdict(run).await, "passed in testing");
        let sent = std::fs::read_to_string(lab.data.path().join(format!("transcripts/{run}/1/console.idx")));
        assert!(sent.expect("what was typed").contains(url));
        // Of a build that nobody told of there is no such file, which is said before anybody waits.
        let said = lab.say("alice", "/run-test socA build-8").await;
        assert!(said.contains("test.bin"), "{said}");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_told_again_is_the_same_and_another_one_under_its_id_is_refused() {
    lab(&with(""), async |lab| {
        let more = r#", "branch": "main", "artifacts": [{"name": "a", "url": "https://ci.example.com/a"}]"#;
        registered(lab, "build-1", more).await;
        let (status, again) = signed(lab, &told("build-1", more)).await;
        assert_eq!((status, &again["build"]), (200, &json!("build-1")), "{again}");
        // Weeks later the delivery itself is forgotten.
        lab.tamper("DELETE FROM deliveries").await;
        assert_eq!(signed(lab, &told("build-1", more)).await.0, 200);
        let changed = more.replace("/a\"", "/b\"");
        let (status, problem) = signed(lab, &told("build-1", &changed)).await;
        assert_eq!(status, 409, "{problem}");
        let detail = "build-1 of socA was registered before, and said something else; a build never changes, so this one \
                      needs another id";
        assert_eq!(problem["detail"], detail);
        // A key is for one build.
        let keyed = |id: &str| told(id, r#", "idempotency_key": "k""#);
        assert_eq!(signed(lab, &keyed("build-2")).await.0, 201);
        let (status, problem) = signed(lab, &keyed("build-3")).await;
        assert_eq!((status, &problem["title"]), (409, &json!("this key told of something else")));
        // Two at once are one.
        let third = told("build-3", "");
        let other = told("build-3", r#", "idempotency_key": "x""#);
        let both = tokio::join!(signed(lab, &third), signed(lab, &other));
        let mut statuses = [both.0.0, both.1.0];
        statuses.sort_unstable();
        assert_eq!((statuses, builds(lab).await.as_str()), ([200, 201], "3"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_build_is_said_and_nothing_is_registered() {
    lab(&with(""), async |lab| {
        let refused = async |body: &str, says: &str| {
            let (status, problem) = signed(lab, body).await;
            assert_eq!((status, &problem["detail"]), (422, &json!(says)), "{body}");
        };
        let artifact = |url: &str| told("b", &format!(r#", "artifacts": [{{"name": "a", "url": "{url}"}}]"#));
        for name in ["latest", "Latest-main"] {
            let says = "\"build\" must be an id of the build's own; latest and latest-… mean the newest one";
            refused(&told(name, ""), says).await;
        }
        refused(&told("b", "").replace("socA", "socZ"), "there is no family \"socZ\"").await;
        let unlisted = |host: &str| {
            format!("the artifact a is at {host}, which artifact_hosts in boards.yaml does not list")
        };
        refused(&artifact("https://evil.example.com/a"), &unlisted("evil.example.com")).await;
        refused(&artifact("http://ci.example.com/a"), &unlisted("http://ci.example.com")).await;
        refused(&artifact("http://169.254.169.254/latest/meta-data"), &unlisted("http://169.254.169.254"))
            .await;
        refused(&artifact("http://10.0.0.5:8081/a"), &unlisted("http://10.0.0.5:8081")).await;
        refused(
            &artifact("file:///etc/passwd"),
            "artifacts[0].url: an address begins with https:// or http://",
        )
        .await;
        refused(&told("b", r#", "size": 1e400"#), "the body is not JSON: line 1, column 73").await;
        let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
        let (status, _) = signed(lab, &told("b", &format!(r#", "artifacts": {deep}"#))).await;
        assert_eq!(status, 422);
        let long = told("b", &format!(r#", "branch": "{}""#, "x".repeat(300 * 1024)));
        assert_eq!(signed(lab, &long).await.0, 413);
        assert_eq!(builds(lab).await, "0");
        assert_eq!(signed(lab, &artifact("http://10.0.0.5:8080/a")).await.0, 201);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_start_runs_with_good_builds_once_each_and_tell_the_familys_channel() {
    let rules = "on_build:
  smoke-on-main: {family: socA, branch: main}
  nightly: {family: socA, job: 'nightly*', suite: smoke, revisions: all, priority: high}
  odd: {family: socA, branch: odd, suite: smoke, params: {iterations: '500'}}
";
    lab(&with(rules), async |lab| {
        let answer = registered(lab, "build-1", r#", "job": "compiler", "branch": "main", "requested_by": "li""#).await;
        assert_eq!((&answer["runs"][0]["rule"], &answer["runs"][0]["number"]), (&json!("smoke-on-main"), &json!(1)));
        assert!(answer["runs"][0]["url"].as_str().is_some_and(|url| url.contains("/api/v1/runs/1?key=")), "{answer}");
        assert_eq!(answer["runs"].as_array().map(Vec::len), Some(1), "{answer}");
        assert_eq!(signed(lab, &told("build-1", r#", "job": "compiler", "branch": "main", "requested_by": "li""#)).await.0, 200);
        // Under another key, as a sender has it that signs anew, its runs are the same ones, and no new one.
        let more = r#", "job": "compiler", "branch": "main", "requested_by": "li", "idempotency_key": "again""#;
        let (status, again) = signed(lab, &told("build-1", more)).await;
        assert_eq!((status, &again["runs"]), (200, &answer["runs"]), "{again}");
        // Neither a build that was not made, nor one of another branch, starts anything.
        assert_eq!(registered(lab, "build-2", r#", "branch": "main", "result": "unstable""#).await["runs"], json!([]));
        assert_eq!(registered(lab, "build-3", r#", "branch": "topic""#).await["runs"], json!([]));
        let answer = registered(lab, "build-4", r#", "job": "nightly-full", "branch": "topic""#).await;
        assert_eq!(answer["runs"].as_array().map(Vec::len), Some(2), "{answer}");
        let answer = registered(lab, "build-5", r#", "branch": "odd""#).await;
        let detail = "the parameter iterations must be a whole number of at most 100, not \"500\"";
        assert_eq!(answer["refused"], json!([{ "rule": "odd", "detail": detail }]));
        lab.settle().await;
        let runs = lab.rows(
            "SELECT spec->>'build' || ' ' || (spec->>'suite') || ' ' || coalesce(spec->'selector'->>'revision', '-') || ' '
                    || (spec->>'priority') || ' ' || requester || ' ' || verdict FROM runs ORDER BY number",
        );
        assert_eq!(
            runs.await,
            [
                "build-1 smoke - low jenkins:compiler passed",
                "build-4 smoke rev1 high jenkins:nightly-full passed",
                "build-4 smoke rev2 high jenkins:nightly-full passed"
            ]
        );
        lab.until_card(1, "Passed").await;
        assert!(lab.thread(1).contains("*By* li"), "{}", lab.thread(1));
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_family_may_test_registered_builds_only() {
    let only = with("").replacen("  socB: {}", "  socB: {builds: registered}", 1);
    lab(&only, async |lab| {
        let body = told("build-123", "").replace("socA", "socB");
        assert_eq!(signed(lab, &body).await.0, 201);
        let said = lab.say("alice", "/run-test socB build-124").await;
        assert!(said.contains("No build \"build-124\" of socB was registered"), "{said}");
        assert!(said.contains("/run-test socB build-123"), "{said}");
        let said = lab.say("alice", "/run-test socB latest-main").await;
        assert!(said.contains("No good build of socB on the branch \"main\" was registered"), "{said}");
        let said = lab.say("alice", "/run-test socB build-123").await;
        assert!(said.contains("#1"), "{said}");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_and_programs_list_builds() {
    lab(&with(""), async |lab| {
        let said = lab.say("alice", "/lab builds socA").await;
        assert!(said.contains("No builds of socA were registered"), "{said}");
        let artifact = r#""artifacts": [{"name": "a", "url": "https://ci.example.com/a", "size": 3}]"#;
        let more = format!(
            r#", "branch": "ma*in<!channel>", "commit": "0123456789abcdef0123", "url": "http://ci/job/1/", {artifact}"#
        );
        registered(lab, "build-1", &more).await;
        registered(lab, "build-2", r#", "result": "ABORTED""#).await;
        let (status, _) = signed(lab, &told("build-1", "").replace("socA", "socB")).await;
        assert_eq!(status, 201);
        let said = lab.say("alice", "/lab builds soca").await;
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines.iter().any(|line| line.contains("⚪ `build-2`")), "{said}");
        assert!(said.contains("🟢 `build-1` · ma*in<!channel> `0123456789ab` · 1 artifact"), "{said}");
        assert!(!said.contains("socB"), "{said}");
        let said = lab.say("alice", "/lab 构建").await;
        assert!(said.contains("socB"), "{said}");
        let said = lab.say("alice", "/lab builds socX").await;
        assert!(said.contains("There is no family \"socX\""), "{said}");

        let get = async |path: &str| call(lab, "GET", path, &[&admin()], "").await;
        let (status, list) = get("/api/v1/builds?family=socA&limit=1").await;
        assert_eq!((status, &list["items"][0]["build"], &list["items"][0]["result"]), (200, &json!("build-2"), &json!("aborted")));
        let (_, list) = get(list["next"].as_str().expect("there is more")).await;
        assert_eq!(list["items"][0]["artifacts"][0], json!({ "name": "a", "url": "https://ci.example.com/a", "size": 3 }));
        assert_eq!((&list["items"][0]["commit"], &list["next"]), (&json!("0123456789abcdef0123"), &Value::Null));
        let (status, one) = get("/api/v1/builds/build-2").await;
        assert_eq!((status, &one["family"]), (200, &json!("socA")));
        let (status, problem) = get("/api/v1/builds/build-1").await;
        assert_eq!((status, &problem["near"]), (409, &json!(["socB", "socA"])));
        assert_eq!(get("/api/v1/builds/build-1?family=SOCB").await.1["number"], json!(3));
        let (status, problem) = get("/api/v1/builds/build-3").await;
        assert_eq!((status, problem["near"][0].as_str().is_some()), (404, true), "{problem}");
        assert_eq!(get("/api/v1/builds?branch=main").await.0, 400);
        assert_eq!(call(lab, "GET", "/api/v1/builds", &[], "").await.0, 401);
        let body = r#"{"family": "socA", "build": "main/7"}"#;
        assert_eq!(call(lab, "POST", "/api/v1/builds", &[], body).await.0, 401);
        assert_eq!(call(lab, "POST", "/api/v1/builds", &[&admin()], body).await.0, 201);
        assert_eq!(call(lab, "POST", "/api/v1/builds", &[&admin()], body).await.0, 200);
        assert_eq!(get("/api/v1/builds/main/7").await.1["registered_by"], "api:admin");
    })
    .await;
}
