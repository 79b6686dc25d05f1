//! Jenkins: a pipeline posts with the documented lines of shell, waits, and gets its verdict and its report; whatever is
//! posted again starts nothing, and whatever is wrong is said so that somebody can mend it.

use std::process::Stdio;

use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::lab::{JENKINS_SECRET, JENKINS_STANDARD, JENKINS_TOKEN, Lab, lab, yaml};

/// The first block of shell in the manual.
fn documented() -> String {
    let manual = include_str!("../../docs/jenkins.md");
    let from = manual.split("```sh\n").nth(1).expect("the manual has a block of shell");
    from.split("```").next().expect("it ends").to_owned()
}

/// What a pipeline saw.
struct Pipeline {
    status: Option<i32>,
    said: String,
    home: tempfile::TempDir,
}

impl Pipeline {
    /// Runs the documented lines as build `number` of a job.
    async fn run(lab: &Lab, family: &str, number: u32) -> Pipeline {
        Pipeline::of(lab, documented(), family, number).await
    }

    /// The same for a build of another name.
    async fn run_build(lab: &Lab, family: &str, build: &str) -> Pipeline {
        let lines = documented().replacen("\"build-%s\"", &format!("\"build-{build}%.0s\""), 1);
        Pipeline::of(lab, lines, family, 1).await
    }

    async fn of(lab: &Lab, lines: String, family: &str, number: u32) -> Pipeline {
        let home = tempfile::tempdir().expect("a workspace");
        let output = Command::new("sh")
            .arg("-c")
            .arg(lines)
            .current_dir(home.path())
            .env("BOARDHAND", &lab.door)
            .env("JENKINS_WEBHOOK_SECRET", JENKINS_SECRET)
            .env("JOB_NAME", "compiler/main")
            .env("BUILD_NUMBER", number.to_string())
            .env("FAMILY", family)
            .stdin(Stdio::null())
            .output()
            .await
            .expect("sh");
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Pipeline { status: output.status.code(), said: said.concat(), home }
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.home.path().join(name)).unwrap_or_default()
    }

    fn run_json(&self) -> Value {
        serde_json::from_str(&self.file("run.json")).unwrap_or_else(|_| panic!("no run: {}", self.said))
    }
}

/// Posts a body with these headers; status and answer.
pub(crate) async fn post(lab: &Lab, path: &str, headers: &[String], body: &str) -> (u16, String) {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--data-binary", "@-", "-w", "\n%{http_code}"]);
    for header in headers {
        curl.args(["-H", header]);
    }
    let mut child = curl
        .arg(format!("{}{path}", lab.door))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(body.as_bytes()).await.expect("written");
    drop(stdin);
    let output = child.wait_with_output().await.expect("an answer");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let (answer, status) = text.rsplit_once('\n').expect("a status");
    (status.parse().expect("a number"), answer.to_owned())
}

pub(crate) fn hub(body: &str) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(JENKINS_SECRET.as_bytes()).expect("a key");
    mac.update(body.as_bytes());
    format!("X-Hub-Signature-256: sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// The three headers of Standard Webhooks.
fn standard(lab: &Lab, id: &str, body: &str) -> Vec<String> {
    let base64 = base64::engine::general_purpose::STANDARD;
    let key = base64.decode(JENKINS_STANDARD.trim_start_matches("whsec_")).expect("a key");
    let at = lab.clock.now().as_secs();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).expect("a key");
    mac.update(format!("{id}.{at}.{body}").as_bytes());
    let signature = base64.encode(mac.finalize().into_bytes());
    vec![
        format!("webhook-id: {id}"),
        format!("webhook-timestamp: {at}"),
        format!("webhook-signature: v1,{signature}"),
    ]
}

pub(crate) async fn signed(lab: &Lab, body: &str) -> (u16, Value) {
    let (status, answer) = post(lab, "/webhooks/jenkins", &[hub(body)], body).await;
    (status, serde_json::from_str(&answer).unwrap_or(Value::String(answer)))
}

/// A run as the server shows it.
async fn read(lab: &Lab, path: &str) -> Value {
    let answer = lab.get(path).await;
    let body = answer.split_once("\r\n\r\n").expect("a head").1;
    serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {answer}"))
}

