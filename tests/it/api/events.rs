//! A run followed as it goes, and gone on with behind the last event that was had; and what shells and manuals are told.

use std::process::Stdio;

use boardhand::door::{FOLLOWING_MAX, Waits};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::{admin, call, command, ended};
use crate::lab::{ADMIN_TOKEN, Lab, lab, yaml};

/// An event: its name, its id, its data.
type Event = (String, Option<String>, Value);

/// Everything that a client is sent until the stream ends.
async fn follow(lab: &Lab, run: i64, headers: &[&str]) -> Vec<Event> {
    stream(lab, &format!("/api/v1/runs/{run}/events"), headers).await
}

async fn stream(lab: &Lab, path: &str, headers: &[&str]) -> Vec<Event> {
    let mut curl = Command::new("curl");
    curl.args(["-sSN", "-H", &admin()]);
    for header in headers {
        curl.args(["-H", header]);
    }
    let output = curl.arg(format!("{}{path}", lab.door)).output().await.expect("curl");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.starts_with("retry: 2000\n\n"), "{text}");
    text.split("\n\n").filter_map(event).collect()
}

fn event(block: &str) -> Option<Event> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let data = serde_json::from_str(&field("data: ")?).expect("JSON");
    Some((field("event: ")?, field("id: "), data))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_followed_to_its_end_and_gone_on_with() {
    lab(&yaml::small(1), async |lab| {
        let body = r#"{"family": "socA", "build": "build-123"}"#;
        let (_, accepted) = call(lab, "POST", "/api/v1/runs", &[&admin()], body).await;
        let all = follow(lab, 1, &[]).await;
        let named = |name: &str| all.iter().filter(|(event, ..)| event == name).count();
        assert_eq!(
            (named("accepted"), named("granted"), named("settled"), named("end")),
            (1, 1, 1, 1),
            "{all:?}"
        );
        let stages: Vec<&str> = all.iter().filter_map(|(_, _, data)| data["stage"].as_str()).collect();
        assert!(stages.starts_with(&["powering", "booting"]) && stages.contains(&"testing"), "{stages:?}");
        let (last, id, run) = all.last().expect("an end");
        assert_eq!((last.as_str(), id, run["verdict"].as_str()), ("end", &None, Some("passed")));
        // Steps come in order, each once; behind one of them, only those that follow.
        let ids: Vec<i64> = all.iter().filter_map(|(_, id, _)| id.as_ref()?.parse().ok()).collect();
        assert!(ids.is_sorted() && ids.len() > 4, "{ids:?}");
        let rest = follow(lab, 1, &[&format!("Last-Event-ID: {}", ids[1])]).await;
        let behind: Vec<i64> = rest.iter().filter_map(|(_, id, _)| id.as_ref()?.parse().ok()).collect();
        assert_eq!(behind, ids[2..]);
        // A link opens it, and nothing else does.
        let link = accepted["url"].as_str().expect("a link").replace("/runs/1?", "/runs/1/events?");
        let output = Command::new("curl").args(["-sSN", &link]).output().await.expect("curl");
        assert!(String::from_utf8_lossy(&output.stdout).contains("event: end"), "{link}");
        assert_eq!(call(lab, "GET", "/api/v1/runs/1/events", &[], "").await.0, 404);
        assert_eq!(call(lab, "GET", "/api/v1/runs/9/events", &[&admin()], "").await.0, 404);
        lab.settle().await;
    })
    .await;
}

