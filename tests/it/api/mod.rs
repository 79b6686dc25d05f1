//! The API and the command that uses it: a program starts a run, waits, and ends with its verdict; without the token
//! nobody starts, reads or ends anything.

mod boards;
mod campaigns;
mod commands;
mod description;
mod events;
mod junit;
mod leases;
mod limits;
mod schedules;
mod tokens;

use std::process::Output;
use std::sync::Arc;

use boardhand::clock::Clock;
use boardhand::door::{Ended, WAITING_MAX};
use boardhand::id::Ids;
use boardhand::store::sql::{SqlStore, SqliteOptions};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::lab::{ADMIN_TOKEN, JENKINS_TOKEN, Lab, WITHIN, lab, yaml};

/// `boardhand run` as somebody types it.
async fn boardhand(lab: &Lab, args: &[&str]) -> Output {
    command(lab, ADMIN_TOKEN, &[&["run"], args].concat()).await
}

/// Any command, by whoever has this token.
pub(crate) async fn command(lab: &Lab, token: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_boardhand"));
    command.args(args).current_dir(lab.data.path());
    command.env("BOARDHAND_SERVER", &lab.door).env("BOARDHAND_TOKEN", token);
    command.output().await.expect("the program runs")
}

/// What it ended with, and what it printed.
pub(crate) fn ended(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A request with curl; status and body.
pub(crate) async fn call(lab: &Lab, method: &str, path: &str, headers: &[&str], body: &str) -> (u16, Value) {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-X", method, "-w", "\n%{http_code}"]);
    if !body.is_empty() {
        curl.args(["--data-binary", body]);
    }
    for header in headers {
        curl.args(["-H", header]);
    }
    let output = curl.arg(format!("{}{path}", lab.door)).output().await.expect("curl");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let (answer, status) = text.rsplit_once('\n').expect("a status");
    let answer = serde_json::from_str(answer).unwrap_or_else(|_| answer.into());
    (status.parse().expect("a number"), answer)
}

pub(crate) fn admin() -> String {
    format!("Authorization: Bearer {ADMIN_TOKEN}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_ends_with_the_verdict_of_its_run() {
    lab(&yaml::small(2), async |lab| {
        let (code, out, err) = ended(&boardhand(lab, &["socA", "build-123", "--junit", "out.xml"]).await);
        assert_eq!(code, Some(0), "{out}{err}");
        assert!(out.starts_with("#1 passed on soc-a-00"), "{out}");
        assert!(out.contains(" passed, 0 failed, 0 skipped\nconsole: http://"), "{out}");
        assert!(err.starts_with("#1 ") && err.ends_with("#1 finished\n"), "{err}");
        let report = std::fs::read_to_string(lab.data.path().join("out.xml")).expect("a report");
        assert!(report.contains(r#"<testsuite name="socA.smoke""#), "{report}");

        let (code, out, err) =
            ended(&boardhand(lab, &["socA", "build-123", "--junit", "none/out.xml"]).await);
        assert_eq!(code, Some(3), "{out}{err}");
        assert!(out.starts_with("#2 passed") && err.contains("no report in none/out.xml"), "{out}{err}");

        let (code, out, _) = ended(&boardhand(lab, &["socA", "build-fail", "--wait", "--json"]).await);
        let run: Value = serde_json::from_str(&out).expect("JSON alone");
        assert_eq!(
            (code, &run["verdict"], &run["requested_by"]),
            (Some(1), &json!("failed"), &json!("api:admin"))
        );

        let (code, out, _) = ended(&boardhand(lab, &["socA", "build-123", "--param", "iterations=2"]).await);
        assert_eq!((code, out.as_str()), (Some(0), "#4 queued\n"));
        lab.settle().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_asked_for_is_no_verdict() {
    lab(&yaml::small(1), async |lab| {
        let (code, out, err) = ended(&boardhand(lab, &["socZ", "build-123", "--wait"]).await);
        assert_eq!((code, out.as_str()), (Some(2), ""));
        assert_eq!(err, "boardhand: there is no family and no board \"socZ\"; near: socA\n");
        let (code, _, err) = ended(&boardhand(lab, &["socA", "build-123", "--tag", "ddr"]).await);
        assert_eq!((code, err.as_str()), (Some(2), "boardhand: write it as --tag ddr:8g\n"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_boardhand"));
        command.args(["run", "socA", "b"]).env("BOARDHAND_SERVER", &lab.door);
        let (code, _, err) = ended(&command.env_remove("BOARDHAND_TOKEN").output().await.expect("it runs"));
        assert_eq!(code, Some(2));
        assert!(err.contains("BOARDHAND_TOKEN: missing"), "{err}");
        let wrong = command.env("BOARDHAND_TOKEN", "not-the-token").output().await.expect("it runs");
        assert_eq!(
            ended(&wrong),
            (Some(2), String::new(), "boardhand: this is not allowed: this token is not known\n".into())
        );
        assert_eq!(lab.rows("SELECT count(*) FROM runs").await, ["0"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_run_ends_the_command_that_waits_for_it() {
    lab(&yaml::small(1), async |lab| {
        // Its board is somebody's, so that it waits for as long as it takes to end it.
        lab.say("alice", "/lab reserve soc-a-001 1h").await;
        let waiting = boardhand(lab, &["socA", "build-123", "--wait"]);
        let ((code, out, _), _) = tokio::join!(async { ended(&waiting.await) }, async {
            while lab.rows("SELECT count(*) FROM runs").await != ["1"] {
                lab.clock.sleep(std::time::Duration::from_millis(5)).await;
            }
            let (status, answer) = call(lab, "DELETE", "/api/v1/runs/1", &[&admin()], "").await;
            assert_eq!((status, &answer["number"]), (202, &json!(1)), "{answer}");
        });
        assert_eq!(code, Some(5), "{out}");
        assert!(out.starts_with("#1 cancelled"), "{out}");
        let (status, answer) = call(lab, "DELETE", "/api/v1/runs/1", &[&admin()], "").await;
        assert_eq!((status, &answer["state"]), (200, &json!("finished")));
        assert_eq!(call(lab, "DELETE", "/api/v1/runs/9", &[&admin()], "").await.0, 404);
        lab.say("alice", "/lab release").await;
        lab.settle().await;
        let audit = lab.rows("SELECT actor || ' ' || verb || ' ' || allowed FROM audit ORDER BY rowid").await;
        assert_eq!(audit[1..3], ["api:admin run-test 1", "api:admin cancel 1"], "{audit:?}");
    })
    .await;
}

#[tokio::test]
async fn so_many_wait_for_an_end_and_one_more_is_answered_at_once() {
    let dir = tempfile::tempdir().expect("dir");
    let store = SqlStore::open(dir.path(), SqliteOptions::new(Ids::seeded(7))).await.expect("store");
    let ended = Ended::new(Arc::new(store), Clock::system());
    let waits = || Box::pin(ended.wait(1, WITHIN));
    let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| waits()).collect();
    for wait in &mut waiting {
        assert!(futures_util::poll!(wait).is_pending());
    }
    assert!(futures_util::poll!(waits()).is_ready(), "there is no room");
    // Who gives up makes room.
    waiting.pop();
    assert!(futures_util::poll!(waits()).is_pending());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boards_and_runs_are_listed_in_lines_and_in_pages() {
    lab(&yaml::small(2), async |lab| {
        for n in 1..=5 {
            lab.run("alice", &format!("/run-test socA build-{n}")).await;
        }
        lab.settle().await;
        lab.say("alice", "/lab quarantine soc-a-002 the fan is dead").await;
        let (status, page) = call(lab, "GET", "/api/v1/runs?limit=2", &[&admin()], "").await;
        let numbers = |page: &Value| -> Vec<i64> {
            let items = page["items"].as_array().into_iter().flatten();
            items.filter_map(|run| run["number"].as_i64()).collect()
        };
        assert_eq!((status, numbers(&page)), (200, vec![5, 4]));
        let next = page["next"].as_str().expect("there is more").to_owned();
        let (_, page) = call(lab, "GET", &next, &[&admin()], "").await;
        assert_eq!(numbers(&page), [3, 2]);
        let (_, page) = call(lab, "GET", page["next"].as_str().expect("more"), &[&admin()], "").await;
        assert_eq!((numbers(&page), &page["next"]), (vec![1], &Value::Null));
        let (status, problem) = call(lab, "GET", "/api/v1/runs?limit=0", &[&admin()], "").await;
        assert_eq!((status, problem["detail"].as_str()), (400, Some("limit must be a number from 1 to 200")));

        let (_, board) = call(lab, "GET", "/api/v1/boards/SOC-A-002", &[&admin()], "").await;
        let known = ["board_id", "soc_family", "lab_location", "state", "reason", "telnet_port"];
        let known: Vec<&Value> = known.iter().map(|key| &board[key]).collect();
        let port = &board["telnet_port"];
        assert_eq!(
            json!(known),
            json!(["soc-a-002", "socA", "Lab Site A", "quarantined", "the fan is dead", port])
        );
        assert!(!board.to_string().contains("password") && !board.to_string().contains("root"), "{board}");
        let (status, problem) = call(lab, "GET", "/api/v1/boards/soc-a-02", &[&admin()], "").await;
        assert_eq!((status, &problem["near"]), (404, &json!(["soc-a-002"])));
        assert_eq!(call(lab, "GET", "/api/v1/boards", &[], "").await.0, 401);

        let said = async |args: &[&str]| ended(&command(lab, ADMIN_TOKEN, args).await);
        insta::assert_snapshot!(said(&["boards", "socA"]).await.1, @r"
        soc-a-001        socA     rev2   Lab Site A     free
        soc-a-002        socA     rev2   Lab Site A     quarantined: the fan is dead
        ");
        let (code, out, _) = said(&["runs", "--limit", "2"]).await;
        assert_eq!((code, out.lines().count()), (Some(0), 2));
        assert!(
            out.starts_with("#5 ") && out.contains("socA     build-5              smoke      passed"),
            "{out}"
        );
        let none = "boardhand: there is no run\n".to_owned();
        assert_eq!(said(&["runs", "--unfinished"]).await, (Some(0), String::new(), none));
        assert_eq!(said(&["cancel", "5"]).await.1, "#5 has ended\n");
        assert_eq!(said(&["cancel", "99"]).await.0, Some(2));
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_has_already_is_not_sent_again() {
    lab(&yaml::small(2), async |lab| {
        let boards = format!("{}/api/v1/boards", lab.door);
        let get = async |tags: &[&str]| {
            let headers = [&["Authorization: Bearer ", ADMIN_TOKEN].concat()].map(String::clone);
            let tags = tags.iter().map(|tag| format!("If-None-Match: {tag}"));
            let mut curl = Command::new("curl");
            curl.args(["-sS", "-i"]);
            headers.into_iter().chain(tags).for_each(|header| {
                curl.args(["-H", &header]);
            });
            let output = curl.arg(&boards).output().await.expect("curl");
            let text = String::from_utf8(output.stdout).expect("text");
            let (head, body) = text.split_once("\r\n\r\n").expect("a head");
            let tag = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("etag: ").map(str::to_owned));
            let status = head.split(' ').nth(1).expect("a status").to_owned();
            (status, tag.expect("a tag"), body.to_owned())
        };
        let (status, tag, body) = get(&[]).await;
        assert_eq!((status.as_str(), body.is_empty()), ("200", false));
        // As it was, also behind a proxy that packs answers, and among others.
        for have in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".into()] {
            assert_eq!(get(&[&have]).await, ("304".to_owned(), tag.clone(), String::new()), "{have}");
        }
        assert_eq!(get(&["\"other\""]).await, (status, tag.clone(), body));
        lab.say("alice", "/lab reserve soc-a-001 1h").await;
        let (status, other, body) = get(&[&tag]).await;
        assert_eq!(status, "200");
        assert!(other != tag && body.contains("U0ALICE"), "{body}");
        lab.say("alice", "/lab release").await;
        lab.settle().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_seen_as_chats_would_be_told_it() {
    lab(&yaml::small(1), async |lab| {
        let get =
            async |path: &str| call(lab, "GET", &format!("/api/v1/templates{path}"), &[&admin()], "").await;
        let (status, all) = get("").await;
        let all = all["items"].as_array().expect("items").clone();
        assert!(status == 200 && all.len() > 100, "{} messages", all.len());
        for message in &all {
            let url =
                message["url"].as_str().expect("an address").strip_prefix("/api/v1/templates").expect("ours");
            assert_eq!(
                get(&format!("{url}?platform=feishu&locale=zh")).await.1["card"]["schema"],
                "2.0",
                "{url}"
            );
        }
        let card = all.iter().find(|message| message["message"] == "run-card").expect("the card");
        assert!(card["states"].as_array().expect("states").contains(&"failed".into()), "{card}");
        let (status, slack) = get("/run-card?state=failed").await;
        assert_eq!((status, &slack["platform"], &slack["locale"]), (200, &"slack".into(), &"en".into()));
        assert!(slack["card"]["text"].as_str().is_some_and(|text| text.contains("Failed")), "{slack}");
        let (status, feishu) = get("/run-card?state=failed&platform=feishu&locale=zh").await;
        assert!(status == 200 && feishu.to_string().contains("失败"), "{feishu}");
        for (path, status, said) in [
            ("/run-crad", 404, "did you mean run-card?"),
            ("/run-card?state=faild", 400, "run-card has samples of booting, cancelled, failed"),
            ("/run-card?platform=jenkins", 400, "platform must be slack or feishu"),
            ("/run-card?locale=tlh", 400, "locale must be en or zh"),
        ] {
            let (found, problem) = get(path).await;
            let detail = problem["detail"].as_str().unwrap_or_default();
            assert!(found == status && detail.contains(said), "{path}: {found} {problem}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_opens_it_and_nothing_else_does() {
    lab(&yaml::small(1), async |lab| {
        let body = r#"{"family": "socA", "build": "build-123"}"#;
        let jenkins = format!("Authorization: Bearer {JENKINS_TOKEN}");
        for none in
            [&[][..], &["Authorization: Bearer x"], &["Authorization: Basic eDp5"], &[jenkins.as_str()]]
        {
            for (method, path) in
                [("POST", "/api/v1/runs"), ("GET", "/api/v1/runs/1"), ("DELETE", "/api/v1/runs/1")]
            {
                let (status, answer) = call(lab, method, path, none, body).await;
                // Without a token and without a link, whether there is such a run is nobody's business.
                let expect = if method == "GET" && none.is_empty() { 404 } else { 401 };
                assert_eq!(status, expect, "{method} {path} {none:?}: {answer}");
            }
        }
        let key = "Idempotency-Key: nightly-812";
        let (status, first) = call(lab, "POST", "/api/v1/runs", &[&admin(), key], body).await;
        assert_eq!(status, 202, "{first}");
        let (status, again) = call(lab, "POST", "/api/v1/runs", &[&admin(), key], body).await;
        assert_eq!((status, &again["run_id"]), (200, &first["run_id"]));
        let (status, other) = call(lab, "POST", "/api/v1/runs", &[&admin()], body).await;
        assert_eq!((status, &other["number"]), (202, &json!(2)));
        let named = r#"{"family": "socA", "build": "build-123", "requested_by": "li"}"#;
        assert_eq!(call(lab, "POST", "/api/v1/runs", &[&admin()], named).await.0, 202);
        assert_eq!(call(lab, "POST", "/api/v1/runs", &[&admin()], body).await.0, 202);
        let by = lab
            .rows("SELECT coalesce(requested_by->>'name', '') FROM runs WHERE number > 2 ORDER BY number")
            .await;
        assert_eq!(by, ["li", ""], "nobody inherits a name");
        lab.settle().await;
        let (status, run) = call(lab, "GET", "/api/v1/runs/1", &[&admin()], "").await;
        assert_eq!((status, &run["state"], &run["id"]), (200, &json!("finished"), &first["run_id"]));
    })
    .await;
}
