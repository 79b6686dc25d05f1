//! Whose turn it is: workers that somebody drains, what `check` says of them, and a worker in front of a console that is no
//! simulation.

use boardhand::net::Method;
use serde_json::json;
use tokio::process::Command;

use super::world::{ADMIN, WITHIN, World, stop};
use super::{WORKER_PDU, attempts};
use crate::console_real::rig::Rig;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_drains_ends_what_it_has_and_the_other_takes_what_is_new() {
    let world = World::start(2, WORKER_PDU).await;
    let mut server = world.serve().await;
    let tokens = [world.token("rack-a", "Lab Site A").await, world.token("rack-b", "Lab Site A").await];
    let mut first = world.worker("rack-a", &tokens[0]);
    world.worker_is("rack-a", "alive").await;
    let mut second = world.worker("rack-b", &tokens[1]);
    assert_eq!(world.worker_is("rack-b", "alive").await["on_duty"], false, "it stands by");
    world.say("/run-test socA build-1 suite=slow").await;
    world.in_state(1, "testing").await;
    let types = async |text: &str| {
        let (status, said) =
            world.api(ADMIN, Method::POST, "/api/v1/commands", Some(&json!({ "text": text }))).await;
        assert!(status < 300, "{said}");
        said.to_string()
    };
    let said = types("/lab drain worker:rack-a 2h its machine").await;
    assert!(said.contains("soc-a-001") && said.contains("worker:rack-a"), "{said}");
    world.worker_is("rack-a", "draining").await;
    assert_eq!(world.worker_is("rack-b", "alive").await["on_duty"], true);
    let drains = world.get("/api/v1/drains").await;
    let drain = &drains["items"][0];
    assert_eq!((&drain["kind"], &drain["on_it"]), (&json!("worker"), &json!(["soc-a-001"])), "{drains}");
    world.say("/run-test socA build-2").await;
    let run = world.ended(2).await;
    assert_eq!((&run["verdict"], attempts(&run).len()), (&json!("passed"), 1), "{run}");
    let at = |worker: &str| world.data.path().join(worker).join("worker/transcripts").is_dir();
    assert_eq!((at("rack-a"), at("rack-b")), (true, true), "the other had it");
    let run = world.ended(1).await;
    assert_eq!((&run["verdict"], attempts(&run).len()), (&json!("passed"), 1), "{run}");
    world.until("/api/v1/drains", "empty", |all| all["items"][0]["on_it"] == json!([])).await;
    types("/lab undrain worker:rack-a").await;
    world.worker_is("rack-a", "alive").await;
    let (status, said) =
        world.api(ADMIN, Method::POST, "/api/v1/drains", Some(&json!({ "worker": "rack-x" }))).await;
    assert_eq!(status, 404, "{said}");
    let begun = world.api(ADMIN, Method::POST, "/api/v1/drains", Some(&json!({ "worker": "RACK-B" }))).await;
    assert_eq!((begun.0, &begun.1["name"]), (201, &json!("worker:rack-b")), "{begun:?}");
    stop(&world, &mut first).await;
    stop(&world, &mut second).await;
    stop(&world, &mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_says_which_sites_nobody_drives() {
    let world = World::start(1, WORKER_PDU).await;
    let check = async || {
        let checked = Command::new(env!("CARGO_BIN_EXE_boardhand"))
            .args(["check", "--boards"])
            .arg(world.data.path().join("boards.yaml"))
            .env_clear()
            .env("BOARDHAND_DATA_DIR", world.data.path().join("data"))
            .output();
        let checked = world.clock.timeout(WITHIN, checked).await.expect("in time").expect("it starts");
        (checked.status.code(), String::from_utf8_lossy(&checked.stdout).into_owned())
    };
    let (code, said) = check().await;
    assert!(code == Some(0) && said.contains("whether they are heard is not known"), "{code:?} {said}");
    let mut server = world.serve().await;
    let (code, said) = check().await;
    assert!(
        code == Some(1) && said.contains("workers: Lab Site A: error: nobody drives its boards"),
        "{said}"
    );
    let token = world.token("rack-a", "Lab Site A").await;
    let mut worker = world.worker("rack-a", &token);
    world.worker_is("rack-a", "alive").await;
    let (code, said) = check().await;
    assert!(code == Some(0) && said.contains("workers: Lab Site A: rack-a drives its boards: ok"), "{said}");
    stop(&world, &mut worker).await;
    stop(&world, &mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_drives_a_telnetd_that_is_no_simulation() {
    let (world, rig) = (World::start(1, WORKER_PDU).await, Rig::new());
    let port = rig.inetutils_telnetd();
    world.edit(|_| {
        format!(
            "boards:\n  - {{board_id: real-1, soc_family: real, board_ip: 127.0.0.1, telnet_port: {port}, lab_location: Lab Site A,\n     \
             telnet_username: lab, telnet_password: lab}}\n\
             families: {{real: {{default_suite: who, suites: {{who: who}}}}}}\n\
             plans:\n  who:\n    retry: {{infra: 0}}\n    boot: [{{login: {{within: 20s}}}}]\n    \
             test: [{{name: who, run: 'id -un && echo here-$((6*7))', within: 20s}}]\n\
             sites: {{Lab Site A: {{worker: remote, pdu: worker}}}}\n"
        )
    });
    let mut server = world.serve().await;
    let token = world.token("rack-a", "Lab Site A").await;
    let mut worker = world.worker("rack-a", &token);
    world.say("/run-test real build-1").await;
    let run = world.ended(1).await;
    assert_eq!((&run["verdict"], attempts(&run).len()), (&json!("passed"), 1), "{run}");
    let console = world.data.path().join("data/transcripts/1/1/console.raw");
    let console = String::from_utf8_lossy(&std::fs::read(console).expect("a console")).into_owned();
    assert!(console.contains("login:") && console.contains("here-42"), "{console}");
    stop(&world, &mut worker).await;
    stop(&world, &mut server).await;
}
