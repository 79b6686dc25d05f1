//! What one person may have at once: whoever has as many boards as they may waits and is told so, and nobody else waits
//! for them; whoever has as many runs waiting as they may is refused.

use crate::lab::{lab, steady, yaml};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_their_share_waits_and_others_go_by() {
    let roles = "roles: {admin: [slack:U0LEAD], user: [\"*\"]}\n";
    let quotas = "quotas: {user: {boards: 1, queued: 1}}\n";
    let text = yaml::small(2) + roles;
    lab(&format!("{text}{quotas}"), async |lab| {
        let crawls = lab.run("alice", "/run-test socA build-crawl").await;
        lab.until_state(crawls, "testing").await;
        let waits = lab.run("alice", "/run-test socA build-1").await;
        let why = lab.say_until("alice", &format!("/lab why {waits}"), "at most").await;
        insta::assert_snapshot!(steady(&why), @r#"
            *#2* waits at place 1 in line.
            Whoever asked for it has 1 board now, and 1 board at most at once.
        "#);
        // A board is free, for whoever comes next.
        let other = lab.run("bob", "/run-test socA build-2").await;
        assert_eq!(lab.verdict(other).await, "passed in testing");
        insta::assert_snapshot!(steady(&lab.say("alice", "/run-test socA build-3").await), @r#"
            ✋ You have 1 run waiting, and 1 run at most may wait.
            Try: `/lab runs mine`
        "#);
        insta::assert_snapshot!(steady(&lab.say("alice", "/run-test socA build-3 boards=2").await), @r#"
            ✋ You may have 1 board at most at once, and this wants 2.
            Try: `/lab runs mine`
        "#);
        let own = lab.say("alice", "/lab reserve socA 1h").await;
        assert!(own.contains("in line") && own.contains("at most at once"), "{own}");
        lab.say("alice", "/lab release socA").await;
        // What boards.yaml grants more is had at once.
        lab.write_lab(&text);
        lab.say("lead", "/lab reload").await;
        assert_eq!(lab.verdict(waits).await, "passed in testing");
        lab.say("alice", &format!("/lab cancel {crawls}")).await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
