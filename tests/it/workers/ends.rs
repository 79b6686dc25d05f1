//! What becomes of workers' runs at the moments that are hard to hit: told to stop while a board is given to them, answers
//! that are lost, and what stands between them and their server.

use boardhand::net::Method;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::world::{ADMIN, MANY, Trouble, WITHIN, World, signal, stop};
use super::{WORKER_PDU, attempts};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_that_is_given_to_a_worker_while_it_is_told_to_stop_is_given_back() {
    let world = World::start(2, WORKER_PDU).await;
    let mut server = world.serve().await;
    let token = world.token("rack-a", "Lab Site A").await;
    let mut worker = world.worker("rack-a", &token);
    world.worker_is("rack-a", "alive").await;
    world.say("/run-test socA build-1 suite=slow").await;
    world.in_state(1, "testing").await;
    // Granted, and word of it is on its way for as long as the worker takes to say that it stops.
    world.net.trouble("work", Some(Trouble::Held));
    world.say("/run-test socA build-2").await;
    world.in_state(2, "leased").await;
    signal(&worker, "-TERM").await;
    world.worker_is("rack-a", "leaving").await;
    world.net.trouble("work", None);
    let waits = world.in_state(2, "queued").await;
    assert_eq!(attempts(&waits), [], "nobody began with it: {waits}");
    let run = world.ended(1).await;
    assert_eq!((&run["verdict"], attempts(&run).len()), (&json!("passed"), 1), "{run}");
    let status =
        world.clock.timeout(WITHIN, worker.wait()).await.expect("it ends by itself").expect("a status");
    assert!(status.success(), "{status}");
    world.worker_is("rack-a", "stopped").await;
    let mut again = world.worker("rack-a", &token);
    let run = world.ended(2).await;
    assert_eq!((&run["verdict"], attempts(&run).len()), (&json!("passed"), 1), "{run}");
    stop(&world, &mut again).await;
    stop(&world, &mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stops_gives_back_what_it_never_heard_of_and_says_again_that_it_stops() {
    let world = World::start(2, WORKER_PDU).await;
    let mut server = world.serve().await;
    let token = world.token("rack-a", "Lab Site A").await;
    let mut worker = world.worker("rack-a", &token);
    world.worker_is("rack-a", "alive").await;
    world.say("/run-test socA build-1 suite=slow").await;
    world.in_state(1, "testing").await;
    world.net.trouble("leave", Some(Trouble::Lost));
    signal(&worker, "-TERM").await;
    world.clock.timeout(WITHIN, world.net.sees("leave", 2)).await.expect("it says it again");
    world.net.trouble("leave", None);
    world.worker_is("rack-a", "leaving").await;
    signal(&worker, "-TERM").await;
    let status = world.clock.timeout(WITHIN, worker.wait()).await.expect("it ends").expect("a status");
    assert!(status.success(), "{status}");
    // The next one never hears what it is given.
    world.say("/lab cancel 1").await;
    world.ended(1).await;
    world.net.trouble("work", Some(Trouble::Held));
    let mut worker = world.worker("rack-a", &token);
    world.worker_is("rack-a", "alive").await;
    world.say("/run-test socA build-2").await;
    world.in_state(2, "leased").await;
    stop(&world, &mut worker).await;
    let waits = world.in_state(2, "queued").await;
    assert_eq!(attempts(&waits), [], "nobody began with it: {waits}");
    stop(&world, &mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_knows_no_such_page_costs_a_worker_nothing() {
    let world = World::start(1, WORKER_PDU).await;
    let mut server = world.serve().await;
    let token = world.token("rack-a", "Lab Site A").await;
    let mut worker = world.worker("rack-a", &token);
    world.worker_is("rack-a", "alive").await;
    world.say("/run-test socA build-1 suite=slow").await;
    world.in_state(1, "testing").await;
    let words = ["work", "beat", "reports", "files"];
    words.iter().for_each(|word| world.net.trouble(word, Some(Trouble::NotFound)));
    world.clock.timeout(WITHIN, world.net.sees("work", 2)).await.expect("it asks for work");
    world.clock.timeout(WITHIN, world.net.sees("beat", 2)).await.expect("it is not heard");
    words.iter().for_each(|word| world.net.trouble(word, None));
    let run = world.ended(1).await;
    assert_eq!((&run["verdict"], attempts(&run).len()), (&json!("passed"), 1), "{run}");
    let asked = world.net.asked.borrow().iter().filter(|asked| *asked == "register").count();
    assert_eq!(asked, 1, "it is the same life");
    stop(&world, &mut worker).await;
    stop(&world, &mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_that_cannot_be_kept_at_first_has_all_its_test_cases_once_it_is() {
    let world = World::start(1, WORKER_PDU).await;
    let mut server = world.serve().await;
    let token = world.token("rack-a", "Lab Site A").await;
    let mut worker = world.worker("rack-a", &token);
    world.worker_is("rack-a", "alive").await;
    world.say("/run-test socA build-1 suite=many").await;
    world.in_state(1, "testing").await;
    // Its test cases are there, and the outcome is on its way.
    world.net.trouble("reports", Some(Trouble::Held));
    world.clock.timeout(WITHIN, world.net.sees("cases", 1)).await.expect("its test cases come");
    world.clock.timeout(WITHIN, world.net.sees("reports", 1)).await.expect("its outcome comes");
    let database = world.data.path().join("data/boardhand.db");
    let mut busy = SqliteConnectOptions::new().filename(&database).connect().await.expect("SQLite");
    sqlx::query("BEGIN IMMEDIATE").execute(&mut busy).await.expect("nobody else writes");
    world.net.trouble("reports", None);
    world.clock.timeout(WITHIN, world.net.sees("reports", 1)).await.expect("it says it again");
    sqlx::query("ROLLBACK").execute(&mut busy).await.expect("others may write");
    busy.close().await.expect("closed");
    let run = world.ended(1).await;
    assert_eq!((&run["verdict"], attempts(&run).len()), (&json!("passed"), 1), "{run}");
    let junit = world.text(ADMIN, "/api/v1/runs/1/junit.xml").await;
    assert_eq!(junit.matches("<testcase").count(), MANY, "{junit}");
    let kept = world.data.path().join("data/transcripts/1/1");
    let left = std::fs::read_dir(&kept)
        .expect("a folder")
        .filter_map(|file| file.ok()?.file_name().into_string().ok());
    assert!(!left.into_iter().any(|name| name.starts_with("cases-")), "what is in the store needs no file");
    stop(&world, &mut worker).await;
    stop(&world, &mut server).await;
}

/// A switch that takes one request and answers none.
async fn stuck_switch() -> (u16, tokio::sync::watch::Receiver<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("address").port();
    let (told, asked) = tokio::sync::watch::channel(vec![]);
    tokio::spawn(async move {
        let mut waiting = vec![];
        while let Ok((mut near, _)) = listener.accept().await {
            let mut said = vec![0; 4096];
            let length = near.read(&mut said).await.unwrap_or(0);
            told.send_modify(|all| all.push(String::from_utf8_lossy(&said[..length]).into_owned()));
            // The first one waits for as long as its client has patience; those after it are answered.
            if waiting.is_empty() {
                waiting.push(near);
            } else {
                let _ = near
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .await;
            }
        }
    });
    (port, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_that_is_asked_for_a_worker_does_nothing_once_its_life_is_over() {
    let world = World::start(2, "{worker: remote}").await;
    let (port, asked) = stuck_switch().await;
    world.edit(|text| {
        let driver = format!(
            "{{driver: http, on: {{url: 'http://127.0.0.1:{port}/on/{{{{ outlet }}}}'}}, off: {{url: 'http://127.0.0.1:{port}/off/{{{{ outlet }}}}'}}, off_for: 50ms, rest: off}}"
        );
        text.replace("{driver: simulated, off_for: 50ms, rest: off}", &driver)
    });
    let mut server = world.serve().await;
    let token = world.token("rack-a", "Lab Site A").await;
    let (one, two) = ("01890000-0000-7000-8000-000000000001", "01890000-0000-7000-8000-000000000002");
    let hello = |instance: &str| {
        json!({ "instance": instance, "home": "a".repeat(64), "site": "Lab Site A", "version": "0", "capacity": 8,
                "machine": "m" })
    };
    let post = async |what: &str, body: Value| {
        world.api(&token, Method::POST, &format!("/api/v1/workers/rack-a/{what}"), Some(&body)).await
    };
    assert_eq!(post("register", hello(one)).await.0, 200);
    assert_eq!(post("beat", json!({ "instance": one })).await.0, 200);
    let mut leases = vec![];
    for (run, board) in [(1, "soc-a-001"), (2, "soc-a-002")] {
        world.say(&format!("/run-test socA build-{run} on={board} suite=trivial")).await;
        world.in_state(run, "leased").await;
        let board = world.get(&format!("/api/v1/boards/{board}")).await;
        leases.push(json!({ "id": board["lease"]["lease_id"], "board": board["board_id"], "fence": board["lease"]["fence"] }));
    }
    let off = |lease: &Value| json!({ "instance": one, "lease": lease, "set": "off" });
    // The first holds up the switch; the second waits behind it, under a lease that is good when it is asked for.
    let first = post("switch", off(&leases[0]));
    let second = async {
        asked.clone().wait_for(|asked| !asked.is_empty()).await.expect("the first is there");
        post("switch", off(&leases[1])).await
    };
    let next_life = async {
        asked.clone().wait_for(|asked| !asked.is_empty()).await.expect("the first is there");
        world.clock.sleep(std::time::Duration::from_millis(300)).await;
        assert_eq!(post("register", hello(two)).await.0, 200);
    };
    let (first, second, ()) = tokio::join!(first, second, next_life);
    assert_eq!((first.0, second.0), (409, 409), "{first:?} {second:?}");
    let said = asked.borrow().clone();
    assert!(!said.iter().any(|said| said.contains("/off/2")), "switched without a lease: {said:?}");
    // What the life before has is told of no more.
    assert_eq!(post("switch", off(&leases[1])).await.0, 404);
    stop(&world, &mut server).await;
}
