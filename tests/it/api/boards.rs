//! Boards over the API: out of service, back, and switched, with the permission, the audit and the lease that people's
//! commands have; and the commands that use it.

use boardhand::door::OTHERS_WAITING_MAX;
use serde_json::json;

use super::{admin, call, command, ended};
use crate::lab::{ADMIN_TOKEN, lab, yaml};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_leaves_service_and_comes_back() {
    lab(&yaml::small(2), async |lab| {
        let out = "/api/v1/boards/SOC-A-001/quarantine";
        let (status, board) = call(lab, "POST", out, &[&admin()], r#"{"reason": "the fan  is\ndead"}"#).await;
        let seen = |board: &serde_json::Value| json!([board["state"], board["reason"], board["changed"]]);
        assert_eq!((status, seen(&board)), (200, json!(["quarantined", "the fan is dead", true])));
        let (status, board) = call(lab, "POST", out, &[&admin()], r#"{"reason": "another"}"#).await;
        assert_eq!((status, seen(&board)), (200, json!(["quarantined", "the fan is dead", false])));
        assert!(lab.say("alice", "/lab board soc-a-001").await.contains("the fan is dead"));
        for none in ["{}", r#"{"reason": " "}"#, r#"{"reason": "x", "why": "y"}"#, "x"] {
            assert_eq!(call(lab, "POST", out, &[&admin()], none).await.0, 422, "{none}");
        }
        let back = "/api/v1/boards/soc-a-001/return";
        let (status, board) = call(lab, "POST", back, &[&admin()], "").await;
        assert_eq!((status, seen(&board)), (200, json!(["free", null, true])));
        assert_eq!(call(lab, "POST", back, &[&admin()], "").await.1["changed"], json!(false));
        let (status, problem) = call(lab, "POST", "/api/v1/boards/soc-a-02/return", &[&admin()], "").await;
        assert_eq!((status, &problem["near"]), (404, &json!(["soc-a-002"])));
        for path in [out, back, "/api/v1/power/soc-a-001/off"] {
            assert_eq!(call(lab, "POST", path, &[], r#"{"reason": "x"}"#).await.0, 401, "{path}");
        }
        lab.settle().await;
        let audit =
            "SELECT actor || ' ' || verb || ' ' || target || ' ' || allowed FROM audit ORDER BY rowid";
        assert_eq!(
            lab.rows(audit).await[..3],
            [
                "api:admin quarantine soc-a-001 the fan is dead 1",
                "api:admin quarantine soc-a-001 another 1",
                "api:admin return soc-a-001 1"
            ]
        );
        let said = async |args: &[&str]| ended(&command(lab, ADMIN_TOKEN, args).await);
        let (code, out, _) = said(&["quarantine", "soc-a-001", "no", "network"]).await;
        assert_eq!((code, out.as_str()), (Some(0), "soc-a-001 is out of service: no network\n"));
        assert_eq!(said(&["return", "soc-a-001"]).await.1, "soc-a-001 is in service\n");
        assert_eq!(said(&["return", "soc-a-01"]).await.0, Some(2));
        lab.settle().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_or_a_site_drains_until_somebody_ends_it() {
    lab(&yaml::small(2), async |lab| {
        let drains = "/api/v1/drains";
        let begin = async |body: &str| call(lab, "POST", drains, &[&admin()], body).await;
        let (status, drain) = begin(r#"{"site": "lab site a", "reason": "the rack", "lasts": "2h"}"#).await;
        let seen = json!([
            drain["kind"],
            drain["name"],
            drain["reason"],
            drain["by"],
            drain["boards"],
            drain["on_it"]
        ]);
        let boards = json!(["soc-a-001", "soc-a-002"]);
        assert_eq!((status, seen), (201, json!(["site", "Lab Site A", "the rack", "api:admin", boards, []])));
        assert!(drain["until"].is_string() && drain["since"].is_string(), "{drain}");
        let board = call(lab, "GET", "/api/v1/boards/soc-a-001", &[&admin()], "").await.1;
        let draining = &board["draining"];
        let seen = json!([board["state"], draining["kind"], draining["name"], draining["reason"]]);
        assert_eq!(seen, json!(["free", "site", "Lab Site A", "the rack"]));
        let board = call(lab, "GET", "/api/v1/boards/soc-b-001", &[&admin()], "").await.1;
        assert_eq!(board["draining"], json!(null));
        for (wrong, status, near) in [
            ("{}", 422, json!(null)),
            (r#"{"board": "soc-a-001", "site": "Lab Site A"}"#, 422, json!(null)),
            (r#"{"board": "soc-a-01"}"#, 404, json!(["soc-a-001"])),
            (r#"{"site": "Lab Site"}"#, 404, json!(["Lab Site A"])),
            (r#"{"board": "soc-a-001", "lasts": "long"}"#, 422, json!(null)),
            (r#"{"board": "soc-a-001", "lasts": "5s"}"#, 422, json!(null)),
        ] {
            let (is, problem) = begin(wrong).await;
            assert_eq!(
                (is, problem.get("near").unwrap_or(&json!(null))),
                (status, &near),
                "{wrong}: {problem}"
            );
        }
        let one = format!("{drains}/{}", drain["drain_id"]);
        assert_eq!(call(lab, "DELETE", &one, &[], "").await.0, 401);
        assert_eq!(call(lab, "DELETE", &one, &[&admin()], "").await.0, 200);
        assert_eq!(call(lab, "DELETE", &one, &[&admin()], "").await.0, 404);
        assert_eq!(call(lab, "GET", drains, &[&admin()], "").await.1["items"], json!([]));

        // A repeat is told what it began, and never of another.
        let (token, body) = (admin(), r#"{"board": "soc-a-001"}"#);
        let keyed = [token.as_str(), "Idempotency-Key: one"];
        let (status, first) = call(lab, "POST", drains, &keyed, body).await;
        assert_eq!(status, 201, "{first}");
        let (status, again) = call(lab, "POST", drains, &keyed, body).await;
        assert_eq!((status, &again["drain_id"]), (201, &first["drain_id"]));
        let one = format!("{drains}/{}", first["drain_id"]);
        assert_eq!(call(lab, "DELETE", &one, &[&token], "").await.0, 200);
        assert_eq!(call(lab, "POST", drains, &keyed, body).await.0, 409);
        let (_, other) = call(lab, "POST", drains, &[&token], body).await;
        let (status, problem) = call(lab, "POST", drains, &keyed, body).await;
        assert_eq!((status, &problem["title"]), (409, &json!("this drain is over")));
        let other = format!("{drains}/{}", other["drain_id"]);
        assert_eq!(call(lab, "DELETE", &other, &[&token], "").await.0, 200);

        let said = async |args: &[&str]| ended(&command(lab, ADMIN_TOKEN, args).await);
        let (code, out, _) = said(&["drain", "soc-a-001", "--reason", "a new fan"]).await;
        assert_eq!((code, out.as_str()), (Some(0), "soc-a-001 drains: a new fan; nothing is on it\n"));
        assert_eq!(said(&["drains"]).await.1, "soc-a-001 drains: a new fan; nothing is on it\n");
        assert_eq!(said(&["undrain", "SOC-A-001"]).await.1, "soc-a-001 takes new work again\n");
        assert_eq!(said(&["undrain", "soc-a-001"]).await.0, Some(2));
        let (code, out, _) = said(&["drain", "--site", "Lab Site A", "--for", "2h"]).await;
        assert!(code == Some(0) && out.starts_with("Lab Site A drains until "), "{out}");
        lab.settle().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_request_is_followed_to_its_end() {
    lab(&yaml::small(2), async |lab| {
        let switch = "/api/v1/power/soc-a-001/on?wait=60s";
        let (status, done) = call(lab, "POST", switch, &[&admin()], "").await;
        assert_eq!((status, &done["state"], &done["outlet"]), (200, &json!("done"), &json!("on")), "{done}");
        assert_eq!((&done["requested_by"], &done["detail"]), (&json!("api:admin"), &json!(null)));
        let url = done["url"].as_str().expect("an address");
        assert_eq!(call(lab, "GET", url, &[&admin()], "").await.1, done);
        assert_eq!(call(lab, "GET", url, &[], "").await.0, 401);
        // The same key again is the same request: nothing is switched twice.
        let key = "Idempotency-Key: cycle-1";
        let (status, first) = call(lab, "POST", "/api/v1/power/soc-a-001/cycle", &[&admin(), key], "").await;
        let again = call(lab, "POST", "/api/v1/power/soc-a-001/cycle?wait=60s", &[&admin(), key], "").await;
        assert_eq!((status, again.0, &again.1["power_id"]), (202, 200, &first["power_id"]));
        assert_eq!(lab.rows("SELECT count(*) FROM errands").await, ["2"]);
        let (status, problem) = call(lab, "POST", "/api/v1/power/soc-a-001/cycl", &[&admin()], "").await;
        assert_eq!((status, &problem["near"]), (422, &json!(["cycle"])), "{problem}");
        let (status, problem) = call(lab, "POST", "/api/v1/power/soc-b-001/on", &[&admin()], "").await;
        assert_eq!(status, 422, "{problem}");
        let unknown = "/api/v1/power/01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(call(lab, "GET", unknown, &[&admin()], "").await.0, 404);
        let leases = "SELECT count(*) FROM leases WHERE board = 'soc-a-001' AND state = 'released'";
        assert_eq!(lab.rows(leases).await, ["2"], "each under a lease of its own");
        // What somebody has is theirs.
        lab.say("alice", "/lab reserve soc-a-002 1h bring-up").await;
        let (status, problem) = call(lab, "POST", "/api/v1/power/soc-a-002/off", &[&admin()], "").await;
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert_eq!(status, 409);
        assert!(detail.starts_with("soc-a-002 is with alice until 20"), "{detail}");
        let body = r#"{"reason": "x"}"#;
        let refused = call(lab, "POST", "/api/v1/boards/soc-a-002/quarantine", &[&admin()], body).await;
        assert_eq!((refused.0, refused.1["detail"].as_str()), (409, Some(detail)));
        let said = async |args: &[&str]| ended(&command(lab, ADMIN_TOKEN, args).await);
        assert_eq!(said(&["power", "soc-a-001", "off"]).await.1, "soc-a-001 off done: off\n");
        let (code, out, _) = said(&["power", "soc-a-001", "status", "--json"]).await;
        let read: serde_json::Value = serde_json::from_str(&out).expect("JSON alone");
        assert_eq!((code, &read["outlet"]), (Some(0), &json!("off")));
        let (code, _, err) = said(&["power", "soc-a-002", "off"]).await;
        assert_eq!(code, Some(2));
        assert!(err.contains("is with alice"), "{err}");
        lab.say("alice", "/lab release").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[test]
fn so_many_wait_for_power_or_a_board_and_one_more_is_answered_at_once() {
    let waits = boardhand::door::Waits::default();
    let mut places: Vec<_> = (0..OTHERS_WAITING_MAX).map(|_| waits.enter().expect("a place")).collect();
    assert!(waits.enter().is_none(), "there is no room");
    places.pop();
    assert!(waits.enter().is_some(), "who gives up makes room");
}
