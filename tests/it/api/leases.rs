//! Boards of one's own over the API: at once, in turn, for longer and given back; and whoever goes away waits no more.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{admin, call, command, ended};
use crate::lab::{ADMIN_TOKEN, Lab, WITHIN, lab, yaml};

async fn token(lab: &Lab, name: &str, role: &str) -> String {
    let args = ["token", "create", name, "--role", role];
    let (code, out, err) = ended(&command(lab, ADMIN_TOKEN, &args).await);
    assert_eq!(code, Some(0), "{err}");
    out.trim_end().to_owned()
}

async fn lease(lab: &Lab, token: &str, body: Value) -> (u16, Value) {
    let bearer = format!("Authorization: Bearer {token}");
    call(lab, "POST", "/api/v1/lease", &[&bearer], &body.to_string()).await
}

async fn nobody_waits(lab: &Lab) {
    let gone = async {
        while lab.rows("SELECT count(*) FROM reservations").await != ["0"] {
            lab.clock.sleep(Duration::from_millis(10)).await;
        }
    };
    lab.clock.timeout(WITHIN, gone).await.expect("nobody waits any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_has_a_board_keeps_it_and_gives_it_back() {
    lab(&yaml::small(1), async |lab| {
        let ci = token(lab, "ci", "user").await;
        let other = token(lab, "other", "user").await;
        let bearer = |token: &str| format!("Authorization: Bearer {token}");
        let wanted = json!({ "board_family": "socA", "timeout": 600, "reason": "soak", "worker_id": "w7" });
        let (status, mine) = lease(lab, &ci, wanted).await;
        assert_eq!(status, 201, "{mine}");
        let seen = json!([mine["board_id"], mine["holder"], mine["status"], mine["reason"], mine["fence"]]);
        assert_eq!(seen, json!(["soc-a-001", "api:ci", "active", "soak", 1]));
        assert_eq!(mine["board"]["state"], "held");
        assert_eq!(mine["console"], "/api/v1/boards/soc-a-001/console");
        assert!(lab.say("alice", "/lab board soc-a-001").await.contains("w7"));
        // Who asks again has it already.
        let (status, again) = lease(lab, &ci, json!({ "board_id": "soc-a-001" })).await;
        assert_eq!((status, &again["lease_id"]), (200, &mine["lease_id"]));
        // Nobody else gets it, neither a program nor a person.
        let url = mine["url"].as_str().expect("an address").to_owned();
        let (status, problem) = lease(lab, &other, json!({ "board_id": "soc-a-001" })).await;
        assert_eq!((status, problem["title"].as_str()), (503, Some("this board is not free")));
        assert!(lab.say("alice", "/lab reserve soc-a-001").await.contains("place 1"));
        lab.say("alice", "/lab release").await;
        let renew = format!("{url}/renew");
        let (status, longer) = call(lab, "POST", &renew, &[&bearer(&ci)], r#"{"timeout": 600}"#).await;
        assert_eq!(status, 200, "{longer}");
        assert!(longer["expires_at"].as_str() > mine["expires_at"].as_str(), "{longer}");
        assert_eq!(call(lab, "POST", &renew, &[&bearer(&other)], "").await.0, 403);
        let too_long = call(lab, "POST", &renew, &[&bearer(&ci)], r#"{"timeout": 0}"#).await;
        assert_eq!(too_long.0, 422);
        // A run of the holder goes on it, and leaves it held.
        let run = r#"{"board": "soc-a-001", "build": "build-123"}"#;
        assert_eq!(call(lab, "POST", "/api/v1/runs", &[&bearer(&ci)], run).await.0, 202);
        let (_, run) = call(lab, "GET", "/api/v1/runs/1?wait=60s", &[&bearer(&ci)], "").await;
        assert_eq!((&run["verdict"], &run["board"]), (&json!("passed"), &json!("soc-a-001")), "{run}");
        let in_closed_lab = call(lab, "DELETE", &url, &[&bearer(&other)], "").await;
        assert_eq!(in_closed_lab.0, 403, "{}", in_closed_lab.1);
        let (status, gone) = call(lab, "DELETE", &url, &[&bearer(&ci)], "").await;
        assert_eq!((status, &gone["status"]), (200, &json!("released")), "{gone}");
        assert_eq!(call(lab, "GET", &url, &[&bearer(&other)], "").await.1["status"], "released");
        assert_eq!(call(lab, "DELETE", &url, &[&bearer(&ci)], "").await.0, 200, "given back before");
        assert_eq!(call(lab, "POST", &renew, &[&bearer(&ci)], "").await.0, 409);
        let unknown = "/api/v1/lease/01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(call(lab, "GET", unknown, &[&admin()], "").await.0, 404);
        for none in
            [json!({}), json!({ "board_id": "soc-a-001", "board_family": "socA" }), json!({ "board": "x" })]
        {
            assert_eq!(lease(lab, &ci, none.clone()).await.0, 422, "{none}");
        }
        lab.settle().await;
        let audit = lab.rows("SELECT verb FROM audit WHERE actor = 'api:ci' AND allowed = 1").await;
        assert_eq!(audit, ["reserve", "extend", "run-test", "release"]);
        // Nothing is owed to a program, and nothing of it is dead.
        assert_eq!(lab.rows("SELECT count(*) FROM outbox WHERE state = 'dead'").await, ["0"]);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_asks_again_without_a_key_has_the_place_that_it_has() {
    lab(&yaml::small(1), async |lab| {
        let ci = token(lab, "ci", "user").await;
        lab.say("alice", "/lab reserve soc-a-001 1h bring-up").await;
        let wanted = |worker: &str| json!({ "board_family": "socA", "queue": true, "worker_id": worker });
        let mut places = Vec::new();
        for worker in ["w1", "w1", "w2", ""] {
            let (status, place) = lease(lab, &ci, wanted(worker)).await;
            assert_eq!(status, 202, "{place}");
            places.push(place["lease_id"].clone());
        }
        assert_eq!(places[0], places[1]);
        assert_eq!(lab.rows("SELECT count(*) FROM reservations").await, ["3"]);
        // Whoever waits for the place of that worker and goes away does not give it up: somebody was told of it.
        let waits = json!({ "board_family": "socA", "wait": 1, "worker_id": "w1" });
        let (status, place) = lease(lab, &ci, waits).await;
        assert_eq!((status, &place["lease_id"]), (202, &places[0]), "{place}");
        let bearer = format!("Authorization: Bearer {ci}");
        for place in &places[1..] {
            let url = format!("/api/v1/lease/{}", place.as_str().expect("an id"));
            assert_eq!(call(lab, "DELETE", &url, &[&bearer], "").await.0, 200);
        }
        nobody_waits(lab).await;
        lab.say("alice", "/lab release").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_gets_it_in_turn_and_whoever_goes_away_waits_no_more() {
    lab(&yaml::small(1), async |lab| {
        let (ci, other) = (token(lab, "ci", "user").await, token(lab, "other", "user").await);
        let bearer = format!("Authorization: Bearer {ci}");
        lab.say("alice", "/lab reserve soc-a-001 1h bring-up").await;
        // A wait that is over without a board leaves nothing behind.
        let (status, problem) = lease(lab, &ci, json!({ "board_family": "socA", "wait": 1 })).await;
        assert_eq!(status, 503, "{problem}");
        nobody_waits(lab).await;
        // In line, with a place.
        let (status, place) = lease(lab, &ci, json!({ "board_id": "soc-a-001", "queue": true })).await;
        assert_eq!(
            (status, &place["status"], &place["wanted"]),
            (202, &json!("waiting"), &json!("soc-a-001"))
        );
        let url = place["url"].as_str().expect("an address");
        let placed = async {
            while call(lab, "GET", url, &[&bearer], "").await.1["position"] != "1" {
                lab.clock.sleep(Duration::from_millis(10)).await;
            }
        };
        lab.clock.timeout(WITHIN, placed).await.expect("the first place");
        let (_, list) = call(lab, "GET", "/api/v1/lease", &[&admin()], "").await;
        let rows: Vec<Value> = list["items"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|row| json!([row["holder"], row["status"]]))
            .collect();
        assert_eq!(rows, [json!(["slack:U0ALICE", "active"]), json!(["api:ci", "waiting"])]);
        let (status, left) = call(lab, "DELETE", url, &[&bearer], "").await;
        assert_eq!((status, &left["status"]), (200, &json!("released")));
        nobody_waits(lab).await;
        // One that is held back until the board is there.
        let waiting = lease(lab, &ci, json!({ "board_id": "soc-a-001", "wait": 100 }));
        let ((status, mine), ()) = tokio::join!(waiting, async {
            while lab.rows("SELECT count(*) FROM reservations").await != ["1"] {
                lab.clock.sleep(Duration::from_millis(5)).await;
            }
            lab.say("alice", "/lab release").await;
        });
        assert_eq!((status, &mine["holder"]), (201, &json!("api:ci")), "{mine}");
        // Whoever hangs up waits no more.
        let mut hangs_up = tokio::process::Command::new("curl");
        hangs_up.args(["-sS", "-d", r#"{"board_id": "soc-a-001", "wait": 100}"#, "-H"]);
        hangs_up.args([&format!("Authorization: Bearer {other}"), &format!("{}/api/v1/lease", lab.door)]);
        let mut hung_up = hangs_up.kill_on_drop(true).spawn().expect("curl");
        let waits = async {
            while lab.rows("SELECT count(*) FROM reservations").await != ["1"] {
                lab.clock.sleep(Duration::from_millis(5)).await;
            }
        };
        lab.clock.timeout(WITHIN, waits).await.expect("it waits");
        hung_up.kill().await.expect("it is ended");
        nobody_waits(lab).await;
        let url = mine["url"].as_str().expect("an address");
        assert_eq!(call(lab, "DELETE", url, &[&bearer], "").await.0, 200);
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_reserve_and_release() {
    lab(&yaml::small(2), async |lab| {
        let said = async |args: &[&str]| ended(&command(lab, ADMIN_TOKEN, args).await);
        let (code, out, err) = said(&["reserve", "soc-a-001", "--for", "1h", "--reason", "soak"]).await;
        assert_eq!(code, Some(0), "{err}");
        assert!(
            out.starts_with("soc-a-001        api:admin until 20") && out.ends_with("Z: soak\n"),
            "{out}"
        );
        lab.say("alice", "/lab reserve soc-a-002 1h").await;
        let (code, _, err) = said(&["reserve", "soc-a-002", "--no-wait"]).await;
        assert_eq!(code, Some(3));
        assert!(err.contains("soc-a-002 is not free; ask again in"), "{err}");
        let (_, out, _) = said(&["leases"]).await;
        assert_eq!(out.lines().count(), 2, "{out}");
        let (_, out, _) = said(&["leases", "--mine", "--json"]).await;
        let mine: Value = serde_json::from_str(&out).expect("JSON alone");
        assert_eq!(mine["items"][0]["board_id"], "soc-a-001");
        assert_eq!(said(&["extend", "soc-a-001", "30m"]).await.0, Some(0));
        let waiting = command(lab, ADMIN_TOKEN, &["reserve", "soc-a-002"]);
        let (waited, ()) = tokio::join!(waiting, async {
            while lab.rows("SELECT count(*) FROM reservations").await != ["1"] {
                lab.clock.sleep(Duration::from_millis(5)).await;
            }
            lab.say("alice", "/lab release").await;
        });
        let (code, out, err) = ended(&waited);
        assert!(code == Some(0) && out.starts_with("soc-a-002 "), "{out}{err}");
        assert!(err.starts_with("soc-a-002        api:admin waits"), "{err}");
        assert_eq!(said(&["release"]).await.2, "boardhand: say which: soc-a-001, soc-a-002\n");
        assert_eq!(said(&["release", "soc-a-002"]).await.1, "soc-a-002 is given back\n");
        assert_eq!(said(&["release"]).await.1, "soc-a-001 is given back\n");
        assert_eq!(said(&["release"]).await.0, Some(2));
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_reserves_ends_well_only_when_the_board_is_there() {
    lab(&yaml::small(1), async |lab| {
        lab.say("alice", "/lab reserve soc-a-001 1h").await;
        let waiting = command(lab, ADMIN_TOKEN, &["reserve", "soc-a-001"]);
        let (waited, ()) = tokio::join!(waiting, async {
            while lab.rows("SELECT count(*) FROM reservations").await != ["1"] {
                lab.clock.sleep(Duration::from_millis(5)).await;
            }
            let (_, mine) = call(lab, "GET", "/api/v1/lease?mine=true", &[&admin()], "").await;
            let url = mine["items"][0]["url"].as_str().expect("a place in line").to_owned();
            assert_eq!(call(lab, "DELETE", &url, &[&admin()], "").await.0, 200);
        });
        let (code, out, err) = ended(&waited);
        assert_eq!(code, Some(3), "{out}{err}");
        assert_eq!(out, "soc-a-001        api:admin is not in line any more\n");
        // What cannot be asked now says nothing of whether there is such a board.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let busy = async {
            let mut asked = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.expect("a request");
                let mut head = [0; 1024];
                let read = stream.read(&mut head).await.expect("a head");
                asked.extend(String::from_utf8_lossy(&head[..read]).lines().next().map(str::to_owned));
                let answer = "HTTP/1.1 503 x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(answer.as_bytes()).await.expect("an answer");
                if asked.len() > 1 {
                    return asked;
                }
            }
        };
        let mut reserve = tokio::process::Command::new(env!("CARGO_BIN_EXE_boardhand"));
        reserve.args(["reserve", "soc-a-001", "--server", &format!("http://{address}")]);
        reserve.env("BOARDHAND_TOKEN", ADMIN_TOKEN);
        tokio::select! {
            output = reserve.output() => {
                let (code, out, err) = ended(&output.expect("it runs"));
                assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
                assert!(err.contains("status 503") && !err.contains("family"), "{err}");
            }
            asked = busy => panic!("it asked on: {asked:?}"),
        }
        lab.say("alice", "/lab release").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

/// A request that waits for a board, by whoever may hang up.
fn waits(lab: &Lab, token: &str, key: &str, body: &str) -> tokio::process::Child {
    let mut curl = tokio::process::Command::new("curl");
    curl.args(["-sS", "-w", "\n%{http_code}", "-d", body, "-H", &format!("Authorization: Bearer {token}")]);
    curl.args(["-H", &format!("Idempotency-Key: {key}"), &format!("{}/api/v1/lease", lab.door)]);
    curl.stdout(std::process::Stdio::piped()).kill_on_drop(true).spawn().expect("curl")
}

async fn so_many_wait(lab: &Lab, count: &str) {
    let waits = async {
        while lab.rows("SELECT count(*) FROM reservations").await != [count] {
            lab.clock.sleep(Duration::from_millis(5)).await;
        }
    };
    lab.clock.timeout(WITHIN, waits).await.expect("so many wait");
}

/// Asks for a board under a key.
async fn keyed(lab: &Lab, token: &str, key: &str, body: Value) -> (u16, Value) {
    let headers = [format!("Authorization: Bearer {token}"), format!("Idempotency-Key: {key}")];
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    call(lab, "POST", "/api/v1/lease", &headers, &body.to_string()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_to_nothing_under_a_key_is_asked_for_anew() {
    lab(&yaml::small(1), async |lab| {
        let ci = token(lab, "ci", "user").await;
        let board = json!({ "board_id": "soc-a-001" });
        let patient = json!({ "board_id": "soc-a-001", "wait": 1 });
        lab.say("alice", "/lab reserve soc-a-001 1h").await;
        assert_eq!(keyed(lab, &ci, "refused", board.clone()).await.0, 503);
        assert_eq!(keyed(lab, &ci, "waited", patient.clone()).await.0, 503);
        nobody_waits(lab).await;
        lab.say("alice", "/lab release").await;
        lab.settle().await;
        // As `Retry-After` asks for: the same request again.
        let (status, mine) = keyed(lab, &ci, "refused", board.clone()).await;
        assert_eq!(status, 201, "{mine}");
        let (status, again) = keyed(lab, &ci, "refused", board.clone()).await;
        assert_eq!((status, &again["lease_id"]), (200, &mine["lease_id"]), "what was given is kept");
        // Another request under that key is told so.
        let other = json!({ "board_id": "soc-a-001", "timeout": 60 });
        let (status, problem) = keyed(lab, &ci, "refused", other).await;
        assert_eq!((status, &problem["title"]), (409, &json!("this key asked for something else")));
        let written = r#"{ "board_id" : "soc-a-001" }"#;
        let headers = [format!("Authorization: Bearer {ci}"), "Idempotency-Key: refused".to_owned()];
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        assert_eq!(
            call(lab, "POST", "/api/v1/lease", &headers, written).await.0,
            200,
            "the same in other words"
        );
        let url = mine["url"].as_str().expect("an address").to_owned();
        assert_eq!(call(lab, "DELETE", &url, &headers[..1], "").await.0, 200);
        // What it gave is over, and stays so.
        let (status, problem) = keyed(lab, &ci, "refused", board).await;
        assert_eq!((status, &problem["title"]), (409, &json!("this lease is over")));
        lab.settle().await;
        let (status, mine) = keyed(lab, &ci, "waited", patient).await;
        assert_eq!(status, 201, "{mine}");
        let url = mine["url"].as_str().expect("an address").to_owned();
        assert_eq!(call(lab, "DELETE", &url, &headers[..1], "").await.0, 200);
        // So it is with every request that has a body.
        let why = |reason: &str| json!({ "reason": reason }).to_string();
        let admin = admin();
        let key = [admin.as_str(), "Idempotency-Key: out"];
        let out = "/api/v1/boards/soc-a-001/quarantine";
        assert_eq!(call(lab, "POST", out, &key, &why("fan")).await.0, 200);
        assert_eq!(call(lab, "POST", out, &key, &why("fan")).await.0, 200);
        assert_eq!(call(lab, "POST", out, &key, &why("smoke")).await.0, 409);
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_repeats_a_request_that_was_hung_up_on_waits_on() {
    lab(&yaml::small(1), async |lab| {
        let ci = token(lab, "ci", "user").await;
        let body = r#"{"board_id": "soc-a-001", "wait": 100}"#;
        lab.say("alice", "/lab reserve soc-a-001 1h").await;
        // It hangs up, and has left the line when it comes again: under its key it waits anew.
        let mut first = waits(lab, &ci, "k", body);
        so_many_wait(lab, "1").await;
        first.kill().await.expect("it is ended");
        nobody_waits(lab).await;
        let mut second = waits(lab, &ci, "k", body);
        so_many_wait(lab, "1").await;
        // Two wait for one place; one of them goes.
        let mut third = waits(lab, &ci, "third", body);
        let asked = async {
            let asked = "SELECT count(*) FROM deliveries WHERE key LIKE '%third'";
            while lab.rows(asked).await != ["1"] {
                lab.clock.sleep(Duration::from_millis(5)).await;
            }
        };
        lab.clock.timeout(WITHIN, asked).await.expect("it asks for the same");
        third.kill().await.expect("it is ended");
        let (status, _) = keyed(lab, &ci, "fourth", json!({ "board_id": "soc-a-001", "wait": 1 })).await;
        assert_eq!(status, 503, "its time is over, and the second waits on");
        so_many_wait(lab, "1").await;
        let bearer = format!("Authorization: Bearer {ci}");
        let place = lab.rows("SELECT id FROM reservations").await;
        lab.say("alice", "/lab release").await;
        let output = lab.clock.timeout(WITHIN, async {
            let mut stdout = second.stdout.take().expect("piped");
            let mut text = String::new();
            stdout.read_to_string(&mut text).await.expect("an answer");
            text
        });
        let answer = output.await.expect("it is answered");
        let (answer, status) = answer.rsplit_once('\n').expect("a status");
        assert_eq!(status, "201", "{answer}");
        let mine: Value = serde_json::from_str(answer).expect("JSON");
        assert_eq!(json!([mine["lease_id"]]), json!(place));
        // A repeat has it too, and hanging up takes nothing away that somebody was told they have.
        let (status, again) = keyed(lab, &ci, "k", serde_json::from_str(body).expect("JSON")).await;
        assert_eq!((status, &again["lease_id"]), (200, &mine["lease_id"]));
        let url = mine["url"].as_str().expect("an address");
        assert_eq!(call(lab, "GET", url, &[&bearer], "").await.1["status"], "active");
        // Somebody's place that stays in line is not given up by another request that would not have stayed.
        let other = token(lab, "other", "user").await;
        let stays = json!({ "board_id": "soc-a-001", "queue": true });
        assert_eq!(keyed(lab, &other, "stays", stays).await.0, 202);
        let (status, place) = keyed(lab, &other, "goes", json!({ "board_id": "soc-a-001", "wait": 1 })).await;
        assert_eq!((status, &place["status"]), (202, &json!("waiting")), "{place}");
        so_many_wait(lab, "1").await;
        let place = place["url"].as_str().expect("an address");
        let other = format!("Authorization: Bearer {other}");
        assert_eq!(call(lab, "DELETE", place, &[&other], "").await.0, 200);
        assert_eq!(call(lab, "DELETE", url, &[&bearer], "").await.0, 200);
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

/// What a request was answered that waited.
async fn answer(lab: &Lab, waiting: &mut tokio::process::Child) -> (u16, Value) {
    let read = lab.clock.timeout(WITHIN, async {
        let mut text = String::new();
        let mut stdout = waiting.stdout.take().expect("piped");
        stdout.read_to_string(&mut text).await.expect("an answer");
        text
    });
    let text = read.await.expect("it is answered");
    let (answer, status) = text.rsplit_once('\n').expect("a status");
    (status.parse().expect("a number"), serde_json::from_str(answer).expect("JSON"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_with_one_token_that_wait_for_a_family_get_a_board_each() {
    lab(&yaml::small(1), async |lab| {
        let ci = token(lab, "ci", "user").await;
        let body = r#"{"board_family": "socA", "wait": 100}"#;
        lab.say("alice", "/lab reserve soc-a-001 1h").await;
        let mut first = waits(lab, &ci, "first", body);
        so_many_wait(lab, "1").await;
        let mut second = waits(lab, &ci, "second", body);
        so_many_wait(lab, "2").await;
        lab.say("alice", "/lab release").await;
        let (status, one) = answer(lab, &mut first).await;
        assert_eq!((status, &one["board_id"]), (201, &json!("soc-a-001")), "{one}");
        // The second waits on, and the first may give its board back without taking it from under anybody.
        so_many_wait(lab, "1").await;
        let (status, again) = keyed(lab, &ci, "first", serde_json::from_str(body).expect("JSON")).await;
        assert_eq!((status, &again["lease_id"]), (200, &one["lease_id"]), "the same key is the same board");
        let bearer = format!("Authorization: Bearer {ci}");
        let url = |lease: &Value| lease["url"].as_str().expect("an address").to_owned();
        assert_eq!(call(lab, "DELETE", &url(&one), &[&bearer], "").await.0, 200);
        let (status, two) = answer(lab, &mut second).await;
        assert_eq!((status, &two["board_id"]), (201, &json!("soc-a-001")), "{two}");
        assert_ne!(two["lease_id"], one["lease_id"]);
        assert_eq!(call(lab, "DELETE", &url(&two), &[&bearer], "").await.0, 200);
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_waits_in_line_and_is_told_to_stop_leaves_it() {
    lab(&yaml::small(1), async |lab| {
        lab.say("alice", "/lab reserve soc-a-001 1h").await;
        let mut reserve = tokio::process::Command::new(env!("CARGO_BIN_EXE_boardhand"));
        reserve.args(["reserve", "socA", "--server", &lab.door]).env("BOARDHAND_TOKEN", ADMIN_TOKEN);
        reserve.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut reserve = reserve.kill_on_drop(true).spawn().expect("it runs");
        so_many_wait(lab, "1").await;
        // It listens once it has said where it stands.
        let mut said = [0; 64];
        let read = reserve.stderr.as_mut().expect("piped").read(&mut said).await.expect("where it stands");
        assert!(String::from_utf8_lossy(&said[..read]).starts_with("socA "), "{said:?}");
        let id = reserve.id().expect("it runs").to_string();
        let ended = tokio::process::Command::new("kill").args(["-TERM", &id]).status().await;
        assert!(ended.expect("kill").success());
        let output = reserve.wait_with_output().await.expect("it ends");
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(
            (output.status.code(), out.as_str()),
            (Some(3), "socA             api:admin is not in line any more\n")
        );
        nobody_waits(lab).await;
        lab.say("alice", "/lab release").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_prefers_a_place_gets_a_board_there_and_many_at_once_get_one_each() {
    let mut text = yaml::small(4);
    let last = text.rfind("Lab Site A").expect("a site");
    text.replace_range(last..last + "Lab Site A".len(), "Lab Site B");
    lab(&text, async |lab| {
        let wanted = json!({ "board_family": "socA", "preferred_location": "lab site b" });
        let mut tokens = Vec::new();
        for name in ["a", "b", "c", "d", "e"] {
            tokens.push(token(lab, name, "user").await);
        }
        let (status, there) = lease(lab, &tokens[0], wanted.clone()).await;
        assert_eq!((status, &there["board"]["lab_location"]), (201, &json!("Lab Site B")), "{there}");
        // Three at once: none of them waits for, or is refused over, a board that another has.
        let wanted = json!({ "board_family": "socA", "preferred_location": "Lab Site A" });
        let others = tokens[1..4].iter().map(|token| lease(lab, token, wanted.clone()));
        let mut boards: Vec<String> = futures_util::future::join_all(others)
            .await
            .into_iter()
            .map(|(status, lease)| {
                assert_eq!(status, 201, "{lease}");
                lease["board_id"].to_string()
            })
            .collect();
        boards.push(there["board_id"].to_string());
        boards.sort();
        boards.dedup();
        assert_eq!(boards.len(), 4, "{boards:?}");
        assert_eq!(lease(lab, &tokens[4], wanted).await.0, 503);
        for token in &tokens {
            let bearer = format!("Authorization: Bearer {token}");
            let (_, mine) = call(lab, "GET", "/api/v1/lease?mine=true", &[&bearer], "").await;
            for lease in mine["items"].as_array().into_iter().flatten() {
                let url = lease["url"].as_str().expect("an address");
                assert_eq!(call(lab, "DELETE", url, &[&bearer], "").await.0, 200);
            }
        }
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
