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
