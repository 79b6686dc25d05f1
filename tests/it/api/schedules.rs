//! Schedules as programs see them: when they are due, and paused by whoever may.

use serde_json::json;

use super::tokens::make;
use super::{admin, call};
use crate::lab::{lab, yaml};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_is_looked_at_paused_and_resumed() {
    let schedules = "schedules:\n  nightly: {cron: '0 3 * * *', run: 'socA build-123'}\n";
    lab(&(yaml::small(1) + schedules), async |lab| {
        let (status, all) = call(lab, "GET", "/api/v1/schedules", &[&admin()], "").await;
        let nightly = &all["items"][0];
        assert_eq!(
            (status, &nightly["name"], &nightly["paused"]),
            (200, &json!("nightly"), &json!(false)),
            "{all}"
        );
        assert_eq!((&nightly["run"], &nightly["last_run"]), (&json!("socA build-123"), &json!(null)));
        assert!(nightly["next_at"].as_str().is_some_and(|at| at.contains("T03:00:00")), "{all}");
        for _ in 0..2 {
            let (status, is) = call(lab, "POST", "/api/v1/schedules/nightly/pause", &[&admin()], "").await;
            assert_eq!(
                (status, &is["paused"], &is["paused_by"]),
                (200, &json!(true), &json!("api:admin")),
                "{is}"
            );
            assert_eq!(is["next_at"], json!(null));
        }
        assert!(lab.say("alice", "/lab schedules").await.contains("nightly"));
        let user = make(lab, &["reader"]).await;
        let user = format!("Authorization: Bearer {user}");
        let resume = "/api/v1/schedules/nightly/resume";
        assert_eq!(call(lab, "GET", "/api/v1/schedules", &[&user], "").await.0, 200);
        assert_eq!(call(lab, "POST", resume, &[&user], "").await.0, 403);
        let (status, is) = call(lab, "POST", resume, &[&admin()], "").await;
        assert_eq!((status, &is["paused"]), (200, &json!(false)), "{is}");
        let (status, none) = call(lab, "POST", "/api/v1/schedules/nightli/pause", &[&admin()], "").await;
        assert_eq!((status, &none["near"]), (404, &json!(["nightly"])), "{none}");
        assert_eq!(call(lab, "POST", "/api/v1/schedules/nightly/explode", &[&admin()], "").await.0, 422);
        let audit = "SELECT actor, target, allowed FROM audit WHERE verb = 'schedules' ORDER BY position";
        assert_eq!(
            lab.rows(audit).await,
            [
                "api:admin | nightly pause | 1",
                "api:admin | nightly pause | 1",
                "api:reader | nightly | 0",
                "api:admin | nightly resume | 1"
            ]
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_makes_a_schedule_of_its_own_which_starts_runs_and_is_removed() {
    let schedules = "schedules:\n  nightly: {cron: '0 3 * * *', run: 'socA build-123'}\n";
    lab(&(yaml::small(1) + schedules), async |lab| {
        let put = async |name: &str, body: &str, token: &str| {
            call(lab, "PUT", &format!("/api/v1/schedules/{name}"), &[token], body).await
        };
        let often =
            r#"{"cron": "* * * * *", "run": "socA build-7 suite=smoke", "start_within": "2m", "zone": null}"#;
        for (body, says) in [
            (r#"{"cron": "0 25 * * *", "run": "socA build-7"}"#, "cron \"0 25 * * *\" is none"),
            (r#"{"cron": "0 2 * * *"}"#, "missing key \"run\""),
            (
                r#"{"cron": "0 2 * * *", "run": "socX build-7"}"#,
                "there is no family and no board \"socX\"; did you mean \"socA\"?",
            ),
            (r#"{"cron": "0 2 * * *", "run": "socA ${HOME}"}"#, "${HOME}"),
            (
                r#"{"cron": "0 2 * * *", "run": "socA build-7", "zone": "Europe/Berlim"}"#,
                "did you mean \"Europe/Berlin\"?",
            ),
            (r#"{"crom": "0 2 * * *", "run": "socA build-7"}"#, "did you mean \"cron\"?"),
        ] {
            let (status, odd) = put("soak", body, &admin()).await;
            let detail = odd["detail"].as_str().unwrap_or_default();
            assert!(status == 422 && detail.contains(says), "{body}: {status} {odd}");
        }
        assert_eq!(put("no%20name", often, &admin()).await.0, 422);
        let (status, taken) = put("Nightly", often, &admin()).await;
        assert_eq!((status, &taken["title"]), (409, &json!("boards.yaml has this schedule")), "{taken}");
        let user = make(lab, &["reader"]).await;
        let user = format!("Authorization: Bearer {user}");
        assert_eq!(put("soak", often, &user).await.0, 403);

        let (status, made) = put("soak", often, &admin()).await;
        assert_eq!((status, &made["made_by"]), (201, &json!("api:admin")), "{made}");
        let (status, anew) = put("soak", often, &admin()).await;
        assert_eq!((status, &anew), (200, &made), "the same again");
        let (_, all) = call(lab, "GET", "/api/v1/schedules", &[&admin()], "").await;
        let names: Vec<&serde_json::Value> =
            all["items"].as_array().into_iter().flatten().map(|one| &one["name"]).collect();
        assert_eq!(names, ["nightly", "soak"]);
        assert_eq!(all["items"][0]["made_by"], json!(null));
        let listed = lab.say("alice", "/lab schedules").await;
        assert!(listed.contains("soak") && listed.contains("made by"), "{listed}");
        // It is there after a restart, and the file's next version takes a name that it wants.
        lab.restart().await;
        let (status, _) = call(lab, "POST", "/api/v1/schedules/soak/pause", &[&admin()], "").await;
        assert_eq!(status, 200);
        let (status, gone) = call(lab, "DELETE", "/api/v1/schedules/soak", &[&admin()], "").await;
        assert_eq!((status, &gone), (200, &json!({"name": "soak", "state": "removed"})));
        assert_eq!(call(lab, "DELETE", "/api/v1/schedules/soak", &[&admin()], "").await.0, 404);
        let (status, kept) = call(lab, "DELETE", "/api/v1/schedules/nightly", &[&admin()], "").await;
        assert_eq!((status, &kept["title"]), (409, &json!("boards.yaml has this schedule")));
        let audit = "SELECT actor, target, allowed FROM audit WHERE verb = 'schedules' ORDER BY position";
        assert_eq!(
            lab.rows(audit).await,
            [
                "api:reader | soak | 0",
                "api:admin | soak make: * * * * * UTC socA build-7 suite=smoke | 1",
                "api:admin | soak make: * * * * * UTC socA build-7 suite=smoke | 1",
                "api:admin | soak pause | 1",
                "api:admin | soak remove | 1",
                "api:admin | soak remove | 1",
                "api:admin | nightly remove | 1",
            ]
        );
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_one_family_makes_no_schedule_of_another_however_it_is_written() {
    let schedules = "schedules:\n  nightly: {cron: '0 3 * * *', run: 'suite=smoke socB build-123'}\n";
    let text = yaml::small(1).replace("socB: {}", "socB: {suites: {smoke: linux-smoke}}");
    lab(&(text + schedules), async |lab| {
        let scoped = make(lab, &["scoped", "--role", "operator", "--scope", "family:socA"]).await;
        let scoped = format!("Authorization: Bearer {scoped}");
        let put = async |name: &str, run: &str, token: &str| {
            let body = json!({ "cron": "0 4 * * *", "run": run }).to_string();
            call(lab, "PUT", &format!("/api/v1/schedules/{name}"), &[token], &body).await.0
        };
        for run in ["socB build-1", "suite=smoke socB build-1", "\"socB\" build-1", "soc-b-001 build-1"] {
            assert_eq!(put("soak", run, &scoped).await, 403, "{run}");
        }
        assert_eq!(put("soak", "suite=smoke socA build-1", &scoped).await, 201);
        // Nor does it change, pause or remove what starts runs of another.
        assert_eq!(put("theirs", "suite=smoke socB build-1", &admin()).await, 201);
        assert_eq!(put("theirs", "socA build-1", &scoped).await, 403);
        for path in ["theirs/pause", "nightly/pause"] {
            let path = format!("/api/v1/schedules/{path}");
            assert_eq!(call(lab, "POST", &path, &[&scoped], "").await.0, 403, "{path}");
        }
        assert_eq!(call(lab, "DELETE", "/api/v1/schedules/theirs", &[&scoped], "").await.0, 403);
        let own = r#"{"name": "mine", "build": "build-1", "boards_of": ["socB"]}"#;
        assert_eq!(call(lab, "POST", "/api/v1/campaigns", &[&scoped], own).await.0, 403);
        // What is asked again under its key is answered as it was.
        let key = "Idempotency-Key: once";
        for _ in 0..2 {
            let (status, gone) = call(lab, "DELETE", "/api/v1/schedules/soak", &[&scoped, key], "").await;
            assert_eq!((status, &gone["state"]), (200, &json!("removed")), "{gone}");
        }
        assert_eq!(put("soak", "socA build-1", &scoped).await, 201);
        let (status, left) = call(lab, "DELETE", "/api/v1/tokens/scoped", &[&admin()], "").await;
        assert_eq!((status, &left["schedules"]), (200, &json!(["soak"])), "{left}");
        lab.read_all();
    })
    .await;
}
