//! Tokens of the API: made by an admin, known by their hash, held to their role and scope by the policy of chat, and
//! over when they are revoked or their time is.

use serde_json::{Value, json};

use super::{call, command, ended};
use crate::lab::{ADMIN_TOKEN, Lab, WITHIN, lab, yaml};

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

/// A token, as an admin makes one at a terminal.
pub(super) async fn make(lab: &Lab, args: &[&str]) -> String {
    let (code, out, err) = ended(&command(lab, ADMIN_TOKEN, &[&["token", "create"], args].concat()).await);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{args:?}");
    out.trim_end().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_one_family_takes_no_board_that_has_left_the_lab_file() {
    let led = |boards| yaml::small(boards) + "roles: {admin: [slack:U0LEAD]}\n";
    lab(&led(2), async |lab| {
        let [scoped, all] = [
            make(lab, &["scoped", "--role", "operator", "--scope", "family:socB"]).await,
            make(lab, &["all", "--role", "operator"]).await,
        ];
        lab.say("alice", "/lab reserve soc-a-002 2h").await;
        lab.write_lab(&led(1));
        lab.say("lead", "/lab reload").await;
        lab.answers_until("lead", "is in force").await;
        let typed = r#"{"text": "/lab release soc-a-002"}"#;
        assert_eq!(status(lab, &scoped, "POST", "/api/v1/commands", typed).await, 403);
        let (_, leases) = call(lab, "GET", "/api/v1/lease", &[&bearer(&scoped)], "").await;
        let url = leases["items"][0]["url"].as_str().expect("a lease").to_owned();
        assert_eq!(status(lab, &scoped, "DELETE", &url, "").await, 403);
        assert_eq!(status(lab, &all, "DELETE", &url, "").await, 200);
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

async fn status(lab: &Lab, token: &str, method: &str, path: &str, body: &str) -> u16 {
    call(lab, method, path, &[&bearer(token)], body).await.0
}

const RUN: &str = r#"{"family": "socA", "build": "build-123"}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_acts_in_its_name_and_is_kept_as_a_hash_only() {
    lab(&yaml::small(1), async |lab| {
        let token = make(lab, &["nightly"]).await;
        assert!(token.starts_with("boardhand_") && token.len() == 53, "{token}");
        let (code, accepted) = call(lab, "POST", "/api/v1/runs", &[&bearer(&token)], RUN).await;
        assert_eq!(code, 202, "{accepted}");
        lab.settle().await;
        let (_, run) = call(lab, "GET", "/api/v1/runs/1", &[&bearer(&token)], "").await;
        assert_eq!((&run["requested_by"], &run["verdict"]), (&json!("api:nightly"), &json!("passed")));
        assert!(lab.say("alice", "/lab run 1").await.contains("nightly"));
        let audit = "SELECT actor || ' ' || verb || ' ' || allowed || ' ' || source || ' ' || reason FROM audit";
        let audit = lab.rows(audit).await;
        assert_eq!(
            audit[..2],
            [
                "api:admin token 1 127.0.0.1 api:admin is the holder of the admin token and may make and revoke tokens",
                "api:nightly run-test 1 127.0.0.1 api:nightly is a user by its token and may start runs"
            ],
            "{audit:?}"
        );
        // Not one byte of it is in the database.
        let dump = std::fs::read(lab.data.path().join("boardhand.db")).expect("the database");
        let wal = std::fs::read(lab.data.path().join("boardhand.db-wal")).unwrap_or_default();
        let secret = &token.as_bytes()[10..30];
        assert!(![dump, wal].concat().windows(20).any(|window| window == secret));
        let (code, out, _) = ended(&command(lab, ADMIN_TOKEN, &["token", "list"]).await);
        assert_eq!(code, Some(0));
        assert!(out.starts_with("nightly              live     user      everything, used 20"), "{out}");
        assert!(!out.contains("boardhand_"));
        // Used a hundred times, kept once.
        let used = lab.rows("SELECT used_at FROM tokens").await;
        for _ in 0..5 {
            assert_eq!(status(lab, &token, "GET", "/api/v1/boards", "").await, 200);
        }
        assert_eq!(lab.rows("SELECT used_at FROM tokens").await, used);
        let (code, out, _) = ended(&command(lab, ADMIN_TOKEN, &["token", "revoke", "nightly"]).await);
        assert_eq!((code, out.as_str()), (Some(0), "nightly is revoked\n"));
        assert_eq!(status(lab, &token, "GET", "/api/v1/boards", "").await, 401);
        assert_eq!(ended(&command(lab, ADMIN_TOKEN, &["token", "revoke", "nightly"]).await).0, Some(2));
        // The name is free again; the old token is not.
        let next = make(lab, &["nightly"]).await;
        assert_ne!(next, token);
        assert_eq!(status(lab, &next, "GET", "/api/v1/boards", "").await, 200);
        assert_eq!(status(lab, &token, "GET", "/api/v1/boards", "").await, 401);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_held_to_its_role_and_its_scope() {
    let closed = format!("{}roles: {{admin: [slack:U0LEAD], user: [\"*\"]}}\n", yaml::small(2));
    lab(&closed, async |lab| {
        let user = make(lab, &["ci"]).await;
        let operator = make(lab, &["ops", "--role", "operator"]).await;
        let runs =
            make(lab, &["a-runs", "--role", "operator", "--scope", "runs", "--scope", "family:socA"]).await;
        let reads = make(lab, &["wall", "--role", "admin", "--scope", "read"]).await;
        let out = "/api/v1/boards/soc-a-001/quarantine";
        let why = r#"{"reason": "x"}"#;
        let (code, problem) = call(lab, "POST", out, &[&bearer(&user)], why).await;
        assert_eq!(code, 403);
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.starts_with("only an operator may take boards out of service"), "{detail}");
        assert_eq!(status(lab, &runs, "POST", out, why).await, 403);
        assert_eq!(status(lab, &operator, "POST", out, why).await, 200);
        assert_eq!(status(lab, &operator, "POST", "/api/v1/boards/soc-a-001/return", "").await, 200);
        assert_eq!(status(lab, &user, "POST", "/api/v1/power/soc-a-001/off", "").await, 403);
        assert_eq!(status(lab, &user, "POST", "/api/v1/power/soc-a-001/status?wait=60s", "").await, 200);
        assert_eq!(status(lab, &runs, "POST", "/api/v1/runs", RUN).await, 202);
        let other = r#"{"family": "socB", "build": "build-123"}"#;
        let (code, problem) = call(lab, "POST", "/api/v1/runs", &[&bearer(&runs)], other).await;
        assert_eq!(code, 403);
        assert_eq!(problem["detail"], "this token is not for that: it may not start runs here");
        assert_eq!(status(lab, &reads, "POST", "/api/v1/runs", RUN).await, 403);
        assert_eq!(status(lab, &reads, "GET", "/api/v1/runs", "").await, 200);
        // Somebody else's run is ended by an operator only.
        lab.settle().await;
        lab.run("alice", "/run-test socA build-crawl").await;
        assert_eq!(status(lab, &user, "DELETE", "/api/v1/runs/2", "").await, 403);
        assert_eq!(status(lab, &runs, "DELETE", "/api/v1/runs/2", "").await, 202);
        // Tokens are the admins' business.
        for token in [&user, &operator, &reads] {
            for (method, path) in [("GET", "/api/v1/tokens"), ("DELETE", "/api/v1/tokens/ci")] {
                assert_eq!(status(lab, token, method, path, "").await, 403, "{method} {path}");
            }
        }
        let refused = "SELECT count(*) FROM audit WHERE verb = 'token' AND allowed = 0";
        assert_eq!(lab.rows(refused).await, ["6"]);
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_outlives_its_maker_and_a_revoked_one_tells_what_it_leaves() {
    lab(&yaml::small(2), async |lab| {
        let post = async |token: &str, body: Value| {
            call(lab, "POST", "/api/v1/tokens", &[&bearer(token)], &body.to_string()).await.1
        };
        let deputy = post(ADMIN_TOKEN, json!({ "name": "deputy", "role": "admin", "expires": "2h" })).await;
        let until = deputy["expires_at"].as_str().expect("an end").to_owned();
        let deputy = deputy["token"].as_str().expect("a token").to_owned();
        for (name, expires) in [("for-ever", json!(null)), ("longer", json!("30d"))] {
            let made = post(&deputy, json!({ "name": name, "role": "admin", "expires": expires })).await;
            assert_eq!(made["expires_at"], json!(until), "{made}");
        }
        let sooner = post(&deputy, json!({ "name": "sooner", "expires": "1h" })).await;
        assert!(sooner["expires_at"].as_str().is_some_and(|at| at < until.as_str()), "{sooner}");
        // One that it made made another; it has a board, and waits for one.
        let longer = command(lab, ADMIN_TOKEN, &["token", "revoke", "for-ever"]).await;
        assert_eq!(ended(&longer).1, "for-ever is revoked\n");
        let grand = post(&deputy, json!({ "name": "for-ever", "role": "admin" })).await;
        let grand = grand["token"].as_str().expect("a token").to_owned();
        post(&grand, json!({ "name": "grandchild" })).await;
        let lease = async |body: Value| {
            call(lab, "POST", "/api/v1/lease", &[&bearer(&deputy)], &body.to_string()).await.0
        };
        assert_eq!(lease(json!({ "board_id": "soc-a-001" })).await, 201);
        lab.say("alice", "/lab reserve soc-a-002 1h").await;
        assert_eq!(lease(json!({ "board_id": "soc-a-002", "queue": true })).await, 202);
        let once = "Idempotency-Key: revoke-deputy";
        let revoke = async || {
            call(lab, "DELETE", "/api/v1/tokens/deputy", &[&bearer(ADMIN_TOKEN), once], "").await
        };
        let (code, left) = revoke().await;
        assert_eq!(
            (code, &left["made"]),
            (200, &json!(["for-ever", "longer", "sooner", "grandchild"])),
            "{left}"
        );
        let leases: Vec<Value> = left["leases"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|lease| json!([lease["board_id"], lease["wanted"], lease["status"]]))
            .collect();
        assert_eq!(
            leases,
            [json!(["soc-a-001", null, "active"]), json!([null, "soc-a-002", "waiting"])],
            "{left}"
        );
        assert_eq!(revoke().await.0, 200, "the same key is answered as it was");
        assert_eq!(status(lab, ADMIN_TOKEN, "DELETE", "/api/v1/tokens/deputy", "").await, 404, "another finds none");
        // An operator brings order into it.
        let said = async |args: &[&str]| ended(&command(lab, ADMIN_TOKEN, args).await);
        assert_eq!(said(&["release", "soc-a-001"]).await.1, "soc-a-001 is given back\n");
        let (_, all) = call(lab, "GET", "/api/v1/lease", &[&bearer(ADMIN_TOKEN)], "").await;
        let place = all["items"].as_array().into_iter().flatten().find(|row| row["status"] == "waiting");
        let url = place.and_then(|place| place["url"].as_str()).expect("a place in line").to_owned();
        let user = post(ADMIN_TOKEN, json!({ "name": "somebody" })).await;
        assert_eq!(status(lab, user["token"].as_str().unwrap_or_default(), "DELETE", &url, "").await, 403);
        assert_eq!(lab.rows("SELECT count(*) FROM reservations").await, ["1"]);
        let (code, gone) = call(lab, "DELETE", &url, &[&bearer(ADMIN_TOKEN)], "").await;
        assert_eq!((code, &gone["status"]), (200, &json!("released")), "{gone}");
        assert_eq!(lab.rows("SELECT count(*) FROM reservations").await, ["0"]);
        let audit = "SELECT actor || ' ' || allowed FROM audit WHERE verb = 'release' AND target = 'soc-a-002' ORDER BY rowid";
        assert_eq!(lab.rows(audit).await, ["api:somebody 0", "api:admin 1"]);
        // Somebody of the chat is told who did it.
        lab.say("bob", "/lab reserve soc-a-002 1h").await;
        let (_, all) = call(lab, "GET", "/api/v1/lease", &[&bearer(ADMIN_TOKEN)], "").await;
        let place = all["items"].as_array().into_iter().flatten().find(|row| row["status"] == "waiting");
        let url = place.and_then(|place| place["url"].as_str()).expect("a place in line").to_owned();
        assert_eq!(call(lab, "DELETE", &url, &[&bearer(ADMIN_TOKEN)], "").await.0, 200);
        lab.say("alice", "/lab release").await;
        lab.settle().await;
        let told = lab.rows("SELECT note->>'template' || ' ' || (note->>'$.facts.taken_by.id') FROM outbox WHERE note->>'template' = 'unreserved' ORDER BY rowid DESC LIMIT 1").await;
        assert_eq!(told, ["unreserved admin"]);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_token_can_be_is_refused_and_nobody_hands_out_more_than_they_have() {
    lab(&yaml::small(1), async |lab| {
        let post = async |token: &str, body: Value| {
            call(lab, "POST", "/api/v1/tokens", &[&bearer(token)], &body.to_string()).await
        };
        for none in [
            json!({ "name": "admin" }),
            json!({ "name": "ADMIN" }),
            json!({ "name": "a b" }),
            json!({ "name": "" }),
            json!({ "name": "x", "role": "root" }),
            json!({ "name": "x", "scope": ["run"] }),
            json!({ "name": "x", "expires": "0d" }),
            json!({ "name": "x", "expires": "99999999d" }),
            json!({ "name": "x", "secret": "y" }),
        ] {
            assert_eq!(post(ADMIN_TOKEN, none.clone()).await.0, 422, "{none}");
        }
        let (code, made) = post(ADMIN_TOKEN, json!({ "name": "Deputy", "role": "admin", "scope": ["admin", "runs"] })).await;
        assert_eq!((code, &made["name"]), (201, &json!("deputy")));
        let deputy = made["token"].as_str().expect("a token").to_owned();
        assert_eq!(post(&deputy, json!({ "name": "x", "role": "admin" })).await.0, 403);
        assert_eq!(post(&deputy, json!({ "name": "x", "scope": ["boards"] })).await.0, 403);
        assert_eq!(post(&deputy, json!({ "name": "x", "scope": ["runs"] })).await.0, 201);
        let (code, problem) = post(ADMIN_TOKEN, json!({ "name": "x" })).await;
        assert_eq!((code, problem["detail"].as_str()), (409, Some("there is a token \"x\"; revoke it first")));
        // One whose time is over opens nothing, and its name is free.
        let (_, made) = post(ADMIN_TOKEN, json!({ "name": "short", "expires": "1s" })).await;
        let short = made["token"].as_str().expect("a token").to_owned();
        let over = async {
            while status(lab, &short, "GET", "/api/v1/boards", "").await == 200 {
                lab.clock.sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        lab.clock.timeout(WITHIN, over).await.expect("it is over");
        assert_eq!(post(ADMIN_TOKEN, json!({ "name": "short" })).await.0, 201);
        let full = "INSERT INTO tokens (name, hash, role, scope, made_by, made_at) \
                    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) \
                    SELECT 'n' || i, 'h' || i, 'user', '[]', 'x', 0 FROM n WHERE i <= 1000 - (SELECT count(*) FROM tokens)";
        crate::lab::look::tamper(lab.data.path(), full).await;
        assert_eq!(post(ADMIN_TOKEN, json!({ "name": "one-more" })).await.0, 409);
    })
    .await;
}