async fn runs(lab: &Lab) -> String {
    lab.rows("SELECT count(*) FROM runs").await.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_gets_its_verdict_and_its_report() {
    lab(&yaml::small(2), async |lab| {
        let pipeline = Pipeline::run(lab, "socA", 812).await;
        assert_eq!(pipeline.status, Some(0), "{}\n{}", pipeline.said, pipeline.file("run.json"));
        let run = pipeline.run_json();
        let known = ["number", "family", "build", "suite", "state", "verdict", "requested_by"];
        let known: Vec<&Value> = known.iter().map(|key| &run[key]).collect();
        assert_eq!(
            json!(known),
            json!([1, "socA", "build-812", "smoke", "finished", "passed", "jenkins:compiler/main"])
        );
        let report = pipeline.file("junit.xml");
        assert!(report.contains(r#"<testsuite name="socA.smoke""#), "{report}");
        assert!(report.contains(r#"<testcase classname="socA.smoke" name="#), "{report}");
        assert!(report.contains(r#"failures="0" errors="0""#), "{report}");

        // Jenkins was restarted and the stage ran again.
        let again = Pipeline::run(lab, "socA", 812).await;
        assert_eq!((again.status, &again.run_json()["number"]), (Some(0), &json!(1)));
        assert_eq!(runs(lab).await, "1");
        let log = run["attempts"][0]["log_url"].as_str().expect("a link");
        let log = lab.get(log.trim_start_matches(&lab.door)).await;
        assert!(log.contains("login:"), "{log}");
    })
    .await;
}

/// What another program reads in a report: tests, failures, errors, and how many elements there are of each.
fn counted(report: &std::path::Path) -> String {
    const READ: &str = "import sys, xml.etree.ElementTree as E\n\
        s = E.parse(sys.argv[1]).getroot().find('testsuite')\n\
        n = lambda t: len(s.findall('testcase/' + t) if t else s.findall('testcase'))\n\
        print(*[s.get(a) for a in ('tests', 'failures', 'errors')], n(''), n('failure'), n('error'))";
    let output =
        std::process::Command::new("python3").arg("-c").arg(READ).arg(report).output().expect("python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_red_run_fails_the_pipeline_and_its_report_counts_what_it_holds() {
    lab(&yaml::small(1), async |lab| {
        let red = Pipeline::run_build(lab, "socA", "fail").await;
        assert_eq!((red.status, &red.run_json()["verdict"]), (Some(1), &json!("failed")), "{}", red.said);
        let counts = counted(&red.home.path().join("junit.xml"));
        let [tests, failures, errors, cases, failed, erred] = counts.split(' ').collect::<Vec<_>>()[..]
        else {
            panic!("{counts}")
        };
        assert_eq!((tests, failures, errors), (cases, failed, erred), "{counts}");
        assert!(failures != "0" && errors == "0", "{counts}");
        let unknown = Pipeline::run(lab, "socZ", 2).await;
        assert_eq!(unknown.status, Some(2), "{}", unknown.said);
        assert!(unknown.said.contains("there is no family and no board"), "{}", unknown.said);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_jenkins_is_told_in_the_channel_that_it_names() {
    lab(&yaml::small(1), async |lab| {
        let body = r#"{"job": "nightly", "number": 7, "soc": "socA", "build_id": "build-7", "channel": "slack:C0SOCCI",
            "requested_by": "<!channel> li"}"#;
        let (status, answer) = signed(lab, body).await;
        assert_eq!(status, 202, "{answer}");
        assert_eq!((status, &answer["number"], &answer["state"], &answer["position"]), (202, &json!(1), &json!("queued"), &json!(1)));
        assert!(answer["run_id"].as_str().is_some_and(|id| id.len() == 36), "{answer}");
        assert_eq!(lab.verdict(1).await, "passed in testing");
        lab.until_card(1, "Passed").await;
        lab.settle().await;
        let thread = lab.thread(1);
        // As text, which calls nobody.
        assert!(thread.contains("*By* <!channel> li"), "{thread}");
        let card = lab.slack.with(|world| format!("{world:?}"));
        assert!(card.contains("&lt;!channel&gt; li"), "{card}");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_post_again_is_the_same_run_however_long_after() {
    lab(&yaml::small(1), async |lab| {
        let body = r#"{"job": "j", "number": 1, "family": "socA", "build": "b"}"#;
        let (status, first) = signed(lab, body).await;
        assert_eq!(status, 202, "{first}");
        let (status, again) = signed(lab, body).await;
        assert_eq!((status, &again["run_id"]), (200, &first["run_id"]));
        lab.settle().await;
        // Weeks later the delivery itself is forgotten.
        lab.tamper("DELETE FROM deliveries").await;
        let (status, late) = signed(lab, body).await;
        assert_eq!((status, &late["run_id"], &late["state"]), (200, &first["run_id"], &json!("finished")));
        assert_eq!(late["position"], Value::Null);
        // Another request under the same key is nobody's run.
        let other = body.replace("\"b\"", "\"b2\"");
        let (status, problem) = signed(lab, &other).await;
        assert_eq!((status, &problem["title"]), (409, &json!("this key asked for something else")));
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains("#1") && detail.contains("socA b smoke")),
            "{problem}"
        );
        // And two at once are one as well.
        let body = r#"{"idempotency_key": "k", "family": "socA", "build": "b"}"#;
        let both = tokio::join!(signed(lab, body), signed(lab, body));
        assert_eq!(both.0.1["run_id"], both.1.1["run_id"]);
        assert_eq!(runs(lab).await, "2");
        lab.settle().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scheme_is_taken_on_both_paths_and_nothing_without_one() {
    lab(&yaml::small(3), async |lab| {
        let body = |key: &str| format!(r#"{{"idempotency_key": "{key}", "family": "socA", "build": "b"}}"#);
        let bearer = format!("Authorization: Bearer {JENKINS_TOKEN}");
        for path in ["/webhook", "/webhooks/jenkins"] {
            let key = |scheme: &str| body(&format!("{scheme}{path}"));
            let text = key("hub");
            assert_eq!(post(lab, path, &[hub(&text)], &text).await.0, 202, "hub {path}");
            let text = key("bearer");
            assert_eq!(post(lab, path, std::slice::from_ref(&bearer), &text).await.0, 202, "bearer {path}");
            let text = r#"{"family": "socA", "build": "b"}"#;
            let headers = standard(lab, &format!("msg{}", path.len()), text);
            assert_eq!(post(lab, path, &headers, text).await.0, 202, "standard {path}");
            // Replayed within its time, it is the same run.
            assert_eq!(post(lab, path, &headers, text).await.0, 200, "standard {path}");

            let text = key("none");
            assert_eq!(post(lab, path, &[], &text).await.0, 401, "nothing {path}");
            let wrong = [format!("Authorization: Bearer {JENKINS_TOKEN}x")];
            assert_eq!(post(lab, path, &wrong, &text).await.0, 401, "a wrong token {path}");
            assert_eq!(post(lab, path, &[hub("other")], &text).await.0, 401, "another body {path}");
            let two = [hub(&text), bearer.clone()];
            assert_eq!(post(lab, path, &two, &text).await.0, 401, "two schemes {path}");
            assert_eq!(post(lab, path, &[hub(&text), hub(&text)], &text).await.0, 401, "one twice {path}");
        }
        assert_eq!(runs(lab).await, "6");
        lab.settle().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_and_mended_under_the_same_key() {
    lab(&yaml::small(1), async |lab| {
        let (status, problem) =
            signed(lab, r#"{"job": "j", "number": 1, "family": "socZ", "build": "b"}"#).await;
        assert_eq!(status, 422);
        assert_eq!(problem["detail"], "there is no family and no board \"socZ\"");
        assert_eq!(problem["near"], json!(["socA"]));
        let (status, problem) =
            signed(lab, r#"{"job": "j", "number": 1, "famly": "socA", "build": "b"}"#).await;
        assert_eq!(
            (status, problem["detail"].as_str()),
            (422, Some("there is no key famly; did you mean \"family\"?"))
        );
        let (status, problem) = signed(lab, r#"{"family": "socA", "build": "b"}"#).await;
        assert_eq!(status, 422, "{problem}");
        assert!(
            problem["detail"].as_str().is_some_and(|detail| detail.contains("\"idempotency_key\"")),
            "{problem}"
        );
        let (status, _) = signed(lab, "not JSON").await;
        assert_eq!((status, runs(lab).await.as_str()), (422, "0"));

        let mended = r#"{"job": "j", "number": 1, "family": "socA", "build": "b"}"#;
        assert_eq!(signed(lab, mended).await.0, 202);
        lab.settle().await;
        let answer = signed(lab, mended).await.1;
        let url = answer["url"].as_str().expect("a link").trim_start_matches(&lab.door).to_owned();
        assert!(lab.get(&url).await.contains("\"verdict\":\"passed\""));
        // Nobody guesses their way to another run.
        let other = url.replace("/runs/1", "/runs/2");
        assert!(lab.get(&other).await.contains("there is no such run"), "{other}");
        assert!(lab.get(&url.replace("key=", "key=0")).await.contains("there is no such run"));
        assert!(lab.get(&format!("{url}&wait=soon")).await.contains("this wait is none"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_hears_of_the_end_and_a_report_comes_with_it() {
    lab(&yaml::small(1), async |lab| {
        let body = r#"{"job": "j", "number": 1, "family": "socA", "build": "build-crawl"}"#;
        let (_, answer) = signed(lab, body).await;
        let url = answer["url"].as_str().expect("a link").trim_start_matches(&lab.door).to_owned();
        let report = url.replace("?", "/junit.xml?");
        lab.until_state(1, "testing").await;
        assert!(lab.get(&report).await.contains("the run has not ended"), "{report}");
        let still = read(lab, &format!("{url}&wait=1")).await;
        assert_eq!(still["state"], "testing");
        let waits = format!("{url}&wait=60s");
        let (ended, _) = tokio::join!(read(lab, &waits), async {
            lab.say("alice", "/lab cancel 1").await;
        });
        assert_eq!((&ended["state"], &ended["verdict"]), (&json!("finished"), &json!("cancelled")));
        let report = lab.get(&report).await;
        assert!(report.contains(r#"<error type="cancelled.cancelled""#), "{report}");
        lab.settle().await;
    })
    .await;
}
