//! Retries by button and by word: once per button, and elsewhere when asked.

use crate::lab::{CHANNEL, lab, steady, yaml};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_clicks_on_retry_are_one_run_and_nine_answers() {
    lab(&yaml::small(2), async |lab| {
        let run = lab.run("alice", "/run-test socA build-fail").await;
        lab.until_card(run, "Failed").await;
        lab.settle().await;
        lab.thread(run);
        let card = lab.card(run);
        let clicks =
            (0..10).map(|n| lab.slack.click(if n % 2 == 0 { "alice" } else { "bob" }, &card, "Retry"));
        for reply in futures_util::future::join_all(clicks).await {
            assert_eq!(reply.status, 200);
        }
        lab.settle().await;
        assert_eq!(lab.rows("SELECT number, retry_of FROM runs ORDER BY number").await, ["1 | -", "2 | 1"]);
        let answers = format!("{}\n{}", lab.slack.render_answers("alice"), lab.slack.render_answers("bob"));
        assert_eq!(answers.matches("👍").count(), 1, "{answers}");
        assert_eq!(answers.matches("That was clicked before: #1 is retried as *#2*").count(), 9, "{answers}");
        // Who was first is a matter of luck.
        let seen = lab.thread(run).replace("by @bob", "by @alice").replace("🔁 @bob", "🔁 @alice");
        insta::assert_snapshot!(seen, @r#"
            boardhand: #1 socA · build-fail · smoke
              *❌ Failed* · `tests-failed`
              Failed: `gemm.gemm_i4_packed`, `memory.memory_alloc_free`
              New failure on socA.
              *Board* `soc-a-001`
              *By* @alice
              *Tests* 17 passed, *2* failed
              *Took* N s
              ✓ power   ✓ boot   ✓ deploy   ✗ test   ✓ collect
              ```
                  ok 3 gemm_i8_512x512
                  ok 4 gemm_bf16_64x64
                  # gemm_i4_packed: EXPECTATION FAILED at tests/gemm.c:118
                  # Expected out[17] == 0x3c00, but
                  #     out[17] == 0x3bff
                  not ok 5 gemm_i4_packed
              # gemm: pass:4 fail:1 skip:0 total:5
              not ok 2 gemm
                  KTAP version 1
              ```
              Retried as #2 by @alice · Finished <time> · Console log
              [Retry] [Retry on another board] [Hold 30 min] [Power Cycle] [Log]
            boardhand: ▶️ `soc-a-001` is up, `build-fail` is being tested.
            boardhand: *❌ Failed* · `tests-failed` on `soc-a-001` in N s: 17 passed, *2* failed · @alice
              Failed: `gemm.gemm_i4_packed`, `memory.memory_alloc_free`
              New failure on socA.
              ```
                  ok 3 gemm_i8_512x512
                  ok 4 gemm_bf16_64x64
                  # gemm_i4_packed: EXPECTATION FAILED at tests/gemm.c:118
                  # Expected out[17] == 0x3c00, but
                  #     out[17] == 0x3bff
                  not ok 5 gemm_i4_packed
              # gemm: pass:4 fail:1 skip:0 total:5
              not ok 2 gemm
                  KTAP version 1
              ```
              Console log
            boardhand: 🔁 @alice retries this as *#2*.
        "#);
        let again = lab.say("bob", "/lab retry 1 elsewhere").await;
        insta::assert_snapshot!(steady(&again), @r#"
            👍 *#3* socA · `build-fail` · smoke repeats #1
            A board is free: it starts right away.
            Its card is on its way to this channel.
        "#);
        lab.until_card(3, "Failed").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_elsewhere_avoids_the_board_that_failed() {
    lab(&yaml::small(2), async |lab| {
        let run = lab.run("alice", "/run-test socA build-fail").await;
        lab.until_card(run, "Failed").await;
        lab.settle().await;
        insta::assert_snapshot!(lab.click("alice", run, "Retry on another board").await, @r#"
            👍 *#2* socA · `build-fail` · smoke repeats #1
            A board is free: it starts right away.
            Its card is on its way to this channel.
        "#);
        lab.until_card(2, "Failed").await;
        lab.settle().await;
        assert_eq!(lab.rows("SELECT run, board FROM attempts").await, ["1 | soc-a-001", "2 | soc-a-002"]);
        insta::assert_snapshot!(lab.thread(2), @r#"
            boardhand: #2 socA · build-fail · smoke
              *❌ Failed* · `tests-failed`
              Failed: `gemm.gemm_i4_packed`, `memory.memory_alloc_free`
              Seen 1 time before on socA since `build-fail`, last in #1 <time>.
              2 still failing since `build-fail` (#1).
              *Board* `soc-a-002`
              *By* @alice
              *Tests* 17 passed, *2* failed
              *Took* N s
              ✓ power   ✓ boot   ✓ deploy   ✗ test   ✓ collect
              ```
                  ok 3 gemm_i8_512x512
                  ok 4 gemm_bf16_64x64
                  # gemm_i4_packed: EXPECTATION FAILED at tests/gemm.c:118
                  # Expected out[17] == 0x3c00, but
                  #     out[17] == 0x3bff
                  not ok 5 gemm_i4_packed
              # gemm: pass:4 fail:1 skip:0 total:5
              not ok 2 gemm
                  KTAP version 1
              ```
              Repeats #1 · Finished <time> · Console log
              [Retry] [Retry on another board] [Hold 30 min] [Power Cycle] [Log]
            boardhand: ▶️ `soc-a-002` is up, `build-fail` is being tested.
            boardhand: *❌ Failed* · `tests-failed` on `soc-a-002` in N s: 17 passed, *2* failed · @alice
              Failed: `gemm.gemm_i4_packed`, `memory.memory_alloc_free`
              Seen 1 time before on socA since `build-fail`, last in #1 <time>.
              2 still failing since `build-fail` (#1).
              ```
                  ok 3 gemm_i8_512x512
                  ok 4 gemm_bf16_64x64
                  # gemm_i4_packed: EXPECTATION FAILED at tests/gemm.c:118
                  # Expected out[17] == 0x3c00, but
                  #     out[17] == 0x3bff
                  not ok 5 gemm_i4_packed
              # gemm: pass:4 fail:1 skip:0 total:5
              not ok 2 gemm
                  KTAP version 1
              ```
              Console log
        "#);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_that_is_typed_in_another_channel_is_told_there() {
    lab(&yaml::small(1), async |lab| {
        let run = lab.run("alice", "/run-test socA build-1").await;
        lab.verdict(run).await;
        lab.settle().await;
        lab.slack.say("alice", "D0ALICE", &format!("/lab retry {run}")).await;
        assert!(lab.verdict(2).await.starts_with("passed"));
        lab.settle().await;
        assert!(lab.slack.render_channel("D0ALICE").contains("#2 socA · build-1"));
        let here = lab.slack.render_channel(CHANNEL);
        assert!(!here.contains("#2 socA") && here.contains("Retried as #2 by @alice"), "{here}");
        lab.read_all();
    })
    .await;
}
