//! Runs and boards of people: those that go on a board of one's own, and boards that a run leaves to somebody as they are.

use crate::lab::{lab, steady, yaml};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_of_the_holder_go_under_their_lease_and_leave_the_board_as_it_is() {
    lab(&yaml::small(1), async |lab| {
        lab.say("alice", "/lab reserve soc-a-001 2h DDR bring-up").await;
        let theirs = lab.run("bob", "/run-test socA build-1").await;
        insta::assert_snapshot!(steady(&lab.say("alice", "/run-test soc-a-001 build-crawl").await), @r#"
            👍 *#2* socA · `build-crawl` · smoke
            `soc-a-001` is yours: it starts there right away.
            Its card is on its way to this channel.
        "#);
        lab.until_state(2, "testing").await;
        insta::assert_snapshot!(steady(&lab.say("alice", "/run-test soc-a-001 build-2").await), @r#"
            👍 *#3* socA · `build-2` · smoke
            `soc-a-001` is yours: it starts there once #2 has ended.
            Its card is on its way to this channel.
        "#);
        insta::assert_snapshot!(lab.say_until("alice", "/lab why 3", "is theirs").await, @r#"
            *#3* waits at place 1 in line.
            `soc-a-001` is theirs, and #2 is on it.
        "#);
        insta::assert_snapshot!(steady(&lab.say("bob", "/lab boards socA").await), @r#"
            *Boards of socA*: 0 free, 1 busy
            🟣 `soc-a-001` socA · Lab Site A · @alice until <time>: DDR bring-up · #2 on it
        "#);
        lab.say("alice", "/lab power soc-a-001 off").await;
        insta::assert_snapshot!(lab.answer("alice").await, @"✋ `soc-a-001` was not switched off. A run or another power request of yours is at work on it, or it is not yours any more; ask again when that has ended.");
        lab.say("alice", "/lab cancel 2").await;
        assert!(lab.verdict(3).await.starts_with("passed"));
        assert_eq!(lab.on(), ["soc-a-001", "soc-b-001"], "it is left on, whatever its family wants");
        let leases = lab.rows("SELECT fence, state FROM leases").await;
        assert_eq!(leases, ["1 | held"], "one lease and one fence for all of it");
        assert_eq!(lab.rows("SELECT run, fence FROM attempts ORDER BY run").await, ["2 | 1", "3 | 1"]);
        assert_eq!(lab.view(theirs).await.run.state.word(), "queued");
        // Retry of a run that asked for no board in particular stays on hers.
        lab.until_card(3, "Passed").await;
        insta::assert_snapshot!(lab.click("alice", 3, "Retry").await, @r#"
            👍 *#4* socA · `build-2` · smoke repeats #3
            `soc-a-001` is yours: it starts there right away.
            Its card is on its way to this channel.
        "#);
        assert!(lab.verdict(4).await.starts_with("passed"));
        lab.say("alice", "/lab release").await;
        assert!(lab.verdict(theirs).await.starts_with("passed"));
        lab.settle().await;
        assert_eq!(lab.on(), ["soc-b-001"]);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_given_back_under_a_run_goes_on_with_it_and_is_free_then() {
    lab(&yaml::small(1), async |lab| {
        lab.say("alice", "/lab reserve soc-a-001 2h").await;
        let run = lab.run("alice", "/run-test soc-a-001 build-crawl").await;
        lab.until_state(run, "testing").await;
        insta::assert_snapshot!(steady(&lab.say("alice", "/lab release").await), @"👋 `soc-a-001` is given back. Run #1 goes on to its end there; then the board is free.");
        insta::assert_snapshot!(steady(&lab.say("bob", "/lab boards socA").await), @r#"
            *Boards of socA*: 0 free, 1 busy
            🔵 `soc-a-001` socA · Lab Site A · run #1 since <time>
        "#);
        lab.say("alice", &format!("/lab cancel {run}")).await;
        lab.until_state(run, "finished").await;
        lab.settle().await;
        assert_eq!(lab.on(), ["soc-b-001"], "it came to rest as after any run");
        assert_eq!(lab.rows("SELECT fence, state FROM leases").await, ["1 | released"]);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_on_ones_own_board_goes_on_after_a_restart() {
    lab(&yaml::small(1), async |lab| {
        lab.say("alice", "/lab reserve soc-a-001 2h").await;
        let run = lab.run("alice", "/run-test soc-a-001 build-slow").await;
        lab.until_state(run, "testing").await;
        lab.restart().await;
        let verdict = lab.verdict(run).await;
        assert!(verdict.starts_with("passed"), "{verdict}");
        assert_eq!(lab.rows("SELECT fence, state FROM leases").await, ["1 | held"]);
        lab.say("alice", "/lab release").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_is_kept_as_the_failure_left_it_for_whoever_asked_before() {
    lab(&yaml::small(1), async |lab| {
        lab.say("lead", "/lab reserve soc-a-001").await;
        let run = lab.run("alice", "/run-test socA build-fail").await;
        insta::assert_snapshot!(steady(&lab.say("alice", &format!("/lab hold {run}")).await), @"🟣 If #1 fails, its board is left as it is and yours for 30m. You get a direct message.");
        lab.until_card(run, "If it fails, its board is left as it is for").await;
        lab.say("lead", "/lab release").await;
        let theirs = lab.run("bob", "/run-test socA build-1").await;
        lab.until_card(run, "Failed").await;
        insta::assert_snapshot!(lab.direct("alice", "").await, @r#"
            boardhand: 🟣 #1 failed, and `soc-a-001` is yours as it was left, until <time>. Nothing was typed at it or switched since.
              *Console* `lab:port`
              [Extend 1 h] [Release] [Power Cycle] [Power off]
        "#);
        assert_eq!(lab.on(), ["soc-a-001", "soc-b-001"], "it is left on, whatever its family wants");
        let kept = lab.rows("SELECT fence, reason FROM leases WHERE state = 'held'").await;
        assert_eq!(kept, ["3 | after #1"], "under the run's own fence");
        assert!(lab.thread(run).contains("🟣 `soc-a-001` is left as it is, for @alice."));
        assert_eq!(lab.view(theirs).await.run.state.word(), "queued");
        lab.press("alice", "Release").await;
        insta::assert_snapshot!(lab.answer("alice").await, @"👋 `soc-a-001` is given back: it is brought to rest, and then it is free.");
        assert!(lab.verdict(theirs).await.starts_with("passed"));
        lab.settle().await;
        assert_eq!(lab.on(), ["soc-b-001"]);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_or_is_called_off_keeps_nothing() {
    lab(&yaml::small(1), async |lab| {
        lab.say("lead", "/lab reserve soc-a-001").await;
        let passes = lab.run("alice", "/run-test socA build-1").await;
        lab.say("alice", &format!("/lab hold {passes} 1h")).await;
        lab.say("lead", "/lab release").await;
        assert!(lab.verdict(passes).await.starts_with("passed"));
        let called_off = lab.run("alice", "/run-test socA build-crawl").await;
        lab.until_card(called_off, "Testing").await;
        insta::assert_snapshot!(lab.click("alice", called_off, "Hold if it fails").await, @"🟣 If #2 fails, its board is left as it is and yours for 30m. You get a direct message.");
        lab.say("alice", &format!("/lab cancel {called_off}")).await;
        lab.until_state(called_off, "finished").await;
        lab.settle().await;
        assert_eq!(lab.rows("SELECT DISTINCT state FROM leases").await, ["released"]);
        assert_eq!(lab.rows("SELECT keep FROM runs").await, ["-", "-"]);
        insta::assert_snapshot!(steady(&lab.say("alice", "/lab hold 1").await), @r#"
            ✋ #1 ended passed: there is nothing to look at.
            Try: `/lab run 1`
        "#);
        assert_eq!(lab.on(), ["soc-b-001"]);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hold_on_a_failed_card_takes_the_board_if_nobody_has_it_and_ten_clicks_are_one() {
    lab(&yaml::small(1), async |lab| {
        let run = lab.run("alice", "/run-test socA build-fail iterations=100").await;
        lab.until_state(run, "testing").await;
        lab.until_card(run, "Testing").await;
        let early = lab.button(run, "Hold if it fails");
        lab.until_card(run, "Failed").await;
        lab.settle().await;
        // What was drawn while it ran is out of date.
        lab.slack.press_stale("alice", &lab.card(run), &early).await;
        insta::assert_snapshot!(lab.answer("alice").await, @"That button is out of date: #1 is finished. Nothing was done; the card shows what is possible now.");
        let card = lab.card(run);
        let clicks = (0..10).map(|_| lab.slack.click("alice", &card, "Hold 30 min"));
        futures_util::future::join_all(clicks).await;
        lab.answers_until("alice", "is yours").await;
        assert_eq!(lab.rows("SELECT fence, state FROM leases WHERE state = 'held'").await, ["2 | held"]);
        lab.slack.click("bob", &card, "Hold 30 min").await;
        insta::assert_snapshot!(lab.answers_until("bob", "was not held").await, @r#"
            ✋ `soc-a-001` was not held: @alice has it until <time> (after #1). What the failure left is gone with that. To have it in your turn: `/lab reserve soc-a-001`
            [Notify me when it is free]
        "#);
        lab.say("alice", "/lab release").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_repeated_on_ones_own_board_has_asked_for_no_board() {
    lab(&yaml::small(1), async |lab| {
        let first = lab.run("alice", "/run-test socA build-fail").await;
        lab.until_card(first, "Failed").await;
        lab.settle().await;
        lab.say("alice", "/lab reserve soc-a-001 2h").await;
        lab.click("alice", first, "Retry").await;
        lab.until_card(2, "Failed").await;
        lab.say("alice", "/lab release").await;
        lab.settle().await;
        lab.say("bob", "/lab retry 2").await;
        lab.settle().await;
        let mut boards = vec![];
        for run in 1..=3 {
            boards.push(lab.view(run).await.run.spec.selector.board.map(|board| board.to_string()));
        }
        assert_eq!(boards, [None, Some("soc-a-001".to_owned()), None]);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_a_board_cycles_it_from_a_card_whatever_their_role() {
    let closed = yaml::small(1) + "roles: {admin: [slack:U0BOSS], operator: [slack:U0BOSS], user: [\"*\"]}\n";
    lab(&closed, async |lab| {
        lab.say("alice", "/lab reserve soc-a-001 2h").await;
        let run = lab.run("alice", "/run-test soc-a-001 build-fail").await;
        lab.until_card(run, "Failed").await;
        let answer = lab.click("alice", run, "Power Cycle").await;
        assert!(answer.contains("`soc-a-001`") && !answer.contains("operator"), "{answer}");
        let denied = lab.click("bob", run, "Power Cycle").await;
        assert!(denied.contains("operator"), "{denied}");
        lab.say("alice", "/lab release").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
