//! Campaigns, told by the people who begin them: a build goes to one board, then to half of them, then to all, with a
//! gate between; what they do when a gate fails; and that a server which is killed on the way starts nothing twice.

use boardhand::sim::BootStage;
use boardhand::sim::slack::Message;

use crate::api::{admin, call};
use crate::lab::{CHANNEL, Lab, lab, steady, yaml};

/// A lab of so many boards with this campaign.
fn with_campaign(boards: usize, keys: &str) -> String {
    let mut text =
        yaml::small(boards).replace("smoke: linux-smoke,", "smoke: linux-smoke, golden: linux-smoke,");
    text.push_str(&format!("campaigns:\n  rollout: {{{keys}}}\n"));
    text
}

const ROLLOUT: &str = "boards_of: [socA], suites: [smoke], waves: [1, 50%, 100%], gate: 100, \
                       rollback: {build: build-100, suite: golden}";

/// Waits until the channel says this.
async fn until_told(lab: &Lab, says: &str) {
    let told = lab.slack.until(
        |world| {
            let channel = world.channel(CHANNEL).expect("the channel");
            channel.messages.iter().any(|m| format!("{} {}", m.text, m.blocks).contains(says))
        },
        crate::lab::WITHIN,
    );
    let told = told.await;
    assert!(told.is_ok(), "nobody said {says:?}:\n{}", lab.slack.render_channel(CHANNEL));
}

/// Makes every boot of a board fail, or lets it be.
fn breaks(lab: &Lab, board: &str, broken: bool) {
    let (_, board) = lab.boards.boards().find(|(id, _)| id.as_str() == board).expect("a board");
    board.set_faults(|faults| faults.panic_at = broken.then_some(BootStage::Kernel));
}

/// Every run there is: its board, build and verdict.
async fn runs(lab: &Lab) -> Vec<String> {
    let rows = lab.rows("SELECT verdict, spec FROM runs ORDER BY number").await;
    let shown = |row: &String| {
        let (verdict, spec) = row.split_once(" | ").expect("two columns");
        let spec: serde_json::Value = serde_json::from_str(spec).expect("JSON");
        let board = spec["selector"]["board"].as_str().unwrap_or("-");
        format!("{board} | {} | {verdict}", spec["build"].as_str().expect("a build"))
    };
    rows.iter().map(shown).collect()
}

/// Waits until there are as many runs.
async fn until_runs(lab: &Lab, count: usize) {
    let there = lab.clock.timeout(crate::lab::WITHIN, async {
        while runs(lab).await.len() < count {
            lab.clock.sleep(std::time::Duration::from_millis(5)).await;
        }
    });
    assert!(there.await.is_ok(), "{count} runs never were: {:?}", runs(lab).await);
}

/// The card of the campaign, which is all that stands in the channel itself.
fn card(lab: &Lab) -> Message {
    let mut found: Vec<Message> = lab.slack.channel(CHANNEL);
    assert_eq!(found.len(), 1, "{}", lab.slack.render_channel(CHANNEL));
    found.remove(0)
}

/// What the thread of its card tells, without the card.
fn thread(lab: &Lab) -> Vec<String> {
    let thread = lab.slack.thread(CHANNEL, &card(lab).ts);
    thread.iter().skip(1).map(|message| message.text.clone()).collect()
}

