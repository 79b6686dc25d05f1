//! Console logs as files in Feishu: asked for with a button on a card, shown once in the run's thread, and linked to where
//! the app has no right to upload.

use boardhand::sim::feishu::{Call, Fault};

use super::{CHAT, Lab, lab};

/// What the bot says last in the chat.
fn last(lab: &Lab) -> String {
    lab.feishu.render(CHAT).trim_end().rsplit("\n    ").next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tap_on_log_shows_a_file_and_the_next_says_where_it_is() {
    lab(1, async |lab| {
        lab.feishu.say("ou_li", CHAT, "run socA build-123").await;
        let card = lab.card("#1", "Passed").await;
        lab.settle().await;
        let clicked = lab.feishu.click("ou_li", &card, "Log").await;
        assert!(clicked.toast.1.contains("on its way to the run's thread"), "{}", clicked.toast.1);
        lab.settle().await;
        assert_eq!(last(lab), "📎 run-1-attempt-1.log");
        assert!(lab.feishu.file("run-1-attempt-1.log").is_some_and(|log| log.contains("login:")));
        let again = lab.feishu.click("ou_li", &card, "Log").await;
        assert!(again.toast.1.contains("in the run's thread already"), "{}", again.toast.1);
        lab.settle().await;
        assert_eq!(lab.feishu.render(CHAT).matches("📎").count(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_right_the_log_is_linked_to() {
    lab(1, async |lab| {
        lab.feishu.say("ou_li", CHAT, "run socA build-123").await;
        let card = lab.card("#1", "Passed").await;
        lab.settle().await;
        lab.feishu.fault(Call::Upload, Fault::Code(99_991_672));
        lab.feishu.click("ou_li", &card, "Log").await;
        lab.settle().await;
        assert_eq!(last(lab), "I may not show files here: the app lacks `im:resource`.");
    })
    .await;
}
