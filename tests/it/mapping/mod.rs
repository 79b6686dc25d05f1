//! What other programs post: plugins of Jenkins as they post it, and anything that a mapping of boards.yaml reads. The
//! payloads beside this file have the shape that the programs give them.

use serde_json::{Value, json};

use crate::builds::with;
use crate::jenkins::{post, signed};
use crate::lab::{JENKINS_SECRET, JENKINS_TOKEN, Lab, lab};

const QUEUED: &str = include_str!("notification-queued.json");
const STARTED: &str = include_str!("notification-started.json");
const COMPLETED: &str = include_str!("notification-completed.json");
const FINALIZED: &str = include_str!("notification-finalized.json");
const OUTBOUND: &str = include_str!("outbound-success.json");
const GITLAB: &str = include_str!("gitlab-pipeline.json");
const BUILDKITE: &str = include_str!("buildkite-finished.json");
const MANUAL: &str = include_str!("../../../docs/jenkins.md");

/// The lab of the manual: its mappings, and a rule that starts runs.
fn manuals() -> String {
    let block =
        MANUAL.split("```yaml\n").find(|block| block.starts_with("mapping:")).expect("a block of mappings");
    let block = block.split("```").next().expect("it ends");
    with(&format!("on_build: {{smoke: {{family: socA, branch: main}}}}\n{block}"))
}

/// As the plugin posts it: with a token, since it cannot sign.
async fn plugin(lab: &Lab, path: &str, body: &str) -> (u16, Value) {
    let (status, answer) = post(lab, path, &[format!("Authorization: Bearer {JENKINS_TOKEN}")], body).await;
    (status, serde_json::from_str(&answer).unwrap_or(Value::String(answer)))
}

async fn builds(lab: &Lab) -> Vec<String> {
    let rows = "SELECT family || ' ' || id || ' ' || coalesce(branch, '-') || ' ' || coalesce(substr(revision, 1, 7), '-') \
                || ' ' || coalesce(job, '-') || ' ' || result FROM builds ORDER BY number";
    lab.rows(rows).await
}

