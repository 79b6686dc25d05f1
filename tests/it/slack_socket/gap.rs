//! While no socket stands: what was said in the threads of runs is done afterwards, once, and as late words are where it is
//! long ago.

use boardhand::sim::slack::ApiFault;

use super::until_sockets;
use crate::lab::{CHANNEL, Lab, socket_lab, yaml};

/// Nobody gets a socket any more.
async fn down(lab: &Lab) {
    lab.slack.break_calls("apps.connections.open", ApiFault::Error500, u32::MAX);
    lab.slack.cut_sockets();
    until_sockets(lab, 0).await;
}

async fn up(lab: &Lab) {
    lab.slack.heal();
    until_sockets(lab, 1).await;
}

/// A run that goes on, and its thread.
async fn going(lab: &Lab) -> (i64, String) {
    let run = lab.run("alice", "/run-test socA build-crawl").await;
    lab.until_card(run, "Testing").await;
    (run, lab.card(run))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_in_a_runs_thread_while_no_socket_stood_is_done_once() {
    socket_lab(&yaml::small(1), async |lab| {
        let (run, thread) = going(lab).await;
        down(lab).await;
        let lost = lab.slack.say_in_thread("alice", CHANNEL, &thread, "@boardhand cancel").await;
        assert_eq!(lost.status, 0, "nobody hears it");
        lab.slack.say_in_thread("bob", CHANNEL, &thread, "why does nobody answer?").await;
        up(lab).await;
        assert!(lab.answer("alice").await.contains(&format!("#{run}")));
        assert!(lab.verdict(run).await.starts_with("cancelled"));
        // Slack delivers it all the same, later.
        assert_eq!(lab.slack.repeat_last(1, "timeout").await.status, 200);
        let again = lab.slack.say_in_thread("alice", CHANNEL, &thread, "@boardhand retry").await;
        assert_eq!(again.status, 200);
        lab.until_card(2, "Testing").await;
        lab.answers_until("alice", "#2").await;
        // It was heard: the next look at the thread finds it, and does nothing.
        down(lab).await;
        let lost = lab.slack.say_in_thread("bob", CHANNEL, &lab.card(2), "@boardhand cancel").await;
        assert_eq!(lost.status, 0);
        up(lab).await;
        assert!(lab.verdict(2).await.starts_with("cancelled"));
        lab.settle().await;
        assert_eq!(lab.rows("SELECT count(*) FROM runs").await, ["2"]);
        assert_eq!(lab.slack.render_answers("alice"), "");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_while_the_server_was_away_is_done_when_it_is_back() {
    socket_lab(&yaml::small(1), async |lab| {
        let (run, thread) = going(lab).await;
        lab.slack.say_in_thread("alice", CHANNEL, &thread, "@boardhand why").await;
        lab.answer("alice").await;
        lab.stop().await;
        let lost = lab.slack.say_in_thread("alice", CHANNEL, &thread, "@boardhand cancel").await;
        assert_eq!(lost.status, 0);
        lab.restart().await;
        assert!(lab.verdict(run).await.starts_with("cancelled"));
        let told = lab.answers_until("alice", "#1").await;
        assert_eq!(told.matches("being ended").count() + told.matches("is cancelled").count(), 1, "{told}");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_right_to_read_nothing_is_done_and_the_rest_works() {
    socket_lab(&yaml::small(1), async |lab| {
        let (run, thread) = going(lab).await;
        down(lab).await;
        lab.slack.say_in_thread("alice", CHANNEL, &thread, "@boardhand cancel").await;
        lab.slack.heal();
        lab.slack.set_history_scope(false);
        until_sockets(lab, 1).await;
        let asked = || lab.slack.calls("conversations.replies") > 0;
        lab.slack.until(|_| asked(), crate::lab::WITHIN).await.expect("it tries");
        assert!(lab.say("alice", "/lab boards").await.contains("soc-a-001"));
        assert_eq!(lab.until_state(run, "testing").await.run.state.word(), "testing");
        lab.say("alice", &format!("/lab cancel {run}")).await;
        lab.verdict(run).await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

/// What is said is lost, and nothing of Slack was heard in the last day: a weekend.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_while_the_server_was_away_is_done_after_a_quiet_weekend_too() {
    socket_lab(&yaml::small(1), async |lab| {
        let (run, thread) = going(lab).await;
        lab.stop().await;
        lab.slack.say_in_thread("alice", CHANNEL, &thread, "@boardhand cancel").await;
        lab.tamper("DELETE FROM deliveries").await;
        lab.restart().await;
        assert!(lab.verdict(run).await.starts_with("cancelled"));
        lab.answer("alice").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_before_something_else_was_heard_is_done_after_a_restart() {
    socket_lab(&yaml::small(1), async |lab| {
        let (run, thread) = going(lab).await;
        lab.stop().await;
        lab.slack.say_in_thread("alice", CHANNEL, &thread, "@boardhand cancel").await;
        // A command that came behind it was taken, and it was not.
        lab.tamper("UPDATE deliveries SET received_at = received_at + 60000000").await;
        lab.restart().await;
        assert!(lab.verdict(run).await.starts_with("cancelled"));
        lab.answer("alice").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_older_boardhand_has_done_is_not_done_again() {
    socket_lab(&yaml::small(2), async |lab| {
        let (run, thread) = going(lab).await;
        lab.slack.say_in_thread("alice", CHANNEL, &thread, "@boardhand run socA build-1").await;
        lab.until_card(2, "Passed").await;
        lab.answers_until("alice", "#2").await;
        lab.stop().await;
        // It knew messages by the ids of their events.
        lab.tamper("UPDATE deliveries SET key = 'slack:Ev0A1' WHERE key LIKE 'slack:message:%'").await;
        lab.restart().await;
        let looked = || lab.slack.calls("conversations.replies") > 0;
        lab.slack.until(|_| looked(), crate::lab::WITHIN).await.expect("it looks");
        lab.say("alice", &format!("/lab cancel {run}")).await;
        lab.verdict(run).await;
        lab.settle().await;
        assert_eq!(lab.rows("SELECT count(*) FROM runs").await, ["2"]);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_is_not_read_costs_no_other_one_and_is_read_again() {
    socket_lab(&yaml::small(2), async |lab| {
        let ((first, thread), (second, other)) = (going(lab).await, going(lab).await);
        down(lab).await;
        lab.slack.say_in_thread("alice", CHANNEL, &thread, "@boardhand cancel").await;
        lab.slack.say_in_thread("bob", CHANNEL, &other, "@boardhand cancel").await;
        lab.slack.heal();
        // The newest run's thread is read first.
        lab.slack.break_calls("conversations.replies", ApiFault::Error500, 1);
        until_sockets(lab, 1).await;
        for run in [first, second] {
            assert!(lab.verdict(run).await.starts_with("cancelled"));
        }
        lab.answer("alice").await;
        lab.answer("bob").await;
        assert_eq!(lab.slack.calls("conversations.replies"), 3, "what was read is not read again");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_is_waited_out() {
    socket_lab(&yaml::small(1), async |lab| {
        let (run, thread) = going(lab).await;
        down(lab).await;
        lab.slack.say_in_thread("alice", CHANNEL, &thread, "@boardhand cancel").await;
        lab.slack.heal();
        lab.slack.break_calls("conversations.replies", ApiFault::RateLimited(1), 2);
        until_sockets(lab, 1).await;
        assert!(lab.verdict(run).await.starts_with("cancelled"));
        lab.answer("alice").await;
        assert_eq!(lab.slack.calls("conversations.replies"), 3);
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gaps_that_come_while_it_looks_are_looked_into_at_once() {
    socket_lab(&yaml::small(1), async |lab| {
        let (run, thread) = going(lab).await;
        down(lab).await;
        lab.slack.heal();
        lab.slack.break_calls("conversations.replies", ApiFault::Slow(std::time::Duration::from_secs(5)), 1);
        until_sockets(lab, 1).await;
        let looked = |times: u64| lab.slack.calls("conversations.replies") >= times;
        lab.slack.until(|_| looked(1), crate::lab::WITHIN).await.expect("it looks");
        for _ in 0..3 {
            lab.slack.cut_sockets();
            until_sockets(lab, 0).await;
            until_sockets(lab, 1).await;
        }
        // Not heard, and not there when that look began.
        down(lab).await;
        lab.slack.say_in_thread("alice", CHANNEL, &thread, "@boardhand cancel").await;
        up(lab).await;
        assert!(lab.verdict(run).await.starts_with("cancelled"));
        lab.answer("alice").await;
        assert!(
            lab.slack.calls("conversations.replies") <= 3,
            "one look after another, and not one for each gap"
        );
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
