//! Files of builds that were told with their SHA-256: the server fetches them from a CI on this machine, proves them, and
//! gives them to boards; whatever is wrong with one is the lab's trouble, and never a verdict about the build.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use boardhand::clock::Clock;
use futures_util::stream;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::told;
use crate::jenkins::signed;
use crate::lab::{Lab, lab, yaml};

/// What the CI gives, and what it was asked for how often.
#[derive(Clone)]
struct Ci {
    url: String,
    asked: Arc<Mutex<BTreeMap<String, u32>>>,
    /// Until it is opened, what is slow comes byte by byte.
    gate: watch::Sender<bool>,
}

/// A file of 20,000 bytes.
fn data() -> Bytes {
    (0..20_000_u32).map(|n| b'a' + (n * 7 % 23) as u8).collect()
}

fn sum() -> String {
    hex::encode(Sha256::digest(data()))
}

impl Ci {
    async fn start() -> Ci {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let url = format!("http://{}", listener.local_addr().expect("address"));
        let ci = Ci { url, asked: Arc::default(), gate: watch::channel(false).0 };
        let router = Router::new().route("/{what}/test.bin", get(give)).with_state(ci.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        ci
    }

    fn asked(&self, what: &str) -> u32 {
        self.asked.lock().expect("a count").get(what).copied().unwrap_or(0)
    }

    /// The lab of one board whose plan carries the file over the console and back, with this as its tests.
    fn boards(&self, test: &str) -> String {
        let small = yaml::small(2);
        let (before, after) = (small.find("    deploy:\n").expect("a step"), small.find("    finally:\n"));
        let after = after.expect("a step") + "    finally:\n".len();
        let carry = format!(
            "    deploy:\n      - upload: {{from: '{{{{ build.artifacts[\"test.bin\"].path }}}}', to: /tmp/data, within: 60s}}\n      \
             - run: 'echo {{{{ build.artifacts[\"test.bin\"].url }}}}'\n    test:\n      - {test}\n    collect:\n      - fetch: \
             {{from: /tmp/data, as: back, within: 60s}}\n    finally:\n"
        );
        let text = format!("{}{carry}{}", &small[..before], &small[after..]);
        let text =
            text.replace("    artifacts: {test.bin: 'http://ci.lab.local/{{ build.id }}/test.bin'}\n", "");
        let text = text.replace("limits: {total: 60s, no_output: 2s}", "limits: {total: 2h, no_output: 1h}");
        format!("{text}artifact_hosts: ['{}']\n", self.url)
    }

    /// Tells of a build whose file the CI gives in this way.
    async fn tells(&self, lab: &Lab, what: &str) {
        let sum = sum();
        let artifact =
            format!(r#"{{"name": "test.bin", "url": "{}/{what}/test.bin", "sha256": "{sum}"}}"#, self.url);
        let (status, answer) = signed(lab, &told(what, &format!(r#", "artifacts": [{artifact}]"#))).await;
        assert_eq!(status, 201, "{answer}");
    }
}

async fn give(State(ci): State<Ci>, Path(what): Path<String>) -> Response {
    let times = {
        let mut asked = ci.asked.lock().expect("a count");
        let times = asked.entry(what.clone()).or_default();
        *times += 1;
        *times
    };
    let pieces = |pieces: Vec<std::io::Result<Bytes>>| Body::from_stream(stream::iter(pieces));
    let broken = || Err(std::io::Error::other("hung up"));
    let half = || data().slice(..10_000);
    let length = [("content-length", "20000")];
    match what.as_str() {
        "wrong" => vec![b'x'; 20_000].into_response(),
        "short" => (length, pieces(vec![Ok(half()), broken()])).into_response(),
        "hung-up" if times == 1 => (length, pieces(vec![Ok(half()), broken()])).into_response(),
        "chunked" => pieces(vec![Ok(half()), Ok(data().slice(10_000..))]).into_response(),
        "away" => Redirect::temporary("http://169.254.169.254/test.bin").into_response(),
        "aside" => Redirect::temporary("/good/test.bin").into_response(),
        "slow" => (length, Body::from_stream(trickle(ci.gate.subscribe()))).into_response(),
        "gone" => axum::http::StatusCode::NOT_FOUND.into_response(),
        _ => data().into_response(),
    }
}

/// A byte now and then until the gate is open, then the rest.
fn trickle(gate: watch::Receiver<bool>) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> {
    stream::unfold((gate, 0), async |(mut gate, at)| {
        if at == data().len() {
            return None;
        }
        let open =
            Clock::system().timeout(Duration::from_millis(20), gate.wait_for(|open| *open)).await.is_ok();
        let end = if open || at + 1 == data().len() { data().len() } else { at + 1 };
        Some((Ok(data().slice(at..end)), (gate, end)))
    })
}

/// What the console was told, of an attempt.
fn typed(lab: &Lab, run: i64) -> String {
    let path = lab.data.path().join(format!("transcripts/{run}/1/console.idx"));
    std::fs::read_to_string(path).unwrap_or_default()
}

const THERE: &str = "{name: there, run: 'if [ -s /tmp/data ]; then echo there; else false; fi'}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_fetched_and_proved_once_and_gets_to_every_board() {
    let ci = Ci::start().await;
    lab(&ci.boards(THERE), async |lab| {
        ci.tells(lab, "good").await;
        let both =
            [lab.run("alice", "/run-test socA good").await, lab.run("alice", "/run-test socA good").await];
        for run in both {
            assert_eq!(lab.verdict(run).await, "passed in collecting", "{}", lab.thread(run));
            let back = lab.data.path().join(format!("transcripts/{run}/1/back"));
            assert_eq!(std::fs::read(back).expect("it came back"), data());
        }
        assert_eq!(ci.asked("good"), 1);
        // One that hung up was asked again; one without a length, and one at another place of the host, are as good.
        for what in ["hung-up", "chunked", "aside"] {
            ci.tells(lab, what).await;
            std::fs::remove_file(lab.data.path().join("build-files/whole").join(sum()))
                .expect("it was there");
            let run = lab.run("alice", &format!("/run-test socA {what}")).await;
            assert_eq!(lab.verdict(run).await, "passed in collecting", "{what}");
        }
        assert_eq!((ci.asked("hung-up"), ci.asked("chunked"), ci.asked("aside")), (2, 1, 1));
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_not_what_was_told_is_the_labs_trouble_and_touches_no_board() {
    let ci = Ci::start().await;
    lab(&ci.boards(THERE), async |lab| {
        let wrong = hex::encode(Sha256::digest(vec![b'x'; 20_000]));
        let trouble = [
            ("wrong", "artifact-mismatch", format!("its SHA-256 is {wrong}, and {} was told", sum())),
            ("away", "artifact-missing", "is at no host that artifact_hosts in boards.yaml lists".to_owned()),
            ("gone", "artifact-missing", "its host answered 404".to_owned()),
        ];
        for (what, cause, says) in trouble {
            ci.tells(lab, what).await;
            let run = lab.run("alice", &format!("/run-test socA {what}")).await;
            assert_eq!(lab.verdict(run).await, format!("infra {cause} in leased"), "{what}");
            lab.settle().await;
            let thread = lab.thread(run);
            assert!(thread.contains(&says), "{what}: {thread}");
            assert!(thread.contains("not tried again by itself"), "{what}: {thread}");
            assert_eq!(typed(lab, run), "", "{what}");
        }
        assert_eq!((ci.asked("wrong"), ci.asked("away")), (1, 1));
        // A CI that hangs up whatever is asked may do better later: the run is tried again, as after other lab trouble.
        ci.tells(lab, "short").await;
        let run = lab.run("alice", "/run-test socA short").await;
        let view = lab.until(run, "on its second attempt", |view| view.attempts.len() == 2).await;
        let first =
            view.attempts[0].outcome.as_ref().map(|outcome| (outcome.cause.as_str(), ci.asked("short") >= 4));
        assert_eq!(first, Some(("transfer-failed", true)));
        assert_eq!(typed(lab, run), "", "no board is touched");
        lab.say("alice", &format!("/lab cancel {run}")).await;
        lab.until_card(run, "Cancelled").await;
        lab.settle().await;
        let kept = std::fs::read_dir(lab.data.path().join("build-files/whole")).expect("a folder").count();
        let coming = std::fs::read_dir(lab.data.path().join("build-files/coming")).expect("a folder").count();
        assert_eq!((kept, coming), (0, 0));
        assert_eq!(lab.rows("SELECT count(*) FROM boards WHERE health <> 'good'").await, ["0"]);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_card_says_how_far_a_slow_file_is_and_two_runs_wait_for_one_fetch() {
    let ci = Ci::start().await;
    lab(&ci.boards(THERE), async |lab| {
        ci.tells(lab, "slow").await;
        let both =
            [lab.run("alice", "/run-test socA slow").await, lab.run("alice", "/run-test socA slow").await];
        for run in both {
            lab.until_card(run, "% of `test.bin` (20 KiB) to the server").await;
        }
        ci.gate.send_replace(true);
        for run in both {
            assert_eq!(lab.verdict(run).await, "passed in collecting", "{}", lab.thread(run));
        }
        assert_eq!(ci.asked("slow"), 1);
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_slow_a_ci_is_takes_none_of_a_runs_time() {
    let ci = Ci::start().await;
    let short =
        ci.boards(THERE).replace("limits: {total: 2h, no_output: 1h}", "limits: {total: 3s, no_output: 3s}");
    lab(&short, async |lab| {
        ci.tells(lab, "slow").await;
        let run = lab.run("alice", "/run-test socA slow").await;
        lab.until_card(run, "to the server").await;
        lab.clock.sleep(Duration::from_secs(4)).await;
        assert!(lab.view(run).await.attempts[0].outcome.is_none(), "its time has not begun");
        ci.gate.send_replace(true);
        lab.until(run, "past its files", |view| view.run.state.word() != "leased").await;
        lab.say("alice", &format!("/lab cancel {run}")).await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_cancelled_while_its_file_comes_and_nobody_fetches_it_any_more() {
    let ci = Ci::start().await;
    lab(&ci.boards(THERE), async |lab| {
        ci.tells(lab, "slow").await;
        let run = lab.run("alice", "/run-test socA slow").await;
        lab.until_card(run, "to the server").await;
        lab.say("alice", &format!("/lab cancel {run}")).await;
        assert_eq!(lab.verdict(run).await, "cancelled cancelled in leased");
        lab.settle().await;
        // The gate is nobody's to wait at any more.
        let left = async {
            while ci.gate.receiver_count() > 0 {
                Clock::system().sleep(Duration::from_millis(10)).await;
            }
        };
        Clock::system().timeout(Duration::from_secs(60), left).await.expect("the connection is closed");
        assert_eq!(ci.asked("slow"), 1);
        lab.read_all();
    })
    .await;
}
