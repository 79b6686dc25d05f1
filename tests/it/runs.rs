//! Runs, told by the people who ask for them: what they type, what they see at once, and the thread they read later.

use boardhand::sim::{BootStage, Faults, PduFaults};

use crate::lab::{CHANNEL, lab, yaml};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_passes_tells_its_story_in_one_card_and_its_thread() {
    lab(&yaml::small(2), async |lab| {
        let seen = lab.say("alice", "/run-test socA build-123").await;
        insta::assert_snapshot!(crate::lab::steady(&seen), @r#"
            👍 *#1* socA · `build-123` · smoke
            A board is free: it starts right away.
            Its card is on its way to this channel.
        "#);
        lab.until_card(1, "passed").await;
        lab.settle().await;
        insta::assert_snapshot!(lab.thread(1), @r#"
            boardhand: #1 socA · build-123 · smoke
              *✅ Passed*
              *Board* `soc-a-001`
              *By* @alice
              *Tests* 23 passed
              *Took* N s
              ✓ power   ✓ boot   ✓ deploy   ✓ test   ✓ collect
              Finished <time> · Console log
              [Retry] [Log]
            boardhand: ▶️ `soc-a-001` is up, `build-123` is being tested.
            boardhand: *✅ Passed* on `soc-a-001` in N s: 23 passed
              Console log
        "#);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_stops_the_tests_stops_them_however_it_failed() {
    let flash = "    test:\n      - {name: flash, run: uname, parse: ktap, stop: true, within: 5s}\n";
    let unit = "      - {name: unit,";
    let text = yaml::small(1).replace(&format!("    test:\n{unit}"), &format!("{flash}{unit}"));
    lab(&text, async |lab| {
        let run = lab.run("alice", "/run-test socA build-1").await;
        assert_eq!(lab.verdict(run).await, "failed no-results in testing");
        let view = lab.view(run).await;
        let outcome = view.attempts[0].outcome.as_ref().expect("an outcome");
        assert_eq!(outcome.cases, [], "the step after it ran");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

/// A line of the verdict table: what is wrong, and what people are told.
struct Case {
    name: &'static str,
    boards: usize,
    plan: &'static str,
    build: &'static str,
    faults: fn(&mut Faults),
    pdu: fn(&mut PduFaults),
    expect: &'static str,
}

const FINE: Case = Case {
    name: "fine",
    boards: 1,
    plan: "table",
    build: "build-1",
    faults: |_| {},
    pdu: |_| {},
    expect: "passed in testing",
};

/// Every row of the verdict table as a run: red says something about the build, infra about the lab.
const VERDICTS: &[Case] = &[
    FINE,
    Case { name: "failing", build: "b-fail", expect: "failed tests-failed in testing", ..FINE },
    Case { name: "panicking", build: "b-panic", expect: "failed panic in testing", ..FINE },
    Case { name: "oops", build: "b-oops", expect: "failed oops in testing", ..FINE },
    Case {
        name: "hanging",
        boards: 2,
        build: "b-hang",
        expect: "failed board-lost in testing after infra board-silent",
        ..FINE
    },
    Case {
        name: "resetting",
        boards: 2,
        build: "b-reset",
        expect: "failed board-lost in testing after infra board-reset",
        ..FINE
    },
    Case {
        name: "dropping",
        boards: 3,
        build: "b-drop",
        expect: "infra console-lost in testing after infra console-lost, infra console-lost",
        ..FINE
    },
    Case { name: "cut-short", build: "b-truncate", expect: "failed incomplete in testing", ..FINE },
    Case { name: "testless", build: "b-none", expect: "failed no-results in testing", ..FINE },
    Case {
        name: "missing",
        boards: 3,
        build: "b-missing",
        expect: "infra command-failed in deploying after infra command-failed, infra command-failed",
        ..FINE
    },
    Case {
        name: "slow-step",
        plan: "impatient",
        build: "b-slow",
        expect: "failed step-timeout in testing",
        ..FINE
    },
    Case { name: "slow-deploy", plan: "slow-deploy", expect: "infra step-timeout in deploying", ..FINE },
    Case {
        name: "no-login-to-deploy",
        plan: "loginless",
        faults: |f| f.hang_at = Some(BootStage::Spl),
        expect: "infra login-never-offered in booting",
        ..FINE
    },
    Case {
        name: "no-login-to-test",
        plan: "testonly",
        faults: |f| f.hang_at = Some(BootStage::Spl),
        expect: "infra login-never-offered in booting",
        ..FINE
    },
    Case { name: "slow", build: "b-slow timeout=2s", expect: "timed-out total-timeout in testing", ..FINE },
    Case {
        name: "dead-at-spl",
        boards: 2,
        faults: |f| f.hang_at = Some(BootStage::Spl),
        expect: "infra boot-silent in booting after infra boot-silent, infra boot-silent",
        ..FINE
    },
    Case {
        name: "dead-kernel",
        faults: |f| f.hang_at = Some(BootStage::Kernel),
        expect: "failed boot-silent in booting",
        ..FINE
    },
    Case {
        name: "boot-panic",
        faults: |f| f.panic_at = Some(BootStage::Kernel),
        expect: "failed boot-panic in booting",
        ..FINE
    },
    Case {
        name: "golden-panic",
        plan: "golden",
        faults: |f| f.panic_at = Some(BootStage::Kernel),
        expect: "infra boot-panic in booting after infra boot-panic, infra boot-panic",
        ..FINE
    },
    Case { name: "netboot", plan: "netboot", expect: "passed in testing", ..FINE },
    Case {
        name: "no-tftp",
        plan: "netboot",
        faults: |f| f.netboot_fails = true,
        expect: "infra artifact-missing in booting",
        ..FINE
    },
    Case {
        name: "refused",
        plan: "once",
        faults: |f| f.refuse = true,
        expect: "infra console-unreachable in booting",
        ..FINE
    },
    Case {
        name: "busy",
        plan: "once",
        faults: |f| f.busy = Some("Port already in use".into()),
        expect: "infra console-busy in booting",
        ..FINE
    },
    Case {
        name: "silent",
        plan: "once",
        faults: |f| f.silent = true,
        expect: "infra boot-silent in booting",
        ..FINE
    },
    Case {
        name: "half-open",
        plan: "once",
        faults: |f| f.half_open = true,
        expect: "infra boot-silent in booting",
        ..FINE
    },
    Case {
        name: "wedged",
        plan: "found",
        faults: |f| (f.replay, f.deaf) = (Some("[   99.1] eth0: link is up\r\n".into()), true),
        expect: "infra console-wedged in booting",
        ..FINE
    },
    Case {
        name: "stale",
        faults: |f| f.replay = Some("Debian GNU/Linux 12 stale ttyS0\r\n\r\nstale login: ".into()),
        expect: "passed in testing",
        ..FINE
    },
    Case {
        name: "starts-over",
        plan: "once",
        faults: |f| f.reset_at = Some(BootStage::Bootloader),
        expect: "infra reset-loop in booting",
        ..FINE
    },
    Case {
        name: "starts-over-late",
        plan: "once",
        faults: |f| f.reset_at = Some(BootStage::Kernel),
        expect: "failed boot-reset in booting",
        ..FINE
    },
    Case {
        name: "no-pdu",
        plan: "once",
        pdu: |f| f.refuse = true,
        expect: "infra power-unreachable in powering",
        ..FINE
    },
    Case {
        name: "pdu-says-no",
        plan: "once",
        pdu: |f| f.error = Some("overload".into()),
        expect: "infra power-unreachable in powering",
        ..FINE
    },
    Case {
        name: "worn-relay",
        plan: "once",
        faults: |f| f.power_stuck = true,
        expect: "infra power-unreachable in powering",
        ..FINE
    },
    Case { name: "late-panic", plan: "late-panic", expect: "failed panic in collecting", ..FINE },
    Case { name: "old-trace", plan: "old-trace", expect: "passed in collecting", ..FINE },
    Case { name: "late-total", plan: "late-total", expect: "timed-out total-timeout in collecting", ..FINE },
    Case { name: "storm", faults: |f| f.negotiation_storm = 200, expect: "passed in testing", ..FINE },
    Case { name: "split", faults: |f| f.split_every = Some(1), expect: "passed in testing", ..FINE },
    Case { name: "chatty", faults: |f| f.printk_every = Some(200), expect: "passed in testing", ..FINE },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mishap_leads_to_the_verdict_of_the_table_and_leaves_its_boards_off() {
    let families: Vec<_> = VERDICTS.iter().map(|case| (case.name, case.boards, case.plan)).collect();
    lab(&yaml::families(&families), async |lab| {
        let mut runs = Vec::new();
        for case in VERDICTS {
            for (_, board) in
                lab.boards.boards().filter(|(id, _)| id.as_str().starts_with(&format!("{}-", case.name)))
            {
                board.set_faults(case.faults);
            }
            lab.boards.pdu(&format!("pdu-{}", case.name)).expect("a PDU").set_faults(case.pdu);
            runs.push(lab.run("alice", &format!("/run-test {} {}", case.name, case.build)).await);
        }
        for (case, run) in VERDICTS.iter().zip(&runs) {
            assert_eq!(lab.verdict(*run).await, case.expect, "{}", case.name);
        }
        lab.settle().await;
        assert_eq!(lab.on(), [""; 0], "boards that are still on");
        // Whoever reads the card reads the same word.
        for (case, run) in VERDICTS.iter().zip(&runs) {
            let cause = case.expect.split(' ').nth(1).filter(|_| !case.expect.starts_with("passed"));
            let card = lab.thread(*run);
            assert!(
                cause.is_none_or(|cause| card.contains(&format!("· `{cause}`\n"))),
                "{}: {card}",
                case.name
            );
        }
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_build_is_told_by_its_first_failure_and_its_last_word() {
    lab(&yaml::small(1), async |lab| {
        let run = lab.run("alice", "/run-test socA build-fail-slow iterations=100").await;
        lab.until_card(run, "Failed").await;
        lab.settle().await;
        insta::assert_snapshot!(lab.thread(run), @r#"
            boardhand: #1 socA · build-fail-slow · smoke
              *❌ Failed* · `tests-failed`
              Failed: `gemm.gemm_f32_128x128`, `memory.memory_alloc_free`
              New failure on socA.
              *Board* `soc-a-001`
              *By* @alice
              *Tests* 17 passed, *2* failed
              *Took* N s
              ✓ power   ✓ boot   ✓ deploy   ✗ test   ✓ collect
              ```
                  # Subtest: gemm
                  1..5
                  # gemm_f32_128x128: EXPECTATION FAILED at tests/gemm.c:118
                  # Expected out[17] == 0x3c00, but
                  #     out[17] == 0x3bff
                  not ok 1 gemm_f32_128x128
                  ok 2 gemm_f16_256x256
                  ok 3 gemm_i8_512x512
                  ok 4 gemm_bf16_64x64
              ```
              Finished <time> · Console log
              [Retry] [Retry on another board] [Hold 30 min] [Power Cycle] [Log]
            boardhand: ▶️ `soc-a-001` is up, `build-fail-slow` is being tested.
            boardhand: ❌ First failure on `soc-a-001`: `gemm_f32_128x128`. The other tests go on.
              ```
                  # Subtest: gemm
                  1..5
                  # gemm_f32_128x128: EXPECTATION FAILED at tests/gemm.c:118
                  # Expected out[17] == 0x3c00, but
                  #     out[17] == 0x3bff
                  not ok 1 gemm_f32_128x128
              ```
            boardhand: *❌ Failed* · `tests-failed` on `soc-a-001` in N s: 17 passed, *2* failed · @alice
              Failed: `gemm.gemm_f32_128x128`, `memory.memory_alloc_free`
              New failure on socA.
              ```
                  # Subtest: gemm
                  1..5
                  # gemm_f32_128x128: EXPECTATION FAILED at tests/gemm.c:118
                  # Expected out[17] == 0x3c00, but
                  #     out[17] == 0x3bff
                  not ok 1 gemm_f32_128x128
                  ok 2 gemm_f16_256x256
                  ok 3 gemm_i8_512x512
                  ok 4 gemm_bf16_64x64
              ```
              Console log
        "#);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_is_told_with_its_trace() {
    lab(&yaml::small(1), async |lab| {
        let run = lab.run("alice", "/run-test socA build-panic").await;
        lab.until_card(run, "Failed").await;
        lab.settle().await;
        insta::assert_snapshot!(lab.thread(run), @r#"
            boardhand: #1 socA · build-panic · smoke
              *❌ Failed* · `panic`
              Kernel panic - not syncing: npu: fatal bus error.
              New failure on socA.
              ```
                  ok 1 gemm_f32_128x128
                  ok 2 gemm_f16_256x256
              [kernel time] Kernel panic - not syncing: npu: fatal bus error
              [kernel time] CPU: 1 PID: 412 Comm: t Tainted: G           O       6.6.52-lab #1
              [kernel time] Hardware name: Simulated board (DT)
              [kernel time] Call trace:
              [kernel time]  dump_backtrace+0x98/0xf8
              [kernel time]  show_stack+0x20/0x38
              [kernel time]  dump_stack_lvl+0x48/0x60
              [kernel time]  panic+0x340/0x398
              [kernel time]  npu_job_timeout+0x1c4/0x1d0 [npu]
              [kernel time]  process_one_work+0x17c/0x448
              [kernel time]  worker_thread+0x338/0x450
              [kernel time]  kthread+0x120/0x130
              [kernel time]  ret_from_fork+0x10/0x20
              [kernel time] SMP: stopping secondary CPUs
              [kernel time] Kernel Offset: disabled
              [kernel time] Memory Limit: none
              [kernel time] ---[ end Kernel panic - not syncing: npu: fatal bus error ]---
              ```
              *Board* `soc-a-001`
              *By* @alice
              *Tests* 6 passed
              *Took* N s
              ✓ power   ✓ boot   ✓ deploy   ✗ test   · collect
              Finished <time> · Console log
              [Retry] [Retry on another board] [Hold 30 min] [Power Cycle] [Log]
            boardhand: ▶️ `soc-a-001` is up, `build-panic` is being tested.
            boardhand: *❌ Failed* · `panic` on `soc-a-001` in N s: 6 passed · @alice
              Kernel panic - not syncing: npu: fatal bus error.
              New failure on socA.
              ```
                  ok 1 gemm_f32_128x128
                  ok 2 gemm_f16_256x256
              [kernel time] Kernel panic - not syncing: npu: fatal bus error
              [kernel time] CPU: 1 PID: 412 Comm: t Tainted: G           O       6.6.52-lab #1
              [kernel time] Hardware name: Simulated board (DT)
              [kernel time] Call trace:
              [kernel time]  dump_backtrace+0x98/0xf8
              [kernel time]  show_stack+0x20/0x38
              [kernel time]  dump_stack_lvl+0x48/0x60
              [kernel time]  panic+0x340/0x398
              [kernel time]  npu_job_timeout+0x1c4/0x1d0 [npu]
              [kernel time]  process_one_work+0x17c/0x448
              [kernel time]  worker_thread+0x338/0x450
              [kernel time]  kthread+0x120/0x130
              [kernel time]  ret_from_fork+0x10/0x20
              [kernel time] SMP: stopping secondary CPUs
              [kernel time] Kernel Offset: disabled
              [kernel time] Memory Limit: none
              [kernel time] ---[ end Kernel panic - not syncing: npu: fatal bus error ]---
              ```
              Console log
        "#);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lab_trouble_is_tried_on_other_boards_and_every_attempt_is_kept() {
    lab(&yaml::small(3), async |lab| {
        let run = lab.run("alice", "/run-test socA build-missing").await;
        lab.until_card(run, "Lab trouble").await;
        lab.settle().await;
        let boards: Vec<String> = lab.view(run).await.attempts.iter().map(|a| a.board.to_string()).collect();
        assert_eq!(boards, ["soc-a-001", "soc-a-002", "soc-a-003"]);
        insta::assert_snapshot!(lab.thread(run), @r#"
            boardhand: #1 socA · build-missing · smoke
              *⚠️ Lab trouble* · `command-failed`
              Wget ended with status 1.
              New lab trouble on socA.
              *Board* `soc-a-003`
              *By* @alice
              *Attempt* 3, after soc-a-001 (command-failed), soc-a-002 (command-failed)
              *Took* N s
              ✓ power   ✓ boot   ✗ deploy   · test   · collect
              ```
              wget: server returned error: HTTP/1.1 404 Not Found
              ```
              Finished <time> · Console log
              [Retry] [Retry on another board] [Hold 30 min] [Power Cycle] [Log]
            boardhand: ⚠️ Lab trouble on `soc-a-001` in attempt 1: `command-failed`. This says nothing about the build; trying again.
              Wget ended with status 1.
              ```
              wget: server returned error: HTTP/1.1 404 Not Found
              ```
            boardhand: ⚠️ Lab trouble on `soc-a-002` in attempt 2: `command-failed`. This says nothing about the build; trying again.
              Wget ended with status 1.
              ```
              wget: server returned error: HTTP/1.1 404 Not Found
              ```
            boardhand: *⚠️ Lab trouble* · `command-failed` on `soc-a-003` in N s · @alice
              Wget ended with status 1.
              The lab failed, not the build, in 3 attempts.
              New lab trouble on socA.
              ```
              wget: server returned error: HTTP/1.1 404 Not Found
              ```
              Console log
        "#);
        let seen = lab.talk(&[("bob", "/lab run 1")]).await;
        for (n, board) in boards.iter().enumerate() {
            let line = format!("{}. `{board}` ⚠️ Lab trouble (command-failed): Wget ended with status 1. · Console log", n + 1);
            assert!(seen.contains(&line), "{line}:\n{seen}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_takes_too_long_ends_as_timed_out() {
    lab(&yaml::small(1), async |lab| {
        let run = lab.run("alice", "/run-test socA build-crawl timeout=4s").await;
        lab.until_card(run, "Timed out").await;
        lab.settle().await;
        assert_eq!(lab.on(), ["soc-b-001"], "only the board without a switch is on");
        // How far it got is a matter of luck.
        let log = regex::Regex::new(r"(?s)```.*?```").expect("a pattern");
        let seen = log.replace_all(&lab.thread(run), "…").into_owned();
        insta::assert_snapshot!(seen, @r#"
            boardhand: #1 socA · build-crawl · smoke
              *⏰ Timed out* · `total-timeout`
              The attempt has used up its time.
              New failure on socA.
              *Board* `soc-a-001`
              *By* @alice
              *Took* N s
              ✓ power   ✓ boot   ✓ deploy   ✗ test   · collect
              …
              Finished <time> · Console log
              [Retry] [Retry on another board] [Hold 30 min] [Power Cycle] [Log]
            boardhand: ▶️ `soc-a-001` is up, `build-crawl` is being tested.
            boardhand: *⏰ Timed out* · `total-timeout` on `soc-a-001` in N s · @alice
              The attempt has used up its time.
              New failure on socA.
              …
              Console log
        "#);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_that_could_not_be_switched_off_is_suspect_and_its_next_run_makes_it_good_again() {
    lab(&yaml::small(1), async |lab| {
        let run = lab.run("alice", "/run-test socA build-slow").await;
        lab.until_state(run, "testing").await;
        lab.boards.pdu("pdu-a").expect("a PDU").set_faults(|faults| faults.error = Some("overload".into()));
        assert_eq!(lab.verdict(run).await, "passed in testing", "finalize changes no verdict");
        lab.settle().await;
        insta::assert_snapshot!(crate::lab::steady(&lab.say("alice", "/lab board soc-a-001").await), @r#"
            soc-a-001
            *State* 🟢 free, but suspect: its next run starts by taking it over
            *Remark* the PDU of soc-a-001 did not do as it was told: it answered "error overload"
            *Kind* socA rev2
            *Site* Lab Site A
            *Console* `lab:port`
            *Power switch* yes
            *Last used* <time>
            Suites: `smoke` (iterations=…), `trivial`
        "#);
        assert_eq!(lab.on(), ["soc-a-001", "soc-b-001"]);

        lab.boards.pdu("pdu-a").expect("a PDU").set_faults(|faults| faults.error = None);
        let next = lab.run("alice", "/run-test socA build-2").await;
        assert_eq!(lab.verdict(next).await, "passed in testing");
        lab.settle().await;
        assert_eq!(lab.on(), ["soc-b-001"]);
        insta::assert_snapshot!(crate::lab::steady(&lab.say("alice", "/lab board soc-a-001").await), @r#"
            soc-a-001
            *State* 🟢 free
            *Kind* socA rev2
            *Site* Lab Site A
            *Console* `lab:port`
            *Power switch* yes
            *Last used* <time>
            Suites: `smoke` (iterations=…), `trivial`
        "#);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_cancelled_on_its_board_leaves_it_off() {
    lab(&yaml::small(1), async |lab| {
        for stage in ["powering", "booting", "testing"] {
            let run = lab.run("alice", "/run-test socA build-slow").await;
            lab.until_state(run, stage).await;
            lab.say("alice", &format!("/lab cancel {run}")).await;
            assert!(lab.verdict(run).await.starts_with("cancelled cancelled in "), "{stage}");
            lab.settle().await;
            assert_eq!(lab.on(), ["soc-b-001"], "cancelled while {stage}");
        }
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_run_leaves_no_program_on_a_board_that_stays_on() {
    let text = "boards:\n  - {board_id: b-1, soc_family: socX, board_ip: 10.0.0.1, lab_location: Lab, telnet_username: root, \
                telnet_password: root}\nfamilies:\n  socX: {suites: {smoke: quick, hold: hold}, default_suite: smoke}\nplans:\n  \
                quick: {boot: [{login: {within: 30s}}], test: [{run: uname -a, within: 20s}]}\n  \
                hold: {boot: [{login: {within: 30s}}], test: [{run: sleep 9000, within: 120s}]}\n";
    lab(text, async |lab| {
        let board = lab.boards.board("b-1").expect("a board");
        board.record_bytes();
        let held = lab.run("alice", "/run-test socX build-1 suite=hold").await;
        lab.until(held, "asleep", |_| {
            let typed: Vec<u8> = board.recorded().into_iter().flat_map(|record| record.bytes).collect();
            String::from_utf8_lossy(&typed).contains("sleep 9000")
        })
        .await;
        lab.say("alice", &format!("/lab cancel {held}")).await;
        let next = lab.run("bob", "/run-test socX build-2").await;
        assert_eq!(lab.verdict(next).await, "passed in testing");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_console_log_that_the_disk_did_not_take_is_told_to_have_gaps() {
    lab(&yaml::small(1), async |lab| {
        let folder = lab.data.path().join("transcripts/1/1");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::os::unix::fs::symlink("/dev/full", folder.join("console.raw")).expect("a full disk");
        let run = lab.run("alice", "/run-test socA build-1").await;
        assert_eq!(lab.verdict(run).await, "passed in testing");
        lab.settle().await;
        let thread = lab.thread(run);
        assert!(thread.contains("Its console log has gaps: No space left on device"), "{thread}");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_simulated_board_takes_a_file_and_gives_it_back() {
    let carry = "    deploy:\n      - upload: {from: '{{ build.id }}/data', to: /tmp/data, within: 60s}\n    test:\n      \
                 - {name: there, run: 'if [ -s /tmp/data ]; then echo $(wc -c </tmp/data) bytes; else false; fi'}\n    \
                 collect:\n      - fetch: {from: /tmp/data, as: back, within: 60s}\n    finally:\n";
    let small = yaml::small(1);
    let (before, after) = (small.find("    deploy:\n").expect("a step"), small.find("    finally:\n"));
    let after = after.expect("a step") + "    finally:\n".len();
    let text = format!("{}{carry}{}", &small[..before], &small[after..]);
    lab(&text, async |lab| {
        let sent: Vec<u8> = (0..5000_u32).map(|n| (n * 7 % 251) as u8).collect();
        let folder = lab.data.path().join("artifacts/build-1");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("data"), &sent).expect("a file");
        let run = lab.run("alice", "/run-test socA build-1").await;
        assert_eq!(lab.verdict(run).await, "passed in collecting");
        lab.settle().await;
        let back = lab.data.path().join(format!("transcripts/{run}/1/back"));
        assert_eq!(std::fs::read(back).expect("it came back"), sent);
        // Nobody put this one there, and no board is switched for it.
        let run = lab.run("alice", "/run-test socA build-2").await;
        assert_eq!(lab.verdict(run).await, "infra artifact-missing in leased");
        lab.settle().await;
        assert!(lab.thread(run).contains("Is `build-2` the right build"), "{}", lab.thread(run));
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cycle_that_is_cut_off_between_off_and_on_is_ended_where_boards_stay_on() {
    let stays_on = yaml::small(1)
        .replace("off_for: 50ms, rest: off", "off_for: 60s")
        .replace("    finally:\n      - power: off\n", "");
    lab(&stays_on, async |lab| {
        let pdu = lab.boards.pdu("pdu-a").expect("a PDU");
        let run = lab.run("alice", "/run-test socA build-1").await;
        lab.until(run, "off", |_| pdu.log().iter().any(|switch| !switch.on)).await;
        lab.say("alice", &format!("/lab cancel {run}")).await;
        assert_eq!(lab.verdict(run).await, "cancelled cancelled in powering");
        lab.settle().await;
        assert_eq!(lab.on(), ["soc-a-001", "soc-b-001"]);
        let switched: Vec<bool> = pdu.log().iter().map(|switch| switch.on).collect();
        assert_eq!(switched, [false, true]);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_card_says_how_far_a_file_is_as_long_as_it_is_on_its_way() {
    let carry = "    deploy:\n      - upload: {from: '{{ build.id }}/data', to: /tmp/data, within: 60s}\n    test:\n      \
                 - {name: there, run: test -s /tmp/data}\n    finally:\n";
    let small = yaml::small(1)
        .replace("no_output: 2s", "no_output: 20s")
        .replace("default_suite: smoke", "console: {char_delay: 1ms}\n    default_suite: smoke");
    let (before, after) = (small.find("    deploy:\n").expect("a step"), small.find("    finally:\n"));
    let after = after.expect("a step") + "    finally:\n".len();
    let text = format!("{}{carry}{}", &small[..before], &small[after..]);
    lab(&text, async |lab| {
        let folder = lab.data.path().join("artifacts/build-1");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("data"), vec![7; 4000]).expect("a file");
        let run = lab.run("alice", "/run-test socA build-1").await;
        lab.until(run, "carrying", |view| view.progress.carrying.is_some()).await;
        lab.until_card(run, "38 % of `data` (4 KiB) to the board").await;
        assert_eq!(lab.verdict(run).await, "passed in testing");
        lab.settle().await;
        let channel = lab.slack.render_channel(CHANNEL);
        assert!(!channel.contains("to the board"), "{channel}");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_gets_through_a_console_that_hangs_up_again_and_again() {
    let carry = "    deploy:\n      - upload: {from: '{{ build.id }}/data', to: /tmp/data, within: 60s}\n    test:\n      \
                 - {name: there, run: sha256sum /tmp/data}\n    finally:\n";
    // A console that is away says nothing.
    let small = yaml::small(1).replace("no_output: 2s", "no_output: 20s");
    let (before, after) = (small.find("    deploy:\n").expect("a step"), small.find("    finally:\n"));
    let after = after.expect("a step") + "    finally:\n".len();
    let text = format!("{}{carry}{}", &small[..before], &small[after..]);
    lab(&text, async |lab| {
        let folder = lab.data.path().join("artifacts/build-1");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("data"), vec![7; 60_000]).expect("a file");
        let board = lab.boards.board("soc-a-001").expect("a board");
        board.record_bytes();
        let run = lab.run("alice", "/run-test socA build-1").await;
        lab.until_state(run, "deploying").await;
        board.set_faults(|faults| faults.drop_after = Some(3_000));
        lab.until_state(run, "testing").await;
        board.set_faults(|faults| faults.drop_after = None);
        let verdict = lab.verdict(run).await;
        // A drop that comes with the last byte of the upload is the test's.
        assert!(verdict.starts_with("passed in testing"), "{verdict}");
        let connections: std::collections::BTreeSet<u64> =
            board.recorded().iter().map(|record| record.connection).collect();
        assert!(connections.len() > 2, "the console hung up in the middle: {connections:?}");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
