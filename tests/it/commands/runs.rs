//! Runs by command: started, waiting, cancelled, and spoken of in their own thread.

use crate::lab::{CHANNEL, lab, yaml};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_boards_and_runs_than_are_listed_are_counted() {
    lab(&yaml::small(41), async |lab| {
        let seen = lab.say("alice", "/lab boards").await;
        assert!(seen.starts_with("*Boards*: 42 free, 0 busy"), "{seen}");
        assert!(seen.contains("and 2 more"), "{seen}");
        lab.say("alice", "/run-test soc-a-001 build-crawl").await;
        lab.until_state(1, "testing").await;
        for _ in 0..16 {
            lab.say("bob", "/run-test soc-a-001 build-2").await;
        }
        lab.say("bob", "/run-test soc-a-001 build-2 priority=high").await;
        let seen = lab.say("alice", "/lab runs").await;
        let numbers: Vec<&str> = seen.lines().filter(|line| line.starts_with("*#")).collect();
        assert!(numbers[0].starts_with("*#1*") && numbers[1].starts_with("*#18*"), "{seen}");
        assert!(numbers[2].starts_with("*#2*") && numbers.len() == 15, "{seen}");
        assert!(seen.contains("and 3 more that wait"), "{seen}");
        for run in 1..=18 {
            lab.say("bob", &format!("/lab cancel {run}")).await;
        }
        lab.settle().await;
        let seen = lab.say("alice", "/lab runs").await;
        assert!(seen.contains("*#18*") && !seen.contains("more that wait"), "{seen}");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_is_told_for_whom_and_where_in_line() {
    lab(&yaml::small(1), async |lab| {
        let first = lab.run("alice", "/run-test socA build-crawl").await;
        lab.until_state(first, "testing").await;
        let mut seen = lab.talk(&[("bob", "/run-test socA build-2")]).await;
        lab.until_card(2, "Place in line").await;
        seen += &lab.talk(&[("bob", "/run-test socA build-3")]).await;
        lab.until_card(3, "Place in line").await;
        seen += &lab.talk(&[("alice", "/run-test socA build-4 priority=high")]).await;
        insta::assert_snapshot!(seen, @r#"
            bob> /run-test socA build-2
                👍 *#2* socA · `build-2` · smoke
                Every board that fits is busy.
                Its card is on its way to this channel. Why is it waiting: `/lab why 2`

            bob> /run-test socA build-3
                👍 *#3* socA · `build-3` · smoke
                1 other run waits for these boards too.
                Its card is on its way to this channel. Why is it waiting: `/lab why 3`

            alice> /run-test socA build-4 priority=high
                👍 *#4* socA · `build-4` · smoke · high priority
                2 other runs wait for these boards too.
                Its card is on its way to this channel. Why is it waiting: `/lab why 4`
        "#);
        lab.until_card(4, "Place in line").await;
        let seen = lab
            .talk(&[
                ("bob", "/lab why 1"),
                ("bob", "/lab why 2"),
                ("bob", "/lab why #3"),
                ("bob", "/lab why 4"),
                ("bob", "/lab boards socA"),
                ("bob", "/lab runs"),
                ("bob", "/lab runs mine"),
                ("bob", "/lab run 1"),
                ("bob", "/lab run 3"),
            ])
            .await;
        insta::assert_snapshot!(seen, @r#"
            bob> /lab why 1
                *#1* is not waiting: 🔄 Testing on `soc-a-001`.

            bob> /lab why 2
                *#2* waits at place 2 in line.
                #4 is first in line, with high priority. Busy now: `soc-a-001` (run #1).

            bob> /lab why #3
                *#3* waits at place 3 in line.
                #4 is first in line, with high priority. Busy now: `soc-a-001` (run #1).

            bob> /lab why 4
                *#4* waits at place 1 in line.
                The only board that fits is busy: `soc-a-001` (run #1).

            bob> /lab boards socA
                *Boards of socA*: 0 free, 1 busy
                🔵 `soc-a-001` socA · Lab Site A · run #1 since <time>

            bob> /lab runs
                *Runs*: on boards, waiting, ended last
                *#1* 🔄 Testing · socA · `build-crawl` · smoke on `soc-a-001` by @alice · <time>
                *#4* ⏳ Waiting for a board · socA · `build-4` · smoke by @alice · <time>
                *#2* ⏳ Waiting for a board · socA · `build-2` · smoke by @bob · <time>
                *#3* ⏳ Waiting for a board · socA · `build-3` · smoke by @bob · <time>

            bob> /lab runs mine
                *Your runs*: on boards, waiting, ended last
                *#2* ⏳ Waiting for a board · socA · `build-2` · smoke · <time>
                *#3* ⏳ Waiting for a board · socA · `build-3` · smoke · <time>

            bob> /lab run 1
                #1 socA · build-crawl · smoke
                *🔄 Testing*
                *By* @alice
                *Asked for* <time>
                1. `soc-a-001` 🔄
                Console log

            bob> /lab run 3
                #3 socA · build-3 · smoke
                *⏳ Waiting for a board*
                #4 is first in line, with high priority. Busy now: `soc-a-001` (run #1).
                *By* @bob
                *Asked for* <time>
        "#);
        insta::assert_snapshot!(lab.click("bob", 3, "Why is it waiting?").await, @r#"
            *#3* waits at place 3 in line.
            #4 is first in line, with high priority. Busy now: `soc-a-001` (run #1).
        "#);
        for run in 1..=4 {
            lab.say("alice", &format!("/lab cancel {run}")).await;
        }
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_cancelled_while_it_waits_and_while_it_runs_and_once() {
    lab(&yaml::small(1), async |lab| {
        let running = lab.run("alice", "/run-test socA build-crawl").await;
        let waiting = lab.run("alice", "/run-test socA build-2").await;
        lab.until_state(running, "testing").await;
        let seen = lab
            .talk(&[
                ("bob", &format!("/lab cancel {waiting}")),
                ("bob", &format!("/lab cancel {waiting}")),
                ("bob", &format!("/lab cancel {running}")),
            ])
            .await;
        insta::assert_snapshot!(seen, @r#"
            bob> /lab cancel 2
                🚫 #2 is cancelled. It had no board yet.

            bob> /lab cancel 2
                #2 is finished already: 🚫 Cancelled. To run it again: `/lab retry 2`

            bob> /lab cancel 1
                🚫 #1 is being ended: its board is brought to rest first. The card will tell.
        "#);
        lab.until_card(running, "Cancelled").await;
        lab.settle().await;
        insta::assert_snapshot!(lab.thread(running), @r#"
            boardhand: #1 socA · build-crawl · smoke
              *🚫 Cancelled*
              Ended by bob.
              *Board* `soc-a-001`
              *By* @alice
              *Took* N s
              ✓ power   ✓ boot   ✓ deploy   ✗ test   · collect
              Finished <time> · Console log
              [Retry] [Power Cycle] [Log]
            boardhand: ▶️ `soc-a-001` is up, `build-crawl` is being tested.
            boardhand: 🚫 Cancelled by @bob on `soc-a-001`.
        "#);
        insta::assert_snapshot!(lab.thread(waiting), @r#"
            boardhand: #2 socA · build-2 · smoke
              *🚫 Cancelled*
              Ended by bob while it waited.
              *By* @alice
              Finished <time>
              [Retry]
            boardhand: 🚫 Cancelled by @bob while it waited.
        "#);
        assert_eq!(lab.on(), ["soc-b-001"]);
        let audit = lab.rows("SELECT actor, verb, target, allowed FROM audit ORDER BY position").await;
        insta::assert_snapshot!(audit.join("\n"), @r#"
            slack:U0ALICE | run-test | socA build-crawl | 1
            slack:U0ALICE | run-test | socA build-2 | 1
            slack:U0BOB | cancel | #2 | 1
            slack:U0BOB | cancel | #2 | 1
            slack:U0BOB | cancel | #1 | 1
        "#);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_thread_of_a_run_knows_its_run() {
    lab(&yaml::small(1), async |lab| {
        let run = lab.run("alice", "/run-test socA build-fail").await;
        lab.until_card(run, "Failed").await;
        lab.settle().await;
        let card = lab.card(run);
        lab.slack.say_in_thread("bob", CHANNEL, &card, "@boardhand run").await;
        insta::assert_snapshot!(lab.answer("bob").await, @r#"
            #1 socA · build-fail · smoke
            *❌ Failed* · `tests-failed`
            Failed: `gemm.gemm_i4_packed`, `memory.memory_alloc_free`
            New failure on socA.
            *By* @alice
            *Asked for* <time>
            *Finished* <time>
            *Took* N s
            *Tests* 17 passed, *2* failed
            1. `soc-a-001` ❌ Failed (tests-failed)
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
            Signature `11d61a096588` · Console log
        "#);
        lab.slack.say_in_thread("bob", CHANNEL, &card, "@boardhand retry").await;
        insta::assert_snapshot!(lab.answer("bob").await, @r#"
            👍 *#2* socA · `build-fail` · smoke repeats #1
            A board is free: it starts right away.
            Its card is on its way to this channel.
        "#);
        lab.until_card(2, "Failed").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
