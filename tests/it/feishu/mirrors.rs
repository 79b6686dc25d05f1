//! One run, two platforms: a channel in Slack and a chat in Feishu that tell the same story, each to its own people.

use std::time::Duration;

use boardhand::sim::feishu::{Call, Fault};
use boardhand::sim::slack::{Message, SimSlack};
use boardhand::store::Census;

use super::{CHAT, How, Lab, lab_of};
use crate::lab::{CHANNEL, WITHIN, steady, yaml};

/// Both tell what is asked in either.
const LINKED: &str = "channels: {mirrors: [{from: slack:C0SOCCI, to: feishu:oc_soc}, {from: feishu:oc_soc, to: slack:C0SOCCI}]}\n";

async fn both(boards: usize, test: impl AsyncFnOnce(&Lab, &SimSlack)) {
    lab_of(&(yaml::small(boards) + LINKED), How::WithSlack, async |lab| {
        lab.feishu.add_person("ou_li", "Li Lei");
        let slack = lab.slack.as_ref().expect("Slack is there");
        test(lab, slack).await;
        lab.settle().await;
        assert_eq!(slack.problems(), [""; 0], "a real workspace would not have taken these");
    })
    .await;
}

/// A story without what the board printed.
fn without_code(text: &str) -> String {
    let parts = steady(text);
    parts.split("```").step_by(2).map(str::trim_end).collect()
}

/// The bot's message in the Slack channel that begins so.
fn slack_card(slack: &SimSlack, begins: &str) -> Option<Message> {
    slack
        .channel(CHANNEL)
        .into_iter()
        .find(|message| message.user == "U0BOT" && message.text.starts_with(begins))
}

