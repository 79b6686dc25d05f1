//! A whole campaign driven over the API alone: begun once however often it is posted, stopped at its gate, put back, and
//! read target by target; by whoever's token reaches so far.

use std::time::Duration;

use boardhand::sim::BootStage;
use serde_json::{Value, json};

use super::{admin, call};
use crate::lab::{Lab, WITHIN, lab, yaml};

fn campaigns() -> String {
    yaml::small(3).replace("smoke: linux-smoke,", "smoke: linux-smoke, golden: linux-smoke,")
        + "campaigns:\n  rollout: {boards_of: [socA], suites: [smoke], waves: [1, 50%, 100%], gate: 100, \
           rollback: {build: build-100, suite: golden}}\n  matrix: {families: [socA], suites: [smoke]}\n"
}

/// Asks until the campaign is in this state.
async fn until(lab: &Lab, state: &str) -> Value {
    let asked = lab.clock.timeout(WITHIN, async {
        loop {
            let (_, seen) = call(lab, "GET", "/api/v1/campaigns/1", &[&admin()], "").await;
            if seen["state"] == state {
                return seen;
            }
            lab.clock.sleep(Duration::from_millis(50)).await;
        }
    });
    asked.await.unwrap_or_else(|_| panic!("it never was {state}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_drives_a_whole_campaign() {
    lab(&campaigns(), async |lab| {
        let (_, board) = lab.boards.boards().find(|(id, _)| id.as_str() == "soc-a-002").expect("a board");
        board.set_faults(|faults| faults.panic_at = Some(BootStage::Kernel));
        let body = r#"{"name": "rollout", "build": "build-123"}"#;
        let begin = async |key: &str, body: &str| {
            let key = format!("Idempotency-Key: {key}");
            call(lab, "POST", "/api/v1/campaigns", &[&admin(), &key], body).await
        };
        let (status, begun) = begin("ci-1", body).await;
        assert_eq!((status, &begun["number"], &begun["waves"]), (202, &json!(1), &json!(3)), "{begun}");
        let (status, again) = begin("ci-1", body).await;
        assert_eq!((status, &again["number"]), (200, &json!(1)), "{again}");
        let (status, other) = begin("ci-1", r#"{"name": "matrix", "build": "build-123"}"#).await;
        assert_eq!((status, &other["title"]), (409, &json!("this key asked for something else")));
        let (status, second) = begin("ci-2", r#"{"name": "rollout", "build": "build-124"}"#).await;
        assert_eq!((status, &second["title"]), (409, &json!("another campaign is in the way")), "{second}");
        let (status, odd) = begin("ci-3", r#"{"name": "rolout", "build": "build-123"}"#).await;
        assert_eq!((status, &odd["near"]), (422, &json!(["rollout"])), "{odd}");
        assert_eq!(begin("ci-4", r#"{"name": "1", "build": "pause"}"#).await.0, 422);

        let seen = until(lab, "gate-failed").await;
        assert_eq!(seen["tally"], json!({"planned": 2, "started": 2, "ended": 2, "passed": 1}));
        assert_eq!(seen["targets"][1], json!({"name": "soc-a-002", "state": "failed"}));
        assert_eq!(seen["can"], json!(["continue", "rollback", "cancel"]));
        let (status, not) = call(lab, "POST", "/api/v1/campaigns/1/pause", &[&admin()], "").await;
        assert_eq!(status, 409);
        assert_eq!(not["detail"], "it is gate-failed; what it can do now: continue, rollback, cancel");
        assert_eq!(call(lab, "POST", "/api/v1/campaigns/1/explode", &[&admin()], "").await.0, 422);
        assert_eq!(call(lab, "GET", "/api/v1/campaigns/9", &[&admin()], "").await.0, 404);

        board.set_faults(|faults| faults.panic_at = None);
        let (status, back) = call(lab, "POST", "/api/v1/campaigns/1/rollback", &[&admin()], "").await;
        assert_eq!((status, &back["state"]), (200, &json!("rolling-back")));
        let seen = until(lab, "rolled-back").await;
        let states: Vec<&Value> =
            seen["targets"].as_array().into_iter().flatten().map(|t| &t["state"]).collect();
        assert_eq!(states, ["rolled-back", "rolled-back", "cancelled"], "the last was never reached");
        let runs = seen["runs"].as_array().expect("runs");
        assert_eq!(runs.iter().filter(|run| run["phase"] == "back" && run["verdict"] == "passed").count(), 2);
        lab.settle().await;
        let audit = "SELECT actor, target, allowed FROM audit WHERE verb = 'campaign' ORDER BY position";
        assert_eq!(
            lab.rows(audit).await,
            [
                "api:admin | rollout build-123 | 1",
                "api:admin | rollout build-124 | 1",
                "api:admin | 1 rollout rollback | 1"
            ]
        );
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_says_itself_what_its_campaign_does() {
    lab(&campaigns(), async |lab| {
        let begin = async |body: &str| call(lab, "POST", "/api/v1/campaigns", &[&admin()], body).await;
        for (own, says) in [
            (r#""famlies": ["socA"]"#, "unknown key \"famlies\" in a campaign; did you mean \"families\"?"),
            (r#""suites": ["smoke"]"#, "a campaign needs one of families, boards_of and boards"),
            (r#""families": ["socA"], "repeats": 0"#, "repeats must be between 1 and 20, not 0"),
            (r#""families": ["socA"], "waves": ["half"]"#, "a wave must be a number, or up to 100%"),
            (r#""families": ["${SECRET}"]"#, "SECRET"),
            (r#""families": ["socX"]"#, "socX"),
            (r#""families": ["socA"], "suites": ["smokee"]"#, "smokee"),
        ] {
            let (status, odd) = begin(&format!(r#"{{"name": "mine", "build": "build-123", {own}}}"#)).await;
            let detail = odd["detail"].as_str().unwrap_or_default();
            assert!(status == 422 && detail.contains(says), "{own}: {status} {odd}");
        }
        let taken = r#"{"name": "matrix", "build": "build-123", "families": ["socA"]}"#;
        let (status, odd) = begin(taken).await;
        assert_eq!((status, &odd["title"]), (409, &json!("this name is taken")), "{odd}");
        assert_eq!(begin(r#"{"name": "7", "build": "b", "families": ["socA"]}"#).await.0, 422);

        let body = r#"{"name": "mine", "build": "build-123", "families": ["socA"], "suites": ["smoke", "golden"], "repeats": 2,
            "waves": [1], "stop": {"failed": 50}}"#;
        let (status, begun) = begin(body).await;
        assert_eq!((status, &begun["total"]["planned"]), (202, &json!(4)), "{begun}");
        let seen = until(lab, "completed").await;
        assert_eq!((&seen["name"], &seen["total"]["passed"]), (&json!("mine"), &json!(4)), "{seen}");
        // One that is ended says of every target that nothing comes of it any more.
        let begun = begin(r#"{"name": "late", "build": "build-crawl", "boards_of": ["socA"], "at_once": 1}"#).await.1;
        let number = &begun["number"];
        let cancel = format!("/api/v1/campaigns/{number}/cancel");
        let (status, over) = call(lab, "POST", &cancel, &[&admin()], "").await;
        assert_eq!((status, &over["state"]), (200, &json!("cancelled")));
        lab.settle().await;
        let (_, over) = call(lab, "GET", &format!("/api/v1/campaigns/{number}"), &[&admin()], "").await;
        let states: Vec<&Value> =
            over["targets"].as_array().into_iter().flatten().map(|t| &t["state"]).collect();
        assert_eq!(states, ["cancelled"; 3], "{over}");
        let (status, again) = call(lab, "POST", &cancel, &[&admin()], "").await;
        assert_eq!((status, &again["detail"]), (409, &json!("it is cancelled, and nothing can be asked of it any more")));
    })
    .await;
}
