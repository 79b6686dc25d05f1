//! Workers beside remote labs: the real binary as server and as worker, over loopback, with simulated boards that log every
//! byte.

mod duty;
mod ends;
mod files;
mod world;

use boardhand::net::Method;
use boardhand::worker::wire::{FREED_AFTER, TRUSTED_FOR};
use serde_json::{Value, json};
use world::{ADMIN, CHANNEL, World, signal, stop};

const WORKER_PDU: &str = "{worker: remote, pdu: worker}";

fn attempts(run: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = |attempt: &Value| (text(&attempt["verdict"]), text(&attempt["cause"]));
    run["attempts"].as_array().into_iter().flatten().map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_goes_from_chat_to_card_through_a_worker() {
    let world = World::start(2, WORKER_PDU).await;
    let mut server = world.serve().await;
    world.say("/run-test socA build-1").await;
    world.say("/run-test socB build-1").await;
    assert_eq!(world.ended(2).await["verdict"], "passed", "the server drives its own");
    let (_, said) =
        world.api(ADMIN, Method::POST, "/api/v1/commands", Some(&json!({ "text": "/lab why 1" }))).await;
    let said = said.to_string();
    assert!(said.contains("no worker at its site"), "{said}");
    let token = world.token("rack-a", "Lab Site A").await;
    let mut worker = world.worker("rack-a", &token);
    let run = world.ended(1).await;
    assert_eq!((&run["verdict"], attempts(&run).len()), (&json!("passed"), 1), "{run}");
    let told = world.worker_is("rack-a", "alive").await;
    assert_eq!(
        (&told["site"], &told["on_duty"], &told["token"]),
        (&json!("Lab Site A"), &json!(true), &json!("rack-a"))
    );
    // Its console is at the server, and what only the worker knows is not.
    let raw = world.data.path().join("data/transcripts/1/1/console.raw");
    let raw = String::from_utf8_lossy(&std::fs::read(raw).expect("a console")).into_owned();
    assert!(raw.contains("login:") && raw.contains("ok 1"), "{raw}");
    let is_told = |slack: &boardhand::sim::slack::World| {
        let cards = slack.channel(CHANNEL).map(|channel| &channel.messages);
        cards.is_some_and(|cards| cards.iter().any(|card| card.blocks.to_string().contains("passed")))
    };
    world.slack.until(is_told, world::WITHIN).await.expect("the card tells of it");
    stop(&world, &mut worker).await;
    world.worker_is("rack-a", "stopped").await;
    stop(&world, &mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_killed_in_mid_run_begins_again_and_its_run_has_another_attempt() {
    let world = World::start(1, WORKER_PDU).await;
    let mut server = world.serve().await;
    let token = world.token("rack-a", "Lab Site A").await;
    let mut worker = world.worker("rack-a", &token);
    world.worker_is("rack-a", "alive").await;
    world.say("/run-test socA build-1 suite=trivial").await;
    world.ended(1).await;
    world.say("/run-test socA build-2 suite=slow").await;
    world.in_state(2, "testing").await;
    worker.kill().await.expect("SIGKILL");
    // The same folder is the same worker: nobody waits for its leases to run out.
    let mut again = world.worker("rack-a", &token);
    let run = world.ended(2).await;
    assert_eq!(run["verdict"], "passed", "{run}");
    assert_eq!(attempts(&run).first(), Some(&("infra".into(), "worker-lost".into())), "{run}");
    stop(&world, &mut again).await;
    stop(&world, &mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_goes_on_through_a_restart_of_the_server_and_a_cut_that_is_shorter_than_the_trust() {
    let world = World::start(1, WORKER_PDU).await;
    let mut server = world.serve().await;
    let token = world.token("rack-a", "Lab Site A").await;
    let mut worker = world.worker("rack-a", &token);
    world.worker_is("rack-a", "alive").await;
    world.say("/run-test socA build-1 suite=slow").await;
    world.in_state(1, "testing").await;
    world.net.cut();
    server.kill().await.expect("SIGKILL");
    let mut server = world.serve().await;
    world.net.mend();
    let run = world.ended(1).await;
    assert_eq!((&run["verdict"], attempts(&run).len()), (&json!("passed"), 1), "{run}");
    stop(&world, &mut worker).await;
    stop(&world, &mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_no_worker_of_the_site_is_refused_and_changes_nothing() {
    let world = World::start(1, WORKER_PDU).await;
    let mut server = world.serve().await;
    let token = world.token("rack-a", "Lab Site A").await;
    let mut worker = world.worker("rack-a", &token);
    world.worker_is("rack-a", "alive").await;
    world.say("/run-test socA build-1 suite=slow").await;
    world.in_state(1, "testing").await;
    let hello = |site: &str, home: char| {
        json!({ "instance": "01890000-0000-7000-8000-000000000001", "home": home.to_string().repeat(64), "site": site,
                "version": "0", "capacity": 1 })
    };
    let other = world.token("rack-b", "Lab Site B").await;
    let post =
        async |token: &str, path: &str, body: Value| world.api(token, Method::POST, path, Some(&body)).await;
    let begin = |id: &str| format!("/api/v1/workers/{id}/register");
    // Of another site, with another's name, without a scope for it, and at a site that the server drives.
    assert_eq!(post(&other, &begin("rack-b"), hello("Lab Site A", 'a')).await.0, 403);
    assert_eq!(post(&token, &begin("rack-a"), hello("Lab Site A", 'a')).await.0, 409);
    assert_eq!(post(&other, &begin("rack-b"), hello("Lab Site B", 'a')).await.0, 409);
    assert_eq!(post("boardhand_nobody", &begin("rack-b"), hello("Lab Site B", 'a')).await.0, 401);
    let (status, _) = world.api(&token, Method::GET, "/api/v1/runs", None).await;
    assert_eq!(status, 403, "a worker's token opens nothing else");
    // Another worker of the same site, well known, and the lease of the first.
    let second = world.token("rack-c", "Lab Site A").await;
    assert_eq!(post(&second, &begin("rack-c"), hello("Lab Site A", 'c')).await.0, 200);
    let board = world.get("/api/v1/boards/soc-a-001").await;
    let lease =
        json!({ "id": board["lease"]["lease_id"], "board": "soc-a-001", "fence": board["lease"]["fence"] });
    let outcome = json!({ "verdict": "passed", "cause": "", "stage": "testing", "detail": "", "excerpt": [], "cases": [],
                          "counts": { "passed": 1, "failed": 0, "skipped": 0 } });
    let instance = "01890000-0000-7000-8000-000000000001";
    let report = json!({ "instance": instance, "lease": lease, "number": 99,
                         "said": { "what": "settle", "outcome": outcome } });
    let (status, taken) = post(&second, "/api/v1/workers/rack-c/reports", report).await;
    assert_eq!((status, &taken["done"]), (200, &json!(false)), "{taken}");
    let named = json!({ "instance": instance, "leases": [board["lease"]["lease_id"]] });
    for what in ["lapse", "return"] {
        let (status, given) = post(&second, &format!("/api/v1/workers/rack-c/{what}"), named.clone()).await;
        assert_eq!((status, &given["leases"]), (200, &json!([])), "{given}");
    }
    // With the instance of the first it is nobody.
    let run = world.ended(1).await;
    assert_eq!((&run["verdict"], attempts(&run).len()), (&json!("passed"), 1), "{run}");
    stop(&world, &mut worker).await;
    stop(&world, &mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_on_a_worker_is_ended_by_whoever_asked_for_it() {
    let world = World::start(1, WORKER_PDU).await;
    let mut server = world.serve().await;
    let token = world.token("rack-a", "Lab Site A").await;
    let mut worker = world.worker("rack-a", &token);
    world.say("/run-test socA build-1 suite=slow").await;
    world.in_state(1, "testing").await;
    world.say("/lab cancel 1").await;
    assert_eq!(world.ended(1).await["verdict"], "cancelled");
    // Told to stop, it ends what it has: a second word hands it back.
    world.say("/run-test socA build-2 suite=slow").await;
    world.in_state(2, "testing").await;
    signal(&worker, "-TERM").await;
    world.worker_is("rack-a", "leaving").await;
    stop(&world, &mut worker).await;
    let run = world.in_state(2, "queued").await;
    assert_eq!(attempts(&run).first(), Some(&("infra".into(), "handed-back".into())), "{run}");
    let mut again = world.worker("rack-a", &token);
    assert_eq!(world.ended(2).await["verdict"], "passed");
    stop(&world, &mut again).await;
    stop(&world, &mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_cut_off_for_long_stops_before_its_board_is_given_away() {
    let world = World::start(1, "{worker: remote}").await;
    let mut server = world.serve().await;
    let token = world.token("rack-a", "Lab Site A").await;
    let mut worker = world.worker("rack-a", &token);
    world.worker_is("rack-a", "alive").await;
    world.say("/run-test socA build-1 suite=night").await;
    world.in_state(1, "testing").await;
    let (cut_at, cut_on) = (world.clock.monotonic(), world.clock.now());
    world.net.cut();
    // It hangs up at the end of its trust, at the latest, and types nothing more.
    let board =
        world.boards.boards().find(|(id, _)| id.as_str() == "soc-a-001").map(|(_, board)| board.clone());
    let board = board.expect("the board");
    let lost = world
        .until_within("/api/v1/runs/1", "lost", FREED_AFTER * 2, |run| {
            attempts(run).first().is_some_and(|it| !it.1.is_empty())
        })
        .await;
    let freed_after = world.clock.monotonic().since(cut_at);
    assert_eq!(attempts(&lost).first(), Some(&("infra".into(), "worker-lost".into())), "{lost}");
    let names_it = |slack: &boardhand::sim::slack::World| {
        let told = slack.channel(CHANNEL).map(|channel| &channel.messages);
        told.is_some_and(|told| {
            told.iter().any(|one| one.blocks.to_string().contains("worker rack-a was lost"))
        })
    };
    world.slack.until(names_it, world::WITHIN).await.expect("the thread names the worker");
    assert!(freed_after > TRUSTED_FOR, "it was given away after {freed_after:?}");
    world.worker_is("rack-a", "lost").await;
    // The server switches it off for its lost worker; nobody typed at it since.
    let off = async {
        while board.is_on() {
            world.clock.sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    world.clock.timeout(world::WITHIN, off).await.expect("the board comes to rest");
    let over = cut_on + TRUSTED_FOR + std::time::Duration::from_secs(1);
    let late: Vec<_> = board.recorded().into_iter().filter(|typed| typed.at > over).collect();
    assert!(late.is_empty(), "typed without a live lease: {late:?}");
    world.net.mend();
    world.worker_is("rack-a", "alive").await;
    world.say("/lab cancel 1").await;
    let run = world.ended(1).await;
    assert_eq!(run["verdict"], "cancelled", "{run}");
    stop(&world, &mut worker).await;
    stop(&world, &mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_switches_for_a_worker_where_the_pdus_are_its_own() {
    let world = World::start(1, "{worker: remote}").await;
    let mut server = world.serve().await;
    let token = world.token("rack-a", "Lab Site A").await;
    let mut worker = world.worker("rack-a", &token);
    world.say("/run-test socA build-1").await;
    let run = world.ended(1).await;
    assert_eq!((&run["verdict"], attempts(&run).len()), (&json!("passed"), 1), "{run}");
    world.until("/api/v1/boards/soc-a-001", "free", |board| board["state"] == "free").await;
    let (_, board) = world.boards.boards().next().expect("a board");
    assert!(!board.is_on(), "it is at rest");
    stop(&world, &mut worker).await;
    stop(&world, &mut server).await;
}