/// What a console's events say, each received line once, and the ids of those that had any.
fn said(events: &[Event]) -> (Vec<String>, Vec<String>) {
    let with = events.iter().filter(|(name, _, data)| name == "console" && data["lines"] != json!([]));
    let (mut lines, mut ids) = (vec![], vec![]);
    for (_, id, data) in with {
        ids.push(id.clone().expect("an id"));
        let all = data["lines"].as_array().expect("lines").iter().filter(|line| line["sent"] == false);
        lines.extend(all.map(|line| format!("{} {}", data["attempt"], line["text"].as_str().expect("text"))));
    }
    (lines, ids)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_console_is_followed_over_all_attempts_and_gone_on_with() {
    lab(&yaml::small(3), async |lab| {
        let body = r#"{"family": "socA", "build": "build-missing"}"#;
        let (_, accepted) = call(lab, "POST", "/api/v1/runs", &[&admin()], body).await;
        let events = "Accept: text/event-stream";
        let follow = async |headers: &[&str]| {
            let admin = admin();
            let headers: Vec<&str> = headers.iter().copied().chain([events, &admin]).collect();
            stream(lab, "/api/v1/runs/1/console", &headers).await
        };
        // From before it has a board, over each of its attempts, until it has ended.
        let all = follow(&[]).await;
        let (lines, ids) = said(&all);
        let (last, id, run) = all.last().expect("an end");
        assert_eq!((last.as_str(), id, run["verdict"].as_str()), ("end", &None, Some("infra")));
        // The same lines as in one piece, each once.
        let mut whole = vec![];
        for attempt in 1..=3 {
            let path = format!("/api/v1/runs/1/console?attempt={attempt}");
            let (_, piece) = call(lab, "GET", &path, &[&admin()], "").await;
            let received =
                piece["lines"].as_array().expect("lines").iter().filter(|line| line["sent"] == false);
            whole.extend(received.map(|line| format!("{attempt} {}", line["text"].as_str().expect("text"))));
        }
        assert_eq!(lines, whole);
        assert!(lines.len() > 30, "{lines:?}");
        // Behind an id, what follows it and nothing else; behind the last one, the end alone.
        let rest = follow(&[&format!("Last-Event-ID: {}", ids[0])]).await;
        let (behind, _) = said(&rest);
        assert!(lines.ends_with(&behind) && behind.len() < lines.len(), "{behind:?}");
        let last = format!("Last-Event-ID: {}", ids[ids.len() - 1]);
        assert_eq!(said(&follow(&[&last]).await).0, Vec::<String>::new());
        // A link opens it, and nothing else does.
        let link = accepted["url"].as_str().expect("a link").replace("/runs/1?", "/runs/1/console?");
        let output = Command::new("curl").args(["-sSN", "-H", events, &link]).output().await.expect("curl");
        assert!(String::from_utf8_lossy(&output.stdout).contains("event: end"), "{link}");
        assert_eq!(call(lab, "GET", "/api/v1/runs/1/console", &[events], "").await.0, 404);
        lab.settle().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_follows_is_let_go_of_when_the_server_stops() {
    lab(&yaml::small(1), async |lab| {
        lab.say("alice", "/lab reserve soc-a-001 1h").await;
        let body = r#"{"family": "socA", "build": "build-123"}"#;
        call(lab, "POST", "/api/v1/runs", &[&admin()], body).await;
        let mut curl = Command::new("curl");
        curl.args(["-sSN", "-H", &admin(), &format!("{}/api/v1/runs/1/events", lab.door)]);
        let mut curl = curl.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("curl");
        let mut lines = BufReader::new(curl.stdout.take().expect("piped")).lines();
        while lines.next_line().await.expect("a line").expect("it goes on") != "event: run" {}
        lab.stop().await;
        lab.read_all();
        let mut said = 0;
        while let Some(line) = lines.next_line().await.expect("a line") {
            said += usize::from(line == "event: run");
        }
        assert_eq!(said, 0, "a run that waits on is no news");
        assert_eq!(curl.wait().await.expect("it ends").code(), Some(0), "the stream was whole");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_runs_something_sees_its_console_as_it_goes() {
    lab(&yaml::small(1), async |lab| {
        let args = ["run", "socA", "build-123", "--follow"];
        let (code, said, console) = ended(&command(lab, ADMIN_TOKEN, &args).await);
        assert_eq!(code, Some(0), "{said}{console}");
        assert!(said.starts_with("#1 passed on soc-a-001"), "{said}");
        // It is the log as everybody reads it, and nothing else but where the run is.
        let (_, run) = call(lab, "GET", "/api/v1/runs/1", &[&admin()], "").await;
        let link = run["url"].as_str().expect("a link").replace("/runs/1?", "/runs/1/console?");
        let link = link.strip_prefix(&lab.door).expect("of this server");
        let (_, log) = call(lab, "GET", link, &[], "").await;
        assert_eq!(call(lab, "GET", "/api/v1/runs/1/console", &[], "").await.0, 404, "with its key alone");
        let lines = log["lines"].as_array().expect("lines");
        assert!(lines.len() > 5 && lines.iter().any(|line| line["sent"] == true), "{log}");
        let shown: Vec<&str> = console.lines().filter(|line| line.starts_with('[')).collect();
        assert_eq!(shown.len(), lines.len(), "{console}");
        for (shown, line) in shown.iter().zip(lines) {
            assert!(shown.ends_with(line["text"].as_str().expect("text")), "{shown}: {line}");
        }
        let (status, problem) = call(lab, "GET", "/api/v1/runs/1/console?attempt=2", &[&admin()], "").await;
        assert_eq!((status, &problem["title"]), (404, &Value::from("there is no console")));
        let next = format!("/api/v1/runs/1/console?from={}", log["next"]);
        let (_, rest) = call(lab, "GET", &next, &[&admin()], "").await;
        assert_eq!((&rest["lines"], &rest["next"]), (&Value::Array(vec![]), &log["next"]));
        lab.settle().await;
    })
    .await;
}

#[test]
fn so_many_follow_at_once() {
    let waits = Waits::default();
    let places: Vec<_> = (0..FOLLOWING_MAX).map(|_| waits.follow().expect("a place")).collect();
    assert!(waits.follow().is_none());
    drop(places);
    assert!(waits.follow().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shells_and_manuals_know_every_command() {
    lab(&yaml::small(1), async |lab| {
        let said = async |args: &[&str]| ended(&command(lab, ADMIN_TOKEN, args).await);
        let (code, script, _) = said(&["completions", "bash"]).await;
        assert_eq!(code, Some(0));
        let path = lab.data.path().join("completions.bash");
        std::fs::write(&path, &script).expect("a file");
        let lists = format!(
            "source {} && COMP_WORDS=(boardhand re) COMP_CWORD=1 && _boardhand boardhand re '' && echo ${{COMPREPLY[@]}}",
            path.display()
        );
        let output = Command::new("bash").args(["-c", &lists]).output().await.expect("bash");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "render reload restore retention reserve release return\n", "{output:?}");
        let (code, page, _) = said(&["man"]).await;
        assert_eq!(code, Some(0));
        assert!(page.contains(".TH boardhand 1") && page.contains("boardhand\\-reserve"), "{page}");
        assert_eq!(said(&["man", "pages"]).await.0, Some(0));
        let pages = std::fs::read_dir(lab.data.path().join("pages")).expect("pages").count();
        assert!(pages > 20, "{pages}");
    })
    .await;
}
