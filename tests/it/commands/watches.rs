//! Word of runs by direct message: asked for and told once, or of every failure of a family, in both languages.

use crate::lab::{lab, steady, yaml};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_watches_a_run_is_told_directly_how_it_ended_and_once() {
    lab(&yaml::small(1), async |lab| {
        let run = lab.run("alice", "/run-test socA build-fail").await;
        let seen = lab
            .talk(&[
                ("bob", "/lab watch 1"),
                ("bob", "/lab 关注 #1"),
                ("bob", "/lab watch"),
                ("bob", "/lab unwatch socA"),
                ("bob", "/lab watch 7"),
                ("bob", "/lab unwatch"),
            ])
            .await;
        insta::assert_snapshot!(seen, @r#"
            bob> /lab watch 1
                👀 You will get a direct message when *#1* has ended.

            bob> /lab 关注 #1
                👀 You watch *#1* already.

            bob> /lab watch
                👀 You are told directly
                • how *#1* ends

            bob> /lab unwatch socA
                You do not watch `socA`. What you watch: `/lab watch`

            bob> /lab watch 7
                ✋ There is no run #7.
                Try: `/lab runs`

            bob> /lab unwatch
                🤔 'unwatch' needs one of #, soc.
                Usage: `/lab unwatch <#|soc>`
                Try: `/lab unwatch socA`
                `/lab help` shows what I can do.
        "#);
        assert_eq!(lab.verdict(run).await, "failed tests-failed in testing");
        insta::assert_snapshot!(steady(&lab.direct("bob", "Failed").await), @r#"
            boardhand: *❌ Failed* *#1* socA · `build-fail` · smoke · `tests-failed` on `soc-a-001`: 17 passed, *2* failed
              Failed: `gemm.gemm_i4_packed`, `memory.memory_alloc_free`
              New failure on socA.
              By @alice · Console log
        "#);
        lab.settle().await;
        insta::assert_snapshot!(lab.talk(&[("bob", "/lab watch"), ("bob", "/lab watch 1")]).await, @r#"
            bob> /lab watch
                You watch nothing. To be told how a run ends: `/lab watch #42`

            bob> /lab watch 1
                #1 is finished already: ❌ Failed. To run it again: `/lab retry 1`
        "#);
        assert_eq!(lab.rows("SELECT count(*) FROM watches").await, ["0"]);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_watches_a_family_is_told_of_what_goes_wrong_until_they_do_not_watch_it() {
    lab(&yaml::small(1), async |lab| {
        insta::assert_snapshot!(lab.talk(&[("bob", "/lab watch socA"), ("bob", "/lab watch")]).await, @r#"
            bob> /lab watch socA
                👀 You will get a direct message of every run of `socA` that goes wrong. No more of it: `/lab unwatch socA`

            bob> /lab watch
                👀 You are told directly
                • of runs of `socA` that go wrong
        "#);
        for build in ["build-123", "build-fail", "build-123"] {
            let run = lab.run("alice", &format!("/run-test socA {build}")).await;
            lab.verdict(run).await;
        }
        // One that nobody drove.
        lab.settle().await;
        let told = lab.direct("bob", "Failed").await;
        insta::assert_snapshot!(steady(&told), @r#"
            boardhand: *❌ Failed* *#2* socA · `build-fail` · smoke · `tests-failed` on `soc-a-001`: 17 passed, *2* failed
              Failed: `gemm.gemm_i4_packed`, `memory.memory_alloc_free`
              New failure on socA.
              By @alice · Console log · You watch socA; no more of it: `/lab unwatch socA`
        "#);
        insta::assert_snapshot!(lab.say("bob", "/lab unwatch socA").await, @"🔕 I tell you nothing of `socA` any more.");
        let run = lab.run("alice", "/run-test socA build-fail").await;
        assert_eq!(lab.verdict(run).await, "failed tests-failed in testing");
        lab.settle().await;
        let direct = lab.slack.with(|world| world.channels["D0BOB"].messages.len());
        assert_eq!(direct, 1, "only the one");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_called_off_while_it_waits_is_told_too() {
    lab(&yaml::small(1), async |lab| {
        let first = lab.run("alice", "/run-test socA build-crawl").await;
        lab.until_state(first, "testing").await;
        let waits = lab.run("alice", "/run-test socA build-123").await;
        lab.say("bob", &format!("/lab watch {waits}")).await;
        lab.say("alice", &format!("/lab cancel {waits}")).await;
        insta::assert_snapshot!(steady(&lab.direct("bob", "Cancelled").await), @r#"
            boardhand: *🚫 Cancelled* *#2* socA · `build-123` · smoke
              By @alice
        "#);
        lab.say("alice", &format!("/lab cancel {first}")).await;
        lab.verdict(first).await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
