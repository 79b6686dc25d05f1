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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_lines_of_a_log_are_read_where_they_are_asked_for() {
    lab(&yaml::small(1), async |lab| {
        let card = passed(lab).await;
        let told = lab.say("bob", "/lab log 1 2").await;
        assert!(told.starts_with("📄 The last lines of #1, attempt 1 on `soc-a-001`:"), "{told}");
        assert_eq!(told.lines().filter(|line| line.starts_with('[')).count(), 2, "{told}");
        // In the run's thread a number is one of lines.
        lab.slack.say_in_thread("bob", CHANNEL, &card, "@boardhand log 1").await;
        let told = lab.answers_until("bob", "The end of the log of #1").await;
        assert_eq!(told.lines().filter(|line| line.trim_start().starts_with('[')).count(), 1, "{told}");
        insta::assert_snapshot!(lab.say("bob", "/lab log 1 51").await, @r#"
            🤔 'lines' cannot be '51': it must be a whole number from 1 to 50.
            Usage: `/lab log <#> [lines]`
            Try: `/lab log #42 30`
            `/lab help` shows what I can do.
        "#);
        insta::assert_snapshot!(lab.say("bob", "/lab log 7 3").await, @r#"
            ✋ There is no run #7.
            Try: `/lab runs`
        "#);
        std::fs::remove_dir_all(lab.data.path().join("transcripts")).expect("it was there");
        insta::assert_snapshot!(lab.say("bob", "/lab 日志 1 2").await, @"📄 There is no log of #1, attempt 1 on `soc-a-001`: nothing was said, or it is not kept any more.");
        let told = lab.say("bob", "/lab log 1").await;
        assert!(told.contains("on its way to the run's thread"), "{told}");
        says(lab, &card, "Console log of #1").await;
        lab.read_all();
    })
    .await;
}
