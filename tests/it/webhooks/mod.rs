//! What programs are told: the end of a run to whoever asked for it, and what happens in the lab to those that boards.yaml
//! names. A real receiver takes it, fails, is gone, and checks each signature with the manual's own lines of shell.

use std::collections::VecDeque;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use boardhand::clock::Clock;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::api::{admin, call};
use crate::lab::{Lab, WITHIN, lab, yaml};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD_SECRET: &str = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0";

/// A post that a receiver got.
#[derive(Debug, Clone)]
struct Posted {
    path: String,
    id: String,
    timestamp: String,
    signature: String,
    body: String,
}

impl Posted {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    fn kind(&self) -> String {
        self.json()["type"].as_str().expect("a type").to_owned()
    }

    /// What the manual's lines say of it.
    async fn checked(&self, secret: &str) -> String {
        let manual = include_str!("../../../docs/webhooks.md");
        let lines = manual.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next());
        let output = Command::new("sh")
            .args(["-c", lines.expect("the manual has a block of shell")])
            .env("SECRET", secret)
            .env("WEBHOOK_ID", &self.id)
            .env("WEBHOOK_TIMESTAMP", &self.timestamp)
            .env("WEBHOOK_SIGNATURE", &self.signature)
            .env("BODY", &self.body)
            .stdin(Stdio::null())
            .output();
        String::from_utf8_lossy(&output.await.expect("sh").stdout).trim().to_owned()
    }
}

/// A receiver: what it got, and what it answers next.
#[derive(Clone, Default)]
struct Receiver {
    posted: Arc<Mutex<Vec<Posted>>>,
    answers: Arc<Mutex<VecDeque<StatusCode>>>,
    /// Whether whoever never answers does so after all.
    talks: Arc<AtomicBool>,
    port: u16,
}

