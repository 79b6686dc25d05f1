//! Commands, told by the people who type them and press buttons: what each sees at once, also when the bot refuses,
//! when somebody was faster, and when what they saw is out of date.

use crate::lab::{CHANNEL, lab, steady, yaml};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_new_asks_around() {
    lab(&yaml::small(2), async |lab| {
        let seen = lab
            .talk(&[
                ("alice", "/lab"),
                ("alice", "/lab help power"),
                ("alice", "/lab help nothing"),
                ("alice", "/run-test --help"),
                ("alice", "/lab boards"),
                ("alice", "/lab boards socB"),
                ("alice", "/lab boards lab site a"),
                ("alice", "/lab board soc-a-002"),
                ("alice", "/lab board SOC-B-001"),
                ("alice", "/lab runs"),
                ("alice", "/lab run 7"),
                ("alice", "/lab why"),
            ])
            .await;
        insta::assert_snapshot!(seen, @r#"
            alice> /lab
                What I can do
                `/run-test <soc|board> <build> [suite=…] [priority=high|normal|low] [rev=…] [tag=k:v] [on=board] [timeout=20m] [boards=2] [x3] [name=value …]`
                Test a build on a board; add x3 to run it three times.
                
                `/lab boards [soc|site]`
                Which boards there are, and who has them.
                
                `/lab board <board>`
                One board: state, holder, last runs.
                
                `/lab runs [mine]`
                What runs and what waits.
                
                `/lab run <#>`
                One run: where it is, or how it ended.
                
                `/lab why <#>`
                Why a run is still waiting.
                
                `/lab cancel <#>`
                End a run; other people's runs need an operator.
                
                `/lab retry <#> [elsewhere]`
                Run the same again, with elsewhere on another board.
                
                `/lab power <board> <on|off|cycle|status>`
                Switch or read a board's power.
                
                `/lab return <board>`
                Put a quarantined board back into service.
                
                `/lab help [command]`
                What can be typed here.
                In a mention or a direct message the slash and `lab` may be left out; in the thread of a run, its number too: `@boardhand cancel`. More about one command: `/lab help run-test`

            alice> /lab help power
                `/lab power <board> <on|off|cycle|status>`
                Switch or read a board's power.
                For example: `/lab power soc-a-001 cycle` · needs the role operator

            alice> /lab help nothing
                What I can do
                I have no such command; these are the ones I have:
                `/run-test <soc|board> <build> [suite=…] [priority=high|normal|low] [rev=…] [tag=k:v] [on=board] [timeout=20m] [boards=2] [x3] [name=value …]`
                Test a build on a board; add x3 to run it three times.
                
                `/lab boards [soc|site]`
                Which boards there are, and who has them.
                
                `/lab board <board>`
                One board: state, holder, last runs.
                
                `/lab runs [mine]`
                What runs and what waits.
                
                `/lab run <#>`
                One run: where it is, or how it ended.
                
                `/lab why <#>`
                Why a run is still waiting.
                
                `/lab cancel <#>`
                End a run; other people's runs need an operator.
                
                `/lab retry <#> [elsewhere]`
                Run the same again, with elsewhere on another board.
                
                `/lab power <board> <on|off|cycle|status>`
                Switch or read a board's power.
                
                `/lab return <board>`
                Put a quarantined board back into service.
                
                `/lab help [command]`
                What can be typed here.
                In a mention or a direct message the slash and `lab` may be left out; in the thread of a run, its number too: `@boardhand cancel`. More about one command: `/lab help run-test`

            alice> /run-test --help
                `/run-test <soc|board> <build> [suite=…] [priority=high|normal|low] [rev=…] [tag=k:v] [on=board] [timeout=20m] [boards=2] [x3] [name=value …]`
                Test a build on a board; add x3 to run it three times.
                For example: `/run-test socA build-123 suite=smoke priority=high`

            alice> /lab boards
                *Boards*: 3 free, 0 busy
                🟢 `soc-a-001` socA · Lab Site A
                🟢 `soc-a-002` socA · Lab Site A
                🟢 `soc-b-001` socB · Lab Site B

            alice> /lab boards socB
                *Boards of socB*: 1 free, 0 busy
                🟢 `soc-b-001` socB · Lab Site B

            alice> /lab boards lab site a
                *Boards of lab site a*: 2 free, 0 busy
                🟢 `soc-a-001` socA · Lab Site A
                🟢 `soc-a-002` socA · Lab Site A

            alice> /lab board soc-a-002
                soc-a-002
                *State* 🟢 free
                *Kind* socA rev2
                *Site* Lab Site A
                *Console* `lab:port`
                *Power switch* yes

            alice> /lab board SOC-B-001
                soc-b-001
                *State* 🟢 free
                *Kind* socB
                *Site* Lab Site B
                *Console* `lab:port`
                *Power switch* no

            alice> /lab runs
                *Runs*, newest first
                No runs yet. Start one: `/run-test <soc> <build>`

            alice> /lab run 7
                ✋ There is no run #7.
                Try: `/lab runs`

            alice> /lab why
                🤔 'why' needs the number of a run, such as #42.
                Usage: `/lab why <#>`
                Try: `/lab why #42`
                `/lab help` shows what I can do.
        "#);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistake_is_told_with_what_is_near_and_what_to_type_next() {
    lab(&yaml::small(2), async |lab| {
        let seen = lab
            .talk(&[
                ("bob", "/run-test socC build-1"),
                ("bob", "/run-test zzz build-1"),
                ("bob", "/run-test socA"),
                ("bob", "/run-test"),
                ("bob", "/run-test socA build-1 suite=smok"),
                ("bob", "/run-test socA build-1 suite=nothing"),
                ("bob", "/run-test socA build-1 iteration=5"),
                ("bob", "/run-test socA build-1 iterations=5000"),
                ("bob", "/run-test socA build-1 iterations=many"),
                ("bob", "/run-test socA build-1 priority=urgent"),
                ("bob", "/run-test socA build-1 timeout=90"),
                ("bob", "/run-test socA build-1 on=soc-a-01"),
                ("bob", "/run-test socA build-1 rev=rev3"),
                ("bob", "/run-test socA build-1 tag=ddr:8g"),
                ("bob", "/run-test socA build-1 tag=ddr"),
                ("bob", "/run-test socA build-1 boards=5"),
                ("bob", "/run-test socA build-1 x99"),
                ("bob", "/run-test socA build-1 suite=smoke suite=trivial"),
                ("bob", "/run-test socA \"build 1\""),
                ("bob", "/run-test socA \"build-1"),
                ("bob", "/run-test socA build-1 on=soc-b-001"),
                ("bob", "/run-test soc-b-001 build-1 on=soc-a-001"),
                ("bob", "/lab bords"),
                ("bob", "/lab board soc-a-009"),
                ("bob", "/lab boards socX"),
                ("bob", "/lab reserve soc-a-001"),
                ("bob", "/lab power soc-a-001"),
                ("bob", "/lab power soc-a-001 explode"),
                ("bob", "/lab power soc-b-001 cycle"),
                ("bob", "/lab cancel forty"),
                ("bob", "/lab <!channel> `x` *y*"),
            ])
            .await;
        insta::assert_snapshot!(seen, @r#"
            bob> /run-test socC build-1
                ✋ There is no family and no board "socC". Did you mean `socA`?
                Try: `/run-test socA build-1`

            bob> /run-test zzz build-1
                ✋ There is no family and no board "zzz".
                Try: `/lab boards`

            bob> /run-test socA
                🤔 'run-test' needs a build.
                Usage: `/run-test <soc|board> <build> [suite=…] [priority=high|normal|low] [rev=…] [tag=k:v] [on=board] [timeout=20m] [boards=2] [x3] [name=value …]`
                Try: `/run-test socA build-123 suite=smoke priority=high`
                `/lab help` shows what I can do.

            bob> /run-test
                🤔 'run-test' needs a soc or a board, and then a build.
                Usage: `/run-test <soc|board> <build> [suite=…] [priority=high|normal|low] [rev=…] [tag=k:v] [on=board] [timeout=20m] [boards=2] [x3] [name=value …]`
                Try: `/run-test socA build-123 suite=smoke priority=high`
                `/lab help` shows what I can do.

            bob> /run-test socA build-1 suite=smok
                ✋ The family socA has no suite "smok"; it has smoke, trivial. Did you mean `smoke`?
                Try: `/run-test socA build-1 suite=smoke`

            bob> /run-test socA build-1 suite=nothing
                ✋ The family socA has no suite "nothing"; it has smoke, trivial.
                Try: `/run-test socA build-1 suite=smoke`

            bob> /run-test socA build-1 iteration=5
                ✋ The parameter iteration does not exist in the suite smoke; it has iterations. Did you mean `iterations`?
                Try: `/run-test socA build-1 iterations=5`

            bob> /run-test socA build-1 iterations=5000
                ✋ The parameter iterations must be a whole number of at most 100, not "5000".
                Try: `/lab help run-test`

            bob> /run-test socA build-1 iterations=many
                ✋ The parameter iterations must be a whole number of at most 100, not "many".
                Try: `/lab help run-test`

            bob> /run-test socA build-1 priority=urgent
                🤔 'priority' cannot be 'urgent': it must be one of high, normal, low, 1, 2, 3.
                Usage: `/run-test <soc|board> <build> [suite=…] [priority=high|normal|low] [rev=…] [tag=k:v] [on=board] [timeout=20m] [boards=2] [x3] [name=value …]`
                Try: `/run-test socA build-123 suite=smoke priority=high`
                `/lab help` shows what I can do.

            bob> /run-test socA build-1 timeout=90
                🤔 'timeout' cannot be '90': it must be a duration such as N s, 20m or 2h, at most 7 days.
                Usage: `/run-test <soc|board> <build> [suite=…] [priority=high|normal|low] [rev=…] [tag=k:v] [on=board] [timeout=20m] [boards=2] [x3] [name=value …]`
                Try: `/run-test socA build-123 suite=smoke priority=high`
                `/lab help` shows what I can do.

            bob> /run-test socA build-1 on=soc-a-01
                ✋ There is no board "soc-a-01". Did you mean `soc-a-001`?
                Try: `/run-test socA build-1 on=soc-a-001`

            bob> /run-test socA build-1 rev=rev3
                ✋ No board of socA is of revision "rev3". Did you mean `rev2`?
                Try: `/lab boards socA`

            bob> /run-test socA build-1 tag=ddr:8g
                ✋ No board of socA has the tag ddr:8g.
                Try: `/lab boards socA`

            bob> /run-test socA build-1 tag=ddr
                🤔 'tag' cannot be 'ddr': it must be key:value.
                Usage: `/run-test <soc|board> <build> [suite=…] [priority=high|normal|low] [rev=…] [tag=k:v] [on=board] [timeout=20m] [boards=2] [x3] [name=value …]`
                Try: `/run-test socA build-123 suite=smoke priority=high`
                `/lab help` shows what I can do.

            bob> /run-test socA build-1 boards=5
                ✋ It wants 5 boards of one site, and no site has more than 2 that fit.
                Try: `/lab boards socA`

            bob> /run-test socA build-1 x99
                🤔 A test can be repeated x1 to x20, not 'x99'.
                Usage: `/run-test <soc|board> <build> [suite=…] [priority=high|normal|low] [rev=…] [tag=k:v] [on=board] [timeout=20m] [boards=2] [x3] [name=value …]`
                Try: `/run-test socA build-123 suite=smoke priority=high`
                `/lab help` shows what I can do.

            bob> /run-test socA build-1 suite=smoke suite=trivial
                🤔 'suite' is given twice.
                Usage: `/run-test <soc|board> <build> [suite=…] [priority=high|normal|low] [rev=…] [tag=k:v] [on=board] [timeout=20m] [boards=2] [x3] [name=value …]`
                Try: `/run-test socA build-123 suite=smoke priority=high`
                `/lab help` shows what I can do.

            bob> /run-test socA "build 1"
                🤔 'build 1' is not a build: a build id holds letters, digits and . _ : / @ + - only.
                Usage: `/run-test <soc|board> <build> [suite=…] [priority=high|normal|low] [rev=…] [tag=k:v] [on=board] [timeout=20m] [boards=2] [x3] [name=value …]`
                Try: `/run-test socA build-123 suite=smoke priority=high`
                `/lab help` shows what I can do.

            bob> /run-test socA "build-1
                🤔 A quotation mark is never closed.
                Try: `/lab help`

            bob> /run-test socA build-1 on=soc-b-001
                ✋ The board soc-b-001 is a socB, not a socA.
                Try: `/lab boards socA`

            bob> /run-test soc-b-001 build-1 on=soc-a-001
                ✋ The board soc-a-001 is a socA, not a socB.
                Try: `/lab boards socB`

            bob> /lab bords
                🤔 'bords' is not a command. Did you mean `boards`?
                Try: `/lab boards`
                `/lab help` shows what I can do.

            bob> /lab board soc-a-009
                ✋ There is no board "soc-a-009". Did you mean `soc-a-001`?
                Try: `/lab board soc-a-001`

            bob> /lab boards socX
                ✋ No board is of a family or site called "socX". Did you mean `socA`?
                Try: `/lab boards`

            bob> /lab reserve soc-a-001
                🤔 'reserve' is not available in this version yet.
                Try: `/lab help`

            bob> /lab power soc-a-001
                🤔 'power' needs one of on, off, cycle, status.
                Usage: `/lab power <board> <on|off|cycle|status>`
                Try: `/lab power soc-a-001 cycle`
                `/lab help` shows what I can do.

            bob> /lab power soc-a-001 explode
                🤔 'action' cannot be 'explode': it must be one of on, off, cycle, status.
                Usage: `/lab power <board> <on|off|cycle|status>`
                Try: `/lab power soc-a-001 cycle`
                `/lab help` shows what I can do.

            bob> /lab power soc-b-001 cycle
                ✋ The board soc-b-001 has no power switch that boardhand can drive.
                Try: `/lab board soc-b-001`

            bob> /lab cancel forty
                🤔 'forty' is not a run: a run is a number such as #42.
                Usage: `/lab cancel <#>`
                Try: `/lab cancel #42`
                `/lab help` shows what I can do.

            bob> /lab <!channel> `x` *y*
                🤔 '!channel' is not a command.
                Try: `/lab help`
        "#);
        assert_eq!(lab.rows("SELECT count(*) FROM runs").await, ["0"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_phones_and_chats_make_of_text_is_understood() {
    lab(&yaml::small(1), async |lab| {
        for text in [
            "/run-test socA build-123",
            "/run-test soca build-123 suite=smoke priority=high",
            "/run-test\u{a0}socA\u{a0}build-123",
            "/run-test socA \u{201c}build-123\u{201d}",
            "/run-test socA build-123 suite=\u{201c}smoke\u{201d}",
            "/run-test socA build-123 \u{2014}suite smoke",
            "/run-test socA build-123 \u{2013}suite=smoke",
            "/run-test soc-a-001 build-123",
            "/lab run-test socA build-123",
        ] {
            let run = lab.run("alice", text).await;
            let spec = lab.view(run).await.run.spec;
            assert_eq!(
                (spec.family.as_str(), spec.build.as_str(), spec.suite.as_str()),
                ("socA", "build-123", "smoke"),
                "{text}"
            );
            lab.say("alice", &format!("/lab cancel {run}")).await;
        }
        for text in ["@boardhand run socA build-123", "@boardhand 运行 socA build-123"] {
            let seen = lab.ask("alice", text).await;
            assert!(seen.starts_with("👍 "), "{text}\n{seen}");
        }
        let seen = lab.slack.say("alice", "@boardhand", "lab boards").await;
        assert_eq!(seen.status, 200);
        lab.settle().await;
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
                The card in this channel shows how it goes. Why is it waiting: `/lab why 2`

            bob> /run-test socA build-3
                👍 *#3* socA · `build-3` · smoke
                1 other run waits for these boards too.
                The card in this channel shows how it goes. Why is it waiting: `/lab why 3`

            alice> /run-test socA build-4 priority=high
                👍 *#4* socA · `build-4` · smoke · high priority
                2 other runs wait for these boards too.
                The card in this channel shows how it goes. Why is it waiting: `/lab why 4`
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
                *Runs*, newest first
                *#4* ⏳ Waiting for a board · socA · `build-4` · smoke by @alice · <time>
                *#3* ⏳ Waiting for a board · socA · `build-3` · smoke by @bob · <time>
                *#2* ⏳ Waiting for a board · socA · `build-2` · smoke by @bob · <time>
                *#1* 🔄 Testing · socA · `build-crawl` · smoke on `soc-a-001` by @alice · <time>

            bob> /lab runs mine
                *Your runs*, newest first
                *#3* ⏳ Waiting for a board · socA · `build-3` · smoke · <time>
                *#2* ⏳ Waiting for a board · socA · `build-2` · smoke · <time>

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
              [Retry] [Power Cycle]
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
            *By* @alice
            *Asked for* <time>
            *Finished* <time>
            *Took* N s
            *Tests* 17 passed, *2* failed
            1. `soc-a-001` ❌ Failed (tests-failed)
            ```
            ok 1 abi
                KTAP version 1
                # Subtest: gemm
                1..5
                ok 1 gemm_f32_128x128
                ok 2 gemm_f16_256x256
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
        lab.slack.say_in_thread("bob", CHANNEL, &card, "@boardhand retry").await;
        insta::assert_snapshot!(lab.answer("bob").await, @r#"
            👍 *#2* socA · `build-fail` · smoke repeats #1
            A board is free: it starts right away.
            The card in this channel shows how it goes.
        "#);
        lab.until_card(2, "Failed").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

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
        assert_eq!(answers.matches("Somebody was first: #1 is retried as *#2*").count(), 9, "{answers}");
        // Who was first is a matter of luck.
        let seen = lab.thread(run).replace("by @bob", "by @alice").replace("🔁 @bob", "🔁 @alice");
        insta::assert_snapshot!(seen, @r#"
            boardhand: #1 socA · build-fail · smoke
              *❌ Failed* · `tests-failed`
              Failed: `gemm.gemm_i4_packed`, `memory.memory_alloc_free`
              *Board* `soc-a-001`
              *By* @alice
              *Tests* 17 passed, *2* failed
              *Took* N s
              ✓ power   ✓ boot   ✓ deploy   ✗ test   ✓ collect
              ```
              ok 1 abi
                  KTAP version 1
                  # Subtest: gemm
                  1..5
                  ok 1 gemm_f32_128x128
                  ok 2 gemm_f16_256x256
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
              [Retry] [Retry on another board] [Power Cycle]
            boardhand: ▶️ `soc-a-001` is up, `build-fail` is being tested.
            boardhand: *❌ Failed* · `tests-failed` on `soc-a-001` in N s: 17 passed, *2* failed · @alice
              Failed: `gemm.gemm_i4_packed`, `memory.memory_alloc_free`
              ```
              ok 1 abi
                  KTAP version 1
                  # Subtest: gemm
                  1..5
                  ok 1 gemm_f32_128x128
                  ok 2 gemm_f16_256x256
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
            The card in this channel shows how it goes.
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
            The card in this channel shows how it goes.
        "#);
        lab.until_card(2, "Failed").await;
        lab.settle().await;
        assert_eq!(lab.rows("SELECT run, board FROM attempts").await, ["1 | soc-a-001", "2 | soc-a-002"]);
        insta::assert_snapshot!(lab.thread(2), @r#"
            boardhand: #2 socA · build-fail · smoke
              *❌ Failed* · `tests-failed`
              Failed: `gemm.gemm_i4_packed`, `memory.memory_alloc_free`
              *Board* `soc-a-002`
              *By* @alice
              *Tests* 17 passed, *2* failed
              *Took* N s
              ✓ power   ✓ boot   ✓ deploy   ✗ test   ✓ collect
              ```
              ok 1 abi
                  KTAP version 1
                  # Subtest: gemm
                  1..5
                  ok 1 gemm_f32_128x128
                  ok 2 gemm_f16_256x256
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
              [Retry] [Retry on another board] [Power Cycle]
            boardhand: ▶️ `soc-a-002` is up, `build-fail` is being tested.
            boardhand: *❌ Failed* · `tests-failed` on `soc-a-002` in N s: 17 passed, *2* failed · @alice
              Failed: `gemm.gemm_i4_packed`, `memory.memory_alloc_free`
              ```
              ok 1 abi
                  KTAP version 1
                  # Subtest: gemm
                  1..5
                  ok 1 gemm_f32_128x128
                  ok 2 gemm_f16_256x256
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
async fn a_power_cycle_ends_the_attempt_and_is_not_tried_again() {
    lab(&yaml::small(2), async |lab| {
        let run = lab.run("alice", "/run-test socA build-crawl").await;
        lab.until_state(run, "testing").await;
        lab.until_card(run, "Testing").await;
        let card = lab.card(run);
        insta::assert_snapshot!(lab.click("bob", run, "Power Cycle").await, @"⚡ `soc-a-001` is being power-cycled, which ends this attempt of #1. The card will tell.");
        lab.until_card(run, "Lab trouble").await;
        lab.settle().await;
        insta::assert_snapshot!(lab.thread(run), @r#"
            boardhand: #1 socA · build-crawl · smoke
              *⚠️ Lab trouble* · `power-cycled`
              Power-cycled by bob.
              *Board* `soc-a-001`
              *By* @alice
              *Took* N s
              ✓ power   ✓ boot   ✓ deploy   ✗ test   · collect
              Finished <time> · Console log
              [Retry] [Retry on another board] [Power Cycle]
            boardhand: ▶️ `soc-a-001` is up, `build-crawl` is being tested.
            boardhand: *⚠️ Lab trouble* · `power-cycled` on `soc-a-001` in N s · @alice
              ⚡ @bob power-cycled the board. It is not tried again by itself.
              Console log
        "#);
        assert_eq!(lab.on(), ["soc-b-001"]);
        // Bob's phone still shows the old card.
        let stale = serde_json::json!({"type": "button", "text": {"text": "Power Cycle"}, "value": "power-cycle:1:3"});
        let seen = lab.slack.press_stale("bob", &card, &stale).await;
        assert_eq!(seen.status, 200);
        insta::assert_snapshot!(lab.answer("bob").await, @"That button is out of date: #1 is finished. Nothing was done; the card shows what is possible now.");
        // The finished card never offers it, but whoever asks in time may have the free board.
        let newest = format!("power-cycle:1:{}", lab.view(run).await.generation);
        let newest = serde_json::json!({"type": "button", "text": {"text": "Power Cycle"}, "value": newest});
        lab.slack.press_stale("bob", &card, &newest).await;
        let seen = lab.answers_until("bob", "was power-cycled").await;
        insta::assert_snapshot!(seen, @r#"
            ⚡ Switching `soc-a-001`… I'll tell you how it went.
            ⚡ `soc-a-001` was power-cycled.
        "#);
        let stale = serde_json::json!({"type": "button", "text": {"text": "Cancel"}, "value": "cancel:1:3"});
        lab.slack.press_stale("alice", &card, &stale).await;
        insta::assert_snapshot!(lab.answer("alice").await, @"#1 is finished already: ⚠️ Lab trouble. To run it again: `/lab retry 1`");
        let stale = serde_json::json!({"type": "button", "text": {"text": "Retry"}, "value": "retry:99:1"});
        lab.slack.press_stale("alice", &card, &stale).await;
        insta::assert_snapshot!(lab.answer("alice").await, @r#"
            ✋ There is no run #99.
            Try: `/lab runs`
        "#);
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_is_switched_on_a_free_board_and_refused_on_a_held_one() {
    lab(&yaml::small(2), async |lab| {
        insta::assert_snapshot!(steady(&lab.say("bob", "/lab power soc-a-002 status").await), @"🔌 Asking `soc-a-002`… I'll tell you how it went.");
        insta::assert_snapshot!(lab.answer("bob").await, @"🔌 `soc-a-002` is off.");
        insta::assert_snapshot!(steady(&lab.say("bob", "/lab power soc-a-002 on").await), @"⚡ Switching `soc-a-002`… I'll tell you how it went.");
        insta::assert_snapshot!(lab.answer("bob").await, @"⚡ `soc-a-002` was switched on.");
        assert!(lab.boards.board("soc-a-002").expect("a board").is_on());
        lab.say("bob", "/lab power cycle soc-a-002").await;
        insta::assert_snapshot!(lab.answer("bob").await, @"⚡ `soc-a-002` was power-cycled.");
        lab.say("bob", "/lab power soc-a-002 off").await;
        insta::assert_snapshot!(lab.answer("bob").await, @"⚡ `soc-a-002` was switched off.");
        assert_eq!(lab.on(), ["soc-b-001"]);

        let run = lab.run("alice", "/run-test soc-a-001 build-crawl").await;
        lab.until_state(run, "testing").await;
        let switches = lab.boards.board("soc-a-001").expect("a board").counters().switches;
        insta::assert_snapshot!(steady(&lab.say("bob", "/lab power soc-a-001 cycle").await), @r#"
            ✋ `soc-a-001` was not power-cycled: run #1 has it.
            To end that run: `/lab cancel 1`
        "#);
        assert_eq!(lab.boards.board("soc-a-001").expect("a board").counters().switches, switches);
        lab.boards.pdu("pdu-a").expect("a PDU").set_faults(|faults| faults.error = Some("overload".into()));
        lab.say("bob", "/lab power soc-a-002 on").await;
        insta::assert_snapshot!(lab.answer("bob").await, @r#"✋ `soc-a-002` was not switched on. The PDU of soc-a-002 did not do as it was told: it answered "error overload"."#);
        lab.boards.pdu("pdu-a").expect("a PDU").set_faults(|faults| faults.error = None);
        lab.say("alice", &format!("/lab cancel {run}")).await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_hold_for_words_and_buttons_and_every_refusal_is_on_record() {
    let text =
        yaml::small(2) + "roles: {admin: [slack:U0LEAD], operator: [], user: [slack:U0ALICE, slack:U0BOB]}\n";
    lab(&text, async |lab| {
        lab.slack.add_person("U0GUEST", "guest");
        let run = lab.run("alice", "/run-test socA build-crawl").await;
        lab.until_state(run, "testing").await;
        lab.until_card(run, "Testing").await;
        let seen = lab
            .talk(&[
                ("guest", "/lab help cancel"),
                ("guest", "/lab boards"),
                ("guest", "/run-test socA build-1"),
                ("bob", "/lab cancel 1"),
                ("bob", "/lab power soc-a-002 on"),
                ("bob", "/lab power soc-a-002 status"),
            ])
            .await;
        insta::assert_snapshot!(seen, @r#"
            guest> /lab help cancel
                `/lab cancel <#>`
                End a run; other people's runs need an operator.
                For example: `/lab cancel #42`

            guest> /lab boards
                🔒 You have no role in this lab and may not look at boards.
                It needs the role `user`; a lab admin gives it in boards.yaml.

            guest> /run-test socA build-1
                🔒 You have no role in this lab and may not start runs.
                It needs the role `user`; a lab admin gives it in boards.yaml.

            bob> /lab cancel 1
                🔒 Only an operator may cancel other people's runs; you are a user.
                It needs the role `operator`; a lab admin gives it in boards.yaml.

            bob> /lab power soc-a-002 on
                🔒 Only an operator may switch a board's power; you are a user.
                It needs the role `operator`; a lab admin gives it in boards.yaml.

            bob> /lab power soc-a-002 status
                🔌 Asking `soc-a-002`… I'll tell you how it went.
        "#);
        lab.answer("bob").await;
        insta::assert_snapshot!(lab.click("bob", run, "Power Cycle").await, @r#"
            🔒 Only an operator may power-cycle other people's runs; you are a user.
            It needs the role `operator`; a lab admin gives it in boards.yaml.
        "#);
        insta::assert_snapshot!(lab.click("bob", run, "Cancel").await, @r#"
            🔒 Only an operator may cancel other people's runs; you are a user.
            It needs the role `operator`; a lab admin gives it in boards.yaml.
        "#);
        insta::assert_snapshot!(steady(&lab.say("lead", "/lab cancel 1").await), @"🚫 #1 is being ended: its board is brought to rest first. The card will tell.");
        lab.settle().await;
        let audit = lab.rows("SELECT actor, verb, target, allowed, reason FROM audit ORDER BY position").await;
        insta::assert_snapshot!(audit.join("\n"), @r#"
            slack:U0ALICE | run-test | socA build-crawl | 1 | slack:U0ALICE is a user and may start runs
            slack:U0GUEST | boards |  | 0 | slack:U0GUEST has no role in this lab and may not look at boards
            slack:U0GUEST | run-test | socA build-1 | 0 | slack:U0GUEST has no role in this lab and may not start runs
            slack:U0BOB | cancel | #1 | 0 | only an operator may cancel other people's runs; slack:U0BOB is a user
            slack:U0BOB | power | soc-a-002 on | 0 | only an operator may switch a board's power; slack:U0BOB is a user
            slack:U0BOB | power | soc-a-002 status | 1 | slack:U0BOB is a user and may read a board's power
            slack:U0BOB | power-cycle | soc-a-001 cycle | 0 | only an operator may power-cycle other people's runs; slack:U0BOB is a user
            slack:U0BOB | cancel | #1 | 0 | only an operator may cancel other people's runs; slack:U0BOB is a user
            slack:U0LEAD | cancel | #1 | 1 | slack:U0LEAD is an admin and may cancel other people's runs
        "#);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantined_board_is_put_back_into_service_and_takes_runs_again() {
    lab(&yaml::small(1), async |lab| {
        lab.tamper("UPDATE boards SET health = 'quarantined', reason = 'it smokes' WHERE id = 'soc-a-001'")
            .await;
        let seen = lab
            .talk(&[
                ("bob", "/lab return soc-a-01"),
                ("bob", "/lab return soc-a-001"),
                ("bob", "/lab return soc-a-001"),
            ])
            .await;
        insta::assert_snapshot!(seen, @r#"
            bob> /lab return soc-a-01
                ✋ There is no board "soc-a-01". Did you mean `soc-a-001`?
                Try: `/lab board soc-a-001`

            bob> /lab return soc-a-001
                🟢 `soc-a-001` is back in service. Its next run starts by taking it over.

            bob> /lab return soc-a-001
                `soc-a-001` is not quarantined; there was nothing to do. Who has it: `/lab board soc-a-001`
        "#);
        let audit = lab.rows("SELECT verb, target, allowed FROM audit ORDER BY position").await;
        assert_eq!(audit, ["return | soc-a-001 | 1", "return | soc-a-001 | 1"]);
        let run = lab.run("alice", "/run-test socA build-1").await;
        assert!(lab.verdict(run).await.starts_with("passed"));
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
