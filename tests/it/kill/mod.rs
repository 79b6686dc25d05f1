//! `kill -9` at any instant, against the real binary. Boards, PDUs and Slack live in this process, so they keep power,
//! shell and half-run command while the server dies and comes back. Every board logs every byte with its time and
//! connection, and every PDU each switching; at the end those logs are joined with the lease history.
//!
//! Invariants checked: nothing acknowledged is lost, no run ends twice, no card stands twice, a run that was on a board
//! is on one again moments after each restart, every byte on a board's console and every switching of its outlet
//! falls into a lease of that board, and no connection outlives the lease it began under.

mod checks;
mod world;

use std::collections::BTreeMap;

use tokio::process::Command;

use crate::lab;
use world::{World, rows};

/// Kill points of the usual run; `BOARDHAND_KILL_POINTS` sets another number.
const KILL_POINTS: u64 = 100;
/// Runs sent between two kills: by a command each, or by one for all of them.
const RUNS_PER_POINT: usize = 2;
/// One point in so many sends a run to the board that no switch can fence, too.
const UNSWITCHED_EVERY: u64 = 10;
/// A life of one server in two ends at most so long after the commands, in the middle of everything; of one in four it
/// is long enough for a run to reach its end, and of one in four it ends as soon as a run has reached a given stage.
const LIFE_SHORT_MS: u64 = 500;
const LIFE_LONG_MS: u64 = 2_500;
/// One server in so many is killed while it starts, at most so long after it was spawned.
const STILLBORN_EVERY: u64 = 4;
const STILLBORN_MS: u64 = 60;
/// Every stage in which a server must have been killed while a run was in it.
const STAGES: [&str; 7] =
    ["leased", "powering", "booting", "deploying", "testing", "collecting", "finalizing"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_at_any_instant_loses_nothing_and_does_nothing_twice() {
    let points: u64 = match std::env::var("BOARDHAND_KILL_POINTS") {
        Ok(text) => text.parse().expect("BOARDHAND_KILL_POINTS is a number"),
        Err(_) => KILL_POINTS,
    };
    let seed = 20_261_120;
    println!("kill points: {points}, seed {seed}");
    let mut world = World::start(seed).await;
    let mut accepted: Vec<String> = Vec::new();
    let mut interrupted: BTreeMap<String, u64> = BTreeMap::new();
    for point in 0..points {
        // Four servers are called by Slack, the next four dial it.
        world.slack.set_socket_mode(point / 4 % 2 == 1);
        if point % STILLBORN_EVERY == 1 {
            world.stillborn(STILLBORN_MS).await;
        }
        let mut server = world.serve().await;
        world.until_handled_again().await;
        accepted.extend(commands(&world, point).await);
        match point % 4 {
            0 | 2 => world.sleep(world.ids.below(LIFE_SHORT_MS)).await,
            1 => world.sleep(world.ids.below(LIFE_LONG_MS)).await,
            _ => world.until_in(STAGES[(point / 4) as usize % STAGES.len()], LIFE_LONG_MS).await,
        }
        for stage in world.kill(&mut server).await {
            *interrupted.entry(stage).or_default() += 1;
        }
    }
    println!("stages that were interrupted: {interrupted:?}");
    world.finish(&accepted).await;
    let missed = STAGES.iter().filter(|stage| !interrupted.contains_key(**stage)).collect::<Vec<_>>();
    assert!(missed.is_empty() || points < KILL_POINTS, "no server was killed in {missed:?}");
}

/// Sends the commands of a kill point; gives the build of every run that was acknowledged.
async fn commands(world: &World, point: u64) -> Vec<String> {
    let mut accepted = Vec::new();
    let times = if point % 4 < 2 { RUNS_PER_POINT } else { 1 };
    for n in 0..RUNS_PER_POINT / times {
        let build = format!("build-{point}-{n}");
        world.accepted(&format!("/run-test socA {build} x{times}")).await;
        accepted.extend(std::iter::repeat_n(build, times));
    }
    if point.is_multiple_of(UNSWITCHED_EVERY) {
        let build = format!("build-{point}-b");
        world.accepted(&format!("/run-test socB {build}")).await;
        accepted.push(build);
    }
    accepted
}

/// Servers that are killed while somebody has a board of their own.
const HELD_POINTS: u64 = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_of_somebodys_own_stays_theirs_however_often_the_server_is_killed() {
    const HELD: &str =
        "SELECT state || ' ' || fence || ' ' || expires_at FROM leases WHERE board = 'soc-a-001'";
    let mut world = World::start(20_261_128).await;
    let mut server = world.serve().await;
    world.accepted("/lab reserve soc-a-001 2h DDR").await;
    let db = world.db().await;
    let held = rows(&db, HELD).await;
    assert!(held.len() == 1 && held[0].starts_with("held 1 "), "{held:?}");
    let mut accepted = Vec::new();
    for point in 0..HELD_POINTS {
        let build = format!("build-own-{point}");
        world.accepted(&format!("/run-test soc-a-001 {build}")).await;
        accepted.push(build);
        // Others' runs go elsewhere meanwhile, or wait.
        world.others(&format!("/run-test socA build-other-{point}")).await;
        accepted.push(format!("build-other-{point}"));
        world.sleep(world.ids.below(LIFE_SHORT_MS * 2)).await;
        world.kill(&mut server).await;
        server = world.serve().await;
        world.until_handled_again().await;
        assert_eq!(rows(&db, HELD).await, held, "after {} deaths", point + 1);
    }
    while !rows(&db, "SELECT state FROM runs WHERE state <> 'finished'").await.is_empty() {
        world.sleep(20).await;
    }
    assert_eq!(rows(&db, HELD).await, held, "it is theirs, under the same fence and until the same time");
    let elsewhere = "SELECT a.board FROM attempts AS a JOIN runs AS r ON r.number = a.run
        WHERE r.spec->>'build' LIKE 'build-o%' AND (a.board = 'soc-a-001') <> (r.spec->>'build' LIKE 'build-own-%')";
    assert!(
        rows(&db, elsewhere).await.is_empty(),
        "nobody else's run was on it, and theirs were nowhere else"
    );
    // Given back in the middle of a death, it comes to rest and is free.
    world.accepted("/lab release soc-a-001").await;
    world.kill(&mut server).await;
    db.close().await;
    world.finish(&accepted).await;
}

/// Servers that are killed in the middle of a campaign.
const CAMPAIGN_POINTS: u64 = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_campaign_goes_on_under_the_next_server_and_starts_and_tells_nothing_twice() {
    const STARTED: &str = "SELECT spec->>'$.selector.board' FROM runs ORDER BY 1";
    const BOARDS: &str = "SELECT id FROM boards WHERE id LIKE 'soc-a-%' ORDER BY 1";
    let mut world = World::start(20_261_129).await;
    for point in 0..CAMPAIGN_POINTS {
        let mut server = world.serve().await;
        world.until_handled_again().await;
        if point == 0 {
            world.accepted("/lab campaign rollout build-123").await;
        }
        // Some die as soon as the next wave begins, or while it starts its runs.
        world.sleep(world.ids.below(LIFE_SHORT_MS)).await;
        world.kill(&mut server).await;
    }
    let db = world.work_off(1).await;
    assert_eq!(rows(&db, STARTED).await, rows(&db, BOARDS).await, "each board once");
    assert_eq!(rows(&db, "SELECT state FROM campaigns").await, ["completed"]);
    assert_eq!(rows(&db, "SELECT DISTINCT verdict FROM runs").await, ["passed"]);
    let told = |thread: bool| {
        let said = |world: &boardhand::sim::slack::World| -> Vec<String> {
            let messages = world.channels.values().flat_map(|channel| &channel.messages);
            let ours = messages.filter(|m| m.user == "U0BOT" && m.thread_ts.is_some() == thread);
            ours.map(|message| message.text.clone()).collect()
        };
        world.slack.with(|world| said(world))
    };
    assert_eq!(told(false), ["Campaign 1 rollout: completed"], "one card");
    assert_eq!(
        told(true),
        [
            "Campaign 1 rollout: wave 2 of 3",
            "Campaign 1 rollout: wave 3 of 3",
            "Campaign 1 rollout: completed"
        ]
    );
    world.check_bytes(&db).await;
    world.check_switches(&db).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_told_to_stop_twice_ends_at_once() {
    let world = World::start(1).await;
    let mut server = world.serve().await;
    // It crawls for longer than a server that stops waits for it.
    world.accepted("/run-test socA build-crawl").await;
    let db = world.db().await;
    while rows(&db, "SELECT state FROM runs WHERE state = 'testing'").await.is_empty() {
        world.sleep(10).await;
    }
    let pid = server.id().expect("it runs").to_string();
    let tell = async || Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill");
    tell().await;
    // It has heard the first word once it takes nothing more.
    while tokio::net::TcpStream::connect(("127.0.0.1", world.port)).await.is_ok() {
        world.sleep(5).await;
    }
    tell().await;
    let status = world.clock.timeout(lab::WITHIN, server.wait()).await.expect("it ends").expect("status");
    assert_eq!(status.code(), Some(130), "it ends before it has handed back");
    assert_eq!(rows(&db, "SELECT state FROM runs").await, ["testing"], "as after kill -9");
}
