//! Builds: each is registered once, found by its branch, and goes when it is old and a newer good one is there.

use boardhand::board::Family;
use boardhand::build::{Build, BuildResult, Source};
use boardhand::store::{BuildFilter, BuildsOf, Effect, Outdated, TidyFrom};

use super::lab::{at, li};
use super::{Lab, store_tests};

store_tests! {
    the_newest_good_build_of_a_branch_is_found_whatever_came_since,
    a_runs_start_with_its_build_and_never_twice,
    old_builds_go_but_the_latest_and_those_that_runs_wait_for,
}

pub(super) fn build(family: &str, id: &str, branch: Option<&str>, result: BuildResult) -> Build {
    Build {
        number: 0,
        family: Family::new(family),
        id: id.to_owned(),
        source: Source { branch: branch.map(str::to_owned), ..Source::default() },
        result,
        artifacts: vec![],
        by: li(),
        registered_at: at(0),
    }
}

async fn register(lab: &Lab, build: Build) -> String {
    let committed = lab.commit(Effect::Build { build: Box::new(build), runs: vec![] }).await;
    committed.answer.facts["effected"].as_str().expect("a word").to_owned()
}

async fn ids(lab: &Lab, of: BuildsOf, good: bool, limit: u32) -> Vec<String> {
    let filter = BuildFilter { of, good, before: None, limit };
    lab.store.build_list(&filter).await.expect("builds").into_iter().map(|build| build.id).collect()
}

async fn the_newest_good_build_of_a_branch_is_found_whatever_came_since(lab: &Lab) {
    let good = |id: &str, branch| build("socA", id, branch, BuildResult::Success);
    assert_eq!(register(lab, good("1", Some("main"))).await, "done");
    assert_eq!(register(lab, good("2", Some("topic"))).await, "done");
    assert_eq!(register(lab, build("socA", "3", Some("main"), BuildResult::Unstable)).await, "done");
    assert_eq!(register(lab, build("socB", "1", Some("main"), BuildResult::Success)).await, "done");
    assert_eq!(register(lab, good("1", Some("main"))).await, "already-registered");
    assert_eq!(register(lab, good("1", None)).await, "other-build");
    let main = || BuildsOf::Branch(Family::new("socA"), "main".into());
    assert_eq!(ids(lab, main(), true, 1).await, ["1"]);
    assert_eq!(ids(lab, main(), false, 5).await, ["3", "1"]);
    assert_eq!(ids(lab, BuildsOf::Family(Family::new("socA")), true, 5).await, ["2", "1"]);
    assert_eq!(ids(lab, BuildsOf::Id("1".into()), false, 5).await, ["1", "1"]);
    assert_eq!(ids(lab, BuildsOf::All, false, 2).await, ["1", "3"]);
    let found = lab.store.build_find(&Family::new("socB"), "1").await.expect("read").expect("a build");
    assert_eq!((found.number, found.source.branch.as_deref()), (4, Some("main")));
    let none = lab.store.build_find(&Family::new("socB"), "2").await.expect("read");
    assert!(none.is_none(), "{none:?}");
}

async fn a_runs_start_with_its_build_and_never_twice(lab: &Lab) {
    let run = || boardhand::store::NewRun { once: Some("build:socA:1:smoke".into()), ..lab.new_run() };
    let told = |id: &str| Effect::Build {
        build: Box::new(build("socA", id, None, BuildResult::Success)),
        runs: vec![run()],
    };
    let first = lab.commit(told("1")).await;
    assert_eq!(first.answer.facts["runs"], serde_json::json!([1]));
    // Told again it names what it started, and a rule that is new since starts nothing.
    let new = boardhand::store::NewRun { once: Some("build:socA:1:new".into()), ..lab.new_run() };
    let same = Box::new(build("socA", "1", None, BuildResult::Success));
    let again = lab.commit(Effect::Build { build: same, runs: vec![run(), new] }).await;
    assert_eq!(again.answer.facts["runs"], serde_json::json!([1, null]));
    // Once a build was forgotten, its rule is not.
    let other = lab.commit(told("2")).await;
    assert_eq!(other.answer.facts["runs"], serde_json::json!([1]));
    assert_eq!(
        lab.store
            .run_list(&boardhand::store::RunFilter { limit: 9, ..Default::default() })
            .await
            .expect("runs")
            .len(),
        1
    );
}

async fn old_builds_go_but_the_latest_and_those_that_runs_wait_for(lab: &Lab) {
    for id in ["build-123", "1", "2", "3"] {
        register(lab, build("socA", id, Some("main"), BuildResult::Success)).await;
    }
    register(lab, build("socA", "4", Some("main"), BuildResult::Failure)).await;
    register(lab, build("socA", "5", Some("topic"), BuildResult::Success)).await;
    lab.waiting().await; // For build-123.
    let outdated = |seconds| Outdated {
        events: at(0),
        audit: at(0),
        messages: at(0),
        errands: at(0),
        leases: at(0),
        builds: at(seconds),
        campaigns: at(0),
        read_to: None,
    };
    let tidied = lab.store.tidy(&outdated(0), TidyFrom::default(), 100).await.expect("tidy");
    assert_eq!(tidied.builds, 0, "they are young");
    let tidied = lab.store.tidy(&outdated(1), TidyFrom::default(), 100).await.expect("tidy");
    assert_eq!(tidied.builds, 2);
    assert_eq!(ids(lab, BuildsOf::All, false, 9).await, ["5", "4", "3", "build-123"]);
}