async fn runs(lab: &Lab) -> String {
    lab.rows("SELECT count(*) FROM runs").await.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_the_notification_plugin_tells_of_one_build_and_starts_its_run_once() {
    lab(&manuals(), async |lab| {
        // After it has run, a job's last steps may change its result and archive files.
        let early = COMPLETED.replace("SUCCESS", "FAILURE");
        for (body, phase) in [(QUEUED, "QUEUED"), (STARTED, "STARTED"), (&early, "COMPLETED")] {
            let (status, answer) = plugin(lab, "/webhooks/jenkins", body).await;
            let says = format!(
                "\"{phase}\" at /build/phase means nothing to the mapping compiler: nothing was done"
            );
            assert_eq!((status, &answer["detail"]), (200, &json!(says)), "{answer}");
        }
        assert_eq!((builds(lab).await.len(), runs(lab).await.as_str()), (0, "0"));
        let (status, first) = plugin(lab, "/webhooks/jenkins", FINALIZED).await;
        assert_eq!(
            (status, &first["build"], &first["runs"][0]["number"]),
            (201, &json!("build-812"), &json!(1)),
            "{first}"
        );
        let (status, again) = plugin(lab, "/webhook", FINALIZED).await;
        assert_eq!(
            (status, &again["build"], &again["runs"]),
            (200, &json!("build-812"), &first["runs"]),
            "{again}"
        );
        assert_eq!(plugin(lab, "/webhook", COMPLETED).await.0, 200);
        assert_eq!(builds(lab).await, ["socA build-812 main c6d86dc soc/compiler success"]);
        let files = lab.rows("SELECT artifacts FROM builds").await.remove(0);
        let files: Value = serde_json::from_str(&files).expect("JSON");
        let url = "https://ci.example.com/job/soc/job/compiler/812/artifact/out/test.bin";
        assert_eq!(files, json!([{ "name": "test.bin", "url": url }]));
        lab.settle().await;
        assert_eq!(runs(lab).await, "1");
        assert_eq!(lab.rows("SELECT requester FROM runs").await, ["jenkins:soc/compiler"]);

        // A failed one is registered, and starts nothing.
        let failed = FINALIZED.replace("812", "813").replace("SUCCESS", "FAILURE");
        let (status, answer) = plugin(lab, "/webhook", &failed).await;
        assert_eq!((status, &answer["runs"]), (201, &json!([])), "{answer}");
        assert_eq!(builds(lab).await[1], "socA build-813 main c6d86dc soc/compiler failure");
        // And nothing is read without proof.
        assert_eq!(post(lab, "/webhooks/jenkins", &[], FINALIZED).await.0, 401);
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugins_job_that_no_mapping_takes_is_told_what_to_write() {
    lab(&with(""), async |lab| {
        let (status, answer) = plugin(lab, "/webhook", STARTED).await;
        let says = "\"STARTED\" tells of no build that is over: nothing was done";
        assert_eq!((status, &answer["detail"]), (200, &json!(says)));
        let (status, answer) = plugin(lab, "/webhook", FINALIZED).await;
        let says = "this is what Jenkins' Notification plugin posts of the job \"soc/compiler\", and no mapping of boards.yaml \
                    takes it; add one under \"mapping:\", such as compiler: {from: notification-plugin, when: {/job: \
                    soc/compiler}, family: …}";
        assert_eq!((status, &answer["detail"]), (422, &json!(says)));
        let (status, answer) = plugin(lab, "/webhook", &OUTBOUND.replace("success", "START")).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(plugin(lab, "/webhook", OUTBOUND).await.0, 422);
        assert_eq!(builds(lab).await.len(), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_programs_are_read_as_the_manuals_mappings_say() {
    lab(&manuals(), async |lab| {
        let (status, answer) = plugin(lab, "/webhook", OUTBOUND).await;
        assert_eq!((status, &answer["build"]), (201, &json!("fw-57")), "{answer}");
        let (status, answer) = plugin(lab, "/webhook", GITLAB).await;
        assert_eq!((status, &answer["build"]), (201, &json!("pipeline-31")), "{answer}");
        let running = GITLAB.replace("\"status\":\"success\",\"detailed", "\"status\":\"running\",\"detailed");
        let (status, answer) = plugin(lab, "/webhook", &running).await;
        assert_eq!(status, 200, "{answer}");
        assert!(answer["detail"].as_str().is_some_and(|says| says.starts_with("\"running\" at ")), "{answer}");

        // Buildkite's asks for a run, and does so once.
        let (status, first) = signed(lab, BUILDKITE).await;
        assert_eq!((status, &first["number"]), (202, &json!(2)), "{first}");
        let (status, again) = signed(lab, BUILDKITE).await;
        assert_eq!((status, &again["run_id"]), (200, &first["run_id"]));
        let (status, answer) = signed(lab, &BUILDKITE.replace("passed", "failed").replace("23", "24")).await;
        let says = "the build ended as failure, and the mapping kernel starts runs of good ones only: nothing was done";
        assert_eq!((status, &answer["detail"]), (200, &json!(says)));
        lab.settle().await;
        assert_eq!(
            builds(lab).await,
            ["socA fw-57 - - firmware success", "socA pipeline-31 main bcbb5ec soc/firmware success"]
        );
        let ran = lab.rows("SELECT spec->>'build' || ' ' || (spec->>'suite') || ' ' || requester FROM runs ORDER BY number");
        assert_eq!(ran.await, ["pipeline-31 smoke jenkins:soc/firmware", "kernel-23 smoke jenkins:kernel"]);
        // Our own documents are what they were.
        let own = r#"{"event": "build.finished", "family": "socA", "build": "build-1"}"#;
        assert_eq!(signed(lab, own).await.0, 201);
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_mapping_cannot_read_is_said_with_the_field_and_the_place() {
    let own = "mapping:\n  firmware: {when: {/kind: fw}, family: '{/soc}', build: 'fw-{/number}', result: '{/state}'}\n  \
               other: {when: {/kind: f*, /also: both}, family: socA, build: x}\n";
    lab(&with(own), async |lab| {
        let refused = async |body: Value, says: &str| {
            let (status, problem) = signed(lab, &body.to_string()).await;
            assert_eq!((status, &problem["detail"]), (422, &json!(says)), "{body}");
        };
        let of = |more: Value| {
            let mut body = json!({ "kind": "fw", "soc": "socA", "number": 7, "state": "success" });
            body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            body
        };
        let at = |field: &str, wrong: &str| format!("the mapping firmware of boards.yaml: {field}: {wrong}");
        refused(of(json!({ "number": null })), &at("build", "there is nothing at /number")).await;
        refused(of(json!({ "state": " " })), &at("result", "there is nothing at /state")).await;
        let no_text = "what stands at /soc is no text, number or truth value of at most 2000 bytes";
        refused(of(json!({ "soc": ["socA"] })), &at("family", no_text)).await;
        refused(of(json!({ "soc": "x".repeat(2_001) })), &at("family", no_text)).await;
        let odd = "\"green\" is no result; say under \"results\" what it means";
        refused(of(json!({ "state": "green" })), &at("result", odd)).await;
        let reads = "as the mapping firmware of boards.yaml reads it, ";
        let control = "\"family\" must be a text of at most 1,000 bytes, without control characters";
        refused(of(json!({ "soc": "so\u{7}cA" })), &format!("{reads}{control}")).await;
        refused(of(json!({ "soc": "socZ" })), "there is no family \"socZ\"").await;
        let both = "the mappings firmware and other of boards.yaml both take this post; what they have under \"when\" must \
                    tell it apart";
        refused(of(json!({ "also": "both" })), both).await;
        assert_eq!(runs(lab).await, "0");
    })
    .await;
}

/// The manual's lines for a plain script, in a real shell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_manuals_script_posts_a_payload_of_its_own() {
    lab(&manuals(), async |lab| {
        let lines =
            MANUAL.split("```sh\n").find(|block| block.contains("\"kind\": \"nightly\"")).expect("a script");
        let lines = lines.split("```").next().expect("it ends");
        let home = tempfile::tempdir().expect("a workspace");
        let said = tokio::process::Command::new("sh")
            .args(["-c", lines])
            .current_dir(home.path())
            .env("BOARDHAND", &lab.door)
            .env("JENKINS_WEBHOOK_SECRET", JENKINS_SECRET)
            .output()
            .await
            .expect("sh");
        let text =
            String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "{text}");
        let answer: Value =
            serde_json::from_slice(&said.stdout).unwrap_or_else(|_| panic!("no JSON: {text}"));
        assert_eq!((&answer["family"], &answer["build"]), (&json!("socA"), &json!("nightly-2026-11-28")));
        let files = lab.rows("SELECT artifacts FROM builds").await.remove(0);
        let sum = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        assert!(files.contains("https://ci.example.com/nightly/test.bin") && files.contains(sum), "{files}");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
