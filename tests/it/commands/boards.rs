//! Boards by button and by word: power on a run's own board, on a free one and on one that somebody holds, and a
//! quarantined one put back.

use crate::lab::{lab, steady, yaml};

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
              [Retry] [Retry on another board] [Power Cycle] [Log]
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

/// A lab of one board, which is left as it is when a run of it ends.
fn left_alone() -> String {
    yaml::small(1).replace(", rest: off", "").replace("    finally:\n      - power: off\n", "")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cycle_of_a_live_run_switches_the_outlet_off_and_on_before_it_is_told() {
    for (text, then) in [(left_alone(), &[][..]), (yaml::small(1), &[false, false][..])] {
        lab(&text, async |lab| {
            let run = lab.run("alice", "/run-test socA build-crawl").await;
            lab.until_state(run, "testing").await;
            lab.until_card(run, "Testing").await;
            let pdu = lab.boards.pdu("pdu-a").expect("a PDU");
            let before = pdu.log().len();
            let switched = || pdu.log()[before..].iter().map(|switch| switch.on).collect::<Vec<_>>();
            lab.click("bob", run, "Power Cycle").await;
            lab.until_state(run, "finished").await;
            assert_eq!(switched()[..2], [false, true], "off and on again");
            lab.settle().await;
            assert_eq!(switched()[2..], *then, "how the board is left");
            assert_eq!(lab.verdict(run).await, "infra power-cycled in testing");
            let board = lab.rows("SELECT health, needs_fence FROM boards WHERE id = 'soc-a-001'").await;
            assert_eq!(board, ["good | 0"]);
            lab.read_all();
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cycle_that_the_pdu_did_not_do_is_told_so_and_makes_the_board_suspect() {
    lab(&left_alone(), async |lab| {
        let run = lab.run("alice", "/run-test socA build-crawl").await;
        lab.until_state(run, "testing").await;
        lab.until_card(run, "Testing").await;
        lab.boards.pdu("pdu-a").expect("a PDU").set_faults(|faults| faults.error = Some("overload".into()));
        lab.click("bob", run, "Power Cycle").await;
        lab.until_card(run, "Lab trouble").await;
        lab.settle().await;
        insta::assert_snapshot!(lab.thread(run), @r#"
            boardhand: #1 socA · build-crawl · smoke
              *⚠️ Lab trouble* · `power-cycle-failed`
              Bob asked for a power cycle; the PDU of soc-a-001 did not do as it was told: it answered "error overload".
              *Board* `soc-a-001`
              *By* @alice
              *Took* N s
              ✓ power   ✓ boot   ✓ deploy   ✗ test   · collect
              Finished <time> · Console log
              [Retry] [Retry on another board] [Power Cycle] [Log]
            boardhand: ▶️ `soc-a-001` is up, `build-crawl` is being tested.
            boardhand: *⚠️ Lab trouble* · `power-cycle-failed` on `soc-a-001` in N s · @alice
              Bob asked for a power cycle; the PDU of soc-a-001 did not do as it was told: it answered "error overload".
              The lab failed, not the build. It is not tried again by itself.
              Console log
        "#);
        let board = lab.rows("SELECT health, needs_fence, reason FROM boards WHERE id = 'soc-a-001'").await;
        let problem = "the PDU of soc-a-001 did not do as it was told: it answered \"error overload\"";
        assert_eq!(board, [format!("suspect | 1 | {problem}")]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cycle_meant_for_one_attempt_never_reaches_another_board() {
    lab(&yaml::small(2), async |lab| {
        let other = lab.run("alice", "/run-test soc-a-002 build-crawl").await;
        lab.until_state(other, "testing").await;
        let run = lab.run("alice", "/run-test socA build-hang").await;
        lab.until_card(run, "Testing").await;
        // Bob is asked "Power-cycle soc-a-001?" and thinks about it.
        let button = lab.button(run, "Power Cycle");
        lab.until(run, "waiting for another board", |v| v.attempts.len() == 1 && v.run.state.word() == "queued")
            .await;
        let switches = || {
            let of = |board| lab.boards.board(board).expect("a board").counters().switches;
            (of("soc-a-001"), of("soc-a-002"))
        };
        lab.slack.press_stale("bob", &lab.card(run), &button).await;
        insta::assert_snapshot!(lab.answer("bob").await, @"That button is out of date: #2 has no board now. Nothing was done; the card shows what is possible now.");
        lab.say("alice", &format!("/lab cancel {other}")).await;
        lab.until(run, "on the other board", |v| v.run.state.word() == "testing").await;
        let before = switches();
        lab.slack.press_stale("bob", &lab.card(run), &button).await;
        insta::assert_snapshot!(lab.answer("bob").await, @"That button is out of date: #2 has moved on. Nothing was done; the card shows what is possible now.");
        assert_eq!((switches(), lab.view(run).await.run.request), (before, None));
        lab.say("alice", &format!("/lab cancel {run}")).await;
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
            #1 is on it: a power cycle ends that attempt, and its card tells who asked.
            [Power cycle anyway] [Leave it] [Notify me when it is free]
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
async fn power_of_a_remote_site_is_not_switched_from_here() {
    let remote = format!("{}sites: {{Lab Site A: {{worker: remote, pdu: worker}}}}\n", yaml::small(1));
    lab(&remote, async |lab| {
        let switches = lab.boards.board("soc-a-001").expect("a board").counters().switches;
        insta::assert_snapshot!(steady(&lab.say("bob", "/lab power soc-a-001 cycle").await), @"
        ✋ soc-a-001 is driven by the worker of Lab Site A, which cannot be asked for this yet.
        Try: `/lab board soc-a-001`
        ");
        lab.say("bob", "/lab power soc-a-001 status").await;
        lab.settle().await;
        assert_eq!(lab.boards.board("soc-a-001").expect("a board").counters().switches, switches);
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
                Try: `/lab return soc-a-001`

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
