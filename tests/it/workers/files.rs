//! What workers keep of attempts, and what they follow of the lab while that is not to be had.

use serde_json::json;

use super::world::{MANY, Trouble, WITHIN, World, stop};
use super::{WORKER_PDU, attempts};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_keeps_no_file_of_an_attempt_that_is_over() {
    let world = World::start(1, WORKER_PDU).await;
    let mut server = world.serve().await;
    let token = world.token("rack-a", "Lab Site A").await;
    let mut worker = world.worker("rack-a", &token);
    let kept = world.data.path().join("rack-a/worker/transcripts");
    world.say("/run-test socA build-1 suite=slow").await;
    world.in_state(1, "testing").await;
    assert!(kept.join("1/1/console.raw").is_file(), "it stands there first");
    let run = world.ended(1).await;
    assert_eq!(run["verdict"], "passed", "{run}");
    world.until("/api/v1/boards/soc-a-001", "free", |board| board["state"] == "free").await;
    let gone = async {
        while std::fs::read_dir(&kept).is_ok_and(|mut left| left.next().is_some()) {
            world.clock.sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    world.clock.timeout(WITHIN, gone).await.expect("nothing stays on the worker's disk");
    let console = world.data.path().join("data/transcripts/1/1/console.raw");
    assert!(
        String::from_utf8_lossy(&std::fs::read(console).expect("a console")).contains("awake"),
        "the server has it"
    );
    stop(&world, &mut worker).await;
    stop(&world, &mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verdict_is_told_also_where_its_test_cases_find_no_place() {
    let world = World::start(1, WORKER_PDU).await;
    let mut server = world.serve().await;
    let token = world.token("rack-a", "Lab Site A").await;
    let mut worker = world.worker("rack-a", &token);
    world.say("/run-test socA build-1 suite=many").await;
    world.in_state(1, "testing").await;
    let board = world.get("/api/v1/boards/soc-a-001").await;
    // Nothing can be written there, as on a disk that is full.
    let place = format!("rack-a/worker/transcripts/1/1/cases-{}.json", board["lease"]["fence"]);
    std::fs::create_dir(world.data.path().join(place)).expect("a folder in its way");
    let run = world.ended(1).await;
    assert_eq!((&run["verdict"], attempts(&run).len()), (&json!("passed"), 1), "{run}");
    let said = run.to_string();
    assert!(said.contains(&format!("its {MANY} test cases are lost")), "{said}");
    stop(&world, &mut worker).await;
    stop(&world, &mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_of_a_run_reaches_it_while_the_new_lab_is_not_to_be_had() {
    let world = World::start(2, WORKER_PDU).await;
    let mut server = world.serve().await;
    let token = world.token("rack-a", "Lab Site A").await;
    let mut worker = world.worker("rack-a", &token);
    world.say("/run-test socA build-1 suite=night").await;
    world.in_state(1, "testing").await;
    world.net.trouble("lab", Some(Trouble::Lost));
    world.edit(|text| text.replace("sleep 400", "sleep 300"));
    super::world::signal(&server, "-HUP").await;
    world.clock.timeout(WITHIN, world.net.sees("lab", 2)).await.expect("it asks for the lab");
    world.say("/lab cancel 1").await;
    assert_eq!(world.ended(1).await["verdict"], "cancelled");
    // What is new waits for the lab that it is about.
    world.say("/run-test socA build-2").await;
    world.in_state(2, "leased").await;
    world.net.trouble("lab", None);
    let run = world.ended(2).await;
    assert_eq!((&run["verdict"], attempts(&run).len()), (&json!("passed"), 1), "{run}");
    stop(&world, &mut worker).await;
    stop(&world, &mut server).await;
}
