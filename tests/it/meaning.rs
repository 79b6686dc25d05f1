//! What an outcome means to the people who read of it: whether its failure is new, and what has changed since when.

use crate::lab::{Lab, lab, yaml};

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
            "1 fixed (`gemm.gemm_f32_128x128`), 1 failed before and did not run since `build-117-fail` (#5); last good: \
             `build-121` (#3)."
        );
        assert_eq!(changed("/run-test socA build-missing").await, "", "the lab's trouble says nothing");
        assert_eq!(changed("/run-test socA build-none").await, "Last good: `build-121` (#3).");
        lab.read_all();
    })
    .await;
}
