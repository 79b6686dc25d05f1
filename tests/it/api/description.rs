//! The description of the API: it names every request there is and none that is not, its shapes are those of real
//! answers, and its page needs nothing from anywhere.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::process::Command;

use super::{admin, call};
use crate::console_real::rig::from_pypi;
use crate::lab::{Lab, lab, yaml};

/// Whether it is what workers say, whose repeats are known by other means.
fn is_workers(path: &str) -> bool {
    path.starts_with("/api/v1/workers/")
}

/// A path with something in the place of each name.
fn filled_in(path: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "1".to_owned() } else { part.to_owned() };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// The keys of an answer, and what the description says of it.
async fn is_as_described(lab: &Lab, document: &Value, (method, path): (&str, &str), shape: &str, body: &str) {
    let (status, answer) = call(lab, method, path, &[&admin()], body).await;
    assert!(status < 300, "{method} {path}: {status} {answer}");
    let answer = match answer["items"].as_array() {
        Some(items) => items.first().unwrap_or_else(|| panic!("{path} has none")).clone(),
        None => answer,
    };
    let described: BTreeSet<&String> = document["components"]["schemas"][shape]["properties"]
        .as_object()
        .unwrap_or_else(|| panic!("no shape {shape}"))
        .keys()
        .collect();
    let given: BTreeSet<&String> = answer.as_object().expect("an object").keys().collect();
    assert_eq!(given, described, "{method} {path} is a {shape}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_described_and_answers_as_it_says() {
    let campaign = "campaigns:\n  matrix: {families: [socA], suites: [smoke]}\n\
                    schedules:\n  nightly: {cron: '0 3 * * *', run: 'socA build-123'}\n";
    lab(&(yaml::small(2) + campaign), async |lab| {
        let (status, document) = call(lab, "GET", "/api/v1/openapi.json", &[], "").await;
        assert_eq!((status, &document["openapi"]), (200, &json!("3.1.0")));
        assert_eq!(call(lab, "GET", "/openapi.json", &[], "").await.1, document);
        let mut names = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().expect("paths") {
            for (method, operation) in operations.as_object().expect("methods") {
                assert!(names.insert(operation["operationId"].to_string()), "{path} {method}");
                let real = filled_in(path);
                let (status, answer) = call(lab, &method.to_ascii_uppercase(), &real, &[], "").await;
                // Without a token: there is such a request, and only what is open is answered.
                let open = operation["security"] == json!([]);
                let link = operation["security"].as_array().map_or(0, Vec::len) == 2;
                let expect = if open {
                    200
                } else if link {
                    404
                } else {
                    401
                };
                assert_eq!(status, expect, "{method} {path}: {answer}");
                let once = operation["parameters"].as_array().into_iter().flatten();
                let once = once.filter(|parameter| parameter["name"] == "Idempotency-Key").count() == 1;
                let (changes, made) = (method != "get", (method.as_str(), path.as_str()));
                assert_eq!(
                    once,
                    changes && made != ("post", "/api/v1/tokens") && !is_workers(path),
                    "{method} {path}"
                );
                if link {
                    assert_eq!(answer["title"], "there is no such run", "{path}");
                }
                for (status, answer) in operation["responses"].as_object().expect("answers") {
                    let content = answer["content"].as_object().and_then(|content| content.keys().next());
                    let problem = content.is_some_and(|media| media == "application/problem+json");
                    assert_eq!(problem, status.as_str() >= "400", "{method} {path} {status}");
                }
            }
            // What is not described is not there.
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
                if operations[method.to_ascii_lowercase()].is_null() {
                    let real = filled_in(path);
                    assert_eq!(call(lab, method, &real, &[&admin()], "").await.0, 405, "{method} {path}");
                }
            }
        }
        // Whatever stands under the API stands in its table.
        assert!(!include_str!("../../../src/door/mod.rs").contains("\"/api/"));
        let manual = include_str!("../../../docs/api.md");
        for path in document["paths"].as_object().expect("paths").keys() {
            let told = path.replace("{run}", "{number}").replace("{request}", "{power_id}");
            let told = told.replace("{lease}", "{lease_id}").replace("{drain}", "{drain_id}");
            assert!(manual.contains(&told), "docs/api.md says nothing of {told}");
        }
        let run = r#"{"family": "socA", "build": "build-123"}"#;
        for (request, shape, body) in [
            (("POST", "/api/v1/runs"), "RunAccepted", run),
            (("GET", "/api/v1/runs/1?wait=60s"), "Run", ""),
            (("GET", "/api/v1/runs/1/console"), "Console", ""),
            (("GET", "/api/v1/runs"), "RunRow", ""),
            (("POST", "/api/v1/builds"), "BuildTaken", r#"{"family": "socA", "build": "b1"}"#),
            (("GET", "/api/v1/builds"), "Build", ""),
            (("GET", "/api/v1/builds/b1"), "Build", ""),
            (("POST", "/api/v1/campaigns"), "Campaign", r#"{"name": "matrix", "build": "build-123"}"#),
            (("GET", "/api/v1/campaigns"), "CampaignRow", ""),
            (("GET", "/api/v1/campaigns/1"), "Campaign", ""),
            (("POST", "/api/v1/campaigns/1/cancel"), "Campaign", ""),
            (("GET", "/api/v1/schedules"), "Schedule", ""),
            (("POST", "/api/v1/schedules/nightly/pause"), "Schedule", ""),
            (
                ("PUT", "/api/v1/schedules/soak"),
                "Schedule",
                r#"{"cron": "0 4 * * *", "run": "socA build-123"}"#,
            ),
            (("DELETE", "/api/v1/schedules/soak"), "ScheduleRemoved", ""),
            (("POST", "/api/v1/commands"), "Said", r#"{"text": "/lab boards"}"#),
            (("GET", "/api/v1/boards"), "Board", ""),
            (("GET", "/api/v1/boards/soc-a-001"), "Board", ""),
            (("POST", "/api/v1/power/soc-a-001/on?wait=60s"), "PowerRequest", ""),
            (("POST", "/api/v1/drains"), "Drain", r#"{"board": "soc-a-001"}"#),
            (("GET", "/api/v1/drains"), "Drain", ""),
            (("DELETE", "/api/v1/drains/1"), "Drain", ""),
            (("POST", "/api/v1/lease"), "Lease", r#"{"board_id": "soc-a-001"}"#),
            (("POST", "/api/v1/tokens"), "TokenMade", r#"{"name": "x"}"#),
            (("GET", "/api/v1/tokens"), "Token", ""),
            (("DELETE", "/api/v1/tokens/x"), "TokenRevoked", ""),
            (("GET", "/api/v1/audit"), "Decision", ""),
            (("GET", "/api/v1/templates"), "TemplateRow", ""),
            (("GET", "/api/v1/templates/run-card"), "Template", ""),
        ] {
            is_as_described(lab, &document, request, shape, body).await;
        }
        lab.say("alice", "/lab reserve soc-a-002 1h").await;
        let body = r#"{"board_id": "soc-a-002", "queue": true}"#;
        is_as_described(lab, &document, ("POST", "/api/v1/lease"), "PlaceInLine", body).await;
        lab.say("alice", "/lab release").await;
        let (_, mine) = call(lab, "GET", "/api/v1/lease?mine=true", &[&admin()], "").await;
        for lease in mine["items"].as_array().into_iter().flatten() {
            let url = lease["url"].as_str().expect("an address");
            assert_eq!(call(lab, "DELETE", url, &[&admin()], "").await.0, 200);
        }
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_told_as_every_problem_is() {
    lab(&yaml::small(1), async |lab| {
        let query = "this query is none";
        let request = "this request is not understood";
        for (method, path, status, title, said) in [
            ("GET", "/api/v1/runs?limit=x", 400, query, "limit must be a whole number"),
            (
                "GET",
                "/api/v1/runs?limt=5",
                400,
                query,
                "there is no \"limt\": this request takes limit, before",
            ),
            ("DELETE", "/api/v1/runs/1?force=1", 400, query, "this request takes nothing behind the ?"),
            ("GET", "/api/v1/audit?refused=maybe", 400, query, "refused must be true or false"),
            ("GET", "/api/v1/lease?mine=1", 400, query, "mine must be true or false"),
            ("GET", "/api/v1/boards?site=Atlantis", 404, "there is no such site", "Lab Site A"),
            ("GET", "/api/v1/boards/%ff", 400, request, "Invalid UTF-8"),
            ("PUT", "/api/v1/runs", 405, "this address does not take that", "takes GET, POST alone"),
        ] {
            let (is, problem) = call(lab, method, path, &[&admin()], "").await;
            assert_eq!((is, &problem["status"]), (status, &json!(status)), "{path}: {problem}");
            assert_eq!(problem["title"], title, "{path}");
            assert!(
                problem["detail"].as_str().is_some_and(|detail| detail.contains(said)),
                "{path}: {problem}"
            );
        }
        let page = lab.get("/api/v1/builds?limit=x").await.to_ascii_lowercase();
        assert!(page.starts_with("http/1.1 401"), "the token comes first: {page}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_page_needs_nothing_from_anywhere() {
    lab(&yaml::small(1), async |lab| {
        let page = lab.get("/docs").await;
        let (head, page) = page.split_once("\r\n\r\n").expect("a page");
        assert!(
            head.contains("content-security-policy: default-src 'none'; style-src 'unsafe-inline'"),
            "{head}"
        );
        assert!(
            page.contains("<code>/api/v1/power/{board}/{action}</code>") && page.contains("GET"),
            "{page}"
        );
        for outside in ["http://", "https://", "src=", "<script", "@import", "<link"] {
            assert!(!page.contains(outside), "the page wants {outside}");
        }
    })
    .await;
}

/// Schemathesis makes requests of the description, good ones and every kind of bad one, and holds the answers to it.
/// That a request which fits is carried out it cannot ask for: there may be no such board. Who is let in is asked above:
/// a run is hidden from strangers as one that is not there. And what is deleted is over, but not forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_sent_is_answered_as_described() {
    let program = from_pypi("schemathesis", "schemathesis==4.32.5", "schemathesis");
    let folder = tempfile::tempdir().expect("a folder");
    // A board that is not free is 503, which says when to come again.
    let known = "[checks]\nnot_a_server_error.expected-statuses = [\"2xx\", \"3xx\", \"4xx\", 503]\n\
                 [parameters]\n\"path.board\" = \"soc-a-001\"\n\"path.run\" = \"1\"\n\"path.id\" = \"b1\"\n\
                 \"path.message\" = \"run-card\"\n";
    std::fs::write(folder.path().join("schemathesis.toml"), known).expect("a file");
    lab(&yaml::small(2), async |lab| {
        let run = lab.run("alice", "/run-test socA build-123").await;
        lab.until_card(run, "Passed").await;
        let build = r#"{"family": "socA", "build": "b1"}"#;
        assert_eq!(call(lab, "POST", "/api/v1/builds", &[&admin()], build).await.0, 201);
        let long = std::env::var_os("BOARDHAND_HOSTILE_ROUNDS").is_some();
        let phases = if long { "coverage,fuzzing,stateful" } else { "coverage" };
        let output = Command::new(&program)
            .current_dir(folder.path())
            .args(["run", &format!("{}/openapi.json", lab.door), "-H", &admin(), "--phases", phases])
            .args(["--max-time", "120", "--request-timeout", "20", "--seed", "1", "--continue-on-failure"])
            .args(["--exclude-checks", "positive_data_acceptance,ignored_auth,use_after_free"])
            .output()
            .await
            .expect("schemathesis runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
        let generated =
            said.lines().find_map(|line| line.trim().split_once(" generated")?.0.parse::<u32>().ok());
        assert!(generated.is_some_and(|count| count > 500), "{said}");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
