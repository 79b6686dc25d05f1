//! How fast whoever asks may ask: a stranger is held back, and nobody else because of them; a proxy that is trusted says
//! whose request it is. And the audit log, which has every change with where it came from.

use boardhand::door::throttle::{FAILURES, POSTS, WRITES};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{admin, call, command, ended};
use crate::lab::{ADMIN_TOKEN, JENKINS_TOKEN, Lab, lab, strict_lab, yaml};

/// Posts one time more than a budget has, over one connection; gives the head of the last answer, which alone is 429.
async fn held_back_after(lab: &Lab, burst: u32, path: &str, header: &str) -> String {
    let url = format!("{}{path}", lab.door);
    let mut many = Command::new("curl");
    many.args(["-sS", "-i", "-X", "POST", "-H", header, "--data-binary", "{}"]);
    many.args(std::iter::repeat_n(url.as_str(), burst as usize + 1));
    let output = many.output().await.expect("curl");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let answers: Vec<&str> = text.split("HTTP/1.1 ").skip(1).collect();
    let held = answers.iter().filter(|answer| answer.starts_with("429")).count();
    assert_eq!((answers.len(), held), (burst as usize + 1, 1), "{path}: {text}");
    let last = answers.last().copied().unwrap_or_default();
    assert!(last.starts_with("429"), "{path}: {last}");
    last.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_noisy_stranger_is_held_back_and_signed_traffic_is_not() {
    strict_lab(&yaml::small(1), async |lab| {
        let wrong = "Authorization: Bearer wrong";
        let held = held_back_after(lab, FAILURES.burst, "/webhooks/jenkins", wrong).await;
        assert!(held.contains("retry-after: ") && held.contains("application/problem+json"), "{held}");
        assert!(held.contains("\"title\":\"these are too many requests\""), "{held}");
        // The same address, at another door.
        held_back_after(lab, 0, "/api/v1/runs", wrong).await;
        // From the same address: what proves itself goes on.
        assert!(lab.say("alice", "/lab boards").await.contains("soc-a-001"));
        let body = r#"{"family": "socA", "build": "build-123", "idempotency_key": "k"}"#;
        let jenkins = format!("Authorization: Bearer {JENKINS_TOKEN}");
        assert_eq!(call(lab, "POST", "/webhooks/jenkins", &[&jenkins], body).await.0, 202);
        assert_eq!(call(lab, "GET", "/api/v1/boards", &[&admin()], "").await.0, 200);
        let run = call(lab, "GET", "/api/v1/runs/1?wait=60s", &[&admin()], "").await.1;
        assert_eq!(run["verdict"], "passed");
        lab.settle().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_changes_too_much_is_held_back_and_others_are_not() {
    strict_lab(&yaml::small(1), async |lab| {
        let args = ["token", "create", "loop", "--role", "operator"];
        let token = ended(&command(lab, ADMIN_TOKEN, &args).await).1;
        let header = format!("Authorization: Bearer {}", token.trim_end());
        let held = held_back_after(lab, WRITES.burst, "/api/v1/boards/soc-a-001/return", &header).await;
        assert!(held.contains("retry-after: 8"), "{held}");
        assert_eq!(call(lab, "GET", "/api/v1/boards", &[&header], "").await.0, 200, "it reads on");
        let out = "/api/v1/boards/soc-a-001/return";
        assert_eq!(call(lab, "POST", out, &[&admin()], "").await.0, 200);
        lab.settle().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_that_posts_in_a_loop_is_held_back_and_chats_and_tokens_are_not() {
    strict_lab(&yaml::small(1), async |lab| {
        let jenkins = format!("Authorization: Bearer {JENKINS_TOKEN}");
        let held = held_back_after(lab, POSTS.burst, "/webhooks/jenkins", &jenkins).await;
        assert!(held.contains("retry-after: ") && held.contains("application/problem+json"), "{held}");
        assert!(lab.say("alice", "/lab boards").await.contains("soc-a-001"));
        assert_eq!(call(lab, "GET", "/api/v1/boards", &[&admin()], "").await.0, 200);
        lab.settle().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_log_has_every_change_and_is_read_in_pages() {
    lab(&yaml::small(1), async |lab| {
        let args = ["token", "create", "ops", "--role", "operator"];
        let token = ended(&command(lab, ADMIN_TOKEN, &args).await).1;
        let ops = format!("Authorization: Bearer {}", token.trim_end());
        let board = "/api/v1/boards/soc-a-001";
        let why = json!({ "reason": format!("token: hunter2 {}", "noisy ".repeat(60)) }).to_string();
        assert_eq!(call(lab, "POST", &format!("{board}/quarantine"), &[&ops], &why).await.0, 200);
        assert_eq!(call(lab, "POST", &format!("{board}/return"), &[&ops], "").await.0, 200);
        assert_eq!(call(lab, "GET", "/api/v1/audit", &[&ops], "").await.0, 403);
        // A header that nobody who is trusted has added says nothing.
        let forged = "X-Forwarded-For: 198.51.100.1";
        let taken =
            call(lab, "POST", "/api/v1/lease", &[&ops, forged], r#"{"board_id": "soc-a-001"}"#).await.1;
        let lease = taken["url"].as_str().expect("a lease");
        assert_eq!(call(lab, "DELETE", lease, &[&ops], "").await.0, 200);
        lab.say("alice", "/lab quarantine soc-a-001 noisy").await;
        let (status, page) = call(lab, "GET", "/api/v1/audit?limit=3", &[&admin()], "").await;
        assert_eq!(status, 200);
        let seen = |page: &Value| -> Vec<String> {
            let items = page["items"].as_array().into_iter().flatten();
            let line = |row: &Value| {
                let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
                format!("{} {} {} {}", text("actor"), text("verb"), row["allowed"], text("source"))
            };
            items.map(line).collect()
        };
        assert_eq!(
            seen(&page),
            [
                "slack:U0ALICE quarantine true -",
                "api:ops release true 127.0.0.1",
                "api:ops reserve true 127.0.0.1"
            ]
        );
        let next = page["next"].as_str().expect("there is more");
        let (_, page) = call(lab, "GET", next, &[&admin()], "").await;
        assert_eq!(
            seen(&page),
            [
                "api:ops audit false 127.0.0.1",
                "api:ops return true 127.0.0.1",
                "api:ops quarantine true 127.0.0.1"
            ]
        );
        // As in chat: without secrets, and no longer than anybody reads.
        let target = page["items"][2]["target"].as_str().unwrap_or_default();
        assert!(target.starts_with("soc-a-001 token: [redacted] noisy"), "{target}");
        assert_eq!(target.chars().count(), 200, "{target}");
        let (_, page) = call(lab, "GET", "/api/v1/audit?actor=api:ops&refused=true", &[&admin()], "").await;
        assert_eq!(seen(&page), ["api:ops audit false 127.0.0.1"]);
        let reason = page["items"][0]["reason"].as_str().unwrap_or_default();
        assert_eq!(reason, "only an admin may look at who did what; api:ops is an operator by its token");
        assert_eq!(call(lab, "GET", "/api/v1/audit?since=x", &[&admin()], "").await.0, 400);
        let (_, page) = call(lab, "GET", "/api/v1/audit?target=soc-a-001&limit=50", &[&admin()], "").await;
        assert_eq!((seen(&page).len(), &page["next"]), (5, &json!(null)), "{page}");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
