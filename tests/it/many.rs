//! Many at once, and hostile ones: every run has one outcome, no board two holders, nobody starves, and nothing that a
//! board prints breaks what people read.

use std::collections::BTreeMap;

use crate::lab::{CHANNEL, lab, yaml};

const PEOPLE: [&str; 5] = ["alice", "bob", "lead", "chen", "dana"];
const BOARDS: usize = 20;
const RUNS: usize = 200;
/// With those that hold the boards at first.
const ALL: usize = BOARDS + RUNS;

/// Boards without a switch, which are on from the start: a run is a login and a command.
fn bench(boards: usize) -> String {
    let mut text = String::from("boards:\n");
    for i in 1..=boards {
        text.push_str(&format!(
            "  - {{board_id: b-{i:02}, soc_family: socX, board_ip: 10.0.0.{i}, lab_location: Lab, telnet_username: root, \
             telnet_password: root}}\n"
        ));
    }
    text + "families:\n  socX: {suites: {smoke: quick, hold: hold}, default_suite: smoke}\nplans:\n  \
        quick: {boot: [{login: {within: 30s}}], test: [{run: uname -a, within: 20s}]}\n  \
        hold: {boot: [{login: {within: 30s}}], test: [{run: sleep 9000, within: 120s}]}\n"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_runs_of_five_people_share_twenty_boards() {
    lab(&bench(BOARDS), async |lab| {
        lab.slack.add_person("U0CHEN", "chen");
        lab.slack.add_person("U0DANA", "dana");
        // Every board is taken until everybody has asked: the first for everything, before the next for anything.
        lab.say("alice", &format!("/run-test socX build-0 suite=hold priority=high x{BOARDS}")).await;
        for person in PEOPLE {
            for burst in 0..RUNS / PEOPLE.len() / 20 {
                lab.say(person, &format!("/run-test socX build-{burst} x20")).await;
            }
        }
        for run in 1..=BOARDS {
            lab.say("alice", &format!("/lab cancel {run}")).await;
        }
        lab.settle().await;
        assert_eq!(
            lab.rows("SELECT verdict, count(*) FROM runs GROUP BY verdict ORDER BY verdict").await,
            [format!("cancelled | {BOARDS}"), format!("passed | {RUNS}")]
        );
        let trouble =
            lab.rows("SELECT run, board, cause, outcome FROM attempts WHERE verdict = 'infra'").await;
        assert_eq!(trouble, [""; 0], "lab trouble on healthy boards");
        assert_eq!(
            lab.rows("SELECT count(*), count(DISTINCT run) FROM attempts").await,
            [format!("{ALL} | {ALL}")]
        );
        assert_eq!(lab.rows("SELECT DISTINCT state FROM leases").await, ["released"]);
        let overlaps =
            "SELECT a.id, b.id FROM leases a JOIN leases b ON a.board = b.board AND a.fence < b.fence
            AND b.granted_at < a.ended_at";
        assert_eq!(lab.rows(overlaps).await, [""; 0], "two holders at once");
        let fences = "SELECT board FROM leases GROUP BY board HAVING count(*) <> count(DISTINCT fence)";
        assert_eq!(lab.rows(fences).await, [""; 0], "a fence was given twice");
        assert_eq!(
            lab.rows("SELECT count(DISTINCT board) FROM leases").await,
            [BOARDS.to_string()],
            "every board worked"
        );

        let order = "SELECT requester FROM attempts JOIN runs ON runs.number = attempts.run ORDER BY attempts.started_at";
        let order = lab.rows(order).await;
        let mut early: BTreeMap<&str, usize> = BTreeMap::new();
        for requester in &order[BOARDS..BOARDS + RUNS / 2] {
            *early.entry(requester).or_default() += 1;
        }
        assert_eq!(early.len(), PEOPLE.len(), "{early:?}");
        assert!(early.values().all(|runs| (12..=28).contains(runs)), "a fair share each: {early:?}");

        let cards = lab.slack.channel(CHANNEL);
        let finished = cards.iter().filter(|m| m.text.ends_with(": 20 passed")).count();
        assert_eq!((cards.len(), finished), (ALL / 20, RUNS / 20), "one card for each command, all told");
        let passed = |m: &&boardhand::sim::slack::Message| m.text.contains(": ✅ Passed");
        let told: usize =
            cards.iter().map(|m| lab.slack.thread(CHANNEL, &m.ts).iter().filter(passed).count()).sum();
        assert_eq!(told, RUNS, "one card for each run in its thread");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_output_stays_text() {
    lab(&yaml::small(3), async |lab| {
        let run = lab.run("alice", "/run-test socA build-hostile-fail").await;
        assert!(lab.verdict(run).await.starts_with("failed "), "{}", lab.verdict(run).await);
        lab.settle().await;
        let sent = lab.slack.with(|world| {
            let channel = world.channel(CHANNEL).expect("the channel");
            channel
                .messages
                .iter()
                .map(|m| format!("{} {} {}", m.text, m.blocks, m.attachments))
                .collect::<String>()
        });
        for markup in
            ["<!channel>", "<@U0LEAD>", "<http://evil.example|", "\u{1b}", "\\u001b", "\\u202e", "\u{202e}"]
        {
            assert!(!sent.contains(markup), "{markup:?} got through:\n{sent}");
        }
        // What breaks a fence of the board's own is no visible character.
        let seen = lab.thread(run).replace('\u{200b}', "<zwsp>");
        insta::assert_snapshot!(seen, @r#"
            boardhand: #1 socA · build-hostile-fail · smoke
              *❌ Failed* · `tests-failed`
              Failed: `ˋˋˋ <!channel> ˋrm -rfˋ *x* 💩�.gemm_f32_128x128`, `gemm`, `memory.memory_cache_flush`
              New failure on socA.
              *Board* `soc-a-001`
              *By* @alice
              *Tests* 21 passed, *3* failed
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
              red <!channel> <@U0LEAD> @here
              `<zwsp>``
              ```
              Finished <time> · Console log
              [Retry] [Retry on another board] [Hold 30 min] [Power Cycle] [Log]
            boardhand: ▶️ `soc-a-001` is up, `build-hostile-fail` is being tested.
            boardhand: *❌ Failed* · `tests-failed` on `soc-a-001` in N s: 21 passed, *3* failed · @alice
              Failed: `ˋˋˋ <!channel> ˋrm -rfˋ *x* 💩�.gemm_f32_128x128`, `gemm`, `memory.memory_cache_flush`
              New failure on socA.
              ```
                  # Subtest: gemm
                  1..5
                  # gemm_f32_128x128: EXPECTATION FAILED at tests/gemm.c:118
                  # Expected out[17] == 0x3c00, but
                  #     out[17] == 0x3bff
                  not ok 1 gemm_f32_128x128
                  ok 2 gemm_f16_256x256
              red <!channel> <@U0LEAD> @here
              `<zwsp>``
              ```
              Console log
        "#);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_line_is_cut_and_the_run_goes_on() {
    lab(&yaml::small(1), async |lab| {
        let run = lab.run("alice", "/run-test socA build-flood").await;
        assert_eq!(lab.verdict(run).await, "passed in testing");
        let run = lab.run("alice", "/run-test socA build-flood-fail").await;
        assert_eq!(lab.verdict(run).await, "failed tests-failed in testing");
        lab.settle().await;
        let longest = lab.slack.with(|world| {
            let channel = world.channel(CHANNEL).expect("the channel");
            channel
                .messages
                .iter()
                .map(|m| m.blocks.to_string().len() + m.attachments.to_string().len())
                .max()
        });
        assert!(longest.is_some_and(|bytes| bytes < 20_000), "{longest:?}");
        lab.read_all();
    })
    .await;
}
