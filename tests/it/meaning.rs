//! What an outcome means to the people who read of it: whether its failure is new, and what has changed since when.

use crate::lab::{CHANNEL, Lab, lab, yaml};

/// Starts a run and waits for its last word; gives the lines of it that say how new its failure is.
async fn last_word(lab: &Lab, text: &str) -> (i64, String) {
    let run = lab.run("alice", text).await;
    lab.until_state(run, "finished").await;
    lab.settle().await;
    (run, said(lab, run, is_news))
}

/// Such a line of a run's card, which must stand in the last word of its thread too.
fn said(lab: &Lab, run: i64, is_such: fn(&str) -> bool) -> String {
    let thread = lab.thread(run);
    let (card, replies) = thread.split_once("\nboardhand: ").expect("a card and its replies");
    let line = |part: &str| part.lines().map(str::trim).find(|line| is_such(line)).map(str::to_owned);
    assert_eq!(line(card), line(replies), "card and thread say the same:\n{thread}");
    line(card).unwrap_or_default()
}

fn is_news(line: &str) -> bool {
    ["New failure", "New lab trouble", "Seen "].iter().any(|word| line.starts_with(word))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_new_once_and_then_seen_since_its_first_build() {
    lab(&yaml::small(1), async |lab| {
        assert_eq!(last_word(lab, "/run-test socA build-119").await.1, "");
        assert_eq!(last_word(lab, "/run-test socA build-120-panic").await.1, "New failure on socA.");
        let (_, said) = last_word(lab, "/run-test socA build-121-panic").await;
        assert_eq!(said, "Seen 1 time before on socA since `build-120-panic`, last in #2 <time>.");
        let (third, said) = last_word(lab, "/run-test socA build-122-panic").await;
        assert_eq!(said, "Seen 2 times before on socA since `build-120-panic`, last in #3 <time>.");
        assert_eq!(last_word(lab, "/run-test socA build-123-none").await.1, "New failure on socA.");
        let seen = lab.talk(&[("bob", &format!("/lab run {third}")), ("bob", "/lab run 1")]).await;
        assert!(seen.contains(&format!("    {said}\n")), "{seen}");
        assert_eq!(seen.matches("Signature `").count(), 1, "{seen}");
        lab.read_all();
    })
    .await;
}

/// What people read about the cases of a run beside those before it.
fn is_change(line: &str) -> bool {
    line.contains(" since `") && !line.starts_with("Seen ") || line.starts_with("Last good: ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_told_beside_the_last_one_of_another_build() {
    lab(&yaml::small(1), async |lab| {
        let changed = async |text: &str| {
            let run = lab.run("alice", text).await;
            lab.until_state(run, "finished").await;
            lab.settle().await;
            said(lab, run, is_change)
        };
        assert_eq!(changed("/run-test socA build-107-fail").await, "", "there was no run before it");
        assert_eq!(
            changed("/run-test socA build-119").await,
            "2 fixed (`gemm.gemm_bf16_64x64`, `memory.memory_shared_buffer`) since `build-107-fail` (#1)."
        );
        assert_eq!(changed("/run-test socA build-121").await, "", "nothing has changed");
        assert_eq!(
            changed("/run-test socA build-133-fail").await,
            "2 new failures (`gemm.gemm_bf16_64x64`, `memory.memory_alloc_free`) since `build-121` (#3)."
        );
        assert_eq!(
            changed("/run-test socA build-117-fail").await,
            "2 new failures (`gemm.gemm_f32_128x128`, `memory.memory_shared_buffer`), 1 fixed (`memory.memory_alloc_free`), \
             1 flaky (`gemm.gemm_bf16_64x64` in 3 of 5 runs) since `build-133-fail` (#4); last good: `build-121` (#3)."
        );
        assert_eq!(
            changed("/run-test socA build-101-panic").await,
            "1 fixed (`gemm.gemm_f32_128x128`), 1 failed before and did not run, 16 passed before and did not run since \
             `build-117-fail` (#5); last good: `build-121` (#3)."
        );
        assert_eq!(changed("/run-test socA build-missing").await, "", "the lab's trouble says nothing");
        assert_eq!(changed("/run-test socA build-none").await, "Last good: `build-121` (#3).");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_runs_or_builds_are_compared_case_by_case() {
    lab(&yaml::small(1), async |lab| {
        for build in ["build-107-fail", "build-119", "build-133-fail"] {
            let run = lab.run("alice", &format!("/run-test socA {build}")).await;
            lab.until_state(run, "finished").await;
        }
        let seen = lab
            .talk(&[
                ("bob", "/lab compare 1 3"),
                ("bob", "/lab compare build-119 #3"),
                ("bob", "/lab compare build-119 build-133-fail soca suite=smoke"),
                ("bob", "/lab 对比 3 3"),
                ("bob", "/lab compare 3"),
                ("bob", "/lab compare 1"),
                ("bob", "/lab compare"),
                ("bob", "/lab compare 1 99"),
                ("bob", "/lab compare build-119 build-133-fial socA"),
                ("bob", "/lab compare build-119 build-133-fail socX"),
                ("bob", "/lab compare build-119 build-133-fail suite=full"),
                ("bob", "/lab compare build-119 b;x"),
            ])
            .await;
        insta::assert_snapshot!(seen, @r#"
            bob> /lab compare 1 3
                build-107-fail → build-133-fail
                *#1* ❌ Failed (tests-failed) · socA · `build-107-fail` · smoke on `soc-a-001` · 21 passed, *2* failed · <time>
                *#3* ❌ Failed (tests-failed) · socA · `build-133-fail` · smoke on `soc-a-001` · 21 passed, *2* failed · <time>
                1 new failure (`memory.memory_alloc_free`)
                1 fixed (`memory.memory_shared_buffer`)
                1 still failing (`gemm.gemm_bf16_64x64`)
                Side by side

            bob> /lab compare build-119 #3
                build-119 → build-133-fail
                *#2* ✅ Passed · socA · `build-119` · smoke on `soc-a-001` · 23 passed · <time>
                *#3* ❌ Failed (tests-failed) · socA · `build-133-fail` · smoke on `soc-a-001` · 21 passed, *2* failed · <time>
                2 new failures (`gemm.gemm_bf16_64x64`, `memory.memory_alloc_free`)
                Side by side

            bob> /lab compare build-119 build-133-fail soca suite=smoke
                build-119 → build-133-fail
                *#2* ✅ Passed · socA · `build-119` · smoke on `soc-a-001` · 23 passed · <time>
                *#3* ❌ Failed (tests-failed) · socA · `build-133-fail` · smoke on `soc-a-001` · 21 passed, *2* failed · <time>
                2 new failures (`gemm.gemm_bf16_64x64`, `memory.memory_alloc_free`)
                Side by side

            bob> /lab 对比 3 3
                ✋ #3 is one run; there is nothing to compare it with.
                Try: `/lab compare 3`

            bob> /lab compare 3
                build-119 → build-133-fail
                *#2* ✅ Passed · socA · `build-119` · smoke on `soc-a-001` · 23 passed · <time>
                *#3* ❌ Failed (tests-failed) · socA · `build-133-fail` · smoke on `soc-a-001` · 21 passed, *2* failed · <time>
                2 new failures (`gemm.gemm_bf16_64x64`, `memory.memory_alloc_free`)
                Side by side

            bob> /lab compare 1
                ✋ #1 is the first run of socA smoke.
                Try: `/lab runs`

            bob> /lab compare
                🤔 'compare' needs a run such as #42, or a build.
                Usage: `/lab compare [#|build] [#|build] [soc] [suite=…]`
                Try: `/lab compare build-119 build-123 socA`
                `/lab help` shows what I can do.

            bob> /lab compare 1 99
                ✋ There is no run #99.
                Try: `/lab runs`

            bob> /lab compare build-119 build-133-fial socA
                ✋ No run of build-133-fial on socA has ended. Did you mean `build-133-fail`?
                Try: `/lab compare build-119 build-133-fail socA`

            bob> /lab compare build-119 build-133-fail socX
                ✋ There is no family "socX". Did you mean `socA`?
                Try: `/lab compare build-119 build-133-fail socA`

            bob> /lab compare build-119 build-133-fail suite=full
                ✋ No run of build-119 with the suite "full" has ended.
                Try: `/lab runs`

            bob> /lab compare build-119 b;x
                🤔 'b;x' is not a build: a build id holds letters, digits and . _ : / @ + - only.
                Usage: `/lab compare [#|build] [#|build] [soc] [suite=…]`
                Try: `/lab compare build-119 build-123 socA`
                `/lab help` shows what I can do.
        "#);
        lab.settle().await;
        let card = lab.card(3);
        lab.slack.say_in_thread("bob", CHANNEL, &card, "@boardhand compare").await;
        assert!(lab.answer("bob").await.starts_with("build-119 → build-133-fail\n"));
        lab.slack.say_in_thread("bob", CHANNEL, &card, "@boardhand compare 1").await;
        assert!(lab.answer("bob").await.starts_with("build-107-fail → build-133-fail\n"));
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_compared_is_answered_with_what_can() {
    lab(&yaml::small(1), async |lab| {
        for soc in ["socA", "socB"] {
            for build in ["build-1", "build-2"] {
                let run = lab.run("alice", &format!("/run-test {soc} {build}")).await;
                lab.until_state(run, "finished").await;
            }
        }
        let crawling = lab.run("alice", "/run-test socA build-crawl").await;
        lab.until_state(crawling, "testing").await;
        let mut seen = lab
            .talk(&[
                ("bob", "/lab compare build-1 build-2"),
                ("bob", "/lab compare build-1 build-2 socB"),
                ("bob", "/lab compare 1 5"),
            ])
            .await;
        lab.say("alice", "/lab cancel 5").await;
        lab.until_state(crawling, "finished").await;
        seen += &lab
            .talk(&[
                ("bob", "/lab compare 5"),
                ("bob", "/lab compare 1 5"),
                ("bob", "/lab compare build-crawl build-2 socB"),
            ])
            .await;
        insta::assert_snapshot!(seen, @r#"
            bob> /lab compare build-1 build-2
                ✋ build-1 and build-2 were both tested on socB and socA: say on which.
                Try: `/lab compare build-1 build-2 socB`

            bob> /lab compare build-1 build-2 socB
                build-1 → build-2
                *#3* ✅ Passed · socB · `build-1` · smoke on `soc-b-001` · 1 passed · <time>
                *#4* ✅ Passed · socB · `build-2` · smoke on `soc-b-001` · 1 passed · <time>
                The same test cases pass and fail.
                Side by side

            bob> /lab compare 1 5
                ✋ #5 is not finished yet.
                Try: `/lab run 5`

            bob> /lab compare 5
                ✋ #5 says nothing about its build: it ended as cancelled.
                Try: `/lab run 5`

            bob> /lab compare 1 5
                build-1 → build-crawl
                *#1* ✅ Passed · socA · `build-1` · smoke on `soc-a-001` · 23 passed · <time>
                *#5* 🚫 Cancelled · socA · `build-crawl` · smoke on `soc-a-001` · <time>
                #5 has no test cases to compare.
                Side by side

            bob> /lab compare build-crawl build-2 socB
                ✋ No run of build-crawl on socB has ended.
                Try: `/lab runs`
        "#);
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
