//! Slack in trouble: slow, refusing, half answering, away. Runs go on, and the story is complete and in order once Slack
//! is back: one card, no reply twice or out of place.

use std::time::Duration;

use boardhand::sim::slack::ApiFault;

use crate::lab::{CHANNEL, Lab, WITHIN, lab, yaml};

/// The thread of run 1 as the words its messages begin with; one card, or this fails.
fn story(lab: &Lab) -> Vec<String> {
    let cards = lab.slack.channel(CHANNEL).iter().filter(|m| m.text.starts_with("#1 ")).count();
    assert_eq!(cards, 1, "cards of #1:\n{}", lab.slack.render_channel(CHANNEL));
    let thread = lab.slack.thread(CHANNEL, &lab.card(1));
    thread.iter().map(|m| m.text.clone()).collect()
}

const TOLD: [&str; 3] = [
    "#1 socA · build-1 · smoke: ✅ Passed (23 passed)",
    "#1: soc-a-001 is up, testing",
    "#1 Passed: 23 passed",
];

/// One run while a method fails like this, so often; the story must be whole in the end.
async fn check(faults: &[(&str, ApiFault, u32)], history: bool) {
    lab(&yaml::small(1), async |lab| {
        lab.slack.set_history_scope(history);
        for (method, fault, times) in faults {
            lab.slack.break_calls(method, fault.clone(), *times);
        }
        lab.run("alice", "/run-test socA build-1").await;
        assert_eq!(lab.verdict(1).await, "passed in testing");
        lab.settle().await;
        assert_eq!(story(lab), TOLD, "{faults:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_is_waited_out() {
    let limited = ApiFault::RateLimited(1);
    check(&[("chat.postMessage", limited.clone(), 2), ("chat.update", limited, 1)], true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_that_arrived_and_was_answered_badly_is_found_and_not_repeated() {
    check(&[("chat.postMessage", ApiFault::AcceptThen500, 1)], true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_post_that_arrives_without_an_answer_is_found() {
    check(&[("chat.postMessage", ApiFault::AcceptThenDrop, 3)], true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_whose_answer_is_lost_is_made_again() {
    let lost = [("chat.update", ApiFault::AcceptThenDrop, 1), ("chat.update", ApiFault::AcceptThen500, 1)];
    check(&lost, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_slack_delays_the_story_and_not_the_run() {
    let slow = ApiFault::Slow(Duration::from_millis(400));
    check(&[("*", slow, 20)], true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_that_was_not_carried_out_is_tried_again() {
    check(&[("chat.postMessage", ApiFault::Error500, 1), ("chat.update", ApiFault::Error500, 1)], true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_right_to_look_a_result_comes_at_least_once_and_progress_at_most_once() {
    lab(&yaml::small(1), async |lab| {
        lab.slack.set_history_scope(false);
        lab.slack.break_calls("chat.postMessage", ApiFault::AcceptThen500, 3);
        lab.run("alice", "/run-test socA build-1").await;
        assert_eq!(lab.verdict(1).await, "passed in testing");
        lab.settle().await;
        let texts: Vec<String> = lab.slack.with(|world| {
            let channel = world.channel(CHANNEL).expect("the channel");
            channel.messages.iter().filter(|m| m.user == "U0BOT").map(|m| m.text.clone()).collect()
        });
        let count = |text: &str| texts.iter().filter(|t| *t == text).count();
        assert!(count(TOLD[0]) >= 1, "the card tells the result: {texts:#?}");
        assert!(count(TOLD[1]) <= 1, "progress is never told twice: {texts:#?}");
        assert!(count(TOLD[2]) >= 1, "the result is told: {texts:#?}");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slack_is_away_for_the_whole_run_and_the_story_is_whole_when_it_is_back() {
    lab(&yaml::small(1), async |lab| {
        lab.slack.break_calls("*", ApiFault::Error500, u32::MAX);
        lab.run("alice", "/run-test socA build-1").await;
        assert_eq!(lab.verdict(1).await, "passed in testing");
        assert_eq!(lab.slack.channel(CHANNEL).len(), 0, "nothing got through");
        lab.slack.heal();
        lab.settle().await;
        assert_eq!(story(lab), TOLD);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_never_goes_backwards() {
    lab(&yaml::small(1), async |lab| {
        for _ in 0..3 {
            lab.slack.break_calls("chat.update", ApiFault::Slow(Duration::from_millis(150)), 1);
            lab.slack.break_calls("chat.update", ApiFault::AcceptThenDrop, 1);
        }
        lab.run("alice", "/run-test socA build-1").await;
        let order = [
            "Waiting",
            "Got a board",
            "Switching",
            "Booting",
            "Deploying",
            "Testing",
            "Collecting",
            "Passed",
        ];
        let place = |text: &str| order.iter().position(|word| text.contains(word));
        let mut farthest = 0;
        while farthest < order.len() - 1 {
            let seen = lab.slack.with(|world| {
                let channel = world.channel(CHANNEL).expect("the channel");
                channel.messages.iter().find(|m| m.text.starts_with("#1 ")).and_then(|m| place(&m.text))
            });
            let now = seen.unwrap_or(farthest);
            assert!(now >= farthest, "the card went from {} back to {}", order[farthest], order[now]);
            farthest = now;
            lab.clock.sleep(Duration::from_millis(1)).await;
        }
        lab.settle().await;
        assert_eq!(story(lab), TOLD);
    })
    .await;
}

/// A run that is at its tests and stays there until somebody ends it.
async fn crawling(lab: &Lab) {
    lab.run("alice", "/run-test socA build-crawl").await;
    lab.until_card(1, "Testing").await;
}

async fn end(lab: &Lab) {
    lab.say("alice", "/lab cancel 1").await;
    assert!(lab.verdict(1).await.starts_with("cancelled"));
}

/// What the messages of a conversation begin with.
fn texts(lab: &Lab, channel: &str) -> Vec<String> {
    lab.slack.channel(channel).iter().map(|message| message.text.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_not_accepted_keeps_the_whole_story_until_it_is() {
    lab(&yaml::small(1), async |lab| {
        crawling(lab).await;
        lab.slack.break_calls("*", ApiFault::Error("token_revoked".into()), u32::MAX);
        end(lab).await;
        let told = async {
            while !lab.get("/readyz").await.contains("token_revoked") {
                lab.clock.sleep(Duration::from_millis(5)).await;
            }
        };
        lab.clock.timeout(WITHIN, told).await.expect("the health page names the trouble");
        let ready = lab.get("/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 200 ") && ready.contains("set SLACK_BOT_TOKEN"), "{ready}");
        lab.slack.heal();
        lab.settle().await;
        assert!(lab.get("/readyz").await.contains(r#""trouble":{}"#), "it is over");
        lab.until_card(1, "Cancelled").await;
        let thread = lab.slack.thread(CHANNEL, &lab.card(1));
        assert!(thread.iter().any(|message| message.text == "#1 was cancelled"), "{thread:#?}");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_that_a_card_cannot_show_does_not_cost_the_outcome() {
    lab(&yaml::small(1), async |lab| {
        lab.slack.break_calls("chat.update", ApiFault::Error("msg_too_long".into()), u32::MAX);
        lab.run("alice", "/run-test socA build-crawl").await;
        lab.until_state(1, "testing").await;
        lab.slack.until(|_| lab.slack.calls("chat.update") > 0, WITHIN).await.expect("an edit is tried");
        lab.slack.heal();
        end(lab).await;
        lab.settle().await;
        lab.until_card(1, "Cancelled").await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_that_somebody_deleted_is_posted_anew_with_the_outcome() {
    for history in [true, false] {
        lab(&yaml::small(1), async |lab| {
            lab.slack.set_history_scope(history);
            crawling(lab).await;
            lab.slack.delete(CHANNEL, &lab.card(1));
            end(lab).await;
            lab.settle().await;
            let cards = texts(lab, CHANNEL);
            assert!(cards.iter().any(|card| card.contains("Cancelled")), "{cards:#?}");
            lab.read_all();
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_whose_channel_is_closed_is_told_to_its_requester() {
    lab(&yaml::small(1), async |lab| {
        crawling(lab).await;
        // The same channel, without the bot.
        lab.slack.add_channel("C0SOCCI", "soc-ci", false);
        end(lab).await;
        lab.settle().await;
        assert_eq!(texts(lab, "D0ALICE"), ["#1 was cancelled"]);
    })
    .await;
}
