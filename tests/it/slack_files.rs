//! Console logs as files: asked for with a button, shown once in the run's thread, and linked to where Slack takes none.

use boardhand::sim::slack::ApiFault;

use crate::lab::{CHANNEL, Lab, WITHIN, lab, yaml};

/// A run that has passed and whose story is told; gives its card.
async fn passed(lab: &Lab) -> String {
    lab.run("alice", "/run-test socA build-1").await;
    assert_eq!(lab.verdict(1).await, "passed in testing");
    lab.settle().await;
    lab.read_all();
    lab.card(1)
}

/// What the thread says since it was read.
async fn says(lab: &Lab, card: &str, says: &str) -> String {
    let come = lab.slack.until(|world| world.thread(CHANNEL, card).any(|m| m.text.contains(says)), WITHIN);
    come.await.expect("the thread says it");
    lab.settle().await;
    let thread = lab.slack.render_thread(CHANNEL, card);
    thread.split("boardhand: ").last().unwrap_or_default().trim_end().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_taps_on_log_show_one_file_in_the_thread() {
    lab(&yaml::small(1), async |lab| {
        let card = passed(lab).await;
        let taps = (0..10).map(|_| lab.slack.click("bob", &card, "Log"));
        futures_util::future::join_all(taps).await;
        let file = says(lab, &card, "Console log of #1").await;
        assert_eq!(file, "📄 Console log of #1, attempt 1 on soc-a-001\n  📎 run-1-attempt-1.log");
        let told = lab.slack.render_answers("bob");
        assert_eq!(told.matches("on its way to the run's thread").count(), 1, "{told}");
        assert_eq!(told.matches("in the run's thread already").count(), 9, "{told}");
        assert_eq!(lab.slack.calls("files.completeUploadExternal"), 1);
        let log = lab.slack.file("run-1-attempt-1.log").expect("the file");
        assert!(log.contains("login:") && log.contains("/tmp/t --iterations"), "{log}");
        assert!(!log.contains("Password: root"), "{log}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_scope_the_log_is_linked_to_and_nothing_else_stops() {
    lab(&yaml::small(1), async |lab| {
        lab.slack.set_scope("files:write", false);
        let card = passed(lab).await;
        lab.slack.click("alice", &card, "Log").await;
        let linked = says(lab, &card, "Console log of #1").await;
        assert_eq!(
            linked,
            "📄 Console log of #1, attempt 1 on `soc-a-001`.\n  I may not show files here: the app lacks `files:write`."
        );
        lab.answer("alice").await;
        lab.run("alice", "/run-test socA build-2").await;
        assert_eq!(lab.verdict(2).await, "passed in testing");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_whose_fate_is_not_known_is_looked_for_and_not_shown_twice() {
    lab(&yaml::small(1), async |lab| {
        let card = passed(lab).await;
        lab.slack.break_calls("files.completeUploadExternal", ApiFault::AcceptThenDrop, 1);
        lab.slack.click("alice", &card, "Log").await;
        says(lab, &card, "Console log of #1").await;
        let shown = |m: &boardhand::sim::slack::Message| m.text.contains("Console log of #1");
        assert_eq!(lab.slack.thread(CHANNEL, &card).iter().filter(|m| shown(m)).count(), 1);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_not_kept_any_more_is_said_so() {
    lab(&yaml::small(1), async |lab| {
        let card = passed(lab).await;
        std::fs::remove_dir_all(lab.data.path().join("transcripts")).expect("it was there");
        lab.slack.click("alice", &card, "Log").await;
        let said = says(lab, &card, "Console log of #1").await;
        assert!(said.ends_with("It is not kept any more."), "{said}");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_does_not_get_through_is_linked_to() {
    lab(&yaml::small(1), async |lab| {
        let card = passed(lab).await;
        lab.slack.break_calls("files.getUploadURLExternal", ApiFault::Error500, 1);
        lab.slack.click("alice", &card, "Log").await;
        let said = says(lab, &card, "Console log of #1").await;
        assert!(said.ends_with("It could not be shown as a file here (upload_failed)."), "{said}");
        lab.read_all();
    })
    .await;
}
