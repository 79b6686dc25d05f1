//! A kernel from flash: booted by a power cycle, logged in to, tested, and switched off again, on good days and bad.

use crate::lab::{Lab, real_lab};

use super::bench::{Bench, Boots};
use super::shows;

const SUITES: &str = "smoke: linux, panic: panic, ticks: ticks, once: once, found: found, stumble: stumble";
const PLANS: &str = r#"
  linux:
    limits: {total: 4m, no_output: 40s}
    boot: [{power: cycle}, {login: {within: 100s}}]
    test:
      - {name: unit, run: 'selftest {{ build.id }}', parse: ktap, within: 60s}
  panic:
    limits: {total: 4m, no_output: 40s}
    boot: [{power: cycle}, {login: {within: 100s}}]
    test:
      - {name: unit, run: 'selftest {{ build.id }}', parse: ktap, within: 60s}
      - {name: crash, run: 'echo c > /proc/sysrq-trigger', within: 30s}
  ticks:
    limits: {total: 4m, no_output: 6s}
    boot: [{power: cycle}, {login: {within: 100s}}]
    test:
      - {name: ticks, run: 'for i in 1 2 3 4 5 6; do echo tick $i; sleep 1; done', within: 100s}
  once:
    retry: {infra: 0}
    boot: [{power: cycle}, {login: {within: 100s}}]
    test: [{name: uname, run: 'uname -a', within: 30s}]
  stumble:
    limits: {total: 4m, no_output: 40s}
    boot: [{power: cycle}, {login: {within: 100s}}]
    test:
      - name: stumble
        run: 'for l in "Internal error: Oops: 96000004 [#1] SMP" "Call trace:" " stumble+0x4/0x8" "---[ end trace 0000000000000000 ]---"; do echo "<0>$l" > /dev/kmsg; done'
      - {name: after, run: 'uname -a', within: 30s}
  found:
    retry: {infra: 0}
    boot: [{login: {within: 40s}}]
    test:
      - {name: unit, run: 'selftest {{ build.id }}', parse: ktap, within: 60s}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_is_booted_logged_in_to_tested_and_switched_off_again() {
    let bench = Bench::new(2, Boots::Linux);
    real_lab(&bench.yaml(SUITES, PLANS), async |lab| {
        let run = lab.run("alice", "/run-test virt build-1").await;
        assert_eq!(lab.verdict(run).await, "passed in testing");
        lab.settle().await;
        assert_eq!(bench.running(), [0; 0], "boards that are still on");
        insta::assert_snapshot!(lab.thread(run), @r#"
            boardhand: #1 virt · build-1 · smoke
              *✅ Passed*
              *Board* `board-1`
              *By* @alice
              *Tests* 4 passed, 1 skipped
              *Took* N s
              ✓ power   ✓ boot   ✓ deploy   ✓ test   ✓ collect
              Finished <time> · Console log
              [Retry] [Log]
            boardhand: ▶️ `board-1` is up, `build-1` is being tested.
            boardhand: *✅ Passed* on `board-1` in N s: 4 passed, 1 skipped
              Console log
        "#);
        lab.say("lead", "/lab power board-1 status").await;
        assert_eq!(lab.answer("lead").await, "🔌 `board-1` is off.");

        let failing = lab.run("alice", "/run-test virt build-bad").await;
        assert_eq!(lab.verdict(failing).await, "failed tests-failed in testing");
        lab.settle().await;
        let head = ["*❌ Failed* · `tests-failed`\n", "Failed: `files.links`\n", "*Board* `board-2`\n"];
        shows(&lab.thread(failing), &head);
        shows(&lab.thread(failing), &["*Tests* 3 passed, *1* failed, 1 skipped\n", "    not ok 2 links\n"]);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_of_a_real_kernel_is_told_with_its_trace_and_its_board_is_at_rest() {
    let bench = Bench::new(1, Boots::Linux);
    real_lab(&bench.yaml(SUITES, PLANS), async |lab| {
        let run = lab.run("alice", "/run-test virt build-1 suite=panic").await;
        assert_eq!(lab.verdict(run).await, "failed panic in testing");
        lab.settle().await;
        assert_eq!(bench.running(), [0; 0], "boards that are still on");
        let trace = [
            "[kernel time] sysrq: Trigger a crash\n",
            "[kernel time] Kernel panic - not syncing: sysrq triggered crash\n",
            "Hardware name: linux,dummy-virt (DT)\n",
            "[kernel time] Call trace:\n",
            " panic+0x",
            " write_sysrq_trigger+0x",
            " vfs_write+0x",
            " el0t_64_sync+0x",
            "[kernel time] ---[ end Kernel panic - not syncing: sysrq triggered crash ]---\n",
        ];
        let thread = lab.thread(run);
        let (card, replies) = thread.split_once("is being tested").expect("a card and its replies");
        let head = ["*❌ Failed* · `panic`\n", "Kernel panic - not syncing: sysrq triggered crash.\n"];
        shows(card, &head);
        shows(card, &["*Tests* 4 passed, 1 skipped\n", "✗ test"]);
        shows(card, &trace);
        shows(
            replies,
            &["*❌ Failed* · `panic` on `board-1` in N s: 4 passed, 1 skipped · @alice\n", head[1]],
        );
        shows(replies, &trace);
        // The next run finds the board as good as new.
        let next = lab.run("bob", "/run-test virt build-1").await;
        assert_eq!(lab.verdict(next).await, "passed in testing");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_kernel_that_stumbles_and_goes_on_fails_the_run_with_its_trace_first_on_the_card() {
    let bench = Bench::new(1, Boots::Linux);
    real_lab(&bench.yaml(SUITES, PLANS), async |lab| {
        let run = lab.run("alice", "/run-test virt build-1 suite=stumble").await;
        assert_eq!(lab.verdict(run).await, "failed oops in testing");
        lab.settle().await;
        let thread = lab.thread(run);
        let (card, _) = thread.split_once("is being tested").expect("a card and its replies");
        let trace = [
            "[kernel time] Internal error: Oops: 96000004 [#1] SMP\n",
            "[kernel time] Call trace:\n",
            "[kernel time]  stumble+0x4/0x8\n",
            "[kernel time] ---[ end trace 0000000000000000 ]---\n",
        ];
        shows(card, &["*❌ Failed* · `oops`\n", "*Tests* 2 passed\n"]);
        shows(card, &trace);
        assert!(card.find(trace[3]) < card.find("*Board*"), "{card}");
        lab.read_all();
    })
    .await;
}

/// The board that a run is being tested on, once it is in this attempt.
async fn tested_on(lab: &Lab, run: i64, attempt: usize) -> usize {
    let view = lab
        .until(run, "testing", |view| view.attempts.len() == attempt && view.run.state.word() == "testing")
        .await;
    let board = view.attempts.last().expect("an attempt").board.to_string();
    board.strip_prefix("board-").and_then(|n| n.parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_that_freezes_is_the_labs_trouble_once_and_the_builds_the_second_time() {
    let bench = Bench::new(2, Boots::Linux);
    real_lab(&bench.yaml(SUITES, PLANS), async |lab| {
        let run = lab.run("alice", "/run-test virt build-1 suite=ticks").await;
        bench.freeze(tested_on(lab, run, 1).await);
        bench.freeze(tested_on(lab, run, 2).await);
        assert_eq!(lab.verdict(run).await, "failed board-lost in testing after infra board-silent");
        lab.settle().await;
        assert_eq!(bench.running(), [0; 0], "boards that are still on");
        shows(&lab.thread(run), &["board-silent", "trying again"]);

        let next = lab.run("alice", "/run-test virt build-2 suite=ticks").await;
        bench.freeze(tested_on(lab, next, 1).await);
        assert_eq!(lab.verdict(next).await, "passed in testing after infra board-silent");
        lab.settle().await;
        assert_eq!(bench.running(), [0; 0], "boards that are still on");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_console_that_goes_away_is_the_labs_trouble_and_the_run_goes_to_another_board() {
    let bench = Bench::new(2, Boots::Linux);
    real_lab(&bench.yaml(SUITES, PLANS), async |lab| {
        let run = lab.run("alice", "/run-test virt build-1 suite=ticks").await;
        bench.take_away(tested_on(lab, run, 1).await);
        assert_eq!(lab.verdict(run).await, "passed in testing after infra console-lost");
        lab.settle().await;
        let told = [
            "*Attempt* 2, after board-1 (console-lost)\n",
            "`console-lost`. This says nothing about the build",
        ];
        shows(&lab.thread(run), &told);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pdu_that_does_not_answer_is_the_labs_trouble_and_never_a_dead_board() {
    let bench = Bench::new(1, Boots::Linux);
    real_lab(&bench.yaml(SUITES, PLANS), async |lab| {
        bench.pdu_answers(false);
        let run = lab.run("alice", "/run-test virt build-1 suite=once").await;
        assert_eq!(lab.verdict(run).await, "infra power-unreachable in powering");
        lab.settle().await;
        insta::assert_snapshot!(lab.thread(run), @r#"
            boardhand: #1 virt · build-1 · once
              *⚠️ Lab trouble* · `power-unreachable`
              The PDU of board-1 did not do as it was told: no answer in N s: it cannot be reached, or it does not know this community.
              New lab trouble on virt.
              *Board* `board-1`
              *By* @alice
              *Took* N s
              ✗ power   · boot   · deploy   · test   · collect
              Finished <time> · Console log
              [Retry] [Retry on another board] [Hold 30 min] [Power Cycle] [Log]
            boardhand: *⚠️ Lab trouble* · `power-unreachable` on `board-1` in N s · @alice
              The PDU of board-1 did not do as it was told: no answer in N s: it cannot be reached, or it does not know this community.
              The lab failed, not the build.
              New lab trouble on virt.
              Console log
        "#);
        bench.pdu_answers(true);
        let next = lab.run("alice", "/run-test virt build-1 suite=once").await;
        assert_eq!(lab.verdict(next).await, "passed in testing");
        lab.settle().await;
        assert_eq!(bench.running(), [0; 0], "boards that are still on");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_that_somebody_left_is_brought_back_to_a_shell() {
    let bench = Bench::new(2, Boots::Linux);
    // Logged in, and its kernel talks over the prompt.
    let noise = "while :; do echo '<1>npu: link is up' >/dev/kmsg; sleep 0.3; done &";
    bench.left_by_somebody(1, &["cd /proc", noise]);
    // In the middle of a command that waits for somebody who is gone.
    bench.left_by_somebody(2, &["cat"]);
    real_lab(&bench.yaml(SUITES, PLANS), async |lab| {
        let talking = lab.run("alice", "/run-test board-1 build-1 suite=found").await;
        let waiting = lab.run("bob", "/run-test board-2 build-1 suite=found").await;
        assert_eq!(lab.verdict(talking).await, "passed in testing");
        // What only echoes is interrupted, and its shell is there again.
        assert_eq!(lab.verdict(waiting).await, "passed in testing");
        lab.settle().await;
        assert_eq!(bench.running(), [0; 0], "boards that are still on");
        lab.read_all();
    })
    .await;
}
