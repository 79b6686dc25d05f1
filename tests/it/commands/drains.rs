//! A board or a site takes nothing new: told by whoever works on it, by whoever has it, and by whoever waits.

use crate::lab::{Lab, lab, steady, yaml};

/// Says something and gives the answer without its times.
async fn say(lab: &Lab, who: &str, text: &str) -> String {
    steady(&lab.say(who, text).await)
}

/// The whole lab with an operator beside the people.
fn closed(n: usize) -> String {
    yaml::small(n) + "roles: {admin: [slack:U0LEAD], operator: [slack:U0BOB], user: [\"*\"]}\n"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_that_drains_finishes_what_is_on_it_and_takes_nothing_new() {
    lab(&closed(1), async |lab| {
        let first = lab.run("alice", "/run-test socA build-crawl").await;
        lab.until_state(first, "testing").await;
        let seen = say(lab, "alice", "/lab drain soc-a-001").await;
        assert!(seen.contains("operator"), "{seen}");
        insta::assert_snapshot!(say(lab, "bob", "/lab drain soc-a-001 2h a new fan").await, @"");
        let second = lab.run("alice", "/run-test socA build-1").await;
        let why = lab.say_until("alice", &format!("/lab why {second}"), "draining").await;
        insta::assert_snapshot!(steady(&why), @"");
        insta::assert_snapshot!(say(lab, "alice", "/lab drain").await, @"");
        lab.say("alice", &format!("/lab cancel {first}")).await;
        let told = lab.direct("bob", "Nothing is on").await;
        insta::assert_snapshot!(steady(&told), @"");
        insta::assert_snapshot!(say(lab, "alice", "/lab boards socA").await, @"");
        // Whoever may drain it works on it.
        let theirs = lab.say("alice", "/lab reserve soc-a-001 1h").await;
        assert!(theirs.contains("place 2 in line") && theirs.contains("draining until"), "{theirs}");
        lab.say("alice", "/lab release soc-a-001").await;
        let theirs = lab.say("bob", "/lab reserve soc-a-001 1h the fan").await;
        assert!(theirs.contains("is yours until"), "{theirs}");
        lab.say("bob", "/lab release soc-a-001").await;
        insta::assert_snapshot!(say(lab, "bob", "/lab undrain soc-a-001").await, @"");
        assert_eq!(lab.verdict(second).await, "passed in testing");
        insta::assert_snapshot!(say(lab, "bob", "/lab undrain soc-a-001").await, @"");
        let audit = lab
            .rows("SELECT actor, verb, target, allowed FROM audit WHERE verb LIKE '%drain' ORDER BY position")
            .await;
        insta::assert_snapshot!(audit.join("\n"), @"");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_a_board_of_a_site_that_drains_is_told_and_keeps_it_to_its_end() {
    lab(&closed(2), async |lab| {
        lab.say("alice", "/lab reserve soc-a-001 1h DDR bring-up").await;
        insta::assert_snapshot!(say(lab, "bob", "/lab drain lab site a moving the rack").await, @"");
        insta::assert_snapshot!(steady(&lab.direct("alice", "is needed").await), @"");
        insta::assert_snapshot!(say(lab, "alice", "/lab extend soc-a-001 1h").await, @"");
        // What she runs on her own board runs.
        let own = lab.run("alice", "/run-test soc-a-001 build-1").await;
        assert_eq!(lab.verdict(own).await, "passed in testing");
        lab.say("bob", "/lab drain soc-a-002 the fan too").await;
        insta::assert_snapshot!(say(lab, "bob", "/lab undrain soc-a-002").await, @"");
        insta::assert_snapshot!(say(lab, "bob", "/lab drain Lab Site C 2h").await, @"");
        insta::assert_snapshot!(say(lab, "bob", "/lab drain soc-a-001 5s").await, @"");
        lab.say("alice", "/lab release soc-a-001").await;
        lab.direct("bob", "Nothing is on").await;
        lab.say("bob", "/lab undrain Lab Site A").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_by_itself_and_its_board_serves_whoever_waits() {
    lab(&closed(1), async |lab| {
        lab.say("bob", "/lab drain soc-a-001 1m").await;
        let run = lab.run("alice", "/run-test socA build-1").await;
        lab.say_until("alice", &format!("/lab why {run}"), "draining").await;
        // A minute goes by.
        lab.tamper("UPDATE drains SET ends_at = 1").await;
        assert_eq!(lab.verdict(run).await, "passed in testing");
        insta::assert_snapshot!(steady(&lab.direct("bob", "time is over").await), @"");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_maintenance_window_nothing_new_begins() {
    let window = "maintenance:\n  network: {sites: [Lab Site A], cron: '* * * * *', lasts: 5m, reason: the switch is replaced}\n";
    let text = closed(1);
    lab(&format!("{text}{window}"), async |lab| {
        let run = lab.run("alice", "/run-test socA build-1").await;
        let why = lab.say_until("alice", &format!("/lab why {run}"), "draining").await;
        insta::assert_snapshot!(steady(&why), @"");
        insta::assert_snapshot!(say(lab, "alice", "/lab drain").await, @"");
        lab.write_lab(&text);
        lab.say("lead", "/lab reload").await;
        assert_eq!(lab.verdict(run).await, "passed in testing");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