/// Waits until the card in Slack says this; gives its id.
async fn slack_says(slack: &SimSlack, begins: &str, says: &str) -> String {
    let said = |message: &Message| format!("{} {}", message.text, message.blocks).contains(says);
    let seen = slack.until(
        |world| {
            let mut messages = world.channels["C0SOCCI"].messages.iter();
            messages.any(|m| m.user == "U0BOT" && m.text.starts_with(begins) && said(m))
        },
        WITHIN,
    );
    if seen.await.is_err() {
        panic!("no card {begins:?} says {says:?} in Slack:\n{}", slack.render_channel(CHANNEL));
    }
    slack_card(slack, begins).expect("it was just there").ts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_asked_for_in_slack_is_told_in_both_and_a_click_in_feishu_changes_both() {
    both(1, async |lab, slack| {
        slack.say("alice", CHANNEL, "/run-test socA build-fail").await;
        let card = lab.card("#1", "Failed").await;
        let root = slack_says(slack, "#1 ", "Failed").await;
        lab.settle().await;
        insta::assert_snapshot!(without_code(&slack.render_thread(CHANNEL, &root)), @r"
        boardhand: #1 socA · build-fail · smoke
          *❌ Failed* · `tests-failed`
          Failed: `gemm.gemm_i4_packed`, `memory.memory_alloc_free`
          New failure on socA.
          *Board* `soc-a-001`
          *By* @alice
          *Tests* 17 passed, *2* failed
          *Took* N s
          ✓ power   ✓ boot   ✓ deploy   ✗ test   ✓ collect
          Finished <time> · Console log
          [Retry] [Retry on another board] [Hold 30 min] [Power Cycle] [Log]
        boardhand: ▶️ `soc-a-001` is up, `build-fail` is being tested.
        boardhand: *❌ Failed* · `tests-failed` on `soc-a-001` in N s: 17 passed, *2* failed · @alice
          Failed: `gemm.gemm_i4_packed`, `memory.memory_alloc_free`
          New failure on socA.
          Console log
        ");
        insta::assert_snapshot!(without_code(&lab.feishu.render(CHAT)), @r"
        [red] #1 socA · build-fail · smoke
        **❌ Failed** · `tests-failed`
        Failed: `gemm.gemm_i4_packed`, `memory.memory_alloc_free`
        New failure on socA.
        **Board**
        `soc-a-001`
        **By**
        alice
        **Tests**
        17 passed, **2** failed
        **Took**
        N s
        ✓ power   ✓ boot   ✓ deploy   ✗ test   ✓ collect
        Finished <time> · [Console log](http://lab/runs/1/log/1?key=…)
        (Retry) (Retry on another board) (Hold 30 min) (Power Cycle) (Log)
            ▶️ `soc-a-001` is up, `build-fail` is being tested.
            **❌ Failed** · `tests-failed` on `soc-a-001` in N s: 17 passed, **2** failed · alice
            Failed: `gemm.gemm_i4_packed`, `memory.memory_alloc_free`
            New failure on socA.
            [Console log](http://lab/runs/1/log/1?key=…)
        ");
        let clicked = lab.feishu.click("ou_li", &card, "Retry").await;
        assert_eq!((clicked.toast.0.as_str(), clicked.with_card), ("success", true));
        slack_says(slack, "#1 ", "Retried as #2 by Li Lei").await;
        lab.card("#1", "Retried as #2 by <at id=ou_li></at>").await;
        // Asked for in Feishu, in the place of the first: its card stands in both, and names who asked in both.
        lab.card("#2", "Failed").await;
        slack_says(slack, "#2 ", "Failed").await;
        slack_says(slack, "#2 ", "Li Lei").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_asked_for_in_feishu_is_ended_by_a_click_in_slack() {
    both(1, async |lab, slack| {
        lab.say("run socA build-crawl").await;
        lab.card("#1", "Cancel").await;
        let root = slack_says(slack, "#1 ", "Cancel").await;
        slack.click("bob", &root, "Cancel").await;
        lab.card("#1", "Ended by bob").await;
        slack_says(slack, "#1 ", "Ended by bob").await;
        lab.settle().await;
        // The thread under either card answers about its run without a number.
        slack.say_in_thread("alice", CHANNEL, &root, "@boardhand status").await;
        slack
            .until(|world| world.ephemerals.iter().any(|e| e.text.contains("#1")), WITHIN)
            .await
            .expect("an answer");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_in_trouble_holds_up_nobody_and_catches_up() {
    both(1, async |lab, slack| {
        for call in [Call::Send, Call::Reply, Call::Edit, Call::Person] {
            (0..1000).for_each(|_| lab.feishu.fault(call, Fault::Code(1)));
        }
        // The first is asked for in Feishu itself, whose people cannot be named meanwhile.
        lab.say("run socA build-123").await;
        slack.say("alice", CHANNEL, "/run-test socA build-fail").await;
        slack_says(slack, "#1 ", "Passed").await;
        let root = slack_says(slack, "#2 ", "Failed").await;
        slack
            .until(
                |w| {
                    w.channels["C0SOCCI"]
                        .messages
                        .iter()
                        .any(|m| m.thread_ts.as_ref() == Some(&root) && m.text.contains("Failed"))
                },
                WITHIN,
            )
            .await
            .expect("its thread is told");
        assert_eq!(lab.feishu.messages(CHAT).iter().filter(|m| m.author.is_none()).count(), 0);
        lab.feishu.heal();
        lab.card("#1", "Passed").await;
        lab.card("#2", "Failed").await;
        lab.settle().await;
        let cards: Vec<_> = lab
            .feishu
            .messages(CHAT)
            .into_iter()
            .filter(|m| m.author.is_none() && m.root.is_none())
            .collect();
        assert!(
            cards.len() == 2 && cards.iter().all(|card| card.edits == 0),
            "one catch-up each:\n{}",
            lab.feishu.render(CHAT)
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_that_the_bot_is_not_in_loses_its_own_story_alone() {
    both(1, async |lab, slack| {
        lab.feishu.leave(CHAT);
        slack.say("alice", CHANNEL, "/run-test socA build-123").await;
        let root = slack_says(slack, "#1 ", "Passed").await;
        lab.settle().await;
        assert!(slack.render_thread(CHANNEL, &root).contains("Passed"));
        let census = lab.store.census().await.expect("census");
        assert!(census.dead > 0, "what Feishu did not take is kept as that: {census:?}");
        let direct = slack.with(|world| world.channels["D0ALICE"].messages.len());
        assert_eq!(direct, 0, "its requester was told where they asked");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_are_not_told_in_a_moment_hold_up_nothing() {
    both(1, async |lab, slack| {
        lab.feishu.fault(Call::Person, Fault::Silent(Duration::from_secs(60)));
        lab.say("run socA build-123").await;
        slack_says(slack, "#1 ", "ou_li").await;
        slack_says(slack, "#1 ", "Passed").await;
        // Whoever mentions the bot in Slack is named as well.
        slack.say("bob", CHANNEL, "@boardhand run socA build-123").await;
        let card = lab.card("#2", "Passed").await;
        let messages = lab.feishu.messages(CHAT);
        let card = messages.iter().find(|m| m.id == card).expect("it was just there");
        assert!(card.shown().contains("bob"), "{}", card.shown());
        let quiet = Census { dead: 0, ..lab.store.census().await.expect("census") };
        assert_eq!(quiet.dead, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_with_a_custom_bot_is_told_every_finished_run_once() {
    lab_of(&(yaml::small(1) + LINKED), How::Hook, async |lab| {
        let slack = lab.slack.as_ref().expect("Slack is there");
        slack.say("alice", CHANNEL, "/run-test socA build-fail").await;
        let root = slack_says(slack, "#1 ", "Failed").await;
        lab.settle().await;
        // The old card changes once more, and is not told again.
        slack.click("bob", &root, "Retry").await;
        slack_says(slack, "#2 ", "Failed").await;
        lab.settle().await;
        let told = lab.feishu.messages(CHAT);
        let titles: Vec<_> =
            told.iter().map(|m| m.shown().lines().next().unwrap_or_default().to_owned()).collect();
        assert_eq!(titles, ["[red] #1 socA · build-fail · smoke", "[red] #2 socA · build-fail · smoke"]);
        assert!(told[0].shown().contains("alice") && !told[0].shown().contains("(Retry)"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_linked_over_both_platforms_is_one_requester() {
    let text = crate::lab::yaml::small(1)
        + "roles: {admin: [slack:U0LEAD]}\npeople: {li: {slack: U0ALICE, feishu: ou_li}}\n\
           channels: {mirrors: [{from: feishu:oc_soc, to: slack:C0SOCCI}]}\n";
    super::lab_of(&text, How::WithSlack, async |lab| {
        let slack = lab.slack.as_ref().expect("Slack is there");
        lab.say("run socA build-crawl").await;
        lab.card("#1", "Testing").await;
        // In Slack, where they are mentioned, it is theirs as well: to see and to end.
        let mine = slack.say("alice", CHANNEL, "/lab runs mine").await.text;
        assert!(mine.contains("*#1*"), "{mine}");
        let refused = slack.say("bob", CHANNEL, "/lab cancel 1").await.text;
        assert!(refused.contains("Only an operator may cancel other people's runs"), "{refused}");
        let ended = slack.say("alice", CHANNEL, "/lab cancel 1").await.text;
        assert!(ended.contains("#1 is being ended"), "{ended}");
        lab.card("#1", "Cancelled").await;
        lab.settle().await;
        let told = lab.feishu.render(CHAT);
        assert!(told.contains("<at id=ou_li></at>") && !told.contains("U0ALICE"), "{told}");
        let told = slack.render_channel(CHANNEL);
        assert!(told.contains("@alice") && !told.contains("ou_li"), "{told}");
    })
    .await;
}
