//! Languages of readers: what one person alone reads is in theirs, what a channel reads in the channel's.

use crate::lab::{CHANNEL, Lab, lab, yaml};

/// Somebody asks until they are answered so: their language is asked for beside the first answer.
async fn until_said(lab: &Lab, user: &str, text: &str, says: &str) {
    lab.say_until(user, text, says).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_person_reads_is_in_their_language_and_what_all_read_in_the_channels() {
    lab(&yaml::small(1), async |lab| {
        lab.slack.set_locale("alice", "zh-CN");
        until_said(lab, "alice", "/lab boards", "板卡").await;
        assert!(lab.say("bob", "/lab boards").await.contains("Boards"));
        // A mention is answered to them alone, too.
        assert!(lab.ask("alice", "@boardhand boards").await.contains("板卡"));
        // The card and its thread are everybody's.
        let run = lab.say("alice", "/run-test socA build-1").await;
        assert!(run.contains("👍 *#1*") && run.contains("空闲"), "{run}");
        lab.until_card(1, "Passed").await;
        lab.settle().await;
        assert!(lab.thread(1).contains("is being tested"), "{}", lab.thread(1));
        // What comes to them directly, and what is asked of them.
        lab.say("alice", "/lab watch socA").await;
        lab.say("bob", "/run-test socA build-fail").await;
        let told = lab.direct("alice", "#2").await;
        assert!(told.contains("失败"), "{told}");
        lab.slack.set_locale("bob", "ja-JP");
        assert!(lab.say("bob", "/lab boards").await.contains("Boards"), "nobody speaks that here");
        assert_eq!(lab.slack.calls("users.info"), 2, "each is asked for once");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_may_read_english_in_a_chinese_channel_and_nobody_waits_to_be_known() {
    let text = yaml::small(1) + "channels: {locale: {slack: zh}}\n";
    lab(&text, async |lab| {
        lab.slack.set_scope("users:read", false);
        lab.slack.set_locale("alice", "en-GB");
        assert!(lab.say("alice", "/lab boards").await.contains("板卡"), "Slack does not tell");
        lab.slack.set_locale("bob", "en-US");
        lab.slack.set_scope("users:read", true);
        lab.slack.break_calls(
            "users.info",
            boardhand::sim::slack::ApiFault::Slow(std::time::Duration::from_millis(300)),
            1,
        );
        assert!(
            lab.slack.say("bob", CHANNEL, "/lab boards").await.text.contains("板卡"),
            "it is not known yet"
        );
        until_said(lab, "bob", "/lab boards", "Boards").await;
        // Who asks too fast asks again when they may.
        lab.slack.set_locale("lead", "en-US");
        lab.slack.break_calls("users.info", boardhand::sim::slack::ApiFault::RateLimited(1), 1);
        assert!(lab.say("lead", "/lab boards").await.contains("板卡"));
        until_said(lab, "lead", "/lab boards", "Boards").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