impl Receiver {
    async fn start() -> Receiver {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        let receiver = Receiver { port, ..Receiver::default() };
        let router = Router::new().fallback(take).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    /// The part of a lab file that has it told as GitHub.
    fn github(&self) -> String {
        format!(
            "statuses:\n  github: {{forge: github, url: 'http://127.0.0.1:{}', project: soc/boot, token: t0ken, private: true}}\n",
            self.port
        )
    }

    fn posted(&self) -> Vec<Posted> {
        self.posted.lock().expect("posts").clone()
    }

    /// What it answers to the next posts; afterwards it takes everything.
    fn answers(&self, answers: impl IntoIterator<Item = StatusCode>) {
        self.answers.lock().expect("answers").extend(answers);
    }

    /// What was posted to a hook, when it has been.
    async fn told(&self, hook: &str) -> String {
        loop {
            if let Some(posted) =
                self.posted().iter().find(|posted| posted.path == format!("/webhook-step/{hook}"))
            {
                return posted.body.clone();
            }
            Clock::system().sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// Waits until it got as many.
    async fn until(&self, lab: &Lab, count: usize) -> Vec<Posted> {
        let came = lab.clock.timeout(WITHIN, async {
            while self.posted().len() < count {
                lab.clock.sleep(std::time::Duration::from_millis(10)).await;
            }
        });
        assert!(came.await.is_ok(), "{count} never came: {:?}", self.posted());
        self.posted()
    }
}

async fn take(
    State(receiver): State<Receiver>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let header =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let posted = Posted {
        path: uri.path().to_owned(),
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
        body: String::from_utf8(body.to_vec()).expect("UTF-8"),
    };
    let is_silent = posted.path == "/silent";
    receiver.posted.lock().expect("posts").push(posted);
    while is_silent && !receiver.talks.load(Ordering::Relaxed) {
        Clock::system().sleep(std::time::Duration::from_millis(10)).await;
    }
    let answer = receiver.answers.lock().expect("answers").pop_front().unwrap_or(StatusCode::OK);
    // A pipeline that waits is told what came for it, once it has come.
    if let Some(hook) = uri.path().strip_prefix("/told/") {
        return (StatusCode::OK, receiver.told(hook).await);
    }
    // Gerrit's answer to the question which change has a commit.
    (answer, ")]}'\n[{\"_number\": 7}]".into())
}

fn with_callbacks(receiver: &Receiver) -> String {
    let port = receiver.port;
    yaml::small(2)
        + &format!("callbacks: {{hosts: ['http://localhost:{port}'], secret: {SECRET}, private: true}}\n")
}

async fn ask(lab: &Lab, build: &str, url: &str) -> (u16, Value) {
    let body = json!({"family": "socA", "build": build, "callback_url": url}).to_string();
    call(lab, "POST", "/api/v1/runs", &[&admin()], &body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_run_is_told_to_whoever_asked_and_only_where_that_is_allowed() {
    let receiver = Receiver::start().await;
    lab(&with_callbacks(&receiver), async |lab| {
        let url = format!("http://localhost:{}/webhook-step/7", receiver.port);
        assert_eq!(ask(lab, "build-123", &url).await.0, 202);
        let posted = receiver.until(lab, 1).await.remove(0);
        lab.settle().await;
        assert_eq!((posted.path.as_str(), posted.kind()), ("/webhook-step/7", "run.finished".into()));
        let data = &posted.json()["data"];
        assert_eq!((&data["number"], &data["verdict"]), (&json!(1), &json!("passed")), "{data}");
        let (_, run) = call(lab, "GET", "/api/v1/runs/1", &[&admin()], "").await;
        assert_eq!(*data, run, "as the API has it");
        assert_eq!(posted.checked(SECRET).await, "proved");
        assert_eq!(posted.checked(OLD_SECRET).await, "forged");
        for (url, says) in [
            (
                "http://127.0.0.1:1/x",
                "callbacks do not go to http://127.0.0.1:1: boards.yaml does not list it",
            ),
            (
                "https://evil.example.com/",
                "callbacks do not go to evil.example.com: boards.yaml does not list it",
            ),
            ("ftp://localhost/", "callback_url is no address: an address begins with https:// or http://"),
        ] {
            let (status, problem) = ask(lab, "build-123", url).await;
            assert_eq!((status, &problem["detail"]), (422, &json!(says)), "{problem}");
        }
        assert_eq!(receiver.posted().len(), 1);
        assert_eq!(lab.rows("SELECT run FROM callbacks").await, [""; 0]);
        lab.read_all();
    })
    .await;
    lab(&yaml::small(1), async |lab| {
        let (status, problem) = ask(lab, "build-123", "https://ci.example.com/").await;
        assert_eq!(
            (status, &problem["detail"]),
            (422, &json!("this lab takes no callbacks: boards.yaml lists no hosts for them"))
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_for_the_same_run_again_is_told_its_end_where_they_wait_now() {
    let receiver = Receiver::start().await;
    lab(&with_callbacks(&receiver), async |lab| {
        let ask = async |hook: &str| {
            let url = format!("http://localhost:{}/{hook}", receiver.port);
            let body = json!({"family": "socA", "build": "build-crawl", "idempotency_key": "job-1", "callback_url": url});
            call(lab, "POST", "/api/v1/runs", &[&admin()], &body.to_string()).await.0
        };
        assert_eq!((ask("first").await, ask("first").await, ask("second").await), (202, 200, 200));
        lab.say("alice", "/lab cancel 1").await;
        let told = receiver.until(lab, 1).await;
        lab.settle().await;
        assert_eq!((ask("second").await, ask("third").await), (200, 200));
        let told = [told, receiver.until(lab, 2).await].concat();
        lab.settle().await;
        assert_eq!(receiver.posted().len(), 2, "each once, and nobody where nobody waits any more");
        let (first, again) = (&told[0], &told[2]);
        assert_eq!((first.path.as_str(), again.path.as_str()), ("/second", "/third"));
        assert_eq!((again.kind().as_str(), &again.json()["data"]), ("run.finished", &first.json()["data"]));
        assert_ne!(first.id, again.id);
        let elsewhere = json!({"family": "socA", "build": "build-crawl", "idempotency_key": "job-1",
            "callback_url": "https://evil.example.com/"});
        let (status, problem) = call(lab, "POST", "/api/v1/runs", &[&admin()], &elsewhere.to_string()).await;
        let says = "callbacks do not go to evil.example.com: boards.yaml does not list it";
        assert_eq!((status, &problem["detail"]), (422, &json!(says)), "{problem}");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_taken_comes_again_under_the_same_id_and_in_the_end_is_a_letter() {
    let receiver = Receiver::start().await;
    let text = with_callbacks(&receiver) + "roles: {admin: [slack:U0LEAD], user: ['*']}\n";
    lab(&text, async |lab| {
        let url = format!("http://localhost:{}/x", receiver.port);
        receiver.answers([StatusCode::INTERNAL_SERVER_ERROR, StatusCode::GONE]);
        assert_eq!(ask(lab, "build-123", &url).await.0, 202);
        receiver.until(lab, 1).await;
        let owed = "SELECT state, tries, error FROM calls";
        let until = async |expect: &str| {
            let came = lab.clock.timeout(WITHIN, async {
                while lab.rows(owed).await != [expect] {
                    lab.clock.sleep(std::time::Duration::from_millis(10)).await;
                }
            });
            assert!(came.await.is_ok(), "never {expect:?}: {:?}", lab.rows(owed).await);
        };
        until("owed | 1 | answered 500").await;
        // The second try comes five seconds later, and is told that nobody wants it.
        let [first, second] = &receiver.until(lab, 2).await[..] else { panic!("two") };
        assert_eq!((&first.id, &first.body), (&second.id, &second.body));
        assert_eq!(second.checked(SECRET).await, "proved", "signed anew, with its own time");
        until("dead | 2 | answered 410: it is not wanted any more").await;
        let seen = lab.say("lead", "/lab deadletters").await;
        let line =
            format!("what a program was to be told of #1 for `api:http://localhost:{}`", receiver.port);
        assert!(seen.contains(&line) && seen.contains("answered 410"), "{seen}");
        assert!(lab.say("lead", "/lab resend 1").await.contains("Dead letter *1* is on its way again"));
        receiver.until(lab, 3).await;
        until("made | 1 | -").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_told_what_it_wants_in_order_and_across_a_restart() {
    let receiver = Receiver::start().await;
    let text = yaml::small(2)
        + &format!(
            "webhooks:\n  all: {{url: 'http://127.0.0.1:{port}/all', secret: '{SECRET},{OLD_SECRET}', events: ['*'], private: true}}\n  \
             ends: {{url: 'http://127.0.0.1:{port}/ends', secret: {SECRET}, events: [run.finished], families: [socB], private: true}}\n",
            port = receiver.port
        );
    lab(&text, async |lab| {
        lab.say("alice", "/run-test soc-a-001 build-123").await;
        lab.until_card(1, "Passed").await;
        lab.settle().await;
        let build = r#"{"family": "socA", "build": "b1", "branch": "main"}"#;
        assert_eq!(call(lab, "POST", "/api/v1/builds", &[&admin()], build).await.0, 201);
        let quarantine = r#"{"reason": "the fan is dead"}"#;
        let path = "/api/v1/boards/soc-a-002/quarantine";
        assert_eq!(call(lab, "POST", path, &[&admin()], quarantine).await.0, 200);
        lab.settle().await;
        lab.restart().await;
        lab.say("alice", "/lab reserve soc-a-001 1h").await;
        let told = |posted: &[Posted]| -> Vec<String> {
            posted.iter().filter(|one| one.path == "/all").map(Posted::kind).collect()
        };
        let is_hers =
            |one: &Posted, kind: &str| one.kind() == kind && one.json()["data"]["holder"] == "slack:U0ALICE";
        let hers_is = async |kind: &str| {
            let told = lab.clock.timeout(WITHIN, async {
                while !receiver.posted().iter().any(|one| is_hers(one, kind)) {
                    lab.clock.sleep(std::time::Duration::from_millis(10)).await;
                }
            });
            told.await.expect("the lease is told");
        };
        hers_is("lease.taken").await;
        lab.say("alice", "/lab release").await;
        lab.settle().await;
        hers_is("lease.released").await;
        let posted = receiver.posted();
        let kinds = told(&posted);
        let of = |kind: &str| kinds.iter().filter(|told| *told == kind).count();
        for kind in ["run.accepted", "run.started", "run.finished", "build.registered", "board.quarantined"] {
            assert_eq!(of(kind), 1, "{kind}: {kinds:?}");
        }
        let place = |kind: &str| kinds.iter().position(|told| told == kind).expect(kind);
        assert!(place("run.accepted") < place("run.started") && place("run.started") < place("run.finished"));
        assert!(of("run.stage") >= 3, "{kinds:?}");
        assert_eq!(posted.iter().filter(|one| one.path == "/ends").count(), 0, "of socB nothing ended");
        // Whose a board is and was, by the lease: the run's, its time at rest, and hers.
        let leases = posted.iter().filter(|one| one.path == "/all" && one.kind().starts_with("lease."));
        let leases: Vec<serde_json::Value> = leases.map(Posted::json).collect();
        let of_holder = |kind: &str, holder: &str| -> Vec<(&str, &str)> {
            let is_theirs =
                |one: &&serde_json::Value| one["data"]["holder"] == holder && one["data"]["kind"] == kind;
            let theirs = leases.iter().filter(is_theirs);
            theirs
                .filter_map(|one| Some((one["type"].as_str()?, one["data"]["lease_id"].as_str()?)))
                .collect()
        };
        for (kind, holder) in [("run", "#1"), ("person", "slack:U0ALICE")] {
            let told = of_holder(kind, holder);
            let [("lease.taken", taken), ("lease.released", released)] = told[..] else {
                panic!("{holder}: {leases:#?}");
            };
            assert_eq!(taken, released, "one lease");
        }
        assert!(leases.iter().all(|one| one["data"]["soc_family"] == "socA"), "{leases:#?}");
        let ids: std::collections::BTreeSet<&String> = posted.iter().map(|one| &one.id).collect();
        assert_eq!(ids.len(), posted.len(), "each once");
        let quarantined = posted.iter().find(|one| one.kind() == "board.quarantined").expect("told").json();
        let data = &quarantined["data"];
        assert_eq!((&data["board_id"], &data["soc_family"]), (&json!("soc-a-002"), &json!("socA")), "{data}");
        assert!(
            data["quarantined"].as_str().is_some_and(|reason| reason.contains("the fan is dead")),
            "{data}"
        );
        for secret in [SECRET, OLD_SECRET] {
            assert_eq!(posted[0].checked(secret).await, "proved", "both sign while one is replaced");
        }
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_never_answer_hold_up_nobody_else() {
    let receiver = Receiver::start().await;
    let port = receiver.port;
    let hook = |name: &str, path: &str| {
        format!(
            "  {name}: {{url: 'http://127.0.0.1:{port}/{path}', secret: {SECRET}, events: ['*'], private: true}}\n"
        )
    };
    let silent: String = (10..40).map(|n| hook(&format!("a{n}"), "silent")).collect();
    let text = yaml::small(1) + "webhooks:\n" + &silent + &hook("z", "answers");
    lab(&text, async |lab| {
        let build = r#"{"family": "socA", "build": "b1", "branch": "main"}"#;
        assert_eq!(call(lab, "POST", "/api/v1/builds", &[&admin()], build).await.0, 201);
        let came = lab.clock.timeout(WITHIN, async {
            while !receiver.posted().iter().any(|one| one.path == "/answers") {
                lab.clock.sleep(std::time::Duration::from_millis(10)).await;
            }
        });
        assert!(came.await.is_ok(), "{:?}", receiver.posted());
        let owed = lab.rows("SELECT count(*) FROM calls WHERE hook <> 'z' AND state = 'made'").await;
        assert_eq!(owed, ["0"]);
        receiver.talks.store(true, Ordering::Relaxed);
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forges_are_told_how_the_runs_of_a_commit_ended() {
    let receiver = Receiver::start().await;
    let forge = |kind: &str, more: &str| {
        let port = receiver.port;
        format!(
            "  {kind}: {{forge: {kind}, url: 'http://127.0.0.1:{port}/{kind}', project: soc/boot, token: t0ken, private: true{more}}}\n"
        )
    };
    let statuses = [forge("github", ""), forge("gitlab", ""), forge("gerrit", ", user: boardhand")].concat();
    lab(&(yaml::small(1) + "statuses:\n" + &statuses), async |lab| {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let build = json!({"family": "socA", "build": "build-fail", "commit": commit}).to_string();
        assert_eq!(call(lab, "POST", "/api/v1/builds", &[&admin()], &build).await.0, 201);
        lab.say("alice", "/run-test socA build-fail").await;
        lab.until_card(1, "Failed").await;
        let posted = receiver.until(lab, 6).await;
        lab.settle().await;
        let of = |path: &str| -> Vec<Value> {
            posted
                .iter()
                .filter(|one| one.path == path)
                .map(|one| serde_json::from_str(&one.body).unwrap_or_default())
                .collect()
        };
        let github = of(&format!("/github/repos/soc/boot/statuses/{commit}"));
        assert_eq!(
            (&github[0]["state"], &github[1]["state"]),
            (&json!("pending"), &json!("failure")),
            "{posted:?}"
        );
        assert_eq!(github[1]["context"], "boardhand/socA/smoke");
        assert_eq!(github[1]["target_url"], format!("{}/runs/1", lab.door), "without what opens it");
        let gitlab = of(&format!("/gitlab/api/v4/projects/soc%2Fboot/statuses/{commit}"));
        assert_eq!((&gitlab[0]["state"], &gitlab[1]["state"]), (&json!("pending"), &json!("failed")));
        assert_eq!(of("/gerrit/a/changes/").len(), 1, "which change is asked first");
        let gerrit = of(&format!("/gerrit/a/changes/7/revisions/{commit}/review"));
        assert_eq!((gerrit.len(), &gerrit[0]["labels"]), (1, &json!({"Verified": -1})));
        // A build of which no commit is known has no status.
        lab.say("alice", "/run-test socA build-123").await;
        lab.until_card(2, "Passed").await;
        lab.settle().await;
        assert_eq!(receiver.posted().len(), 6);
        lab.read_all();
    })
    .await;
}

/// The status that GitHub has of a commit under this name: what it was told last, and in which words.
fn status(receiver: &Receiver, context: &str) -> Option<(String, String)> {
    let posted = receiver.posted();
    let mut told = posted.iter().rev().filter_map(|one| serde_json::from_str::<Value>(&one.body).ok());
    let last = told.find(|told| told["context"] == context)?;
    let text = |key: &str| last[key].as_str().unwrap_or_default().to_owned();
    Some((text("state"), text("description")))
}

/// Waits until this is what the forge was told last under that name.
async fn says(lab: &Lab, receiver: &Receiver, context: &str, state: &str, words: &str) {
    let expect = Some((state.to_owned(), words.to_owned()));
    let came = lab.clock.timeout(WITHIN, async {
        while status(receiver, context) != expect {
            lab.clock.sleep(std::time::Duration::from_millis(10)).await;
        }
    });
    assert!(came.await.is_ok(), "never {expect:?}: {:?}", receiver.posted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_is_green_only_when_every_run_of_its_status_is() {
    let receiver = Receiver::start().await;
    lab(&(yaml::small(1) + &receiver.github()), async |lab| {
        for build in ["build-fail", "build-123"] {
            let commit = "0123456789abcdef0123456789abcdef01234567";
            let build = json!({"family": "socA", "build": build, "commit": commit}).to_string();
            assert_eq!(call(lab, "POST", "/api/v1/builds", &[&admin()], &build).await.0, 201);
        }
        let smoke = "boardhand/socA/smoke";
        let says =
            async |context: &str, state: &str, words: &str| says(lab, &receiver, context, state, words).await;
        // Its beginning is not taken, and comes again when the run is over: it tells what is so then.
        receiver.answers([StatusCode::INTERNAL_SERVER_ERROR]);
        lab.say("alice", "/run-test socA build-fail").await;
        lab.until_card(1, "Failed").await;
        says(smoke, "failure", "#1 failed: tests-failed").await;
        let posted = receiver.until(lab, 3).await;
        assert!(posted[1..].iter().all(|one| one.body.contains("failure")), "{posted:?}");
        // One that passes after it does not make up for it.
        lab.say("alice", "/run-test socA build-123").await;
        lab.until_card(2, "Passed").await;
        says(smoke, "failure", "#1 failed: tests-failed (1 of 2 passed)").await;
        // What somebody sets is no part of it, and which board it names is told apart.
        lab.say("alice", "/run-test socA build-123 iterations=2").await;
        lab.until_card(3, "Passed").await;
        lab.say("alice", "/run-test soc-a-001 build-123").await;
        lab.until_card(4, "Passed").await;
        says("boardhand/socA/smoke/soc-a-001", "success", "#4 passed").await;
        says(smoke, "failure", "#1 failed: tests-failed (1 of 2 passed)").await;
        // Its repeat counts in its place.
        lab.say("alice", "/lab retry 1").await;
        lab.until_card(5, "Failed").await;
        says(smoke, "failure", "#5 failed: tests-failed (1 of 2 passed)").await;
        lab.settle().await;
        assert!(receiver.posted().iter().all(|one| !one.body.contains("#3 ")), "{:?}", receiver.posted());
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_were_asked_for_before_their_build_was_told_of_decide_its_status_too() {
    let receiver = Receiver::start().await;
    lab(&(yaml::small(1) + &receiver.github()), async |lab| {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let tells = async |build: &str| {
            let build = json!({"family": "socA", "build": build, "commit": commit}).to_string();
            assert_eq!(call(lab, "POST", "/api/v1/builds", &[&admin()], &build).await.0, 201);
        };
        for _ in 0..2 {
            lab.say("alice", "/run-test socA build-crawl").await;
        }
        tells("build-crawl").await;
        let smoke = "boardhand/socA/smoke";
        says(lab, &receiver, smoke, "pending", "#2 is not over (0 of 2 passed)").await;
        for run in [2, 1] {
            lab.say("alice", &format!("/lab cancel {run}")).await;
            lab.until_card(run, "Cancelled").await;
        }
        // One that failed long before makes the commit red as soon as anybody says whose it was.
        lab.say("alice", "/run-test socA build-fail").await;
        lab.until_card(3, "Failed").await;
        assert!(receiver.posted().iter().all(|one| !one.body.contains("#3 ")), "{:?}", receiver.posted());
        tells("build-fail").await;
        says(lab, &receiver, smoke, "failure", "#3 failed: tests-failed (0 of 3 passed)").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[test]
fn the_manuals_sections_are_read() {
    let manual = include_str!("../../../docs/webhooks.md");
    let blocks = manual.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let text = yaml::small(1) + &blocks.collect::<String>();
    let env =
        |name: &str| Some(if name.ends_with("_SECRET") { SECRET.to_owned() } else { "t0ken".to_owned() });
    let read = boardhand::board::lab_file::parse("boards.yaml", &text, &env);
    let lab =
        read.inventory.unwrap_or_else(|| panic!("{}", boardhand::board::lab_file::render(&read.problems)));
    assert_eq!(lab.hooks.statuses.keys().collect::<Vec<_>>(), ["gerrit", "github", "gitlab"]);
    assert_eq!(lab.hooks.webhooks.keys().collect::<Vec<_>>(), ["dashboard"]);
    assert!(lab.hooks.may_call_back("http://jenkins.lab.local:8080/webhook-step/1").is_ok());
    for kind in boardhand::board::hooks::KINDS {
        assert!(manual.contains(&format!("`{kind}`")), "the manual says nothing of {kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_manuals_step_of_a_shared_library_waits_for_its_run() {
    let receiver = Receiver::start().await;
    let port = receiver.port;
    let text = yaml::small(1)
        + &format!("callbacks: {{hosts: ['http://127.0.0.1:{port}'], secret: {SECRET}, private: true}}\n");
    lab(&text, async |lab| {
        let manual = include_str!("../../../docs/webhooks.md");
        let step = manual.split("```groovy\n").nth(1).and_then(|rest| rest.split("```").next());
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path
        };
        let step = write("boardhandRun.groovy", step.expect("the manual has a step"));
        let world = write("pipeline.groovy", include_str!("pipeline.groovy"));
        let run = async |build: &str| {
            let output = Command::new("groovy")
                .arg(&world)
                .args([step.as_os_str(), "socA".as_ref(), build.as_ref()])
                .env("BOARDHAND", &lab.door)
                .env("BOARDHAND_TOKEN", crate::lab::ADMIN_TOKEN)
                .env("HOOKS", format!("http://127.0.0.1:{port}"))
                .env("JOB_NAME", "compiler/main")
                .env("BUILD_NUMBER", build)
                .stdin(Stdio::null())
                .output();
            let output = output.await.expect("groovy");
            let said =
                [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            (output.status.code(), said.concat())
        };
        let (status, said) = run("build-123").await;
        assert_eq!((status, said.as_str()), (Some(0), "#1 passed on soc-a-001\nreturned passed\n"));
        let (status, said) = run("build-fail").await;
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains("#2 failed on soc-a-001\nERROR #2 failed: tests-failed http://"), "{said}");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