/// Somebody presses a button of its card, and sees this a moment later.
async fn press(lab: &Lab, user: &str, button: &str) -> String {
    let pressed = lab.slack.click(user, &card(lab).ts, button).await;
    assert_eq!((pressed.status, pressed.text.as_str()), (200, ""), "{user} presses {button:?}");
    lab.answer(user).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_goes_to_one_board_then_to_half_then_to_all() {
    lab(&with_campaign(4, ROLLOUT), async |lab| {
        insta::assert_snapshot!(steady(&lab.say("alice", "/lab campaign rollout build-123").await), @r#"
            🌊 Campaign *1* rollout `build-123`: 4 runs on 4 targets in 3 waves, at most 4 at once.
            How it goes: `/lab campaign 1`
        "#);
        until_told(lab, "4 of 4 runs passed").await;
        lab.settle().await;
        insta::assert_snapshot!(steady(&lab.slack.render_channel(CHANNEL)), @r#"
            boardhand: Campaign 1 · rollout · build-123
              *completed* · wave 3 of 3 (4 targets)
              4 of 4 runs passed, 0 did not, 0 to come
              ✅ `soc-a-001`
              ✅ `soc-a-002`
              ✅ `soc-a-003`
              ✅ `soc-a-004`
              By @alice · Over since <time> · `/lab campaign 1`
              [Roll back]
        "#);
        assert_eq!(
            thread(lab),
            [
                "Campaign 1 rollout: wave 2 of 3",
                "Campaign 1 rollout: wave 3 of 3",
                "Campaign 1 rollout: completed"
            ]
        );
        let expect = (1..=4).map(|n| format!("soc-a-00{n} | build-123 | passed")).collect::<Vec<_>>();
        let mut all = runs(lab).await;
        all.sort();
        assert_eq!(all, expect);
        let seen = steady(&lab.say("bob", "/lab 批次 1").await);
        assert!(seen.contains("*completed*") && seen.contains("✅ `soc-a-004`"), "{seen}");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_card_has_buttons_and_one_of_an_older_state_does_nothing() {
    let keys = "families: [socA], suites: [smoke], repeats: 6, at_once: 1";
    let text = with_campaign(2, keys) + "roles: {admin: [slack:U0LEAD], user: ['*']}\n";
    lab(&text, async |lab| {
        lab.say("alice", "/lab campaign rollout build-crawl").await;
        until_told(lab, "\"Pause\"").await;
        let seen = press(lab, "bob", "Pause").await;
        assert!(seen.contains("Only an operator may steer other people's campaigns"), "{seen}");
        let stale = button(lab, "Pause");
        assert_eq!(
            press(lab, "alice", "Pause").await,
            "👍 Campaign *1* rollout is paused and starts nothing more for now."
        );
        until_told(lab, "\"Resume\"").await;
        lab.until_state(1, "testing").await;
        assert_eq!(press(lab, "alice", "Resume").await, "👍 Campaign *1* rollout goes on.");
        until_told(lab, "\"Pause\"").await;
        lab.slack.press_stale("alice", &card(lab).ts, &stale).await;
        let seen = lab.answer("alice").await;
        assert_eq!(
            seen,
            "That button is out of date. Nothing was done; the card shows what is possible now."
        );
        assert_eq!(
            press(lab, "alice", "Cancel").await,
            "👍 Campaign *1* rollout ends, and its runs with it."
        );
        until_told(lab, "*cancelled*").await;
        lab.settle().await;
        assert_eq!(runs(lab).await, ["- | build-crawl | cancelled"]);
        until_told(lab, "0 of 6 runs passed, 1 did not, 5 to come").await;
        assert_eq!(
            thread(lab),
            [
                "Campaign 1: is paused and starts nothing more for now",
                "Campaign 1: goes on",
                "Campaign 1: ends, and its runs with it"
            ]
        );
        let audit = lab
            .rows("SELECT actor, target, allowed FROM audit WHERE verb = 'campaign' ORDER BY position")
            .await;
        assert_eq!(
            audit,
            [
                "slack:U0ALICE | rollout build-crawl | 1",
                "slack:U0BOB | 1 pause | 0",
                "slack:U0ALICE | 1 rollout pause | 1",
                "slack:U0ALICE | 1 rollout resume | 1",
                "slack:U0ALICE | 1 rollout cancel | 1"
            ]
        );
        lab.read_all();
    })
    .await;
}

/// A button of its card as it is drawn now.
fn button(lab: &Lab, label: &str) -> serde_json::Value {
    let blocks = card(lab).blocks;
    let rows = blocks.as_array().into_iter().flatten().filter_map(|block| block["elements"].as_array());
    let found = rows.flatten().find(|button| button["text"]["text"] == label).cloned();
    found.unwrap_or_else(|| panic!("no {label:?}: {blocks}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_gate_stops_it_and_what_was_reached_is_put_back() {
    lab(&with_campaign(4, ROLLOUT), async |lab| {
        breaks(lab, "soc-a-002", true);
        lab.say("alice", "/lab campaign rollout build-123").await;
        until_told(lab, "did not pass the gate of wave 2").await;
        let channel = steady(&lab.slack.render_thread(CHANNEL, &card(lab).ts));
        assert!(channel.contains("50% passed, and 100% must. It starts nothing more."), "{channel}");
        assert!(channel.contains("Failed on `soc-a-002` · Details"), "{channel}");
        assert!(channel.contains("`/lab campaign 1 continue` · `/lab campaign 1 rollback`"), "{channel}");
        assert_eq!(runs(lab).await.len(), 2);
        breaks(lab, "soc-a-002", false);
        insta::assert_snapshot!(lab.say("bob", "/lab campaign 1 pause").await, @r#"
            ✋ `/lab campaign 1 pause` is not possible now: campaign *1* rollout is stopped at its gate.
            `/lab campaign 1 continue` · `/lab campaign 1 rollback` · `/lab campaign 1 cancel`
        "#);
        insta::assert_snapshot!(lab.say("bob", "/lab campaign 1 rollback").await, @"👍 Campaign *1* rollout ends, and what it reached is put back.");
        until_told(lab, "*put back*").await;
        lab.settle().await;
        let all = runs(lab).await;
        assert_eq!(all[2..], ["soc-a-001 | build-100 | passed", "soc-a-002 | build-100 | passed"], "{all:?}");
        let seen = steady(&lab.say("alice", "/lab campaign 1").await);
        assert!(seen.contains("↩️ `soc-a-001`") && seen.contains("🚫 `soc-a-004`"), "{seen}");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_retried_counts_by_its_last_and_a_gate_can_be_passed_anyway() {
    lab(&with_campaign(3, ROLLOUT), async |lab| {
        breaks(lab, "soc-a-001", true);
        lab.say("alice", "/lab campaign rollout build-123").await;
        until_told(lab, "did not pass the gate of wave 1").await;
        breaks(lab, "soc-a-001", false);
        lab.say("alice", "/lab retry 1").await;
        lab.until_card(2, "Passed").await;
        let seen = steady(&lab.say("alice", "/lab campaign 1").await);
        assert!(seen.contains("1 of 1 run passed, 0 did not"), "{seen}");
        lab.say("alice", "/lab campaign 1 continue").await;
        until_told(lab, "completed").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_campaign_is_paused_ended_and_what_is_not_there_is_said() {
    lab(&with_campaign(2, "families: [socA], suites: [smoke], repeats: 6, at_once: 1"), async |lab| {
        lab.say("alice", "/lab campaign rollout build-crawl").await;
        until_runs(lab, 1).await;
        lab.until_state(1, "testing").await;
        lab.say("alice", "/lab campaign 1 pause").await;
        let seen = steady(&lab.say("bob", "/lab campaigns").await);
        assert!(
            seen.contains("*1* rollout `build-crawl` · paused · wave 1 of 1 · 0 of 6 passed · by @alice"),
            "{seen}"
        );
        assert_eq!(runs(lab).await.len(), 1, "one at once");
        let none = lab.say("alice", "/lab campaign other pause").await;
        assert!(none.contains("There is no campaign other"), "{none}");
        // A word that is asked of a campaign is no build: the one of that name is meant.
        let seen = lab.say("alice", "/lab campaign rollout resume").await;
        assert!(seen.contains("ampaign *1* rollout"), "{seen}");
        let seen = lab.say("alice", "/lab campaign rollout continue").await;
        assert!(seen.contains("`/lab campaign 1 continue` is not possible now"), "{seen}");
        assert_eq!(lab.rows("SELECT count(*) FROM campaigns").await, ["1"]);
        lab.say("alice", "/lab campaign rollout cancel").await;
        lab.settle().await;
        assert_eq!(runs(lab).await, ["- | build-crawl | cancelled"]);
        insta::assert_snapshot!(lab.say("alice", "/lab campaign rolout build-1").await, @r#"
            ✋ boards.yaml has no campaign "rolout". Did you mean `rollout`?
            Try: `/lab campaign rollout build-1`
        "#);
        insta::assert_snapshot!(lab.say("alice", "/lab campaign 1 pase").await, @r#"
            ✋ 'pase' is nothing that can be asked of a campaign. Did you mean `pause`?
            Try: `/lab campaign 1 pause`
        "#);
        insta::assert_snapshot!(lab.say("alice", "/lab campaign 9").await, @r#"
            ✋ There is no campaign 9.
            Try: `/lab campaign`
        "#);
        insta::assert_snapshot!(lab.say("alice", "/lab campaign rollout").await, @r#"
            ✋ The campaign rollout needs a build.
            Try: `/lab campaign rollout build-123`
        "#);
        let audit = lab.rows("SELECT target FROM audit WHERE verb = 'campaign' ORDER BY position").await;
        assert_eq!(audit, ["rollout build-crawl", "1 rollout pause", "1 rollout resume", "1 rollout cancel"]);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_else_retried_does_not_end_with_it_but_for_an_operator() {
    for (who, bobs) in [("alice", "- | build-crawl | -"), ("lead", "- | build-crawl | cancelled")] {
        let keys = "families: [socA], suites: [smoke], repeats: 2, at_once: 1";
        let text = with_campaign(1, keys) + "roles: {operator: [slack:U0LEAD], user: ['*']}\n";
        lab(&text, async |lab| {
            lab.say("alice", "/lab campaign rollout build-crawl").await;
            until_runs(lab, 1).await;
            lab.until_state(1, "testing").await;
            lab.say("alice", "/lab cancel 1").await;
            until_runs(lab, 2).await;
            lab.until_state(2, "testing").await;
            lab.say("bob", "/lab retry 1").await;
            lab.say(who, "/lab campaign 1 cancel").await;
            lab.until_state(2, "finished").await;
            assert_eq!(runs(lab).await, ["- | build-crawl | cancelled", "- | build-crawl | cancelled", bobs]);
            lab.say("bob", "/lab cancel 3").await;
            lab.settle().await;
            lab.read_all();
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_ran_to_its_end_says_that_not_everything_passed_until_a_retry_does() {
    lab(&with_campaign(2, "boards_of: [socA], suites: [smoke]"), async |lab| {
        breaks(lab, "soc-a-001", true);
        lab.say("alice", "/lab campaign rollout build-123").await;
        until_told(lab, "completed, but not everything passed").await;
        lab.settle().await;
        assert_eq!(thread(lab), ["Campaign 1 rollout: completed, but not everything passed"]);
        let shown = steady(&lab.slack.render_channel(CHANNEL));
        assert!(shown.contains("*completed, but not everything passed* · wave 1 of 1"), "{shown}");
        let state = async || {
            let (status, shown) = call(lab, "GET", "/api/v1/campaigns/1", &[&admin()], "").await;
            assert_eq!(status, 200, "{shown}");
            shown["state"].as_str().expect("a state").to_owned()
        };
        assert_eq!(state().await, "completed-with-failures");
        breaks(lab, "soc-a-001", false);
        let failed = lab.rows("SELECT number FROM runs WHERE verdict = 'failed'").await.remove(0);
        lab.say("alice", &format!("/lab retry {failed}")).await;
        lab.until_card(3, "Passed").await;
        lab.settle().await;
        assert_eq!(state().await, "completed");
        until_told(lab, "*completed* · wave 1 of 1").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_start_no_runs_begins_no_campaign_and_a_quota_bounds_how_many_wait() {
    let text = with_campaign(3, "boards_of: [socA], suites: [smoke]")
        + "roles: {operator: [slack:U0LEAD], user: ['*']}\npermissions: {verbs: {run-test: operator}}\n\
           quotas: {operator: {queued: 2}}\n";
    lab(&text, async |lab| {
        let seen = lab.say("alice", "/lab campaign rollout build-123").await;
        assert!(seen.contains("Only an operator may start runs"), "{seen}");
        let seen = lab.say("lead", "/lab campaign rollout build-123").await;
        assert!(seen.contains("3 runs on 3 targets in 1 wave, at most 2 at once"), "{seen}");
        until_told(lab, "3 of 3 runs passed").await;
        lab.settle().await;
        let audit = lab
            .rows("SELECT actor, target, allowed FROM audit WHERE verb = 'campaign' ORDER BY position")
            .await;
        assert_eq!(audit, ["slack:U0ALICE | rollout build-123 | 0", "slack:U0LEAD | rollout build-123 | 1"]);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_runs_of_a_person_wait_than_may_however_many_campaigns_they_begin() {
    let keys = "families: [socA], suites: [smoke], repeats: 5, at_once: 4";
    let text = with_campaign(1, keys)
        + &format!(
            "  second: {{{keys}}}\nroles: {{admin: [slack:U0LEAD], user: ['*']}}\nquotas: {{user: {{queued: 2}}}}\n"
        );
    lab(&text, async |lab| {
        let seen = lab.say("alice", "/lab campaign rollout build-1").await;
        assert!(seen.contains("5 runs on 1 target in 1 wave, at most 2 at once"), "{seen}");
        lab.say("alice", "/lab campaign second build-2").await;
        until_runs(lab, 10).await;
        lab.settle().await;
        let history =
            "SELECT kind FROM events WHERE kind IN ('accepted', 'granted', 'withdrawn') ORDER BY seq";
        let (mut waiting, mut most) = (0, 0);
        for kind in lab.rows(history).await {
            waiting += if kind == "accepted" { 1 } else { -1 };
            most = most.max(waiting);
        }
        assert_eq!((waiting, most), (0, 2));
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_out_of_service_holds_up_no_other_and_people_are_told() {
    let text = with_campaign(3, "boards_of: [socA], suites: [smoke], at_once: 1")
        + "roles: {operator: [slack:U0LEAD], user: ['*']}\n";
    lab(&text, async |lab| {
        lab.say("lead", "/lab quarantine soc-a-001 the fan is dead").await;
        lab.say("alice", "/lab campaign rollout build-123").await;
        until_told(lab, "waits for `soc-a-001`, which is quarantined: the fan is dead").await;
        until_told(lab, "2 of 3 runs passed, 0 did not, 1 to come").await;
        let told = steady(&lab.slack.render_thread(CHANNEL, &card(lab).ts));
        assert!(told.contains("`/lab return soc-a-001` · `/lab cancel 1`"), "{told}");
        lab.say("alice", "/lab cancel 1").await;
        until_told(lab, "completed, but not everything passed").await;
        lab.settle().await;
        assert_eq!(
            thread(lab),
            [
                "Campaign 1 rollout waits for soc-a-001",
                "Campaign 1 rollout: completed, but not everything passed"
            ]
        );
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_on_the_way_goes_on_and_starts_nothing_twice() {
    lab(&with_campaign(4, ROLLOUT), async |lab| {
        lab.say("alice", "/lab campaign rollout build-123").await;
        until_told(lab, "Wave 2 of 3").await;
        lab.restart().await;
        until_told(lab, "completed").await;
        lab.settle().await;
        let mut all = runs(lab).await;
        all.sort();
        all.dedup();
        assert_eq!((all.len(), runs(lab).await.len()), (4, 4), "{all:?}");
        lab.read_all();
    })
    .await;
}

/// The manual's campaigns, in a lab of so many boards.
fn of_the_manual(boards: usize) -> String {
    let manual = include_str!("../../docs/campaigns.md");
    let (_, rest) = manual.split_once("```yaml\ncampaigns:\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    let text = with_campaign(boards, ROLLOUT);
    let (text, _) = text.split_once("campaigns:").expect("a campaign");
    format!("{text}campaigns:\n{example}")
}

#[test]
fn the_manuals_campaigns_are_some() {
    let lab = crate::lab::inventory(&of_the_manual(2));
    assert_eq!(lab.campaigns.keys().collect::<Vec<_>>(), ["matrix", "rollout"]);
    assert_eq!(lab.campaigns["rollout"].terms.gate, 90);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_manuals_lines_are_typed_and_do_what_it_says() {
    lab(&of_the_manual(3), async |lab| {
        let manual = include_str!("../../docs/campaigns.md");
        let lines =
            manual.split("```\n").find(|block| block.starts_with("/lab campaign")).expect("lines to type");
        let mut seen = Vec::new();
        for line in lines.lines() {
            // A build that is never over by itself.
            seen.push(lab.say("alice", &line.replace("build-123", "build-crawl")).await);
        }
        let [begun, shown, paused] = &seen[..] else { panic!("{seen:?}") };
        assert!(begun.contains("3 runs on 3 targets in 3 waves, at most 4 at once"), "{begun}");
        assert!(
            shown.contains("Campaign 1 · rollout · build-crawl") && shown.contains("wave 1 of 3"),
            "{shown}"
        );
        assert!(shown.contains("gate 90%"), "{shown}");
        assert!(paused.contains("is paused and starts nothing more for now"), "{paused}");
        lab.say("alice", "/lab campaign 1 cancel").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
