//! What one person may have at once: whoever has as many boards as they may waits and is told so, and nobody else waits
//! for them; whoever has as many runs waiting as they may is refused, and so is who has had boards for as long as they may.

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_had_boards_for_as_long_as_they_may_is_told_when_they_may_again() {
    let text =
        yaml::small(3) + "roles: {admin: [slack:U0LEAD], user: [\"*\"]}\nquotas: {user: {held_hours: 4}}\n";
    lab(&text, async |lab| {
        let first = lab.say("alice", "/lab reserve soc-a-001 2h bring-up").await;
        assert!(first.contains("2h of your 4h in 7d are used with that"), "{first}");
        let longer = lab.say("alice", "/lab extend soc-a-001 1h").await;
        assert!(longer.contains("3h of your 4h in 7d are used with that"), "{longer}");
        let told = "you have had or asked for boards of your own for";
        for refused in ["/lab extend soc-a-001 2h", "/lab reserve soc-a-002 2h"] {
            let refused = lab.say("alice", refused).await;
            assert!(refused.to_lowercase().contains(told), "{refused}");
            assert!(
                refused.contains("of 4h in 7d, and this wants 2h more; as much is free again at"),
                "{refused}"
            );
        }
        let never = lab.say("alice", "/lab reserve soc-a-002 5h").await;
        assert!(never.contains("this wants 5h more") && !never.contains("free again"), "{never}");
        // What waits counts as well, and what is waited for already does not count twice.
        let bobs = lab.say("bob", "/lab reserve soc-a-002 4h").await;
        assert!(bobs.contains("4h of your 4h in 7d"), "{bobs}");
        let waits = lab.say("alice", "/lab reserve soc-a-002 1h").await;
        assert!(waits.contains("in line"), "{waits}");
        assert!(lab.say("alice", "/lab reserve soc-a-002 1h").await.contains("in line"));
        let more = lab.say("alice", "/lab reserve soc-a-003 1h").await;
        assert!(more.to_lowercase().contains(told), "{more}");
        lab.say("alice", "/lab release soc-a-002").await;
        // Who takes a board over has it for the time that is left.
        lab.say("bob", "/lab handover soc-a-002 <@U0ALICE|alice>").await;
        assert!(lab.direct("alice", "").await.contains("@bob offers you `soc-a-002`"));
        lab.press("alice", "Take it").await;
        lab.answers_until("alice", "You have had or asked for boards of your own for").await;
        // What is given back early is had again.
        lab.say("alice", "/lab release soc-a-001").await;
        assert!(lab.say("alice", "/lab reserve soc-a-003 3h").await.contains("yours"));
        lab.say("alice", "/lab release soc-a-003").await;
        lab.say("bob", "/lab release soc-a-002").await;
        lab.settle().await;
        // A board that is theirs should a run fail is agreed as well, once for each run.
        let mut runs = [0; 2];
        for run in &mut runs {
            *run = lab.run("alice", "/run-test socA build-crawl").await;
        }
        for (run, asks) in [(runs[0], "3h"), (runs[0], "3h"), (runs[1], "30m")] {
            let kept = lab.say("alice", &format!("/lab hold #{run} {asks}")).await;
            assert!(!kept.to_lowercase().contains(told), "{kept}");
        }
        let more = lab.say("alice", "/lab reserve soc-a-003 1h").await;
        assert!(more.to_lowercase().contains(told), "{more}");
        for run in runs {
            lab.say("alice", &format!("/lab cancel {run}")).await;
        }
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
